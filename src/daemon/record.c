/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon/record.h"

#include <ctype.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

/* Most of a long value that is written, so that a line holds all fields */
#define ID_MAX 160
#define NAME_MAX_LEN 112

/* ---- fields ---- */

/* @most: longest text, after escaping */
static void add(struct record *r, const char *key, struct span value,
		size_t most)
{
	if (r->count == RECORD_FIELDS)
		return;
	if (most > RECORD_VALUE - 1)
		most = RECORD_VALUE - 1;
	r->field[r->count].key = key;
	log_escape(r->field[r->count].value, most + 1, value);
	r->count++;
}

static void add_text(struct record *r, const char *key, const char *text,
		     size_t most)
{
	add(r, key, span_from_str(text ? text : ""), most);
}

static void add_number(struct record *r, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	add_text(r, key, text, sizeof(text));
}

/* Nothing, where it is not known: 0 would be a statement */
static void add_packets(struct record *r, const char *key, uint64_t packets,
			const struct media_traffic *of)
{
	if (of->unknown)
		add_text(r, key, "", 1);
	else
		add_number(r, key, packets);
}

static void add_addr(struct record *r, const char *key, struct addr addr)
{
	char text[ADDR_TEXT_MAX];

	addr_format(&addr, text);
	add_text(r, key, text, sizeof(text));
}

static void add_symptoms(struct record *r, uint32_t mask)
{
	char text[RECORD_VALUE] = "";
	size_t n = 0;

	for (int i = 0; i < SYMPTOM_COUNT; i++) {
		if (!symptom_has(mask, (enum symptom)i) || n >= sizeof(text))
			continue;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s",
				      n ? "," : "",
				      symptom_code((enum symptom)i));
	}
	add_text(r, "symptoms", text, sizeof(text));
}

void record_of_call(struct record *r, const struct call *call, uint64_t now_ms)
{
	uint64_t since_ms = call->answered_ms ? call->answered_ms : now_ms;

	r->count = 0;
	add_text(r, "event", "call", NAME_MAX_LEN);
	add_text(r, "result", call_result_name(call_result(call)),
		 NAME_MAX_LEN);
	add_number(r, "status", call->status);
	add_number(r, "duration_s", (now_ms - since_ms) / 1000);
	add_text(r, "direction", call->outgoing ? "outgoing" : "incoming",
		 NAME_MAX_LEN);
	add_addr(r, "inside", call_inside(call));
	add_addr(r, "remote", call->remote);
	add_text(r, "codecs", call->codecs, CODEC_TEXT_MAX);
	add_packets(r, "packets_out", call->traffic.out, &call->traffic);
	add_packets(r, "packets_in", call->traffic.in, &call->traffic);
	add_symptoms(r, call->symptoms);
	add(r, "call_id", call_id(call), ID_MAX);
	add_text(r, "from", call->from, NAME_MAX_LEN);
	add_text(r, "to", call->to, NAME_MAX_LEN);
}

void record_of_registration(struct record *r, const struct registration *reg,
			    const char *how, uint64_t now_ms)
{
	r->count = 0;
	add_text(r, "event", "registration", NAME_MAX_LEN);
	add_text(r, "result", how, NAME_MAX_LEN);
	add_number(r, "status", reg->status);
	add_number(r, "duration_s", (now_ms - reg->began_ms) / 1000);
	add_addr(r, "inside", registration_inside(reg->set));
	add_addr(r, "registrar", registration_registrar(reg->set));
	add_symptoms(r, reg->symptoms);
	add(r, "aor", registration_aor(reg->set), NAME_MAX_LEN);
	add_text(r, "contact", reg->contact_inside, NAME_MAX_LEN);
	add_text(r, "user_agent", reg->user_agent, NAME_MAX_LEN);
}

/* ---- as a line ---- */

static bool is_plain(const char *value)
{
	if (!*value)
		return false;
	for (; *value; value++) {
		if (!isalnum((unsigned char)*value) &&
		    !strchr("-._:,/@+", *value))
			return false;
	}
	return true;
}

