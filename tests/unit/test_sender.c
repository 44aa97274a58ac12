/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/sender.h"

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Numbers wrap after the first two segments */
#define ISN 0xfffff800u
#define MSS 1000

static struct tcp_memory memory;
static struct sender s;
static uint64_t now_ms;
/* The receiver's next segment */
static uint32_t peer_seq;
static char stream[200000];
static size_t added;

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(stream); i++)
		stream[i] = (char)(i * 31 + i / 251);
	memory = (struct tcp_memory){ .limit = 1 << 24 };
	sender_init(&s, ISN, MSS);
	now_ms = 5000;
	peer_seq = 77;
	added = 0;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sender_free(&s, &memory);
	assert_int_equal(memory.used, 0);
	return 0;
}

static void add(size_t len)
{
	char *room = sender_room(&s, len, &memory);

	assert_non_null(room);
	memcpy(room, stream + added, len);
	sender_add(&s, len);
	added += len;
}

/* The next segment is from @at on, @len bytes; len -1: there is none */
static void expect_at(int line, size_t at, int len, uint8_t flags)
{
	struct segment seg;
	bool found = sender_next(&s, 0, &seg, now_ms);

	if (found != (len >= 0))
		print_error("line %d\n", line);
	assert_int_equal(found, len >= 0);
	if (!found)
		return;
	assert_int_equal(seg.seq - ISN, at);
	assert_int_equal(seg.data.len, len);
	assert_int_equal(seg.flags & (TH_FIN | TH_PUSH), flags);
	assert_true(seg.flags & TH_ACK);
	if (len)
		assert_memory_equal(seg.data.ptr, stream + at, (size_t)len);
}

#define expect(at, len, flags) expect_at(__LINE__, at, len, flags)
#define expect_none() expect_at(__LINE__, 0, -1, 0)

/* All that may go, counted */
static int send_all(void)
{
	struct segment seg;
	int n = 0;

	while (sender_next(&s, 0, &seg, now_ms))
		n++;
	return n;
}

/* The receiver says so; @first, @end: a SACK block, or 0, 0 */
static void ack_sack(size_t at, uint16_t window, size_t first, size_t end)
{
	struct segment seg = { .seq = peer_seq,
			       .ack = ISN + (uint32_t)at,
			       .flags = TH_ACK,
			       .window = window };

	if (end) {
		seg.sacks = 1;
		seg.sack[0].first = ISN + (uint32_t)first;
		seg.sack[0].end = ISN + (uint32_t)end;
	}
	sender_ack(&s, &seg, seg.ack, now_ms);
}

static void ack(size_t at)
{
	ack_sack(at, 65535, 0, 0);
}

/* Time passes until the timer ends. Return: how much */
static uint64_t wait(void)
{
	uint64_t before = now_ms;

	assert_true(s.due_ms > now_ms);
	now_ms = s.due_ms - 1;
	assert_true(sender_timeout(&s, now_ms));
	expect_none();
	now_ms++;
	assert_true(sender_timeout(&s, now_ms));
	return now_ms - before;
}

/* ---- sending ---- */

static void test_segments(void **state)
{
	(void)state;
	expect_none();
	assert_true(sender_is_done(&s));
	add(2500);
	assert_true(sender_is_late(&s));
	expect(0, 1000, 0);
	expect(1000, 1000, 0);
	expect(2000, 500, TH_PUSH);
	expect_none();
	assert_false(sender_is_late(&s));
	assert_false(sender_is_done(&s));
	ack(2500);
	assert_true(sender_is_done(&s));
	assert_int_equal(s.due_ms, 0);
	add(10);
	expect(2500, 10, TH_PUSH);
}

static void test_options(void **state)
{
	struct segment seg;

	(void)state;
	add(2000);
	assert_true(sender_next(&s, 40, &seg, now_ms));
	assert_int_equal(seg.data.len, MSS - 40);
	/* Whatever an end announces, some goes */
	sender_free(&s, &memory);
	sender_init(&s, ISN, 1);
	added = 0;
	add(100);
	assert_true(sender_next(&s, 40, &seg, now_ms));
	assert_true(seg.data.len >= 8 && seg.data.len <= 8);
}

static void test_window(void **state)
{
	(void)state;
	ack_sack(0, 1500, 0, 0);
	add(3000);
	expect(0, 1000, 0);
	expect(1000, 500, 0);
	expect_none();
	assert_true(sender_is_late(&s));
	ack_sack(1500, 200, 0, 0);
	expect(1500, 200, 0);
	/* A later acknowledgement of the same opens it */
	peer_seq++;
	ack_sack(1500, 5000, 0, 0);
	expect(1700, 1000, 0);
	/* An older one does not close it */
	peer_seq -= 10;
	ack_sack(1500, 0, 0, 0);
	expect(2700, 300, TH_PUSH);
}

