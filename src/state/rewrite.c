/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/rewrite.h"

#include <stdio.h>

#include "sip/field.h"
#include "sip/sites.h"
#include "sip/witness.h"

#define SIPS_PORT 5061
/* Ports without a mapping that one message may announce */
#define ANNOUNCE_MAX 8

/* ---- inside -> public ---- */

/* A message opens no port of another service: NAT slipstreaming. The list is
 * made for media and so holds the ports of SIP itself, which are meant here.
 */
static bool may_announce(const struct rewrite *rw, uint16_t port)
{
	const struct conf *conf = rw->bindings->conf;

	if (port == SIP_PORT || port == SIPS_PORT ||
	    ports_contain(&conf->sip.ports, port) ||
	    !ports_contain(&conf->media.reserved_ports, port))
		return true;
	counter_add(rw->bindings->counters, COUNTER_sip_reserved_port);
	return false;
}

/*
 * One message may announce a few ports of its host, not all there are. What a
 * REGISTER announces is for its registrar to grant; until then nothing but its
 * answer, over UDP, may come to another port than it was sent from.
 */
static struct mapping *announce(struct rewrite *rw, enum site_group group,
				const struct endpoint *inside)
{
	const struct flow *flow = rw->flow;
	struct mapping *map =
		mapping_find_inside(rw->bindings, inside, &flow->wan.dst.addr);

	if (!map && rw->announced++ < ANNOUNCE_MAX) {
		map = mapping_get(rw->bindings, inside, &flow->wan.dst.addr);
		rw->refused |= !map;
	}
	if (!map)
		return NULL;
	if (!message_registers(rw->msg))
		map->open = true;
	else if (group == SITE_GROUP_VIA && flow->lan.proto == IPPROTO_UDP)
		map->answers = true;
	return map;
}

/* The public port of an inside host's own port. A mapping is made where the
 * port is announced to be reached, not where it only names somebody.
 */
static uint16_t public_port(struct rewrite *rw, enum site_group group,
			    uint16_t port, struct mapping **map)
{
	const struct flow *flow = rw->flow;
	struct endpoint inside = { flow->lan.src.addr, port };
	const struct addr *public_addr = &flow->wan.dst.addr;

	*map = flow->map;
	if (port == flow->lan.src.port)
		return flow->wan.dst.port;
	*map = NULL;
	if (group == SITE_GROUP_IDENTITY)
		*map = mapping_find_inside(rw->bindings, &inside, public_addr);
	else if (may_announce(rw, port))
		*map = announce(rw, group, &inside);
	return *map ? (*map)->public_end.port : 0;
}

/*
 * What to write for @hp, which names the inside host, and the port in it (0
 * for none). Identities (From, To ...) are compared, not called: they get no
 * port where they had none (RFC 3261 19.1.1, table 1; docs/decisions/004), and
 * a port that nobody listens on stays.
 */
static uint16_t port_to_write(struct rewrite *rw, enum site_group group,
			      const struct hostport *hp, struct mapping **map)
{
	uint16_t port;

	*map = rw->flow->map;
	if (group == SITE_GROUP_IDENTITY && !hp->port)
		return 0;
	port = public_port(rw, group, hostport_port(hp), map);
	if (group == SITE_GROUP_IDENTITY) {
		*map = rw->flow->map;
		return port ? port : hp->port;
	}
	return !hp->port && port == SIP_PORT ? 0 : port;
}

static size_t format(char *text, const struct addr *addr, uint16_t port)
{
	struct endpoint end = { *addr, port };

	return port ? endpoint_format(&end, text)
		    : addr_format_host(addr, text);
}

static bool is_host_of(const struct rewrite *rw, const struct hostport *hp)
{
	return addr_eq(&hp->addr, &rw->flow->lan.src.addr);
}

static bool is_from_to(const struct site *site)
{
	return site->header == SIP_FROM || site->header == SIP_TO;
}

/* From or To, whichever is the inside host's in this message */
static bool is_own_identity(const struct rewrite *rw, const struct site *site)
{
	return site->header == (rw->outbound == message_is_request(rw->msg)
					? SIP_FROM
					: SIP_TO);
}

/* Under which group a text is remembered: what From and To of one message say
 * must not be taken for each other, also where they change places
 */
static enum site_group undo_group(const struct rewrite *rw,
				  const struct site *site)
{
	return is_from_to(site) && !is_own_identity(rw, site)
		       ? SITE_GROUP_REMOTE
		       : site->group;
}

