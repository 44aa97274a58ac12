/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/describe.h"

#include <stdio.h>

/* ---- reading ---- */

/* RTCP goes to the port above, or where a=rtcp says (RFC 3605 2); what is not
 * RTP has none
 */
static struct media_end read_end(const struct desc *desc, unsigned int i)
{
	const struct desc_media *m = &desc->media[i];
	const struct desc_addr *conn = desc_media_addr(desc, i);
	struct media_end end = { .mux = m->rtcp_mux };

	end.rtp = (struct endpoint){ conn->addr, m->port.port };
	end.pairs = m->count > UINT8_MAX ? UINT8_MAX : (uint8_t)m->count;
	if (!desc_media_is_rtp(m))
		return end;
	end.rtcp = end.rtp;
	end.rtcp.port =
		m->rtcp.text.ptr ? m->rtcp.port : (uint16_t)(m->port.port + 1);
	if (m->rtcp_addr.text.ptr)
		end.rtcp.addr = m->rtcp_addr.addr;
	return end;
}

/* A stream that we can carry: over UDP, to one address, in few ports */
static bool is_plain(const struct desc_media *m)
{
	return desc_media_is_udp(m) && !m->several_conn && m->count >= 1 &&
	       m->count <= STREAM_PAIRS &&
	       m->port.port + 2u * m->count <= UINT16_MAX + 1u &&
	       (m->count == 1 || !m->rtcp.text.ptr);
}

/* Hold of the old kind (RFC 2543): the address is 0.0.0.0, the port remains */
static bool is_blank_addr(const struct desc_addr *conn)
{
	static const struct addr any = { { [10] = 0xff, [11] = 0xff } };

	return conn->text.ptr &&
	       (addr_eq(&conn->addr, &any) || span_eq(conn->text, SPAN("::")));
}

/* How many m= lines are looked at; what is beyond is left alone */
static unsigned int lines(const struct describe *d)
{
	if (d->desc->media_count <= DESCRIBE_MEDIA)
		return d->desc->media_count;
	counter_add(d->media->counters, COUNTER_media_not_handled);
	return DESCRIBE_MEDIA;
}

/* Hold, by either way */
static void read_hold(const struct desc *desc, struct description *out)
{
	out->held = true;
	out->ice = desc->candidate_count > 0;
	for (unsigned int i = 0; i < desc->media_count; i++) {
		const struct desc_media *m = &desc->media[i];
		bool blank =
			m->port.port && is_blank_addr(desc_media_addr(desc, i));

		if (i < DESCRIBE_MEDIA)
			out->blank[i] = blank;
		if (!m->port.port || blank || m->direction != DESC_SENDRECV)
			continue;
		out->held = false;
		if (i < DESCRIBE_MEDIA)
			out->both |= (uint8_t)(1u << i);
	}
}

/* ---- writing ---- */

static void edit_addr(const struct describe *d, const char *site,
		      const struct desc_addr *old, const struct addr *new)
{
	char text[ADDR_TEXT_MAX];
	size_t len = addr_format(new, text);

	edit_add(d->edits, site, old->text, (struct span){ text, len });
}

static void edit_port(const struct describe *d, const char *site,
		      const struct desc_port *old, uint16_t new)
{
	char text[6];
	int len = snprintf(text, sizeof(text), "%u", new);

	edit_add(d->edits, site, old->text, (struct span){ text, (size_t)len });
}

/* Candidates that name the endpoints of their m= line follow it, or ICE would
 * see a mismatch (RFC 8839 4.2.5)
 */
static void edit_candidates(const struct describe *d, unsigned int i,
			    const struct media_end *old,
			    const struct media_end *new,
			    const struct addr *addr)
{
	for (unsigned int c = 0; c < d->desc->candidate_count; c++) {
		const struct desc_candidate *cand = &d->desc->candidate[c];
		struct endpoint at = { cand->addr.addr, cand->port.port };
		uint16_t port = 0;

		if (cand->media != i)
			continue;
		if (endpoint_eq(&at, &old->rtp))
			port = new->rtp.port;
		else if (endpoint_eq(&at, &old->rtcp))
			port = new->rtcp.port;
		if (!port)
			continue;
		edit_addr(d, "a=candidate", &cand->addr, addr);
		edit_port(d, "a=candidate", &cand->port, port);
	}
}

