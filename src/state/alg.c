/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/alg.h"

#include <stdlib.h>

#include "sip/body.h"
#include "sip/witness.h"
#include "state/admission.h"
#include "state/finding.h"
#include "state/rewrite.h"

/* Resolution of what lasts seconds */
#define TICK_MS 1000
/* So long it takes to read what has waited */
#define CATCH_UP_MS 2000
/* How often what nobody remembers is looked at */
#define LOOK_MS 1000

/* Why a mapping is not to be had: what people can do something about */
#define CAUSES 3
static const enum counter causes[CAUSES] = {
	COUNTER_over_share,
	COUNTER_ports_exhausted,
	COUNTER_conntrack_errors,
};

/**
 * struct view - A message as one inside host has to do with it
 * @flow:	Its flow
 * @outbound:	It sent the message
 * @shown:	The address that stands for it in messages
 */
struct view {
	struct flow *flow;
	bool outbound;
	struct addr shown;
};

/**
 * struct arrival - One packet on its way through
 * @side:	Where it came from
 * @causes:	Those counters when it came: why it has no mapping
 * @is_sip:	It was read, and is not to be left alone
 * @view:	One, or in a hairpin two: the sender's and the receiver's
 */
struct arrival {
	struct packet pkt;
	enum nat_side side;
	uint64_t causes[CAUSES];
	bool is_sip;
	uint64_t now_ms;
	unsigned int views;
	struct view view[2];
};

static void set_now(struct alg *alg, uint64_t now_ms)
{
	alg->bindings.now_ms = alg->hosts.now_ms = now_ms;
}

static void add_view(const struct alg *alg, struct arrival *in,
		     struct flow *flow, bool outbound)
{
	const struct addr *advertised = &alg->conf->gateway.advertised_address;
	struct view *view = &in->view[in->views++];

	*view = (struct view){ .flow = flow, .outbound = outbound };
	view->shown =
		addr_is_set(advertised) ? *advertised : flow->wan.dst.addr;
}

/* Accept as it came, for @reason */
static struct decision pass(enum counter reason)
{
	return (struct decision){ .reason = reason };
}

/* Whose message this is: the sender's view, and in a hairpin the receiver's.
 * None without a flow.
 */
static void add_views(struct alg *alg, struct arrival *in, struct flow *flow,
		      const struct tuple *t)
{
	bool outbound = in->side == NAT_SIDE_LAN;

	if (!flow)
		return;
	add_view(alg, in, flow, outbound);
	/* Both ends are translated in a hairpin only */
	if (!outbound || endpoint_eq(&flow->lan.dst, &flow->wan.src))
		return;
	flow = flow_find(&alg->bindings, t, NAT_SIDE_WAN);
	if (flow)
		add_view(alg, in, flow, false);
}

void alg_adopt(struct alg *alg, const struct nat_entry *entry, uint64_t now_ms)
{
	const struct nat *nat = &alg->nat;

	set_now(alg, now_ms);
	if (entry->lan.proto != IPPROTO_UDP ||
	    !ports_contain(&alg->conf->media.rtp_ports, entry->wan.dst.port))
		admission_adopt(&alg->bindings, &alg->connections, entry,
				now_ms);
	else if (nat->ops->is_inside(nat->ctx, &entry->lan.src.addr) &&
		 !endpoint_eq(&entry->lan.src, &entry->wan.dst))
		media_adopt(&alg->media, entry);
}

unsigned int alg_line_changed(struct alg *alg, uint64_t now_ms)
{
	unsigned int count;

	set_now(alg, now_ms);
	/* Flows first: a registration's entry is not to be made anew */
	count = flows_move(&alg->bindings);
	registrations_move(&alg->registrations, now_ms);
	calls_move(&alg->calls, now_ms);
	return count + connections_move(&alg->connections, now_ms);
}

