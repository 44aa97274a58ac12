# SPDX-License-Identifier: GPL-2.0-or-later
"""Over TCP, too, what is not SIP passes byte for byte, and opens nothing."""

import random
import time

import pytest

from lib import sip, tcpwire
from lib.ctnetlink import tcp as tcp_entries
from lib.daemon import FAST, Sipalgd
from lib.gateway import ALICE, PROXY, STRANGER
from lib.tcp import (PROMPT_S, Chatter, Flow, Listener, TcpLine, connect,
                     promptly, pump)
from lib.tcpnet import SHORT, TcpNet, opened
from lib.tcpref import same_stream
from lib.topologies import OFFICE, allow, room

REGISTER = (b"REGISTER sip:example.com SIP/2.0\r\n"
            b"Via: SIP/2.0/TCP 10.1.1.7:5060;branch=z9hG4bKs\r\n"
            b"From: <sip:alice@example.com>;tag=1\r\n"
            b"To: <sip:alice@example.com>\r\nCall-ID: s\r\n"
            b"CSeq: 1 REGISTER\r\n"
            b"Contact: <sip:alice@10.1.1.7:3306;transport=tcp>\r\n"
            b"Content-Length: 0\r\n\r\n")
SDP = sip.sdp(SHORT, 4000)
INVITE = (b"INVITE sip:bob@example.com SIP/2.0\r\n"
          b"Via: SIP/2.0/TCP 10.1.1.7:5060;branch=z9hG4bKi\r\n"
          b"From: <sip:alice@example.com>;tag=1\r\n"
          b"To: <sip:bob@example.com>\r\nCall-ID: i\r\nCSeq: 1 INVITE\r\n"
          b"Contact: <sip:alice@10.1.1.7:3306>\r\n"
          b"Content-Type: application/sdp\r\n"
          b"Content-Length: %d\r\n\r\n" % len(SDP)) + SDP
OTHER = {
    "tls": bytes.fromhex("16030100c5010000c10303") + bytes(range(197)),
    "http": b"GET / HTTP/1.1\r\nHost: 10.1.1.7:5060\r\n\r\n",
    "http-answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "websocket": b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n"
                 b"Sec-WebSocket-Protocol: sip\r\n\r\n",
    "banner": b"220 mail.example.com ESMTP\r\n",
    "nul": b"\0",
    "nuls": b"\0" * 5000,
    "stun": b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(range(12)),
    "random": random.Random(5060).randbytes(20000),
    "version": REGISTER.replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"),
    "lower-case-version": REGISTER.replace(b"SIP/2.0\r\nVia",
                                           b"sap/2.0\r\nVia"),
    "space-first": b" " + REGISTER,
    "control-first": b"\x16\x03\x01" + REGISTER,
    "slash-in-method": b"REG/ISTER" + REGISTER[8:],
    "text": b"hello 10.1.1.7:5060, this is no SIP at all\r\n\r\n",
}
pytestmark = pytest.mark.config(**FAST)


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def line(net, daemon, own):
    """A connection on which nothing was said yet."""
    net.patient()
    return own(TcpLine(net))


@pytest.fixture
def each(net, daemon, own):
    """each(kinds): of each a name, the data and a new connection."""
    net.patient()
    listener = own(Listener(net.prov, PROXY))

    def connections(kinds=OTHER):
        for kind in kinds:
            yield kind, OTHER[kind], own(TcpLine(net, listener=listener))

    return connections


def same(source, target, data, what="stream"):
    source.send(data)
    same_stream(data, target.read(len(data)), what)


def opens_nothing(net, daemon, connections=1):
    """No mapping, no entry but the connection's own."""
    status = daemon.status()
    assert status["registrations"] == status["calls"] == 0, status
    assert status["media_mappings"] == 0, status
    assert len(tcp_entries(net.gw)) == connections
    assert not net.conntrack.udp()
    numbers = daemon.stats()
    assert not numbers["media_entries"] and not numbers["calls_started"]


def never_again_sip(line, what="stream"):
    """Transparent for good, in both directions."""
    for data in (REGISTER, INVITE, b"\r\n\r\n" + REGISTER):
        promptly(same, line.inside, line.outside, data, what)
        promptly(same, line.outside, line.inside, data, what)
        line.inside.dribble(data, 50)
        same_stream(data, line.outside.read(len(data)), what)


def test_what_is_no_sip_passes(net, daemon, each):
    for kind, data, line in each():
        promptly(same, line.inside, line.outside, data, kind)
        promptly(same, line.outside, line.inside, data, kind)
        never_again_sip(line, kind)
    opens_nothing(net, daemon, len(OTHER))


def test_the_server_speaks_first(net, daemon, each):
    for kind, data, line in each():
        promptly(same, line.outside, line.inside, data, kind)
        never_again_sip(line, kind)
    opens_nothing(net, daemon, len(OTHER))


