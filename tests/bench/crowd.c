/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thousands of phones, and a server that answers them.
 *
 *	crowd server ADDRESS PORT
 *	crowd phones WHAT FIRST-ADDRESS PHONES ADDRESS PORT
 *		[-c COUNT] [-r MESSAGES-A-SECOND] [-s FIRST-NUMBER]
 *
 * Message number i is sent by phone i % PHONES: FIRST-ADDRESS and those that
 * follow, each at port 5060. They need no address of their own in the system:
 * packets are written with their headers. WHAT:
 *
 *	register	REGISTER of user i, with a Contact
 *	invite		INVITE of call i, with SDP: its RTP port is 10000 + 2 *
 *			(i / PHONES)
 *	subscribe	SUBSCRIBE, Call-ID i
 *	options		OPTIONS, Call-ID i
 *	garbage		bytes that are no SIP, or end in the middle of it
 *
 * The server answers REGISTER, INVITE and SUBSCRIBE with 200, and prints how
 * many messages of each kind came, and how many of them held "10.", by which
 * a phone's address begins, when its standard input ends.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define ROOM 2048
#define SIP_PORT 5060
#define NS_PER_S 1000000000u
#define SOCKET_BUFFER (64 << 20)

__attribute__((noreturn)) static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint32_t read_address(const char *text)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		die(text);
	return ntohl(in.s_addr);
}

/* ---- phones ---- */

/**
 * struct crowd - The phones and what they say
 * @first:	Address of the first one
 */
struct crowd {
	const char *what, *server;
	uint32_t first, phones, to;
	uint16_t port;
	uint32_t count, rate, begin;
};

static int make_sdp(char *buf, size_t cap, const char *host, unsigned int port)
{
	return snprintf(buf, cap,
			"v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\n"
			"t=0 0\r\nm=audio %u RTP/AVP 8\r\n",
			host, host, port);
}

static int make_request(char *buf, size_t cap, const char *method,
			const char *host, const char *server, uint32_t i,
			const char *more, const char *body)
{
	return snprintf(
		buf, cap,
		"%s sip:%s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP %s:5060;rport;branch=z9hG4bK%u\r\n"
		"Max-Forwards: 70\r\nFrom: <sip:u%u@%s>;tag=%u\r\n"
		"To: <sip:u%u@%s>\r\nCall-ID: %u@crowd\r\nCSeq: 1 %s\r\n"
		"Contact: <sip:u%u@%s:5060>\r\nUser-Agent: Crowd/1\r\n%s"
		"Content-Length: %zu\r\n\r\n%s",
		method, server, host, i, i, server, i, i, server, i, method, i,
		host, more, strlen(body), body);
}

static int make_payload(const struct crowd *c, uint32_t i, char *buf,
			size_t cap)
{
	struct in_addr in = { htonl(c->first + i % c->phones) };
	char host[INET_ADDRSTRLEN], body[512] = "";
	const char *method = "OPTIONS", *more = "";

	inet_ntop(AF_INET, &in, host, sizeof(host));
	if (!strcmp(c->what, "garbage"))
		return snprintf(buf, cap,
				i % 2 ? "INVITE sip:%u@x SIP/2.0\r\nVia: SIP/2"
				      : "\x16\x03\x01 %u no SIP \xff\xfe",
				i);
	if (!strcmp(c->what, "register")) {
		method = "REGISTER";
		more = "Expires: 3600\r\n";
	} else if (!strcmp(c->what, "subscribe")) {
		method = "SUBSCRIBE";
		more = "Event: presence\r\nExpires: 3600\r\n";
	} else if (!strcmp(c->what, "invite")) {
		method = "INVITE";
		more = "Content-Type: application/sdp\r\n";
		make_sdp(body, sizeof(body), host, 10000 + 2 * (i / c->phones));
	}
	return make_request(buf, cap, method, host, c->server, i, more, body);
}

