# SPDX-License-Identifier: Apache-2.0
"""Paths that really hang, and disks that are really full, out of inodes, read-only or broken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nephoscope.base import UNREACHABLE, Clock, Run, child
from nephoscope.base.child import start_time
from nephoscope.checks.node import check_console_log_size, check_filesystem, check_log, check_tmp_writable
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING
from nephoscope.probes import mounts

from tests.lab.support import Daemon, missing, need, need_root, wait_for

pytestmark = pytest.mark.lab

SLACK = 0.5  # seconds by which a deadline may be missed


@pytest.fixture(scope="module", autouse=True)
def programs():
    need("/usr/bin/python3", "fusermount3", "mount", "umount", "mkfs.ext4", "fsfreeze")
    need_root("it mounts")
    if subprocess.run(["/usr/bin/python3", "-c", "import fusepy"], stderr=subprocess.DEVNULL).returncode:
        missing("not installed: python3-fusepy (./test --install brings it)")


def command(*argv):
    subprocess.run(argv, check=True, capture_output=True, timeout=30)


class Hanging:
    """The file system of hangfs.py, mounted."""

    def __init__(self, folder):
        self.mount, self.flag, self.log = folder / "mnt", folder / "HANG", folder / "requests"
        self.state = folder / "state"
        self.mount.mkdir()
        self.log.touch()
        self.daemon = Daemon(
            ["/usr/bin/python3", Path(__file__).with_name("hangfs.py"), self.mount, self.flag, self.log],
            ready=lambda: os.path.ismount(self.mount),
            log=folder / "hangfs.log",
        )

    def requests(self):
        return self.log.read_text().splitlines()

    def hang(self):
        self.flag.touch()

    def release(self):
        self.flag.unlink(missing_ok=True)

    def hung(self):
        """What the state file keeps of children that were left behind: object -> pid, start time, since."""
        kept = {}
        for file in self.state.glob("*.json"):
            kept.update(json.loads(file.read_text())["data"].get("hung", {}))
        return kept

    def filesystem(self, *argv, shift=0.0):
        return check_filesystem.CHECK.run(
            ["--type", "fuse.stub", "--include", str(self.mount), "--state-dir", str(self.state), "-t", "3", *argv],
            clock=Clock(shift=shift),
        )


@pytest.fixture
def hanging(folder):
    fs = Hanging(folder)
    with fs.daemon:
        try:
            yield fs
        finally:
            # In this order: whoever waits for it must be free before anything waits for them.
            fs.release()
            fs.daemon.stop()
            subprocess.run(["umount", "-l", fs.mount], capture_output=True)


def timed(action):
    begun = time.monotonic()
    answer = action()
    return answer, time.monotonic() - begun


def process_state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def gone(pid, started):
    """Whether a child that was left behind has ended; as it is this process's own in these tests, collect it."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return start_time(pid) != started


def test_one_that_answers_is_measured(hanging):
    outcome = hanging.filesystem()
    assert outcome.state == OK, outcome.text
    assert f"{hanging.mount} used 50 %" in outcome.text
    assert f"{hanging.mount} inodes 50 %" in outcome.text


def test_a_hung_one_is_given_up_remembered_left_alone_and_looked_at_again(hanging):
    hanging.hang()
    outcome, took = timed(hanging.filesystem)
    assert outcome.state == CRITICAL
    assert f"{hanging.mount}: no answer in " in outcome.line
    assert 2 <= took < 2 + SLACK  # 3 s, one of them kept back for the answer

    ((of, (pid, started, _)),) = hanging.hung().items()
    assert of == str(hanging.mount)
    assert start_time(pid) == started
    assert process_state(pid) == "D"
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    assert start_time(pid) == started, "the lab's child can be killed: it proves nothing"

    asked = hanging.requests()
    outcome, took = timed(lambda: hanging.filesystem(shift=600))
    assert outcome.state == CRITICAL
    assert f"hung for 10 min: process {pid} still waits in the kernel for it" in outcome.line
    assert took < SLACK
    assert hanging.requests() == asked, "the path was touched while a child hung on it"
    assert hanging.hung() == {of: [pid, started, hanging.hung()[of][2]]}

    hanging.release()
    wait_for(lambda: gone(pid, started), 5, "the end of the child")
    outcome = hanging.filesystem(shift=1200)
    assert outcome.state == OK, outcome.text
    assert len(hanging.requests()) > len(asked)
    assert hanging.hung() == {}


