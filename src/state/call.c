/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "sip/field.h"
#include "state/rewrite.h"
#include "state/saved.h"

/* Timer B, F, H and the like: 64 * T1 (RFC 3261 17) */
#define TRANSACTION_MS 32000
/* Ringing: Timer C is at least three minutes (RFC 3261 16.6, 11) */
#define RINGING_MS 240000
/* A call without media of ours and without a session timer is forgotten */
#define SILENT_MS (24 * 3600 * 1000ull)
/* A longer session timer is none */
#define SESSION_MAX_S (7 * 24 * 3600)
/* Longest text kept for people */
#define TEXT_MAX 256
/* How often pinholes are prolonged, at most */
#define KEEP_MAX_S 60
/* Over how long it is spread where all calls want it */
#define DOUBT_S 5
#define RESTORED_S 30
/* An answered call is idle if two looks have seen no media flow */
#define IDLE_MS (2 * KEEP_MAX_S * 1000)

/* Longest silence that a caller takes for a slow network */
#define CANCEL_MS 5000

static void call_fire(struct timer *timer, void *owner, uint64_t now_ms);

/* ---- the table ---- */

struct span call_id(const struct call *call)
{
	return (struct span){ call->key + sizeof(struct addr),
			      call->key_len - sizeof(struct addr) };
}

const char *call_state_name(enum call_state state)
{
	static const char *const names[] = {
		[CALL_TRYING] = "trying", [CALL_EARLY] = "early",
		[CALL_ACTIVE] = "active", [CALL_HELD] = "held",
		[CALL_ENDED] = "ended",
	};

	return names[state];
}

struct addr call_inside(const struct call *call)
{
	struct addr inside;

	memcpy(&inside, call->key, sizeof(inside));
	return inside;
}

enum call_result call_result(const struct call *call)
{
	if (call->answered_ms)
		return CALL_ANSWERED;
	if (call->cancelled)
		return CALL_CANCELLED;
	return call->status >= 300 ? CALL_FAILED : CALL_UNANSWERED;
}

const char *call_result_name(enum call_result result)
{
	static const char *const names[] = {
		[CALL_ANSWERED] = "answered",
		[CALL_CANCELLED] = "cancelled",
		[CALL_FAILED] = "failed",
		[CALL_UNANSWERED] = "unanswered",
	};

	return names[result];
}

struct symptom_subject call_subject(struct call *call)
{
	return (struct symptom_subject){
		.mask = &call->symptoms,
		.notes = &call->notes,
		/* The key begins with it, and an address is bytes */
		.inside = (const struct addr *)(const void *)call->key,
		.id = call_id(call),
	};
}

size_t call_key(char *key, const struct addr *inside, const struct message *msg)
{
	return call_key_of(key, inside, message_value(msg, SIP_CALL_ID));
}

size_t call_key_of(char *key, const struct addr *inside, struct span id)
{
	if (!id.len || id.len > CALL_ID_MAX)
		return 0;
	memcpy(key, inside, sizeof(*inside));
	memcpy(key + sizeof(*inside), id.ptr, id.len);
	return sizeof(*inside) + id.len;
}

/* What it has from sources that nobody announced goes with the stream */
static void close_stream(struct calls *calls, struct call *call,
			 struct media_stream *s)
{
	if (s->refs == 1) {
		pinhole_begin(s->guests);
		pinhole_sum_unwanted(calls->media, s->guests, &call->traffic);
	}
	if (s->call == call)
		s->call = NULL;
	media_stream_put(calls->media, s);
}

static void sweep(struct calls *calls, struct call *call)
{
	pinhole_sum_unwanted(calls->media, call->pinholes, &call->traffic);
	pinhole_sweep(calls->media, &call->pinholes);
}

/* Close all that the call has open, and give its ports and peers back */
/* ---- its host's share ---- */

static bool has_share(const struct calls *calls, const struct addr *inside)
{
	return host_may_take(calls->bindings->hosts, inside, SHARE_CALLS, 1,
			     calls->live, calls->conf->limits.calls);
}

static void take_share(struct calls *calls, struct call *call)
{
	struct addr inside = call_inside(call);

	calls->live++;
	call->host = host_take(calls->bindings->hosts, &inside, SHARE_CALLS, 1);
}

static void give_share(struct calls *calls, struct call *call)
{
	calls->live--;
	host_give(call->host, SHARE_CALLS, 1);
	call->host = NULL;
}

/* ---- beginning and end ---- */

static void call_close(struct calls *calls, struct call *call)
{
	dialogs_free(&call->dialogs);
	pinhole_begin(call->pinholes);
	sweep(calls, call);
	for (int i = 0; i < CALL_STREAMS; i++) {
		if (call->stream[i])
			close_stream(calls, call, call->stream[i]);
		call->stream[i] = NULL;
	}
	if (call->map)
		mapping_release(calls->bindings, call->map);
	call->map = NULL;
	for (int i = 0; i < CALL_PEERS && call->peer[i]; i++) {
		peer_release(call->peer[i]);
		call->peer[i] = NULL;
	}
}

static void call_free(struct calls *calls, struct call *call)
{
	call_close(calls, call);
	if (call->state != CALL_ENDED)
		give_share(calls, call);
	timer_stop(calls->wheel, &call->timer);
	table_walks_leave(calls->walks, call, call->hh.prev);
	HASH_DELETE(hh, calls->table, call);
	TABLE_QUEUE_LEAVE(calls->list, calls->sure, call);
	free(call->from);
	free(call->to);
	symptom_notes_free(call->notes);
	free(call);
}

static void tell_end(struct calls *calls, struct call *call, uint64_t now_ms)
{
	if (call->told)
		return;
	call->told = true;
	if (calls->ended)
		calls->ended(calls->owner, call, now_ms);
}

