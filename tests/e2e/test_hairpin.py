# SPDX-License-Identifier: GPL-2.0-or-later
"""Inside phones that reach each other by their public addresses.

design.md, Sites (SDP row) and Mechanism; RFC 4787 REQ-9; failure mode 57.
"""

import contextlib
import time

import pytest

from lib import sip
from lib.agents import Dialog, Line, flows, rtp
from lib.call import announced
from lib.direct import Direct, DirectCall
from lib.gateway import ALICE, BOB, NAT, PROXY, PUBLIC
from lib.sip import sdp
from lib.topologies import DAVE, Hairpin, TwoLans, opened
from peers import tone
from peers.baresip import Phone
from peers.kamailio import Kamailio

public_media = pytest.mark.config(media__keep_local="no")
every_nat = pytest.mark.parametrize(
    "nat", [pytest.param(kind, marks=pytest.mark.nat(kind)) for kind in NAT])


@pytest.fixture
def net(request):
    yield from opened(Hairpin, request)


@pytest.fixture
def lines(daemon, phone, server):
    """alice and bob, registered."""
    proxy = server()
    both = {"alice": Line(phone(ALICE), proxy),
            "bob": Line(phone(BOB, user="bob"), proxy)}
    for line in both.values():
        line.register()
    return both


@pytest.fixture
def local(daemon):
    """Is media.keep_local in force?"""
    return daemon.settings.get("media.keep_local", "yes") == "yes"


@pytest.fixture
def way(lines, local):
    return Direct(local, **lines)


@pytest.fixture
def ends(media_inside):
    """The two phones' RTP and RTCP sockets."""
    return media_inside(ALICE, 4000), media_inside(BOB, 6000)


def pairs_of(entry):
    return frozenset({(entry.orig.src, entry.orig.sport),
                      (entry.reply.src, entry.reply.sport)})


def hairpins(net):
    """Media entries with both NATs: {inside pair: entry}."""
    found = {}
    for entry in net.conntrack.udp():
        pair = pairs_of(entry)
        if entry.orig.dst == PUBLIC and entry.reply.dst == PUBLIC and {
                h for h, _ in pair} == {ALICE, BOB} and not {
                5060, 5072} & {p for _, p in pair}:
            found[pair] = entry
    return found


def media_hairpins(net, ends, to_alice, to_bob):
    """RTP and RTCP both ways by public ports, and conntrack's entries.

    to_alice, to_bob: the (host, port, rtcp port) that stand for them, as
    the other was told.
    """
    alice, bob = ends
    host, a_rtp, a_rtcp = to_alice
    host_b, b_rtp, b_rtcp = to_bob
    assert host == host_b == PUBLIC
    for port in (a_rtp, a_rtcp, b_rtp, b_rtcp):
        assert 16384 <= port <= 32767
    for _ in range(2):
        flows(alice.rtp, (PUBLIC, b_rtp), bob.rtp, (PUBLIC, a_rtp))
        flows(bob.rtp, (PUBLIC, a_rtp), alice.rtp, (PUBLIC, b_rtp))
        flows(bob.rtcp, (PUBLIC, a_rtcp), alice.rtcp, (PUBLIC, b_rtcp))
        flows(alice.rtcp, (PUBLIC, b_rtcp), bob.rtcp, (PUBLIC, a_rtcp))
    public = {(ALICE, 4000): a_rtp, (ALICE, 4001): a_rtcp,
              (BOB, 6000): b_rtp, (BOB, 6001): b_rtcp}
    entries = hairpins(net)
    assert set(entries) == {
        frozenset({(ALICE, 4000), (BOB, 6000)}),
        frozenset({(ALICE, 4001), (BOB, 6001)})}
    for entry in entries.values():
        assert entry.assured
        assert entry.orig.dport == public[entry.reply.src, entry.reply.sport]
        assert entry.reply.dport == public[entry.orig.src, entry.orig.sport]


def closed(net, ends, to_alice, to_bob):
    """No entry is left, and nothing gets through either way."""
    time.sleep(0.3)
    assert not hairpins(net)
    alice, bob = ends
    for _ in range(3):
        alice.rtp.send(rtp(1), to_bob[:2])
        bob.rtp.send(rtp(2), to_alice[:2])
    alice.rtp.nothing()
    bob.rtp.nothing(0.1)


