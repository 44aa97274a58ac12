# SPDX-License-Identifier: GPL-2.0-or-later
"""The site table where it is hard: inside proxies, bodies, ICE, T.38.

design.md, Sites; RFC 3261 16.6, RFC 3327 (Path), RFC 8839, RFC 3605,
RFC 3362 (T.38 over udptl); failure modes 2, 25, 27, 35, 37, 38, 39, 43.
"""

import re
import time

import pytest

from lib import sip
from lib.agents import Endpoint, Line, flows, media_flows, rtp
from lib.call import Call, announced, call_in, call_out
from lib.gateway import ALICE, BOB, MEDIA, MEDIA2, PROXY, PUBLIC
from lib.sip import sdp


@pytest.fixture
def registered(daemon, line):
    line.register()
    return line


def public(line):
    return "%s:%d" % line.public[line.phone.port]


# --- a proxy inside, at bob's address; alice's phone behind it ---

@pytest.fixture
def edge(daemon, phone, server):
    """The inside proxy, and what stands for it outside."""
    line = Line(phone(BOB, user="edge"), server())
    line.out(line.phone.request("OPTIONS", "sip:x@203.0.113.10"))
    return line


def relayed(edge, method, headers=(), body=b"", expires=None):
    """A request of alice as the inside proxy forwards it."""
    lines = [f"Via: SIP/2.0/UDP {BOB}:5060;branch={sip.unique('z9hG4bKe')}",
             f"Via: SIP/2.0/UDP {ALICE}:5060;rport=5060;received={ALICE}"
             f";branch={sip.unique('z9hG4bKa')}", *headers,
             "Max-Forwards: 69", "From: <sip:alice@example.com>;tag=a",
             "To: <sip:x@example.com>",
             f"Call-ID: {sip.unique('edge')}@{ALICE}",
             f"CSeq: 1 {method}", f"Contact: <sip:alice@{ALICE}:5060>"]
    if expires is not None:
        lines.append(f"Expires: {expires}")
    return sip.message(f"{method} sip:x@203.0.113.10 SIP/2.0", lines, body)


def answered(edge, seen, restored, headers=(), code=200):
    """The server answers; restored: sites beside the topmost Via."""
    response = edge.server.respond(seen.bytes, code, tag="s",
                                   headers=headers)
    shown, inside = public(edge), f"{BOB}:5060"
    return edge.into(response, {
        "Via": (shown, inside),
        **{site: (shown, inside) for site in restored}})


def test_record_route_of_an_inside_proxy(edge):
    """Contact and lower Via are alice's, not the sender's: they stay."""
    shown, inside = public(edge), f"{BOB}:5060"
    invite = relayed(edge, "INVITE", [f"Record-Route: <sip:{inside};lr>"])
    seen = edge.out(invite, {"Via": (inside, shown),
                             "Record-Route": (inside, shown)})
    got = answered(edge, seen, ["Record-Route"])
    assert got.get("Record-Route") == f"<sip:{inside};lr>"
    # in the dialog: by way of the proxy, to alice's own Contact
    bye = edge.server.request("BYE", f"sip:alice@{ALICE}:5060",
                              to="<sip:alice@example.com>;tag=a",
                              headers=[f"Route: <sip:{shown};lr>"])
    edge.into(bye, {"Route": (shown, inside)})


def test_double_record_route_and_parameters(edge):
    """Two values in a line, two lines; what is another's stays."""
    shown, inside = public(edge), f"{BOB}:5060"
    invite = relayed(edge, "INVITE", [
        f"Record-Route: <sip:{inside};lr;r2=on;ftag=a>;p=\"{BOB}\", "
        f"<sip:{ALICE};lr>",
        f"RECORD-ROUTE:<sip:u@{inside};transport=udp;lr>"])
    seen = edge.out(invite, {
        "Via": (inside, shown),
        "Record-Route[0]": (f"sip:{inside};lr;r2", f"sip:{shown};lr;r2"),
        "Record-Route[1]": (inside, shown)})
    response = edge.server.respond(seen.bytes, 200, tag="s")
    edge.into(response, {
        "Via": (shown, inside),
        "Record-Route[0]": (f"sip:{shown};lr;r2", f"sip:{inside};lr;r2"),
        "Record-Route[1]": (shown, inside)})