static void call_end(struct calls *calls, struct call *call, uint64_t now_ms)
{
	if (call->state == CALL_ENDED)
		return;
	call->state = CALL_ENDED;
	give_share(calls, call);
	counter_add(calls->counters, COUNTER_calls_ended);
	call_close(calls, call);
	/* The caller is expected to ask again */
	if (!sip_wants_credentials(call->status) || call->answered_ms)
		tell_end(calls, call, now_ms);
	call->due_ms = now_ms + TRANSACTION_MS;
	timer_start(calls->wheel, &call->timer, call->due_ms);
	/* Of all calls, those that are over make room first */
	TABLE_QUEUE_LEAVE(calls->list, calls->sure, call);
	DL_PREPEND(calls->list, call);
	call->sure = false;
}

/* It was heard of, or its media */
static void touch(struct calls *calls, struct call *call)
{
	TABLE_QUEUE_USED(calls->list, calls->sure, call, call->sure);
}

static void make_sure(struct calls *calls, struct call *call)
{
	call->sure = true;
	touch(calls, call);
}

void calls_free(struct calls *calls)
{
	while (calls->list)
		call_free(calls, calls->list);
}

/* A host the inside host talks to about this call may send for as long */
static void call_add_peer(struct calls *calls, struct call *call,
			  const struct flow *flow, uint64_t now_ms)
{
	int i;

	if (!call->map) {
		call->map = flow->map;
		call->map->holds++;
	}
	for (i = 0; i < CALL_PEERS && call->peer[i]; i++) {
		if (addr_eq(&call->peer[i]->key.remote, &flow->lan.dst.addr))
			return;
	}
	if (i == CALL_PEERS)
		return;
	call->peer[i] = peer_hold(calls->bindings, &flow->lan.src.addr,
				  &flow->lan.dst.addr, now_ms);
}

/* The one that is of least use goes. A call in which people talk is not given
 * up for one that begins.
 */
static bool make_room(struct calls *calls, uint64_t now_ms)
{
	struct call *first = calls->list;

	if (HASH_COUNT(calls->table) < calls->conf->limits.calls)
		return true;
	if (first->sure && now_ms - first->heard_ms < IDLE_MS) {
		counter_add(calls->counters, COUNTER_calls_refused);
		return false;
	}
	counter_add(calls->counters, COUNTER_calls_evicted);
	call_close(calls, first);
	tell_end(calls, first, now_ms);
	call_free(calls, first);
	return true;
}

/* Who is at the other end; in a hairpin, the inside host behind the public
 * address that all of them share
 */
static const struct addr *remote_host(const struct flow *flow)
{
	return &flow->wan.src.addr;
}

bool call_has_party(const struct calls *calls, const struct call *call,
		    const struct addr *host)
{
	return parties_have(&call->parties, calls->conf, host);
}

static struct call *call_new(struct calls *calls, const char *key,
			     size_t key_len, struct span from, struct span to,
			     uint64_t now_ms)
{
	struct call *call;

	if (!make_room(calls, now_ms))
		return NULL;
	call = calloc(1, sizeof(*call) + key_len);
	if (!call)
		return NULL;
	call->key_len = key_len;
	memcpy(call->key, key, key_len);
	call->started_ms = call->heard_ms = now_ms;
	call->from = span_dup(from, TEXT_MAX);
	call->to = span_dup(to, TEXT_MAX);
	call->timer.fire = call_fire;
	call->due_ms = now_ms + RINGING_MS;
	HASH_ADD(hh, calls->table, key, (unsigned int)key_len, call);
	if (!TABLE_HAS(call, hh)) {
		free(call->from);
		free(call->to);
		free(call);
		return NULL;
	}
	TABLE_QUEUE_ADD(calls->list, calls->sure, call);
	take_share(calls, call);
	return call;
}

static bool is_meddled(const struct calls *calls, const struct call *call,
		       const struct flow *flow)
{
	return !call_has_party(calls, call, remote_host(flow));
}

bool call_is_meddled(const struct calls *calls, const struct flow *flow,
		     const struct message *msg)
{
	const struct call *call = call_find(calls, &flow->lan.src.addr, msg);

	return call && call->state != CALL_ENDED &&
	       is_meddled(calls, call, flow);
}

static bool is_call_method(enum sip_method method)
{
	return method == SIP_INVITE || method == SIP_ACK || method == SIP_BYE ||
	       method == SIP_CANCEL || method == SIP_PRACK ||
	       method == SIP_UPDATE;
}

struct call *call_find(const struct calls *calls, const struct addr *inside,
		       const struct message *msg)
{
	char key[CALL_KEY_MAX];
	size_t len = call_key(key, inside, msg);
	struct call *call = NULL;

	if (len)
		HASH_FIND(hh, calls->table, key, len, call);
	return call;
}

bool call_is_carried(const struct calls *calls, const struct addr *inside,
		     const struct message *msg)
{
	const struct call *call = call_find(calls, inside, msg);

	return call && call->carried;
}

/*
 * From now on we work for it. What both sides have said while we only looked
 * was never announced: whatever NAT has made of that carries the media, and
 * stays. The next offer and answer are the first of ours.
 */
static void carry(struct calls *calls, struct call *call)
{
	struct dialog *d;

	call->carried = true;
	for (int i = 0; i < CALL_STREAMS; i++) {
		if (call->stream[i])
			call->stream[i]->carried = true;
	}
	memset(call->dialogs.offer, 0, sizeof(call->dialogs.offer));
	DL_FOREACH (call->dialogs.list, d) {
		memset(&d->local, 0, sizeof(d->local));
		memset(&d->remote, 0, sizeof(d->remote));
		d->local.both = d->remote.both = UINT8_MAX;
	}
	calls->nat->dry = true;
	pinhole_begin(call->pinholes);
	sweep(calls, call);
	calls->nat->dry = false;
}

