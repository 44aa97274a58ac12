# SPDX-License-Identifier: GPL-2.0-or-later
"""Large datagrams, DF, and checksums as they are on the wire."""

import pytest

from lib.gateway import ALICE, PROXY, PUBLIC
from lib.sip import sdp

MTU = 1500
FULL = MTU - 28  # payload that just fits


def invite_of(agent, uri, size, body=None):
    """An INVITE of exactly size bytes."""
    invite = agent.request("INVITE", uri, to="<sip:callee@example.com>",
                           headers=["X-Pad: "],
                           body=sdp(ALICE, 4000) if body is None else body)
    return invite.replace(b"X-Pad: ", b"X-Pad: " + b"p" * (size - len(invite)))


@pytest.mark.parametrize("size", [1473, 3000, 20000])
def test_large_invite_out(daemon, net, line, size):
    line.register()
    invite = invite_of(line.phone, "sip:x@203.0.113.10", size)
    net.wan.clear()
    line.out(invite)
    left = net.wan.datagrams(src=PUBLIC, sent=True)[-1]
    assert len(left.packets) > 1
    assert left.checksum


@pytest.mark.parametrize("size", [1473, 3000, 20000])
def test_large_invite_in(daemon, net, line, size):
    line.register()
    uri = "sip:alice@%s:%d" % line.public[5060]
    invite = invite_of(line.server, uri, size, sdp(PROXY, 8000))
    line.into(invite)
    left = net.lan.datagrams(src=PROXY, sent=True)[-1]
    assert len(left.packets) > 1


def test_large_first_packet_of_a_flow(daemon, net, line):
    line.out(invite_of(line.phone, "sip:x@203.0.113.10", 3000))


@pytest.mark.parametrize("df", [True, False])
def test_a_message_that_outgrows_the_mtu(daemon, net, line, df):
    """m= and Content-Length grow, so it must leave in fragments, without DF
    and with an identification that tells them apart."""
    line.register()
    line.phone.dont_fragment(df)
    for size in (FULL, FULL - 1):
        invite = invite_of(line.phone, "sip:x@203.0.113.10", size)
        net.lan.clear()
        net.wan.clear()
        seen = line.out(invite)
        came, = net.lan.datagrams(src=ALICE, sent=False)
        assert [p.df for p in came.packets] == [df]
        left, = net.wan.datagrams(src=PUBLIC, sent=True)
        assert left.payload == seen.bytes
        if len(seen.bytes) > FULL:
            assert len(left.packets) == 2
            assert not any(p.df for p in left.packets)
            assert len({p.id for p in left.packets} - {0}) == 1
    assert len(line.out(invite_of(line.phone, "sip:x@203.0.113.10",
                                  FULL)).bytes) > FULL


def test_df_of_an_untouched_message_stays(daemon, net, line):
    line.phone.dont_fragment()
    line.register()
    line.phone.send(b"\r\n\r\n", line.server.address)
    line.server.recv()
    left = net.wan.datagrams(src=PUBLIC, sent=True)[-1]
    assert left.payload == b"\r\n\r\n"
    assert left.packets[0].df


def test_udp_checksum_zero_stays_zero(daemon, net, line):
    line.phone.no_checksum()
    line.server.no_checksum()
    line.register()
    line.out(line.phone.request("INVITE", "sip:x@203.0.113.10",
                                body=sdp(ALICE, 4000)))
    assert all(d.checksum == 0 for d in net.wan.datagrams(sent=True))
    assert all(d.checksum == 0 for d in net.lan.datagrams(sent=True))
    assert len(net.wan.datagrams(sent=True)) == 2


def test_other_ip_fields_stay(daemon, net, line):
    """TTL goes down by one hop as for any packet, TOS stays."""
    line.phone.socket.setsockopt(0, 1, 0x68)  # IP_TOS, AF31
    line.phone.socket.setsockopt(0, 2, 44)  # IP_TTL
    line.register()
    left = net.wan.datagrams(src=PUBLIC, sent=True)[0].packets[0]
    assert left.ttl == 43
    assert left.raw[1] == 0x68
