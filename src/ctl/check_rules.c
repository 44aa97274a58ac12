/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation
 *
 * What our rules should look like is not guessed from what --print-rules says:
 * its text is loaded by the same tool in a network namespace of its own, which
 * goes at once, and what the tool lists there is compared with what it lists
 * here, word by word.
 *
 * Other people's rules are judged only where they certainly meet our traffic,
 * whatever hosts it is between: one that names hosts, marks or sets is meant to
 * be an exception.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/check.h"
#include "ctl/program.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OURS "SIPALGD"

typedef char text[CHECK_TEXT_MAX];

static const char *const family_name[] = { "IPv4", "IPv6" };

static bool is_ours(const char *chain)
{
	return !strncmp(chain, OURS, strlen(OURS));
}

static bool is_builtin(const struct rule *rule)
{
	return !is_ours(rule->chain);
}

/* "iptables-nft -t raw -D PREROUTING ...": its words, quoted for a shell */
void check_rule_command(char *buf, size_t cap, const struct ruleset *set,
			const struct rule *rule, const char *command)
{
	char word[512];

	snprintf(buf, cap, "%s -t %s %s %s", set->tool, rule->table, command,
		 rule->chain);
	for (unsigned int i = 0; i < rule->words; i++) {
		size_t len = strlen(buf);

		snprintf(buf + len, cap - len, " %s",
			 check_quote(word, sizeof(word), rule->word[i]));
	}
}

void check_nft_delete(char *buf, size_t cap, const struct nftrule *rule)
{
	snprintf(buf, cap, "nft delete rule %s %s %s handle %lu", rule->family,
		 rule->table, rule->chain, rule->handle);
}

/* ---- all rules ---- */

/* For each tool's rules of each family */
static void each_set(struct doctor *d,
		     void (*look)(struct doctor *d, enum check_family family,
				  const struct ruleset *set))
{
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		for (unsigned int i = 0; i < d->tables[f].sets; i++)
			look(d, (enum check_family)f, &d->tables[f].set[i]);
	}
}

void check_each_rule(struct doctor *d,
		     void (*look)(struct doctor *d, const struct ruleset *set,
				  const struct rule *rule))
{
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		for (unsigned int i = 0; i < d->tables[f].sets; i++) {
			const struct ruleset *set = &d->tables[f].set[i];

			for (size_t k = 0; k < set->rules; k++)
				look(d, set, &set->rule[k]);
		}
	}
}

/* ---- ours: there, as they should be, and once ---- */

static bool has_ours(const struct ruleset *set)
{
	return ruleset_has_chain(set, "raw", OURS);
}

/* The tool's list of what @wanted makes; false if that cannot be had */
static bool expect(const struct ruleset *set, const char *wanted,
		   struct ruleset *expected)
{
	static const char script[] = "\"$0-restore\" -w 5 --noflush && "
				     "exec \"$0-save\"";
	const char *const argv[] = { "sh", "-c", script, set->tool, NULL };
	const struct program load = { argv, wanted, true };
	char *listed = NULL;
	bool can = wanted && !program_run(&load, &listed) &&
		   !ruleset_read(expected, set->tool, listed);

	free(listed);
	return can;
}

static unsigned int count_rule(const struct ruleset *set,
			       const struct rule *rule)
{
	unsigned int n = 0;

	for (size_t i = 0; i < set->rules; i++) {
		const struct rule *r = &set->rule[i];

		n += !strcmp(r->table, rule->table) &&
		     !strcmp(r->chain, rule->chain) &&
		     !strcmp(r->text, rule->text);
	}
	return n;
}

/* The @n-th rule of a chain, from 0; NULL if it has less */
static const struct rule *rule_at(const struct ruleset *set, const char *table,
				  const char *chain, unsigned int n)
{
	for (size_t i = 0; i < set->rules; i++) {
		const struct rule *r = &set->rule[i];

		if (r->position == n + 1 && !strcmp(r->table, table) &&
		    !strcmp(r->chain, chain))
			return r;
	}
	return NULL;
}

