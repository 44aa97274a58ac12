/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/conf.h"

#include <errno.h>
#include <fnmatch.h>
#include <ifaddrs.h>
#include <stdlib.h>

#include "conf/inifile.h"
#include "conf/value.h"

/* Longest value that conf_print() may write and ini_read() still take, with
 * room for the key and quotes */
#define VALUE_TEXT_MAX 960

static const struct conf_word mode_words[] = {
	{ "active", CONF_MODE_ACTIVE },
	{ "observe", CONF_MODE_OBSERVE },
	{ "bypass", CONF_MODE_BYPASS },
	{ NULL, 0 },
};
static const struct conf_word action_words[] = {
	{ "accept", CONF_ACCEPT },
	{ "drop", CONF_DROP },
	{ NULL, 0 },
};
static const struct conf_word inbound_words[] = {
	{ "registrar", CONF_INBOUND_REGISTRAR },
	{ "any", CONF_INBOUND_ANY },
	{ NULL, 0 },
};
static const struct conf_word source_words[] = {
	{ "strict", CONF_SOURCE_STRICT },
	{ "signalling", CONF_SOURCE_SIGNALLING },
	{ "any", CONF_SOURCE_ANY },
	{ NULL, 0 },
};
static const struct conf_word level_words[] = {
	{ "error", LOG_LEVEL_ERROR },	{ "warning", LOG_LEVEL_WARNING },
	{ "notice", LOG_LEVEL_NOTICE }, { "info", LOG_LEVEL_INFO },
	{ "debug", LOG_LEVEL_DEBUG },	{ NULL, 0 },
};

static int refuse(char *why, const char *text)
{
	snprintf(why, CONF_WHY_MAX, "%s", text);
	return -EINVAL;
}

/* Two entries of interface lists can name the same interface */
static bool names_overlap(const char *a, const char *b)
{
	size_t a_len = strcspn(a, "+"), b_len = strcspn(b, "+");
	size_t common = a_len < b_len ? a_len : b_len;

	if (strncmp(a, b, common))
		return false;
	return (a[a_len] && a_len <= b_len) || (b[b_len] && b_len <= a_len) ||
	       a_len == b_len;
}

static int check_interfaces(const struct conf *conf, char *why)
{
	const struct conf_names *lan = &conf->gateway.lan_interfaces;
	const struct conf_names *wan = &conf->gateway.wan_interfaces;

	for (unsigned int i = 0; i < lan->count; i++) {
		for (unsigned int k = 0; k < wan->count; k++) {
			if (!names_overlap(lan->name[i], wan->name[k]))
				continue;
			snprintf(why, CONF_WHY_MAX,
				 "'%s' and '%s' of gateway.lan_interfaces can "
				 "be the same interface",
				 wan->name[k], lan->name[i]);
			return -EINVAL;
		}
	}
	return 0;
}

static int check_lan_networks(const struct conf *conf, char *why)
{
	const struct conf_networks *lan = &conf->gateway.lan_networks;

	for (unsigned int i = 0; i < lan->count; i++) {
		bool v4 = addr_is_v4(&lan->net[i].addr);

		if (lan->net[i].bits <= (v4 ? 96 : 0))
			return refuse(why, "a /0 network would make every host "
					   "an inside one");
	}
	return 0;
}

static int check_queue_count(const struct conf *conf, char *why)
{
	if (conf->queue.number + conf->queue.count - 1 <= UINT16_MAX)
		return 0;
	return refuse(why, "the last queue, queue.number + queue.count - 1, "
			   "is over 65535");
}

static bool ports_overlap(const struct ports *a, const struct ports *b,
			  unsigned int *port)
{
	for (unsigned int i = 0; i < a->count; i++) {
		for (unsigned int k = 0; k < b->count; k++) {
			unsigned int first = a->range[i].first;

			if (b->range[k].first > first)
				first = b->range[k].first;
			if (first > a->range[i].last ||
			    first > b->range[k].last)
				continue;
			*port = first;
			return true;
		}
	}
	return false;
}

static int check_overlap(const struct ports *a, const struct ports *b,
			 const char *other, char *why)
{
	unsigned int port;

	if (!ports_overlap(a, b, &port))
		return 0;
	snprintf(why, CONF_WHY_MAX, "port %u is also in %s", port, other);
	return -EINVAL;
}

