# SPDX-License-Identifier: GPL-2.0-or-later
"""Dialogs beside plain calls, long-lived ones, many at once.

RFC 6665 (events), RFC 3515 (REFER), RFC 4028 (session timers), RFC 3903
(PUBLISH); failure modes 20, 28, 30, 44, 55; issue 3, point 7.
"""

import time

import pytest

from lib import sip
from lib.agents import Dialog, Endpoint, Line, media_blocked, media_flows, rtp
from lib.call import Call, announced, call_in, call_out
from lib.gateway import ALICE, BOB, CAROL, MEDIA, PROXY, PROXY2, STRANGER
from lib.sip import sdp

short = pytest.mark.sysctl(nf_conntrack_udp_timeout=1,
                           nf_conntrack_udp_timeout_stream=1)
LONG_AGO_S = 4  # past nf_conntrack_udp_timeout of short, several times
GRACE_S = 8  # for what comes late, as in test_inbound


def public(line):
    return "%s:%d" % line.public[line.phone.port]


def reply(line, seen, code=200, **kwargs):
    """The server answers what it saw; the phone's view."""
    response = line.server.respond(
        seen.bytes, code, source=line.public[line.phone.port],
        **{"tag": "srv", **kwargs})
    return line.into(response), response


class Subscription:
    """The phone subscribes; the server notifies. No registration."""

    def __init__(self, line, expires=3600, granted=None, code=200,
                 event="dialog"):
        self.line = line
        request = line.phone.request(
            "SUBSCRIBE", "sip:bob@203.0.113.10",
            headers=[f"Event: {event}", f"Expires: {expires}"])
        seen = line.out(request)
        if granted is None:
            granted = expires
        _, response = reply(line, seen, code,
                            headers=[f"Expires: {granted}"])
        self.inside = Dialog.caller(line.phone, request, response)
        self.outside = Dialog.callee(line.server, seen.bytes, response)
        self.event = event

    def notification(self, state):
        return self.outside.request("NOTIFY", headers=[
            f"Event: {self.event}", f"Subscription-State: {state}",
            "Content-Type: application/simple-message-summary"])

    def notify(self, state="active"):
        """NOTIFY and its 200."""
        seen = self.line.into(self.notification(state))
        self.line.out(self.line.phone.respond(seen.bytes, 200))
        return seen

    def refresh(self, expires):
        seen = self.line.out(self.inside.request("SUBSCRIBE", headers=[
            f"Event: {self.event}", f"Expires: {expires}"]))
        reply(self.line, seen, headers=[f"Expires: {expires}"])

    def blocked(self):
        line = self.line
        line.server.send(self.notification("active"), line.public[5060])
        line.phone.nothing()


# --- SUBSCRIBE and NOTIFY ---

@short
@pytest.mark.nat("random")
def test_a_notifier_is_let_in_for_as_long_as_it_was_granted(daemon, line):
    subscription = Subscription(line, 3600)
    subscription.notify("active;expires=3600")
    for _ in range(2):
        time.sleep(LONG_AGO_S)
        subscription.notify("active;expires=3500")
    subscription.refresh(3600)  # from the same public port: Line looks


@short
def test_no_longer_after_terminated(daemon, line):
    """At once: no timer is waited for but the kernel's."""
    subscription = Subscription(line, code=202)
    subscription.notify()
    time.sleep(LONG_AGO_S)
    subscription.notify("terminated;reason=noresource")
    time.sleep(LONG_AGO_S)
    subscription.blocked()


@short
def test_no_longer_than_granted(daemon, line):
    subscription = Subscription(line, 3600, granted=3)
    time.sleep(3 + GRACE_S)
    subscription.blocked()


@short
def test_no_longer_than_the_notifier_says(daemon, line):
    """RFC 6665 4.1.2.3: expires of Subscription-State shortens it."""
    subscription = Subscription(line, 3600)
    subscription.notify("active;expires=3")
    time.sleep(3 + GRACE_S)
    subscription.blocked()


@short
def test_a_refresh_prolongs(daemon, line):
    subscription = Subscription(line, 3)
    subscription.refresh(3600)
    time.sleep(3 + GRACE_S)
    subscription.notify()


