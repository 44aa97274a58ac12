/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/field.h"

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Skip blanks: LWS, also over folded lines */
static struct span skip_blank(struct span s)
{
	while (s.len && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	return s;
}

/*
 * First @stop in @s outside quoted strings and, where @angles is set, outside
 * <...>; the end of @s if there is none.
 */
static const char *find_bare(struct span s, char stop, bool angles)
{
	const char *first = span_chr(s, stop);
	bool quoted = false, inside = false;
	struct span before;

	if (!first)
		return span_end(s);
	/* Nearly always nothing stands before it that could hide it */
	before = span_between(s.ptr, first);
	if (!span_chr(before, '"') && (!angles || !span_chr(before, '<')))
		return first;
	for (const char *p = s.ptr; p < span_end(s); p++) {
		if (quoted) {
			if (*p == '\\' && p + 1 < span_end(s))
				p++;
			else if (*p == '"')
				quoted = false;
		} else if (*p == stop && !inside) {
			return p;
		} else if (*p == '"') {
			quoted = !inside;
		} else if (angles && *p == '<') {
			inside = true;
		} else if (*p == '>') {
			inside = false;
		}
	}
	return span_end(s);
}

bool field_next_value(struct span *rest, struct span *value)
{
	const char *comma;

	if (!rest->len)
		return false;
	comma = find_bare(*rest, ',', true);
	*value = span_trim(span_between(rest->ptr, comma));
	*rest = comma < span_end(*rest)
			? span_between(comma + 1, span_end(*rest))
			: (struct span){ comma, 0 };
	return true;
}

struct span field_uri(struct span value)
{
	const char *open = find_bare(value, '<', false);
	const char *close;

	if (open == span_end(value))
		return span_trim(
			span_between(value.ptr, find_bare(value, ';', false)));
	close = span_chr(span_between(open, span_end(value)), '>');
	if (!close)
		return (struct span){ 0 };
	return span_trim(span_between(open + 1, close));
}

struct span field_params(struct span value)
{
	return span_between(find_bare(value, ';', true), span_end(value));
}

/* Take the next of ";name=value;name" */
static bool next_param(struct span *params, struct span *name,
		       struct span *value)
{
	struct span one;
	const char *end, *eq;

	if (!params->len)
		return false;
	one = (struct span){ params->ptr + 1, params->len - 1 };
	end = find_bare(one, ';', false);
	one = span_between(one.ptr, end);
	*params = span_between(end, span_end(*params));
	eq = find_bare(one, '=', false);
	*name = span_trim(span_between(one.ptr, eq));
	*value = (struct span){ eq, 0 };
	if (eq != span_end(one))
		*value = span_trim(span_between(eq + 1, span_end(one)));
	return true;
}

struct span field_param(struct span params, struct span name)
{
	struct span one, value;

