/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/checksum.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "guard.h"

/* The definition, word by word: RFC 1071 1 */
static uint16_t plain(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

/* RFC 1071 3: these bytes sum to ddf2 */
static void test_example(void **state)
{
	static const uint8_t bytes[] = {
		0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7
	};

	(void)state;
	assert_int_equal(checksum_finish(checksum_add(0, bytes, 8)),
			 htons(0xffff - 0xddf2));
	assert_int_equal(checksum_finish(0), 0xffff);
}

static void test_every_length(void **state)
{
	uint8_t bytes[80];

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		const char *at = guard_place(0, bytes, len);

		assert_int_equal(checksum_finish(checksum_add(0, at, len)),
				 plain(bytes, len));
	}
}

static void test_parts(void **state)
{
	uint8_t bytes[64];
	uint64_t sum;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(255 - i);
	for (size_t cut = 0; cut <= sizeof(bytes); cut += 2) {
		sum = checksum_add(0, bytes, cut);
		sum = checksum_add(sum, bytes + cut, sizeof(bytes) - cut);
		assert_int_equal(checksum_finish(sum),
				 plain(bytes, sizeof(bytes)));
	}
}

/* The carries of the longest packet do not get lost */
static void test_all_ones(void **state)
{
	static uint8_t bytes[65535];

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(checksum_finish(checksum_add(0, bytes, 65534)), 0);
	assert_int_equal(checksum_finish(checksum_add(0, bytes, 65535)),
			 plain(bytes, 65535));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_example),
		cmocka_unit_test(test_every_length),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_all_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
