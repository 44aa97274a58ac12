# SPDX-License-Identifier: GPL-2.0-or-later
"""sipalgctl: what it says is what went over the wire; and it switches."""

import json
import os
import re
import signal
import time

import pytest

from lib import sip
from lib.agents import Line, media_flows, rtp
from lib.call import Call, announced, call_in, call_out
from lib.ctl import Ctl
from lib.daemon import FAST, Sipalgd
from lib.gateway import ALICE, CAROL, MEDIA, PROXY, PUBLIC
from lib.sip import sdp

COMMANDS = ("status", "registrations", "calls", "stats", "top", "mode",
            "reload", "rules")
ESCAPE = "\x1b"


@pytest.fixture
def ctl(daemon):
    return Ctl(daemon)


def listed(daemon, what, *more):
    """The document is the list."""
    return daemon.ctl(what, *more)


# --- registrations ---


def test_registration_is_what_was_on_the_wire(daemon, line):
    seen = line.register(expires=600, headers=["User-Agent: Snom/8.7"])
    entry, = listed(daemon, "registrations")
    assert entry["aor"] == "sip:alice@example.com"
    assert entry["contact_inside"] == sip.uri_of(line.phone.contact)
    assert entry["contact_public"] == sip.uri_of(seen.get("Contact"))
    assert entry["registrar"] == f"{PROXY}:5060"
    assert 595 <= entry["expires_s"] <= 600
    assert entry["transport"] == "udp"
    assert entry["user_agent"] == "Snom/8.7"


def test_registrations_come_and_go(daemon, line, phone, ctl):
    assert listed(daemon, "registrations") == []
    assert ctl.text("registrations") == "No registrations.\n"
    carol = Line(phone(CAROL, user="carol"), line.server)
    line.register(), carol.register()
    assert {r["aor"] for r in listed(daemon, "registrations")} == {
        "sip:alice@example.com", "sip:carol@example.com"}
    seen = line.out(line.phone.register(0))
    line.into(line.server.respond(
        seen.bytes, 200, source=line.public[5060], tag="reg",
        contact=False))
    entry, = listed(daemon, "registrations")
    assert entry["aor"] == "sip:carol@example.com"
    assert entry["contact_public"].startswith(f"sip:carol@{PUBLIC}:")


def test_unanswered_registration_lasts_no_time(daemon, line, ctl):
    line.out(line.phone.register())
    entry, = listed(daemon, "registrations")
    assert entry["expires_s"] == 0
    assert "asked" in ctl.text("registrations")


# --- calls ---


