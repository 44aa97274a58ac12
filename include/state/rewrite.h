/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_REWRITE_H
#define SIPALG_STATE_REWRITE_H

#include "sip/edit.h"
#include "sip/field.h"
#include "sip/message.h"
#include "state/binding.h"

/**
 * struct rewrite - One message's header, being rewritten
 * @bindings:	Mappings: made for what leaves, looked up for what comes in
 * @flow:	The flow it came on
 * @msg:	The message
 * @outbound:	From inside
 * @shown:	The address that stands in messages for the inside host: its
 *		public one, or gateway.advertised_address
 * @edits:	Gets the changes
 * @message:	Which one it is; scratch, filled here
 * @via, @top:	The topmost Via, and what it says; .ptr NULL if there is none
 *		to be read; scratch
 * @announced:	Ports that got a mapping by it
 * @refused:	Set where one should have got one and could not: what is in
 *		@edits is but half of what is needed
 * @foreign:	enum foreign_what bits of the call; scratch
 */
struct rewrite {
	struct bindings *bindings;
	const struct flow *flow;
	const struct message *msg;
	bool outbound;
	struct addr shown;
	struct edit_list *edits;
	struct undo_message message;
	struct span via;
	struct via top;
	uint8_t foreign;
	unsigned int announced;
	bool refused;
};

/** rewrite_branch() - Hash of the topmost Via's branch; 0 if it has none */
uint32_t rewrite_branch(const struct message *msg);

/** rewrite_foreign() - enum foreign_what bits of a request from outside; for
 * foreign_set(), if its sender has a part in the call */
uint8_t rewrite_foreign(const struct rewrite *rw);

/** rewrite_header() - Go through the site table (sip/sites.c) */
void rewrite_header(struct rewrite *rw);

#endif