/* Runs @compare where ours are and what they should be is known */
static void each_ours(struct doctor *d,
		      void (*compare)(struct doctor *d,
				      enum check_family family,
				      const struct ruleset *set,
				      const struct ruleset *expected))
{
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		for (unsigned int i = 0; i < d->tables[f].sets; i++) {
			const struct ruleset *set = &d->tables[f].set[i];
			struct ruleset expected = { 0 };

			if (has_ours(set) &&
			    expect(set, d->tables[f].wanted, &expected))
				compare(d, (enum check_family)f, set,
					&expected);
			ruleset_free(&expected);
		}
	}
}

/* The rule that gives media its class, or the jump to it, is not there */
static const char *class_lost(const char *table, const struct ruleset *set,
			      const struct ruleset *expected)
{
	bool is_wanted = false, is_lost = false;

	for (size_t i = 0; i < expected->rules; i++) {
		const struct rule *rule = &expected->rule[i];

		if (strcmp(table, "mangle") != 0 ||
		    strcmp(rule->table, table) != 0)
			continue;
		is_wanted |= !strcmp(rule_target(rule), "DSCP");
		is_lost |= (!strcmp(rule_target(rule), "DSCP") ||
			    is_builtin(rule)) &&
			   !count_rule(set, rule);
	}
	return is_wanted && is_lost ? "; media does not get its class "
				      "(media.dscp)"
				    : "";
}

static void missing_in(struct doctor *d, enum check_family family,
		       const struct ruleset *set,
		       const struct ruleset *expected)
{
	text fix;

	check_own_command(d, fix, sizeof(fix), "rules apply");
	for (size_t i = 0; i < expected->rules; i++) {
		const struct rule *rule = &expected->rule[i];

		if (is_builtin(rule) && !count_rule(set, rule))
			check_found(d, fix,
				    "%s, %s: no jump from %s of table %s to "
				    "%s: somebody has flushed it%s",
				    family_name[family], set->tool, rule->chain,
				    rule->table, rule_target(rule),
				    class_lost(rule->table, set, expected));
	}
	for (size_t i = 0; i + 1 < expected->chains; i += 2) {
		if (is_ours(expected->chain[i + 1]) &&
		    !ruleset_has_chain(set, expected->chain[i],
				       expected->chain[i + 1]))
			check_found(
				d, fix, "%s, %s: table %s has no chain %s%s",
				family_name[family], set->tool,
				expected->chain[i], expected->chain[i + 1],
				class_lost(expected->chain[i], set, expected));
	}
}

/* ---- ours, written for nft by hand ---- */

static bool is_our_queue(const struct conf *conf, const char *numbers)
{
	unsigned int first, last;
	int n = sscanf(numbers, "%u%*[:-]%u", &first, &last);

	if (n < 1)
		return false;
	if (n < 2)
		last = first;
	return first < conf->queue.number + conf->queue.count &&
	       last >= conf->queue.number;
}

static bool nft_queues(const struct conf *conf, const struct nftrule *rule)
{
	static const char *const forms[] = { "queue num ", "queue to ",
					     "queue flags bypass to " };

	for (size_t i = 0; i < COUNT(forms); i++) {
		const char *at = strstr(rule->text, forms[i]);

		if (at && is_our_queue(conf, at + strlen(forms[i])))
			return true;
	}
	return false;
}

static bool family_has_ours(const struct check_tables *tables)
{
	bool found = false;

	for (unsigned int i = 0; i < tables->sets; i++)
		found |= has_ours(&tables->set[i]);
	return found;
}

/* Where there are none of ours somebody may have translated them: those that
 * bring a port of SIP to our queue
 */
