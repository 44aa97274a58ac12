/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CONF_INIFILE_H
#define SIPALG_CONF_INIFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/conf.h"

/**
 * struct ini_entry - A "key = value" line, or a "[section]" line
 * @section, @key:	Lower case, cut to fit; @key is empty for a section
 * @value:		As iniparser read it; NULL for a section
 * @line:		Line in the file, from 1
 */
struct ini_entry {
	char section[CONF_NAME_MAX], key[CONF_NAME_MAX];
	const char *value;
	unsigned int line;
};

/**
 * struct ini_file - A file that was read
 * @entry:	In the order of the file
 * @count:	Entries
 * @dict:	iniparser's dictionary, which owns the values
 */
struct ini_file {
	struct ini_entry *entry;
	size_t count;
	void *dict;
};

/**
 * ini_problem_fn - Told of each problem
 * @line:	0 where the whole file is meant
 * @key:	"section.key", "section" or "syntax"
 */
typedef void ini_problem_fn(void *ctx, unsigned int line, const char *key,
			    const char *why);

/**
 * ini_read() - Read an ini file with iniparser, keeping the line numbers
 * @path:	File
 * @file:	Filled; give it to ini_free() also after an error
 * @problem:	Told of what iniparser would refuse, or worse, take silently:
 *		lines that are no assignment, that are too long or continued,
 *		keys without a section, keys given twice, open quotes
 * @ctx:	Passed on
 *
 * A bad line does not hide the rest of the file: the good ones are entries.
 *
 * Return: 0, also where there were problems; -errno if the file cannot be read
 */
int ini_read(const char *path, struct ini_file *file, ini_problem_fn *problem,
	     void *ctx);
void ini_free(struct ini_file *file);

/** ini_find() - Entry of a key (of a section: @key ""); NULL if none */
const struct ini_entry *ini_find(const struct ini_file *file,
				 const char *section, const char *key);

#endif
