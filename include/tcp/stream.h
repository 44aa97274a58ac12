/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TCP_STREAM_H
#define SIPALG_TCP_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "sip/frame.h"
#include "tcp/receiver.h"
#include "tcp/segment.h"
#include "tcp/sender.h"

/*
 * Theory of operation
 *
 * A message may be cut anywhere by segments and may change its length, so its
 * first byte cannot go on before its last one has come. What waits here must be
 * acknowledged, or a sender that wants to see an acknowledgement first (Nagle,
 * a small window) would wait for ever; what was acknowledged must be delivered
 * whatever gets lost. So each direction of a connection is split: towards its
 * sender we are a TCP receiver (tcp/receiver), towards its receiver a TCP
 * sender (tcp/sender), with the framing of SIP and the caller's rewriting
 * between.
 *
 *	end 0 --segments--> receiver -> messages -> sender --segments--> end 1
 *	end 0 <--segments-- sender <- messages <- receiver <--segments-- end 1
 *
 * As a rule this costs no packet: a segment holds whole messages, and leaves
 * as that segment with other bytes and numbers. Its acknowledgement is the one
 * that the other end sends, translated. Packets of our own are sent only to
 * acknowledge what is held, for what does not fit into the packet at hand, and
 * to repeat what got lost.
 *
 * Until a message is changed or held, packets pass as they are. Bytes that are
 * not SIP where a message should begin make the connection plain for good:
 * nothing is read any more, numbers are shifted by what has been added so far.
 * First what was acknowledged must arrive: until then bytes go through the
 * queue, but unread.
 *
 * Each half knows three parts of its sequence space. Before @first, the
 * connection was not ours yet: numbers are the same on both sides. From there
 * to @last bytes are read and kept until acknowledged. Beyond @last, in a plain
 * connection, they pass. Numbers wrap, so a part is forgotten as soon as the
 * receiver has acknowledged the last byte of it.
 */

/** STREAM_CLAMP - What SYNs offer less: room for what messages grow by */
#define STREAM_CLAMP 64

/**
 * struct half - The bytes that one end sends
 * @in, @out:	As their receiver, and as their sender
 * @framer, @skip: Where we are in a message; bytes of one that is not read
 * @reading:	We take them, else they pass
 * @raw:	They are taken as they are, no longer read
 * @begun:	They have been read from @first on
 * @first:	The same number at both ends
 * @elder:	Some from before @first may be under way
 * @last_in, @last_out: Where reading ended, at either end
 * @acked, @edge: Highest acknowledgement that their sender was given, and the
 *		end of the window
 * @shown:	Highest number in packets that passed before the first change:
 *the other end may have seen it, and takes a window from no lower one (RFC
 *9293 3.10.7.4, SND.WL1)
 * @fin:	Its end has been sent
 *
 * What that end said last, for packets in its name:
 * @heard:	Anything
 * @rests:	It carried nothing: @seen is what it would send next
 * @resized:	Its window is not what it was
 * @seen:	Sequence number after its last byte
 * @at, @ack, @window, @ts_val: As in its packets
 */
struct half {
	struct receiver in;
	struct sender out;
	struct framer framer;
	size_t skip;
	bool reading, raw, begun, elder, fin, heard, rests, resized;
	uint32_t first, last_in, last_out, acked, edge, shown;
	uint32_t seen, at, ack, ts_val;
	uint16_t window;
};

/**
 * struct opening - What a SYN said
 * @answer:	It acknowledged the other one
 * @used:	The connection at hand began with it
 * @len, @taken: Bytes of data in it; the other end has taken some (RFC 7413)
 */
struct opening {
	bool seen, answer, used, scaled, sack_ok, sealed, taken;
	uint32_t isn;
	uint16_t mss, window, len;
	uint8_t wscale;
};

/**
 * struct stream - A TCP connection
 * @half:	By the end that sends
 * @changed:	Its packets are not what they were: it cannot do without us
 * @watched:	It is only read, for now
 * @sealed:	It cannot be read
 * @pick_up:	It is older than we: it is read from the first start line on
 *		that begins a segment
 * @stamped:	Its packets have timestamps
 * @sack_ok:	Both ends take selective acknowledgements
 */
