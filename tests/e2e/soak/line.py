# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines over which every message arrives in the end, or the call is lost.

Both ends are in one hand: what is sent is repeated, the same bytes, until the
other end has it (over TCP the kernel does so). What arrives is compared byte by
byte, as in all tests.
"""

import contextlib
import re
import select
import socket
import threading
import time

from lib import sip
from lib.agents import Agent, Line
from lib.tcp import Listener, TcpAgent, TcpLine, connect
from lib.tcpref import LENGTH, Reference, same_stream

FIRST_S, LONGEST_S = 0.3, 2.0  # RFC 3261's T1 and T2, a bit shorter
ARRIVES_S = 32  # timer B
OWN = "soak-"  # every Call-ID of an honest end has it


class Lost(AssertionError):
    """A message that did not arrive, or not as it should."""


class Excused(Exception):
    """It was in the hand of a daemon that was killed."""


def key_of(data):
    """What tells a message from all others: (kind, CSeq, branch)."""
    message = sip.Message(data)
    branch = message.get("Via").partition("branch=")[2].split(";")[0]
    return (message.start.split()[0 if message.request else 1],
            message.get("CSeq"), branch.split(",")[0])


class Mailbox:
    """What an end has received, by Call-ID and key."""

    def __init__(self, book, name):
        self.book, self.name = book, name
        self.condition = threading.Condition()
        self.letters = {}

    def put(self, data, source):
        if not data.strip(b"\r\n\0"):
            return
        try:
            call_id, key = sip.Message(data).get("Call-ID"), key_of(data)
        except (AssertionError, AttributeError, IndexError, ValueError):
            call_id, key = "", ()
        if not (call_id or "").startswith(OWN):
            self.book.complain(f"{self.name} got from {source}: {data!r}")
            return
        with self.condition:
            self.letters.setdefault(call_id, {}).setdefault(
                key, (data, source))
            self.condition.notify_all()

    def take(self, call_id, key, wait_s):
        """(bytes, source), or None."""
        with self.condition:
            self.condition.wait_for(
                lambda: key in self.letters.get(call_id, ()), wait_s)
            return self.letters.get(call_id, {}).get(key)

    def forget(self, call_id):
        with self.condition:
            self.letters.pop(call_id, None)


class UdpEnd(Agent):
    """An Agent whose datagrams go into a mailbox."""

    def __init__(self, world, namespace, host, **kwargs):
        super().__init__(namespace, host, 5060, **kwargs)
        self.mailbox = Mailbox(world.book, f"{self.user} ({host})")
        self.over = world.over
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def request(self, method, uri, *args, call_id=None, **kwargs):
        return super().request(method, uri, *args,
                               call_id=call_id or sip.unique(OWN), **kwargs)

    def _listen(self):
        while not self.over.is_set():
            if not select.select([self.socket], [], [], 0.2)[0]:
                continue
            with contextlib.suppress(OSError):
                self.mailbox.put(*self.socket.recvfrom(65535))

    def close(self):
        self.thread.join()
        super().close()


def deliver(world, send, mailbox, data, limit_s=ARRIVES_S):
    """send() until it is there: (bytes, source)."""
    call_id, key = sip.Message(data).get("Call-ID"), key_of(data)
    began, wait_s = time.monotonic(), FIRST_S
    while time.monotonic() < began + limit_s:
        with contextlib.suppress(OSError):
            send()
        got = mailbox.take(call_id, key, wait_s)
        if got:
            return got
        wait_s = min(2 * wait_s, LONGEST_S)
    if world.killed_since(began):
        raise Excused(f"{key} under way when the daemon was killed")
    raise Lost(f"{mailbox.name} never got {data!r}")


def compared(world, began, data, seen, compare):
    """compare() unless seen passed a daemon that was killed."""
    try:
        compare()
    except AssertionError as error:
        if world.killed_since(began - 1) and data == seen:
            raise Excused("passed unread when the daemon was killed") from None
        raise Lost(str(error)) from None


class UdpLine(Line):
    """agents.Line by deliver(). world.epoch: see renew()."""

    transport = "udp"

    def __init__(self, world, phone, server):
        super().__init__(phone, server)
        self.world = world
        self.lock = threading.RLock()
        self.epoch = world.epoch

    @property
    def contact(self):
        """(host, port) that the provider sees in Contact."""
        return self.public[self.phone.port]

    def out(self, data, edits=None):
        began = time.monotonic()
        seen, source = deliver(
            self.world, lambda: self.phone.send(data, self.server.address),
            self.server.mailbox, data)
        with self.lock:
            known = self.public.setdefault(self.phone.port, source)
        if known != source:
            raise Lost(f"{self.phone.user} moved from {known} to {source}")
        compared(self.world, began, data, seen, lambda:
                 sip.only_addresses_changed(
                     data, seen, sip.outbound_edits(
                         data, seen, self.phone.host, self.public)
                     if edits is None else edits))
        return sip.Message(seen)

    def into(self, data, edits=None, at=None):
        began = time.monotonic()
        seen, source = deliver(
            self.world,
            lambda: self.server.send(data, self.public[self.phone.port]),
            self.phone.mailbox, data)
        if source != self.server.address:
            raise Lost(f"{self.phone.user} was reached by {source}: {data!r}")
        compared(self.world, began, data, seen, lambda:
                 sip.only_addresses_changed(
                     data, seen, self.inbound_edits(data)
                     if edits is None else edits))
        return sip.Message(seen)

    def renew(self):
        """After a change of the gateway's address: seen anew."""
        with self.lock:
            if self.epoch != self.world.epoch:
                self.epoch = self.world.epoch
                self.public.clear()
                return True
        return False

    def media_learned(self, _ports):
        """Nothing to learn: what comes is compared with what was sent."""

    def forget(self, call_id):
        self.phone.mailbox.forget(call_id)
        self.server.mailbox.forget(call_id)


class TcpEnd(TcpAgent):
    """One end of a connection that may break and be made anew."""

    def __init__(self, world, connection, user, mailbox):
        super().__init__(connection, user, 5060)
        self.mailbox, self.over = mailbox, world.over
        self.broken = threading.Event()
        self.sending = threading.Lock()
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def request(self, method, uri, *args, call_id=None, **kwargs):
        return super().request(method, uri, *args,
                               call_id=call_id or sip.unique(OWN), **kwargs)

    def send(self, data, to=None):
        with self.sending:
            try:
                self.connection.send(data)
            except OSError:
                self.broken.set()

    def _listen(self):
        waiting = b""
        while not self.over.is_set() and not self.broken.is_set():
            try:
                if not select.select([self.connection.socket], [], [],
                                     0.2)[0]:
                    continue
                data = self.connection.socket.recv(65536)
            except TimeoutError:
                continue
            except (OSError, ValueError):
                break
            if not data:
                break
            waiting = self._letters(waiting + data)
        self.broken.set()

    def _letters(self, data):
        """Put the whole messages away; what remains."""
        while True:
            data = data.lstrip(b"\r\n")
            head = data.find(b"\r\n\r\n") + 4
            if head < 4:
                return data
            length = LENGTH.search(data, 0, head)
            size = head + (int(length[2]) if length else 0)
            if len(data) < size:
                return data
            self.mailbox.put(data[:size], self.connection.peer)
            data = data[size:]

    def close(self):
        self.broken.set()
        self.thread.join()
        super().close()


