/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registrations as they go, seen by the entries that the kernel has */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "talk.h"

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

static unsigned int count(void)
{
	return st->alg->registrations.count;
}

static void ask(const char *extra)
{
	out(st, .method = "REGISTER", .remote_tag = "", .extra = extra);
}

static void grant(int status, const char *extra)
{
	in(st, .method = "REGISTER", .status = status, .extra = extra);
}

/* The entry between phone and registrar; false if there is none */
static bool entry(const char *inside, struct nat_entry *e)
{
	struct tuple lan = { .src = stage_end(inside),
			     .dst = stage_end(SERVER),
			     .proto = IPPROTO_UDP };

	return !simnat_ops.find(&st->sim, &lan, NAT_SIDE_LAN, e);
}

/* The registrar sends a request; true if it reaches the phone */
static bool calls(const char *from, const char *to)
{
	in(st, .method = "OPTIONS", .server = from, .public_end = to,
	   .call_id = "other");
	return addr_is_v4(&st->t.dst.addr) &&
	       simnat_ops.is_inside(&st->sim, &st->t.dst.addr);
}

#define CONTACT_600 "Contact: <sip:u@" PUBLIC ">;expires=600\r\n"

/* A 2xx counts from where the REGISTER was sent, and once */
static void test_whose_answer(void **state)
{
	static const char *const others[] = { "198.51.100.5:5070",
					      "198.51.100.6:5060",
					      "192.0.2.66:5060" };
	struct addr phone = stage_addr(PHONE_ADDR);
	struct addr other = stage_addr("198.51.100.6");

	(void)state;
	talk_register(st, PHONE, PUBLIC, 60);
	peer_allow(&st->alg->bindings, &phone, &other, UINT64_MAX);
	out(st, .method = "REGISTER", .remote_tag = "", .cseq = 2,
	    .extra = "Contact: <sip:u@" PHONE ">\r\n");
	for (size_t i = 0; i < 3; i++)
		in(st, .server = others[i], .method = "REGISTER", .status = 200,
		   .cseq = 2, .extra = CONTACT_600);
	assert_int_equal(stage_count(st, COUNTER_registrations_confirmed), 1);
	for (size_t i = 0; i < 3; i++) {
		in(st, .method = "REGISTER", .status = 200, .cseq = 2,
		   .extra = CONTACT_600);
		stage_wait(st, 1);
	}
	assert_int_equal(stage_count(st, COUNTER_registrations_confirmed), 2);
	stage_wait(st, 596);
	assert_int_equal(count(), 1);
	stage_wait(st, 3);
	assert_int_equal(count(), 0);
}

/* The phone sends from one port and listens at another: the answer goes there
 */
static void test_via_of_another_port(void **state)
{
	(void)state;
	stage_send(st, PHONE_ADDR ":40000", SERVER,
		   "REGISTER sip:example.com SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP " PHONE ";branch=z9hG4bK1\r\n"
		   "From: <sip:u@example.com>;tag=1\r\n"
		   "To: <sip:u@example.com>\r\nCall-ID: 1\r\n"
		   "CSeq: 1 REGISTER\r\nContact: <sip:u@" PHONE ">\r\n"
		   "Content-Length: 0\r\n\r\n");
	assert_true(talk_has(st, "Via: SIP/2.0/UDP 203.0.113.1"));
	assert_false(calls("192.0.2.66:5060", "203.0.113.1:5061"));
	stage_send(st, SERVER, "203.0.113.1:5061",
		   "SIP/2.0 200 OK\r\n"
		   "Via: SIP/2.0/UDP 203.0.113.1:5061;branch=z9hG4bK1\r\n"
		   "From: <sip:u@example.com>;tag=1\r\n"
		   "To: <sip:u@example.com>;tag=2\r\nCall-ID: 1\r\n"
		   "CSeq: 1 REGISTER\r\n"
		   "Contact: <sip:u@203.0.113.1:5061>;expires=60\r\n"
		   "Content-Length: 0\r\n\r\n");
	assert_false(st->lost);
	assert_int_equal(stage_count(st, COUNTER_registrations_confirmed), 1);
	assert_true(calls("198.51.100.5:5080", "203.0.113.1:5061"));
}

