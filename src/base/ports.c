/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/ports.h"

#include <errno.h>

static int range_parse(struct span text, uint64_t *first, uint64_t *last)
{
	const char *dash = span_chr(text, '-');
	struct span low = dash ? span_between(text.ptr, dash) : text;
	int err = span_to_uint(span_trim(low), UINT16_MAX, first);

	*last = *first;
	if (!err && dash)
		err = span_to_uint(
			span_trim(span_between(dash + 1, span_end(text))),
			UINT16_MAX, last);
	if (!err && *last < *first)
		err = -ERANGE;
	return err;
}

int ports_parse(struct span text, struct ports *out)
{
	*out = (struct ports){ 0 };
	while (text.len) {
		const char *comma = span_chr(text, ',');
		const char *end = comma ? comma : span_end(text);
		uint64_t first, last;
		int err;

		err = range_parse(span_trim(span_between(text.ptr, end)),
				  &first, &last);
		if (err)
			return err;
		if (out->count == PORTS_MAX_RANGES)
			return -ENOSPC;
		out->range[out->count].first = (uint16_t)first;
		out->range[out->count].last = (uint16_t)last;
		out->count++;
		text = comma ? span_between(comma + 1, span_end(text))
			     : (struct span){ 0 };
		if (comma && !text.len)
			return -EINVAL;
	}
	return out->count ? 0 : -EINVAL;
}

bool ports_contain(const struct ports *p, uint16_t port)
{
	for (unsigned int i = 0; i < p->count; i++) {
		if (port >= p->range[i].first && port <= p->range[i].last)
			return true;
	}
	return false;
}

unsigned int ports_count(const struct ports *p)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < p->count; i++)
		n += 1u + p->range[i].last - p->range[i].first;
	return n;
}

uint16_t ports_at(const struct ports *p, unsigned int i)
{
	for (unsigned int r = 0; r < p->count; r++) {
		unsigned int size = 1u + p->range[r].last - p->range[r].first;

		if (i < size)
			return (uint16_t)(p->range[r].first + i);
		i -= size;
	}
	return 0;
}

unsigned int ports_index(const struct ports *p, uint16_t port)
{
	unsigned int before = 0;

	for (unsigned int r = 0; r < p->count; r++) {
		if (port >= p->range[r].first && port <= p->range[r].last)
			return before + port - p->range[r].first;
		before += 1u + p->range[r].last - p->range[r].first;
	}
	return 0;
}
