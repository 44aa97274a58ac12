# SPDX-License-Identifier: GPL-2.0-or-later
"""sipalgctl capture: packets before and after; tshark reads them."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest

from lib.call import call_out
from lib.control import Follower
from lib.gateway import ALICE, BOB, MEDIA, PUBLIC
from lib.sip import sdp
from lib.tcp import TcpLine

FIELDS = ("frame.interface_name", "frame.comment", "frame.protocols",
          "ip.src", "ip.dst", "sip.Method", "sip.Status-Code",
          "sip.contact.uri", "sip.Call-ID", "_ws.expert.message")
WAIT_S = 10


class Capture:
    """A running sipalgctl capture."""

    def __init__(self, daemon, path, *terms, options=(), before=()):
        self.path = path
        self.process = daemon.namespace.popen(
            [*before, daemon.program("sipalgctl"), "--socket", daemon.socket,
             *options, "capture", path, *terms], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.said = self.process.stderr.readline().decode()

    def end(self, number=signal.SIGINT):
        """Ctrl-C. Return: exit status."""
        time.sleep(0.3)
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=WAIT_S)
        self.out, self.said = out, self.said + err.decode()
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def tshark(path, fields=FIELDS):
    """Rows of a capture file, a dictionary each."""
    if not shutil.which("tshark"):
        pytest.skip("needs tshark")
    command = ["tshark", "-r", path, "-n", "-T", "fields", "-E",
               "separator=\x1f", "-E", "occurrence=a", "-E", "aggregator=\x1e"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"damaged" not in done.stderr and b"cut short" not in done.stderr
    # comments hold line ends: tshark writes them escaped
    return [dict(zip(fields, line.split("\x1f")))
            for line in done.stdout.decode().split("\n") if line]


@pytest.fixture
def capture(daemon, own):
    """capture("phone=..."): a capture to a file that has begun."""
    path = daemon.path("x.pcapng")
    return lambda *terms: own(Capture(daemon, path, *terms))


def test_before_and_after(line, capture):
    running = capture()
    line.register()
    assert running.end() == 0, running.said
    assert running.said.splitlines() == [
        f"capturing to {running.path}; Ctrl-C ends it",
        "2 packets before, 2 after, 0 lost"]
    assert stat.S_IMODE(os.stat(running.path).st_mode) == 0o600
    rows = tshark(running.path)
    assert [r["frame.interface_name"] for r in rows] == [
        "before", "after"] * 2
    assert all(r["frame.protocols"] == "raw:ip:udp:sip" for r in rows)
    before, after, back_before, back_after = rows
    assert before["sip.Method"] == after["sip.Method"] == "REGISTER"
    assert back_after["sip.Status-Code"] == "200"
    assert (before["ip.src"], after["ip.src"]) == (ALICE, PUBLIC)
    assert (back_before["ip.dst"], back_after["ip.dst"]) == (PUBLIC, ALICE)
    assert f"{ALICE}" in before["sip.contact.uri"]
    assert f"{PUBLIC}" in after["sip.contact.uri"]
    assert f"{ALICE}" in back_after["sip.contact.uri"]
    assert before["frame.comment"].startswith("as it came; rewritten: ")
    assert after["frame.comment"].startswith("changed; rewritten: ")
    for row in (before, after):
        assert (f"Contact {ALICE}:5060 -> {PUBLIC}:5060: mapping of this "
                "phone made for this message") in row["frame.comment"]
    for row in rows:  # lengths and checksums are right
        assert "hecksum" not in row["_ws.expert.message"], row


def test_a_call_with_media_dissects(line, capture):
    line.register()
    running = capture("method=INVITE")
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    call.from_server("BYE")
    assert running.end() == 0
    rows = tshark(running.path, ("frame.interface_name", "sip.Method",
                                 "sip.CSeq.method", "sdp.media.port",
                                 "sdp.connection_info.address"))
    assert rows and {r["sip.CSeq.method"] for r in rows} == {"INVITE"}
    ports = {r["frame.interface_name"]: r["sdp.media.port"] for r in rows
             if r["sip.Method"] == "INVITE"}
    assert ports["before"] == "4000" and ports["after"] != "4000"


def test_filters(line, capture):
    running = capture(f"phone={BOB}")
    line.register()
    assert running.end() == 0
    assert tshark(running.path) == []
    assert "0 packets before, 0 after, 0 lost" in running.said


def test_what_passes_is_in_both(phone, server, capture):
    running = capture()
    alice, proxy = phone(), server()
    alice.send(b"\r\n\r\n", proxy.address)
    proxy.recv()
    assert running.end(signal.SIGTERM) == 0
    before, after = tshark(running.path)
    assert after["frame.comment"].startswith("left as it came; keepalive: ")
    assert (before["ip.src"], after["ip.src"]) == (ALICE, PUBLIC)


def test_tcp_segments(daemon, net, own, capture):
    line = own(TcpLine(net, ALICE)).learn()
    running = capture(f"phone={ALICE}")
    line.register()
    assert running.end() == 0
    rows = tshark(running.path)
    sip = [r for r in rows if r["sip.Method"] or r["sip.Status-Code"]]
    assert {r["frame.interface_name"] for r in sip} == {"before", "after"}
    assert any("Contact" in r["frame.comment"] for r in sip)
    assert len(rows) > len(sip)  # acknowledgements, too


def test_standard_output(daemon, own, line):
    running = own(Capture(daemon, "-"))
    line.register()
    assert running.end() == 0
    path = daemon.path("y.pcapng")
    with open(path, "wb") as file:
        file.write(running.out)
    assert len(tshark(path)) == 4


def test_refused_leaves_the_file_alone(daemon, own):
    path = daemon.path("mine")
    with open(path, "w", encoding="ascii") as file:
        file.write("mine")
    running = own(Capture(daemon, path, "colour=red"))
    assert running.process.wait(WAIT_S) == 1
    assert 'filter: "colour=red"' in running.said
    with open(path, encoding="ascii") as file:
        assert file.read() == "mine"
    running = own(Capture(daemon, "/nonexistent/x"))
    assert running.process.wait(WAIT_S) == 1
    assert "/nonexistent/x: No such file or directory" in running.said


def test_no_daemon_leaves_no_file(daemon, own):
    daemon.stop()
    path = daemon.path("new")
    running = own(Capture(daemon, path))
    assert running.process.wait(WAIT_S) == 3
    assert not os.path.exists(path)
    daemon.start()


def test_over_an_older_file(daemon, own, line):
    path = daemon.path("old")
    with open(path, "wb") as file:
        file.write(b"x" * 100000)
    running = own(Capture(daemon, path))
    line.register()
    assert running.end() == 0
    assert len(tshark(path)) == 4


def test_full_disk(daemon, own, phone, server):
    """The file ends behind the last packet that had room."""
    small, kept = daemon.path("small"), daemon.path("kept")
    os.mkdir(small)
    running = own(Capture(
        daemon, f"{small}/x", before=[
            "unshare", "-m", "sh", "-c",
            f'mount -t tmpfs -o size=20k none {small} && "$@"; '
            f"status=$?; cp {small}/x {kept}; exit $status", "sh"]))
    alice, proxy = phone(), server()
    for _ in range(30):
        alice.send(alice.register(), proxy.address)
        proxy.recv()
    assert running.process.wait(WAIT_S) == 1
    said = running.said + running.process.stderr.read().decode()
    assert "x: No space left on device" in said
    packets = sum(map(int, re.search(
        r"(\d+) packets before, (\d+) after", said).groups()))
    assert packets > 4 and len(tshark(kept)) == packets


def test_json(daemon, own, line):
    """The document says what the file holds."""
    path = daemon.path("x")
    running = own(Capture(daemon, path, options=["--json"]))
    line.register()
    assert running.end() == 0
    assert json.loads(running.out) == {"file": path, "before": 2, "after": 2,
                                       "lost": 0}
    running = own(Capture(daemon, "-", options=["--json"]))
    assert running.process.wait(WAIT_S) == 2
    assert "name a file" in running.said


def test_daemon_ends(daemon, line, capture):
    running = capture()
    line.register()
    time.sleep(0.3)
    daemon.stop()
    assert running.process.wait(WAIT_S) == 3
    assert len(tshark(running.path)) == 4
    daemon.start()


def test_slow_reader_is_told_what_it_lost(daemon, own, phone, server):
    """It reads nothing for a while: lines are lost, memory is not."""
    slow = own(Follower(daemon, "capture"))
    alice, proxy = phone(), server()
    register = alice.register(headers=["X-Pad: " + "x" * 1000])
    for _ in range(600):
        alice.send(register, proxy.address)
        proxy.recv()
    packets = lost = 0
    for row in slow.until_quiet(1.5):
        lost += row.get("lost", 0)
        packets += "data" in row
    assert lost > 0 and packets > 0
    assert packets + lost == 1200


def test_what_is_lost_stands_in_the_file(phone, server, capture):
    running = capture()
    running.process.send_signal(signal.SIGSTOP)
    alice, proxy = phone(), server()
    register = alice.register(headers=["X-Pad: " + "x" * 1000])
    for _ in range(500):
        alice.send(register, proxy.address)
        proxy.recv()
    running.process.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    alice.send(register, proxy.address)
    proxy.recv()
    assert running.end() == 0
    before, after, lost = map(int, re.search(
        r"(\d+) packets before, (\d+) after, (\d+) lost",
        running.said).groups())
    assert lost > 0 and before + after + lost == 1002
    rows = tshark(running.path)
    assert len(rows) == before + after
    missing = [int(n) for r in rows for n in re.findall(
        r"before this one (\d+) packets are missing", r["frame.comment"])]
    assert sum(missing) == lost