static void test_kept_for_its_time(void **state)
{
	struct nat_entry e;

	(void)state;
	talk_register(st, PHONE, PUBLIC, 3600);
	assert_int_equal(count(), 1);
	assert_int_equal(stage_count(st, COUNTER_registrations_confirmed), 1);
	assert_true(entry(PHONE, &e));
	assert_true(e.fixed && e.answered);
	assert_in_range(e.timeout_s, 3600, 3620);
	/* An hour without a packet: the registrar still reaches it */
	stage_wait(st, 3595);
	assert_true(calls(SERVER, PUBLIC));
	assert_true(calls("198.51.100.5:7777", PUBLIC));
	assert_false(calls("198.51.100.66:5060", PUBLIC));
	stage_wait(st, 3600);
	assert_int_equal(count(), 0);
	assert_int_equal(stage_count(st, COUNTER_registrations_ended), 1);
	assert_false(calls("198.51.100.5:7777", PUBLIC));
}

static void test_refresh(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		talk_register(st, PHONE, PUBLIC, 60);
		assert_int_equal(count(), 1);
		stage_wait(st, 55);
		assert_true(calls(SERVER, PUBLIC));
	}
	assert_int_equal(stage_count(st, COUNTER_mappings_created), 1);
	assert_int_equal(stage_count(st, COUNTER_registrations_ended), 0);
}

static void test_not_granted(void **state)
{
	static const int statuses[] = { 100, 401, 403, 423, 500 };
	struct nat_entry e;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		ask("Contact: <sip:u@192.168.1.10:5060>\r\n");
		grant(statuses[i],
		      "Contact: <sip:u@203.0.113.1:5060>;expires=60\r\n");
		assert_true(entry(PHONE, &e));
		assert_false(e.fixed);
		assert_int_equal(
			stage_count(st, COUNTER_registrations_confirmed), 0);
	}
	stage_wait(st, 40);
	assert_int_equal(count(), 0);
	assert_int_equal(stage_count(st, COUNTER_registrations_ended), 0);
}

/* The registrar decides for how long: RFC 3261 10.2.4, 10.3 */
static void test_lifetimes(void **state)
{
	static const struct {
		const char *asked, *granted;
		uint32_t seconds;
	} t[] = {
		{ "Contact: <sip:u@192.168.1.10:5060>;expires=600\r\n",
		  "Contact: <sip:u@203.0.113.1:5060>;expires=300\r\n", 300 },
		{ "Contact: <sip:u@192.168.1.10:5060>;expires=600\r\n",
		  "Contact: <sip:u@203.0.113.1:5060>\r\nExpires: 200\r\n",
		  200 },
		{ "Contact: <sip:u@192.168.1.10:5060>;expires=600\r\n"
		  "Expires: 60\r\n",
		  "Contact: <sip:u@203.0.113.1:5060>\r\n", 600 },
		{ "Contact: <sip:u@192.168.1.10:5060>\r\nExpires: 60\r\n",
		  "Contact: <sip:u@203.0.113.1:5060>\r\n", 60 },
		{ "Contact: <sip:u@192.168.1.10:5060>\r\n",
		  "Contact: <sip:u@203.0.113.1:5060>\r\n", 3600 },
		/* Some registrars list nothing */
		{ "Contact: <sip:u@192.168.1.10:5060>\r\nExpires: 70\r\n", NULL,
		  70 },
		{ "m: sip:u@192.168.1.10:5060;expires=80\r\n",
		  "m: sip:u@203.0.113.1:5060;EXPIRES=\r\n 90\r\n", 90 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct nat_entry e;

		stage_close(st);
		st = stage_open();
		ask(t[i].asked);
		grant(200, t[i].granted);
		assert_true(entry(PHONE, &e));
		if (!e.fixed || e.timeout_s < t[i].seconds ||
		    e.timeout_s > t[i].seconds + 20)
			fail_msg("row %zu: %u s", i, e.timeout_s);
	}
}

static void assert_ended(void)
{
	struct nat_entry e;

	assert_int_equal(count(), 0);
	assert_null(st->alg->registrations.list);
	assert_int_equal(stage_count(st, COUNTER_registrations_ended), 1);
	/* Held no longer, but as good as any flow */
	assert_true(entry(PHONE, &e));
	assert_false(e.fixed);
	stage_wait(st, SIMNAT_IDLE_ANSWERED_S + 1);
	assert_false(entry(PHONE, &e));
	assert_false(calls(SERVER, PUBLIC));
}

static void test_unregister(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 3600);
	talk_register(st, PHONE, PUBLIC, 0);
	assert_ended();
}

