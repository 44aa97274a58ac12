/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/program.h"

/* Of 6to4 relays, which are no more (RFC 7526): only a default route leads
 * there. A route by several uplinks chooses one for each destination: many are
 * asked for
 */
#define SOMEWHERE "192.88.99.%d"
#define SOMEWHERES 16
/* The kernel's defaults are 30 and 120 (180 before 4.17). An INVITE is repeated
 * after up to 16 s (RFC 3261 17.1.1.2), phones send keep-alives every 25 to 30
 * s
 */
#define UDP_TIMEOUT_S 20
#define UDP_STREAM_TIMEOUT_S 60
/* As the daemon marks its own packets */
#define MARK_OWN "0x5a000000"

typedef char text[CHECK_TEXT_MAX];

/* ---- the daemon and its configuration ---- */

void check_daemon(struct doctor *d)
{
	text fix;

	if (d->hangs)
		check_found(d, check_service(fix, sizeof(fix), "restart"),
			    "the daemon at %s does not answer: packets wait in "
			    "its queue until that is full",
			    d->ctl->socket);
	/* Who may not ask has been told so */
	else if (!d->daemon &&
		 (!access(d->ctl->socket, W_OK) || errno != EACCES))
		check_found(d, check_service(fix, sizeof(fix), "start"),
			    "no daemon answers at %s: SIP passes untouched",
			    d->ctl->socket);
}

/* Everything below would be about another network than the daemon's */
void check_namespace(struct doctor *d)
{
	struct stat own, other;
	text path, fix, command;

	if (!d->daemon_pid)
		return;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)d->daemon_pid);
	if (stat("/proc/self/ns/net", &own) || stat(path, &other) ||
	    own.st_ino == other.st_ino)
		return;
	check_own_command(d, command, sizeof(command), "doctor");
	snprintf(fix, sizeof(fix), "nsenter --target %d --net ",
		 (int)d->daemon_pid);
	strncat(fix, command, sizeof(fix) - strlen(fix) - 1);
	check_found(d, fix,
		    "the daemon (process %d) runs in another network namespace "
		    "than this command, which looks at the wrong network",
		    (int)d->daemon_pid);
}

/* The first error, without its line end; NULL if there is none. The caller
 * frees it
 */
static char *first_error(const char *path)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	char *report = NULL, *rest, *line = NULL;
	size_t len;
	FILE *out = open_memstream(&report, &len);
	int err = conf && out ? conf_load(path, conf, out) : -ENOMEM;

	if (out)
		fclose(out);
	for (rest = report; err && (line = strsep(&rest, "\n"));) {
		if (*line && !strstr(line, ": warning: "))
			break;
	}
	if (err)
		line = strdup(line && *line ? line : strerror(-err));
	free(report);
	free(conf);
	return err ? line : NULL;
}

void check_config_file(struct doctor *d)
{
	char *error = first_error(d->conf_path);
	text fix, path;

	if (!error)
		return;
	check_quote(path, sizeof(path), d->conf_path);
	snprintf(fix, sizeof(fix),
		 "${EDITOR:-vi} %.900s && sipalgd -c %.900s --check", path,
		 path);
	check_found(d, fix, "the configuration has errors: %s", error);
	free(error);
}

static char *print_conf(const struct conf *conf)
{
	char *printed = NULL;
	size_t len;
	FILE *out = open_memstream(&printed, &len);

	if (!out)
		return NULL;
	conf_print(conf, out);
	if (!fclose(out))
		return printed;
	free(printed);
	return NULL;
}

/* The mode can be set by command, that is no difference */
void check_config_loaded(struct doctor *d)
{
	struct conf *file = calloc(1, sizeof(*file));
	char *in_force = NULL, *in_file = NULL;
	text fix;

	if (d->daemon && file && !conf_load(d->conf_path, file, NULL)) {
		file->gateway.mode = d->conf->gateway.mode;
		in_force = print_conf(d->conf);
		in_file = print_conf(file);
	}
	if (in_force && in_file && strcmp(in_force, in_file) != 0)
		check_found(d, check_own_command(d, fix, sizeof(fix), "reload"),
			    "%s was changed, and the daemon has not read it "
			    "again",
			    d->conf_path);
	free(in_force);
	free(in_file);
	free(file);
}

