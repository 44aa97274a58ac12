# SPDX-License-Identifier: GPL-2.0-or-later
"""kamailio as the provider's registrar and record-routing proxy."""

import os
import pathlib
import signal
import socket
import subprocess
import time

CONFIG = pathlib.Path(__file__).with_name("kamailio.cfg")
START_S = 10
STOP_S = 5


class Kamailio:
    """One running kamailio; its log is directory/kamailio.log.

    transport: "udp" or "tcp".
    """

    def __init__(self, namespace, directory, address, port=5060,
                 transport="udp"):
        self.namespace = namespace
        self.address, self.port = address, port
        self._transport = transport
        self._log = pathlib.Path(directory) / "kamailio.log"
        self._process = None

    def start(self):
        """Start and wait until its socket is there."""
        with_tcp = (["-A", f"TCP_SOURCE={self.address}"]
                    if self._transport == "tcp" else [])
        with open(self._log, "wb") as log:
            self._process = self.namespace.popen(
                ["kamailio", "-DD", "-E", "-f", CONFIG, *with_tcp,
                 "-l", f"{self._transport}:{self.address}:{self.port}"],
                stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("kamailio does not start:\n" + self.log())
            time.sleep(0.05)
        return self

    def _listens(self):
        """Its socket is in /proc/net (address in host byte order)."""
        host = socket.inet_aton(self.address)[::-1].hex().upper()
        return f"{host}:{self.port:04X}" in self.namespace.read(
            self._transport)

    def log(self):
        return self._log.read_text(errors="replace")

    def close(self):
        """End it with all its children; safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