static void test_scaled_window(void **state)
{
	(void)state;
	s.wscale = 3;
	ack_sack(0, 100, 0, 0);
	add(3000);
	expect(0, 800, 0);
	expect_none();
}

static void test_cwnd(void **state)
{
	(void)state;
	add(100000);
	/* RFC 6928: ten at first */
	assert_int_equal(send_all(), 10);
	ack(2000);
	assert_int_equal(send_all(), 4);
	ack(4000);
	assert_int_equal(send_all(), 4);
	/* Not by pieces */
	ack(4100);
	expect_none();
}

static void test_fin(void **state)
{
	(void)state;
	add(1500);
	s.fin = true;
	expect(0, 1000, 0);
	expect(1000, 500, TH_PUSH | TH_FIN);
	expect_none();
	ack(1500);
	assert_false(sender_is_done(&s));
	ack(1501);
	assert_true(sender_is_done(&s));
	assert_int_equal(s.due_ms, 0);
}

static void test_bare_fin(void **state)
{
	(void)state;
	s.fin = true;
	expect(0, 0, TH_FIN);
	expect_none();
	wait();
	expect(0, 0, TH_FIN);
	ack(1);
	assert_true(sender_is_done(&s));
}

/* It takes a number: it waits for a window, too */
static void test_fin_and_window(void **state)
{
	(void)state;
	add(100);
	s.fin = true;
	ack_sack(0, 100, 0, 0);
	expect(0, 100, TH_PUSH);
	expect_none();
	ack_sack(100, 0, 0, 0);
	expect_none();
	peer_seq++;
	ack_sack(100, 1, 0, 0);
	expect(100, 0, TH_FIN);
}

/* Half of a segment has arrived, and its end not */
static void test_half_acknowledged(void **state)
{
	(void)state;
	add(600);
	s.fin = true;
	expect(0, 600, TH_PUSH | TH_FIN);
	ack(400);
	wait();
	expect(400, 200, TH_PUSH | TH_FIN);
	ack(601);
	assert_true(sender_is_done(&s));
}

/* ---- time ---- */

static void test_timeout(void **state)
{
	uint64_t last;

	(void)state;
	add(10);
	expect(0, 10, TH_PUSH);
	last = wait();
	assert_int_equal(last, 500);
	expect(0, 10, TH_PUSH);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(wait(), 2 * last);
		last *= 2;
		expect(0, 10, TH_PUSH);
	}
	/* With an answer it is forgotten */
	ack(10);
	add(10);
	expect(10, 10, TH_PUSH);
	assert_int_equal(wait(), 500);
}

static void test_giving_up(void **state)
{
	int n = 0;

	(void)state;
	add(10);
	expect(0, 10, TH_PUSH);
	while (now_ms = s.due_ms, sender_timeout(&s, now_ms)) {
		assert_true(s.due_ms <= now_ms + 30000);
		assert_true(send_all() == 1);
		n++;
	}
	assert_in_range(n, 10, 15);
	assert_in_range(now_ms, 60000, 400000);
}

static void test_round_trip(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		add(10);
		assert_int_equal(send_all(), 1);
		now_ms += 100;
		ack(added);
	}
	/* RFC 6298, and what receivers may wait */
	assert_in_range(s.srtt_ms, 95, 105);
	add(10);
	assert_int_equal(send_all(), 1);
	assert_in_range(wait(), 295, 310);
}

/* Which of the two is acknowledged? Karn: no sample */
static void test_karn(void **state)
{
	(void)state;
	add(10);
	assert_int_equal(send_all(), 1);
	wait();
	assert_int_equal(send_all(), 1);
	now_ms += 5000;
	ack(10);
	assert_int_equal(s.srtt_ms, 0);
	add(10);
	assert_int_equal(send_all(), 1);
	now_ms += 20;
	ack(20);
	assert_in_range(s.srtt_ms, 20, 21);
}

/* A slow start behind it */
static void test_all_again(void **state)
{
	(void)state;
	add(5000);
	assert_int_equal(send_all(), 5);
	wait();
	expect(0, 1000, 0);
	expect_none();
	ack(1000);
	expect(1000, 1000, 0);
	expect(2000, 1000, 0);
	expect_none();
	ack(5000);
	assert_true(sender_is_done(&s));
}