/* Another inside host than the message's: only if it has a mapping already */
static void map_other(struct rewrite *rw, const struct site *site,
		      const struct hostport *hp)
{
	struct endpoint inside = { hp->addr, hostport_port(hp) };
	struct mapping *map = mapping_find_inside(rw->bindings, &inside,
						  &rw->flow->wan.dst.addr);
	char text[ENDPOINT_TEXT_MAX];
	uint16_t port;
	size_t len;

	if (!map)
		return;
	port = map->public_end.port;
	if (!hp->port && port == SIP_PORT)
		port = 0;
	/* Not remembered: what counts for that host is how it writes itself */
	len = format(text, &rw->shown, port);
	edit_add(rw->edits, site->name, hp->text, (struct span){ text, len });
}

/* What is not changed (gateway.mode = observe) comes back as it was written */
static bool remember(struct rewrite *rw, const struct site *site,
		     struct mapping *map, uint16_t port, struct span text)
{
	return rw->bindings->nat->dry ||
	       undo_remember(&map->memory, undo_group(rw, site), port, text,
			     &rw->message);
}

static void map_out(struct rewrite *rw, const struct site *site,
		    const struct hostport *hp)
{
	char text[ENDPOINT_TEXT_MAX];
	struct mapping *map;
	uint16_t port;
	size_t len;

	if (addr_eq(&hp->addr, &rw->shown)) {
		/* It knows its public address: it shall find it again */
		if (site->group != SITE_GROUP_IDENTITY || is_from_to(site))
			remember(rw, site, rw->flow->map, hp->port, SPAN(""));
		return;
	}
	if (!is_host_of(rw, hp)) {
		map_other(rw, site, hp);
		return;
	}
	port = port_to_write(rw, site->group, hp, &map);
	if (!map || !remember(rw, site, map, port, hp->text))
		return;
	len = format(text, &rw->shown, port);
	edit_add(rw->edits, site->name, hp->text, (struct span){ text, len });
}

/* ---- public -> inside ---- */

/* The mapping that @hp names, of the flow's inside host or, where the site may
 * name others, of any; NULL if none
 */
static struct mapping *map_named(const struct rewrite *rw,
				 const struct site *site,
				 const struct hostport *hp)
{
	const struct flow *flow = rw->flow;
	struct endpoint end = { flow->wan.dst.addr, hostport_port(hp) };
	bool identity = site->group == SITE_GROUP_IDENTITY;
	struct mapping *map;

	if (end.port == flow->wan.dst.port || (identity && !hp->port))
		return flow->map;
	/* A port without a mapping was kept, and may be another's outside */
	if (identity && undo_recall(&flow->map->memory, undo_group(rw, site),
				    hp->port, &rw->message))
		return flow->map;
	map = mapping_find_public(rw->bindings, &end);
	if (map && (site->any_host ||
		    addr_eq(&map->in.inside.addr, &flow->lan.src.addr)))
		return map;
	return identity ? flow->map : NULL;
}

/*
 * What the inside host is to read where nothing is remembered: after a restart,
 * or where it was not the inside host that named itself first. Identities with
 * a port that is not the mapping's are left: their way back would be lost.
 */
static size_t inside_text(const struct rewrite *rw, enum site_group group,
			  const struct mapping *map, const struct hostport *hp,
			  char *text)
{
	uint16_t port = map->in.inside.port;

	if (group == SITE_GROUP_IDENTITY && hp->port &&
	    hp->port != rw->flow->wan.dst.port && map == rw->flow->map)
		return 0;
	if (!hp->port && (group == SITE_GROUP_IDENTITY || port == SIP_PORT))
		port = 0;
	return format(text, &map->in.inside.addr, port);
}

/* The inside host announces its public address by itself: nothing is ours */
static bool knows_itself(const struct rewrite *rw, const struct mapping *map)
{
	uint16_t port = map->public_end.port;
	const struct undo *undo = undo_recall(&map->memory, SITE_GROUP_CONTACT,
					      port, &rw->message);

	if (!undo && port == SIP_PORT)
		undo = undo_recall(&map->memory, SITE_GROUP_CONTACT, 0,
				   &rw->message);
	return undo && !undo->len;
}

/* Without a record: is the inside host meant? An identity under our public
 * address may be another's, unless the field is that of the inside host itself
 */
