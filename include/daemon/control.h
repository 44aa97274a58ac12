/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_CONTROL_H
#define SIPALG_DAEMON_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

#include "conf/conf.h"

/** CONTROL_CLIENTS - At one time; more are turned away */
#define CONTROL_CLIENTS 16
/** CONTROL_SUBSCRIBERS - Of these, as many may be subscribers */
#define CONTROL_SUBSCRIBERS 8
/** CONTROL_BACKLOG - What is kept for a subscriber that reads slowly, bytes */
#define CONTROL_BACKLOG (1 << 18)
/** CONTROL_REQUEST - Longest request, bytes */
#define CONTROL_REQUEST 4096

struct control_client;

/**
 * struct control_command - One thing the socket can be asked
 * @name:	As in {"command": "status"}
 * @answer:	Makes the answer, a new reference; NULL if memory ran out.
 *		{"error": "why"} refuses
 * @changes:	It changes something: who asked is logged. What only asks
 *		needs another name
 * @subscribe:	Instead of @answer: NULL keeps @client, who then gets lines by
 *		control_tell(); else it is the answer, {"error": "why"}
 * @unsubscribe: The subscriber is gone; @client must not be used any more
 * @begin:	Instead of @answer: begin one that is too long to be made while
 *		packets wait. Sets @state and returns NULL, or an answer,
 *		{"error": "why"}
 * @piece:	The next piece of its text, malloc()ed and never empty; NULL:
 *		that was all. Called once a turn of the loop, when the last one
 *		is sent, so it may take a millisecond
 * @end:	Free @state: all is said, or the client is gone
 */
struct control_command {
	const char *name;
	json_t *(*answer)(void *arg, const json_t *request);
	bool changes;
	json_t *(*subscribe)(void *arg, const json_t *request,
			     struct control_client *client);
	void (*unsubscribe)(void *arg, struct control_client *client);
	json_t *(*begin)(void *arg, const json_t *request, void **state);
	char *(*piece)(void *arg, void *state);
	void (*end)(void *arg, void *state);
};

/**
 * struct control_client - One connection
 * @fd:		-1: the place is free
 * @subscription: It stays, as a subscriber of this command
 * @pieces, @state: It gets an answer of this command in pieces
 * @out:	What is still to be sent: one answer of any size, or a
 *		subscriber's lines, bounded
 * @waits:	It waits for room in the socket
 * @age_s:	Since it connected, was answered, or last took something
 */
struct control_client {
	int fd;
	const struct control_command *subscription, *pieces;
	void *state;
	size_t in_len, out_len, out_done;
	char *out;
	bool waits;
	unsigned int age_s;
	char in[CONTROL_REQUEST];
};

/**
 * struct control - The control socket
 *
 * One connection is one request and one answer, each a line of JSON:
 * {"command": "status"} -> {"version": ...} or {"error": "why"}. A subscriber
 * gets lines until either side closes.
 *
 * @deaf:	The last who came could not be accepted: asked again by ticks
 */
struct control {
	int fd, epoll;
	bool deaf;
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

/** control_tick() - A second is over: who takes too long is put out */
void control_tick(struct control *control);

/**
 * control_tell() - Send a line, or any bytes, to a subscriber
 *
 * Never waits: what the socket does not take is kept, CONTROL_BACKLOG bytes of
 * it at most. Nothing of @data is sent if not all of it has room.
 *
 * Return: false if it has no room
 */
bool control_tell(struct control *control, struct control_client *client,
		  const void *data, size_t len);

#endif
