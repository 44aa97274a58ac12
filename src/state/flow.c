/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/log.h"
#include "state/binding.h"

/* Ports tried before a new mapping is given up */
#define CLASH_TRIES 8
/* A flow that the kernel has dropped is forgotten after so long */
#define FORGET_MS 300000
/* How exact the order of last use is */
#define TOUCH_MS 1000
/* Flows looked at in one go */
#define AGE_STEP 512

struct flow *flow_find(struct bindings *b, const struct tuple *t,
		       enum nat_side side)
{
	struct flow *flow;

	if (side == NAT_SIDE_LAN)
		HASH_FIND(by_lan, b->by_lan, t, sizeof(*t), flow);
	else
		HASH_FIND(by_wan, b->by_wan, t, sizeof(*t), flow);
	return flow;
}

static void flow_forget(struct bindings *b, struct flow *flow)
{
	if (TABLE_HAS(flow, by_lan))
		HASH_DELETE(by_lan, b->by_lan, flow);
	if (TABLE_HAS(flow, by_wan))
		HASH_DELETE(by_wan, b->by_wan, flow);
	DL_DELETE(b->flows, flow);
	mapping_leave(b, flow->map);
	peer_release(flow->peer);
	free(flow);
}

/* How long the kernel keeps an entry without packets */
static uint32_t idle_s(const struct bindings *b, uint8_t proto, bool answered)
{
	return b->nat->ops->idle_s(b->nat->ctx, proto, answered);
}

/* A packet passes: the kernel prolongs the entry, unless its time is fixed. Not
 * each is noted: moving up in lists touches their neighbours
 */
static void flow_touch(struct bindings *b, struct flow *flow, uint64_t now_ms)
{
	uint8_t proto = flow->lan.proto;
	uint64_t idle_ms = idle_s(b, proto, proto == IPPROTO_TCP) * 1000ull;

	if (now_ms < flow->touched_ms + TOUCH_MS)
		return;
	flow->touched_ms = now_ms;
	if (!flow->fixed && idle_ms)
		flow->sure_until_ms = now_ms + idle_ms - 1;
	DL_DELETE(b->flows, flow);
	DL_APPEND(b->flows, flow);
	mapping_touch(b, flow->map);
}

/* Make room for one more, of @map; the oldest go. Only where no flow is in
 * hand: within a message the table may outgrow its limit.
 */
static void flows_trim(struct bindings *b, struct mapping *map)
{
	map->flows++; /* it shall not go with its last flow */
	while (b->flows &&
	       HASH_CNT(by_lan, b->by_lan) >= b->conf->limits.flows) {
		counter_add(b->counters, COUNTER_flows_evicted);
		flow_forget(b, b->flows);
	}
	map->flows--;
}

/* Put an entry that the kernel has into the tables */
static struct flow *flow_add(struct bindings *b, const struct nat_entry *entry,
			     struct mapping *map, uint64_t now_ms)
{
	struct flow *old[2] = { flow_find(b, &entry->lan, NAT_SIDE_LAN),
				flow_find(b, &entry->wan, NAT_SIDE_WAN) };
	struct flow *flow;

	map->flows++; /* before the old ones let go of it */
	map->passing = map->passing && entry->lan.proto == IPPROTO_TCP;
	if (old[0])
		flow_forget(b, old[0]);
	if (old[1] && old[1] != old[0])
		flow_forget(b, old[1]);
	flow = calloc(1, sizeof(*flow));
	if (!flow) {
		mapping_leave(b, map);
		return NULL;
	}
	flow->lan = entry->lan;
	flow->wan = entry->wan;
	flow->map = map;
	flow->fixed = flow->ours = entry->fixed;
	flow->sure_until_ms = now_ms + entry->timeout_s * 1000ull;
	HASH_ADD(by_lan, b->by_lan, lan, sizeof(flow->lan), flow);
	HASH_ADD(by_wan, b->by_wan, wan, sizeof(flow->wan), flow);
	DL_APPEND(b->flows, flow);
	if (!TABLE_HAS(flow, by_lan) || !TABLE_HAS(flow, by_wan)) {
		flow_forget(b, flow);
		return NULL;
	}
	return flow;
}

