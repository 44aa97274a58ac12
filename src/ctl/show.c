/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/table.h"
#include "ctl/text.h"

/* Column in which the values of one thing begin */
#define FIELD_INDENT 13

/* ---- values ---- */

const char *show_string(const json_t *object, const char *key)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value ? value : "";
}

json_int_t show_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

json_int_t show_packets(const json_t *call, const char *key)
{
	const json_t *list = json_object_get(call, "media");
	json_int_t sum = 0;
	json_t *stream;
	size_t i;

	json_array_foreach(list, i, stream)
	{
		sum += show_number(stream, key);
	}
	return sum;
}

/* An answer that is a list, under the command's name, is that list */
static void show_answer(const json_t *answer, const char *command)
{
	const json_t *list = json_object_get(answer, command);

	show_document(json_is_array(list) ? list : answer);
}

void show_document(const json_t *document)
{
	json_dumpf(document, stdout, JSON_INDENT(2));
	putchar('\n');
}

struct word_colour {
	const char *word;
	enum term_colour colour;
};

static enum term_colour colour_of(const struct word_colour *words,
				  const char *word)
{
	for (; words->word; words++) {
		if (!strcmp(words->word, word))
			return words->colour;
	}
	return TERM_PLAIN;
}

enum term_colour show_mode_colour(const char *mode)
{
	static const struct word_colour words[] = {
		{ "active", TERM_GOOD },
		{ "observe", TERM_WARN },
		{ "bypass", TERM_BAD },
		{ NULL, TERM_PLAIN },
	};

	return colour_of(words, mode);
}

static enum term_colour call_colour(const json_t *call)
{
	static const struct word_colour words[] = {
		{ "active", TERM_GOOD },
		{ "held", TERM_WARN },
		{ "ended", TERM_DIM },
		{ NULL, TERM_PLAIN },
	};

	return colour_of(words, show_string(call, "state"));
}

/* Codes of all symptoms */
static void add_symptoms(struct table *t, const json_t *object)
{
	const json_t *list = json_object_get(object, "symptoms");
	char codes[256] = "";
	size_t i, len = 0;
	json_t *symptom;

	json_array_foreach(list, i, symptom)
	{
		if (len + 1 < sizeof(codes))
			len += (size_t)snprintf(
				codes + len, sizeof(codes) - len, "%s%s",
				i ? "," : "", show_string(symptom, "code"));
	}
	table_add(t, len ? TERM_BAD : TERM_PLAIN, "%s", codes);
}

/* ---- status ---- */

static void print_queues(const struct ctl *ctl, const json_t *list)
{
	static const struct table_column columns[] = {
		{ "QUEUE", 0, 0, true },
		{ "PACKETS", 0, 0, true },
		{ "WAITING", 0, 1, true },
		{ "OF", 0, 4, true },
		{ "DROPPED", 0, 0, true },
		{ "USER-DROPPED", 0, 3, true },
		{ 0 },
	};
	struct table *t = table_new(columns);
	json_t *queue;
	size_t i;

	json_array_foreach(list, i, queue)
	{
		json_int_t dropped = show_number(queue, "dropped");
		json_int_t user = show_number(queue, "user_dropped");

		table_add_number(t, TERM_PLAIN, show_number(queue, "number"));
		table_add_number(t, TERM_PLAIN, show_number(queue, "packets"));
		table_add_number(t, TERM_PLAIN, show_number(queue, "waiting"));
		table_add_number(t, TERM_PLAIN,
				 show_number(queue, "max_length"));
		table_add_number(t, dropped ? TERM_BAD : TERM_PLAIN, dropped);
		table_add_number(t, user ? TERM_BAD : TERM_PLAIN, user);
	}
	table_print(t, ctl, stdout);
}

static void print_status(const struct ctl *ctl, const json_t *status)
{
	static const char *const rows[][2] = {
		{ "registrations", "registrations" }, { "calls", "calls" },
		{ "media_mappings", "media ports" },  { "flows", "flows" },
		{ "messages", "messages" },
	};
	const char *mode = show_string(status, "mode");
	char up[TEXT_DURATION_MAX];

	text_duration(up, (uint64_t)show_number(status, "uptime_s"));
	printf("sipalgd %s  %s%s%s  up %s\n\n", show_string(status, "version"),
	       term_colour(ctl, show_mode_colour(mode)), mode, term_plain(ctl),
	       up);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		printf("%-*s %10" JSON_INTEGER_FORMAT "\n", FIELD_INDENT,
		       rows[i][1], show_number(status, rows[i][0]));
	putchar('\n');
	print_queues(ctl, json_object_get(status, "queues"));
}

/* Ask, and print the answer: as JSON, or by @print */
static int show(const struct ctl *ctl, const char *command,
		void (*print)(const struct ctl *ctl, const json_t *answer))
{
	json_t *answer;
	int status =
		ctl_ask(ctl, json_pack("{s:s}", "command", command), &answer);

	if (status != CTL_OK)
		return status;
	if (ctl->json)
		show_answer(answer, command);
	else
		print(ctl, answer);
	json_decref(answer);
	return CTL_OK;
}

