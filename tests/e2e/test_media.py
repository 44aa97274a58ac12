# SPDX-License-Identifier: GPL-2.0-or-later
"""Calls: real RTP and RTCP datagrams by the ports that were announced."""

import time

import pytest

from lib import sip
from lib.agents import Line, flows, media_blocked, media_flows, rtp
from lib.call import Call, announced, call_in, call_out
from lib.gateway import ALICE, BOB, MEDIA, MEDIA2, NAT, PROXY, PUBLIC
from lib.sip import sdp

either_first = pytest.mark.parametrize("first", ["inside", "outside"])
either_calls = pytest.mark.parametrize("caller", ["phone", "server"])


@pytest.fixture
def talk(line, media_inside, media_outside):
    """A registered phone and the media sockets of both ends."""
    line.register()
    return line, media_inside(), media_outside(MEDIA)


def establish(caller, line, offer_inside, offer_outside):
    """An answered call: (call, what outside was told)."""
    if caller == "phone":
        call = call_out(line, offer_inside, offer_outside)
        return call, call.invite_seen
    call = call_in(line, offer_outside, offer_inside)
    return call, call.answer_out_seen


def check_announced(told):
    """The ports told are of the configured range, on the public address."""
    for kind, host, port, rtcp in sip.sdp_media(told):
        assert host == PUBLIC, kind
        assert 16384 <= port <= 32767 and 16384 <= rtcp <= 32767


@either_first
@pytest.mark.parametrize(
    "nat", [pytest.param(kind, marks=pytest.mark.nat(kind)) for kind in NAT])
def test_call_out(daemon, talk, nat, first):
    line, mine, theirs = talk
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    check_announced(call.invite_seen)
    media_flows(mine, theirs, announced(call.invite_seen), first=first)


