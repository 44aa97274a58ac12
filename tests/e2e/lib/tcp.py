# SPDX-License-Identifier: GPL-2.0-or-later
"""Phones and servers over TCP: the kernel's sockets, with SIP on top."""

import contextlib
import random
import select
import socket
import struct
import time

from lib import sip
from lib.agents import QUIET_S, WAIT_S, Agent
from lib.gateway import PROXY
from lib.tcpnet import SHORT
from lib.tcpref import LENGTH, Reference, difference, same_stream

PROMPT_S = 0.15  # the shortest retransmission timer is 200 ms
TRIES = 3  # of what the machine, not the gateway, may have delayed
MEDIA_PORTS = 4000, 4002
SO_LINGER_RESET = struct.pack("ii", 1, 0)


class Connection:
    """One end of a connection: bytes, and messages by Content-Length."""

    def __init__(self, sock):
        self.socket = sock
        self.local, self.peer = sock.getsockname()[:2], sock.getpeername()[:2]
        self._data = b""
        self.set(socket.TCP_NODELAY, 1)

    def set(self, option, value, level=socket.IPPROTO_TCP):
        self.socket.setsockopt(level, option, value)
        return self

    def send(self, data):
        self.socket.settimeout(WAIT_S)
        self.socket.sendall(data)

    def dribble(self, data, size):
        """Send in segments of that size."""
        for at in range(0, len(data), size):
            self.wait_for_window()
            self.send(data[at:at + size])

    def acknowledged(self, wait_s=PROMPT_S):
        """Wait until the other side's TCP has all that was sent."""
        end = time.monotonic() + wait_s
        while self.info().unacked or self.info().notsent:
            assert time.monotonic() < end, (
                f"not acknowledged for {wait_s} s: {self.local} > {self.peer}")
            time.sleep(0.0001)

    def wait_for_window(self):
        """What is sent next goes at once, as a segment of its own."""
        end = time.monotonic() + WAIT_S
        while True:
            info = self.info()
            if not info.notsent and info.unacked < info.cwnd - 1:
                return
            assert time.monotonic() < end, (
                f"{info.unacked} segments stay unacknowledged for {WAIT_S} s")
            time.sleep(0.0002)

    def info(self):
        """Of what the kernel says about it (struct tcp_info)."""
        return Info(self.socket.getsockopt(socket.IPPROTO_TCP,
                                           socket.TCP_INFO, 256))

    def _more(self, end):
        """Append what arrives; False at the end of the stream."""
        self.socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise AssertionError(
                f"nothing more arrives at {self.local} from {self.peer}; "
                f"{len(self._data)} bytes wait: {self._data[-60:]!r}"
            ) from None
        self._data += data
        return bool(data)

    @property
    def waiting(self):
        """Bytes that were received and not asked for."""
        return len(self._data)

    def take(self, size):
        data, self._data = self._data[:size], self._data[size:]
        return data

    def read(self, size, wait_s=WAIT_S):
        """Exactly so many bytes; AssertionError if they do not come."""
        end = time.monotonic() + wait_s
        while len(self._data) < size:
            if not self._more(end):
                raise AssertionError(
                    f"{self.peer} closed after {len(self._data)} bytes of "
                    f"{size}: {self._data[-60:]!r}")
        return self.take(size)

    def message(self, wait_s=WAIT_S):
        """The next message, without the line ends before it."""
        end = time.monotonic() + wait_s
        while True:
            self._data = self._data.lstrip(b"\r\n")
            head = self._data.find(b"\r\n\r\n") + 4
            if head >= 4:
                length = LENGTH.search(self._data, 0, head)
                size = head + (int(length[2]) if length else 0)
                if len(self._data) >= size:
                    return self.take(size)
            if not self._more(end):
                raise AssertionError(f"{self.peer} closed; {self._data!r}")

    def nothing(self, wait_s=QUIET_S):
        """Nothing arrives."""
        with contextlib.suppress(AssertionError):
            self._more(time.monotonic() + wait_s)
        assert not self._data, f"{self.peer} sent {self._data!r}"

    def ends(self, wait_s=WAIT_S):
        """The other side closes after what was read."""
        more = self._more(time.monotonic() + wait_s)
        assert not more, f"no end but {self._data!r}"

    def drain(self, wait_s=WAIT_S):
        """Receive to the end of the stream."""
        end = time.monotonic() + wait_s
        while self._more(end):
            pass

    def breaks(self, wait_s=WAIT_S):
        """The other side resets; what comes before it is passed over."""
        try:
            self.drain(wait_s)
        except ConnectionResetError:
            return
        raise AssertionError("closed, not reset")

    def finish(self):
        """No more data from this side."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        """RST, whatever is under way."""
        self.set(socket.SO_LINGER, SO_LINGER_RESET, socket.SOL_SOCKET)
        self.socket.close()

    def close(self):
        self.socket.close()


class Info:
    """struct tcp_info of linux/tcp.h, the part of it that tests need."""

    def __init__(self, data):
        words = struct.unpack_from("=24I", data, 8)
        self.state = data[0]
        self.mss, self.unacked, self.lost = words[2], words[4], words[6]
        self.cwnd, self.retransmitted = words[18], words[23]
        self.notsent, = struct.unpack_from("=I", data, 144)


class Listener:
    """A listening socket. options: as for Connection.set(), set before."""

    def __init__(self, namespace, host, port=5060, buffer=None,
                 family=socket.AF_INET):
        self.socket = namespace.socket(family, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                   buffer)
        self.socket.bind((host, port))
        self.socket.listen(64)
        self.host, self.port = self.socket.getsockname()[:2]

    @property
    def address(self):
        return self.host, self.port

    def accept(self, wait_s=WAIT_S):
        self.socket.settimeout(wait_s)
        try:
            return Connection(self.socket.accept()[0])
        except TimeoutError:
            raise AssertionError(f"no connection to {self.address}") from None

    def nobody(self, wait_s=QUIET_S):
        """Nobody connects."""
        with contextlib.suppress(AssertionError):
            peer = self.accept(wait_s).peer
            raise RuntimeError(f"{peer} reached {self.address}")

    def close(self):
        self.socket.close()


def connect(namespace, target, host, port=0, wait_s=WAIT_S, options=(),
            family=socket.AF_INET):
    """A Connection from host:port. options: (level, name, value)."""
    sock = namespace.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for option in options:
        sock.setsockopt(*option)
    sock.bind((host, port))
    sock.settimeout(wait_s)
    try:
        sock.connect(target)
    except TimeoutError:
        sock.close()
        raise AssertionError(f"no connection {host} > {target}") from None
    except OSError:
        sock.close()
        raise
    return Connection(sock)


class TcpAgent(Agent):
    """An Agent at one end of a connection.

    port: of the connection. listens: what it writes into Via and Contact
    (default: the same port).
    """

    def __init__(self, connection, user, listens=None, parameters=""):
        self.connection = connection  # not Agent's: a UDP socket
        self.host, self.port = connection.local
        self.listens = listens or self.port
        self.user = user
        self.contact = (f"<sip:{user}@{self.host}:{self.listens}"
                        f";transport=tcp{parameters}>")
        self.identity = f"<sip:{user}@example.com>"

    def via(self, parameters=";rport"):
        return (f"SIP/2.0/TCP {self.host}:{self.listens}{parameters}"
                f";branch={sip.unique('z9hG4bK-')}")

    def request(self, method, uri, to="<sip:somebody@example.com>", **kwargs):
        """As Agent's; the address in To would be one more to map."""
        return super().request(method, uri, to, **kwargs)

    def send(self, data, to=None):
        self.connection.send(data)

    def recv(self, wait_s=WAIT_S):
        return self.connection.message(wait_s), self.connection.peer

    def close(self):
        self.connection.close()


