/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "kernel/kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

/* What the kernel has built in, where its sysctl cannot be read */
#define UDP_TIMEOUT_S 30
#define UDP_STREAM_TIMEOUT_S 120
#define TCP_SYN_TIMEOUT_S 120
#define TCP_TIMEOUT_S 432000

static uint32_t read_sysctl(const char *name, uint32_t otherwise)
{
	char path[128];
	unsigned int value;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/sys/net/netfilter/%s", name);
	f = fopen(path, "re");
	if (!f)
		return otherwise;
	if (fscanf(f, "%u", &value) == 1)
		otherwise = value;
	fclose(f);
	return otherwise;
}

void kernel_tick(struct kernel *kernel)
{
	kernel->udp_idle_s[false] =
		read_sysctl("nf_conntrack_udp_timeout", UDP_TIMEOUT_S);
	kernel->udp_idle_s[true] = read_sysctl(
		"nf_conntrack_udp_timeout_stream", UDP_STREAM_TIMEOUT_S);
	kernel->tcp_idle_s[false] = read_sysctl(
		"nf_conntrack_tcp_timeout_syn_sent", TCP_SYN_TIMEOUT_S);
	kernel->tcp_idle_s[true] = read_sysctl(
		"nf_conntrack_tcp_timeout_established", TCP_TIMEOUT_S);
	kernel->counts = read_sysctl("nf_conntrack_acct", 0);
	overhear_tick(&kernel->overhear);
	route_renew(&kernel->route);
}

void kernel_conntrack_usage(uint32_t *entries, uint32_t *max)
{
	*entries = read_sysctl("nf_conntrack_count", 0);
	*max = read_sysctl("nf_conntrack_max", 0);
}

void kernel_configure(struct kernel *kernel, const struct conf *conf)
{
	kernel->conf = conf;
	kernel->netif.conf = conf;
	kernel->route.stale = true;
}

int kernel_open(struct kernel *kernel, const struct conf *conf,
		const struct kernel_given *given, const char **what)
{
	int err;

	*kernel = (struct kernel){ .conf = conf,
				   .rawsend = { .v4 = -1, .v6 = -1 },
				   .overhear = { .fd = -1 } };
	*what = "conntrack (ctnetlink): needs CAP_NET_ADMIN and the kernel "
		"module nf_conntrack_netlink";
	err = conntrack_open(&kernel->conntrack);
	if (!err) {
		*what = "interface names (rtnetlink)";
		err = netif_open(&kernel->netif, conf);
	}
	if (!err) {
		*what = "addresses and routes (rtnetlink)";
		err = route_open(&kernel->route, &kernel->netif);
	}
	if (!err) {
		*what = "raw sockets: need CAP_NET_RAW";
		err = rawsend_adopt(&kernel->rawsend, given->raw_v4,
				    given->raw_v6);
	}
	if (err) {
		kernel_close(kernel);
		return err;
	}
	overhear_adopt(&kernel->overhear, given->packet);
	kernel_tick(kernel);
	return 0;
}

void kernel_close(struct kernel *kernel)
{
	if (kernel->conf) {
		rawsend_close(&kernel->rawsend);
		overhear_close(&kernel->overhear);
	}
	route_close(&kernel->route);
	netif_close(&kernel->netif);
	conntrack_close(&kernel->conntrack);
}

/* ---- struct nat_ops ---- */

static int op_find(void *ctx, const struct tuple *t, enum nat_side side,
		   struct nat_entry *entry)
{
	struct kernel *kernel = ctx;

	return conntrack_find(&kernel->conntrack, t, side, entry);
}

static int op_create(void *ctx, const struct nat_entry *entry)
{
	struct kernel *kernel = ctx;

	return conntrack_create(&kernel->conntrack, entry);
}

static int op_remove(void *ctx, const struct tuple *lan)
{
	struct kernel *kernel = ctx;

	return conntrack_remove(&kernel->conntrack, lan);
}

static int op_refresh(void *ctx, const struct tuple *lan, uint32_t timeout_s)
{
	struct kernel *kernel = ctx;

	return conntrack_refresh(&kernel->conntrack, lan, timeout_s);
}

static int op_set_mark(void *ctx, const struct tuple *lan,
		       struct conf_mark mark)
{
	struct kernel *kernel = ctx;

	return conntrack_set_mark(&kernel->conntrack, lan, mark);
}

static int op_set_liberal(void *ctx, const struct tuple *lan)
{
	struct kernel *kernel = ctx;

	return conntrack_set_liberal(&kernel->conntrack, lan);
}

static int op_send(void *ctx, const void *packet, size_t len)
{
	struct kernel *kernel = ctx;

	if (kernel->before_send)
		kernel->before_send(kernel->before_send_arg, packet, len);
	return rawsend_packet(&kernel->rawsend, packet, len);
}

