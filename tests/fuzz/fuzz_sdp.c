/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as the session descriptions of a call, a NUL between two: by turns
 * the phone's, in INVITE and re-INVITE, and the other side's, in the answers.
 *
 * Lines that hold no address stay as they are; the kernel is told of entries
 * between ends that both sides have named, and of no others; and when the call
 * is over none is left.
 */
#include "../unit/talk.h"

#include "sip/desc.h"

#define DESCRIPTIONS 8
#define LONGEST 6000

static struct desc desc;

/**
 * struct named - Ports that one side has named in this call
 * @rtp:	Those of its m= lines, and all that belong to them
 */
struct named {
	bool rtp[65536];
};

static struct named phone, far;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void name(struct named *side, unsigned int port, unsigned int count)
{
	for (unsigned int i = 0; i < count && port + i < 65536; i++)
		side->rtp[port + i] = true;
}

static void read_names(struct named *side, struct span sdp)
{
	if (desc_parse(sdp, &desc) != DESC_OK)
		return;
	for (unsigned int i = 0; i < desc.media_count; i++) {
		const struct desc_media *m = &desc.media[i];

		name(side, m->port.port, m->count < 1000 ? 2 * m->count : 2);
		if (m->rtcp.text.ptr)
			name(side, m->rtcp.port, 1);
	}
}

/* ---- what was sent on ---- */

static struct span take_line(struct span *rest)
{
	const char *lf = span_chr(*rest, '\n');
	const char *end = lf ? lf + 1 : span_end(*rest);
	struct span line = span_between(rest->ptr, end);

	*rest = span_between(end, span_end(*rest));
	return line;
}

static bool may_change(struct span line)
{
	static const char *const kinds[] = { "c=", "o=", "m=", "a=rtcp",
					     "a=candidate" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct span kind = span_from_str(kinds[i]);

		if (line.len >= kind.len &&
		    span_case_eq((struct span){ line.ptr, kind.len }, kind))
			return true;
	}
	return false;
}

static void check_lines(struct span before, const struct stage *st)
{
	const char *body = span_find(st->left, SPAN("\r\n\r\n"));
	struct span after;

	stage_need(body != NULL);
	after = span_between(body + 4, span_end(st->left));
	while (before.len) {
		struct span was = take_line(&before), is = take_line(&after);

		stage_need(span_eq(was, is) ||
			   (may_change(was) && may_change(is)));
	}
	stage_need(!after.len);
}

/* ---- what the kernel was told ---- */

static void check_entry(struct stage *st, const struct nat_entry *e)
{
	const struct conf *conf = &st->conf;
	struct addr inside = stage_end(PHONE).addr;
	struct addr public_addr = stage_end(PUBLIC).addr;

	if (e->lan.src.port == 5060)
		return; /* the flow of the messages */
	stage_need(
		addr_eq(&e->lan.src.addr, &inside) &&
		phone.rtp[e->lan.src.port] &&
		!ports_contain(&conf->media.reserved_ports, e->lan.src.port));
	stage_need(addr_eq(&e->wan.dst.addr, &public_addr) &&
		   ports_contain(&conf->media.rtp_ports, e->wan.dst.port));
	stage_need(addr_is_unicast(&e->lan.dst.addr) &&
		   !simnat_ops.is_inside(&st->sim, &e->lan.dst.addr) &&
		   !simnat_ops.is_own(&st->sim, &e->lan.dst.addr) &&
		   far.rtp[e->lan.dst.port]);
}

static unsigned int check_entries(struct stage *st)
{
	unsigned int count = 0;

	for (const struct simnat_entry *e = st->sim.list; e; e = e->next) {
		check_entry(st, &e->data);
		count++;
	}
	return count;
}

/* ---- a call ---- */

static void say(struct stage *st, unsigned int turn, const char *sdp)
{
	int cseq = 1 + (int)turn / 2;
	struct span text = span_from_str(sdp);

	read_names(turn % 2 ? &far : &phone, text);
	if (turn % 2)
		in(st, .method = "INVITE", .status = 200, .sdp = sdp,
		   .cseq = cseq);
	else
		out(st, .method = "INVITE", .remote_tag = turn ? "b" : "",
		    .sdp = sdp, .cseq = cseq);
	stage_need(!st->lost);
	check_lines(text, st);
	check_entries(st);
}

static void end_call(struct stage *st)
{
	out(st, .method = "BYE", .cseq = 99);
	in(st, .method = "BYE", .status = 200, .cseq = 99);
	stage_wait(st, 60);
	stage_need(!st->alg->media.by_inside && !st->alg->media.pinholes);
	stage_need(check_entries(st) <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[LONGEST + 1];
	struct span rest = { (const char *)data, size };
	struct stage *st = stage_open();

	phone = far = (struct named){ 0 };
	for (unsigned int turn = 0; turn < DESCRIPTIONS && rest.len; turn++) {
		const char *nul = memchr(rest.ptr, '\0', rest.len);
		const char *end = nul ? nul : span_end(rest);
		size_t len = (size_t)(end - rest.ptr);

		if (len > LONGEST)
			break;
		memcpy(text, rest.ptr, len);
		text[len] = '\0';
		say(st, turn, text);
		rest = span_between(nul ? nul + 1 : end, span_end(rest));
	}
	end_call(st);
	stage_close(st);
	return 0;
}
