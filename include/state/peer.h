/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_PEER_H
#define SIPALG_STATE_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/table.h"

struct bindings;

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

/**
 * peer_was_known() - An inside host had to do with @remote, be it long ago
 * @inside:	NULL: any; only the last ones are looked through then
 */
bool peer_was_known(const struct bindings *b, const struct addr *inside,
		    const struct addr *remote);

/** peer_is_allowed() - It is known, or sip.inbound_from lets it in */
bool peer_is_allowed(const struct bindings *b, const struct addr *inside,
		     const struct addr *remote, uint64_t now_ms);

void peers_free(struct bindings *b);

#endif
