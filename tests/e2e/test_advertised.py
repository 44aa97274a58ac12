# SPDX-License-Identifier: GPL-2.0-or-later
"""gateway.advertised_address: the gateway is itself behind a 1:1 NAT.

Its own WAN address is private; the world knows another (PUBLIC), and that is
what messages must carry. CRLF pings keep the upper NAT open (failure mode 52,
RFC 5626 3.5.1: a client behind UDP NAT pings every 24 to 29 s).
"""

import time

import pytest

from lib import sip
from lib.agents import Line, media_blocked, media_flows
from lib.call import Call, announced, call_in, call_out
from lib.gateway import (ALICE, BOB, CAROL, MEDIA, MEDIA2, PROXY, PROXY2,
                         PUBLIC)
from lib.sip import sdp
from lib.topologies import BEHIND, BehindNat, opened

pytestmark = pytest.mark.config(gateway__advertised_address=PUBLIC)
PING_MIN_S, PING_MAX_S = 20, 32  # about every 25 to 30 s, and some jitter


@pytest.fixture
def net(request):
    yield from opened(BehindNat, request)


def test_registration_carries_the_advertised_address(daemon, net, line):
    seen = line.register()
    assert line.public[5060][0] == PUBLIC
    assert seen.contact == seen.via == line.public[5060]
    left = net.wan.datagrams(sent=True, dst=PROXY)
    assert {(d.src, d.sport) for d in left} == {
        (BEHIND, line.public[5060][1])}
    for datagram in left:
        assert BEHIND.encode() not in datagram.payload


def test_two_phones_on_5060(daemon, phone, server):
    proxy = server()
    lines = [Line(phone(ALICE), proxy), Line(phone(BOB, user="bob"), proxy)]
    for line in lines:
        line.register()
    for line in lines:
        seen = Call(line).invite_in()
        assert seen.uri == f"sip:{line.phone.user}@{line.phone.host}:5060"


@pytest.mark.parametrize("caller", ["phone", "server"])
def test_call_with_media(daemon, line, media_inside, media_outside, caller):
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    if caller == "phone":
        call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
        told = announced(call.invite_seen)
    else:
        call = call_in(line, sdp(MEDIA, 8000), sdp(ALICE, 4000))
        told = announced(call.answer_out_seen)
    assert told[0] == PUBLIC
    assert 16384 <= told[1] <= 32767
    media_flows(mine, theirs, told, first="inside")
    media_flows(mine, theirs, told, first="outside")
    call.from_server("BYE")
    time.sleep(0.3)
    media_blocked(mine, theirs, told)


def test_identities_and_routes_carry_it_too(daemon, line):
    line.register()
    public = "%s:%d" % line.public[5060]
    line.phone.identity = f"<sip:alice@{ALICE}>"
    request = line.phone.request(
        "INVITE", "sip:x@203.0.113.10",
        headers=[f"Record-Route: <sip:{ALICE}:5060;lr>",
                 f"P-Asserted-Identity: <sip:alice@{ALICE}>"])
    seen = line.out(request, {
        "Via": (f"{ALICE}:5060", public), "Contact": (f"{ALICE}:5060", public),
        "Record-Route": (f"{ALICE}:5060", public),
        "From": (f"@{ALICE}", f"@{PUBLIC}"),
        "P-Asserted-Identity": (f"@{ALICE}", f"@{PUBLIC}")})
    ok = line.server.respond(seen.bytes, 200, tag="t",
                             source=line.public[5060])
    line.server.send(ok, line.public[5060])
    got, sent = sip.Message(line.phone.recv()[0]), sip.Message(request)
    for name in ("From", "Record-Route"):
        assert got.get(name) == sent.get(name)
    assert got.via == (ALICE, 5060)


