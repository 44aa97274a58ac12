# SPDX-License-Identifier: GPL-2.0-or-later
"""RTP of all calls: one thread speaks for everybody, another one listens."""

import itertools
import selectors
import struct
import threading
import time

from lib.agents import Media

TICK_S = 0.1  # of each stream's voice
HEARD_S = 12  # audio both ways comes within so long, whatever the line does
KINDS = ("rtp", "rtcp")
_serial = itertools.count(1)


class Stream:
    """One m= line: four sockets, and what each has heard.

    announced: (host, port, rtcp port) that outside was told, once known.
    moved: the gateway's address has changed; sources are not compared until
    the next offer. known: it was heard both ways; no other source from now on.
    moves: called when the gateway's address changes.
    """

    def __init__(self, net, inside, outside):
        self.number = next(_serial)
        self.inside = Media(net.phone, *inside)
        self.outside = Media(net.prov, *outside)
        self.announced = self.moves = None
        self.speaks = self.moved = self.known = False
        self.count = 0
        self.heard = {}  # (way, kind): when it last came

    def ends(self):
        """(way that arrives there, kind, socket)."""
        for kind in KINDS:
            yield "in", kind, getattr(self.inside, kind)
            yield "out", kind, getattr(self.outside, kind)

    def packet(self, way, kind):
        head = struct.pack("!BBHII", 0x80, 8 if kind == "rtp" else 200,
                           self.count & 0xffff, self.count * 160, self.number)
        return head + self.tag(way, kind) + b" %d" % self.count

    def tag(self, way, kind):
        return f"soak {self.number} {way} {kind}".encode()

    def speak(self):
        """One packet each way."""
        self.count += 1
        host, *ports = self.announced
        for kind, port in zip(KINDS, ports):
            near, far = getattr(self.inside, kind), getattr(self.outside, kind)
            near.send(self.packet("out", kind), far.address)
            far.send(self.packet("in", kind), (host, port))

    def take(self, way, kind, data, source):
        """What came; None, or what is wrong with it."""
        if self.tag(way, kind) not in data:
            return f"stream {self.number} {way} {kind}: foreign {data!r}"
        if self.moved or not self.announced:
            return None
        host, *ports = self.announced
        wanted = (getattr(self.outside, kind).address if way == "in"
                  else (host, ports[KINDS.index(kind)]))
        if source != wanted:
            if not self.known:
                return None  # who waits to be heard complains
            return (f"stream {self.number} {way} {kind}: from {source}, "
                    f"not {wanted}")
        self.heard[way, kind] = time.monotonic()
        return None

    def dumb(self, since):
        """Ways that were not heard since then."""
        return [f"{way} {kind}" for way in ("in", "out") for kind in KINDS
                if self.heard.get((way, kind), 0) < since]


class Pump:
    """Lets all streams speak and listen. complain(text): what is wrong."""

    def __init__(self, complain):
        self.complain = complain
        self.selector = selectors.DefaultSelector()
        self.lock = threading.Lock()
        self.streams = {}
        self.over = threading.Event()
        self.threads = [threading.Thread(target=work, daemon=True)
                        for work in (self._speak, self._listen)]
        for thread in self.threads:
            thread.start()

    def add(self, stream):
        with self.lock:
            self.streams[stream.number] = stream
            for way, kind, end in stream.ends():
                end.socket.setblocking(False)
                self.selector.register(end.socket, selectors.EVENT_READ,
                                       (stream, way, kind))
        return stream

    def remove(self, stream):
        with self.lock:
            if not self.streams.pop(stream.number, None):
                return
            for _, _, end in stream.ends():
                self.selector.unregister(end.socket)
                end.close()

    def address_changed(self):
        with self.lock:
            for stream in self.streams.values():
                stream.moved = True
                stream.moves()

    def disturbed(self):
        """Something happens that calls cannot but notice."""
        with self.lock:
            for stream in self.streams.values():
                stream.moves()

    @staticmethod
    def both_ways(stream, limit_s=HEARD_S):
        """Wait until every way was heard anew; those that were not."""
        since = time.monotonic()
        while time.monotonic() < since + limit_s:
            if not stream.dumb(since):
                stream.known = True
                return []
            time.sleep(0.05)
        return stream.dumb(since)

    def _speak(self):
        while not self.over.wait(TICK_S):
            with self.lock:
                for stream in self.streams.values():
                    if not stream.speaks:
                        continue
                    try:
                        stream.speak()
                    except OSError:
                        pass  # no route for a moment, a full buffer

    def _listen(self):
        while not self.over.is_set():
            for key, _ in self.selector.select(0.1):
                stream, way, kind = key.data
                try:
                    data, source = key.fileobj.recvfrom(2048)
                except OSError:
                    continue
                wrong = stream.take(way, kind, data, source)
                if wrong:
                    self.complain(wrong)

    def close(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        for stream in list(self.streams.values()):
            self.remove(stream)
