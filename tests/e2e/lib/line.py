# SPDX-License-Identifier: GPL-2.0-or-later
"""What a provider does to a line."""

import time

from lib.gateway import PROXY, PUBLIC

NEW = "203.0.113.5"
AT_ONCE_S = 2.5


def readdress(net, new=NEW, old=PUBLIC):
    """The provider gives another address, as after a new PPP session."""
    net.gw.ip(f"addr del {old}/24 dev wan0", f"addr add {new}/24 dev wan0",
              f"route replace default via {PROXY}")


def gone(net, address=PUBLIC):
    """No entry has that address any more."""
    end = time.monotonic() + AT_ONCE_S
    while address in net.conntrack.text():
        assert time.monotonic() < end, net.conntrack.text()
        time.sleep(0.05)
