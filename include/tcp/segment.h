/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_SEGMENT_H
#define SIPALG_TCP_SEGMENT_H

#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "sip/packet.h"
#include "tcp/ranges.h"

/** SEGMENT_SACKS - Blocks that fit beside a timestamp (RFC 2018 3) */
#define SEGMENT_SACKS 4
/** SEGMENT_HEADER - The most that comes before the data, IPv6 and all options
 */
#define SEGMENT_HEADER 100

/**
 * struct segment - What a TCP packet says
 * @flags:	TH_SYN, TH_ACK ...
 * @window:	As it stands in the header, not yet scaled
 * @mss, @wscale: Of a SYN; 0 where the option is not there
 * @scaled:	The SYN has a window scale option
 * @sack_ok:	The SYN permits selective acknowledgements (RFC 2018 2)
 * @sealed:	An option protects or replaces the sequence numbers: TCP-MD5,
 *		TCP-AO, data of multipath TCP. It cannot be changed
 * @stamped:	It has a timestamp: @ts_val, @ts_ecr (RFC 7323 3)
 * @options:	Bytes of options
 * @data:	Borrowed
 */
struct segment {
	uint32_t seq, ack;
	uint16_t window, mss;
	uint8_t flags, wscale, options;
	bool scaled, sack_ok, sealed, stamped;
	uint32_t ts_val, ts_ecr;
	unsigned int sacks;
	struct range sack[SEGMENT_SACKS];
	struct span data;
};

/**
 * struct segment_path - IP header fields for packets that we send ourselves
 * @tuple:	Addresses and ports they carry
 * @ttl, @tos:	Of IPv4; hop limit and traffic class of IPv6
 */
struct segment_path {
	struct tuple tuple;
	uint8_t ttl, tos;
};

/** segment_len() - Sequence numbers that it takes: data, SYN and FIN */
uint32_t segment_len(const struct segment *seg);

/**
 * segment_parse() - Read the TCP header of a packet
 * @pkt:	TCP, as packet_parse() read it
 *
 * Return: 0; -EINVAL where the options do not parse
 * Source: RFC 9293 3.1, 3.2; RFC 7323 2, 3; RFC 2018
 */
int segment_parse(const struct packet *pkt, struct segment *seg);

/** segment_path_read() - How packets after this one shall look */
void segment_path_read(const struct packet *pkt, struct segment_path *path);

/**
 * segment_rewrite() - The packet as it came, saying something else
 * @pkt:	As it came
 * @seg:	What it shall say: numbers, flags, window, data; no more SACK
 *		blocks than it had; MSS and timestamp if it had them
 * @out:	At least SEGMENT_HEADER + @seg->data.len bytes
 *
 * Every other option and header byte stays. A SACK option that is not wanted
 * and one that offers multipath TCP (its own sequence numbers would not follow)
 * become NOPs.
 *
 * Return: length of the packet; -EMSGSIZE if it does not fit into IP
 */
long segment_rewrite(const struct packet *pkt, const struct segment *seg,
		     uint8_t *out);

/**
 * segment_build() - A packet of our own
 * @path:	Its addresses
 * @out:	At least SEGMENT_HEADER + @seg->data.len bytes
 *
 * It may be fragmented: nobody would hear of a path that is too narrow.
 *
 * Return: its length
 */
size_t segment_build(const struct segment_path *path, const struct segment *seg,
		     uint8_t *out);

#endif
