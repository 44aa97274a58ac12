/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_ENCODE_H
#define SIPALG_DAEMON_ENCODE_H

#include <jansson.h>
#include <stdint.h>

#include "base/fields.h"

/**
 * struct encode - How times and bytes are written down and read back
 * @offset_ms:	To be added to the monotonic clock to get the one on the wall
 * @room, @cap, @used: Reading: where FIELD_BYTES go; valid until @used is reset
 */
struct encode {
	int64_t offset_ms;
	char *room;
	size_t cap, used;
};

/**
 * encode_struct() - A struct as JSON
 *
 * A member that is 0, empty or not set is left out. Text is taken for
 * ISO 8859-1, so that any bytes are JSON.
 *
 * Return: NULL if memory ran out
 */
json_t *encode_struct(const struct encode *e, const struct field *fields,
		      const void *object);

/**
 * decode_struct() - The reverse
 * @object:	Zeroed by the caller; what is not said stays so
 *
 * Names that are not known are passed over: a newer program has written them.
 *
 * Return: 0; -EINVAL if a value is not of its kind, or too large
 */
int decode_struct(struct encode *e, const struct field *fields,
		  const json_t *json, void *object);

#endif
