/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/dialog.h"

#include <stdlib.h>
#include <utlist.h>

#include "sip/field.h"
#include "state/saved.h"

void dialog_free(struct dialogs *all, struct dialog *dialog)
{
	DL_DELETE(all->list, dialog);
	free(dialog);
}

void dialogs_free(struct dialogs *all)
{
	while (all->list)
		dialog_free(all, all->list);
}

/* ---- tags ---- */

static uint32_t tag_hash(const struct message *msg, enum sip_header header)
{
	struct span params = field_params(message_value(msg, header));
	struct span tag = field_param(params, SPAN("tag"));

	return tag.len ? span_hash(tag, 0) : 0;
}

/* The tags of a message, seen from the inside host */
static void tags_of(const struct message *msg, bool outbound, uint32_t *local,
		    uint32_t *remote)
{
	bool from_is_local = outbound == message_is_request(msg);

	*local = tag_hash(msg, from_is_local ? SIP_FROM : SIP_TO);
	*remote = tag_hash(msg, from_is_local ? SIP_TO : SIP_FROM);
}

struct dialog *dialog_find(const struct dialogs *all, const struct message *msg,
			   bool outbound)
{
	uint32_t local, remote;
	struct dialog *d;

	tags_of(msg, outbound, &local, &remote);
	DL_FOREACH (all->list, d) {
		if (d->local_tag == local && d->remote_tag == remote)
			return d;
	}
	return NULL;
}

struct dialog *dialog_get(struct dialogs *all, const struct message *msg,
			  bool outbound, bool outgoing)
{
	struct dialog *d = dialog_find(all, msg, outbound), *i;
	int count = 0;

	if (d || !tag_hash(msg, SIP_TO))
		return d;
	DL_FOREACH (all->list, i)
		count++;
	if (count >= DIALOGS_MAX)
		dialog_free(all, all->list);
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	tags_of(msg, outbound, &d->local_tag, &d->remote_tag);
	d->local.both = d->remote.both = UINT8_MAX;
	memcpy(outgoing ? d->local.now : d->remote.now, all->offer,
	       sizeof(all->offer));
	*(outgoing ? &d->local.both : &d->remote.both) = all->offer_both;
	DL_APPEND(all->list, d);
	return d;
}

void side_say(struct side *side, const struct media_end *ends, uint8_t both)
{
	if (side->both == both && !memcmp(side->now, ends, sizeof(side->now)))
		return;
	if (!side->open) {
		memcpy(side->before, side->now, sizeof(side->before));
		side->both_before = side->both;
	}
	side->open = true;
	side->both = both;
	memcpy(side->now, ends, sizeof(side->now));
}

static void side_settle(struct side *side, bool accepted)
{
	if (side->open && !accepted) {
		memcpy(side->now, side->before, sizeof(side->now));
		side->both = side->both_before;
	}
	side->open = false;
}

void dialog_settle(struct dialog *d, bool accepted)
{
	side_settle(&d->local, accepted);
	side_settle(&d->remote, accepted);
}

/* ---- over a restart ---- */

static unsigned int ends_save(const struct media_end *ends,
			      struct saved_end *out)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < DESCRIBE_MEDIA; i++) {
		out[i] = (struct saved_end){ ends[i].rtp, ends[i].rtcp,
					     ends[i].pairs, ends[i].mux };
		if (ends[i].rtp.port)
			count = i + 1;
	}
	return count;
}

static void ends_restore(struct media_end *ends, const struct saved_end *in,
			 unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		ends[i] = (struct media_end){ in[i].rtp, in[i].rtcp,
					      in[i].pairs, in[i].mux };
}

static void side_save(const struct side *side, struct saved_side *out)
{
	out->open = side->open;
	out->both = side->both;
	out->both_before = side->both_before;
	out->now_count = ends_save(side->now, out->now);
	out->before_count = ends_save(side->before, out->before);
}

static void side_restore(struct side *side, const struct saved_side *in)
{
	side->open = in->open;
	side->both = in->both;
	side->both_before = in->both_before;
	ends_restore(side->now, in->now, in->now_count);
	ends_restore(side->before, in->before, in->before_count);
}

void dialogs_save(const struct dialogs *all, struct saved_call *out)
{
	const struct dialog *d;

	out->offers = ends_save(all->offer, out->offer);
	out->offer_both = all->offer_both;
	out->dialogs = 0;
	DL_FOREACH (all->list, d) {
		struct saved_dialog *to = &out->dialog[out->dialogs++];

		to->local_tag = d->local_tag;
		to->remote_tag = d->remote_tag;
		to->confirmed = d->confirmed;
		to->moved = d->moved;
		to->gone_ms = d->gone_ms;
		to->sides = 2;
		side_save(&d->local, &to->side[0]);
		side_save(&d->remote, &to->side[1]);
	}
}

bool dialogs_restore(struct dialogs *all, const struct saved_call *in)
{
	ends_restore(all->offer, in->offer, in->offers);
	all->offer_both = in->offer_both;
	for (unsigned int i = 0; i < in->dialogs; i++) {
		const struct saved_dialog *from = &in->dialog[i];
		struct dialog *d = calloc(1, sizeof(*d));

		if (!d)
			return false;
		d->local_tag = from->local_tag;
		d->remote_tag = from->remote_tag;
		d->confirmed = from->confirmed;
		d->moved = from->moved;
		d->gone_ms = from->gone_ms;
		if (from->sides == 2) {
			side_restore(&d->local, &from->side[0]);
			side_restore(&d->remote, &from->side[1]);
		}
		DL_APPEND(all->list, d);
	}
	return true;
}
