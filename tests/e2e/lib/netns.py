# SPDX-License-Identifier: GPL-2.0-or-later
"""Network namespaces: made, entered by threads, and always removed."""

import atexit
import ctypes
import errno
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import threading

CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
ETHTOOL_OFFLOADS = (0x17, 0x24, 0x1F, 0x2C)  # tx checksum, gso, tso, gro off
PREFIX = "sipalg-"

_libc = ctypes.CDLL(None, use_errno=True)
_live = []
_serial = 0


class Namespace:
    """A network namespace named sipalg-PID-SERIAL-ROLE."""

    def __init__(self, role):
        global _serial
        _serial += 1
        self.name = f"{PREFIX}{os.getpid()}-{_serial}-{role}"
        run(["ip", "netns", "add", self.name])
        _live.append(self)
        self._fd = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        self.ip("link set lo up")

    def call(self, function, *args, **kwargs):
        """Call function in a thread that lives in this namespace."""
        box = {}

        def work():
            try:
                if _libc.setns(self._fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                box["value"] = function(*args, **kwargs)
            except BaseException as error:  # handed to the caller
                box["error"] = error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if "error" in box:
            raise box["error"]
        return box["value"]

    def socket(self, *args):
        """A socket that belongs to this namespace."""
        return self.call(socket.socket, *args)

    def command(self, argv):
        """argv as it has to be run to run inside."""
        return ["ip", "netns", "exec", self.name, *map(str, argv)]

    def run(self, argv, **kwargs):
        """Run a program inside; CompletedProcess, error if it failed."""
        return run(self.command(argv), **kwargs)

    def popen(self, argv, **kwargs):
        """Start a program inside; its pid is that of the program itself."""
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.command(argv), **kwargs)

    def ip(self, *lines):
        """ip(8) commands, in one batch."""
        run(["ip", "-n", self.name, "-batch", "-"],
            input="".join(line + "\n" for line in lines))

    def sysctl(self, **values):
        """Set sysctls: net_ipv4_ip_forward is spelled ip_forward etc."""

        def write():
            for key, value in values.items():
                directory = ("/proc/sys/net/netfilter/"
                             if key.startswith("nf_")
                             else "/proc/sys/net/ipv4/")
                # /proc/sys/net is of the opening thread's namespace
                with open(directory + key.replace("__", "/"), "w",
                          encoding="ascii") as file:
                    file.write(str(value))

        self.call(write)

    def read(self, path):
        """A file below /proc/thread-self/net as seen inside."""

        def read():
            with open(f"/proc/thread-self/net/{path}",
                      encoding="ascii") as file:
                return file.read()

        return self.call(read)

    def no_offloads(self, interface):
        """Real checksums and real packet sizes on this interface."""

        def switch_off():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for command in ETHTOOL_OFFLOADS:
                    value = ctypes.create_string_buffer(
                        struct.pack("II", command, 0))
                    request = struct.pack("16sP", interface.encode(),
                                          ctypes.addressof(value))
                    fcntl.ioctl(sock, SIOCETHTOOL, request)

        self.call(switch_off)

    def close(self):
        """Remove the namespace; safe to repeat."""
        if self not in _live:
            return
        _live.remove(self)
        os.close(self._fd)
        subprocess.run(["ip", "netns", "del", self.name], check=False,
                       stderr=subprocess.DEVNULL)


def run(argv, **kwargs):
    """subprocess.run() with text, captured output and a readable error."""
    kwargs.setdefault("timeout", 60)
    if "input" not in kwargs:
        kwargs.setdefault("stdin", subprocess.DEVNULL)
    check = kwargs.pop("check", True)
    done = subprocess.run(list(map(str, argv)), capture_output=True,
                          text=True, check=False, **kwargs)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit "
                           f"{done.returncode}\n{done.stdout}{done.stderr}")
    return done


def connect(left, left_interface, right, right_interface):
    """A veth pair between two namespaces, up, without offloads."""
    left.ip(f"link add {left_interface} type veth "
            f"peer name {right_interface} netns {right.name}",
            f"link set {left_interface} up")
    right.ip(f"link set {right_interface} up")
    left.no_offloads(left_interface)
    right.no_offloads(right_interface)


def remove_orphans():
    """Remove namespaces of test processes that were killed."""
    for name in os.listdir("/run/netns") if os.path.isdir(
            "/run/netns") else ():
        match = re.fullmatch(PREFIX + r"(\d+)-\d+-\w+", name)
        if match and not _alive(int(match[1])):
            subprocess.run(["ip", "netns", "del", name], check=False)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


@atexit.register
def _close_all():
    for namespace in list(_live):
        namespace.close()


def exit_on_sigterm():
    """SIGTERM ends this process the orderly way, with all clean-ups.

    So does SIGINT, even if a shell started us in the background, ignoring it.
    """
    def leave(_number, _frame):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
