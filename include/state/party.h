/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_PARTY_H
#define SIPALG_STATE_PARTY_H

#include <stdbool.h>

#include "base/addr.h"
#include "conf/conf.h"
#include "sip/message.h"

/** PARTIES_MAX - Hosts outside whose messages count in a call */
#define PARTIES_MAX 8

/** struct parties - These hosts; the first that are set */
struct parties {
	struct addr host[PARTIES_MAX];
};

/** parties_add() - The inside host sends to it, or it has begun the call. Where
 * there is no room it takes the place of the last one */
void parties_add(struct parties *p, const struct addr *host);

/** parties_learn() - A party has sent @msg: whom it names by address in Contact
 * and Record-Route is one, too, since requests may come from there */
void parties_learn(struct parties *p, const struct message *msg);

/** parties_have() - It is one, or listed in one network of sip.inbound_from
 * with the first: a provider's hosts stand for each other */
bool parties_have(const struct parties *p, const struct conf *conf,
		  const struct addr *host);

#endif
