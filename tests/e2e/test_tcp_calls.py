# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls whose signalling is over TCP: media, and phones that meet inside."""

import pytest

from lib import sip
from lib.agents import media_blocked, media_flows
from lib.call import Call, announced, call_in, call_out
from lib.ctnetlink import tcp as tcp_entries
from lib.gateway import MEDIA, PROXY, PUBLIC
from lib.sip import sdp
from lib.tcp import Listener, TcpLine, connect
from lib.tcpnet import LONG, SHORT, TcpNet, opened
from lib.tcpref import same_stream
from lib.topologies import allow


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def line(net, daemon, own):
    net.patient()
    line = own(TcpLine(net))
    line.register()
    return line


@pytest.fixture
def ends(media_inside, media_outside):
    return media_inside(SHORT), media_outside(MEDIA)


@pytest.mark.parametrize("first", ["inside", "outside"])
def test_call_out(daemon, line, ends, first):
    call = call_out(line, sdp(SHORT, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    assert told[0] == PUBLIC and 16384 <= told[1] <= 32767
    media_flows(*ends, told, first=first)
    call.from_phone("BYE")
    media_blocked(*ends, told)
    assert daemon.status()["media_mappings"] == 0


@pytest.mark.parametrize("mode", ["observe", "bypass"])
def test_carried_to_its_end(daemon, line, ends, mode):
    """Whatever mode says meanwhile; the line sees to it that all is mapped."""
    call = call_out(line, sdp(SHORT, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    daemon.ctl("mode", mode)
    media_flows(*ends, told)
    call.reinvite_from_phone(sdp(SHORT, (4000, "a=sendonly"), version=2),
                             sdp(MEDIA, (8000, "a=recvonly"), version=2))
    media_flows(*ends, told)
    call.from_server("BYE")
    media_blocked(*ends, told)
    assert daemon.stats()["tcp_resets"] == 0


@pytest.mark.parametrize("first", ["inside", "outside"])
def test_call_in(daemon, line, ends, first):
    call = call_in(line, sdp(MEDIA, 8000), sdp(SHORT, 4000))
    told = announced(call.answer_out_seen)
    assert told[0] == PUBLIC
    media_flows(*ends, told, first=first)
    call.from_server("BYE")
    media_blocked(*ends, told)


def test_early_media_hold_and_a_second_offer(line, ends):
    call = Call(line)
    told = announced(call.invite_out(sdp(SHORT, 4000)))
    call.answer_in(183, sdp(MEDIA, 8000))
    media_flows(*ends, told, first="outside")
    call.answer_in(200, sdp(MEDIA, 8000))
    call.ack_out()
    seen, _ = call.reinvite_from_phone(
        sdp(SHORT, (4000, "a=sendonly"), version=2), sdp(MEDIA, 8000))
    assert announced(seen) == told
    call.reinvite_from_server(sdp(MEDIA, 8000, version=2),
                              sdp(SHORT, 4000, version=3))
    media_flows(*ends, told)
    call.from_server("BYE")


def test_a_cancelled_call_opens_nothing(daemon, line, ends):
    call = Call(line)
    told = announced(call.invite_out(sdp(SHORT, 4000)))
    call.cancel_from_phone()
    media_blocked(*ends, told)
    assert daemon.status()["media_mappings"] == 0


def test_the_mapping_is_there_before_the_message(line, media_inside,
                                                 media_outside):
    """Also if the INVITE came in pieces, or with others in one segment."""
    mine, theirs = media_inside(SHORT), media_outside(MEDIA)
    for _ in range(5):
        call = Call(line)
        call.invite_out(sdp(SHORT, 4000))
        response = line.server.respond(
            call.invite_seen.bytes, 200, source=line.outside.peer, tag="c",
            body=sdp(MEDIA, 8000))
        again = line.server.request("OPTIONS", "sip:alice@%s:%d"
                                    % line.outside.peer)
        line.outside.send(again + response[:150])
        line.outside.send(response[150:] + again)
        expected = line.reference.into(again + response + again)
        same_stream(expected, line.inside.read(len(expected)))
        media_flows(mine, theirs, announced(call.invite_seen),
                    first="outside")


def test_a_call_whose_connection_breaks_goes_on_by_another(net, line, ends):
    """The call is not the connection's: RFC 5923, a phone that comes back."""
    call = call_out(line, sdp(SHORT, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    line.inside.reset()
    line.outside.breaks()
    media_flows(*ends, told, first="outside")
    again = TcpLine(net, listener=line.listener)
    again.register()
    call.line, call.inside.agent = again, again.phone
    call.outside.agent = again.server
    media_flows(*ends, told)
    call.from_phone("BYE")
    media_blocked(*ends, told)
    again.close()


def test_between_udp_and_tcp(net, daemon, own, line, phone, server):
    """One phone over UDP, another over TCP, one provider: as each needs."""
    udp, proxy = phone(LONG, user="bob"), server()
    udp.send(udp.register(), proxy.address)
    seen, source = proxy.recv()
    assert sip.Message(seen).contact == source
    line.register()
    line.into(line.server.request("OPTIONS", "sip:alice@%s:%d"
                                  % line.contact))
    proxy.send(proxy.request("OPTIONS", "sip:bob@%s:%d" % source), source)
    assert sip.Message(udp.recv()[0]).uri == f"sip:bob@{LONG}:5060"


def test_two_inside_phones_by_their_public_contacts(net, daemon, own):
    """RFC 5382 REQ-8: hairpin, with the external source."""
    allow(net, ("lan0", "lan0"))
    listener = own(Listener(net.prov, PROXY))
    alice = own(TcpLine(net, SHORT, listener=listener)).learn()
    bob = own(TcpLine(net, LONG, listener=listener, user="bob")).learn()
    ear = own(Listener(net.phone, LONG, 5060))
    caller = own(connect(net.phone, bob.contact, SHORT))
    callee = own(ear.accept())
    assert callee.peer[0] == PUBLIC
    for _ in range(3):
        request = alice.phone.request("OPTIONS", "sip:bob@%s:%d"
                                      % bob.contact)
        caller.send(request)
        expected = bob.reference.into(alice.reference.out(request))
        seen = callee.message()
        same_stream(expected, seen)
        answer = bob.phone.respond(seen, 200, tag="h")
        callee.send(answer)
        expected = alice.reference.into(bob.reference.out(answer))
        same_stream(expected, caller.message())
    assert len(tcp_entries(net.gw)) == 3