@short
def test_no_longer_after_unsubscribing(daemon, line):
    """RFC 6665 4.1.2.3: a last NOTIFY follows, and that is that."""
    subscription = Subscription(line)
    subscription.refresh(0)
    subscription.notify("terminated;reason=timeout")
    time.sleep(LONG_AGO_S)
    subscription.blocked()


@short
def test_a_refused_subscription_opens_nothing(daemon, line):
    subscription = Subscription(line, code=489)
    time.sleep(LONG_AGO_S)
    subscription.blocked()


@short
def test_one_subscription_of_two_ends(daemon, line):
    """The other one goes on."""
    first = Subscription(line, event="dialog")
    second = Subscription(line, event="message-summary")
    first.notify("terminated")
    time.sleep(LONG_AGO_S)
    second.notify()


@short
def test_a_subscription_lets_nobody_else_in(daemon, line, server):
    subscription = Subscription(line)
    time.sleep(LONG_AGO_S)
    for stranger in (server(STRANGER), server(PROXY2, 5070)):
        stranger.send(subscription.notification("active"),
                      line.public[5060])
    line.phone.nothing()


@short
def test_the_phone_as_notifier(daemon, line):
    """Outside subscribes; its refresh comes after long silence."""
    line.register(expires=3)
    request = line.server.request(
        "SUBSCRIBE", f"sip:alice@{public(line)}", to=line.phone.identity,
        headers=["Event: dialog", "Expires: 3600"])
    seen = line.into(request)
    ok = line.phone.respond(seen.bytes, 200, tag="p",
                            headers=["Expires: 3600"])
    answered = line.out(ok)
    notifier = Dialog.callee(line.phone, seen.bytes, ok)
    subscriber = Dialog.caller(line.server, request, answered.bytes)
    headers = ["Event: dialog", "Subscription-State: active;expires=3600"]
    reply(line, line.out(notifier.request("NOTIFY", headers=headers)))
    time.sleep(3 + GRACE_S)  # also the registration is over
    seen = line.into(subscriber.request("SUBSCRIBE", headers=[
        "Event: dialog", "Expires: 3600"]))
    line.out(line.phone.respond(seen.bytes, 200, headers=["Expires: 3600"]))
    reply(line, line.out(notifier.request("NOTIFY", headers=headers)))


# --- REFER ---

@short
def test_refer_and_its_notifications(daemon, line):
    """RFC 3515 2.4: REFER makes a subscription; the transfer takes long."""
    line.register(expires=3)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    refer = call.inside.request("REFER", headers=[
        "Refer-To: <sip:carol@203.0.113.11?Replaces=1%40192.168.1.9>"])
    reply(line, line.out(refer), 202)
    headers = ["Event: refer", "Content-Type: message/sipfrag;version=2.0"]
    for state in ("active;expires=60", "terminated;reason=noresource"):
        seen = line.into(call.outside.request("NOTIFY", headers=[
            *headers, f"Subscription-State: {state}"]))
        line.out(line.phone.respond(seen.bytes, 200))
        time.sleep(LONG_AGO_S)
    call.from_server("BYE")


@short
def test_refer_outside_a_dialog(daemon, line):
    request = line.phone.request(
        "REFER", "sip:x@203.0.113.10",
        headers=[f"Refer-To: <sip:alice@{ALICE}:5060>"])
    seen = line.out(request, {
        **{site: (f"{ALICE}:5060", _learn(line)) for site in (
            "Via", "Contact", "Refer-To")}})
    _, response = reply(line, seen, 202)
    outside = Dialog.callee(line.server, seen.bytes, response)
    time.sleep(LONG_AGO_S)
    seen = line.into(outside.request("NOTIFY", headers=[
        "Event: refer;id=1", "Subscription-State: active;expires=600"]))
    line.out(line.phone.respond(seen.bytes, 200))
    time.sleep(LONG_AGO_S)
    seen = line.into(outside.request("NOTIFY", headers=[
        "Event: refer;id=1", "Subscription-State: terminated"]))
    line.out(line.phone.respond(seen.bytes, 200))


def _learn(line):
    line.out(line.phone.request("OPTIONS", "sip:x@203.0.113.10"))
    return public(line)


