/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_CALL_H
#define SIPALG_STATE_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/table.h"
#include "base/timer.h"
#include "sip/codec.h"
#include "sip/message.h"
#include "state/binding.h"
#include "state/describe.h"
#include "state/dialog.h"
#include "state/media.h"
#include "state/party.h"
#include "state/symptom.h"
#include "state/watch.h"

/*
 * Theory of operation
 *
 * A *call* is one Call-ID of one inside host: two inside hosts that a proxy
 * rings with one INVITE are two calls. It holds *dialogs* (RFC 3261 12), one
 * for each pair of tags; a forked INVITE has several.
 *
 * For each dialog we keep what either side last said about each m= line, and,
 * while an offer is open, what it had said before: until the other side has
 * answered, media may go by the old or the new. Every description that passes
 * changes that, and then the pinholes the call needs follow from it: for each
 * m= line every inside endpoint still valid, towards every remote endpoint
 * still valid (calls_reconcile()). Offers and answers need not be told apart
 * for this, so PRACK, UPDATE, delayed offers and early media take no code of
 * their own.
 *
 * Who knows a Call-ID and its tags is not yet a part of the call. From outside
 * only messages of its *parties* count: of the host that began it, of those
 * that the inside host has sent to in it, and of those that a party has named
 * in Contact or Record-Route. Others may be let in; what they say counts as
 * soon as the inside host has answered them. Answers must be to what was asked.
 *
 * A call ends with its last dialog: when BYE is answered, when the INVITE
 * fails, or when nothing is heard for long. It then stays in the table for
 * some seconds with nothing open, so that late and repeated messages are not
 * taken for a new one.
 */

/** CALL_ID_MAX - Longest Call-ID that is followed, bytes */
#define CALL_ID_MAX 512
/** CALL_KEY_MAX - Room for call_key() */
#define CALL_KEY_MAX (sizeof(struct addr) + CALL_ID_MAX)
/** CALL_STREAMS - Inside media endpoints a call may have mapped */
#define CALL_STREAMS 16
/** CALL_PEERS - Remote hosts that may signal to the inside host for a call */
#define CALL_PEERS 4

enum call_state {
	CALL_TRYING,
	CALL_EARLY,
	CALL_ACTIVE,
	CALL_HELD,
	CALL_ENDED,
};

/** enum call_result - How a call ended */
enum call_result {
	CALL_ANSWERED,
	CALL_CANCELLED, /* by the one who called */
	CALL_FAILED, /* refused: call->status says how */
	CALL_UNANSWERED, /* no final answer came */
};

/**
 * struct call - A call of an inside host
 * @peer:	Hosts that may signal to the inside host while it lasts
 * @parties:	Hosts whose messages count
 * @invite:	What the last INVITE is known by: transaction_of()
 * @invite_cseq: Hash of its number
 * @map:	The mapping it began on: held, so that it keeps its port
 * @host:	Whose share it is of; NULL when it has ended
 * @outgoing:	It was the inside host that sent the INVITE
 * @spoken:	The inside host has said something in it
 * @sure:	Both sides have agreed on it, and it is not over
 * @carried:	Something was changed in it: from now on to its end, whatever
 *		gateway.mode and bypass.* say meanwhile. Until then nothing is
 *		done for it, either
 * @ice_in, @ice_out: The last one from outside, from inside has candidates
 * @replied:	The INVITE got some answer
 * @cancelled, @bye: CANCEL, BYE was sent
 * @bye_seen:	A BYE was, be it of no dialog that we know
 * @path_seen:	An answer's Via was compared with what we had written
 * @told:	Its end was told to calls->ended
 * @stream:	Public ports it has reserved; slots may be NULL
 * @expires_ms:	Session timer (RFC 4028); 0: none
 * @remote:	Host that the first message came from or went to
 * @status:	Of the last final answer to the INVITE; 0: none yet
 * @invited_ms:	When the INVITE was seen; 0: never
 * @answered_ms: When it was answered with 2xx; 0: not so
 * @traffic:	RTP of pinholes that are gone: at the end, of all
 * @codecs:	"PCMA,telephone-event": those of the last answer
 * @heard_ms:	When media was last seen to flow
 * @due_ms:	When to give it up if nothing happens
 * @from, @to:	As the INVITE had them, for people
 * @symptoms, @notes: What was seen to be wrong with it, and what was said then
 * @key:	Address of the inside host, then the Call-ID
 */
struct call {
	struct peer *peer[CALL_PEERS];
	struct parties parties;
	uint32_t invite, invite_cseq;
	struct mapping *map;
	struct host *host;
	enum call_state state;
	bool outgoing, spoken, sure, carried;
	bool ice_in, ice_out, replied, cancelled, bye, bye_seen, path_seen,
		told;
	uint16_t status;
	struct addr remote;
	struct dialogs dialogs;
	struct media_stream *stream[CALL_STREAMS];
	struct pinhole *pinholes;
	struct timer timer;
	uint64_t started_ms, invited_ms, answered_ms;
	uint64_t expires_ms, heard_ms, due_ms;
	struct watch watch;
	struct media_traffic traffic;
	char codecs[CODEC_TEXT_MAX];
	char *from, *to;
	uint32_t symptoms;
	struct symptom_note *notes;
	UT_hash_handle hh;
	struct call *prev, *next;
	size_t key_len;
	char key[];
};

