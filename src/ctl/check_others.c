/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What else in the rules concerns us: marks, helpers, offload, translation. As
 * in check_rules.c others are judged only where they certainly meet our
 * traffic.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/check.h"
#include "ctl/program.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef char text[CHECK_TEXT_MAX];

/* ---- the mark of media ---- */

/* It asks for a conntrack mark, whichever, or hands it on */
static bool rule_uses_mark(const struct rule *rule)
{
	for (unsigned int i = 0; i + 1 < rule->target; i++) {
		if (!strcmp(rule->word[i], "-m") &&
		    !strcmp(rule->word[i + 1], "connmark"))
			return true;
	}
	return rule_option(rule, "--restore-mark");
}

static bool nft_uses_mark(const struct nftrule *rule)
{
	return strstr(rule->text, "ct mark") &&
	       strncmp(strstr(rule->text, "ct mark"), "ct mark set", 11) != 0;
}

/* tc's own: act_connmark and act_ctinfo, and flower's ct_mark */
static bool tc_uses_mark(const char *link)
{
	static const char *const where[] = { "root", "ingress", "egress" };
	bool uses = false;

	for (size_t i = 0; i < COUNT(where); i++) {
		const char *const argv[] = { "tc", "filter", "show", "dev",
					     link, where[i], NULL };
		const struct program tc = { .argv = argv };
		char *said = NULL;

		if (!program_run(&tc, &said))
			uses |= strstr(said, "connmark") ||
				strstr(said, "ctinfo") ||
				strstr(said, "ct_mark");
		free(said);
	}
	return uses;
}

static bool is_mark_used(const struct doctor *d)
{
	bool used = false;

	for (int f = 0; f < CHECK_FAMILIES; f++) {
		for (unsigned int i = 0; i < d->tables[f].sets; i++) {
			const struct ruleset *set = &d->tables[f].set[i];

			for (size_t k = 0; k < set->rules; k++)
				used |= rule_uses_mark(&set->rule[k]);
		}
	}
	for (size_t i = 0; i < d->nft.rules; i++)
		used |= nft_uses_mark(&d->nft.rule[i]);
	for (unsigned int i = 0; i < d->links && !used; i++)
		used = (d->link[i].is_lan || d->link[i].is_wan) &&
		       tc_uses_mark(d->link[i].name);
	return used;
}

/* Where media.dscp is set our own rule uses it, and others look after that */
void check_mark_used(struct doctor *d)
{
	const struct conf_mark *mark = &d->conf->media.conntrack_mark;
	text fix;

	if (!d->conf->media.enabled || !mark->mask ||
	    d->conf->media.dscp != CONF_DSCP_UNSET || is_mark_used(d))
		return;
	snprintf(fix, sizeof(fix),
		 "nft add table inet voice && nft add chain inet voice post "
		 "'{ type filter hook postrouting priority mangle; }' && nft "
		 "add rule inet voice post ct mark and 0x%x == 0x%x meta "
		 "priority set 1:10",
		 mark->mask, mark->value);
	check_found(d, fix,
		    "media bears the conntrack mark 0x%x/0x%x, but no rule of "
		    "iptables, nft or tc looks at it: it gives voice no class "
		    "yet (the command below makes that 1:10 of tc; media.dscp "
		    "sets a class on the packets)",
		    mark->value, mark->mask);
}

/* ---- the kernel's own helper ---- */

/* The ports a rule names are certainly others than ours */
static bool names_other_ports(const struct conf *conf, const struct rule *rule)
{
	const struct traffic out = { .in = &conf->gateway.lan_interfaces,
				     .sport = &conf->sip.signalling_ports,
				     .dport = &conf->sip.ports };
	struct rule ports = { .target = 2, .words = 2 };

	for (unsigned int i = 0; i + 1 < rule->target; i++) {
		if (strncmp(rule->word[i], "--dport", 7) != 0 &&
		    strncmp(rule->word[i], "--sport", 7) != 0)
			continue;
		ports.word[0] = rule->word[i];
		ports.word[1] = rule->word[i + 1];
		ports.target = 3;
		if (!rule_meets(&ports, &out))
			return true;
	}
	return false;
}

static void helper_rule(struct doctor *d, const struct ruleset *set,
			const struct rule *rule)
{
	const char *helper = rule_option(rule, "--helper");
	text fix;

	if (strcmp(rule_target(rule), "CT") != 0 || !helper ||
	    strncmp(helper, "sip", 3) != 0 || names_other_ports(d->conf, rule))
		return;
	check_rule_command(fix, sizeof(fix), set, rule, "-D");
	check_found(d, fix,
		    "the kernel's SIP helper rewrites the same messages: %s "
		    "-A %s %s",
		    rule->table, rule->chain, rule->text);
}

