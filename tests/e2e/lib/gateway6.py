# SPDX-License-Identifier: GPL-2.0-or-later
"""The world of IPv6 tests: NAT66 between a ULA network and the provider.

    phone namespace         gw namespace            prov namespace
    fd00:1::9  alice        lan0 fd00:1::1          2001:db8:f::10 proxy
    fd00:1::a  bob          wan0 2001:db8:f::4      2001:db8:f::12 media
    2001:db8:a::9 global    lan0 2001:db8:a::1      2001:db8:f::20 stranger

fd00:1::/64 is masqueraded; 2001:db8:a::/64 is routed, without NAT.
"""

import dataclasses
import re
import socket
import struct

from lib import sip
from lib.agents import Agent, Endpoint
from lib.netns import Namespace, connect
from lib.sniffer import ones_sum

ALICE6, BOB6, GLOBAL6 = "fd00:1::9", "fd00:1::a", "2001:db8:a::9"
PUBLIC6 = "2001:db8:f::4"
PROXY6, MEDIA6, STRANGER6 = (
    "2001:db8:f::10", "2001:db8:f::12", "2001:db8:f::20")
IPV6_DSTOPTS = 59  # socket option, RFC 3542 6
ETH_P_ALL, ETH_P_IPV6, PACKET_OUTGOING = 3, 0x86DD, 4

FIREWALL = """\
*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p ipv6-icmp -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -i lan0 -j ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i lan0 -o wan0 -j ACCEPT
-A FORWARD -i wan0 -d 2001:db8:a::/64 -p udp --dport 5060 -j ACCEPT
COMMIT
*nat
-A POSTROUTING -s fd00:1::/64 -o wan0 -j MASQUERADE
COMMIT
"""


def why_not():
    """Why this kernel cannot do NAT66; None if it can."""
    probe = Namespace("probe6")
    try:
        done = probe.run(["ip6tables", "-t", "nat", "-A", "POSTROUTING",
                          "-j", "MASQUERADE"], check=False)
        if done.returncode:
            return "no NAT of IPv6 here: " + done.stderr.strip()
        return None
    finally:
        probe.close()


class Net6:
    """Three namespaces with IPv6 only, the firewall and NAT66."""

    def __init__(self, **sysctls):
        self._all = []
        try:
            self._build(sysctls)
        except BaseException:
            self.close()
            raise

    def _own(self, thing):
        self._all.append(thing)
        return thing

    def _build(self, sysctls):
        self.phone, self.gw, self.prov = (
            self._own(Namespace(role)) for role in ("phone", "gw", "prov"))
        connect(self.phone, "eth0", self.gw, "lan0")
        connect(self.prov, "eth0", self.gw, "wan0")
        self._forward()
        self.gw.sysctl(nf_conntrack_acct=1, **sysctls)
        add = "addr add {}/64 dev {} nodad".format
        self.phone.ip(*(add(a, "eth0") for a in (ALICE6, BOB6, GLOBAL6)),
                      "route add default via fd00:1::1")
        self.gw.ip(add("fd00:1::1", "lan0"), add("2001:db8:a::1", "lan0"),
                   add(PUBLIC6, "wan0"),
                   f"route add default via {PROXY6}")
        self.prov.ip(*(add(a, "eth0")
                       for a in (PROXY6, MEDIA6, STRANGER6)),
                     f"route add 2001:db8:a::/64 via {PUBLIC6}")
        self.gw.run(["ip6tables-restore"], input=FIREWALL)
        self.conntrack = Conntrack6(self.gw)
        self.lan = self._own(Sniffer6(self.gw, "lan0"))
        self.wan = self._own(Sniffer6(self.gw, "wan0"))

    def _forward(self):
        def write():
            with open("/proc/sys/net/ipv6/conf/all/forwarding", "w",
                      encoding="ascii") as file:
                file.write("1")
        self.gw.call(write)

    def close(self):
        """Remove everything; safe to repeat."""
        while self._all:
            self._all.pop().close()


class Conntrack6:
    """The gateway's IPv6 UDP entries, as lines."""

    def __init__(self, namespace):
        self._namespace = namespace

    def udp(self):
        return self._namespace.run(
            ["conntrack", "-L", "-f", "ipv6", "-p", "udp"]
        ).stdout.splitlines()

    def text(self):
        return "\n".join(self.udp())