/* Write @new for @old over m= line @i: port, its own c=, a=rtcp, candidates.
 * The c= of the session is shared, and done once for all.
 */
static void edit_media(const struct describe *d, unsigned int i,
		       const struct media_end *old, const struct media_end *new,
		       const struct addr *addr)
{
	const struct desc_media *m = &d->desc->media[i];

	edit_port(d, "m=", &m->port, new->rtp.port);
	if (m->conn.text.ptr)
		edit_addr(d, "c=", &m->conn, addr);
	if (m->rtcp.text.ptr && new->rtcp.port)
		edit_port(d, "a=rtcp", &m->rtcp, new->rtcp.port);
	if (m->rtcp_addr.text.ptr && new->rtcp.port)
		edit_addr(d, "a=rtcp", &m->rtcp_addr, addr);
	edit_candidates(d, i, old, new, addr);
}

/* ---- from inside ---- */

/* Where a stream's ends are in public */
static struct media_end public_end(const struct media_stream *s,
				   const struct media_end *inside)
{
	struct media_end end = *inside;

	end.rtp = s->public_rtp;
	if (inside->rtcp.port)
		end.rtcp = stream_public_rtcp(s);
	return end;
}

/* Reserve the public ports of m= line @i, if it names the inside host itself;
 * @refused is set if it should have got some and did not
 */
static struct media_stream *reserve(const struct describe *d, unsigned int i,
				    struct media_end *end, bool *refused)
{
	const uint64_t *reserved =
		&d->media->counters->value[COUNTER_media_reserved_port];
	uint64_t before = *reserved;
	struct media_stream *s;

	const struct addr *inside = &d->flow->lan.src.addr;
	struct media_stream_wish wish = { .type = d->desc->media[i].type };

	if (!end->rtp.port || !addr_eq(&end->rtp.addr, inside))
		return NULL;
	if (!is_plain(&d->desc->media[i])) {
		counter_add(d->media->counters, COUNTER_media_not_handled);
		return NULL;
	}
	/* RTCP at another host than this one is none of ours */
	if (!addr_eq(&end->rtcp.addr, inside))
		end->rtcp = (struct endpoint){ 0 };
	wish.rtp = end->rtp;
	wish.rtcp = end->rtcp;
	wish.pairs = end->pairs;
	s = media_stream_get(d->media, &d->flow->wan.dst.addr, &wish);
	*refused |= !s && *reserved == before;
	return s;
}

/* Nobody but this description has asked for it */
static bool is_new(const struct description *said, const struct media_stream *s)
{
	unsigned int refs = 0;

	for (int i = 0; i < DESCRIBE_MEDIA; i++)
		refs += said->stream[i] == s;
	return s->refs == refs;
}

/* Some lines of a call without the others help nobody; but what a running call
 * has, it keeps
 */
static void give_back(const struct describe *d, struct description *said)
{
	bool new[DESCRIBE_MEDIA];

	for (int i = 0; i < DESCRIBE_MEDIA; i++)
		new[i] = said->stream[i] && is_new(said, said->stream[i]);
	for (int i = 0; i < DESCRIBE_MEDIA; i++) {
		if (!new[i])
			continue;
		media_stream_put(d->media, said->stream[i]);
		said->stream[i] = NULL;
	}
}

/* All m= lines that are to be mapped have their ports then */
static void reserve_all(const struct describe *d, unsigned int count,
			struct description *said)
{
	bool refused = false;

	for (unsigned int i = 0; i < count; i++) {
		said->end[i] = read_end(d->desc, i);
		said->stream[i] = reserve(d, i, &said->end[i], &refused);
	}
	if (refused)
		give_back(d, said);
}

void describe_out(const struct describe *d, bool known, struct description *out)
{
	const struct addr *inside = &d->flow->lan.src.addr;
	unsigned int count = lines(d);
	bool mapped = false;

	*out = (struct description){ 0 };
	read_hold(d->desc, out);
	reserve_all(d, count, out);
	for (unsigned int i = 0; i < count; i++) {
		struct media_end end = out->end[i];

		out->end[i] = (struct media_end){ 0 };
		if (!out->stream[i])
			continue;
		mapped = true;
		out->end[i] = end;
		out->told[i] = public_end(out->stream[i], &end);
		edit_media(d, i, &end, &out->told[i], d->shown);
	}
	if (mapped && addr_eq(&d->desc->conn.addr, inside))
		edit_addr(d, "c=", &d->desc->conn, d->shown);
	/* Also without a stream: o= stays the same in a session (RFC 3264 8) */
	if ((mapped || known) && addr_eq(&d->desc->origin.addr, inside))
		edit_addr(d, "o=", &d->desc->origin, d->shown);
}

