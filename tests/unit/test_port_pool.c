/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/port_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct addr addr(uint8_t last)
{
	return (struct addr){ { [10] = 0xff, [11] = 0xff, 203, 0, 113, last } };
}

static void test_ports(void **state)
{
	struct addr a = addr(1);
	struct port_pool *list = NULL, *pool = port_pool_get(&list, &a);

	(void)state;
	assert_non_null(pool);
	port_pool_take(pool, 16382, 4);
	assert_int_equal(pool->taken, 4);
	assert_false(port_pool_has(pool, 16381));
	for (unsigned int port = 16382; port < 16386; port++)
		assert_true(port_pool_has(pool, port));
	assert_false(port_pool_has(pool, 16386));
	/* Again, or what is free: no count twice */
	port_pool_take(pool, 16383, 1);
	assert_int_equal(pool->taken, 4);
	port_pool_give(pool, 16384, 4);
	assert_int_equal(pool->taken, 2);
	port_pool_take(pool, 65535, 1);
	assert_true(port_pool_has(pool, 65535));
	port_pools_free(&list);
	assert_null(list);
}

static void test_each_address_has_its_own(void **state)
{
	struct addr a = addr(1), b = addr(2);
	struct port_pool *list = NULL, *one = port_pool_get(&list, &a);
	struct port_pool *other;

	(void)state;
	port_pool_take(one, 5060, 1);
	other = port_pool_get(&list, &b);
	assert_ptr_not_equal(one, other);
	assert_ptr_equal(port_pool_get(&list, &a), one);
	assert_false(port_pool_has(other, 5060));
	assert_int_equal(other->taken, 0);
	port_pools_free(&list);
}

/* A line that gets another address every day */
static void test_unused_go(void **state)
{
	struct port_pool *list = NULL, *pool;
	struct addr a = addr(1);

	(void)state;
	port_pool_take(port_pool_get(&list, &a), 5060, 1);
	for (unsigned int i = 2; i < 100; i++) {
		a = addr((uint8_t)i);
		assert_non_null(port_pool_get(&list, &a));
	}
	assert_true(addr_eq(&list->public_addr, &a));
	pool = list->link;
	assert_non_null(pool);
	assert_true(port_pool_has(pool, 5060));
	assert_null(pool->link);
	port_pools_free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_each_address_has_its_own),
		cmocka_unit_test(test_unused_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
