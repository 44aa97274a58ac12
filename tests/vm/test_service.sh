#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# packages: systemd systemd-sysv dbus iproute2 iptables procps python3-minimal
# programs: sipalgd sipalgctl sipalgd-packets inject
# files: systemd/sipalgd.service systemd/sipalgd-rules systemd/sipalgd.sysusers systemd/sipalgd.sysctl
# init: systemd
#
# The service under systemd itself: messages go on arriving, rewritten, while it
# is restarted and killed; stopped it is not in the way. It may do what it has to,
# and nothing else.
set -eu

fail() {
	echo "FAIL: $*"
	journalctl -u sipalgd --no-pager | tail -40
	exit 1
}
[ -d /vm/files ] || {
	echo "SKIP: needs a systemd of its own: only in a virtual machine"
	exit 77
}

# ---- what "cmake --install" does ----

cd /vm/files
mkdir -p /usr/libexec/sipalgd /etc/sipalgd
install -m 755 sipalgd-rules /usr/libexec/sipalgd/sipalgd-rules
mkdir -p /usr/local/lib/sysctl.d
install -m 644 sipalgd.sysctl /usr/local/lib/sysctl.d/60-sipalgd.conf
install -m 644 sipalgd.sysusers /usr/lib/sysusers.d/sipalgd.conf
ln -s /vm/bin/sipalgd /usr/sbin/sipalgd
ln -s /vm/bin/sipalgd-packets /usr/libexec/sipalgd/sipalgd-packets
ln -s /vm/bin/sipalgctl /usr/sbin/sipalgctl
# Where this tree would install to
sed -e 's#=\([-+]*\)/[^ ]*/sbin/sipalgd#=\1/usr/sbin/sipalgd#' \
	-e 's#=\([-+]*\)/[^ ]*/\(sipalgd-[a-z]*\)#=\1/usr/libexec/sipalgd/\2#' \
	sipalgd.service >/etc/systemd/system/sipalgd.service
sed -i 's#/[^ ]*/sbin/sipalgd}#/usr/sbin/sipalgd}#
	s#/[^ ]*/sipalgd.conf}#/etc/sipalgd/sipalgd.conf}#' \
	/usr/libexec/sipalgd/sipalgd-rules
cat >/etc/sipalgd/sipalgd.conf <<CONF
[gateway]
lan_interfaces = lan0
wan_interfaces = wan0
# What waited for a successor comes at once
[limits]
rate_per_phone = 10000
CONF
systemd-sysusers
systemctl daemon-reload

# ---- a network ----

ip netns add phone
ip netns add server
ip link add lan0 type veth peer name eth0 netns phone
ip link add wan0 type veth peer name eth0 netns server
ip addr add 192.168.1.1/24 dev lan0
ip addr add 203.0.113.4/24 dev wan0
ip link set lan0 up
ip link set wan0 up
ip -n phone addr add 192.168.1.9/24 dev eth0
ip -n phone link set eth0 up
ip -n phone route add default via 192.168.1.1
ip -n server addr add 203.0.113.10/24 dev eth0
ip -n server link set eth0 up
sysctl -qw net.ipv4.ip_forward=1
iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE

cat >/vm/talk.py <<'PYTHON'
"""phone SECONDS | server: one OPTIONS each 10 ms, numbered; the server hears
them until /tmp/over is there."""
import os, socket, sys, time
who = sys.argv[1]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if who == "phone":
    sock.bind(("192.168.1.9", 5060))
    number, end = 0, time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        number += 1
        sock.sendto(f"OPTIONS sip:a@203.0.113.10 SIP/2.0\r\n"
                    f"Via: SIP/2.0/UDP 192.168.1.9:5060;branch=z9hG4bK{number}\r\n"
                    f"Contact: <sip:a@192.168.1.9:5060>\r\n"
                    f"From: <sip:a@example.com>;tag=1\r\n"
                    f"To: <sip:b@example.com>\r\nCall-ID: c\r\n"
                    f"CSeq: {number} OPTIONS\r\nContent-Length: 0\r\n\r\n"
                    .encode(), ("203.0.113.10", 5060))
        time.sleep(0.01)
    print(number)