int show_status(const struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(ctl, "status", print_status);
}

/* ---- counters ---- */

static void print_counters(const struct ctl *ctl, const json_t *answer)
{
	static const struct table_column columns[] = {
		{ "COUNT", 0, 0, true },
		{ "NAME", 20, 0, false },
		{ "WHAT", 16, 1, false },
		{ 0 },
	};
	struct table *t = NULL;
	json_t *counter;
	size_t i;

	json_array_foreach(json_object_get(answer, "counters"), i, counter)
	{
		json_int_t value = show_number(counter, "value");

		if (!value && !ctl->all)
			continue;
		if (!t)
			t = table_new(columns);
		table_add_number(t, TERM_BOLD, value);
		table_add(t, TERM_PLAIN, "%s", show_string(counter, "name"));
		table_add(t, TERM_DIM, "%s", show_string(counter, "help"));
	}
	if (t)
		table_print(t, ctl, stdout);
	else
		puts("Nothing has been counted yet (--all shows every "
		     "counter).");
}

int show_stats(const struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(ctl, ctl->json ? "stats" : "counters", print_counters);
}

/* ---- registrations ---- */

/* "sip:alice@192.0.2.4:5060;ob": whose it is stands in another column */
static void add_host(struct table *t, const char *uri)
{
	const char *at = strchr(uri, '@');
	const char *host = at ? at + 1 : text_bare_uri(uri);

	table_add(t, TERM_PLAIN, "%.*s", (int)strcspn(host, ";"), host);
}

static void add_registration(struct table *t, const json_t *reg)
{
	json_int_t expires_s = show_number(reg, "expires_s");
	char left[TEXT_DURATION_MAX] = "asked";

	if (expires_s)
		text_duration(left, (uint64_t)expires_s);
	table_add(t, TERM_PLAIN, "%s", text_bare_uri(show_string(reg, "aor")));
	add_host(t, show_string(reg, "contact_inside"));
	add_host(t, show_string(reg, "contact_public"));
	table_add(t, TERM_PLAIN, "%s", show_string(reg, "registrar"));
	table_add(t, expires_s ? TERM_GOOD : TERM_WARN, "%s", left);
	table_add(t, TERM_PLAIN, "%s", show_string(reg, "transport"));
	add_symptoms(t, reg);
	table_add(t, TERM_DIM, "%s", show_string(reg, "user_agent"));
}

static void print_registrations(const struct ctl *ctl, const json_t *answer)
{
	static const struct table_column columns[] = {
		{ "ADDRESS OF RECORD", 10, 0, false },
		{ "INSIDE", 0, 1, false },
		{ "PUBLIC", 0, 3, false },
		{ "REGISTRAR", 0, 4, false },
		{ "EXPIRES", 0, 0, true },
		{ "BY", 0, 5, false },
		{ "SYMPTOMS", 8, 2, false },
		{ "USER-AGENT", 8, 6, false },
		{ 0 },
	};
	const json_t *list = json_object_get(answer, "registrations");
	struct table *t;
	json_t *reg;
	size_t i;

	if (!json_array_size(list)) {
		puts("No registrations.");
		return;
	}
	t = table_new(columns);
	json_array_foreach(list, i, reg)
	{
		add_registration(t, reg);
	}
	table_print(t, ctl, stdout);
}

int show_registrations(const struct ctl *ctl, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return show(ctl, "registrations", print_registrations);
}

/* ---- calls ---- */

void show_add_call(struct table *t, const json_t *call)
{
	char age[TEXT_DURATION_MAX];

	text_duration(age, (uint64_t)show_number(call, "started_s"));
	table_add(t, call_colour(call), "%s", show_string(call, "state"));
	table_add(t, TERM_PLAIN, "%s", age);
	table_add(t, TERM_PLAIN, "%s",
		  text_bare_uri(show_string(call, "from")));
	table_add(t, TERM_PLAIN, "%s", text_bare_uri(show_string(call, "to")));
}

static void add_call(struct table *t, const json_t *call)
{
	show_add_call(t, call);
	table_add_number(t, TERM_PLAIN, show_packets(call, "packets_out"));
	table_add_number(t, TERM_PLAIN, show_packets(call, "packets_in"));
	add_symptoms(t, call);
	table_add(t, TERM_DIM, "%s", show_string(call, "call_id"));
}

static bool has_uncounted(const json_t *call)
{
	const json_t *list = json_object_get(call, "media");
	json_t *stream;
	size_t i;

	json_array_foreach(list, i, stream)
	{
		if (json_is_false(json_object_get(stream, "counted")))
			return true;
	}
	return false;
}

/* An OUT or IN of 0 that means nothing */
static void say_uncounted(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "calls");
	json_t *call;
	size_t i;

	if (json_is_false(json_object_get(answer, "accounting"))) {
		puts("\nPackets are not counted: net.netfilter."
		     "nf_conntrack_acct is 0.");
		return;
	}
	json_array_foreach(list, i, call)
	{
		if (!has_uncounted(call))
			continue;
		puts("\nPackets of some calls are not counted: they began "
		     "while\nnet.netfilter.nf_conntrack_acct was 0, or in "
		     "mode observe.");
		return;
	}
}

