/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sim/translate.h"

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>

#include "sip/checksum.h"

static void put_addrs(uint8_t *data, const struct tuple *to)
{
	size_t len, at;
	const uint8_t *src = addr_bytes(&to->src.addr, &len);
	const uint8_t *dst = addr_bytes(&to->dst.addr, &len);

	at = len == 4 ? offsetof(struct iphdr, saddr)
		      : offsetof(struct ip6_hdr, ip6_src);
	memcpy(data + at, src, len);
	memcpy(data + at + len, dst, len);
}

/* UDP and TCP begin alike */
static void put_ports(uint8_t *l4, const struct tuple *to)
{
	uint16_t ports[2] = { htons(to->src.port), htons(to->dst.port) };

	memcpy(l4, ports, sizeof(ports));
}

static void put_ip4_check(uint8_t *data, size_t header_len)
{
	struct iphdr ip;

	memcpy(&ip, data, sizeof(ip));
	ip.check = 0;
	memcpy(data, &ip, sizeof(ip));
	ip.check = checksum_finish(checksum_add(0, data, header_len));
	memcpy(data, &ip, sizeof(ip));
}

/* RFC 768, RFC 9293 3.1, RFC 8200 8.1 */
static uint16_t l4_check(const uint8_t *l4, size_t len, const struct tuple *to)
{
	uint32_t tail[2] = { htonl((uint32_t)len), htonl(to->proto) };
	uint64_t sum = checksum_add(0, tail, sizeof(tail));
	const uint8_t *bytes;
	size_t addr_len;

	bytes = addr_bytes(&to->src.addr, &addr_len);
	sum = checksum_add(sum, bytes, addr_len);
	bytes = addr_bytes(&to->dst.addr, &addr_len);
	sum = checksum_add(sum, bytes, addr_len);
	return checksum_finish(checksum_add(sum, l4, len));
}

void translate(const struct packet *pkt, uint8_t *data, const struct tuple *to)
{
	bool udp = to->proto == IPPROTO_UDP;
	uint8_t *l4 = data + pkt->l4;
	size_t at = udp ? offsetof(struct udphdr, check)
			: offsetof(struct tcphdr, check);
	size_t len = packet_header_len(pkt) - pkt->l4 + pkt->payload.len;
	uint16_t check;

	put_addrs(data, to);
	if (addr_is_v4(&to->src.addr))
		put_ip4_check(data, pkt->l4);
	put_ports(l4, to);
	memcpy(&check, l4 + at, sizeof(check));
	if (udp && !check)
		return;
	memset(l4 + at, 0, sizeof(check));
	check = l4_check(l4, len, to);
	if (udp && !check)
		check = 0xffff;
	memcpy(l4 + at, &check, sizeof(check));
}
