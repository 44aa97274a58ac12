/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_IMAGE_H
#define SIPALG_TCP_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fields.h"
#include "tcp/stream.h"

/** IMAGE_BYTES_MAX - Most bytes of one direction that wait, on either side:
 * what a sender queues before it refuses, and what comes of the last message */
#define IMAGE_BYTES_MAX (4 * RECEIVER_CAP)

/**
 * struct half_image - What counts of a struct half
 *
 * Bytes that came out of order are not in it: they will be repeated, for
 * nobody has acknowledged them (RFC 2018 8). How far a message was read is
 * found again from its bytes.
 *
 * @held:	From receiver.base up to receiver.next
 * @queued:	From sender.first up to sender.end
 * @due_ms:	When it would have been repeated
 */
struct half_image {
	uint32_t base, next, in_fin;
	uint32_t una, nxt, end, out_edge, wl1;
	uint16_t mss, full_mss;
	uint8_t wscale;
	bool fin_seen, out_fin;
	bool reading, raw, begun, elder, fin, heard, rests, resized;
	uint32_t first, last_in, last_out, acked, edge, shown;
	uint32_t seen, at, ack, ts_val;
	uint16_t window;
	uint32_t skip;
	uint64_t due_ms;
	struct span held, queued;
};

/**
 * struct stream_image - A stream without pointers, to go on in another program
 * @halves, @syns: Always two
 *
 * Its spans borrow from the stream.
 */
struct stream_image {
	unsigned int halves, syns;
	struct half_image half[2];
	struct opening syn[2];
	bool changed, watched, sealed, stamped, sack_ok;
};

/** stream_image_fields - Of struct stream_image */
extern const struct field stream_image_fields[];

/** stream_image_take() - What is to be kept of a stream that is not closed */
void stream_image_take(const struct stream *s, struct stream_image *image);

/**
 * stream_image_restore() - The stream again
 * @s:		As stream_init() leaves it, also on failure
 *
 * What was under way is repeated when the retransmission timer says so.
 *
 * Return: 0; -EINVAL if @image contradicts itself; -ENOMEM
 */
int stream_image_restore(struct stream *s, const struct stream_image *image,
			 struct tcp_memory *memory, uint64_t now_ms);

#endif
