/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf/value.h"

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>

#define SHOWN_MAX 80

/* The word types write an enum through an unsigned int */
_Static_assert(sizeof(enum conf_mode) == sizeof(unsigned int), "enum size");
_Static_assert(sizeof(enum log_level) == sizeof(unsigned int), "enum size");

static void *member(const struct conf_row *row, struct conf *conf)
{
	return (char *)conf + row->offset;
}

static const void *const_member(const struct conf_row *row,
				const struct conf *conf)
{
	return (const char *)conf + row->offset;
}

__attribute__((format(printf, 2, 3))) static int refuse(char *why,
							const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONF_WHY_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* "'TEXT' is not WANTED" */
static int refuse_text(char *why, struct span text, const char *wanted)
{
	char shown[SHOWN_MAX];

	return refuse(why, "'%s' is not %s",
		      log_escape(shown, sizeof(shown), text), wanted);
}

/* The default stands for "not set" where it is no value ("auto", "") */
static bool is_unset(const struct conf_row *row, struct span text)
{
	return !text.len ||
	       span_case_eq(text, span_from_str(row->option.initial));
}

/*
 * Cut the next part off a comma list
 *
 * Return: false at the end. An empty part, also after the last comma, is given
 * out as such: the caller refuses it like any other bad part
 */
static bool list_next(struct span *rest, struct span *part)
{
	const char *comma = span_chr(*rest, ',');

	if (!rest->ptr)
		return false;
	if (comma) {
		*part = span_trim(span_between(rest->ptr, comma));
		*rest = span_between(comma + 1, span_end(*rest));
	} else {
		*part = span_trim(*rest);
		*rest = (struct span){ 0 };
	}
	return true;
}

static void names_print(const struct conf_row *row, const struct conf *conf,
			FILE *out)
{
	const struct conf_names *list = const_member(row, conf);

	for (unsigned int i = 0; i < list->count; i++)
		fprintf(out, "%s%s", i ? "," : "", list->name[i]);
}

static int names_add(struct conf_names *list, struct span name, char *why)
{
	char shown[SHOWN_MAX];

	for (unsigned int i = 0; i < list->count; i++) {
		if (span_eq(name, span_from_str(list->name[i])))
			return refuse(why, "'%s' is given twice",
				      log_escape(shown, sizeof(shown), name));
	}
	if (list->count == CONF_MAX_NAMES)
		return refuse(why, "more than %d names", CONF_MAX_NAMES);
	span_copy(list->name[list->count++], CONF_NAME_MAX, name);
	return 0;
}

/*
 * Narrower than the kernel's dev_valid_name(): what would need quoting in
 * iptables-restore, or looks like an option or a negation, is no name that
 * anybody gave on purpose
 */
static bool is_interface(struct span name)
{
	if (name.len && name.ptr[name.len - 1] == '+')
		name.len--;
	else if (!name.len)
		return false;
	if (name.len >= IFNAMSIZ || (name.len && name.ptr[0] == '-'))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c >= 0x80 || (!isalnum(c) && !strchr("_-.@~=", c)))
			return false;
	}
	return true;
}

static int interfaces_parse(const struct conf_row *row, struct span text,
			    struct conf *conf, char *why)
{
	struct conf_names list = { 0 };
	struct span part;
	int err = 0;

	if (!text.len)
		return refuse(why, "at least one interface is needed");
	while (!err && list_next(&text, &part)) {
		if (!is_interface(part))
			err = refuse_text(why, part,
					  "an interface name (15 characters, "
					  "then perhaps '+')");
		else
			err = names_add(&list, part, why);
	}
	if (!err)
		*(struct conf_names *)member(row, conf) = list;
	return err;
}

const struct conf_type conf_type_interfaces = { interfaces_parse, names_print };

static int globs_parse(const struct conf_row *row, struct span text,
		       struct conf *conf, char *why)
{
	struct conf_names list = { 0 };
	struct span part;
	int err = 0;

