/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_SYMPTOM_H
#define SIPALG_STATE_SYMPTOM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/log.h"
#include "base/span.h"

struct counters;

/*
 * Theory of operation
 *
 * A *symptom* is something a user would complain about, or an operator wants to
 * know before he searches, that this program has seen by itself. Whoever sees
 * one calls symptom_raise() with what it belongs to: a call, a registration, or
 * only an inside host. The first time a call or registration shows it, it is
 * counted, kept with the numbers of that moment, put in the list of recent
 * events, and logged.
 */

/*
 * Every symptom: its code, how grave it is (enum log_level), what it means, and
 * what to do about it. Each is a counter too, symptom_CODE.
 */
#define SYMPTOMS(X)                                                            \
	X(one_way_audio, WARNING, "Audio in one direction only",               \
	  "Follow the RTP of the silent side: does it leave its host, does a " \
	  "firewall drop it, does it come from another address than SDP says " \
	  "(media.source = signalling)?")                                      \
	X(no_audio, WARNING, "No audio in either direction",                   \
	  "Check that rules of the gateway let UDP of media.rtp_ports pass, "  \
	  "and that both sides send: tcpdump on the LAN and the WAN side")     \
	X(media_elsewhere, NOTICE,                                             \
	  "Media from another address than was announced",                     \
	  "Set media.source = signalling (or any) if the provider sends from " \
	  "other hosts than its SDP names")                                    \
	X(call_lost, WARNING, "Call ended without BYE",                        \
	  "Look whether a host or its uplink went away; if it repeats after "  \
	  "the same time, a NAT or session timer between us and the provider " \
	  "is too short")                                                      \
	X(invite_unanswered, WARNING, "INVITE was not answered",               \
	  "Check that the other side is reachable, that a firewall lets its "  \
	  "answers pass, and that it knows the address we come from")          \
	X(register_unanswered, WARNING, "REGISTER was not answered",           \
	  "Check that the registrar is reachable and that a firewall lets "    \
	  "its answers pass")                                                  \
	X(registration_refused, WARNING, "The registrar refused",              \
	  "Check user name and password in the phone, and the account")        \
	X(registration_lapsed, NOTICE, "Registration was not refreshed",       \
	  "Check that the phone is on and in the network")                     \
	X(unknown_contact, NOTICE, "INVITE for somebody the phone is not",     \
	  "Compare the number the provider calls with what the phone has "     \
	  "registered; register it again")                                     \
	X(not_rewritten, WARNING, "Message passed without a needed change",    \
	  "The text names the counter that tells the reason: see sipalgctl "   \
	  "stats")                                                             \
	X(upstream_alg, WARNING, "Somebody else on the path rewrites SIP too", \
	  "Switch off the SIP ALG of the router between us and the provider")  \
	X(upstream_nat, WARNING, "The other side sees us at another address",  \
	  "There is NAT beyond this gateway: set gateway.advertised_address "  \
	  "if it is 1:1, else let the provider repair NAT")                    \
	X(provider_nat, INFO, "The provider repairs NAT by itself",            \
	  "Nothing to do; it may work without this gateway too")

enum symptom {
#define X(code, level, text, fix) SYMPTOM_##code,
	SYMPTOMS(X)
#undef X
		SYMPTOM_COUNT,
};

_Static_assert(SYMPTOM_COUNT <= 32, "they fit into a mask");

/** symptom_code() - "one_way_audio": for programs */
const char *symptom_code(enum symptom s);
/** symptom_text() - What it means in general; symptom_note_text() has numbers
 */
const char *symptom_text(enum symptom s);
/** symptom_fix() - What to do about it */
const char *symptom_fix(enum symptom s);
/** symptom_level() - How grave it is: warning, notice or info */
enum log_level symptom_level(enum symptom s);
/** symptom_severity() - The same as a word */
const char *symptom_severity(enum symptom s);

/** symptom_has() - @mask, as in struct call, holds @s */
static inline bool symptom_has(uint32_t mask, enum symptom s)
{
	return mask >> s & 1;
}

/** SYMPTOM_TEXT_MAX - Longest text of one event, NUL included */
#define SYMPTOM_TEXT_MAX 256
/** SYMPTOM_EVENTS - Recent events that are kept */
#define SYMPTOM_EVENTS 64

/**
 * struct symptom_event - Something that was seen lately
 * @inside:	Whose; not set if nobody's
 * @first_ms, @last_ms: When, monotonic
 * @single:	Of a call or registration; not to be renewed
 * @times:	So often: repeated events of one inside host are one
 * @text:	With concrete numbers; printable ASCII
 */
struct symptom_event {
	enum symptom symptom;
	struct addr inside;
	uint64_t first_ms, last_ms;
	bool single;
	unsigned int times;
	char text[SYMPTOM_TEXT_MAX];
};

/**
 * struct symptoms - Events of all, the last ones kept
 * @total:	Events ever; the next goes to place @total % SYMPTOM_EVENTS
 * @limit:	Of log lines
 */
struct symptoms {
	struct counters *counters;
	uint64_t total;
	struct log_limit limit;
	struct symptom_event event[SYMPTOM_EVENTS];
};

/** symptoms_recent() - The @i-th last new event, 0 the newest; NULL: no more */
const struct symptom_event *symptoms_recent(const struct symptoms *list,
					    unsigned int i);

/** struct symptom_note - What one symptom of a call or registration said */
struct symptom_note {
	struct symptom_note *next;
	enum symptom symptom;
	char text[];
};

/** symptom_note_text() - The text of @s in @notes, with its numbers; else
 * symptom_text() */
const char *symptom_note_text(const struct symptom_note *notes, enum symptom s);

void symptom_notes_free(struct symptom_note *notes);

/**
 * struct symptom_subject - What a symptom belongs to
 * @mask, @notes: Of the call or registration; NULL: of nothing we follow
 * @inside:	The inside host; NULL: none
 * @id:		Call-ID or address of record, for the log; may be empty
 */
struct symptom_subject {
	uint32_t *mask;
	struct symptom_note **notes;
	const struct addr *inside;
	struct span id;
};

/** symptom_over() - It has been mended: if it comes again, it is told again */
void symptom_over(const struct symptom_subject *of, enum symptom s);

/**
 * symptom_raise() - A symptom has been seen
 * @of:		Whose
 * @fmt:	What was seen, with numbers. Text from the network needs no
 *		escaping: all of it is escaped
 *
 * Nothing if the call or registration shows it already. Where there is neither,
 * repetitions of one inside host only renew the text of the event, as long as
 * the last one is no hour ago.
 */
void symptom_raise(struct symptoms *list, const struct symptom_subject *of,
		   enum symptom s, uint64_t now_ms, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif
