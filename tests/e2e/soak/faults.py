# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong meanwhile, of all kinds, at times that a seed says."""

import contextlib
import os
import random
import signal
import socket
import threading
import time
import urllib.request

from lib import control, sip
from lib.agents import Endpoint
from lib.gateway import MEDIA2, PROXY, PUBLIC, STRANGER
from lib.line import NEW, readdress
from lib.tcp import Listener, connect
from lib.tcpnet import Jumble

from .world import METRICS, NOISY

READY_S = 20
GONE_S = 5  # entries of an address that went
RUNS_S = 75  # the longest call


class Faults:
    """Three who do harm at a time: to the daemon, to the line, and by words.

    restarts_until: after so many seconds it is not started again, so that the
    memory of one long life can be looked at.
    """

    def __init__(self, world, life, pump, restarts_until):
        self.world, self.life, self.pump = world, life, pump
        self.restarts_until = time.monotonic() + restarts_until
        self.threads = []
        net = world.net
        self.stranger = Endpoint(net.prov, STRANGER, 5060)
        self.noisy = Endpoint(net.phone, NOISY, 5060)
        self.sink = Listener(net.prov, MEDIA2)
        world.book.expect(NOISY, "register_unanswered", "not_rewritten",
                          "registration_lapsed")
        self.hanging = []
        self.killed = -RUNS_S
        self.connected = {}
        self.wan_lock = threading.Lock()

    def begin(self, pause_s, patient):
        """pause_s: between two faults of a kind, at most. patient: what takes
        the gateway minutes to notice may happen too."""
        self._start("daemon", 1, pause_s, (
            self.hand_over, self.hand_over, self.kill_quietly,
            self.kill if patient else self.hand_over, self.stop_and_start, self.stall, self.reload, self.observe,
            self.bypass, self.move))
        self._start("line", 1, pause_s, (
            self.rough, self.rough, self.flap_wan, self.flap_lan))
        self._start("words", 0.2, 2, (
            self.knock, self.knock, self.garbage, self.half_a_message,
            self.hang_at_control, self.scrape, self.scrape_slowly,
            self.ask))

    def _start(self, name, least_s, most_s, choice):
        chance = random.Random(self.world.random.random())

        def work():
            while not self.world.ending.wait(chance.uniform(least_s, most_s)):
                fault = chance.choice(choice)
                if name != "words":
                    self.world.book.write(fault.__name__)
                try:
                    fault(chance)
                    if name != "words":
                        self.world.book.write(f"{fault.__name__} is over")
                    self.world.book.note(self.world.book.faults,
                                         fault.__name__)
                except Exception as why:
                    self.world.book.complain(
                        f"{fault.__name__}: {type(why).__name__} {why}")

        thread = threading.Thread(target=work, daemon=True, name=name)
        self.threads.append(thread)
        thread.start()

    @property
    def may_restart(self):
        return time.monotonic() < self.restarts_until

    # --- to the daemon ---

    def hand_over(self, _chance):
        """systemctl restart: nothing is lost, nobody waits."""
        if self.may_restart:
            with self.world.daemon_lock:
                self.world.daemon.restart()

    def _kill(self):
        began = time.monotonic()
        with self.world.daemon_lock:
            # Open until it is back: what is under way does not know its end
            self.world.kills.append((began, began + READY_S))
            self.world.daemon.kill()
            self.killed = time.monotonic()
            self.world.daemon.start()
            self.world.kills[-1] = (began, time.monotonic())

    def kill(self, _chance):
        """What is under way just now may be half known to the next one."""
        if self.may_restart:
            self.pump.disturbed()
            self._kill()

    def kill_quietly(self, _chance):
        """While no message is under way: then nothing is excused."""
        if not self.may_restart:
            return
        with self.world.gate.closed():
            with self.world.daemon_lock:
                self.world.daemon.kill()
                self.killed = time.monotonic()
                self.world.daemon.start()

    def stop_and_start(self, _chance):
        """SIGTERM; messages would pass as they are, so there are none."""
        if not self.may_restart:
            return
        with self.world.gate.closed():
            with self.world.daemon_lock:
                self.world.daemon.stop()
                time.sleep(0.3)
                self.world.daemon.start()

    def stall(self, chance):
        """It does not run for a while that the watchdog allows."""
        with self.world.daemon_lock:
            pid = self.world.daemon.pid
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(chance.uniform(0.2, 5))
            finally:
                os.kill(pid, signal.SIGCONT)

    def reload(self, _chance):
        """A file that is the same, or one that is wrong."""
        with self.world.daemon_lock:
            self.world.daemon.reload()

    def _mode(self, mode):
        with self.world.gate.closed(), self.world.daemon_lock:
            self.world.daemon.settings["gateway.mode"] = mode
            self.world.daemon.write_config()
            self.world.daemon.reload()
            self.world.mode = mode
            said = self.world.daemon.status()["mode"]
            assert said == mode, f"{said}, not {mode}"
            self._left_alone(mode)

    def _left_alone(self, mode):
        """A TCP connection that began in another mode is never read: who has
        one connects anew."""
        now = {line: getattr(line, "reconnects", 0)
               for line in self.life.lines}
        if mode != "active":
            self.connected = now
            return
        for line, count in now.items():
            if count != self.connected.get(line, count):
                line.phone.broken.set()

    def observe(self, chance, mode="observe"):
        """Not soon after a kill: of a call that nobody had written down it
        is not known that it was ever changed."""
        if self.killed + RUNS_S > time.monotonic():
            return
        with self.wan_lock:
            self._mode(mode)
            time.sleep(chance.uniform(1, 5))
            self._mode("active")

    def bypass(self, chance):
        self.observe(chance, "bypass")

    def move(self, _chance):
        """The provider gives another address."""
        world = self.world
        with world.gate.closed(), self.wan_lock:
            old = world.address
            new = NEW if old == PUBLIC else PUBLIC
            self.pump.address_changed()
            readdress(world.net, new, old)
            self._gone(old)
            world.address = new
            world.epoch += 1
        end = time.monotonic() + 60
        while any(line.epoch != world.epoch for line in self.life.lines):
            if time.monotonic() > end or world.over.wait(0.2):
                break

    def _gone(self, address):
        """Until then what leaves still leaves as from there. (Of two phones
        inside that call each other by it, it ends by the kernel's timer.)"""
        end = time.monotonic() + GONE_S
        while any(entry.reply.dst == address != entry.orig.dst
                  for entry in self.world.net.conntrack.udp()):
            if time.monotonic() > end:
                break  # one that the daemon had forgotten
            time.sleep(0.1)

    # --- to the line ---

    def rough(self, chance):
        """Both ways and both protocols, by a router that nobody sees."""
        hop = chance.choice((self.world.net.lanr, self.world.net.wanr))
        jumbles = [Jumble(self.world.build, hop, way,
                          loss=chance.choice((0, 10, 50)),
                          double=chance.choice((0, 20, 100)),
                          hold=chance.choice((0, 50, 200)), hold_ms=20,
                          seed=chance.randrange(1 << 30), proto=None)
                   for way in ("up", "down")]
        try:
            self.world.ending.wait(chance.uniform(1, 15))
        finally:
            for jumble in jumbles:
                jumble.stop()

    def _flap(self, chance, interface):
        with self.wan_lock:
            self._down_and_up(chance, interface)

    def _down_and_up(self, chance, interface):
        self.world.net.gw.ip(f"link set {interface} down")
        time.sleep(chance.uniform(0.1, 3))
        self.world.net.gw.ip(f"link set {interface} up")
        if interface == "wan0":
            self.world.net.gw.ip(f"route replace default via {PROXY}")

    def flap_wan(self, chance):
        # Its entries of TCP go with it, and what is said then is not mapped
        for line in self.life.tcp:
            self.world.book.expect(line.host, "not_rewritten")
        self._flap(chance, "wan0")

    def flap_lan(self, chance):
        self._flap(chance, "lan0")

    # --- by words ---

    def knock(self, chance):
        """A stranger tries every door: none of it may reach a phone."""
        invite = sip.message(
            f"INVITE sip:alice@{self.world.address}:5060 SIP/2.0",
            [f"Via: SIP/2.0/UDP {STRANGER}:5060;branch=z9hG4bKstranger",
             "From: <sip:x@evil.example>;tag=1", "To: <sip:alice@x>",
             f"Call-ID: stranger-{chance.random()}", "CSeq: 1 INVITE",
             f"Contact: <sip:x@{STRANGER}>"])
        with contextlib.suppress(OSError):
            for _ in range(20):
                self.stranger.send(invite, (self.world.address,
                                            chance.randrange(5060, 5070)))
                self.stranger.send(b"stranger " * 20, (
                    self.world.address, chance.randrange(16384, 16500)))

    def garbage(self, chance):
        """From inside to the provider, where phones send SIP."""
        register = bytearray(b"REGISTER sip:example.com SIP/2.0\r\n"
                             b"Call-ID: garbage\r\nContact: <sip:a@"
                             + NOISY.encode() + b">\r\n\r\n")
        for _ in range(chance.randrange(1, 10)):
            register[chance.randrange(len(register))] = chance.randrange(256)
        with contextlib.suppress(OSError):
            self.noisy.send(bytes(register), (MEDIA2, 5060))
            self.noisy.send(chance.randbytes(chance.randrange(1, 1400)),
                            (MEDIA2, 5060))

    def half_a_message(self, chance):
        """Over TCP, and then nothing, or a reset."""
        with contextlib.suppress(AssertionError, OSError):
            connection = connect(self.world.net.phone, (MEDIA2, 5060), NOISY,
                                 wait_s=1)
            other = self.sink.accept(1)
            connection.send(b"\r\n\r\nREGISTER sip:example.com SIP/2.0\r\n"
                            b"Content-Length: 1000\r\n"[
                                :chance.randrange(1, 60)])
            if chance.random() < 0.5:
                connection.reset()
            else:
                connection.close()
            other.close()

    def hang_at_control(self, chance):
        """Clients that say half a request, or read nothing."""
        with contextlib.suppress(OSError):
            sock = control.connect(self.world.daemon)
            sock.send(chance.choice((
                b"", b'{"comm', b'{"command":"trace","filter":[]}\n',
                b'{"command":"capture","filter":[]}\n', b"\0" * 100)))
            self.hanging.append(sock)
        while len(self.hanging) > 4:
            self.hanging.pop(0).close()

    def scrape(self, _chance):
        """As Prometheus does; who restarts just now is excused."""
        def fetch():
            with urllib.request.urlopen(f"http://{METRICS}/metrics",
                                        timeout=10) as page:
                return page.read()

        began = time.monotonic()
        with self.world.daemon_lock:
            text = self.world.net.gw.call(fetch)
        assert b"sipalgd_" in text, text[:100]
        took = time.monotonic() - began
        assert took < 20, f"{took} s"

    def scrape_slowly(self, chance):
        """Who never ends his request."""
        def begin():
            sock = socket.create_connection(METRICS.split(":"), 2)
            sock.send(b"GET /metrics HTTP/1.1\r\nX: "[
                :chance.randrange(1, 20)])
            return sock

        with contextlib.suppress(OSError):
            self.hanging.append(self.world.net.gw.call(begin))
        while len(self.hanging) > 3:
            self.hanging.pop(0).close()

    def ask(self, chance):
        """sipalgctl, all that it shows."""
        with self.world.daemon_lock:
            self.world.daemon.ctl(chance.choice((
                "status", "registrations", "calls", "stats", "doctor")),
                                  check=False)

    def end(self):
        for thread in self.threads:
            thread.join(120)
        for sock in self.hanging:
            sock.close()

    def close(self):
        self.stranger.close()
        self.noisy.close()
        self.sink.close()
