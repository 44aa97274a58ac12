/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TESTS_TCPMODEL_H
#define SIPALG_TESTS_TCPMODEL_H

/*
 * Two ends, four lossy links and a stream between, in virtual time. Every
 * packet that leaves the gateway is compared with what a toy rewriter makes of
 * the bytes that were sent.
 *
 *	end 0 --link 0--> gateway --link 1--> end 1
 *	end 0 <--link 3-- gateway <--link 2-- end 1
 */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <stdarg.h>

#include "tcp/image.h"
#include "tcp/stream.h"
#include "tcpend.h"

#define MODEL_CHUNKS 256
#define MODEL_PACKETS 32768
#define MODEL_START_US 1000000000ull
/* The toy puts in no more at once */
#define MODEL_GROWTH 2000

/** enum chunk_kind - What a stream is made of */
enum chunk_kind {
	CHUNK_MESSAGE,
	CHUNK_BLANK,
	CHUNK_LONG,
	CHUNK_ALIEN,
	CHUNK_BROKEN,
	CHUNK_REST
};

struct chunk {
	enum chunk_kind kind;
	size_t at, len;
};

/**
 * struct way - One direction: what is sent, and what shall arrive
 * @in:		Sent
 * @chunk:	What it is made of
 * @next:	First chunk that is not known to be read
 * @out, @out_len: What arrives instead of the first @in_at bytes; from there on
 *		bytes pass
 * @came:	Bytes that have come to the gateway, as positions
 * @came_len:	All before it have
 * @sent_max:	Highest position that has left the gateway
 * @edge:	What the receiver allows, as far as the gateway can know
 * @given, @acked: Edge and acknowledgement the sender was given
 * @stamp:	Timestamp that left the gateway last
 * @was_out_len, @was_in_at, @was_end: Before the latest message
 */
struct way {
	char *in, *out;
	size_t in_len, in_at, out_len, out_cap, was_in_at, was_out_len;
	uint32_t was_end, stamp;
	struct chunk chunk[MODEL_CHUNKS];
	unsigned int chunks, next;
	size_t write_to[MODEL_CHUNKS];
	unsigned int writes;
	uint8_t *came;
	size_t came_len;
	uint64_t sent_max, edge, given, acked;
};

/** struct parcel - A packet under way */
struct parcel {
	uint64_t at_us, order;
	int link;
	size_t len;
	uint8_t bytes[];
};

/**
 * struct plan - What a run is like
 * @loss_pm, @twice_pm, @late_pm: Of 1000 packets
 * @delay_us:	Of a link
 * @losses, @row: Most packets lost, and in a row
 * @safe:	Links that lose nothing, a bit each
 * @dry_at, @wet_at: After so many packets the gateway becomes dry, and not
 * @adopt_at:	The gateway is not there before so many packets
 * @wild_pm:	Packets of any kind thrown in
 * @move_pm:	Before so many of 1000 packets, another program goes on with it
 * @plain_at:	Reading is ended by order
 * @abort_at, @dying: The end @dying resets the connection; -1: the gateway
 * @narrow:	Our own packets do not get through but in small pieces
 * @limit:	Memory
 * @whole:	Messages are not cut, and hardly grow
 * @same:	Nor changed: nothing is
 * @raw:	Among the wild ones are segments of any bytes
 */
struct plan {
	uint32_t loss_pm, twice_pm, late_pm, delay_us, losses, row, wild_pm;
	uint32_t move_pm;
	uint32_t safe;
	uint32_t dry_at, wet_at, adopt_at, plain_at, abort_at;
	int dying;
	bool narrow;
	size_t max_message, limit;
	bool whole, same, raw;
	const char *name;
};

struct model {
	struct choice choice;
	struct plan plan;
	struct end end[2];
	struct way way[2];
	struct stream stream;
	struct stream_env env;
	struct tcp_memory memory;
	struct message msg;
	struct parcel *heap[MODEL_PACKETS];
	unsigned int parcels;
	uint64_t now_us, order, last_us[4], steps, own, repeats, most_steps;
	unsigned int row[4];
	bool present, plain, wild, killed, given_up, no_memory;
	uint64_t seed;
	int fresh;
	char *toy;
	uint8_t room[PACKET_MAX + 256], room2[PACKET_MAX + 256];
};

/* ---- failing ---- */

static inline void model_fail(const struct model *m, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "model: seed %llu (%s), step %llu, %.3f ms: ",
		(unsigned long long)m->seed, m->plan.name ? m->plan.name : "",
		(unsigned long long)m->steps,
		(double)(m->now_us - MODEL_START_US) / 1000);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

static inline bool model_traces(void)
{
	static int on = -1;

	if (on < 0)
		on = getenv("SIPALG_MODEL_TRACE") != NULL;
	return on;
}

static inline void model_trace(const struct model *m, const char *what,
			       int from, const struct segment *seg)
{
	const struct end *e = &m->end[from], *o = &m->end[!from];

	if (!model_traces())
		return;
	fprintf(stderr, "%10.3f %-9s %d>%d %c%c%c seq %d len %zu ack %d win %u",
		(double)(m->now_us - MODEL_START_US) / 1000, what, from, !from,
		seg->flags & TH_SYN ? 'S' : '.',
		seg->flags & TH_FIN ? 'F' : '.',
		seg->flags & TH_RST ? 'R' : '.', (int)(seg->seq - e->isn),
		seg->data.len, (int)(seg->ack - o->isn), seg->window);
	for (unsigned int i = 0; i < seg->sacks; i++)
		fprintf(stderr, " [%d %d)", (int)(seg->sack[i].first - o->isn),
			(int)(seg->sack[i].end - o->isn));
	fputc('\n', stderr);
}

