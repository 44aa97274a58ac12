/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/receiver.h"

#include <string.h>

#include "tcp/seq.h"

void receiver_init(struct receiver *r, uint32_t next)
{
	*r = (struct receiver){ .base = next, .next = next };
}

void receiver_free(struct receiver *r, struct tcp_memory *memory)
{
	buffer_free(&r->buf, memory);
	receiver_init(r, r->next);
}

/* Put bytes to their place in the buffer */
static int store(struct receiver *r, uint32_t seq, struct span data,
		 struct tcp_memory *memory)
{
	size_t at = seq - r->base;
	int err = buffer_reserve(&r->buf, at + data.len, memory);

	if (!err)
		memcpy(r->buf.ptr + at, data.ptr, data.len);
	return err;
}

/* What was beyond the hole is in order now */
static void close_hole(struct receiver *r)
{
	struct ranges *beyond = &r->beyond;

	/* A segment may cover some, and touch the next one */
	for (unsigned int i = 0; i < beyond->count; i++) {
		if (!seq_before(r->next, beyond->range[i].first))
			r->next = seq_max(r->next, beyond->range[i].end);
	}
	ranges_trim(beyond, r->next);
}

static struct span held(const struct receiver *r)
{
	return (struct span){ r->buf.ptr, receiver_held(r) };
}

/* The part of the segment's data that is new and fits; where it begins */
static struct span new_part(const struct receiver *r, const struct segment *seg,
			    uint32_t *seq)
{
	struct span data = seg->data;
	int32_t old = seq_diff(r->next, seg->seq);
	int32_t room;

	*seq = seg->seq;
	if (old > 0) {
		if ((size_t)old >= data.len)
			return (struct span){ data.ptr, 0 };
		data = span_between(data.ptr + old, span_end(data));
		*seq = r->next;
	}
	room = seq_diff(r->base + (uint32_t)RECEIVER_CAP, *seq);
	if (r->fin_seen && seq_diff(r->fin, *seq) < room)
		room = seq_diff(r->fin, *seq);
	if (room <= 0)
		data.len = 0;
	else if (data.len > (size_t)room)
		data.len = (size_t)room;
	return data;
}

static void note_fin(struct receiver *r, const struct segment *seg)
{
	uint32_t fin = seg->seq + (uint32_t)seg->data.len, last = r->next;

	if (r->beyond.count)
		last = r->beyond.range[r->beyond.count - 1].end;
	if (!(seg->flags & TH_FIN) || r->fin_seen ||
	    fin - r->base > RECEIVER_CAP || seq_before(fin, last))
		return;
	r->fin_seen = true;
	r->fin = fin;
}

int receiver_take(struct receiver *r, const struct segment *seg,
		  struct tcp_memory *memory, struct span *ready)
{
	uint32_t seq;
	struct span data = new_part(r, seg, &seq);
	uint32_t end = seq + (uint32_t)data.len;
	int err = 0;

	note_fin(r, seg);
	*ready = held(r);
	if (!data.len)
		return 0;
	if (seq == r->next && r->base == r->next && !r->beyond.count) {
		r->next = end;
		*ready = data;
		return 0;
	}
	if (seq != r->next) {
		if (!store(r, seq, data, memory) &&
		    ranges_add(&r->beyond, (struct range){ seq, end }))
			r->latest = seq;
	} else {
		err = store(r, seq, data, memory);
		if (!err) {
			r->next = end;
			close_hole(r);
		}
	}
	*ready = held(r);
	return err;
}

void receiver_forget(struct receiver *r, struct tcp_memory *memory)
{
	r->next = r->base;
	r->beyond.count = 0;
	r->fin_seen = false;
	buffer_free(&r->buf, memory);
}

int receiver_consume(struct receiver *r, struct span ready, size_t used,
		     struct tcp_memory *memory)
{
	uint32_t end = r->next;
	struct span rest;
	int err = 0;

	if (!ready.len || (!used && ready.ptr == r->buf.ptr))
		return 0;
	rest = (struct span){ ready.ptr + used, ready.len - used };
	r->base += (uint32_t)used;
	if (ready.ptr != r->buf.ptr) {
		if (rest.len)
			err = store(r, r->base, rest, memory);
		if (err)
			r->next = r->base;
		return err;
	}
	if (r->beyond.count)
		end = r->beyond.range[r->beyond.count - 1].end;
	memmove(r->buf.ptr, r->buf.ptr + used, end - r->base);
	return 0;
}

unsigned int receiver_sacks(const struct receiver *r, struct range *block,
			    unsigned int most)
{
	const struct ranges *beyond = &r->beyond;
	unsigned int first = 0, n = 0;

	while (first + 1 < beyond->count &&
	       !seq_before(r->latest, beyond->range[first].end))
		first++;
	for (unsigned int i = 0; i < beyond->count && n < most; i++)
		block[n++] = beyond->range[(first + i) % beyond->count];
	return n;
}
