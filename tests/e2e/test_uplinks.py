# SPDX-License-Identifier: GPL-2.0-or-later
"""Two uplinks, chosen by routing: each flow shows its own one's address.

design.md, gateway.public_address: "the kernel's route lookup for each flow,
as MASQUERADE would".
"""

import time

import pytest

from lib import sip
from lib.agents import Agent, Line, Media, media_blocked, media_flows
from lib.call import Call, announced, call_in, call_out
from lib.gateway import ALICE, BOB, MEDIA, PUBLIC
from lib.line import gone
from lib.sip import sdp
from lib.topologies import (FAR1, MEDIA1, PROXY1, PUBLIC1, TwoUplinks,
                            opened)

wans = pytest.mark.parametrize("wans", [
    pytest.param(value, marks=pytest.mark.config(
        gateway__wan_interfaces=value)) for value in ("wan0, wan1", "wan+")])
both = pytest.mark.config(gateway__wan_interfaces="wan0, wan1")


@pytest.fixture
def net(request):
    yield from opened(TwoUplinks, request)


@pytest.fixture
def server1(net, own):
    """server1(host): an Agent of the second provider."""
    return lambda host=PROXY1, port=5060: own(
        Agent(net.prov1, host, port, user="server1"))


@pytest.fixture
def lines(daemon, phone, server, server1):
    """One phone, registered with a provider on each uplink."""
    alice = phone()
    pair = [Line(alice, server()), Line(alice, server1())]
    for line in pair:
        line.register()
    return pair


@wans
def test_each_flow_has_its_uplinks_address(lines, wans):
    first, second = lines
    assert first.public[5060][0] == PUBLIC
    assert second.public[5060][0] == PUBLIC1
    for _ in range(2):
        for line in lines:  # Line checks Via, Contact and their way back
            assert line.register().contact == line.public[5060]


@both
def test_a_registrar_that_is_routed_there(daemon, phone, server1):
    line = Line(phone(), server1(FAR1))
    line.register()
    assert line.public[5060][0] == PUBLIC1
    Call(line).invite_in()


@both
def test_each_provider_calls(lines):
    for line in lines + lines[::-1]:
        assert Call(line).invite_in().uri == f"sip:alice@{ALICE}:5060"


@both
@pytest.mark.parametrize("caller", ["phone", "server"])
def test_calls_on_both_at_once(net, own, lines, media_inside, media_outside,
                               caller):
    ends = [(media_inside(ALICE, 4000), media_outside(MEDIA, 8000), PUBLIC),
            (media_inside(ALICE, 4010), own(Media(net.prov1, MEDIA1, 8000)),
             PUBLIC1)]
    calls = []
    for line, (inside, outside, _) in zip(lines, ends):
        mine = sdp(ALICE, inside.port)
        theirs = sdp(outside.host, outside.port)
        if caller == "phone":
            call = call_out(line, mine, theirs)
            told = announced(call.invite_seen)
        else:
            call = call_in(line, theirs, mine)
            told = announced(call.answer_out_seen)
        calls.append((call, told))
    for (_, told), (inside, outside, public) in zip(calls, ends):
        assert told[0] == public
        assert 16384 <= told[1] <= 32767
        media_flows(inside, outside, told, first="outside")
    calls[0][0].from_phone("BYE")
    time.sleep(0.3)
    media_blocked(ends[0][0], ends[0][1], calls[0][1])
    media_flows(ends[1][0], ends[1][1], calls[1][1])


@both
def test_identities_follow_the_uplink(lines):
    """The same From goes out as two addresses, each restored."""
    for line, public in zip(lines, (PUBLIC, PUBLIC1)):
        line.phone.identity = f"<sip:alice@{ALICE}>"
        request = line.phone.request("OPTIONS", "sip:x@example.com")
        shown = "%s:%d" % line.public[5060]
        seen = line.out(request, {
            "Via": (f"{ALICE}:5060", shown),
            "Contact": (f"{ALICE}:5060", shown),
            "From": (f"@{ALICE}", f"@{public}")})
        line.server.send(line.server.respond(
            seen.bytes, 200, source=line.public[5060], tag="t"),
            line.public[5060])
        got, sent = sip.Message(line.phone.recv()[0]), sip.Message(request)
        assert got.get("From") == sent.get("From")
        assert got.via == sent.via


@both
def test_the_other_uplinks_address_is_not_restored(lines):
    """Each flow stands for one address; the other one is just text there."""
    first, second = lines
    shown = "%s:%d" % first.public[5060]
    other = "%s:%d" % second.public[5060]
    request = first.server.request(
        "INFO", f"sip:alice@{shown}", to=first.phone.identity,
        headers=[f"X-Other: {other}", f"Record-Route: <sip:{other};lr>"])
    first.into(request, {"Request-URI": (shown, f"{ALICE}:5060")})


@both
def test_two_phones_on_two_uplinks(daemon, phone, server, server1):
    proxies = server(), server1()
    phones = phone(ALICE), phone(BOB, user="bob")
    lines = [Line(p, proxy) for p in phones for proxy in proxies]
    for line in lines:
        line.register()
    for line in lines:
        Call(line).invite_in()


@both
def test_the_default_route_moves(daemon, net, phone, own):
    """The registrar is reached by both."""
    far = "192.0.2.7"
    net.prov.ip(f"addr add {far}/32 dev lo")
    net.prov1.ip(f"addr add {far}/32 dev lo")
    net.gw.ip("route del 192.0.2.0/24")
    first = Line(phone(), own(Agent(net.prov, far, 5060, user="proxy")))
    first.register()
    assert first.public[5060][0] == PUBLIC
    net.gw.ip(f"route replace default via {PROXY1}")
    gone(net)
    second = Line(first.phone, own(Agent(net.prov1, far, 5060, user="proxy")))
    second.register()
    assert second.public[5060][0] == PUBLIC1
    Call(second).invite_in()
