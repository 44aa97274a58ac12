# SPDX-License-Identifier: GPL-2.0-or-later
"""Connections begin, end, wait and come back; and who may open one."""

import errno
import socket
import time

import pytest

from lib import sip, tcpwire
from lib.ctnetlink import tcp as tcp_entries
from lib.daemon import FAST
from lib.gateway import ALICE, NAT, PROXY, PROXY2, PUBLIC, STRANGER
from lib.tcp import (PROMPT_S, Connection, Listener, TcpLine, connect,
                     promptly)
from lib.tcpnet import LONG, SHORT, TcpNet, opened
from lib.tcpref import Reference, same_stream

ENTRY_S = 3  # conntrack's states may be a moment late
every_nat = pytest.mark.parametrize(
    "nat", [pytest.param(kind, marks=pytest.mark.nat(kind)) for kind in NAT])
sides = pytest.mark.parametrize("side", ["phone", "server"])


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def line(net, daemon, own):
    """A registered phone that listens at 5060; bytes have shifted by now."""
    net.patient()
    line = own(TcpLine(net)).learn()
    line.register()
    return line


def pair(line, side):
    """(this end, the other end, what becomes of it, a message)."""
    if side == "phone":
        return (line.inside, line.outside, line.reference.out,
                line.phone.register())
    return (line.outside, line.inside, line.reference.into,
            line.server.request("OPTIONS", "sip:alice@%s:%d" % line.contact))


def options_to(line, target=None):
    """The provider's OPTIONS to the phone's contact."""
    return line.server.request("OPTIONS", "sip:alice@%s:%d"
                               % (target or line.contact))


# --- which ports ---

@every_nat
def test_contact_is_where_the_phone_is_reached(net, daemon, own, nat):
    """Its listening port has a mapping; the provider connects to it."""
    line = own(TcpLine(net)).learn()
    host, port = line.contact
    assert host == PUBLIC and 5060 <= port <= 5999
    ear = own(Listener(net.phone, SHORT, 5060))
    outside = own(connect(net.prov, line.contact, PROXY))
    inside = own(ear.accept())
    assert inside.peer == outside.local
    called = TcpLine.joined(inside, outside, Reference(
        SHORT, {f"{SHORT}:5060": "%s:%d" % line.contact}), 5060)
    call = called.server.request("INVITE", "sip:alice@%s:%d" % line.contact,
                                 body=sip.sdp(PROXY, 8000))
    seen = called.into(call)
    assert seen.uri == f"sip:alice@{SHORT}:5060"
    answer = called.out(called.phone.respond(
        seen.bytes, 200, tag="a", body=sip.sdp(SHORT, 4000)))
    assert answer.contact == line.contact
    line.register()  # the first one goes on
    for entry in tcp_entries(net.gw):
        assert entry.state == "ESTABLISHED"


@every_nat
def test_contact_of_the_connection_itself(net, daemon, own, nat):
    """RFC 5626: the phone writes the port it connected from."""
    line = own(TcpLine(net, listens=0, parameters=";ob")).learn()
    assert line.contact == line.outside.peer
    seen = line.into(options_to(line))
    assert seen.uri == f"sip:alice@{SHORT}:{line.inside.local[1]}"


def test_each_phone_gets_its_own_port(net, daemon, own):
    listener = own(Listener(net.prov, PROXY))
    lines = [own(TcpLine(net, host, listener=listener, user=user)).learn()
             for host, user in ((SHORT, "a"), (LONG, "b"), (ALICE, "c"))]
    assert len({line.contact for line in lines}) == 3
    for line in lines:
        ear = own(Listener(net.phone, line.phone.host, 5060))
        outside = own(connect(net.prov, line.contact, PROXY))
        inside = own(ear.accept())
        outside.send(options_to(line))
        seen = sip.Message(inside.message())
        assert sip.uri_hostport(seen.uri) == (line.phone.host, 5060)


def test_two_connections_of_a_phone_share_its_contact(net, daemon, own):
    listener = own(Listener(net.prov, PROXY))
    lines = [own(TcpLine(net, listener=listener)).learn() for _ in range(2)]
    assert lines[0].contact == lines[1].contact
    assert lines[0].outside.peer != lines[1].outside.peer
    for line in lines * 2:
        line.register()
        line.into(options_to(line))


def test_a_stranger_does_not_get_in(net, line, own):
    ear = own(Listener(net.phone, SHORT, 5060))
    for source in (PROXY2, STRANGER):
        for port in (0, 5060):
            with pytest.raises((AssertionError, ConnectionError)):
                connect(net.prov, line.contact, source, port, wait_s=0.4)
        assert not tcp_entries(net.gw, src=source)
    ear.nobody(0.1)
    own(connect(net.prov, line.contact, PROXY))  # who may, still does
    assert ear.accept().peer[0] == PROXY


