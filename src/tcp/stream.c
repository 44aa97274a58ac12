/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/stream.h"

#include <errno.h>
#include <string.h>

#include "tcp/seq.h"

/* Timestamps take so much of each segment: RFC 7323 appendix A */
#define STAMP_LEN 12
/* SYNs that offer less are left alone: RFC 9293 3.7.1 */
#define CLAMP_FROM 536
/* What an end takes that has not said: RFC 9293 3.7.1 */
#define DEFAULT_MSS 536
/* The largest window: RFC 7323 2.3 */
#define WINDOW_MAX (1 << 30)
/* Where we take the data, no more than some times RECEIVER_CAP was offered */
#define CHANGED_WINDOW_MAX (1 << 20)
/* What waits for a receiver at most; a sender that keeps to its window does not
 * come near
 */
#define WAITING_MAX (2 * RECEIVER_CAP)

/* ---- numbers, as the other end sees them ---- */

/* The number after the last byte that came in order, and the end if it came */
static uint32_t received(const struct half *h)
{
	return h->in.next + receiver_ended(&h->in);
}

/* What has been put in */
static uint32_t offset(const struct half *h)
{
	if (h->reading)
		return h->out.end - h->in.next;
	return h->begun ? h->last_out - h->last_in : 0;
}

/* What the sender of @h is told to have been received, where the receiver says
 * @ack
 */
static uint32_t ack_of(const struct half *h, uint32_t ack)
{
	if (!h->begun)
		return ack;
	if (h->elder && seq_before(ack, h->first))
		return seq_max(ack, h->acked);
	return h->reading ? received(h) : ack - offset(h);
}

/* What the receiver of the bytes of end @from expects next, as far as we know.
 * Beyond its window it would ask back: two that do would never end.
 */
static uint32_t next_out(const struct stream *s, int from)
{
	const struct half *h = &s->half[from], *back = &s->half[!from];
	uint32_t seen = h->seen + offset(h);
	int32_t ahead = seq_diff(seen, back->ack);

	if (h->reading)
		return seq_max(h->out.nxt, seq_min(h->shown, h->out.edge));
	return back->heard && (ahead < 0 || ahead > WINDOW_MAX) ? back->ack
								: seen;
}

/*
 * The window for the sender of @h beside @ack, where the receiver offers
 * @window: no more than there is room for here. It has been told more than the
 * receiver has said, and its end does not go back (RFC 9293 3.8.6) but where
 * the scale would make it creep forward for ever. Before packets pass, the
 * receiver has to catch up with it.
 */
static uint16_t window_of(const struct half *h, uint32_t ack, uint16_t window,
			  uint8_t scale)
{
	size_t used = receiver_held(&h->in) + sender_waiting(&h->out);
	size_t room = used < RECEIVER_CAP ? RECEIVER_CAP - used : 0;
	size_t size = (size_t)window << scale, up = ((size_t)1 << scale) - 1;
	int32_t offered = seq_diff(h->edge, ack), real;

	if (!h->reading)
		return window;
	if (h->raw) {
		real = seq_diff(h->out.edge - offset(h), ack);
		size = real > 0 ? (size_t)real : 0;
	}
	if (size > room)
		size = room;
	if (offered > 0 && size <= (size_t)offered) {
		size = (size_t)offered;
		if (((size + up) & ~up) <= room)
			size += up;
	}
	size >>= scale;
	return size < UINT16_MAX ? (uint16_t)size : UINT16_MAX;
}

/* ---- packets of our own ---- */

/* What every segment in the name of end @from says */
static void fill(const struct stream *s, int from, struct segment *seg)
{
	const struct half *h = &s->half[from], *back = &s->half[!from];

	seg->ack = ack_of(back, h->ack);
	seg->window = window_of(back, seg->ack, h->window, s->wscale[from]);
	seg->flags |= TH_ACK;
	seg->stamped = s->stamped;
	seg->ts_val = h->ts_val;
	seg->ts_ecr = back->ts_val;
}

static void note(const struct stream_env *env, int from, enum stream_note what)
{
	env->ops->note(env->ctx, from, what, MESSAGE_OK);
}

static void change(struct stream *s, const struct stream_env *env, int from)
{
	if (s->changed)
		return;
	s->changed = true;
	/* Until now their senders took care of losses */
	for (int i = 0; i < 2; i++)
		sender_restart(&s->half[i].out, env->now_ms);
	note(env, from, STREAM_CHANGED);
}

static uint32_t edge_of(const struct stream *s, int from,
			const struct segment *seg)
{
	return seg->ack + ((uint32_t)seg->window << s->wscale[from]);
}

/* The other end hears it */
static void tell(struct stream *s, int from, const struct segment *seg)
{
	struct half *back = &s->half[!from];

	back->acked = seg->ack;
	back->edge = edge_of(s, from, seg);
}

static void send_own(struct stream *s, const struct stream_env *env, int from,
		     struct segment *seg)
{
	change(s, env, from);
	fill(s, from, seg);
	tell(s, from, seg);
	env->ops->send(env->ctx, from, seg);
}

