# SPDX-License-Identifier: GPL-2.0-or-later
"""Worlds for SIP over TCP: addresses that change lengths, and bad lines.

    phone [- lanr] - gw - [wanr -] prov

The public address of lib.gateway is as long as alice's. Here phones have
others too, so that what the gateway writes is longer, or shorter. lanr and
wanr are routers that nobody sees (proxy ARP), for Jumble to work in.
"""

import ctypes
import fcntl
import signal
import socket
import struct
import subprocess

from lib.gateway import ALICE, BOB, CAROL, OUTSIDE, PUBLIC, Net
from lib.netns import ETHTOOL_OFFLOADS, SIOCETHTOOL, Namespace, connect
from lib.tcpwire import check

SHORT = "10.1.1.7"  # what is written for it is longer
LONG = "192.168.100.200"  # shorter
PHONES = (ALICE, BOB, CAROL, SHORT, LONG)
GATEWAYS = {"192.168.1.1": "192.168.1.0/24", "10.1.1.1": "10.1.1.0/24",
            "192.168.100.1": "192.168.100.0/24"}

# What conntrack calls INVALID is not forwarded, whichever way it goes
FIREWALL = """\
*filter
-F FORWARD
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i lan0 -o wan0 -p tcp --tcp-flags SYN,ACK,FIN,RST SYN -j ACCEPT
-A FORWARD -i lan0 -o wan0 -p udp -j ACCEPT
COMMIT
"""


class TcpNet(Net):
    """Net; more phones' addresses, and a firewall that is strict with TCP.

    checksums: packets on the wires have them.
    """

    checksums = True

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        self._address_phones()
        self.gw.ip(*(f"addr add {address}/24 dev lan0"
                     for address in GATEWAYS if address != "192.168.1.1"))
        self.gw.run(["iptables-restore", "--noflush"], input=FIREWALL)

    def _address_phones(self):
        self.phone.ip("addr flush dev eth0",
                      *(f"addr add {a}/24 dev eth0" for a in PHONES),
                      "route add default via 192.168.1.1")

    def patient(self):
        """No tail loss probes: what is lost waits for its timer, 200 ms."""
        for namespace in (self.phone, self.prov):
            namespace.sysctl(tcp_early_retrans=0)

    def offload(self):
        """Segments and checksums are left to devices, as by default."""
        self.checksums = False
        for namespace, interface in ((self.phone, "eth0"), (self.gw, "lan0"),
                                     (self.gw, "wan0"), (self.prov, "eth0")):
            namespace.call(_switch_on, interface)

    def invalid(self):
        """Packets that conntrack called INVALID."""
        for line in self.gw.run(["iptables", "-nvxL", "FORWARD"]
                                ).stdout.splitlines():
            if "INVALID" in line:
                return int(line.split()[0])
        raise AssertionError("the rule is gone")


def _switch_on(interface):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in ETHTOOL_OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 1))
            fcntl.ioctl(sock, SIOCETHTOOL, struct.pack(
                "16sP", interface.encode(), ctypes.addressof(value)))


class Hop(Namespace):
    """A router put into an existing link, unseen by both sides.

    near is its interface towards the gateway. up, down: where packets come
    in that go to the provider, or to the phones.
    """

    def __init__(self, role, end, far_networks, near_hosts, own):
        super().__init__(role)
        end.ip(f"link set eth0 netns {self.name} name near")
        connect(end, "eth0", self, "far")
        self.ip("link set near up",
                *(f"addr add {a}/32 dev {dev}"
                  for a, dev in zip(own, ("near", "far"))),
                *(f"route add {n} dev far" for n in far_networks),
                *(f"route add {h}/32 dev near" for h in near_hosts))
        for interface in ("near", "far"):
            self.sysctl(**{f"conf__{interface}__proxy_arp": 1,
                           f"neigh__{interface}__proxy_delay": 0})
        self.sysctl(ip_forward=1)
        self.up, self.down = (("far", "near") if role == "lanr"
                              else ("near", "far"))


class RoughNet(TcpNet):
    """TcpNet with both routers; they do nothing but forward as they are."""

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        self.lanr = self._own(Hop(
            "lanr", self.phone, GATEWAYS.values(), GATEWAYS,
            ("192.168.1.250", "192.168.1.251")))
        self.lanr.ip("route add default via 192.168.1.1 dev near")
        self._address_phones()
        self.wanr = self._own(Hop(
            "wanr", self.prov, ["203.0.113.0/24"], [PUBLIC],
            ("203.0.113.250", "203.0.113.251")))
        self.prov.ip(*(f"addr add {a}/24 dev eth0" for a in OUTSIDE))

    def impatient(self, rto_min_ms=20):
        """Phones and servers repeat lost segments soon, to save time."""
        self.phone.ip("route replace default via 192.168.1.1 "
                      f"rto_min {rto_min_ms}ms")
        self.prov.ip(f"route replace {PUBLIC}/32 dev eth0 "
                     f"rto_min {rto_min_ms}ms")


class Jumble:
    """tests/e2e/tools/jumble.c at work on one way through a Hop.

    way: "up" (to the provider) or "down". loss, double, hold: parts of 1000
    packets; what is held back goes after hold_ms at the latest. match: more
    for the iptables rule, as --sport. proto: None for all.
    """

    _queues = {"up": 1, "down": 2}

    def __init__(self, build, hop, way, loss=0, double=0, hold=0, hold_ms=5,
                 seed=1, match=(), proto="tcp"):
        self.hop = hop
        self.seen = self.lost = self.doubled = self.held = None
        queue = self._queues[way]
        self._rule = ["FORWARD", "-i", getattr(hop, way),
                      *(("-p", proto) if proto else ()), *match, "-j", "NFQUEUE", "--queue-num", queue]
        self._process = hop.popen(
            [build / "tests" / "jumble", queue, seed, loss, double, hold,
             hold_ms], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n"
        hop.run(["iptables", "-t", "mangle", "-A", *self._rule])

    def stop(self):
        """From now on the line is good; sets seen, lost, doubled, held."""
        process, self._process = self._process, None
        if process is None:
            return self
        self.hop.run(["iptables", "-t", "mangle", "-D", *self._rule])
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=10)
        assert process.returncode == 0, f"jumble: {process.returncode} {said}"
        self.seen, self.lost, self.doubled, self.held = map(int, said.split())
        return self

    def close(self):
        self.stop()


def opened(world, request):
    """Generator of a fixture "net" for a world of this module."""
    def values(name):
        found = {}
        for mark in reversed(list(request.node.iter_markers(name))):
            found.update(mark.kwargs)
        return found

    mark = request.node.get_closest_marker("nat")
    network = world(mark.args[0] if mark else "masquerade",
                    **values("sysctl"))
    yield network
    try:
        for sniffer in (network.lan, network.wan):
            sniffer.check()
            if network.checksums:
                check(sniffer)
            assert not sniffer.lost()
    finally:
        network.close()
