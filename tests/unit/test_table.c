/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/table.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/text.h"

static const struct table_column columns[] = {
	{ "STATE", 0, 0, false },   { "FROM", 6, 0, false },
	{ "OUT", 0, 0, true },	    { "AGE", 0, 1, true },
	{ "CALL-ID", 8, 2, false }, { 0 },
};

static struct table *example(void)
{
	struct table *t = table_new(columns);

	table_add(t, TERM_GOOD, "active");
	table_add(t, TERM_PLAIN, "alice@example.com");
	table_add(t, TERM_PLAIN, "%d", 123456);
	table_add(t, TERM_PLAIN, "1h02m");
	table_add(t, TERM_PLAIN, "c9f1ab3c@192.0.2.4");
	table_add(t, TERM_PLAIN, "held");
	table_add(t, TERM_PLAIN, "bob");
	table_add(t, TERM_PLAIN, "%d", 7);
	table_add(t, TERM_PLAIN, "3s");
	table_add(t, TERM_PLAIN, "%s", "");
	return t;
}

static void expect(struct table *t, const struct ctl *ctl, const char *want)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	table_print(t, ctl, out);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void test_as_wide_as_it_is(void **state)
{
	static const struct ctl unlimited, wide = { .width = 70 };
	static const char want[] =
		"STATE   FROM                  OUT    AGE  CALL-ID\n"
		"active  alice@example.com  123456  1h02m  c9f1ab3c@192.0.2.4\n"
		"held    bob                     7     3s  -\n";

	(void)state;
	expect(example(), &unlimited, want);
	expect(example(), &wide, want);
}

/* Those that may be cut share what is lacking; numbers stay whole */
static void test_text_is_cut(void **state)
{
	static const struct ctl narrow = { .width = 50 };

	(void)state;
	expect(example(), &narrow,
	       "STATE   FROM             OUT    AGE  CALL-ID\n"
	       "active  alice@examp…  123456  1h02m  c9f1ab3c@192…\n"
	       "held    bob                7     3s  -\n");
}

/* The rank says who goes */
static void test_columns_go(void **state)
{
	static const struct ctl no_id = { .width = 35 };
	static const struct ctl no_age = { .width = 28 };
	static const struct ctl least = { .width = 22 };

	(void)state;
	expect(example(), &no_id,
	       "STATE   FROM             OUT    AGE\n"
	       "active  alice@examp…  123456  1h02m\n"
	       "held    bob                7     3s\n");
	expect(example(), &no_age,
	       "STATE   FROM             OUT\n"
	       "active  alice@examp…  123456\n"
	       "held    bob                7\n");
	expect(example(), &least,
	       "STATE   FROM       OUT\n"
	       "active  alice…  123456\n"
	       "held    bob          7\n");
}

static void test_no_line_is_too_long(void **state)
{
	(void)state;
	for (unsigned int width = 22; width < 80; width++) {
		struct ctl ctl = { .width = width };
		char *text, *line, *rest;
		size_t len;
		FILE *out = open_memstream(&text, &len);

		table_print(example(), &ctl, out);
		fclose(out);
		for (line = strtok_r(text, "\n", &rest); line;
		     line = strtok_r(NULL, "\n", &rest))
			assert_in_range(text_columns(line), 1, width);
		free(text);
	}
}

static void test_colours(void **state)
{
	static const struct table_column one[] = { { "A", 0, 0, false },
						   { 0 } };
	static const struct ctl colour = { .colour = true }, plain;
	struct table *t = table_new(one);

	(void)state;
	table_add(t, TERM_BAD, "x");
	table_add(t, TERM_PLAIN, "y");
	expect(t, &colour,
	       "\033[1mA\033[0m\n"
	       "\033[1;31mx\033[0m\n"
	       "y\n");
	t = table_new(one);
	table_add(t, TERM_BAD, "x");
	expect(t, &plain, "A\nx\n");
}

/* What strangers write is not for the terminal to obey */
static void test_safe(void **state)
{
	char *safe = text_safe("a\033[31m\r\nJ\xc3\xbcrg\xff\x7f\xc2\x9b");

	(void)state;
	assert_string_equal(safe, "a\\x1b[31m\\x0d\\x0aJ\xc3\xbcrg\\xff\\x7f"
				  "\\xc2\\x9b");
	free(safe);
	safe = text_safe("");
	assert_string_equal(safe, "");
	free(safe);
}

