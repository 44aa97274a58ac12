# SPDX-License-Identifier: GPL-2.0-or-later
"""A short soak; the long one is tests/soak, by hand (docs/testing.md)."""

import subprocess
import sys

import pytest

from conftest import ROOT

MINUTES = 0.8
LIMIT_S = 170


@pytest.mark.long
def test_calls_restarts_and_faults_together(build):
    """Nothing is lost, nothing stays, nothing is said that nobody caused."""
    done = subprocess.run(
        [sys.executable, "-B", ROOT / "tests/soak", "--minutes", str(MINUTES),
         "--build", build], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=LIMIT_S, check=False)
    print(done.stdout[-20000:], done.stderr[-5000:])
    assert done.returncode == 0