def test_a_route_set_comes_back_as_routes(edge):
    """Several Route values: ours restored, others not."""
    shown, inside = public(edge), f"{BOB}:5060"
    edge.out(relayed(edge, "INVITE",
                     [f"Record-Route: <sip:{inside};lr;x=1>"]),
             {"Via": (inside, shown), "Record-Route": (inside, shown)})
    request = edge.server.request(
        "INFO", f"sip:alice@{ALICE}:5060", headers=[
            f"Route: <sip:{shown};lr;x=1>, <sip:{ALICE};lr>",
            f"Route: <sip:{PROXY};lr>"])
    edge.into(request, {"Route": (shown, inside)})


def test_path_of_an_inside_proxy(edge):
    """RFC 3327: the registrar echoes it and later routes by it."""
    shown, inside = public(edge), f"{BOB}:5060"
    register = relayed(edge, "REGISTER", [
        f"Path: <sip:{inside};lr;ob>", "Supported: path"], expires=3600)
    seen = edge.out(register, {"Via": (inside, shown),
                               "Path": (inside, shown)})
    got = answered(edge, seen, ["Path"], headers=[
        f"Path: {seen.get('Path')}", f"Service-Route: <sip:{shown};lr>"])
    assert got.get("Path") == f"<sip:{inside};lr;ob>"
    assert got.get("Service-Route") == f"<sip:{shown};lr>"
    assert got.get("Contact") == f"<sip:alice@{ALICE}:5060>"
    invite = edge.server.request("INVITE", f"sip:alice@{ALICE}:5060",
                                 headers=[f"Route: <sip:{shown};lr;ob>"])
    edge.into(invite, {"Route": (shown, inside)})


def test_ports_left_out_of_routes(edge):
    shown = sip.with_port(*edge.public[5060], BOB)
    invite = relayed(edge, "INVITE", [f"Record-Route: <sip:{BOB};lr>"])
    seen = edge.out(invite, {"Via": (f"{BOB}:5060", public(edge)),
                             "Record-Route": (BOB, shown)})
    response = edge.server.respond(seen.bytes, 200, tag="s")
    edge.into(response, {"Via": (public(edge), f"{BOB}:5060"),
                         "Record-Route": (shown, BOB)})


# --- Refer-To ---

@pytest.mark.parametrize("name", ["Refer-To", "r"])
def test_refer_to_another_inside_phone(registered, phone, server, name):
    """What the outside is told is where bob is really reached."""
    line = registered
    bob = Line(phone(BOB, user="bob"), line.server)
    bob.register()
    refer = line.phone.request("REFER", "sip:x@203.0.113.10", headers=[
        f"{name}: <sip:bob@{BOB}:5060;line=1?Replaces=77%40{BOB}"
        f"%3Bto-tag%3Da&X={BOB}>"])
    seen = line.out(refer, {
        "Via": (f"{ALICE}:5060", public(line)),
        "Contact": (f"{ALICE}:5060", public(line)),
        "Refer-To": (f"bob@{BOB}:5060;", f"bob@{public(bob)};")})
    target = sip.uri_hostport(seen.get("Refer-To"))
    line.server.send(line.server.request(
        "INVITE", f"sip:bob@{public(bob)}"), target)
    got = sip.Message(bob.phone.recv()[0])
    assert got.uri == f"sip:bob@{BOB}:5060"


def test_refer_to_an_unknown_inside_host_stays(registered):
    line = registered
    refer = line.phone.request("REFER", "sip:x@203.0.113.10", headers=[
        "Refer-To: <sip:nobody@192.168.1.77:5060>"])
    line.out(refer, {"Via": (f"{ALICE}:5060", public(line)),
                     "Contact": (f"{ALICE}:5060", public(line))})


# --- bodies ---

