# SPDX-License-Identifier: GPL-2.0-or-later
"""sipalgctl trace: each message, what was changed, and why."""

import json
import re
import signal
import subprocess
import time

import pytest

from lib.call import call_out
from lib.control import Follower, ask
from lib.ctl import Ctl
from lib.gateway import ALICE, BOB, MEDIA, PROXY, PUBLIC
from lib.sip import sdp
from lib.tcp import TcpLine


@pytest.fixture
def follow(daemon, own):
    """follow("phone=192.168.1.9"): a trace that has begun."""
    return lambda *terms: own(Follower(daemon, "trace", *terms))


def edits(message, site):
    return [e for e in message["edits"] if e["site"] == site]


def test_register_is_told_with_reasons(line, follow):
    trace = follow()
    line.register()
    sent, answered = trace.until_quiet()
    assert sent["direction"] == "out" and answered["direction"] == "in"
    assert sent["method"] == answered["method"] == "REGISTER"
    assert sent["phone"] == f"{ALICE}:5060"
    assert sent["public"] == f"{PUBLIC}:5060"
    assert sent["peer"] == f"{PROXY}:5060"
    assert sent["reason"] == "rewritten" and answered["status"] == 200
    contact, = edits(sent, "Contact")
    assert contact["old"] == f"{ALICE}:5060"
    assert contact["new"] == f"{PUBLIC}:5060"
    assert contact["why"] == "mapping of this phone made for this message"
    back, = edits(answered, "Contact")
    assert re.fullmatch(r"what it wrote itself; mapping of this phone "
                        r"(since \d\d:\d\d:\d\d|made for this message)",
                        back["why"])
    line.register()
    again = trace.until_quiet()[0]
    contact, = edits(again, "Contact")
    assert re.fullmatch(r"mapping of this phone since \d\d:\d\d:\d\d",
                        contact["why"])


def test_lines_show_what_stood_and_what_stands(line, follow):
    trace = follow("method=REGISTER")
    line.register()
    lines = trace.next()["lines"]
    contact, = (x for x in lines if x["old"].startswith("Contact:"))
    assert f"@{ALICE}:5060" in contact["old"]
    assert contact["new"] == contact["old"].replace(ALICE, PUBLIC)
    via, = (x for x in lines if x["old"].startswith("Via:"))
    assert f"UDP {PUBLIC}:5060" in via["new"]


def test_media_and_length_have_reasons(line, follow):
    line.register()
    trace = follow("method=INVITE")
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    invite = trace.next()
    port, = edits(invite, "m=")
    assert port["why"] == f"public media port of {ALICE}:4000"
    assert edits(invite, "c=")[0]["why"] == (
        "public address of this phone's media")
    length, = edits(invite, "Content-Length")
    grown = int(length["new"]) - int(length["old"])
    assert length["why"] in (f"the body is {grown} bytes longer",
                             f"the body is {-grown} bytes shorter",
                             "the body is 1 byte longer",
                             "the body is 1 byte shorter")
    call.from_server("BYE")


def test_filters(line, follow, daemon):
    line.register()
    wanted = {
        f"phone={ALICE}": True, "phone=192.168.1.0/24": True,
        f"phone={BOB}": False, f"peer={PROXY}": True, "peer=192.0.2.1": False,
        "number=alice": True, "number=al*": True, "number=bob": False,
        "method=register": True, "method=INVITE": False,
        "call-id=*": True, "call-id=none": False,
    }
    traces = {}
    for term in wanted:
        if len(traces) == 6:
            check(line, traces, wanted)
            traces = {}
        traces[term] = follow(term)
    check(line, traces, wanted)
    one = follow("method=OPTIONS", "method=REGISTER", "number=bob")
    line.register()
    assert one.until_quiet() == []
    for bad in ("phone=alice", "phone=192.168.1.9/24", "colour=red", "phone",
                "", "number=", "call-id=" + "x" * 64):
        said = ask(daemon, {"command": "trace", "filter": [bad]})["error"]
        assert said.startswith("filter: "), said
    for bad in ("phone=1.2.3.4", [1], {"a": 1}):
        assert "error" in ask(daemon, {"command": "trace", "filter": bad})


