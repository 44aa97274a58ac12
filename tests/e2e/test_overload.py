# SPDX-License-Identifier: GPL-2.0-or-later
"""More than there is room for: what goes on, and what tells."""

import json
import resource
import socket
import time

import pytest

from lib import sip
from lib.agents import Line, media_flows
from lib.call import announced, call_out
from lib.crowd import resident_kib
from lib.daemon import is_sanitized
from lib.gateway import ALICE, BOB, MEDIA, PROXY2, STRANGER
from lib.sip import sdp
from lib.tcp import Listener, connect

pytestmark = pytest.mark.config(log__level="info")
# More than the daemon's socket keeps: two MiB, doubled, of a KiB each
ENTRIES = 12000
# More than all connections together may hold: 64 MiB
HALF, HALVES = 60000, 1200
# With what the allocator takes beside
MAX_HELD_KIB = 80 << 10


def wait_for(condition, what, wait_s=10):
    end = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


def findings(daemon):
    """What sipalgctl doctor says, which ends with 1: {code: finding}"""
    done = daemon.namespace.run(
        [daemon.program("sipalgctl"), "--socket", daemon.socket, "--json",
         "doctor"], check=False)
    return {found["code"]: found for found in json.loads(done.stdout)}


@pytest.fixture
def running(line, media_inside, media_outside):
    """A registered phone in a call; running() checks that both go on."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)

    def check(bye=False):
        media_flows(mine, theirs, told)
        line.register()
        if bye:
            call.from_server("BYE")

    check()
    return check


def test_more_events_than_can_be_told(daemon, net, running):
    """ENOBUFS: what may have gone is looked for again, and that is said."""
    sock = net.phone.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock, daemon.asleep():
        for port in range(20000, 20000 + ENTRIES):
            sock.sendto(b"x", (STRANGER, port))
        net.conntrack.flush()
    wait_for(lambda: daemon.stats()["conntrack_overruns"], daemon.log)
    assert daemon.log().count("more entries ended at once") == 1
    time.sleep(7)
    running(bye=True)
    assert daemon.status()["media_mappings"] == 0


@pytest.mark.config(queue__max_length="16")
def test_a_queue_that_is_full(daemon, running, phone, server):
    """What has no room passes unread, and that is seen afterwards."""
    other, proxy = phone(BOB, user="bob"), server(PROXY2)
    Line(other, proxy).register()
    sent = [other.request("OPTIONS", "sip:example.com") for _ in range(40)]
    with daemon.asleep():
        for message in sent:
            other.send(message, proxy.address)
        unread = [proxy.recv()[0] for _ in range(24)]
        proxy.nothing()
    assert unread == sent[16:]
    for message in sent[:16]:
        seen, source = proxy.recv()
        assert b"192.168." not in seen and seen != message
        sip.only_addresses_changed(message, seen, sip.outbound_edits(
            message, seen, other.host, {other.port: source}))
    assert daemon.stats()["queue_full"] == 1
    assert daemon.log().count("was full: packets passed unread") == 1
    assert "queue_overflow" in findings(daemon)
    running(bye=True)


@pytest.mark.config(sip__signalling_ports="5060-5060")
def test_no_signalling_port_is_free(daemon, phone, server):
    """All of a message is mapped or nothing of it; and it is said why."""
    alice, proxy = phone(contact_port=5070), server()
    message = alice.register()
    for _ in range(3):
        alice.send(message, proxy.address)
        assert proxy.recv()[0] == message
    stats = daemon.stats()
    assert stats["no_mapping"] == stats["ports_exhausted"] == 3
    assert daemon.log().count("(ports_exhausted)") == 1
    assert daemon.ctl("registrations") == []
    found = findings(daemon)["ports_exhausted"]
    assert "sip.signalling_ports" in found["text"]
    daemon.settings["sip.signalling_ports"] = "5060-5061"
    daemon.write_config()
    daemon.reload()
    alice.send(message, proxy.address)
    assert b"192.168." not in proxy.recv()[0]


@pytest.mark.config(media__rtp_ports="16384-16385")
def test_no_media_port_is_free(daemon, line, media_inside, media_outside):
    """Both m= lines of a call get ports or none; a running call keeps its
    own; and it works again when there are some."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    both = sdp(ALICE, (5000,), ("video", 6000))
    message = line.phone.request("INVITE", "sip:echo@203.0.113.10", body=both)
    line.phone.send(message, line.server.address)
    seen, _ = line.server.recv()
    sip.only_addresses_changed(message, seen, {
        place: edit for place, edit in sip.outbound_edits(
            message, seen, line.phone.host, line.public).items()
        if not place.startswith("sdp:")})
    assert daemon.stats()["media_exhausted"] == 1
    assert daemon.status()["media_mappings"] == 0
    assert daemon.log().count("(media_exhausted)") == 1
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    # More in a running call
    seen, _ = call.reinvite_from_phone(
        sdp(ALICE, (4000,), ("video", 6000), version=2),
        sdp(MEDIA, (8000,), ("video", 0), version=2))
    assert announced(seen) == told
    media_flows(mine, theirs, told)
    call.from_phone("BYE")
    again = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(again.invite_seen))
    found = findings(daemon)["ports_exhausted"]
    assert "media.rtp_ports" in found["text"]


def halves(net, own, count):
    """Connections of a phone with half a message each; their other ends."""
    listener = own(Listener(net.prov, PROXY2))
    half = sip.message(
        "INVITE sip:x@example.com SIP/2.0",
        [f"Via: SIP/2.0/TCP {BOB}:5060;branch={sip.unique('z9hG4bK')}",
         "From: <sip:b@example.com>;tag=1", "To: <sip:x@example.com>",
         "Call-ID: half", "CSeq: 1 INVITE"], b"x" * HALF)[:-1]
    found = []
    for _ in range(count):
        phone = own(connect(net.phone, listener.address, BOB))
        phone.send(half)
        found.append((phone, own(listener.accept())))
    return half, found


@pytest.mark.config(log__level="info", limits__rate_per_phone="1000000")
def test_half_messages_waiting(daemon, net, own, running, build):
    """Connections with half a message each: what they hold has an end, whose
    waited longest is read no more and gets all of it, as it was; and nobody
    else notices."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    before = resident_kib(daemon)
    half, found = halves(net, own, HALVES)
    wait_for(lambda: daemon.stats()["tcp_no_memory"], daemon.stats)
    running()
    if not is_sanitized(build):
        assert resident_kib(daemon) - before < MAX_HELD_KIB
    given_up = daemon.stats()["tcp_no_memory"]
    assert 0 < given_up < HALVES
    phone, server = found[0]
    assert server.read(len(half)) == half
    phone.finish()
    server.ends()
    # One that still waits is read when the rest has come
    phone, server = found[-1]
    phone.send(b"x")
    assert server.message().startswith(b"INVITE")
    running(bye=True)
