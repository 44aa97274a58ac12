/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Is NFQA_CT there where our rules are?
 *
 *	phone namespace ---- this one, MASQUERADE ---- server namespace
 *
 * One TCP connection is made through the namespace that this runs in. Its rules
 * queue each packet twice, from raw PREROUTING (conntrack has not seen it yet)
 * and from mangle PREROUTING (it has); both queues are asked for conntrack
 * (NFQA_CFG_F_CONNTRACK). For each packet it is printed whether NFQA_CT came
 * with it, and whether the daemon's own look-up by ctnetlink finds the
 * connection while the packet waits in raw PREROUTING.
 *
 * Exit status: 0 as docs/decisions/008-nfqa-ct.md says, 1 otherwise, 2 usage or
 * a failed call.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "kernel/conntrack.h"
#include "kernel/netlink.h"

#define PORT 5060
#define MAX_ROWS 64
#define LIMIT_MS 10000
#define QUIET_MS 500
#define LOOKUPS 2000

enum hook { RAW, MANGLE, HOOKS };

/**
 * struct row - What was seen of one packet
 * @seen, @ct:	Came by a hook, and NFQA_CT with it
 * @info:	NFQA_CT_INFO, enum ip_conntrack_info
 * @as:		Where NFQA_CT says that answers go: the translation, if it is
 *		decided
 * @found:	conntrack_find() while it waited in raw PREROUTING
 */
struct row {
	struct tuple tuple;
	uint32_t seq;
	uint8_t flags;
	size_t len;
	bool seen[HOOKS], ct[HOOKS];
	uint32_t info;
	struct endpoint as;
	int found;
	struct nat_entry entry;
};

struct probe {
	struct netlink queue;
	struct conntrack conntrack;
	uint16_t number[HOOKS];
	int refused; /* what NFQA_CFG_F_CONNTRACK got, 0 or -errno */
	struct row row[MAX_ROWS];
	size_t rows;
};

__attribute__((noreturn)) static void die(const char *what, int err)
{
	fprintf(stderr, "nfqa_ct: %s: %s\n", what, strerror(err));
	exit(2);
}

/* ---- the queues ---- */

static struct nlmsghdr *config(char *buf, uint16_t number)
{
	struct nlmsghdr *nlh = nfq_nlmsg_put(buf, NFQNL_MSG_CONFIG, number);

	nlh->nlmsg_flags |= NLM_F_ACK;
	return nlh;
}

static void open_queue(struct probe *p, uint16_t number)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh = config(buf, number);
	int err;

	nfq_nlmsg_cfg_put_cmd(nlh, AF_UNSPEC, NFQNL_CFG_CMD_BIND);
	err = netlink_ask(&p->queue, nlh, NULL, NULL);
	if (err)
		die("bind a queue", -err);
	nlh = config(buf, number);
	nfq_nlmsg_cfg_put_params(nlh, NFQNL_COPY_PACKET, 0xffff);
	err = netlink_ask(&p->queue, nlh, NULL, NULL);
	if (err)
		die("set a queue's copy mode", -err);
	nlh = config(buf, number);
	mnl_attr_put_u32(nlh, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_CONNTRACK));
	mnl_attr_put_u32(nlh, NFQA_CFG_MASK, htonl(NFQA_CFG_F_CONNTRACK));
	p->refused = netlink_ask(&p->queue, nlh, NULL, NULL);
}

static void accept_packet(struct probe *p, uint16_t number, uint32_t id)
{
	char buf[NETLINK_REQUEST];
	struct nlmsghdr *nlh = nfq_nlmsg_put(buf, NFQNL_MSG_VERDICT, number);

	nfq_nlmsg_verdict_put(nlh, (int)id, NF_ACCEPT);
	if (mnl_socket_sendto(p->queue.nl, nlh, nlh->nlmsg_len) < 0)
		die("send a verdict", errno);
}

/* Headers into a row; the packets are our own, IPv4 and TCP */
static struct row read_packet(const uint8_t *data, size_t len)
{
	struct row row = { 0 };
	struct iphdr ip;
	struct tcphdr tcp;
	size_t head;

