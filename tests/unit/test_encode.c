/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every struct that is saved comes back as it was; nothing else is taken */
#include "daemon/encode.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/saved.h"

#define ROUNDS 200

static uint64_t state_of_dice = 1;
static union saved before, after;
static char bytes[IMAGE_BYTES_MAX], room[4 * IMAGE_BYTES_MAX];

static uint32_t dice(uint32_t n)
{
	state_of_dice = state_of_dice * 6364136223846793005ull + 1;
	return n ? (uint32_t)(state_of_dice >> 33) % n : 0;
}

static void fill(const struct field *fields, void *object);

static void fill_endpoint(struct endpoint *end)
{
	uint8_t v4[4] = { 192, 168, (uint8_t)dice(256), (uint8_t)dice(256) };
	uint8_t v6[16] = { 0x20, 1, [15] = (uint8_t)dice(256) };

	end->addr = dice(2) ? addr_from_v4(v4) : addr_from_v6(v6);
	end->port = (uint16_t)dice(65536);
}

static void fill_text(const struct field *f, char *to)
{
	uint32_t len = dice((uint32_t)f->size);

	for (uint32_t i = 0; i < len; i++)
		to[i] = (char)(1 + dice(255));
}

static void fill_list(const struct field *f, char *object)
{
	unsigned int count = dice((uint32_t)f->max + 1);

	if (count > 3 && dice(4))
		count = 3;
	memcpy(object + f->count, &count, sizeof(count));
	for (unsigned int i = 0; i < count; i++)
		fill(f->fields, object + f->offset + i * f->size);
}

static void fill_number(const struct field *f, char *to)
{
	uint64_t v = f->max ? dice((uint32_t)f->max + 1) : dice(UINT32_MAX);

	if (f->kind == FIELD_TIME)
		v = dice(2) ? 0 : 1 + dice(2000000);
	/* Little end first, as the machines are that this runs on */
	memcpy(to, &v, f->size);
}

static void fill(const struct field *fields, void *object)
{
	for (const struct field *f = fields; f->kind; f++) {
		char *to = (char *)object + f->offset;
		struct endpoint end;

		fill_endpoint(&end);
		if (!dice(5) || f->kind == FIELD_LIST) {
			if (f->kind == FIELD_LIST)
				fill_list(f, object);
		} else if (f->kind == FIELD_UINT || f->kind == FIELD_TIME) {
			fill_number(f, to);
		} else if (f->kind == FIELD_TEXT) {
			fill_text(f, to);
		} else if (f->kind == FIELD_ADDR) {
			memcpy(to, &end.addr, sizeof(end.addr));
		} else if (f->kind == FIELD_ENDPOINT) {
			memcpy(to, &end, sizeof(end));
		} else if (f->kind == FIELD_TUPLE) {
			struct tuple t = { .src = end, .proto = 17 };

			fill_endpoint(&t.dst);
			memcpy(to, &t, sizeof(t));
		} else if (f->kind == FIELD_BYTES) {
			uint32_t len = dice(2) ? dice(100) : dice(100000);

			*(struct span *)(void *)to =
				(struct span){ len ? bytes : NULL, len };
		} else {
			fill(f->fields, to);
		}
	}
}

/* Spans may lie elsewhere, but hold the same */
static void same_spans(const struct field *fields, char *a, char *b)
{
	for (const struct field *f = fields; f->kind; f++) {
		struct span *x = (void *)(a + f->offset);
		struct span *y = (void *)(b + f->offset);

		if (f->kind == FIELD_STRUCT)
			same_spans(f->fields, a + f->offset, b + f->offset);
		if (f->kind == FIELD_LIST) {
			for (size_t i = 0; i < f->max; i++)
				same_spans(f->fields,
					   a + f->offset + i * f->size,
					   b + f->offset + i * f->size);
		}
		if (f->kind != FIELD_BYTES)
			continue;
		assert_true(span_eq(*x, *y));
		*y = *x;
	}
}

static void round_trip(const struct saved_kind *kind)
{
	struct encode e = { .offset_ms = 1700000000000,
			    .room = room,
			    .cap = sizeof(room) };
	json_t *json, *again;
	char *text;

	memset(&before, 0, sizeof(before));
	memset(&after, 0, sizeof(after));
	fill(kind->fields, &before);
	json = encode_struct(&e, kind->fields, &before);
	assert_non_null(json);
	text = json_dumps(json, JSON_COMPACT);
	assert_non_null(text);
	again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(again);
	assert_int_equal(decode_struct(&e, kind->fields, again, &after), 0);
	same_spans(kind->fields, (char *)&before, (char *)&after);
	if (memcmp(&before, &after, sizeof(before)))
		fail_msg("%s: not the same: %.2000s", kind->name, text);
	json_decref(again);
	json_decref(json);
	free(text);
}

