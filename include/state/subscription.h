/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_SUBSCRIPTION_H
#define SIPALG_STATE_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/table.h"
#include "base/timer.h"
#include "sip/message.h"
#include "state/binding.h"

/*
 * Theory of operation
 *
 * A phone that subscribes (lamps, message waiting, the fate of a transfer) is
 * told by NOTIFY, perhaps much later than the kernel keeps an idle flow. The
 * notifier may reach the phone for as long as the subscription lasts: as the
 * 2xx to SUBSCRIBE grants it, and as each NOTIFY says (RFC 6665 4.1.2,
 * 4.1.3, 8.4). Only the phone's own SUBSCRIBE or REFER begins one, or its 2xx
 * to that of somebody outside, who may then refresh it.
 */

/**
 * struct subscription - One Call-ID under which an inside host has subscribed
 * @peer:	The notifier, held
 * @map:	The mapping it began on, held
 * @granted:	A 2xx has been seen
 * @key:	Inside host, then the Call-ID
 */
struct subscription {
	struct peer *peer;
	struct mapping *map;
	bool granted;
	struct timer timer;
	UT_hash_handle hh;
	struct subscription *prev, *next;
	size_t key_len;
	char key[];
};

/**
 * struct subscriptions - All of them
 * @list, @sure: Those that were granted last; see TABLE_QUEUE_ADD()
 */
struct subscriptions {
	const struct conf *conf;
	struct bindings *bindings;
	struct counters *counters;
	struct timer_wheel *wheel;
	struct subscription *table, *list, *sure;
};

void subscriptions_free(struct subscriptions *subs);

/** subscription_message() - Take note of a message, if it is about one */
void subscription_message(struct subscriptions *subs, const struct flow *flow,
			  const struct message *msg, bool outbound,
			  uint64_t now_ms);

struct saved_subscription;

/** subscription_save() - Write it down */
void subscription_save(const struct subscription *sub,
		       struct saved_subscription *out);

/** subscription_restore() - One that was written down; its mapping must be
 * there. False if it is over */
bool subscription_restore(struct subscriptions *subs,
			  const struct saved_subscription *in, uint64_t now_ms);

#endif
