/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/mapping.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/ports.h"
#include "state/binding.h"
#include "state/flow.h"
#include "state/saved.h"

/* An unused mapping keeps its port so long: phones come back */
#define FORGET_MS 86400000
/* Mappings looked at in one go */
#define AGE_STEP 512
/* The same, where one is to make room, or to give its port: all there are by
 * default
 */
#define TRIM_STEP 64
#define RECLAIM_STEP 1024
/* Ports after the one that was wished for */
#define NEAR 64

static const struct ports *signalling_ports(const struct bindings *b)
{
	return &b->conf->sip.signalling_ports;
}

struct mapping *mapping_find_inside(const struct bindings *b,
				    const struct endpoint *inside,
				    const struct addr *public_addr)
{
	struct mapping_key key = { *inside, *public_addr };
	struct mapping *map;

	HASH_FIND(by_inside, b->by_inside, &key, sizeof(key), map);
	return map;
}

struct mapping *mapping_find_public(const struct bindings *b,
				    const struct endpoint *public_end)
{
	struct mapping *map;

	HASH_FIND(by_public, b->by_public, public_end, sizeof(*public_end),
		  map);
	return map;
}

/* ---- its port ---- */

/* One of those that are shared out is taken by the host; a TCP connection may
 * have another
 */
static void take_port(struct bindings *b, struct mapping *map)
{
	struct port_pool *pool;

	if (!ports_contain(signalling_ports(b), map->public_end.port))
		return;
	pool = port_pool_get(&b->pools, &map->in.public_addr);
	if (!pool)
		return;
	port_pool_take(pool, map->public_end.port, 1);
	map->host = host_take(b->hosts, &map->in.inside.addr,
			      SHARE_SIGNALLING_PORTS, 1);
}

static void give_port(struct bindings *b, struct mapping *map)
{
	struct port_pool *pool = port_pool_get(&b->pools, &map->in.public_addr);

	if (pool)
		port_pool_give(pool, map->public_end.port, 1);
	host_give(map->host, SHARE_SIGNALLING_PORTS, 1);
	map->host = NULL;
}

/* May the host have one more? */
static bool has_share(struct bindings *b, const struct addr *inside,
		      const struct addr *public_addr)
{
	const struct port_pool *pool = port_pool_get(&b->pools, public_addr);
	unsigned int total = ports_count(signalling_ports(b));

	return host_may_take(b->hosts, inside, SHARE_SIGNALLING_PORTS, 1,
			     pool ? pool->taken : total, total);
}

/* ---- mappings ---- */

static void mapping_free(struct bindings *b, struct mapping *map)
{
	if (TABLE_HAS(map, by_inside))
		HASH_DELETE(by_inside, b->by_inside, map);
	if (TABLE_HAS(map, by_public))
		HASH_DELETE(by_public, b->by_public, map);
	give_port(b, map);
	DL_DELETE(b->mappings, map);
	undo_free(&map->memory);
	free(map);
}

/* At most @most; once round, and those that are moved stay in order */
static unsigned int steps(const struct bindings *b, unsigned int most)
{
	unsigned int count = HASH_CNT(by_inside, b->by_inside);

	return count < most ? count : most;
}

/* Mappings that nothing uses go, oldest first, when there are too many. Those
 * in use have limits of their own, and are not looked at again and again
 */
static void mappings_trim(struct bindings *b)
{
	if (HASH_CNT(by_inside, b->by_inside) < b->conf->limits.flows)
		return;
	for (unsigned int i = steps(b, TRIM_STEP); i; i--) {
		struct mapping *map = b->mappings;

		if (!map->flows && !map->holds) {
			mapping_free(b, map);
			return;
		}
		DL_DELETE(b->mappings, map);
		DL_APPEND(b->mappings, map);
	}
}

static struct mapping *mapping_add(struct bindings *b,
				   const struct endpoint *inside,
				   const struct endpoint *public_end)
{
	struct mapping *map;

	mappings_trim(b);
	map = calloc(1, sizeof(*map));
	if (!map)
		return NULL;
	map->in = (struct mapping_key){ *inside, public_end->addr };
	map->public_end = *public_end;
	map->used_ms = map->made_ms = b->now_ms;
	HASH_ADD(by_inside, b->by_inside, in, sizeof(map->in), map);
	HASH_ADD(by_public, b->by_public, public_end, sizeof(map->public_end),
		 map);
	DL_APPEND(b->mappings, map);
	take_port(b, map);
	if (!TABLE_HAS(map, by_inside) || !TABLE_HAS(map, by_public)) {
		mapping_free(b, map);
		return NULL;
	}
	counter_add(b->counters, COUNTER_mappings_created);
	return map;
}