	if (len < sizeof(ip) + sizeof(tcp))
		die("a short packet", EPROTO);
	memcpy(&ip, data, sizeof(ip));
	head = (size_t)ip.ihl * 4;
	if (head < sizeof(ip) || head + sizeof(tcp) > len)
		die("a short packet", EPROTO);
	memcpy(&tcp, data + head, sizeof(tcp));
	row.tuple = (struct tuple){ .proto = ip.protocol };
	row.tuple.src.addr = addr_from_v4(&ip.saddr);
	row.tuple.dst.addr = addr_from_v4(&ip.daddr);
	row.tuple.src.port = ntohs(tcp.source);
	row.tuple.dst.port = ntohs(tcp.dest);
	row.seq = ntohl(tcp.seq);
	row.flags = data[head + 13];
	row.len = len - head - (size_t)tcp.doff * 4;
	return row;
}

static bool is_out(const struct row *row)
{
	return row->tuple.dst.port == PORT;
}

/* The row of a packet that came by raw PREROUTING, and now by mangle. What
 * comes from the server has got the phone's address in between.
 */
static struct row *find_row(struct probe *p, const struct row *row)
{
	for (size_t i = 0; i < p->rows; i++) {
		struct row *r = &p->row[i];

		if (!r->seen[MANGLE] && is_out(r) == is_out(row) &&
		    r->seq == row->seq && r->flags == row->flags &&
		    r->len == row->len)
			return r;
	}
	return NULL;
}

/* The destination of answers, out of NFQA_CT */
static struct endpoint read_ct(const struct nlattr *attr)
{
	struct nf_conntrack *ct = nfct_new();
	struct endpoint as;

	if (!ct ||
	    nfct_payload_parse(mnl_attr_get_payload(attr),
			       mnl_attr_get_payload_len(attr), AF_INET, ct))
		die("NFQA_CT", EPROTO);
	as.addr = addr_from_v4(nfct_get_attr(ct, ATTR_REPL_IPV4_DST));
	as.port = ntohs(nfct_get_attr_u16(ct, ATTR_REPL_PORT_DST));
	nfct_destroy(ct);
	return as;
}

static void note(struct probe *p, enum hook hook, const struct row *packet,
		 struct nlattr **attr)
{
	struct row *row = hook == MANGLE ? find_row(p, packet) : NULL;

	if (!row) {
		if (p->rows == MAX_ROWS)
			die("more packets than expected", E2BIG);
		row = &p->row[p->rows++];
		*row = *packet;
	}
	row->seen[hook] = true;
	row->ct[hook] = attr[NFQA_CT];
	if (attr[NFQA_CT])
		row->as = read_ct(attr[NFQA_CT]);
	if (attr[NFQA_CT_INFO])
		row->info = ntohl(mnl_attr_get_u32(attr[NFQA_CT_INFO]));
	if (hook == RAW)
		row->found = conntrack_find(
			&p->conntrack, &row->tuple,
			is_out(row) ? NAT_SIDE_LAN : NAT_SIDE_WAN, &row->entry);
}

static int on_packet(const struct nlmsghdr *nlh, void *data)
{
	const struct nfgenmsg *nfg = mnl_nlmsg_get_payload(nlh);
	struct nlattr *attr[NFQA_MAX + 1] = { 0 };
	const struct nfqnl_msg_packet_hdr *header;
	struct probe *p = data;
	uint16_t number = ntohs(nfg->res_id);
	struct row row;

	if (nfq_nlmsg_parse(nlh, attr) < 0 || !attr[NFQA_PACKET_HDR] ||
	    !attr[NFQA_PAYLOAD])
		return MNL_CB_OK;
	header = mnl_attr_get_payload(attr[NFQA_PACKET_HDR]);
	row = read_packet(mnl_attr_get_payload(attr[NFQA_PAYLOAD]),
			  mnl_attr_get_payload_len(attr[NFQA_PAYLOAD]));
	note(p, number == p->number[RAW] ? RAW : MANGLE, &row, attr);
	accept_packet(p, number, ntohl(header->packet_id));
	return MNL_CB_OK;
}

