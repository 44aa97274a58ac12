/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/witness.h"

#include <osipparser2/osip_parser.h>
#include <osipparser2/osip_port.h>
#include <osipparser2/sdp_message.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>

/*
 * What libosip2 makes of a value lives for one call here, in dozens of pieces:
 * they come from one block, and go all at once. malloc() took longer than the
 * parsing. What does not fit comes from malloc() after all.
 */
#define ARENA_SIZE 65536

static _Thread_local _Alignas(max_align_t) char arena[ARENA_SIZE];
static _Thread_local size_t arena_used;

static bool is_in_arena(const void *p)
{
	return (const char *)p >= arena && (const char *)p < arena + ARENA_SIZE;
}

static void *arena_malloc(size_t size)
{
	size_t need =
		(size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	char *p = arena + arena_used;

	if (size > ARENA_SIZE || need > ARENA_SIZE - arena_used)
		return malloc(size);
	arena_used += need;
	return p;
}

static void arena_free(void *p)
{
	if (!is_in_arena(p))
		free(p);
}

static void *arena_realloc(void *p, size_t size)
{
	size_t most;
	void *to;

	if (!is_in_arena(p))
		return p ? realloc(p, size) : arena_malloc(size);
	/* How long it was is not known; no longer than what follows it */
	most = (size_t)(arena + ARENA_SIZE - (char *)p);
	to = malloc(size);
	if (to)
		memcpy(to, p, size < most ? size : most);
	return to;
}

int witness_init(void)
{
	int err = parser_init();

	osip_set_allocators(arena_malloc, arena_realloc, arena_free);
	return err;
}

/* A string of @text with folded lines joined; false if it is too long */
static bool unfold(char *buf, size_t cap, struct span text)
{
	if (text.len >= cap || span_chr(text, '\0'))
		return false;
	span_copy(buf, cap, text);
	if (!span_chr(text, '\n') && !span_chr(text, '\r'))
		return true;
	for (char *p = buf; *p; p++) {
		if (*p == '\r' || *p == '\n')
			*p = ' ';
	}
	return true;
}

static bool same_text(struct span scanned, const char *parsed)
{
	return parsed && span_case_eq(scanned, span_from_str(parsed));
}

/* libosip2 takes the brackets off an IPv6 reference */
static bool same_hostport(const struct hostport *hp, const char *host,
			  const char *port)
{
	struct span h = hp->host;
	uint64_t number = 0;

	if (h.len > 2 && h.ptr[0] == '[')
		h = (struct span){ h.ptr + 1, h.len - 2 };
	if (!same_text(h, host))
		return false;
	if (port &&
	    span_to_uint(span_trim(span_from_str(port)), UINT16_MAX, &number))
		return false;
	return number == hp->port;
}

static bool read_uri(struct span uri, const struct hostport *hp)
{
	char text[WITNESS_TEXT];
	osip_uri_t *parsed;
	bool same = true;

	if (!unfold(text, sizeof(text), uri) || osip_uri_init(&parsed))
		return true;
	if (!osip_uri_parse(parsed, text))
		same = same_hostport(hp, parsed->host, parsed->port);
	osip_uri_free(parsed);
	arena_used = 0;
	return same;
}

static bool read_via(struct span value, const struct via *via)
{
	char text[WITNESS_TEXT];
	osip_via_t *parsed;
	bool same = true;

	if (!unfold(text, sizeof(text), value) || osip_via_init(&parsed))
		return true;
	if (!osip_via_parse(parsed, text))
		same = same_hostport(&via->sent_by, parsed->host, parsed->port);
	osip_via_free(parsed);
	arena_used = 0;
	return same;
}

/*
 * From, Contact and, but for its branch, Via of a phone are the same bytes in
 * each of its messages: on which both readers agreed once need not be read
 * again. What was found in them follows from the bytes, too.
 */
#define AGREED 1024
#define AGREED_LEN 126

/**
 * struct agreed - Bytes that both readers understand alike
 * @len:	0: none
 */
struct agreed {
	uint16_t len;
	char text[AGREED_LEN];
};

static _Thread_local struct agreed agreed[AGREED];

/* A slot that has @text, or may take it; NULL if it is too long */
static struct agreed *agreed_slot(struct span text)
{
	if (!text.len || text.len > AGREED_LEN)
		return NULL;
	return &agreed[span_hash(text, 0) % AGREED];
}

static bool has_agreed(const struct agreed *slot, struct span text)
{
	return slot && span_eq((struct span){ slot->text, slot->len }, text);
}

static void agree(struct agreed *slot, struct span text)
{
	if (!slot)
		return;
	memcpy(slot->text, text.ptr, text.len);
	slot->len = (uint16_t)text.len;
}

bool witness_uri(struct span uri, const struct hostport *hp)
{
	struct agreed *slot = agreed_slot(uri);

	if (has_agreed(slot, uri))
		return true;
	if (!read_uri(uri, hp))
		return false;
	agree(slot, uri);
	return true;
}

static bool is_branch_char(char c)
{
	return (c >= '0' && c <= '9') ||
	       ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' ||
	       c == '.' || c == '_' || c == '+';
}

/* @value without its branch, in @buf; none if that may hold more than a name */
static struct span without_branch(struct span value, struct span branch,
				  char *buf)
{
	size_t before = branch.ptr ? (size_t)(branch.ptr - value.ptr) : 0;
	size_t after = value.len - before - branch.len;

	if (!branch.len || before + after > AGREED_LEN)
		return (struct span){ 0 };
	for (size_t i = 0; i < branch.len; i++) {
		if (!is_branch_char(branch.ptr[i]))
			return (struct span){ 0 };
	}
	memcpy(buf, value.ptr, before);
	memcpy(buf + before, span_end(branch), after);
	return (struct span){ buf, before + after };
}

bool witness_via(struct span value, const struct via *via)
{
	char buf[AGREED_LEN];
	struct span text = without_branch(value, via->branch, buf);
	struct agreed *slot = agreed_slot(text);

	if (has_agreed(slot, text))
		return true;
	if (!read_via(value, via))
		return false;
	agree(slot, text);
	return true;
}

/* One address: both have it, or neither has */
static bool same_addr(const struct desc_addr *scanned, const char *parsed)
{
	if (!scanned->text.ptr || !parsed)
		return !scanned->text.ptr == !parsed;
	return same_text(scanned->text, parsed);
}

static bool same_desc(const struct desc *desc, sdp_message_t *parsed)
{
	unsigned int i;

	if (!same_addr(&desc->origin, parsed->o_addr) ||
	    !same_addr(&desc->conn, sdp_message_c_addr_get(parsed, -1, 0)))
		return false;
	for (i = 0; i < desc->media_count; i++) {
		const struct desc_media *m = &desc->media[i];
		int pos = (int)i;

		if (sdp_message_endof_media(parsed, pos) ||
		    !same_text(m->port.text,
			       sdp_message_m_port_get(parsed, pos)) ||
		    !same_addr(&m->conn,
			       sdp_message_c_addr_get(parsed, pos, 0)))
			return false;
	}
	return sdp_message_endof_media(parsed, (int)i);
}

bool witness_desc(const struct desc *desc)
{
	char text[4 * WITNESS_TEXT];
	sdp_message_t *parsed;
	bool same = true;

	/* Not unfolded: line ends mean something in SDP */
	if (desc->whole.len >= sizeof(text) || span_chr(desc->whole, '\0') ||
	    sdp_message_init(&parsed))
		return true;
	span_copy(text, sizeof(text), desc->whole);
	if (!sdp_message_parse(parsed, text))
		same = same_desc(desc, parsed);
	sdp_message_free(parsed);
	arena_used = 0;
	return same;
}
