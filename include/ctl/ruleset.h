/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_RULESET_H
#define SIPALG_CTL_RULESET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ports.h"
#include "conf/conf.h"

/*
 * Rule sets as iptables-save prints them: read, and asked which rules a kind of
 * traffic meets. Only what is certain is answered: a rule with a condition that
 * is not understood here (addresses, marks, sets, ...) is narrow, and meets
 * only a part of any traffic.
 */

#define RULE_MAX_WORDS 64

/**
 * struct rule - One "-A" line
 * @text:	Behind the chain's name, as it was printed
 * @word, @words: The same, unquoted
 * @target:	Index of what stands behind -j or -g; @words if there is none
 * @position:	In its chain, from 1
 */
struct rule {
	const char *table, *chain, *text;
	const char *word[RULE_MAX_WORDS];
	unsigned int words, target, position;
};

/**
 * struct ruleset - What one tool sees in one family
 * @tool:	"iptables-legacy": the program that changes it
 * @chain:	Names "TABLE CHAIN" of all chains
 * @memory:	Where all texts are
 */
struct ruleset {
	const char *tool;
	struct rule *rule;
	size_t rules;
	const char **chain;
	size_t chains;
	char *memory, *copy;
};

/**
 * ruleset_read() - Read what iptables-save printed
 * @text:	Copied
 *
 * Return: 0 or -ENOMEM; ruleset_free() in either case
 */
int ruleset_read(struct ruleset *set, const char *tool, const char *text);
void ruleset_free(struct ruleset *set);

/** rule_target() - "ACCEPT", a chain; "" if it has none */
const char *rule_target(const struct rule *rule);
/** rule_is_goto() - "-g": from its target the packet comes not back */
bool rule_is_goto(const struct rule *rule);
/** rule_option() - What follows @option among the target's words; NULL if it is
 * not there, "" if nothing follows */
const char *rule_option(const struct rule *rule, const char *option);

/** ruleset_has_chain() - It is there, be it empty */
bool ruleset_has_chain(const struct ruleset *set, const char *table,
		       const char *chain);

/**
 * struct traffic - A kind of packets
 * @in:		Interfaces they come in by
 * @out:	Interfaces they leave by; NULL before routing
 * @sport, @dport: Their ports; NULL: any
 * @tcp:	TCP as well as UDP
 */
struct traffic {
	const char *name;
	const struct conf_names *in, *out;
	const struct ports *sport, *dport;
	bool tcp;
};

/** rule_meets() - @rule certainly applies to some of @traffic, whatever hosts
 * it is between */
bool rule_meets(const struct rule *rule, const struct traffic *traffic);

/** enum ruleset_step - What a visitor wants */
enum ruleset_step { RULESET_GO_ON, RULESET_STOP };

/**
 * ruleset_walk() - Every rule that @traffic meets, in the order it meets them,
 * through chains that are jumped to
 * @visit:	@base is the rule of @chain that led there. Not called for jumps
 *		it follows, but for one of @chain by -g from which no verdict
 *came
 *
 * Ends where a verdict ends the packet's way through the table.
 */
void ruleset_walk(const struct ruleset *set, const char *table,
		  const char *chain, const struct traffic *traffic,
		  enum ruleset_step (*visit)(void *arg, const struct rule *rule,
					     const struct rule *base),
		  void *arg);

/** names_overlap() - Interfaces: an entry of @list may be one that @pattern
 * means, "wg+" or a name */
bool names_overlap(const struct conf_names *list, const char *pattern);

/** ports_overlap() - A port is in both */
bool ports_overlap(const struct ports *a, const struct ports *b);

#endif