def test_refer_to_the_phone(daemon, line, phone):
    """Transferred by the other side, also to another phone of ours."""
    bob = Line(phone(BOB, user="bob"), line.server)
    line.register(), bob.register()
    call = call_in(line, sdp(MEDIA, 8000), sdp(ALICE, 4000))
    target = public(bob)
    refer = call.outside.request("REFER", headers=[
        f"Refer-To: <sip:bob@{target}>",
        f"Referred-By: <sip:server@{PROXY}>"])
    seen = line.into(refer, {
        "Request-URI": (public(line), f"{ALICE}:5060"),
        "Refer-To": (target, f"{BOB}:5060")})
    line.out(line.phone.respond(seen.bytes, 202))
    seen = line.out(call.inside.request("NOTIFY", headers=[
        "Event: refer", "Subscription-State: terminated"]))
    reply(line, seen)


# --- single requests ---

@pytest.mark.parametrize("method", ["MESSAGE", "INFO", "OPTIONS", "PUBLISH",
                                    "UPDATE", "NOTIFY", "X-OWN"])
@pytest.mark.parametrize("way", ["out", "in"])
@pytest.mark.parametrize("code", [200, 481])
def test_requests_outside_dialogs(daemon, line, method, way, code):
    line.register()
    body = (b"v=0 is said in this text\r\nm=audio 4000\r\n"
            b"c=IN IP4 192.168.1.9\r\n")
    sender = line.phone if way == "out" else line.server
    uri = "sip:x@203.0.113.10" if way == "out" else f"sip:a@{public(line)}"
    request = sender.request(method, uri, to="<sip:x@example.com>",
                             body=body).replace(b"application/sdp",
                                                b"text/plain")
    if way == "out":
        seen = line.out(request, {
            site: (f"{ALICE}:5060", public(line))
            for site in ("Via", "Contact")})
        reply(line, seen, code)
    else:
        seen = line.into(request)
        line.out(line.phone.respond(seen.bytes, code, tag="p"))
    assert seen.body == body


def test_requests_in_a_call(daemon, line):
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    for method in ("INFO", "MESSAGE", "OPTIONS", "NOTIFY", "SUBSCRIBE"):
        call.from_phone(method)
        call.from_server(method)
    call.from_phone("BYE")


def test_publish_refreshes(daemon, line):
    line.register()
    for number in range(3):
        etag = [f"SIP-If-Match: e{number}"] if number else []
        seen = line.out(line.phone.request(
            "PUBLISH", "sip:alice@example.com", cseq=number + 1,
            headers=["Event: presence", "Expires: 60", *etag]))
        reply(line, seen, contact=False,
              headers=[f"SIP-ETag: e{number + 1}"])


# --- 3xx ---

def test_a_3xx_of_the_phone(daemon, line):
    """Its own addresses are mapped (30), others' stay."""
    line.register()
    invite = line.server.request("INVITE", f"sip:alice@{public(line)}",
                                 to=line.phone.identity)
    seen = line.into(invite)
    moved = line.phone.respond(
        seen.bytes, 302, tag="p", contact=False, headers=[
            f"Contact: <sip:alice2@{ALICE}:5060>;q=0.9, "
            "<sip:alice@mobile.example.net>;q=0.5",
            "Contact: <sip:x@198.51.100.7>"])
    line.out(moved, {"Contact": (f"{ALICE}:5060", public(line))})


def test_a_3xx_to_the_phone(daemon, line):
    """Never touched, whatever it says."""
    line.register()
    invite = line.phone.request("INVITE", "sip:x@203.0.113.10")
    seen = line.out(invite)
    moved = line.server.respond(
        seen.bytes, 302, source=line.public[5060], tag="s", contact=False,
        headers=[f"Contact: <sip:x@{ALICE}:5060>, <sip:x@{BOB}>",
                 f"Contact: <sip:y@{public(line)}>"])
    got = line.into(moved)
    assert got.all("Contact") == sip.Message(moved).all("Contact")


# --- session timers ---

