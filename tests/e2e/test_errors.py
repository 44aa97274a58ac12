# SPDX-License-Identifier: GPL-2.0-or-later
"""What a new user gets wrong: one line that names what, where and the remedy.

Every message of the program's start stands here as somebody sees it, but for
kernels without a part that we need: this machine's has all of them.
"""

import os
import re
import socket

import pytest

from lib.daemon import Sipalgd

NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
GOOD = {"gateway": {"lan_interfaces": "lan0", "wan_interfaces": "wan0"}}


def ini(**changes):
    """GOOD with section__key="value" set, or left out where it is None."""
    sections = {name: dict(keys) for name, keys in GOOD.items()}
    for name, value in changes.items():
        section, key = name.split("__")
        sections.setdefault(section, {})[key] = value
    return "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n"
                               for key, value in keys.items()
                               if value is not None)
        for name, keys in sections.items())


# what is wrong: the file, what is said (a regular expression behind "FILE:")
FILES = {
    "no interface": (ini(gateway__wan_interfaces=None),
                     r"1: gateway\.wan_interfaces: missing: .*no default"),
    "unknown key": (ini(sip__port="5060"),
                    r"5: sip\.port: .*did you mean.* sip\.ports"),
    "unknown section": (ini(spi__ports="5060"),
                        r"5: spi\.ports: .*did you mean.* sip\.ports"),
    "word": (ini(gateway__mode="on"),
             r"4: gateway\.mode: 'on' is not one of active, observe, bypass"),
    "port": (ini(sip__ports="99999"), r"5: sip\.ports: a port over 65535"),
    "port range": (ini(media__rtp_ports="30000-20000"),
                   r"5: media\.rtp_ports: .*a range that runs backwards"),
    "few ports": (ini(media__rtp_ports="20000"), r"5: media\.rtp_ports: "),
    "one port for two": (ini(media__rtp_ports="5000-6000"),
                         r"5: sip\.signalling_ports: port 5060 is also in "
                         r"media\.rtp_ports"),
    "network": (ini(gateway__lan_networks="192.168.1.0/33"),
                r"4: gateway\.lan_networks: .*192\.168\.1\.0/33"),
    "host bits": (ini(gateway__lan_networks="192.168.1.1/24"),
                  r"4: gateway\.lan_networks: .*192\.168\.1\.1/24"),
    "address": (ini(gateway__public_address="gw.example.com"),
                r"4: gateway\.public_address: .*gw\.example\.com"),
    "number": (ini(queue__number="70000"), r"5: queue\.number: must be 0 to 65535"),
    "yes or no": (ini(media__enabled="maybe"), r"5: media\.enabled: 'maybe'"),
    "interface": (ini(gateway__lan_interfaces="lan 0"),
                  r"2: gateway\.lan_interfaces: "),
    "twice": (ini() + "mode = active\nmode = bypass\n",
              r"5: gateway\.mode: "),
    "no section": ("lan_interfaces = lan0\n" + ini(), r"1: "),
    "no value": (ini() + "mode\n", r"4: "),
    "same interface": (ini(gateway__wan_interfaces="lan0"),
                       r"\d: gateway\.wan_interfaces: .*lan0"),
}


def run(daemon, *argv, under=()):
    """(status, what it said)"""
    done = daemon.namespace.run(
        [*under, daemon.program("sipalgd"), *argv], check=False, timeout=10)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def idle(net, build, own):
    """A daemon that has not been started."""
    return own(Sipalgd(net.gw, build))


@pytest.mark.parametrize("wrong", FILES)
def test_file(idle, wrong):
    text, line = FILES[wrong]
    with open(idle.config, "w", encoding="ascii") as file:
        file.write(text)
    for argv in (["--check"], []):
        status, said = run(idle, "-c", idle.config, *argv)
        assert status == 1
        assert re.search("^" + re.escape(idle.config) + ":" + line, said,
                         re.MULTILINE), said


