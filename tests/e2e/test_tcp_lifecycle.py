# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections older than the daemon, and connections that outlive it."""

import os
import re
import signal
import time

import pytest

from lib import sip
from lib.ctnetlink import tcp as tcp_entries
from lib.daemon import FAST, Sipalgd, settings_of
from lib.gateway import PROXY, PUBLIC
from lib.line import AT_ONCE_S, gone, readdress
from lib.tcp import (Chatter, Flow, Listener, TcpLine, connect,
                     promptly, pump)
from lib.tcpnet import LONG, SHORT, TcpNet, opened
from lib.tcpref import same_stream

RESET_S = 0.5
pytestmark = pytest.mark.config(**FAST)
sides = pytest.mark.parametrize("side", ["phone", "server"])


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def stopped(net, build, own):
    """A daemon with its rules in place that does not run."""
    net.patient()
    sipalgd = own(Sipalgd(net.gw, build, settings_of(FAST)))
    sipalgd.apply_rules()
    return sipalgd


def plain(source, target, data):
    """data passes as it is."""
    source.send(data)
    same_stream(data, target.read(len(data)))


def test_never_started_all_passes_as_it_is(stopped, net, own):
    line = own(TcpLine(net))
    for _ in range(3):
        plain(line.inside, line.outside, line.phone.register())


@pytest.mark.parametrize("spoken", [False, True], ids=["silent", "used"])
def test_an_older_connection_is_left_alone(stopped, net, own, spoken):
    """Where a message begins in it nobody can tell; the next one is read."""
    line = own(TcpLine(net))
    if spoken:
        plain(line.inside, line.outside, line.phone.register())
        plain(line.outside, line.inside, line.server.register())
    stopped.start()
    for _ in range(3):
        plain(line.inside, line.outside, line.phone.register())
        plain(line.outside, line.inside, line.server.register())
    assert not any(tcp_entries(net.gw)[0].liberal)
    line.close()
    line = own(TcpLine(net)).learn()
    chatter = Chatter(line)
    out, into = chatter.out(300), chatter.into(300)
    pump([Flow(line.inside, line.outside, out, line.reference.out(out)),
          Flow(line.outside, line.inside, into,
               line.reference.into(into))], 10)


@pytest.mark.parametrize("at", [1, 100, -1])
def test_the_daemon_starts_in_the_middle_of_a_message(stopped, net, own, at):
    """It has not seen the beginning, so the rest is none of its business."""
    line = own(TcpLine(net))
    data = line.phone.register()
    line.inside.send(data[:at])
    assert line.outside.read(len(data[:at])) == data[:at]
    stopped.start()
    plain(line.inside, line.outside, data[at:])
    answer = line.server.respond(data, 200, tag="r")
    line.server.send(answer)
    assert len(line.phone.recv()[0]) == len(answer)
    plain(line.inside, line.outside, line.phone.register())


def test_the_daemon_starts_in_the_middle_of_a_body(stopped, net, own):
    """A segment that begins with a start line, and is a body."""
    line = own(TcpLine(net))
    inner = line.phone.register()
    head = line.phone.request("MESSAGE", "sip:b@example.com").replace(
        b"Content-Length: 0", b"Content-Length: %d" % (3 * len(inner)))
    line.inside.send(head)
    line.outside.read(len(head))
    stopped.start()
    for _ in range(3):
        plain(line.inside, line.outside, inner)


def test_an_older_connection_of_something_else(stopped, net, own):
    line = own(TcpLine(net))
    data = b"\x16\x03\x01" + bytes(range(256)) * 20
    plain(line.inside, line.outside, data)
    stopped.start()
    for _ in range(5):
        promptly(plain, line.inside, line.outside, data)
        promptly(plain, line.outside, line.inside, data)
    assert not any(tcp_entries(net.gw)[0].liberal)


