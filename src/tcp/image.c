/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/image.h"

#include <errno.h>
#include <string.h>

#include "tcp/seq.h"

/* RFC 7323 2.3 */
#define WSCALE_MAX 14
/* Numbers of one connection are not further apart: half of what can be told */
#define NEAR (1 << 30)

#define NUMBER(type, member) FIELD(UINT, struct type, member)
#define FLAG(type, member) FIELD_FLAG(struct type, member)

static const struct field half_fields[] = {
	NUMBER(half_image, base),
	NUMBER(half_image, next),
	NUMBER(half_image, in_fin),
	NUMBER(half_image, una),
	NUMBER(half_image, nxt),
	NUMBER(half_image, end),
	NUMBER(half_image, out_edge),
	NUMBER(half_image, wl1),
	NUMBER(half_image, mss),
	NUMBER(half_image, full_mss),
	NUMBER(half_image, wscale),
	FLAG(half_image, fin_seen),
	FLAG(half_image, out_fin),
	FLAG(half_image, reading),
	FLAG(half_image, raw),
	FLAG(half_image, begun),
	FLAG(half_image, elder),
	FLAG(half_image, fin),
	FLAG(half_image, heard),
	FLAG(half_image, rests),
	FLAG(half_image, resized),
	NUMBER(half_image, first),
	NUMBER(half_image, last_in),
	NUMBER(half_image, last_out),
	NUMBER(half_image, acked),
	NUMBER(half_image, edge),
	NUMBER(half_image, shown),
	NUMBER(half_image, seen),
	NUMBER(half_image, at),
	NUMBER(half_image, ack),
	NUMBER(half_image, ts_val),
	NUMBER(half_image, window),
	NUMBER(half_image, skip),
	FIELD(TIME, struct half_image, due_ms),
	FIELD_SPAN(struct half_image, held, IMAGE_BYTES_MAX),
	FIELD_SPAN(struct half_image, queued, IMAGE_BYTES_MAX),
	{ 0 },
};

static const struct field opening_fields[] = {
	FLAG(opening, seen),
	FLAG(opening, answer),
	FLAG(opening, used),
	FLAG(opening, scaled),
	FLAG(opening, sack_ok),
	FLAG(opening, sealed),
	FLAG(opening, taken),
	NUMBER(opening, isn),
	NUMBER(opening, mss),
	NUMBER(opening, window),
	NUMBER(opening, len),
	NUMBER(opening, wscale),
	{ 0 },
};

const struct field stream_image_fields[] = {
	FIELD_ARRAY(struct stream_image, half, halves, half_fields),
	FIELD_ARRAY(struct stream_image, syn, syns, opening_fields),
	FLAG(stream_image, changed),
	FLAG(stream_image, watched),
	FLAG(stream_image, sealed),
	FLAG(stream_image, stamped),
	FLAG(stream_image, sack_ok),
	{ 0 },
};

/* ---- taking ---- */

static struct half_image take_half(const struct half *h)
{
	const struct receiver *in = &h->in;
	const struct sender *out = &h->out;
	size_t held = receiver_held(in), queued = sender_waiting(out);

	return (struct half_image){
		.base = in->base,
		.next = in->next,
		.in_fin = in->fin,
		.fin_seen = in->fin_seen,
		.una = out->una,
		.nxt = out->nxt,
		.end = out->end,
		.out_edge = out->edge,
		.wl1 = out->wl1,
		.out_fin = out->fin,
		.mss = out->mss,
		.full_mss = out->full_mss,
		.reading = h->reading,
		.raw = h->raw,
		.begun = h->begun,
		.elder = h->elder,
		.fin = h->fin,
		.heard = h->heard,
		.rests = h->rests,
		.resized = h->resized,
		.first = h->first,
		.last_in = h->last_in,
		.last_out = h->last_out,
		.acked = h->acked,
		.edge = h->edge,
		.shown = h->shown,
		.seen = h->seen,
		.at = h->at,
		.ack = h->ack,
		.ts_val = h->ts_val,
		.window = h->window,
		.skip = (uint32_t)h->skip,
		.due_ms = out->due_ms,
		.held = { held ? in->buf.ptr : NULL, held },
		.queued = { queued ? out->buf.ptr + out->head : NULL, queued },
	};
}

void stream_image_take(const struct stream *s, struct stream_image *image)
{
	*image = (struct stream_image){
		.halves = 2,
		.syns = 2,
		.changed = s->changed,
		.watched = s->watched,
		.sealed = s->sealed,
		.stamped = s->stamped,
		.sack_ok = s->sack_ok,
	};
	for (int i = 0; i < 2; i++) {
		image->half[i] = take_half(&s->half[i]);
		image->half[i].wscale = s->wscale[!i];
		image->syn[i] = s->syn[i];
	}
}

/* ---- restoring ---- */