def test_no_file(idle):
    status, said = run(idle, "-c", "/nonexistent/sipalgd.conf")
    assert status == 1
    assert said == ("/nonexistent/sipalgd.conf: cannot be read: "
                    "No such file or directory\n")


def test_a_directory(idle):
    directory = os.path.dirname(idle.config)
    status, said = run(idle, "-c", directory)
    assert status == 1
    assert said == f"{directory}: cannot be read: Is a directory\n"


def for_everybody(idle):
    """Where user nobody can run it: (program, configuration)"""
    directory = os.path.dirname(idle.config)
    os.chmod(directory, 0o755)
    program = os.path.join(directory, "sipalgd")
    with open(idle.program("sipalgd"), "rb") as source, \
            open(program, "wb") as copy:
        copy.write(source.read())
    os.chmod(program, 0o755)
    return program


def test_no_permission_to_read(idle):
    program = for_everybody(idle)
    os.chmod(idle.config, 0o600)
    done = idle.namespace.run([*NOBODY, program, "-c", idle.config],
                              check=False, timeout=10)
    assert done.returncode == 1
    assert done.stderr == (f"{idle.config}: cannot be read: "
                           "Permission denied\n")


def test_no_capability(idle):
    program = for_everybody(idle)
    os.chmod(idle.config, 0o644)
    done = idle.namespace.run([*NOBODY, program, "-c", idle.config],
                              check=False, timeout=10)
    assert done.returncode == 1
    assert "needs CAP_NET_ADMIN" in done.stderr
    assert "Operation not permitted" in done.stderr


def test_options(idle):
    for argv in (["--chek"], ["-c"], ["more"], ["--print-rules=ip5"]):
        status, said = run(idle, *argv)
        assert status == 2
        assert "usage: sipalgd" in said


def test_the_queue_is_taken(daemon, net, build, own):
    other = own(Sipalgd(net.gw, build, {"queue.number":
                                        daemon.settings.get("queue.number",
                                                            5060)}))
    status, said = run(other, "-c", other.config)
    assert status == 1
    assert ("queue.number: NFQUEUE 5060 is taken by another program: end "
            "that, or choose another number") in said


def test_the_socket_is_taken(daemon, net, build, own):
    other = own(Sipalgd(net.gw, build, {"queue.number": 7000,
                                        "control.socket": daemon.socket}))
    status, said = run(other, "-c", other.config)
    assert status == 1
    assert (f"control.socket: {daemon.socket}: another sipalgd listens there"
            in said)
    assert daemon.status()["mode"] == "active"


@pytest.mark.parametrize("place,why", [
    ("none/control.sock", "No such file or directory"),
    ("sipalgd.conf", "File exists"),
])
def test_no_place_for_the_socket(idle, place, why):
    path = os.path.join(os.path.dirname(idle.config), place)
    idle.settings["control.socket"] = path
    idle.write_config()
    status, said = run(idle, "-c", idle.config)
    assert status == 1
    assert (f"control.socket: {path}: {why}; does its directory exist, and "
            "may the daemon write there?") in said


def test_no_such_group(idle):
    idle.settings["control.group"] = "nosuchgroup"
    idle.write_config()
    idle.start()
    assert ('control.group: no group "nosuchgroup"; only the daemon\'s own '
            "user can use") in idle.log()


def test_the_page_has_no_port(idle, net, own):
    taken = own(net.gw.socket(socket.AF_INET, socket.SOCK_STREAM))
    taken.bind(("127.0.0.1", 9100))
    taken.listen()
    idle.settings["metrics.listen"] = "127.0.0.1:9100"
    idle.write_config()
    idle.start()
    assert ("metrics.listen: 127.0.0.1:9100: another program listens there; "
            "choose another port") in idle.log()


def test_accounting_is_off(idle, net):
    net.gw.sysctl(nf_conntrack_acct=0)
    idle.start()
    assert "net.netfilter.nf_conntrack_acct is 0: " in idle.log()
