/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_FILTER_H
#define SIPALG_DAEMON_FILTER_H

#include <stdbool.h>

#include "conf/conf.h"
#include "sip/message.h"

/** FILTER_WHY_MAX - The reason why a term was not taken, as text */
#define FILTER_WHY_MAX 160

/**
 * struct filter - Which messages somebody wants to see
 *
 * As journalctl(1) has it: terms of one key are alternatives, of different keys
 * all must hold. Without any it is every message.
 */
struct filter {
	struct conf_networks phone, peer;
	struct conf_names number, call_id, method;
};

/**
 * struct filter_subject - What is looked at
 * @phone, @peer: The inside host and the one outside; not set: not known
 * @other:	The second inside host, where both ends are
 * @msg:	NULL if it is no message that can be read
 */
struct filter_subject {
	struct addr phone, peer, other;
	const struct message *msg;
};

/**
 * filter_add() - Take a term: "phone=192.168.1.9", "number=+49*"
 * @why:	On failure: what is wrong, FILTER_WHY_MAX bytes
 *
 * Return: 0; -EINVAL
 */
int filter_add(struct filter *filter, struct span term, char *why);

/** filter_matches() - It is to be shown */
bool filter_matches(const struct filter *filter,
		    const struct filter_subject *subject);

/** filter_method() - The method's name: of a request, or of CSeq in an answer;
 * .ptr NULL if it has none */
struct span filter_method(const struct message *msg);

#endif
