/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_UNDO_H
#define SIPALG_STATE_UNDO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "sip/sites.h"

/*
 * Theory of operation
 *
 * Where we wrote a public address, the inside host's own text must come back:
 * "192.168.1.9" and "192.168.1.9:5060" may both have become one public text,
 * and a phone that knows its public address wrote that itself.
 *
 * A mapping remembers the few texts its host uses, each with the place (group)
 * and the port we wrote for it. That says what to put back, unless two texts
 * were written alike. So it also remembers which text a transaction (branch)
 * and a dialog (Call-ID) used, and which one is registered.
 */

/** UNDO_TEXT - Longest text that is remembered; longer ones are not mapped */
#define UNDO_TEXT 52
/** UNDO_COUNT - Texts remembered a mapping */
#define UNDO_COUNT 6
/** UNDO_NOTES - Messages remembered a mapping; and where texts are ambiguous */
#define UNDO_NOTES 8
#define UNDO_NOTES_MORE 64

/**
 * struct undo - What stood where we wrote the public address
 * @group:	enum site_group
 * @port:	The port as written in its place; 0: none was written
 * @len:	Of @text; 0: the inside host wrote the public address itself
 * @id:		Names it in struct undo_note; never 0
 * @registered:	It stands in a Contact that a registrar has confirmed
 * @text:	Host and port as the inside host wrote them
 */
struct undo {
	uint8_t group, len;
	uint16_t port;
	uint8_t id;
	bool registered;
	char text[UNDO_TEXT];
};

/**
 * struct undo_message - Which message a text is from, or for
 * @branch:	Hash of its topmost branch; 0: not known
 * @call:	Hash of its Call-ID
 */
struct undo_message {
	uint32_t branch, call;
};

/** struct undo_note - Texts that one message used, by group; 0: none */
struct undo_note {
	struct undo_message msg;
	uint8_t id[SITE_GROUPS];
};

struct undo_more;

/**
 * struct undo_memory - What one mapping remembers
 * @count, @undo: Texts; of those for one place the last counts
 * @next, @note: Messages, going round
 * @more:	NULL until two texts are written alike
 */
struct undo_memory {
	uint8_t count, last_id;
	uint32_t next;
	struct undo undo[UNDO_COUNT];
	struct undo_note note[UNDO_NOTES];
	struct undo_more *more;
};

/** undo_free() - The memory is part of its owner and not freed itself */
void undo_free(struct undo_memory *m);

/**
 * undo_remember() - Keep what an inside host wrote
 * @port:	Port that was written instead, 0: none
 * @text:	What stood there; empty if it wrote the public address itself
 *
 * Return: false if @text is too long to be kept: do not map it
 */
bool undo_remember(struct undo_memory *m, enum site_group group, uint16_t port,
		   struct span text, const struct undo_message *msg);

/**
 * undo_recall() - What stood where we wrote the public address
 * @msg:	The message it comes back in
 *
 * By transaction, by dialog, by registration, or else what was written last.
 *
 * Return: NULL if nothing is known
 */
const struct undo *undo_recall(const struct undo_memory *m,
			       enum site_group group, uint16_t port,
			       const struct undo_message *msg);

/** undo_written() - What was written there in the request with that branch;
 * NULL if nothing is known of it */
const struct undo *undo_written(const struct undo_memory *m,
				enum site_group group, uint32_t branch);

/** undo_register() - The Contact of that transaction has been registered */
void undo_register(struct undo_memory *m, const struct undo_message *msg);

struct saved_mapping;

/** undo_save() - Write it down; into @out->undo, @out->note and what counts
 * them */
void undo_save(const struct undo_memory *m, struct saved_mapping *out);
/** undo_restore() - Into an empty one; false if memory ran out, or if it makes
 * no sense */
bool undo_restore(struct undo_memory *m, const struct saved_mapping *in);

#endif
