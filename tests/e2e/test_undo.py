# SPDX-License-Identifier: GPL-2.0-or-later
"""Only what we changed is changed back.

design.md, "What is right" 2 and 3; failure modes 15, 25, 26, 34.
"""

import contextlib

import pytest

import peers.kamailio
from lib import sip
from lib.agents import Dialog, Line, media_flows
from lib.call import announced
from lib.gateway import ALICE, BOB, MEDIA, PROXY, PUBLIC
from lib.sip import sdp
from peers.kamailio import Kamailio


def knows(line):
    """The phone has found out: from now on it writes its public address."""
    phone = line.phone
    public = "%s:%d" % line.public[phone.port]
    phone.contact = f"<sip:{phone.user}@{public}>"
    phone.via = lambda: (f"SIP/2.0/UDP {public};rport"
                         f";branch={sip.unique('z9hG4bK-')}")
    return line


def forgets(line):
    """It writes its private address again."""
    phone = line.phone
    phone.contact = f"<sip:{phone.user}@{phone.host}:{phone.port}>"
    del phone.via
    return line


def uri(line):
    return "sip:alice@%s:%d" % line.public[line.phone.port]


def answer(line, seen, code=200, **kwargs):
    """The server's response, as bytes."""
    return line.server.respond(seen.bytes, code,
                               source=line.public[line.phone.port],
                               **{"tag": "srv", **kwargs})


@pytest.fixture
def registered(daemon, line):
    line.register()
    return line


# --- a phone that writes its public address itself ---

def test_nothing_of_its_call_out_is_touched(daemon, registered):
    line = knows(registered)
    offer = sdp(PUBLIC, (40000, "a=rtcp:40001 IN IP4 203.0.113.4"))
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10", body=offer)
    seen = line.out(invite, {})
    for code in (180, 200):
        got = line.into(answer(line, seen, code, body=sdp(MEDIA, 8000)), {})
    mine = Dialog.caller(line.phone, invite, got.bytes)
    theirs = Dialog.callee(line.server, seen.bytes, got.bytes)
    line.out(mine.request("ACK"), {})
    assert daemon.status()["media_mappings"] == 0
    reinvite = line.into(theirs.request("INVITE", body=sdp(MEDIA, 8002)), {})
    assert reinvite.uri == uri(line)
    line.out(line.phone.respond(reinvite.bytes, 200, body=offer), {})
    line.into(theirs.request("ACK"), {})
    bye = line.out(mine.request("BYE"), {})
    line.into(answer(line, bye), {})


def test_nothing_of_its_call_in_is_touched(daemon, registered):
    line = knows(registered)
    seen = line.out(line.phone.register(), {})
    line.into(answer(line, seen), {})
    invite = line.server.request("INVITE", uri(line), body=sdp(MEDIA, 8000),
                                 to=line.phone.identity)
    got = line.into(invite, {})
    line.out(line.phone.respond(got.bytes, 180, tag="p"), {})
    ok = line.phone.respond(got.bytes, 200, tag="p", body=sdp(PUBLIC, 40000))
    seen = line.out(ok, {})
    theirs = Dialog.caller(line.server, invite, seen.bytes)
    line.into(theirs.request("ACK"), {})
    assert daemon.status()["media_mappings"] == 0
    line.out(line.phone.respond(
        line.into(theirs.request("BYE"), {}).bytes, 200), {})


def test_to_with_its_public_contact_is_not_touched(daemon, registered):
    """Hands off (design.md, 3): it names its public address, so does To."""
    line = knows(registered)
    seen = line.out(line.phone.register(), {})
    line.into(answer(line, seen), {})
    options = line.server.request("OPTIONS", uri(line), to=f"<{uri(line)}>")
    line.out(line.phone.respond(line.into(options, {}).bytes, 200, tag="p"),
             {})


def test_its_identity_is_not_touched(daemon, registered):
    line = knows(registered)
    line.phone.identity = f"<sip:alice@{PUBLIC}>"
    seen = line.out(line.phone.register(), {})
    line.into(answer(line, seen), {})
    options = line.server.request("OPTIONS", uri(line),
                                  to=line.phone.identity)
    line.out(line.phone.respond(line.into(options, {}).bytes, 200, tag="p"),
             {})