static void helper_nft(struct doctor *d, const struct nftrule *rule)
{
	const struct conf *conf = d->conf;
	struct ports ports;
	text fix;

	if (!nftrule_helper(&d->nft, rule))
		return;
	/* What is no plain number may well be ours: it is for SIP */
	if (nftrule_ports(rule, "dport", &ports) && ports.count &&
	    !ports_overlap(&ports, &conf->sip.ports) &&
	    !ports_overlap(&ports, &conf->sip.signalling_ports))
		return;
	check_nft_delete(fix, sizeof(fix), rule);
	check_found(d, fix,
		    "the kernel's SIP helper rewrites the same messages: nft, "
		    "%s %s %s: %s",
		    rule->family, rule->table, rule->chain, rule->text);
}

/* Ports of nf_conntrack_sip: its parameter, else 5060 */
static bool helper_has_our_ports(const struct conf *conf)
{
	FILE *f = fopen("/sys/module/nf_conntrack_sip/parameters/ports", "re");
	char list[256] = "5060";
	struct ports ports;

	if (f) {
		if (!fgets(list, sizeof(list), f))
			list[0] = '\0';
		fclose(f);
		list[strcspn(list, "\n")] = '\0';
	}
	return !ports_parse(span_from_str(list), &ports) &&
	       (ports_overlap(&ports, &conf->sip.ports) ||
		ports_overlap(&ports, &conf->sip.signalling_ports));
}

/* Kernels before 6.0 assign it by themselves where this is set */
void check_helper(struct doctor *d)
{
	struct stat st;
	long automatic;

	check_each_rule(d, helper_rule);
	check_each_nft(d, helper_nft);
	if (check_sysctl("net/netfilter/nf_conntrack_helper", &automatic) &&
	    automatic && !stat("/sys/module/nf_conntrack_sip", &st) &&
	    helper_has_our_ports(d->conf))
		check_found(d, "sysctl -w net.netfilter.nf_conntrack_helper=0",
			    "the kernel's SIP helper rewrites the same "
			    "messages: nf_conntrack_helper assigns it by "
			    "itself");
}

/* ---- flow offload ---- */

/* OpenWrt makes its rules from this file */
static void offload_fix(char *buf, size_t cap, const char *otherwise)
{
	if (!access("/sbin/fw4", X_OK) || !access("/sbin/fw3", X_OK))
		snprintf(buf, cap,
			 "uci set 'firewall.@defaults[0].flow_offloading=0' && "
			 "uci commit firewall && /etc/init.d/firewall restart");
	else
		snprintf(buf, cap, "%s", otherwise);
}

#define OFFLOADED                                                              \
	"established flows are offloaded and pass the daemon by: only the "    \
	"first messages of a phone are read: "

static void offload_rule(struct doctor *d, const struct ruleset *set,
			 const struct rule *rule)
{
	static const char *const narrow[] = { "-s",	 "-d",	     "--mark",
					      "--dport", "--dports", "--sport",
					      "--sports" };
	text fix, otherwise;

	if (strcmp(rule_target(rule), "FLOWOFFLOAD") != 0)
		return;
	for (unsigned int i = 0; i < rule->target; i++) {
		for (size_t k = 0; k < COUNT(narrow); k++) {
			if (!strcmp(rule->word[i], narrow[k]))
				return;
		}
	}
	check_rule_command(otherwise, sizeof(otherwise), set, rule, "-D");
	offload_fix(fix, sizeof(fix), otherwise);
	check_found(d, fix, OFFLOADED "%s -A %s %s", rule->table, rule->chain,
		    rule->text);
}

static void offload_nft(struct doctor *d, const struct nftrule *rule)
{
	struct ports ports;
	text fix, otherwise;

	if ((!strstr(rule->text, "flow add @") &&
	     !strstr(rule->text, "flow offload @")) ||
	    nftrule_ports(rule, "dport", &ports) ||
	    nftrule_ports(rule, "sport", &ports) ||
	    nftrule_has(rule, "saddr") || nftrule_has(rule, "daddr") ||
	    nftrule_has(rule, "mark"))
		return;
	check_nft_delete(otherwise, sizeof(otherwise), rule);
	offload_fix(fix, sizeof(fix), otherwise);
	check_found(d, fix, OFFLOADED "nft, %s %s %s: %s", rule->family,
		    rule->table, rule->chain, rule->text);
}

