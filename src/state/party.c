/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "state/party.h"

#include "sip/field.h"

static bool is_party(const struct parties *p, const struct addr *host)
{
	for (int i = 0; i < PARTIES_MAX && addr_is_set(&p->host[i]); i++) {
		if (addr_eq(&p->host[i], host))
			return true;
	}
	return false;
}

void parties_add(struct parties *p, const struct addr *host)
{
	int i = 0;

	if (is_party(p, host))
		return;
	while (i < PARTIES_MAX - 1 && addr_is_set(&p->host[i]))
		i++;
	p->host[i] = *host;
}

static void learn(struct parties *p, const struct message *msg,
		  enum sip_header header)
{
	for (unsigned int i = msg->first[header]; i < msg->count; i++) {
		struct span field = msg->line[i].value, value;
		struct hostport hp;

		if (msg->line[i].id != header)
			continue;
		while (field_next_value(&field, &value)) {
			if (uri_hostport(field_uri(value), &hp) &&
			    addr_is_set(&hp.addr))
				parties_add(p, &hp.addr);
		}
	}
}

void parties_learn(struct parties *p, const struct message *msg)
{
	/* Contact of a redirection is another matter */
	if (msg->status >= 300)
		return;
	learn(p, msg, SIP_CONTACT);
	learn(p, msg, SIP_RECORD_ROUTE);
}

bool parties_have(const struct parties *p, const struct conf *conf,
		  const struct addr *host)
{
	const struct conf_networks *list = &conf->sip.inbound_networks;

	if (is_party(p, host))
		return true;
	if (conf->sip.inbound_from != CONF_INBOUND_LIST)
		return false;
	for (unsigned int i = 0; i < list->count; i++) {
		if (network_contains(&list->net[i], host) &&
		    network_contains(&list->net[i], &p->host[0]))
			return true;
	}
	return false;
}
