# SPDX-License-Identifier: GPL-2.0-or-later
"""What systemd does for sipalgd: keeps its descriptors, and starts it again."""

import array
import os
import signal
import socket
import subprocess
import threading
import time

from lib.daemon import STOP_S, Sipalgd

HANDED_OVER = 3
# descriptors of a message; sd_notify(3) sends one
MOST = 4
# Descriptors from 3 on, as sd_listen_fds(3) has them
HAND = ('fd=3; for kept in $KEPT; do eval "exec $fd<&$kept $kept<&-";'
        ' fd=$((fd + 1)); done; unset KEPT;'
        ' LISTEN_PID=$$ exec "$@"')


class Supervised(Sipalgd):
    """sipalgd whose descriptors outlive it (FDSTORE=1), as under systemd.

    restart() is "systemctl restart", crash() what Restart=on-failure does.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.store = {}
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(self.path("notify"))
        self.notify.settimeout(0.1)
        self.ready = threading.Event()
        self.over = threading.Event()
        self.alive = []  # when it said WATCHDOG=1
        self.watchdog_s = 0
        self.within = []  # of the command line: what it is made to run in
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while not self.over.is_set():
            fds = array.array("i")
            try:
                data, ancillary, _, _ = self.notify.recvmsg(
                    4096, socket.CMSG_SPACE(MOST * fds.itemsize))
            except TimeoutError:
                continue
            for _, _, part in ancillary:
                fds.frombytes(part[:len(part) // fds.itemsize * fds.itemsize])
            self._take(dict(line.split("=", 1)
                            for line in data.decode().splitlines()), list(fds))

    def _take(self, said, fds):
        if said.get("FDSTORE") == "1":
            self._forget(said["FDNAME"])
            self.store[said["FDNAME"]] = fds.pop(0)
        if said.get("FDSTOREREMOVE") == "1":
            self._forget(said["FDNAME"])
        if said.get("READY") == "1":
            self.ready.set()
        if said.get("WATCHDOG") == "1":
            self.alive.append(time.monotonic())
        for fd in fds:  # BARRIER=1 waits for this
            os.close(fd)

    def _forget(self, name):
        if name in self.store:
            os.close(self.store.pop(name))

    def start(self):
        """Start with what is kept, and wait for READY=1."""
        self.ready.clear()
        kept = list(self.store.items())
        env = self._environment()
        if self.watchdog_s:
            env["WATCHDOG_USEC"] = str(int(self.watchdog_s * 1e6))
        if kept:
            self.prefix = ["bash", "-c", HAND, "bash", *self.within]
            # well above those they get
            high = [os.dup(fd) for _, fd in kept]
            env |= {"KEPT": " ".join(map(str, high)),
                    "LISTEN_FDS": str(len(kept)),
                    "LISTEN_FDNAMES": ":".join(name for name, _ in kept)}
        else:
            self.prefix, high = self.within, []
        with open(self.path("stderr"), "ab") as stderr:
            self.process = self.namespace.popen(
                [*self.prefix, self.program("sipalgd"), "-c", self.config],
                stdout=stderr, stderr=stderr, env=env, pass_fds=high)
        for fd in high:
            os.close(fd)
        assert self.ready.wait(20), "no READY=1:\n" + self.log()
        return self

    def hand_over(self):
        """SIGUSR2, and wait for the end."""
        process, self.process = self.process, None
        process.send_signal(signal.SIGUSR2)
        try:
            status = process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError("SIGUSR2 does not end it:\n"
                                 + self.log()) from None
        assert status == HANDED_OVER, f"{status}:\n" + self.log()

    def kill(self):
        """SIGKILL."""
        process, self.process = self.process, None
        process.kill()
        process.wait()

    def restart(self):
        """As "systemctl restart" does."""
        self.hand_over()
        self.start()

    def close(self):
        try:
            super().close()
        finally:
            self.over.set()
            self.thread.join()
            self.notify.close()
            for name in list(self.store):
                self._forget(name)
