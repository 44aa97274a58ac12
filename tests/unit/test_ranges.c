/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/ranges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tcp/seq.h"

static struct ranges set;

static bool add(uint32_t first, uint32_t end)
{
	return ranges_add(&set, (struct range){ first, end });
}

static void expect(unsigned int i, uint32_t first, uint32_t end)
{
	assert_true(i < set.count);
	assert_int_equal(set.range[i].first, first);
	assert_int_equal(set.range[i].end, end);
}

static int clear(void **state)
{
	(void)state;
	memset(&set, 0, sizeof(set));
	return 0;
}

static void test_apart(void **state)
{
	(void)state;
	assert_true(add(30, 40));
	assert_true(add(10, 20));
	assert_true(add(50, 60));
	assert_int_equal(set.count, 3);
	expect(0, 10, 20);
	expect(1, 30, 40);
	expect(2, 50, 60);
}

static void test_touching(void **state)
{
	(void)state;
	assert_true(add(10, 20));
	assert_true(add(20, 30));
	assert_int_equal(set.count, 1);
	expect(0, 10, 30);
	assert_true(add(5, 10));
	expect(0, 5, 30);
	assert_true(add(12, 14)); /* inside */
	expect(0, 5, 30);
	assert_int_equal(set.count, 1);
}

static void test_bridge(void **state)
{
	(void)state;
	assert_true(add(10, 20));
	assert_true(add(30, 40));
	assert_true(add(50, 60));
	assert_true(add(70, 80));
	assert_true(add(15, 55));
	assert_int_equal(set.count, 2);
	expect(0, 10, 60);
	expect(1, 70, 80);
	assert_true(add(0, 100));
	assert_int_equal(set.count, 1);
	expect(0, 0, 100);
}

static void test_full(void **state)
{
	struct ranges before;

	(void)state;
	for (uint32_t i = 0; i < RANGES_MAX; i++)
		assert_true(add(100 * i, 100 * i + 10));
	before = set;
	assert_false(add(50, 60));
	assert_memory_equal(&set, &before, sizeof(set));
	assert_true(add(10, 20)); /* it makes none more */
	assert_true(add(20, 100));
	assert_int_equal(set.count, RANGES_MAX - 1);
}

static void test_trim(void **state)
{
	(void)state;
	add(10, 20);
	add(30, 40);
	ranges_trim(&set, 10);
	expect(0, 10, 20);
	ranges_trim(&set, 15);
	expect(0, 15, 20);
	ranges_trim(&set, 20);
	assert_int_equal(set.count, 1);
	expect(0, 30, 40);
	ranges_trim(&set, 45);
	assert_int_equal(set.count, 0);
	ranges_trim(&set, 50);
}

static void gap(uint32_t first, uint32_t end, uint32_t to, uint32_t to_end)
{
	struct range r = { first, end };

	assert_true(ranges_gap(&set, &r));
	assert_int_equal(r.first, to);
	assert_int_equal(r.end, to_end);
}

static void test_gap(void **state)
{
	struct range r = { 12, 18 };

	(void)state;
	gap(0, 5, 0, 5);
	add(10, 20);
	add(30, 40);
	assert_false(ranges_gap(&set, &r));
	gap(0, 50, 0, 10);
	gap(10, 50, 20, 30);
	gap(15, 25, 20, 25);
	gap(22, 25, 22, 25);
	gap(35, 50, 40, 50);
	gap(45, 50, 45, 50);
	r = (struct range){ 40, 40 };
	assert_false(ranges_gap(&set, &r));
}

static void test_wrap(void **state)
{
	(void)state;
	assert_true(add(0xfffffff0, 0x10));
	assert_true(add(0x20, 0x30));
	assert_true(add(0xffffff00, 0xffffff10));
	assert_int_equal(set.count, 3);
	expect(0, 0xffffff00, 0xffffff10);
	expect(1, 0xfffffff0, 0x10);
	expect(2, 0x20, 0x30);
	gap(0xffffff08, 0x28, 0xffffff10, 0xfffffff0);
	assert_true(add(0xffffff10, 0xfffffff0));
	assert_int_equal(set.count, 2);
	ranges_trim(&set, 4);
	expect(0, 4, 0x10);
}

/* Against a plain array of what is in */
static void test_random(void **state)
{
	enum { ROOM = 300 };
	uint32_t base = 0xffffff80;

	(void)state;
	srand(7);
	for (int run = 0; run < 2000; run++) {
		bool in[ROOM] = { false };

		memset(&set, 0, sizeof(set));
		for (int i = 0; i < 30; i++) {
			uint32_t a = (uint32_t)rand() % (ROOM - 20);
			uint32_t b = a + 1 + (uint32_t)rand() % 19;

			if (rand() % 8 == 0) {
				ranges_trim(&set, base + a);
				memset(in, false, a);
			} else if (add(base + a, base + b)) {
				memset(in + a, true, b - a);
			} else {
				assert_int_equal(set.count, RANGES_MAX);
			}
		}
		for (uint32_t i = 0; i < ROOM; i++) {
			struct range r = { base + i, base + i + 1 };

			assert_int_equal(ranges_gap(&set, &r), !in[i]);
		}
		for (unsigned int i = 1; i < set.count; i++)
			assert_true(seq_before(set.range[i - 1].end,
					       set.range[i].first));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_apart, clear),
		cmocka_unit_test_setup(test_touching, clear),
		cmocka_unit_test_setup(test_bridge, clear),
		cmocka_unit_test_setup(test_full, clear),
		cmocka_unit_test_setup(test_trim, clear),
		cmocka_unit_test_setup(test_gap, clear),
		cmocka_unit_test_setup(test_wrap, clear),
		cmocka_unit_test_setup(test_random, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