static bool is_named(const struct rewrite *rw, const struct site *site,
		     const struct mapping *map, const struct hostport *hp)
{
	char text[ENDPOINT_TEXT_MAX];
	size_t len = format(text, &rw->shown, hp->port);

	if (site->group != SITE_GROUP_IDENTITY || map != rw->flow->map)
		return true;
	/* In another spelling ("[2001:DB8::1]", ":05060") it would not come
	 * back in answers as it was
	 */
	return is_own_identity(rw, site) &&
	       span_eq(hp->text, (struct span){ text, len });
}

/* Put back what stood there. Return: false if it was not we who changed it */
static bool restore(struct rewrite *rw, const struct site *site,
		    const struct hostport *hp)
{
	char text[ENDPOINT_TEXT_MAX];
	struct span old = { text, 0 };
	const struct undo *undo;
	struct mapping *map;

	if (!addr_eq(&hp->addr, &rw->shown))
		return false;
	map = map_named(rw, site, hp);
	if (!map)
		return false;
	undo = undo_recall(&map->memory, undo_group(rw, site), hp->port,
			   &rw->message);
	if (undo)
		old = (struct span){ undo->text, undo->len };
	else if (is_named(rw, site, map, hp) && !knows_itself(rw, map))
		old.len = inside_text(rw, site->group, map, hp, text);
	if (!old.len)
		return false;
	edit_add(rw->edits, site->name, hp->text, old);
	return true;
}

/* ---- sites ---- */

static void apply(struct rewrite *rw, const struct site *site,
		  enum site_rule rule, const struct hostport *hp)
{
	if (rule == SITE_MAP)
		map_out(rw, site, hp);
	else
		restore(rw, site, hp);
}

static void doubt(struct rewrite *rw)
{
	counter_add(rw->bindings->counters, COUNTER_values_in_doubt);
}

static bool is_ours(const struct rewrite *rw, const struct site *site,
		    const struct hostport *hp)
{
	const struct nat *nat = rw->bindings->nat;

	return addr_eq(&hp->addr, &rw->shown) || is_host_of(rw, hp) ||
	       (site->any_host && addr_is_set(&hp->addr) &&
		nat->ops->is_inside(nat->ctx, &hp->addr));
}

static void rewrite_uri(struct rewrite *rw, const struct site *site,
			enum site_rule rule, struct span uri)
{
	struct hostport hp;

	if (!uri.len || !uri_hostport(uri, &hp) || !is_ours(rw, site, &hp))
		return;
	if (witness_uri(uri, &hp))
		apply(rw, site, rule, &hp);
	else
		doubt(rw);
}

/* Another address than we show: of use to who asks what is wrong */
static void note_seen(const struct rewrite *rw, const struct addr *received)
{
	struct bindings *b = rw->bindings;

	if (!addr_eq(received, &rw->shown)) {
		b->shown_as = rw->shown;
		b->seen_as = *received;
	} else if (addr_eq(&b->shown_as, &rw->shown)) {
		b->seen_as = (struct addr){ 0 };
	}
}

/* It answers one of the last requests: others can say what they like */
static bool is_asked(const struct rewrite *rw, const struct mapping *map)
{
	return rw->bindings->nat->dry ||
	       (map &&
		undo_written(&map->memory, SITE_GROUP_VIA, rw->message.branch));
}

/* received and rport tell where the request came from, as the other side saw
 * it (RFC 3581 4): the inside host's own address and port, then
 */
static void restore_source(struct rewrite *rw, const struct via *via,
			   const struct mapping *map)
{
	const struct flow *flow = rw->flow;
	char text[ADDR_TEXT_MAX];
	struct addr received;
	uint64_t rport;
	size_t len;
	bool seen = !addr_parse(via->received, &received);

	if (seen && is_asked(rw, map))
		note_seen(rw, &received);
	if (seen && addr_eq(&received, &rw->shown)) {
		len = via->received.ptr[0] == '['
			      ? addr_format_host(&flow->lan.src.addr, text)
			      : addr_format(&flow->lan.src.addr, text);
		edit_add(rw->edits, "Via received", via->received,
			 (struct span){ text, len });
	}
	if (!span_to_uint(via->rport, UINT16_MAX, &rport) &&
	    rport == flow->wan.dst.port) {
		len = (size_t)snprintf(text, sizeof(text), "%u",
				       flow->lan.src.port);
		edit_add(rw->edits, "Via rport", via->rport,
			 (struct span){ text, len });
	}
}

static void rewrite_via(struct rewrite *rw, const struct site *site,
			enum site_rule rule)
{
	const struct via *via = &rw->top;

