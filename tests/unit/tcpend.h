/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TESTS_TCPEND_H
#define SIPALG_TESTS_TCPEND_H

/*
 * One end of a TCP connection, for tests: simple, strict, in virtual time. It
 * shares no code with src/tcp but the comparison of sequence numbers.
 *
 * Positions count from the SYN, which is 0; the first byte is 1.
 */
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>

#include "tcp/segment.h"
#include "tcp/seq.h"

#define END_BLOCKS 64
#define END_NEVER UINT64_MAX

/** struct choice - Where decisions come from: a seed, or a fuzzer's bytes. When
 * these are used up, all are 0 */
struct choice {
	uint64_t state;
	const uint8_t *bytes;
	size_t len;
	bool random;
};

/** choose() - One of 0 ... @n - 1 */
static inline uint32_t choose(struct choice *c, uint32_t n)
{
	uint32_t v = 0;

	if (n <= 1)
		return 0;
	if (c->random) {
		c->state ^= c->state << 13;
		c->state ^= c->state >> 7;
		c->state ^= c->state << 17;
		return (uint32_t)((c->state * 0x2545f4914f6cdd1dull >> 32) % n);
	}
	for (uint32_t most = n - 1; most && c->len; most >>= 8) {
		v = v << 8 | *c->bytes++;
		c->len--;
	}
	return v % n;
}

/** chance() - True in @pm of 1000 cases */
static inline bool chance(struct choice *c, uint32_t pm)
{
	return pm && choose(c, 1000) >= 1000 - pm;
}

/** enum end_cut - How it makes segments of bytes */
enum end_cut { CUT_FULL, CUT_WRITES, CUT_RANDOM, CUT_TINY };

enum end_state { END_CLOSED, END_LISTEN, END_SENT, END_RECEIVED, END_OPEN };

/** struct block - Bytes that came out of order, as positions */
struct block {
	uint64_t first, end;
};

/**
 * struct end - One end
 * @isn, @mss, @wscale, @scaled, @sack, @stamps: What its SYN offers
 * @room:	Bytes that it takes without reading
 * @rto_us, @ack_us, @every: First timeout; delayed acknowledgements
 * @lag_us:	How long its reader sleeps; 0: it reads at once
 * @pause_us:	How long its writer sleeps
 * @strict:	A FIN beyond the window is not taken
 * @flight:	Most bytes under way
 *
 * @data, @len:	What it will send
 * @write_to:	Where its writes end, ascending; @writes of them
 * @written:	Bytes given to TCP so far
 * @una, @nxt, @max, @edge: As in RFC 9293 3.3.1; @max is the highest @nxt
 * @rcv, @given, @read: Next expected; edge of the window; read by its reader
 * @got:	Bytes from position 1 on
 * @emit:	Sends a packet
 */
struct end {
	int id;
	struct choice *choice;
	uint32_t isn, room, rto_us, ack_us, lag_us, pause_us, flight, ts_offset;
	uint16_t mss;
	uint8_t wscale;
	bool scaled, sack, stamps, nagle, strict, alive, garbage_probe;
	unsigned int every;
	enum end_cut cut;

	const char *data;
	size_t len, written;
	const size_t *write_to;
	unsigned int writes, wrote;

	enum end_state state;
	uint64_t now_us;
	uint64_t una, nxt, max, edge, rcv, given, read, fin, told;
	uint32_t peer_isn, wl1, wl2, ts_recent;
	uint16_t peer_mss, said;
	uint8_t peer_wscale;
	unsigned int duplicates, backoff, behind;
	uint64_t rto_at, persist_at, ack_at, read_at, write_at, alive_at;
	bool ended, was_reset, window_due;
	struct block beyond[END_BLOCKS], sacked[END_BLOCKS];
	unsigned int beyond_count, sacked_count;
	char *got;
	size_t got_cap;

	uint64_t timeouts, fast, probes, paws, bad_echo, segments;
	void (*emit)(void *ctx, struct end *e, const struct segment *seg);
	void (*fail)(void *ctx, const char *why);
	void *ctx;
};

