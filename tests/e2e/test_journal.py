# SPDX-License-Identifier: GPL-2.0-or-later
"""The log in a real journal: systemd-journald in a mount namespace."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from lib import sip
from lib.call import call_out
from lib.daemon import FAST
from lib.gateway import ALICE, MEDIA
from lib.sip import sdp

WAIT_S = 10
JOURNALD = next((path for path in ("/usr/lib/systemd/systemd-journald",
                                   "/lib/systemd/systemd-journald")
                 if os.path.exists(path)), None)
# Nothing of the host's is seen or touched: neither its journal nor its kernel's
# messages and audit
BEGIN = f"""set -e
mount -t tmpfs tmpfs /run/systemd
mount -t tmpfs tmpfs /run/log
mount --bind /dev/null /dev/kmsg
mkdir -p /run/systemd/journald.conf.d
printf '%s\\n' '[Journal]' Storage=volatile RuntimeMaxUse=16M Audit=no \
    ReadKMsg=no ForwardToSyslog=no ForwardToKMsg=no ForwardToConsole=no \
    ForwardToWall=no > /run/systemd/journald.conf.d/test.conf
exec {JOURNALD}
"""
# What systemd does for a service whose output goes to the journal
AS_SERVICE = ('JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) '
              'exec "$@"')


class Journal:
    """systemd-journald, and what it was told."""

    def __init__(self):
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c",
             BEGIN], stdin=subprocess.DEVNULL)
        self.within = ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt"]
        self.prefix = [*self.within, "systemd-cat", "-t", "sipalgd", "sh",
                       "-c", AS_SERVICE, "sh"]
        end = time.monotonic() + WAIT_S
        while not self.read():
            assert self.process.poll() is None and time.monotonic() < end
            time.sleep(0.1)

    def read(self, *matches):
        """The entries: [{field: value}]."""
        done = subprocess.run(
            [*self.within, "journalctl", "-D", "/run/log/journal", "-q",
             "--all", "-o", "json", *matches], capture_output=True,
            check=False)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait(self, *matches):
        """The same, as soon as there are some."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            found = self.read(*matches)
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError(f"no entry: {matches}")

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(WAIT_S)


@pytest.fixture
def journal(daemon, own):
    """The daemon's stderr goes there, from now on."""
    needed = ("journalctl", "systemd-cat", "unshare", "nsenter")
    if not JOURNALD or not all(map(shutil.which, needed)):
        pytest.skip("no systemd-journald")
    if not os.path.exists("/etc/machine-id"):
        pytest.skip("systemd-journald needs /etc/machine-id")
    daemon.stop()
    journal = own(Journal())
    daemon.prefix = journal.prefix
    daemon.start()
    yield journal
    daemon.stop()
    daemon.prefix = []
    daemon.start()


def own_fields(entry):
    return {name.removeprefix("SIPALG_").lower(): value
            for name, value in entry.items() if name.startswith("SIPALG_")}


def check_entry(entry, daemon):
    """It is the daemon's, and its fields are what its line says."""
    assert entry["_PID"] == str(daemon.pid)
    assert entry["_TRANSPORT"] == "journal"
    assert entry["PRIORITY"] == "6"
    assert entry["SYSLOG_IDENTIFIER"] == "sipalgd"
    assert "CODE_FILE" not in entry and "CODE_LINE" not in entry
    pairs = dict(pair.split("=", 1) for pair in shlex.split(
        entry["MESSAGE"].replace("\\", "\\\\")))
    fields = own_fields(entry)
    assert fields == {key: value.replace("\\x22", '"')
                      for key, value in pairs.items()}
    return fields


