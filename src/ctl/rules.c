/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/rules.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "ctl/client.h"
#include "ctl/show.h"

extern char **environ;

/* ---- print ---- */

static int print_rules(const struct ctl *ctl, const char *which)
{
	static const char *const known[] = { "ip4", "ip6", "remove" };
	bool is_known = false;
	json_t *answer;
	int status;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		is_known |= !strcmp(which, known[i]);
	if (!is_known) {
		fprintf(stderr,
			"sipalgctl: rules print: \"%s\" is none; ip4, ip6 or "
			"remove\n",
			which);
		return CTL_USAGE;
	}
	status = ctl_ask(ctl, json_pack("{s:s}", "command", "rules"), &answer);
	if (status != CTL_OK)
		return status;
	if (ctl->json)
		show_document(answer);
	else
		fputs(show_string(answer, which), stdout);
	json_decref(answer);
	return CTL_OK;
}

/* ---- apply, remove ---- */

/* SIPALGD_RULES names another script (tests). Return: its exit status, or -1 if
 * it has none
 */
static int run_script(const char *what)
{
	const char *path = getenv("SIPALGD_RULES");
	char *const args[] = { (char *)"sipalgd-rules", (char *)what, NULL };
	pid_t pid;
	int err, status;

	if (!path)
		path = SIPALG_LIBEXECDIR "/sipalgd/sipalgd-rules";
	fflush(stdout);
	err = posix_spawn(&pid, path, NULL, NULL, args, environ);
	if (err) {
		fprintf(stderr, "sipalgctl: %s: %s; is sipalgd installed?\n",
			path, strerror(err));
		return -1;
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Its errors are on stderr already */
static int change_rules(const struct ctl *ctl, const char *what,
			const char *done)
{
	json_t *document;

	if (run_script(what)) {
		fprintf(stderr, "sipalgctl: rules: not %s\n", done);
		return CTL_REFUSED;
	}
	document = json_pack("{s:s}", "rules", done);
	if (ctl->json)
		show_document(document);
	else
		printf("Rules %s.\n", done);
	json_decref(document);
	return CTL_OK;
}

int rules_command(const struct ctl *ctl, int argc, char **argv)
{
	const char *verb = argc ? argv[0] : "print";

	if (!strcmp(verb, "print"))
		return print_rules(ctl, argc > 1 ? argv[1] : "ip4");
	if (argc > 1) {
		fprintf(stderr, "sipalgctl: rules %s takes no argument\n",
			verb);
		return CTL_USAGE;
	}
	if (!strcmp(verb, "apply"))
		return change_rules(ctl, "apply", "applied");
	if (!strcmp(verb, "remove"))
		return change_rules(ctl, "remove", "removed");
	fprintf(stderr,
		"sipalgctl: rules: \"%s\" is none; print, apply or remove\n",
		verb);
	return CTL_USAGE;
}
