/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CONF_VALUE_H
#define SIPALG_CONF_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/span.h"
#include "conf/conf.h"

/** CONF_WHY_MAX - The reason why a value was not taken, as text */
#define CONF_WHY_MAX 256

struct conf_row;

/**
 * struct conf_word - A word and what it stands for; the first of several words
 * for one number is the one that is printed
 */
struct conf_word {
	const char *word;
	unsigned int number;
};

/**
 * struct conf_type - How values of one kind are read and written
 * @parse:	From trimmed text into the member of @conf; 0, or -EINVAL with
 *		@why filled (CONF_WHY_MAX bytes)
 * @print:	The value alone, such that @parse reads it back
 */
struct conf_type {
	int (*parse)(const struct conf_row *row, struct span text,
		     struct conf *conf, char *why);
	void (*print)(const struct conf_row *row, const struct conf *conf,
		      FILE *out);
};

/**
 * struct conf_row - A row of the option table
 * @option:	What the outside sees of it
 * @type:	How to read and write it
 * @offset:	Of its member in struct conf
 * @min, @max:	Of numbers; of ports @min only
 * @unit:	Of numbers, for messages: "seconds"
 * @words:	For types that take words, ended by a NULL word
 * @check:	NULL, or what must hold once all is read: 0, or -EINVAL with
 *		@why filled
 * @caution:	NULL, or whether what was read, though allowed, deserves a
 *		warning: true with @why filled
 * @with:	Key that @check also looks at, so that the later of the two
 *		lines is blamed; "section.key" or NULL
 */
struct conf_row {
	struct conf_option option;
	const struct conf_type *type;
	size_t offset;
	uint32_t min, max;
	const char *unit;
	const struct conf_word *words;
	int (*check)(const struct conf *conf, char *why);
	bool (*caution)(const struct conf *conf, char *why);
	const char *with;
};

/* In the manual's words; "type" of struct conf_option is the name after
 * conf_type_ */
extern const struct conf_type conf_type_interfaces; /* eth0, wg+ */
extern const struct conf_type conf_type_networks; /* 192.0.2.0/24, ... */
extern const struct conf_type conf_type_address; /* 192.0.2.1 */
extern const struct conf_type conf_type_word; /* one of words */
extern const struct conf_type conf_type_number;
extern const struct conf_type conf_type_ports; /* 5060, 5070-5079 */
extern const struct conf_type conf_type_yesno; /* yes, no */
extern const struct conf_type conf_type_inbound; /* word or networks */
extern const struct conf_type conf_type_dscp; /* ef, af41, 0-63 */
extern const struct conf_type conf_type_mark; /* value/mask */
extern const struct conf_type conf_type_globs;
extern const struct conf_type conf_type_path;
extern const struct conf_type conf_type_group;
extern const struct conf_type conf_type_endpoint; /* [address:]port */

/** CONF_STATE_DEFAULT - Default of a path that systemd may have chosen */
#define CONF_STATE_DEFAULT "$STATE_DIRECTORY, else /var/lib/sipalgd"

#endif