static void test_zero_window(void **state)
{
	uint64_t waited = 0;

	(void)state;
	ack_sack(0, 0, 0, 0);
	add(3000);
	expect_none();
	for (int i = 0; i < 40; i++) {
		uint64_t n = wait();

		assert_true(n >= waited && n <= 30000);
		waited = n;
		expect(0, 1, 0); /* RFC 9293 3.8.6.1 */
		expect_none();
		now_ms += 5;
		ack_sack(0, 0, 0, 0);
	}
	/* It takes it at last */
	peer_seq++;
	ack_sack(0, 5000, 0, 0);
	expect(0, 1, 0);
	expect(1, 1000, 0);
	expect(1001, 1000, 0);
}

static void test_probe_taken(void **state)
{
	(void)state;
	ack_sack(0, 0, 0, 0);
	add(3000);
	expect_none();
	wait();
	expect(0, 1, 0);
	ack_sack(1, 2000, 0, 0);
	expect(1, 1000, 0);
	expect(1001, 1000, 0);
	expect_none();
}

/* ---- losses ---- */

/* With a sample of 2 ms, and a receiver that tells what it has */
static void start(bool sacks)
{
	add(1000);
	assert_int_equal(send_all(), 1);
	now_ms += 1;
	ack(1000);
	if (sacks)
		s.sacking = true;
}

static void test_three_duplicates(void **state)
{
	(void)state;
	start(false);
	add(8000);
	assert_int_equal(send_all(), 8);
	ack(1000);
	ack(1000);
	expect_none();
	ack(1000);
	expect(1000, 1000, 0);
	expect_none();
	/* The next hole: RFC 6582 */
	ack(4000);
	expect(4000, 1000, 0);
	expect_none();
	ack(9000);
	assert_true(sender_is_done(&s));
	assert_true(s.cwnd <= 6 * MSS);
}

/* What also says something else is no duplicate */
static void test_no_duplicates(void **state)
{
	struct segment data = { .seq = 77,
				.ack = ISN + 1000,
				.flags = TH_ACK,
				.window = 65535,
				.data = { "x", 1 } };

	(void)state;
	start(false);
	add(5000);
	assert_int_equal(send_all(), 5);
	for (int i = 0; i < 4; i++)
		sender_ack(&s, &data, data.ack, now_ms);
	expect_none();
	for (int i = 0; i < 4; i++)
		ack_sack(1000, (uint16_t)(60000 + i), 0, 0);
	expect_none();
}

/* Those that follow a needless repetition start no other one: RFC 6582 4 */
static void test_after_recovery(void **state)
{
	(void)state;
	start(false);
	add(5000);
	assert_int_equal(send_all(), 5);
	for (int i = 0; i < 3; i++)
		ack(1000);
	expect(1000, 1000, 0);
	ack(6000);
	s.cwnd = 10 * MSS;
	add(3000);
	assert_int_equal(send_all(), 3);
	for (int i = 0; i < 3; i++)
		ack(6000);
	expect_none();
}

static void test_sack(void **state)
{
	(void)state;
	start(true);
	add(9000);
	assert_int_equal(send_all(), 9);
	/* 1000 and 3000 are lost */
	ack_sack(1000, 65535, 2000, 3000);
	expect_none();
	ack_sack(1000, 65535, 4000, 5000); /* the third behind it */
	expect(1000, 1000, 0);
	ack_sack(1000, 65535, 4000, 6000);
	expect_none();
	ack_sack(1000, 65535, 4000, 7000);
	expect(3000, 1000, 0);
	ack_sack(1000, 65535, 4000, 10000);
	expect_none();
	ack_sack(3000, 65535, 4000, 10000);
	ack(10000);
	assert_true(sender_is_done(&s));
}

/* A lost repetition shows when what was sent after it arrives */
static void test_sack_lost_again(void **state)
{
	(void)state;
	start(true);
	add(9000);
	assert_int_equal(send_all(), 9);
	ack_sack(1000, 65535, 2000, 5000);
	expect(1000, 1000, 0);
	expect_none();
	ack_sack(1000, 65535, 2000, 10000);
	s.cwnd = 10 * MSS;
	add(4000);
	assert_int_equal(send_all(), 4);
	ack_sack(1000, 65535, 2000, 12000);
	expect_none();
	ack_sack(1000, 65535, 2000, 13000);
	expect(1000, 1000, 0);
}

