/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/change.h"

#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "ctl/client.h"
#include "ctl/show.h"
#include "ctl/term.h"

/* ---- mode ---- */

static void print_mode(const struct ctl *ctl, const json_t *answer)
{
	const char *mode = show_string(answer, "mode");
	const char *file = show_string(answer, "file");

	printf("%s%s%s", term_colour(ctl, show_mode_colour(mode)), mode,
	       term_plain(ctl));
	if (strcmp(mode, file) != 0)
		printf(" until the next reload or restart; the configuration "
		       "file says %s",
		       file);
	putchar('\n');
}

int change_mode(const struct ctl *ctl, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "command", "mode"), *answer;
	enum conf_mode mode;
	int status;

	if (argc && conf_mode_parse(argv[0], &mode)) {
		fprintf(stderr,
			"sipalgctl: mode: \"%s\" is none; active, observe or "
			"bypass\n",
			argv[0]);
		json_decref(request);
		return CTL_USAGE;
	}
	if (argc) {
		json_object_set_new(request, "command",
				    json_string("set_mode"));
		json_object_set_new(request, "mode", json_string(argv[0]));
	}
	status = ctl_ask(ctl, request, &answer);
	if (status != CTL_OK)
		return status;
	if (ctl->json)
		show_document(answer);
	else
		print_mode(ctl, answer);
	json_decref(answer);
	return CTL_OK;
}

/* ---- reload ---- */

static void print_reload(const json_t *answer)
{
	const char *warnings = show_string(answer, "warnings");

	printf("%s%s%s: loaded, mode %s\n", warnings, *warnings ? "\n" : "",
	       show_string(answer, "file"), show_string(answer, "mode"));
}

int change_reload(const struct ctl *ctl, int argc, char **argv)
{
	json_t *answer;
	int status =
		ctl_ask(ctl, json_pack("{s:s}", "command", "reload"), &answer);

	(void)argc;
	(void)argv;
	if (status != CTL_OK)
		return status;
	if (ctl->json)
		show_document(answer);
	else
		print_reload(answer);
	json_decref(answer);
	return CTL_OK;
}
