/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/netif.h"

#include <errno.h>
#include <libnfnetlink/libnfnetlink.h>
#include <net/if.h>

int netif_open(struct netif *netif, const struct conf *conf)
{
	*netif = (struct netif){ .conf = conf };
	netif->nlif = nlif_open();
	if (!netif->nlif)
		return -errno;
	if (nlif_query(netif->nlif) < 0) {
		int err = errno ? -errno : -EIO;

		netif_close(netif);
		return err;
	}
	return 0;
}

void netif_close(struct netif *netif)
{
	if (netif->nlif)
		nlif_close(netif->nlif);
	netif->nlif = NULL;
}

int netif_fd(const struct netif *netif)
{
	return nlif_fd(netif->nlif);
}

void netif_take_events(struct netif *netif)
{
	nlif_catch(netif->nlif);
}

enum nat_side netif_side(const struct netif *netif, uint32_t ifindex)
{
	char name[IF_NAMESIZE];

	if (nlif_index2name(netif->nlif, ifindex, name) < 0)
		return NAT_SIDE_OTHER;
	if (conf_interface_matches(&netif->conf->gateway.lan_interfaces, name))
		return NAT_SIDE_LAN;
	if (conf_interface_matches(&netif->conf->gateway.wan_interfaces, name))
		return NAT_SIDE_WAN;
	return NAT_SIDE_OTHER;
}
