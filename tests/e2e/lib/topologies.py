# SPDX-License-Identifier: GPL-2.0-or-later
"""Worlds beside lib.gateway's: more LANs, more uplinks, NAT above us."""

from lib.conntrack import Conntrack
from lib.gateway import (ALICE, BOB, CAROL, FIREWALL, NAT, OUTSIDE, PROXY,
                         PUBLIC, Net)
from lib.netns import Namespace, connect
from lib.sniffer import Sniffer

DAVE = "192.168.2.20"  # on the second LAN
OFFICE = "10.8.0.10"  # behind the VPN
PUBLIC1, PROXY1, MEDIA1 = "198.51.100.4", "198.51.100.10", "198.51.100.12"
FAR1 = "192.0.2.10"  # routed by the second uplink
BEHIND = "10.9.0.2"  # the gateway's own address behind 1:1 NAT


def allow(network, *ways):
    """Let the firewall forward from one interface to another."""
    for source, target in ways:
        network.gw.run(["iptables", "-A", "FORWARD", "-i", source, "-o",
                        target, "-j", "ACCEPT"])


def room(network, role, address, interface, gateway):
    """A namespace with one address, its own network behind interface."""
    namespace = network._own(Namespace(role))
    connect(namespace, "eth0", network.gw, interface)
    namespace.ip(f"addr add {address}/24 dev eth0",
                 f"route add default via {gateway}")
    network.gw.ip(f"addr add {gateway}/24 dev {interface}")
    return namespace


class Hairpin(Net):
    """Net; the firewall lets inside hosts reach each other through gw."""

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        allow(self, ("lan0", "lan0"))


class TwoLans(Net):
    """Net with dave on lan1 (namespace phone2); the LANs may talk."""

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        self.phone2 = room(self, "phone2", DAVE, "lan1", "192.168.2.1")
        self.lan1 = self._own(Sniffer(self.gw, "lan1"))
        allow(self, ("lan0", "lan1"), ("lan1", "lan0"), ("lan1", "wan0"),
              ("lan0", "lan0"))


class WithVpn(Net):
    """Net with a tunnel to an office (vpn0, no WAN interface, no NAT)."""

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        self.office = room(self, "office", OFFICE, "vpn0", "10.8.0.1")
        self.vpn = self._own(Sniffer(self.gw, "vpn0"))
        allow(self, ("lan0", "vpn0"), ("vpn0", "lan0"))


class TwoUplinks(Net):
    """Net with wan1: prov1 holds 198.51.100.0/24 and, behind it, FAR1.

    The routing table chooses: wan1 for those two, wan0 for all else.
    """

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        self.prov1 = self._own(Namespace("prov1"))
        connect(self.prov1, "eth0", self.gw, "wan1")
        self.prov1.ip(f"addr add {PROXY1}/24 dev eth0",
                      f"addr add {MEDIA1}/24 dev eth0",
                      f"addr add {FAR1}/32 dev lo")
        self.gw.ip(f"addr add {PUBLIC1}/24 dev wan1",
                   f"route add 192.0.2.0/24 via {PROXY1}")
        self.wan1 = self._own(Sniffer(self.gw, "wan1"))
        allow(self, ("lan0", "wan1"))
        self.gw.run(["iptables", "-t", "nat", "-A", "POSTROUTING", "-o",
                     "wan1", "-j", "MASQUERADE"])


class BehindNat(Net):
    """The gateway has 10.9.0.2; a 1:1 NAT above it makes that PUBLIC."""

    def _build(self, nat, sysctls):
        self.phone, self.gw, self.isp, self.prov = (
            self._own(Namespace(r)) for r in ("phone", "gw", "isp", "prov"))
        connect(self.phone, "eth0", self.gw, "lan0")
        connect(self.isp, "inner", self.gw, "wan0")
        connect(self.prov, "eth0", self.isp, "outer")
        self.phone.ip(*(f"addr add {a}/24 dev eth0"
                        for a in (ALICE, BOB, CAROL)),
                      "route add default via 192.168.1.1")
        self.gw.ip("addr add 192.168.1.1/24 dev lan0",
                   f"addr add {BEHIND}/24 dev wan0",
                   "route add default via 10.9.0.1")
        self.isp.ip("addr add 10.9.0.1/24 dev inner",
                    f"addr add {PUBLIC}/24 dev outer",
                    f"route add default via {PROXY}")
        self.prov.ip(*(f"addr add {a}/24 dev eth0" for a in OUTSIDE))
        self.gw.sysctl(ip_forward=1, nf_conntrack_acct=1, **sysctls)
        self.isp.sysctl(ip_forward=1)
        self.gw.run(["iptables-restore"],
                    input=FIREWALL.format(nat=NAT["masquerade"]))
        for rule in (["POSTROUTING", "-o", "outer", "-s", BEHIND, "-j",
                      "SNAT", "--to-source", PUBLIC],
                     ["PREROUTING", "-i", "outer", "-d", PUBLIC, "-j",
                      "DNAT", "--to-destination", BEHIND]):
            self.isp.run(["iptables", "-t", "nat", "-A", *rule])
        self.conntrack = Conntrack(self.gw)
        self.lan = self._own(Sniffer(self.gw, "lan0"))
        self.wan = self._own(Sniffer(self.gw, "wan0"))


def opened(world, request):
    """Generator of a fixture "net" for a topology of this module."""
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
        for name in ("lan", "lan1", "wan", "wan1", "vpn"):
            if hasattr(network, name):
                getattr(network, name).check()
                assert not getattr(network, name).lost()
    finally:
        network.close()
