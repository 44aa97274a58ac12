/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/media.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/log.h"

/* A source that has been quiet for so long makes room for another */
#define STRAY_MS 2000
/* On average, at most: two or four is usual, a call of many forks has more */
#define PINHOLES_A_CALL 8
/* An entry that a predecessor made, and that lasts so long, is left as it is */
#define RESUMED_S 60

/* ---- ports ---- */

static struct port_pool *pool_get(struct media *m, const struct addr *addr)
{
	return port_pool_get(&m->pools, addr);
}

static bool block_is_free(const struct media *m, const struct port_pool *pool,
			  uint16_t first, unsigned int count)
{
	const struct ports *range = &m->conf->media.rtp_ports;

	if (!first || first + count > 65536)
		return false;
	for (unsigned int p = first; p < first + count; p++) {
		if (!ports_contain(range, (uint16_t)p) ||
		    port_pool_has(pool, p))
			return false;
	}
	return true;
}

/* @count free ports in a row whose first has the parity of @wish: from @wish,
 * or from the next after the last ones given out, so that a port rests as long
 * as possible before it comes again. 0 if there are none.
 */
static uint16_t block_reserve(struct media *m, struct port_pool *pool,
			      uint16_t wish, unsigned int count)
{
	const struct ports *range = &m->conf->media.rtp_ports;
	unsigned int total = ports_count(range);
	uint16_t port = wish;

	for (unsigned int i = 0; !block_is_free(m, pool, port, count); i++) {
		if (i == total)
			return 0;
		port = ports_at(range, pool->next++ % total);
		if ((port ^ wish) & 1)
			port = 0;
	}
	port_pool_take(pool, port, count);
	return port;
}

/* ---- what is older than this program ---- */

static void orphan_free(struct media *m, struct media_orphan *o)
{
	struct port_pool *pool = pool_get(m, &o->public_end.addr);

	if (pool)
		port_pool_give(pool, o->public_end.port, 1);
	HASH_DELETE(by_inside, m->orphans, o);
	free(o);
}

static struct media_orphan *orphan_find(const struct media *m,
					const struct endpoint *inside,
					const struct addr *public_addr)
{
	struct media_stream_key key = { *inside, *public_addr };
	struct media_orphan *o;

	HASH_FIND(by_inside, m->orphans, &key, sizeof(key), o);
	return o;
}

bool media_is_older(const struct media *m, const struct endpoint *inside,
		    const struct endpoint *public_end)
{
	const struct media_orphan *o =
		orphan_find(m, inside, &public_end->addr);

	return o && endpoint_eq(&o->public_end, public_end);
}

void media_adopt(struct media *m, const struct nat_entry *entry)
{
	const struct endpoint *inside = &entry->lan.src;
	const struct endpoint *public_end = &entry->wan.dst;
	struct media_orphan *o = orphan_find(m, inside, &public_end->addr);
	struct port_pool *pool = pool_get(m, &public_end->addr);

	if (o) {
		o->entries += endpoint_eq(&o->public_end, public_end);
		return;
	}
	if (!pool || !block_is_free(m, pool, public_end->port, 1))
		return;
	o = calloc(1, sizeof(*o));
	if (!o)
		return;
	o->in = (struct media_stream_key){ *inside, public_end->addr };
	o->public_end = *public_end;
	o->entries = 1;
	HASH_ADD(by_inside, m->orphans, in, sizeof(o->in), o);
	if (!TABLE_HAS(o, by_inside)) {
		free(o);
		return;
	}
	port_pool_take(pool, public_end->port, 1);
}

/* Which address it had is not told, and hardly ever are there several */
static struct media_orphan *orphan_of(const struct media *m,
				      const struct tuple *lan)
{
	const struct port_pool *pool;

	for (pool = m->pools; pool; pool = pool->link) {
		struct media_orphan *o =
			orphan_find(m, &lan->src, &pool->public_addr);

		if (o)
			return o;
	}
	return NULL;
}

