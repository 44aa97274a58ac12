# SPDX-License-Identifier: GPL-2.0-or-later
"""SIP as bytes: build messages, read them, compare them site by site."""

import itertools
import re

CRLF = b"\r\n"
COMPACT = {"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact",
           "l": "content-length", "c": "content-type", "k": "supported",
           "r": "refer-to", "b": "referred-by"}
_serial = itertools.count(1)


def unique(prefix):
    """A token not used before in this process."""
    return f"{prefix}{next(_serial)}"


def to_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def message(start, headers, body=b""):
    """A message: start line, header lines, Content-Length, body.

    headers: "Name: value" strings in their order.
    """
    body = to_bytes(body)
    lines = [to_bytes(line) for line in (start, *headers)]
    lines.append(b"Content-Length: %d" % len(body))
    return CRLF.join(lines) + CRLF + CRLF + body


class Message:
    """A received message, for reading; .bytes is what came."""

    def __init__(self, data):
        self.bytes = data
        head, separator, self.body = data.partition(b"\r\n\r\n")
        assert separator, f"not a whole SIP message: {data!r}"
        self.start, *lines = head.decode(errors="replace").split("\r\n")
        self.headers = []
        for line in lines:
            if line[:1] in (" ", "\t"):
                name, value = self.headers.pop()
                self.headers.append((name, value + line))
            else:
                name, _, value = line.partition(":")
                self.headers.append((name.strip(), value.strip()))

    def all(self, name):
        """Values of every header line of that name."""
        return [value for key, value in self.headers
                if canonical(key) == name.lower()]

    def get(self, name):
        """Value of the first header line of that name; None if absent."""
        return next(iter(self.all(name)), None)

    @property
    def request(self):
        return not self.start.startswith("SIP/2.0 ")

    @property
    def method(self):
        """Of the request, or that which the response answers."""
        return self.get("CSeq").split()[1]

    @property
    def code(self):
        return 0 if self.request else int(self.start.split()[1])

    @property
    def uri(self):
        """The Request-URI."""
        return self.start.split()[1]

    @property
    def via(self):
        """(host, port) of the topmost Via."""
        sent_by = self.get("Via").split(",")[0].split(None, 1)[1]
        return hostport(sent_by.split(";")[0])

    @property
    def contact(self):
        """(host, port) of the first Contact."""
        return uri_hostport(self.get("Contact"))


def canonical(name):
    """The lower-case long form of a header name."""
    return COMPACT.get(name.lower(), name.lower())


def hostport(text, default=5060):
    """("h", 1) from "h:1"; the default port where there is none."""
    host, _, port = text.strip().partition(":")
    return host, int(port or default)


def uri_hostport(text):
    """(host, port) of the first sip: URI in a text."""
    match = re.search(r"sips?:(?:[^@<>;\s]*@)?([^:;>?\s,]+)(?::(\d+))?", text)
    return match[1], int(match[2] or 5060)


def uri_of(text):
    """The URI out of a name-addr."""
    match = re.search(r"<([^>]*)>", text)
    return match[1] if match else text.split(";")[0].strip()


# --- comparing ---------------------------------------------------------------

class Mismatch(AssertionError):
    """Two messages differ in more than was expected."""


def rewrite(before, edits):
    """The bytes of before with every edit applied.

    edits: {site: (old, new)}: in the line that site names, old stands exactly
    once and is replaced by new. Content-Length digits follow by themselves.

    Sites are "Request-URI", a header name ("Via": the first such line;
    "Via[1]": the second), or a line of SDP: "sdp:o=", "sdp:c=[1]",
    "sdp:m=audio", "sdp:a=rtcp:".
    """
    lines = before.split(CRLF)
    end = lines.index(b"")
    for site, (old, new) in edits.items():
        index = _find_line(lines, end, site)
        assert lines[index].count(to_bytes(old)) == 1, (
            f"{site}: {old!r} is not once in {lines[index]!r}")
        lines[index] = lines[index].replace(to_bytes(old), to_bytes(new))
    body_len = len(CRLF.join(lines[end + 1:]))
    changed = body_len - len(CRLF.join(before.split(CRLF)[end + 1:]))
    for index in range(1, end):
        match = re.fullmatch(rb"((?:content-length|l)[ \t]*:\s*)(\d+)(\s*)",
                             lines[index], re.IGNORECASE)
        if match and changed:
            lines[index] = (match[1] + b"%d" % (int(match[2]) + changed)
                            + match[3])
    return CRLF.join(lines)


def _find_line(lines, end, site):
    name, number = re.fullmatch(r"(.*?)(?:\[(\d+)\])?", site).groups()
    number = int(number or 0)
    if name == "Request-URI":
        return 0
    if name.startswith("sdp:"):
        wanted = [i for i in range(end + 1, len(lines))
                  if lines[i].startswith(name[4:].encode())]
    else:
        wanted = [i for i in range(1, end) if canonical(
            lines[i].partition(b":")[0].strip().decode(
                errors="replace")) == name.lower()]
    assert number < len(wanted), f"no {site} in the message"
    return wanted[number]


def only_addresses_changed(before, after, edits):
    """after is before with exactly these edits (see rewrite())."""
    same_bytes(rewrite(before, edits), after, before)