/* ---- sets of positions ---- */

static inline void end_block_add(struct block *set, unsigned int *count,
				 struct block b)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < *count; i++) {
		if (set[i].end < b.first || b.end < set[i].first) {
			set[n++] = set[i];
			continue;
		}
		b.first = set[i].first < b.first ? set[i].first : b.first;
		b.end = set[i].end > b.end ? set[i].end : b.end;
	}
	/* The newest is the last; too many: the oldest is forgotten */
	if (n == END_BLOCKS)
		memmove(set, set + 1, --n * sizeof(*set));
	set[n++] = b;
	*count = n;
}

static inline const struct block *end_block_at(const struct block *set,
					       unsigned int count, uint64_t at)
{
	for (unsigned int i = 0; i < count; i++) {
		if (set[i].first <= at && at < set[i].end)
			return &set[i];
	}
	return NULL;
}

static inline void end_block_trim(struct block *set, unsigned int *count,
				  uint64_t at)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < *count; i++) {
		if (set[i].end > at)
			set[n++] = set[i];
	}
	*count = n;
}

/* ---- sending ---- */

static inline uint32_t end_seq(const struct end *e, uint64_t at)
{
	return e->isn + (uint32_t)at;
}

static inline uint64_t end_last(const struct end *e)
{
	return e->len + 1;
}

static inline uint32_t end_stamp(const struct end *e)
{
	return e->ts_offset + (uint32_t)(e->now_us / 1000);
}

/** end_ready() - The handshake is over on its side */
static inline bool end_ready(const struct end *e)
{
	return e->state == END_OPEN;
}

/** end_done() - All sent and acknowledged, all received */
static inline bool end_done(const struct end *e)
{
	return e->una == end_last(e) + 1 && e->ended;
}

static inline uint8_t end_shift(const struct end *e)
{
	return e->scaled ? e->wscale : 0;
}

/* The window to offer; its edge never goes back */
static inline uint16_t end_window(struct end *e)
{
	uint64_t want = e->read + e->room, size;
	uint8_t shift = end_shift(e);

	if (want > e->given) {
		size = (want - e->rcv) >> shift;
		if (size > UINT16_MAX)
			size = UINT16_MAX;
		if (e->rcv + (size << shift) > e->given) {
			e->given = e->rcv + (size << shift);
			return (uint16_t)size;
		}
	}
	/* All of it, rounded up */
	size = e->given > e->rcv ? e->given - e->rcv : 0;
	size = (size + (1u << shift) - 1) >> shift;
	if (e->rcv + (size << shift) > e->given)
		e->given = e->rcv + (size << shift);
	return (uint16_t)size;
}

static inline void end_put(struct end *e, struct segment *seg)
{
	seg->flags |= TH_ACK;
	seg->ack = e->peer_isn + (uint32_t)e->rcv;
	seg->window = e->said = end_window(e);
	seg->stamped = e->stamps;
	seg->ts_val = end_stamp(e);
	seg->ts_ecr = e->ts_recent;
	e->told = e->rcv;
	e->behind = 0;
	e->ack_at = END_NEVER;
	e->window_due = false;
	e->segments++;
	e->emit(e->ctx, e, seg);
}

static inline void end_ack(struct end *e)
{
	struct segment seg = { .seq = end_seq(e, e->max) };
	unsigned int most = e->stamps ? 3 : 4;

	for (unsigned int i = e->beyond_count;
	     e->sack && i > 0 && seg.sacks < most; i--) {
		const struct block *b = &e->beyond[i - 1];

		seg.sack[seg.sacks].first = e->peer_isn + (uint32_t)b->first;
		seg.sack[seg.sacks++].end = e->peer_isn + (uint32_t)b->end;
	}
	end_put(e, &seg);
}

