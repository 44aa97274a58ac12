# SPDX-License-Identifier: GPL-2.0-or-later
"""Messages that name what is not theirs: other hosts, services, taken ports.

Only the sender's own address is mapped; never, unless it sends from there, a
port of media.reserved_ports.
"""

import time

import pytest

from lib import sip
from lib.agents import Line, media_blocked, media_flows
from lib.attack import entries_of, is_shut
from lib.call import Call, announced, call_out
from lib.gateway import ALICE, BOB, MEDIA, MEDIA2, PROXY, PUBLIC
from lib.sip import sdp

GATEWAY = "192.168.1.1"
NOT_ITS_OWN = (BOB, GATEWAY, PUBLIC, "192.168.1.255", "127.0.0.1", "0.0.0.0",
               "224.0.1.75", "255.255.255.255", "10.9.9.9", PROXY)
RESERVED = (22, 80, 445, 3389)
SITES = ("Contact", "Record-Route", "Path", "Refer-To", "Referred-By",
         "Reply-To", "P-Asserted-Identity", "History-Info")


def granted(line, seen, public):
    """The 200 of a registrar that takes whatever it is told."""
    line.server.send(line.server.respond(
        seen, 200, source=public, tag="r",
        headers=["Expires: 3600"], body=sdp(MEDIA, 8000)
        if b"INVITE" in seen[:7] else b""), public)
    return line.phone.recv()[0]


def test_only_its_own_address_is_mapped(daemon, net, line):
    """In any place of any message, and the other side believes it."""
    line.register()
    before = daemon.stats()["mappings_created"]
    for host in NOT_ITS_OWN:
        for method in ("REGISTER", "INVITE"):
            line.phone.contact = f"<sip:x@{host}:7777>"
            data = line.phone.request(
                method, "sip:example.com", to="<sip:x@example.com>",
                headers=[f"{site}: <sip:x@{host}:7777>"
                         for site in SITES[1:]],
                via=f"SIP/2.0/UDP {host}:7777;branch={sip.unique('z9hG4bK')}",
                body=sdp(host, 7778) if method == "INVITE" else b"")
            line.phone.send(data, line.server.address)
            seen, public = line.server.recv()
            assert seen == data
            granted(line, seen, public)
    assert daemon.stats()["mappings_created"] == before
    assert daemon.status()["media_mappings"] == 0
    assert len(daemon.ctl("registrations")) == 1
    text = net.conntrack.text()
    for trace in ("7777", "7778", MEDIA):
        assert trace not in text
    assert not entries_of(net, BOB) and not entries_of(net, GATEWAY)


def test_rtcp_and_candidates_of_others_stay(daemon, net, line, media_inside,
                                            media_outside):
    """Beside media of its own, which flows."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    for host in NOT_ITS_OWN:
        extra = (f"a=rtcp:7779 IN IP4 {host}",
                 f"a=candidate:1 1 UDP 2130706431 {host} 7780 typ host")
        call = Call(line)
        offer = sdp(ALICE, (4000, *extra))
        data = line.phone.request("INVITE", "sip:x@203.0.113.10", body=offer)
        line.phone.send(data, line.server.address)
        seen, public = line.server.recv()
        for text in extra:
            assert text.encode() in seen
        call.invite_sent, call.invite_seen = data, sip.Message(seen)
        granted(line, seen, public)
        _, *told = sip.sdp_media(call.invite_seen)[0][:3]
        theirs.rtp.send(b"\x80rtp", tuple(told))
        assert mine.rtp.recv()[0] == b"\x80rtp"
    text = net.conntrack.text()
    assert "7779" not in text and "7780" not in text


def test_what_a_contact_names_is_no_service(daemon, net, phone, server):
    """A service on the phone's own host, and the registrar agrees."""
    proxy = server()
    for port in RESERVED:
        line = Line(phone(contact_port=port, user=f"u{port}"), proxy)
        data = line.phone.register(headers=[
            f"Path: <sip:{ALICE}:{port};lr>",
            f"Record-Route: <sip:{ALICE}:{port};lr>"])
        line.phone.send(data, proxy.address)
        seen, public = proxy.recv()
        assert seen.count(f"{ALICE}:{port}".encode()) == 3
        granted(line, seen, public)
        line.phone.close()
    is_shut(net, *RESERVED)
    assert daemon.stats()["mappings_created"] == 1
    assert daemon.stats()["sip_reserved_port"] == 3 * len(RESERVED)
    assert daemon.ctl("registrations") == []
    assert "SIP ports refused: media.reserved_ports" in daemon.log()


def test_who_sends_from_such_a_port_is_reached_there(daemon, phone, server):
    line = Line(phone(port=445), server())
    line.register()
    Call(line).invite_in()


