/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/undo.h"

#include <stdlib.h>

#include "state/saved.h"

struct undo_more {
	uint32_t next;
	struct undo_note note[UNDO_NOTES_MORE];
};

void undo_free(struct undo_memory *m)
{
	free(m->more);
}

/* ---- texts ---- */

static bool undo_is(const struct undo *u, enum site_group group, uint16_t port)
{
	return u->group == group && u->port == port;
}

static const struct undo *by_id(const struct undo_memory *m, uint8_t id)
{
	for (unsigned int i = 0; id && i < m->count; i++) {
		if (m->undo[i].id == id)
			return &m->undo[i];
	}
	return NULL;
}

static struct undo *find(struct undo_memory *m, enum site_group group,
			 uint16_t port, struct span text, bool *rival)
{
	struct undo *same = NULL;

	for (unsigned int i = 0; i < m->count; i++) {
		struct undo *u = &m->undo[i];

		if (!undo_is(u, group, port))
			continue;
		if (span_eq((struct span){ u->text, u->len }, text))
			same = u;
		else
			*rival = true;
	}
	return same;
}

/* The last record counts most: @undo goes to the end, and @gone, or the oldest,
 * makes room
 */
static struct undo *put_last(struct undo_memory *m, struct undo undo,
			     struct undo *gone)
{
	struct undo *end = m->undo + m->count;

	if (!gone && m->count == UNDO_COUNT)
		gone = m->undo;
	if (gone) {
		memmove(gone, gone + 1,
			(size_t)(end - gone - 1) * sizeof(*gone));
		m->count--;
	}
	m->undo[m->count] = undo;
	return &m->undo[m->count++];
}

static const struct undo *latest(const struct undo_memory *m,
				 enum site_group group, uint16_t port)
{
	for (unsigned int i = m->count; i; i--) {
		if (undo_is(&m->undo[i - 1], group, port))
			return &m->undo[i - 1];
	}
	return NULL;
}

static const struct undo *registered(const struct undo_memory *m,
				     enum site_group group, uint16_t port)
{
	for (unsigned int i = 0; i < m->count; i++) {
		if (m->undo[i].registered && undo_is(&m->undo[i], group, port))
			return &m->undo[i];
	}
	return NULL;
}

/* ---- messages ---- */

/* Note @i, the newest being 0; NULL past the oldest */
static const struct undo_note *note_at(const struct undo_memory *m, uint32_t i)
{
	const struct undo_more *more = m->more;

	if (more)
		return i < UNDO_NOTES_MORE && i < more->next
			       ? &more->note[(more->next - 1 - i) %
					     UNDO_NOTES_MORE]
			       : NULL;
	return i < UNDO_NOTES && i < m->next
		       ? &m->note[(m->next - 1 - i) % UNDO_NOTES]
		       : NULL;
}

static struct undo_note *new_note(struct undo_memory *m)
{
	if (m->more)
		return &m->more->note[m->more->next++ % UNDO_NOTES_MORE];
	return &m->note[m->next++ % UNDO_NOTES];
}

/* Room for more, from the moment on in which it matters */
static struct undo_more *get_more(struct undo_memory *m)
{
	struct undo_more *more = m->more;

	if (more)
		return more;
	more = calloc(1, sizeof(*more));
	if (!more)
		return NULL;
	for (uint32_t i = UNDO_NOTES; i; i--) {
		const struct undo_note *note = note_at(m, i - 1);

		if (note)
			more->note[more->next++] = *note;
	}
	m->more = more;
	return more;
}

static void take_note(struct undo_memory *m, const struct undo *undo,
		      const struct undo_message *msg)
{
	const struct undo_note *newest = note_at(m, 0);
	struct undo_note *note = (struct undo_note *)newest;

	if (!newest || newest->msg.branch != msg->branch ||
	    newest->msg.call != msg->call) {
		note = new_note(m);
		*note = (struct undo_note){ .msg = *msg };
	}
	note->id[undo->group] = undo->id;
}

/* What the message @msg, or else the last one of its dialog, wrote there */
static const struct undo *noted(const struct undo_memory *m,
				enum site_group group, uint16_t port,
				const struct undo_message *msg, bool by_call)
{
	const struct undo_note *note;

	for (uint32_t i = 0; (note = note_at(m, i)); i++) {
		const struct undo *u = by_id(m, note->id[group]);

		if (by_call ? note->msg.call != msg->call
			    : note->msg.branch != msg->branch)
			continue;
		if (u && undo_is(u, group, port))
			return u;
	}
	return NULL;
}

