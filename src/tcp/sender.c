/* SPDX-License-Identifier: GPL-2.0-or-later */
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
/*
 * What we repeat does not pass the gateway's FORWARD chain. Where only that
 * arrives, somebody has forbidden the connection: by accident it happens once
 * in a million times, with a third of all lost
 */
#define VAIN_MAX 16
/* Before that: perhaps what is sent first is too long for the path, and the end
 * that is told so does not believe it, since its numbers are not those quoted
 */
#define VAIN_NARROW 3
/* After so many the path may be too narrow: RFC 4821 7.7 */
#define RETRIES_NARROW 3
#define BACKOFF_MAX 8
#define NARROW_MSS 536
/* All options and eight bytes */
#define LEAST_MSS 48
/* More than any message and what follows it */
#define CWND_MAX (1u << 20)
/* RFC 5681 3.2, RFC 6675 4 */
#define DUPLICATES 3
/* Longer than systems wait with an acknowledgement of several segments */
#define TAIL_MS 50
/* They do not wait while something is missing: RFC 5681 4.2 */
#define HOLE_MS 10
/* So often is tried before the retransmission timer */
#define PROBES_MAX 3
/* What has been overtaken may still come: RFC 8985 6.2 wants RTT / 4 */
#define ORDER_MS 8

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
		.full_mss = mss,
		.cwnd = FIRST_SEGMENTS * (uint32_t)mss,
		.ssthresh = UINT32_MAX,
		.recover = seq - 1,
		.rto_ms = RTO_FIRST_MS,
	};
}

