/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_FLIGHT_H
#define SIPALG_TCP_FLIGHT_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp/ranges.h"

/** FLIGHT_MAX - Segments that are remembered: some more than are sent at once,
 * for those that must be cut to be sent again */
#define FLIGHT_MAX 64
/** FLIGHT_NEW - Segments that may be under way */
#define FLIGHT_NEW 48

/**
 * struct flight_segment - A segment under way
 * @order:	When it was sent last, counted in segments
 * @sacked:	It has arrived, though not all before it
 * @lost:	It is to be sent again
 * @again:	It was
 */
struct flight_segment {
	struct range bytes;
	uint32_t order;
	bool sacked, lost, again;
};

/**
 * struct flight - What has been sent and not been acknowledged, ascending
 * @order:	Segments sent so far
 * @delivered:	Order of the latest one that arrived
 * @at_once:	One has arrived that was sent once only
 *
 * A segment is lost when something has arrived that was sent well after it:
 * also one that was sent again. That is RACK (RFC 8985) with the order of
 * sending in place of its time, for our clock is coarse.
 */
struct flight {
	unsigned int count;
	uint32_t order, delivered;
	bool at_once;
	struct flight_segment sent[FLIGHT_MAX];
};

/** flight_add() - A new segment is sent; there must be room */
void flight_add(struct flight *f, struct range bytes);

/** flight_ack() - All before @una has arrived */
void flight_ack(struct flight *f, uint32_t una);

/** flight_sack() - These have arrived, too. Return: false if known already */
bool flight_sack(struct flight *f, struct range bytes);

/**
 * flight_detect() - Find what is lost
 * @later:	Something must have arrived that was sent so many after it
 *
 * Return: true if anything is that was not known
 */
bool flight_detect(struct flight *f, unsigned int later);

/** flight_is_suspect() - Something may be lost, but is not known to be */
bool flight_is_suspect(const struct flight *f);

/** flight_lose() - The first part, or what was sent latest, is taken for lost
 */
void flight_lose(struct flight *f, bool latest);

/** flight_lose_all() - All of it; what was said to have arrived, too, for the
 * receiver may have dropped that (RFC 2018 8) */
void flight_lose_all(struct flight *f);

/**
 * flight_resend() - Send again the first part that is lost
 * @most:	Bytes that fit
 * @bytes:	Set to them
 *
 * Return: false if nothing is
 */
bool flight_resend(struct flight *f, uint32_t most, struct range *bytes);

/** flight_pipe() - Bytes that are in the network, as far as we know */
uint32_t flight_pipe(const struct flight *f);

#endif
