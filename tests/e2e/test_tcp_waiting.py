# SPDX-License-Identifier: GPL-2.0-or-later
"""Senders that wait for acknowledgements, and receivers without room."""

import contextlib
import socket
import time

import pytest

from lib import sip, tcpwire
from lib.daemon import FAST
from lib.gateway import PROXY
from lib.tcp import (MEDIA_PORTS, PROMPT_S, TRIES, Chatter, Flow, Listener,
                     TcpLine, padded, promptly, pump)
from lib.tcpnet import SHORT, TcpNet, opened
from lib.tcpref import same_stream

BOUND = 1 << 20  # what a gateway may keep for a receiver that does not read
FULL_S = 0.5  # nothing could be written for so long: no room anywhere
pytestmark = pytest.mark.config(**FAST)
both_ways = pytest.mark.parametrize("way", ["out", "in"])


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def make_line(net, daemon, own):
    """make_line(rcvbuf): a registered phone; of both ends' sockets."""
    net.patient()

    def make(rcvbuf=None):
        listener = own(Listener(net.prov, PROXY, buffer=rcvbuf))
        options = [(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)]
        return own(TcpLine(net, listener=listener,
                           options=options if rcvbuf else ())).learn()

    return make


def ends(line, way):
    return ((line.inside, line.outside, line.reference.out)
            if way == "out" else
            (line.outside, line.inside, line.reference.into))


def message(line, way):
    if way == "out":
        return line.phone.request(
            "INVITE", "sip:b@example.com",
            body=sip.sdp(SHORT, *MEDIA_PORTS))
    return line.server.request(
        "INVITE", "sip:alice@%s:%d" % line.contact,
        body=sip.sdp(line.server.host, 8000))


def long_message(line, way, size):
    if way == "out":
        return padded(line.phone, size)
    return padded(line.server, size, "sip:alice@%s:%d" % line.contact)


@both_ways
@pytest.mark.parametrize("pieces", [2, 3])
def test_nagle(make_line, way, pieces):
    """RFC 1122 4.2.3.4: the second small write waits for the first's ACK."""
    line = make_line()
    source, target, mapped = ends(line, way)
    source.set(socket.TCP_NODELAY, 0)
    data = message(line, way)
    expected = mapped(data)

    def write(*cuts):
        for begin, end in zip((0, *cuts), (*cuts, len(data))):
            source.send(data[begin:end])
        same_stream(expected, target.read(len(expected)), f"cut at {cuts}")

    for at in range(1, len(data) - 2, 9):
        promptly(write, *((at,) if pieces == 2 else (
            at, at + (len(data) - at) // 2)))


@both_ways
def test_corked_and_late(make_line, way):
    """A message of which the last byte comes a second later."""
    line = make_line()
    source, target, mapped = ends(line, way)
    data = message(line, way)
    source.send(data[:-1])
    time.sleep(1)
    assert source.info().unacked == 0, "nobody acknowledges what is held"
    source.send(data[-1:])
    expected = mapped(data)
    same_stream(expected, target.read(len(expected), PROMPT_S))


@both_ways
@pytest.mark.parametrize("size", [3000, 60000])
def test_a_small_receive_buffer(net, make_line, way, size):
    line = make_line(rcvbuf=4096)
    source, target, mapped = ends(line, way)
    data = long_message(line, way, size) + message(line, way)
    counters = tcpwire.Counters(net.phone if way == "out" else net.prov)
    for _ in range(2):
        pump([Flow(source, target, data, mapped(data))], 10)
    assert not counters.moved().get("TCPTimeouts")


@both_ways
def test_a_small_send_buffer(make_line, way):
    """The sender has room for less than the message: it needs ACKs."""
    line = make_line()
    source, target, mapped = ends(line, way)
    source.set(socket.SO_SNDBUF, 4608, socket.SOL_SOCKET)
    for size in (5000, 20000, 60000):
        data = long_message(line, way, size)
        expected = mapped(data)
        promptly(lambda *what: pump([Flow(*what)], 10), source, target, data,
                 expected)


def fill(source, data):
    """Write until nothing goes any more; how many bytes went."""
    source.socket.setblocking(False)
    sent, last = 0, time.monotonic()
    while time.monotonic() - last < FULL_S and sent < len(data):
        try:
            sent += source.socket.send(data[sent:sent + 65536])
            last = time.monotonic()
        except BlockingIOError:
            time.sleep(0.005)
    return sent


@both_ways
def test_a_receiver_that_does_not_read(make_line, way):
    """Its sender is stopped, and all that was sent is there afterwards."""
    line = make_line(rcvbuf=65536)
    source, target, mapped = ends(line, way)
    source.set(socket.SO_SNDBUF, 65536, socket.SOL_SOCKET)
    chatter = Chatter(line)
    one = chatter.out(100) if way == "out" else chatter.into(100)
    sent = fill(source, one * (2 * BOUND // len(one)))
    assert sent < BOUND, f"{sent} bytes written and nobody reads"
    many = sent // len(one) + 2
    flow = Flow(source, target, one * many, mapped(one) * many)
    flow.sent = sent
    pump([flow], 20)


@both_ways
def test_a_closed_window_opens(make_line, way):
    """When the receiver reads again all goes on, without any timer."""
    line = make_line(rcvbuf=8192)
    source, target, mapped = ends(line, way)
    source.set(socket.SO_SNDBUF, 16384, socket.SOL_SOCKET)
    data = b"".join(message(line, way) for _ in range(3000))
    expected, waits = mapped(data), []
    for _ in range(TRIES):
        flow = Flow(source, target, data, expected)
        flow.sent = fill(source, data)
        assert flow.sent < len(data)
        waits.append(longest_wait(flow))
        # Beyond this, probes (200, 400, 800 ms) were the way on
        if waits[-1] < PROMPT_S:
            return
    raise AssertionError(f"stood still for {waits} s")


def longest_wait(flow):
    """Run it; the longest time in which nothing arrived."""
    longest, last, arrived = 0.0, time.monotonic(), 0
    flow.target.socket.setblocking(False)
    while not flow.done:
        for action in (flow.read, flow.write):
            with contextlib.suppress(BlockingIOError):
                action()
        now = time.monotonic()
        longest = max(longest, now - last)
        assert now - last < 10, str(flow)
        if flow.arrived > arrived:
            last, arrived = now, flow.arrived
    return longest


@both_ways
def test_a_held_message_and_a_closed_window(make_line, way):
    """The receiver is full while half a message is held."""
    line = make_line(rcvbuf=4096)
    source, target, mapped = ends(line, way)
    one = message(line, way)
    data = one * 40
    source.send(data[:-len(one) // 2])
    time.sleep(0.6)
    source.send(data[-len(one) // 2:])
    expected = mapped(data)
    same_stream(expected, target.read(len(expected)))
