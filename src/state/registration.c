/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/registration.h"

#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "sip/field.h"
#include "state/path.h"
#include "state/rewrite.h"
#include "state/saved.h"

/* Neither request nor answer says how long: what RFC 3261 10.2 suggests */
#define DEFAULT_S 3600
/* Nobody means more */
#define MAX_S (7 * 24 * 3600)
/* One for each of request and stale nonce; more, and the password is wrong */
#define CHALLENGES 3
/* A REGISTER that is never answered is forgotten: Timer F */
#define TRANSACTION_MS 32000
/* The mapping outlives the binding by so much: the answer's way and ours */
#define GRACE_S 1
/* Consumer NAT forgets UDP after 30 s (RFC 5626 4.4.2 asks for 24 to 29) */
#define PING_MS 25000
/* Longest address of record */
#define AOR_MAX 512
/* Contacts of one address of record that are followed */
#define SET_MAX 16
/* Longest text kept for people */
#define TEXT_MAX 256
/* Both addresses, at the start of a set's key */
#define KEY_ENDS (2 * sizeof(struct addr))

static void registration_fire(struct timer *timer, void *owner,
			      uint64_t now_ms);

/* ---- sets ---- */

struct span registration_aor(const struct registration_set *set)
{
	return (struct span){ set->key + KEY_ENDS, set->key_len - KEY_ENDS };
}

struct addr registration_inside(const struct registration_set *set)
{
	struct addr inside;

	memcpy(&inside, set->key, sizeof(inside));
	return inside;
}

struct addr registration_registrar(const struct registration_set *set)
{
	struct addr registrar;

	memcpy(&registrar, set->key + sizeof(registrar), sizeof(registrar));
	return registrar;
}

/* The address of record: the URI of To, without parameters (RFC 3261 10.3) */
static struct span aor_of(const struct message *msg)
{
	struct span uri = field_uri(message_value(msg, SIP_TO));
	const char *semicolon = span_chr(uri, ';');

	if (semicolon)
		uri = span_between(uri.ptr, semicolon);
	return uri;
}

static uint32_t request_hash(const struct message *msg)
{
	return span_hash(message_value(msg, SIP_CSEQ),
			 span_hash(message_value(msg, SIP_CALL_ID), 0));
}

/* Without a host that is the inside host's own: it is private in the request,
 * and public in the answer
 */
static struct span aor_key(const struct flow *flow, const struct message *msg)
{
	struct span aor = aor_of(msg);
	struct hostport hp;

	if (uri_hostport(aor, &hp) && (addr_eq(&hp.addr, &flow->lan.src.addr) ||
				       addr_eq(&hp.addr, &flow->wan.dst.addr)))
		return span_between(aor.ptr, hp.host.ptr);
	return aor;
}

static size_t make_key(char *key, const struct addr *inside,
		       const struct addr *registrar, struct span aor)
{
	if (!aor.len || aor.len > AOR_MAX)
		return 0;
	memcpy(key, inside, sizeof(*inside));
	memcpy(key + sizeof(*inside), registrar, sizeof(*registrar));
	memcpy(key + KEY_ENDS, aor.ptr, aor.len);
	return KEY_ENDS + aor.len;
}

static void set_free_if_empty(struct registrations *regs,
			      struct registration_set *set)
{
	if (set->contacts)
		return;
	table_walks_leave(regs->walks, set, set->hh.prev);
	HASH_DELETE(hh, regs->table, set);
	TABLE_QUEUE_LEAVE(regs->list, regs->sure, set);
	free(set);
}

static struct registration_set *
set_by_key(struct registrations *regs, const char *key, size_t len, bool make)
{
	struct registration_set *set = NULL;

	if (!len)
		return NULL;
	HASH_FIND(hh, regs->table, key, len, set);
	if (set || !make)
		return set;
	set = calloc(1, sizeof(*set) + len);
	if (!set)
		return NULL;
	set->key_len = len;
	memcpy(set->key, key, len);
	HASH_ADD(hh, regs->table, key, (unsigned int)len, set);
	if (!TABLE_HAS(set, hh)) {
		free(set);
		return NULL;
	}
	TABLE_QUEUE_ADD(regs->list, regs->sure, set);
	return set;
}

static struct registration_set *set_get(struct registrations *regs,
					const struct flow *flow,
					const struct message *msg, bool make)
{
	char key[KEY_ENDS + AOR_MAX];
	size_t len = make_key(key, &flow->lan.src.addr, &flow->lan.dst.addr,
			      aor_key(flow, msg));

	return set_by_key(regs, key, len, make);
}