static inline void end_syn(struct end *e)
{
	struct segment seg = {
		.seq = e->isn,
		.flags = TH_SYN,
		.window =
			(uint16_t)(e->room < UINT16_MAX ? e->room : UINT16_MAX),
		.mss = e->mss,
		.wscale = e->wscale,
		.scaled = e->scaled,
		.sack_ok = e->sack,
		.stamped = e->stamps,
		.ts_val = end_stamp(e),
		.ts_ecr = e->ts_recent,
	};

	if (e->state == END_RECEIVED) {
		seg.flags |= TH_ACK;
		seg.ack = e->peer_isn + 1;
	}
	e->nxt = e->max = e->max > 1 ? e->max : 1;
	e->given = e->rcv + seg.window;
	e->rto_at = e->now_us + ((uint64_t)e->rto_us << e->backoff);
	e->emit(e->ctx, e, &seg);
}

/* Data from @at up to @to, with the FIN if that is the end */
static inline void end_data(struct end *e, uint64_t at, uint64_t to)
{
	struct segment seg = { .seq = end_seq(e, at), .flags = TH_PUSH };
	uint64_t last = end_last(e);

	if (to > last) {
		seg.flags |= TH_FIN;
		to = last;
	}
	seg.data = (struct span){ e->data + at - 1, (size_t)(to - at) };
	if (at + segment_len(&seg) > e->max)
		e->max = at + segment_len(&seg);
	if (e->rto_at == END_NEVER)
		e->rto_at = e->now_us + ((uint64_t)e->rto_us << e->backoff);
	e->persist_at = END_NEVER;
	end_put(e, &seg);
}

static inline uint32_t end_payload(const struct end *e)
{
	return e->peer_mss - (e->stamps ? 12u : 0u);
}

/* Where a segment from @at on ends: what is written, segmentation, FIN */
static inline uint64_t end_piece(struct end *e, uint64_t at)
{
	uint64_t to = e->written + 1, most = at + end_payload(e);
	uint32_t n;

	if (to > most)
		to = most;
	for (unsigned int i = 0; e->cut == CUT_WRITES && i < e->wrote; i++) {
		if (e->write_to[i] + 1 > at) {
			to = to < e->write_to[i] + 1 ? to : e->write_to[i] + 1;
			break;
		}
	}
	n = (uint32_t)(to - at);
	if (n > 1 && e->cut == CUT_TINY)
		to = at + 1 + choose(e->choice, n < 40 ? n : 40);
	else if (n > 1 && e->cut == CUT_RANDOM && choose(e->choice, 2))
		to = at + 1 + choose(e->choice, n);
	if (to == end_last(e))
		to++;
	return to;
}

static inline void end_send(struct end *e)
{
	while (e->state == END_OPEN && e->nxt <= end_last(e)) {
		const struct block *b =
			end_block_at(e->sacked, e->sacked_count, e->nxt);
		uint64_t to = end_piece(e, e->nxt), limit = e->una + e->flight;

		if (b) {
			e->nxt = b->end;
			continue;
		}
		/* Its own limit does not cut what was written at once */
		if (to > limit && e->nxt != e->una)
			break;
		if (limit > e->edge)
			limit = e->edge;
		if (to > limit)
			to = limit;
		if (to <= e->nxt)
			break;
		/* RFC 896; what is repeated does not wait */
		if (e->nagle && e->nxt != e->una && e->nxt >= e->max &&
		    to - e->nxt < end_payload(e) && to <= end_last(e))
			break;
		end_data(e, e->nxt, to);
		e->nxt = to;
	}
	if (e->state == END_OPEN && e->una == e->max && e->nxt >= e->edge &&
	    (e->nxt <= e->written || e->written == e->len) &&
	    e->nxt <= end_last(e) && e->persist_at == END_NEVER)
		e->persist_at = e->now_us + ((uint64_t)e->rto_us << e->backoff);
}

/* ---- receiving ---- */

