# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket, by hand: also what sipalgctl would never say."""

import json
import socket
import time

WAIT_S = 5


def connect(daemon, buffer=None):
    """A connected socket; buffer: SO_RCVBUF-like limit of what is queued."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(WAIT_S)
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.connect(daemon.socket)
    return sock


def answer(sock):
    """All that comes until the daemon closes."""
    got = b""
    while True:
        try:
            piece = sock.recv(1 << 16)
        except ConnectionResetError:
            return got
        if not piece:
            return got
        got += piece


def ask(daemon, request):
    """request: bytes as they are, or what is sent as JSON. The answer."""
    if not isinstance(request, bytes):
        request = json.dumps(request).encode() + b"\n"
    with connect(daemon) as sock:
        try:
            sock.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return json.loads(answer(sock))


class Follower:
    """A subscriber of "trace" or "capture"."""

    def __init__(self, daemon, command, *terms):
        self.socket = connect(daemon)
        self.rest = b""
        self.socket.sendall(json.dumps(
            {"command": command, "filter": list(terms)}).encode() + b"\n")
        assert self.next() == {"begun": True}

    def next(self, wait_s=WAIT_S):
        """The next object, or None if none comes in time."""
        self.socket.settimeout(wait_s)
        while b"\n" not in self.rest:
            try:
                piece = self.socket.recv(1 << 16)
            except TimeoutError:
                return None
            if not piece:
                return None
            self.rest += piece
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)

    def until_quiet(self, quiet_s=0.3):
        """All that comes until nothing does for a while."""
        found, end = [], time.monotonic() + WAIT_S
        while time.monotonic() < end:
            one = self.next(quiet_s)
            if one is None:
                break
            found.append(one)
        return found

    def close(self):
        self.socket.close()
