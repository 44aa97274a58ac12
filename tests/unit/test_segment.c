/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/segment.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "stage.h"

static uint8_t room[PACKET_MAX + 200], out[PACKET_MAX + 200];
static struct packet pkt;
static struct segment seg;

/* ---- packets, made and checked without the code under test ---- */

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static uint32_t sum(const uint8_t *p, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i < len; i++)
		s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return s;
}

static bool is_sum_right(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s == 0xffff;
}

/* Lengths and checksums of a packet, by the RFCs */
static void check_packet(const uint8_t *p, size_t len, size_t l4)
{
	uint32_t s = (uint32_t)(len - l4) + IPPROTO_TCP;

	if (p[0] >> 4 == 4) {
		assert_int_equal(p[2] << 8 | p[3], len);
		assert_true(is_sum_right(sum(p, (p[0] & 15u) * 4)));
		s += sum(p + 12, 8);
	} else {
		assert_int_equal(p[4] << 8 | p[5], len - 40);
		s += sum(p + 8, 32);
	}
	assert_true(is_sum_right(s + sum(p + l4, len - l4)));
}

/* @skip: IP options, or an extension header of IPv6, bytes */
static size_t ip_header(bool v4, size_t skip, size_t len)
{
	memset(room, 0, 60 + skip);
	if (v4) {
		room[0] = (uint8_t)(0x45 + skip / 4);
		room[1] = 0xb9; /* EF, ECN capable */
		put16(room + 2, 20 + skip + len);
		room[6] = 0x40; /* DF */
		room[8] = 60;
		room[9] = IPPROTO_TCP;
		memcpy(room + 12, (uint8_t[]){ 192, 0, 2, 1, 192, 0, 2, 2 }, 8);
		memset(room + 20, 1, skip);
		return 20 + skip;
	}
	room[0] = 0x6b;
	room[1] = 0x90;
	put16(room + 4, skip + len);
	room[6] = skip ? IPPROTO_DSTOPTS : IPPROTO_TCP;
	room[7] = 60;
	room[8] = room[24] = 0x20;
	room[9] = room[25] = 0x01;
	room[23] = 1;
	room[39] = 2;
	if (skip) {
		room[40] = IPPROTO_TCP;
		room[41] = (uint8_t)(skip / 8 - 1);
		room[42] = 1; /* PadN */
		room[43] = (uint8_t)(skip - 4);
	}
	return 40 + skip;
}

/* A packet in @room; @options are padded. Return: its length */
static size_t make(bool v4, size_t skip, uint8_t flags, struct span options,
		   struct span data)
{
	size_t pad = (options.len + 3) & ~(size_t)3;
	size_t l4 = ip_header(v4, skip, 20 + pad + data.len);
	uint8_t *tcp = room + l4;

	memset(tcp, 0, 20 + pad);
	put16(tcp, 5060);
	put16(tcp + 2, 5061);
	put32(tcp + 4, 0xfffffff0);
	put32(tcp + 8, 0x12345678);
	tcp[12] = (uint8_t)((20 + pad) / 4 << 4);
	tcp[13] = flags;
	put16(tcp + 14, 0xabcd);
	put16(tcp + 18, 7);
	if (options.len)
		memcpy(tcp + 20, options.ptr, options.len);
	if (data.len)
		memcpy(tcp + 20 + pad, data.ptr, data.len);
	return l4 + 20 + pad + data.len;
}

static int parse(size_t len)
{
	assert_int_equal(packet_parse(guard_place(0, room, len), len, &pkt),
			 PACKET_OK);
	return segment_parse(&pkt, &seg);
}

static int parse_options(uint8_t flags, struct span options)
{
	return parse(make(true, 0, flags, options, SPAN("")));
}

/* Rewrite into @out; checked */
static size_t rewrite(void)
{
	long len = segment_rewrite(&pkt, &seg, out);

	assert_true(len > 0);
	check_packet(out, (size_t)len, pkt.l4);
	return (size_t)len;
}