def test_an_older_connection_ends(stopped, net, own):
    line = own(TcpLine(net))
    plain(line.inside, line.outside, line.phone.register())
    stopped.start()
    line.inside.finish()
    line.outside.ends(RESET_S)
    line.outside.finish()
    line.inside.ends(RESET_S)


def test_the_daemon_starts_while_data_is_under_way(stopped, net, own):
    """A hundred thousand bytes each way; not one is lost or doubled."""
    line = own(TcpLine(net))
    body = b"b" * 100
    data = line.phone.request("MESSAGE", "sip:b@example.com", contact=False,
                              via="SIP/2.0/TCP phone.example.com"
                              ).replace(b"Content-Length: 0",
                                        b"Content-Length: 100") + body
    flows = [Flow(line.inside, line.outside, data * 3000, data * 3000),
             Flow(line.outside, line.inside, data * 3000, data * 3000)]
    for flow in flows:
        flow.source.socket.setblocking(False)
        flow.write()
    stopped.start()
    pump(flows, 20)


@sides
def test_stop_leaves_an_unchanged_connection(daemon, net, own, side):
    line = own(TcpLine(net))
    data = b"\x16\x03\x01" + bytes(range(256)) * 20
    source, target = ((line.inside, line.outside) if side == "phone"
                      else (line.outside, line.inside))
    plain(source, target, data)
    daemon.stop()
    for _ in range(3):
        plain(line.inside, line.outside, data)
        plain(line.outside, line.inside, data)
    daemon.start()
    plain(line.inside, line.outside, data)


def test_stop_leaves_a_connection_on_which_nothing_was_said(daemon, net, own):
    line = own(TcpLine(net))
    daemon.stop()
    data = line.phone.register()
    plain(line.inside, line.outside, data)
    plain(line.outside, line.inside, data)
    daemon.start()


def test_stop_leaves_sip_in_which_nothing_was_changed(daemon, net, own):
    line = own(TcpLine(net))
    data = (b"OPTIONS sip:example.com SIP/2.0\r\n"
            b"Via: SIP/2.0/TCP phone.example.com;branch=z9hG4bKo\r\n"
            b"From: <sip:alice@example.com>;tag=1\r\n"
            b"To: <sip:example.com>\r\nCall-ID: n\r\nCSeq: 1 OPTIONS\r\n"
            b"Content-Length: 0\r\n\r\n")
    for _ in range(5):
        plain(line.inside, line.outside, data)
    daemon.stop()
    for _ in range(5):
        plain(line.inside, line.outside, data)
    daemon.start()


@pytest.mark.parametrize("host", [SHORT, LONG], ids=["longer", "shorter"])
@pytest.mark.parametrize("how", ["idle", "held", "full"])
def test_stop_resets_a_changed_connection(daemon, net, own, host, how):
    """Its numbers no longer fit: both ends learn it at once, and come anew."""
    net.patient()
    listener = own(Listener(net.prov, PROXY))
    line = own(TcpLine(net, host, listener=listener)).learn()
    if how == "held":
        line.inside.send(line.phone.register()[:100])
        line.inside.acknowledged()
    if how == "full":
        line.inside.send(line.phone.register() * 200)
    began = time.monotonic()
    daemon.stop()
    took = time.monotonic() - began
    line.inside.breaks(RESET_S)
    line.outside.breaks(RESET_S)
    assert took < 5
    assert "1 TCP connections had to be reset" in daemon.log()
    again = own(TcpLine(net, host, listener=listener))
    plain(again.inside, again.outside, again.phone.register())
    daemon.start()
    own(TcpLine(net, host, listener=listener)).register()


def test_killed_all_passes_as_it_is(stopped, net, own):
    """SIGKILL: nobody resets; new connections are as without us."""
    stopped.start()
    line = own(TcpLine(net)).learn()
    os.kill(stopped.pid, signal.SIGKILL)
    stopped.process.wait()
    stopped.process = None
    new = own(TcpLine(net, listener=line.listener))
    plain(new.inside, new.outside, new.phone.register())
    stopped.start()
    own(TcpLine(net, listener=line.listener)).register()