void sender_free(struct sender *s, struct tcp_memory *memory)
{
	buffer_free(&s->buf, memory);
	s->head = 0;
	s->first = s->end;
	s->flight.count = 0;
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

uint32_t sender_payload(const struct sender *s, size_t options)
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

/* What the network bears beside what is in it */
static uint32_t cwnd_left(const struct sender *s)
{
	uint32_t pipe = flight_pipe(&s->flight);
	uint32_t gone = s->duplicates * s->mss;

	/* Without SACK, each duplicate says that some has left: RFC 3042, RFC
	 * 5681 3.2
	 */
	pipe -= gone < pipe ? gone : pipe;
	return pipe < s->cwnd ? s->cwnd - pipe : 0;
}

/* What was lost, as far as the network bears it: RFC 6675 5 */
static bool next_again(struct sender *s, size_t options, struct segment *seg)
{
	struct range r;

	if ((!s->urgent && !cwnd_left(s)) ||
	    !flight_resend(&s->flight, sender_payload(s, options), &r))
		return false;
	s->urgent = false;
	s->timed_ms = 0; /* Karn: which one is acknowledged? */
	make_segment(s, r, seg);
	return true;
}

static bool next_new(struct sender *s, size_t options, struct segment *seg,
		     uint64_t now_ms)
{
	uint32_t limit = seq_min(s->edge, s->nxt + sender_payload(s, options));
	struct range r = { s->nxt, s->end + s->fin };
	bool fits;

	if (s->probe && !seq_before(s->nxt, s->edge))
		limit = s->nxt + 1;
	r.end = seq_min(r.end, limit);
	fits = s->tail || !flight_pipe(&s->flight) ||
	       r.end - r.first <= cwnd_left(s);
	s->probe = s->tail = false;
	if (!seq_before(r.first, r.end) || !fits ||
	    s->flight.count >= FLIGHT_NEW)
		return false;
	s->nxt = r.end;
	flight_add(&s->flight, r);
	if (!s->timed_ms) {
		s->timed = r.end;
		s->timed_ms = now_ms;
	}
	make_segment(s, r, seg);
	return true;
}

/* Something new could go, but for the network */
static bool has_more(const struct sender *s)
{
	return sender_is_late(s) && seq_before(s->nxt, s->edge);
}

/* Wait for the tail of what is under way (RFC 8985 7)? 0: not */
static uint32_t tail_ms(const struct sender *s)
{
	uint32_t wait_ms = 2 * s->srtt_ms;

	if (!s->srtt_ms || s->retries || s->probes == PROBES_MAX)
		return 0;
	if (s->recovering || has_more(s))
		return (wait_ms + HOLE_MS) << s->probes;
	return s->flight.count > 1 ? (wait_ms + TAIL_MS) << s->probes : 0;
}

/* What to wait for from now on */
static void arm(struct sender *s, uint64_t now_ms)
{
	uint32_t wait_ms = s->rto_ms << s->backoff, tail = tail_ms(s);

	if (wait_ms > RTO_MAX_MS)
		wait_ms = RTO_MAX_MS;
	s->timer = SENDER_RTO;
	if (s->sacking && flight_is_suspect(&s->flight)) {
		s->timer = SENDER_ORDER;
		wait_ms = ORDER_MS + s->srtt_ms / 4;
	} else if (tail && tail < wait_ms) {
		s->timer = SENDER_TAIL;
		wait_ms = tail;
	}
	s->due_ms = sender_is_done(s) ? 0 : now_ms + wait_ms;
}

bool sender_next(struct sender *s, size_t options, struct segment *seg,
		 uint64_t now_ms)
{
	bool found = next_again(s, options, seg) ||
		     next_new(s, options, seg, now_ms);

	if (!s->due_ms || (found && s->timer == SENDER_TAIL))
		arm(s, now_ms);
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

/* A loss: once a flight the network is believed to be full. RFC 5681 3.2 */
static void lose(struct sender *s)
{
	uint32_t half = (s->nxt - s->una) / 2;

	if (s->recovering)
		return;
	s->ssthresh = half > 2u * s->mss ? half : 2u * s->mss;
	s->cwnd = s->ssthresh;
	s->recovering = true;
	s->recover = s->nxt;
	/* One goes at once: RFC 6675 5 (4.3) */
	s->urgent = true;
}

/* The first part is lost, and goes at once: RFC 5681 3.2 */
static void lose_first(struct sender *s)
{
	flight_lose(&s->flight, false);
	s->urgent = true;
}

/* Bytes before @una are acknowledged: drop them */
static void forget(struct sender *s, uint32_t una)
{
	uint32_t last = seq_min(una, s->end);

	s->una = una;
	flight_ack(&s->flight, una);
	if (seq_before(s->first, last)) {
		s->head += last - s->first;
		s->first = last;
	}
	if (s->first == s->end)
		s->head = 0;
}

/* It may have been chance: the second time shows that it is the path */
static void widen(struct sender *s)
{
	if (s->narrowed == 1 && s->mss < s->full_mss)
		s->mss = s->full_mss;
}

static void advance(struct sender *s, uint32_t ack, bool sacks, uint64_t now_ms)
{
	uint32_t acked = ack - s->una;

	if (s->timed_ms && !seq_before(ack, s->timed))
		take_sample(s, now_ms);
	forget(s, ack);
	s->duplicates = s->retries = s->probes = s->backoff = 0;
	if (s->flight.at_once)
		s->vain = 0;
	s->repeated = !s->flight.at_once;
	s->flight.at_once = false;
	if (s->recovering && seq_before(ack, s->recover)) {
		/* Without SACK: the next hole. RFC 6582 3.2 */
		if (!sacks && !s->sacking)
			lose_first(s);
	} else if (s->recovering) {
		s->recovering = false;
		s->recover = ack;
		widen(s);
	}
	if (!s->recovering || s->cwnd < s->ssthresh)
		grow_cwnd(s, acked);
}

/* Return: it told of something new */
static bool take_sacks(struct sender *s, const struct segment *seg)
{
	bool news = false;

	for (unsigned int i = 0; i < seg->sacks; i++) {
		struct range r = seg->sack[i];

		/* D-SACK (RFC 2883) and what was never sent tell nothing */
		if (!seq_before(r.first, r.end) ||
		    seq_before(r.first, seg->ack) || seq_before(s->nxt, r.end))
			continue;
		s->sacking = true;
		news = flight_sack(&s->flight, r) || news;
	}
	return news;
}

/* Without SACK they are counted (RFC 5681 3.2), but for those that answer what
 * was sent again for nothing (RFC 6582 4)
 */
static void duplicate(struct sender *s)
{
	if (s->sacking || ++s->duplicates != DUPLICATES || s->recovering ||
	    s->una == s->recover)
		return;
	lose(s);
	lose_first(s);
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
	if (s->edge == s->una && moves && seg->ack == s->una)
		flight_lose_all(&s->flight);
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
	if (ack != s->una) {
		advance(s, ack, news, now_ms);
		news = true;
	} else if (s->una == s->nxt || seq_before(s->una, s->first)) {
		return;
	} else if (!news && !segment_len(seg) && !moves && !seg->sacks &&
		   s->edge != s->una) {
		duplicate(s);
	}
	if (s->sacking && flight_detect(&s->flight, DUPLICATES))
		lose(s);
	if (news) {
		s->probes = 0;
		arm(s, now_ms);
	}
}

/* ---- what only time shows ---- */

void sender_passed(struct sender *s)
{
	s->first = s->end;
	s->head = 0;
	s->nxt = s->end + s->fin;
	s->flight.count = 0;
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
	/* Of what somebody else has sent, the end is ours to repeat as well */
	if (s->fin && s->nxt == s->end + 1 && !s->flight.count &&
	    !sender_is_done(s))
		flight_add(&s->flight, (struct range){ s->end, s->nxt });
	arm(s, now_ms);
}

void sender_repeat(struct sender *s)
{
	lose_first(s);
}

void sender_narrow(struct sender *s)
{
	if (s->mss <= NARROW_MSS)
		return;
	s->mss = s->full_mss = NARROW_MSS;
	flight_lose(&s->flight, true);
	s->urgent = true;
}

/* Nothing has come for too long: all is sent again, slowly */
static void expire(struct sender *s)
{
	/* Where older bytes are missing, others repeat them, and give up */
	if (!seq_before(s->una, s->first))
		s->retries++;
	if (s->backoff < BACKOFF_MAX)
		s->backoff++;
	if (!s->flight.count) {
		s->probe = true;
		return;
	}
	flight_lose_all(&s->flight);
	s->urgent = true;
	s->duplicates = 0;
	/* That nothing is taken says nothing of the network */
	if (!seq_before(s->una, s->edge))
		return;
	if (s->retries >= RETRIES_NARROW && s->mss > NARROW_MSS) {
		s->mss = NARROW_MSS;
		s->narrowed++;
	}
	/* Once for the same losses: RFC 5681 3.1 */
	s->recovering = s->recovering && s->retries > 1;
	lose(s);
	s->cwnd = s->mss;
}

/* The last one again makes a receiver say what it has got, if it can; another
 * one lacks the first
 */
static void take_tail(struct sender *s)
{
	if (has_more(s) && !s->recovering) {
		s->tail = true; /* something new tells as much */
	} else if (!s->sacking) {
		lose(s);
		lose_first(s);
	} else {
		flight_lose(&s->flight, true);
		s->urgent = true;
	}
}

bool sender_timeout(struct sender *s, uint64_t now_ms)
{
	if (!s->due_ms || now_ms < s->due_ms)
		return true;
	s->timed_ms = 0;
	/* Once for all that were lost together, and if any has arrived since */
	s->vain += s->repeated;
	s->repeated = false;
	if (s->vain == VAIN_NARROW && s->mss > NARROW_MSS)
		s->mss = s->full_mss = NARROW_MSS;
	if (s->timer == SENDER_ORDER) {
		if (flight_detect(&s->flight, 1))
			lose(s);
	} else if (s->timer == SENDER_TAIL) {
		s->probes++;
		take_tail(s);
	} else {
		expire(s);
	}
	arm(s, now_ms);
	return s->retries <= RETRIES_MAX && s->vain < VAIN_MAX;
}
