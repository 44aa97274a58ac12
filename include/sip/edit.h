/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_SIP_EDIT_H
#define SIPALG_SIP_EDIT_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/** EDIT_MAX - Edits in one message; a message that wants more is left alone */
#define EDIT_MAX 128
/** EDIT_TEXT - Room for all replacement texts of one message, bytes */
#define EDIT_TEXT 8192

/**
 * struct edit - Some bytes of a message and what shall stand there
 * @site:	Name of the place, for reports: "Via", "c="
 * @old:	Bytes of the original; empty to insert at that place
 * @text:	Replacement
 */
struct edit {
	const char *site;
	struct span old, text;
};

/**
 * struct edit_list - All changes to one message
 * @text:	Holds the replacement texts
 * @full:	An edit did not fit: the list must not be applied
 */
struct edit_list {
	unsigned int count;
	struct edit edit[EDIT_MAX];
	size_t text_len;
	char text[EDIT_TEXT];
	bool full;
};

/** edit_reset() - Begin with no edits */
void edit_reset(struct edit_list *list);

/**
 * edit_add() - Replace @old with a copy of @text
 * @list:	May be added to in any order
 * @old:	Bytes of the message; no two edits overlap
 *
 * Nothing is added where @text is what stands there already.
 */
void edit_add(struct edit_list *list, const char *site, struct span old,
	      struct span text);

/** edit_sort() - In the message's order */
void edit_sort(struct edit_list *list);

/** edit_growth() - Bytes by which the part of @in from @from on grows */
long edit_growth(const struct edit_list *list, const char *from);

/**
 * edit_apply() - Copy a message, applying every edit in one pass
 * @list:	Sorted here; the edits then stand in the message's order
 * @in:		Original bytes, borrowed
 * @out:	Caller's buffer; must not overlap @in
 * @cap:	Size of @out, bytes
 *
 * Return: bytes written; -ENOSPC if @cap is short or the list overflowed;
 * -EINVAL if edits overlap or lie outside @in (@out is then undefined)
 */
long edit_apply(struct edit_list *list, struct span in, char *out, size_t cap);

#endif
