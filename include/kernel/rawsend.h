/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_RAWSEND_H
#define SIPALG_KERNEL_RAWSEND_H

#include <stddef.h>

/**
 * struct rawsend - Sends packets of the daemon's own making
 * @v4, @v6:	Raw sockets, or -1
 * @refused:	Packets that a rule of OUTPUT dropped
 *
 * For TCP segments that no queued packet can carry: they leave with MARK_OWN,
 * which keeps them from conntrack and NAT (the rules' SIPALGD-OUT), and so
 * must look as they shall look on the wire.
 */
struct rawsend {
	int v4, v6;
	unsigned long refused;
};

/** RAWSEND_V4_NAME, RAWSEND_V6_NAME - A supervisor's names for the sockets */
#define RAWSEND_V4_NAME "raw4"
#define RAWSEND_V6_NAME "raw6"

/**
 * rawsend_open() - Open the sockets; without IPv6 in the kernel only that of
 * IPv4
 *
 * Return: 0; -EPERM without CAP_NET_RAW (the mark and IPv6 sources that are
 * not ours are had with it or CAP_NET_ADMIN); -errno
 */
int rawsend_open(struct rawsend *raw);

/**
 * rawsend_adopt() - Use sockets that rawsend_open() has opened in another
 * process
 * @v4, @v6:	The caller's no more; -1: there is none. Without @v4 both are
 *		closed, and others opened
 *
 * Return: as rawsend_open()
 */
int rawsend_adopt(struct rawsend *raw, int v4, int v6);

/** rawsend_close() - Also of one where all is -1 */
void rawsend_close(struct rawsend *raw);

/**
 * rawsend_packet() - Send a packet, whoever its source is
 * @packet:	From the IP header on, with all checksums
 *
 * The route is that of its own source and destination, as for a program that
 * had bound to that source. It does not wait for room.
 *
 * Return: 0; -EMSGSIZE if it is longer than the interface's MTU (nobody
 * fragments it); -EAGAIN if there is no room; -EAFNOSUPPORT; -EINVAL; -errno,
 * among them -EPERM if a rule of OUTPUT dropped it
 * Source: net/ipv4/raw.c raw_sendmsg(), raw_send_hdrinc(); net/ipv6/raw.c
 * rawv6_sendmsg(), rawv6_send_hdrinc()
 */
int rawsend_packet(struct rawsend *raw, const void *packet, size_t len);

#endif
