/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/seen.h"

#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "daemon/filter.h"
#include "sip/translate.h"

/* Longest text of a message that is told: a line, a value */
#define TEXT_MAX 2048

/** struct part - Some bytes of the message in a record */
struct part {
	uint32_t at, len;
};

/**
 * struct change - An edit
 * @old:	In the message
 * @new:	Behind the message: the texts follow it
 */
struct change {
	const char *site;
	struct part old, new;
	struct why why;
};

/**
 * struct message_record - Changes, then the bytes of the message, then what is
 * new, follow it
 * @call_id, @from, @to, @method: In the message; .len 0: none
 */
struct message_record {
	enum seen_kind kind;
	struct seen seen;
	uint16_t status;
	uint32_t change_count, msg_len;
	struct part call_id, from, to, method;
	struct change change[];
};

/**
 * struct packet_record - @data is the packet, from its IP header on
 * @to:		What NAT makes of its addresses; .proto 0: nothing
 */
struct packet_record {
	enum seen_kind kind;
	enum seen_packet_kind which;
	struct tuple to;
	uint32_t len;
	uint8_t data[];
};

/* ---- putting ---- */

static struct part part_of(struct span whole, struct span s)
{
	if (!s.len)
		return (struct part){ 0 };
	return (struct part){ (uint32_t)(s.ptr - whole.ptr), (uint32_t)s.len };
}

static char *message_bytes(const struct message_record *r)
{
	return (char *)(uintptr_t)&r->change[r->change_count];
}

static void put_changes(struct message_record *r, const struct seen *seen,
			const struct alg *alg)
{
	char *text = message_bytes(r) + r->msg_len;
	uint32_t at = 0;

	for (uint32_t i = 0; i < r->change_count; i++) {
		const struct edit *e = &alg->edits.edit[i];

		r->change[i] = (struct change){
			.site = e->site,
			.old = part_of(seen->msg->whole, e->old),
			.new = { at, (uint32_t)e->text.len },
			.why = why_find(alg, seen->flow, seen->side, e),
		};
		/* One that inserts has no bytes, but a place */
		r->change[i].old.at =
			(uint32_t)(e->old.ptr - seen->msg->whole.ptr);
		memcpy(text + at, e->text.ptr, e->text.len);
		at += r->change[i].new.len;
	}
}

static size_t texts_len(const struct edit_list *list)
{
	size_t len = 0;

	for (unsigned int i = 0; i < list->count; i++)
		len += list->edit[i].text.len;
	return len;
}

void *seen_put_message(struct ring *ring, const struct seen *seen,
		       const struct alg *alg)
{
	const struct message *msg = seen->msg;
	const struct edit_list *edits = &alg->edits;
	uint32_t count = seen->flow ? edits->count : 0;
	struct message_record *r;

	r = ring_put(ring, sizeof(*r) + count * sizeof(r->change[0]) +
				   msg->whole.len +
				   (count ? texts_len(edits) : 0));
	if (!r)
		return NULL;
	*r = (struct message_record){
		.kind = SEEN_MESSAGE,
		.seen = *seen,
		.status = msg->status,
		.change_count = count,
		.msg_len = (uint32_t)msg->whole.len,
		.call_id = part_of(msg->whole, message_value(msg, SIP_CALL_ID)),
		.from = part_of(msg->whole, message_value(msg, SIP_FROM)),
		.to = part_of(msg->whole, message_value(msg, SIP_TO)),
		.method = part_of(msg->whole, filter_method(msg)),
	};
	if (msg->whole.len)
		memcpy(message_bytes(r), msg->whole.ptr, msg->whole.len);
	put_changes(r, seen, alg);
	return r;
}

void seen_put_packet(struct ring *ring, enum seen_packet_kind kind,
		     const void *data, size_t len, const struct tuple *to)
{
	struct packet_record *r = ring_put(ring, sizeof(*r) + len);

	if (!r)
		return;
	*r = (struct packet_record){ .kind = SEEN_PACKET,
				     .which = kind,
				     .len = (uint32_t)len };
	if (to)
		r->to = *to;
	memcpy(r->data, data, len);
}

enum seen_kind seen_kind_of(const void *record)
{
	return *(const enum seen_kind *)record;
}

void seen_set_reason(void *record, enum counter reason)
{
	struct message_record *r = record;

	r->seen.reason = reason;
}

uint8_t seen_wanted(const void *record)
{
	const struct message_record *r = record;

	return r->seen.wanted;
}

/* ---- text ---- */

static struct span span_of(const struct message_record *r, struct part p)
{
	return (struct span){ p.len ? message_bytes(r) + p.at : NULL, p.len };
}

