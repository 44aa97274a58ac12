/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tcp/flight.h"

#include <string.h>

#include "tcp/seq.h"

void flight_add(struct flight *f, struct range bytes)
{
	f->sent[f->count++] =
		(struct flight_segment){ .bytes = bytes, .order = ++f->order };
}

static void arrived(struct flight *f, const struct flight_segment *sent)
{
	if (!sent->sacked && seq_before(f->delivered, sent->order))
		f->delivered = sent->order;
	f->at_once = f->at_once || !sent->again;
}

void flight_ack(struct flight *f, uint32_t una)
{
	unsigned int n = 0;

	while (n < f->count && !seq_before(una, f->sent[n].bytes.end))
		arrived(f, &f->sent[n++]);
	f->count -= n;
	memmove(f->sent, f->sent + n, f->count * sizeof(f->sent[0]));
	if (f->count && seq_before(f->sent[0].bytes.first, una))
		f->sent[0].bytes.first = una;
}

bool flight_sack(struct flight *f, struct range bytes)
{
	bool news = false;

	for (unsigned int i = 0; i < f->count; i++) {
		struct flight_segment *sent = &f->sent[i];

		if (sent->sacked ||
		    seq_before(sent->bytes.first, bytes.first) ||
		    seq_before(bytes.end, sent->bytes.end))
			continue;
		arrived(f, sent);
		sent->sacked = true;
		sent->lost = false;
		news = true;
	}
	return news;
}

static bool is_open(const struct flight_segment *sent)
{
	return !sent->sacked && !sent->lost;
}

bool flight_detect(struct flight *f, unsigned int later)
{
	bool news = false;

	for (unsigned int i = 0; i < f->count; i++) {
		struct flight_segment *sent = &f->sent[i];

		if (!is_open(sent) ||
		    seq_diff(f->delivered, sent->order) < (int32_t)later)
			continue;
		sent->lost = true;
		news = true;
	}
	return news;
}

bool flight_is_suspect(const struct flight *f)
{
	for (unsigned int i = 0; i < f->count; i++) {
		if (is_open(&f->sent[i]) &&
		    seq_before(f->sent[i].order, f->delivered))
			return true;
	}
	return false;
}

void flight_lose(struct flight *f, bool latest)
{
	struct flight_segment *worst = NULL;

	for (unsigned int i = 0; i < f->count; i++) {
		struct flight_segment *sent = &f->sent[i];

		if (is_open(sent) &&
		    (!worst ||
		     (latest && seq_before(worst->order, sent->order))))
			worst = sent;
	}
	if (worst)
		worst->lost = true;
}

/* Lost segments that touch may be cut anew */
static void merge(struct flight *f)
{
	unsigned int n = 0;

	for (unsigned int i = 1; i < f->count; i++) {
		if (f->sent[n].lost && f->sent[i].lost)
			f->sent[n].bytes.end = f->sent[i].bytes.end;
		else
			f->sent[++n] = f->sent[i];
	}
	if (f->count)
		f->count = n + 1;
}

void flight_lose_all(struct flight *f)
{
	for (unsigned int i = 0; i < f->count; i++) {
		f->sent[i].lost = true;
		f->sent[i].sacked = false;
	}
	merge(f);
}

/* Cut a segment that has become too long in two; false if there is no room */
static bool cut(struct flight *f, unsigned int i, uint32_t len)
{
	struct flight_segment *sent = &f->sent[i];

	if (f->count == FLIGHT_MAX)
		return false;
	memmove(sent + 1, sent, (f->count - i) * sizeof(*sent));
	f->count++;
	sent[0].bytes.end = sent[1].bytes.first = sent->bytes.first + len;
	return true;
}

bool flight_resend(struct flight *f, uint32_t most, struct range *bytes)
{
	if (f->count == FLIGHT_MAX)
		merge(f);
	for (unsigned int i = 0; i < f->count; i++) {
		struct flight_segment *sent = &f->sent[i];

		if (!sent->lost)
			continue;
		if (sent->bytes.end - sent->bytes.first > most &&
		    !cut(f, i, most))
			return false;
		sent->lost = false;
		sent->again = true;
		sent->order = ++f->order;
		*bytes = sent->bytes;
		return true;
	}
	return false;
}

uint32_t flight_pipe(const struct flight *f)
{
	uint32_t pipe = 0;

	for (unsigned int i = 0; i < f->count; i++) {
		if (is_open(&f->sent[i]))
			pipe += f->sent[i].bytes.end - f->sent[i].bytes.first;
	}
	return pipe;
}