def test_nobody_gets_in_before_a_registration(net, daemon, own):
    ear = own(Listener(net.phone, SHORT, 5060))
    for port in (5060, 5061):
        with pytest.raises((AssertionError, ConnectionError)):
            connect(net.prov, (PUBLIC, port), PROXY, wait_s=0.3)
    ear.nobody(0.1)


def test_a_phone_that_does_not_listen_refuses(net, line):
    """Its RST gets out: the provider need not wait."""
    def refused():
        with pytest.raises(ConnectionRefusedError):
            connect(net.prov, line.contact, PROXY)

    promptly(refused)


@pytest.mark.config(sip__inbound_from="any")
def test_inbound_from_any(net, line, own):
    ear = own(Listener(net.phone, SHORT, 5060))
    outside = own(connect(net.prov, line.contact, STRANGER))
    assert own(ear.accept()).peer == outside.local


# --- over the connection that is there ---

def test_requests_of_the_provider_come_over_it(line):
    for target in (line.contact, line.outside.peer):
        seen = line.into(options_to(line, target))
        inside = {line.contact: 5060,
                  line.outside.peer: line.inside.local[1]}[target]
        assert seen.uri == f"sip:alice@{SHORT}:{inside}"
        line.out(line.phone.respond(seen.bytes, 200, tag="o"))


def test_the_provider_speaks_first(net, daemon, own):
    line = own(TcpLine(net))
    hello = line.server.request("OPTIONS", "sip:alice@example.com")
    line.into(hello)
    line.learn()
    line.into(options_to(line))


def test_parameters_stay(line):
    """alias (RFC 5923), ob, +sip.instance, transport: only ports change."""
    line.phone.contact = (
        f'"Alice, <{SHORT}>" <sip:alice@{SHORT}:5060;transport=tcp;ob;'
        f'line=x>;reg-id=1;+sip.instance="<urn:uuid:1>";expires=60')
    for via in (";alias;rport", ";rport;alias", ";keep", ""):
        line.out(line.phone.register(via=line.phone.via(via)))


def test_a_port_left_out_stays_out(line):
    """The phone's text comes back to it."""
    line.phone.contact = f"<sip:alice@{SHORT};transport=tcp>"
    via = f"SIP/2.0/TCP {SHORT};branch={sip.unique('z9hG4bK')}"
    seen = line.out(line.phone.register(via=via))
    assert seen.contact == seen.via == line.contact
    line.reference.spelled["%s:%d" % line.contact] = SHORT
    line.into(line.server.respond(seen.bytes, 200, tag="r"))


def test_a_phone_that_knows_its_public_address_is_left_alone(line):
    public = "%s:%d" % line.outside.peer
    line.phone.contact = f"<sip:alice@{public};transport=tcp>"
    via = f"SIP/2.0/TCP {public};branch={sip.unique('z9hG4bK')}"
    data = line.phone.register(via=via)
    line.phone.send(data)
    seen, _ = line.server.recv()
    same_stream(data, seen)
    answer = line.server.respond(seen, 200, tag="r")
    line.server.send(answer)
    same_stream(answer, line.phone.recv()[0])


# --- the beginning ---

def test_a_server_that_refuses(net, daemon):
    def refused():
        with pytest.raises(ConnectionRefusedError):
            connect(net.phone, (PROXY, 5060), SHORT)

    promptly(refused)


def test_data_in_the_first_segment(net, daemon, own):
    """TCP Fast Open (RFC 7413): whatever becomes of it, nothing is broken."""
    net.phone.sysctl(tcp_fastopen=0x5)  # client; data without a cookie
    net.prov.sysctl(tcp_fastopen=0x202)  # server; asks for none
    listener = own(Listener(net.prov, PROXY))
    listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    sock = net.phone.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind((SHORT, 42000))
    data = (f"REGISTER sip:example.com SIP/2.0\r\n"
            f"Via: SIP/2.0/TCP {SHORT}:42000;branch=z9hG4bKf\r\n"
            f"Call-ID: f\r\nCSeq: 1 REGISTER\r\n"
            f"From: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\n"
            f"Contact: <sip:alice@{SHORT}:42000>\r\n"
            f"Content-Length: 0\r\n\r\n").encode()
    sock.sendto(data, socket.MSG_FASTOPEN, listener.address)
    outside = own(listener.accept())
    inside = own(Connection(sock))
    syn = tcpwire.segments(net.lan, sent=False)[0]
    assert syn.flags & tcpwire.SYN and syn.payload == data
    public = b"%s:%d" % (PUBLIC.encode(), outside.peer[1])
    changed = data.replace(b"%s:42000" % SHORT.encode(), public)
    for _ in range(3):
        seen = outside.message()
        assert seen in (data, changed), seen
        inside.send(data)
        outside.send(b"\r\n")
        assert inside.read(2) == b"\r\n"