struct flow *flow_adopt(struct bindings *b, const struct nat_entry *entry,
			uint64_t now_ms)
{
	struct mapping *map = mapping_adopt(b, &entry->lan.src, &entry->wan.dst,
					    entry->lan.proto == IPPROTO_TCP);

	if (!map)
		return NULL;
	/* Only registrations give their entries a fixed time */
	map->open = map->open || entry->fixed;
	flows_trim(b, map);
	counter_add(b->counters, COUNTER_flows_adopted);
	return flow_add(b, entry, map, now_ms);
}

/* The same entry as the inside host at its other end sees it */
static struct nat_entry entry_reversed(const struct nat_entry *entry)
{
	struct nat_entry other = *entry;

	other.lan = entry->wan;
	other.wan = entry->lan;
	return other;
}

static struct nat_entry entry_of(const struct tuple *lan,
				 const struct mapping *map)
{
	struct nat_entry entry = { .lan = *lan, .wan = tuple_reverse(lan) };

	entry.wan.dst = map->public_end;
	return entry;
}

/* Another public port, for the mapping if nobody knows its present one yet,
 * else for one flow only
 */
static bool next_port(struct bindings *b, struct mapping *map, uint16_t *port)
{
	if (map->flows || map->holds) {
		*port = mapping_spare_port(b, map, (uint16_t)(*port + 1));
		return *port;
	}
	if (!mapping_change_port(b, map))
		return false;
	*port = map->public_end.port;
	return true;
}

/*
 * Make the entry of @map towards @lan->dst. Where the public port is taken by
 * a flow of somebody else to that remote, another is taken if it @may_move: a
 * port that packets do not get is worth nothing. One that a packet from outside
 * names is right as it is.
 */
static struct flow *flow_create(struct bindings *b, struct nat_entry *entry,
				struct mapping *map, bool may_move,
				uint64_t now_ms)
{
	struct flow *flow;
	int err = -EEXIST;

	for (int i = 0; i < CLASH_TRIES; i++) {
		err = nat_create(b->nat, entry);
		if (err != -EEXIST)
			break;
		counter_add(b->counters, COUNTER_mapping_clashes);
		if (!may_move || !next_port(b, map, &entry->wan.dst.port))
			break;
	}
	if (err) {
		counter_add(b->counters, COUNTER_conntrack_errors);
		log_debug("conntrack entry not made: %s", strerror(-err));
		return NULL;
	}
	flows_trim(b, map);
	counter_add(b->counters, COUNTER_flows_created);
	flow = flow_add(b, entry, map, now_ms);
	if (flow)
		flow->ours = true;
	return flow;
}

/*
 * The kernel may have the flow although we do not know of it. An entry that
 * translates nothing, or none of an inside host's, is no business of ours.
 *
 * Return: 0, with @flow NULL if the kernel has none; -ENETUNREACH if it is not
 * for us; -errno
 */
static int flow_from_kernel(struct bindings *b, const struct tuple *t,
			    enum nat_side side, uint64_t now_ms,
			    struct flow **flow)
{
	const struct nat *nat = b->nat;
	struct nat_entry entry;
	int err = nat_find(nat, t, side, &entry);

	*flow = NULL;
	if (err)
		return err == -ENOENT ? 0 : err;
	if (entry.tcp_over) {
		nat_remove(nat, &entry.lan);
		return 0;
	}
	if (endpoint_eq(&entry.lan.src, &entry.wan.dst) ||
	    !nat->ops->is_inside(nat->ctx, &entry.lan.src.addr))
		return -ENETUNREACH;
	/* Forgotten here before the line changed: it leads nowhere */
	if (endpoint_eq(&entry.lan.dst, &entry.wan.src) &&
	    nat_has_moved(nat, &entry.lan.src, &entry.lan.dst,
			  &entry.wan.dst.addr, entry.fixed)) {
		nat_remove(nat, &entry.lan);
		return 0;
	}
	*flow = flow_adopt(b, &entry, now_ms);
	return *flow ? 0 : -ENOMEM;
}

/* A flow we know and that is in the kernel for certain */
static struct flow *flow_known(struct bindings *b, const struct tuple *t,
			       enum nat_side side, uint64_t now_ms)
{
	struct flow *flow = flow_find(b, t, side);

	if (!flow || flow->sure_until_ms < now_ms)
		return NULL;
	flow_touch(b, flow, now_ms);
	return flow;
}

