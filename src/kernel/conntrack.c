/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <time.h>

/*
 * struct nat_entry says "LAN" and "WAN", conntrack says "original" and
 * "reply". For an entry that we make both are the same: an inside host's packet
 * is the original. One that a DNAT rule made, or that is for a TCP connection
 * from outside, is the other way round (from_wan).
 */

/* Attributes of one direction, and of the translations, by address family */
struct attributes {
	enum nf_conntrack_attr src, dst, sport, dport;
};

static const struct attributes v4_of[2] = {
	{ ATTR_ORIG_IPV4_SRC, ATTR_ORIG_IPV4_DST, ATTR_ORIG_PORT_SRC,
	  ATTR_ORIG_PORT_DST },
	{ ATTR_REPL_IPV4_SRC, ATTR_REPL_IPV4_DST, ATTR_REPL_PORT_SRC,
	  ATTR_REPL_PORT_DST },
};

static const struct attributes v6_of[2] = {
	{ ATTR_ORIG_IPV6_SRC, ATTR_ORIG_IPV6_DST, ATTR_ORIG_PORT_SRC,
	  ATTR_ORIG_PORT_DST },
	{ ATTR_REPL_IPV6_SRC, ATTR_REPL_IPV6_DST, ATTR_REPL_PORT_SRC,
	  ATTR_REPL_PORT_DST },
};

enum { ORIG, REPL };

static const struct attributes *attributes_of(bool v4, int direction)
{
	return v4 ? &v4_of[direction] : &v6_of[direction];
}

/* What ends while a packet is worked on, or many; the kernel doubles it */
#define EVENTS_BUFFER (2 << 20)

int conntrack_open(struct conntrack *ct)
{
	struct nfct_filter *filter;
	int err;

	*ct = (struct conntrack){ 0 };
	ct->object = nfct_new();
	ct->answer = nfct_new();
	err = ct->object && ct->answer ? 0 : -ENOMEM;
	if (!err)
		err = netlink_open(&ct->ask, NETLINK_NETFILTER, 0);
	if (!err)
		err = netlink_open(&ct->events, NETLINK_NETFILTER,
				   NF_NETLINK_CONNTRACK_DESTROY);
	if (err) {
		conntrack_close(ct);
		return err;
	}
	netlink_widen(&ct->events, EVENTS_BUFFER);
	/* A gateway sees many connections end; only these are of interest */
	filter = nfct_filter_create();
	if (filter) {
		nfct_filter_add_attr_u32(filter, NFCT_FILTER_L4PROTO,
					 IPPROTO_UDP);
		nfct_filter_attach(netlink_fd(&ct->events), filter);
		nfct_filter_destroy(filter);
	}
	return 0;
}

void conntrack_close(struct conntrack *ct)
{
	if (ct->object)
		nfct_destroy(ct->object);
	if (ct->answer)
		nfct_destroy(ct->answer);
	netlink_close(&ct->ask);
	netlink_close(&ct->events);
	*ct = (struct conntrack){ 0 };
}

/* ---- tuples and objects ---- */

static void set_addr(struct nf_conntrack *o, enum nf_conntrack_attr attr,
		     const struct addr *a)
{
	size_t len;

	nfct_set_attr(o, attr, addr_bytes(a, &len));
}

static void set_tuple(struct nf_conntrack *o, int direction,
		      const struct tuple *t)
{
	const struct attributes *a =
		attributes_of(addr_is_v4(&t->src.addr), direction);

	set_addr(o, a->src, &t->src.addr);
	set_addr(o, a->dst, &t->dst.addr);
	nfct_set_attr_u16(o, a->sport, htons(t->src.port));
	nfct_set_attr_u16(o, a->dport, htons(t->dst.port));
	if (direction == ORIG) {
		nfct_set_attr_u8(o, ATTR_ORIG_L3PROTO,
				 (uint8_t)addr_family(&t->src.addr));
		nfct_set_attr_u8(o, ATTR_ORIG_L4PROTO, t->proto);
	} else {
		nfct_set_attr_u8(o, ATTR_REPL_L3PROTO,
				 (uint8_t)addr_family(&t->src.addr));
		nfct_set_attr_u8(o, ATTR_REPL_L4PROTO, t->proto);
	}
}

static bool get_tuple(const struct nf_conntrack *o, int direction,
		      struct tuple *t)
{
	bool v4 = nfct_get_attr_u8(o, ATTR_ORIG_L3PROTO) == AF_INET;
	const struct attributes *a = attributes_of(v4, direction);
	const void *src, *dst;

