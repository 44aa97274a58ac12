/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/alg.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "talk.h"

static struct stage *st;
static unsigned int fail_at, allocations;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);

/* Linked in place of calloc() (CMakeLists.txt): call number @fail_at gets no
 * memory
 */
void *__wrap_calloc(size_t count, size_t size)
{
	if (++allocations == fail_at)
		return NULL;
	return __real_calloc(count, size);
}

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

static struct decision decide(const char *src, const char *dst,
			      struct span payload, enum nat_side side)
{
	struct tuple t = { .src = stage_end(src),
			   .dst = stage_end(dst),
			   .proto = IPPROTO_UDP };
	size_t len = stage_packet(&t, payload, st->packet);

	return alg_packet(st->alg, st->packet, len, side, st->now_ms);
}

#define OPTIONS_MESSAGE                                                        \
	SPAN("OPTIONS sip:x SIP/2.0\r\n"                                       \
	     "Via: SIP/2.0/UDP 192.168.1.10:5060\r\n\r\n")

static void test_sides(void **state)
{
	static const struct {
		const char *src, *dst;
		enum nat_side side;
		enum counter reason;
	} t[] = {
		{ PHONE, SERVER, NAT_SIDE_OTHER, COUNTER_not_for_us },
		{ PHONE, "192.168.1.11:5060", NAT_SIDE_LAN,
		  COUNTER_not_for_us },
		{ PHONE, PUBLIC, NAT_SIDE_LAN, COUNTER_not_for_us },
		{ SERVER, SERVER, NAT_SIDE_LAN, COUNTER_not_for_us },
		{ PHONE, "198.51.100.5:5080", NAT_SIDE_LAN,
		  COUNTER_not_for_us },
		{ SERVER, PUBLIC, NAT_SIDE_WAN, COUNTER_stranger },
		{ PHONE, SERVER, NAT_SIDE_LAN, COUNTER_rewritten },
		/* It is known by now: whatever port it uses */
		{ PHONE, "198.51.100.5:5080", NAT_SIDE_LAN, COUNTER_rewritten },
		{ SERVER, PUBLIC, NAT_SIDE_WAN, COUNTER_nothing_ours },
	};
	uint64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct decision d =
			decide(t[i].src, t[i].dst, OPTIONS_MESSAGE, t[i].side);

		if (d.reason != t[i].reason)
			fail_msg("row %zu: %s", i, counter_name(d.reason));
		assert_int_equal(d.data != NULL, d.reason == COUNTER_rewritten);
		assert_false(d.drop);
	}
	/* Each packet counts in exactly one of them */
	for (int c = 0; c <= COUNTER_too_big; c++)
		sum += stage_count(st, (enum counter)c);
	assert_int_equal(sum, sizeof(t) / sizeof(*t));
}

static void test_other_packets(void **state)
{
	struct tuple t = { stage_end(PHONE), stage_end(SERVER), IPPROTO_UDP,
			   0 };
	size_t len = stage_packet(&t, OPTIONS_MESSAGE, st->packet);

	(void)state;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(alg_packet(st->alg,
					    guard_place(0, st->packet, i), i,
					    NAT_SIDE_LAN, st->now_ms)
					 .reason,
				 COUNTER_bad_packet);
	st->packet[9] = IPPROTO_TCP;
	st->packet[32] = 0x50;
	st->packet[33] = 0x10; /* of a connection that nobody saw begin */
	assert_int_equal(
		alg_packet(st->alg, st->packet, len, NAT_SIDE_LAN, st->now_ms)
			.reason,
		COUNTER_not_for_us);
	st->packet[9] = IPPROTO_ICMP;
	assert_int_equal(
		alg_packet(st->alg, st->packet, len, NAT_SIDE_LAN, st->now_ms)
			.reason,
		COUNTER_other_protocol);
	assert_int_equal(st->sim.count, 0);
}

