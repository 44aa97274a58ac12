/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ctl/doctor.h"

#include <errno.h>
#include <ifaddrs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ctl/check.h"
#include "ctl/client.h"
#include "ctl/program.h"
#include "ctl/show.h"
#include "ctl/term.h"
#include "ctl/text.h"

#define DEFAULT_CONF SIPALG_SYSCONFDIR "/sipalgd/sipalgd.conf"
#define DEFAULT_SOCKET "/run/sipalgd/control.sock"

/* A row more is a check more. What the daemon finds has its table in
 * src/daemon/doctor.c. The manual, sipalgctl(8), lists all codes
 */
static const struct check checks[] = {
	{ "not_checked", "unknown", "all rules could be read", check_readable,
	  true },
	{ "no_daemon", "error", "the daemon answers", check_daemon, true },
	{ "other_namespace", "error", "the daemon runs in this network",
	  check_namespace, true },
	{ "config_broken", "error", "the configuration has no errors",
	  check_config_file, true },
	{ "config_not_loaded", "warning", "the daemon has read its file",
	  check_config_loaded, false },
	{ "queue_taken", "error", "no other program has the queue",
	  check_queue_taken, false },
	{ "queue_shared", "warning", "no rule of others uses the queue",
	  check_queue_shared, false },
	{ "interface_missing", "error", "the interfaces exist",
	  check_links_exist, false },
	{ "interface_down", "error", "the interfaces are up", check_links_up,
	  false },
	{ "interface_enslaved", "error",
	  "the interfaces are no ports of a bridge or bond", check_links_free,
	  false },
	{ "wan_unused", "warning",
	  "the default route leaves by an outside "
	  "interface",
	  check_default_route, false },
	{ "forwarding_off", "error", "packets are forwarded", check_forwarding,
	  false },
	{ "no_snat", "error", "the inside's addresses are translated",
	  check_snat, false },
	{ "rules_missing", "error", "the rules are in place",
	  check_rules_missing, false },
	{ "rules_stale", "warning", "the rules are those of the configuration",
	  check_rules_stale, false },
	{ "rules_doubled", "error", "the rules are there once",
	  check_rules_doubled, false },
	{ "rules_shadowed", "error", "no rule hides SIP from the daemon",
	  check_rules_shadowed, false },
	{ "rules_after_jump", "warning", "the jump is behind rules that drop",
	  check_rules_after, false },
	{ "notrack", "error", "SIP and media are tracked", check_notrack,
	  false },
	{ "mark_unused", "notice", "a rule uses the mark of media",
	  check_mark_used, false },
	{ "kernel_helper", "error", "the kernel's SIP helper is not used",
	  check_helper, false },
	{ "flow_offload", "error", "flows are not offloaded", check_offload,
	  false },
	{ "rp_filter", "error", "rp_filter lets each uplink's answers in",
	  check_rp_filter, false },
	{ "own_packets_route", "warning",
	  "own packets leave by the uplink of "
	  "their address",
	  check_own_route, false },
	{ "conntrack_full", "error", "the conntrack table has room",
	  check_conntrack_full, true },
	{ "accounting_off", "warning", "packets are counted per flow",
	  check_accounting, true },
	{ "conntrack_events_off", "warning", "conntrack tells of its events",
	  check_events, true },
	{ "udp_timeout", "warning", "UDP timeouts are long enough",
	  check_udp_timeouts, true },
};

#define CHECKS (sizeof(checks) / sizeof(checks[0]))

/* ---- findings ---- */

static void add_finding(struct doctor *d, const char *code,
			const char *severity, const char *said, const char *fix)
{
	static const char advice[] = "# something in it is no UTF-8: look for "
				     "it by hand";
	json_t *finding =
		json_pack("{s:s, s:s, s:s, s:s}", "code", code, "severity",
			  severity, "text", said, "fix", fix);
	char *safe = NULL;

	/* A document of JSON cannot hold it; the finding is not to be lost */
	if (!finding) {
		safe = text_safe(said);
		finding = json_pack("{s:s, s:s, s:s, s:s}", "code", code,
				    "severity", severity, "text", safe, "fix",
				    advice);
	}
	free(safe);
	json_array_append_new(d->findings, finding);
}

