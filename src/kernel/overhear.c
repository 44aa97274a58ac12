/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * Media never passes the daemon, and what a firewall drops leaves no trace in
 * conntrack. So when the counts say that an end of a call is silent, a packet
 * socket looks on for some seconds, beside the way of the packets, whether
 * there is media of that end after all, with another address than was
 * announced. A filter in the kernel passes only that, and only the headers: of
 * an ordinary packet nothing is copied, and while no call is silent nothing
 * listens.
 *
 * The socket is there from the start, for once it runs the daemon may open
 * none: by packet sockets one could send anything to anybody. Between two calls
 * it is bound to a protocol that nobody speaks.
 *
 * Packets are seen as they come in, before NAT: those of the inside host with
 * its own address, those from outside with the public one.
 */
#include "kernel/overhear.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

/* Longer than a call waits for its answer */
#define TICKS_MAX 20
/* IPv6, and the ports behind it */
#define HEAD_LEN 44
/* Of received headers, for a second or two of voice */
#define BUFFER_LEN (64 * 1024)
#define INSNS_MAX 96
/* IEEE 802 local experimental: no IP, so no packet costs anything */
#define NOBODYS ETH_P_802_EX1

/* Where things stand in a packet without options (nobody sends media with any)
 */
struct offsets {
	uint8_t proto, src, dst, ports;
};

static const struct offsets offsets_v4 = { 9, 12, 16, 20 };
static const struct offsets offsets_v6 = { 6, 8, 24, 40 };

static const struct offsets *offsets_of(const struct nat_line *line)
{
	return addr_is_v4(&line->inside.addr) ? &offsets_v4 : &offsets_v6;
}

/* ---- the filter: bpf(4), Documentation/networking/filter.rst ---- */

struct program {
	struct sock_filter insn[INSNS_MAX];
	uint8_t count;
};

static void put(struct program *p, uint16_t code, uint32_t k)
{
	p->insn[p->count++] = (struct sock_filter){ .code = code, .k = k };
}

/* Go on if the value of @size (BPF_W ...) at @at is @k, else as patch() says */
static void need(struct program *p, uint16_t size, uint32_t at, uint32_t k)
{
	put(p, (uint16_t)(BPF_LD | size | BPF_ABS), at);
	put(p, BPF_JMP | BPF_JEQ | BPF_K, k);
}

static void need_end(struct program *p, const struct endpoint *end,
		     uint32_t addr_at, uint32_t port_at)
{
	size_t len;
	const uint8_t *bytes = addr_bytes(&end->addr, &len);
	uint32_t word;

	for (uint32_t i = 0; i < len; i += 4) {
		memcpy(&word, bytes + i, sizeof(word));
		need(p, BPF_W, addr_at + i, ntohl(word));
	}
	need(p, BPF_H, port_at, end->port);
}

/* Where one of the conditions from @first to @last fails: go on from here */
static void patch(struct program *p, uint8_t first, uint8_t last)
{
	for (uint8_t i = first; i < last; i++) {
		if (BPF_CLASS(p->insn[i].code) == BPF_JMP)
			p->insn[i].jf = (uint8_t)(p->count - i - 1);
	}
}

/* What has @end at one place, and at the other another than @usual */
static void write_way(struct program *p, const struct endpoint *end,
		      const struct endpoint *usual, uint32_t end_at,
		      uint32_t end_port_at, uint32_t usual_at,
		      uint32_t usual_port_at)
{
	uint8_t first = p->count, middle;

	need_end(p, end, end_at, end_port_at);
	middle = p->count;
	need_end(p, usual, usual_at, usual_port_at);
	put(p, BPF_RET | BPF_K, 0);
	patch(p, middle, p->count);
	put(p, BPF_RET | BPF_K, HEAD_LEN);
	patch(p, first, middle);
}

static void write_program(struct program *p, const struct nat_line *line)
{
	const struct offsets *o = offsets_of(line);
	uint32_t sport = o->ports, dport = o->ports + 2u;
	uint8_t begin;

	need(p, BPF_B, o->proto, IPPROTO_UDP);
	if (o == &offsets_v4) {
		need(p, BPF_B, 0, 0x45);
		/* Only the first fragment has ports */
		put(p, BPF_LD | BPF_H | BPF_ABS, 6);
		put(p, BPF_ALU | BPF_AND | BPF_K, 0x1fff);
		put(p, BPF_JMP | BPF_JEQ | BPF_K, 0);
	}
	begin = p->count;
	write_way(p, &line->inside, &line->remote, o->src, sport, o->dst,
		  dport);
	write_way(p, &line->remote, &line->inside, o->dst, dport, o->src,
		  sport);
	write_way(p, &line->public_end, &line->remote, o->dst, dport, o->src,
		  sport);
	patch(p, 0, begin);
	put(p, BPF_RET | BPF_K, 0);
}