static void test_unregister_star(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 3600);
	out(st, .call_id = PHONE, .method = "REGISTER", .remote_tag = "",
	    .extra = "Contact: *\r\nExpires: 0\r\n");
	in(st, .call_id = PHONE, .method = "REGISTER", .status = 200);
	assert_ended();
}

/* A 2xx lists all there is: ours is missing */
static void test_dropped_by_registrar(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 3600);
	out(st, .method = "REGISTER", .remote_tag = "");
	in(st, .method = "REGISTER", .status = 200,
	   .extra = "Contact: <sip:u@198.51.100.44>;expires=60\r\n");
	assert_ended();
}

/* Asking what there is changes nothing: RFC 3261 10.2.3 */
static void test_query(void **state)
{
	struct nat_entry e;

	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	out(st, .method = "REGISTER", .remote_tag = "");
	in(st, .method = "REGISTER", .status = 200,
	   .extra = "Contact: <sip:u@203.0.113.1:5060>;expires=500, "
		    "<sip:u@198.51.100.44>;expires=60\r\n");
	assert_int_equal(count(), 1);
	assert_true(entry(PHONE, &e) && e.fixed);
	/* No Contact at all, from a registrar that lists none */
	out(st, .method = "REGISTER", .remote_tag = "");
	in(st, .method = "REGISTER", .status = 200);
	assert_int_equal(count(), 1);
}

static void test_two_contacts(void **state)
{
	(void)state;
	ask("Contact: <sip:u@192.168.1.10:5060>, <sip:v@192.168.1.10:5060>\r\n"
	    "Contact: <sip:u@192.168.1.99:5060>, <sip:u@host.example.com>, "
	    "<sip:u@203.0.113.1:5060>\r\n");
	assert_int_equal(count(), 2);
	grant(200, "Contact: <sip:u@203.0.113.1:5060>;expires=100, "
		   "<sip:v@203.0.113.1:5060>;expires=200\r\n");
	assert_int_equal(stage_count(st, COUNTER_registrations_confirmed), 2);
	stage_wait(st, 150);
	assert_int_equal(count(), 1);
	/* The one that is left holds the mapping */
	assert_true(calls(SERVER, PUBLIC));
	stage_wait(st, 100);
	assert_int_equal(count(), 0);
}

/* One phone over UDP and over TCP: two bindings of one port and one user, each
 * with its own time. RFC 3261 19.1.4
 */
