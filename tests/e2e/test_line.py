# SPDX-License-Identifier: GPL-2.0-or-later
"""The line changes: another address, or it goes and comes.

Another uplink: test_uplinks.py; connections: test_tcp_lifecycle.py.
"""

import signal
import time

import pytest

from lib.agents import media_flows
from lib.call import Call, announced, call_out
from lib.gateway import ALICE, MEDIA, PROXY, PUBLIC
from lib.line import NEW, gone, readdress
from lib.sip import sdp
from lib.supervisor import Supervised

pytestmark = pytest.mark.config(log__level="info")


def moved(line):
    """From now on the phone is seen elsewhere."""
    line.public.clear()
    return line


def test_another_address(daemon, net, line):
    line.register()
    readdress(net)
    gone(net)
    assert daemon.ctl("registrations") == []
    moved(line).register()
    assert line.public[5060] == (NEW, 5060)
    assert daemon.ctl("registrations")[0]["contact_public"].endswith(
        f"{NEW}:5060")
    Call(line).invite_in()
    assert "addresses or routes changed" in daemon.log()


def test_any_message_of_the_phone_leaves_rightly(daemon, net, line):
    """Not only a REGISTER."""
    line.register()
    readdress(net)
    gone(net)
    call = Call(moved(line))
    call.invite_out()
    assert line.public[5060][0] == NEW


def test_a_call_goes_on_after_an_offer(daemon, net, line, media_inside,
                                       media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    media_flows(mine, theirs, announced(call.invite_seen))
    readdress(net)
    gone(net)
    assert daemon.status()["calls"] == 1
    moved(line)
    seen, _ = call.reinvite_from_phone(sdp(ALICE, 4000, version=2),
                                       sdp(MEDIA, 8000))
    assert announced(seen)[0] == NEW
    media_flows(mine, theirs, announced(seen))
    # Nothing of the old one comes back by and by
    time.sleep(3)
    gone(net)
    call.from_phone("BYE")
    assert daemon.status()["media_mappings"] == 0


def test_it_comes_back_as_it_was(daemon, net, line, media_inside,
                                 media_outside):
    """A cable is pulled and put back: nothing is forgotten."""
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    net.gw.ip("link set wan0 down")
    time.sleep(2)
    net.gw.ip("link set wan0 up", f"route replace default via {PROXY}")
    time.sleep(1.5)
    # The kernel itself drops what MASQUERADE made, but that is none of these
    assert len(daemon.ctl("registrations")) == 1
    media_flows(mine, theirs, told)
    Call(line).invite_in()
    call.from_phone("BYE")


def test_the_cable_of_the_lan(daemon, net, line):
    """What the phone says first when it is back is mapped: who is inside does
    not depend on routes that go with the link."""
    line.register()
    net.gw.ip("link set lan0 down")
    time.sleep(1.5)
    daemon.process.send_signal(signal.SIGSTOP)
    net.gw.ip("link set lan0 up")
    register = line.phone.register()
    line.phone.send(register, line.server.address)
    line.server.nothing()
    daemon.process.send_signal(signal.SIGCONT)
    line.arrived(register)
    Call(line).invite_in()


def test_it_is_away_for_a_while(daemon, net, line):
    """Between the two there is no address at all."""
    line.register()
    net.gw.ip(f"addr del {PUBLIC}/24 dev wan0")
    time.sleep(1.5)
    assert len(daemon.ctl("registrations")) == 1
    net.gw.ip(f"addr add {NEW}/24 dev wan0",
              f"route replace default via {PROXY}")
    gone(net)
    moved(line).register()
    assert line.public[5060] == (NEW, 5060)


def test_it_changes_while_the_daemon_is_away(net, build, own, line):
    daemon = own(Supervised(net.gw, build))
    daemon.apply_rules()
    daemon.start()
    line.register()
    daemon.hand_over()
    readdress(net)
    assert PUBLIC in net.conntrack.text()
    daemon.start()
    gone(net)
    moved(line).register()
    assert line.public[5060] == (NEW, 5060)
    assert len(daemon.ctl("registrations")) == 1


def test_other_addresses_come_and_go(daemon, net, line):
    """A VPN, a second address: what does not matter is left alone."""
    line.register()
    net.gw.ip("addr add 203.0.113.77/24 dev wan0",
              "addr add 10.55.0.1/24 dev lan0",
              "route add 198.18.0.0/15 via 203.0.113.10")
    time.sleep(1.5)
    net.gw.ip("addr del 203.0.113.77/24 dev wan0",
              "route del 198.18.0.0/15")
    time.sleep(1.5)
    assert len(daemon.ctl("registrations")) == 1
    Call(line).invite_in()
    assert "addresses or routes changed" not in daemon.log()
