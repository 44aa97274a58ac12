/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For root alone, unless somebody has given it to others: the unit does */
#define PROC_FILE "/proc/net/netfilter/nfnetlink_queue"
/* A packet of full size with the attributes around it */
#define IN_SIZE ((size_t)0xffff + 4096)
/* Verdicts of a batch; one that does not fit any more is sent ahead */
#define OUT_SIZE ((size_t)4 * IN_SIZE)
/* Packets that may wait in the socket; the kernel doubles it */
#define SOCKET_BUFFER (8 << 20)

static struct nlmsghdr *config_message(char *buf, const struct queue *queue)
{
	struct nlmsghdr *nlh =
		nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, queue->number);

	nlh->nlmsg_flags |= NLM_F_ACK;
	return nlh;
}

/* Whether packets pass unseen where the queue is full */
static void put_fail_open(struct nlmsghdr *nlh, bool open)
{
	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS,
			 htonl(open ? NFQA_CFG_F_FAIL_OPEN : 0));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(NFQA_CFG_F_FAIL_OPEN));
}

static void put_params(struct nlmsghdr *nlh, uint32_t max_length)
{
	nfq_nlmsg_cfg_put_params(nlh, NFQNL_COPY_PACKET, 0xffff);
	nfq_nlmsg_cfg_put_qmaxlen(nlh, max_length);
	put_fail_open(nlh, true);
}

/* Not acknowledged: where packets come, the answer would stand among them */
static int tell(const struct queue *queue, const struct nlmsghdr *nlh)
{
	return mnl_socket_sendto(queue->netlink.nl, nlh, nlh->nlmsg_len) < 0
		       ? -errno
		       : 0;
}

static int bind_queue(struct queue *queue)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh = config_message(buf, queue);
	int err;

	nfq_nlmsg_cfg_put_cmd(nlh, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
	err = netlink_ask(&queue->netlink, nlh, NULL, NULL);
	if (err)
		return err;
	nlh = config_message(buf, queue);
	put_params(nlh, queue->max_length);
	return netlink_ask(&queue->netlink, nlh, NULL, NULL);
}

int queue_set_fail_open(struct queue *queue, bool open)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh =
		nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, queue->number);

	put_fail_open(nlh, open);
	return tell(queue, nlh);
}

static void widen_socket(const struct queue *queue)
{
	int size = SOCKET_BUFFER, one = 1, fd = queue_fd(queue);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	/* A batch of verdicts is one message for sendmsg() */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	/* A message that did not fit is the kernel's to count and to let pass;
	 * it must not look like a broken socket here
	 */
	setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof(one));
}

static int queue_init(struct queue *queue, uint16_t number, uint32_t max_length)
{
	*queue = (struct queue){ .number = number, .max_length = max_length };
	queue->in = malloc(QUEUE_BATCH * IN_SIZE);
	queue->out = malloc(OUT_SIZE);
	return queue->in && queue->out ? 0 : -ENOMEM;
}

/* The number is bound to this socket, as far as one can see */
static bool has_queue(const struct queue *queue)
{
	FILE *f = fopen(PROC_FILE, "re");
	unsigned int number, portid;
	bool found = false;

	if (!f)
		return errno == EACCES;
	while (!found && fscanf(f, "%u %u %*[^\n]", &number, &portid) == 2)
		found = number == queue->number &&
			portid == queue->netlink.portid;
	fclose(f);
	return found;
}

/* What bind_queue() asks for besides, where packets wait in the socket already
 */
static int set_params(const struct queue *queue)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh =
		nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, queue->number);

	put_params(nlh, queue->max_length);
	return tell(queue, nlh);
}

int queue_adopt(struct queue *queue, int fd, uint16_t number,
		uint32_t max_length)
{
	int err = queue_init(queue, number, max_length);

	if (!err)
		err = netlink_adopt(&queue->netlink, fd);
	if (err)
		close(fd);
	else if (!has_queue(queue))
		err = -ESTALE;
	else
		err = set_params(queue);
	if (err) {
		queue_close(queue);
		return err;
	}
	queue->inherited = true;
	return 0;
}

int queue_open(struct queue *queue, uint16_t number, uint32_t max_length)
{
	int err = queue_init(queue, number, max_length);

	if (!err)
		err = netlink_open(&queue->netlink, NETLINK_NETFILTER, 0);
	if (!err)
		err = bind_queue(queue);
	if (err) {
		queue_close(queue);
		return err;
	}
	widen_socket(queue);
	return 0;
}

void queue_close(struct queue *queue)
{
	netlink_close(&queue->netlink);
	free(queue->in);
	free(queue->out);
	*queue = (struct queue){ 0 };
}

int queue_fd(const struct queue *queue)
{
	return netlink_fd(&queue->netlink);
}

/* ---- verdicts ---- */

/* One by one: what the socket would not take together */
static int flush_each(struct queue *queue, int len)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)queue->out;
	int err = 0;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		if (mnl_socket_sendto(queue->netlink.nl, nlh, nlh->nlmsg_len) <
		    0)
			err = -errno;
	}
	return err;
}

