# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests from outside: who reaches a phone, and for how long."""

import time

import pytest

from lib import sip
from lib.agents import Line
from lib.call import Call
from lib.gateway import ALICE, BOB, PROXY, PROXY2, STRANGER

short = pytest.mark.sysctl(nf_conntrack_udp_timeout=2,
                           nf_conntrack_udp_timeout_stream=2)
GONE_S = 5  # a mapping's end may take the kernel's 2 s and a little
GRACE_S = 8  # for a refresh that comes late


def invite_blocked(line, sender=None):
    """An INVITE to the phone's public address does not arrive."""
    sender = sender or line.server
    public = line.public[line.phone.port]
    uri = "sip:alice@%s:%d" % public
    sender.send(sender.request("INVITE", uri), public)
    line.phone.nothing()


def test_each_phone_gets_its_own_calls(daemon, phone, server):
    proxy = server()
    lines = [Line(phone(ALICE, user="alice"), proxy),
             Line(phone(BOB, user="bob"), proxy)]
    for line in lines:
        line.register()
    for line in lines + lines[::-1]:
        seen = Call(line).invite_in()
        user, host = line.phone.user, line.phone.host
        assert seen.uri == f"sip:{user}@{host}:5060"
    for line in lines:
        line.phone.nothing(0.1)


@short
@pytest.mark.parametrize("nat", [
    pytest.param("masquerade", marks=pytest.mark.nat("masquerade")),
    pytest.param("random", marks=pytest.mark.nat("random"))])
def test_reachable_long_after_the_udp_timeout(daemon, line, nat):
    line.register(expires=3600)
    time.sleep(6)
    call = Call(line)
    call.invite_in()
    call.answer_out(180)
    call.answer_out(200)
    call.ack_in()
    time.sleep(6)
    call.from_server("BYE")
    time.sleep(4)
    Call(line).invite_in()


@short
def test_reachable_over_a_restart(daemon, line):
    line.register(expires=3600)
    daemon.stop()
    time.sleep(4)
    daemon.start()
    time.sleep(1)
    Call(line).invite_in()


@short
def test_reachable_while_the_daemon_is_down(daemon, line):
    line.register(expires=3600)
    daemon.stop()
    time.sleep(4)
    public = line.public[5060]
    line.server.send(b"anything", public)
    assert line.phone.recv()[0] == b"anything"
    daemon.start()


@short
def test_unreachable_once_the_registration_lapsed(daemon, line):
    line.register(expires=3)
    call = Call(line)
    call.invite_in()
    call.fail_out(486)  # a call under way would keep its peer let in
    time.sleep(3 + GRACE_S)
    invite_blocked(line)


@short
def test_outside_cannot_prolong_a_registration_by_calling(daemon, line):
    """INVITEs that the phone never answers are no reason to stay open."""
    line.register(expires=3)
    Call(line).invite_in()
    time.sleep(3 + GRACE_S)
    invite_blocked(line)


@short
def test_a_call_outlives_the_registration(daemon, line):
    """The phone rings: 200, ACK and BYE must still come through."""
    line.register(expires=3)
    call = Call(line)
    call.invite_in()
    call.answer_out(180)
    time.sleep(3 + GRACE_S)
    call.answer_out(200)
    call.ack_in()
    call.from_server("BYE")


@short
def test_the_granted_expiry_counts(daemon, line):
    seen = line.out(line.phone.register(expires=3600))
    line.into(line.server.respond(
        seen.bytes, 200, source=line.public[5060], tag="r", contact=False,
        headers=[f"Contact: {seen.get('Contact')};expires=3"]))
    time.sleep(3 + GRACE_S)
    invite_blocked(line)


@short
def test_a_refresh_prolongs(daemon, line):
    line.register(expires=4)
    time.sleep(2)
    line.register(expires=3600)
    time.sleep(4 + GRACE_S)
    Call(line).invite_in()


@short
@pytest.mark.parametrize("contact", [None, "*"], ids=["expires-0", "star"])
def test_unreachable_once_unregistered(daemon, line, contact):
    line.register()
    if contact:
        line.phone.contact = contact
    seen = line.out(line.phone.register(expires=0))
    line.into(line.server.respond(seen.bytes, 200, contact=False, tag="r",
                                  source=line.public[5060]))
    time.sleep(GONE_S)
    invite_blocked(line)


@short
def test_a_refused_registration_opens_nothing(daemon, line):
    seen = line.out(line.phone.register())
    line.into(line.server.respond(seen.bytes, 403, contact=False, tag="r",
                                  source=line.public[5060]))
    time.sleep(GONE_S)
    invite_blocked(line)


@short
def test_one_phones_end_leaves_the_other(daemon, phone, server):
    proxy = server()
    alice = Line(phone(ALICE, user="alice"), proxy)
    bob = Line(phone(BOB, user="bob"), proxy)
    alice.register(expires=3)
    bob.register()
    time.sleep(3 + GRACE_S)
    invite_blocked(alice)
    Call(bob).invite_in()


@pytest.mark.parametrize("port", [5060, 5070])
def test_a_stranger_reaches_no_phone(daemon, line, server, port):
    line.register()
    stranger = server(STRANGER, port)
    invite_blocked(line, stranger)
    assert "203.0.113.20" not in daemon.namespace.run(
        ["conntrack", "-L"]).stdout
    Call(line).invite_in()


