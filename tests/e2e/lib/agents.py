# SPDX-License-Identifier: GPL-2.0-or-later
"""Phones and servers: sockets in a namespace with just enough SIP on top."""

import socket
import struct
import time

from lib import sip

WAIT_S = 3.0
QUIET_S = 0.4
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
SO_NO_CHECK = 11


class Endpoint:
    """A UDP socket at host:port; raw bytes in, raw bytes out."""

    def __init__(self, namespace, host, port):
        self.host, self.port = host, port
        self.socket = namespace.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((host, port))
        self.port = self.socket.getsockname()[1]

    @property
    def address(self):
        return self.host, self.port

    def send(self, data, to):
        self.socket.sendto(data, to)

    def recv(self, wait_s=WAIT_S):
        """(bytes, source) of the next datagram; AssertionError if none."""
        self.socket.settimeout(wait_s)
        try:
            return self.socket.recvfrom(65535)
        except TimeoutError:
            raise AssertionError(
                f"nothing arrived at {self.host}:{self.port}") from None

    def nothing(self, wait_s=QUIET_S):
        """No datagram arrives."""
        try:
            data, source = self.recv(wait_s)
        except AssertionError:
            return
        raise AssertionError(f"{source} reached {self.address}: {data!r}")

    def no_checksum(self):
        """Send with a UDP checksum of zero from now on."""
        self.socket.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)

    def dont_fragment(self, on=True):
        """Send with DF set (or never set) from now on."""
        self.socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER,
                               IP_PMTUDISC_DO if on else IP_PMTUDISC_DONT)

    def close(self):
        self.socket.close()


class Agent(Endpoint):
    """An Endpoint that writes SIP for one user.

    contact_port: what stands in its Contact, if not its own port.
    from_host: the domain of its identity.
    """

    def __init__(self, namespace, host, port=5060, user="alice",
                 contact_port=None, from_host="example.com"):
        super().__init__(namespace, host, port)
        self.user = user
        self.contact = f"<sip:{user}@{host}:{contact_port or port}>"
        self.identity = f"<sip:{user}@{from_host}>"

    def via(self, parameters=";rport"):
        """A Via value with a new branch."""
        branch = sip.unique("z9hG4bK-")
        return (f"SIP/2.0/UDP {self.host}:{self.port}{parameters}"
                f";branch={branch}")

    def request(self, method, uri, to=None, headers=(), body=b"", via=None,
                call_id=None, cseq=1, contact=True):
        """A request outside any dialog."""
        lines = [f"Via: {via or self.via()}", "Max-Forwards: 70",
                 f"From: {self.identity};tag={sip.unique('f')}",
                 f"To: {to or f'<{uri}>'}",
                 f"Call-ID: {call_id or sip.unique('call-')}@{self.user}",
                 f"CSeq: {cseq} {method}"]
        if contact:
            lines.append(f"Contact: {self.contact}")
        lines += headers
        if body:
            lines.append("Content-Type: application/sdp")
        return sip.message(f"{method} {uri} SIP/2.0", lines, body)

    def register(self, expires=3600, headers=(), **kwargs):
        """A REGISTER for this user at example.com."""
        return self.request("REGISTER", "sip:example.com",
                            to=self.identity,
                            headers=[f"Expires: {expires}", *headers],
                            **kwargs)

    def respond(self, request, code, source=None, tag=None, headers=(),
                body=b"", contact=True):
        """An answer to a received request.

        source: where the request came from; then received and rport are put
        into the topmost Via, as RFC 3581 servers do. A REGISTER is answered
        with the Contact it brought.
        """
        received = sip.Message(request)
        reason = {100: "Trying", 180: "Ringing", 183: "Session Progress",
                  200: "OK", 202: "Accepted", 486: "Busy Here",
                  487: "Request Terminated"}.get(code, "Whatever")
        lines = []
        for number, via in enumerate(received.all("Via")):
            if number == 0 and source:
                via = via.replace(";rport", "", 1)
                via += f";received={source[0]};rport={source[1]}"
            lines.append(f"Via: {via}")
        lines += [f"Record-Route: {r}" for r in received.all("Record-Route")]
        to = received.get("To")
        if tag and ";tag=" not in to:
            to += f";tag={tag}"
        lines += [f"From: {received.get('From')}", f"To: {to}",
                  f"Call-ID: {received.get('Call-ID')}",
                  f"CSeq: {received.get('CSeq')}"]
        if contact and code > 100:
            if received.method == "REGISTER":
                lines += [f"Contact: {c}" for c in received.all("Contact")]
            else:
                lines.append(f"Contact: {self.contact}")
        lines += headers
        if body:
            lines.append("Content-Type: application/sdp")
        return sip.message(f"SIP/2.0 {code} {reason}", lines, body)