void check_unknown(struct doctor *d, const char *fix, const char *fmt, ...)
{
	char said[CHECK_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(said, sizeof(said), fmt, args);
	va_end(args);
	add_finding(d, "not_checked", "unknown", said, fix);
}

void check_found(struct doctor *d, const char *fix, const char *fmt, ...)
{
	char said[CHECK_TEXT_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(said, sizeof(said), fmt, args);
	va_end(args);
	add_finding(d, d->check->code, d->check->severity, said, fix);
}

/* ---- fixes ---- */

const char *check_quote(char *buf, size_t cap, const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789-_=+:,./@%^";
	size_t len = 0;

	if (*text && !text[strspn(text, plain)]) {
		snprintf(buf, cap, "%s", text);
		return buf;
	}
	len += (size_t)snprintf(buf, cap, "'");
	for (; *text && len + 6 < cap; text++) {
		if (*text == '\'')
			len += (size_t)snprintf(buf + len, cap - len, "'\\''");
		else
			buf[len++] = *text;
	}
	snprintf(buf + len, cap - len, "'");
	return buf;
}

const char *check_own_command(const struct doctor *d, char *buf, size_t cap,
			      const char *command)
{
	const char *name = program_invocation_name;
	char program[512], socket[2 * CONF_PATH_MAX], path[512];
	size_t len = 0;

	/* Only the script that brings the rules asks for the file by this */
	if (!strncmp(command, "rules", 5) &&
	    strcmp(d->conf_path, DEFAULT_CONF) != 0)
		len += (size_t)snprintf(
			buf, cap, "SIPALGD_CONF=%s ",
			check_quote(path, sizeof(path), d->conf_path));

	/* A path that begins where the shell is now */
	check_quote(program, sizeof(program),
		    strchr(name, '/') ? name : "sipalgctl");
	len += (size_t)snprintf(buf + len, cap - len, "%s ", program);
	if (strcmp(d->ctl->socket, DEFAULT_SOCKET) != 0)
		len += (size_t)snprintf(
			buf + len, cap - len, "--socket %s ",
			check_quote(socket, sizeof(socket), d->ctl->socket));
	snprintf(buf + len, cap - len, "%s", command);
	return buf;
}

const char *check_as_root(const struct doctor *d, char *buf, size_t cap)
{
	size_t len = (size_t)snprintf(buf, cap, "sudo ");

	check_own_command(d, buf + len, cap - len, "doctor");
	return buf;
}

const char *check_service(char *buf, size_t cap, const char *verb)
{
	if (!access("/run/systemd/system", F_OK))
		snprintf(buf, cap, "systemctl %s sipalgd", verb);
	else
		snprintf(buf, cap, "service sipalgd %s", verb);
	return buf;
}

const char *check_install(char *buf, size_t cap, const char *package)
{
	static const char *const tools[][2] = {
		{ "apt-get", "install" }, { "dnf", "install" },
		{ "zypper", "install" },  { "opkg", "install" },
		{ "apk", "add" },	  { "pacman", "-S" },
	};
	size_t i = 0;

	while (i + 1 < sizeof(tools) / sizeof(tools[0]) &&
	       !program_exists(tools[i][0]))
		i++;
	if (!program_exists(tools[i][0]))
		i = 0;
	snprintf(buf, cap, "%s %s %s", tools[i][0], tools[i][1], package);
	return buf;
}

/* Whether the file gives the key a value; read as simply as sed does */
static bool is_set(const char *path, const char *section, const char *key)
{
	char *line = NULL, name[CONF_NAME_MAX], within[CONF_NAME_MAX] = "";
	FILE *f = fopen(path, "re");
	bool found = false;
	size_t cap = 0;

	while (f && !found && getline(&line, &cap, f) >= 0) {
		if (sscanf(line, " [%63[^]]]", name) == 1)
			memcpy(within, name, sizeof(within));
		else if (sscanf(line, " %63[a-zA-Z0-9_] =", name) == 1)
			found = !strcasecmp(within, section) &&
				!strcasecmp(name, key) && strchr(line, '=');
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

const char *check_setting(const struct doctor *d, char *buf, size_t cap,
			  const char *key, const char *value, bool restart)
{
	char section[CONF_NAME_MAX], path[512], then[512];
	const char *name = strchr(key, '.') + 1;

	snprintf(section, sizeof(section), "%.*s", (int)(name - 1 - key), key);
	check_quote(path, sizeof(path), d->conf_path);
	if (restart || !d->daemon)
		check_service(then, sizeof(then), "restart");
	else
		check_own_command(d, then, sizeof(then), "reload");
	if (is_set(d->conf_path, section, name))
		snprintf(buf, cap,
			 "sed -i '/^ *\\[%s\\]/I,/^ *\\[/s|^[ \\t]*%s[ \\t]*=.*"
			 "|%s = %s|I' %s && %s",
			 section, name, name, value, path, then);
	else
		/* The file's last line may have no end */
		snprintf(buf, cap, "printf '\\n[%s]\\n%s = %s\\n' >>%s && %s",
			 section, name, value, path, then);
	return buf;
}

/* ---- what is there ---- */

bool check_sysctl(const char *name, long *value)
{
	char path[256];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fscanf(f, "%ld", value) == 1;
	fclose(f);
	return ok;
}

static struct conf *load(const char *path)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf && conf_load(path, conf, NULL)) {
		free(conf);
		conf = NULL;
	}
	return conf;
}

/* The daemon prints its configuration as a file */
static struct conf *load_text(const char *text)
{
	int fd = memfd_create("sipalgd.conf", MFD_CLOEXEC);
	struct conf *conf = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text))
		conf = load(path);
	if (fd >= 0)
		close(fd);
	return conf;
}

