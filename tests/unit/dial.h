/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TESTS_DIAL_H
#define SIPALG_TESTS_DIAL_H

/*
 * TCP connections through the gateway of stage.h, a segment at a time. Their
 * ends say what the test says, and acknowledge when it says so; they take what
 * comes in order, by NAT or sent by the gateway itself. Tests of TCP as such
 * are those of src/tcp: here nothing is lost and no window is narrow.
 */
#include <netinet/tcp.h>

#include "stage.h"

#define DIAL_ROOM 16384
#define DIAL_MSS 1460
/* SYN: a maximum segment size, a window scale */
#define DIAL_OPTIONS SPAN("\x02\x04\x05\xb4\x01\x03\x03\x02")

/**
 * struct dial_end - An end of a connection
 * @t:		Tuple of the packets that it sends, as they leave it
 * @seq, @ack:	Numbers it sends next, and expects next
 * @told:	The last acknowledgement it was given
 * @mss:	What the SYN from the other end offered
 * @packets, @own: That reached it; of these, those the gateway sent itself
 * @flags, @ttl, @dscp: Of the last one
 * @got, @len:	Bytes that reached it, in order
 */
struct dial_end {
	struct tuple t;
	uint32_t seq, ack, told;
	uint16_t mss;
	bool ended, reset;
	unsigned int packets, own;
	uint8_t flags, ttl, dscp;
	size_t len;
	char got[DIAL_ROOM];
};

/**
 * struct dial - A connection
 * @end:	Who dials, and who is dialled
 * @next:	Others, for what the gateway sends
 */
struct dial {
	struct stage *st;
	struct dial_end end[2];
	struct dial *next;
};

static inline uint16_t dial_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t dial_get32(const uint8_t *p)
{
	return (uint32_t)dial_get16(p) << 16 | dial_get16(p + 2);
}

static inline void dial_put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* ---- what arrives ---- */

static inline void dial_take(struct dial_end *e, const struct packet *pkt)
{
	const uint8_t *tcp = pkt->data + pkt->l4;
	uint32_t seq = dial_get32(tcp + 4);
	uint8_t flags = tcp[13];
	int32_t old = (int32_t)(e->ack - seq);
	struct span data = pkt->payload;

	e->packets++;
	e->flags = flags;
	e->dscp = packet_dscp(pkt->data);
	e->ttl = pkt->data[addr_is_v4(&pkt->tuple.src.addr) ? 8 : 7];
	if (flags & TH_ACK)
		e->told = dial_get32(tcp + 8);
	if (flags & TH_RST)
		e->reset = true;
	if (flags & TH_SYN) {
		e->ack = seq + 1;
		e->mss = dial_get16(tcp + 22);
	}
	if (flags & (TH_RST | TH_SYN) || old < 0)
		return;
	if ((size_t)old < data.len) {
		data = span_between(data.ptr + old, span_end(data));
		stage_need(e->len + data.len <= sizeof(e->got));
		memcpy(e->got + e->len, data.ptr, data.len);
		e->len += data.len;
		e->ack += (uint32_t)data.len;
	}
	if (flags & TH_FIN && e->ack == seq + (uint32_t)pkt->payload.len) {
		e->ended = true;
		e->ack++;
	}
}

/* The end that a packet is for; NULL if none of these connections has it */
static inline struct dial_end *dial_find(struct dial *list,
					 const struct packet *pkt)
{
	struct tuple back = tuple_reverse(&pkt->tuple);

	for (; list; list = list->next) {
		for (int i = 0; i < 2; i++) {
			if (tuple_eq(&list->end[i].t, &back))
				return &list->end[i];
		}
	}
	return NULL;
}

/* What the gateway sends itself is ready for the wire: NAT done, right sums */
static inline void dial_sent(void *arg, const void *packet, size_t len)
{
	struct packet pkt;
	struct dial_end *e;

	stage_need(packet_parse(packet, len, &pkt) == PACKET_OK &&
		   stage_sums_ok(packet, len));
	e = dial_find(arg, &pkt);
	stage_need(e != NULL);
	dial_take(e, &pkt);
	e->own++;
}

/* ---- what is sent ---- */

/** dial_init() - Before the first packet; what it was before is forgotten */
static inline void dial_init(struct dial *d, struct stage *st, const char *src,
			     const char *dst)
{
	struct dial *list = st->sim.sent ? st->sim.sent_arg : NULL;
	struct dial **at = &list;

	while (*at && *at != d)
		at = &(*at)->next;
	if (*at)
		*at = d->next;
	memset(d, 0, sizeof(*d));
	d->st = st;
	d->end[0].t = (struct tuple){ .src = stage_end(src),
				      .dst = stage_end(dst),
				      .proto = IPPROTO_TCP };
	d->end[0].seq = 0xfffffff0; /* they wrap on the way */
	d->end[1].seq = 0x7fffff00;
	d->next = list;
	st->sim.sent = dial_sent;
	st->sim.sent_arg = d;
}

