/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/edit.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guard.h"

static struct edit_list list;

static struct span at(struct span in, size_t from, size_t len)
{
	return (struct span){ in.ptr + from, len };
}

static void expect(struct span in, const char *want)
{
	char out[256];
	long n = edit_apply(&list, in, out, sizeof(out));

	assert_int_equal(n, strlen(want));
	assert_memory_equal(out, want, strlen(want));
}

static void test_none(void **state)
{
	struct span in = guard_str("abc");

	(void)state;
	edit_reset(&list);
	expect(in, "abc");
	edit_add(&list, "x", at(in, 1, 1), SPAN("b"));
	assert_int_equal(list.count, 0);
	expect((struct span){ in.ptr, 0 }, "");
}

static void test_any_order(void **state)
{
	struct span in = guard_str("0123456789");

	(void)state;
	edit_reset(&list);
	edit_add(&list, "c", at(in, 9, 1), SPAN("nine"));
	edit_add(&list, "a", at(in, 0, 2), SPAN(""));
	edit_add(&list, "b", at(in, 4, 1), SPAN("FOUR"));
	edit_add(&list, "d", at(in, 5, 0), SPAN("+"));
	assert_int_equal(edit_growth(&list, in.ptr), -2 + 3 + 1 + 3);
	assert_int_equal(edit_growth(&list, in.ptr + 5), 1 + 3);
	assert_int_equal(edit_growth(&list, in.ptr + 10), 0);
	expect(in, "23FOUR+5678nine");
	/* They then stand in the message's order */
	assert_string_equal(list.edit[0].site, "a");
	assert_string_equal(list.edit[3].site, "c");
}

static void test_text_is_copied(void **state)
{
	struct span in = guard_str("ab");
	char text[] = "XY";

	(void)state;
	edit_reset(&list);
	edit_add(&list, "x", at(in, 0, 1), (struct span){ text, 2 });
	text[0] = '?';
	expect(in, "XYb");
}

static void test_overlap(void **state)
{
	struct span in = guard_str("0123456789");
	char out[32];

	(void)state;
	edit_reset(&list);
	edit_add(&list, "a", at(in, 2, 4), SPAN("x"));
	edit_add(&list, "b", at(in, 4, 4), SPAN("y"));
	assert_int_equal(edit_apply(&list, in, out, sizeof(out)), -EINVAL);
	/* Touching is not overlapping */
	edit_reset(&list);
	edit_add(&list, "a", at(in, 2, 4), SPAN("x"));
	edit_add(&list, "b", at(in, 6, 4), SPAN("y"));
	expect(in, "01xy");
}

static void test_outside(void **state)
{
	static const char text[] = "abcdef";
	struct span in = { text + 1, 3 };
	char out[32];

	(void)state;
	edit_reset(&list);
	edit_add(&list, "before", (struct span){ text, 1 }, SPAN("x"));
	assert_int_equal(edit_apply(&list, in, out, sizeof(out)), -EINVAL);
	edit_reset(&list);
	edit_add(&list, "behind", (struct span){ text + 3, 2 }, SPAN("x"));
	assert_int_equal(edit_apply(&list, in, out, sizeof(out)), -EINVAL);
}

/* Every size of the output: it fits, or nothing is written beyond it */
static void test_every_capacity(void **state)
{
	struct span in = guard_str("0123456789");
	char blank[16] = { 0 };

	(void)state;
	for (size_t cap = 0; cap <= 13; cap++) {
		char *out = guard_place(1, blank, cap);

		edit_reset(&list);
		edit_add(&list, "a", at(in, 3, 1), SPAN("three"));
		edit_add(&list, "b", at(in, 9, 1), SPAN(""));
		if (cap < 13)
			assert_int_equal(edit_apply(&list, in, out, cap),
					 -ENOSPC);
		else
			assert_int_equal(edit_apply(&list, in, out, cap), 13);
	}
}

static void test_too_many(void **state)
{
	static char text[EDIT_MAX + 1], out[4 * EDIT_MAX];
	struct span in = { text, sizeof(text) };

	(void)state;
	memset(text, 'a', sizeof(text));
	edit_reset(&list);
	for (size_t i = 0; i < EDIT_MAX; i++)
		edit_add(&list, "x", at(in, i, 1), SPAN("bc"));
	assert_false(list.full);
	assert_int_equal(edit_apply(&list, in, out, sizeof(out)),
			 2 * EDIT_MAX + 1);
	edit_add(&list, "x", at(in, EDIT_MAX, 1), SPAN("bc"));
	assert_true(list.full);
	assert_int_equal(edit_apply(&list, in, out, sizeof(out)), -ENOSPC);
	edit_reset(&list);
	assert_false(list.full);
}

static void test_too_much_text(void **state)
{
	static char text[EDIT_TEXT], out[2 * EDIT_TEXT];
	struct span in = guard_str("abc");

	(void)state;
	edit_reset(&list);
	edit_add(&list, "x", at(in, 0, 1), (struct span){ text, sizeof(text) });
	assert_int_equal(edit_apply(&list, in, out, sizeof(out)),
			 EDIT_TEXT + 2);
	edit_add(&list, "x", at(in, 1, 1), SPAN("z"));
	assert_int_equal(edit_apply(&list, in, out, sizeof(out)), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_text_is_copied),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_outside),
		cmocka_unit_test(test_every_capacity),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_too_much_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