	if (!nfct_attr_is_set(o, a->src) || !nfct_attr_is_set(o, a->dst) ||
	    !nfct_attr_is_set(o, a->sport))
		return false;
	src = nfct_get_attr(o, a->src);
	dst = nfct_get_attr(o, a->dst);
	*t = (struct tuple){
		.proto = nfct_get_attr_u8(o, ATTR_ORIG_L4PROTO),
	};
	t->src.addr = v4 ? addr_from_v4(src) : addr_from_v6(src);
	t->dst.addr = v4 ? addr_from_v4(dst) : addr_from_v6(dst);
	t->src.port = ntohs(nfct_get_attr_u16(o, a->sport));
	t->dst.port = ntohs(nfct_get_attr_u16(o, a->dport));
	return true;
}

/*
 * The kernel sets BE_LIBERAL itself, on connections that it picks up in the
 * middle, and SACK_PERM with it (tcp_new(), net/netfilter/
 * nf_conntrack_proto_tcp.c). Ours are known by the one without the other, which
 * means nothing beside it.
 */
static const uint8_t liberal = IP_CT_TCP_FLAG_BE_LIBERAL;
static const uint8_t liberal_mask =
	IP_CT_TCP_FLAG_BE_LIBERAL | IP_CT_TCP_FLAG_SACK_PERM;

static bool is_liberal(const struct nf_conntrack *o,
		       enum nf_conntrack_attr flags)
{
	return (nfct_get_attr_u8(o, flags) & liberal_mask) == liberal;
}

/* Read an object whose LAN tuple is that of @lan_direction */
static bool get_entry(const struct nf_conntrack *o, int lan_direction,
		      struct nat_entry *entry)
{
	uint32_t status = nfct_get_attr_u32(o, ATTR_STATUS);
	uint64_t orig = nfct_get_attr_u64(o, ATTR_ORIG_COUNTER_PACKETS);
	uint64_t repl = nfct_get_attr_u64(o, ATTR_REPL_COUNTER_PACKETS);
	uint8_t state = nfct_get_attr_u8(o, ATTR_TCP_STATE);

	*entry = (struct nat_entry){ 0 };
	if (!get_tuple(o, lan_direction, &entry->lan) ||
	    !get_tuple(o, !lan_direction, &entry->wan))
		return false;
	entry->timeout_s = nfct_get_attr_u32(o, ATTR_TIMEOUT);
	entry->answered = status & IPS_SEEN_REPLY;
	entry->fixed = status & IPS_FIXED_TIMEOUT;
	entry->from_wan = lan_direction == REPL;
	entry->counted = nfct_attr_is_set(o, ATTR_ORIG_COUNTER_PACKETS);
	entry->packets_out = entry->from_wan ? repl : orig;
	entry->packets_in = entry->from_wan ? orig : repl;
	/* UDP has none of these: they read as 0 */
	entry->tcp_over = state == TCP_CONNTRACK_TIME_WAIT ||
			  state == TCP_CONNTRACK_CLOSE;
	entry->tcp_liberal = is_liberal(o, ATTR_TCP_FLAGS_ORIG) &&
			     is_liberal(o, ATTR_TCP_FLAGS_REPL);
	entry->tcp_wscale[entry->from_wan] =
		nfct_get_attr_u8(o, ATTR_TCP_WSCALE_ORIG);
	entry->tcp_wscale[!entry->from_wan] =
		nfct_get_attr_u8(o, ATTR_TCP_WSCALE_REPL);
	return true;
}

/* ---- requests ---- */

static struct nlmsghdr *new_request(char *buf, uint16_t type, uint16_t flags,
				    int family)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *nfg;

	nlh->nlmsg_type = (uint16_t)((NFNL_SUBSYS_CTNETLINK << 8) | type);
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	nfg = mnl_nlmsg_put_extra_header(nlh, sizeof(*nfg));
	nfg->nfgen_family = (uint8_t)family;
	nfg->version = NFNETLINK_V0;
	nfg->res_id = 0;
	return nlh;
}

/* Send what ct->object holds, and of a mark only the bits of its mask: the
 * library has no attribute for that
 */
