/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_KERNEL_NETLINK_H
#define SIPALG_KERNEL_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

/** NETLINK_REQUEST - Room for a request message, bytes */
#define NETLINK_REQUEST 2048

/**
 * struct netlink - A netlink socket for questions and answers, or for events
 * @nl:		NULL while closed
 * @buf:	For what is received
 */
struct netlink {
	struct mnl_socket *nl;
	uint32_t seq;
	unsigned int portid;
	size_t buf_len;
	char *buf;
};

/**
 * netlink_open() - Open and bind
 * @bus:	NETLINK_ROUTE, NETLINK_NETFILTER
 * @groups:	Multicast groups, as in struct sockaddr_nl
 *
 * Return: 0 or -errno
 */
int netlink_open(struct netlink *n, int bus, unsigned int groups);
/** netlink_adopt() - The same with a socket that is open and bound; it is
 * @n's on success only */
int netlink_adopt(struct netlink *n, int fd);
void netlink_close(struct netlink *n);

/** netlink_widen() - Have the kernel keep so much that was not taken yet */
void netlink_widen(const struct netlink *n, int bytes);

/** netlink_fd() - To poll; -1 while closed */
int netlink_fd(const struct netlink *n);

/**
 * netlink_ask() - Send a request and take in what it brings
 * @req:	Complete but for sequence number and port
 * @cb:		For each message of the answer; may be NULL
 *
 * Waits for the acknowledgement, or the end of the dump, if @req's flags ask
 * for one, else for one message. The kernel answers while it is being sent to,
 * so this does not block for long.
 *
 * Return: 0; -errno as the kernel says, or as receiving fails
 */
int netlink_ask(struct netlink *n, struct nlmsghdr *req, mnl_cb_t cb,
		void *data);

/**
 * netlink_take() - Take in waiting events, without waiting for more
 *
 * A flood of them does not keep the caller: what is left shows in a poll.
 *
 * Return: 0; -ENOBUFS if some were lost; -errno
 */
int netlink_take(struct netlink *n, mnl_cb_t cb, void *data);

#endif
