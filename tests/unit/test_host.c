/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What one inside host may do: messages a second, and its share */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "talk.h"

#define OTHER "192.168.1.11:5060"

static struct stage *st;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

/* ---- messages a second ---- */

static void set_rate(uint32_t rate, enum conf_action on_excess)
{
	st->conf.limits.rate_per_phone = rate;
	st->conf.limits.on_excess = on_excess;
	alg_configure(st->alg, &st->conf);
}

static void later_ms(unsigned int ms)
{
	st->now_ms += ms;
	simnat_set_now(&st->sim, st->now_ms);
}

/* So many of @count messages of a phone were read */
static unsigned int ask(const char *phone, unsigned int count)
{
	unsigned int read = 0;

	for (unsigned int i = 0; i < count; i++) {
		out(st, .phone = phone, .method = "OPTIONS", .remote_tag = "");
		read += st->d.reason == COUNTER_rewritten;
	}
	return read;
}

static void test_rate(void **state)
{
	(void)state;
	set_rate(10, CONF_ACCEPT);
	assert_int_equal(ask(PHONE, 25), 10);
	assert_int_equal(st->d.reason, COUNTER_over_rate);
	assert_false(st->d.drop);
	assert_null(st->d.data);
	assert_int_equal(stage_count(st, COUNTER_over_rate), 15);
	/* It comes back with time, and not more than a second's worth */
	later_ms(500);
	assert_int_equal(ask(PHONE, 25), 5);
	later_ms(99);
	assert_int_equal(ask(PHONE, 1), 0);
	later_ms(1);
	assert_int_equal(ask(PHONE, 2), 1);
	later_ms(3600000);
	assert_int_equal(ask(PHONE, 25), 10);
}

/* What waited while we were away comes at once */
static void test_catch_up(void **state)
{
	(void)state;
	set_rate(10, CONF_DROP);
	alg_catch_up(st->alg, st->now_ms);
	assert_int_equal(ask(PHONE, 25), 25);
	later_ms(2000);
	assert_int_equal(ask(PHONE, 25), 10);
}

/* Nor does one phone count for another, or the answers of its server */
static void test_rate_is_each_ones(void **state)
{
	(void)state;
	set_rate(10, CONF_ACCEPT);
	assert_int_equal(ask(PHONE, 11), 10);
	assert_int_equal(ask(OTHER, 10), 10);
	/* by whichever port */
	assert_int_equal(ask("192.168.1.10:5062", 5), 0);
	for (int i = 0; i < 30; i++) {
		in(st, .method = "OPTIONS", .status = 200);
		assert_int_equal(st->d.reason, COUNTER_rewritten);
	}
	assert_int_equal(hosts_busiest(&st->alg->hosts)->addr.byte[15], 10);
}

/* What is over it opens nothing */
static void test_excess_opens_nothing(void **state)
{
	char phone[32];

	(void)state;
	set_rate(10, CONF_ACCEPT);
	for (int port = 5060; port < 5160; port++) {
		snprintf(phone, sizeof(phone), "192.168.1.10:%d", port);
		ask(phone, 1);
	}
	assert_int_equal(HASH_CNT(by_lan, st->alg->bindings.by_lan), 10);
	assert_int_equal(stage_count(st, COUNTER_flows_created), 10);
}

static void test_drop(void **state)
{
	(void)state;
	set_rate(10, CONF_DROP);
	assert_int_equal(ask(PHONE, 11), 10);
	assert_true(st->d.drop);
	assert_int_equal(stage_count(st, COUNTER_dropped_over_rate), 1);
	/* Who only looks drops nothing */
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	ask(PHONE, 1);
	assert_false(st->d.drop);
	assert_int_equal(st->d.reason, COUNTER_over_rate);
}

/* None of ours, so none to be counted */
static void test_bypassed(void **state)
{
	(void)state;
	set_rate(10, CONF_DROP);
	st->conf.bypass.phones.count = 1;
	st->conf.bypass.phones.net[0] = stage_network("192.168.1.10/32");
	alg_configure(st->alg, &st->conf);
	for (int i = 0; i < 30; i++) {
		ask(PHONE, 1);
		assert_false(st->d.drop);
		assert_int_equal(st->d.reason, COUNTER_bypassed);
	}
}

