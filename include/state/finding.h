/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_FINDING_H
#define SIPALG_STATE_FINDING_H

#include "state/call.h"
#include "state/symptom.h"

/*
 * Symptoms that single messages and packets show. What takes time to show is
 * found by those it happens to: state/call, state/watch, state/registration.
 */

/**
 * finding_answer() - What an answer to INVITE shows
 * @call:	Its call
 * @flow:	Of the inside host, which @shown stands for in messages
 * @outbound:	The inside host answers
 *
 * Coming in, the path: once a call. Going out, that the inside host does not
 * know who is called.
 */
void finding_answer(struct calls *calls, struct call *call,
		    const struct flow *flow, const struct addr *shown,
		    const struct message *msg, bool outbound, uint64_t now_ms);

/** FINDING_PARTS - Counters of what keeps a part of a message as it is */
#define FINDING_PARTS 9

/** struct finding_mark - Their values before a message */
struct finding_mark {
	uint64_t value[FINDING_PARTS];
};

void finding_mark(const struct counters *counters, struct finding_mark *mark);

/** finding_since() - Which has counted since; COUNTER_COUNT if none */
enum counter finding_since(const struct counters *counters,
			   const struct finding_mark *mark);

/**
 * finding_part() - A part of a message went as it came, for @reason
 * @subject:	Its call, or else only the inside host
 */
void finding_part(struct symptoms *list, const struct symptom_subject *subject,
		  enum counter reason, const struct message *msg,
		  uint64_t now_ms);

/** finding_is_failure() - What counts under @reason would have been changed,
 * had it been possible */
bool finding_is_failure(enum counter reason);

/**
 * finding_failure() - A message went as it came, for @reason
 * @subject:	Its call, or else only the inside host
 * @example:	The message
 */
void finding_failure(struct symptoms *list,
		     const struct symptom_subject *subject, enum counter reason,
		     struct span example, uint64_t now_ms);

/**
 * finding_nobody() - A packet from outside was not let in
 * @wan:	Its tuple
 *
 * Of interest if it comes from a host that inside hosts have talked with: it
 * takes a phone for registered that is not any more. Nothing of it is read.
 */
void finding_nobody(struct symptoms *list, const struct bindings *bindings,
		    const struct tuple *wan, uint64_t now_ms);

#endif