	if (!rw->via.ptr || !is_ours(rw, site, &via->sent_by))
		return;
	if (!witness_via(rw->via, via)) {
		doubt(rw);
		return;
	}
	if (rule == SITE_MAP)
		map_out(rw, site, &via->sent_by);
	else if (restore(rw, site, &via->sent_by))
		restore_source(rw, via, map_named(rw, site, &via->sent_by));
}

static void rewrite_field(struct rewrite *rw, const struct site *site,
			  enum site_rule rule, struct span field)
{
	struct span value;

	while (field_next_value(&field, &value)) {
		rewrite_uri(rw, site, rule, field_uri(value));
		if (site->top_only)
			return;
	}
}

/* ---- private networks with the same numbers ---- */

static uint8_t foreign_in(const struct rewrite *rw, enum sip_header header,
			  uint8_t what)
{
	const struct message *msg = rw->msg;

	for (unsigned int i = msg->first[header]; i < msg->count; i++) {
		struct span field = msg->line[i].value, value;
		struct hostport hp;

		if (msg->line[i].id != header)
			continue;
		while (field_next_value(&field, &value)) {
			if (uri_hostport(field_uri(value), &hp) &&
			    is_host_of(rw, &hp))
				return what;
		}
	}
	return 0;
}

/*
 * A request from outside with the inside host's private address in it means
 * somebody else's: nobody outside can know it. It must come back in answers as
 * it is, and so must the identity in what the inside host sends later.
 */
uint8_t rewrite_foreign(const struct rewrite *rw)
{
	return foreign_in(rw, SIP_FROM, FOREIGN_REMOTE) |
	       foreign_in(rw, SIP_TO, FOREIGN_LOCAL) |
	       foreign_in(rw, SIP_RECORD_ROUTE, FOREIGN_ROUTE);
}

/* A field of an outgoing message repeats what was foreign */
static bool is_foreign(const struct rewrite *rw, enum sip_header header)
{
	bool request = message_is_request(rw->msg);

	if (header == SIP_RECORD_ROUTE)
		return !request && rw->foreign & FOREIGN_ROUTE;
	if (header == SIP_FROM)
		return rw->foreign & (request ? FOREIGN_LOCAL : FOREIGN_REMOTE);
	if (header == SIP_TO)
		return rw->foreign & (request ? FOREIGN_REMOTE : FOREIGN_LOCAL);
	return false;
}

static enum site_rule rule_for(const struct rewrite *rw,
			       const struct site *site)
{
	enum site_rule rule = site->rule[site_flow(
		rw->outbound, message_is_request(rw->msg))];

	if (rule == SITE_RESTORE_REGISTER)
		return rw->msg->method == SIP_REGISTER ? SITE_RESTORE
						       : SITE_LEAVE;
	if (is_from_to(site) && !rw->bindings->conf->sip.map_from_to)
		return SITE_LEAVE;
	if (rw->outbound && rw->foreign && is_foreign(rw, site->header))
		return SITE_LEAVE;
	return rule;
}

static uint32_t branch_hash(const struct via *via)
{
	return via->branch.len ? span_hash(via->branch, 0) : 0;
}

uint32_t rewrite_branch(const struct message *msg)
{
	struct via via;

	return message_top_via(msg, &via).ptr ? branch_hash(&via) : 0;
}

void rewrite_header(struct rewrite *rw)
{
	const struct message *msg = rw->msg;
	uint32_t call = span_hash(message_value(msg, SIP_CALL_ID), 0);

	rw->via = message_top_via(msg, &rw->top);
	rw->message =
		(struct undo_message){ rw->via.ptr ? branch_hash(&rw->top) : 0,
				       call };
	if (rw->outbound)
		rw->foreign = foreign_get(rw->bindings, &rw->flow->lan.src.addr,
					  call);
	for (const struct site *site = site_table; site->name; site++) {
		enum site_rule rule = rule_for(rw, site);

		if (rule == SITE_LEAVE)
			continue;
		if (site->header == SIP_VIA) {
			rewrite_via(rw, site, rule);
			continue;
		}
		if (site->header == SIP_OTHER) {
			rewrite_uri(rw, site, rule, msg->request_uri);
			continue;
		}
		for (unsigned int i = msg->first[site->header]; i < msg->count;
		     i++) {
			if (msg->line[i].id != site->header)
				continue;
			rewrite_field(rw, site, rule, msg->line[i].value);
			if (site->top_only)
				break;
		}
	}
}
