/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TESTS_STAGE_H
#define SIPALG_TESTS_STAGE_H

/*
 * A gateway with a simulated kernel, and packets to send through it. Used by
 * unit tests and fuzzers, so it aborts where it is used wrongly.
 *
 * Inside: 192.168.1.0/24, fd00:1::/64. Public: 203.0.113.1, 2001:db8:1::1.
 */
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>

#include "guard.h"
#include "sim/simnat.h"
#include "sip/checksum.h"
#include "sip/translate.h"
#include "sip/witness.h"
#include "state/alg.h"

#define STAGE_START_MS 1000000ull

/**
 * struct stage - The gateway and what it made of the last packet
 * @d:		Its decision
 * @t:		Tuple with which that packet left
 * @left:	Payload with which it left
 * @lost:	It did not leave: dropped, or the kernel had no room for its
 * entry
 */
struct stage {
	struct conf conf;
	struct simnat sim;
	struct alg *alg;
	uint64_t now_ms;
	struct decision d;
	struct tuple t;
	struct span left;
	bool lost;
	uint8_t packet[PACKET_MAX + 64], out[PACKET_MAX + 64];
};

static inline void stage_need(bool ok)
{
	if (!ok)
		abort();
}

static inline struct network stage_network(const char *text)
{
	struct network net;

	stage_need(!network_parse(span_from_str(text), &net));
	return net;
}

static inline struct addr stage_addr(const char *text)
{
	struct addr a;

	stage_need(!addr_parse(span_from_str(text), &a));
	return a;
}

/** stage_end() - An endpoint from "192.0.2.1:5060" or "[2001:db8::1]:5060" */
static inline struct endpoint stage_end(const char *text)
{
	const char *colon = strrchr(text, ':');
	struct endpoint end = { 0 };
	uint64_t port = 0;

	stage_need(colon && !addr_parse(span_between(text, colon), &end.addr) &&
		   !span_to_uint(span_from_str(colon + 1), UINT16_MAX, &port));
	end.port = (uint16_t)port;
	return end;
}

static inline void stage_surround(struct simnat *sim)
{
	static const char *const inside[] = { "192.168.1.0/24", "fd00:1::/64" };
	static const char *const where[] = { "0.0.0.0/0", "::/0" };
	static const char *const from[] = { "203.0.113.1", "2001:db8:1::1" };

	simnat_init(sim);
	for (int i = 0; i < 2; i++) {
		struct network net = stage_network(inside[i]);
		struct network to = stage_network(where[i]);
		struct addr addr = stage_addr(from[i]);

		simnat_add_inside(sim, &net);
		simnat_add_route(sim, &to, &addr);
	}
	simnat_set_now(sim, STAGE_START_MS);
}

/** stage_open() - A gateway with the default configuration, but that phones may
 * send any number of messages a second; change st->conf before the first
 * packet, or call alg_configure() */
static inline struct stage *stage_open(void)
{
	struct stage *st = calloc(1, sizeof(*st));

	stage_need(st && !witness_init());
	conf_init(&st->conf);
	st->conf.log.level = LOG_LEVEL_ERROR;
	/* Here a second has many more messages than outside */
	st->conf.limits.rate_per_phone = 1000000;
	log_set_level(LOG_LEVEL_ERROR);
	stage_surround(&st->sim);
	st->now_ms = STAGE_START_MS;
	st->alg = alg_new(&st->conf, &simnat_ops, &st->sim, st->now_ms);
	stage_need(st->alg != NULL);
	return st;
}

static inline void stage_close(struct stage *st)
{
	alg_free(st->alg);
	simnat_free(&st->sim);
	free(st);
}

/** stage_wait() - Let time pass, second by second */
static inline void stage_wait(struct stage *st, unsigned int seconds)
{
	while (seconds--) {
		st->now_ms += 1000;
		simnat_set_now(&st->sim, st->now_ms);
		alg_tick(st->alg, st->now_ms);
		alg_run(st->alg, st->now_ms);
	}
}

/** stage_pseudo() - The sum of addresses, protocol and length: RFC 768 and
 * RFC 9293 3.1 */
static inline uint64_t stage_pseudo(const struct tuple *t, size_t l4_len)
{
	uint32_t tail[2] = { htonl((uint32_t)l4_len), htonl(t->proto) };
	uint64_t sum = checksum_add(0, tail, sizeof(tail));
	const uint8_t *bytes;
	size_t len;

	bytes = addr_bytes(&t->src.addr, &len);
	sum = checksum_add(sum, bytes, len);
	bytes = addr_bytes(&t->dst.addr, &len);
	return checksum_add(sum, bytes, len);
}

static inline size_t stage_ip4(const struct tuple *t, uint8_t *p, size_t total)
{
	struct iphdr ip = { .version = 4,
			    .ihl = 5,
			    .tot_len = htons((uint16_t)total),
			    .frag_off = htons(IP_DF),
			    .ttl = 64,
			    .protocol = t->proto };
	size_t len;

	memcpy(&ip.saddr, addr_bytes(&t->src.addr, &len), 4);
	memcpy(&ip.daddr, addr_bytes(&t->dst.addr, &len), 4);
	ip.check = checksum_finish(checksum_add(0, &ip, sizeof(ip)));
	memcpy(p, &ip, sizeof(ip));
	return sizeof(ip);
}

