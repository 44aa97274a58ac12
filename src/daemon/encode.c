/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/encode.h"

#include <errno.h>
#include <resolv.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/span.h"

/* Longest text, as JSON has it: two bytes for one */
#define TEXT_MAX 2048

static const void *const_member(const struct field *f, const void *object)
{
	return (const char *)object + f->offset;
}

static void *member(const struct field *f, void *object)
{
	return (char *)object + f->offset;
}

/* ---- numbers ---- */

static uint64_t get_uint(const struct field *f, const void *from)
{
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	switch (f->size) {
	case 1:
		return *(const uint8_t *)from;
	case 2:
		memcpy(&v16, from, sizeof(v16));
		return v16;
	case 4:
		memcpy(&v32, from, sizeof(v32));
		return v32;
	default:
		memcpy(&v64, from, sizeof(v64));
		return v64;
	}
}

static void put_uint(const struct field *f, uint64_t v, void *to)
{
	uint8_t v8 = (uint8_t)v;
	uint16_t v16 = (uint16_t)v;
	uint32_t v32 = (uint32_t)v;

	switch (f->size) {
	case 1:
		memcpy(to, &v8, sizeof(v8));
		break;
	case 2:
		memcpy(to, &v16, sizeof(v16));
		break;
	case 4:
		memcpy(to, &v32, sizeof(v32));
		break;
	default:
		memcpy(to, &v, sizeof(v));
	}
}

static json_t *uint_encode(const struct encode *e, const struct field *f,
			   const void *from)
{
	uint64_t v = get_uint(f, from);

	(void)e;
	return v ? json_integer((json_int_t)v) : json_null();
}

static int uint_decode(struct encode *e, const struct field *f,
		       const json_t *json, void *to)
{
	json_int_t v = json_integer_value(json);
	uint64_t most = f->max	      ? f->max
			: f->size < 8 ? (1ull << 8 * f->size) - 1
				      : INT64_MAX;

	(void)e;
	if (!json_is_integer(json) || v < 0 || (uint64_t)v > most)
		return -EINVAL;
	put_uint(f, (uint64_t)v, to);
	return 0;
}

static json_t *time_encode(const struct encode *e, const struct field *f,
			   const void *from)
{
	uint64_t ms = get_uint(f, from);

	return ms ? json_integer((json_int_t)ms + e->offset_ms) : json_null();
}

/* What was before this machine started was at its start */
static int time_decode(struct encode *e, const struct field *f,
		       const json_t *json, void *to)
{
	json_int_t v = json_integer_value(json);
	uint64_t ms = 1;

	if (!json_is_integer(json) || v < 0)
		return -EINVAL;
	if (v > e->offset_ms)
		ms = (uint64_t)(v - e->offset_ms);
	put_uint(f, ms, to);
	return 0;
}

/* ---- text and bytes ---- */

static json_t *text_encode(const struct encode *e, const struct field *f,
			   const void *from)
{
	const unsigned char *text = from;
	char utf8[TEXT_MAX + 2];
	size_t n = 0;

	(void)e;
	for (size_t i = 0; i < f->size && text[i] && n < TEXT_MAX; i++) {
		if (text[i] < 0x80) {
			utf8[n++] = (char)text[i];
			continue;
		}
		utf8[n++] = (char)(0xc0 | text[i] >> 6);
		utf8[n++] = (char)(0x80 | (text[i] & 0x3f));
	}
	return n ? json_stringn_nocheck(utf8, n) : json_null();
}

static int text_decode(struct encode *e, const struct field *f,
		       const json_t *json, void *to)
{
	const unsigned char *utf8 = (const void *)json_string_value(json);
	size_t len = json_string_length(json), n = 0;
	char *text = to;

	(void)e;
	if (!utf8)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		unsigned int c = utf8[i];

		/* jansson has seen to it that it is UTF-8 */
		if (c >= 0xc4 || !c || n + 1 >= f->size)
			return -EINVAL;
		if (c >= 0xc0)
			c = (c & 3) << 6 | (utf8[++i] & 0x3f);
		text[n++] = (char)c;
	}
	text[n] = '\0';
	return 0;
}

static json_t *bytes_encode(const struct encode *e, const struct field *f,
			    const void *from)
{
	const struct span *bytes = from;
	size_t cap = (bytes->len + 2) / 3 * 4 + 1;
	json_t *json = NULL;
	char *text;
	int len;

	(void)e;
	(void)f;
	if (!bytes->len)
		return json_null();
	text = malloc(cap);
	if (!text)
		return NULL;
	len = b64_ntop((const void *)bytes->ptr, bytes->len, text, cap);
	if (len >= 0)
		json = json_stringn_nocheck(text, (size_t)len);
	free(text);
	return json;
}

static int bytes_decode(struct encode *e, const struct field *f,
			const json_t *json, void *to)
{
	const char *text = json_string_value(json);
	struct span *bytes = to;
	int len;

	if (!text)
		return -EINVAL;
	len = b64_pton(text, (unsigned char *)e->room + e->used,
		       e->cap - e->used);
	if (len < 0 || (uint64_t)len > f->max)
		return -EINVAL;
	*bytes = (struct span){ len ? e->room + e->used : NULL, (size_t)len };
	e->used += (size_t)len;
	return 0;
}

/* ---- addresses ---- */

static json_t *addr_encode(const struct encode *e, const struct field *f,
			   const void *from)
{
	char text[ADDR_TEXT_MAX];

	(void)e;
	(void)f;
	if (!addr_is_set(from))
		return json_null();
	addr_format(from, text);
	return json_string(text);
}