/* ---- the connection ---- */

/* A socket lives in the namespace that it was made in */
static int socket_in(const char *name)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	char path[128];
	int there, fd;

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	there = open(path, O_RDONLY | O_CLOEXEC);
	if (here < 0 || there < 0 || setns(there, CLONE_NEWNET))
		die(path, errno);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setns(here, CLONE_NEWNET))
		die("socket in a namespace", errno);
	close(here);
	close(there);
	return fd;
}

/**
 * struct talk - The two ends
 * @said:	The phone has sent its request
 */
struct talk {
	int listener, phone, server;
	bool said;
};

static void open_talk(struct talk *t, const char *phone, const char *server,
		      const char *address)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(PORT) };

	if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
		die(address, EINVAL);
	t->server = -1;
	t->listener = socket_in(server);
	t->phone = socket_in(phone);
	if (bind(t->listener, (struct sockaddr *)&at, sizeof(at)) ||
	    listen(t->listener, 1))
		die("listen", errno);
	if (connect(t->phone, (struct sockaddr *)&at, sizeof(at)) &&
	    errno != EINPROGRESS)
		die("connect", errno);
}

static void close_fd(int *fd)
{
	close(*fd);
	*fd = -1;
}

/* Request, answer, request's end closes first, then the other */
static void on_phone(struct talk *t)
{
	char buf[64];

	if (!t->said) {
		t->said = true;
		if (send(t->phone, "ping", 4, MSG_NOSIGNAL) != 4)
			die("the phone's request", errno);
	} else if (recv(t->phone, buf, sizeof(buf), 0) >= 0) {
		close_fd(&t->phone);
	}
}

static void on_server(struct talk *t)
{
	char buf[64];
	ssize_t len = recv(t->server, buf, sizeof(buf), 0);

	if (len > 0 && send(t->server, "pong", 4, MSG_NOSIGNAL) != 4)
		die("the server's answer", errno);
	if (len <= 0)
		close_fd(&t->server);
}

/* Until it is over and nothing came for a while */
static void run(struct probe *p, struct talk *t)
{
	struct timespec now;
	time_t end;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + LIMIT_MS / 1000;
	for (;;) {
		struct pollfd fd[] = {
			{ netlink_fd(&p->queue), POLLIN, 0 },
			{ t->listener, POLLIN, 0 },
			{ t->phone, t->said ? POLLIN : POLLOUT, 0 },
			{ t->server, POLLIN, 0 },
		};
		bool over = t->listener < 0 && t->phone < 0 && t->server < 0;
		int n = poll(fd, 4, over ? QUIET_MS : LIMIT_MS);

		clock_gettime(CLOCK_MONOTONIC, &now);
		if (n == 0 && over)
			return;
		if (n <= 0 || now.tv_sec > end)
			die("the connection", n < 0 ? errno : ETIMEDOUT);
		if (fd[0].revents)
			netlink_take(&p->queue, on_packet, p);
		if (fd[1].revents) {
			t->server = accept4(t->listener, NULL, NULL,
					    SOCK_NONBLOCK | SOCK_CLOEXEC);
			close_fd(&t->listener);
		}
		if (fd[2].revents)
			on_phone(t);
		if (fd[3].revents)
			on_server(t);
	}
}

/* ---- the report ---- */

static const char *kind_of(const struct row *row)
{
	static char text[64];

	if (row->len)
		snprintf(text, sizeof(text), "data, %zu bytes", row->len);
	else
		snprintf(text, sizeof(text), "%s%s%s",
			 row->flags & TH_SYN ? "SYN " : "",
			 row->flags & TH_FIN ? "FIN " : "",
			 row->flags & TH_ACK ? "ACK" : "");
	return text;
}

static const char *info_of(uint32_t info)
{
	static const char *const names[] = {
		[IP_CT_ESTABLISHED] = "ESTABLISHED",
		[IP_CT_RELATED] = "RELATED",
		[IP_CT_NEW] = "NEW",
		[IP_CT_ESTABLISHED_REPLY] = "REPLY",
	};

	return info < sizeof(names) / sizeof(names[0]) && names[info]
		       ? names[info]
		       : "?";
}

