/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_FLOW_H
#define SIPALG_STATE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/table.h"
#include "state/counters.h"
#include "state/mapping.h"
#include "state/nat.h"

struct bindings;

/**
 * struct flow - A conntrack entry we know
 * @lan, @wan:	As in struct nat_entry; its two keys
 * @map:	The mapping of @lan.src; its public end may differ from @wan.dst
 *		where another NAT rule chose for this flow
 * @sure_until_ms: Until then the kernel has it for certain
 * @touched_ms:	When its last packet was, to a second
 * @fixed:	Its timeout is fixed: packets do not prolong it
 * @ours:	The kernel's entry was made by us
 * @peer:	Of a TCP connection: the inside host has said something to it
 */
struct flow {
	UT_hash_handle by_lan; /* beside its key: a cache line less */
	struct tuple lan;
	UT_hash_handle by_wan;
	struct tuple wan;
	struct mapping *map;
	uint64_t sure_until_ms, touched_ms;
	bool fixed, ours;
	struct peer *peer;
	struct flow *prev, *next;
};

/**
 * flow_find() - A cached flow, whether or not the kernel still has it
 * @side:	The side on which a packet with @t was seen
 */
struct flow *flow_find(struct bindings *b, const struct tuple *t,
		       enum nat_side side);

/**
 * flow_outbound() - The flow of a packet from inside
 * @lan:	Its tuple
 *
 * The one we know, else the kernel's, else a new one.
 *
 * Return: NULL if it does not leave by a WAN interface, or no mapping can be
 * made; @why then is the reason
 */
struct flow *flow_outbound(struct bindings *b, const struct tuple *lan,
			   uint64_t now_ms, enum counter *why);

/**
 * flow_hairpin() - The flow of a packet from inside to a public endpoint of
 * ours, that is to another inside host
 * @lan:	Its tuple
 *
 * Both ends are translated (RFC 4787 REQ-9). There are two flows then, one as
 * each inside host sees it: the sender's is found by @lan on the LAN side, the
 * receiver's by the same tuple on the WAN side.
 *
 * Return: the sender's flow; NULL if no mapping has that endpoint
 */
struct flow *flow_hairpin(struct bindings *b, const struct tuple *lan,
			  uint64_t now_ms, enum counter *why);

/**
 * flow_inbound() - The flow of a packet from outside
 * @wan:	Its tuple
 *
 * Return: NULL if it belongs to no mapping, or its sender may not use it
 */
struct flow *flow_inbound(struct bindings *b, const struct tuple *wan,
			  uint64_t now_ms, enum counter *why);

/**
 * flow_stream() - The flow of a TCP connection
 * @t:		Tuple of its packets, seen on @side
 *
 * The one we know, else the kernel's; NAT has given it one.
 */
struct flow *flow_stream(struct bindings *b, const struct tuple *t,
			 enum nat_side side, uint64_t now_ms);

/** flow_answered() - The same of one that begins: the kernel's, since what we
 * know may be of an older one with the same ports */
struct flow *flow_answered(struct bindings *b, const struct tuple *t,
			   enum nat_side side, uint64_t now_ms);

/**
 * flow_hold() - Keep a mapping towards a remote open in the kernel
 * @lan:	Its LAN tuple
 * @map:	Its mapping; may be NULL with 0 @seconds
 * @seconds:	How long; 0: no longer than the kernel keeps idle flows
 *
 * The entry is made anew with a fixed timeout: see struct nat_entry.
 */
void flow_hold(struct bindings *b, const struct tuple *lan, struct mapping *map,
	       uint32_t seconds, uint64_t now_ms);

/** flow_meet() - The inside host has sent a message by that connection: while
 * it lasts, the other host may call, by another one too */
void flow_meet(struct bindings *b, struct flow *flow);

/** flow_end() - A connection has ended */
void flow_end(struct bindings *b, const struct tuple *lan);

/** flow_gone() - The kernel dropped an entry: ask before using it again */
void flow_gone(struct bindings *b, const struct tuple *lan);

/** flows_move() - Addresses or routes have changed: entries by which packets
 * leave no more are removed, and forgotten. Return: how many */
unsigned int flows_move(struct bindings *b);

/** flows_doubt() - The same for all of them: what went was not told */
void flows_doubt(struct bindings *b);

/** flow_adopt() - Take an entry the kernel has into the tables */
struct flow *flow_adopt(struct bindings *b, const struct nat_entry *entry,
			uint64_t now_ms);

/** flows_age() - Forget what the kernel has long dropped; about every second */
void flows_age(struct bindings *b, uint64_t now_ms);

/** flows_free() - Forget them; the kernel's entries stay */
void flows_free(struct bindings *b);

#endif
