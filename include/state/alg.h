/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_ALG_H
#define SIPALG_STATE_ALG_H

#include <stdint.h>

#include "base/timer.h"
#include "conf/conf.h"
#include "sip/desc.h"
#include "sip/edit.h"
#include "sip/message.h"
#include "sip/packet.h"
#include "state/binding.h"
#include "state/call.h"
#include "state/connection.h"
#include "state/counters.h"
#include "state/host.h"
#include "state/media.h"
#include "state/nat.h"
#include "state/registration.h"
#include "state/subscription.h"
#include "state/symptom.h"

/**
 * struct alg_listener - Told of every message that was read; may be empty
 * @message:	The message is in alg->msg, what was (or, for COUNTER_observed,
 *		would be) changed in alg->edits; @flow is the sender's, and
 *		@side where it came from
 */
struct alg_listener {
	void (*message)(void *arg, enum counter reason, const struct flow *flow,
			enum nat_side side);
	void *arg;
};

/**
 * struct alg - The gateway: all state, and the scratch of one packet
 * @conf:	Replaced by alg_configure()
 * @found_ms:	When a packet without call or registration was last looked at
 *		for symptoms: once a second is enough
 * @msg, @desc, @edits, @out: Of the packet in hand; valid until the next
 */
struct alg {
	const struct conf *conf;
	struct nat nat;
	struct counters counters;
	struct symptoms symptoms;
	struct hosts hosts;
	struct bindings bindings;
	struct media media;
	struct calls calls;
	struct registrations registrations;
	struct subscriptions subscriptions;
	struct connections connections;
	struct alg_listener listener;
	struct timer_wheel call_timers, registration_timers;
	struct timer_wheel subscription_timers;
	uint64_t found_ms;
	struct message msg;
	struct desc desc;
	struct edit_list edits;
	uint8_t out[PACKET_MAX + 64];
};

/**
 * struct decision - What becomes of a packet
 * @reason:	Counter that stands for it: COUNTER_rewritten, or why not
 * @drop:	Drop it; else it is accepted
 * @data, @len:	The packet to send instead; NULL to send it as it came
 *
 * Of several messages in one TCP segment it is the last one's reason.
 */
struct decision {
	enum counter reason;
	bool drop;
	const uint8_t *data;
	size_t len;
};

/**
 * alg_new() - A gateway without any state
 * @conf:	Must live until alg_configure() or alg_free()
 * @ops, @ops_ctx: The kernel
 *
 * Return: NULL if memory ran out
 */
struct alg *alg_new(const struct conf *conf, const struct nat_ops *ops,
		    void *ops_ctx, uint64_t now_ms);
/** alg_free() - Forget all; what the kernel has stays (calls go on) */
void alg_free(struct alg *alg);

/** alg_configure() - Go on with another configuration; the old one may go */
void alg_configure(struct alg *alg, const struct conf *conf);

/**
 * alg_packet() - Decide one packet
 * @data, @len:	From the IP header on
 * @side:	Where it came from
 *
 * Everything that an outgoing message announces exists in the kernel when this
 * returns. Any failure leaves the packet as it came.
 */
struct decision alg_packet(struct alg *alg, const void *data, size_t len,
			   enum nat_side side, uint64_t now_ms);

/**
 * alg_adopt() - Take up a signalling flow that is older than this program
 *
 * So is media of a call, by its public port. Any other entry, and one that does
 * not cross from inside to outside or is not translated, is passed over.
 */
void alg_adopt(struct alg *alg, const struct nat_entry *entry, uint64_t now_ms);

/**
 * alg_line_changed() - Addresses or routes of the gateway have changed
 *
 * What leaves no more as it did is taken out of the kernel at once: phones are
 * found by their new address as soon as they say something.
 *
 * Return: flows and connections that were
 */
unsigned int alg_line_changed(struct alg *alg, uint64_t now_ms);

/** alg_gone() - The kernel has dropped an entry */
void alg_gone(struct alg *alg, const struct tuple *lan);

/** alg_doubt() - It may have dropped any: that was not told */
void alg_doubt(struct alg *alg, uint64_t now_ms);

/** alg_run() - Do what is due: whenever alg_wait_ms() is over */
void alg_run(struct alg *alg, uint64_t now_ms);

/** alg_wait_ms() - So long nothing is due; -1: for ever */
int alg_wait_ms(const struct alg *alg, uint64_t now_ms);

/**
 * alg_stop() - The program ends: what cannot go on without it is ended
 *
 * Return: TCP connections that were reset
 */
unsigned int alg_stop(struct alg *alg, uint64_t now_ms);

/** alg_catch_up() - What comes next has waited for us, and was not sent as fast
 * as it comes: limits.rate_per_phone does not count for a moment */
void alg_catch_up(struct alg *alg, uint64_t now_ms);

/** alg_tick() - Let time pass; about once a second */
void alg_tick(struct alg *alg, uint64_t now_ms);

#endif
