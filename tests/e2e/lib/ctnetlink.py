# SPDX-License-Identifier: GPL-2.0-or-later
"""conntrack's TCP entries with what conntrack(8) does not print: flags."""

import dataclasses
import socket
import struct

NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
CTNETLINK_GET = (1 << 8) | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_PROTOINFO = 1, 2, 4
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT = 1, 2, 3
CTA_PROTOINFO_TCP = 1
STATE, FLAGS_ORIGINAL, FLAGS_REPLY = 1, 4, 5  # CTA_PROTOINFO_TCP_*
BE_LIBERAL = 0x08  # IP_CT_TCP_FLAG_BE_LIBERAL
STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT",
          "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2")


@dataclasses.dataclass(frozen=True)
class TcpEntry:
    """orig, reply: (source, port, destination, port)."""
    orig: tuple
    reply: tuple
    state: str
    flags: tuple  # of both directions

    @property
    def liberal(self):
        """IP_CT_TCP_FLAG_BE_LIBERAL in each direction."""
        return tuple(bool(f & BE_LIBERAL) for f in self.flags)


def tcp(namespace, **match):
    """IPv4 TCP entries; match: src, sport, dst, dport of the original."""
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW,
                          NETLINK_NETFILTER) as sock:
        sock.bind((0, 0))
        sock.send(struct.pack("=IHHIIBBH", 20, CTNETLINK_GET,
                              NLM_F_REQUEST | NLM_F_DUMP, 1, 0,
                              socket.AF_INET, 0, 0))
        found = [e for e in map(_entry, _dump(sock)) if e]
    keys = ("src", "sport", "dst", "dport")
    return [e for e in found
            if all(dict(zip(keys, e.orig))[k] == v for k, v in match.items())]


def _dump(sock):
    """Attributes of every message of a dump."""
    while True:
        data = sock.recv(1 << 18)
        while data:
            length, kind = struct.unpack_from("=IH", data)
            if kind == NLMSG_DONE:
                return
            assert kind != NLMSG_ERROR, "ctnetlink refuses"
            yield _attributes(data[20:length])
            data = data[(length + 3) & ~3:]


def _attributes(data):
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3:]
    return found


def _tuple(data):
    both = _attributes(data)
    ip = _attributes(both[CTA_TUPLE_IP])
    proto = _attributes(both[CTA_TUPLE_PROTO])
    if proto[CTA_PROTO_NUM][0] != socket.IPPROTO_TCP:
        return None
    ports = (struct.unpack("!H", proto[key])[0]
             for key in (CTA_PROTO_SRC_PORT, CTA_PROTO_DST_PORT))
    source, target = (socket.inet_ntoa(ip[key]) for key in (1, 2))
    sport, dport = ports
    return source, sport, target, dport


def _entry(attributes):
    orig = _tuple(attributes[CTA_TUPLE_ORIG])
    if orig is None:
        return None
    info = _attributes(_attributes(
        attributes[CTA_PROTOINFO])[CTA_PROTOINFO_TCP])
    return TcpEntry(orig, _tuple(attributes[CTA_TUPLE_REPLY]),
                    STATES[info[STATE][0]],
                    (info[FLAGS_ORIGINAL][0], info[FLAGS_REPLY][0]))
