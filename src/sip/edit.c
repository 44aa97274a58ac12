/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/edit.h"

#include <errno.h>

void edit_reset(struct edit_list *list)
{
	list->count = 0;
	list->text_len = 0;
	list->full = false;
}

void edit_add(struct edit_list *list, const char *site, struct span old,
	      struct span text)
{
	char *copy = list->text + list->text_len;

	if (span_eq(old, text))
		return;
	if (list->count == EDIT_MAX ||
	    text.len > sizeof(list->text) - list->text_len) {
		list->full = true;
		return;
	}
	if (text.len)
		memcpy(copy, text.ptr, text.len);
	list->text_len += text.len;
	list->edit[list->count++] = (struct edit){
		.site = site,
		.old = old,
		.text = { copy, text.len },
	};
}

long edit_growth(const struct edit_list *list, const char *from)
{
	long growth = 0;

	for (unsigned int i = 0; i < list->count; i++) {
		const struct edit *e = &list->edit[i];

		if (e->old.ptr >= from)
			growth += (long)e->text.len - (long)e->old.len;
	}
	return growth;
}

/* By insertion: edits are made nearly in order, and there are few */
void edit_sort(struct edit_list *list)
{
	for (unsigned int i = 1; i < list->count; i++) {
		struct edit e = list->edit[i];
		unsigned int j = i;

		for (; j && list->edit[j - 1].old.ptr > e.old.ptr; j--)
			list->edit[j] = list->edit[j - 1];
		list->edit[j] = e;
	}
}

/* Copy @s to @out at @at; false if it does not fit */
static bool put(char *out, size_t cap, size_t *at, struct span s)
{
	if (s.len > cap - *at)
		return false;
	if (s.len)
		memcpy(out + *at, s.ptr, s.len);
	*at += s.len;
	return true;
}

long edit_apply(struct edit_list *list, struct span in, char *out, size_t cap)
{
	const char *from = in.ptr;
	size_t at = 0;

	if (list->full)
		return -ENOSPC;
	edit_sort(list);
	for (unsigned int i = 0; i < list->count; i++) {
		const struct edit *e = &list->edit[i];

		if (e->old.ptr < from || span_end(e->old) > span_end(in))
			return -EINVAL;
		if (!put(out, cap, &at, span_between(from, e->old.ptr)) ||
		    !put(out, cap, &at, e->text))
			return -ENOSPC;
		from = span_end(e->old);
	}
	if (!put(out, cap, &at, span_between(from, span_end(in))))
		return -ENOSPC;
	return (long)at;
}