static const char *cell(const struct row *row, enum hook hook)
{
	static char text[ENDPOINT_TEXT_MAX + 32];
	int len;

	if (!row->seen[hook])
		return "not queued";
	if (!row->ct[hook])
		return "absent";
	len = snprintf(text, sizeof(text), "%s, as ", info_of(row->info));
	endpoint_format(&row->as, text + len);
	return text;
}

static const char *lookup_of(const struct row *row)
{
	static char text[ENDPOINT_TEXT_MAX + 32];
	int len = snprintf(text, sizeof(text), "found, as ");

	if (row->found)
		return row->found == -ENOENT ? "not found"
					     : strerror(-row->found);
	endpoint_format(&row->entry.wan.dst, text + len);
	return text;
}

/* One look-up as the daemon does it; @tuple is of a live entry */
static double lookup_us(struct probe *p, const struct tuple *tuple)
{
	struct nat_entry entry;
	struct timespec begin, end;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (int i = 0; i < LOOKUPS; i++) {
		if (conntrack_find(&p->conntrack, tuple, NAT_SIDE_LAN, &entry))
			return -1;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - begin.tv_sec) * 1e9 +
		(double)(end.tv_nsec - begin.tv_nsec)) /
	       1e3 / LOOKUPS;
}

/* As decided: never in raw; in mangle always where the kernel has it */
static bool report(struct probe *p)
{
	size_t queued[HOOKS] = { 0 }, with[HOOKS] = { 0 };
	struct utsname name;

	uname(&name);
	printf("kernel %s\n", name.release);
	printf("NFQA_CFG_F_CONNTRACK: %s\n\n",
	       p->refused ? strerror(-p->refused) : "accepted");
	printf("%-4s%-15s%-16s%-37s%s\n", "", "", "raw PREROUTING",
	       "mangle PREROUTING", "ctnetlink, while in raw");
	for (size_t i = 0; i < p->rows; i++) {
		const struct row *row = &p->row[i];

		printf("%-4s%-15s", is_out(row) ? "out" : "in", kind_of(row));
		printf("%-16s", cell(row, RAW));
		printf("%-37s%s\n", cell(row, MANGLE), lookup_of(row));
		for (int hook = 0; hook < HOOKS; hook++) {
			queued[hook] += row->seen[hook];
			with[hook] += row->ct[hook];
		}
	}
	printf("\nNFQA_CT: raw PREROUTING %zu of %zu packets, "
	       "mangle PREROUTING %zu of %zu\n",
	       with[RAW], queued[RAW], with[MANGLE], queued[MANGLE]);
	printf("one look-up by ctnetlink: %.1f us (mean of %d)\n",
	       lookup_us(p, &p->row[0].tuple), LOOKUPS);
	return queued[RAW] >= 6 && queued[RAW] == queued[MANGLE] &&
	       !with[RAW] && with[MANGLE] == (p->refused ? 0 : queued[MANGLE]);
}

int main(int argc, char **argv)
{
	static struct probe p;
	struct talk talk = { 0 };
	int err;

	if (argc != 6) {
		fprintf(stderr, "usage: nfqa_ct RAW-QUEUE MANGLE-QUEUE "
				"PHONE-NETNS SERVER-NETNS SERVER-ADDRESS\n");
		return 2;
	}
	for (int hook = 0; hook < HOOKS; hook++)
		p.number[hook] = (uint16_t)strtoul(argv[1 + hook], NULL, 10);
	err = netlink_open(&p.queue, NETLINK_NETFILTER, 0);
	if (!err)
		err = conntrack_open(&p.conntrack);
	if (err)
		die("netlink", -err);
	for (int hook = 0; hook < HOOKS; hook++)
		open_queue(&p, p.number[hook]);
	open_talk(&talk, argv[3], argv[4], argv[5]);
	run(&p, &talk);
	return report(&p) ? 0 : 1;
}
