/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/binding.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/log.h"

/* Ports tried before a new mapping is given up */
#define CLASH_TRIES 8

static const struct ports *signalling_ports(const struct bindings *b)
{
	return &b->conf->sip.signalling_ports;
}

/* ---- mappings ---- */

static struct public_key public_key(uint8_t proto, const struct endpoint *end)
{
	return (struct public_key){ .public_end = *end, .proto = proto };
}

struct mapping *mapping_find_inside(const struct bindings *b, uint8_t proto,
				    const struct endpoint *inside,
				    const struct addr *public_addr)
{
	struct mapping_key key = { .inside = *inside,
				   .public_addr = *public_addr,
				   .proto = proto };
	struct mapping *map;

	HASH_FIND(by_inside, b->by_inside, &key, sizeof(key), map);
	return map;
}

struct mapping *mapping_find_public(const struct bindings *b, uint8_t proto,
				    const struct endpoint *public_end)
{
	struct public_key key = public_key(proto, public_end);
	struct mapping *map;

	HASH_FIND(by_public, b->by_public, &key, sizeof(key), map);
	return map;
}

static void mapping_free(struct bindings *b, struct mapping *map)
{
	HASH_DELETE(by_inside, b->by_inside, map);
	HASH_DELETE(by_public, b->by_public, map);
	DL_DELETE(b->mappings, map);
	free(map->notes);
	free(map);
}

/* Mappings that nothing uses go, oldest first, when there are too many */
static void mappings_trim(struct bindings *b)
{
	struct mapping *map, *next;

	if (HASH_CNT(by_inside, b->by_inside) < b->conf->limits.flows)
		return;
	DL_FOREACH_SAFE (b->mappings, map, next) {
		if (map->flows || map->holds)
			continue;
		mapping_free(b, map);
		return;
	}
}

static struct mapping *mapping_add(struct bindings *b, uint8_t proto,
				   const struct endpoint *inside,
				   const struct endpoint *public_end)
{
	struct mapping *map;

	mappings_trim(b);
	map = calloc(1, sizeof(*map));
	if (!map)
		return NULL;
	map->in = (struct mapping_key){ .inside = *inside,
					.public_addr = public_end->addr,
					.proto = proto };
	map->out = public_key(proto, public_end);
	HASH_ADD(by_inside, b->by_inside, in, sizeof(map->in), map);
	HASH_ADD(by_public, b->by_public, out, sizeof(map->out), map);
	DL_APPEND(b->mappings, map);
	counter_add(b->counters, COUNTER_mappings_created);
	return map;
}

/* Give a mapping another public port, if no other mapping has it */
static bool mapping_move(struct bindings *b, struct mapping *map, uint16_t port)
{
	struct public_key key = map->out;

	key.public_end.port = port;
	if (mapping_find_public(b, key.proto, &key.public_end))
		return false;
	HASH_DELETE(by_public, b->by_public, map);
	map->out = key;
	HASH_ADD(by_public, b->by_public, out, sizeof(map->out), map);
	return true;
}

static bool port_is_free(const struct bindings *b, uint8_t proto,
			 const struct addr *addr, uint16_t port)
{
	struct endpoint end = { *addr, port };

	return port && !mapping_find_public(b, proto, &end) &&
	       !b->nat->ops->is_bound(b->nat->ctx, proto, &end);
}

/* A free signalling port, @wish if it can be, else the next after it; the
 * search goes round once. 0 if all are taken.
 */
static uint16_t choose_port(const struct bindings *b, uint8_t proto,
			    const struct addr *addr, uint16_t wish)
{
	const struct ports *ports = signalling_ports(b);
	unsigned int count = ports_count(ports);
	unsigned int start = ports_index(ports, wish);

	for (unsigned int i = 0; i < count; i++) {
		uint16_t port = ports_at(ports, (start + i) % count);

		if (port_is_free(b, proto, addr, port))
			return port;
	}
	return 0;
}

struct mapping *mapping_get(struct bindings *b, uint8_t proto,
			    const struct endpoint *inside,
			    const struct addr *public_addr)
{
	struct mapping *map =
		mapping_find_inside(b, proto, inside, public_addr);
	struct endpoint public_end = { *public_addr, 0 };

	if (map) {
		DL_DELETE(b->mappings, map);
		DL_APPEND(b->mappings, map);
		return map;
	}
	public_end.port = choose_port(b, proto, public_addr, inside->port);
	if (!public_end.port) {
		counter_add(b->counters, COUNTER_ports_exhausted);
		return NULL;
	}
	return mapping_add(b, proto, inside, &public_end);
}

