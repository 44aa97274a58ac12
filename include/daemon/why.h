/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_WHY_H
#define SIPALG_DAEMON_WHY_H

#include "state/alg.h"

/** WHY_MAX - A reason as text */
#define WHY_MAX 192

/** enum why_kind - What an edit follows from */
enum why_kind {
	WHY_MAPPING, /* an inside address has a public one */
	WHY_RESTORED, /* the other way round */
	WHY_SOURCE, /* received and rport: where the request came from */
	WHY_MEDIA_PORT, /* a port reserved for media */
	WHY_MEDIA_ADDRESS,
	WHY_MEDIA_INSIDE, /* both ends of the call are */
	WHY_LENGTH, /* of the body */
	WHY_KINDS,
};

/**
 * struct why - Why a message was changed at one place
 * @other:	Another inside host is meant than the message's
 * @advertised:	gateway.advertised_address was written
 * @inside:	Who is behind the public address; not set: not known
 * @age_ms:	Of the mapping; 0: made for this message
 * @growth:	Of the body, bytes
 */
struct why {
	enum why_kind kind;
	bool other, advertised;
	struct endpoint inside;
	uint64_t age_ms;
	long growth;
};

/**
 * why_find() - While the message is in hand
 * @flow:	The message's
 * @side:	Where it came from
 */
struct why why_find(const struct alg *alg, const struct flow *flow,
		    enum nat_side side, const struct edit *edit);

/**
 * why_format() - "mapping of this phone since 17:02:11"
 * @buf:	WHY_MAX bytes
 * @time_us:	When the message came, since 1970; shown in local time
 *
 * Return: @buf
 */
const char *why_format(const struct why *why, uint64_t time_us, char *buf);

#endif
