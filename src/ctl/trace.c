/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/term.h"
#include "ctl/text.h"

/** struct trace - Being printed; @diff: the lines themselves, for a terminal */
struct trace {
	const struct ctl *ctl;
	bool diff;
};

json_t *trace_request(const char *command, int argc, char **argv)
{
	json_t *terms = json_array();

	for (int i = 0; i < argc; i++)
		json_array_append_new(terms, json_string(argv[i]));
	return json_pack("{s:s, s:o}", "command", command, "filter", terms);
}

static const char *text(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

/* What a stranger wrote must not steer the terminal */
static void put_safe(const char *s)
{
	char *safe = text_safe(s);

	fputs(safe, stdout);
	free(safe);
}

static void put_line(const struct trace *t, enum term_colour colour,
		     const char *sign, const char *line)
{
	printf("    %s%s ", term_colour(t->ctl, colour), sign);
	put_safe(line);
	printf("%s\n", term_plain(t->ctl));
}

/* 17:02:11.123456 out of RFC 3339 */
static void put_time(const char *time)
{
	const char *clock = strchr(time, 'T');

	printf("%.15s", clock ? clock + 1 : time);
}

/* phone -> peer or phone <- peer; of a stranger's packet no phone is known */
static void put_ends(const json_t *message)
{
	const char *phone = text(message, "phone");

	printf("  %s %s %s %s  ", *phone ? phone : text(message, "public"),
	       strcmp(text(message, "direction"), "in") != 0 ? "->" : "<-",
	       text(message, "peer"), text(message, "transport"));
}

static void put_edits(const struct trace *t, const json_t *message)
{
	const json_t *lines = json_object_get(message, "lines");
	const json_t *edits = json_object_get(message, "edits");
	json_t *item;
	size_t i;

	json_array_foreach(lines, i, item)
	{
		if (!t->diff)
			break;
		put_line(t, TERM_BAD, "-", text(item, "old"));
		put_line(t, TERM_GOOD, "+", text(item, "new"));
	}
	json_array_foreach(edits, i, item)
	{
		printf("    %s%s ", term_colour(t->ctl, TERM_DIM),
		       text(item, "site"));
		put_safe(text(item, "old"));
		printf(" -> ");
		put_safe(text(item, "new"));
		printf(": %s%s\n", text(item, "why"), term_plain(t->ctl));
	}
}

/* One that was not changed says why; of one that would be, what is meant */
static void put_reason(const struct trace *t, const json_t *message)
{
	const char *reason = text(message, "reason");

	if (!strcmp(reason, "rewritten"))
		return;
	printf("    %s%s: %s%s\n", term_colour(t->ctl, TERM_WARN), reason,
	       text(message, "text"), term_plain(t->ctl));
}

static bool put_message(void *arg, const json_t *message)
{
	const struct trace *t = arg;
	json_int_t lost = json_integer_value(json_object_get(message, "lost"));

	if (json_object_get(message, "begun")) {
		fprintf(stderr, "tracing; Ctrl-C ends it\n");
		return true;
	}
	if (t->ctl->json) {
		json_dumpf(message, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (lost) {
		printf("%s%" JSON_INTEGER_FORMAT " message%s not shown%s\n",
		       term_colour(t->ctl, TERM_WARN), lost,
		       lost == 1 ? "" : "s", term_plain(t->ctl));
	} else {
		put_time(text(message, "time"));
		put_ends(message);
		printf("%s", term_colour(t->ctl, TERM_BOLD));
		put_safe(text(message, "start"));
		printf("%s\n", term_plain(t->ctl));
		put_reason(t, message);
		put_edits(t, message);
	}
	return !fflush(stdout);
}

int trace_run(const struct ctl *ctl, int argc, char **argv)
{
	struct trace t = { .ctl = ctl, .diff = isatty(STDOUT_FILENO) };
	int status = ctl_follow(ctl, trace_request("trace", argc, argv),
				put_message, &t);

	if (status != CTL_OK)
		return status;
	/* It goes on until somebody ends it, and that was not we */
	fprintf(stderr, "sipalgctl: %s\n",
		ferror(stdout) ? "standard output cannot be written"
			       : "sipalgd has ended");
	return ferror(stdout) ? CTL_REFUSED : CTL_NO_DAEMON;
}
