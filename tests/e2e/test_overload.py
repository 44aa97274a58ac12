# SPDX-License-Identifier: GPL-2.0-or-later
"""More than there is room for: what goes on, and what tells."""

import contextlib
import os
import signal
import socket
import time

import pytest

from lib.agents import media_flows
from lib.call import announced, call_out
from lib.gateway import ALICE, MEDIA, STRANGER
from lib.sip import sdp

pytestmark = pytest.mark.config(log__level="info")
# More than the daemon's socket keeps: two MiB, doubled, of a KiB each
ENTRIES = 12000


@contextlib.contextmanager
def asleep(daemon):
    """The daemon does nothing in here."""
    daemon.stats()  # it has done with what came before
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        os.waitid(os.P_PID, daemon.pid, os.WSTOPPED | os.WNOWAIT)
        yield
    finally:
        os.kill(daemon.pid, signal.SIGCONT)


def wait_for(condition, what, wait_s=10):
    end = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.05)


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
    with sock, asleep(daemon):
        for port in range(20000, 20000 + ENTRIES):
            sock.sendto(b"x", (STRANGER, port))
        net.conntrack.flush()
    wait_for(lambda: daemon.stats()["conntrack_overruns"], daemon.log)
    assert daemon.log().count("more entries ended at once") == 1
    time.sleep(7)
    running(bye=True)
    assert daemon.status()["media_mappings"] == 0