void alg_gone(struct alg *alg, const struct tuple *lan)
{
	flow_gone(&alg->bindings, lan);
	media_gone(&alg->media, lan);
}

void alg_doubt(struct alg *alg, uint64_t now_ms)
{
	alg->bindings.now_ms = now_ms;
	flows_doubt(&alg->bindings);
	calls_doubt(&alg->calls, now_ms);
}

/* ---- which message ---- */

/* SIP that cannot be read: sip.on_malformed says what then */
static struct decision unreadable(struct alg *alg, enum message_status status)
{
	struct decision d = pass(counter_of_message(status));

	if (status >= MESSAGE_BAD_HEADER &&
	    alg->conf->sip.on_malformed == CONF_DROP) {
		d.reason = COUNTER_dropped_malformed;
		d.drop = true;
	}
	return d;
}

/* Whoever listens learns what became of the message in alg->msg */
static void tell(struct alg *alg, enum counter reason, const struct arrival *in)
{
	if (alg->listener.message)
		alg->listener.message(alg->listener.arg, reason,
				      in->view[0].flow, in->side);
}

/* ---- the body ---- */

static void edit_length(struct alg *alg, struct span digits, const char *site,
			const char *from)
{
	long growth = edit_growth(&alg->edits, from);
	uint64_t len;
	char text[24];
	int n;

	if (!growth || span_to_uint(digits, PACKET_MAX, &len))
		return;
	n = snprintf(text, sizeof(text), "%ld", (long)len + growth);
	edit_add(&alg->edits, site, digits, (struct span){ text, (size_t)n });
}

/* Map the addresses of a session description */
static void rewrite_desc(struct alg *alg, const struct view *view, bool known,
			 struct description *said)
{
	const struct describe d = {
		.media = &alg->media,
		.flow = view->flow,
		.desc = &alg->desc,
		.shown = &view->shown,
		.edits = &alg->edits,
	};

	if (view->outbound)
		describe_out(&d, known, said);
	else
		describe_in(&d, said);
}

static bool read_desc(struct alg *alg, struct body_part *part)
{
	const struct message *msg = &alg->msg;

	if (!alg->conf->media.enabled ||
	    !body_find_sdp(message_value(msg, SIP_CONTENT_TYPE), msg->body,
			   part))
		return false;
	if (desc_parse(part->sdp, &alg->desc) != DESC_OK) {
		counter_add(&alg->counters, COUNTER_media_not_handled);
		return false;
	}
	if (!witness_desc(&alg->desc)) {
		counter_add(&alg->counters, COUNTER_values_in_doubt);
		return false;
	}
	return true;
}

/* A description in it is the last word, or soon will be: ACK answers an offer
 * that came with the 2xx
 */
static bool is_answer(const struct message *msg)
{
	return !message_is_request(msg) || msg->method == SIP_ACK;
}

/* The message in the call of one inside host; @said: NULL without SDP */
static void handle_call(struct alg *alg, const struct arrival *in,
			const struct view *view, struct description *said)
{
	struct call *call = call_open(&alg->calls, view->flow, &alg->msg,
				      view->outbound, said != NULL, in->now_ms);

	if (!call)
		return;
	if (said && view == &in->view[0])
		rewrite_desc(alg, view, call_has_media(call), said);
	if (said)
		call_describe(&alg->calls, call, &alg->msg, view->outbound,
			      said);
	if (said && is_answer(&alg->msg))
		codec_names(alg->desc.whole, call->codecs,
			    sizeof(call->codecs));
	if (alg->msg.method == SIP_INVITE && !message_is_request(&alg->msg))
		finding_answer(&alg->calls, call, view->flow, &view->shown,
			       &alg->msg, view->outbound, in->now_ms);
	call_progress(&alg->calls, call, &alg->msg, view->outbound, in->now_ms);
}

/*
 * What the message means for the calls it belongs to: one, or in a hairpin one
 * for each inside host. Those two reach each other directly, so with
 * media.keep_local their descriptions are none of our business.
 */
