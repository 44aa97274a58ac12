# SPDX-License-Identifier: GPL-2.0-or-later
"""Streams over bad lines: segments lost, doubled, out of order.

A gateway that holds bytes and acknowledges them has to send them again where
they are lost behind it, and must not be confused by what comes twice or early
before it. lib.tcpnet.Jumble makes it so, with a seed: the same dice each time
(what they meet is a matter of time).
"""

import contextlib
import time

import pytest

from lib import sip
from lib.ctnetlink import tcp as tcp_entries
from lib.daemon import FAST
from lib.gateway import PROXY, PUBLIC
from lib.tcp import (MEDIA_PORTS, Chatter, Flow, Listener, TcpLine, padded,
                     pump)
from lib.tcpnet import LONG, SHORT, Jumble, RoughNet, opened
from lib.tcpref import same_stream

MESSAGES = 10000
LIMIT_S = 60  # for MESSAGES each way
BAD = {"loss": 100, "double": 100, "hold": 100, "hold_ms": 5}
WORSE = {"loss": 200, "double": 200, "hold": 200, "hold_ms": 10}
pytestmark = pytest.mark.config(**FAST)
where = pytest.mark.parametrize("where", ["lanr", "wanr"])


@pytest.fixture
def net(request):
    yield from opened(RoughNet, request)


@pytest.fixture
def make_line(net, daemon, own):
    net.impatient()
    return lambda *args, **kwargs: own(TcpLine(net, *args, **kwargs)).learn()


@pytest.fixture
def jumble(net, build, own):
    """jumble(router, ways, ...): Jumbles at work; they have to have work."""
    made = []

    def make(router, ways, **how):
        for way in ways:
            made.append((own(Jumble(build, getattr(net, router), way, **how)),
                         how))

    yield make
    for worker, how in made:
        worker.stop()
        for key, done in (("loss", worker.lost), ("double", worker.doubled),
                          ("hold", worker.held)):
            # by far not as many as ordered: the dice are not right
            expected = worker.seen * how.get(key, 0) / 1000
            assert done >= expected / 3 or expected < 10, vars(worker)


def both(line, count, seed=1):
    """Flows of so many messages each way."""
    chatter = Chatter(line, seed)
    out, into = chatter.out(count), chatter.into(count)
    return [Flow(line.inside, line.outside, out, line.reference.out(out),
                 chatter.random),
            Flow(line.outside, line.inside, into, line.reference.into(into),
                 chatter.random)]


@pytest.mark.parametrize("where, ways", [
    ("lanr", ("down",)), ("wanr", ("up",)), ("lanr", ("up", "down")),
    ("wanr", ("up", "down"))],
    ids=["lan-down", "wan-up", "lan-both", "wan-both"])
def test_ten_thousand_messages_each_way(net, make_line, jumble, where, ways):
    line = make_line()
    jumble(where, ways, **BAD)
    pump(both(line, MESSAGES), LIMIT_S)
    assert net.invalid() == 0
    assert len(tcp_entries(net.gw)) == 1