static bool is_own_nft(const struct doctor *d, const struct nftrule *rule)
{
	const struct ports *sip = &d->conf->sip.ports;
	struct ports ports;

	for (int f = 0; f < CHECK_FAMILIES; f++) {
		if (family_has_ours(&d->tables[f]))
			return false;
	}
	return nft_queues(d->conf, rule) &&
	       ((nftrule_ports(rule, "dport", &ports) &&
		 ports_overlap(&ports, sip)) ||
		(nftrule_ports(rule, "sport", &ports) &&
		 ports_overlap(&ports, sip)));
}

static const struct nftrule *find_own_nft(const struct doctor *d)
{
	for (size_t i = 0; i < d->nft.rules; i++) {
		if (is_own_nft(d, &d->nft.rule[i]))
			return &d->nft.rule[i];
	}
	return NULL;
}

void check_rules_missing(struct doctor *d)
{
	const struct nftrule *own = find_own_nft(d);
	text fix, apply;

	if (own)
		check_unknown(d, "sipalgd --print-rules",
			      "rules of nftables (%s %s %s) bring SIP to the "
			      "daemon: whether they are those that it needs is "
			      "not known",
			      own->family, own->table, own->chain);
	check_own_command(d, apply, sizeof(apply), "rules apply");
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		const struct check_tables *tables = &d->tables[f];

		if (own || family_has_ours(tables) || !tables->in_use ||
		    (!tables->sets && !tables->no_tool))
			continue;
		fix[0] = '\0';
		if (tables->no_tool)
			check_install(fix, sizeof(fix), "iptables && ");
		strncat(fix, apply, sizeof(fix) - strlen(fix) - 1);
		check_found(d, fix, "%s: no rule brings SIP to the daemon%s%s",
			    family_name[f],
			    d->conf->media.dscp != CONF_DSCP_UNSET
				    ? ", nor gives media its class (media.dscp)"
				    : "",
			    tables->no_tool ? ", and there is no iptables to "
					      "make one"
					    : "");
	}
	each_ours(d, missing_in);
}

static void stale_chain(struct doctor *d, enum check_family family,
			const struct ruleset *set,
			const struct ruleset *expected, const char *table,
			const char *chain)
{
	const struct rule *is, *should;
	unsigned int n = 0;
	text fix;

	do {
		is = rule_at(set, table, chain, n);
		should = rule_at(expected, table, chain, n++);
	} while (is && should && !strcmp(is->text, should->text));
	if (!is && !should)
		return;
	check_found(d, check_own_command(d, fix, sizeof(fix), "rules apply"),
		    "%s, %s: %s is not what the configuration wants: its rule "
		    "%u is \"%s\", not \"%s\"%s",
		    family_name[family], set->tool, chain, n,
		    is ? is->text : "", should ? should->text : "",
		    class_lost(table, set, expected));
}

static void stale_in(struct doctor *d, enum check_family family,
		     const struct ruleset *set, const struct ruleset *expected)
{
	text fix;

	for (size_t i = 0; i + 1 < set->chains; i += 2) {
		const char *table = set->chain[i], *chain = set->chain[i + 1];

		if (!is_ours(chain))
			continue;
		if (ruleset_has_chain(expected, table, chain))
			stale_chain(d, family, set, expected, table, chain);
		else
			check_found(d,
				    check_own_command(d, fix, sizeof(fix),
						      "rules apply"),
				    "%s, %s: %s of table %s is left over from "
				    "an older configuration",
				    family_name[family], set->tool, chain,
				    table);
	}
}

static void unknown_in(struct doctor *d, enum check_family family,
		       const struct ruleset *set)
{
	struct ruleset expected = { 0 };
	text fix;

	if (has_ours(set) && !expect(set, d->tables[family].wanted, &expected))
		check_unknown(d, check_as_root(d, fix, sizeof(fix)),
			      "%s, %s: our rules could not be compared with "
			      "what they should be: that needs sipalgd, a "
			      "network namespace to try them in, and a kernel "
			      "that takes them",
			      family_name[family], set->tool);
	ruleset_free(&expected);
}

