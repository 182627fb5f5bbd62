# SPDX-License-Identifier: Apache-2.0
"""check_shared_mount against a real GlusterFS volume of two copies, mounted; and against a file system that dies.

glusterd, its bricks and its client live in a network namespace of their own, whose loopback has one more address: GlusterFS
takes no brick on 127.0.0.1, and its ports are fixed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from nephoscope.base import Clock
from nephoscope.base.child import start_time
from nephoscope.checks.storage.check_shared_mount import CHECK
from nephoscope.plugin import OK

from tests.lab.support import Daemon, need, need_root, private_folder, wait_for
from tests.probes.unprivileged import as_nobody

pytestmark = pytest.mark.lab
ADDRESS = "192.0.2.7"
VOLFILE = """volume management
    type mgmt/glusterd
    option working-directory {0}/work
    option transport-type socket
    option transport.address-family inet
    option run-directory {0}/run
    option glusterd-sockfile {0}/run/glusterd.socket
end-volume
"""


def command(*argv):
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True, timeout=60).stdout


class Volume:
    """The volume `vol`: copies in b1 and b2 of the folder, mounted at mnt."""

    def __init__(self, folder, stack):
        self.folder, self.mount = folder, folder / "mnt"
        for name in ("work", "run", "b1", "b2", "mnt"):
            (folder / name).mkdir()
        (folder / "glusterd.vol").write_text(VOLFILE.format(folder))
        space = stack.enter_context(Daemon(["unshare", "--net", "sleep", "600"]))
        mine = os.stat("/proc/self/ns/net").st_ino
        wait_for(lambda: os.stat(f"/proc/{space.pid}/ns/net").st_ino != mine, what="a network namespace")
        self.inside = ["nsenter", f"--net=/proc/{space.pid}/ns/net"]
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
        daemon = Daemon(
            [
                *self.inside,
                "glusterd",
                "-N",
                "-f",
                folder / "glusterd.vol",
                "-p",
                folder / "pid",
                "-l",
                folder / "glusterd.log",
            ],
            ready=lambda: (
                (folder / "run/glusterd.socket").exists() and "opRet" in self.gluster("volume", "list", "--xml")
            ),
            log=folder / "out",
        )
        stack.enter_context(daemon)
        stack.callback(self.end)
        self.gluster(
            "volume", "create", "vol", "replica", "2", *(f"{ADDRESS}:{folder}/{b}" for b in ("b1", "b2")), "force"
        )
        self.gluster("volume", "start", "vol")
        self.run("mount", "-t", "glusterfs", "-o", f"log-file={folder}/mnt.log", f"{ADDRESS}:/vol", self.mount)
        stack.callback(subprocess.run, ["umount", "-l", self.mount], capture_output=True)
        self.mount.chmod(0o1777)

    def run(self, *argv):
        return command(*self.inside, *argv)

    def gluster(self, *argv):
        return self.run("gluster", f"--glusterd-sock={self.folder}/run/glusterd.socket", "--mode=script", *argv)

    def pids(self):
        """Of the bricks and the daemon that heals; that of glusterd itself is the lab's."""
        return {
            path.stem: int(path.read_text())
            for path in (self.folder / "run").rglob("*.pid")
            if path.read_text().strip()
        }

    def brick(self, name):
        return next(pid for file, pid in self.pids().items() if file.endswith(f"-{name}"))

    def stop(self, name):
        pid = self.brick(name)
        self.kill(pid, signal.SIGTERM)
        wait_for(lambda: not lives(pid), what="the end of a brick")

    def end(self):
        """End what glusterd has started, and take away the socket and log that each has outside the folder."""
        for pid in self.pids().values():
            self.kill(pid, signal.SIGKILL)

    def kill(self, pid, how):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if "gluster" in words[0]:
                os.kill(pid, how)
                for option in ("-S", "-l"):
                    if option in words:
                        Path(words[words.index(option) + 1]).unlink(missing_ok=True)

    def look(self, *argv, shift=0.0):
        words = ["--path", str(self.mount), "--state-dir", str(self.folder / "state"), "-w", "probe=5", *argv]
        return CHECK.run(words, clock=Clock(shift=shift))