static void handle_calls(struct alg *alg, struct arrival *in)
{
	bool local = in->views > 1 && alg->conf->media.keep_local;
	struct description said = { 0 };
	struct body_part part;
	bool described = !local && read_desc(alg, &part);

	for (unsigned int i = 0; i < in->views; i++)
		handle_call(alg, in, &in->view[i], described ? &said : NULL);
	if (!described)
		return;
	edit_length(alg, part.length, "part Content-Length", part.sdp.ptr);
	edit_length(alg, message_value(&alg->msg, SIP_CONTENT_LENGTH),
		    "Content-Length", alg->msg.body.ptr);
}

/* ---- the message ---- */

/* bypass.user_agents: what an inside host last said of itself counts, also for
 * its messages that do not say it, and for those to it
 */
static bool is_bypassed_agent(const struct alg *alg, const struct view *view)
{
	const struct conf_names *globs = &alg->conf->bypass.user_agents;
	struct span agent = message_value(&alg->msg, SIP_USER_AGENT);
	struct mapping *map = view->flow->map;

	if (globs->count && view->outbound && agent.ptr)
		map->bypassed = conf_glob_matches(globs, agent);
	return map->bypassed;
}

static void handle_register(struct alg *alg, const struct arrival *in)
{
	bool request = message_is_request(&alg->msg);
	const struct view *view = &in->view[0];

	if (alg->msg.method != SIP_REGISTER)
		return;
	if (request && view->outbound)
		registration_request(&alg->registrations, view->flow, &alg->msg,
				     in->now_ms);
	else if (!request && !view->outbound)
		registration_answer(&alg->registrations, view->flow, &alg->msg,
				    &view->shown, in->now_ms);
}

/* Return: false if a port that it announces could not be mapped */
/* Not on the word of somebody who has no part in the call */
static void note_foreign(struct alg *alg, const struct rewrite *rw)
{
	const struct addr *inside = &rw->flow->lan.src.addr;
	uint8_t what;

	if (rw->outbound || !message_is_request(rw->msg))
		return;
	what = rewrite_foreign(rw);
	if (!what && !alg->bindings.foreign)
		return;
	if (call_is_meddled(&alg->calls, rw->flow, rw->msg))
		return;
	foreign_set(&alg->bindings, inside, rw->message.call, what);
}

static bool edit_header(struct alg *alg, const struct arrival *in)
{
	for (unsigned int i = 0; i < in->views; i++) {
		struct rewrite rw = {
			.bindings = &alg->bindings,
			.flow = in->view[i].flow,
			.msg = &alg->msg,
			.outbound = in->view[i].outbound,
			.shown = in->view[i].shown,
			.edits = &alg->edits,
		};

		rewrite_header(&rw);
		note_foreign(alg, &rw);
		if (rw.refused)
			return false;
	}
	return true;
}

/* Return: false if it has to stay as it is: half of it would help nobody */
static bool edit_message(struct alg *alg, struct arrival *in)
{
	if (!edit_header(alg, in)) {
		edit_reset(&alg->edits);
		return false;
	}
	handle_register(alg, in);
	for (unsigned int i = 0; i < in->views; i++)
		subscription_message(&alg->subscriptions, in->view[i].flow,
				     &alg->msg, in->view[i].outbound,
				     in->now_ms);
	handle_calls(alg, in);
	return true;
}

/* ---- media from where nobody said ---- */

/*
 * The rules bring such packets only where media.source is not strict: new ones
 * at our media ports, of no entry. The packet itself cannot use the entry that
 * is made here, it has met conntrack before: it goes, the next one finds it.
 */
static bool is_media(const struct alg *alg, const struct arrival *in)
{
	return in->side == NAT_SIDE_WAN &&
	       alg->conf->media.source != CONF_SOURCE_STRICT &&
	       ports_contain(&alg->conf->media.rtp_ports,
			     in->pkt.tuple.dst.port);
}