def test_byte_by_byte(net, daemon, each):
    kinds = ("tls", "stun", "http", "random", "version", "control-first")
    for kind, data, line in each(kinds):
        data = data[:600]
        line.inside.dribble(data, 1)
        same_stream(data, line.outside.read(len(data)), kind)
        never_again_sip(line, kind)
    opens_nothing(net, daemon, len(kinds))


def test_after_sip_comes_something_else(each):
    """From then on nothing is rewritten, and all keeps its place."""
    for kind, data, line in each():
        line.register()
        line.register()
        after = data + REGISTER
        data = line.phone.register()
        line.inside.send(data + after)
        expected = line.reference.out(data) + after
        same_stream(expected, line.outside.read(len(expected)), kind)
        never_again_sip(line, kind)


@pytest.mark.parametrize("way", ["out", "in"])
def test_other_data_in_bulk(net, line, way):
    """A few megabytes each way, as fast as the queue gives it."""
    data = OTHER["tls"] * 5000
    pump([Flow(line.inside, line.outside, data, data),
          Flow(line.outside, line.inside, data, data)], 20)
    assert net.invalid() == 0


def slipstream(inner, mss):
    """A form whose second segment begins with a SIP message."""
    head = b"POST /x HTTP/1.1\r\nHost: sip.example:5060\r\n"
    body = b"p" * (2 * mss) + inner
    for _ in range(3):
        text = head + b"Content-Length: %d\r\n\r\n" % len(body)
        body = b"p" * (mss - len(text)) + inner + b"p" * 200
    return text + body


@pytest.mark.parametrize("inner", [REGISTER, INVITE, REGISTER + INVITE],
                         ids=["register", "invite", "both"])
def test_nat_slipstreaming(net, daemon, line, own, inner):
    """A browser's POST to port 5060 with SIP where a segment begins."""
    mss = line.inside.info().mss
    data = slipstream(inner, mss)
    assert data[mss:].startswith(inner)
    promptly(same, line.inside, line.outside, data)
    sizes = [len(s.payload) for s in tcpwire.segments(
        net.lan, sent=False) if s.payload]
    assert sizes[0] == mss
    opens_nothing(net, daemon)
    # not in answers either
    promptly(same, line.outside, line.inside, data)
    opens_nothing(net, daemon)
    ear = own(Listener(net.phone, SHORT, 3306))
    for port in (3306, 5060, 5061):
        for source in (PROXY, STRANGER):
            with pytest.raises((AssertionError, ConnectionError)):
                connect(net.prov, ("203.0.113.4", port), source, wait_s=0.2)
    ear.nobody(0.1)


def test_a_segment_aligned_piece_of_a_body_is_no_message(net, daemon, line):
    """Within SIP, too: what Content-Length covers is never read as a start."""
    inner = REGISTER.replace(b"Call-ID: s", b"Call-ID: inner")
    text = line.phone.request("MESSAGE", "sip:b@example.com", headers=[
        "Content-Type: text/plain"]).replace(
            b"Content-Length: 0", b"Content-Length: %d" % len(inner))
    line.register()
    for _ in range(3):
        line.inside.send(text)
        line.inside.acknowledged()
        line.inside.send(inner)
        expected = line.reference.out(text + inner)
        assert expected.endswith(inner)
        same_stream(expected, line.outside.read(len(expected)))
    line.register()


BAD_LENGTH = (b"-1", b"99999999999999999999", b"many", b"1 2", b"4294967297",
              b"", b"0x10")


@pytest.mark.parametrize("length", BAD_LENGTH, ids=repr)
def test_a_message_whose_end_is_unknown(line, length):
    line.register()
    data = (line.phone.register().replace(b"Content-Length: 0",
                                          b"Content-Length: " + length)
            + REGISTER)
    promptly(same, line.inside, line.outside, data)
    never_again_sip(line)


def test_two_lengths_that_contradict(line):
    """RFC 3261 18.3 does not say which: nobody can frame it."""
    data = line.phone.register().replace(
        b"Content-Length: 0", b"Content-Length: 0\r\nContent-Length: 9")
    promptly(same, line.inside, line.outside, data + REGISTER)
    never_again_sip(line)


def test_a_header_without_an_end(line):
    """Held for a while, but not for ever, and then passed in one go."""
    line.register()
    data = line.phone.register()[:-4] + b"\r\nX-Endless: " + b"e" * 200000
    promptly(same, line.inside, line.outside, data)
    never_again_sip(line)


@pytest.mark.parametrize("data", [
    b"REGISTER sip:example.com SIP/2.0\r\n\r\n",
    b"SIP/2.0 200 OK\r\n\r\n",
    b"OPTIONS sip:b@example.com SIP/2.0\r\nno colon in it\r\n\r\n",
    b"OPTIONS sip:b@example.com SIP/2.0\r\nX: \0\r\nl: 0\r\n\r\n"],
    ids=["no-headers", "status-only", "no-colon", "nul"])
def test_malformed_sip_passes(line, data):
    line.register()
    promptly(same, line.inside, line.outside, data)
    promptly(same, line.outside, line.inside, data)