void check_queue_taken(struct doctor *d)
{
	FILE *f = fopen("/proc/net/netfilter/nfnetlink_queue", "re");
	char path[32], other[16];
	unsigned int number;
	long owner;
	text fix;

	while (f && !d->daemon && !d->hangs &&
	       fscanf(f, "%u %ld %*[^\n]", &number, &owner) == 2) {
		if (number < d->conf->queue.number ||
		    number >= d->conf->queue.number + d->conf->queue.count)
			continue;
		/* Of its sockets the first has the number of the process */
		snprintf(path, sizeof(path), "/proc/%ld", owner);
		snprintf(other, sizeof(other), "%u",
			 (d->conf->queue.number + d->conf->queue.count) %
				 (65536 - d->conf->queue.count));
		if (owner > 0 && !access(path, F_OK))
			snprintf(fix, sizeof(fix), "kill %ld", owner);
		else
			check_setting(d, fix, sizeof(fix), "queue.number",
				      other, true);
		check_found(d, fix,
			    "another program, probably process %ld, has queue "
			    "%u: end it, or choose another queue.number",
			    owner, number);
	}
	if (f)
		fclose(f);
}

/* ---- interfaces and routes ---- */

static const struct {
	const char *key;
	size_t names;
} link_lists[] = {
	{ "gateway.lan_interfaces",
	  offsetof(struct conf, gateway.lan_interfaces) },
	{ "gateway.wan_interfaces",
	  offsetof(struct conf, gateway.wan_interfaces) },
};

static const struct conf_names *names_at(const struct conf *conf, size_t offset)
{
	return (const void *)((const char *)conf + offset);
}

static const struct check_link *find_link(const struct doctor *d,
					  const char *name)
{
	for (unsigned int i = 0; i < d->links; i++) {
		if (!strcmp(d->link[i].name, name))
			return &d->link[i];
	}
	return NULL;
}

/* A name that ends in "+" may stand for none: it is meant for those that come
 * and go
 */
void check_links_exist(struct doctor *d)
{
	text fix, path, reload;

	check_quote(path, sizeof(path), d->conf_path);
	check_own_command(d, reload, sizeof(reload), "reload");
	snprintf(fix, sizeof(fix), "ip -br link; ${EDITOR:-vi} %.900s%s%.900s",
		 path, d->daemon ? " && " : "", d->daemon ? reload : "");
	for (size_t i = 0; i < 2; i++) {
		const struct conf_names *list =
			names_at(d->conf, link_lists[i].names);

		for (unsigned int k = 0; k < list->count; k++) {
			if (!strchr(list->name[k], '+') &&
			    !if_nametoindex(list->name[k]))
				check_found(d, fix,
					    "there is no interface %s (%s)",
					    list->name[k], link_lists[i].key);
		}
	}
}

void check_links_up(struct doctor *d)
{
	text fix;

	for (unsigned int i = 0; i < d->links; i++) {
		const struct check_link *l = &d->link[i];

		if ((!l->is_lan && !l->is_wan) || l->is_up)
			continue;
		snprintf(fix, sizeof(fix), "ip link set dev %s up", l->name);
		check_found(d, fix, "interface %s is down", l->name);
	}
}

/* What ip(8) says; NULL if it fails. The caller frees it */
static char *ask_ip(const char *const argv[])
{
	const struct program ip = { .argv = argv };
	char *output = NULL;

	return program_run(&ip, &output) ? NULL : output;
}

/* What follows @word in @line, "dev wan0"; empty if it is not there */
static const char *value_of(char *buf, size_t cap, const char *line,
			    const char *word)
{
	size_t len = strlen(word);
	const char *at = line;

	buf[0] = '\0';
	while ((at = strstr(at, word))) {
		if ((at == line || at[-1] == ' ') && at[len] == ' ') {
			snprintf(buf, cap, "%.*s",
				 (int)strcspn(at + len + 1, " \n"),
				 at + len + 1);
			break;
		}
		at++;
	}
	return buf;
}

/* The list with @from replaced by @to, as a value */
static void replace_name(char *buf, size_t cap, const struct conf_names *list,
			 const char *from, const char *to)
{
	size_t len = 0;

	for (unsigned int i = 0; i < list->count && len < cap; i++)
		len += (size_t)snprintf(
			buf + len, cap - len, "%s%s", i ? ", " : "",
			strcmp(list->name[i], from) != 0 ? list->name[i] : to);
}

