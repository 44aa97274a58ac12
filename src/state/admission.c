/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/admission.h"

/* A host inside. What the gateway sends itself does not come this way: who has
 * its address on the LAN has stolen it
 */
static bool is_host(const struct bindings *b, const struct addr *a)
{
	const struct nat_ops *ops = b->nat->ops;

	return ops->is_inside(b->nat->ctx, a) && !ops->is_own(b->nat->ctx, a);
}

/* A host inside that talks to one outside */
static bool is_crossing(const struct bindings *b, const struct tuple *lan)
{
	const struct nat_ops *ops = b->nat->ops;
	void *ctx = b->nat->ctx;

	return is_host(b, &lan->src.addr) &&
	       !ops->is_inside(ctx, &lan->dst.addr) &&
	       !ops->is_own(ctx, &lan->dst.addr);
}

/* Other ports than sip.ports are none of ours (a provider may mean it so),
 * unless the host there is known to talk SIP with the one inside, or was let in
 */
static bool is_sip_port(struct bindings *b, const struct tuple *lan,
			uint64_t now_ms)
{
	return ports_contain(&b->conf->sip.ports, lan->dst.port) ||
	       peer_is_known(b, &lan->src.addr, &lan->dst.addr, now_ms) ||
	       flow_find(b, lan, NAT_SIDE_LAN);
}

/* bypass.phones, bypass.peers: as if we were not there */
static bool is_bypassed(const struct bindings *b, const struct addr *inside,
			const struct addr *remote)
{
	return !b->carrying &&
	       (conf_networks_contain(&b->conf->bypass.phones, inside) ||
		conf_networks_contain(&b->conf->bypass.peers, remote));
}

bool admission_is_bypassed(const struct bindings *b, const struct flow *flow)
{
	return is_bypassed(b, &flow->lan.src.addr, &flow->lan.dst.addr);
}

/* May this packet from inside be ours? */
static bool is_ours_outbound(struct bindings *b, const struct tuple *t,
			     uint64_t now_ms, enum counter *why)
{
	*why = COUNTER_not_for_us;
	if (!is_crossing(b, t) || !is_sip_port(b, t, now_ms))
		return false;
	*why = COUNTER_bypassed;
	return !is_bypassed(b, &t->src.addr, &t->dst.addr);
}

/* limits.rate_per_phone. Over TCP it is messages that count, not segments. */
static bool may_send(struct bindings *b, const struct tuple *t,
		     enum counter *why)
{
	if (t->proto == IPPROTO_TCP || host_may_send(b->hosts, &t->src.addr))
		return true;
	*why = COUNTER_over_rate;
	return false;
}

static void allow_peer(struct bindings *b, const struct tuple *lan,
		       uint64_t now_ms)
{
	uint32_t idle_s = b->nat->ops->idle_s(b->nat->ctx, IPPROTO_UDP, true);

	peer_allow(b, &lan->src.addr, &lan->dst.addr,
		   now_ms + 1000ull * idle_s);
}

void admission_kept(struct bindings *b, const struct flow *flow,
		    uint64_t now_ms)
{
	const struct tuple *lan = &flow->lan;

	if (endpoint_eq(&lan->dst, &flow->wan.src) &&
	    peer_is_known(b, &lan->src.addr, &lan->dst.addr, now_ms))
		allow_peer(b, lan, now_ms);
}

void admission_spoken(struct bindings *b, struct flow *flow, bool registers,
		      uint64_t now_ms)
{
	if (!registers)
		flow->map->open = true;
	/* Hosts inside are not let in from outside */
	if (!endpoint_eq(&flow->lan.dst, &flow->wan.src))
		return;
	if (flow->lan.proto == IPPROTO_TCP)
		flow_meet(b, flow);
	else
		allow_peer(b, &flow->lan, now_ms);
}

static struct flow *find_outbound(struct bindings *b, const struct tuple *t,
				  uint64_t now_ms, enum counter *why)
{
	if (!is_ours_outbound(b, t, now_ms, why) || !may_send(b, t, why))
		return NULL;
	return flow_outbound(b, t, now_ms, why);
}

static struct flow *find_inbound(struct bindings *b, const struct tuple *t,
				 uint64_t now_ms, enum counter *why)
{
	struct flow *flow = flow_inbound(b, t, now_ms, why);

	if (!flow || !admission_is_bypassed(b, flow))
		return flow;
	*why = COUNTER_bypassed;
	return NULL;
}

/* One inside host to the public endpoint of another */
static struct flow *find_hairpin(struct bindings *b, const struct tuple *t,
				 uint64_t now_ms, enum counter *why)
{
	*why = COUNTER_not_for_us;
	if (!is_host(b, &t->src.addr) ||
	    is_bypassed(b, &t->src.addr, &t->dst.addr) || !may_send(b, t, why))
		return NULL;
	return flow_hairpin(b, t, now_ms, why);
}

