/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim/simnat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* Where MASQUERADE looks when the phone's own port is taken */
#define FIRST_PORT 1024

void simnat_init(struct simnat *sim)
{
	memset(sim, 0, sizeof(*sim));
	sim->limit = SIMNAT_ENTRIES;
	sim->counting = true;
}

static void drop(struct simnat *sim, struct simnat_entry *entry)
{
	struct simnat_key *lan = &entry->lan, *wan = &entry->wan;

	if (TABLE_HAS(lan, hh))
		HASH_DELETE(hh, sim->table, lan);
	if (TABLE_HAS(wan, hh))
		HASH_DELETE(hh, sim->table, wan);
	DL_DELETE(sim->list, entry);
	sim->count--;
	free(entry);
}

void simnat_free(struct simnat *sim)
{
	while (sim->list)
		drop(sim, sim->list);
}

static void sweep(struct simnat *sim)
{
	struct simnat_entry *entry, *next;

	DL_FOREACH_SAFE (sim->list, entry, next) {
		if (entry->due_ms <= sim->now_ms)
			drop(sim, entry);
	}
	sim->swept_s = sim->now_ms / 1000;
}

void simnat_set_now(struct simnat *sim, uint64_t now_ms)
{
	if (now_ms <= sim->now_ms)
		return;
	sim->now_ms = now_ms;
	/* look_up() hides what is dead meanwhile */
	if (now_ms / 1000 != sim->swept_s)
		sweep(sim);
}

int simnat_add_inside(struct simnat *sim, const struct network *net)
{
	if (sim->inside_count == SIMNAT_NETWORKS)
		return -ENOSPC;
	sim->inside[sim->inside_count++] = *net;
	return 0;
}

int simnat_add_route(struct simnat *sim, const struct network *to,
		     const struct addr *from)
{
	if (sim->route_count == SIMNAT_NETWORKS)
		return -ENOSPC;
	sim->route[sim->route_count++] = (struct simnat_route){ *to, *from };
	return 0;
}

/* ---- faults ---- */

void simnat_fail(struct simnat *sim, enum simnat_call call, unsigned int skip,
		 unsigned int times, int err)
{
	sim->fault[call] = (struct simnat_fault){ skip, times, err };
}

/* What @call is to fail with; 0: it may go on */
static int fault(struct simnat *sim, enum simnat_call call)
{
	struct simnat_fault *f = &sim->fault[call];

	sim->calls[call]++;
	if (f->skip) {
		f->skip--;
		return 0;
	}
	if (!f->times)
		return 0;
	f->times--;
	return f->err;
}

/* ---- the table ---- */

/* The entry that has @t as one of its tuples, unless its time is over */
static struct simnat_key *look_up(struct simnat *sim, const struct tuple *t)
{
	struct simnat_key *key;

	HASH_FIND(hh, sim->table, t, sizeof(*t), key);
	if (key && key->owner->due_ms <= sim->now_ms) {
		drop(sim, key->owner);
		return NULL;
	}
	return key;
}

static struct simnat_entry *find_lan(struct simnat *sim,
				     const struct tuple *lan)
{
	struct simnat_key *key = look_up(sim, lan);

	return key && key == &key->owner->lan ? key->owner : NULL;
}

static void set_timeout(const struct simnat *sim, struct simnat_entry *entry,
			uint32_t timeout_s)
{
	entry->data.timeout_s = timeout_s;
	entry->due_ms = sim->now_ms + timeout_s * 1000ull;
}

static void key_add(struct simnat *sim, struct simnat_key *key,
		    struct simnat_entry *owner, const struct tuple *tuple)
{
	key->owner = owner;
	key->tuple = *tuple;
	HASH_ADD(hh, sim->table, tuple, sizeof(key->tuple), key);
}

