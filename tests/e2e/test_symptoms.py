# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that the daemon finds by itself, and what it writes at the end."""

import json
import re
import shlex
import time

import pytest

from lib import sip
from lib.agents import rtp
from lib.call import Call, announced, call_out
from lib.gateway import ALICE, MEDIA, MEDIA2, PROXY, PUBLIC, STRANGER
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


def doctor(daemon):
    """{code: text} of what doctor finds."""
    done = daemon.namespace.run(
        [daemon.program("sipalgctl"), "--socket", daemon.socket, "--json",
         "doctor", daemon.config], check=False)
    assert done.returncode in (0, 1), done.stderr
    return {f["code"]: f["text"] for f in json.loads(done.stdout)}


def shown(daemon, code, of=None, wait_s=10):
    """An operator sees a symptom wherever he looks; its text.

    of: "calls" or "registrations", where it belongs to one.
    """
    line = wait_for(lambda: next((found for found in daemon.log().splitlines()
                                  if f" {code}: " in found), None), wait_s)
    assert daemon.stats()[f"symptom_{code}"] >= 1
    text = line.partition(f" {code}: ")[2].partition(": ")[2]
    if code == "upstream_nat":  # with the address that mends it
        assert "advertised_address" in doctor(daemon)
    elif code != "provider_nat":  # nothing is wrong
        assert text in doctor(daemon)[code]
    if of:
        assert text in [s["text"] for row in daemon.ctl(of)
                        for s in row["symptoms"] if s["code"] == code]
    return text


def nothing_wrong(daemon):
    """No symptom was seen, of anybody."""
    assert {name: value for name, value in daemon.stats().items()
            if name.startswith("symptom_") and value} == {}, daemon.log()


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
    assert shown(daemon, "one_way_audio", "calls") == text
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
    assert shown(daemon, "no_audio", "calls") == text


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
    assert shown(daemon, "call_lost", "calls").startswith("no media for ")


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


def listening(net):
    """The daemon's packet socket is open: of IPv4; the tests' own are of all.
    """
    return [line for line in net.gw.read("packet").splitlines()[1:]
            if line.split()[3] == "0800"]


def send_for(seconds, sender, to, told, receiver):
    """sender speaks to an address of its own choice, receiver as announced."""
    end, sequence = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        sequence += 1
        sender.rtp.send(rtp(sequence), to)
        receiver.rtp.send(rtp(sequence), told)
        time.sleep(0.02)


def test_media_from_elsewhere_unseen(net, daemon, call, media_outside):
    """media.source = strict: the firewall drops it, and no rule of ours nor
    conntrack sees it; while the line is silent it is listened to."""
    _, mine, theirs, told = call
    other = media_outside(MEDIA2, 9000)
    send_for(FIRST_S - 4, other, told, theirs.rtp.address, mine)
    assert listening(net)
    send_for(7, other, told, theirs.rtp.address, mine)
    mine.rtp.nothing()
    wait_for(lambda: not listening(net))
    text = shown(daemon, "media_elsewhere", "calls")
    assert text == (f"media comes from {MEDIA2}:9000 to {PUBLIC}:{told[1]}, "
                    f"announced was {MEDIA}:8000; not let in (media.source)")
    assert set(symptoms(daemon)) == {"media_elsewhere", "one_way_audio"}


def test_media_to_elsewhere(daemon, call, media_outside):
    """The phone sends to where it talks SIP with, whatever it was told."""
    _, mine, theirs, told = call
    media_outside(PROXY, 8000)
    send_for(FIRST_S + 3, mine, (PROXY, 8000), told, theirs)
    text = shown(daemon, "media_elsewhere", "calls")
    assert text == (f"media of {ALICE}:4000 goes to {PROXY}:8000, announced "
                    f"was {MEDIA}:8000")
    assert set(symptoms(daemon)) == {"media_elsewhere", "one_way_audio"}


def test_media_by_another_port(daemon, call, media_inside):
    """The phone does not send by the port where it listens."""
    _, mine, theirs, told = call
    other = media_inside(port=4002)
    send_for(FIRST_S + 3, other, theirs.rtp.address, told, theirs)
    text = shown(daemon, "media_elsewhere", "calls")
    assert text == (f"media leaves from {ALICE}:4002, the phone announced "
                    f"{ALICE}:4000")


