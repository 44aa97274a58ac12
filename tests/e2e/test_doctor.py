# SPDX-License-Identifier: GPL-2.0-or-later
"""sipalgctl doctor: each test breaks one thing on a healthy gateway, has it
found, pastes the fix into a shell, and has it gone.

What the kernel of the test machine has not got, or does not let a namespace
change, is put in its place: a directory over /proc/sys/net/netfilter, a program
"nft" that prints what a real one printed.
"""

import json
import os
import pathlib
import re
import shutil
import socket
import textwrap
import time

import pytest

from lib.agents import Line
from lib.daemon import Sipalgd
from lib.gateway import ALICE, BOB, PROXY, PUBLIC, Net
from lib.gateway6 import Net6, why_not
from lib.tcp import Chatter, TcpLine
from lib.tcpnet import TcpNet
from lib.topologies import BEHIND, PROXY1, PUBLIC1, BehindNat, TwoUplinks, \
    opened

ROOT = pathlib.Path(__file__).parents[2]
ROUNDS = 3  # what one fix leaves for the next (a new file, then its rules)
NETFILTER = "/proc/sys/net/netfilter"
JUMP = "-m comment --comment sipalgd -j SIPALGD"
COMMENT = "a comment with $HOME, 'single' and `back` quotes"


class Doctor:
    """sipalgctl doctor in the gateway, and a shell beside it.

    daemon: its Sipalgd; what a fix does to the service is done to that.
    before: shell commands that come first, in a mount namespace of their own.
    """

    def __init__(self, daemon, namespace=None):
        self.daemon, self.before = daemon, "true"
        self.namespace = namespace or daemon.namespace
        self.bin = daemon.path("bin")
        os.mkdir(self.bin)
        self.asked = daemon.path("service")
        for name in ("service", "systemctl"):
            self.program(name, f'echo "$@" >>{self.asked}')

    def program(self, name, script):
        """A program that is found before others of that name."""
        path = os.path.join(self.bin, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + script + "\n")
        os.chmod(path, 0o755)

    def shell(self, script, **kwargs):
        """Run in the namespace, as an operator would."""
        path = f"{self.bin}:{self.daemon.build}:{os.environ['PATH']}"
        return self.namespace.run(
            ["sh", "-c", f"{self.before} && {{ {script}\n}}"], env={
                **os.environ, "PATH": path,
                "SIPALGD": self.daemon.program("sipalgd"),
                "SIPALGD_RULES": self.daemon.program("systemd/sipalgd-rules"),
                "SIPALGD_CONF": self.daemon.config,
                "EDITOR": os.path.join(self.bin, "editor")}, **kwargs)

    def apply(self):
        """The rules, as the service brings them, for both families."""
        self.shell("sh $SIPALGD_RULES apply")

    def ask(self, *arguments):
        """(findings, exit status)"""
        done = self.shell(" ".join([
            self.daemon.program("sipalgctl"), "--socket", self.daemon.socket,
            "--json", "doctor", *arguments]), check=False)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout), done.returncode

    def healthy(self):
        found, status = self.ask()
        assert (found, status) == ([], 0)

    def finds(self, *codes):
        """Exactly these, in any order; the findings."""
        found, status = self.ask()
        assert sorted(f["code"] for f in found) == sorted(codes), found
        assert status == 1
        for finding in found:
            assert finding["severity"] in ("error", "warning")
            assert finding["text"] and finding["fix"]
        return found

    def paste(self, findings):
        for finding in findings:
            self.shell(finding["fix"])
        self.serve()

    def serve(self):
        """What the service was asked for."""
        if not os.path.exists(self.asked):
            return
        with open(self.asked, encoding="ascii") as file:
            verbs = re.findall("start", file.read())
        os.unlink(self.asked)
        if verbs:
            self.daemon.stop()
            self.daemon.start()

    def mends(self, *codes):
        """These are found, and gone when their fixes were pasted."""
        found = self.finds(*codes)
        self.paste(found)
        for _ in range(ROUNDS):
            left, _status = self.ask()
            assert not {f["code"] for f in left} & set(codes), left
            if not left:
                break
            self.paste(left)
        self.healthy()
        return found


@pytest.fixture
def net(request):
    """The usual world, or the one that the test names."""
    yield from opened(getattr(request, "param", Net), request)


@pytest.fixture
def doctor(daemon):
    """Of a healthy gateway."""
    doc = Doctor(daemon)
    doc.apply()
    return doc


# ---- a healthy gateway ----

def test_healthy(doctor, line):
    line.register()
    doctor.healthy()
    found, status = doctor.ask("--all")
    assert (found, status) == ([], 0)


def legacy(doctor):
    """iptables is the old one, for whoever runs it in there."""
    there, here = "/etc/alternatives", doctor.daemon.path("alternatives")
    if not os.path.lexists(f"{there}/iptables"):
        pytest.skip("no alternatives of iptables")
    shutil.copytree(there, here, symlinks=True)
    for family in ("iptables", "ip6tables"):
        for tool in ("", "-save", "-restore"):
            os.unlink(f"{here}/{family}{tool}")
            os.symlink(f"/usr/sbin/{family}-legacy{tool}",
                       f"{here}/{family}{tool}")
    doctor.before = f"mount --bind {here} {there}"


def test_healthy_with_the_old_tables(net, build, own):
    daemon = own(Sipalgd(net.gw, build))
    doctor = Doctor(daemon)
    net.gw.run(["nft", "flush", "ruleset"])
    legacy(doctor)
    doctor.shell("iptables -t nat -A POSTROUTING -o wan0 -j MASQUERADE")
    doctor.apply()
    daemon.start()
    doctor.healthy()
    doctor.shell("iptables -t raw -D SIPALGD-LAN 2")
    doctor.shell("iptables -t raw -I PREROUTING -p udp -j ACCEPT")
    found = doctor.mends("rules_stale", "rules_shadowed")
    assert "iptables-legacy" in found[1]["fix"]


