/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_RULES_H
#define SIPALG_DAEMON_RULES_H

#include <stdio.h>

#include "conf/conf.h"

/** enum rules_what - For iptables-restore, for ip6tables-restore, or for either
 * to take them out again */
enum rules_what { RULES_IP4, RULES_IP6, RULES_REMOVE };

/**
 * rules_print() - The rules that bring SIP to the queue, as input for
 * iptables-restore --noflush
 * @conf:	Whose interfaces, ports and queues
 * @what:	Which text
 * @out:	Where to
 *
 * Nothing of other people's rules is touched, and the jump to ours is never
 * there twice, however often the text is applied: src/daemon/rules.c says how.
 *
 * Return: 0; -EIO if @out failed
 */
int rules_print(const struct conf *conf, enum rules_what what, FILE *out);

#endif
