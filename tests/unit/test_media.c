/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/media.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stage.h"

static struct stage *st;
static struct media *m;

static int set_up(void **state)
{
	(void)state;
	st = stage_open();
	m = &st->alg->media;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	stage_close(st);
	return 0;
}

static struct media_stream *get(const char *rtp, const char *rtcp,
				unsigned int pairs)
{
	struct addr pub = stage_addr("203.0.113.1");
	struct media_stream_wish wish = { .rtp = stage_end(rtp),
					  .pairs = pairs,
					  .type = SPAN("audio") };

	if (rtcp)
		wish.rtcp = stage_end(rtcp);
	return media_stream_get(m, &pub, &wish);
}

static unsigned int port(const struct media_stream *s)
{
	return s ? s->public_rtp.port : 0;
}

static void test_ports(void **state)
{
	struct media_stream *s[8];

	(void)state;
	/* The own port, if it can be */
	s[0] = get("192.168.1.10:16500", "192.168.1.10:16501", 1);
	assert_int_equal(port(s[0]), 16500);
	/* Somebody else's already: another, and even stays even (RFC 3550 11,
	 * RFC 4787 REQ-4)
	 */
	s[1] = get("192.168.1.11:16500", NULL, 1);
	assert_int_not_equal(port(s[1]), 16500);
	assert_int_equal(port(s[1]) % 2, 0);
	s[2] = get("192.168.1.12:5001", NULL, 1);
	assert_int_equal(port(s[2]) % 2, 1);
	/* Not the port of the first one's RTCP either */
	s[3] = get("192.168.1.13:16501", NULL, 1);
	assert_int_not_equal(port(s[3]), 16501);
	assert_int_equal(port(s[3]) % 2, 1);
	/* The same again is the same stream */
	s[4] = get("192.168.1.10:16500", "192.168.1.10:16501", 1);
	assert_ptr_equal(s[4], s[0]);
	assert_int_equal(s[0]->refs, 2);
	assert_ptr_equal(stream_find_public(m, &s[1]->public_rtp), s[1]);
	/* port/count: so many pairs in a row, nobody else's among them */
	s[5] = get("192.168.1.14:16600", NULL, 2);
	assert_int_equal(port(s[5]), 16600);
	s[6] = get("192.168.1.15:16602", NULL, 1);
	assert_int_not_equal(port(s[6]), 16602);
	assert_null(get("192.168.1.10:16500", NULL, 2));
	for (int i = 0; i < 7; i++)
		media_stream_put(m, s[i]);
	assert_null(m->by_inside);
	assert_null(m->by_public);
}

static void test_reserved(void **state)
{
	static const char *const ends[] = {
		"192.168.1.10:22",   "192.168.1.10:1023", "192.168.1.10:3306",
		"192.168.1.10:3305", "192.168.1.10:5060", "192.168.1.10:65535",
	};

	(void)state;
	for (size_t i = 0; i < 6; i++)
		assert_null(get(ends[i], NULL, 1));
	assert_null(get("192.168.1.10:16400", "192.168.1.10:22", 1));
	assert_null(get("192.168.1.10:3302", NULL, 3));
	assert_int_equal(stage_count(st, COUNTER_media_reserved_port), 8);
	assert_null(m->by_inside);
}

static void test_rest(void **state)
{
	struct media_stream *s = get("192.168.1.10:4000", NULL, 1), *next;
	unsigned int first = port(s);

	(void)state;
	media_stream_put(m, s);
	/* What was given back is not given out at once */
	next = get("192.168.1.11:4000", NULL, 1);
	assert_int_not_equal(port(next), first);
	media_stream_put(m, next);
}

static void test_exhausted(void **state)
{
	struct media_stream *s[3];
	char end[32];

	(void)state;
	st->conf.media.rtp_ports =
		(struct ports){ 2, { { 20000, 20003 }, { 21001, 21002 } } };
	for (int i = 0; i < 2; i++) {
		snprintf(end, sizeof(end), "192.168.1.10:%d", 4000 + 2 * i);
		s[i] = get(end, NULL, 1);
		assert_int_equal(port(s[i]), 20000 + 2 * i);
	}
	/* 21001 is odd, and 20003 taken */
	assert_null(get("192.168.1.10:4004", NULL, 1));
	assert_int_equal(stage_count(st, COUNTER_media_exhausted), 1);
	s[2] = get("192.168.1.10:4005", NULL, 1);
	assert_int_equal(port(s[2]), 21001);
	media_stream_put(m, s[1]);
	s[1] = get("192.168.1.10:4004", NULL, 1);
	assert_int_equal(port(s[1]), 20002);
	for (int i = 0; i < 3; i++)
		media_stream_put(m, s[i]);
}

/* RTP and RTCP on one port inside are on one port outside: RFC 5761 */
static void test_mux(void **state)
{
	struct media_stream *s =
		get("192.168.1.10:4000", "192.168.1.10:4000", 1);

	(void)state;
	assert_int_equal(stream_public_rtcp(s).port, port(s));
	media_stream_put(m, s);
	s = get("192.168.1.10:4000", "192.168.1.10:4005", 1);
	assert_int_equal(stream_public_rtcp(s).port, port(s) + 1u);
	media_stream_put(m, s);
}

static struct pinhole *list;
static struct endpoint inside, pub, far;

static void want(void)
{
	pinhole_want(m, &list, &inside, &pub, &far, false);
}

