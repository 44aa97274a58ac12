# SPDX-License-Identifier: GPL-2.0-or-later
"""Starting, stopping, reloading; and what goes on without the daemon."""

import os
import signal
import time

import pytest

from lib import sip
from lib.agents import media_flows
from lib.call import Call, announced, call_out
from lib.daemon import Sipalgd
from lib.gateway import ALICE, MEDIA, PUBLIC
from lib.sip import sdp


@pytest.fixture
def stopped(net, build, own):
    """A daemon with its rules in place that does not run."""
    sipalgd = own(Sipalgd(net.gw, build))
    sipalgd.apply_rules()
    return sipalgd


def untouched(line):
    """A REGISTER passes as plain NAT would pass it."""
    register = line.phone.register()
    line.phone.send(register, line.server.address)
    seen, source = line.server.recv()
    sip.same_bytes(register, seen)
    answer = line.server.respond(seen, 200, source=source, tag="x")
    line.server.send(answer, source)
    got, _ = line.phone.recv()
    sip.same_bytes(answer, got)


def test_never_started_sip_passes_untouched(stopped, line):
    untouched(line)


def test_stopped_sip_passes_untouched(daemon, line):
    line.register()
    daemon.stop()
    untouched(line)
    daemon.start()
    line.register()


def test_nothing_is_open_at_start(stopped, line):
    """Nor standard error: no socket gets its number, and the log."""
    stopped.prefix = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    stopped.start()
    for number in range(3):
        assert os.readlink(f"/proc/{stopped.pid}/fd/{number}") == "/dev/null"
    line.register()
    stopped.reload()
    assert stopped.status()["registrations"] == 1
    stopped.stop()
    assert not os.path.exists(stopped.socket)


def test_killed_sip_passes_untouched(net, stopped, line):
    stopped.start()
    line.register()
    os.kill(stopped.pid, signal.SIGKILL)
    stopped.process.wait()
    stopped.process = None
    untouched(line)
    stopped.start()
    line.register()


