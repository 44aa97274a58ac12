# SPDX-License-Identifier: GPL-2.0-or-later
"""media.source: whose RTP may come in, beside the announced remote's.

design.md, Media in Mechanism; failure mode 48. The first packet of a new
source may be lost: it is what makes the entry.
"""

import time

import pytest

from lib.agents import Endpoint, flows, media_flows, rtp
from lib.call import announced, call_in, call_out
from lib.gateway import ALICE, MEDIA, MEDIA2, PROXY, PROXY2, PUBLIC, STRANGER
from lib.sip import sdp

TRIES, PAUSE_S = 5, 0.1


def source_is(kind):
    return pytest.mark.config(media__source=kind)


loose = pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=source_is(kind)) for kind in
    ("signalling", "any")])
every = pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=source_is(kind)) for kind in
    ("strict", "signalling", "any")])


@pytest.fixture
def talk(line, media_inside, media_outside):
    line.register()
    return line, media_inside(), media_outside(MEDIA)


def gets_through(source, to, receiver):
    """One of a few datagrams arrives, and then each one does."""
    for number in range(TRIES):
        source.send(rtp(number, b"early"), to)
        time.sleep(PAUSE_S)
    got, sender = receiver.recv(1.0)
    assert sender == source.address and got.endswith(b"early")
    drain(receiver)
    for _ in range(3):
        flows(source, to, receiver, source.address)


def shut_out(source, to, receiver):
    for number in range(TRIES):
        source.send(rtp(number, b"shut"), to)
        time.sleep(PAUSE_S)
    receiver.nothing(0.2)


def drain(receiver):
    try:
        while True:
            receiver.recv(0.05)
    except AssertionError:
        pass


def establish(caller, line):
    if caller == "phone":
        call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
        return call, announced(call.invite_seen)
    call = call_in(line, sdp(MEDIA, 8000), sdp(ALICE, 4000))
    return call, announced(call.answer_out_seen)


def ended(call, net):
    """BYE; no entry of this call's media is left a moment later."""
    call.from_phone("BYE")
    time.sleep(0.3)
    assert not [e.line for e in net.conntrack.udp() if "ASSURED" in e.line
                and "sport=4000 " in e.line + " "]


@loose
@pytest.mark.parametrize("caller", ["phone", "server"])
def test_rtp_from_the_signalling_peer(daemon, net, talk, listen_outside,
                                      kind, caller):
    line, mine, theirs = talk
    relay = listen_outside(PROXY, 9000)
    call, (host, port, rtcp_port) = establish(caller, line)
    gets_through(relay, (host, port), mine.rtp)
    # the phone may answer there (symmetric RTP), from its announced port
    flows(mine.rtp, relay.address, relay, (host, port))
    gets_through(listen_outside(PROXY, 9001), (host, rtcp_port), mine.rtcp)
    media_flows(mine, theirs, (host, port, rtcp_port), first="outside")
    ended(call, net)
    shut_out(relay, (host, port), mine.rtp)


@source_is("strict")
def test_strict_is_the_announced_remote_only(daemon, talk, listen_outside):
    line, mine, theirs = talk
    _, (host, port, rtcp_port) = establish("phone", line)
    for where in ((PROXY, 9000), (PROXY, 8000), (MEDIA, 8002),
                  (MEDIA2, 8000), (STRANGER, 8000)):
        source = listen_outside(*where)
        shut_out(source, (host, port), mine.rtp)
    media_flows(mine, theirs, (host, port, rtcp_port), first="outside")


@source_is("signalling")
def test_signalling_lets_no_stranger_in(daemon, net, talk, listen_outside):
    line, mine, theirs = talk
    _, (host, port, rtcp_port) = establish("phone", line)
    for where in ((STRANGER, 9000), (PROXY2, 5060), (MEDIA2, 8000)):
        source = listen_outside(*where)
        shut_out(source, (host, port), mine.rtp)
        shut_out(source, (host, rtcp_port), mine.rtcp)
        assert where[0] not in net.conntrack.text()
    media_flows(mine, theirs, (host, port, rtcp_port), first="outside")


@source_is("any")
@pytest.mark.parametrize("where", [(STRANGER, 9000), (MEDIA, 8010)])
def test_any_lets_every_source_in(daemon, net, talk, listen_outside, where):
    line, mine, theirs = talk
    call, (host, port, rtcp_port) = establish("phone", line)
    source = listen_outside(*where)
    gets_through(source, (host, port), mine.rtp)
    flows(mine.rtp, source.address, source, (host, port))
    media_flows(mine, theirs, (host, port, rtcp_port), first="outside")
    ended(call, net)
    shut_out(source, (host, port), mine.rtp)


@source_is("any")
def test_any_opens_announced_ports_only(daemon, net, talk, listen_outside):
    """Also not before a call, nor the ports beside the announced ones."""
    line, mine, _ = talk
    source = listen_outside(STRANGER, 9000)
    for port in (16384, 16385, 16386, 4000):
        shut_out(source, (PUBLIC, port), mine.rtp)
    _, (host, port, rtcp_port) = establish("phone", line)
    for other in {port - 1, port + 2, port + 4, 16384, 32767} - {
            port, rtcp_port}:
        shut_out(source, (host, other), mine.rtp)
    mine.rtcp.nothing(0.1)
    assert STRANGER not in net.conntrack.text()


@every
def test_the_announced_remote_loses_no_packet(daemon, talk, kind):
    """Its entry is made at once, whatever media.source says."""
    line, mine, theirs = talk
    _, told = establish("phone", line)
    media_flows(mine, theirs, told, first="outside")


@every
def test_media_passes_beside_the_daemon(daemon, talk, kind):
    """With media under way nothing of it is queued."""
    line, mine, theirs = talk
    _, told = establish("phone", line)
    media_flows(mine, theirs, told)
    queued = daemon.queued()
    for _ in range(50):
        flows(theirs.rtp, told[:2], mine.rtp)
        flows(mine.rtp, theirs.rtp.address, theirs.rtp)
    assert daemon.queued() == queued


@loose
@pytest.mark.sysctl(nf_conntrack_udp_timeout=1,
                    nf_conntrack_udp_timeout_stream=1)
def test_a_silent_source_comes_back(daemon, talk, listen_outside, kind):
    """Hold: the real source is silent past the kernel's timeout."""
    line, mine, _ = talk
    relay = listen_outside(PROXY, 9000)
    _, (host, port, _) = establish("phone", line)
    gets_through(relay, (host, port), mine.rtp)
    time.sleep(4)
    gets_through(relay, (host, port), mine.rtp)


@loose
def test_two_calls_keep_apart(daemon, net, own, talk, media_inside, kind):
    line, mine, theirs = talk
    relay = own(Endpoint(net.prov, PROXY, 9000))
    _, first = establish("phone", line)
    other = media_inside(port=4010)
    call = call_out(line, sdp(ALICE, 4010), sdp(MEDIA, 8010))
    second = announced(call.invite_seen)
    gets_through(relay, first[:2], mine.rtp)
    gets_through(relay, second[:2], other.rtp)
    call.from_phone("BYE")
    time.sleep(0.3)
    shut_out(relay, second[:2], other.rtp)
    flows(relay, first[:2], mine.rtp, relay.address)
    media_flows(mine, theirs, first)