static int ask_masked(struct conntrack *ct, uint32_t mark_mask)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh =
		new_request(buf, IPCTNL_MSG_CT_NEW, NLM_F_ACK,
			    nfct_get_attr_u8(ct->object, ATTR_ORIG_L3PROTO));

	if (nfct_nlmsg_build(nlh, ct->object) < 0 ||
	    !mnl_attr_put_u32_check(nlh, sizeof(buf), CTA_MARK_MASK,
				    htonl(mark_mask)))
		return -EINVAL;
	return netlink_ask(&ct->ask, nlh, NULL, NULL);
}

/* Send what ct->object holds */
static int ask(struct conntrack *ct, uint16_t type, uint16_t flags, mnl_cb_t cb,
	       void *data)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh =
		new_request(buf, type, flags,
			    nfct_get_attr_u8(ct->object, ATTR_ORIG_L3PROTO));

	if (nfct_nlmsg_build(nlh, ct->object) < 0)
		return -EINVAL;
	return netlink_ask(&ct->ask, nlh, cb, data);
}

/* An empty object for a new request, with its original tuple */
static struct nf_conntrack *begin(struct conntrack *ct, const struct tuple *t)
{
	nfct_destroy(ct->object);
	ct->object = nfct_new();
	if (ct->object)
		set_tuple(ct->object, ORIG, t);
	return ct->object;
}

static int on_answer(const struct nlmsghdr *nlh, void *data)
{
	struct conntrack *ct = data;

	nfct_destroy(ct->answer);
	ct->answer = nfct_new();
	if (!ct->answer || nfct_nlmsg_parse(nlh, ct->answer) < 0)
		return MNL_CB_ERROR;
	return MNL_CB_OK;
}

int conntrack_find(struct conntrack *ct, const struct tuple *t,
		   enum nat_side side, struct nat_entry *entry)
{
	struct tuple orig;
	bool is_orig;
	int err;

	if (!begin(ct, t))
		return -ENOMEM;
	err = ask(ct, IPCTNL_MSG_CT_GET, 0, on_answer, ct);
	if (err)
		return err;
	if (!get_tuple(ct->answer, ORIG, &orig))
		return -ENOENT;
	is_orig = tuple_eq(&orig, t);
	if (!get_entry(ct->answer,
		       is_orig == (side == NAT_SIDE_LAN) ? ORIG : REPL, entry))
		return -ENOENT;
	return 0;
}

/* A translation is stated as the address and port it gives */
static void set_nat(struct nf_conntrack *o, bool v4, bool source,
		    const struct endpoint *end)
{
	static const enum nf_conntrack_attr addr_of[2][2] = {
		{ ATTR_DNAT_IPV6, ATTR_SNAT_IPV6 },
		{ ATTR_DNAT_IPV4, ATTR_SNAT_IPV4 },
	};

	set_addr(o, addr_of[v4][source], &end->addr);
	nfct_set_attr_u16(o, source ? ATTR_SNAT_PORT : ATTR_DNAT_PORT,
			  htons(end->port));
}

static void set_liberal(struct nf_conntrack *o)
{
	nfct_set_attr_u8(o, ATTR_TCP_FLAGS_ORIG, liberal);
	nfct_set_attr_u8(o, ATTR_TCP_MASK_ORIG, liberal_mask);
	nfct_set_attr_u8(o, ATTR_TCP_FLAGS_REPL, liberal);
	nfct_set_attr_u8(o, ATTR_TCP_MASK_REPL, liberal_mask);
}

/*
 * No TCP state is given: an entry starts in TCP_CONNTRACK_NONE, and the SYN
 * that waits in the queue takes it to SYN_SENT and fills in its numbers, just
 * as in an entry of its own (nf_conntrack_tcp_packet(), tcp_in_window() with
 * td_maxwin of 0, net/netfilter/nf_conntrack_proto_tcp.c). The flag "liberal"
 * outlives that (tcp_options()).
 */
