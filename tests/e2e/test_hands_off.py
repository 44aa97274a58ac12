# SPDX-License-Identifier: GPL-2.0-or-later
"""What is not ours passes byte for byte, and nothing kills the daemon."""

import random

import pytest

from lib import sip
from lib.agents import Endpoint
from lib.gateway import ALICE, BOB, PUBLIC

STUN = (b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(range(12)))
DNS = (b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
       b"\x03www\x07example\x03com\x00\x00\x01\x00\x01")
HEAD = (b"REGISTER sip:example.com SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.168.1.9:5060;branch=z9hG4bKm\r\n"
        b"From: <sip:alice@example.com>;tag=1\r\n"
        b"To: <sip:alice@example.com>\r\nCall-ID: m\r\n"
        b"CSeq: 1 REGISTER\r\n"
        b"Contact: <sip:alice@192.168.1.9:5060>\r\n")
NO_SIP = {
    "empty": b"",
    "crlf": b"\r\n",
    "crlf-crlf": b"\r\n\r\n",
    "lf": b"\n",
    "nul": b"\0",
    "jaK": b"jaK\0",
    "stun": STUN,
    "dns": DNS,
    "rtp": b"\x80\x08\x00\x01" + b"\x55" * 168,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x11" * 500,
    "nuls": b"\0" * 1400,
    "text": b"hello 192.168.1.9:5060 this is not SIP\r\n\r\n",
    "http": b"GET / HTTP/1.1\r\nHost: 192.168.1.9:5060\r\n\r\n",
    "random": random.Random(5060).randbytes(1200),
    "ones": b"\xff" * 700,
}
MALFORMED = {
    "start-line-only": b"REGISTER sip:example.com SIP/2.0",
    "start-line-crlf": b"REGISTER sip:example.com SIP/2.0\r\n",
    "version": HEAD.replace(b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia") + b"\r\n",
    "method-only": b"REGISTER\r\n\r\n",
    "cut-in-via": HEAD[:60],
    "no-end-of-headers": HEAD,
    "content-length-too-large": HEAD + b"Content-Length: 9999\r\n\r\nv=0\r\n",
    "content-length-negative": HEAD + b"Content-Length: -1\r\n\r\n",
    "content-length-huge": HEAD
    + b"Content-Length: 99999999999999999999\r\n\r\n",
    "content-length-text": HEAD + b"Content-Length: many\r\n\r\n",
    "no-headers": b"REGISTER sip:example.com SIP/2.0\r\n\r\n",
    "no-colon": b"OPTIONS sip:x SIP/2.0\r\n" + b"A" * 900 + b"\r\n\r\n",
    "only-colons": b"OPTIONS sip:x SIP/2.0\r\n" + b":\r\n" * 300 + b"\r\n",
    "status-line": b"SIP/2.0 abc\r\n\r\n",
    "status-line-empty": b"SIP/2.0 \r\n\r\n",
}


def both_ways(line, data):
    """data goes through unchanged out, and in."""
    line.phone.send(data, line.server.address)
    got, source = line.server.recv()
    sip.same_bytes(data, got)
    assert source == line.public[5060]
    line.server.send(data, source)
    got, _ = line.phone.recv()
    sip.same_bytes(data, got)


@pytest.fixture
def registered(line):
    line.register()
    return line


@pytest.mark.parametrize("kind", NO_SIP)
def test_what_is_no_sip_passes(daemon, registered, kind):
    both_ways(registered, NO_SIP[kind])
    registered.register()  # and it still works


@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed_sip_passes(daemon, registered, kind):
    both_ways(registered, MALFORMED[kind])
    registered.register()


def test_no_sip_as_the_first_packet(daemon, line):
    """The mapping is made by whatever comes first, and is the same after."""
    for data in (b"\r\n\r\n", STUN, b"\0"):
        line.phone.send(data, line.server.address)
        got, source = line.server.recv()
        assert got == data
    assert source[0] == PUBLIC and 5060 <= source[1] <= 5999
    line.public[5060] = source
    line.register()


def test_malformed_sip_is_counted(daemon, registered):
    before = daemon.stats()
    if before is None:
        pytest.skip("this sipalgctl has no stats yet")
    both_ways(registered, MALFORMED["content-length-negative"])
    after = daemon.stats()
    moved = {k for k in after if after[k] != before.get(k, 0)}
    assert any("malformed" in k or "bad" in k or "content_length" in k
               for k in moved), moved


@pytest.mark.config(sip__on_malformed="drop")
def test_malformed_sip_is_dropped_if_so_configured(daemon, registered):
    line = registered
    line.phone.send(MALFORMED["content-length-negative"],
                    line.server.address)
    line.server.nothing()
    both_ways(line, b"\r\n\r\n")  # keep-alives are not malformed
    both_ways(line, STUN)


def test_a_message_with_nothing_of_ours(daemon, net, registered):
    message = (b"OPTIONS sip:example.com SIP/2.0\r\n"
               b"Via:SIP/2.0/UDP phone.example.com;branch=z9hG4bKo\r\n"
               b"f: <sip:alice@example.com>;tag=1\r\nt: <sip:example.com>\r\n"
               b"i: nothing-of-ours\r\nCSeq: 1 OPTIONS\r\n"
               b"m: <sip:alice@phone.example.com>\r\n"
               b"X-Near: 192.168.1.90, 1192.168.1.9, 192.168.1.9.example\r\n"
               b"l: 0\r\n\r\n")
    both_ways(registered, message)


def test_private_addresses_of_the_remote_side_stay(daemon, registered):
    """The provider's own RFC 1918 addresses collide with our LAN."""
    line = registered
    public = "%s:%d" % line.public[5060]
    invite = line.server.request(
        "INVITE", f"sip:alice@{public}", to=line.phone.identity,
        via=f"SIP/2.0/UDP {ALICE}:5060;rport;branch=z9hG4bKcollide",
        headers=["Via: SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bKlow",
                 f"Record-Route: <sip:{BOB}:5060;lr>"],
        body=sip.sdp(ALICE, 4000))
    invite = invite.replace(b"Contact: <sip:server@203.0.113.10:5060>",
                            b"Contact: <sip:server@192.168.1.9:5060>")
    line.into(invite, {"Request-URI": (public, f"{ALICE}:5060")})


def test_bytes_beyond_content_length_are_kept(daemon, registered):
    line = registered
    public = "%s:%d" % line.public[5060]
    line.out(line.phone.register() + b"\r\n\r\n\0trailing",
             {"Via": (f"{ALICE}:5060", public),
              "Contact": (f"{ALICE}:5060", public)})


def test_content_length_spacing_and_leading_zeros_change_digits_only(
        daemon, registered):
    line = registered
    body = sip.sdp(ALICE, 4000)
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", body=body)
    invite = invite.replace(b"Content-Length: %d" % len(body),
                            b"CONTENT-LENGTH :\t  %d  " % len(body))
    line.phone.send(invite, line.server.address)
    seen, source = line.server.recv()
    got = sip.Message(seen)
    assert b"CONTENT-LENGTH :\t  %d  \r\n" % len(got.body) in seen
    line.server.send(b"\r\n", source)


def test_a_huge_header(daemon, registered):
    line = registered
    line.out(line.phone.register(headers=["X-Huge: " + "h" * 40000]))


def test_many_headers(daemon, registered):
    line = registered
    line.out(line.phone.register(
        headers=[f"X-{n}: {ALICE}:5060" for n in range(200)]))


def test_non_ascii_and_nul_in_headers(daemon, registered):
    line = registered
    register = line.phone.register(headers=["X-Odd: \u00fc\u20ac"])
    register = register.replace(b"X-Odd: ", b"X-Odd: \xff\xfe\x01 ")
    line.phone.send(register, line.server.address)
    seen, _ = line.server.recv()
    public = "%s:%d" % line.public[5060]
    expected = register.replace(f"{ALICE}:5060".encode(), public.encode())
    sip.same_bytes(expected, seen)


def test_sip_on_other_ports_is_not_ours(daemon, phone, server):
    alice, proxy = phone(port=5090), server(port=5062)
    register = alice.register()
    alice.send(register, proxy.address)
    assert proxy.recv()[0] == register


def test_sip_to_the_gateway_itself_is_not_ours(daemon, net, own, phone):
    """LAN to gateway: the route does not leave by a WAN interface."""
    alice, pbx = phone(), own(Endpoint(net.gw, "192.168.1.1", 5060))
    register = alice.register()
    alice.send(register, pbx.address)
    assert pbx.recv() == (register, alice.address)
    pbx.send(register, alice.address)
    assert alice.recv() == (register, pbx.address)


@pytest.mark.parametrize("mode", ["observe", "bypass"])
def test_other_modes_change_nothing(net, phone, server, build, mode, own):
    from lib.daemon import Sipalgd
    daemon = own(Sipalgd(net.gw, build, {"gateway.mode": mode}))
    daemon.apply_rules()
    daemon.start()
    alice, proxy = phone(), server()
    register = alice.register()
    alice.send(register, proxy.address)
    seen, source = proxy.recv()
    assert seen == register
    answer = proxy.respond(seen, 200, source=source, tag="x")
    proxy.send(answer, source)
    assert alice.recv()[0] == answer


@pytest.fixture
def bypass(daemon):
    """The daemon, if it knows bypass lists already."""
    if "bypass lists are not active" in daemon.log():
        pytest.skip("bypass lists are not active in this version")


@pytest.mark.config(bypass__phones="192.168.1.10/32")
def test_bypassed_phones(bypass, phone, server):
    bob, proxy = phone(BOB), server()
    register = bob.register()
    bob.send(register, proxy.address)
    assert proxy.recv()[0] == register
    alice = phone(ALICE)
    alice.send(alice.register(), proxy.address)
    assert sip.Message(proxy.recv()[0]).via[0] == PUBLIC


@pytest.mark.config(bypass__peers="203.0.113.11/32")
def test_bypassed_peers(bypass, phone, server):
    alice, proxy = phone(), server("203.0.113.11")
    register = alice.register()
    alice.send(register, proxy.address)
    assert proxy.recv()[0] == register


@pytest.mark.config(bypass__user_agents="Clever*")
def test_bypassed_user_agents(bypass, phone, server):
    alice, proxy = phone(), server()
    register = alice.register(headers=["User-Agent: Clever Phone 1.0"])
    alice.send(register, proxy.address)
    assert proxy.recv()[0] == register


def test_a_storm_of_garbage(daemon, registered):
    """Mutated messages both ways; the daemon survives and still works."""
    line, chance = registered, random.Random(2)
    seeds = [line.phone.register(),
             line.phone.request("INVITE", "sip:x@203.0.113.10",
                                body=sip.sdp(ALICE, 4000))]
    for number in range(2000):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randrange(1, 12)):
            where = chance.randrange(len(data))
            what = chance.randrange(3)
            if what == 0:
                data[where] = chance.randrange(256)
            elif what == 1:
                del data[where:where + chance.randrange(1, 40)]
            else:
                data[where:where] = data[where - 30:where]
        sender, to = ((line.phone, line.server.address) if number % 2
                      else (line.server, line.public[5060]))
        sender.send(bytes(data), to)
        if number % 100 == 99:
            _drain(line.phone), _drain(line.server)
    assert daemon.alive(), daemon.log()
    _drain(line.phone), _drain(line.server)
    line.register()


def _drain(endpoint):
    try:
        while True:
            endpoint.recv(0.05)
    except AssertionError:
        pass
