/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_PACKET_H
#define SIPALG_SIP_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"

/** PACKET_MAX - The largest IP packet there is, bytes */
#define PACKET_MAX 65535

enum packet_status {
	PACKET_OK,
	PACKET_OTHER, /* neither UDP nor TCP, or a fragment */
	PACKET_BAD, /* lengths that contradict each other */
};

/**
 * struct packet - One IP packet, read
 * @data:	The IP header's first byte, borrowed
 * @tuple:	Addresses and ports as they stand in the headers
 * @payload:	What UDP or TCP carries
 * @l4:		Offset of the UDP or TCP header in @data
 *
 *	data            l4               payload.ptr
 *	| IP, options   | UDP or TCP     | SIP ...        | (link padding)
 */
struct packet {
	const uint8_t *data;
	struct tuple tuple;
	struct span payload;
	size_t l4;
};

/**
 * packet_parse() - Read IP and transport headers
 * @data:	Packet from its IP header on
 * @len:	Bytes captured
 * @pkt:	Filled on PACKET_OK
 *
 * Source: RFC 791, RFC 8200 4 (extension headers), RFC 768, RFC 9293 3.1
 */
enum packet_status packet_parse(const void *data, size_t len,
				struct packet *pkt);

/** packet_tcp_flags() - Of a TCP packet: TH_SYN ... */
uint8_t packet_tcp_flags(const struct packet *pkt);

/** packet_dscp() - Its class, of @packet from the IP header on (RFC 2474 3) */
uint8_t packet_dscp(const uint8_t *packet);

/**
 * packet_set_dscp() - Give it another class
 * @packet:	As packet_parse() takes it; the checksum of IPv4 follows, and
 *		the bits of ECN stay (RFC 3168 5)
 * @dscp:	0 to 63
 */
void packet_set_dscp(uint8_t *packet, uint8_t dscp);

/** packet_header_len() - Bytes before the payload */
size_t packet_header_len(const struct packet *pkt);

/**
 * packet_finish() - Make headers fit a payload of another length
 * @pkt:	The packet as it came
 * @out:	Its packet_header_len() bytes of headers, then the new payload
 * @len:	Length of the new payload, bytes
 *
 * Lengths and checksums follow; a UDP checksum of zero stays zero (RFC 768:
 * none was made). A packet that grew may now be fragmented: DF goes and the
 * identification must tell fragments apart (RFC 6864 4).
 *
 * Return: length of the packet; -EMSGSIZE if it does not fit into IP
 */
long packet_finish(const struct packet *pkt, uint8_t *out, size_t len);

#endif