else:
    sock.bind(("203.0.113.10", 5060))
    sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE
    sock.settimeout(2)
    seen, private = set(), 0
    open("/tmp/ready", "w").close()
    while True:
        try:
            data = sock.recv(65535)
        except TimeoutError:
            if os.path.exists("/tmp/over"):
                break
            continue
        seen.add(data.split(b"branch=z9hG4bK")[1].split(b"\r")[0])
        private += b"192.168." in data
    print(len(seen), private)
PYTHON

talk() { # SECONDS COMMAND...: sets sent, arrived and private
	seconds=$1
	shift
	rm -f /tmp/over /tmp/ready
	ip netns exec server python3 /vm/talk.py server >/tmp/got &
	server=$!
	while [ ! -e /tmp/ready ]; do sleep 0.1; done
	ip netns exec phone python3 /vm/talk.py phone "$seconds" >/tmp/sent &
	phone=$!
	sleep 1
	"$@"
	wait $phone
	touch /tmp/over
	wait $server
	read -r sent </tmp/sent
	read -r arrived private </tmp/got
}
rules() {
	iptables-save -t raw | grep -c -e '-j SIPALGD$' || :
}

# ---- started ----

systemctl start sipalgd || fail "does not start"
[ "$(rules)" = 1 ] || fail "no rules"
talk 2 true
[ "$arrived" = "$sent" ] && [ "$private" = 0 ] ||
	fail "running: $sent sent, $arrived arrived, $private private"
journalctl -u sipalgd --no-pager | grep -e 'not for us to read' -e 'Failed' &&
	fail "see above"
# The queue, and the sockets that it could not open itself
[ "$(systemctl show -P NFileDescriptorStore sipalgd)" = 4 ] ||
	fail "what is kept: $(systemctl show -P NFileDescriptorStore sipalgd)"
pid=$(systemctl show -P MainPID sipalgd)
ss -0np | grep -q "pid=$pid," || fail "no packet socket: $(ss -0np)"
[ "$(ss -wnap | grep -c "pid=$pid,")" = 2 ] || fail "raw sockets: $(ss -wnap)"

# ---- who it is ----

status() { # PID KEY
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"
}
confined() { # PID
	[ "$(status "$1" Uid | cut -f 1-4 | tr '\t' '\n' | sort -u)" = "$(id -u sipalgd)" ] ||
		fail "runs as $(status "$1" Uid)"
	for set in CapPrm CapEff CapBnd; do
		[ "$(status "$1" $set)" = 0000000000001000 ] ||
			fail "$set: $(status "$1" $set), is to be CAP_NET_ADMIN"
	done
	[ "$(status "$1" CapAmb)" = 0000000000000000 ] || fail "ambient capabilities"
	[ "$(status "$1" NoNewPrivs)" = 1 ] || fail "new privileges"
	[ "$(status "$1" Seccomp)" = 2 ] || fail "no filter of system calls"
}
confined "$pid"

# ---- what it can reach: its files are as in its mount namespace, its packets
# as in its control group ----

inside() {
	nsenter -t "$pid" -m -- "$@"
}
touch /root/secret
for path in /etc/sipalgd/new /usr/new /boot/new /proc/sys/kernel/sysrq; do
	inside sh -c ": >>$path" 2>/dev/null && fail "it can write $path"
done
inside test -e /root/secret && fail "it sees /root"
inside test -e /dev/ttyS0 && fail "it sees devices"
inside sh -c ': >/var/lib/sipalgd/new && rm /var/lib/sipalgd/new' ||
	fail "it cannot write its state"
nsenter -t "$pid" -m -- setpriv --reuid sipalgd --regid sipalg --clear-groups 	test -e /proc/1 && fail "it sees other processes"
reaches() { # ADDRESS
	sh -c 'echo $$ >/sys/fs/cgroup/system.slice/sipalgd.service/cgroup.procs
		exec python3 -c "import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.sendto(bytes(1), (sys.argv[1], 9))" "$1"' sh "$1" 2>/tmp/reaches
}
ip route add 224.0.0.0/4 dev wan0
reaches 203.0.113.10 || fail "its packets reach no host: $(cat /tmp/reaches)"
reaches 224.0.0.5 && fail "its packets reach multicast"
ip route del 224.0.0.0/4
ss -wn --cgroup | grep -q sipalgd.service ||
	fail "raw sockets of another group: $(ss -wn --cgroup)"

