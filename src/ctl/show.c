/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/show.h"

#include <stdio.h>

#include "ctl/client.h"

/* A list within an answer: one line an element, "name value" pairs */
static void print_list(const char *key, const json_t *list)
{
	const char *name;
	json_t *item, *value;
	size_t i;

	json_array_foreach(list, i, item)
	{
		printf("%-28s", key);
		json_object_foreach(item, name, value)
		{
			printf(" %s %" JSON_INTEGER_FORMAT, name,
			       json_integer_value(value));
		}
		putchar('\n');
	}
}

static void print_plain(json_t *answer)
{
	const char *key;
	json_t *value;

	json_object_foreach(answer, key, value)
	{
		if (json_is_array(value))
			print_list(key, value);
		else if (json_is_string(value))
			printf("%-28s %s\n", key, json_string_value(value));
		else
			printf("%-28s %" JSON_INTEGER_FORMAT "\n", key,
			       json_integer_value(value));
	}
}

static int show(const struct ctl *ctl, const char *command)
{
	json_t *answer;
	int status =
		ctl_ask(ctl, json_pack("{s:s}", "command", command), &answer);

	if (status != CTL_OK)
		return status;
	if (ctl->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_plain(answer);
	}
	json_decref(answer);
	return CTL_OK;
}

int show_status(const struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(ctl, "status");
}

int show_stats(const struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(ctl, "stats");
}