/* Any number of addresses takes the place of so many hosts */
static void test_addresses(void **state)
{
	char phone[32];

	(void)state;
	set_rate(10, CONF_ACCEPT);
	st->conf.limits.flows = 50;
	for (int i = 1; i < 250; i++) {
		snprintf(phone, sizeof(phone), "192.168.1.%d:5060", i);
		ask(phone, 1);
		assert_true(HASH_COUNT(st->alg->hosts.table) <= 52);
	}
	/* and who is not heard of is forgotten, when it holds nothing more */
	stage_wait(st, 86400 + 1300);
	assert_int_equal(HASH_COUNT(st->alg->hosts.table), 0);
}

/* ---- shares ---- */

static unsigned int held(const char *phone, enum share share)
{
	struct addr addr = stage_end(phone).addr;
	struct host *host;

	HASH_FIND(hh, st->alg->hosts.table, &addr, sizeof(addr), host);
	return host ? host->held[share] : 0;
}

/* One host takes three quarters of the ports, and no more; others get theirs,
 * and when it lets go all is free again
 */
static void test_signalling_ports(void **state)
{
	char phone[32];

	(void)state;
	st->conf.sip.signalling_ports = (struct ports){ 1, { { 5000, 5099 } } };
	for (int port = 5060; port < 5260; port++) {
		snprintf(phone, sizeof(phone), "192.168.1.10:%d", port);
		out(st, .phone = phone, .method = "OPTIONS", .remote_tag = "");
	}
	assert_int_equal(held(PHONE, SHARE_SIGNALLING_PORTS), 75);
	assert_int_equal(stage_count(st, COUNTER_over_share), 125);
	assert_int_equal(st->d.reason, COUNTER_no_mapping);
	assert_int_equal(stage_count(st, COUNTER_ports_exhausted), 0);
	/* A second one takes three quarters of what is left */
	for (int port = 5060; port < 5260; port++) {
		snprintf(phone, sizeof(phone), "192.168.1.11:%d", port);
		out(st, .phone = phone, .method = "OPTIONS", .remote_tag = "");
	}
	assert_int_equal(held(OTHER, SHARE_SIGNALLING_PORTS), 19);
	/* Phones still come in */
	for (int i = 20; i < 26; i++) {
		snprintf(phone, sizeof(phone), "192.168.1.%d:5060", i);
		out(st, .phone = phone, .method = "OPTIONS", .remote_tag = "");
		assert_int_equal(st->d.reason, COUNTER_rewritten);
	}
	assert_int_equal(stage_count(st, COUNTER_ports_exhausted), 0);
	/* What it does not use any more makes room for what it does */
	stage_wait(st, 400);
	out(st, .phone = "192.168.1.10:7000", .method = "OPTIONS",
	    .remote_tag = "");
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_int_equal(held(PHONE, SHARE_SIGNALLING_PORTS), 75);
	stage_wait(st, 86400 + 1300);
	assert_int_equal(held(PHONE, SHARE_SIGNALLING_PORTS), 0);
	assert_int_equal(st->alg->bindings.pools->taken, 0);
}

static void invite(const char *phone, const char *call_id, int port)
{
	char sdp[256];
	struct addr addr = stage_end(phone).addr;
	char text[ADDR_TEXT_MAX];

	addr_format(&addr, text);
	snprintf(sdp, sizeof(sdp), "%s", talk_sdp(text, port, ""));
	out(st, .phone = phone, .method = "INVITE", .remote_tag = "",
	    .call_id = call_id, .sdp = sdp);
}

static void many_calls(const char *phone, unsigned int count)
{
	char id[64];

	for (unsigned int i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "%s-%u", phone, i);
		invite(phone, id, 20000 + 2 * (int)i);
	}
}

