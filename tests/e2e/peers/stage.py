# SPDX-License-Identifier: GPL-2.0-or-later
"""The programs around the gateway, and a call between them."""

import contextlib
import pathlib
import socket
import time

from lib.gateway import ALICE, MEDIA, PROXY, PUBLIC
from peers import tone, wire
from peers.baresip import Phone
from peers.kamailio import Kamailio

PHONE_HZ, OTHER_HZ = 440, 880
ANSWER_S = 15
PROBE_S = 0.3


class Stage:
    """A phone inside; a provider and another phone outside.

    net: a lib.gateway.Net; directory: for files, empty. answer: of the other
    phone. transport: of SIP. phone, other, proxy: what runs.
    """

    def __init__(self, net, directory, answer="auto", transport="udp"):
        self.net = net
        directory = pathlib.Path(directory)
        # baresip announces its own address in SDP but leaves the source of
        # its RTP to the kernel, which would take the first address there.
        net.prov.ip(f"route replace {PUBLIC}/32 dev eth0 src {MEDIA}")
        self._things = contextlib.ExitStack()
        try:
            self.proxy = self._start(Kamailio(
                net.prov, directory, PROXY, transport=transport))
            self.phone = self._start(Phone(
                net.phone, directory / "phone", ALICE, "alice", PROXY,
                PHONE_HZ, transport=transport))
            self.other = self._start(Phone(
                net.prov, directory / "other", MEDIA, "bob", PROXY,
                OTHER_HZ, answer, transport=transport))
        except BaseException:
            self.close()
            raise

    def _start(self, program):
        self._things.callback(program.close)
        return program.start()

    def close(self):
        """End the programs; safe to repeat."""
        self._things.close()


class Call:
    """One call: made, listened to, hung up, and what was measured.

    Forgets what the sniffers saw before it. established, reason: of the
    attempt. entries: conntrack in mid-call.
    """

    def __init__(self, stage, caller, callee):
        self.stage, self.caller, self.callee = stage, caller, callee
        self.net = stage.net
        self.net.lan.clear()
        self.net.wan.clear()
        self._marks = {p: p.mark() for p in (caller, callee)}
        self._started = time.time()
        self.established, self.reason, self.entries = False, "", []

    def talk(self, seconds):
        """Dial, and let them talk if it was answered."""
        self.caller.dial(self.callee.uri)
        event = self._event(self.caller, "CALL_ESTABLISHED", "CALL_CLOSED")
        self.established = event.get("type") == "CALL_ESTABLISHED"
        self.reason = event.get("param", "no answer")
        if self.established:
            time.sleep(seconds)
        self.entries = self.net.conntrack.udp()
        return self

    def hang_up(self, phone=None):
        """Hang up (the caller does unless told); do both know?"""
        if not self.established:
            return False
        (phone or self.caller).hangup()
        return all([self._event(p, "CALL_CLOSED") for p in self._marks])

    def _event(self, phone, *kinds):
        return phone.wait(*kinds, since=self._marks[phone],
                          timeout=ANSWER_S) or {}

    def heard(self, phone):
        """The Tone that one of them recorded; after the call only."""
        return tone.of_file(phone.recording(since=self._started))

    def invite(self):
        """The INVITE before and after the gateway; see wire.crossed()."""
        if self.caller is self.stage.phone:
            return wire.crossed(self.net.lan, self.net.wan, "INVITE",
                                src=ALICE)
        return wire.crossed(self.net.wan, self.net.lan, "INVITE", dst=PUBLIC)

    def phone_sdp(self):
        """The message with the phone's SDP, before and after the gateway."""
        for kind in ("INVITE", "200"):
            found = wire.crossed(self.net.lan, self.net.wan, kind,
                                 with_sdp=True, src=ALICE)
            if found[0]:
                return found
        return None, None

    def media(self):
        """What the phone's SDP announces: (inside, public), None if none."""
        inside, outside = self.phone_sdp()
        if inside is None or outside is None:
            return None
        return inside.media(), outside.media()

    def media_entries(self):
        """conntrack's entries of RTP and RTCP in mid-call."""
        inside, public = self.media()
        return [e for e in self.entries for step in (0, 1)
                if joins(e, (inside[0], inside[1] + step),
                         (public[0], public[1] + step))]

    def rtp(self):
        """RTP packets seen so far by way of the announced public port."""
        return wire.count_rtp(self.net, ALICE, self.media()[1][1])


def joins(entry, inside, public):
    """This conntrack entry translates (address, port) inside <-> public."""
    ends = {(entry.orig.src, entry.orig.sport),
            (entry.orig.dst, entry.orig.dport),
            (entry.reply.src, entry.reply.sport),
            (entry.reply.dst, entry.reply.dport)}
    return {inside, public} <= ends


def probe(net, source, target):
    """A datagram from outside, (address, port) both; did it reach the LAN?"""
    text = f"OPTIONS sip:probe SIP/2.0\r\nProbe: {time.time_ns()}\r\n"
    sock = net.prov.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(source)
        sock.sendto(text.encode(), target)
    time.sleep(PROBE_S)
    assert _seen(net.wan, text), "the probe did not even reach the gateway"
    return _seen(net.lan, text)


def _seen(sniffer, text):
    return any(d.payload == text.encode() for d in sniffer.datagrams())
