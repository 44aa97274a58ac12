/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages made to cost: 60 KiB of one thing, where a parser could go round in
 * it for each of its bytes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "talk.h"

#define SIZE 60000
#define RUNS 5
/* A bomb's byte may cost so many times what one of a usual message does */
#define RATIO 10
/* Ports that one message may announce, and that of the phone */
#define MAPPINGS 9

/* @before and @after stand once, @many as often as there is room, with a number
 * for its %u; in the header, or in the @body
 */
struct bomb {
	const char *name, *before, *many, *after;
	bool body;
};

static const struct bomb bombs[] = {
	{ "lines", "", "A:b\r\n", "", false },
	{ "long lines", "", "Subject: %u\r\n", "", false },
	{ "folds", "Subject: a", "\r\n b", "\r\n", false },
	{ "folds in Contact", "Contact: <sip:x@192.168.1.10>", "\r\n ;a=b",
	  "\r\n", false },
	{ "vias", "", "Via: SIP/2.0/UDP 192.168.1.10:%u;branch=z9hG4bKx\r\n",
	  "", false },
	{ "vias in a line", "Via: SIP/2.0/UDP 192.168.1.10",
	  ", SIP/2.0/UDP 192.168.1.10:%u;branch=z9hG4bKx", "\r\n", false },
	{ "contacts", "", "Contact: <sip:x@192.168.1.10:%u>\r\n", "", false },
	{ "contacts in a line", "Contact: <sip:x@192.168.1.10>",
	  ",<sip:x@192.168.1.10:%u>", "\r\n", false },
	{ "contacts of users", "Contact: <sip:x@192.168.1.10>",
	  ",<sip:%u@192.168.1.10>", "\r\n", false },
	{ "contacts of others", "Contact: <sip:x@192.168.1.10>",
	  ",<sip:x@192.168.1.11:%u>", "\r\n", false },
	{ "routes", "", "Record-Route: <sip:192.168.1.10:%u;lr>\r\n", "",
	  false },
	{ "route", "Record-Route: <sip:192.168.1.10;lr>",
	  ",<sip:192.168.1.10;lr>", "\r\n", false },
	{ "histories", "History-Info: <sip:192.168.1.10>",
	  ",<sip:192.168.1.11:%u>", "\r\n", false },
	{ "commas", "Contact: ", ",", "\r\n", false },
	{ "semicolons", "Contact: <sip:x@192.168.1.10>", ";", "\r\n", false },
	{ "parameters", "Contact: <sip:x@192.168.1.10>", ";a%u=b", "\r\n",
	  false },
	{ "uri parameters", "Contact: <sip:x@192.168.1.10", ";a%u=b", ">\r\n",
	  false },
	{ "parameters of from", "From: <sip:x@192.168.1.10>", ";a%u=b",
	  ";tag=1\r\n", false },
	{ "angles", "Contact: ", "<", "\r\n", false },
	{ "quotes", "Contact: ", "\"", "\r\n", false },
	{ "quotes in a line", "Contact: ", "\"a\\\"\",", "\r\n", false },
	{ "backslashes", "Contact: \"", "\\", "\r\n", false },
	{ "at", "Contact: <sip:", "@", ">\r\n", false },
	{ "colons", "Contact: <sip:x@192.168.1.10", ":", ">\r\n", false },
	{ "brackets", "Contact: <sip:x@", "[", ">\r\n", false },
	{ "blanks", "Contact:", " ", "<sip:x@192.168.1.10>\r\n", false },
	{ "lengths", "", "Content-Length: 0\r\n", "", false },
	{ "media", "", "m=audio 4000 RTP/AVP 0\r\n", "", true },
	{ "media lines", "", "m=audio 4%u RTP/AVP 0\r\n", "", true },
	{ "connections", "m=audio 4000 RTP/AVP 0\r\n",
	  "c=IN IP4 192.168.1.10\r\n", "", true },
	{ "candidates", "m=audio 4000 RTP/AVP 0\r\n",
	  "a=candidate:1 1 UDP 1 192.168.1.10 4%u typ host\r\n", "", true },
	{ "rtcp", "m=audio 4000 RTP/AVP 0\r\n", "a=rtcp:4%u\r\n", "", true },
	{ "attributes", "m=audio 4000 RTP/AVP 0\r\n", "a=b\r\n", "", true },
	{ "formats", "m=audio 4000 RTP/AVP", " 0", "\r\n", true },
	{ "maps", "m=audio 4000 RTP/AVP 0\r\n", "a=rtpmap:%u X/8000\r\n", "",
	  true },
	{ "no line", "", "m", "", true },
};

static struct stage *st;
static char text[PACKET_MAX + 1], many[SIZE + 256];
static unsigned int messages;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	talk_register(st, PHONE, PUBLIC, 600);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

static const char *fill(const struct bomb *b)
{
	const char *count = strstr(b->many, "%u");
	int head = (int)(count ? count - b->many : (long)strlen(b->many));
	size_t len = 0;

	for (unsigned int i = 1; len < SIZE; i++) {
		len += (size_t)snprintf(many + len, sizeof(many) - len, "%.*s",
					head, b->many);
		if (count)
			len += (size_t)snprintf(many + len, sizeof(many) - len,
						"%u%s", i, count + 2);
	}
	return many;
}

