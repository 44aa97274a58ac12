/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIM_SIMNAT_H
#define SIPALG_SIM_SIMNAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "conf/conf.h"
#include "state/nat.h"

/*
 * Theory of operation
 *
 * What the state layer asks of the kernel, answered by a table in memory: for
 * sipalg-replay, the unit tests and the fuzzers. It keeps the kernel's rules
 * as far as they show through struct nat_ops: one table holds both tuples of
 * every entry, each tuple once; an entry goes when its time is over; packets
 * prolong it unless its timeout is fixed; and what leaves without an entry is
 * given one, as MASQUERADE would. Time stands still until it is set.
 */

/** SIMNAT_ENTRIES - Entries there is room for, as nf_conntrack_max */
#define SIMNAT_ENTRIES 65536
/** SIMNAT_NETWORKS - Inside networks, and routes, that can be told */
#define SIMNAT_NETWORKS 64

/* nf_conntrack_udp_timeout and ..._stream, kernel defaults, seconds */
#define SIMNAT_IDLE_S 30
#define SIMNAT_IDLE_ANSWERED_S 120
/* nf_conntrack_tcp_timeout_syn_sent and ..._established; the simulation does
 * not look at flags: a connection is established when both sides were heard
 */
#define SIMNAT_TCP_IDLE_S 120
#define SIMNAT_TCP_IDLE_ANSWERED_S 432000

/** enum simnat_call - Operations that can be made to fail */
enum simnat_call {
	SIMNAT_FIND,
	SIMNAT_CREATE,
	SIMNAT_REMOVE,
	SIMNAT_REFRESH,
	SIMNAT_SET_MARK,
	SIMNAT_SET_LIBERAL,
	SIMNAT_SEND,
	SIMNAT_ROUTE,
	SIMNAT_LISTEN,
	SIMNAT_CALLS,
};

/**
 * struct simnat_fault - Failures to come of one operation
 * @skip:	Calls that still go well
 * @times:	Calls after those that fail
 * @err:	With this, negative
 */
struct simnat_fault {
	unsigned int skip, times;
	int err;
};

struct simnat_entry;

/** struct simnat_key - One of the two tuples of an entry, in the table */
struct simnat_key {
	struct tuple tuple;
	struct simnat_entry *owner;
	UT_hash_handle hh;
};

/**
 * struct simnat_entry - A conntrack entry
 * @data:	What find() gives
 * @due_ms:	When it goes
 */
struct simnat_entry {
	struct nat_entry data;
	uint64_t due_ms;
	struct simnat_key lan, wan;
	struct simnat_entry *prev, *next;
};

/** struct simnat_route - Packets to @to leave with @from */
struct simnat_route {
	struct network to;
	struct addr from;
};

/**
 * struct simnat - The table and what surrounds it
 * @limit:	Entries at most; SIMNAT_ENTRIES, or less for a test
 * @counting:	As nf_conntrack_acct
 * @calls:	How often each operation was asked for
 * @line, @heard: What is listened to, and was heard
 * @sent:	If set, gets the packets that the state layer sends itself
 * @swept_s:	Second in which the table was last searched for the dead
 */
struct simnat {
	struct simnat_key *table;
	struct simnat_entry *list;
	unsigned int count, limit;
	uint64_t now_ms, swept_s;
	unsigned int pings;
	bool counting;
	unsigned int inside_count, route_count;
	struct network inside[SIMNAT_NETWORKS];
	struct simnat_route route[SIMNAT_NETWORKS];
	unsigned int calls[SIMNAT_CALLS];
	struct simnat_fault fault[SIMNAT_CALLS];
	struct nat_line line;
	struct nat_overheard heard;
	void (*sent)(void *arg, const void *packet, size_t len);
	void *sent_arg;
};

/** simnat_ops - For alg_new(), with a struct simnat as context */
extern const struct nat_ops simnat_ops;

/** simnat_init() - An empty table, no network, no route; time is 0 */
void simnat_init(struct simnat *sim);
/** simnat_free() - Drop every entry */
void simnat_free(struct simnat *sim);

/** simnat_set_now() - Let time pass; it never goes back */
void simnat_set_now(struct simnat *sim, uint64_t now_ms);

/** simnat_add_inside() - A network behind the gateway; -ENOSPC if too many */
int simnat_add_inside(struct simnat *sim, const struct network *net);

/** simnat_add_route() - The public address towards a network outside; the
 * longest prefix counts. @from is the gateway's own. -ENOSPC if too many */
int simnat_add_route(struct simnat *sim, const struct network *to,
		     const struct addr *from);

/** simnat_fail() - From now on let @call succeed @skip times, then fail @times
 * times with @err (negative) */
void simnat_fail(struct simnat *sim, enum simnat_call call, unsigned int skip,
		 unsigned int times, int err);

/**
 * simnat_pass() - A packet goes through conntrack and NAT
 * @side:	Where it came from
 * @in:		Its tuple
 * @out:	The tuple it leaves with; @in where nothing is translated
 *
 * Counts, prolongs, and makes the entry of a new flow from inside.
 *
 * Return: 0; -ENOSPC if a new flow found no room (the kernel drops it)
 */
int simnat_pass(struct simnat *sim, enum nat_side side, const struct tuple *in,
		struct tuple *out);

/**
 * simnat_is_queued() - The rules bring a packet to the daemon
 *
 * As sipalgd --print-rules has them, interfaces apart; others go their way
 * unseen.
 */
bool simnat_is_queued(struct simnat *sim, const struct conf *conf,
		      enum nat_side side, const struct tuple *t);

#endif
