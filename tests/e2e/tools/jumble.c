/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bad line: loses, doubles and holds back the packets of an NFQUEUE.
 *
 * usage: jumble QUEUE SEED LOSS DOUBLE HOLD HOLD_MS
 *
 * LOSS, DOUBLE and HOLD are parts of 1000 packets. A packet held back goes
 * after one to eight others went, or after HOLD_MS at the latest. Nothing else
 * becomes of packets. Says "ready" when the queue is open; SIGTERM lets all
 * go that is held, and prints what was done.
 *
 * The queue is meant to be fed by a rule in mangle FORWARD of a namespace that
 * does nothing but forward: a double leaves by a raw socket and meets no
 * FORWARD rule again.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BUFFER ((size_t)0xffff + 4096)
#define REQUEST 512
#define HELD_MAX 256
#define OVERTAKE_MAX 8
#define SOCKET_BUFFER (16 << 20)

/* A packet that waits for its verdict: until @others more have gone */
struct held {
	uint32_t id;
	unsigned int others;
	uint64_t until_ms;
};

struct jumble {
	struct mnl_socket *nl;
	int raw;
	uint16_t queue;
	uint64_t random;
	unsigned int loss, twice, hold;
	uint64_t hold_ms;
	struct held held[HELD_MAX];
	unsigned int held_count;
	unsigned long seen, lost, doubled, held_back;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* xorshift64*: the same numbers for the same seed, everywhere */
static unsigned int draw(struct jumble *j, unsigned int below)
{
	j->random ^= j->random >> 12;
	j->random ^= j->random << 25;
	j->random ^= j->random >> 27;
	return (unsigned int)((j->random * 0x2545f4914f6cdd1dull >> 33) %
			      below);
}

static void send_message(const struct jumble *j, const struct nlmsghdr *nlh)
{
	if (mnl_socket_sendto(j->nl, nlh, nlh->nlmsg_len) < 0) {
		perror("jumble: netlink");
		exit(1);
	}
}

static void verdict(const struct jumble *j, uint32_t id, int what)
{
	char buf[REQUEST];
	struct nlmsghdr *nlh = nfq_nlmsg_put(buf, NFQNL_MSG_VERDICT, j->queue);

	nfq_nlmsg_verdict_put(nlh, (int)id, what);
	send_message(j, nlh);
}

static void release(struct jumble *j, unsigned int which)
{
	verdict(j, j->held[which].id, NF_ACCEPT);
	j->held[which] = j->held[--j->held_count];
}

/* Let go what has waited long enough; all of it with @all */
static void release_due(struct jumble *j, bool all)
{
	uint64_t now = now_ms();
	unsigned int i = 0;

	while (i < j->held_count) {
		const struct held *h = &j->held[i];

		if (all || !h->others || h->until_ms <= now)
			release(j, i);
		else
			i++;
	}
}

static void pass(struct jumble *j, uint32_t id)
{
	verdict(j, id, NF_ACCEPT);
	for (unsigned int i = 0; i < j->held_count; i++) {
		if (j->held[i].others)
			j->held[i].others--;
	}
}

/* The same packet again, by the way that the routing table says */
static void send_again(const struct jumble *j, const struct nlattr *payload)
{
	const uint8_t *data = mnl_attr_get_payload(payload);
	size_t len = mnl_attr_get_payload_len(payload);
	struct sockaddr_in to = { .sin_family = AF_INET };

	if (len < 20 || data[0] >> 4 != 4)
		return;
	to.sin_addr.s_addr = ((uint32_t)data[16]) | (uint32_t)data[17] << 8 |
			     (uint32_t)data[18] << 16 |
			     (uint32_t)data[19] << 24;
	if (sendto(j->raw, data, len, 0, (struct sockaddr *)&to, sizeof(to)) <
	    0)
		perror("jumble: raw socket");
}

static void decide(struct jumble *j, uint32_t id, const struct nlattr *payload)
{
	unsigned int dice = draw(j, 1000);

	j->seen++;
	if (dice < j->loss) {
		j->lost++;
		verdict(j, id, NF_DROP);
		return;
	}
	dice -= j->loss;
	if (dice < j->hold && j->held_count < HELD_MAX) {
		j->held_back++;
		j->held[j->held_count++] =
			(struct held){ id, 1 + draw(j, OVERTAKE_MAX),
				       now_ms() + j->hold_ms };
		return;
	}
	pass(j, id);
	dice -= j->hold;
	if (dice < j->twice) {
		j->doubled++;
		send_again(j, payload);
	}
}

static int on_packet(const struct nlmsghdr *nlh, void *arg)
{
	struct nlattr *attr[NFQA_MAX + 1] = { 0 };
	const struct nfqnl_msg_packet_hdr *header;

	if (nfq_nlmsg_parse(nlh, attr) < 0 || !attr[NFQA_PACKET_HDR] ||
	    !attr[NFQA_PAYLOAD])
		return MNL_CB_ERROR;
	header = mnl_attr_get_payload(attr[NFQA_PACKET_HDR]);
	decide(arg, ntohl(header->packet_id), attr[NFQA_PAYLOAD]);
	return MNL_CB_OK;
}

static void open_all(struct jumble *j)
{
	char buf[REQUEST];
	int size = SOCKET_BUFFER, fd;
	struct nlmsghdr *nlh;

	j->raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	j->nl = mnl_socket_open(NETLINK_NETFILTER);
	if (j->raw < 0 || !j->nl ||
	    mnl_socket_bind(j->nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		perror("jumble: socket");
		exit(1);
	}
	fd = mnl_socket_get_fd(j->nl);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	nlh = nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, j->queue);
	nfq_nlmsg_cfg_put_cmd(nlh, AF_INET, NFQNL_CFG_CMD_BIND);
	send_message(j, nlh);
	nlh = nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, j->queue);
	nfq_nlmsg_cfg_put_params(nlh, NFQNL_COPY_PACKET, 0xffff);
	nfq_nlmsg_cfg_put_qmaxlen(nlh, 65536);
	nlh->nlmsg_flags |= NLM_F_ACK;
	send_message(j, nlh);
}

