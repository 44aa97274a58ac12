# SPDX-License-Identifier: GPL-2.0-or-later
"""Registrations going out and their answers coming back."""

import pytest

from lib import sip
from lib.agents import Line
from lib.gateway import ALICE, BOB, NAT, PROXY, PROXY2, PUBLIC

every_nat = pytest.mark.parametrize(
    "nat", [pytest.param(kind, marks=pytest.mark.nat(kind)) for kind in NAT])


def exchange(phone, proxy, register, edits):
    """Send a REGISTER; (what the proxy saw, its source).

    edits: of source, as "address:port", the expected edits.
    """
    phone.send(register, proxy.address)
    seen, source = proxy.recv()
    sip.only_addresses_changed(register, seen, edits("%s:%d" % source))
    return seen, source


def via_and_contact(public, inside=f"{ALICE}:5060"):
    return {"Via": (inside, public), "Contact": (inside, public)}


@every_nat
def test_first_register_carries_what_the_provider_sees(
        daemon, phone, server, nat):
    alice, proxy = phone(), server()
    _, source = exchange(alice, proxy, alice.register(), via_and_contact)
    assert source[0] == PUBLIC
    assert 5060 <= source[1] <= 5999


@every_nat
def test_the_answer_is_as_the_phone_wrote_it(daemon, phone, server, nat):
    alice, proxy = phone(), server()
    seen, source = exchange(alice, proxy, alice.register(), via_and_contact)
    public = "%s:%d" % source
    contact = sip.Message(seen).get("Contact") + ";expires=1800"
    answer = proxy.respond(seen, 200, source=source, tag="reg",
                           contact=False, headers=[f"Contact: {contact}"])
    proxy.send(answer, source)
    got, came_from = alice.recv()
    assert came_from == proxy.address
    via = sip.Message(answer).get("Via")
    sip.only_addresses_changed(answer, got, {
        "Via": (via, via.replace(public, f"{ALICE}:5060")
                .replace(f"received={PUBLIC}", f"received={ALICE}")
                .replace(f"rport={source[1]}", "rport=5060")),
        "Contact": (public, f"{ALICE}:5060")})


def test_a_server_without_rport_still_gets_received_restored(
        daemon, phone, server):
    alice, proxy = phone(), server()
    register = alice.register(via=alice.via(""))
    seen, source = exchange(alice, proxy, register, via_and_contact)
    answer = proxy.respond(seen, 200, tag="reg").replace(
        b"\r\nFrom:", f";received={PUBLIC}\r\nFrom:".encode(), 1)
    proxy.send(answer, source)
    got, _ = alice.recv()
    public, inside = "%s:%d" % source, f"{ALICE}:5060"
    via = sip.Message(answer).get("Via")
    sip.only_addresses_changed(answer, got, {
        "Via": (via, via.replace(public, inside)
                .replace(f"received={PUBLIC}", f"received={ALICE}")),
        "Contact": (public, inside)})


def test_a_401_is_restored_too(daemon, line):
    seen = line.out(line.phone.register())
    line.into(line.server.respond(
        seen.bytes, 401, source=line.public[5060], tag="x", contact=False,
        headers=['WWW-Authenticate: Digest realm="203.0.113.4", '
                 'nonce="203.0.113.4:5060"']))


def test_digest_fields_and_call_id_keep_the_private_address(
        daemon, phone, server):
    alice, proxy = phone(), server()
    register = alice.register(call_id=f"77@{ALICE}", headers=[
        f'Authorization: Digest username="a", realm="{ALICE}", '
        f'uri="sip:{ALICE}", response="00"',
        f"User-Agent: Phone at {ALICE}:5060",
        f"X-Mine: <sip:alice@{ALICE}:5060>"])
    exchange(alice, proxy, register, via_and_contact)


def test_ports_left_out_stay_out_both_ways(daemon, phone, server):
    alice, proxy = phone(), server()
    alice.contact = f"<sip:alice@{ALICE}>"
    register = alice.register(
        via=f"SIP/2.0/UDP {ALICE};rport;branch={sip.unique('z9hG4bK')}")
    alice.send(register, proxy.address)
    seen, source = proxy.recv()
    public = sip.with_port(*source, ALICE)
    sip.only_addresses_changed(register, seen, {
        "Via": (ALICE, public), "Contact": (ALICE, public)})
    answer = proxy.respond(seen, 200, source=source, tag="reg")
    proxy.send(answer, source)
    got, _ = alice.recv()
    via = sip.Message(answer).get("Via")
    sip.only_addresses_changed(answer, got, {
        "Via": (via, via.replace(f"UDP {public}", f"UDP {ALICE}")
                .replace(f"received={PUBLIC}", f"received={ALICE}")
                .replace(f"rport={source[1]}", "rport=5060")),
        "Contact": (public, ALICE)})