/* ---- what stood there ---- */

static bool undo_is(const struct undo *u, enum site_group group, uint16_t port)
{
	return u->group == group && u->port == port;
}

static struct undo *undo_find(struct mapping *map, enum site_group group,
			      uint16_t port, struct span text, bool *rival)
{
	struct undo *same = NULL;

	for (unsigned int i = 0; i < map->undo_count; i++) {
		struct undo *u = &map->undo[i];

		if (!undo_is(u, group, port))
			continue;
		if (span_eq((struct span){ u->text, u->len }, text))
			same = u;
		else
			*rival = true;
	}
	return same;
}

static void note_add(struct mapping *map, const struct undo *undo,
		     uint32_t branch)
{
	struct note *note;

	if (!map->notes)
		map->notes = calloc(1, sizeof(*map->notes));
	if (!map->notes)
		return;
	note = &map->notes->note[map->notes->next++ % MAPPING_NOTES];
	*note = (struct note){ .branch = branch, .undo = *undo };
}

/* The last record counts most: @undo goes to the end, and @same, which says the
 * same, or the oldest makes room
 */
static struct undo *undo_put(struct mapping *map, const struct undo *undo,
			     struct undo *same)
{
	struct undo *gone = same, *end = map->undo + map->undo_count;

	if (!gone && map->undo_count == MAPPING_UNDO)
		gone = map->undo;
	if (gone) {
		memmove(gone, gone + 1,
			(size_t)(end - gone - 1) * sizeof(*gone));
		map->undo_count--;
	}
	map->undo[map->undo_count] = *undo;
	return &map->undo[map->undo_count++];
}

bool mapping_remember(struct mapping *map, enum site_group group, uint16_t port,
		      struct span text, uint32_t branch)
{
	struct undo undo = { .group = (uint8_t)group,
			     .len = (uint8_t)text.len,
			     .port = port };
	bool rival = false;
	struct undo *u;

	if (text.len > UNDO_TEXT)
		return false;
	if (text.len)
		memcpy(undo.text, text.ptr, text.len);
	u = undo_find(map, group, port, text, &rival);
	if (!u || rival)
		u = undo_put(map, &undo, u);
	/* Only where two texts became one does each transaction matter */
	if (rival && branch)
		note_add(map, u, branch);
	return true;
}

static const struct undo *undo_latest(const struct mapping *map,
				      enum site_group group, uint16_t port)
{
	for (unsigned int i = map->undo_count; i; i--) {
		const struct undo *u = &map->undo[i - 1];

		if (undo_is(u, group, port))
			return u;
	}
	return NULL;
}

const struct undo *mapping_recall(const struct mapping *map,
				  enum site_group group, uint16_t port,
				  uint32_t branch)
{
	for (unsigned int i = 0; map->notes && branch && i < MAPPING_NOTES;
	     i++) {
		const struct note *n = &map->notes->note[i];

		if (n->branch == branch && undo_is(&n->undo, group, port))
			return &n->undo;
	}
	return undo_latest(map, group, port);
}

void mapping_note_foreign(struct mapping *map, uint32_t call, uint8_t what)
{
	if (mapping_foreign(map, call) == what)
		return;
	if (!map->notes)
		map->notes = calloc(1, sizeof(*map->notes));
	if (map->notes)
		map->notes
			->foreign[map->notes->next_foreign++ % MAPPING_NOTES] =
			(struct foreign_call){ call, what };
}

uint8_t mapping_foreign(const struct mapping *map, uint32_t call)
{
	/* The one noted last counts: they go round */
	for (unsigned int i = 1; map->notes && i <= MAPPING_NOTES; i++) {
		const struct foreign_call *f =
			&map->notes->foreign[(map->notes->next_foreign - i) %
					     MAPPING_NOTES];

		if (f->call == call)
			return f->what;
	}
	return 0;
}

/* ---- flows ---- */

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
	HASH_DELETE(by_lan, b->by_lan, flow);
	HASH_DELETE(by_wan, b->by_wan, flow);
	DL_DELETE(b->flows, flow);
	flow->map->flows--;
	free(flow);
}

