/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/route.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

int route_open(struct route *route, const struct netif *netif)
{
	int err;

	*route = (struct route){ .netif = netif, .stale = true };
	err = netlink_open(&route->ask, NETLINK_ROUTE, 0);
	if (!err)
		err = netlink_open(&route->events, NETLINK_ROUTE,
				   RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
					   RTMGRP_IPV4_ROUTE |
					   RTMGRP_IPV6_ROUTE | RTMGRP_LINK);
	if (!err)
		err = route_renew(route);
	if (err)
		route_close(route);
	return err;
}

void route_close(struct route *route)
{
	netlink_close(&route->ask);
	netlink_close(&route->events);
	free(route->addrs);
	free(route->inside);
	*route = (struct route){ 0 };
}

static int on_event(const struct nlmsghdr *nlh, void *data)
{
	struct route *route = data;

	(void)nlh;
	route->stale = route->changed = true;
	return MNL_CB_OK;
}

void route_take_events(struct route *route)
{
	/* Lost events, too, only mean that something has changed */
	if (netlink_take(&route->events, on_event, route))
		route->stale = route->changed = true;
}

bool route_has_changed(struct route *route)
{
	bool changed = route->changed;

	route->changed = false;
	return changed;
}

/* ---- attributes ---- */

#define ATTR_MAX 32

struct attributes {
	const struct nlattr *at[ATTR_MAX];
};

static int on_attr(const struct nlattr *attr, void *data)
{
	struct attributes *attrs = data;
	uint16_t type = mnl_attr_get_type(attr);

	if (type < ATTR_MAX)
		attrs->at[type] = attr;
	return MNL_CB_OK;
}

static bool get_addr(const struct nlattr *attr, struct addr *a)
{
	if (!attr)
		return false;
	if (mnl_attr_get_payload_len(attr) == 4)
		*a = addr_from_v4(mnl_attr_get_payload(attr));
	else if (mnl_attr_get_payload_len(attr) == 16)
		*a = addr_from_v6(mnl_attr_get_payload(attr));
	else
		return false;
	return true;
}

/* A prefix length in the one form of struct network */
static uint8_t mapped_bits(const struct addr *a, uint8_t bits)
{
	return (uint8_t)(addr_is_v4(a) ? bits + 96 : bits);
}

/* ---- tables ---- */

/* One more element at the end of an array; NULL if memory ran out */
static void *grow(void **array, unsigned int *count, unsigned int *room,
		  size_t size)
{
	if (*count == *room) {
		unsigned int more = *room ? *room * 2 : 16;
		void *bigger = realloc(*array, more * size);

		if (!bigger)
			return NULL;
		*array = bigger;
		*room = more;
	}
	return (char *)*array + size * (*count)++;
}

static void add_inside(struct route *route, const struct addr *a, uint8_t bits)
{
	struct network *net =
		grow((void **)&route->inside, &route->inside_count,
		     &route->inside_room, sizeof(*net));

	if (net)
		*net = (struct network){ *a, mapped_bits(a, bits) };
}

static int on_addr(const struct nlmsghdr *nlh, void *data)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct attributes attrs = { { 0 } };
	struct route *route = data;
	struct route_addr *ra;
	struct addr a;

	mnl_attr_parse(nlh, sizeof(*ifa), on_attr, &attrs);
	/* On point-to-point links IFA_ADDRESS is the other end */
	/* Its routes go when an interface is down, its addresses do not: who is
	 * inside does not depend on a cable
	 */
	if (netif_side(route->netif, ifa->ifa_index) == NAT_SIDE_LAN &&
	    get_addr(attrs.at[IFA_ADDRESS], &a))
		add_inside(route, &a, ifa->ifa_prefixlen);
	if (!get_addr(attrs.at[IFA_LOCAL], &a) &&
	    !get_addr(attrs.at[IFA_ADDRESS], &a))
		return MNL_CB_OK;
	ra = grow((void **)&route->addrs, &route->addr_count, &route->addr_room,
		  sizeof(*ra));
	if (!ra)
		return MNL_CB_OK;
	*ra = (struct route_addr){
		.ifindex = ifa->ifa_index,
		.bits = mapped_bits(&a, ifa->ifa_prefixlen),
		.scope = ifa->ifa_scope,
		.secondary = ifa->ifa_flags & IFA_F_SECONDARY,
		.addr = a,
	};
	return MNL_CB_OK;
}

