/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/finding.h"

#include <stdio.h>

#include "sip/field.h"
#include "state/path.h"

/* Of a message that could not be read, in the text */
#define EXAMPLE_LEN 60

/* ---- answers ---- */

/* The one who is called is not there. Not 484: somebody is still dialling
 * (RFC 3261 21.4.22, overlap)
 */
static bool is_unknown(unsigned int status)
{
	return status == 404 || status == 410 || status == 604;
}

void finding_answer(struct calls *calls, struct call *call,
		    const struct flow *flow, const struct addr *shown,
		    const struct message *msg, bool outbound, uint64_t now_ms)
{
	struct symptom_subject of = call_subject(call);
	char text[SYMPTOM_TEXT_MAX], phone[ENDPOINT_TEXT_MAX];
	enum symptom s;

	if (outbound) {
		if (!is_unknown(msg->status) || call->answered_ms)
			return;
		endpoint_format(&flow->lan.src, phone);
		symptom_raise(calls->symptoms, &of, SYMPTOM_unknown_contact,
			      now_ms, "%s answered %u to an INVITE for %.*s",
			      phone, msg->status,
			      SPAN_ARG(field_uri(message_value(msg, SIP_TO))));
		return;
	}
	if (call->path_seen)
		return;
	call->path_seen = true;
	s = path_look(flow, shown, msg, text);
	if (s != SYMPTOM_COUNT)
		symptom_raise(calls->symptoms, &of, s, now_ms, "%s", text);
}

/* ---- what was left as it is ---- */

/* Counted while the rest of the message may have been changed */
static const enum counter parts[FINDING_PARTS] = {
	COUNTER_values_in_doubt,   COUNTER_media_reserved_port,
	COUNTER_media_exhausted,   COUNTER_media_clashes,
	COUNTER_media_not_handled, COUNTER_ports_exhausted,
	COUNTER_calls_refused,	   COUNTER_over_share,
	COUNTER_sip_reserved_port,
};

void finding_mark(const struct counters *counters, struct finding_mark *mark)
{
	for (int i = 0; i < FINDING_PARTS; i++)
		mark->value[i] = counters->value[parts[i]];
}

enum counter finding_since(const struct counters *counters,
			   const struct finding_mark *mark)
{
	for (int i = 0; i < FINDING_PARTS; i++) {
		if (mark->value[i] != counters->value[parts[i]])
			return parts[i];
	}
	return COUNTER_COUNT;
}

/* "INVITE", or "INVITE 200" */
static void name_message(const struct message *msg, char *buf, size_t cap)
{
	struct span method = message_value(msg, SIP_CSEQ);
	const char *blank = span_chr(method, ' ');

	if (blank)
		method = span_trim(span_between(blank, span_end(method)));
	if (message_is_request(msg))
		snprintf(buf, cap, "%.*s", SPAN_ARG(method));
	else
		snprintf(buf, cap, "%u to %.*s", msg->status, SPAN_ARG(method));
}

void finding_part(struct symptoms *list, const struct symptom_subject *subject,
		  enum counter reason, const struct message *msg,
		  uint64_t now_ms)
{
	char name[64];

	name_message(msg, name, sizeof(name));
	symptom_raise(list, subject, SYMPTOM_not_rewritten, now_ms,
		      "part of %s: %s (%s)", name, counter_help(reason),
		      counter_name(reason));
}

bool finding_is_failure(enum counter reason)
{
	static const bool failures[COUNTER_COUNT] = {
		[COUNTER_bad_header] = true, [COUNTER_bad_end] = true,
		[COUNTER_bad_length] = true, [COUNTER_too_many_headers] = true,
		[COUNTER_too_long] = true,   [COUNTER_too_many_edits] = true,
		[COUNTER_no_mapping] = true, [COUNTER_too_big] = true,
		[COUNTER_over_rate] = true,
	};

	return failures[reason];
}

void finding_failure(struct symptoms *list,
		     const struct symptom_subject *subject, enum counter reason,
		     struct span example, uint64_t now_ms)
{
	if (example.len > EXAMPLE_LEN)
		example.len = EXAMPLE_LEN;
	symptom_raise(list, subject, SYMPTOM_not_rewritten, now_ms,
		      "%s (%s)%s%.*s%s", counter_help(reason),
		      counter_name(reason), example.len ? ": \"" : "",
		      SPAN_ARG(example), example.len ? "\"" : "");
}

/* ---- who is not there any more ---- */

void finding_nobody(struct symptoms *list, const struct bindings *bindings,
		    const struct tuple *wan, uint64_t now_ms)
{
	const struct mapping *map = mapping_find_public(bindings, &wan->dst);
	const struct addr *inside = map ? &map->in.inside.addr : NULL;
	struct symptom_subject of = { .inside = inside };
	char from[ADDR_TEXT_MAX], to[ENDPOINT_TEXT_MAX];

	if (!peer_was_known(bindings, inside, &wan->src.addr))
		return;
	addr_format(&wan->src.addr, from);
	endpoint_format(&wan->dst, to);
	symptom_raise(list, &of, SYMPTOM_unknown_contact, now_ms,
		      "%s sends to %s, %s", from, to,
		      map ? "whose phone is not registered there"
			  : "which no phone has");
}
