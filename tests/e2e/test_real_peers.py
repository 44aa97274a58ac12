# SPDX-License-Identifier: GPL-2.0-or-later
"""SIPp as phone and as provider, through the gateway."""

import pytest

from lib.gateway import ALICE, BOB, NAT, PROXY, PROXY2, PUBLIC
from lib.sipp import Sipp

CALLS = 500
RATE = 30  # per second: 90 messages a second of a phone, below its limit


@pytest.fixture
def sipp(net, own):
    """sipp(where, host, scenario, ...): a process that ends with the test."""
    return lambda *args, **kwargs: own(Sipp(*args, **kwargs))


@pytest.fixture
def register(net, sipp):
    """register(phone, proxy): the public port of a registered SIPp phone."""
    def run(host, proxy, user="alice"):
        registrar = sipp(net.prov, proxy, "registrar")
        phone = sipp(net.phone, host, "register", "-s", user,
                     to=f"{proxy}:5060")
        phone.wait()
        registrar.wait()
        return net.wan.datagrams(src=PUBLIC, dst=proxy, sent=True)[-1].sport

    return run


@pytest.mark.parametrize(
    "nat", [pytest.param(kind, marks=pytest.mark.nat(kind)) for kind in NAT])
def test_register_and_call_out_with_audio(daemon, net, sipp, register, nat):
    register(ALICE, PROXY)
    net.wan.clear()
    callee = sipp(net.prov, PROXY, "uas", "-rtp_echo", "-mp", 7000)
    caller = sipp(net.phone, ALICE, "caller", "-mp", 6000,
                  to=f"{PROXY}:5060")
    caller.wait()
    callee.wait()
    check_audio(net, PROXY)


def test_register_and_be_called_with_audio(daemon, net, sipp, register):
    port = register(ALICE, PROXY)
    net.wan.clear()
    callee = sipp(net.phone, ALICE, "uas", "-rtp_echo", "-mp", 6000)
    caller = sipp(net.prov, PROXY, "caller", "-mp", 7000,
                  to=f"{PUBLIC}:{port}")
    caller.wait()
    callee.wait()
    check_audio(net, PROXY)


def check_audio(net, peer):
    """About two seconds of 20 ms packets each way, from one public port."""
    out = [d for d in net.wan.datagrams(src=PUBLIC, dst=peer, sent=True)
           if d.payload[:1] == b"\x80"]
    heard = [d for d in net.lan.datagrams(src=peer, dst=ALICE, sent=True)
             if d.payload[:1] == b"\x80"]
    assert len(out) > 50 and len(heard) > 50
    assert len({d.sport for d in out}) == 1
    assert 16384 <= out[0].sport <= 32767


@pytest.mark.config(log__level="info")
def test_no_call_is_lost_under_load(daemon, net, sipp, register):
    port = register(BOB, PROXY2, "bob")
    queue = daemon.queued()
    pairs = [
        sipp(net.prov, PROXY, "uas", calls=CALLS),
        sipp(net.phone, BOB, "uas", calls=CALLS),
        sipp(net.phone, ALICE, "uac", "-r", RATE, "-d", 300, "-mp", 6000,
             to=f"{PROXY}:5060", calls=CALLS),
        sipp(net.prov, PROXY2, "uac", "-r", RATE, "-d", 300, "-mp", 7000,
             to=f"{PUBLIC}:{port}", calls=CALLS)]
    for process in reversed(pairs):
        row = process.wait(90)
        assert int(row["SuccessfulCall(C)"]) == CALLS, process.report()
        assert int(row["FailedCall(C)"]) == 0, process.report()
        assert int(row["Retransmissions(C)"]) == 0, process.report()
    assert daemon.queued() - queue >= 2 * 6 * CALLS
    dropped = daemon.status()["queues"][0]
    assert dropped["dropped"] == dropped["user_dropped"] == 0
    assert daemon.status()["media_mappings"] == 0