static bool is_invite(const struct message *msg)
{
	return message_is_request(msg) && msg->method == SIP_INVITE;
}

/* An answer from outside to what we have not seen begins nothing: it need not
 * be one
 */
static struct call *call_begin(struct calls *calls, const struct flow *flow,
			       const struct message *msg, bool outbound,
			       bool media, uint64_t now_ms)
{
	bool request = message_is_request(msg);
	char key[CALL_KEY_MAX];
	size_t len = call_key(key, &flow->lan.src.addr, msg);
	struct call *call;

	if (!len || !(is_invite(msg) || (media && (request || outbound))))
		return NULL;
	if (!has_share(calls, &flow->lan.src.addr)) {
		counter_add(calls->counters, COUNTER_over_share);
		return NULL;
	}
	call = call_new(calls, key, len, message_value(msg, SIP_FROM),
			message_value(msg, SIP_TO), now_ms);
	if (!call)
		return NULL;
	counter_add(calls->counters, COUNTER_calls_started);
	call->outgoing = outbound == request;
	call->remote = flow->lan.dst.addr;
	return call;
}

/* Whom the inside host sends this to has a part in the call: not who is only
 * told that there is none for him
 */
static bool takes(const struct message *msg)
{
	return message_is_request(msg) ||
	       (msg->status > 100 && msg->status < 300);
}

struct call *call_open(struct calls *calls, const struct flow *flow,
		       const struct message *msg, bool outbound, bool media,
		       uint64_t now_ms)
{
	struct call *call;
	bool has_part;

	if (!is_call_method(msg->method))
		return NULL;
	call = call_find(calls, &flow->lan.src.addr, msg);
	if (!call) {
		call = call_begin(calls, flow, msg, outbound, media, now_ms);
		if (!call)
			return NULL;
	} else if (call->state == CALL_ENDED && is_invite(msg)) {
		touch(calls, call);
		call->remote = flow->lan.dst.addr;
		call->parties = (struct parties){ 0 };
	} else if (!outbound && is_meddled(calls, call, flow)) {
		return NULL;
	} else if (call->state != CALL_ENDED) {
		touch(calls, call);
	}
	has_part = !outbound || takes(msg);
	if (has_part)
		parties_add(&call->parties, remote_host(flow));
	/* From outside it is a party that says who else comes */
	if (!outbound)
		parties_learn(&call->parties, msg);
	/* Outside cannot keep its way in open by calls that nobody takes */
	call->spoken |= outbound;
	if (!call->carried && !calls->nat->dry)
		carry(calls, call);
	if (has_part && call->spoken &&
	    (call->state != CALL_ENDED || is_invite(msg)))
		call_add_peer(calls, call, flow, now_ms);
	return call;
}

/* ---- pinholes ---- */

const struct media_stream *call_stream(const struct call *call,
				       const struct endpoint *inside_rtp)
{
	for (int i = 0; i < CALL_STREAMS; i++) {
		const struct media_stream *s = call->stream[i];

		if (s && endpoint_eq(&s->in.inside_rtp, inside_rtp))
			return s;
	}
	return NULL;
}

static struct endpoint port_above(struct endpoint end, unsigned int by)
{
	end.port = (uint16_t)(end.port + by);
	return end;
}

/* RTP and RTCP between one end inside and one outside, for each pair */
static void want_line(struct calls *calls, struct call *call,
		      const struct media_end *in, const struct media_end *out)
{
	const struct media_stream *s;

	if (!in->rtp.port || !out->rtp.port)
		return;
	s = call_stream(call, &in->rtp);
	if (!s)
		return;
	for (unsigned int i = 0; i < in->pairs && i < out->pairs; i++) {
		struct endpoint inside = port_above(in->rtp, 2 * i);
		struct endpoint shown = port_above(s->public_rtp, 2 * i);
		struct endpoint remote = port_above(out->rtp, 2 * i);

		pinhole_want(calls->media, &call->pinholes, &inside, &shown,
			     &remote, false);
		if ((in->mux && out->mux) || !in->rtcp.port || !out->rtcp.port)
			continue;
		inside = port_above(in->rtcp, 2 * i);
		remote = port_above(out->rtcp, 2 * i);
		shown = port_above(stream_public_rtcp(s), 2 * i);
		pinhole_want(calls->media, &call->pinholes, &inside, &shown,
			     &remote, true);
	}
}

static void want_dialog(struct calls *calls, struct call *call,
			const struct dialog *d)
{
	for (int i = 0; i < DESCRIBE_MEDIA; i++) {
		const struct media_end *in[2] = {
			&d->local.now[i],
			d->local.open ? &d->local.before[i] : NULL,
		};
		const struct media_end *out[2] = {
			&d->remote.now[i],
			d->remote.open ? &d->remote.before[i] : NULL,
		};

		for (int n = 0; n < 4; n++) {
			if (in[n & 1] && out[n >> 1])
				want_line(calls, call, in[n & 1], out[n >> 1]);
		}
	}
}

/* Make what is open in the kernel equal to what both sides have said */
static void call_reconcile(struct calls *calls, struct call *call)
{
	struct dialog *d;

	pinhole_begin(call->pinholes);
	DL_FOREACH (call->dialogs.list, d)
		want_dialog(calls, call, d);
	sweep(calls, call);
}

/* ---- descriptions ---- */

static bool ends_name(const struct media_end *ends,
		      const struct media_stream *s)
{
	for (int i = 0; i < DESCRIBE_MEDIA; i++) {
		if (endpoint_eq(&ends[i].rtp, &s->in.inside_rtp))
			return true;
	}
	return false;
}