/* ---- from outside ---- */

/* Media goes to hosts outside only, and never to the gateway */
static bool is_outside(const struct media *media, const struct endpoint *end)
{
	return end->port && nat_is_outside(media->nat, &end->addr);
}

/* Packets to @end leave by the uplink whose address the inside host shows; not
 * into some other network that the gateway knows
 */
static bool is_reached(const struct describe *d, const struct endpoint *end)
{
	const struct nat *nat = d->media->nat;
	struct addr source;

	if (addr_eq(&end->addr, &d->flow->lan.dst.addr))
		return true;
	return !nat->ops->route(nat->ctx, &d->flow->lan.src.addr, &end->addr,
				&source) &&
	       addr_eq(&source, &d->flow->wan.dst.addr);
}

/* The stream of an inside host that @end names by its public endpoint; NULL if
 * it is somebody outside
 */
static struct media_stream *hairpin(const struct describe *d,
				    struct endpoint *end)
{
	if (addr_eq(&end->addr, d->shown))
		end->addr = d->flow->wan.dst.addr;
	return stream_find_public(d->media, end);
}

static struct media_end inside_end(const struct media_stream *s,
				   const struct media_end *told)
{
	struct media_end end = *told;

	end.rtp = s->in.inside_rtp;
	if (told->rtcp.port == s->public_rtp.port + 1)
		end.rtcp = s->inside_rtcp;
	return end;
}

/* The one inside host that all lines under the session's c= stand for; not set
 * if they do not agree, or there is none
 */
static struct addr session_host(const struct describe *d,
				struct media_stream *const *streams,
				unsigned int count)
{
	struct addr host = { 0 };

	for (unsigned int i = 0; i < count; i++) {
		const struct desc_media *m = &d->desc->media[i];

		if (m->conn.text.ptr || !m->port.port)
			continue;
		if (!streams[i] ||
		    (addr_is_set(&host) &&
		     !addr_eq(&host, &streams[i]->in.inside_rtp.addr)))
			return (struct addr){ 0 };
		host = streams[i]->in.inside_rtp.addr;
	}
	return host;
}

/* Write inside endpoints where lines stand for inside hosts */
static void keep_local(const struct describe *d,
		       struct media_stream *const *streams, unsigned int count)
{
	struct addr session = session_host(d, streams, count), origin = { 0 };

	for (unsigned int i = 0; i < count; i++) {
		struct media_end old = read_end(d->desc, i), new;

		if (!streams[i] || (!d->desc->media[i].conn.text.ptr &&
				    !addr_is_set(&session)))
			continue;
		new = inside_end(streams[i], &old);
		origin = new.rtp.addr;
		edit_media(d, i, &old, &new, &origin);
	}
	if (addr_is_set(&session))
		edit_addr(d, "c=", &d->desc->conn, &session);
	if (addr_is_set(&origin) && addr_eq(&d->desc->origin.addr, d->shown))
		edit_addr(d, "o=", &d->desc->origin, &origin);
}

void describe_in(const struct describe *d, struct description *out)
{
	struct media_stream *streams[DESCRIBE_MEDIA] = { 0 };
	unsigned int count = lines(d);
	bool local = d->media->conf->media.keep_local;

	*out = (struct description){ 0 };
	read_hold(d->desc, out);
	for (unsigned int i = 0; i < count; i++) {
		struct media_end end = read_end(d->desc, i);

		if (!is_plain(&d->desc->media[i]))
			continue;
		streams[i] = hairpin(d, &end.rtp);
		if (streams[i] ? local
			       : !is_outside(d->media, &end.rtp) ||
					 !is_reached(d, &end.rtp))
			continue;
		if (streams[i])
			end.rtcp.addr = end.rtp.addr;
		else if (!is_outside(d->media, &end.rtcp))
			end.rtcp = (struct endpoint){ 0 };
		out->end[i] = out->told[i] = end;
	}
	if (local)
		keep_local(d, streams, count);
}