static void enslaved_in(struct doctor *d, const char *key,
			const struct conf_names *list, const char *name,
			const char *master)
{
	bool is_named = false, has_master = false;
	char value[CONF_MAX_NAMES * CONF_NAME_MAX];
	text fix;

	for (unsigned int i = 0; i < list->count; i++) {
		is_named |= !strcmp(list->name[i], name);
		has_master |= !strcmp(list->name[i], master);
	}
	if (!is_named || has_master)
		return;
	replace_name(value, sizeof(value), list, name, master);
	check_found(d, check_setting(d, fix, sizeof(fix), key, value, false),
		    "%s (%s) is a port of %s: what comes in by it comes in by "
		    "%s for iptables, and no rule of ours sees it",
		    name, key, master, master);
}

/* "5: eth1@if4: <BROADCAST> mtu 1500 qdisc noqueue master br0 ..." */
static void enslaved_line(struct doctor *d, const char *line)
{
	const char *at = strstr(line, ": ");
	char name[IF_NAMESIZE], master[IF_NAMESIZE];

	if (!at)
		return;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(at + 2, "@: "),
		 at + 2);
	if (!*value_of(master, sizeof(master), line, "master"))
		return;
	for (size_t i = 0; i < 2; i++)
		enslaved_in(d, link_lists[i].key,
			    names_at(d->conf, link_lists[i].names), name,
			    master);
}

/* A name that ends in "+" may mean others */
void check_links_free(struct doctor *d)
{
	static const char *const types[] = { "bridge_slave", "bond_slave" };

	for (size_t i = 0; i < 2; i++) {
		const char *const argv[] = { "ip",   "-o",     "link", "show",
					     "type", types[i], NULL };
		char *links = ask_ip(argv), *rest = links, *line;

		while (links && (line = strsep(&rest, "\n")))
			enslaved_line(d, line);
		free(links);
	}
}

/**
 * struct uplink - A default route, in any table
 * @shares:	One of several ways that a route has
 */
struct uplink {
	char dev[IF_NAMESIZE], via[64], table[32];
	bool shares;
};

#define MAX_UPLINKS 32

static unsigned int read_uplinks(struct uplink *uplink)
{
	static const char *const argv[] = { "ip",    "-4",  "route", "show",
					    "table", "all", NULL };
	char *routes = ask_ip(argv), *rest = routes, *line;
	char table[sizeof(uplink->table)];
	unsigned int count = 0;
	bool is_default = false;

	while (routes && count < MAX_UPLINKS && (line = strsep(&rest, "\n"))) {
		struct uplink *u = &uplink[count];

		u->shares = !strncmp(line, "\tnexthop ", 9);
		if (!u->shares) {
			is_default = !strncmp(line, "default ", 8);
			value_of(table, sizeof(table), line, "table");
		}
		if (!is_default)
			continue;
		value_of(u->dev, sizeof(u->dev), line, "dev");
		value_of(u->via, sizeof(u->via), line, "via");
		memcpy(u->table, table, sizeof(u->table));
		count += u->dev[0] != '\0';
	}
	free(routes);
	return count;
}

/* Any route at all beyond the outside's own networks */
static bool leads_outside(const struct doctor *d)
{
	static const char *const argv[] = { "ip",    "-4",  "route", "show",
					    "table", "all", NULL };
	char *routes = ask_ip(argv), *rest = routes, *line;
	char dev[IF_NAMESIZE];
	bool leads = !routes;

	while (!leads && (line = strsep(&rest, "\n"))) {
		const struct check_link *l =
			find_link(d, value_of(dev, sizeof(dev), line, "dev"));

		leads = l && l->is_wan &&
			(strstr(line, " via ") ||
			 !strncmp(line, "default ", 8));
	}
	free(routes);
	return leads;
}

void check_default_route(struct doctor *d)
{
	struct uplink uplink[MAX_UPLINKS];
	unsigned int count = read_uplinks(uplink);
	const struct conf_names *wan = &d->conf->gateway.wan_interfaces;
	const struct check_link *l = count ? find_link(d, uplink[0].dev) : NULL;
	char list[CONF_MAX_NAMES * CONF_NAME_MAX] = "";
	text fix;

	if (!count || (l && (l->is_wan || l->is_lan)) || leads_outside(d))
		return;
	for (unsigned int i = 0; i < wan->count; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list),
			 "%s, ", wan->name[i]);
	snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s",
		 uplink[0].dev);
	check_setting(d, fix, sizeof(fix), "gateway.wan_interfaces", list,
		      false);
	check_found(d, fix,
		    "the default route leaves by %s, which is none of "
		    "gateway.wan_interfaces, and no route by any of those: SIP "
		    "that leaves by %s is left alone",
		    uplink[0].dev, uplink[0].dev);
}

