/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/saved.h"

#include <stdio.h>
#include <utlist.h>

#include "state/alg.h"

#define MEMBER(kind, type, member) FIELD(kind, struct type, member)
#define FLAG(type, member) FIELD_FLAG(struct type, member)
#define LIST(type, member, count, fields)                                      \
	FIELD_ARRAY(struct type, member, count, fields)
/* One byte of an array, by the name it is to have */
#define BYTE(type, member, i, name_)                                           \
	{                                                                      \
		.name = (name_), .kind = FIELD_UINT,                           \
		.offset = offsetof(struct type, member) + (i), .size = 1       \
	}

/* ---- mappings ---- */

static const struct field undo_fields[] = {
	FIELD_NUMBER(struct saved_undo, group, SITE_GROUPS - 1),
	MEMBER(UINT, saved_undo, id),
	MEMBER(UINT, saved_undo, port),
	FLAG(saved_undo, registered),
	MEMBER(TEXT, saved_undo, text),
	{ 0 },
};

static const struct field note_fields[] = {
	MEMBER(UINT, saved_note, branch),
	MEMBER(UINT, saved_note, call),
	BYTE(saved_note, id, SITE_GROUP_VIA, "via"),
	BYTE(saved_note, id, SITE_GROUP_CONTACT, "contact"),
	BYTE(saved_note, id, SITE_GROUP_ROUTE, "route"),
	BYTE(saved_note, id, SITE_GROUP_IDENTITY, "identity"),
	BYTE(saved_note, id, SITE_GROUP_REMOTE, "remote"),
	{ 0 },
};

static const struct field mapping_fields[] = {
	MEMBER(ENDPOINT, saved_mapping, inside),
	MEMBER(ENDPOINT, saved_mapping, public_end),
	MEMBER(TIME, saved_mapping, used_ms),
	MEMBER(TIME, saved_mapping, made_ms),
	FLAG(saved_mapping, bypassed),
	FLAG(saved_mapping, open),
	FLAG(saved_mapping, many),
	MEMBER(UINT, saved_mapping, last_id),
	LIST(saved_mapping, undo, undos, undo_fields),
	LIST(saved_mapping, note, notes, note_fields),
	{ 0 },
};

/* ---- registrations and subscriptions ---- */

static const struct field registration_fields[] = {
	MEMBER(TUPLE, saved_registration, lan),
	MEMBER(ADDR, saved_registration, registrar),
	MEMBER(ENDPOINT, saved_registration, contact),
	MEMBER(ENDPOINT, saved_registration, public_end),
	MEMBER(TEXT, saved_registration, aor),
	MEMBER(TEXT, saved_registration, user),
	MEMBER(TEXT, saved_registration, transport),
	MEMBER(TEXT, saved_registration, contact_text),
	MEMBER(TEXT, saved_registration, user_agent),
	MEMBER(TIME, saved_registration, began_ms),
	MEMBER(TIME, saved_registration, named_ms),
	MEMBER(TIME, saved_registration, waits_ms),
	MEMBER(TIME, saved_registration, expires_ms),
	MEMBER(UINT, saved_registration, wished_s),
	MEMBER(UINT, saved_registration, granted_s),
	MEMBER(UINT, saved_registration, request),
	MEMBER(UINT, saved_registration, status),
	MEMBER(UINT, saved_registration, challenges),
	FLAG(saved_registration, asked),
	FLAG(saved_registration, asks_rport),
	{ 0 },
};

static const struct field subscription_fields[] = {
	MEMBER(ADDR, saved_subscription, remote),
	MEMBER(ENDPOINT, saved_subscription, inside_end),
	MEMBER(ENDPOINT, saved_subscription, public_end),
	MEMBER(TEXT, saved_subscription, call_id),
	MEMBER(TIME, saved_subscription, due_ms),
	FLAG(saved_subscription, granted),
	{ 0 },
};

/* ---- calls ---- */

static const struct field end_fields[] = {
	MEMBER(ENDPOINT, saved_end, rtp),
	MEMBER(ENDPOINT, saved_end, rtcp),
	MEMBER(UINT, saved_end, pairs),
	FLAG(saved_end, mux),
	{ 0 },
};

static const struct field side_fields[] = {
	LIST(saved_side, now, now_count, end_fields),
	LIST(saved_side, before, before_count, end_fields),
	MEMBER(UINT, saved_side, both),
	MEMBER(UINT, saved_side, both_before),
	FLAG(saved_side, open),
	{ 0 },
};

static const struct field dialog_fields[] = {
	MEMBER(UINT, saved_dialog, local_tag),
	MEMBER(UINT, saved_dialog, remote_tag),
	FLAG(saved_dialog, confirmed),
	FLAG(saved_dialog, moved),
	MEMBER(TIME, saved_dialog, gone_ms),
	LIST(saved_dialog, side, sides, side_fields),
	{ 0 },
};

static const struct field stream_fields[] = {
	MEMBER(ENDPOINT, saved_stream, rtp),
	MEMBER(ENDPOINT, saved_stream, rtcp),
	MEMBER(ENDPOINT, saved_stream, public_rtp),
	MEMBER(UINT, saved_stream, pairs),
	MEMBER(TEXT, saved_stream, type),
	{ 0 },
};

static const struct field peer_fields[] = {
	MEMBER(ADDR, saved_peer, remote),
	{ 0 },
};

