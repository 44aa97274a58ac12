# SPDX-License-Identifier: GPL-2.0-or-later
"""Answers to REGISTER that no registrar gave, and old ones.

A mapping is opened by the registrar's 2xx, to the REGISTER that asked for it,
from where that was sent; and closed when the binding ends.
"""

import time

import pytest

from lib import sip, tcp
from lib.agents import Line
from lib.attack import entries_of, is_shut, spoof
from lib.call import Call
from lib.gateway import ALICE, PROXY, PROXY2, PUBLIC, STRANGER

from_any = pytest.mark.config(sip__inbound_from="any")
LONG = 7 * 24 * 3600


def held(net):
    """Seconds for which the way in is kept for the registrar."""
    return max((e.timeout for e in net.conntrack.udp(
        src=ALICE, dst=PROXY) if e.assured), default=0)


def granted(line, seen, expires=LONG):
    """The 200 that the registrar would give."""
    return line.server.respond(
        seen.bytes, 200, source=line.public[5060], tag="r",
        headers=[f"Expires: {expires}"])


def calls_nobody(net, sender, public, *listening):
    """An INVITE to a public port reaches nobody."""
    sender.send(sender.request("INVITE", "sip:alice@%s:%d" % public), public)
    for agent in listening:
        agent.nothing(0.3)


def confirmed(daemon):
    return daemon.stats()["registrations_confirmed"]


def test_only_its_registrar_grants_a_registration(daemon, net, line, server):
    seen = line.out(line.phone.register())
    forged, public = granted(line, seen), line.public[5060]
    for host, port in ((STRANGER, 5060), (PROXY2, 5060), (PROXY, 5070)):
        server(host, port).send(forged, public)
    time.sleep(0.2)
    assert confirmed(daemon) == 0 and held(net) < 3600
    assert not [r for r in daemon.ctl("registrations")
                if r["expires_s"] > 0]
    line.server.send(forged.replace(b"CSeq: 1 ", b"CSeq: 2 "), public)
    line.server.send(forged.replace(b"Call-ID: ", b"Call-ID: x"), public)
    for _ in range(2):
        line.phone.recv()
    assert confirmed(daemon) == 0 and held(net) < 3600
    line.into(granted(line, seen, 3600))
    assert confirmed(daemon) == 1 and held(net) > 3000
    Call(line).invite_in()


def test_before_any_register_an_answer_is_nothing(daemon, net, line, server):
    forged = line.phone.register()
    answer = line.server.respond(forged.replace(ALICE.encode(),
                                                PUBLIC.encode()), 200)
    for sender in (line.server, server(STRANGER)):
        sender.send(answer, (PUBLIC, 5060))
    line.phone.nothing()
    assert not entries_of(net, ALICE)
    assert daemon.status()["registrations"] == 0
    line.register()


@pytest.mark.parametrize("admitted", [
    pytest.param("registrar"), pytest.param("any", marks=from_any)])
def test_nobody_comes_in_before_the_grant(daemon, net, phone, server,
                                          admitted):
    """Neither to the port it sends from nor to one that it only names."""
    line = Line(phone(contact_port=5074), server())
    listens = phone(port=5074)
    beside = [server(PROXY, 5070), server(PROXY2), server(STRANGER)]
    line.phone.send(line.phone.register(), line.server.address)
    seen, public = line.server.recv()
    line.public[5060] = public
    contact = sip.Message(seen).contact
    assert contact[0] == PUBLIC and contact != public
    for sender in (*beside, line.server):
        if sender is not line.server:
            calls_nobody(net, sender, public, line.phone)
        calls_nobody(net, sender, contact, listens)
    is_shut(net, 5074)
    line.server.send(line.server.respond(seen, 200, source=public, tag="r",
                                         headers=["Expires: 3600"]), public)
    line.phone.recv()
    line.server.send(line.server.request(
        "OPTIONS", "sip:alice@%s:%d" % contact), contact)
    listens.recv()
    for sender in beside:
        if admitted == "any" or sender.host == PROXY:
            sender.send(sender.request(
                "OPTIONS", "sip:alice@%s:%d" % contact), contact)
            listens.recv()
        else:
            calls_nobody(net, sender, contact, listens)


@from_any
def test_a_refused_registration_opens_to_nobody(daemon, net, line, server):
    seen = line.out(line.phone.register())
    line.into(line.server.respond(seen.bytes, 403, contact=False, tag="r",
                                  source=line.public[5060]))
    calls_nobody(net, server(STRANGER), line.public[5060], line.phone)


@from_any
def test_a_removed_registration_closes(daemon, net, line, server):
    line.register()
    stranger = server(STRANGER, 5070)
    other = Line(line.phone, stranger)
    other.public = line.public
    Call(other).invite_in()
    line.register(expires=0)
    calls_nobody(net, server(STRANGER, 5071), line.public[5060], line.phone)


def test_a_contact_over_tcp_opens_with_the_grant(daemon, net, own):
    line = own(tcp.TcpLine(net, ALICE))
    listener = own(tcp.Listener(net.phone, ALICE))
    seen = line.out(line.phone.register())
    with pytest.raises(AssertionError):
        tcp.connect(net.prov, seen.contact, PROXY, wait_s=1)
    listener.nobody(0.1)
    line.into(line.server.respond(seen.bytes, 200, source=line.outside.peer,
                                  tag="r", headers=["Expires: 3600"]))
    own(tcp.connect(net.prov, seen.contact, PROXY))
    own(listener.accept())


def test_an_old_answer_prolongs_nothing(daemon, net, line):
    """The registrar's last 200 again, by who has overheard it."""
    seen = line.out(line.phone.register(expires=600))
    answer = granted(line, seen, 600)
    line.into(answer)
    time.sleep(1.1)
    spoof(net.prov, line.server.address, line.public[5060], answer)
    line.phone.recv()
    assert confirmed(daemon) == 1
    assert held(net) < 600
    assert daemon.ctl("registrations")[0]["expires_s"] < 600


def test_an_old_answer_brings_nothing_back(daemon, net, line):
    """200 to a REGISTER that has been taken back since."""
    seen = line.out(line.phone.register())
    answer = granted(line, seen)
    line.into(answer)
    line.register(expires=0)
    line.server.send(answer, line.public[5060])
    line.phone.recv()
    assert daemon.status()["registrations"] == 0 and held(net) < 3600


def test_an_answer_again_is_no_second_refusal(daemon, line):
    """A registrar that repeats its challenge has asked once."""
    seen = line.out(line.phone.register())
    answer = line.server.respond(seen.bytes, 401, contact=False, tag="r",
                                 source=line.public[5060])
    for _ in range(4):
        line.into(answer)
    assert daemon.stats()["symptom_registration_refused"] == 0
    line.register()


def test_a_register_from_outside_registers_nobody(daemon, net, line, server):
    """Repeated as the registrar saw it, from anywhere."""
    seen = line.register()
    old, public = held(net), line.public[5060]
    for sender in (server(STRANGER), server(PROXY2), line.server):
        sender.send(seen.bytes.replace(b"CSeq: 1 ", b"CSeq: 9 "), public)
    line.phone.recv()
    line.phone.nothing(0.2)
    assert len(daemon.ctl("registrations")) == 1
    assert held(net) <= old
    Call(line).invite_in()