static bool is_open(struct nat_entry *e)
{
	struct tuple lan = { inside, far, IPPROTO_UDP, 0 };

	return !simnat_ops.find(&st->sim, &lan, NAT_SIDE_LAN, e);
}

static void test_pinhole(void **state)
{
	struct nat_entry e;

	(void)state;
	list = NULL;
	inside = stage_end("192.168.1.10:4000");
	pub = stage_end("203.0.113.1:16384");
	far = stage_end("198.51.100.9:6000");
	want();
	want();
	assert_int_equal(m->pinholes, 1);
	assert_true(is_open(&e));
	/* ESTABLISHED for a firewall, whoever speaks first */
	assert_true(e.answered && !e.fixed);
	assert_true(endpoint_eq(&e.wan.dst, &pub));
	assert_int_equal(e.timeout_s, st->conf.media.timeout_s);
	/* No packets: kept, but not heard of */
	stage_wait(st, 170);
	assert_false(pinhole_keep(m, list));
	stage_wait(st, 170);
	assert_true(is_open(&e));
	simnat_pass(&st->sim, NAT_SIDE_WAN, &e.wan, &(struct tuple){ 0 });
	assert_true(pinhole_keep(m, list));
	assert_false(pinhole_keep(m, list));
	st->sim.counting = false;
	assert_true(pinhole_keep(m, list));
	/* Wanted again by the next comparison, or not */
	pinhole_begin(list);
	want();
	pinhole_sweep(m, &list);
	assert_true(is_open(&e));
	pinhole_begin(list);
	pinhole_sweep(m, &list);
	assert_null(list);
	assert_int_equal(m->pinholes, 0);
	assert_false(is_open(&e));
}

static void test_pinhole_faults(void **state)
{
	struct nat_entry e;

	(void)state;
	list = NULL;
	inside = stage_end("192.168.1.10:4000");
	pub = stage_end("203.0.113.1:16384");
	far = stage_end("198.51.100.9:6000");
	simnat_fail(&st->sim, SIMNAT_CREATE, 0, 1, -EPERM);
	want();
	assert_false(is_open(&e));
	assert_int_equal(stage_count(st, COUNTER_media_clashes), 1);
	pinhole_keep(m, list);
	assert_true(is_open(&e));
	pinhole_begin(list);
	simnat_fail(&st->sim, SIMNAT_REMOVE, 0, 1, -EPERM);
	pinhole_sweep(m, &list);
	assert_null(list);
	/* An entry of another translation gives way to the announced one */
	pub.port = 16400;
	want();
	assert_true(is_open(&e));
	assert_int_equal(e.wan.dst.port, 16400);
	pinhole_begin(list);
	pinhole_sweep(m, &list);
}

/* media.conntrack_mark: on entries that are made, and on one that the phone's
 * own packets made before, where nothing but the bits of the mask changes
 */
static void test_mark(void **state)
{
	static const struct conf_mark others = { 0x5070, 0xffff };
	static const struct conf_mark ours = { 0x200, 0x300 };
	struct nat_entry e;
	struct tuple lan;

	(void)state;
	list = NULL;
	inside = stage_end("192.168.1.10:16384");
	pub = stage_end("203.0.113.1:16384");
	far = stage_end("198.51.100.9:6000");
	st->conf.media.conntrack_mark = ours;
	want();
	assert_true(is_open(&e));
	assert_int_equal(e.mark.value, 0x200);
	pinhole_begin(list);
	pinhole_sweep(m, &list);
	assert_false(is_open(&e));
	lan = (struct tuple){ inside, far, IPPROTO_UDP, 0 };
	simnat_pass(&st->sim, NAT_SIDE_LAN, &lan, &(struct tuple){ 0 });
	assert_int_equal(simnat_ops.set_mark(&st->sim, &lan, others), 0);
	want();
	assert_true(is_open(&e));
	assert_true(endpoint_eq(&e.wan.dst, &pub));
	assert_int_equal(e.mark.value, 0x5270);
	/* Another one after a reload, and what it left is nobody's */
	st->conf.media.conntrack_mark = (struct conf_mark){ 0x1000, 0x3000 };
	pinhole_keep(m, list);
	assert_true(is_open(&e));
	assert_int_equal(e.mark.value, (0x5070 & ~0x3000u) | 0x1000);
	pinhole_keep(m, list);
	assert_int_equal(st->sim.calls[SIMNAT_SET_MARK], 3);
	st->conf.media.conntrack_mark = (struct conf_mark){ 0 };
	pinhole_keep(m, list);
	assert_true(is_open(&e));
	assert_int_equal(e.mark.value, 0x5070 & ~0x3000u);
	assert_int_equal(st->sim.calls[SIMNAT_SET_MARK], 4);
	/* Not asked for: not touched */
	pinhole_begin(list);
	pinhole_sweep(m, &list);
	st->conf.media.conntrack_mark = (struct conf_mark){ 0 };
	simnat_pass(&st->sim, NAT_SIDE_LAN, &lan, &(struct tuple){ 0 });
	assert_int_equal(simnat_ops.set_mark(&st->sim, &lan, others), 0);
	want();
	assert_true(is_open(&e));
	assert_int_equal(e.mark.value, 0x5070);
	assert_int_equal(st->sim.calls[SIMNAT_SET_MARK], 5);
	pinhole_begin(list);
	pinhole_sweep(m, &list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ports),
		TEST(test_reserved),
		TEST(test_rest),
		TEST(test_exhausted),
		TEST(test_mux),
		TEST(test_pinhole),
		TEST(test_pinhole_faults),
		TEST(test_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