static bool call_names(const struct call *call, const struct media_stream *s)
{
	const struct dialog *d;

	if (call->outgoing && ends_name(call->dialogs.offer, s))
		return true;
	DL_FOREACH (call->dialogs.list, d) {
		if (ends_name(d->local.now, s) ||
		    (d->local.open && ends_name(d->local.before, s)))
			return true;
	}
	return false;
}

/* Take over a reference: into a free place, or that of a stream that nobody
 * names any more
 */
static void take_stream(struct calls *calls, struct call *call,
			struct media_stream *s)
{
	struct media_stream **slot = NULL;

	for (int i = 0; i < CALL_STREAMS && !slot; i++) {
		if (!call->stream[i] || call->stream[i] == s)
			slot = &call->stream[i];
	}
	for (int i = 0; i < CALL_STREAMS && !slot; i++) {
		if (!call_names(call, call->stream[i]))
			slot = &call->stream[i];
	}
	if (!slot) {
		counter_add(calls->counters, COUNTER_media_exhausted);
		media_stream_put(calls->media, s);
		return;
	}
	if (*slot)
		close_stream(calls, call, *slot);
	*slot = s;
	s->call = call;
	s->carried |= call->carried;
}

bool call_has_media(const struct call *call)
{
	return call->stream[0] != NULL;
}

static void drop_streams(struct calls *calls, const struct description *said,
			 bool outbound)
{
	for (int i = 0; outbound && i < DESCRIBE_MEDIA; i++) {
		if (said->stream[i])
			media_stream_put(calls->media, said->stream[i]);
	}
}

void call_describe(struct calls *calls, struct call *call,
		   const struct message *msg, bool outbound,
		   const struct description *said)
{
	const struct media_end *ends = outbound ? said->end : said->told;
	struct dialog *d;
	struct media_end next[DESCRIBE_MEDIA];
	struct side *side;

	/* A late repetition of what was said before the end opens nothing */
	if (call->state == CALL_ENDED &&
	    !(message_is_request(msg) && msg->method == SIP_INVITE)) {
		drop_streams(calls, said, outbound);
		return;
	}
	d = dialog_get(&call->dialogs, msg, outbound, call->outgoing);
	for (int i = 0; outbound && i < DESCRIBE_MEDIA; i++) {
		if (said->stream[i])
			take_stream(calls, call, said->stream[i]);
	}
	*(outbound ? &call->ice_out : &call->ice_in) = said->ice;
	if (!d) {
		/* The INVITE itself, or an answer without a tag */
		if (outbound == call->outgoing) {
			memcpy(call->dialogs.offer, ends,
			       sizeof(call->dialogs.offer));
			call->dialogs.offer_both = said->both;
		}
		return;
	}
	side = outbound ? &d->local : &d->remote;
	for (int i = 0; i < DESCRIBE_MEDIA; i++)
		next[i] = said->blank[i] ? side->now[i] : ends[i];
	d->moved |= memcmp(side->now, next, sizeof(next)) != 0;
	side_say(side, next, said->both);
	call_reconcile(calls, call);
}

/* ---- the life of a call ---- */

/* The INVITE has not even got a provisional answer */
static bool awaits_answer(const struct call *call)
{
	return call->state == CALL_TRYING && call->invited_ms &&
	       !call->replied && !call->cancelled;
}

static void schedule(struct calls *calls, struct call *call, uint64_t now_ms)
{
	const struct nat *nat = calls->media->nat;
	uint32_t idle_s = nat->ops->idle_s(nat->ctx, IPPROTO_UDP, true);
	uint64_t next_ms = call->due_ms, keep_s, look_ms;

	if (call->pinholes) {
		keep_s = calls->conf->media.timeout_s;
		if (idle_s < keep_s)
			keep_s = idle_s;
		keep_s = keep_s / 3;
		if (keep_s > KEEP_MAX_S)
			keep_s = KEEP_MAX_S;
		if (!keep_s)
			keep_s = 1;
		if (now_ms + keep_s * 1000 < next_ms)
			next_ms = now_ms + keep_s * 1000;
		look_ms = watch_due_ms(&call->watch);
		if (look_ms && look_ms < next_ms)
			next_ms = look_ms;
	}
	/* Until then somebody should have said something */
	look_ms = call->invited_ms + TRANSACTION_MS;
	if (awaits_answer(call) && look_ms > now_ms && look_ms < next_ms)
		next_ms = look_ms;
	timer_start(calls->wheel, &call->timer, next_ms);
}

static void set_due(struct calls *calls, struct call *call, uint64_t now_ms,
		    uint64_t in_ms)
{
	call->due_ms = now_ms + in_ms;
	schedule(calls, call, now_ms);
}

/* RFC 4028 4: the interval in seconds, before any parameter */
static void read_session_timer(struct call *call, const struct message *msg,
			       uint64_t now_ms)
{
	struct span value = message_value(msg, SIP_SESSION_EXPIRES);
	const char *semicolon = span_chr(value, ';');
	uint64_t seconds;

	if (semicolon)
		value = span_between(value.ptr, semicolon);
	call->expires_ms = 0;
	if (value.len &&
	    !span_to_uint(span_trim(value), SESSION_MAX_S, &seconds))
		call->expires_ms = now_ms + seconds * 1000 + TRANSACTION_MS;
}

/* A confirmed call goes on until its session timer, or very long */
static void set_due_active(struct calls *calls, struct call *call,
			   uint64_t now_ms)
{
	set_due(calls, call, now_ms,
		call->expires_ms ? call->expires_ms - now_ms : SILENT_MS);
}

/* Media may go by other ways than the description says first (RFC 8445) */
static bool has_ice(const struct call *call)
{
	return call->ice_in && call->ice_out;
}