/* ---- packets as bytes ---- */

static inline void model_put32(uint8_t *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, sizeof(v));
}

static inline size_t model_options(const struct segment *seg, uint8_t *p)
{
	size_t n = 0;

	if (seg->flags & TH_SYN && seg->mss) {
		p[n] = TCPOPT_MAXSEG;
		p[n + 1] = 4;
		p[n + 2] = (uint8_t)(seg->mss >> 8);
		p[n + 3] = (uint8_t)seg->mss;
		n += 4;
	}
	if (seg->flags & TH_SYN && seg->scaled) {
		memcpy(p + n, (uint8_t[]){ TCPOPT_NOP, TCPOPT_WINDOW, 3, 0 },
		       4);
		p[n + 3] = seg->wscale;
		n += 4;
	}
	if (seg->flags & TH_SYN && seg->sack_ok) {
		memcpy(p + n, (uint8_t[]){ 1, 1, TCPOPT_SACK_PERMITTED, 2 }, 4);
		n += 4;
	}
	if (seg->stamped) {
		memcpy(p + n, (uint8_t[]){ 1, 1, TCPOPT_TIMESTAMP, 10 }, 4);
		model_put32(p + n + 4, seg->ts_val);
		model_put32(p + n + 8, seg->ts_ecr);
		n += 12;
	}
	if (seg->sacks) {
		memcpy(p + n, (uint8_t[]){ 1, 1, TCPOPT_SACK, 0 }, 4);
		p[n + 3] = (uint8_t)(2 + 8 * seg->sacks);
		n += 4;
		for (unsigned int i = 0; i < seg->sacks; i++, n += 8) {
			model_put32(p + n, seg->sack[i].first);
			model_put32(p + n + 4, seg->sack[i].end);
		}
	}
	return n;
}

/* Checksums are not looked at */
static inline size_t model_build(int from, const struct segment *seg,
				 uint8_t *p)
{
	size_t n = model_options(seg, p + 40), len = 40 + n + seg->data.len;
	struct iphdr ip = { .version = 4,
			    .ihl = 5,
			    .ttl = 64,
			    .protocol = IPPROTO_TCP,
			    .tot_len = htons((uint16_t)len),
			    .saddr = htonl(0x0a000001u + (unsigned int)from),
			    .daddr = htonl(0x0a000001u + !from) };
	struct tcphdr tcp = { .th_sport = htons(5060),
			      .th_dport = htons(5060),
			      .th_seq = htonl(seg->seq),
			      .th_ack = htonl(seg->ack),
			      .th_flags = seg->flags,
			      .th_win = htons(seg->window) };

	tcp.th_off = (5 + n / 4) & 15;
	memcpy(p, &ip, sizeof(ip));
	memcpy(p + 20, &tcp, sizeof(tcp));
	if (seg->data.len)
		memcpy(p + 40 + n, seg->data.ptr, seg->data.len);
	return len;
}

static inline void model_parse(const struct model *m, const uint8_t *bytes,
			       size_t len, struct packet *pkt,
			       struct segment *seg)
{
	if (packet_parse(bytes, len, pkt) != PACKET_OK ||
	    segment_parse(pkt, seg))
		model_fail(m, "a packet that does not parse");
}

/* ---- links ---- */

static inline bool model_before(const struct parcel *a, const struct parcel *b)
{
	return a->at_us < b->at_us ||
	       (a->at_us == b->at_us && a->order < b->order);
}

static inline void model_push(struct model *m, struct parcel *p)
{
	unsigned int i = m->parcels++;

	if (m->parcels == MODEL_PACKETS)
		model_fail(m, "too many packets under way");
	for (; i && model_before(p, m->heap[(i - 1) / 2]); i = (i - 1) / 2)
		m->heap[i] = m->heap[(i - 1) / 2];
	m->heap[i] = p;
}

static inline struct parcel *model_pop(struct model *m)
{
	struct parcel *top = m->heap[0], *p = m->heap[--m->parcels];
	unsigned int i = 0, child;

	while ((child = 2 * i + 1) < m->parcels) {
		if (child + 1 < m->parcels &&
		    model_before(m->heap[child + 1], m->heap[child]))
			child++;
		if (!model_before(m->heap[child], p))
			break;
		m->heap[i] = m->heap[child];
		i = child;
	}
	m->heap[i] = p;
	return top;
}

static inline bool model_loses(struct model *m, int link)
{
	if (!m->plan.losses || m->row[link] == m->plan.row ||
	    m->plan.safe & 1u << link || !chance(&m->choice, m->plan.loss_pm)) {
		m->row[link] = 0;
		return false;
	}
	m->row[link]++;
	m->plan.losses--;
	return true;
}

static inline void model_carry(struct model *m, int link, const uint8_t *bytes,
			       size_t len)
{
	unsigned int copies = 1 + chance(&m->choice, m->plan.twice_pm);

	if (model_loses(m, link))
		return;
	while (copies--) {
		struct parcel *p = malloc(sizeof(*p) + len);
		bool late = chance(&m->choice, m->plan.late_pm);

		if (!p)
			abort();
		p->at_us = m->now_us + m->plan.delay_us;
		if (late)
			p->at_us += choose(&m->choice, 20000);
		else if (p->at_us < m->last_us[link])
			p->at_us = m->last_us[link];
		if (!late)
			m->last_us[link] = p->at_us;
		p->order = m->order++;
		p->link = link;
		p->len = len;
		memcpy(p->bytes, bytes, len);
		model_push(m, p);
	}
}

static inline void model_emit(void *ctx, struct end *e,
			      const struct segment *seg)
{
	struct model *m = ctx;
	size_t len = model_build(e->id, seg, m->room2);

	model_carry(m, e->id ? 2 : 0, m->room2, len);
}