/* ---- the socket ---- */

static int bind_to(int fd, uint16_t protocol)
{
	const struct sockaddr_ll all = { .sll_family = AF_PACKET,
					 .sll_protocol = htons(protocol) };

	return bind(fd, (const struct sockaddr *)&all, sizeof(all)) ? -errno
								    : 0;
}

/* Bound last: until then it gets nothing, and nothing passes unfiltered */
static int prepare(int fd, const struct nat_line *line)
{
	struct program p = { .count = 0 };
	struct sock_fprog filter = { .filter = p.insn };
	int size = BUFFER_LEN;

	write_program(&p, line);
	filter.len = p.count;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter,
		       sizeof(filter)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)))
		return -errno;
	return bind_to(fd,
		       addr_is_v4(&line->inside.addr) ? ETH_P_IP : ETH_P_IPV6);
}

void overhear_open(struct overhear *o)
{
	*o = (struct overhear){ 0 };
	o->fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0)
		log_warning("no packet socket: %s; media that comes from "
			    "elsewhere is not found where it is dropped",
			    strerror(errno));
}

void overhear_adopt(struct overhear *o, int fd)
{
	*o = (struct overhear){ .fd = fd };
	if (fd < 0)
		overhear_open(o);
}

void overhear_close(struct overhear *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	o->listens = false;
}

/* Nothing is heard any more, nor what is still in the socket */
static void stop(struct overhear *o)
{
	uint8_t head[HEAD_LEN];

	o->listens = false;
	if (bind_to(o->fd, NOBODYS))
		overhear_close(o);
	while (o->fd >= 0 && recv(o->fd, head, sizeof(head), MSG_DONTWAIT) >= 0)
		;
}

int overhear_begin(struct overhear *o, const struct nat_line *line)
{
	int err;

	if (o->listens)
		stop(o);
	if (o->fd < 0)
		return -EBADF;
	o->line = *line;
	o->ticks = TICKS_MAX;
	err = prepare(o->fd, line);
	o->listens = !err;
	if (err)
		stop(o);
	return err;
}

void overhear_tick(struct overhear *o)
{
	if (o->listens && !--o->ticks)
		stop(o);
}

/* ---- what it has got ---- */

static struct endpoint read_end(const struct overhear *o, const uint8_t *head,
				uint8_t addr_at, uint8_t port_at)
{
	bool v4 = addr_is_v4(&o->line.inside.addr);
	struct endpoint end = { .addr = v4 ? addr_from_v4(head + addr_at)
					   : addr_from_v6(head + addr_at) };
	uint16_t port;

	memcpy(&port, head + port_at, sizeof(port));
	end.port = ntohs(port);
	return end;
}

/* One more of the same; another end is counted anew */
static void note(struct endpoint *last, unsigned int *count,
		 const struct endpoint *end)
{
	if (!endpoint_eq(last, end))
		*count = 0;
	*last = *end;
	++*count;
}

void overhear_end(struct overhear *o, struct nat_overheard *heard)
{
	const struct offsets *at = offsets_of(&o->line);
	uint8_t head[HEAD_LEN] = { 0 };

	*heard = (struct nat_overheard){ .out = 0 };
	while (o->listens &&
	       recv(o->fd, head, sizeof(head), MSG_DONTWAIT) > at->ports) {
		struct endpoint src = read_end(o, head, at->src, at->ports);
		struct endpoint dst =
			read_end(o, head, at->dst, (uint8_t)(at->ports + 2));

		if (endpoint_eq(&src, &o->line.inside))
			note(&heard->to, &heard->out, &dst);
		else if (addr_eq(&src.addr, &o->line.inside.addr))
			note(&heard->by, &heard->other, &src);
		else if (endpoint_eq(&dst, &o->line.public_end))
			note(&heard->from, &heard->in, &src);
	}
	if (o->listens)
		stop(o);
}