/* ---- holds ---- */

static struct registration_hold *hold_get(struct registrations *regs,
					  const struct tuple *lan)
{
	struct registration_hold *hold;

	HASH_FIND(hh, regs->holds, lan, sizeof(*lan), hold);
	if (!hold) {
		hold = calloc(1, sizeof(*hold));
		if (!hold)
			return NULL;
		hold->lan = *lan;
		HASH_ADD(hh, regs->holds, lan, sizeof(hold->lan), hold);
		if (!TABLE_HAS(hold, hh)) {
			free(hold);
			return NULL;
		}
	}
	hold->count++;
	return hold;
}

/* The last one lets go of the kernel's entry; it then ends like any other flow
 * that nobody uses
 */
static void hold_put(struct registrations *regs, struct registration_hold *hold)
{
	if (!hold || --hold->count)
		return;
	flow_hold(regs->bindings, &hold->lan, NULL, 0, regs->bindings->now_ms);
	HASH_DELETE(hh, regs->holds, hold);
	free(hold);
}

/* ---- contacts ---- */

static void registration_free(struct registrations *regs,
			      struct registration *reg)
{
	timer_stop(regs->wheel, &reg->timer);
	timer_stop(regs->wheel, &reg->ping);
	DL_DELETE(reg->set->contacts, reg);
	reg->set->count--;
	set_free_if_empty(regs, reg->set);
	/* It was the last that others knew it by */
	if (reg->expires_ms && reg->map->holds == 1)
		reg->map->open = false;
	mapping_release(regs->bindings, reg->map);
	hold_put(regs, reg->hold[0]);
	hold_put(regs, reg->hold[1]);
	peer_release(reg->peer);
	host_give(reg->host, SHARE_REGISTRATIONS, 1);
	regs->count--;
	free(reg->user);
	free(reg->transport);
	free(reg->contact_inside);
	free(reg->user_agent);
	symptom_notes_free(reg->notes);
	free(reg);
}

void registrations_free(struct registrations *regs)
{
	while (regs->list)
		registration_free(regs, regs->list->contacts);
}

static void tell_end(const struct registrations *regs,
		     const struct registration *reg, const char *how,
		     uint64_t now_ms)
{
	if (regs->ended)
		regs->ended(regs->owner, reg, how, now_ms);
}

static void registration_end(struct registrations *regs,
			     struct registration *reg, const char *how,
			     uint64_t now_ms)
{
	if (reg->expires_ms)
		counter_add(regs->counters, COUNTER_registrations_ended);
	tell_end(regs, reg, how, now_ms);
	registration_free(regs, reg);
}

/* ---- symptoms ---- */

/* For symptom_raise(); borrows from @reg */
static struct symptom_subject subject(struct registration *reg)
{
	return (struct symptom_subject){
		.mask = &reg->symptoms,
		.notes = &reg->notes,
		/* The key begins with it, and an address is bytes */
		.inside = (const struct addr *)(const void *)reg->set->key,
		.id = registration_aor(reg->set),
	};
}

static const char *registrar_text(const struct registration_set *set, char *buf)
{
	struct addr registrar = registration_registrar(set);

	addr_format(&registrar, buf);
	return buf;
}

/* The registrar will not have it: @why */
static void raise_refused(struct registrations *regs, struct registration *reg,
			  const char *why, uint64_t now_ms)
{
	struct symptom_subject of = subject(reg);
	char registrar[ADDR_TEXT_MAX];

	symptom_raise(regs->symptoms, &of, SYMPTOM_registration_refused, now_ms,
		      "%s answered %u%s", registrar_text(reg->set, registrar),
		      reg->status, why);
}

static void raise_unanswered(struct registrations *regs,
			     struct registration *reg, uint64_t now_ms)
{
	struct symptom_subject of = subject(reg);
	char registrar[ADDR_TEXT_MAX];

	symptom_raise(regs->symptoms, &of, SYMPTOM_register_unanswered, now_ms,
		      "no answer from %s for %u s",
		      registrar_text(reg->set, registrar),
		      (unsigned int)((now_ms - reg->waits_ms) / 1000));
}

static void raise_lapsed(struct registrations *regs, struct registration *reg,
			 uint64_t now_ms)
{
	struct symptom_subject of = subject(reg);
	char registrar[ADDR_TEXT_MAX];

	symptom_raise(regs->symptoms, &of, SYMPTOM_registration_lapsed, now_ms,
		      "not refreshed at %s within %u s%s",
		      registrar_text(reg->set, registrar), reg->granted_s,
		      reg->asked ? "; the last REGISTER was not granted" : "");
}

