/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/control.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

/* To send a request */
#define REQUEST_S 10
/* To take what was answered */
#define ANSWER_S 60
/* A subscriber may look away for long (a pager), but not for ever */
#define SUBSCRIBER_S 3600
/* Most that one look at a client sends or reads */
#define PIECE 65536

static int watch(const struct control *control, int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	return epoll_ctl(control->epoll, op, fd, &event) ? -errno : 0;
}

/* A socket that nobody answers on is left over from a daemon that died */
static int remove_stale(const struct sockaddr_un *addr)
{
	/* One that is there but does not accept shall not keep us */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
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
	    bind(control->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return -errno;
	span_copy(control->path, sizeof(control->path),
		  span_from_str(conf->control.socket));
	/* Before anybody can connect, whatever our umask is */
	set_group(conf);
	if (listen(control->fd, CONTROL_CLIENTS))
		return -errno;
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

/* ---- clients ---- */

static void client_close(const struct control *control,
			 struct control_client *client)
{
	const struct control_command *subscription = client->subscription;

	if (client->fd < 0)
		return;
	if (subscription && subscription->unsubscribe)
		subscription->unsubscribe(control->arg, client);
	if (client->pieces)
		client->pieces->end(control->arg, client->state);
	close(client->fd);
	free(client->out);
	*client = (struct control_client){ .fd = -1 };
}

void control_close(struct control *control)
{
	for (int i = 0; i < CONTROL_CLIENTS; i++)
		client_close(control, &control->client[i]);
	if (control->fd >= 0)
		close(control->fd);
	if (control->path[0])
		unlink(control->path);
	*control = (struct control){ .fd = -1 };
}

static size_t client_unsent(const struct control_client *client)
{
	return client->out_len - client->out_done;
}

/* Send a piece of what is left. Return: false if nobody is there any more */
static bool client_flush(struct control_client *client)
{
	size_t len = client_unsent(client);
	ssize_t n = 0;

	if (len)
		n = send(client->fd, client->out + client->out_done,
			 len < PIECE ? len : PIECE, MSG_NOSIGNAL);
	if (n > 0) {
		client->out_done += (size_t)n;
		if (client->subscription)
			client->age_s = 0;
	}
	if (!client_unsent(client))
		client->out_len = client->out_done = 0;
	return n >= 0 || errno == EAGAIN;
}

/* Hear of room in the socket only while there is something to send. What a
 * subscriber says is not read, its end shows all the same.
 */
static void client_watch(const struct control *control,
			 struct control_client *client)
{
	bool waits = client_unsent(client);

	if (client->subscription && client->waits == waits)
		return;
	client->waits = waits;
	client->age_s = 0;
	watch(control, EPOLL_CTL_MOD, client->fd, waits ? EPOLLOUT : 0);
}

/* Of an answer in pieces, have the next one. Return: false if that was all */
static bool client_next(const struct control *control,
			struct control_client *client)
{
	if (!client->pieces)
		return false;
	free(client->out);
	client->out = client->pieces->piece(control->arg, client->state);
	client->out_len = client->out ? strlen(client->out) : 0;
	client->out_done = 0;
	return client->out;
}

/* Send what is left of an answer; the client is done with when all is sent */
static void client_send(const struct control *control,
			struct control_client *client)
{
	if (!client_flush(client) ||
	    (!client_unsent(client) && !client_next(control, client)))
		client_close(control, client);
	else
		client_watch(control, client);
}

static void client_reply(const struct control *control,
			 struct control_client *client, json_t *answer)
{
	client->age_s = 0;
	client->out = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	json_decref(answer);
	if (!client->out) {
		log_warning("%s: no memory for an answer", control->path);
		client_close(control, client);
		return;
	}
	/* The NUL gives its place to the line end */
	client->out_len = strlen(client->out) + 1;
	client->out[client->out_len - 1] = '\n';
	client_send(control, client);
}

/* ---- who changes something ---- */

/* From the file, not by way of NSS: a directory server that is down must not
 * hold up packets
 */
static const char *user_name(uid_t uid, char *buf, size_t cap)
{
	FILE *f = fopen("/etc/passwd", "re");
	struct passwd entry, *found = NULL;

	while (f && !fgetpwent_r(f, &entry, buf, cap, &found)) {
		if (entry.pw_uid == uid)
			break;
		found = NULL;
	}
	if (f)
		fclose(f);
	return found ? found->pw_name : "?";
}

/* "mode observe": the values of a request, the command's name first */
static void describe_request(const json_t *request, const char *name,
			     char *text, size_t cap)
{
	size_t len = span_copy(text, cap, span_from_str(name));
	char *dump = NULL;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)request, key, value)
	{
		struct span s = { json_string_value(value),
				  json_string_length(value) };

		if (!strcmp(key, "command") || len + 2 >= cap)
			continue;
		if (!s.ptr)
			dump = json_dumps(value,
					  JSON_COMPACT | JSON_ENCODE_ANY);
		if (dump)
			s = span_from_str(dump);
		text[len++] = ' ';
		log_escape(text + len, cap - len, s);
		len += strlen(text + len);
		free(dump);
		dump = NULL;
	}
}