/* Acknowledge what end @to sent, in the other end's name; what came out of
 * order is named, so that it repeats only the rest
 */
static void send_ack(struct stream *s, const struct stream_env *env, int to)
{
	const struct half *h = &s->half[to];
	struct segment seg = { .seq = next_out(s, !to) };

	if (s->sack_ok)
		seg.sacks = receiver_sacks(&h->in, seg.sack, SEGMENT_SACKS - 1);
	/* While older bytes are under way it would look like a loss of them */
	if (h->elder && !seg.sacks && ack_of(h, s->half[!to].ack) == h->acked)
		return;
	send_own(s, env, !to, &seg);
}

/* All that may go now but the last, which is left to the caller */
static bool send_all_but_last(struct stream *s, const struct stream_env *env,
			      int from, size_t options, struct segment *last)
{
	struct sender *out = &s->half[from].out;
	struct segment seg = { 0 };
	bool have = false;

	if (s->stamped && options < STAMP_LEN)
		options = STAMP_LEN;
	if (env->offline)
		sender_open(out);
	while (sender_next(out, options, &seg, env->now_ms)) {
		if (have)
			send_own(s, env, from, last);
		*last = seg;
		have = true;
	}
	if (env->offline)
		sender_delivered(out);
	return have;
}

static void send_all(struct stream *s, const struct stream_env *env, int from)
{
	struct segment last = { 0 };

	if (send_all_but_last(s, env, from, 0, &last))
		send_own(s, env, from, &last);
}

/* ---- beginning and end of reading ---- */

void stream_init(struct stream *s)
{
	memset(s, 0, sizeof(*s));
}

void stream_adopt(struct stream *s, const uint8_t wscale[2])
{
	stream_init(s);
	s->pick_up = true;
	memcpy(s->wscale, wscale, sizeof(s->wscale));
}

void stream_refuse(struct stream *s)
{
	stream_init(s);
	s->closed = true;
}

static void half_free(struct half *h, struct tcp_memory *memory)
{
	receiver_free(&h->in, memory);
	sender_free(&h->out, memory);
}

void stream_free(struct stream *s, struct tcp_memory *memory)
{
	half_free(&s->half[0], memory);
	half_free(&s->half[1], memory);
}

/* Bytes from @seq on are read; older ones are acknowledged up to @una */
static void begin(struct half *h, uint32_t seq, uint32_t una, uint16_t mss)
{
	receiver_init(&h->in, seq);
	sender_init(&h->out, seq, mss);
	h->out.una = una;
	h->framer = (struct framer){ 0 };
	h->skip = 0;
	h->first = seq;
	h->elder = seq_before(una, seq);
	h->acked = una;
	h->shown = seq;
	h->reading = h->begun = true;
	h->raw = false;
}

/* Nothing is kept any more: what comes after this is shifted */
static void end_here(struct half *h)
{
	if (!h->begun)
		return;
	if (h->reading) {
		h->last_in = received(h);
		h->last_out = h->out.end + h->out.fin;
	}
	h->reading = false;
}

static void close_all(struct stream *s, const struct stream_env *env)
{
	for (int i = 0; i < 2; i++) {
		end_here(&s->half[i]);
		half_free(&s->half[i], env->memory);
	}
	s->closed = true;
}

static void reset_end(struct stream *s, const struct stream_env *env, int to)
{
	const struct half *h = &s->half[!to];
	struct segment seg = {
		.seq = h->reading ? h->out.nxt : next_out(s, !to),
		.flags = TH_RST,
	};

	send_own(s, env, !to, &seg);
}

void stream_abort(struct stream *s, const struct stream_env *env)
{
	if (!s->changed || s->closed)
		return;
	reset_end(s, env, 0);
	reset_end(s, env, 1);
	close_all(s, env);
	note(env, 0, STREAM_RESET);
}

/* ---- bytes in order ---- */

/* Put bytes into the sender's queue; false without memory */
static bool put(struct half *h, const struct stream_env *env, struct span bytes)
{
	char *room;

	if (!bytes.len)
		return true;
	room = sender_room(&h->out, bytes.len, env->memory);
	if (!room)
		return false;
	memcpy(room, bytes.ptr, bytes.len);
	sender_add(&h->out, bytes.len);
	return true;
}

/* A message goes on, changed or not */
static bool put_message(struct stream *s, const struct stream_env *env,
			int from)
{
	struct span whole = env->msg->whole;
	struct span bytes = env->ops->message(env->ctx, from, env->msg);

	/* Watched: what would be changed is only told */
	if (s->watched && !s->changed)
		return put(&s->half[from], env, whole);
	if (!span_eq(bytes, whole))
		change(s, env, from);
	return put(&s->half[from], env, bytes);
}

static void starve(struct stream *s, const struct stream_env *env, int from);

/* What waits for the rest of its message goes on as it is */
static void flush(struct stream *s, const struct stream_env *env, int from)
{
	struct half *h = &s->half[from];
	struct span held = { h->in.buf.ptr, receiver_held(&h->in) };

	if (!h->raw || !held.len)
		return;
	if (put(h, env, held))
		receiver_consume(&h->in, held, held.len, env->memory);
	else
		starve(s, env, from);
}