	while (next_param(&params, &one, &value)) {
		if (span_case_eq(one, name))
			return value;
	}
	return (struct span){ 0 };
}

/* What ends a host, where it stands in a URI or in Via. A table, as each byte
 * of each host is looked up
 */
static const bool ends_host[256] = {
	[':'] = true,  [';'] = true,  ['?'] = true,
	[','] = true,  [' '] = true,  ['\t'] = true,
	['\r'] = true, ['\n'] = true, ['\0'] = true,
};

/* Read "host" or "host:port" at the start of @s; @end is set behind it */
static bool parse_hostport(struct span s, struct hostport *hp, const char **end)
{
	struct span rest, digits;
	const char *p = s.ptr;
	uint64_t port;

	*hp = (struct hostport){ 0 };
	if (s.len && *p == '[') {
		p = span_chr(s, ']');
		if (!p)
			return false;
		p++;
	} else {
		while (p < span_end(s) && !ends_host[(unsigned char)*p])
			p++;
	}
	hp->host = span_between(s.ptr, p);
	hp->text = hp->host;
	*end = p;
	if (!hp->host.len)
		return false;
	if (addr_parse(hp->host, &hp->addr))
		hp->addr = (struct addr){ 0 };
	rest = skip_blank(span_between(p, span_end(s)));
	if (!rest.len || rest.ptr[0] != ':')
		return true;
	rest = skip_blank(span_between(rest.ptr + 1, span_end(rest)));
	digits = rest;
	for (digits.len = 0; digits.len < rest.len; digits.len++) {
		if (rest.ptr[digits.len] < '0' || rest.ptr[digits.len] > '9')
			break;
	}
	if (span_to_uint(digits, UINT16_MAX, &port) || !port)
		return false;
	hp->port = (uint16_t)port;
	*end = span_end(digits);
	hp->text = span_between(s.ptr, *end);
	return true;
}

/* The part of a sip: or sips: URI behind the scheme; .ptr NULL for others */
static struct span uri_after_scheme(struct span uri)
{
	if (span_starts(uri, SPAN("sip:")))
		return span_between(uri.ptr + 4, span_end(uri));
	if (span_starts(uri, SPAN("sips:")))
		return span_between(uri.ptr + 5, span_end(uri));
	return (struct span){ 0 };
}

bool uri_hostport(struct span uri, struct hostport *hp)
{
	struct span rest = uri_after_scheme(uri);
	const char *at = span_chr(rest, '@');
	const char *end;

	if (at)
		rest = span_between(at + 1, span_end(rest));
	/* A second '@' is legal nowhere (RFC 3261 25.1): which one counts is
	 * a guess, and a guess is not rewritten.
	 */
	if (!rest.len || span_chr(rest, '@'))
		return false;
	if (!parse_hostport(rest, hp, &end))
		return false;
	return end == span_end(rest) || *end == ';' || *end == '?';
}

struct span uri_user(struct span uri)
{
	struct span rest = uri_after_scheme(uri);
	const char *at = span_chr(rest, '@');

	return at ? span_between(rest.ptr, at) : (struct span){ 0 };
}

struct span uri_param(struct span uri, struct span name)
{
	struct span rest = uri_after_scheme(uri);
	const char *at = span_chr(rest, '@'), *end, *params;

	if (at)
		rest = span_between(at + 1, span_end(rest));
	end = span_chr(rest, '?');
	if (end)
		rest = span_between(rest.ptr, end);
	params = span_chr(rest, ';');
	if (!params)
		return (struct span){ 0 };
	return field_param(span_between(params, span_end(rest)), name);
}

/* Step over "SIP / 2.0 / UDP" and the blanks behind it */
static bool skip_protocol(struct span *s)
{
	for (int part = 0; part < 3; part++) {
		const char *p = s->ptr;

		while (p < span_end(*s) && *p != '/' && !is_blank(*p) &&
		       *p != ';')
			p++;
		if (p == s->ptr)
			return false;
		*s = skip_blank(span_between(p, span_end(*s)));
		if (part == 2)
			return s->ptr > p && s->len;
		if (!s->len || s->ptr[0] != '/')
			return false;
		*s = skip_blank(span_between(s->ptr + 1, span_end(*s)));
	}
	return false;
}

/* The first of each name */
static void read_via_params(struct span params, struct via *via)
{
	const struct {
		struct span name, *value;
	} wanted[] = {
		{ SPAN("received"), &via->received },
		{ SPAN("rport"), &via->rport },
		{ SPAN("branch"), &via->branch },
	};
	struct span name, value;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
		*wanted[i].value = (struct span){ 0 };
	while (next_param(&params, &name, &value)) {
		for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
			if (!wanted[i].value->ptr &&
			    span_case_eq(name, wanted[i].name))
				*wanted[i].value = value;
		}
	}
}

bool via_parse(struct span value, struct via *via)
{
	struct span params;
	const char *end;

	if (!skip_protocol(&value) ||
	    !parse_hostport(value, &via->sent_by, &end))
		return false;
	params = skip_blank(span_between(end, span_end(value)));
	if (params.len && params.ptr[0] != ';')
		return false;
	read_via_params(params, via);
	return true;
}