static inline void end_take_sacks(struct end *e, const struct segment *seg)
{
	for (unsigned int i = 0; i < seg->sacks; i++) {
		int32_t a = seq_diff(seg->sack[i].first, end_seq(e, e->una));
		int32_t b = seq_diff(seg->sack[i].end, end_seq(e, e->una));

		if (!e->sack)
			e->fail(e->ctx, "SACK was not agreed on");
		if (a >= 0 && b > a && e->una + (uint64_t)b <= e->max)
			end_block_add(e->sacked, &e->sacked_count,
				      (struct block){ e->una + (uint64_t)a,
						      e->una + (uint64_t)b });
	}
}

static inline void end_take_ack(struct end *e, const struct segment *seg)
{
	int32_t ahead = seq_diff(seg->ack, end_seq(e, e->una));
	uint64_t ack = e->una + (uint64_t)(int64_t)ahead;
	uint64_t edge = ack + ((uint64_t)seg->window << e->peer_wscale);

	if (ahead < 0)
		return;
	if (ack > e->max) {
		e->fail(e->ctx, "acknowledged what was not sent");
		return;
	}
	end_take_sacks(e, seg);
	if (ahead > 0) {
		e->una = ack;
		if (e->nxt < ack)
			e->nxt = ack;
		end_block_trim(e->sacked, &e->sacked_count, ack);
		e->duplicates = e->backoff = 0;
		e->rto_at = ack == e->max ? END_NEVER : e->now_us + e->rto_us;
	} else if (!segment_len(seg) && e->una != e->max && edge == e->edge &&
		   ++e->duplicates == 3) {
		uint64_t to = end_piece(e, e->una);

		e->fast++;
		if (e->edge > e->una)
			end_data(e, e->una, to < e->edge ? to : e->edge);
	}
	if (seq_before(e->wl1, seg->seq) ||
	    (e->wl1 == seg->seq && !seq_before(seg->ack, e->wl2))) {
		e->wl1 = seg->seq;
		e->wl2 = seg->ack;
		e->edge = edge;
		if (edge > e->nxt) {
			e->persist_at = END_NEVER;
		} else if (e->una == e->max) {
			e->backoff = 0;
		}
	}
}

static inline void end_advance(struct end *e)
{
	const struct block *b;

	while ((b = end_block_at(e->beyond, e->beyond_count, e->rcv)))
		e->rcv = b->end;
	end_block_trim(e->beyond, &e->beyond_count, e->rcv);
	if (e->fin && e->rcv == e->fin && !e->ended) {
		e->rcv++;
		e->ended = true;
	}
}

static inline void end_take_data(struct end *e, const struct segment *seg,
				 uint64_t at)
{
	struct span data = seg->data;
	uint64_t end = at + data.len, before = e->rcv;
	bool fin = seg->flags & TH_FIN;

	if (at < e->rcv) {
		uint64_t old = e->rcv - at < data.len ? e->rcv - at : data.len;

		data = span_between(data.ptr + old, span_end(data));
		at += old;
	}
	if (end > e->given || (fin && e->strict && end + 1 > e->given))
		fin = false;
	if (at + data.len > e->given)
		data.len = at < e->given ? (size_t)(e->given - at) : 0;
	if (at + data.len > e->got_cap) {
		e->fail(e->ctx, "more bytes than there can be");
		return;
	}
	if (data.len) {
		memcpy(e->got + at, data.ptr, data.len);
		end_block_add(e->beyond, &e->beyond_count,
			      (struct block){ at, at + data.len });
	}
	if (fin)
		e->fin = end;
	end_advance(e);
	if (!e->lag_us)
		e->read = e->rcv;
	else if (e->read_at == END_NEVER && e->read < e->rcv)
		e->read_at = e->now_us + 1 + choose(e->choice, e->lag_us);
	e->behind++;
	if (e->rcv == before || e->beyond_count || e->ended ||
	    e->behind >= e->every)
		e->behind = UINT32_MAX / 2;
	else if (e->ack_at == END_NEVER)
		e->ack_at = e->now_us + e->ack_us;
}