def test_sigterm_leaves_media_flowing(daemon, line, media_inside,
                                      media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    daemon.stop()
    media_flows(mine, theirs, told, first="outside")
    daemon.start()
    media_flows(mine, theirs, told, first="outside")
    call.from_server("BYE")


@pytest.mark.sysctl(nf_conntrack_udp_timeout=2,
                    nf_conntrack_udp_timeout_stream=2)
def test_a_call_goes_on_over_a_restart(daemon, line, media_inside,
                                       media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    daemon.stop()
    time.sleep(1)
    daemon.start()
    call.reinvite_from_phone(sdp(ALICE, (4000, "a=sendonly"), version=2),
                             sdp(MEDIA, 8000))
    media_flows(mine, theirs, told)
    call.from_server("BYE")


BAD = """\
[gateway]
lan_interfaces = lan0
wan_interface = wan0
[sip]
ports = 99999
"""


def test_reload_of_a_bad_file_keeps_the_old_one(daemon, line):
    line.register()
    with open(daemon.config, "w", encoding="ascii") as file:
        file.write(BAD)
    before = daemon.log()
    daemon.reload()
    said = daemon.log()[len(before):]
    assert "wan_interface" in said and "sip.ports" in said, said
    line.register()
    Call(line).invite_in()
    assert daemon.status()["mode"] == "active"


def test_reload_takes_a_good_file(daemon, line):
    line.register()
    daemon.settings["gateway.mode"] = "bypass"
    daemon.write_config()
    daemon.reload()
    untouched(line)
    daemon.settings["gateway.mode"] = "active"
    daemon.write_config()
    daemon.reload()
    line.register()


def test_reload_keeps_registrations_and_calls(daemon, line, media_inside,
                                              media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    daemon.settings["media.timeout"] = 60
    daemon.write_config()
    daemon.reload()
    media_flows(mine, theirs, announced(call.invite_seen), first="outside")
    call.from_phone("BYE")
    Call(line).invite_in()


def test_rules_come_and_go_without_a_trace(net, build, own):
    sipalgd = own(Sipalgd(net.gw, build))

    def saved():
        # chains' counters and comments of time aside
        return [line.split("[")[0]
                for line in net.gw.run(["iptables-save"]).stdout.splitlines()
                if not line.startswith("#")]

    def without_empty_tables(lines):
        text = "\n".join(lines)
        for table in ("raw", "mangle"):
            head, found, tail = text.partition(f"*{table}\n")
            if found:
                body, _, rest = tail.partition("COMMIT")
                assert "-A" not in body and "sipalg" not in body.lower()
                text = head + rest.lstrip("\n")
        return text.strip()

    before = without_empty_tables(saved())
    for _ in range(2):
        sipalgd.apply_rules()
        assert "--queue-bypass" in net.gw.run(["iptables-save"]).stdout
        sipalgd.remove_rules()
        assert without_empty_tables(saved()) == before


def test_rules_applied_twice_are_there_once(net, build, own):
    sipalgd = own(Sipalgd(net.gw, build))
    sipalgd.apply_rules()
    once = net.gw.run(["iptables-save"]).stdout.count("NFQUEUE")
    try:
        sipalgd.apply_rules()
    except RuntimeError:
        pass  # iptables-restore may say that they are there already
    assert net.gw.run(["iptables-save"]).stdout.count("NFQUEUE") == once > 0


def test_status(daemon, line):
    line.register()
    status = daemon.status()
    assert {"version", "mode", "uptime_s", "queues", "flows",
            "registrations", "calls", "media_mappings"} <= status.keys()
    assert status["mode"] == "active"
    assert status["registrations"] == 1 and status["flows"] >= 1
    queue, = status["queues"]
    assert {"number", "packets", "dropped", "user_dropped"} <= queue.keys()
    assert queue["number"] == 5060
    assert queue["packets"] >= 2 and queue["dropped"] == 0


def test_status_counts_calls_and_mappings(daemon, line):
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    status = daemon.status()
    assert status["calls"] == 1 and status["media_mappings"] > 0
    call.from_phone("BYE")
    assert daemon.status()["media_mappings"] == 0


def test_no_daemon_is_exit_status_3(stopped):
    done = stopped.namespace.run(
        [stopped.program("sipalgctl"), "--socket", stopped.socket, "status"],
        check=False)
    assert done.returncode == 3, done


def test_check_lists_every_error(stopped):
    with open(stopped.config, "w", encoding="ascii") as file:
        file.write(BAD)
    done = stopped.namespace.run(
        [stopped.program("sipalgd"), "-c", stopped.config, "--check"],
        check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    for line in (f"{stopped.config}:3: gateway.wan_interface: ",
                 f"{stopped.config}:5: sip.ports: "):
        assert line in said, said
    assert "gateway.wan_interfaces" in said  # missing, and suggested
    stopped.write_config()
    done = stopped.namespace.run(
        [stopped.program("sipalgd"), "-c", stopped.config, "--check"])
    assert done.returncode == 0


@pytest.mark.nat("snat")
@pytest.mark.config(gateway__public_address=PUBLIC)
def test_configured_public_address(daemon, line):
    line.register()
    assert line.public[5060][0] == PUBLIC


@pytest.mark.config(sip__signalling_ports="5900-5901",
                    media__rtp_ports="20000-20003")
def test_port_ranges_are_those_configured(daemon, line, media_inside,
                                          media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    assert line.public[5060][1] in (5900, 5901)
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    assert 20000 <= told[1] <= 20003
    media_flows(mine, theirs, told, first="outside")


@pytest.mark.config(media__rtp_ports="20000-20003")
def test_ports_of_ended_calls_are_used_again(daemon, line, media_inside,
                                             media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    for _ in range(6):
        call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
        told = announced(call.invite_seen)
        media_flows(mine, theirs, told, first="outside")
        call.from_phone("BYE")
