#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# packages: iproute2 iptables nftables procps
# programs: sipalgd sipalgctl
#
# sipalgctl doctor on Debian's kernel, which has what the usual test machine has
# not: flowtables, helpers of nftables, a conntrack limit that may be changed.
set -eu

fail() {
	echo "FAIL: $*"
	exit 1
}
[ "$(cat /proc/1/comm)" = init ] || [ -d /vm ] || {
	echo "SKIP: changes the machine's own rules: only in a virtual one"
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
ip netns add phone
ip netns add server
ip link set lo up
ip link add lan0 type veth peer name eth0 netns phone
ip link add wan0 type veth peer name eth0 netns server
ip addr add 192.168.1.1/24 dev lan0
ip addr add 203.0.113.4/24 dev wan0
ip link set lan0 up
ip link set wan0 up
ip route add default via 203.0.113.10
for module in nfnetlink_queue nf_conntrack_netlink; do
	modprobe "$module"
done
iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE
sysctl -qw net.ipv4.ip_forward=1 net.netfilter.nf_conntrack_acct=1
sipalgd -c "$dir/conf" --print-rules | iptables-restore --noflush
sipalgd -c "$dir/conf" 2>"$dir/log" &
daemon=$!
trap 'kill $daemon; wait $daemon || true' EXIT
for _ in $(seq 100); do
	[ -S "$dir/socket" ] && break
	sleep 0.1
done

ask() {
	sipalgctl --socket "$dir/socket" --json doctor >"$dir/found" || [ $? = 1 ]
}
healthy() {
	ask
	tr -d ' \n' <"$dir/found" | grep -qxF '[]' ||
		fail "$1: $(cat "$dir/found") $(cat "$dir/log")"
}
# mends CODE: it alone is found, and gone when its fix was pasted
mends() {
	ask
	[ "$(sed -n 's/.*"code": "\(.*\)",/\1/p' "$dir/found")" = "$1" ] ||
		fail "$1, but found: $(cat "$dir/found")"
	sed -n 's/.*"fix": "\(.*\)".*/\1/p' "$dir/found" >"$dir/fix"
	sh -e "$dir/fix" >"$dir/said" || fail "$1: $(cat "$dir/fix")"
	healthy "$1"
	echo "ok: $1: $(cat "$dir/fix")"
}

healthy "at first"

modprobe nf_flow_table
modprobe nf_flow_table_inet 2>/dev/null || true
nft -f - <<NFT
table inet filter {
	flowtable ft {
		hook ingress priority filter
		devices = { lan0, wan0 }
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip protocol { tcp, udp } flow add @ft
		ct state established accept
	}
}
NFT
mends flow_offload
nft add rule inet filter forward tcp dport 443 flow add @ft
healthy "offload of other traffic"

modprobe nf_conntrack_sip
nft -f - <<NFT
table inet helpers {
	ct helper sip-5060 {
		type "sip" protocol udp
		l3proto ip
	}
	chain pre {
		type filter hook prerouting priority filter; policy accept;
		udp dport 5060 ct helper set "sip-5060"
	}
}
NFT
mends kernel_helper

nft -f - <<NFT
table inet ids {
	chain pre {
		type filter hook prerouting priority filter; policy accept;
		udp dport 53 queue num 5060 bypass
	}
}
NFT
mends queue_shared

nft -f - <<NFT
table ip masq {
	chain post {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "wan0" masquerade
	}
}
NFT
iptables -t nat -F POSTROUTING
healthy "masquerade by nft"

# As many entries as the table holds
for port in $(seq 1 12); do
	bash -c "echo x >/dev/udp/127.0.0.1/$port" || true
done
count=$(sysctl -n net.netfilter.nf_conntrack_count)
[ "$count" -ge 5 ] || fail "only $count entries in conntrack"
sysctl -qw net.netfilter.nf_conntrack_max="$count"
mends conntrack_full
