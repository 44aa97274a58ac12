/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the option table says, for those who read: the sample and the generated
 * parts of sipalgd.conf(5). After a change of the table, in the source folder:
 *
 *	build/docs/options sample > conf/sipalgd.conf
 *	build/docs/options manual docs/man/sipalgd.conf.5 > new &&
 *		mv new docs/man/sipalgd.conf.5
 *
 * In the manual an option is ".It Ic KEY = DEFAULT", what the table says of it,
 * a line of .\" alone, and what there is to say besides. Only what stands
 * before that line is made anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

#define TEXT_MAX 512
#define WIDTH 78
#define GENERATED_END ".\\\"\n"

/* @text in lines of at most WIDTH, each begun with @prefix */
static void wrap(const char *prefix, const char *text)
{
	size_t room = WIDTH - strlen(prefix);

	while (*text) {
		size_t len = strlen(text);

		for (size_t at = room; len > room && at; at--) {
			if (text[at] == ' ')
				len = at;
		}
		printf("%s%.*s\n", prefix, (int)len, text);
		text += len + strspn(text + len, " ");
	}
}

static void print_assignment(const char *prefix, const struct conf_option *o)
{
	const char *value = o->initial ? o->initial : o->example;

	printf("%s%s =%s%s\n", prefix, o->key, value[0] ? " " : "", value);
}

static int print_sample(void)
{
	const char *section = "";
	const struct conf_option *o;
	char text[TEXT_MAX];

	printf("# sipalgd.conf: configuration of the SIP application-layer "
	       "gateway\n#\n");
	wrap("# ",
	     "Every key is listed with its default; lan_interfaces and "
	     "wan_interfaces have none and are needed. sipalgd.conf(5) "
	     "explains them all; \"sipalgd --check\" says what is wrong with "
	     "a file and on which line, \"systemctl reload sipalgd\" takes a "
	     "changed one. \";\" and \"#\" begin a comment anywhere but "
	     "between quotation marks.");
	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		if (strcmp(section, o->section))
			printf("\n[%s]\n", o->section);
		else
			putchar('\n');
		section = o->section;
		conf_option_describe(o, text, sizeof(text));
		wrap("# ", text);
		print_assignment("#", o);
	}
	return 0;
}

static void print_item(const struct conf_option *o)
{
	char text[TEXT_MAX];

	print_assignment(".It Ic ", o);
	conf_option_describe(o, text, sizeof(text) - 1);
	strcat(text, ".");
	wrap("", text);
	if (o->pending) {
		printf(".Em Not active :\n");
		snprintf(text, sizeof(text), "%s.", o->pending);
		wrap("", text);
	}
	fputs(GENERATED_END, stdout);
}

/* The options of @section, from *@next on, up to and with the one of @line
 * (NULL: all). Return: false if it is not one of those left */
static bool print_items(const char *section, const char *line, size_t *next)
{
	const struct conf_option *o;
	size_t len = line ? strcspn(line, " =\n") : 0;

	while ((o = conf_option_at(*next)) && !strcmp(o->section, section)) {
		++*next;
		print_item(o);
		if (line && len == strlen(o->key) &&
		    !strncmp(line, o->key, len))
			return true;
	}
	return !line;
}

/* Which option @section begins with; -1 if there is no such section */
static int section_first(const char *section)
{
	const struct conf_option *o;

	for (size_t i = 0; (o = conf_option_at(i)); i++) {
		if (!strcmp(o->section, section))
			return (int)i;
	}
	return -1;
}

/* Items follow the table's order; one that is missing is put where it belongs,
 * and what the table does not know ends it all */
static int print_manual(FILE *manual, const char *path)
{
	static const char head[] = ".It Ic ", sub[] = ".Ss [";
	char line[TEXT_MAX], section[TEXT_MAX] = "";
	size_t next = 0;

	while (fgets(line, sizeof(line), manual)) {
		bool known = true;

		if (!strncmp(line, sub, strlen(sub))) {
			int first;

			sscanf(line + strlen(sub), "%511[^]]", section);
			first = section_first(section);
			known = first >= 0;
			next = known ? (size_t)first : 0;
		} else if (section[0] && !strncmp(line, ".El", 3)) {
			print_items(section, NULL, &next);
			section[0] = '\0';
		} else if (section[0] && !strncmp(line, head, strlen(head))) {
			known = print_items(section, line + strlen(head),
					    &next);
			while (known && strcmp(line, GENERATED_END))
				known = fgets(line, sizeof(line), manual);
			line[known ? 0 : strlen(line)] = '\0';
		}
		if (!known) {
			fprintf(stderr,
				"%s: '%.*s' in [%s] is not in the option "
				"table, or not in its order, or nothing ends "
				"what is made from it\n",
				path, (int)strcspn(line, "\n"), line, section);
			return EXIT_FAILURE;
		}
		fputs(line, stdout);
	}
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	FILE *manual;
	int status;

	if (argc == 2 && !strcmp(argv[1], "sample"))
		return print_sample();
	if (argc != 3 || strcmp(argv[1], "manual")) {
		fprintf(stderr, "usage: options sample | manual FILE\n");
		return EXIT_FAILURE;
	}
	manual = fopen(argv[2], "r");
	if (!manual) {
		perror(argv[2]);
		return EXIT_FAILURE;
	}
	status = print_manual(manual, argv[2]);
	fclose(manual);
	return status;
}
