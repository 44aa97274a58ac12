# SPDX-License-Identifier: GPL-2.0-or-later
"""However a stream of SIP is cut into segments, it arrives rewritten.

What has to arrive is computed by lib.tcpref. Nothing here is lost on the way,
so nothing may be sent twice: whoever waits for a timer is seen by that.
"""

import random

import pytest

from lib import sip, tcpwire
from lib.daemon import FAST
from lib.gateway import PUBLIC
from lib.tcp import (MEDIA_PORTS, Chatter, Flow, TcpLine, padded,
                     promptly, pump)
from lib.tcpnet import LONG, SHORT, TcpNet, opened
from lib.tcpref import same_stream

NOISE = 2  # timers that a busy machine may let run out in a test of hundreds
SIZES = (*range(1, 65), 88, 100, 127, 128, 129, 255, 256, 257, 300, 500, 511,
         512, 513, 535, 536, 537, 700, 1000, 1023, 1024, 1025, 1300, 1384,
         1396, 1447, 1448)
both_lengths = pytest.mark.parametrize(
    "host", [SHORT, LONG], indirect=True, ids=["longer", "shorter"])
both_ways = pytest.mark.parametrize("way", ["out", "in"])
pytestmark = pytest.mark.config(**FAST)


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def host(request):
    return getattr(request, "param", SHORT)


@pytest.fixture
def line(net, daemon, own, host):
    """A registered phone; checks that no timer ran out on the way."""
    net.patient()
    line = own(TcpLine(net, host)).learn()
    counters = [tcpwire.Counters(n) for n in (net.phone, net.prov)]
    yield line
    for counter in counters:
        moved = counter.moved()
        assert moved.get("RetransSegs", 0) <= NOISE, moved
        assert not moved.get("InErrs"), moved
    for sniffer in (net.lan, net.wan):
        assert tcpwire.repeated(sniffer, sent=True) <= NOISE * 1448
    assert net.invalid() == 0


def messages(line):
    """{name: (sender, receiver, what is sent, what has to arrive)}"""
    phone, server, ref = line.phone, line.server, line.reference
    sdp = sip.sdp(phone.host, *MEDIA_PORTS)
    uri = "sip:alice@%s:%d" % line.contact
    register = phone.register()
    call = server.request("INVITE", uri, body=sip.sdp(server.host, 8000))
    out = {"register": register,
           "invite": phone.request("INVITE", "sip:b@example.com", body=sdp),
           "answer": phone.respond(call, 200, tag="a", body=sdp)}
    into = {"registered": server.respond(
                ref.out(register), 200, tag="r", source=line.outside.peer),
            "call": call}
    return {**{name: (line.inside, line.outside, data, ref.out(data))
               for name, data in out.items()},
            **{name: (line.outside, line.inside, data, ref.into(data))
               for name, data in into.items()}}


def cut(source, target, data, expected, at, wait):
    """data in two segments; with wait the second follows the first's ACK."""
    source.send(data[:at])
    if wait:
        source.acknowledged()
    source.send(data[at:])
    same_stream(expected, target.read(len(expected)), f"cut at {at}")


@pytest.mark.parametrize("name", ["register", "invite", "answer",
                                  "registered", "call"])
@both_lengths
def test_cut_at_every_byte(line, name):
    source, target, data, expected = messages(line)[name]
    assert data != expected
    for at in range(1, len(data)):
        promptly(cut, source, target, data, expected, at, False)


@pytest.mark.parametrize("name", ["invite", "registered"])
def test_cut_at_every_byte_and_acknowledged_there(line, name):
    """What is held back is acknowledged at once: its sender may wait."""
    source, target, data, expected = messages(line)[name]
    for at in range(1, len(data)):
        promptly(cut, source, target, data, expected, at, True)


@both_ways
def test_every_size_of_segments(line, way):
    """Two hundred thousand bytes, a byte a segment and more."""
    names = {"out": ("register", "invite", "answer"),
             "in": ("registered", "call", "registered")}[way]
    chosen = [messages(line)[name] for name in names]
    source, target = chosen[0][:2]
    data = b"\r\n\r\n".join(entry[2] for entry in chosen)
    expected = b"\r\n\r\n".join(entry[3] for entry in chosen)
    for size in SIZES:
        source.dribble(data, size)
        same_stream(expected, target.read(len(expected)), f"size {size}")


