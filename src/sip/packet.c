/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include "sip/checksum.h"

/* Extension headers a packet may carry before we stop reading it */
#define MAX_EXTENSIONS 8

/*
 * Headers are copied out before they are read: a netlink buffer or a capture
 * file gives no alignment.
 */

static enum packet_status parse_ip4(const uint8_t *data, size_t *len,
				    struct packet *pkt)
{
	struct iphdr ip;

	if (*len < sizeof(ip))
		return PACKET_BAD;
	memcpy(&ip, data, sizeof(ip));
	pkt->l4 = ip.ihl * 4u;
	if (pkt->l4 < sizeof(ip) || ntohs(ip.tot_len) > *len ||
	    pkt->l4 > ntohs(ip.tot_len))
		return PACKET_BAD;
	if (ip.frag_off & htons(IP_MF | IP_OFFMASK))
		return PACKET_OTHER;
	*len = ntohs(ip.tot_len);
	pkt->tuple.src.addr = addr_from_v4(&ip.saddr);
	pkt->tuple.dst.addr = addr_from_v4(&ip.daddr);
	pkt->tuple.proto = ip.protocol;
	return PACKET_OK;
}

/* Step over extension headers to the transport header */
static enum packet_status skip_extensions(const uint8_t *data, size_t len,
					  uint8_t next, struct packet *pkt)
{
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS) {
			pkt->tuple.proto = next;
			return PACKET_OK;
		}
		if (pkt->l4 + 8 > len)
			return PACKET_BAD;
		next = data[pkt->l4];
		pkt->l4 += (data[pkt->l4 + 1] + 1u) * 8u;
		if (pkt->l4 > len)
			return PACKET_BAD;
	}
	return PACKET_OTHER;
}

static enum packet_status parse_ip6(const uint8_t *data, size_t *len,
				    struct packet *pkt)
{
	struct ip6_hdr ip;

	if (*len < sizeof(ip))
		return PACKET_BAD;
	memcpy(&ip, data, sizeof(ip));
	if (sizeof(ip) + ntohs(ip.ip6_plen) > *len)
		return PACKET_BAD;
	*len = sizeof(ip) + ntohs(ip.ip6_plen);
	pkt->l4 = sizeof(ip);
	pkt->tuple.src.addr = addr_from_v6(&ip.ip6_src);
	pkt->tuple.dst.addr = addr_from_v6(&ip.ip6_dst);
	return skip_extensions(data, *len, ip.ip6_nxt, pkt);
}

static enum packet_status parse_udp(const uint8_t *l4, size_t len,
				    struct packet *pkt)
{
	struct udphdr udp;

	if (len < sizeof(udp))
		return PACKET_BAD;
	memcpy(&udp, l4, sizeof(udp));
	if (ntohs(udp.len) < sizeof(udp) || ntohs(udp.len) > len)
		return PACKET_BAD;
	pkt->tuple.src.port = ntohs(udp.source);
	pkt->tuple.dst.port = ntohs(udp.dest);
	pkt->payload.ptr = (const char *)l4 + sizeof(udp);
	pkt->payload.len = ntohs(udp.len) - sizeof(udp);
	return PACKET_OK;
}

static enum packet_status parse_tcp(const uint8_t *l4, size_t len,
				    struct packet *pkt)
{
	struct tcphdr tcp;

	if (len < sizeof(tcp))
		return PACKET_BAD;
	memcpy(&tcp, l4, sizeof(tcp));
	if (tcp.doff * 4u < sizeof(tcp) || tcp.doff * 4u > len)
		return PACKET_BAD;
	pkt->tuple.src.port = ntohs(tcp.source);
	pkt->tuple.dst.port = ntohs(tcp.dest);
	pkt->payload.ptr = (const char *)l4 + tcp.doff * 4u;
	pkt->payload.len = len - tcp.doff * 4u;
	return PACKET_OK;
}

enum packet_status packet_parse(const void *data, size_t len,
				struct packet *pkt)
{
	const uint8_t *bytes = data;
	enum packet_status status = PACKET_BAD;

	*pkt = (struct packet){ .data = bytes };
	if (len && bytes[0] >> 4 == 4)
		status = parse_ip4(bytes, &len, pkt);
	else if (len && bytes[0] >> 4 == 6)
		status = parse_ip6(bytes, &len, pkt);
	if (status != PACKET_OK)
		return status;
	if (pkt->tuple.proto == IPPROTO_UDP)
		return parse_udp(bytes + pkt->l4, len - pkt->l4, pkt);
	if (pkt->tuple.proto == IPPROTO_TCP)
		return parse_tcp(bytes + pkt->l4, len - pkt->l4, pkt);
	return PACKET_OTHER;
}

uint8_t packet_tcp_flags(const struct packet *pkt)
{
	return pkt->data[pkt->l4 + 13];
}

/* The first two bytes of either family, with what the field is shifted by:
 *	IPv4  version, IHL | DSCP, ECN
 *	IPv6  version | traffic class: DSCP, ECN | flow label
 */
static unsigned int class_shift(const uint8_t *packet)
{
	return packet[0] >> 4 == 4 ? 2 : 6;
}

static uint16_t first_word(const uint8_t *packet)
{
	return (uint16_t)(packet[0] << 8 | packet[1]);
}

uint8_t packet_dscp(const uint8_t *packet)
{
	return first_word(packet) >> class_shift(packet) & 0x3f;
}