@dataclasses.dataclass
class Datagram6:
    """A UDP datagram; options: of the extension headers before it."""
    src: str
    dst: str
    sport: int
    dport: int
    payload: bytes
    next_headers: list
    sent: bool
    dscp: int


class Sniffer6:
    """Every IPv6 packet of an interface; UDP checksums are verified."""

    def __init__(self, namespace, interface):
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                        socket.htons(ETH_P_ALL))
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)
        self._seen = []

    def datagrams(self, **match):
        while True:
            try:
                frame, address = self._socket.recvfrom(65600)
            except BlockingIOError:
                break
            if address[1] == ETH_P_IPV6:
                found = _parse(frame[14:], address[2] == PACKET_OUTGOING)
                if found:
                    self._seen.append(found)
        return [d for d in self._seen
                if all(getattr(d, k) == v for k, v in match.items())]

    def check(self):
        """datagrams() has asserted lengths and checksums."""
        self.datagrams()

    def close(self):
        self._socket.close()


def _parse(raw, sent):
    """A Datagram6, or None for fragments and for what is not UDP."""
    length, = struct.unpack_from("!H", raw, 4)
    assert 40 + length <= len(raw), f"IPv6 length: {raw.hex()}"
    kind, at, chain = raw[6], 40, []
    while kind in (0, 43, 60):  # hop by hop, routing, destination options
        chain.append(kind)
        kind, at = raw[at], at + 8 * (raw[at + 1] + 1)
    if kind != 17:
        return None
    data = raw[at:40 + length]
    sport, dport, udp_len = struct.unpack_from("!HHH", data)
    assert udp_len == len(data), f"UDP length: {raw.hex()}"
    pseudo = raw[8:40] + struct.pack("!II", len(data), 17)
    assert ones_sum(pseudo + data) == 0xFFFF, f"UDP checksum: {raw.hex()}"
    text = [socket.inet_ntop(socket.AF_INET6, raw[i:i + 16])
            for i in (8, 24)]
    return Datagram6(*text, sport, dport, data[8:], chain, sent,
                     (raw[0] << 8 | raw[1]) >> 6 & 63)


class Endpoint6(Endpoint):
    """A UDP socket of IPv6; ports and addresses as IPv4's have them."""

    def __init__(self, namespace, host, port):  # not Endpoint's: AF_INET
        self.host, self.port = host, port
        self.socket = namespace.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.port = self.socket.getsockname()[1]

    @property
    def address(self):
        return self.host.strip("[]"), self.port

    def recv(self, *wait):
        data, source = super().recv(*wait)
        return data, source[:2]

    def destination_options(self):
        """Send with an extension header (PadN, 8 bytes) from now on."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS,
                               bytes([0, 0, 1, 4, 0, 0, 0, 0]))


class Agent6(Endpoint6, Agent):
    """An Agent that writes its address in brackets."""

    def __init__(self, namespace, host, port=5060, user="alice"):
        Endpoint6.__init__(self, namespace, host, port)
        self.host = f"[{host}]"
        self.user = user
        self.contact = f"<sip:{user}@{self.host}:{port}>"
        self.identity = f"<sip:{user}@example.com>"


class Media6:
    """RTP and RTCP sockets of one stream's end."""

    def __init__(self, namespace, host, port):
        self.rtp = Endpoint6(namespace, host, port)
        self.rtcp = Endpoint6(namespace, host, port + 1)
        self.host, self.port = host, port

    def close(self):
        self.rtp.close()
        self.rtcp.close()


def literal(address, port=None):
    """[2001:db8::1], or with :port."""
    return f"[{address}]" + (f":{port}" if port else "")


def sdp6(host, *media, version=1):
    """sip.sdp(), IN IP6."""
    return sip.sdp(host, *media, version=version).replace(b"IN IP4",
                                                          b"IN IP6")


def sdp_ports(body):
    """The ports of m= lines."""
    return [int(p) for p in re.findall(rb"^m=\S+ (\d+)", body, re.M)]