static struct decision admit_to(struct alg *alg, const struct arrival *in,
				struct media_stream *s,
				const struct endpoint *inside)
{
	const struct tuple *t = &in->pkt.tuple;
	struct decision d = pass(COUNTER_media_refused);

	if (!nat_is_outside(&alg->nat, &t->src.addr) ||
	    (alg->conf->media.source == CONF_SOURCE_SIGNALLING &&
	     !(s->call &&
	       call_has_party(&alg->calls, s->call, &t->src.addr))) ||
	    !media_stream_admit(&alg->media, s, inside, t)) {
		/* The call looks at it when its timer comes */
		if (endpoint_eq(inside, &s->in.inside_rtp))
			media_stream_note(s, &t->src, in->now_ms);
		return d;
	}
	d.reason = COUNTER_media_admitted;
	d.drop = !alg->nat.dry;
	return d;
}

/* Calls that are carried to their end get it, whatever was switched off since;
 * others not, whatever was switched on
 */
static struct decision admit_media(struct alg *alg, const struct arrival *in)
{
	struct endpoint inside;
	struct media_stream *s =
		media_stream_of(&alg->media, &in->pkt.tuple.dst, &inside);
	bool dry = alg->nat.dry;
	struct decision d;

	if (!s)
		return pass(COUNTER_media_refused);
	alg->nat.dry = !s->carried;
	d = admit_to(alg, in, s, &inside);
	alg->nat.dry = dry;
	return d;
}

/* ---- symptoms ---- */

/* What belongs to nothing that remembers it is looked at once a second, however
 * many of it come
 */
static bool may_look(struct alg *alg, uint64_t now_ms)
{
	if (now_ms - alg->found_ms < LOOK_MS)
		return false;
	alg->found_ms = now_ms;
	return true;
}

/* Why a part of the message was not changed belongs to its call, or else to its
 * inside host
 */
static void note_part(struct alg *alg, const struct arrival *in,
		      enum counter reason)
{
	const struct addr *inside = &in->view[0].flow->lan.src.addr;
	struct call *call = call_find(&alg->calls, inside, &alg->msg);
	struct symptom_subject of = { .inside = inside };

	if (call)
		of = call_subject(call);
	else if (!may_look(alg, in->now_ms))
		return;
	finding_part(&alg->symptoms, &of, reason, &alg->msg, in->now_ms);
}

/* It went as it came, though it should not have */
static void note_failure(struct alg *alg, const struct arrival *in,
			 enum counter reason)
{
	struct symptom_subject of = { 0 };

	if (!may_look(alg, in->now_ms))
		return;
	if (in->views)
		of.inside = &in->view[0].flow->lan.src.addr;
	else if (in->side == NAT_SIDE_LAN)
		of.inside = &in->pkt.tuple.src.addr;
	finding_failure(&alg->symptoms, &of, reason,
			reason == COUNTER_over_rate ? (struct span){ 0 }
						    : in->pkt.payload,
			in->now_ms);
}

static void note_causes(const struct alg *alg, struct arrival *in)
{
	for (int i = 0; i < CAUSES; i++)
		in->causes[i] = alg->counters.value[causes[i]];
}

/* Why it has no mapping, if it is that and the reason is known */
static enum counter cause(const struct alg *alg, const struct arrival *in,
			  enum counter reason)
{
	for (int i = 0; i < CAUSES && reason == COUNTER_no_mapping; i++) {
		if (alg->counters.value[causes[i]] != in->causes[i])
			reason = causes[i];
	}
	return reason;
}

/* Whatever a packet shows besides what it says */
static void look_at(struct alg *alg, const struct arrival *in,
		    enum counter reason)
{
	if (finding_is_failure(reason))
		note_failure(alg, in, cause(alg, in, reason));
	else if ((reason == COUNTER_not_allowed ||
		  reason == COUNTER_stranger) &&
		 may_look(alg, in->now_ms))
		finding_nobody(&alg->symptoms, &alg->bindings, &in->pkt.tuple,
			       in->now_ms);
}