int conntrack_create(struct conntrack *ct, const struct nat_entry *entry)
{
	/* How the first packet comes; how it leaves, reversed */
	const struct tuple *in = entry->from_wan ? &entry->wan : &entry->lan;
	const struct tuple *out = entry->from_wan ? &entry->lan : &entry->wan;
	struct nf_conntrack *o = begin(ct, in);
	struct tuple reply = tuple_reverse(in);
	bool v4 = addr_is_v4(&in->src.addr);

	if (!o)
		return -ENOMEM;
	/* The reply is stated untranslated: the kernel translates it itself
	 * (nf_nat_setup_info(), net/netfilter/nf_nat_core.c)
	 */
	set_tuple(o, REPL, &reply);
	nfct_set_attr_u32(o, ATTR_TIMEOUT, entry->timeout_s);
	if (!endpoint_eq(&out->dst, &in->src))
		set_nat(o, v4, true, &out->dst);
	if (!endpoint_eq(&out->src, &in->dst))
		set_nat(o, v4, false, &out->src);
	if (entry->tcp_liberal)
		set_liberal(o);
	if (entry->mark.mask)
		nfct_set_attr_u32(o, ATTR_MARK, entry->mark.value);
	nfct_set_attr_u32(
		o, ATTR_STATUS,
		IPS_CONFIRMED |
			(entry->answered ? IPS_SEEN_REPLY | IPS_ASSURED : 0u) |
			(entry->fixed ? (uint32_t)IPS_FIXED_TIMEOUT : 0u));
	return ask(ct, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK,
		   NULL, NULL);
}

int conntrack_remove(struct conntrack *ct, const struct tuple *lan)
{
	if (!begin(ct, lan))
		return -ENOMEM;
	return ask(ct, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, NULL, NULL);
}

int conntrack_refresh(struct conntrack *ct, const struct tuple *lan,
		      uint32_t timeout_s)
{
	if (!begin(ct, lan))
		return -ENOMEM;
	nfct_set_attr_u32(ct->object, ATTR_TIMEOUT, timeout_s);
	return ask(ct, IPCTNL_MSG_CT_NEW, NLM_F_ACK, NULL, NULL);
}

int conntrack_set_mark(struct conntrack *ct, const struct tuple *lan,
		       struct conf_mark mark)
{
	if (!begin(ct, lan))
		return -ENOMEM;
	nfct_set_attr_u32(ct->object, ATTR_MARK, mark.value);
	return ask_masked(ct, mark.mask);
}

int conntrack_set_liberal(struct conntrack *ct, const struct tuple *lan)
{
	if (!begin(ct, lan))
		return -ENOMEM;
	set_liberal(ct->object);
	return ask(ct, IPCTNL_MSG_CT_NEW, NLM_F_ACK, NULL, NULL);
}

/* ---- the whole table ---- */

struct each_call {
	void (*each)(void *arg, const struct nat_entry *entry);
	void *arg;
};

static int on_entry(const struct nlmsghdr *nlh, void *data)
{
	const struct each_call *call = data;
	struct nf_conntrack *o = nfct_new();
	struct nat_entry entry;
	uint8_t proto;

	if (!o)
		return MNL_CB_OK;
	proto = nfct_nlmsg_parse(nlh, o) == 0
			? nfct_get_attr_u8(o, ATTR_ORIG_L4PROTO)
			: 0;
	if (proto == IPPROTO_UDP || proto == IPPROTO_TCP) {
		if (get_entry(o, ORIG, &entry))
			call->each(call->arg, &entry);
		if (get_entry(o, REPL, &entry))
			call->each(call->arg, &entry);
	}
	nfct_destroy(o);
	return MNL_CB_OK;
}

int conntrack_each(struct conntrack *ct,
		   void (*each)(void *arg, const struct nat_entry *entry),
		   void *arg)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh =
		new_request(buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
	struct each_call call = { each, arg };

	return netlink_ask(&ct->ask, nlh, on_entry, &call);
}

/* ---- events ---- */

struct gone_call {
	void (*gone)(void *arg, const struct tuple *t);
	void *arg;
	uint32_t own_port;
};

static int on_gone(const struct nlmsghdr *nlh, void *data)
{
	const struct gone_call *call = data;
	struct nf_conntrack *o;
	struct tuple t;

	/* What we removed ourselves is known */
	if (nlh->nlmsg_pid == call->own_port)
		return MNL_CB_OK;
	o = nfct_new();
	if (!o)
		return MNL_CB_OK;
	if (nfct_nlmsg_parse(nlh, o) == 0) {
		if (get_tuple(o, ORIG, &t))
			call->gone(call->arg, &t);
		if (get_tuple(o, REPL, &t))
			call->gone(call->arg, &t);
	}
	nfct_destroy(o);
	return MNL_CB_OK;
}

int conntrack_take_events(struct conntrack *ct,
			  void (*gone)(void *arg, const struct tuple *t),
			  void *arg)
{
	struct gone_call call = { gone, arg, ct->ask.portid };

	return netlink_take(&ct->events, on_gone, &call);
}