/* ---- reading ---- */

static void test_header(void **state)
{
	(void)state;
	for (int v4 = 0; v4 < 2; v4++) {
		assert_int_equal(parse(make(v4, 0, TH_ACK | TH_PUSH | TH_FIN,
					    SPAN(""), SPAN("hello"))),
				 0);
		assert_int_equal(seg.seq, 0xfffffff0);
		assert_int_equal(seg.ack, 0x12345678);
		assert_int_equal(seg.window, 0xabcd);
		assert_int_equal(seg.flags, TH_ACK | TH_PUSH | TH_FIN);
		assert_true(span_eq(seg.data, SPAN("hello")));
		assert_int_equal(seg.options, 0);
		assert_int_equal(segment_len(&seg), 6);
		assert_false(seg.stamped || seg.sealed || seg.scaled ||
			     seg.sack_ok || seg.sacks || seg.mss);
	}
}

static void test_syn_options(void **state)
{
	struct span all = SPAN("\x02\x04\x05\xb4\x04\x02\x08\x0a\0\0\x01\x02"
			       "\0\0\x03\x04\x01\x03\x03\x07");

	(void)state;
	assert_int_equal(parse_options(TH_SYN, all), 0);
	assert_int_equal(seg.mss, 1460);
	assert_true(seg.sack_ok && seg.stamped && seg.scaled);
	assert_int_equal(seg.wscale, 7);
	assert_int_equal(seg.ts_val, 0x102);
	assert_int_equal(seg.ts_ecr, 0x304);
	assert_int_equal(seg.options, 20);
	assert_int_equal(segment_len(&seg), 1);
	/* Later they mean nothing, but for the timestamp */
	assert_int_equal(parse_options(TH_ACK, all), 0);
	assert_true(seg.stamped);
	assert_false(seg.mss || seg.sack_ok || seg.scaled);
	/* RFC 7323 2.3: no more than 14 */
	assert_int_equal(parse_options(TH_SYN, SPAN("\x03\x03\xff")), 0);
	assert_int_equal(seg.wscale, 14);
}

static void test_sack(void **state)
{
	static char four[34] = { 5, 34 };

	(void)state;
	for (int i = 0; i < 8; i++)
		put32((uint8_t *)four + 2 + 4 * i, 0x1000u * (unsigned int)i);
	assert_int_equal(parse_options(TH_ACK, (struct span){ four, 34 }), 0);
	assert_int_equal(seg.sacks, 4);
	assert_int_equal(seg.sack[0].end, 0x1000);
	assert_int_equal(seg.sack[3].first, 0x6000);
	assert_int_equal(seg.sack[3].end, 0x7000);
	/* A block and a half */
	four[1] = 14;
	assert_int_equal(parse_options(TH_ACK, (struct span){ four, 14 }), 0);
	assert_int_equal(seg.sacks, 1);
	four[1] = 34;
}

static void test_sealed(void **state)
{
	static char md5[18] = { 19, 18 };

	(void)state;
	assert_int_equal(parse_options(TH_ACK, (struct span){ md5, 18 }), 0);
	assert_true(seg.sealed);
	assert_int_equal(parse_options(TH_SYN, SPAN("\x1d\x04\x01\x01")), 0);
	assert_true(seg.sealed); /* TCP-AO */
	assert_int_equal(parse_options(TH_ACK, SPAN("\x1e\x04\x20\x01")), 0);
	assert_true(seg.sealed); /* multipath: data sequence signal */
	/* The offer of it is only not passed on */
	assert_int_equal(parse_options(TH_SYN, SPAN("\x1e\x04\x01\x81")), 0);
	assert_false(seg.sealed);
}

