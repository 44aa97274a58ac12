# SPDX-License-Identifier: GPL-2.0-or-later
"""A queue that is full, because the daemon does not come to its work.

The kernel counts the packets that wait for a verdict, also those in the
daemon's socket. With a changed connection one too many is dropped, since its
numbers would be wrong; without, it passes unread. docs/decisions/009.
"""

import contextlib
import time

import pytest

from lib.daemon import FAST
from lib.gateway import ALICE, BOB, PROXY
from lib.tcp import Chatter, Flow, Listener, TcpLine, promptly, pump
from lib.tcpnet import LONG, SHORT, TcpNet, opened
from lib.tcpwire import segments

LENGTH = 8
MESSAGES = 300
STOPPED_S = 5  # for what has to happen while the daemon is stopped
# Both ends wait longer after each repeat; they have had a second to do so.
# What is dropped later, when bursts meet a short queue, waits 200 ms or more
LIMIT_S = 30
pytestmark = pytest.mark.config(**FAST, queue__max_length=LENGTH)


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


def in_queue(net):
    """(packets that wait, packets dropped since there was no room)"""
    row, = net.gw.read("netfilter/nfnetlink_queue").splitlines()
    return int(row.split()[2]), int(row.split()[5])


def wait_for(condition, what):
    end = time.monotonic() + STOPPED_S
    while not condition():
        assert time.monotonic() < end, f"not within {STOPPED_S} s: {what}"
        time.sleep(0.01)


def both(line, count=MESSAGES):
    """Flows of so many messages each way, and what has to come of them."""
    chatter = Chatter(line)
    out, into = chatter.out(count), chatter.into(count)
    return [Flow(line.inside, line.outside, out, line.reference.out(out)),
            Flow(line.outside, line.inside, into, line.reference.into(into))]


def write(flows):
    """As much as the sockets take now; nobody reads."""
    for flow in flows:
        flow.source.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while flow.sent < len(flow.data):
                flow.write()


def data_sent(sniffer):
    return [s for s in segments(sniffer, sent=True) if s.payload]


@pytest.mark.parametrize("host", [SHORT, LONG], ids=["longer", "shorter"])
def test_with_a_changed_connection_it_drops(daemon, net, own, host):
    """Nothing passes unread, and nothing is missing when it goes on."""
    line = own(TcpLine(net, host)).learn()
    for _ in range(3):
        line.register()
    flows = both(line)
    for sniffer in (net.lan, net.wan):
        sniffer.clear()
    with daemon.asleep():
        write(flows)
        wait_for(lambda: in_queue(net)[1] > 2 * LENGTH, "a full queue")
        assert in_queue(net)[0] == LENGTH
        assert not data_sent(net.lan) and not data_sent(net.wan)
    pump(flows, LIMIT_S)
    assert daemon.stats()["tcp_resets"] == 0
    assert net.invalid() == 0
    for _ in range(3):
        line.register()


def test_again_and_again(daemon, net, own):
    """Stopped wherever in a stream it happens to be, with two connections."""
    line = own(TcpLine(net)).learn()
    other = own(TcpLine(net, LONG, listener=line.listener, user="bob")).learn()
    flows = both(line, 600) + both(other, 600)
    for _ in range(5):
        with contextlib.suppress(AssertionError):
            pump(flows, 0.02)
        with daemon.asleep():
            write(flows)
            # Later on what was lost leaves them too few to fill it
            wait_for(lambda: in_queue(net)[0] or all(f.done for f in flows),
                     "packets that wait")
    assert in_queue(net)[1] > 0
    pump(flows, LIMIT_S)
    assert daemon.stats()["tcp_resets"] == 0


def test_other_data_beside_a_changed_connection(daemon, net, own):
    """What is dropped of it its own two ends repeat."""
    line = own(TcpLine(net)).learn()
    other = own(TcpLine(net, LONG, listener=line.listener))
    data = b"\x16\x03\x01" + bytes(range(256)) * 400
    flows = both(line) + [Flow(other.inside, other.outside, data, data),
                          Flow(other.outside, other.inside, data, data)]
    with daemon.asleep():
        write(flows)
        wait_for(lambda: in_queue(net)[1] > 2 * LENGTH, "a full queue")
    pump(flows, LIMIT_S)


