/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/subscription.h"

#include <stdlib.h>
#include <utlist.h>

#include "sip/field.h"
#include "state/call.h"
#include "state/saved.h"

/* Not answered by then: Timer F, Timer N (RFC 3261 17.1.2, RFC 6665 4.1.2) */
#define TRANSACTION_S 32
/* The answer does not say how long; RFC 6665 leaves it to the event package */
#define DEFAULT_S 3600
/* Nobody means more */
#define MAX_S (7 * 24 * 3600)

static void subscription_free(struct subscriptions *subs,
			      struct subscription *sub)
{
	timer_stop(subs->wheel, &sub->timer);
	HASH_DELETE(hh, subs->table, sub);
	TABLE_QUEUE_LEAVE(subs->list, subs->sure, sub);
	peer_release(sub->peer);
	mapping_release(subs->bindings, sub->map);
	free(sub);
}

void subscriptions_free(struct subscriptions *subs)
{
	while (subs->list)
		subscription_free(subs, subs->list);
}

static void subscription_fire(struct timer *timer, void *owner, uint64_t now_ms)
{
	(void)now_ms;
	subscription_free(owner,
			  TIMER_OBJECT(timer, struct subscription, timer));
}

static struct subscription *add(struct subscriptions *subs, const char *key,
				size_t key_len, const struct addr *remote,
				struct mapping *map, uint64_t now_ms)
{
	struct subscription *sub = calloc(1, sizeof(*sub) + key_len);

	if (!sub)
		return NULL;
	if (HASH_COUNT(subs->table) >= subs->conf->limits.registrations) {
		counter_add(subs->counters, COUNTER_subscriptions_evicted);
		subscription_free(subs, subs->list);
	}
	sub->key_len = key_len;
	memcpy(sub->key, key, key_len);
	sub->timer.fire = subscription_fire;
	HASH_ADD(hh, subs->table, key, (unsigned int)key_len, sub);
	if (!TABLE_HAS(sub, hh)) {
		free(sub);
		return NULL;
	}
	sub->peer =
		peer_hold(subs->bindings, &map->in.inside.addr, remote, now_ms);
	sub->map = map;
	sub->map->holds++;
	TABLE_QUEUE_ADD(subs->list, subs->sure, sub);
	return sub;
}

/* It was heard of */
static void touch(struct subscriptions *subs, struct subscription *sub)
{
	TABLE_QUEUE_USED(subs->list, subs->sure, sub, sub->granted);
}

/* The subscription of a message; made if the message begins one */
static struct subscription *get(struct subscriptions *subs,
				const struct flow *flow,
				const struct message *msg, bool begins,
				uint64_t now_ms)
{
	char key[CALL_KEY_MAX];
	size_t len = call_key(key, &flow->lan.src.addr, msg);
	struct subscription *sub;

	if (!len)
		return NULL;
	HASH_FIND(hh, subs->table, key, len, sub);
	if (sub)
		touch(subs, sub);
	else if (begins)
		sub = add(subs, key, len, &flow->lan.dst.addr, flow->map,
			  now_ms);
	return sub;
}

/* For @seconds from now; 0 ends it */
static void last(struct subscriptions *subs, struct subscription *sub,
		 uint64_t seconds, uint64_t now_ms)
{
	if (!seconds) {
		subscription_free(subs, sub);
		return;
	}
	if (seconds > MAX_S)
		seconds = MAX_S;
	timer_start(subs->wheel, &sub->timer, now_ms + seconds * 1000);
}

/* What the answer to SUBSCRIBE grants */
static void on_answer(struct subscriptions *subs, struct subscription *sub,
		      const struct message *msg, uint64_t now_ms)
{
	struct span expires = message_value(msg, SIP_EXPIRES);
	uint64_t seconds = DEFAULT_S;

	if (msg->status < 200 || msg->status == 401 || msg->status == 407)
		return;
	if (msg->status >= 300) {
		/* A refresh that is refused leaves what was granted, unless it
		 * is not known any more (RFC 6665 4.1.2.2)
		 */
		if (!sub->granted || msg->status == 481)
			last(subs, sub, 0, now_ms);
		return;
	}
	sub->granted = true;
	touch(subs, sub);
	if (expires.len)
		span_to_uint(expires, UINT32_MAX, &seconds);
	/* Also with 0: the last NOTIFY follows (RFC 6665 4.1.2.3) */
	last(subs, sub, seconds ? seconds : TRANSACTION_S, now_ms);
}

