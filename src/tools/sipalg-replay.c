/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rewriting of sipalgd over a capture file, with a simulated conntrack.
 *
 *	IN.pcap -> frame -> alg_packet() -> simnat_pass() -> translate() ->
 *OUT.pcap
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "sim/simnat.h"
#include "sip/translate.h"
#include "sip/witness.h"
#include "state/alg.h"

#define DEFAULT_CONF SIPALG_SYSCONFDIR "/sipalgd/sipalgd.conf"

/** FRAME_MAX - The longest frame libpcap reads, bytes */
#define FRAME_MAX 262144

/** LINK_MAX - The longest link header we know, VLAN tags included */
#define LINK_MAX 64

/* Ethernet types; the field is the same in cooked captures */
#define TYPE_IP4 0x0800
#define TYPE_IP6 0x86dd
#define TYPE_VLAN 0x8100
#define TYPE_SERVICE_VLAN 0x88a8

/**
 * struct replay - One run
 * @conf_path, @in_path, @out_path, @json: From the command line
 * @public_addr: --public, one a family; .byte zero where not given
 * @link:	Link type of the capture (DLT_...)
 * @n:		Number of the packet in hand, from 1
 * @edits:	What was changed in its messages
 * @link_header, @link_len, @side: Of the last frame that was queued
 * @frame:	What is written
 */
struct replay {
	const char *conf_path, *in_path, *out_path;
	struct addr public_addr[2];
	bool json;
	struct conf conf;
	struct simnat sim;
	struct alg *alg;
	pcap_t *in, *dead;
	pcap_dumper_t *out;
	int link;
	uint64_t n;
	json_t *edits;
	struct pcap_pkthdr header;
	uint8_t link_header[LINK_MAX];
	size_t link_len;
	enum nat_side side;
	uint8_t frame[FRAME_MAX + PACKET_MAX];
};

static const char usage[] = "usage: sipalg-replay [-c FILE] [--public ADDR] "
			    "[--json] IN.pcap OUT.pcap\n";

static const char help[] =
	"\n"
	"Rewrite the SIP in a capture as sipalgd would, with a simulated "
	"kernel.\n"
	"\n"
	"  -c, --config FILE   configuration; default " DEFAULT_CONF "\n"
	"  -p, --public ADDR   public address of the simulated gateway, in "
	"place of\n"
	"                      gateway.public_address; may be given once for "
	"IPv4\n"
	"                      and once for IPv6\n"
	"  -j, --json          one line of JSON a packet on standard output:\n"
	"                      {\"n\", \"action\": "
	"untouched|rewritten|dropped,\n"
	"                      \"reason\", \"edits\": [{\"site\", \"old\", "
	"\"new\"}]}\n"
	"  -V, --version       print the version\n"
	"  -h, --help          print this\n"
	"\n"
	"IN is pcap or pcapng: Ethernet (also with VLAN tags), Linux cooked v1 "
	"and\n"
	"v2, raw IP. OUT is pcap.\n"
	"\n"
	"Packets from gateway.lan_networks (auto: every private network) are "
	"taken\n"
	"for outbound, those to the public address for inbound, others are "
	"none of\n"
	"the gateway's. What OUT holds is what would leave the gateway. "
	"Simulated are\n"
	"  - the rules that select SIP by its ports, and its rewriting, by the "
	"same\n"
	"    code as in sipalgd;\n"
	"  - conntrack: entries made by that code, and by masquerading for all "
	"other\n"
	"    UDP and TCP from inside to outside; their timeouts follow the "
	"time\n"
	"    stamps of the packets;\n"
	"  - TCP: the same reassembly, with segments of the daemon's own; each "
	"is\n"
	"    taken to arrive, and no retransmission is made up;\n"
	"  - NAT by these entries: source of outbound, destination of inbound\n"
	"    packets, media included, with right lengths and checksums.\n"
	"Not simulated: the firewall, routing, fragments and defragmentation, "
	"other\n"
	"protocols than UDP and TCP; such packets are copied as they are. So "
	"are\n"
	"frames that are not IP and packets that the capture has cut short.\n";

