/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_ADMISSION_H
#define SIPALG_STATE_ADMISSION_H

#include "state/binding.h"
#include "state/connection.h"

/*
 * Which packets are ours: those between an inside host and one outside that
 * leave by a WAN interface, at SIP ports or between hosts that are known to
 * talk SIP; those from outside to a mapping, from who may; and those from one
 * inside host to the public end of another. Not those of bypass.phones and
 * bypass.peers.
 */

/**
 * admission_flow() - The flow of a datagram
 * @t:		Its tuple
 * @side:	Where it came from
 * @why:	Set where there is none: the reason
 *
 * Return: as flow_outbound(), flow_inbound() or flow_hairpin()
 */
struct flow *admission_flow(struct bindings *b, const struct tuple *t,
			    enum nat_side side, uint64_t now_ms,
			    enum counter *why);

/**
 * admission_connection() - The connection of a TCP packet
 * @flags:	Of its header: one that we do not know begins with a SYN
 * @from:	Set to the end that sent it
 *
 * Where a SYN names a port of sip.signalling_ports, on either side, its entry
 * is made as that of a datagram would be; else the kernel's own choice is asked
 * for when the answer comes.
 */
struct connection *
admission_connection(struct bindings *b, struct connections *all,
		     const struct tuple *t, enum nat_side side, uint8_t flags,
		     uint64_t now_ms, int *from, enum counter *why);

/**
 * admission_spoken() - An inside host has sent SIP
 * @registers:	It is a REGISTER: what that asks for is not granted yet
 *
 * Who it was sent to may answer, and call.
 */
void admission_spoken(struct bindings *b, struct flow *flow, bool registers,
		      uint64_t now_ms);

/** admission_kept() - An inside host has sent something else by UDP, such as a
 * keep-alive: who may call may do so for longer */
void admission_kept(struct bindings *b, const struct flow *flow,
		    uint64_t now_ms);

/** admission_is_bypassed() - It is one of bypass.phones, bypass.peers */
bool admission_is_bypassed(const struct bindings *b, const struct flow *flow);

/** admission_adopt() - An entry that is older than this program; one that does
 * not cross from inside to outside, or is not translated, is passed over */
void admission_adopt(struct bindings *b, struct connections *all,
		     const struct nat_entry *entry, uint64_t now_ms);

#endif
