# SPDX-License-Identifier: GPL-2.0-or-later
"""The gateway's conntrack table, read with conntrack(8)."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Tuple:
    """One direction of an entry."""
    src: str
    sport: int
    dst: str
    dport: int
    packets: int


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry; line is what conntrack(8) printed."""
    orig: Tuple
    reply: Tuple
    timeout: int
    assured: bool
    line: str


class Conntrack:
    """Reads the table of one namespace."""

    def __init__(self, namespace):
        self._namespace = namespace

    def udp(self, **match):
        """UDP entries; match is by fields of the original direction."""
        text = self._namespace.run(["conntrack", "-L", "-p", "udp"]).stdout
        entries = map(parse, filter(None, text.splitlines()))
        return [e for e in entries
                if all(getattr(e.orig, k) == v for k, v in match.items())]

    def flush(self):
        """Forget every flow."""
        self._namespace.run(["conntrack", "-F"])

    def text(self):
        """The table as conntrack(8) prints it, for error messages."""
        return self._namespace.run(["conntrack", "-L"], check=False).stdout


def parse(line):
    """An Entry from a line of "conntrack -L -p udp"."""
    def values(key, kind=str):
        return [kind(v) for v in re.findall(rf"\b{key}=(\S+)", line)]

    packets = values("packets", int) or [0, 0]
    orig, reply = (Tuple(*fields) for fields in zip(
        values("src"), values("sport", int), values("dst"),
        values("dport", int), packets))
    return Entry(orig, reply, int(line.split()[2]), "[ASSURED]" in line, line)
