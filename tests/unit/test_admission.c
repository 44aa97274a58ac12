/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/admission.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <utlist.h>

#include "dial.h"
#include "talk.h"

#define STRANGER "192.0.2.66:5060"
#define OTHER "192.168.1.11:5060"
#define CALLING "192.168.1.10:40000"

static struct stage *st;
static struct bindings *b;
static struct connections *all;
static struct dial dials[4], *d = &dials[0];

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	b = &st->alg->bindings;
	all = &st->alg->connections;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

static unsigned int connections(void)
{
	return HASH_CNT(by_lan, all->by_lan);
}

/* A REGISTER on @dial, as if the phone listened at @contact; what is granted */
static void talk_on(struct dial *dial, const char *contact, int seconds)
{
	static char text[1024];
	char via[ENDPOINT_TEXT_MAX];
	int n;

	endpoint_format(&dial->end[0].t.src, via);
	n = snprintf(text, sizeof(text),
		     "REGISTER sip:example.com SIP/2.0\r\n"
		     "Via: SIP/2.0/TCP %s;branch=z9hG4bK1;alias\r\n"
		     "From: <sip:u@example.com>;tag=1\r\n"
		     "To: <sip:u@example.com>\r\n"
		     "Call-ID: %s\r\nCSeq: 1 REGISTER\r\n"
		     "Contact: <sip:u@%s;transport=tcp>\r\n"
		     "Expires: %d\r\nContent-Length: 0\r\n\r\n",
		     via, contact, contact, seconds);

	dial_say(dial, 0, (struct span){ text, (size_t)n });
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	endpoint_format(&dial->end[1].t.dst, via);
	n = snprintf(text, sizeof(text),
		     "SIP/2.0 200 OK\r\n"
		     "Via: SIP/2.0/TCP %s;branch=z9hG4bK1;alias\r\n"
		     "From: <sip:u@example.com>;tag=1\r\n"
		     "To: <sip:u@example.com>;tag=2\r\n"
		     "Call-ID: %s\r\nCSeq: 1 REGISTER\r\n"
		     "Expires: %d\r\nContent-Length: 0\r\n\r\n",
		     via, contact, seconds);
	dial_say(dial, 1, (struct span){ text, (size_t)n });
	dial_ack(dial, 0);
}

/* The public port in the Contact that the server got last */
static unsigned int contact_port(const struct dial *dial)
{
	struct span got = dial_got(dial, 1), rest;
	const char *at = NULL, *next;
	unsigned int port = 5060;

	for (rest = got; (next = span_find(rest, SPAN("<sip:u@203.0.113.1")));
	     rest = span_between(next + 1, span_end(got)))
		at = next + strlen("<sip:u@203.0.113.1");
	assert_non_null(at);
	if (*at == ':')
		assert_int_equal(sscanf(at, ":%u", &port), 1);
	return port;
}

static bool has_entry(const char *lan_src, const char *lan_dst,
		      struct nat_entry *entry)
{
	struct tuple t = { .src = stage_end(lan_src),
			   .dst = stage_end(lan_dst),
			   .proto = IPPROTO_TCP };

	return !simnat_ops.find(&st->sim, &t, NAT_SIDE_LAN, entry);
}

/* ---- whose ---- */