void media_gone(struct media *m, const struct tuple *lan)
{
	struct media_orphan *o = m->orphans ? orphan_of(m, lan) : NULL;

	if (o && !--o->entries)
		orphan_free(m, o);
}

/* The call is heard of again. Return: the public port that @rtp has had, free
 * again, as that of @rtcp is; else @otherwise
 */
static uint16_t claim(struct media *m, const struct addr *public_addr,
		      const struct media_stream_wish *wish, uint16_t otherwise)
{
	struct media_orphan *rtp, *rtcp;

	if (!m->orphans)
		return otherwise;
	rtp = orphan_find(m, &wish->rtp, public_addr);
	rtcp = orphan_find(m, &wish->rtcp, public_addr);
	if (rtp)
		otherwise = rtp->public_end.port;
	if (rtcp && rtcp != rtp)
		orphan_free(m, rtcp);
	if (rtp)
		orphan_free(m, rtp);
	return otherwise;
}

/* ---- streams ---- */

static bool is_reserved(const struct media *m,
			const struct media_stream_wish *wish)
{
	const struct ports *reserved = &m->conf->media.reserved_ports;

	for (unsigned int i = 0; i < 2 * wish->pairs; i++) {
		if (ports_contain(reserved, (uint16_t)(wish->rtp.port + i)))
			return true;
	}
	return wish->rtcp.port && ports_contain(reserved, wish->rtcp.port);
}

static bool has_share(const struct media *m, const struct port_pool *pool,
		      const struct media_stream_wish *wish)
{
	return host_may_take(m->hosts, &wish->rtp.addr, SHARE_MEDIA_PORTS,
			     2 * wish->pairs, pool->taken,
			     ports_count(&m->conf->media.rtp_ports));
}

/* Its public port is @wish_port, if it can be */
static struct media_stream *
media_stream_new(struct media *m, const struct addr *public_addr,
		 const struct media_stream_wish *wish, uint16_t wish_port)
{
	struct port_pool *pool = pool_get(m, public_addr);
	struct media_stream *s = calloc(1, sizeof(*s));
	uint16_t port = 0;

	if (pool && !has_share(m, pool, wish)) {
		counter_add(m->counters, COUNTER_over_share);
		free(s);
		return NULL;
	}
	if (pool && s)
		port = block_reserve(m, pool,
				     claim(m, public_addr, wish, wish_port),
				     2 * wish->pairs);
	if (!port) {
		counter_add(m->counters, COUNTER_media_exhausted);
		free(s);
		return NULL;
	}
	s->in = (struct media_stream_key){ wish->rtp, *public_addr };
	s->public_rtp = (struct endpoint){ *public_addr, port };
	s->pairs = wish->pairs;
	s->host = host_take(m->hosts, &wish->rtp.addr, SHARE_MEDIA_PORTS,
			    2 * wish->pairs);
	HASH_ADD(by_inside, m->by_inside, in, sizeof(s->in), s);
	HASH_ADD(by_public, m->by_public, public_rtp, sizeof(s->public_rtp), s);
	if (!TABLE_HAS(s, by_inside) || !TABLE_HAS(s, by_public)) {
		s->refs = 1;
		media_stream_put(m, s);
		return NULL;
	}
	counter_add(m->counters, COUNTER_media_mappings);
	return s;
}

static struct media_stream *get_stream(struct media *m,
				       const struct addr *public_addr,
				       const struct media_stream_wish *wish,
				       uint16_t wish_port)
{
	struct media_stream_key key = { wish->rtp, *public_addr };
	struct media_stream *s;

	if (is_reserved(m, wish)) {
		counter_add(m->counters, COUNTER_media_reserved_port);
		return NULL;
	}
	HASH_FIND(by_inside, m->by_inside, &key, sizeof(key), s);
	if (!s)
		s = media_stream_new(m, public_addr, wish, wish_port);
	if (!s || s->pairs < wish->pairs)
		return NULL;
	s->refs++;
	s->inside_rtcp = wish->rtcp;
	/* What was voice may be fax now, on the same port */
	span_copy(s->type, sizeof(s->type), wish->type);
	return s;
}

