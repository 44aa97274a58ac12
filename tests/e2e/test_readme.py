# SPDX-License-Identifier: GPL-2.0-or-later
"""README.md prints the rules; they must be those that sipalgd prints."""

import pathlib
import re
import subprocess

README = pathlib.Path(__file__).parents[2] / "README.md"


def test_rules_in_readme(build, tmp_path):
    text = README.read_text(encoding="utf-8")
    block = re.search(r"^```\n(\*raw\n.*?)^```$", text, re.M | re.S)
    config = tmp_path / "sipalgd.conf"
    config.write_text("[gateway]\nlan_interfaces = lan0\n"
                      "wan_interfaces = wan0\n", encoding="ascii")
    printed = subprocess.run(
        [build / "sipalgd", "-c", config, "--print-rules"], check=True,
        capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    assert _rules(block[1]) == _rules(printed)


def _rules(text):
    return [line for line in text.splitlines() if line[:1] not in ("#", "")]
