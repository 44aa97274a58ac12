/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_BINDING_H
#define SIPALG_STATE_BINDING_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "base/addr.h"
#include "base/ports.h"
#include "conf/conf.h"
#include "sip/sites.h"
#include "state/counters.h"
#include "state/nat.h"

/*
 * Theory of operation
 *
 * A *mapping* gives an inside address and port one public address and port,
 * the same towards every peer (RFC 4787 REQ-1) and for as long as anything
 * needs it. It opens nothing by itself.
 *
 * A *flow* is one conntrack entry: a mapping towards one remote. Flows are
 * cached so that a packet of a known flow costs no question to the kernel; a
 * cached flow is believed until the moment the kernel could have dropped it,
 * then it is asked again, and made again if need be.
 *
 * A *peer* is a remote host that may reach an inside host's mappings: one the
 * inside host has sent to lately, is registered with, or has a call with. From
 * others a packet to a mapping is passed on unread, as if we were not there.
 */

/** UNDO_TEXT - Longest text that is remembered; longer ones are not mapped */
#define UNDO_TEXT 52
/** MAPPING_UNDO - Texts remembered a mapping */
#define MAPPING_UNDO 6
/** MAPPING_NOTES - Transactions remembered where texts alone are ambiguous */
#define MAPPING_NOTES 16

/**
 * struct undo - What stood where we wrote the public address
 * @group:	enum site_group
 * @port:	The port as written in its place; 0: none was written
 * @len:	Of @text; 0: the inside host wrote the public address itself
 * @text:	Host and port as the inside host wrote them
 */
struct undo {
	uint8_t group, len;
	uint16_t port;
	char text[UNDO_TEXT];
};

/** struct note - What one transaction wrote: by the hash of its branch */
struct note {
	uint32_t branch;
	struct undo undo;
};

/**
 * enum foreign - What an outside party wrote with the inside host's own private
 * address in it, by chance: its network has the same numbers as ours
 */
enum foreign {
	FOREIGN_REMOTE = 1, /* its own identity */
	FOREIGN_LOCAL = 2, /* that of the inside host */
	FOREIGN_ROUTE = 4, /* Record-Route */
};

/** struct foreign_call - Where that was so: by the hash of the Call-ID */
struct foreign_call {
	uint32_t call;
	uint8_t what;
};

struct notes {
	unsigned int next, next_foreign;
	struct note note[MAPPING_NOTES];
	struct foreign_call foreign[MAPPING_NOTES];
};

struct mapping_key {
	struct endpoint inside;
	struct addr public_addr;
	uint8_t proto, zero;
};

struct public_key {
	struct endpoint public_end;
	uint8_t proto, zero;
};

/**
 * struct mapping - An inside address and port with its public one
 * @in, @out:	Its two keys; never change them in place
 * @flows:	Flows that use it
 * @holds:	Registrations that need it
 * @bypassed:	Its host is one of bypass.user_agents
 * @undo, @undo_count: Texts remembered; of those for one place the last counts
 * @notes:	NULL until two texts would be written alike, or something is
 *		foreign
 */
struct mapping {
	struct mapping_key in;
	struct public_key out;
	unsigned int flows, holds;
	bool bypassed;
	uint8_t undo_count;
	struct undo undo[MAPPING_UNDO];
	struct notes *notes;
	UT_hash_handle by_inside, by_public;
	struct mapping *prev, *next;
};

/**
 * struct flow - A conntrack entry we know
 * @lan, @wan:	As in struct nat_entry; its two keys
 * @map:	The mapping of @lan.src; its public end may differ from @wan.dst
 *		where another NAT rule chose for this flow
 * @sure_until_ms: Until then the kernel has it for certain
 * @fixed:	Its timeout is fixed: packets do not prolong it
 */
struct flow {
	struct tuple lan, wan;
	struct mapping *map;
	uint64_t sure_until_ms;
	bool fixed;
	UT_hash_handle by_lan, by_wan;
	struct flow *prev, *next;
};

struct peer_key {
	struct addr inside, remote;
};

/**
 * struct peer - A remote host that may send to an inside host
 * @until_ms:	Allowed at least until then, because of recent traffic
 * @holds:	Calls and registrations with it: allowed while there are any
 */