/*
 * Read no more. Where nothing was changed, packets pass from now on. Else
 * senders have been told that bytes arrived, and of room for more, which the
 * receivers do not know of yet: until they do, bytes still go through the
 * queue.
 */
static void end_reading(struct stream *s, const struct stream_env *env)
{
	s->pick_up = false;
	for (int i = 0; i < 2; i++) {
		struct half *h = &s->half[i];

		h->raw = h->reading && s->changed;
		if (h->raw)
			continue;
		if (!s->changed)
			h->reading = h->begun = false;
		half_free(h, env->memory);
	}
}

/* There is no memory for bytes that came in order. Those that have not been
 * acknowledged will come again, and pass if nothing goes before them
 */
static void starve(struct stream *s, const struct stream_env *env, int from)
{
	struct half *h = &s->half[from];

	note(env, from, STREAM_NO_MEMORY);
	end_reading(s, env);
	if (!s->changed)
		return;
	if (seq_before(h->in.base, h->acked)) {
		stream_abort(s, env);
		return;
	}
	receiver_forget(&h->in, env->memory);
	if (h->raw && !h->elder && !h->out.fin && sender_is_done(&h->out)) {
		end_here(h);
		half_free(h, env->memory);
	}
}

void stream_plain(struct stream *s, const struct stream_env *env)
{
	end_reading(s, env);
	for (int i = 0; i < 2; i++) {
		if (!s->closed)
			flush(s, env, i);
	}
	for (int i = 0; i < 2 && s->changed && !s->closed; i++)
		send_all(s, env, i);
}

/* Packets pass from now on, if all that was taken has arrived */
static void settle(struct half *h, const struct stream_env *env)
{
	if (!h->reading || !h->raw || h->elder || h->in.fin_seen ||
	    h->in.beyond.count || receiver_held(&h->in) ||
	    !sender_is_done(&h->out))
		return;
	if (!env->offline && seq_before(h->out.edge - offset(h), h->edge))
		return;
	end_here(h);
	half_free(h, env->memory);
}

/* One frame of @rest. Return: bytes done with; 0 if that is all for now;
 * -EINVAL if it is not to be read; -ENOMEM
 */
static long read_frame(struct stream *s, const struct stream_env *env, int from,
		       struct span rest)
{
	struct half *h = &s->half[from];
	struct framer *framer = &h->framer;
	struct span piece = rest;
	bool ok;

	switch (frame_next(framer, rest, env->max_message, env->msg)) {
	case FRAME_MORE:
		return 0;
	case FRAME_MESSAGE:
		piece.len = framer->len;
		ok = put_message(s, env, from);
		break;
	case FRAME_BLANK:
		piece.len = framer->len;
		ok = put(h, env, piece);
		note(env, from, STREAM_BLANK);
		break;
	case FRAME_LONG:
		note(env, from, STREAM_LONG);
		piece.len = framer->len < rest.len ? framer->len : rest.len;
		h->skip = framer->len - piece.len;
		ok = put(h, env, piece);
		break;
	case FRAME_BROKEN:
		env->ops->note(env->ctx, from, STREAM_BROKEN, framer->status);
		return -EINVAL;
	default:
		note(env, from, STREAM_ALIEN);
		return -EINVAL;
	}
	*framer = (struct framer){ 0 };
	return ok ? (long)piece.len : -ENOMEM;
}

/* The same for what is not read */
static long read_piece(struct half *h, const struct stream_env *env,
		       struct span rest)
{
	if (!h->raw && rest.len > h->skip)
		rest.len = h->skip;
	if (!put(h, env, rest))
		return -ENOMEM;
	if (!h->raw)
		h->skip -= rest.len;
	return (long)rest.len;
}

static void read_stream(struct stream *s, const struct stream_env *env,
			int from, struct span ready)
{
	struct half *h = &s->half[from];
	size_t used = 0;
	long n = 1;

	while (used < ready.len && n > 0) {
		struct span rest = { ready.ptr + used, ready.len - used };

		n = h->raw || h->skip ? read_piece(h, env, rest)
				      : read_frame(s, env, from, rest);
		if (n == -EINVAL) {
			end_reading(s, env);
			if (!s->changed)
				return;
			n = read_piece(h, env, rest);
		}
		if (n > 0)
			used += (size_t)n;
	}
	if (receiver_consume(&h->in, ready, used, env->memory) || n < 0)
		starve(s, env, from);
	if (!s->closed)
		flush(s, env, !from);
}

/* The end of the stream came in order: an unfinished message goes as it is */
static void read_end(struct stream *s, const struct stream_env *env, int from)
{
	struct half *h = &s->half[from];
	struct span held = { h->in.buf.ptr, receiver_held(&h->in) };

	if (!h->reading || h->out.fin || !receiver_ended(&h->in))
		return;
	if (!put(h, env, held)) {
		starve(s, env, from);
		return;
	}
	h->in.base = h->in.next;
	h->out.fin = true;
}

/* ---- a packet ---- */

static uint32_t end_of(const struct segment *seg)
{
	return seg->seq + segment_len(seg);
}

