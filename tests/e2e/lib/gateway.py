# SPDX-License-Identifier: GPL-2.0-or-later
"""The world of every test: phones - NAT gateway - provider.

    phone namespace          gw namespace            prov namespace
    192.168.1.9  alice       lan0 192.168.1.1        203.0.113.10 proxy
    192.168.1.10 bob         wan0 203.0.113.4        203.0.113.11 2nd proxy
    192.168.1.11 carol                               203.0.113.12 media
    eth0 ------------------- lan0  wan0 ------------ 203.0.113.13 media
                                                     203.0.113.20 stranger

The gateway's firewall denies everything from outside but answers.
"""

from lib.conntrack import Conntrack
from lib.netns import Namespace, connect
from lib.sniffer import Sniffer

ALICE, BOB, CAROL = "192.168.1.9", "192.168.1.10", "192.168.1.11"
PUBLIC = "203.0.113.4"
PROXY, PROXY2 = "203.0.113.10", "203.0.113.11"
MEDIA, MEDIA2 = "203.0.113.12", "203.0.113.13"
STRANGER = "203.0.113.20"
OUTSIDE = (PROXY, PROXY2, MEDIA, MEDIA2, STRANGER)

NAT = {
    "masquerade": "-j MASQUERADE",
    "snat": f"-j SNAT --to-source {PUBLIC}",
    "random": "-j MASQUERADE --random-fully",
}

FIREWALL = """\
*filter
:INPUT DROP
:FORWARD DROP
:OUTPUT ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -i lan0 -j ACCEPT
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i lan0 -o wan0 -j ACCEPT
COMMIT
*nat
-A POSTROUTING -o wan0 {nat}
COMMIT
"""


class Net:
    """Three namespaces, the firewall and NAT between them.

    nat: a key of NAT. sysctls: of the gateway, e.g. nf_conntrack_udp_timeout.
    phone, gw, prov: Namespace. conntrack: the gateway's table.
    lan, wan: Sniffers on the gateway's interfaces.
    """

    def __init__(self, nat="masquerade", **sysctls):
        self._all = []
        try:
            self._build(nat, sysctls)
        except BaseException:
            self.close()
            raise

    def _build(self, nat, sysctls):
        self.phone, self.gw, self.prov = (
            self._own(Namespace(role)) for role in ("phone", "gw", "prov"))
        connect(self.phone, "eth0", self.gw, "lan0")
        connect(self.prov, "eth0", self.gw, "wan0")
        self.phone.ip(*(f"addr add {a}/24 dev eth0"
                        for a in (ALICE, BOB, CAROL)),
                      "route add default via 192.168.1.1")
        self.gw.ip("addr add 192.168.1.1/24 dev lan0",
                   f"addr add {PUBLIC}/24 dev wan0",
                   f"route add default via {PROXY}")
        self.prov.ip(*(f"addr add {a}/24 dev eth0" for a in OUTSIDE))
        self.gw.sysctl(ip_forward=1, nf_conntrack_acct=1, **sysctls)
        self.gw.run(["iptables-restore"],
                    input=FIREWALL.format(nat=NAT[nat]))
        self.conntrack = Conntrack(self.gw)
        self.lan = self._own(Sniffer(self.gw, "lan0"))
        self.wan = self._own(Sniffer(self.gw, "wan0"))

    def _own(self, thing):
        self._all.append(thing)
        return thing

    def close(self):
        """Remove everything; safe to repeat."""
        while self._all:
            self._all.pop().close()
