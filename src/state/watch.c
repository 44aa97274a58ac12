/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/watch.h"

#include <inttypes.h>
#include <utlist.h>

#include "state/call.h"

/* The wheel of call timers turns in seconds: soon */
#define BASE_MS 1000
/* Long enough for a phone to come up and for comfort noise to be sent */
#define FIRST_MS 12000
/* When an end that is silent so far is listened to */
#define PROBE_MS 3000
/* Who has no audio hangs up */
#define LAST_MS 6000
/* RTCP comes every five seconds or so (RFC 3550 6.2) */
#define LATER_MS 30000
/* Half a second of speech: some phones send a few packets to open NAT */
#define SPEECH_PACKETS 25
/* A source that is not let in: one that goes on, not one that knocks */
#define STRAY_PACKETS 3
#define STRAY_MS 2000

/**
 * struct line - Packets of one m= line in the window
 * @out, @in:	RTP of the inside, the remote end
 * @rtcp_out, @rtcp_in: The same with RTCP
 * @known:	These are all
 */
struct line {
	uint64_t out, in, rtcp_out, rtcp_in;
	bool known;
};

void watch_begin(struct watch *w, uint8_t lines, uint64_t now_ms)
{
	*w = (struct watch){ .lines = lines };
	if (lines)
		w->since_ms = now_ms;
}

uint64_t watch_due_ms(const struct watch *w)
{
	if (!w->since_ms || w->later)
		return 0;
	if (!w->based)
		return w->since_ms + BASE_MS;
	return w->since_ms + (w->probed ? FIRST_MS : PROBE_MS);
}

/* Another window begins now */
static void rebase(struct calls *calls, struct call *call, uint64_t now_ms)
{
	call->watch.since_ms = now_ms;
	call->watch.based = true;
	pinhole_base(call->pinholes);
	for (int i = 0; i < CALL_STREAMS; i++) {
		if (!call->stream[i])
			continue;
		pinhole_read(calls->media, call->stream[i]->guests);
		pinhole_base(call->stream[i]->guests);
		call->stream[i]->strays = 0;
	}
}

static void add_packets(struct line *line, const struct pinhole *list,
			const struct media_end *inside)
{
	const struct pinhole *p;

	DL_FOREACH (list, p) {
		if (endpoint_eq(&p->lan.src, &inside->rtp)) {
			line->known &= p->counted;
			line->out += p->packets_out - p->base_out;
			line->in += p->packets_in - p->base_in;
		} else if (endpoint_eq(&p->lan.src, &inside->rtcp)) {
			line->known &= p->counted;
			line->rtcp_out += p->packets_out - p->base_out;
			line->rtcp_in += p->packets_in - p->base_in;
		}
	}
}

/* Nothing came from an end that should send. In a later window only RTCP that
 * has stopped tells that it is gone
 */
static bool is_silent(const struct watch *w, unsigned int i, uint64_t rtp,
		      uint64_t rtcp, uint8_t rtcp_seen)
{
	return !rtp && !rtcp && (!w->later || rtcp_seen >> i & 1);
}

static void raise(struct calls *calls, struct call *call, unsigned int i,
		  const struct line *line, const struct dialog *d,
		  uint64_t now_ms)
{
	const struct watch *w = &call->watch;
	uint64_t seconds = (now_ms - w->since_ms) / 1000;
	bool no_out, no_in;
	char inside[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX];
	struct symptom_subject of = call_subject(call);

	no_out = is_silent(w, i, line->out, line->rtcp_out, w->rtcp_out);
	no_in = is_silent(w, i, line->in, line->rtcp_in, w->rtcp_in);
	endpoint_format(&d->local.now[i].rtp, inside);
	endpoint_format(&d->remote.now[i].rtp, remote);
	if (no_out && no_in)
		symptom_raise(calls->symptoms, &of, SYMPTOM_no_audio, now_ms,
			      "no packet between %s and %s for %" PRIu64 " s",
			      inside, remote, seconds);
	else if (no_in && line->out >= SPEECH_PACKETS)
		symptom_raise(calls->symptoms, &of, SYMPTOM_one_way_audio,
			      now_ms,
			      "no packet from %s for %" PRIu64 " s, %" PRIu64
			      " sent to it by %s",
			      remote, seconds, line->out, inside);
	else if (no_out && line->in >= SPEECH_PACKETS)
		symptom_raise(calls->symptoms, &of, SYMPTOM_one_way_audio,
			      now_ms,
			      "no packet from %s for %" PRIu64 " s, %" PRIu64
			      " came from %s",
			      inside, seconds, line->in, remote);
}

