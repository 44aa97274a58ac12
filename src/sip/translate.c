/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/translate.h"

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stddef.h>

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

void translate(const struct packet *pkt, uint8_t *data, const struct tuple *to)
{
	struct packet now = *pkt;

	now.tuple = *to;
	put_addrs(data, to);
	put_ports(data + pkt->l4, to);
	packet_finish(&now, data, pkt->payload.len);
}
