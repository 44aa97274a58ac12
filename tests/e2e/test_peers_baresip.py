# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that nobody here wrote: baresip calls through kamailio.

Audio is judged by its content: each phone plays a tone of its own, and what
the other one heard, or what left the gateway, must be that tone.
"""

import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from lib.gateway import ALICE, BOB, MEDIA, PROXY, PUBLIC
from lib.netns import Namespace, connect
from peers import tone, wire
from peers.baresip import Phone
from peers.stage import OTHER_HZ, PHONE_HZ, Call, Stage, probe

DEMO = pathlib.Path(__file__).parents[1] / "demo"
MISSING = [p for p in ("baresip", "kamailio") if not shutil.which(p)]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {' '.join(MISSING)} "
    "(tests/deps demo)")

TALK_S = 2
ENOUGH_S = 1.5
ENOUGH_RTP = 75  # of 50 a second
LATE_RTP = 5     # under way when the other side hangs up
SECOND_HZ = 1230


@pytest.fixture
def make_stage(net, daemon, own, tmp_path):
    """make_stage(...): kamailio and two phones, see Stage; registered."""
    def make(**options):
        stage = own(Stage(net, tmp_path, **options))
        assert stage.phone.register(), stage.phone.log()
        assert stage.other.register(), stage.other.log()
        return stage

    return make


@pytest.fixture
def stage(make_stage):
    return make_stage()


@pytest.fixture
def second_phone(net, own, tmp_path):
    """Another baresip, in a namespace of its own on the phones' network.

    Ask for it before stage: addresses move to the bridge that joins them.
    """
    namespace = own(Namespace("phone2"))
    connect(net.phone, "port2", namespace, "eth0")
    net.phone.ip("link add lan type bridge forward_delay 0", "link set lan up",
                 "link set port2 master lan", "link set eth0 master lan",
                 "addr flush dev eth0", f"addr add {ALICE}/24 dev lan",
                 "route add default via 192.168.1.1")
    namespace.ip(f"addr add {BOB}/24 dev eth0",
                 "route add default via 192.168.1.1")
    return own(Phone(namespace, tmp_path / "second", BOB, "carol", PROXY,
                     SECOND_HZ)).start()


def check_audio(call):
    """Enough RTP by the announced port, and the right tone on both sides."""
    rtp = call.rtp()
    assert min(rtp.out_wan, rtp.in_lan) >= ENOUGH_RTP, rtp
    assert abs(rtp.out_lan - rtp.out_wan) <= LATE_RTP, rtp
    assert abs(rtp.in_lan - rtp.in_wan) <= LATE_RTP, rtp
    for phone, hz in ((call.stage.phone, OTHER_HZ),
                      (call.stage.other, PHONE_HZ)):
        heard = call.heard(phone)
        assert heard.is_at(hz, ENOUGH_S), (heard, hz)


def check_closed(call):
    """The other side's media ports reach nothing any more."""
    time.sleep(1)
    _, (host, port) = call.media()
    remote = wire.rtp(call.net.wan, dst=PUBLIC, sent=False)[0]
    for step in (0, 1):
        assert not probe(call.net, (remote.src, remote.sport + step),
                         (host, port + step))


def test_registers_what_the_provider_sees(stage):
    before, after = wire.crossed(stage.net.lan, stage.net.wan, "REGISTER")
    assert before.host_port("Contact") == (ALICE, 5060)
    assert after.host_port("Contact") == after.src
    assert after.host_port("Via") == after.src
    assert wire.only_addresses_differ(before, after)
    answer, back = wire.crossed(stage.net.wan, stage.net.lan, "200",
                                src=PROXY)
    assert answer.uri("Contact") == after.uri("Contact")
    assert back.uri("Contact") == before.uri("Contact")
    assert back.host_port("Via") == (ALICE, 5060)
    assert wire.only_addresses_differ(answer, back)


@pytest.mark.parametrize("hangs_up", ["phone", "other"])
@pytest.mark.parametrize("caller", ["phone", "other"])
def test_call(stage, caller, hangs_up):
    callee = {"phone": "other", "other": "phone"}[caller]
    call = Call(stage, getattr(stage, caller), getattr(stage, callee))
    call.talk(TALK_S)
    assert call.established, call.reason
    for before, after in (call.invite(), call.phone_sdp()):
        assert wire.only_addresses_differ(before, after)
        assert wire.length_is_right(after)
    assert len(call.media_entries()) == 2, stage.net.conntrack.text()
    assert call.hang_up(getattr(stage, hangs_up)), "no BYE arrived"
    check_audio(call)
    check_closed(call)


