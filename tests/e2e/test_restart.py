# SPDX-License-Identifier: GPL-2.0-or-later
"""A successor goes on: after an orderly restart, and after SIGKILL."""

import json
import os
import socket
import time

import pytest

from lib import sip
from lib.agents import Line, media_flows, rtp
from lib.call import Call, announced, call_out
from lib.gateway import ALICE, BOB, MEDIA
from lib.sip import sdp
from lib.supervisor import Supervised

pytestmark = pytest.mark.config(log__level="info")
hows = pytest.mark.parametrize("how", ["restart", "kill"])


@pytest.fixture
def daemon(net, build, own):
    """One with a supervisor that keeps its queue."""
    sipalgd = own(Supervised(net.gw, build))
    sipalgd.apply_rules()
    return sipalgd.start()


def again(daemon, how):
    """Another program in its place."""
    if how == "kill":
        daemon.kill()
    else:
        daemon.hand_over()
    daemon.start()


def state(daemon, name="state"):
    """The state file: a list of (kind, object)."""
    with open(daemon.path("state/" + name), encoding="utf-8") as file:
        return [item for line in file for item in json.loads(line).items()]


def written(daemon, wait_s=15):
    """Wait until the state file is there, written while it runs."""
    end = time.monotonic() + wait_s
    while not os.path.exists(daemon.path("state/state")):
        assert time.monotonic() < end, "no state file:\n" + daemon.log()
        time.sleep(0.1)
    return state(daemon)


@hows
def test_registrations_are_there(daemon, line, how):
    line.register()
    before = daemon.ctl("registrations")
    assert len(before) == 1
    if how == "kill":
        written(daemon)
    again(daemon, how)
    after = daemon.ctl("registrations")
    assert 0 <= before[0].pop("expires_s") - after[0].pop("expires_s") < 30
    assert after == before
    Call(line).invite_in()
    line.register()
    assert len(daemon.ctl("registrations")) == 1


@hows
def test_a_call_goes_on(daemon, line, media_inside, media_outside, how):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    if how == "kill":
        written(daemon)
    before = daemon.ctl("calls")[0]
    again(daemon, how)
    media_flows(mine, theirs, told, first="outside")
    after = daemon.ctl("calls")[0]
    assert 0 <= after["started_s"] - before["started_s"] < 10
    for key in ("call_id", "from", "to", "state"):
        assert after[key] == before[key], key
    assert after["media"][0]["public"] == before["media"][0]["public"]
    seen, _ = call.reinvite_from_phone(
        sdp(ALICE, (4000, "a=sendonly"), version=2), sdp(MEDIA, 8000))
    assert announced(seen) == told
    media_flows(mine, theirs, told)
    call.reinvite_from_server(sdp(MEDIA, 8000, version=2),
                              sdp(ALICE, 4000, version=3))
    call.from_server("BYE")
    assert daemon.status()["calls"] == 0
    assert daemon.status()["media_mappings"] == 0