static int add(struct simnat *sim, const struct nat_entry *data)
{
	struct simnat_entry *entry;

	/* Neither tuple may be that of another entry, in either direction:
	 * nf_conntrack_hash_check_insert()
	 */
	if (look_up(sim, &data->lan) || look_up(sim, &data->wan) ||
	    tuple_eq(&data->lan, &data->wan))
		return -EEXIST;
	if (sim->count >= sim->limit)
		sweep(sim);
	entry = sim->count < sim->limit ? calloc(1, sizeof(*entry)) : NULL;
	if (!entry)
		return -ENOMEM;
	entry->data = *data;
	entry->data.packets_out = entry->data.packets_in = 0;
	entry->data.counted = sim->counting;
	set_timeout(sim, entry, data->timeout_s);
	key_add(sim, &entry->lan, entry, &data->lan);
	key_add(sim, &entry->wan, entry, &data->wan);
	DL_APPEND(sim->list, entry);
	sim->count++;
	if (TABLE_HAS(&entry->lan, hh) && TABLE_HAS(&entry->wan, hh))
		return 0;
	drop(sim, entry);
	return -ENOMEM;
}

/* ---- struct nat_ops ---- */

/*
 * A hairpin's entry lies between two hosts inside, and is asked for with
 * either tuple from the LAN side: it is shown from where the packet stands.
 */
static void show(const struct simnat *sim, const struct simnat_key *key,
		 enum nat_side side, struct nat_entry *out)
{
	const struct simnat_entry *e = key->owner;
	const struct nat_entry *data = &e->data;

	*out = *data;
	out->timeout_s = (uint32_t)((e->due_ms - sim->now_ms + 999) / 1000);
	if ((key == &e->lan) == (side != NAT_SIDE_WAN))
		return;
	out->lan = data->wan;
	out->wan = data->lan;
	out->from_wan = !data->from_wan;
	out->tcp_wscale[0] = data->tcp_wscale[1];
	out->tcp_wscale[1] = data->tcp_wscale[0];
	out->packets_in = data->packets_out;
	out->packets_out = data->packets_in;
}

static int op_find(void *ctx, const struct tuple *t, enum nat_side side,
		   struct nat_entry *entry)
{
	struct simnat *sim = ctx;
	int err = fault(sim, SIMNAT_FIND);
	struct simnat_key *key;

	if (err)
		return err;
	key = look_up(sim, t);
	if (!key)
		return -ENOENT;
	show(sim, key, side, entry);
	return 0;
}

/* What every question about one entry begins with */
static int ask_for(struct simnat *sim, enum simnat_call call,
		   const struct tuple *lan, struct simnat_entry **entry)
{
	int err = fault(sim, call);

	if (err)
		return err;
	*entry = find_lan(sim, lan);
	return *entry ? 0 : -ENOENT;
}

static int op_create(void *ctx, const struct nat_entry *entry)
{
	struct simnat *sim = ctx;
	int err = fault(sim, SIMNAT_CREATE);

	return err ? err : add(sim, entry);
}

static int op_remove(void *ctx, const struct tuple *lan)
{
	struct simnat *sim = ctx;
	struct simnat_entry *entry;
	int err = ask_for(sim, SIMNAT_REMOVE, lan, &entry);

	if (err)
		return err;
	drop(sim, entry);
	return 0;
}

static int op_refresh(void *ctx, const struct tuple *lan, uint32_t timeout_s)
{
	struct simnat *sim = ctx;
	struct simnat_entry *entry;
	int err = ask_for(sim, SIMNAT_REFRESH, lan, &entry);

	if (err)
		return err;
	if (entry->data.fixed)
		return -EPERM;
	set_timeout(sim, entry, timeout_s);
	return 0;
}

static int op_set_mark(void *ctx, const struct tuple *lan,
		       struct conf_mark mark)
{
	struct simnat *sim = ctx;
	struct simnat_entry *entry;
	int err = ask_for(sim, SIMNAT_SET_MARK, lan, &entry);

	if (err)
		return err;
	entry->data.mark.value =
		(entry->data.mark.value & ~mark.mask) ^ mark.value;
	entry->data.mark.mask |= mark.mask;
	return 0;
}

static int op_set_liberal(void *ctx, const struct tuple *lan)
{
	struct simnat *sim = ctx;
	struct simnat_entry *entry;
	int err = ask_for(sim, SIMNAT_SET_LIBERAL, lan, &entry);

	if (err)
		return err;
	entry->data.tcp_liberal = true;
	return 0;
}