static const struct field call_fields[] = {
	MEMBER(ADDR, saved_call, inside),
	MEMBER(ADDR, saved_call, remote),
	MEMBER(ENDPOINT, saved_call, inside_end),
	MEMBER(ENDPOINT, saved_call, public_end),
	MEMBER(TEXT, saved_call, call_id),
	FIELD_NUMBER(struct saved_call, state, CALL_ENDED),
	MEMBER(UINT, saved_call, offer_both),
	FLAG(saved_call, outgoing),
	FLAG(saved_call, spoken),
	FLAG(saved_call, carried),
	FLAG(saved_call, ice_in),
	FLAG(saved_call, ice_out),
	FLAG(saved_call, replied),
	FLAG(saved_call, cancelled),
	FLAG(saved_call, bye),
	FLAG(saved_call, packets_unknown),
	MEMBER(UINT, saved_call, status),
	MEMBER(TIME, saved_call, started_ms),
	MEMBER(TIME, saved_call, invited_ms),
	MEMBER(TIME, saved_call, answered_ms),
	MEMBER(TIME, saved_call, expires_ms),
	MEMBER(TIME, saved_call, heard_ms),
	MEMBER(TIME, saved_call, due_ms),
	MEMBER(UINT, saved_call, packets_out),
	MEMBER(UINT, saved_call, packets_in),
	MEMBER(TEXT, saved_call, codecs),
	MEMBER(TEXT, saved_call, from),
	MEMBER(TEXT, saved_call, to),
	LIST(saved_call, peer, peers, peer_fields),
	LIST(saved_call, offer, offers, end_fields),
	LIST(saved_call, dialog, dialogs, dialog_fields),
	LIST(saved_call, stream, streams, stream_fields),
	{ 0 },
};

/* ---- connections ---- */

static const struct field connection_fields[] = {
	MEMBER(TUPLE, saved_connection, lan),
	MEMBER(TUPLE, saved_connection, wan),
	FLAG(saved_connection, answered),
	FLAG(saved_connection, alien),
	BYTE(saved_connection, ttl, 0, "ttl_0"),
	BYTE(saved_connection, ttl, 1, "ttl_1"),
	BYTE(saved_connection, tos, 0, "tos_0"),
	BYTE(saved_connection, tos, 1, "tos_1"),
	{ .name = "stream",
	  .kind = FIELD_STRUCT,
	  .offset = offsetof(struct saved_connection, stream),
	  .fields = stream_image_fields },
	{ 0 },
};

void saved_text(char *to, size_t cap, const char *from)
{
	snprintf(to, cap, "%s", from ? from : "");
}

/* ---- kinds ---- */

static void each_mapping(const struct alg *alg, union saved *image,
			 void (*emit)(void *arg), void *arg)
{
	const struct mapping *map;

	DL_FOREACH (alg->bindings.mappings, map) {
		if (map->passing)
			continue;
		mapping_save(map, &image->mapping);
		emit(arg);
	}
}

static bool restore_mapping(struct alg *alg, const union saved *image,
			    uint64_t now_ms)
{
	(void)now_ms;
	return mapping_restore(&alg->bindings, &image->mapping);
}

static void each_registration(const struct alg *alg, union saved *image,
			      void (*emit)(void *arg), void *arg)
{
	const struct registration_set *set;
	const struct registration *reg;

	DL_FOREACH (alg->registrations.list, set) {
		DL_FOREACH (set->contacts, reg) {
			registration_save(reg, &image->registration);
			emit(arg);
		}
	}
}

static bool restore_registration(struct alg *alg, const union saved *image,
				 uint64_t now_ms)
{
	return registration_restore(&alg->registrations, &image->registration,
				    now_ms);
}

static void each_subscription(const struct alg *alg, union saved *image,
			      void (*emit)(void *arg), void *arg)
{
	const struct subscription *sub;

	DL_FOREACH (alg->subscriptions.list, sub) {
		subscription_save(sub, &image->subscription);
		emit(arg);
	}
}

static bool restore_subscription(struct alg *alg, const union saved *image,
				 uint64_t now_ms)
{
	return subscription_restore(&alg->subscriptions, &image->subscription,
				    now_ms);
}

static void each_call(const struct alg *alg, union saved *image,
		      void (*emit)(void *arg), void *arg)
{
	const struct call *call;

	DL_FOREACH (alg->calls.list, call) {
		if (call->state == CALL_ENDED)
			continue;
		call_save(call, &image->call);
		emit(arg);
	}
}

static bool restore_call(struct alg *alg, const union saved *image,
			 uint64_t now_ms)
{
	return call_restore(&alg->calls, &image->call, now_ms);
}

static void each_connection(const struct alg *alg, union saved *image,
			    void (*emit)(void *arg), void *arg)
{
	const struct connection *c;

	for (int kind = 0; kind < CONNECTION_KINDS; kind++) {
		DL_FOREACH (alg->connections.list[kind], c) {
			if (connection_save(c, &image->connection))
				emit(arg);
		}
	}
}

static bool restore_connection(struct alg *alg, const union saved *image,
			       uint64_t now_ms)
{
	return connection_restore(&alg->connections, &image->connection,
				  now_ms);
}

const struct saved_kind saved_kinds[] = {
	{ "mapping", mapping_fields, false, each_mapping, restore_mapping },
	{ "registration", registration_fields, false, each_registration,
	  restore_registration },
	{ "subscription", subscription_fields, false, each_subscription,
	  restore_subscription },
	{ "call", call_fields, false, each_call, restore_call },
	{ "connection", connection_fields, true, each_connection,
	  restore_connection },
	{ 0 },
};

bool saved_restore(struct alg *alg, const struct saved_kind *kind,
		   const union saved *image, uint64_t now_ms)
{
	alg->bindings.now_ms = now_ms;
	return kind->restore(alg, image, now_ms);
}
