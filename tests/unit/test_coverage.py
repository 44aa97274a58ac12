#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every test and function that the coverage documents name exists, and ran.

usage: test_coverage.py [RESULTS]

Reads docs/failure-modes.md, docs/rfc-coverage.md and docs/security.md. Names of tests stand there
in backquotes, in one of the forms of RESOLVERS. With the directory of results
of tests/run each of them must also have run, in at least one of its parts, or
have been skipped with a reason, which the summary reports.
"""

import pathlib
import re
import sys
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAILURES = "docs/failure-modes.md"
CLAUSES = "docs/rfc-coverage.md"
PROMISES = "docs/security.md"
STATUSES = ("done", "partly", "left alone", "not yet")
CODE = re.compile(r"`([^`\n]+)`")
MOST = 40  # lines of complaint


def text(path):
    """A file of the tree; empty if there is none."""
    path = ROOT / path
    return path.read_text(errors="replace") if path.is_file() else ""


def vector(name):
    """tests/vectors/NAME: the pair of files; all of them are one ctest."""
    pair = all((ROOT / f"{name}.{end}").is_file() for end in ("sip", "want"))
    return pair and ("ctest", "test_vectors", "test_vectors")


def unit(name):
    """tests/unit/test_X.c:test_y: a function that its file also runs."""
    path, function = name.split(":")
    found = re.findall(rf"\b{re.escape(function)}\b", text(path))
    return len(found) > 1 and ("ctest", pathlib.Path(path).stem, function)


def script(name):
    """tests/unit/test_X.sh, tests/fuzz/fuzz_X.c: a ctest of that name."""
    return (ROOT / name).is_file() and ("ctest", pathlib.Path(name).stem, "")


def e2e(name):
    """tests/e2e/test_x.py::test_y, or ::TestZ::test_y."""
    path, *outer, function = name.split("::")
    source = text(path)
    exists = (re.search(rf"^\s*def {re.escape(function)}\(", source, re.M)
              and all(re.search(rf"^class {re.escape(c)}\b", source, re.M)
                      for c in outer))
    return exists and ("e2e", ".".join([pathlib.Path(path).stem, *outer]),
                       function)


RESOLVERS = (
    (re.compile(r"tests/vectors/\w+"), vector),
    (re.compile(r"tests/unit/test_\w+\.c:test_\w+"), unit),
    (re.compile(r"tests/(unit/test_\w+\.sh|fuzz/fuzz_\w+\.c)"), script),
    (re.compile(r"tests/e2e/test_\w+\.py(::\w+)+"), e2e),
)


def rows(document):
    """The cells of each row of a document's tables, without the heads."""
    body = False
    for line in text(document).splitlines():
        if not line.startswith("|"):
            body = False
        elif re.match(r"\|[-| :]+\|$", line):
            body = True
        elif body:
            yield [c.strip() for c in line.strip().strip("|").split(" | ")]


def sources():
    """All of the program's text, in which functions are looked for."""
    return "\n".join(path.read_text(errors="replace")
                     for top in ("src", "include")
                     for path in sorted((ROOT / top).rglob("*.[ch]")))


def check_name(name, code):
    """(test, complaint): what a backquoted text is; (None, None) if neither."""
    for pattern, resolve in RESOLVERS:
        if pattern.fullmatch(name):
            test = resolve(name)
            return (test, None) if test else (None, f"no test {name}")
    if name in ("tests/e2e", "tests/run", "tests/soak", "tests/fuzz/run"):
        return None, None  # all of them
    if name.startswith("tests/"):
        return None, f"not a name of a test: {name}"
    if re.fullmatch(r"(src|include|docs|systemd)/[\w./-]+", name):
        exists = (ROOT / name).exists()
        return None, None if exists else f"no file {name}"
    call = re.fullmatch(r"(\w+)\(\)", name)
    if call and not re.search(rf"\b{call[1]}\(", code):
        return None, f"no function {name}"
    return None, None


def check_failures():
    """Each number once, and each with a test or a reason for none."""
    numbers = []
    for cells in rows(FAILURES):
        if not cells[0].isdigit():
            continue
        numbers.append(int(cells[0]))
        if len(cells) != 4:
            yield f"{FAILURES}: {cells[0]} has {len(cells)} columns"
        elif not re.search(r"`tests/|not yet|no test yet|does not apply",
                           cells[3]):
            yield f"{FAILURES}: {cells[0]} names no test and no reason"
    if numbers != list(range(1, 63)):
        yield f"{FAILURES}: not each of 1 to 62 once, in order"


def check_clauses():
    """Each clause with one of STATUSES; what is done has a test."""
    for cells in rows(CLAUSES):
        where = f"{CLAUSES}: {cells[0]}"
        if len(cells) != 5:
            yield f"{where} has {len(cells)} columns"
        elif not cells[2].startswith(STATUSES):
            yield f"{where}: status '{cells[2]}'"
        elif cells[2] in ("done", "partly") and not re.search(
                r"`tests/|no test yet", cells[4]):
            yield f"{where} is {cells[2]} without a test"


def check_promises():
    """Each promise, and each bound, with a test."""
    head = None
    for line in text(PROMISES).splitlines():
        if not line.startswith("|"):
            head = None
        elif head is None:
            head = line
        elif "shown by" in head and not re.match(r"\|[-| :]+\|$", line) and (
                "`tests/" not in line.rpartition(" | ")[2]):
            yield f"{PROMISES}: no test shows: {line[:60]}"


def merge(ran, key, outcome):
    """Keep the best of what several parts say: ran, else reported, else not."""
    order = ("silent", "reported", "ran")
    ran[key] = max(ran.get(key, "silent"), outcome, key=order.index)


def outcome_of(case):
    """What a <testcase> says; a failure was run, and is counted elsewhere."""
    skip = case.find("skipped")
    if skip is None and case.get("status") not in ("disabled", "notrun"):
        return "ran"
    reason = "" if skip is None else skip.get("message", "")
    return "reported" if reason.strip() else "silent"


def read_results(directory):
    """{(kind, file, function): outcome} of all parts."""
    ran = {}
    for report in sorted(directory.glob("*.xml")):
        for case in ElementTree.parse(report).iter("testcase"):
            name, where = case.get("name"), case.get("classname", "")
            outcome = outcome_of(case)
            if report.name.startswith("e2e"):
                merge(ran, ("e2e", where, name.split("[")[0]), outcome)
                continue
            merge(ran, ("ctest", name, ""), outcome)
            for function in re.findall(
                    r"^\[\s+(?:OK|FAILED)\s+\] (\w+)",
                    case.findtext("system-out") or "", re.M):
                merge(ran, ("ctest", name, function), outcome)
    return ran


def main(arguments):
    """Print what is wrong; True if nothing is."""
    code = sources()
    tests, wrong = {}, [*check_failures(), *check_clauses(),
                    *check_promises()]
    for document in (FAILURES, CLAUSES, PROMISES):
        names = CODE.findall(text(document))
        if not names:
            wrong.append(f"{document}: names nothing")
        for name in dict.fromkeys(names):
            test, complaint = check_name(name, code)
            if complaint:
                wrong.append(f"{document}: {complaint}")
            if test:
                tests[name] = test
    if arguments and not wrong:
        ran = read_results(pathlib.Path(arguments[0]))
        wrong += [f"did not run: {name}" for name, test in tests.items()
                  if ran.get(test, "silent") == "silent"]
    print("\n".join(wrong[:MOST]))
    if len(wrong) > MOST:
        print(f"... and {len(wrong) - MOST} more")
    print(f"{len(tests)} tests named, {len(wrong)} complaints")
    return not wrong


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