def test_from_its_first_message_on(daemon, phone, server):
    """A configured external address: no message was ever private."""
    line = Line(phone(), server())
    line.public[5060] = (PUBLIC, 5060)
    knows(line)
    seen = line.out(line.phone.register(), {})
    line.into(answer(line, seen), {})
    options = line.server.request("OPTIONS", uri(line),
                                  to=line.phone.identity)
    assert line.into(options, {}).uri == uri(line)


# --- one that does so in some of its messages ---

def test_answers_out_of_order_each_as_it_was_written(daemon, registered):
    """Four transactions at once: Via and Contact by turns public."""
    line = registered
    sent = []
    for number in range(4):
        (knows if number % 2 else forgets_if_known)(line)
        register = line.phone.register()
        sent.append((register, line.out(
            register, {} if number % 2 else None), number % 2))
    for register, seen, public in reversed(sent):
        response = answer(line, seen)
        got = line.into(response, {} if public else None)
        written = sip.Message(register)
        assert got.contact == written.contact
        assert got.via == written.via


def forgets_if_known(line):
    if "via" in vars(line.phone):
        forgets(line)


def test_identities_out_of_order_each_as_it_was_written(daemon, registered):
    line, sent = registered, []
    for host in (ALICE, PUBLIC, "example.com", ALICE):
        line.phone.identity = f"<sip:alice@{host}>"
        message = line.phone.request("OPTIONS", "sip:x@203.0.113.10",
                                     to=f"<sip:alice@{host}>")
        public = "%s:%d" % line.public[5060]
        edits = {"Via": (f"{ALICE}:5060", public),
                 "Contact": (f"{ALICE}:5060", public)}
        if host == ALICE:
            edits["From"] = edits["To"] = (f"@{ALICE}", f"@{PUBLIC}")
        sent.append((message, line.out(message, edits)))
    for message, seen in reversed(sent):
        line.server.send(answer(line, seen), line.public[5060])
        got, written = sip.Message(line.phone.recv()[0]), sip.Message(message)
        assert got.get("From") == written.get("From")
        assert got.get("To") == written.get("To") + ";tag=srv"
        assert got.via == written.via


def open_dialog(line, public):
    """The phone calls, Contact private or public; the server's Dialog."""
    (knows if public else forgets_if_known)(line)
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10")
    seen = line.out(invite, {} if public else None)
    ok = answer(line, seen)
    line.into(ok, {} if public else None)
    return Dialog.callee(line.server, seen.bytes, ok)


def test_requests_in_a_dialog_name_what_it_was_opened_with(
        daemon, registered):
    line = registered
    private = open_dialog(line, False)
    public = open_dialog(line, True)
    line.into(public.request("INFO"), {})
    line.into(private.request("INFO"))
    line.into(public.request("BYE"), {})
    line.into(private.request("BYE"))


def test_new_requests_name_what_was_registered(daemon, registered):
    line = registered
    open_dialog(line, True)
    line.into(line.server.request("OPTIONS", uri(line),
                                  to=line.phone.identity))  # restored


# --- a private network outside with our numbers ---

FOREIGN = pytest.mark.parametrize("host", [
    f"{ALICE}:5060", ALICE, f"{BOB}:5060", "192.168.1.50:5060",
    "192.168.1.50", "192.168.1.1"])


def foreign_invite(line, host):
    """A peer that shows its private network; all but the R-URI is its own."""
    invite = line.server.request(
        "INVITE", uri(line), to=f'"Alice" <sip:alice@{host}>;x=1',
        via=f"SIP/2.0/UDP {host};rport;branch={sip.unique('z9hG4bK-f')}",
        headers=[f"Via: SIP/2.0/UDP {host};branch=z9hG4bK-low",
                 f"Record-Route: <sip:{host};lr>, <sip:{BOB};lr>",
                 f"Record-Route: <sip:{ALICE}:5060;lr;ftag=1>",
                 f"P-Asserted-Identity: <sip:peer@{host}>",
                 f"Diversion: <sip:other@{host}>;reason=unknown",
                 f"X-Server: {host}"],
        body=sdp(host.split(":")[0], 6000))
    return invite.replace(line.server.identity.encode(),
                          f"<sip:peer@{host}>".encode()).replace(
        line.server.contact.encode(), f"<sip:peer@{host}>".encode())


