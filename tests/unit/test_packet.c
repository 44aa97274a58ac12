/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/packet.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "stage.h"

static uint8_t room[PACKET_MAX + 128], out[PACKET_MAX + 128];
static struct packet pkt;

static struct tuple tuple(const char *src, const char *dst)
{
	return (struct tuple){ .src = stage_end(src),
			       .dst = stage_end(dst),
			       .proto = IPPROTO_UDP };
}

static size_t make4(const char *payload)
{
	struct tuple t = tuple("192.168.1.10:5060", "198.51.100.5:5070");

	return stage_packet(&t, span_from_str(payload), room);
}

static size_t make6(const char *payload)
{
	struct tuple t = tuple("[fd00:1::10]:5060", "[2001:db8::5]:5070");

	return stage_packet(&t, span_from_str(payload), room);
}

static enum packet_status parse(size_t len)
{
	return packet_parse(guard_place(0, room, len), len, &pkt);
}

static void test_udp(void **state)
{
	struct tuple t;

	(void)state;
	t = tuple("192.168.1.10:5060", "198.51.100.5:5070");
	assert_int_equal(parse(make4("hello")), PACKET_OK);
	assert_true(tuple_eq(&pkt.tuple, &t));
	assert_true(span_eq(pkt.payload, SPAN("hello")));
	assert_int_equal(packet_header_len(&pkt), 28);
	t = tuple("[fd00:1::10]:5060", "[2001:db8::5]:5070");
	assert_int_equal(parse(make6("hello")), PACKET_OK);
	assert_true(tuple_eq(&pkt.tuple, &t));
	assert_true(span_eq(pkt.payload, SPAN("hello")));
	assert_int_equal(packet_header_len(&pkt), 48);
	assert_int_equal(parse(make4("")), PACKET_OK);
	assert_int_equal(pkt.payload.len, 0);
	assert_non_null(pkt.payload.ptr);
}

static void test_every_truncation(void **state)
{
	size_t len = make4("hello");

	(void)state;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(parse(i), PACKET_BAD);
	len = make6("hello");
	for (size_t i = 0; i < len; i++)
		assert_int_equal(parse(i), PACKET_BAD);
}

/* Ethernet pads short frames; the padding is no payload */
static void test_padding(void **state)
{
	size_t len = make4("x");

	(void)state;
	memset(room + len, 'P', 20);
	assert_int_equal(parse(len + 20), PACKET_OK);
	assert_true(span_eq(pkt.payload, SPAN("x")));
	len = make6("x");
	memset(room + len, 'P', 20);
	assert_int_equal(parse(len + 20), PACKET_OK);
	assert_true(span_eq(pkt.payload, SPAN("x")));
}

static void test_ip_options(void **state)
{
	size_t len = make4("hello");

	(void)state;
	memmove(room + 32, room + 20, len - 20);
	memset(room + 20, 1, 12); /* NOPs */
	room[0] = 0x48;
	room[3] = (uint8_t)(len + 12);
	assert_int_equal(parse(len + 12), PACKET_OK);
	assert_true(span_eq(pkt.payload, SPAN("hello")));
	assert_int_equal(packet_header_len(&pkt), 40);
	room[0] = 0x4f; /* 60 bytes of header: more than there is */
	assert_int_equal(parse(len + 12), PACKET_BAD);
	room[0] = 0x44; /* less than a header */
	assert_int_equal(parse(len + 12), PACKET_BAD);
}

static void test_contradictions(void **state)
{
	size_t len = make4("hello");

	(void)state;
	room[25] = 7; /* UDP length below its header's */
	assert_int_equal(parse(len), PACKET_BAD);
	room[25] = 14; /* and beyond the packet */
	assert_int_equal(parse(len), PACKET_BAD);
	room[25] = 10; /* bytes behind the datagram */
	assert_int_equal(parse(len), PACKET_OK);
	assert_true(span_eq(pkt.payload, SPAN("he")));
	make4("hello");
	room[3] = 19; /* IP length below its header's */
	assert_int_equal(parse(len), PACKET_BAD);
	make4("hello");
	room[0] = 0x55;
	assert_int_equal(parse(len), PACKET_BAD);
}