def test_call_from_beginning_to_end(daemon, line, media_inside,
                                    media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = Call(line)
    call.invite_out(sdp(ALICE, 4000))
    entry, = listed(daemon, "calls")
    assert entry["state"] == "trying"
    assert entry["call_id"] == sip.Message(call.invite_sent).get("Call-ID")
    assert entry["from"] == "sip:alice@example.com"
    assert entry["to"] == "sip:echo@203.0.113.10"
    assert entry["phone"] == ALICE and entry["direction"] == "out"
    assert entry["symptoms"] == []
    host, port, _ = announced(call.invite_seen)
    stream, = entry["media"]
    assert stream == {"type": "audio", "inside": f"{ALICE}:4000",
                      "public": f"{host}:{port}", "remote": None,
                      "packets_out": 0, "packets_in": 0}
    call.answer_in(180)
    assert listed(daemon, "calls")[0]["state"] == "early"
    call.answer_in(200, sdp(MEDIA, 8000))
    call.ack_out()
    entry, = listed(daemon, "calls")
    assert entry["state"] == "active"
    assert entry["media"][0]["remote"] == f"{MEDIA}:8000"
    for number in range(7):
        mine.rtp.send(rtp(number), theirs.rtp.address)
        theirs.rtp.recv()
    for number in range(4):
        theirs.rtp.send(rtp(number), (host, port))
        mine.rtp.recv()
    # Asked of the kernel now, and RTCP is no RTP
    mine.rtcp.send(b"\x80\xc9\x00\x01abcd", theirs.rtcp.address)
    stream, = listed(daemon, "calls")[0]["media"]
    assert (stream["packets_out"], stream["packets_in"]) == (7, 4)
    call.reinvite_from_phone(sdp(ALICE, (4000, "a=sendonly"), version=2),
                             sdp(MEDIA, (8000, "a=recvonly"), version=2))
    assert listed(daemon, "calls")[0]["state"] == "held"
    call.from_server("BYE")
    entry, = listed(daemon, "calls")
    assert entry["state"] == "ended" and entry["media"] == []


def test_call_from_outside_and_its_age(daemon, line):
    line.register()
    call_in(line, sdp(MEDIA, 8000), sdp(ALICE, 4000))
    began = time.monotonic()
    entry, = listed(daemon, "calls")
    assert entry["direction"] == "in" and entry["phone"] == ALICE
    assert entry["from"] == sip.uri_of(line.server.identity)
    assert entry["to"] == "sip:alice@example.com"
    assert entry["media"][0]["remote"] == f"{MEDIA}:8000"
    assert entry["started_s"] <= 1
    time.sleep(2.2)
    age = listed(daemon, "calls")[0]["started_s"]
    assert 2 <= age <= time.monotonic() - began + 1


def test_symptoms_are_said(daemon, line, media_inside, media_outside, ctl):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    call_id = sip.Message(call.invite_sent).get("Call-ID")
    assert "No symptoms." in ctl.text("calls", call_id)
    end = time.monotonic() + 25
    while time.monotonic() < end:
        entry, = listed(daemon, "calls")
        if entry["symptoms"]:
            break
        speak(mine, theirs, 25)
    symptom, = entry["symptoms"]
    assert symptom["code"] == "one_way_audio" and symptom["text"]
    assert "one_way_audio" in ctl.lines("calls")[1]
    assert "one_way" in ctl.lines("top", width=80)[-1]
    shown = ctl.text("calls", call_id)
    assert "one_way_audio" in shown and symptom["text"] in shown


def test_streams_of_a_call_are_listed_each(daemon, line):
    line.register()
    call_out(line, sdp(ALICE, 4000, 4010), sdp(MEDIA, 8000, 8010))
    media = listed(daemon, "calls")[0]["media"]
    assert [m["inside"] for m in media] == [f"{ALICE}:4000", f"{ALICE}:4010"]
    assert [m["remote"] for m in media] == [f"{MEDIA}:8000", f"{MEDIA}:8010"]
    assert len({m["public"] for m in media}) == 2


def test_without_accounting_it_says_so(net, daemon, line, media_inside,
                                       media_outside, ctl):
    mine, theirs = media_inside(), media_outside(MEDIA)
    net.gw.sysctl(nf_conntrack_acct=0)
    time.sleep(1.2)  # it looks once a second
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(call.invite_seen))
    assert daemon.ctl("calls")[0]["media"][0]["packets_out"] == 0
    assert "nf_conntrack_acct is 0" in ctl.text("calls")


def test_one_call_of_several(daemon, line, ctl):
    line.register()
    first = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    second = call_out(line, sdp(ALICE, 4010), sdp(MEDIA, 8010))
    ids = [sip.Message(c.invite_sent).get("Call-ID") for c in (second, first)]
    assert [c["call_id"] for c in listed(daemon, "calls")] == ids
    for wanted in ids:
        entry, = listed(daemon, "calls", wanted)
        assert entry["call_id"] == wanted
    assert len(listed(daemon, "calls", "call-")) == 2
    shown = ctl.text("calls", ids[0])
    assert ids[0] in shown and ids[1] not in shown
    assert f"{ALICE}:4010" in shown and f"{MEDIA}:8010" in shown


def test_a_call_that_there_is_not(daemon, ctl):
    done = ctl.run("calls", "nobody@nowhere")
    assert done.returncode == 1 and "nobody@nowhere" in done.stderr
    assert not done.stdout
    done = ctl.run("--json", "calls", "nobody@nowhere")
    assert done.returncode == 1 and json.loads(done.stdout) == []
    assert ctl.text("calls") == "No calls.\n"


def test_hostile_text_does_not_reach_the_terminal(daemon, line, ctl):
    """Colours, titles, invalid UTF-8: shown, not obeyed."""
    line.register()
    identity = b'"\x1b]0;owned\x07\x1b[31m\xff" <sip:\x1b[2Jeve@example.com>'
    invite = line.phone.request(
        "INVITE", "sip:echo@203.0.113.10", body=sdp(ALICE, 4000))
    invite = invite.replace(line.phone.identity.encode(), identity, 1)
    line.phone.send(invite, line.server.address)
    line.server.recv()
    for command in (("calls",), ("calls", "call-"), ("top",)):
        shown = ctl.run(*command)
        assert ESCAPE not in shown.stdout and shown.returncode == 0, shown
    assert "\\x1b[2Jeve" in ctl.text("calls")
    assert "eve@example.com" in listed(daemon, "calls")[0]["from"]


