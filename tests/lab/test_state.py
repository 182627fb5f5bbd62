# SPDX-License-Identifier: Apache-2.0
"""State on a disk that is really full, and in a directory that belongs to somebody else."""

import os
import subprocess

import pytest
from nephoscope.plugin import Finding

from tests.lab.support import need, need_root
from tests.plugin.sample import make

pytestmark = pytest.mark.lab


def counting():
    return make(
        probe=lambda values, run: [Finding(0, "", f"run {(run.before or [0])[0] + 1}")],
        keep=lambda facts: [int(facts[0].text.split()[1]), "x" * 2000],
    )


@pytest.fixture
def small_disk(folder):
    need("mount", "umount")
    need_root("it mounts a tmpfs")
    place = folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_on_line_1_and_the_old_state_stays_whole(small_disk):
    argv = ["--state-dir", str(small_disk)]
    assert [counting().run(argv).reason for _ in range(2)] == ["run 1", "run 2"]
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(b"x" * 65536)
    outcome = counting().run(argv)
    assert outcome.state == 3
    assert (
        f"can't write state in {small_disk}: No space left on device; free some space or give --state-dir"
        in outcome.reason
    )
    assert [name for name in os.listdir(small_disk) if name.endswith(".new")] == []
    ballast.unlink()
    assert counting().run(argv).reason == "run 3"  # nothing was lost, nothing half written


def test_another_user_reads_and_does_not_write(folder):
    need_root("it becomes another user")
    state = folder / "state"
    state.mkdir(mode=0o755)
    os.chown(state, 65534, 65534)
    argv = ["--state-dir", str(state)]
    outcome = counting().run(argv)
    assert outcome.state == 3  # nothing is known yet, and nothing can be kept
    assert "belongs to another user" in outcome.reason
    assert os.listdir(state) == []


def test_the_owners_evidence_is_read_by_another_user_and_left_alone(folder):
    need_root("it becomes another user")
    state = folder / "state"
    argv = ["--state-dir", str(state)]
    counting().run(argv)
    for entry in os.scandir(state):
        os.chown(entry.path, 65534, 65534)
    os.chown(state, 65534, 65534)
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(state)}
    outcome = counting().run(argv)
    assert (outcome.state, outcome.reason) == (0, "run 2")
    assert "note: state in" in outcome.text
    assert {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(state)} == before