static const char *answer_text(const struct doctor *d, const char *key)
{
	return json_string_value(json_object_get(d->daemon, key));
}

/* sipalgd, where sipalgctl is; else by PATH */
static void find_daemon_program(char *buf, size_t cap)
{
	ssize_t len = readlink("/proc/self/exe", buf, cap - 1);
	char *slash;

	buf[len > 0 ? len : 0] = '\0';
	slash = strrchr(buf, '/');
	if (slash)
		snprintf(slash + 1, cap - (size_t)(slash + 1 - buf), "sipalgd");
	if (!slash || access(buf, X_OK))
		snprintf(buf, cap, "sipalgd");
}

static void ask_wanted_rules(struct doctor *d)
{
	static const char *const what[] = { "--print-rules",
					    "--print-rules=ip6" };
	static const char *const key[] = { "ip4", "ip6" };
	json_t *rules = NULL;
	char program[512];

	if (d->daemon)
		ctl_ask(d->ctl, json_pack("{s:s}", "command", "rules"), &rules);
	find_daemon_program(program, sizeof(program));
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		const char *const argv[] = { program, "-c", d->conf_path,
					     what[f], NULL };
		const struct program print = { .argv = argv };
		const char *text =
			json_string_value(json_object_get(rules, key[f]));

		if (text)
			d->tables[f].wanted = strdup(text);
		else if (d->conf)
			program_run(&print, &d->tables[f].wanted);
	}
	json_decref(rules);
}

