/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/path.h"

#include <stdio.h>

#include "sip/field.h"

bool path_asks_rport(const struct message *msg)
{
	struct via via;

	return message_top_via(msg, &via).ptr && via.rport.ptr;
}

/* What we wrote as sent-by of that request, if we know for sure */
static bool is_changed(const struct flow *flow, const struct addr *shown,
		       const struct via *via)
{
	const struct undo *undo;

	if (!via->branch.len)
		return false;
	undo = undo_written(&flow->map->memory, SITE_GROUP_VIA,
			    span_hash(via->branch, 0));
	return undo && (!addr_eq(&via->sent_by.addr, shown) ||
			hostport_port(&via->sent_by) !=
				(undo->port ? undo->port : SIP_PORT));
}

/* received and rport, where they are not what we are */
static bool is_seen_elsewhere(const struct flow *flow, const struct addr *shown,
			      const struct via *via, struct endpoint *seen)
{
	uint64_t rport = flow->wan.dst.port;

	*seen = (struct endpoint){ *shown, 0 };
	if (via->received.len && addr_parse(via->received, &seen->addr))
		return false;
	if (via->rport.len && span_to_uint(via->rport, UINT16_MAX, &rport))
		return false;
	seen->port = (uint16_t)rport;
	return seen->port != flow->wan.dst.port || !addr_eq(&seen->addr, shown);
}

enum symptom path_look(const struct flow *flow, const struct addr *shown,
		       const struct message *msg, char *text)
{
	struct endpoint seen, ours = { *shown, flow->wan.dst.port };
	char a[ENDPOINT_TEXT_MAX], b[ENDPOINT_TEXT_MAX];
	struct via via;

	if (!message_top_via(msg, &via).ptr)
		return SYMPTOM_COUNT;
	endpoint_format(&ours, a);
	if (is_changed(flow, shown, &via)) {
		snprintf(text, SYMPTOM_TEXT_MAX,
			 "our Via %s came back as %.*s in the answer to %.*s",
			 a, SPAN_ARG(via.sent_by.text),
			 SPAN_ARG(message_value(msg, SIP_CSEQ)));
		return SYMPTOM_upstream_alg;
	}
	/* What the inside host wrote itself is its own business */
	if (!addr_eq(&via.sent_by.addr, shown) ||
	    !is_seen_elsewhere(flow, shown, &via, &seen))
		return SYMPTOM_COUNT;
	endpoint_format(&seen, b);
	snprintf(text, SYMPTOM_TEXT_MAX, "we send from %s, it is seen as %s", a,
		 b);
	return SYMPTOM_upstream_nat;
}
