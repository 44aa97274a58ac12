/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/receiver.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guard.h"
#include "tcp/seq.h"

/* The first byte; in most tests it wraps soon */
#define ISN 0xfffffff0u

static struct tcp_memory memory;
static struct receiver r;
/* What is sent: a byte says where it stands */
static char stream[400000];

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(stream); i++)
		stream[i] = (char)(i * 31 + i / 251);
	memory = (struct tcp_memory){ .limit = 1 << 24 };
	receiver_init(&r, ISN);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	receiver_free(&r, &memory);
	assert_int_equal(memory.used, 0);
	return 0;
}

static struct segment segment(size_t at, size_t len, uint8_t flags)
{
	return (struct segment){
		.seq = ISN + (uint32_t)at,
		.flags = flags,
		.data = { guard_place(1, stream + at, len), len },
	};
}

/* Bytes @at ... come; what is ready then are all from @from on, up to @to.
 * @used of them are done with
 */
static void take(size_t at, size_t len, size_t from, size_t to, size_t used)
{
	struct segment seg = segment(at, len, TH_ACK);
	struct span ready;

	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), 0);
	assert_int_equal(r.base, ISN + (uint32_t)from);
	assert_int_equal(r.next, ISN + (uint32_t)to);
	assert_int_equal(ready.len, to - from);
	assert_int_equal(receiver_held(&r), to - from);
	if (ready.len)
		assert_memory_equal(ready.ptr, stream + from, to - from);
	assert_int_equal(receiver_consume(&r, ready, used, &memory), 0);
	assert_int_equal(r.base, ISN + (uint32_t)(from + used));
	assert_int_equal(r.next, ISN + (uint32_t)to);
}

/* Nothing is copied where a segment holds whole messages */
static void test_in_order(void **state)
{
	(void)state;
	take(0, 10, 0, 10, 10);
	take(10, 20, 10, 30, 20);
	assert_int_equal(memory.used, 0);
	take(5, 10, 30, 30, 0); /* old */
	take(30, 0, 30, 30, 0); /* nothing */
	take(25, 15, 30, 40, 10); /* half old */
	assert_int_equal(memory.used, 0);
}

static void test_held(void **state)
{
	(void)state;
	take(0, 10, 0, 10, 0);
	take(10, 10, 0, 20, 0);
	take(20, 10, 0, 30, 25);
	take(30, 10, 25, 40, 10);
	take(40, 1, 35, 41, 6);
	take(41, 30, 41, 71, 0);
	take(41, 30, 41, 71, 30);
}

static void test_out_of_order(void **state)
{
	struct range block[4];

	(void)state;
	take(20, 10, 0, 0, 0);
	take(40, 10, 0, 0, 0);
	take(60, 10, 0, 0, 0);
	/* The latest first, then the rest (RFC 2018 4) */
	assert_int_equal(receiver_sacks(&r, block, 4), 3);
	assert_int_equal(block[0].first, ISN + 60);
	assert_int_equal(block[0].end, ISN + 70);
	assert_int_equal(block[1].first, ISN + 20);
	assert_int_equal(block[2].first, ISN + 40);
	take(30, 10, 0, 0, 0);
	assert_int_equal(receiver_sacks(&r, block, 1), 1);
	assert_int_equal(block[0].first, ISN + 20);
	assert_int_equal(block[0].end, ISN + 50);
	assert_int_equal(receiver_sacks(&r, block, 0), 0);
	take(0, 20, 0, 50, 50);
	/* What is still beyond has moved with the buffer */
	take(50, 10, 50, 70, 20);
	assert_int_equal(receiver_sacks(&r, block, 4), 0);
	take(70, 5, 70, 75, 5);
}

static void test_overlaps(void **state)
{
	(void)state;
	take(20, 10, 0, 0, 0);
	take(5, 40, 0, 0, 0);
	take(0, 22, 0, 45, 7);
	take(40, 10, 7, 50, 43);
}

static void test_fin(void **state)
{
	struct segment seg = segment(10, 5, TH_ACK | TH_FIN);
	struct span ready;

	(void)state;
	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), 0);
	assert_false(receiver_ended(&r));
	take(0, 4, 0, 4, 4);
	take(4, 6, 4, 15, 11);
	assert_true(receiver_ended(&r));
	/* What lies beyond the end is not taken, nor another end */
	take(15, 10, 15, 15, 0);
	seg = segment(15, 3, TH_ACK | TH_FIN);
	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), 0);
	assert_int_equal(r.fin, ISN + 15);
	assert_int_equal(r.next, ISN + 15);
}

/* An end that lies before bytes which have come is none */
static void test_early_fin(void **state)
{
	struct segment seg = segment(5, 2, TH_ACK | TH_FIN);
	struct span ready;

	(void)state;
	take(20, 10, 0, 0, 0);
	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), 0);
	assert_false(r.fin_seen);
	take(0, 20, 0, 30, 30);
	seg = segment(5, 2, TH_ACK | TH_FIN);
	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), 0);
	assert_false(r.fin_seen);
}

