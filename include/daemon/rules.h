/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_RULES_H
#define SIPALG_DAEMON_RULES_H

#include <stdio.h>

#include "conf/conf.h"

/**
 * RULES_MARK, RULES_MARK_MASK - fwmark of packets that the daemon itself sent
 * or has done with: the rules let them pass, so that they cannot loop
 *
 * The top byte, compared as a whole with an alternating pattern. The low 24
 * bits are taken by nearly everybody: QoS scripts and Docker 1-255, mwan3
 * 0x3f00, kube-proxy 0x4000 and 0x8000, OpenWrt's pbr and Tailscale 0xff0000,
 * wg-quick 0xca6c. In the top byte Antrea uses 0x80 alone, VyOS counts down
 * from 0x7f, Calico shares out single bits: none of them makes 0x5a.
 */
#define RULES_MARK 0x5a000000u
#define RULES_MARK_MASK 0xff000000u

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