static void ask_daemon(struct doctor *d, const char *path)
{
	if (!access(d->ctl->socket, W_OK) &&
	    ctl_ask(d->ctl, json_pack("{s:s}", "command", "doctor"),
		    &d->daemon) == CTL_NO_DAEMON)
		d->hangs = !ctl_find_daemon(d->ctl, &d->daemon_pid);
	if (d->daemon)
		ctl_find_daemon(d->ctl, &d->daemon_pid);
	/* The daemon's own is the one that counts */
	d->conf_path = answer_text(d, "config_file");
	if (!d->conf_path)
		d->conf_path = path ? path : DEFAULT_CONF;
	if (answer_text(d, "config"))
		d->conf = load_text(answer_text(d, "config"));
	else
		d->conf = load(d->conf_path);
	ask_wanted_rules(d);
}

/* ---- interfaces ---- */

static struct check_link *get_link(struct doctor *d, const struct ifaddrs *i)
{
	struct check_link *l = d->link;

	while (l < d->link + d->links && strcmp(l->name, i->ifa_name) != 0)
		l++;
	if (l == d->link + CHECK_MAX_LINKS)
		return NULL;
	if (l == d->link + d->links) {
		d->links++;
		*l = (struct check_link){ .is_up = i->ifa_flags & IFF_UP };
		snprintf(l->name, sizeof(l->name), "%s", i->ifa_name);
		if (d->conf) {
			l->is_lan = conf_interface_matches(
				&d->conf->gateway.lan_interfaces, l->name);
			l->is_wan = conf_interface_matches(
				&d->conf->gateway.wan_interfaces, l->name);
		}
	}
	return l;
}

/* RFC 4193 */
static bool is_local(const struct addr *a)
{
	size_t len;

	return (addr_bytes(a, &len)[0] & 0xfe) == 0xfc;
}

/* Of IPv6 rather one that is routed everywhere */
static void take_address(struct check_link *l, const struct ifaddrs *i)
{
	const struct sockaddr_in *v4 = (const void *)i->ifa_addr;
	const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;
	struct addr *own6 = &l->addr[CHECK_IP6];

	if (!i->ifa_addr)
		return;
	if (v4->sin_family == AF_INET && !addr_is_set(&l->addr[CHECK_IP4]))
		l->addr[CHECK_IP4] = addr_from_v4(&v4->sin_addr);
	else if (v6->sin6_family == AF_INET6 &&
		 !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) &&
		 (!addr_is_set(own6) || is_local(own6)))
		*own6 = addr_from_v6(&v6->sin6_addr);
}

/* Inside and outside have addresses of the family. Local ones of IPv6 inside
 * are no sign that anything is to leave, unless IPv6 is forwarded
 */
static bool is_in_use(const struct doctor *d, int family)
{
	bool lan = false, wan = false;
	long forwards = 0;

	if (family == CHECK_IP6)
		check_sysctl("net/ipv6/conf/all/forwarding", &forwards);
	for (unsigned int i = 0; i < d->links; i++) {
		const struct check_link *l = &d->link[i];
		const struct addr *a = &l->addr[family];

		if (!addr_is_set(a))
			continue;
		wan |= l->is_wan;
		lan |= l->is_lan &&
		       (family == CHECK_IP4 || forwards || !is_local(a));
	}
	return lan && wan;
}

static void read_links(struct doctor *d)
{
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all))
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct check_link *l = get_link(d, i);

		if (l)
			take_address(l, i);
	}
	freeifaddrs(all);
	for (int f = 0; f < CHECK_FAMILIES; f++)
		d->tables[f].in_use = is_in_use(d, f);
}

/* ---- rules ---- */

/* @tool-save's list; -ENOENT if there is no such tool */
static int read_tool(struct check_tables *tables, const char *tool)
{
	struct ruleset *set = &tables->set[tables->sets];
	char save[64], *listed = NULL;
	const char *const argv[] = { save, NULL };
	const struct program list = { .argv = argv };
	int err;

	snprintf(save, sizeof(save), "%s-save", tool);
	if (!program_exists(save))
		return -ENOENT;
	err = program_run(&list, &listed);
	if (!err)
		err = ruleset_read(set, tool, listed);
	if (err)
		ruleset_free(set);
	else
		tables->sets++;
	free(listed);
	return err;
}

