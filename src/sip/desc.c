/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sip/desc.h"

/* The bytes of @s up to @c; @s moves behind it */
static struct span take_until(struct span *s, char c)
{
	const char *at = span_chr(*s, c);
	struct span word = *s;

	if (!at) {
		*s = (struct span){ span_end(*s), 0 };
		return word;
	}
	word = span_between(s->ptr, at);
	*s = span_between(at + 1, span_end(*s));
	return word;
}

/* The next word of @s; blanks that are doubled count once */
static struct span take_word(struct span *s)
{
	struct span word;

	do
		word = take_until(s, ' ');
	while (!word.len && s->len);
	return word;
}

static void read_addr(struct span text, struct desc_addr *out)
{
	out->text = text;
	if (addr_parse(text, &out->addr))
		out->addr = (struct addr){ 0 };
}

static bool read_port(struct span text, struct desc_port *out)
{
	uint64_t port;

	if (span_to_uint(text, UINT16_MAX, &port))
		return false;
	*out = (struct desc_port){ text, (uint16_t)port };
	return true;
}

/* "IN IP4 192.0.2.1/127": an address behind its types; false if it is none.
 * An address that contradicts its type is taken for a name: left alone.
 */
static bool read_typed_addr(struct span s, struct desc_addr *out)
{
	struct span net = take_word(&s), type = take_word(&s);
	struct span text = take_word(&s);

	if (!text.len)
		return false;
	read_addr(take_until(&text, '/'), out);
	if (!span_case_eq(net, SPAN("IN")) ||
	    (addr_is_set(&out->addr) &&
	     addr_is_v4(&out->addr) != span_case_eq(type, SPAN("IP4"))))
		out->addr = (struct addr){ 0 };
	return true;
}

/* o=<user> <id> <version> IN IP4 <address> */
static enum desc_status read_origin(struct span value, struct desc *desc)
{
	for (int i = 0; i < 3; i++)
		take_word(&value);
	return read_typed_addr(value, &desc->origin) ? DESC_OK : DESC_BAD;
}

static enum desc_status read_connection(struct span value, struct desc *desc)
{
	struct desc_addr *conn = &desc->conn;

	if (desc->media_count) {
		struct desc_media *m = &desc->media[desc->media_count - 1];

		m->several_conn = m->conn.text.ptr != NULL;
		conn = &m->conn;
	}
	return read_typed_addr(value, conn) ? DESC_OK : DESC_BAD;
}

/* m=<type> <port>[/<count>] <proto> <formats> */
static enum desc_status read_media(struct span value, struct desc *desc)
{
	struct desc_media *m = &desc->media[desc->media_count];
	struct span port;
	uint64_t count = 1;

	if (desc->media_count == DESC_MEDIA)
		return DESC_TOO_MANY;
	*m = (struct desc_media){ .direction = desc->direction };
	m->type = take_word(&value);
	port = take_word(&value);
	m->proto = take_word(&value);
	if (!m->proto.len || !read_port(take_until(&port, '/'), &m->port) ||
	    (port.len && span_to_uint(port, UINT16_MAX, &count)))
		return DESC_BAD;
	m->count = (unsigned int)count;
	desc->media_count++;
	return DESC_OK;
}

/* rtcp:<port> [IN IP4 <address>] */
static enum desc_status read_rtcp(struct span value, struct desc *desc)
{
	struct desc_media *m;

	if (!desc->media_count)
		return DESC_OK;
	m = &desc->media[desc->media_count - 1];
	if (!read_port(take_word(&value), &m->rtcp))
		return DESC_BAD;
	if (value.len && !read_typed_addr(value, &m->rtcp_addr))
		return DESC_BAD;
	return DESC_OK;
}

/* candidate:<foundation> <component> UDP <priority> <address> <port> typ host
 * (RFC 8839 5.1); others stay as they are
 */