/* Give a mapping another public port, if no other mapping has it */
static bool mapping_move(struct bindings *b, struct mapping *map, uint16_t port)
{
	struct endpoint end = { map->public_end.addr, port };

	if (mapping_find_public(b, &end))
		return false;
	if (TABLE_HAS(map, by_public))
		HASH_DELETE(by_public, b->by_public, map);
	give_port(b, map);
	map->public_end = end;
	take_port(b, map);
	HASH_ADD(by_public, b->by_public, public_end, sizeof(map->public_end),
		 map);
	return true;
}

static bool port_is_free(const struct bindings *b, const struct addr *addr,
			 uint16_t port)
{
	struct endpoint end = { *addr, port };

	return port && !mapping_find_public(b, &end) &&
	       !b->nat->ops->is_bound(b->nat->ctx, &end);
}

/* A free signalling port, @wish if it can be, else one of those that follow;
 * all wish for the same, so if these are taken it goes on where the last search
 * ended. 0 if all are taken.
 */
static uint16_t choose_port(struct bindings *b, const struct addr *addr,
			    uint16_t wish)
{
	const struct ports *ports = signalling_ports(b);
	struct port_pool *pool = port_pool_get(&b->pools, addr);
	unsigned int count = ports_count(ports);
	unsigned int at = ports_index(ports, wish);

	for (unsigned int i = 0; pool && i < NEAR + count; i++, at++) {
		uint16_t port;

		if (i == NEAR)
			at = pool->next;
		port = ports_at(ports, at % count);
		if (port_pool_has(pool, port) || !port_is_free(b, addr, port))
			continue;
		if (i >= NEAR)
			pool->next = at % count;
		return port;
	}
	return 0;
}

/* The mapping longest unused gives its port to a new one; not one whose port is
 * none of those to choose from. @inside: NULL, or only one of this host
 */
static bool reclaim(struct bindings *b, const struct addr *public_addr,
		    const struct addr *inside)
{
	struct mapping *map, *next = b->mappings;

	for (unsigned int i = steps(b, RECLAIM_STEP); i && next; i--) {
		map = next;
		next = map->next;
		/* Those in use are not looked at again and again */
		if (map->flows || map->holds) {
			DL_DELETE(b->mappings, map);
			DL_APPEND(b->mappings, map);
			continue;
		}
		if (!addr_eq(&map->in.public_addr, public_addr) ||
		    (inside && !addr_eq(&map->in.inside.addr, inside)) ||
		    !ports_contain(signalling_ports(b), map->public_end.port))
			continue;
		mapping_free(b, map);
		return true;
	}
	return false;
}

void mapping_touch(struct bindings *b, struct mapping *map)
{
	map->used_ms = b->now_ms;
	DL_DELETE(b->mappings, map);
	DL_APPEND(b->mappings, map);
}

void mappings_age(struct bindings *b)
{
	for (int i = 0; i < AGE_STEP && b->mappings; i++) {
		struct mapping *map = b->mappings;

		if (map->flows || map->holds) {
			DL_DELETE(b->mappings, map);
			DL_APPEND(b->mappings, map);
			continue;
		}
		if (map->used_ms + FORGET_MS >= b->now_ms)
			return;
		mapping_free(b, map);
	}
}

struct mapping *mapping_get(struct bindings *b, const struct endpoint *inside,
			    const struct addr *public_addr)
{
	struct mapping *map = mapping_find_inside(b, inside, public_addr);
	struct endpoint public_end = { *public_addr, 0 };

	if (map) {
		mapping_touch(b, map);
		return map;
	}
	if (!has_share(b, &inside->addr, public_addr) &&
	    !reclaim(b, public_addr, &inside->addr)) {
		counter_add(b->counters, COUNTER_over_share);
		return NULL;
	}
	public_end.port = choose_port(b, public_addr, inside->port);
	if (!public_end.port && reclaim(b, public_addr, NULL))
		public_end.port = choose_port(b, public_addr, inside->port);
	if (!public_end.port) {
		counter_add(b->counters, COUNTER_ports_exhausted);
		return NULL;
	}
	return mapping_add(b, inside, &public_end);
}

