/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SIPALG_CTL_CHECK_H
#define SIPALG_CTL_CHECK_H

#include <jansson.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "ctl/ctl.h"
#include "ctl/nftlist.h"
#include "ctl/ruleset.h"

/*
 * What the checks of doctor have in common: what was found out about the
 * system, once, and where their findings go.
 */

#define CHECK_MAX_LINKS 512
/** CHECK_TEXT_MAX - Longest text or fix; a longer one is cut */
#define CHECK_TEXT_MAX 2048

enum check_family { CHECK_IP4, CHECK_IP6, CHECK_FAMILIES };

/** struct check_link - A network interface
 * @addr:	One of its addresses; IPv6 only of global scope
 * @bits:	Prefix length of that of IPv4
 */
struct check_link {
	char name[IF_NAMESIZE];
	bool is_up, is_lan, is_wan;
	struct addr addr[CHECK_FAMILIES];
	unsigned int bits;
};

/** struct check_tables - Rules of one family
 * @set:	One a tool: nft's and the old tables are two worlds. First that
 *of the tool which "iptables" is here
 * @wanted:	What sipalgd says they should be, for iptables-restore; NULL if
 *		that is not known
 * @in_use:	Inside and outside have addresses of this family
 * @no_tool:	There is no iptables
 */
struct check_tables {
	struct ruleset set[2];
	unsigned int sets;
	char *wanted;
	bool in_use, no_tool;
};

struct check;

/**
 * struct doctor - At work
 * @check:	The one that runs: its code and severity are those of findings
 * @daemon:	What the daemon answered; NULL if there is none
 * @daemon_pid:	0 if not known
 * @hangs:	It is there, and does not answer
 * @conf:	The configuration in force, else that of the file; NULL if none
 *		could be read
 * @conf_path:	Its file
 * @nft:	Rules of nftables; those that @tables has too are left out
 */
struct doctor {
	const struct ctl *ctl;
	const struct check *check;
	json_t *findings, *daemon;
	pid_t daemon_pid;
	bool hangs;
	struct conf *conf;
	const char *conf_path;
	struct check_link link[CHECK_MAX_LINKS];
	unsigned int links;
	struct check_tables tables[CHECK_FAMILIES];
	struct nftlist nft;
};

/**
 * struct check - Something that may be wrong
 * @severity:	"error": SIP or media of some suffers; "warning": it will, or
 *		not all works that could; "notice": worth knowing; "unknown":
 *could not be checked
 * @title:	What is checked, as it is if all is well
 * @blind:	Needs no configuration
 */
struct check {
	const char *code, *severity, *title;
	void (*run)(struct doctor *d);
	bool blind;
};

/**
 * check_found() - Something is wrong
 * @fix:	Shell commands that mend it
 */
void check_found(struct doctor *d, const char *fix, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** check_unknown() - Something could not be checked: a finding "not_checked" */
void check_unknown(struct doctor *d, const char *fix, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** check_quote() - @text as one word for a shell; returns @buf */
const char *check_quote(char *buf, size_t cap, const char *text);

/** check_own_command() - "sipalgctl [--socket ...] @command"; returns @buf */
const char *check_own_command(const struct doctor *d, char *buf, size_t cap,
			      const char *command);

/** check_as_root() - "sudo sipalgctl doctor"; returns @buf */
const char *check_as_root(const struct doctor *d, char *buf, size_t cap);

/** check_service() - "systemctl @verb sipalgd", or what does it here */
const char *check_service(char *buf, size_t cap, const char *verb);

/** check_install() - "apt-get install @package", or as it is said here; returns
 * @buf */
const char *check_install(char *buf, size_t cap, const char *package);

/**
 * check_setting() - Commands that set a key of the configuration file, and have
 * the daemon read it
 * @key:	"section.key"
 * @restart:	It takes effect only so
 */
const char *check_setting(const struct doctor *d, char *buf, size_t cap,
			  const char *key, const char *value, bool restart);

/** check_each_rule() - @look at every rule of iptables, of both families */
void check_each_rule(struct doctor *d,
		     void (*look)(struct doctor *d, const struct ruleset *set,
				  const struct rule *rule));

/** check_each_nft() - @look at every other rule of nftables */
void check_each_nft(struct doctor *d,
		    void (*look)(struct doctor *d, const struct nftrule *rule));

/** check_rule_command() - "iptables-nft -t raw -D PREROUTING ...": its words,
 * quoted for a shell */
void check_rule_command(char *buf, size_t cap, const struct ruleset *set,
			const struct rule *rule, const char *command);

/** check_nft_delete() - "nft delete rule ... handle 7" */
void check_nft_delete(char *buf, size_t cap, const struct nftrule *rule);

/** check_sysctl() - An integer below /proc/sys; false if it cannot be read */
bool check_sysctl(const char *name, long *value);

/* How things are: check_system.c */
void check_daemon(struct doctor *d);
void check_namespace(struct doctor *d);
void check_config_file(struct doctor *d);
void check_config_loaded(struct doctor *d);
void check_queue_taken(struct doctor *d);
void check_links_exist(struct doctor *d);
void check_links_up(struct doctor *d);
void check_links_free(struct doctor *d);
void check_default_route(struct doctor *d);
void check_forwarding(struct doctor *d);
void check_rp_filter(struct doctor *d);
void check_own_route(struct doctor *d);
void check_conntrack_full(struct doctor *d);
void check_accounting(struct doctor *d);
void check_events(struct doctor *d);
void check_udp_timeouts(struct doctor *d);

/* What the rules do: check_rules.c */
void check_readable(struct doctor *d);
void check_rules_missing(struct doctor *d);
void check_rules_stale(struct doctor *d);
void check_rules_doubled(struct doctor *d);
void check_rules_shadowed(struct doctor *d);
void check_rules_after(struct doctor *d);
void check_queue_shared(struct doctor *d);
void check_notrack(struct doctor *d);

/* What else concerns us: check_others.c */
void check_mark_used(struct doctor *d);
void check_helper(struct doctor *d);
void check_offload(struct doctor *d);
void check_snat(struct doctor *d);

#endif
