/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_TABLE_H
#define SIPALG_CTL_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "ctl/term.h"

/*
 * Theory of operation
 *
 * A table is printed when all its cells are known. Where the terminal is too
 * narrow, columns go, the one with the highest rank first, until each of the
 * others can have what it needs at least; what room is left they share. A cell
 * that is longer than its column is cut, and ends with a mark. Only text is
 * ever cut: a number or address that lost its end would be a wrong one.
 *
 * libsmartcols was tried: it cuts numbers as well, and shrinks columns down to
 * their titles before it lets one go.
 */

/**
 * struct table_column - What is known of a column before its cells
 * @name:	Its title
 * @least:	It may be cut, to so many columns of the terminal; 0: not at all
 * @rank:	0: it is always shown; else the highest goes first
 * @right:	Aligned to the right
 */
struct table_column {
	const char *name;
	unsigned int least, rank;
	bool right;
};

struct table;

/** table_new() - @columns ends with one without a name, and must outlive it */
struct table *table_new(const struct table_column *columns);

/** table_add() - The next cell, row by row; made safe for a terminal, and "-"
 * where it is empty */
void table_add(struct table *table, enum term_colour colour, const char *fmt,
	       ...) __attribute__((format(printf, 3, 4)));

/** table_add_number() - The same of a number */
void table_add_number(struct table *table, enum term_colour colour,
		      long long value);

/** table_print() - Print it, and free it */
void table_print(struct table *table, const struct ctl *ctl, FILE *out);

#endif