def test_segments_that_grow_shrink_and_overlap_messages(line):
    """Random cuts, mostly small, in both directions at the same time."""
    for seed in range(10):
        chatter = Chatter(line, seed)
        out, into = chatter.out(60), chatter.into(60)
        for source, target, data, expected in (
                (line.inside, line.outside, out, line.reference.out(out)),
                (line.outside, line.inside, into, line.reference.into(into))):
            chance = random.Random(seed)
            at = 0
            while at < len(data):
                size = min(chance.choice((1, 2, 5, 30, 200, 700, 1384, 4000)),
                           len(data) - at)
                source.wait_for_window()
                source.send(data[at:at + size])
                at += size
            same_stream(expected, target.read(len(expected)), f"seed {seed}")


@both_ways
def test_twenty_messages_in_one_write(line, way):
    data, expected = b"", b""
    for _ in range(4):
        for name, entry in messages(line).items():
            if (name in ("registered", "call")) == (way == "in"):
                source, target = entry[:2]
                data, expected = data + entry[2], expected + entry[3]
    data, expected = 2 * data, 2 * expected  # 24, or 16

    def write():
        source.send(data)
        same_stream(expected, target.read(len(expected)))

    promptly(write)


def sized(line, way, size, share=0.0):
    """A message of exactly that size, and what has to arrive."""
    if way == "out":
        data = padded(line.phone, size, body_share=share)
        return line.inside, line.outside, data, line.reference.out(data)
    data = padded(line.server, size, "sip:alice@%s:%d" % line.contact, share)
    return line.outside, line.inside, data, line.reference.into(data)


def whole(source, target, data, expected):
    source.send(data)
    same_stream(expected, target.read(len(expected)), f"{len(data)} bytes")


@both_ways
@pytest.mark.parametrize("share", [0, 0.9], ids=["header", "body"])
def test_messages_of_all_sizes(line, way, share):
    for size in (500, 1000, 1300, 1500, 2000, 2900, 4000, 4096, 8000, 8192,
                 16000, 16384, 32768, 50000, 60000):
        promptly(whole, *sized(line, way, size, share))


@both_ways
@both_lengths
def test_messages_around_the_size_of_segments(line, way):
    source = line.inside if way == "out" else line.outside
    mss = source.info().mss
    for many in (1, 2, 3):
        for size in range(many * mss - 12, many * mss + 13):
            promptly(whole, *sized(line, way, size))
    # and where what grew no longer fits
    for size in range(1448 - 40, 1460 + 1):
        promptly(whole, *sized(line, way, size))


@both_ways
def test_messages_around_the_size_of_segments_back_to_back(line, way):
    """The rest of each is in the way of the next."""
    source = line.inside if way == "out" else line.outside
    mss = source.info().mss
    data, expected = b"", b""
    for size in (mss, mss - 1, mss + 1, mss - 8, mss, mss, mss, 2 * mss,
                 mss - 3, mss + 7) * 5:
        source, target, one, other = sized(line, way, size)
        data, expected = data + one, expected + other
    whole(source, target, data, expected)
    source.dribble(data, mss)
    same_stream(expected, target.read(len(expected)))


def test_the_longest_message_and_a_longer_one(line):
    """sip.max_message: beyond it a message passes as it is, the next not."""
    for size, changed in ((65535, True), (65536, False), (66000, False),
                          (150000, False), (65535, True)):
        source, target, data, expected = sized(line, "out", size, 0.9)
        after = line.phone.register()
        expected = (expected if changed else data) + line.reference.out(after)
        whole(source, target, data + after, expected)


@pytest.mark.config(sip__max_message="2000")
def test_a_longer_one_in_small_segments(line):
    source, target, data, _ = sized(line, "out", 2001, 0.7)
    after = line.phone.register()
    expected = data + line.reference.out(after)
    for size in (1, 100, 1999, 2000):
        source.dribble(data + after, size)
        same_stream(expected, target.read(len(expected)), f"size {size}")


def test_both_ways_at_the_same_time(line):
    chatter = Chatter(line)
    out, into = chatter.out(3000), chatter.into(3000)
    assert pump([
        Flow(line.inside, line.outside, out, line.reference.out(out),
             chatter.random),
        Flow(line.outside, line.inside, into, line.reference.into(into),
             chatter.random)], 20) < 20
    assert line.outside.info().retransmitted <= NOISE


