# SPDX-License-Identifier: GPL-2.0-or-later
"""Adds up what the parts of tests/run counted.

usage: summary.py DIRECTORY

Every part left PART.status ("exit-status seconds") there, and those that count
tests PART.xml (JUnit, from ctest or pytest). The last line printed is
"N passed, N failed, N skipped"; exit status 1 if anything failed.
"""

import pathlib
import sys
import xml.etree.ElementTree as ElementTree

NO_TESTS_SELECTED = 5  # pytest's exit status


def outcomes(path):
    """Yield (name, "passed" | "failed" | "skipped", reason)."""
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name")
        if "." in case.get("classname", ""):
            name = f"{case.get('classname').split('.')[-1]}::{name}"
        elif case.get("classname", "").startswith("test_"):
            name = f"{case.get('classname')}::{name}"
        bad = case.find("failure")
        bad = case.find("error") if bad is None else bad
        skip = case.find("skipped")
        if bad is not None or case.get("status") == "fail":
            yield name, "failed", ""
        elif skip is not None or case.get("status") in ("disabled",
                                                        "notrun"):
            reason = "" if skip is None else skip.get("message", "")
            # ctest calls a program that could not be found "notrun"
            kind = ("failed" if case.get("status") == "notrun"
                    and "SKIP" not in reason else "skipped")
            yield name, kind, reason
        else:
            yield name, "passed", ""


def main(directory):
    """Print the summary; True if nothing failed."""
    total = {"passed": 0, "failed": 0, "skipped": 0}
    notes = []
    lines = []
    for status_file in sorted(directory.glob("*.status"),
                              key=lambda p: p.stat().st_mtime_ns):
        part = status_file.stem
        status, seconds = map(int, status_file.read_text().split())
        count = {"passed": 0, "failed": 0, "skipped": 0}
        seen = {}
        report = directory / f"{part}.xml"
        if report.exists():
            for name, outcome, reason in outcomes(report):
                # pytest lists a test twice that fails at its teardown too
                if seen.get(name) != "failed":
                    seen[name] = outcome
                if outcome != "passed":
                    note = f"{outcome} {part}: {name}"
                    note += f" ({reason})" if reason else ""
                    if note not in notes:
                        notes.append(note)
        for outcome in seen.values():
            count[outcome] += 1
        if (status and not count["failed"]
                and not (status == NO_TESTS_SELECTED and not seen)):
            count["failed"] += 1
            notes.append(f"failed {part}: ended with status {status}")
        for outcome, number in count.items():
            total[outcome] += number
        if seen or count["failed"]:
            lines.append(f"{part}: {count['passed']} passed, "
                         f"{count['failed']} failed, {count['skipped']} "
                         f"skipped in {seconds} s")
        else:
            lines.append(f"{part}: done in {seconds} s")
    print("\n".join(["== summary", *sorted(notes, reverse=True), *lines]))
    print(f"{total['passed']} passed, {total['failed']} failed, "
          f"{total['skipped']} skipped")
    return total["failed"] == 0


if __name__ == "__main__":
    sys.exit(0 if main(pathlib.Path(sys.argv[1])) else 1)