static int complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Say why on stderr. Return: 1, the exit status */
static int complain(const char *fmt, ...)
{
	va_list args;

	fputs("sipalg-replay: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return 1;
}

/* ---- frames ---- */

static uint16_t read_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static bool link_is_known(int link)
{
	return link == DLT_EN10MB || link == DLT_LINUX_SLL ||
	       link == DLT_LINUX_SLL2 || link == DLT_RAW || link == DLT_IPV4 ||
	       link == DLT_IPV6;
}

/*
 * Offset of the IP header in a frame; false if it carries no IP.
 *
 *	Ethernet:  dst 6, src 6, type 2, [tag 2, type 2]...
 *	cooked v1: 14 bytes, type 2, [tag 2, type 2]...
 *	cooked v2: type 2, 18 bytes, [tag 2, type 2]...
 */
static bool find_ip(int link, const uint8_t *frame, size_t len, size_t *at)
{
	size_t type_at = 12, end = 14;
	uint16_t type;

	*at = 0;
	if (link == DLT_RAW || link == DLT_IPV4 || link == DLT_IPV6)
		return true;
	if (link == DLT_LINUX_SLL) {
		type_at = 14;
		end = 16;
	} else if (link == DLT_LINUX_SLL2) {
		type_at = 0;
		end = 20;
	}
	if (end > len)
		return false;
	type = read_u16(frame + type_at);
	while (type == TYPE_VLAN || type == TYPE_SERVICE_VLAN) {
		if (end + 4 > len)
			return false;
		type = read_u16(frame + end + 2);
		end += 4;
	}
	*at = end;
	return type == TYPE_IP4 || type == TYPE_IP6;
}

/* ---- one packet ---- */

static enum nat_side side_of(struct replay *r, const struct tuple *t)
{
	if (simnat_ops.is_inside(&r->sim, &t->src.addr))
		return NAT_SIDE_LAN;
	if (simnat_ops.is_own(&r->sim, &t->dst.addr))
		return NAT_SIDE_WAN;
	return NAT_SIDE_OTHER;
}

/* Conntrack and NAT for the packet as it lies in @data; false: dropped */
static bool pass_nat(struct replay *r, uint8_t *data, size_t len)
{
	struct packet pkt;
	struct tuple to;

	if (packet_parse(data, len, &pkt) != PACKET_OK)
		return true;
	if (simnat_pass(&r->sim, side_of(r, &pkt.tuple), &pkt.tuple, &to))
		return false;
	if (!tuple_eq(&pkt.tuple, &to))
		translate(&pkt, data, &to);
	return true;
}

/* Write what the frame has become */
static void put_frame(struct replay *r, const struct pcap_pkthdr *header,
		      const uint8_t *frame, size_t at, const struct decision *d)
{
	struct pcap_pkthdr h = *header;

	memcpy(r->frame, frame, d->data ? at : h.caplen);
	if (d->data) {
		memcpy(r->frame + at, d->data, d->len);
		h.caplen = h.len = (bpf_u_int32)(at + d->len);
	}
	if (pass_nat(r, r->frame + at, h.caplen - at))
		pcap_dump((u_char *)r->out, &h, r->frame);
}

/* Network text as JSON wants it: UTF-8, else escaped */
static json_t *text_of(struct span s)
{
	json_t *text = json_stringn(s.ptr ? s.ptr : "", s.len);
	char escaped[512];

	return text ? text
		    : json_string(log_escape(escaped, sizeof(escaped), s));
}

/* A message was read: in observe mode its edits are what would be done */
static void on_message(void *arg, enum counter reason, const struct flow *flow,
		       enum nat_side side)
{
	struct replay *r = arg;
	const struct edit_list *list = &r->alg->edits;

	(void)flow;
	(void)side;
	if (reason != COUNTER_rewritten && reason != COUNTER_observed)
		return;
	for (unsigned int i = 0; i < list->count; i++) {
		const struct edit *e = &list->edit[i];

		json_array_append_new(r->edits,
				      json_pack("{s:s, s:o, s:o}", "site",
						e->site, "old", text_of(e->old),
						"new", text_of(e->text)));
	}
}

static void put_json(struct replay *r, const struct decision *d)
{
	const char *action = d->drop   ? "dropped"
			     : d->data ? "rewritten"
				       : "untouched";
	json_t *line = json_pack("{s:I, s:s, s:s, s:o}", "n", (json_int_t)r->n,
				 "action", action, "reason",
				 counter_name(d->reason), "edits", r->edits);

	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(line);
	r->edits = json_array();
}

/*
 * A packet of the daemon's own, as it leaves. It gets the link header of the
 * frame at hand; Ethernet's addresses change places if it goes the other way.
 */
static void on_sent(void *arg, const void *packet, size_t len)
{
	struct replay *r = arg;
	struct pcap_pkthdr h = r->header;
	struct packet pkt;
	bool outwards;

	memcpy(r->frame, r->link_header, r->link_len);
	memcpy(r->frame + r->link_len, packet, len);
	if (packet_parse(packet, len, &pkt) == PACKET_OK &&
	    r->link == DLT_EN10MB) {
		outwards = !simnat_ops.is_inside(&r->sim, &pkt.tuple.dst.addr);
		if (outwards != (r->side == NAT_SIDE_LAN)) {
			memcpy(r->frame, r->link_header + 6, 6);
			memcpy(r->frame + 6, r->link_header, 6);
		}
	}
	h.caplen = h.len = (bpf_u_int32)(r->link_len + len);
	pcap_dump((u_char *)r->out, &h, r->frame);
}

/* A connection that began before the capture is like one that is older than
 * the daemon
 */
static void adopt(struct replay *r, const struct packet *pkt,
		  enum nat_side side)
{
	struct nat_entry entry;
	struct tuple to;

	if (pkt->tuple.proto != IPPROTO_TCP || side != NAT_SIDE_LAN ||
	    packet_tcp_flags(pkt) & TH_SYN ||
	    !simnat_ops.find(&r->sim, &pkt->tuple, side, &entry))
		return;
	if (!simnat_pass(&r->sim, side, &pkt->tuple, &to) &&
	    !simnat_ops.find(&r->sim, &pkt->tuple, side, &entry))
		alg_adopt(r->alg, &entry, r->sim.now_ms);
}

static struct decision decide(struct replay *r, const uint8_t *data, size_t len)
{
	enum nat_side side = NAT_SIDE_OTHER;
	struct packet pkt;

	if (packet_parse(data, len, &pkt) == PACKET_OK) {
		side = side_of(r, &pkt.tuple);
		if (!simnat_is_queued(&r->sim, &r->conf, side, &pkt.tuple))
			return (struct decision){ .reason =
							  COUNTER_not_for_us };
		adopt(r, &pkt, side);
	}
	r->side = side;
	return alg_packet(r->alg, data, len, side, r->sim.now_ms);
}

static void replay_frame(struct replay *r, const struct pcap_pkthdr *header,
			 const uint8_t *frame)
{
	struct decision d = { .reason = COUNTER_other_protocol };
	size_t at;

	r->header = *header;
	if (find_ip(r->link, frame, header->caplen, &at)) {
		r->link_len = at < LINK_MAX ? at : 0;
		memcpy(r->link_header, frame, r->link_len);
		d = decide(r, frame + at, header->caplen - at);
	} else {
		at = header->caplen; /* nothing in it to translate */
	}
	if (r->json)
		put_json(r, &d);
	if (!d.drop)
		put_frame(r, header, frame, at, &d);
}

/* ---- the run ---- */

static void set_time(struct replay *r, const struct pcap_pkthdr *header)
{
	uint64_t now_ms = (uint64_t)header->ts.tv_sec * 1000 +
			  (uint64_t)header->ts.tv_usec / 1000;
	uint64_t last_s = r->sim.now_ms / 1000;

	simnat_set_now(&r->sim, now_ms);
	if (r->alg && r->sim.now_ms / 1000 != last_s)
		alg_tick(r->alg, r->sim.now_ms);
	if (r->alg)
		alg_run(r->alg, r->sim.now_ms);
}

static bool begin(struct replay *r)
{
	r->alg = alg_new(&r->conf, &simnat_ops, &r->sim, r->sim.now_ms);
	r->edits = json_array();
	if (!r->alg || !r->edits)
		return false;
	r->alg->connections.offline = true;
	r->alg->listener = (struct alg_listener){ on_message, r };
	return true;
}

static int replay(struct replay *r)
{
	struct pcap_pkthdr *header;
	const u_char *frame;
	int got;

	while ((got = pcap_next_ex(r->in, &header, &frame)) == 1) {
		r->n++;
		if (header->caplen > FRAME_MAX)
			return complain("%s: packet %" PRIu64 " is too long",
					r->in_path, r->n);
		set_time(r, header);
		if (!r->alg && !begin(r))
			return complain("%s", strerror(ENOMEM));
		replay_frame(r, header, frame);
	}
	if (got == PCAP_ERROR)
		return complain("%s: %s", r->in_path, pcap_geterr(r->in));
	if (pcap_dump_flush(r->out) || ferror(pcap_dump_file(r->out)))
		return complain("%s: %s", r->out_path, strerror(errno));
	if (fflush(stdout))
		return complain("standard output: %s", strerror(errno));
	return 0;
}

/* Writing over the file that is being read would end badly */
static bool is_same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return !stat(a, &sa) && !stat(b, &sb) && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino && S_ISREG(sa.st_mode);
}