static int op_send(void *ctx, const void *packet, size_t len)
{
	struct simnat *sim = ctx;
	int err = fault(sim, SIMNAT_SEND);

	if (!err && sim->sent)
		sim->sent(sim->sent_arg, packet, len);
	return err;
}

static bool op_is_inside(void *ctx, const struct addr *a)
{
	const struct simnat *sim = ctx;

	for (unsigned int i = 0; i < sim->inside_count; i++) {
		if (network_contains(&sim->inside[i], a))
			return true;
	}
	return false;
}

static void op_ping(void *ctx, const struct tuple *lan)
{
	struct simnat *sim = ctx;

	(void)lan;
	sim->pings++;
}

static bool op_is_bound(void *ctx, const struct endpoint *end)
{
	(void)ctx;
	(void)end;
	return false; /* nothing runs on the simulated gateway */
}

static bool op_is_own(void *ctx, const struct addr *a)
{
	const struct simnat *sim = ctx;

	for (unsigned int i = 0; i < sim->route_count; i++) {
		if (addr_eq(&sim->route[i].from, a))
			return true;
	}
	return false;
}

static const struct simnat_route *route_to(const struct simnat *sim,
					   const struct addr *remote)
{
	const struct simnat_route *best = NULL;

	for (unsigned int i = 0; i < sim->route_count; i++) {
		const struct simnat_route *r = &sim->route[i];

		if (network_contains(&r->to, remote) &&
		    addr_family(&r->from) == addr_family(remote) &&
		    (!best || r->to.bits > best->to.bits))
			best = r;
	}
	return best;
}

static int op_route(void *ctx, const struct addr *inside,
		    const struct addr *remote, struct addr *public_addr)
{
	struct simnat *sim = ctx;
	int err = fault(sim, SIMNAT_ROUTE);
	const struct simnat_route *route;

	(void)inside;
	if (err)
		return err;
	route = route_to(sim, remote);
	if (!route)
		return -ENETUNREACH;
	*public_addr = route->from;
	return 0;
}

static bool op_has_moved(void *ctx, const struct addr *inside,
			 const struct addr *remote,
			 const struct addr *public_addr, bool ours)
{
	struct addr now;

	(void)ours;
	return !op_route(ctx, inside, remote, &now) &&
	       !addr_eq(&now, public_addr);
}

static uint32_t idle_s(uint8_t proto, bool answered)
{
	if (proto == IPPROTO_TCP)
		return answered ? SIMNAT_TCP_IDLE_ANSWERED_S
				: SIMNAT_TCP_IDLE_S;
	return answered ? SIMNAT_IDLE_ANSWERED_S : SIMNAT_IDLE_S;
}

static uint32_t op_idle_s(void *ctx, uint8_t proto, bool answered)
{
	(void)ctx;
	return idle_s(proto, answered);
}

static bool op_counts(void *ctx)
{
	const struct simnat *sim = ctx;

	return sim->counting;
}

static int op_listen(void *ctx, const struct nat_line *line)
{
	struct simnat *sim = ctx;
	int err = fault(sim, SIMNAT_LISTEN);

	if (err)
		return err;
	sim->line = *line;
	sim->heard = (struct nat_overheard){ .out = 0 };
	return 0;
}

static void op_overhear(void *ctx, struct nat_overheard *heard)
{
	struct simnat *sim = ctx;

	*heard = sim->heard;
	sim->line = (struct nat_line){ .inside = { .port = 0 } };
	sim->heard = (struct nat_overheard){ .out = 0 };
}

const struct nat_ops simnat_ops = {
	.find = op_find,
	.create = op_create,
	.remove = op_remove,
	.refresh = op_refresh,
	.set_mark = op_set_mark,
	.set_liberal = op_set_liberal,
	.send = op_send,
	.route = op_route,
	.is_inside = op_is_inside,
	.has_moved = op_has_moved,
	.is_own = op_is_own,
	.is_bound = op_is_bound,
	.ping = op_ping,
	.idle_s = op_idle_s,
	.counts = op_counts,
	.listen = op_listen,
	.overhear = op_overhear,
};

/* ---- packets ---- */