/* Nor what turns "exe.gpj" round, or hides; joiners spell names */
static void test_invisible_is_shown(void **state)
{
	static const char *const hidden[] = {
		"\u202e", "\u2066", "\u200f",	  "\u061c",
		"\u200b", "\ufeff", "\U000e0041",
	};
	char *safe;

	(void)state;
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		safe = text_safe(hidden[i]);
		assert_int_equal(strlen(safe), 4 * strlen(hidden[i]));
		assert_int_equal(strncmp(safe, "\\x", 2), 0);
		free(safe);
	}
	safe = text_safe("\u0646\u200c\u0645 e\u0301");
	assert_string_equal(safe, "\u0646\u200c\u0645 e\u0301");
	free(safe);
}

/* Where a wide one has no room the next column begins where it should */
static void test_wide_characters_are_aligned(void **state)
{
	static const struct table_column two[] = { { "A", 4, 0, false },
						   { "B", 0, 0, true },
						   { 0 } };
	static const struct ctl narrow = { .width = 7 };
	struct table *t = table_new(two);

	(void)state;
	table_add(t, TERM_PLAIN, "\u65e5\u672c\u8a9e");
	table_add(t, TERM_PLAIN, "1");
	table_add(t, TERM_PLAIN, "abcdef");
	table_add(t, TERM_PLAIN, "2");
	expect(t, &narrow,
	       "A     B\n"
	       "\u65e5\u2026   1\n"
	       "abc\u2026  2\n");
}

static void test_wide_characters(void **state)
{
	static const char text[] = "\xe6\x97\xa5\xe6\x9c\xac"; /* two, of two */

	(void)state;
	assert_int_equal(text_columns(text), 4);
	assert_int_equal(text_columns("J\xc3\xbcrg"), 4);
	assert_int_equal(text_fit(text, 4), 6);
	assert_int_equal(text_fit(text, 3), 3);
	assert_int_equal(text_fit(text, 1), 0);
	assert_int_equal(text_fit("abc", 9), 3);
}

static void test_duration(void **state)
{
	static const struct {
		uint64_t seconds;
		const char *text;
	} rows[] = {
		{ 0, "0s" },
		{ 59, "59s" },
		{ 60, "1m00s" },
		{ 200, "3m20s" },
		{ 3599, "59m59s" },
		{ 3600, "1h00m" },
		{ 3720, "1h02m" },
		{ 86399, "23h59m" },
		{ 86400, "1d00h" },
		{ 183600, "2d03h" },
		{ 31536000, "365d00h" },
	};
	char buf[TEXT_DURATION_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(text_duration(buf, rows[i].seconds),
				    rows[i].text);
	text_duration(buf, UINT64_MAX); /* has room */
}

static void expect_field(const char *value, size_t width, const char *want)
{
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	text_field(out, "To", value, 6, width);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void test_field(void **state)
{
	(void)state;
	expect_field("some words of text", 0, "To    some words of text\n");
	expect_field("some words of text", 24, "To    some words of text\n");
	expect_field("some words of text", 18,
		     "To    some words\n      of text\n");
	expect_field("abcdefghijklmnopqrstuvwxyz", 18,
		     "To    abcdefghijkl\n      mnopqrstuvwx\n      yz\n");
	expect_field("", 18, "To    \n");
	/* Too narrow to be wrapped at all */
	expect_field("abcdefghijklmnopqrstuvwxyz", 12,
		     "To    abcdefghijklmnopqrstuvwxyz\n");
}

static int set_locale(void **state)
{
	(void)state;
	return !setlocale(LC_ALL, "C.UTF-8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_wide_as_it_is),
		cmocka_unit_test(test_text_is_cut),
		cmocka_unit_test(test_columns_go),
		cmocka_unit_test(test_no_line_is_too_long),
		cmocka_unit_test(test_colours),
		cmocka_unit_test(test_safe),
		cmocka_unit_test(test_invisible_is_shown),
		cmocka_unit_test(test_wide_characters),
		cmocka_unit_test(test_wide_characters_are_aligned),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_field),
	};

	return cmocka_run_group_tests(tests, set_locale, NULL);
}
