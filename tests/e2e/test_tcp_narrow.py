# SPDX-License-Identifier: GPL-2.0-or-later
"""Paths that are narrower than both ends believe: RFC 1191, RFC 4821.

A router beside the gateway has a way of MTU 1200; the phone, the gateway and
the provider have 1500. It says so by ICMP, or it does not. What it says quotes
the numbers of the gateway's segments, so an end may not believe it. And what
the gateway has taken from one end is the gateway's own to repeat.
"""

import pytest

from lib import sip
from lib.daemon import FAST
from lib.gateway import PUBLIC
from lib.tcp import Chatter, Flow, TcpLine, padded, pump
from lib.tcpnet import GATEWAYS, LONG, SHORT, RoughNet, opened

MTU = 1200
SIZES = 450, 1000, 1160, 1200, 1390, 3000, 20000
# Where ICMP comes, a segment is lost until it is believed, or repeated without
# DF: a repeat or two for each message, the first of them after 200 to 500 ms
LIMIT_S = 5
# Where it does not, three repeats after 0.5, 1 and 2 s show the gateway that
# the way is narrow, and all of that a second time that it was no chance
HOLE_S = 15
pytestmark = pytest.mark.config(**FAST)
where = pytest.mark.parametrize("where", ["lanr", "wanr"])
hosts = pytest.mark.parametrize("host", [SHORT, LONG],
                                ids=["longer", "shorter"])


@pytest.fixture
def net(request):
    yield from opened(RoughNet, request)


def narrow(net, where):
    """What does not fit any more is dropped, with ICMP, or fragmented."""
    if where == "wanr":
        net.wanr.ip(f"route replace 203.0.113.0/24 dev far mtu {MTU}",
                    f"route replace {PUBLIC}/32 dev near mtu {MTU}")
        return
    net.lanr.ip(f"route replace default via 192.168.1.1 dev near mtu {MTU}",
                *(f"route replace {n} dev far mtu {MTU}"
                  for n in GATEWAYS.values()))


def hole(net, where, way=None):
    """What does not fit disappears, and nobody says so."""
    router = getattr(net, where)
    match = ["-i", getattr(router, way)] if way else []
    router.run(["iptables", "-A", "FORWARD", *match, "-m", "length",
                "--length", f"{MTU + 1}:65535", "-j", "DROP"])


def tiny(agent):
    """As short as a message can be: 200 bytes."""
    return sip.message("OPTIONS sip:b@e SIP/2.0", [
        f"v: {agent.via('')}", "f: <sip:a@e>;tag=1", "t: <sip:b@e>",
        f"i: {sip.unique('c')}", "CSeq: 1 OPTIONS", f"m: {agent.contact}"])


def message(line, out, size):
    if out:
        return padded(line.phone, size)
    return padded(line.server, size, "sip:alice@%s:%d" % line.contact)


def flow(line, out, data):
    if out:
        return Flow(line.inside, line.outside, data, line.reference.out(data))
    return Flow(line.outside, line.inside, data, line.reference.into(data))


def each_size(line, ways, limit_s, sizes=SIZES):
    """Five messages of each size, each way by itself, then both together."""
    for size in sizes:
        for out in ways:
            data = tiny(line.phone if out else line.server)
            data += message(line, out, size) * 5
            pump([flow(line, out, data)], limit_s)
    pump([flow(line, out, b"".join(message(line, out, s) for s in sizes))
          for out in ways], limit_s)


def grow(line):
    """Let the numbers differ by more than is ever under way."""
    chatter = Chatter(line)
    out, into = chatter.out(1000), chatter.into(1000)
    pump([flow(line, True, out), flow(line, False, into)], 10)


@where
@hosts
@pytest.mark.parametrize("far", [False, True], ids=["near", "far"])
def test_a_narrow_path(net, daemon, own, where, host, far):
    """far: by so much that what ICMP quotes is nothing an end has sent."""
    line = own(TcpLine(net, host)).learn()
    if far:
        grow(line)
    narrow(net, where)
    each_size(line, (True, False), LIMIT_S)
    assert daemon.stats()["tcp_resets"] == 0


@where
@hosts
@pytest.mark.parametrize("out", [True, False], ids=["out", "in"])
def test_in_turn_over_a_narrow_path(net, daemon, own, where, host, out):
    """Each waits for the one before. One that became shorter keeps its DF, and
    its sender does not believe what ICMP quotes: that only repeats arrive must
    not look as if somebody had forbidden the connection."""
    line = own(TcpLine(net, host)).learn()
    grow(line)
    narrow(net, where)
    for _ in range(40):
        pump([flow(line, out, message(line, out, 1350))], LIMIT_S)
    assert daemon.stats()["tcp_resets"] == 0


@hosts
@pytest.mark.parametrize("where, out", [("wanr", True), ("lanr", False)],
                         ids=["wan-out", "lan-in"])
def test_a_black_hole(net, daemon, own, where, host, out):
    """Behind the gateway, which finds out. Before it the sender has to, and
    by default does not (tcp_mtu_probing): what it sends there is short."""
    line = own(TcpLine(net, host)).learn()
    hole(net, where)
    each_size(line, [out], HOLE_S)
    for size in (450, 1000):
        for _ in range(5):
            pump([flow(line, not out, message(line, not out, size))], LIMIT_S)
    each_size(line, [out], LIMIT_S)
    assert daemon.stats()["tcp_resets"] == 0


@where
def test_a_black_hole_that_both_ends_look_for(net, daemon, own, where):
    """With tcp_mtu_probing the sender before it finds out after a few repeats,
    in 3 s as seen; the gateway does not disturb that."""
    for namespace in (net.phone, net.prov):
        namespace.sysctl(tcp_mtu_probing=1)
    line = own(TcpLine(net)).learn()
    hole(net, where)
    each_size(line, (True, False), HOLE_S)


@where
def test_without_the_daemon(net, own, where):
    """What it is compared with: ICMP is believed at once."""
    line = own(TcpLine(net))
    narrow(net, where)
    data = line.phone.register() + b"x" * 20000
    for flows in ([Flow(line.inside, line.outside, data, data)],
                  [Flow(line.outside, line.inside, data, data)]):
        assert pump(flows, 1) < 0.5
    assert line.inside.info().mss < MTU and line.outside.info().mss < MTU


@where
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_black_hole_without_the_daemon(net, own, where, way):
    """Nothing that is long passes, and the end that sends it never learns."""
    line = own(TcpLine(net))
    hole(net, where, way)
    ends = (line.inside, line.outside)
    source, target = ends if way == "up" else ends[::-1]
    data = bytes(3000)
    pump([Flow(source, target, data[:1000], data[:1000])], 1)
    with pytest.raises(AssertionError, match="not done"):
        pump([Flow(source, target, data, data)], 2)
