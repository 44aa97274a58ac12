/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/codec.h"

/* Payload types that need no a=rtpmap: RFC 3551, tables 4 and 5 */
static const struct {
	const char *type, *name;
} known[] = {
	{ "0", "PCMU" },  { "3", "GSM" },   { "4", "G723" },  { "8", "PCMA" },
	{ "9", "G722" },  { "13", "CN" },   { "15", "G728" }, { "18", "G729" },
	{ "26", "JPEG" }, { "31", "H261" }, { "32", "MPV" },  { "33", "MP2T" },
	{ "34", "H263" },
};

/* The bytes of @s up to one of @stops; @s moves behind it */
static struct span take(struct span *s, const char *stops)
{
	struct span word = { s->ptr, 0 };

	while (word.len < s->len && !strchr(stops, s->ptr[word.len]))
		word.len++;
	*s = word.len < s->len
		     ? span_between(s->ptr + word.len + 1, span_end(*s))
		     : (struct span){ span_end(*s), 0 };
	return word;
}

static struct span take_line(struct span *s)
{
	return span_trim(take(s, "\n"));
}

/* "a=rtpmap:<type> <name>/<rate>" of @type in the lines of one m= section */
static struct span mapped_name(struct span section, struct span type)
{
	while (section.len) {
		struct span line = take_line(&section);

		if (span_starts(line, SPAN("m=")))
			break;
		if (!span_starts(line, SPAN("a=rtpmap:")))
			continue;
		take(&line, ":");
		if (span_eq(take(&line, " "), type))
			return take(&line, "/");
	}
	return (struct span){ 0 };
}

static struct span name_of(struct span section, struct span type)
{
	struct span name = mapped_name(section, type);

	if (name.len)
		return name;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (span_eq(type, span_from_str(known[i].type)))
			return span_from_str(known[i].name);
	}
	return type;
}

/* @formats: "<port> <proto> <format> ...", what follows the type in m= */
static size_t add_section(struct span formats, struct span section, char *buf,
			  size_t n, size_t cap)
{
	struct span port = take(&formats, " ");

	if (span_eq(port, SPAN("0")))
		return n;
	take(&formats, " ");
	while (formats.len) {
		struct span name = name_of(section, take(&formats, " "));

		if (!name.len || n + 1 + name.len >= cap)
			continue;
		if (n)
			buf[n++] = ',';
		memcpy(buf + n, name.ptr, name.len);
		n += name.len;
	}
	return n;
}

const char *codec_names(struct span sdp, char *buf, size_t cap)
{
	size_t n = 0;

	while (sdp.len) {
		struct span line = take_line(&sdp);

		if (!span_starts(line, SPAN("m=")))
			continue;
		take(&line, " ");
		n = add_section(line, sdp, buf, n, cap);
	}
	buf[n] = '\0';
	return buf;
}