def test_nobody_listens_to_a_healthy_call(daemon, net, call):
    _, mine, theirs, told = call
    for _ in range(7):
        talk(1, mine, theirs, told)
        assert not listening(net)
    nothing_wrong(daemon)


def test_hold_answered_plainly(daemon, call):
    """Without a=recvonly, as many do: it is a hold all the same."""
    made, mine, theirs, told = call
    made.reinvite_from_phone(sdp(ALICE, (4000, "a=sendonly"), version=2),
                             sdp(MEDIA, 8000))
    talk(FIRST_S + 3, mine, theirs, told, both=False)
    assert daemon.ctl("calls")[0]["state"] == "held"
    nothing_wrong(daemon)


def test_early_media_then_a_short_call(daemon, line, media_inside,
                                       media_outside):
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    made = Call(line)
    told = announced(made.invite_out(sdp(ALICE, 4000)))[:2]
    made.answer_in(183, sdp(MEDIA, 8000))
    for number in range(100):
        theirs.rtp.send(rtp(number), told)
        time.sleep(0.02)
    made.answer_in(200, sdp(MEDIA, 8000))
    made.ack_out()
    talk(1.5, mine, theirs, told, both=False)
    made.from_phone("BYE")
    record, = wait_for(lambda: records(daemon))
    assert record["symptoms"] == "" and record["result"] == "answered"
    nothing_wrong(daemon)


@pytest.mark.parametrize("code", [302, 401, 407, 486, 603])
def test_refused_calls_are_answered(daemon, line, code):
    line.register()
    made = Call(line)
    made.invite_out(sdp(ALICE, 4000))
    made.fail_in(code)
    nothing_wrong(daemon)


def test_cancelled_call(daemon, line):
    line.register()
    made = Call(line)
    made.invite_out(sdp(ALICE, 4000))
    made.cancel_from_phone()
    record, = wait_for(lambda: records(daemon))
    assert record["result"] == "cancelled" and record["symptoms"] == ""
    nothing_wrong(daemon)


