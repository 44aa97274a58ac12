# SPDX-License-Identifier: GPL-2.0-or-later
"""What an attacker sends, and how to see that nothing came of it."""

import re
import socket
import struct

from lib import sip
from lib.agents import Dialog
from lib.gateway import ALICE
from lib.sniffer import ones_sum

IP_MTU = 1500
MAGIC_COOKIE = 0x2112A442
STUN_BINDING, TURN_ALLOCATE, USERNAME = 0x0001, 0x0003, 0x0006


# --- packets -----------------------------------------------------------------

def udp_packet(source, target, data):
    """A UDP datagram with its header and checksum."""
    length = 8 + len(data)
    head = struct.pack("!HHHH", source[1], target[1], length, 0)
    pseudo = (socket.inet_aton(source[0]) + socket.inet_aton(target[0])
              + struct.pack("!HH", 17, length))
    checksum = 0xFFFF ^ ones_sum(pseudo + head + data) or 0xFFFF
    return struct.pack("!HHHH", source[1], target[1], length,
                       checksum) + data


def ip_packet(source, target, payload, ident=1, offset=0, more=False):
    """An IPv4 packet, or one of its fragments; offset in bytes."""
    return struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident,
        (0x2000 if more else 0) | offset // 8, 64, 17, 0,
        socket.inet_aton(source), socket.inet_aton(target)) + payload


def raw_send(namespace, packets, target):
    """IP packets as they are, whatever source they claim."""
    with namespace.socket(socket.AF_INET, socket.SOCK_RAW,
                          socket.IPPROTO_RAW) as raw:
        for packet in packets:
            raw.sendto(packet, (target, 0))


def spoof(namespace, source, target, data):
    """A datagram from a source that is not the sender's."""
    raw_send(namespace, [ip_packet(source[0], target[0], udp_packet(
        source, target, data))], target[0])


def fragments(source, target, data, size=IP_MTU - 20, ident=7):
    """A datagram in fragments whose payloads have that size."""
    whole = udp_packet(source, target, data)
    return [ip_packet(source[0], target[0], whole[at:at + size], ident, at,
                      at + size < len(whole))
            for at in range(0, len(whole), size)]


# --- what carries SIP where none belongs -------------------------------------

def stun(method=STUN_BINDING, username=b""):
    """A STUN message (RFC 8489 5), with that in USERNAME."""
    attribute = b""
    if username:
        attribute = struct.pack("!HH", USERNAME, len(username)) + username
        attribute += b"\0" * (-len(attribute) % 4)
    return struct.pack("!HHI", method, len(attribute),
                       MAGIC_COOKIE) + b"slipstream12" + attribute


def http_post(body, start="POST / HTTP/1.1"):
    """What a browser sends for a form that a web page posts."""
    return (f"{start}\r\nHost: attacker.example:5060\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}"
            "\r\n\r\n").encode() + body


def sip_of(host, port, method="REGISTER", transport="UDP"):
    """SIP that a page could put into a body: it names a port of host."""
    where = f"{host}:{port}"
    body = sip.sdp(host, port) if method == "INVITE" else b""
    return sip.message(f"{method} sip:attacker.example SIP/2.0", [
        f"Via: SIP/2.0/{transport} {where};branch={sip.unique('z9hG4bKx')}",
        "Max-Forwards: 70", f"From: <sip:x@attacker.example>;tag={port}",
        "To: <sip:x@attacker.example>",
        f"Call-ID: {sip.unique('slip')}", f"CSeq: 1 {method}",
        f"Contact: <sip:x@{where}>",
        *(["Content-Type: application/sdp"] if body else [])], body)


# --- what it came to ---------------------------------------------------------

def entries_of(net, host, port=None):
    """conntrack's lines that have this inside host (at this port)."""
    number = r"\d+" if port is None else str(port)
    name = re.escape(host)
    pattern = re.compile(
        rf"src={name} dst=\S+ (?:sport={number}) |"
        rf"dst={name} sport=\d+ dport={number} ")
    return [line for line in net.conntrack.text().splitlines()
            if pattern.search(line + " ")]


def is_shut(net, *ports, host=ALICE):
    """Nothing in the kernel leads to these ports of an inside host."""
    for port in ports:
        found = entries_of(net, host, port)
        assert not found, f"{host}:{port} is open: {found}"


def forger(dialog, agent):
    """The same dialog with all its secrets, in the hands of somebody else."""
    return Dialog(agent, dialog.local, dialog.remote, dialog.call_id,
                  dialog.target, dialog.cseq)