int queue_flush(struct queue *queue)
{
	size_t len = queue->out_len;

	queue->out_len = 0;
	if (!len || mnl_socket_sendto(queue->netlink.nl, queue->out, len) >= 0)
		return 0;
	return flush_each(queue, (int)len);
}

static int put_verdict(struct queue *queue, uint32_t id,
		       const struct queue_verdict *v)
{
	struct nlmsghdr *nlh;
	int err = 0;

	if (queue->out_len + IN_SIZE > OUT_SIZE)
		err = queue_flush(queue);
	nlh = nfq_nlmsg_put((char *)queue->out + queue->out_len,
			    NFQNL_MSG_VERDICT, queue->number);
	nfq_nlmsg_verdict_put(nlh, (int)id, v->drop ? NF_DROP : NF_ACCEPT);
	if (v->data && !v->drop)
		nfq_nlmsg_verdict_put_pkt(nlh, v->data, (uint32_t)v->len);
	queue->out_len += (nlh->nlmsg_len + 3u) & ~3u; /* NLMSG_ALIGN */
	return err;
}

/* All before @id, which a predecessor has taken, go on unread: what killed it
 * may be among them
 */
static void release_older(struct queue *queue, uint32_t id)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh =
		nfq_nlmsg_put(buf, NFQNL_MSG_VERDICT_BATCH, queue->number);

	nfq_nlmsg_verdict_put(nlh, (int)(id - 1), NF_ACCEPT);
	tell(queue, nlh);
	queue->inherited = false;
}

/* They come in order, one number a packet (__nfqnl_enqueue_packet(),
 * net/netfilter/nfnetlink_queue.c). One without room in the socket passes, or
 * is dropped, and only in the latter case the kernel counts it
 */
static void note_id(struct queue *queue, uint32_t id)
{
	if (queue->last_id)
		queue->missed += id - queue->last_id - 1;
	queue->last_id = id;
}

/* ---- packets ---- */

/**
 * struct batch - What on_packet() needs
 */
struct batch {
	struct queue *queue;
	queue_decide_t *decide;
	void *arg;
	int taken;
};

static int on_packet(const struct nlmsghdr *nlh, void *data)
{
	struct nlattr *attr[NFQA_MAX + 1] = { 0 };
	struct nfqnl_msg_packet_hdr *header;
	struct queue_packet pkt = { 0 };
	struct queue_verdict verdict = { 0 };
	struct batch *batch = data;

	if (nfq_nlmsg_parse(nlh, attr) < 0 || !attr[NFQA_PACKET_HDR])
		return MNL_CB_OK;
	header = mnl_attr_get_payload(attr[NFQA_PACKET_HDR]);
	note_id(batch->queue, ntohl(header->packet_id));
	if (batch->queue->inherited)
		release_older(batch->queue, ntohl(header->packet_id));
	if (attr[NFQA_IFINDEX_INDEV])
		pkt.ifindex = ntohl(mnl_attr_get_u32(attr[NFQA_IFINDEX_INDEV]));
	/* A packet that was cut, or has no bytes, goes on as it is */
	if (attr[NFQA_PAYLOAD] && !attr[NFQA_CAP_LEN]) {
		pkt.data = mnl_attr_get_payload(attr[NFQA_PAYLOAD]);
		pkt.len = mnl_attr_get_payload_len(attr[NFQA_PAYLOAD]);
		verdict = batch->decide(batch->arg, &pkt);
	}
	batch->taken++;
	put_verdict(batch->queue, ntohl(header->packet_id), &verdict);
	return MNL_CB_OK;
}

int queue_run(struct queue *queue, queue_decide_t *decide, void *arg)
{
	struct batch batch = { .queue = queue, .decide = decide, .arg = arg };
	struct mmsghdr msgs[QUEUE_BATCH];
	struct iovec iov[QUEUE_BATCH];
	int n, err;

	for (int i = 0; i < QUEUE_BATCH; i++) {
		iov[i] = (struct iovec){ queue->in + (size_t)i * IN_SIZE,
					 IN_SIZE };
		msgs[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &iov[i],
							 .msg_iovlen = 1 } };
	}
	n = recvmmsg(queue_fd(queue), msgs, QUEUE_BATCH, MSG_DONTWAIT, NULL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		mnl_cb_run(iov[i].iov_base, msgs[i].msg_len, 0, 0, on_packet,
			   &batch);
	err = queue_flush(queue);
	queue->packets += (unsigned int)batch.taken;
	return err ? err : batch.taken;
}

unsigned int queue_read_counts(unsigned int first, unsigned int count,
			       struct queue_counts *counts)
{
	FILE *f = fopen(PROC_FILE, "re");
	unsigned int queue, found = 0;
	struct queue_counts c;

	memset(counts, 0, count * sizeof(*counts));
	if (!f)
		return 0;
	while (fscanf(f, "%u %*u %u %*u %*u %" SCNu64 " %" SCNu64 " %*u %*u",
		      &queue, &c.waiting, &c.dropped, &c.user_dropped) == 4) {
		if (queue < first || queue - first >= count)
			continue;
		counts[queue - first] = c;
		found++;
	}
	fclose(f);
	return found;
}