/*
 * Both sides have agreed on a description. Media goes both ways where both want
 * it: many an answer to a hold does not say that it has understood (RFC 3264
 * 6.1 asks for it).
 */
static void set_agreed(struct call *call, struct dialog *d, uint64_t now_ms)
{
	uint8_t both = d->local.both & d->remote.both;

	if (d->moved || call->state != CALL_ACTIVE || !both)
		watch_begin(&call->watch, has_ice(call) ? 0 : both, now_ms);
	d->moved = false;
	call->state = both ? CALL_ACTIVE : CALL_HELD;
}

/* One other than @except */
static bool has_confirmed(const struct call *call, const struct dialog *except)
{
	const struct dialog *d;

	DL_FOREACH (call->dialogs.list, d) {
		if (d->confirmed && d != except)
			return true;
	}
	return false;
}

/* The INVITE went unheard, or whoever heard it never decided */
static void raise_unanswered(struct calls *calls, struct call *call,
			     uint64_t now_ms)
{
	struct symptom_subject of = call_subject(call);
	char inside[ADDR_TEXT_MAX], remote[ADDR_TEXT_MAX];

	addr_format(of.inside, inside);
	addr_format(&call->remote, remote);
	symptom_raise(calls->symptoms, &of, SYMPTOM_invite_unanswered, now_ms,
		      "%s answer from %s to the INVITE of %s for %u s",
		      call->replied ? "no final" : "no",
		      call->outgoing ? remote : inside,
		      call->outgoing ? inside : remote,
		      (unsigned int)((now_ms - call->invited_ms) / 1000));
}

/* What is said of the next call with the same Call-ID is not of this one */
static void forget_told(struct call *call, uint64_t now_ms)
{
	symptom_notes_free(call->notes);
	call->notes = NULL;
	call->symptoms = 0;
	call->traffic = (struct media_traffic){ 0 };
	call->codecs[0] = '\0';
	call->path_seen = false;
	call->started_ms = now_ms;
}

/* ---- transactions ---- */

static uint32_t number_of(const struct message *msg)
{
	struct span cseq = message_value(msg, SIP_CSEQ);
	const char *blank = span_chr(cseq, ' ');

	return span_hash(blank ? span_between(cseq.ptr, blank) : cseq, 0);
}

/* What a request, its CANCEL and its answers have in common */
static uint32_t transaction_of(const struct message *msg)
{
	return number_of(msg) ^ rewrite_branch(msg);
}

/* Of one INVITE that comes by several ways the first counts: phones refuse the
 * others (RFC 3261 8.2.2.2)
 */
static void note_invite(struct call *call, const struct message *msg)
{
	uint32_t number = number_of(msg);

	if (call->invite && call->invite_cseq == number)
		return;
	call->invite = transaction_of(msg);
	call->invite_cseq = number;
}

/* Not of an earlier INVITE (a repeated 407), nor made up. After a restart the
 * INVITE is not known
 */
static bool is_of_invite(const struct call *call, const struct message *msg)
{
	return !call->invite || call->invite == transaction_of(msg);
}

/* With credentials, or the Call-ID is used for another call */
static void begin_again(struct call *call, uint64_t now_ms)
{
	if (call->told)
		forget_told(call, now_ms);
	call->state = CALL_TRYING;
	call->invited_ms = call->answered_ms = 0;
	call->invite = 0;
	call->status = 0;
	call->replied = call->cancelled = call->told = false;
	call->bye = call->bye_seen = false;
}

static void on_bye(struct calls *calls, struct call *call, struct dialog *d,
		   uint64_t now_ms)
{
	/* Of two forks that have answered, one is enough */
	if (has_confirmed(call, d)) {
		d->gone_ms = now_ms + TRANSACTION_MS;
		return;
	}
	call->bye = true;
	watch_end(calls, call, now_ms);
	set_due(calls, call, now_ms, TRANSACTION_MS);
}

static void on_request(struct calls *calls, struct call *call,
		       const struct message *msg, struct dialog *d,
		       bool outbound, uint64_t now_ms)
{
	switch (msg->method) {
	case SIP_INVITE:
		if (call->state == CALL_ENDED) {
			begin_again(call, now_ms);
			take_share(calls, call);
		}
		note_invite(call, msg);
		if (!call->invited_ms)
			call->invited_ms = now_ms;
		if (!d)
			set_due(calls, call, now_ms, RINGING_MS);
		break;
	case SIP_ACK:
		if (d) {
			dialog_settle(d, true);
			call_reconcile(calls, call);
			/* It may have answered the offer of a 2xx */
			if (d->confirmed)
				set_agreed(call, d, now_ms);
		}
		break;
	case SIP_BYE:
		call->bye_seen = true;
		/* One that names no dialog ends none: RFC 3261 15.1.2 */
		if (d)
			on_bye(calls, call, d, now_ms);
		break;
	case SIP_CANCEL:
		if (call->state == CALL_ENDED || has_confirmed(call, NULL) ||
		    outbound != call->outgoing ||
		    (!outbound && !is_of_invite(call, msg)))
			break;
		if (awaits_answer(call) &&
		    now_ms - call->invited_ms >= CANCEL_MS)
			raise_unanswered(calls, call, now_ms);
		call->cancelled = true;
		set_due(calls, call, now_ms, TRANSACTION_MS);
		break;
	default:
		break;
	}
}

