# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demo prints: headings, diffs, verdict lines; and the count."""

import difflib
import os
import sys

PLAIN = dict.fromkeys(("bold", "dim", "red", "green", "off"), "")
COLOURS = {"bold": "\033[1m", "dim": "\033[2m", "red": "\033[31m",
           "green": "\033[32m", "off": "\033[0m"}


class Page:
    """Prints for a reader; coloured on a terminal only."""

    def __init__(self, out=sys.stdout):
        coloured = out.isatty() and "NO_COLOR" not in os.environ
        self._style = COLOURS if coloured else PLAIN
        self._out = out
        self.checks = 0
        self.failed = []

    def line(self, text="", style="off"):
        colour = self._style[style]
        end = self._style["off"] if colour else ""
        print(f"{colour}{text}{end}", file=self._out, flush=True)

    def heading(self, text):
        self.line()
        self.line(text, "bold")

    def note(self, text):
        self.line(f"  {text}", "dim")

    def table(self, title, rows):
        """A title, and rows of texts in columns."""
        self.line(f"  {title}", "bold")
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = (c.ljust(w) for c, w in zip(row, widths))
            self.line("    " + "  ".join(cells).rstrip())

    def check(self, right, text, why=""):
        """One verdict line; why is printed where it is wrong."""
        self.checks += 1
        self.line(f"  {'ok  ' if right else 'FAIL'}  {text}",
                  "green" if right else "red")
        if not right:
            self.failed.append(text)
            for line in str(why).splitlines():
                self.line(f"        {line}")
        return right

    def diff(self, title, before, after, keep):
        """Two texts; of unchanged lines the first, and those with keep."""
        self.line(f"  {title}", "bold")
        before, after = before.splitlines(), after.splitlines()
        matcher = difflib.SequenceMatcher(None, before, after, False)
        for _kind, i, i_end, j, j_end in matcher.get_opcodes():
            if before[i:i_end] == after[j:j_end]:
                first = 1 if i == 0 else 0
                self._unchanged(before[:first], before[i + first:i_end], keep)
                continue
            for text in before[i:i_end]:
                self.line(f"  - {text}", "red")
            for text in after[j:j_end]:
                self.line(f"  + {text}", "green")

    def _unchanged(self, shown, lines, keep):
        for text in shown:
            self.line(f"    {text}", "dim")
        hidden = []
        for text in lines:
            if keep not in text:
                hidden.append(text)
                continue
            self._hide(hidden)
            self.line(f"    {text}", "dim")
            hidden = []
        self._hide(hidden)

    def _hide(self, lines):
        if len(lines) > 1:
            lines = [f"... {len(lines)} lines unchanged"]
        for text in lines:
            self.line(f"    {text}", "dim")