/* The message as whose it is; its edits are in alg->edits */
static enum counter rewrite_message(struct alg *alg, struct arrival *in)
{
	struct finding_mark mark;
	enum counter why;

	edit_reset(&alg->edits);
	if (!alg->bindings.carrying && is_bypassed_agent(alg, &in->view[0]))
		return COUNTER_bypassed;
	finding_mark(&alg->counters, &mark);
	if (!edit_message(alg, in))
		return COUNTER_no_mapping;
	why = finding_since(&alg->counters, &mark);
	if (why != COUNTER_COUNT)
		note_part(alg, in, why);
	if (!alg->edits.count)
		return COUNTER_nothing_ours;
	edit_sort(&alg->edits);
	return alg->nat.dry ? COUNTER_observed : COUNTER_rewritten;
}

/* ---- calls that are carried ---- */

/* Nothing is switched off for anybody */
static bool is_all_on(const struct conf *conf)
{
	return conf->gateway.mode == CONF_MODE_ACTIVE &&
	       !conf->bypass.phones.count && !conf->bypass.peers.count &&
	       !conf->bypass.user_agents.count;
}

/* The inside host that a datagram is of; NULL if it is a stranger's */
static const struct addr *inside_of(struct alg *alg, const struct arrival *in)
{
	const struct tuple *t = &in->pkt.tuple;
	const struct mapping *map;

	if (in->side == NAT_SIDE_LAN)
		return &t->src.addr;
	map = mapping_find_public(&alg->bindings, &t->dst);
	if (!map || !peer_is_known(&alg->bindings, &map->in.inside.addr,
				   &t->src.addr, in->now_ms))
		return NULL;
	return &map->in.inside.addr;
}

/* Of a call that began before it was switched off? */
static bool is_carried(struct alg *alg, const struct arrival *in)
{
	const struct addr *inside;

	if (is_all_on(alg->conf) || !alg->calls.table)
		return false;
	inside = inside_of(alg, in);
	return inside && in->pkt.payload.len <= alg->conf->sip.max_message &&
	       message_parse(in->pkt.payload, &alg->msg) == MESSAGE_OK &&
	       call_is_carried(&alg->calls, inside, &alg->msg);
}

/* Work as if nothing was switched off; what it was is given to stop_carrying()
 */
static bool carry(struct alg *alg)
{
	bool dry = alg->nat.dry;

	alg->nat.dry = false;
	alg->bindings.carrying = true;
	return dry;
}

static void stop_carrying(struct alg *alg, bool dry)
{
	alg->nat.dry = dry;
	alg->bindings.carrying = false;
}

/* ---- datagrams ---- */

/* Write the changed packet; the original goes if that cannot be done */
static struct decision finish(struct alg *alg, const struct arrival *in)
{
	size_t header = packet_header_len(&in->pkt);
	struct decision d = pass(COUNTER_rewritten);
	long len;

	len = edit_apply(&alg->edits, in->pkt.payload,
			 (char *)alg->out + header, sizeof(alg->out) - header);
	if (len < 0)
		return pass(COUNTER_too_many_edits);
	memcpy(alg->out, in->pkt.data, header);
	len = packet_finish(&in->pkt, alg->out, (size_t)len);
	if (len < 0)
		return pass(COUNTER_too_big);
	d.data = alg->out;
	d.len = (size_t)len;
	return d;
}

/* No flow: as it came, but for limits.on_excess */
static struct decision unadmitted(const struct alg *alg, enum counter why)
{
	struct decision d = pass(why);