static inline void model_end_fail(void *ctx, const char *why)
{
	const struct model *m = ctx;

	if (!m->wild)
		model_fail(m, "%s", why);
}

/* ---- the toy ---- */

/*
 * The second line of a message is "X-T: " and a letter and a number: what shall
 * become of it. The third one, where it is there, Content-Length.
 */
static inline struct span model_toy(struct span whole, char *out)
{
	const char *line = span_find(whole, SPAN("X-T: "));
	const char *body = span_find(whole, SPAN("\r\n\r\n"));
	const char *end = span_find(whole, SPAN("\r\nContent-Length: "));
	size_t n, len, rest;

	if (!end)
		end = span_find(whole, SPAN("\r\nX-N: "));
	if (!line || !body || !end || end < line + 6)
		return whole;
	line += 5;
	end += 2;
	body += 4;
	n = (size_t)atoi(line + 1) % (MODEL_GROWTH + 1);
	len = (size_t)(end - whole.ptr);
	rest = (size_t)(span_end(whole) - body);
	switch (*line) {
	case '!':
		return (struct span){ 0 };
	case '+': /* more */
		len -= 2;
		memcpy(out, whole.ptr, len);
		memset(out + len, 'x', n);
		memcpy(out + len + n, end - 2,
		       (size_t)(span_end(whole) - end) + 2);
		return (struct span){ out, whole.len + n };
	case '-': /* less */
		len = (size_t)(line - whole.ptr);
		memcpy(out, whole.ptr, len);
		memcpy(out + len, end - 2, (size_t)(span_end(whole) - end) + 2);
		return (struct span){ out,
				      whole.len - (size_t)(end - 2 - line) };
	case 'b': /* another body */
		memcpy(out, whole.ptr, len);
		len += (size_t)sprintf(out + len, "Content-Length: %zu\r\n\r\n",
				       rest + n);
		memset(out + len, 'b', n);
		memcpy(out + len + n, body, rest);
		return (struct span){ out, len + n + rest };
	case 'c': /* none */
		memcpy(out, whole.ptr, len);
		len += (size_t)sprintf(out + len, "l: 0\r\n\r\n");
		return (struct span){ out, len };
	default:
		return whole;
	}
}

/* ---- what shall arrive ---- */

static inline void way_append(struct way *w, struct span bytes)
{
	if (w->out_len + bytes.len > w->out_cap) {
		w->out_cap = 2 * (w->out_len + bytes.len);
		w->out = realloc(w->out, w->out_cap);
		if (!w->out)
			abort();
	}
	if (bytes.len)
		memcpy(w->out + w->out_len, bytes.ptr, bytes.len);
	w->out_len += bytes.len;
}

static inline size_t way_total(const struct way *w)
{
	return w->out_len + (w->in_len - w->in_at);
}

/* The chunk that byte @off of what arrives is in, where it is not known yet */
static inline const struct chunk *way_chunk(const struct way *w, size_t off)
{
	size_t at = w->in_at + off - w->out_len;

	for (unsigned int i = w->next; i < w->chunks; i++) {
		if (at < w->chunk[i].at + w->chunk[i].len)
			return &w->chunk[i];
	}
	return NULL;
}

static inline struct span model_message(void *ctx, int from,
					const struct message *msg)
{
	struct model *m = ctx;
	struct way *w = &m->way[from];
	const char *tag = span_find(msg->whole, SPAN("\r\nX-N: "));
	unsigned int i = tag ? (unsigned int)atoi(tag + 7) : MODEL_CHUNKS;
	struct span now;
	size_t at;

	if (m->wild)
		return tag ? model_toy(msg->whole, m->toy) : msg->whole;
	if (m->plain)
		model_fail(m, "a message is read where none should be");
	if (i >= w->chunks || i < w->next ||
	    w->chunk[i].kind != CHUNK_MESSAGE ||
	    !span_eq(msg->whole,
		     (struct span){ w->in + w->chunk[i].at, w->chunk[i].len }))
		model_fail(m, "message %u is not what end %d sent:\n%.*s", i,
			   from, SPAN_ARG(msg->whole));
	for (unsigned int k = w->next; k < i; k++) {
		if (w->chunk[k].kind == CHUNK_MESSAGE && !m->plan.adopt_at)
			model_fail(m, "message %u of end %d was left out", k,
				   from);
	}
	now = model_toy(msg->whole, m->toy);
	at = w->chunk[i].at;
	w->was_out_len = w->out_len;
	w->was_in_at = w->in_at;
	w->was_end = m->stream.half[from].out.end;
	way_append(w, (struct span){ w->in + w->in_at, at - w->in_at });
	if (!m->stream.changed && (m->env.dry || m->stream.watched))
		way_append(w, msg->whole);
	else
		way_append(w, now);
	w->in_at = at + w->chunk[i].len;
	w->next = i + 1;
	m->fresh = now.len ? from : -1;
	return now;
}

static inline void model_note(void *ctx, int from, enum stream_note note,
			      enum message_status status)
{
	struct model *m = ctx;
	struct way *w = &m->way[from];

	if (model_traces())
		fprintf(stderr, "%10.3f note %d of end %d\n",
			(double)(m->now_us - MODEL_START_US) / 1000, (int)note,
			from);
	if (note == STREAM_ALIEN || note == STREAM_BROKEN ||
	    note == STREAM_UNSEEN)
		m->plain = true;
	/* If there is no room for what became of a message, it passes */
	if (note == STREAM_NO_MEMORY && m->fresh == from &&
	    w->was_end == m->stream.half[from].out.end) {
		w->out_len = w->was_out_len;
		w->in_at = w->was_in_at;
	}
	if (note == STREAM_NO_MEMORY)
		m->plain = m->no_memory = true;
	if (note == STREAM_GIVEN_UP)
		m->given_up = true;
	if (note == STREAM_BROKEN && status == MESSAGE_OK && !m->wild)
		model_fail(m, "broken for no reason");
	if (note == STREAM_CHANGED && m->env.dry)
		model_fail(m, "changed although dry");
}

