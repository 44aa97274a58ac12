#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Loads the golden rules with the real iptables-restore, of both kinds and both
# families, and sends packets past them. test_rules.c holds the golden files
# equal to what rules_print() prints.

vectors=$SIPALG_SOURCE_DIR/tests/vectors/rules

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*"; exit 1; }

[ "$(id -u)" = 0 ] || skip "needs root for a network namespace"
if [ -z "$INSIDE" ]; then
	unshare -n true 2>/dev/null || skip "no network namespaces here"
	command -v python3 >/dev/null || skip "needs python3 to send packets"
	INSIDE=1 exec unshare -n "$0"
fi

# count PATTERN: lines of the raw table that have it
count() { "$tables-save" -t raw | grep -c -e "$1"; }
apply() { "$tables-restore" --noflush <"$vectors/$1"; }
wants() { n=$(count "$2"); [ "$n" = "$1" ] || fail "$tables: $n, not $1: $2"; }

jumps() { # one of each
	wants 1 '^-A PREROUTING .*-j SIPALGD$'
	wants 1 '^-A OUTPUT .*-j SIPALGD-OUT$'
	wants 1 '^-A SIPALGD-OUT .*-j CT --notrack'
}
foreign() { # rules that are none of ours
	"$tables" -t raw -A PREROUTING -s "$1" -j DROP
	"$tables" -t raw -A OUTPUT -d "$1" -j DROP
}

loads() { # FAMILY TABLES HOST
	foreign "$3"
	apply "plain.$1" || fail "$tables: first time"
	jumps
	wants 6 '-p udp .*NFQUEUE --queue-num 5060 --queue-bypass'
	wants 6 '-p tcp .*NFQUEUE --queue-num 5060 --queue-bypass'
	[ "$("$tables-save" -t raw | grep -n -e '^-A PREROUTING' |
		tail -1 | grep -c SIPALGD)" = 1 ] || fail "$tables: not last"

	# Again, and another configuration: new rules, one jump
	apply "plain.$1" 2>/dev/null
	wants 12 'NFQUEUE'
	apply "full.$1" 2>/dev/null
	jumps
	wants 18 'NFQUEUE --queue-balance 100:103 --queue-bypass'
	wants 0 'queue-num'
	wants 2 '-j SIPALGD-WAN'

	# Somebody flushed the table: our chains are there, the jumps are not
	"$tables" -t raw -F
	apply "plain.$1" || fail "$tables: after a flush"
	jumps
	wants 1 '^-A PREROUTING'
	wants 1 '^-A OUTPUT'
	# Or what matters most of it
	"$tables" -t raw -F PREROUTING
	apply "plain.$1" 2>/dev/null
	jumps

	foreign "$3"
	apply remove || fail "$tables: remove"
	wants 0 SIPALGD
	wants 1 '^-A PREROUTING'
	wants 1 '^-A OUTPUT'
	apply remove 2>/dev/null && fail "$tables: removed twice"
	wants 0 SIPALGD
	"$tables" -t raw -F
}

for kind in nft legacy; do
	for family in ip4 ip6; do
		case $family in
		ip4) tables=iptables-$kind host=192.0.2.1 ;;
		ip6) tables=ip6tables-$kind host=2001:db8::1 ;;
		esac
		if ! "$tables" -t raw -L -n >/dev/null 2>&1; then
			echo "not tried: $tables has no raw table here"
			continue
		fi
		loads $family "$tables" $host
		echo "ok: $tables"
		tried=1
	done
done
[ "$tried" ] || skip "no iptables with a raw table here"

# Which packets meet a queue: a host behind each interface sends them. Nobody
# listens, so that a packet which arrives shows that the rules bypass too.
tables=iptables-nft
"$tables" -t raw -L -n >/dev/null 2>&1 || tables=iptables-legacy
python3 - "$tables" "$vectors/plain.ip4" <<'EOF' || fail "packets"
import os, socket, subprocess, sys, time
tables, rules = sys.argv[1:]
CLONE_NEWNET = 0x40000000
run = lambda cmd: subprocess.run(cmd, shell=True, check=True)
run("ip link set lo up")

