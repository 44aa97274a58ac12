# SPDX-License-Identifier: GPL-2.0-or-later
"""Building blocks of the end-to-end tests; lib/README.md is the overview."""