static int open_files(struct replay *r)
{
	char why[PCAP_ERRBUF_SIZE];

	r->in = pcap_open_offline(r->in_path, why);
	if (!r->in)
		return complain("%s: %s", r->in_path, why);
	r->link = pcap_datalink(r->in);
	if (!link_is_known(r->link))
		return complain("%s: link type %s is not supported", r->in_path,
				pcap_datalink_val_to_name(r->link)
					? pcap_datalink_val_to_name(r->link)
					: "unknown");
	if (is_same_file(r->in_path, r->out_path))
		return complain("%s: is the input file", r->out_path);
	r->dead = pcap_open_dead(r->link, FRAME_MAX);
	if (!r->dead)
		return complain("%s", strerror(ENOMEM));
	r->out = pcap_dump_open(r->dead, r->out_path);
	if (!r->out)
		return complain("%s", pcap_geterr(r->dead));
	return 0;
}

/* ---- what surrounds the gateway ---- */

/* Which of public_addr: 0 for IPv4, 1 for IPv6 */
static int family_index(const struct addr *a)
{
	return addr_is_v4(a) ? 0 : 1;
}

static void set_inside(struct replay *r)
{
	/* RFC 1918, RFC 6598, RFC 4193 */
	static const char *const private[] = { "10.0.0.0/8", "172.16.0.0/12",
					       "192.168.0.0/16",
					       "100.64.0.0/10", "fc00::/7" };
	const struct conf_networks *list = &r->conf.gateway.lan_networks;
	struct network net;

	for (unsigned int i = 0; i < list->count; i++)
		simnat_add_inside(&r->sim, &list->net[i]);
	for (unsigned int i = 0; !list->count && i < 5; i++) {
		network_parse(span_from_str(private[i]), &net);
		simnat_add_inside(&r->sim, &net);
	}
}

