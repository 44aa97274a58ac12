# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the soak happens, and the book that is kept of it."""

import contextlib
import os
import random
import threading
import time
from collections import Counter

from lib.gateway import OUTSIDE, PUBLIC
from lib.line import NEW
from lib.supervisor import Supervised
from lib.tcpnet import GATEWAYS, Hop, TcpNet

NOISY = "192.168.1.66"  # a host inside that sends garbage
METRICS = "127.0.0.1:9464"
SYSCTLS = {"nf_conntrack_udp_timeout": 10,
           "nf_conntrack_udp_timeout_stream": 20,
           "nf_conntrack_tcp_timeout_time_wait": 5,
           "nf_conntrack_tcp_timeout_close": 2,
           "nf_conntrack_tcp_timeout_fin_wait": 10,
           "nf_conntrack_tcp_timeout_last_ack": 10,
           "nf_conntrack_tcp_timeout_close_wait": 10,
           "nf_conntrack_tcp_timeout_syn_sent": 10,
           "nf_conntrack_tcp_timeout_unacknowledged": 30,
           "nf_conntrack_tcp_timeout_max_retrans": 30}
SETTINGS = {"log.level": "info", "media.timeout": 20,
            "metrics.listen": METRICS}
GATE_S = 150


class SoakNet(TcpNet):
    """TcpNet between two routers (lanr, wanr), which know both addresses that
    the gateway may have. No sniffers: they would keep every frame."""

    def _build(self, nat, sysctls):
        super()._build(nat, sysctls)
        for sniffer in (self.lan, self.wan):
            sniffer.close()
            self._all.remove(sniffer)
        self.lanr = self._own(Hop(
            "lanr", self.phone, GATEWAYS.values(), GATEWAYS,
            ("192.168.1.250", "192.168.1.251")))
        self.lanr.ip("route add default via 192.168.1.1 dev near")
        self._address_phones()
        self.wanr = self._own(Hop(
            "wanr", self.prov, ["203.0.113.0/24"], [PUBLIC, NEW],
            ("203.0.113.250", "203.0.113.251")))
        self.prov.ip(*(f"addr add {a}/24 dev eth0" for a in OUTSIDE))
        self.phone.ip(f"addr add {NOISY}/24 dev eth0")
        self.gw.run(["iptables", "-A", "FORWARD", "-i", "lan0", "-o", "lan0",
                     "-j", "ACCEPT"])


class Daemon(Supervised):
    """Marks the grade of each line, as for journald: <3> is an error."""

    def _environment(self):
        log = os.stat(self.path("stderr"))
        return {**super()._environment(),
                "JOURNAL_STREAM": f"{log.st_dev}:{log.st_ino}"}

    def start(self):
        with open(self.path("stderr"), "ab"):
            pass
        return super().start()


class Gate:
    """Many pass at a time, or one shuts it: nobody is inside then."""

    def __init__(self):
        self.condition = threading.Condition()
        self.inside, self.shut = 0, False

    @contextlib.contextmanager
    def passing(self):
        with self.condition:
            self.condition.wait_for(lambda: not self.shut)
            self.inside += 1
        try:
            yield
        finally:
            with self.condition:
                self.inside -= 1
                self.condition.notify_all()

    @contextlib.contextmanager
    def closed(self):
        with self.condition:
            self.condition.wait_for(lambda: not self.shut)
            self.shut = True
            empty = self.condition.wait_for(lambda: not self.inside, GATE_S)
        try:
            assert empty, "the gate could not be shut"
            yield
        finally:
            with self.condition:
                self.shut = False
                self.condition.notify_all()


class Book:
    """What was done, and what went wrong. All of it from any thread.

    causes: {Call-ID or inside host: symptoms that are expected of it}.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.done, self.lost, self.excused = Counter(), Counter(), Counter()
        self.faults = Counter()
        self.wrong, self.diary = [], []
        self.causes = {}
        self.began = time.monotonic()

    def note(self, counter, kind):
        with self.lock:
            counter[kind] += 1

    def complain(self, text):
        with self.lock:
            at = time.monotonic() - self.began
            self.wrong.append(f"{at:.1f} s: {text}")
            self.diary.append(f"{at:.1f} s: WRONG {text[:200]}")
            if len(self.wrong) < 50:
                print("WRONG", self.wrong[-1], flush=True)

    def write(self, text):
        """A line of the diary: what happened around something wrong."""
        with self.lock:
            self.diary.append(f"{time.monotonic() - self.began:.1f} s: {text}")

    def expect(self, subject, *symptoms):
        with self.lock:
            self.causes.setdefault(subject, set()).update(symptoms)


class World:
    """Net, daemon, and what all who act in it share.

    ending: nothing new is begun. over: all has ended.
    address: what the gateway has now; epoch: how often it has changed.
    kills: [(from, to)] when the daemon was killed and started again.
    mode: gateway.mode.
    """

    def __init__(self, build, seed):
        self.random = random.Random(seed)
        self.build = build
        self.book = Book()
        self.gate = Gate()
        self.ending, self.over = threading.Event(), threading.Event()
        self.daemon_lock = threading.Lock()
        self.address, self.epoch = PUBLIC, 0
        self.kills = []
        self.mode = "active"
        self.net = SoakNet("masquerade", **SYSCTLS)
        self.daemon = Daemon(self.net.gw, build, SETTINGS)
        self.daemon.watchdog_s = 30
        self.daemon.apply_rules()
        self.empty = self.entries()
        self.daemon.start()

    def killed_since(self, began):
        """What was under way may have been in the hand of who was killed."""
        return any(end >= began for _, end in self.kills)

    def entries(self):
        """Entries in the gateway's conntrack table, but for those of the
        metrics page, which end by the kernel's timers."""
        return len([line for line in self.net.conntrack.text().splitlines()
                    if line.strip() and "src=127.0.0.1" not in line])

    def close(self):
        try:
            self.daemon.close()
        finally:
            self.net.close()