def test_the_whole_process_ends_in_time_and_says_so(hanging):
    hanging.hang()
    argv = [
        str(Path(sys.executable).with_name("check_filesystem")), "--path", str(hanging.mount),
        "--state-dir", str(hanging.state), "-t", "3",
    ]  # fmt: skip
    answer, took = timed(lambda: subprocess.run(argv, capture_output=True, text=True, timeout=20))
    assert answer.returncode == CRITICAL
    assert answer.stdout.startswith(f"FILESYSTEM CRITICAL - {hanging.mount}: no answer in ")
    assert answer.stderr == ""
    assert took < 3 + SLACK
    answer, took = timed(lambda: subprocess.run(argv, capture_output=True, text=True, timeout=20))
    assert "still waits in the kernel for it" in answer.stdout
    assert took < 1 + SLACK


def test_a_child_that_can_be_killed_is_not_remembered(hanging):
    # A stopped server has not taken the request: the caller still dies by SIGKILL, so nobody is left to wait for.
    os.kill(hanging.daemon.pid, signal.SIGSTOP)
    try:
        outcome, took = timed(hanging.filesystem)
    finally:
        os.kill(hanging.daemon.pid, signal.SIGCONT)
    assert outcome.state == CRITICAL
    assert 2 <= took < 2 + SLACK
    assert hanging.hung() == {}
    assert hanging.filesystem().state == OK


def test_a_file_system_whose_server_died(hanging):
    os.kill(hanging.daemon.pid, signal.SIGKILL)
    wait_for(lambda: not hanging.daemon.alive(), 5)
    outcome = hanging.filesystem()
    assert outcome.state == CRITICAL
    assert f"{hanging.mount}: Transport endpoint is not connected" in outcome.line


def test_writing_and_listing_hang_as_well_and_do_not_hold_up_the_good_one(hanging, folder):
    good = folder / "good"
    good.mkdir(mode=0o777)
    good.chmod(0o1777)
    hanging.hang()
    argv = ["--path", str(hanging.mount), "--path", str(good), "--state-dir", str(hanging.state), "-t", "2"]
    outcome, took = timed(lambda: check_tmp_writable.CHECK.run([*argv, "-w", "0:", "-c", "0:"]))
    assert outcome.state == CRITICAL
    assert f"{hanging.mount}: no answer in " in outcome.line
    assert f"[OK] {good} write" in outcome.text
    assert 1 <= took < 1 + SLACK

    outcome, took = timed(
        lambda: check_console_log_size.CHECK.run(
            ["--path", str(hanging.mount), "--state-dir", str(hanging.state), "-t", "2"]
        )
    )
    assert outcome.state == CRITICAL
    assert f"{hanging.mount}: no answer in " in outcome.line
    assert 1 <= took < 1 + SLACK


def test_a_child_that_hangs_on_its_way_out_holds_nobody_up(hanging):
    """Whoever exits closes its files, and that too waits for a dead server."""

    def job():
        os.open(hanging.mount / "file", os.O_RDONLY)
        hanging.hang()
        return 5

    run = Run(8)
    answers, took = timed(lambda: child.each(run, {"x": job}, tried="read a file", seconds=1))
    assert (answers["x"].kind, answers["x"].error[:13]) == (UNREACHABLE, "no answer in ")
    assert 1 <= took < 1 + SLACK
    pid, started, _ = run.hung["x"]
    assert start_time(pid) == started


def test_many_that_hang_cost_no_more_than_one(hanging):
    hanging.hang()
    run = Run(3)
    jobs = {str(number): lambda: os.stat(hanging.mount / "file").st_size for number in range(12)}
    answers, took = timed(lambda: child.each(run, jobs, tried="look at a file"))
    assert all(answer.error.startswith("no answer in ") for answer in answers.values())
    assert took < 2 + SLACK
    assert len({pid for pid, _, _ in run.hung.values()}) == 12