def lives(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture(scope="module")
def volume():
    need("glusterd", "gluster", "glusterfs", "glusterfsd", "ip", "unshare", "nsenter", "mount", "umount")
    need_root("it mounts")
    with private_folder() as folder, contextlib.ExitStack() as stack:
        yield Volume(folder, stack)


def test_a_volume_loses_a_copy_and_is_healed(volume):
    outcome = volume.look("--write", str(volume.mount), "-w", "write=5")
    assert outcome.state == OK, outcome.text
    assert f"[OK] {volume.mount} is mounted from {ADDRESS}:/vol (fuse.glusterfs, writable)" in outcome.text
    assert any(re.fullmatch(r"\S+_backlog=0;0", item) for item in outcome.perfdata), outcome.perfdata
    assert any("_write=" in item for item in outcome.perfdata)
    assert os.listdir(volume.mount) == []
    wrong = volume.look("--source", "nas.example:*").line
    assert wrong.startswith(
        f"SHARED_MOUNT CRITICAL - {volume.mount} is mounted from {ADDRESS}:/vol, not from nas.example:* | "
    )

    volume.stop("b2")
    lost = f"{volume.mount} does not reach brick {ADDRESS}:{volume.folder}/b2, a copy"
    wait_for(lambda: lost in volume.look().line, what="the loss to be told")
    assert volume.look().line.startswith(f"SHARED_MOUNT WARNING - {lost}")
    for number in range(3):
        (volume.mount / f"f{number}").write_text("x")
    outcome = volume.look()
    assert re.search(r"_backlog=[34];0 ", outcome.line), outcome.line  # the three, and their directory
    assert re.search(r"backlog [34] is above 0 \(at least so many files wait to be healed\)", outcome.text), (
        outcome.text
    )

    volume.gluster("volume", "start", "vol", "force")
    wait_for(lambda: volume.look().state == OK, what="the healing")
    assert (volume.folder / "b2/f2").read_text() == "x"


def test_an_ordinary_user_is_told_the_same(volume):
    state, line = as_nobody(CHECK, ["--path", str(volume.mount), "-w", "probe=5"])
    assert state == OK, line
    assert "_backlog=0;0" in line


def test_a_volume_of_two_sets_loses_one(volume):
    """The root answers, and so does the half of the files that is still there; of the other half no copy is left."""
    folder = volume.folder
    names = ("c1", "c2", "c3", "c4")
    for name in (*names, "half"):
        (folder / name).mkdir()
    bricks = (f"{ADDRESS}:{folder}/{name}" for name in names)
    volume.gluster("volume", "create", "two", "replica", "2", *bricks, "force")
    volume.gluster("volume", "start", "two")
    volume.run("mount", "-t", "glusterfs", "-o", f"log-file={folder}/half.log", f"{ADDRESS}:/two", folder / "half")
    try:
        look = ["--path", str(folder / "half"), "-w", "probe=5", "--state-dir", str(folder / "state")]
        wait_for(lambda: CHECK.run(look).state == OK, what="all four bricks")
        said = f"SHARED_MOUNT {{}} - {folder}/half does not reach brick {ADDRESS}:{folder}/c1, {{}}"
        for name, words in (("c1", ("WARNING", "a copy")), ("c2", ("CRITICAL", "nor enough of its copies"))):
            volume.stop(name)
            start = said.format(*words)
            wait_for(lambda start=start: CHECK.run(look).line.startswith(start), what=start)
        assert os.listdir(folder / "half") == []
        with pytest.raises(OSError, match="not connected"):
            for number in range(64):
                (folder / "half" / str(number)).touch()
    finally:
        command("umount", "-l", folder / "half")
        for name in ("c3", "c4"):
            volume.stop(name)
        volume.gluster("volume", "stop", "two", "force")


def test_bricks_that_are_silent_hold_nobody_up(volume):
    """A client waits 42 seconds for a brick before it gives it up, and so does everybody who asks the client."""
    bricks = [volume.brick(name) for name in ("b1", "b2")]
    for pid in bricks:
        os.kill(pid, signal.SIGSTOP)
    try:
        lines = []
        for _ in range(3):
            begun = time.monotonic()
            lines.append(volume.look("-t", "3").line)
            assert time.monotonic() - begun < 3.5
    finally:
        for pid in bricks:
            os.kill(pid, signal.SIGCONT)
    assert re.match(
        rf"SHARED_MOUNT CRITICAL - {volume.mount}: no answer in [0-9.]+ s \(stat, statvfs and list\)", lines[0]
    )
    (pid,) = {
        re.search(r"hung for 0 min: process (\d+) still waits in the kernel for it", line)[1] for line in lines[1:]
    }
    wait_for(lambda: start_time(int(pid)) is None or os.waitpid(int(pid), os.WNOHANG)[0], what="the end of the child")
    wait_for(lambda: volume.look().state == OK, what="its return")


def test_a_volume_without_any_brick_and_a_client_that_dies(volume):
    volume.stop("b1")
    volume.stop("b2")
    said = rf"{volume.mount}: Transport endpoint is not connected \((stat|statvfs|list), mounted from {ADDRESS}:/vol\)"
    wait_for(lambda: re.match(rf"SHARED_MOUNT CRITICAL - {said}$", volume.look().line), what="the loss to be told")
    volume.gluster("volume", "start", "vol", "force")
    wait_for(lambda: volume.look().state == OK, what="its return")
    (client,) = (int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and serves(p, volume.mount))
    os.kill(client, signal.SIGKILL)
    wait_for(lambda: not lives(client), what="its end")
    # Who asks while the kernel still ends the connection is told so: "Software caused connection abort".
    said = f"{volume.mount}: Transport endpoint is not connected (stat, mounted from {ADDRESS}:/vol)"
    wait_for(lambda: volume.look().line == f"SHARED_MOUNT CRITICAL - {said}", what="the end to be told")
    command("umount", volume.mount)
    line = volume.look("--write", str(volume.mount)).line
    assert re.match(rf"SHARED_MOUNT CRITICAL - {volume.mount} is not mounted: it lies on ", line), line
    assert os.listdir(volume.mount) == [], "the directory below was written to"


def serves(process, mount):
    with contextlib.suppress(OSError):
        words = (process / "cmdline").read_bytes().split(b"\0")
        return os.path.basename(words[0]) == b"glusterfs" and os.fsencode(mount) in words
    return False