class SoakTcpLine(TcpLine):
    """tcp.TcpLine whose connection is made anew when it breaks."""

    transport = "tcp"

    def __init__(self, world, host, user, provider):
        self.world = world
        self.lock = threading.RLock()
        self.epoch = world.epoch
        self.host, self.user = host, user
        self.boxes = [Mailbox(world.book, f"{who} of {user} by TCP")
                      for who in ("phone", "server")]
        self.listener = Listener(world.net.prov, provider)
        self._listener = None
        self.reconnects = -1
        self.phone = self.server = None
        self._connect()

    def _connect(self):
        """Until it succeeds; references of the old one are forgotten."""
        end = time.monotonic() + ARRIVES_S
        while True:
            try:
                inside = connect(self.world.net.phone, self.listener.address,
                                 self.host, wait_s=5)
                outside = self._accepted(inside)
                break
            except (AssertionError, OSError) as error:
                if time.monotonic() > end or self.world.over.is_set():
                    raise Lost(f"{self.user}: no connection: {error}"
                               ) from None
        for old in (self.phone, self.server):
            if old:
                old.close()
        for end in (inside, outside):
            end.set(socket.TCP_USER_TIMEOUT, 15000)
        self.inside, self.outside = inside, outside
        self.reconnects += 1
        if self.reconnects:
            # What was asked by one connection is answered by another
            self.world.book.expect(self.host, "upstream_nat",
                                   "register_unanswered")
        self.world.book.write(f"{self.user} has connected: {inside.local}")
        self.reference = Reference(self.host, {
            "%s:%d" % inside.local: "%s:%d" % outside.peer})
        self.public = {inside.local[1]: outside.peer}
        self.phone = TcpEnd(self.world, inside, self.user, self.boxes[0])
        self.server = TcpEnd(self.world, outside, "server", self.boxes[1])

    def _accepted(self, inside):
        """The other end; others that wait are of attempts given up."""
        inside.send(b"\r\n\r\n")
        while True:
            outside = self.listener.accept(5)
            outside.socket.settimeout(5)
            with contextlib.suppress(OSError):
                if outside.socket.recv(4) == b"\r\n\r\n":
                    inside_port = inside.local[1]
                    if outside.peer[1] == inside_port or self._is(
                            inside, outside):
                        return outside
            outside.close()

    @staticmethod
    def _is(inside, outside):
        """Bytes of one come out at the other."""
        outside.socket.sendall(b"\r\n")
        inside.socket.settimeout(3)
        return inside.socket.recv(2) == b"\r\n"

    def _through(self, data, end, mailbox):
        """As deliver(): sent once a connection."""
        sent_on = None

        def send():
            nonlocal sent_on
            with self.lock:
                if self.phone.broken.is_set() or self.server.broken.is_set():
                    self._connect()
                    # Where does it listen now? The next REGISTER tells
                    self._register_again()
                if sent_on != self.reconnects:
                    sent_on = self.reconnects
                    getattr(self, end).send(data)

        return deliver(self.world, send, mailbox, data)[0]

    def _register_again(self):
        data = self.phone.register(60)
        self.look(data, deliver(
            self.world, lambda: self.phone.send(data), self.boxes[1],
            data)[0])

    def out(self, data, edits=None):
        """edits: {} where all stays as it is."""
        began, connection = time.monotonic(), self.reconnects
        seen = self._through(data, "phone", self.boxes[1])
        with self.lock:
            if edits is None:
                self.look(data, seen)
            expected = data if edits == {} else self.reference.out(data)
        self._compare(began, connection, data, seen, expected, "out")
        return sip.Message(seen)

    def into(self, data, edits=None):
        """As out()."""
        with self.lock:
            began, connection = time.monotonic(), self.reconnects
            expected = data if edits == {} else self.reference.into(data)
        seen = self._through(data, "server", self.boxes[0])
        self._compare(began, connection, data, seen, expected, "in")
        return sip.Message(seen)

    def _compare(self, began, connection, data, seen, expected, way):
        """What names a connection that has broken meanwhile is not judged."""
        port = re.search(rb";rport=(\d+)", data)
        ours = not port or int(port[1]) == self.outside.peer[1]
        if connection == self.reconnects and ours:
            compared(self.world, began, data, seen, lambda: same_stream(
                expected, seen, f"{self.user} {way}"))

    def renew(self):
        with self.lock:
            if self.epoch != self.world.epoch:
                self.epoch = self.world.epoch
                self._connect()
                return True
        return False

    def media_learned(self, ports):
        """These inside ports may be given other public ones from now on."""
        with self.lock:
            for port in ports:
                self.reference.media.pop(port, None)

    def forget(self, call_id):
        for box in self.boxes:
            box.forget(call_id)

    def close(self):
        self.phone.close()
        self.server.close()
        self.listener.close()