/* RFC 1624: the sum follows the one word that changed, so that one which was
 * wrong stays wrong
 */
static void follow_check(uint8_t *packet, uint16_t was, uint16_t is)
{
	uint8_t *at = packet + offsetof(struct iphdr, check);
	uint32_t sum = (uint16_t) ~(at[0] << 8 | at[1]);

	sum += (uint16_t)~was;
	sum += is;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~((sum & 0xffff) + (sum >> 16));
	at[0] = (uint8_t)(sum >> 8);
	at[1] = (uint8_t)sum;
}

void packet_set_dscp(uint8_t *packet, uint8_t dscp)
{
	unsigned int shift = class_shift(packet);
	uint16_t was = first_word(packet);
	unsigned int others = was & ~(0x3fu << shift);
	uint16_t is = (uint16_t)(others | (unsigned int)dscp << shift);

	packet[0] = (uint8_t)(is >> 8);
	packet[1] = (uint8_t)is;
	if (packet[0] >> 4 == 4)
		follow_check(packet, was, is);
}

size_t packet_header_len(const struct packet *pkt)
{
	return (size_t)((const uint8_t *)pkt->payload.ptr - pkt->data);
}

/* Its sender cannot be told that it is too long: it has sent fewer bytes, or it
 * does not know the number that ICMP would quote (RFC 5927 4.1)
 */
static bool is_strange(const struct packet *pkt, const uint8_t *out, size_t len)
{
	size_t seq = pkt->l4 + offsetof(struct tcphdr, th_seq);

	return len > pkt->payload.len ||
	       (len && pkt->tuple.proto == IPPROTO_TCP &&
		memcmp(out + seq, pkt->data + seq, sizeof(tcp_seq)));
}

/* Lengths, header checksum and, of @strange ones, DF of IPv4 */
static void finish_ip4(uint8_t *out, size_t l4, size_t total, bool strange)
{
	static uint16_t last_id;
	struct iphdr ip;

	memcpy(&ip, out, sizeof(ip));
	ip.tot_len = htons((uint16_t)total);
	if (strange && ip.frag_off & htons(IP_DF)) {
		ip.frag_off &= htons((uint16_t)~IP_DF);
		/* Zero is what a stack writes beside DF; it would make the
		 * fragments of two packets one.
		 */
		if (!ip.id)
			ip.id = htons(++last_id ? last_id : ++last_id);
	}
	ip.check = 0;
	memcpy(out, &ip, sizeof(ip));
	ip.check = checksum_finish(checksum_add(0, out, l4));
	memcpy(out, &ip, sizeof(ip));
}

static void finish_ip6(uint8_t *out, size_t total)
{
	uint16_t len = htons((uint16_t)(total - sizeof(struct ip6_hdr)));

	memcpy(out + offsetof(struct ip6_hdr, ip6_plen), &len, sizeof(len));
}

/* Sum over the pseudo header: RFC 768, RFC 8200 8.1 */
static uint64_t pseudo_header(const struct packet *pkt, size_t l4_len)
{
	uint16_t tail[2] = { htons(pkt->tuple.proto), htons((uint16_t)l4_len) };
	uint64_t sum = checksum_add(0, tail, sizeof(tail));
	const uint8_t *bytes;
	size_t len;

	bytes = addr_bytes(&pkt->tuple.src.addr, &len);
	sum = checksum_add(sum, bytes, len);
	bytes = addr_bytes(&pkt->tuple.dst.addr, &len);
	return checksum_add(sum, bytes, len);
}

/* Where the checksum stands in the transport header */
static size_t check_offset(uint8_t proto)
{
	return proto == IPPROTO_UDP ? offsetof(struct udphdr, check)
				    : offsetof(struct tcphdr, check);
}

/* RFC 768, RFC 9293 3.1 */
static void finish_check(const struct packet *pkt, uint8_t *l4, size_t l4_len)
{
	bool udp = pkt->tuple.proto == IPPROTO_UDP;
	size_t at = check_offset(pkt->tuple.proto);
	uint16_t check;

	memcpy(&check, l4 + at, sizeof(check));
	if (udp && !check)
		return;
	memset(l4 + at, 0, sizeof(check));
	check = checksum_finish(
		checksum_add(pseudo_header(pkt, l4_len), l4, l4_len));
	/* Zero would say "no checksum" (RFC 768) */
	if (udp && !check)
		check = 0xffff;
	memcpy(l4 + at, &check, sizeof(check));
}

long packet_finish(const struct packet *pkt, uint8_t *out, size_t len)
{
	size_t header = packet_header_len(pkt);
	size_t total = header + len;
	bool v4 = addr_is_v4(&pkt->tuple.src.addr);
	size_t most = v4 ? PACKET_MAX : PACKET_MAX + sizeof(struct ip6_hdr);
	size_t l4_len = total - pkt->l4;
	uint16_t udp_len = htons((uint16_t)l4_len);

	if (total > most || l4_len > UINT16_MAX)
		return -EMSGSIZE;
	if (v4)
		finish_ip4(out, pkt->l4, total, is_strange(pkt, out, len));
	else
		finish_ip6(out, total);
	if (pkt->tuple.proto == IPPROTO_UDP)
		memcpy(out + pkt->l4 + offsetof(struct udphdr, len), &udp_len,
		       sizeof(udp_len));
	finish_check(pkt, out + pkt->l4, l4_len);
	return (long)total;
}