# --- the end ---

@sides
def test_half_close(line, side):
    """One side has no more to say; the other goes on."""
    this, other, mapped, message = pair(line, side)
    back = "server" if side == "phone" else "phone"
    this.finish()
    other.ends(PROMPT_S * 3)
    for _ in range(3):
        source, target, mapped, message = pair(line, back)
        expected = mapped(message)
        source.send(message)
        same_stream(expected, target.read(len(expected)))
    other.finish()
    this.ends(PROMPT_S * 3)


@sides
@pytest.mark.config(**FAST)
@pytest.mark.parametrize("count", [1, 400])
def test_fin_behind_data(line, side, count):
    this, other, mapped, message = pair(line, side)
    data = message * count
    this.send(data)
    this.finish()
    expected = mapped(data)
    same_stream(expected, other.read(len(expected)))
    other.ends(0.5)


@sides
@pytest.mark.parametrize("size", [1, 100, -1])
def test_fin_behind_half_a_message(line, side, size):
    """Nobody completes it any more: it goes as it came."""
    this, other, _, message = pair(line, side)
    half = message[:size]
    this.send(half)
    this.acknowledged()
    this.finish()
    assert other.read(len(half), 1) == half
    other.ends(0.5)


@sides
def test_fin_with_half_a_message(line, side):
    """The same, in one segment."""
    this, other, mapped, message = pair(line, side)
    data = message + message[:50]
    this.set(socket.TCP_CORK, 1)
    this.send(data)
    this.finish()
    expected = mapped(data[:len(message)]) + message[:50]
    same_stream(expected, other.read(len(expected), 1))
    other.ends(0.5)


@sides
@pytest.mark.parametrize("held", [0, 50], ids=["idle", "held"])
def test_reset(net, line, side, held):
    """RST reaches the other side, though the numbers have shifted."""
    this, other, _, message = pair(line, side)
    if held:
        this.send(message[:held])
        this.acknowledged()
    this.reset()
    other.breaks(0.3)
    # The daemon ends the entry when it has told the other side
    end = time.monotonic() + ENTRY_S
    while not states(net) <= {"CLOSE"}:
        assert time.monotonic() < end, net.conntrack.text()
        time.sleep(0.01)


def states(net):
    return {entry.state for entry in tcp_entries(net.gw)}


@sides
def test_conntrack_sees_the_end(net, line, side):
    this, other, _, _ = pair(line, side)
    assert states(net) == {"ESTABLISHED"}
    this.finish()
    other.ends()
    other.finish()
    this.ends()
    end = time.monotonic() + ENTRY_S
    while not states(net) <= {"TIME_WAIT", "CLOSE"}:
        assert time.monotonic() < end, net.conntrack.text()
        time.sleep(0.05)
    assert len(tcp_entries(net.gw)) == 1, net.conntrack.text()
    assert net.invalid() == 0


def test_conntrack_is_liberal_with_changed_connections_only(net, line, own):
    other = own(TcpLine(net, LONG, listener=line.listener))
    for _ in range(3):
        for a, b in ((other.inside, other.outside),
                     (other.outside, other.inside)):
            a.send(b"\x16\x03\x01" + b"x" * 3000)
            b.read(3003)
    changed, = tcp_entries(net.gw, src=SHORT)
    same, = tcp_entries(net.gw, src=LONG)
    assert changed.liberal == (True, True)
    assert same.liberal == (False, False)


def test_own_packets_leave_no_trace_in_conntrack(net, line):
    """Held, split, acknowledged: one entry, and no packet INVALID."""
    data = b"".join(line.phone.register() for _ in range(20))
    expected = line.reference.out(data)
    for size in (3, 1000, len(data)):
        line.inside.dribble(data, size)
        same_stream(expected, line.outside.read(len(expected)))
    assert len(tcp_entries(net.gw)) == 1, net.conntrack.text()
    assert not net.conntrack.udp()
    assert net.invalid() == 0


# --- waiting ---

def probe(connection):
    """Ask after a second of silence, and each second."""
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1),
                          (socket.TCP_KEEPCNT, 2)):
        connection.set(option, value)
    connection.set(socket.SO_KEEPALIVE, 1, socket.SOL_SOCKET)


