# SPDX-License-Identifier: GPL-2.0-or-later
"""Others meddle with a call whose Call-ID and tags they know.

Only those who have a part in it count: whom the phone has sent to, who called
it, and whom these name in Contact or Record-Route. See state/party.h.
"""

import time

import pytest

from lib import sip
from lib.agents import Endpoint, Line, media_blocked, media_flows, rtp
from lib.attack import forger, spoof
from lib.call import Call, announced, call_in, call_out
from lib.gateway import (ALICE, BOB, MEDIA, MEDIA2, PROXY, PROXY2, PUBLIC,
                         STRANGER)
from lib.sip import sdp

METHODS = ("BYE", "CANCEL", "INVITE", "UPDATE", "ACK", "PRACK", "NOTIFY")

# Who meddles, and whether his packets reach the phone
others = pytest.mark.parametrize("who", [
    "stranger", "registrar",
    pytest.param("admitted",
                 marks=pytest.mark.config(sip__inbound_from="any")),
    "inside"])
reaching = pytest.mark.parametrize("who", [
    "registrar", pytest.param(
        "admitted", marks=pytest.mark.config(sip__inbound_from="any"))])


class Meddler:
    """Somebody who knows all of a call and has no part in it."""

    def __init__(self, who, line, phone, server):
        self.line, self.who = line, who
        if who == "inside":
            self.agent = phone(BOB, user="bob")
            Line(self.agent, line.server).register()
        else:
            self.agent = server(PROXY2 if who == "registrar" else STRANGER)
        if who == "registrar":  # another account's
            other = Line(line.phone, self.agent)
            other.public = line.public
            other.register()

    def send(self, data):
        self.agent.send(data, self.line.public[5060])
        if self.who == "stranger":
            self.line.phone.nothing(0.05)
        else:
            self.line.phone.recv()


@pytest.fixture
def meddler(who, line, phone, server):
    line.register()
    return Meddler(who, line, phone, server)


def states(daemon):
    """Of all calls with media."""
    return [c["state"] for c in daemon.ctl("calls") if c["media"]]


