/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "base/span.h"
#include "ctl/capture.h"
#include "ctl/change.h"
#include "ctl/ctl.h"
#include "ctl/doctor.h"
#include "ctl/rules.h"
#include "ctl/show.h"
#include "ctl/term.h"
#include "ctl/top.h"
#include "ctl/trace.h"

/* A row more is a command more: its help, the usage and the completions come
 * from here
 */
const struct ctl_command ctl_commands[] = {
	{ .name = "status",
	  .arguments = "",
	  .help = "version, mode, queues, and what it holds",
	  .run = show_status },
	{ .name = "registrations",
	  .arguments = "",
	  .help = "who is registered, and by which address",
	  .run = show_registrations },
	{ .name = "calls",
	  .arguments = "[CALL-ID]",
	  .help = "calls, newest first; or one of them in full",
	  .more = "Of a Call-ID its beginning is enough. OUT and IN are RTP "
		  "packets from and to\nthe phone, counted by the kernel.",
	  .most = 1,
	  .run = show_calls },
	{ .name = "stats",
	  .arguments = "",
	  .help = "what was counted; --all: also what is 0",
	  .all = true,
	  .run = show_stats },
	{ .name = "doctor",
	  .arguments = "[FILE]",
	  .help = "what is wrong around the daemon, and what mends it",
	  .more = "FILE is the configuration where no daemon runs "
		  "(/etc/sipalgd/sipalgd.conf).\n"
		  "--all also says what was checked and is well.\n"
		  "Exit status 1: there are errors or warnings.",
	  .most = 1,
	  .all = true,
	  .run = doctor_run },
	{ .name = "top",
	  .arguments = "",
	  .help = "load, rates and calls, every second until q",
	  .more = "Where the output is no terminal: one frame, of one "
		  "second.",
	  .run = top_command },
	{ .name = "mode",
	  .arguments = "[active|observe|bypass]",
	  .help = "show or change gateway.mode",
	  .more = "A change lasts until the next reload or restart. Calls that "
		  "were changed\nbefore are carried to their end.",
	  .most = 1,
	  .run = change_mode },
	{ .name = "reload",
	  .arguments = "",
	  .help = "read the configuration file again",
	  .run = change_reload },
	{ .name = "rules",
	  .arguments = "[print|apply|remove]",
	  .help = "iptables rules that bring SIP to the daemon",
	  .more = "print [ip4|ip6|remove] prints those of the running "
		  "configuration, as input for\niptables-restore --noflush. "
		  "apply and remove do what the service does at start and\n"
		  "stop, as often as you like, and need root but no daemon.",
	  .most = 2,
	  .run = rules_command },
	{ .name = "trace",
	  .arguments = "[FILTER]...",
	  .help = "each message, live, with what changed and why",
	  .more = "Ends with Ctrl-C. " TRACE_FILTER_HELP,
	  .most = TRACE_TERMS,
	  .run = trace_run },
	{ .name = "capture",
	  .arguments = "FILE.pcapng [FILTER]...",
	  .help = "packets before and after, for Wireshark",
	  .more = "FILE.pcapng - is standard output. Ends with Ctrl-C.\n"
		  "Each packet is there as it came (interface \"before\") and "
		  "as it\n"
		  "left (\"after\"), with what was changed as its "
		  "comment.\n" TRACE_FILTER_HELP,
	  .most = 1 + TRACE_TERMS,
	  .run = capture_run },
	{ 0 },
};

/* Column in which the help of a command begins */
#define HELP_COLUMN 32

static void print_usage(FILE *out)
{
	fputs("usage: sipalgctl [--socket PATH] [--json] COMMAND "
	      "[ARGUMENT]...\n",
	      out);
}

static void print_command_usage(const struct ctl_command *c, FILE *out)
{
	fprintf(out, "usage: sipalgctl [--socket PATH] [--json] %s%s%s%s\n",
		c->name, *c->arguments ? " " : "", c->arguments,
		c->all ? " [--all]" : "");
}

static void print_help(void)
{
	print_usage(stdout);
	puts("Asks a running sipalgd, and switches it.\n");
	for (const struct ctl_command *c = ctl_commands; c->name; c++) {
		int n = printf("  %s%s%s%s", c->name, *c->arguments ? " " : "",
			       c->arguments, c->all ? " [--all]" : "");

		printf("%*s%s\n", n + 2 < HELP_COLUMN ? HELP_COLUMN - n : 2, "",
		       c->help);
	}
	puts("\n"
	     "  --socket PATH  control socket (/run/sipalgd/control.sock)\n"
	     "  --json         print one JSON document\n"
	     "  --version      print the version\n"
	     "  --help         print this; COMMAND --help: more of a command\n"
	     "\n"
	     "Exit status: 0; 1 the daemon said no; 2 usage; 3 no daemon.\n"
	     "See sipalgctl(8).");
}

static void print_command_help(const struct ctl_command *c)
{
	print_command_usage(c, stdout);
	printf("%s: %s\n", c->name, c->help);
	if (c->more)
		printf("\n%s\n", c->more);
}

static const struct ctl_command *find(const char *name)
{
	for (const struct ctl_command *c = ctl_commands; c->name; c++) {
		if (!strcmp(c->name, name))
			return c;
	}
	return NULL;
}

static int complain_unknown(const char *name)
{
	const struct ctl_command *nearest = ctl_commands;
	unsigned int least = UINT_MAX;

	for (const struct ctl_command *c = ctl_commands; c->name; c++) {
		unsigned int d = span_distance(name, c->name);

		if (d < least) {
			least = d;
			nearest = c;
		}
	}
	fprintf(stderr,
		"sipalgctl: unknown command \"%s\"; nearest known: %s "
		"(see --help)\n",
		name, nearest->name);
	return CTL_USAGE;
}

static int complain(const struct ctl_command *c, const char *what)
{
	fprintf(stderr, "sipalgctl: %s: %s\n", c->name, what);
	print_command_usage(c, stderr);
	return CTL_USAGE;
}

static int run(const struct ctl *ctl, bool help, int argc, char **argv)
{
	const struct ctl_command *c = argc ? find(argv[0]) : NULL;

	if (c && help) {
		print_command_help(c);
		return CTL_OK;
	}
	if (help) {
		print_help();
		return CTL_OK;
	}
	if (!argc) {
		print_usage(stderr);
		fputs("sipalgctl: no command (see --help)\n", stderr);
		return CTL_USAGE;
	}
	if (!c)
		return complain_unknown(argv[0]);
	if (argc - 1 > c->most)
		return complain(c, c->most ? "too many arguments"
					   : "takes no argument");
	if (ctl->all && !c->all)
		return complain(c, "does not take --all");
	return c->run(ctl, argc - 1, argv + 1);
}

/* Who reads half an answer, or none, is not told that all is well */
static int finish(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	perror("sipalgctl: standard output");
	return CTL_REFUSED;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "json", no_argument, NULL, 'j' },
		{ "all", no_argument, NULL, 'a' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct ctl ctl = { .socket = "/run/sipalgd/control.sock" };
	bool help = false;
	int c;

	setlocale(LC_ALL, "");
	term_init(&ctl);
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's') {
			ctl.socket = optarg;
		} else if (c == 'j') {
			ctl.json = true;
		} else if (c == 'a') {
			ctl.all = true;
		} else if (c == 'V') {
			puts("sipalgctl " SIPALG_VERSION);
			return finish(CTL_OK);
		} else if (c == 'h') {
			help = true;
		} else {
			print_usage(stderr);
			return CTL_USAGE;
		}
	}
	return finish(run(&ctl, help, argc - optind, argv + optind));
}
