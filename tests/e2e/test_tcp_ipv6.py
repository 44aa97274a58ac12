# SPDX-License-Identifier: GPL-2.0-or-later
"""SIP over TCP and IPv6: translated with NAT66, left alone without."""

import socket

import pytest

from lib import gateway6, sip
from lib.gateway6 import ALICE6, GLOBAL6, PROXY6, PUBLIC6, Net6, literal
from lib.tcp import Listener, connect, promptly
from lib.tcpref import same_stream

NARROW_S = 10


@pytest.fixture(scope="module", autouse=True)
def _able():
    reason = gateway6.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def net():
    network = Net6()
    yield network
    try:
        network.lan.check()
        network.wan.check()
    finally:
        network.close()


@pytest.fixture
def daemon(daemon):
    """The daemon, with ip6tables rules too."""
    daemon.namespace.run(["ip6tables-restore", "--noflush"],
                         input=daemon.rules("--print-rules=ip6"))
    return daemon


@pytest.fixture
def ends(net, daemon, own, request):
    """(phone's end, provider's end)"""
    ear = own(Listener(net.prov, PROXY6, family=socket.AF_INET6))
    inside = own(connect(net.phone, ear.address, request.param,
                         family=socket.AF_INET6))
    return inside, own(ear.accept())


def register(host):
    branch = sip.unique("z9hG4bK")
    return (f"REGISTER sip:example.com SIP/2.0\r\n"
            f"Via: SIP/2.0/TCP {host};rport;branch={branch}\r\n"
            f"From: <sip:alice@example.com>;tag=1\r\n"
            f"To: <sip:alice@example.com>\r\n"
            f"Call-ID: {branch}@[{ALICE6}]\r\nCSeq: 1 REGISTER\r\n"
            f"Contact: <sip:alice@{host};transport=tcp>\r\n"
            f"Content-Length: 0\r\n\r\n").encode()


def cut(source, target, data, expected, at):
    source.send(data[:at])
    source.send(data[at:])
    same_stream(expected, target.read(len(expected)), f"cut at {at}")


@pytest.mark.parametrize("ends", [ALICE6], indirect=True)
def test_translated(ends):
    inside, outside = ends
    assert outside.peer[0] == PUBLIC6
    own, public = literal(*inside.local), literal(*outside.peer)
    data = register(own)
    expected = data.replace(own.encode(), public.encode())
    for at in range(1, len(data), 3):
        promptly(cut, inside, outside, data, expected, at)
    answer = (expected.replace(b"REGISTER sip:example.com SIP/2.0",
                               b"SIP/2.0 200 OK")
              .replace(b";rport", b";received=%s;rport=%d" % (
                  PUBLIC6.encode(), outside.peer[1])))
    restored = (answer.replace(public.encode(), own.encode())
                .replace(b"received=%s;rport=%d" % (
                    PUBLIC6.encode(), outside.peer[1]),
                    b"received=%s;rport=%d" % (
                        ALICE6.encode(), inside.local[1])))
    for at in range(1, len(answer), 3):
        promptly(cut, outside, inside, answer, restored, at)


@pytest.mark.parametrize("ends", [GLOBAL6], indirect=True)
def test_left_alone_without_nat(ends):
    inside, outside = ends
    assert outside.peer == inside.local
    data = register(literal(*inside.local))
    for at in range(1, len(data), 30):
        promptly(cut, inside, outside, data, data, at)
        promptly(cut, outside, inside, data, data, at)


def sized(message, size):
    """The message with a header that makes it so long."""
    rest = size - len(message) - len(b"X-Padding: \r\n")
    assert rest >= 0, f"{size} bytes are too few"
    return message.replace(b"Content-Length", b"X-Padding: %s\r\n"
                           b"Content-Length" % (b"p" * rest))


@pytest.mark.parametrize("ends", [ALICE6], indirect=True)
@pytest.mark.parametrize("told", [True, False], ids=["icmp", "hole"])
def test_a_narrow_path(net, ends, daemon, told):
    """No router cuts packets in two here: the gateway makes shorter ones.

    It hears of its own way from the kernel, of what lies behind only by
    silence: three repeats after 0.5, 1 and 2 s at most, and all of that again.
    """
    inside, outside = ends
    own, public = (e.encode() for e in (literal(*inside.local),
                                        literal(*outside.peer)))
    if told:
        net.gw.ip(f"route replace default via {PROXY6} dev wan0 mtu 1280",
                  "route replace fd00:1::/64 dev lan0 proto kernel metric 256 "
                  "mtu 1280")
    else:
        for namespace in (net.phone, net.prov):
            namespace.run(["ip6tables", "-t", "raw", "-A", "PREROUTING", "-m",
                           "length", "--length", "1281:65535", "-j", "DROP"])
    for size in (500, 1240, 1300, 1390, 3000, 20000):
        for _ in range(3):
            data = sized(register(own.decode()), size)
            expected = data.replace(own, public)
            inside.send(data)
            same_stream(expected, outside.read(len(expected), NARROW_S))
            call = sized(b"OPTIONS sip:alice@%s SIP/2.0\r\n"
                         b"Via: SIP/2.0/TCP p;branch=z9hG4bKo\r\n"
                         b"From: <sip:p>;tag=1\r\nTo: <sip:alice@p>\r\n"
                         b"Call-ID: c\r\nCSeq: 1 OPTIONS\r\n"
                         b"Content-Length: 0\r\n\r\n" % public, size)
            expected = call.replace(public, own)
            outside.send(call)
            same_stream(expected, inside.read(len(expected), NARROW_S))
    assert daemon.stats()["tcp_resets"] == 0