/* "active;expires=600", "terminated;reason=timeout" */
static void on_notify(struct subscriptions *subs, struct subscription *sub,
		      const struct message *msg, uint64_t now_ms)
{
	struct span state = message_value(msg, SIP_SUBSCRIPTION_STATE);
	struct span expires = field_param(field_params(state), SPAN("expires"));
	uint64_t seconds;

	if (span_starts(state, SPAN("terminated")))
		last(subs, sub, 0, now_ms);
	else if (expires.len && !span_to_uint(expires, UINT32_MAX, &seconds))
		last(subs, sub, seconds, now_ms);
}

/* Of what others say, only that of the host it is with counts */
static bool is_of_peer(const struct subscription *sub, const struct flow *flow)
{
	return sub->peer &&
	       addr_eq(&sub->peer->key.remote, &flow->lan.dst.addr);
}

/* The inside host wants to be told, or has agreed to tell */
static bool is_begun(const struct message *msg, bool outbound)
{
	if (!outbound)
		return false;
	if (message_is_request(msg))
		return msg->method == SIP_SUBSCRIBE || msg->method == SIP_REFER;
	return msg->method == SIP_SUBSCRIBE && msg->status / 100 == 2;
}

void subscription_message(struct subscriptions *subs, const struct flow *flow,
			  const struct message *msg, bool outbound,
			  uint64_t now_ms)
{
	bool request = message_is_request(msg);
	bool begun = is_begun(msg, outbound);
	struct subscription *sub;

	if (!begun && msg->method != SIP_NOTIFY && msg->method != SIP_SUBSCRIBE)
		return;
	sub = get(subs, flow, msg, begun, now_ms);
	if (!sub || (!outbound && !is_of_peer(sub, flow)))
		return;
	if (begun && request && !sub->timer.running)
		last(subs, sub, TRANSACTION_S, now_ms);
	else if (msg->method == SIP_SUBSCRIBE && !request)
		on_answer(subs, sub, msg, now_ms);
	else if (msg->method == SIP_NOTIFY && request)
		on_notify(subs, sub, msg, now_ms);
}

/* ---- over a restart ---- */

void subscription_save(const struct subscription *sub,
		       struct saved_subscription *out)
{
	struct span id = { sub->key + sizeof(struct addr),
			   sub->key_len - sizeof(struct addr) };

	*out = (struct saved_subscription){
		.inside_end = sub->map->in.inside,
		.public_end = sub->map->public_end,
		.due_ms = sub->timer.due_ms,
		.granted = sub->granted,
	};
	if (sub->peer)
		out->remote = sub->peer->key.remote;
	span_copy(out->call_id, sizeof(out->call_id), id);
}

bool subscription_restore(struct subscriptions *subs,
			  const struct saved_subscription *in, uint64_t now_ms)
{
	struct mapping *map =
		mapping_find_public(subs->bindings, &in->public_end);
	char key[CALL_KEY_MAX];
	size_t len = call_key_of(key, &in->inside_end.addr,
				 span_from_str(in->call_id));
	struct subscription *sub;

	if (!map || !endpoint_eq(&map->in.inside, &in->inside_end) || !len ||
	    !addr_is_set(&in->remote) || in->due_ms <= now_ms)
		return false;
	HASH_FIND(hh, subs->table, key, len, sub);
	if (sub)
		return false;
	sub = add(subs, key, len, &in->remote, map, now_ms);
	if (!sub)
		return false;
	sub->granted = in->granted;
	touch(subs, sub);
	last(subs, sub, (in->due_ms - now_ms + 999) / 1000, now_ms);
	return true;
}