def same_headers(sent, back, tag):
    """What answers repeat is byte for byte as the outside sent it."""
    for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq"):
        assert back.all(name) == sent.all(name), name
    assert back.get("To") == sent.get("To") + f";tag={tag}"


@FOREIGN
def test_a_peer_with_our_numbers_calls(daemon, net, registered, host):
    line = registered
    public = "%s:%d" % line.public[5060]
    invite = foreign_invite(line, host)
    got = line.into(invite, {"Request-URI": (public, f"{ALICE}:5060")})
    sent = sip.Message(invite)
    edits = {"Contact": (f"{ALICE}:5060", public)}
    for code in (100, 180):
        response = line.phone.respond(got.bytes, code, tag="p")
        seen = line.out(response, edits if code > 100 else {})
        same_headers(sent, seen, "p")
    ok = line.phone.respond(got.bytes, 200, tag="p", body=sdp(ALICE, 4000))
    line.phone.send(ok, line.server.address)
    seen, _ = line.server.recv()
    port = announced(seen)[1]
    sip.only_addresses_changed(ok, seen, {
        **edits, "sdp:o=": (ALICE, PUBLIC), "sdp:c=": (ALICE, PUBLIC),
        "sdp:m=audio": (" 4000 ", f" {port} ")})
    same_headers(sent, sip.Message(seen), "p")
    within_foreign_dialog(line, invite, got, ok, seen, public)
    inside = [e.line for e in net.conntrack.udp()
              if e.orig.src.startswith("192.168.1.")
              and e.orig.dst.startswith("192.168.1.")]
    assert not inside


def within_foreign_dialog(line, invite, got, ok, seen, public):
    """ACK, INFO and BYE: both identities stay as the peer has them."""
    theirs = Dialog.caller(line.server, invite, seen)
    line.into(theirs.request("ACK"),
              {"Request-URI": (public, f"{ALICE}:5060")})
    info = line.into(theirs.request("INFO"),
                     {"Request-URI": (public, f"{ALICE}:5060")})
    reply = line.out(line.phone.respond(info.bytes, 200),
                     {"Contact": (f"{ALICE}:5060", public)})
    assert reply.get("To") == theirs.remote
    mine = Dialog.callee(line.phone, got.bytes, ok)
    bye = mine.request("BYE", headers=[
        f"Route: {route}" for route in got.all("Record-Route")])
    at_peer = line.out(bye, {"Via": (f"{ALICE}:5060", public),
                             "Contact": (f"{ALICE}:5060", public)})
    line.into(answer(line, at_peer))


def test_own_identity_is_mapped_beside_such_a_call(daemon, registered):
    """In the peer's call alice's address is the peer's; elsewhere ours."""
    line = registered
    public = "%s:%d" % line.public[5060]
    invite = foreign_invite(line, ALICE)
    got = line.into(invite, {"Request-URI": (public, f"{ALICE}:5060")})
    line.phone.identity = f"<sip:alice@{ALICE}>"
    options = line.phone.request("OPTIONS", "sip:x@203.0.113.10")
    seen = line.out(options, {
        "Via": (f"{ALICE}:5060", public), "Contact": (f"{ALICE}:5060", public),
        "From": (f"@{ALICE}", f"@{PUBLIC}")})
    line.server.send(answer(line, seen), line.public[5060])
    back = sip.Message(line.phone.recv()[0])
    assert back.get("From") == sip.Message(options).get("From")
    response = line.phone.respond(got.bytes, 180, tag="p")
    same_headers(sip.Message(invite), line.out(
        response, {"Contact": (f"{ALICE}:5060", public)}), "p")


@FOREIGN
def test_a_called_peer_with_our_numbers(daemon, net, registered, host):
    line = registered
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10",
                                body=sdp(ALICE, 4000))
    seen = line.out(invite)
    ok = answer(line, seen, body=sdp(host.split(":")[0], 6000),
                contact=False, headers=[
                    f"Contact: <sip:peer@{host}>",
                    f"Record-Route: <sip:{host};lr>",
                    f"P-Asserted-Identity: <sip:peer@{host}>"])
    got = line.into(ok)
    mine = Dialog.caller(line.phone, invite, got.bytes)
    for method in ("ACK", "BYE"):
        request = mine.request(method, headers=[f"Route: <sip:{host};lr>"])
        assert f"@{host} " in line.out(request).start
    inside = [e.line for e in net.conntrack.udp()
              if e.orig.src.startswith("192.168.1.")
              and e.orig.dst.startswith("192.168.1.")]
    assert not inside


