# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: a fresh network for every test, and the daemon in its gateway."""

import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lib.agents import Agent, Endpoint, Line, Media  # noqa: E402
from lib.daemon import Sipalgd, settings_of  # noqa: E402
from lib.gateway import ALICE, PROXY, Net  # noqa: E402
from lib.netns import exit_on_sigterm, remove_orphans  # noqa: E402

TEST_LIMIT_S = 180
ROOT = pathlib.Path(__file__).parents[2]


def pytest_addoption(parser):
    parser.addoption("--build", default=os.environ.get(
        "SIPALG_BUILD", str(ROOT / "build")), help="tree of the programs")


def pytest_configure(config):
    config.addinivalue_line("markers",
                            "nat(kind): the gateway's NAT, see lib.gateway")
    config.addinivalue_line("markers", "sysctl(**values): of the gateway")
    config.addinivalue_line("markers", "config(**values): of the daemon, "
                            "section__key=value")
    config.addinivalue_line("markers", "timing: figures that a sanitizer "
                            "build would distort")
    config.addinivalue_line("markers", "long: a minute and more, so these "
                            "begin first")
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests make network namespaces: run as "
                    "root", 2)
    exit_on_sigterm()
    remove_orphans()


def pytest_collection_modifyitems(items):
    """One that begins last would leave the other workers waiting for it."""
    items.sort(key=lambda item: not item.get_closest_marker("long"))


@pytest.fixture(autouse=True)
def _limit():
    """A test that hangs fails."""
    def fire(_number, _frame):
        raise AssertionError(f"test took more than {TEST_LIMIT_S} s")

    signal.signal(signal.SIGALRM, fire)
    signal.alarm(TEST_LIMIT_S)
    yield
    signal.alarm(0)


@pytest.fixture(scope="session")
def build(request):
    """Directory of the built programs."""
    directory = pathlib.Path(request.config.getoption("--build")).resolve()
    assert (directory / "sipalgd").exists(), f"no sipalgd in {directory}"
    return directory


def _marker(request, name):
    found = {}
    for mark in reversed(list(request.node.iter_markers(name))):
        found.update(mark.kwargs)
    return found


@pytest.fixture
def net(request):
    """The three namespaces; every packet's checksums are verified."""
    mark = request.node.get_closest_marker("nat")
    network = Net(mark.args[0] if mark else "masquerade",
                  **_marker(request, "sysctl"))
    yield network
    try:
        for sniffer in (network.lan, network.wan):
            sniffer.check()
            assert not sniffer.lost()
    finally:
        network.close()


@pytest.fixture
def daemon(request, net, build):
    """sipalgd, running, its rules in place; must end cleanly."""
    sipalgd = Sipalgd(net.gw, build,
                      settings_of(_marker(request, "config")))
    try:
        sipalgd.apply_rules()
        sipalgd.start()
        yield sipalgd
        assert sipalgd.alive(), "sipalgd died:\n" + sipalgd.log()
    finally:
        report = getattr(request.node, "failed_call", False)
        if report:
            print("--- conntrack\n" + net.conntrack.text())
            print("--- sipalgd\n" + sipalgd.log()[-20000:])
        sipalgd.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call" and outcome.get_result().failed:
        item.failed_call = True


@pytest.fixture
def own():
    """own(x): x is closed at the end of the test."""
    things = []

    def keep(thing):
        things.append(thing)
        return thing

    yield keep
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def phone(net, own):
    """phone(host, port, ...): an Agent inside."""
    return lambda host=ALICE, port=5060, **kw: own(
        Agent(net.phone, host, port, **kw))


@pytest.fixture
def server(net, own):
    """server(host, port, ...): an Agent outside."""
    return lambda host=PROXY, port=5060, **kw: own(
        Agent(net.prov, host, port, **{"user": "server", **kw}))


@pytest.fixture
def listen_inside(net, own):
    """A plain UDP socket in the phone namespace."""
    return lambda host, port: own(Endpoint(net.phone, host, port))


@pytest.fixture
def listen_outside(net, own):
    """A plain UDP socket in the provider namespace."""
    return lambda host, port: own(Endpoint(net.prov, host, port))


@pytest.fixture
def media_inside(net, own):
    """RTP and RTCP sockets in the phone namespace."""
    return lambda host=ALICE, port=4000, rtcp=None: own(
        Media(net.phone, host, port, rtcp))


@pytest.fixture
def media_outside(net, own):
    """RTP and RTCP sockets in the provider namespace."""
    return lambda host=PROXY, port=8000, rtcp=None: own(
        Media(net.prov, host, port, rtcp))


@pytest.fixture
def line(phone, server):
    """alice's phone and its proxy."""
    return Line(phone(), server())