# --- signalling ---

@every_nat
def test_message_to_the_public_contact(way, lines, nat):
    alice, bob = lines["alice"].phone, lines["bob"].phone
    for sender, receiver in ((alice, bob), (bob, alice), (alice, bob)):
        seen = way.send(sender, receiver, sender.request(
            "MESSAGE", way.uri(receiver), to="<sip:x@example.com>",
            headers=["Content-Type: text/plain"]))
        assert seen.uri == f"sip:{receiver.user}@{receiver.host}:5060"
        way.answer(receiver, sender, seen, tag="t")


def test_the_first_packet_of_a_phone_may_be_a_hairpin(daemon, phone, server):
    """alice has no mapping yet: it is made as for any other flow."""
    bob = Line(phone(BOB, user="bob"), server())
    bob.register()
    alice = phone(ALICE)
    way = Direct(True, bob=bob)
    seen = way.send(alice, bob.phone, alice.request(
        "OPTIONS", way.uri(bob.phone), to="<sip:bob@example.com>"))
    assert way.public[alice][0] == PUBLIC
    assert 5060 <= way.public[alice][1] <= 5999
    way.answer(bob.phone, alice, seen, tag="t")
    line = Line(alice, bob.server)
    line.register()
    assert line.public[5060] == way.public[alice]  # one port to everybody


def test_from_a_high_port_to_a_high_port(daemon, phone, server):
    """Neither port is one of sip.ports: still the other's public contact."""
    proxy = server()
    alice = Line(phone(ALICE, 5072), proxy)
    bob = Line(phone(BOB, 5074, user="bob"), proxy)
    for line in (bob, alice):
        line.register()
    way = Direct(True, alice=alice, bob=bob)
    seen = way.send(alice.phone, bob.phone, alice.phone.request(
        "OPTIONS", way.uri(bob.phone), to="<sip:bob@example.com>"))
    assert seen.uri == f"sip:bob@{BOB}:5074"
    way.answer(bob.phone, alice.phone, seen, tag="t")


def test_to_with_the_public_contact_comes_back_as_it_was(way, lines):
    """From of the sender's own address, To of the callee's public one."""
    alice, bob = lines["alice"].phone, lines["bob"].phone
    publics = {a: "%s:%d" % way.public[a] for a in (alice, bob)}
    request = alice.request("MESSAGE", way.uri(bob)).replace(
        b"<sip:alice@example.com>", b"<sip:alice@192.168.1.9:5060>")
    alice.send(request, way.public[bob])
    seen, source = bob.recv()
    sip.only_addresses_changed(request, seen, {
        "Request-URI": (publics[bob], f"{BOB}:5060"),
        "Via": (f"{ALICE}:5060", publics[alice]),
        "Contact": (f"{ALICE}:5060", publics[alice]),
        "From": (f"{ALICE}:5060", publics[alice]),
        "To": (publics[bob], f"{BOB}:5060")})
    bob.send(bob.respond(seen, 200, source=source, tag="t"), source)
    got, _ = alice.recv()
    sent, back = sip.Message(request), sip.Message(got)
    assert back.get("From") == sent.get("From")
    assert back.get("To") == sent.get("To") + ";tag=t"


def test_a_stranger_still_reaches_nobody(way, lines, server):
    """Hairpins open nothing towards the outside."""
    alice, bob = lines["alice"].phone, lines["bob"].phone
    way.send(alice, bob, alice.request(
        "OPTIONS", way.uri(bob), to="<sip:bob@example.com>"))
    stranger = server("203.0.113.20", 5060)
    stranger.send(stranger.request("OPTIONS", way.uri(bob)), way.public[bob])
    bob.nothing()


# --- calls, directly ---

@pytest.mark.parametrize("ender", ["alice", "bob"])
def test_call_keeps_its_media_inside(net, way, lines, ends, ender):
    offer, answer = sdp(ALICE, 4000), sdp(BOB, 6000)
    call = DirectCall(way, lines["alice"].phone, lines["bob"].phone, offer,
                      answer)
    assert call.invite.body == offer and call.answer.body == answer
    alice, bob = ends
    flows(alice.rtp, bob.rtp.address, bob.rtp, alice.rtp.address)
    flows(bob.rtcp, alice.rtcp.address, alice.rtcp, bob.rtcp.address)
    assert not hairpins(net)
    call.bye(ender)


