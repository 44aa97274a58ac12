/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_BINDING_H
#define SIPALG_STATE_BINDING_H

#include "conf/conf.h"
#include "state/counters.h"
#include "state/flow.h"
#include "state/foreign.h"
#include "state/host.h"
#include "state/mapping.h"
#include "state/nat.h"
#include "state/peer.h"
#include "state/port_pool.h"

/*
 * Theory of operation
 *
 * A *mapping* gives an inside address and port one public address and port,
 * the same towards every peer (RFC 4787 REQ-1) and for as long as anything
 * needs it. It opens nothing by itself.
 *
 * A *flow* is one conntrack entry: a mapping towards one remote. Flows are
 * cached so that a packet of a known flow costs no question to the kernel; a
 * cached flow is believed until the moment the kernel could have dropped it,
 * then it is asked again, and made again if need be.
 *
 * A *peer* is a remote host that may reach an inside host's mappings: one the
 * inside host has sent to lately, is registered with, or has a call with. From
 * others a packet to a mapping is passed on unread, as if we were not there.
 */

/**
 * struct bindings - All of them
 *
 * @now_ms:	Set before every packet and tick
 * @pools:	Ports of sip.signalling_ports that mappings have
 * @shown_as, @seen_as: What was last written into a Via, and where the other
 *		side says (received=) it saw it come from; not set if the same
 * @carrying:	The message in hand is of a call that is carried: bypass.* does
 *		not count
 *
 * The lists are in order of last use, the oldest first.
 */
struct bindings {
	const struct conf *conf;
	const struct nat *nat;
	struct counters *counters;
	uint64_t now_ms;
	bool carrying;
	struct hosts *hosts;
	struct mapping *by_inside, *by_public, *mappings;
	struct port_pool *pools;
	struct flow *by_lan, *by_wan, *flows;
	struct peer *peers, *peer_list;
	struct foreign *foreign, *foreign_list;
	struct addr shown_as, seen_as;
};

/** bindings_free() - Forget everything; the kernel's entries stay */
void bindings_free(struct bindings *b);

#endif
