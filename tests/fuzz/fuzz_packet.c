/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any packets, in sequence, from both sides. Input: records of a control byte
 * (bits 0-1 side, 2-7 seconds that pass before, squared), two bytes of length,
 * and so many bytes from the IP header on.
 *
 * Nothing may crash; a packet that was changed must be a right packet of the
 * same flow, and SIP in the same shape.
 */
#include "../unit/stage.h"

static struct message was, is;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The rewritten message has the same fields, and is framed as rightly */
static void check_message(struct span before, struct span after)
{
	stage_need(message_parse(before, &was) == MESSAGE_OK);
	stage_need(message_parse(after, &is) == MESSAGE_OK);
	stage_need(was.count == is.count && was.method == is.method &&
		   was.status == is.status);
	for (unsigned int i = 0; i < was.count; i++)
		stage_need(was.line[i].id == is.line[i].id);
	/* What lies beyond the body is not ours to change */
	stage_need(before.len - was.body.len -
			   (size_t)(was.body.ptr - before.ptr) ==
		   after.len - is.body.len - (size_t)(is.body.ptr - after.ptr));
}

static void check(const struct stage *st, const uint8_t *data, size_t len)
{
	struct packet before, after;
	struct udphdr udp;

	stage_need(st->d.reason < COUNTER_COUNT);
	if (!st->d.data)
		return;
	stage_need(!st->d.drop);
	stage_need(packet_parse(data, len, &before) == PACKET_OK);
	stage_need(packet_parse(st->d.data, st->d.len, &after) == PACKET_OK);
	stage_need(tuple_eq(&before.tuple, &after.tuple));
	/* What is in its segments is for tests/unit/test_stream_model.c */
	if (before.tuple.proto == IPPROTO_TCP) {
		stage_need(stage_sums_ok(st->d.data, st->d.len));
		return;
	}
	stage_need(st->d.reason == COUNTER_rewritten);
	memcpy(&udp, data + before.l4, sizeof(udp));
	stage_need(!udp.check || stage_sums_ok(st->d.data, st->d.len));
	check_message(before.payload, after.payload);
}

static void check_sent(void *arg, const void *packet, size_t len)
{
	(void)arg;
	stage_need(stage_sums_ok(packet, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stage *st = stage_open();

	st->sim.sent = check_sent;
	while (size > 3) {
		size_t len = (size_t)data[1] << 8 | data[2];
		unsigned int wait = data[0] >> 2;
		uint8_t *packet;

		if (len > size - 3)
			len = size - 3;
		stage_wait(st, wait * wait);
		/* An own allocation, so that one byte too many is seen */
		packet = malloc(len ? len : 1);
		stage_need(packet != NULL);
		memcpy(packet, data + 3, len);
		st->d = alg_packet(st->alg, packet, len,
				   (enum nat_side)((data[0] & 3) % 3),
				   st->now_ms);
		stage_need(!memcmp(packet, data + 3, len));
		check(st, packet, len);
		free(packet);
		data += 3 + len;
		size -= 3 + len;
	}
	stage_wait(st, 300);
	stage_close(st);
	return 0;
}