@public_media
@every_nat
@pytest.mark.parametrize("ender", ["alice", "bob"])
def test_call_with_public_media(net, way, lines, ends, ender, nat):
    call = DirectCall(way, lines["alice"].phone, lines["bob"].phone,
                      sdp(ALICE, 4000), sdp(BOB, 6000))
    told = announced(call.invite), announced(call.answer)
    media_hairpins(net, ends, *told)
    call.bye(ender)
    closed(net, ends, *told)


@public_media
@pytest.mark.config(media__dscp="ef", media__conntrack_mark="0x100/0x300")
def test_public_media_has_its_class(net, way, lines, ends):
    call = DirectCall(way, lines["alice"].phone, lines["bob"].phone,
                      sdp(ALICE, 4000), sdp(BOB, 6000))
    media_hairpins(net, ends, announced(call.invite),
                   announced(call.answer))
    ports = {4000, 4001, 6000, 6001}
    voice = [d for d in net.lan.datagrams(sent=True) if d.dport in ports]
    assert voice and {d.dport for d in voice} == ports
    assert {d.dscp for d in voice} == {46}


@public_media
@pytest.mark.sysctl(nf_conntrack_udp_timeout=1,
                    nf_conntrack_udp_timeout_stream=1)
def test_public_media_of_a_silent_call_stays(net, way, lines, ends):
    call = DirectCall(way, lines["alice"].phone, lines["bob"].phone,
                      sdp(ALICE, 4000), sdp(BOB, 6000))
    time.sleep(5)
    media_hairpins(net, ends, announced(call.invite),
                   announced(call.answer))


# --- calls by way of the proxy outside ---

class Proxied:
    """The provider joins alice and bob: a proxy, or a B2BUA.

    b2bua: bob's leg has a Call-ID of its own.
    """

    def __init__(self, alice, bob, b2bua, shown):
        self.alice, self.bob, self.b2bua = alice, bob, b2bua
        self.server = alice.server
        self.shown = shown

    def request(self, sender, receiver, data):
        """A request through the proxy; (as outside saw it, as it came)."""
        outside = sender.out(data)
        via = f"SIP/2.0/UDP {PROXY}:5060;branch={sip.unique('z9hG4bKp')}"
        lines = outside.bytes.split(sip.CRLF)
        uri = "sip:%s@%s:%d" % (receiver.phone.user,
                                *receiver.public[receiver.phone.port])
        lines[0] = f"{outside.method} {uri} SIP/2.0".encode()
        lines.insert(1, f"Via: {via}".encode())
        forwarded = self._call_id(sip.CRLF.join(lines), sender)
        return outside, self._into(receiver, forwarded)

    def response(self, sender, receiver, data):
        """A response back: the proxy's own Via goes."""
        outside = sender.out(data)
        lines = outside.bytes.split(sip.CRLF)
        assert lines[1].startswith(f"Via: SIP/2.0/UDP {PROXY}".encode())
        del lines[1]
        forwarded = self._call_id(sip.CRLF.join(lines), sender)
        return outside, self._into(receiver, forwarded)

    def _call_id(self, data, sender):
        if not self.b2bua:
            return data
        old, new = b"Call-ID: call-", b"Call-ID: leg-call-"
        if sender is self.bob:
            old, new = new, old
        assert data.count(old) == 1
        return data.replace(old, new)

    def _into(self, receiver, data):
        edits = receiver.inbound_edits(data)
        edits.update(self.shown(data))
        return receiver.into(data, edits)


def joined_call(way, alice, bob, offer, answer):
    """INVITE, 200, ACK through the proxy; what outside and each end saw."""
    invite = alice.phone.request("INVITE", f"sip:bob@{PROXY}", body=offer)
    outside, at_bob = way.request(alice, bob, invite)
    ok = bob.phone.respond(at_bob.bytes, 200, tag="b", body=answer)
    outside_ok, at_alice = way.response(bob, alice, ok)
    ends = (Dialog.caller(alice.phone, invite, at_alice.bytes),
            Dialog.callee(bob.phone, at_bob.bytes, ok))
    way.request(alice, bob, ends[0].request("ACK"))
    return {"told": (announced(outside), announced(outside_ok)),
            "at_bob": at_bob, "at_alice": at_alice, "dialogs": ends}


