# SPDX-License-Identifier: GPL-2.0-or-later
"""What the running daemon may do, and what becomes of it if it does more."""

import grp
import os
import platform
import shutil
import signal
import subprocess
import time

import pytest

from lib.daemon import Sipalgd
from lib.gateway import PROXY
from lib.supervisor import Supervised
from lib.tcp import Listener, TcpLine
from lib.tcpnet import LONG, TcpNet, opened

pytestmark = pytest.mark.config(log__level="info")
NET_ADMIN, NET_RAW = 1 << 12, 1 << 13
NOBODY = 65534
RESET_S = 0.5
CALLS = {"execve": 59, "mount": 165, "unshare": 272, "bpf": 321}  # x86_64


def status_of(pid):
    """/proc/PID/status: {key: text}."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file
                    if ":\t" in line)


def is_confined(pid, bounding=NET_ADMIN):
    """It has CAP_NET_ADMIN, and no way to more."""
    status = status_of(pid)
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    sets = {name: int(status[name], 16)
            for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh")}
    assert sets["CapPrm"] == sets["CapEff"] == NET_ADMIN, status
    assert sets["CapBnd"] == bounding and sets["CapAmb"] == 0, status
    assert not sets["CapInh"] & ~NET_ADMIN, status
    return status


def as_nobody(daemon, *capabilities):
    """The daemon's files are given to a user with these capabilities; the
    command line by which he starts a program."""
    names = ",".join("+" + name for name in capabilities)
    daemon.settings["control.group"] = grp.getgrgid(NOBODY).gr_name
    daemon.write_config()
    os.chmod(daemon.directory, 0o755)
    for path in (daemon.directory, daemon.path("state"), daemon.config):
        os.chown(path, NOBODY, NOBODY)
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY),
            "--clear-groups", f"--bounding-set=-all,{names}",
            f"--inh-caps=-all,{names}", f"--ambient-caps=-all,{names}"]


def for_everybody(daemon, build):
    """Programs where user nobody can run them."""
    directory = daemon.path("programs")
    os.mkdir(directory)
    for name in ("sipalgd", "sipalgctl"):
        shutil.copy(build / name, directory)
    daemon.build = directory


def test_started_by_root(daemon, line):
    """It stays root, who owns files, but is otherwise nobody special."""
    line.register()
    assert is_confined(daemon.pid)["Uid"].split() == ["0"] * 4
    daemon.reload()
    line.register()
    is_confined(daemon.pid)


@pytest.fixture
def stopped(net, build, own):
    sipalgd = own(Sipalgd(net.gw, build))
    sipalgd.apply_rules()
    return sipalgd


def test_started_as_another_user(stopped, build, line):
    """Without systemd: CAP_NET_RAW is for the start, and then gone."""
    stopped.prefix = as_nobody(stopped, "net_admin", "net_raw")
    for_everybody(stopped, build)
    umask = os.umask(0)  # whose notifications are taken
    stopped.start()
    os.umask(umask)
    line.register()
    status = is_confined(stopped.pid, NET_ADMIN | NET_RAW)
    assert status["Uid"].split() == [str(NOBODY)] * 4
    stopped.stop()
    assert "warning" not in stopped.log().replace(
        "warning: /proc/net/netfilter/nfnetlink_queue: not for us", "")
    assert os.path.exists(stopped.path("state/state"))


@pytest.mark.parametrize("call", CALLS)
def test_a_forbidden_call_ends_it(stopped, line, call):
    """Whoever runs code in it is out; SIP passes by, and it is started anew."""
    if platform.machine() != "x86_64":
        pytest.skip("tools/inject.c knows x86_64 only")
    stopped.start()
    line.register()
    done = subprocess.run([stopped.program("tests/inject"), str(stopped.pid),
                           str(CALLS[call])], check=False)
    assert done.returncode == 0
    assert stopped.process.wait(5) == -signal.SIGSYS
    # whatever test it happens in fails
    assert not stopped.alive()
    with pytest.raises(AssertionError, match=f"ended with -{signal.SIGSYS}"):
        stopped.stop()
    register = line.phone.register()
    line.phone.send(register, line.server.address)
    assert line.server.recv()[0] == register
    stopped.start()
    line.register()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def test_who_writes_the_state_file(stopped, line):
    """The child is held as tightly, and its end by the filter is seen."""
    os.mkfifo(stopped.path("state/state.new"))  # where it waits for us
    stopped.start()
    line.register()
    end = time.monotonic() + 15
    while not children(stopped.pid):
        assert time.monotonic() < end, stopped.log()
        time.sleep(0.1)
    child, = children(stopped.pid)
    is_confined(child)
    os.kill(child, signal.SIGSYS)
    time.sleep(2)
    assert "state not written: Bad system call" in stopped.log()
    os.unlink(stopped.path("state/state.new"))
    with pytest.raises(AssertionError):
        stopped.stop()


def test_for_diagnosis(stopped, line, monkeypatch):
    """docs: SIPALGD_SECCOMP."""
    monkeypatch.setenv("SIPALGD_SECCOMP", "off")
    stopped.start()
    line.register()
    status = status_of(stopped.pid)
    assert status["Seccomp"] == "0" and status["NoNewPrivs"] == "1"
    assert "warning: SIPALGD_SECCOMP=off" in stopped.log()


def test_a_device_for_a_file(daemon, line):
    """The C library asks if it is a terminal."""
    os.rename(daemon.config, daemon.path("kept"))
    os.symlink("/dev/null", daemon.config)
    daemon.reload()
    assert "not loaded (errors above)" in daemon.log()
    os.rename(daemon.path("kept"), daemon.config)
    daemon.reload()
    assert daemon.log().endswith(f"{daemon.config}: loaded\n")
    line.register()


@pytest.fixture
def tcp_net(request):
    yield from opened(TcpNet, request)


def test_sockets_that_were_handed_over(tcp_net, build, own):
    """As under systemd: CAP_NET_ADMIN is all it ever has. What it sends itself
    leaves by those sockets."""
    tcp_net.patient()
    daemon = own(Supervised(tcp_net.gw, build))
    daemon.apply_rules()
    tcp_net.gw.run([daemon.program("sipalgd-packets")],
                   env=daemon._environment())
    assert set(daemon.store) == {"raw4", "raw6", "packets"}
    daemon.within = as_nobody(daemon, "net_admin")
    for_everybody(daemon, build)
    os.chmod(daemon.path("notify"), 0o777)
    daemon.start()
    listener = own(Listener(tcp_net.prov, PROXY))
    line = own(TcpLine(tcp_net, LONG, listener=listener)).learn()
    line.register()
    is_confined(daemon.pid)
    daemon.stop()
    line.inside.breaks(RESET_S)
    line.outside.breaks(RESET_S)
    log = daemon.log()
    assert "1 TCP connections had to be reset" in log
    assert "packet socket" not in log and "raw socket" not in log