class TcpLine:
    """A phone's connection to its provider; what passes is compared.

    host: the phone's. listens: port that it writes (0: the connection's).
    reference: what the gateway has to do, once learn() has asked it for its
    ports. Serves call.Call as agents.Line does.
    """

    def __init__(self, net, host=SHORT, port=0, listens=5060, user="alice",
                 listener=None, parameters="", options=(), wait_s=WAIT_S):
        self._listener = None
        if listener is None:
            listener = self._listener = Listener(net.prov, PROXY)
        self.listener = listener
        self._join(connect(net.phone, listener.address, host, port,
                           wait_s, options), listener.accept(wait_s),
                   Reference(host), listens, user, parameters)

    @classmethod
    def joined(cls, inside, outside, reference, listens, user="alice"):
        """Of two ends that are connected already."""
        line = cls.__new__(cls)
        line.listener = line._listener = None
        line._join(inside, outside, reference, listens, user, "")
        return line

    def _join(self, inside, outside, reference, listens, user, parameters):
        self.inside, self.outside = inside, outside
        self.reference = reference
        self.phone = TcpAgent(inside, user, listens, parameters)
        self.server = TcpAgent(outside, "server", 5060)
        self.public = {inside.local[1]: outside.peer}
        if "%s:%d" % inside.local not in reference.public:
            reference.public["%s:%d" % inside.local] = (
                "%s:%d" % outside.peer)

    def learn(self, media=MEDIA_PORTS):
        """Register, and announce media; then all is known that comes."""
        self.register()
        self.learn_media(media)
        return self

    def learn_media(self, ports=MEDIA_PORTS):
        """An INVITE of a call that stays open names these ports."""
        body = sip.sdp(self.phone.host, *ports)
        self.out(self.phone.request("INVITE", "sip:echo@203.0.113.10",
                                    body=body))

    @property
    def contact(self):
        """(host, port) that the provider sees in Contact."""
        own = f"{self.phone.host}:{self.phone.listens}"
        return sip.hostport(self.reference.public[own])

    def out(self, data, _edits=None):
        """phone sends, server receives: (Message seen there)."""
        self.phone.send(data)
        seen, _ = self.server.recv()
        self.look(data, seen)
        same_stream(self.reference.out(data), seen, "out")
        return sip.Message(seen)

    def into(self, data, _edits=None):
        """server sends, phone receives: (Message seen there)."""
        self.server.send(data)
        seen, _ = self.phone.recv()
        same_stream(self.reference.into(data), seen, "in")
        return sip.Message(seen)

    def look(self, data, seen):
        """Learn the public ports that the gateway has shown just now."""
        sent, seen = sip.Message(data), sip.Message(seen)
        for text, shown in zip(sent.all("Contact"), seen.all("Contact")):
            if "sip:" not in text:
                continue
            host, port = sip.uri_hostport(text)
            if host != self.phone.host:
                continue
            shown = sip.uri_hostport(shown)
            assert shown[0] == self.outside.peer[0], f"{shown} is private"
            self.reference.public.setdefault(f"{host}:{port}",
                                             "%s:%d" % shown)
        if b"v=0" in sent.body:
            for ours, shown in zip(sip.sdp_media(sent), sip.sdp_media(seen)):
                if ours[1] == self.phone.host:
                    self.reference.media.setdefault(ours[2], shown[2])

    def register(self, expires=3600, headers=()):
        """A whole registration; the REGISTER that the server saw."""
        seen = self.out(self.phone.register(expires, headers))
        self.into(self.server.respond(
            seen.bytes, 200, source=self.outside.peer, tag="reg",
            headers=[f"Expires: {expires}"]))
        return seen

    def streams_out(self, data):
        """data goes out in one piece and arrives as it has to."""
        stream_through(self.inside, self.outside, data,
                       self.reference.out(data))

    def streams_in(self, data):
        stream_through(self.outside, self.inside, data,
                       self.reference.into(data))

    def close(self):
        self.inside.close()
        self.outside.close()
        if self._listener:
            self._listener.close()


