/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is rewritten where, beyond the vectors: what is remembered, for how
 * long, and for whom
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sip/sites.h"
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

static void ask(const char *contact)
{
	char line[256];

	snprintf(line, sizeof(line), "Contact: <sip:u@%s>\r\n", contact);
	out(st, .method = "REGISTER", .remote_tag = "", .extra = line);
}

static void call(const char *uri)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "OPTIONS sip:u@%s SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n"
		 "CSeq: 1 OPTIONS\r\n\r\n",
		 uri);
	stage_send(st, SERVER, PUBLIC, text);
}

/* The site table of the design, word for word */
static void test_table(void **state)
{
	static const struct {
		const char *name;
		enum site_rule rule[SITE_FLOWS];
		bool top_only;
	} t[] = {
		{ "Request-URI",
		  { SITE_LEAVE, SITE_LEAVE, SITE_RESTORE, SITE_LEAVE },
		  true },
		{ "Via",
		  { SITE_MAP, SITE_LEAVE, SITE_LEAVE, SITE_RESTORE },
		  true },
		{ "Contact",
		  { SITE_MAP, SITE_MAP, SITE_LEAVE, SITE_RESTORE_REGISTER },
		  false },
		{ "Route",
		  { SITE_LEAVE, SITE_LEAVE, SITE_RESTORE, SITE_LEAVE },
		  false },
		{ "Record-Route",
		  { SITE_MAP, SITE_MAP, SITE_LEAVE, SITE_RESTORE },
		  false },
		{ "Path", { SITE_MAP, SITE_MAP, SITE_LEAVE, SITE_RESTORE }, 0 },
		{ "From",
		  { SITE_MAP, SITE_MAP, SITE_RESTORE, SITE_RESTORE },
		  true },
		{ "To",
		  { SITE_MAP, SITE_MAP, SITE_RESTORE, SITE_RESTORE },
		  true },
	};
	static const char *const both_ways[] = {
		"Refer-To",
		"Referred-By",
		"Reply-To",
		"P-Asserted-Identity",
		"P-Preferred-Identity",
		"Remote-Party-ID",
		"Diversion",
		"History-Info",
	};
	const struct site *s = site_table;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++, s++) {
		assert_string_equal(s->name, t[i].name);
		assert_memory_equal(s->rule, t[i].rule, sizeof(s->rule));
		assert_int_equal(s->top_only, t[i].top_only);
		assert_false(s->any_host);
	}
	for (size_t i = 0; i < 8; i++, s++) {
		assert_string_equal(s->name, both_ways[i]);
		assert_int_equal(s->rule[SITE_REQUEST_OUT], SITE_MAP);
		assert_int_equal(s->rule[SITE_ANSWER_OUT], SITE_MAP);
		assert_int_equal(s->rule[SITE_REQUEST_IN], SITE_RESTORE);
		assert_int_equal(s->rule[SITE_ANSWER_IN], SITE_RESTORE);
		assert_true(s->any_host && !s->top_only);
	}
	assert_null(s->name);
}

/* What was changed an hour and a restart ago */
static void test_after_restart(void **state)
{
	struct nat_entry e;
	struct tuple lan = { .src = stage_end("192.168.1.10:5070"),
			     .dst = stage_end(SERVER),
			     .proto = IPPROTO_UDP };

	(void)state;
	out(st, .phone = "192.168.1.10:5070", .method = "REGISTER",
	    .remote_tag = "",
	    .extra = "Contact: <sip:u@192.168.1.10:5070>\r\n");
	assert_int_equal(simnat_ops.find(&st->sim, &lan, NAT_SIDE_LAN, &e), 0);
	alg_free(st->alg);
	st->alg = alg_new(&st->conf, &simnat_ops, &st->sim, st->now_ms);
	alg_adopt(st->alg, &e, st->now_ms);
	stage_send(st, SERVER, "203.0.113.1:5070",
		   "OPTIONS sip:u@203.0.113.1:5070 SIP/2.0\r\n"
		   "To: <sip:u@203.0.113.1:5070>\r\n"
		   "From: <sip:x@203.0.113.1:9>\r\n\r\n");
	assert_true(talk_has(st, "OPTIONS sip:u@192.168.1.10:5070 "));
	assert_true(talk_has(st, "To: <sip:u@192.168.1.10:5070>"));
	assert_true(talk_has(st, "From: <sip:x@203.0.113.1:9>"));
}

/* The phone wrote its public address itself: it finds it again (design,
 * rule 2; pjsip#643). Then it does not any more
 */
static void test_stun_on_and_off(void **state)
{
	(void)state;
	ask("203.0.113.1:5060");
	assert_int_equal(st->d.data == NULL, false); /* Via is mapped */
	call("203.0.113.1:5060");
	assert_true(talk_has(st, "OPTIONS sip:u@203.0.113.1:5060 "));
	ask("192.168.1.10:5060");
	call("203.0.113.1:5060");
	assert_true(talk_has(st, "OPTIONS sip:u@192.168.1.10:5060 "));
	ask("203.0.113.1:5060");
	call("203.0.113.1:5060");
	assert_true(talk_has(st, "OPTIONS sip:u@203.0.113.1:5060 "));
}