/* ---- what leaves the gateway ---- */

static inline bool model_reads(const struct model *m, int from)
{
	return m->present && m->stream.changed && m->stream.half[from].reading;
}

static inline void check_bytes(struct model *m, int from,
			       const struct segment *seg, uint64_t at)
{
	const struct half *h = &m->stream.half[from];
	struct way *w = &m->way[from];
	const struct end *to = &m->end[!from];
	/* Older than the gateway */
	bool elder = h->elder && seq_before(seg->seq, h->first);

	for (size_t i = 0; i < seg->data.len; i++) {
		size_t off = (size_t)(at - 1 + i);
		char want;

		if ((int64_t)(at + i) < (int64_t)to->rcv)
			continue;
		if (off >= way_total(w))
			model_fail(m, "end %d sends too much", from);
		want = off < w->out_len ? w->out[off]
					: w->in[w->in_at + off - w->out_len];
		if (seg->data.ptr[i] != want)
			model_fail(m, "wrong byte %zu of end %d", off, from);
		if (off >= w->out_len && i % 64 == 0 && model_reads(m, from) &&
		    !elder && way_chunk(w, off)->kind == CHUNK_MESSAGE &&
		    !m->plain)
			model_fail(m, "byte %zu of end %d is not read yet", off,
				   from);
	}
}

static inline void check_data(struct model *m, int from,
			      const struct segment *seg)
{
	struct way *w = &m->way[from];
	struct end *to = &m->end[!from];
	int32_t ahead =
		seq_diff(seg->seq, m->end[from].isn + (uint32_t)to->rcv);
	uint64_t at = to->rcv + (uint64_t)(int64_t)ahead, end;

	if (!segment_len(seg))
		return;
	if (ahead < -(1 << 30) || ahead > 1 << 30)
		model_fail(m, "wild sequence number from end %d", from);
	check_bytes(m, from, seg, at);
	end = at + seg->data.len;
	if (seg->flags & TH_FIN && end != way_total(w) + 1)
		model_fail(m, "end %d ends at %llu, not %zu", from,
			   (unsigned long long)end, way_total(w) + 1);
	if (model_reads(m, from) && end > w->edge && seg->data.len > 1)
		model_fail(m, "end %d sends up to %llu, window up to %llu",
			   from, (unsigned long long)end,
			   (unsigned long long)w->edge);
	if (seg->data.len + m->end[from].stamps * 12u + 8u * seg->sacks >
	    (to->mss ? to->mss : 536))
		model_fail(m, "%zu bytes, MSS %u", seg->data.len, to->mss);
	if (at + segment_len(seg) <= w->sent_max)
		m->repeats++;
	else
		w->sent_max = at + segment_len(seg);
}

static inline bool way_has(const struct way *w, uint64_t first, uint64_t end)
{
	for (uint64_t i = first; i < end; i++) {
		if (i > w->in_len ? !w->came[w->in_len + 1] : !w->came[i])
			return false;
	}
	return true;
}

/* What end !@from is told of the bytes it sent */
static inline void check_ack(struct model *m, int from,
			     const struct segment *seg)
{
	struct way *w = &m->way[!from];
	const struct end *e = &m->end[!from];
	int32_t ahead = seq_diff(seg->ack, e->isn + (uint32_t)e->una);
	uint64_t ack = e->una + (uint64_t)(int64_t)ahead, edge;
	uint8_t scale = end_shift(&m->end[from]);
	bool all = w->came[w->in_len + 1] && w->came_len == w->in_len + 1;

	if (!(seg->flags & TH_ACK) || e->state != END_OPEN)
		return;
	if (ahead > 0 && ack > w->came_len + all)
		model_fail(m, "end %d was told %llu, %zu has come", !from,
			   (unsigned long long)ack, w->came_len + all);
	edge = ack + ((uint64_t)seg->window << scale);
	if (model_reads(m, !from)) {
		if (ack < w->acked)
			model_fail(m, "acknowledgement to end %d goes back",
				   !from);
		/* But for the scale, and what messages grow by */
		if (edge + (1u << scale) + MODEL_GROWTH <= w->given)
			model_fail(m,
				   "window of end %d goes back, %llu to %llu",
				   !from, (unsigned long long)w->given,
				   (unsigned long long)edge);
	}
	if (ack > w->acked)
		w->acked = ack;
	w->given = model_reads(m, !from) ? edge : 0;
	for (unsigned int i = 0; i < seg->sacks; i++) {
		int32_t a = seq_diff(seg->sack[i].first, seg->ack);
		int32_t b = seq_diff(seg->sack[i].end, seg->ack);

		if (!e->sack)
			model_fail(m, "SACK to end %d", !from);
		if (ack < e->una)
			continue;
		if (a < 0 || b <= a || ack + (uint64_t)b > e->max ||
		    !way_has(w, ack + (uint64_t)a, ack + (uint64_t)b))
			model_fail(m, "SACK of what end %d has not sent",
				   !from);
	}
}

