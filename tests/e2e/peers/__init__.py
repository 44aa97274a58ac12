# SPDX-License-Identifier: GPL-2.0-or-later
"""Real SIP programs that tests and the demo run: baresip and kamailio."""