static size_t format_value(const char *value, char *line, size_t n)
{
	bool plain = is_plain(value);

	if (!plain)
		line[n++] = '"';
	/* A quote needs four bytes, and the closing one and NUL follow */
	for (; *value && n + 4 < RECORD_LINE - 2; value++) {
		if (*value == '"')
			n += (size_t)sprintf(line + n, "\\x22");
		else
			line[n++] = *value;
	}
	if (!plain)
		line[n++] = '"';
	return n;
}

void record_format(const struct record *r, char *line)
{
	size_t n = 0;

	for (unsigned int i = 0; i < r->count; i++) {
		size_t key_len = strlen(r->field[i].key);

		/* " key=", and a value of any length */
		if (n + key_len + 8 >= RECORD_LINE)
			break;
		if (i)
			line[n++] = ' ';
		memcpy(line + n, r->field[i].key, key_len);
		n += key_len;
		line[n++] = '=';
		n = format_value(r->field[i].value, line, n);
	}
	line[n] = '\0';
}

/* ---- to the journal ---- */

/* "SIPALG_CALL_ID=..." */
static size_t journal_field(const char *key, const char *value, char *buf,
			    size_t cap)
{
	int n = snprintf(buf, cap, "SIPALG_%s=%s", key, value);

	for (char *c = buf; *c && *c != '='; c++)
		*c = (char)toupper((unsigned char)*c);
	return (size_t)n;
}

static int send_to_journal(const struct record *r, const char *line)
{
	char field[RECORD_FIELDS][RECORD_VALUE + 32];
	char message[RECORD_LINE + 16];
	struct iovec iov[RECORD_FIELDS + 3];
	int count = 0;

	snprintf(message, sizeof(message), "MESSAGE=%s", line);
	iov[count++] = (struct iovec){ message, strlen(message) };
	iov[count++] = (struct iovec){ (char *)"PRIORITY=6", 10 };
	iov[count++] =
		(struct iovec){ (char *)"SYSLOG_IDENTIFIER=sipalgd", 25 };
	for (unsigned int i = 0; i < r->count; i++) {
		size_t len = journal_field(r->field[i].key, r->field[i].value,
					   field[i], sizeof(field[i]));

		iov[count++] = (struct iovec){ field[i], len };
	}
	return sd_journal_sendv(iov, count);
}

/* sd_journal_sendv() would wait for a journal that hangs, and packets with it.
 * poll(2) knows how full the other end of a datagram socket is
 */
static bool journal_takes(void)
{
	static const struct sockaddr_un journal = {
		.sun_family = AF_UNIX,
		.sun_path = "/run/systemd/journal/socket",
	};
	struct pollfd pollfd = { .events = POLLOUT };
	bool takes = true;

	pollfd.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (pollfd.fd < 0)
		return false;
	if (!connect(pollfd.fd, (const struct sockaddr *)&journal,
		     sizeof(journal)))
		takes = poll(&pollfd, 1, 0) != 0;
	close(pollfd.fd);
	return takes;
}

static void record_write(const struct record *r)
{
	char line[RECORD_LINE];

	if (!log_is_shown(LOG_LEVEL_INFO))
		return;
	record_format(r, line);
	if (!log_is_journal() || !journal_takes() || send_to_journal(r, line))
		log_info("%s", line);
}

/* ---- what ends ---- */

static void on_call(void *owner, const struct call *call, uint64_t now_ms)
{
	struct record r;

	(void)owner;
	record_of_call(&r, call, now_ms);
	record_write(&r);
}

static void on_registration(void *owner, const struct registration *reg,
			    const char *how, uint64_t now_ms)
{
	struct record r;

	(void)owner;
	record_of_registration(&r, reg, how, now_ms);
	record_write(&r);
}

void record_open(struct alg *alg)
{
	alg->calls.ended = on_call;
	alg->registrations.ended = on_registration;
}