def peer(dev, net):
    """A namespace at the other end of dev, as a process to nsenter."""
    hold = subprocess.Popen(["unshare", "-n", "sleep", "60"])
    time.sleep(0.3)
    run(f"ip link add {dev} type veth peer name eth0 netns {hold.pid}")
    run(f"ip addr add {net}.1/24 dev {dev}; ip link set {dev} up")
    run(f"nsenter -t {hold.pid} -n sh -c 'ip addr add {net}.2/24 dev eth0;"
        f"ip link set eth0 up'")
    return hold

def send(hold, net, sport, dport, kind):
    run(f"""nsenter -t {hold.pid} -n python3 -c '
import socket
s = socket.socket(socket.AF_INET, {int(kind)})
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("{net}.2", {sport})); s.connect(("{net}.1", {dport})); s.send(b"x")'""")

def met(what):
    out = subprocess.run([tables, "-t", "raw", "-nvxL"], check=True,
                         capture_output=True, text=True).stdout
    return sum(int(l.split()[0]) for l in out.splitlines() if what in l)

lan, wan = peer("lan0", "10.9.1"), peer("wan0", "10.9.2")
other = peer("dmz0", "10.9.3")
try:
    subprocess.run([tables + "-restore", "--noflush"], stdin=open(rules),
                   check=True)
    cases = [  # who, source, destination, met a queue
        (lan, "10.9.1", 5060, 4000, 1), (lan, "10.9.1", 4000, 5060, 1),
        (lan, "10.9.1", 4000, 5061, 1), (lan, "10.9.1", 4000, 6000, 0),
        (lan, "10.9.1", 5070, 4000, 1),
        (wan, "10.9.2", 5060, 40000, 1),
        (wan, "10.9.2", 4000, 5060, 1), (wan, "10.9.2", 4000, 5999, 1),
        (wan, "10.9.2", 4000, 6000, 0), (wan, "10.9.2", 4000, 5059, 0),
        (wan, "10.9.2", 5999, 4000, 0), (other, "10.9.3", 5060, 5060, 0),
    ]
    failed = 0
    def check(who, net, sport, dport, want, what="",
              kind=socket.SOCK_DGRAM):
        global failed
        sink = socket.socket(socket.AF_INET, kind)
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sink.bind((net + ".1", dport)); sink.settimeout(2)
        before = met("NFQUEUE")
        if kind == socket.SOCK_STREAM:
            sink.listen()
        send(who, net, sport, dport, kind)
        if kind == socket.SOCK_STREAM:
            sink.accept()[0].recv(10)
        else:
            sink.recv(10)                   # bypassed: it has arrived
        sink.close()
        if bool(met("NFQUEUE") - before) != bool(want):
            print("wrong:", kind, net, sport, dport, what, "wanted", want)
            failed = 1
    for case in cases:
        check(*case)
        check(*case, kind=socket.SOCK_STREAM)
    run(f"{tables} -t raw -I PREROUTING -j MARK --set-xmark 0x5a000001")
    check(lan, "10.9.1", 5060, 5060, 0, "marked as ours")
    run(f"{tables} -t raw -R PREROUTING 1 -j MARK --set-xmark 0x5b000001")
    check(lan, "10.9.1", 5060, 5060, 1, "marked by others")
    # Past connection tracking: what we send ourselves, and nothing else
    for mark, want in ((0x5a000001, 1), (0x5b000001, 0), (0, 0)):
        own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        before = met("notrack")
        own.sendto(b"x", ("10.9.1.2", 5060))
        if met("notrack") - before != want:
            print("wrong: own packet, mark", hex(mark), "wanted", want)
            failed = 1
finally:
    for hold in (lan, wan, other):
        hold.kill()
sys.exit(failed)
EOF
echo "ok: packets"