def test_a_call_nobody_wrote_down_keeps_its_ports(daemon, line, media_inside,
                                                  media_outside):
    """Killed before the state file is written: the kernel's table does."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    other = media_inside(port=6000)
    line.register()
    # 4000 becomes a port that the next call would not get by itself
    call_out(line, sdp(ALICE, 6000), sdp(MEDIA, 9000))
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    daemon.kill()
    assert not os.path.exists(daemon.path("state/state"))
    daemon.start()
    media_flows(mine, theirs, told, first="outside")
    # A new call does not take them
    fresh = call_out(line, sdp(ALICE, 7000), sdp(MEDIA, 8500))
    assert announced(fresh.invite_seen) != told
    seen, _ = call.reinvite_from_phone(sdp(ALICE, 4000, version=2),
                                       sdp(MEDIA, 8000))
    assert announced(seen) == told
    media_flows(mine, theirs, told)
    call.from_phone("BYE")
    other.close()


@hows
def test_a_mapping_keeps_port_and_texts(daemon, net, phone, server, how):
    """Also an idle one, and what stood there comes back to the letter: bob's
    Contact has no port, which nobody could know who has not read it."""
    proxy = server()
    Line(phone(), proxy).register()  # has 5060
    bob = phone(BOB, user="bob")
    bob.contact = f"<sip:bob@{BOB}>"
    bob.send(bob.register(), proxy.address)
    seen, source = proxy.recv()
    public = "%s:%d" % source
    assert sip.Message(seen).get("Contact") == f"<sip:bob@{public}>"
    assert source[1] != 5060
    proxy.send(proxy.respond(seen, 200, source=source, tag="reg",
                             headers=["Expires: 3600"]), source)
    assert sip.Message(bob.recv()[0]).get("Contact") == bob.contact
    if how == "kill":
        while f"sip:bob@{BOB}" not in str(written(daemon)):
            time.sleep(0.5)
    again(daemon, how)
    line = Line(bob, proxy)
    line.public[bob.port] = source
    line.into(proxy.request("INVITE", f"sip:bob@{public}", to=bob.identity),
              {"Request-URI": (public, BOB)})


def test_a_phone_that_was_registered_is_found_after_a_reboot(daemon, net,
                                                             line):
    """The kernel has forgotten everything, the registrar has not."""
    line.register()
    daemon.hand_over()
    net.gw.run(["conntrack", "-F"])
    daemon.start()
    assert len(daemon.ctl("registrations")) == 1
    Call(line).invite_in()


def test_what_has_ended_meanwhile_is_not_taken_up(daemon, line):
    line.register(expires=4)
    daemon.hand_over()
    assert [kind for kind, _ in state(daemon)].count("registration") == 1
    time.sleep(6)
    daemon.start()
    assert daemon.ctl("registrations") == []


def break_tail(path):
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 20)


def break_middle(path):
    with open(path, "r+b") as file:
        data = bytearray(file.read())
        at = data.index(b"192.168.")
        data[at + 2] ^= 1
        file.seek(0)
        file.write(data)


def break_head(path):
    with open(path, "r+b") as file:
        data = file.read().replace(b'"version":1', b'"version":9', 1)
        file.seek(0)
        file.write(data)


def break_all(path):
    with open(path, "wb") as file:
        file.write(os.urandom(5000))


@pytest.mark.parametrize("damage, said", [
    (break_tail, "it is cut off"),
    (break_middle, "it was altered"),
    (break_head, "it was altered"),
    (break_all, "it is cut off"),
])
def test_a_damaged_file_is_set_aside(daemon, line, media_inside,
                                     media_outside, damage, said):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    daemon.hand_over()
    damage(daemon.path("state/state"))
    daemon.start()
    assert f"state/state: {said}; set aside as state.bad" in daemon.log()
    assert os.path.exists(daemon.path("state/state.bad"))
    # The kernel's table is the source
    media_flows(mine, theirs, told, first="outside")
    seen, _ = call.reinvite_from_phone(sdp(ALICE, 4000, version=2),
                                       sdp(MEDIA, 8000))
    assert announced(seen) == told
    call.from_server("BYE")
    line.register()


def test_a_state_that_cannot_be_written(daemon, line):
    """It is said, once, and nothing else suffers."""
    line.register()
    os.rename(daemon.path("state"), daemon.path("gone"))
    Call(line).invite_in()
    time.sleep(12)
    said = daemon.log().count("state not written")
    assert said == 1, daemon.log()
    line.register()


def test_the_state_file_is_for_nobody_else(daemon, line):
    line.register()
    written(daemon)
    assert os.stat(daemon.path("state/state")).st_mode & 0o777 == 0o600
    assert not os.path.exists(daemon.path("state/state.new"))


def test_messages_wait_for_the_successor(daemon, line):
    """Between the two nothing passes unread, and nothing is lost."""
    line.register()
    daemon.hand_over()
    register = line.phone.register()
    line.phone.send(register, line.server.address)
    line.server.nothing()
    daemon.start()
    line.arrived(register)


def test_a_stop_lets_messages_pass(daemon, line):
    """SIGTERM, not SIGUSR2: nobody will come."""
    line.register()
    daemon.stop()
    assert not daemon.store
    register = line.phone.register()
    line.phone.send(register, line.server.address)
    seen, _ = line.server.recv()
    sip.same_bytes(register, seen)


def test_a_killed_one_leaves_its_queue(daemon, line):
    """Who is started again serves what has waited."""
    line.register()
    daemon.kill()
    register = line.phone.register()
    line.phone.send(register, line.server.address)
    line.server.nothing()
    daemon.start()
    line.arrived(register)
    line.register()


def test_a_packet_socket_that_was_handed_over(daemon, net, line,
                                              media_inside, media_outside):
    """It listens with that, and opens none itself."""

    def protocols():
        rows = net.gw.read("packet").splitlines()[1:]
        return [row.split()[3] for row in rows][others:]

    def speak():
        """Until the other media was found; what was listened to."""
        end, number, heard = time.monotonic() + 20, 0, set()
        while "media_elsewhere" not in [
                symptom["code"]
                for symptom in daemon.ctl("calls")[0]["symptoms"]]:
            assert time.monotonic() < end, "it was not found"
            for _ in range(25):
                number += 1
                elsewhere.rtp.send(rtp(number), told)
                mine.rtp.send(rtp(number), theirs.rtp.address)
                time.sleep(0.02)
            heard |= set(protocols())
        return heard

    others = 0
    daemon.hand_over()
    others = len(protocols())
    sock = net.gw.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
    daemon.store["packets"] = sock.detach()
    daemon.start()
    assert protocols() == ["0000"]
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    elsewhere = media_outside(MEDIA, 8002)
    for _ in range(2):
        call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
        told = announced(call.invite_seen)[:2]
        assert "0800" in speak()
        # Between two calls it hears nobody
        assert protocols() == ["88b5"]
        call.from_phone("BYE")
