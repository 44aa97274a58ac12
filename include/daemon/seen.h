/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_SEEN_H
#define SIPALG_DAEMON_SEEN_H

#include <jansson.h>

#include "daemon/ring.h"
#include "daemon/why.h"

/*
 * What was seen, as it waits in the ring, and as JSON when there is time.
 * Putting it there costs some copying, and no more.
 */

/** enum seen_kind - What a record is of */
enum seen_kind { SEEN_MESSAGE, SEEN_PACKET };

/**
 * struct seen - Around one message or packet
 * @wanted:	By whom, a bit each
 * @time_us:	Since 1970
 * @msg:	What was read of it; .whole where it cannot be read
 * @reason:	What became of it
 * @flow:	NULL: it has none, and no edits
 * @phone, @peer, @public_end: Not set where not known
 * @other:	In a hairpin: the inside host that it goes to
 */
struct seen {
	uint8_t wanted, proto;
	enum nat_side side;
	uint64_t time_us;
	enum counter reason;
	const struct message *msg;
	const struct flow *flow;
	struct endpoint phone, peer, public_end;
	struct addr other;
};

/** enum seen_packet_kind - Which of the two interfaces, and why */
enum seen_packet_kind {
	SEEN_BEFORE,
	SEEN_AFTER,
	SEEN_AS_IT_CAME, /* after, unchanged */
	SEEN_OWN, /* after: made by the daemon */
};

/** seen_put_message() - With alg->edits if it has a flow. Return: the record,
 * until it is committed; NULL if there is no room */
void *seen_put_message(struct ring *ring, const struct seen *seen,
		       const struct alg *alg);

/**
 * seen_put_packet() - A packet
 * @data:	From the IP header on
 * @to:		Source and destination that NAT gives it; NULL: not known, or
 *		it has them
 */
void seen_put_packet(struct ring *ring, enum seen_packet_kind kind,
		     const void *data, size_t len, const struct tuple *to);

/**
 * struct seen_group - The first record of each group: one packet
 * @wanted:	By whom
 * @reason, @drop: What became of it
 */
struct seen_group {
	uint64_t time_us;
	uint8_t wanted;
	bool drop;
	enum counter reason;
};

/** seen_kind_of() - Of a record */
enum seen_kind seen_kind_of(const void *record);
/** seen_set_reason() - Something else became of a message after all */
void seen_set_reason(void *record, enum counter reason);
/** seen_wanted() - By whom a message is wanted */
uint8_t seen_wanted(const void *record);

/** seen_message_json() - A message as an object; NULL if memory ran out */
json_t *seen_message_json(const void *record);

/**
 * seen_comment() - Add to a packet's comment what became of a message in it
 * @text:	@cap bytes; a string, that may be cut
 */
void seen_comment(const void *record, char *text, size_t cap);

/**
 * seen_packet_json() - A packet as an object; NULL if memory ran out
 * @comment:	About the messages in it; "": none
 */
json_t *seen_packet_json(void *record, const struct seen_group *group,
			 const char *comment);

#endif