static void log_change(const struct control_client *client, const char *name,
		       const json_t *request, const json_t *answer)
{
	const char *refused =
		json_string_value(json_object_get(answer, "error"));
	char text[256], buf[1024], why[256];
	struct ucred who = { 0 };
	socklen_t len = sizeof(who);

	if (getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		who.uid = (uid_t)-1;
	describe_request(request, name, text, sizeof(text));
	log_notice(
		"uid %u (%s) pid %d: %s%s%s", who.uid,
		user_name(who.uid, buf, sizeof(buf)), who.pid, text,
		refused ? ": refused: " : "",
		refused ? log_escape(why, sizeof(why), span_from_str(refused))
			: "");
}

/* ---- requests ---- */

static json_t *refuse(const char *why)
{
	return json_pack("{s:s}", "error", why);
}

static bool has_room_for_subscriber(const struct control *control)
{
	unsigned int n = 0;

	for (int i = 0; i < CONTROL_CLIENTS; i++)
		n += control->client[i].subscription != NULL;
	return n < CONTROL_SUBSCRIBERS;
}

/* NULL: it is a subscriber from now on */
static json_t *subscribe(struct control *control, struct control_client *client,
			 const struct control_command *c, const json_t *request)
{
	json_t *answer;

	if (!has_room_for_subscriber(control))
		return refuse("too many who trace or capture");
	client->out = malloc(CONTROL_BACKLOG);
	if (!client->out)
		return refuse("out of memory");
	client->subscription = c;
	client->age_s = 0;
	/* Nothing is to be sent yet: no news but of its end */
	watch(control, EPOLL_CTL_MOD, client->fd, 0);
	answer = c->subscribe(control->arg, request, client);
	if (!answer)
		return NULL;
	client->subscription = NULL;
	free(client->out);
	client->out = NULL;
	return answer;
}

/* NULL: it gets its answer in pieces from now on, or memory ran out */
static json_t *begin(const struct control *control,
		     struct control_client *client,
		     const struct control_command *c, const json_t *request)
{
	json_t *answer = c->begin(control->arg, request, &client->state);

	if (answer || !client->state)
		return answer;
	client->pieces = c;
	client->age_s = 0;
	client->waits = true;
	watch(control, EPOLL_CTL_MOD, client->fd, EPOLLOUT);
	return NULL;
}

static const struct control_command *find(const struct control *control,
					  const char *name)
{
	for (const struct control_command *c = control->commands; c->name;
	     c++) {
		if (!strcmp(c->name, name))
			return c;
	}
	return NULL;
}

static void client_answer(struct control *control,
			  struct control_client *client, json_t *request)
{
	const json_t *command = json_object_get(request, "command");
	const char *name = json_string_value(command);
	const struct control_command *c = name ? find(control, name) : NULL;
	json_t *answer;

	if (!command)
		answer = refuse("no \"command\" in the request");
	else if (!name)
		answer = refuse("\"command\" is not a string");
	else if (!c)
		answer = refuse("unknown command");
	else if (c->subscribe)
		answer = subscribe(control, client, c, request);
	else if (c->begin)
		answer = begin(control, client, c, request);
	else
		answer = c->answer(control->arg, request);
	if (c && c->changes)
		log_change(client, name, request, answer);
	if (!client->subscription && !client->pieces)
		client_reply(control, client, answer);
}

/* A whole line is there, without its end */
static void client_ask(struct control *control, struct control_client *client,
		       struct span line)
{
	json_error_t error;
	json_t *request =
		json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
	char why[JSON_ERROR_TEXT_LENGTH + 32];
	char text[JSON_ERROR_TEXT_LENGTH];

	if (request) {
		client_answer(control, client, request);
		json_decref(request);
		return;
	}
	/* It may quote what is no text at all */
	snprintf(why, sizeof(why), "not JSON: %s",
		 log_escape(text, sizeof(text), span_from_str(error.text)));
	client_reply(control, client, refuse(why));
}

static void client_receive(struct control *control,
			   struct control_client *client)
{
	ssize_t n = recv(client->fd, client->in + client->in_len,
			 sizeof(client->in) - client->in_len, 0);
	struct span got = { client->in, client->in_len };
	const char *end;

	if (n < 0 && errno == EAGAIN)
		return;
	if (!n && got.len) {
		client_reply(control, client,
			     refuse("no line end behind the request"));
		return;
	}
	if (n <= 0) {
		client_close(control, client);
		return;
	}
	client->in_len = got.len += (size_t)n;
	end = span_chr(got, '\n');
	if (end && end + 1 != span_end(got))
		client_reply(control, client,
			     refuse("one request a connection"));
	else if (end)
		client_ask(control, client, span_between(got.ptr, end));
	else if (got.len == sizeof(client->in))
		client_reply(control, client, refuse("request too long"));
}

/* ---- subscribers ---- */

bool control_tell(struct control *control, struct control_client *client,
		  const void *data, size_t len)
{
	size_t unsent = client_unsent(client);

	if (len > CONTROL_BACKLOG - unsent)
		return false;
	if (client->out_len + len > CONTROL_BACKLOG) {
		memmove(client->out, client->out + client->out_done, unsent);
		client->out_done = 0;
		client->out_len = unsent;
	}
	memcpy(client->out + client->out_len, data, len);
	client->out_len += len;
	/* If it has gone, epoll says so: here the caller is in the midst of
	 * its subscribers
	 */
	if (!client->waits)
		client_flush(client);
	client_watch(control, client);
	return true;
}

static void subscriber_ready(const struct control *control,
			     struct control_client *client)
{
	struct pollfd pollfd = { .fd = client->fd };

	if (poll(&pollfd, 1, 0) || !client_flush(client))
		client_close(control, client);
	else
		client_watch(control, client);
}

/* ---- the socket ---- */

static void turn_away(int fd)
{
	static const char full[] = "{\"error\":\"too many at the control "
				   "socket; try again\"}\n";

	if (send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL) < 0)
		log_debug("control socket: %s", strerror(errno));
	close(fd);
}