	if (why == COUNTER_over_rate &&
	    alg->conf->limits.on_excess == CONF_DROP &&
	    alg->conf->gateway.mode == CONF_MODE_ACTIVE) {
		d.reason = COUNTER_dropped_over_rate;
		d.drop = true;
	}
	return d;
}

/* It is no SIP, or none that we can read */
static struct decision unread(struct alg *alg, const struct arrival *in,
			      struct decision d)
{
	if (in->side == NAT_SIDE_LAN)
		admission_kept(&alg->bindings, in->view[0].flow, in->now_ms);
	return d;
}

static struct decision decide_datagram(struct alg *alg, struct arrival *in)
{
	const struct tuple *t = &in->pkt.tuple;
	enum message_status message;
	enum counter why;

	add_views(alg, in,
		  admission_flow(&alg->bindings, t, in->side, in->now_ms, &why),
		  t);
	if (!in->views)
		return unadmitted(alg, why);
	if (in->pkt.payload.len > alg->conf->sip.max_message)
		return unread(alg, in, pass(COUNTER_too_long));
	message = message_parse(in->pkt.payload, &alg->msg);
	if (message != MESSAGE_OK)
		return unread(alg, in, unreadable(alg, message));
	if (in->side == NAT_SIDE_LAN)
		admission_spoken(&alg->bindings, in->view[0].flow,
				 message_registers(&alg->msg), in->now_ms);
	why = rewrite_message(alg, in);
	in->is_sip = why != COUNTER_bypassed;
	tell(alg, why, in);
	return why == COUNTER_rewritten ? finish(alg, in) : pass(why);
}

/* Calls that began before it was switched off are carried to their end */
static struct decision decide_carried(struct alg *alg, struct arrival *in)
{
	struct decision d;
	bool dry;

	if (is_media(alg, in))
		return admit_media(alg, in);
	if (!is_carried(alg, in)) {
		if (alg->conf->gateway.mode == CONF_MODE_BYPASS)
			return pass(COUNTER_bypassed);
		return decide_datagram(alg, in);
	}
	dry = carry(alg);
	d = decide_datagram(alg, in);
	stop_carrying(alg, dry);
	return d;
}

/* ---- streams ---- */

static struct span rewrite_stream(struct alg *alg, const struct connection *c,
				  int from, uint64_t now_ms,
				  enum counter *reason)
{
	const struct tuple *t = from ? &c->wan : &c->lan;
	struct arrival in = { .now_ms = now_ms, .side = NAT_SIDE_LAN };
	struct span whole = alg->msg.whole;
	long len;

	if (!alg->nat.ops->is_inside(alg->nat.ctx, &t->src.addr))
		in.side = NAT_SIDE_WAN;
	*reason = COUNTER_bypassed;
	if (alg->conf->gateway.mode == CONF_MODE_BYPASS &&
	    !alg->bindings.carrying)
		return whole;
	*reason = COUNTER_no_mapping;
	add_views(alg, &in, flow_stream(&alg->bindings, t, in.side, now_ms), t);
	if (!in.views)
		return whole;
	/* It may be older than the configuration */
	*reason = COUNTER_bypassed;
	if (admission_is_bypassed(&alg->bindings, in.view[0].flow))
		return whole;
	/* Nothing can be dropped out of a stream */
	*reason = COUNTER_over_rate;
	if (in.side == NAT_SIDE_LAN &&
	    !host_may_send(&alg->hosts, &t->src.addr))
		return whole;
	if (in.side == NAT_SIDE_LAN)
		admission_spoken(&alg->bindings, in.view[0].flow,
				 message_registers(&alg->msg), now_ms);
	*reason = rewrite_message(alg, &in);
	tell(alg, *reason, &in);
	if (*reason != COUNTER_rewritten)
		return whole;
	len = edit_apply(&alg->edits, whole, (char *)alg->out,
			 sizeof(alg->out));
	if (len >= 0)
		return (struct span){ (const char *)alg->out, (size_t)len };
	*reason = COUNTER_too_many_edits;
	return whole;
}