static void print_calls(const struct ctl *ctl, const json_t *answer)
{
	static const struct table_column columns[] = {
		{ "STATE", 0, 0, false },
		{ "AGE", 0, 3, true },
		{ "FROM", 8, 0, false },
		{ "TO", 8, 1, false },
		{ "OUT", 0, 4, true },
		{ "IN", 0, 4, true },
		{ "SYMPTOMS", 8, 2, false },
		{ "CALL-ID", 10, 5, false },
		{ 0 },
	};
	const json_t *list = json_object_get(answer, "calls");
	struct table *t;
	json_t *call;
	size_t i;

	if (!json_array_size(list)) {
		puts("No calls.");
		return;
	}
	t = table_new(columns);
	json_array_foreach(list, i, call)
	{
		add_call(t, call);
	}
	table_print(t, ctl, stdout);
	say_uncounted(answer);
}

/* ---- one call ---- */

static void print_media(const struct ctl *ctl, const json_t *list)
{
	static const struct table_column columns[] = {
		{ "MEDIA", 0, 3, false },
		{ "INSIDE", 0, 2, false },
		{ "PUBLIC", 0, 4, false },
		{ "REMOTE", 0, 1, false },
		{ "OUT", 0, 0, true },
		{ "IN", 0, 0, true },
		{ 0 },
	};
	struct table *t = table_new(columns);
	json_t *stream;
	size_t i;

	json_array_foreach(list, i, stream)
	{
		const char *remote = show_string(stream, "remote");

		table_add(t, TERM_PLAIN, "%s", show_string(stream, "type"));
		table_add(t, TERM_PLAIN, "%s", show_string(stream, "inside"));
		table_add(t, TERM_PLAIN, "%s", show_string(stream, "public"));
		table_add(t, TERM_PLAIN, "%s",
			  *remote ? remote : "not said yet");
		table_add_number(t, TERM_PLAIN,
				 show_number(stream, "packets_out"));
		table_add_number(t, TERM_PLAIN,
				 show_number(stream, "packets_in"));
	}
	putchar('\n');
	table_print(t, ctl, stdout);
}

static void print_symptoms(const struct ctl *ctl, const json_t *list)
{
	json_t *symptom;
	size_t i;

	putchar('\n');
	if (!json_array_size(list))
		puts("No symptoms.");
	json_array_foreach(list, i, symptom)
	{
		printf("%s%s%s\n", term_colour(ctl, TERM_BAD),
		       show_string(symptom, "code"), term_plain(ctl));
		text_field(stdout, "", show_string(symptom, "text"), 2,
			   ctl->width);
	}
}

static void print_call(const struct ctl *ctl, const json_t *call)
{
	static const char *const rows[][2] = {
		{ "Call-ID", "call_id" }, { "From", "from" },
		{ "To", "to" },		  { "State", "state" },
		{ "Phone", "phone" },	  { "Direction", "direction" },
	};
	const json_t *media = json_object_get(call, "media");
	char age[TEXT_DURATION_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		text_field(stdout, rows[i][0], show_string(call, rows[i][1]),
			   FIELD_INDENT, ctl->width);
	text_field(stdout, "Began",
		   text_duration(age, (uint64_t)show_number(call, "started_s")),
		   FIELD_INDENT, ctl->width);
	if (json_array_size(media))
		print_media(ctl, media);
	else
		puts("\nNo media through this gateway.");
	print_symptoms(ctl, json_object_get(call, "symptoms"));
}

/* The daemon gives all whose Call-ID begins so: the one with just this one, if
 * there is one, is meant
 */
static void keep_exact(json_t *list, const char *id)
{
	json_t *exact = json_array(), *call;
	size_t i;

	json_array_foreach(list, i, call)
	{
		if (!strcmp(show_string(call, "call_id"), id))
			json_array_append(exact, call);
	}
	if (json_array_size(exact)) {
		json_array_clear(list);
		json_array_extend(list, exact);
	}
	json_decref(exact);
}

static int show_one_call(const struct ctl *ctl, const char *id)
{
	json_t *answer, *list, *call;
	int status;
	size_t i;

	status = ctl_ask(
		ctl, json_pack("{s:s, s:s}", "command", "calls", "call_id", id),
		&answer);
	if (status != CTL_OK)
		return status;
	list = json_object_get(answer, "calls");
	keep_exact(list, id);
	if (!json_array_size(list)) {
		fprintf(stderr,
			"sipalgctl: no call whose Call-ID begins with %s\n",
			id);
		status = CTL_REFUSED;
	}
	if (ctl->json)
		show_document(list);
	else if (json_array_size(list))
		json_array_foreach(list, i, call)
		{
			if (i)
				putchar('\n');
			print_call(ctl, call);
		}
	if (!ctl->json && status == CTL_OK)
		say_uncounted(answer);
	json_decref(answer);
	return status;
}

int show_calls(const struct ctl *ctl, int argc, char **argv)
{
	return argc ? show_one_call(ctl, argv[0])
		    : show(ctl, "calls", print_calls);
}
