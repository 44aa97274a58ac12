/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_MESSAGE_H
#define SIPALG_SIP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "sip/field.h"

/** MESSAGE_HEADERS - Fields of interest in one message; more are "too many" */
#define MESSAGE_HEADERS 256

/**
 * enum sip_header - The header fields that this program reads
 *
 * Each has a long and perhaps a compact name (RFC 3261 7.3.3) in message.c.
 */
enum sip_header {
	SIP_OTHER,
	SIP_CALL_ID,
	SIP_CONTACT,
	SIP_CONTENT_LENGTH,
	SIP_CONTENT_TYPE,
	SIP_CSEQ,
	SIP_DIVERSION,
	SIP_EXPIRES,
	SIP_FROM,
	SIP_HISTORY_INFO,
	SIP_P_ASSERTED_IDENTITY,
	SIP_P_PREFERRED_IDENTITY,
	SIP_PATH,
	SIP_RECORD_ROUTE,
	SIP_REFER_TO,
	SIP_REFERRED_BY,
	SIP_REMOTE_PARTY_ID,
	SIP_REPLY_TO,
	SIP_ROUTE,
	SIP_SESSION_EXPIRES,
	SIP_SUBSCRIPTION_STATE,
	SIP_TO,
	SIP_USER_AGENT,
	SIP_VIA,
	SIP_HEADERS,
};

/** enum sip_method - Methods that are told apart; the rest is SIP_UNKNOWN */
enum sip_method {
	SIP_UNKNOWN,
	SIP_ACK,
	SIP_BYE,
	SIP_CANCEL,
	SIP_INVITE,
	SIP_NOTIFY,
	SIP_PRACK,
	SIP_REFER,
	SIP_REGISTER,
	SIP_SUBSCRIBE,
	SIP_UPDATE,
};

/**
 * struct sip_line - One header field, folded lines included
 * @value:	After the colon, without blanks around it; may hold line ends
 *		where the field is folded (RFC 3261 7.3.1)
 */
struct sip_line {
	enum sip_header id;
	struct span value;
};

/**
 * enum message_status - What a payload is
 *
 * All but MESSAGE_OK are reasons to leave it alone, and counted under their
 * names.
 */
enum message_status {
	MESSAGE_OK,
	MESSAGE_KEEPALIVE, /* CRLF, or zero bytes: RFC 5626 3.5.1 */
	MESSAGE_STUN, /* RFC 5626 3.5.2, RFC 8489 5 */
	MESSAGE_NOT_SIP, /* no SIP start line */
	MESSAGE_BAD_HEADER, /* NUL, or a first line that is folded */
	MESSAGE_BAD_END, /* no empty line after the header */
	MESSAGE_BAD_LENGTH, /* Content-Length: unreadable, twice, too large */
	MESSAGE_TOO_MANY_HEADERS,
};

/**
 * struct message - A SIP message: an index over its bytes
 * @whole:	All bytes
 * @request_uri: Of a request, else not there
 * @method:	Of the request, or of CSeq in an answer
 * @status:	Of an answer; 0 in a request
 * @body:	After the empty line, as long as Content-Length says (over
 *		datagrams: what is beyond is no part of the message, RFC 3261
 *		18.3)
 * @count, @line: Header fields that enum sip_header names, in order
 * @first:	Index of the first field of that name, or MESSAGE_HEADERS
 */
struct message {
	struct span whole, request_uri, body;
	enum sip_method method;
	uint16_t status;
	unsigned int count;
	uint16_t first[SIP_HEADERS];
	struct sip_line line[MESSAGE_HEADERS];
};

/**
 * message_parse() - Index a datagram's payload
 * @bytes:	Borrowed by @msg
 *
 * Tolerates leading line ends, bare LF, blanks before the colon, compact
 * names, any case. Holds no opinion on values it was not asked about.
 *
 * Source: RFC 3261 7, 18.3, 25.1
 */
enum message_status message_parse(struct span bytes, struct message *msg);

/**
 * message_parse_header() - The same, but the body is all that follows
 *
 * Content-Length is not looked at.
 */
enum message_status message_parse_header(struct span bytes,
					 struct message *msg);

static inline bool message_is_request(const struct message *msg)
{
	return !msg->status;
}

/** message_registers() - It is a REGISTER, not the answer to one */
static inline bool message_registers(const struct message *msg)
{
	return message_is_request(msg) && msg->method == SIP_REGISTER;
}

/** message_value() - Value of the first field @id; .ptr NULL if none */
struct span message_value(const struct message *msg, enum sip_header id);

/**
 * message_length() - What Content-Length says
 *
 * Return: false where the field is missing, not a number, or there twice
 */
bool message_length(const struct message *msg, uint64_t *len);

/** sip_method_from() - Method names are case-sensitive: RFC 3261 7.1 */
enum sip_method sip_method_from(struct span name);

/**
 * message_top_via() - The topmost Via
 * @via:	Set where there is one that can be read
 *
 * Return: its value; .ptr NULL if there is none that can be read
 */
struct span message_top_via(const struct message *msg, struct via *via);

/** sip_wants_credentials() - The answer is to be asked for again with
 * credentials: RFC 3261 22 */
static inline bool sip_wants_credentials(unsigned int status)
{
	return status == 401 || status == 407;
}

#endif