/* A message of a connection is in alg->msg: struct connections */
static struct span on_stream_message(void *owner, const struct connection *c,
				     int from, uint64_t now_ms,
				     enum counter *reason)
{
	struct alg *alg = owner;
	struct span bytes;
	bool dry;

	if (is_all_on(alg->conf) ||
	    !call_is_carried(&alg->calls, &c->lan.src.addr, &alg->msg))
		return rewrite_stream(alg, c, from, now_ms, reason);
	dry = carry(alg);
	bytes = rewrite_stream(alg, c, from, now_ms, reason);
	stop_carrying(alg, dry);
	return bytes;
}

/* The flow goes with its connection */
static void on_stream_end(void *owner, const struct connection *c)
{
	struct alg *alg = owner;

	flow_end(&alg->bindings, &c->lan);
}

static struct decision decide_segment(struct alg *alg, struct arrival *in)
{
	const struct packet *pkt = &in->pkt;
	enum stream_verdict verdict;
	struct connection *c;
	struct decision d = { 0 };
	int from;

	/* Of those that pass unread nothing is known when mode changes back */
	if (alg->conf->gateway.mode == CONF_MODE_BYPASS &&
	    connection_leave(&alg->connections, &pkt->tuple, in->side))
		return pass(COUNTER_bypassed);
	c = admission_connection(&alg->bindings, &alg->connections, &pkt->tuple,
				 in->side, packet_tcp_flags(pkt), in->now_ms,
				 &from, &d.reason);
	if (!c)
		return d;
	verdict = connection_packet(&alg->connections, c, from, pkt, in->now_ms,
				    alg->out, &d.len, &d.reason);
	in->is_sip = !c->alien && d.reason != COUNTER_bypassed;
	d.drop = verdict == STREAM_DROP;
	if (verdict == STREAM_REPLACE)
		d.data = alg->out;
	return d;
}

static struct decision decide(struct alg *alg, struct arrival *in,
			      const void *data, size_t len)
{
	switch (packet_parse(data, len, &in->pkt)) {
	case PACKET_OK:
		break;
	case PACKET_BAD:
		return pass(COUNTER_bad_packet);
	default:
		return pass(COUNTER_other_protocol);
	}
	if (in->pkt.tuple.proto == IPPROTO_TCP)
		return decide_segment(alg, in);
	return decide_carried(alg, in);
}

/* sip.dscp: also what could pass as it came gets its class, and must be given
 * back for it: docs/decisions/011
 */
static void set_class(struct alg *alg, const void *data, size_t len,
		      struct decision *d)
{
	int dscp = alg->conf->sip.dscp;

	if (dscp == CONF_DSCP_UNSET || len > sizeof(alg->out) ||
	    alg->conf->gateway.mode != CONF_MODE_ACTIVE ||
	    packet_dscp(d->data ? d->data : data) == dscp)
		return;
	if (!d->data) {
		memcpy(alg->out, data, len);
		d->data = alg->out;
		d->len = len;
	}
	packet_set_dscp(alg->out, (uint8_t)dscp);
}

struct decision alg_packet(struct alg *alg, const void *data, size_t len,
			   enum nat_side side, uint64_t now_ms)
{
	struct arrival in = { .side = side, .now_ms = now_ms };
	struct decision d;

	set_now(alg, now_ms);
	note_causes(alg, &in);
	edit_reset(&alg->edits);
	d = decide(alg, &in, data, len);
	if (in.is_sip && !d.drop)
		set_class(alg, data, len, &d);
	counter_add(&alg->counters, d.reason);
	look_at(alg, &in, d.reason);
	return d;
}

void alg_catch_up(struct alg *alg, uint64_t now_ms)
{
	alg->hosts.patient_until_ms = now_ms + CATCH_UP_MS;
}