def test_reload_keeps_connections(daemon, net, own):
    """Also one of which half a message is held."""
    line = own(TcpLine(net)).learn()
    daemon.settings["media.timeout"] = 60
    daemon.write_config()
    for at in (50, 200):
        data = line.phone.register()
        line.inside.send(data[:at])
        daemon.reload()
        line.inside.send(data[at:])
        expected = line.reference.out(data)
        same_stream(expected, line.outside.read(len(expected)))


@pytest.mark.parametrize("mode", ["bypass", "observe"])
def test_modes_change_on_the_way(daemon, net, own, mode):
    """A changed connection stays in order, whatever the mode says now."""
    line = own(TcpLine(net)).learn()
    line.register()
    for new in (mode, "active"):
        daemon.settings["gateway.mode"] = new
        daemon.write_config()
        daemon.reload()
        data = line.phone.register()
        line.inside.send(data)
        seen = line.outside.read(len(data), 3)
        if seen != data:
            expected = line.reference.out(data)
            seen += line.outside.read(len(expected) - len(data))
            same_stream(expected, seen)
        data = line.server.request("OPTIONS", "sip:alice@example.com")
        plain(line.outside, line.inside, data)


def test_an_idle_connection_keeps_its_entry(daemon, net, own):
    """Conntrack sees none of its data acknowledged: five minutes, by default."""
    net.gw.sysctl(nf_conntrack_tcp_timeout_unacknowledged=24)
    line = own(TcpLine(net))
    line.register()
    assert re.search(r"tcp +6 (2[0-4]) ESTABLISHED", net.conntrack.text())
    time.sleep(30)
    line.server.send(line.server.request("OPTIONS", "sip:alice@example.com"))
    assert line.phone.recv()[0].startswith(b"OPTIONS ")


def test_an_entry_that_is_gone(daemon, net, own):
    """The kernel forgets; the connection is as it would be without us."""
    line = own(TcpLine(net))
    line.register()
    net.conntrack.flush()
    line.inside.send(line.phone.register())
    time.sleep(0.5)
    assert daemon.alive()
    own(TcpLine(net, listener=line.listener)).register()


def test_the_registration_is_reachable_over_a_restart(daemon, net, own):
    """The phone, its connection reset, registers anew."""
    line = own(TcpLine(net)).learn()
    before = line.contact
    daemon.stop()
    daemon.start()
    line = own(TcpLine(net, listener=line.listener)).learn()
    assert line.contact[0] == before[0] == PUBLIC
    ear = own(Listener(net.phone, SHORT, 5060))
    outside = own(connect(net.prov, line.contact, PROXY))
    inside = own(ear.accept())
    outside.send(line.server.request("OPTIONS", "sip:alice@%s:%d"
                                     % line.contact))
    assert sip.Message(inside.message()).uri == f"sip:alice@{SHORT}:5060"


def test_another_address(daemon, net, own):
    """They cannot move: both ends learn it, and come anew."""
    listener = own(Listener(net.prov, PROXY))
    line = own(TcpLine(net, listener=listener)).learn()
    line.register()
    readdress(net)
    line.inside.breaks(AT_ONCE_S)
    line.outside.breaks(AT_ONCE_S)
    gone(net)
    again = own(TcpLine(net, listener=listener)).learn()
    again.register()


def test_an_address_that_never_was_the_gateways(daemon, net, own):
    """Another NAT rule gives one that is routed here: what changes elsewhere
    ends no registration."""
    routed = "203.0.113.77"
    net.gw.run(["iptables", "-t", "nat", "-I", "POSTROUTING", "-o", "wan0",
                "-j", "SNAT", "--to-source", routed])
    net.prov.ip(f"route add {routed}/32 via {PUBLIC}")
    line = own(TcpLine(net))
    line.register()
    net.gw.ip("addr add 10.55.0.1/24 dev lan0")
    time.sleep(2.5)
    assert len(daemon.ctl("registrations")) == 1
    line.register()
