/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/filter.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "sip/field.h"

/* ---- reading ---- */

__attribute__((format(printf, 2, 3))) static int refuse(char *why,
							const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, FILTER_WHY_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int add_network(struct conf_networks *list, struct span value, char *why)
{
	char text[64];

	if (list->count == CONF_MAX_NETWORKS)
		return refuse(why, "filter: more than %d networks",
			      CONF_MAX_NETWORKS);
	if (!network_parse(value, &list->net[list->count])) {
		list->count++;
		return 0;
	}
	return refuse(why,
		      "filter: \"%s\" is neither an address nor a network "
		      "(ADDRESS/LENGTH with no bits set beyond LENGTH)",
		      log_escape(text, sizeof(text), value));
}

static int add_name(struct conf_names *list, struct span value, char *why)
{
	if (list->count == CONF_MAX_NAMES)
		return refuse(why, "filter: more than %d of a kind",
			      CONF_MAX_NAMES);
	if (!value.len || value.len >= CONF_NAME_MAX)
		return refuse(why,
			      "filter: 1 to %d characters behind \"=\"; \"*\" "
			      "stands for many",
			      CONF_NAME_MAX - 1);
	span_copy(list->name[list->count], CONF_NAME_MAX, value);
	list->count++;
	return 0;
}

static int add_phone(struct filter *f, struct span value, char *why)
{
	return add_network(&f->phone, value, why);
}

static int add_peer(struct filter *f, struct span value, char *why)
{
	return add_network(&f->peer, value, why);
}

static int add_number(struct filter *f, struct span value, char *why)
{
	return add_name(&f->number, value, why);
}

static int add_call_id(struct filter *f, struct span value, char *why)
{
	return add_name(&f->call_id, value, why);
}

/* They are all upper case, and nobody types that */
static int add_method(struct filter *f, struct span value, char *why)
{
	int err = add_name(&f->method, value, why);
	char *name;

	if (err)
		return err;
	for (name = f->method.name[f->method.count - 1]; *name; name++)
		*name = (char)toupper((unsigned char)*name);
	return 0;
}

int filter_add(struct filter *filter, struct span term, char *why)
{
	static const struct {
		struct span key;
		int (*add)(struct filter *f, struct span value, char *why);
	} keys[] = {
		{ SPAN("phone"), add_phone },
		{ SPAN("peer"), add_peer },
		{ SPAN("number"), add_number },
		{ SPAN("call-id"), add_call_id },
		{ SPAN("method"), add_method },
	};
	const char *equals = span_chr(term, '=');
	struct span key = equals ? span_between(term.ptr, equals) : term;
	char text[64];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (equals && span_case_eq(key, keys[i].key))
			return keys[i].add(
				filter,
				span_between(equals + 1, span_end(term)), why);
	}
	return refuse(why,
		      "filter: \"%s\": not one of phone=ADDRESS, peer=ADDRESS, "
		      "number=USER, call-id=ID, method=NAME",
		      log_escape(text, sizeof(text), term));
}

/* ---- looking ---- */

static bool is_in(const struct conf_networks *list, const struct addr *a)
{
	return !list->count ||
	       (addr_is_set(a) && conf_networks_contain(list, a));
}

/* As a whole too: a Call-ID may hold "[", which a pattern takes otherwise */
static bool is_named(const struct conf_names *list, struct span text)
{
	if (!text.ptr)
		return false;
	for (unsigned int i = 0; i < list->count; i++) {
		if (span_eq(text, span_from_str(list->name[i])))
			return true;
	}
	return conf_glob_matches(list, text);
}

static struct span up_to(struct span text, char c)
{
	const char *end = text.ptr ? span_chr(text, c) : NULL;

	return end ? span_between(text.ptr, end) : text;
}

/* The user part, password left out, or what "tel:" has; with or without the
 * parameters that a number may have in either (RFC 3261 19.1.6)
 */
static bool is_user_named(const struct conf_names *list, struct span uri)
{
	struct span user = uri_user(uri);

	if (!user.ptr && span_starts(uri, SPAN("tel:")))
		user = span_between(uri.ptr + 4, span_end(uri));
	user = up_to(user, ':');
	return is_named(list, user) || is_named(list, up_to(user, ';'));
}

static bool has_number(const struct conf_names *list, const struct message *msg)
{
	static const enum sip_header headers[] = { SIP_FROM, SIP_TO };

	if (is_user_named(list, msg->request_uri))
		return true;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct span uri = field_uri(message_value(msg, headers[i]));

		if (is_user_named(list, uri))
			return true;
	}
	return false;
}

struct span filter_method(const struct message *msg)
{
	struct span text = message_is_request(msg)
				   ? msg->whole
				   : message_value(msg, SIP_CSEQ);
	const char *end;

	text = span_trim(text);
	if (!message_is_request(msg)) {
		/* "1 INVITE" */
		while (text.len && text.ptr[0] != ' ' && text.ptr[0] != '\t')
			text = span_between(text.ptr + 1, span_end(text));
		return span_trim(text);
	}
	end = span_chr(text, ' ');
	return end ? span_between(text.ptr, end) : (struct span){ 0 };
}

static bool is_message_wanted(const struct filter *f, const struct message *msg)
{
	if (!f->number.count && !f->call_id.count && !f->method.count)
		return true;
	if (!msg)
		return false;
	return (!f->method.count || is_named(&f->method, filter_method(msg))) &&
	       (!f->call_id.count ||
		is_named(&f->call_id, message_value(msg, SIP_CALL_ID))) &&
	       (!f->number.count || has_number(&f->number, msg));
}

bool filter_matches(const struct filter *filter,
		    const struct filter_subject *subject)
{
	return (is_in(&filter->phone, &subject->phone) ||
		is_in(&filter->phone, &subject->other)) &&
	       is_in(&filter->peer, &subject->peer) &&
	       is_message_wanted(filter, subject->msg);
}
