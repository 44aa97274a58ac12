# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of TCP rest on, without the daemon: plain kernel NAT."""

import pytest

from lib import sip, tcpwire
from lib.ctnetlink import tcp as tcp_entries
from lib.gateway import ALICE, PUBLIC
from lib.tcp import Chatter, Flow, TcpLine, padded, pump
from lib.tcpnet import SHORT, Jumble, RoughNet, opened
from lib.tcpref import Reference, same_stream, split

BAD = {"loss": 100, "double": 100, "hold": 100, "hold_ms": 5}


@pytest.fixture
def net(request):
    yield from opened(RoughNet, request)


@pytest.fixture
def line(net, own):
    return own(TcpLine(net))


def chat(line, count=300):
    """The same both ways: the reference finds nothing to change here."""
    chatter = Chatter(line)
    line.reference.public = {f"{SHORT}:{line.phone.listens}": "0.0.0.0:1"}
    out, into = chatter.out(count), chatter.into(count)
    return [Flow(line.inside, line.outside, out, out, chatter.random),
            Flow(line.outside, line.inside, into, into, chatter.random)]


def test_nat_changes_nothing_in_a_stream(net, line):
    assert line.outside.peer == (PUBLIC, line.inside.local[1])
    pump(chat(line), 10)
    entry, = tcp_entries(net.gw)
    assert entry.orig[:2] == line.inside.local
    assert entry.reply[2:] == line.outside.peer
    assert entry.state == "ESTABLISHED" and entry.liberal == (False, False)


def test_without_the_daemon_private_addresses_leak(line):
    with pytest.raises(AssertionError, match="private"):
        line.register()


def test_unseen_routers_change_nothing(net, line):
    pump(chat(line), 10)
    assert tcpwire.segments(net.lan, sent=False)[0].packet.ttl == 63