def stream_through(source, target, data, expected, wait_s=WAIT_S):
    """One direction; compared."""
    pump([Flow(source, target, data, expected)], wait_s)


class Flow:
    """Bytes on their way from one Connection to another.

    slices: a random.Random, to write them in pieces of random size.
    """

    def __init__(self, source, target, data, expected, slices=None):
        assert not target.waiting
        self.source, self.target = source, target
        self.data, self.expected = data, expected
        self.slices = slices
        self.sent = self.arrived = 0

    def __str__(self):
        return (f"{self.source.local} > {self.target.local}: "
                f"{self.sent} of {len(self.data)} bytes sent, "
                f"{self.arrived} of {len(self.expected)} arrived")

    @property
    def done(self):
        return (self.sent == len(self.data)
                and self.arrived == len(self.expected))

    def write(self):
        size = (self.slices.choice((1, 40, 300, 700, 1400, 3000))
                if self.slices else 65536)
        self.sent += self.source.socket.send(
            self.data[self.sent:self.sent + size])

    def read(self):
        seen = self.target.socket.recv(65536)
        if not seen:
            raise AssertionError(f"closed early: {self}")
        end = self.arrived + len(seen)
        if seen != self.expected[self.arrived:end]:
            at = next((i for i, (a, b) in enumerate(zip(
                self.expected[self.arrived:end], seen)) if a != b),
                min(len(self.expected) - self.arrived, len(seen)))
            raise sip.Mismatch(difference(
                self.expected, self.expected[:self.arrived] + seen,
                self.arrived + at, str(self)))
        self.arrived = end