@pytest.mark.parametrize("contact", [
    '"Alice, <192.168.1.9>" <sip:alice@192.168.1.9:5060;line=ab;ob>;'
    'expires=60;+sip.instance="<urn:uuid:192.168.1.9>"',
    "sip:alice@192.168.1.9:5060;q=0.5",
    "<SIP:192.168.1.9:5060>",
    "<sip:al%69ce:pw@192.168.1.9:5060;transport=udp?X=1>",
], ids=["decorated", "addr-spec", "no-user", "password-and-headers"])
def test_contact_forms(daemon, phone, server, contact):
    alice, proxy = phone(), server()
    alice.contact = contact
    exchange(alice, proxy, alice.register(), lambda public: {
        "Via": (f"{ALICE}:5060", public),
        "Contact": ("192.168.1.9:5060", public)})


def test_of_several_contacts_only_ours_change(daemon, phone, server):
    alice, proxy = phone(), server()
    alice.contact = (f"<sip:a@198.51.100.7:5060>;q=0.1, "
                     f"<sip:alice@{ALICE}:5060>, <sip:a@home.example>")
    seen, source = exchange(alice, proxy, alice.register(headers=[
        "Contact: <sip:alice@10.0.0.9:5060>"]), via_and_contact)
    answer = proxy.respond(seen, 200, tag="r")
    proxy.send(answer, source)
    got, _ = alice.recv()
    public, inside = "%s:%d" % source, f"{ALICE}:5060"
    sip.only_addresses_changed(answer, got, {
        "Via": (public, inside), "Contact": (public, inside)})


def test_compact_names_folds_case_and_odd_spaces(daemon, phone, server):
    alice, proxy = phone(), server()
    register = (
        b"REGISTER sip:example.com SIP/2.0\r\n"
        b"v :  SIP / 2.0 / UDP\r\n 192.168.1.9:5060 ;rport;branch=z9hG4bKf\r\n"
        b"f: sip:alice@example.com;tag=1\r\n"
        b"T:<sip:alice@example.com>\r\n"
        b"i: folded\r\nCSEQ: 1\r\n\tREGISTER\r\n"
        b"m:\r\n \"A\"\r\n\t<sip:alice@192.168.1.9:5060>\r\n"
        b"max-forwards:70\r\nl:   0\r\n\r\n")
    alice.send(register, proxy.address)
    seen, source = proxy.recv()
    public = b"%s:%d" % (source[0].encode(), source[1])
    sip.same_bytes(register.replace(b"192.168.1.9:5060", public), seen)


def test_two_phones_both_on_5060(daemon, phone, server):
    proxy = server()
    lines = [Line(phone(ALICE, user="alice"), proxy),
             Line(phone(BOB, user="bob"), proxy)]
    for line in lines:
        line.register()
    ports = [line.public[5060] for line in lines]
    assert ports[0] != ports[1]


def test_contact_port_differs_from_source_port(daemon, phone, server,
                                               listen_inside):
    alice, proxy = phone(contact_port=5070), server()
    ear = listen_inside(ALICE, 5070)
    register = alice.register()
    alice.send(register, proxy.address)
    seen, source = proxy.recv()
    contact = sip.Message(seen).contact
    sip.only_addresses_changed(register, seen, {
        "Via": (f"{ALICE}:5060", "%s:%d" % source),
        "Contact": (f"{ALICE}:5070", "%s:%d" % contact)})
    assert contact[0] == PUBLIC and contact != source
    answer = proxy.respond(seen, 200, source=source, tag="r")
    proxy.send(answer, source)
    got, _ = alice.recv()
    assert sip.Message(got).contact == (ALICE, 5070)

    uri = "sip:alice@%s:%d" % contact
    invite = proxy.request("INVITE", uri, to=alice.identity)
    proxy.send(invite, contact)
    got, came_from = ear.recv()
    assert came_from == proxy.address
    sip.only_addresses_changed(invite, got, {
        "Request-URI": ("%s:%d" % contact, f"{ALICE}:5070")})