static void test_sides(void **state)
{
	static const struct {
		const char *src, *dst;
		uint8_t flags;
		enum nat_side side;
		enum counter reason;
	} t[] = {
		{ PHONE, SERVER, TH_SYN, NAT_SIDE_OTHER, COUNTER_not_for_us },
		{ PHONE, OTHER, TH_SYN, NAT_SIDE_LAN, COUNTER_not_for_us },
		{ PHONE, PUBLIC, TH_SYN, NAT_SIDE_LAN, COUNTER_not_for_us },
		{ SERVER, SERVER, TH_SYN, NAT_SIDE_LAN, COUNTER_not_for_us },
		{ CALLING, "198.51.100.5:443", TH_SYN, NAT_SIDE_LAN,
		  COUNTER_not_for_us },
		{ SERVER, PUBLIC, TH_SYN, NAT_SIDE_WAN, COUNTER_stranger },
		/* Nobody saw these begin */
		{ CALLING, SERVER, TH_ACK, NAT_SIDE_LAN, COUNTER_not_for_us },
		{ SERVER, PUBLIC, TH_ACK, NAT_SIDE_WAN, COUNTER_not_for_us },
		{ SERVER, PUBLIC, TH_SYN | TH_ACK, NAT_SIDE_WAN,
		  COUNTER_not_for_us },
		{ CALLING, SERVER, TH_SYN | TH_ACK, NAT_SIDE_LAN,
		  COUNTER_not_for_us },
		{ CALLING, SERVER, TH_SYN, NAT_SIDE_LAN, COUNTER_tcp_segments },
		{ PHONE, SERVER, TH_SYN, NAT_SIDE_LAN, COUNTER_tcp_segments },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct decision dec;
		size_t len;

		dial_init(d, st, t[i].src, t[i].dst);
		len = dial_packet(d, 0, t[i].flags, 1, (struct span){ 0 },
				  (struct span){ 0 }, st->packet);
		dec = alg_packet(st->alg, st->packet, len, t[i].side,
				 st->now_ms);
		if (dec.reason != t[i].reason)
			fail_msg("row %zu: %s", i, counter_name(dec.reason));
		assert_false(dec.drop);
		assert_null(dec.data);
	}
	assert_int_equal(connections(), 2);
}

/* A host inside that takes the server's address does not speak for it */
static void test_disguised(void **state)
{
	struct decision dec;
	size_t len;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk_on(d, CALLING, 600);
	len = dial_packet(d, 1, TH_ACK, d->end[1].seq, (struct span){ 0 },
			  SPAN("x"), st->packet);
	dec = alg_packet(st->alg, st->packet, len, NAT_SIDE_LAN, st->now_ms);
	assert_int_equal(dec.reason, COUNTER_not_for_us);
	assert_null(dec.data);
	assert_int_equal(d->end[1].own, 0);
}

static void test_does_not_leave_by_wan(void **state)
{
	(void)state;
	simnat_fail(&st->sim, SIMNAT_ROUTE, 0, 2, -ENETUNREACH);
	dial_init(d, st, CALLING, SERVER);
	dial_send(d, 0, TH_SYN, 1, DIAL_OPTIONS, (struct span){ 0 });
	assert_int_equal(st->d.reason, COUNTER_not_for_us);
	dial_init(&dials[1], st, PHONE, SERVER);
	dial_send(&dials[1], 0, TH_SYN, 1, DIAL_OPTIONS, (struct span){ 0 });
	assert_int_equal(st->d.reason, COUNTER_not_for_us);
	assert_int_equal(connections(), 0);
}

static void test_bypassed(void **state)
{
	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk_on(d, PHONE, 600);
	st->conf.bypass.phones.count = 1;
	st->conf.bypass.phones.net[0] = stage_network("192.168.1.10");
	dial_open(&dials[1], st, "192.168.1.10:40001", SERVER);
	assert_int_equal(dials[1].end[1].mss, DIAL_MSS);
	/* One that was there before can only be carried on */
	dial_say(d, 0,
		 SPAN("OPTIONS sip:x SIP/2.0\r\n"
		      "Contact: <sip:192.168.1.10>\r\n\r\n"));
	assert_int_equal(st->d.reason, COUNTER_bypassed);
	assert_true(dial_has(d, 1, "Contact: <sip:192.168.1.10>\r\n\r\n"));
	st->conf.bypass.phones.count = 0;
	st->conf.bypass.peers.count = 1;
	st->conf.bypass.peers.net[0] = stage_network("198.51.100.0/24");
	dial_say(d, 0,
		 SPAN("OPTIONS sip:x SIP/2.0\r\n"
		      "Contact: <sip:192.168.1.10>\r\n\r\n"));
	assert_int_equal(st->d.reason, COUNTER_bypassed);
	st->conf.bypass.peers.count = 0;
	dial_say(d, 0,
		 SPAN("OPTIONS sip:x SIP/2.0\r\n"
		      "Contact: <sip:192.168.1.10>\r\n\r\n"));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
}