/* A message that ends anywhere: as it came, or rewritten rightly */
static void test_every_truncation(void **state)
{
	static const char text[] =
		"INVITE sip:x@example.com SIP/2.0\r\n"
		"v: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK1\r\n"
		"Contact: \"a\" <sip:a@192.168.1.10>\r\nCall-ID: t\r\n"
		"c: application/sdp\r\n\r\n"
		"v=0\r\no=- 1 1 IN IP4 192.168.1.10\r\n"
		"c=IN IP4 192.168.1.10\r\nm=audio 4000 RTP/AVP 0\r\n"
		"a=rtcp:4001 IN IP4 192.168.1.10\r\n";
	const char *body = strstr(text, "v=0");

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		struct tuple t = { stage_end(PHONE), stage_end(SERVER),
				   IPPROTO_UDP, 0 };

		stage_pass(st, &t, (struct span){ text, len });
		if (len < (size_t)(body - text))
			assert_null(st->d.data);
		else
			assert_non_null(st->d.data);
	}
}

static void test_sizes(void **state)
{
	static char text[65000];
	size_t at;

	(void)state;
	/* Another phone has 5060: ":5061" is written where there was no port */
	stage_send(st, "192.168.1.11:5060", SERVER, "\r\n\r\n");
	at = (size_t)sprintf(text, "OPTIONS sip:x SIP/2.0\r\n"
				   "Via: SIP/2.0/UDP 192.168.1.10\r\n"
				   "Subject: ");
	memset(text + at, 'a', sizeof(text) - at);
	memcpy(text + sizeof(text) - 5, "\r\n\r\n", 5);
	stage_send(st, PHONE, SERVER, text);
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	assert_int_equal(st->left.len, strlen(text) + 4);
	/* It grew: it may be fragmented (design, "UDP") */
	assert_int_equal(st->out[6] & 0x40, 0);
	assert_int_not_equal(st->out[4] | st->out[5], 0);
	st->conf.sip.max_message = (uint32_t)strlen(text) - 1;
	stage_send(st, PHONE, SERVER, text);
	assert_int_equal(st->d.reason, COUNTER_too_long);
	assert_null(st->d.data);
}

static void test_does_not_fit(void **state)
{
	static char text[65508];
	size_t at;

	(void)state;
	stage_send(st, "192.168.1.11:5060", SERVER, "\r\n\r\n");
	at = (size_t)sprintf(text, "OPTIONS sip:x SIP/2.0\r\n"
				   "Via: SIP/2.0/UDP 192.168.1.10\r\n"
				   "Subject: ");
	memset(text + at, 'a', sizeof(text) - at);
	memcpy(text + sizeof(text) - 5, "\r\n\r\n", 5);
	assert_int_equal(strlen(text), 65507);
	stage_send(st, PHONE, SERVER, text);
	assert_int_equal(st->d.reason, COUNTER_too_big);
	assert_null(st->d.data);
}

static void test_too_many_edits(void **state)
{
	static char text[8192];
	size_t at = (size_t)sprintf(text, "OPTIONS sip:x SIP/2.0\r\nContact: ");

	(void)state;
	for (int i = 0; i <= EDIT_MAX; i++)
		at += (size_t)sprintf(text + at, "%s<sip:192.168.1.10>",
				      i ? "," : "");
	sprintf(text + at, "\r\n\r\n");
	stage_send(st, PHONE, SERVER, text);
	assert_int_equal(st->d.reason, COUNTER_too_many_edits);
	assert_null(st->d.data);
}

static void test_modes(void **state)
{
	static const struct {
		enum conf_mode mode;
		enum counter reason;
	} t[] = {
		{ CONF_MODE_BYPASS, COUNTER_bypassed },
		{ CONF_MODE_OBSERVE, COUNTER_observed },
		{ CONF_MODE_ACTIVE, COUNTER_rewritten },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		st->conf.gateway.mode = t[i].mode;
		alg_configure(st->alg, &st->conf);
		assert_int_equal(
			decide(PHONE, SERVER, OPTIONS_MESSAGE, NAT_SIDE_LAN)
				.reason,
			t[i].reason);
		assert_int_equal(st->sim.count, t[i].mode == CONF_MODE_ACTIVE);
	}
}

