/* SPDX-License-Identifier: GPL-2.0-or-later */
/* NOTE TO HELPERS 15:12: the founder is rewriting loss recovery in this file (RACK/TLP, records of sent segments) in /tmp/w/fw; do not edit sender.[ch] until this note is gone; go on with stream/receiver/segment/frame */
#include "tcp/sender.h"

#include <string.h>

#include "tcp/seq.h"

/* RFC 6928 2 */
#define FIRST_SEGMENTS 10
/* RFC 6298 wants a second at least; systems of today take these, the latter
 * beside the time of the way: receivers may wait with acknowledgements
 */
#define RTO_FIRST_MS 500
#define RTO_MIN_MS 200
#define RTO_MAX_MS 30000
/* About as long as systems try: RFC 9293 3.8.3 */
#define RETRIES_MAX 12
/* After so many the path may be too narrow: RFC 4821 7.7 */
#define RETRIES_NARROW 2
#define NARROW_MSS 536
/* All options and eight bytes */
#define LEAST_MSS 48
/* More than any message and what follows it */
#define CWND_MAX (1u << 20)
/* RFC 5681 3.2, RFC 6675 4 */
#define DUPLICATES 3

void sender_init(struct sender *s, uint32_t seq, uint16_t mss)
{
	if (mss < LEAST_MSS)
		mss = LEAST_MSS;
	*s = (struct sender){
		.una = seq,
		.first = seq,
		.nxt = seq,
		.end = seq,
		.edge = seq + UINT16_MAX,
		.mss = mss,
		.cwnd = FIRST_SEGMENTS * (uint32_t)mss,
		.ssthresh = UINT32_MAX,
		.rto_ms = RTO_FIRST_MS,
	};
}

void sender_free(struct sender *s, struct tcp_memory *memory)
{
	buffer_free(&s->buf, memory);
	s->head = 0;
	s->first = s->end;
	s->again = (struct range){ s->end, s->end };
	s->due_ms = 0;
}

/* ---- what is to be sent ---- */

char *sender_room(struct sender *s, size_t len, struct tcp_memory *memory)
{
	size_t have = sender_waiting(s);

	if (s->head + have + len > s->buf.cap && s->head) {
		memmove(s->buf.ptr, s->buf.ptr + s->head, have);
		s->head = 0;
	}
	if (buffer_reserve(&s->buf, s->head + have + len, memory))
		return NULL;
	return s->buf.ptr + s->head + have;
}

void sender_add(struct sender *s, size_t len)
{
	s->end += (uint32_t)len;
}

/* Bytes that are in the buffer, and how far the receiver allows them */
static struct span bytes_at(const struct sender *s, struct range r)
{
	if (r.first == r.end)
		return (struct span){ 0 };
	return (struct span){ s->buf.ptr + s->head + (r.first - s->first),
			      r.end - r.first };
}

static uint32_t payload(const struct sender *s, size_t options)
{
	return s->mss > options + 8 ? s->mss - (uint32_t)options : 8;
}

/* A segment of the bytes @r, with the end of the stream if it reaches that */
static void make_segment(const struct sender *s, struct range r,
			 struct segment *seg)
{
	bool last = s->fin && r.end == s->end + 1;

	if (last)
		r.end--;
	seg->seq = r.first;
	seg->flags = TH_ACK;
	seg->data = bytes_at(s, r);
	if (r.end == s->end && seg->data.len)
		seg->flags |= TH_PUSH;
	if (last)
		seg->flags |= TH_FIN;
}

/* The next hole in what was sent */
static bool next_again(struct sender *s, size_t options, struct segment *seg)
{
	struct range r = s->again;

	if (!s->credit || !seq_before(r.first, r.end))
		return false;
	if (!ranges_gap(&s->sacked, &r)) {
		s->again.first = s->again.end;
		return false;
	}
	r.end = seq_min(r.end, r.first + payload(s, options));
	s->again.first = r.end;
	s->credit--;
	s->timed_ms = 0; /* Karn: which one is acknowledged? */
	make_segment(s, r, seg);
	return true;
}