def test_nobody_reaches_a_phone_that_never_spoke(daemon, phone, server):
    alice, proxy = phone(), server()
    for port in (5060, 5061, 5062):
        public = ("203.0.113.4", port)
        proxy.send(proxy.request("INVITE", "sip:alice@%s:%d" % public),
                   public)
    alice.nothing()


def test_a_second_registrar_reaches_the_phone(daemon, phone, server):
    alice = phone()
    lines = [Line(alice, server(PROXY)), Line(alice, server(PROXY2))]
    lines[0].register()
    invite_blocked(lines[0], lines[1].server)
    lines[1].register()
    for line in lines:
        Call(line).invite_in()


@pytest.mark.config(sip__inbound_from="any")
def test_inbound_from_any(daemon, line, server):
    line.register()
    stranger = Line(line.phone, server(STRANGER, 5070))
    stranger.public = line.public
    call = Call(stranger)
    call.invite_in()
    call.answer_out(180)


@pytest.mark.config(sip__inbound_from="203.0.113.11/32, 203.0.113.12/31")
def test_inbound_from_a_list(daemon, line, server):
    line.register()
    listed = Line(line.phone, server(PROXY2))
    listed.public = line.public
    call = Call(listed)
    call.invite_in()
    call.answer_out(180)
    invite_blocked(line, server(STRANGER))


def test_answers_carry_the_outside_headers_back_exactly(daemon, line):
    """Via, Record-Route, From, To, Call-ID, CSeq: as outside sent them."""
    line.register()
    public = "%s:%d" % line.public[5060]
    invite = line.server.request(
        "INVITE", f"sip:alice@{public}", to=f"<sip:alice@{public}>",
        headers=["Via: SIP/2.0/UDP 192.168.1.9:5060;branch=z9hG4bKlow",
                 f"Record-Route: <sip:{PROXY};lr>, <sip:10.1.1.1;lr>"])
    seen = line.into(invite, {"Request-URI": (public, f"{ALICE}:5060"),
                              "To": (public, f"{ALICE}:5060")})
    response = line.phone.respond(seen.bytes, 180, tag="t")
    line.phone.send(response, line.server.address)
    got, _ = line.server.recv()
    sip.only_addresses_changed(response, got, {
        "To": (f"{ALICE}:5060", public),
        "Contact": (f"{ALICE}:5060", public)})
    sent, back = sip.Message(invite), sip.Message(got)
    for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq"):
        assert back.all(name) == sent.all(name)
    assert back.get("To") == sent.get("To") + ";tag=t"


def test_route_of_the_phone_is_restored(daemon, line):
    """The phone record-routes (a PBX); requests come back with a Route."""
    line.register()
    public = "%s:%d" % line.public[5060]
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", headers=[
        f"Record-Route: <sip:{ALICE}:5060;lr>",
        f"Path: <sip:{ALICE}:5060;lr;ob>"])
    seen = line.out(invite, {
        name: (f"{ALICE}:5060", public)
        for name in ("Via", "Contact", "Record-Route", "Path")})
    ok = line.server.respond(seen.bytes, 200, tag="t",
                             source=line.public[5060])
    line.into(ok, {**line.inbound_edits(ok),
                   "Record-Route": (public, f"{ALICE}:5060")})
    bye = line.server.request(
        "BYE", f"sip:alice@{public}", to=line.phone.identity,
        headers=[f"Route: <sip:{public};lr>"])
    line.into(bye, {"Request-URI": (public, f"{ALICE}:5060"),
                    "Route": (public, f"{ALICE}:5060")})


def test_refer_to_and_identities_of_inside_hosts(daemon, phone, server):
    alice = Line(phone(ALICE), server(PROXY))
    bob = Line(phone(BOB, user="bob"), alice.server)
    for line in (alice, bob):
        line.register()
    publics = ["%s:%d" % line.public[5060] for line in (alice, bob)]
    names = ("Referred-By", "Reply-To", "P-Asserted-Identity",
             "P-Preferred-Identity", "Remote-Party-ID", "Diversion",
             "History-Info")
    refer = alice.phone.request("REFER", "sip:x@203.0.113.10", headers=[
        f"Refer-To: <sip:bob@{BOB}:5060?Replaces=1%40{BOB}>",
        *(f"{name}: <sip:alice@{ALICE}:5060>" for name in names),
        "Alert-Info: <http://192.168.1.9:5060/ring.wav>"])
    seen = alice.out(refer, {
        "Via": (f"{ALICE}:5060", publics[0]),
        "Contact": (f"{ALICE}:5060", publics[0]),
        "Refer-To": (f"bob@{BOB}:5060", f"bob@{publics[1]}"),
        **{name: (f"{ALICE}:5060", publics[0]) for name in names}})
    inward = alice.server.request(
        "NOTIFY", f"sip:alice@{publics[0]}", to=alice.phone.identity,
        headers=[f"Refer-To: {seen.get('Refer-To')}",
                 f"Referred-By: {seen.get('Referred-By')}"])
    alice.into(inward, {
        "Request-URI": (publics[0], f"{ALICE}:5060"),
        "Refer-To": (publics[1], f"{BOB}:5060"),
        "Referred-By": (publics[0], f"{ALICE}:5060")})
