# SPDX-License-Identifier: GPL-2.0-or-later
"""SIPp, a SIP program that nobody here wrote, in a namespace."""

import csv
import os
import pathlib
import shutil
import subprocess
import tempfile

SCENARIOS = pathlib.Path(__file__).parents[1] / "sipp"


class Sipp:
    """One SIPp process. scenario: a file of tests/e2e/sipp, or built in."""

    def __init__(self, namespace, host, scenario, *options, to=None,
                 port=5060, calls=1):
        self.directory = tempfile.mkdtemp(prefix="sipalg-sipp-")
        file = SCENARIOS / f"{scenario}.xml"
        what = ["-sf", file] if file.exists() else ["-sn", scenario]
        self.output = open(os.path.join(self.directory, "output"), "wb")
        self.process = namespace.popen(
            ["sipp", *([to] if to else []), *what, "-i", host, "-mi", host,
             "-p", port, "-m", calls, "-nostdin", "-trace_err",
             "-error_file", self._path("errors"), "-trace_stat", "-stf",
             self._path("stat"), "-fd", 1, *options],
            stdout=self.output, stderr=subprocess.STDOUT, cwd=self.directory)

    def _path(self, name):
        return os.path.join(self.directory, name)

    def wait(self, limit_s=30):
        """All its calls succeeded; its last row of statistics."""
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"SIPp is not done after {limit_s} s\n" + self.report()
            ) from None
        assert status == 0, f"SIPp: exit {status}\n" + self.report()
        return self.statistics()

    def statistics(self):
        """The last row of its statistics file: {column: text}."""
        with open(self._path("stat"), encoding="ascii",
                  newline="") as file:
            *_, last = csv.DictReader(file, delimiter=";")
        return last

    def report(self):
        """What it said, the end of it."""
        text = ""
        for name in ("output", "errors"):
            try:
                with open(self._path(name), encoding="utf-8",
                          errors="replace") as file:
                    text += f"--- {name}\n{file.read()[-4000:]}\n"
            except FileNotFoundError:
                pass
        return text

    def close(self):
        """End it, by its own pid."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()
        shutil.rmtree(self.directory, ignore_errors=True)
