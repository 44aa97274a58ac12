# SPDX-License-Identifier: GPL-2.0-or-later
"""Voice gets its class: DSCP of SIP and RTP on the wire, conntrack marks."""

import re
import socket
import time

import pytest

from lib import sip
from lib.agents import media_flows, rtp
from lib.call import Call, announced, call_in, call_out
from lib.gateway import ALICE, MEDIA, PROXY, PUBLIC
from lib.sip import sdp

CS3, EF = 24, 46
OTHERS = 0x4000  # a bit of the mark that somebody else uses
voice = pytest.mark.config(sip__dscp="cs3", media__dscp="ef",
                           media__conntrack_mark="0x100/0x300")


def mark(entry):
    """The conntrack mark of an entry."""
    return int(re.search(r"\bmark=(\d+)", entry.line)[1])


def media_marks(net):
    """The marks of all entries of the phone's media ports."""
    return [mark(e) for e in net.conntrack.udp(src=ALICE)
            if e.orig.sport not in (5060,)]


def left(net, kind):
    """Datagrams that left the gateway, of SIP or of media."""
    signalling = {5060}
    return [d for s in (net.lan, net.wan) for d in s.datagrams(sent=True)
            if bool(signalling & {d.sport, d.dport}) == (kind == "sip")]


@pytest.fixture
def talk(line, media_inside, media_outside):
    line.register()
    return line, media_inside(), media_outside(MEDIA)


@voice
@pytest.mark.parametrize("caller", ["phone", "server"])
@pytest.mark.parametrize("first", ["inside", "outside"])
def test_a_call(daemon, net, talk, caller, first):
    line, mine, theirs = talk
    if caller == "phone":
        told = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000)).invite_seen
    else:
        told = call_in(line, sdp(MEDIA, 8000),
                       sdp(ALICE, 4000)).answer_out_seen
    media_flows(mine, theirs, announced(told), first=first)
    media = left(net, "media")
    assert {d.src for d in media} == {PUBLIC, MEDIA}  # both directions
    assert len(media) == 6 and {d.dscp for d in media} == {EF}
    signalling = left(net, "sip")
    assert {d.src for d in signalling} == {PUBLIC, PROXY}
    assert {d.dscp for d in signalling} == {CS3}
    assert set(media_marks(net)) == {0x100}
    # The signalling's own entry is not media
    assert [mark(e) for e in net.conntrack.udp(src=ALICE, sport=5060)] == [0]


@voice
@pytest.mark.config(media__timeout="5")
def test_a_running_call_gets_the_mark_of_a_reload(daemon, net, talk):
    """So that the rule which goes with it gives it its class on."""
    line, mine, theirs = talk
    told = announced(call_out(line, sdp(ALICE, 4000),
                              sdp(MEDIA, 8000)).invite_seen)
    media_flows(mine, theirs, told)
    assert set(media_marks(net)) == {0x100}
    daemon.settings["media.conntrack_mark"] = "0x400/0x400"
    daemon.write_config()
    daemon.remove_rules()
    daemon.apply_rules()
    daemon.reload()
    end = time.monotonic() + 10
    while set(media_marks(net)) != {0x400}:
        media_flows(mine, theirs, told)
        assert time.monotonic() < end, net.conntrack.text()
        time.sleep(0.5)
    net.wan.clear()
    media_flows(mine, theirs, told)
    assert {d.dscp for d in left(net, "media") if d.dst == MEDIA} == {EF}


@voice
def test_ecn_stays_and_an_own_class_does_not(daemon, net, talk):
    line, mine, theirs = talk
    told = announced(call_out(line, sdp(ALICE, 4000),
                              sdp(MEDIA, 8000)).invite_seen)
    mine.rtp.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 34 << 2 | 2)
    mine.rtp.send(rtp(1), (MEDIA, 8000))
    theirs.rtp.recv()
    theirs.rtp.send(rtp(2), told[:2])
    mine.rtp.recv()
    line.phone.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 34 << 2 | 1)
    line.out(line.phone.request("OPTIONS", "sip:x@203.0.113.10"))
    voice, = (d for d in left(net, "media") if d.dst == MEDIA)
    assert (voice.dscp, voice.packets[0].ecn) == (EF, 2)
    last = [d for d in left(net, "sip") if d.dst == PROXY][-1]
    assert (last.dscp, last.packets[0].ecn) == (CS3, 1)


@voice
def test_bits_of_others_stay(daemon, net, line, media_inside, media_outside):
    """Also of an entry that the phone's own packets have made before."""
    net.gw.run(["iptables", "-t", "mangle", "-A", "FORWARD", "-p", "udp",
                "-j", "CONNMARK", "--set-xmark", f"{OTHERS}/{OTHERS}"])
    line.register()
    mine, theirs = media_inside(port=20000), media_outside(MEDIA)
    mine.rtp.send(rtp(1), (MEDIA, 8000))
    assert theirs.rtp.recv()[1] == (PUBLIC, 20000)
    assert media_marks(net) == [OTHERS]
    call = call_out(line, sdp(ALICE, 20000), sdp(MEDIA, 8000))
    assert announced(call.invite_seen)[1] == 20000
    assert sorted(media_marks(net)) == [0x100, OTHERS | 0x100]
    media_flows(mine, theirs, announced(call.invite_seen))
    assert media_marks(net) == [OTHERS | 0x100] * 2
    call.reinvite_from_phone(sdp(ALICE, (20000, "a=sendonly"), version=2),
                             sdp(MEDIA, (8000, "a=recvonly"), version=2))
    assert media_marks(net) == [OTHERS | 0x100] * 2
    first, *others = sorted(d.dscp for d in left(net, "media"))
    assert first == 0 and set(others) == {EF}  # the one before the call


