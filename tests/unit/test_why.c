/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why each place of a message was changed, for every kind of place */
#include "daemon/why.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "talk.h"

/* 2023-11-14 22:13:20 UTC, when every message comes */
#define NOW_US (1700000000ull * 1000000)

static struct stage *st;
/* "site: why", a line each */
static char told[8192];

static void on_message(void *arg, enum counter reason, const struct flow *flow,
		       enum nat_side side)
{
	const struct alg *alg = arg;
	size_t len = 0;

	(void)reason;
	for (unsigned int i = 0; i < alg->edits.count; i++) {
		const struct edit *e = &alg->edits.edit[i];
		struct why why = why_find(alg, flow, side, e);
		char text[WHY_MAX];

		len += (size_t)snprintf(told + len, sizeof(told) - len,
					"%s: %s\n", e->site,
					why_format(&why, NOW_US, text));
		assert_true(len < sizeof(told));
	}
	told[len] = '\0';
}

static int set_up(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	tzset();
	st = stage_open();
	st->alg->listener = (struct alg_listener){ on_message, st->alg };
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

#define OPTIONS(host)                                                          \
	"OPTIONS sip:x@example.com SIP/2.0\r\n"                                \
	"Via: SIP/2.0/UDP " host ";rport;branch=z9hG4bK1\r\n"                  \
	"From: <sip:a@example.com>;tag=1\r\nTo: <sip:x@example.com>\r\n"       \
	"Call-ID: 1\r\nCSeq: 1 OPTIONS\r\nContact: <sip:a@" host ">\r\n\r\n"

static void test_age(void **state)
{
	(void)state;
	stage_send(st, PHONE, SERVER, OPTIONS(PHONE));
	assert_string_equal(told,
			    "Via: mapping of this phone made for this message\n"
			    "Contact: mapping of this phone made for this "
			    "message\n");
	stage_wait(st, 11);
	stage_send(st, PHONE, SERVER, OPTIONS(PHONE));
	assert_string_equal(told,
			    "Via: mapping of this phone since 22:13:09\n"
			    "Contact: mapping of this phone since 22:13:09\n");
	st->alg->bindings.by_inside->made_ms -= 86400ull * 1000;
	stage_send(st, PHONE, SERVER, OPTIONS(PHONE));
	assert_string_equal(
		told, "Via: mapping of this phone since 2023-11-13 22:13:09\n"
		      "Contact: mapping of this phone since 2023-11-13 "
		      "22:13:09\n");
}

static void test_answer(void **state)
{
	(void)state;
	stage_send(st, PHONE, SERVER, OPTIONS(PHONE));
	stage_wait(st, 1);
	stage_send(st, SERVER, PUBLIC,
		   "SIP/2.0 200 OK\r\n"
		   "Via: SIP/2.0/UDP " PUBLIC
		   ";rport=5060;received=" PUBLIC_ADDR ";branch=z9hG4bK1\r\n"
		   "From: <sip:a@example.com>;tag=1\r\n"
		   "To: <sip:x@example.com>;tag=2\r\n"
		   "Call-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n");
	assert_string_equal(told,
			    "Via: what it wrote itself; mapping of this phone "
			    "since 22:13:19\n"
			    "Via received: where the phone itself sent from\n");
}

static void test_ipv6(void **state)
{
	(void)state;
	stage_send(st, "[fd00:1::10]:5062", "[2001:db8:5::1]:5060",
		   OPTIONS("[fd00:1::10]:5062"));
	assert_string_equal(told,
			    "Via: mapping of this phone made for this message\n"
			    "Contact: mapping of this phone made for this "
			    "message\n");
}

static void test_advertised(void **state)
{
	(void)state;
	st->conf.gateway.advertised_address = stage_addr("192.0.2.99");
	alg_configure(st->alg, &st->conf);
	stage_send(st, PHONE, SERVER, OPTIONS(PHONE));
	assert_string_equal(
		told, "Via: mapping of this phone made for this message, by "
		      "gateway.advertised_address\n"
		      "Contact: mapping of this phone made for this message, "
		      "by gateway.advertised_address\n");
	stage_wait(st, 1);
	stage_send(st, SERVER, PUBLIC,
		   "OPTIONS sip:a@192.0.2.99 SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP " SERVER ";branch=z9hG4bK2\r\n"
		   "From: <sip:x@example.com>;tag=1\r\n"
		   "To: <sip:a@example.com>\r\nCall-ID: 2\r\n"
		   "CSeq: 1 OPTIONS\r\n\r\n");
	assert_string_equal(told,
			    "Request-URI: what it wrote itself; mapping of "
			    "this phone since 22:13:19\n");
}

static void test_media(void **state)
{
	static const char lines[] = "a=rtcp:4001 IN IP4 192.168.1.10\r\n"
				    "a=candidate:1 1 UDP 2130706431 "
				    "192.168.1.10 4000 typ host\r\n";

	(void)state;
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, lines));
	assert_non_null(strstr(told, "\nContent-Length: the body is "));
	assert_non_null(strstr(
		told, "\no=: public address of this phone's media\n"
		      "c=: public address of this phone's media\n"
		      "m=: public media port of 192.168.1.10:4000\n"
		      "a=rtcp: public media port of 192.168.1.10:4001\n"
		      "a=rtcp: public address of this phone's media\n"
		      "a=candidate: public address of this phone's media\n"
		      "a=candidate: public media port of "
		      "192.168.1.10:4000\n"));
}

/* By way of the server, to another phone: what is offered is an address of our
 * own
 */
static void test_media_inside(void **state)
{
	unsigned int port;

	(void)state;
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	port = 16384;
	assert_true(talk_has(st, "m=audio 16384 "));
	talk_register(st, "192.168.1.11:5060", PUBLIC_ADDR ":5061", 600);
	in(st, .phone = "192.168.1.11:5060", .public_end = PUBLIC_ADDR ":5061",
	   .method = "INVITE", .call_id = "other", .local_tag = "",
	   .incoming = true, .sdp = talk_sdp(PUBLIC_ADDR, (int)port, ""));
	assert_non_null(
		strstr(told, "\nc=: both ends are inside: media stays there\n"
			     "m=: both ends are inside: media stays there\n"));
	assert_true(talk_has(st, "m=audio 4000 "));
}

static void test_growth(void **state)
{
	struct why why = { .kind = WHY_LENGTH, .growth = 1 };
	char text[WHY_MAX];

	(void)state;
	assert_string_equal(why_format(&why, NOW_US, text),
			    "the body is 1 byte longer");
	why.growth = -12;
	assert_string_equal(why_format(&why, NOW_US, text),
			    "the body is 12 bytes shorter");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_age),	   TEST(test_answer),
		TEST(test_ipv6),   TEST(test_advertised),
		TEST(test_media),  TEST(test_media_inside),
		TEST(test_growth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