static void test_media_ports(void **state)
{
	(void)state;
	st->conf.media.rtp_ports = (struct ports){ 1, { { 16000, 16199 } } };
	many_calls(PHONE, 150);
	assert_int_equal(held(PHONE, SHARE_MEDIA_PORTS), 150);
	assert_int_equal(stage_count(st, COUNTER_over_share), 75);
	assert_int_equal(stage_count(st, COUNTER_media_exhausted), 0);
	invite(OTHER, "other", 4000);
	assert_false(talk_has(st, "m=audio 4000 "));
	assert_int_equal(held(OTHER, SHARE_MEDIA_PORTS), 2);
	stage_wait(st, 1000);
	assert_int_equal(held(PHONE, SHARE_MEDIA_PORTS), 0);
	assert_int_equal(st->alg->media.pools->taken, 0);
}

/* Calls of one phone that nobody answers do not push out another's call */
static void test_calls(void **state)
{
	(void)state;
	st->conf.limits.calls = 40;
	invite(OTHER, "other", 4000);
	assert_non_null(st->alg->calls.list);
	many_calls(PHONE, 200);
	assert_int_equal(held(PHONE, SHARE_CALLS), 30);
	assert_int_equal(st->alg->calls.live, 31);
	assert_int_equal(stage_count(st, COUNTER_calls_evicted), 0);
	assert_int_equal(stage_count(st, COUNTER_over_share), 170);
	assert_int_equal(held(OTHER, SHARE_CALLS), 1);
	stage_wait(st, 1000);
	assert_int_equal(held(PHONE, SHARE_CALLS), 0);
	assert_int_equal(st->alg->calls.live, 0);
}

/* Those who talk stay, though they are silent longest, and those who are many
 * only ring
 */
static void test_who_talks_stays(void **state)
{
	char phone[32];

	(void)state;
	st->conf.limits.calls = 40;
	invite(PHONE, "call", 4000);
	in(st, .method = "INVITE", .status = 200,
	   .sdp = talk_sdp(MEDIA_ADDR, 6000, ""));
	out(st, .method = "ACK");
	assert_int_equal(talk_port(st, PHONE_ADDR ":4000", MEDIA_ADDR ":6000"),
			 16384);
	for (int i = 20; i < 120; i++) {
		snprintf(phone, sizeof(phone), "192.168.1.%d:5060", i);
		invite(phone, phone, 4000);
	}
	assert_int_equal(stage_count(st, COUNTER_calls_evicted), 61);
	assert_int_equal(stage_count(st, COUNTER_over_share), 0);
	assert_int_equal(talk_port(st, PHONE_ADDR ":4000", MEDIA_ADDR ":6000"),
			 16384);
	assert_int_equal(HASH_COUNT(st->alg->calls.table), 40);
	assert_int_equal(st->alg->calls.live, 40);
}

static void test_registrations(void **state)
{
	char server[32];

	(void)state;
	st->conf.limits.registrations = 40;
	for (int i = 1; i <= 100; i++) {
		snprintf(server, sizeof(server), "198.51.100.%d:5060", i);
		out(st, .method = "REGISTER", .remote_tag = "",
		    .server = server,
		    .extra = "Contact: <sip:u@" PHONE ">\r\n");
	}
	assert_int_equal(held(PHONE, SHARE_REGISTRATIONS), 30);
	assert_int_equal(stage_count(st, COUNTER_registrations_evicted), 0);
	assert_int_equal(stage_count(st, COUNTER_over_share), 70);
	talk_register(st, OTHER, "203.0.113.1:5061", 600);
	assert_int_equal(held(OTHER, SHARE_REGISTRATIONS), 1);
	stage_wait(st, 3600);
	assert_int_equal(held(PHONE, SHARE_REGISTRATIONS), 0);
	assert_int_equal(held(OTHER, SHARE_REGISTRATIONS), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rate),
		TEST(test_catch_up),
		TEST(test_rate_is_each_ones),
		TEST(test_excess_opens_nothing),
		TEST(test_drop),
		TEST(test_bypassed),
		TEST(test_addresses),
		TEST(test_signalling_ports),
		TEST(test_media_ports),
		TEST(test_calls),
		TEST(test_who_talks_stays),
		TEST(test_registrations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
