/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define V4_OFFSET 12

static const uint8_t zero[16],
	v4_prefix[V4_OFFSET] = { [10] = 0xff, [11] = 0xff };

bool addr_is_set(const struct addr *a)
{
	return memcmp(a->byte, zero, sizeof(zero)) != 0;
}

bool addr_is_v4(const struct addr *a)
{
	return !memcmp(a->byte, v4_prefix, sizeof(v4_prefix));
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return !memcmp(a->byte, b->byte, sizeof(a->byte));
}

bool addr_is_unicast(const struct addr *a)
{
	const uint8_t *v4 = a->byte + V4_OFFSET;

	if (addr_is_v4(a))
		return v4[0] != 0 && v4[0] != 127 && v4[0] < 224;
	/* ::/127 is "none" and loopback; ff00::/8 is multicast */
	return a->byte[0] != 0xff &&
	       (memcmp(a->byte, zero, 15) || a->byte[15] > 1);
}

bool addr_is_private(const struct addr *a)
{
	static const struct {
		uint8_t first, mask2, second;
	} v4[] = {
		{ 10, 0, 0 },	   { 172, 0xf0, 16 },  { 192, 0xff, 168 },
		{ 100, 0xc0, 64 }, { 169, 0xff, 254 },
	};
	const uint8_t *b = a->byte + V4_OFFSET;

	if (!addr_is_v4(a))
		return (a->byte[0] & 0xfe) == 0xfc ||
		       (a->byte[0] == 0xfe && (a->byte[1] & 0xc0) == 0x80);
	for (unsigned int i = 0; i < sizeof(v4) / sizeof(*v4); i++) {
		if (b[0] == v4[i].first && (b[1] & v4[i].mask2) == v4[i].second)
			return true;
	}
	return false;
}

int addr_family(const struct addr *a)
{
	return addr_is_v4(a) ? AF_INET : AF_INET6;
}

struct addr addr_from_v4(const void *bytes)
{
	struct addr a = { .byte = { [10] = 0xff, [11] = 0xff } };

	memcpy(a.byte + V4_OFFSET, bytes, 4);
	return a;
}

struct addr addr_from_v6(const void *bytes)
{
	struct addr a;

	memcpy(a.byte, bytes, sizeof(a.byte));
	return a;
}

const uint8_t *addr_bytes(const struct addr *a, size_t *len)
{
	*len = addr_is_v4(a) ? 4 : 16;
	return a->byte + (addr_is_v4(a) ? V4_OFFSET : 0);
}

/* Dotted quad, as strict as inet_pton(), which took most of addr_parse()'s
 * time: four decimal numbers to 255, without leading zeros
 */
static bool parse_v4(struct span text, uint8_t *bytes)
{
	unsigned int value = 0, digits = 0, parts = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned int digit = (unsigned char)text.ptr[i] - '0';

		if (text.ptr[i] == '.' && digits && parts < 3) {
			bytes[parts++] = (uint8_t)value;
			value = digits = 0;
		} else if (digit <= 9 && (!digits || value)) {
			value = value * 10 + digit;
			digits++;
			if (value > 255)
				return false;
		} else {
			return false;
		}
	}
	bytes[parts] = (uint8_t)value;
	return parts == 3 && digits;
}

int addr_parse(struct span text, struct addr *out)
{
	char buf[INET6_ADDRSTRLEN];
	uint8_t bytes[16];

	if (parse_v4(text, bytes)) {
		*out = addr_from_v4(bytes);
		return 0;
	}
	if (!span_chr(text, ':'))
		return -EINVAL;
	if (text.len >= 2 && text.ptr[0] == '[' &&
	    text.ptr[text.len - 1] == ']') {
		text.ptr++;
		text.len -= 2;
	}
	if (span_copy(buf, sizeof(buf), text) >= sizeof(buf) ||
	    strlen(buf) != text.len)
		return -EINVAL;
	if (inet_pton(AF_INET6, buf, bytes) != 1)
		return -EINVAL;
	*out = addr_from_v6(bytes);
	return 0;
}

/* In decimal, at a tenth of snprintf()'s time; no NUL */
static char *format_uint(uint16_t n, char *p)
{
	if (n >= 10)
		p = format_uint(n / 10, p);
	*p++ = (char)('0' + n % 10);
	return p;
}

