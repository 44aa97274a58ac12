# SPDX-License-Identifier: GPL-2.0-or-later
"""What honest phones do: a function is a call, from its INVITE to its end.

Each takes the world and a Talk. Whatever the faults of the time are, it has to
come to its end; see run().
"""

import itertools
import threading
import time

from lib import sip
from lib.agents import Dialog
from lib.call import Call, announced
from lib.direct import Direct
from lib.gateway import MEDIA, MEDIA2
from lib.sip import sdp

from .line import Excused, Lost, compared, deliver
from .media import HEARD_S, Stream

ANYTHING = ("call_lost", "one_way_audio", "no_audio", "invite_unanswered",
            "unknown_contact", "not_rewritten", "media_elsewhere")
SILENCE_S = 24  # on hold; longer than media.timeout
_ports = itertools.cycle(range(40000, 48000, 2))
_ports_lock = threading.Lock()


def next_port():
    with _ports_lock:
        return next(_ports)


class Talk(Call):
    """A call with voice, that follows the line when it moves."""

    def __init__(self, world, line, pump, random):
        super().__init__(line)
        self.world, self.pump, self.random = world, pump, random
        self.book = world.book
        port, self.far_port = next_port(), next_port()
        self.port = port
        self.far = random.choice((MEDIA, MEDIA2))
        self.stream = Stream(world.net, (line.phone.host, port),
                             (self.far, self.far_port))
        self.stream.moves = self.moves
        pump.add(self.stream)
        line.media_learned([port])
        self.version = 1
        self.epoch = world.epoch
        self.up = False
        self.began = time.monotonic()  # to be set up

    @property
    def call_id(self):
        return sip.Message(self.invite_sent).get("Call-ID")

    def near_sdp(self, *lines):
        self.version += 1
        return sdp(self.line.phone.host, (self.port, *lines),
                   version=self.version)

    def far_sdp(self, *lines):
        self.version += 1
        return sdp(self.far, (self.far_port, *lines), version=self.version)

    def invite_in(self, offer=b"", headers=()):
        """To where the phone is registered, over TCP too."""
        line = self.line
        self.invite_sent = line.server.request(
            "INVITE", "sip:%s@%s:%d" % (line.phone.user, *line.contact),
            body=offer, to=line.phone.identity, headers=headers)
        self.invite_seen = line.into(self.invite_sent)
        return self.invite_seen

    # --- its steps ---

    def heard_from(self, seen):
        """An offer or answer of the phone, as the outside saw it."""
        self.stream.announced = announced(seen)
        self.stream.moved = False

    def voice(self, seen=None, speaks=True):
        """Both ways, by what the outside was told."""
        if seen is not None:
            self.heard_from(seen)
        self.stream.speaks = speaks
        if not speaks:
            return
        epoch = self.world.epoch
        dumb = self.pump.both_ways(self.stream)
        # An address that has changed meanwhile is for step() to repair
        if dumb and epoch == self.world.epoch and not self.stream.moved:
            if not self.stream.known and self.world.killed_since(self.began):
                raise Excused("being set up when the daemon was killed")
            raise Lost(f"{self.call_id}: not heard for {HEARD_S} s: {dumb} "
                       f"{self.stream.announced}")

    def step(self):
        """In the gate: where the line is now, and the call with it."""
        follow(self.line)
        if self.up and self.epoch != self.world.epoch:
            self.epoch = self.world.epoch
            self.line.media_learned([self.port])
            seen, _ = self.reinvite_from_phone(self.near_sdp(),
                                               self.far_sdp())
            self.outside.target = sip.uri_of(seen.get("Contact"))
            self.heard_from(seen)
        self.epoch = self.world.epoch

    def moves(self):
        """The gateway's address changes (no voice until the next offer), or
        the daemon is killed."""
        if self.invite_sent:
            self.book.expect(self.call_id, "no_audio", "one_way_audio",
                             "call_lost", "invite_unanswered")

    def passing(self):
        return Passing(self)

    def talk(self, least_s=1, most_s=15):
        """Speak for a while; when the address changes, follow."""
        left_s = self.random.uniform(least_s, most_s)
        while left_s > 0 and not self.world.ending.is_set():
            self.world.ending.wait(min(1, left_s))
            left_s -= 1
            if self.epoch != self.world.epoch:
                with self.passing():
                    self.step()
                self.voice()
        self.voice()

    def established(self, seen):
        self.up = True
        self.voice(seen)

    def bye(self):
        with self.passing():
            self.step()
            self.stream.speaks = False
            who = self.random.choice((self.from_phone, self.from_server))
            who("BYE")
        self.up = False

    def close(self):
        self.pump.remove(self.stream)
        if self.invite_sent:
            self.line.forget(self.call_id)