def test_request_and_answer_in_turn(line):
    """A thousand times across, each prompt: half of them held in between."""
    chatter = Chatter(line)
    for _ in range(250):
        out, into = chatter.out(1), chatter.into(1)
        promptly(line.streams_out, out)
        promptly(line.streams_in, into)
        promptly(cut, line.inside, line.outside, out,
                 line.reference.out(out), len(out) // 2, False)
        promptly(cut, line.outside, line.inside, into,
                 line.reference.into(into), len(into) // 2, False)


@pytest.mark.parametrize("ends", [b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 40])
def test_line_ends_between_messages_pass_at_once(line, ends):
    """RFC 5626 4.4.1: ping and pong, also while no message is under way."""
    def ping():
        line.inside.send(ends)
        assert line.outside.read(len(ends)) == ends
        line.outside.send(ends[:2])
        assert line.inside.read(len(ends[:2])) == ends[:2]

    for _ in range(3):
        promptly(ping)
        line.register()
    for at in range(1, 20):
        data = ends + line.phone.register() + ends + line.phone.register()
        promptly(cut, line.inside, line.outside, data,
                 line.reference.out(data), at, False)


def test_a_message_without_content_length(line):
    """RFC 3261 20.14 wants one over TCP; without, there is no body."""
    data = line.phone.register().replace(b"Content-Length: 0\r\n", b"")
    data += line.phone.register() + b"\r\n" + data
    for at in range(1, len(data), 7):
        promptly(cut, line.inside, line.outside, data,
                 line.reference.out(data), at, False)


def test_compact_length_spaces_and_zeros(line):
    body = sip.sdp(line.phone.host, *MEDIA_PORTS)
    invite = line.phone.request("INVITE", "sip:b@example.com", body=body)
    data = b"".join(invite.replace(
        b"Content-Length: %d" % len(body), how % len(body))
        for how in (b"l:%d", b"L : %d ", b"CONTENT-LENGTH\t:\t %d"))
    data += line.phone.register()
    expected = line.reference.out(data)
    assert expected.count(PUBLIC.encode()) == 3 * 4 + 2
    for at in range(1, len(data), 5):
        promptly(cut, line.inside, line.outside, data, expected, at, False)


@both_ways
def test_segments_that_devices_put_together(net, line, way):
    """GSO and GRO: the kernel cuts them for the queue."""
    net.offload()
    biggest = 0
    for size in (3000, 20000, 60000):
        for _ in range(5):
            source, target, data, expected = sized(line, way, size)
            promptly(whole, source, target, data * 3, expected * 3)
    for segment in tcpwire.segments(net.lan if way == "out" else net.wan,
                                    sent=False):
        biggest = max(biggest, len(segment.payload))
    assert biggest > 3000
    chatter = Chatter(line)
    out, into = chatter.out(1000), chatter.into(1000)
    pump([Flow(line.inside, line.outside, out, line.reference.out(out)),
          Flow(line.outside, line.inside, into, line.reference.into(into))],
         20)


@both_ways
def test_the_sum_of_bytes(line, net, way):
    """What left the gateway is as long as the reference says, to the byte."""
    source, target = ((line.inside, line.outside) if way == "out"
                      else (line.outside, line.inside))
    chatter = Chatter(line, 7)
    data = chatter.out(500) if way == "out" else chatter.into(500)
    expected = (line.reference.out(data) if way == "out"
                else line.reference.into(data))
    assert len(data) != len(expected)
    net.lan.clear(), net.wan.clear()
    whole(source, target, data, expected)
    source.acknowledged(1)
    before, after = ((net.lan, net.wan) if way == "out"
                     else (net.wan, net.lan))
    assert payload(before, sent=False) == len(data)
    assert payload(after, sent=True) == len(expected)


def payload(sniffer, sent):
    return sum(len(s.payload) for s in tcpwire.segments(sniffer, sent=sent))


def test_nothing_is_added_where_segments_hold_whole_messages(line, net):
    """A segment a message: as many come out as went in, each way."""
    net.lan.clear(), net.wan.clear()
    for _ in range(50):
        line.register()
    for sniffer, other in ((net.lan, net.wan), (net.wan, net.lan)):
        went_in = [s for s in tcpwire.segments(sniffer, sent=False)]
        came_out = [s for s in tcpwire.segments(other, sent=True)]
        assert len(went_in) == len(came_out)
        assert (sum(bool(s.payload) for s in went_in)
                == sum(bool(s.payload) for s in came_out) == 50)


def test_mss_leaves_room_to_grow(net, line):
    """SYN and SYN-ACK: the gateway's clamp, and never above what came."""
    for sniffer, other in ((net.lan, net.wan), (net.wan, net.lan)):
        came, = [s for s in tcpwire.segments(sniffer, sent=False) if s.mss]
        left, = [s for s in tcpwire.segments(other, sent=True) if s.mss]
        assert came.mss == 1460
        assert 1300 <= left.mss < came.mss, (came.mss, left.mss)
        assert len(left.options) == len(came.options)
