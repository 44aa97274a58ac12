/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_RING_H
#define SIPALG_DAEMON_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * struct ring - Records between who makes them and who has time for them
 * @data:	@cap bytes; NULL: closed
 * @begin, @end: What has been committed; bytes since it was opened
 * @next:	End of the group being written
 * @full:	Something of that group had no room
 *
 * What is made for one packet is a group: it is taken whole or not at all.
 *
 *	begin          end          next
 *	| group | group | record ... |
 */
struct ring {
	uint8_t *data;
	size_t cap;
	uint64_t begin, end, next;
	bool full;
};

/** ring_open() - @cap: bytes, a multiple of 16. Return: 0; -ENOMEM */
int ring_open(struct ring *ring, size_t cap);
void ring_close(struct ring *ring);

/**
 * ring_put() - A record more in the group being written
 * @len:	Bytes that follow its length
 *
 * Return: where they go, aligned to 16; NULL if there is no room: the group is
 * lost, whatever else is put
 */
void *ring_put(struct ring *ring, size_t len);

/** ring_commit() - The group is complete. Return: false if it had no room */
bool ring_commit(struct ring *ring);
/** ring_cancel() - There shall be no such group */
void ring_cancel(struct ring *ring);

static inline bool ring_is_empty(const struct ring *ring)
{
	return ring->begin == ring->end;
}

/** struct ring_group - The oldest group, being read */
struct ring_group {
	uint64_t at, end;
};

/** ring_first() - The oldest group; the ring must hold one */
struct ring_group ring_first(const struct ring *ring);

/** ring_next() - The next record of a group, and its length; NULL at its end */
void *ring_next(const struct ring *ring, struct ring_group *group, size_t *len);

/** ring_drop() - The oldest group is done with */
void ring_drop(struct ring *ring);

#endif