static int on_route(const struct nlmsghdr *nlh, void *data)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct attributes attrs = { { 0 } };
	struct route *route = data;
	struct addr dst;

	mnl_attr_parse(nlh, sizeof(*rtm), on_attr, &attrs);
	if (rtm->rtm_type != RTN_UNICAST || !rtm->rtm_dst_len ||
	    !get_addr(attrs.at[RTA_DST], &dst) || !attrs.at[RTA_OIF])
		return MNL_CB_OK;
	if (netif_side(route->netif, mnl_attr_get_u32(attrs.at[RTA_OIF])) ==
	    NAT_SIDE_LAN)
		add_inside(route, &dst, rtm->rtm_dst_len);
	return MNL_CB_OK;
}

static int dump(struct route *route, uint16_t type, size_t header, mnl_cb_t cb)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);

	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	memset(mnl_nlmsg_put_extra_header(nlh, header), 0, header);
	return netlink_ask(&route->ask, nlh, cb, route);
}

static bool was_own(const struct route *route, const struct addr *a)
{
	for (unsigned int i = 0; i < ROUTE_GONE; i++) {
		if (addr_eq(&route->gone[i], a))
			return true;
	}
	return false;
}

/* All that there were may be about to go */
static void remember_addrs(struct route *route)
{
	for (unsigned int i = 0; i < route->addr_count; i++) {
		const struct addr *a = &route->addrs[i].addr;

		if (!was_own(route, a))
			route->gone[route->gone_count++ % ROUTE_GONE] = *a;
	}
}

int route_renew(struct route *route)
{
	int err;

	if (!route->stale)
		return 0;
	route->stale = false;
	remember_addrs(route);
	route->addr_count = route->inside_count = 0;
	err = dump(route, RTM_GETADDR, sizeof(struct ifaddrmsg), on_addr);
	if (!err)
		err = dump(route, RTM_GETROUTE, sizeof(struct rtmsg), on_route);
	if (err)
		route->stale = true;
	return err;
}

bool route_is_own(const struct route *route, const struct addr *a)
{
	for (unsigned int i = 0; i < route->addr_count; i++) {
		if (addr_eq(&route->addrs[i].addr, a))
			return true;
	}
	return false;
}

/* IPv6 has none, and a network of one or two hosts needs none (RFC 3021) */
bool route_is_broadcast(const struct route *route, const struct addr *a)
{
	/* Hardly any host ends so */
	if ((a->byte[15] & 3) != 3 || !addr_is_v4(a))
		return false;
	for (unsigned int i = 0; i < route->addr_count; i++) {
		const struct route_addr *ra = &route->addrs[i];
		struct network net = { ra->addr, ra->bits };

		if (ra->bits <= 126 && network_contains(&net, a) &&
		    network_is_last(&net, a))
			return true;
	}
	return false;
}

bool route_is_inside(const struct route *route, const struct addr *a)
{
	for (unsigned int i = 0; i < route->inside_count; i++) {
		if (network_contains(&route->inside[i], a))
			return true;
	}
	return false;
}

/* ---- look-up ---- */

/**
 * struct hop - Where packets leave
 * @ifindex:	0: nowhere
 * @next:	The next hop, or the destination itself on the link
 */
struct hop {
	uint32_t ifindex;
	struct addr next;
};

