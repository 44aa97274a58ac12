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
	struct port_pool *other = port_pool_get(&list, &b);

	(void)state;
	assert_ptr_not_equal(one, other);
	assert_ptr_equal(port_pool_get(&list, &a), one);
	port_pool_take(one, 5060, 1);
	assert_false(port_pool_has(other, 5060));
	assert_int_equal(other->taken, 0);
	port_pools_free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_each_address_has_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