static inline void check_out(struct model *m, int from,
			     const struct segment *seg)
{
	const struct end *e = &m->end[!from];

	if (m->wild || seg->flags & (TH_SYN | TH_RST))
		return;
	check_data(m, from, seg);
	check_ack(m, from, seg);
	if (seg->stamped != m->end[from].stamps)
		model_fail(m, "timestamps: %d", seg->stamped);
	if (seg->stamped && seg->ts_ecr &&
	    (seq_before(end_stamp(e), seg->ts_ecr) ||
	     seq_before(seg->ts_ecr, e->ts_offset)))
		model_fail(m, "echo of a timestamp that was not sent");
	if (seg->stamped && model_reads(m, from) &&
	    seq_before(seg->ts_val, m->way[from].stamp))
		model_fail(m, "timestamp of end %d goes back", from);
	m->way[from].stamp = seg->ts_val;
}

static inline void model_leave(struct model *m, int from, const uint8_t *bytes,
			       size_t len, const char *what)
{
	struct packet pkt;
	struct segment seg;

	model_parse(m, bytes, len, &pkt, &seg);
	model_trace(m, what, from, &seg);
	check_out(m, from, &seg);
	model_carry(m, from ? 3 : 1, bytes, len);
}

static inline void model_send(void *ctx, int from, const struct segment *seg)
{
	struct model *m = ctx;
	struct segment_path path = { .ttl = 63 };
	uint32_t a[2] = { htonl(0x0a000001), htonl(0x0a000002) };
	size_t len;

	path.tuple.src = (struct endpoint){ addr_from_v4(&a[from]), 5060 };
	path.tuple.dst = (struct endpoint){ addr_from_v4(&a[!from]), 5060 };
	if (m->env.dry && !m->stream.changed && !m->wild)
		model_fail(m, "own packet although dry");
	if (m->plan.narrow && seg->data.len > 536) {
		stream_narrow(&m->stream, from);
		return;
	}
	if (seg->data.len > 65000)
		model_fail(m, "own packet of %zu bytes", seg->data.len);
	m->own++;
	len = segment_build(&path, seg, m->room2);
	model_leave(m, from, m->room2, len, "own");
}

static const struct stream_ops model_ops = { model_message, model_note,
					     model_send };

/* ---- what comes to the gateway ---- */

static inline void model_arrived(struct model *m, int from,
				 const struct segment *seg)
{
	struct way *w = &m->way[from];
	const struct end *e = &m->end[from];
	struct way *back = &m->way[!from];
	int32_t ahead = seq_diff(seg->seq, e->isn + (uint32_t)w->came_len);
	uint64_t at = w->came_len + (uint64_t)(int64_t)ahead, edge;
	const struct end *o = &m->end[!from];

	/* A keep-alive's byte is not of the stream */
	if (at + segment_len(seg) > w->came_len) {
		memset(w->came + at, 1, segment_len(seg));
		while (w->came_len <= w->in_len && w->came[w->came_len])
			w->came_len++;
	}
	ahead = seq_diff(seg->ack, o->isn + (uint32_t)back->sent_max);
	edge = back->sent_max + (uint64_t)(int64_t)ahead +
	       ((uint64_t)seg->window
		<< (seg->flags & TH_SYN || !e->scaled ? 0 : e->wscale));
	if (seg->flags & TH_ACK && edge > back->edge)
		back->edge = edge;
}

/* The application ends it */
static inline void model_kill(struct model *m, struct end *e)
{
	struct segment seg = { .seq = end_seq(e, e->max),
			       .ack = e->peer_isn + (uint32_t)e->rcv,
			       .flags = TH_RST | TH_ACK };

	e->was_reset = true;
	model_emit(m, e, &seg);
}

/* Another program goes on with the stream */
static inline void model_move(struct model *m)
{
	struct stream_image image;
	struct stream moved;

	if (m->stream.closed)
		return;
	stream_image_take(&m->stream, &image);
	if (stream_image_restore(&moved, &image, &m->memory, m->env.now_ms))
		model_fail(m, "what was taken cannot be restored");
	stream_free(&m->stream, &m->memory);
	m->stream = moved;
}

/* Modes that change with time */
static inline void model_modes(struct model *m)
{
	const struct plan *p = &m->plan;

	if (p->plain_at && m->steps == p->plain_at && m->stream.half[0].begun) {
		m->plain = true;
		stream_plain(&m->stream, &m->env);
	}
	if (p->abort_at && m->steps == p->abort_at) {
		m->killed = p->dying >= 0 || m->stream.changed;
		if (p->dying >= 0)
			model_kill(m, &m->end[p->dying]);
		else
			stream_abort(&m->stream, &m->env);
	}
	if (m->steps % 64 == 0)
		stream_rest(&m->stream, &m->memory);
	if (p->move_pm && chance(&m->choice, p->move_pm))
		model_move(m);

	m->env.dry = m->steps >= p->dry_at && m->steps < p->wet_at;
	if (!m->present && m->steps >= p->adopt_at) {
		m->present = true;
		if (p->adopt_at)
			stream_adopt(&m->stream,
				     (uint8_t[]){ end_shift(&m->end[0]),
						  end_shift(&m->end[1]) });
	}
}

static inline void model_gateway(struct model *m, int from,
				 const uint8_t *bytes, size_t len)
{
	struct packet pkt;
	struct segment in, out;
	enum stream_verdict verdict;
	long n;

	m->steps++;
	model_modes(m);
	model_parse(m, bytes, len, &pkt, &in);
	if (!m->wild)
		model_arrived(m, from, &in);
	if (!m->present) {
		model_leave(m, from, bytes, len, "absent");
		return;
	}
	model_trace(m, "in", from, &in);
	m->env.now_ms = m->now_us / 1000;
	m->fresh = -1;
	verdict = stream_segment(&m->stream, &m->env, from, &in, &out);
	if (m->memory.used > m->memory.limit)
		model_fail(m, "memory beyond the limit");
	if (m->env.dry && verdict != STREAM_PASS && !m->stream.changed &&
	    !m->stream.closed && !m->wild)
		model_fail(m, "changed although dry");
	if (verdict == STREAM_DROP)
		return;
	if (verdict == STREAM_PASS) {
		model_leave(m, from, bytes, len, "pass");
		return;
	}
	n = segment_rewrite(&pkt, &out, m->room);
	if (n < 0)
		model_fail(m, "it does not fit into a packet");
	model_leave(m, from, m->room, (size_t)n, "out");
}

