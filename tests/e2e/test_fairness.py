# SPDX-License-Identifier: GPL-2.0-or-later
"""One phone that does too much: limits.rate_per_phone, and its share of ports.
The others notice nothing."""

import time

import pytest

from lib import sip
from lib.agents import Line, media_flows
from lib.call import announced, call_out
from lib.gateway import ALICE, BOB, MEDIA, Net, PROXY, PROXY2, PUBLIC
from lib.sip import sdp
from lib.supervisor import Supervised
from lib.tcp import Listener, TcpLine
from lib.tcpnet import SHORT, TcpNet
from lib.topologies import opened

RATE = 20
FLOOD = 300


@pytest.fixture
def net(request):
    """The usual world, or one with TCP's phones."""
    yield from opened(getattr(request, "param", Net), request)


def flood(agent, target, count=FLOOD):
    """As fast as it goes; what was sent."""
    sent = [agent.request("OPTIONS", "sip:example.com", cseq=i + 1)
            for i in range(count)]
    for data in sent:
        agent.send(data, target.address)
    return sent


def arrived(server):
    """Everything that waits at a server."""
    found = []
    while True:
        try:
            found.append(server.recv(0.5)[0])
        except (TimeoutError, AssertionError):
            return found


def works(line, media_inside, media_outside):
    """A registration, and a call that is heard."""
    line.register()
    call = call_out(line, sdp(line.phone.host, 4000), sdp(MEDIA, 8000))
    media_flows(media_inside(line.phone.host), media_outside(MEDIA),
                announced(call.invite_seen))
    return call


@pytest.mark.config(limits__rate_per_phone=str(RATE))
def test_a_phone_over_its_rate(daemon, phone, server, media_inside,
                               media_outside):
    """What is over passes as it is; another phone is none the worse."""
    proxy = server(PROXY2)
    bob = Line(phone(BOB, user="bob"), server())
    call = works(bob, media_inside, media_outside)
    began = time.monotonic()
    sent = set(flood(phone(), proxy))
    took = time.monotonic() - began
    bob.register()
    call.reinvite_from_phone(sdp(BOB, 4000, version=2), sdp(MEDIA, 8000))
    call.from_server("BYE")
    found = arrived(proxy)
    untouched = [data for data in found if data in sent]
    assert len(found) == FLOOD
    assert RATE <= FLOOD - len(untouched) <= RATE * (took + 1) + 1
    stats = daemon.stats()
    assert stats["over_rate"] == len(untouched)
    time.sleep(1)
    Line(phone(port=5062), server(PROXY2, 5070)).register()


@pytest.mark.parametrize("how", ["restart", "held up"])
def test_what_has_waited_is_not_fast(net, build, own, phone, server, how):
    """A second's worth of messages for each second that nobody read them."""
    daemon = own(Supervised(net.gw, build, {
        "limits.rate_per_phone": str(RATE), "limits.on_excess": "drop"}))
    daemon.apply_rules()
    daemon.start()
    line = Line(phone(), server())
    line.register()
    if how == "restart":
        daemon.hand_over()
        flood(line.phone, line.server, 3 * RATE)
        daemon.start()
    else:
        with daemon.asleep():
            flood(line.phone, line.server, 3 * RATE)
            time.sleep(2.5)
    assert len(arrived(line.server)) == 3 * RATE
    assert daemon.stats()["dropped_over_rate"] == 0
    time.sleep(2)
    flood(line.phone, line.server)
    assert len(arrived(line.server)) < 3 * RATE


@pytest.mark.config(limits__rate_per_phone=str(RATE),
                    limits__on_excess="drop")
def test_what_is_over_the_rate_is_dropped(daemon, phone, server):
    alice, proxy = phone(), server()
    flood(alice, proxy)
    found = arrived(proxy)
    dropped = daemon.stats()["dropped_over_rate"]
    assert len(found) == FLOOD - dropped and dropped > FLOOD / 2
    assert not [d for d in found if ALICE.encode() in
                sip.Message(d).get("Via").encode()]


@pytest.mark.parametrize("net", [TcpNet], indirect=True)
@pytest.mark.config(limits__rate_per_phone=str(RATE),
                    limits__on_excess="drop")
def test_rate_over_tcp(net, daemon, own):
    """Not a byte is lost, and what is over the rate is as it was."""
    listener = own(Listener(net.prov, PROXY))
    line = own(TcpLine(net, SHORT, listener=listener)).learn()
    sent = [line.phone.request("OPTIONS", "sip:example.com", cseq=i + 1)
            for i in range(FLOOD)]
    line.inside.send(b"".join(sent))
    found = [line.outside.message() for _ in sent]
    untouched = [a for a, b in zip(found, sent) if a == b]
    assert len(untouched) == daemon.stats()["over_rate"]
    assert FLOOD - len(untouched) >= RATE - 5 and len(untouched) > FLOOD / 2
    for a, b in zip(found, sent):
        assert sip.Message(a).get("Call-ID") == sip.Message(b).get("Call-ID")
    time.sleep(1.1)
    line.register()


@pytest.mark.config(sip__signalling_ports="5060-5099")
def test_signalling_ports_of_one_phone(net, daemon, phone, server,
                                       media_inside, media_outside):
    """A phone with many ports gets three quarters of those there are."""
    proxy = server(PROXY2)
    for port in range(6000, 6100):
        agent = phone(port=port)
        agent.send(agent.request("OPTIONS", "sip:example.com"), proxy.address)
    arrived(proxy)
    taken = {entry.reply.dport for entry in net.conntrack.udp(dst=PROXY2)
             if 5060 <= entry.reply.dport <= 5099}
    assert len(taken) == 30, sorted(taken)
    assert daemon.stats()["over_share"] == 70
    works(Line(phone(BOB, user="bob"), server()), media_inside, media_outside)


@pytest.mark.config(media__rtp_ports="16384-16423")
def test_media_ports_of_one_phone(daemon, phone, server, media_inside,
                                  media_outside):
    """A phone with many calls gets three quarters of the ports there are."""
    alice, proxy = phone(), server(PROXY2)
    for number in range(40):
        alice.send(alice.request("INVITE", "sip:x@example.com",
                                 body=sdp(ALICE, 20000 + 2 * number)),
                   proxy.address)
    mapped = [m for m in map(sip.Message, arrived(proxy))
              if announced(m)[0] == PUBLIC]
    assert len(mapped) == 15
    assert len({announced(m)[1] for m in mapped}) == 15
    works(Line(phone(BOB, user="bob"), server()), media_inside, media_outside)
