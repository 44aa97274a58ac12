#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What the unit runs at start, reload and stop, on the real tables of a network
# namespace.

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*"; exit 1; }

script=$SIPALG_BUILD_DIR/systemd/sipalgd-rules
vectors=$SIPALG_SOURCE_DIR/tests/vectors/rules
export SIPALGD=$SIPALG_BUILD_DIR/sipalgd SIPALGD_CONF

tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT
[ -r "$script" ] || fail "no $script"
[ -r "$vectors/remove" ] || fail "no $vectors/remove"

# The text that a stop applies is the daemon's own
sed -n '/<<-/,/^	EOF/{s/^	//;/^[*:-]/p;/^COMMIT/p}' "$script" >"$tmp"
grep -v '^#' "$vectors/media.remove" | diff - "$tmp" || fail "remove differs"

[ "$(id -u)" = 0 ] || skip "needs root for a network namespace"
[ -x "$SIPALGD" ] || skip "needs $SIPALGD"
if [ -z "$INSIDE" ]; then
	unshare -n true 2>/dev/null || skip "no network namespaces here"
	rm -f "$tmp"
	INSIDE=1 exec unshare -n "$0"
fi
command -v iptables >/dev/null || skip "needs iptables"
iptables -t raw -L -n >/dev/null 2>&1 || skip "no raw table here"
tables="iptables ip6tables"
ip6tables -t raw -L -n >/dev/null 2>&1 && [ -e /proc/net/if_inet6 ] ||
	tables=iptables

wants() { # COUNT PATTERN
	for t in $tables; do
		n=$("$t-save" -t raw | grep -c -e "$2")
		[ "$n" = "$1" ] || fail "$t: $n, not $1: $2"
	done
}
jumps() { # one of each
	wants 1 '^-A PREROUTING .*-j SIPALGD$'
	wants 1 '^-A PREROUTING'
	wants 1 '^-A OUTPUT .*-j SIPALGD-OUT$'
	wants 1 '^-A OUTPUT'
	wants 1 '^-A SIPALGD-OUT .*-j CT --notrack'
}
quietly() {
	"$script" "$1" >"$tmp" 2>&1 || fail "$1: $(cat "$tmp")"
	[ "$tables" = iptables ] || [ ! -s "$tmp" ] || fail "$1 said $(cat "$tmp")"
}

SIPALGD_CONF=$vectors/plain.conf
quietly apply			# start
wants 12 'queue-num 5060'
jumps
SIPALGD_CONF=$vectors/full.conf
"$script" apply >"$tmp" 2>&1 || fail "reload: $(cat "$tmp")"
wants 0 'queue-num'
wants 18 'queue-balance 100:103'
jumps
for chain in PREROUTING OUTPUT; do	# what somebody flushed comes back
	for t in $tables; do "$t" -t raw -F $chain; done
	"$script" apply >"$tmp" 2>&1 || fail "$chain: $(cat "$tmp")"
	jumps
done

# Media of unknown sources comes from another table, and goes with its key
SIPALGD_CONF=$vectors/media.conf
quietly apply
quietly apply
for t in $tables; do
	n=$("$t-save" -t mangle | grep -c 'dport 20000:20999 .*ctstate NEW')
	[ "$n" = 2 ] || fail "$t: $n media rules"
	n=$("$t-save" -t mangle | grep -c -e '-A PREROUTING .*SIPALGD-MEDIA')
	[ "$n" = 1 ] || fail "$t: $n media jumps"
done
# So does the class of media, beside it
SIPALGD_CONF=$vectors/voice.conf
quietly apply
quietly apply
for t in $tables; do
	n=$("$t-save" -t mangle | grep -c 'connmark --mark 0x100/0x300 .*0x2e')
	[ "$n" = 1 ] || fail "$t: $n rules for the class"
	n=$("$t-save" -t mangle | grep -c 'ctstate NEW')
	[ "$n" = 1 ] || fail "$t: $n media rules"
	n=$("$t-save" -t mangle | grep -c -e '-A PREROUTING .*SIPALGD-MEDIA')
	[ "$n" = 1 ] || fail "$t: $n media jumps beside the class"
done
# What is advised beside it can be pasted
if command -v nft >/dev/null && nft list tables >/dev/null 2>&1; then
	"$SIPALGD" -c "$SIPALGD_CONF" --print-rules |
		sed -n 's/^#  nft/nft/p' >"$tmp"
	[ "$(wc -l <"$tmp")" = 3 ] || fail "advice: $(cat "$tmp")"
	sh -e "$tmp" || fail "nft refuses the advice"
	nft list table inet voice | grep -q 'priority set 1:10' ||
		fail "the advice did nothing"
	nft delete table inet voice
fi
SIPALGD_CONF=$vectors/full.conf
"$script" apply >"$tmp" 2>&1 || fail "reload: $(cat "$tmp")"
for t in $tables; do
	"$t-save" -t mangle | grep SIPALGD && fail "$t: media rules are left"
done

# A broken file at reload leaves the rules as they were; a stop still works
SIPALGD_CONF=$vectors/remove
"$script" apply >"$tmp" 2>&1 && fail "a broken configuration was applied"
wants 18 'queue-balance 100:103'
quietly remove
wants 0 SIPALGD
quietly remove
wants 0 SIPALGD
"$script" nonsense 2>/dev/null
[ $? = 2 ] || fail "usage"
echo "ok: $tables"
