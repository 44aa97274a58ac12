/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_CONNECTION_H
#define SIPALG_STATE_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/table.h"
#include "base/timer.h"
#include "conf/conf.h"
#include "state/counters.h"
#include "state/nat.h"
#include "tcp/stream.h"

/*
 * Theory of operation
 *
 * A connection begins with a SYN that passes in raw PREROUTING: what NAT will
 * make of it is known when the answer comes. Until then it has one key, the
 * tuple on the LAN; then a second, that of its packets from the WAN. End 0 of
 * its stream is the inside host that sends with the first one; in a hairpin
 * the other inside host sends with the second one.
 *
 * A connection that was changed cannot go on without us: it is kept until it
 * ends. Others are forgotten where there are too many, first those whose SYN is
 * not answered. One that is older than this program is left alone, but if a
 * former self has changed it, it is refused.
 */

/** CONNECTION_TICK_MS - How exact retransmission timers are */
#define CONNECTION_TICK_MS 8

/** enum connection_kind - In what order they are forgotten where there are too
 * many */
enum connection_kind {
	CONNECTION_OPENING, /* its SYN is not answered */
	CONNECTION_PLAIN, /* it does without us, or is over */
	CONNECTION_READ, /* it does without us, until a message is changed */
	CONNECTION_CHANGED, /* it cannot: never */
	CONNECTION_KINDS,
};

/**
 * struct connection - A TCP connection that may carry SIP
 * @lan, @wan:	As in struct nat_entry; its keys
 * @path:	For packets of our own, by the end in whose name they go
 * @repeat:	Runs while bytes of ours are not acknowledged
 * @life:	When it is to be looked after, at the latest
 * @used_ms, @placed_ms: Its last packet; when it went to the end of its list
 * @kind:	Which list it is in
 * @answered:	End 1 has been heard
 * @refused:	Its ends are to be told that it cannot go on: connection_adopt()
 * @holds:	Bytes of an unfinished message wait in it
 * @alien:	It carries no SIP that can be read
 */
struct connection {
	UT_hash_handle by_lan; /* beside its key: a cache line less */
	struct tuple lan;
	UT_hash_handle by_wan;
	struct tuple wan;
	uint64_t used_ms, placed_ms;
	enum connection_kind kind;
	bool answered, refused, holds, alien;
	struct segment_path path[2];
	struct timer repeat, life;
	struct connection *prev, *next, *holds_prev, *holds_next;
	struct stream stream;
};

/**
 * struct connections - All of them
 * @memory:	What they hold, and may
 * @msg:	Scratch
 * @message:	A message of end @from: as struct stream_ops; @reason is what
 *		became of it
 * @ended:	A connection is forgotten
 * @owner:	For these two
 * @offline:	As in struct stream_env
 * @repeats, @lives: Wheels
 *
 * @holding:	Those that hold bytes, in the order in which they began to
 *
 * The lists are in order of last use, to a second, the oldest first.
 */
struct connections {
	const struct conf *conf;
	const struct nat *nat;
	struct counters *counters;
	struct tcp_memory memory;
	struct message *msg;
	struct span (*message)(void *owner, const struct connection *c,
			       int from, uint64_t now_ms, enum counter *reason);
	void (*ended)(void *owner, const struct connection *c);
	void *owner;
	bool offline;
	struct timer_wheel repeats, lives;
	struct connection *by_lan, *by_wan, *list[CONNECTION_KINDS], *holding;
};

/** connections_init() - None yet; the caller has set all up to @owner */
void connections_init(struct connections *all, uint64_t now_ms);

/** connections_free() - Forget them as they are */
void connections_free(struct connections *all);

/**
 * connections_need_all() - Packets must not pass unread, also where that means
 * to drop them
 *
 * Of a connection that was changed, or of one that the next message may change:
 * what passes before that, and what waits meanwhile, would be taken for parts
 * of one stream.
 */
bool connections_need_all(const struct connections *all);

/** connections_abort() - Reset those that cannot go on without us; how many */
unsigned int connections_abort(struct connections *all, uint64_t now_ms);

/**
 * connection_find() - The connection of a packet
 * @t:		Its tuple
 * @side:	Where it was seen
 * @from:	Set to the end that sent it
 *
 * Return: NULL if there is none
 */
struct connection *connection_find(const struct connections *all,
				   const struct tuple *t, enum nat_side side,
				   int *from);

/**
 * connection_open() - A SYN passes
 * @lan:	Its tuple on the LAN
 *
 * Return: a new connection; NULL if there is no room for one
 */
struct connection *connection_open(struct connections *all,
				   const struct tuple *lan, uint64_t now_ms);

/** connection_attach() - What NAT made of it is known; false without memory */
bool connection_attach(struct connections *all, struct connection *c,
		       const struct tuple *wan);

/** connection_renew() - A SYN with its ports: if it is over, for us or for the
 * kernel, it is forgotten. Return: false if not */
bool connection_renew(struct connections *all, struct connection *c);

/** connection_leave() - A packet is to pass unread: its connection is
 * forgotten. Return: false where it cannot go on without us */
bool connection_leave(struct connections *all, const struct tuple *t,
		      enum nat_side side);

/**
 * connection_adopt() - One that is older than this program
 *
 * It is left alone. One that a former self has changed cannot go on: what is
 * sent on it is answered by a reset. In a capture it is read from the first
 * start line on that begins a segment.
 */
void connection_adopt(struct connections *all, const struct nat_entry *entry,
		      uint64_t now_ms);

/**
 * connection_packet() - A packet of it came
 * @from:	The end that sent it
 * @out:	Room for a packet of PACKET_MAX bytes
 * @len:	Of STREAM_REPLACE: length of the packet in @out
 * @reason:	What became of the last message in it, or COUNTER_tcp_segments
 *
 * Messages before the last one are counted here.
 */
enum stream_verdict connection_packet(struct connections *all,
				      struct connection *c, int from,
				      const struct packet *pkt, uint64_t now_ms,
				      uint8_t *out, size_t *len,
				      enum counter *reason);

/** connections_run() - Let time pass; when connections_wait_ms() says so */
void connections_run(struct connections *all, uint64_t now_ms);

/** connections_wait_ms() - Until then nothing happens by itself; -1: ever */
int connections_wait_ms(const struct connections *all, uint64_t now_ms);

/**
 * connections_move() - Addresses or routes have changed: those that cannot go
 * on are ended, for their hosts to begin anew
 *
 * Return: how many
 */
unsigned int connections_move(struct connections *all, uint64_t now_ms);

struct saved_connection;

/** connection_save() - Write it down; false if nobody needs to know of it:
 * it is not read, and was not changed */
bool connection_save(const struct connection *c, struct saved_connection *out);

/**
 * connection_restore() - One that was written down, and has rested since
 *
 * Return: false if the kernel has dropped its entry, or @in contradicts itself;
 * its ends are then told when they send, as by connection_adopt()
 */
bool connection_restore(struct connections *all,
			const struct saved_connection *in, uint64_t now_ms);

#endif