/* What happens to it passes us by: gateway.mode, bypass.* */
static bool is_left_alone(const struct registrations *regs,
			  const struct registration *reg)
{
	const struct conf *conf = regs->conf;
	struct addr inside = registration_inside(reg->set);
	struct addr registrar = registration_registrar(reg->set);

	return conf->gateway.mode == CONF_MODE_BYPASS || reg->map->bypassed ||
	       conf_networks_contain(&conf->bypass.phones, &inside) ||
	       conf_networks_contain(&conf->bypass.peers, &registrar);
}

/* The same user of the same host has come by another port since */
static bool is_replaced(const struct registration *reg, uint64_t now_ms)
{
	const struct registration *other;

	DL_FOREACH (reg->set->contacts, other) {
		if (other->named_ms > reg->named_ms &&
		    other->expires_ms > now_ms)
			return true;
	}
	return false;
}

/* Its time is over: how it ended, and what is wrong with that */
static const char *how_it_ended(struct registrations *regs,
				struct registration *reg, uint64_t now_ms)
{
	if (is_left_alone(regs, reg))
		return "bypassed";
	if (reg->asked && !reg->wished_s)
		return "removed";
	if (reg->waits_ms)
		raise_unanswered(regs, reg, now_ms);
	if (reg->expires_ms && is_replaced(reg, now_ms))
		return "replaced";
	if (reg->expires_ms) {
		raise_lapsed(regs, reg, now_ms);
		return "lapsed";
	}
	if (reg->waits_ms)
		return "unanswered";
	if (sip_wants_credentials(reg->status))
		raise_refused(regs, reg, ", and got no credentials it takes",
			      now_ms);
	return "refused";
}

/* When it is over, if nothing is heard until then. A REGISTER may be under way
 * at that moment.
 */
static uint64_t due_ms(const struct registration *reg)
{
	uint64_t end_ms = reg->began_ms + TRANSACTION_MS;

	if (reg->expires_ms)
		end_ms = reg->expires_ms + GRACE_S * 1000;
	if (reg->waits_ms && reg->waits_ms + TRANSACTION_MS > end_ms)
		end_ms = reg->waits_ms + TRANSACTION_MS;
	return end_ms;
}

static void schedule(struct registrations *regs, struct registration *reg,
		     uint64_t now_ms)
{
	uint64_t at_ms = due_ms(reg);
	uint64_t answer_ms = reg->waits_ms + TRANSACTION_MS;

	if (reg->waits_ms && answer_ms > now_ms && answer_ms < at_ms)
		at_ms = answer_ms;
	timer_start(regs->wheel, &reg->timer, at_ms);
}

static void registration_fire(struct timer *timer, void *owner, uint64_t now_ms)
{
	struct registration *reg =
		TIMER_OBJECT(timer, struct registration, timer);
	struct registrations *regs = owner;

	if (now_ms >= due_ms(reg)) {
		registration_end(regs, reg, how_it_ended(regs, reg, now_ms),
				 now_ms);
		return;
	}
	/* It goes on, but its refresh was not heard */
	if (reg->waits_ms && now_ms >= reg->waits_ms + TRANSACTION_MS &&
	    reg->wished_s && !is_left_alone(regs, reg))
		raise_unanswered(regs, reg, now_ms);
	schedule(regs, reg, now_ms);
}

static void registration_ping(struct timer *timer, void *owner, uint64_t now_ms)
{
	struct registration *reg =
		TIMER_OBJECT(timer, struct registration, ping);
	struct registrations *regs = owner;
	const struct nat *nat = regs->bindings->nat;

	if (!addr_is_set(&regs->conf->gateway.advertised_address))
		return;
	if (!nat->dry)
		nat->ops->ping(nat->ctx, &reg->lan);
	timer_start(regs->wheel, timer, now_ms + PING_MS);
}

static bool is_contact(const struct registration *reg,
		       const struct mapping *map, struct span uri)
{
	return reg->map == map && reg->user && reg->transport &&
	       span_eq(span_from_str(reg->user), uri_user(uri)) &&
	       span_case_eq(span_from_str(reg->transport),
			    uri_param(uri, SPAN("transport")));
}

static struct registration *contact_find(const struct registration_set *set,
					 const struct mapping *map,
					 struct span uri)
{
	struct registration *reg;

	DL_FOREACH (set->contacts, reg) {
		if (is_contact(reg, map, uri))
			return reg;
	}
	return NULL;
}