static struct span new_text(const struct message_record *r,
			    const struct change *c)
{
	return (struct span){ message_bytes(r) + r->msg_len + c->new.at,
			      c->new.len };
}

/* JSON is UTF-8, and readers do not like a NUL in it; what has either is shown
 * as in logs
 */
static json_t *text_of(struct span s)
{
	char escaped[TEXT_MAX];
	json_t *text = NULL;

	if (s.len > TEXT_MAX)
		s.len = TEXT_MAX;
	if (!span_chr(s, '\0'))
		text = json_stringn(s.ptr ? s.ptr : "", s.len);
	return text ? text
		    : json_string(log_escape(escaped, sizeof(escaped), s));
}

/* The line of the message that @at lies in, without its end */
static struct span line_at(const struct message_record *r, uint32_t at)
{
	struct span whole = { message_bytes(r), r->msg_len };
	const char *from = memrchr(whole.ptr, '\n', at), *to;

	from = from ? from + 1 : whole.ptr;
	to = span_chr(span_between(from, span_end(whole)), '\n');
	if (!to)
		to = span_end(whole);
	if (to > from && to[-1] == '\r')
		to--;
	return span_between(from, to);
}

static struct span start_line(const struct message_record *r)
{
	struct span whole = { message_bytes(r), r->msg_len };
	uint32_t at = 0;

	/* Line ends may stand before it: RFC 3261 7.5 */
	while (at < whole.len &&
	       (whole.ptr[at] == '\r' || whole.ptr[at] == '\n'))
		at++;
	return line_at(r, at);
}

static void append(char *buf, size_t cap, size_t *len, struct span s)
{
	size_t room = cap - *len;

	if (s.len > room)
		s.len = room;
	if (s.len)
		memcpy(buf + *len, s.ptr, s.len);
	*len += s.len;
}

/* The line of change @i, with it and those after it in the same line; @i moves
 * past them
 */
static json_t *changed_line(const struct message_record *r, uint32_t *i)
{
	const char *bytes = message_bytes(r);
	struct span line = line_at(r, r->change[*i].old.at);
	const char *from = line.ptr, *end = span_end(line);
	uint32_t first = *i;
	char new[TEXT_MAX];
	size_t len = 0;

	for (; *i < r->change_count; (*i)++) {
		const struct change *c = &r->change[*i];
		const char *at = bytes + c->old.at;

		if (at < from || at + c->old.len > end)
			break;
		append(new, sizeof(new), &len, span_between(from, at));
		append(new, sizeof(new), &len, new_text(r, c));
		from = at + c->old.len;
	}
	/* One that does not end where its line does: folded */
	if (*i == first)
		(*i)++;
	append(new, sizeof(new), &len, span_between(from, end));
	return json_pack("{s:o, s:o}", "old", text_of(line), "new",
			 text_of((struct span){ new, len }));
}

static json_t *lines_of(const struct message_record *r)
{
	json_t *lines = json_array();

	for (uint32_t i = 0; i < r->change_count;)
		json_array_append_new(lines, changed_line(r, &i));
	return lines;
}

static json_t *changes_of(const struct message_record *r)
{
	json_t *list = json_array();
	char why[WHY_MAX];

	for (uint32_t i = 0; i < r->change_count; i++) {
		const struct change *c = &r->change[i];

		why_format(&c->why, r->seen.time_us, why);
		json_array_append_new(
			list,
			json_pack("{s:s, s:o, s:o, s:s}", "site", c->site,
				  "old", text_of(span_of(r, c->old)), "new",
				  text_of(new_text(r, c)), "why", why));
	}
	return list;
}

/* ---- as JSON ---- */

static void set_endpoint(json_t *object, const char *key,
			 const struct endpoint *end)
{
	char text[ENDPOINT_TEXT_MAX];

	if (!addr_is_set(&end->addr))
		return;
	endpoint_format(end, text);
	json_object_set_new(object, key, json_string(text));
}

static void set_text(json_t *object, const char *key,
		     const struct message_record *r, struct part part)
{
	if (part.len)
		json_object_set_new(object, key, text_of(span_of(r, part)));
}

/* RFC 3339, local */
static void set_time(json_t *object, uint64_t time_us)
{
	time_t seconds = (time_t)(time_us / 1000000);
	char day[32] = "", zone[8] = "", text[64];
	struct tm tm;

	if (localtime_r(&seconds, &tm)) {
		strftime(day, sizeof(day), "%FT%T", &tm);
		strftime(zone, sizeof(zone), "%z", &tm);
	}
	/* "+0100": it wants a colon */
	snprintf(text, sizeof(text), "%s.%06u%.3s:%s", day,
		 (unsigned int)(time_us % 1000000), zone,
		 strlen(zone) > 3 ? zone + 3 : "");
	json_object_set_new(object, "time", json_string(text));
}

