/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_PORT_POOL_H
#define SIPALG_STATE_PORT_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

/**
 * struct port_pool - Which ports of one public address are given out
 * @taken:	How many
 * @next:	Where the next search begins, for who wants ports to rest
 * @link:	Pools of other addresses: those of which a port is taken
 */
struct port_pool {
	struct addr public_addr;
	uint64_t used[65536 / 64];
	unsigned int taken, next;
	struct port_pool *link;
};

/** port_pool_get() - That of @addr in a list, made if need be; NULL without
 * memory. Others may go then, of which no port is taken */
struct port_pool *port_pool_get(struct port_pool **list,
				const struct addr *addr);

static inline bool port_pool_has(const struct port_pool *pool,
				 unsigned int port)
{
	return pool->used[port / 64] >> (port % 64) & 1;
}

/** port_pool_take() - @count ports from @first on are given out */
void port_pool_take(struct port_pool *pool, uint16_t first, unsigned int count);

/** port_pool_give() - They are free again; those that were not taken are so
 * already */
void port_pool_give(struct port_pool *pool, uint16_t first, unsigned int count);

/** port_pools_free() - All of a list */
void port_pools_free(struct port_pool **list);

#endif
