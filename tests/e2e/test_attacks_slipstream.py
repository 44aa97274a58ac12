# SPDX-License-Identifier: GPL-2.0-or-later
"""NAT slipstreaming: a web page makes a browser inside send SIP.

It can choose what stands in the body of a POST, where in it a segment or a
fragment begins, and what name TURN logs in with; never the first bytes.
"""

import time

import pytest

from lib import tcp
from lib.agents import Endpoint
from lib.attack import (TURN_ALLOCATE, fragments, http_post, is_shut,
                        raw_send, sip_of, stun)
from lib.call import Call
from lib.gateway import ALICE, PUBLIC, STRANGER

TARGETS = (22, 80, 445, 3389, 5070, 8080, 9999)
ATTACKER = (STRANGER, 5060)
PADDING = b"a" * 1400
FIRST_FRAGMENT = 1480 - 8  # bytes of the datagram in it


def open_to_nobody(daemon, net, before):
    """No port but the browser's own came to be reachable."""
    is_shut(net, *TARGETS)
    assert daemon.stats()["mappings_created"] == before
    assert daemon.ctl("registrations") == []
    assert daemon.status()["media_mappings"] == 0


def mappings(daemon):
    return daemon.stats()["mappings_created"]


def all_arrives(connection, data):
    """Every byte of it, and each as it was sent."""
    got = b""
    while len(got) < len(data):
        connection.socket.settimeout(3)
        piece = connection.socket.recv(65536)
        assert piece, "closed early"
        got += piece
    assert got == data


@pytest.mark.parametrize("start", [
    "POST / HTTP/1.1", "OPTIONS /x HTTP/1.1", "REGISTER /x HTTP/1.1",
    "OPTIONS http://attacker.example:5060/ HTTP/1.1",
    "INVITE sip:x@y HTTP/1.1", "SIP/2.0x POST"])
def test_a_segment_of_a_post_is_no_sip(daemon, net, own, start):
    listener = own(tcp.Listener(net.prov, *ATTACKER))
    browser = own(tcp.connect(net.phone, ATTACKER, ALICE))
    web = own(listener.accept())
    before, sent = mappings(daemon), b""
    bodies = [PADDING] + [sip_of(ALICE, port, method, "TCP")
                          for port in TARGETS
                          for method in ("REGISTER", "INVITE")]
    post = http_post(b"".join(bodies), start)
    head = post[:post.index(PADDING)]
    for piece in (head + PADDING, *bodies[1:]):  # each begins a segment
        browser.send(piece)
        sent += piece
        time.sleep(0.005)
    all_arrives(web, sent)
    answer = sip_of(ALICE, 445, "INVITE", "TCP")
    web.send(answer)  # nor is what comes back
    all_arrives(browser, answer)
    open_to_nobody(daemon, net, before)


def test_turn_over_tcp_is_no_sip(daemon, net, own):
    listener = own(tcp.Listener(net.prov, *ATTACKER))
    browser = own(tcp.connect(net.phone, ATTACKER, ALICE))
    web = own(listener.accept())
    before, sent = mappings(daemon), b""
    for port in TARGETS:
        for method in ("REGISTER", "INVITE"):
            data = stun(TURN_ALLOCATE, PADDING)
            text = sip_of(ALICE, port, method, "TCP")
            for piece in (data, text, stun(TURN_ALLOCATE, text)):
                browser.send(piece)
                sent += piece
                time.sleep(0.005)
    all_arrives(web, sent)
    open_to_nobody(daemon, net, before)


def turn_datagram(port, method):
    """Its second fragment begins with the SIP message."""
    text = sip_of(ALICE, port, method)
    name = b"b" * (FIRST_FRAGMENT - 24) + text
    data = stun(TURN_ALLOCATE, name)
    assert data[FIRST_FRAGMENT:].startswith(method.encode())
    return data


@pytest.mark.parametrize("order", ["first", "last", "alone"])
def test_a_fragment_of_a_datagram_is_no_sip(daemon, net, listen_outside,
                                            order):
    attacker = listen_outside(*ATTACKER)
    raw_send(net.phone, fragments((ALICE, 50000), ATTACKER, b"x"),
             STRANGER)
    assert attacker.recv()[0] == b"x"
    before = mappings(daemon)
    for ident, port in enumerate(TARGETS):
        for method in ("REGISTER", "INVITE"):
            data = turn_datagram(port, method)
            parts = fragments((ALICE, 50000), ATTACKER, data,
                              ident=100 + 2 * ident + (method == "INVITE"))
            if order == "last":
                parts.reverse()
            elif order == "alone":
                del parts[0]
            raw_send(net.phone, parts, STRANGER)
            if order != "alone":
                assert attacker.recv()[0] == data
    open_to_nobody(daemon, net, before)


def test_who_is_sent_no_sip_reaches_nobody(daemon, net, line, server, own):
    """STUN to an attacker's SIP port lets it answer there, and no more."""
    line.register()
    browser = own(Endpoint(net.phone, ALICE, 50000))
    listener = own(tcp.Listener(net.phone, ALICE, 50000))
    attacker = server(*ATTACKER)
    browser.send(stun(), ATTACKER)
    _, public = attacker.recv()
    attacker.send(b"answer", public)
    assert browser.recv()[0] == b"answer"
    for target in (line.public[5060], public):
        attacker.send(attacker.request(
            "INVITE", "sip:alice@%s:%d" % target), target)
    browser.recv()  # by the flow it has opened itself
    line.phone.nothing()
    other = own(Endpoint(net.prov, STRANGER, 5061))
    other.send(b"by another port", public)
    browser.nothing()
    with pytest.raises(AssertionError):
        tcp.connect(net.prov, (PUBLIC, public[1]), STRANGER, wait_s=1)
    listener.nobody(0.1)


@pytest.mark.config(sip__inbound_from="any")
def test_from_any_is_to_phones_only(daemon, net, server, own):
    """What said no SIP is no phone, whoever may call those."""
    browser = own(Endpoint(net.phone, ALICE, 50000))
    attacker, other = server(*ATTACKER), server(STRANGER, 5070)
    browser.send(stun(), ATTACKER)
    _, public = attacker.recv()
    other.send(other.request("INVITE", "sip:a@%s:%d" % public), public)
    browser.nothing()


def test_the_phone_beside_goes_on(daemon, net, line, own):
    """A web page open beside a softphone takes nothing from it."""
    line.register()
    listener = own(tcp.Listener(net.prov, *ATTACKER))
    browser = own(tcp.connect(net.phone, ATTACKER, ALICE))
    listener.accept()
    browser.send(http_post(PADDING + line.phone.register(0)))
    raw_send(net.phone, fragments(
        (ALICE, 50000), ATTACKER, turn_datagram(5060, "REGISTER")), STRANGER)
    assert [r["contact_inside"] for r in daemon.ctl("registrations")]
    Call(line).invite_in()