static inline void end_open(struct end *e, const struct segment *seg)
{
	bool scaled = e->scaled && seg->scaled;

	e->peer_isn = seg->seq;
	e->rcv = e->read = 1;
	e->wl1 = seg->seq;
	e->scaled = scaled;
	e->peer_wscale = scaled ? seg->wscale : 0;
	e->sack = e->sack && seg->sack_ok;
	e->stamps = e->stamps && seg->stamped;
	e->peer_mss = seg->mss ? seg->mss : 536;
	e->ts_recent = seg->ts_val;
	e->edge = e->una + seg->window;
}

static inline void end_input_syn(struct end *e, const struct segment *seg)
{
	if (e->state == END_LISTEN && !(seg->flags & TH_ACK)) {
		end_open(e, seg);
		e->edge = 1 + (uint64_t)seg->window;
		e->state = END_RECEIVED;
		end_syn(e);
	} else if (e->state == END_SENT && seg->flags & TH_ACK) {
		if (seg->ack != e->isn + 1) {
			e->fail(e->ctx, "SYN-ACK of another SYN");
			return;
		}
		e->una = 1;
		end_open(e, seg);
		e->given = 1 + (uint64_t)(e->room < UINT16_MAX ? e->room
							       : UINT16_MAX);
		e->wl2 = seg->ack;
		e->state = END_OPEN;
		e->rto_at = END_NEVER;
		e->backoff = 0;
		end_ack(e);
		end_send(e);
	} else if (e->state == END_OPEN) {
		end_ack(e);
	}
}

/** end_input() - A packet has come */
static inline void end_input(struct end *e, const struct segment *seg)
{
	int32_t off = seq_diff(seg->seq, e->peer_isn + (uint32_t)e->rcv);
	uint64_t at = e->rcv + (uint64_t)(int64_t)off;

	/* RFC 5961 3.2 */
	if (seg->flags & TH_RST) {
		if (!off)
			e->was_reset = true;
		else if (e->state == END_OPEN && off > 0 && at < e->given)
			end_ack(e);
		return;
	}
	if (seg->flags & TH_SYN) {
		end_input_syn(e, seg);
		return;
	}
	if (e->state == END_RECEIVED && seg->ack == e->isn + 1) {
		e->state = END_OPEN;
		e->una = 1;
		e->rto_at = END_NEVER;
		e->backoff = 0;
	}
	if (e->state != END_OPEN)
		return;
	if (e->stamps && seg->stamped &&
	    seq_before(seg->ts_val, e->ts_recent)) {
		e->paws++;
		end_ack(e);
		return;
	}
	/* RFC 7323 3.2: what it echoes has been said */
	if (e->stamps && seg->stamped &&
	    end_stamp(e) - seg->ts_ecr > (uint32_t)(e->now_us / 1000))
		e->bad_echo++;
	/* RFC 9293 3.10.7.4, first: old, or beyond the window */
	if (off < -(int32_t)segment_len(seg) || (int64_t)at < 0 ||
	    (off < 0 && off + (int32_t)segment_len(seg) <= 0) ||
	    (off > 0 && at + !!segment_len(seg) > e->given)) {
		if (off < 0 && off >= -(1 << 28))
			end_take_ack(e, seg);
		end_ack(e);
		end_send(e);
		return;
	}
	if (e->stamps && seg->stamped && at <= e->told)
		e->ts_recent = seg->ts_val;
	end_take_ack(e, seg);
	if (segment_len(seg))
		end_take_data(e, seg, at);
	end_send(e);
	if (e->behind >= UINT32_MAX / 2)
		end_ack(e);
}

/* ---- time ---- */

static inline void end_time_out(struct end *e)
{
	uint64_t to;

	/* With no window it is a probe */
	if (e->edge > e->una)
		e->timeouts++;
	e->rto_at = END_NEVER;
	if (e->backoff < 6)
		e->backoff++;
	if (e->state == END_SENT || e->state == END_RECEIVED) {
		end_syn(e);
		return;
	}
	/* The other end may have dropped what it had: RFC 2018 8 */
	e->sacked_count = 0;
	to = end_piece(e, e->una);
	if (to > e->edge)
		to = e->edge > e->una ? e->edge : e->una + 1;
	end_data(e, e->una, to);
	e->nxt = to;
	end_send(e);
}