def test_the_gateways_own_address_is_anothers(daemon, line):
    """What the outside calls 10.9.0.2 is its own affair (26)."""
    line.register()
    public = "%s:%d" % line.public[5060]
    request = line.server.request(
        "OPTIONS", f"sip:alice@{public}", to=f"<sip:alice@{BEHIND}>",
        headers=[f"Record-Route: <sip:{BEHIND}:5060;lr>"])
    line.into(request, {"Request-URI": (public, f"{ALICE}:5060")})


def collect(endpoints, until):
    """{endpoint: [(seconds, data, source), ...]} of what arrives."""
    begin, found = time.monotonic(), {e: [] for e in endpoints}
    while time.monotonic() < until:
        for endpoint in endpoints:
            try:
                data, source = endpoint.recv(0.05)
            except AssertionError:
                continue
            found[endpoint].append(
                (time.monotonic() - begin, data, source))
    return found


@pytest.mark.long
@pytest.mark.sysctl(nf_conntrack_udp_timeout=5,
                    nf_conntrack_udp_timeout_stream=5)
@pytest.mark.config(sip__dscp="cs3")
def test_pings_keep_registered_flows_open(daemon, net, phone, server):
    """alice is registered with two; bob only asked; carol left again."""
    alice = phone(ALICE)
    lines = [Line(alice, server(PROXY)), Line(alice, server(PROXY2))]
    for line in lines:
        line.register(expires=600)
    bob = Line(phone(BOB, user="bob"), server(MEDIA))
    bob.out(bob.phone.request("OPTIONS", "sip:x@203.0.113.12"))
    carol = Line(phone(CAROL, user="carol"), server(MEDIA2))
    carol.register()
    seen = carol.out(carol.phone.register(expires=0))
    carol.into(carol.server.respond(seen.bytes, 200, contact=False, tag="r",
                                    source=carol.public[5060]))

    def keys():
        return {(e.orig.dst, e.orig.dport, e.reply.dst, e.reply.dport)
                for e in net.conntrack.udp(src=ALICE, sport=5060)}

    before, count = keys(), len(net.conntrack.udp())
    servers = [line.server for line in lines] + [bob.server, carol.server]
    net.lan.clear()
    found = collect(servers, time.monotonic() + 2 * PING_MAX_S + 2)
    for line in lines:
        pings = found[line.server]
        assert 2 <= len(pings) <= 4, pings
        for _, data, source in pings:
            assert data.startswith(b"\r\n") and not data.strip(b"\r\n")
            assert source == line.public[5060]
        times = [at for at, _, _ in pings]
        assert times[0] <= PING_MAX_S
        for earlier, later in zip(times, times[1:]):
            assert PING_MIN_S <= later - earlier <= PING_MAX_S, times
    assert not found[bob.server] and not found[carol.server]
    # conntrack: the same entries with the same NAT, still as long as the
    # registrations (600 s), nothing beside them (bob's own have gone)
    assert keys() == before
    for entry in net.conntrack.udp(src=ALICE, sport=5060):
        assert 400 <= entry.timeout <= 640, entry.line
    assert not net.conntrack.udp(src=BEHIND)
    assert len(net.conntrack.udp()) <= count
    # of the class that SIP has
    pings = [d for d in net.wan.datagrams(sent=True)
             if not d.payload.strip(b"\r\n")]
    assert pings and {d.dscp for d in pings} == {24}
    # the phones saw nothing of it, and alice is still reached
    assert not net.lan.datagrams()
    for line in lines:
        Call(line).invite_in()


@pytest.mark.config(gateway__advertised_address="")
def test_no_pings_where_nothing_is_advertised(daemon, phone, server):
    """As far as we know there is no NAT above us: timeouts do (52)."""
    alice, proxy = phone(), server()
    alice.send(alice.register(), proxy.address)
    seen, source = proxy.recv()
    assert sip.Message(seen).contact[0] == BEHIND
    proxy.send(proxy.respond(seen, 200, tag="r"), source)
    assert sip.Message(alice.recv()[0]).contact == alice.address
    proxy.nothing(PING_MAX_S)