static void run(struct jumble *j)
{
	struct pollfd fd = { mnl_socket_get_fd(j->nl), POLLIN, 0 };
	static char buf[BUFFER];

	while (!stopped) {
		ssize_t len;

		if (poll(&fd, 1, j->held_count ? 1 : 50) > 0) {
			len = mnl_socket_recvfrom(j->nl, buf, sizeof(buf));
			if (len < 0 && errno != EINTR) {
				perror("jumble: netlink");
				exit(1);
			}
			/* 0: what the kernel acknowledges has no port */
			if (len > 0 && mnl_cb_run(buf, (size_t)len, 0, 0,
						  on_packet, j) < 0) {
				perror("jumble: answer");
				exit(1);
			}
		}
		release_due(j, false);
	}
	release_due(j, true);
}

int main(int argc, char **argv)
{
	static struct jumble j;
	struct sigaction action = { .sa_handler = on_signal };

	if (argc != 7) {
		fputs("usage: jumble QUEUE SEED LOSS DOUBLE HOLD HOLD_MS\n",
		      stderr);
		return 2;
	}
	j.queue = (uint16_t)atoi(argv[1]);
	j.random = 0x9e3779b97f4a7c15ull * (strtoull(argv[2], NULL, 0) + 1);
	j.loss = (unsigned int)atoi(argv[3]);
	j.twice = (unsigned int)atoi(argv[4]);
	j.hold = (unsigned int)atoi(argv[5]);
	j.hold_ms = (uint64_t)atoi(argv[6]);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	open_all(&j);
	puts("ready");
	fflush(stdout);
	run(&j);
	printf("%lu %lu %lu %lu\n", j.seen, j.lost, j.doubled, j.held_back);
	return 0;
}