struct stream {
	struct half half[2];
	struct opening syn[2];
	uint8_t wscale[2];
	bool changed, watched, sealed, pick_up, stamped, sack_ok, closed;
};

/** enum stream_note - What happens beside messages */
enum stream_note {
	STREAM_BLANK, /* a keep-alive passed */
	STREAM_LONG, /* a message is too long to be read */
	STREAM_ALIEN, /* not SIP: plain from now on */
	STREAM_BROKEN, /* SIP without an end: plain from now on */
	STREAM_UNSEEN, /* bytes passed that we did not see: plain */
	STREAM_NO_MEMORY, /* plain, or reset, for want of memory */
	STREAM_CHANGED, /* the first change: conntrack must not judge numbers */
	STREAM_RESET, /* it was reset: conntrack has not seen it */
	STREAM_GIVEN_UP, /* an end does not answer: both were reset */
};

/**
 * struct stream_ops - What a stream needs
 * @message:	A message came from end @from; what shall go on in its place:
 *		@msg->whole, or other bytes that stay until the next call; NULL
 *		and 0 for nothing
 * @note:	@status: of STREAM_BROKEN, why
 * @send:	Send a packet in the name of end @from to the other one
 */
struct stream_ops {
	struct span (*message)(void *ctx, int from, const struct message *msg);
	void (*note)(void *ctx, int from, enum stream_note note,
		     enum message_status status);
	void (*send)(void *ctx, int from, const struct segment *seg);
};

/**
 * struct stream_env - Around one call
 * @msg:	Scratch
 * @max_message: Longest message read, bytes
 * @dry:	Change nothing in a connection that is not changed yet
 * @offline:	Packets are of a capture: acknowledgements are those of the
 *		bytes as they were, and nothing waits for one
 */
struct stream_env {
	const struct stream_ops *ops;
	void *ctx;
	struct tcp_memory *memory;
	struct message *msg;
	size_t max_message;
	bool dry, offline;
	uint64_t now_ms;
};

/** enum stream_verdict - What becomes of the packet at hand */
enum stream_verdict { STREAM_PASS, STREAM_REPLACE, STREAM_DROP };

/** stream_init() - Before the first packet */
void stream_init(struct stream *s);

/** stream_adopt() - A connection that is older than we; @wscale by end */
void stream_adopt(struct stream *s, const uint8_t wscale[2]);

/** stream_refuse() - One that cannot go on: what comes is answered by a reset
 */
void stream_refuse(struct stream *s);

/** stream_free() - Give its memory back */
void stream_free(struct stream *s, struct tcp_memory *memory);

/**
 * stream_segment() - A packet came
 * @from:	The end that sent it, 0 or 1
 * @in:		What it says
 * @out:	For STREAM_REPLACE: what it shall say; its data stays until the
 *		next call
 *
 * Source: RFC 9293 3.10, RFC 5681, RFC 6298, RFC 2018, RFC 7323
 */
enum stream_verdict stream_segment(struct stream *s,
				   const struct stream_env *env, int from,
				   const struct segment *in,
				   struct segment *out);

/** stream_due_ms() - When stream_timeout() is to be called; 0: not at all */
uint64_t stream_due_ms(const struct stream *s);

/** stream_timeout() - Time passes */
void stream_timeout(struct stream *s, const struct stream_env *env);

/** stream_plain() - Read no more, for want of memory or by order */
void stream_plain(struct stream *s, const struct stream_env *env);

/** stream_abort() - Reset both ends of a connection that was changed */
void stream_abort(struct stream *s, const struct stream_env *env);

/** stream_narrow() - The packet just sent in the name of end @from is too long
 * for its path; for struct stream_ops.send */
void stream_narrow(struct stream *s, int from);

/** stream_holds() - Bytes of an unfinished message wait in it */
bool stream_holds(const struct stream *s);

/** stream_rest() - It was idle: give back the memory that it does not use */
void stream_rest(struct stream *s, struct tcp_memory *memory);

/** stream_is_read() - A message may come, and be changed */
bool stream_is_read(const struct stream *s);

/** stream_is_over() - Both directions have ended and are acknowledged, or it
 * was reset */
bool stream_is_over(const struct stream *s);

#endif