def test_second_call_after_the_first(stage):
    """What the first call leaves behind does not harm the second."""
    for caller, callee in ((stage.phone, stage.other),
                           (stage.other, stage.phone)):
        call = Call(stage, caller, callee).talk(TALK_S)
        assert call.established, call.reason
        assert call.hang_up()
        check_audio(call)


@pytest.mark.parametrize("holder", ["phone", "other"])
def test_hold_and_resume(stage, holder):
    """baresip records nothing after a re-INVITE, so the wires tell."""
    holder = getattr(stage, holder)
    call = Call(stage, stage.phone, stage.other).talk(1)
    assert call.established, call.reason
    announced = call.media()
    for action in (holder.hold, holder.resume):
        stage.net.lan.clear()
        stage.net.wan.clear()
        seen = {p: p.mark() for p in (stage.phone, stage.other)}
        action()
        for phone, mark in seen.items():
            assert phone.wait("CALL_REMOTE_SDP", since=mark), phone.log()
        time.sleep(TALK_S)
    assert call.media() == announced, "a re-INVITE moved the mapping"
    out = wire.rtp(stage.net.wan, src=PUBLIC, dst=MEDIA, sent=True)
    back = wire.rtp(stage.net.lan, src=MEDIA, dst=ALICE, sent=True)
    for packets, hz in ((out, PHONE_HZ), (back, OTHER_HZ)):
        heard = tone.of_pcmu(wire.rtp_audio(packets))
        assert heard.is_at(hz, ENOUGH_S), (heard, hz)
    assert {d.sport for d in out} == {announced[1][1]}
    assert call.hang_up()
    check_closed(call)


def test_cancelled_call_opens_nothing(make_stage):
    """The phone gives up while the other side rings."""
    stage = make_stage(answer="manual")
    call = Call(stage, stage.phone, stage.other)
    stage.phone.dial(stage.other.uri)
    assert stage.phone.wait("CALL_RINGING"), stage.phone.log()
    _, public = call.media()
    stage.phone.hangup()
    assert stage.other.wait("CALL_CLOSED"), stage.other.log()
    time.sleep(1)
    assert not probe(stage.net, (MEDIA, 10000), public)


def test_call_to_nobody_fails(stage):
    stage.phone.dial(f"sip:nobody@{PROXY}")
    closed = stage.phone.wait("CALL_CLOSED")
    assert closed and closed["param"].startswith("404"), closed


def test_two_phones_on_one_port(second_phone, stage):
    """Both use 5060; each is called at its own public port."""
    assert second_phone.register(), second_phone.log()
    public = {registered(stage.net, host) for host in (ALICE, BOB)}
    assert len(public) == 2, public
    call = Call(stage, stage.other, second_phone).talk(TALK_S)
    assert call.established, call.reason
    assert call.hang_up()
    assert call.heard(second_phone).is_at(OTHER_HZ, ENOUGH_S)
    assert call.heard(stage.other).is_at(SECOND_HZ, ENOUGH_S)
    assert call.heard(stage.phone).hz is None


def registered(net, host):
    """The public (address, port) that a phone's REGISTER announced."""
    _, after = wire.crossed(net.lan, net.wan, "REGISTER", src=host)
    assert after.host_port("Contact") == after.src
    return after.src


def test_call_between_two_inside(second_phone, stage):
    """By way of the provider; the voice stays inside (media.keep_local)."""
    assert second_phone.register(), second_phone.log()
    call = Call(stage, stage.phone, second_phone).talk(TALK_S)
    assert call.established, call.reason
    assert call.hang_up()
    assert call.heard(second_phone).is_at(PHONE_HZ, ENOUGH_S)
    assert call.heard(stage.phone).is_at(SECOND_HZ, ENOUGH_S)
    assert not wire.rtp(stage.net.wan)


def test_stopped_daemon_changes_nothing(stage, daemon):
    """Rules in place, nobody at the queue: SIP passes as it is."""
    daemon.stop()
    call = Call(stage, stage.phone, stage.other).talk(TALK_S)
    before, after = call.invite()
    assert before.text == after.text
    assert call.established, call.reason
    assert call.hang_up()
    assert call.heard(stage.other).is_at(PHONE_HZ, ENOUGH_S)
    assert call.heard(stage.phone).hz is None
    daemon.start()


def test_demo_without():
    """tests/demo --without sees the failures that NAT causes."""
    done = subprocess.run([sys.executable, DEMO, "--without"], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "AS PREDICTED" in done.stdout
    assert "FAIL" not in done.stdout
    assert "one-way audio" in done.stdout
