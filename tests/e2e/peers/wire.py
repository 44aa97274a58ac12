# SPDX-License-Identifier: GPL-2.0-or-later
"""SIP and RTP in what the gateway's two sniffers saw."""

import dataclasses
import re
import struct

from lib import tcpwire
from lib.gateway import PUBLIC

# Everything that may differ between the two sides of the gateway.
ADDRESS = re.compile(r"\b\d+\.\d+\.\d+\.\d+(:\d+)?\b")
MEDIA_PORT = re.compile(r"^(m=\w+|a=rtcp:?) ?\d+", re.M)
LENGTH = re.compile(r"^(Content-Length|l)(\s*:\s*)\d+", re.M | re.I)
RPORT = re.compile(r";rport=\d+")


@dataclasses.dataclass(frozen=True)
class Message:
    """One SIP message as it was on one wire."""
    text: str
    src: tuple  # address, port
    dst: tuple

    @property
    def start(self):
        return self.text.partition("\r\n")[0]

    @property
    def key(self):
        """What the same message has on both sides of the gateway."""
        kind = self.start.split()[1 if self.answer else 0]
        return kind, self.header("Call-ID"), self.header("CSeq")

    @property
    def answer(self):
        return self.start.startswith("SIP/2.0 ")

    def header(self, name):
        """The first header field of that name."""
        found = re.search(rf"^{name}\s*:\s*(.*?)\r$", self.text, re.M | re.I)
        return found[1] if found else ""

    def host_port(self, name):
        """(address, port) in a header field."""
        found = re.search(r"(\d+\.\d+\.\d+\.\d+)(?::(\d+))?",
                          self.header(name))
        return (found[1], int(found[2] or 5060)) if found else None

    def uri(self, name):
        """The URI in a header field of the form <URI>."""
        return self.header(name).partition("<")[2].partition(">")[0]

    def media(self):
        """(address, port) that its SDP announces for audio."""
        host = re.search(r"^c=IN IP4 (\S+)", self.text, re.M)
        port = re.search(r"^m=audio (\d+)", self.text, re.M)
        return (host[1], int(port[1])) if host and port else None


def sip(sniffer, kind, **match):
    """Messages of one kind ("INVITE", "200"), in order.

    match: fields of Datagram, e.g. src=..., sent=...
    """
    return [m for m in _messages(sniffer, **match) if m.key[0] == kind]


def crossed(origin, destination, kind, with_sdp=False, **match):
    """The first such message before and after the gateway.

    origin, destination: the Sniffers at which it comes in and goes out. The
    second is None where it did not leave the gateway, both where it never
    came.
    """
    for before in sip(origin, kind, sent=False, **match):
        if with_sdp and not before.media():
            continue
        return before, next((m for m in _messages(destination, sent=True)
                             if m.key == before.key), None)
    return None, None


def _messages(sniffer, **match):
    return [Message(d.payload.decode("utf-8", "replace"),
                    (d.src, d.sport), (d.dst, d.dport))
            for d in [*sniffer.datagrams(**match),
                      *tcpwire.messages(sniffer, **match)]
            if b"SIP/2.0" in d.payload.partition(b"\r\n")[0]]


def only_addresses_differ(before, after):
    """Nothing but addresses, ports and Content-Length digits changed."""
    return _without_addresses(before.text) == _without_addresses(after.text)


def _without_addresses(text):
    text = RPORT.sub(";rport=PORT", ADDRESS.sub("ADDRESS", text))
    return LENGTH.sub(r"\1\2LENGTH", MEDIA_PORT.sub(r"\1 PORT", text))


def length_is_right(message):
    """Content-Length counts the bytes of the body."""
    body = message.text.partition("\r\n\r\n")[2].encode()
    return int(message.header("Content-Length")) == len(body)


def rtp(sniffer, **match):
    """PCMU packets (RFC 3550), as datagrams, in order.

    match: fields of Datagram, e.g. dst=..., sent=...
    """
    return [d for d in sniffer.datagrams(**match)
            if len(d.payload) > 12 and d.payload[0] >> 6 == 2
            and d.payload[1] & 0x7F == 0]


def rtp_audio(datagrams):
    """Their PCMU payloads in sequence, duplicates taken once."""
    packets = {struct.unpack_from("!HI", d.payload, 2): d.payload[12:]
               for d in datagrams}
    return [packets[key] for key in sorted(packets, key=lambda k: k[1])]


@dataclasses.dataclass(frozen=True)
class Rtp:
    """RTP packets of one call at the four places that matter."""
    out_lan: int   # from the phone
    out_wan: int   # to the other side
    in_wan: int    # from the other side
    in_lan: int    # to the phone


def count_rtp(net, phone, public_port=None):
    """Count what was seen of one phone's call.

    public_port: on the WAN count only packets of that public port.
    """
    def wan(packets, field):
        return sum(public_port in (None, getattr(d, field)) for d in packets)

    return Rtp(len(rtp(net.lan, src=phone, sent=False)),
               wan(rtp(net.wan, src=PUBLIC, sent=True), "sport"),
               wan(rtp(net.wan, dst=PUBLIC, sent=False), "dport"),
               len(rtp(net.lan, dst=phone, sent=True)))
