# SPDX-License-Identifier: Apache-2.0
"""The page docs/databases-agreement.md: what the best known plugins say of a server, and what ours says, at the same moment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "databases-agreement.md"
HEAD = """# Databases: what the peers say of the same server

Measured by `tests/lab/test_db_peers.py` on real servers in trouble that the test makes; every number of ours stands between one
run of the peer just before and one just after. `python -m tests.lab.test_db_peers` measures again and writes this page; the test
compares its rows and verdicts, numbers may vary. The peers' versions are Debian 12's.

"within": ours lies between both of theirs, give or take what they round to or what stands under "why". "Another measure": both are right about different
things. "The peer is wrong": the reason stands beside it.

| server | measure | peer | before | ours | after | verdict | why |
|---|---|---|---|---|---|---|---|
"""
WITHIN, OTHER, WRONG = "within", "another measure", "the peer is wrong"


class Row(NamedTuple):
    """One measure. `step` is what the peer rounds to; `why` is said where ours is not within, or where that needs a word."""

    server: str
    measure: str
    peer: str
    before: float
    ours: float
    after: float
    unit: str = ""
    step: float = 0.0
    verdict: str = WITHIN
    why: str = ""

    @property
    def within(self) -> bool:
        """Whether ours lies in what two runs of theirs bracket."""
        return min(self.before, self.after) - self.step <= self.ours <= max(self.before, self.after) + self.step

    @property
    def holds(self) -> bool:
        """Whether the verdict is what was measured: a peer that is called wrong must not agree with us."""
        return self.within == (self.verdict == WITHIN)


def shown(value: float, unit: str) -> str:
    """Return a number as the table has it."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{text} {unit}".strip()


def page(rows: list[Row]) -> str:
    """Return the page."""
    lines = [
        f"| {row.server} | {row.measure} | {row.peer} | {shown(row.before, row.unit)} | {shown(row.ours, row.unit)}"
        f" | {shown(row.after, row.unit)} | {row.verdict} | {row.why} |"
        for row in rows
    ]
    return HEAD + "\n".join(lines) + "\n"


def structure(text: str) -> list[tuple[str, ...]]:
    """Return of each row what may not vary: all but the three numbers."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 8 and not re.fullmatch(r"-+", cells[0]) and cells[0] != "server":
            found.append((*cells[:3], *cells[6:]))
    return found
