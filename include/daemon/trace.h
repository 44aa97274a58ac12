/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_TRACE_H
#define SIPALG_DAEMON_TRACE_H

#include "daemon/control.h"
#include "daemon/filter.h"
#include "daemon/ring.h"
#include "daemon/seen.h"

/*
 * Theory of operation
 *
 * While nobody listens there is nothing but a look at trace_is_on() for each
 * packet. Else what each packet was, and what became of it, is copied into a
 * ring (a group of records for a packet), if a filter wants it. When packets
 * have had their turn, the loop lets one group be made into text and sent:
 * trace_run(). So the packets pay for copies, never for text, for sockets, or
 * for whoever reads slowly; where the ring or a reader's socket is full, its
 * messages are lost, counted, and it is told how many.
 *
 * A trace is told messages, a capture the packets they came and left in.
 */

/**
 * struct trace_subscriber - Somebody who listens
 * @client:	NULL: the place is free
 * @packets:	It captures; else it traces
 * @since:	Where the ring was when it came: what is older is not for it
 * @lost:	Not told, and it does not know yet
 * @pending:	Of it in the group in hand: packets or messages
 */
struct trace_subscriber {
	struct control_client *client;
	struct filter filter;
	bool packets;
	uint64_t since, lost;
	unsigned int pending;
};

/**
 * struct trace - All who listen
 * @count, @captures: How many; how many of them capture
 * @group:	Of the packet in hand; NULL: there is no room, or none in hand
 * @turns:	Of the loop, since something was told
 * @in_hand:	Between trace_begin() and trace_end()
 * @read:	The packet in hand was read as a message
 * @last:	The last of those; NULL: nobody wants it
 * @to:		What NAT makes of the packet in hand; .proto 0: not known
 * @msg:	Scratch
 */
struct trace {
	struct alg *alg;
	struct control *control;
	struct ring ring;
	unsigned int count, captures;
	struct trace_subscriber sub[CONTROL_SUBSCRIBERS];
	struct seen_group *group;
	unsigned int turns;
	bool in_hand, read;
	void *last;
	uint8_t wanted;
	uint64_t time_us;
	enum nat_side side;
	const void *data;
	size_t len;
	struct tuple to;
	struct message msg;
};

/** trace_init() - Nobody listens yet */
void trace_init(struct trace *t, struct alg *alg, struct control *control);

/** trace_subscribe() - {"command": "trace", "filter": ["phone=192.168.1.9"]};
 * @arg: struct daemon. As struct control_command */
json_t *trace_subscribe(void *arg, const json_t *request,
			struct control_client *client);
/** trace_capture() - The same for packets */
json_t *trace_capture(void *arg, const json_t *request,
		      struct control_client *client);
/** trace_unsubscribe() - As struct control_command */
void trace_unsubscribe(void *arg, struct control_client *client);

static inline bool trace_is_on(const struct trace *t)
{
	return t->count;
}

/** trace_begin() - A packet comes, from its IP header on; borrowed until
 * trace_end() */
void trace_begin(struct trace *t, const void *data, size_t len,
		 enum nat_side side);
/** trace_end() - It has been decided */
void trace_end(struct trace *t, const struct decision *decision);

/** trace_own() - The daemon sends a packet of its own, in or between packets */
void trace_own(struct trace *t, const void *data, size_t len);

/**
 * trace_run() - Tell one packet's worth of what waits, once a turn of the loop
 * @idle:	There was nothing else to do; else it is left for some turns
 */
void trace_run(struct trace *t, bool idle);

/** trace_waits() - There is more for trace_run() */
static inline bool trace_waits(const struct trace *t)
{
	return t->count && !ring_is_empty(&t->ring);
}

/** trace_tick() - About once a second: tell what was lost */
void trace_tick(struct trace *t);

#endif