	if (!text.len)
		text.ptr = NULL;
	while (!err && list_next(&text, &part)) {
		if (!part.len || span_chr(part, '"'))
			err = refuse_text(why, part,
					  "a pattern (put ? for a comma or a "
					  "quotation mark)");
		else if (part.len >= CONF_NAME_MAX)
			err = refuse(why, "pattern longer than %d bytes",
				     CONF_NAME_MAX - 1);
		else
			err = names_add(&list, part, why);
	}
	if (!err)
		*(struct conf_names *)member(row, conf) = list;
	return err;
}

const struct conf_type conf_type_globs = { globs_parse, names_print };

static int networks_read(struct span text, struct conf_networks *list,
			 char *why)
{
	struct span part;

	*list = (struct conf_networks){ 0 };
	while (list_next(&text, &part)) {
		if (list->count == CONF_MAX_NETWORKS)
			return refuse(why, "more than %d networks",
				      CONF_MAX_NETWORKS);
		if (network_parse(part, &list->net[list->count]))
			return refuse_text(why, part,
					   "a network (ADDRESS/LENGTH with no "
					   "bits set beyond LENGTH)");
		list->count++;
	}
	return 0;
}

static void networks_write(const struct conf_networks *list, FILE *out)
{
	char text[ENDPOINT_TEXT_MAX];

	for (unsigned int i = 0; i < list->count; i++) {
		network_format(&list->net[i], text);
		fprintf(out, "%s%s", i ? "," : "", text);
	}
}

static int networks_parse(const struct conf_row *row, struct span text,
			  struct conf *conf, char *why)
{
	struct conf_networks list = { 0 };
	int err = is_unset(row, text) ? 0 : networks_read(text, &list, why);

	if (!err)
		*(struct conf_networks *)member(row, conf) = list;
	return err;
}

static void networks_print(const struct conf_row *row, const struct conf *conf,
			   FILE *out)
{
	const struct conf_networks *list = const_member(row, conf);

	if (list->count)
		networks_write(list, out);
	else
		fputs(row->option.initial, out);
}

const struct conf_type conf_type_networks = { networks_parse, networks_print };

static int address_parse(const struct conf_row *row, struct span text,
			 struct conf *conf, char *why)
{
	struct addr addr = { 0 };

	if (!is_unset(row, text)) {
		if (addr_parse(text, &addr))
			return refuse_text(why, text, "an address");
		if (!addr_is_unicast(&addr))
			return refuse_text(why, text,
					   "an address that a host could have");
	}
	*(struct addr *)member(row, conf) = addr;
	return 0;
}

static void address_print(const struct conf_row *row, const struct conf *conf,
			  FILE *out)
{
	const struct addr *addr = const_member(row, conf);
	char text[ADDR_TEXT_MAX];

	if (!addr_is_set(addr)) {
		fputs(row->option.initial, out);
		return;
	}
	addr_format(addr, text);
	fputs(text, out);
}

const struct conf_type conf_type_address = { address_parse, address_print };

/* "'TEXT' is not one of a, b, c" */
static int refuse_word(const struct conf_word *words, struct span text,
		       char *why)
{
	char list[CONF_WHY_MAX / 2] = "one of ";
	size_t n = strlen(list);

	for (const struct conf_word *w = words; w->word; w++) {
		if (w > words && w->number == w[-1].number)
			continue; /* another spelling */
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
				      w == words ? "" : ", ", w->word);
		if (n >= sizeof(list))
			break;
	}
	return refuse_text(why, text, list);
}

static const struct conf_word *word_find(const struct conf_word *words,
					 struct span text)
{
	for (; words->word; words++) {
		if (span_case_eq(text, span_from_str(words->word)))
			return words;
	}
	return NULL;
}

static const char *word_of(const struct conf_word *words, unsigned int number)
{
	for (; words->word; words++) {
		if (words->number == number)
			return words->word;
	}
	return NULL;
}

