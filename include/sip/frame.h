/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_FRAME_H
#define SIPALG_SIP_FRAME_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "sip/message.h"

/** enum frame_kind - What a stream goes on with */
enum frame_kind {
	FRAME_MORE, /* too little is there to tell */
	FRAME_BLANK, /* line ends: keep-alives (RFC 5626 3.5.1) */
	FRAME_MESSAGE, /* a whole message */
	FRAME_LONG, /* a message of more bytes than wanted; its header is there
		     */
	FRAME_ALIEN, /* not SIP */
	FRAME_BROKEN, /* SIP, but nobody can tell where it ends */
};

/**
 * struct framer - How far the message at the head of a stream has been read
 * @len:	Bytes of what was found; of FRAME_MORE the bytes it will have,
 *		where known
 * @searched:	Bytes without the end of the header
 * @started:	There is a start line
 * @status:	Of FRAME_BROKEN: why
 *
 * All zero at a message boundary.
 */
struct framer {
	size_t len, searched;
	bool started;
	enum message_status status;
};

/**
 * frame_next() - Find the message that a stream begins with
 * @framer:	Kept while it is FRAME_MORE; begin anew after anything else
 * @bytes:	All that has come since the last boundary
 * @max:	Longest message wanted
 * @msg:	Of FRAME_MESSAGE: its index, borrowing @bytes
 *
 * Without Content-Length there is no body. A start line is refused as soon as
 * its first bytes cannot be one.
 *
 * Source: RFC 3261 7.5, 18.3, 20.14
 */
enum frame_kind frame_next(struct framer *framer, struct span bytes, size_t max,
			   struct message *msg);

#endif
