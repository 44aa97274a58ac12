# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv6: translation where the gateway does NAT66, hands off where not.

design.md, Sites; RFC 3261 25.1 (IPv6reference in brackets), RFC 5118 (with
and without brackets in received: 4.5), RFC 4566 5.7 (IN IP6).
"""

import ipaddress
import time

import pytest

from lib import gateway6, sip
from lib.agents import Dialog, flows, media_flows, rtp
from lib.gateway6 import (ALICE6, BOB6, GLOBAL6, MEDIA6, PROXY6, PUBLIC6,
                          STRANGER6, Agent6, Endpoint6, Media6, Net6,
                          literal, sdp6, sdp_ports)

DSTOPTS = 60


@pytest.fixture(scope="module", autouse=True)
def _able():
    reason = gateway6.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def net(request):
    sysctls = {}
    for mark in request.node.iter_markers("sysctl"):
        sysctls.update(mark.kwargs)
    network = Net6(**sysctls)
    yield network
    try:
        network.lan.check()
        network.wan.check()
    finally:
        network.close()


@pytest.fixture
def daemon(daemon):
    """The daemon, with ip6tables rules too."""
    daemon.namespace.run(["ip6tables-restore", "--noflush"],
                         input=daemon.rules("--print-rules=ip6"))
    yield daemon
    daemon.namespace.run(["ip6tables-restore", "--noflush"],
                         input=daemon.rules("--print-rules=remove"))
    assert "sipalgd" not in daemon.namespace.run(
        ["ip6tables-save"]).stdout.lower()


@pytest.fixture
def phone6(net, own):
    return lambda host=ALICE6, port=5060, user="alice": own(
        Agent6(net.phone, host, port, user))


@pytest.fixture
def server6(net, own):
    return lambda host=PROXY6, port=5060: own(
        Agent6(net.prov, host, port, "server"))


class Line6:
    """A phone and a server; every message is compared byte by byte."""

    def __init__(self, phone, server):
        self.phone, self.server = phone, server
        self.public = None

    @property
    def inside(self):
        return f"{self.phone.host}:{self.phone.port}"

    @property
    def shown(self):
        return literal(*self.public)

    def out(self, data, edits=None):
        """edits: {} for none; None for Via of requests, and Contact."""
        self.phone.send(data, self.server.address)
        seen, source = self.server.recv()
        self.public = self.public or source
        assert source == self.public
        if edits is None:
            sites = ["Contact"] if sip.Message(data).get("Contact") else []
            sites += ["Via"] if sip.Message(data).request else []
            edits = {site: (self.inside, self.shown) for site in sites}
        sip.only_addresses_changed(data, seen, self._media(
            edits, sip.Message(data).body, sip.Message(seen).body))
        return sip.Message(seen)

    def _media(self, edits, before, after):
        """o=, c= and m= of a description with the phone's own address."""
        host = self.phone.address[0]
        if f"IP6 {host}\r".encode() not in before:
            return edits
        edits = {**edits, "sdp:o=": (host, PUBLIC6),
                 "sdp:c=": (host, PUBLIC6)}
        for number, (old, new) in enumerate(zip(sdp_ports(before),
                                                sdp_ports(after))):
            edits[f"sdp:m=[{number}]"] = (f" {old} ", f" {new} ")
        return edits

    def into(self, data, edits):
        self.server.send(data, self.public)
        seen, source = self.phone.recv()
        assert source == self.server.address
        sip.only_addresses_changed(data, seen, edits)
        return sip.Message(seen)

    def answer(self, seen, code=200, received=None, **kwargs):
        """The server's response, and the edits on its way in."""
        response = self.server.respond(seen.bytes, code, tag="srv", **kwargs)
        old = seen.get("Via")
        new = old.replace(self.shown, self.inside)
        if received:
            sent = old.replace(";rport", "") + (
                f";received={received(self.public[0])}"
                f";rport={self.public[1]}")
            response = response.replace(old.encode(), sent.encode(), 1)
            new = old.replace(";rport", "").replace(
                self.shown, self.inside) + (
                f";received={received(self.phone.address[0])}"
                f";rport={self.phone.port}")
            old = sent
        edits = {"Via": (old, new)}
        if seen.method == "REGISTER" and seen.get("Contact"):
            edits["Contact"] = (self.shown, self.inside)
        return response, edits

    def register(self, received=None, expires=3600):
        seen = self.out(self.phone.register(expires))
        self.into(*self.answer(seen, received=received))
        return seen