static void test_bare_fin(void **state)
{
	struct segment seg = segment(0, 0, TH_ACK | TH_FIN);
	struct span ready;

	(void)state;
	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), 0);
	assert_int_equal(ready.len, 0);
	assert_true(receiver_ended(&r));
}

/* No more than so much is kept, in order or not */
static void test_cap(void **state)
{
	size_t at = 0;

	(void)state;
	for (; at + 1000 <= RECEIVER_CAP; at += 1000)
		take(at, 1000, 0, at + 1000, 0);
	take(at, 1000, 0, RECEIVER_CAP, 0);
	take(RECEIVER_CAP, 100, 0, RECEIVER_CAP, 0);
	assert_true(memory.used <= RECEIVER_CAP);
	take(RECEIVER_CAP, 0, 0, RECEIVER_CAP, 5000);
	take(RECEIVER_CAP + 10, 100, 5000, RECEIVER_CAP, 0);
	take(RECEIVER_CAP, 10, 5000, RECEIVER_CAP + 110, 1);
	assert_true(memory.used <= RECEIVER_CAP);
}

static void test_far_away(void **state)
{
	(void)state;
	take(RECEIVER_CAP - 10, 100, 0, 0, 0);
	assert_int_equal(r.beyond.range[0].end, ISN + (uint32_t)RECEIVER_CAP);
	take(RECEIVER_CAP + 1000, 100, 0, 0, 0);
	assert_int_equal(r.beyond.count, 1);
}

static void test_too_many_holes(void **state)
{
	size_t n = RANGES_MAX + 4;

	(void)state;
	for (size_t i = 1; i <= n; i++)
		take(20 * i, 10, 0, 0, 0);
	assert_int_equal(r.beyond.count, RANGES_MAX);
	/* Those that were forgotten come again */
	take(0, 20, 0, 30, 30);
	for (size_t i = 1; i <= n; i++)
		take(20 * i, 20, r.next - ISN,
		     i < RANGES_MAX ? 20 * i + 30 : 20 * i + 20,
		     (i < RANGES_MAX ? 20 * i + 30 : 20 * i + 20) -
			     (r.next - ISN));
}

static void test_no_memory(void **state)
{
	struct segment seg = segment(0, 100, TH_ACK);
	struct span ready;

	(void)state;
	memory.limit = 0;
	/* Out of order: as if it had not come */
	take(50, 10, 0, 0, 0);
	assert_int_equal(r.beyond.count, 0);
	/* The rest of a segment: forgotten */
	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), 0);
	assert_int_equal(ready.len, 100);
	assert_int_equal(receiver_consume(&r, ready, 60, &memory), -ENOMEM);
	assert_int_equal(r.base, ISN + 60);
	assert_int_equal(r.next, ISN + 60);
	take(60, 40, 60, 100, 40);
}

/* Some is held; more in order finds no room: it stays as it was */
static void test_no_more_memory(void **state)
{
	struct segment seg = segment(10, 100000, TH_ACK);
	struct span ready;

	(void)state;
	take(0, 10, 0, 10, 0);
	memory.limit = memory.used;
	assert_int_equal(receiver_take(&r, &seg, &memory, &ready), -ENOMEM);
	assert_int_equal(ready.len, 10);
	assert_memory_equal(ready.ptr, stream, 10);
	assert_int_equal(r.next, ISN + 10);
	receiver_forget(&r, &memory);
	assert_int_equal(r.next, ISN);
	assert_int_equal(memory.used, 0);
	take(0, 10, 0, 10, 10);
}

/* Any pieces in any order make the same stream */
static void test_random(void **state)
{
	enum { LEN = 3000 };

	(void)state;
	srand(11);
	for (int run = 0; run < 300; run++) {
		size_t done = 0;

		receiver_free(&r, &memory);
		receiver_init(&r, ISN);
		while (done < LEN) {
			size_t at = (size_t)rand() % LEN, n, used;
			struct segment seg;
			struct span ready;

			n = 1 + (size_t)rand() % 300;
			if (rand() % 2)
				at = done > 50 ? done - 50 : 0;
			if (at + n > LEN)
				n = LEN - at;
			seg = segment(at, n, TH_ACK);
			assert_int_equal(
				receiver_take(&r, &seg, &memory, &ready), 0);
			assert_memory_equal(ready.ptr ? ready.ptr : stream,
					    stream + done, ready.len);
			used = ready.len ? (size_t)rand() % (ready.len + 1) : 0;
			assert_int_equal(
				receiver_consume(&r, ready, used, &memory), 0);
			done += used;
			assert_int_equal(r.base, ISN + (uint32_t)done);
			if (r.next == ISN + LEN)
				break;
		}
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_in_order),	 TEST(test_held),
		TEST(test_out_of_order), TEST(test_overlaps),
		TEST(test_fin),		 TEST(test_early_fin),
		TEST(test_bare_fin),	 TEST(test_cap),
		TEST(test_far_away),	 TEST(test_too_many_holes),
		TEST(test_no_memory),	 TEST(test_no_more_memory),
		TEST(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