/* @a is not beyond @b, nor far from it */
static bool in_order(uint32_t a, uint32_t b)
{
	return b - a <= NEAR;
}

/* What receiver and sender rely on */
static bool half_is_sound(const struct half_image *h)
{
	uint32_t end = h->end + h->out_fin;

	if (h->wscale > WSCALE_MAX || h->skip > NEAR ||
	    (h->reading && !h->begun))
		return false;
	if (!h->reading)
		return !h->held.len && !h->queued.len;
	return h->held.len == h->next - h->base &&
	       h->held.len <= RECEIVER_CAP &&
	       (!h->fin_seen || in_order(h->next, h->in_fin)) &&
	       h->queued.len <= IMAGE_BYTES_MAX && in_order(h->una, h->nxt) &&
	       in_order(h->nxt, end) &&
	       in_order(h->end - (uint32_t)h->queued.len, h->nxt);
}

static int fill(struct buffer *b, struct span bytes, struct tcp_memory *memory)
{
	int err = bytes.len ? buffer_reserve(b, bytes.len, memory) : 0;

	if (!err && bytes.len)
		memcpy(b->ptr, bytes.ptr, bytes.len);
	return err;
}

/* How it was cut is not known: in segments, or larger pieces if there is no
 * room for so many
 */
static void restore_flight(struct flight *f, struct range way, uint32_t mss)
{
	uint32_t step = (way.end - way.first) / FLIGHT_NEW + 1;

	if (step < mss)
		step = mss;
	while (way.first != way.end) {
		struct range piece = { way.first, way.end };

		if (piece.end - piece.first > step)
			piece.end = piece.first + step;
		flight_add(f, piece);
		way.first = piece.end;
	}
}

static int restore_sender(struct sender *out, const struct half_image *h,
			  struct tcp_memory *memory)
{
	struct range way = { h->end - (uint32_t)h->queued.len, h->nxt };

	sender_init(out, way.first, h->mss);
	out->una = h->una;
	out->nxt = h->nxt;
	out->end = h->end;
	out->edge = h->out_edge;
	out->wl1 = h->wl1;
	out->fin = h->out_fin;
	out->full_mss = h->full_mss > out->mss ? h->full_mss : out->mss;
	out->wscale = h->wscale;
	out->recover = h->una - 1;
	way.first = seq_max(way.first, h->una);
	restore_flight(&out->flight, way, out->mss);
	return fill(&out->buf, h->queued, memory);
}

/* Not later than it would have been: programs may come and go */
static void restart(struct sender *out, const struct half_image *from,
		    uint64_t now_ms)
{
	sender_restart(out, now_ms);
	if (out->due_ms && from->due_ms && from->due_ms < out->due_ms)
		out->due_ms = from->due_ms;
}

static int restore_half(struct half *h, const struct half_image *from,
			struct tcp_memory *memory)
{
	int err = 0;

	*h = (struct half){
		.reading = from->reading,
		.raw = from->raw,
		.begun = from->begun,
		.elder = from->elder,
		.fin = from->fin,
		.heard = from->heard,
		.rests = from->rests,
		.resized = from->resized,
		.first = from->first,
		.last_in = from->last_in,
		.last_out = from->last_out,
		.acked = from->acked,
		.edge = from->edge,
		.shown = from->shown,
		.seen = from->seen,
		.at = from->at,
		.ack = from->ack,
		.ts_val = from->ts_val,
		.window = from->window,
		.skip = from->skip,
	};
	if (from->reading) {
		receiver_init(&h->in, from->base);
		h->in.next = from->next;
		h->in.fin_seen = from->fin_seen;
		h->in.fin = from->in_fin;
		err = fill(&h->in.buf, from->held, memory);
	}
	if (from->reading && !err)
		err = restore_sender(&h->out, from, memory);
	return err;
}

int stream_image_restore(struct stream *s, const struct stream_image *image,
			 struct tcp_memory *memory, uint64_t now_ms)
{
	int err = 0;

	stream_init(s);
	if (image->halves != 2 || image->syns != 2 ||
	    !half_is_sound(&image->half[0]) || !half_is_sound(&image->half[1]))
		return -EINVAL;
	s->changed = image->changed;
	s->watched = image->watched;
	s->sealed = image->sealed;
	s->stamped = image->stamped;
	s->sack_ok = image->sack_ok;
	for (int i = 0; i < 2; i++) {
		s->syn[i] = image->syn[i];
		/* What an end offers scales the other one's sender */
		s->wscale[!i] = image->half[i].wscale;
		if (!err)
			err = restore_half(&s->half[i], &image->half[i],
					   memory);
		if (!err && s->changed && s->half[i].reading)
			restart(&s->half[i].out, &image->half[i], now_ms);
	}
	if (err) {
		stream_free(s, memory);
		stream_init(s);
	}
	return err;
}