/* Any bytes behind an IP header */
static inline void model_raw(struct model *m)
{
	struct choice *c = &m->choice;
	int from = (int)choose(c, 2);
	uint8_t packet[20 + 256];
	struct segment seg = { 0 };
	struct packet pkt;
	size_t len;

	model_build(from, &seg, packet);
	len = 20 + choose(c, 256);
	for (size_t i = 20; i < len; i++)
		packet[i] = (uint8_t)choose(c, 256);
	packet[2] = (uint8_t)(len >> 8);
	packet[3] = (uint8_t)len;
	m->wild = true;
	if (packet_parse(packet, len, &pkt) == PACKET_OK &&
	    !segment_parse(&pkt, &seg))
		model_gateway(m, from, packet, len);
}

/* A packet that nobody has sent */
static inline void model_wild(struct model *m)
{
	struct choice *c = &m->choice;
	int from = (int)choose(c, 2);
	static char bytes[1500];
	static uint8_t packet[2000];
	struct segment seg = { .flags = (uint8_t)choose(c, 256) };
	size_t len;

	seg.window = (uint16_t)choose(c, 65536);
	seg.mss = (uint16_t)choose(c, 65536);
	seg.scaled = choose(c, 2);
	seg.wscale = (uint8_t)choose(c, 256);
	seg.stamped = choose(c, 2);
	seg.ts_val = choose(c, UINT32_MAX);
	seg.data.ptr = bytes;
	seg.data.len = choose(c, 2) ? choose(c, 1400) : 0;
	seg.seq = m->end[from].isn + (uint32_t)m->end[from].nxt;
	seg.ack = m->end[from].peer_isn + (uint32_t)m->end[from].rcv;
	if (choose(c, 2))
		seg.seq += choose(c, 2) ? choose(c, UINT32_MAX)
					: choose(c, 4000) - 2000;
	if (choose(c, 2))
		seg.ack += choose(c, 2) ? choose(c, UINT32_MAX)
					: choose(c, 4000) - 2000;
	for (size_t i = 0; i < seg.data.len; i += 97)
		bytes[i] = (char)choose(c, 256);
	seg.sacks = choose(c, 4);
	for (unsigned int i = 0; i < seg.sacks; i++) {
		seg.sack[i].first = seg.ack + choose(c, 4000) - 1000;
		seg.sack[i].end = seg.sack[i].first + choose(c, 4000) - 1000;
	}
	if (seg.sacks == 3 && seg.stamped && seg.flags & TH_SYN)
		seg.sacks = 0;
	m->wild = true;
	len = model_build(from, &seg, packet);
	model_gateway(m, from, packet, len);
}

/* ---- a run ---- */

static inline uint64_t model_due(struct model *m)
{
	uint64_t due = m->parcels ? m->heap[0]->at_us : END_NEVER, at;

	for (int i = 0; i < 2; i++) {
		at = end_due(&m->end[i]);
		due = at < due ? at : due;
	}
	at = m->present ? stream_due_ms(&m->stream) * 1000 : 0;
	if (at && at < due)
		due = at;
	return due;
}

/* RFC 9293 3.10.7.1 */
static inline void model_refuse(struct model *m, struct end *e,
				const struct segment *seg)
{
	struct segment rst = { .seq = seg->ack, .flags = TH_RST };

	if (seg->flags & TH_ACK)
		model_emit(m, e, &rst);
}

static inline void model_deliver(struct model *m)
{
	struct parcel *p = model_pop(m);
	struct packet pkt;
	struct segment seg;

	if (p->link == 0 || p->link == 2) {
		model_gateway(m, p->link == 2, p->bytes, p->len);
	} else {
		struct end *e = &m->end[p->link == 1];

		model_parse(m, p->bytes, p->len, &pkt, &seg);
		e->now_us = m->now_us;
		if (!e->was_reset)
			end_input(e, &seg);
		else if (!(seg.flags & TH_RST))
			model_refuse(m, e, &seg);
	}
	free(p);
}

/* The next thing that happens. Return: false if nothing will */
static inline bool model_step(struct model *m)
{
	uint64_t due = model_due(m), at;

	if (due == END_NEVER)
		return false;
	if (due > m->now_us)
		m->now_us = due;
	m->env.now_ms = m->now_us / 1000;
	if (chance(&m->choice, m->plan.wild_pm))
		model_wild(m);
	if (m->plan.raw && choose(&m->choice, 4) == 3)
		model_raw(m);
	at = m->present ? stream_due_ms(&m->stream) : 0;
	if (m->parcels && m->heap[0]->at_us <= m->now_us) {
		model_deliver(m);
	} else if (at && at <= m->env.now_ms) {
		stream_timeout(&m->stream, &m->env);
		at = stream_due_ms(&m->stream);
		if (at && at <= m->env.now_ms)
			model_fail(m, "a timer that does not move");
	} else {
		end_poll(&m->end[0], m->now_us);
		end_poll(&m->end[1], m->now_us);
	}
	return true;
}

static inline bool model_over(const struct model *m)
{
	return end_done(&m->end[0]) && end_done(&m->end[1]);
}

