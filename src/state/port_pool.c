/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/port_pool.h"

#include <stdlib.h>

/* Of addresses that are the gateway's no more, and of which nobody has a port:
 * a line may get another one every day
 */
static void forget_unused(struct port_pool **list)
{
	struct port_pool *pool;

	while ((pool = *list)) {
		if (pool->taken) {
			list = &pool->link;
			continue;
		}
		*list = pool->link;
		free(pool);
	}
}

struct port_pool *port_pool_get(struct port_pool **list,
				const struct addr *addr)
{
	struct port_pool *pool;

	for (pool = *list; pool; pool = pool->link) {
		if (addr_eq(&pool->public_addr, addr))
			return pool;
	}
	forget_unused(list);
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->public_addr = *addr;
	pool->link = *list;
	*list = pool;
	return pool;
}

static void mark(struct port_pool *pool, unsigned int port, bool used)
{
	if (port_pool_has(pool, port) == used)
		return;
	pool->used[port / 64] ^= 1ull << (port % 64);
	pool->taken += used ? 1u : -1u;
}

void port_pool_take(struct port_pool *pool, uint16_t first, unsigned int count)
{
	for (unsigned int p = first; p < first + count; p++)
		mark(pool, p, true);
}

void port_pool_give(struct port_pool *pool, uint16_t first, unsigned int count)
{
	for (unsigned int p = first; p < first + count; p++)
		mark(pool, p, false);
}

void port_pools_free(struct port_pool **list)
{
	struct port_pool *pool;

	while ((pool = *list)) {
		*list = pool->link;
		free(pool);
	}
}
