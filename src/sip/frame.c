/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/frame.h"

static bool is_line_end(char c)
{
	return c == '\r' || c == '\n';
}

/* As long as a start line may be: longer is not SIP */
#define START_LINE_MAX 8192
/* RFC 3261 25.1: token, for the method */
#define METHOD_MAX 32

static bool is_token(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c >= '0' && c <= '9') || (c && strchr("-.!%*_+`'~", c));
}

static bool is_alpha(char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/*
 * May a start line begin so? As soon as the bytes say no, it is no: "GET /"
 * has no scheme where a Request-URI has one, TLS begins with no token.
 */
static bool may_start(struct span bytes)
{
	struct span version = SPAN("SIP/2.0 ");
	size_t n = bytes.len < version.len ? bytes.len : version.len, i = 0;

	if (span_starts((struct span){ bytes.ptr, n },
			(struct span){ version.ptr, n }))
		return true;
	while (i < bytes.len && is_token(bytes.ptr[i]))
		i++;
	if (i > METHOD_MAX || (i == 0 && bytes.len))
		return false;
	if (i == bytes.len)
		return true;
	if (bytes.ptr[i] != ' ')
		return false;
	while (i < bytes.len && bytes.ptr[i] == ' ')
		i++;
	if (i == bytes.len)
		return true;
	if (!is_alpha(bytes.ptr[i]))
		return false;
	while (i < bytes.len && (is_alpha(bytes.ptr[i]) ||
				 (is_token(bytes.ptr[i]) &&
				  strchr("0123456789+-.", bytes.ptr[i]))))
		i++;
	return i == bytes.len || bytes.ptr[i] == ':';
}

/* Offset after the empty line that ends the header; 0: not there yet. What is
 * known to have none is not searched again.
 */
static size_t find_header_end(struct span bytes, size_t *searched)
{
	const char *at = bytes.ptr + *searched, *end = span_end(bytes);

	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		const char *next = at + 1;

		if (next < end && *next == '\r')
			next++;
		if (next == end)
			break;
		if (*next == '\n')
			return (size_t)(next + 1 - bytes.ptr);
		at++;
	}
	*searched = (size_t)((at ? at : end) - bytes.ptr);
	return 0;
}

/* The first line with its end; without one, all there is */
static struct span first_line(struct span bytes)
{
	const char *end = span_chr(bytes, '\n');

	return end ? span_between(bytes.ptr, end + 1) : bytes;
}

static bool may_be_start(struct span line)
{
	return line.len <= START_LINE_MAX && may_start(line);
}

/* FRAME_MESSAGE: there is a start line. However the bytes are cut, the answer
 * is the same
 */
static enum frame_kind find_start(struct span bytes, struct message *msg)
{
	struct span line = first_line(bytes);

	if (!may_be_start(line))
		return FRAME_ALIEN;
	if (line.ptr[line.len - 1] != '\n')
		return FRAME_MORE;
	return message_parse_header(line, msg) == MESSAGE_NOT_SIP
		       ? FRAME_ALIEN
		       : FRAME_MESSAGE;
}

/* FRAME_MESSAGE: the header is all there, and its end is found */
static enum frame_kind find_header(struct framer *framer, struct span bytes,
				   size_t max, struct message *msg,
				   size_t *header)
{
	*header = find_header_end(bytes, &framer->searched);
	if (!framer->started) {
		enum frame_kind kind = find_start(bytes, msg);

		if (kind != FRAME_MESSAGE)
			return kind;
		framer->started = true;
	}
	framer->status = MESSAGE_BAD_END;
	if (!*header && bytes.len <= max)
		return FRAME_MORE;
	if (*header && *header <= max)
		framer->status = message_parse_header(
			(struct span){ bytes.ptr, *header }, msg);
	return FRAME_MESSAGE;
}

/* The same in one pass, where nothing is missing and nothing is wrong */
static bool find_whole_header(struct framer *framer, struct span bytes,
			      size_t max, struct message *msg, size_t *header)
{
	if (framer->started || framer->searched ||
	    !may_be_start(first_line(bytes)) ||
	    message_parse_header(bytes, msg) != MESSAGE_OK)
		return false;
	*header = (size_t)(msg->body.ptr - bytes.ptr);
	if (*header > max)
		return false;
	msg->whole.len = *header;
	framer->started = true;
	framer->status = MESSAGE_OK;
	return true;
}

static enum frame_kind frame_of(struct framer *framer, struct span bytes,
				size_t max, struct message *msg)
{
	size_t header = 0;
	uint64_t body = 0;

	if (!find_whole_header(framer, bytes, max, msg, &header)) {
		enum frame_kind kind =
			find_header(framer, bytes, max, msg, &header);

		if (kind != FRAME_MESSAGE)
			return kind;
	}
	if (framer->status == MESSAGE_OK &&
	    msg->first[SIP_CONTENT_LENGTH] != MESSAGE_HEADERS &&
	    !message_length(msg, &body))
		framer->status = MESSAGE_BAD_LENGTH;
	if (framer->status != MESSAGE_OK)
		return FRAME_BROKEN;
	framer->len = header + body;
	if (framer->len > max)
		return FRAME_LONG;
	if (framer->len > bytes.len)
		return FRAME_MORE;
	msg->whole.len = framer->len;
	msg->body = (struct span){ bytes.ptr + header, body };
	return FRAME_MESSAGE;
}

enum frame_kind frame_next(struct framer *framer, struct span bytes, size_t max,
			   struct message *msg)
{
	size_t blank = 0;

	if (framer->len && framer->len > bytes.len)
		return FRAME_MORE;
	while (blank < bytes.len && is_line_end(bytes.ptr[blank]))
		blank++;
	if (!bytes.len)
		return FRAME_MORE;
	if (blank) {
		*framer = (struct framer){ .len = blank };
		return FRAME_BLANK;
	}
	return frame_of(framer, bytes, max, msg);
}