@pytest.fixture
def line(daemon, phone6, server6):
    return Line6(phone6(), server6())


# --- signalling ---

@pytest.mark.parametrize("received", [
    None, str, literal],
    ids=["none", "bare", "brackets"])
def test_register(net, line, received):
    seen = line.register(received)
    assert line.public[0] == PUBLIC6
    assert 5060 <= line.public[1] <= 5999
    assert line.shown in seen.get("Contact")
    for datagram in net.wan.datagrams(sent=True, dst=PROXY6):
        assert ALICE6.encode() not in datagram.payload


def test_received_in_another_spelling(line):
    """The same address, written in full (RFC 4291 2.2)."""
    seen = line.out(line.phone.register())
    full = ipaddress.ip_address(PUBLIC6).exploded.upper()
    response, edits = line.answer(seen)
    via = seen.get("Via")
    response = response.replace(
        via.encode(), f"{via};received={full}".encode(), 1)
    line.server.send(response, line.public)
    got = sip.Message(line.phone.recv()[0])
    _, _, shown = got.get("Via").partition("received=")
    assert ipaddress.ip_address(shown.strip("[]")) == (
        ipaddress.ip_address(ALICE6))
    assert got.get("Via").startswith(f"SIP/2.0/UDP {line.inside};")


@pytest.mark.parametrize("spelling", [
    "FD00:1::9", "fd00:1:0:0:0:0:0:9", "fd00:0001::0009",
    "fd00:1::0.0.0.9"])
def test_other_spellings_of_the_phones_address(line, spelling):
    """Found, and restored to the very text that the phone wrote."""
    line.phone.host = f"[{spelling}]"
    line.phone.contact = f"<sip:alice@[{spelling}]:5060>"
    seen = line.out(line.phone.register(), {
        site: (f"[{spelling}]:5060", _shown(line))
        for site in ("Via", "Contact")})
    response, _ = line.answer(seen)
    line.into(response, {site: (line.shown, f"[{spelling}]:5060")
                         for site in ("Via", "Contact")})


def _shown(line):
    """Its public endpoint, learned from an exchange before."""
    if not line.public:
        line.phone.send(b"\r\n\r\n", line.server.address)
        line.public = line.server.recv()[1]
    return line.shown


def test_ports_left_out_stay_out(line):
    line.phone.contact = f"<sip:alice@[{ALICE6}]>"
    public = _shown(line)
    if line.public[1] == 5060:
        public = literal(PUBLIC6)
    via = f"SIP/2.0/UDP [{ALICE6}];branch={sip.unique('z9hG4bK')}"
    seen = line.out(line.phone.register(via=via), {
        site: (f"[{ALICE6}]", public) for site in ("Via", "Contact")})
    response = line.server.respond(seen.bytes, 200, tag="r")
    line.into(response, {site: (public, f"[{ALICE6}]")
                         for site in ("Via", "Contact")})


def test_two_phones_and_calls_in(daemon, phone6, server6):
    proxy = server6()
    lines = [Line6(phone6(), proxy), Line6(phone6(BOB6, user="bob"), proxy)]
    for line in lines:
        line.register()
    assert lines[0].public != lines[1].public
    for line in lines[::-1]:
        request = proxy.request(
            "OPTIONS", f"sip:{line.phone.user}@{line.shown}",
            to=line.phone.identity)
        seen = line.into(request, {"Request-URI": (line.shown, line.inside)})
        line.out(line.phone.respond(seen.bytes, 200, tag="p"))


