/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_RANGES_H
#define SIPALG_TCP_RANGES_H

#include <stdbool.h>
#include <stdint.h>

/** RANGES_MAX - Holes that one direction of a connection may have */
#define RANGES_MAX 16

/** struct range - Bytes from @first up to, not including, @end */
struct range {
	uint32_t first, end;
};

/** struct ranges - A set of sequence numbers: ascending, none touch */
struct ranges {
	unsigned int count;
	struct range range[RANGES_MAX];
};

/**
 * ranges_add() - Add what is not there yet
 *
 * Return: false if there would be too many; the set is then as it was
 */
bool ranges_add(struct ranges *set, struct range r);

/** ranges_trim() - Forget all before @seq */
void ranges_trim(struct ranges *set, uint32_t seq);

/**
 * ranges_gap() - The first part of @r that is not in the set
 *
 * Return: false if all of it is
 */
bool ranges_gap(const struct ranges *set, struct range *r);

#endif
