#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# packages: iproute2 iptables nftables procps
# programs: sipalgd sipalgctl crowd
#
# A conntrack table that is full: its size is one for all namespaces of a kernel,
# so not on this machine's. Who is registered goes on; for whom there is no room
# it is said why; and when there is room again, all is well.
set -eu

fail() {
	echo "FAIL: $*"
	cat "$dir/said" 2>/dev/null || true
	exit 1
}
[ "$(cat /proc/1/comm)" = init ] || [ -d /vm ] || {
	echo "SKIP: squeezes the whole kernel's conntrack table"
	exit 77
}

dir=$(mktemp -d)
registrar=203.0.113.10
limit=/proc/sys/net/netfilter/nf_conntrack_max

ip link set lo up
for side in lan wan; do
	ip netns add $side
	ip link add ${side}0 type veth peer name eth0 netns $side
	ip link set ${side}0 up
	ip -n $side link set eth0 up
done
ip addr add 10.0.0.1/24 dev lan0
ip addr add 203.0.113.4/24 dev wan0
ip -n lan addr add 10.0.0.2/24 dev eth0
ip -n lan route add default via 10.0.0.1
ip -n wan addr add $registrar/24 dev eth0
echo 1 >/proc/sys/net/ipv4/ip_forward
iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE

cat >"$dir/conf" <<CONF
[gateway]
lan_interfaces = lan0
wan_interfaces = wan0
[control]
socket = $dir/socket
group = root
[state]
directory = $dir
CONF
sipalgd -c "$dir/conf" --print-rules | iptables-restore --noflush
sipalgd -c "$dir/conf" >"$dir/said" 2>&1 &
for _ in $(seq 100); do
	[ -S "$dir/socket" ] && break
	sleep 0.1
done
mkfifo "$dir/end"
ip netns exec wan crowd server $registrar 5060 <"$dir/end" >"$dir/server" &
exec 3>"$dir/end"
sleep 1

# phones FIRST COUNT: they register, and a moment to be answered
phones() {
	ip netns exec lan crowd phones register "$1" "$2" $registrar 5060 \
		-c "$2" >/dev/null
	sleep 1
}

# counted NAME: its value in stats
counted() {
	sipalgctl --socket "$dir/socket" --json stats |
		sed -n "s/.*\"sipalgd_$1_total\": \([0-9]*\).*/\1/p"
}

phones 10.0.0.10 3
[ "$(counted registrations_confirmed)" = 3 ] || fail "three did not register"
old=$(cat $limit)
echo 3 >$limit
phones 10.0.0.20 4
[ "$(counted conntrack_errors)" -ge 4 ] || fail "not counted"
[ "$(counted no_mapping)" -ge 4 ] || fail "not passed as they came"
grep -q "(conntrack_errors)" "$dir/said" || fail "not said why"
[ "$(counted registrations_confirmed)" = 3 ] || fail "a fourth registered"
sipalgctl --socket "$dir/socket" --json doctor >"$dir/doctor" || true
grep -q conntrack_full "$dir/doctor" || {
	cat /proc/sys/net/netfilter/nf_conntrack_count "$dir/doctor"
	fail "doctor does not know"
}
echo "ok: full, and said so"
phones 10.0.0.10 3
[ "$(counted registrations_confirmed)" = 6 ] || fail "who is registered is lost"
echo "ok: who is registered goes on"
echo "$old" >$limit
phones 10.0.0.20 4
[ "$(counted registrations_confirmed)" = 10 ] || fail "no good when there is room"
exec 3>&-
sleep 1
# The server has seen a private address of nobody
grep -q '"private": 0, "registers": 10' "$dir/server" ||
	fail "$(cat "$dir/server")"
echo "ok: when there is room again, all is well"