static bool next_new(struct sender *s, size_t options, struct segment *seg,
		     uint64_t now_ms)
{
	uint32_t limit = seq_min(s->edge, s->una + s->cwnd);
	struct range r = { s->nxt, s->end + s->fin };

	if (s->probe && !seq_before(s->nxt, s->edge))
		limit = s->nxt + 1;
	s->probe = false;
	r.end = seq_min(r.end, seq_min(limit, s->nxt + payload(s, options)));
	if (!seq_before(r.first, r.end))
		return false;
	s->nxt = r.end;
	if (!s->timed_ms) {
		s->timed = r.end;
		s->timed_ms = now_ms;
	}
	make_segment(s, r, seg);
	return true;
}

bool sender_next(struct sender *s, size_t options, struct segment *seg,
		 uint64_t now_ms)
{
	bool found = next_again(s, options, seg) ||
		     next_new(s, options, seg, now_ms);

	if (!s->due_ms && !sender_is_done(s))
		s->due_ms = now_ms + s->rto_ms;
	return found;
}

/* ---- what the receiver says ---- */

/* RFC 6298 2 */
static void take_sample(struct sender *s, uint64_t now_ms)
{
	uint32_t rtt = (uint32_t)(now_ms - s->timed_ms) + 1;
	uint32_t off = rtt > s->srtt_ms ? rtt - s->srtt_ms : s->srtt_ms - rtt;

	s->timed_ms = 0;
	if (!s->srtt_ms) {
		s->srtt_ms = rtt;
		s->var_ms = rtt / 2;
	} else {
		s->var_ms = (3 * s->var_ms + off) / 4;
		s->srtt_ms = (7 * s->srtt_ms + rtt) / 8;
	}
	s->rto_ms = s->srtt_ms +
		    (4 * s->var_ms > RTO_MIN_MS ? 4 * s->var_ms : RTO_MIN_MS);
	if (s->rto_ms > RTO_MAX_MS)
		s->rto_ms = RTO_MAX_MS;
}

static void grow_cwnd(struct sender *s, uint32_t acked)
{
	uint32_t step = acked < 2u * s->mss ? acked : 2u * s->mss;

	if (s->cwnd >= s->ssthresh)
		step = (uint32_t)s->mss * s->mss / s->cwnd + 1;
	if (s->cwnd < CWND_MAX)
		s->cwnd += step;
}

static void lose(struct sender *s, uint32_t cwnd)
{
	uint32_t half = (s->nxt - s->una) / 2;

	s->ssthresh = half > 2u * s->mss ? half : 2u * s->mss;
	s->cwnd = cwnd ? cwnd : s->ssthresh;
	s->recovering = true;
	s->recover = s->nxt;
}

/* What is known to be missing: up to what the receiver has, or one segment */
static void repair(struct sender *s)
{
	const struct ranges *have = &s->sacked;
	uint32_t end = s->una + s->mss;

	if (have->count)
		end = have->range[have->count - 1].first;
	s->again = (struct range){ seq_max(s->una, s->first),
				   seq_min(end, s->nxt) };
}

/* Bytes from @una on are acknowledged: drop them */
static void forget(struct sender *s, uint32_t una)
{
	uint32_t last = seq_min(una, s->end);

	s->una = una;
	ranges_trim(&s->sacked, una);
	if (seq_before(s->first, last)) {
		s->head += last - s->first;
		s->first = last;
	}
	if (s->first == s->end)
		s->head = 0;
	if (seq_before(s->again.first, una))
		s->again.first = seq_min(una, s->again.end);
}

static void advance(struct sender *s, uint32_t ack, uint64_t now_ms)
{
	uint32_t acked = ack - s->una;

	if (s->timed_ms && !seq_before(ack, s->timed))
		take_sample(s, now_ms);
	forget(s, ack);
	s->duplicates = 0;
	s->retries = 0;
	if (s->recovering && seq_before(ack, s->recover)) {
		/* The next hole: RFC 6582 3.2 */
		if (!seq_before(s->again.first, s->again.end))
			repair(s);
		s->credit = 2;
	} else {
		s->recovering = false;
		s->again = (struct range){ ack, ack };
		s->credit = 0;
		grow_cwnd(s, acked);
	}
	s->due_ms = sender_is_done(s) ? 0 : now_ms + s->rto_ms;
}