/* One of another set than @set; NULL if there is none */
static struct registration *next_to_go(const struct registrations *regs,
				       const struct registration_set *set)
{
	const struct registration_set *first = regs->list;

	if (first == set)
		first = first->next;
	return first ? first->contacts : NULL;
}

/** struct contact - What is kept of one */
struct contact {
	struct span uri, user, transport, agent;
};

static struct contact contact_of(struct span uri, const struct message *msg)
{
	return (struct contact){
		.uri = uri,
		.user = uri_user(uri),
		.transport = uri_param(uri, SPAN("transport")),
		.agent = message_value(msg, SIP_USER_AGENT),
	};
}

/* May the host have one more? */
static bool has_share(const struct registrations *regs,
		      const struct addr *inside)
{
	return host_may_take(regs->bindings->hosts, inside, SHARE_REGISTRATIONS,
			     1, regs->count, regs->conf->limits.registrations);
}

static struct registration *contact_add(struct registrations *regs,
					struct registration_set *set,
					struct mapping *map,
					const struct contact *contact)
{
	struct registration *reg, *oldest;

	if (set->count >= SET_MAX || contact->user.len > TEXT_MAX)
		return NULL;
	if (!has_share(regs, &map->in.inside.addr)) {
		counter_add(regs->counters, COUNTER_over_share);
		return NULL;
	}
	map->holds++; /* it shall not go with the one that makes room */
	if (regs->count >= regs->conf->limits.registrations) {
		oldest = next_to_go(regs, set);
		if (oldest) {
			counter_add(regs->counters,
				    COUNTER_registrations_evicted);
			tell_end(regs, oldest, "evicted",
				 regs->bindings->now_ms);
			registration_free(regs, oldest);
		}
	}
	reg = regs->count < regs->conf->limits.registrations
		      ? calloc(1, sizeof(*reg))
		      : NULL;
	if (!reg) {
		mapping_release(regs->bindings, map);
		return NULL;
	}
	reg->set = set;
	reg->map = map;
	reg->host = host_take(regs->bindings->hosts, &map->in.inside.addr,
			      SHARE_REGISTRATIONS, 1);
	reg->user = span_dup(contact->user, TEXT_MAX);
	reg->transport = span_dup(contact->transport, TEXT_MAX);
	reg->contact_inside = span_dup(contact->uri, TEXT_MAX);
	reg->user_agent = span_dup(contact->agent, TEXT_MAX);
	reg->timer.fire = registration_fire;
	reg->ping.fire = registration_ping;
	regs->count++;
	set->count++;
	DL_APPEND(set->contacts, reg);
	return reg;
}

/* Contact's own expires, else the field, else @otherwise (RFC 3261 10.2.1.1) */
static uint32_t expires_of(const struct message *msg, struct span contact,
			   uint32_t otherwise)
{
	struct span param = field_param(field_params(contact), SPAN("expires"));
	struct span field = message_value(msg, SIP_EXPIRES);
	uint64_t seconds;

	if (!(param.len && !span_to_uint(param, UINT32_MAX, &seconds)) &&
	    !(field.len && !span_to_uint(field, UINT32_MAX, &seconds)))
		return otherwise;
	return seconds < MAX_S ? (uint32_t)seconds : MAX_S;
}

/* ---- requests ---- */

/* The mapping that an inside host's own Contact names; NULL if it is another
 * address than its own, or not mapped
 */
static struct mapping *inside_map(const struct registrations *regs,
				  const struct flow *flow, struct span uri)
{
	struct hostport hp;
	struct endpoint end;

	if (!uri_hostport(uri, &hp) || !addr_eq(&hp.addr, &flow->lan.src.addr))
		return NULL;
	end = (struct endpoint){ hp.addr, hostport_port(&hp) };
	if (end.port == flow->lan.src.port)
		return flow->map;
	return mapping_find_inside(regs->bindings, &end, &flow->wan.dst.addr);
}

static void ask(struct registrations *regs, struct registration *reg,
		const struct message *msg, uint32_t seconds, uint64_t now_ms)
{
	reg->request = request_hash(msg);
	reg->wished_s = seconds;
	reg->asked = true;
	reg->named_ms = now_ms;
	if (!reg->waits_ms)
		reg->waits_ms = now_ms;
	schedule(regs, reg, now_ms);
}

