/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_DAEMON_LIST_H
#define SIPALG_DAEMON_LIST_H

#include "daemon/control.h"

/*
 * Theory of operation
 *
 * There may be 20,000 calls, each with several conntrack entries whose packet
 * counts are asked for one by one: a second's work, during which no packet
 * would get a verdict. So a list is made in pieces, one a turn of the loop and
 * only when the client has taken the last one; each ends with the first object
 * after its share of LIST_PIECE_US. Calls come and go meanwhile: struct
 * table_walk.
 */

/** LIST_PIECE_US - How long packets wait for the pieces of one turn, about:
 * some 13 us a call whose packets are asked for, and 20,000 calls take half a
 * second of turns */
#define LIST_PIECE_US 300

/** Rows of struct control_command for "calls"; the argument is a struct daemon
 */
json_t *list_calls(void *arg, const json_t *request, void **state);
/** ... and for "registrations" */
json_t *list_registrations(void *arg, const json_t *request, void **state);
/** The next piece of either, and the end of it */
char *list_piece(void *arg, void *state);
void list_end(void *arg, void *state);

#endif
