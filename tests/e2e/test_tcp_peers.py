# SPDX-License-Identifier: GPL-2.0-or-later
"""SIP over TCP by programs that nobody here wrote: SIPp, baresip, kamailio."""

import shutil
import time

import pytest

from lib import tcpwire
from lib.gateway import ALICE, PROXY, PROXY2, PUBLIC
from lib.sipp import Sipp
from lib.tcp import Listener, TcpLine
from lib.tcpnet import LONG, SHORT, TcpNet, opened
from peers import wire
from peers.stage import OTHER_HZ, PHONE_HZ, Call, Stage

MISSING = [p for p in ("baresip", "kamailio") if not shutil.which(p)]
with_baresip = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {' '.join(MISSING)} "
    "(tests/deps demo)")

CALLS = 120
RATE = 40  # a second
TALK_S = 2
ENOUGH_S = 1.5
ENOUGH_RTP = 75  # of 50 a second


@pytest.fixture
def net(request):
    yield from opened(TcpNet, request)


@pytest.fixture
def sipp(own):
    """sipp(where, host, scenario, ...): a process that ends with the test."""
    def start(*args, mode="t1", **kwargs):
        return own(Sipp(*args, "-t", mode, "-max_socket", 1000, **kwargs))

    return start


def listening(namespace, host):
    """Wait until something listens at host:5060."""
    end = time.monotonic() + 5
    text = "%s:13C4" % bytes(map(int, host.split(".")[::-1])).hex().upper()
    while text not in namespace.read("tcp"):
        assert time.monotonic() < end, f"nothing listens at {host}"
        time.sleep(0.02)


def check_audio(net):
    """About two seconds of 20 ms packets each way, from one public port."""
    out = [d for d in net.wan.datagrams(src=PUBLIC, dst=PROXY, sent=True)
           if d.payload[:1] == b"\x80"]
    # SIPp's player may be a packet late, when its BYE has gone: no call's, so
    # it leaves as NAT without us would have it
    if out and out[-1].sport != out[0].sport:
        out.pop()
    heard = [d for d in net.lan.datagrams(src=PROXY, sent=True)
             if d.payload[:1] == b"\x80"]
    assert len(out) > 50 and len(heard) > 50
    assert len({d.sport for d in out}) == 1
    assert 16384 <= out[0].sport <= 32767


def test_sipp_registers(daemon, net, sipp):
    """SIPp compares what it gets with what it wrote."""
    registrar = sipp(net.prov, PROXY, "registrar")
    listening(net.prov, PROXY)
    phone = sipp(net.phone, ALICE, "register", "-s", "alice",
                 to=f"{PROXY}:5060")
    phone.wait()
    registrar.wait()
    before, after = wire.crossed(net.lan, net.wan, "REGISTER")
    assert before.host_port("Contact") == (ALICE, 5060)
    assert after.host_port("Contact") == after.src
    assert wire.only_addresses_differ(before, after)


@pytest.mark.parametrize("mode", ["t1", "tn"])
def test_sipp_calls_with_audio(daemon, net, sipp, mode):
    sipp(net.prov, PROXY, "uas", "-rtp_echo", "-mp", 7000)
    listening(net.prov, PROXY)
    sipp(net.phone, SHORT, "caller", "-mp", 6000, mode=mode,
         to=f"{PROXY}:5060").wait()
    check_audio(net)


@pytest.fixture
def reachable(net, daemon, own):
    """The public contact of a phone (SHORT) that listens at 5060."""
    return own(TcpLine(net, listener=own(
        Listener(net.prov, PROXY2)))).learn().contact


def test_sipp_is_called_with_audio(net, own, sipp, daemon):
    line = own(TcpLine(net)).learn()
    line.listener.close()
    sipp(net.phone, SHORT, "uas", "-rtp_echo", "-mp", 6000)
    listening(net.phone, SHORT)
    sipp(net.prov, PROXY, "caller", "-mp", 7000, port=5070,
         to="%s:%d" % line.contact).wait()
    check_audio(net)


@pytest.mark.config(log__level="info")
@pytest.mark.parametrize("mode", ["t1", "tn"])
def test_no_call_is_lost_under_load(daemon, net, sipp, reachable, mode):
    """Hundreds of calls, to the phone and from another one, at a time."""
    queue = daemon.queued()
    sipp(net.prov, PROXY, "uas", calls=CALLS)
    sipp(net.phone, SHORT, "uas", calls=CALLS)
    listening(net.prov, PROXY), listening(net.phone, SHORT)
    callers = [
        sipp(net.phone, LONG, "uac", "-r", RATE, "-d", 300, "-mp", 6000,
             mode=mode, to=f"{PROXY}:5060", calls=CALLS),
        sipp(net.prov, PROXY2, "uac", "-r", RATE, "-d", 300, "-mp", 7000,
             port=5070, mode=mode, to="%s:%d" % reachable, calls=CALLS)]
    for process in callers:
        row = process.wait(60)
        assert int(row["SuccessfulCall(C)"]) == CALLS, process.report()
        assert int(row["FailedCall(C)"]) == 0, process.report()
    assert daemon.queued() - queue >= 2 * 6 * CALLS
    dropped = daemon.status()["queues"][0]
    assert dropped["dropped"] == dropped["user_dropped"] == 0
    assert daemon.status()["media_mappings"] <= 2  # reachable's own
    assert tcpwire.repeated(net.wan, sent=True) < 10000


@pytest.fixture
def stage(net, daemon, own, tmp_path):
    """kamailio and two baresips, registered, all over TCP."""
    stage = own(Stage(net, tmp_path, transport="tcp"))
    assert stage.phone.register(), stage.phone.log()
    assert stage.other.register(), stage.other.log()
    return stage


@with_baresip
def test_baresip_registers(stage):
    before, after = wire.crossed(stage.net.lan, stage.net.wan, "REGISTER")
    assert before.host_port("Contact")[0] == ALICE
    assert after.host_port("Contact")[0] == PUBLIC
    assert wire.only_addresses_differ(before, after)
    answer, back = wire.crossed(stage.net.wan, stage.net.lan, "200",
                                src=PROXY)
    assert answer.uri("Contact") == after.uri("Contact")
    assert back.uri("Contact") == before.uri("Contact")
    assert wire.only_addresses_differ(answer, back)
    assert not [d for d in stage.net.wan.datagrams() if d.dport == 5060]


@with_baresip
@pytest.mark.parametrize("hangs_up", ["phone", "other"])
@pytest.mark.parametrize("caller", ["phone", "other"])
def test_baresip_calls_by_way_of_kamailio(stage, caller, hangs_up):
    callee = {"phone": "other", "other": "phone"}[caller]
    call = Call(stage, getattr(stage, caller), getattr(stage, callee))
    call.talk(TALK_S)
    assert call.established, call.reason
    for before, after in (call.invite(), call.phone_sdp()):
        assert wire.only_addresses_differ(before, after)
        assert wire.length_is_right(after)
    assert len(call.media_entries()) == 2, stage.net.conntrack.text()
    assert call.hang_up(getattr(stage, hangs_up)), "no BYE arrived"
    rtp = call.rtp()
    assert min(rtp.out_wan, rtp.in_lan) >= ENOUGH_RTP, rtp
    for phone, hz in ((stage.phone, OTHER_HZ), (stage.other, PHONE_HZ)):
        heard = call.heard(phone)
        assert heard.is_at(hz, ENOUGH_S), (heard, hz)
