/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_NAT_H
#define SIPALG_STATE_NAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "conf/conf.h"

/** enum nat_side - Where a packet came from, or which wire a tuple is of */
enum nat_side { NAT_SIDE_LAN, NAT_SIDE_WAN, NAT_SIDE_OTHER };

/**
 * struct nat_entry - A conntrack entry with its translation
 * @lan:	As packets of the inside host look on the LAN: inside -> remote
 * @wan:	As packets of the remote look on the WAN: remote -> public
 * @timeout_s:	Seconds until it goes; of a TCP entry that is made: until its
 *		SYN passes, which gives it the kernel's own timeout
 * @answered:	SEEN_REPLY and ASSURED: ESTABLISHED for a firewall from the
 *		first packet on, whoever sends it
 * @fixed:	Packets do not change the timeout (IPS_FIXED_TIMEOUT); nor can
 *		we: the kernel answers EPERM, it must be removed and made anew
 * @from_wan:	The remote's packet was the first: conntrack's original
 *		direction is @wan. To make a TCP entry it must be right, since a
 *		SYN in the reply direction is invalid; UDP does not mind
 * @tcp_liberal: Sequence numbers are not checked, by our wish
 *		(IP_CT_TCP_FLAG_BE_LIBERAL, as set_liberal() sets it)
 * @tcp_over:	The connection has ended (TIME_WAIT, CLOSE): the kernel would
 *		drop this entry at a SYN and go on without its translation, so
 *		that one of ours must be removed and made anew first
 * @tcp_wscale:	Window scale of the inside host [0] and of the remote [1], as
 *		their SYNs had it; 0 for UDP, and where either had none
 * @mark:	To make an entry: what is put on its conntrack mark
 * @counted:	It counts its packets: nf_conntrack_acct was on when it began
 * @packets_out, @packets_in: Seen so far, where it does
 *
 *	phone            gateway                          remote
 *	lan.src ------> [wan.dst] ----------------------> lan.dst (= wan.src)
 *
 * In a hairpin wan.src is another inside host and lan.dst its public address.
 */
struct nat_entry {
	struct tuple lan, wan;
	uint32_t timeout_s;
	bool answered, fixed, from_wan, tcp_liberal, tcp_over, counted;
	uint8_t tcp_wscale[2];
	struct conf_mark mark;
	uint64_t packets_out, packets_in;
};

/**
 * struct nat_line - Where media of a call should flow
 * @inside, @public_end: The inside host's end, and its public one
 * @remote:	The other end
 */
struct nat_line {
	struct endpoint inside, public_end, remote;
};

/**
 * struct nat_overheard - Media of a line that has another address
 * @to, @out:	Where else the inside host sends, and how many packets
 * @by, @other:	By which other end of its own it sends to the remote one
 * @from, @in:	From where else packets come for it
 */
struct nat_overheard {
	struct endpoint to, by, from;
	unsigned int out, other, in;
};

/**
 * struct nat_ops - All that the state layer asks of the kernel
 * @find:	The entry that a packet with tuple @t, seen on @side, belongs
 *		to. 0 or -ENOENT
 * @create:	0; -EEXIST if either tuple is taken
 * @remove:	By its LAN tuple; 0 or -ENOENT
 * @refresh:	Set the timeout; 0 or -ENOENT
 * @set_mark:	Put @mark on an entry that is there, where its mask is; 0 or
 *		-ENOENT
 * @set_liberal: Set @tcp_liberal of the TCP entry with LAN tuple @lan, so that
 *		segments with shifted numbers are not INVALID; 0 or -ENOENT
 * @send:	Send a packet, as it shall be on the wire, past conntrack and
 *		NAT: from the IP header on, with checksums. 0 or -errno. This
 *		and @set_liberal are called whatever @dry says: a connection
 *		that was changed is carried to its end
 * @route:	The address that packets from @inside to @remote leave with;
 *		-ENETUNREACH if they do not leave by a WAN interface
 * @has_moved:	Packets from @inside to @remote left as @public_addr, and do so
 *		no more: that is not the gateway's any longer, or they leave by
 *		another interface. Not while they do not leave at all: the line
 *		may come back as it was. @ours: that address was our choice;
 *		else one that never was the gateway's is another NAT rule's
 * @is_inside:	@a is a host whose addresses we translate
 * @is_own:	@a is the gateway's
 * @is_bound:	A program on the gateway itself uses that address and port, by
 *		UDP or TCP
 * @ping:	Send CRLF CRLF from inside a flow, as its inside host would:
 *		for NAT beyond the gateway (RFC 5626 3.5.1)
 * @idle_s:	How long the kernel keeps an entry without packets, and one that
 *		saw answers
 * @counts:	Entries that begin now count their packets (nf_conntrack_acct)
 * @listen:	Look on, beside the way of the packets, for media of @line with
 *		another end on one side. One line at a time, the last one; ends
 *by itself after some seconds. 0 or -errno
 * @overhear:	What was seen; ends it
 *
 * Filled by kernel/ in the daemon, by sim/simnat.c elsewhere. All but
 * @is_inside, @is_own, @idle_s and @counts may take a system call.
 */