static bool is_to_us(const struct bindings *b, const struct tuple *t)
{
	return b->nat->ops->is_own(b->nat->ctx, &t->dst.addr);
}

struct flow *admission_flow(struct bindings *b, const struct tuple *t,
			    enum nat_side side, uint64_t now_ms,
			    enum counter *why)
{
	*why = COUNTER_not_for_us;
	if (side == NAT_SIDE_WAN)
		return find_inbound(b, t, now_ms, why);
	if (side != NAT_SIDE_LAN)
		return NULL;
	return is_to_us(b, t) ? find_hairpin(b, t, now_ms, why)
			      : find_outbound(b, t, now_ms, why);
}

/* ---- TCP ---- */

/* The translation is ours to choose, and chosen */
static struct connection *open_with_flow(struct bindings *b,
					 struct connections *all,
					 const struct tuple *t,
					 enum nat_side side, uint64_t now_ms,
					 enum counter *why)
{
	struct flow *flow = admission_flow(b, t, side, now_ms, why);
	struct connection *c;
	struct tuple lan, wan;

	if (!flow)
		return NULL;
	lan = flow->lan;
	wan = flow->wan;
	*why = COUNTER_tcp_segments;
	/* It may take the place of another, which goes with its flow */
	c = connection_open(all, &lan, now_ms);
	return c && connection_attach(all, c, &wan) ? c : NULL;
}

/* A SYN. One of a phone's listening port must leave with the public port that
 * others know; what port another has is the kernel's choice.
 */
static struct connection *open_connection(struct bindings *b,
					  struct connections *all,
					  const struct tuple *t,
					  enum nat_side side, uint64_t now_ms,
					  enum counter *why)
{
	const struct ports *ours = &b->conf->sip.signalling_ports;
	struct addr public_addr;

	if (side != NAT_SIDE_LAN || is_to_us(b, t) ||
	    ports_contain(ours, t->src.port))
		return open_with_flow(b, all, t, side, now_ms, why);
	if (!is_ours_outbound(b, t, now_ms, why))
		return NULL;
	*why = COUNTER_not_for_us;
	if (b->nat->ops->route(b->nat->ctx, &t->src.addr, &t->dst.addr,
			       &public_addr))
		return NULL;
	*why = COUNTER_tcp_segments;
	return connection_open(all, t, now_ms);
}

/* The answer to a SYN from inside: NAT has its entry now */
static struct connection *find_answered(struct bindings *b,
					struct connections *all,
					const struct tuple *wan,
					uint64_t now_ms, enum counter *why)
{
	struct flow *flow = flow_answered(b, wan, NAT_SIDE_WAN, now_ms);
	struct connection *c;
	int from;

	*why = COUNTER_not_for_us;
	if (!flow)
		return NULL;
	c = connection_find(all, &flow->lan, NAT_SIDE_LAN, &from);
	if (!c || !connection_attach(all, c, wan))
		return NULL;
	*why = COUNTER_tcp_segments;
	return c;
}

struct connection *
admission_connection(struct bindings *b, struct connections *all,
		     const struct tuple *t, enum nat_side side, uint8_t flags,
		     uint64_t now_ms, int *from, enum counter *why)
{
	bool syn = flags & TH_SYN, ack = flags & TH_ACK;
	struct connection *c = connection_find(all, t, side, from);

	*why = COUNTER_tcp_segments;
	if (c && !syn)
		return c;
	if (syn && ack && side == NAT_SIDE_WAN && (!c || c->answered)) {
		*from = 1;
		return find_answered(b, all, t, now_ms, why);
	}
	if (c && (ack || !connection_renew(all, c)))
		return c;
	*why = COUNTER_not_for_us;
	if (!syn || ack)
		return NULL;
	*from = side == NAT_SIDE_WAN;
	return open_connection(b, all, t, side, now_ms, why);
}

void admission_adopt(struct bindings *b, struct connections *all,
		     const struct nat_entry *entry, uint64_t now_ms)
{
	if (!is_crossing(b, &entry->lan) || entry->tcp_over ||
	    endpoint_eq(&entry->lan.src, &entry->wan.dst))
		return;
	if (entry->lan.proto == IPPROTO_TCP) {
		connection_adopt(all, entry, now_ms);
		return;
	}
	/* A fixed time is a registration's; of others nobody knows whether SIP
	 * was ever said there
	 */
	if (flow_adopt(b, entry, now_ms) && entry->fixed)
		peer_allow(b, &entry->lan.src.addr, &entry->lan.dst.addr,
			   now_ms + entry->timeout_s * 1000ull);
}
