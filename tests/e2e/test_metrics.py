# SPDX-License-Identifier: GPL-2.0-or-later
"""The metrics page, by a real parser and by clients that misbehave."""

import contextlib
import http.client
import socket
import time

import pytest
from prometheus_client import parser as prometheus
from prometheus_client.openmetrics import parser as openmetrics

from lib.call import call_out
from lib.gateway import ALICE, MEDIA, PUBLIC
from lib.sip import sdp

PORT = 9060
OPEN = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
CLIENTS = 8  # HTTPD_CLIENTS
IDLE_S = 10  # HTTPD_IDLE_S
REQUEST_S = 15  # HTTPD_REQUEST_S
page = pytest.mark.config(metrics__listen=PORT)


class Page:
    """The page of a daemon, asked for from inside its namespace."""

    def __init__(self, daemon, host="127.0.0.1"):
        self.namespace, self.host = daemon.namespace, host

    def connect(self):
        sock = self.namespace.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(5)
        sock.connect((self.host, PORT))
        return sock

    def ask(self, method="GET", path="/metrics", headers=()):
        """(response, text)."""
        connection = http.client.HTTPConnection(self.host, PORT)
        with contextlib.closing(self.connect()) as connection.sock:
            connection.request(method, path, headers=dict(headers))
            response = connection.getresponse()
            return response, response.read().decode()

    def samples(self, openly=True):
        """{(name, labels): value}, parsed as OpenMetrics or as 0.0.4."""
        response, text = self.ask(headers={"Accept": OPEN} if openly else {})
        assert response.status == 200
        kind = response.getheader("Content-Type")
        if openly:
            assert kind.startswith("application/openmetrics-text; version=1.0.0;")
            families = openmetrics.text_string_to_metric_families(text)
        else:
            assert kind.startswith("text/plain; version=0.0.4;")
            families = prometheus.text_string_to_metric_families(text)
        found = {}
        for family in families:
            assert family.documentation
            assert family.type in ("counter", "gauge"), family.name
            for sample in family.samples:
                key = sample.name, tuple(sample.labels.items())
                assert key not in found
                found[key] = sample.value
        return found


@pytest.fixture
def metrics(daemon):
    return Page(daemon)


@page
@pytest.mark.parametrize("openly", [True, False], ids=["openmetrics", "text"])
def test_values(daemon, metrics, line, openly):
    """The counters are those of stats, by the same names; the rest is what
    status says."""
    line.register()
    call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    samples = metrics.samples(openly)
    stats = daemon.ctl("stats")
    assert stats["sipalgd_rewritten_total"] >= 5
    assert stats["sipalgd_calls_started_total"] == 1
    for name, value in stats.items():
        assert samples[name, ()] == value, name
    counters = {name for name, labels in samples
                if name.startswith("sipalgd_") and name.endswith("_total")
                and not labels}
    assert counters == set(stats)
    status = daemon.status()
    for name in ("flows", "registrations", "calls", "media_mappings"):
        assert samples[f"sipalgd_active_{name}", ()] == status[name], name
    assert samples["sipalgd_active_calls", ()] == 1
    queue, = status["queues"]
    label = (("queue", str(queue["number"])),)
    assert samples["sipalgd_queue_packets_total", label] == queue["packets"]
    assert samples["sipalgd_queue_dropped_total", label] == 0
    assert samples["sipalgd_mode", (("mode", "active"),)] == 1
    assert samples["sipalgd_mode", (("mode", "bypass"),)] == 0
    assert samples["sipalgd_build_info",
                   (("version", status["version"]),)] == 1
    assert samples["sipalgd_conntrack_entries", ()] > 0
    started = samples["process_start_time_seconds", ()]
    assert abs(time.time() - started) < 60
    assert samples["process_resident_memory_bytes", ()] > 1 << 20
    assert samples["process_cpu_seconds_total", ()] > 0


@page
def test_other_requests(daemon, metrics):
    for path in ("/", "/metrics/", "/metrics/x", "/status"):
        assert metrics.ask(path=path)[0].status == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response, _ = metrics.ask(method)
        assert response.status == 405
        assert response.getheader("Allow") == "GET, HEAD"
    response, text = metrics.ask("HEAD")
    assert response.status == 200 and not text


def test_off_unless_asked_for(daemon):
    with pytest.raises(ConnectionRefusedError):
        Page(daemon).connect()


@page
def test_a_port_alone_is_loopback(daemon, net):
    """Neither side of the gateway reaches it."""
    for namespace, host in ((net.phone, "192.168.1.1"), (net.prov, PUBLIC),
                            (net.gw, PUBLIC)):
        with contextlib.closing(namespace.socket(
                socket.AF_INET, socket.SOCK_STREAM)) as sock:
            sock.settimeout(0.5)
            with pytest.raises(OSError):
                sock.connect((host, PORT))


