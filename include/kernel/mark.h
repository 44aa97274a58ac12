/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_MARK_H
#define SIPALG_KERNEL_MARK_H

/**
 * MARK_OWN, MARK_OWN_MASK - fwmark of packets that the daemon itself sent or
 * has done with: the rules let them pass, so that they cannot loop
 *
 * The top byte, compared as a whole with an alternating pattern. The low 24
 * bits are taken by nearly everybody: QoS scripts and Docker 1-255, mwan3
 * 0x3f00, kube-proxy 0x4000 and 0x8000, OpenWrt's pbr and Tailscale 0xff0000,
 * wg-quick 0xca6c. In the top byte Antrea uses 0x80 alone, VyOS counts down
 * from 0x7f, Calico shares out single bits: none of them makes 0x5a.
 */
#define MARK_OWN 0x5a000000u
#define MARK_OWN_MASK 0xff000000u

#endif