def multipart(description, length, boundary="b0"):
    """A body of three parts; the second one is SDP. length: its header."""
    return (b"--%(b)b\r\nContent-Type: text/plain\r\n\r\n"
            b"v=0\r\nc=IN IP4 192.168.1.9\r\nm=audio 4000 RTP/AVP 8\r\n"
            b"\r\n--%(b)b\r\nContent-Type: application/sdp\r\n%(l)b\r\n%(d)b"
            b"\r\n--%(b)b\r\nContent-Type: application/pidf+xml\r\n"
            b"Content-Length: 9\r\n\r\n192.168.1\r\n--%(b)b--\r\n" % {
                b"b": boundary.encode(), b"d": description, b"l": length})


@pytest.mark.parametrize("way", ["out", "in"])
@pytest.mark.parametrize("form", ["Content-Length: %d\r\n",
                                  "CONTENT-length :\t%d \r\n",
                                  ""])
@pytest.mark.parametrize("quoted", [False, True])
def test_multipart(registered, media_inside, media_outside, way, form,
                   quoted):
    line = registered
    offer = sdp(ALICE, 4000)
    length = lambda n: form.replace("%d", str(n)).encode()  # noqa: E731
    body = multipart(offer, length(len(offer)))
    kind = 'multipart/mixed; boundary="b0"' if quoted else (
        "multipart/related;x=y;boundary=b0")
    if way == "out":
        message = line.phone.request("INVITE", "sip:x@203.0.113.10",
                                     body=body)
        sites = ["Via", "Contact"]
    else:
        call = Call(line)
        seen = call.invite_in(sdp(MEDIA, 8000))
        message = line.phone.respond(seen.bytes, 200, tag="p", body=body)
        sites = ["Contact"]
    message = message.replace(b"application/sdp", kind.encode(), 1)
    line.phone.send(message, line.server.address)
    seen, source = line.server.recv()
    port = int(re.search(rb"Content-Type: application/sdp.*?m=audio (\d+)",
                         seen, re.S)[1])
    mapped = offer.replace(ALICE.encode(), PUBLIC.encode()).replace(
        b"audio 4000", b"audio %d" % port)
    new_body = multipart(mapped, length(len(mapped)))
    expected = message.replace(body, new_body).replace(
        b"Content-Length: %d\r\n\r\n--b0" % len(body),
        b"Content-Length: %d\r\n\r\n--b0" % len(new_body))
    expected = sip.rewrite(expected, {
        site: (f"{ALICE}:5060", public(line)) for site in sites})
    sip.same_bytes(expected, seen, message)
    if way == "out":
        line.into(line.server.respond(seen, 200, source=source, tag="s",
                                      body=sdp(MEDIA, 8000)))
    media_flows(media_inside(), media_outside(MEDIA),
                (PUBLIC, port, port + 1), first="outside")


# --- ICE ---

def candidates(body):
    """{(address, port): component} of a=candidate lines."""
    found = {}
    for match in re.finditer(rb"a=candidate:\S+ (\d) \S+ \d+ (\S+) (\d+)",
                             body):
        found[match[2].decode(), int(match[3])] = int(match[1])
    return found


def no_mismatch(body):
    """RFC 8839 4.2.5, 5.4: the default of each component is a candidate."""
    for section in body.split(b"\r\nm=")[1:]:
        section = b"m=" + section
        session = body.split(b"\r\nm=")[0]
        address = re.findall(rb"^c=IN IP4 (\S+)", section, re.M) or (
            re.findall(rb"^c=IN IP4 (\S+)", session, re.M))
        port = int(re.match(rb"m=\S+ (\d+)", section)[1])
        known = candidates(section)
        assert known.get((address[0].decode(), port)) == 1, section
        rtcp = re.search(rb"a=rtcp:(\d+)(?: IN IP4 (\S+))?\r", section)
        if b"a=rtcp-mux" not in section:
            where = rtcp[2].decode() if rtcp and rtcp[2] else (
                address[0].decode())
            assert known.get((where, int(rtcp[1]) if rtcp else port + 1)
                             ) == 2, section