static int word_parse(const struct conf_row *row, struct span text,
		      struct conf *conf, char *why)
{
	const struct conf_word *w = word_find(row->words, text);

	if (!w)
		return refuse_word(row->words, text, why);
	memcpy(member(row, conf), &w->number, sizeof(w->number));
	return 0;
}

static void word_print(const struct conf_row *row, const struct conf *conf,
		       FILE *out)
{
	unsigned int number;
	const char *word;

	memcpy(&number, const_member(row, conf), sizeof(number));
	word = word_of(row->words, number);
	fputs(word ? word : "", out);
}

const struct conf_type conf_type_word = { word_parse, word_print };

static const struct conf_word bool_words[] = {
	{ "yes", true },  { "true", true }, { "on", true },
	{ "1", true },	  { "no", false },  { "false", false },
	{ "off", false }, { "0", false },   { NULL, 0 },
};

static int bool_parse(const struct conf_row *row, struct span text,
		      struct conf *conf, char *why)
{
	const struct conf_word *w = word_find(bool_words, text);

	if (!w)
		return refuse_word(bool_words, text, why);
	*(bool *)member(row, conf) = w->number;
	return 0;
}

static void bool_print(const struct conf_row *row, const struct conf *conf,
		       FILE *out)
{
	fputs(*(const bool *)const_member(row, conf) ? "yes" : "no", out);
}

const struct conf_type conf_type_yesno = { bool_parse, bool_print };

static int number_parse(const struct conf_row *row, struct span text,
			struct conf *conf, char *why)
{
	uint64_t v;
	int err = span_to_uint(text, row->max, &v);

	if (err == -EINVAL)
		return refuse_text(why, text, "a number");
	if (err || v < row->min)
		return refuse(why, "must be %u to %u %s", row->min, row->max,
			      row->unit);
	*(uint32_t *)member(row, conf) = (uint32_t)v;
	return 0;
}

static void number_print(const struct conf_row *row, const struct conf *conf,
			 FILE *out)
{
	fprintf(out, "%u", *(const uint32_t *)const_member(row, conf));
}

const struct conf_type conf_type_number = { number_parse, number_print };

static bool ranges_overlap(const struct ports *p, unsigned int i,
			   unsigned int k)
{
	return p->range[i].first <= p->range[k].last &&
	       p->range[k].first <= p->range[i].last;
}

static int ports_refuse(struct span text, int err, char *why)
{
	if (err == -ERANGE)
		return refuse(why, "a port over 65535, or a range that runs "
				   "backwards");
	if (err == -ENOSPC)
		return refuse(why, "more than %d ranges", PORTS_MAX_RANGES);
	return refuse_text(why, text, "a list of ports (5060,5070-5079)");
}

static int ports_type_parse(const struct conf_row *row, struct span text,
			    struct conf *conf, char *why)
{
	struct ports p = { 0 };
	int err = ports_parse(text, &p);

	if (err)
		return ports_refuse(text, err, why);
	for (unsigned int i = 0; i < p.count; i++) {
		if (p.range[i].first < row->min)
			return refuse(why, "port %u is below %u",
				      p.range[i].first, row->min);
		for (unsigned int k = 0; k < i; k++) {
			if (ranges_overlap(&p, i, k))
				return refuse(why, "port %u is given twice",
					      p.range[i].first >
							      p.range[k].first
						      ? p.range[i].first
						      : p.range[k].first);
		}
	}
	*(struct ports *)member(row, conf) = p;
	return 0;
}

static void ports_print(const struct conf_row *row, const struct conf *conf,
			FILE *out)
{
	const struct ports *p = const_member(row, conf);

	for (unsigned int i = 0; i < p->count; i++) {
		fprintf(out, "%s%u", i ? "," : "", p->range[i].first);
		if (p->range[i].last != p->range[i].first)
			fprintf(out, "-%u", p->range[i].last);
	}
}

const struct conf_type conf_type_ports = { ports_type_parse, ports_print };