/* A number that no end can mean: it is for the other end to refuse */
static bool is_stray(const struct stream *s, int from, const struct segment *in)
{
	const struct half *h = &s->half[from];
	int32_t off = seq_diff(end_of(in), received(h));
	int32_t most = s->changed ? CHANGED_WINDOW_MAX : WINDOW_MAX;

	return h->reading && (off > most || off < -most);
}

/* Nor an acknowledgement that is missing or long gone: what we take is believed
 * by the other end (RFC 9293 3.10.7.4, fifth; RFC 5961 5.2)
 */
static bool is_forged(const struct stream *s, int from,
		      const struct segment *in)
{
	const struct half *back = &s->half[!from];

	return !(in->flags & TH_ACK) ||
	       (back->reading &&
		seq_diff(in->ack, back->out.una) < -CHANGED_WINDOW_MAX);
}

/* What has not been sent is acknowledged: RFC 9293 3.10.7.4, fifth */
static bool is_ahead(const struct stream *s, int from, const struct segment *in)
{
	const struct half *back = &s->half[!from];

	return s->changed && back->reading && in->flags & TH_ACK &&
	       seq_before(back->out.nxt, in->ack);
}

/* Numbers are the same on both sides of us, and nothing waits here */
static bool is_even(const struct half *h)
{
	return !h->raw && h->out.end == h->in.next && !receiver_held(&h->in) &&
	       sender_is_done(&h->out);
}

/*
 * Bytes are acknowledged that never came by: the queue was full and let them
 * pass, or they took another way, or are missing in a capture. Where bytes have
 * been put in there is no way back.
 */
static bool is_unseen(const struct stream *s, const struct stream_env *env,
		      int from, const struct segment *in)
{
	const struct half *h = &s->half[from], *back = &s->half[!from];

	/* Not by a packet that anybody could have made */
	if (!env->offline &&
	    (in->seq != received(h) || (s->changed && !is_even(back))))
		return false;
	return back->reading && in->flags & TH_ACK &&
	       seq_before(seq_max(received(back), back->out.nxt), in->ack);
}

/* So it cannot be read; what came out of order will come again, and pass */
static void lose_sight(struct stream *s, const struct stream_env *env, int from)
{
	struct half *back = &s->half[!from];

	note(env, from, STREAM_UNSEEN);
	stream_plain(s, env);
	if (!s->changed || s->closed || !back->reading || env->offline)
		return;
	end_here(back);
	half_free(back, env->memory);
}

/* An acknowledgement that came late says nothing: RFC 9293 3.10.7.4, fifth */
static bool is_latest(const struct half *h, const struct segment *in)
{
	return !h->heard || seq_before(h->ack, in->ack) ||
	       (h->ack == in->ack && !seq_before(in->seq, h->at));
}

static void remember(struct stream *s, int from, const struct segment *in)
{
	struct half *h = &s->half[from];

	if (!h->heard || seq_before(h->seen, end_of(in)))
		h->seen = end_of(in);
	h->shown = seq_max(h->shown, h->out.nxt);
	h->resized = in->window != h->window;
	if (in->flags & TH_ACK && is_latest(h, in)) {
		h->at = in->seq;
		h->ack = in->ack;
		h->window = in->window;
	}
	if (!h->begun && !s->half[!from].begun)
		s->stamped = in->stamped;
	if (in->stamped && (!h->heard || seq_before(h->ts_val, in->ts_val)))
		h->ts_val = in->ts_val;
	h->heard = h->heard || in->flags & TH_ACK;
	h->rests = !segment_len(in) && in->seq == h->seen;
	h->fin = h->fin || in->flags & TH_FIN;
}

/* RFC 9293 3.8.4: one number back, at most a byte */
static bool is_probe(const struct half *h, const struct segment *in)
{
	return in->data.len <= 1 && !(in->flags & TH_FIN) &&
	       in->seq + 1 == received(h);
}

/* What the packet carries; true if end @from must be told what came of it */
static bool take_data(struct stream *s, const struct stream_env *env, int from,
		      const struct segment *in)
{
	struct half *h = &s->half[from];
	uint32_t before = received(h);
	struct span ready;

	if (!h->reading)
		return false;
	if (!segment_len(in))
		return s->changed && is_probe(h, in);
	/* It does not keep to its window */
	if (s->changed && sender_waiting(&h->out) > WAITING_MAX)
		return true;
	if (receiver_take(&h->in, in, env->memory, &ready)) {
		starve(s, env, from);
		return false;
	}
	if (received(h) != before) {
		read_stream(s, env, from, ready);
		read_end(s, env, from);
		return receiver_held(&h->in);
	}
	if (seq_before(before, end_of(in)))
		return true; /* out of order, or it found no room */
	/* It is repeated: because nobody acknowledged it, or that got lost */
	if (!s->changed)
		return false;
	if (sender_is_done(&h->out) || !seq_before(h->acked, end_of(in)))
		return true;
	sender_repeat(&h->out);
	return false;
}

/* What the receiver of @h would have said, had it got what left instead of what
 * was captured
 */