def test_messages_of_a_stream(daemon, net, own, follow):
    """Over TCP: each message once, however it is cut into segments, and to
    each listener those it wants."""
    line = own(TcpLine(net, ALICE)).learn()
    every, some = follow(), follow("method=MESSAGE")
    sent = b"".join(line.phone.request(method, "sip:echo@203.0.113.10")
                    for method in ("OPTIONS", "MESSAGE", "INFO"))
    for begin in range(0, len(sent), 300):
        line.inside.send(sent[begin:begin + 300])
        time.sleep(0.05)
    told = every.until_quiet()
    assert [message["method"] for message in told] == [
        "OPTIONS", "MESSAGE", "INFO"]
    for message in told:
        assert message["transport"] == "tcp"
        assert message["phone"] == "%s:%d" % line.inside.local
        contact, = edits(message, "Contact")
        assert contact["why"].startswith("mapping of this phone ")
    message, = some.until_quiet()
    assert message["method"] == "MESSAGE"


def check(line, traces, wanted):
    line.register()
    for term, trace in traces.items():
        got = trace.until_quiet()
        assert len(got) == (2 if wanted[term] else 0), (term, got)
        trace.close()


@pytest.mark.config(gateway__mode="observe")
def test_observe_shows_what_would_change(phone, server, follow):
    trace = follow()
    alice, proxy = phone(), server()
    alice.send(alice.register(), proxy.address)
    proxy.recv()
    seen = trace.next()
    assert seen["reason"] == "observed"
    assert edits(seen, "Contact")[0]["new"] == f"{PUBLIC}:5060"
    assert any(PUBLIC in x["new"] for x in seen["lines"])


@pytest.mark.config(bypass__phones=ALICE)
def test_what_passes_says_why(phone, server, follow):
    trace = follow()
    alice, proxy = phone(), server()
    alice.send(alice.register(), proxy.address)
    proxy.recv()
    seen = trace.next()
    assert seen["reason"] == "bypassed" and not seen["edits"]
    assert seen["text"].startswith("Packets passed because of gateway.mode")
    assert seen["method"] == "REGISTER" and seen["phone"] == f"{ALICE}:5060"


def test_what_cannot_be_read_is_shown(phone, server, follow):
    trace = follow()
    alice, proxy = phone(), server()
    alice.send(alice.register().replace(b"\r\n\r\n", b"\r\n"), proxy.address)
    proxy.recv()
    assert trace.next()["reason"] == "bad_end"
    alice.send(b"\r\n\r\n", proxy.address)
    proxy.recv()
    alice.send(b"REGISTER sip:\x1b[31m\xff\x80 SIP/2.0\r\nCall-ID: \xff\r\n"
               b"\r\n", proxy.address)
    proxy.recv()
    seen = trace.next()
    assert "\\xff" in seen["start"]
    alice.send(b"REGISTER sip:\x00 SIP/2.0\r\n\r\n", proxy.address)
    proxy.recv()
    seen = trace.next()
    assert seen["reason"] == "bad_header" and "\\x00" in seen["start"]


def test_strangers_are_shown(server, follow, line):
    line.register()
    trace = follow()
    stranger = server(host=MEDIA, user="evil")
    host, port = line.public[line.phone.port]
    stranger.send(stranger.request("INVITE", f"sip:alice@{host}:{port}"),
                  (host, port))
    seen = trace.next()
    assert seen["reason"] == "not_allowed"
    assert seen["peer"] == f"{MEDIA}:5060" and seen["phone"] == f"{ALICE}:5060"


def test_nobody_listens_any_more(line, follow, daemon):
    for _ in range(20):
        trace = follow()
        trace.close()
    line.register()
    trace = follow()
    line.register()
    assert len(trace.until_quiet()) == 2


# --- what sipalgctl makes of it ---