void alg_tick(struct alg *alg, uint64_t now_ms)
{
	set_now(alg, now_ms);
	flows_age(&alg->bindings, now_ms);
	mappings_age(&alg->bindings);
	hosts_age(&alg->hosts);
	timer_run(&alg->registration_timers, now_ms);
	timer_run(&alg->subscription_timers, now_ms);
	timer_run(&alg->call_timers, now_ms);
}

void alg_run(struct alg *alg, uint64_t now_ms)
{
	set_now(alg, now_ms);
	connections_run(&alg->connections, now_ms);
}

int alg_wait_ms(const struct alg *alg, uint64_t now_ms)
{
	return connections_wait_ms(&alg->connections, now_ms);
}

unsigned int alg_stop(struct alg *alg, uint64_t now_ms)
{
	return connections_abort(&alg->connections, now_ms);
}

/* ---- beginning and end ---- */

void alg_configure(struct alg *alg, const struct conf *conf)
{
	bool was_dry = alg->nat.dry;

	alg->conf = conf;
	alg->nat.dry = conf->gateway.mode == CONF_MODE_OBSERVE;
	/* What was only thought of until now is not in the kernel */
	if (was_dry && !alg->nat.dry)
		flows_doubt(&alg->bindings);
	alg->hosts.conf = conf;
	alg->bindings.conf = conf;
	alg->media.conf = conf;
	alg->calls.conf = conf;
	alg->registrations.conf = conf;
	alg->subscriptions.conf = conf;
	alg->connections.conf = conf;
}

struct alg *alg_new(const struct conf *conf, const struct nat_ops *ops,
		    void *ops_ctx, uint64_t now_ms)
{
	struct alg *alg = calloc(1, sizeof(*alg));

	if (!alg)
		return NULL;
	alg->nat = (struct nat){ .ops = ops, .ctx = ops_ctx };
	alg->symptoms.counters = &alg->counters;
	alg->bindings = (struct bindings){ .nat = &alg->nat,
					   .hosts = &alg->hosts,
					   .counters = &alg->counters };
	alg->media = (struct media){ .nat = &alg->nat,
				     .hosts = &alg->hosts,
				     .counters = &alg->counters };
	alg->calls = (struct calls){ .bindings = &alg->bindings,
				     .nat = &alg->nat,
				     .media = &alg->media,
				     .counters = &alg->counters,
				     .symptoms = &alg->symptoms,
				     .wheel = &alg->call_timers };
	alg->registrations =
		(struct registrations){ .bindings = &alg->bindings,
					.counters = &alg->counters,
					.symptoms = &alg->symptoms,
					.wheel = &alg->registration_timers };
	alg->subscriptions =
		(struct subscriptions){ .bindings = &alg->bindings,
					.counters = &alg->counters,
					.wheel = &alg->subscription_timers };
	alg->connections = (struct connections){ .nat = &alg->nat,
						 .counters = &alg->counters,
						 .msg = &alg->msg,
						 .message = on_stream_message,
						 .ended = on_stream_end,
						 .owner = alg };
	connections_init(&alg->connections, now_ms);
	timer_wheel_init(&alg->subscription_timers, &alg->subscriptions,
			 TICK_MS, now_ms);
	timer_wheel_init(&alg->call_timers, &alg->calls, TICK_MS, now_ms);
	timer_wheel_init(&alg->registration_timers, &alg->registrations,
			 TICK_MS, now_ms);
	alg_configure(alg, conf);
	return alg;
}

void alg_free(struct alg *alg)
{
	if (!alg)
		return;
	/* What calls have open in the kernel stays open: media goes on */
	alg->nat.dry = true;
	connections_free(&alg->connections);
	registrations_free(&alg->registrations);
	subscriptions_free(&alg->subscriptions);
	calls_free(&alg->calls);
	media_free(&alg->media);
	bindings_free(&alg->bindings);
	hosts_free(&alg->hosts);
	free(alg);
}
