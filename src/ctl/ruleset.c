/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/ruleset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
/* Chains within chains; the kernel forbids loops */
#define MAX_DEPTH 16

/* ---- reading ---- */

/* One word of @at, unquoted in place; *@at goes behind it. NULL at the end.
 * iptables-save quotes with '"', and '"' and '\' within by '\'
 */
static char *next_word(char **at)
{
	char *word, *to;
	bool quoted = false;

	while (**at == ' ')
		(*at)++;
	if (!**at)
		return NULL;
	word = to = *at;
	for (; **at && (quoted || **at != ' '); (*at)++) {
		if (**at == '"') {
			quoted = !quoted;
			continue;
		}
		if (**at == '\\' && (*at)[1])
			(*at)++;
		*to++ = **at;
	}
	if (**at)
		(*at)++;
	*to = '\0';
	return word;
}

static void split(struct rule *rule, char *text)
{
	char *word;

	while (rule->words < RULE_MAX_WORDS && (word = next_word(&text)))
		rule->word[rule->words++] = word;
	for (rule->target = 0; rule->target < rule->words; rule->target++) {
		const char *before =
			rule->target ? rule->word[rule->target - 1] : "";

		if (!strcmp(before, "-j") || !strcmp(before, "-g"))
			break;
	}
}

static int add_chain(struct ruleset *set, const char *table, const char *name)
{
	const char **chain =
		reallocarray(set->chain, set->chains + 2, sizeof(*chain));

	if (!chain)
		return -ENOMEM;
	set->chain = chain;
	chain[set->chains++] = table;
	chain[set->chains++] = name;
	return 0;
}

static unsigned int next_position(const struct ruleset *set,
				  const struct rule *rule)
{
	for (size_t i = set->rules; i-- > 0;) {
		const struct rule *r = &set->rule[i];

		if (!strcmp(r->table, rule->table) &&
		    !strcmp(r->chain, rule->chain))
			return r->position + 1;
	}
	return 1;
}

/* @line and @copy: behind "-A " */
static int add_rule(struct ruleset *set, const char *table, char *line,
		    char *copy)
{
	struct rule *rule =
		reallocarray(set->rule, set->rules + 1, sizeof(*rule));
	char *end = strchr(line, ' ');

	if (!rule)
		return -ENOMEM;
	set->rule = rule;
	rule += set->rules;
	*rule = (struct rule){ .table = table, .chain = line, .text = "" };
	if (end) {
		*end = '\0';
		rule->text = end + 1;
		split(rule, copy + (end + 1 - line));
	}
	rule->position = next_position(set, rule);
	set->rules++;
	return 0;
}

int ruleset_read(struct ruleset *set, const char *tool, const char *text)
{
	char *line, *rest, *copy;
	const char *table = "";
	int err = 0;

	*set = (struct ruleset){ .tool = tool,
				 .memory = strdup(text),
				 .copy = strdup(text) };
	if (!set->memory || !set->copy)
		return -ENOMEM;
	for (rest = set->memory; !err && (line = strsep(&rest, "\n"));) {
		copy = set->copy + (line - set->memory);
		copy[strlen(line)] = '\0';
		if (line[0] == '*') {
			table = line + 1;
		} else if (line[0] == ':') {
			line[strcspn(line, " ")] = '\0';
			err = add_chain(set, table, line + 1);
		} else if (!strncmp(line, "-A ", 3)) {
			err = add_rule(set, table, line + 3, copy + 3);
		}
	}
	return err;
}

void ruleset_free(struct ruleset *set)
{
	free(set->rule);
	free(set->chain);
	free(set->memory);
	free(set->copy);
	*set = (struct ruleset){ 0 };
}

const char *rule_target(const struct rule *rule)
{
	return rule->target < rule->words ? rule->word[rule->target] : "";
}

bool rule_is_goto(const struct rule *rule)
{
	return rule->target && rule->target < rule->words &&
	       !strcmp(rule->word[rule->target - 1], "-g");
}

const char *rule_option(const struct rule *rule, const char *option)
{
	for (unsigned int i = rule->target; i < rule->words; i++) {
		if (!strcmp(rule->word[i], option))
			return i + 1 < rule->words ? rule->word[i + 1] : "";
	}
	return NULL;
}

bool ruleset_has_chain(const struct ruleset *set, const char *table,
		       const char *chain)
{
	for (size_t i = 0; i + 1 < set->chains; i += 2) {
		if (!strcmp(set->chain[i], table) &&
		    !strcmp(set->chain[i + 1], chain))
			return true;
	}
	return false;
}

/* ---- what a rule applies to ---- */

static size_t fixed_part(const char *name, bool *is_prefix)
{
	size_t len = strlen(name);

	*is_prefix = len && name[len - 1] == '+';
	return len - *is_prefix;
}

static bool name_overlaps(const char *a, const char *b)
{
	bool a_prefix, b_prefix;
	size_t a_len = fixed_part(a, &a_prefix);
	size_t b_len = fixed_part(b, &b_prefix);
	size_t len = a_len < b_len ? a_len : b_len;

	return !strncmp(a, b, len) && (a_prefix || b_len <= a_len) &&
	       (b_prefix || a_len <= b_len);
}

bool names_overlap(const struct conf_names *list, const char *pattern)
{
	for (unsigned int i = 0; i < list->count; i++) {
		if (name_overlaps(list->name[i], pattern))
			return true;
	}
	return false;
}

