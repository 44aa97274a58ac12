/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_CODEC_H
#define SIPALG_SIP_CODEC_H

#include "base/span.h"

/** CODEC_TEXT_MAX - Room for the names of a call's codecs, NUL included */
#define CODEC_TEXT_MAX 96

/**
 * codec_names() - What a session description wants to speak, for people
 * @sdp:	As desc_parse() has read it
 * @buf:	"PCMA,telephone-event,t38": the formats of each m= line whose
 *		port is not 0, in their order, by the names of a=rtpmap or RFC
 *		3551; a number without either stays one. Bytes from the network
 * @cap:	Size of @buf; names that do not fit are left out
 *
 * Return: @buf
 * Source: RFC 8866 5.14, 6.6; RFC 3551 6
 */
const char *codec_names(struct span sdp, char *buf, size_t cap);

#endif