/* A packet passes: the kernel prolongs the entry, unless its time is fixed */
static void flow_touch(struct bindings *b, struct flow *flow, uint64_t now_ms)
{
	uint64_t idle_ms = b->nat->ops->idle_s(b->nat->ctx, false) * 1000ull;

	if (!flow->fixed && idle_ms)
		flow->sure_until_ms = now_ms + idle_ms - 1;
	DL_DELETE(b->flows, flow);
	DL_APPEND(b->flows, flow);
	DL_DELETE(b->mappings, flow->map);
	DL_APPEND(b->mappings, flow->map);
}

/* Make room for one more; the oldest go. Only where no flow is in hand: within
 * a message the table may outgrow its limit.
 */
static void flows_trim(struct bindings *b)
{
	while (b->flows &&
	       HASH_CNT(by_lan, b->by_lan) >= b->conf->limits.flows) {
		counter_add(b->counters, COUNTER_flows_evicted);
		flow_forget(b, b->flows);
	}
}

/* Put an entry that the kernel has into the tables */
static struct flow *flow_add(struct bindings *b, const struct nat_entry *entry,
			     struct mapping *map, uint64_t now_ms)
{
	struct flow *old[2] = { flow_find(b, &entry->lan, NAT_SIDE_LAN),
				flow_find(b, &entry->wan, NAT_SIDE_WAN) };
	struct flow *flow;

	map->flows++; /* before the old ones let go of it */
	if (old[0])
		flow_forget(b, old[0]);
	if (old[1] && old[1] != old[0])
		flow_forget(b, old[1]);
	flow = calloc(1, sizeof(*flow));
	if (!flow) {
		map->flows--;
		return NULL;
	}
	flow->lan = entry->lan;
	flow->wan = entry->wan;
	flow->map = map;
	flow->fixed = entry->fixed;
	flow->sure_until_ms = now_ms + entry->timeout_s * 1000ull;
	HASH_ADD(by_lan, b->by_lan, lan, sizeof(flow->lan), flow);
	HASH_ADD(by_wan, b->by_wan, wan, sizeof(flow->wan), flow);
	DL_APPEND(b->flows, flow);
	return flow;
}

struct flow *flow_adopt(struct bindings *b, const struct nat_entry *entry,
			uint64_t now_ms)
{
	struct mapping *map = mapping_find_inside(
		b, entry->lan.proto, &entry->lan.src, &entry->wan.dst.addr);

	/* What packets of this flow get is the truth; the mapping follows it
	 * if it can, so that Contact and source agree. Not one in use: its
	 * port has been announced to others.
	 */
	if (map && map->out.public_end.port != entry->wan.dst.port &&
	    !map->flows && !map->holds)
		mapping_move(b, map, entry->wan.dst.port);
	if (!map && mapping_find_public(b, entry->lan.proto, &entry->wan.dst))
		map = mapping_get(b, entry->lan.proto, &entry->lan.src,
				  &entry->wan.dst.addr);
	else if (!map)
		map = mapping_add(b, entry->lan.proto, &entry->lan.src,
				  &entry->wan.dst);
	if (!map)
		return NULL;
	flows_trim(b);
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

	entry.wan.dst = map->out.public_end;
	return entry;
}

/*
 * Make the entry of @map towards @lan->dst. Where the public port is taken by
 * a flow of somebody else to that remote, the mapping moves to another one if
 * it @may_move: a port that packets do not get is worth nothing. One that a
 * packet from outside names is right as it is.
 */
static struct flow *flow_create(struct bindings *b, struct nat_entry *entry,
				struct mapping *map, bool may_move,
				uint64_t now_ms)
{
	int err = -EEXIST;

	for (int i = 0; i < CLASH_TRIES; i++) {
		uint16_t port = map->out.public_end.port;

		entry->wan.dst.port = port;
		err = nat_create(b->nat, entry);
		if (err != -EEXIST)
			break;
		counter_add(b->counters, COUNTER_mapping_clashes);
		if (!may_move)
			break;
		port = choose_port(b, map->in.proto, &map->in.public_addr,
				   (uint16_t)(port + 1));
		if (!port || !mapping_move(b, map, port))
			break;
	}
	if (err) {
		counter_add(b->counters, COUNTER_conntrack_errors);
		log_debug("conntrack entry not made: %s", strerror(-err));
		return NULL;
	}
	flows_trim(b);
	counter_add(b->counters, COUNTER_flows_created);
	return flow_add(b, entry, map, now_ms);
}

/* The kernel may have the flow although we do not know of it */
static struct flow *flow_from_kernel(struct bindings *b, const struct tuple *t,
				     enum nat_side side, uint64_t now_ms)
{
	struct nat_entry entry;

	if (nat_find(b->nat, t, side, &entry))
		return NULL;
	return flow_adopt(b, &entry, now_ms);
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