static uint32_t live_ack(const struct half *h, uint32_t ack)
{
	int32_t beyond = seq_diff(ack, received(h));

	if (!h->begun || seq_before(ack, h->first))
		return ack;
	if (!h->reading)
		return seq_before(ack, h->last_in) ? h->out.una
						   : ack + offset(h);
	return beyond < 0 ? h->out.una : h->out.nxt + (uint32_t)beyond;
}

/* In a plain half older bytes are forgotten, for numbers wrap */
static void move_on(struct half *h, uint32_t ack)
{
	uint32_t put_in = offset(h);

	if (!seq_before(h->last_out, ack) || seq_before(h->seen + put_in, ack))
		return;
	h->last_out = ack;
	h->last_in = ack - put_in;
}

/* What the packet says of the bytes that the other end sent */
static void take_ack(struct stream *s, const struct stream_env *env, int from,
		     const struct segment *in)
{
	struct half *back = &s->half[!from];
	uint32_t ack = in->ack;

	if (!back->begun || !(in->flags & TH_ACK))
		return;
	if (!back->reading) {
		move_on(back, ack);
		return;
	}
	/* What passed is not in the queue */
	if (!s->changed)
		ack = seq_min(ack, back->out.nxt);
	sender_ack(&back->out, in, ack, env->now_ms);
	if (!seq_before(back->out.una, back->first))
		back->elder = false;
	settle(back, env);
}

/* Selective acknowledgements of the plain part of @back */
static void plain_sacks(const struct half *back, const struct segment *in,
			struct segment *out)
{
	for (unsigned int i = 0; i < in->sacks; i++) {
		struct range r = in->sack[i];

		r.first -= offset(back);
		r.end -= offset(back);
		out->sack[out->sacks++] = r;
	}
}

/* The packet without what was held back, or with what may go instead */
static void shape(struct stream *s, int from, const struct segment *in,
		  struct segment *out)
{
	const struct half *back = &s->half[!from];

	out->ack = in->flags & TH_ACK ? ack_of(back, in->ack) : 0;
	out->window = window_of(back, out->ack, in->window, s->wscale[from]);
	out->flags |= in->flags & (TH_ACK | 0xc0); /* ECE, CWR */
	/* Older than what was said by us, it would be refused: RFC 7323 5 */
	if (in->stamped) {
		out->ts_val = s->half[from].ts_val;
		out->ts_ecr = in->ts_ecr;
	}
	out->sacks = 0;
	if (back->reading)
		out->sacks = receiver_sacks(&back->in, out->sack, in->sacks);
	else
		plain_sacks(back, in, out);
}

/* The packet's own bytes, of a plain half. Of those that went through the queue
 * the receiver has all
 */
static void plain_part(const struct half *h, const struct segment *in,
		       struct segment *out)
{
	int32_t old = h->begun ? seq_diff(h->last_in, in->seq) : 0;

	/* It will say so */
	if (old < 0 || (uint32_t)old >= segment_len(in))
		old = 0;
	out->seq = in->seq + (uint32_t)old + offset(h);
	out->flags = in->flags;
	out->data = in->data;
	if (old)
		out->data =
			span_between(in->data.ptr + old, span_end(in->data));
}

/* One that carries nothing new is for the other end to answer */
static bool is_keepalive(const struct half *h, const struct segment *in)
{
	return h->reading && is_probe(h, in) && sender_is_done(&h->out) &&
	       !receiver_held(&h->in);
}

/* It answers what we have sent, not what the other end has; or it tells of a
 * window, not of something that came twice
 */
static bool is_for_us(const struct stream *s, int from,
		      const struct segment *in)
{
	const struct half *h = &s->half[from], *back = &s->half[!from];

	return back->reading && !back->elder && !segment_len(in) &&
	       (!sender_is_done(&back->out) || h->resized);
}

/* Without data it says nothing that was not said before */
static bool is_known(const struct stream *s, int from,
		     const struct segment *out)
{
	const struct half *back = &s->half[!from];

	return !segment_len(out) && !out->sacks && out->ack == back->acked &&
	       edge_of(s, from, out) == back->edge;
}

/* What goes on in the packet's place. @told: bytes of ours are in it */
static void forward(struct stream *s, const struct stream_env *env, int from,
		    const struct segment *in, bool *told, struct segment *out)
{
	const struct half *h = &s->half[from];

	*out = *in;
	out->flags = 0;
	*told = h->reading && send_all_but_last(s, env, from, in->options, out);
	if (!h->reading) {
		plain_part(h, in, out);
	} else if (!*told) {
		out->seq = next_out(s, from);
		out->data = (struct span){ 0 };
	}
	shape(s, from, in, out);
}

/* It goes on as it came: nothing has been changed in this connection yet */
static void passed(struct stream *s, int from, const struct segment *in)
{
	struct half *h = &s->half[from], *back = &s->half[!from];

	if (h->reading) {
		h->shown = seq_max(h->shown, in->seq);
		/* Its sender repeats it, if need be */
		sender_passed(&h->out);
		h->first = h->out.end;
		h->elder = seq_before(h->out.una, h->first);
	}
	if (in->flags & TH_ACK) {
		back->acked = seq_max(back->acked, in->ack);
		back->edge = seq_max(back->edge, edge_of(s, from, in));
	}
}