static size_t format_v4(const uint8_t *bytes, char *buf)
{
	char *p = buf;

	for (int i = 0; i < 4; i++) {
		p = format_uint(bytes[i], p);
		*p++ = i < 3 ? '.' : '\0';
	}
	return (size_t)(p - buf - 1);
}

size_t addr_format(const struct addr *a, char *buf)
{
	size_t len;
	const uint8_t *bytes = addr_bytes(a, &len);

	if (addr_is_v4(a))
		return format_v4(bytes, buf);
	inet_ntop(addr_family(a), bytes, buf, ADDR_TEXT_MAX);
	return strlen(buf);
}

size_t addr_format_host(const struct addr *a, char *buf)
{
	size_t n;

	if (addr_is_v4(a))
		return addr_format(a, buf);
	buf[0] = '[';
	n = addr_format(a, buf + 1) + 1;
	buf[n++] = ']';
	buf[n] = '\0';
	return n;
}

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && addr_eq(&a->addr, &b->addr);
}

size_t endpoint_format(const struct endpoint *e, char *buf)
{
	size_t n = addr_format_host(&e->addr, buf);
	char *end;

	buf[n++] = ':';
	end = format_uint(e->port, buf + n);
	*end = '\0';
	return (size_t)(end - buf);
}

/* The bits of byte @i of an address that lie inside a /@bits prefix */
static uint8_t prefix_mask(unsigned int bits, unsigned int i)
{
	if (bits >= (i + 1) * 8)
		return 0xff;
	if (bits <= i * 8)
		return 0;
	return (uint8_t)(0xff << (8 - (bits - i * 8)));
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e,
			       struct sockaddr_storage *ss)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ss;
	size_t len;
	const uint8_t *bytes = addr_bytes(&e->addr, &len);

	memset(ss, 0, sizeof(*ss));
	ss->ss_family = (sa_family_t)addr_family(&e->addr);
	if (addr_is_v4(&e->addr)) {
		memcpy(&v4->sin_addr, bytes, len);
		v4->sin_port = htons(e->port);
		return sizeof(*v4);
	}
	memcpy(&v6->sin6_addr, bytes, len);
	v6->sin6_port = htons(e->port);
	return sizeof(*v6);
}

bool addr_from_sockaddr(const struct sockaddr *sa, struct addr *out)
{
	const struct sockaddr_in *v4 = (const void *)sa;
	const struct sockaddr_in6 *v6 = (const void *)sa;

	if (sa && sa->sa_family == AF_INET)
		*out = addr_from_v4(&v4->sin_addr);
	else if (sa && sa->sa_family == AF_INET6)
		*out = addr_from_v6(&v6->sin6_addr);
	else
		return false;
	return true;
}

int network_parse(struct span text, struct network *out)
{
	const char *slash = span_chr(text, '/');
	struct span host = text;
	unsigned int width;
	uint64_t bits;

	if (slash)
		host = span_between(text.ptr, slash);
	if (addr_parse(host, &out->addr))
		return -EINVAL;
	width = addr_is_v4(&out->addr) ? 32 : 128;
	bits = width;
	if (slash &&
	    span_to_uint(span_between(slash + 1, span_end(text)), width, &bits))
		return -EINVAL;
	out->bits = (uint8_t)(bits + 128 - width);
	for (unsigned int i = 0; i < 16; i++) {
		if (out->addr.byte[i] & ~prefix_mask(out->bits, i))
			return -EINVAL;
	}
	return 0;
}

bool network_contains(const struct network *n, const struct addr *a)
{
	for (unsigned int i = 0; i < 16; i++) {
		if ((n->addr.byte[i] ^ a->byte[i]) & prefix_mask(n->bits, i))
			return false;
	}
	return true;
}

bool network_is_last(const struct network *n, const struct addr *a)
{
	for (unsigned int i = 0; i < 16; i++) {
		if ((a->byte[i] | prefix_mask(n->bits, i)) != 0xff)
			return false;
	}
	return true;
}

size_t network_format(const struct network *n, char *buf)
{
	size_t len = addr_format(&n->addr, buf);
	unsigned int bits = n->bits - (addr_is_v4(&n->addr) ? 96u : 0u);

	return len + (size_t)snprintf(buf + len, 5, "/%u", bits);
}

bool tuple_eq(const struct tuple *a, const struct tuple *b)
{
	return !memcmp(a, b, sizeof(*a));
}

struct tuple tuple_reverse(const struct tuple *t)
{
	return (struct tuple){ .src = t->dst,
			       .dst = t->src,
			       .proto = t->proto };
}