/* ---- media from elsewhere ---- */

static bool is_announced(const struct call *call, const struct endpoint *end)
{
	const struct pinhole *p;

	DL_FOREACH (call->pinholes, p) {
		if (endpoint_eq(&p->lan.dst, end))
			return true;
	}
	return false;
}

static void raise_from_elsewhere(struct calls *calls, struct call *call,
				 const struct media_stream *s,
				 const struct endpoint *from,
				 const struct endpoint *announced, bool refused,
				 uint64_t now_ms)
{
	struct symptom_subject of = call_subject(call);
	char source[ENDPOINT_TEXT_MAX], to[ENDPOINT_TEXT_MAX];
	char said[ENDPOINT_TEXT_MAX];

	endpoint_format(from, source);
	endpoint_format(&s->public_rtp, to);
	endpoint_format(announced, said);
	symptom_raise(calls->symptoms, &of, SYMPTOM_media_elsewhere, now_ms,
		      "media comes from %s to %s, announced was %s; %s", source,
		      to, said,
		      refused ? "not let in (media.source)"
			      : "let in by media.source");
}

/* The inside host does not send to where it was told */
static void raise_to_elsewhere(struct calls *calls, struct call *call,
			       const struct media_stream *s,
			       const struct endpoint *to,
			       const struct endpoint *announced,
			       uint64_t now_ms)
{
	struct symptom_subject of = call_subject(call);
	char inside[ENDPOINT_TEXT_MAX], dest[ENDPOINT_TEXT_MAX];
	char said[ENDPOINT_TEXT_MAX];

	endpoint_format(&s->in.inside_rtp, inside);
	endpoint_format(to, dest);
	endpoint_format(announced, said);
	symptom_raise(calls->symptoms, &of, SYMPTOM_media_elsewhere, now_ms,
		      "media of %s goes to %s, announced was %s", inside, dest,
		      said);
}

/* Nor by the end that it has announced itself: NAT gives that another port */
static void raise_by_another(struct calls *calls, struct call *call,
			     const struct media_stream *s,
			     const struct endpoint *by, uint64_t now_ms)
{
	struct symptom_subject of = call_subject(call);
	char inside[ENDPOINT_TEXT_MAX], other[ENDPOINT_TEXT_MAX];

	endpoint_format(&s->in.inside_rtp, inside);
	endpoint_format(by, other);
	symptom_raise(calls->symptoms, &of, SYMPTOM_media_elsewhere, now_ms,
		      "media leaves from %s, the phone announced %s", other,
		      inside);
}

/* Somebody who was not announced sends, and goes on */
static void look_for_strays(struct calls *calls, struct call *call,
			    const struct media_stream *s,
			    const struct endpoint *announced, uint64_t now_ms)
{
	const struct pinhole *p;

	DL_FOREACH (s->guests, p) {
		if (!p->rtcp && p->packets_in - p->base_in >= SPEECH_PACKETS &&
		    !is_announced(call, &p->lan.dst))
			raise_from_elsewhere(calls, call, s, &p->lan.dst,
					     announced, false, now_ms);
	}
	if (s->strays >= STRAY_PACKETS &&
	    s->stray_last_ms - s->stray_ms >= STRAY_MS &&
	    !is_announced(call, &s->stray))
		raise_from_elsewhere(calls, call, s, &s->stray, announced, true,
				     now_ms);
}

static void listen_to(struct calls *calls, const struct media_stream *s,
		      const struct endpoint *remote, uint64_t now_ms)
{
	const struct nat *nat = calls->media->nat;
	const struct nat_line line = { .inside = s->in.inside_rtp,
				       .public_end = s->public_rtp,
				       .remote = *remote };

	if (now_ms < calls->listening_ms || nat->ops->listen(nat->ctx, &line))
		return;
	calls->listening = s->public_rtp;
	calls->listening_ms = now_ms + FIRST_MS;
}

/* What was heard of the line, if it is that which was listened to */
static void look_for_overheard(struct calls *calls, struct call *call,
			       const struct media_stream *s,
			       const struct endpoint *announced,
			       uint64_t now_ms)
{
	const struct nat *nat = calls->media->nat;
	struct nat_overheard heard;

	if (!calls->listening_ms ||
	    !endpoint_eq(&calls->listening, &s->public_rtp))
		return;
	calls->listening_ms = 0;
	nat->ops->overhear(nat->ctx, &heard);
	if (heard.in >= SPEECH_PACKETS && !is_announced(call, &heard.from))
		raise_from_elsewhere(calls, call, s, &heard.from, announced,
				     true, now_ms);
	if (heard.out >= SPEECH_PACKETS && !is_announced(call, &heard.to))
		raise_to_elsewhere(calls, call, s, &heard.to, announced,
				   now_ms);
	if (heard.other >= SPEECH_PACKETS)
		raise_by_another(calls, call, s, &heard.by, now_ms);
}

