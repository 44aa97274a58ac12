/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "ctl/ctl.h"

/* A value that has less room than this is not wrapped */
#define NARROW 10

void *text_memory(void *memory)
{
	if (memory)
		return memory;
	fputs("sipalgctl: out of memory\n", stderr);
	exit(CTL_REFUSED);
}

const char *text_duration(char *buf, uint64_t seconds)
{
	static const struct {
		uint64_t from_s, big_s, small_s;
		const char *format;
	} rows[] = {
		{ 86400, 86400, 3600, "%" PRIu64 "d%02" PRIu64 "h" },
		{ 3600, 3600, 60, "%" PRIu64 "h%02" PRIu64 "m" },
		{ 60, 60, 1, "%" PRIu64 "m%02" PRIu64 "s" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (seconds < rows[i].from_s)
			continue;
		snprintf(buf, TEXT_DURATION_MAX, rows[i].format,
			 seconds / rows[i].big_s,
			 seconds % rows[i].big_s / rows[i].small_s);
		return buf;
	}
	snprintf(buf, TEXT_DURATION_MAX, "%" PRIu64 "s", seconds);
	return buf;
}

/* Nothing to see, but what stands around it is shown in another order, or looks
 * like what it is not: UAX 9 (Trojan Source), and other format characters.
 * Joiners (200C, 200D) belong to the spelling of names
 */
static bool is_invisible(wchar_t c)
{
	static const struct {
		wchar_t first, last;
	} ranges[] = {
		{ 0x061c, 0x061c }, { 0x180e, 0x180e }, { 0x200b, 0x200b },
		{ 0x200e, 0x200f }, { 0x202a, 0x202e }, { 0x2060, 0x206f },
		{ 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	}
	return false;
}

/* One character: its bytes, and its columns; -1: not fit for a terminal */
static size_t next_char(const char *text, int *columns)
{
	mbstate_t state = { 0 };
	wchar_t wide;
	size_t len = mbrtowc(&wide, text, strlen(text), &state);

	*columns = -1;
	if (len == (size_t)-1 || len == (size_t)-2 || !len)
		return 1;
	if (iswprint((wint_t)wide) && !is_invisible(wide))
		*columns = wcwidth(wide);
	return len;
}

char *text_safe(const char *text)
{
	char *safe = text_memory(malloc(4 * strlen(text) + 1)), *out = safe;
	int columns;
	size_t len;

	for (; *text; text += len) {
		len = next_char(text, &columns);
		if (columns >= 0) {
			memcpy(out, text, len);
			out += len;
			continue;
		}
		for (size_t i = 0; i < len; i++)
			out += sprintf(out, "\\x%02x", (unsigned char)text[i]);
	}
	*out = 0;
	return safe;
}

size_t text_columns_of(const char *text, size_t len)
{
	const char *end = text + len;
	size_t sum = 0;
	int columns;

	while (text < end) {
		text += next_char(text, &columns);
		sum += columns > 0 ? (size_t)columns : 0;
	}
	return sum;
}

size_t text_columns(const char *text)
{
	return text_columns_of(text, strlen(text));
}

size_t text_fit(const char *text, size_t columns)
{
	size_t bytes = 0, len;
	int more;

	while (text[bytes]) {
		len = next_char(text + bytes, &more);
		if (more > 0 && (size_t)more > columns)
			break;
		columns -= more > 0 ? (size_t)more : 0;
		bytes += len;
	}
	return bytes;
}

/* Bytes of the next line: up to a blank if there is one */
static size_t line_len(const char *text, size_t columns)
{
	size_t fits = text_fit(text, columns), len = fits;

	if (!text[fits])
		return fits;
	while (len && text[len] != ' ')
		len--;
	return len ? len : fits;
}

void text_field(FILE *out, const char *name, const char *value, size_t indent,
		size_t width)
{
	size_t room = width > indent + NARROW ? width - indent : SIZE_MAX;
	char *safe = text_safe(value), *rest = safe;
	size_t len = line_len(rest, room);

	fprintf(out, "%-*s%.*s\n", (int)indent, name, (int)len, rest);
	for (rest += len; *rest; rest += len) {
		while (*rest == ' ')
			rest++;
		len = line_len(rest, room);
		fprintf(out, "%*s%.*s\n", (int)indent, "", (int)len, rest);
	}
	free(safe);
}

const char *text_bare_uri(const char *uri)
{
	return strncmp(uri, "sip:", 4) ? uri : uri + 4;
}
