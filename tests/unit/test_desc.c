/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/desc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "guard.h"

#define HEAD "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"
#define AUDIO "m=audio 4000 RTP/AVP 0\r\n"

static struct desc desc;

static enum desc_status parse(const char *text)
{
	return desc_parse(guard_str(text), &desc);
}

static void assert_span(struct span got, const char *want)
{
	if (!want) {
		assert_null(got.ptr);
		return;
	}
	if (!got.ptr || !span_eq(got, span_from_str(want)))
		fail_msg("'%.*s', not '%s'", SPAN_ARG(got), want);
}

static void assert_addr(const struct desc_addr *got, const char *text,
			bool is_set)
{
	struct addr want;

	assert_span(got->text, text);
	assert_int_equal(addr_is_set(&got->addr), is_set);
	if (!is_set)
		return;
	assert_int_equal(addr_parse(span_from_str(text), &want), 0);
	assert_true(addr_eq(&got->addr, &want));
}

static void test_plain(void **state)
{
	(void)state;
	assert_int_equal(parse("v=0\r\no=a 1 2 IN IP4 192.0.2.1\r\ns=x\r\n"
			       "c=IN IP4 192.0.2.2\r\nt=0 0\r\n" AUDIO
			       "m=video 5000 RTP/SAVPF 96\r\n"
			       "c=IN IP6 2001:DB8::1\r\na=rtcp-mux\r\n"),
			 DESC_OK);
	assert_addr(&desc.origin, "192.0.2.1", true);
	assert_addr(&desc.conn, "192.0.2.2", true);
	assert_int_equal(desc.media_count, 2);
	assert_span(desc.media[0].type, "audio");
	assert_span(desc.media[0].port.text, "4000");
	assert_int_equal(desc.media[0].port.port, 4000);
	assert_span(desc.media[0].proto, "RTP/AVP");
	assert_int_equal(desc.media[0].count, 1);
	assert_null(desc.media[0].conn.text.ptr);
	assert_false(desc.media[0].rtcp_mux);
	assert_addr(&desc.media[1].conn, "2001:DB8::1", true);
	assert_true(desc.media[1].rtcp_mux);
	assert_ptr_equal(desc_media_addr(&desc, 0), &desc.conn);
	assert_ptr_equal(desc_media_addr(&desc, 1), &desc.media[1].conn);
}