def test_fixes_are_for_the_tables_in_use(net, build, own):
    """Where iptables is the old one it is nft's rules that are too many."""
    daemon = own(Sipalgd(net.gw, build))
    doctor = Doctor(daemon)
    net.gw.run(["nft", "flush", "ruleset"])
    legacy(doctor)
    doctor.apply()
    daemon.start()
    found = doctor.mends("no_snat")
    assert found[0]["fix"].startswith("iptables-legacy ")
    doctor.shell("sipalgd -c $SIPALGD_CONF --print-rules | "
                 "iptables-nft-restore --noflush")
    doctor.mends("rules_doubled")
    assert "SIPALGD" not in doctor.shell("iptables-nft-save").stdout
    assert "SIPALGD" in doctor.shell("iptables-legacy-save").stdout


@pytest.mark.parametrize("net", [TwoUplinks], indirect=True)
@pytest.mark.config(gateway__wan_interfaces="wan+")
def test_healthy_with_two_uplinks(net, daemon):
    doctor = Doctor(daemon)
    doctor.apply()
    net.gw.sysctl(conf__all__rp_filter=1, conf__wan1__rp_filter=1)
    doctor.healthy()
    net.gw.ip(f"route add default via {PROXY1} dev wan1 table 101",
              f"rule add from {PUBLIC1} lookup 101")
    doctor.healthy()


def test_what_others_have_does_not_alarm(doctor):
    """Rules of Docker, of an anti-spoofing script, of an admin's bypass."""
    doctor.shell(textwrap.dedent(f"""\
        set -e
        iptables -t raw -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP
        iptables -t raw -I PREROUTING -i wan0 -s 192.168.0.0/16 -j DROP
        iptables -t raw -I PREROUTING -s {BOB} -p udp --dport 5060 -j ACCEPT
        iptables -t raw -I PREROUTING -p udp --dport 53 -j CT --notrack
        iptables -t raw -I PREROUTING -i lo -j ACCEPT
        iptables -t raw -I PREROUTING -p udp --sport 53 -j ACCEPT
        iptables -t raw -I PREROUTING -i lan0 -p udp --dport 5080 -j DROP
        iptables -t raw -I PREROUTING -p tcp --dport 21 -j CT --helper ftp
        iptables -t raw -N KNOWN
        iptables -t raw -I PREROUTING -i lan0 -j KNOWN
        iptables -t raw -A KNOWN -p udp --dport 5060 -j RETURN
        iptables -t raw -A KNOWN -p udp -s 192.168.1.0/24 -j RETURN
        iptables -t raw -A KNOWN -p udp --sport 4000 -j RETURN
        iptables -t raw -A KNOWN -p tcp --dport 9 -j DROP
        iptables -t raw -N BACK
        iptables -t raw -I KNOWN -p udp -g BACK
        iptables -t raw -N EMPTY
        iptables -t raw -I PREROUTING -j EMPTY
        iptables -t raw -A EMPTY -p icmp -j ACCEPT
        iptables -t raw -A EMPTY -m mark --mark 1 -j ACCEPT
        iptables -A FORWARD -p tcp -j NFQUEUE --queue-num 1 --queue-bypass
        iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 \\
            -j MASQUERADE
        nft add table inet other
        nft add chain inet other pre '{{ type filter hook prerouting \\
            priority raw; }}'
        nft add rule inet other pre udp dport 53 notrack
        nft add rule inet other pre ip saddr 192.168.9.9 notrack
        nft add rule inet other pre meta l4proto icmp notrack
        nft add rule inet other pre udp dport 5060 accept
        """))
    doctor.healthy()


def test_nat_in_a_chain_of_nft_that_has_a_name_of_iptables(doctor):
    """iptables-save lists the chain, but not its rules."""
    doctor.shell(textwrap.dedent("""\
        set -e
        nft delete table ip nat
        nft add table ip nat
        nft add chain ip nat POSTROUTING \\
            '{ type nat hook postrouting priority 99; }'
        nft add rule ip nat POSTROUTING oifname wan0 masquerade
        iptables-legacy -t nat -A POSTROUTING -o docker0 -j MASQUERADE
        """))
    doctor.healthy()


def without(doctor, *names):
    """These programs are not there."""
    doctor.before = " && ".join(
        f"mount --bind /dev/null $(readlink -f $(command -v {n}))" for n in names)


def test_without_iptables(doctor):
    doctor.shell("sh $SIPALGD_RULES remove")
    without(doctor, "iptables-nft", "iptables-legacy")
    found, status = doctor.ask()
    assert [f["code"] for f in found] == ["not_checked", "rules_missing"]
    assert status == 1 and "no iptables" in found[1]["text"]
    assert found[1]["fix"].startswith("apt-get install iptables && ")
    # Somebody may have brought them otherwise
    nft_that_lists(doctor, "udp dport 5060 queue flags bypass to 5060 "
                           "# handle 20")
    found, status = doctor.ask()
    assert [f["code"] for f in found] == ["not_checked"] * 2 and status == 0
    assert "inet fw4 forward" in found[1]["text"]


@pytest.mark.parametrize("program, package, what", [
    ("nft", "nftables", "its rules were"), ("ip", "iproute2", "routes were")])
def test_without_a_tool(doctor, program, package, what):
    """firewalld and Docker need no program to bring rules of nftables."""
    without(doctor, program)
    found, status = doctor.ask()
    assert [f["code"] for f in found] == ["not_checked"] and status == 0
    assert f"{program} is not installed: {what} not" in found[0]["text"]
    assert found[0]["fix"] == f"apt-get install {package}"


def test_a_daemon_that_hangs(daemon, doctor):
    os.kill(daemon.pid, 19)  # SIGSTOP
    try:
        found, status = doctor.ask(daemon.config)
        assert ([f["code"] for f in found], status) == (["no_daemon"], 1)
        assert "does not answer" in found[0]["text"]
        assert found[0]["fix"].endswith("sipalgd restart")
    finally:
        os.kill(daemon.pid, 18)


