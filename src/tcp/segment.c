/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/segment.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <string.h>

/* IANA "TCP Option Kind Numbers"; those that netinet/tcp.h has not */
enum {
	OPTION_MD5 = 19, /* RFC 2385 */
	OPTION_AO = 29, /* RFC 5925 */
	OPTION_MPTCP = 30, /* RFC 8684 */
};

uint32_t segment_len(const struct segment *seg)
{
	return (uint32_t)seg->data.len + !!(seg->flags & TH_SYN) +
	       !!(seg->flags & TH_FIN);
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return ntohs(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return ntohl(v);
}

static void put16(uint8_t *p, uint16_t v)
{
	v = htons(v);
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htonl(v);
	memcpy(p, &v, sizeof(v));
}

/* The next option of @rest, kind and length included; false at the end. Padding
 * is one byte each. @rest.ptr becomes NULL where they do not parse.
 */
static bool next_option(struct span *rest, struct span *option)
{
	size_t len = 1;

	if (!rest->len || rest->ptr[0] == TCPOPT_EOL)
		return false;
	if (rest->ptr[0] != TCPOPT_NOP) {
		len = rest->len > 1 ? (uint8_t)rest->ptr[1] : 0;
		if (len < 2 || len > rest->len) {
			rest->ptr = NULL;
			return false;
		}
	}
	*option = (struct span){ rest->ptr, len };
	*rest = (struct span){ rest->ptr + len, rest->len - len };
	return true;
}

static struct span options_of(const struct packet *pkt)
{
	const char *tcp = (const char *)pkt->data + pkt->l4;

	return span_between(tcp + sizeof(struct tcphdr), pkt->payload.ptr);
}

static void read_sack(struct span option, struct segment *seg)
{
	const uint8_t *p = (const uint8_t *)option.ptr + 2;

	for (size_t i = 0; i + 8 <= option.len - 2; i += 8) {
		if (seg->sacks == SEGMENT_SACKS)
			return;
		seg->sack[seg->sacks++] =
			(struct range){ get32(p + i), get32(p + i + 4) };
	}
}

static void read_option(struct span option, struct segment *seg)
{
	const uint8_t *p = (const uint8_t *)option.ptr;
	bool syn = seg->flags & TH_SYN;

	if (p[0] == TCPOPT_MAXSEG && option.len == TCPOLEN_MAXSEG && syn) {
		seg->mss = get16(p + 2);
	} else if (p[0] == TCPOPT_WINDOW && option.len == TCPOLEN_WINDOW &&
		   syn) {
		/* RFC 7323 2.3: more than 14 is taken as 14 */
		seg->wscale = p[2] < 14 ? p[2] : 14;
		seg->scaled = true;
	} else if (p[0] == TCPOPT_TIMESTAMP &&
		   option.len == TCPOLEN_TIMESTAMP) {
		seg->stamped = true;
		seg->ts_val = get32(p + 2);
		seg->ts_ecr = get32(p + 6);
	} else if (p[0] == TCPOPT_SACK_PERMITTED &&
		   option.len == TCPOLEN_SACK_PERMITTED && syn) {
		seg->sack_ok = true;
	} else if (p[0] == TCPOPT_SACK) {
		read_sack(option, seg);
	} else if (p[0] == OPTION_MD5 || p[0] == OPTION_AO ||
		   (p[0] == OPTION_MPTCP && !syn)) {
		seg->sealed = true;
	}
}

int segment_parse(const struct packet *pkt, struct segment *seg)
{
	struct span rest = options_of(pkt), option;
	struct tcphdr tcp;

	memcpy(&tcp, pkt->data + pkt->l4, sizeof(tcp));
	*seg = (struct segment){
		.seq = ntohl(tcp.th_seq),
		.ack = ntohl(tcp.th_ack),
		.window = ntohs(tcp.th_win),
		.flags = tcp.th_flags,
		.options = (uint8_t)rest.len,
		.data = pkt->payload,
	};
	while (next_option(&rest, &option))
		read_option(option, seg);
	return rest.ptr ? 0 : -EINVAL;
}

void segment_path_read(const struct packet *pkt, struct segment_path *path)
{
	const uint8_t *ip = pkt->data;
	bool v4 = addr_is_v4(&pkt->tuple.src.addr);

	/* One hop on, as if it had been forwarded. No ECN: RFC 3168 6.1.5 */
	path->ttl = v4 ? ip[8] : ip[7];
	if (path->ttl > 1)
		path->ttl--;
	path->tos = (uint8_t)(v4 ? ip[1] : ip[0] << 4 | ip[1] >> 4);
	path->tos &= 0xfc;
}

/* ---- a packet as it came, saying something else ---- */

static void write_sack(uint8_t *p, size_t len, const struct segment *seg)
{
	size_t want = 2 + 8 * (size_t)seg->sacks;

	if (!seg->sacks || want > len) {
		memset(p, TCPOPT_NOP, len);
		return;
	}
	p[1] = (uint8_t)want;
	for (unsigned int i = 0; i < seg->sacks; i++) {
		put32(p + 2 + 8 * i, seg->sack[i].first);
		put32(p + 6 + 8 * i, seg->sack[i].end);
	}
	memset(p + want, TCPOPT_NOP, len - want);
}

static void write_option(uint8_t *p, size_t len, const struct segment *seg)
{
	if (p[0] == TCPOPT_MAXSEG && len == TCPOLEN_MAXSEG && seg->mss) {
		put16(p + 2, seg->mss);
	} else if (p[0] == TCPOPT_TIMESTAMP && len == TCPOLEN_TIMESTAMP) {
		put32(p + 2, seg->ts_val);
		put32(p + 6, seg->ts_ecr);
	} else if (p[0] == TCPOPT_SACK) {
		write_sack(p, len, seg);
	} else if (p[0] == OPTION_MPTCP) {
		memset(p, TCPOPT_NOP, len);
	}
}

static void write_numbers(uint8_t *l4, const struct segment *seg)
{
	struct tcphdr tcp;

	memcpy(&tcp, l4, sizeof(tcp));
	tcp.th_seq = htonl(seg->seq);
	tcp.th_ack = htonl(seg->ack);
	tcp.th_win = htons(seg->window);
	tcp.th_flags = seg->flags;
	/* It counts from a number that may have become another */
	if (!(seg->flags & TH_URG))
		tcp.th_urp = 0;
	memcpy(l4, &tcp, sizeof(tcp));
}

long segment_rewrite(const struct packet *pkt, const struct segment *seg,
		     uint8_t *out)
{
	size_t header = packet_header_len(pkt);
	struct span rest = options_of(pkt), option;

	if (header + seg->data.len > PACKET_MAX)
		return -EMSGSIZE;
	memcpy(out, pkt->data, header);
	write_numbers(out + pkt->l4, seg);
	while (next_option(&rest, &option))
		write_option(out + ((const uint8_t *)option.ptr - pkt->data),
			     option.len, seg);
	if (seg->data.len)
		memmove(out + header, seg->data.ptr, seg->data.len);
	return packet_finish(pkt, out, seg->data.len);
}

/* ---- a packet of our own ---- */

static size_t build_ip4(const struct segment_path *path, uint8_t *out)
{
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tos = path->tos,
		.ttl = path->ttl,
		.protocol = IPPROTO_TCP,
	};
	size_t len;

	memcpy(&ip.saddr, addr_bytes(&path->tuple.src.addr, &len), 4);
	memcpy(&ip.daddr, addr_bytes(&path->tuple.dst.addr, &len), 4);
	memcpy(out, &ip, sizeof(ip));
	return sizeof(ip);
}