/* Two transactions at once, one with the one, one with the other address */
static void test_by_transaction(void **state)
{
	static const char *const hosts[] = { "192.168.1.10:5060",
					     "203.0.113.1:5060" };
	char text[256];

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2; i++) {
			snprintf(text, sizeof(text),
				 "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP %s"
				 ";branch=z9hG4bK%d%d\r\n\r\n",
				 hosts[i], round, i);
			stage_send(st, PHONE, SERVER, text);
			assert_true(talk_has(st, "UDP 203.0.113.1:5060;"));
		}
	}
	/* The first round met no rival, so the text that was last is taken */
	for (int i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
			 "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 203.0.113.1:5060"
			 ";branch=z9hG4bK1%d\r\nCSeq: 1 OPTIONS\r\n\r\n",
			 i);
		stage_send(st, SERVER, PUBLIC, text);
		assert_true(talk_has(st, hosts[i]));
		assert_false(talk_has(st, hosts[!i]));
	}
}

/* Nothing of one phone is restored to another */
static void test_not_for_others(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 60);
	talk_register(st, "192.168.1.11:5060", "203.0.113.1:5061", 60);
	stage_send(st, SERVER, "203.0.113.1:5061",
		   "OPTIONS sip:u@203.0.113.1:5060 SIP/2.0\r\n"
		   "Route: <sip:203.0.113.1:5060;lr>, "
		   "<sip:203.0.113.1:5061;lr>\r\n\r\n");
	assert_true(talk_has(st, "OPTIONS sip:u@203.0.113.1:5060 "));
	assert_true(talk_has(st, "Route: <sip:203.0.113.1:5060;lr>, "
				 "<sip:192.168.1.11:5060;lr>"));
}

/* A text too long to be remembered is not changed */
static void test_too_long(void **state)
{
	char text[256], host[128];

	(void)state;
	snprintf(host, sizeof(host), "192.168.1.10%*s:%*s5060", 30, "", 30, "");
	snprintf(text, sizeof(text),
		 "OPTIONS sip:x SIP/2.0\r\nContact: <sip:a@%s>\r\n\r\n", host);
	stage_send(st, PHONE, SERVER, text);
	assert_true(talk_has(st, host));
}

/* Of a message that cannot be mapped as a whole nothing is */
static void test_no_port_free(void **state)
{
	static const char two[] = "Contact: <sip:a@192.168.1.10:5060>, "
				  "<sip:b@192.168.1.10:5070>\r\n";
	const struct symptom_event *e;

	(void)state;
	st->conf.sip.signalling_ports = (struct ports){ 1, { { 5060, 5060 } } };
	out(st, .method = "INVITE", .extra = two,
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	assert_int_equal(st->d.reason, COUNTER_no_mapping);
	assert_null(st->d.data);
	assert_true(talk_has(st, "Via: SIP/2.0/UDP " PHONE));
	assert_true(talk_has(st, "b@192.168.1.10:5070"));
	assert_true(talk_has(st, "m=audio 4000"));
	assert_int_equal(stage_count(st, COUNTER_ports_exhausted), 1);
	assert_int_equal(HASH_CNT(by_inside, st->alg->media.by_inside), 0);
	e = symptoms_recent(&st->alg->symptoms, 0);
	assert_non_null(e);
	assert_non_null(strstr(e->text, "(ports_exhausted)"));
	assert_null(symptoms_recent(&st->alg->symptoms, 1));
	/* As soon as there is one it is mapped */
	st->conf.sip.signalling_ports.range[0].last = 5061;
	out(st, .method = "INVITE", .extra = two,
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	assert_true(talk_has(st, "a@203.0.113.1:5060"));
	assert_true(talk_has(st, "b@203.0.113.1:5061"));
	assert_true(talk_has(st, "m=audio 16384"));
}

/* The caller's network has our numbers (failure mode 26): From, To and
 * Record-Route come back as the outside sent them
 */
static void test_equal_networks(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	stage_send(st, SERVER, PUBLIC,
		   "INVITE sip:u@203.0.113.1:5060 SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKx\r\n"
		   "From: <sip:bob@192.168.1.10>;tag=1\r\n"
		   "To: <sip:u@example.com>\r\nCall-ID: x\r\n"
		   "CSeq: 1 INVITE\r\n"
		   "Record-Route: <sip:192.168.1.10;lr>\r\n"
		   "Contact: <sip:bob@192.168.1.10:5060>\r\n\r\n");
	assert_true(talk_has(st, "bob@192.168.1.10:5060"));
	stage_send(st, PHONE, SERVER,
		   "SIP/2.0 200 OK\r\n"
		   "Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKx\r\n"
		   "From: <sip:bob@192.168.1.10>;tag=1\r\n"
		   "To: <sip:u@example.com>;tag=2\r\nCall-ID: x\r\n"
		   "CSeq: 1 INVITE\r\n"
		   "Record-Route: <sip:192.168.1.10;lr>\r\n"
		   "Contact: <sip:u@192.168.1.10:5060>\r\n\r\n");
	assert_true(talk_has(st, "UDP 192.168.1.10:5060;branch"));
	assert_true(talk_has(st, "From: <sip:bob@192.168.1.10>;tag=1"));
	assert_true(talk_has(st, "Record-Route: <sip:192.168.1.10;lr>"));
	assert_true(talk_has(st, "Contact: <sip:u@203.0.113.1:5060>"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_table),	    TEST(test_after_restart),
		TEST(test_stun_on_and_off), TEST(test_by_transaction),
		TEST(test_not_for_others),  TEST(test_too_long),
		TEST(test_no_port_free),    TEST(test_equal_networks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
