/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_HTTPD_H
#define SIPALG_DAEMON_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/** HTTPD_CLIENTS - Connections at one time; more wait in the kernel */
#define HTTPD_CLIENTS 8
/** HTTPD_CLIENTS_PER_HOST - Of one address; more are turned away */
#define HTTPD_CLIENTS_PER_HOST 4
/** HTTPD_IDLE_S - A connection that says nothing for so long is closed */
#define HTTPD_IDLE_S 10
/** HTTPD_REQUEST_S - So long a request may take, from the connection's begin or
 * the end of the request before to the last byte of the page */
#define HTTPD_REQUEST_S 15

/**
 * httpd_text_t - Make the page
 * @accept:	What the client takes, as in its header Accept; NULL: it does
 *		not say
 * @type:	Set to the Content-Type
 * @len:	Set to its length, bytes
 *
 * Return: from malloc(), taken over; NULL if memory ran out
 */
typedef char *httpd_text_t(void *arg, const char *accept, const char **type,
			   size_t *len);

/**
 * struct httpd_client - A connection
 * @fd:		-1: none
 * @since_ms:	When it began, or its last request was served
 */
struct httpd_client {
	int fd;
	uint64_t since_ms;
};

/**
 * struct httpd - A web server of one page, in the caller's loop
 * @mhd:	libmicrohttpd's
 * @end:	Where it listens
 * @fd:		libmicrohttpd's own epoll descriptor, watched by @epoll
 * @more:	There is more to be done at once
 * @client:	Those who are connected
 */
struct httpd {
	struct MHD_Daemon *mhd;
	struct endpoint end;
	int epoll, fd;
	bool more;
	struct httpd_client client[HTTPD_CLIENTS];
	const char *path;
	httpd_text_t *text;
	void *arg;
};

/**
 * httpd_open() - Listen
 * @out:	The server, on success
 * @end:	Where
 * @epoll:	Gets one descriptor, with the descriptor as its data
 * @path:	Of the page: "/metrics"; all else is not found
 *
 * No threads, bounded in connections, memory and time: what a client does or
 * does not do costs a turn of the loop no more than HTTPD_CLIENTS pages.
 *
 * Return: 0; -EADDRINUSE, -EADDRNOTAVAIL, -EACCES as bind(2); -errno
 */
int httpd_open(struct httpd **out, const struct endpoint *end, int epoll,
	       const char *path, httpd_text_t *text, void *arg);
/** httpd_close() - Also of NULL; so for the functions below */
void httpd_close(struct httpd *httpd);

/**
 * httpd_ready() - A descriptor is ready
 *
 * Return: false if it is not the server's
 */
bool httpd_ready(struct httpd *httpd, int fd);

/** httpd_waits() - httpd_run() is to be called at once */
static inline bool httpd_waits(const struct httpd *httpd)
{
	return httpd && httpd->more;
}

/** httpd_run() - Do what can be done without waiting; besides, once a second,
 * for the sake of time-outs */
void httpd_run(struct httpd *httpd);

#endif