class Line:
    """The path between a phone and a server, checked message by message.

    Every out() and into() compares, byte by byte, what was sent with what
    arrived. public: {inside port: (address, port)} as learned from the source
    address that the server's socket saw.
    """

    def __init__(self, phone, server):
        self.phone, self.server = phone, server
        self.public = {}
        self.expires = 3600

    def out(self, data, edits=None):
        """phone sends, server receives: (Message seen there)."""
        self.phone.send(data, self.server.address)
        return self.arrived(data, edits)

    def arrived(self, data, edits=None):
        """The server receives what the phone has sent."""
        seen, source = self.server.recv()
        self.public.setdefault(self.phone.port, source)
        assert self.public[self.phone.port] == source, (
            f"the phone's public address moved to {source}")
        if edits is None:
            edits = sip.outbound_edits(data, seen, self.phone.host,
                                       self.public)
        sip.only_addresses_changed(data, seen, edits)
        return sip.Message(seen)

    def into(self, data, edits=None, at=None):
        """server sends, phone receives: (Message seen there).

        edits: {} where nothing should be restored; None for the usual ones.
        at: the endpoint that should get it, if not the phone's socket.
        """
        self.server.send(data, self.public[self.phone.port])
        seen, source = (at or self.phone).recv()
        assert source == self.server.address
        if edits is None:
            edits = self.inbound_edits(data)
        sip.only_addresses_changed(data, seen, edits)
        return sip.Message(seen)

    def inbound_edits(self, data):
        """What design.md expects of a usual message coming in."""
        message, edits = sip.Message(data), {}
        inside = {f"{h}:{p}": f"{self.phone.host}:{port}"
                  for port, (h, p) in self.public.items()}
        if message.request:
            for public, private in inside.items():
                if public in message.start:
                    edits["Request-URI"] = (public, private)
            return edits
        public = "%s:%d" % self.public[self.phone.port]
        host, port = self.public[self.phone.port]
        via = message.get("Via")
        old, new = via, via
        new = new.replace(f"UDP {public}", f"UDP {inside[public]}")
        new = new.replace(f";received={host}", f";received={self.phone.host}")
        new = new.replace(f";rport={port}", f";rport={self.phone.port}")
        if old != new:
            edits["Via"] = (old, new)
        if message.method == "REGISTER":
            for number, contact in enumerate(message.all("Contact")):
                for public, private in inside.items():
                    if public in contact:
                        edits[f"Contact[{number}]"] = (public, private)
        return edits

    def register(self, expires=3600, headers=()):
        """A whole registration; the REGISTER that the server saw."""
        seen = self.out(self.phone.register(expires, headers))
        self.into(self.server.respond(
            seen.bytes, 200, source=self.public[self.phone.port], tag="reg",
            headers=[f"Expires: {expires}"]))
        return seen


