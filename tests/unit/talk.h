/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_TESTS_TALK_H
#define SIPALG_TESTS_TALK_H

/*
 * Messages between a phone inside and a server outside, for tests in which it
 * matters when they come, not how they look.
 */
#include "stage.h"

#define PHONE_ADDR "192.168.1.10"
#define PHONE "192.168.1.10:5060"
#define PUBLIC_ADDR "203.0.113.1"
#define PUBLIC "203.0.113.1:5060"
#define SERVER "198.51.100.5:5060"
/* Where the other side's media is */
#define MEDIA_ADDR "198.51.100.9"

/**
 * struct talk - One message; members that are NULL or 0 have a plain default
 * @call_id:	"call"
 * @phone, @public_end, @server: The flow
 * @local_tag, @remote_tag: Of the phone and of the other side; "" for none
 * @branch:	Of the Via, after what it begins with; that of the method
 * @method, @status: A request, or the answer to one
 * @incoming:	The dialog was begun by the other side (From is theirs)
 * @user:	Of the other side; in REGISTER, who is registered
 * @sdp, @extra: Body and further header lines
 */
struct talk {
	const char *call_id, *phone, *public_end, *server;
	const char *local_tag, *remote_tag, *branch, *method, *user;
	const char *sdp, *extra;
	int status, cseq;
	bool incoming;
};

static inline const char *talk_or(const char *text, const char *other)
{
	return text ? text : other;
}

static inline void talk_party(char *buf, size_t cap, const char *user,
			      const char *tag)
{
	snprintf(buf, cap, "<sip:%s@example.com>%s%s", user,
		 *tag ? ";tag=" : "", tag);
}

/* @outbound: the phone sends it */
static inline struct span talk_send(struct stage *st, const struct talk *t,
				    bool outbound)
{
	static char text[8192];
	char local[64], remote[64], start[128];
	const char *phone = talk_or(t->phone, PHONE);
	const char *pub = talk_or(t->public_end, PUBLIC);
	const char *server = talk_or(t->server, SERVER);
	bool asked_by_phone = outbound == !t->status;
	const char *via = server, *sdp = talk_or(t->sdp, "");
	/* A CANCEL has that of what it is to end */
	const char *branch = strcmp(t->method, "CANCEL") ? t->method : "INVITE";

	if (asked_by_phone)
		via = outbound ? phone : pub;
	talk_party(local, sizeof(local), "phone", talk_or(t->local_tag, "a"));
	talk_party(remote, sizeof(remote), talk_or(t->user, "far"),
		   talk_or(t->remote_tag, "b"));
	if (t->status)
		snprintf(start, sizeof(start), "SIP/2.0 %d X", t->status);
	else
		snprintf(start, sizeof(start), "%s sip:%s SIP/2.0", t->method,
			 outbound ? "x@example.com" : pub);
	snprintf(text, sizeof(text),
		 "%s\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%d\r\n"
		 "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n"
		 "%s%sContent-Length: %zu\r\n\r\n%s",
		 start, via, talk_or(t->branch, branch), t->cseq,
		 asked_by_phone ? local : remote,
		 asked_by_phone ? remote : local, talk_or(t->call_id, "call"),
		 t->cseq ? t->cseq : 1, t->method, talk_or(t->extra, ""),
		 t->sdp ? "Content-Type: application/sdp\r\n" : "", strlen(sdp),
		 sdp);
	return outbound ? stage_send(st, phone, server, text)
			: stage_send(st, server, pub, text);
}

#define out(st, ...) talk_send(st, &(struct talk){ __VA_ARGS__ }, true)
#define in(st, ...) talk_send(st, &(struct talk){ __VA_ARGS__ }, false)

/** talk_sdp() - A description of one audio stream; in one of four buffers */
static inline const char *talk_sdp(const char *addr, int port,
				   const char *lines)
{
	static char text[4][512];
	static unsigned int next;
	char *buf = text[next++ % 4];

	snprintf(buf, sizeof(text[0]),
		 "v=0\r\no=- 1 1 IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\n"
		 "m=audio %d RTP/AVP 0\r\n%s",
		 addr, addr, port, lines);
	return buf;
}

/** talk_port() - The public port that packets between these two have in the
 * kernel; 0 if there is no entry */
static inline unsigned int talk_port(struct stage *st, const char *inside,
				     const char *remote)
{
	struct tuple lan = { .src = stage_end(inside),
			     .dst = stage_end(remote),
			     .proto = IPPROTO_UDP };
	struct nat_entry entry;

	if (simnat_ops.find(&st->sim, &lan, NAT_SIDE_LAN, &entry))
		return 0;
	return entry.wan.dst.port;
}

/** talk_has() - What left has this in it */
static inline bool talk_has(const struct stage *st, const char *text)
{
	return span_find(st->left, span_from_str(text)) != NULL;
}

/** talk_register() - The phone registers for so long, and is answered */
static inline void talk_register(struct stage *st, const char *phone,
				 const char *pub, int seconds)
{
	char contact[256];

	snprintf(contact, sizeof(contact),
		 "Contact: <sip:u@%s>\r\nExpires: %d\r\n", phone, seconds);
	out(st, .phone = phone, .method = "REGISTER", .remote_tag = "",
	    .extra = contact, .call_id = phone);
	snprintf(contact, sizeof(contact), "Contact: <sip:u@%s>;expires=%d\r\n",
		 pub, seconds);
	in(st, .phone = phone, .public_end = pub, .method = "REGISTER",
	   .status = 200, .extra = seconds ? contact : NULL, .call_id = phone);
}

#endif