@pytest.mark.parametrize("method", ["REFER", "NOTIFY", "MESSAGE"])
def test_what_a_peer_refers_to_is_its_own(daemon, registered, method):
    line = registered
    public = "%s:%d" % line.public[5060]
    request = line.server.request(
        method, uri(line), to=line.phone.identity, headers=[
            f"Refer-To: <sip:x@{ALICE}:5060?Replaces=a%40{BOB}>",
            f"Referred-By: <sip:y@{BOB}:5060>", f"Reply-To: <sip:z@{ALICE}>",
            f"P-Asserted-Identity: <sip:y@{ALICE}:5060>"])
    line.into(request, {"Request-URI": (public, f"{ALICE}:5060")})


# --- a provider that repairs NAT by itself ---

@pytest.fixture(params=["alias", "fix_contact"])
def provider(request, net, tmp_path, monkeypatch):
    """kamailio with nathelper; every repair applied to everybody."""
    plain = peers.kamailio.CONFIG.with_name("kamailio-nat.cfg").read_text()
    config = tmp_path / "kamailio.cfg"
    define = "#!define FIX_CONTACT\n" * (request.param == "fix_contact")
    config.write_text(plain.replace("#!KAMAILIO\n",
                                    "#!KAMAILIO\n" + define, 1))
    monkeypatch.setattr(peers.kamailio, "CONFIG", config)
    with contextlib.closing(Kamailio(net.prov, tmp_path, PROXY)) as proxy:
        yield proxy.start()


class User:
    """An agent registered with kamailio; final answers only are read."""

    def __init__(self, agent):
        self.agent = agent
        register = agent.register()
        self.send(register)
        got = self.read(200)
        assert got.via == sip.Message(register).via
        assert got.contact == sip.Message(register).contact

    def send(self, data):
        self.agent.send(data, (PROXY, 5060))

    def read(self, what):
        """The next message that is this status or method."""
        while True:
            got = sip.Message(self.agent.recv()[0])
            if what in (got.code, got.start.split()[0]):
                return got


def routes(message, reverse):
    values = [v.strip() for line in message.all("Record-Route")
              for v in line.split(",")]
    return [f"Route: {v}" for v in (values[::-1] if reverse else values)]


@pytest.mark.parametrize("caller", ["inside", "outside"])
@pytest.mark.parametrize("ender", ["caller", "callee"])
def test_far_end_nat_repair_at_the_same_time(
        daemon, net, provider, phone, server, media_inside, media_outside,
        caller, ender):
    alice = User(phone())
    bob = User(server(MEDIA, user="bob"))
    ends = {"inside": (alice, bob), "outside": (bob, alice)}[caller]
    media = {alice: sdp(ALICE, 4000), bob: sdp(MEDIA, 8000)}
    calling, called = ends
    invite = calling.agent.request(
        "INVITE", f"sip:{called.agent.user}@{PROXY}", body=media[calling])
    calling.send(invite)
    got = called.read("INVITE")
    ok = called.agent.respond(got.bytes, 200, tag="t", body=media[called])
    called.send(ok)
    answered = calling.read(200)
    assert answered.via == sip.Message(invite).via
    if caller == "outside":
        # R-URI and more: nothing of alice's public address reaches her
        assert got.uri.startswith(f"sip:alice@{ALICE}:5060")
        assert PUBLIC.encode() not in got.bytes.split(b"\r\n\r\n")[0]
        told = announced(answered)
    else:
        told = announced(got)
    mine = Dialog.caller(calling.agent, invite, answered.bytes)
    theirs = Dialog.callee(called.agent, got.bytes, ok)
    calling.send(mine.request("ACK", headers=routes(answered, True)))
    ack = called.read("ACK")
    if called is alice:
        assert ack.uri.startswith(f"sip:alice@{ALICE}:5060")
    media_flows(media_inside(), media_outside(MEDIA), told)
    if ender == "caller":
        calling.send(mine.request("BYE", headers=routes(answered, True)))
        called.send(called.agent.respond(called.read("BYE").bytes, 200))
        calling.read(200)
    else:
        called.send(theirs.request("BYE", headers=routes(got, False)))
        calling.send(calling.agent.respond(calling.read("BYE").bytes, 200))
        called.read(200)
