# SPDX-License-Identifier: Apache-2.0
"""Ten runs in a row of each storage check on what hangs for good: all answer in time, and one process is left, not ten.

Each run is a process of its own, as a scheduler starts it. What hangs is real: a FUSE server that has taken the request and
does not answer (its callers can't be killed), an ext4 that is frozen, and commands that read a file of the former.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from nephoscope.base.child import start_time
from nephoscope.plugin import CRITICAL

from tests.checks.test_check_lvm import VGS
from tests.lab.support import Daemon, missing, need, need_root, private_folder, users, wait_for

pytestmark = pytest.mark.lab

RUNS, DEADLINE, SLACK = 10, 3, 0.5
START = 1.5  # seconds that a process may take to begin and end, where eight others want the processor
RUNNER = """
import sys
from importlib import import_module
from nephoscope.base import child
child.PATH, name = sys.argv[1:3]
sys.argv[:] = [name.rpartition(".")[2], *sys.argv[3:]]
import_module(name).main()
"""


def command(*argv):
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True, timeout=30).stdout.strip()


class Place:
    """What hangs on demand: `mount`, with its tools to hang and to release it, and a folder for programs and state."""

    def __init__(self, folder):
        self.folder, self.mount, self.programs = folder, folder / "mnt", folder / "bin"
        self.mount.mkdir()
        self.programs.mkdir()

    def program(self, name, script):
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    before: Sequence[str] = ()
    python: str | Path = sys.executable

    def run(self, name, *argv):
        """Run a check as a process; return its exit status, first line, and seconds."""
        words = [*self.before, self.python, "-c", RUNNER, f"{self.programs}:/usr/bin:/bin", f"nephoscope.checks.{name}"]
        words += [word.format(mount=self.mount) for word in argv]
        words += ["-t", str(DEADLINE), "--state-dir", str(self.folder / "state"), "--save"]
        begun = time.monotonic()
        answer = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
        assert answer.stderr == ""
        return answer.returncode, answer.stdout.split("\n")[0], time.monotonic() - begun

    def left(self):
        """Return the processes that runs have left behind: they have the folder among their words."""
        return {pid for pid in users(self.folder) if start_time(pid) is not None} - self.servers()

    def servers(self):
        return set()

    def hung(self):
        kept = {}
        for file in (self.folder / "state").glob("*.json"):
            kept.update(json.loads(file.read_text())["data"].get("hung", {}))
        return kept


class Silent(Place):
    """The file system of hangfs.py."""

    def __init__(self, folder):
        super().__init__(folder)
        self.flag, log = folder / "HANG", folder / "requests"
        log.touch()
        server = ["/usr/bin/python3", Path(__file__).with_name("hangfs.py"), self.mount, self.flag, log]
        self.daemon = Daemon(server, ready=lambda: os.path.ismount(self.mount), log=folder / "hangfs.log")

    def servers(self):
        return {self.daemon.pid}

    def hang(self):
        self.flag.touch()

    def release(self):
        self.flag.unlink(missing_ok=True)


class Frozen(Place):
    """An ext4 on a loop device."""

    def __init__(self, folder):
        super().__init__(folder)
        with open(folder / "image", "wb") as file:
            file.truncate(16 << 20)
        command("mkfs.ext4", "-q", folder / "image")
        command("mount", "-o", "loop", folder / "image", self.mount)
        self.mount.chmod(0o1777)
        (self.mount / "probe").mkdir()
        (self.mount / "probe").chmod(0o777)

    def hang(self):
        command("fsfreeze", "--freeze", self.mount)

    def release(self):
        subprocess.run(["fsfreeze", "--unfreeze", self.mount], capture_output=True)


@pytest.fixture(scope="module", autouse=True)
def programs():
    need("/usr/bin/python3", "fusermount3", "mount", "umount", "mkfs.ext4", "fsfreeze")
    need_root("it mounts")
    if subprocess.run(["/usr/bin/python3", "-c", "import fusepy"], stderr=subprocess.DEVNULL).returncode:
        missing("not installed: python3-fusepy (./test --install brings it)")


@pytest.fixture
def silent():
    with private_folder() as folder:
        place = Silent(folder)
        with place.daemon:
            try:
                yield place
            finally:
                place.release()  # first: whoever waits for it must be free before anything waits for them
                place.daemon.stop()
                subprocess.run(["umount", "-l", place.mount], capture_output=True)


@pytest.fixture
def frozen():
    with private_folder() as folder:
        place = Frozen(folder)
        try:
            yield place
        finally:
            place.release()
            for how in ("-d", "-l"):
                subprocess.run(["umount", how, place.mount], capture_output=True)


class Case(NamedTuple):
    """One check on what hangs.

    argv   `{mount}` stands for the place that hangs
    said   what its first lines say it is that does not answer, as an expression
    again  where it is well again: state and beginning of the line
    """

    name: str
    argv: tuple[str, ...]
    said: str
    again: str
    programs: Mapping[str, str] = {}


READS = {"alone": "exec cat {mount}/file", "below a shell": "cat {mount}/file; exit 5"}


def ten_runs(place, case):
    for name, script in case.programs.items():
        place.program(name, script)
    said = case.said.format(mount=re.escape(str(place.mount)))
    before = place.run(case.name, *case.argv)
    assert re.match(case.again.format(mount=place.mount), before[1]), before[1]
    assert place.left() == set()
    place.hang()
    left = []
    for number in range(RUNS):
        state, line, took = place.run(case.name, *case.argv)
        assert state == CRITICAL, line
        assert took < DEADLINE + SLACK + START
        what = (
            "no answer in [0-9.]+ s"
            if number == 0
            else r"hung for \d+ min: process \d+ still waits in the kernel for it"
        )
        assert re.match(rf"[A-Z_]+ CRITICAL - {said}{what}", line), line
        if number:
            assert took < START + SLACK, "it was waited for again"
        left.append(place.left())
    assert left[0], "nothing hangs: this proves nothing"
    assert left[-1] == left[0], "each run leaves more behind"
    assert len(place.hung()) == 1
    (stuck,) = (pid for pid in left[0] if Path(f"/proc/{pid}/comm").read_text() != "sudo\n")  # who waits for it
    os.kill(stuck, signal.SIGKILL)
    wait_for(lambda: Path(f"/proc/{stuck}/stat").read_text().rpartition(")")[2].split()[0] == "D", 2, "state D")
    assert place.left() == left[0], "they can be killed: this proves nothing"

    place.release()
    wait_for(lambda: not place.left(), 5, "the end of what was left behind")
    after = place.run(case.name, *case.argv)
    assert re.match(case.again.format(mount=place.mount), after[1]), after[1]
    assert (place.hung(), place.left()) == ({}, set())
    return left[0]


@pytest.mark.parametrize(
    "case",
    [
        Case("storage.check_shared_mount", ("--path", "{mount}", "--type", "fuse.stub"), "{mount}: ", "SHARED_MOUNT OK - "),
        Case("storage.check_shared_mount", ("--type", "fuse.stub", "--include", "{mount}"), "{mount}: ", "SHARED_MOUNT OK - "),
        Case("node.check_filesystem", ("--path", "{mount}"), "{mount}: ", "FILESYSTEM OK - "),
        # That file system takes no file: what is asked is whether it answers.
        Case("storage.check_io_latency", ("--path", "{mount}", "--include", "{mount}"), "{mount}: ", "IO_LATENCY CRITICAL - {mount} create failed"),
    ],
    ids=lambda case: case.name.partition("check_")[2] + str(len(case.argv)),
)  # fmt: skip
def test_a_silent_server(silent, case):
    assert len(ten_runs(silent, case)) == 1


@pytest.mark.parametrize("how", READS)
@pytest.mark.parametrize(
    "case",
    [
        Case("storage.check_lvm", (), "lvm: ", "LVM ", {"vgs": ""}),
        Case("storage.check_lvm", (), "", "LVM ", {"vgs": VGS, "lvs": ""}),
        Case("storage.check_iscsi_target", (), "tgtd: ", "ISCSI_TARGET ", {"tgtadm": ""}),
    ],
    ids=["vgs", "lvs", "tgtadm"],
)
def test_a_command_that_hangs(silent, case, how):
    scripts = {name: script or READS[how].format(mount=silent.mount) for name, script in case.programs.items()}
    ten_runs(silent, case._replace(programs=scripts))


@pytest.mark.parametrize(
    "case",
    [
        Case("storage.check_shared_mount", ("--path", "{mount}", "--type", "ext4", "--write", "{mount}/probe"), "{mount}/probe: ", "SHARED_MOUNT OK - "),
        Case("storage.check_io_latency", ("--path", "{mount}", "--include", "{mount}"), "{mount}: ", "IO_LATENCY (OK|WARNING) - "),
    ],
    ids=["shared_mount", "io_latency"],
)  # fmt: skip
def test_a_frozen_disk(frozen, case):
    assert len(ten_runs(frozen, case)) == 1


def test_a_command_that_hangs_below_sudo(silent, installed_plugins):
    """Whom an ordinary user can't even signal. Real sudo, its file put over /etc/sudoers in a mount namespace of its own."""
    need("sudo", "unshare", "runuser")
    rules = silent.folder / "sudoers"
    rules.write_text(f"nobody ALL=(root) NOPASSWD: {silent.programs}/vgs\n")
    rules.chmod(0o440)
    (silent.folder / "state").mkdir()
    os.chown(silent.folder / "state", 65534, 65534)
    enter = f'mount --bind {rules} /etc/sudoers && exec runuser -u nobody -- "$@"'
    silent.before = ["unshare", "--mount", "sh", "-c", enter, "sh"]
    silent.python = installed_plugins / "python"
    case = Case("storage.check_lvm", (), "lvm: ", "LVM ", {"vgs": READS["alone"].format(mount=silent.mount)})
    ten_runs(silent, case)
