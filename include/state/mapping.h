/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_MAPPING_H
#define SIPALG_STATE_MAPPING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/table.h"
#include "state/undo.h"

struct bindings;
struct host;
struct saved_mapping;

struct mapping_key {
	struct endpoint inside;
	struct addr public_addr;
};

/**
 * struct mapping - An inside address and port with its public one
 * @in, @public_end: Its two keys; never change them in place
 * @flows:	Flows that use it
 * @holds:	Registrations, subscriptions and calls that need it
 * @made_ms:	When it was made
 * @host:	Whose share its port is of; NULL: it is none of those that are
 *		shared out
 * @bypassed:	Its host is one of bypass.user_agents
 * @passing:	It goes with the last that uses it: the port that a TCP
 *		connection happens to have
 * @answers:	The Via of a REGISTER names it: hosts that its host has to do
 *		with may use it, be it @open or not
 * @open:	Hosts without a flow by it may use it, as sip.inbound_from says:
 *		a registrar has granted it, or its host has said something else
 *		by it than REGISTER
 * @memory:	What stood where its public end was written
 *
 * For UDP and TCP alike: where a Contact is to be reached may be by either
 * (RFC 3263 4.1), so a public port belongs to one inside port in both.
 */
struct mapping {
	struct mapping_key in;
	struct endpoint public_end;
	unsigned int flows, holds;
	uint64_t used_ms, made_ms;
	bool bypassed, passing, answers, open;
	struct host *host;
	struct undo_memory memory;
	UT_hash_handle by_inside, by_public;
	struct mapping *prev, *next;
};

/** mapping_find_inside() - NULL if there is none */
struct mapping *mapping_find_inside(const struct bindings *b,
				    const struct endpoint *inside,
				    const struct addr *public_addr);

/** mapping_find_public() - NULL if there is none */
struct mapping *mapping_find_public(const struct bindings *b,
				    const struct endpoint *public_end);

/**
 * mapping_get() - The mapping of an inside endpoint, made if need be
 * @public_addr: The address it shall have
 *
 * A new one keeps the inside port if that is one of sip.signalling_ports and
 * free, else takes the next free port, else that of the mapping that is longest
 * unused. A host that has its share (state/host.h) gets no more than that: only
 * one of its own can make room.
 *
 * Return: NULL if no port is free or memory ran out
 */
struct mapping *mapping_get(struct bindings *b, const struct endpoint *inside,
			    const struct addr *public_addr);

/**
 * mapping_adopt() - The mapping of an inside endpoint that has a public one
 * @passing:	Of a new one: it goes with its last flow
 *
 * Made if need be; one that is there moves to that public port, if no other
 * mapping has it.
 */
struct mapping *mapping_adopt(struct bindings *b, const struct endpoint *inside,
			      const struct endpoint *public_end, bool passing);

/** mapping_leave() - A flow ends that it counts */
void mapping_leave(struct bindings *b, struct mapping *map);

/** mapping_release() - Who held it needs it no more */
void mapping_release(struct bindings *b, struct mapping *map);

/** mapping_change_port() - Move to the next free public port; false if none */
bool mapping_change_port(struct bindings *b, struct mapping *map);

/** mapping_spare_port() - A free port of its address, from @wish on; 0 if none
 */
uint16_t mapping_spare_port(struct bindings *b, const struct mapping *map,
			    uint16_t wish);

/** mapping_touch() - It is being used */
void mapping_touch(struct bindings *b, struct mapping *map);

/** mapping_save() - Write it down */
void mapping_save(const struct mapping *map, struct saved_mapping *out);

/**
 * mapping_restore() - One that was written down
 *
 * Return: false if the kernel has given its public end to somebody else, or the
 * configuration now says otherwise
 */
bool mapping_restore(struct bindings *b, const struct saved_mapping *in);

/** mappings_age() - Free those long unused; about every second */
void mappings_age(struct bindings *b);

/** mappings_free() - When all flows are gone */
void mappings_free(struct bindings *b);

#endif