@pytest.mark.long
def test_session_timers(daemon, line, media_inside, media_outside):
    """RFC 4028: 90 s (its smallest) without refresh, and the call is dead.

    Three calls side by side: one dies in silence, one is refreshed, one has
    no timer at all. A BYE sent at the last moment may be repeated for 32 s
    (RFC 3261, timer F): that long the gateway may keep the dead one.
    """
    line.register()
    timer = ["Supported: timer", "Session-Expires: 90;refresher=uac",
             "Min-SE: 90"]
    ends, calls = [], []
    for number, headers in enumerate((timer, timer, [])):
        ends.append((media_inside(port=4000 + 10 * number),
                     media_outside(MEDIA, 8000 + 10 * number)))
        call = Call(line)
        call.invite_out(sdp(ALICE, 4000 + 10 * number), headers=headers)
        call.answer_in(200, sdp(MEDIA, 8000 + 10 * number),
                       headers=headers[1:2])
        call.ack_out()
        calls.append((call, announced(call.invite_seen)))
        media_flows(*ends[-1], calls[-1][1])
    begin = time.monotonic()
    time.sleep(50)
    calls[1][0].from_phone("UPDATE", headers=timer)
    for pair, (_, told) in zip(ends, calls):
        media_flows(*pair, told, first="outside")
    time.sleep(max(0, begin + 90 + 32 + 3 - time.monotonic()))
    media_blocked(*ends[0], calls[0][1])
    for pair, (call, told) in list(zip(ends, calls))[1:]:
        media_flows(*pair, told, first="outside")
        call.from_phone("BYE")


# --- a trunk ---

CALLS = 300


@pytest.mark.config(limits__rate_per_phone=100000, log__level="info")
def test_a_trunk_with_parallel_calls(daemon, net, own, phone, server):
    """A PBX: all its calls on one 5-tuple, each with media (55)."""
    line = Line(phone(BOB, user="pbx"), server())
    line.register()
    ends, calls = [], []
    for number in range(CALLS):
        inside = own(Endpoint(net.phone, BOB, 10000 + 2 * number))
        outside = own(Endpoint(net.prov, MEDIA, 20000 + 2 * number))
        ends.append((inside, outside))
        offers = sdp(BOB, inside.port), sdp(MEDIA, outside.port)
        if number % 2:
            call = call_out(line, *offers)
            told = announced(call.invite_seen)
        else:
            call = call_in(line, *offers[::-1])
            told = announced(call.answer_out_seen)
        calls.append((call, told))
    assert len({p for _, told in calls for p in told[1:]}) == 2 * CALLS
    assert daemon.status()["calls"] == CALLS
    for (inside, outside), (_, told) in zip(ends, calls):
        outside.send(rtp(told[1]), told[:2])
        inside.send(rtp(told[1] + 1), outside.address)
    for (inside, outside), (_, told) in zip(ends, calls):
        assert inside.recv() == (rtp(told[1]), outside.address)
        assert outside.recv() == (rtp(told[1] + 1), told[:2])
    for number, (call, _) in enumerate(calls[:-1]):
        (call.from_server if number % 3 else call.from_phone)("BYE")
    # the last one is not touched by the others' ends
    (inside, outside), (call, told) = ends[-1], calls[-1]
    outside.send(rtp(7), told[:2])
    assert inside.recv()[0] == rtp(7)
    assert daemon.status()["calls"] == 1
    call.from_phone("BYE")
    time.sleep(0.5)
    assert daemon.status()["media_mappings"] == 0
    assert daemon.status()["calls"] == 0
    assert not [e.line for e in net.conntrack.udp()
                if MEDIA in e.line and e.assured]
    for (inside, outside), (_, told) in zip(ends, calls):
        outside.send(rtp(9), told[:2])
    for inside, _ in ends[::50]:
        inside.nothing(0.1)


# --- registrations ---

class Account:
    """One of several accounts of a phone, on one socket."""

    def __init__(self, line, user):
        self.line, self.user = line, user
        self.identity = f"<sip:{user}@example.com>"

    def _as(self):
        phone = self.line.phone
        phone.user, phone.identity = self.user, self.identity
        phone.contact = f"<sip:{self.user}@{phone.host}:{phone.port}>"

    def register(self, expires=3600):
        self._as()
        seen = self.line.out(self.line.phone.register(expires))
        reply(self.line, seen, headers=[f"Expires: {expires}"])

    def called(self):
        uri = f"sip:{self.user}@{public(self.line)}"
        seen = self.line.into(self.line.server.request(
            "OPTIONS", uri, to=self.identity))
        assert seen.uri == f"sip:{self.user}@{ALICE}:5060"
        self._as()
        self.line.out(self.line.phone.respond(seen.bytes, 200, tag="p"))


