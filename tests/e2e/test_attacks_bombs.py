# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages made to cost, on the wire. What each costs: tests/unit/test_bombs.c.
"""

import pytest

from lib.agents import media_flows
from lib.call import Call, announced, call_out
from lib.gateway import ALICE, MEDIA
from lib.sip import message, sdp, unique

ROOM = 64000


def filled(piece, room=ROOM):
    return piece * (room // len(piece))


def bombs(host, uri, to):
    """(headers, body) of requests of 64 KiB."""
    own = f"{host}:5060"
    usual = [f"Via: SIP/2.0/UDP {own};branch={unique('z9hG4bK')}",
             f"From: <sip:x@example.com>;tag={unique('t')}", f"To: {to}",
             f"Call-ID: {unique('bomb')}", "CSeq: 1 OPTIONS"]
    contact = f"Contact: <sip:x@{own}>"
    return [message(f"OPTIONS {uri} SIP/2.0", [*usual, *lines], body)
            for lines, body in (
                (filled([f"Via: SIP/2.0/UDP {own};branch=z9hG4bK"], 1000), b""),
                (filled([contact], 1000), b""),
                ([contact + filled(f",<sip:{own}>")], b""),
                (["Subject: a" + filled("\r\n b")], b""),
                ([contact, "Expires: " + filled("9")], b""),
                ([f"Contact: <sip:x@{host}:" + filled("1") + ">"], b""),
                ([contact, "X: " + filled("\0")], b""),
                ([contact, "X: " + filled("\"\\<,;")], b""),
                ([contact, "Content-Type: application/sdp"],
                 sdp(host, 4000) + filled(b"m=audio 4002 RTP/AVP 0\r\n")),
                ([contact, "Content-Length: 99999999999999999999"], b"x"),
                ([contact, "Content-Length: -1"], b"x"))]


@pytest.fixture
def talk(line, media_inside, media_outside):
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    return mine, theirs, announced(call.invite_seen)


def test_bombs_of_a_phone(daemon, line, talk):
    before = daemon.status()["media_mappings"]
    for data in bombs(ALICE, "sip:x@203.0.113.10", "<sip:x@example.com>"):
        line.phone.send(data, line.server.address)
        assert len(line.server.recv()[0]) > len(data) // 2
    media_flows(*talk)
    Call(line).invite_in()
    assert daemon.stats()["mappings_created"] == 1
    assert daemon.status()["media_mappings"] == before


def test_bombs_of_a_server(daemon, line, talk):
    public = line.public[5060]
    before = daemon.status()
    for data in bombs(line.server.host, "sip:alice@%s:%d" % public,
                      "<sip:alice@example.com>"):
        line.server.send(data, public)
        assert len(line.phone.recv()[0]) > len(data) // 2
    media_flows(*talk)
    Call(line).invite_in()
    after = daemon.status()
    for what in ("flows", "registrations", "media_mappings"):
        assert after[what] == before[what], what
