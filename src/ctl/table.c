/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/table.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/text.h"

/* Between two columns */
#define GAP 2
#define MAX_COLUMNS 16

struct cell {
	char *text;
	size_t columns;
	enum term_colour colour;
};

/**
 * struct table - Cells, and how the columns are shown
 * @cell:	@count of them, row by row
 * @natural:	The longest cell's columns, the title's at least
 * @width:	Columns to be taken; 0: not shown
 */
struct table {
	const struct table_column *column;
	unsigned int column_count;
	struct cell *cell;
	size_t count, room;
	size_t natural[MAX_COLUMNS], width[MAX_COLUMNS];
};

struct table *table_new(const struct table_column *columns)
{
	struct table *t = text_memory(calloc(1, sizeof(*t)));

	t->column = columns;
	while (columns[t->column_count].name) {
		t->natural[t->column_count] =
			strlen(columns[t->column_count].name);
		t->column_count++;
	}
	return t;
}

void table_add(struct table *t, enum term_colour colour, const char *fmt, ...)
{
	size_t *natural = &t->natural[t->count % t->column_count];
	struct cell *cell;
	char *text = NULL;
	va_list args;

	if (t->count == t->room) {
		t->room = t->room ? 2 * t->room : 64;
		t->cell = text_memory(
			realloc(t->cell, t->room * sizeof(*t->cell)));
	}
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	cell = &t->cell[t->count++];
	cell->text = text_safe(*(char *)text_memory(text) ? text : "-");
	cell->columns = text_columns(cell->text);
	cell->colour = colour;
	if (cell->columns > *natural)
		*natural = cell->columns;
	free(text);
}

/* ---- widths ---- */

static size_t least_of(const struct table *t, unsigned int i)
{
	size_t least = t->column[i].least;

	return least && least < t->natural[i] ? least : t->natural[i];
}

static size_t total(const struct table *t)
{
	size_t sum = 0;

	for (unsigned int i = 0; i < t->column_count; i++)
		sum += t->width[i] ? t->width[i] + GAP : 0;
	return sum ? sum - GAP : 0;
}

/* Return: false if all that are left are always shown */
static bool drop_one(struct table *t)
{
	unsigned int last = 0, rank = 0;

	for (unsigned int i = 0; i < t->column_count; i++) {
		if (t->width[i] && t->column[i].rank > rank) {
			rank = t->column[i].rank;
			last = i;
		}
	}
	if (rank)
		t->width[last] = 0;
	return rank;
}

/* One column of the terminal more for each that lacks some, as long as there
 * are any
 */
static bool widen(struct table *t, size_t width)
{
	bool wider = false;

	for (unsigned int i = 0; i < t->column_count; i++) {
		if (!t->width[i] || t->width[i] >= t->natural[i] ||
		    total(t) >= width)
			continue;
		t->width[i]++;
		wider = true;
	}
	return wider;
}

static void choose_widths(struct table *t, size_t width)
{
	for (unsigned int i = 0; i < t->column_count; i++)
		t->width[i] = width ? least_of(t, i) : t->natural[i];
	if (!width)
		return;
	while (total(t) > width && drop_one(t))
		;
	while (widen(t, width))
		;
}

/* ---- output ---- */

static const char *cut_mark(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") ? ">" : "\u2026";
}

static void print_cell(const struct table *t, unsigned int i,
		       const struct cell *cell, bool last,
		       const struct ctl *ctl, FILE *out)
{
	size_t width = t->width[i];
	bool cut = cell->columns > width;
	int len = (int)text_fit(cell->text, cut ? width - 1 : width);
	/* Of two columns there may be no second one: one more is free then */
	size_t shown = text_columns_of(cell->text, (size_t)len) + cut;
	int pad = (int)(width - shown);

	if (t->column[i].right)
		fprintf(out, "%*s", pad, "");
	fprintf(out, "%s%.*s%s%s", term_colour(ctl, cell->colour), len,
		cell->text, cut ? cut_mark() : "",
		cell->colour != TERM_PLAIN ? term_plain(ctl) : "");
	if (!last)
		fprintf(out, "%*s", t->column[i].right ? GAP : pad + GAP, "");
}

static unsigned int last_shown(const struct table *t)
{
	unsigned int last = 0;

	for (unsigned int i = 0; i < t->column_count; i++) {
		if (t->width[i])
			last = i;
	}
	return last;
}

static void print_row(const struct table *t, const struct cell *row,
		      const struct ctl *ctl, FILE *out)
{
	unsigned int last = last_shown(t);

	for (unsigned int i = 0; i <= last; i++) {
		if (t->width[i])
			print_cell(t, i, &row[i], i == last, ctl, out);
	}
	fputc('\n', out);
}

static void print_titles(const struct table *t, const struct ctl *ctl,
			 FILE *out)
{
	unsigned int last = last_shown(t);

	for (unsigned int i = 0; i <= last; i++) {
		const char *name = t->column[i].name;
		const struct cell title = { (char *)name, strlen(name),
					    TERM_BOLD };

		if (t->width[i])
			print_cell(t, i, &title, i == last, ctl, out);
	}
	fputc('\n', out);
}

void table_add_number(struct table *table, enum term_colour colour,
		      long long value)
{
	table_add(table, colour, "%lld", value);
}

void table_print(struct table *t, const struct ctl *ctl, FILE *out)
{
	choose_widths(t, ctl->width);
	print_titles(t, ctl, out);
	for (size_t i = 0; i + t->column_count <= t->count;
	     i += t->column_count)
		print_row(t, &t->cell[i], ctl, out);
	for (size_t i = 0; i < t->count; i++)
		free(t->cell[i].text);
	free(t->cell);
	free(t);
}