def host_candidates(port, rtcp=None, number=1):
    lines = [f"a=candidate:{number} 1 UDP 2130706431 {ALICE} {port} "
             "typ host"]
    if rtcp:
        lines.append(f"a=candidate:{number} 2 UDP 2130706430 {ALICE} {rtcp} "
                     "typ host")
    return lines


OTHERS = ["a=candidate:8 1 TCP 1019216383 192.168.1.9 9 typ host tcptype "
          "active", "a=candidate:9 1 UDP 2130706431 "
          "7f2c3.local 4000 typ host",
          "a=candidate:7 1 UDP 2122252543 fd00::9 4000 typ host",
          "a=candidate:6 1 UDP 41885439 198.51.100.3 3478 typ relay raddr "
          "192.168.1.9 rport 4000", "a=ice-ufrag:8hhY", "a=end-of-candidates"]
ICE = {
    "plain": [(4000, *host_candidates(4000, 4001))],
    "rtcp": [(4000, "a=rtcp:4011", *host_candidates(4000, 4011))],
    "rtcp-address": [(4000, f"a=rtcp:4011 IN IP4 {ALICE}",
                      *host_candidates(4000, 4011))],
    "mux": [(4000, "a=rtcp-mux", *host_candidates(4000))],
    "mux-and-fallback": [(4000, "a=rtcp-mux", "a=rtcp:4001",
                          *host_candidates(4000, 4001))],
    "two-streams": [(4000, *host_candidates(4000, 4001)),
                    ("video", 4002, *host_candidates(4002, 4003))],
    "candidates-first": [(4000, *host_candidates(4000, 4001),
                          f"c=IN IP4 {ALICE}")],
    "with-others": [(4000, *OTHERS, *host_candidates(4000, 4001))],
}


@pytest.mark.parametrize("kind", ICE)
@pytest.mark.parametrize("caller", ["phone", "server"])
def test_ice_sees_no_mismatch(registered, media_inside, media_outside, kind,
                              caller):
    line = registered
    offer = sdp(ALICE, *ICE[kind])
    no_mismatch(offer)  # the test's own sense
    theirs = sdp(MEDIA, *[(kind, 8000) if n == 0 else ("video", 8002)
                          for n, kind in enumerate(
                              ["audio"] * len(ICE[kind]))])
    if caller == "phone":
        message = line.phone.request("INVITE", "sip:x@203.0.113.10",
                                     body=offer)
        edits = {s: (f"{ALICE}:5060", public(line))
                 for s in ("Via", "Contact")}
    else:
        call = Call(line)
        seen = call.invite_in(theirs)
        message = line.phone.respond(seen.bytes, 200, tag="p", body=offer)
        edits = {"Contact": (f"{ALICE}:5060", public(line))}
    line.phone.send(message, line.server.address)
    seen, source = line.server.recv()
    body = sip.Message(seen).body
    no_mismatch(body)
    expected = map_ice(offer, body)
    grown = len(expected) - len(offer)
    expected = sip.rewrite(message, edits).replace(
        b"Content-Length: %d" % len(offer),
        b"Content-Length: %d" % (len(offer) + grown)).replace(offer, expected)
    sip.same_bytes(expected, seen, message)
    if caller == "phone":
        line.into(line.server.respond(seen, 200, source=source, tag="s",
                                      body=theirs))
    _, host, port, rtcp = sip.sdp_media(body)[0]
    mine = media_inside(ALICE, 4000, sip.sdp_media(offer)[0][3])
    theirs = media_outside(MEDIA)
    flows(theirs.rtp, (host, port), mine.rtp, theirs.rtp.address)
    if kind not in ("mux", "mux-and-fallback"):
        flows(theirs.rtcp, (host, rtcp), mine.rtcp, theirs.rtcp.address)


