/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_DESCRIBE_H
#define SIPALG_STATE_DESCRIBE_H

#include <stdbool.h>
#include <stdint.h>

#include "sip/desc.h"
#include "sip/edit.h"
#include "state/binding.h"
#include "state/media.h"

/** DESCRIBE_MEDIA - m= lines of one description that may be mapped */
#define DESCRIBE_MEDIA 8

/**
 * struct media_end - Where one side of one m= line listens
 * @rtp:	Port 0: it is refused, or left alone
 * @rtcp:	Port 0: it has none of its own
 * @pairs:	Of "port/count"
 */
struct media_end {
	struct endpoint rtp, rtcp;
	uint8_t pairs;
	bool mux;
};

_Static_assert(sizeof(struct media_end) == 38, "compared as bytes");

/**
 * struct description - What one side said about each m= line
 * @end:	Where it listens, in its own terms
 * @told:	The same in the terms of the other side
 * @stream:	For what came from inside: a reference each, the caller's
 * @blank:	On hold by 0.0.0.0: it listens where it did before
 * @held:	No line wants media both ways
 * @both:	Bits of the lines that do
 * @ice:	It has candidates: media may go by another way (RFC 8445)
 */
struct description {
	struct media_end end[DESCRIBE_MEDIA], told[DESCRIBE_MEDIA];
	struct media_stream *stream[DESCRIBE_MEDIA];
	bool blank[DESCRIBE_MEDIA];
	bool held, ice;
	uint8_t both;
};

_Static_assert(DESCRIBE_MEDIA <= 8, "they fit into a mask");

/**
 * struct describe - What the functions below work with
 * @flow:	The message's flow
 * @desc:	Its session description
 * @shown:	The address that stands for the inside host in messages
 * @edits:	Gets the changes
 */
struct describe {
	struct media *media;
	const struct flow *flow;
	const struct desc *desc;
	const struct addr *shown;
	struct edit_list *edits;
};

/**
 * describe_out() - Map a description from inside
 * @known:	The call has streams: o= is mapped also where no m= line is
 *
 * Reserves public ports for what the inside host announces of itself, and
 * writes them: m=, c=, o=, a=rtcp, a=candidate.
 */
void describe_out(const struct describe *d, bool known,
		  struct description *out);

/**
 * describe_in() - Read a description from outside
 *
 * An endpoint that is one of our own public ones stands for another inside
 * host. With media.keep_local its inside endpoint is written instead, and the
 * two reach each other without us.
 */
void describe_in(const struct describe *d, struct description *out);

#endif
