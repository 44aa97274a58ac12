# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets whose source is not where they come from.

What cannot be known: on one LAN a host may send as another one there. Its
switch or access point may know better; sipalgd.8, SECURITY CONSIDERATIONS.
"""

import pytest

from lib.attack import entries_of, is_shut, sip_of, spoof
from lib.agents import rtp
from lib.call import Call, announced, call_out
from lib.gateway import ALICE, BOB, MEDIA, PROXY, PUBLIC, STRANGER
from lib.sip import sdp

GATEWAY = "192.168.1.1"
SERVER = (PROXY, 5060)


@pytest.fixture
def open_net(net):
    """A gateway that leaves it to us: no reverse path filter."""
    net.gw.sysctl(**{f"conf__{name}__rp_filter": 0
                     for name in ("all", "lan0", "wan0")})
    return net


@pytest.mark.parametrize("source", [
    GATEWAY, PUBLIC, "192.168.1.255", "10.1.2.3", "8.8.8.8", "127.0.0.1",
    "224.0.0.5"])
def test_only_hosts_of_the_lan_are_inside(open_net, daemon, source):
    """The gateway's services, too, are opened by nobody."""
    for number, port in enumerate((5060, 8008)):
        for method in ("REGISTER", "INVITE"):
            spoof(open_net.phone, (source, port), SERVER,
                  sip_of(source, 7000 + number, method))
    status = daemon.status()
    assert status["flows"] == status["media_mappings"] == 0
    assert daemon.stats()["mappings_created"] == 0
    assert daemon.stats()["rewritten"] == 0
    assert not [e for e in open_net.conntrack.text().splitlines()
                if "dport=5060" in e and "ASSURED" in e]


@pytest.mark.config(sip__inbound_from="any", media__source="any")
def test_nobody_outside_is_inside(open_net, daemon, line, media_inside):
    """An inside address, or the gateway's, that arrives from outside."""
    line.register()
    mine = media_inside()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    before = daemon.status()
    for source in (ALICE, BOB, GATEWAY, PUBLIC, "127.0.0.1"):
        spoof(open_net.prov, (source, 5060), line.public[5060],
              sip_of(source, 5060, "INVITE"))
        spoof(open_net.prov, (source, 4000), told[:2], rtp(1))
    line.phone.nothing(0.2)
    mine.rtp.nothing(0.1)
    after = daemon.status()
    for what in ("flows", "calls", "registrations"):
        assert before[what] == after[what], what
    assert not entries_of(open_net, BOB)
    is_shut(open_net, 5060, 4000, host=GATEWAY)
    Call(line).invite_in()


def test_what_claims_to_be_the_registrar_needs_its_secrets(daemon, line, net):
    """The right address and port, but neither Call-ID nor branch."""
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    for method in ("REGISTER", "INVITE", "BYE", "CANCEL"):
        forged = line.phone.request(method, "sip:x@example.com",
                                    to=line.phone.identity)
        forged = forged.replace(f"{ALICE}:5060".encode(),
                                b"%s:%d" % (PUBLIC.encode(), 5060))
        for data in (forged, line.server.respond(forged, 200, tag="x"),
                     line.server.respond(forged, 404, tag="x")):
            spoof(net.prov, SERVER, line.public[5060], data)
            line.phone.recv()
    assert len(daemon.ctl("registrations")) == 1
    assert [c["state"] for c in daemon.ctl("calls") if c["media"]] == [
        "active"]
    call.from_phone("BYE")


def test_from_another_network_nobody_answers_for_the_phone(daemon, line,
                                                           net):
    """A host behind the registrar sends as the phone: it gets no mapping."""
    line.register()
    before = daemon.stats()["mappings_created"]
    spoof(net.prov, (ALICE, 5060), (STRANGER, 5060), sip_of(ALICE, 5070))
    spoof(net.prov, (ALICE, 5060), (PUBLIC, 5060), sip_of(ALICE, 5070))
    assert daemon.stats()["mappings_created"] == before
    is_shut(net, 5070)
