# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that the daemon finds by itself, and what it writes at the end."""

import re
import shlex
import time

import pytest

from lib import sip
from lib.agents import rtp
from lib.call import Call, announced, call_out
from lib.gateway import ALICE, MEDIA, PUBLIC, STRANGER
from lib.sip import sdp

FIRST_S = 12  # the daemon looks at a call's audio after so long


def symptoms(daemon, call_id=None):
    """{code: text} of the newest call."""
    calls = daemon.ctl("calls", *([call_id] if call_id else []))
    assert calls, daemon.log()
    return {s["code"]: s["text"] for s in calls[-1]["symptoms"]}


def records(daemon, event="call"):
    """The call log: [{key: value}]."""
    found = []
    for line in daemon.log().splitlines():
        if f"sipalgd: event={event} " in line:
            pairs = shlex.split(line.partition("sipalgd: ")[2])
            found.append(dict(pair.split("=", 1) for pair in pairs))
    return found


def wait_for(condition, wait_s=10):
    """condition() within that time; its value."""
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError("it did not come")


def talk(seconds, mine, theirs, told, both=True):
    """RTP as fast as phones send it; told: where the other side sends to."""
    end, sequence = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        sequence += 1
        mine.rtp.send(rtp(sequence), theirs.rtp.address)
        if both:
            theirs.rtp.send(rtp(sequence), told)
        time.sleep(0.02)


@pytest.fixture
def call(daemon, line, media_inside, media_outside):
    """A call in which nobody has said anything: (call, mine, theirs, told)."""
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    made = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    host, port, _ = announced(made.invite_seen)
    return made, mine, theirs, (host, port)


def test_healthy_call(daemon, call):
    made, mine, theirs, told = call
    talk(FIRST_S + 3, mine, theirs, told)
    assert symptoms(daemon) == {}
    made.from_phone("BYE")
    record, = wait_for(lambda: records(daemon))
    assert record["result"] == "answered" and record["status"] == "200"
    assert FIRST_S <= int(record["duration_s"]) <= FIRST_S + 8
    assert record["inside"] == ALICE and record["direction"] == "outgoing"
    assert int(record["packets_out"]) > 300
    assert int(record["packets_in"]) > 300
    assert record["symptoms"] == "" and record["codecs"]
    assert record["call_id"] == sip.Message(made.invite_sent).get("Call-ID")


def test_one_way_audio(daemon, call):
    made, mine, theirs, told = call
    talk(FIRST_S + 3, mine, theirs, told, both=False)
    text = wait_for(lambda: symptoms(daemon).get("one_way_audio"))
    assert re.fullmatch(rf"no packet from {MEDIA}:8000 for 1[2-4] s, "
                        rf"\d{{3}} sent to it by {ALICE}:4000", text)
    assert f"one_way_audio: Audio in one direction only: {text}" \
        in daemon.log()
    made.from_phone("BYE")
    record, = wait_for(lambda: records(daemon))
    assert record["symptoms"] == "one_way_audio"
    assert record["packets_in"] == "0"
    assert int(record["packets_out"]) > 300


def test_rtp_dropped_before_us(net, daemon, call):
    """Both sides send, a rule in the path drops one way."""
    _, mine, theirs, told = call
    net.prov.run(["iptables", "-A", "OUTPUT", "-p", "udp", "--sport", "8000",
                  "-j", "DROP"])
    end, sequence = time.monotonic() + FIRST_S + 3, 0
    while time.monotonic() < end:
        sequence += 1
        mine.rtp.send(rtp(sequence), theirs.rtp.address)
        try:
            theirs.rtp.send(rtp(sequence), told)
        except PermissionError:
            pass
        time.sleep(0.02)
    assert "one_way_audio" in wait_for(lambda: symptoms(daemon))


def test_no_audio(daemon, call):
    time.sleep(FIRST_S + 2)
    text = wait_for(lambda: symptoms(daemon).get("no_audio"))
    assert text.startswith(f"no packet between {ALICE}:4000 and {MEDIA}:8000")


def test_held_call_may_be_silent(daemon, call):
    made, _, _, _ = call
    made.reinvite_from_phone(sdp(ALICE, (4000, "a=sendonly")),
                             sdp(MEDIA, (8000, "a=recvonly")))
    time.sleep(FIRST_S + 3)
    assert symptoms(daemon) == {}