static void test_round_trips(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)dice(256);
	for (const struct saved_kind *k = saved_kinds; k->name; k++) {
		for (int i = 0; i < ROUNDS; i++)
			round_trip(k);
	}
}

/* ---- what is refused ---- */

struct pair {
	uint8_t small;
	bool flag;
	char text[4];
	uint64_t when;
	struct addr addr;
	struct endpoint end;
	struct span span;
	unsigned int count;
	struct {
		uint16_t n;
	} list[2];
};

static const struct field element_fields[] = {
	{ "n", FIELD_UINT, 0, 2, 0, NULL, 0 },
	{ 0 },
};

static const struct field pair_fields[] = {
	FIELD(UINT, struct pair, small),
	FIELD_FLAG(struct pair, flag),
	FIELD(TEXT, struct pair, text),
	FIELD(TIME, struct pair, when),
	FIELD(ADDR, struct pair, addr),
	FIELD(ENDPOINT, struct pair, end),
	FIELD_SPAN(struct pair, span, 4),
	FIELD_ARRAY(struct pair, list, count, element_fields),
	{ 0 },
};

static int decode(const char *text, struct pair *to)
{
	struct encode e = { .offset_ms = 1000,
			    .room = room,
			    .cap = sizeof(room) };
	json_t *json = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	int err;

	assert_non_null(json);
	memset(to, 0, sizeof(*to));
	err = decode_struct(&e, pair_fields, json, to);
	json_decref(json);
	return err;
}

static void test_taken(void **state)
{
	struct pair p;

	(void)state;
	assert_int_equal(decode("{}", &p), 0);
	assert_int_equal(decode("{\"other\": [1]}", &p), 0);
	assert_int_equal(
		decode("{\"small\": 255, \"flag\": 1, \"text\": \"abc\", "
		       "\"list\": [{\"n\": 1}, {\"n\": 65535}], "
		       "\"span\": \"AAECAw==\", \"when\": 1500}",
		       &p),
		0);
	assert_int_equal(p.small, 255);
	assert_true(p.flag);
	assert_string_equal(p.text, "abc");
	assert_int_equal(p.count, 2);
	assert_int_equal(p.list[1].n, 65535);
	assert_int_equal(p.span.len, 4);
	assert_int_equal(p.when, 500);
	assert_int_equal(decode("{\"end\": \"[2001:db8::1]:5060\"}", &p), 0);
	assert_int_equal(p.end.port, 5060);
	assert_int_equal(decode("{\"end\": \"192.0.2.1:0\"}", &p), 0);
	assert_true(addr_is_v4(&p.end.addr));
	/* As it was written once */
	assert_int_equal(decode("{\"end\": {\"addr\": \"192.0.2.1\", "
				"\"port\": 5060}}",
				&p),
			 0);
	assert_int_equal(p.end.port, 5060);
	/* Before the machine was started */
	assert_int_equal(decode("{\"when\": 3}", &p), 0);
	assert_int_equal(p.when, 1);
}

static void test_refused(void **state)
{
	static const char *const wrong[] = {
		"[]",
		"7",
		"{\"small\": 256}",
		"{\"end\": \"\"}",
		"{\"end\": \":5060\"}",
		"{\"end\": \"192.0.2.1\"}",
		"{\"end\": \"192.0.2.1:\"}",
		"{\"end\": \"192.0.2.1:65536\"}",
		"{\"end\": \"192.0.2:5060\"}",
		"{\"small\": -1}",
		"{\"small\": 1.0}",
		"{\"small\": \"1\"}",
		"{\"flag\": 2}",
		"{\"flag\": true}",
		"{\"text\": \"abcd\"}",
		"{\"text\": \"\\u0000\"}",
		"{\"text\": \"\\u0100\"}",
		"{\"text\": 1}",
		"{\"when\": -1}",
		"{\"when\": \"now\"}",
		"{\"addr\": \"192.168.1\"}",
		"{\"addr\": 1}",
		"{\"end\": \"192.168.1.1:x\"}",
		"{\"end\": {\"port\": 65536}}",
		"{\"end\": {\"addr\": \"x\"}}",
		"{\"span\": \"AAECAwQ=\"}",
		"{\"span\": \"A\"}",
		"{\"span\": \"????\"}",
		"{\"span\": {}}",
		"{\"list\": {}}",
		"{\"list\": [1]}",
		"{\"list\": [{}, {}, {}]}",
		"{\"list\": [{\"n\": 65536}]}",
	};
	struct pair p;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		if (decode(wrong[i], &p) != -EINVAL)
			fail_msg("taken: %s", wrong[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
