# SPDX-License-Identifier: GPL-2.0-or-later
"""sipalgd in the gateway's namespace: start, look at, stop, judge."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

SANITIZER = re.compile(
    r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer"
    r"|runtime error:|Assertion .* failed"
    r"|Bad system call")  # of the child that writes the state file
START_S = 20
STOP_S = 20
DEFAULTS = {
    "gateway.lan_interfaces": "lan0",
    "gateway.wan_interfaces": "wan0",
    "control.group": "root",
    "log.level": "debug",
}
# pytest.mark.config(**FAST): for phones that say more than phones do
FAST = {"log__level": "info", "limits__rate_per_phone": "1000000"}


def is_sanitized(build):
    """It costs more memory and time than what people run."""
    with open(f"{build}/sipalgd", "rb") as file:
        return b"__asan_init" in file.read()


def settings_of(values):
    """Of a marker's section__key=value, what Sipalgd takes."""
    return {key.replace("__", "."): value for key, value in values.items()}


class Sipalgd:
    """The daemon with a configuration of its own.

    namespace: where it runs. build: directory of the programs.
    settings: {"section.key": value}, over DEFAULTS.

    The temporary directory holds sipalgd.conf, stderr, the control socket and
    the state directory; it stays over stop() and start().
    """

    def __init__(self, namespace, build, settings=None):
        self.namespace = namespace
        self.build = str(build)
        # short: AF_UNIX paths end at 108 bytes
        self.directory = tempfile.mkdtemp(prefix="sipalg-")
        self.config = self.path("sipalgd.conf")
        self.socket = self.path("control.sock")
        os.mkdir(self.path("state"))
        self.settings = {**DEFAULTS,
                         "control.socket": self.socket,
                         "state.directory": self.path("state"),
                         **(settings or {})}
        self.write_config()
        self.process = None
        self.prefix = []  # of the command line it is started by

    def path(self, name):
        """A file of this daemon's temporary directory."""
        return os.path.join(self.directory, name)

    def program(self, name):
        """A built program."""
        return os.path.join(self.build, name)

    def write_config(self):
        """Write self.settings as ini file."""
        sections = {}
        for key, value in self.settings.items():
            section, name = key.split(".")
            sections.setdefault(section, []).append(f"{name} = {value}\n")
        with open(self.config, "w", encoding="utf-8") as file:
            for section, lines in sections.items():
                file.write(f"[{section}]\n" + "".join(lines) + "\n")

    def rules(self, how="--print-rules"):
        """iptables-restore input for this configuration."""
        return self.namespace.run(
            [self.program("sipalgd"), "-c", self.config, how]).stdout

    def apply_rules(self):
        """Put the daemon's iptables rules in place."""
        self.namespace.run(["iptables-restore", "--noflush"],
                           input=self.rules())

    def remove_rules(self):
        """Take the daemon's iptables rules out."""
        self.namespace.run(["iptables-restore", "--noflush"],
                           input=self.rules("--print-rules=remove"))

    def start(self):
        """Start and wait for READY=1."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(self.path("notify"))
            notify.settimeout(0.1)
            with open(self.path("stderr"), "ab") as stderr:
                self.process = self.namespace.popen(
                    [*self.prefix, self.program("sipalgd"), "-c", self.config],
                    stdout=stderr, stderr=stderr, env=self._environment())
            try:
                self._wait_ready(notify)
            finally:
                os.unlink(self.path("notify"))
        return self

    def _environment(self):
        return {**os.environ,
                "NOTIFY_SOCKET": self.path("notify"),
                "ASAN_OPTIONS": "exitcode=97:detect_stack_use_after_return=1",
                "UBSAN_OPTIONS": "print_stacktrace=1"}

    def _wait_ready(self, notify):
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"sipalgd ended at start, {self.process.returncode}:\n"
                    + self.log())
            try:
                if b"READY=1" in notify.recv(4096).split(b"\n"):
                    return
            except TimeoutError:
                pass
        raise AssertionError("sipalgd did not say READY=1:\n" + self.log())

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        """The process runs."""
        return self.process is not None and self.process.poll() is None

    @contextlib.contextmanager
    def asleep(self):
        """It does nothing in here; its queue is its own all the same."""
        self.stats()  # it has done with what came before
        os.kill(self.pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        """SIGTERM; it must end with status 0 and without a report."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(
                f"sipalgd ignores SIGTERM for {STOP_S} s:\n" + self.log()
            ) from None
        assert not SANITIZER.search(self.log()), self.log()
        assert status == 0, f"sipalgd ended with {status}:\n" + self.log()

    def reload(self):
        """SIGHUP, and a moment to take effect."""
        self.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)

    def log(self):
        """All it wrote, over all starts."""
        try:
            with open(self.path("stderr"), encoding="utf-8",
                      errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def ctl(self, *command, check=True):
        """sipalgctl --json COMMAND: the document it printed."""
        done = self.namespace.run(
            [self.program("sipalgctl"), "--socket", self.socket, "--json",
             *command], check=check)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def status(self):
        return self.ctl("status")

    def stats(self):
        """The counters by their short names: {"rewritten": 3}."""
        return {name.removeprefix("sipalgd_").removesuffix("_total"): value
                for name, value in self.ctl("stats").items()}

    def cpu_s(self):
        """CPU time used so far, seconds."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu_ns(self):
        """CPU time used so far by all threads, in nanoseconds."""
        total = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            path = f"/proc/{self.pid}/task/{task}/schedstat"
            with open(path, encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def queued(self):
        """Packets the kernel ever gave to the daemon's queues."""
        total = 0
        for line in self.namespace.read("netfilter/nfnetlink_queue"
                                        ).splitlines():
            total += int(line.split()[7])
        return total

    def close(self):
        """stop(), then remove the temporary directory."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
