/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/span.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <stdlib.h>

#include <cmocka.h>

static const struct span none;

static void test_trim(void **state)
{
	static const char text[] = " \t a b\r\n ";
	struct span s = span_trim(SPAN(text));

	(void)state;
	assert_true(span_eq(s, SPAN("a b")));
	assert_ptr_equal(s.ptr, text + 3);
	s = span_trim(SPAN(" \r\n"));
	assert_int_equal(s.len, 0);
	assert_non_null(s.ptr);
	s = span_trim(none);
	assert_null(s.ptr);
}

static void test_compare(void **state)
{
	(void)state;
	assert_true(span_eq(none, SPAN("")));
	assert_true(span_eq(SPAN("a\0b"), SPAN("a\0b")));
	assert_false(span_eq(SPAN("a\0b"), SPAN("a\0c")));
	assert_false(span_eq(SPAN("ab"), SPAN("abc")));
	assert_false(span_eq(SPAN("ab"), SPAN("aB")));
	assert_true(span_case_eq(SPAN("Call-ID"), SPAN("CALL-id")));
	assert_false(span_case_eq(SPAN("Call-ID"), SPAN("Call-I")));
	assert_true(span_case_eq(none, none));
	assert_true(span_starts(SPAN("SIP/2.0 200"), SPAN("sip/2.0")));
	assert_true(span_starts(SPAN("x"), SPAN("")));
	assert_true(span_starts(none, none));
	assert_false(span_starts(SPAN("SIP"), SPAN("SIP/")));
	assert_false(span_starts(none, SPAN("a")));
}

static void test_find(void **state)
{
	static const char text[] = "abcabc";
	struct span s = SPAN(text), cut = { text, 2 };

	(void)state;
	assert_ptr_equal(span_find(s, SPAN("bca")), text + 1);
	assert_ptr_equal(span_find(s, SPAN("c")), text + 2);
	assert_null(span_find(s, SPAN("cb")));
	assert_null(span_find(s, SPAN("")));
	assert_null(span_find(none, SPAN("a")));
	/* What lies behind the end is not seen */
	assert_null(span_find(cut, SPAN("abc")));
	assert_null(span_chr(cut, 'c'));
	assert_ptr_equal(span_chr(s, 'c'), text + 2);
	assert_null(span_chr(s, '\0'));
	assert_null(span_chr(none, 'a'));
	assert_int_equal(span_between(text + 1, text + 4).len, 3);
	assert_ptr_equal(span_end(s), text + 6);
}

static void test_to_uint(void **state)
{
	static const struct {
		const char *text;
		uint64_t max, value;
		int err;
	} t[] = {
		{ "0", 0, 0, 0 },
		{ "00065535", 65535, 65535, 0 },
		{ "65536", 65535, 0, -ERANGE },
		{ "1844674407370955160", UINT64_MAX, 1844674407370955160u, 0 },
		{ "18446744073709551616", UINT64_MAX, 0, -ERANGE },
		{ "99999999999999999999999", UINT64_MAX, 0, -ERANGE },
		{ "", 9, 0, -EINVAL },
		{ "-1", 9, 0, -EINVAL },
		{ "+1", 9, 0, -EINVAL },
		{ " 1", 9, 0, -EINVAL },
		{ "1 ", 9, 0, -EINVAL },
		{ "1x", 9, 0, -EINVAL },
		{ "0x1", 9, 0, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		uint64_t v = 77;
		int err = span_to_uint(span_from_str(t[i].text), t[i].max, &v);

		if (err != t[i].err)
			fail_msg("'%s' gave %d", t[i].text, err);
		assert_int_equal(v, err ? 77 : t[i].value);
	}
	assert_int_equal(span_to_uint(none, 9, &(uint64_t){ 0 }), -EINVAL);
}

static void test_copy(void **state)
{
	char buf[4] = "###";

	(void)state;
	assert_int_equal(span_copy(buf, sizeof(buf), SPAN("abc")), 3);
	assert_string_equal(buf, "abc");
	assert_int_equal(span_copy(buf, sizeof(buf), SPAN("wxyz")), 4);
	assert_string_equal(buf, "wxy");
	assert_int_equal(span_copy(buf, 1, SPAN("a")), 1);
	assert_string_equal(buf, "");
	assert_int_equal(buf[1], 'x');
	assert_int_equal(span_copy(buf, 0, SPAN("abc")), 3);
	assert_int_equal(span_copy(buf, sizeof(buf), none), 0);
	assert_string_equal(buf, "");
}

/* Source: the test vectors of the FNV authors, 32 bit FNV-1a */
static void test_dup(void **state)
{
	char *copy;

	(void)state;
	copy = span_dup(SPAN("abc"), 8);
	assert_string_equal(copy, "abc");
	free(copy);
	copy = span_dup(SPAN("abcdef"), 4);
	assert_string_equal(copy, "abcd");
	free(copy);
	copy = span_dup(none, 4);
	assert_string_equal(copy, "");
	free(copy);
}

static void test_hash(void **state)
{
	char text[40] = { 0 };
	uint32_t first = span_hash((struct span){ text, sizeof(text) }, 0);
	unsigned int high = 0;

	(void)state;
	/* Each byte, the length and the seed count, wherever they stand */
	for (size_t i = 0; i < sizeof(text); i++) {
		uint32_t other;

		text[i] = 1;
		other = span_hash((struct span){ text, sizeof(text) }, 0);
		assert_int_not_equal(other, first);
		high += (other ^ first) >> 31;
		text[i] = 0;
		other = span_hash((struct span){ text, i }, 0);
		assert_int_not_equal(other, first);
	}
	assert_in_range(high, 8, 32);
	assert_int_not_equal(span_hash(SPAN("a"), 0), span_hash(SPAN("a"), 1));
	assert_int_not_equal(span_hash(SPAN(""), 0), 0);
	assert_int_equal(span_hash(SPAN("foobar"), 7),
			 span_hash(SPAN("foobar"), 7));
}

static void test_distance(void **state)
{
	(void)state;
	assert_int_equal(span_distance("calls", "calls"), 0);
	assert_int_equal(span_distance("", "calls"), 5);
	assert_int_equal(span_distance("calls", ""), 5);
	assert_int_equal(span_distance("cals", "calls"), 1);
	assert_int_equal(span_distance("colls", "calls"), 1);
	assert_int_equal(span_distance("ccalls", "calls"), 1);
	assert_int_equal(span_distance("kitten", "sitting"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trim), cmocka_unit_test(test_compare),
		cmocka_unit_test(test_find), cmocka_unit_test(test_to_uint),
		cmocka_unit_test(test_copy), cmocka_unit_test(test_dup),
		cmocka_unit_test(test_hash), cmocka_unit_test(test_distance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
