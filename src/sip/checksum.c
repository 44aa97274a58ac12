/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/checksum.h"

#include <string.h>

uint64_t checksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	/* One's complement sums do not care about word size or byte order
	 * (RFC 1071 2.B, 2.C): eight bytes at a time in host order, and the
	 * carry goes round.
	 */
	for (; len >= 8; len -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, 8);
		sum += word;
		sum += sum < word;
	}
	sum = (sum >> 32) + (sum & 0xffffffff);
	for (; len >= 4; len -= 4, p += 4) {
		uint32_t word;

		memcpy(&word, p, 4);
		sum += word;
	}
	if (len) {
		uint32_t word = 0;

		memcpy(&word, p, len);
		sum += word;
	}
	return sum;
}

uint16_t checksum_finish(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}