@either_first
def test_call_in(daemon, talk, first):
    line, mine, theirs = talk
    _, told = establish("server", line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    check_announced(told)
    media_flows(mine, theirs, announced(told), first=first)


def test_call_without_registration(daemon, line, media_inside, media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(call.invite_seen), first="outside")


def test_odd_rtp_port(daemon, line, media_inside, media_outside):
    mine, theirs = media_inside(port=4001), media_outside(MEDIA, 8001)
    call = call_out(line, sdp(ALICE, 4001), sdp(MEDIA, 8001))
    media_flows(mine, theirs, announced(call.invite_seen), first="outside")


@either_first
def test_delayed_offer_out(daemon, talk, first):
    line, mine, theirs = talk
    call = Call(line)
    call.invite_out()
    call.answer_in(200, sdp(MEDIA, 8000))
    ack = call.ack_out(sdp(ALICE, 4000))
    check_announced(ack)
    media_flows(mine, theirs, announced(ack), first=first)


@either_first
def test_delayed_offer_in(daemon, talk, first):
    line, mine, theirs = talk
    call = Call(line)
    call.invite_in()
    told = call.answer_out(200, sdp(ALICE, 4000))
    call.ack_in(sdp(MEDIA, 8000))
    check_announced(told)
    media_flows(mine, theirs, announced(told), first=first)


@either_first
def test_early_media_out(daemon, talk, first):
    line, mine, theirs = talk
    call = Call(line)
    told = announced(call.invite_out(sdp(ALICE, 4000)))
    call.answer_in(183, sdp(MEDIA, 8000))
    media_flows(mine, theirs, told, first=first)
    call.answer_in(200, sdp(MEDIA, 8000))
    call.ack_out()
    media_flows(mine, theirs, told, first=first)


@either_first
def test_early_media_in(daemon, talk, first):
    line, mine, theirs = talk
    call = Call(line)
    call.invite_in(sdp(MEDIA, 8000))
    told = call.answer_out(183, sdp(ALICE, 4000))
    media_flows(mine, theirs, announced(told), first=first)
    again = call.answer_out(200, sdp(ALICE, 4000))
    assert announced(again) == announced(told)
    call.ack_in()
    media_flows(mine, theirs, announced(told), first=first)


def test_183_then_200_without_sdp(daemon, talk):
    line, mine, theirs = talk
    call = Call(line)
    told = announced(call.invite_out(sdp(ALICE, 4000)))
    call.answer_in(183, sdp(MEDIA, 8000))
    call.answer_in(200)
    call.ack_out()
    media_flows(mine, theirs, told, first="outside")


@either_first
def test_offer_in_reliable_183_answer_in_prack(daemon, talk, first):
    line, mine, theirs = talk
    call = Call(line)
    call.invite_out(headers=["Supported: 100rel"])
    call.answer_in(183, sdp(MEDIA, 8000),
                   headers=["Require: 100rel", "RSeq: 1"])
    prack, _ = call.from_phone("PRACK", sdp(ALICE, 4000),
                               headers=["RAck: 1 1 INVITE"])
    media_flows(mine, theirs, announced(prack), first=first)


def test_update_in_early_dialog_moves_the_phone(
        daemon, talk, media_inside):
    line, mine, theirs = talk
    call = Call(line)
    first = announced(call.invite_out(sdp(ALICE, 4000)))
    call.answer_in(183, sdp(MEDIA, 8000),
                   headers=["Require: 100rel", "RSeq: 1"])
    call.from_phone("PRACK", headers=["RAck: 1 1 INVITE"])
    media_flows(mine, theirs, first, first="outside")
    moved = media_inside(port=4020)
    update, _ = call.from_phone("UPDATE", sdp(ALICE, 4020, version=2),
                                sdp(MEDIA, 8000, version=2))
    assert announced(update) != first
    media_flows(moved, theirs, announced(update), first="outside")
    call.answer_in(200)
    call.ack_out()
    media_flows(moved, theirs, announced(update), first="inside")


def test_update_from_outside_moves_the_remote(daemon, talk, media_outside):
    line, mine, theirs = talk
    call, told = establish("phone", line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(told))
    moved = media_outside(MEDIA2, 9000)
    _, answer = call.from_server("UPDATE", sdp(MEDIA2, 9000, version=2),
                                 sdp(ALICE, 4000, version=1))
    assert announced(answer) == announced(told)
    media_flows(mine, moved, announced(told), first="outside")


@either_calls
@either_first
def test_two_media_lines(daemon, talk, media_inside, media_outside, caller,
                         first):
    line, mine, theirs = talk
    my_video, their_video = media_inside(port=4002), media_outside(MEDIA2,
                                                                   9000)
    offer = sdp(ALICE, 4000, ("video", 4002, "a=rtpmap:96 H264/90000"))
    answer = sdp(MEDIA, 8000, ("video", 9000, f"c=IN IP4 {MEDIA2}"))
    _, told = establish(caller, line, offer, answer)
    check_announced(told)
    media_flows(mine, theirs, announced(told, 0), first=first)
    media_flows(my_video, their_video, announced(told, 1), first=first)
    ports = {p for m in sip.sdp_media(told) for p in m[2:]}
    assert len(ports) == 4


def test_a_rejected_media_line_stays_rejected(daemon, talk):
    line, mine, theirs = talk
    call = Call(line)
    told = call.invite_out(sdp(ALICE, 4000, ("video", 4002)))
    call.answer_in(200, sdp(MEDIA, 8000, ("video", 0)))
    call.ack_out()
    media_flows(mine, theirs, announced(told), first="outside")
    theirs.rtp.send(rtp(1), announced(told, 1)[:2])
    mine.rtp.nothing()


@either_calls
def test_media_level_connection(daemon, talk, caller):
    line, mine, theirs = talk
    _, told = establish(
        caller, line,
        sdp(ALICE, (4000, f"c=IN IP4 {ALICE}"), session_c=False),
        sdp(MEDIA, (8000, f"c=IN IP4 {MEDIA}"), session_c=False))
    check_announced(told)
    media_flows(mine, theirs, announced(told), first="outside")


def test_media_level_overrides_session_level(daemon, talk):
    line, mine, theirs = talk
    _, told = establish(
        "phone", line,
        sdp("198.51.100.1", (4000, f"c=IN IP4 {ALICE}")),
        sdp("198.51.100.2", (8000, f"c=IN IP4 {MEDIA}")))
    media_flows(mine, theirs, announced(told), first="outside")


@pytest.mark.parametrize("form", ["a=rtcp:4011", "a=rtcp:4011 IN IP4 " +
                                  ALICE])
@either_calls
def test_rtcp_attribute(daemon, line, media_inside, media_outside, form,
                        caller):
    line.register()
    mine, theirs = media_inside(rtcp=4011), media_outside(MEDIA, rtcp=8077)
    _, told = establish(caller, line, sdp(ALICE, (4000, form)),
                        sdp(MEDIA, (8000, "a=rtcp:8077")))
    check_announced(told)
    media_flows(mine, theirs, announced(told), first="outside")


def test_unknown_lines_and_keys_are_kept(daemon, talk):
    """Line.out() compares every byte; this SDP has much to get wrong."""
    line, mine, theirs = talk
    offer = sdp(ALICE, (4000, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x",
                        "a=fingerprint:sha-256 00:11",
                        f"a=x-note:{ALICE} 4000", "a=ptime:20",
                        "b=AS:64")).replace(
        b"s=-", b"s=call from 192.168.1.9\r\ni=192.168.1.9 4000")
    _, told = establish("phone", line, offer, sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(told), first="outside")


@pytest.mark.parametrize("hold", ["a=sendonly", "a=inactive"])
@either_calls
def test_hold_and_resume(daemon, talk, hold, caller):
    line, mine, theirs = talk
    call, told = establish(caller, line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(told))
    held, _ = call.reinvite_from_phone(
        sdp(ALICE, (4000, hold), version=2),
        sdp(MEDIA, (8000, "a=recvonly"), version=2))
    assert announced(held) == announced(told)
    resumed, _ = call.reinvite_from_phone(sdp(ALICE, 4000, version=3),
                                          sdp(MEDIA, 8000, version=3))
    assert announced(resumed) == announced(told)
    media_flows(mine, theirs, announced(told), first="outside")


def test_hold_by_0_0_0_0(daemon, talk):
    line, mine, theirs = talk
    call, told = establish("phone", line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(told))
    call.reinvite_from_phone(
        sdp("0.0.0.0", 4000).replace(b"1 IN IP4 0.0.0.0",
                                     b"2 IN IP4 192.168.1.9"),
        sdp(MEDIA, 8000, version=2))
    resumed, _ = call.reinvite_from_phone(sdp(ALICE, 4000, version=3),
                                          sdp(MEDIA, 8000, version=3))
    assert announced(resumed) == announced(told)
    media_flows(mine, theirs, announced(told), first="outside")


@pytest.mark.sysctl(nf_conntrack_udp_timeout=1,
                    nf_conntrack_udp_timeout_stream=1)
def test_a_held_call_keeps_its_mappings_without_rtp(daemon, talk):
    line, mine, theirs = talk
    call, told = establish("phone", line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    call.reinvite_from_phone(sdp(ALICE, (4000, "a=inactive"), version=2),
                             sdp(MEDIA, (8000, "a=inactive"), version=2))
    time.sleep(6)
    resumed, _ = call.reinvite_from_phone(sdp(ALICE, 4000, version=3),
                                          sdp(MEDIA, 8000, version=3))
    assert announced(resumed) == announced(told)
    media_flows(mine, theirs, announced(told), first="outside")


@either_first
def test_new_remote_by_reinvite(daemon, talk, media_outside, first):
    line, mine, theirs = talk
    call, told = establish("server", line, sdp(ALICE, 4000),
                           sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(told))
    moved = media_outside(MEDIA2, 9000)
    _, answer = call.reinvite_from_server(sdp(MEDIA2, 9000, version=2),
                                          sdp(ALICE, 4000))
    assert announced(answer) == announced(told)
    media_flows(mine, moved, announced(told), first=first)


def test_a_remote_that_moved_away_is_shut_out(daemon, talk, media_outside):
    line, mine, theirs = talk
    call, told = establish("server", line, sdp(ALICE, 4000),
                           sdp(MEDIA, 8000))
    moved = media_outside(MEDIA2, 9000)
    call.reinvite_from_server(sdp(MEDIA2, 9000, version=2), sdp(ALICE, 4000))
    media_flows(mine, moved, announced(told), first="outside")
    media_blocked(mine, theirs, announced(told))


def test_phone_moves_by_reinvite(daemon, talk, media_inside):
    line, mine, theirs = talk
    call, told = establish("phone", line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(told))
    moved = media_inside(port=4040)
    offer, _ = call.reinvite_from_phone(sdp(ALICE, 4040, version=2),
                                        sdp(MEDIA, 8000))
    media_flows(moved, theirs, announced(offer), first="outside")
    media_blocked(mine, theirs, announced(told))


@either_first
def test_two_forked_answers(daemon, talk, media_outside, first):
    line, mine, theirs = talk
    second = media_outside(MEDIA2, 9000)
    call = Call(line)
    told = announced(call.invite_out(sdp(ALICE, 4000)))
    call.answer_in(183, sdp(MEDIA, 8000), tag="fork-1")
    call.answer_in(183, sdp(MEDIA2, 9000), tag="fork-2")
    media_flows(mine, theirs, told, first=first)
    media_flows(mine, second, told, first=first)
    call.answer_in(200, sdp(MEDIA2, 9000), tag="fork-2")
    call.ack_out()
    media_flows(mine, second, told, first=first)
    call.from_server("BYE")
    time.sleep(0.2)
    media_blocked(mine, second, told)
    media_blocked(mine, theirs, told)


@either_calls
@pytest.mark.parametrize("ender", ["phone", "server"])
@pytest.mark.parametrize("talked", [True, False],
                         ids=["after-talk", "silent"])
def test_nothing_after_bye(daemon, net, talk, caller, ender, talked):
    line, mine, theirs = talk
    call, told = establish(caller, line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    if talked:
        media_flows(mine, theirs, announced(told))
    (call.from_phone if ender == "phone" else call.from_server)("BYE")
    time.sleep(0.2)
    media_blocked(mine, theirs, announced(told))
    left = [e.line for e in net.conntrack.udp() if MEDIA in e.line
            and "ASSURED" in e.line]
    assert not left


@pytest.mark.parametrize("how", ["cancel", 486, 603])
def test_nothing_after_a_failed_call_out(daemon, talk, how):
    line, mine, theirs = talk
    call = Call(line)
    told = announced(call.invite_out(sdp(ALICE, 4000)))
    call.answer_in(183, sdp(MEDIA, 8000))
    media_flows(mine, theirs, told)
    if how == "cancel":
        call.cancel_from_phone()
    else:
        call.fail_in(how)
    time.sleep(0.2)
    media_blocked(mine, theirs, told)


@pytest.mark.parametrize("how", ["cancel", 486, 603])
def test_nothing_after_a_failed_call_in(daemon, talk, how):
    line, mine, theirs = talk
    call = Call(line)
    call.invite_in(sdp(MEDIA, 8000))
    told = announced(call.answer_out(183, sdp(ALICE, 4000)))
    media_flows(mine, theirs, told)
    if how == "cancel":
        call.cancel_from_server()
    else:
        call.fail_out(how)
    time.sleep(0.2)
    media_blocked(mine, theirs, told)


def test_nothing_before_the_remote_is_known(daemon, talk):
    line, mine, theirs = talk
    told = announced(Call(line).invite_out(sdp(ALICE, 4000)))
    media_blocked(mine, theirs, told)


def test_strangers_cannot_speak_into_a_call(daemon, talk, media_outside):
    """media.source = strict: right host and right port only."""
    line, mine, theirs = talk
    _, told = establish("phone", line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(told)
    media_blocked(mine, media_outside(MEDIA2, 8000), told)
    media_blocked(mine, media_outside(MEDIA, 8002), told)
    media_blocked(mine, media_outside(PROXY, 8000), told)
    media_flows(mine, theirs, told, first="outside")
    media_blocked(mine, media_outside(MEDIA2, 8010), told)


def test_calls_side_by_side_have_their_own_ports(
        daemon, talk, phone, media_inside, media_outside):
    line, mine, theirs = talk
    bob = Line(phone(BOB, user="bob"), line.server)
    bob.register()
    ends = [(line, mine, theirs),
            (line, media_inside(port=4002), media_outside(MEDIA, 8002)),
            (bob, media_inside(BOB, 4000), media_outside(MEDIA, 8004))]
    calls = []
    for which, inside, outside in ends:
        calls.append(call_out(which, sdp(inside.host, inside.port),
                              sdp(MEDIA, outside.port)))
    told = [announced(call.invite_seen) for call in calls]
    assert len({port for t in told for port in t[1:]}) == 6
    calls[0].from_phone("BYE")
    for (_, inside, outside), where in list(zip(ends, told))[1:]:
        media_flows(inside, outside, where, first="outside")


def test_retransmissions_get_the_same_bytes(daemon, talk):
    line, mine, theirs = talk
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10",
                                body=sdp(ALICE, 4000))
    seen = {line.out(invite).bytes for _ in range(3)}
    assert len(seen) == 1


def test_no_port_of_another_host_is_opened(daemon, talk, media_inside):
    """NAT slipstreaming: alice's message names bob's address."""
    line, _, theirs = talk
    victim = media_inside(BOB, 4000)
    offer = sdp(BOB, 4000)
    call = Call(line)
    told = call.invite_out(offer)  # unchanged: Line.out() compares
    assert told.body == offer
    call.answer_in(200, sdp(MEDIA, 8000))
    call.ack_out()
    for port in (4000, *range(16384, 16400)):
        theirs.rtp.send(rtp(1), (PUBLIC, port))
    victim.rtp.nothing()


@pytest.mark.parametrize("port", [80, 445, 3389, 5432])
def test_reserved_ports_are_never_opened(daemon, talk, listen_inside, port):
    line, _, theirs = talk
    victim = listen_inside(ALICE, port)
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10",
                                body=sdp(ALICE, port))
    line.phone.send(invite, line.server.address)
    seen, source = line.server.recv()
    line.server.send(line.server.respond(
        seen, 200, source=source, tag="t", body=sdp(MEDIA, 8000)), source)
    line.phone.recv()
    _, _, told, _ = sip.sdp_media(sip.Message(seen))[0]
    for target in {port, told, *range(16384, 16400)}:
        theirs.rtp.send(rtp(1), (PUBLIC, target))
    victim.nothing()


@pytest.mark.config(media__enabled="no")
def test_media_disabled_leaves_bodies_alone(daemon, talk):
    line, _, _ = talk
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10",
                                body=sdp(ALICE, 4000))
    public = "%s:%d" % line.public[5060]
    line.out(invite, {"Via": (f"{ALICE}:5060", public),
                      "Contact": (f"{ALICE}:5060", public)})


def test_public_addresses_in_sdp_are_left_alone(daemon, talk):
    """The phone solved NAT itself (STUN)."""
    line, _, _ = talk
    offer = sdp(PUBLIC, 40000)
    assert Call(line).invite_out(offer).body == offer


def test_fqdn_ip6_and_odd_bodies_are_left_alone(daemon, talk):
    line, _, _ = talk
    for body in (sdp("phone.example.com", 4000),
                 sdp("192.168.1.9", 0).replace(b"IP4 192.168.1.9",
                                               b"IP6 fd00::9"),
                 b"v=0\r\n", b"\x00\xff" * 20):
        assert Call(line).invite_out(body).body == body


def test_multipart_body(daemon, talk):
    line, mine, theirs = talk
    offer = sdp(ALICE, 4000)
    body = (b"preamble\r\n--b0\r\nContent-Type: application/sdp\r\n"
            b"Content-Length: %d\r\n\r\n%b\r\n--b0\r\n"
            b"Content-Type: application/isup;version=x\r\n\r\n"
            b"c=IN IP4 192.168.1.9\r\nm=audio 4000 RTP/AVP 8\x00\xff\r\n"
            b"--b0--\r\n" % (len(offer), offer))
    invite = line.phone.request(
        "INVITE", "sip:x@203.0.113.10", body=body).replace(
        b"application/sdp", b"multipart/mixed;boundary=b0", 1)
    line.phone.send(invite, line.server.address)
    seen, source = line.server.recv()
    told = announced(sip.Message(seen))
    public = "%s:%d" % source
    expected = sip.rewrite(invite, {
        "Via": (f"{ALICE}:5060", public), "Contact": (f"{ALICE}:5060", public),
        "sdp:o=": (ALICE, PUBLIC), "sdp:c=": (ALICE, PUBLIC),
        "sdp:m=audio": (" 4000 ", f" {told[1]} ")})
    grown = len(PUBLIC) * 2 + len(str(told[1])) - len(ALICE) * 2 - 4
    expected = expected.replace(b"Content-Length: %d\r\n\r\nv=0" % len(offer),
                                b"Content-Length: %d\r\n\r\nv=0"
                                % (len(offer) + grown))
    sip.same_bytes(expected, seen, invite)


def test_ice_candidates_of_the_host_are_mapped(daemon, talk):
    line, mine, theirs = talk
    offer = sdp(ALICE, (
        4000, "a=candidate:1 1 UDP 2130706431 192.168.1.9 4000 typ host",
        "a=candidate:1 2 UDP 2130706430 192.168.1.9 4001 typ host",
        "a=candidate:2 1 UDP 1694498815 203.0.113.4 40000 typ srflx "
        "raddr 192.168.1.9 rport 4000",
        "a=candidate:3 1 UDP 100 198.51.100.3 3478 typ relay "
        "raddr 192.168.1.9 rport 4000"))
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", body=offer)
    line.phone.send(invite, line.server.address)
    seen, source = line.server.recv()
    told = announced(sip.Message(seen))
    public = "%s:%d" % source
    sip.only_addresses_changed(invite, seen, {
        "Via": (f"{ALICE}:5060", public), "Contact": (f"{ALICE}:5060", public),
        "sdp:o=": (ALICE, PUBLIC), "sdp:c=": (ALICE, PUBLIC),
        "sdp:m=audio": (" 4000 ", f" {told[1]} "),
        "sdp:a=candidate[0]": (f"{ALICE} 4000", f"{PUBLIC} {told[1]}"),
        "sdp:a=candidate[1]": (f"{ALICE} 4001", f"{PUBLIC} {told[2]}")})


def test_rtcp_mux_call(daemon, talk):
    line, mine, theirs = talk
    _, told = establish("phone", line, sdp(ALICE, (4000, "a=rtcp-mux")),
                        sdp(MEDIA, (8000, "a=rtcp-mux")))
    host, port, _ = announced(told)
    flows(theirs.rtp, (host, port), mine.rtp, (MEDIA, 8000))
    flows(mine.rtp, (MEDIA, 8000), theirs.rtp, (host, port))


def test_call_between_two_inside_hosts_stays_inside(
        daemon, talk, phone):
    """The proxy joins alice and bob: each is shown the other's address."""
    line, _, _ = talk
    bob = Line(phone(BOB, user="bob"), line.server)
    bob.register()
    offer, answer = sdp(ALICE, 4000), sdp(BOB, 6000)
    call = Call(line)
    shown_outside = call.invite_out(offer)
    public = "%s:%d" % bob.public[5060]
    invite = line.server.request("INVITE", f"sip:bob@{public}",
                                 body=shown_outside.body)
    line.server.send(invite, bob.public[5060])
    got, _ = bob.phone.recv()
    assert sip.Message(got).body == offer
    ok = bob.phone.respond(got, 200, tag="b", body=answer)
    bob.phone.send(ok, line.server.address)
    seen, _ = line.server.recv()
    back = line.server.respond(shown_outside.bytes, 200,
                               source=line.public[5060], tag="c",
                               body=sip.Message(seen).body)
    line.server.send(back, line.public[5060])
    got, _ = line.phone.recv()
    assert sip.Message(got).body == answer
