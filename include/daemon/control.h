/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_CONTROL_H
#define SIPALG_DAEMON_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

#include "conf/conf.h"

/** CONTROL_CLIENTS - At one time; more are turned away */
#define CONTROL_CLIENTS 16
/** CONTROL_REQUEST - Longest request, bytes */
#define CONTROL_REQUEST 4096

/**
 * struct control_command - One thing the socket can be asked
 * @name:	As in {"command": "status"}
 * @answer:	Makes the answer, a new reference; NULL if memory ran out
 */
struct control_command {
	const char *name;
	json_t *(*answer)(void *arg, const json_t *request);
};

struct control_client {
	int fd;
	size_t in_len, out_len, out_done;
	char *out;
	char in[CONTROL_REQUEST];
};

/**
 * struct control - The control socket
 *
 * One connection is one request and one answer, each a line of JSON:
 * {"command": "status"} -> {"version": ...} or {"error": "why"}.
 */
struct control {
	int fd, epoll;
	const struct control_command *commands;
	void *arg;
	char path[CONF_PATH_MAX];
	struct control_client client[CONTROL_CLIENTS];
};

/**
 * control_open() - Listen on conf->control.socket
 * @epoll:	Gets every descriptor, with the descriptor as its data
 * @commands:	Ends with a row without a name
 * @arg:	Handed to each command
 *
 * Return: 0; -EADDRINUSE if another daemon listens there; -errno
 */
int control_open(struct control *control, const struct conf *conf, int epoll,
		 const struct control_command *commands, void *arg);
void control_close(struct control *control);

/**
 * control_ready() - A descriptor is ready
 *
 * Return: false if it is not one of the control socket's
 */
bool control_ready(struct control *control, int fd);

#endif