static size_t make_packet(const struct crowd *c, uint32_t i, char *buf)
{
	size_t headers = sizeof(struct iphdr) + sizeof(struct udphdr);
	size_t len = (size_t)make_payload(c, i, buf + headers, ROOM - headers);
	struct iphdr ip = { .version = 4,
			    .ihl = 5,
			    .ttl = 64,
			    .protocol = IPPROTO_UDP,
			    .tot_len = htons((uint16_t)(headers + len)),
			    .saddr = htonl(c->first + i % c->phones),
			    .daddr = htonl(c->to) };
	struct udphdr udp = { .source = htons(SIP_PORT),
			      .dest = htons(c->port),
			      .len = htons((uint16_t)(sizeof(udp) + len)) };

	/* No checksum: RFC 768 */
	memcpy(buf, &ip, sizeof(ip));
	memcpy(buf + sizeof(ip), &udp, sizeof(udp));
	return headers + len;
}

static void wait_for_turn(uint64_t begin, const struct crowd *c, uint32_t sent)
{
	uint64_t due, now = now_ns();
	struct timespec ts = { 0 };

	if (!c->rate)
		return;
	due = begin + (uint64_t)sent * NS_PER_S / c->rate;
	if (due <= now)
		return;
	ts.tv_sec = (time_t)((due - now) / NS_PER_S);
	ts.tv_nsec = (long)((due - now) % NS_PER_S);
	nanosleep(&ts, NULL);
}

static void send_all(int fd, struct mmsghdr *msgs, unsigned int n)
{
	unsigned int at = 0;

	while (at < n) {
		int done = sendmmsg(fd, msgs + at, n - at, 0);

		if (done < 0 && errno != ENOBUFS && errno != EAGAIN)
			die("sendmmsg");
		at += done > 0 ? (unsigned int)done : 0;
	}
}

static int run_phones(const struct crowd *c)
{
	static char packet[BATCH][ROOM];
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_addr = { htonl(c->to) } };
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), size = SOCKET_BUFFER;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	uint64_t begin = now_ns();

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	for (uint32_t sent = 0; sent < c->count;) {
		unsigned int n = 0;

		for (; n < BATCH && sent < c->count; n++, sent++) {
			iov[n].iov_base = packet[n];
			iov[n].iov_len =
				make_packet(c, c->begin + sent, packet[n]);
			msgs[n] = (struct mmsghdr){
				.msg_hdr = { .msg_name = &to,
					     .msg_namelen = sizeof(to),
					     .msg_iov = &iov[n],
					     .msg_iovlen = 1 }
			};
		}
		wait_for_turn(begin, c, sent);
		send_all(fd, msgs, n);
	}
	printf("{\"sent\": %u, \"seconds\": %.3f}\n", c->count,
	       (double)(now_ns() - begin) / 1e9);
	return 0;
}

static uint32_t number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end)
		die(text);
	return (uint32_t)value;
}

static int phones_main(int argc, char **argv)
{
	struct crowd c = { .what = argv[2],
			   .first = read_address(argv[3]),
			   .phones = number(argv[4]),
			   .server = argv[5],
			   .to = read_address(argv[5]),
			   .port = (uint16_t)number(argv[6]),
			   .count = 1 };
	int option;

	optind = 7;
	while ((option = getopt(argc, argv, "c:r:s:")) != -1) {
		if (option == 'c')
			c.count = number(optarg);
		else if (option == 'r')
			c.rate = number(optarg);
		else if (option == 's')
			c.begin = number(optarg);
		else
			return 2;
	}
	return run_phones(&c);
}

/* ---- the server ---- */

enum kind { REGISTERS, INVITES, SUBSCRIBES, OTHERS, KINDS };

static const char *const method_of[KINDS] = { "REGISTER ", "INVITE ",
					      "SUBSCRIBE ", "" };
static const char *const kind_name[KINDS] = { "registers", "invites",
					      "subscribes", "others" };

struct server {
	struct in_addr addr;
	char host[INET_ADDRSTRLEN];
	uint16_t port;
	uint64_t came[KINDS], private;
};

static enum kind kind_of(const char *text)
{
	enum kind k = REGISTERS;

	while (strncmp(text, method_of[k], strlen(method_of[k])) != 0)
		k++;
	return k;
}