@short
def test_several_accounts_on_one_port(daemon, line):
    accounts = [Account(line, user) for user in ("one", "two", "three")]
    for account in accounts:
        account.register()
    for account in accounts:
        account.called()
    accounts[1].register(expires=0)
    time.sleep(LONG_AGO_S)
    accounts[0].called()
    accounts[2].called()
    accounts[0].register(expires=0)
    accounts[2].register(expires=0)
    time.sleep(LONG_AGO_S)
    line.server.send(line.server.request(
        "OPTIONS", f"sip:one@{public(line)}"), line.public[5060])
    line.phone.nothing()


@short
def test_accounts_at_two_registrars(daemon, phone, server):
    alice = phone()
    lines = [Line(alice, server(PROXY)), Line(alice, server(PROXY2))]
    accounts = [Account(line, "alice") for line in lines]
    for account in accounts:
        account.register()
    accounts[0].register(expires=0)
    time.sleep(LONG_AGO_S)
    accounts[1].called()
    lines[0].server.send(lines[0].server.request(
        "OPTIONS", f"sip:alice@{public(lines[0])}"), lines[0].public[5060])
    alice.nothing()


@short
def test_star_ends_all_contacts_and_is_not_touched(daemon, line):
    line.register()
    own_contact = line.phone.contact
    line.phone.contact = "*"
    seen = line.out(line.phone.register(expires=0))
    assert seen.get("Contact") == "*"
    reply(line, seen, contact=False)
    time.sleep(LONG_AGO_S)
    line.server.send(line.server.request(
        "OPTIONS", f"sip:alice@{public(line)}"), line.public[5060])
    line.phone.nothing()
    line.phone.contact = own_contact
    line.register()  # on the same port as before: Line looks
    time.sleep(LONG_AGO_S)
    line.into(line.server.request("OPTIONS", f"sip:alice@{public(line)}",
                                  to=line.phone.identity))


@short
def test_expires_0_as_a_contact_parameter(daemon, line):
    line.register()
    line.phone.contact += ";expires=0"
    seen = line.out(line.phone.request(
        "REGISTER", "sip:example.com", to=line.phone.identity))
    reply(line, seen, contact=False)
    time.sleep(LONG_AGO_S)
    line.server.send(line.server.request(
        "OPTIONS", f"sip:alice@{public(line)}"), line.public[5060])
    line.phone.nothing()


@short
def test_a_query_without_contact_changes_nothing(daemon, line):
    """RFC 3261 10.2.3: REGISTER without Contact only asks."""
    line.register()
    seen = line.out(line.phone.request(
        "REGISTER", "sip:example.com", to=line.phone.identity,
        contact=False))
    listed = f"<sip:alice@{public(line)}>;expires=3000"
    reply(line, seen, contact=False, headers=[f"Contact: {listed}"])
    time.sleep(LONG_AGO_S)
    line.into(line.server.request("OPTIONS", f"sip:alice@{public(line)}",
                                  to=line.phone.identity))


@short
def test_third_party_registration(daemon, line):
    """RFC 3261 10.2: From registers To; it is To who is reached."""
    boss = "<sip:boss@example.com>"
    line.phone.contact = f"<sip:boss@{ALICE}:5060>"
    seen = line.out(line.phone.request(
        "REGISTER", "sip:example.com", to=boss, headers=["Expires: 3600"]))
    reply(line, seen, headers=["Expires: 3600"])
    assert daemon.status()["registrations"] == 1
    listed = daemon.ctl("registrations")
    assert [r["aor"] for r in listed] == ["sip:boss@example.com"]
    time.sleep(LONG_AGO_S)
    got = line.into(line.server.request(
        "OPTIONS", f"sip:boss@{public(line)}", to=boss))
    assert got.uri == f"sip:boss@{ALICE}:5060"


def test_third_party_contact_is_left_alone(daemon, phone, server):
    """A registers for a phone elsewhere, and for another one inside."""
    line = Line(phone(), server())
    carol = Line(phone(CAROL, user="carol"), line.server)
    line.register(), carol.register()
    for contact in ("<sip:c@198.51.100.7:5060>", "<sip:c@192.168.1.77>"):
        line.phone.contact = contact
        seen = line.out(line.phone.request(
            "REGISTER", "sip:example.com", to="<sip:c@example.com>",
            headers=["Expires: 60"]))
        assert seen.get("Contact") == contact
        got, _ = reply(line, seen)
        assert got.get("Contact") == contact