@pytest.mark.parametrize("media", [
    (22,), (1022,), (4000, "a=rtcp:445"), (3389,), (65535,)])
def test_media_opens_no_service(daemon, net, line, media):
    line.register()
    data = line.phone.request("INVITE", "sip:x@203.0.113.10",
                              body=sdp(ALICE, media))
    line.phone.send(data, line.server.address)
    seen, public = line.server.recv()
    assert sip.Message(seen).body.endswith(
        data[data.index(b"m=audio"):])  # the ports stand as they were
    granted(line, seen, public)
    assert daemon.status()["media_mappings"] == 0
    assert MEDIA not in net.conntrack.text()
    refused = daemon.stats()
    assert refused["media_reserved_port"] + refused["media_not_handled"] == 1


# --- endpoints that two want --------------------------------------------------

def test_two_phones_with_one_port(daemon, phone, server, media_inside,
                                  media_outside):
    """Both 4000, and towards one port of one server."""
    proxy, theirs = server(), media_outside(MEDIA)
    talks = []
    for host, user in ((ALICE, "alice"), (BOB, "bob")):
        line = Line(phone(host, user=user), proxy)
        line.register()
        call = call_out(line, sdp(host, 4000), sdp(MEDIA, 8000))
        talks.append((media_inside(host), call, announced(call.invite_seen)))
    assert len({port for _, _, told in talks for port in told[1:]}) == 4
    for mine, _, told in talks:
        media_flows(mine, theirs, told)
    talks[0][1].from_phone("BYE")
    media_blocked(talks[0][0], theirs, talks[0][2])
    media_flows(talks[1][0], theirs, talks[1][2], first="outside")


def test_a_phone_that_names_anothers_port(daemon, net, phone, server,
                                          media_inside, media_outside):
    """Bob says that alice's endpoint is his, and then hangs up."""
    proxy, theirs = server(), media_outside(MEDIA)
    alice = Line(phone(ALICE), proxy)
    bob = Line(phone(BOB, user="bob"), proxy)
    for line in (alice, bob):
        line.register()
    mine = media_inside()
    call = call_out(alice, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    for host, port in ((ALICE, 4000), (ALICE, 4001), told[:2]):
        data = bob.phone.request("INVITE", "sip:x@203.0.113.10",
                                 body=sdp(host, port))
        bob.phone.send(data, proxy.address)
        seen, public = proxy.recv()
        assert sip.Message(seen).body == sip.Message(data).body
        granted(bob, seen, public)
        bye = bob.phone.request(
            "BYE", "sip:x@203.0.113.10", cseq=2,
            call_id=sip.Message(data).get("Call-ID").partition("@")[0])
        bob.phone.send(bye, proxy.address)
        bob.server.send(bob.server.respond(proxy.recv()[0], 200), public)
        bob.phone.recv()
    media_flows(mine, theirs, told)
    assert not entries_of(net, BOB, 4000)


@pytest.mark.parametrize("second", [
    (4000,), (4001,), (3999,), (4000, "a=rtcp:4000")])
def test_a_second_line_takes_nothing_from_the_first(
        daemon, line, media_inside, media_outside, second):
    """Two m= lines with one port, or the RTP of one the RTCP of the other."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = Call(line)
    offer = sdp(ALICE, 4000, second)
    line.phone.send(line.phone.request(
        "INVITE", "sip:x@203.0.113.10", body=offer), line.server.address)
    call.invite_seen, public = line.server.recv()
    line.server.send(line.server.respond(
        call.invite_seen, 200, source=public, tag="t",
        body=sdp(MEDIA, 8000, 8002)), public)
    line.phone.recv()
    told = announced(call.invite_seen)
    theirs.rtp.send(b"\x80rtp", told[:2])
    assert mine.rtp.recv()[0] == b"\x80rtp"
    mine.rtp.send(b"\x80rtp", theirs.rtp.address)
    assert theirs.rtp.recv()[1] == told[:2]


def test_a_second_call_takes_nothing_from_the_first(daemon, line,
                                                    media_inside,
                                                    media_outside):
    """One phone, one port for both; the second ends first."""
    line.register()
    mine = media_inside()
    theirs, others = media_outside(MEDIA), media_outside(MEDIA2)
    first = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(first.invite_seen)
    for far, host in ((others, MEDIA2), (theirs, MEDIA)):
        second = call_out(line, sdp(ALICE, 4000), sdp(host, 8000))
        assert announced(second.invite_seen) == told
        media_flows(mine, far, told)
        second.from_server("BYE")
        media_flows(mine, theirs, told, first="outside")
    time.sleep(0.1)
    media_blocked(mine, others, told)
    first.from_phone("BYE")
    media_blocked(mine, theirs, told)
