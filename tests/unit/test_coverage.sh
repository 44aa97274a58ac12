#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What docs/failure-modes.md and docs/rfc-coverage.md name exists. That it also
# ran is the last part of tests/run.

command -v python3 >/dev/null || { echo "SKIP: needs python3"; exit 77; }
exec python3 -B "$SIPALG_SOURCE_DIR/tests/unit/test_coverage.py"