def test_the_daemons_own_file_counts(daemon, doctor):
    other = daemon.path("other.conf")
    with open(other, "w", encoding="ascii") as file:
        file.write("[gateway]\nlan_interfaces = a\n")
    assert doctor.ask(other) == ([], 0)


def test_a_file_named_from_where_the_daemon_was_started(daemon, doctor):
    daemon.stop()
    process = daemon.namespace.popen(
        [daemon.program("sipalgd"), "-c", "sipalgd.conf"],
        cwd=daemon.directory, stdout=-3, stderr=-3)
    try:
        while not os.path.exists(daemon.socket):
            assert process.poll() is None
            time.sleep(0.05)
        doctor.healthy()
    finally:
        process.terminate()
        process.wait()
    daemon.start()


def test_a_rule_that_is_no_utf_8(doctor):
    """It is found, and the document is one."""
    doctor.shell("iptables -t raw -I PREROUTING -p udp -m comment --comment "
                 "\"$(printf 'M\\374ller')\" -j NOTRACK")
    found = doctor.finds("notrack")
    assert "M\\xfcller" in found[0]["text"]
    assert found[0]["fix"].startswith("# ")


def test_the_file_may_be_read_by_root_only(daemon, doctor, own):
    os.chmod(daemon.directory, 0o755)
    os.chmod(daemon.config, 0o600)
    shutil.copy(daemon.program("sipalgctl"), doctor.bin)
    os.chmod(doctor.bin, 0o755)
    done = doctor.shell(
        "setpriv --reuid 65534 --regid 65534 --clear-groups "
        f"{doctor.bin}/sipalgctl --socket {daemon.socket} --json doctor "
        f"{daemon.config}", check=False)
    found = [f for f in json.loads(done.stdout)
             if "depends on the configuration" in f["text"]]
    assert found[0]["fix"] == (f"sudo {doctor.bin}/sipalgctl --socket "
                               f"{daemon.socket} doctor")


def test_a_file_whose_last_line_has_no_end(daemon, doctor, phone, server):
    with open(daemon.config, encoding="ascii") as file:
        text = file.read().rstrip() + "\n[limits]\nregistrations = 1"
    with open(daemon.config, "w", encoding="ascii") as file:
        file.write(text)
    daemon.reload()
    doctor.shell(f"sed -i 's/limits/LIMITS/; s/registrations = 1/flows=9/' "
                 f"{daemon.config}; printf %s \"$(cat {daemon.config})\" "
                 f">{daemon.config}.x; cat {daemon.config}.x >{daemon.config}")
    proxy = server()
    for number, host in enumerate((ALICE, BOB)):
        Line(phone(host, user=f"u{number}"), proxy).register()
    found = [f for f in doctor.ask()[0] if f["code"] == "table_full"]
    doctor.paste(found)
    printed = daemon.rules("--print-config")
    assert "registrations = 2\n" in printed and "flows = 9\n" in printed


def test_no_daemon(daemon, doctor):
    daemon.stop()
    found, status = doctor.ask(daemon.config)
    assert ([f["code"] for f in found], status) == (["no_daemon"], 1)
    doctor.paste(found)
    doctor.healthy()


def test_no_daemon_and_no_rules(daemon, doctor):
    daemon.stop()
    doctor.shell("sh $SIPALGD_RULES remove")
    found, _ = doctor.ask(daemon.config)
    assert [f["code"] for f in found] == ["no_daemon", "rules_missing"]
    doctor.paste(found)
    doctor.healthy()


