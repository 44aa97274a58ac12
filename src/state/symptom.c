/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/symptom.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "state/counters.h"

/* What was not seen for so long is told anew */
#define RENEW_MS (3600 * 1000)
/* Of the Call-ID or address of record, in the log */
#define ID_MAX 160

static const struct {
	const char *code, *text, *fix;
	enum log_level level;
} table[] = {
#define X(code, level, text, fix) { #code, text, fix, LOG_LEVEL_##level },
	SYMPTOMS(X)
#undef X
};

const char *symptom_code(enum symptom s)
{
	return table[s].code;
}

const char *symptom_text(enum symptom s)
{
	return table[s].text;
}

const char *symptom_fix(enum symptom s)
{
	return table[s].fix;
}

enum log_level symptom_level(enum symptom s)
{
	return table[s].level;
}

const char *symptom_severity(enum symptom s)
{
	static const char *const words[] = {
		[LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_NOTICE] = "notice",
		[LOG_LEVEL_INFO] = "info",
	};

	return words[table[s].level];
}

/* ---- recent events ---- */

const struct symptom_event *symptoms_recent(const struct symptoms *list,
					    unsigned int i)
{
	if (i >= SYMPTOM_EVENTS || i >= list->total)
		return NULL;
	return &list->event[(list->total - 1 - i) % SYMPTOM_EVENTS];
}

/* The event that a repetition renews; NULL if there is none */
static struct symptom_event *event_find(struct symptoms *list, enum symptom s,
					const struct addr *inside,
					uint64_t now_ms)
{
	for (unsigned int i = 0; i < SYMPTOM_EVENTS && i < list->total; i++) {
		struct symptom_event *e = &list->event[i];

		if (e->symptom == s && !e->single &&
		    addr_eq(&e->inside, inside) &&
		    now_ms - e->last_ms < RENEW_MS)
			return e;
	}
	return NULL;
}

static struct symptom_event *event_add(struct symptoms *list, enum symptom s,
				       const struct addr *inside,
				       uint64_t now_ms)
{
	struct symptom_event *e = &list->event[list->total++ % SYMPTOM_EVENTS];

	*e = (struct symptom_event){ .symptom = s,
				     .inside = *inside,
				     .first_ms = now_ms };
	return e;
}

/* ---- notes ---- */

const char *symptom_note_text(const struct symptom_note *notes, enum symptom s)
{
	for (; notes; notes = notes->next) {
		if (notes->symptom == s)
			return notes->text;
	}
	return symptom_text(s);
}

void symptom_notes_free(struct symptom_note *notes)
{
	struct symptom_note *next;

	for (; notes; notes = next) {
		next = notes->next;
		free(notes);
	}
}

/* Without memory the symptom is seen all the same, only its numbers are lost */
static void note(const struct symptom_subject *of, enum symptom s,
		 const char *text)
{
	size_t size = strlen(text) + 1;
	struct symptom_note *n = calloc(1, sizeof(*n) + size);

	if (!n)
		return;
	n->symptom = s;
	memcpy(n->text, text, size);
	n->next = *of->notes;
	*of->notes = n;
}

void symptom_over(const struct symptom_subject *of, enum symptom s)
{
	struct symptom_note **link = of->notes, *n;

	*of->mask &= ~(1u << s);
	while ((n = *link)) {
		if (n->symptom != s) {
			link = &n->next;
			continue;
		}
		*link = n->next;
		free(n);
	}
}

/* ---- raising ---- */

static void log_symptom(struct symptoms *list, const struct symptom_event *e,
			struct span id, uint64_t now_ms)
{
	char inside[ADDR_TEXT_MAX] = "gateway", of[ID_MAX];

	if (!log_allow(&list->limit, now_ms))
		return;
	if (addr_is_set(&e->inside))
		addr_format(&e->inside, inside);
	log_at(symptom_level(e->symptom), "%s: %s%s%s: %s: %s", inside,
	       log_escape(of, sizeof(of), id), id.len ? ": " : "",
	       symptom_code(e->symptom), symptom_text(e->symptom), e->text);
}

void symptom_raise(struct symptoms *list, const struct symptom_subject *of,
		   enum symptom s, uint64_t now_ms, const char *fmt, ...)
{
	static const struct addr nobody = { { 0 } };
	const struct addr *inside = of->inside ? of->inside : &nobody;
	struct symptom_event *e = NULL;
	char text[SYMPTOM_TEXT_MAX];
	va_list ap;
	bool first;

	if (of->mask && symptom_has(*of->mask, s))
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (!of->mask)
		e = event_find(list, s, inside, now_ms);
	first = !e;
	if (first)
		e = event_add(list, s, inside, now_ms);
	e->single = of->mask;
	e->last_ms = now_ms;
	e->times++;
	log_escape(e->text, sizeof(e->text), span_from_str(text));
	counter_add(list->counters,
		    (enum counter)(COUNTER_symptoms + (unsigned int)s));
	if (of->mask) {
		*of->mask |= 1u << s;
		note(of, s, e->text);
	}
	if (first)
		log_symptom(list, e, of->id, now_ms);
}
