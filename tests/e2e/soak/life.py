# SPDX-License-Identifier: GPL-2.0-or-later
"""Who lives in the soak: phones, each with what it does all day."""

import random
import threading
import traceback

from lib.gateway import ALICE, BOB, CAROL, PROXY, PROXY2
from lib.tcpnet import LONG, SHORT

from . import calls
from .line import Excused, SoakTcpLine, UdpEnd, UdpLine

TALKS = 2  # at a time, of each phone
REFRESH_S = 15


class Life:
    """Threads, one for each thing that somebody does over and over."""

    def __init__(self, world, pump, scripts):
        self.world, self.pump, self.scripts = world, pump, scripts
        self.threads = []
        net = world.net
        self.provider = UdpEnd(world, net.prov, PROXY, user="server")

        def udp(host, user):
            return UdpLine(world, UdpEnd(world, net.phone, host, user=user),
                           self.provider)

        self.udp = [udp(ALICE, "alice"), udp(BOB, "bob"), udp(CAROL, "carol")]
        self.tcp = [SoakTcpLine(world, SHORT, "tina", PROXY),
                    SoakTcpLine(world, LONG, "tom", PROXY2)]
        self.fickle = [udp(SHORT, "dora"), udp(LONG, "erik")]

    @property
    def lines(self):
        return self.udp + self.tcp + self.fickle

    def begin(self):
        for line in self.udp + self.tcp:
            calls.register(line)
            self._start(self._refresh, line)
            for _ in range(TALKS):
                self._start(self._talk, line)
            self._start(self._now_and_then, calls.options, line)
            self._start(self._now_and_then, calls.subscribe, line)
        for line in self.fickle:
            self._start(self._come_and_go, line)
        for a, b in zip(self.udp, self.udp[1:] + self.udp[:1]):
            self._start(self._direct, a, b)

    def _start(self, function, *args):
        """function(random, *args) again and again."""
        chance = random.Random(self.world.random.random())

        def work():
            while not self.world.ending.wait(chance.uniform(0.2, 4)):
                function(chance, *args)

        thread = threading.Thread(target=work, daemon=True,
                                  name=function.__name__)
        self.threads.append(thread)
        thread.start()

    def once(self, kind, function, *args):
        """One piece of work, and what became of it in the book."""
        book = self.world.book
        try:
            function(*args)
            book.note(book.done, kind)
        except Excused as why:
            book.note(book.excused, kind)
            print(f"  excused: {kind}: {why}", flush=True)
        except Exception as why:  # whatever it is, it is not lost silently
            book.note(book.lost, kind)
            place = traceback.extract_tb(why.__traceback__)
            steps = " < ".join(f"{f.name}:{f.lineno}" for f in place[::-1]
                               if "/soak/" in f.filename)
            book.complain(f"{kind} lost: {type(why).__name__} {why} ({steps})")

    # --- what they do ---

    def _talk(self, chance, line):
        script = chance.choice(self.scripts)
        talk = calls.Talk(self.world, line, self.pump, chance)
        excused = self.world.book.excused[script.__name__]
        try:
            self.once(script.__name__, script, talk)
            if self.world.book.excused[script.__name__] > excused:
                self.world.book.expect(talk.call_id, *calls.ANYTHING)
        finally:
            talk.close()

    def _refresh(self, chance, line):
        self.once("register", self._register, line)
        for _ in range(int(chance.uniform(1, REFRESH_S))):
            self.world.ending.wait(1)
            if line.epoch != self.world.epoch:
                break

    def _register(self, line, *expires):
        with self.world.gate.passing():
            if self.world.mode != "active":
                return
            calls.follow(line)
            for seconds in expires or (60,):
                calls.register(line, seconds)

    def _now_and_then(self, chance, what, line):
        self.once(what.__name__, what, self.world, line)
        self.world.ending.wait(chance.uniform(2, 12))

    def _direct(self, chance, a, b):
        self.once("direct", calls.direct, self.world, a, b)
        self.world.ending.wait(chance.uniform(2, 15))

    def _come_and_go(self, chance, line):
        """Registers, and unregisters or is forgotten."""
        if chance.random() < 0.7:
            self.once("register", self._register, line)
            self.world.ending.wait(chance.uniform(0, 10))
            self.once("unregister", self._register, line, 60, 0)
        else:
            self.world.book.expect(line.phone.host, "registration_lapsed",
                                   "unknown_contact")
            self.once("lapse", self._register, line, 4)
            self.world.ending.wait(chance.uniform(6, 10))
        with line.lock:
            line.public.clear()

    def end(self):
        """Everybody finishes what he does, and goes home."""
        self.world.ending.set()
        for thread in self.threads:
            thread.join(120)
            if thread.is_alive():
                self.world.book.complain(f"{thread.name} does not end")
        for line in self.lines:
            self.once("farewell", self._farewell, line)
        for line in self.tcp:
            line.close()

    @staticmethod
    def _farewell(line):
        calls.follow(line)
        calls.register(line, 0)

    def close(self):
        for line in self.udp + self.fickle:
            line.phone.close()
        self.provider.close()
