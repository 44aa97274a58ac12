/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CAP 1024

/* A group of records, each of @len bytes that all are @value */
static bool put_group(struct ring *ring, unsigned int records, size_t len,
		      uint8_t value)
{
	for (unsigned int i = 0; i < records; i++) {
		uint8_t *at = ring_put(ring, len);

		if (at)
			memset(at, value, len);
	}
	return ring_commit(ring);
}

static void take_group(struct ring *ring, unsigned int records, size_t len,
		       uint8_t value)
{
	struct ring_group group = ring_first(ring);
	size_t got;

	for (unsigned int i = 0; i < records; i++) {
		const uint8_t *at = ring_next(ring, &group, &got);

		assert_non_null(at);
		assert_int_equal((uintptr_t)at % 16, 0);
		assert_int_equal(got, len);
		for (size_t b = 0; b < len; b++)
			assert_int_equal(at[b], value);
	}
	assert_null(ring_next(ring, &group, &got));
	ring_drop(ring);
}

static void test_in_order(void **state)
{
	struct ring ring;

	(void)state;
	assert_int_equal(ring_open(&ring, CAP), 0);
	assert_true(ring_is_empty(&ring));
	assert_true(put_group(&ring, 2, 33, 1));
	assert_true(put_group(&ring, 1, 1, 2));
	assert_false(ring_is_empty(&ring));
	take_group(&ring, 2, 33, 1);
	take_group(&ring, 1, 1, 2);
	assert_true(ring_is_empty(&ring));
	ring_close(&ring);
}

static void test_a_group_is_taken_whole_or_not_at_all(void **state)
{
	struct ring ring;

	(void)state;
	assert_int_equal(ring_open(&ring, CAP), 0);
	assert_true(put_group(&ring, 1, 600, 1));
	assert_false(put_group(&ring, 2, 200, 2));
	/* What has no room does not stop what has */
	assert_true(put_group(&ring, 1, 100, 3));
	assert_false(put_group(&ring, 1, CAP, 4));
	take_group(&ring, 1, 600, 1);
	take_group(&ring, 1, 100, 3);
	assert_true(ring_is_empty(&ring));
	assert_true(put_group(&ring, 1, 10, 5));
	take_group(&ring, 1, 10, 5);
	ring_close(&ring);
}

static void test_cancel(void **state)
{
	struct ring ring;

	(void)state;
	assert_int_equal(ring_open(&ring, CAP), 0);
	assert_non_null(ring_put(&ring, 64));
	assert_null(ring_put(&ring, CAP));
	ring_cancel(&ring);
	assert_true(ring_is_empty(&ring));
	/* Nothing put is nothing there, and no loss */
	assert_true(ring_commit(&ring));
	assert_true(ring_is_empty(&ring));
	assert_true(put_group(&ring, 1, 64, 7));
	take_group(&ring, 1, 64, 7);
	ring_close(&ring);
}

/* By chance, against a list: every record whole, in order, none invented */
static void test_goes_round(void **state)
{
	struct {
		unsigned int records;
		size_t len;
		uint8_t value;
	} kept[64];
	unsigned int first = 0, last = 0, refused = 0, rounds = 0;
	struct ring ring;

	(void)state;
	srand(5060);
	assert_int_equal(ring_open(&ring, CAP), 0);
	while (rounds < 20000) {
		unsigned int records = 1 + (unsigned int)rand() % 4;
		size_t len = 1 + (size_t)rand() % 200;
		uint8_t value = (uint8_t)rand();

		rounds++;
		if (rand() % 8 == 0) {
			ring_put(&ring, len);
			ring_cancel(&ring);
		} else if (rand() % 2 && last - first < 64) {
			if (put_group(&ring, records, len, value)) {
				kept[last % 64].records = records;
				kept[last % 64].len = len;
				kept[last++ % 64].value = value;
			} else {
				refused++;
			}
		} else if (first != last) {
			assert_false(ring_is_empty(&ring));
			take_group(&ring, kept[first % 64].records,
				   kept[first % 64].len,
				   kept[first % 64].value);
			first++;
		} else {
			assert_true(ring_is_empty(&ring));
		}
	}
	assert_true(refused > 100 && last > 1000);
	ring_close(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_a_group_is_taken_whole_or_not_at_all),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_goes_round),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