static int on_hop(const struct nlmsghdr *nlh, void *data)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	struct attributes attrs = { { 0 } };
	struct hop *hop = data;

	/* Not to ourselves, not to all */
	if (rtm->rtm_type != RTN_UNICAST)
		return MNL_CB_OK;
	mnl_attr_parse(nlh, sizeof(*rtm), on_attr, &attrs);
	if (attrs.at[RTA_OIF])
		hop->ifindex = mnl_attr_get_u32(attrs.at[RTA_OIF]);
	get_addr(attrs.at[RTA_GATEWAY], &hop->next);
	return MNL_CB_OK;
}

static void put_addr(struct nlmsghdr *nlh, uint16_t type, const struct addr *a)
{
	size_t len;
	const uint8_t *bytes = addr_bytes(a, &len);

	mnl_attr_put(nlh, type, len, bytes);
}

/* @iif 0: as for a packet of our own, without a source */
static int look_up(struct route *route, const struct addr *src, uint32_t iif,
		   const struct addr *dst, struct hop *hop)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;
	size_t len;

	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	*rtm = (struct rtmsg){ .rtm_family = (uint8_t)addr_family(dst) };
	addr_bytes(dst, &len);
	rtm->rtm_dst_len = (uint8_t)(len * 8);
	put_addr(nlh, RTA_DST, dst);
	if (iif) {
		rtm->rtm_src_len = (uint8_t)(len * 8);
		put_addr(nlh, RTA_SRC, src);
		mnl_attr_put_u32(nlh, RTA_IIF, iif);
	}
	*hop = (struct hop){ .next = *dst };
	return netlink_ask(&route->ask, nlh, on_hop, hop);
}

static int choose_source(const struct route *route, const struct hop *hop,
			 struct addr *source)
{
	const struct route_addr *first = NULL;

	for (unsigned int i = 0; i < route->addr_count; i++) {
		const struct route_addr *ra = &route->addrs[i];
		struct network net = { ra->addr, ra->bits };

		if (ra->ifindex != hop->ifindex || ra->secondary ||
		    ra->scope > RT_SCOPE_UNIVERSE ||
		    addr_is_v4(&ra->addr) != addr_is_v4(&hop->next))
			continue;
		if (!first)
			first = ra;
		if (network_contains(&net, &hop->next)) {
			first = ra;
			break;
		}
	}
	if (!first)
		return -EADDRNOTAVAIL;
	*source = first->addr;
	return 0;
}

/* By which WAN interface; 0 or -ENETUNREACH */
static int find_way_out(struct route *route, const struct addr *inside,
			const struct addr *remote, struct hop *hop)
{
	struct hop back;
	int err;

	route_renew(route);
	err = look_up(route, NULL, 0, inside, &back);
	if (!err)
		err = look_up(route, inside, back.ifindex, remote, hop);
	/* Where the kernel would not take such a packet (rp_filter), a plain
	 * look-up still tells the way out
	 */
	if (err)
		err = look_up(route, NULL, 0, remote, hop);
	if (err || netif_side(route->netif, hop->ifindex) != NAT_SIDE_WAN)
		return -ENETUNREACH;
	return 0;
}

int route_source(struct route *route, const struct addr *inside,
		 const struct addr *remote, struct addr *source)
{
	struct hop hop;
	int err = find_way_out(route, inside, remote, &hop);

	return err ? err : choose_source(route, &hop, source);
}

/* The interface that has @a; 0 if none has */
static uint32_t interface_of(const struct route *route, const struct addr *a)
{
	for (unsigned int i = 0; i < route->addr_count; i++) {
		if (addr_eq(&route->addrs[i].addr, a))
			return route->addrs[i].ifindex;
	}
	return 0;
}

bool route_has_moved(struct route *route, const struct addr *inside,
		     const struct addr *remote, const struct addr *public_addr,
		     bool ours)
{
	struct addr source;
	uint32_t ifindex;
	struct hop hop;

	if (find_way_out(route, inside, remote, &hop) ||
	    choose_source(route, &hop, &source))
		return false;
	ifindex = interface_of(route, public_addr);
	if (ifindex)
		return ifindex != hop.ifindex;
	return ours || was_own(route, public_addr);
}
