/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#include "daemon/daemon.h"
#include "sip/field.h"

/**
 * struct listing - A list that is being made
 * @kind:	What of
 * @walk:	Where it is
 * @left:	Rows it may still have; 0: no limit was asked for
 * @limited:	There was one
 * @call_id:	Only calls whose Call-ID begins so; empty: all
 * @begun, @done: The beginning, the end has been written
 * @rows:	Written so far
 */
struct listing {
	const struct list_kind *kind;
	struct table_walk walk;
	unsigned int left;
	bool limited, begun, done;
	unsigned long rows;
	char call_id[CALL_ID_MAX + 1];
};

/**
 * struct list_kind - Calls, or registrations
 * @name:	Key of the answer
 * @walks:	The list of walks of their table
 * @begin:	Begin @walk
 * @print:	Write the rows of one object. Return: the next older one
 * @finish:	Write what comes behind the list
 */
struct list_kind {
	const char *name;
	struct table_walk **(*walks)(struct alg *alg);
	void (*begin)(struct alg *alg, struct table_walk *walk);
	void *(*print)(struct listing *list, const struct daemon *d,
		       const void *object, FILE *out);
	void (*finish)(const struct daemon *d, FILE *out);
};

/* ---- values ---- */

/* Text from the network: what is no UTF-8 is shown as \xHH */
static json_t *json_text(struct span text)
{
	char buf[4 * CALL_ID_MAX + 1];
	json_t *json = NULL;

	if (!text.ptr)
		return json_string("");
	if (!memchr(text.ptr, 0, text.len))
		json = json_stringn(text.ptr, text.len);
	return json ? json : json_string(log_escape(buf, sizeof(buf), text));
}

static json_t *json_str(const char *text)
{
	return text ? json_text(span_from_str(text)) : json_string("");
}

static json_t *json_endpoint(const struct endpoint *end)
{
	char text[ENDPOINT_TEXT_MAX];

	endpoint_format(end, text);
	return json_string(text);
}

static json_t *json_addr(const struct addr *addr)
{
	char text[ADDR_TEXT_MAX];

	addr_format(addr, text);
	return json_string(text);
}

static json_t *json_seconds(uint64_t ms)
{
	return json_integer((json_int_t)(ms / 1000));
}

static json_t *json_symptoms(uint32_t mask, const struct symptom_note *notes)
{
	json_t *list = json_array();

	for (int i = 0; i < SYMPTOM_COUNT; i++) {
		enum symptom s = (enum symptom)i;

		if (symptom_has(mask, s))
			json_array_append_new(
				list,
				json_pack("{s:s, s:s}", "code", symptom_code(s),
					  "text", symptom_note_text(notes, s)));
	}
	return list;
}

static void print_row(struct listing *list, json_t *row, FILE *out)
{
	if (!row)
		return; /* memory ran out */
	if (list->rows++)
		fputc(',', out);
	json_dumpf(row, out, JSON_COMPACT);
	json_decref(row);
	list->left -= list->limited;
}

static bool is_full(const struct listing *list)
{
	return list->limited && !list->left;
}

/* ---- calls ---- */

/* What the kernel counts now. struct pinhole is not renewed: the daemon
 * compares that with its own next look
 */
static struct nat_entry read_entry(const struct alg *alg,
				   const struct pinhole *p)
{
	struct nat_entry now;

	if (!nat_find(&alg->nat, &p->lan, NAT_SIDE_LAN, &now) &&
	    tuple_eq(&now.wan, &p->wan))
		return now;
	return (struct nat_entry){ .counted = p->counted,
				   .packets_out = p->packets_out,
				   .packets_in = p->packets_in };
}

static json_t *media_row(const struct alg *alg, const struct media_stream *s,
			 const struct pinhole *p)
{
	struct nat_entry now = { .counted = true };

	if (p)
		now = read_entry(alg, p);
	return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:o*}", "type",
			 json_str(s->type), "inside",
			 json_endpoint(p ? &p->lan.src : &s->in.inside_rtp),
			 "public",
			 json_endpoint(p ? &p->wan.dst : &s->public_rtp),
			 "remote", p ? json_endpoint(&p->lan.dst) : json_null(),
			 "packets_out", (json_int_t)now.packets_out,
			 "packets_in", (json_int_t)now.packets_in, "counted",
			 now.counted ? NULL : json_false());
}

