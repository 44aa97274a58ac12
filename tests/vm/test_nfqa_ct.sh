#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# packages: iproute2 iptables
# programs: nfqa_ct
#
# Does NFQA_CT come with a packet that waits in raw PREROUTING, where our rules
# are? docs/decisions/008-nfqa-ct.md. In tests/vm/run's virtual machine (Debian's
# kernel, which has CONFIG_NETFILTER_NETLINK_GLUE_CT) or, with --here, on the
# kernel of this machine.
set -eu

name=nfqa-$$
phone=$name-phone gw=$name-gw server=$name-server
cleanup() {
	for ns in "$phone" "$gw" "$server"; do
		ip netns del "$ns" 2>/dev/null || true
	done
}
trap cleanup EXIT
trap 'exit 130' INT TERM

for ns in "$phone" "$gw" "$server"; do
	ip netns add "$ns"
done
ip -n "$gw" link add lan0 type veth peer name eth0 netns "$phone"
ip -n "$gw" link add wan0 type veth peer name eth0 netns "$server"
ip -n "$phone" addr add 192.168.1.10/24 dev eth0
ip -n "$gw" addr add 192.168.1.1/24 dev lan0
ip -n "$gw" addr add 203.0.113.4/24 dev wan0
ip -n "$server" addr add 203.0.113.10/24 dev eth0
ip -n "$phone" link set eth0 up
ip -n "$gw" link set lan0 up
ip -n "$gw" link set wan0 up
ip -n "$server" link set eth0 up
ip -n "$phone" route add default via 192.168.1.1

# Neither is in the kernel's own list of what a rule needs
for module in nfnetlink_queue nf_conntrack_netlink; do
	modprobe -q "$module" 2>/dev/null || true
done
ip netns exec "$gw" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
ip netns exec "$gw" iptables-restore <<RULES
*raw
-A PREROUTING -p tcp -j NFQUEUE --queue-num 1
COMMIT
*mangle
-A PREROUTING -p tcp -j NFQUEUE --queue-num 2
COMMIT
*nat
-A POSTROUTING -o wan0 -j MASQUERADE
COMMIT
RULES

for config in "/boot/config-$(uname -r)" /proc/config.gz; do
	[ -e "$config" ] || continue
	zgrep -h CONFIG_NETFILTER_NETLINK_GLUE_CT "$config" || true
	break
done
ip netns exec "$gw" nfqa_ct 1 2 "$phone" "$server" 203.0.113.10
