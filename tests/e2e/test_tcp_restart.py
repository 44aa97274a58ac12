# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections that were changed go on with a successor."""

import threading

import pytest

from lib.daemon import FAST, settings_of
from lib.supervisor import Supervised
from lib.tcp import Chatter, Flow, Listener, TcpLine, pump
from lib.tcpnet import LONG, SHORT, TcpNet, opened
from lib.gateway import PROXY
from lib.tcpref import same_stream

RESET_S = 0.5
hosts = pytest.mark.parametrize("host", [SHORT, LONG],
                                ids=["longer", "shorter"])


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def daemon(net, build, own):
    net.patient()
    sipalgd = own(Supervised(net.gw, build, settings_of(FAST)))
    sipalgd.apply_rules()
    return sipalgd.start()


@hosts
def test_a_changed_connection_goes_on(daemon, net, own, host):
    line = own(TcpLine(net, host)).learn()
    line.register()
    for _ in range(3):
        daemon.restart()
        line.register()
        request = line.server.request("OPTIONS", "sip:alice@example.com")
        line.outside.send(request)
        same_stream(request, line.inside.read(len(request)))
    line.inside.finish()
    line.outside.ends(RESET_S)
    line.outside.finish()
    line.inside.ends(RESET_S)
    assert daemon.stats()["tcp_resets"] == 0


def test_one_on_which_nothing_was_changed_yet(daemon, net, own):
    line = own(TcpLine(net))
    daemon.restart()
    line.learn()
    line.register()


@pytest.mark.parametrize("at", [1, 100, -1])
@hosts
def test_half_a_message_waits(daemon, net, own, host, at):
    line = own(TcpLine(net, host)).learn()
    line.register()
    data = line.phone.register()
    line.inside.send(data[:at])
    line.inside.acknowledged()
    daemon.restart()
    line.inside.send(data[at:])
    expected = line.reference.out(data)
    same_stream(expected, line.outside.read(len(expected)))


@hosts
def test_restarts_under_load(daemon, net, own, host):
    """Whatever is under way arrives: not a byte is lost, doubled or unread."""
    line = own(TcpLine(net, host)).learn()
    chatter = Chatter(line)
    out, into = chatter.out(2000), chatter.into(2000)
    over = threading.Event()
    count = 0

    def restart():
        nonlocal count
        while not over.is_set():
            daemon.restart()
            count += 1

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        pump([Flow(line.inside, line.outside, out, line.reference.out(out)),
              Flow(line.outside, line.inside, into,
                   line.reference.into(into))], 60)
    finally:
        over.set()
        thread.join()
    assert count > 3
    assert daemon.stats()["tcp_resets"] == 0


def test_a_full_pipe_is_kept(daemon, net, own):
    """Nobody reads: what was acknowledged waits in the daemon, and then in
    its successor."""
    line = own(TcpLine(net)).learn()
    data = line.phone.register() * 300
    expected = line.reference.out(data)
    flow = Flow(line.inside, line.outside, data, expected)
    flow.source.socket.setblocking(False)
    flow.write()
    daemon.restart()
    daemon.restart()
    pump([flow], 30)


def test_a_connection_that_opens_meanwhile(daemon, net, own):
    """Its SYN waits in the queue."""
    listener = own(Listener(net.prov, PROXY))
    own(TcpLine(net, listener=listener)).learn()
    lines = []
    daemon.hand_over()
    thread = threading.Thread(
        target=lambda: lines.append(own(TcpLine(net, listener=listener))))
    thread.start()
    daemon.start()
    thread.join(20)
    lines[0].learn()
    lines[0].register()


def test_killed_its_ends_learn_it(daemon, net, own):
    """What it held died with it: both are told when they send."""
    listener = own(Listener(net.prov, PROXY))
    line = own(TcpLine(net, listener=listener)).learn()
    line.register()
    daemon.kill()
    daemon.start()
    for end, data in (
            (line.inside, line.phone.register()),
            (line.outside, line.server.request("OPTIONS", "sip:a@b.com"))):
        try:
            end.send(data)
        except ConnectionResetError:
            continue  # a late acknowledgement has told it already
        end.breaks(RESET_S)
    again = own(TcpLine(net, listener=listener))
    again.learn()
    again.register()


def test_a_file_of_long_ago_resets_nothing_else(daemon, net, own):
    """Stopped and started without anybody who kept the queue: connections
    were reset, and are not taken up."""
    listener = own(Listener(net.prov, PROXY))
    line = own(TcpLine(net, listener=listener)).learn()
    daemon.stop()
    line.inside.breaks(RESET_S)
    line.outside.breaks(RESET_S)
    daemon.start()
    again = own(TcpLine(net, listener=listener))
    again.learn()
    again.register()
