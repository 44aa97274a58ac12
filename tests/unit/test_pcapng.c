/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/pcapng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <pcap/pcap.h>

#include <cmocka.h>

static const uint8_t packet[21] = { 0x45, 0, 0, 21 };

static uint32_t word(const char *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Each block says its length at both ends, and they fill the file */
static unsigned int count_blocks(const char *text, size_t len, uint32_t *types)
{
	unsigned int count = 0;
	size_t at = 0;

	while (at < len) {
		uint32_t size = word(text + at + 4);

		assert_true(size >= 12 && size % 4 == 0 && size <= len - at);
		assert_int_equal(word(text + at + size - 4), size);
		types[count++] = word(text + at);
		at += size;
	}
	return count;
}

static void test_blocks(void **state)
{
	static const uint32_t want[] = { 0x0a0d0d0a, 1, 1, 6, 6, 5 };
	struct pcapng_counts counts = { 1, 2, 3, 4 };
	uint32_t types[16];
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_int_equal(pcapng_begin(out, "test"), 0);
	assert_int_equal(pcapng_interface(out, "before", "as it came"), 0);
	assert_int_equal(pcapng_interface(out, "after", NULL), 0);
	/* Of every length, so of every padding */
	assert_int_equal(pcapng_packet(out, 0, 1, packet, 20, "abc"), 0);
	assert_int_equal(pcapng_packet(out, 1, 2, packet, 21, NULL), 0);
	assert_int_equal(pcapng_counts(out, 0, &counts), 0);
	fclose(out);
	assert_int_equal(count_blocks(text, len, types), 6);
	assert_memory_equal(types, want, sizeof(want));
	free(text);
}

static void test_longest_comment(void **state)
{
	char *comment = malloc(100000), *text;
	uint32_t types[16];
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	memset(comment, 'x', 99999);
	comment[99999] = '\0';
	assert_int_equal(pcapng_packet(out, 0, 1, packet, 20, comment), 0);
	fclose(out);
	assert_int_equal(count_blocks(text, len, types), 1);
	free(comment);
	free(text);
}

/* libpcap reads it too: packets, times, lengths. One interface only: from the
 * second on, 1.10.3 compares the file's type with its own number for it
 */
static void test_libpcap_reads_it(void **state)
{
	char error[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *header;
	const u_char *data;
	FILE *file = tmpfile();
	pcap_t *pcap;

	(void)state;
	assert_non_null(file);
	assert_int_equal(pcapng_begin(file, "test"), 0);
	assert_int_equal(pcapng_interface(file, "before", "x"), 0);
	for (size_t len = 16; len <= 21; len++)
		assert_int_equal(pcapng_packet(file, 0, 1700000000123456 + len,
					       packet, len, "why"),
				 0);
	rewind(file);
	pcap = pcap_fopen_offline(file, error);
	assert_non_null(pcap);
	assert_int_equal(pcap_datalink(pcap), DLT_RAW);
	for (size_t len = 16; len <= 21; len++) {
		if (pcap_next_ex(pcap, &header, &data) != 1)
			fail_msg("%s", pcap_geterr(pcap));
		assert_int_equal(header->caplen, len);
		assert_int_equal(header->len, len);
		assert_int_equal(header->ts.tv_sec, 1700000000);
		assert_int_equal(header->ts.tv_usec, 123456 + len);
		assert_memory_equal(data, packet, len);
	}
	assert_int_equal(pcap_next_ex(pcap, &header, &data), PCAP_ERROR_BREAK);
	pcap_close(pcap);
}

static void test_full_disk(void **state)
{
	FILE *full = fopen("/dev/full", "w");

	(void)state;
	if (!full)
		skip();
	setbuf(full, NULL);
	assert_true(pcapng_begin(full, "test") < 0);
	assert_true(pcapng_packet(full, 0, 1, packet, 20, NULL) < 0);
	fclose(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_longest_comment),
		cmocka_unit_test(test_libpcap_reads_it),
		cmocka_unit_test(test_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
