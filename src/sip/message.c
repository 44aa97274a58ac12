/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/message.h"

#define NAME(text)                                                             \
	{                                                                      \
		text, sizeof(text) - 1                                         \
	}

/* Long and compact names; IANA "SIP Parameters", header fields */
static const struct {
	struct span name;
	char compact;
} header_names[SIP_HEADERS] = {
	[SIP_CALL_ID] = { NAME("Call-ID"), 'i' },
	[SIP_CONTACT] = { NAME("Contact"), 'm' },
	[SIP_CONTENT_LENGTH] = { NAME("Content-Length"), 'l' },
	[SIP_CONTENT_TYPE] = { NAME("Content-Type"), 'c' },
	[SIP_CSEQ] = { NAME("CSeq"), 0 },
	[SIP_DIVERSION] = { NAME("Diversion"), 0 },
	[SIP_EXPIRES] = { NAME("Expires"), 0 },
	[SIP_FROM] = { NAME("From"), 'f' },
	[SIP_HISTORY_INFO] = { NAME("History-Info"), 0 },
	[SIP_P_ASSERTED_IDENTITY] = { NAME("P-Asserted-Identity"), 0 },
	[SIP_P_PREFERRED_IDENTITY] = { NAME("P-Preferred-Identity"), 0 },
	[SIP_PATH] = { NAME("Path"), 0 },
	[SIP_RECORD_ROUTE] = { NAME("Record-Route"), 0 },
	[SIP_REFER_TO] = { NAME("Refer-To"), 'r' },
	[SIP_REFERRED_BY] = { NAME("Referred-By"), 'b' },
	[SIP_REMOTE_PARTY_ID] = { NAME("Remote-Party-ID"), 0 },
	[SIP_REPLY_TO] = { NAME("Reply-To"), 0 },
	[SIP_ROUTE] = { NAME("Route"), 0 },
	[SIP_SESSION_EXPIRES] = { NAME("Session-Expires"), 'x' },
	[SIP_SUBSCRIPTION_STATE] = { NAME("Subscription-State"), 0 },
	[SIP_TO] = { NAME("To"), 't' },
	[SIP_USER_AGENT] = { NAME("User-Agent"), 0 },
	[SIP_VIA] = { NAME("Via"), 'v' },
};

static const struct span method_names[] = {
	[SIP_ACK] = NAME("ACK"),
	[SIP_BYE] = NAME("BYE"),
	[SIP_CANCEL] = NAME("CANCEL"),
	[SIP_INVITE] = NAME("INVITE"),
	[SIP_PRACK] = NAME("PRACK"),
	[SIP_REGISTER] = NAME("REGISTER"),
	[SIP_NOTIFY] = NAME("NOTIFY"),
	[SIP_REFER] = NAME("REFER"),
	[SIP_SUBSCRIBE] = NAME("SUBSCRIBE"),
	[SIP_UPDATE] = NAME("UPDATE"),
};

enum sip_method sip_method_from(struct span name)
{
	for (unsigned int i = 1;
	     i < sizeof(method_names) / sizeof(*method_names); i++) {
		if (span_eq(name, method_names[i]))
			return (enum sip_method)i;
	}
	return SIP_UNKNOWN;
}

/* The first of those that begin with a letter; they stand in that order */
static const uint8_t first_name[32] = {
	['c' & 31] = SIP_CALL_ID,      ['d' & 31] = SIP_DIVERSION,
	['e' & 31] = SIP_EXPIRES,      ['f' & 31] = SIP_FROM,
	['h' & 31] = SIP_HISTORY_INFO, ['p' & 31] = SIP_P_ASSERTED_IDENTITY,
	['r' & 31] = SIP_RECORD_ROUTE, ['s' & 31] = SIP_SESSION_EXPIRES,
	['t' & 31] = SIP_TO,	       ['u' & 31] = SIP_USER_AGENT,
	['v' & 31] = SIP_VIA,
};