static bool has_rules_of(const struct ruleset *set, const struct nftrule *rule)
{
	for (size_t i = 0; i < set->rules; i++) {
		if (!strcmp(set->rule[i].table, rule->table) &&
		    !strcmp(set->rule[i].chain, rule->chain))
			return true;
	}
	return false;
}

/* Those of iptables-nft are in nft's list too. Of a chain of nft's own that has
 * the name of one of its own it lists no rules, and the old tables are others
 */
static bool is_seen_already(const struct doctor *d, const struct nftrule *rule)
{
	static const char *const family[] = { "ip", "ip6" };

	for (int f = 0; f < CHECK_FAMILIES; f++) {
		const struct check_tables *tables = &d->tables[f];

		for (unsigned int i = 0; i < tables->sets; i++) {
			if (!strcmp(rule->family, family[f]) &&
			    !strstr(tables->set[i].tool, "legacy") &&
			    has_rules_of(&tables->set[i], rule))
				return true;
		}
	}
	return false;
}

static int read_nft(struct doctor *d)
{
	static const char *const argv[] = { "nft", "-a", "list", "ruleset",
					    NULL };
	const struct program list = { .argv = argv };
	char *listed = NULL;
	int err = program_exists("nft") ? program_run(&list, &listed) : -ENOENT;
	size_t kept = 0;

	if (!err)
		err = nftlist_read(&d->nft, listed);
	free(listed);
	for (size_t i = 0; !err && i < d->nft.rules; i++) {
		if (!is_seen_already(d, &d->nft.rule[i]))
			d->nft.rule[kept++] = d->nft.rule[i];
	}
	d->nft.rules = kept;
	return err;
}

static const char *const tool_names[CHECK_FAMILIES][3] = {
	{ "iptables-nft", "iptables-legacy", "iptables" },
	{ "ip6tables-nft", "ip6tables-legacy", "ip6tables" },
};

static void cannot_read(struct doctor *d, const char *what, int err,
			const char *package)
{
	char fix[CHECK_TEXT_MAX];

	if (err == -ENOENT) {
		check_found(d, check_install(fix, sizeof(fix), package),
			    "%s is not installed: its rules were not looked at",
			    what);
	} else {
		check_found(d, check_as_root(d, fix, sizeof(fix)),
			    "%s cannot read its rules%s: they were not looked "
			    "at",
			    what, geteuid() ? ", you are not root" : "");
	}
}

/* "iptables" is the one of the old tables: it names no other since 1.8 */
static bool is_legacy(const char *tool)
{
	const char *const argv[] = { tool, "-V", NULL };
	const struct program version = { .argv = argv };
	char *said = NULL;
	bool legacy =
		!program_run(&version, &said) && !strstr(said, "nf_tables");

	free(said);
	return legacy;
}

/* First those of the tool that is used when "iptables" is said: fixes use it,
 * as the service does
 */
static void read_family(struct doctor *d, enum check_family family)
{
	struct check_tables *tables = &d->tables[family];
	const char *const *tool = tool_names[family];
	bool legacy = is_legacy(tool[2]), found = false;
	int err;

	for (int i = 0; i < 2; i++) {
		const char *name = tool[legacy ? 1 - i : i];

		err = read_tool(tables, name);
		found |= err != -ENOENT;
		if (err && err != -ENOENT)
			cannot_read(d, name, err, "iptables");
	}
	if (found)
		return;
	err = read_tool(tables, tool[2]);
	tables->no_tool = err == -ENOENT;
	if (err && (err != -ENOENT || tables->in_use))
		cannot_read(d, tool[2], err, "iptables");
}

