/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_STATE_MEDIA_H
#define SIPALG_STATE_MEDIA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/table.h"
#include "conf/conf.h"
#include "state/counters.h"
#include "state/host.h"
#include "state/nat.h"
#include "state/port_pool.h"

/*
 * Theory of operation
 *
 * A *stream* reserves a pair of public ports, RTP and the one above it for
 * RTCP, for one inside media endpoint of a call. It lives in this program only
 * and opens nothing: the message that announces it may leave, but until the
 * other side has said where it listens nobody can send to it.
 *
 * A *pinhole* is one conntrack entry: a stream's RTP or RTCP towards one remote
 * endpoint, exactly. The kernel then forwards media without us. Which pinholes
 * a call needs follows from what both sides have said (state/call); they are
 * compared with those it has, and the difference is made or taken away.
 */

struct call;
struct pinhole;

/** STREAM_PAIRS - Port pairs of one m= line ("port/count") that are mapped */
#define STREAM_PAIRS 4

/**
 * struct media_stream_wish - What a stream is asked for with
 * @rtp, @rtcp:	What the inside host announced; @rtcp.port 0: no RTCP of its own
 * @pairs:	1 to STREAM_PAIRS pairs of ports, from @rtp on
 * @type:	"audio"
 */
struct media_stream_wish {
	struct endpoint rtp, rtcp;
	unsigned int pairs;
	struct span type;
};

struct media_stream_key {
	struct endpoint inside_rtp;
	struct addr public_addr;
};

/**
 * struct media_stream - Reserved public ports
 * @in:		Its key: what the inside host announced
 * @public_rtp: RTCP has the port above; further pairs follow
 * @refs:	Calls that use it
 * @host:	Whose share the ports are of
 * @call:	The one that named it last; NULL if that is over
 * @carried:	One of them is carried to its end (struct call)
 * @guests:	Pinholes to sources that nobody announced (media.source)
 * @stray, @strays: Such a source that was not let in, and its packets that we
 *		saw since @stray_ms
 * @stray_ms, @stray_last_ms: When we saw the first and the last of these
 *
 * One inside endpoint has one public one, also where several calls name it
 * (forking, Replaces): RFC 4787 REQ-1 for media.
 */
struct media_stream {
	struct media_stream_key in;
	struct endpoint inside_rtcp, public_rtp;
	unsigned int pairs, refs;
	struct host *host;
	const struct call *call;
	struct pinhole *guests;
	struct endpoint stray;
	unsigned int strays;
	uint64_t stray_ms, stray_last_ms;
	bool carried;
	char type[12];
	UT_hash_handle by_inside, by_public;
};

/**
 * struct pinhole - One conntrack entry of a call
 * @wanted:	Scratch for the comparison
 * @counted:	Its packets are counted, as far as we know
 * @mark:	As the entry was given it
 * @packets_out, @packets_in: As last seen
 * @base_out, @base_in: What they were at pinhole_base()
 */
struct pinhole {
	struct tuple lan, wan;
	bool rtcp, wanted, counted;
	struct conf_mark mark;
	uint64_t packets_out, packets_in, base_out, base_in;
	struct pinhole *prev, *next;
	UT_hash_handle by_lan;
};

/**
 * struct media_traffic - RTP packets from inside, and to it
 * @unknown:	Some were not counted
 */
struct media_traffic {
	uint64_t out, in;
	bool unknown;
};

/** enum media_sign - Whether packets have passed since the last look */
enum media_sign { MEDIA_SILENT, MEDIA_UNKNOWN, MEDIA_HEARD };

/**
 * struct media_orphan - An entry of a call that is older than this program
 * @inside, @public_end: RTP or RTCP, by the entry
 * @entries:	So many have both
 *
 * Media goes on by it. When the call is heard of again, what it announces shall
 * be what is there.
 */
struct media_orphan {
	struct media_stream_key in;
	struct endpoint public_end;
	unsigned int entries;
	UT_hash_handle by_inside;
};

/**
 * struct media - Streams of all calls
 * @resuming:	A predecessor has made entries, which are most likely there
 * @pinholes_by_lan: Pinholes of all calls; where several have the same, one
 *		kernel entry serves them all
 */
struct media {
	const struct conf *conf;
	const struct nat *nat;
	struct counters *counters;
	struct hosts *hosts;
	struct media_stream *by_inside, *by_public;
	struct port_pool *pools;
	struct pinhole *pinholes_by_lan;
	struct media_orphan *orphans;
	unsigned int pinholes;
	bool resuming;
};

/** media_is_older() - The kernel had an entry with these two when this program
 * began, and nothing has been heard of its call since */