@pytest.mark.parametrize("where", ["lanr", "wanr"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_bad_line_delivers_intact(net, build, own, line, where, way):
    net.impatient()
    before = tcpwire.Counters(net.phone if way == "up" else net.prov)
    jumble = own(Jumble(build, getattr(net, where), way, **BAD))
    pump(chat(line, 1000), 20)
    jumble.stop()
    assert min(jumble.lost, jumble.doubled, jumble.held) > 10
    assert jumble.lost < jumble.seen / 5
    assert before.moved()["RetransSegs"] >= 10


def test_packets_held_back_are_late_not_lost(net, build, own, line):
    jumble = own(Jumble(build, net.wanr, "up", hold=1000, hold_ms=20))
    pump(chat(line, 20), 10)
    assert jumble.stop().held == jumble.seen > 10


def test_segments_are_cut_as_asked(net, line):
    net.patient()
    message = line.phone.register()
    for size in (1, 7, 100, 1448):
        net.lan.clear()
        line.inside.dribble(message, size)
        assert line.outside.read(len(message)) == message
        sizes = [len(s.payload) for s in tcpwire.segments(
            net.lan, sent=False, dport=5060) if s.payload]
        assert set(sizes[:-1]) <= {size} and sum(sizes) == len(message)


def test_repeated_bytes_are_counted(net, build, own, line):
    assert tcpwire.repeated(net.lan) == 0
    line.inside.send(b"x" * 5000)
    line.outside.read(5000)
    assert tcpwire.repeated(net.lan) == 0
    some = [s for s in tcpwire.segments(net.lan, sent=False) if s.payload]
    net.lan.packets().append(some[0].packet)
    assert tcpwire.repeated(net.lan, sent=False) == len(some[0].payload)
    net.lan.packets().pop()


def test_padding(line):
    for size in (400, 999, 1000, 1448, 60000):
        for share in (0, 0.5, 0.9):
            message = padded(line.phone, size, body_share=share)
            assert len(message) == size
            assert [k for k, _ in split(message)] == ["message"]


# --- the reference: by hand ---

REGISTER = (b"REGISTER sip:example.com SIP/2.0\r\n"
            b"Via: SIP/2.0/TCP 10.1.1.7:5060;rport;branch=z9hG4bK1\r\n"
            b"Via: SIP/2.0/TCP 10.1.1.7:5060;branch=z9hG4bK0\r\n"
            b"From: <sip:a@10.1.1.7>;tag=1\r\n"
            b"Call-ID: 1@10.1.1.7:5060\r\nCSeq: 1 REGISTER\r\n"
            b"m: <sip:a@10.1.1.7:40000;transport=tcp>, <sip:a@10.1.1.7>\r\n"
            b"Content-Length: 0\r\n\r\n")
REGISTER_OUT = (b"REGISTER sip:example.com SIP/2.0\r\n"
                b"Via: SIP/2.0/TCP 203.0.113.4:5061;rport;branch=z9hG4bK1\r\n"
                b"Via: SIP/2.0/TCP 10.1.1.7:5060;branch=z9hG4bK0\r\n"
                b"From: <sip:a@203.0.113.4>;tag=1\r\n"
                b"Call-ID: 1@10.1.1.7:5060\r\nCSeq: 1 REGISTER\r\n"
                b"m: <sip:a@203.0.113.4:40000;transport=tcp>, "
                b"<sip:a@203.0.113.4:5061>\r\n"
                b"Content-Length: 0\r\n\r\n")
INVITE = (b"INVITE sip:b@example.com SIP/2.0\r\n"
          b"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
          b"l: 89\r\n\r\n"
          b"v=0\r\no=- 1 1 IN IP4 10.1.1.7\r\ns=-\r\nc=IN IP4 10.1.1.7\r\n"
          b"t=0 0\r\nm=audio 4000 RTP/AVP 8\r\n")
INVITE_OUT = (b"INVITE sip:b@example.com SIP/2.0\r\n"
              b"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
              b"l: 96\r\n\r\n"
              b"v=0\r\no=- 1 1 IN IP4 203.0.113.4\r\ns=-\r\n"
              b"c=IN IP4 203.0.113.4\r\n"
              b"t=0 0\r\nm=audio 16384 RTP/AVP 8\r\n")
ANSWER = (b"SIP/2.0 200 OK\r\n"
          b"Via: SIP/2.0/TCP 203.0.113.4:5061;branch=z9hG4bK1"
          b";received=203.0.113.4;rport=40000\r\n"
          b"Via: SIP/2.0/TCP 203.0.113.4:5061;branch=z9hG4bK0\r\n"
          b"CSeq: 1 REGISTER\r\nContact: <sip:a@203.0.113.4:5061>\r\n"
          b"Content-Length: 0\r\n\r\n")
ANSWER_IN = (b"SIP/2.0 200 OK\r\n"
             b"Via: SIP/2.0/TCP 10.1.1.7:5060;branch=z9hG4bK1"
             b";received=10.1.1.7;rport=40000\r\n"
             b"Via: SIP/2.0/TCP 203.0.113.4:5061;branch=z9hG4bK0\r\n"
             b"CSeq: 1 REGISTER\r\nContact: <sip:a@10.1.1.7:5060>\r\n"
             b"Content-Length: 0\r\n\r\n")
KNOWN = Reference(SHORT, {f"{SHORT}:40000": "203.0.113.4:40000",
                          f"{SHORT}:5060": "203.0.113.4:5061"}, {4000: 16384})


def test_reference_out():
    sip.same_bytes(REGISTER_OUT, KNOWN.out(REGISTER))
    sip.same_bytes(INVITE_OUT, KNOWN.out(INVITE))
    assert KNOWN.out(b"\r\n" + INVITE + b"\r\n\r\n" + REGISTER) == (
        b"\r\n" + INVITE_OUT + b"\r\n\r\n" + REGISTER_OUT)


def test_reference_in():
    sip.same_bytes(ANSWER_IN, KNOWN.into(ANSWER))
    bye = b"BYE sip:a@%s SIP/2.0\r\nVia: SIP/2.0/TCP 203.0.113.10\r\n\r\n"
    assert KNOWN.into(bye % b"203.0.113.4:5061") == bye % b"10.1.1.7:5060"
    assert KNOWN.into(bye % b"203.0.113.4:5062") == bye % b"203.0.113.4:5062"


def test_reference_leaves_all_that_follows_other_data():
    data = b"\x16\x03\x01" + REGISTER
    assert KNOWN.out(data) == data
    assert KNOWN.out(REGISTER + data) == REGISTER_OUT + data


def test_comparison_shows_the_place():
    with pytest.raises(sip.Mismatch, match=r"byte 450 \(part 1, byte "):
        same_stream(REGISTER + INVITE, (REGISTER + INVITE)[:450] + b"?")
    same_stream(REGISTER, REGISTER)


def test_phones_addresses_are_not_of_the_public_ones_length():
    assert len(SHORT) < len(PUBLIC) == len(ALICE)