# ---- restarted: not a message is lost, and none passes unread ----

restarts() {
	for i in 1 2 3; do
		systemctl restart sipalgd || return
		[ "$(rules)" = 1 ] || return
	done
}
talk 15 restarts
[ "$arrived" = "$sent" ] && [ "$private" = 0 ] ||
	fail "restarts: $sent sent, $arrived arrived, $private private"
journalctl -u sipalgd --no-pager | grep -q 'stopped for a successor' ||
	fail "RestartKillSignal was not used"
[ "$(systemctl show -P NFileDescriptorStore sipalgd)" = 4 ] ||
	fail "kept after restarts: $(systemctl show -P NFileDescriptorStore sipalgd)"
echo "3 restarts: $sent messages, all arrived rewritten"

# ---- killed: those that it had in hand may pass unread, none is lost ----

killed() {
	kill -KILL "$(systemctl show -P MainPID sipalgd)"
	for i in $(seq 100); do
		systemctl is-active -q sipalgd && return
		sleep 0.1
	done
	false
}
talk 8 killed
[ "$arrived" = "$sent" ] && [ "$private" -le 32 ] ||
	fail "killed: $sent sent, $arrived arrived, $private private"
[ "$(rules)" = 1 ] || fail "killed: no rules"
echo "killed once: $sent messages, all arrived, $private unread"

# ---- broken into: what it may not do ends it, and another goes on ----

broken_into() {
	pid=$(systemctl show -P MainPID sipalgd)
	inject "$pid" 272 || return # unshare()
	for i in $(seq 100); do
		now=$(systemctl show -P MainPID sipalgd)
		[ "$now" != "$pid" ] && [ "$now" != 0 ] &&
			systemctl is-active -q sipalgd && return
		sleep 0.1
	done
	false
}
talk 8 broken_into
[ "$arrived" = "$sent" ] && [ "$private" -le 32 ] ||
	fail "broken into: $sent sent, $arrived arrived, $private private"
journalctl -u sipalgd --no-pager | grep -q 'status=31/SYS' ||
	fail "unshare() was not the end"
# By which the manual says to find it
journalctl -k --no-pager | grep -q "type=1326 .* pid=$pid .* syscall=272 " ||
	fail "no audit line: $(journalctl -k --no-pager | grep 1326)"
confined "$(systemctl show -P MainPID sipalgd)"
echo "broken into once: $sent messages, all arrived, $private unread"

# ---- hung: it is ended, and another goes on ----

hung() {
	pid=$(systemctl show -P MainPID sipalgd)
	kill -STOP "$pid"
	for i in $(seq 300); do
		now=$(systemctl show -P MainPID sipalgd)
		[ "$now" != "$pid" ] && [ "$now" != 0 ] &&
			systemctl is-active -q sipalgd && return
		sleep 0.1
	done
	false
}
mkdir -p /run/systemd/system/sipalgd.service.d
printf '[Service]\nWatchdogSec=6\n' >/run/systemd/system/sipalgd.service.d/test.conf
systemctl daemon-reload
systemctl restart sipalgd
talk 12 hung
[ "$arrived" = "$sent" ] && [ "$private" -le 32 ] ||
	fail "hung: $sent sent, $arrived arrived, $private private"
journalctl -u sipalgd --no-pager | grep -q 'Watchdog timeout' ||
	fail "the watchdog did not bark"
echo "hung once: $sent messages, all arrived, $private unread"

# ---- stopped: as if it was not there ----

systemctl stop sipalgd
[ "$(rules)" = 0 ] || fail "rules after stop"
talk 2 true
[ "$arrived" = "$sent" ] && [ "$private" = "$sent" ] ||
	fail "stopped: $sent sent, $arrived arrived, $private private"
[ "$(systemctl show -P NFileDescriptorStore sipalgd)" = 0 ] ||
	fail "descriptors are kept"
systemctl is-failed -q sipalgd && fail "stop is a failure"
echo PASS