class Passing:
    """The gate, entered when the gateway is active or the call runs."""

    def __init__(self, talk):
        self.talk = talk
        self.gate = None

    def __enter__(self):
        world = self.talk.world
        while True:
            self.gate = world.gate.passing()
            self.gate.__enter__()
            if not self.talk.up:
                self.talk.began = time.monotonic()
            if world.mode == "active" or self.talk.up:
                return self
            self.gate.__exit__(None, None, None)
            world.over.wait(0.3)

    def __exit__(self, *error):
        return self.gate.__exit__(*error)


def follow(line):
    """A line that was moved registers from where it is."""
    with line.lock:
        if line.renew():
            register(line)


def register(line, expires=60):
    """One more of the same registration."""
    line.cseq = getattr(line, "cseq", 0) + 1
    call_id = f"soak-reg-{line.phone.user}-{line.transport}"
    request = line.phone.register(expires, call_id=call_id, cseq=line.cseq)
    seen = line.out(request)
    line.into(line.server.respond(
        seen.bytes, 200, source=line.public[line.phone.port], tag="reg",
        headers=[f"Expires: {expires}"]))
    if line.cseq % 20 == 0:
        line.forget(sip.Message(request).get("Call-ID"))


# --- calls ---

def out(talk):
    """The phone calls, speaks, and one of both hangs up."""
    with talk.passing():
        talk.step()
        seen = talk.invite_out(talk.near_sdp())
        talk.answer_in(180)
        talk.world.over.wait(talk.random.uniform(0, 1))
        talk.answer_in(200, talk.far_sdp())
        talk.ack_out()
        talk.established(seen)
    talk.talk()
    talk.bye()


def into(talk):
    """The phone is called."""
    with talk.passing():
        talk.step()
        talk.invite_in(talk.far_sdp())
        talk.answer_out(180)
        seen = talk.answer_out(200, talk.near_sdp())
        talk.ack_in()
        talk.established(seen)
    talk.talk()
    talk.bye()


def delayed_offer(talk):
    """The offer is in the 200, the answer in the ACK."""
    with talk.passing():
        talk.step()
        talk.invite_in()
        seen = talk.answer_out(200, talk.near_sdp())
        talk.ack_in(talk.far_sdp())
        talk.established(seen)
    talk.talk()
    talk.bye()


def early_media(talk):
    """An announcement is heard both ways before the call is answered."""
    with talk.passing():
        talk.step()
        seen = talk.invite_out(talk.near_sdp())
        talk.answer_in(183, talk.far_sdp())
        talk.voice(seen)
        talk.answer_in(200, talk.far_sdp())
        talk.ack_out()
        talk.established(seen)
    talk.talk(1, 5)
    talk.bye()


def held(talk):
    """On hold for longer than media.timeout, without a packet."""
    with talk.passing():
        talk.step()
        seen = talk.invite_out(talk.near_sdp())
        talk.answer_in(200, talk.far_sdp())
        talk.ack_out()
        talk.established(seen)
    talk.talk(0, 4)
    with talk.passing():
        talk.step()
        talk.reinvite_from_phone(talk.near_sdp("a=sendonly"),
                                 talk.far_sdp("a=recvonly"))
        talk.voice(speaks=False)
    talk.world.over.wait(talk.random.choice((2, 5, SILENCE_S)))
    with talk.passing():
        talk.step()
        seen, _ = talk.reinvite_from_phone(talk.near_sdp(), talk.far_sdp())
        talk.voice(seen)
    talk.talk(0, 4)
    talk.bye()


def held_by_the_other(talk):
    with talk.passing():
        talk.step()
        talk.invite_in(talk.far_sdp())
        seen = talk.answer_out(200, talk.near_sdp())
        talk.ack_in()
        talk.established(seen)
    for far, near, speaks in (("a=sendonly", "a=recvonly", False),
                              ("a=sendrecv", "a=sendrecv", True)):
        with talk.passing():
            talk.step()
            _, seen = talk.reinvite_from_server(talk.far_sdp(far),
                                                talk.near_sdp(near))
            talk.voice(None, speaks)
        talk.world.over.wait(talk.random.uniform(0, 4))
    talk.talk(0, 4)
    talk.bye()


def cancelled(talk):
    with talk.passing():
        talk.step()
        if talk.random.random() < 0.5:
            talk.invite_out(talk.near_sdp())
            talk.answer_in(180)
            talk.cancel_from_phone()
        else:
            talk.invite_in(talk.far_sdp())
            talk.answer_out(180)
            talk.cancel_from_server()


def refused(talk):
    with talk.passing():
        talk.step()
        code = talk.random.choice((404, 480, 486, 503, 603))
        if talk.random.random() < 0.5:
            talk.invite_out(talk.near_sdp())
            talk.fail_in(code)
        else:
            talk.invite_in(talk.far_sdp())
            if code == 404:
                talk.book.expect(talk.call_id, "unknown_contact")
            talk.fail_out(code)