/* Other programs bring rules of nftables too: firewalld, Docker */
static bool is_nft_in_use(const struct doctor *d)
{
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		for (unsigned int i = 0; i < d->tables[f].sets; i++) {
			if (strstr(d->tables[f].set[i].tool, "-nft"))
				return true;
		}
	}
	return false;
}

static void no_configuration(struct doctor *d)
{
	char fix[CHECK_TEXT_MAX], path[512];

	if (access(d->conf_path, R_OK) && errno == EACCES)
		check_as_root(d, fix, sizeof(fix));
	else
		snprintf(fix, sizeof(fix), "sipalgd -c %s --check",
			 check_quote(path, sizeof(path), d->conf_path));
	check_found(d, fix,
		    "%s cannot be read: what depends on the configuration was "
		    "not looked at",
		    d->conf_path);
}

/* Reads all rules, and says which it could not */
void check_readable(struct doctor *d)
{
	char fix[CHECK_TEXT_MAX];
	int err;

	for (int f = 0; f < CHECK_FAMILIES; f++)
		read_family(d, (enum check_family)f);
	err = read_nft(d);
	if (err && (err != -ENOENT || is_nft_in_use(d)))
		cannot_read(d, "nft", err, "nftables");
	if (!program_exists("ip"))
		check_found(d, check_install(fix, sizeof(fix), "iproute2"),
			    "ip is not installed: routes were not looked at");
	if (!d->daemon && access(d->ctl->socket, W_OK) && errno == EACCES)
		check_found(d, check_as_root(d, fix, sizeof(fix)),
			    "%s: you may not ask the daemon: be root, or in "
			    "control.group",
			    d->ctl->socket);
	if (!d->conf)
		no_configuration(d);
}

/* ---- what the daemon found ---- */

/* A finding of the daemon, whose remedy is said in its own terms, as commands
 */
static void take_finding(struct doctor *d, const json_t *from)
{
	json_t *set = json_object_get(from, "set"), *value;
	const char *advice = json_string_value(json_object_get(from, "advice"));
	const char *command =
		json_string_value(json_object_get(from, "command"));
	const char *shell = json_string_value(json_object_get(from, "fix"));
	char fix[CHECK_TEXT_MAX] = "", own[512];
	const char *key;

	json_object_foreach(set, key, value)
	{
		check_setting(d, fix, sizeof(fix), key,
			      json_string_value(value),
			      json_is_true(json_object_get(from, "restart")));
	}
	if (command)
		snprintf(fix, sizeof(fix), "%s%s%s%s%s", advice ? "# " : "",
			 advice	 ? advice
			 : shell ? shell
				 : "",
			 advice	 ? "\n"
			 : shell ? " && "
				 : "",
			 check_own_command(d, own, sizeof(own), command), "");
	add_finding(d, json_string_value(json_object_get(from, "code")),
		    json_string_value(json_object_get(from, "severity")),
		    json_string_value(json_object_get(from, "text")), fix);
}

static void take_findings(struct doctor *d)
{
	json_t *finding;
	size_t i;

	json_array_foreach(json_object_get(d->daemon, "doctor"), i, finding)
	{
		take_finding(d, finding);
	}
}

/* ---- printing ---- */

static const struct severity {
	const char *name, *heading;
	enum term_colour colour;
	bool is_wrong;
} severities[] = {
	{ "error", "Errors", TERM_BAD, true },
	{ "warning", "Warnings", TERM_WARN, true },
	{ "notice", "Worth knowing", TERM_BOLD, false },
	{ "unknown", "Not checked", TERM_DIM, false },
};

#define SEVERITIES (sizeof(severities) / sizeof(severities[0]))