/* ---- which port ---- */

/* From any other port than those of phones' signalling NAT chooses, and we look
 */
static void test_kernels_choice(void **state)
{
	struct nat_entry entry;

	(void)state;
	/* Somebody else has the public port already */
	dial_open(d, st, "192.168.1.11:40000", SERVER);
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 0);
	d = &dials[1];
	dial_open(d, st, CALLING, SERVER);
	assert_true(has_entry(CALLING, SERVER, &entry));
	assert_int_not_equal(entry.wan.dst.port, 40000);
	talk_on(d, CALLING, 600);
	assert_int_equal(contact_port(d), entry.wan.dst.port);
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 0);
	d = &dials[0];
}

/* Two phones that connect from 5060 must not both be announced as 5060:
 * docs/decisions/010
 */
static void test_two_phones_from_5060(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, PHONE, SERVER);
	dial_open(&dials[1], st, OTHER, "198.51.100.6:5060");
	assert_true(has_entry(PHONE, SERVER, &entry));
	assert_int_equal(entry.wan.dst.port, 5060);
	assert_true(has_entry(OTHER, "198.51.100.6:5060", &entry));
	assert_int_equal(entry.wan.dst.port, 5061);
	talk_on(d, PHONE, 600);
	dial_say(&dials[1], 0,
		 SPAN("REGISTER sip:x SIP/2.0\r\n"
		      "Contact: <sip:u@192.168.1.11;transport=tcp>\r\n"
		      "Content-Length: 0\r\n\r\n"));
	assert_int_equal(contact_port(d), 5060);
	assert_int_equal(contact_port(&dials[1]), 5061);
}

/* The entry of a connection that was refused still stands when the next SYN
 * comes; the kernel would drop it then, and its translation with it
 */
static void test_refused_then_again(void **state)
{
	struct nat_entry entry;

	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	dial_init(d, st, OTHER, SERVER);
	dial_syn(d);
	dial_send(d, 1, TH_RST | TH_ACK, 0, (struct span){ 0 },
		  (struct span){ 0 });
	st->sim.list->prev->data.tcp_over = true;
	dial_open(d, st, OTHER, SERVER);
	assert_true(has_entry(OTHER, SERVER, &entry));
	assert_int_equal(entry.wan.dst.port, 5061);
	assert_false(entry.tcp_over);
	assert_int_equal(connections(), 1);
	dial_say(d, 0,
		 SPAN("REGISTER sip:x SIP/2.0\r\n"
		      "Contact: <sip:u@192.168.1.11;transport=tcp>\r\n"
		      "Content-Length: 0\r\n\r\n"));
	assert_int_equal(contact_port(d), 5061);
}

/* An older connection, reset, whose public port the kernel has given to another
 * host meanwhile
 */
static void test_port_of_another(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_reset(d, 1);
	assert_int_equal(simnat_ops.remove(&st->sim, &d->end[0].t), 0);
	d = &dials[1];
	dial_open(d, st, "192.168.1.11:40000", SERVER);
	assert_true(has_entry("192.168.1.11:40000", SERVER, &entry));
	assert_int_equal(entry.wan.dst.port, 40000);
	dial_say(d, 0,
		 SPAN("REGISTER sip:x SIP/2.0\r\n"
		      "Contact: <sip:u@192.168.1.11:40000;transport=tcp>\r\n"
		      "Content-Length: 0\r\n\r\n"));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_int_equal(contact_port(d), 40000);
	assert_int_equal(connections(), 1);
	d = &dials[0];
}

/* Where the phone listens is announced by the same port, whichever connection
 * it registers by
 */
