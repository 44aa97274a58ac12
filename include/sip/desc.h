/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_DESC_H
#define SIPALG_SIP_DESC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"

/*
 * SDP session descriptions (RFC 8866). The prefix sdp_ belongs to libosip2.
 */

/** DESC_MEDIA - m= lines that are read; a body with more is left alone */
#define DESC_MEDIA 16
/** DESC_CANDIDATES - a=candidate lines that are read, likewise */
#define DESC_CANDIDATES 64

enum desc_status {
	DESC_OK,
	DESC_BAD, /* not SDP, or a line we must understand and cannot */
	DESC_TOO_MANY, /* m= or candidate lines */
};

enum desc_direction {
	DESC_SENDRECV,
	DESC_SENDONLY,
	DESC_RECVONLY,
	DESC_INACTIVE
};

/**
 * struct desc_addr - An address where it stands
 * @text:	.ptr NULL: there is none
 * @addr:	Not set for a name
 */
struct desc_addr {
	struct span text;
	struct addr addr;
};

/** struct desc_port - A port where it stands; .text.ptr NULL: there is none */
struct desc_port {
	struct span text;
	uint16_t port;
};

/**
 * struct desc_media - One m= section
 * @type, @proto: "audio", "RTP/AVP"
 * @port:	RTP port; 0 is a refused or ended stream (RFC 3264 5.1)
 * @count:	Of "port/count", else 1
 * @conn:	Its own c=; see desc_media_addr()
 * @rtcp, @rtcp_addr: a=rtcp, and the address in it (RFC 3605 2.1)
 * @rtcp_mux:	a=rtcp-mux (RFC 5761)
 * @several_conn: More than one c=: layered multicast, not for us
 */
struct desc_media {
	struct span type, proto;
	struct desc_port port;
	unsigned int count;
	struct desc_addr conn;
	struct desc_port rtcp;
	struct desc_addr rtcp_addr;
	bool rtcp_mux, several_conn;
	enum desc_direction direction;
};

/** struct desc_candidate - An a=candidate of type host over UDP (RFC 8839) */
struct desc_candidate {
	unsigned int media;
	struct desc_addr addr;
	struct desc_port port;
};

/**
 * struct desc - A session description: where its addresses and ports stand
 * @whole:	All of it
 * @origin:	The address of o=
 * @conn:	The c= of the session level
 * @direction:	Of the session level: where a media section says nothing
 */
struct desc {
	struct span whole;
	struct desc_addr origin, conn;
	enum desc_direction direction;
	unsigned int media_count, candidate_count;
	struct desc_media media[DESC_MEDIA];
	struct desc_candidate candidate[DESC_CANDIDATES];
};

/**
 * desc_parse() - Index a session description
 * @body:	borrowed by @desc
 *
 * Tolerant: lines in any order within their section, unknown lines, bare LF,
 * no t=. Source: RFC 8866 5
 */
enum desc_status desc_parse(struct span body, struct desc *desc);

/** desc_media_addr() - The address media @i goes to: its c=, else the session's
 * (RFC 8866 5.7) */
const struct desc_addr *desc_media_addr(const struct desc *desc,
					unsigned int i);

/** desc_media_is_rtp() - It carries RTP, and so perhaps RTCP */
bool desc_media_is_rtp(const struct desc_media *media);

/**
 * desc_media_is_udp() - The transport protocol runs over UDP
 *
 * RTP/..., UDP/..., udptl, udp; not TCP/..., not MSRP
 */
bool desc_media_is_udp(const struct desc_media *media);

#endif