def test_from_and_to_and_routes(line):
    line.register()
    line.phone.identity = f"<sip:alice@[{ALICE6}]>"
    request = line.phone.request(
        "SUBSCRIBE", "sip:x@example.com", headers=[
            f"Record-Route: <sip:{line.inside};lr>",
            f"Refer-To: <sip:alice@{line.inside}?X=fd00>",
            f"X-Mine: <sip:{line.inside}>", f"Call-Info: <http://[{ALICE6}]>"])
    seen = line.out(request, {
        **{site: (line.inside, line.shown) for site in (
            "Via", "Contact", "Record-Route", "Refer-To")},
        "From": (f"[{ALICE6}]", f"[{PUBLIC6}]")})
    response = line.server.respond(seen.bytes, 200, tag="t")
    line.into(response, {
        "Via": (line.shown, line.inside),
        "Record-Route": (line.shown, line.inside),
        "From": (f"[{PUBLIC6}]", f"[{ALICE6}]")})


def test_a_stranger_reaches_nobody(line, server6):
    line.register()
    stranger = server6(STRANGER6)
    stranger.send(stranger.request("INVITE", f"sip:alice@{line.shown}"),
                  line.public)
    line.phone.nothing()


def test_a_peer_with_our_numbers(line):
    """fd00:1:: outside too: all stays, and comes back as it was."""
    line.register()
    invite = line.server.request(
        "INVITE", f"sip:alice@{line.shown}", to=f"<sip:x@[{ALICE6}]:5060>",
        via=f"SIP/2.0/UDP [{ALICE6}]:5060;branch={sip.unique('z9hG4bK')}",
        headers=[f"Record-Route: <sip:[{BOB6}];lr>"],
        body=sdp6(ALICE6, 4000)).replace(
        b"From: <sip:server@example.com>",
        f"From: <sip:y@[{ALICE6}]>".encode())
    seen = line.into(invite, {"Request-URI": (line.shown, line.inside)})
    back = line.out(line.phone.respond(seen.bytes, 180, tag="p"))
    sent = sip.Message(invite)
    for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq"):
        assert back.all(name) == sent.all(name)
    assert back.get("To") == sent.get("To") + ";tag=p"


@pytest.mark.sysctl(nf_conntrack_udp_timeout=2,
                    nf_conntrack_udp_timeout_stream=2)
def test_reachable_long_after_the_udp_timeout(line):
    line.register()
    time.sleep(6)
    line.into(line.server.request(
        "OPTIONS", f"sip:alice@{line.shown}", to=line.phone.identity),
        {"Request-URI": (line.shown, line.inside)})


# --- extension headers ---

def test_an_extension_header_before_udp(net, line):
    """Out and in; the header itself stays."""
    line.register()
    line.phone.destination_options()
    line.server.destination_options()
    line.register()
    request = line.server.request("OPTIONS", f"sip:alice@{line.shown}",
                                  to=line.phone.identity)
    line.into(request, {"Request-URI": (line.shown, line.inside)})
    out = net.wan.datagrams(sent=True, dst=PROXY6)[-1]
    inward = net.lan.datagrams(sent=True, dst=ALICE6)[-1]
    assert out.next_headers == inward.next_headers == [DSTOPTS]


def test_a_large_message_is_fragmented(net, line):
    """It grows past the MTU: the kernel fragments what came in fragments."""
    line.register()
    line.out(line.phone.register(headers=["X-Large: " + "x" * 3000]))


# --- calls ---

@pytest.fixture
def ends(net, own):
    return (own(Media6(net.phone, ALICE6, 4000)),
            own(Media6(net.prov, MEDIA6, 8000)))


@pytest.mark.parametrize("first", ["inside", "outside"])
def test_call_out_with_media(net, line, ends, first):
    line.register()
    invite = line.phone.request("INVITE", f"sip:x@[{PROXY6}]",
                                body=sdp6(ALICE6, 4000))
    seen = line.out(invite)
    port, = sdp_ports(seen.body)
    assert 16384 <= port <= 32767
    ok, edits = line.answer(seen, body=sdp6(MEDIA6, 8000))
    got = line.into(ok, edits)
    mine = Dialog.caller(line.phone, invite, got.bytes)
    line.out(mine.request("ACK"))
    media_flows(*ends, (PUBLIC6, port, port + 1), first=first)
    bye = line.out(mine.request("BYE"))
    line.into(*line.answer(bye))
    closed(ends, port, net)