def test_call_and_registration(daemon, journal, line, media_inside,
                               media_outside):
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    for _ in range(3):
        mine.rtp.send(b"\x80\0" + bytes(170), theirs.rtp.address)
    call.from_phone("BYE")
    entry, = journal.wait("SIPALG_EVENT=call")
    fields = check_entry(entry, daemon)
    call_id = sip.Message(call.invite_sent).get("Call-ID")
    assert fields["call_id"] == call_id
    assert fields["result"] == "answered" and fields["status"] == "200"
    assert fields["direction"] == "outgoing" and fields["inside"] == ALICE
    assert fields["remote"] == line.server.host
    assert fields["packets_out"] == "3" and fields["packets_in"] == "0"
    assert int(fields["duration_s"]) < 10 and fields["codecs"]
    assert fields["from"] == sip.Message(call.invite_sent).get("From")
    # as the manual has it
    assert journal.read(f"SIPALG_CALL_ID={call_id}") == [entry]
    line.register(expires=0)
    entry, = journal.wait("SIPALG_EVENT=registration")
    fields = check_entry(entry, daemon)
    assert fields["result"] == "removed" and fields["inside"] == ALICE
    assert fields["registrar"] == line.server.host
    assert fields["aor"] == "sip:alice@example.com"


def test_other_lines_have_their_priority(daemon, journal):
    daemon.ctl("mode", "observe")
    entry, = [e for e in journal.wait(f"_PID={daemon.pid}")
              if e["MESSAGE"].startswith("uid 0 (root) pid ")]
    assert entry["PRIORITY"] == "5" and entry["_TRANSPORT"] == "stdout"
    with open(daemon.config, "a", encoding="ascii") as file:
        file.write("[sip]\nports = x\n")
    daemon.reload()
    daemon.write_config()
    errors = [e["MESSAGE"] for e in journal.wait("PRIORITY=3")]
    assert errors[0].startswith(f"{daemon.config}:")
    assert errors[0].split(" ", 1)[1].startswith("sip.ports: ")
    assert "not loaded (errors above)" in errors[-1]


def test_nobody_writes_fields(daemon, journal, line):
    """Lines and fields in headers stay in the value they are in."""
    evil = 'x" result="forged'
    request = line.phone.request(
        "INVITE", "sip:echo@203.0.113.10", call_id=evil)
    start = request.index(b"From: ") + len(b"From: ")
    request = (request[:start] + b'"a\r\n SIPALG_RESULT=forged\r\n\tPRIORITY=0'
               b'\xff\x01" ' + request[start:])
    seen = line.out(request)
    line.into(line.server.respond(seen.bytes, 486, contact=False, tag="no",
                                  source=line.public[5060]))
    entry, = journal.wait("SIPALG_EVENT=call")
    fields = check_entry(entry, daemon)
    assert fields["result"] == "failed" and fields["status"] == "486"
    assert fields["call_id"] == sip.Message(request).get("Call-ID")
    assert fields["call_id"].startswith(evil)
    assert fields["from"].startswith(
        '"a\\x0d\\x0a SIPALG_RESULT=forged\\x0d\\x0a\\x09PRIORITY=0\\xff\\x01"')


def test_journal_goes(daemon, journal, line):
    """Nothing can be written any more: SIP goes on."""
    line.register()
    journal.process.kill()
    journal.process.wait()
    line.register(expires=0)
    line.register()
    assert daemon.alive() and daemon.status()["registrations"] == 1


@pytest.mark.config(**FAST)
def test_journal_hangs(daemon, journal, line):
    """SIP does not wait for it. It finds all the lines when it is back: the
    first as records, those that had no room there as what stderr had."""
    line.register()
    journal.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(600):
            line.register(expires=0)
            line.register()
    finally:
        journal.process.send_signal(signal.SIGCONT)
    end = time.monotonic() + WAIT_S
    while True:
        found = [entry["_TRANSPORT"] for entry in journal.read(
            f"_PID={daemon.pid}")
            if entry["MESSAGE"].startswith("event=registration ")]
        if len(found) == 600 or time.monotonic() > end:
            break
        time.sleep(0.2)
    assert len(found) == 600 and set(found) == {"journal", "stdout"}
