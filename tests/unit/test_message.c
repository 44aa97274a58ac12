/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "guard.h"

static struct message msg;

static enum message_status parse(const char *text)
{
	return message_parse(guard_str(text), &msg);
}

static void assert_value(enum sip_header id, const char *want)
{
	struct span value = message_value(&msg, id);

	if (!want) {
		assert_null(value.ptr);
		return;
	}
	assert_non_null(value.ptr);
	if (!span_eq(value, span_from_str(want)))
		fail_msg("'%.*s', not '%s'", SPAN_ARG(value), want);
}

static void test_request(void **state)
{
	(void)state;
	assert_int_equal(parse("INVITE sip:bob@biloxi.com SIP/2.0\r\n"
			       "Via: SIP/2.0/UDP pc33\r\n"
			       "CSeq: 1 BYE\r\n"
			       "Content-Length: 3\r\n\r\nabcdef"),
			 MESSAGE_OK);
	assert_true(message_is_request(&msg));
	/* A request's method is in its first line, not in CSeq */
	assert_int_equal(msg.method, SIP_INVITE);
	assert_true(span_eq(msg.request_uri, SPAN("sip:bob@biloxi.com")));
	assert_true(span_eq(msg.body, SPAN("abc")));
	assert_value(SIP_VIA, "SIP/2.0/UDP pc33");
	assert_value(SIP_CONTACT, NULL);
}

