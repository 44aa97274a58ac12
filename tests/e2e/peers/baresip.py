# SPDX-License-Identifier: GPL-2.0-or-later
"""baresip as a SIP phone that a test can drive.

A phone plays one sine tone into its calls and records what it hears. It is
driven over baresip's ctrl_tcp module: JSON in netstrings, commands out,
events in.
"""

import json
import pathlib
import socket
import subprocess
import threading
import time

CONTROL_PORT = 4444
START_S = 10
STOP_S = 2

# ausine knows two channels only. sndfile records; the player before it only
# has to exist, and aubridge is one that needs no sound card.
CONFIG = """\
poll_method             epoll
sip_listen              {address}:{sip_port}
net_interface           {address}
rtp_ports               10000-10100
call_local_timeout      60
audio_path              {directory}
audio_source            ausine,{tone_hz}
audio_player            aubridge,heard
audio_alert             aubridge,alert
ausrc_srate             48000
ausrc_channels          2
auplay_srate            48000
auplay_channels         1
jitter_buffer_delay     1-10
rtcp_mux                no
statmode_default        off
ringback_disabled       yes
module_path             {modules}
module                  g711.so
module                  ausine.so
module                  aubridge.so
module                  sndfile.so
snd_path                {directory}
module_tmp              account.so
module_app              menu.so
module_app              ctrl_tcp.so
ctrl_tcp_listen         127.0.0.1:{control_port}
"""


def module_path():
    """Where Debian keeps baresip's modules."""
    for path in pathlib.Path("/usr/lib").glob("**/baresip/modules"):
        return path
    raise RuntimeError("baresip's modules are not installed")


class Phone:
    """One running baresip.

    namespace, address: where it runs. directory: its files, made here.
    user, domain: its SIP address; the domain is registrar and proxy too.
    tone_hz: the tone it plays. answer: "auto" or "manual".
    control_port: for baresips that share a namespace.
    transport: "udp" or "tcp".
    """

    def __init__(self, namespace, directory, address, user, domain, tone_hz,
                 answer="auto", sip_port=5060, control_port=CONTROL_PORT,
                 transport="udp"):
        self.namespace = namespace
        self.address = address
        self.uri = f"sip:{user}@{domain}" + (
            ";transport=tcp" if transport == "tcp" else "")
        self.tone_hz = tone_hz
        self._account = (f"<{self.uri}>;regint=600;answermode={answer};"
                         "audio_codecs=PCMU")
        self._control_port = control_port
        self._directory = pathlib.Path(directory)
        self._directory.mkdir()
        self._write("accounts", "")
        self._write("config", CONFIG.format(
            address=address, sip_port=sip_port, directory=directory,
            tone_hz=tone_hz, modules=module_path(),
            control_port=control_port))
        self._process = self._link = None
        self._events, self._replies, self._tokens = [], {}, 0
        self._arrived = threading.Condition()

    def _write(self, name, text):
        (self._directory / name).write_text(text, encoding="ascii")

    def start(self):
        """Start and connect; it does not register yet."""
        with open(self._directory / "log", "wb") as log:
            self._process = self.namespace.popen(
                ["baresip", "-4", "-s", "-f", self._directory],
                stdout=log, stderr=log, start_new_session=True)
        self._connect()
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _connect(self):
        end = time.monotonic() + START_S
        while True:
            self._link = self.namespace.socket(socket.AF_INET,
                                               socket.SOCK_STREAM)
            try:
                self._link.connect(("127.0.0.1", self._control_port))
                return
            except ConnectionRefusedError:
                self._link.close()
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("baresip does not start:\n" + self.log())
            time.sleep(0.05)

    def _read(self):
        """Take netstrings (LENGTH:JSON,) apart and file what they hold."""
        data = b""
        while True:
            try:
                more = self._link.recv(65536)
            except OSError:
                return
            if not more:
                return
            data += more
            while b":" in data:
                head, _, rest = data.partition(b":")
                if len(rest) <= int(head):
                    break
                self._file(json.loads(rest[:int(head)]))
                data = rest[int(head) + 1:]

    def _file(self, message):
        with self._arrived:
            if message.get("event"):
                self._events.append(message)
            else:
                self._replies[message.get("token")] = message
            self._arrived.notify_all()

    def command(self, name, parameters="", timeout=5):
        """Run one of baresip's commands; its text answer."""
        self._tokens += 1
        token = str(self._tokens)
        text = json.dumps({"command": name, "params": parameters,
                           "token": token}).encode()
        self._link.sendall(b"%d:%s," % (len(text), text))
        with self._arrived:
            if not self._arrived.wait_for(
                    lambda: token in self._replies, timeout):
                raise TimeoutError(f"baresip does not answer {name!r}:\n"
                                   + self.log())
            reply = self._replies.pop(token)
        if not reply.get("ok"):
            raise RuntimeError(f"baresip refuses {name!r}: {reply}")
        return reply.get("data", "")

    def mark(self):
        """A place in the list of events, to wait from."""
        with self._arrived:
            return len(self._events)

    def wait(self, *kinds, since=0, timeout=10):
        """The first event of one of these types after since, or None."""
        def found():
            return next((e for e in self._events[since:]
                         if e["type"] in kinds), None)

        with self._arrived:
            self._arrived.wait_for(found, timeout)
            return found()

    def register(self):
        """Register; True when the provider accepted it."""
        before = self.mark()
        self.command("uanew", self._account)
        event = self.wait("REGISTER_OK", "REGISTER_FAIL", since=before)
        return event is not None and event["type"] == "REGISTER_OK"

    def dial(self, uri):
        self.command("dial", uri)

    def accept(self):
        self.command("accept")

    def hangup(self):
        self.command("hangup")

    def hold(self):
        self.command("hold")

    def resume(self):
        self.command("resume")

    def recording(self, since=0.0):
        """What it heard in the last call begun after since (time.time()).

        None where there is no such call. Complete once the call has ended;
        baresip 1.0.0 stops recording at a re-INVITE.
        """
        files = [f for f in self._directory.glob("dump-*-dec.wav")
                 if f.stat().st_mtime >= since]
        return max(files, key=lambda f: f.stat().st_mtime, default=None)

    def log(self):
        """Its output, with every SIP message it sent and received."""
        return (self._directory / "log").read_text(errors="replace")

    def close(self):
        """End it; it unregisters first. Safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._link:
            self._link.close()
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