def test_via_port_differs_from_source_port(daemon, net, own, phone, server,
                                           listen_inside):
    """A phone that sends from a high port and listens on 5060."""
    alice, proxy = phone(port=51000), server()
    ear = listen_inside(ALICE, 5060)
    alice.contact = f"<sip:alice@{ALICE}:5060>"
    via = f"SIP/2.0/UDP {ALICE}:5060;branch={sip.unique('z9hG4bK')}"
    alice.send(alice.register(via=via), proxy.address)
    seen, _ = proxy.recv()
    sent_by = sip.Message(seen).via
    assert sent_by[0] == PUBLIC
    # no rport: the answer goes to the sent-by port (RFC 3261 18.2.2)
    proxy.send(proxy.respond(seen, 200, tag="r"), sent_by)
    got, _ = ear.recv()
    assert sip.Message(got).get("Via") == via
    assert sip.Message(got).contact == (ALICE, 5060)


@every_nat
def test_one_public_port_towards_two_proxies(daemon, phone, server, nat):
    alice = phone()
    lines = [Line(alice, server(PROXY)), Line(alice, server(PROXY2))]
    for line in lines:
        line.register()
    assert lines[0].public == lines[1].public


@every_nat
def test_reregistration_keeps_the_public_port(daemon, line, nat):
    for _ in range(3):
        line.register()  # Line.out() watches the port


@pytest.mark.sysctl(nf_conntrack_udp_timeout=1,
                    nf_conntrack_udp_timeout_stream=1)
@pytest.mark.nat("random")
def test_restart_keeps_the_public_port(daemon, line):
    line.register()
    daemon.stop()
    daemon.start()
    line.register()


def test_a_flow_older_than_the_daemon_keeps_its_mapping(
        net, phone, server, daemon):
    """conntrack is the truth, whatever the daemon would have chosen."""
    line = Line(phone(port=5077), server())
    daemon.stop()
    daemon.remove_rules()
    line.phone.send(b"\r\n\r\n", line.server.address)
    _, source = line.server.recv()
    daemon.apply_rules()
    daemon.start()
    line.register()
    assert line.public[5077] == source == (PUBLIC, 5077)


def test_a_phone_that_knows_its_public_address_is_left_alone(
        daemon, phone, server):
    """pjsip#643: restoring what we did not change makes it register anew."""
    alice, proxy = phone(), server()
    _, source = exchange(alice, proxy, alice.register(), via_and_contact)
    public = "%s:%d" % source
    alice.contact = f"<sip:alice@{public}>"
    via = f"SIP/2.0/UDP {public};branch={sip.unique('z9hG4bK')}"
    seen, _ = exchange(alice, proxy, alice.register(via=via),
                       lambda _public: {})
    answer = proxy.respond(seen, 200, tag="r")
    proxy.send(answer, source)
    got, _ = alice.recv()
    sip.same_bytes(answer, got)


def test_from_and_to_with_the_phones_own_address(daemon, phone, server):
    alice, proxy = phone(from_host=f"{ALICE}:5060"), server()
    seen, source = exchange(
        alice, proxy, alice.register(), lambda public: {
            **via_and_contact(public), "From": (f"{ALICE}:5060", public),
            "To": (f"{ALICE}:5060", public)})
    answer = proxy.respond(seen, 200, tag="r")
    proxy.send(answer, source)
    got, _ = alice.recv()
    public, inside = "%s:%d" % source, f"{ALICE}:5060"
    sip.only_addresses_changed(answer, got, {
        key: (public, inside) for key in ("Via", "Contact", "From", "To")})


@pytest.mark.config(sip__map_from_to="no")
def test_from_and_to_stay_if_so_configured(daemon, phone, server):
    alice, proxy = phone(from_host=f"{ALICE}:5060"), server()
    exchange(alice, proxy, alice.register(), via_and_contact)


def test_other_vias_and_others_addresses_stay(daemon, phone, server):
    alice, proxy = phone(from_host=BOB), server()
    register = alice.register(
        via=alice.via() + f", SIP/2.0/UDP {BOB}:5060;branch=z9hG4bKlow",
        headers=[f"Via: SIP/2.0/UDP {ALICE}:5070;branch=z9hG4bKlower",
                 f"Route: <sip:{PROXY};lr>"])
    exchange(alice, proxy, register, via_and_contact)
