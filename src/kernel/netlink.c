/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/netlink.h"

#include <errno.h>
#include <stdlib.h>

/* Stale answers that are skipped before an answer counts as lost */
#define MAX_STALE 16
#define BUFFER (1 << 16)
/* Events taken in one go */
#define TAKE_MAX 1024

static bool prepare(struct netlink *n)
{
	*n = (struct netlink){ .buf_len = BUFFER, .buf = malloc(BUFFER) };
	return n->buf;
}

int netlink_open(struct netlink *n, int bus, unsigned int groups)
{
	int err;

	if (!prepare(n))
		return -ENOMEM;
	n->nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (n->nl && mnl_socket_bind(n->nl, groups, MNL_SOCKET_AUTOPID) == 0) {
		n->portid = mnl_socket_get_portid(n->nl);
		return 0;
	}
	err = -errno;
	netlink_close(n);
	return err;
}

int netlink_adopt(struct netlink *n, int fd)
{
	int err;

	if (!prepare(n))
		return -ENOMEM;
	n->nl = mnl_socket_fdopen(fd);
	if (n->nl) {
		n->portid = mnl_socket_get_portid(n->nl);
		return 0;
	}
	err = -errno;
	netlink_close(n);
	return err;
}

void netlink_close(struct netlink *n)
{
	if (n->nl)
		mnl_socket_close(n->nl);
	free(n->buf);
	*n = (struct netlink){ 0 };
}

void netlink_widen(const struct netlink *n, int bytes)
{
	int fd = netlink_fd(n);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

int netlink_fd(const struct netlink *n)
{
	return n->nl ? mnl_socket_get_fd(n->nl) : -1;
}

int netlink_ask(struct netlink *n, struct nlmsghdr *req, mnl_cb_t cb,
		void *data)
{
	bool more = req->nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP);
	int stale = 0, ret;

	req->nlmsg_seq = ++n->seq;
	if (mnl_socket_sendto(n->nl, req, req->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t len = mnl_socket_recvfrom(n->nl, n->buf, n->buf_len);

		if (len < 0 && errno == EINTR) {
			ret = MNL_CB_OK;
			continue;
		}
		if (len < 0)
			return -errno;
		ret = mnl_cb_run(n->buf, (size_t)len, n->seq, n->portid, cb,
				 data);
		/* An answer to an earlier question that was given up */
		if (ret < 0 && errno == EPROTO && stale++ < MAX_STALE)
			ret = MNL_CB_OK;
		else if (ret < 0)
			return -errno;
		else if (!more)
			return 0;
	} while (ret > 0);
	return 0;
}

int netlink_take(struct netlink *n, mnl_cb_t cb, void *data)
{
	for (int i = 0; i < TAKE_MAX; i++) {
		ssize_t len =
			recv(netlink_fd(n), n->buf, n->buf_len, MSG_DONTWAIT);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return errno == EAGAIN ? 0 : -errno;
		mnl_cb_run(n->buf, (size_t)len, 0, 0, cb, data);
	}
	return 0;
}