@pytest.mark.config(**FAST)
def test_many_calls_in_one_answer(daemon, line):
    """More than fit into one piece, while some end."""
    line.register()
    calls = [Call(line) for _ in range(300)]
    for number, call in enumerate(calls):
        call.invite_out(sdp(ALICE, 10000 + 4 * number))
    wanted = {sip.Message(c.invite_sent).get("Call-ID") for c in calls}
    entries = listed(daemon, "calls")
    assert len(entries) == 300
    assert {e["call_id"] for e in entries} == wanted
    for call in calls[:20]:
        call.cancel_from_phone()
    assert sum(e["state"] == "ended" for e in listed(daemon, "calls")) == 20


# --- status and counters ---


def test_status_has_the_queue_and_messages(daemon, line):
    before = daemon.status()["messages"]
    line.register()
    status = daemon.status()
    assert status["messages"] == before + 2
    queue, = status["queues"]
    assert queue["waiting"] == 0 and queue["max_length"] == 8192


def test_stats_are_flat_and_for_people_explained(daemon, line, ctl):
    assert ctl.text("stats").startswith("Nothing has been counted")
    line.register()
    stats = daemon.stats()
    assert all(isinstance(v, int) for v in stats.values())
    assert stats["rewritten"] == 2 and stats["bad_header"] == 0
    shown = ctl.lines("stats")
    assert re.fullmatch(r" *2  rewritten +Messages rewritten", shown[1])
    assert not any("bad_header" in row for row in shown)
    every = ctl.lines("stats", "--all")
    assert len(every) == len(stats) + 1
    assert any(re.match(" *0  bad_header ", row) for row in every)


# --- mode and reload ---


def untouched(line):
    """A message passes as plain NAT passes it."""
    options = line.phone.request("OPTIONS", "sip:echo@203.0.113.10")
    line.phone.send(options, line.server.address)
    seen, _ = line.server.recv()
    sip.same_bytes(options, seen)


def test_mode_is_shown_and_changed(daemon, line, ctl):
    assert daemon.ctl("mode") == {"mode": "active", "file": "active"}
    assert ctl.text("mode") == "active\n"
    line.register()
    for mode in ("observe", "bypass"):
        assert daemon.ctl("mode", mode)["mode"] == mode
        assert daemon.status()["mode"] == mode
        untouched(line)
    said = ctl.text("mode", "observe")
    assert "until the next reload or restart" in said
    assert "the configuration file says active" in said
    ctl.text("mode", "active")
    line.register()


def test_mode_by_command_ends_with_reload_and_restart(daemon, line, ctl):
    for again in (lambda: ctl.text("reload"), daemon.reload,
                  lambda: (daemon.stop(), daemon.start())):
        ctl.text("mode", "bypass")
        assert daemon.status()["mode"] == "bypass"
        again()
        assert daemon.ctl("mode") == {"mode": "active", "file": "active"}
        line.register()