@others
def test_others_end_no_call(daemon, line, meddler, media_inside,
                            media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    forged = forger(call.outside, meddler.agent)
    for method in METHODS:
        request = forged.request(method)
        meddler.send(request)
        for code in (200, 481, 487):  # and answers that nobody waits for
            answer = line.server.respond(
                call.invite_seen.bytes, code, tag="callee",
                source=line.public[5060])
            meddler.send(answer.replace(b" INVITE\r\n",
                                        f" {method}\r\n".encode()))
    media_flows(mine, theirs, told)
    assert states(daemon) == ["active"]
    call.from_server("BYE")
    media_blocked(mine, theirs, told)


@reaching
def test_others_refuse_no_call(daemon, line, meddler, media_inside,
                               media_outside):
    """An answer to the INVITE from where it was not sent."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = Call(line)
    told = announced(call.invite_out(sdp(ALICE, 4000)))
    for code in (404, 486, 487, 600):
        meddler.send(line.server.respond(
            call.invite_seen.bytes, code, source=line.public[5060], tag="x"))
    call.answer_in(200, sdp(MEDIA, 8000))
    call.ack_out()
    media_flows(mine, theirs, told)


@reaching
def test_others_cancel_no_call(daemon, line, meddler, media_inside,
                               media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = Call(line)
    call.invite_in(sdp(MEDIA, 8000))
    cancel = call.invite_sent.partition(b"\r\n\r\n")[0].replace(
        b"INVITE", b"CANCEL") + b"\r\n\r\n"
    meddler.send(cancel)
    seen = call.answer_out(200, sdp(ALICE, 4000))
    call.ack_in()
    media_flows(mine, theirs, announced(seen))
    assert "cancelled" not in daemon.log()


@others
def test_others_redirect_no_media(daemon, net, line, meddler, media_inside,
                                  media_outside):
    """Their re-INVITE, UPDATE or 200 with a description moves nothing."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    spy = media_outside(MEDIA2, 9000)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    forged = forger(call.outside, meddler.agent)
    for method in ("INVITE", "UPDATE", "ACK"):
        meddler.send(forged.request(method, body=sdp(MEDIA2, 9000)))
    for code in (183, 200):
        meddler.send(line.server.respond(
            call.invite_seen.bytes, code, source=line.public[5060], tag="x",
            body=sdp(MEDIA2, 9000)))
    assert MEDIA2 not in net.conntrack.text()
    media_blocked(mine, spy, told)
    media_flows(mine, theirs, told)


@reaching
def test_others_change_no_identity(daemon, line, meddler):
    """A request with the phone's own address in From, as if that were a host
    of theirs: what the phone calls itself is mapped as before."""
    line.phone.identity = f"<sip:alice@{ALICE}>"
    seen = line.out(line.phone.request(
        "INVITE", "sip:x@203.0.113.10", body=sdp(ALICE, 4000), call_id="one"))
    assert PUBLIC in seen.get("From")
    meddler.agent.identity = f"<sip:x@{ALICE}>"
    meddler.send(meddler.agent.request(
        "INFO", "sip:alice@%s:%d" % line.public[5060],
        to=f"<sip:alice@{ALICE}>", headers=[f"Record-Route: <sip:{ALICE};lr>"]
    ).replace(b"Call-ID: ", b"Call-ID: one@alice\r\nX-Own: "))
    line.out(line.phone.request("INFO", "sip:x@203.0.113.10", call_id="one",
                                to=f"<sip:x@{ALICE}>", cseq=2))


def test_a_party_is_who_the_phone_sends_to(daemon, line, server,
                                           media_inside, media_outside):
    """No Record-Route: the rest of the call goes from end to end."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = Call(line)
    told = announced(call.invite_out(sdp(ALICE, 4000)))
    far = server(PROXY2)
    line.server.contact = far.contact
    call.answer_in(200, sdp(MEDIA, 8000))
    direct = Line(line.phone, far)
    direct.public = line.public
    call.line = direct
    call.outside = forger(call.outside, far)
    call.ack_out()
    media_flows(mine, theirs, told)
    moved = media_outside(MEDIA2, 9000)
    call.reinvite_from_server(sdp(MEDIA2, 9000, version=2), sdp(ALICE, 4000))
    media_flows(mine, moved, told)
    call.from_server("BYE")
    media_blocked(mine, moved, told)


@pytest.mark.config(sip__inbound_from="any")
@pytest.mark.parametrize("named", ["Contact", "Record-Route"])
def test_a_party_is_who_a_party_names(daemon, line, server, named,
                                      media_inside, media_outside):
    """The caller's ACK comes from elsewhere, with the answer in it."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    far = server(PROXY2)
    call, headers = Call(line), []
    if named == "Contact":
        line.server.contact = far.contact
    else:
        headers = [f"Record-Route: <sip:{PROXY};lr>, <sip:{PROXY2};lr>"]
    call.invite_in(headers=headers)
    seen = call.answer_out(200, sdp(ALICE, 4000))
    call.line = Line(line.phone, far)
    call.line.public = line.public
    call.outside = forger(call.outside, far)
    call.ack_in(sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(seen), first="outside")


@pytest.mark.config(sip__inbound_from=f"{PROXY}/31")
def test_listed_hosts_stand_for_each_other(daemon, line, server,
                                           media_inside, media_outside):
    """A provider's hosts are listed as one network."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    twin = server(PROXY2)
    call.line = Line(line.phone, twin)
    call.line.public = line.public
    call.outside = forger(call.outside, twin)
    moved = media_outside(MEDIA2, 9000)
    call.reinvite_from_server(sdp(MEDIA2, 9000, version=2), sdp(ALICE, 4000))
    media_flows(mine, moved, told)


def test_a_refusal_again_ends_no_later_try(daemon, line, media_inside,
                                           media_outside):
    """407, and again when the INVITE with credentials is under way."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    first, second = Call(line), Call(line)
    first.invite_out(sdp(ALICE, 4000))
    first.fail_in(407)
    call_id = sip.Message(first.invite_sent).get("Call-ID")
    again = line.phone.request(
        "INVITE", "sip:echo@203.0.113.10", body=sdp(ALICE, 4000),
        call_id=call_id.partition("@")[0], cseq=2)
    second.invite_sent, second.invite_seen = again, line.out(again)
    line.into(line.server.respond(first.invite_seen.bytes, 407, tag="no",
                                  source=line.public[5060], contact=False))
    second.answer_in(200, sdp(MEDIA, 8000))
    second.ack_out()
    media_flows(mine, theirs, announced(second.invite_seen))


def test_answers_that_nobody_waits_for_begin_nothing(daemon, net, line):
    line.register()
    before = daemon.status()
    for method in ("INVITE", "UPDATE", "BYE", "OPTIONS", "SUBSCRIBE"):
        for code in (180, 183, 200, 404, 487):
            request = line.phone.request(method, "sip:x@y.example")
            answer = line.server.respond(request, code, tag="x", headers=[
                "Expires: 604800"], body=sdp(MEDIA, 8000))
            line.server.send(answer, line.public[5060])
            line.phone.recv()
    after = daemon.status()
    for what in ("calls", "flows", "registrations", "media_mappings"):
        assert after[what] == before[what], what
    assert daemon.ctl("calls") == []
    assert MEDIA not in net.conntrack.text()


def test_a_call_that_is_over_stays_over(daemon, net, line, media_inside,
                                        media_outside):
    """All that was said in it, once more."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    old = [line.server.respond(call.invite_seen.bytes, code, tag="callee",
                               source=line.public[5060],
                               body=sdp(MEDIA, 8000)) for code in (183, 200)]
    old.append(call.outside.request("INVITE", sdp(MEDIA, 8000), cseq=101))
    old.append(call.outside.request("UPDATE", sdp(MEDIA, 8000), cseq=102))
    bye = call.outside.request("BYE")
    line.out(line.phone.respond(line.into(bye).bytes, 200))
    for data in (*old, bye):
        line.server.send(data, line.public[5060])
        line.phone.recv()
    time.sleep(0.1)
    assert MEDIA not in net.conntrack.text()
    media_blocked(mine, theirs, told)


def test_rtp_of_others_meets_no_pinhole(daemon, net, line, own, media_inside,
                                        media_outside):
    """Also with the right address, or the right port."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_in(line, sdp(MEDIA, 8000), sdp(ALICE, 4000))
    told = announced(call.answer_out_seen)
    for source in ((STRANGER, 8000), (MEDIA, 8002), (PROXY, 5060),
                   (ALICE, 4000), (PUBLIC, 8000)):
        for port in told[1:]:
            spoof(net.prov, source, (PUBLIC, port), rtp(1, b"other"))
    mine.rtp.nothing(0.2)
    mine.rtcp.nothing(0.1)
    assert isinstance(own(Endpoint(net.prov, MEDIA, 8004)), Endpoint)
    media_flows(mine, theirs, told, first="outside")


@pytest.mark.config(media__source="signalling")
def test_another_calls_peer_sends_no_media(daemon, net, line, server,
                                           listen_outside, media_inside,
                                           media_outside):
    """media.source=signalling: who signals in this call, no other one."""
    line.register()
    other = Line(line.phone, server(PROXY2))
    other.public = line.public
    other.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    intruder = listen_outside(PROXY2, 9000)
    for number in range(4):
        intruder.send(rtp(number), told[:2])
        time.sleep(0.05)
    mine.rtp.nothing(0.2)
    media_flows(mine, theirs, told, first="outside")