static inline void check_arrived(const struct model *m, int from)
{
	const struct way *w = &m->way[from];
	const struct end *to = &m->end[!from];

	if (to->rcv != way_total(w) + 2)
		model_fail(m, "end %d got %llu bytes of %zu", !from,
			   (unsigned long long)to->rcv - 2, way_total(w));
	if ((w->out_len && memcmp(to->got + 1, w->out, w->out_len)) ||
	    memcmp(to->got + 1 + w->out_len, w->in + w->in_at,
		   w->in_len - w->in_at))
		model_fail(m, "end %d got other bytes", !from);
}

static inline bool model_is_calm(const struct model *m)
{
	return !m->plan.loss_pm && !m->plan.late_pm && !m->plan.twice_pm &&
	       !m->plan.narrow && !m->killed;
}

static inline void check_calm(const struct model *m)
{
	for (int i = 0; i < 2; i++) {
		if (m->end[i].timeouts)
			model_fail(m, "end %d waited for its timer", i);
		/* Keep-alives look like one; so do answers to packets that say
		 * less than what passed before the gateway came
		 */
		if (m->end[i].fast && !m->end[!i].alive && !m->plan.adopt_at)
			model_fail(m, "end %d saw a loss", i);
		if (m->end[i].paws)
			model_fail(m, "end %d got old timestamps", i);
	}
	if (m->repeats && !m->end[0].probes && !m->end[1].probes &&
	    !m->end[0].alive && !m->end[1].alive)
		model_fail(m, "%llu packets were repeated",
			   (unsigned long long)m->repeats);
	if (m->plan.same && m->stream.changed)
		model_fail(m, "changed for no reason");
	if (m->plan.whole && m->own)
		model_fail(m, "%llu packets of our own",
			   (unsigned long long)m->own);
}

static inline void model_finish(struct model *m)
{
	if (!m->wild && !m->no_memory && model_over(m)) {
		check_arrived(m, 0);
		check_arrived(m, 1);
		if (m->end[0].was_reset || m->end[1].was_reset)
			model_fail(m, "an end was reset");
		if (m->end[0].bad_echo || m->end[1].bad_echo)
			model_fail(m, "a timestamp that nobody has sent");
		if (model_is_calm(m))
			check_calm(m);
	}
	stream_free(&m->stream, &m->memory);
	if (m->memory.used)
		model_fail(m, "%zu bytes are left", m->memory.used);
}

static inline void model_free(struct model *m)
{
	while (m->parcels)
		free(m->heap[--m->parcels]);
	for (int i = 0; i < 2; i++) {
		free(m->way[i].in);
		free(m->way[i].out);
		free(m->way[i].came);
		free(m->end[i].got);
	}
	free(m->toy);
}

/* Nobody is left that speaks, or waits for an answer, of who had one to wait
 * for
 */
static inline void check_killed(const struct model *m)
{
	bool over = m->stream.closed || stream_is_over(&m->stream);

	if (m->wild || m->no_memory || m->plan.wild_pm || m->plan.raw)
		return;
	if (m->stream.changed && !over &&
	    (!sender_is_done(&m->stream.half[0].out) ||
	     !sender_is_done(&m->stream.half[1].out)))
		model_fail(m, "it lives on");
	for (int i = 0; i < 2; i++) {
		const struct end *e = &m->end[i];

		if (!e->was_reset && e->una != e->max)
			model_fail(m, "end %d was not told", i);
	}
}

/** model_run() - Until all has arrived */
static inline void model_run(struct model *m)
{
	while (!model_over(m) && m->steps < m->most_steps) {
		bool reset = m->end[0].was_reset || m->end[1].was_reset;

		if (!m->wild && !m->no_memory && !m->killed &&
		    (reset || m->given_up))
			model_fail(m, "it was reset");
		if ((reset && m->wild) || !model_step(m))
			break;
		if (m->now_us > MODEL_START_US + 360000000000ull)
			break;
	}
	if (m->killed && !model_over(m))
		check_killed(m);
	if (!model_over(m) && !m->wild && !m->no_memory && !m->plan.wild_pm &&
	    !m->plan.raw && !m->killed)
		model_fail(m,
			   "no progress: sent %llu/%zu and %llu/%zu, acked "
			   "%llu and %llu",
			   (unsigned long long)m->end[0].max, m->end[0].len + 2,
			   (unsigned long long)m->end[1].max, m->end[1].len + 2,
			   (unsigned long long)m->end[0].una,
			   (unsigned long long)m->end[1].una);
	model_finish(m);
}

/* ---- what is sent ---- */

static inline void way_add(struct way *w, enum chunk_kind kind, size_t len)
{
	w->chunk[w->chunks++] = (struct chunk){ kind, w->in_len, len };
	w->in_len += len;
}

static inline void way_body(struct choice *c, char *to, size_t len)
{
	uint32_t x = choose(c, UINT32_MAX) | 1;

	for (size_t i = 0; i < len; i++) {
		x = x * 1664525u + 1013904223u;
		to[i] = x >> 28 ? (char)(' ' + (x >> 26)) : "\r\n\r\n"[i & 3];
	}
	/* No token: behind it a start line is none, in the same segment */
	if (len)
		to[len - 1] = '>';
}

static inline size_t model_size(struct choice *c, uint32_t size)
{
	switch (choose(c, 4)) {
	case 0:
		return choose(c, 200);
	case 1:
		return choose(c, size < 1300 ? size + 1 : 1300);
	default:
		return choose(c, size + 1);
	}
}