/* Who forwards IPv6 believes no router's advertisements, unless he is told to:
 * the default route that came by one would go
 */
static void keep_advertised_routes(char *fix, size_t cap)
{
	static const char *const argv[] = { "ip",      "-6",	"route", "show",
					    "default", "proto", "ra",	 NULL };
	char *routes = ask_ip(argv), *rest = routes, *line;
	char dev[IF_NAMESIZE];
	long value;

	while (routes && (line = strsep(&rest, "\n"))) {
		char name[128];

		value_of(dev, sizeof(dev), line, "dev");
		snprintf(name, sizeof(name), "net/ipv6/conf/%s/accept_ra", dev);
		if (!dev[0] || !check_sysctl(name, &value) || value != 1)
			continue;
		snprintf(fix + strlen(fix), cap - strlen(fix),
			 "sysctl -w %s=2 && ", name);
	}
	free(routes);
}

static void check_forwarding_of(struct doctor *d, enum check_family family)
{
	static const char *const dirs[] = { "ipv4", "ipv6" };
	static const char *const all[] = { "net.ipv4.ip_forward",
					   "net.ipv6.conf.all.forwarding" };
	text fix = "";
	char name[128];
	long value;

	if (family == CHECK_IP6)
		keep_advertised_routes(fix, sizeof(fix));
	snprintf(fix + strlen(fix), sizeof(fix) - strlen(fix), "sysctl -w %s=1",
		 all[family]);
	for (unsigned int i = 0; i < d->links; i++) {
		const struct check_link *l = &d->link[i];

		if (!l->is_lan && !l->is_wan)
			continue;
		snprintf(name, sizeof(name), "net/%s/conf/%s/forwarding",
			 dirs[family], l->name);
		if (check_sysctl(name, &value) && !value) {
			check_found(d, fix,
				    "IPv%c is not forwarded (%s is 0): nothing "
				    "passes this gateway",
				    dirs[family][3], name);
			return;
		}
	}
}

void check_forwarding(struct doctor *d)
{
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		if (d->tables[f].in_use)
			check_forwarding_of(d, (enum check_family)f);
	}
}

/* More than one uplink with a default route: the only case where a packet may
 * leave by another one than it should
 */
static bool has_choice(const struct doctor *d, const struct uplink *uplink,
		       unsigned int count)
{
	const char *first = NULL;

	for (unsigned int i = 0; i < count; i++) {
		const struct check_link *l = find_link(d, uplink[i].dev);

		if (!l || !l->is_wan)
			continue;
		if (first && strcmp(first, l->name) != 0)
			return true;
		first = l->name;
	}
	return false;
}

/* Whether what has the source address of @l leaves by it for @to */
static bool leaves_by(const struct check_link *l, const char *to,
		      const char *mark)
{
	char from[ADDR_TEXT_MAX], dev[IF_NAMESIZE], *answer;
	const char *const argv[] = { "ip",    "-4",
				     "route", "get",
				     to,      "from",
				     from,    mark ? "mark" : NULL,
				     mark,    NULL };
	bool leaves;

	addr_format(&l->addr[CHECK_IP4], from);
	answer = ask_ip(argv);
	leaves = !answer ||
		 !strcmp(value_of(dev, sizeof(dev), answer, "dev"), l->name);
	free(answer);
	return leaves;
}

static bool always_leaves_by(const struct check_link *l, const char *mark)
{
	char to[ADDR_TEXT_MAX];
	bool leaves = true;

	for (int i = 1; leaves && i <= SOMEWHERES; i++) {
		snprintf(to, sizeof(to), SOMEWHERE, i);
		leaves = leaves_by(l, to, mark);
	}
	return leaves;
}

/* Calls @wrong for each uplink with a default route, if there are several */
static void each_uplink(struct doctor *d,
			void (*wrong)(struct doctor *d,
				      const struct check_link *l,
				      const struct uplink *u))
{
	struct uplink uplink[MAX_UPLINKS];
	unsigned int count = read_uplinks(uplink);

	if (!has_choice(d, uplink, count))
		return;
	for (unsigned int i = 0; i < count; i++) {
		const struct check_link *l = find_link(d, uplink[i].dev);
		bool again = false;

		for (unsigned int k = 0; k < i; k++)
			again |= !strcmp(uplink[k].dev, uplink[i].dev);
		if (l && l->is_wan && !again &&
		    addr_is_set(&l->addr[CHECK_IP4]))
			wrong(d, l, &uplink[i]);
	}
}

