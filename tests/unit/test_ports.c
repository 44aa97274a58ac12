/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/ports.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_parse(void **state)
{
	struct ports p;

	(void)state;
	assert_int_equal(ports_parse(SPAN("0-1023, 5060 ,65535"), &p), 0);
	assert_int_equal(p.count, 3);
	assert_int_equal(p.range[0].first, 0);
	assert_int_equal(p.range[0].last, 1023);
	assert_int_equal(p.range[1].first, 5060);
	assert_int_equal(p.range[1].last, 5060);
	assert_int_equal(ports_count(&p), 1026);
	assert_true(ports_contain(&p, 0));
	assert_true(ports_contain(&p, 1023));
	assert_false(ports_contain(&p, 1024));
	assert_false(ports_contain(&p, 5059));
	assert_true(ports_contain(&p, 5060));
	assert_false(ports_contain(&p, 65534));
	assert_true(ports_contain(&p, 65535));
	assert_int_equal(ports_parse(SPAN("0-65535"), &p), 0);
	assert_int_equal(ports_count(&p), 65536);
	assert_int_equal(ports_parse(SPAN("7 - 9"), &p), 0);
	assert_int_equal(ports_count(&p), 3);
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		int err;
	} t[] = {
		{ "", -EINVAL },	   { ",", -EINVAL },
		{ "1,", -EINVAL },	   { ",1", -EINVAL },
		{ "1,,2", -EINVAL },	   { "1, ", -EINVAL },
		{ "-", -EINVAL },	   { "1-", -EINVAL },
		{ "-1", -EINVAL },	   { "1-2-3", -EINVAL },
		{ "+1", -EINVAL },	   { "a", -EINVAL },
		{ "1 2", -EINVAL },	   { "65536", -ERANGE },
		{ "1-65536", -ERANGE },	   { "2-1", -ERANGE },
		{ "4294967297", -ERANGE }, { "1;2", -EINVAL },
	};
	struct ports p;

	(void)state;
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		int err = ports_parse(span_from_str(t[i].text), &p);

		if (err != t[i].err)
			fail_msg("'%s' gave %d", t[i].text, err);
	}
}

static void test_as_many_as_fit(void **state)
{
	char text[512] = "0";
	struct ports p;

	(void)state;
	for (int i = 1; i < PORTS_MAX_RANGES; i++)
		sprintf(text + strlen(text), ",%d", 2 * i);
	assert_int_equal(ports_parse(span_from_str(text), &p), 0);
	assert_int_equal(p.count, PORTS_MAX_RANGES);
	assert_true(ports_contain(&p, 2 * (PORTS_MAX_RANGES - 1)));
	strcat(text, ",9");
	assert_int_equal(ports_parse(span_from_str(text), &p), -ENOSPC);
}

static void test_empty_set(void **state)
{
	const struct ports p = { 0 };

	(void)state;
	assert_int_equal(ports_count(&p), 0);
	assert_false(ports_contain(&p, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_as_many_as_fit),
		cmocka_unit_test(test_empty_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
