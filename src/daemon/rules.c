/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 *	raw PREROUTING ... -> SIPALGD -> SIPALGD-LAN -> NFQUEUE
 *	                              -> SIPALGD-WAN -> NFQUEUE
 *
 * The jump is the last rule of PREROUTING: what NFQUEUE takes never sees the
 * rest of the table, so that admins' own drops (anti-spoofing, Docker's) must
 * come before it.
 *
 * iptables-restore --noflush empties a chain that is declared (":NAME -"), so
 * our chains can be written again and again; but it has no "add unless there",
 * and any command that would depend on what is there fails, which undoes its
 * table block and ends the run. The jump makes use of just that: the second
 * block deletes SIPALGD and builds it anew with the jump. A chain that is
 * jumped to cannot be deleted. So where the jump is missing the block adds it,
 * and where it is not the block fails as a whole, with the first block, the
 * rules themselves, already in force. Tried with iptables-nft and
 *-legacy 1.8.9.
 */
#include "daemon/rules.h"

#include <errno.h>
#include <stddef.h>

#include "kernel/mark.h"

#define OURS "-m comment --comment sipalgd"
/* These change with no version and no configuration: =remove must find them */
#define HOOK "PREROUTING " OURS " -j SIPALGD"
#define MEDIA_HOOK "PREROUTING " OURS " -j SIPALGD-MEDIA"

/* xt_multiport's XT_MULTI_PORTS; a range takes two places */
#define MULTIPORT_MAX 15

/* Which packets go to the queue: a row more is a rule more */
struct row {
	const char *chain, *extra, *protocol, *match;
	size_t ports;
	const char *reason;
};

static const struct row rows[] = {
	{ "SIPALGD-LAN", "", "udp", "--ports", offsetof(struct conf, sip.ports),
	  "phones, to a SIP port or from one" },
	{ "SIPALGD-LAN", "", "udp", "--sports",
	  offsetof(struct conf, sip.signalling_ports),
	  "phones that answer to a port that is no SIP port" },
	{ "SIPALGD-LAN", "-m addrtype --dst-type LOCAL ", "udp", "--dports",
	  offsetof(struct conf, sip.signalling_ports),
	  "phones to each other, at their public ports" },
	{ "SIPALGD-WAN", "", "udp", "--dports",
	  offsetof(struct conf, sip.signalling_ports),
	  "to phones, at the ports that this daemon gave them" },
	{ "SIPALGD-WAN", "", "udp", "--sports",
	  offsetof(struct conf, sip.ports),
	  "to phones, at ports that MASQUERADE gave them before it ran" },
};

/* Those of the mangle table, for each outside interface */
static const struct row media_row = {
	"SIPALGD-MEDIA",
	"-m conntrack --ctstate NEW ",
	"udp",
	"--dports",
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

static void print_chains(FILE *out)
{
	fputs(":SIPALGD - [0:0]\n", out);
	for (size_t i = 0; i < COUNT(directions); i++)
		fprintf(out, ":%s - [0:0]\n", directions[i].chain);
}

/* Contents of the chain SIPALGD: who goes where */
static void print_dispatch(const struct conf *conf, FILE *out)
{
	fprintf(out, "-A SIPALGD -m mark --mark 0x%x/0x%x " OURS " -j RETURN\n",
		MARK_OWN, MARK_OWN_MASK);
	for (size_t i = 0; i < COUNT(directions); i++) {
		const struct conf_names *list =
			(const void *)((const char *)conf +
				       directions[i].names);

		for (unsigned int k = 0; k < list->count; k++)
			fprintf(out, "-A SIPALGD -i %s " OURS " -j %s\n",
				list->name[k], directions[i].chain);
	}
}

static void print_queue(const struct conf *conf, FILE *out)
{
	unsigned int first = conf->queue.number;

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
		      const char *before, FILE *out)
{
	const struct ports *p = (const void *)((const char *)conf + row->ports);
	unsigned int places = 0;

	for (unsigned int i = 0; i < p->count; i++) {
		bool is_range = p->range[i].first != p->range[i].last;
		unsigned int need = is_range ? 2 : 1;

		if (i && places + need > MULTIPORT_MAX) {
			print_queue(conf, out);
			places = 0;
		}
		if (!places)
			fprintf(out,
				"-A %s %s%s-p %s " OURS " -m multiport %s ",
				row->chain, before, row->extra, row->protocol,
				row->match);
		fprintf(out, "%s%u", places ? "," : "", p->range[i].first);
		if (is_range)
			fprintf(out, ":%u", p->range[i].last);
		places += need;
	}
	print_queue(conf, out);
}

static bool has_media(const struct conf *conf)
{
	return conf->media.enabled && conf->media.source != CONF_SOURCE_STRICT;
}

static void print_media(const struct conf *conf, FILE *out)
{
	const struct conf_names *wan = &conf->gateway.wan_interfaces;
	char before[CONF_NAME_MAX + 64];

	fputs(":SIPALGD-MEDIA - [0:0]\n", out);
	for (unsigned int i = 0; i < wan->count; i++) {
		snprintf(before, sizeof(before), "-i %s ", wan->name[i]);
		print_row(conf, &media_row, before, out);
	}
}

static void print_apply(const struct conf *conf, FILE *out)
{
	fputs("*raw\n", out);
	print_chains(out);
	print_dispatch(conf, out);
	for (size_t i = 0; i < COUNT(rows); i++) {
		fprintf(out, "# %s\n", rows[i].reason);
		print_row(conf, &rows[i], "", out);
	}
	fputs("COMMIT\n", out);
	if (has_media(conf)) {
		fprintf(out, "# %s\n*mangle\n", media_row.reason);
		print_media(conf, out);
		fputs("COMMIT\n*mangle\n-F SIPALGD-MEDIA\n"
		      "-X SIPALGD-MEDIA\n",
		      out);
		print_media(conf, out);
		fputs("-A " MEDIA_HOOK "\nCOMMIT\n", out);
	}
	fputs("# The jump. Where it is in place already, this block fails and "
	      "changes nothing.\n"
	      "*raw\n"
	      "-F SIPALGD\n"
	      "-X SIPALGD\n"
	      ":SIPALGD - [0:0]\n",
	      out);
	print_dispatch(conf, out);
	fputs("-A " HOOK "\nCOMMIT\n", out);
}

/* Declared before they are deleted, so that one that is missing is no error */
static void print_remove(const struct conf *conf, FILE *out)
{
	fputs("*raw\n-D " HOOK "\n", out);
	print_chains(out);
	fputs("-X SIPALGD\n", out);
	for (size_t i = 0; i < COUNT(directions); i++)
		fprintf(out, "-X %s\n", directions[i].chain);
	fputs("COMMIT\n", out);
	if (has_media(conf))
		fputs("*mangle\n-D " MEDIA_HOOK "\n"
		      ":SIPALGD-MEDIA - [0:0]\n-X SIPALGD-MEDIA\nCOMMIT\n",
		      out);
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