/* No descriptor or no memory is left. Who waits would wake us all the time, and
 * in vain: the next tick asks again
 */
static void pause_accepting(struct control *control)
{
	if (!control->deaf)
		log_warning("%s: %s; nobody is let in until that is over",
			    control->path, strerror(errno));
	control->deaf = true;
	watch(control, EPOLL_CTL_MOD, control->fd, 0);
}

static void accept_client(struct control *control)
{
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EAGAIN && errno != ECONNABORTED)
			pause_accepting(control);
		return;
	}
	control->deaf = false;
	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		if (control->client[i].fd >= 0)
			continue;
		control->client[i].fd = fd;
		if (watch(control, EPOLL_CTL_ADD, fd, EPOLLIN))
			client_close(control, &control->client[i]);
		return;
	}
	turn_away(fd);
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
		if (client->subscription)
			subscriber_ready(control, client);
		else if (client->out || client->pieces)
			client_send(control, client);
		else
			client_receive(control, client);
		return true;
	}
	return false;
}

/* How long a client may take for what it is at; a subscriber that reads has
 * nothing that waits, and all the time
 */
static unsigned int patience_s(const struct control_client *client)
{
	if (client->subscription)
		return client->waits ? SUBSCRIBER_S : UINT_MAX;
	return client->out || client->pieces ? ANSWER_S : REQUEST_S;
}

void control_tick(struct control *control)
{
	if (control->deaf)
		watch(control, EPOLL_CTL_MOD, control->fd, EPOLLIN);
	for (int i = 0; i < CONTROL_CLIENTS; i++) {
		struct control_client *client = &control->client[i];

		if (client->fd >= 0 && ++client->age_s > patience_s(client))
			client_close(control, client);
	}
}
