#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# docs/grafana-dashboard.json asks for metrics that there are, as what they are.
# test_metrics.c holds docs/metrics.md equal to the page.

command -v python3 >/dev/null || { echo "SKIP: needs python3"; exit 77; }
exec python3 -B - "$SIPALG_SOURCE_DIR/docs" <<'PYTHON'
import json, re, sys

docs = sys.argv[1]
with open(f"{docs}/metrics.md", encoding="utf-8") as file:
    kinds = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", file.read(), re.M))
with open(f"{docs}/grafana-dashboard.json", encoding="utf-8") as file:
    dashboard = json.load(file)
wrong = []


def check(where, expression):
    names = re.findall(r"\b(?:sipalgd|process)_\w+", expression)
    if not names:
        wrong.append(f"{where}: no metric in {expression}")
    for name in names:
        # of a counter only its growth says something, of a gauge its value
        grown = re.search(rf"(?:rate|increase)\({name}\{{[^}}]*\}}\[",
                          expression)
        if name not in kinds:
            wrong.append(f"{where}: there is no {name}")
        elif (kinds[name] == "counter") != bool(grown):
            wrong.append(f"{where}: {name} is a {kinds[name]}")
    return names


panels = [p for p in dashboard["panels"] if p["type"] != "row"]
shown, taken = set(), set()
for panel in panels:
    if not panel["targets"]:
        wrong.append(f"{panel['title']}: shows nothing")
    letters = [t["refId"] for t in panel["targets"]]
    if len(set(letters)) != len(letters):
        wrong.append(f"{panel['title']}: one refId twice")
    for target in panel["targets"]:
        shown.update(check(panel["title"], target["expr"]))
for variable in dashboard["templating"]["list"]:
    if variable["type"] == "query":
        for name in re.findall(r"sipalgd_\w+", variable["query"]):
            if name not in kinds:
                wrong.append(f"${variable['name']}: there is no {name}")
for panel in dashboard["panels"]:
    at = panel["gridPos"]
    cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
             for y in range(at["y"], at["y"] + at["h"])}
    if cells & taken or at["x"] + at["w"] > 24:
        wrong.append(f"{panel['title']}: lies on another panel")
    taken |= cells
ids = [p["id"] for p in dashboard["panels"]]
if len(set(ids)) != len(ids):
    wrong.append("two panels have one id")
for name in kinds:
    if "_symptom_" in name and name not in shown:
        wrong.append(f"{name} is not shown")
if len(panels) < 10 or len(kinds) < 60:
    wrong.append(f"{len(panels)} panels, {len(kinds)} metrics: not all found")
print("\n".join(wrong) or f"ok: {len(shown)} metrics in {len(panels)} panels")
sys.exit(bool(wrong))
PYTHON
