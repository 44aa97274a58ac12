# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that is none of ours, and media that is left whole.

design.md: "Only flows whose route leaves by a WAN interface count"; failure
modes 10, 29, 42; issue 3, points 2 and 5.
"""

import pytest

from lib import sip
from lib.agents import Agent, Line, media_flows
from lib.call import announced, call_out
from lib.gateway import ALICE, MEDIA, PROXY, PUBLIC
from lib.sip import sdp
from lib.topologies import DAVE, OFFICE, TwoLans, WithVpn, opened


def messages(agent, peer):
    """Requests with everything in them that we change elsewhere."""
    host = f"{agent.host}:{agent.port}"
    return [agent.register(),
            agent.request("OPTIONS", f"sip:{peer.user}@{peer.host}"),
            agent.request("INVITE", f"sip:{peer.user}@{peer.host}",
                          headers=[f"Record-Route: <sip:{host};lr>",
                                   f"Refer-To: <sip:x@{host}>"],
                          body=sdp(agent.host, 4000))]


def untouched(one, other):
    """Requests and answers, both ways: same bytes, same source."""
    for sender, receiver in ((one, other), (other, one)):
        for request in messages(sender, receiver):
            sender.send(request, receiver.address)
            got, source = receiver.recv()
            sip.same_bytes(request, got)
            assert source == sender.address
            answer = receiver.respond(got, 200, source=source, tag="t",
                                      body=sdp(receiver.host, 6000))
            receiver.send(answer, source)
            got, source = sender.recv()
            sip.same_bytes(answer, got)
            assert source == receiver.address


def still_works(phone, server):
    Line(phone, server).register()


class TestVpn:
    """vpn0 is neither in wan_interfaces nor in lan_interfaces."""

    @pytest.fixture
    def net(self, request):
        yield from opened(WithVpn, request)

    def test_a_phone_and_an_office_by_vpn(self, daemon, net, own, phone):
        pbx = own(Agent(net.office, OFFICE, 5060, user="pbx"))
        alice = phone()
        untouched(alice, pbx)
        assert daemon.status()["flows"] == 0
        assert daemon.status()["media_mappings"] == 0

    def test_beside_a_call_to_the_provider(self, daemon, net, own, phone,
                                           server):
        pbx = own(Agent(net.office, OFFICE, 5060, user="pbx"))
        alice = phone()
        line = Line(alice, server())
        line.register()
        untouched(alice, pbx)
        line.register()

    def test_the_phones_public_address_from_the_office(
            self, daemon, net, own, phone, server):
        """It is not from the WAN, and no hairpin of an inside host."""
        pbx = own(Agent(net.office, OFFICE, 5060, user="pbx"))
        alice = phone()
        line = Line(alice, server())
        line.register()
        net.gw.run(["iptables", "-A", "INPUT", "-i", "vpn0", "-j", "ACCEPT"])
        pbx.send(pbx.request("INVITE", "sip:alice@%s:%d"
                             % line.public[5060]), line.public[5060])
        alice.nothing()


class TestTwoLans:
    @pytest.fixture
    def net(self, request):
        yield from opened(TwoLans, request)

    @pytest.mark.config(gateway__lan_interfaces="lan0, lan1")
    def test_from_lan_to_lan(self, daemon, net, own, phone, server):
        dave = own(Agent(net.phone2, DAVE, 5060, user="dave"))
        alice = phone()
        untouched(alice, dave)
        assert daemon.status()["flows"] == 0
        proxy = server()
        for agent in (alice, dave):
            still_works(agent, proxy)
        untouched(alice, dave)

    @pytest.mark.config(gateway__lan_interfaces="lan0")
    def test_a_network_that_was_not_configured(self, daemon, net, own,
                                               phone, server):
        """lan1 is none of ours: NAT works on it, we do not."""
        dave = own(Agent(net.phone2, DAVE, 5090, user="dave"))
        proxy = server()
        register = dave.register()
        dave.send(register, proxy.address)
        assert proxy.recv()[0] == register
        alice = phone()
        still_works(alice, proxy)


# --- media that is not RTP over UDP ---

NOT_UDP = {
    "msrp": ("m=message 7654 TCP/MSRP *", "a=accept-types:text/plain",
             f"a=path:msrp://{ALICE}:7654/jshA7we;tcp"),
    "msrps": ("m=message 7654 TCP/TLS/MSRP *", "a=accept-types:*",
              f"a=path:msrps://{ALICE}:7654/jshA7we;tcp",
              "a=setup:active"),
    "bfcp": ("m=application 50000 TCP/BFCP *", "a=setup:passive",
             "a=connection:new", "a=floorctrl:s-only", "a=confid:4321",
             "a=userid:1234", "a=floorid:1 mstrm:10"),
    "bfcp-tls": ("m=application 50000 TCP/TLS/BFCP *", "a=setup:passive"),
}


def without_session_c(host, port, *lines):
    """Audio with its own c=, then a section with its own c=, left whole."""
    audio = sdp(host, (port, f"c=IN IP4 {host}"), session_c=False)
    return audio + "".join(
        f"{line}\r\n" for line in (lines[0], f"c=IN IP4 {host}",
                                   *lines[1:])).encode()


@pytest.mark.parametrize("kind", NOT_UDP)
def test_a_stream_over_tcp_is_left_whole_and_counted(
        daemon, net, line, media_inside, media_outside, kind):
    line.register()
    mine, theirs = media_inside(), media_outside(MEDIA)
    before = daemon.stats()["media_not_handled"]
    offer = without_session_c(ALICE, 4000, *NOT_UDP[kind])
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", body=offer)
    line.phone.send(invite, line.server.address)
    seen, source = line.server.recv()
    told = announced(sip.Message(seen))
    public = "%s:%d" % source
    sip.only_addresses_changed(invite, seen, {
        "Via": (f"{ALICE}:5060", public), "Contact": (f"{ALICE}:5060", public),
        "sdp:o=": (ALICE, PUBLIC), "sdp:c=[0]": (ALICE, PUBLIC),
        "sdp:m=audio": (" 4000 ", f" {told[1]} ")})
    section = b"m=" + offer.split(b"\r\nm=")[2]
    assert seen.endswith(section)
    assert daemon.stats()["media_not_handled"] > before
    answer = line.server.respond(
        seen, 200, source=source, tag="t",
        body=without_session_c(MEDIA, 8000, *NOT_UDP[kind]))
    line.into(answer)
    media_flows(mine, theirs, told, first="outside")
    assert "7654" not in net.conntrack.text()
    assert "50000" not in net.conntrack.text()


def test_only_such_a_stream(daemon, line):
    """40: no stream that is ours, so o= and c= are none of ours either."""
    line.register()
    body = without_session_c(ALICE, 0, *NOT_UDP["msrp"])
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", body=body)
    public = "%s:%d" % line.public[5060]
    seen = line.out(invite, {"Via": (f"{ALICE}:5060", public),
                             "Contact": (f"{ALICE}:5060", public)})
    assert seen.body == body
    assert daemon.status()["media_mappings"] == 0


@pytest.mark.parametrize("header", [
    f"Service-Route: <sip:{ALICE}:5060;lr>",
    f"P-Associated-URI: <sip:alice@{ALICE}:5060>",
    f"Warning: 399 {ALICE}:5060 \"see 192.168.1.9\"",
    f"Call-Info: <http://{ALICE}:5060/x>;purpose=icon",
    f"Error-Info: <sip:{ALICE}:5060>",
    f"Replaces: 1@{ALICE};to-tag=a;from-tag=b",
    f"Identity-Info: <https://{ALICE}/cert>",
    f"In-Reply-To: 70710@{ALICE}",
    f"Join: 1@{ALICE};to-tag=a;from-tag=b",
    f"Target-Dialog: 1@{ALICE};local-tag=a;remote-tag=b"])
def test_headers_that_are_never_touched(daemon, line, header):
    """29, 30: out, and back in the answer."""
    line.register()
    public = "%s:%d" % line.public[5060]
    seen = line.out(line.phone.request(
        "OPTIONS", "sip:x@203.0.113.10", headers=[header]), {
            "Via": (f"{ALICE}:5060", public),
            "Contact": (f"{ALICE}:5060", public)})
    name = header.split(":")[0]
    assert f"{name}: {seen.get(name)}" == header
    line.into(line.server.respond(
        seen.bytes, 200, source=line.public[5060], tag="t",
        headers=[header.replace(ALICE, PUBLIC)]))


@pytest.mark.parametrize("port", [5061, 443, 8060])
def test_other_destination_ports(daemon, phone, listen_outside, port):
    """10, 62: TLS's port, and providers that dodge."""
    alice, there = phone(), listen_outside(PROXY, port)
    register = alice.register()
    alice.send(register, there.address)
    assert there.recv()[0] == register


def test_public_description_with_host_candidates(daemon, line):
    """35, RFC 8839 8.2.2: m= and c= are a server-reflexive candidate."""
    line.register()
    offer = sdp(PUBLIC, (
        40000, "a=rtcp:40001 IN IP4 203.0.113.4",
        "a=candidate:1 1 UDP 2130706431 192.168.1.9 4000 typ host",
        "a=candidate:1 2 UDP 2130706430 192.168.1.9 4001 typ host",
        "a=candidate:2 1 UDP 1694498815 203.0.113.4 40000 typ srflx "
        "raddr 192.168.1.9 rport 4000",
        "a=candidate:2 2 UDP 1694498814 203.0.113.4 40001 typ srflx "
        "raddr 192.168.1.9 rport 4001"))
    call = call_out(line, offer, sdp(MEDIA, 8000))
    assert call.invite_seen.body == offer
    assert daemon.status()["media_mappings"] == 0
