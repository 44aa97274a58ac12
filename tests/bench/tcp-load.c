/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SIP transactions over TCP, as many as get through.
 *
 *	tcp-load server ADDRESS PORT
 *	tcp-load client FIRST-ADDRESS ADDRESS PORT [-c CONNECTIONS]
 *		[-n IN-FLIGHT] [-s SECONDS] [-w WARM-UP-SECONDS] [-p PID]
 *
 * Theory of operation
 *
 * Each connection is a phone with an address of its own (FIRST-ADDRESS and
 * those that follow) and keeps IN-FLIGHT requests on the way; each request and
 * each answer is one write. A request is an OPTIONS whose Via, From and Contact
 * name the phone's address and the connection's port; the answer carries Via
 * and From back, as a SIP server does.
 *
 * Every message is compared byte for byte. The server knows some forms of a
 * request (enum seen) and says in its answer (X-Seen) which of them came. The
 * phone accepts but one form of the answer: with its own Via and From. So
 * whatever was rewritten was restored, in order, and nothing else changed.
 *
 * The client prints one line of JSON.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1024
#define MAX_EVENTS 256
#define MESSAGE_ROOM 2048
/* More than can be in flight */
#define IN_ROOM 65536
#define MAX_IN_FLIGHT (IN_ROOM / MESSAGE_ROOM)
#define NS_PER_S 1000000000u
#define DRAIN_S 2u
#define STALL_S 5u

/* Each message has a number of this width in several places */
#define MARK "########"
#define DIGITS 8
#define FIRST_NUMBER 10000000u
#define MAX_PLACES 4

/**
 * enum seen - How a request came to the server
 * @UNTOUCHED:	As the phone sent it
 * @REWRITTEN:	Via, Contact and From name the address that the connection comes
 *		from, the first two its port too
 * @BUT_FROM:	Only Via and Contact do: the kernel's own helper, which wants
 *		address and port to match
 */
enum seen { UNTOUCHED, REWRITTEN, BUT_FROM, SEEN };

/* Of one length */
static const char *const seen_name[SEEN] = { "untouched", "rewritten",
					     "but_from_" };

__attribute__((noreturn, format(printf, 1, 2))) static void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("tcp-load: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- messages ---- */

/**
 * struct form - A message that differs from others by its number only
 * @at:	Where the number stands
 */
struct form {
	char text[MESSAGE_ROOM];
	size_t len, at[MAX_PLACES], places;
};

/**
 * struct host - An address and port, as text and number
 */
struct host {
	char addr[INET_ADDRSTRLEN];
	unsigned int port;
};

__attribute__((format(printf, 2, 3))) static void
form_make(struct form *f, const char *format, ...)
{
	va_list args;
	char *mark;
	int len;

	va_start(args, format);
	len = vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(f->text))
		die("a message is too long");
	f->len = (size_t)len;
	f->places = 0;
	for (mark = f->text; (mark = strstr(mark, MARK)); mark += DIGITS)
		f->at[f->places++] = (size_t)(mark - f->text);
}

static void form_number(struct form *f, uint32_t number)
{
	char digits[DIGITS];

	for (int i = DIGITS; i-- > 0; number /= 10)
		digits[i] = (char)('0' + number % 10);
	for (size_t i = 0; i < f->places; i++)
		memcpy(f->text + f->at[i], digits, DIGITS);
}

/* Whether @data begins with this message, whatever its number */
static bool form_is(struct form *f, const char *data, size_t len,
		    uint32_t *number)
{
	if (len < f->len)
		return false;
	*number = 0;
	for (size_t i = 0; i < DIGITS; i++)
		*number = *number * 10 + (uint32_t)(data[f->at[0] + i] - '0');
	form_number(f, *number);
	return !memcmp(f->text, data, f->len);
}

/* @phone: who it is, by the Call-ID; @named: how Via, Contact and, unless @seen
 * says otherwise, From call it
 */