static void ask_contact(struct registrations *regs, const struct flow *flow,
			const struct message *msg, struct span contact,
			uint64_t now_ms)
{
	struct span uri = field_uri(contact);
	struct mapping *map = inside_map(regs, flow, uri);
	struct registration_set *set;
	struct registration *reg;

	if (!map)
		return;
	set = set_get(regs, flow, msg, true);
	if (!set)
		return;
	reg = contact_find(set, map, uri);
	if (!reg) {
		struct contact kept = contact_of(uri, msg);

		reg = contact_add(regs, set, map, &kept);
		if (!reg) {
			set_free_if_empty(regs, set);
			return;
		}
		reg->began_ms = now_ms;
	}
	reg->lan = flow->lan;
	ask(regs, reg, msg, expires_of(msg, contact, DEFAULT_S), now_ms);
}

/* A 2xx that answers no REGISTER of ours is a stray or a forgery */
static void note_request(struct registrations *regs, const struct flow *flow,
			 const struct message *msg)
{
	struct registration_set *set = set_get(regs, flow, msg, false);

	if (!set)
		return;
	set->request = request_hash(msg);
	set->asked_at = flow->lan.dst;
	set->asks_rport = path_asks_rport(msg);
}

/* "Contact: *" asks for the end of every binding: RFC 3261 10.2.2 */
static void ask_end_of_all(struct registrations *regs, const struct flow *flow,
			   const struct message *msg, uint64_t now_ms)
{
	struct registration_set *set = set_get(regs, flow, msg, false);
	struct registration *reg;

	if (!set)
		return;
	DL_FOREACH (set->contacts, reg)
		ask(regs, reg, msg, 0, now_ms);
}

void registration_request(struct registrations *regs, const struct flow *flow,
			  const struct message *msg, uint64_t now_ms)
{
	for (unsigned int i = 0; i < msg->count; i++) {
		struct span rest = msg->line[i].value, contact;

		if (msg->line[i].id != SIP_CONTACT)
			continue;
		if (span_eq(rest, SPAN("*")))
			ask_end_of_all(regs, flow, msg, now_ms);
		while (field_next_value(&rest, &contact))
			ask_contact(regs, flow, msg, contact, now_ms);
	}
	note_request(regs, flow, msg);
}

/* ---- answers ---- */

/* Have hold @i on @lan, and the kernel keep that for @seconds */
static void hold_for(struct registrations *regs, struct registration *reg,
		     int i, const struct tuple *lan, struct mapping *map,
		     uint32_t seconds, uint64_t now_ms)
{
	struct registration_hold *old = reg->hold[i];

	if (!old || !tuple_eq(&old->lan, lan)) {
		reg->hold[i] = hold_get(regs, lan);
		hold_put(regs, old);
	}
	flow_hold(regs->bindings, lan, map, seconds, now_ms);
}

/* Keep the way in open: for the Contact's own port too, where that is not the
 * one the REGISTER came from
 */
static void hold(struct registrations *regs, struct registration *reg,
		 struct tuple lan, struct mapping *map, uint32_t seconds,
		 uint64_t now_ms)
{
	if (!reg->peer)
		reg->peer = peer_hold(regs->bindings, &lan.src.addr,
				      &lan.dst.addr, now_ms);
	/* A connection lives by itself, and says nothing of another flow */
	if (!regs->conf->sip.keep_registrations || lan.proto != IPPROTO_UDP ||
	    reg->lan.proto != IPPROTO_UDP)
		return;
	hold_for(regs, reg, 0, &lan, map, seconds, now_ms);
	if (reg->map == map)
		return;
	lan.src = reg->map->in.inside;
	hold_for(regs, reg, 1, &lan, reg->map, seconds, now_ms);
}

/* It is confirmed until reg->expires_ms */
static void start_timers(struct registrations *regs, struct registration *reg,
			 uint64_t now_ms)
{
	TABLE_QUEUE_SURE(regs->list, regs->sure, reg->set);
	schedule(regs, reg, now_ms);
	if (addr_is_set(&regs->conf->gateway.advertised_address) &&
	    reg->lan.proto == IPPROTO_UDP)
		timer_start(regs->wheel, &reg->ping, now_ms + PING_MS);
}

static void confirm(struct registrations *regs, struct registration *reg,
		    const struct flow *flow, uint32_t seconds, uint64_t now_ms)
{
	struct symptom_subject of = subject(reg);

	reg->granted_s = seconds;
	reg->expires_ms = now_ms + seconds * 1000ull;
	reg->map->open = flow->map->open = true;
	symptom_over(&of, SYMPTOM_registration_refused);
	symptom_over(&of, SYMPTOM_register_unanswered);
	counter_add(regs->counters, COUNTER_registrations_confirmed);
	start_timers(regs, reg, now_ms);
	hold(regs, reg, flow->lan, flow->map, seconds + GRACE_S, now_ms);
}