def pump(flows, limit_s):
    """Let all of them run at the same time; seconds that it took."""
    began = time.monotonic()
    for flow in flows:
        flow.source.socket.setblocking(False)
        flow.target.socket.setblocking(False)
    while not all(f.done for f in flows):
        left = began + limit_s - time.monotonic()
        if left <= 0:
            raise AssertionError(f"not done after {limit_s} s: " + "; ".join(
                map(str, flows)))
        writers = {f.source.socket: f for f in flows if f.sent < len(f.data)}
        readers = {f.target.socket: f for f in flows}
        readable, writable, _ = select.select(readers, writers, (), left)
        for sock in readable:
            readers[sock].read()
        for sock in writable:
            with contextlib.suppress(BlockingIOError):
                writers[sock].write()
    return time.monotonic() - began


def promptly(action, *args, limit_s=PROMPT_S):
    """action() in less time than any retransmission timer takes.

    A busy machine gets TRIES; what waits for a timer is late each time.
    """
    took = []
    for _ in range(TRIES):
        began = time.monotonic()
        action(*args)
        took.append(time.monotonic() - began)
        if took[-1] < limit_s:
            return took[-1]
    raise AssertionError(f"{args}: took " + ", ".join(
        f"{t * 1000:.0f} ms" for t in took))


class Chatter:
    """Messages of one line, of all kinds, sizes by chance.

    Both directions name only what learn() has made known.
    """

    def __init__(self, line, seed=1):
        self.line = line
        self.random = random.Random(seed)
        self._registered = self._called = None

    def out(self, count):
        """So many messages of the phone."""
        makers = (self._register, self._invite, self._options, self._text,
                  self._answer)
        return self._stream(count, makers, self.line.phone)

    def into(self, count):
        """So many messages of the provider."""
        makers = (self._registered_answer, self._call, self._options,
                  self._text)
        return self._stream(count, makers, self.line.server)

    def _stream(self, count, makers, agent):
        parts = []
        for _ in range(count):
            parts.append(self.random.choice(makers)(agent))
            if self.random.random() < 0.1:
                parts.append(b"\r\n\r\n")
        return b"".join(parts)

    def _register(self, agent):
        return agent.register()

    def _invite(self, agent):
        return agent.request("INVITE", "sip:echo@203.0.113.10",
                             body=sip.sdp(agent.host, *MEDIA_PORTS))

    def _options(self, agent):
        size = self.random.choice((0, 1, 5, 100, 900, 1500))
        return agent.request("OPTIONS", self._uri(agent), headers=[
            f"X-Padding: {'p' * self.random.randint(size // 2, size)}"])

    def _text(self, agent):
        """A body with an address of the sender that means nothing."""
        body = f"I am at {agent.host}:{agent.listens}\r\n\r\n".encode()
        return agent.request("MESSAGE", self._uri(agent), headers=[
            "Content-Type: text/plain"], contact=False).replace(
                b"Content-Length: 0\r\n\r\n",
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def _uri(self, agent):
        if agent is self.line.phone:
            return "sip:echo@203.0.113.10"
        return "sip:%s@%s:%d" % (self.line.phone.user, *self.line.contact)

    def _call(self, agent):
        return agent.request("INVITE", self._uri(agent),
                             body=sip.sdp(agent.host, 8000))

    def _answer(self, agent):
        """The phone's 200 to a call; always the same one."""
        if self._called is None:
            invite = self._call(self.line.server)
            self._called = agent.respond(
                invite, 200, tag="a", body=sip.sdp(agent.host, MEDIA_PORTS[0]))
        return self._called

    def _registered_answer(self, agent):
        if self._registered is None:
            self._registered = agent.respond(
                self.line.reference.out(self._register(self.line.phone)),
                200, source=self.line.outside.peer, tag="r",
                headers=["Expires: 3600"])
        return self._registered


def padded(agent, size, uri="sip:echo@203.0.113.10", body_share=0.0):
    """An OPTIONS of exactly that size; part of it may be an unknown body."""
    options = agent.request("OPTIONS", uri, headers=[
        "Content-Type: application/x-padding", "X-Padding: "])
    for _ in range(3):  # Content-Length's digits take part in the size
        body = int((size - len(options)) * body_share)
        message = options.replace(b"Content-Length: 0",
                                  b"Content-Length: %d" % body)
        rest = size - len(message) - body
        assert rest >= 0, f"{size} bytes are too few for a message"
    return message.replace(b"X-Padding: ", b"X-Padding: " + b"p" * rest
                           ) + b"b" * body
