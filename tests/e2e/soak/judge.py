# SPDX-License-Identifier: GPL-2.0-or-later
"""Is it as it was, and was it all right? Looked at each second, and at last.

What is judged, and what is allowed: docs/testing.md, "Soak".
"""

import os
import re
import statistics
import threading
import time

# Descriptors that are opened when first needed, and stay: src/kernel/overhear.c
LATER = 1
ALLOWED_KB = 512  # by which the medians of RSS may differ in one life
ERROR = re.compile(r"^<([0-4])>(.*)$", re.M)
SYMPTOM = re.compile(r"^<\d>(\S+): (?:(.*?): )?([a-z]+(?:_[a-z]+)+): ", re.M)
CODES = ("one_way_audio", "no_audio", "media_elsewhere", "call_lost",
         "invite_unanswered", "register_unanswered", "registration_refused",
         "registration_lapsed", "unknown_contact", "not_rewritten",
         "upstream_alg", "upstream_nat", "provider_nat")
TABLES = ("flows", "registrations", "calls", "media_mappings")
# What faults of the soak make the daemon say at these grades
EXPLAINED = (
    r"conntrack: .* not read",
)


class Judge:
    """Looks at the daemon from outside: /proc and sipalgctl."""

    def __init__(self, world):
        self.world, self.book = world, world.book
        self.samples = []  # (time, pid, RSS in kB, descriptors)
        self.fds = self._fds(world.daemon.pid)
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    @staticmethod
    def _fds(pid):
        return len(os.listdir(f"/proc/{pid}/fd"))

    @staticmethod
    def _rss_kb(pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1])

    def _watch(self):
        minute = 0
        while not self.world.over.wait(1):
            process = self.world.daemon.process
            try:
                pid = process.pid
                self.samples.append((time.monotonic() - self.book.began, pid,
                                     self._rss_kb(pid), self._fds(pid)))
            except (AttributeError, FileNotFoundError, TypeError,
                    ProcessLookupError):
                continue  # between two lives
            if time.monotonic() - self.book.began >= minute * 60:
                minute += 1
                self.tell()

    def tell(self):
        """One line of how it stands."""
        book = self.book
        at, _, rss, fds = self.samples[-1]
        status = {}
        if self.world.daemon_lock.acquire(timeout=10):
            try:
                status = self.world.daemon.status() or {}
            except Exception as why:
                print(f"  status: {why}", flush=True)
            finally:
                self.world.daemon_lock.release()
        print(f"{at / 60:5.1f} min: {sum(book.done.values())} done, "
              f"{sum(book.lost.values())} lost, "
              f"{sum(book.excused.values())} excused; "
              f"{sum(book.faults.values())} faults; "
              + ", ".join(f"{status.get(t, '?')} {t}" for t in TABLES)
              + f"; RSS {rss} kB, {fds} fds, "
              f"{self.world.entries()} entries", flush=True)

    # --- at last ---

    def settle(self, within_s, tables=TABLES):
        """All has ended: does nothing of it remain?"""
        end = time.monotonic() + within_s
        while True:
            left = self._left(tables)
            if not left or time.monotonic() > end:
                break
            time.sleep(1)
        for what in left:
            self.book.complain(f"remains after {within_s} s: {what}")

    def _left(self, tables):
        status = self.world.daemon.status()
        left = [f"{status[t]} {t}" for t in tables if status[t]]
        if status["calls"]:
            left[-1:-1] = [str(call) for call in self.world.daemon.ctl(
                "calls") if call["state"] != "ended"]
        entries = self.world.entries()
        if entries > self.world.empty:
            left.append(f"{entries} entries, {self.world.empty} at the start:"
                        f"\n{self.world.net.conntrack.text()}")
        fds = self._fds(self.world.daemon.pid)
        if fds > self.fds + LATER:
            names = [os.readlink(f"/proc/{self.world.daemon.pid}/fd/{fd}")
                     for fd in os.listdir(
                         f"/proc/{self.world.daemon.pid}/fd")]
            left.append(f"{fds} descriptors, {self.fds} at the start: "
                        f"{names}")
        return left

    def verdict(self, whole_s, memory, symptoms):
        """memory: RSS says something (no sanitizer, no short run). symptoms:
        those that nobody caused count, else they are only shown."""
        if memory:
            self._memory(whole_s)
        self._log(self.book.complain if symptoms else print)
        self._zombies()

    def _memory(self, whole_s):
        """The last life: its middle and its end. And the run's quarters."""
        last = self.samples[-1][1]
        life = [s for s in self.samples if s[1] == last]
        begin, end = life[0][0], life[-1][0]
        third = (end - begin) / 3
        for name, one, other in (
                ("last life, second and last third",
                 (begin + third, begin + 2 * third), (end - third, end)),
                ("whole run, second and last quarter",
                 (whole_s / 4, whole_s / 2), (whole_s * 3 / 4, whole_s))):
            medians = [self._median(*span) for span in (one, other)]
            if None in medians:
                continue
            grew = medians[1] - medians[0]
            minutes = (sum(other) - sum(one)) / 120
            print(f"RSS, {name}: {medians[0]:.0f} and {medians[1]:.0f} kB; "
                  f"{grew / max(minutes, 1e-9):+.1f} kB a minute", flush=True)
            if name.startswith("last") and grew > ALLOWED_KB:
                self.book.complain(f"RSS grew by {grew} kB: {name}")

    def _median(self, begin, end):
        found = [s[2] for s in self.samples if begin <= s[0] < end]
        return statistics.median(found) if found else None

    def _log(self, complain):
        """Symptoms have causes, and errors explanations."""
        log = self.world.daemon.log()
        for host, subject, code in SYMPTOM.findall(log):
            if code not in CODES:
                continue
            causes = self.book.causes
            if code not in causes.get(subject, ()) and code not in causes.get(
                    host, ()):
                complain(f"symptom nobody caused: {host}: {subject}: {code}")
        symptoms = re.compile("|".join(f": {code}: " for code in CODES))
        for grade, line in ERROR.findall(log):
            if not symptoms.search(line) and not re.search(
                    "|".join(EXPLAINED), line):
                self.book.complain(f"logged <{grade}>: {line}")

    def _zombies(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                    text = file.read()
            except OSError:
                continue
            state, parent = text.rpartition(")")[2].split()[:2]
            if state == "Z" and int(parent) == self.world.daemon.pid:
                self.book.complain(f"a zombie: {text[:60]}")