/* The mapping that a Contact from the registrar names, if it is of ours */
static struct mapping *public_map(const struct registrations *regs,
				  const struct flow *flow, struct span uri,
				  const struct addr *shown)
{
	struct hostport hp;
	struct endpoint end;

	if (!uri_hostport(uri, &hp) || !addr_eq(&hp.addr, shown))
		return NULL;
	end = (struct endpoint){ flow->wan.dst.addr, hostport_port(&hp) };
	if (end.port == flow->wan.dst.port)
		return flow->map;
	return mapping_find_public(regs->bindings, &end);
}

/* "received" in a Contact is what a proxy notes that sends there instead; and
 * who fills in an rport that was not asked for goes by it
 */
static void look_for_repair(struct registrations *regs,
			    struct registration *reg, const struct message *msg,
			    struct span contact, uint64_t now_ms)
{
	struct symptom_subject of = subject(reg);
	struct span received =
		field_param(field_params(contact), SPAN("received"));
	bool forced = !reg->set->asks_rport && path_asks_rport(msg);

	if (received.len)
		symptom_raise(regs->symptoms, &of, SYMPTOM_provider_nat, now_ms,
			      "it noted received=%.*s with our Contact",
			      SPAN_ARG(received));
	else if (forced)
		symptom_raise(regs->symptoms, &of, SYMPTOM_provider_nat, now_ms,
			      "it filled in rport, which was not asked for");
}

static void read_contact(struct registrations *regs,
			 struct registration_set *set, const struct flow *flow,
			 const struct message *msg, struct span contact,
			 const struct addr *shown, uint64_t now_ms)
{
	struct span uri = field_uri(contact);
	struct mapping *map = public_map(regs, flow, uri, shown);
	struct registration *reg;
	uint32_t seconds;

	/* Where nothing is changed, it comes back as it was written */
	if (!map && regs->bindings->nat->dry)
		map = inside_map(regs, flow, uri);
	if (map)
		undo_register(&map->memory,
			      &(struct undo_message){ rewrite_branch(msg), 0 });
	reg = map && set ? contact_find(set, map, uri) : NULL;
	if (!reg)
		return;
	reg->status = msg->status;
	look_for_repair(regs, reg, msg, contact, now_ms);
	seconds = expires_of(msg, contact, reg->wished_s);
	reg->listed = seconds > 0;
	if (seconds)
		confirm(regs, reg, flow, seconds, now_ms);
}

/* The first Contact of a message, for people */
static struct span first_contact(const struct message *msg)
{
	struct span rest = message_value(msg, SIP_CONTACT), contact = { 0 };

	field_next_value(&rest, &contact);
	return field_uri(contact);
}

/* It is not in the 2xx. If it was just asked for, somebody has changed the
 * Contact on the way there, or on the way back
 */
static void end_missing(struct registrations *regs, struct registration *reg,
			const struct message *msg, bool asked, uint64_t now_ms)
{
	struct symptom_subject of = subject(reg);
	char public_end[ENDPOINT_TEXT_MAX];

	if (!asked || !reg->wished_s || regs->bindings->nat->dry) {
		registration_end(regs, reg, "removed", now_ms);
		return;
	}
	endpoint_format(&reg->map->public_end, public_end);
	symptom_raise(regs->symptoms, &of, SYMPTOM_upstream_alg, now_ms,
		      "the 200 to REGISTER lists %.*s, not our Contact at %s",
		      SPAN_ARG(first_contact(msg)), public_end);
	registration_end(regs, reg, "changed", now_ms);
}

/*
 * A 2xx lists all bindings: ours that it does not list are gone. Some
 * registrars list none at all; then it is what was asked for that was granted.
 */
static void end_unlisted(struct registrations *regs,
			 struct registration_set *set, const struct flow *flow,
			 const struct message *msg, uint64_t now_ms)
{
	bool silent = msg->first[SIP_CONTACT] == MESSAGE_HEADERS;
	uint32_t request = request_hash(msg);
	struct registration *reg, *next;

	DL_FOREACH_SAFE (set->contacts, reg, next) {
		bool listed = reg->listed, asked = reg->asked;

		reg->listed = false;
		/* Another one is under way, and may not have got there yet */
		if (asked && reg->request != request)
			continue;
		reg->asked = false;
		if (listed || (silent && !asked))
			continue;
		if (silent && reg->wished_s)
			confirm(regs, reg, flow,
				expires_of(msg, SPAN(""), reg->wished_s),
				now_ms);
		else
			end_missing(regs, reg, msg, asked, now_ms);
	}
}

