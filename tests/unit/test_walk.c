/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walks through a table that changes meanwhile: base/table.h */
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

struct item {
	int key;
	UT_hash_handle hh;
};

struct items {
	struct item *table;
	struct table_walk *walks;
};

static void add(struct items *items, int key)
{
	struct item *item = calloc(1, sizeof(*item));

	item->key = key;
	HASH_ADD_INT(items->table, key, item);
}

static void drop(struct items *items, int key)
{
	struct item *item;

	HASH_FIND_INT(items->table, &key, item);
	table_walks_leave(items->walks, item, item->hh.prev);
	HASH_DEL(items->table, item);
	free(item);
}

static void begin(struct items *items, struct table_walk *walk)
{
	TABLE_WALK_BEGIN(&items->walks, walk, items->table, hh);
}

/* The next key; 0 at the end */
static int step(struct table_walk *walk)
{
	const struct item *item = walk->next;

	if (!item)
		return 0;
	walk->next = item->hh.prev;
	return item->key;
}

static void expect_rest(struct table_walk *walk, const int *keys)
{
	for (; *keys; keys++)
		assert_int_equal(step(walk), *keys);
	assert_int_equal(step(walk), 0);
}

static void fill(struct items *items, int count)
{
	for (int i = 1; i <= count; i++)
		add(items, i);
}

static void empty(struct items *items)
{
	while (items->table)
		drop(items, items->table->key);
}

static void test_newest_first(void **state)
{
	struct items items = { 0 };
	struct table_walk walk;

	(void)state;
	begin(&items, &walk);
	assert_int_equal(step(&walk), 0);
	table_walk_end(&items.walks, &walk);
	fill(&items, 3);
	begin(&items, &walk);
	expect_rest(&walk, (const int[]){ 3, 2, 1, 0 });
	table_walk_end(&items.walks, &walk);
	assert_null(items.walks);
	empty(&items);
}

/* What goes is passed over, be it the next, the one behind, or one seen */
static void test_objects_go(void **state)
{
	struct items items = { 0 };
	struct table_walk walk;

	(void)state;
	fill(&items, 6);
	begin(&items, &walk);
	assert_int_equal(step(&walk), 6);
	drop(&items, 5);
	drop(&items, 4);
	drop(&items, 6);
	drop(&items, 2);
	expect_rest(&walk, (const int[]){ 3, 1, 0 });
	table_walk_end(&items.walks, &walk);
	empty(&items);
}

static void test_all_go(void **state)
{
	struct items items = { 0 };
	struct table_walk walk;

	(void)state;
	fill(&items, 4);
	begin(&items, &walk);
	step(&walk);
	empty(&items);
	assert_int_equal(step(&walk), 0);
	table_walk_end(&items.walks, &walk);
}

static void test_new_objects_are_not_seen(void **state)
{
	struct items items = { 0 };
	struct table_walk walk;

	(void)state;
	fill(&items, 2);
	begin(&items, &walk);
	assert_int_equal(step(&walk), 2);
	for (int i = 3; i < 200; i++)
		add(&items, i);
	expect_rest(&walk, (const int[]){ 1, 0 });
	table_walk_end(&items.walks, &walk);
	empty(&items);
}

static void test_several_walks(void **state)
{
	struct items items = { 0 };
	struct table_walk a, b, c;

	(void)state;
	fill(&items, 4);
	begin(&items, &a);
	step(&a);
	begin(&items, &b);
	step(&b);
	begin(&items, &c);
	table_walk_end(&items.walks, &b);
	drop(&items, 3);
	drop(&items, 4);
	expect_rest(&a, (const int[]){ 2, 1, 0 });
	expect_rest(&c, (const int[]){ 2, 1, 0 });
	table_walk_end(&items.walks, &a);
	table_walk_end(&items.walks, &c);
	assert_null(items.walks);
	empty(&items);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_newest_first),
		cmocka_unit_test(test_objects_go),
		cmocka_unit_test(test_all_go),
		cmocka_unit_test(test_new_objects_are_not_seen),
		cmocka_unit_test(test_several_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