bool media_is_older(const struct media *m, const struct endpoint *inside,
		    const struct endpoint *public_end);

/** media_adopt() - The kernel has this entry, of a call that we do not know */
void media_adopt(struct media *m, const struct nat_entry *entry);

/** media_gone() - The kernel has dropped an entry */
void media_gone(struct media *m, const struct tuple *lan);

/** media_free() - When all calls are gone */
void media_free(struct media *m);

/**
 * media_stream_get() - The stream of an inside endpoint; reserves ports for a
 * new one
 *
 * The inside port is kept if it is one of media.rtp_ports and free with those
 * above it; even stays even (RFC 4787 REQ-4, RFC 3550 11).
 *
 * Return: NULL if a port is one of media.reserved_ports, none is free, the host
 * has its share (state/host.h), memory ran out, or the stream has fewer pairs
 * than @wish
 */
struct media_stream *media_stream_get(struct media *m,
				      const struct addr *public_addr,
				      const struct media_stream_wish *wish);

/** media_stream_note() - A packet came from where nobody announced, and was not
 * let in */
void media_stream_note(struct media_stream *s, const struct endpoint *from,
		       uint64_t now_ms);

/** media_stream_restore() - The same with the public port it had before; NULL
 * also if that is somebody else's now */
struct media_stream *media_stream_restore(struct media *m,
					  const struct media_stream_wish *wish,
					  const struct endpoint *public_rtp);

/** media_stream_put() - A call needs it no longer; the last one frees the ports
 */
void media_stream_put(struct media *m, struct media_stream *stream);

/** STREAM_GUESTS - Sources that nobody announced, let in for one stream */
#define STREAM_GUESTS 4

/**
 * media_stream_of() - The stream whose ports hold @public_end, be it RTP or
 * RTCP
 * @inside:	Set to the inside endpoint that stands behind it
 *
 * Return: NULL if none has it
 */
struct media_stream *media_stream_of(const struct media *m,
				     const struct endpoint *public_end,
				     struct endpoint *inside);

/**
 * media_stream_admit() - Open a pinhole to a source that nobody announced
 * @inside:	From media_stream_of()
 * @wan:	Tuple of the packet that came from it
 *
 * It ends with the stream, or when the kernel sees no packets any more.
 *
 * Return: false if the stream has STREAM_GUESTS already, or memory ran out
 */
bool media_stream_admit(struct media *m, struct media_stream *s,
			const struct endpoint *inside, const struct tuple *wan);

/** stream_find_public() - Whose RTP port this is; NULL if nobody's */
struct media_stream *stream_find_public(const struct media *m,
					const struct endpoint *public_rtp);

/** stream_public_rtcp() - The port above RTP's; RTP's own where the inside host
 * has both on one port (RFC 5761) */
static inline struct endpoint stream_public_rtcp(const struct media_stream *s)
{
	struct endpoint end = s->public_rtp;

	if (!endpoint_eq(&s->inside_rtcp, &s->in.inside_rtp))
		end.port++;
	return end;
}

/**
 * pinhole_want() - Have an entry between an inside and a remote endpoint
 * @list:	The call's pinholes
 * @inside, @public_end: The stream's RTP or RTCP endpoints
 */
void pinhole_want(struct media *m, struct pinhole **list,
		  const struct endpoint *inside,
		  const struct endpoint *public_end,
		  const struct endpoint *remote, bool rtcp);

/** pinhole_want_unmoved() - Want those again by which packets still leave.
 * Return: false if some have moved */
bool pinhole_want_unmoved(const struct media *m, struct pinhole *list);

/** pinhole_sweep() - Take away those not wanted since pinhole_begin() */
void pinhole_begin(struct pinhole *list);
void pinhole_sweep(struct media *m, struct pinhole **list);

/** pinhole_sum_unwanted() - Add the packets of those that pinhole_sweep() would
 * take away */
void pinhole_sum_unwanted(struct media *m, struct pinhole *list,
			  struct media_traffic *sum);

/** pinhole_read() - Ask for the packets of all. Return: true if there are more
 * than the last time */
bool pinhole_read(struct media *m, struct pinhole *list);

/** pinhole_base() - Count from here: the packets as last seen */
void pinhole_base(struct pinhole *list);

/**
 * pinhole_keep() - Prolong all entries; make those anew that are gone
 *
 * Return: whether packets have passed since the last time. Not known where
 * entries do not count, or are only thought of (gateway.mode = observe)
 */
enum media_sign pinhole_keep(struct media *m, struct pinhole *list);

#endif
