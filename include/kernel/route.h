/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_ROUTE_H
#define SIPALG_KERNEL_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "kernel/netif.h"
#include "kernel/netlink.h"

/** ROUTE_GONE - Addresses that are remembered after they have gone */
#define ROUTE_GONE 32

/** struct route_addr - An address of the gateway */
struct route_addr {
	uint32_t ifindex;
	uint8_t bits, scope;
	bool secondary;
	struct addr addr;
};

/**
 * struct route - Addresses and routes, as far as they matter here
 * @ask:	For requests
 * @events:	Tells that addresses or routes changed
 * @addrs:	All addresses of this host
 * @inside:	Networks of the LAN interfaces, and those routed through them
 * @gone, @gone_count: Addresses that were the gateway's, going round
 * @stale:	They changed since they were read
 * @changed:	The same since route_has_changed() was asked
 */
struct route {
	struct netlink ask, events;
	const struct netif *netif;
	unsigned int addr_count, addr_room, inside_count, inside_room;
	struct route_addr *addrs;
	struct network *inside;
	struct addr gone[ROUTE_GONE];
	unsigned int gone_count;
	bool stale, changed;
};

/** route_open() - 0 or -errno */
int route_open(struct route *route, const struct netif *netif);
void route_close(struct route *route);

/** route_take_events() - What has changed will be read at route_renew() */
void route_take_events(struct route *route);

/** route_renew() - Read addresses and routes again, if they changed */
int route_renew(struct route *route);

/** route_is_own() - @a is one of this host's addresses */
bool route_is_own(const struct route *route, const struct addr *a);

/** route_is_broadcast() - @a stands for all hosts of a network of ours */
bool route_is_broadcast(const struct route *route, const struct addr *a);

/** route_is_inside() - @a lies in a network of the LAN interfaces */
bool route_is_inside(const struct route *route, const struct addr *a);

/**
 * route_source() - The address MASQUERADE gives to a flow
 * @inside:	Its source
 * @remote:	Its destination
 * @source:	Set on success
 *
 * Policy routing is minded: the question is asked for a packet from @inside
 * that arrives on its interface. Of the outgoing interface's addresses the
 * first primary one in the next hop's network is taken, else the first.
 *
 * Return: 0; -ENETUNREACH if packets leave by none of gateway.wan_interfaces;
 * -EADDRNOTAVAIL if that interface has no address
 * Source: net/netfilter/nf_nat_masquerade.c, inet_select_addr() in
 * net/ipv4/devinet.c
 */
int route_source(struct route *route, const struct addr *inside,
		 const struct addr *remote, struct addr *source);

/** route_has_changed() - Addresses, routes or links have, since the last time
 * it was asked */
bool route_has_changed(struct route *route);

/** route_has_moved() - As in struct nat_ops */
bool route_has_moved(struct route *route, const struct addr *inside,
		     const struct addr *remote, const struct addr *public_addr,
		     bool ours);

#endif
