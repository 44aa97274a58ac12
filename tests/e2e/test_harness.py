# SPDX-License-Identifier: GPL-2.0-or-later
"""The test bed itself, without the daemon: plain kernel NAT."""

import pytest

from lib import sip
from lib.gateway import ALICE, NAT, PROXY, PUBLIC, STRANGER


@pytest.mark.parametrize("nat", [pytest.param(k, marks=pytest.mark.nat(k))
                                 for k in NAT])
def test_nat_translates_and_answers_return(net, listen_inside,
                                           listen_outside, nat):
    phone, proxy = listen_inside(ALICE, 5060), listen_outside(PROXY, 5060)
    phone.send(b"hello", proxy.address)
    data, source = proxy.recv()
    assert data == b"hello"
    assert source[0] == PUBLIC
    assert nat == "random" or source[1] == 5060
    proxy.send(b"answer", source)
    assert phone.recv() == (b"answer", proxy.address)
    entry, = net.conntrack.udp(src=ALICE)
    assert (entry.orig.sport, entry.reply.dport) == (5060, source[1])
    assert entry.orig.packets == 1


def test_strangers_are_kept_out(listen_inside, listen_outside):
    phone, proxy = listen_inside(ALICE, 5060), listen_outside(PROXY, 5060)
    phone.send(b"hello", proxy.address)
    _, source = proxy.recv()
    listen_outside(STRANGER, 5060).send(b"let me in", source)
    phone.nothing()


def test_without_the_daemon_private_addresses_leak(phone, server):
    alice, proxy = phone(), server()
    register = alice.register()
    alice.send(register, proxy.address)
    seen, _ = proxy.recv()
    assert seen == register
    assert sip.Message(seen).via == (ALICE, 5060)


def test_sniffers_see_fragments_and_checksums(net, listen_inside,
                                              listen_outside):
    phone, proxy = listen_inside(ALICE, 5060), listen_outside(PROXY, 5060)
    phone.send(b"x" * 3000, proxy.address)
    assert len(proxy.recv()[0]) == 3000
    for sniffer in (net.lan, net.wan):
        whole, = sniffer.datagrams(dst=PROXY)
        assert len(whole.payload) == 3000
        assert len(whole.packets) == 3
        assert whole.checksum != 0


@pytest.mark.sysctl(nf_conntrack_udp_timeout=1)
def test_udp_timeout_is_adjustable(net, listen_inside, listen_outside):
    phone, proxy = listen_inside(ALICE, 5060), listen_outside(PROXY, 5060)
    phone.send(b"hello", proxy.address)
    proxy.recv()
    entry, = net.conntrack.udp(src=ALICE)
    assert entry.timeout <= 1


BEFORE = (b"INVITE sip:bob@example.com SIP/2.0\r\n"
          b"v: SIP/2.0/UDP 192.168.1.9:5060;branch=z9hG4bK1\r\n"
          b"Via: SIP/2.0/UDP 192.168.1.9:5060;branch=z9hG4bK0\r\n"
          b"l: 32\r\n\r\nc=IN IP4 192.168.1.9\r\nm=audio 1\r\n")


def test_comparison_accepts_the_named_edits_only():
    after = (BEFORE.replace(b"192.168.1.9:5060", b"203.0.113.4:5061", 1)
             .replace(b"IP4 192.168.1.9", b"IP4 203.0.113.4"))
    edits = {"Via": ("192.168.1.9:5060", "203.0.113.4:5061"),
             "sdp:c=": ("192.168.1.9", "203.0.113.4")}
    sip.only_addresses_changed(BEFORE, after, edits)
    for wrong in (BEFORE, after + b"\r\n", after.replace(b"l: ", b"L: ")):
        with pytest.raises(sip.Mismatch):
            sip.only_addresses_changed(BEFORE, wrong, edits)


def test_comparison_counts_the_body():
    edits = {"sdp:m=audio": ("1", "16384")}
    expected = BEFORE.replace(b"audio 1", b"audio 16384").replace(b"32", b"36")
    sip.only_addresses_changed(BEFORE, expected, edits)
