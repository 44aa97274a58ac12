/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/httpd.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

/* Memory of one connection, for what it sends and its headers, bytes */
#define CLIENT_MEMORY 8192
#define BACKLOG 16

/* ---- answers ---- */

/* Errors have no other text than their status line's */
static enum MHD_Result refuse(struct MHD_Connection *client,
			      unsigned int status, const char *allow)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		0, NULL, MHD_RESPMEM_PERSISTENT);
	enum MHD_Result done = MHD_NO;

	if (!response)
		return MHD_NO;
	if (!allow ||
	    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allow))
		done = MHD_queue_response(client, status, response);
	MHD_destroy_response(response);
	return done;
}

static enum MHD_Result send_page(const struct httpd *httpd,
				 struct MHD_Connection *client)
{
	const char *type, *accept = MHD_lookup_connection_value(
				  client, MHD_HEADER_KIND, "Accept");
	struct MHD_Response *response;
	enum MHD_Result done = MHD_NO;
	size_t len;
	char *text = httpd->text(httpd->arg, accept, &type, &len);

	if (!text)
		return refuse(client, MHD_HTTP_SERVICE_UNAVAILABLE, NULL);
	response = MHD_create_response_from_buffer(len, text,
						   MHD_RESPMEM_MUST_FREE);
	if (!response) {
		free(text);
		return MHD_NO;
	}
	/* Who asks for another type gets another text */
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				    type) &&
	    MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept"))
		done = MHD_queue_response(client, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return done;
}

/*
 * Called first when the header has come, then for each piece of a body, then
 * without one. An answer at the first call ends the connection after it, so
 * that nobody sends us a long body for nothing.
 */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *client,
				  const char *url, const char *method,
				  const char *version, const char *body,
				  size_t *body_len, void **seen)
{
	struct httpd *httpd = arg;

	(void)version;
	(void)body;
	if (strcmp(url, httpd->path) != 0)
		return refuse(client, MHD_HTTP_NOT_FOUND, NULL);
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
	    strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return refuse(client, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, HEAD");
	if (!*seen) {
		*seen = httpd;
		return MHD_YES;
	}
	if (*body_len)
		return MHD_NO; /* a body, however long it may be: goodbye */
	return send_page(httpd, client);
}

/* ---- how long it takes ---- */

static uint64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* libmicrohttpd closes who is silent; who says a byte now and then it would
 * wait for without end
 */
static void on_connection(void *arg, struct MHD_Connection *connection,
			  void **context,
			  enum MHD_ConnectionNotificationCode what)
{
	struct httpd *httpd = arg;
	struct httpd_client *client = *context;

	if (what == MHD_CONNECTION_NOTIFY_CLOSED && client)
		client->fd = -1;
	if (what != MHD_CONNECTION_NOTIFY_STARTED)
		return;
	for (client = httpd->client; client < httpd->client + HTTPD_CLIENTS;
	     client++) {
		if (client->fd >= 0)
			continue;
		client->fd =
			MHD_get_connection_info(
				connection, MHD_CONNECTION_INFO_CONNECTION_FD)
				->connect_fd;
		client->since_ms = monotonic_ms();
		*context = client;
		return;
	}
}

static void on_served(void *arg, struct MHD_Connection *connection, void **seen,
		      enum MHD_RequestTerminationCode how)
{
	struct httpd_client *client =
		MHD_get_connection_info(connection,
					MHD_CONNECTION_INFO_SOCKET_CONTEXT)
			->socket_context;

	(void)arg;
	(void)seen;
	(void)how;
	if (client)
		client->since_ms = monotonic_ms();
}

/* To libmicrohttpd it is as if they had hung up */
static void hang_up_slow(const struct httpd *httpd)
{
	uint64_t now_ms = monotonic_ms();

	for (int i = 0; i < HTTPD_CLIENTS; i++) {
		const struct httpd_client *client = &httpd->client[i];

		if (client->fd >= 0 &&
		    now_ms - client->since_ms >= HTTPD_REQUEST_S * 1000)
			shutdown(client->fd, SHUT_RDWR);
	}
}

/* What it says is of clients: nobody's fault here */
static void on_log(void *arg, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void on_log(void *arg, const char *fmt, va_list ap)
{
	char text[256];

	(void)arg;
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\r\n")] = '\0';
	log_debug("metrics: %s", text);
}

/* ---- beginning and end ---- */

/* Ours, not libmicrohttpd's, so that errno tells why it cannot be had */
static int open_socket(const struct endpoint *end)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(end, &ss);
	int one = 1, err = 0;
	int fd = socket(ss.ss_family,
			SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (ss.ss_family == AF_INET6 &&
	     setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, (struct sockaddr *)&ss, len) || listen(fd, BACKLOG))
		err = -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* Takes over @fd if all is well */
static struct MHD_Daemon *start(struct httpd *httpd, int fd)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request,
		httpd, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)HTTPD_CLIENTS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
		(unsigned int)HTTPD_CLIENTS_PER_HOST,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HTTPD_IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CLIENT_MEMORY,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, httpd,
		MHD_OPTION_NOTIFY_COMPLETED, on_served, NULL, MHD_OPTION_END);
}

/* By edges: where no descriptor is left for who wants in, libmicrohttpd would
 * be woken all the time, and in vain. What an edge does not tell (it accepts
 * ten at most at once) waits for the next one, or httpd_run()'s second
 */
static int watch(const struct httpd *httpd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET,
				     .data.fd = httpd->fd };

	return epoll_ctl(httpd->epoll, EPOLL_CTL_ADD, httpd->fd, &event)
		       ? -errno
		       : 0;
}

int httpd_open(struct httpd **out, const struct endpoint *end, int epoll,
	       const char *path, httpd_text_t *text, void *arg)
{
	struct httpd *httpd = calloc(1, sizeof(*httpd));
	int err, fd = httpd ? open_socket(end) : -ENOMEM;

	if (fd < 0) {
		free(httpd);
		return fd;
	}
	*httpd = (struct httpd){ .end = *end,
				 .epoll = epoll,
				 .path = path,
				 .text = text,
				 .arg = arg };
	for (int i = 0; i < HTTPD_CLIENTS; i++)
		httpd->client[i].fd = -1;
	httpd->mhd = start(httpd, fd);
	if (!httpd->mhd) {
		close(fd);
		free(httpd);
		return -ENOMEM;
	}
	httpd->fd = MHD_get_daemon_info(httpd->mhd, MHD_DAEMON_INFO_EPOLL_FD)
			    ->epoll_fd;
	err = watch(httpd);
	if (err)
		httpd_close(httpd);
	else
		*out = httpd;
	return err;
}

void httpd_close(struct httpd *httpd)
{
	if (!httpd)
		return;
	epoll_ctl(httpd->epoll, EPOLL_CTL_DEL, httpd->fd, NULL);
	MHD_stop_daemon(httpd->mhd);
	free(httpd);
}

void httpd_run(struct httpd *httpd)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;

	if (!httpd)
		return;
	hang_up_slow(httpd);
	MHD_run(httpd->mhd);
	httpd->more = MHD_get_timeout(httpd->mhd, &wait_ms) && !wait_ms;
}

bool httpd_ready(struct httpd *httpd, int fd)
{
	if (!httpd || fd != httpd->fd)
		return false;
	httpd_run(httpd);
	return true;
}