static int op_route(void *ctx, const struct addr *inside,
		    const struct addr *remote, struct addr *public_addr)
{
	struct kernel *kernel = ctx;
	const struct addr *fixed = &kernel->conf->gateway.public_address;
	int err = route_source(&kernel->route, inside, remote, public_addr);

	if (err == -ENETUNREACH || !addr_is_set(fixed) ||
	    addr_is_v4(fixed) != addr_is_v4(remote))
		return err;
	*public_addr = *fixed;
	return 0;
}

/* By default only addresses that need a translation: where the LAN has public
 * ones nothing is to be done
 */
static bool op_is_inside(void *ctx, const struct addr *a)
{
	const struct kernel *kernel = ctx;
	const struct conf_networks *list = &kernel->conf->gateway.lan_networks;

	bool inside = list->count ? conf_networks_contain(list, a)
				  : addr_is_private(a) &&
					    route_is_inside(&kernel->route, a);

	return inside && !route_is_broadcast(&kernel->route, a);
}

static bool op_has_moved(void *ctx, const struct addr *inside,
			 const struct addr *remote,
			 const struct addr *public_addr, bool ours)
{
	struct kernel *kernel = ctx;

	/* Where the administrator says it, routing does not */
	return !addr_eq(&kernel->conf->gateway.public_address, public_addr) &&
	       route_has_moved(&kernel->route, inside, remote, public_addr,
			       ours);
}

static bool op_is_own(void *ctx, const struct addr *a)
{
	const struct kernel *kernel = ctx;

	return route_is_own(&kernel->route, a);
}

/* To bind it is to know */
static bool is_taken(const struct endpoint *end, int type)
{
	struct sockaddr_storage ss;
	socklen_t len = endpoint_to_sockaddr(end, &ss);
	int fd = socket(addr_family(&end->addr), type | SOCK_CLOEXEC, 0);
	bool taken;

	if (fd < 0)
		return false;
	taken = bind(fd, (struct sockaddr *)&ss, len) && errno == EADDRINUSE;
	close(fd);
	return taken;
}

/* A new mapping must not take the port of a server on the gateway */
static bool op_is_bound(void *ctx, const struct endpoint *end)
{
	(void)ctx;
	return is_taken(end, SOCK_DGRAM) || is_taken(end, SOCK_STREAM);
}

/* sip.dscp, for a socket of our own */
static void set_class(const struct kernel *kernel, int fd, bool v4)
{
	int tos = kernel->conf->sip.dscp << 2;

	if (kernel->conf->sip.dscp != CONF_DSCP_UNSET)
		setsockopt(fd, v4 ? SOL_IP : SOL_IPV6,
			   v4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof(tos));
}

/*
 * Sent from the inside host's own address, which a transparent socket may use:
 * the packet then takes the flow's entry, and with it the translation that the
 * inside host's packets get.
 */
static void op_ping(void *ctx, const struct tuple *lan)
{
	bool v4 = addr_is_v4(&lan->src.addr);
	struct sockaddr_storage from, to;
	socklen_t len = endpoint_to_sockaddr(&lan->src, &from);
	const struct kernel *kernel = ctx;
	int one = 1, fd;

	endpoint_to_sockaddr(&lan->dst, &to);
	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	set_class(kernel, fd, v4);
	if (setsockopt(fd, v4 ? SOL_IP : SOL_IPV6,
		       v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, &one,
		       sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&from, len) ||
	    sendto(fd, "\r\n\r\n", 4, 0, (struct sockaddr *)&to, len) < 0)
		log_debug("ping: %s", strerror(errno));
	close(fd);
}

static uint32_t op_idle_s(void *ctx, uint8_t proto, bool answered)
{
	const struct kernel *kernel = ctx;

	return proto == IPPROTO_TCP ? kernel->tcp_idle_s[answered]
				    : kernel->udp_idle_s[answered];
}

static bool op_counts(void *ctx)
{
	const struct kernel *kernel = ctx;

	return kernel->counts;
}

static int op_listen(void *ctx, const struct nat_line *line)
{
	struct kernel *kernel = ctx;
	int err = overhear_begin(&kernel->overhear, line);

	if (err)
		log_debug("packet socket: %s", strerror(-err));
	return err;
}

static void op_overhear(void *ctx, struct nat_overheard *heard)
{
	struct kernel *kernel = ctx;

	overhear_end(&kernel->overhear, heard);
}

const struct nat_ops kernel_ops = {
	.find = op_find,
	.create = op_create,
	.remove = op_remove,
	.refresh = op_refresh,
	.set_mark = op_set_mark,
	.set_liberal = op_set_liberal,
	.send = op_send,
	.route = op_route,
	.is_inside = op_is_inside,
	.has_moved = op_has_moved,
	.is_own = op_is_own,
	.is_bound = op_is_bound,
	.ping = op_ping,
	.idle_s = op_idle_s,
	.counts = op_counts,
	.listen = op_listen,
	.overhear = op_overhear,
};
