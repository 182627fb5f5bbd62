# SPDX-License-Identifier: Apache-2.0
"""Processors that are really kept busy, and a real control group whose quota runs out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.base import Clock
from nephoscope.checks.node.check_load import CHECK
from nephoscope.plugin import OK, WARNING

from tests.lab.support import control_group

pytestmark = pytest.mark.lab
BURN = "import sys,time; end = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


def value(outcome, name: str) -> float:
    (item,) = [item for item in outcome.perfdata if item.startswith(f"{name}=")]
    return float(item.partition("=")[2].partition(";")[0].rstrip("%"))


def test_busy_processors(folder: Path) -> None:
    """One for every processor, for a second: the share comes from the kernel's ticks, whatever our clock says."""
    argv = ["--mode", "cpu", "--state-dir", str(folder), "-w", "busy=50"]
    assert CHECK.run(argv).reason == "rates collecting"
    cores = len(os.sched_getaffinity(0))
    burning = [subprocess.Popen([sys.executable, "-c", BURN, "1"]) for _ in range(cores)]
    assert [process.wait(30) for process in burning] == [0] * cores
    outcome = CHECK.run(argv, clock=Clock(shift=60))
    assert outcome.state == WARNING, outcome.text
    assert value(outcome, "user") > 50
    assert value(outcome, "busy") <= 100


@pytest.fixture
def group() -> Iterator[Path]:
    """Give a control group that may use a tenth of one processor, version 2 or 1."""
    with control_group(
        "a CPU quota",
        ("/sys/fs/cgroup", {"cpu.max": "10000 100000"}),
        ("/sys/fs/cgroup/cpu", {"cpu.cfs_quota_us": "10000"}),
    ) as path:
        yield path


def test_a_quota_that_runs_out(group: Path, folder: Path) -> None:
    """The group's files, laid where a container sees those of its own, beside the host's /proc."""
    root = folder / "root"
    own = root / "sys/fs/cgroup" / ("" if (group / "cpu.max").exists() else "cpu")
    own.mkdir(parents=True)
    (root / "proc").mkdir()

    def snapshot() -> None:
        for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.stat"):
            if (group / name).exists():
                (own / name).write_bytes((group / name).read_bytes())
        (root / "proc/stat").write_bytes(Path("/proc/stat").read_bytes())

    argv = ["--mode", "cpu", "--state-dir", str(folder / "state")]
    snapshot()
    assert CHECK.run(argv, root=str(root)).state == OK
    burning = subprocess.Popen(
        [sys.executable, "-c", BURN, "1"], preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    )
    assert burning.wait(60) == 0
    snapshot()
    outcome = CHECK.run(argv, root=str(root), clock=Clock(shift=60))
    assert outcome.state == WARNING, outcome.text
    assert "throttled" in outcome.reason
    assert value(outcome, "throttled") > 50