def map_ice(before, after):
    """before with every address of alice's that has a mapped port changed.

    Ports are taken from after's m= and a=rtcp (its own media_flows show that
    they work); what stands for a port must be the same everywhere.
    """
    ports = {}
    for (_, _, rtp_in, rtcp_in), (_, _, rtp_out, rtcp_out) in zip(
            sip.sdp_media(before), sip.sdp_media(after)):
        ports[rtp_in], ports[rtcp_in] = rtp_out, rtcp_out
    lines = []
    for line in before.decode().split("\r\n"):
        if re.match(rf"(o=|c=).* {ALICE}$", line):
            line = line.replace(ALICE, PUBLIC)
        elif line.startswith("m="):
            port = line.split()[1]
            line = line.replace(f" {port} ", f" {ports[int(port)]} ", 1)
        elif line.startswith("a=rtcp:"):
            port = line[7:].split()[0]
            line = line.replace(port, str(ports[int(port)]), 1).replace(
                ALICE, PUBLIC)
        elif line.startswith("a=candidate") and "typ host" in line:
            for port, mapped in ports.items():
                line = line.replace(f" {ALICE} {port} typ",
                                    f" {PUBLIC} {mapped} typ")
        lines.append(line)
    return "\r\n".join(lines).encode()


# --- several ports a stream ---

def test_port_and_count(registered, net, own):
    """m=video P/2: two RTP/RTCP pairs, one after the other (8866 5.14)."""
    line = registered
    offer = sdp(ALICE, ("video", "4000/2"))
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", body=offer)
    line.phone.send(invite, line.server.address)
    seen, source = line.server.recv()
    port, count = re.search(rb"m=video (\d+)/(\d+) ", seen).groups()
    port = int(port)
    assert count == b"2" and 16384 <= port <= 32764
    sip.only_addresses_changed(invite, seen, {
        **{s: (f"{ALICE}:5060", public(line)) for s in ("Via", "Contact")},
        "sdp:o=": (ALICE, PUBLIC), "sdp:c=": (ALICE, PUBLIC),
        "sdp:m=video": (" 4000/2 ", f" {port}/2 ")})
    line.into(line.server.respond(seen, 200, source=source, tag="s",
                                  body=sdp(MEDIA, ("video", "8000/2"))))
    for step in range(4):
        mine = own(Endpoint(net.phone, ALICE, 4000 + step))
        theirs = own(Endpoint(net.prov, MEDIA, 8000 + step))
        flows(theirs, (PUBLIC, port + step), mine, theirs.address)
        flows(mine, theirs.address, theirs, (PUBLIC, port + step))


def test_each_section_has_its_own_address(registered, media_inside,
                                          media_outside):
    """39: c= in each section, one of them public, one rejected."""
    line = registered
    lines = ["v=0", f"o=- 1 1 IN IP4 {ALICE}", "s=-", "t=0 0",
             "m=audio 4000 RTP/AVP 8", f"c=IN IP4 {ALICE}",
             "m=video 40000 RTP/AVP 96", f"c=IN IP4 {PUBLIC}",
             "m=audio 0 RTP/AVP 0", f"c=IN IP4 {ALICE}",
             "m=video 4006 RTP/AVP 97", f"c=IN IP4 {ALICE}"]
    offer = "".join(f"{l}\r\n" for l in lines).encode()
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", body=offer)
    line.phone.send(invite, line.server.address)
    seen, source = line.server.recv()
    media = sip.sdp_media(sip.Message(seen))
    assert [m[1] for m in media] == [PUBLIC, PUBLIC, media[2][1], PUBLIC]
    assert media[1][2] == 40000 and media[2][2] == 0
    assert f"c=IN IP4 {media[2][1]}" in (
        f"c=IN IP4 {ALICE}", f"c=IN IP4 {PUBLIC}")
    answer = "".join(f"{l}\r\n" for l in [
        "v=0", f"o=- 1 1 IN IP4 {MEDIA}", "s=-", f"c=IN IP4 {MEDIA}",
        "t=0 0", "m=audio 8000 RTP/AVP 8", "m=video 0 RTP/AVP 96",
        "m=audio 0 RTP/AVP 0", "m=video 9000 RTP/AVP 97",
        f"c=IN IP4 {MEDIA2}"]).encode()
    line.into(line.server.respond(seen, 200, source=source, tag="s",
                                  body=answer))
    media_flows(media_inside(), media_outside(MEDIA), media[0][1:],
                first="outside")
    media_flows(media_inside(port=4006), media_outside(MEDIA2, 9000),
                media[3][1:], first="outside")