def test_nothing_is_set_unless_asked_for(daemon, net, talk):
    line, mine, theirs = talk
    told = announced(call_out(line, sdp(ALICE, 4000),
                              sdp(MEDIA, 8000)).invite_seen)
    mine.rtp.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 34 << 2)
    media_flows(mine, theirs, told)
    assert {d.dscp for d in left(net, "media") if d.dport == 8000} == {34}
    assert {d.dscp for d in left(net, "sip")} == {0}
    assert set(media_marks(net)) == {0}


@voice
def test_what_is_left_alone_keeps_its_class(daemon, net, line):
    """Keep-alives, STUN and what is no SIP; and what is changed by nobody
    still gets it."""
    line.register()
    net.wan.clear()
    for data in (b"\r\n\r\n", b"no SIP at all, as one can see",
                 b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)):
        line.phone.send(data, line.server.address)
        assert line.server.recv()[0] == data
    assert [d.dscp for d in net.wan.datagrams(sent=True)] == [0] * 3
    net.wan.clear()
    foreign = line.phone.request("OPTIONS", "sip:x@203.0.113.10").replace(
        ALICE.encode(), b"203.0.113.99")
    before = daemon.stats()["nothing_ours"]
    line.phone.send(foreign, line.server.address)
    assert line.server.recv()[0] == foreign
    assert daemon.stats()["nothing_ours"] == before + 1
    assert [d.dscp for d in net.wan.datagrams(sent=True)] == [CS3]


@pytest.mark.config(sip__dscp="cs3", media__dscp="ef",
                    media__conntrack_mark="0x100/0x300",
                    gateway__mode="observe")
def test_observe_changes_no_class(daemon, net, phone, server):
    alice, proxy = phone(), server()
    for request in (alice.register(),
                    alice.request("INVITE", "sip:x@203.0.113.10",
                                  body=sdp(ALICE, 4000))):
        alice.send(request, proxy.address)
        seen, source = proxy.recv()
        assert seen == request
        proxy.send(proxy.respond(seen, 200, source=source, tag="t",
                                 body=sdp(MEDIA, 8000)), source)
        alice.recv()
    assert daemon.stats()["observed"] >= 2
    assert {d.dscp for d in left(net, "sip")} == {0}
    assert {mark(e) for e in net.conntrack.udp()} == {0}


@voice
def test_tcp(daemon, net, own):
    """Every segment of a connection with SIP, from the SYN on."""
    listener = own(net.prov.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((PROXY, 5060))
    listener.listen()
    phone = own(net.phone.socket(socket.AF_INET, socket.SOCK_STREAM))
    phone.bind((ALICE, 5060))
    phone.connect((PROXY, 5060))
    server, _ = listener.accept()
    own(server)
    server.settimeout(3)
    phone.settimeout(3)
    request = sip.message("OPTIONS sip:x@203.0.113.10 SIP/2.0", [
        f"Via: SIP/2.0/TCP {ALICE}:5060;branch=z9hG4bK1",
        "From: <sip:a@example.com>;tag=1", "To: <sip:x@example.com>",
        "Call-ID: tcp-class", "CSeq: 1 OPTIONS",
        f"Contact: <sip:a@{ALICE}:5060;transport=tcp>"])
    phone.sendall(request[:100])
    phone.sendall(request[100:])
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        got += server.recv(4096)
    assert PUBLIC.encode() in got
    via = sip.Message(got).get("Via")
    server.sendall(sip.message("SIP/2.0 200 OK", [
        f"Via: {via}", "From: <sip:a@example.com>;tag=1",
        "To: <sip:x@example.com>;tag=2", "Call-ID: tcp-class",
        "CSeq: 1 OPTIONS"]))
    assert ALICE.encode() in phone.recv(4096)
    phone.close()
    assert server.recv(1) == b""
    for sniffer in (net.lan, net.wan):
        segments = [p for p in sniffer.packets()
                    if p.protocol == 6 and p.sent]
        assert len(segments) >= 3
        assert {p.dscp for p in segments} == {CS3}
    assert daemon.stats()["tcp_resets"] == 0


@voice
def test_rules_and_marks_go_together(daemon, net, talk):
    """Without the rules the daemon still marks: tc and nft may use it."""
    daemon.remove_rules()
    assert "SIPALGD" not in net.gw.run(["iptables-save"]).stdout
    daemon.apply_rules()
    net.gw.run(["iptables", "-t", "mangle", "-F", "SIPALGD-MEDIA"])
    line, mine, theirs = talk
    call = Call(line)
    told = announced(call.invite_out(sdp(ALICE, 4000)))
    call.answer_in(200, sdp(MEDIA, 8000))
    call.ack_out()
    media_flows(mine, theirs, told)
    assert set(media_marks(net)) == {0x100}
    assert {d.dscp for d in left(net, "media")} == {0}
