/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/span.h"

#include <errno.h>
#include <stdlib.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span s)
{
	while (s.len && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

int span_to_uint(struct span s, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;

	if (!s.len)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return -EINVAL;
		if (v > (UINT64_MAX - 9) / 10)
			return -ERANGE;
		v = v * 10 + (uint64_t)(s.ptr[i] - '0');
	}
	if (v > max)
		return -ERANGE;
	*value = v;
	return 0;
}

size_t span_copy(char *buf, size_t cap, struct span s)
{
	size_t n = s.len;

	if (!cap)
		return s.len;
	if (n > cap - 1)
		n = cap - 1;
	if (n)
		memcpy(buf, s.ptr, n);
	buf[n] = '\0';
	return s.len;
}

char *span_dup(struct span s, size_t most)
{
	size_t cap = (s.len < most ? s.len : most) + 1;
	char *copy = malloc(cap);

	if (copy)
		span_copy(copy, cap, s);
	return copy;
}

/* One step of a multiplicative hash: the high bits are the good ones, and the
 * next step begins with all of them
 */
static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ word) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 32;
}

uint32_t span_hash(struct span s, uint32_t seed)
{
	uint64_t h = mix(seed + 1ull, s.len), word = 0;

	for (; s.len >= sizeof(word); s.len -= sizeof(word)) {
		memcpy(&word, s.ptr, sizeof(word));
		h = mix(h, word);
		s.ptr += sizeof(word);
	}
	word = 0;
	if (s.len)
		memcpy(&word, s.ptr, s.len);
	return (uint32_t)mix(h, word);
}

/* Names are short, so one row of the matrix is kept */
unsigned int span_distance(const char *word, const char *known)
{
	unsigned int cost[SPAN_DISTANCE_MAX + 1];
	size_t len = strnlen(known, SPAN_DISTANCE_MAX);

	for (unsigned int k = 0; k <= len; k++)
		cost[k] = k;
	for (size_t i = 0; word[i]; i++) {
		unsigned int diagonal = cost[0]++;

		for (size_t k = 0; k < len; k++) {
			unsigned int best = diagonal + (word[i] != known[k]);

			diagonal = cost[k + 1];
			if (cost[k] + 1 < best)
				best = cost[k] + 1;
			if (diagonal + 1 < best)
				best = diagonal + 1;
			cost[k + 1] = best;
		}
	}
	return cost[len];
}
