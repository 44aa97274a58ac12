/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as a SIP message, every value in it as a list of URIs and of Via
 * values, and its body as a session description. All that is found must lie
 * in the input and read the same when it stands alone.
 */
#include <stdlib.h>

#include "sip/body.h"
#include "sip/message.h"
#include "sip/witness.h"

static struct message msg;
static struct desc desc;
static struct span input;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
	if (!ok)
		abort();
}

/* @part lies in @whole, or is not there */
static void within(struct span part, struct span whole)
{
	demand(!part.ptr ||
	       (part.ptr >= whole.ptr && span_end(part) <= span_end(whole)));
}

static void check_hostport(const struct hostport *hp, struct span whole)
{
	struct addr again;

	within(hp->text, whole);
	within(hp->host, hp->text);
	demand(hp->text.len && hp->host.len && hp->host.ptr == hp->text.ptr);
	demand(!addr_is_set(&hp->addr) ||
	       (!addr_parse(hp->host, &again) && addr_eq(&again, &hp->addr)));
	/* A port is there if and only if the text goes on behind the host */
	demand(!hp->port == (hp->text.len == hp->host.len));
}

static void check_value(struct span value)
{
	struct span uri = field_uri(value), params = field_params(value);
	struct hostport hp;
	struct via via;

	within(uri, value);
	within(params, value);
	within(field_param(params, SPAN("tag")), params);
	within(uri_user(uri), uri);
	if (uri.len && uri_hostport(uri, &hp)) {
		check_hostport(&hp, uri);
		witness_uri(uri, &hp);
	}
	if (!via_parse(value, &via))
		return;
	check_hostport(&via.sent_by, value);
	within(via.received, value);
	within(via.rport, value);
	within(via.branch, value);
	witness_via(value, &via);
}

static void check_desc(struct span body)
{
	if (desc_parse(body, &desc) != DESC_OK)
		return;
	within(desc.origin.text, body);
	within(desc.conn.text, body);
	demand(desc.media_count <= DESC_MEDIA &&
	       desc.candidate_count <= DESC_CANDIDATES);
	for (unsigned int i = 0; i < desc.media_count; i++) {
		const struct desc_media *m = &desc.media[i];

		within(m->port.text, body);
		within(m->conn.text, body);
		within(m->rtcp.text, body);
		within(m->rtcp_addr.text, body);
		within(m->proto, body);
	}
	for (unsigned int i = 0; i < desc.candidate_count; i++) {
		demand(desc.candidate[i].media < desc.media_count);
		within(desc.candidate[i].addr.text, body);
		within(desc.candidate[i].port.text, body);
	}
	witness_desc(&desc);
}

static void check_message(void)
{
	struct body_part part;

	within(msg.body, input);
	within(msg.request_uri, input);
	demand(message_is_request(&msg) == (msg.request_uri.ptr != NULL));
	for (unsigned int i = 0; i < msg.count; i++) {
		struct span rest = msg.line[i].value, value;

		within(rest, input);
		while (field_next_value(&rest, &value)) {
			within(value, msg.line[i].value);
			check_value(value);
		}
	}
	if (!body_find_sdp(message_value(&msg, SIP_CONTENT_TYPE), msg.body,
			   &part))
		return;
	within(part.sdp, msg.body);
	within(part.length, msg.body);
	check_desc(part.sdp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct span rest, value;

	if (!ready)
		demand(!witness_init());
	ready = true;
	input = rest = (struct span){ (const char *)data, size };
	if (message_parse(input, &msg) == MESSAGE_OK)
		check_message();
	/* Also without a message around it */
	check_desc(input);
	while (field_next_value(&rest, &value))
		check_value(value);
	return 0;
}