static void test_listening_port_stays(void **state)
{
	unsigned int port;
	char phone[32];

	(void)state;
	talk_register(st, OTHER, PUBLIC, 600);
	dial_open(d, st, CALLING, SERVER);
	talk_on(d, PHONE, 600);
	port = contact_port(d);
	assert_int_equal(port, 5061);
	dial_close(d);
	for (int i = 1; i < 4; i++) {
		stage_wait(st, 250);
		snprintf(phone, sizeof(phone), "192.168.1.10:%d", 40000 + i);
		dial_open(d, st, phone, SERVER);
		talk_on(d, PHONE, 600);
		assert_int_equal(contact_port(d), port);
		dial_close(d);
	}
	/* One for the phone and one for the other; none of connections */
	stage_wait(st, 300);
	assert_int_equal(HASH_CNT(by_inside, b->by_inside), 2);
}

/* A Contact that names the connection's port: nobody else knows that one, so it
 * goes with the registration
 */
static void test_passing_port_goes(void **state)
{
	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk_on(d, CALLING, 600);
	assert_int_equal(contact_port(d), 40000);
	assert_int_equal(st->alg->registrations.count, 1);
	dial_close(d);
	stage_wait(st, 300);
	assert_int_equal(connections(), 0);
	assert_int_equal(HASH_CNT(by_inside, b->by_inside), 1);
	stage_wait(st, 400);
	assert_int_equal(st->alg->registrations.count, 0);
	assert_int_equal(HASH_CNT(by_inside, b->by_inside), 0);
}

/* ---- who may ---- */

/* A connection to where a phone listens */
static void test_from_outside(void **state)
{
	struct nat_entry entry;

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk_on(d, PHONE, 600);
	dial_close(d);
	stage_wait(st, 300);
	/* The registrar is let in, by an entry that begins with its packet */
	d = &dials[1];
	dial_open(d, st, "198.51.100.5:33333", PUBLIC);
	assert_true(endpoint_eq(
		&d->end[1].t.src,
		&(struct endpoint){ stage_addr(PHONE_ADDR), 5060 }));
	assert_true(has_entry(PHONE, "198.51.100.5:33333", &entry));
	assert_true(entry.from_wan && entry.answered);
	dial_say(d, 0,
		 SPAN("OPTIONS sip:u@203.0.113.1:5060;transport=tcp SIP/2.0\r\n"
		      "Via: SIP/2.0/TCP 198.51.100.5;branch=z9hG4bKx\r\n"
		      "Content-Length: 0\r\n\r\n"));
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_non_null(span_find(dial_got(d, 1),
				  SPAN("sip:u@192.168.1.10:5060;transport")));
	d = &dials[0];
}

static void test_stranger(void **state)
{
	struct dial *s = &dials[1];

	(void)state;
	dial_open(d, st, CALLING, SERVER);
	talk_on(d, PHONE, 600);
	for (int i = 0; i < 2; i++) {
		unsigned int entries = st->sim.count;

		/* It goes on as it is, to the gateway's own port */
		dial_init(s, st, STRANGER, i ? "203.0.113.1:5070" : PUBLIC);
		dial_syn(s);
		assert_int_equal(st->d.reason,
				 i ? COUNTER_stranger : COUNTER_not_allowed);
		assert_null(st->d.data);
		assert_true(tuple_eq(&st->t, &s->end[0].t));
		assert_int_equal(st->sim.count, entries);
		dial_send(s, 0, TH_ACK, 2, (struct span){ 0 },
			  SPAN("INVITE sip:u@203.0.113.1 SIP/2.0\r\n\r\n"));
		assert_int_equal(st->d.reason, COUNTER_not_for_us);
	}
	assert_int_equal(connections(), 1);
	st->conf.sip.inbound_from = CONF_INBOUND_ANY;
	dial_open(s, st, STRANGER, PUBLIC);
	assert_int_equal(connections(), 2);
	assert_int_equal(s->end[1].mss, DIAL_MSS - STREAM_CLAMP);
}

