/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_BODY_H
#define SIPALG_SIP_BODY_H

#include <stdbool.h>

#include "base/span.h"

/**
 * struct body_part - The SDP in a message body
 * @sdp:	The whole body, or one part of a multipart body
 * @length:	Digits of that part's own Content-Length; .ptr NULL if none
 */
struct body_part {
	struct span sdp, length;
};

/**
 * body_find_sdp() - Find the session description in a body
 * @content_type: Value of Content-Type; may be "not there"
 *
 * Return: false if there is none
 * Source: RFC 2046 5.1, RFC 3261 7.4, RFC 5621 4
 */
bool body_find_sdp(struct span content_type, struct span body,
		   struct body_part *part);

#endif