/* Other forks of an answered call: RFC 3261 13.2.2.4 gives them 64 * T1 */
static void confirm(struct calls *calls, struct call *call, struct dialog *d,
		    const struct message *msg, uint64_t now_ms)
{
	struct dialog *other;

	DL_FOREACH (call->dialogs.list, other) {
		if (other != d && !other->confirmed && !other->gone_ms)
			other->gone_ms = now_ms + TRANSACTION_MS;
	}
	if (d) {
		d->confirmed = true;
		d->gone_ms = 0;
		dialog_settle(d, true);
		call_reconcile(calls, call);
		set_agreed(call, d, now_ms);
	} else {
		call->state = CALL_ACTIVE;
	}
	if (!call->answered_ms)
		call->answered_ms = now_ms;
	call->status = msg->status;
	call->heard_ms = now_ms;
	make_sure(calls, call);
	read_session_timer(call, msg, now_ms);
	set_due_active(calls, call, now_ms);
}

static void on_invite_answer(struct calls *calls, struct call *call,
			     const struct message *msg, struct dialog *d,
			     uint64_t now_ms)
{
	if (msg->status < 200) {
		if (call->state == CALL_TRYING && msg->status > 100)
			call->state = CALL_EARLY;
		if (!has_confirmed(call, NULL))
			set_due(calls, call, now_ms, RINGING_MS);
	} else if (msg->status < 300) {
		confirm(calls, call, d, msg, now_ms);
	} else if (d && d->confirmed) {
		dialog_settle(d, false);
		call_reconcile(calls, call);
	} else if (!has_confirmed(call, NULL) && is_of_invite(call, msg)) {
		call->status = msg->status;
		call_end(calls, call, now_ms);
	}
}

/* The inside host has taken the BYE of somebody who had no part in the call so
 * far, or knows of no such call. Refused is another matter.
 */
static bool is_end(const struct message *msg)
{
	return msg->status < 300 || msg->status == 481;
}

static void on_bye_answer(struct calls *calls, struct call *call,
			  const struct message *msg, struct dialog *d,
			  bool outbound, uint64_t now_ms)
{
	bool asked = call->bye || call->bye_seen || (d && d->gone_ms);

	if (msg->status < 200 || !(asked || (outbound && is_end(msg))))
		return;
	if (sip_wants_credentials(msg->status)) {
		if (d)
			d->gone_ms = 0;
		set_due_active(calls, call, now_ms);
		return;
	}
	if (d)
		dialog_free(&call->dialogs, d);
	if (has_confirmed(call, NULL)) {
		call_reconcile(calls, call);
		set_due_active(calls, call, now_ms);
	} else {
		call_end(calls, call, now_ms);
	}
}

static void on_update_answer(struct calls *calls, struct call *call,
			     const struct message *msg, struct dialog *d,
			     uint64_t now_ms)
{
	if (!d || msg->status < 200)
		return;
	dialog_settle(d, msg->status < 300);
	call_reconcile(calls, call);
	if (msg->status >= 300)
		return;
	/* No INVITE was seen: the call is older than this program */
	if (call->state == CALL_TRYING)
		d->confirmed = true;
	if (!d->confirmed)
		return;
	set_agreed(call, d, now_ms);
	make_sure(calls, call);
	read_session_timer(call, msg, now_ms);
	set_due_active(calls, call, now_ms);
}

static void on_answer(struct calls *calls, struct call *call,
		      const struct message *msg, bool outbound, uint64_t now_ms)
{
	struct dialog *d;

	call->replied |= msg->method == SIP_INVITE;
	if (msg->method == SIP_INVITE && msg->status > 100 && msg->status < 300)
		d = dialog_get(&call->dialogs, msg, outbound, call->outgoing);
	else
		d = dialog_find(&call->dialogs, msg, outbound);
	if (msg->method == SIP_INVITE)
		on_invite_answer(calls, call, msg, d, now_ms);
	else if (msg->method == SIP_BYE)
		on_bye_answer(calls, call, msg, d, outbound, now_ms);
	else if (msg->method == SIP_UPDATE)
		on_update_answer(calls, call, msg, d, now_ms);
}

void call_progress(struct calls *calls, struct call *call,
		   const struct message *msg, bool outbound, uint64_t now_ms)
{
	if (message_is_request(msg))
		on_request(calls, call, msg,
			   dialog_find(&call->dialogs, msg, outbound), outbound,
			   now_ms);
	else if (call->state != CALL_ENDED)
		on_answer(calls, call, msg, outbound, now_ms);
	/* Any message may have opened pinholes, which want to be kept */
	if (call->state != CALL_ENDED)
		schedule(calls, call, now_ms);
}

/* Forks that another one has won against */
static void drop_gone(struct calls *calls, struct call *call, uint64_t now_ms)
{
	struct dialog *d, *next;
	bool dropped = false;

	DL_FOREACH_SAFE (call->dialogs.list, d, next) {
		if (!d->gone_ms || d->gone_ms > now_ms)
			continue;
		dialog_free(&call->dialogs, d);
		dropped = true;
	}
	if (dropped)
		call_reconcile(calls, call);
}

/* It ends without anybody having said so */
static void raise_lost(struct calls *calls, struct call *call, uint64_t now_ms)
{
	unsigned int answered =
		(unsigned int)((now_ms - call->answered_ms) / 1000);
	struct symptom_subject of = call_subject(call);

	if (!call->answered_ms) {
		if (call->invited_ms && !call->cancelled)
			raise_unanswered(calls, call, now_ms);
	} else if (call->bye) {
		return; /* only its answer is missing */
	} else if (now_ms < call->due_ms) {
		symptom_raise(calls->symptoms, &of, SYMPTOM_call_lost, now_ms,
			      "no media for %u s, and no BYE, %u s after the "
			      "answer",
			      (unsigned int)((now_ms - call->heard_ms) / 1000),
			      answered);
	} else {
		symptom_raise(calls->symptoms, &of, SYMPTOM_call_lost, now_ms,
			      "%s, and no BYE, %u s after the answer",
			      call->expires_ms ? "the session timer ran out"
					       : "nothing was heard",
			      answered);
	}
}