# --- fax ---

def t38(host, port, version=2):
    return (f"v=0\r\no=- 4711 {version} IN IP4 {host}\r\ns=-\r\n"
            f"t=0 0\r\nm=image {port} udptl t38\r\nc=IN IP4 {host}\r\n"
            "a=T38FaxVersion:0\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n"
            ).encode()


def image(message):
    match = re.search(rb"m=image (\d+) udptl t38\r\nc=IN IP4 (\S+)\r\n",
                      message.body)
    return match[2].decode(), int(match[1])


def fax_edits(line, data, seen):
    """Edits of a message with t38() going out."""
    sent = sip.Message(data)
    sites = ["Via", "Contact"] if sent.request else ["Contact"]
    _, port = image(sip.Message(seen))
    return {**{s: (f"{ALICE}:5060", public(line)) for s in sites},
            "sdp:o=": (ALICE, PUBLIC), "sdp:c=": (ALICE, PUBLIC),
            "sdp:m=image": (" 4020 ", f" {port} ")}


def send_fax(line, data):
    line.phone.send(data, line.server.address)
    seen, _ = line.server.recv()
    sip.only_addresses_changed(data, seen, fax_edits(line, data, seen))
    return sip.Message(seen)


@pytest.mark.parametrize("asker", ["phone", "server"])
def test_t38_takes_exactly_one_port(registered, net, own, media_inside,
                                    media_outside, asker):
    line = registered
    ends = media_inside(), media_outside(MEDIA)
    call = call_in(line, sdp(MEDIA, 8000), sdp(ALICE, 4000))
    told = announced(call.answer_out_seen)
    media_flows(*ends, told)
    if asker == "phone":
        seen = send_fax(line, call.inside.request("INVITE",
                                                  body=t38(ALICE, 4020)))
        line.into(line.server.respond(
            seen.bytes, 200, source=line.public[5060],
            body=t38(MEDIA, 8020)))
        line.out(call.inside.request("ACK"))
    else:
        got = line.into(call.outside.request("INVITE",
                                             body=t38(MEDIA, 8020)))
        seen = send_fax(line, line.phone.respond(got.bytes, 200,
                                                 body=t38(ALICE, 4020)))
        line.into(call.outside.request("ACK"))
    host, port = image(seen)
    assert host == PUBLIC and 16384 <= port <= 32767
    mine = [own(Endpoint(net.phone, ALICE, p)) for p in (4020, 4021)]
    fax = [own(Endpoint(net.prov, MEDIA, p)) for p in (8020, 8021)]
    flows(fax[0], (host, port), mine[0], fax[0].address)
    flows(mine[0], fax[0].address, fax[0], (host, port))
    for source in fax:
        source.send(rtp(3), (PUBLIC, port + 1))
    mine[1].nothing(0.3)
    entries = [e for e in net.conntrack.udp() if e.assured
               and MEDIA in e.line]
    assert {e.orig.sport for e in entries} == {4020}, entries
    back_to_voice(line, call, ends, told)
    time.sleep(0.2)
    fax[0].send(rtp(3), (host, port))
    mine[0].nothing(0.3)


def back_to_voice(line, call, ends, told):
    """The fax is sent: audio again, on the port it had before."""
    offer, _ = call.reinvite_from_phone(sdp(ALICE, 4000, version=3),
                                        sdp(MEDIA, 8000, version=3))
    media_flows(*ends, announced(offer), first="outside")


def test_a_refused_t38_leaves_the_audio(registered, media_inside,
                                        media_outside):
    line = registered
    ends = media_inside(), media_outside(MEDIA)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    seen = send_fax(line, call.inside.request("INVITE",
                                              body=t38(ALICE, 4020)))
    line.into(line.server.respond(seen.bytes, 488, contact=False,
                                  source=line.public[5060]))
    line.out(call.inside.request("ACK"))
    media_flows(*ends, told, first="outside")
