/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_RECEIVER_H
#define SIPALG_TCP_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "tcp/buffer.h"
#include "tcp/ranges.h"
#include "tcp/segment.h"

/** RECEIVER_CAP - Bytes of one direction that are kept at most: a message of
 * the largest size, and as much out of order or under way */
#define RECEIVER_CAP ((size_t)128 * 1024)

/**
 * struct receiver - One direction of a connection, as its receiver would
 * @base:	First byte that is held: a message begins there
 * @next:	First byte that has not come
 * @buf:	Bytes from @base on, where any are held or out of order
 * @beyond:	What has come beyond @next
 * @latest:	Where the latest of that begins
 * @fin_seen, @fin: The sender has ended the stream at that byte
 *
 *	base        next            beyond
 *	| held ...  |      (hole)  | came |
 */
struct receiver {
	uint32_t base, next;
	struct buffer buf;
	struct ranges beyond;
	bool fin_seen;
	uint32_t fin, latest;
};

/** receiver_init() - Expect @next; nothing is held */
void receiver_init(struct receiver *r, uint32_t next);

/** receiver_free() - Drop what is held and give the memory back */
void receiver_free(struct receiver *r, struct tcp_memory *memory);

/** receiver_forget() - As if nothing from @base on had come */
void receiver_forget(struct receiver *r, struct tcp_memory *memory);

/** receiver_held() - Bytes from @base up to @next */
static inline size_t receiver_held(const struct receiver *r)
{
	return r->next - r->base;
}

/** receiver_ended() - All has come, and the end too */
static inline bool receiver_ended(const struct receiver *r)
{
	return r->fin_seen && r->next == r->fin;
}

/**
 * receiver_take() - A segment has come
 * @ready:	Set to all bytes from @base up to @next; in the segment or in
 *		@buf, to be given to receiver_consume() before anything else
 *
 * What lies beyond RECEIVER_CAP, or finds no memory while it is out of order,
 * is forgotten: its sender will repeat it.
 *
 * Return: 0; -ENOMEM where bytes in order cannot be held
 */
int receiver_take(struct receiver *r, const struct segment *seg,
		  struct tcp_memory *memory, struct span *ready);

/**
 * receiver_consume() - The first @used bytes of @ready are done with
 *
 * Return: 0; -ENOMEM where the rest cannot be held: it is forgotten
 */
int receiver_consume(struct receiver *r, struct span ready, size_t used,
		     struct tcp_memory *memory);

/**
 * receiver_sacks() - What came out of order, the latest first (RFC 2018 4)
 *
 * Return: blocks written, @most at most
 */
unsigned int receiver_sacks(const struct receiver *r, struct range *block,
			    unsigned int most);

#endif
