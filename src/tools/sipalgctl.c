/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Exit status: as sipalgctl(8) says */
enum { EXIT_REFUSED = 1, EXIT_USAGE = 2, EXIT_NO_DAEMON = 3 };

static const char usage[] =
	"usage: sipalgctl [--socket PATH] [--json] status|stats\n";

static const char help[] =
	"Asks a running sipalgd.\n"
	"\n"
	"  status            version, mode, queues, and what it holds\n"
	"  stats             every counter\n"
	"      --socket PATH control socket (/run/sipalgd/control.sock)\n"
	"      --json        print one JSON document\n"
	"      --version     print the version\n"
	"      --help        print this\n"
	"\n"
	"Exit status: 0; 1 the daemon said no; 2 usage; 3 no daemon.\n"
	"See sipalgctl(8).\n";

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		int err = errno;

		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

/* One request, one answer; NULL if the connection failed on the way */
static json_t *ask(int fd, const char *command)
{
	json_t *request = json_pack("{s:s}", "command", command);
	json_t *answer = NULL;
	FILE *f = fdopen(fd, "r+");

	if (f && request && json_dumpf(request, f, JSON_COMPACT) == 0 &&
	    fputc('\n', f) != EOF && fflush(f) == 0)
		answer = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
	json_decref(request);
	if (f)
		fclose(f);
	else
		close(fd);
	return answer;
}

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

static int run(const char *socket_path, const char *command, int as_json)
{
	int fd = connect_to(socket_path), status = 0;
	json_t *answer, *error;

	if (fd < 0) {
		fprintf(stderr, "sipalgctl: %s: %s%s\n", socket_path,
			strerror(errno),
			errno == EACCES ? "; are you in control.group?"
					: "; is sipalgd running?");
		return EXIT_NO_DAEMON;
	}
	answer = ask(fd, command);
	if (!answer) {
		fprintf(stderr, "sipalgctl: %s: no answer\n", socket_path);
		return EXIT_NO_DAEMON;
	}
	error = json_object_get(answer, "error");
	if (json_is_string(error)) {
		fprintf(stderr, "sipalgctl: %s\n", json_string_value(error));
		status = EXIT_REFUSED;
	} else if (as_json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_plain(answer);
	}
	json_decref(answer);
	return status;
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
	const char *socket_path = "/run/sipalgd/control.sock";
	int c, as_json = 0;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 's') {
			socket_path = optarg;
		} else if (c == 'j') {
			as_json = 1;
		} else if (c == 'V') {
			puts("sipalgctl " SIPALG_VERSION);
			return 0;
		} else if (c == 'h') {
			printf("%s\n%s", usage, help);
			return 0;
		} else {
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return run(socket_path, argv[optind], as_json);
}