static void test_bypass(void **state)
{
	(void)state;
	st->conf.bypass.phones.count = 1;
	st->conf.bypass.phones.net[0] = stage_network("192.168.1.10");
	stage_send(st, PHONE, SERVER, OPTIONS_MESSAGE.ptr);
	assert_int_equal(st->d.reason, COUNTER_bypassed);
	st->conf.bypass.phones.count = 0;
	st->conf.bypass.peers.count = 1;
	st->conf.bypass.peers.net[0] = stage_network("198.51.100.0/24");
	stage_send(st, PHONE, SERVER, OPTIONS_MESSAGE.ptr);
	assert_int_equal(st->d.reason, COUNTER_bypassed);
	stage_send(st, PHONE, "192.0.2.7:5060", OPTIONS_MESSAGE.ptr);
	assert_int_equal(st->d.reason, COUNTER_rewritten);
}

/* sip.dscp: each message that is read gets its class; what is left alone does
 * not, whatever the reason
 */
static void test_class(void **state)
{
	static const struct {
		const char *text;
		enum counter reason;
		bool classed;
	} t[] = {
		{ "OPTIONS sip:x SIP/2.0\r\n"
		  "Via: SIP/2.0/UDP 192.168.1.10:5060\r\n\r\n",
		  COUNTER_rewritten, true },
		{ "OPTIONS sip:x SIP/2.0\r\n"
		  "Via: SIP/2.0/UDP 198.51.100.5:5060\r\n\r\n",
		  COUNTER_nothing_ours, true },
		{ "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.10",
		  COUNTER_bad_end, false },
		{ "\r\n\r\n", COUNTER_keepalive, false },
		{ "no SIP at all, as it seems", COUNTER_not_sip, false },
		{ "OPTIONS sip:x SIP/2.0\r\nUser-Agent: Clever 1\r\n"
		  "Via: SIP/2.0/UDP 192.168.1.10:5060\r\n\r\n",
		  COUNTER_bypassed, false },
	};

	(void)state;
	st->conf.sip.dscp = 46;
	st->conf.bypass.user_agents = (struct conf_names){ 1, { "Clever*" } };
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct decision d = decide(
			PHONE, SERVER, span_from_str(t[i].text), NAT_SIDE_LAN);

		if (d.reason != t[i].reason)
			fail_msg("row %zu: %s", i, counter_name(d.reason));
		assert_int_equal(d.data != NULL, t[i].classed);
		if (!d.data)
			continue;
		assert_int_equal(packet_dscp(d.data), 46);
		assert_true(stage_sums_ok(d.data, d.len));
	}
	/* It has it: back as it came, and nothing else is different */
	st->conf.bypass.user_agents.count = 0;
	st->conf.sip.dscp = 0;
	assert_null(
		decide(SERVER, PUBLIC, span_from_str(t[1].text), NAT_SIDE_WAN)
			.data);
	st->conf.sip.dscp = 46;
	st->conf.gateway.mode = CONF_MODE_OBSERVE;
	alg_configure(st->alg, &st->conf);
	assert_null(
		decide(PHONE, SERVER, span_from_str(t[0].text), NAT_SIDE_LAN)
			.data);
}

/* An entry of the kernel's is asked for once, then remembered */
static void test_fast_path(void **state)
{
	unsigned int asked;

	(void)state;
	out(st, .method = "OPTIONS");
	in(st, .method = "OPTIONS", .status = 200);
	asked = st->sim.calls[SIMNAT_FIND];
	for (int i = 0; i < 100; i++) {
		out(st, .method = "OPTIONS");
		in(st, .method = "OPTIONS", .status = 200);
		stage_wait(st, 10);
	}
	assert_int_equal(st->sim.calls[SIMNAT_FIND], asked);
	assert_int_equal(st->sim.calls[SIMNAT_CREATE], 1);
	assert_int_equal(st->sim.calls[SIMNAT_ROUTE], 1);
}

