# SPDX-License-Identifier: GPL-2.0-or-later
"""What becomes of a stream of SIP, by design.md: computed, not observed.

Knows nothing of segments and nothing of the product: a stream is cut into
messages by Content-Length, and in each the phone's endpoints are replaced in
the sites of design.md's table.
"""

import re

from lib import sip

START = re.compile(rb"[A-Z]+ \S+ SIP/2\.0\r\n|SIP/2\.0 \d{3} [^\r]*\r\n")
LENGTH = re.compile(rb"^((?:content-length|l)[ \t]*:[ \t]*)(\d+)",
                    re.I | re.M)
ENDPOINT = re.compile(rb"(?:sip:(?:[^@<>;\s]*@)?|SIP/2\.0/TCP )"
                      rb"([0-9.]+(?::\d+)?)(?![\w.])")
CONTEXT = 60


def split(stream):
    """Yield the parts of a stream, in order: ("line ends" | "message" |
    "rest", bytes). Nothing follows a rest."""
    at = 0
    while at < len(stream):
        end = at
        while stream[end:end + 1] in (b"\r", b"\n"):
            end += 1
        if end > at:
            yield "line ends", stream[at:end]
            at = end
            continue
        head = stream.find(b"\r\n\r\n", at) + 4
        if not START.match(stream, at) or head < 4:
            yield "rest", stream[at:]
            return
        length = LENGTH.search(stream, at, head)
        end = head + (int(length[2]) if length else 0)
        yield "message", stream[at:end]
        at = end


class Reference:
    """The two directions of one phone's connection.

    host: the phone's address. public: {"host:port" of the phone: the public
    "host:port"}. media: {port: public port}. spelled: {public "host:port":
    what the phone wrote, if that was not "host:port"}.
    """

    def __init__(self, host, public=None, media=None, spelled=None):
        self.host = host
        self.public = public or {}
        self.media = media or {}
        self.spelled = spelled or {}

    @property
    def public_host(self):
        return next(iter(self.public.values())).partition(":")[0]

    def out(self, stream):
        """The stream as the provider has to see it."""
        return self._map(stream, self._out)

    def into(self, stream):
        """The stream as the phone has to see it."""
        return self._map(stream, self._into)

    @staticmethod
    def _map(stream, function):
        return b"".join(function(part) if kind == "message" else part
                        for kind, part in split(stream))

    # --- one message ---

    def _out(self, message):
        request = not message.startswith(b"SIP/2.0 ")
        head, _, body = message.partition(b"\r\n\r\n")
        lines, topmost = head.split(b"\r\n"), True
        for number, line in enumerate(lines[1:], 1):
            name = _name(line)
            if (name == "contact"
                    or name == "via" and request and topmost):
                lines[number] = ENDPOINT.sub(self._to_public, line)
            elif name in ("from", "to") and request:
                lines[number] = ENDPOINT.sub(self._identity, line)
            topmost = topmost and name != "via"
        return _joined(lines, body, self._body(lines, body))

    def _into(self, message):
        head, _, body = message.partition(b"\r\n\r\n")
        lines, topmost = head.split(b"\r\n"), True
        answer = lines[0].startswith(b"SIP/2.0 ")
        register = any(_name(line) == "cseq" and line.endswith(b" REGISTER")
                       for line in lines)
        if not answer:
            lines[0] = ENDPOINT.sub(self._to_private, lines[0])
        for number, line in enumerate(lines[1:], 1):
            name = _name(line)
            if answer and name == "via" and topmost:
                lines[number] = self._restore_via(line)
            elif (answer and name == "contact" and register
                  or not answer and name == "route"):
                lines[number] = ENDPOINT.sub(self._to_private, line)
            topmost = topmost and name != "via"
        return _joined(lines, body, body)

    def _to_public(self, match):
        old = match[1].decode()
        host, port = sip.hostport(old)
        new = self.public.get(f"{host}:{port}")
        if new is None:
            return match[0]
        new = sip.with_port(*sip.hostport(new), old)
        return match[0][:match.start(1) - match.start()] + new.encode()

    def _to_private(self, match):
        host, port = sip.hostport(match[1].decode())
        for inside, public in self.public.items():
            if public == f"{host}:{port}":
                new = self.spelled.get(public, inside).encode()
                return match[0][:match.start(1) - match.start()] + new
        return match[0]

    def _identity(self, match):
        """An identity gets no port that it had not."""
        if match[1].decode() == self.host:
            return match[0].replace(match[1], self.public_host.encode())
        return self._to_public(match) if b":" in match[1] else match[0]

    def _restore_via(self, line):
        new = ENDPOINT.sub(self._to_private, line)
        if new == line:
            return line
        seen = re.search(rb";received=([0-9.]+).*?;rport=(\d+)", line)
        if seen:
            source = f"{seen[1].decode()}:{int(seen[2])}"
            for inside, public in self.public.items():
                if public == source:
                    host, port = inside.encode().split(b":")
                    new = (new.replace(b";received=" + seen[1],
                                       b";received=" + host)
                           .replace(b";rport=" + seen[2], b";rport=" + port))
        return new

    def _body(self, lines, body):
        """An SDP body of the phone, as the provider has to see it."""
        if b"Content-Type: application/sdp" not in lines:
            return body
        host = self.host.encode()
        rows = body.split(b"\r\n")
        for number, row in enumerate(rows):
            if row[:2] in (b"o=", b"c=") and row.endswith(b" " + host):
                rows[number] = (row[:-len(host)]
                                + self.public_host.encode())
            elif row[:2] == b"m=" and b"IP4 " + host in body:
                kind, port, rest = row.split(b" ", 2)
                new = self.media.get(int(port), int(port))
                rows[number] = b"%s %d %s" % (kind, new, rest)
        return b"\r\n".join(rows)


def _name(line):
    return sip.canonical(
        line.partition(b":")[0].strip().decode(errors="replace"))


def _joined(lines, old, new):
    if len(old) != len(new):
        lines = [LENGTH.sub(lambda m: m[1] + b"%d" % (
            int(m[2]) + len(new) - len(old)), line) for line in lines]
    return b"\r\n".join(lines) + b"\r\n\r\n" + new


# --- comparing ---------------------------------------------------------------

def same_stream(expected, seen, what="stream"):
    """Two streams are equal; if not, the first difference and its place."""
    if expected == seen:
        return
    at = next((i for i, (a, b) in enumerate(zip(expected, seen)) if a != b),
              min(len(expected), len(seen)))
    raise sip.Mismatch(difference(expected, seen, at, what))


def difference(expected, seen, at, what="stream"):
    """A report of a difference at an offset."""
    begin, number = 0, 0
    for number, (_, part) in enumerate(split(expected)):
        if begin + len(part) > at:
            break
        begin += len(part)
    low = max(0, at - CONTEXT)
    return (f"{what}: differs at byte {at} (part {number}, byte {at - begin} "
            f"of it); {len(expected)} bytes expected, {len(seen)} seen\n"
            f"expected ...{expected[low:at + CONTEXT]!r}\n"
            f"seen     ...{seen[low:at + CONTEXT]!r}")