/* ---- answers that are no 2xx ---- */

/* Not a refusal: it will be asked for again, differently */
static bool is_retried(unsigned int status)
{
	return status < 400 || status == 423;
}

static void on_refusal(struct registrations *regs, struct registration_set *set,
		       uint32_t request, unsigned int status, uint64_t now_ms)
{
	bool challenge = sip_wants_credentials(status);
	struct registration *reg;

	set->challenges = challenge ? set->challenges + 1 : 0;
	DL_FOREACH (set->contacts, reg) {
		if (!reg->asked || reg->request != request)
			continue;
		reg->status = (uint16_t)status;
		if (!reg->wished_s)
			continue;
		if (set->challenges >= CHALLENGES)
			raise_refused(regs, reg, " several times in a row",
				      now_ms);
		else if (!challenge && !is_retried(status))
			raise_refused(regs, reg, "", now_ms);
	}
}

/* ---- all answers ---- */

/*
 * Answers come from where the request was sent. Over TCP that may be a new
 * connection from another port (RFC 3261 18.2.2), which nobody can forge.
 */
static bool is_from(const struct flow *flow, const struct endpoint *asked_at)
{
	return flow->lan.proto == IPPROTO_TCP
		       ? addr_eq(&flow->lan.dst.addr, &asked_at->addr)
		       : endpoint_eq(&flow->lan.dst, asked_at);
}

/* Whatever it says, somebody is there. Return: false if nobody has asked, or
 * was answered already: a repetition must not prolong anything
 */
static bool stop_waiting(struct registration_set *set, const struct flow *flow,
			 uint32_t request)
{
	bool asked = set->asked_at.port && set->request == request &&
		     is_from(flow, &set->asked_at);
	struct registration *reg;

	if (asked)
		set->asked_at.port = 0;
	DL_FOREACH (set->contacts, reg) {
		if (reg->request != request || !reg->waits_ms ||
		    !is_from(flow, &reg->lan.dst))
			continue;
		reg->waits_ms = 0;
		asked = true;
	}
	return asked;
}

static void look_at_path(struct registrations *regs,
			 struct registration_set *set, const struct flow *flow,
			 const struct message *msg, const struct addr *shown,
			 uint64_t now_ms)
{
	char text[SYMPTOM_TEXT_MAX];
	enum symptom s = path_look(flow, shown, msg, text);
	struct registration *reg;

	if (s == SYMPTOM_COUNT)
		return;
	DL_FOREACH (set->contacts, reg) {
		struct symptom_subject of = subject(reg);

		symptom_raise(regs->symptoms, &of, s, now_ms, "%s", text);
	}
}

void registration_answer(struct registrations *regs, const struct flow *flow,
			 const struct message *msg, const struct addr *shown,
			 uint64_t now_ms)
{
	struct registration_set *set = set_get(regs, flow, msg, false);
	uint32_t request = request_hash(msg);

	if (msg->status < 200 || (set && !stop_waiting(set, flow, request)))
		return;
	if (set)
		look_at_path(regs, set, flow, msg, shown, now_ms);
	if (msg->status >= 300) {
		if (set)
			on_refusal(regs, set, request, msg->status, now_ms);
		return;
	}
	for (unsigned int i = 0; i < msg->count; i++) {
		struct span rest = msg->line[i].value, contact;

		if (msg->line[i].id != SIP_CONTACT)
			continue;
		while (field_next_value(&rest, &contact))
			read_contact(regs, set, flow, msg, contact, shown,
				     now_ms);
	}
	if (!set)
		return;
	set->challenges = 0;
	end_unlisted(regs, set, flow, msg, now_ms);
}

/* ---- the line changes ---- */

static void set_move(struct registrations *regs, struct registration *first,
		     uint64_t now_ms)
{
	const struct nat *nat = regs->bindings->nat;
	struct registration *reg, *next;

	/* The set goes with its last one */
	DL_FOREACH_SAFE (first, reg, next) {
		/* An entry that we hold was our choice, a TCP connection's
		 * address may be another NAT rule's
		 */
		if (nat_has_moved(nat, &reg->lan.src, &reg->lan.dst,
				  &reg->map->public_end.addr,
				  reg->hold[0] != NULL))
			registration_end(regs, reg, "moved", now_ms);
	}
}