/* Those who were not announced, too, are let go by the kernel when they stop */
static bool guests_are_heard(struct calls *calls, struct call *call)
{
	bool heard = false;

	for (int i = 0; i < CALL_STREAMS; i++) {
		if (call->stream[i])
			heard |= pinhole_read(calls->media,
					      call->stream[i]->guests);
	}
	return heard;
}

/* Is media seen to flow, or can that not be said? */
static void listen_to(struct calls *calls, struct call *call, uint64_t now_ms)
{
	enum media_sign sign = pinhole_keep(calls->media, call->pinholes);

	if (guests_are_heard(calls, call))
		sign = MEDIA_HEARD;
	if (sign != MEDIA_SILENT || !call->pinholes || has_ice(call) ||
	    call->state != CALL_ACTIVE)
		call->heard_ms = now_ms;
	if (sign == MEDIA_HEARD && call->state != CALL_ENDED)
		touch(calls, call);
	/* A line that stands for days */
	if (sign == MEDIA_HEARD && call->state == CALL_ACTIVE && !call->bye &&
	    !call->expires_ms)
		call->due_ms = now_ms + SILENT_MS;
}

static void look_after(struct calls *calls, struct call *call, uint64_t now_ms)
{
	uint64_t silent_ms = calls->conf->media.timeout_s * 1000ull;

	if (call->state == CALL_ENDED) {
		tell_end(calls, call, now_ms);
		call_free(calls, call);
		return;
	}
	drop_gone(calls, call, now_ms);
	listen_to(calls, call, now_ms);
	watch_look(calls, call, now_ms);
	if (awaits_answer(call) && now_ms - call->invited_ms >= TRANSACTION_MS)
		raise_unanswered(calls, call, now_ms);
	if (now_ms >= call->due_ms || now_ms - call->heard_ms > silent_ms) {
		counter_add(calls->counters, COUNTER_calls_lost);
		raise_lost(calls, call, now_ms);
		call_end(calls, call, now_ms);
		return;
	}
	schedule(calls, call, now_ms);
}

static void call_fire(struct timer *timer, void *owner, uint64_t now_ms)
{
	struct call *call = TIMER_OBJECT(timer, struct call, timer);
	struct calls *calls = owner;
	bool dry = calls->nat->dry;

	calls->nat->dry = !call->carried;
	look_after(calls, call, now_ms);
	calls->nat->dry = dry;
}

/* The ports of an address that is ours no more: the next description gets
 * others
 */
static void streams_move(struct calls *calls, struct call *call)
{
	const struct endpoint remote = { .addr = call->remote };

	for (int i = 0; i < CALL_STREAMS; i++) {
		struct media_stream *s = call->stream[i];

		if (!s || !nat_has_moved(calls->nat, &s->in.inside_rtp, &remote,
					 &s->public_rtp.addr, true))
			continue;
		call->stream[i] = NULL;
		if (s->call == call)
			s->call = NULL;
		media_stream_put(calls->media, s);
	}
}

/* Without media nobody can tell whether it goes on: who speaks describes it
 * anew in time
 */
static void await_description(struct calls *calls, struct call *call,
			      uint64_t now_ms)
{
	uint64_t until_ms = now_ms + calls->conf->media.timeout_s * 1000ull;

	if (call->state == CALL_ACTIVE && until_ms < call->due_ms)
		set_due(calls, call, now_ms, until_ms - now_ms);
}

void calls_move(struct calls *calls, uint64_t now_ms)
{
	struct call *call;

	DL_FOREACH (calls->list, call) {
		if (!pinhole_want_unmoved(calls->media, call->pinholes)) {
			sweep(calls, call);
			await_description(calls, call, now_ms);
		}
		streams_move(calls, call);
	}
}

/* Whether its media is still open is looked at by then */
static void look_by(struct calls *calls, struct call *call, uint64_t at_ms)
{
	if (call->pinholes && call->timer.due_ms > at_ms)
		timer_start(calls->wheel, &call->timer, at_ms);
}

void calls_doubt(struct calls *calls, uint64_t now_ms)
{
	unsigned int count = 0;
	struct call *call;

	DL_FOREACH (calls->list, call)
		look_by(calls, call, now_ms + 1000 * (count++ % DOUBT_S));
}

/* ---- over a restart ---- */

static void streams_save(const struct call *call, struct saved_call *out)
{
	for (int i = 0; i < CALL_STREAMS; i++) {
		const struct media_stream *s = call->stream[i];
		struct saved_stream *to = &out->stream[out->streams];

		if (!s)
			continue;
		out->streams++;
		to->rtp = s->in.inside_rtp;
		to->rtcp = s->inside_rtcp;
		to->public_rtp = s->public_rtp;
		to->pairs = (uint8_t)s->pairs;
		memcpy(to->type, s->type, sizeof(to->type));
	}
}

void call_save(const struct call *call, struct saved_call *out)
{
	*out = (struct saved_call){
		.inside = call_inside(call),
		.remote = call->remote,
		.state = (uint8_t)call->state,
		.outgoing = call->outgoing,
		.spoken = call->spoken,
		.carried = call->carried,
		.ice_in = call->ice_in,
		.ice_out = call->ice_out,
		.replied = call->replied,
		.cancelled = call->cancelled,
		.bye = call->bye,
		.status = call->status,
		.started_ms = call->started_ms,
		.invited_ms = call->invited_ms,
		.answered_ms = call->answered_ms,
		.expires_ms = call->expires_ms,
		.heard_ms = call->heard_ms,
		.due_ms = call->due_ms,
		.packets_out = call->traffic.out,
		.packets_in = call->traffic.in,
		.packets_unknown = call->traffic.unknown,
	};
	if (call->map) {
		out->inside_end = call->map->in.inside;
		out->public_end = call->map->public_end;
	}
	span_copy(out->call_id, sizeof(out->call_id), call_id(call));
	memcpy(out->codecs, call->codecs, sizeof(out->codecs));
	saved_text(out->from, sizeof(out->from), call->from);
	saved_text(out->to, sizeof(out->to), call->to);
	while (out->peers < CALL_PEERS && call->peer[out->peers]) {
		out->peer[out->peers].remote =
			call->peer[out->peers]->key.remote;
		out->peers++;
	}
	dialogs_save(&call->dialogs, out);
	streams_save(call, out);
}

