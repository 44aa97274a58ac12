/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_COUNTERS_H
#define SIPALG_STATE_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

#include "sip/message.h"
#include "state/symptom.h"

/*
 * Every counter: its name and what it counts. The first group says what became
 * of a packet, or of a message in a stream; each counts in exactly one of them,
 * and the name is the reason that logs and sipalg-replay give. Behind these
 * come the symptoms (state/symptom.h), a counter each: COUNTER_symptoms +
 * SYMPTOM_x.
 */
#define COUNTERS(X)                                                            \
	X(rewritten, "Messages rewritten")                                     \
	X(nothing_ours, "SIP messages without an address of ours")             \
	X(keepalive, "CRLF and zero-byte keep-alives passed")                  \
	X(stun, "STUN messages passed")                                        \
	X(not_sip, "Payloads that are not SIP, passed")                        \
	X(bad_packet, "Packets with contradicting lengths, passed")            \
	X(other_protocol, "Packets of other protocols and fragments, passed")  \
	X(bad_header, "Messages with an unreadable header")                    \
	X(bad_end, "Messages without an empty line after the header")          \
	X(bad_length, "Messages with an unreadable or wrong Content-Length")   \
	X(too_many_headers, "Messages with too many header fields, passed")    \
	X(too_long, "Messages over sip.max_message, passed")                   \
	X(too_many_edits, "Messages that want too many changes, passed")       \
	X(not_for_us, "Packets between networks that we do not translate")     \
	X(stranger, "Packets from outside that belong to no mapping")          \
	X(not_allowed, "Packets to a mapping from a host it is closed to")     \
	X(bypassed, "Packets passed because of gateway.mode or bypass.*")      \
	X(observed, "Messages that active mode would have rewritten")          \
	X(dropped_malformed, "Malformed messages dropped (sip.on_malformed)")  \
	X(media_admitted, "First packets of media let in (media.source)")      \
	X(media_refused, "Media packets of unknown source, passed on")         \
	X(over_rate, "Messages over limits.rate_per_phone, passed")            \
	X(dropped_over_rate, "Messages over it dropped (limits.on_excess)")    \
	X(no_mapping, "Messages passed because no mapping could be made")      \
	X(too_big, "Messages passed because the result would not fit")         \
	X(tcp_segments, "TCP packets that completed no message")               \
	/* events */                                                           \
	X(flows_created, "Signalling flows created in conntrack")              \
	X(flows_adopted, "Signalling flows found in conntrack")                \
	X(flows_evicted, "Signalling flows dropped: limits.flows")             \
	X(mappings_created, "Inside addresses and ports given a public one")   \
	X(mapping_clashes, "Public ports found taken by another flow")         \
	X(ports_exhausted, "No public signalling port was free")               \
	X(sip_reserved_port, "SIP ports refused: media.reserved_ports")        \
	X(tcp_connections, "TCP connections seen to begin, or found")          \
	X(tcp_changed, "TCP connections whose packets were changed")           \
	X(tcp_own_packets, "TCP packets sent by the daemon itself")            \
	X(tcp_send_errors, "Of these, those that could not be sent")           \
	X(tcp_resets, "Changed TCP connections that were reset")               \
	X(tcp_given_up, "Of these, those whose other end did not answer")      \
	X(tcp_no_memory, "TCP connections no longer read: no room for them")   \
	X(tcp_unseen, "TCP connections no longer read: bytes passed unseen")   \
	X(tcp_evicted, "TCP connections forgotten: limits.flows")              \
	X(conntrack_errors, "Requests that conntrack refused")                 \
	X(queue_full, "Times that a queue was full: packets may have passed")  \
	X(conntrack_overruns, "Times that conntrack told too much at once")    \
	X(values_in_doubt, "Values on which two parsers differ, left alone")   \
	X(registrations_confirmed, "Registrations confirmed by a registrar")   \
	X(registrations_ended, "Registrations removed or lapsed")              \
	X(registrations_evicted,                                               \
	  "Registrations dropped: limits.registrations")                       \
	X(subscriptions_evicted,                                               \
	  "Subscriptions dropped: limits.registrations")                       \
	X(calls_started, "Calls begun")                                        \
	X(calls_ended, "Calls ended")                                          \
	X(calls_lost, "Calls ended because nothing was heard of them")         \
	X(calls_evicted, "Calls dropped: limits.calls")                        \
	X(calls_refused, "Calls not followed: limits.calls, and none is idle") \
	X(media_mappings, "Media port pairs reserved")                         \
	X(media_entries, "Media flows created in conntrack")                   \
	X(media_clashes, "Media flows that conntrack would not take")          \
	X(media_reserved_port, "Media ports refused: media.reserved_ports")    \
	X(media_exhausted, "Media refused: no public port was free")           \
	X(over_share,                                                          \
	  "Ports and places refused to an inside host that has its share")     \
	X(media_not_handled, "Streams and bodies that are left alone")         \
	X(trace_lost,                                                          \
	  "Messages and packets that a trace or capture was not told")

enum counter {
#define X(name, help) COUNTER_##name,
	COUNTERS(X)
#undef X
		COUNTER_symptoms,
	COUNTER_COUNT = COUNTER_symptoms + SYMPTOM_COUNT,
};

/** struct counters - One value a counter, since the start */
struct counters {
	uint64_t value[COUNTER_COUNT];
};

/** counter_name(), counter_help() - For people, and as reason of a decision */
const char *counter_name(enum counter c);
const char *counter_help(enum counter c);
/** counter_metric() - Its name for programs, on the metrics page and in stats:
 * "sipalgd_rewritten_total" */
const char *counter_metric(enum counter c);

/** counter_of_message() - For what cannot be read, why */
enum counter counter_of_message(enum message_status status);

static inline void counter_add(struct counters *counters, enum counter c)
{
	counters->value[c]++;
}

#endif