/* Bytes that were there before we read go on as they are */
static void send_elder(struct stream *s, const struct stream_env *env, int from,
		       const struct segment *in)
{
	const struct half *h = &s->half[from];
	int32_t len = seq_diff(h->first, in->seq);
	struct span rest = in->data;

	if (!s->changed || !h->elder || len <= 0)
		return;
	if (rest.len > (size_t)len)
		rest.len = (size_t)len;
	while (rest.len) {
		size_t most = sender_payload(&h->out, STAMP_LEN);
		struct segment seg = {
			.seq = h->first -
			       (uint32_t)(len - (rest.ptr - in->data.ptr)),
			.flags = TH_PUSH,
			.data = rest,
		};

		if (rest.len > most)
			seg.data.len = most;
		rest = span_between(span_end(seg.data), span_end(rest));
		send_own(s, env, from, &seg);
	}
}

/* Bytes that wait for the rest of their message, or for what is missing */
static bool is_within(const struct half *h)
{
	return h->reading && (receiver_held(&h->in) || h->in.beyond.count);
}

/* May packets be changed now? Not while part of a message has passed */
static bool is_dry(struct stream *s, const struct stream_env *env)
{
	if (s->changed)
		return false;
	s->watched = env->dry || (s->watched && (is_within(&s->half[0]) ||
						 is_within(&s->half[1])));
	return s->watched;
}

/*
 * Its sender has sent more by then, which came after it or is lost. Passed as
 * it is, its number could lie beyond all to come once that has shrunk, and its
 * receiver would take them for older: RFC 9293 3.10.7.4, fifth, SND.WL1.
 */
static bool is_early(const struct half *h, const struct segment *in)
{
	return h->reading && seq_before(received(h), in->seq);
}

static enum stream_verdict exchange(struct stream *s,
				    const struct stream_env *env, int from,
				    const struct segment *in,
				    struct segment *out)
{
	struct half *h = &s->half[from];
	enum stream_verdict verdict = STREAM_REPLACE;
	bool dry, answer, told, for_us = is_for_us(s, from, in);

	if (is_unseen(s, env, from, in))
		lose_sight(s, env, from);
	dry = is_dry(s, env);
	take_ack(s, env, from, in);
	if (s->changed && is_keepalive(h, in)) {
		*out = *in;
		out->flags = in->flags & TH_PUSH;
		out->seq = h->out.nxt - 1;
		shape(s, from, in, out);
		tell(s, from, out);
		return STREAM_REPLACE;
	}
	send_elder(s, env, from, in);
	answer = take_data(s, env, from, in);
	if (s->closed)
		return STREAM_DROP;
	if (dry || (!s->changed && !answer && !is_early(h, in))) {
		passed(s, from, in);
		return STREAM_PASS;
	}
	change(s, env, from);
	forward(s, env, from, in, &told, out);
	if ((segment_len(in) || for_us) && is_known(s, from, out))
		verdict = STREAM_DROP;
	else
		tell(s, from, out);
	if (answer || (h->reading && segment_len(in) &&
		       (!told || sender_is_late(&h->out))))
		send_ack(s, env, from);
	send_all(s, env, !from);
	return verdict;
}

/* ---- SYN and RST ---- */

/* Both ends agree: bytes are read from the first one on */
static void open_stream(struct stream *s, int from, const struct segment *in)
{
	const struct opening *syn = s->syn;
	bool scaled = syn[0].scaled && syn[1].scaled;

	for (int i = 0; i < 2; i++) {
		struct half *h = &s->half[i];
		uint16_t mss = syn[!i].mss ? syn[!i].mss : DEFAULT_MSS;

		begin(h, syn[i].isn + 1, syn[i].isn + 1, mss);
		h->edge = h->out.edge = h->first + syn[!i].window;
		h->out.wscale = scaled ? syn[!i].wscale : 0;
		h->out.wl1 = syn[!i].isn;
		s->wscale[!i] = h->out.wscale;
		h->heard = true;
		h->fin = false;
		h->seen = h->at = h->first;
		h->ack = syn[!i].isn + 1;
		/* That of a SYN is not scaled: RFC 7323 2.2 */
		h->window = (uint16_t)(syn[i].window >>
				       (scaled ? syn[i].wscale : 0));
	}
	s->sack_ok = syn[0].sack_ok && syn[1].sack_ok;
	s->stamped = in->stamped;
	s->half[from].ts_val = in->ts_val;
	s->half[!from].ts_val = in->ts_ecr;
}

/* Both ends have said how they begin: @in is the first that follows from it */
static void renew(struct stream *s, const struct stream_env *env, int from,
		  const struct segment *in)
{
	struct opening *syn = s->syn;

	stream_free(s, env->memory);
	s->half[0] = s->half[1] = (struct half){ 0 };
	s->changed = s->closed = s->pick_up = s->watched = false;
	syn[0].used = syn[1].used = true;
	/* Data taken before both have agreed is out of our hands */
	s->sealed =
		syn[0].sealed || syn[1].sealed || syn[0].taken || syn[1].taken;
	if (!s->sealed)
		open_stream(s, from, in);
}

/*
 * A SYN that answers the other one begins a connection, anew perhaps. Where one
 * lives that cannot do without us it may be a late one, or a forgery: its ends
 * ask back, and the reset that follows is believed (RFC 5961 4). But both may
 * have died.
 */
static void take_syn(struct stream *s, const struct stream_env *env, int from,
		     const struct segment *in)
{
	struct opening *syn = &s->syn[from], *other = &s->syn[!from];
	bool answer = in->flags & TH_ACK;
	bool used = syn->used && syn->isn == in->seq;
	uint32_t early = in->ack - (other->isn + 1);

	if (answer && (!other->seen || early > other->len))
		return;
	*syn = (struct opening){ .seen = true,
				 .answer = answer,
				 .used = used,
				 .scaled = in->scaled,
				 .sack_ok = in->sack_ok,
				 .sealed = in->sealed,
				 .taken = in->data.len && answer,
				 .isn = in->seq,
				 .mss = in->mss,
				 .window = in->window,
				 .len = (uint16_t)in->data.len,
				 .wscale = in->wscale };
	if (!answer || (used && other->used))
		return;
	other->taken = early;
	if (!s->changed || stream_is_over(s))
		renew(s, env, from, in);
}

/* The third packet of a connection in the place of one that lives, we think */
static bool is_third(const struct stream *s, int from, const struct segment *in)
{
	const struct opening *syn = &s->syn[from], *other = &s->syn[!from];

	return s->changed && syn->seen && other->answer && !syn->used &&
	       !other->used && in->flags & TH_ACK && in->seq == syn->isn + 1 &&
	       in->ack == other->isn + 1;
}

static enum stream_verdict handshake(struct stream *s,
				     const struct stream_env *env, int from,
				     const struct segment *in,
				     struct segment *out)
{
	take_syn(s, env, from, in);
	if (env->dry || in->sealed || in->mss < CLAMP_FROM + STREAM_CLAMP)
		return STREAM_PASS;
	*out = *in;
	out->mss = (uint16_t)(in->mss - STREAM_CLAMP);
	return STREAM_REPLACE;
}

/*
 * Conntrack would not take a number that is not the one it saw acknowledged:
 * so the reset is sent by us, and the caller ends the entry. One that is not
 * exact goes on as it is; its receiver asks back (RFC 5961 3.2).
 */
static enum stream_verdict reset(struct stream *s, const struct stream_env *env,
				 int from, const struct segment *in,
				 struct segment *out)
{
	struct half *h = &s->half[from];
	int32_t off = seq_diff(in->seq, h->reading ? received(h) : h->seen);
	uint32_t next = h->reading ? h->out.nxt : h->seen + offset(h);
	struct segment seg = { .seq = next, .flags = TH_RST };

	if (!s->changed)
		return STREAM_PASS;
	if (off) {
		*out = *in;
		out->seq = next + (uint32_t)off;
		shape(s, from, in, out);
		out->flags = in->flags;
		return STREAM_REPLACE;
	}
	send_own(s, env, from, &seg);
	close_all(s, env);
	note(env, from, STREAM_RESET);
	return STREAM_DROP;
}

/* It answers a SYN: of another connection in the place of the one that has
 * ended, or of an end that has not heard that there was one
 */
static bool refuses_syn(const struct stream *s, int from,
			const struct segment *in)
{
	const struct opening *own = &s->syn[from], *syn = &s->syn[!from];

	/* One that answered has said where to begin: RFC 9293 3.10.7.1 */
	if (!(in->flags & TH_ACK))
		return syn->answer && own->seen && in->seq == own->isn + 1;
	return syn->seen && !syn->used && in->ack - (syn->isn + 1) <= syn->len;
}

/* Who still sends has not heard of the end: RFC 9293 3.10.7.1 */
static enum stream_verdict refuse(const struct stream *s,
				  const struct stream_env *env, int from,
				  const struct segment *in)
{
	struct segment seg = { .seq = in->ack, .flags = TH_RST };

	if (in->flags & TH_RST)
		return refuses_syn(s, from, in) ? STREAM_PASS : STREAM_DROP;
	if (in->flags & TH_ACK)
		env->ops->send(env->ctx, !from, &seg);
	return STREAM_DROP;
}

/*
 * Does the data come for the first time, and is it the first that the receiver
 * has not got? Before we came it may have passed as it was, and a receiver that
 * has some of it must not get something else.
 */
static bool is_fresh(const struct stream *s, int from, const struct segment *in)
{
	const struct half *h = &s->half[from], *back = &s->half[!from];

	return h->rests && in->seq == h->seen && back->heard &&
	       in->seq == back->ack;
}

/* What an older connection is read from. "TIFY sip:..." may be how a segment
 * begins that no message begins with. IANA "SIP Parameters", methods
 */