static int check_signalling_ports(const struct conf *conf, char *why)
{
	return check_overlap(&conf->sip.signalling_ports,
			     &conf->media.rtp_ports, "media.rtp_ports", why);
}

static int check_sip_ports(const struct conf *conf, char *why)
{
	return check_overlap(&conf->sip.ports, &conf->media.rtp_ports,
			     "media.rtp_ports", why);
}

/* RTP takes an even port and RTCP the next (RFC 3550 11) */
static int check_rtp_ports(const struct conf *conf, char *why)
{
	const struct ports *p = &conf->media.rtp_ports;

	for (unsigned int i = 0; i < p->count; i++) {
		if ((p->range[i].first + 1u) / 2 * 2 < p->range[i].last)
			return 0;
	}
	return refuse(why, "no even port with its odd neighbour for RTP and "
			   "RTCP");
}

/* The rules know media by its mark alone */
static int check_media_dscp(const struct conf *conf, char *why)
{
	if (conf->media.dscp == CONF_DSCP_UNSET ||
	    conf->media.conntrack_mark.value)
		return 0;
	return refuse(why, "the rules know media by its mark: set "
			   "media.conntrack_mark too, for example to "
			   "0x100/0x100");
}

/* The page is not secret, but nobody outside needs it */
static bool caution_listen(const struct conf *conf, char *why)
{
	static const struct addr any4 = { .byte = {
						  [10] = 0xff, [11] = 0xff } };
	const struct addr *a = &conf->metrics.listen.addr;
	struct ifaddrs *all, *i;
	bool found = false;
	struct addr own;

	if (!conf->metrics.listen.port)
		return false;
	if (!addr_is_set(a) || addr_eq(a, &any4)) {
		snprintf(why, CONF_WHY_MAX,
			 "the page is for everybody, also on the outside; an "
			 "inside or loopback address is enough");
		return true;
	}
	if (getifaddrs(&all))
		return false;
	for (i = all; i && !found; i = i->ifa_next) {
		found = conf_interface_matches(&conf->gateway.wan_interfaces,
					       i->ifa_name) &&
			addr_from_sockaddr(i->ifa_addr, &own) &&
			addr_eq(a, &own);
		if (found)
			snprintf(why, CONF_WHY_MAX,
				 "that is an address of the outside (%.*s); an "
				 "inside or loopback address is enough",
				 CONF_NAME_MAX, i->ifa_name);
	}
	freeifaddrs(all);
	return found;
}

/*
 * The sample and parts of the manual are made from this table (docs/options.c).
 * The last column of ROW is what --check says where a key is set that does
 * nothing yet.
 */
#define ROW(section_, key_, type_, initial_, help_, pending_)                  \
	ROW_AT(section_, key_, section_.key_, type_, initial_, help_, pending_)