bool undo_remember(struct undo_memory *m, enum site_group group, uint16_t port,
		   struct span text, const struct undo_message *msg)
{
	struct undo undo = { .group = (uint8_t)group,
			     .len = (uint8_t)text.len,
			     .port = port };
	bool rival = false;
	struct undo *u;

	if (text.len > UNDO_TEXT)
		return false;
	if (text.len)
		memcpy(undo.text, text.ptr, text.len);
	u = find(m, group, port, text, &rival);
	if (u) {
		undo.id = u->id;
		undo.registered = u->registered;
	} else {
		undo.id = ++m->last_id ? m->last_id : ++m->last_id;
	}
	if (!u || rival)
		u = put_last(m, undo, u);
	if (rival)
		get_more(m);
	if (msg->branch)
		take_note(m, u, msg);
	return true;
}

const struct undo *undo_recall(const struct undo_memory *m,
			       enum site_group group, uint16_t port,
			       const struct undo_message *msg)
{
	const struct undo *u = NULL;

	if (m->more && msg->branch)
		u = noted(m, group, port, msg, false);
	if (!u && m->more && group != SITE_GROUP_VIA)
		u = noted(m, group, port, msg, true);
	if (!u)
		u = registered(m, group, port);
	return u ? u : latest(m, group, port);
}

const struct undo *undo_written(const struct undo_memory *m,
				enum site_group group, uint32_t branch)
{
	const struct undo_note *note;
	const struct undo *u = NULL;

	for (uint32_t i = 0; !u && (note = note_at(m, i)); i++) {
		if (note->msg.branch == branch)
			u = by_id(m, note->id[group]);
	}
	return u;
}

void undo_register(struct undo_memory *m, const struct undo_message *msg)
{
	const struct undo *now =
		undo_written(m, SITE_GROUP_CONTACT, msg->branch);

	for (unsigned int i = 0; now && i < m->count; i++) {
		struct undo *u = &m->undo[i];

		if (undo_is(u, SITE_GROUP_CONTACT, now->port))
			u->registered = u == now;
	}
}

/* ---- over a restart ---- */

void undo_save(const struct undo_memory *m, struct saved_mapping *out)
{
	const struct undo_note *note;

	out->last_id = m->last_id;
	out->many = m->more;
	out->undos = m->count;
	for (unsigned int i = 0; i < m->count; i++) {
		const struct undo *u = &m->undo[i];

		out->undo[i] =
			(struct saved_undo){ .group = u->group,
					     .id = u->id,
					     .port = u->port,
					     .registered = u->registered };
		memcpy(out->undo[i].text, u->text, u->len);
	}
	out->notes = 0;
	while (out->notes < UNDO_NOTES_MORE && note_at(m, out->notes))
		out->notes++;
	for (unsigned int i = 0; i < out->notes; i++) {
		struct saved_note *to = &out->note[out->notes - 1 - i];

		note = note_at(m, i);
		to->branch = note->msg.branch;
		to->call = note->msg.call;
		memcpy(to->id, note->id, sizeof(to->id));
	}
}

bool undo_restore(struct undo_memory *m, const struct saved_mapping *in)
{
	for (unsigned int i = 0; i < in->undos; i++) {
		const struct saved_undo *u = &in->undo[i];
		struct undo *to = &m->undo[m->count++];

		if (u->group >= SITE_GROUPS || !u->id)
			return false;
		*to = (struct undo){ .group = u->group,
				     .len = (uint8_t)strlen(u->text),
				     .port = u->port,
				     .id = u->id,
				     .registered = u->registered };
		memcpy(to->text, u->text, to->len);
	}
	m->last_id = in->last_id;
	if (in->many && !get_more(m))
		return false;
	for (unsigned int i = 0; i < in->notes; i++) {
		const struct saved_note *n = &in->note[i];
		struct undo_note *to = new_note(m);

		to->msg = (struct undo_message){ n->branch, n->call };
		memcpy(to->id, n->id, sizeof(to->id));
	}
	return true;
}
