# SPDX-License-Identifier: Apache-2.0
"""What the tests of the arrays share: places, answers by name, the ways in which every array fails, a run that is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from nephoscope.base import Failed, Run
from nephoscope.probes.san import Array, Place

ALL = ("health", "capacity", "performance")
ROOT = Path(__file__).parents[2]

REST = "the array fell silent, the rest was not asked for"
CUT = "the connection was cut before the answer was whole"
HTML = "answered HTML: is this the array's management address?"
FAULTS: list[tuple[Any, str, str]] = [
    (403, "not-allowed", "HTTP 403"),
    (401, "not-allowed", "HTTP 401"),
    (404, "unreadable", "HTTP 404"),
    (429, "unreachable", "the array is busy (HTTP 429)"),
    (500, "unreachable", "HTTP 500"),
    (503, "unreachable", "the array is busy (HTTP 503)"),
    ("html", "unreadable", HTML),
    ("junk", "unreadable", "the answer is not JSON"),
    ("empty", "unreadable", "the answer is no JSON object"),
    ("half", "unreachable", CUT),
]
ODD: list[Any] = [None, [], {}, 7, "word", [1], {"records": 1}, {"items": [None]}, {"members": {}}, {"entries": [[]]}]


def place(array: Any, **words: Any) -> Place:
    return Place("127.0.0.1", array.port, **{"user": "nagios", "password": "secret", "plain": True, **words})


def ask(module: Any, array: Any, modes: tuple[str, ...] = ALL, seconds: float = 8.0, **words: Any) -> Array:
    return module.look(Run(seconds, before=words.pop("before", None)), place(array, **words), modes)


def healths(found: Array) -> dict[str, tuple[str, str]]:
    made = {part.of: (part.health, part.text) for part in found.parts}
    assert len(made) == len(found.parts), "names are unique"
    return made


def bad(found: Array) -> dict[str, tuple[str, str]]:
    return {of: said for of, said in healths(found).items() if said[0] not in ("ok", "spare", "absent")}


def lost(found: Array) -> list[tuple[str, str, str]]:
    return [(failed.kind, failed.of, failed.error) for failed in found.lost]


def failure(module: Any, array: Any, **words: Any) -> Failed:
    try:
        ask(module, array, **words)
    except Failed as failed:
        return failed
    raise AssertionError("it did not fail")


def ended(module: Any, array: Any, path: str, **words: Any) -> None:
    """Send SIGTERM to a run that waits for this path, as the frame takes it: what is to be given back is given back."""
    array.faults[path] = "hang"
    code = (
        "import signal\n"
        "from nephoscope.base import Run\n"
        f"from nephoscope.probes.san import Place\nfrom nephoscope.probes import {module.__name__.rpartition('.')[2]} as it\n"
        "run = Run(20.0)\n"
        "signal.signal(signal.SIGTERM, lambda *_: run.interrupt(SystemExit(7)))\n"
        f"it.look(run, {place(array, **words)!r}, {ALL!r})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "lib")}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=str(ROOT))
    until = time.monotonic() + 10
    while path not in (line.partition(" ")[2] for line in array.asked) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 7