class Printed:
    """sipalgctl trace, its output no terminal."""

    def __init__(self, daemon, *arguments):
        self.path = daemon.path("printed")  # a pipe would fill
        with open(self.path, "wb") as out:
            self.process = daemon.namespace.popen(
                Ctl(daemon).argv(*arguments), stdout=out,
                stderr=subprocess.PIPE)
        assert self.process.stderr.readline() == b"tracing; Ctrl-C ends it\n"

    def end(self):
        time.sleep(0.3)
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        with open(self.path, encoding="utf-8", newline="\n") as file:
            return file.read().split("\n")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def test_plain_lines(line, daemon, own):
    trace = own(Printed(daemon, "trace", f"phone={ALICE}"))
    line.register()
    lines = trace.end()
    assert re.fullmatch(
        rf"\d\d:\d\d:\d\d\.\d{{6}}  {ALICE}:5060 -> {PROXY}:5060 udp  "
        r"REGISTER sip:example.com SIP/2.0", lines[0])
    assert (f"    Contact {ALICE}:5060 -> {PUBLIC}:5060: mapping of this "
            "phone made for this message") in lines
    assert any(x.endswith(f"{ALICE}:5060 <- {PROXY}:5060 udp  SIP/2.0 200 OK")
               for x in lines)
    assert not any(x.lstrip().startswith(("-", "+")) for x in lines)
    assert not any("\x1b" in x for x in lines)


def test_json_is_a_document_a_line(line, daemon, own):
    trace = own(Printed(daemon, "--json", "trace"))
    line.register()
    assert [json.loads(x)["method"] for x in trace.end() if x] == ["REGISTER"] * 2


@pytest.mark.parametrize("colours", (True, False))
def test_terminal_shows_a_diff(line, daemon, own, colours):
    env = {} if colours else {"NO_COLOR": "1"}
    trace = own(Ctl(daemon).terminal("trace", columns=200, **env))
    assert trace.process.stderr.readline()
    line.register()
    shown = trace.until("200 OK")
    red, green = ("\x1b[1;31m", "\x1b[32m") if colours else ("", "")
    contact = f"Contact: <sip:alice@{ALICE}:5060>"
    assert f"    {red}- {contact}" in shown
    assert f"    {green}+ {contact.replace(ALICE, PUBLIC)}" in shown
    assert ("\x1b" in shown) == colours
    trace.type("\x03")
    assert trace.end()[0] == -signal.SIGINT


def test_hostile_text_stays_off_the_terminal(phone, server, daemon, own):
    trace = own(Printed(daemon, "trace"))
    alice, proxy = phone(), server()
    alice.send(b"OPTIONS sip:\x1b]0;x\x07\xc2\x9b2J\x00 SIP/2.0\r\n\r\n",
               proxy.address)
    proxy.recv()
    alice.send(alice.register(), proxy.address)
    proxy.recv()
    text = "\n".join(trace.end())
    assert "\\x1b" in text and "\\x07" in text and "REGISTER" in text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


def test_who_does_not_read_is_told_what_it_missed(phone, server, daemon, own):
    trace = own(Printed(daemon, "trace"))
    trace.process.send_signal(signal.SIGSTOP)
    alice, proxy = phone(), server()
    register = alice.register()
    for _ in range(1500):
        alice.send(register, proxy.address)
        proxy.recv()
    trace.process.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    lines = trace.end()
    missed = sum(int(m[1]) for x in lines if (
        m := re.fullmatch(r"(\d+) messages? not shown", x)))
    shown = sum(": " not in x and "REGISTER" in x for x in lines)
    assert missed > 100 and missed + shown == 1500, (missed, shown)


def test_wrong_filter_is_refused(daemon):
    done = Ctl(daemon).run("trace", "phone=192.168.1.9/24")
    assert done.returncode == 1 and not done.stdout
    assert done.stderr == (
        'sipalgctl: filter: "192.168.1.9/24" is neither an address nor a '
        "network (ADDRESS/LENGTH with no bits set beyond LENGTH)\n")


def test_daemon_ends(daemon, own):
    trace = own(Printed(daemon, "trace"))
    daemon.stop()
    assert trace.process.wait(10) == 3
    assert trace.process.stderr.read() == b"sipalgctl: sipalgd has ended\n"
    daemon.start()