/* The header line that begins with @name, and its CRLF */
static void copy_line(char **at, const char *end, const char *text,
		      const char *name, const char *tail)
{
	const char *line = strstr(text, name), *eol;

	eol = line ? strstr(line, "\r\n") : NULL;
	if (eol)
		*at += snprintf(*at, (size_t)(end - *at), "%.*s%s\r\n",
				(int)(eol - line), line, tail);
}

static size_t make_answer(const struct server *s, enum kind kind,
			  const char *text, char *buf)
{
	char *at = buf, *end = buf + ROOM, body[512] = "";

	at += snprintf(at, ROOM, "SIP/2.0 200 OK\r\n");
	copy_line(&at, end, text, "Via: ", "");
	copy_line(&at, end, text, "From: ", "");
	copy_line(&at, end, text, "To: ", ";tag=s");
	copy_line(&at, end, text, "Call-ID: ", "");
	copy_line(&at, end, text, "CSeq: ", "");
	if (kind == INVITES) {
		make_sdp(body, sizeof(body), s->host,
			 10000 + 2 * (unsigned int)(s->came[kind] % 20000));
		at += snprintf(at, (size_t)(end - at),
			       "Contact: <sip:s@%s:%u>\r\n"
			       "Content-Type: application/sdp\r\n",
			       s->host, s->port);
	} else {
		copy_line(&at, end, text, "Contact: ", "");
		copy_line(&at, end, text, "Expires: ", "");
	}
	at += snprintf(at, (size_t)(end - at), "Content-Length: %zu\r\n\r\n%s",
		       strlen(body), body);
	return (size_t)(at - buf);
}

static void serve(struct server *s, int fd)
{
	static char in[BATCH][ROOM], out[BATCH][ROOM];
	struct sockaddr_in from[BATCH];
	struct mmsghdr msgs[BATCH], answers[BATCH];
	struct iovec iov[BATCH], iov_out[BATCH];
	unsigned int n_out = 0;
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ in[i], ROOM - 1 };
		msgs[i] = (struct mmsghdr){ .msg_hdr = { .msg_name = &from[i],
							 .msg_namelen = sizeof(
								 from[i]),
							 .msg_iov = &iov[i],
							 .msg_iovlen = 1 } };
	}
	n = recvmmsg(fd, msgs, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		enum kind kind;

		in[i][msgs[i].msg_len] = '\0';
		kind = kind_of(in[i]);
		s->came[kind]++;
		s->private += kind != OTHERS && strstr(in[i], "10.") != NULL;
		if (kind == OTHERS)
			continue;
		iov_out[n_out] =
			(struct iovec){ out[n_out], make_answer(s, kind, in[i],
								out[n_out]) };
		answers[n_out] = (struct mmsghdr){
			.msg_hdr = { .msg_name = &from[i],
				     .msg_namelen = sizeof(from[i]),
				     .msg_iov = &iov_out[n_out],
				     .msg_iovlen = 1 }
		};
		n_out++;
	}
	send_all(fd, answers, n_out);
}

static int run_server(const char *host, const char *port)
{
	struct server s = { .port = (uint16_t)number(port) };
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons(s.port),
				   .sin_addr = { htonl(read_address(host)) } };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = SOCKET_BUFFER;
	struct pollfd fds[2] = { { fd, POLLIN, 0 }, { 0, POLLIN, 0 } };

	snprintf(s.host, sizeof(s.host), "%s", host);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)))
		die("bind");
	puts("ready");
	fflush(stdout);
	while (!fds[1].revents && poll(fds, 2, -1) > 0)
		serve(&s, fd);
	printf("{\"private\": %llu", (unsigned long long)s.private);
	for (int k = 0; k < KINDS; k++)
		printf(", \"%s\": %llu", kind_name[k],
		       (unsigned long long)s.came[k]);
	puts("}");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "server"))
		return run_server(argv[2], argv[3]);
	if (argc >= 7 && !strcmp(argv[1], "phones"))
		return phones_main(argc, argv);
	fprintf(stderr,
		"usage: crowd server ADDRESS PORT\n"
		"       crowd phones register|invite|subscribe|options|garbage"
		" FIRST-ADDRESS PHONES ADDRESS PORT\n"
		"             [-c COUNT] [-r RATE] [-s FIRST-NUMBER]\n");
	return 2;
}