struct nat_ops {
	int (*find)(void *ctx, const struct tuple *t, enum nat_side side,
		    struct nat_entry *entry);
	int (*create)(void *ctx, const struct nat_entry *entry);
	int (*remove)(void *ctx, const struct tuple *lan);
	int (*refresh)(void *ctx, const struct tuple *lan, uint32_t timeout_s);
	int (*set_mark)(void *ctx, const struct tuple *lan,
			struct conf_mark mark);
	int (*set_liberal)(void *ctx, const struct tuple *lan);
	int (*send)(void *ctx, const void *packet, size_t len);
	int (*route)(void *ctx, const struct addr *inside,
		     const struct addr *remote, struct addr *public_addr);
	bool (*has_moved)(void *ctx, const struct addr *inside,
			  const struct addr *remote,
			  const struct addr *public_addr, bool ours);
	bool (*is_inside)(void *ctx, const struct addr *a);
	bool (*is_own)(void *ctx, const struct addr *a);
	bool (*is_bound)(void *ctx, const struct endpoint *end);
	void (*ping)(void *ctx, const struct tuple *lan);
	uint32_t (*idle_s)(void *ctx, uint8_t proto, bool answered);
	bool (*counts)(void *ctx);
	int (*listen)(void *ctx, const struct nat_line *line);
	void (*overhear)(void *ctx, struct nat_overheard *heard);
};

/**
 * struct nat - The kernel, or its simulation
 * @dry:	Look, but change nothing (gateway.mode = observe)
 */
struct nat {
	const struct nat_ops *ops;
	void *ctx;
	bool dry;
};

static inline int nat_find(const struct nat *nat, const struct tuple *t,
			   enum nat_side side, struct nat_entry *entry)
{
	return nat->ops->find(nat->ctx, t, side, entry);
}

static inline int nat_create(const struct nat *nat,
			     const struct nat_entry *entry)
{
	return nat->dry ? 0 : nat->ops->create(nat->ctx, entry);
}

static inline int nat_remove(const struct nat *nat, const struct tuple *lan)
{
	return nat->dry ? 0 : nat->ops->remove(nat->ctx, lan);
}

/** nat_is_outside() - @a may be a host outside: one host, not inside, not us */
static inline bool nat_is_outside(const struct nat *nat, const struct addr *a)
{
	return addr_is_unicast(a) && !nat->ops->is_inside(nat->ctx, a) &&
	       !nat->ops->is_own(nat->ctx, a);
}

static inline bool nat_has_moved(const struct nat *nat,
				 const struct endpoint *inside,
				 const struct endpoint *remote,
				 const struct addr *public_addr, bool ours)
{
	return nat->ops->has_moved(nat->ctx, &inside->addr, &remote->addr,
				   public_addr, ours);
}

static inline int nat_set_mark(const struct nat *nat, const struct tuple *lan,
			       struct conf_mark mark)
{
	return nat->dry || !mark.mask ? 0
				      : nat->ops->set_mark(nat->ctx, lan, mark);
}

static inline int nat_refresh(const struct nat *nat, const struct tuple *lan,
			      uint32_t timeout_s)
{
	return nat->dry ? 0 : nat->ops->refresh(nat->ctx, lan, timeout_s);
}

#endif