/* A message with up to @size bytes of body */
static inline void way_message(struct model *m, struct way *w, uint32_t size)
{
	static const char what[] = "===+++---bbc!";
	struct choice *c = &m->choice;
	char *to = w->in + w->in_len;
	size_t body = model_size(c, size);
	char kind = what[choose(c, sizeof(what) - 1)];
	uint32_t n = choose(c, choose(c, 4) ? 60 : MODEL_GROWTH), len;

	if (m->plan.same)
		kind = '=';
	if (m->plan.whole) {
		n %= 40;
		kind = kind == '!' ? '=' : kind;
	}
	len = (uint32_t)sprintf(to,
				"MESSAGE sip:b@c SIP/2.0\r\nX-T: %c%u\r\n"
				"Content-Length: %zu\r\nX-N: %u\r\n\r\n",
				kind, n, body, w->chunks);
	if (!body && choose(c, 2))
		len = (uint32_t)sprintf(to,
					"SIP/2.0 200 OK\r\nX-T: %c%u\r\n"
					"X-N: %u\r\n\r\n",
					m->plan.same ? '=' : '+', n, w->chunks);
	way_body(c, to + len, body);
	len += (uint32_t)body;
	way_add(w, len > m->plan.max_message ? CHUNK_LONG : CHUNK_MESSAGE, len);
}

static inline void way_text(struct way *w, enum chunk_kind kind,
			    const char *text)
{
	memcpy(w->in + w->in_len, text, strlen(text));
	way_add(w, kind, strlen(text));
}

static inline void way_garbage(struct choice *c, struct way *w)
{
	static const char *const alien[] = { "\x16\x03\x01\x02",
					     "GET /x HTTP\r\n",
					     "INVITE sip:a@b SIP/3.0\r\n",
					     "in\1valid" };
	static const char *const broken[] = {
		"OPTIONS sip:a SIP/2.0\r\nl: 1x\r\n\r\n",
		"OPTIONS sip:a SIP/2.0\r\nl: 1\r\nContent-Length: 2\r\n\r\n",
		"SIP/2.0 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
	};
	uint32_t i = choose(c, 7);

	if (i < 4)
		way_text(w, CHUNK_ALIEN, alien[i]);
	else
		way_text(w, CHUNK_BROKEN, broken[i - 4]);
	i = choose(c, 50);
	way_body(c, w->in + w->in_len, i);
	way_add(w, CHUNK_REST, i);
}

/** model_fill() - What end @from sends: @count messages of up to @size bytes */
static inline void model_fill(struct model *m, int from, unsigned int count,
			      uint32_t size, uint32_t garbage_pm)
{
	struct choice *c = &m->choice;
	struct way *w = &m->way[from];
	struct end *e = &m->end[from];

	w->in = malloc((size_t)(count + 2) * (size + 2000));
	if (!w->in)
		abort();
	for (unsigned int i = 0; i < count; i++) {
		unsigned int before = w->chunks;

		if (chance(c, garbage_pm))
			way_garbage(c, w);
		else if (chance(c, 100))
			way_text(w, CHUNK_BLANK,
				 choose(c, 2) ? "\r\n\r\n" : "\r\n");
		else
			way_message(m, w, size);
		if (w->chunks != before && (m->plan.whole || choose(c, 3)))
			w->write_to[w->writes++] = w->in_len;
		else if (choose(c, 2) && w->in_len > 1)
			w->write_to[w->writes++] = w->in_len - 1;
		if (w->writes > 1 &&
		    w->write_to[w->writes - 1] <= w->write_to[w->writes - 2])
			w->writes--;
	}
	if (chance(c, 100) && count)
		way_text(w, CHUNK_REST,
			 "NOTIFY sip:rest SIP/2.0\r\nl: 3\r\n\r\n1");
	w->write_to[w->writes++] = w->in_len;
	w->came = calloc(w->in_len + 70000, 1);
	if (!w->came)
		abort();
	w->came_len = 0;
	e->data = w->in;
	e->len = w->in_len;
	e->write_to = w->write_to;
	e->writes = w->writes;
	m->end[!from].got_cap =
		w->in_len + (size_t)(count + 2) * MODEL_GROWTH + 4000;
	m->end[!from].got = malloc(m->end[!from].got_cap);
	if (!m->end[!from].got)
		abort();
}

/** model_init() - Before model_fill(): no losses, common ends */
static inline void model_init(struct model *m, const struct choice *choice)
{
	memset(m, 0, sizeof(*m));
	m->choice = *choice;
	m->seed = choice->state;
	m->now_us = MODEL_START_US;
	m->most_steps = 2000000;
	m->plan = (struct plan){ .delay_us = 500,
				 .losses = UINT32_MAX,
				 .row = 2,
				 .dry_at = UINT32_MAX,
				 .max_message = 65535,
				 .limit = (size_t)1 << 24 };
	for (int i = 0; i < 2; i++) {
		m->end[i] = (struct end){
			.id = i,
			.choice = &m->choice,
			.isn = 0x12345678u << i,
			.room = 65535,
			.rto_us = 250000,
			.every = 2,
			.ack_us = 40000,
			.flight = 14600,
			.mss = 1460,
			.wscale = 7,
			.scaled = true,
			.sack = true,
			.stamps = true,
			.nagle = true,
			.strict = true,
			.now_us = MODEL_START_US,
			.emit = model_emit,
			.fail = model_end_fail,
			.ctx = m,
		};
	}
}

/** model_begin() - After model_fill() */
static inline void model_begin(struct model *m)
{
	stream_init(&m->stream);
	m->memory.limit = m->plan.limit;
	m->env = (struct stream_env){ .ops = &model_ops,
				      .ctx = m,
				      .memory = &m->memory,
				      .msg = &m->msg,
				      .max_message = m->plan.max_message };
	m->toy = malloc(70000 + 2 * MODEL_GROWTH);
	if (!m->toy)
		abort();
	for (int i = 0; i < 2; i++) {
		m->way[i].sent_max = 1;
		m->way[i].stamp = end_stamp(&m->end[i]);
	}
	end_start(&m->end[1], true);
	end_start(&m->end[0], false);
}

#endif
