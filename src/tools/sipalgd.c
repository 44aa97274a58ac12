/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/rules.h"

enum task { TASK_RUN, TASK_CHECK, TASK_RULES, TASK_CONFIG };

/** struct options - What the command line asks for */
struct options {
	const char *conf_path;
	enum task task;
	enum rules_what rules;
};

static const char usage[] =
	"usage: sipalgd [-c FILE] [--check] [--print-rules[=ip6|remove]]\n"
	"               [--print-config] [--version] [--help]\n";

static const char help[] =
	"SIP application-layer gateway: rewrites the addresses that phones\n"
	"behind NAT write into SIP, and opens the ports their calls need.\n"
	"\n"
	"  -c, --config FILE     configuration (" SIPALG_SYSCONFDIR
	"/sipalgd/sipalgd.conf)\n"
	"      --check           check the configuration and exit\n"
	"      --print-rules     print the rules, for iptables-restore "
	"--noflush\n"
	"      --print-rules=ip6     the same for ip6tables-restore\n"
	"      --print-rules=remove  what takes them out again\n"
	"      --print-config    print the configuration, defaults included\n"
	"      --version         print the version\n"
	"      --help            print this\n"
	"\n"
	"Without an option of these it runs in the foreground and logs to\n"
	"standard error. See sipalgd(8), sipalgd.conf(5).\n";

static int set_rules(struct options *opts, const char *what)
{
	opts->task = TASK_RULES;
	if (!what)
		opts->rules = RULES_IP4;
	else if (!strcmp(what, "ip6"))
		opts->rules = RULES_IP6;
	else if (!strcmp(what, "remove"))
		opts->rules = RULES_REMOVE;
	else
		return -1;
	return 0;
}

/* Exits for --help, --version and usage errors */
static void parse_options(int argc, char **argv, struct options *opts)
{
	static const struct option longs[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'k' },
		{ "print-rules", optional_argument, NULL, 'r' },
		{ "print-config", no_argument, NULL, 'p' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:", longs, NULL)) != -1) {
		if (c == 'c') {
			opts->conf_path = optarg;
		} else if (c == 'k') {
			opts->task = TASK_CHECK;
		} else if (c == 'p') {
			opts->task = TASK_CONFIG;
		} else if (c == 'h') {
			printf("%s\n%s", usage, help);
			exit(0);
		} else if (c == 'V') {
			puts("sipalgd " SIPALG_VERSION);
			exit(0);
		} else if (c != 'r' || set_rules(opts, optarg)) {
			fputs(usage, stderr);
			exit(2);
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
}

/* Where standard error is closed, a socket would get its number, and the log */
static void open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* From the root on, whatever links say later */
static char *whole_path(const char *path)
{
	char *here = path[0] == '/' ? strdup("") : get_current_dir_name();
	char *whole = NULL;

	if (here &&
	    asprintf(&whole, "%s%s%s", here, *here ? "/" : "", path) < 0)
		whole = NULL;
	free(here);
	return whole;
}

static int run(const char *conf_path, struct conf *conf)
{
	char *path = whole_path(conf_path);
	int status = 1;

	open_standard();
	if (path)
		status = daemon_run(path, conf);
	else
		free(conf);
	free(path);
	return status;
}

int main(int argc, char **argv)
{
	struct options opts = {
		.conf_path = SIPALG_SYSCONFDIR "/sipalgd/sipalgd.conf",
	};
	struct conf *conf = malloc(sizeof(*conf));
	int status = 0;

	parse_options(argc, argv, &opts);
	if (!conf || conf_load(opts.conf_path, conf, stderr)) {
		free(conf);
		return 1;
	}
	if (opts.task == TASK_RUN)
		return run(opts.conf_path, conf);
	if (opts.task == TASK_RULES)
		status = rules_print(conf, opts.rules, stdout) ? 1 : 0;
	else if (opts.task == TASK_CONFIG)
		conf_print(conf, stdout);
	free(conf);
	return fflush(stdout) ? 1 : status;
}