/* RFC 9293 3.8.6.1: one byte beyond the window, or one number back */
static inline void end_probe(struct end *e)
{
	struct segment seg = { .seq = end_seq(e, e->una - 1) };

	e->probes++;
	e->persist_at = END_NEVER;
	if (e->backoff < 6)
		e->backoff++;
	if (e->garbage_probe && e->nxt <= e->written) {
		end_data(e, e->nxt, e->nxt + 1);
		e->nxt++;
		return;
	}
	end_put(e, &seg);
	e->persist_at = e->now_us + ((uint64_t)e->rto_us << e->backoff);
}

static inline void end_keep_alive(struct end *e)
{
	struct segment seg = { .seq = end_seq(e, e->una - 1) };

	e->alive_at = e->now_us + 50000 + choose(e->choice, 300000);
	if (e->state != END_OPEN || e->una != e->nxt)
		return;
	if (e->garbage_probe)
		seg.data = SPAN("?");
	end_put(e, &seg);
}

static inline void end_read(struct end *e)
{
	uint64_t before = e->given, want;
	uint32_t have = (uint32_t)(e->rcv - e->read);

	if (!have)
		return;
	e->read += choose(e->choice, 2) ? have : 1 + choose(e->choice, have);
	if (e->read < e->rcv)
		e->read_at = e->now_us + 1 + choose(e->choice, e->lag_us);
	want = e->read + e->room;
	if (want > e->rcv + ((uint64_t)UINT16_MAX << end_shift(e)))
		want = e->rcv + ((uint64_t)UINT16_MAX << end_shift(e));
	/* RFC 9293 3.8.6.2.2 */
	if ((e->rcv != e->told || end_window(e) != e->said) &&
	    want >= before + (1u << end_shift(e)) &&
	    (want >= before + e->room / 2 || want >= before + 2u * e->mss ||
	     e->read == e->rcv))
		end_ack(e);
}

static inline void end_write(struct end *e)
{
	if (e->wrote < e->writes)
		e->written = e->write_to[e->wrote++];
	e->write_at = END_NEVER;
	if (e->wrote < e->writes)
		e->write_at = e->now_us + choose(e->choice, e->pause_us);
	end_send(e);
}

/** end_due() - When end_poll() is to be called */
static inline uint64_t end_due(const struct end *e)
{
	const uint64_t at[] = { e->rto_at,  e->persist_at, e->ack_at,
				e->read_at, e->write_at,   e->alive_at };
	uint64_t due = END_NEVER;

	if (e->was_reset)
		return due;
	for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++)
		due = at[i] < due ? at[i] : due;
	return due;
}

static inline bool end_is_due(uint64_t *at, uint64_t now)
{
	if (*at > now)
		return false;
	*at = END_NEVER;
	return true;
}

/** end_poll() - Time passes */
static inline void end_poll(struct end *e, uint64_t now_us)
{
	e->now_us = now_us;
	if (e->was_reset)
		return;
	if (end_is_due(&e->rto_at, now_us))
		end_time_out(e);
	if (end_is_due(&e->persist_at, now_us))
		end_probe(e);
	if (end_is_due(&e->ack_at, now_us))
		end_ack(e);
	if (end_is_due(&e->read_at, now_us))
		end_read(e);
	if (end_is_due(&e->write_at, now_us))
		end_write(e);
	if (end_is_due(&e->alive_at, now_us))
		end_keep_alive(e);
}

/** end_start() - Timers off, nothing sent; who listens waits for the other */
static inline void end_start(struct end *e, bool listens)
{
	e->rto_at = e->persist_at = e->ack_at = END_NEVER;
	e->read_at = e->write_at = e->alive_at = END_NEVER;
	e->state = listens ? END_LISTEN : END_SENT;
	e->write_at = e->now_us;
	if (e->alive)
		e->alive_at = e->now_us + choose(e->choice, 100000);
	if (!listens)
		end_syn(e);
}

#endif