/* Two inside hosts by their public contacts: RFC 4787 REQ-9 */
static void test_hairpin(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	talk_register(st, "192.168.1.11:5060", "203.0.113.1:5061", 600);
	stage_send(st, PHONE, "203.0.113.1:5061",
		   "OPTIONS sip:u@203.0.113.1:5061 SIP/2.0\r\n"
		   "Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKh\r\n"
		   "Contact: <sip:u@192.168.1.10:5060>\r\n"
		   "CSeq: 1 OPTIONS\r\n\r\n");
	assert_true(talk_has(st, "OPTIONS sip:u@192.168.1.11:5060 "));
	assert_true(talk_has(st, "UDP 203.0.113.1:5060;"));
	assert_true(talk_has(st, "Contact: <sip:u@203.0.113.1:5060>"));
	assert_true(endpoint_eq(&st->t.dst,
				&(struct endpoint){ st->t.dst.addr, 5060 }));
	assert_int_equal(st->t.dst.addr.byte[15], 11);
	assert_int_equal(st->t.src.port, 5060);
	stage_send(st, "192.168.1.11:5060", PUBLIC,
		   "SIP/2.0 200 OK\r\n"
		   "Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKh\r\n"
		   "CSeq: 1 OPTIONS\r\n\r\n");
	assert_true(talk_has(st, "UDP 192.168.1.10:5060;"));
	assert_int_equal(st->t.dst.addr.byte[15], 10);
}