bool ports_overlap(const struct ports *a, const struct ports *b)
{
	for (unsigned int i = 0; i < a->count; i++) {
		for (unsigned int k = 0; k < b->count; k++) {
			if (a->range[i].first <= b->range[k].last &&
			    b->range[k].first <= a->range[i].last)
				return true;
		}
	}
	return false;
}

/* "5060,5080:5090" as iptables prints it */
static bool ports_meet(const char *text, const struct ports *ports)
{
	struct ports rule_ports;
	char copy[512];
	size_t len = strlen(text);

	if (len >= sizeof(copy))
		return false;
	for (size_t i = 0; i <= len; i++)
		copy[i] = (char)(text[i] == ':' ? '-' : text[i]);
	if (ports_parse((struct span){ copy, len }, &rule_ports))
		return false;
	return !ports || ports_overlap(&rule_ports, ports);
}

static bool meets_protocol(const char *value, const struct traffic *t)
{
	return !strcmp(value, "udp") || !strcmp(value, "17") ||
	       !strcmp(value, "all") ||
	       (t->tcp && (!strcmp(value, "tcp") || !strcmp(value, "6")));
}

static bool meets_in(const char *value, const struct traffic *t)
{
	return names_overlap(t->in, value);
}

static bool meets_out(const char *value, const struct traffic *t)
{
	return t->out && names_overlap(t->out, value);
}

static bool meets_sport(const char *value, const struct traffic *t)
{
	return ports_meet(value, t->sport);
}

static bool meets_dport(const char *value, const struct traffic *t)
{
	return ports_meet(value, t->dport);
}

static bool meets_any(const char *value, const struct traffic *t)
{
	(void)value;
	(void)t;
	return true;
}

/* Matches whose every option stands below */
static bool meets_match(const char *value, const struct traffic *t)
{
	static const char *const known[] = { "udp", "tcp", "multiport",
					     "comment" };

	(void)t;
	for (size_t i = 0; i < COUNT(known); i++) {
		if (!strcmp(value, known[i]))
			return true;
	}
	return false;
}

/* @opposite: What it says of the traffic if there is a "!" before it; NULL:
 * nothing that is certain
 */
static const struct condition {
	const char *option;
	bool (*meets)(const char *value, const struct traffic *t);
	bool invertible;
} conditions[] = {
	{ "-p", meets_protocol, false },    { "-i", meets_in, true },
	{ "-o", meets_out, true },	    { "-m", meets_match, false },
	{ "--comment", meets_any, false },  { "--sport", meets_sport, false },
	{ "--sports", meets_sport, false }, { "--dport", meets_dport, false },
	{ "--dports", meets_dport, false },
};

static const struct condition *find_condition(const char *option)
{
	for (size_t i = 0; i < COUNT(conditions); i++) {
		if (!strcmp(conditions[i].option, option))
			return &conditions[i];
	}
	return NULL;
}

bool rule_meets(const struct rule *rule, const struct traffic *traffic)
{
	unsigned int i = 0;

	/* -j and -g, one before the target, end the conditions */
	while (i + 1 < rule->target) {
		bool inverted = !strcmp(rule->word[i], "!");
		const struct condition *c;

		i += inverted;
		c = find_condition(rule->word[i]);
		if (!c || i + 1 >= rule->words || (inverted && !c->invertible))
			return false;
		if (c->meets(rule->word[i + 1], traffic) == inverted)
			return false;
		i += 2;
	}
	return true;
}

/* ---- the way of a packet ---- */

struct walk {
	const struct ruleset *set;
	const char *table;
	const struct traffic *traffic;
	enum ruleset_step (*visit)(void *arg, const struct rule *rule,
				   const struct rule *base);
	void *arg;
};

static bool is_final(const char *target)
{
	static const char *const targets[] = { "ACCEPT", "DROP", "REJECT",
					       "NFQUEUE", "QUEUE" };

	for (size_t i = 0; i < COUNT(targets); i++) {
		if (!strcmp(target, targets[i]))
			return true;
	}
	return false;
}

/* Return: true if the packet's way ends in it */
static bool walk_chain(const struct walk *w, const char *chain,
		       const struct rule *base, unsigned int depth)
{
	for (size_t i = 0; i < w->set->rules && depth < MAX_DEPTH; i++) {
		const struct rule *rule = &w->set->rule[i];
		const char *target = rule_target(rule);
		const struct rule *first = base ? base : rule;

		if (strcmp(rule->table, w->table) ||
		    strcmp(rule->chain, chain) || !rule_meets(rule, w->traffic))
			continue;
		if (ruleset_has_chain(w->set, w->table, target) &&
		    strncmp(target, "SIPALGD", 7) != 0) {
			if (walk_chain(w, target, first, depth + 1))
				return true;
			if (!rule_is_goto(rule))
				continue;
			/* From there it does not come back here */
			if (!base)
				w->visit(w->arg, rule, first);
			return !base;
		}
		if (w->visit(w->arg, rule, first) == RULESET_STOP ||
		    is_final(target))
			return true;
		if (!strcmp(target, "RETURN"))
			return !base;
	}
	return false;
}

void ruleset_walk(const struct ruleset *set, const char *table,
		  const char *chain, const struct traffic *traffic,
		  enum ruleset_step (*visit)(void *arg, const struct rule *rule,
					     const struct rule *base),
		  void *arg)
{
	const struct walk w = { set, table, traffic, visit, arg };

	walk_chain(&w, chain, NULL, 0);
}