/* Fixes are not wrapped: a line break in the middle could not be pasted */
static void print_finding(const struct ctl *ctl, const struct severity *s,
			  const json_t *finding)
{
	char *fix = text_memory(strdup(show_string(finding, "fix")));
	char *rest = fix, *line, *safe;

	printf("  %s%s%s\n", term_colour(ctl, s->colour),
	       show_string(finding, "code"), term_plain(ctl));
	text_field(stdout, "", show_string(finding, "text"), 4, ctl->width);
	while ((line = strsep(&rest, "\n"))) {
		safe = text_safe(line);
		if (*safe)
			printf("      %s%s%s\n", term_colour(ctl, TERM_BOLD),
			       safe, term_plain(ctl));
		free(safe);
	}
	free(fix);
}

static unsigned int count_of(const struct doctor *d, const char *key,
			     const char *name)
{
	unsigned int count = 0;
	json_t *finding;
	size_t i;

	json_array_foreach(d->findings, i, finding)
	{
		count += !strcmp(show_string(finding, key), name);
	}
	return count;
}

static void print_group(const struct doctor *d, const struct severity *s)
{
	const struct ctl *ctl = d->ctl;
	json_t *finding;
	size_t i;

	if (!count_of(d, "severity", s->name))
		return;
	printf("%s%s%s\n", term_colour(ctl, s->colour), s->heading,
	       term_plain(ctl));
	json_array_foreach(d->findings, i, finding)
	{
		if (!strcmp(show_string(finding, "severity"), s->name))
			print_finding(ctl, s, finding);
	}
	putchar('\n');
}

static void print_fine(const struct doctor *d)
{
	for (size_t i = 0; i < CHECKS; i++) {
		if (!count_of(d, "code", checks[i].code) &&
		    (d->conf || checks[i].blind))
			printf("  %sok%s  %s\n", term_colour(d->ctl, TERM_GOOD),
			       term_plain(d->ctl), checks[i].title);
	}
}

static void print_people(const struct doctor *d, bool wrong)
{
	unsigned int errors = count_of(d, "severity", "error");
	unsigned int warnings = count_of(d, "severity", "warning");

	for (size_t i = 0; i < SEVERITIES; i++)
		print_group(d, &severities[i]);
	if (d->ctl->all)
		print_fine(d);
	if (wrong)
		printf("%u error%s, %u warning%s. Indented lines are commands "
		       "that mend them.\n",
		       errors, errors == 1 ? "" : "s", warnings,
		       warnings == 1 ? "" : "s");
	else
		puts(json_array_size(d->findings) ? "Nothing wrong was found."
						  : "All is well.");
}

/* ---- the command ---- */

static bool is_wrong(const struct doctor *d)
{
	unsigned int wrong = 0;

	for (size_t i = 0; i < SEVERITIES; i++) {
		if (severities[i].is_wrong)
			wrong += count_of(d, "severity", severities[i].name);
	}
	return wrong;
}

static void forget(struct doctor *d)
{
	for (int f = 0; f < CHECK_FAMILIES; f++) {
		for (unsigned int i = 0; i < d->tables[f].sets; i++)
			ruleset_free(&d->tables[f].set[i]);
		free(d->tables[f].wanted);
	}
	nftlist_free(&d->nft);
	json_decref(d->findings);
	json_decref(d->daemon);
	free(d->conf);
	free(d);
}

int doctor_run(const struct ctl *ctl, int argc, char **argv)
{
	struct doctor *d = calloc(1, sizeof(*d));
	bool wrong;

	if (!d)
		return CTL_REFUSED;
	d->ctl = ctl;
	d->findings = json_array();
	ask_daemon(d, argc ? argv[0] : NULL);
	read_links(d);
	for (size_t i = 0; i < CHECKS; i++) {
		d->check = &checks[i];
		if (d->conf || d->check->blind)
			d->check->run(d);
	}
	take_findings(d);
	wrong = is_wrong(d);
	if (ctl->json)
		show_document(d->findings);
	else
		print_people(d, wrong);
	forget(d);
	return wrong ? CTL_REFUSED : CTL_OK;
}
