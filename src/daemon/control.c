/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static int watch(const struct control *control, int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(control->epoll, op, fd, &event) ? -errno : 0;
}

/* A socket that nobody answers on is left over from a daemon that died */
static int remove_stale(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;
	int err = 0;

	if (!lstat(addr->sun_path, &st) && !S_ISSOCK(st.st_mode)) {
		close(fd);
		return -EEXIST; /* somebody's file, not ours to remove */
	}
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
		err = -EADDRINUSE;
	else if (errno == ECONNREFUSED)
		unlink(addr->sun_path);
	close(fd);
	return err;
}

/* Who may use it: the owner, and one group */
static void set_group(const struct conf *conf)
{
	const struct group *group = getgrnam(conf->control.group);
	const char *path = conf->control.socket;
	struct stat st;

	if (!group)
		log_warning("control.group: no group \"%s\"; only the "
			    "daemon's own user can use %s",
			    conf->control.group, path);
	else if ((stat(path, &st) || st.st_gid != group->gr_gid) &&
		 chown(path, (uid_t)-1, group->gr_gid))
		log_warning("control.group: %s cannot be given to group "
			    "\"%s\": %s; is the daemon's user a member?",
			    path, conf->control.group, strerror(errno));
	if (chmod(path, 0660))
		log_warning("%s: %s", path, strerror(errno));
}

static int listen_on(struct control *control, const struct conf *conf)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int err;

	span_copy(addr.sun_path, sizeof(addr.sun_path),
		  span_from_str(conf->control.socket));
	err = remove_stale(&addr);
	if (err)
		return err;
	control->fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0 ||
	    bind(control->fd, (struct sockaddr *)&addr, sizeof(addr)) ||
	    listen(control->fd, CONTROL_CLIENTS))
		return -errno;
	span_copy(control->path, sizeof(control->path),
		  span_from_str(conf->control.socket));
	set_group(conf);
	return watch(control, EPOLL_CTL_ADD, control->fd, EPOLLIN);
}

int control_open(struct control *control, const struct conf *conf, int epoll,
		 const struct control_command *commands, void *arg)
{
	int err;

	*control = (struct control){
		.fd = -1, .epoll = epoll, .commands = commands, .arg = arg
	};
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		control->client[i].fd = -1;
	err = listen_on(control, conf);
	if (err)
		control_close(control);
	return err;
}

static void client_close(struct control_client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->out);
	*client = (struct control_client){ .fd = -1 };
}

void control_close(struct control *control)
{
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		client_close(&control->client[i]);
	if (control->fd >= 0)
		close(control->fd);
	if (control->path[0])
		unlink(control->path);
	*control = (struct control){ .fd = -1 };
}

static json_t *answer_to(const struct control *control, const char *line,
			 size_t len)
{
	const struct control_command *c;
	json_error_t error;
	json_t *request = json_loadb(line, len, 0, &error), *answer = NULL;
	const char *name =
		json_string_value(json_object_get(request, "command"));

	if (!request)
		return json_pack("{s:s}", "error", error.text);
	for (c = control->commands; name && c->name; c++) {
		if (!strcmp(c->name, name))
			break;
	}
	if (name && c->name)
		answer = c->answer(control->arg, request);
	else
		answer = json_pack("{s:s}", "error",
				   name ? "unknown command"
					: "no \"command\" in the request");
	json_decref(request);
	return answer;
}

/* Send what is left; the client is done with when all is sent */
static void client_send(const struct control *control,
			struct control_client *client)
{
	ssize_t n = send(client->fd, client->out + client->out_done,
			 client->out_len - client->out_done, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		client_close(client);
		return;
	}
	if (n > 0)
		client->out_done += (size_t)n;
	if (client->out_done == client->out_len)
		client_close(client);
	else
		watch(control, EPOLL_CTL_MOD, client->fd, EPOLLOUT);
}

static void client_answer(const struct control *control,
			  struct control_client *client, size_t line_len)
{
	json_t *answer = answer_to(control, client->in, line_len);

	client->out = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	if (!client->out) {
		client_close(client);
		return;
	}
	/* The NUL gives its place to the line end */
	client->out_len = strlen(client->out) + 1;
	client->out[client->out_len - 1] = '\n';
	client_send(control, client);
}

static void client_receive(const struct control *control,
			   struct control_client *client)
{
	ssize_t n = recv(client->fd, client->in + client->in_len,
			 sizeof(client->in) - client->in_len, 0);
	const char *end;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		client_close(client);
		return;
	}
	client->in_len += (size_t)n;
	end = memchr(client->in, '\n', client->in_len);
	if (end)
		client_answer(control, client, (size_t)(end - client->in));
	else if (client->in_len == sizeof(client->in))
		client_close(client);
}

static void accept_client(struct control *control)
{
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		if (control->client[i].fd >= 0)
			continue;
		control->client[i].fd = fd;
		if (watch(control, EPOLL_CTL_ADD, fd, EPOLLIN))
			client_close(&control->client[i]);
		return;
	}
	close(fd);
}

bool control_ready(struct control *control, int fd)
{
	if (fd == control->fd) {
		accept_client(control);
		return true;
	}
	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *client = &control->client[i];

		if (client->fd != fd)
			continue;
		if (client->out)
			client_send(control, client);
		else
			client_receive(control, client);
		return true;
	}
	return false;
}