static const char *direction(enum nat_side side)
{
	static const char *const names[] = {
		[NAT_SIDE_LAN] = "out",
		[NAT_SIDE_WAN] = "in",
		[NAT_SIDE_OTHER] = "other",
	};

	return names[side];
}

json_t *seen_message_json(const void *record)
{
	const struct message_record *r = record;
	const struct seen *seen = &r->seen;
	json_t *object = json_object();

	set_time(object, seen->time_us);
	json_object_set_new(object, "direction",
			    json_string(direction(seen->side)));
	json_object_set_new(
		object, "transport",
		json_string(seen->proto == IPPROTO_TCP ? "tcp" : "udp"));
	set_endpoint(object, "phone", &seen->phone);
	set_endpoint(object, "public", &seen->public_end);
	set_endpoint(object, "peer", &seen->peer);
	json_object_set_new(object, "start", text_of(start_line(r)));
	set_text(object, "method", r, r->method);
	if (r->status)
		json_object_set_new(object, "status", json_integer(r->status));
	set_text(object, "call_id", r, r->call_id);
	set_text(object, "from", r, r->from);
	set_text(object, "to", r, r->to);
	json_object_set_new(object, "reason",
			    json_string(counter_name(seen->reason)));
	json_object_set_new(object, "text",
			    json_string(counter_help(seen->reason)));
	json_object_set_new(object, "edits", changes_of(r));
	json_object_set_new(object, "lines", lines_of(r));
	return object;
}

void seen_comment(const void *record, char *text, size_t cap)
{
	const struct message_record *r = record;
	char old[256], new[256], why[WHY_MAX];
	size_t len = strlen(text);

	len += (size_t)snprintf(
		text + len, cap - len, "%s%s\n%s: %s", len ? "\n" : "",
		log_escape(old, sizeof(old), start_line(r)),
		counter_name(r->seen.reason), counter_help(r->seen.reason));
	for (uint32_t i = 0; i < r->change_count && len < cap; i++) {
		const struct change *c = &r->change[i];

		len += (size_t)snprintf(
			text + len, cap - len, "\n%s %s -> %s: %s", c->site,
			log_escape(old, sizeof(old), span_of(r, c->old)),
			log_escape(new, sizeof(new), new_text(r, c)),
			why_format(&c->why, r->seen.time_us, why));
	}
}

/* What the comment says in its first line */
static void begin_comment(const struct packet_record *r,
			  const struct seen_group *group, char *text,
			  size_t cap)
{
	static const char *const firsts[] = {
		[SEEN_BEFORE] = "as it came",
		[SEEN_AFTER] = "changed",
		[SEEN_AS_IT_CAME] = "left as it came",
		[SEEN_OWN] = "sent by sipalgd itself",
	};
	const char *first = firsts[r->which];

	if (r->which == SEEN_BEFORE && group->drop)
		first = "taken by sipalgd, which answers for it";
	snprintf(text, cap, "%s; %s: %s", first, counter_name(group->reason),
		 counter_help(group->reason));
}

/* As it leaves. Before and after would be one conversation else, and readers
 * take the second of two segments for a repetition
 */
static void translate_record(struct packet_record *r)
{
	struct packet pkt;

	if (r->to.proto && packet_parse(r->data, r->len, &pkt) == PACKET_OK &&
	    addr_family(&pkt.tuple.src.addr) == addr_family(&r->to.src.addr))
		translate(&pkt, r->data, &r->to);
	r->to.proto = 0;
}

json_t *seen_packet_json(void *record, const struct seen_group *group,
			 const char *comment)
{
	struct packet_record *r = record;
	size_t cap = ((size_t)r->len + 2) / 3 * 4 + 1;
	char *base64 = malloc(cap), first[160];
	json_t *object = NULL;
	bool own = r->which == SEEN_OWN;
	int len;

	if (!base64)
		return NULL;
	if (own && !comment[0])
		snprintf(first, sizeof(first), "sent by sipalgd itself");
	else
		begin_comment(r, group, first, sizeof(first));
	translate_record(r);
	len = b64_ntop(r->data, r->len, base64, cap);
	if (len >= 0)
		object = json_pack("{s:I, s:s, s:s++, s:s#}", "time_us",
				   (json_int_t)group->time_us, "interface",
				   r->which == SEEN_BEFORE ? "before" : "after",
				   "comment", first, comment[0] ? "\n" : "",
				   comment, "data", base64, len);
	free(base64);
	return object;
}
