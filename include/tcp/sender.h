/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_SENDER_H
#define SIPALG_TCP_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "tcp/buffer.h"
#include "tcp/flight.h"
#include "tcp/segment.h"

/** enum sender_timer - What a sender waits for */
enum sender_timer {
	SENDER_RTO, /* an acknowledgement: RFC 6298 */
	SENDER_TAIL, /* one for the end of a flight, not so long: RFC 8985 7 */
	SENDER_ORDER, /* segments that others have overtaken: RFC 8985 6.2 */
};

/**
 * struct sender - One direction of a connection, as its sender would
 * @una:	First byte that the receiver has not acknowledged
 * @first:	First byte in @buf; beyond @una where older bytes, which are
 *		not ours, are still under way
 * @nxt:	First byte that has not been sent
 * @end:	Where @buf ends
 * @fin:	The end of the stream follows @end, and takes a number itself
 * @edge:	First byte beyond the receiver's window
 * @wl1:	The segment that said so (RFC 9293 3.3.1)
 * @head:	Where @first stands in @buf
 * @mss:	Most data of a segment, options not yet taken off (RFC 6691)
 * @full_mss, @narrowed: What it was before it was narrowed, so often, because
 *		nothing arrived
 * @wscale:	Of the receiver's window
 * @cwnd, @ssthresh: RFC 5681, bytes
 * @flight:	Segments under way
 * @sacking:	The receiver tells what it has out of order
 * @recovering, @recover: Losses are being repaired until @recover is
 *		acknowledged (RFC 6582, RFC 6675)
 * @urgent:	A lost segment may go whatever @cwnd says
 * @probe:	A byte may go beyond the window (RFC 9293 3.8.6.1)
 * @tail, @probes: The end of a flight may go beyond @cwnd; times it was tried
 *		(RFC 8985 7)
 * @rto_ms, @srtt_ms, @var_ms: RFC 6298; @srtt_ms is 0 before the first sample
 * @timed, @timed_ms: The byte whose acknowledgement is timed, and when it went;
 *		0 ms: none is
 * @due_ms, @timer: When something is to be done, and what; 0 ms: nothing is
 * @repeated, @vain: All that was acknowledged last had been repeated; times
 *that this was so when the timer ended again
 * @retries, @backoff: Times it has ended since something was acknowledged; so
 *		often its time is doubled
 *
 *	una = first        nxt             end
 *	| under way ...    | not sent yet  |
 */
struct sender {
	uint32_t una, first, nxt, end, edge, wl1;
	bool fin;
	struct buffer buf;
	size_t head;
	uint16_t mss, full_mss;
	uint8_t wscale, narrowed;
	uint32_t cwnd, ssthresh;
	unsigned int duplicates, retries, backoff, probes, vain;
	struct flight flight;
	bool sacking, repeated, recovering, urgent, probe, tail;
	uint32_t recover;
	enum sender_timer timer;
	uint32_t rto_ms, srtt_ms, var_ms, timed;
	uint64_t timed_ms, due_ms;
};

/** sender_init() - Nothing sent; the first byte is @seq */
void sender_init(struct sender *s, uint32_t seq, uint16_t mss);

/** sender_free() - Drop the bytes and give the memory back */
void sender_free(struct sender *s, struct tcp_memory *memory);

/** sender_waiting() - Bytes not acknowledged yet */
static inline size_t sender_waiting(const struct sender *s)
{
	return s->end - s->first;
}

/** sender_is_done() - All is acknowledged, the end of the stream too */
static inline bool sender_is_done(const struct sender *s)
{
	return s->first == s->end && (!s->fin || s->una == s->end + 1);
}

/** sender_is_late() - The window, or the network, keeps some back */
static inline bool sender_is_late(const struct sender *s)
{
	return s->nxt != s->end + s->fin;
}

/**
 * sender_room() - Where up to @len bytes may be written, to be sent
 *
 * Return: NULL if there is no memory
 */
char *sender_room(struct sender *s, size_t len, struct tcp_memory *memory);

/** sender_add() - @len bytes have been written there */
void sender_add(struct sender *s, size_t len);

/**
 * sender_ack() - A segment of the receiver: its window, and what it
 * acknowledges
 * @ack:	As in the segment; less where more has been sent than we know of
 */
void sender_ack(struct sender *s, const struct segment *seg, uint32_t ack,
		uint64_t now_ms);

/** sender_passed() - All of it has been sent by somebody else, who will repeat
 * it */
void sender_passed(struct sender *s);

/** sender_restart() - Start the retransmission timer, if there is need of it */
void sender_restart(struct sender *s, uint64_t now_ms);

/** sender_open() - There is no limit to what may be sent now */
void sender_open(struct sender *s);

/** sender_delivered() - What was sent has arrived */
void sender_delivered(struct sender *s);

/** sender_narrow() - The last one could not be sent: the path is too narrow */
void sender_narrow(struct sender *s);

/** sender_repeat() - Send again what has been under way longest */
void sender_repeat(struct sender *s);

/** sender_payload() - Most data of a segment with @options bytes of options */
uint32_t sender_payload(const struct sender *s, size_t options);

/**
 * sender_next() - The next segment that may be sent now
 * @options:	Bytes of options it will have
 * @seg:	seq, flags (PSH, FIN) and data are set; data is valid until
 *		sender_room() or sender_ack()
 *
 * Return: false if there is none
 */
bool sender_next(struct sender *s, size_t options, struct segment *seg,
		 uint64_t now_ms);

/**
 * sender_timeout() - Time passes: losses that only time shows
 *
 * Return: false if the receiver has not answered for too long
 */
bool sender_timeout(struct sender *s, uint64_t now_ms);

#endif