static void test_two_transports(void **state)
{
	static const char both[] =
		"Contact: "
		"<sip:u@203.0.113.1:5060;transport=TCP>;expires=300\r\n"
		"Contact: <sip:u@203.0.113.1:5060>;expires=100\r\n";

	(void)state;
	ask("Contact: <sip:u@192.168.1.10:5060>\r\n");
	grant(200, "Contact: <sip:u@203.0.113.1:5060>;expires=100\r\n");
	ask("Contact: <sip:u@192.168.1.10:5060;transport=tcp>\r\n");
	grant(200, both);
	assert_int_equal(count(), 2);
	stage_wait(st, 150);
	assert_int_equal(count(), 1);
	assert_true(calls(SERVER, PUBLIC));
	ask("Contact: <sip:u@192.168.1.10:5060;transport=tcp>;expires=0\r\n");
	grant(200, "");
	assert_int_equal(count(), 0);
}

static void test_two_phones(void **state)
{
	struct nat_entry e;

	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	talk_register(st, "192.168.1.11:5060", PUBLIC_ADDR ":5061", 600);
	assert_int_equal(count(), 2);
	assert_true(entry(PHONE, &e) && e.wan.dst.port == 5060);
	assert_true(entry("192.168.1.11:5060", &e) && e.wan.dst.port == 5061);
	talk_register(st, PHONE, PUBLIC, 0);
	assert_true(entry("192.168.1.11:5060", &e) && e.fixed);
	assert_true(calls(SERVER, PUBLIC_ADDR ":5061"));
}

/* It sends from one port and listens on another: both ways stay open, and both
 * are let go
 */
static void test_contact_port_differs(void **state)
{
	struct nat_entry e;

	(void)state;
	out(st, .phone = PHONE_ADDR ":40000", .method = "REGISTER",
	    .remote_tag = "",
	    .extra = "Contact: <sip:u@192.168.1.10:5060>\r\n");
	assert_true(talk_has(st, "Contact: <sip:u@203.0.113.1:5061>"));
	in(st, .method = "REGISTER", .status = 200,
	   .extra = "Contact: <sip:u@203.0.113.1:5061>;expires=600\r\n");
	assert_true(entry(PHONE_ADDR ":40000", &e) && e.fixed);
	assert_true(entry(PHONE, &e) && e.fixed && e.wan.dst.port == 5061);
	assert_true(calls(SERVER, PUBLIC_ADDR ":5061"));
	assert_int_equal(st->t.dst.port, 5060);
	out(st, .phone = PHONE_ADDR ":40000", .method = "REGISTER",
	    .remote_tag = "",
	    .extra = "Contact: <sip:u@192.168.1.10:5060>;expires=0\r\n");
	in(st, .method = "REGISTER", .status = 200);
	assert_int_equal(count(), 0);
	assert_true(entry(PHONE_ADDR ":40000", &e) && !e.fixed);
	assert_true(entry(PHONE, &e) && !e.fixed);
}

static void test_keep_no(void **state)
{
	struct nat_entry e;

	(void)state;
	st->conf.sip.keep_registrations = false;
	talk_register(st, PHONE, PUBLIC, 3600);
	assert_int_equal(count(), 1);
	assert_true(entry(PHONE, &e));
	assert_false(e.fixed);
	/* The registrar is still let in */
	stage_wait(st, 1000);
	assert_true(calls(SERVER, PUBLIC));
}

/* A phone that wrote its public address is left alone, its port is not held */
static void test_stun_phone(void **state)
{
	struct nat_entry e;

	(void)state;
	ask("Contact: <sip:u@203.0.113.1:5060>\r\n");
	grant(200, "Contact: <sip:u@203.0.113.1:5060>;expires=600\r\n");
	assert_int_equal(count(), 0);
	assert_true(entry(PHONE, &e));
	assert_false(e.fixed);
}

static void test_limit(void **state)
{
	char phone[32], pub[32];

	(void)state;
	st->conf.limits.registrations = 3;
	for (int i = 0; i < 6; i++) {
		snprintf(phone, sizeof(phone), "192.168.1.%d:5060", 10 + i);
		snprintf(pub, sizeof(pub), "203.0.113.1:%d", 5060 + i);
		talk_register(st, phone, pub, 600);
	}
	assert_int_equal(count(), 3);
	assert_int_equal(stage_count(st, COUNTER_registrations_evicted), 3);
}

