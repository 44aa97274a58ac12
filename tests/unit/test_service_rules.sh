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
[ "$(id -u)" = 0 ] || skip "needs root for a network namespace"
[ -x "$SIPALGD" ] || skip "needs $SIPALGD"
if [ -z "$INSIDE" ]; then
	unshare -n true 2>/dev/null || skip "no network namespaces here"
	rm -f "$tmp"
	INSIDE=default unshare -n "$0" || exit
	if [ -x /usr/sbin/iptables-legacy ] && [ -d /etc/alternatives ]; then
		INSIDE=legacy unshare -n -m "$0"
		[ $? != 1 ] || exit 1
	fi
	exit 0
fi
if [ "$INSIDE" = legacy ]; then
	rm -f "$tmp"
	tmp=$(mktemp -d)
	cp -a /etc/alternatives/. "$tmp"
	for t in iptables ip6tables; do
		for tool in "" -save -restore; do
			ln -sf "/usr/sbin/$t-legacy$tool" "$tmp/$t$tool"
		done
	done
	mount --bind "$tmp" /etc/alternatives || skip "no bind mounts here"
	dir=$tmp
	trap 'umount /etc/alternatives; rm -rf "$dir"' EXIT
	tmp=$dir/said
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

# --print-rules=remove takes out what the script brings
SIPALGD_CONF=$vectors/voice.conf
quietly apply
for t in $tables; do
	"$SIPALGD" -c "$SIPALGD_CONF" --print-rules=remove |
		"$t-restore" --noflush || fail "$t: --print-rules=remove"
	"$t-save" | grep SIPALGD && fail "$t: --print-rules=remove leaves some"
done

# However it was left by others: nothing of ours stays, and theirs does
theirs='-A PREROUTING -p 99 -j ACCEPT'
gone() { # WHAT
	quietly remove
	for t in $tables; do
		"$t-save" | grep SIPALGD && fail "$1: $t: this was left"
	done
	wants 1 "^$theirs"
	for t in $tables; do "$t" -t raw -F PREROUTING; done
}
broken() { # WHAT ARGUMENTS...: of iptables
	what=$1
	shift
	quietly apply
	for t in $tables; do
		"$t" "$@" || fail "$t $*"
		"$t" -t raw -A PREROUTING -p 99 -j ACCEPT
	done
	gone "$what"
}
broken "a jump twice" -t raw -A PREROUTING -m comment --comment sipalgd \
	-j SIPALGD
broken "a jump of others" -t raw -I PREROUTING -i lan+ -m comment \
	--comment "it's \"quoted\"" -j SIPALGD
broken "a rule in our chain" -t raw -I SIPALGD -p udp -j ACCEPT
broken "chains without a jump" -t raw -F PREROUTING
broken "own chain without a jump" -t raw -F OUTPUT
broken "media without a jump" -t mangle -F PREROUTING
SIPALGD_CONF=$vectors/voice.conf
quietly apply
for t in $tables; do "$t" -t mangle -F PREROUTING; done
SIPALGD_CONF=$vectors/full.conf
"$script" apply >"$tmp" 2>&1 || fail "reload: $(cat "$tmp")"
for t in $tables; do
	"$t-save" -t mangle | grep SIPALGD && fail "$t: media rules are left"
done

# Who may not is told, and does not read that it was done
if command -v setpriv >/dev/null; then
	setpriv --reuid 65534 --regid 65534 --clear-groups \
		"$script" remove >"$tmp" 2>&1 && fail "a stranger removes rules"
	[ -s "$tmp" ] || fail "a stranger is not told why"
	wants 18 'queue-balance 100:103'
fi
quietly remove

# What is left of IPv6 is said, too
SIPALGD_CONF=$vectors/plain.conf
if [ "$tables" != iptables ]; then
	quietly apply
	mkdir "$tmp.bin"
	printf '#!/bin/sh\nexit 4\n' >"$tmp.bin/ip6tables-save"
	chmod +x "$tmp.bin/ip6tables-save"
	sed "s|^PATH=|&$tmp.bin:|" "$script" >"$tmp.bin/rules"
	sh "$tmp.bin/rules" remove >"$tmp" 2>&1 && fail "IPv6 is left: $?"
	grep -q 'rules of IPv6 may be left' "$tmp" || fail "$(cat "$tmp")"
	rm -r "$tmp.bin"
fi

# Where another program has the lock of the old tables it waits
if [ "$INSIDE" = legacy ] && command -v flock >/dev/null; then
	flock /run/xtables.lock sleep 2 &
	sleep 0.5
	quietly apply
	jumps
	wait
fi
quietly remove

"$script" nonsense 2>/dev/null
[ $? = 2 ] || fail "usage"
echo "ok: $tables, $INSIDE"