static inline size_t stage_ip6(const struct tuple *t, uint8_t *p, size_t total)
{
	struct ip6_hdr ip = { .ip6_nxt = t->proto, .ip6_hlim = 64 };
	size_t len;

	ip.ip6_flow = htonl(6u << 28);
	ip.ip6_plen = htons((uint16_t)(total - sizeof(ip)));
	memcpy(&ip.ip6_src, addr_bytes(&t->src.addr, &len), 16);
	memcpy(&ip.ip6_dst, addr_bytes(&t->dst.addr, &len), 16);
	memcpy(p, &ip, sizeof(ip));
	return sizeof(ip);
}

/** stage_ip() - Write the IP header before @l4_len bytes; Return: its length */
static inline size_t stage_ip(const struct tuple *t, uint8_t *p, size_t l4_len)
{
	bool v4 = addr_is_v4(&t->src.addr);
	size_t header = v4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr);

	stage_need(header + l4_len <= PACKET_MAX);
	return v4 ? stage_ip4(t, p, header + l4_len)
		  : stage_ip6(t, p, header + l4_len);
}

/** stage_packet() - Make a UDP packet; Return: its length */
static inline size_t stage_packet(const struct tuple *t, struct span payload,
				  uint8_t *p)
{
	size_t udp_len = sizeof(struct udphdr) + payload.len;
	size_t header = stage_ip(t, p, udp_len);
	struct udphdr udp = { .source = htons(t->src.port),
			      .dest = htons(t->dst.port),
			      .len = htons((uint16_t)udp_len) };

	memcpy(p + header, &udp, sizeof(udp));
	if (payload.len)
		memcpy(p + header + sizeof(udp), payload.ptr, payload.len);
	udp.check = checksum_finish(
		checksum_add(stage_pseudo(t, udp_len), p + header, udp_len));
	if (!udp.check)
		udp.check = 0xffff;
	memcpy(p + header, &udp, sizeof(udp));
	return header + udp_len;
}

/** stage_sums_ok() - The checksums of a packet are right */
static inline bool stage_sums_ok(const uint8_t *data, size_t len)
{
	struct packet pkt;
	struct udphdr udp;
	size_t l4_len;

	if (packet_parse(data, len, &pkt) != PACKET_OK)
		return false;
	l4_len = packet_header_len(&pkt) - pkt.l4 + pkt.payload.len;
	memcpy(&udp, data + pkt.l4, sizeof(udp));
	if (addr_is_v4(&pkt.tuple.src.addr) &&
	    checksum_finish(checksum_add(0, data, pkt.l4)))
		return false;
	return (pkt.tuple.proto == IPPROTO_UDP && !udp.check) ||
	       !checksum_finish(checksum_add(stage_pseudo(&pkt.tuple, l4_len),
					     data + pkt.l4, l4_len));
}

static inline enum nat_side stage_side(struct stage *st, const struct tuple *t)
{
	if (simnat_ops.is_inside(&st->sim, &t->src.addr))
		return NAT_SIDE_LAN;
	return simnat_ops.is_own(&st->sim, &t->dst.addr) ? NAT_SIDE_WAN
							 : NAT_SIDE_OTHER;
}

/** stage_through() - Send the @len bytes of st->packet through gateway and NAT;
 * what leaves is in st->out, its payload in st->left, with st->t */
static inline void stage_through(struct stage *st, const struct tuple *t,
				 size_t len)
{
	const uint8_t *data = (const uint8_t *)guard_place(3, st->packet, len);
	struct packet pkt;

	st->d = (struct decision){ .reason = COUNTER_not_for_us };
	if (simnat_is_queued(&st->sim, &st->conf, stage_side(st, t), t))
		st->d = alg_packet(st->alg, data, len, stage_side(st, t),
				   st->now_ms);
	/* The original is never written to */
	stage_need(!memcmp(data, st->packet, len));
	st->left = (struct span){ 0 };
	st->lost = st->d.drop;
	if (st->lost)
		return;
	if (st->d.data) {
		data = st->d.data;
		len = st->d.len;
		stage_need(stage_sums_ok(data, len));
	}
	stage_need(len <= sizeof(st->out));
	memcpy(st->out, data, len);
	stage_need(packet_parse(st->out, len, &pkt) == PACKET_OK &&
		   tuple_eq(&pkt.tuple, t));
	st->lost = simnat_pass(&st->sim, stage_side(st, t), t, &st->t);
	if (st->lost)
		return;
	translate(&pkt, st->out, &st->t);
	stage_need(stage_sums_ok(st->out, len));
	st->left = pkt.payload;
}

/** stage_pass() - The same with a UDP packet */
static inline void stage_pass(struct stage *st, const struct tuple *t,
			      struct span payload)
{
	stage_through(st, t, stage_packet(t, payload, st->packet));
}

/** stage_send() - The same by text: stage_send(st, "192.168.1.10:5060",
 * "198.51.100.1:5060", "OPTIONS ...") */
static inline struct span stage_send(struct stage *st, const char *src,
				     const char *dst, const char *payload)
{
	struct tuple t = { .src = stage_end(src),
			   .dst = stage_end(dst),
			   .proto = IPPROTO_UDP };

	stage_pass(st, &t, span_from_str(payload));
	return st->left;
}

static inline uint64_t stage_count(const struct stage *st, enum counter c)
{
	return st->alg->counters.value[c];
}

#endif
