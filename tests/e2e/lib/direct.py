# SPDX-License-Identifier: GPL-2.0-or-later
"""Two inside phones that call each other by their public endpoints."""

from lib import sip
from lib.agents import Dialog


class Direct:
    """Messages of two inside agents, each to the other's public endpoint.

    public: {agent: (address, port)}. local_media: descriptions stay as they
    are (media.keep_local).
    """

    def __init__(self, local_media, **lines):
        self.local_media = local_media
        self.public = {}
        for line in lines.values():
            self.public[line.phone] = line.public[line.phone.port]

    def send(self, sender, receiver, data):
        """What receiver got, compared byte by byte."""
        sender.send(data, self.public[receiver])
        got, source = receiver.recv()
        self.public.setdefault(sender, source)
        assert source == self.public[sender]
        sip.only_addresses_changed(
            data, got, self.edits(sender, receiver, data, got))
        return sip.Message(got)

    def edits(self, sender, receiver, data, got):
        """Out of sender's NAT, and into receiver's."""
        edits = sip.outbound_edits(data, got, sender.host,
                                   {sender.port: self.public[sender]})
        if self.local_media:
            edits = {k: v for k, v in edits.items() if k[:4] != "sdp:"}
        message = sip.Message(data)
        public = "%s:%d" % self.public[receiver]
        inside = f"{receiver.host}:{receiver.port}"
        if message.request:
            if public in message.start:
                edits["Request-URI"] = (public, inside)
            return edits
        old = message.get("Via")
        new = old.replace(f"UDP {public}", f"UDP {inside}")
        new = new.replace(f";received={self.public[receiver][0]}",
                          f";received={receiver.host}")
        new = new.replace(";rport=%d" % self.public[receiver][1],
                          f";rport={receiver.port}")
        edits["Via"] = (old, new)
        return edits

    def answer(self, sender, receiver, request, code=200, **kwargs):
        """sender answers what it got from receiver; (sent, seen)."""
        sent = sender.respond(request.bytes, code,
                              source=self.public[receiver], **kwargs)
        return sent, self.send(sender, receiver, sent)

    def uri(self, agent):
        return "sip:%s@%s:%d" % (agent.user, *self.public[agent])


class DirectCall:
    """alice calls bob's public contact; both dialogs and what each saw."""

    def __init__(self, way, alice, bob, offer, answer):
        self.way = way
        self.alice, self.bob = alice, bob
        invite = alice.request("INVITE", way.uri(bob), body=offer,
                               to="<sip:bob@example.com>")
        self.invite = way.send(alice, bob, invite)
        way.answer(bob, alice, self.invite, 180, tag="b")
        sent, self.answer = way.answer(bob, alice, self.invite, 200,
                                       tag="b", body=answer)
        self.from_alice = Dialog.caller(alice, invite, self.answer.bytes)
        self.from_bob = Dialog.callee(bob, self.invite.bytes, sent)
        way.send(alice, bob, self.from_alice.request("ACK"))

    def bye(self, by):
        ends = {"alice": (self.alice, self.bob, self.from_alice),
                "bob": (self.bob, self.alice, self.from_bob)}
        sender, receiver, dialog = ends[by]
        seen = self.way.send(sender, receiver, dialog.request("BYE"))
        self.way.answer(receiver, sender, seen)
