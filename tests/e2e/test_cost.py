# SPDX-License-Identifier: GPL-2.0-or-later
"""Media never passes the daemon."""

import time

from lib.agents import media_flows, rtp
from lib.call import announced, call_out
from lib.gateway import ALICE, MEDIA
from lib.sip import sdp

PACKETS = 10000
IDLE_NS = 20_000_000  # timers of the daemon may run meanwhile


def test_rtp_costs_the_daemon_nothing(daemon, net, line, media_inside,
                                      media_outside):
    mine, theirs = media_inside(), media_outside(MEDIA)
    line.register()
    call = call_out(line, sdp(ALICE, 4000), sdp(MEDIA, 8000))
    told = announced(call.invite_seen)
    media_flows(mine, theirs, told)
    time.sleep(0.5)
    queued, cpu = daemon.queued(), daemon.cpu_ns()
    packet, arrived = rtp(1), 0
    for number in range(PACKETS // 2):
        mine.rtp.send(packet, theirs.rtp.address)
        theirs.rtp.send(packet, told[:2])
        if number % 50 == 0:
            arrived += drain(mine.rtp) + drain(theirs.rtp)
    time.sleep(0.2)
    arrived += drain(mine.rtp) + drain(theirs.rtp)
    used = daemon.cpu_ns() - cpu
    assert daemon.queued() == queued
    assert used < IDLE_NS, f"{used / 1e6} ms for {PACKETS} packets"
    assert arrived == PACKETS
    entry = [e for e in net.conntrack.udp() if ":".join(
        (e.orig.src, e.orig.dst)) in (f"{ALICE}:{MEDIA}",)]
    assert sum(e.orig.packets + e.reply.packets for e in entry) >= PACKETS


def drain(endpoint):
    """Datagrams that wait at a socket."""
    count = 0
    endpoint.socket.setblocking(False)
    try:
        while True:
            endpoint.socket.recv(2048)
            count += 1
    except BlockingIOError:
        return count