/** dial_packet() - Make a packet of end @from; Return: its length */
static inline size_t dial_packet(const struct dial *d, int from, uint8_t flags,
				 uint32_t seq, struct span options,
				 struct span data, uint8_t *p)
{
	const struct dial_end *e = &d->end[from];
	size_t tcp_len = sizeof(struct tcphdr) + options.len;
	size_t ip_len = stage_ip(&e->t, p, tcp_len + data.len);
	uint8_t *tcp = p + ip_len;
	struct tcphdr head = { .th_sport = htons(e->t.src.port),
			       .th_dport = htons(e->t.dst.port),
			       .th_off = tcp_len / 4 & 0xf,
			       .th_flags = flags,
			       .th_win = htons(65000) };

	stage_need(options.len % 4 == 0);
	memcpy(tcp, &head, sizeof(head));
	dial_put32(tcp + 4, seq);
	dial_put32(tcp + 8, flags & TH_ACK ? e->ack : 0);
	if (options.len)
		memcpy(tcp + sizeof(head), options.ptr, options.len);
	if (data.len)
		memcpy(tcp + tcp_len, data.ptr, data.len);
	tcp_len += data.len;
	head.th_sum = checksum_finish(
		checksum_add(stage_pseudo(&e->t, tcp_len), tcp, tcp_len));
	memcpy(tcp + 16, &head.th_sum, sizeof(head.th_sum));
	return ip_len + tcp_len;
}

/** dial_send() - End @from sends a segment; @seq and the rest as they are */
static inline void dial_send(struct dial *d, int from, uint8_t flags,
			     uint32_t seq, struct span options,
			     struct span data)
{
	struct stage *st = d->st;
	struct dial_end *e;
	struct packet pkt;

	stage_through(
		st, &d->end[from].t,
		dial_packet(d, from, flags, seq, options, data, st->packet));
	if (st->lost)
		return;
	stage_need(packet_parse(st->out, sizeof(st->out), &pkt) == PACKET_OK);
	/* What NAT makes of it, who is dialled learns by the SYN */
	if (!from && flags == TH_SYN)
		d->end[1].t = tuple_reverse(&st->t);
	e = dial_find(st->sim.sent_arg, &pkt);
	if (e)
		dial_take(e, &pkt);
}

/** dial_say() - End @from sends data */
static inline void dial_say(struct dial *d, int from, struct span data)
{
	struct dial_end *e = &d->end[from];

	dial_send(d, from, TH_PUSH | TH_ACK, e->seq, (struct span){ 0 }, data);
	e->seq += (uint32_t)data.len;
}

/** dial_again() - It repeats the last @data.len bytes */
static inline void dial_again(struct dial *d, int from, struct span data)
{
	dial_send(d, from, TH_PUSH | TH_ACK,
		  d->end[from].seq - (uint32_t)data.len, (struct span){ 0 },
		  data);
}

/** dial_ack() - It acknowledges what it has */
static inline void dial_ack(struct dial *d, int from)
{
	dial_say(d, from, (struct span){ 0 });
}

/** dial_syn() - The first packet */
static inline void dial_syn(struct dial *d)
{
	dial_send(d, 0, TH_SYN, d->end[0].seq, DIAL_OPTIONS,
		  (struct span){ 0 });
}

/** dial_answer() - The other two of the handshake */
static inline void dial_answer(struct dial *d)
{
	dial_send(d, 1, TH_SYN | TH_ACK, d->end[1].seq, DIAL_OPTIONS,
		  (struct span){ 0 });
	d->end[0].seq++;
	d->end[1].seq++;
	dial_ack(d, 0);
}

/** dial_open() - A connection, begun */
static inline void dial_open(struct dial *d, struct stage *st, const char *src,
			     const char *dst)
{
	dial_init(d, st, src, dst);
	dial_syn(d);
	if (st->lost)
		dial_syn(d);
	dial_answer(d);
}

/** dial_finish() - End @from has said all */
static inline void dial_finish(struct dial *d, int from)
{
	dial_send(d, from, TH_FIN | TH_ACK, d->end[from].seq++,
		  (struct span){ 0 }, (struct span){ 0 });
}

/** dial_close() - Both have, and know it */
static inline void dial_close(struct dial *d)
{
	dial_finish(d, 0);
	dial_ack(d, 1);
	dial_finish(d, 1);
	dial_ack(d, 0);
}

/** dial_reset() - End @from resets it */
static inline void dial_reset(struct dial *d, int from)
{
	dial_send(d, from, TH_RST | TH_ACK, d->end[from].seq,
		  (struct span){ 0 }, (struct span){ 0 });
}

/** dial_got() - All that end @at has received */
static inline struct span dial_got(const struct dial *d, int at)
{
	return (struct span){ d->end[at].got, d->end[at].len };
}

/** dial_has() - It has received these bytes, last */
static inline bool dial_has(const struct dial *d, int at, const char *text)
{
	size_t len = strlen(text);
	const struct dial_end *e = &d->end[at];

	return e->len >= len && !memcmp(e->got + e->len - len, text, len);
}

#endif