static void test_answer(void **state)
{
	static const struct {
		const char *line;
		int status; /* 0: not SIP */
	} t[] = {
		{ "SIP/2.0 180 Ringing", 180 },
		{ "SIP/2.0 200 ", 200 },
		{ "SIP/2.0 200", 200 },
		{ "sip/2.0 699 x", 699 },
		{ "SIP/2.0 100 \xc3\xa9", 100 },
		{ "SIP/2.0 700 x", 0 },
		{ "SIP/2.0 099 x", 0 },
		{ "SIP/2.0 2000 x", 0 },
		{ "SIP/2.0 20", 0 },
		{ "SIP/2.0  200 x", 0 },
		{ "SIP/2.0 2x0 OK", 0 },
		{ "SIP/3.0 200 OK", 0 },
		{ "SIP/2.0 -20 OK", 0 },
		{ "SIP/2.0", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		char text[128];
		enum message_status got;

		snprintf(text, sizeof(text),
			 "%s\r\nCSeq: 7 \t\r\n UPDATE\r\n\r\n", t[i].line);
		got = parse(text);
		if (got != (t[i].status ? MESSAGE_OK : MESSAGE_NOT_SIP))
			fail_msg("'%s' is %d", t[i].line, got);
		if (!t[i].status)
			continue;
		assert_int_equal(msg.status, t[i].status);
		assert_false(message_is_request(&msg));
		assert_int_equal(msg.method, SIP_UPDATE);
		assert_null(msg.request_uri.ptr);
	}
}

static void test_methods(void **state)
{
	static const struct {
		const char *name;
		enum sip_method method;
	} t[] = {
		{ "ACK", SIP_ACK },
		{ "BYE", SIP_BYE },
		{ "CANCEL", SIP_CANCEL },
		{ "INVITE", SIP_INVITE },
		{ "PRACK", SIP_PRACK },
		{ "REGISTER", SIP_REGISTER },
		{ "UPDATE", SIP_UPDATE },
		{ "OPTIONS", SIP_UNKNOWN },
		{ "invite", SIP_UNKNOWN },
		{ "INVITES", SIP_UNKNOWN },
		{ "!odd-%*_+`'~", SIP_UNKNOWN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		char text[128];

		assert_int_equal(sip_method_from(span_from_str(t[i].name)),
				 t[i].method);
		snprintf(text, sizeof(text), "%s sip:x SIP/2.0\r\n\r\n",
			 t[i].name);
		assert_int_equal(parse(text), MESSAGE_OK);
		assert_int_equal(msg.method, t[i].method);
		snprintf(text, sizeof(text),
			 "SIP/2.0 200 OK\r\ncseq:1 %s\r\n\r\n", t[i].name);
		assert_int_equal(parse(text), MESSAGE_OK);
		assert_int_equal(msg.method, t[i].method);
	}
	assert_int_equal(parse("SIP/2.0 200 OK\r\n\r\n"), MESSAGE_OK);
	assert_int_equal(msg.method, SIP_UNKNOWN);
}

/* RFC 3261 7.3.3, 20; RFC 3515, 3892, 4028 */
static void test_names(void **state)
{
	static const struct {
		enum sip_header id;
		const char *name, *compact;
	} t[] = {
		{ SIP_CALL_ID, "Call-ID", "i" },
		{ SIP_CONTACT, "Contact", "m" },
		{ SIP_CONTENT_LENGTH, "Content-Length", "l" },
		{ SIP_CONTENT_TYPE, "Content-Type", "c" },
		{ SIP_CSEQ, "CSeq", NULL },
		{ SIP_DIVERSION, "Diversion", NULL },
		{ SIP_EXPIRES, "Expires", NULL },
		{ SIP_FROM, "From", "f" },
		{ SIP_HISTORY_INFO, "History-Info", NULL },
		{ SIP_P_ASSERTED_IDENTITY, "P-Asserted-Identity", NULL },
		{ SIP_P_PREFERRED_IDENTITY, "P-Preferred-Identity", NULL },
		{ SIP_PATH, "Path", NULL },
		{ SIP_RECORD_ROUTE, "Record-Route", NULL },
		{ SIP_REFER_TO, "Refer-To", "r" },
		{ SIP_REFERRED_BY, "Referred-By", "b" },
		{ SIP_REMOTE_PARTY_ID, "Remote-Party-ID", NULL },
		{ SIP_REPLY_TO, "Reply-To", NULL },
		{ SIP_ROUTE, "Route", NULL },
		{ SIP_SESSION_EXPIRES, "Session-Expires", "x" },
		{ SIP_SUBSCRIPTION_STATE, "Subscription-State", NULL },
		{ SIP_TO, "To", "t" },
		{ SIP_USER_AGENT, "User-Agent", NULL },
		{ SIP_VIA, "Via", "v" },
	};
	char text[128];

	(void)state;
	assert_int_equal(sizeof(t) / sizeof(*t), SIP_HEADERS - 1);
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		snprintf(text, sizeof(text),
			 "X sip:x SIP/2.0\r\n%s \t: 0\r\n\r\n", t[i].name);
		/* In odd letter case */
		for (size_t k = 17; text[k] != ':'; k++) {
			if (k % 2 && text[k] >= 'A')
				text[k] ^= 0x20;
		}
		assert_int_equal(parse(text), MESSAGE_OK);
		assert_value(t[i].id, "0");
		if (!t[i].compact)
			continue;
		snprintf(text, sizeof(text), "X sip:x SIP/2.0\r\n%s:0\r\n\r\n",
			 t[i].compact);
		assert_int_equal(parse(text), MESSAGE_OK);
		assert_value(t[i].id, "0");
		text[17] = (char)(text[17] & ~0x20);
		assert_int_equal(parse(text), MESSAGE_OK);
		assert_value(t[i].id, "0");
	}
	/* Near misses */
	assert_int_equal(parse("X sip:x SIP/2.0\r\nVias: 0\r\nVi: 0\r\n"
			       "X-Via: 0\r\nV-: 0\r\n: 0\r\nVia\r\n6: 0\r\n"
			       "Content-Length2: 9\r\n\r\n"),
			 MESSAGE_OK);
	assert_value(SIP_VIA, NULL);
	assert_value(SIP_CONTENT_LENGTH, NULL);
}

static void test_folding(void **state)
{
	(void)state;
	assert_int_equal(parse("X sip:x SIP/2.0\r\n"
			       "Subject: a\r\n Via: not one\r\n"
			       "To:\r\n\t \r\n  <sip:x>\r\n ;tag=1 \r\n"
			       "no field\r\n Contact: neither\r\n"
			       "Via: a\n b\r\n\tc\r\n"
			       "Expires: \r\n \r\n\r\nbody"),
			 MESSAGE_OK);
	assert_value(SIP_TO, "<sip:x>\r\n ;tag=1");
	assert_value(SIP_VIA, "a\n b\r\n\tc");
	assert_value(SIP_CONTACT, NULL);
	assert_value(SIP_EXPIRES, "");
	assert_true(span_eq(msg.body, SPAN("body")));
	assert_int_equal(parse("X sip:x SIP/2.0\r\n folded: 1\r\n\r\n"),
			 MESSAGE_BAD_HEADER);
}

static void test_order(void **state)
{
	unsigned int vias = 0;

	(void)state;
	assert_int_equal(parse("X sip:x SIP/2.0\r\nVia: 1\r\nFrom: f\r\n"
			       "v: 2\r\nVIA: 3\r\n\r\n"),
			 MESSAGE_OK);
	assert_value(SIP_VIA, "1");
	for (unsigned int i = msg.first[SIP_VIA]; i < msg.count; i++) {
		if (msg.line[i].id != SIP_VIA)
			continue;
		vias++;
		assert_int_equal(msg.line[i].value.ptr[0], '0' + vias);
	}
	assert_int_equal(vias, 3);
}

static void test_lengths(void **state)
{
	static const struct {
		const char *fields, *body;
		enum message_status status;
		size_t len;
	} t[] = {
		{ "", "12345", MESSAGE_OK, 5 },
		{ "Content-Length: 5\r\n", "12345", MESSAGE_OK, 5 },
		{ "Content-Length: 4\r\n", "12345", MESSAGE_OK, 4 },
		{ "Content-Length: 0\r\n", "12345", MESSAGE_OK, 0 },
		{ "Content-Length:  \t005 \r\n", "12345", MESSAGE_OK, 5 },
		{ "Content-Length:\r\n 5\r\n", "12345", MESSAGE_OK, 5 },
		{ "l:5\r\n", "12345", MESSAGE_OK, 5 },
		{ "Content-Length: 6\r\n", "12345", MESSAGE_BAD_LENGTH, 0 },
		{ "Content-Length: -1\r\n", "12345", MESSAGE_BAD_LENGTH, 0 },
		{ "Content-Length: +1\r\n", "12345", MESSAGE_BAD_LENGTH, 0 },
		{ "Content-Length: 1 2\r\n", "12345", MESSAGE_BAD_LENGTH, 0 },
		{ "Content-Length: \r\n", "12345", MESSAGE_BAD_LENGTH, 0 },
		{ "Content-Length: 5\r\nl: 5\r\n", "12345", MESSAGE_BAD_LENGTH,
		  0 },
		{ "Content-Length: 4294967301\r\n", "12345", MESSAGE_BAD_LENGTH,
		  0 },
		{ "Content-Length: 99999999999999999999\r\n", "12345",
		  MESSAGE_BAD_LENGTH, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		char text[256];
		enum message_status got;

		snprintf(text, sizeof(text), "X sip:x SIP/2.0\r\n%s\r\n%s",
			 t[i].fields, t[i].body);
		got = parse(text);
		if (got != t[i].status)
			fail_msg("'%s' gave %d", t[i].fields, got);
		if (got == MESSAGE_OK)
			assert_int_equal(msg.body.len, t[i].len);
	}
}

static void test_other_than_sip(void **state)
{
	static const struct {
		struct span bytes;
		enum message_status status;
	} t[] = {
		{ { "", 0 }, MESSAGE_KEEPALIVE },
		{ { "\r\n\r\n", 4 }, MESSAGE_KEEPALIVE },
		{ { "\r\n", 2 }, MESSAGE_KEEPALIVE },
		{ { "\0\0\0\0", 4 }, MESSAGE_KEEPALIVE },
		{ { " \t", 2 }, MESSAGE_KEEPALIVE },
		{ { "\0\1\0\0\x21\x12\xa4\x42"
		    "123456789012",
		    20 },
		  MESSAGE_STUN },
		{ { "\1\1\0\0\x21\x12\xa4\x42"
		    "1234567890123456",
		    24 },
		  MESSAGE_STUN },
		/* 19 bytes are none; nor is one with the first bits set */
		{ { "\0\1\0\0\x21\x12\xa4\x42"
		    "12345678901",
		    19 },
		  MESSAGE_NOT_SIP },
		{ { "\x80\1\0\0\x21\x12\xa4\x42"
		    "123456789012",
		    20 },
		  MESSAGE_NOT_SIP },
		{ { "\x16\x03\x01", 3 }, MESSAGE_NOT_SIP },
		{ { "GET / HTTP/1.1\r\n\r\n", 18 }, MESSAGE_NOT_SIP },
		{ { "INVITE sip:x SIP/2.0", 20 }, MESSAGE_NOT_SIP },
		{ { "INVITE SIP/2.0\r\n\r\n", 18 }, MESSAGE_NOT_SIP },
		{ { "INVITE  SIP/2.0\r\n\r\n", 19 }, MESSAGE_NOT_SIP },
		{ { " INVITE sip:x SIP/2.0\r\n\r\n", 25 }, MESSAGE_NOT_SIP },
		{ { "INVITE sip:xSIP/2.0\r\n\r\n", 23 }, MESSAGE_NOT_SIP },
		{ { "INVITE sip:x SIP/2.00\r\n\r\n", 25 }, MESSAGE_NOT_SIP },
		{ { "INVITE sip:x SIP/2.0\r\n", 22 }, MESSAGE_BAD_END },
		{ { "INVITE sip:x SIP/2.0\r\nVia: x\r\n", 30 },
		  MESSAGE_BAD_END },
		{ { "INVITE sip:x SIP/2.0\r\nVia: \0\r\n\r\n", 32 },
		  MESSAGE_BAD_HEADER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		enum message_status got =
			message_parse(guard_span(t[i].bytes), &msg);

		if (got != t[i].status)
			fail_msg("row %zu gave %d", i, got);
	}
}

static void test_tolerance(void **state)
{
	(void)state;
	assert_int_equal(parse("\r\n\n\r\nINVITE   sip:x\t SIP/2.0 \nVia : a\n"
			       "\nbody"),
			 MESSAGE_OK);
	assert_true(span_eq(msg.request_uri, SPAN("sip:x")));
	assert_value(SIP_VIA, "a");
	assert_true(span_eq(msg.body, SPAN("body")));
	/* A NUL in the body is nobody's business */
	assert_int_equal(
		message_parse(guard_span(SPAN("X sip:x SIP/2.0\r\n\r\na\0b")),
			      &msg),
		MESSAGE_OK);
	assert_int_equal(msg.body.len, 3);
}

static void test_too_many(void **state)
{
	static char text[32 + (MESSAGE_HEADERS + 1) * 6];
	size_t at;

	(void)state;
	for (int extra = 0; extra < 2; extra++) {
		at = (size_t)sprintf(text, "X sip:x SIP/2.0\r\n");
		for (int i = 0; i < MESSAGE_HEADERS + extra; i++)
			at += (size_t)sprintf(text + at, "v:1\r\n");
		sprintf(text + at, "\r\n");
		assert_int_equal(parse(text),
				 extra ? MESSAGE_TOO_MANY_HEADERS : MESSAGE_OK);
	}
}

/* Nothing is read behind the end, wherever it comes; and only the whole is OK
 * with its body */
static void test_every_truncation(void **state)
{
	static const char text[] =
		"\r\nINVITE sip:bob@[2001:db8::1]:5060;x=y SIP/2.0\r\n"
		"v: SIP/2.0/UDP 192.168.1.10\r\n ;branch=z9hG4bK1\r\n"
		"From: \"a\\\" <b\" <sip:a@b>;tag=1\r\n"
		"Content-Type: application/sdp\r\n"
		"Content-Length: 8\r\n\r\nv=0\r\nx=y";
	const size_t end = sizeof(text) - 1;

	(void)state;
	for (size_t len = 0; len <= end; len++) {
		enum message_status got = message_parse(
			guard_span((struct span){ text, len }), &msg);

		if (len < end && got == MESSAGE_OK)
			fail_msg("OK with %zu bytes", len);
		if (len == end)
			assert_int_equal(got, MESSAGE_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_folding),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_other_than_sip),
		cmocka_unit_test(test_tolerance),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_every_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