struct flow *flow_outbound(struct bindings *b, const struct tuple *lan,
			   uint64_t now_ms, enum counter *why)
{
	struct flow *flow = flow_known(b, lan, NAT_SIDE_LAN, now_ms);
	struct nat_entry entry;
	struct addr public_addr;
	struct mapping *map;
	int err = 0;

	if (!flow)
		err = flow_from_kernel(b, lan, NAT_SIDE_LAN, now_ms, &flow);
	if (flow)
		return flow;
	*why = err == -ENETUNREACH ? COUNTER_not_for_us : COUNTER_no_mapping;
	if (err)
		return NULL;
	*why = COUNTER_not_for_us;
	if (b->nat->ops->route(b->nat->ctx, &lan->src.addr, &lan->dst.addr,
			       &public_addr))
		return NULL;
	*why = COUNTER_no_mapping;
	map = mapping_get(b, &lan->src, &public_addr);
	if (!map)
		return NULL;
	entry = entry_of(lan, map);
	entry.timeout_s = idle_s(b, lan->proto, false);
	return flow_create(b, &entry, map, true, now_ms);
}

struct flow *flow_hairpin(struct bindings *b, const struct tuple *lan,
			  uint64_t now_ms, enum counter *why)
{
	struct flow *flow = flow_known(b, lan, NAT_SIDE_LAN, now_ms);
	struct mapping *target, *map;
	struct nat_entry entry;

	if (flow)
		return flow;
	*why = COUNTER_not_for_us;
	target = mapping_find_public(b, &lan->dst);
	if (!target || endpoint_eq(&target->in.inside, &lan->src))
		return NULL;
	*why = COUNTER_no_mapping;
	map = mapping_get(b, &lan->src, &lan->dst.addr);
	/* A new mapping may have taken the place of an unused one */
	target = mapping_find_public(b, &lan->dst);
	if (!map || !target)
		return NULL;
	/* No look-up first: nothing but this makes such an entry. One that is
	 * there is of ours, and is made anew.
	 */
	nat_remove(b->nat, lan);
	entry = entry_of(lan, map);
	entry.wan.src = target->in.inside;
	entry.timeout_s =
		idle_s(b, entry.lan.proto, entry.lan.proto == IPPROTO_UDP);
	entry.answered = true;
	target->flows++; /* it shall not go while room is made */
	flow = flow_create(b, &entry, map, true, now_ms);
	/* The reverse may only displace what is older than this flow */
	entry = entry_reversed(&entry);
	if (flow)
		flow_add(b, &entry, target, now_ms);
	mapping_leave(b, target);
	return flow ? flow_find(b, lan, NAT_SIDE_LAN) : NULL;
}

/* May a host without a flow use it? Not one that claims to be inside, or us */
static bool may_come_by(const struct bindings *b, const struct mapping *map,
			const struct addr *remote, uint64_t now_ms)
{
	const struct addr *inside = &map->in.inside.addr;
	bool allowed = false;

	if (map->open)
		allowed = peer_is_allowed(b, inside, remote, now_ms);
	else if (map->answers)
		allowed = peer_is_known(b, inside, remote, now_ms);
	return allowed && nat_is_outside(b->nat, remote);
}

struct flow *flow_inbound(struct bindings *b, const struct tuple *wan,
			  uint64_t now_ms, enum counter *why)
{
	struct flow *flow = flow_known(b, wan, NAT_SIDE_WAN, now_ms);
	struct nat_entry entry;
	struct mapping *map;
	struct tuple lan;

	if (flow)
		return flow;
	*why = COUNTER_stranger;
	map = mapping_find_public(b, &wan->dst);
	if (!map) {
		/* An older flow on a port that its mapping has left */
		flow = flow_find(b, wan, NAT_SIDE_WAN);
		if (!flow)
			return NULL;
		map = flow->map;
	}
	if (flow_from_kernel(b, wan, NAT_SIDE_WAN, now_ms, &flow) || flow)
		return flow;
	*why = COUNTER_not_allowed;
	if (!may_come_by(b, map, &wan->src.addr, now_ms))
		return NULL;
	/* A server on the gateway may have taken the port since */
	*why = COUNTER_not_for_us;
	if (b->nat->ops->is_bound(b->nat->ctx, &map->public_end))
		return NULL;
	*why = COUNTER_no_mapping;
	lan = tuple_reverse(wan);
	lan.src = map->in.inside;
	entry = entry_of(&lan, map);
	entry.wan = *wan; /* an older flow may have a port of its own */
	entry.from_wan = true;
	entry.timeout_s =
		idle_s(b, entry.lan.proto, entry.lan.proto == IPPROTO_UDP);
	entry.answered = true;
	return flow_create(b, &entry, map, false, now_ms);
}