/* A word, or networks into the member next to it */
static int inbound_parse(const struct conf_row *row, struct span text,
			 struct conf *conf, char *why)
{
	const struct conf_word *w = word_find(row->words, text);
	struct conf_networks list = { 0 };

	if (!text.len)
		return refuse(why, "registrar, any or networks are needed");
	if (!w && networks_read(text, &list, why))
		return -EINVAL;
	conf->sip.inbound_from =
		w ? (enum conf_inbound)w->number : CONF_INBOUND_LIST;
	conf->sip.inbound_networks = list;
	return 0;
}

static void inbound_print(const struct conf_row *row, const struct conf *conf,
			  FILE *out)
{
	const char *word = word_of(row->words, conf->sip.inbound_from);

	if (word)
		fputs(word, out);
	else
		networks_write(&conf->sip.inbound_networks, out);
}

const struct conf_type conf_type_inbound = { inbound_parse, inbound_print };

/* Source: RFC 2474 (CS), 2597 (AF), 3246 (EF), 5865 (VA), 8622 (LE) */
static const struct conf_word dscp_words[] = {
	{ "cs0", 0 },	{ "cs1", 8 },	{ "cs2", 16 },	{ "cs3", 24 },
	{ "cs4", 32 },	{ "cs5", 40 },	{ "cs6", 48 },	{ "cs7", 56 },
	{ "af11", 10 }, { "af12", 12 }, { "af13", 14 }, { "af21", 18 },
	{ "af22", 20 }, { "af23", 22 }, { "af31", 26 }, { "af32", 28 },
	{ "af33", 30 }, { "af41", 34 }, { "af42", 36 }, { "af43", 38 },
	{ "ef", 46 },	{ "va", 44 },	{ "le", 1 },	{ "be", 0 },
	{ NULL, 0 },
};

static int dscp_parse(const struct conf_row *row, struct span text,
		      struct conf *conf, char *why)
{
	const struct conf_word *w = word_find(dscp_words, text);
	uint64_t number = 0;
	int value = CONF_DSCP_UNSET;

	if (w)
		value = (int)w->number;
	else if (text.len && span_to_uint(text, 63, &number))
		return refuse_text(why, text,
				   "a DSCP class (ef, af41, cs3) or 0 to 63");
	else if (text.len)
		value = (int)number;
	*(int *)member(row, conf) = value;
	return 0;
}

static void dscp_print(const struct conf_row *row, const struct conf *conf,
		       FILE *out)
{
	int value = *(const int *)const_member(row, conf);
	const char *word;

	if (value == CONF_DSCP_UNSET)
		return;
	word = word_of(dscp_words, (unsigned int)value);
	if (word)
		fputs(word, out);
	else
		fprintf(out, "%d", value);
}

const struct conf_type conf_type_dscp = { dscp_parse, dscp_print };

/* Decimal or 0x and hexadecimal, 32 bits, nothing else */
static int mark_number(struct span text, uint32_t *out)
{
	char buf[16], *end;
	unsigned long long v;
	int base = 10;
	const char *digits = buf;

	if (!text.len || span_copy(buf, sizeof(buf), text) >= sizeof(buf))
		return -EINVAL;
	if (!strncasecmp(buf, "0x", 2)) {
		base = 16;
		digits = buf + 2;
	}
	/* strtoull() would take blanks and a sign */
	if (!isxdigit((unsigned char)digits[0]))
		return -EINVAL;
	v = strtoull(digits, &end, base);
	if (end != buf + text.len || v > UINT32_MAX)
		return -EINVAL;
	*out = (uint32_t)v;
	return 0;
}

static int mark_parse(const struct conf_row *row, struct span text,
		      struct conf *conf, char *why)
{
	const char *slash = span_chr(text, '/');
	struct span value = slash ? span_between(text.ptr, slash) : text;
	struct conf_mark mark = { 0 };
	int err = mark_number(span_trim(value), &mark.value);