def test_both_sides_bad(net, make_line, jumble):
    line = make_line(LONG)
    for router in ("lanr", "wanr"):
        jumble(router, ("up", "down"), **BAD)
    pump(both(line, MESSAGES // 5), LIMIT_S)


@where
@pytest.mark.parametrize("how", [
    {"loss": 300}, {"double": 500}, {"hold": 500, "hold_ms": 3}, WORSE,
    {"double": 1000}, {"hold": 1000, "hold_ms": 2}],
    ids=["loss", "double", "hold", "all", "always-double", "always-hold"])
def test_one_kind_of_bad(make_line, jumble, where, how):
    line = make_line()
    jumble(where, ("up", "down"), **how)
    pump(both(line, 100), LIMIT_S)


@pytest.mark.parametrize("where, sysctl", zip(2 * ("lanr", "wanr", "lanr"), [
    {"tcp_timestamps": 0}, {"tcp_sack": 0}, {"tcp_window_scaling": 0},
    {"tcp_ecn": 1}, {"tcp_timestamps": 0, "tcp_sack": 0}]))
def test_other_options(net, daemon, own, jumble, where, sysctl):
    """Phones have all kinds of TCP."""
    net.impatient()
    for namespace in (net.phone, net.prov):
        namespace.sysctl(**sysctl)
    line = own(TcpLine(net)).learn()
    jumble(where, ("up", "down"), **BAD)
    pump(both(line, 300), LIMIT_S)


@pytest.mark.parametrize("link", ["lan", "wan"])
@pytest.mark.parametrize("host", [SHORT, LONG], ids=["longer", "shorter"])
def test_a_narrow_link(net, make_line, link, host):
    """Beside the gateway, and neither end knows: RFC 1191.

    What an ICMP message quotes is the gateway's; it must help all the same.
    """
    line = make_line(host)
    if link == "wan":
        net.gw.ip("link set wan0 mtu 1400")
        net.wanr.ip("link set near mtu 1400")
    else:
        net.gw.ip("link set lan0 mtu 1400")
        net.lanr.ip("link set near mtu 1400")
    for size in (1000, 1350, 1390, 3000, 20000):
        data = padded(line.phone, size) * 5
        into = padded(line.server, size, "sip:alice@%s:%d" % line.contact) * 5
        pump([Flow(line.inside, line.outside, data,
                   line.reference.out(data))], 5)
        pump([Flow(line.outside, line.inside, into,
                   line.reference.into(into))], 5)


@where
@pytest.mark.parametrize("seed", range(3))
def test_small_segments(make_line, jumble, where, seed):
    """Bytes that are held, or no longer fit, are lost like others."""
    line = make_line((SHORT, LONG)[seed % 2])
    jumble(where, ("up", "down"), seed=seed, **BAD)
    chatter = Chatter(line, seed)
    for size in (7, 60, 400):
        out, into = chatter.out(4), chatter.into(4)
        for source, target, data, expected in (
                (line.inside, line.outside, out, line.reference.out(out)),
                (line.outside, line.inside, into, line.reference.into(into))):
            source.dribble(data, size)
            same_stream(expected, target.read(len(expected), 30))


@where
def test_request_and_answer_in_turn(make_line, jumble, where):
    """What is lost here is the last of a flight: only timers help."""
    line = make_line()
    jumble(where, ("up", "down"), **BAD)
    for seed in range(40):
        chatter = Chatter(line, seed)
        out, into = chatter.out(1), chatter.into(1)
        pump([Flow(line.inside, line.outside, out, line.reference.out(out))],
             20)
        pump([Flow(line.outside, line.inside, into,
                   line.reference.into(into))], 20)


@where
def test_long_messages(make_line, jumble, where):
    line = make_line()
    jumble(where, ("up", "down"), **BAD)
    for size in (3000, 20000, 60000):
        data = padded(line.phone, size)
        into = padded(line.server, size,
                      "sip:alice@%s:%d" % line.contact)
        pump([Flow(line.inside, line.outside, data,
                   line.reference.out(data)),
              Flow(line.outside, line.inside, into,
                   line.reference.into(into))], 30)


@where
def test_other_data_over_a_bad_line(net, daemon, own, jumble, where):
    """A transparent connection is repaired by its own two ends."""
    net.impatient()
    line = own(TcpLine(net))
    jumble(where, ("up", "down"), **BAD)
    data = b"\x16\x03\x01" + b"".join(
        line.phone.register() for _ in range(1000))
    pump([Flow(line.inside, line.outside, data, data),
          Flow(line.outside, line.inside, data, data)], LIMIT_S)


@where
def test_from_sip_to_other_data_over_a_bad_line(make_line, jumble, where):
    """Transparent from the middle on: what was changed stays repaired."""
    line = make_line()
    jumble(where, ("up", "down"), **BAD)
    flows = both(line, 200)
    rest = b"\x16\x03\x01" + Chatter(line, 2).out(200)
    for flow in flows[:1]:
        flow.data, flow.expected = flow.data + rest, flow.expected + rest
    flows[1].data = flows[1].expected = b"\r\n\r\n"
    pump(flows, LIMIT_S)
    pump([Flow(line.outside, line.inside, rest, rest)], LIMIT_S)


@where
def test_beginning_and_end_over_a_bad_line(net, daemon, own, build, where):
    """SYN, FIN and all between; connections come and go."""
    net.impatient()
    for way in ("up", "down"):
        own(Jumble(build, getattr(net, where), way, **BAD))
    listener = own(Listener(net.prov, PROXY))
    for number in range(6):
        line = own(TcpLine(net, listener=listener, port=40000 + number,
                           wait_s=20))
        line.register()
        data = b"".join(line.phone.register() for _ in range(20))
        line.inside.send(data)
        line.inside.finish()
        expected = line.reference.out(data)
        same_stream(expected, line.outside.read(len(expected), 20))
        line.outside.ends(20)
        back = line.server.request("OPTIONS", "sip:alice@%s:%d"
                                   % line.contact)
        line.outside.send(back)
        line.outside.finish()
        expected = line.reference.into(back)
        same_stream(expected, line.inside.read(len(expected), 20))
        line.inside.ends(20)


@where
def test_a_hole_that_lasts(make_line, jumble, net, build, own, where):
    """Nothing passes for a second: then it goes on by itself."""
    line = make_line()
    for way in ("up", "down"):
        hole = own(Jumble(build, getattr(net, where), way, loss=1000))
        flows = both(line, 30)
        for flow in flows:
            flow.slices = None
        with contextlib.suppress(AssertionError):
            pump(flows, 1)
        assert not all(f.done for f in flows)
        hole.stop()
        pump(flows, 10)


@where
def test_a_call_over_a_bad_line(make_line, jumble, where):
    """The SDP of each is that of the call, not of another segment."""
    line = make_line()
    jumble(where, ("up", "down"), **WORSE)
    for number in range(20):
        invite = line.phone.request(
            "INVITE", "sip:echo@203.0.113.10",
            body=sip.sdp(SHORT, MEDIA_PORTS[number % 2]))
        expected = line.reference.out(invite)
        pump([Flow(line.inside, line.outside, invite, expected)], 30)
        assert PUBLIC.encode() in expected


def test_held_bytes_are_sent_again_soon(net, make_line, jumble, build, own):
    """What the gateway has acknowledged is its own to repeat: in 1.5 s."""
    line = make_line()
    data = padded(line.phone, 1390)  # grows: a segment and a rest
    expected = line.reference.out(data)
    for _ in range(3):
        hole = own(Jumble(build, net.wanr, "up", loss=1000))
        line.inside.send(data[:700])
        line.inside.acknowledged()
        line.inside.send(data[700:])
        time.sleep(0.1)
        hole.stop()
        same_stream(expected, line.outside.read(len(expected), 1.5))


@where
def test_others_are_not_held_up(net, make_line, build, own, where):
    """One connection is in a hole; another one in the same queue is not."""
    bad = make_line()
    good = own(TcpLine(net, LONG, listener=bad.listener, user="bob")).learn()
    hole = own(Jumble(build, getattr(net, where), "up", loss=1000,
                      match=("--sport", bad.inside.local[1])))
    stuck, running = both(bad, 50), both(good, 200)
    for flow in stuck:
        flow.slices = None
        flow.source.socket.setblocking(False)
        flow.write()
    pump(running, 2)
    assert hole.stop().seen > 0
    pump(stuck, 10)