@pytest.mark.parametrize("who", ["inside", "outside"])
def test_media_elsewhere(daemon, net, own, line, ends, who):
    """What one end sends has another address than was announced."""
    line.register()
    invite = line.phone.request("INVITE", f"sip:x@[{PROXY6}]",
                                body=sdp6(ALICE6, 4000))
    seen = line.out(invite)
    port, = sdp_ports(seen.body)
    got = line.into(*line.answer(seen, body=sdp6(MEDIA6, 8000)))
    line.out(Dialog.caller(line.phone, invite, got.bytes).request("ACK"))
    mine, theirs = ends
    other = own(Media6(net.prov, STRANGER6, 9000))
    end = time.monotonic() + 17
    while time.monotonic() < end:
        if who == "inside":
            mine.rtp.send(rtp(1), (STRANGER6, 9000))
            theirs.rtp.send(rtp(1), (PUBLIC6, port))
        else:
            mine.rtp.send(rtp(1), theirs.rtp.address[:2])
            other.rtp.send(rtp(1), (PUBLIC6, port))
        time.sleep(0.02)
    call, = daemon.ctl("calls")
    texts = {s["code"]: s["text"] for s in call["symptoms"]}
    assert set(texts) == {"media_elsewhere", "one_way_audio"}
    announced = literal(MEDIA6, 8000)
    assert texts["media_elsewhere"] == (
        f"media of {literal(ALICE6, 4000)} goes to "
        f"{literal(STRANGER6, 9000)}, announced was {announced}"
        if who == "inside" else
        f"media comes from {literal(STRANGER6, 9000)} to "
        f"{literal(PUBLIC6, port)}, announced was {announced}; not let in "
        "(media.source)")


@pytest.mark.config(sip__dscp="cs3", media__dscp="ef",
                    media__conntrack_mark="0x100/0x300")
def test_class_of_sip_and_media(net, line, ends):
    line.register()
    invite = line.phone.request("INVITE", f"sip:x@[{PROXY6}]",
                                body=sdp6(ALICE6, 4000))
    seen = line.out(invite)
    port, = sdp_ports(seen.body)
    ok, edits = line.answer(seen, body=sdp6(MEDIA6, 8000))
    line.into(ok, edits)
    media_flows(*ends, (PUBLIC6, port, port + 1))
    left = net.lan.datagrams(sent=True) + net.wan.datagrams(sent=True)
    voice = [d for d in left if d.sport in (8000, 8001, port, port + 1)]
    assert [d.dscp for d in voice] == [46] * 6
    signalling = [d for d in left if d not in voice]
    assert len(signalling) == 4
    assert {d.dscp for d in signalling} == {24}


@pytest.mark.parametrize("first", ["inside", "outside"])
def test_call_in_with_media(net, line, ends, first):
    line.register()
    invite = line.server.request(
        "INVITE", f"sip:alice@{line.shown}", to=line.phone.identity,
        body=sdp6(MEDIA6, 8000))
    seen = line.into(invite, {"Request-URI": (line.shown, line.inside)})
    ok = line.phone.respond(seen.bytes, 200, tag="p",
                            body=sdp6(ALICE6, 4000))
    answered = line.out(ok)
    port, = sdp_ports(answered.body)
    theirs = Dialog.caller(line.server, invite, answered.bytes)
    restored = {"Request-URI": (line.shown, line.inside)}
    line.into(theirs.request("ACK"), restored)
    media_flows(*ends, (PUBLIC6, port, port + 1), first=first)
    bye = line.into(theirs.request("BYE"), restored)
    line.out(line.phone.respond(bye.bytes, 200))
    closed(ends, port, net)


def closed(ends, port, net):
    mine, theirs = ends
    time.sleep(0.3)
    theirs.rtp.send(rtp(1), (PUBLIC6, port))
    theirs.rtcp.send(rtp(1), (PUBLIC6, port + 1))
    mine.rtp.nothing()
    mine.rtcp.nothing(0.1)
    assert not [e for e in net.conntrack.udp()
                if MEDIA6 in e and "ASSURED" in e]


