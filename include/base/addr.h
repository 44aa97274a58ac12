/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_BASE_ADDR_H
#define SIPALG_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

/** ADDR_TEXT_MAX - An address as text, brackets and NUL included */
#define ADDR_TEXT_MAX (INET6_ADDRSTRLEN + 2)
/** ENDPOINT_TEXT_MAX - "[address]:65535" and a NUL */
#define ENDPOINT_TEXT_MAX (ADDR_TEXT_MAX + 6)

/**
 * struct addr - An IPv4 or IPv6 address in one form
 * @byte:	Wire order; IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2); all zero
 *		is "none"
 *
 * One form for both families, so that tables, comparisons and rules exist
 * once. It and what is made of it below have no padding: they are hash keys.
 */
struct addr {
	uint8_t byte[16];
};

/**
 * struct endpoint - An address with a port
 * @addr:	Address
 * @port:	Host order; 0 where there is none
 */
struct endpoint {
	struct addr addr;
	uint16_t port;
};

/**
 * struct network - An address and a prefix length
 * @addr:	Network address, host bits zero
 * @bits:	0 to 128, counted in the mapped form (IPv4 /24 is 120)
 */
struct network {
	struct addr addr;
	uint8_t bits;
};

/**
 * struct tuple - One direction of a flow, as netfilter calls it
 * @src:	Source
 * @dst:	Destination
 * @proto:	IPPROTO_UDP or IPPROTO_TCP
 * @zero:	Always 0, so that equal tuples are equal bytes
 */
struct tuple {
	struct endpoint src, dst;
	uint8_t proto, zero;
};

_Static_assert(sizeof(struct endpoint) == 18, "a key has no padding");
_Static_assert(sizeof(struct tuple) == 38, "a key has no padding");

bool addr_is_set(const struct addr *a);
bool addr_is_v4(const struct addr *a);
bool addr_eq(const struct addr *a, const struct addr *b);

/** addr_is_unicast() - A host that media could go to: not 0.0.0.0, ::,
 * loopback, multicast or broadcast */
bool addr_is_unicast(const struct addr *a);

/** addr_family() - AF_INET or AF_INET6 */
int addr_family(const struct addr *a);

/** addr_from_v4() - From 4 bytes in wire order */
struct addr addr_from_v4(const void *bytes);
/** addr_from_v6() - From 16 bytes in wire order */
struct addr addr_from_v6(const void *bytes);

/**
 * addr_bytes() - Wire form
 * @len:	Set to 4 or 16
 *
 * Return: pointer into @a
 */
const uint8_t *addr_bytes(const struct addr *a, size_t *len);

/**
 * addr_parse() - Read an address: 192.0.2.1, 2001:db8::1 or [2001:db8::1]
 *
 * Return: 0; -EINVAL for anything else, names too
 * Source: RFC 3261 25.1 (IPv4address, IPv6reference)
 */
int addr_parse(struct span text, struct addr *out);

/**
 * addr_format() - Write an address, without brackets
 * @buf:	At least ADDR_TEXT_MAX bytes
 *
 * Return: bytes written, NUL not counted
 */
size_t addr_format(const struct addr *a, char *buf);

/** addr_format_host() - The same as a SIP host: IPv6 in brackets */
size_t addr_format_host(const struct addr *a, char *buf);

/** addr_is_private() - Of a range that nobody routes: RFC 1918, RFC 6598,
 * RFC 3927, RFC 4193, RFC 4291 link-local */
bool addr_is_private(const struct addr *a);

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b);

/**
 * endpoint_format() - "host:port", IPv6 in brackets
 * @buf:	At least ENDPOINT_TEXT_MAX bytes
 *
 * Return: bytes written, NUL not counted
 */
size_t endpoint_format(const struct endpoint *e, char *buf);

/**
 * endpoint_to_sockaddr() - For bind(2) and sendto(2)
 *
 * Return: length of what was written to @ss
 */
socklen_t endpoint_to_sockaddr(const struct endpoint *e,
			       struct sockaddr_storage *ss);

/** addr_from_sockaddr() - false if @sa is NULL or neither IPv4 nor IPv6 */
bool addr_from_sockaddr(const struct sockaddr *sa, struct addr *out);

/**
 * network_parse() - Read "192.0.2.0/24", "2001:db8::/32" or a single address
 *
 * Return: 0; -EINVAL, also where host bits are set
 */
int network_parse(struct span text, struct network *out);
bool network_contains(const struct network *n, const struct addr *a);
/** network_is_last() - All bits behind the prefix are set in @a */
bool network_is_last(const struct network *n, const struct addr *a);
/** network_format() - "addr/len"; @buf at least ENDPOINT_TEXT_MAX bytes */
size_t network_format(const struct network *n, char *buf);

bool tuple_eq(const struct tuple *a, const struct tuple *b);

/** tuple_reverse() - The other direction, without any translation */
struct tuple tuple_reverse(const struct tuple *t);

#endif