def fill(net, phone, server):
    """So many REGISTERs over UDP that no packet more has room."""
    sent = [phone.register() for _ in range(LENGTH)]
    for data in sent:
        phone.send(data, server.address)
    wait_for(lambda: in_queue(net)[0] == LENGTH, "a full queue")
    return sent


def test_without_one_udp_passes_unread(daemon, net, phone, server):
    """Better as it is than not at all; what had room is rewritten, later."""
    alice, proxy = phone(ALICE), server()
    with daemon.asleep():
        fill(net, alice, proxy)
        for _ in range(5):
            data = alice.register()
            alice.send(data, proxy.address)
            assert proxy.recv()[0] == data
    for _ in range(LENGTH):
        assert ALICE.encode() not in proxy.recv()[0]
    assert in_queue(net) == (0, 0)


def test_without_one_tcp_passes_unread(daemon, net, own, phone, server):
    """Connections that are there, and new ones, at once: nothing is lost."""
    ear = own(Listener(net.prov, PROXY))
    data = b"\x16\x03\x01" + bytes(range(256)) * 400
    line = own(TcpLine(net, listener=ear))
    flows = [Flow(line.inside, line.outside, data, data),
             Flow(line.outside, line.inside, data, data)]
    pump(flows, LIMIT_S)
    # Until its first bytes said that it is no SIP
    dropped = in_queue(net)[1]

    def more():
        new = own(TcpLine(net, LONG, listener=ear))
        text = new.phone.register()
        pump([Flow(line.inside, line.outside, data, data),
              Flow(line.outside, line.inside, data, data),
              Flow(new.inside, new.outside, text, text)], 2)

    with daemon.asleep():
        fill(net, phone(BOB), server())
        promptly(more)
        assert in_queue(net) == (LENGTH, dropped)
    # Both go on when the daemon is back, one seen in part, one not at all
    pump([Flow(line.inside, line.outside, data, data),
          Flow(line.outside, line.inside, data, data)], LIMIT_S)


def test_it_passes_again_when_the_last_one_has_ended(daemon, net, own, phone,
                                                     server):
    """SIP over UDP is dropped for the sake of a connection, but no longer."""
    line = own(TcpLine(net)).learn()
    alice, proxy = phone(ALICE), server()
    with daemon.asleep():
        fill(net, alice, proxy)
        alice.send(alice.register(), proxy.address)
        wait_for(lambda: in_queue(net)[1] == 1, "one dropped")
    for _ in range(LENGTH):
        assert ALICE.encode() not in proxy.recv()[0]
    proxy.nothing()
    line.inside.finish()
    line.outside.ends()
    line.outside.finish()
    line.inside.ends()
    wait_for(lambda: in_queue(net)[0] == 0, "its last acknowledgement")
    with daemon.asleep():
        fill(net, alice, proxy)
        data = alice.register()
        alice.send(data, proxy.address)
        assert proxy.recv()[0] == data


@pytest.mark.parametrize("host", [SHORT, LONG], ids=["longer", "shorter"])
@pytest.mark.parametrize("sack", [1, 0], ids=["sack", "no-sack"])
def test_a_first_change(daemon, net, own, host, sack):
    """A connection in which nothing has been changed yet: were only what
    follows its first packets to pass unread, two streams would become one.
    """
    for namespace in (net.phone, net.prov):
        namespace.sysctl(tcp_sack=sack)
    line = own(TcpLine(net, host))
    sent = [line.phone.register() for _ in range(60)]
    with daemon.asleep():
        line.inside.send(b"".join(sent))
        wait_for(lambda: in_queue(net)[1], "a full queue")
        assert not data_sent(net.wan)
    for data in sent:
        seen = line.outside.message()
        line.look(data, seen)
        assert seen == line.reference.out(data)
    assert daemon.stats()["tcp_resets"] == 0