void media_stream_note(struct media_stream *s, const struct endpoint *from,
		       uint64_t now_ms)
{
	bool other = !endpoint_eq(&s->stray, from);

	if (s->strays && other && now_ms - s->stray_last_ms < STRAY_MS)
		return;
	if (!s->strays || other) {
		s->stray = *from;
		s->strays = 0;
		s->stray_ms = now_ms;
	}
	s->strays++;
	s->stray_last_ms = now_ms;
}

struct media_stream *media_stream_get(struct media *m,
				      const struct addr *public_addr,
				      const struct media_stream_wish *wish)
{
	return get_stream(m, public_addr, wish, wish->rtp.port);
}

struct media_stream *media_stream_restore(struct media *m,
					  const struct media_stream_wish *wish,
					  const struct endpoint *public_rtp)
{
	struct media_stream *s;

	if (!wish->pairs || wish->pairs > STREAM_PAIRS || !wish->rtp.port ||
	    !public_rtp->port)
		return NULL;
	s = get_stream(m, &public_rtp->addr, wish, public_rtp->port);
	if (s && !endpoint_eq(&s->public_rtp, public_rtp)) {
		media_stream_put(m, s);
		s = NULL;
	}
	return s;
}

void media_stream_put(struct media *m, struct media_stream *stream)
{
	struct port_pool *pool = pool_get(m, &stream->public_rtp.addr);

	if (--stream->refs)
		return;
	if (pool)
		port_pool_give(pool, stream->public_rtp.port,
			       2 * stream->pairs);
	host_give(stream->host, SHARE_MEDIA_PORTS, 2 * stream->pairs);
	pinhole_begin(stream->guests);
	pinhole_sweep(m, &stream->guests);
	if (TABLE_HAS(stream, by_inside))
		HASH_DELETE(by_inside, m->by_inside, stream);
	if (TABLE_HAS(stream, by_public))
		HASH_DELETE(by_public, m->by_public, stream);
	free(stream);
}

struct media_stream *stream_find_public(const struct media *m,
					const struct endpoint *public_rtp)
{
	struct media_stream *s;

	HASH_FIND(by_public, m->by_public, public_rtp, sizeof(*public_rtp), s);
	return s;
}

/* ---- pinholes ---- */

static struct nat_entry entry_of(const struct media *m, const struct pinhole *p)
{
	return (struct nat_entry){
		.lan = p->lan,
		.wan = p->wan,
		.timeout_s = m->conf->media.timeout_s,
		.answered = true,
		.mark = m->conf->media.conntrack_mark,
	};
}

/* One that is there already, as if it had been made now */
static int entry_take(const struct media *m, const struct nat_entry *entry)
{
	nat_set_mark(m->nat, &entry->lan, entry->mark);
	return nat_refresh(m->nat, &entry->lan, entry->timeout_s);
}

/*
 * The inside host may have sent to that remote already, or another rule may
 * hold the tuple: an entry with our translation is as good as ours, one with
 * another would send media from a port that nobody announced.
 */
static int pinhole_create(const struct media *m, const struct pinhole *p)
{
	struct nat_entry entry = entry_of(m, p), found;
	int err;

	/* It is prolonged when its call is looked after next */
	if (m->resuming && !nat_find(m->nat, &p->lan, NAT_SIDE_LAN, &found) &&
	    tuple_eq(&found.wan, &p->wan) && found.timeout_s >= RESUMED_S) {
		nat_set_mark(m->nat, &p->lan, entry.mark);
		return 0;
	}
	err = nat_create(m->nat, &entry);
	if (err != -EEXIST)
		return err;
	if (nat_find(m->nat, &p->lan, NAT_SIDE_LAN, &found))
		return err;
	if (tuple_eq(&found.wan, &p->wan))
		return entry_take(m, &entry);
	nat_remove(m->nat, &p->lan);
	return nat_create(m->nat, &entry);
}