static void test_malformed(void **state)
{
	static const struct span bad[] = {
		{ "\x02\x05\x05\xb4", 4 }, /* longer than there is */
		{ "\x08\x00\x01\x01", 4 }, /* less than kind and length */
		{ "\x08\x01\x01\x01", 4 },
		{ "\x01\x01\x01\x08", 4 }, /* no length */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(parse_options(TH_SYN, bad[i]), -EINVAL);
	/* Of a length that is not theirs: as if they were not there */
	assert_int_equal(parse_options(TH_SYN, SPAN("\x02\x03\x05\x03\x02\x04"
						    "\x03\x01\x08\x04\0\0")),
			 0);
	assert_false(seg.mss || seg.scaled || seg.sack_ok || seg.stamped);
	/* Behind the end of the list anything may stand */
	assert_int_equal(parse_options(TH_SYN, SPAN("\x01\0\x08\x01")), 0);
	assert_int_equal(parse_options(TH_SYN, SPAN("\xfe\x04\x01\x02")), 0);
}

static void test_path(void **state)
{
	struct segment_path path;

	(void)state;
	parse(make(true, 0, TH_ACK, SPAN(""), SPAN("")));
	segment_path_read(&pkt, &path);
	assert_int_equal(path.ttl, 59);
	assert_int_equal(path.tos, 0xb8); /* no ECN: RFC 3168 6.1.5 */
	parse(make(false, 0, TH_ACK, SPAN(""), SPAN("")));
	segment_path_read(&pkt, &path);
	assert_int_equal(path.ttl, 59);
	assert_int_equal(path.tos, 0xb8);
	make(true, 0, TH_ACK, SPAN(""), SPAN(""));
	room[8] = 1;
	parse(40);
	segment_path_read(&pkt, &path);
	assert_int_equal(path.ttl, 1);
}

/* ---- a packet as it came, saying something else ---- */

/* As it came but for checksums, of which the test makes none */
static void test_same(void **state)
{
	static const struct span options[] = {
		{ "", 0 },
		{ "\x02\x04\x05\xb4\x01\x03\x03\x07", 8 },
		{ "\x01\x01\x08\x0a\0\0\0\1\0\0\0\2\xfe\x04xy", 16 },
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		for (int v4 = 0; v4 < 2; v4++) {
			size_t skip = 8 * (i % 2);
			size_t len = make(v4, skip, i == 1 ? TH_SYN : TH_ACK,
					  options[i], SPAN("data"));

			assert_int_equal(parse(len), 0);
			assert_int_equal(rewrite(), len);
			put16(out + pkt.l4 + 16, 0);
			put16(room + pkt.l4 + 18, 0); /* no URG */
			if (v4)
				put16(out + 10, 0);
			assert_memory_equal(out, room, len);
		}
	}
}

static void test_numbers(void **state)
{
	size_t len = make(true, 0, TH_ACK, SPAN(""), SPAN("data"));

	(void)state;
	parse(len);
	seg.seq = 0x01020304;
	seg.ack = 0x05060708;
	seg.window = 0x0a0b;
	seg.flags = TH_ACK | TH_FIN | TH_PUSH;
	seg.data = SPAN("something longer");
	assert_int_equal(rewrite(), len + 12);
	assert_int_equal(get32(out + 24), 0x01020304);
	assert_int_equal(get32(out + 28), 0x05060708);
	assert_int_equal(out[33], TH_ACK | TH_FIN | TH_PUSH);
	assert_int_equal(out[34] << 8 | out[35], 0x0a0b);
	assert_memory_equal(out + 40, "something longer", 16);
	/* It grew: who can send it as one packet must be found out (RFC 6864)
	 */
	assert_int_equal(out[6] & 0x40, 0);
	assert_true(out[4] || out[5]);
	/* Or nothing at all */
	seg.data = (struct span){ 0 };
	assert_int_equal(rewrite(), len - 4);
	assert_int_equal(out[6], 0x40);
}

/* A sender does not believe ICMP that quotes a number it has not used */
static void test_shifted(void **state)
{
	(void)state;
	parse(make(true, 0, TH_ACK, SPAN(""), SPAN("data")));
	seg.data = SPAN("dat");
	rewrite();
	assert_int_equal(out[6], 0x40);
	seg.seq++;
	rewrite();
	assert_int_equal(out[6], 0);
	assert_true(out[4] || out[5]);
	/* Nothing that is too long */
	seg.data = (struct span){ 0 };
	rewrite();
	assert_int_equal(out[6], 0x40);
}

static void test_urgent(void **state)
{
	(void)state;
	parse(make(true, 0, TH_ACK | TH_URG, SPAN(""), SPAN("data")));
	rewrite();
	assert_int_equal(out[39], 7);
	seg.flags = TH_ACK;
	rewrite();
	assert_int_equal(out[38] << 8 | out[39], 0);
}

static void test_clamp(void **state)
{
	struct span options = SPAN("\x01\x02\x04\x05\xb4\x01\x01\x01");

	(void)state;
	for (int v4 = 0; v4 < 2; v4++) {
		parse(make(v4, 16, TH_SYN, options, SPAN("")));
		seg.mss = 1396;
		rewrite();
		assert_memory_equal(out + pkt.l4 + 20,
				    "\x01\x02\x04\x05\x74\x01\x01\x01", 8);
	}
}

/* What refers to the numbers of another connection must not be agreed on */
static void test_multipath(void **state)
{
	(void)state;
	parse(make(true, 0, TH_SYN,
		   SPAN("\x02\x04\x05\xb4\x1e\x04\x01\x81\x04\x02"), SPAN("")));
	rewrite();
	assert_memory_equal(out + 40, "\x02\x04\x05\xb4\1\1\1\1\x04\x02", 10);
}

static void test_write_stamp(void **state)
{
	(void)state;
	parse(make(true, 0, TH_ACK, SPAN("\x08\x0a\0\0\0\1\0\0\0\2"),
		   SPAN("")));
	seg.ts_val = 0x11121314;
	seg.ts_ecr = 0x21222324;
	rewrite();
	assert_memory_equal(out + 40,
			    "\x08\x0a\x11\x12\x13\x14\x21\x22\x23\x24", 10);
}

static void test_write_sack(void **state)
{
	struct span three = SPAN("\x01\x01\x05\x1a\0\0\0\1\0\0\0\2\0\0\0\3"
				 "\0\0\0\4\0\0\0\5\0\0\0\6");

	(void)state;
	parse(make(true, 0, TH_ACK, three, SPAN("")));
	assert_int_equal(seg.sacks, 3);
	seg.sack[1] = (struct range){ 0x30, 0x40 };
	rewrite();
	assert_memory_equal(out + 40,
			    "\1\1\x05\x1a\0\0\0\1\0\0\0\2\0\0\0\x30"
			    "\0\0\0\x40\0\0\0\5\0\0\0\6",
			    28);
	seg.sacks = 1;
	rewrite();
	assert_memory_equal(out + 40,
			    "\1\1\x05\x0a\0\0\0\1\0\0\0\2\1\1\1\1\1\1\1\1"
			    "\1\1\1\1\1\1\1\1",
			    28);
	seg.sacks = 0;
	rewrite();
	for (int i = 0; i < 28; i++)
		assert_int_equal(out[40 + i], 1);
	assert_int_equal(
		segment_parse(
			&(struct packet){ .data = out,
					  .l4 = 20,
					  .payload = { (char *)out + 68, 0 } },
			&seg),
		0);
	assert_int_equal(seg.sacks, 0);
}

/* An empty SACK option, an odd one */
static void test_odd_sack(void **state)
{
	(void)state;
	parse(make(true, 0, TH_ACK, SPAN("\x05\x02\x05\x06\1\2\3\4"),
		   SPAN("")));
	assert_int_equal(seg.sacks, 0);
	rewrite();
	assert_memory_equal(out + 40, "\1\1\1\1\1\1\1\1", 8);
	/* One of two that had a block each: both say the same now */
	parse(make(true, 0, TH_ACK,
		   SPAN("\x05\x0a\0\0\0\1\0\0\0\2\x05\x0a\0\0\0\3\0\0\0\4"),
		   SPAN("")));
	assert_int_equal(seg.sacks, 2);
	rewrite();
}

static void test_too_long(void **state)
{
	static char data[PACKET_MAX];

	(void)state;
	for (int v4 = 0; v4 < 2; v4++) {
		size_t header = v4 ? 40 : 60;

		parse(make(v4, 0, TH_ACK, SPAN(""), SPAN("x")));
		seg.data = (struct span){ data, PACKET_MAX - header };
		assert_int_equal(rewrite(), PACKET_MAX);
		seg.data.len++;
		assert_int_equal(segment_rewrite(&pkt, &seg, out), -EMSGSIZE);
	}
}

/* ---- a packet of our own ---- */

static struct segment_path path_of(bool v4)
{
	struct segment_path path = { .ttl = 33, .tos = 0xb8 };

	path.tuple.src =
		stage_end(v4 ? "192.0.2.1:5060" : "[2001:db8::1]:5060");
	path.tuple.dst =
		stage_end(v4 ? "198.51.100.2:5061" : "[2001:db8::2]:5061");
	return path;
}

static void check_built(const struct segment_path *path, struct segment *was)
{
	size_t len;

	memset(out, 0xee, sizeof(out));
	len = segment_build(path, was, out);
	assert_true(len <= SEGMENT_HEADER + was->data.len);
	assert_int_equal(out[len], 0xee);
	assert_int_equal(packet_parse(out, len, &pkt), PACKET_OK);
	check_packet(out, len, pkt.l4);
	assert_true(endpoint_eq(&pkt.tuple.src, &path->tuple.src));
	assert_true(endpoint_eq(&pkt.tuple.dst, &path->tuple.dst));
	assert_int_equal(segment_parse(&pkt, &seg), 0);
	assert_int_equal(seg.seq, was->seq);
	assert_int_equal(seg.ack, was->ack);
	assert_int_equal(seg.window, was->window);
	assert_int_equal(seg.flags, was->flags);
	assert_int_equal(seg.stamped, was->stamped);
	assert_int_equal(seg.sacks, was->sacks);
	assert_memory_equal(seg.sack, was->sack,
			    was->sacks * sizeof(was->sack[0]));
	assert_true(span_eq(seg.data, was->data));
	assert_int_equal(seg.options % 4, 0);
}

static void test_build(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 32; i++) {
		struct segment_path path = path_of(i & 1);
		struct segment was = {
			.seq = 0xfedcba98,
			.ack = 0x89abcdef,
			.window = 0x7654,
			.flags = (uint8_t)(TH_ACK | (i & 2 ? TH_FIN : TH_PUSH)),
			.stamped = i & 4,
			.ts_val = 77,
			.ts_ecr = 88,
			.sacks = i / 8,
			.sack = { { 1, 2 }, { 3, 4 }, { 5, 6 } },
			.data = i & 2 ? SPAN("odd") : (struct span){ 0 },
		};

		check_built(&path, &was);
		if (was.stamped) {
			assert_int_equal(seg.ts_val, 77);
			assert_int_equal(seg.ts_ecr, 88);
		}
		if (i & 1) {
			assert_int_equal(out[8], 33);
			assert_int_equal(out[1], 0xb8);
			/* It may be fragmented, so it has a number */
			assert_int_equal(out[6] & 0x40, 0);
		} else {
			assert_int_equal(out[7], 33);
			assert_int_equal(out[0], 0x6b);
			assert_int_equal(out[1], 0x80);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_syn_options),
		cmocka_unit_test(test_sack),
		cmocka_unit_test(test_sealed),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_shifted),
		cmocka_unit_test(test_urgent),
		cmocka_unit_test(test_clamp),
		cmocka_unit_test(test_multipath),
		cmocka_unit_test(test_write_stamp),
		cmocka_unit_test(test_write_sack),
		cmocka_unit_test(test_odd_sack),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_build),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
