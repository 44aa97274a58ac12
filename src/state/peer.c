/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/peer.h"

#include <stdlib.h>
#include <utlist.h>

#include "state/binding.h"

/* Peers that one search looks at */
#define SEARCH_MAX 256
/* Peers looked at where one is to make room */
#define TRIM_STEP 64

static struct peer *peer_find(const struct bindings *b,
			      const struct addr *inside,
			      const struct addr *remote)
{
	struct peer_key key = { *inside, *remote };
	struct peer *peer;

	HASH_FIND(hh, b->peers, &key, sizeof(key), peer);
	return peer;
}

static void peer_free(struct bindings *b, struct peer *peer)
{
	HASH_DELETE(hh, b->peers, peer);
	DL_DELETE(b->peer_list, peer);
	free(peer);
}

/* The one longest unused goes that nothing holds; the others have limits of
 * their own, and are not looked at again and again
 */
static void make_room(struct bindings *b)
{
	if (!b->peer_list || HASH_COUNT(b->peers) < b->conf->limits.flows)
		return;
	for (int i = 0; i < TRIM_STEP; i++) {
		struct peer *peer = b->peer_list;

		if (!peer->holds) {
			peer_free(b, peer);
			return;
		}
		DL_DELETE(b->peer_list, peer);
		DL_APPEND(b->peer_list, peer);
	}
}

struct peer *peer_allow(struct bindings *b, const struct addr *inside,
			const struct addr *remote, uint64_t until_ms)
{
	struct peer *peer = peer_find(b, inside, remote);

	if (!peer) {
		make_room(b);
		peer = calloc(1, sizeof(*peer));
		if (!peer)
			return NULL;
		peer->key = (struct peer_key){ *inside, *remote };
		HASH_ADD(hh, b->peers, key, sizeof(peer->key), peer);
		if (!TABLE_HAS(peer, hh)) {
			free(peer);
			return NULL;
		}
	} else {
		DL_DELETE(b->peer_list, peer);
	}
	DL_APPEND(b->peer_list, peer);
	if (peer->until_ms < until_ms)
		peer->until_ms = until_ms;
	return peer;
}

struct peer *peer_hold(struct bindings *b, const struct addr *inside,
		       const struct addr *remote, uint64_t now_ms)
{
	struct peer *peer = peer_allow(b, inside, remote, now_ms);

	if (peer)
		peer->holds++;
	return peer;
}

void peer_release(struct peer *peer)
{
	if (peer)
		peer->holds--;
}

bool peer_is_known(const struct bindings *b, const struct addr *inside,
		   const struct addr *remote, uint64_t now_ms)
{
	const struct peer *peer = peer_find(b, inside, remote);

	return peer && (peer->holds || peer->until_ms >= now_ms);
}

bool peer_was_known(const struct bindings *b, const struct addr *inside,
		    const struct addr *remote)
{
	const struct peer *peer = b->peer_list;

	if (inside)
		return peer_find(b, inside, remote) != NULL;
	/* The newest is at the end, which is before the first */
	for (unsigned int i = 0; peer && i < SEARCH_MAX; i++) {
		peer = peer->prev;
		if (addr_eq(&peer->key.remote, remote))
			return true;
		if (peer == b->peer_list)
			break;
	}
	return false;
}

bool peer_is_allowed(const struct bindings *b, const struct addr *inside,
		     const struct addr *remote, uint64_t now_ms)
{
	if (b->conf->sip.inbound_from == CONF_INBOUND_ANY)
		return true;
	if (b->conf->sip.inbound_from == CONF_INBOUND_LIST &&
	    conf_networks_contain(&b->conf->sip.inbound_networks, remote))
		return true;
	return peer_is_known(b, inside, remote, now_ms);
}

void peers_free(struct bindings *b)
{
	while (b->peer_list)
		peer_free(b, b->peer_list);
}