/* ---- lines ---- */

/* Media whose packets pass us, as far as we know */
static bool is_judged(const struct calls *calls, const struct call *call,
		      const struct dialog *d, unsigned int i,
		      const struct media_stream **s)
{
	const struct nat *nat = calls->media->nat;
	const struct endpoint *remote = &d->remote.now[i].rtp;

	if (!(call->watch.lines >> i & 1) || !remote->port)
		return false;
	*s = call_stream(call, &d->local.now[i].rtp);
	/* What another inside host is sent stays inside, or turns round */
	return *s && !nat->ops->is_inside(nat->ctx, &remote->addr) &&
	       !stream_find_public(calls->media, remote);
}

static const struct dialog *confirmed(const struct call *call)
{
	const struct dialog *d;

	DL_FOREACH (call->dialogs.list, d) {
		if (d->confirmed)
			return d;
	}
	return NULL;
}

/* All of m= line @i that was counted in the window */
static struct line sum_line(struct calls *calls, const struct call *call,
			    const struct dialog *d, unsigned int i,
			    const struct media_stream *s)
{
	struct line line = { .known = true };

	pinhole_read(calls->media, s->guests);
	add_packets(&line, call->pinholes, &d->local.now[i]);
	add_packets(&line, s->guests, &d->local.now[i]);
	return line;
}

/* Where an end has said nothing so far: listen what it does instead */
static void probe(struct calls *calls, struct call *call, uint64_t now_ms)
{
	const struct dialog *d = confirmed(call);
	const struct media_stream *s;

	call->watch.probed = true;
	for (unsigned int i = 0; d && i < DESCRIBE_MEDIA; i++) {
		struct line line;

		if (!is_judged(calls, call, d, i, &s))
			continue;
		line = sum_line(calls, call, d, i, s);
		if (line.known && (!line.out || !line.in))
			listen_to(calls, s, &d->remote.now[i].rtp, now_ms);
	}
}

static void judge(struct calls *calls, struct call *call, uint64_t now_ms)
{
	const struct dialog *d = confirmed(call);
	const struct media_stream *s;
	struct watch *w = &call->watch;

	for (unsigned int i = 0; d && i < DESCRIBE_MEDIA; i++) {
		struct line line;

		if (!is_judged(calls, call, d, i, &s))
			continue;
		line = sum_line(calls, call, d, i, s);
		look_for_strays(calls, call, s, &d->remote.now[i].rtp, now_ms);
		look_for_overheard(calls, call, s, &d->remote.now[i].rtp,
				   now_ms);
		if (!line.known || strcasecmp(s->type, "audio") != 0)
			continue;
		raise(calls, call, i, &line, d, now_ms);
		w->rtcp_out |= (uint8_t)((line.rtcp_out > 0) << i);
		w->rtcp_in |= (uint8_t)((line.rtcp_in > 0) << i);
	}
}

/* Nothing can be said of what we only think of */
static bool can_tell(const struct calls *calls, const struct call *call)
{
	return call->watch.since_ms && call->state == CALL_ACTIVE &&
	       !calls->media->nat->dry;
}

void watch_look(struct calls *calls, struct call *call, uint64_t now_ms)
{
	struct watch *w = &call->watch;

	if (!can_tell(calls, call))
		return;
	if (w->based && !w->later && !w->probed &&
	    now_ms - w->since_ms >= PROBE_MS)
		probe(calls, call, now_ms);
	if (w->based && now_ms - w->since_ms < (w->later ? LATER_MS : FIRST_MS))
		return;
	if (w->based) {
		judge(calls, call, now_ms);
		w->later = true;
	}
	rebase(calls, call, now_ms);
}

void watch_end(struct calls *calls, struct call *call, uint64_t now_ms)
{
	struct watch *w = &call->watch;

	if (can_tell(calls, call) && w->based && !w->later &&
	    now_ms - w->since_ms >= LAST_MS) {
		pinhole_read(calls->media, call->pinholes);
		judge(calls, call, now_ms);
	}
	w->since_ms = 0;
}