static void test_addresses(void **state)
{
	static const struct {
		const char *line, *text;
		bool is_set;
	} t[] = {
		{ "c=IN IP4 192.0.2.1", "192.0.2.1", true },
		{ "c=in ip4 192.0.2.1", "192.0.2.1", true },
		{ "c=IN  IP4   192.0.2.1 ", "192.0.2.1", true },
		{ "c=IN IP4 224.2.1.1/127/3", "224.2.1.1", true },
		{ "c=IN IP6 ff15::1/3", "ff15::1", true },
		{ "c=IN IP4 0.0.0.0", "0.0.0.0", true },
		{ "c=IN IP4 host.example.com", "host.example.com", false },
		/* An address that contradicts its type is left alone */
		{ "c=IN IP6 192.0.2.1", "192.0.2.1", false },
		{ "c=IN IP4 2001:db8::1", "2001:db8::1", false },
		{ "c=TN RFC2543 192.0.2.1", "192.0.2.1", false },
		{ "c=IN IP4 192.0.2.01", "192.0.2.01", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		char text[128];

		snprintf(text, sizeof(text), HEAD "%s\r\n", t[i].line);
		if (parse(text) != DESC_OK)
			fail_msg("'%s' is not read", t[i].line);
		assert_addr(&desc.conn, t[i].text, t[i].is_set);
	}
}

static void test_bad(void **state)
{
	static const char *const t[] = {
		"",
		"hello",
		"o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n",
		" v=0\r\n",
		"v=0\r\no=- 1 1 IN IP4\r\n",
		"v=0\r\no=\r\n",
		"v=0\r\nc=IN IP4\r\n",
		"v=0\r\nc=\r\n",
		"v=0\r\nm=audio\r\n",
		"v=0\r\nm=audio 4000\r\n",
		"v=0\r\nm=audio x RTP/AVP 0\r\n",
		"v=0\r\nm=audio -1 RTP/AVP 0\r\n",
		"v=0\r\nm=audio 65536 RTP/AVP 0\r\n",
		"v=0\r\nm=audio 4000/x RTP/AVP 0\r\n",
		"v=0\r\nm=audio 4000/65536 RTP/AVP 0\r\n",
		"v=0\r\n" AUDIO "a=rtcp:x\r\n",
		"v=0\r\n" AUDIO "a=rtcp:70000\r\n",
		"v=0\r\n" AUDIO "a=rtcp:4001 IN IP4\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		if (parse(t[i]) != DESC_BAD)
			fail_msg("row %zu is read", i);
	}
}

static void test_tolerance(void **state)
{
	(void)state;
	assert_int_equal(parse("v=0\no=- 1 1 IN IP4 192.0.2.1\n\nx\n=\nz=1\n"
			       "M=audio\nm=audio 4000 RTP/AVP 0\n"
			       "c=IN IP4 192.0.2.2"),
			 DESC_OK);
	assert_addr(&desc.origin, "192.0.2.1", true);
	assert_int_equal(desc.media_count, 1);
	assert_addr(&desc.media[0].conn, "192.0.2.2", true);
	assert_int_equal(parse("v=0"), DESC_OK);
	assert_null(desc.origin.text.ptr);
	assert_null(desc.conn.text.ptr);
	assert_int_equal(desc.media_count, 0);
}

/* RFC 3605 2.1 */
static void test_rtcp(void **state)
{
	(void)state;
	assert_int_equal(parse(HEAD "a=rtcp:9\r\n" AUDIO "a=rtcp:4011\r\n" AUDIO
				    "a=rtcp:4021 IN IP4 192.0.2.9\r\n" AUDIO
				    "a=rtcp-fb:1 x\r\na=rtcp-mux\r\n" AUDIO
				    "a=rtcp-mux-only\r\n"),
			 DESC_OK);
	assert_int_equal(desc.media[0].rtcp.port, 4011);
	assert_span(desc.media[0].rtcp.text, "4011");
	assert_null(desc.media[0].rtcp_addr.text.ptr);
	assert_span(desc.media[1].rtcp.text, "4021");
	assert_addr(&desc.media[1].rtcp_addr, "192.0.2.9", true);
	assert_null(desc.media[2].rtcp.text.ptr);
	assert_true(desc.media[2].rtcp_mux);
	assert_false(desc.media[3].rtcp_mux);
}

static void test_ports(void **state)
{
	(void)state;
	assert_int_equal(parse(HEAD "m=audio 0 RTP/AVP 0\r\n"
				    "m=video 4000/2 RTP/AVP 31\r\n"
				    "m=audio  5000  RTP/AVP  0\r\n"
				    "m=audio 05000 RTP/AVP 0\r\n"),
			 DESC_OK);
	assert_int_equal(desc.media[0].port.port, 0);
	assert_non_null(desc.media[0].port.text.ptr);
	assert_int_equal(desc.media[1].count, 2);
	assert_span(desc.media[1].port.text, "4000");
	assert_int_equal(desc.media[2].port.port, 5000);
	assert_span(desc.media[3].port.text, "05000");
}

static void test_several_connections(void **state)
{
	(void)state;
	assert_int_equal(parse(HEAD AUDIO "c=IN IP4 192.0.2.1\r\n" AUDIO
					  "c=IN IP4 192.0.2.1\r\n"
					  "c=IN IP4 192.0.2.2\r\n"
					  "c=IN IP4 192.0.2.3\r\n"),
			 DESC_OK);
	assert_false(desc.media[0].several_conn);
	assert_true(desc.media[1].several_conn);
}

/* RFC 8839 5.1; only UDP host candidates */
static void test_candidates(void **state)
{
	(void)state;
	assert_int_equal(
		parse(HEAD
		      "a=candidate:0 1 UDP 1 192.0.2.9 1 typ host\r\n" AUDIO
		      "a=candidate:1 1 UDP 21307 192.0.2.1 4000 typ host\r\n"
		      "a=candidate:1 2 udp 21307 192.0.2.1 4001 typ host ext "
		      "1\r\n"
		      "a=candidate:2 1 TCP 21307 192.0.2.1 9 typ host\r\n"
		      "a=candidate:3 1 UDP 16944 192.0.2.8 5 typ srflx raddr "
		      "192.0.2.1 rport 4000\r\n"
		      "a=candidate:4 1 UDP 2 192.0.2.1 4000 typ relay\r\n"
		      "a=candidate:5 1 UDP 2 192.0.2.1 x typ host\r\n"
		      "a=candidate:6 1 UDP 2 192.0.2.1\r\n" AUDIO
		      "a=candidate:7 1 UDP 2 x.local 4000 typ host\r\n"),
		DESC_OK);
	assert_int_equal(desc.candidate_count, 3);
	assert_int_equal(desc.candidate[0].media, 0);
	assert_addr(&desc.candidate[0].addr, "192.0.2.1", true);
	assert_span(desc.candidate[0].port.text, "4000");
	assert_int_equal(desc.candidate[1].port.port, 4001);
	assert_int_equal(desc.candidate[2].media, 1);
	assert_addr(&desc.candidate[2].addr, "x.local", false);
}

/* RFC 8866 6.7: of the session, unless the media section says its own */
static void test_directions(void **state)
{
	(void)state;
	assert_int_equal(parse(HEAD "a=sendonly\r\n" AUDIO AUDIO
				    "a=inactive\r\n" AUDIO "a=sendrecv\r\n"
				    "m=video 1 RTP/AVP 31\r\n"),
			 DESC_OK);
	assert_int_equal(desc.media[0].direction, DESC_SENDONLY);
	assert_int_equal(desc.media[1].direction, DESC_INACTIVE);
	assert_int_equal(desc.media[2].direction, DESC_SENDRECV);
	assert_int_equal(desc.media[3].direction, DESC_SENDONLY);
	/* What one section says is none of the next one's business */
	assert_int_equal(parse(HEAD AUDIO "a=recvonly\r\n" AUDIO), DESC_OK);
	assert_int_equal(desc.media[0].direction, DESC_RECVONLY);
	assert_int_equal(desc.media[1].direction, DESC_SENDRECV);
	/* Nor does a description leave anything to the next */
	assert_int_equal(parse(HEAD AUDIO), DESC_OK);
	assert_int_equal(desc.media[0].direction, DESC_SENDRECV);
}

static void test_limits(void **state)
{
	static char text[16384];
	size_t at;

	(void)state;
	for (int extra = 0; extra < 2; extra++) {
		at = (size_t)sprintf(text, HEAD);
		for (int i = 0; i < DESC_MEDIA + extra; i++)
			at += (size_t)sprintf(text + at, AUDIO);
		assert_int_equal(parse(text), extra ? DESC_TOO_MANY : DESC_OK);
		at = (size_t)sprintf(text, HEAD AUDIO);
		for (int i = 0; i < DESC_CANDIDATES + extra; i++)
			at += (size_t)sprintf(
				text + at,
				"a=candidate:1 1 UDP 1 192.0.2.1 1 typ host\n");
		assert_int_equal(parse(text), extra ? DESC_TOO_MANY : DESC_OK);
	}
}

static void test_transports(void **state)
{
	static const struct {
		const char *proto;
		bool udp;
	} t[] = {
		{ "RTP/AVP", true },
		{ "RTP/SAVPF", true },
		{ "UDP/TLS/RTP/SAVPF", true },
		{ "udptl", true },
		{ "UDPTL", true },
		{ "udp", true },
		{ "UDP/BFCP", true },
		{ "TCP/MSRP", false },
		{ "TCP/RTP/AVP", false },
		{ "TCP", false },
		{ "DTLS/SCTP", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct desc_media m = { .proto = span_from_str(t[i].proto) };

		if (desc_media_is_udp(&m) != t[i].udp)
			fail_msg("%s", t[i].proto);
	}
}

static void test_every_truncation(void **state)
{
	static const char text[] =
		HEAD "c=IN IP4 192.0.2.1/127\r\na=inactive\r\n"
		     "m=audio 4000/2 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n"
		     "a=rtcp:4011 IN IP4 192.0.2.1\r\n"
		     "a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host\r\n";

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++)
		desc_parse(guard_span((struct span){ text, len }), &desc);
	assert_int_equal(desc.candidate_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_tolerance),
		cmocka_unit_test(test_rtcp),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_several_connections),
		cmocka_unit_test(test_candidates),
		cmocka_unit_test(test_directions),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_transports),
		cmocka_unit_test(test_every_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
