# SPDX-License-Identifier: GPL-2.0-or-later
"""What is really on the wire: frames of one interface, parsed and checked."""

import dataclasses
import errno
import socket
import struct

ETH_P_ALL = 3
ETH_P_IP = 0x0800
PACKET_OUTGOING = 4
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER = 256 << 20


@dataclasses.dataclass
class Packet:
    """One IPv4 packet (or fragment) as it was on the wire."""
    raw: bytes
    sent: bool  # by this side, else received

    def __post_init__(self):
        (_, tos, self.total_len, self.id, fragment, self.ttl, self.protocol,
         self.checksum) = struct.unpack_from("!BBHHHBBH", self.raw)
        self.dscp, self.ecn = tos >> 2, tos & 3
        self.header_len = (self.raw[0] & 15) * 4
        self.df = bool(fragment & 0x4000)
        self.more = bool(fragment & 0x2000)
        self.offset = (fragment & 0x1FFF) * 8
        self.src = socket.inet_ntoa(self.raw[12:16])
        self.dst = socket.inet_ntoa(self.raw[16:20])
        self.data = self.raw[self.header_len:self.total_len]

    @property
    def fragment(self):
        return self.more or self.offset > 0

    @property
    def udp(self):
        return self.protocol == 17


@dataclasses.dataclass
class Datagram:
    """A whole UDP datagram, reassembled where it came in fragments."""
    packets: list
    bytes: bytes  # UDP header and payload

    def __post_init__(self):
        self.src, self.dst = self.packets[0].src, self.packets[0].dst
        self.sent, self.dscp = self.packets[0].sent, self.packets[0].dscp
        (self.sport, self.dport, self.length,
         self.checksum) = struct.unpack_from("!HHHH", self.bytes)
        self.payload = self.bytes[8:self.length]


class Sniffer:
    """Collects from its creation on; read with packets() or datagrams()."""

    def __init__(self, namespace, interface):
        self.interface = interface
        self._socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW,
                                        socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)
        self._packets = []

    def packets(self):
        """All IPv4 packets so far."""
        while True:
            try:
                frame, address = self._recv()
            except BlockingIOError:
                return self._packets
            if address[1] == ETH_P_IP:
                self._packets.append(Packet(
                    frame[14:], address[2] == PACKET_OUTGOING))

    def _recv(self):
        try:
            return self._socket.recvfrom(65600)
        except OSError as error:
            # Said once when the interface was down for a time
            if error.errno != errno.ENETDOWN:
                raise
            return self._socket.recvfrom(65600)

    def lost(self):
        """Frames that did not fit into the buffer."""
        stats = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return struct.unpack("II", stats)[1]

    def clear(self):
        """Check what was seen, then forget it."""
        self.check()
        self._packets = []

    def datagrams(self, **match):
        """Whole UDP datagrams, e.g. datagrams(src=PUBLIC, sent=True)."""
        found, parts = [], {}
        for packet in self.packets():
            if not packet.udp:
                continue
            if not packet.fragment:
                found.append(Datagram([packet], packet.data))
                continue
            # The kernel, forwarding fragments, writes the new addresses
            # into the bytes that our tap of the incoming side shares: only
            # the first fragment's are to be trusted.
            key = (packet.id, packet.sent)
            parts.setdefault(key, []).append(packet)
            whole = _reassemble(parts[key])
            if whole is not None:
                found.append(Datagram(sorted(
                    parts.pop(key), key=lambda p: p.offset), whole))
        return [d for d in found
                if all(getattr(d, k) == v for k, v in match.items())]

    def check(self):
        """Every IP header and UDP checksum is right."""
        for packet in self.packets():
            assert ones_sum(packet.raw[:packet.header_len]) == 0xFFFF, (
                f"{self.interface}: IP checksum: {packet.raw.hex()}")
            assert packet.total_len <= len(packet.raw), (
                f"{self.interface}: truncated: {packet.raw.hex()}")
        for datagram in self.datagrams():
            assert datagram.length == len(datagram.bytes), (
                f"{self.interface}: UDP length: {datagram.bytes.hex()}")
            assert udp_checksum_right(datagram), (
                f"{self.interface}: UDP checksum: {datagram.src}:"
                f"{datagram.sport} > {datagram.dst}:{datagram.dport} "
                f"{datagram.bytes.hex()}")

    def close(self):
        self._socket.close()


def _reassemble(packets):
    data = b""
    for packet in sorted(packets, key=lambda p: p.offset):
        if packet.offset != len(data):
            return None
        data += packet.data
        if not packet.more:
            return data
    return None


def ones_sum(data):
    """The ones' complement sum that IP, UDP and TCP use (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def udp_checksum_right(datagram):
    """A zero checksum means "none" and is right (RFC 768)."""
    if datagram.checksum == 0:
        return True
    pseudo = (socket.inet_aton(datagram.src) + socket.inet_aton(datagram.dst)
              + struct.pack("!HH", 17, datagram.length))
    return ones_sum(pseudo + datagram.bytes) == 0xFFFF
