# SPDX-License-Identifier: Apache-2.0
"""A process that the kernel really kills for want of memory: counted, named, and critical when it is vital."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.base import Clock
from nephoscope.checks.node.check_memory import CHECK
from nephoscope.plugin import CRITICAL, WARNING

from tests.lab.support import control_group

pytestmark = pytest.mark.lab
LIMIT = 24 << 20
GREEDY = (
    "import ctypes; ctypes.CDLL(None).prctl(15, b'greedy-lab', 0, 0, 0); a = [bytearray(1 << 20) for _ in range(256)]"
)


@pytest.fixture
def group() -> Iterator[Path]:
    """Give a memory control group with a limit, version 2 or 1, whichever is mounted and may be made."""
    with control_group(
        "a memory limit",
        ("/sys/fs/cgroup", {"memory.max": str(LIMIT), "memory.swap.max": "0"}),
        ("/sys/fs/cgroup/memory", {"memory.limit_in_bytes": str(LIMIT), "memory.memsw.limit_in_bytes": str(LIMIT)}),
    ) as path:
        yield path


def test_a_real_kill(group: Path, folder: Path) -> None:
    argv = ["--mode", "oom", "--state-dir", str(folder)]
    before = CHECK.run(argv)
    assert before.perfdata, before.text  # as many as the kernel's log tells of: other labs' kills, too

    quiet = CHECK.run(argv, clock=Clock(shift=60))
    greedy = subprocess.Popen([sys.executable, "-c", GREEDY], preexec_fn=lambda: join(group))
    assert greedy.wait(60) == -signal.SIGKILL
    time.sleep(0.1)

    found = CHECK.run(argv, clock=Clock(shift=120))
    assert quiet.perfdata == ["oom_kills=0;0"]
    assert found.state == WARNING, found.text
    assert "oom kills 1 is above 0" in found.reason
    assert "greedy-lab was killed for want of memory (1 in the last hour)" in found.text

    assert CHECK.run([*argv, "--vital", "greedy*"], clock=Clock(shift=180)).state == CRITICAL

    first = CHECK.run(["--mode", "oom", "--state-dir", str(folder / "new"), "--vital", "greedy*"])
    assert first.state == CRITICAL, first.text
    assert "greedy-lab was killed for want of memory" in first.text


def join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def test_a_container_with_a_limit_sees_its_own_room(group: Path, folder: Path) -> None:
    """The control group files of a real group, laid where a container sees those of its own."""
    version1 = (group / "memory.limit_in_bytes").exists()
    own = folder / "root/sys/fs/cgroup" / ("memory" if version1 else "")
    own.mkdir(parents=True)
    for name in ("limit_in_bytes", "usage_in_bytes", "stat") if version1 else ("max", "current", "stat"):
        (own / f"memory.{name}").write_bytes((group / f"memory.{name}").read_bytes())
    (folder / "root/proc").mkdir()
    (folder / "root/proc/meminfo").write_bytes(Path("/proc/meminfo").read_bytes())
    outcome = CHECK.run(["--mode", "available", "--state-dir", str(folder)], root=str(folder / "root"))
    assert outcome.perfdata[1].endswith(f";;;0;{LIMIT}"), outcome.text
