/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_DIALOG_H
#define SIPALG_STATE_DIALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "sip/message.h"
#include "state/describe.h"

/** DIALOGS_MAX - Forks of one call that are followed; the oldest goes */
#define DIALOGS_MAX 16

/**
 * struct side - What one side of a dialog has said
 * @now, @before: Last, and before that while @open
 * @both, @both_before: The same: bits of the m= lines it wants media both ways
 *		on; all, until it has said something
 * @open:	An offer is under way; its answer makes @now final, its failure
 *		brings @before back
 */
struct side {
	struct media_end now[DESCRIBE_MEDIA], before[DESCRIBE_MEDIA];
	uint8_t both, both_before;
	bool open;
};

/**
 * struct dialog - One pair of tags
 * @local_tag, @remote_tag: Hashes; "local" is the inside host
 * @confirmed:	The INVITE was answered with 2xx
 * @moved:	An end has changed since media was last agreed on
 * @gone_ms:	When to forget it: another fork was answered; 0: not so
 */
struct dialog {
	uint32_t local_tag, remote_tag;
	struct side local, remote;
	bool confirmed, moved;
	uint64_t gone_ms;
	struct dialog *prev, *next;
};

/**
 * struct dialogs - Those of one call (RFC 3261 12)
 * @list:	The oldest first
 * @offer, @offer_both: What the first INVITE said: where each begins
 */
struct dialogs {
	struct dialog *list;
	struct media_end offer[DESCRIBE_MEDIA];
	uint8_t offer_both;
};

/** dialog_find() - The dialog of a message that the inside host sent
 * (@outbound) or got; NULL if there is none */
struct dialog *dialog_find(const struct dialogs *all, const struct message *msg,
			   bool outbound);

/**
 * dialog_get() - The same, made if the message can make one
 * @outgoing:	It was the inside host that sent the INVITE
 *
 * Return: NULL without a tag of To, or memory
 */
struct dialog *dialog_get(struct dialogs *all, const struct message *msg,
			  bool outbound, bool outgoing);

/** dialog_free() - Forget one; dialogs_free() - all */
void dialog_free(struct dialogs *all, struct dialog *dialog);
void dialogs_free(struct dialogs *all);

/** side_say() - It listens at @ends now, until the other one has answered also
 * where it did before */
void side_say(struct side *side, const struct media_end *ends, uint8_t both);

/** dialog_settle() - The offer under way was accepted, or refused */
void dialog_settle(struct dialog *d, bool accepted);

struct saved_call;

/** dialogs_save() - Write them down; into @out->dialog, @out->offer */
void dialogs_save(const struct dialogs *all, struct saved_call *out);
/** dialogs_restore() - Into none; false if memory ran out */
bool dialogs_restore(struct dialogs *all, const struct saved_call *in);

#endif