/* RTP, not RTCP: a pair's first port */
static bool carries_rtp(const struct media_stream *s, const struct pinhole *p)
{
	unsigned int offset = (unsigned int)p->wan.dst.port -
			      (unsigned int)s->public_rtp.port;

	return !p->rtcp && offset < 2 * s->pairs && offset % 2 == 0 &&
	       addr_eq(&p->wan.dst.addr, &s->public_rtp.addr);
}

static void add_stream(const struct alg *alg, const struct media_stream *s,
		       const struct pinhole *pinholes, json_t *list)
{
	size_t before = json_array_size(list);
	const struct pinhole *p;

	DL_FOREACH (pinholes, p) {
		if (carries_rtp(s, p))
			json_array_append_new(list, media_row(alg, s, p));
	}
	DL_FOREACH (s->guests, p) {
		if (carries_rtp(s, p))
			json_array_append_new(list, media_row(alg, s, p));
	}
	if (json_array_size(list) == before)
		json_array_append_new(list, media_row(alg, s, NULL));
}

static json_t *json_media(const struct alg *alg, const struct call *call)
{
	json_t *list = json_array();

	for (int i = 0; i < CALL_STREAMS; i++) {
		if (call->stream[i])
			add_stream(alg, call->stream[i], call->pinholes, list);
	}
	return list;
}

/* The URI of From or To; all of it if there is none to be read */
static json_t *json_party(const char *value)
{
	struct span text = span_from_str(value ? value : ""), uri;

	uri = field_uri(text);
	return json_text(uri.len ? uri : text);
}

static json_t *call_row(const struct daemon *d, const struct call *call)
{
	struct addr inside;

	memcpy(&inside, call->key, sizeof(inside));
	return json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:s, s:o, s:o}",
			 "call_id", json_text(call_id(call)), "from",
			 json_party(call->from), "to", json_party(call->to),
			 "state", call_state_name(call->state), "started_s",
			 json_seconds(d->now_ms - call->started_ms), "phone",
			 json_addr(&inside), "direction",
			 call->outgoing ? "out" : "in", "media",
			 json_media(d->alg, call), "symptoms",
			 json_symptoms(call->symptoms, call->notes));
}

static void *print_call(struct listing *list, const struct daemon *d,
			const void *object, FILE *out)
{
	const struct call *call = object;
	struct span id = call_id(call), begin = span_from_str(list->call_id);

	if (id.len >= begin.len && !memcmp(id.ptr, begin.ptr, begin.len))
		print_row(list, call_row(d, call), out);
	return call->hh.prev;
}

static struct table_walk **calls_walks(struct alg *alg)
{
	return &alg->calls.walks;
}

static void calls_begin(struct alg *alg, struct table_walk *walk)
{
	TABLE_WALK_BEGIN(&alg->calls.walks, walk, alg->calls.table, hh);
}

/* Where the kernel does not count, all counts of packets are 0 */
static void calls_finish(const struct daemon *d, FILE *out)
{
	fprintf(out, ",\"accounting\":%s}\n",
		d->kernel.counts ? "true" : "false");
}

static const struct list_kind kind_calls = {
	"calls", calls_walks, calls_begin, print_call, calls_finish,
};

/* ---- registrations ---- */

/* The Contact as the registrar was shown it */
static json_t *public_contact(const struct daemon *d,
			      const struct registration *reg)
{
	const struct addr *shown = &d->conf->gateway.advertised_address;
	struct span uri = span_from_str(reg->contact_inside), after;
	char end[ENDPOINT_TEXT_MAX], text[2 * ENDPOINT_TEXT_MAX + 512];
	struct endpoint public_end = reg->map->public_end;
	struct hostport hp;

	if (addr_is_set(shown))
		public_end.addr = *shown;
	endpoint_format(&public_end, end);
	if (!uri_hostport(uri, &hp))
		return json_string(end);
	if (!hp.port && public_end.port == SIP_PORT)
		addr_format_host(&public_end.addr, end);
	after = span_between(span_end(hp.text), span_end(uri));
	snprintf(text, sizeof(text), "%.*s%s%.*s", (int)(hp.text.ptr - uri.ptr),
		 uri.ptr, end, SPAN_ARG(after));
	return json_str(text);
}