static void test_others(void **state)
{
	size_t len = make4("hello");

	(void)state;
	room[6] = 0x20; /* more fragments */
	assert_int_equal(parse(len), PACKET_OTHER);
	room[6] = 0x00;
	room[7] = 0x01; /* a later fragment */
	assert_int_equal(parse(len), PACKET_OTHER);
	room[6] = 0x80; /* the reserved bit is no fragment */
	room[7] = 0x00;
	assert_int_equal(parse(len), PACKET_OK);
	make4("hello");
	room[9] = IPPROTO_ICMP;
	assert_int_equal(parse(len), PACKET_OTHER);
	len = make6("hello");
	room[6] = IPPROTO_FRAGMENT;
	assert_int_equal(parse(len), PACKET_OTHER);
	room[6] = IPPROTO_NONE;
	assert_int_equal(parse(len), PACKET_OTHER);
}

static void test_tcp(void **state)
{
	struct tcphdr tcp = { .doff = 6 };
	size_t len = make4("------------------------hello");

	(void)state;
	room[9] = IPPROTO_TCP;
	tcp.source = htons(40000);
	tcp.dest = htons(5060);
	memcpy(room + 20, &tcp, sizeof(tcp));
	assert_int_equal(parse(len), PACKET_OK);
	assert_int_equal(pkt.tuple.proto, IPPROTO_TCP);
	assert_int_equal(pkt.tuple.src.port, 40000);
	assert_int_equal(pkt.tuple.dst.port, 5060);
	assert_int_equal(pkt.payload.len, len - 20 - 24);
	room[32] = 0x40; /* data offset below a header */
	assert_int_equal(parse(len), PACKET_BAD);
	room[32] = 0xf0; /* beyond the packet */
	assert_int_equal(parse(len), PACKET_BAD);
	room[32] = 0x50;
	room[3] = 39; /* 19 bytes of TCP */
	assert_int_equal(parse(len), PACKET_BAD);
}

/* Put one extension header of @units * 8 + 8 bytes before UDP */
static size_t extend(size_t len, uint8_t type, uint8_t units)
{
	size_t more = (units + 1u) * 8u;

	memmove(room + 40 + more, room + 40, len - 40);
	memset(room + 40, 0, more);
	room[40] = room[6];
	room[41] = units;
	room[6] = type;
	room[5] = (uint8_t)(len + more - 40);
	return len + more;
}

static void test_extensions(void **state)
{
	static const uint8_t types[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING,
					 IPPROTO_DSTOPTS };
	size_t len = make6("hello");

	(void)state;
	for (size_t i = 0; i < 3; i++)
		len = extend(len, types[i], (uint8_t)i);
	assert_int_equal(parse(len), PACKET_OK);
	assert_true(span_eq(pkt.payload, SPAN("hello")));
	assert_int_equal(pkt.tuple.dst.port, 5070);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(parse(i), PACKET_BAD);
	room[5] = 5; /* the packet ends in an extension */
	assert_int_equal(parse(len), PACKET_BAD);
	len = make6("hello");
	for (size_t i = 0; i < 9; i++)
		len = extend(len, IPPROTO_DSTOPTS, 0);
	assert_int_equal(parse(len), PACKET_OTHER);
	len = extend(make6("hello"), IPPROTO_DSTOPTS, 0);
	room[41] = 200;
	assert_int_equal(parse(len), PACKET_BAD);
}

static long finish_packet(size_t len)
{
	memcpy(out, pkt.data, packet_header_len(&pkt));
	return packet_finish(&pkt, out, len);
}

/* Replace the payload, and read the result again */
static size_t finish(size_t len, const char *payload)
{
	size_t n = strlen(payload);
	long total;

	assert_int_equal(parse(len), PACKET_OK);
	memcpy(out + packet_header_len(&pkt), payload, n);
	total = finish_packet(n);
	assert_int_equal(total, packet_header_len(&pkt) + n);
	assert_int_equal(packet_parse(out, (size_t)total, &pkt), PACKET_OK);
	assert_true(span_eq(pkt.payload, span_from_str(payload)));
	return (size_t)total;
}

static void test_finish(void **state)
{
	static const char *const texts[] = { "", "h", "hello", "hello, world",
					     "odd number of bytes....." };
	size_t n;

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		n = finish(make4("hello"), texts[i]);
		assert_true(stage_sums_ok(out, n));
		n = finish(make6("hello"), texts[i]);
		assert_true(stage_sums_ok(out, n));
	}
}