struct flow *flow_stream(struct bindings *b, const struct tuple *t,
			 enum nat_side side, uint64_t now_ms)
{
	struct flow *flow = flow_known(b, t, side, now_ms);

	return flow ? flow : flow_answered(b, t, side, now_ms);
}

struct flow *flow_answered(struct bindings *b, const struct tuple *t,
			   enum nat_side side, uint64_t now_ms)
{
	struct flow *flow;

	return flow_from_kernel(b, t, side, now_ms, &flow) ? NULL : flow;
}

void flow_hold(struct bindings *b, const struct tuple *lan, struct mapping *map,
	       uint32_t seconds, uint64_t now_ms)
{
	struct flow *flow = flow_find(b, lan, NAT_SIDE_LAN);
	struct nat_entry entry = { .lan = *lan, .wan = tuple_reverse(lan) };

	if (!seconds && (!flow || !flow->fixed))
		return;
	entry.wan.dst = map ? map->public_end : flow->wan.dst;
	/* Somebody else needs it longer: another account on that port */
	if (seconds && flow && flow->fixed &&
	    flow->sure_until_ms >= now_ms + seconds * 1000ull)
		return;
	if (flow)
		entry.wan = flow->wan;
	entry.fixed = seconds > 0;
	entry.timeout_s = seconds ? seconds : idle_s(b, lan->proto, true);
	entry.answered = true;
	nat_remove(b->nat, lan);
	if (nat_create(b->nat, &entry)) {
		counter_add(b->counters, COUNTER_conntrack_errors);
		flow_gone(b, lan);
		return;
	}
	if (!flow) {
		flow_add(b, &entry, map, now_ms);
		return;
	}
	flow->fixed = entry.fixed;
	flow->sure_until_ms = now_ms + entry.timeout_s * 1000ull;
}

void flow_meet(struct bindings *b, struct flow *flow)
{
	if (!flow->peer)
		flow->peer = peer_hold(b, &flow->lan.src.addr,
				       &flow->lan.dst.addr, b->now_ms);
}

void flow_end(struct bindings *b, const struct tuple *lan)
{
	struct flow *flow = flow_find(b, lan, NAT_SIDE_LAN);

	if (flow)
		flow_forget(b, flow);
	/* In a hairpin the other end has one as well */
	flow = flow_find(b, lan, NAT_SIDE_WAN);
	if (flow)
		flow_forget(b, flow);
}

void flow_gone(struct bindings *b, const struct tuple *lan)
{
	struct flow *flow = flow_find(b, lan, NAT_SIDE_LAN);

	if (flow)
		flow->sure_until_ms = 0;
}

unsigned int flows_move(struct bindings *b)
{
	struct flow *flow, *next;
	unsigned int count = 0;

	DL_FOREACH_SAFE (b->flows, flow, next) {
		const struct tuple *lan = &flow->lan;

		/* A hairpin ends at our own address, wherever packets leave */
		if (!endpoint_eq(&lan->dst, &flow->wan.src) ||
		    !nat_has_moved(b->nat, &lan->src, &lan->dst,
				   &flow->wan.dst.addr, flow->ours))
			continue;
		nat_remove(b->nat, lan);
		flow_forget(b, flow);
		count++;
	}
	return count;
}

void flows_doubt(struct bindings *b)
{
	struct flow *flow;

	/* It may well be there, and what hangs on it: it is only asked for */
	DL_FOREACH (b->flows, flow) {
		if (flow->sure_until_ms >= b->now_ms)
			flow->sure_until_ms = b->now_ms - 1;
	}
}

void flows_age(struct bindings *b, uint64_t now_ms)
{
	for (int i = 0; i < AGE_STEP && b->flows; i++) {
		struct flow *flow = b->flows;

		if (flow->sure_until_ms + FORGET_MS < now_ms) {
			flow_forget(b, flow);
			continue;
		}
		if (!flow->fixed)
			return;
		/* Sure for long, though not used lately: look at others */
		DL_DELETE(b->flows, flow);
		DL_APPEND(b->flows, flow);
	}
}

void flows_free(struct bindings *b)
{
	while (b->flows)
		flow_forget(b, b->flows);
}