def same_bytes(expected, seen, before=None):
    """Two messages are equal; if not, say where."""
    if expected == seen:
        return
    report = []
    wanted, got = expected.split(CRLF), seen.split(CRLF)
    for number, (want, have) in enumerate(
            itertools.zip_longest(wanted, got)):
        if want != have:
            report.append(f"line {number}: expected {want!r}\n"
                          f"         seen     {have!r}")
    raise Mismatch("\n".join(
        [*report, f"expected {expected!r}", f"seen     {seen!r}",
         f"before   {before!r}"]))


def with_port(host, port, old):
    """How host:port is written where old ("h" or "h:p") stood.

    An absent port stays absent where the new one is 5060 (design.md).
    """
    if ":" not in old and port == 5060:
        return host
    return f"{host}:{port}"


_SENT_BY = re.compile(r"SIP\s*/\s*2\.0\s*/\s*UDP\s+([^;,\s]+)")
_URI_HOST = re.compile(r"sips?:(?:[^@<>;\s]*@)?([^;>?\s,]+)")
OWN_HOST = ("Contact", "From", "To", "Record-Route", "Path")


def outbound_edits(before, after, inside, public):
    """What design.md expects of a message of this inside host, going out.

    before, after: bytes. inside: its private address. public: {inside port:
    (public address, public port)} of its signalling. Public media ports are
    taken from after: whether they are right is for packets to show.
    """
    seen, sent = Message(after), Message(before)
    edits = {}

    def site(name, number, text, pattern):
        match = pattern.search(text)
        if not match:
            return
        host, port = hostport(match[1])
        if host == inside and port in public:
            key = f"{name}[{number}]"
            edits[key] = (match[1], with_port(*public[port], match[1]))

    if sent.request:
        site("Via", 0, sent.get("Via"), _SENT_BY)
    for name in OWN_HOST:
        if not sent.request and name in ("From", "To", "Record-Route"):
            continue  # answers to outside's requests carry them back as sent
        for number, text in enumerate(sent.all(name)):
            site(name, number, text, _URI_HOST)
    public_host = next(iter(public.values()))[0]
    edits.update(sdp_edits(sent.body, seen.body, inside, public_host))
    return edits


def sdp_edits(before, after, inside, public_host):
    """The SDP part of outbound_edits()."""
    edits = {}
    if b"v=0" not in before:
        return edits
    counters = {}
    old_lines, new_lines = before.split(CRLF), after.split(CRLF)
    sections = _sections(old_lines)
    for index, line in enumerate(old_lines):
        text = line.decode(errors="replace")
        kind = text[:2]
        if text.startswith("a=rtcp:"):
            kind = "a=rtcp:"
        number = counters.get(kind, 0)
        counters[kind] = number + 1
        key = f"sdp:{kind}[{number}]"
        media_address = sections[index]
        new = (new_lines[index].decode(errors="replace")
               if index < len(new_lines) else "")
        if kind in ("o=", "c="):
            if text.endswith(" " + inside):
                edits[key] = (inside, public_host)
        elif kind == "m=":
            port = text.split()[1]
            if port != "0" and media_address == inside:
                edits[key] = (f" {port} ", f" {new.split()[1]} ")
        elif kind == "a=rtcp:" and media_address == inside:
            port = text[7:].split()[0]
            new_port = new[7:].split()[0]
            rest = text[7 + len(port):]
            edits[key] = (text[7:], new_port + rest.replace(
                inside, public_host))
    return edits


def _sections(lines):
    """For each line of SDP the connection address that governs it."""
    session = None
    for line in lines:
        if line.startswith(b"m="):
            break
        if line.startswith(b"c="):
            session = line.decode().split()[-1]
    result = []
    bounds = [i for i, line in enumerate(lines) if line.startswith(b"m=")]
    for begin, end in zip([0, *bounds], [*bounds, len(lines)]):
        address = session
        for line in lines[begin:end]:
            if line.startswith(b"c="):
                address = line.decode(errors="replace").split()[-1]
        result += [address] * (end - begin)
    return result


# --- SDP ---------------------------------------------------------------------

def sdp(host, *media, version=1, session_c=True):
    """SDP with one media section a (port, extra lines...) or just port.

    The type is "audio" unless media is ("video", port, lines...).
    """
    lines = ["v=0", f"o=- 4711 {version} IN IP4 {host}", "s=-"]
    if session_c:
        lines.append(f"c=IN IP4 {host}")
    lines.append("t=0 0")
    for entry in media:
        if isinstance(entry, int):
            entry = (entry,)
        kind, entry = (("audio", entry) if isinstance(entry[0], int)
                       else (entry[0], entry[1:]))
        codec = {"audio": "RTP/AVP 8 0 101", "video": "RTP/AVP 96"}[kind]
        lines += [f"m={kind} {entry[0]} {codec}", *entry[1:]]
    return "".join(line + "\r\n" for line in lines).encode()


def sdp_media(body):
    """[(type, host, port, rtcp_port), ...] that an SDP announces."""
    if isinstance(body, Message):
        body = body.body
    lines = body.split(CRLF)
    found = []
    for index, address in enumerate(_sections(lines)):
        text = lines[index].decode(errors="replace")
        if text.startswith("m="):
            kind, port = text[2:].split()[:2]
            found.append([kind, address, int(port), int(port) + 1])
        elif text.startswith("a=rtcp:") and found:
            found[-1][3] = int(text[7:].split()[0])
    return [tuple(entry) for entry in found]
