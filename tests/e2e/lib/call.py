# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole calls over a Line; every message is compared byte by byte."""

from lib import sip
from lib.agents import Dialog


class Call:
    """A call between the phone and the server of a Line.

    inside, outside: the two ends' Dialogs (set once there is an answer).
    invite_sent (bytes), invite_seen (Message): the first INVITE.
    answer_out_seen: the phone's 200 as the server saw it (call_in()).
    """

    def __init__(self, line):
        self.line = line
        self.inside = self.outside = None
        self.invite_sent = self.invite_seen = None
        self.answer_out_seen = None

    # --- the phone calls ---

    def invite_out(self, offer=b"", headers=()):
        """The phone's INVITE; what the server saw."""
        line = self.line
        self.invite_sent = line.phone.request(
            "INVITE", "sip:echo@203.0.113.10", body=offer, headers=headers)
        self.invite_seen = line.out(self.invite_sent)
        line.into(line.server.respond(
            self.invite_seen.bytes, 100, source=self._source()))
        return self.invite_seen

    def answer_in(self, code=200, answer=b"", tag="callee", headers=()):
        """A response of the server; what the phone saw. Sets the dialog."""
        response = self.line.server.respond(
            self.invite_seen.bytes, code, source=self._source(), tag=tag,
            body=answer, headers=headers)
        seen = self.line.into(response)
        if code < 300:
            self.inside = Dialog.caller(self.line.phone, self.invite_sent,
                                        seen.bytes)
            self.outside = Dialog.callee(
                self.line.server, self.invite_seen.bytes, response)
        return seen

    def ack_out(self, answer=b""):
        """The phone's ACK."""
        return self.line.out(self.inside.request("ACK", body=answer))

    # --- the server calls ---

    def invite_in(self, offer=b"", headers=()):
        """The server's INVITE to the phone's public contact."""
        line = self.line
        host, port = line.public[line.phone.port]
        self.invite_sent = line.server.request(
            "INVITE", f"sip:{line.phone.user}@{host}:{port}", body=offer,
            to=line.phone.identity, headers=headers)
        self.invite_seen = line.into(self.invite_sent)
        return self.invite_seen

    def answer_out(self, code=200, answer=b"", tag="callee", headers=()):
        """A response of the phone; what the server saw. Sets the dialog."""
        response = self.line.phone.respond(
            self.invite_seen.bytes, code, tag=tag, body=answer,
            headers=headers)
        seen = self.line.out(response)
        if code < 300:
            self.inside = Dialog.callee(self.line.phone,
                                        self.invite_seen.bytes, response)
            self.outside = Dialog.caller(self.line.server, self.invite_sent,
                                         seen.bytes)
        return seen

    def ack_in(self, answer=b""):
        """The server's ACK."""
        return self.line.into(self.outside.request("ACK", body=answer))

    # --- inside the dialog ---

    def from_phone(self, method, body=b"", answer=b"", headers=()):
        """A request of the phone and its 200: (seen request, seen answer)."""
        request = self.inside.request(method, body=body, headers=headers)
        seen = self.line.out(request)
        reply = self.line.into(self.line.server.respond(
            seen.bytes, 200, source=self._source(), body=answer))
        return seen, reply

    def from_server(self, method, body=b"", answer=b"", headers=()):
        """A request of the server and its 200: (seen request, seen answer)."""
        request = self.outside.request(method, body=body, headers=headers)
        seen = self.line.into(request)
        reply = self.line.out(self.line.phone.respond(
            seen.bytes, 200, body=answer))
        return seen, reply

    def reinvite_from_phone(self, offer, answer):
        """re-INVITE, 200, ACK: (seen offer, seen answer)."""
        seen = self.from_phone("INVITE", offer, answer)
        self.line.out(self.inside.request("ACK"))
        return seen

    def reinvite_from_server(self, offer, answer):
        """re-INVITE, 200, ACK: (seen offer, seen answer)."""
        seen = self.from_server("INVITE", offer, answer)
        self.line.into(self.outside.request("ACK"))
        return seen

    def cancel_from_phone(self):
        """CANCEL of the first INVITE, its 200, the 487 and its ACK."""
        request = _same_transaction(self.invite_sent, "CANCEL")
        seen = self.line.out(request)
        self.line.into(self.line.server.respond(
            seen.bytes, 200, source=self._source(), contact=False))
        self.fail_in(487)

    def fail_in(self, code):
        """The server refuses the phone's INVITE; the phone ACKs."""
        refusal = self.line.into(self.line.server.respond(
            self.invite_seen.bytes, code, source=self._source(), tag="no",
            contact=False))
        self.line.out(_same_transaction(self.invite_sent, "ACK",
                                        refusal.get("To")))

    def cancel_from_server(self):
        """CANCEL of the server's INVITE, its 200, the 487 and its ACK."""
        seen = self.line.into(_same_transaction(self.invite_sent, "CANCEL"))
        self.line.out(self.line.phone.respond(seen.bytes, 200,
                                              contact=False))
        self.fail_out(487)

    def fail_out(self, code):
        """The phone refuses the server's INVITE; the server ACKs."""
        refusal = self.line.out(self.line.phone.respond(
            self.invite_seen.bytes, code, tag="no", contact=False))
        self.line.into(_same_transaction(self.invite_sent, "ACK",
                                         refusal.get("To")))

    def _source(self):
        return self.line.public[self.line.phone.port]


def _same_transaction(invite, method, to=None):
    """CANCEL, or ACK of a refusal: as the INVITE but for method (and To)."""
    message = sip.Message(invite)
    lines = [f"Via: {message.get('Via')}", "Max-Forwards: 70",
             f"From: {message.get('From')}", f"To: {to or message.get('To')}",
             f"Call-ID: {message.get('Call-ID')}",
             f"CSeq: {message.get('CSeq').split()[0]} {method}"]
    return sip.message(f"{method} {message.uri} SIP/2.0", lines)


def announced(message, number=0):
    """(host, port, rtcp port) of one m= line that a side was shown."""
    _, host, port, rtcp_port = sip.sdp_media(message)[number]
    return host, port, rtcp_port


def call_out(line, offer, answer):
    """An answered call of the phone."""
    call = Call(line)
    call.invite_out(offer)
    call.answer_in(200, answer)
    call.ack_out()
    return call


def call_in(line, offer, answer):
    """An answered call of the server."""
    call = Call(line)
    call.invite_in(offer)
    call.answer_out_seen = call.answer_out(200, answer)
    call.ack_in()
    return call
