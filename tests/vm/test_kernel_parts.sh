#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# packages: iproute2 kmod
# programs: sipalgd
#
# A kernel that lacks what the daemon needs: one line says which part. (What else
# a new user gets wrong: tests/e2e/test_errors.py.)
set -eu

fail() {
	echo "FAIL: $*"
	exit 1
}
[ "$(cat /proc/1/comm)" = init ] || [ -d /vm ] || {
	echo "SKIP: takes modules out of the kernel: only in a virtual one"
	exit 77
}

dir=$(mktemp -d)
cat >"$dir/conf" <<CONF
[gateway]
lan_interfaces = lan0
wan_interfaces = wan0
[control]
socket = $dir/socket
group = root
CONF

# says WORDS: it ends at once, with status 1 and these words
says() {
	status=0
	timeout 20 sipalgd -c "$dir/conf" >"$dir/said" 2>&1 || status=$?
	[ "$status" = 1 ] || fail "status $status: $(cat "$dir/said")"
	grep -qF "$1" "$dir/said" || fail "not '$1' but $(cat "$dir/said")"
	echo "ok: $1"
}

# Nothing is loaded on demand
echo /bin/false >/proc/sys/kernel/modprobe
modprobe -r nfnetlink_queue nf_conntrack_netlink || true
grep -qw nf_conntrack_netlink /proc/modules && fail "it is still there"
says "needs CAP_NET_ADMIN and the kernel module nf_conntrack_netlink"
modprobe nf_conntrack_netlink
grep -qw nfnetlink_queue /proc/modules && fail "it is still there"
says "is nfnetlink_queue in the kernel?"