static enum sip_header header_from(struct span name)
{
	if (name.len == 1) {
		for (unsigned int i = 1; i < SIP_HEADERS; i++) {
			if (header_names[i].compact == (name.ptr[0] | 0x20))
				return (enum sip_header)i;
		}
		return SIP_OTHER;
	}
	if (!name.len)
		return SIP_OTHER;
	for (unsigned int i = first_name[name.ptr[0] & 31];
	     i && i < SIP_HEADERS &&
	     (name.ptr[0] | 0x20) == (header_names[i].name.ptr[0] | 0x20);
	     i++) {
		if (span_case_eq(name, header_names[i].name))
			return (enum sip_header)i;
	}
	return SIP_OTHER;
}

static bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

/* The line at the start of @rest, without its end; @rest moves past it */
static bool take_line(struct span *rest, struct span *line)
{
	const char *lf = span_chr(*rest, '\n');

	if (!lf)
		return false;
	*line = span_between(rest->ptr, lf);
	if (line->len && lf[-1] == '\r')
		line->len--;
	*rest = span_between(lf + 1, span_end(*rest));
	return true;
}

/* What the first bytes say before anything is read as text */
static enum message_status kind_of(struct span bytes)
{
	size_t blank = 0;

	while (blank < bytes.len &&
	       (is_line_end(bytes.ptr[blank]) || bytes.ptr[blank] == ' ' ||
		bytes.ptr[blank] == '\t' || bytes.ptr[blank] == '\0'))
		blank++;
	if (blank == bytes.len)
		return MESSAGE_KEEPALIVE;
	/* A STUN message: two zero bits, and the cookie at byte 4 */
	if (bytes.len >= 20 && (bytes.ptr[0] & 0xc0) == 0 &&
	    !memcmp(bytes.ptr + 4, "\x21\x12\xa4\x42", 4))
		return MESSAGE_STUN;
	return MESSAGE_OK;
}

/* "SIP/2.0 180 Ringing": RFC 3261 7.2 */
static bool parse_status_line(struct span line, struct message *msg)
{
	uint64_t status;

	if (line.len < 11 || !span_starts(line, SPAN("SIP/2.0 ")) ||
	    (line.len > 11 && line.ptr[11] != ' ') ||
	    span_to_uint((struct span){ line.ptr + 8, 3 }, 699, &status) ||
	    status < 100)
		return false;
	msg->status = (uint16_t)status;
	return true;
}

/* "INVITE sip:bob@biloxi.com SIP/2.0": RFC 3261 7.1 */
static bool parse_request_line(struct span line, struct message *msg)
{
	static const struct span version = NAME("SIP/2.0");
	const char *space = span_chr(line, ' ');
	struct span uri;

	if (!space || space == line.ptr)
		return false;
	uri = span_trim(span_between(space, span_end(line)));
	if (uri.len <= version.len ||
	    !span_starts(
		    (struct span){ span_end(uri) - version.len, version.len },
		    version))
		return false;
	uri.len -= version.len;
	if (uri.ptr[uri.len - 1] != ' ' && uri.ptr[uri.len - 1] != '\t')
		return false;
	msg->request_uri = span_trim(uri);
	msg->method = sip_method_from(span_between(line.ptr, space));
	return msg->request_uri.len;
}

/* One header line; what it says is kept if it is a field we read */
static enum message_status parse_field(struct span line, struct message *msg,
				       struct sip_line **last)
{
	const char *colon = span_chr(line, ':');
	enum sip_header id = SIP_OTHER;

	*last = NULL;
	if (colon)
		id = header_from(span_trim(span_between(line.ptr, colon)));
	if (id == SIP_OTHER)
		return MESSAGE_OK;
	if (msg->count == MESSAGE_HEADERS)
		return MESSAGE_TOO_MANY_HEADERS;
	*last = &msg->line[msg->count];
	(*last)->id = id;
	(*last)->value = span_trim(span_between(colon + 1, span_end(line)));
	if (msg->first[id] == MESSAGE_HEADERS)
		msg->first[id] = (uint16_t)msg->count;
	msg->count++;
	return MESSAGE_OK;
}

