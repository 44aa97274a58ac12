/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/nftlist.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "table inet fw4 { # handle 1", and in it chains, sets, and other blocks */
struct place {
	const char *family, *table;
	const char *block, *name; /* "chain", "forward" */
	unsigned int depth;
};

static char *trim(char *line)
{
	size_t len;

	while (isspace((unsigned char)*line))
		line++;
	for (len = strlen(line); len && isspace((unsigned char)line[len - 1]);
	     len--)
		line[len - 1] = '\0';
	return line;
}

/* Take "# handle N" off the end; 0 if there is none */
static unsigned long take_handle(char *line)
{
	char *at = NULL, *next = line;
	unsigned long handle;

	while ((next = strstr(next, "# handle ")))
		at = next++;
	if (!at)
		return 0;
	handle = strtoul(at + strlen("# handle "), NULL, 10);
	*at = '\0';
	trim(line);
	return handle;
}

static const char *next_name(char **line)
{
	char *word = strsep(line, " ");

	return word ? word : "";
}

static void open_block(struct place *place, char *line)
{
	if (place->depth == 0) {
		next_name(&line); /* "table" */
		place->family = next_name(&line);
		place->table = next_name(&line);
	} else if (place->depth == 1) {
		place->block = next_name(&line);
		if (!strcmp(place->block, "ct")) /* "ct helper NAME {" */
			place->block = next_name(&line);
		place->name = next_name(&line);
	}
	place->depth++;
}

static int add_rule(struct nftlist *list, const struct place *place,
		    const char *text, unsigned long handle)
{
	struct nftrule *rule =
		reallocarray(list->rule, list->rules + 1, sizeof(*rule));

	if (!rule)
		return -ENOMEM;
	list->rule = rule;
	rule[list->rules++] = (struct nftrule){ place->family, place->table,
						place->name, text, handle };
	return 0;
}

static int add_helper(struct nftlist *list, const struct place *place)
{
	char **helper =
		reallocarray(list->helper, list->helpers + 1, sizeof(*helper));

	if (!helper)
		return -ENOMEM;
	list->helper = helper;
	if (asprintf(&helper[list->helpers], "%s %s %s", place->family,
		     place->table, place->name) < 0)
		return -ENOMEM;
	list->helpers++;
	return 0;
}

static bool is_text_of_block(const struct place *place, const char *block)
{
	return place->depth == 2 && place->block &&
	       !strcmp(place->block, block);
}

static int take_line(struct nftlist *list, struct place *place, char *line)
{
	unsigned long handle = take_handle(line);
	size_t len = strlen(line);

	/* Elements of sets may go over lines: those are deeper, or no rules */
	if (!strcmp(line, "}")) {
		place->depth -= place->depth > 0;
	} else if (len && line[len - 1] == '{') {
		open_block(place, line);
	} else if (is_text_of_block(place, "chain") && handle) {
		return add_rule(list, place, line, handle);
	} else if (is_text_of_block(place, "helper") &&
		   !strncmp(line, "type \"sip\"", 10)) {
		return add_helper(list, place);
	}
	return 0;
}

int nftlist_read(struct nftlist *list, const char *text)
{
	struct place place = { 0 };
	char *line, *rest;
	int err = 0;

	*list = (struct nftlist){ .memory = strdup(text) };
	if (!list->memory)
		return -ENOMEM;
	for (rest = list->memory; !err && (line = strsep(&rest, "\n"));)
		err = take_line(list, &place, trim(line));
	return err;
}

void nftlist_free(struct nftlist *list)
{
	for (size_t i = 0; i < list->helpers; i++)
		free(list->helper[i]);
	free(list->helper);
	free(list->rule);
	free(list->memory);
	*list = (struct nftlist){ 0 };
}

/* Where @words stand as whole words; NULL if they do not */
static const char *find_words(const char *text, const char *words)
{
	size_t len = strlen(words);
	const char *at = text;

	while ((at = strstr(at, words))) {
		if ((at == text || at[-1] == ' ') &&
		    (!at[len] || at[len] == ' '))
			return at;
		at++;
	}
	return NULL;
}

bool nftrule_has(const struct nftrule *rule, const char *words)
{
	return find_words(rule->text, words);
}

bool nftrule_ports(const struct nftrule *rule, const char *which,
		   struct ports *ports)
{
	const char *at = find_words(rule->text, which), *end;
	char plain[512];
	size_t len = 0;

	*ports = (struct ports){ 0 };
	if (!at)
		return false;
	at += strlen(which) + 1;
	end = *at == '{' ? strchr(at, '}') : strchr(at, ' ');
	if (!end)
		end = at + strlen(at);
	for (at += *at == '{'; at < end && len + 1 < sizeof(plain); at++) {
		if (*at != ' ')
			plain[len++] = *at;
	}
	if (ports_parse((struct span){ plain, len }, ports))
		*ports = (struct ports){ 0 };
	return true;
}

bool nftrule_helper(const struct nftlist *list, const struct nftrule *rule)
{
	const char *at = find_words(rule->text, "ct helper set");
	char name[256], wanted[512];

	if (!at || sscanf(at, "ct helper set \"%255[^\"]\"", name) != 1)
		return false;
	snprintf(wanted, sizeof(wanted), "%s %s %s", rule->family, rule->table,
		 name);
	for (size_t i = 0; i < list->helpers; i++) {
		if (!strcmp(list->helper[i], wanted))
			return true;
	}
	return false;
}