def abandoned(talk):
    """Both ends die: nobody says BYE, no packet comes any more."""
    with talk.passing():
        talk.step()
        seen = talk.invite_out(talk.near_sdp())
        talk.answer_in(200, talk.far_sdp())
        talk.ack_out()
        talk.book.expect(talk.call_id, "call_lost", "one_way_audio",
                         "no_audio")
        talk.established(seen)
    talk.stream.speaks = False


def given_up(talk):
    """The phone dies while it rings, or before."""
    with talk.passing():
        talk.step()
        if talk.random.random() < 0.5:
            talk.invite_out(talk.near_sdp())
        else:
            talk.invite_in(talk.far_sdp())
        talk.book.expect(talk.call_id, "invite_unanswered", "call_lost")


CALLS = (out, out, into, into, delayed_offer, early_media, held,
         held_by_the_other, cancelled, refused, abandoned)
# The gateway waits for four minutes (RFC 3261, timer C and a bit)
SLOW_CALLS = (given_up,)


# --- between two phones inside ---

class SoakDirect(Direct):
    """Direct by deliver()."""

    def __init__(self, world, local_media, **lines):
        super().__init__(local_media, **lines)
        self.world = world

    def send(self, sender, receiver, data):
        """What receiver got, compared byte by byte."""
        began = time.monotonic()
        got, source = deliver(
            self.world, lambda: sender.send(data, self.public[receiver]),
            receiver.mailbox, data)
        if source != self.public[sender]:
            raise Lost(f"{receiver.user} was reached by {source}")
        compared(self.world, began, data, got, lambda:
                 sip.only_addresses_changed(data, got, self.edits(
                     sender, receiver, data, got)))
        return sip.Message(got)


def direct(world, a, b):
    """a calls b by its public endpoint; media stays inside."""
    with world.gate.passing():
        if world.mode != "active":
            return
        for line in (a, b):
            follow(line)
        way = SoakDirect(world, True, a=a, b=b)
        alice, bob = a.phone, b.phone
        invite = alice.request("INVITE", way.uri(bob),
                               body=sdp(alice.host, next_port()),
                               to="<sip:bob@example.com>")
        seen = way.send(alice, bob, invite)
        way.answer(bob, alice, seen, 180, tag="b")
        sent, answer = way.answer(bob, alice, seen, 200, tag="b",
                                  body=sdp(bob.host, next_port()))
        dialog = Dialog.caller(alice, invite, answer.bytes)
        way.send(alice, bob, dialog.request("ACK"))
        back = Dialog.callee(bob, seen.bytes, sent)
        bye = way.send(bob, alice, back.request("BYE"))
        way.answer(alice, bob, bye)
        call_id = seen.get("Call-ID")
    for line in (a, b):
        line.forget(call_id)


# --- what has no voice ---

def subscribe(world, line):
    """SUBSCRIBE, notifications, and the end of it."""
    def answer(seen, expires):
        response = line.server.respond(
            seen.bytes, 200, source=line.public[line.phone.port], tag="s",
            headers=[f"Expires: {expires}"])
        line.into(response)
        return response

    def notify(state):
        seen = line.into(far.request("NOTIFY", headers=[
            "Event: dialog", f"Subscription-State: {state}"]))
        line.out(line.phone.respond(seen.bytes, 200))

    with world.gate.passing():
        if world.mode != "active":
            return
        follow(line)
        request = line.phone.request(
            "SUBSCRIBE", "sip:bob@203.0.113.10",
            headers=["Event: dialog", "Expires: 60"])
        seen = line.out(request)
        response = answer(seen, 60)
        near = Dialog.caller(line.phone, request, response)
        far = Dialog.callee(line.server, seen.bytes, response)
        notify("active")
        notify("active;expires=50")
        seen = line.out(near.request("SUBSCRIBE", headers=[
            "Event: dialog", "Expires: 0"]))
        answer(seen, 0)
        notify("terminated;reason=timeout")
    line.forget(near.call_id)


def options(world, line):
    """A question and its answer, also while the gateway only looks on."""
    with world.gate.passing():
        follow(line)
        edits = None if world.mode == "active" else {}
        request = line.phone.request("OPTIONS", "sip:echo@203.0.113.10")
        seen = line.out(request, edits)
        line.into(line.server.respond(
            seen.bytes, 200, source=line.public[line.phone.port], tag="o"),
            edits)
    line.forget(seen.get("Call-ID"))


__all__ = ["ANYTHING", "CALLS", "SLOW_CALLS",
           "Excused", "Lost", "Talk", "direct",
           "follow", "options", "register", "subscribe"]
