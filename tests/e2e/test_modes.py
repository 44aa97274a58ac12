# SPDX-License-Identifier: GPL-2.0-or-later
"""Switching it off and on while calls run: by command, by reload, for all, for
a phone, for a provider."""

import time

import pytest

from lib import sip
from lib.agents import Dialog, media_flows, rtp
from lib.call import announced, call_out
from lib.gateway import ALICE, MEDIA, PROXY, PUBLIC
from lib.sip import sdp


def by_command(mode):
    def switch(daemon):
        assert daemon.ctl("mode", mode)["mode"] == mode
        assert daemon.status()["mode"] == mode

    return switch


def by_file(key, value):
    def switch(daemon):
        daemon.settings[key] = value
        daemon.write_config()
        daemon.reload()

    return switch


OFF = {
    "observe": by_command("observe"),
    "bypass": by_command("bypass"),
    "bypass, by the file": by_file("gateway.mode", "bypass"),
    "the phone": by_file("bypass.phones", ALICE + "/32"),
    "the provider": by_file("bypass.peers", PROXY + "/32"),
}


def passes(line, data):
    """What the phone sends arrives as it was."""
    line.phone.send(data, line.server.address)
    seen, _ = line.server.recv()
    sip.same_bytes(data, seen)


@pytest.mark.parametrize("how", OFF)
def test_a_running_call_is_carried(daemon, line, media_inside, media_outside,
                                   how):
    """What began while we worked goes on as it began, to its end."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    OFF[how](daemon)
    media_flows(mine, theirs, told)
    call.reinvite_from_phone(sdp(ALICE, (4000, "a=sendonly"), version=2),
                             sdp(MEDIA, 8000))
    media_flows(mine, theirs, told)
    # Whatever else the phone says is none of ours
    passes(line, line.phone.register())
    call.from_server("BYE")
    assert not [e for e in daemon.ctl("calls")
                if e["state"] != "ended"]


@pytest.mark.parametrize("how", OFF)
@pytest.mark.config(media__source="any")
def test_a_running_call_gets_its_guests(daemon, line, media_inside,
                                        media_outside, how):
    """media.source = any goes on for it: who sends from elsewhere is heard."""
    mine, other = media_inside(), media_outside(MEDIA, 9000)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)[:2]
    OFF[how](daemon)
    for number in range(3):  # the first one is for the daemon
        other.rtp.send(rtp(number), told)
        time.sleep(0.2)
    assert mine.rtp.recv()[0] == rtp(1)
    call.from_server("BYE")


@pytest.mark.parametrize("how", OFF)
def test_on_again(daemon, line, how):
    """As if nothing had been."""
    line.register()
    OFF[how](daemon)
    passes(line, line.phone.register())
    daemon.settings.pop("bypass.phones", None)
    daemon.settings.pop("bypass.peers", None)
    daemon.settings["gateway.mode"] = "active"
    daemon.write_config()
    daemon.reload()
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    assert announced(call.invite_seen)[0] == PUBLIC
    call.from_phone("BYE")


def test_a_mode_that_is_none(daemon, line):
    done = daemon.namespace.run(
        [daemon.program("sipalgctl"), "--socket", daemon.socket, "mode",
         "off"], check=False)
    assert done.returncode in (1, 2)
    assert "active" in done.stderr and "bypass" in done.stderr, done.stderr
    assert daemon.status()["mode"] == "active"
    line.register()


@pytest.mark.long
def test_a_call_that_was_only_observed(net, daemon, line, media_inside,
                                       media_outside):
    """On a network that works without us: as long as it lasts, it goes on as
    NAT made it, also where we work meanwhile. And nothing is found wrong."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    OFF["observe"](daemon)
    phone, server = line.phone, line.server
    invite = phone.request("INVITE", "sip:x@203.0.113.10",
                           body=sdp(ALICE, 4000))
    phone.send(invite, server.address)
    seen, source = server.recv()
    sip.same_bytes(invite, seen)
    answer = server.respond(seen, 200, source=source, tag="t",
                            body=sdp(MEDIA, 8000))
    server.send(answer, source)
    sip.same_bytes(answer, phone.recv()[0])
    phone.send(Dialog.caller(phone, invite, answer).request("ACK"),
               server.address)
    server.recv()
    # The provider sends to where media comes from
    mine.rtp.send(rtp(1), (MEDIA, 8000))
    latched = theirs.rtp.recv()[1]
    assert daemon.ctl("mode", "active")["mode"] == "active"
    until = time.monotonic() + 62  # it looks after its calls each minute
    while time.monotonic() < until:
        mine.rtp.send(rtp(2), (MEDIA, 8000))
        assert theirs.rtp.recv()[1] == latched
        theirs.rtp.send(rtp(3), latched)
        mine.rtp.recv()
        time.sleep(1)
    assert {name: value for name, value in daemon.stats().items()
            if name.startswith("symptom_") and value} == {}, daemon.log()


def test_observe_says_what_it_would_do(net, daemon, line):
    """To try it on a live network: it counts, and changes nothing."""
    OFF["observe"](daemon)
    before = daemon.stats()
    passes(line, line.phone.register())
    passes(line, line.phone.request("INVITE", "sip:x@203.0.113.10",
                                    body=sdp(ALICE, 4000)))
    after = daemon.stats()
    assert after["observed"] - before["observed"] == 2
    assert after["rewritten"] == before["rewritten"]
    # Nothing was made in the kernel: the one flow is MASQUERADE's
    assert "ASSURED" not in net.conntrack.text()
