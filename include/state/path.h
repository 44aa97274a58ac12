/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_PATH_H
#define SIPALG_STATE_PATH_H

#include "sip/message.h"
#include "state/binding.h"
#include "state/flow.h"
#include "state/symptom.h"

/**
 * path_look() - What the topmost Via of an answer tells about the way between
 * us and who answered
 * @flow:	Of the inside host that had asked
 * @shown:	The address that stands for it in messages
 * @msg:	The answer, not yet changed
 * @text:	SYMPTOM_TEXT_MAX bytes; set where something is wrong
 *
 * It must come back as it left (RFC 3261 8.2.6.2), but for received and rport,
 * which say where the request seemed to come from (RFC 3581 4).
 *
 * Return: SYMPTOM_upstream_alg, SYMPTOM_upstream_nat; SYMPTOM_COUNT if nothing
 * is to be seen
 */
enum symptom path_look(const struct flow *flow, const struct addr *shown,
		       const struct message *msg, char *text);

/** path_asks_rport() - The topmost Via has an rport parameter */
bool path_asks_rport(const struct message *msg);

#endif
