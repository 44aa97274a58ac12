/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_RECORD_H
#define SIPALG_DAEMON_RECORD_H

#include "state/alg.h"

/*
 * The call log: a line at the end of each call and registration. Where stderr
 * goes to the journal, its fields are fields there (SIPALG_CALL_ID=...), else
 * they are key=value. sipalgd(8), LOG, lists them.
 */

/** RECORD_FIELDS, RECORD_VALUE - Most fields, and room for the value of one */
#define RECORD_FIELDS 16
#define RECORD_VALUE 208
/** RECORD_LINE - Room for record_format() */
#define RECORD_LINE 1000

/**
 * struct record - What is written
 * @field:	Key and value; of the value only printable ASCII: what else
 *		stood there is \xHH
 */
struct record {
	unsigned int count;
	struct {
		const char *key;
		char value[RECORD_VALUE];
	} field[RECORD_FIELDS];
};

void record_of_call(struct record *r, const struct call *call, uint64_t now_ms);

/** record_of_registration() - @how: as registrations->ended is told */
void record_of_registration(struct record *r, const struct registration *reg,
			    const char *how, uint64_t now_ms);

/**
 * record_format() - As a line: key=value, in quotes where it has anything but
 * letters, digits and a few signs
 * @line:	RECORD_LINE bytes
 *
 * A quote in a value is \x22: no value ends before its end.
 */
void record_format(const struct record *r, char *line);

/** record_open() - Write of everything that ends in @alg from now on */
void record_open(struct alg *alg);

#endif