def test_not_root(daemon, doctor, own):
    """It says what it could not look at, and does not call that wrong."""
    shutil.copy(daemon.program("sipalgctl"), doctor.bin)
    for path in (daemon.directory, doctor.bin):
        os.chmod(path, 0o755)
    done = doctor.shell(
        "setpriv --reuid 65534 --regid 65534 --clear-groups "
        f"{doctor.bin}/sipalgctl --socket {daemon.socket} --json doctor "
        f"{daemon.config}", check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert {f["code"] for f in found} == {"not_checked"}
    assert {f["severity"] for f in found} == {"unknown"}
    text = "\n".join(f["text"] for f in found)
    for what in ("iptables", "nft", "the daemon", "not root"):
        assert what in text
    assert all(f["fix"].startswith("sudo ") for f in found)


def test_without_a_namespace_to_try_the_rules_in(doctor):
    """Then what they should be is not known, and that is said."""
    done = doctor.shell(
        "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "
        f"{doctor.daemon.program('sipalgctl')} --socket "
        f"{doctor.daemon.socket} --json doctor", check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert {f["code"] for f in found} == {"not_checked"}
    assert "could not be compared" in found[0]["text"]


# ---- rules and settings ----

BROKEN = [
    ("accounting_off", "sysctl -w net.netfilter.nf_conntrack_acct=0"),
    ("conntrack_events_off", "sysctl -w net.netfilter.nf_conntrack_events=0"),
    ("udp_timeout", "sysctl -w net.netfilter.nf_conntrack_udp_timeout=5"),
    ("udp_timeout",
     "sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=20"),
    ("forwarding_off", "sysctl -w net.ipv4.ip_forward=0"),
    ("no_snat", "iptables -t nat -F POSTROUTING"),
    ("no_snat", "iptables -t nat -F POSTROUTING && iptables -t nat -A "
                "POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"),
    ("rules_missing", "iptables -t raw -F OUTPUT"),
    ("rules_missing", "iptables -t raw -F PREROUTING"),
    ("rules_missing", "sh $SIPALGD_RULES remove"),
    ("rules_stale", "iptables -t raw -D SIPALGD-LAN 2"),
    ("rules_stale", "iptables -t raw -A SIPALGD-WAN -p udp -j ACCEPT"),
    ("rules_stale", "iptables -t raw -F SIPALGD-OUT"),
    ("rules_stale", "ip6tables -t raw -F SIPALGD-LAN"),
    ("rules_doubled", f"iptables -t raw -A PREROUTING {JUMP}"),
    ("rules_doubled", "sipalgd -c $SIPALGD_CONF --print-rules | "
                      "iptables-legacy-restore --noflush"),
    ("rules_shadowed",
     "iptables -t raw -I PREROUTING -p udp --dport 5060 -j ACCEPT"),
    ("rules_shadowed", "iptables -t raw -I PREROUTING -i lan+ -j RETURN"),
    ("rules_shadowed", "iptables -t raw -I PREROUTING ! -i lo -p udp "
                       "-m multiport --sports 53,5060:5070 -j ACCEPT"),
    ("rules_shadowed", "iptables -t raw -I PREROUTING -p udp "
                       "-j NFQUEUE --queue-num 1 --queue-bypass"),
    ("rules_shadowed",
     "iptables -t raw -N ADMIN && iptables -t raw -A ADMIN -p icmp -j RETURN "
     "&& iptables -t raw -A ADMIN -p tcp -j ACCEPT && "
     "iptables -t raw -I PREROUTING -i lan0 -j ADMIN"),
    ("rules_shadowed", "iptables -t raw -N ADMIN && iptables -t raw -I "
                       "PREROUTING -p udp -g ADMIN"),
    ("rules_after_jump",
     "iptables -t raw -A PREROUTING -i lan0 -p udp --dport 5060 -j DROP"),
    ("notrack",
     "iptables -t raw -I PREROUTING -p udp --dport 5060 -j CT --notrack"),
    ("notrack", "iptables -t raw -I PREROUTING -p udp -m comment "
                f"--comment \"{COMMENT.replace('$', chr(92) + '$')}\" "
                "-j CT --notrack".replace("`", "\\`")),
    ("notrack", "iptables -t raw -I PREROUTING -p udp -m multiport "
                "--dports 20000:30000 -j NOTRACK"),
    ("notrack", "ip6tables -t raw -I PREROUTING -p udp -j NOTRACK"),
    ("notrack",
     "nft add table inet o && nft add chain inet o c "
     "'{ type filter hook prerouting priority -310; }' && "
     "nft add rule inet o c udp dport '{ 53, 5000-6000 }' counter notrack"),
    ("notrack",
     "nft add table inet o && nft add chain inet o c "
     "'{ type filter hook prerouting priority -310; }' && "
     "nft add rule inet o c counter notrack"),
    ("kernel_helper",
     "iptables -t raw -I PREROUTING -p udp --dport 5060 -j CT --helper sip"),
    ("kernel_helper", "iptables -t raw -A OUTPUT -s 192.168.1.1 -p udp "
                      "-j CT --helper sip"),
    ("queue_shared", "iptables -A FORWARD -p tcp -j NFQUEUE --queue-num 5060 "
                     "--queue-bypass"),
    ("queue_shared", "iptables -A FORWARD -p tcp -j NFQUEUE --queue-balance "
                     "5050:5070 --queue-bypass"),
]


@pytest.mark.parametrize("code, script", BROKEN,
                         ids=[f"{n}-{code}" for n, (code, _script) in
                              enumerate(BROKEN)])
def test_found_and_mended(doctor, code, script):
    doctor.healthy()
    doctor.shell(script)
    doctor.mends(code)


def test_the_jumps_place_is_before_what_hid_it(net, doctor, line):
    """SIP is read again, and the rule that hid it still stands."""
    rule = "-p udp -m udp --dport 5060 -j ACCEPT"
    doctor.shell(f"iptables -t raw -I PREROUTING {rule}")
    doctor.mends("rules_shadowed")
    assert rule in doctor.shell("iptables-save -t raw").stdout
    line.register()


@pytest.mark.config(media__source="any")
def test_media_rules(daemon, doctor):
    doctor.healthy()
    doctor.shell("iptables -t mangle -F PREROUTING")
    doctor.mends("rules_missing")
    daemon.settings["media.source"] = "strict"
    daemon.write_config()
    daemon.reload()
    found = doctor.mends("rules_stale", "rules_stale")
    assert all("left over" in f["text"] for f in found)


CLASS = {"media.dscp": "ef", "media.conntrack_mark": "0x100/0x300"}


def test_media_class_is_not_there(daemon, doctor):
    """Configured, but no rule does it: then what to paste, and gone."""
    daemon.settings.update(CLASS)
    daemon.write_config()
    daemon.reload()
    found = doctor.mends(*["rules_missing"] * 4)  # jump, chain; both families
    assert all("media does not get its class" in f["text"] for f in found)
    for broken, code in (
            ("iptables -t mangle -F PREROUTING", "rules_missing"),
            ("iptables -t mangle -D SIPALGD-MEDIA 1", "rules_stale"),
            ("ip6tables -t mangle -F SIPALGD-MEDIA", "rules_stale"),
            ("sh $SIPALGD_RULES remove", "rules_missing")):
        doctor.shell(broken)
        found = doctor.mends(code)
        assert "media its class" in found[0]["text"] or \
            "get its class" in found[0]["text"]
    doctor.shell("iptables -t raw -F OUTPUT")
    assert "class" not in doctor.mends("rules_missing")[0]["text"]


@pytest.mark.config(media__conntrack_mark="0x100/0x300")
@pytest.mark.parametrize("use", [
    None, "iptables -t mangle -A POSTROUTING -m connmark --mark 0x100/0x300 "
    "-j CLASSIFY --set-class 1:10",
    "iptables -t mangle -A PREROUTING -j CONNMARK --restore-mark"])
def test_mark_that_nobody_looks_at(doctor, use):
    """Worth knowing, not wrong: what it is for is not ours to say."""
    found, status = doctor.ask()
    assert [f["code"] for f in found] == ["mark_unused"] and status == 0
    assert found[0]["severity"] == "notice"
    assert "0x100/0x300" in found[0]["text"]
    doctor.shell(use or found[0]["fix"])
    doctor.healthy()


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
def test_forwarding_keeps_the_route_that_was_advertised(build, own):
    net = own(Net6())
    daemon = own(Sipalgd(net.gw, build))
    doctor = Doctor(daemon)
    doctor.apply()
    daemon.start()
    net.gw.ip("route add default via fe80::1 dev wan0 proto ra "
              "metric 2000")
    doctor.shell("sysctl -w net.ipv6.conf.all.forwarding=0 && "
                 "sysctl -w net.ipv6.conf.wan0.accept_ra=1")
    found = doctor.mends("forwarding_off")
    assert "wan0/accept_ra=2 && sysctl" in found[0]["fix"]
    assert doctor.shell("sysctl -n net.ipv6.conf.wan0.accept_ra"
                        ).stdout == "2\n"


@pytest.mark.skipif(bool(why_not()), reason=str(why_not()))
def test_ipv6(build, own):
    net = own(Net6())
    daemon = own(Sipalgd(net.gw, build))
    doctor = Doctor(daemon)
    doctor.apply()
    daemon.start()
    doctor.healthy()
    doctor.shell("sysctl -w net.ipv6.conf.all.forwarding=0")
    doctor.mends("forwarding_off")
    doctor.shell("ip6tables -t raw -F OUTPUT")
    found = doctor.mends("rules_missing")
    assert "IPv6" in found[0]["text"]
    doctor.shell("sh $SIPALGD_RULES remove")
    doctor.mends("rules_missing")


# ---- what this kernel has not got ----

def over_netfilter(doctor, **values):
    """Other settings of conntrack, for the doctor and for the fix."""
    copy = doctor.daemon.path("netfilter")
    os.mkdir(copy)
    doctor.shell(f"cp {NETFILTER}/* {copy}/ 2>/dev/null; true")
    for name, value in values.items():
        path = os.path.join(copy, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{value}\n")
        os.chmod(path, 0o644)  # where we may not
    doctor.before = f"mount --bind {copy} {NETFILTER}"


def test_conntrack_full(doctor):
    over_netfilter(doctor, nf_conntrack_count=89, nf_conntrack_max=100)
    doctor.healthy()
    doctor.before = "true"
    shutil.rmtree(doctor.daemon.path("netfilter"))
    over_netfilter(doctor, nf_conntrack_count=90, nf_conntrack_max=100)
    doctor.mends("conntrack_full")


@pytest.mark.skipif(not os.path.isdir("/sys/module/nf_conntrack_sip"),
                    reason="no nf_conntrack_sip here")
def test_helper_that_the_kernel_assigns(doctor):
    over_netfilter(doctor, nf_conntrack_helper=1)
    doctor.mends("kernel_helper")


# As nft 1.0.6 lists a ruleset on Debian 12, and fw4's on OpenWrt 23.05
NFT_LISTED = """\
table inet fw4 { # handle 1
	ct helper sip { # handle 9
		type "sip" protocol udp
		l3proto inet
	}

	ct helper ftp { # handle 10
		type "ftp" protocol tcp
		l3proto inet
	}

	flowtable ft { # handle 2
		hook ingress priority filter
		devices = { lan0, wan0 }
		counter
	}

	set elements { # handle 4
		type ipv4_addr
		elements = { 10.0.0.1, 10.0.0.2,
			     10.0.0.3 }
	}

	chain forward { # handle 3
		type filter hook forward priority filter; policy drop;
RULE		ct state vmap { established : accept, related : accept } # handle 21
		iifname "lan0" jump helper_lan # handle 22
	}

	chain helper_lan { # handle 5
		tcp dport 21 ct helper set "ftp" # handle 23
HELPER	}
}
"""


def nft_that_lists(doctor, rule="", helper=""):
    """A program nft that lists this until it was told to delete it."""
    listed = doctor.daemon.path("listed")
    with open(listed, "w", encoding="utf-8") as file:
        file.write(NFT_LISTED.replace("RULE", rule and f"\t\t{rule}\n")
                   .replace("HELPER", helper and f"\t\t{helper}\n"))
    doctor.program("nft", textwrap.dedent(f"""\
        case $1 in
        delete) sed -i "/# handle $7\\$/d" {listed} ;;
        *) cat {listed} ;;
        esac"""))


@pytest.mark.parametrize("rule, offloads", [
    ("meta l4proto { tcp, udp } flow add @ft # handle 20", True),
    ("ip protocol { tcp, udp } flow offload @ft # handle 20", True),
    ("ct state established flow add @ft # handle 20", True),
    ("udp dport != 5060 flow add @ft # handle 20", False),
    ("tcp dport { 80, 443 } flow add @ft # handle 20", False),
    ("meta mark != 0x00000001 flow add @ft # handle 20", False),
])
def test_flow_offload(doctor, rule, offloads):
    nft_that_lists(doctor, rule)
    if offloads:
        doctor.mends("flow_offload")
    else:
        doctor.healthy()


def test_flow_offload_by_iptables(doctor):
    """xt_FLOWOFFLOAD, of OpenWrt: this kernel has no such target."""
    rule = ("-A FORWARD -m comment --comment \"traffic offload\" -m conntrack "
            "--ctstate RELATED,ESTABLISHED -j FLOWOFFLOAD --hw")
    gone = doctor.daemon.path("gone")
    doctor.program("iptables-nft-save", textwrap.dedent(f"""\
        /usr/sbin/iptables-nft-save |
        if [ -e {gone} ]; then cat; else
        sed '/^-A FORWARD -i lan0/i{rule}'; fi"""))
    doctor.program("iptables-nft", f'[ "$4" = FORWARD ] && echo "$@" >{gone}')
    doctor.mends("flow_offload")
    with open(gone, encoding="utf-8") as file:
        assert file.read().strip() == (
            "-t filter -D " + rule[3:].replace('"', ""))


@pytest.mark.parametrize("helper, ours", [
    ('udp dport 5060 ct helper set "sip" # handle 24', True),
    ('meta l4proto udp udp dport 5000-6000 ct helper set "sip" # handle 24',
     True),
    ('udp dport 5160 ct helper set "sip" # handle 24', True),
    ('udp dport 6060 ct helper set "sip" # handle 24', False),
    ('tcp dport 5060 ct helper set "ftp" # handle 24', False),
])
def test_helper_by_nft(doctor, helper, ours):
    nft_that_lists(doctor, helper=helper)
    if ours:
        doctor.mends("kernel_helper")
    else:
        doctor.healthy()


def test_queue_shared_by_nft(doctor):
    nft_that_lists(doctor, "udp dport 53 queue flags bypass to 5060 "
                           "# handle 20")
    doctor.mends("queue_shared")


def test_snat_by_nft(doctor):
    doctor.shell("iptables -t nat -F POSTROUTING")
    nft_that_lists(doctor, 'oifname "wan0" masquerade # handle 20')
    doctor.healthy()
    nft_that_lists(doctor, 'oifname "wan7" masquerade # handle 20')
    doctor.mends("no_snat")


@pytest.mark.config(gateway__lan_interfaces="lan0, dmz0")
def test_snat_of_one_inside_network_only(net, daemon):
    net.gw.ip("link add dmz0 type veth peer name far8", "link set dmz0 up",
              "link set far8 up", "addr add 10.8.0.1/24 dev dmz0")
    doctor = Doctor(daemon)
    doctor.apply()
    doctor.healthy()
    doctor.shell("iptables -t nat -F POSTROUTING && iptables -t nat -A "
                 "POSTROUTING -s 192.168.1.0/24 -o wan0 -j MASQUERADE")
    found = doctor.mends("no_snat")
    assert "behind dmz0 to that of wan0" in found[0]["text"]
    doctor.shell("iptables -t nat -F POSTROUTING")
    nft_that_lists(doctor, 'ip saddr 192.168.1.0/24 oifname "wan0" '
                           'masquerade # handle 20')
    assert "behind dmz0 to" in doctor.finds("no_snat")[0]["text"]
    nft_that_lists(doctor, 'ip saddr { 192.168.1.0/24, 10.8.0.0/24 } '
                           'oifname "wan0" masquerade # handle 20')
    doctor.healthy()


# ---- the daemon, its file, its network ----

@pytest.mark.parametrize("mode", ["observe", "bypass"])
def test_mode(daemon, doctor, mode):
    daemon.ctl("mode", mode)
    doctor.mends("mode_not_active")
    assert daemon.status()["mode"] == "active"


def test_config_not_loaded(daemon, doctor):
    daemon.settings["limits.calls"] = "100"
    daemon.write_config()
    doctor.mends("config_not_loaded")


def test_config_broken(daemon, doctor):
    with open(daemon.config, encoding="utf-8") as file:
        good = file.read()
    with open(daemon.config, "a", encoding="utf-8") as file:
        file.write("[limits]\ncalls = many\n")
    with open(daemon.path("good"), "w", encoding="utf-8") as file:
        file.write(good)
    doctor.program("editor", f'cat {daemon.path("good")} >"$1"')
    found = doctor.mends("config_broken")
    assert "limits.calls" in found[0]["text"]


@pytest.mark.config(gateway__lan_interfaces="lan0, lan9")
def test_interface_down(net, daemon):
    net.gw.ip("link add lan9 type veth peer name far9", "link set far9 up")
    doctor = Doctor(daemon)
    doctor.apply()
    doctor.mends("interface_down")


@pytest.mark.parametrize("more", ["", "ex0, "])
def test_interface_is_a_port(net, build, own, more):
    """Named is what the cable is in, not what has the address."""
    if net.gw.run(["ip", "link", "add", "br0", "type", "bridge"],
                  check=False).returncode:
        pytest.skip("no bridge here")
    net.gw.ip("link add ex0 type veth peer name ex1", "link set ex0 up",
              "link set lan0 master br0", "link set br0 up",
              "addr flush dev lan0", "addr add 192.168.1.1/24 dev br0")
    daemon = own(Sipalgd(net.gw, build,
                         {"gateway.lan_interfaces": more + "lan0"}))
    doctor = Doctor(daemon)
    doctor.apply()
    daemon.start()
    net.gw.ip("link set ex1 up")
    found = doctor.mends("interface_enslaved")
    assert "lan0 (gateway.lan_interfaces) is a port of br0" in found[0]["text"]
    assert (f"lan_interfaces = {(more + 'br0').replace(' ', '')}\n"
            in daemon.rules("--print-config").replace(", ", ","))


@pytest.mark.config(gateway__wan_interfaces="wan0, dsl0")
def test_interface_missing(daemon, doctor):
    doctor.program("editor", 'sed -i "s/, dsl0//" "$1"')
    found = doctor.mends("interface_missing")
    assert "dsl0" in found[0]["text"]


@pytest.mark.config(gateway__wan_interfaces="wan0, ppp+")
def test_an_interface_that_comes_and_goes(doctor):
    doctor.healthy()


def test_the_default_route_leaves_elsewhere(net, daemon, doctor):
    net.gw.ip("link add isp0 type veth peer name far0", "link set isp0 up",
              "addr add 192.0.2.1/24 dev isp0",
              "route replace default via 192.0.2.2 dev isp0")
    doctor.shell("iptables -t nat -A POSTROUTING -o isp0 -j MASQUERADE")
    doctor.mends("wan_unused")
    assert "wan0,isp0" in daemon.rules("--print-config")


def test_a_vpn_may_have_the_default_route(net, doctor):
    net.gw.ip("link add tun7 type veth peer name far7", "link set tun7 up",
              f"route add 198.18.0.0/24 via {PROXY} dev wan0",
              "route replace default dev tun7")
    doctor.healthy()


@pytest.mark.parametrize("net", [TwoUplinks], indirect=True)
@pytest.mark.config(gateway__wan_interfaces="wan0, wan1")
def test_own_packets_take_the_other_uplink(net, doctor):
    net.gw.ip(f"route add default via {PROXY1} dev wan1 metric 200")
    doctor.mends("own_packets_route")


@pytest.mark.parametrize("net", [TwoUplinks], indirect=True)
@pytest.mark.config(gateway__wan_interfaces="wan0, wan1")
def test_own_packets_and_one_route_by_both(net, doctor):
    """Each way is looked at; strict rp_filter lets their answers in."""
    net.gw.sysctl(conf__all__rp_filter=1)
    net.gw.ip(f"route replace default nexthop via {PROXY} dev wan0 weight 1 "
              f"nexthop via {PROXY1} dev wan1 weight 1",
              f"route add default via {PROXY} dev wan0 table 102",
              f"rule add from {PUBLIC1} lookup 102")
    found = doctor.mends("own_packets_route")
    assert f"default via {PROXY1} dev wan1 table" in found[0]["fix"]


@pytest.mark.parametrize("net", [TwoUplinks], indirect=True)
@pytest.mark.config(gateway__wan_interfaces="wan0, wan1")
def test_own_packets_and_a_table_of_that_uplink(net, doctor):
    net.gw.ip(f"route add default via {PROXY1} dev wan1 table 100",
              "rule add iif lan0 lookup 100")
    found = doctor.mends("own_packets_route")
    assert found[0]["fix"] == f"ip rule add from {PUBLIC1} lookup 100"


@pytest.mark.parametrize("net", [TwoUplinks], indirect=True)
@pytest.mark.config(gateway__wan_interfaces="wan0, wan1")
def test_rp_filter(net, doctor):
    net.gw.ip(f"route add default via {PROXY1} dev wan1 table 101",
              f"rule add fwmark 0x5a000000/0xff000000 from {PUBLIC1} "
              "lookup 101")
    doctor.healthy()
    net.gw.sysctl(conf__wan1__rp_filter=1)
    doctor.mends("rp_filter")


def test_queue_taken(daemon, doctor, build):
    daemon.stop()
    other = daemon.namespace.popen([build / "tests/noop-queue", "5060"])
    try:
        time.sleep(0.5)
        found, status = doctor.ask(daemon.config)
        codes = [f["code"] for f in found]
        assert (codes, status) == (["no_daemon", "queue_taken"], 1)
        doctor.shell(found[1]["fix"])
        other.wait(5)
        doctor.paste(found[:1])
        doctor.healthy()
    finally:
        other.kill()
        other.wait()


def test_another_namespace(net, daemon, doctor):
    elsewhere = Doctor.__new__(Doctor)
    elsewhere.__dict__.update(doctor.__dict__, namespace=net.phone)
    found, status = elsewhere.ask()
    first = next(f for f in found if f["code"] == "other_namespace")
    assert status == 1
    assert "All is well" in elsewhere.shell(first["fix"]).stdout


@pytest.mark.skipif(not os.path.exists("/proc/sys/kernel/ns_last_pid"),
                    reason="no kernel.ns_last_pid here")
def test_a_daemon_in_a_container_of_processes(net, daemon, doctor):
    """The number that it has there is another process here, elsewhere."""
    daemon.stop()
    other = net.phone.popen(["sleep", "60"])
    process = daemon.namespace.popen(
        ["unshare", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c",
         f"echo {other.pid - 1} >/proc/sys/kernel/ns_last_pid; \"$@\" & wait",
         "sh", daemon.program("sipalgd"), "-c", daemon.config],
        stdout=-3, stderr=-3)
    try:
        while not os.path.exists(daemon.socket):
            assert process.poll() is None
            time.sleep(0.05)
        doctor.healthy()
    finally:
        for running in (process, other):
            running.kill()
            running.wait()
    daemon.start()


# ---- what only the daemon knows ----

@pytest.mark.config(sip__signalling_ports="5060-5060")
def test_ports_exhausted(doctor, phone, server):
    proxy = server()
    Line(phone(ALICE), proxy).register()
    other = phone(BOB, user="bob")
    other.send(other.register(), proxy.address)
    proxy.recv()
    doctor.mends("ports_exhausted", "not_rewritten")
    Line(other, proxy).register()


@pytest.mark.config(limits__rate_per_phone="5")
def test_over_rate(doctor, phone, server):
    alice, proxy = phone(), server()
    for number in range(9):
        alice.send(alice.register(), proxy.address)
        proxy.recv()
    found = doctor.mends("over_rate", "not_rewritten")
    assert ALICE in found[0]["text"]
    Line(alice, proxy).register()


@pytest.mark.config(sip__signalling_ports="5060-5079")
def test_over_share(doctor, phone, server):
    proxy = server()
    for port in range(5060, 5080):
        alice = phone(port=port)
        alice.send(alice.register(), proxy.address)
        proxy.recv()
    doctor.finds("over_share", "not_rewritten")


@pytest.mark.config(limits__registrations="1")
def test_table_full(doctor, phone, server):
    proxy = server()
    for number, host in enumerate((ALICE, BOB)):
        Line(phone(host, user=f"u{number}"), proxy).register()
    found = doctor.mends("table_full")
    assert "limits.registrations" in found[0]["text"]


@pytest.mark.parametrize("net", [BehindNat], indirect=True)
def test_advertised_address(daemon, doctor, phone, server):
    alice, proxy = phone(), server()
    alice.send(alice.register(), proxy.address)
    seen, source = proxy.recv()
    assert BEHIND.encode() in seen and source[0] == PUBLIC
    proxy.send(proxy.respond(seen, 200, source=source, tag="t",
                             headers=["Expires: 60"]), source)
    alice.recv()
    found, _ = doctor.ask()
    found = [f for f in found if f["code"] == "advertised_address"]
    assert PUBLIC in found[0]["text"]
    doctor.paste(found)
    assert f"advertised_address = {PUBLIC}\n" in daemon.rules("--print-config")
    found, _ = doctor.ask()
    assert not [f for f in found if f["code"] == "advertised_address"]


@pytest.mark.parametrize("net", [TcpNet], indirect=True)
@pytest.mark.config(queue__max_length="8", log__level="info")
def test_queue_overflow(net, daemon, own):
    doctor = Doctor(daemon)
    doctor.shell("sh $SIPALGD_RULES apply")
    line = own(TcpLine(net))
    line.register()  # a changed connection: what has no room is dropped
    with socket_flood(net, daemon):
        pass
    found, _ = doctor.ask()
    found = [f for f in found if f["code"] == "queue_overflow"]
    assert found[0]["fix"].count("restart") == 1
    doctor.paste(found)
    found, _ = doctor.ask()
    assert not [f for f in found if f["code"] == "queue_overflow"]
    assert "max_length = 16\n" in daemon.rules("--print-config")


class socket_flood:
    """More packets than the queue holds, while the daemon sleeps."""

    def __init__(self, net, daemon):
        self.net, self.daemon = net, daemon

    def __enter__(self):
        os.kill(self.daemon.pid, 19)  # SIGSTOP
        sock = self.net.phone.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(100):
            sock.sendto(b"\r\n\r\n", (PROXY, 5060))
        sock.close()

    def __exit__(self, *error):
        os.kill(self.daemon.pid, 18)  # SIGCONT
        self.daemon.stats()


@pytest.mark.parametrize("net", [TcpNet], indirect=True)
def test_own_packets_refused(net, daemon, own):
    doctor = Doctor(daemon)
    doctor.shell("sh $SIPALGD_RULES apply")
    line = own(TcpLine(net))
    line.register()
    doctor.shell("iptables -A OUTPUT -m mark --mark 0x5a000000/0xff000000 "
                 "-j DROP")
    chatter = Chatter(line)  # grows by more than one packet holds
    data = chatter.out(100)
    line.inside.send(data)
    end = time.monotonic() + 10
    while "own_packets_refused" not in [f["code"] for f in doctor.ask()[0]]:
        assert time.monotonic() < end, daemon.stats()
        time.sleep(0.2)
    found = [f for f in doctor.ask()[0] if f["code"] == "own_packets_refused"]
    doctor.paste(found)
    line.outside.read(len(line.reference.out(data)), 30)
    assert "own_packets_refused" not in [f["code"] for f in doctor.ask()[0]]


def test_symptoms(doctor, phone, server):
    """What happened lately is told, with advice, and told no more after."""
    alice, proxy = phone(), server()
    alice.send(alice.register(), proxy.address)
    seen, source = proxy.recv()
    proxy.send(proxy.respond(seen, 403, source=source, tag="t"), source)
    alice.recv()
    found = doctor.finds("registration_refused")
    assert ALICE in found[0]["text"]
    assert found[0]["fix"].startswith("# ")
    doctor.shell(found[0]["fix"])
    doctor.daemon.ctl("reload")
    doctor.healthy()


# ---- for people ----

def people(doctor, *arguments, **environment):
    sets = " ".join(f"{k}={v}" for k, v in environment.items())
    return doctor.shell(
        f"env {sets} {doctor.daemon.program('sipalgctl')} --socket "
        f"{doctor.daemon.socket} doctor {' '.join(arguments)}", check=False)


def test_output_for_people(doctor):
    done = people(doctor)
    assert (done.stdout, done.returncode) == ("All is well.\n", 0)
    done = people(doctor, "--all")
    assert done.stdout.count("  ok  ") > 20 and done.returncode == 0
    doctor.shell("iptables -t raw -F OUTPUT; "
                 "sysctl -w net.netfilter.nf_conntrack_acct=0")
    done = people(doctor, COLUMNS=60)
    assert done.returncode == 1 and "\033" not in done.stdout
    assert done.stdout.index("Errors\n") < done.stdout.index("Warnings\n")
    assert "1 error, 1 warning" in done.stdout
    fixes = [f["fix"] for f in doctor.ask()[0]]
    for fix in fixes:  # on a line of its own, not wrapped
        assert f"\n      {fix}\n" in done.stdout
    assert all(len(line) <= 60 for line in done.stdout.splitlines()
               if not line.startswith("      ")
               and not line.startswith("1 error"))


def test_colours_only_on_a_terminal(doctor):
    doctor.shell("iptables -t raw -F OUTPUT")
    script = ("script -qec '{} --socket {} doctor' /dev/null".format(
        doctor.daemon.program("sipalgctl"), doctor.daemon.socket))
    on = doctor.shell("TERM=xterm " + script, check=False).stdout
    off = doctor.shell("NO_COLOR=1 TERM=xterm " + script, check=False).stdout
    assert "\033[" in on and "\033[" not in off


def test_manual_lists_every_code():
    """The tables of both programs, the symptoms, and the manual agree."""
    codes = set(re.findall(r'^\s*\{ "(\w+)",\s*"(?:error|warning|notice|unknown)"',
                           (ROOT / "src/ctl/doctor.c").read_text(), re.M))
    codes |= set(re.findall(r'^\s*\{ "(\w+)", "(?:error|warning)", check_',
                            (ROOT / "src/daemon/doctor.c").read_text(), re.M))
    assert len(codes) > 30
    manual = (ROOT / "docs/man/sipalgctl.8").read_text()
    section = manual[manual.index(".Sh FINDINGS"):]
    section = section[:section.index("\n.Sh", 5)]
    listed = re.findall(r"^\.It Ic (\w+) Pq", section, re.M)
    assert sorted(listed) == sorted(codes)
    symptoms = re.findall(r"^\tX\((\w+), (?:WARNING|NOTICE)",
                          (ROOT / "include/state/symptom.h").read_text(), re.M)
    assert len(symptoms) > 5
    listed = re.findall(r"^\.Ic (\w+_\w+) [,.]$",
                        section[section.index("symptoms of calls"):], re.M)
    assert sorted(listed) == sorted(symptoms)