@pytest.mark.config(media__timeout=9)
def test_dropped_call(daemon, call):
    """The uplink of both ends is gone: nobody says BYE."""
    _, mine, theirs, told = call
    talk(2, mine, theirs, told)
    record, = wait_for(lambda: records(daemon), 30)
    assert "call_lost" in record["symptoms"].split(",")
    assert "call_lost: Call ended without BYE: no media for " in daemon.log()


@pytest.mark.config(media__source="any")
def test_media_from_elsewhere(daemon, call, media_outside):
    made, mine, theirs, told = call
    other = media_outside(MEDIA, 9000)
    end, sequence = time.monotonic() + FIRST_S + 3, 0
    while time.monotonic() < end:
        sequence += 1
        mine.rtp.send(rtp(sequence), theirs.rtp.address)
        other.rtp.send(rtp(sequence), told)
        time.sleep(0.02)
    assert wait_for(lambda: symptoms(daemon)) == {
        "media_elsewhere": f"media comes from {MEDIA}:9000 to {PUBLIC}:"
                           f"{told[1]}, announced was {MEDIA}:8000; let in "
                           "by media.source"}
    made.from_phone("BYE")
    record, = wait_for(lambda: records(daemon))
    assert int(record["packets_in"]) > 300


@pytest.mark.config(media__source="any")
def test_scanned_media_port(daemon, call, media_outside):
    """The Internet knocks at every port."""
    _, mine, theirs, told = call
    other = media_outside(STRANGER, 9000)
    for number in range(3):
        other.rtp.send(b"?", told)
    talk(FIRST_S + 3, mine, theirs, told)
    assert symptoms(daemon) == {}


def test_refused_registration(daemon, line):
    seen = line.out(line.phone.register())
    line.into(line.server.respond(seen.bytes, 403, contact=False,
                                  source=line.public[5060], tag="no"))
    registration, = daemon.ctl("registrations")
    log = wait_for(lambda: "registration_refused" in daemon.log()
                   and daemon.log())
    assert f"{line.server.host} answered 403" in log
    assert registration["contact_inside"]
    assert [value for name, value in daemon.stats().items()
            if "symptom_registration_refused" in name] == [1]


def test_challenge_is_no_refusal(daemon, line):
    seen = line.out(line.phone.register())
    line.into(line.server.respond(seen.bytes, 401, contact=False,
                                  source=line.public[5060], tag="no"))
    line.register()
    assert "registration_refused" not in daemon.log()


def test_end_of_registration(daemon, line):
    line.register()
    line.register(expires=0)
    record, = wait_for(lambda: records(daemon, "registration"))
    assert record["result"] == "removed" and record["inside"] == ALICE
    assert record["registrar"] == line.server.host
    assert record["aor"] == "sip:alice@example.com"


def test_upstream_alg(daemon, line):
    """Another gateway on the path puts its own address into our Via."""
    seen = line.out(line.phone.register())
    host, port = line.public[5060]
    answer = line.server.respond(seen.bytes, 200, tag="reg",
                                 headers=["Expires: 600"])
    changed = answer.replace(f"UDP {host}:{port}".encode(),
                             b"UDP 198.18.0.1:1024", 1)
    if changed == answer:  # our port is 5060, and was not written
        changed = answer.replace(f"UDP {host}".encode(),
                                 b"UDP 198.18.0.1:1024", 1)
    assert changed != answer
    line.server.send(changed, (host, port))
    line.phone.recv()
    log = wait_for(lambda: "upstream_alg" in daemon.log() and daemon.log())
    assert "came back as 198.18.0.1:1024 in the answer to" in log


def test_nobody_answers(daemon, line):
    made = Call(line)
    line.out(line.phone.request("INVITE", "sip:echo@203.0.113.10",
                                body=sdp(ALICE, 4000)))
    assert made.inside is None
    time.sleep(31)
    text = wait_for(lambda: symptoms(daemon).get("invite_unanswered"))
    assert re.fullmatch(rf"no answer from {line.server.host} to the INVITE "
                        rf"of {ALICE} for 3[2-4] s", text)


def test_forged_log(daemon, line):
    """No header writes a line of its own, nor a field."""
    evil = 'x" result="forged'
    request = line.phone.request("INVITE", "sip:echo@203.0.113.10",
                                 call_id=evil)
    seen = line.out(request)
    line.into(line.server.respond(seen.bytes, 486, contact=False, tag="no",
                                  source=line.public[5060]))
    record, = wait_for(lambda: records(daemon))
    assert record["result"] == "failed" and record["status"] == "486"
    assert record["call_id"].startswith("x\\x22 result=\\x22forged")
