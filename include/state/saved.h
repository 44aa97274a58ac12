/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_SAVED_H
#define SIPALG_STATE_SAVED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fields.h"
#include "sip/codec.h"
#include "state/call.h"
#include "state/connection.h"
#include "state/describe.h"
#include "state/undo.h"
#include "tcp/image.h"

struct alg;

/*
 * Theory of operation
 *
 * What a successor of this program needs to go on, beside the kernel's own
 * table, as plain structs without pointers: each has a list of its fields, so
 * that whoever writes them down, and reads them back, knows none of them
 * (daemon/store). The live objects are another matter; they say by X_save() and
 * X_restore() what becomes of them.
 *
 * What is restored is checked like anything that comes from outside. The
 * kernel's table counts more: it is to be read (alg_adopt()) before.
 */

#define SAVED_TEXT_MAX 257

/** struct saved_undo - struct undo */
struct saved_undo {
	uint8_t group, id;
	uint16_t port;
	bool registered;
	char text[UNDO_TEXT + 1];
};

/** struct saved_note - struct undo_note */
struct saved_note {
	uint32_t branch, call;
	uint8_t id[SITE_GROUPS];
};

/** struct saved_mapping - Oldest text and message first */
struct saved_mapping {
	struct endpoint inside, public_end;
	uint64_t used_ms, made_ms;
	bool bypassed, open, many;
	uint8_t last_id;
	unsigned int undos, notes;
	struct saved_undo undo[UNDO_COUNT];
	struct saved_note note[UNDO_NOTES_MORE];
};

/**
 * struct saved_registration - One Contact
 * @contact, @public_end: Of its mapping
 */
struct saved_registration {
	struct tuple lan;
	struct addr registrar;
	struct endpoint contact, public_end;
	char aor[513];
	char user[SAVED_TEXT_MAX], transport[SAVED_TEXT_MAX];
	char contact_text[SAVED_TEXT_MAX], user_agent[SAVED_TEXT_MAX];
	uint64_t began_ms, named_ms, waits_ms, expires_ms;
	uint32_t wished_s, granted_s, request;
	uint16_t status;
	uint8_t challenges;
	bool asked, asks_rport;
};

struct saved_subscription {
	struct addr remote;
	struct endpoint inside_end, public_end;
	char call_id[CALL_ID_MAX + 1];
	uint64_t due_ms;
	bool granted;
};

struct saved_end {
	struct endpoint rtp, rtcp;
	uint8_t pairs;
	bool mux;
};

struct saved_side {
	struct saved_end now[DESCRIBE_MEDIA], before[DESCRIBE_MEDIA];
	unsigned int now_count, before_count;
	uint8_t both, both_before;
	bool open;
};

struct saved_dialog {
	uint32_t local_tag, remote_tag;
	bool confirmed, moved;
	uint64_t gone_ms;
	/* The inside host's, and the other's: two elements */
	struct saved_side side[2];
	unsigned int sides;
};

struct saved_stream {
	struct endpoint rtp, rtcp, public_rtp;
	uint8_t pairs;
	char type[12];
};

struct saved_peer {
	struct addr remote;
};

struct saved_call {
	struct addr inside, remote;
	struct endpoint inside_end, public_end;
	char call_id[CALL_ID_MAX + 1];
	uint8_t state, offer_both;
	bool outgoing, spoken, carried, ice_in, ice_out, replied, cancelled;
	bool bye, packets_unknown;
	uint16_t status;
	uint64_t started_ms, invited_ms, answered_ms, expires_ms, heard_ms;
	uint64_t due_ms, packets_out, packets_in;
	char codecs[CODEC_TEXT_MAX];
	char from[SAVED_TEXT_MAX], to[SAVED_TEXT_MAX];
	unsigned int peers, offers, dialogs, streams;
	struct saved_peer peer[CALL_PEERS];
	struct saved_end offer[DESCRIBE_MEDIA];
	struct saved_dialog dialog[DIALOGS_MAX];
	struct saved_stream stream[CALL_STREAMS];
};

struct saved_connection {
	struct tuple lan, wan;
	bool answered, alien;
	uint8_t ttl[2], tos[2]; /* by end */
	struct stream_image stream;
};

/**
 * union saved - Any of them; big: keep it off the stack
 */
union saved {
	struct saved_mapping mapping;
	struct saved_registration registration;
	struct saved_subscription subscription;
	struct saved_call call;
	struct saved_connection connection;
};

/**
 * struct saved_kind - What can be said of all objects of one kind
 * @name:	"call"
 * @fields:	Of its struct
 * @only_orderly: It is worth nothing unless the program ended in order: the
 *		world has gone on since it was written down
 * @each:	Fill @image with one after the other and call @emit for each
 * @restore:	Make it live again. Return: false if it makes no sense any more
 *
 * The rows are in the order in which they must be restored.
 */
struct saved_kind {
	const char *name;
	const struct field *fields;
	bool only_orderly;
	void (*each)(const struct alg *alg, union saved *image,
		     void (*emit)(void *arg), void *arg);
	bool (*restore)(struct alg *alg, const union saved *image,
			uint64_t now_ms);
};

/** saved_text() - @from, which may be NULL, as text of a saved struct */
void saved_text(char *to, size_t cap, const char *from);

/** saved_kinds - Ended by a row without a name */
extern const struct saved_kind saved_kinds[];

/** saved_restore() - Make @image, of @kind, live again; false if it makes no
 * sense any more */
bool saved_restore(struct alg *alg, const struct saved_kind *kind,
		   const union saved *image, uint64_t now_ms);

#endif
