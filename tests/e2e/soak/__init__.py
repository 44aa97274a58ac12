# SPDX-License-Identifier: GPL-2.0-or-later
"""The long run (tests/soak): everything together, at random from a seed."""