struct mapping *mapping_adopt(struct bindings *b, const struct endpoint *inside,
			      const struct endpoint *public_end, bool passing)
{
	struct mapping *map = mapping_find_inside(b, inside, &public_end->addr);

	/* What packets get is the truth; the mapping follows it if it can, so
	 * that Contact and source agree. Not one in use: its port has been
	 * announced to others.
	 */
	if (map && map->public_end.port != public_end->port && !map->flows &&
	    !map->holds)
		mapping_move(b, map, public_end->port);
	if (map)
		return map;
	if (mapping_find_public(b, public_end))
		map = mapping_get(b, inside, &public_end->addr);
	else
		map = mapping_add(b, inside, public_end);
	if (map)
		map->passing = passing;
	return map;
}

static void end_passing(struct bindings *b, struct mapping *map)
{
	if (map->passing && !map->flows && !map->holds)
		mapping_free(b, map);
}

void mapping_leave(struct bindings *b, struct mapping *map)
{
	map->flows--;
	end_passing(b, map);
}

void mapping_release(struct bindings *b, struct mapping *map)
{
	map->holds--;
	end_passing(b, map);
}

bool mapping_change_port(struct bindings *b, struct mapping *map)
{
	uint16_t port = choose_port(b, &map->in.public_addr,
				    (uint16_t)(map->public_end.port + 1));

	return port && mapping_move(b, map, port);
}

uint16_t mapping_spare_port(struct bindings *b, const struct mapping *map,
			    uint16_t wish)
{
	return choose_port(b, &map->in.public_addr, wish);
}

void mappings_free(struct bindings *b)
{
	while (b->mappings)
		mapping_free(b, b->mappings);
	port_pools_free(&b->pools);
}

/* ---- over a restart ---- */

void mapping_save(const struct mapping *map, struct saved_mapping *out)
{
	*out = (struct saved_mapping){ .inside = map->in.inside,
				       .public_end = map->public_end,
				       .used_ms = map->used_ms,
				       .made_ms = map->made_ms,
				       .bypassed = map->bypassed,
				       .open = map->open };
	undo_save(&map->memory, out);
}

/* It could be made now as it was then */
static bool is_still_right(const struct bindings *b,
			   const struct saved_mapping *in)
{
	const struct nat_ops *ops = b->nat->ops;
	void *ctx = b->nat->ctx;
	const struct addr *public_addr = &in->public_end.addr;

	return in->inside.port && ops->is_inside(ctx, &in->inside.addr) &&
	       (ops->is_own(ctx, public_addr) ||
		addr_eq(public_addr, &b->conf->gateway.public_address)) &&
	       ports_contain(signalling_ports(b), in->public_end.port) &&
	       !mapping_find_public(b, &in->public_end) &&
	       !ops->is_bound(ctx, &in->public_end);
}

static bool is_given(const struct bindings *b, const struct mapping *map,
		     const struct endpoint *public_end)
{
	const struct flow *flow;

	DL_FOREACH (b->flows, flow) {
		if (flow->map == map && endpoint_eq(&flow->wan.dst, public_end))
			return true;
	}
	return false;
}

/*
 * While nobody was here, the kernel may have given the port to somebody else
 * too, towards another remote, and that entry was read first. Whose it was has
 * it: others know it by that.
 */
static void take_back(struct bindings *b, struct mapping *map,
		      const struct endpoint *public_end)
{
	struct mapping *other = mapping_find_public(b, public_end);

	if (endpoint_eq(&map->public_end, public_end) ||
	    !is_given(b, map, public_end) ||
	    (other && (other->holds || !mapping_change_port(b, other))))
		return;
	mapping_move(b, map, public_end->port);
}

bool mapping_restore(struct bindings *b, const struct saved_mapping *in)
{
	struct mapping *map =
		mapping_find_inside(b, &in->inside, &in->public_end.addr);

	if (map)
		take_back(b, map, &in->public_end);
	if (!map && is_still_right(b, in))
		map = mapping_add(b, &in->inside, &in->public_end);
	if (!map || !endpoint_eq(&map->public_end, &in->public_end) ||
	    map->memory.count)
		return false;
	map->bypassed = in->bypassed;
	map->passing = false;
	map->open = map->open || in->open;
	map->made_ms = in->made_ms;
	return undo_restore(&map->memory, in);
}
