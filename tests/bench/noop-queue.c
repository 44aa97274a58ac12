/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The limit of what a program behind NFQUEUE can do: every packet goes on with
 * the payload that came, given back in the verdict, which costs the kernel what
 * a rewritten one costs. QUEUE_BATCH packets a system call, the verdicts of a
 * batch in one message. Nothing of sipalgd is in it, so that it stays what it
 * is whatever becomes of src/kernel/queue.c.
 *
 * usage: noop-queue NUMBER
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 32
#define ROOM ((size_t)0xffff + 4096)
#define SOCKET_BUFFER (8 << 20)
#define MAX_LENGTH 8192

struct queue {
	struct mnl_socket *nl;
	uint16_t number;
	char *in, *out;
	size_t out_len;
};

__attribute__((noreturn)) static void die(const char *what)
{
	fprintf(stderr, "noop-queue: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void ask(const struct queue *q, struct nlmsghdr *nlh)
{
	char answer[4096];
	ssize_t len;

	nlh->nlmsg_flags |= NLM_F_ACK;
	if (mnl_socket_sendto(q->nl, nlh, nlh->nlmsg_len) < 0)
		die("netlink");
	len = mnl_socket_recvfrom(q->nl, answer, sizeof(answer));
	if (len < 0 || mnl_cb_run(answer, (size_t)len, 0, 0, NULL, NULL) < 0)
		die("the queue");
}

static void open_queue(struct queue *q)
{
	int size = SOCKET_BUFFER, one = 1;
	struct nlmsghdr *nlh;
	char buf[512];
	int fd;

	q->nl = mnl_socket_open(NETLINK_NETFILTER);
	if (!q->nl || mnl_socket_bind(q->nl, 0, MNL_SOCKET_AUTOPID))
		die("netlink");
	nlh = nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, q->number);
	nfq_nlmsg_cfg_put_cmd(nlh, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
	ask(q, nlh);
	nlh = nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, q->number);
	nfq_nlmsg_cfg_put_params(nlh, NFQNL_COPY_PACKET, 0xffff);
	nfq_nlmsg_cfg_put_qmaxlen(nlh, MAX_LENGTH);
	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_FAIL_OPEN));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(NFQA_CFG_F_FAIL_OPEN));
	ask(q, nlh);
	fd = mnl_socket_get_fd(q->nl);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof(one)))
		die("setsockopt");
}

static void flush(struct queue *q)
{
	if (q->out_len && mnl_socket_sendto(q->nl, q->out, q->out_len) < 0)
		die("verdicts");
	q->out_len = 0;
}

static int on_packet(const struct nlmsghdr *nlh, void *data)
{
	struct nlattr *attr[NFQA_MAX + 1] = { 0 };
	const struct nfqnl_msg_packet_hdr *header;
	struct queue *q = data;
	struct nlmsghdr *verdict;

	if (nfq_nlmsg_parse(nlh, attr) < 0 || !attr[NFQA_PACKET_HDR])
		return MNL_CB_OK;
	header = mnl_attr_get_payload(attr[NFQA_PACKET_HDR]);
	if (q->out_len + ROOM > BATCH * ROOM)
		flush(q);
	verdict = nfq_nlmsg_put(q->out + q->out_len, NFQNL_MSG_VERDICT,
				q->number);
	nfq_nlmsg_verdict_put(verdict, (int)ntohl(header->packet_id),
			      NF_ACCEPT);
	if (attr[NFQA_PAYLOAD])
		nfq_nlmsg_verdict_put_pkt(
			verdict, mnl_attr_get_payload(attr[NFQA_PAYLOAD]),
			mnl_attr_get_payload_len(attr[NFQA_PAYLOAD]));
	q->out_len += (verdict->nlmsg_len + 3u) & ~3u; /* NLMSG_ALIGN */
	return MNL_CB_OK;
}

static void run(struct queue *q)
{
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	int n;

	for (size_t i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ q->in + i * ROOM, ROOM };
		msgs[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i],
							 .msg_iovlen = 1 } };
	}
	for (;;) {
		n = recvmmsg(mnl_socket_get_fd(q->nl), msgs, BATCH,
			     MSG_WAITFORONE, NULL);
		if (n < 0 && errno != EINTR)
			die("packets");
		for (int i = 0; i < n; i++)
			mnl_cb_run(iov[i].iov_base, msgs[i].msg_len, 0, 0,
				   on_packet, q);
		flush(q);
	}
}

int main(int argc, char **argv)
{
	struct queue q = { 0 };

	if (argc != 2) {
		fprintf(stderr, "usage: noop-queue NUMBER\n");
		return 2;
	}
	q.number = (uint16_t)strtoul(argv[1], NULL, 10);
	q.in = malloc(BATCH * ROOM);
	q.out = malloc(BATCH * ROOM);
	if (!q.in || !q.out)
		die("memory");
	open_queue(&q);
	puts("ready");
	fflush(stdout);
	run(&q);
}