# -- a disk of its own ----------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(folder):
    """Make and mount a file system on a loop device; afterwards thaw it and take it away."""
    places = []

    def make(*options, size=16 << 20, mount="defaults", name="disk", mkfs=("mkfs.ext4", "-q", "-F")):
        image, place = folder / f"{len(places)}.img", folder / name
        with open(image, "wb") as file:
            file.truncate(size)
        command(*mkfs, *options, str(image))
        place.mkdir(parents=True, exist_ok=True)
        command("mount", "-o", f"loop,{mount}", str(image), str(place))
        places.append(place)
        place.chmod(0o1777)
        return place

    yield make
    for place in reversed(places):
        subprocess.run(["fsfreeze", "--unfreeze", place], capture_output=True)
        subprocess.run(["umount", place], capture_output=True)
        subprocess.run(["umount", "-l", place], capture_output=True)


def write(place, *argv):
    return check_tmp_writable.CHECK.run(["--path", str(place), "--state-dir", f"{place.parent}/state", *argv])


def look(place, *argv):
    return check_filesystem.CHECK.run(["--include", str(place), "--state-dir", f"{place.parent}/state", *argv])


def fill(place):
    """Write until not even one block is left."""
    for number, block in enumerate((1 << 16, 1 << 10)):
        with open(place / f"ballast{number}", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * block)
        os.sync()


def test_a_frozen_disk_takes_no_writes_and_still_tells_its_size(disk):
    place = disk()
    command("fsfreeze", "--freeze", str(place))
    outcome, took = timed(lambda: write(place, "-t", "2"))
    assert outcome.state == CRITICAL
    assert f"{place}: no answer in " in outcome.line
    assert 1 <= took < 1 + SLACK
    outcome, took = timed(lambda: write(place, "-t", "2"))
    assert "still waits in the kernel for it" in outcome.line
    assert took < SLACK
    pid, started, _ = Hanging.hung(type("", (), {"state": place.parent / "state"}))[str(place)]
    assert process_state(pid) == "D"
    assert look(place, "--mode", "space").state == OK

    command("fsfreeze", "--unfreeze", str(place))
    wait_for(lambda: gone(pid, started), 5, "the end of the child")
    assert write(place).state == OK
    left = [path for path in place.iterdir() if path.name != "lost+found"]
    assert len(left) <= 1 and all(path.name.startswith(".nephoscope-") and path.stat().st_size <= 4096 for path in left)
    (place / ".nephoscope-left").touch()
    for path in (*left, place / ".nephoscope-left"):
        os.utime(path, (time.time() - 120,) * 2)
        os.chown(path, 65534, 65534)  # nobody, who tries for root
    assert write(place).state == OK
    assert os.listdir(place) == ["lost+found"]


def test_a_full_disk(disk):
    place = disk("-m", "0")
    assert (write(place).state, look(place, "--mode", "space").state) == (OK, OK)
    fill(place)
    outcome = write(place)
    assert outcome.state == CRITICAL
    assert f"{place} write failed: No space left on device" in outcome.line
    assert sorted(os.listdir(place)) == ["ballast0", "ballast1", "lost+found"]
    outcome = look(place, "--mode", "space")
    assert outcome.state == CRITICAL
    assert f"{place} used 100 %" in outcome.line


def test_a_disk_below_the_directory_that_was_asked_for(disk, folder):
    place = disk("-m", "0", name="node/sdb1")
    words = ["--path", f"{folder}/node", "--state-dir", f"{folder}/state", "--mode", "space"]
    assert f"{place} used" in check_filesystem.CHECK.run([*words, "-v"]).text
    fill(place)
    outcome = check_filesystem.CHECK.run(words)
    assert outcome.state == CRITICAL
    assert f"{place} used 100 %" in outcome.line


def test_one_that_hangs_below_the_directory_that_was_asked_for(hanging):
    hanging.hang()
    words = ["--path", str(hanging.mount.parent), "--type", "fuse.stub", "--state-dir", str(hanging.state), "-t", "3"]
    outcome, took = timed(lambda: check_filesystem.CHECK.run(words))
    assert outcome.state == CRITICAL
    assert f"{hanging.mount}: no answer in " in outcome.line
    assert took < 2 + SLACK