joiner = pytest.mark.parametrize("b2bua", [False, True],
                                 ids=["proxy", "b2bua"])


@public_media
@joiner
@pytest.mark.parametrize("ender", ["alice", "bob"])
def test_call_by_the_proxy_with_public_media(net, lines, ends, ender, b2bua):
    alice, bob = lines["alice"], lines["bob"]
    way = Proxied(alice, bob, b2bua, lambda data: {})
    call = joined_call(way, alice, bob, sdp(ALICE, 4000), sdp(BOB, 6000))
    assert announced(call["at_bob"]) == call["told"][0]
    assert announced(call["at_alice"]) == call["told"][1]
    media_hairpins(net, ends, *call["told"])
    way_of = {"alice": (alice, bob, call["dialogs"][0]),
              "bob": (bob, alice, call["dialogs"][1])}
    sender, receiver, dialog = way_of[ender]
    _, seen = way.request(sender, receiver, dialog.request("BYE"))
    way.response(receiver, sender, receiver.phone.respond(seen.bytes, 200))
    closed(net, ends, *call["told"])


@joiner
def test_call_by_the_proxy_keeps_its_media_inside(net, lines, ends, b2bua):
    """Both were announced as public, and each is shown the other inside."""
    alice, bob = lines["alice"], lines["bob"]
    inside = {}

    def shown(data):
        body = sip.Message(data).body
        if not body:
            return {}
        host, port, _ = announced(body)
        real = inside["next"]
        return {"sdp:o=": (host, real[0]), "sdp:c=": (host, real[0]),
                "sdp:m=audio": (f" {port} ", f" {real[1]} ")}

    way = Proxied(alice, bob, b2bua, shown)
    offer, answer = sdp(ALICE, 4000), sdp(BOB, 6000)
    inside["next"] = (ALICE, 4000)
    invite = alice.phone.request("INVITE", f"sip:bob@{PROXY}", body=offer)
    _, at_bob = way.request(alice, bob, invite)
    assert at_bob.body == offer
    inside["next"] = (BOB, 6000)
    _, at_alice = way.response(bob, alice, bob.phone.respond(
        at_bob.bytes, 200, tag="b", body=answer))
    assert at_alice.body == answer


# --- with real phones ---

class TestRealPhones:
    """Two baresips on two LANs; kamailio outside joins them."""

    @pytest.fixture
    def net(self, request):
        yield from opened(TwoLans, request)

    @pytest.mark.parametrize("keep", [
        pytest.param("yes", marks=pytest.mark.config(
            gateway__lan_interfaces="lan0, lan1", media__keep_local="yes")),
        pytest.param("no", marks=pytest.mark.config(
            gateway__lan_interfaces="lan0, lan1", media__keep_local="no"))])
    def test_they_hear_each_other(self, net, daemon, tmp_path, keep):
        with contextlib.ExitStack() as running:
            def start(program):
                running.callback(program.close)
                return program.start()

            start(Kamailio(net.prov, tmp_path, PROXY))
            alice = start(Phone(net.phone, tmp_path / "alice", ALICE,
                                "alice", PROXY, 440))
            dave = start(Phone(net.phone2, tmp_path / "dave", DAVE, "dave",
                               PROXY, 880))
            assert alice.register(), alice.log()
            assert dave.register(), dave.log()
            begun, mark = time.time(), dave.mark()
            alice.dial(dave.uri)
            assert alice.wait("CALL_ESTABLISHED", timeout=15), alice.log()
            time.sleep(3)
            through = [d for d in net.lan.datagrams(src=ALICE)
                       if d.payload[:1] == b"\x80" and len(d.payload) > 100]
            alice.hangup()
            assert dave.wait("CALL_CLOSED", since=mark, timeout=5)
            heard = {p: tone.of_file(p.recording(since=begun))
                     for p in (alice, dave)}
        assert {d.dst for d in through} == {
            DAVE if keep == "yes" else PUBLIC}
        assert heard[alice].is_at(880, seconds=2), heard[alice]
        assert heard[dave].is_at(440, seconds=2), heard[dave]
        time.sleep(0.3)
        assert daemon.status()["media_mappings"] == 0
