/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ring.h"

#include <errno.h>
#include <stdlib.h>

#define ALIGN 16u

/**
 * struct mark - Stands before each record, and before each group
 * @len:	Bytes behind it
 * @skip:	Bytes until the next mark
 *
 * A record lies in one piece: what is left at the end of the buffer is passed
 * over, by a mark that has nothing behind it.
 */
struct mark {
	uint64_t len, skip;
};

_Static_assert(sizeof(struct mark) == ALIGN, "records stay aligned");

int ring_open(struct ring *ring, size_t cap)
{
	*ring = (struct ring){ .data = malloc(cap), .cap = cap };
	return ring->data ? 0 : -ENOMEM;
}

void ring_close(struct ring *ring)
{
	free(ring->data);
	*ring = (struct ring){ 0 };
}

static struct mark *mark_at(const struct ring *ring, uint64_t at)
{
	return (struct mark *)(void *)(ring->data + at % ring->cap);
}

static bool has_room(const struct ring *ring, size_t len)
{
	return len <= ring->cap - (size_t)(ring->next - ring->begin);
}

/* Begin a group: its mark tells later where it ends */
static void begin_group(struct ring *ring)
{
	if (!has_room(ring, sizeof(struct mark))) {
		ring->full = true;
		return;
	}
	ring->next += sizeof(struct mark);
}

void *ring_put(struct ring *ring, size_t len)
{
	size_t size = sizeof(struct mark) + (len + ALIGN - 1) / ALIGN * ALIGN;
	size_t left;

	if (ring->next == ring->end)
		begin_group(ring);
	left = ring->cap - (size_t)(ring->next % ring->cap);
	if (ring->full || !has_room(ring, size + (left < size ? left : 0))) {
		ring->full = true;
		return NULL;
	}
	if (left < size) {
		*mark_at(ring, ring->next) = (struct mark){ 0, left };
		ring->next += left;
	}
	*mark_at(ring, ring->next) = (struct mark){ len, size };
	ring->next += size;
	return mark_at(ring, ring->next - size) + 1;
}

bool ring_commit(struct ring *ring)
{
	bool full = ring->full;

	if (full || ring->next == ring->end) {
		ring_cancel(ring);
		return !full;
	}
	*mark_at(ring, ring->end) = (struct mark){ 0, ring->next - ring->end };
	ring->end = ring->next;
	return true;
}

void ring_cancel(struct ring *ring)
{
	ring->next = ring->end;
	ring->full = false;
}

struct ring_group ring_first(const struct ring *ring)
{
	return (struct ring_group){
		.at = ring->begin + sizeof(struct mark),
		.end = ring->begin + mark_at(ring, ring->begin)->skip,
	};
}

void *ring_next(const struct ring *ring, struct ring_group *group, size_t *len)
{
	while (group->at < group->end) {
		struct mark *mark = mark_at(ring, group->at);

		group->at += mark->skip;
		*len = (size_t)mark->len;
		if (mark->len)
			return mark + 1;
	}
	return NULL;
}

void ring_drop(struct ring *ring)
{
	ring->begin += mark_at(ring, ring->begin)->skip;
}