def test_a_disk_below_a_directory_that_nobody_may_enter(disk, folder):
    place = disk(name="shut/disk")
    place.parent.chmod(0o700)
    program = str(Path(sys.executable).with_name("check_filesystem"))
    argv = [program, "--include", str(place), "--mode", "space", "--state-dir", f"{folder}/state"]
    answer = subprocess.run(
        argv, capture_output=True, text=True, timeout=20, user="nobody", group="nogroup", extra_groups=[]
    )
    assert answer.returncode == UNKNOWN
    assert f"{place}: Permission denied" in answer.stdout
    assert "needs search permission (x) on its parent directories, e.g. setfacl -m u:nagios:x DIR" in answer.stdout


def test_a_disk_on_which_only_root_has_room(disk):
    place = disk("-m", "50")
    with open(place / "ballast", "wb") as file:
        while os.statvfs(place).f_bavail:
            file.write(b"x" * 65536)
            file.flush()
            os.fsync(file.fileno())
    assert os.statvfs(place).f_bfree > 100
    assert write(place, "--user", "root", "-w", "0:", "-c", "0:").state == OK
    outcome = write(place)
    assert outcome.state == CRITICAL
    assert "write failed: No space left on device" in outcome.line
    assert f"{place} used 100 %" in look(place, "--mode", "space").line


def test_a_disk_without_inodes(disk):
    place = disk("-N", "32")
    with contextlib.suppress(OSError):
        for number in range(1000):
            (place / str(number)).touch()
    outcome = write(place)
    assert outcome.state == CRITICAL
    assert f"{place} create failed: No space left on device" in outcome.line
    assert f"{place} inodes free 0 %" in outcome.line
    assert look(place, "--mode", "space").state == OK
    outcome = look(place, "--mode", "inode")
    assert outcome.state == CRITICAL
    assert f"{place} inodes 100 %" in outcome.line


def test_a_disk_that_became_read_only(disk):
    place = disk()
    readonly = ("--mode", "readonly")
    assert look(place, *readonly).state == OK
    command("mount", "-o", "remount,ro", str(place))
    outcome = write(place)
    assert outcome.state == CRITICAL
    assert f"{place} create failed: Read-only file system" in outcome.line
    for _ in range(2):
        outcome = look(place, *readonly)
        assert outcome.state == CRITICAL
        assert f"{place} is read-only and should be writable (it was on an earlier run)" in outcome.line
    assert look(place, *readonly, "--read-only", str(place)).state == OK
    # Nobody knows that it was ever writable:
    outcome = look(place, *readonly, "--state-id", "another")
    assert outcome.state == WARNING
    assert "neither /etc/fstab nor --read-only says so" in outcome.line
    outcome = look(place, *readonly, "--state-id", "third", "--writable", str(place))
    assert f"should be writable (--writable {place})" in outcome.line
    assert outcome.state == CRITICAL


def test_a_disk_that_the_kernel_stopped_after_an_error(disk):
    place = disk(mount="errors=remount-ro")
    assert look(place, "--mode", "readonly").state == OK
    (mount,) = [mount for mount in mounts.mounted(Run()) if mount.path == str(place)]
    trigger = Path("/sys/fs/ext4", os.path.basename(mount.source), "trigger_fs_error")
    if not trigger.exists():
        pytest.skip("this kernel has no trigger_fs_error")
    trigger.write_text("tests/lab/test_hang.py")
    outcome = look(place, "--mode", "readonly")
    assert outcome.state == CRITICAL, outcome.text
    # Linux 6.13 and newer leave it "rw" and stop it; older ones set "ro".
    assert "was stopped by the kernel after an error" in outcome.line or "is read-only" in outcome.line
    outcome = write(place)
    assert outcome.state == CRITICAL
    assert "create failed: Read-only file system" in outcome.line