#define ROW_AT(section_, key_, member_, type_, initial_, help_, pending_)      \
	.option = { #section_, #key_, initial_, help_, pending_, NULL },       \
	.type = &conf_type_##type_, .offset = offsetof(struct conf, member_)
/* One that must be given */
#define ROW_NEEDED(section_, key_, type_, example_, help_)                     \
	.option = { #section_, #key_, NULL, help_, NULL, example_ },           \
	.type = &conf_type_##type_,                                            \
	.offset = offsetof(struct conf, section_.key_)
#define LIMITS(min_, max_, unit_) .min = (min_), .max = (max_), .unit = (unit_)

/* Never opened from outside whatever a message announces: with these, a page
 * in a browser that makes its host send something like SIP would reach
 * services behind the NAT ("NAT slipstreaming", Kamkar 2020) */
#define RESERVED_PORTS                                                         \
	"0-1023,1433,1521,2049,2375-2376,3128,3306,3389,5060-5061,5432,"       \
	"5900-5901,5985-5986,6379,8080,8443,9100,9200,11211,27017"

/* clang-format off: a table reads as one */
static const struct conf_row rows[] = {
	{ ROW_NEEDED(gateway, lan_interfaces, interfaces, "lan0",
		     "Interfaces of the inside; wg+ stands for all that begin "
		     "with wg") },
	{ ROW_NEEDED(gateway, wan_interfaces, interfaces, "wan0",
		     "Interfaces of the outside"),
	  .check = check_interfaces, .with = "gateway.lan_interfaces" },
	{ ROW(gateway, lan_networks, networks, "auto",
	      "Networks of inside hosts; auto: those of the LAN interfaces and "
	      "of the routes through them",
	      NULL),
	  .check = check_lan_networks },
	{ ROW(gateway, public_address, address, "auto",
	      "Source address that NAT gives to what leaves; auto: what the "
	      "kernel's routing says for each flow, as MASQUERADE does",
	      NULL) },
	{ ROW(gateway, advertised_address, address, "",
	      "Address to write into SIP instead, where the gateway is itself "
	      "behind a 1:1 NAT",
	      NULL) },
	{ ROW(gateway, mode, word, "active",
	      "active, observe (decide and report, change nothing) or bypass "
	      "(accept untouched)",
	      NULL),
	  .words = mode_words },

	{ ROW(queue, number, number, "5060", "First NFQUEUE", NULL),
	  LIMITS(0, 65535, "(a queue)") },
	{ ROW(queue, count, number, "1", "Queues, one worker thread each",
	      "the queues are served by one thread in this version"),
	  LIMITS(1, CONF_MAX_QUEUES, "queues"), .check = check_queue_count,
	  .with = "queue.number" },
	{ ROW(queue, max_length, number, "8192",
	      "Packets that the kernel may hold in a queue", NULL),
	  LIMITS(1, 1048576, "packets") },

	{ ROW(sip, ports, ports, "5060", "SIP ports on the outside", NULL),
	  .min = 1, .check = check_sip_ports, .with = "media.rtp_ports" },
	{ ROW(sip, signalling_ports, ports, "5060-5999",
	      "Public ports for phones' signalling, of UDP and of TCP", NULL),
	  .min = 1, .check = check_signalling_ports,
	  .with = "media.rtp_ports" },
	{ ROW(sip, on_malformed, word, "accept",
	      "What becomes of SIP that cannot be understood: accept "
	      "(untouched) "
	      "or drop; over TCP it is always accepted",
	      NULL),
	  .words = action_words },
	{ ROW(sip, max_message, number, "65535",
	      "Longest message in bytes; longer ones pass untouched", NULL),
	  LIMITS(512, 65535, "bytes") },
	{ ROW(sip, map_from_to, yesno, "yes",
	      "Map From and To where their host is the inside host's own "
	      "address",
	      NULL) },
	{ ROW(sip, keep_registrations, yesno, "yes",
	      "Hold the signalling mapping (of UDP) for as long as the "
	      "registration lasts",
	      NULL) },
	{ ROW(sip, inbound_from, inbound, "registrar",
	      "Who may reach a phone's public signalling port: registrar "
	      "(hosts "
	      "it has a registration, a call or a flow with), any, or a list "
	      "of "
	      "networks",
	      NULL),
	  .words = inbound_words },
	{ ROW(sip, dscp, dscp, "",
	      "DSCP class to set on SIP packets: ef, af41, cs3 or a number; "
	      "empty: leave",
	      NULL) },

	{ ROW(media, enabled, yesno, "yes",
	      "Rewrite SDP and open mappings for media", NULL) },
	{ ROW(media, rtp_ports, ports, "16384-32767",
	      "Public UDP ports for media, apart from sip.ports and "
	      "sip.signalling_ports",
	      NULL),
	  .min = 1, .check = check_rtp_ports },
	{ ROW(media, source, word, "strict",
	      "Who may send media: strict (only the remote that was "
	      "announced), "
	      "signalling (also the host that signals) or any",
	      NULL),
	  .words = source_words },
	{ ROW_AT(media, timeout, media.timeout_s, number, "180",
		 "Seconds without traffic after which the mapping of a "
		 "finished or lost call goes",
		 NULL),
	  LIMITS(5, 86400, "seconds") },
	{ ROW(media, conntrack_mark, mark, "0",
	      "VALUE/MASK put on the conntrack mark of media, so that tc and "
	      "nft "
	      "can give voice its class; 0: leave",
	      NULL) },
	{ ROW(media, dscp, dscp, "",
	      "DSCP class for media, set by the printed rules on that mark, "
	      "which it needs; empty: leave",
	      NULL),
	  .check = check_media_dscp, .with = "media.conntrack_mark" },
	{ ROW(media, keep_local, yesno, "yes",
	      "Keep media of calls between inside hosts inside", NULL) },
	{ ROW(media, reserved_ports, ports, RESERVED_PORTS,
	      "Inside ports that are never opened: services that a forged "
	      "message must not reach (NAT slipstreaming)",
	      NULL) },

	{ ROW(bypass, phones, networks, "",
	      "Inside networks that are left alone", NULL) },
	{ ROW(bypass, peers, networks, "",
	      "Outside networks that are left alone", NULL) },
	{ ROW(bypass, user_agents, globs, "",
	      "User-Agent patterns (* and ?) whose senders are left alone",
	      NULL) },

	{ ROW(control, socket, path, "/run/sipalgd/control.sock",
	      "Socket for sipalgctl, an absolute path", NULL) },
	{ ROW(control, group, group, "sipalg", "Group that may use the socket",
	      NULL) },

	{ ROW(metrics, listen, endpoint, "",
	      "ADDRESS:PORT for a Prometheus page, or PORT alone for "
	      "127.0.0.1; "
	      "empty: off",
	      NULL),
	  .caution = caution_listen },

	{ ROW(log, level, word, "info",
	      "Show lines of this severity and graver: error, warning, notice, "
	      "info or debug",
	      NULL),
	  .words = level_words },

	{ ROW(state, directory, path, CONF_STATE_DEFAULT,
	      "What is kept over a restart, beside the kernel's own table",
	      NULL) },

	{ ROW(limits, flows, number, "65536",
	      "Flows that are known at a time, and as many TCP connections",
	      NULL),
	  LIMITS(1, 16777216, "flows") },
	{ ROW(limits, registrations, number, "100000",
	      "Registrations that are known at a time", NULL),
	  LIMITS(1, 16777216, "registrations") },
	{ ROW(limits, calls, number, "20000", "Calls that are known at a time",
	      NULL),
	  LIMITS(1, 16777216, "calls") },
	{ ROW(limits, rate_per_phone, number, "200",
	      "Messages a second from one phone, and as many at once", NULL),
	  LIMITS(1, 1000000, "messages a second") },
	{ ROW(limits, on_excess, word, "accept",
	      "What becomes of messages over the rate: accept (untouched) or "
	      "drop",
	      NULL),
	  .words = action_words },
};
/* clang-format on */

#define ROWS (sizeof(rows) / sizeof(rows[0]))

/* A loading in progress */
struct loading {
	const char *path;
	FILE *report;
	unsigned int errors;
	struct ini_file file;
};

static void say(struct loading *l, unsigned int line, const char *key,
		const char *severity, const char *why)
{
	if (!l->report)
		return;
	if (line)
		fprintf(l->report, "%s:%u: %s: %s%s\n", l->path, line, key,
			severity, why);
	else
		fprintf(l->report, "%s: %s: %s%s\n", l->path, key, severity,
			why);
}

static void file_problem(void *ctx, unsigned int line, const char *key,
			 const char *why)
{
	struct loading *l = ctx;

	l->errors++;
	say(l, line, key, "", why);
}

static void option_name(const struct conf_option *o, char *buf, size_t cap)
{
	snprintf(buf, cap, "%s.%s", o->section, o->key);
}

static unsigned int option_line(const struct loading *l, const char *section,
				const char *key)
{
	const struct ini_entry *e = ini_find(&l->file, section, key);

	return e ? e->line : 0;
}

static void option_problem(struct loading *l, const struct conf_row *row,
			   unsigned int line, const char *why)
{
	char name[2 * CONF_NAME_MAX];

	/* Nowhere in the file: where it would have been */
	if (!line)
		line = option_line(l, row->option.section, "");
	option_name(&row->option, name, sizeof(name));
	file_problem(l, line ? line : 1, name, why);
}

/* The line to blame where two keys do not go together: the later */
static unsigned int check_line(const struct loading *l,
			       const struct conf_row *row)
{
	const struct conf_option *o = &row->option;
	unsigned int line = option_line(l, o->section, o->key), with;
	char section[CONF_NAME_MAX];
	size_t dot;

	if (!row->with)
		return line;
	dot = strcspn(row->with, ".");
	snprintf(section, sizeof(section), "%.*s", (int)dot, row->with);
	with = option_line(l, section, row->with + dot + 1);
	return with > line ? with : line;
}

/* A right key in the wrong section is nearer than the reverse */
static const struct conf_option *option_nearest(const struct ini_entry *e)
{
	const struct conf_option *nearest = &rows[0].option;
	unsigned int least = UINT32_MAX;

	for (size_t i = 0; i < ROWS; i++) {
		const struct conf_option *o = &rows[i].option;
		unsigned int d = span_distance(e->section, o->section);

		if (e->key[0])
			d += 2 * span_distance(e->key, o->key);
		if (d < least) {
			least = d;
			nearest = o;
		}
	}
	return nearest;
}

static bool entry_is_known(const struct ini_entry *e)
{
	for (size_t i = 0; i < ROWS; i++) {
		if (!strcmp(e->section, rows[i].option.section) &&
		    (!e->key[0] || !strcmp(e->key, rows[i].option.key)))
			return true;
	}
	return false;
}

static void unknown_report(struct loading *l)
{
	char name[2 * CONF_NAME_MAX], why[CONF_WHY_MAX];

	for (size_t i = 0; i < l->file.count; i++) {
		const struct ini_entry *e = &l->file.entry[i];
		const struct conf_option *o = option_nearest(e);

		if (entry_is_known(e))
			continue;
		if (e->key[0]) {
			snprintf(name, sizeof(name), "%s.%s", e->section,
				 e->key);
			snprintf(why, sizeof(why),
				 "unknown key; did you mean %s.%s?", o->section,
				 o->key);
		} else {
			snprintf(name, sizeof(name), "%s", e->section);
			snprintf(why, sizeof(why),
				 "unknown section; did you mean [%s]?",
				 o->section);
		}
		file_problem(l, e->line, name, why);
	}
}

/* Return: bytes, or as many as @cap if the value does not fit */
static size_t row_text(const struct conf_row *row, const struct conf *conf,
		       char *buf, size_t cap)
{
	FILE *out = fmemopen(buf, cap, "w");
	size_t n;

	buf[0] = '\0';
	if (!out)
		return cap;
	setbuf(out, NULL);
	row->type->print(row, conf, out);
	n = ferror(out) ? cap : (size_t)ftell(out);
	fclose(out);
	buf[n < cap ? n : cap - 1] = '\0';
	return n < cap ? n : cap;
}

static int row_parse(const struct conf_row *row, struct span text,
		     struct conf *conf, char *why)
{
	char full[VALUE_TEXT_MAX];
	int err = row->type->parse(row, span_trim(text), conf, why);

	if (!err && row_text(row, conf, full, sizeof(full)) >= sizeof(full))
		err = refuse(why, "the list is too long");
	return err;
}

static void row_warn(struct loading *l, const struct conf_row *row,
		     const char *why)
{
	const struct conf_option *o = &row->option;
	char name[2 * CONF_NAME_MAX];

	option_name(o, name, sizeof(name));
	say(l, option_line(l, o->section, o->key), name, "warning: ", why);
}

/* What is set although it does nothing yet */
static void pending_warn(struct loading *l, const struct conf_row *row,
			 const struct conf *conf)
{
	char text[VALUE_TEXT_MAX], initial[VALUE_TEXT_MAX];
	struct conf defaults;

	conf_init(&defaults);
	row_text(row, &defaults, initial, sizeof(initial));
	row_text(row, conf, text, sizeof(text));
	if (strcmp(text, initial))
		row_warn(l, row, row->option.pending);
}

static void row_load(struct loading *l, const struct conf_row *row,
		     struct conf *conf, bool *bad)
{
	const struct conf_option *o = &row->option;
	const struct ini_entry *e = ini_find(&l->file, o->section, o->key);
	const char *value = e ? e->value : o->initial;
	char why[CONF_WHY_MAX];
	int err;

	if (value)
		err = row_parse(row, span_from_str(value), conf, why);
	else
		err = refuse(why, "missing: it has no default");
	*bad = err;
	if (err)
		option_problem(l, row, e ? e->line : 0, why);
	else if (e && o->pending)
		pending_warn(l, row, conf);
}

static void rows_load(struct loading *l, struct conf *conf)
{
	bool bad[ROWS];
	char why[CONF_WHY_MAX];

	for (size_t i = 0; i < ROWS; i++)
		row_load(l, &rows[i], conf, &bad[i]);
	for (size_t i = 0; i < ROWS; i++) {
		if (!bad[i] && rows[i].check && rows[i].check(conf, why))
			option_problem(l, &rows[i], check_line(l, &rows[i]),
				       why);
		else if (!bad[i] && rows[i].caution &&
			 rows[i].caution(conf, why))
			row_warn(l, &rows[i], why);
	}
}

void conf_init(struct conf *conf)
{
	char why[CONF_WHY_MAX];

	*conf = (struct conf){ 0 };
	for (size_t i = 0; i < ROWS; i++) {
		const char *initial = rows[i].option.initial;

		/* Only $STATE_DIRECTORY can be wrong, and loading says so */
		if (initial)
			row_parse(&rows[i], span_from_str(initial), conf, why);
	}
}

int conf_load(const char *path, struct conf *conf, FILE *report)
{
	struct loading l = { .path = path, .report = report };
	struct conf loaded;
	int err;

	conf_init(&loaded);
	err = ini_read(path, &l.file, file_problem, &l);
	if (!err) {
		unknown_report(&l);
		rows_load(&l, &loaded);
		if (l.errors)
			err = -EINVAL;
	}
	ini_free(&l.file);
	if (!err)
		*conf = loaded;
	return err;
}

void conf_print(const struct conf *conf, FILE *out)
{
	const char *section = "";
	char text[VALUE_TEXT_MAX];

	for (size_t i = 0; i < ROWS; i++) {
		const struct conf_option *o = &rows[i].option;
		const char *quote;

		if (strcmp(section, o->section))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", o->section);
		section = o->section;
		row_text(&rows[i], conf, text, sizeof(text));
		/* iniparser ends a bare value at ; or # and eats quotes */
		quote = strpbrk(text, ";#'\\") ? "\"" : "";
		fprintf(out, "%s = %s%s%s\n", o->key, quote, text, quote);
	}
}

const char *conf_mode_name(enum conf_mode mode)
{
	const struct conf_word *w = mode_words;

	while (w->number != mode)
		w++;
	return w->word;
}

int conf_mode_parse(const char *word, enum conf_mode *mode)
{
	for (const struct conf_word *w = mode_words; w->word; w++) {
		if (strcmp(w->word, word))
			continue;
		*mode = (enum conf_mode)w->number;
		return 0;
	}
	return -EINVAL;
}

bool conf_interface_matches(const struct conf_names *list, const char *name)
{
	for (unsigned int i = 0; i < list->count; i++) {
		const char *entry = list->name[i];
		size_t len = strcspn(entry, "+");

		if (entry[len] ? !strncmp(entry, name, len)
			       : !strcmp(entry, name))
			return true;
	}
	return false;
}

bool conf_glob_matches(const struct conf_names *globs, struct span text)
{
	char name[4 * CONF_NAME_MAX];

	span_copy(name, sizeof(name), text);
	for (unsigned int i = 0; i < globs->count; i++) {
		if (!fnmatch(globs->name[i], name, 0))
			return true;
	}
	return false;
}

bool conf_networks_contain(const struct conf_networks *list,
			   const struct addr *a)
{
	for (unsigned int i = 0; i < list->count; i++) {
		if (network_contains(&list->net[i], a))
			return true;
	}
	return false;
}

const struct conf_option *conf_option_at(size_t i)
{
	return i < ROWS ? &rows[i].option : NULL;
}

void conf_option_describe(const struct conf_option *option, char *buf,
			  size_t cap)
{
	/* Options are the first members of the rows */
	const struct conf_row *row = (const struct conf_row *)option;

	if (row->type == &conf_type_number)
		snprintf(buf, cap, "%s (%u to %u)", option->help, row->min,
			 row->max);
	else
		snprintf(buf, cap, "%s", option->help);
}
