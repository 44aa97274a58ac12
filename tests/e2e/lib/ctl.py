# SPDX-License-Identifier: GPL-2.0-or-later
"""sipalgctl as an operator meets it: at a width, on a terminal, without a
daemon."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

WAIT_S = 10.0


class Ctl:
    """Calls of sipalgctl for one daemon's socket."""

    def __init__(self, daemon):
        self.daemon = daemon

    def argv(self, *command):
        """The command line."""
        return [self.daemon.program("sipalgctl"), "--socket",
                self.daemon.socket, *command]

    def environment(self, **env):
        """A plain one: no colours asked for or forbidden, UTF-8."""
        plain = {k: v for k, v in os.environ.items()
                 if k not in ("COLUMNS", "NO_COLOR")}
        return {**plain, "LC_ALL": "C.UTF-8", "TERM": "xterm", **env}

    def run(self, *command, before=(), **env):
        """CompletedProcess, whatever the exit status."""
        return self.daemon.namespace.run(
            [*before, *self.argv(*command)], check=False,
            env=self.environment(**env))

    def text(self, *command, **env):
        """What people see of a command that worked."""
        done = self.run(*command, **env)
        assert done.returncode == 0, done
        assert not done.stderr, done.stderr
        return done.stdout

    def lines(self, *command, width=None):
        """The same at a width; no line may be longer."""
        env = {"COLUMNS": str(width)} if width else {}
        lines = self.text(*command, **env).splitlines()
        for line in lines:
            assert not width or len(line) <= width, (width, line)
        return lines

    def terminal(self, *command, rows=24, columns=80, **env):
        """The command on a terminal of that size."""
        return Terminal(self.daemon.namespace, self.argv(*command),
                        self.environment(**env), rows, columns)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, namespace, argv, env, rows, columns):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.process = namespace.popen(
            argv, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env=env,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.seen = ""

    def resize(self, rows, columns):
        """The user pulls at the window's corner."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, columns, 0, 0))

    def wait(self, timeout=WAIT_S):
        """Read what comes next, if anything does."""
        if select.select([self.master], [], [], timeout)[0]:
            self.seen += os.read(self.master, 65536).decode()

    def until(self, text):
        """Read until text has come; all that came."""
        end = time.monotonic() + WAIT_S
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {self.seen!r}"
            self.wait(left)
        return self.seen

    def type(self, keys):
        """Press keys."""
        os.write(self.master, keys.encode())

    def end(self):
        """Wait for its end: (exit status, all it wrote, stderr)."""
        _, stderr = self.process.communicate(timeout=WAIT_S)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536).decode()
        return self.process.returncode, self.seen, stderr.decode()

    def is_as_before(self):
        """It left the terminal's settings as it found them."""
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        """Whatever it is at."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)