def test_keep_alive_probes_are_answered(net, line):
    """RFC 1122 4.2.3.6, after lengths have changed; from both sides."""
    for end in (line.inside, line.outside):
        end.acknowledged()
        probe(end)
    time.sleep(0.2)
    net.lan.clear(), net.wan.clear()
    time.sleep(2.5)
    for sniffer in (net.lan, net.wan):
        seen = tcpwire.segments(sniffer, sent=False)
        answers = [s.ack for s in tcpwire.segments(sniffer, sent=True)]
        assert seen, "no probe"
        ahead = max(s.seq for s in seen)
        probes = [s for s in seen if s.seq < ahead] or seen
        for segment in probes:
            assert (segment.seq + 1) & 0xFFFFFFFF in answers
    line.register()


def test_probes_while_half_a_message_is_held(line):
    """Held bytes are the gateway's; probes must not break them up."""
    for end in (line.inside, line.outside):
        probe(end)
    held = [pair(line, side) for side in ("phone", "server")]
    for this, other, _, message in held:
        this.send(message[:100])
    line.outside.nothing(1.5)
    line.inside.nothing(1.5)
    for this, other, mapped, message in held:
        this.send(message[100:])
        expected = mapped(message)
        same_stream(expected, other.read(len(expected)))
    line.register()


def test_idle_then_used(line):
    for pause in (0.3, 1.2):
        time.sleep(pause)
        line.into(options_to(line))
        time.sleep(pause)
        promptly(line.register)


# --- again ---

def from_port(net, listener, port):
    """A new line from there, as soon as the last ACK has reached it."""
    end = time.monotonic() + 3 * PROMPT_S
    while True:
        try:
            return TcpLine(net, listener=listener, port=port)
        except OSError as error:
            if (error.errno != errno.EADDRNOTAVAIL
                    or time.monotonic() > end):
                raise
            time.sleep(0.002)


@pytest.mark.parametrize("how", ["server-first", "reset", "phone-resets"])
def test_the_same_ports_again(net, daemon, own, how):
    """A new connection is new, whatever was known of the old one."""
    net.patient()
    listener = own(Listener(net.prov, PROXY))
    for number in range(5):
        line = from_port(net, listener, 41000)
        for _ in range(number + 1):
            line.register()
        promptly(line.streams_out, b"".join(
            line.phone.register() for _ in range(10)))
        if how == "server-first":
            line.outside.finish()
            line.inside.ends()
            line.inside.close()
            line.outside.ends()
            line.outside.close()
        elif how == "reset":
            line.outside.reset()
            line.inside.breaks()
            line.inside.close()
        else:
            line.inside.reset()
            line.outside.breaks()
            line.outside.close()
    assert net.invalid() == 0


def test_the_same_ports_again_for_something_else(net, daemon, own):
    """SIP, then TLS, then SIP from the same port."""
    net.patient()
    listener = own(Listener(net.prov, PROXY))
    for kind in ("sip", "tls", "sip", "tls"):
        line = TcpLine(net, listener=listener, port=41000)
        if kind == "sip":
            line.register()
        else:
            data = b"\x16\x03\x01" + line.phone.register()
            line.inside.send(data)
            assert line.outside.read(len(data)) == data
        line.inside.reset()
        line.outside.breaks()
        line.outside.close()


def test_a_hundred_connections(net, daemon, own):
    """At the same time, each with half a message held."""
    listener = own(Listener(net.prov, PROXY))
    lines = [own(TcpLine(net, listener=listener, listens=0, user=f"u{n}"))
             for n in range(100)]
    messages = [line.phone.register() for line in lines]
    for line, data in zip(lines, messages):
        line.inside.send(data[:80])
    for line, data in zip(lines[::-1], messages[::-1]):
        line.inside.send(data[80:])
        expected = line.reference.out(data)
        same_stream(expected, line.outside.read(len(expected)))
    assert len(tcp_entries(net.gw)) == 100


@pytest.mark.config(sip__signalling_ports="5900-5901")
def test_ports_are_those_configured(net, daemon, own):
    line = own(TcpLine(net)).learn()
    assert line.contact[1] in (5900, 5901)


def test_status_and_registrations_show_tcp(daemon, line):
    status = daemon.status()
    assert status["registrations"] == 1 and status["calls"] == 1
    line.register(expires=0)
    assert daemon.status()["registrations"] == 0


def test_the_port_of_a_udp_phone_is_not_given_to_another(
        net, line, daemon, phone, server):
    """A UDP phone at 5060 beside a TCP one: neither gets the other's."""
    alice, proxy = phone(SHORT), server()
    alice.send(alice.register(), proxy.address)
    seen, source = proxy.recv()
    assert sip.Message(seen).contact == source
    line.register()
    proxy.send(proxy.respond(seen, 200, source=source, tag="u"), source)
    assert sip.Message(alice.recv()[0]).contact == (SHORT, 5060)
