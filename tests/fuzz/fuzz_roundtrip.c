/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any message from a phone; then its answer, which echoes the header as it
 * left (Via, From, To, Record-Route, Path; Contact of a REGISTER). The phone
 * must get back, to the byte, what it wrote. That is rule 2 of the design.
 */
#include "../unit/stage.h"

#include "sip/field.h"
#include "sip/sites.h"

#define PHONE "192.168.1.10:5060"
#define SERVER "198.51.100.5:5060"
#define PUBLIC "203.0.113.1:5061"

/* struct mapping remembers so many texts */
#define TEXTS UNDO_COUNT

static struct message msg;
static char answer[PACKET_MAX], want[PACKET_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next logical line, folds and its end included */
static struct span take_line(struct span *rest)
{
	const char *p = rest->ptr;
	struct span line;

	do {
		struct span left = span_between(p, span_end(*rest));
		const char *lf = span_chr(left, '\n');

		p = lf ? lf + 1 : span_end(*rest);
	} while (p < span_end(*rest) && (*p == ' ' || *p == '\t'));
	line = span_between(rest->ptr, p);
	*rest = span_between(p, span_end(*rest));
	return line;
}

static bool name_is(struct span line, struct span name, struct span compact)
{
	const char *colon = span_chr(line, ':');
	struct span is;

	if (!colon)
		return false;
	is = span_trim(span_between(line.ptr, colon));
	return span_case_eq(is, name) || span_case_eq(is, compact);
}

static size_t append(char *to, size_t at, struct span s)
{
	stage_need(s.len <= PACKET_MAX - at);
	if (s.len)
		memcpy(to + at, s.ptr, s.len);
	return at + s.len;
}

/* An answer made of the header of @bytes; without what is not echoed */
static struct span make_answer(char *to, struct span bytes, bool contacts)
{
	struct span rest = span_trim(bytes);
	size_t at = append(to, 0, SPAN("SIP/2.0 200 OK\r\n"));

	rest = span_between(rest.ptr, span_end(bytes));
	take_line(&rest);
	while (rest.len) {
		struct span line = take_line(&rest);

		if (span_eq(line, SPAN("\r\n")) || span_eq(line, SPAN("\n")))
			break;
		if (name_is(line, SPAN("Content-Length"), SPAN("l")) ||
		    (!contacts && name_is(line, SPAN("Contact"), SPAN("m"))))
			continue;
		at = append(to, at, line);
	}
	at = append(to, at, SPAN("\r\n"));
	return (struct span){ to, at };
}

/**
 * struct texts - What the phone wrote for its own address, by what was made
 * of it: two texts for one cannot both come back
 */
struct texts {
	unsigned int count;
	struct {
		enum site_group group;
		struct span text;
		uint16_t port;
	} text[TEXTS];
};

/* No port may be written as 5060's, which is 5061, and From and To keep a port
 * that has no mapping, such as 5061: these are one
 */
static uint16_t port_class(uint16_t port)
{
	return !port || port == 5061 ? 5060 : port;
}

static bool texts_add(struct texts *t, enum site_group group,
		      const struct hostport *hp)
{
	for (unsigned int i = 0; i < t->count; i++) {
		if (t->text[i].group == group &&
		    port_class(t->text[i].port) == port_class(hp->port))
			return span_eq(t->text[i].text, hp->text);
	}
	if (t->count == TEXTS)
		return false;
	t->text[t->count].group = group;
	t->text[t->count].port = hp->port;
	t->text[t->count++].text = hp->text;
	return true;
}

/* Another inside host's address may become the same as this one's own */
static bool is_other_host(const struct addr *a, const struct addr *phone)
{
	struct network inside = stage_network("192.168.1.0/24");

	return network_contains(&inside, a) && !addr_eq(a, phone);
}

static bool texts_of_field(struct texts *t, const struct site *site,
			   struct span field)
{
	struct addr phone = stage_end(PHONE).addr;
	enum site_group group = site->group;
	struct hostport hp;
	struct span value;
	struct via via;

	/* Of a request from inside, To is the other side's: it is remembered
	 * apart, and takes a place of its own
	 */
	if (site->header == SIP_TO)
		group = SITE_GROUP_REMOTE;

	while (field_next_value(&field, &value)) {
		bool read = site->header == SIP_VIA
				    ? via_parse(value, &via)
				    : uri_hostport(field_uri(value), &hp);

		if (!read)
			continue;
		if (site->header == SIP_VIA)
			hp = via.sent_by;
		if (is_other_host(&hp.addr, &phone) ||
		    (addr_eq(&hp.addr, &phone) && !texts_add(t, group, &hp)))
			return false;
	}
	return true;
}

/* What cannot be told apart on the way back is no failure */
static bool is_plain(void)
{
	struct texts t = { 0 };

	if (span_find(msg.whole, SPAN("203.0.113.1")) ||
	    span_find(msg.whole, SPAN("2001:db8:1")) ||
	    span_find(msg.whole, SPAN("rport=5061")) ||
	    span_find(msg.whole, SPAN("RPORT=5061")))
		return false;
	for (unsigned int i = 0; i < msg.count; i++) {
		for (const struct site *s = site_table; s->name; s++) {
			if (s->header == msg.line[i].id &&
			    s->rule[SITE_REQUEST_OUT] == SITE_MAP &&
			    !texts_of_field(&t, s, msg.line[i].value))
				return false;
		}
	}
	return true;
}

/* Another phone has port 5060 outside: ours gets 5061 */
static struct stage *open_stage(void)
{
	struct stage *st = stage_open();

	stage_send(st, "192.168.1.11:5060", SERVER, "\r\n\r\n");
	stage_send(st, PHONE, SERVER, "\r\n\r\n");
	stage_need(endpoint_eq(
		&st->t.src,
		&(struct endpoint){ stage_end(PUBLIC).addr, 5061 }));
	return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span bytes = { (const char *)data, size }, echo, original;
	struct tuple out = { .src = stage_end(PHONE),
			     .dst = stage_end(SERVER),
			     .proto = IPPROTO_UDP };
	struct tuple in = { .src = stage_end(SERVER),
			    .dst = stage_end(PUBLIC),
			    .proto = IPPROTO_UDP };
	struct stage *st;
	bool contacts;

	if (size > 8000 || message_parse(bytes, &msg) != MESSAGE_OK ||
	    !message_is_request(&msg) || !is_plain())
		return 0;
	st = open_stage();
	contacts = msg.method == SIP_REGISTER &&
		   span_find(message_value(&msg, SIP_CSEQ), SPAN("REGISTER"));
	stage_pass(st, &out, bytes);
	original = make_answer(want, bytes, contacts);
	echo = make_answer(answer, st->left, contacts);
	if (message_parse(original, &msg) == MESSAGE_OK &&
	    (msg.method == SIP_REGISTER) == contacts) {
		stage_pass(st, &in, echo);
		stage_need(span_eq(st->left, original));
	}
	stage_close(st);
	return 0;
}