	if (!flow)
		flow = flow_from_kernel(b, lan, NAT_SIDE_LAN, now_ms);
	if (flow)
		return flow;
	*why = COUNTER_not_for_us;
	if (b->nat->ops->route(b->nat->ctx, &lan->src.addr, &lan->dst.addr,
			       &public_addr))
		return NULL;
	*why = COUNTER_no_mapping;
	map = mapping_get(b, lan->proto, &lan->src, &public_addr);
	if (!map)
		return NULL;
	entry = entry_of(lan, map);
	entry.timeout_s = b->nat->ops->idle_s(b->nat->ctx, false);
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
	target = mapping_find_public(b, lan->proto, &lan->dst);
	if (!target || endpoint_eq(&target->in.inside, &lan->src))
		return NULL;
	*why = COUNTER_no_mapping;
	map = mapping_get(b, lan->proto, &lan->src, &lan->dst.addr);
	if (!map)
		return NULL;
	/* No look-up first: nothing but this makes such an entry. One that is
	 * there is of ours, and is made anew.
	 */
	nat_remove(b->nat, lan);
	entry = entry_of(lan, map);
	entry.wan.src = target->in.inside;
	entry.timeout_s = b->nat->ops->idle_s(b->nat->ctx, true);
	entry.answered = true;
	flow = flow_create(b, &entry, map, true, now_ms);
	if (!flow)
		return NULL;
	entry = entry_reversed(&entry);
	/* The reverse may only displace what is older than this flow */
	flow_add(b, &entry, target, now_ms);
	return flow_find(b, lan, NAT_SIDE_LAN);
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
	map = mapping_find_public(b, wan->proto, &wan->dst);
	if (!map) {
		/* An older flow on a port that its mapping has left */
		flow = flow_find(b, wan, NAT_SIDE_WAN);
		if (!flow)
			return NULL;
		map = flow->map;
	}
	flow = flow_from_kernel(b, wan, NAT_SIDE_WAN, now_ms);
	if (flow)
		return flow;
	*why = COUNTER_not_allowed;
	if (!peer_is_allowed(b, &map->in.inside.addr, &wan->src.addr, now_ms))
		return NULL;
	*why = COUNTER_no_mapping;
	lan = tuple_reverse(wan);
	lan.src = map->in.inside;
	entry = entry_of(&lan, map);
	entry.timeout_s = b->nat->ops->idle_s(b->nat->ctx, true);
	entry.answered = true;
	return flow_create(b, &entry, map, false, now_ms);
}

void flow_hold(struct bindings *b, const struct tuple *lan, struct mapping *map,
	       uint32_t seconds, uint64_t now_ms)
{
	struct flow *flow = flow_find(b, lan, NAT_SIDE_LAN);
	struct nat_entry entry = entry_of(lan, map);

	if (!seconds && (!flow || !flow->fixed))
		return;
	if (flow)
		entry.wan = flow->wan;
	entry.fixed = seconds > 0;
	entry.timeout_s =
		seconds ? seconds : b->nat->ops->idle_s(b->nat->ctx, true);
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

void flow_gone(struct bindings *b, const struct tuple *lan)
{
	struct flow *flow = flow_find(b, lan, NAT_SIDE_LAN);

	if (flow)
		flow->sure_until_ms = 0;
}

void bindings_doubt(struct bindings *b)
{
	struct flow *flow;

	DL_FOREACH (b->flows, flow)
		flow->sure_until_ms = 0;
}

/* ---- peers ---- */

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

struct peer *peer_allow(struct bindings *b, const struct addr *inside,
			const struct addr *remote, uint64_t until_ms)
{
	struct peer *peer = peer_find(b, inside, remote), *next;

	if (!peer) {
		if (HASH_COUNT(b->peers) >= b->conf->limits.flows) {
			DL_FOREACH_SAFE (b->peer_list, peer, next) {
				if (peer->holds)
					continue;
				peer_free(b, peer);
				break;
			}
		}
		peer = calloc(1, sizeof(*peer));
		if (!peer)
			return NULL;
		peer->key = (struct peer_key){ *inside, *remote };
		HASH_ADD(hh, b->peers, key, sizeof(peer->key), peer);
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

void bindings_free(struct bindings *b)
{
	while (b->flows)
		flow_forget(b, b->flows);
	while (b->mappings)
		mapping_free(b, b->mappings);
	while (b->peer_list)
		peer_free(b, b->peer_list);
}
