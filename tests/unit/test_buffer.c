/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/buffer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_grow(void **state)
{
	struct tcp_memory memory = { .limit = 1 << 20 };
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(buffer_reserve(&b, 0, &memory), 0);
	assert_int_equal(memory.used, 0);
	assert_int_equal(buffer_reserve(&b, 5, &memory), 0);
	assert_true(b.cap >= 5);
	assert_int_equal(memory.used, b.cap);
	memcpy(b.ptr, "hello", 5);
	for (size_t need = 10; need < 300000; need *= 3) {
		assert_int_equal(buffer_reserve(&b, need, &memory), 0);
		assert_true(b.cap >= need);
		assert_int_equal(memory.used, b.cap);
		assert_memory_equal(b.ptr, "hello", 5);
	}
	buffer_free(&b, &memory);
	assert_int_equal(memory.used, 0);
	assert_null(b.ptr);
	assert_int_equal(b.cap, 0);
	buffer_free(&b, &memory);
}

static void test_limit(void **state)
{
	struct tcp_memory memory = { .limit = 10000 };
	struct buffer a = { 0 }, b = { 0 };

	(void)state;
	assert_int_equal(buffer_reserve(&a, 10001, &memory), -ENOMEM);
	assert_null(a.ptr);
	assert_int_equal(memory.used, 0);
	assert_int_equal(buffer_reserve(&a, 1, &memory), 0);
	assert_int_equal(buffer_reserve(&b, 1, &memory), 0);
	memcpy(a.ptr, "stays", 5);
	assert_int_equal(buffer_reserve(&a, 9000, &memory), -ENOMEM);
	assert_memory_equal(a.ptr, "stays", 5);
	assert_int_equal(memory.used, a.cap + b.cap);
	buffer_free(&b, &memory);
	assert_int_equal(buffer_reserve(&a, 8000, &memory), 0);
	assert_memory_equal(a.ptr, "stays", 5);
	buffer_free(&a, &memory);
	assert_int_equal(memory.used, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