static void scenario(void)
{
	talk_register(st, PHONE, PUBLIC, 60);
	in(st, .method = "INVITE", .local_tag = "",
	   .sdp = talk_sdp(MEDIA_ADDR, 6000, ""));
	out(st, .method = "INVITE", .status = 200,
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	in(st, .method = "ACK");
	out(st, .method = "INVITE", .cseq = 2,
	    .sdp = talk_sdp(PHONE_ADDR, 4100, ""));
	in(st, .method = "INVITE", .status = 200, .cseq = 2,
	   .sdp = talk_sdp(MEDIA_ADDR, 7000, ""));
	out(st, .method = "OPTIONS", .phone = "192.168.1.11:5060",
	    .extra = "Refer-To: <sip:192.168.1.10>\r\n");
	out(st, .method = "BYE", .cseq = 3);
	in(st, .method = "BYE", .status = 200, .cseq = 3);
	stage_wait(st, 200);
}

/* Packets to @to leave by another line from now on */
static void change_line(const char *to)
{
	struct network net = stage_network(to);
	struct addr from = stage_addr("203.0.113.2");

	assert_int_equal(simnat_add_route(&st->sim, &net, &from), 0);
}

static void test_line_changes(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	in(st, .method = "INVITE", .status = 200,
	   .sdp = talk_sdp(MEDIA_ADDR, 8000, ""));
	assert_int_equal(alg_line_changed(st->alg, st->now_ms), 0);
	assert_int_equal(st->alg->registrations.count, 1);
	assert_int_equal(st->alg->media.pinholes, 2);
	change_line("192.0.2.0/24"); /* nobody is there */
	assert_int_equal(alg_line_changed(st->alg, st->now_ms), 0);
	change_line("198.51.100.0/24");
	assert_int_equal(alg_line_changed(st->alg, st->now_ms), 1);
	assert_int_equal(st->sim.count, 0);
	assert_int_equal(st->alg->registrations.count, 0);
	assert_int_equal(st->alg->media.pinholes, 0);
	/* The call lives, and by its next offer goes on */
	out(st, .method = "INVITE", .cseq = 2,
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	assert_true(talk_has(st, "c=IN IP4 203.0.113.2\r\n"));
	in(st, .method = "INVITE", .cseq = 2, .status = 200,
	   .public_end = "203.0.113.2:5060",
	   .sdp = talk_sdp(MEDIA_ADDR, 8000, ""));
	assert_int_equal(st->alg->media.pinholes, 2);
	stage_wait(st, 30);
	assert_int_equal(st->alg->media.pinholes, 2);
}

/* An entry that was forgotten here, and is of the address that went */
static void test_line_changes_under_a_forgotten_entry(void **state)
{
	struct tuple lan = { .src = stage_end(PHONE),
			     .dst = stage_end(SERVER),
			     .proto = IPPROTO_UDP };
	struct nat_entry entry = { .lan = lan, .wan = tuple_reverse(&lan) };

	(void)state;
	entry.wan.dst = stage_end(PUBLIC);
	assert_int_equal(simnat_ops.create(&st->sim, &entry), 0);
	change_line("198.51.100.0/24");
	assert_int_equal(alg_line_changed(st->alg, st->now_ms), 0);
	out(st, .method = "OPTIONS");
	assert_true(talk_has(st, "Via: SIP/2.0/UDP 203.0.113.2:5060"));
	assert_int_equal(st->sim.count, 1);
}

/* Nobody describes it anew, nobody hangs up: it is not kept for a day */
static void test_line_changes_and_nobody_speaks(void **state)
{
	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	out(st, .method = "INVITE", .remote_tag = "",
	    .sdp = talk_sdp(PHONE_ADDR, 4000, ""));
	in(st, .method = "INVITE", .status = 200,
	   .sdp = talk_sdp(MEDIA_ADDR, 8000, ""));
	out(st, .method = "ACK");
	change_line("198.51.100.0/24");
	alg_line_changed(st->alg, st->now_ms);
	stage_wait(st, st->conf.media.timeout_s - 5);
	assert_int_equal(st->alg->calls.live, 1);
	stage_wait(st, 10);
	assert_int_equal(st->alg->calls.live, 0);
}

/* A hairpin leaves by no line, a connection that was changed cannot go on */
static void test_line_leaves_hairpins(void **state)
{
	const char *other = "192.168.1.11:5062";

	(void)state;
	talk_register(st, PHONE, PUBLIC, 600);
	talk_register(st, other, PUBLIC_ADDR ":5062", 600);
	out(st, .method = "OPTIONS", .server = PUBLIC_ADDR ":5062");
	assert_int_equal(st->d.reason, COUNTER_rewritten);
	change_line("198.51.100.0/24");
	assert_int_equal(alg_line_changed(st->alg, st->now_ms), 2);
	assert_int_equal(talk_port(st, PHONE, PUBLIC_ADDR ":5062"), 5060);
}

/* Every allocation fails once: nothing breaks, nothing leaks, nothing stays */
static void test_no_memory(void **state)
{
	unsigned int count;

	(void)state;
	allocations = 0;
	scenario();
	count = allocations;
	assert_in_range(count, 10, 200);
	for (unsigned int n = 1; n <= count; n++) {
		stage_close(st);
		st = stage_open();
		allocations = 0;
		fail_at = n;
		scenario();
		fail_at = 0;
		assert_int_equal(st->alg->media.pinholes, 0);
		assert_null(st->alg->calls.list);
		assert_null(st->alg->media.by_inside);
		assert_int_equal(st->alg->registrations.count, 0);
		/* and it works again */
		out(st, .method = "OPTIONS");
		assert_int_equal(st->d.reason, COUNTER_rewritten);
	}
	allocations = 0;
	fail_at = 1;
	assert_null(alg_new(&st->conf, &simnat_ops, &st->sim, 0));
	fail_at = 0;
	alg_free(NULL);
}

static void answer_seen_from(const char *branch, const char *received)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP " PUBLIC
		 ";branch=%s;received=%s\r\nFrom: <sip:a@x>;tag=1\r\n"
		 "To: <sip:b@x>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n"
		 "Content-Length: 0\r\n\r\n",
		 branch, received);
	stage_send(st, SERVER, PUBLIC, text);
}

/* doctor would have that address written into all messages */
static void test_seen_as_by_who_was_asked(void **state)
{
	const struct addr *seen = &st->alg->bindings.seen_as;
	struct addr far = stage_addr("192.0.2.66");

	(void)state;
	out(st, .method = "OPTIONS", .branch = "asked", .remote_tag = "");
	answer_seen_from("z9hG4bKother", "192.0.2.66");
	answer_seen_from("z9hG4bKother0", "192.0.2.66");
	assert_false(addr_is_set(seen));
	answer_seen_from("z9hG4bKasked0", "192.0.2.66");
	assert_true(addr_eq(seen, &far));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sides),
		TEST(test_other_packets),
		TEST(test_every_truncation),
		TEST(test_sizes),
		TEST(test_does_not_fit),
		TEST(test_too_many_edits),
		TEST(test_modes),
		TEST(test_bypass),
		TEST(test_class),
		TEST(test_fast_path),
		TEST(test_hairpin),
		TEST(test_seen_as_by_who_was_asked),
		TEST(test_line_changes),
		TEST(test_line_changes_under_a_forgotten_entry),
		TEST(test_line_changes_and_nobody_speaks),
		TEST(test_line_leaves_hairpins),
		TEST(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
