/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_NFTLIST_H
#define SIPALG_CTL_NFTLIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/ports.h"

/**
 * struct nftrule - A rule as "nft -a list ruleset" prints it
 * @family, @table, @chain: Where it is
 * @text:	Without blanks around it and without its handle
 */
struct nftrule {
	const char *family, *table, *chain, *text;
	unsigned long handle;
};

/**
 * struct nftlist - All rules, and the conntrack helpers of SIP
 * @helper:	"FAMILY TABLE NAME" of each object that is of type "sip"
 */
struct nftlist {
	struct nftrule *rule;
	size_t rules;
	char **helper;
	size_t helpers;
	char *memory;
};

/**
 * nftlist_read() - Read what nft printed
 * @text:	Copied
 *
 * Return: 0 or -ENOMEM; nftlist_free() in either case
 */
int nftlist_read(struct nftlist *list, const char *text);
void nftlist_free(struct nftlist *list);

/** nftrule_has() - @words stand in its text, as whole words */
bool nftrule_has(const struct nftrule *rule, const char *words);

/**
 * nftrule_ports() - "udp dport { 5060, 5080-5090 }"
 * @which:	"dport" or "sport"
 *
 * Return: false if it does not say; true with an empty set if it says something
 * that is not plain numbers
 */
bool nftrule_ports(const struct nftrule *rule, const char *which,
		   struct ports *ports);

/** nftrule_helper() - It assigns a helper of SIP */
bool nftrule_helper(const struct nftlist *list, const struct nftrule *rule);

#endif
