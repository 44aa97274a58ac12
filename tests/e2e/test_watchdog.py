# SPDX-License-Identifier: GPL-2.0-or-later
"""Who watches over the daemon hears of it as long as it does its work."""

import signal
import time

import pytest

from lib.supervisor import Supervised

pytestmark = pytest.mark.config(log__level="info")


@pytest.fixture
def daemon(net, build, own):
    sipalgd = own(Supervised(net.gw, build))
    sipalgd.apply_rules()
    sipalgd.watchdog_s = 3
    return sipalgd.start()


def test_it_says_so_in_time(daemon, line):
    """Twice as often as it must, with and without work."""
    time.sleep(5)
    line.register()
    time.sleep(4)
    beats = daemon.alive[:]
    assert len(beats) >= 4
    assert max(b - a for a, b in zip(beats, beats[1:])) < daemon.watchdog_s


def test_one_that_hangs_is_silent(daemon, line):
    line.register()
    time.sleep(3)
    assert daemon.alive
    daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    daemon.alive.clear()
    time.sleep(daemon.watchdog_s + 1)
    assert not daemon.alive
    daemon.process.send_signal(signal.SIGCONT)
    time.sleep(3)
    assert daemon.alive
    line.register()


def test_nobody_asked(net, build, own):
    """Nothing is said where WATCHDOG_USEC is not set."""
    sipalgd = own(Supervised(net.gw, build))
    sipalgd.apply_rules()
    sipalgd.start()
    time.sleep(3)
    assert not sipalgd.alive
