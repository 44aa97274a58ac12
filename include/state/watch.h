/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_WATCH_H
#define SIPALG_STATE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct call;
struct calls;

/*
 * Theory of operation
 *
 * Conntrack counts the packets of each pinhole. When a call's audio is agreed
 * on, a *window* begins: the counts are noted, and some seconds later looked at
 * again. An end from which neither RTP nor RTCP came while the other one sent
 * is silent. RTCP alone is enough: who has muted himself may send no RTP
 * (RFC 3389), but his path is proven.
 *
 * Later windows are longer, and only judge an end that is known to send RTCP:
 * without it silence may be wanted. Lines that are on hold, refused, towards
 * another inside host or no audio are not judged, nor calls that use ICE, whose
 * media may have found another way, nor entries that do not count.
 *
 * In the same windows media is looked for that comes from elsewhere than was
 * announced: from who was let in by media.source, or goes on sending in vain.
 * What no rule brings to us is listened for, but only some seconds long, for
 * one line at a time, and only where an end is silent so far: its media may
 * come from elsewhere, or the inside host may send it elsewhere.
 */

/**
 * struct watch - What is known of a call's audio
 * @since_ms:	When the window began; 0: nobody listens
 * @based:	The counts at its beginning are noted
 * @probed:	Had anything been silent, it would be listened to by now
 * @later:	It is not the first since media was agreed on
 * @lines:	Bits of the m= lines that want audio both ways
 * @rtcp_out, @rtcp_in: Lines on which RTCP of the inside, the remote end was
 *		seen
 */
struct watch {
	uint64_t since_ms;
	bool based, probed, later;
	uint8_t lines, rtcp_out, rtcp_in;
};

/** watch_begin() - Both sides have agreed on @lines; none: on hold */
void watch_begin(struct watch *w, uint8_t lines, uint64_t now_ms);

/** watch_due_ms() - When watch_look() has something to do; 0: at no certain
 * time */
uint64_t watch_due_ms(const struct watch *w);

/**
 * watch_look() - Judge the window if it is over
 *
 * The pinholes' counts must be fresh: pinhole_keep(), pinhole_read().
 */
void watch_look(struct calls *calls, struct call *call, uint64_t now_ms);

/** watch_end() - BYE was sent: judge what there is, if it is long enough */
void watch_end(struct calls *calls, struct call *call, uint64_t now_ms);

#endif
