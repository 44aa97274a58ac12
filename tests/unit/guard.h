/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TESTS_GUARD_H
#define SIPALG_TESTS_GUARD_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/span.h"

/** GUARD_ROOM - The longest input that can be placed */
#define GUARD_ROOM 0x40000
#define GUARD_PAGE 0x10000

/**
 * guard_place() - Put bytes where one read too many is a crash
 * @slot:	0 to 3; what lay in it before is gone
 *
 * A copy that ends at a PROT_NONE page. The bytes before it are 0xA5, and
 * not a NUL anywhere.
 *
 *	| PROT_NONE | A5 A5 A5 ... bytes | PROT_NONE |
 */
static inline char *guard_place(unsigned int slot, const void *bytes,
				size_t len)
{
	static char *room[4];
	char *at;

	if (slot >= 4 || len > GUARD_ROOM)
		abort();
	if (!room[slot]) {
		at = mmap(NULL, GUARD_ROOM + 2 * GUARD_PAGE, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (at == MAP_FAILED || mprotect(at + GUARD_PAGE, GUARD_ROOM,
						 PROT_READ | PROT_WRITE))
			abort();
		room[slot] = at + GUARD_PAGE;
		memset(room[slot], 0xa5, GUARD_ROOM);
	}
	at = room[slot] + GUARD_ROOM - len;
	if (at - room[slot] >= 64)
		memset(at - 64, 0xa5, 64);
	if (len)
		memcpy(at, bytes, len);
	return at;
}

/** guard_span() - The same for a span, in slot 0 */
static inline struct span guard_span(struct span s)
{
	return (struct span){ guard_place(0, s.ptr, s.len), s.len };
}

/** guard_str() - A string without its NUL, in slot 0 */
static inline struct span guard_str(const char *text)
{
	return guard_span(span_from_str(text));
}

#endif