/* A REGISTER or an INVITE, with it; as of which inside host */
static struct span build(const struct bomb *b, const char *filling,
			 const char *method, const char *host)
{
	char sdp[256], body[128] = "";
	size_t body_len = 0;
	int len;

	messages++;
	snprintf(sdp, sizeof(sdp),
		 "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n",
		 host, host);
	if (b->body) {
		body_len = strlen(sdp) + strlen(b->before) + strlen(filling) +
			   strlen(b->after);
		snprintf(body, sizeof(body),
			 "Content-Type: application/sdp\r\n");
	}
	len = snprintf(text, sizeof(text),
		       "%s sip:x@%s SIP/2.0\r\n"
		       "Via: SIP/2.0/UDP %s;branch=z9hG4bK%u\r\n"
		       "From: <sip:x@example.com>;tag=1\r\n"
		       "To: <sip:x@example.com>\r\nCall-ID: bomb%u\r\n"
		       "CSeq: %u %s\r\nContact: <sip:x@%s>\r\n"
		       "%s%s%s%sContent-Length: %zu\r\n\r\n%s%s%s%s",
		       method, *method == 'R' ? "example.com" : PUBLIC, host,
		       messages, messages, messages, method, host, body,
		       b->body ? "" : b->before, b->body ? "" : filling,
		       b->body ? "" : b->after, body_len, b->body ? sdp : "",
		       b->body ? b->before : "", b->body ? filling : "",
		       b->body ? b->after : "");
	return (struct span){ text, (size_t)len };
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Nanoseconds a byte in the best of some tries, without what the test itself
 * does
 */
static double cost(const struct bomb *b, const char *filling,
		   const char *method, bool outbound)
{
	struct tuple t = { .src = stage_end(outbound ? PHONE : SERVER),
			   .dst = stage_end(outbound ? SERVER : PUBLIC),
			   .proto = IPPROTO_UDP };
	double best = 0;

	for (int i = 0; i < RUNS; i++) {
		struct span message =
			build(b, filling, method,
			      outbound ? PHONE_ADDR : "198.51.100.5");
		size_t len = stage_packet(&t, message, st->packet);
		uint64_t began = cpu_ns();
		double took;

		st->d = alg_packet(st->alg, st->packet, len,
				   outbound ? NAT_SIDE_LAN : NAT_SIDE_WAN,
				   st->now_ms);
		took = (double)(cpu_ns() - began) / (double)message.len;
		if (!i || took < best)
			best = took;
	}
	return best;
}

static void assert_cheap(const char *method, bool outbound)
{
	static const struct bomb usual = { "usual", "", "", "", false };
	double base = cost(&usual, "", method, outbound);

	for (size_t i = 0; i < sizeof(bombs) / sizeof(*bombs); i++) {
		double ns = cost(&bombs[i], fill(&bombs[i]), method, outbound);

		if (ns > RATIO * base)
			fail_msg("%s: %s: %.1f ns a byte, usually %.1f", method,
				 bombs[i].name, ns, base);
	}
}

/* What a phone of ours can do to us */
static void test_from_inside(void **state)
{
	(void)state;
	assert_cheap("REGISTER", true);
	assert_cheap("INVITE", true);
}

/* What a server can, that the phone has to do with */
static void test_from_outside(void **state)
{
	(void)state;
	assert_cheap("INVITE", false);
	assert_cheap("NOTIFY", false);
}

/* However often a message names ports, it gets a few */
static void test_mappings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bombs) / sizeof(*bombs); i++) {
		struct tuple t = { .src = stage_end(PHONE),
				   .dst = stage_end(SERVER),
				   .proto = IPPROTO_UDP };

		stage_pass(st, &t,
			   build(&bombs[i], fill(&bombs[i]), "INVITE",
				 PHONE_ADDR));
		assert_true(HASH_CNT(by_inside, st->alg->bindings.by_inside) <=
			    MAPPINGS);
		assert_true(HASH_CNT(by_inside, st->alg->media.by_inside) <=
			    DESCRIBE_MEDIA);
		stage_close(st);
		st = stage_open();
	}
}

/* Numbers of any size are no ports, lengths or times */
static void test_numbers(void **state)
{
	static const char *const lines[] = {
		"Contact: <sip:x@192.168.1.10:65536>\r\n",
		"Contact: <sip:x@192.168.1.10:70596>\r\n", /* 65536 + 5060 */
		"Contact: <sip:x@192.168.1.10:-1>\r\n",
		"Contact: <sip:x@192.168.1.10:0>\r\n",
		"Contact: <sip:x@192.168.1.10:18446744073709551617>\r\n",
		"Via: SIP/2.0/UDP 192.168.1.10:4294967297;branch=z9hG4bK\r\n",
		"Expires: 18446744073709551616\r\n",
		"Content-Length: 18446744073709551616\r\n",
		"Content-Length: -1\r\n",
		"Content-Length: 4294967296\r\n",
	};
	unsigned int mappings =
		HASH_CNT(by_inside, st->alg->bindings.by_inside);

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct bomb b = { "", lines[i], "", "", false };
		struct tuple t = { .src = stage_end(PHONE),
				   .dst = stage_end(SERVER),
				   .proto = IPPROTO_UDP };

		stage_pass(st, &t, build(&b, "", "REGISTER", PHONE_ADDR));
		assert_false(st->lost);
		if (HASH_CNT(by_inside, st->alg->bindings.by_inside) > mappings)
			fail_msg("%s", lines[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_from_inside),
		TEST(test_from_outside),
		TEST(test_mappings),
		TEST(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