static enum desc_status read_candidate(struct span value, struct desc *desc)
{
	struct desc_candidate *c = &desc->candidate[desc->candidate_count];
	struct span transport, addr, port;

	if (!desc->media_count)
		return DESC_OK;
	if (desc->candidate_count == DESC_CANDIDATES)
		return DESC_TOO_MANY;
	take_word(&value);
	take_word(&value);
	transport = take_word(&value);
	take_word(&value);
	addr = take_word(&value);
	port = take_word(&value);
	if (!span_case_eq(transport, SPAN("UDP")) ||
	    !span_case_eq(take_word(&value), SPAN("typ")) ||
	    !span_case_eq(take_word(&value), SPAN("host")))
		return DESC_OK;
	if (!read_port(port, &c->port))
		return DESC_OK;
	read_addr(addr, &c->addr);
	c->media = desc->media_count - 1;
	desc->candidate_count++;
	return DESC_OK;
}

static enum desc_status read_attribute(struct span value, struct desc *desc)
{
	static const struct {
		const char *name;
		enum desc_direction direction;
	} directions[] = {
		{ "sendrecv", DESC_SENDRECV },
		{ "sendonly", DESC_SENDONLY },
		{ "recvonly", DESC_RECVONLY },
		{ "inactive", DESC_INACTIVE },
	};
	struct span name = take_until(&value, ':');
	struct desc_media *m = NULL;

	if (desc->media_count)
		m = &desc->media[desc->media_count - 1];
	if (span_eq(name, SPAN("rtcp")))
		return read_rtcp(value, desc);
	if (span_eq(name, SPAN("candidate")))
		return read_candidate(value, desc);
	if (span_eq(name, SPAN("rtcp-mux")) && m)
		m->rtcp_mux = true;
	for (unsigned int i = 0; i < 4; i++) {
		if (span_eq(name, span_from_str(directions[i].name)))
			*(m ? &m->direction : &desc->direction) =
				directions[i].direction;
	}
	return DESC_OK;
}

/* Which line type is read by what; all others are skipped */
static const struct {
	char type;
	enum desc_status (*read)(struct span value, struct desc *desc);
} readers[] = {
	{ 'o', read_origin },
	{ 'c', read_connection },
	{ 'm', read_media },
	{ 'a', read_attribute },
};

enum desc_status desc_parse(struct span body, struct desc *desc)
{
	struct span rest = body;

	desc->whole = body;
	desc->origin = desc->conn = (struct desc_addr){ 0 };
	desc->media_count = desc->candidate_count = 0;
	desc->direction = DESC_SENDRECV;
	if (!span_starts(body, SPAN("v=")))
		return DESC_BAD;
	while (rest.len) {
		struct span line = take_until(&rest, '\n');
		enum desc_status status = DESC_OK;

		if (line.len && line.ptr[line.len - 1] == '\r')
			line.len--;
		if (line.len < 2 || line.ptr[1] != '=')
			continue;
		for (unsigned int i = 0; i < 4; i++) {
			if (readers[i].type == line.ptr[0])
				status = readers[i].read(
					span_between(line.ptr + 2,
						     span_end(line)),
					desc);
		}
		if (status != DESC_OK)
			return status;
	}
	return DESC_OK;
}

const struct desc_addr *desc_media_addr(const struct desc *desc, unsigned int i)
{
	return desc->media[i].conn.text.ptr ? &desc->media[i].conn
					    : &desc->conn;
}

bool desc_media_is_udp(const struct desc_media *media)
{
	return span_starts(media->proto, SPAN("RTP/")) ||
	       span_starts(media->proto, SPAN("UDP/")) ||
	       span_case_eq(media->proto, SPAN("udptl")) ||
	       span_case_eq(media->proto, SPAN("udp"));
}

bool desc_media_is_rtp(const struct desc_media *media)
{
	return span_find(media->proto, SPAN("RTP/")) != NULL;
}