void check_rules_stale(struct doctor *d)
{
	each_set(d, unknown_in);
	each_ours(d, stale_in);
}

static void doubled_in(struct doctor *d, enum check_family family,
		       const struct ruleset *set)
{
	text fix;

	for (size_t i = 0; i < set->rules; i++) {
		const struct rule *rule = &set->rule[i];

		if (!is_builtin(rule) || !is_ours(rule_target(rule)) ||
		    count_rule(set, rule) < 2)
			continue;
		check_rule_command(fix, sizeof(fix), set, rule, "-D");
		check_found(d, fix,
			    "%s, %s: %s jumps to %s %u times: each message is "
			    "read as often",
			    family_name[family], set->tool, rule->chain,
			    rule_target(rule), count_rule(set, rule));
		return;
	}
}

static void remove_command(char *buf, size_t cap, const struct ruleset *set)
{
	snprintf(buf, cap,
		 "%s-save | grep -v -e '-[Aj] " OURS "' -e '^:" OURS
		 "' | %s-restore",
		 set->tool, set->tool);
}

/* nft's and the old tables are both asked; those that the service cares for
 * stay
 */
void check_rules_doubled(struct doctor *d)
{
	text fix;

	each_set(d, doubled_in);
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		const struct check_tables *t = &d->tables[f];

		if (t->sets < 2 || !has_ours(&t->set[0]) ||
		    !has_ours(&t->set[1]))
			continue;
		remove_command(fix, sizeof(fix), &t->set[1]);
		check_found(d, fix,
			    "%s: our rules are in the tables of %s and of %s: "
			    "each message is read twice",
			    family_name[f], t->set[0].tool, t->set[1].tool);
	}
}

/* ---- other rules that our traffic meets ---- */

/* Kinds of traffic; SIP first */
enum kind { SIP_OUT, SIP_IN, MEDIA_OUT, MEDIA_IN, KINDS };

static void fill_kinds(const struct conf *conf, struct traffic *kind)
{
	const struct conf_names *lan = &conf->gateway.lan_interfaces;
	const struct conf_names *wan = &conf->gateway.wan_interfaces;
	const struct ports *sip = &conf->sip.ports;
	const struct ports *phones = &conf->sip.signalling_ports;
	static const struct ports unknown; /* meets no rule that names any */

	kind[SIP_OUT] = (struct traffic){ .name = "SIP from the inside",
					  .in = lan,
					  .sport = phones,
					  .dport = sip,
					  .tcp = true };
	kind[SIP_IN] = (struct traffic){ .name = "SIP from the outside",
					 .in = wan,
					 .sport = sip,
					 .dport = phones,
					 .tcp = true };
	kind[MEDIA_OUT] = (struct traffic){ .name = "media from the inside",
					    .in = lan,
					    .sport = &unknown,
					    .dport = &unknown };
	kind[MEDIA_IN] = (struct traffic){ .name = "media from the outside",
					   .in = wan,
					   .sport = &unknown,
					   .dport = &conf->media.rtp_ports };
}

/* A walk through raw PREROUTING */
struct meeting {
	struct doctor *d;
	const struct ruleset *set;
	const struct traffic *traffic;
	enum kind kind;
	bool passed_jump;
	const struct rule *told; /* of it already, for another kind */
};

static bool is_jump(const struct rule *rule)
{
	return !strcmp(rule_target(rule), OURS);
}

static void meet(struct doctor *d, unsigned int kinds,
		 enum ruleset_step (*visit)(void *arg, const struct rule *rule,
					    const struct rule *base))
{
	struct traffic traffic[KINDS];

	fill_kinds(d->conf, traffic);
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		for (unsigned int i = 0; i < d->tables[f].sets; i++) {
			struct meeting m = { .d = d,
					     .set = &d->tables[f].set[i] };

			for (unsigned int k = 0; k < kinds; k++) {
				m.traffic = &traffic[k];
				m.kind = (enum kind)k;
				m.passed_jump = false;
				ruleset_walk(m.set, "raw", "PREROUTING",
					     m.traffic, visit, &m);
			}
		}
	}
}