/* Only of the call's own host, whatever the file says */
static bool streams_restore(struct calls *calls, struct call *call,
			    const struct saved_call *in)
{
	for (unsigned int i = 0; i < in->streams; i++) {
		const struct saved_stream *from = &in->stream[i];
		const struct media_stream_wish wish = {
			.rtp = from->rtp,
			.rtcp = from->rtcp,
			.pairs = from->pairs,
			.type = span_from_str(from->type),
		};

		if (!addr_eq(&from->rtp.addr, &in->inside) ||
		    (from->rtcp.port &&
		     !addr_eq(&from->rtcp.addr, &in->inside)))
			return false;
		call->stream[i] = media_stream_restore(calls->media, &wish,
						       &from->public_rtp);
		if (!call->stream[i])
			return false;
		call->stream[i]->call = call;
		call->stream[i]->carried |= call->carried;
	}
	return true;
}

static void life_restore(struct call *call, const struct saved_call *in)
{
	call->remote = in->remote;
	call->state = (enum call_state)in->state;
	call->outgoing = in->outgoing;
	call->spoken = in->spoken;
	call->carried = in->carried;
	call->ice_in = in->ice_in;
	call->ice_out = in->ice_out;
	call->replied = in->replied;
	call->cancelled = in->cancelled;
	call->bye = in->bye;
	call->status = in->status;
	call->started_ms = in->started_ms;
	call->invited_ms = in->invited_ms;
	call->answered_ms = in->answered_ms;
	call->expires_ms = in->expires_ms;
	call->due_ms = in->due_ms;
	call->traffic =
		(struct media_traffic){ .out = in->packets_out,
					.in = in->packets_in,
					.unknown = in->packets_unknown };
	memcpy(call->codecs, in->codecs, sizeof(call->codecs));
}

static void peers_restore(struct calls *calls, struct call *call,
			  const struct saved_call *in, uint64_t now_ms)
{
	struct mapping *map =
		mapping_find_public(calls->bindings, &in->public_end);

	if (map && endpoint_eq(&map->in.inside, &in->inside_end) &&
	    addr_eq(&in->inside_end.addr, &in->inside)) {
		call->map = map;
		map->holds++;
	}
	parties_add(&call->parties, &in->remote);
	for (unsigned int i = 0; i < in->peers; i++)
		parties_add(&call->parties, &in->peer[i].remote);
	for (unsigned int i = 0; i < in->peers; i++)
		call->peer[i] = peer_hold(calls->bindings, &in->inside,
					  &in->peer[i].remote, now_ms);
}

/* What was agreed on before is listened to from now on */
static void watch_again(struct call *call, uint64_t now_ms)
{
	const struct dialog *d;

	DL_FOREACH (call->dialogs.list, d) {
		if (d->confirmed && call->state == CALL_ACTIVE &&
		    !has_ice(call))
			watch_begin(&call->watch,
				    d->local.both & d->remote.both, now_ms);
	}
}

/* The kernel has an entry of its media */
static bool is_in_kernel(const struct calls *calls, const struct saved_call *in)
{
	for (unsigned int i = 0; i < in->streams; i++) {
		if (media_is_older(calls->media, &in->stream[i].rtp,
				   &in->stream[i].public_rtp))
			return true;
	}
	return false;
}

bool call_restore(struct calls *calls, const struct saved_call *in,
		  uint64_t now_ms)
{
	const struct nat *nat = calls->nat;
	char key[CALL_KEY_MAX];
	size_t len = call_key_of(key, &in->inside, span_from_str(in->call_id));
	struct call *call = NULL;
	bool sure = !calls->in_doubt || is_in_kernel(calls, in);

	if (len)
		HASH_FIND(hh, calls->table, key, len, call);
	if (!len || call || in->state >= CALL_ENDED || in->due_ms <= now_ms ||
	    in->due_ms > now_ms + SESSION_MAX_S * 1000ull + TRANSACTION_MS ||
	    HASH_COUNT(calls->table) >= calls->conf->limits.calls ||
	    !nat->ops->is_inside(nat->ctx, &in->inside))
		return false;
	call = call_new(calls, key, len, span_from_str(in->from),
			span_from_str(in->to), now_ms);
	if (!call)
		return false;
	life_restore(call, in);
	peers_restore(calls, call, in, now_ms);
	if (!dialogs_restore(&call->dialogs, in) ||
	    !streams_restore(calls, call, in)) {
		call_free(calls, call);
		return false;
	}
	if (call->state == CALL_ACTIVE || call->state == CALL_HELD)
		make_sure(calls, call);
	calls->media->resuming = true;
	call_reconcile(calls, call);
	calls->media->resuming = false;
	/* It has hung up since it was written down */
	if (!sure && call->answered_ms && call->pinholes) {
		call_free(calls, call);
		return false;
	}
	watch_again(call, now_ms);
	schedule(calls, call, now_ms);
	/* Not all of them at once, now and from then on */
	look_by(calls, call, now_ms + 1000 * (calls->live % RESTORED_S));
	return true;
}
