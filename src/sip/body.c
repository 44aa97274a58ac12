/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/body.h"

#include "sip/field.h"

/* How deep multipart bodies are followed into each other */
#define MAX_DEPTH 3

/* "application/sdp;charset=utf-8" is of type "application/sdp" */
static bool type_is(struct span content_type, struct span type)
{
	const char *semicolon = span_chr(content_type, ';');

	if (semicolon)
		content_type = span_between(content_type.ptr, semicolon);
	return span_case_eq(span_trim(content_type), type);
}

/* The boundary parameter without its quotes; RFC 2046 5.1.1: at most 70 */
static struct span boundary_of(struct span content_type)
{
	struct span b =
		field_param(field_params(content_type), SPAN("boundary"));

	if (b.len >= 2 && b.ptr[0] == '"' && b.ptr[b.len - 1] == '"')
		b = (struct span){ b.ptr + 1, b.len - 2 };
	return b.len <= 70 ? b : (struct span){ 0 };
}

/* The next "--boundary" that begins a line; NULL if there is none */
static const char *next_delimiter(struct span body, const char *from,
				  struct span boundary)
{
	while (from && from + boundary.len + 2 <= span_end(body)) {
		const char *at =
			span_find(span_between(from, span_end(body)), boundary);

		if (!at)
			return NULL;
		if (at >= body.ptr + 2 && at[-1] == '-' && at[-2] == '-' &&
		    (at == body.ptr + 2 || at[-3] == '\n'))
			return at - 2;
		from = at + 1;
	}
	return NULL;
}

/* Read "Name: value" lines; @value is set to that of @name */
static void part_field(struct span header, struct span name, struct span *value)
{
	while (header.len) {
		const char *lf = span_chr(header, '\n');
		const char *end = lf ? lf : span_end(header);
		struct span line = span_between(header.ptr, end);
		const char *colon = span_chr(line, ':');

		if (colon &&
		    span_case_eq(span_trim(span_between(line.ptr, colon)),
				 name))
			*value = span_trim(
				span_between(colon + 1, span_end(line)));
		header = lf ? span_between(lf + 1, span_end(header))
			    : (struct span){ 0 };
	}
}

/* Where a part's content begins: behind its empty line; NULL if none */
static const char *content_start(struct span part)
{
	const char *crlf = span_find(part, SPAN("\r\n\r\n"));
	const char *lf = span_find(part, SPAN("\n\n"));

	if (crlf && (!lf || crlf < lf))
		return crlf + 4;
	return lf ? lf + 2 : NULL;
}

static bool find_in_parts(struct span content_type, struct span body, int depth,
			  struct body_part *out);

/* One part, from behind its delimiter line up to the next delimiter. A part may
 * be multipart again; one that states its own length then is left alone.
 */
static bool read_part(struct span part, int depth, struct body_part *out)
{
	const char *content = content_start(part);
	struct span type = { 0 }, header;

	if (!content)
		return false;
	header = span_between(part.ptr, content);
	*out = (struct body_part){ .sdp = span_between(content,
						       span_end(part)) };
	part_field(header, SPAN("Content-Type"), &type);
	part_field(header, SPAN("Content-Length"), &out->length);
	if (type_is(type, SPAN("application/sdp")))
		return true;
	return !out->length.ptr &&
	       find_in_parts(type, out->sdp, depth + 1, out);
}

static bool find_in_parts(struct span content_type, struct span body, int depth,
			  struct body_part *out)
{
	struct span boundary;
	const char *at, *next;

	if (depth > MAX_DEPTH || !span_starts(content_type, SPAN("multipart/")))
		return false;
	boundary = boundary_of(content_type);
	if (!boundary.len)
		return false;
	for (at = next_delimiter(body, body.ptr, boundary); at; at = next) {
		const char *from = at + 2 + boundary.len;

		next = next_delimiter(body, from, boundary);
		if (!next)
			break;
		if (read_part(span_between(from, next), depth, out))
			return true;
	}
	return false;
}

bool body_find_sdp(struct span content_type, struct span body,
		   struct body_part *part)
{
	*part = (struct body_part){ .sdp = body };
	if (!body.len)
		return false;
	if (!content_type.ptr)
		return span_starts(body, SPAN("v="));
	return type_is(content_type, SPAN("application/sdp")) ||
	       find_in_parts(content_type, body, 0, part);
}