static void count(struct simnat *sim, struct simnat_entry *entry, bool outbound)
{
	if (entry->data.counted && outbound)
		entry->data.packets_out++;
	else if (entry->data.counted)
		entry->data.packets_in++;
	/* One packet each way: IPS_SEEN_REPLY */
	if (outbound == entry->data.from_wan)
		entry->data.answered = true;
	if (!entry->data.fixed)
		set_timeout(
			sim, entry,
			idle_s(entry->data.lan.proto, entry->data.answered));
}

/* The entry of a new flow: the phone's own port if it is free towards that
 * remote, else the next that is (RFC 6056 would draw one; a replay must give
 * the same result twice)
 */
static int masquerade(struct simnat *sim, const struct tuple *lan,
		      const struct addr *from)
{
	struct nat_entry entry = { .lan = *lan,
				   .wan = tuple_reverse(lan),
				   .timeout_s = idle_s(lan->proto, false) };
	uint16_t port = lan->src.port;
	int err;

	entry.wan.dst.addr = *from;
	for (unsigned int tries = 0; tries <= UINT16_MAX; tries++) {
		entry.wan.dst.port = port;
		err = add(sim, &entry);
		if (err != -EEXIST)
			return err ? -ENOSPC : 0;
		port = port == UINT16_MAX || port < FIRST_PORT
			       ? FIRST_PORT
			       : (uint16_t)(port + 1);
	}
	return -ENOSPC;
}

static void overhear(struct simnat *sim, const struct tuple *t)
{
	const struct nat_line *line = &sim->line;

	if (endpoint_eq(&t->src, &line->inside) &&
	    !endpoint_eq(&t->dst, &line->remote)) {
		sim->heard.to = t->dst;
		sim->heard.out++;
	} else if (endpoint_eq(&t->dst, &line->remote) &&
		   addr_eq(&t->src.addr, &line->inside.addr) &&
		   t->src.port != line->inside.port) {
		sim->heard.by = t->src;
		sim->heard.other++;
	} else if (endpoint_eq(&t->dst, &line->public_end) &&
		   !endpoint_eq(&t->src, &line->remote)) {
		sim->heard.from = t->src;
		sim->heard.in++;
	}
}

int simnat_pass(struct simnat *sim, enum nat_side side, const struct tuple *in,
		struct tuple *out)
{
	struct simnat_key *key = look_up(sim, in);
	const struct simnat_route *route;
	int err;

	*out = *in;
	overhear(sim, in);
	if (!key && side == NAT_SIDE_LAN && !op_is_inside(sim, &in->dst.addr) &&
	    !op_is_own(sim, &in->dst.addr)) {
		route = route_to(sim, &in->dst.addr);
		if (!route)
			return 0;
		err = masquerade(sim, in, &route->from);
		if (err)
			return err;
		key = look_up(sim, in);
	}
	if (!key)
		return 0;
	count(sim, key->owner, key == &key->owner->lan);
	*out = tuple_reverse(key == &key->owner->lan ? &key->owner->wan.tuple
						     : &key->owner->lan.tuple);
	return 0;
}

/* Media from where nobody said: new to conntrack (media.source) */
static bool is_new_media(struct simnat *sim, const struct conf *conf,
			 const struct tuple *t)
{
	return t->proto == IPPROTO_UDP &&
	       conf->media.source != CONF_SOURCE_STRICT &&
	       ports_contain(&conf->media.rtp_ports, t->dst.port) &&
	       !look_up(sim, t);
}

bool simnat_is_queued(struct simnat *sim, const struct conf *conf,
		      enum nat_side side, const struct tuple *t)
{
	const struct ports *sip = &conf->sip.ports;
	const struct ports *phones = &conf->sip.signalling_ports;
	bool to_phone = ports_contain(phones, t->dst.port);

	if (t->proto != IPPROTO_UDP && t->proto != IPPROTO_TCP)
		return false;
	if (side == NAT_SIDE_LAN)
		return ports_contain(sip, t->src.port) ||
		       ports_contain(sip, t->dst.port) ||
		       ports_contain(phones, t->src.port) ||
		       (to_phone && op_is_own(sim, &t->dst.addr));
	return side == NAT_SIDE_WAN &&
	       (to_phone || ports_contain(sip, t->src.port) ||
		is_new_media(sim, conf, t));
}