/* Too little follows a hole: a moment, not a time-out */
static void test_few_behind(void **state)
{
	(void)state;
	start(true);
	add(2000);
	assert_int_equal(send_all(), 2);
	ack_sack(1000, 65535, 2000, 3000);
	expect_none();
	assert_in_range(wait(), 5, 20);
	expect(1000, 1000, 0);
}

/* A lost tail: the last one again, to be told what is missing */
static void test_tail(void **state)
{
	(void)state;
	start(true);
	add(4000);
	assert_int_equal(send_all(), 4);
	now_ms += 2;
	ack(2000);
	assert_in_range(wait(), 30, 100);
	expect(4000, 1000, TH_PUSH);
	ack_sack(2000, 65535, 4000, 5000);
	expect(2000, 1000, 0);
	wait();
	expect(3000, 1000, 0);
	ack(5000);
	assert_true(sender_is_done(&s));
}

/* One that cannot tell gets the first one */
static void test_tail_without_sack(void **state)
{
	(void)state;
	start(false);
	add(4000);
	assert_int_equal(send_all(), 4);
	now_ms += 2;
	ack(2000);
	assert_in_range(wait(), 30, 100);
	expect(2000, 1000, 0);
	ack(3000);
	expect(3000, 1000, 0);
	ack(4000);
	expect(4000, 1000, TH_PUSH);
	ack(5000);
}

/* Receivers may wait long with the acknowledgement of a single segment */
static void test_single(void **state)
{
	(void)state;
	start(true);
	add(500);
	assert_int_equal(send_all(), 1);
	assert_true(wait() >= 200);
}

/* Blocks that mean nothing */
static void test_odd_sacks(void **state)
{
	(void)state;
	start(true);
	add(5000);
	assert_int_equal(send_all(), 5);
	ack_sack(1000, 65535, 500, 900); /* D-SACK */
	ack_sack(1000, 65535, 5000, 7000); /* never sent */
	ack_sack(1000, 65535, 3000, 2000);
	ack_sack(1000, 65535, 0x80000000, 0x90000000);
	assert_int_equal(flight_pipe(&s.flight), 5000);
	expect_none();
	ack(9000); /* nor that */
	assert_int_equal(s.una, ISN + 1000);
	ack(500);
	assert_int_equal(s.una, ISN + 1000);
}

/* It gets through only in small pieces */
static void test_narrow(void **state)
{
	(void)state;
	add(3000);
	assert_int_equal(send_all(), 3);
	wait();
	expect(0, 1000, 0);
	wait();
	expect(0, 1000, 0);
	wait();
	expect(0, 536, 0);
	expect_none();
	ack(536);
	expect(536, 536, 0);
	expect(1072, 536, 0);
	ack(1608);
	send_all();
	ack(3000);
	/* Once may be chance: then as before */
	add(1000);
	expect(3000, 1000, TH_PUSH);
}

static void test_told_narrow(void **state)
{
	(void)state;
	add(3000);
	expect(0, 1000, 0);
	sender_narrow(&s);
	expect(0, 536, 0);
	expect(536, 464, 0);
	expect(1000, 536, 0);
}

/* ---- what somebody else sends ---- */

static void test_passed(void **state)
{
	(void)state;
	add(500);
	sender_passed(&s);
	assert_true(sender_is_done(&s));
	assert_int_equal(sender_waiting(&s), 0);
	expect_none();
	/* Older bytes are under way; ours follow */
	add(500);
	sender_restart(&s, now_ms);
	expect(500, 500, TH_PUSH);
	for (int i = 0; i < 5; i++)
		ack(0);
	expect_none(); /* not ours to repeat */
	ack(200);
	ack(500);
	ack(1000);
	assert_true(sender_is_done(&s));
}

static void test_passed_fin(void **state)
{
	(void)state;
	add(500);
	s.fin = true;
	sender_passed(&s);
	assert_false(sender_is_done(&s));
	sender_restart(&s, now_ms);
	ack(500);
	wait();
	expect(500, 0, TH_FIN);
	ack(501);
	assert_true(sender_is_done(&s));
}

/* The sender asks again */
static void test_repeat(void **state)
{
	(void)state;
	sender_repeat(&s);
	expect_none();
	add(2000);
	assert_int_equal(send_all(), 2);
	sender_repeat(&s);
	expect(0, 1000, 0);
	expect_none();
}