/* Header fields up to and with the empty line */
static enum message_status parse_header(struct span *rest, struct message *msg)
{
	enum message_status status;
	struct sip_line *last = NULL;
	struct span line;
	bool first = true;

	while (take_line(rest, &line)) {
		bool folded =
			line.len && (line.ptr[0] == ' ' || line.ptr[0] == '\t');

		if (!line.len)
			return MESSAGE_OK;
		if (folded && first)
			return MESSAGE_BAD_HEADER;
		first = false;
		if (!folded) {
			status = parse_field(line, msg, &last);
			if (status != MESSAGE_OK)
				return status;
		} else if (last) {
			last->value = span_trim(
				span_between(last->value.ptr, span_end(line)));
		}
	}
	return MESSAGE_BAD_END;
}

bool message_length(const struct message *msg, uint64_t *len)
{
	bool seen = false;

	for (unsigned int i = 0; i < msg->count; i++) {
		if (msg->line[i].id != SIP_CONTENT_LENGTH)
			continue;
		if (seen || span_to_uint(msg->line[i].value, UINT32_MAX, len))
			return false;
		seen = true;
	}
	return seen;
}

/* Cut the body to what Content-Length says */
static enum message_status parse_length(struct message *msg)
{
	uint64_t len;

	if (msg->first[SIP_CONTENT_LENGTH] == MESSAGE_HEADERS)
		return MESSAGE_OK;
	if (!message_length(msg, &len) || len > msg->body.len)
		return MESSAGE_BAD_LENGTH;
	msg->body.len = len;
	return MESSAGE_OK;
}

/* The method of an answer stands in CSeq: RFC 3261 20.16 */
static void method_from_cseq(struct message *msg)
{
	struct span cseq = message_value(msg, SIP_CSEQ);
	size_t at = cseq.len;

	while (at && cseq.ptr[at - 1] != ' ' && cseq.ptr[at - 1] != '\t' &&
	       !is_line_end(cseq.ptr[at - 1]))
		at--;
	if (cseq.len)
		msg->method = sip_method_from(
			span_between(cseq.ptr + at, span_end(cseq)));
}

enum message_status message_parse_header(struct span bytes, struct message *msg)
{
	enum message_status status = kind_of(bytes);
	struct span rest = bytes, line;

	if (status != MESSAGE_OK)
		return status;
	msg->whole = bytes;
	msg->request_uri = (struct span){ 0 };
	msg->method = SIP_UNKNOWN;
	msg->status = 0;
	msg->count = 0;
	for (unsigned int i = 0; i < SIP_HEADERS; i++)
		msg->first[i] = MESSAGE_HEADERS;

	/* RFC 3261 7.5: empty lines before the start line are ignored */
	while (rest.len && is_line_end(rest.ptr[0]))
		rest = span_between(rest.ptr + 1, span_end(rest));
	if (!take_line(&rest, &line) ||
	    (!parse_status_line(line, msg) && !parse_request_line(line, msg)))
		return MESSAGE_NOT_SIP;
	status = parse_header(&rest, msg);
	if (status != MESSAGE_OK)
		return status;
	if (span_chr(span_between(line.ptr, rest.ptr), '\0'))
		return MESSAGE_BAD_HEADER;
	msg->body = rest;
	if (!message_is_request(msg))
		method_from_cseq(msg);
	return MESSAGE_OK;
}

enum message_status message_parse(struct span bytes, struct message *msg)
{
	enum message_status status = message_parse_header(bytes, msg);

	return status == MESSAGE_OK ? parse_length(msg) : status;
}

struct span message_value(const struct message *msg, enum sip_header id)
{
	if (msg->first[id] == MESSAGE_HEADERS)
		return (struct span){ 0 };
	return msg->line[msg->first[id]].value;
}

struct span message_top_via(const struct message *msg, struct via *via)
{
	struct span field = message_value(msg, SIP_VIA), value;

	if (field_next_value(&field, &value) && via_parse(value, via))
		return value;
	return (struct span){ 0 };
}