def test_call_begun_in_active_goes_on_in_observe(daemon, line, media_inside,
                                                 media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    daemon.ctl("mode", "observe")
    media_flows(mine, theirs, announced(call.invite_seen))
    call.from_phone("BYE")
    assert listed(daemon, "calls")[0]["state"] == "ended"
    untouched(line)


def test_who_changes_something_is_logged(daemon, ctl):
    ctl.text("mode", "observe")
    assert re.search(r"uid 0 \(root\) pid \d+: set_mode observe", daemon.log())
    ctl.text("mode")
    assert daemon.log().count("uid 0") == 1


def test_reload_takes_a_good_file(daemon, line, ctl):
    daemon.settings["gateway.mode"] = "bypass"
    daemon.write_config()
    answer = daemon.ctl("reload")
    assert answer["file"] == daemon.config and answer["mode"] == "bypass"
    assert daemon.status()["mode"] == "bypass"
    untouched(line)
    assert f"{daemon.config}: loaded" in ctl.text("reload")


def test_reload_says_why_a_file_is_not_taken(daemon, line, ctl):
    with open(daemon.config, "w", encoding="ascii") as file:
        file.write("[gateway]\nlan_interfaces = lan0\n[sip]\nports = 99999\n")
    done = ctl.run("reload")
    assert done.returncode == 1 and not done.stdout
    assert "the old configuration stays in force" in done.stderr
    assert f"{daemon.config}:4: sip.ports: " in done.stderr
    assert "gateway.wan_interfaces: missing" in done.stderr
    assert not done.stderr.endswith("\n\n")
    assert f"{daemon.config}:4: sip.ports: " in daemon.log()
    line.register()
    os.unlink(daemon.config)
    done = ctl.run("reload")
    assert done.returncode == 1 and "No such file" in done.stderr


# --- rules ---


def test_rules_print_is_what_the_daemon_prints(daemon, ctl):
    for which, option in (("ip4", "--print-rules"),
                          ("ip6", "--print-rules=ip6"),
                          ("remove", "--print-rules=remove")):
        wanted = daemon.rules(option)
        assert ctl.text("rules", "print", which) == wanted
        assert daemon.ctl("rules")[which] == wanted
    assert ctl.text("rules") == daemon.rules()


@pytest.fixture
def stopped(net, build, own):
    return own(Sipalgd(net.gw, build))


def rules(stopped, verb, kind="nft"):
    """sipalgctl rules VERB with that kind of iptables."""
    script = os.path.join(stopped.build, "systemd/sipalgd-rules")
    use = "".join(
        f"ln -sf /usr/sbin/{name.replace('tables', f'tables-{kind}')} "
        f"/etc/alternatives/{name} && "
        for name in ("iptables", "iptables-save", "iptables-restore",
                     "ip6tables", "ip6tables-save", "ip6tables-restore"))
    return Ctl(stopped).run(
        "rules", verb,
        before=["unshare", "-m", "sh", "-c",
                "cp -a /etc/alternatives /tmp/alternatives.$$ && mount "
                "--bind /tmp/alternatives.$$ /etc/alternatives && "
                f"{use} \"$@\"; status=$?; umount /etc/alternatives; "
                "rm -r /tmp/alternatives.$$; exit $status", "sh"],
        SIPALGD_RULES=f"{stopped.directory}/rules",
        SIPALGD=stopped.program("sipalgd"), SIPALGD_CONF=stopped.config,
        SCRIPT=script)


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_rules_come_and_go_without_a_daemon(stopped, kind):
    with open(f"{stopped.directory}/rules", "w", encoding="ascii") as file:
        file.write('#!/bin/sh\nexec sh "$SCRIPT" "$@"\n')
    os.chmod(f"{stopped.directory}/rules", 0o755)

    def saved():
        text = stopped.namespace.run([f"iptables-{kind}-save"]).stdout
        return [line.split(" [")[0] for line in text.splitlines()
                if not line.startswith("#")]

    if stopped.namespace.run([f"iptables-{kind}", "-t", "raw", "-S"],
                             check=False).returncode:
        pytest.skip(f"no iptables-{kind} here")
    done = rules(stopped, "apply", kind)
    assert done.returncode == 0, done
    assert done.stdout == "Rules applied.\n"
    once = saved()
    assert sum("--comment sipalgd" in line for line in once) == 2
    assert any("NFQUEUE" in line for line in once)
    assert rules(stopped, "apply", kind).returncode == 0
    assert saved() == once
    for _ in range(2):
        done = rules(stopped, "remove", kind)
        assert done.returncode == 0 and done.stdout == "Rules removed.\n"
        assert not any("sipalgd" in line.lower() for line in saved())


def test_rules_errors_pass_through(stopped):
    with open(f"{stopped.directory}/rules", "w", encoding="ascii") as file:
        file.write('#!/bin/sh\necho "iptables says no" >&2; exit 4\n')
    os.chmod(f"{stopped.directory}/rules", 0o755)
    done = rules(stopped, "apply")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith("iptables says no\n")
    os.unlink(f"{stopped.directory}/rules")
    done = rules(stopped, "apply")
    assert done.returncode == 1 and "is sipalgd installed?" in done.stderr


# --- people ---


def test_tables_fit_the_terminal(daemon, line, ctl):
    line.register(headers=["User-Agent: Some phone with a long name 1.2.3"])
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    call_id = sip.Message(call.invite_sent).get("Call-ID")
    wide = ctl.lines("calls")
    assert wide[0].split() == ["STATE", "AGE", "FROM", "TO", "OUT", "IN",
                               "SYMPTOMS", "CALL-ID"]
    assert "alice@example.com" in wide[1] and call_id in wide[1]
    for width in (80, 40, 30):
        for command in (("status",), ("calls",), ("calls", call_id),
                        ("registrations",), ("stats",), ("stats", "--all"),
                        ("top",), ("mode",)):
            assert ctl.lines(*command, width=width)
    narrow = ctl.lines("calls", width=40)
    assert narrow[0].split() == ["STATE", "FROM", "TO", "SYMPTOMS"]
    assert narrow[1].startswith("active  alice@")
    assert "\u2026" in narrow[1]
    narrow = ctl.lines("registrations", width=40)
    assert f"{ALICE}:5060" in narrow[1]
    assert "59m" in narrow[1]
    # One call in full leaves nothing out
    assert call_id in "".join(ctl.lines("calls", call_id, width=40))


def test_colours_only_where_they_are_wanted(daemon, ctl, own):
    assert ESCAPE not in ctl.text("status")
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        terminal = own(ctl.terminal("status", **env))
        status, shown, _ = terminal.end()
        assert status == 0 and "active" in shown and ESCAPE not in shown
    terminal = own(ctl.terminal("status", NO_COLOR=""))
    status, shown, _ = terminal.end()
    assert status == 0 and f"{ESCAPE}[32mactive{ESCAPE}[0m" in shown


def test_the_terminal_says_its_width(daemon, line, ctl, own):
    line.register()
    call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    terminal = own(ctl.terminal("calls", columns=40, NO_COLOR="1"))
    status, shown, _ = terminal.end()
    assert status == 0
    assert max(map(len, shown.splitlines())) <= 40
    assert "CALL-ID" not in shown


# --- top ---


def speak(mine, theirs, packets):
    for number in range(packets):
        mine.rtp.send(rtp(number), theirs.rtp.address)
        time.sleep(0.02)


def test_top_is_one_frame_where_there_is_no_terminal(
        daemon, line, media_inside, media_outside, ctl):
    mine, theirs = media_inside(), media_outside(MEDIA)
    assert "No calls." in ctl.text("top")
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(call.invite_seen))
    process = daemon.namespace.popen(ctl.argv("--json", "top"),
                                     stdout=-1, text=True)
    speak(mine, theirs, 100)
    document = json.loads(process.communicate()[0])
    entry, = document["calls"]
    assert 25 <= entry["packets_out_per_s"] <= 60
    assert entry["packets_in_per_s"] == 0
    assert document["status"]["queues"][0]["packets_per_s"] == 0
    assert document["messages_per_s"] == 0
    shown = ctl.text("top")
    assert ESCAPE not in shown
    assert "1 registrations, 1 calls" in shown
    assert re.search(r"^ 5060  \[ {20}\] +0  8192 +0 +0$", shown, re.M)