/* Return: it told of something new */
static bool take_sacks(struct sender *s, const struct segment *seg)
{
	bool news = false;

	for (unsigned int i = 0; i < seg->sacks; i++) {
		struct range r = seg->sack[i], gap = r;

		/* D-SACK (RFC 2883) and what was never sent tell nothing */
		if (!seq_before(r.first, r.end) || !seq_before(s->una, r.end) ||
		    seq_before(r.first, s->una) || seq_before(s->nxt, r.end))
			continue;
		if (ranges_gap(&s->sacked, &gap))
			news = ranges_add(&s->sacked, r) || news;
	}
	return news;
}

static void duplicate(struct sender *s)
{
	s->duplicates++;
	if (!s->recovering && s->duplicates == DUPLICATES) {
		lose(s, 0);
		repair(s);
		s->credit = 1;
	} else if (s->recovering) {
		/* Something has left the network: RFC 5681 3.2 */
		if (!seq_before(s->again.first, s->again.end) &&
		    s->sacked.count)
			s->again.end = seq_max(
				s->again.end,
				s->sacked.range[s->sacked.count - 1].first);
		s->credit = s->credit < 2 ? s->credit + 1 : 2;
	}
}

/* RFC 9293 3.10.7.4, fifth. Return: it was said anew */
static bool take_window(struct sender *s, const struct segment *seg)
{
	uint32_t edge = seg->ack + ((uint32_t)seg->window << s->wscale);
	bool moves = edge != s->edge;

	if (seq_before(seg->seq, s->wl1) && !seq_before(s->edge, edge))
		return false;
	s->wl1 = seq_max(s->wl1, seg->seq);
	/* The byte that asked for it was not taken: it is sent again at once */
	if (s->edge == s->una && moves && s->nxt == s->una + 1 &&
	    seg->ack == s->una)
		s->nxt = s->una;
	s->edge = edge;
	/* It is there, and only does not read */
	if (!seg->window)
		s->retries = 0;
	return moves;
}

void sender_ack(struct sender *s, const struct segment *seg, uint32_t ack,
		uint64_t now_ms)
{
	bool news, moves;

	if (seq_before(ack, s->una) || seq_before(s->nxt, ack))
		return;
	news = take_sacks(s, seg);
	moves = take_window(s, seg);
	if (ack != s->una)
		advance(s, ack, now_ms);
	else if (s->una == s->nxt || seq_before(s->una, s->first))
		return;
	else if (news || (!segment_len(seg) && !moves && !seg->sacks))
		duplicate(s);
}

/* ---- what only time shows ---- */

void sender_passed(struct sender *s)
{
	s->first = s->end;
	s->head = 0;
	s->nxt = s->end + s->fin;
	s->timed_ms = s->due_ms = 0;
}

void sender_open(struct sender *s)
{
	s->edge = s->end + s->fin;
	s->cwnd = CWND_MAX;
}

void sender_delivered(struct sender *s)
{
	forget(s, s->nxt);
	s->due_ms = s->timed_ms = 0;
}

void sender_restart(struct sender *s, uint64_t now_ms)
{
	s->due_ms = sender_is_done(s) ? 0 : now_ms + s->rto_ms;
}

void sender_repeat(struct sender *s)
{
	if (sender_is_done(s) || s->nxt == s->first)
		return;
	s->again = (struct range){ s->first, s->nxt };
	if (!s->credit)
		s->credit = 1;
}

bool sender_timeout(struct sender *s, uint64_t now_ms)
{
	if (!s->due_ms || now_ms < s->due_ms)
		return true;
	s->retries++;
	s->rto_ms = s->rto_ms * 2 < RTO_MAX_MS ? s->rto_ms * 2 : RTO_MAX_MS;
	s->due_ms = now_ms + s->rto_ms;
	s->timed_ms = 0;
	if (s->retries >= RETRIES_NARROW && s->mss > NARROW_MSS)
		s->mss = NARROW_MSS;
	if (s->nxt == s->una) {
		s->probe = true;
	} else {
		lose(s, s->mss);
		/* The receiver may have dropped what it had: RFC 2018 8 */
		s->sacked.count = 0;
		s->credit = 0;
		sender_repeat(s);
	}
	return s->retries <= RETRIES_MAX;
}