/**
 * struct calls - All calls
 * @nat:	Of @bindings; timers of calls that are carried lift its @dry
 * @list, @sure: Those that were answered last, see TABLE_QUEUE_ADD(); first of
 *		all those that are over
 * @ended:	Told once of each call that ends, while all of it is still
 *		there; may be NULL
 * @live:	How many are not ended
 * @in_doubt:	Those that are restored now were written down some time before
 *		the end: the kernel knows which of them go on
 * @listening:	Public end of the line that is listened to, until
 *		@listening_ms
 * @walks:	Walks through @table
 */
struct calls {
	const struct conf *conf;
	struct bindings *bindings;
	struct nat *nat;
	struct media *media;
	struct counters *counters;
	struct symptoms *symptoms;
	struct timer_wheel *wheel;
	struct call *table, *list, *sure;
	bool in_doubt;
	void (*ended)(void *owner, const struct call *call, uint64_t now_ms);
	void *owner;
	unsigned int live;
	struct endpoint listening;
	uint64_t listening_ms;
	struct table_walk *walks;
};

void calls_free(struct calls *calls);

/**
 * call_key() - What tells the calls and subscriptions of all inside hosts
 * apart: the host's address, then the Call-ID
 * @key:	CALL_KEY_MAX bytes of room
 *
 * Return: length; 0 without a Call-ID, or with one that is too long
 */
size_t call_key(char *key, const struct addr *inside,
		const struct message *msg);

/** call_key_of() - The same of a Call-ID by itself */
size_t call_key_of(char *key, const struct addr *inside, struct span id);

/** call_id() - The Call-ID, as it stands in the key */
struct span call_id(const struct call *call);

/**
 * call_open() - The call a message belongs to
 *
 * An INVITE makes one; so does any other message inside a dialog that describes
 * media (a call older than this program), unless it is an answer from outside.
 *
 * Return: NULL if the message belongs to no call, or its sender does not
 */
struct call *call_open(struct calls *calls, const struct flow *flow,
		       const struct message *msg, bool outbound, bool media,
		       uint64_t now_ms);

/** call_is_carried() - A message of @inside is of a call that is carried */
bool call_is_carried(const struct calls *calls, const struct addr *inside,
		     const struct message *msg);

/** call_find() - The call of @inside that a message belongs to; NULL if there
 * is none */
struct call *call_find(const struct calls *calls, const struct addr *inside,
		       const struct message *msg);

/** call_is_meddled() - A message from outside is of a call in which its sender
 * has no part */
bool call_is_meddled(const struct calls *calls, const struct flow *flow,
		     const struct message *msg);

/** call_has_party() - Messages from that host count in it */
bool call_has_party(const struct calls *calls, const struct call *call,
		    const struct addr *host);

/** call_inside() - The inside host, as it stands in the key */
struct addr call_inside(const struct call *call);

/** call_result() - How it ended; call_result_name() - "answered" ... */
enum call_result call_result(const struct call *call);
const char *call_result_name(enum call_result result);

/** call_subject() - For symptom_raise(); borrows from @call */
struct symptom_subject call_subject(struct call *call);

/** call_stream() - Its stream of an inside RTP endpoint; NULL if none */
const struct media_stream *call_stream(const struct call *call,
				       const struct endpoint *inside_rtp);

/** call_state_name() - As in sipalgctl calls */
const char *call_state_name(enum call_state state);

/** call_has_media() - It has reserved public ports */
bool call_has_media(const struct call *call);

/**
 * call_describe() - One side has said where it listens
 * @outbound:	The inside host has
 * @said:	Its references to streams are taken over
 *
 * Opens and closes pinholes: what the message announces exists in the kernel
 * when this returns.
 */
void call_describe(struct calls *calls, struct call *call,
		   const struct message *msg, bool outbound,
		   const struct description *said);

/** call_progress() - What the message means for the life of the call; after
 * call_describe() */
void call_progress(struct calls *calls, struct call *call,
		   const struct message *msg, bool outbound, uint64_t now_ms);

/** calls_move() - Addresses or routes have changed: media that leaves no more
 * as it was announced is no longer held open. The next offer says how it goes
 * on; where none comes within media.timeout, the call is lost
 */
void calls_move(struct calls *calls, uint64_t now_ms);

/** calls_doubt() - The kernel may have dropped entries: they are made anew
 * within seconds */
void calls_doubt(struct calls *calls, uint64_t now_ms);

struct saved_call;

/** call_save() - Write down one that has not ended */
void call_save(const struct call *call, struct saved_call *out);

/**
 * call_restore() - One that was written down
 *
 * Its mapping must be there. What it has open in the kernel is taken up, or
 * made anew.
 *
 * Return: false if it is over, or its public ports are somebody else's now
 */
bool call_restore(struct calls *calls, const struct saved_call *in,
		  uint64_t now_ms);

#endif