/* Many rules meet several kinds: told of once */
static bool is_told(struct meeting *m, const struct rule *rule)
{
	bool told = m->told == rule;

	m->told = rule;
	return told;
}

/* What puts the jump where it belongs: before the rule that is in its way, or
 * behind all
 */
static void move_jump(char *buf, size_t cap, const struct ruleset *set,
		      const struct rule *before)
{
	static const char jump[] = "-m comment --comment sipalgd -j " OURS;
	char where[32] = "-A PREROUTING";

	if (before)
		snprintf(where, sizeof(where), "-I PREROUTING %u",
			 before->position);
	snprintf(buf, cap, "%s -t raw -D PREROUTING %s && %s -t raw %s %s",
		 set->tool, jump, set->tool, where, jump);
}

/* Who drops means it. What returns from a chain that was jumped to goes on
 * behind that jump
 */
static bool hides(const struct rule *rule, bool is_first)
{
	static const char *const targets[] = { "ACCEPT", "NFQUEUE", "QUEUE" };

	if (is_first &&
	    (!strcmp(rule_target(rule), "RETURN") || rule_is_goto(rule)))
		return true;

	for (size_t i = 0; i < COUNT(targets); i++) {
		if (!strcmp(rule_target(rule), targets[i]))
			return true;
	}
	return false;
}

static enum ruleset_step on_before(void *arg, const struct rule *rule,
				   const struct rule *base)
{
	struct meeting *m = arg;
	text fix;

	if (is_jump(rule))
		return RULESET_STOP;
	if (!hides(rule, rule == base) || !has_ours(m->set))
		return RULESET_GO_ON;
	if (is_told(m, rule))
		return RULESET_STOP;
	move_jump(fix, sizeof(fix), m->set, base);
	check_found(m->d, fix,
		    "%s does not reach the daemon: rule %u of raw %s comes "
		    "before the jump to " OURS ": %s",
		    m->traffic->name, rule->position, rule->chain, rule->text);
	return RULESET_STOP;
}

void check_rules_shadowed(struct doctor *d)
{
	meet(d, MEDIA_OUT, on_before);
}

static enum ruleset_step on_after(void *arg, const struct rule *rule,
				  const struct rule *base)
{
	struct meeting *m = arg;
	text fix;

	(void)base;
	if (is_jump(rule)) {
		m->passed_jump = true;
		return RULESET_GO_ON;
	}
	if (!m->passed_jump || strcmp(rule_target(rule), "DROP") != 0)
		return RULESET_GO_ON;
	if (is_told(m, rule))
		return RULESET_STOP;
	move_jump(fix, sizeof(fix), m->set, NULL);
	check_found(m->d, fix,
		    "a rule behind the jump to " OURS " is never met by %s, "
		    "which the queue takes before: %s",
		    m->traffic->name, rule->text);
	return RULESET_STOP;
}

void check_rules_after(struct doctor *d)
{
	meet(d, MEDIA_OUT, on_after);
}

static enum ruleset_step on_notrack(void *arg, const struct rule *rule,
				    const struct rule *base)
{
	struct meeting *m = arg;
	const char *target = rule_target(rule);
	text fix;

	(void)base;
	if (is_jump(rule))
		return m->kind < MEDIA_OUT ? RULESET_STOP : RULESET_GO_ON;
	if (strcmp(target, "NOTRACK") != 0 &&
	    (strcmp(target, "CT") != 0 || !rule_option(rule, "--notrack")))
		return RULESET_GO_ON;
	if (is_told(m, rule))
		return RULESET_STOP;
	check_rule_command(fix, sizeof(fix), m->set, rule, "-D");
	check_found(m->d, fix,
		    "%s is not tracked, so that it cannot be translated: %s",
		    m->traffic->name, rule->text);
	return RULESET_STOP;
}