@page
def test_bad_clients_while_sip_runs(daemon, metrics, line):
    """Those that say nothing, half a request, nonsense, or never read: SIP
    is as fast as ever, and the page is there again when they are gone."""
    line.register()
    with contextlib.ExitStack() as stack:
        socks = []
        for number in range(4 * CLIENTS):
            sock = stack.enter_context(contextlib.closing(metrics.connect()))
            sock.settimeout(0.2)
            with contextlib.suppress(OSError):
                sock.sendall([b"", b"GET /metrics HT", b"\x16\x03\x01\0\0",
                              b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
                              * 20][number % 4])
            socks.append(sock)
        slowest = 0
        for number in range(200):
            begun = time.monotonic()
            line.out(line.phone.request("OPTIONS", "sip:x@203.0.113.10"))
            slowest = max(slowest, time.monotonic() - begun)
            sock = socks[number % len(socks)]
            with contextlib.suppress(OSError):
                sock.sendall(b"X: y\r\n" if number % 3 else b"\0\xff" * 50)
        assert slowest < 2  # nobody waits for a time-out of theirs
    assert metrics.samples()["sipalgd_rewritten_total", ()] >= 201
    assert daemon.cpu_s() < 10


@page
def test_silent_clients_are_sent_away(daemon, metrics):
    """Time-outs need no event: the daemon's tick is enough."""
    sock = metrics.connect()
    begun = time.monotonic()
    sock.settimeout(IDLE_S + 5)
    assert sock.recv(1) in (b"", b"H")  # at most a 408
    assert IDLE_S - 2 < time.monotonic() - begun < IDLE_S + 4
    sock.close()
    before = daemon.cpu_s()
    time.sleep(2)
    assert daemon.cpu_s() - before < 0.1  # and then it rests


@page
def test_slow_clients_are_sent_away(daemon, metrics):
    """A byte now and then keeps nobody's place for ever: who comes from the
    same address and has something to ask gets in."""
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(contextlib.closing(metrics.connect()))
                for _ in range(4)]
        with pytest.raises((OSError, AssertionError, ValueError)):
            metrics.samples()
        end = time.monotonic() + REQUEST_S + 5
        while time.monotonic() < end:
            for sock in slow:
                with contextlib.suppress(OSError):
                    sock.send(b"G")
            time.sleep(2)
        assert metrics.samples()
    before = daemon.cpu_s()
    time.sleep(2)
    assert daemon.cpu_s() - before < 0.1


@page
def test_many_scrapes_at_once(daemon, metrics, line):
    """Keep-alive connections that ask without a pause."""
    line.register()
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(contextlib.closing(metrics.connect()))
                 for _ in range(4)]
        ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        for _ in range(50):
            for sock in socks:
                sock.sendall(ask)
            begun = time.monotonic()
            line.out(line.phone.request("OPTIONS", "sip:x@203.0.113.10"))
            assert time.monotonic() - begun < 2
            for sock in socks:
                got = b""
                while not got.endswith(b"\n"):
                    got += sock.recv(65536)
                assert got.startswith(b"HTTP/1.1 200")
    assert daemon.stats()["rewritten"] >= 51


@pytest.mark.timing
@pytest.mark.config(metrics__listen=PORT, queue__count=256,
                    queue__number=1000)
def test_many_queues(daemon, metrics, line):
    """Packets wait while the page is made: some microseconds for a queue."""
    line.register()
    samples = metrics.samples()
    queues = daemon.status()["queues"]
    assert [queue["number"] for queue in queues] == list(range(1000, 1256))
    assert sum(queue["packets"] for queue in queues) == 2
    for queue in queues:
        label = (("queue", str(queue["number"])),)
        assert samples["sipalgd_queue_packets_total", label] == queue["packets"]
    begun = daemon.cpu_ns()
    for _ in range(20):
        metrics.ask()
    assert (daemon.cpu_ns() - begun) / 20 < 5e6


@page
def test_length_in_force(daemon, metrics):
    """queue.max_length is the kernel's from the start on: not a new one that a
    reload has read."""
    daemon.settings["queue.max_length"] = 77
    daemon.write_config()
    daemon.reload()
    assert "queue.*: changed; takes effect at a restart" in daemon.log()
    assert daemon.status()["queues"][0]["max_length"] == 8192
    assert metrics.samples()["sipalgd_queue_max_length", ()] == 8192
    daemon.stop()
    daemon.start()
    assert daemon.status()["queues"][0]["max_length"] == 77


@page
def test_reload(daemon, metrics, own):
    """To another port, to one that is taken (the old one stays), and off."""
    taken = own(daemon.namespace.socket(socket.AF_INET, socket.SOCK_STREAM))
    taken.bind(("127.0.0.1", 9061))
    taken.listen()
    daemon.settings["metrics.listen"] = "127.0.0.1:9061"
    daemon.write_config()
    daemon.reload()
    assert ("error: metrics.listen: 127.0.0.1:9061: another program listens "
            "there") in daemon.log()
    assert metrics.samples()
    daemon.settings["metrics.listen"] = f"0.0.0.0:{PORT}"
    daemon.write_config()
    daemon.reload()
    assert "metrics.listen: warning: the page is for everybody" in daemon.log()
    assert Page(daemon, "192.168.1.1").samples()
    daemon.settings["metrics.listen"] = ""
    daemon.write_config()
    daemon.reload()
    with pytest.raises(ConnectionRefusedError):
        metrics.connect()


@pytest.mark.config(metrics__listen="192.0.2.77:9060")
def test_without_its_address_it_goes_on(daemon, line):
    assert ("error: metrics.listen: 192.0.2.77:9060: this host has no such "
            "address") in daemon.log()
    line.register()