def test_an_xfs_that_was_shut_down_tells_its_size_and_nothing_else(disk):
    need("mkfs.xfs", "xfs_io")
    place = disk(size=320 << 20, mkfs=("mkfs.xfs", "-q"))
    assert look(place, "--mode", "space").state == OK
    command("xfs_io", "-x", "-c", "shutdown -f", str(place))
    assert os.statvfs(place).f_bavail > 0
    outcome = look(place, "--mode", "space")
    assert outcome.state == CRITICAL
    assert f"{place}: Input/output error" in outcome.line


def test_an_image_is_full_and_does_not_alarm(folder):
    need("mksquashfs")
    image = folder / "image"
    image.mkdir()
    command("mksquashfs", str(Path(__file__).parent), f"{folder}/image.squashfs", "-quiet", "-no-progress")
    command("mount", "-o", "loop", f"{folder}/image.squashfs", str(image))
    try:
        room = os.statvfs(image)
        assert (room.f_bavail, room.f_ffree) == (0, 0)
        found = mounts.survey(Run())
        assert str(image) not in [getattr(system, "path", "") for system in found.systems]
        assert found.left_out["squashfs"] >= 1
        outcome = check_filesystem.CHECK.run(["--path", str(image), "--state-dir", f"{folder}/state"])
        assert outcome.state == OK, outcome.text
        assert f"{image} is read-only (squashfs)" in outcome.text
    finally:
        command("umount", str(image))


def test_the_kernels_own_spelling_of_odd_names_and_bind_mounts(disk, folder):
    name = "a b|'\"\\\n\x0b\udcff"
    place = disk(name=name)
    bound = folder / "bound"
    bound.mkdir()
    (place / "inner").mkdir()
    command("mount", "--bind", os.fsencode(place / "inner"), str(bound))
    try:
        table = {mount.path: mount for mount in mounts.mounted(Run())}
        assert table[str(place)].device == table[str(bound)].device
        found = mounts.survey(Run(), types=["ext4"])
        names = [system.path for system in found.systems]
        assert f"{folder}/a b|'\"\\\n\x0b\\xff" in names
        assert str(bound) not in names
        assert mounts._holding(Run(), list(table.values()), [str(bound)], (), {}, 5, {})[0] == [table[str(bound)]]
        outcome = look(folder, "--include", f"{folder}/a*", "--mode", "space")
        assert outcome.state == OK, outcome.text
        assert outcome.text.splitlines()[0].count("|") == 1
    finally:
        command("umount", str(bound))


def test_what_another_mount_hides_is_not_told(disk, folder):
    inner = disk(name="top/inner")
    top = disk(name="top")
    paths = [mount.path for mount in mounts.mounted(Run())]
    assert str(top) in paths
    assert str(inner) not in paths
    command("umount", str(top))
    assert str(inner) in [mount.path for mount in mounts.mounted(Run())]


def test_an_overlay_is_left_out_and_said(disk, folder):
    place = disk()
    for name in ("lower", "upper", "work"):
        (place / name).mkdir()
    layers = folder / "layers"
    layers.mkdir()
    options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work"
    command("mount", "-t", "overlay", "overlay", "-o", options, str(layers))
    try:
        fill(place)
        found = mounts.survey(Run())
        assert str(layers) not in [getattr(system, "path", "") for system in found.systems]
        assert found.left_out["overlay"] >= 1
    finally:
        command("umount", str(layers))


def test_a_log_on_a_dead_file_server_does_not_hold_up_the_others(hanging, folder):
    good = folder / "good.log"
    good.write_text("no level\n")
    argv = [
        "--file",
        str(hanging.mount / "file"),
        "--file",
        str(good),
        "--pattern",
        "hello",
        "--mode",
        "errors",
        "-t",
        "3",
    ]
    argv += ["--state-dir", str(hanging.state)]
    assert check_log.CHECK.run(argv).state == WARNING  # `hello` is in the one file of that file system
    hanging.hang()
    outcome, took = timed(lambda: check_log.CHECK.run(argv))
    assert outcome.state == CRITICAL
    assert f"{hanging.mount}/file: no answer in " in outcome.line
    assert f"[OK] {good} lines 1" in outcome.text
    assert 2 <= took < 2 + SLACK
    outcome, took = timed(lambda: check_log.CHECK.run(argv))
    assert "still waits in the kernel for it" in outcome.line
    assert took < SLACK
    hanging.release()