/* Nothing but repeats arrives: somebody stops what passes the gateway */
static void test_in_vain(void **state)
{
	int n = 0;

	(void)state;
	for (;; n++) {
		assert_true(n < 100);
		add(10);
		assert_int_equal(send_all(), 1);
		now_ms = s.due_ms;
		if (!sender_timeout(&s, now_ms))
			break;
		assert_int_equal(send_all(), 1);
		ack(added);
		/* Perhaps the path is narrow, and nobody hears of it */
		if (n < 2)
			assert_int_equal(s.mss, MSS);
	}
	assert_in_range(n, 10, 30);
	assert_true(s.mss < MSS);
}

/* After an outage all of a flight is a repeat: that is no sign */
static void test_outage(void **state)
{
	(void)state;
	start(true);
	s.cwnd = 100 * MSS;
	for (int run = 0; run < 4; run++) {
		size_t una = added;

		add(40 * MSS);
		send_all();
		for (int i = 0; i < 3; i++) {
			now_ms = s.due_ms;
			assert_true(sender_timeout(&s, now_ms));
			send_all();
		}
		while (una < added) {
			una += 500;
			ack(una);
			send_all();
			now_ms++;
			assert_true(sender_timeout(&s, now_ms));
		}
	}
}

static void test_no_memory(void **state)
{
	(void)state;
	memory.limit = 0;
	assert_null(sender_room(&s, 10, &memory));
	memory.limit = 10000;
	add(4000);
	assert_null(sender_room(&s, 20000, &memory));
	assert_int_equal(send_all(), 4);
	/* There is room again where something was acknowledged */
	memory.limit = memory.used;
	ack(3000);
	add(3000);
	expect(4000, 1000, 0);
}

/* ---- all of it ---- */

/* A line that loses, a receiver with or without SACK: all arrives */
static void check_line(unsigned int seed, int loss, bool sacks)
{
	enum { LEN = 60000 };
	static char got[LEN];
	struct ranges have = { 0 };
	uint32_t next = ISN;
	int idle = 0;

	set_up(NULL);
	srand(seed);
	while (s.una != ISN + LEN + 1) {
		struct segment seg, answer;
		bool heard = false;

		if (added < LEN && sender_waiting(&s) < 20000)
			add(LEN - added < 3000 ? LEN - added : 3000);
		s.fin = added == LEN;
		while (sender_next(&s, 12, &seg, now_ms)) {
			uint32_t len = segment_len(&seg);

			if (rand() % 100 < loss)
				continue;
			heard = true;
			memcpy(got + (seg.seq - ISN),
			       seg.data.len ? seg.data.ptr : "", seg.data.len);
			ranges_add(&have,
				   (struct range){ seg.seq, seg.seq + len });
			if (have.count && have.range[0].first == ISN)
				next = have.range[0].end;
			answer = (struct segment){ .seq = 77,
						   .ack = next,
						   .flags = TH_ACK,
						   .window = 30000 };
			for (unsigned int i = have.count - 1;
			     sacks && i > 0 && answer.sacks < 3; i--)
				answer.sack[answer.sacks++] = have.range[i];
			if (rand() % 100 >= loss)
				sender_ack(&s, &answer, next, now_ms);
		}
		now_ms++;
		idle = heard ? 0 : idle + 1;
		assert_true(idle < 100000);
		assert_true(sender_timeout(&s, now_ms));
	}
	assert_memory_equal(got, stream, LEN);
	assert_true(sender_is_done(&s));
	tear_down(NULL);
}

static void test_lines(void **state)
{
	(void)state;
	tear_down(NULL);
	for (unsigned int seed = 1; seed < 60; seed++)
		check_line(seed, (int)(seed % 3) * 10, seed % 2);
	set_up(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_segments),
		TEST(test_options),
		TEST(test_window),
		TEST(test_scaled_window),
		TEST(test_cwnd),
		TEST(test_fin),
		TEST(test_bare_fin),
		TEST(test_fin_and_window),
		TEST(test_half_acknowledged),
		TEST(test_timeout),
		TEST(test_giving_up),
		TEST(test_round_trip),
		TEST(test_karn),
		TEST(test_all_again),
		TEST(test_zero_window),
		TEST(test_probe_taken),
		TEST(test_three_duplicates),
		TEST(test_no_duplicates),
		TEST(test_after_recovery),
		TEST(test_sack),
		TEST(test_sack_lost_again),
		TEST(test_few_behind),
		TEST(test_tail),
		TEST(test_tail_without_sack),
		TEST(test_single),
		TEST(test_odd_sacks),
		TEST(test_narrow),
		TEST(test_told_narrow),
		TEST(test_passed),
		TEST(test_passed_fin),
		TEST(test_repeat),
		TEST(test_in_vain),
		TEST(test_outage),
		TEST(test_no_memory),
		TEST(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
