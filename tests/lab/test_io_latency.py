# SPDX-License-Identifier: Apache-2.0
"""check_io_latency against a real disk that answers nothing: a loop device on a file of a frozen file system."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time

import pytest
from nephoscope.base import Clock, child
from nephoscope.checks.storage.check_io_latency import CHECK
from nephoscope.plugin import OK

from tests.lab.support import missing, need, need_root, private_folder, wait_for

pytestmark = pytest.mark.lab
NUMBER = r"[0-9.]+"


def command(*argv):
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True, timeout=30).stdout.strip()


class Disk:
    """A loop device whose file lies on a file system that can be frozen: what is written to it then waits in the kernel."""

    def __init__(self, folder, stack):
        self.folder, self.mount = folder, folder / "mnt"
        self.mount.mkdir()
        self.below = self.loop(folder / "below", 48, stack)
        command("mkfs.ext4", "-q", "-m", "0", self.below)
        command("mount", self.below, self.mount)
        stack.callback(command, "umount", self.mount)
        self.mount.chmod(0o777)
        self.device = self.loop(self.mount / "disk", 8, stack)
        stack.callback(subprocess.run, ["fsfreeze", "--unfreeze", self.mount], capture_output=True, check=False)
        self.name = os.path.basename(self.device)
        self.write()

    def loop(self, path, mebibytes, stack):
        path.write_bytes(bytes(mebibytes << 20))
        try:
            device = command("losetup", "-f", "--show", path)
        except subprocess.CalledProcessError as error:
            missing(f"this kernel gives no loop device: {error.stderr}")
        stack.callback(command, "losetup", "-d", device)
        return device

    def write(self):
        command("dd", "if=/dev/zero", f"of={self.device}", "bs=4096", "count=1", "oflag=direct", "conv=notrunc")

    def in_flight(self):
        with open("/proc/diskstats") as file:
            (row,) = (line.split() for line in file if line.split()[2] == self.name)
        return int(row[11])

    @contextlib.contextmanager
    def frozen(self):
        command("fsfreeze", "--freeze", self.mount)
        try:
            yield
        finally:
            command("fsfreeze", "--unfreeze", self.mount)

    def look(self, *argv, shift=0.0):
        words = ["--include", self.name, "--include", str(self.mount), "--state-dir", str(self.folder / "state"), *argv]
        return CHECK.run(words, clock=Clock(shift=shift))


@pytest.fixture
def disk():
    need("losetup", "mkfs.ext4", "mount", "umount", "fsfreeze", "dd")
    need_root("it mounts")
    with private_folder() as folder, contextlib.ExitStack() as stack:
        yield Disk(folder, stack)


def test_a_disk_that_answers_nothing(disk):
    assert disk.look().line == f"IO_LATENCY OK - 1 looked at: {disk.name}, rates collecting | {disk.name}_in_flight=0"
    with disk.frozen():
        writer = subprocess.Popen(
            ["dd", "if=/dev/zero", f"of={disk.device}", "bs=4096", "count=1", "oflag=direct", "conv=notrunc"],
            stderr=subprocess.DEVNULL,
        )
        wait_for(disk.in_flight, what="a write on its way")
        assert disk.look(shift=60).state == OK  # it began to wait since the last run
        for run in (1, 2, 3):
            line = disk.look(shift=60 + 60 * run).line
            said = f"{disk.name} hangs: 1 I/Os wait, and none was answered for {60 * run} s"
            assert re.match(rf"IO_LATENCY CRITICAL - {said} \| {disk.name}_in_flight=1 ", line), line
        assert writer.poll() is None
    assert writer.wait(20) == 0
    assert re.match(rf"IO_LATENCY OK - 1 looked at: {disk.name} \| {disk.name}_in_flight=0 ", disk.look(shift=300).line)


def test_a_disk_that_answers_is_measured(disk):
    disk.look()
    for _ in range(20):
        disk.write()
    found = disk.look("--least", "0", shift=60)
    values = dict(item.split("=") for item in found.perfdata)
    assert found.state == OK
    assert float(values[f"{disk.name}_ios_rate"]) >= 20 / 61
    assert 0 < float(values[f"{disk.name}_write_await"].rstrip("s")) < 1


def test_ten_trials_on_a_frozen_file_system_leave_one_process(disk):
    argv = ("--path", str(disk.mount), "-t", "3")
    assert "_fsync=" in disk.look(*argv, "-w", "fsync=60", "-c", "fsync=60").line
    with disk.frozen():
        begun = time.monotonic()
        first = disk.look(*argv, shift=60).line
        assert time.monotonic() - begun < 3.5
        assert re.match(rf"IO_LATENCY CRITICAL - {disk.mount}: no answer in {NUMBER} s \(create, sync, ", first), first
        lines = [disk.look(*argv, shift=60 + at).line for at in range(1, 10)]
        held = {re.search(r"process (\d+) still waits in the kernel for it", line)[1] for line in lines}
        assert len(held) == 1, "one process, however many runs"
    (pid,) = map(int, held)
    wait_for(lambda: child.start_time(pid) is None, what="its end")
    assert disk.look(*argv, "-w", "fsync=60", "-c", "fsync=60", shift=100).state == OK