/* A flood that nobody confirms displaces itself, and neither who is registered
 * nor, at once, who has just asked
 */
static void test_limit_of_unconfirmed(void **state)
{
	char phone[32], contact[64];
	struct nat_entry e;

	(void)state;
	st->conf.limits.registrations = 10;
	talk_register(st, PHONE, PUBLIC, 600);
	for (int i = 0; i < 30; i++) {
		snprintf(phone, sizeof(phone), "192.168.1.%d:5060", 20 + i);
		snprintf(contact, sizeof(contact), "Contact: <sip:u@%s>\r\n",
			 phone);
		out(st, .phone = phone, .method = "REGISTER", .call_id = phone,
		    .remote_tag = "", .extra = contact);
		/* The eighth after him, and he is answered */
		if (i == 8)
			in(st, .phone = "192.168.1.20:5060",
			   .public_end = "203.0.113.1:5061",
			   .method = "REGISTER", .status = 200,
			   .call_id = "192.168.1.20:5060",
			   .extra = "Contact: <sip:u@203.0.113.1:5061>"
				    ";expires=600\r\n");
	}
	assert_int_equal(count(), 10);
	assert_int_equal(stage_count(st, COUNTER_registrations_confirmed), 2);
	assert_int_equal(stage_count(st, COUNTER_registrations_evicted), 21);
	assert_true(entry(PHONE, &e) && e.fixed);
	assert_true(entry("192.168.1.20:5060", &e) && e.fixed);
}

/* Flows fewer than a message needs: no flow in hand may go */
static void test_few_flows(void **state)
{
	char extra[1024] = "Contact: ", pub[1024] = "Contact: ";

	(void)state;
	st->conf.limits.flows = 2;
	for (int i = 0; i < 8; i++) {
		char one[64];

		snprintf(one, sizeof(one), "%s<sip:u@192.168.1.10:%d>",
			 i ? ", " : "", 5060 + i);
		strcat(extra, one);
		snprintf(one, sizeof(one), "%s<sip:u@203.0.113.1:%d>",
			 i ? ", " : "", 5060 + i);
		strcat(pub, one);
	}
	strcat(extra, "\r\n");
	strcat(pub, "\r\n");
	for (int i = 0; i < 3; i++) {
		ask(extra);
		assert_int_equal(st->d.reason, COUNTER_rewritten);
		grant(200, pub);
		assert_int_equal(st->d.reason, COUNTER_rewritten);
	}
}

static void test_faults(void **state)
{
	(void)state;
	for (int call = 0; call < SIMNAT_CALLS; call++) {
		for (unsigned int n = 0; n < 8; n++) {
			stage_close(st);
			st = stage_open();
			simnat_fail(&st->sim, (enum simnat_call)call, n, 1,
				    -ENOENT);
			for (int i = 0; i < 3; i++)
				talk_register(st, PHONE, PUBLIC, 60);
			/* By the third time it is as it should be */
			assert_int_equal(count(), 1);
			assert_true(calls(SERVER, PUBLIC));
			stage_wait(st, 200);
			assert_int_equal(count(), 0);
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whose_answer),
		TEST(test_via_of_another_port),
		TEST(test_kept_for_its_time),
		TEST(test_refresh),
		TEST(test_not_granted),
		TEST(test_lifetimes),
		TEST(test_unregister),
		TEST(test_unregister_star),
		TEST(test_dropped_by_registrar),
		TEST(test_query),
		TEST(test_two_contacts),
		TEST(test_two_transports),
		TEST(test_two_phones),
		TEST(test_contact_port_differs),
		TEST(test_keep_no),
		TEST(test_stun_phone),
		TEST(test_limit),
		TEST(test_limit_of_unconfirmed),
		TEST(test_few_flows),
		TEST(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