/* What names hosts, interfaces or marks is meant for some traffic only */
static bool nft_is_narrow(const struct nftrule *rule)
{
	static const char *const words[] = { "saddr", "daddr",	 "mark",
					     "iif",   "iifname", "oif",
					     "set",   "oifname", "fib" };

	for (size_t i = 0; i < COUNT(words); i++) {
		if (nftrule_has(rule, words[i]))
			return true;
	}
	return false;
}

/* Its ports, if it names any, are certainly among ours */
static bool nft_meets(const struct nftrule *rule, const struct ports *sport,
		      const struct ports *dport)
{
	struct ports ports;

	if (nftrule_ports(rule, "dport", &ports) &&
	    !ports_overlap(&ports, dport))
		return false;
	return !nftrule_ports(rule, "sport", &ports) ||
	       ports_overlap(&ports, sport);
}

/* It is for UDP or TCP, or for everything */
static bool nft_is_for_all(const struct nftrule *rule)
{
	unsigned long packets, bytes;
	int len = 0;

	sscanf(rule->text, "counter packets %lu bytes %lu %n", &packets, &bytes,
	       &len);
	return nftrule_has(rule, "udp") || nftrule_has(rule, "tcp") ||
	       !strcmp(rule->text + len, "notrack");
}

static void nft_notrack(struct doctor *d, const struct nftrule *rule)
{
	const struct conf *conf = d->conf;
	text fix;
	bool sip =
		nft_meets(rule, &conf->sip.signalling_ports, &conf->sip.ports);

	if (!nftrule_has(rule, "notrack") || nft_is_narrow(rule) ||
	    !nft_is_for_all(rule) ||
	    (!sip &&
	     !nft_meets(rule, &conf->media.rtp_ports, &conf->media.rtp_ports)))
		return;
	check_nft_delete(fix, sizeof(fix), rule);
	check_found(d, fix,
		    "%s is not tracked, so that it cannot be translated: %s %s "
		    "%s: %s",
		    sip ? "SIP" : "media", rule->family, rule->table,
		    rule->chain, rule->text);
}

void check_each_nft(struct doctor *d,
		    void (*look)(struct doctor *d, const struct nftrule *rule))
{
	for (size_t i = 0; i < d->nft.rules; i++)
		look(d, &d->nft.rule[i]);
}

void check_notrack(struct doctor *d)
{
	meet(d, KINDS, on_notrack);
	check_each_nft(d, nft_notrack);
}

/* ---- others at our queue ---- */

static void shared_rule(struct doctor *d, const struct ruleset *set,
			const struct rule *rule)
{
	const char *numbers = rule_option(rule, "--queue-num");
	text fix;

	if (!numbers)
		numbers = rule_option(rule, "--queue-balance");
	if (strcmp(rule_target(rule), "NFQUEUE") != 0 || is_ours(rule->chain) ||
	    !is_our_queue(d->conf, numbers ? numbers : "0"))
		return;
	check_rule_command(fix, sizeof(fix), set, rule, "-D");
	check_found(d, fix,
		    "a rule of somebody else (%s) uses our queue, %s -A %s %s: "
		    "give it, or queue.number, another number",
		    set->tool, rule->table, rule->chain, rule->text);
}

static void shared_nft(struct doctor *d, const struct nftrule *rule)
{
	text fix;

	if (!nft_queues(d->conf, rule) || is_own_nft(d, rule))
		return;
	check_nft_delete(fix, sizeof(fix), rule);
	check_found(d, fix,
		    "a rule of somebody else (nft, %s %s %s) uses our queue: "
		    "%s",
		    rule->family, rule->table, rule->chain, rule->text);
}

void check_queue_shared(struct doctor *d)
{
	check_each_rule(d, shared_rule);
	check_each_nft(d, shared_nft);
}
