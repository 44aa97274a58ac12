/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	raw PREROUTING ... -> SIPALGD -> SIPALGD-LAN -> NFQUEUE
 *	                              -> SIPALGD-WAN -> NFQUEUE
 *	raw OUTPUT ... -> SIPALGD-OUT -> CT --notrack
 *
 * The first jump is the last rule of PREROUTING: what NFQUEUE takes never sees
 * the rest of the table, so that admins' own drops (anti-spoofing, Docker's)
 * must come before it. The second is for the TCP segments that the daemon sends
 * itself: they have their translation already.
 *
 * iptables-restore --noflush empties a chain that is declared (":NAME -"), so
 * our chains can be written again and again; but it has no "add unless there",
 * and any command that would depend on what is there fails, which undoes its
 * table block and ends the run. The jumps make use of just that: each has a
 * block that deletes its chain and builds it anew with the jump. A chain that
 * is jumped to cannot be deleted. So where the jump is missing the block adds
 * it, and where it is not the block fails as a whole, with the first block, the
 * rules themselves, already in force. Tried with iptables-nft and -legacy
 * 1.8.9.
 *
 * That ends the run before the next jump is looked at. All come and go
 * together, so it is there as well, unless somebody flushed one chain alone;
 * hence the order: SIP without the last jump is better than no SIP. (The
 * service's sipalgd-rules looks at each.)
 *
 * Every packet between inside and outside walks through here, media too. What
 * iptables-nft makes native expressions of (--dport, --sport, interfaces,
 * marks) costs a third of an xtables match (multiport, comment): ports are
 * written so where they are one range, and what is in chains of ours bears no
 * comment.
 */
#include "daemon/rules.h"

#include <errno.h>
#include <stddef.h>

#include "kernel/mark.h"

#define OURS "-m comment --comment sipalgd"

/* xt_multiport's XT_MULTI_PORTS; a range takes two places */
#define MULTIPORT_MAX 15

/* Which packets go to the queue: a row more is a rule more, or one for each
 * protocol. @side: of the ports, 'd'estination or 's'ource
 */
struct row {
	const char *chain, *extra;
	char side;
	size_t ports;
	const char *reason;
};

static const char *const sip_protocols[] = { "udp", "tcp" };

static const struct row rows[] = {
	{ "SIPALGD-LAN", "", 'd', offsetof(struct conf, sip.ports),
	  "phones, to a SIP port" },
	{ "SIPALGD-LAN", "", 's', offsetof(struct conf, sip.ports),
	  "phones, from a SIP port" },
	{ "SIPALGD-LAN", "", 's', offsetof(struct conf, sip.signalling_ports),
	  "phones that answer to a port that is no SIP port" },
	{ "SIPALGD-LAN", " -m addrtype --dst-type LOCAL", 'd',
	  offsetof(struct conf, sip.signalling_ports),
	  "phones to each other, at their public ports" },
	{ "SIPALGD-WAN", "", 'd', offsetof(struct conf, sip.signalling_ports),
	  "to phones, at the ports that this daemon gave them" },
	{ "SIPALGD-WAN", "", 's', offsetof(struct conf, sip.ports),
	  "to phones, at ports that MASQUERADE gave them before it ran" },
};

/* Those of the mangle table, for each outside interface */
static const struct row media_row = {
	"SIPALGD-MEDIA", " -m conntrack --ctstate NEW", 'd',
	offsetof(struct conf, media.rtp_ports),
	"media from sources that nobody announced (media.source)"
};

/* Which interfaces lead to which rows */
static const struct {
	const char *chain;
	size_t names;
} directions[] = {
	{ "SIPALGD-LAN", offsetof(struct conf, gateway.lan_interfaces) },
	{ "SIPALGD-WAN", offsetof(struct conf, gateway.wan_interfaces) },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A chain of ours that one of the kernel's jumps to. None of this changes with
 * version or configuration, or =remove would not find it
 */
struct jump {
	const char *table, *from, *chain;
};

static const struct jump jump_sip = { "raw", "PREROUTING", "SIPALGD" };
static const struct jump jump_own = { "raw", "OUTPUT", "SIPALGD-OUT" };
static const struct jump jump_media = { "mangle", "PREROUTING",
					"SIPALGD-MEDIA" };

static void print_chain(const char *name, FILE *out)
{
	fprintf(out, ":%s - [0:0]\n", name);
}

/* SIPALGD and what it leads to */
static void print_sip_chains(FILE *out)
{
	print_chain(jump_sip.chain, out);
	for (size_t i = 0; i < COUNT(directions); i++)
		print_chain(directions[i].chain, out);
}

/* Contents of the chain SIPALGD: who goes where */
static void print_dispatch(const struct conf *conf, FILE *out)
{
	fprintf(out, "-A SIPALGD -m mark --mark 0x%x/0x%x -j RETURN\n",
		MARK_OWN, MARK_OWN_MASK);
	for (size_t i = 0; i < COUNT(directions); i++) {
		const struct conf_names *list =
			(const void *)((const char *)conf +
				       directions[i].names);

		for (unsigned int k = 0; k < list->count; k++)
			fprintf(out, "-A SIPALGD -i %s -j %s\n", list->name[k],
				directions[i].chain);
	}
}

static void print_queue(const struct conf *conf, const struct row *row,
			FILE *out)
{
	unsigned int first = conf->queue.number;

	/* Behind the ports, which decide for nearly all packets */
	fputs(row->extra, out);
	if (conf->queue.count == 1)
		fprintf(out, " -j NFQUEUE --queue-num %u --queue-bypass\n",
			first);
	else
		fprintf(out,
			" -j NFQUEUE --queue-balance %u:%u --queue-bypass\n",
			first, first + conf->queue.count - 1);
}

/* The rules of one row: one for every fifteen places that its ports need */
static void print_row(const struct conf *conf, const struct row *row,
		      const char *protocol, const char *before, FILE *out)
{
	const struct ports *p = (const void *)((const char *)conf + row->ports);
	unsigned int places = 0;

	for (unsigned int i = 0; i < p->count; i++) {
		bool is_range = p->range[i].first != p->range[i].last;
		unsigned int need = is_range ? 2 : 1;

		if (i && places + need > MULTIPORT_MAX) {
			print_queue(conf, row, out);
			places = 0;
		}
		if (!places)
			fprintf(out, "-A %s %s-p %s %s--%cport%s ", row->chain,
				before, protocol,
				p->count > 1 ? "-m multiport " : "", row->side,
				p->count > 1 ? "s" : "");
		fprintf(out, "%s%u", places ? "," : "", p->range[i].first);
		if (is_range)
			fprintf(out, ":%u", p->range[i].last);
		places += need;
	}
	print_queue(conf, row, out);
}

/* Media from sources that nobody announced comes to the queue */
static bool has_guests(const struct conf *conf)
{
	return conf->media.enabled && conf->media.source != CONF_SOURCE_STRICT;
}

static bool has_class(const struct conf *conf)
{
	return conf->media.enabled && conf->media.dscp != CONF_DSCP_UNSET;
}

static bool has_media(const struct conf *conf)
{
	return has_guests(conf) || has_class(conf);
}

/* In PREROUTING, where the entry and with it the mark is known already: a chain
 * more in POSTROUTING would be a jump more, which is not added where another of
 * the jumps is in place
 */
static void print_class(const struct conf *conf, FILE *out)
{
	const struct conf_mark *mark = &conf->media.conntrack_mark;

	fprintf(out,
		"-A SIPALGD-MEDIA -p udp -m connmark --mark 0x%x/0x%x "
		"-j DSCP --set-dscp 0x%02x\n",
		mark->value, mark->mask, (unsigned int)conf->media.dscp);
}

static void print_media(const struct conf *conf, FILE *out)
{
	const struct conf_names *wan = &conf->gateway.wan_interfaces;
	char before[CONF_NAME_MAX + 64];

	if (has_class(conf))
		print_class(conf, out);
	if (!has_guests(conf))
		return;
	for (unsigned int i = 0; i < wan->count; i++) {
		snprintf(before, sizeof(before), "-i %s ", wan->name[i]);
		print_row(conf, &media_row, "udp", before, out);
	}
}

static void print_own(const struct conf *conf, FILE *out)
{
	(void)conf;
	fprintf(out,
		"-A SIPALGD-OUT -m mark --mark 0x%x/0x%x -j CT --notrack\n",
		MARK_OWN, MARK_OWN_MASK);
}

static void print_jump(const struct conf *conf, const struct jump *jump,
		       void (*fill)(const struct conf *conf, FILE *out),
		       FILE *out)
{
	fprintf(out, "*%s\n-F %s\n-X %s\n", jump->table, jump->chain,
		jump->chain);
	print_chain(jump->chain, out);
	fill(conf, out);
	fprintf(out, "-A %s " OURS " -j %s\nCOMMIT\n", jump->from, jump->chain);
}

/* What to make of the mark beside, or instead of, media.dscp */
static void print_mark_advice(const struct conf *conf, FILE *out)
{
	const struct conf_mark *mark = &conf->media.conntrack_mark;
	const char *wan = conf->gateway.wan_interfaces.count
				  ? conf->gateway.wan_interfaces.name[0]
				  : "wan0";

	if (!conf->media.enabled || !mark->value)
		return;
	fprintf(out,
		"#\n# Media bears the conntrack mark 0x%x/0x%x. To give it a "
		"class of tc, here 1:10:\n"
		"#  nft add table inet voice\n"
		"#  nft add chain inet voice post "
		"'{ type filter hook postrouting priority mangle; }'\n"
		"#  nft add rule inet voice post "
		"ct mark and 0x%x == 0x%x meta priority set 1:10\n"
		"# or to have its DSCP class minded on the way out:\n"
		"#  tc qdisc replace dev %s root cake bandwidth 20mbit "
		"diffserv4\n#\n",
		mark->value, mark->mask, mark->mask, mark->value, wan);
}

static void print_apply(const struct conf *conf, FILE *out)
{
	print_mark_advice(conf, out);
	fputs("*raw\n", out);
	print_sip_chains(out);
	print_chain(jump_own.chain, out);
	print_dispatch(conf, out);
	for (size_t i = 0; i < COUNT(rows); i++) {
		fprintf(out, "# %s\n", rows[i].reason);
		for (size_t k = 0; k < COUNT(sip_protocols); k++)
			print_row(conf, &rows[i], sip_protocols[k], "", out);
	}
	fputs("# what the daemon sends itself has its translation already\n",
	      out);
	print_own(conf, out);
	fputs("COMMIT\n", out);
	if (has_media(conf)) {
		if (has_class(conf))
			fputs("# the class of media (media.dscp)\n", out);
		if (has_guests(conf))
			fprintf(out, "# %s\n", media_row.reason);
		fputs("*mangle\n", out);
		print_chain(jump_media.chain, out);
		print_media(conf, out);
		fputs("COMMIT\n", out);
		print_jump(conf, &jump_media, print_media, out);
	}
	fputs("# The jumps. Where one is in place already, its block fails, "
	      "changes nothing, and\n# ends the run.\n",
	      out);
	print_jump(conf, &jump_sip, print_dispatch, out);
	print_jump(conf, &jump_own, print_own, out);
}

static void print_unjump(const struct jump *jump, FILE *out)
{
	fprintf(out, "*%s\n-D %s " OURS " -j %s\n", jump->table, jump->from,
		jump->chain);
}

static void print_unjump_alone(const struct jump *jump, FILE *out)
{
	print_unjump(jump, out);
	print_chain(jump->chain, out);
	fprintf(out, "-X %s\nCOMMIT\n", jump->chain);
}

/* Declared before they are deleted, so that one that is missing is no error */
static void print_remove(const struct conf *conf, FILE *out)
{
	print_unjump(&jump_sip, out);
	print_sip_chains(out);
	fprintf(out, "-X %s\n", jump_sip.chain);
	for (size_t i = 0; i < COUNT(directions); i++)
		fprintf(out, "-X %s\n", directions[i].chain);
	fputs("COMMIT\n", out);
	if (has_media(conf))
		print_unjump_alone(&jump_media, out);
	print_unjump_alone(&jump_own, out);
}

int rules_print(const struct conf *conf, enum rules_what what, FILE *out)
{
	static const char *const titles[] = {
		[RULES_IP4] = "iptables-restore --noflush",
		[RULES_IP6] = "ip6tables-restore --noflush",
		[RULES_REMOVE] = "iptables-restore --noflush, or ip6tables-",
	};

	fprintf(out, "# sipalgd, for %s\n", titles[what]);
	/* No row holds an address, so both families read the same */
	if (what == RULES_REMOVE)
		print_remove(conf, out);
	else
		print_apply(conf, out);
	return fflush(out) || ferror(out) ? -EIO : 0;
}
