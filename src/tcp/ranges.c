/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/ranges.h"

#include <string.h>

#include "tcp/seq.h"

/* Take out @n ranges from @at on */
static void cut(struct ranges *set, unsigned int at, unsigned int n)
{
	set->count -= n;
	memmove(&set->range[at], &set->range[at + n],
		(set->count - at) * sizeof(set->range[0]));
}

bool ranges_add(struct ranges *set, struct range r)
{
	unsigned int at = 0, end;

	while (at < set->count && seq_before(set->range[at].end, r.first))
		at++;
	/* From @at up to @end they touch the new one */
	for (end = at; end < set->count; end++) {
		if (seq_before(r.end, set->range[end].first))
			break;
		r.first = seq_min(r.first, set->range[end].first);
		r.end = seq_max(r.end, set->range[end].end);
	}
	if (end == at) {
		if (set->count == RANGES_MAX)
			return false;
		memmove(&set->range[at + 1], &set->range[at],
			(set->count - at) * sizeof(set->range[0]));
		set->count++;
	} else {
		cut(set, at + 1, end - at - 1);
	}
	set->range[at] = r;
	return true;
}

void ranges_trim(struct ranges *set, uint32_t seq)
{
	unsigned int n = 0;

	while (n < set->count && !seq_before(seq, set->range[n].end))
		n++;
	cut(set, 0, n);
	if (set->count && seq_before(set->range[0].first, seq))
		set->range[0].first = seq;
}

bool ranges_gap(const struct ranges *set, struct range *r)
{
	for (unsigned int i = 0; i < set->count; i++) {
		const struct range *have = &set->range[i];

		if (!seq_before(r->first, have->end))
			continue;
		if (seq_before(r->first, have->first)) {
			r->end = seq_min(r->end, have->first);
			break;
		}
		r->first = have->end;
	}
	return seq_before(r->first, r->end);
}