static void make_request(struct form *f, enum seen seen,
			 const struct host *named, const struct host *phone,
			 const struct host *server)
{
	const struct host *from = seen == BUT_FROM ? phone : named;

	form_make(f,
		  "OPTIONS sip:%s:%u;transport=tcp SIP/2.0\r\n"
		  "Via: SIP/2.0/TCP %s:%u;branch=z9hG4bK" MARK "load\r\n"
		  "Max-Forwards: 70\r\n"
		  "From: \"Phone\" <sip:phone@%s>;tag=a73kszlfl\r\n"
		  "To: <sip:provider.example>\r\n"
		  "Call-ID: " MARK "-%u@%s\r\n"
		  "CSeq: " MARK " OPTIONS\r\n"
		  "Contact: \"Phone\" <sip:phone@%s:%u;transport=tcp>"
		  ";+sip.instance=\"<urn:uuid:"
		  "f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n"
		  "Accept: application/sdp\r\n"
		  "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY\r\n"
		  "Supported: replaces, timer, outbound, path\r\n"
		  "Accept-Language: en\r\n"
		  "User-Agent: tcp-load\r\n"
		  "Content-Length: 0\r\n\r\n",
		  server->addr, server->port, named->addr, named->port,
		  from->addr, phone->port, phone->addr, named->addr,
		  named->port);
}

static void make_answer(struct form *f, enum seen seen,
			const struct host *named, const struct host *phone,
			const struct host *server)
{
	const struct host *from = seen == BUT_FROM ? phone : named;

	form_make(f,
		  "SIP/2.0 200 OK\r\n"
		  "Via: SIP/2.0/TCP %s:%u;branch=z9hG4bK" MARK "load\r\n"
		  "From: \"Phone\" <sip:phone@%s>;tag=a73kszlfl\r\n"
		  "To: <sip:provider.example>;tag=37GkEhwl6\r\n"
		  "Call-ID: " MARK "-%u@%s\r\n"
		  "CSeq: " MARK " OPTIONS\r\n"
		  "Contact: <sip:%s:%u;transport=tcp>\r\n"
		  "Accept: application/sdp\r\n"
		  "Allow: INVITE, ACK, CANCEL, OPTIONS, BYE\r\n"
		  "Supported: replaces, timer, outbound, path\r\n"
		  "Server: tcp-load\r\n"
		  "X-Seen: %s\r\n"
		  "Content-Length: 0\r\n\r\n",
		  named->addr, named->port, from->addr, phone->port,
		  phone->addr, server->addr, server->port, seen_name[seen]);
}

/* ---- connections ---- */

/**
 * struct connection - One end of one
 * @request, @answer: On the server each in all forms. On the client one
 *		request; all answers, which differ in what the server saw
 * @last:	The form that came last, and most likely comes next
 * @next:	Client: number of the request that is sent next
 * @due:	Number that comes next
 */
struct connection {
	int fd;
	char in[IN_ROOM];
	size_t in_len;
	struct form request[SEEN], answer[SEEN];
	enum seen last;
	uint32_t next, due;
};

static struct sockaddr_in socket_address(const char *addr, unsigned int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_port = htons((uint16_t)port) };

	if (inet_pton(AF_INET, addr, &sin.sin_addr) != 1)
		die("%s is no IPv4 address", addr);
	return sin;
}

static struct host host_of(const struct sockaddr_in *sin)
{
	struct host host = { .port = ntohs(sin->sin_port) };

	inet_ntop(AF_INET, &sin->sin_addr, host.addr, sizeof(host.addr));
	return host;
}

static struct connection *connection_new(int epoll, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	int one = 1, size = 1 << 20;

	if (!c)
		die("no memory");
	c->fd = fd;
	c->next = c->due = FIRST_NUMBER;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll: %s", strerror(errno));
	return c;
}

static void connection_free(struct connection *c)
{
	close(c->fd);
	free(c);
}

static void write_form(const struct connection *c, const struct form *f)
{
	ssize_t len = send(c->fd, f->text, f->len, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (len != (ssize_t)f->len)
		die("send: %s", len < 0 ? strerror(errno) : "socket is full");
}

/* false at the end of the connection */
static bool read_more(struct connection *c)
{
	ssize_t len = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len,
			   MSG_DONTWAIT);

	if (len < 0 && errno == EAGAIN)
		return true;
	if (len <= 0)
		return false;
	c->in_len += (size_t)len;
	return true;
}

