# SPDX-License-Identifier: GPL-2.0-or-later
"""Thousands of phones behind lib.gateway's LAN: tests/bench/crowd.c"""

import json
import os
import subprocess
import time

from lib.gateway import ALICE, PROXY2, Net

FIRST, NETWORK = "10.64.0.1", "10.64.0.0/10"


class _NoSniffer:
    """More than one in Python could keep up with."""

    def check(self):
        pass

    def lost(self):
        return False


class CrowdNet(Net):
    """Net with NETWORK inside, and nobody who looks at the wires."""

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        for sniffer in (self.lan, self.wan):
            self._all.remove(sniffer)
            sniffer.close()
        self.lan = self.wan = _NoSniffer()
        # The phones' namespace has none of them: what comes for them is gone
        self.gw.ip(f"route add {NETWORK} via {ALICE}")


class Crowd:
    """Phones, and a server that answers what they send to it."""

    def __init__(self, net, build, server=PROXY2, port=5060):
        self.net, self.program = net, str(build / "tests" / "crowd")
        self.to = (server, str(port))
        self.server = net.prov.popen([self.program, "server", *self.to],
                                     stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        assert self.server.stdout.readline() == "ready\n"

    def start(self, what, count, phones, rate=0, first=0, to=None):
        """Have them begin to send; a process."""
        return self.net.phone.popen(
            [self.program, "phones", what, FIRST, phones, *(to or self.to),
             "-c", count, "-r", rate, "-s", first], stdout=subprocess.PIPE)

    def send(self, *args, **kwargs):
        """Have them send all of it; how many seconds it took."""
        process = self.start(*args, **kwargs)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        return json.loads(said)["seconds"]

    def stop(self):
        """End the server; what it has seen."""
        if not self.server:
            return None
        server, self.server = self.server, None
        said, _ = server.communicate(timeout=20)
        return json.loads(said)

    close = stop


def resident_kib(daemon):
    """Memory that the daemon has, as the kernel counts it."""
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    raise AssertionError("no VmRSS")


def settled(daemon, what, value, wait_s=30):
    """Wait until status says so of @what; how long it took."""
    begin = time.monotonic()
    while daemon.status()[what] != value:
        assert time.monotonic() < begin + wait_s, daemon.status()
        time.sleep(0.05)
    return time.monotonic() - begin


def cores():
    return os.cpu_count() or 1
