/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A daemon that takes longer hangs: it answers between two packets */
#define PATIENCE_S 10

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* What to do about it, where that is not plain */
static const char *remedy(int err)
{
	switch (err) {
	case -EACCES:
		return "; are you in control.group?";
	case -ENOENT:
	case -ECONNREFUSED:
		return "; is sipalgd running?";
	default:
		return "";
	}
}

/* The stream to read answers from; NULL if there is no daemon */
static FILE *send_request(const struct ctl *ctl, json_t *request)
{
	int fd = connect_to(ctl->socket);
	FILE *f = fd >= 0 ? fdopen(fd, "r+") : NULL;

	if (fd < 0)
		fprintf(stderr, "sipalgctl: %s: %s%s\n", ctl->socket,
			strerror(-fd), remedy(fd));
	else if (!f)
		close(fd);
	if (f && (!request || json_dumpf(request, f, JSON_COMPACT) ||
		  fputc('\n', f) == EOF || fflush(f))) {
		fprintf(stderr, "sipalgctl: %s: %s\n", ctl->socket,
			strerror(errno));
		fclose(f);
		f = NULL;
	}
	json_decref(request);
	return f;
}

static bool is_refused(const json_t *answer)
{
	const char *why = json_string_value(json_object_get(answer, "error"));

	if (why)
		fprintf(stderr, "sipalgctl: %s\n", why);
	return why;
}

int ctl_find_daemon(const struct ctl *ctl, pid_t *pid)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	int fd = connect_to(ctl->socket);

	*pid = 0;
	if (fd < 0)
		return fd;
	if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		*pid = cred.pid;
	close(fd);
	return 0;
}

int ctl_ask(const struct ctl *ctl, json_t *request, json_t **answer)
{
	static const struct timeval patience = { .tv_sec = PATIENCE_S };
	FILE *f = send_request(ctl, request);
	bool late;

	if (!f)
		return CTL_NO_DAEMON;
	setsockopt(fileno(f), SOL_SOCKET, SO_RCVTIMEO, &patience,
		   sizeof(patience));
	errno = 0;
	*answer = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL);
	late = !*answer && errno == EAGAIN;
	fclose(f);
	if (!*answer) {
		fprintf(stderr, "sipalgctl: %s: no answer", ctl->socket);
		if (late)
			fprintf(stderr, " for %d seconds; restart sipalgd",
				PATIENCE_S);
		fputc('\n', stderr);
		return CTL_NO_DAEMON;
	}
	if (!is_refused(*answer))
		return CTL_OK;
	json_decref(*answer);
	*answer = NULL;
	return CTL_REFUSED;
}

int ctl_follow(const struct ctl *ctl, json_t *request,
	       bool (*each)(void *arg, const json_t *answer), void *arg)
{
	FILE *f = send_request(ctl, request);
	int status = CTL_OK;
	bool more = true;
	json_t *answer;

	if (!f)
		return CTL_NO_DAEMON;
	while (more && (answer = json_loadf(f, JSON_DISABLE_EOF_CHECK, NULL))) {
		if (is_refused(answer)) {
			status = CTL_REFUSED;
			more = false;
		} else {
			more = each(arg, answer);
		}
		json_decref(answer);
	}
	fclose(f);
	return status;
}