def test_top_on_a_terminal_until_q(daemon, line, ctl, own):
    line.register()
    call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    terminal = own(ctl.terminal("top"))
    terminal.until("alice@example.com")
    terminal.seen = ""
    terminal.until("alice@example.com")  # and again, a second later
    terminal.resize(24, 40)
    terminal.seen = ""
    shown = terminal.until("alice@ex")
    assert "SYMPTOM" not in shown.rpartition("STATE")[2]
    terminal.type("q")
    status, shown, stderr = terminal.end()
    assert status == 0 and not stderr
    assert shown.endswith(f"{ESCAPE}[?25h{ESCAPE}[?1049l")
    assert terminal.is_as_before()


def test_top_on_a_terminal_that_obeys_nothing(daemon, ctl, own):
    terminal = own(ctl.terminal("top", TERM="dumb"))
    status, shown, stderr = terminal.end()
    assert status == 0 and not stderr
    assert "messages/s" in shown and ESCAPE not in shown


@pytest.mark.parametrize("rows, columns", [(5, 20), (1, 1), (3, 200)])
def test_top_on_a_tiny_terminal(daemon, ctl, own, rows, columns):
    """Nothing scrolls away or wraps: the first lines stay."""
    terminal = own(ctl.terminal("top", rows=rows, columns=columns))
    clear = f"{ESCAPE}[H{ESCAPE}[J"
    while terminal.seen.count(clear) < 3:
        terminal.until(clear + "sipalgd ")
        terminal.wait()
    for frame in terminal.seen.split(clear)[1:3]:
        assert frame.startswith("sipalgd ")
        assert frame.count("\n") == rows - 1
    terminal.type("q")
    status, shown, _ = terminal.end()
    assert status == 0 and f"{ESCAPE}[?7h" in shown  # it wraps again


