/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/media.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/log.h"

/* ---- ports ---- */

static struct port_pool *pool_get(struct media *m, const struct addr *addr)
{
	struct port_pool *pool;

	for (pool = m->pools; pool; pool = pool->link) {
		if (addr_eq(&pool->public_addr, addr))
			return pool;
	}
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->public_addr = *addr;
	pool->link = m->pools;
	m->pools = pool;
	return pool;
}

static bool port_is_used(const struct port_pool *pool, unsigned int port)
{
	return pool->used[port / 64] >> (port % 64) & 1;
}

static void pair_mark(struct port_pool *pool, uint16_t port, bool used)
{
	for (unsigned int p = port; p <= port + 1u; p++) {
		if (used)
			pool->used[p / 64] |= 1ull << (p % 64);
		else
			pool->used[p / 64] &= ~(1ull << (p % 64));
	}
}

static bool pair_is_free(const struct media *m, const struct port_pool *pool,
			 uint16_t port)
{
	const struct ports *range = &m->conf->media.rtp_ports;

	return port && port < UINT16_MAX && ports_contain(range, port) &&
	       ports_contain(range, (uint16_t)(port + 1)) &&
	       !port_is_used(pool, port) && !port_is_used(pool, port + 1u);
}

/* A free pair of the same parity: @wish, or the next after the last one given
 * out, so that a port rests as long as possible before it comes again.
 */
static uint16_t pair_reserve(struct media *m, struct port_pool *pool,
			     uint16_t wish)
{
	const struct ports *range = &m->conf->media.rtp_ports;
	unsigned int count = ports_count(range);
	uint16_t port = wish;

	for (unsigned int i = 0; !pair_is_free(m, pool, port); i++) {
		if (i == count)
			return 0;
		port = ports_at(range, pool->next++ % count);
		if ((port ^ wish) & 1)
			port = 0;
	}
	pair_mark(pool, port, true);
	return port;
}

/* ---- streams ---- */

struct stream *stream_get(struct media *m, const struct addr *public_addr,
			  const struct endpoint *inside_rtp,
			  const struct endpoint *inside_rtcp, struct span type)
{
	const struct ports *reserved = &m->conf->media.reserved_ports;
	struct port_pool *pool;
	struct stream *s;
	uint16_t port;

	HASH_FIND(by_inside, m->by_inside, inside_rtp, sizeof(*inside_rtp), s);
	if (s && addr_eq(&s->public_rtp.addr, public_addr)) {
		s->refs++;
		s->inside_rtcp = *inside_rtcp;
		return s;
	}
	if (ports_contain(reserved, inside_rtp->port) ||
	    (inside_rtcp->port && ports_contain(reserved, inside_rtcp->port))) {
		counter_add(m->counters, COUNTER_media_reserved_port);
		return NULL;
	}
	pool = pool_get(m, public_addr);
	s = calloc(1, sizeof(*s));
	if (!pool || !s) {
		free(s);
		return NULL;
	}
	port = pair_reserve(m, pool, inside_rtp->port);
	if (!port) {
		counter_add(m->counters, COUNTER_media_exhausted);
		free(s);
		return NULL;
	}
	s->inside_rtp = *inside_rtp;
	s->inside_rtcp = *inside_rtcp;
	s->public_rtp = (struct endpoint){ *public_addr, port };
	s->refs = 1;
	span_copy(s->type, sizeof(s->type), type);
	HASH_ADD(by_inside, m->by_inside, inside_rtp, sizeof(s->inside_rtp), s);
	HASH_ADD(by_public, m->by_public, public_rtp, sizeof(s->public_rtp), s);
	counter_add(m->counters, COUNTER_media_mappings);
	return s;
}

void stream_put(struct media *m, struct stream *stream)
{
	struct port_pool *pool = pool_get(m, &stream->public_rtp.addr);

	if (--stream->refs)
		return;
	if (pool)
		pair_mark(pool, stream->public_rtp.port, false);
	HASH_DELETE(by_inside, m->by_inside, stream);
	HASH_DELETE(by_public, m->by_public, stream);
	free(stream);
}

struct stream *stream_find_public(const struct media *m,
				  const struct endpoint *public_rtp)
{
	struct stream *s;

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
	};
}

/*
 * The inside host may have sent to that remote already, or another rule may
 * hold the tuple: an entry with our translation is as good as ours, one with
 * another would send media from a port that nobody announced.
 */
static int pinhole_create(const struct media *m, const struct pinhole *p)
{
	struct nat_entry entry = entry_of(m, p), found;
	int err = nat_create(m->nat, &entry);

	if (err != -EEXIST)
		return err;
	if (nat_find(m->nat, &p->lan, NAT_SIDE_LAN, &found))
		return err;
	if (tuple_eq(&found.wan, &p->wan))
		return nat_refresh(m->nat, &p->lan, entry.timeout_s);
	nat_remove(m->nat, &p->lan);
	return nat_create(m->nat, &entry);
}

static void pinhole_open(struct media *m, const struct pinhole *p)
{
	char inside[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
	int err = pinhole_create(m, p);

	if (!err) {
		counter_add(m->counters, COUNTER_media_entries);
		return;
	}
	counter_add(m->counters, COUNTER_media_clashes);
	endpoint_format(&p->lan.src, inside);
	endpoint_format(&p->lan.dst, remote);
	log_warning("media %s -> %s: conntrack: %s", inside, remote,
		    strerror(-err));
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
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->lan = lan;
	p->wan = tuple_reverse(&lan);
	p->wan.dst = *public_end;
	p->rtcp = rtcp;
	p->wanted = true;
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

void pinhole_sweep(struct media *m, struct pinhole **list)
{
	struct pinhole *p, *next;

	DL_FOREACH_SAFE (*list, p, next) {
		if (p->wanted)
			continue;
		nat_remove(m->nat, &p->lan);
		DL_DELETE(*list, p);
		free(p);
		m->pinholes--;
	}
}

bool pinhole_keep(struct media *m, struct pinhole *list)
{
	bool heard = !m->nat->ops->counts(m->nat->ctx);
	struct nat_entry now;
	struct pinhole *p;

	DL_FOREACH (list, p) {
		if (nat_find(m->nat, &p->lan, NAT_SIDE_LAN, &now) ||
		    !tuple_eq(&now.wan, &p->wan)) {
			pinhole_open(m, p);
			continue;
		}
		if (now.packets_out != p->packets_out ||
		    now.packets_in != p->packets_in)
			heard = true;
		p->packets_out = now.packets_out;
		p->packets_in = now.packets_in;
		nat_refresh(m->nat, &p->lan, m->conf->media.timeout_s);
	}
	return heard;
}

void media_free(struct media *m)
{
	struct port_pool *pool;

	while ((pool = m->pools)) {
		m->pools = pool->link;
		free(pool);
	}
}