class Dialog:
    """One side's view of a dialog, taken from messages that side saw."""

    def __init__(self, agent, local, remote, call_id, target, cseq):
        self.agent, self.local, self.remote = agent, local, remote
        self.call_id, self.target, self.cseq = call_id, target, cseq

    @classmethod
    def caller(cls, agent, invite, answer):
        """From the INVITE one sent and the response one got."""
        invite, answer = sip.Message(invite), sip.Message(answer)
        return cls(agent, invite.get("From"), answer.get("To"),
                   invite.get("Call-ID"), sip.uri_of(answer.get("Contact")),
                   int(invite.get("CSeq").split()[0]))

    @classmethod
    def callee(cls, agent, invite, answer):
        """From the INVITE one got and the response one sent."""
        invite, answer = sip.Message(invite), sip.Message(answer)
        return cls(agent, answer.get("To"), invite.get("From"),
                   invite.get("Call-ID"), sip.uri_of(invite.get("Contact")),
                   100)

    def request(self, method, body=b"", headers=(), cseq=None, via=None):
        """A request inside the dialog (ACK keeps the INVITE's number)."""
        if cseq is None:
            if method not in ("ACK", "CANCEL"):
                self.cseq += 1
            cseq = self.cseq
        lines = [f"Via: {via or self.agent.via()}", "Max-Forwards: 70",
                 f"From: {self.local}", f"To: {self.remote}",
                 f"Call-ID: {self.call_id}", f"CSeq: {cseq} {method}",
                 f"Contact: {self.agent.contact}", *headers]
        if body:
            lines.append("Content-Type: application/sdp")
        return sip.message(f"{method} {self.target} SIP/2.0", lines, body)


class Media:
    """RTP and RTCP sockets of one stream's end."""

    def __init__(self, namespace, host, port, rtcp_port=None):
        self.rtp = Endpoint(namespace, host, port)
        self.rtcp = Endpoint(namespace, host, rtcp_port or port + 1)
        self.host, self.port = host, port

    def close(self):
        self.rtp.close()
        self.rtcp.close()


def rtp(sequence, payload=b"\x55" * 160):
    """An RTP packet (RFC 3550 5.1), G.711."""
    return struct.pack("!BBHII", 0x80, 8, sequence & 0xFFFF,
                       sequence * 160, 0xCAFE) + payload


def flows(source, to, receiver, seen_from=None):
    """A datagram from source sent to an address arrives at receiver."""
    data = rtp(int(time.monotonic() * 1000) & 0xFFFF)
    source.send(data, to)
    got, sender = receiver.recv()
    assert got == data
    if seen_from:
        assert sender == seen_from, f"came from {sender}, not {seen_from}"


def media_flows(inside, outside, announced, remote=None, first="inside"):
    """RTP and RTCP both ways, by the ports that were announced.

    inside, outside: Media. announced: the phone's (host, port, rtcp port) as
    the outside was told. remote: where the phone was told to send, if that is
    not where outside's sockets are. first: who speaks first.
    """
    host, port, rtcp_port = announced
    ways = {
        "outside": [(outside.rtp, (host, port), inside.rtp,
                     outside.rtp.address),
                    (outside.rtcp, (host, rtcp_port), inside.rtcp,
                     outside.rtcp.address)],
        "inside": [(inside.rtp, remote or outside.rtp.address, outside.rtp,
                    (host, port)),
                   (inside.rtcp, outside.rtcp.address, outside.rtcp,
                    (host, rtcp_port))],
    }
    second = {"inside": "outside", "outside": "inside"}[first]
    for who in (first, second, first):
        for source, to, receiver, seen_from in ways[who]:
            flows(source, to, receiver, seen_from)


def media_blocked(inside, outside, announced):
    """Nothing from outside reaches the phone's media ports."""
    host, port, rtcp_port = announced
    for _ in range(3):
        outside.rtp.send(rtp(1), (host, port))
        outside.rtcp.send(rtp(2), (host, rtcp_port))
    inside.rtp.nothing()
    inside.rtcp.nothing(0.1)