/* RFC 768: zero means that none was made */
static void test_no_checksum(void **state)
{
	size_t len = make4("hello");

	(void)state;
	room[26] = room[27] = 0;
	finish(len, "hello, world");
	assert_int_equal(out[26] | out[27], 0);
}

/* ... and a sum of zero is sent as all ones */
static void test_zero_sum(void **state)
{
	bool seen = false;

	(void)state;
	for (unsigned int i = 0; i < 0x10000 && !seen; i++) {
		char text[3] = { (char)(i >> 8 | 0x80), (char)(i | 0x80), 0 };

		text[0] = (char)(i >> 8);
		text[1] = (char)i;
		if (!text[0] || !text[1])
			continue;
		finish(make4("hello"), text);
		assert_true(out[26] || out[27]);
		seen = out[26] == 0xff && out[27] == 0xff;
	}
	assert_true(seen);
}

/* A packet that grew may be fragmented; one that did not is left alone */
static void test_dont_fragment(void **state)
{
	uint16_t id, next;
	size_t n;

	(void)state;
	finish(make4("hello"), "hellp");
	assert_int_equal(out[6], 0x40);
	assert_int_equal(out[4] | out[5], 0);
	finish(make4("hello"), "hell");
	assert_int_equal(out[6], 0x40);
	n = finish(make4("hello"), "hello!");
	assert_int_equal(out[6], 0);
	memcpy(&id, out + 4, 2);
	assert_true(id);
	assert_true(stage_sums_ok(out, n));
	finish(make4("hello"), "hello!");
	memcpy(&next, out + 4, 2);
	assert_true(next && next != id);
	/* An identification that is there is kept */
	n = make4("hello");
	room[4] = 0x12;
	room[5] = 0x34;
	finish(n, "hello!");
	assert_int_equal(out[4] << 8 | out[5], 0x1234);
	/* No DF: nothing to take away */
	n = make4("hello");
	room[6] = 0;
	finish(n, "hello!");
	assert_int_equal(out[4] | out[5] | out[6], 0);
}

static void test_too_big(void **state)
{
	(void)state;
	parse(make4("hello"));
	assert_int_equal(finish_packet(65507), 65535);
	assert_int_equal(finish_packet(65508), -EMSGSIZE);
	parse(make6("hello"));
	assert_int_equal(finish_packet(65527), 65575);
	assert_int_equal(finish_packet(65528), -EMSGSIZE);
}

/* The class changes, the bits of ECN beside it and the flow label do not */
static void test_dscp(void **state)
{
	size_t (*const make[])(const char *) = { make4, make6 };
	size_t len;

	(void)state;
	for (unsigned int i = 0; i < 2 * 64 * 4; i++) {
		uint8_t was = (uint8_t)(i * 37 % 64), to = i / 8 % 64;
		uint8_t ecn = i / 2 % 4;
		uint8_t before[sizeof(struct ip6_hdr)];

		len = make[i % 2]("hello");
		packet_set_dscp(room, was);
		assert_int_equal(packet_dscp(room), was);
		if (i % 2)
			room[1] |= (uint8_t)(ecn << 4 | 0xa);
		memcpy(before, room, sizeof(before));
		packet_set_dscp(room, to);
		assert_int_equal(packet_dscp(room), to);
		assert_true(stage_sums_ok(room, len));
		assert_int_equal(parse(len), PACKET_OK);
		packet_set_dscp(room, was);
		assert_memory_equal(room, before, sizeof(before));
	}
	/* Of IPv4: a sum that was wrong must not be made right */
	len = make4("hello");
	room[10] ^= 1;
	packet_set_dscp(room, 46);
	assert_false(stage_sums_ok(room, len));
	packet_set_dscp(room, 0);
	room[10] ^= 1;
	assert_true(stage_sums_ok(room, len));
	room[1] = 0xff;
	packet_set_dscp(room, 0);
	assert_int_equal(room[1], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_udp),
		cmocka_unit_test(test_every_truncation),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_ip_options),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_extensions),
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_no_checksum),
		cmocka_unit_test(test_zero_sum),
		cmocka_unit_test(test_dont_fragment),
		cmocka_unit_test(test_too_big),
		cmocka_unit_test(test_dscp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