/* Which form, of those that may come, @data begins with; SEEN if it is cut off
 * at the end; what is neither ends the program
 */
static enum seen recognize(struct connection *c, struct form *forms,
			   const char *data, size_t len, size_t *used)
{
	uint32_t number = 0;

	for (unsigned int i = 0; i < SEEN; i++) {
		enum seen seen = (enum seen)((c->last + i) % SEEN);

		if (!form_is(&forms[seen], data, len, &number))
			continue;
		if (number != c->due)
			die("number %u comes where %u is due", number, c->due);
		c->due++;
		c->last = seen;
		*used = forms[seen].len;
		return seen;
	}
	if (memmem(data, len, "\r\n\r\n", 4))
		die("this is neither as it was sent nor as it should be "
		    "rewritten:\n%.*s\nnumber %u, it should be\n%.*s\nor\n%.*s",
		    (int)len, data, c->due, (int)forms[UNTOUCHED].len,
		    forms[UNTOUCHED].text, (int)forms[REWRITTEN].len,
		    forms[REWRITTEN].text);
	return SEEN;
}

static void consume(struct connection *c, size_t used)
{
	c->in_len -= used;
	if (c->in_len)
		memmove(c->in, c->in + used, c->in_len);
}

/* ---- the server ---- */

/* Who this phone is says its first request */
static bool learn_phone(struct connection *c)
{
	struct sockaddr_in sin;
	socklen_t sin_len = sizeof(sin);
	struct host phone = { 0 }, from, server;
	const char *id;

	if (!memmem(c->in, c->in_len, "\r\n\r\n", 4))
		return false;
	id = memmem(c->in, c->in_len, "\r\nCall-ID: ", 11);
	if (!id || sscanf(id, "\r\nCall-ID: %*u-%u@%15[0-9.]", &phone.port,
			  phone.addr) != 2)
		die("no request of ours:\n%.*s", (int)c->in_len, c->in);
	if (getpeername(c->fd, (struct sockaddr *)&sin, &sin_len))
		die("getpeername: %s", strerror(errno));
	from = host_of(&sin);
	if (getsockname(c->fd, (struct sockaddr *)&sin, &sin_len))
		die("getsockname: %s", strerror(errno));
	server = host_of(&sin);
	for (enum seen seen = 0; seen < SEEN; seen++) {
		const struct host *named = seen == UNTOUCHED ? &phone : &from;

		make_request(&c->request[seen], seen, named, &phone, &server);
		make_answer(&c->answer[seen], seen, named, &phone, &server);
	}
	return true;
}

static void serve(struct connection *c)
{
	size_t at = 0, used;

	if (!c->request[0].len && !learn_phone(c))
		return;
	while (at < c->in_len) {
		uint32_t number = c->due;
		enum seen seen = recognize(c, c->request, c->in + at,
					   c->in_len - at, &used);

		if (seen == SEEN)
			break;
		form_number(&c->answer[seen], number);
		write_form(c, &c->answer[seen]);
		at += used;
	}
	consume(c, at);
}

static int run_server(char **argv)
{
	unsigned int port = (unsigned int)strtoul(argv[1], NULL, 10);
	struct sockaddr_in sin = socket_address(argv[0], port);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int epoll = epoll_create1(0), one = 1;
	struct epoll_event events[MAX_EVENTS], event = { .events = EPOLLIN };

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&sin, sizeof(sin)) ||
	    listen(listener, MAX_CONNECTIONS) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		die("listen: %s", strerror(errno));
	puts("ready");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll, events, MAX_EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;

			if (!c) {
				int fd = accept4(listener, NULL, NULL,
						 SOCK_NONBLOCK);

				if (fd >= 0)
					connection_new(epoll, fd);
			} else if (read_more(c)) {
				serve(c);
			} else {
				connection_free(c);
			}
		}
	}
}

/* ---- the client ---- */