static size_t build_ip6(const struct segment_path *path, uint8_t *out)
{
	struct ip6_hdr ip = {
		.ip6_flow = htonl(6u << 28 | (uint32_t)path->tos << 20),
		.ip6_nxt = IPPROTO_TCP,
		.ip6_hlim = path->ttl,
	};
	size_t len;

	memcpy(&ip.ip6_src, addr_bytes(&path->tuple.src.addr, &len), 16);
	memcpy(&ip.ip6_dst, addr_bytes(&path->tuple.dst.addr, &len), 16);
	memcpy(out, &ip, sizeof(ip));
	return sizeof(ip);
}

static size_t build_stamp(uint8_t *p, const struct segment *seg)
{
	if (!seg->stamped)
		return 0;
	/* Padded so that the numbers are aligned: RFC 7323 appendix A */
	p[0] = p[1] = TCPOPT_NOP;
	p[2] = TCPOPT_TIMESTAMP;
	p[3] = TCPOLEN_TIMESTAMP;
	put32(p + 4, seg->ts_val);
	put32(p + 8, seg->ts_ecr);
	return 12;
}

static size_t build_sack(uint8_t *p, const struct segment *seg)
{
	size_t len = 2 + 8 * (size_t)seg->sacks;

	if (!seg->sacks)
		return 0;
	p[0] = p[1] = TCPOPT_NOP;
	p[2] = TCPOPT_SACK;
	p[3] = (uint8_t)len;
	write_sack(p + 2, len, seg);
	return 2 + len;
}

size_t segment_build(const struct segment_path *path, const struct segment *seg,
		     uint8_t *out)
{
	struct packet pkt = { .data = out, .tuple = path->tuple };
	struct tcphdr tcp = {
		.th_sport = htons(path->tuple.src.port),
		.th_dport = htons(path->tuple.dst.port),
	};
	size_t at;

	pkt.tuple.proto = IPPROTO_TCP;
	pkt.l4 = addr_is_v4(&path->tuple.src.addr) ? build_ip4(path, out)
						   : build_ip6(path, out);
	at = pkt.l4 + sizeof(tcp);
	at += build_stamp(out + at, seg);
	at += build_sack(out + at, seg);
	tcp.th_off = (at - pkt.l4) / 4 & 0xf;
	memcpy(out + pkt.l4, &tcp, sizeof(tcp));
	write_numbers(out + pkt.l4, seg);
	pkt.payload.ptr = (const char *)out + at;
	if (seg->data.len)
		memcpy(out + at, seg->data.ptr, seg->data.len);
	return (size_t)packet_finish(&pkt, out, seg->data.len);
}