def test_top_while_the_window_is_pulled_at(daemon, ctl, own):
    """A new size breaks off no answer, and makes up no rates."""
    terminal = own(ctl.terminal("top", columns=200))
    terminal.until("messages/s")
    end = time.monotonic() + 3
    columns = 80
    while time.monotonic() < end:
        columns = 80 + (columns + 1) % 50
        terminal.resize(24, columns)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.wait(0)
    assert terminal.process.poll() is None
    terminal.type("q")
    status, _, stderr = terminal.end()
    assert status == 0 and not stderr


def test_a_daemon_that_hangs(daemon, ctl, own):
    """It is not waited for; top ends at once when it shall."""
    terminal = own(ctl.terminal("top"))
    terminal.until("messages/s")
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        time.sleep(1.5)
        terminal.type("\x03")
        began = time.monotonic()
        status, _, _ = terminal.end()
        assert status == 0 and time.monotonic() - began < 1
        assert terminal.is_as_before()
        done = ctl.run("status")
        assert done.returncode == 3 and not done.stdout
        assert "no answer for 10 seconds" in done.stderr
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    ctl.text("status")


def test_top_ends_with_ctrl_c(daemon, ctl, own):
    terminal = own(ctl.terminal("top"))
    terminal.until("messages/s")
    terminal.type("\x03")
    status, shown, _ = terminal.end()
    assert status == 0
    assert shown.endswith(f"{ESCAPE}[?1049l") and terminal.is_as_before()


def test_top_ends_with_the_daemon(daemon, ctl, own):
    terminal = own(ctl.terminal("top"))
    terminal.until("messages/s")
    daemon.stop()
    status, shown, stderr = terminal.end()
    assert status == 3 and "is sipalgd running?" in stderr
    assert terminal.is_as_before()
    daemon.start()


# --- usage, no daemon, no permission ---


def test_usage_errors(daemon, ctl):
    for command, said in (
            ((), "no command"),
            (("statsu",), "nearest known: stats"),
            (("regs",), "unknown command"),
            (("status", "now"), "takes no argument"),
            (("calls", "a", "b"), "too many arguments"),
            (("calls", "--all"), "does not take --all"),
            (("mode", "off"), "active, observe or bypass"),
            (("rules", "list"), "print, apply or remove"),
            (("rules", "apply", "now"), "takes no argument"),
            (("rules", "print", "ip5"), "ip4, ip6 or remove"),
            (("--nonsense", "status"), "--nonsense")):
        done = ctl.run(*command)
        assert done.returncode == 2, done
        assert said in done.stderr and not done.stdout, done


def test_help_of_all_and_of_each(daemon, ctl):
    every = ctl.text("--help")
    for command in COMMANDS:
        assert re.search(rf"^  {command}\b", every, re.M)
        own = ctl.text(command, "--help")
        assert own.startswith("usage: sipalgctl ") and command in own
    assert ctl.text("--version").startswith("sipalgctl ")


def test_every_command_needs_the_daemon(stopped):
    ctl = Ctl(stopped)
    for command in COMMANDS:
        for json_too in ((), ("--json",)):
            done = ctl.run(*json_too, command)
            assert done.returncode == 3 and not done.stdout, done
            assert "is sipalgd running?" in done.stderr


def test_a_stranger_may_not(daemon, ctl):
    os.chmod(daemon.directory, 0o755)
    done = ctl.run("status", before=[
        "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    assert done.returncode == 3 and not done.stdout, done
    assert "Permission denied" in done.stderr
    assert "control.group" in done.stderr


@pytest.mark.parametrize("command", [
    ("status",), ("--json", "stats"), ("--version",), ("--help",),
    ("calls", "--help"), ("--json", "top"), ("doctor",)])
def test_output_that_cannot_be_written(daemon, ctl, command):
    done = daemon.namespace.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", *ctl.argv(*command)],
        check=False)
    assert done.returncode == 1 and "standard output" in done.stderr