/**
 * struct load - What is to be done, and what was
 * @begin_ns:	The measurement begins (warm-up is over)
 * @stop:	No more requests are sent
 */
struct load {
	unsigned int connections, in_flight, pid;
	double seconds, warm_up;
	int epoll;
	struct connection *connection[MAX_CONNECTIONS];
	uint64_t sent, answered[SEEN];
	bool stop;
};

/* CPU time of a process, from the scheduler: all threads; 0 if there is none */
static uint64_t cpu_ns(unsigned int pid)
{
	char path[64 + sizeof(((struct dirent *)0)->d_name)];
	struct dirent *entry;
	uint64_t total = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%u/task", pid);
	dir = pid ? opendir(path) : NULL;
	while (dir && (entry = readdir(dir))) {
		unsigned long long one;
		FILE *f;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%u/task/%s/schedstat", pid,
			 entry->d_name);
		f = fopen(path, "r");
		if (f && fscanf(f, "%llu", &one) == 1)
			total += one;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return total;
}

static void send_request(struct load *load, struct connection *c)
{
	form_number(&c->request[0], c->next++);
	write_form(c, &c->request[0]);
	load->sent++;
}

/* Take in answers; each makes room for the next request */
static void take_answers(struct load *load, struct connection *c)
{
	size_t at = 0, used;

	errno = 0;
	if (!read_more(c))
		die("a connection was closed: %s",
		    errno ? strerror(errno) : "by the server");
	while (at < c->in_len) {
		enum seen seen = recognize(c, c->answer, c->in + at,
					   c->in_len - at, &used);

		if (seen == SEEN)
			break;
		load->answered[seen]++;
		at += used;
		if (!load->stop)
			send_request(load, c);
	}
	consume(c, at);
}

static void wait_and_take(struct load *load, int timeout_ms)
{
	struct epoll_event events[MAX_EVENTS];
	int n = epoll_wait(load->epoll, events, MAX_EVENTS, timeout_ms);

	for (int i = 0; i < n; i++)
		take_answers(load, events[i].data.ptr);
}

static uint64_t answered(const struct load *load)
{
	uint64_t total = 0;

	for (int i = 0; i < SEEN; i++)
		total += load->answered[i];
	return total;
}

/* Run for a time; it must not stand still */
static uint64_t run_for(struct load *load, double seconds)
{
	uint64_t begin = now_ns(), now = begin, last = begin;
	uint64_t end = begin + (uint64_t)(seconds * 1e9);
	uint64_t count = answered(load);

	for (; now < end; now = now_ns()) {
		wait_and_take(load, 10);
		if (answered(load) != count) {
			count = answered(load);
			last = now;
		} else if (now - last > (uint64_t)STALL_S * NS_PER_S) {
			die("no answer for %u s", STALL_S);
		}
	}
	return now - begin;
}

static void open_connection(struct load *load, unsigned int i,
			    const struct sockaddr_in *first,
			    const struct sockaddr_in *to)
{
	struct sockaddr_in sin = *first;
	socklen_t len = sizeof(sin);
	struct host phone, server = host_of(to);
	struct connection *c;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	sin.sin_addr.s_addr = htonl(ntohl(sin.sin_addr.s_addr) + i);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    connect(fd, (const struct sockaddr *)to, sizeof(*to)) ||
	    getsockname(fd, (struct sockaddr *)&sin, &len))
		die("connect: %s", strerror(errno));
	phone = host_of(&sin);
	c = connection_new(load->epoll, fd);
	make_request(&c->request[0], UNTOUCHED, &phone, &phone, &server);
	for (enum seen seen = 0; seen < SEEN; seen++)
		make_answer(&c->answer[seen], seen, &phone, &phone, &server);
	load->connection[i] = c;
}

static void drain(struct load *load)
{
	uint64_t end = now_ns() + (uint64_t)DRAIN_S * NS_PER_S;

	load->stop = true;
	while (answered(load) < load->sent && now_ns() < end)
		wait_and_take(load, 10);
}