static int addr_decode(struct encode *e, const struct field *f,
		       const json_t *json, void *to)
{
	const char *text = json_string_value(json);

	(void)e;
	(void)f;
	return text ? addr_parse(span_from_str(text), to) : -EINVAL;
}

static const struct field endpoint_fields[] = {
	FIELD(ADDR, struct endpoint, addr),
	FIELD(UINT, struct endpoint, port),
	{ 0 },
};

static const struct field tuple_fields[] = {
	FIELD(ENDPOINT, struct tuple, src),
	FIELD(ENDPOINT, struct tuple, dst),
	FIELD(UINT, struct tuple, proto),
	{ 0 },
};

static bool is_empty(const json_t *json)
{
	return json_is_object(json) && !json_object_size(json);
}

static json_t *null_if_empty(json_t *json)
{
	if (!json || !is_empty(json))
		return json;
	json_decref(json);
	return json_null();
}

/* "192.0.2.1:5060". There are many, and an object takes several times as long
 */
static json_t *endpoint_encode(const struct encode *e, const struct field *f,
			       const void *from)
{
	const struct endpoint *end = from;
	char text[ENDPOINT_TEXT_MAX];

	(void)f;
	if (!addr_is_set(&end->addr))
		return null_if_empty(encode_struct(e, endpoint_fields, from));
	endpoint_format(end, text);
	return json_string_nocheck(text);
}

static int endpoint_decode(struct encode *e, const struct field *f,
			   const json_t *json, void *to)
{
	struct span text = { json_string_value(json),
			     json_string_length(json) };
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	struct endpoint *end = to;
	uint64_t port;

	(void)f;
	/* As it was written before */
	if (json_is_object(json))
		return decode_struct(e, endpoint_fields, json, to);
	if (!colon ||
	    span_to_uint(span_between(colon + 1, span_end(text)), UINT16_MAX,
			 &port) ||
	    addr_parse(span_between(text.ptr, colon), &end->addr))
		return -EINVAL;
	end->port = (uint16_t)port;
	return 0;
}

static json_t *tuple_encode(const struct encode *e, const struct field *f,
			    const void *from)
{
	(void)f;
	return null_if_empty(encode_struct(e, tuple_fields, from));
}

static int tuple_decode(struct encode *e, const struct field *f,
			const json_t *json, void *to)
{
	(void)f;
	return decode_struct(e, tuple_fields, json, to);
}

/* ---- structs ---- */

static unsigned int *count_of(const struct field *f, void *object)
{
	return (unsigned int *)(void *)((char *)object + f->count);
}

static json_t *list_encode(const struct encode *e, const struct field *f,
			   const void *object)
{
	unsigned int count = *count_of(f, (void *)object);
	json_t *list = json_array();

	for (unsigned int i = 0; list && i < count; i++) {
		const char *element =
			(const char *)const_member(f, object) + i * f->size;

		if (!json_array_append_new(
			    list, encode_struct(e, f->fields, element)))
			continue;
		json_decref(list);
		list = NULL;
	}
	return list;
}

static int list_decode(struct encode *e, const struct field *f,
		       const json_t *json, void *object)
{
	size_t count = json_array_size(json);

	if (!json_is_array(json) || count > f->max)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		char *element = (char *)member(f, object) + i * f->size;
		int err = decode_struct(e, f->fields, json_array_get(json, i),
					element);

		if (err)
			return err;
	}
	*count_of(f, object) = (unsigned int)count;
	return 0;
}

static json_t *struct_encode(const struct encode *e, const struct field *f,
			     const void *from)
{
	return encode_struct(e, f->fields, from);
}

static int struct_decode(struct encode *e, const struct field *f,
			 const json_t *json, void *to)
{
	return decode_struct(e, f->fields, json, to);
}

/* Of a list they get the whole object, else the member */
static const struct {
	json_t *(*encode)(const struct encode *e, const struct field *f,
			  const void *from);
	int (*decode)(struct encode *e, const struct field *f,
		      const json_t *json, void *to);
} kinds[] = {
	[FIELD_UINT] = { uint_encode, uint_decode },
	[FIELD_TIME] = { time_encode, time_decode },
	[FIELD_TEXT] = { text_encode, text_decode },
	[FIELD_BYTES] = { bytes_encode, bytes_decode },
	[FIELD_ADDR] = { addr_encode, addr_decode },
	[FIELD_ENDPOINT] = { endpoint_encode, endpoint_decode },
	[FIELD_TUPLE] = { tuple_encode, tuple_decode },
	[FIELD_LIST] = { list_encode, list_decode },
	[FIELD_STRUCT] = { struct_encode, struct_decode },
};

json_t *encode_struct(const struct encode *e, const struct field *fields,
		      const void *object)
{
	json_t *json = json_object();

	for (const struct field *f = fields; json && f->kind; f++) {
		const void *from = f->kind == FIELD_LIST
					   ? object
					   : const_member(f, object);
		json_t *value = kinds[f->kind].encode(e, f, from);

		if (json_is_null(value) ||
		    (json_is_array(value) && !json_array_size(value))) {
			json_decref(value);
			continue;
		}
		if (json_object_set_new_nocheck(json, f->name, value)) {
			json_decref(json);
			json = NULL;
		}
	}
	return json;
}

int decode_struct(struct encode *e, const struct field *fields,
		  const json_t *json, void *object)
{
	if (!json_is_object(json))
		return -EINVAL;
	for (const struct field *f = fields; f->kind; f++) {
		const json_t *value = json_object_get(json, f->name);
		void *to = f->kind == FIELD_LIST ? object : member(f, object);
		int err = value ? kinds[f->kind].decode(e, f, value, to) : 0;

		if (err)
			return err;
	}
	return 0;
}
