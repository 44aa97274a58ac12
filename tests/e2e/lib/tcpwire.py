# SPDX-License-Identifier: GPL-2.0-or-later
"""TCP segments in what a Sniffer saw, and the counters of a namespace."""

import dataclasses
import socket
import struct

from lib.sniffer import ones_sum
from lib.tcpref import split

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP = 6


@dataclasses.dataclass
class Segment:
    """One segment as it was on the wire; sent: by the gateway."""
    packet: object

    def __post_init__(self):
        self.src, self.dst = self.packet.src, self.packet.dst
        self.sent = self.packet.sent
        data = self.packet.data
        (self.sport, self.dport, self.seq, self.ack, offset, self.flags,
         self.window) = struct.unpack_from("!HHIIBBH", data)
        header = (offset >> 4) * 4
        self.options = data[20:header]
        self.payload = data[header:]

    @property
    def end(self):
        """The sequence number after it, SYN and FIN counted."""
        return (self.seq + len(self.payload) + bool(self.flags & SYN)
                + bool(self.flags & FIN)) & 0xFFFFFFFF

    @property
    def mss(self):
        """The option, or None."""
        options = self.options
        while options and options[0]:
            if options[0] == 1:
                options = options[1:]
                continue
            if options[0] == 2:
                return struct.unpack_from("!H", options, 2)[0]
            options = options[options[1]:]
        return None

    def __str__(self):
        names = "".join(n for bit, n in ((SYN, "S"), (FIN, "F"), (RST, "R"),
                                         (PSH, "P"), (ACK, "."))
                        if self.flags & bit)
        return (f"{self.src}:{self.sport} > {self.dst}:{self.dport} {names} "
                f"seq {self.seq} ack {self.ack} len {len(self.payload)}")


def segments(sniffer, **match):
    """TCP segments so far, e.g. segments(net.wan, sent=True, dport=5060)."""
    found = []
    for packet in sniffer.packets():
        if packet.protocol == TCP and not packet.fragment:
            segment = Segment(packet)
            if all(getattr(segment, k) == v for k, v in match.items()):
                found.append(segment)
    return found


def check(sniffer):
    """Every TCP checksum is right."""
    for packet in sniffer.packets():
        if packet.protocol != TCP or packet.fragment:
            continue
        pseudo = (socket.inet_aton(packet.src) + socket.inet_aton(packet.dst)
                  + struct.pack("!HH", TCP, len(packet.data)))
        assert ones_sum(pseudo + packet.data) == 0xFFFF, (
            f"{sniffer.interface}: TCP checksum: {Segment(packet)} "
            f"{packet.raw.hex()}")


@dataclasses.dataclass(frozen=True)
class StreamMessage:
    """A SIP message out of a stream; src and so on as Datagram has them."""
    payload: bytes
    src: str
    sport: int
    dst: str
    dport: int


def messages(sniffer, **match):
    """SIP messages over TCP, by connection; of each from its first segment
    seen on. match: as for segments()."""
    streams = {}
    for s in segments(sniffer, **match):
        stream = streams.setdefault((s.src, s.sport, s.dst, s.dport), {})
        if s.payload:
            stream.setdefault(s.seq, s.payload)
    return [StreamMessage(part, *key) for key, stream in streams.items()
            for kind, part in split(_join(stream)) if kind == "message"]


def _join(stream):
    """{sequence number: payload} as bytes, up to the first gap."""
    data, at = b"", next(iter(stream), 0)
    while at in stream:
        data += stream[at]
        at = (at + len(stream[at])) & 0xFFFFFFFF
    return data


def repeated(sniffer, **match):
    """How many bytes of payload were sent more than once, per direction.

    match: as for segments(). One connection after the other per port pair.
    """
    ends, count = {}, 0
    for s in segments(sniffer, **match):
        key = (s.src, s.sport, s.dst, s.dport)
        if s.flags & SYN:
            ends[key] = (s.seq + 1) & 0xFFFFFFFF
        elif s.payload and key in ends:
            new = (s.end - ends[key]) & 0xFFFFFFFF
            new = new if new < 1 << 31 else 0
            count += max(0, len(s.payload) - new)
            if new:
                ends[key] = (s.seq + len(s.payload)) & 0xFFFFFFFF
    return count


COUNTERS = ("RetransSegs", "TCPTimeouts", "TCPLossProbes", "TCPLostRetransmit",
            "TCPFastRetrans", "TCPOFOQueue", "InErrs")


class Counters:
    """The kernel's TCP counters of a namespace, since this was made."""

    def __init__(self, namespace):
        self.namespace = namespace
        self._first = self._read()

    def _read(self):
        values = {}
        for file in ("snmp", "netstat"):
            lines = self.namespace.read(file).splitlines()
            for names, numbers in zip(lines[::2], lines[1::2]):
                if names.startswith(("Tcp:", "TcpExt:")):
                    values.update(zip(names.split()[1:],
                                      map(int, numbers.split()[1:])))
        return values

    def moved(self):
        """{name: how much} of those that tell of loss and waiting."""
        now = self._read()
        return {n: now[n] - self._first[n] for n in COUNTERS
                if now[n] != self._first[n]}
