/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/rawsend.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/mark.h"

/*
 * A source that is not ours passes in IPv4 because of IP_HDRINCL: it makes
 * inet_sk_flowi_flags() (include/net/inet_sock.h) say FLOWI_FLAG_ANYSRC, and
 * ip_route_output_key_hash_rcu() (net/ipv4/route.c) then asks for no local
 * address. IPv6 routes never ask; but the source is told to the routing by
 * IPV6_PKTINFO, and that is refused (ip6_datagram_send_ctl(),
 * net/ipv6/datagram.c) unless the socket is transparent.
 */
static int open_socket(int family, int *fd)
{
	bool v4 = family == AF_INET;
	uint32_t mark = MARK_OWN;
	int one = 1;

	/* IPPROTO_RAW: to send only, nothing is ever received */
	*fd = socket(family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		     IPPROTO_RAW);
	if (*fd < 0)
		return -errno;
	if (setsockopt(*fd, v4 ? SOL_IP : SOL_IPV6,
		       v4 ? IP_HDRINCL : IPV6_HDRINCL, &one, sizeof(one)) ||
	    setsockopt(*fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -errno;
	if (!v4 &&
	    setsockopt(*fd, SOL_IPV6, IPV6_TRANSPARENT, &one, sizeof(one)))
		return -errno;
	return 0;
}

int rawsend_open(struct rawsend *raw)
{
	int err;

	*raw = (struct rawsend){ .v4 = -1, .v6 = -1 };
	err = open_socket(AF_INET, &raw->v4);
	if (!err)
		err = open_socket(AF_INET6, &raw->v6);
	if (err == -EAFNOSUPPORT && raw->v4 >= 0)
		err = 0;
	if (err)
		rawsend_close(raw);
	return err;
}

int rawsend_adopt(struct rawsend *raw, int v4, int v6)
{
	*raw = (struct rawsend){ .v4 = v4, .v6 = v6 };
	if (v4 >= 0)
		return 0;
	rawsend_close(raw);
	return rawsend_open(raw);
}

void rawsend_close(struct rawsend *raw)
{
	if (raw->v4 >= 0)
		close(raw->v4);
	if (raw->v6 >= 0)
		close(raw->v6);
	*raw = (struct rawsend){ .v4 = -1, .v6 = -1 };
}

/* ---- sending ---- */

/* Where a packet goes, and what its route is looked up with */
struct envelope {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to;
	union {
		struct cmsghdr header; /* for its alignment */
		char space[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	} control;
};

static void put_control(struct msghdr *msg, int level, int type,
			const void *data, size_t len)
{
	struct cmsghdr *cmsg = msg->msg_control;

	cmsg->cmsg_level = level;
	cmsg->cmsg_type = type;
	cmsg->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(cmsg), data, len);
	msg->msg_controllen = CMSG_SPACE(len);
}

static void address_v4(struct envelope *env, struct msghdr *msg,
		       const void *packet)
{
	struct in_pktinfo info = { 0 };
	struct ip ip;

	memcpy(&ip, packet, sizeof(ip));
	env->to.v4 = (struct sockaddr_in){ .sin_family = AF_INET,
					   .sin_addr = ip.ip_dst };
	msg->msg_namelen = sizeof(env->to.v4);
	info.ipi_spec_dst = ip.ip_src;
	put_control(msg, SOL_IP, IP_PKTINFO, &info, sizeof(info));
}

static void address_v6(struct envelope *env, struct msghdr *msg,
		       const void *packet)
{
	struct in6_pktinfo info = { 0 };
	struct ip6_hdr ip6;

	memcpy(&ip6, packet, sizeof(ip6));
	env->to.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
					    .sin6_addr = ip6.ip6_dst };
	msg->msg_namelen = sizeof(env->to.v6);
	info.ipi6_addr = ip6.ip6_src;
	put_control(msg, SOL_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

int rawsend_packet(struct rawsend *raw, const void *packet, size_t len)
{
	struct envelope env = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)packet,
			     .iov_len = len };
	struct msghdr msg = { .msg_name = &env.to.any,
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = env.control.space };
	unsigned int version = len ? *(const uint8_t *)packet >> 4 : 0;
	ssize_t sent;

	if (version == 4 && len >= sizeof(struct ip))
		address_v4(&env, &msg, packet);
	else if (version == 6 && len >= sizeof(struct ip6_hdr))
		address_v6(&env, &msg, packet);
	else
		return -EINVAL;
	if ((version == 4 ? raw->v4 : raw->v6) < 0)
		return -EAFNOSUPPORT;
	do
		sent = sendmsg(version == 4 ? raw->v4 : raw->v6, &msg, 0);
	while (sent < 0 && errno == EINTR);
	if (sent < 0 && errno == EPERM)
		raw->refused++;
	return sent < 0 ? -errno : 0;
}