static void rp_filter_of(struct doctor *d, const struct check_link *l,
			 const struct uplink *u)
{
	long all = 0, own = 0;
	char name[128];
	text fix;

	/* A route by several ways is the right one for each of them */
	if (u->shares)
		return;
	snprintf(name, sizeof(name), "net/ipv4/conf/%s/rp_filter", l->name);
	check_sysctl("net/ipv4/conf/all/rp_filter", &all);
	check_sysctl(name, &own);
	/* The kernel takes the greater: 0 off, 1 strict, 2 loose */
	if ((all > own ? all : own) != 1 || always_leaves_by(l, NULL))
		return;
	snprintf(fix, sizeof(fix), "sysctl -w %s=2", name);
	check_found(d, fix,
		    "rp_filter is strict on %s, but its answers are routed by "
		    "another uplink: the kernel drops what comes in there",
		    l->name);
}

void check_rp_filter(struct doctor *d)
{
	each_uplink(d, rp_filter_of);
}

static void own_route_of(struct doctor *d, const struct check_link *l,
			 const struct uplink *u)
{
	char from[ADDR_TEXT_MAX];
	bool of_its_own = u->table[0] && strcmp(u->table, "main") != 0;
	text fix;
	int len = 0;

	if (always_leaves_by(l, MARK_OWN))
		return;
	addr_format(&l->addr[CHECK_IP4], from);
	if (!of_its_own)
		len = snprintf(fix, sizeof(fix),
			       "ip route replace default%s%s dev %s table "
			       "5%04u && ",
			       u->via[0] ? " via " : "", u->via, l->name,
			       if_nametoindex(l->name));
	if (of_its_own)
		snprintf(fix, sizeof(fix), "ip rule add from %s lookup %s",
			 from, u->table);
	else
		snprintf(fix + len, sizeof(fix) - (size_t)len,
			 "ip rule add from %s lookup 5%04u", from,
			 if_nametoindex(l->name));
	check_found(d, fix,
		    "TCP segments that the daemon sends from %s do not leave "
		    "by %s: no routing rule chooses that uplink by its address",
		    from, l->name);
}

void check_own_route(struct doctor *d)
{
	each_uplink(d, own_route_of);
}

/* ---- conntrack ---- */

void check_conntrack_full(struct doctor *d)
{
	long count, max;
	text fix;

	if (!check_sysctl("net/netfilter/nf_conntrack_count", &count) ||
	    !check_sysctl("net/netfilter/nf_conntrack_max", &max) || max <= 0 ||
	    count < max - max / 10)
		return;
	snprintf(fix, sizeof(fix),
		 "sysctl -w net.netfilter.nf_conntrack_max=%ld", 2 * max);
	check_found(d, fix,
		    "the conntrack table has %ld of %ld entries: when it is "
		    "full new flows are dropped",
		    count, max);
}

void check_accounting(struct doctor *d)
{
	long value;

	if (check_sysctl("net/netfilter/nf_conntrack_acct", &value) && !value)
		check_found(d, "sysctl -w net.netfilter.nf_conntrack_acct=1",
			    "packets are not counted per flow: audio in one "
			    "direction only, and calls that end without BYE, "
			    "are not noticed");
}

void check_events(struct doctor *d)
{
	long value;

	if (check_sysctl("net/netfilter/nf_conntrack_events", &value) && !value)
		check_found(d, "sysctl -w net.netfilter.nf_conntrack_events=1",
			    "conntrack tells nobody of entries that go: the "
			    "daemon believes in mappings that are gone");
}

void check_udp_timeouts(struct doctor *d)
{
	static const struct {
		const char *name;
		long least, usual;
	} rows[] = {
		{ "nf_conntrack_udp_timeout", UDP_TIMEOUT_S, 30 },
		{ "nf_conntrack_udp_timeout_stream", UDP_STREAM_TIMEOUT_S,
		  120 },
	};
	char name[128];
	text fix;
	long value;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(name, sizeof(name), "net/netfilter/%s", rows[i].name);
		if (!check_sysctl(name, &value) || value >= rows[i].least)
			continue;
		snprintf(fix, sizeof(fix), "sysctl -w net.netfilter.%s=%ld",
			 rows[i].name, rows[i].usual);
		check_found(d, fix,
			    "%s is %ld s: answers that take longer find their "
			    "way closed",
			    rows[i].name, value);
	}
}