static bool is_usual(const struct message *msg)
{
	static const char *const methods[] = {
		"ACK",	   "BYE",      "CANCEL",    "INFO",   "INVITE",
		"MESSAGE", "NOTIFY",   "OPTIONS",   "PRACK",  "PUBLISH",
		"REFER",   "REGISTER", "SUBSCRIBE", "UPDATE",
	};
	const char *space = span_chr(msg->whole, ' ');

	if (!message_is_request(msg))
		return true;
	for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
		if (space && span_eq(span_between(msg->whole.ptr, space),
				     span_from_str(methods[i])))
			return true;
	}
	return false;
}

/* A segment that begins with a start line: reading begins there */
static void pick_up(struct stream *s, const struct stream_env *env, int from,
		    const struct segment *in)
{
	struct half *h = &s->half[from], *back = &s->half[!from];
	struct framer framer = { 0 };
	enum frame_kind kind;

	if (!s->pick_up || h->begun || !in->data.len || !is_fresh(s, from, in))
		return;
	kind = frame_next(&framer, in->data, env->max_message, env->msg);
	if (kind == FRAME_BLANK)
		return;
	/* "I" may begin a message, or be a letter in one */
	if (kind != FRAME_MESSAGE && kind != FRAME_LONG && !framer.started) {
		note(env, from, STREAM_ALIEN);
		stream_plain(s, env);
		return;
	}
	if (!is_usual(env->msg))
		return;
	begin(h, in->seq, back->ack,
	      in->data.len < DEFAULT_MSS ? DEFAULT_MSS
					 : (uint16_t)in->data.len);
	h->out.wscale = s->wscale[!from];
	h->out.wl1 = back->at;
	h->edge = h->out.edge =
		back->ack + ((uint32_t)back->window << s->wscale[!from]);
}

/* Others' bytes than ours have arrived: a full queue let them pass before the
 * first change. There is no way back; but it is not believed to a packet that
 * anybody could have made
 */
static enum stream_verdict ahead(struct stream *s, const struct stream_env *env,
				 int from, const struct segment *in)
{
	if (in->seq != received(&s->half[from]))
		return STREAM_DROP;
	stream_abort(s, env);
	return refuse(s, env, from, in);
}

enum stream_verdict stream_segment(struct stream *s,
				   const struct stream_env *env, int from,
				   const struct segment *in,
				   struct segment *out)
{
	struct segment live;

	if (in->flags & TH_SYN)
		return handshake(s, env, from, in, out);
	if (in->sealed && !s->changed && !s->sealed) {
		s->sealed = true;
		stream_plain(s, env);
	}
	if (is_third(s, from, in))
		renew(s, env, from, in);
	if (s->sealed)
		return STREAM_PASS;
	if (s->closed)
		return refuse(s, env, from, in);
	if (in->flags & TH_RST)
		return reset(s, env, from, in, out);
	if (env->offline) {
		live = *in;
		live.ack = live_ack(&s->half[!from], in->ack);
		in = &live;
	}
	if (is_stray(s, from, in) || (!env->offline && is_forged(s, from, in)))
		return s->changed ? STREAM_DROP : STREAM_PASS;
	if (!env->offline && is_ahead(s, from, in) &&
	    !is_unseen(s, env, from, in))
		return ahead(s, env, from, in);
	pick_up(s, env, from, in);
	remember(s, from, in);
	return exchange(s, env, from, in, out);
}

/* ---- time ---- */

uint64_t stream_due_ms(const struct stream *s)
{
	uint64_t a = s->half[0].out.due_ms, b = s->half[1].out.due_ms;

	if (!s->changed || s->closed)
		return 0;
	return a && (!b || a < b) ? a : b;
}

void stream_timeout(struct stream *s, const struct stream_env *env)
{
	if (!s->changed || s->closed)
		return;
	for (int i = 0; i < 2; i++) {
		if (!sender_timeout(&s->half[i].out, env->now_ms)) {
			note(env, i, STREAM_GIVEN_UP);
			stream_abort(s, env);
			return;
		}
		send_all(s, env, i);
	}
}

static bool has_ended(const struct half *h)
{
	return h->reading ? h->out.fin && sender_is_done(&h->out) : h->fin;
}

static bool is_read(const struct half *h)
{
	return h->reading && !h->raw;
}

bool stream_is_read(const struct stream *s)
{
	return !s->sealed && !stream_is_over(s) &&
	       (is_read(&s->half[0]) || is_read(&s->half[1]));
}

bool stream_is_over(const struct stream *s)
{
	return s->closed || (has_ended(&s->half[0]) && has_ended(&s->half[1]));
}

void stream_narrow(struct stream *s, int from)
{
	sender_narrow(&s->half[from].out);
}

bool stream_holds(const struct stream *s)
{
	return receiver_held(&s->half[0].in) || receiver_held(&s->half[1].in);
}

void stream_rest(struct stream *s, struct tcp_memory *memory)
{
	for (int i = 0; i < 2; i++) {
		struct half *h = &s->half[i];

		if (!receiver_held(&h->in) && !h->in.beyond.count)
			buffer_free(&h->in.buf, memory);
		if (!sender_waiting(&h->out))
			buffer_free(&h->out.buf, memory);
	}
}
