/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/show.h"

/* A row more is a command more: its help, the usage and the completions come
 * from here
 */
const struct ctl_command ctl_commands[] = {
	{ "status", "", "version, mode, queues, and what it holds", 0,
	  show_status },
	{ "stats", "", "every counter", 0, show_stats },
	{ 0 },
};

static void print_usage(FILE *out)
{
	fputs("usage: sipalgctl [--socket PATH] [--json] ", out);
	for (const struct ctl_command *c = ctl_commands; c->name; c++)
		fprintf(out, "%s%s", c == ctl_commands ? "" : "|", c->name);
	fputc('\n', out);
}

static void print_help(void)
{
	print_usage(stdout);
	puts("Asks a running sipalgd.\n");
	for (const struct ctl_command *c = ctl_commands; c->name; c++) {
		int n = printf("  %s %s", c->name, c->arguments);

		printf("%*s%s\n", n < 20 ? 20 - n : 1, "", c->help);
	}
	puts("      --socket PATH control socket (/run/sipalgd/control.sock)\n"
	     "      --json        print one JSON document\n"
	     "      --version     print the version\n"
	     "      --help        print this\n"
	     "\n"
	     "Exit status: 0; 1 the daemon said no; 2 usage; 3 no daemon.\n"
	     "See sipalgctl(8).");
}

static const struct ctl_command *find(const char *name)
{
	for (const struct ctl_command *c = ctl_commands; c->name; c++) {
		if (!strcmp(c->name, name))
			return c;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct ctl ctl = { .socket = "/run/sipalgd/control.sock" };
	const struct ctl_command *command = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's') {
			ctl.socket = optarg;
		} else if (c == 'j') {
			ctl.json = true;
		} else if (c == 'V') {
			puts("sipalgctl " SIPALG_VERSION);
			return CTL_OK;
		} else if (c == 'h') {
			print_help();
			return CTL_OK;
		} else {
			print_usage(stderr);
			return CTL_USAGE;
		}
	}
	if (optind < argc)
		command = find(argv[optind++]);
	if (!command || argc - optind > command->most) {
		print_usage(stderr);
		return CTL_USAGE;
	}
	return command->run(&ctl, argc - optind, argv + optind);
}
