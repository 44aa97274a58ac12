/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_SPAN_H
#define SIPALG_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/**
 * struct span - Some bytes of somebody else's buffer
 * @ptr:	First byte; NULL for "there is none"
 * @len:	Bytes
 *
 * Never NUL-terminated, never owned. An empty span inside a buffer (@ptr set,
 * @len 0) differs from one that is not there (@ptr NULL).
 */
struct span {
	const char *ptr;
	size_t len;
};

/** SPAN() - A string literal as a span */
#define SPAN(literal) ((struct span){ (literal), sizeof(literal) - 1 })

/** SPAN_ARG() - The two arguments that "%.*s" wants */
#define SPAN_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline struct span span_from_str(const char *str)
{
	return (struct span){ str, strlen(str) };
}

/** span_between() - The bytes from @from up to, not including, @to */
static inline struct span span_between(const char *from, const char *to)
{
	return (struct span){ from, (size_t)(to - from) };
}

static inline const char *span_end(struct span s)
{
	/* NULL + 0 is undefined, and where nothing is, its end is NULL too */
	return s.len ? s.ptr + s.len : s.ptr;
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (!a.len || !memcmp(a.ptr, b.ptr, a.len));
}

/** span_case_eq() - Equal but for ASCII case (RFC 3261 7.3.1) */
static inline bool span_case_eq(struct span a, struct span b)
{
	return a.len == b.len && (!a.len || !strncasecmp(a.ptr, b.ptr, a.len));
}

/** span_starts() - @s begins with @prefix, ASCII case ignored */
static inline bool span_starts(struct span s, struct span prefix)
{
	return s.len >= prefix.len &&
	       (!prefix.len || !strncasecmp(s.ptr, prefix.ptr, prefix.len));
}

/** span_find() - First place of @needle in @hay; NULL if there is none */
static inline const char *span_find(struct span hay, struct span needle)
{
	if (!hay.ptr || !needle.len)
		return NULL;
	return memmem(hay.ptr, hay.len, needle.ptr, needle.len);
}

/** span_chr() - First byte @c of @s; NULL if there is none */
static inline const char *span_chr(struct span s, char c)
{
	return s.len ? memchr(s.ptr, c, s.len) : NULL;
}

/** span_trim() - @s without blanks and line ends (folding) at both ends */
struct span span_trim(struct span s);

/**
 * span_to_uint() - Read a whole span as a decimal number
 * @s:		Digits only; no sign, no blanks
 * @max:	Largest value taken
 * @value:	Set on success
 *
 * Return: 0; -EINVAL if @s is empty or holds anything but digits; -ERANGE
 * beyond @max
 */
int span_to_uint(struct span s, uint64_t max, uint64_t *value);

/**
 * span_copy() - Copy into a string, cut if need be, always NUL-terminated
 *
 * Return: bytes that @s has, so that a cut shows as >= @cap
 */
size_t span_copy(char *buf, size_t cap, struct span s);

/**
 * span_dup() - A string of its own, cut after @most bytes
 *
 * Return: NULL if memory ran out; the caller frees it
 */
char *span_dup(struct span s, size_t most);

/** SPAN_DISTANCE_MAX - Longest @known of span_distance() */
#define SPAN_DISTANCE_MAX 64

/**
 * span_distance() - How many letters make one word the other (Levenshtein)
 * @word:	What somebody wrote
 * @known:	One of the words there are; at most SPAN_DISTANCE_MAX bytes
 * count
 *
 * To suggest what was meant.
 */
unsigned int span_distance(const char *word, const char *known);

/**
 * span_hash() - A hash of the bytes and of @seed
 *
 * For tables in memory: it depends on the machine's byte order.
 */
uint32_t span_hash(struct span s, uint32_t seed);

#endif
