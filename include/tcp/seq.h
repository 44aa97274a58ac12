/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_SEQ_H
#define SIPALG_TCP_SEQ_H

#include <stdbool.h>
#include <stdint.h>

/* Sequence numbers wrap: they are compared by their distance (RFC 9293 3.4) */

/** seq_diff() - How far @a lies beyond @b; negative if before it */
static inline int32_t seq_diff(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b);
}

static inline bool seq_before(uint32_t a, uint32_t b)
{
	return seq_diff(a, b) < 0;
}

static inline uint32_t seq_min(uint32_t a, uint32_t b)
{
	return seq_before(a, b) ? a : b;
}

static inline uint32_t seq_max(uint32_t a, uint32_t b)
{
	return seq_before(a, b) ? b : a;
}

#endif