static json_t *registration_row(const struct daemon *d,
				const struct registration *reg)
{
	uint64_t now_ms = d->now_ms;

	if (!reg->contact_inside)
		return NULL;
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "aor",
		json_text(registration_aor(reg->set)), "contact_inside",
		json_str(reg->contact_inside), "contact_public",
		public_contact(d, reg), "registrar",
		json_endpoint(&reg->lan.dst), "expires_s",
		json_seconds(reg->expires_ms > now_ms ? reg->expires_ms - now_ms
						      : 0),
		"transport", reg->lan.proto == IPPROTO_TCP ? "tcp" : "udp",
		"user_agent", json_str(reg->user_agent), "symptoms",
		json_symptoms(reg->symptoms, reg->notes));
}

static void *print_set(struct listing *list, const struct daemon *d,
		       const void *object, FILE *out)
{
	const struct registration_set *set = object;
	const struct registration *reg;

	DL_FOREACH (set->contacts, reg) {
		if (!is_full(list))
			print_row(list, registration_row(d, reg), out);
	}
	return set->hh.prev;
}

static struct table_walk **registrations_walks(struct alg *alg)
{
	return &alg->registrations.walks;
}

static void registrations_begin(struct alg *alg, struct table_walk *walk)
{
	TABLE_WALK_BEGIN(&alg->registrations.walks, walk,
			 alg->registrations.table, hh);
}

static void registrations_finish(const struct daemon *d, FILE *out)
{
	(void)d;
	fputs("}\n", out);
}

static const struct list_kind kind_registrations = {
	"registrations", registrations_walks,  registrations_begin,
	print_set,	 registrations_finish,
};

/* ---- pieces ---- */

static json_t *refuse(const char *why)
{
	return json_pack("{s:s}", "error", why);
}

static json_t *begin(const struct list_kind *kind, struct daemon *d,
		     const json_t *request, void **state)
{
	const json_t *limit = json_object_get(request, "limit");
	const json_t *id = json_object_get(request, "call_id");
	json_int_t most = json_integer_value(limit);
	struct listing *list;

	if (limit && (most <= 0 || most > UINT32_MAX))
		return refuse("\"limit\" is not a number over 0");
	if (id && !json_is_string(id))
		return refuse("\"call_id\" is not a string");
	if (json_string_length(id) > CALL_ID_MAX)
		return refuse("no Call-ID is that long");
	list = calloc(1, sizeof(*list));
	if (!list)
		return NULL;
	list->kind = kind;
	list->left = (unsigned int)most;
	list->limited = limit;
	if (id)
		strcpy(list->call_id, json_string_value(id));
	kind->begin(d->alg, &list->walk);
	*state = list;
	return NULL;
}

json_t *list_calls(void *arg, const json_t *request, void **state)
{
	return begin(&kind_calls, arg, request, state);
}

json_t *list_registrations(void *arg, const json_t *request, void **state)
{
	return begin(&kind_registrations, arg, request, state);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static unsigned int count_walks(const struct table_walk *walks)
{
	unsigned int n = 0;

	for (; walks; walks = walks->link)
		n++;
	return n;
}

/* All who ask share the time of one turn */
static uint64_t piece_us(const struct alg *alg)
{
	unsigned int walks = count_walks(alg->calls.walks) +
			     count_walks(alg->registrations.walks);

	return walks ? LIST_PIECE_US / walks : LIST_PIECE_US;
}

static void print_piece(struct listing *list, const struct daemon *d, FILE *out)
{
	uint64_t end_us = now_us() + piece_us(d->alg);

	if (list->begun)
		fputc(' ', out); /* a piece is never empty */
	else
		fprintf(out, "{\"%s\":[", list->kind->name);
	list->begun = true;
	do {
		if (!list->walk.next || is_full(list)) {
			list->done = true;
			fputc(']', out);
			list->kind->finish(d, out);
			return;
		}
		list->walk.next =
			list->kind->print(list, d, list->walk.next, out);
	} while (now_us() < end_us);
}

char *list_piece(void *arg, void *state)
{
	struct listing *list = state;
	char *text = NULL;
	size_t len;
	FILE *out;

	if (list->done)
		return NULL;
	out = open_memstream(&text, &len);
	if (!out)
		return NULL;
	print_piece(list, arg, out);
	if (!fclose(out))
		return text;
	free(text);
	return NULL;
}

void list_end(void *arg, void *state)
{
	const struct daemon *d = arg;
	struct listing *list = state;

	table_walk_end(list->kind->walks(d->alg), &list->walk);
	free(list);
}