	if (!slash)
		mark.mask = mark.value ? UINT32_MAX : 0;
	else if (!err)
		err = mark_number(
			span_trim(span_between(slash + 1, span_end(text))),
			&mark.mask);
	if (err)
		return refuse_text(why, text, "a mark (VALUE or VALUE/MASK)");
	if (mark.value & ~mark.mask)
		return refuse(why, "the value has bits outside the mask");
	*(struct conf_mark *)member(row, conf) = mark;
	return 0;
}

static void mark_print(const struct conf_row *row, const struct conf *conf,
		       FILE *out)
{
	const struct conf_mark *mark = const_member(row, conf);

	if (mark->mask)
		fprintf(out, "0x%x/0x%x", mark->value, mark->mask);
	else
		fputs("0", out);
}

const struct conf_type conf_type_mark = { mark_parse, mark_print };

/* What systemd made for the unit; of several the first (systemd.exec(5)) */
static struct span state_directory(void)
{
	const char *env = getenv("STATE_DIRECTORY");
	struct span dir;

	if (!env || !*env)
		return SPAN("/var/lib/sipalgd");
	dir = span_from_str(env);
	dir.len = strcspn(env, ":");
	return dir;
}

static int path_parse(const struct conf_row *row, struct span text,
		      struct conf *conf, char *why)
{
	if (span_eq(text, SPAN(CONF_STATE_DEFAULT)))
		text = state_directory();
	if (!text.len || text.ptr[0] != '/')
		return refuse_text(why, text, "an absolute path");
	if (span_chr(text, '"'))
		return refuse(why, "a quotation mark in the path");
	/* sun_path of unix(7), its NUL included; it serves for both paths */
	if (text.len >= CONF_PATH_MAX)
		return refuse(why, "path longer than %d bytes",
			      CONF_PATH_MAX - 1);
	span_copy(member(row, conf), CONF_PATH_MAX, text);
	return 0;
}

static void text_print(const struct conf_row *row, const struct conf *conf,
		       FILE *out)
{
	fputs(const_member(row, conf), out);
}

const struct conf_type conf_type_path = { path_parse, text_print };

static int group_parse(const struct conf_row *row, struct span text,
		       struct conf *conf, char *why)
{
	bool ok =
		text.len > 0 && text.len < CONF_NAME_MAX && text.ptr[0] != '-';

	for (size_t i = 0; ok && i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		ok = c < 0x80 && (isalnum(c) || strchr("_-.", c));
	}
	if (!ok)
		return refuse_text(why, text, "a group name");
	span_copy(member(row, conf), CONF_NAME_MAX, text);
	return 0;
}

const struct conf_type conf_type_group = { group_parse, text_print };

static int endpoint_parse(const struct conf_row *row, struct span text,
			  struct conf *conf, char *why)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	/* Who names no address means this host alone */
	struct span host = SPAN("127.0.0.1"), number = text;
	struct endpoint e = { 0 };
	uint64_t port = 0;

	if (colon) {
		host = span_between(text.ptr, colon);
		number = span_between(colon + 1, span_end(text));
	}
	/* 2001:db8::1:80 could be read two ways: brackets decide */
	if (text.len && (addr_parse(host, &e.addr) ||
			 (!addr_is_v4(&e.addr) && host.ptr[0] != '[') ||
			 span_to_uint(number, UINT16_MAX, &port) || !port))
		return refuse_text(why, text,
				   "ADDRESS:PORT (IPv6 in brackets) or PORT");
	e.port = (uint16_t)port;
	*(struct endpoint *)member(row, conf) = e;
	return 0;
}

static void endpoint_print(const struct conf_row *row, const struct conf *conf,
			   FILE *out)
{
	const struct endpoint *e = const_member(row, conf);
	char text[ENDPOINT_TEXT_MAX];

	if (!e->port)
		return;
	endpoint_format(e, text);
	fputs(text, out);
}

const struct conf_type conf_type_endpoint = { endpoint_parse, endpoint_print };