/* A phone that never registers: for as long as it uses its connection, the host
 * at its other end may call it by another one
 */
static void test_open_connection_admits(void **state)
{
	(void)state;
	dial_open(d, st, CALLING, SERVER);
	dial_say(d, 0,
		 SPAN("OPTIONS sip:x SIP/2.0\r\n"
		      "Contact: <sip:u@192.168.1.10:5060>\r\n"
		      "Content-Length: 0\r\n\r\n"));
	dial_ack(d, 1);
	for (int i = 0; i < 20; i++) {
		stage_wait(st, 60);
		dial_say(d, 0, SPAN("\r\n\r\n"));
		dial_ack(d, 1);
	}
	dial_init(&dials[1], st, "198.51.100.5:33333", PUBLIC);
	dial_syn(&dials[1]);
	assert_int_equal(st->d.reason, COUNTER_tcp_segments);
	assert_int_equal(dials[1].end[1].t.src.addr.byte[15], 10);
	dial_close(d);
	stage_wait(st, 300);
	dial_init(&dials[1], st, "198.51.100.5:33334", PUBLIC);
	dial_syn(&dials[1]);
	assert_int_equal(st->d.reason, COUNTER_not_allowed);
}

/* Who is only connected to is no peer, nor who is told something else than SIP:
 * a page in a browser can do both
 */
static void test_other_connections_admit_nobody(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	for (int i = 0; i < 3; i++) {
		char from[32];

		snprintf(from, sizeof(from), "192.168.1.10:%d", 40000 + i);
		dial_init(d, st, from, STRANGER);
		dial_syn(d);
		if (i)
			dial_answer(d);
		if (i > 1)
			dial_say(d, 0, SPAN("POST / HTTP/1.1\r\n\r\n"));
		dial_init(&dials[1], st, "192.0.2.66:33333", PUBLIC);
		dial_syn(&dials[1]);
		assert_int_equal(st->d.reason, COUNTER_not_allowed);
	}
}

/* ---- at the start ---- */

static void adopt(const char *lan_src, const char *lan_dst,
		  const char *public_end, bool over)
{
	struct nat_entry entry = { .timeout_s = 600,
				   .tcp_over = over,
				   .tcp_liberal = true };

	entry.lan = (struct tuple){ .src = stage_end(lan_src),
				    .dst = stage_end(lan_dst),
				    .proto = IPPROTO_TCP };
	entry.wan = tuple_reverse(&entry.lan);
	entry.wan.dst = stage_end(public_end);
	alg_adopt(st->alg, &entry, st->now_ms);
}

static void test_adopt(void **state)
{
	struct addr phone = stage_addr("192.168.1.10");
	struct addr server = stage_addr("198.51.100.5");

	(void)state;
	adopt(CALLING, SERVER, "203.0.113.1:40000", false);
	assert_int_equal(connections(), 1);
	/* Both readings of an entry are shown; one is right */
	adopt(SERVER, "203.0.113.1:40000", CALLING, false);
	adopt(PHONE, OTHER, "203.0.113.1:41000", false);
	adopt("192.168.1.10:40001", SERVER, "192.168.1.10:40001", false);
	adopt("192.168.1.10:40002", SERVER, "203.0.113.1:40002", true);
	assert_int_equal(connections(), 1);
	/* What was said on it nobody knows: docs/decisions/009 */
	assert_false(peer_is_known(b, &phone, &server, st->now_ms));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sides),
		TEST(test_disguised),
		TEST(test_does_not_leave_by_wan),
		TEST(test_bypassed),
		TEST(test_kernels_choice),
		TEST(test_two_phones_from_5060),
		TEST(test_refused_then_again),
		TEST(test_port_of_another),
		TEST(test_listening_port_stays),
		TEST(test_passing_port_goes),
		TEST(test_from_outside),
		TEST(test_stranger),
		TEST(test_open_connection_admits),
		TEST(test_other_connections_admit_nobody),
		TEST(test_adopt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