void check_offload(struct doctor *d)
{
	check_each_rule(d, offload_rule);
	check_each_nft(d, offload_nft);
}

/* ---- translation of the inside ---- */

/* Whether "-s NETWORK" may mean hosts of @lan */
static bool is_of(const struct check_link *lan, const char *network)
{
	struct network net;

	return network_parse(span_from_str(network), &net) ||
	       network_contains(&net, &lan->addr[CHECK_IP4]);
}

/* May translate what of @lan leaves by @wan: in doubt yes */
static bool translates(const struct rule *rule, const struct check_link *lan,
		       const char *wan)
{
	static const char *const targets[] = { "MASQUERADE", "SNAT", "NETMAP",
					       "SAME" };
	struct conf_names list = { .count = 1 };
	bool is_snat = false;

	snprintf(list.name[0], sizeof(list.name[0]), "%s", wan);
	for (size_t i = 0; i < COUNT(targets); i++)
		is_snat |= !strcmp(rule_target(rule), targets[i]);
	for (unsigned int i = 0; is_snat && i + 1 < rule->target; i++) {
		bool inverted = i && !strcmp(rule->word[i - 1], "!");

		if (!strcmp(rule->word[i], "-o"))
			is_snat = names_overlap(&list, rule->word[i + 1]) !=
				  inverted;
		else if (!strcmp(rule->word[i], "-s") && !inverted)
			is_snat = is_of(lan, rule->word[i + 1]);
	}
	return is_snat;
}

/* "ip saddr 192.168.1.0/24"; sets are not looked into */
static bool nft_is_from(const struct nftrule *rule,
			const struct check_link *lan)
{
	char network[64];
	const char *at = strstr(rule->text, "ip saddr ");

	return !at || sscanf(at, "ip saddr %63[0-9./]", network) != 1 ||
	       is_of(lan, network);
}

/* The text of a rule in a table of nat that says so; zones are not followed */
static bool nft_translates(const struct nftrule *rule,
			   const struct check_link *lan, const char *wan)
{
	char quoted[IF_NAMESIZE + 2];

	if (!strncmp(rule->family, "ip6", 3) || !nft_is_from(rule, lan) ||
	    (!nftrule_has(rule, "masquerade") && !nftrule_has(rule, "snat") &&
	     !strstr(rule->text, "snat to ")))
		return false;
	snprintf(quoted, sizeof(quoted), "\"%s\"", wan);
	return (!strstr(rule->text, "oifname") &&
		!strstr(rule->text, "oif ")) ||
	       strstr(rule->text, quoted) || strchr(rule->text, '*') ||
	       strchr(rule->text, '@') || strstr(rule->text, "!=");
}

static bool is_translated(const struct doctor *d, const struct check_link *lan,
			  const char *wan)
{
	const struct check_tables *tables = &d->tables[CHECK_IP4];

	for (unsigned int i = 0; i < tables->sets; i++) {
		for (size_t k = 0; k < tables->set[i].rules; k++) {
			if (translates(&tables->set[i].rule[k], lan, wan))
				return true;
		}
	}
	for (size_t i = 0; i < d->nft.rules; i++) {
		if (nft_translates(&d->nft.rule[i], lan, wan))
			return true;
	}
	return false;
}

/* The names of those whose private addresses nothing translates; only such
 * need NAT
 */
static const char *list_untranslated(const struct doctor *d, const char *wan,
				     char *buf, size_t cap)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < d->links && len < cap; i++) {
		const struct check_link *l = &d->link[i];

		if (l->is_lan && addr_is_private(&l->addr[CHECK_IP4]) &&
		    !is_translated(d, l, wan))
			len += (size_t)snprintf(buf + len, cap - len, "%s%s",
						len ? ", " : "", l->name);
	}
	return buf;
}

void check_snat(struct doctor *d)
{
	const struct check_tables *tables = &d->tables[CHECK_IP4];
	text fix, list;

	for (unsigned int i = 0; tables->sets && i < d->links; i++) {
		const struct check_link *l = &d->link[i];

		if (!l->is_wan || !addr_is_set(&l->addr[CHECK_IP4]) ||
		    !*list_untranslated(d, l->name, list, sizeof(list)))
			continue;
		snprintf(fix, sizeof(fix),
			 "%s -t nat -A POSTROUTING -o %s -j MASQUERADE",
			 tables->set[0].tool, l->name);
		check_found(d, fix,
			    "nothing translates the addresses behind %s to "
			    "that of %s: no MASQUERADE or SNAT rule",
			    list, l->name);
	}
}