def test_a_storm_of_garbage(daemon, net, own):
    """Mutated streams both ways; the daemon survives, each one arrives."""
    net.patient()
    listener = own(Listener(net.prov, PROXY))
    chance = random.Random(4)
    for seed in range(60):
        line = own(TcpLine(net, listener=listener))
        line.register()
        chatter = Chatter(line, seed)
        for source, target, clean in (
                (line.inside, line.outside, chatter.out(6)),
                (line.outside, line.inside, chatter.into(6))):
            data = bytearray(clean)
            for _ in range(chance.randrange(1, 8)):
                at = chance.randrange(len(data))
                data[at:at + chance.randrange(0, 9)] = chance.randbytes(
                    chance.randrange(0, 9))
            source.send(data)
            source.finish()
            target.drain()
            # addresses may have changed, up to a message that is none
            assert abs(target.waiting - len(data)) < 400, (
                seed, target.waiting, len(data))
        line.close()
    assert daemon.alive()


def test_sip_on_other_ports_is_not_ours(net, daemon, own):
    listener = own(Listener(net.prov, PROXY, 5062))
    line = own(TcpLine(net, listener=listener))
    data = line.phone.register()
    promptly(same, line.inside, line.outside, data)


def test_sip_to_the_gateway_itself_is_not_ours(net, daemon, own):
    listener = own(Listener(net.gw, "192.168.1.1", 5060))
    inside = own(connect(net.phone, listener.address, ALICE))
    outside = own(listener.accept())
    for _ in range(3):
        promptly(same, inside, outside, REGISTER)
        promptly(same, outside, inside, REGISTER)


def untouched(net, line):
    """Bytes, sequence numbers, options: all the same on both sides."""
    chatter = Chatter(line)
    line.reference.public[f"{SHORT}:5060"] = "203.0.113.4:5060"
    out, into = chatter.out(200), chatter.into(200)
    took = pump([Flow(line.inside, line.outside, out, out, chatter.random),
                 Flow(line.outside, line.inside, into, into,
                      chatter.random)], 10)
    line.inside.finish()
    line.outside.ends()
    line.outside.finish()
    line.inside.ends()
    time.sleep(0.2)
    for came, left in ((net.lan, net.wan), (net.wan, net.lan)):
        before = [visible(s) for s in tcpwire.segments(came, sent=False)]
        after = [visible(s) for s in tcpwire.segments(left, sent=True)]
        assert len(before) > 50 and before == after
    return took


def visible(segment):
    return (segment.seq, segment.ack, segment.flags, segment.window,
            segment.options, segment.payload)


@pytest.mark.parametrize("mode", ["observe", "bypass"])
def test_other_modes_change_nothing(net, build, own, mode):
    daemon = own(Sipalgd(net.gw, build, {"gateway.mode": mode,
                                         "log.level": "info"}))
    daemon.apply_rules()
    daemon.start()
    line = own(TcpLine(net))
    untouched(net, line)
    assert not any(tcp_entries(net.gw)[0].liberal)
    if mode == "observe":
        assert daemon.stats()["observed"] > 100
        assert daemon.status()["media_mappings"] == 0 or (
            not net.conntrack.udp())


@pytest.mark.config(bypass__phones="10.1.1.7/32")
def test_bypassed_phones(net, daemon, line):
    untouched(net, line)


@pytest.mark.config(bypass__peers="203.0.113.10/32")
def test_bypassed_peers(net, daemon, line):
    untouched(net, line)


@pytest.mark.config(bypass__user_agents="Clever*")
def test_bypassed_user_agents(line):
    for agent in ("Clever Phone 1.0", "Clever Phone 1.0"):
        data = line.phone.register(headers=[f"User-Agent: {agent}"])
        promptly(same, line.inside, line.outside, data)


def test_a_connection_into_the_vpn_is_left_alone(net, daemon, own):
    """It leaves by no WAN interface."""
    office = room(net, "office", OFFICE, "vpn0", "10.8.0.1")
    allow(net, ("lan0", "vpn0"), ("vpn0", "lan0"))
    listener = own(Listener(office, OFFICE, 5060))
    inside = own(connect(net.phone, listener.address, SHORT))
    outside = own(listener.accept())
    assert outside.peer == inside.local
    for _ in range(3):
        promptly(same, inside, outside, REGISTER + INVITE)
        promptly(same, outside, inside, REGISTER + INVITE)


def test_delay_of_other_data_is_small(line):
    """A thousand round trips of ten bytes, in order."""
    ping = b"\x17\x03\x03\0\x05hello"
    same(line.inside, line.outside, ping)
    took = []
    for _ in range(1000):
        began = time.monotonic()
        same(line.inside, line.outside, ping)
        same(line.outside, line.inside, ping)
        took.append(time.monotonic() - began)
    assert sorted(took)[500] < 0.01, f"median {sorted(took)[500]}"
    assert sum(t > PROMPT_S for t in took) <= 2