def test_without_accounting(daemon, net, call):
    """Nothing counts: nothing is said. What is switched on meanwhile begins to
    count with the next call."""
    made, mine, theirs, told = call
    nothing_wrong(daemon)
    made.from_phone("BYE")
    net.gw.sysctl(nf_conntrack_acct=0)
    time.sleep(1.5)  # the daemon sees it
    made = call_out(made.line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(made.invite_seen)[:2]
    talk(3, mine, theirs, told, both=False)
    net.gw.sysctl(nf_conntrack_acct=1)
    talk(FIRST_S, mine, theirs, told, both=False)
    made.from_phone("BYE")
    wait_for(lambda: len(records(daemon)) == 2)
    assert records(daemon)[1]["packets_out"] == ""
    nothing_wrong(daemon)


@pytest.mark.config(media__timeout=9)
def test_accounting_switched_on(daemon, net, line, media_inside,
                                media_outside):
    """As doctor advises: no running call is taken for lost."""
    net.gw.sysctl(nf_conntrack_acct=0)
    line.register()
    time.sleep(1.5)
    mine, theirs = media_inside(), media_outside(MEDIA)
    made = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(made.invite_seen)[:2]
    net.gw.sysctl(nf_conntrack_acct=1)
    talk(20, mine, theirs, told)
    assert daemon.ctl("calls")[0]["state"] == "active"
    assert net.conntrack.udp(src=ALICE, sport=4000)
    assert [m["counted"] for m in daemon.ctl("calls")[0]["media"]] == [False]
    said = net.gw.run([daemon.program("sipalgctl"), "--socket", daemon.socket,
                       "calls"]).stdout
    assert "of some calls are not counted: they began" in said
    nothing_wrong(daemon)


def test_refused_registration(daemon, line):
    seen = line.out(line.phone.register())
    line.into(line.server.respond(seen.bytes, 403, contact=False,
                                  source=line.public[5060], tag="no"))
    registration, = daemon.ctl("registrations")
    log = wait_for(lambda: "registration_refused" in daemon.log()
                   and daemon.log())
    assert f"{line.server.host} answered 403" in log
    shown(daemon, "registration_refused", "registrations")
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
    shown(daemon, "upstream_alg", "registrations")


def test_nobody_answers(daemon, line):
    made = Call(line)
    line.out(line.phone.request("INVITE", "sip:echo@203.0.113.10",
                                body=sdp(ALICE, 4000)))
    assert made.inside is None
    time.sleep(31)
    text = wait_for(lambda: symptoms(daemon).get("invite_unanswered"))
    assert re.fullmatch(rf"no answer from {line.server.host} to the INVITE "
                        rf"of {ALICE} for 3[2-4] s", text)
    assert shown(daemon, "invite_unanswered", "calls") == text


def test_lapsed_registration(daemon, line):
    line.register(expires=3)
    assert shown(daemon, "registration_lapsed") == \
        f"not refreshed at {line.server.host} within 3 s"
    record, = wait_for(lambda: records(daemon, "registration"))
    assert record["result"] == "lapsed"


def test_left_alone_registration(daemon, line):
    """Its refreshes pass unread, so nobody knows of any lapse."""
    line.register(expires=3)
    daemon.ctl("mode", "bypass")
    record, = wait_for(lambda: records(daemon, "registration"))
    assert record["result"] == "bypassed"
    nothing_wrong(daemon)


def test_farewell_that_nobody_answers(daemon, line):
    line.register(expires=3)
    line.out(line.phone.register(0))
    record, = wait_for(lambda: records(daemon, "registration"), 40)
    assert record["result"] == "removed"
    nothing_wrong(daemon)


def test_unanswered_registration(daemon, line):
    """A refresh: the registration is still there to show it."""
    line.register()
    line.out(line.phone.register())
    time.sleep(30)
    text = shown(daemon, "register_unanswered", "registrations")
    assert re.fullmatch(rf"no answer from {line.server.host} for 3[2-4] s",
                        text)
    line.register()
    registration, = daemon.ctl("registrations")
    assert registration["symptoms"] == []


def test_unknown_to_the_phone(daemon, line):
    line.register()
    made = Call(line)
    made.invite_in(sdp(MEDIA, 8000))
    made.fail_out(404)
    assert shown(daemon, "unknown_contact", "calls").startswith(
        f"{ALICE}:5060 answered 404 to an INVITE for ")


def test_called_where_nobody_is(daemon, line):
    line.register()
    line.server.send(line.server.request("INVITE", f"sip:bob@{PUBLIC}:5099"),
                     (PUBLIC, 5099))
    assert shown(daemon, "unknown_contact") == \
        f"{line.server.host} sends to {PUBLIC}:5099, which no phone has"


@pytest.mark.config(media__rtp_ports="20000-20001")
def test_message_that_is_not_rewritten(daemon, line):
    """Of a call, as no port is left; and of nobody's, as it cannot be read."""
    line.register()
    Call(line).invite_out(sdp(ALICE, 4000))
    line.phone.send(line.phone.request("INVITE", "sip:x@203.0.113.10",
                                       body=sdp(ALICE, 4010)),
                    line.server.address)
    line.server.recv()
    assert shown(daemon, "not_rewritten", "calls").startswith(
        "part of INVITE: Media refused: no public port was free")
    time.sleep(1.1)  # one such a second is looked at
    broken = line.phone.request("OPTIONS", "sip:x@203.0.113.10").replace(
        b"Content-Length: 0", b"Content-Length: 99")
    line.phone.send(broken, line.server.address)
    assert line.server.recv()[0] == broken
    wait_for(lambda: "(bad_length): " in daemon.log())
    assert "(bad_length): " in doctor(daemon)["not_rewritten"]


def answered_as(line, seen, source):
    """The server answers a REGISTER, and says where it came from."""
    line.server.send(line.server.respond(
        seen.bytes, 200, source=source, tag="reg",
        headers=["Expires: 600"]), line.public[5060])
    line.phone.recv()


def test_nat_upstream(daemon, line):
    answered_as(line, line.out(line.phone.register()), ("198.18.0.1", 1024))
    assert shown(daemon, "upstream_nat", "registrations").endswith(
        "it is seen as 198.18.0.1:1024")


def test_provider_repairs_nat(daemon, line):
    """It fills in what was not asked for."""
    seen = line.out(line.phone.register(via=line.phone.via("")))
    answered_as(line, seen, line.public[5060])
    assert shown(daemon, "provider_nat", "registrations") == \
        "it filled in rport, which was not asked for"


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