void registrations_move(struct registrations *regs, uint64_t now_ms)
{
	struct registration_set *set, *next;

	DL_FOREACH_SAFE (regs->list, set, next)
		set_move(regs, set->contacts, now_ms);
}

/* ---- over a restart ---- */

void registration_save(const struct registration *reg,
		       struct saved_registration *out)
{
	struct span aor = registration_aor(reg->set);

	*out = (struct saved_registration){
		.lan = reg->lan,
		.registrar = registration_registrar(reg->set),
		.contact = reg->map->in.inside,
		.public_end = reg->map->public_end,
		.began_ms = reg->began_ms,
		.named_ms = reg->named_ms,
		.waits_ms = reg->waits_ms,
		.expires_ms = reg->expires_ms,
		.wished_s = reg->wished_s,
		.granted_s = reg->granted_s,
		.request = reg->set->request,
		.status = reg->status,
		.challenges = (uint8_t)reg->set->challenges,
		.asked = reg->asked,
		.asks_rport = reg->set->asks_rport,
	};
	span_copy(out->aor, sizeof(out->aor), aor);
	saved_text(out->user, sizeof(out->user), reg->user);
	saved_text(out->transport, sizeof(out->transport), reg->transport);
	saved_text(out->contact_text, sizeof(out->contact_text),
		   reg->contact_inside);
	saved_text(out->user_agent, sizeof(out->user_agent), reg->user_agent);
}

static struct registration *add_saved(struct registrations *regs,
				      struct mapping *map,
				      const struct saved_registration *in)
{
	char key[KEY_ENDS + AOR_MAX];
	size_t len = make_key(key, &in->contact.addr, &in->registrar,
			      span_from_str(in->aor));
	struct registration_set *set = set_by_key(regs, key, len, true);
	const struct contact contact = {
		.uri = span_from_str(in->contact_text),
		.user = span_from_str(in->user),
		.transport = span_from_str(in->transport),
		.agent = span_from_str(in->user_agent),
	};
	struct registration *reg;

	if (!set)
		return NULL;
	reg = contact_add(regs, set, map, &contact);
	if (!reg) {
		set_free_if_empty(regs, set);
		return NULL;
	}
	set->request = in->request;
	if (in->waits_ms)
		set->asked_at = in->lan.dst;
	set->challenges = in->challenges;
	set->asks_rport = in->asks_rport;
	reg->lan = in->lan;
	reg->began_ms = in->began_ms;
	reg->named_ms = in->named_ms;
	reg->waits_ms = in->waits_ms;
	reg->expires_ms = in->expires_ms;
	reg->wished_s = in->wished_s;
	reg->granted_s = in->granted_s;
	reg->status = in->status;
	reg->asked = in->asked;
	return reg;
}

/* The mapping of the flow that its REGISTER took; the flow is made anew if the
 * kernel has lost it, as it has over a reboot
 */
static struct mapping *flow_map(struct registrations *regs,
				const struct saved_registration *in,
				struct mapping *map, uint64_t now_ms)
{
	enum counter why;
	struct flow *flow;

	if (in->lan.proto != IPPROTO_UDP)
		return map;
	flow = flow_outbound(regs->bindings, &in->lan, now_ms, &why);
	return flow ? flow->map : NULL;
}

bool registration_restore(struct registrations *regs,
			  const struct saved_registration *in, uint64_t now_ms)
{
	struct mapping *map = mapping_find_inside(regs->bindings, &in->contact,
						  &in->public_end.addr);
	uint64_t end_ms =
		in->expires_ms ? in->expires_ms : in->began_ms + TRANSACTION_MS;
	struct mapping *way;
	struct registration *reg;

	if (!map || !endpoint_eq(&map->public_end, &in->public_end) ||
	    !addr_eq(&in->lan.src.addr, &in->contact.addr) ||
	    !addr_eq(&in->lan.dst.addr, &in->registrar) || end_ms <= now_ms ||
	    end_ms > now_ms + MAX_S * 1000ull)
		return false;
	map->holds++; /* while its flow is looked for */
	way = flow_map(regs, in, map, now_ms);
	reg = way ? add_saved(regs, map, in) : NULL;
	mapping_release(regs->bindings, map);
	if (!reg)
		return false;
	if (!reg->expires_ms) {
		schedule(regs, reg, now_ms);
		return true;
	}
	map->open = way->open = true;
	start_timers(regs, reg, now_ms);
	/* Not more than it has: the entry would be made anew */
	hold(regs, reg, in->lan, way, (uint32_t)((end_ms - now_ms) / 1000),
	     now_ms);
	return true;
}