/* Connections that stand still, as the phone's TCP sees them */
static void report_missing(const struct load *load)
{
	for (unsigned int i = 0; i < load->connections; i++) {
		const struct connection *c = load->connection[i];
		struct tcp_info info = { 0 };
		struct sockaddr_in sin = { 0 };
		socklen_t len = sizeof(info), sin_len = sizeof(sin);

		if (c->due == c->next)
			continue;
		getsockname(c->fd, (struct sockaddr *)&sin, &sin_len);
		getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len);
		fprintf(stderr,
			"tcp-load: port %u: %u answers are missing from %u on; "
			"%u segments not acknowledged, %u repeated (%u now), "
			"last sent %u ms ago, acknowledgement %u ms, data %u "
			"ms, %zu bytes of an answer\n",
			ntohs(sin.sin_port), c->next - c->due, c->due,
			info.tcpi_unacked, info.tcpi_total_retrans,
			info.tcpi_retransmits, info.tcpi_last_data_sent,
			info.tcpi_last_ack_recv, info.tcpi_last_data_recv,
			c->in_len);
	}
}

static unsigned int number_option(const char *text, unsigned int most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || !*text || value < 1 || value > most)
		die("%s: a number from 1 to %u is needed", text, most);
	return (unsigned int)value;
}

static void read_options(struct load *load, int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "c:n:s:w:p:")) != -1) {
		if (option == 'c')
			load->connections =
				number_option(optarg, MAX_CONNECTIONS);
		else if (option == 'n')
			load->in_flight = number_option(optarg, MAX_IN_FLIGHT);
		else if (option == 's')
			load->seconds = strtod(optarg, NULL);
		else if (option == 'w')
			load->warm_up = strtod(optarg, NULL);
		else if (option == 'p')
			load->pid = number_option(optarg, INT32_MAX);
		else
			exit(2);
	}
}

static int run_client(int argc, char **argv)
{
	struct sockaddr_in first = socket_address(argv[0], 0);
	struct sockaddr_in to = socket_address(
		argv[1], (unsigned int)strtoul(argv[2], NULL, 10));
	static struct load load = {
		.connections = 50, .in_flight = 4, .seconds = 2, .warm_up = 0.3
	};
	uint64_t count, cpu, elapsed_ns;

	read_options(&load, argc - 2, argv + 2);
	load.epoll = epoll_create1(0);
	for (unsigned int i = 0; i < load.connections; i++)
		open_connection(&load, i, &first, &to);
	for (unsigned int i = 0; i < load.connections * load.in_flight; i++)
		send_request(&load, load.connection[i % load.connections]);
	run_for(&load, load.warm_up);
	count = answered(&load);
	cpu = cpu_ns(load.pid);
	elapsed_ns = run_for(&load, load.seconds);
	count = answered(&load) - count;
	cpu = cpu_ns(load.pid) - cpu;
	drain(&load);
	report_missing(&load);
	printf("{\"transactions\": %llu, \"seconds\": %.6f, \"cpu_ns\": %llu",
	       (unsigned long long)count, (double)elapsed_ns / 1e9,
	       (unsigned long long)cpu);
	printf(", \"sent\": %llu", (unsigned long long)load.sent);
	for (int i = 0; i < SEEN; i++)
		printf(", \"%s\": %llu", seen_name[i],
		       (unsigned long long)load.answered[i]);
	printf(", \"request_len\": %zu, \"answer_len\": %zu}\n",
	       load.connection[0]->request[0].len,
	       load.connection[0]->answer[0].len);
	for (unsigned int i = 0; i < load.connections; i++)
		connection_free(load.connection[i]);
	return answered(&load) == load.sent ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "server"))
		return run_server(argv + 2);
	if (argc >= 5 && !strcmp(argv[1], "client"))
		return run_client(argc - 2, argv + 2);
	fprintf(stderr,
		"usage: tcp-load server ADDRESS PORT\n"
		"       tcp-load client FIRST-ADDRESS ADDRESS PORT\n"
		"                [-c CONNECTIONS] [-n IN-FLIGHT] [-s SECONDS]\n"
		"                [-w WARM-UP-SECONDS] [-p PID]\n");
	return 2;
}