static int set_public(struct replay *r)
{
	static const char *const everywhere[] = { "0.0.0.0/0", "::/0" };
	const struct addr *conf = &r->conf.gateway.public_address;
	char text[ADDR_TEXT_MAX];
	struct network net;

	if (addr_is_set(conf) &&
	    !addr_is_set(&r->public_addr[family_index(conf)]))
		r->public_addr[family_index(conf)] = *conf;
	for (int i = 0; i < 2; i++) {
		const struct addr *a = &r->public_addr[i];

		if (!addr_is_set(a))
			continue;
		if (simnat_ops.is_inside(&r->sim, a)) {
			addr_format(a, text);
			return complain("the public address %s is one of the "
					"inside networks: set "
					"gateway.lan_networks",
					text);
		}
		network_parse(span_from_str(everywhere[i]), &net);
		simnat_add_route(&r->sim, &net, a);
	}
	if (!r->sim.route_count)
		return complain("no public address: set gateway.public_address "
				"in %s, or give --public",
				r->conf_path);
	return 0;
}

static int set_up(struct replay *r)
{
	int err = conf_load(r->conf_path, &r->conf, stderr);

	if (err == -EINVAL)
		return 1; /* every problem is reported */
	if (err)
		return complain("%s: %s", r->conf_path, strerror(-err));
	log_set_level(r->conf.log.level);
	if (witness_init())
		return complain("libosip2 does not start");
	simnat_init(&r->sim);
	r->sim.sent = on_sent;
	r->sim.sent_arg = r;
	set_inside(r);
	return set_public(r);
}

static void clean_up(struct replay *r)
{
	alg_free(r->alg);
	json_decref(r->edits);
	simnat_free(&r->sim);
	if (r->out)
		pcap_dump_close(r->out);
	if (r->dead)
		pcap_close(r->dead);
	if (r->in)
		pcap_close(r->in);
	free(r);
}

/* ---- the command line ---- */

static int bad_usage(void)
{
	fputs(usage, stderr);
	return 2;
}

static int read_public(struct replay *r, const char *text)
{
	struct addr a;

	if (addr_parse(span_from_str(text), &a) || !addr_is_unicast(&a)) {
		complain("--public %s: not the address of a host", text);
		return 2;
	}
	r->public_addr[family_index(&a)] = a;
	return 0;
}

/* Return: -1 to go on, else the exit status */
static int read_options(struct replay *r, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "public", required_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int c, err;

	while ((c = getopt_long(argc, argv, "c:p:jVh", options, NULL)) != -1) {
		if (c == 'c') {
			r->conf_path = optarg;
		} else if (c == 'p') {
			err = read_public(r, optarg);
			if (err)
				return err;
		} else if (c == 'j') {
			r->json = true;
		} else if (c == 'V') {
			puts("sipalg-replay " SIPALG_VERSION);
			return 0;
		} else if (c == 'h') {
			printf("%s%s", usage, help);
			return 0;
		} else {
			return bad_usage();
		}
	}
	if (argc - optind != 2)
		return bad_usage();
	r->in_path = argv[optind];
	r->out_path = argv[optind + 1];
	if (r->json && !strcmp(r->out_path, "-")) {
		complain("--json and the packets cannot share standard output");
		return 2;
	}
	return -1;
}

static int run(struct replay *r)
{
	int status = set_up(r);

	if (!status)
		status = open_files(r);
	if (!status)
		status = replay(r);
	return status;
}

int main(int argc, char **argv)
{
	struct replay *r = calloc(1, sizeof(*r));
	int status;

	if (!r)
		return complain("%s", strerror(ENOMEM));
	r->conf_path = DEFAULT_CONF;
	status = read_options(r, argc, argv);
	if (status < 0)
		status = run(r);
	clean_up(r);
	return status;
}
