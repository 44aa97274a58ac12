/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/translate.h"

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "stage.h"

static uint8_t room[256];
static struct packet pkt;

static struct tuple tuple(const char *src, const char *dst, uint8_t proto)
{
	return (struct tuple){ .src = stage_end(src),
			       .dst = stage_end(dst),
			       .proto = proto };
}

static void check(const char *src, const char *dst, const char *new_src,
		  const char *new_dst)
{
	struct tuple t = tuple(src, dst, IPPROTO_UDP);
	struct tuple to = tuple(new_src, new_dst, IPPROTO_UDP);
	size_t len = stage_packet(&t, SPAN("odd"), room);
	uint8_t *data = (uint8_t *)guard_place(0, room, len);

	assert_int_equal(packet_parse(data, len, &pkt), PACKET_OK);
	translate(&pkt, data, &to);
	assert_true(stage_sums_ok(data, len));
	assert_int_equal(packet_parse(data, len, &pkt), PACKET_OK);
	assert_true(tuple_eq(&pkt.tuple, &to));
	assert_true(span_eq(pkt.payload, SPAN("odd")));
}

static void test_udp(void **state)
{
	(void)state;
	check("192.168.1.10:5060", "198.51.100.5:5060", "203.0.113.1:5061",
	      "198.51.100.5:5060");
	check("198.51.100.5:5060", "203.0.113.1:5061", "198.51.100.5:5060",
	      "192.168.1.10:5060");
	check("[fd00:1::10]:5060", "[2001:db8::5]:5060", "[2001:db8:1::1]:5061",
	      "[2001:db8::5]:5060");
}

static void test_no_checksum(void **state)
{
	struct tuple t = tuple("192.168.1.10:1", "198.51.100.5:2", IPPROTO_UDP);
	struct tuple to = tuple("203.0.113.1:3", "198.51.100.5:2", IPPROTO_UDP);
	size_t len = stage_packet(&t, SPAN("x"), room);

	(void)state;
	room[26] = room[27] = 0;
	assert_int_equal(packet_parse(room, len, &pkt), PACKET_OK);
	translate(&pkt, room, &to);
	assert_int_equal(room[26] | room[27], 0);
	assert_int_equal(room[21], 3);
}

/* The checksum of TCP, as RFC 9293 3.1 has it, computed apart */
static void test_tcp(void **state)
{
	struct tuple t = tuple("192.168.1.10:1", "198.51.100.5:2", IPPROTO_UDP);
	struct tuple to = tuple("203.0.113.1:3", "198.51.100.5:2", IPPROTO_TCP);
	size_t len = stage_packet(&t, SPAN("--------------odd"), room);
	struct tcphdr tcp = { .doff = 5, .ack = 1 };
	uint32_t sum = 0;

	(void)state;
	room[9] = IPPROTO_TCP;
	memcpy(room + 20, &tcp, sizeof(tcp));
	assert_int_equal(packet_parse(room, len, &pkt), PACKET_OK);
	translate(&pkt, room, &to);
	assert_int_equal(room[20] << 8 | room[21], 3);
	for (size_t i = 12; i < len; i++)
		sum += i % 2 ? room[i] : (uint32_t)room[i] << 8;
	sum += IPPROTO_TCP + (uint32_t)(len - 20);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
	assert_int_equal(checksum_finish(checksum_add(0, room, 20)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_no_checksum),
		cmocka_unit_test(test_tcp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