static void pinhole_open(struct media *m, struct pinhole *p)
{
	char inside[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
	int err = pinhole_create(m, p);

	p->mark = m->conf->media.conntrack_mark;
	if (!err) {
		counter_add(m->counters, COUNTER_media_entries);
		return;
	}
	counter_add(m->counters, COUNTER_media_clashes);
	endpoint_format(&p->lan.src, inside);
	endpoint_format(&p->lan.dst, remote);
	log_debug("media %s -> %s: conntrack: %s", inside, remote,
		  strerror(-err));
}

/* After a reload, an entry that was made before it: the bits that are ours no
 * more go, too
 */
static void pinhole_remark(struct media *m, struct pinhole *p)
{
	const struct conf_mark *now = &m->conf->media.conntrack_mark;
	struct conf_mark mark = { now->value, now->mask | p->mark.mask };

	if (now->value == p->mark.value && now->mask == p->mark.mask)
		return;
	if (!nat_set_mark(m->nat, &p->lan, mark))
		p->mark = *now;
}

/* Who answers from @remote: itself, or the inside host it stands for. Both
 * ends of that flow are then translated (RFC 4787 REQ-9).
 */
static struct endpoint behind(const struct media *m,
			      const struct endpoint *remote, bool rtcp)
{
	struct endpoint rtp = *remote;
	const struct media_stream *s;

	if (rtcp)
		rtp.port--;
	s = stream_find_public(m, &rtp);
	if (!s)
		return *remote;
	return rtcp ? s->inside_rtcp : s->in.inside_rtp;
}

void pinhole_want(struct media *m, struct pinhole **list,
		  const struct endpoint *inside,
		  const struct endpoint *public_end,
		  const struct endpoint *remote, bool rtcp)
{
	struct tuple lan = { .src = *inside,
			     .dst = *remote,
			     .proto = IPPROTO_UDP };
	struct pinhole *p;

	DL_FOREACH (*list, p) {
		if (tuple_eq(&p->lan, &lan)) {
			p->wanted = true;
			return;
		}
	}
	if (m->pinholes >= PINHOLES_A_CALL * m->conf->limits.calls) {
		counter_add(m->counters, COUNTER_media_clashes);
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->lan = lan;
	p->wan = tuple_reverse(&lan);
	p->wan.src = behind(m, remote, rtcp);
	p->wan.dst = *public_end;
	p->rtcp = rtcp;
	p->wanted = true;
	HASH_ADD(by_lan, m->pinholes_by_lan, lan, sizeof(p->lan), p);
	if (!TABLE_HAS(p, by_lan)) {
		free(p);
		return;
	}
	DL_APPEND(*list, p);
	m->pinholes++;
	pinhole_open(m, p);
}

void pinhole_begin(struct pinhole *list)
{
	struct pinhole *p;

	DL_FOREACH (list, p)
		p->wanted = false;
}

bool pinhole_want_unmoved(const struct media *m, struct pinhole *list)
{
	struct pinhole *p;
	bool all = true;

	DL_FOREACH (list, p) {
		/* Of a hairpin both ends are inside */
		p->wanted = !endpoint_eq(&p->lan.dst, &p->wan.src) ||
			    !nat_has_moved(m->nat, &p->lan.src, &p->lan.dst,
					   &p->wan.dst.addr, true);
		all = all && p->wanted;
	}
	return all;
}

/* Return: false if the entry is gone, or another one is in its place */
static bool read_packets(const struct media *m, struct pinhole *p)
{
	struct nat_entry now;

	if (nat_find(m->nat, &p->lan, NAT_SIDE_LAN, &now) ||
	    !tuple_eq(&now.wan, &p->wan))
		return false;
	/* One that was made anew counts from zero */
	if (now.packets_out < p->base_out || now.packets_in < p->base_in)
		p->base_out = p->base_in = 0;
	p->counted = now.counted;
	p->packets_out = now.packets_out;
	p->packets_in = now.packets_in;
	return true;
}

/* Return: false as read_packets(); @passed is set if there are more packets */
static bool look(const struct media *m, struct pinhole *p, bool *passed)
{
	uint64_t before_out = p->packets_out, before_in = p->packets_in;

	if (!read_packets(m, p))
		return false;
	*passed |= p->packets_out != before_out || p->packets_in != before_in;
	return true;
}

bool pinhole_read(struct media *m, struct pinhole *list)
{
	struct pinhole *p;
	bool passed = false;

	DL_FOREACH (list, p)
		look(m, p, &passed);
	return passed;
}

void pinhole_base(struct pinhole *list)
{
	struct pinhole *p;

	DL_FOREACH (list, p) {
		p->base_out = p->packets_out;
		p->base_in = p->packets_in;
	}
}

void pinhole_sum_unwanted(struct media *m, struct pinhole *list,
			  struct media_traffic *sum)
{
	struct pinhole *p;

	DL_FOREACH (list, p) {
		if (p->wanted || p->rtcp)
			continue;
		read_packets(m, p);
		sum->unknown |= !p->counted;
		sum->out += p->packets_out;
		sum->in += p->packets_in;
	}
}

void pinhole_sweep(struct media *m, struct pinhole **list)
{
	struct pinhole *p, *next, *other;

	DL_FOREACH_SAFE (*list, p, next) {
		if (p->wanted)
			continue;
		HASH_DELETE(by_lan, m->pinholes_by_lan, p);
		HASH_FIND(by_lan, m->pinholes_by_lan, &p->lan, sizeof(p->lan),
			  other);
		if (!other)
			nat_remove(m->nat, &p->lan);
		DL_DELETE(*list, p);
		free(p);
		m->pinholes--;
	}
}

struct media_stream *media_stream_of(const struct media *m,
				     const struct endpoint *public_end,
				     struct endpoint *inside)
{
	struct endpoint rtp = *public_end;
	struct media_stream *s = stream_find_public(m, &rtp);
	struct endpoint rtcp;

	if (s) {
		*inside = s->in.inside_rtp;
		return s;
	}
	rtp.port--;
	s = stream_find_public(m, &rtp);
	if (!s || !s->inside_rtcp.port)
		return NULL;
	rtcp = stream_public_rtcp(s);
	*inside = s->inside_rtcp;
	return endpoint_eq(&rtcp, public_end) ? s : NULL;
}

bool media_stream_admit(struct media *m, struct media_stream *s,
			const struct endpoint *inside, const struct tuple *wan)
{
	unsigned int count = 0;
	struct pinhole *p;

	DL_FOREACH (s->guests, p) {
		/* It was here before, and the kernel has dropped its entry */
		if (tuple_eq(&p->wan, wan)) {
			pinhole_open(m, p);
			return true;
		}
		count++;
	}
	if (count >= STREAM_GUESTS)
		return false;
	pinhole_want(m, &s->guests, inside, &wan->dst, &wan->src,
		     !endpoint_eq(inside, &s->in.inside_rtp));
	return true;
}

enum media_sign pinhole_keep(struct media *m, struct pinhole *list)
{
	bool unknown = m->nat->dry || !m->nat->ops->counts(m->nat->ctx);
	bool passed = false;
	struct pinhole *p;

	DL_FOREACH (list, p) {
		if (!look(m, p, &passed)) {
			pinhole_open(m, p);
			continue;
		}
		unknown |= !p->counted;
		pinhole_remark(m, p);
		nat_refresh(m->nat, &p->lan, m->conf->media.timeout_s);
	}
	if (passed)
		return MEDIA_HEARD;
	return unknown ? MEDIA_UNKNOWN : MEDIA_SILENT;
}

void media_free(struct media *m)
{
	struct media_orphan *o, *next;

	HASH_ITER (by_inside, m->orphans, o, next)
		orphan_free(m, o);
	port_pools_free(&m->pools);
}