def test_rtcp_attribute_and_candidates(line, own, net):
    line.register()
    offer = sdp6(ALICE6, (
        4000, f"a=rtcp:4011 IN IP6 {ALICE6}",
        f"a=candidate:1 1 UDP 2130706431 {ALICE6} 4000 typ host",
        f"a=candidate:1 2 UDP 2130706430 {ALICE6} 4011 typ host",
        f"a=candidate:2 1 UDP 2130706429 {GLOBAL6} 4000 typ host"))
    invite = line.phone.request("INVITE", "sip:x@example.com", body=offer)
    line.phone.send(invite, line.server.address)
    seen, _ = line.server.recv()
    body = sip.Message(seen).body
    port, = sdp_ports(body)
    rtcp = int(body.split(b"a=rtcp:")[1].split()[0])
    sip.only_addresses_changed(invite, seen, {
        **{site: (line.inside, line.shown) for site in ("Via", "Contact")},
        "sdp:o=": (ALICE6, PUBLIC6), "sdp:c=": (ALICE6, PUBLIC6),
        "sdp:m=": (" 4000 ", f" {port} "),
        "sdp:a=rtcp:": (f"4011 IN IP6 {ALICE6}",
                        f"{rtcp} IN IP6 {PUBLIC6}"),
        "sdp:a=candidate[0]": (f"{ALICE6} 4000", f"{PUBLIC6} {port}"),
        "sdp:a=candidate[1]": (f"{ALICE6} 4011", f"{PUBLIC6} {rtcp}")})
    ok, edits = line.answer(sip.Message(seen), body=sdp6(MEDIA6, 8000))
    line.into(ok, edits)
    mine, theirs = (own(Endpoint6(net.phone, ALICE6, 4011)),
                    own(Endpoint6(net.prov, MEDIA6, 8001)))
    flows(theirs, (PUBLIC6, rtcp), mine, (MEDIA6, 8001))


def test_no_port_of_another_host_is_opened(line, own, net):
    line.register()
    invite = line.phone.request("INVITE", "sip:x@example.com",
                                body=sdp6(BOB6, 4000))
    seen = line.out(invite)  # its body is as it was
    ok, edits = line.answer(seen, body=sdp6(MEDIA6, 8000))
    line.into(ok, edits)
    victim = own(Endpoint6(net.phone, BOB6, 4000))
    theirs = own(Endpoint6(net.prov, MEDIA6, 8000))
    for port in (4000, 16384, 16385, 16386):
        theirs.send(rtp(1), (PUBLIC6, port))
    victim.nothing()


def test_ip4_description_over_ipv6_is_left_alone(line):
    """41: the phone has no such address towards this network."""
    line.register()
    body = sip.sdp("192.168.1.9", 4000)
    seen = line.out(line.phone.request("INVITE", "sip:x@example.com",
                                       body=body))
    assert seen.body == body


# --- global addresses ---

def test_global_addresses_pass_untouched(daemon, phone6, server6):
    line = Line6(phone6(GLOBAL6), server6())
    offer = sdp6(GLOBAL6, (4000, f"a=rtcp:4001 IN IP6 {GLOBAL6}"))
    for request in (line.phone.register(), line.phone.request(
            "INVITE", "sip:x@example.com", body=offer)):
        line.phone.send(request, line.server.address)
        seen, source = line.server.recv()
        sip.same_bytes(request, seen)
        assert source == line.phone.address
        answer = line.server.respond(seen, 200, source=(
            literal(GLOBAL6), 5060), tag="t", body=sdp6(MEDIA6, 8000))
        line.server.send(answer, source)
        sip.same_bytes(answer, line.phone.recv()[0])
    inward = line.server.request("INVITE", f"sip:alice@{line.inside}",
                                 body=sdp6(MEDIA6, 8000))
    line.server.send(inward, line.phone.address)
    sip.same_bytes(inward, line.phone.recv()[0])
    assert daemon.status()["media_mappings"] == 0


def test_global_and_translated_phones_side_by_side(daemon, phone6, server6):
    proxy = server6()
    line = Line6(phone6(), proxy)
    line.register()
    other = phone6(GLOBAL6, user="global")
    register = other.register()
    other.send(register, proxy.address)
    seen, source = proxy.recv()
    sip.same_bytes(register, seen)
    assert source == other.address
    line.register()