struct peer {
	struct peer_key key;
	uint64_t until_ms;
	unsigned int holds;
	UT_hash_handle hh;
	struct peer *prev, *next;
};

/**
 * struct bindings - All of them
 *
 * The lists are in order of last use, the oldest first.
 */
struct bindings {
	const struct conf *conf;
	const struct nat *nat;
	struct counters *counters;
	struct mapping *by_inside, *by_public, *mappings;
	struct flow *by_lan, *by_wan, *flows;
	struct peer *peers, *peer_list;
};

/** bindings_free() - Forget everything; the kernel's entries stay */
void bindings_free(struct bindings *b);

/** mapping_find_inside() - NULL if there is none */
struct mapping *mapping_find_inside(const struct bindings *b, uint8_t proto,
				    const struct endpoint *inside,
				    const struct addr *public_addr);

/** mapping_find_public() - NULL if there is none */
struct mapping *mapping_find_public(const struct bindings *b, uint8_t proto,
				    const struct endpoint *public_end);

/**
 * mapping_get() - The mapping of an inside endpoint, made if need be
 * @public_addr: The address it shall have
 *
 * A new one keeps the inside port if that is one of sip.signalling_ports and
 * free, else takes the next free port.
 *
 * Return: NULL if no port is free or memory ran out
 */
struct mapping *mapping_get(struct bindings *b, uint8_t proto,
			    const struct endpoint *inside,
			    const struct addr *public_addr);

/**
 * mapping_remember() - Keep what an inside host wrote
 * @port:	Port that was written instead, 0: none
 * @text:	What stood there; empty if it wrote the public address itself
 * @branch:	Hash of the transaction's branch, 0 where there is none
 *
 * Return: false if @text is too long to be kept: do not map it
 */
bool mapping_remember(struct mapping *map, enum site_group group, uint16_t port,
		      struct span text, uint32_t branch);

/**
 * mapping_recall() - What stood where we wrote the public address
 * @branch:	As for mapping_remember()
 *
 * Return: NULL if nothing is known
 */
const struct undo *mapping_recall(const struct mapping *map,
				  enum site_group group, uint16_t port,
				  uint32_t branch);

/** mapping_note_foreign() - Remember enum foreign bits of a call */
void mapping_note_foreign(struct mapping *map, uint32_t call, uint8_t what);

/** mapping_foreign() - The bits remembered for a call */
uint8_t mapping_foreign(const struct mapping *map, uint32_t call);

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
 * flow_hold() - Keep a mapping towards a remote open in the kernel
 * @lan:	Its LAN tuple
 * @seconds:	How long; 0: no longer than the kernel keeps idle flows
 *
 * The entry is made anew with a fixed timeout: see struct nat_entry.
 */
void flow_hold(struct bindings *b, const struct tuple *lan, struct mapping *map,
	       uint32_t seconds, uint64_t now_ms);

/** flow_gone() - The kernel dropped an entry: ask before using it again */
void flow_gone(struct bindings *b, const struct tuple *lan);

/** bindings_doubt() - The same for all of them: what went was not told */
void bindings_doubt(struct bindings *b);

/** flow_adopt() - Take an entry the kernel has into the tables */
struct flow *flow_adopt(struct bindings *b, const struct nat_entry *entry,
			uint64_t now_ms);

/** peer_allow() - @remote may reach @inside until @until_ms at least */
struct peer *peer_allow(struct bindings *b, const struct addr *inside,
			const struct addr *remote, uint64_t until_ms);

/** peer_hold() - @remote may reach @inside until peer_release(); NULL if memory
 * ran out */
struct peer *peer_hold(struct bindings *b, const struct addr *inside,
		       const struct addr *remote, uint64_t now_ms);
/** peer_release() - NULL is allowed */
void peer_release(struct peer *peer);

/** peer_is_known() - The inside host has to do with @remote: lately, or by a
 * registration or call */
bool peer_is_known(const struct bindings *b, const struct addr *inside,
		   const struct addr *remote, uint64_t now_ms);

/** peer_is_allowed() - It is known, or sip.inbound_from lets it in */
bool peer_is_allowed(const struct bindings *b, const struct addr *inside,
		     const struct addr *remote, uint64_t now_ms);

#endif
