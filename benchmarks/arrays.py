# SPDX-License-Identifier: Apache-2.0
"""check_san_health over real UDP: a small group of arrays within its bound, a large one for its time and memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.probes.test_san_equallogic import E, group
from tests.simulators.snmp_agent import Agent

SMALL = "check_san_health --profile equallogic"
LIMITS: dict[str, float | None] = {SMALL: 12.0}
LARGE = "A simulated group of 500 disks and 2,000 volumes, some 50,000 values by SNMP, judged in one run (likewise):"
EXTRA = 18  # columns of a real group's volumes that the check does not ask for


def words(port: int, options: str) -> list[str]:
    """Return the command line without its directory; the community stands in the file of options."""
    return [*SMALL.split(), "-H", "127.0.0.1", "-p", str(port), "--extra-opts", f"san@{options}"]


@contextlib.contextmanager
def community() -> Iterator[str]:
    """Give a file of options, closed to others, with the agent's community."""
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        file.write("[san]\ncommunity = public\n")
        file.flush()
        yield file.name


@contextlib.contextmanager
def running() -> Iterator[dict[str, list[str]]]:
    """Start the agent; give name (as in LIMITS) -> command line."""
    with community() as options, Agent(group(), product=f"{E}.17.1") as agent:
        yield {SMALL: [*words(agent.port, options), "-t", "100"]}  # valgrind is slow


def large() -> list[str]:
    """Return the row of what a large group costs: time, peak of memory, requests."""
    values = group(disks=250, volumes=2000)
    values.update(
        {f"{E}.5.1.7.1.1.{column}.7.{volume}": 1 for column in range(30, 30 + EXTRA) for volume in range(1, 2001)}
    )
    with community() as options, Agent(values, product=f"{E}.17.1") as agent, tempfile.TemporaryDirectory() as state:
        name, *rest = words(agent.port, options)
        argv = [sys.executable, str(Path(sys.executable).with_name(name)), *rest, "--state-dir", state]
        done = subprocess.run(["/usr/bin/time", "-f", "%e %M", *argv], capture_output=True, text=True, check=False)
        wall, peak = done.stderr.split()[-2:]
        if "500 disks" not in done.stdout:
            raise SystemExit(done.stdout)
        cost = f"{float(wall):.2f} s | {int(peak) / 1024:.0f} MiB | {agent.requests} asked"
        row = f"| `{SMALL}`, {len(values):,} values | {cost} |"
    return ["| run | time | peak of memory | requests |", "|---|---|---|---|", row]
