# SPDX-License-Identifier: Apache-2.0
"""Tables of the real kernel, filled a little by real processes: what the check counts is what was made."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.base import Run
from nephoscope.checks.node.check_kernel_limits import CHECK
from nephoscope.plugin import CRITICAL, WARNING
from nephoscope.probes import kernel

from tests.lab.support import Daemon, need, need_root

pytestmark = pytest.mark.lab


def used(mode: str, of: str = "", name: str = "") -> int:
    """What the probe counts now, on this machine."""
    found = kernel.look(Run(), (mode,)).limits
    return sum(
        limit.used
        for limit in found
        if isinstance(limit, kernel.Limit) and (limit.name, limit.of) == (name or mode, of)
    )


def test_open_files() -> None:
    before = used("files")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    pipes: list[int] = []
    try:
        while len(pipes) < 3000:
            pipes += os.pipe()
        # The kernel counts by processor and sums up roughly: some dozens may be missing, others come and go.
        assert 2000 < used("files") - before < 4000
    finally:
        for descriptor in pipes:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_threads() -> None:
    before = used("pids", "host")
    code = "import threading,time; [threading.Thread(target=time.sleep, args=(60,), daemon=True).start() for _ in range(200)]; print('up', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        assert used("pids", "host") - before > 150
    finally:
        process.kill()
        process.communicate()


def test_inotify_of_a_user(folder: Path) -> None:
    """Four of every five instances that a user may have, with two watches each."""
    most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    number = most * 82 // 100
    code = f"""
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
for _ in range({number}):
    descriptor = libc.inotify_init()
    assert descriptor >= 0 and all(libc.inotify_add_watch(descriptor, path, 2) > 0 for path in (b"/", b"/tmp"))
open({str(folder / "up")!r}, "w").close()
time.sleep(60)
"""
    user = 64123 if os.geteuid() == 0 else os.geteuid()
    if os.geteuid() == 0:
        folder.chmod(0o777)
        code = f"import os; os.setgroups([]); os.setgid({user}); os.setuid({user})\n{code}"
    with Daemon([sys.executable, "-c", code], ready=(folder / "up").exists, log=folder / "log"):
        assert used("inotify", f"uid{user}", "inotify_instances") >= number
        assert used("inotify", f"uid{user}", "inotify_watches") >= 2 * number
        if os.geteuid() == 0:
            assert by_sudo(user) == (number, 2 * number)
        outcome = CHECK.run(["--mode", "inotify", "--state-dir", str(folder / "state")])
    assert outcome.state == WARNING, outcome.text
    assert f"uid{user} inotify instances" in outcome.reason


def by_sudo(user: int) -> tuple[int, int]:
    """What the command of the sudoers line tells of a user's instances and watches, run by the real sudo."""
    need("sudo", "find", "grep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 1000)
        return kernel._watchers_by_sudo(Run()).users[user]


def test_semaphores_shared_memory_and_queues() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    names = ("semaphore-sets", "semaphores", "shm-segments", "shm-pages", "message-queues")
    before = {name: used("ipc", name) for name in names}
    page = os.sysconf("SC_PAGESIZE")
    made = [(libc.semctl, libc.semget(0, 17, 0o600), 0), (libc.semctl, libc.semget(0, 17, 0o600), 0)]
    made += [(libc.shmctl, libc.shmget(0, 3 * page + 1, 0o600), None), (libc.msgctl, libc.msgget(0, 0o600), None)]
    try:
        assert all(number >= 0 for _, number, _ in made)
        assert {name: used("ipc", name) - before[name] for name in names} == {
            "semaphore-sets": 2, "semaphores": 34, "shm-segments": 1, "shm-pages": 4, "message-queues": 1,
        }  # fmt: skip
    finally:
        for remove, number, extra in made:  # IPC_RMID is 0
            remove(number, 0, 0) if extra == 0 else remove(number, 0, None)


@pytest.fixture
def loops(folder: Path) -> Iterator[list[str]]:
    """Attach three files to loop devices."""
    need_root("loop devices")
    need("losetup")
    made = []
    try:
        for number in range(3):
            path = folder / f"image{number}"
            path.write_bytes(b"\0" * (1 << 20))
            run = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True, check=True)
            made.append(run.stdout.strip())
        yield made
    finally:
        for device in made:
            subprocess.run(["losetup", "--detach", device], check=True)


def test_loop_devices(loops: list[str], folder: Path) -> None:
    seen = kernel.look(Run(), ("loop",)).loops
    assert isinstance(seen, kernel.Loops)
    assert seen.used >= len(loops)
    argv = ["--mode", "loop", "--max-loop", str(seen.used + 4), "--state-dir", str(folder / "state")]
    outcome = CHECK.run(argv)
    assert outcome.state == CRITICAL, outcome.text
    assert "loop free 4 is below 5" in outcome.reason


def test_neighbours(folder: Path) -> None:
    """254 neighbours of a veth in a network namespace of its own: the table is one for the whole host."""
    need_root("a network namespace")
    need("ip")
    name = f"neph{os.getpid()}"
    before = used("neigh", "ipv4")
    batch = folder / "batch"
    lines = ["link add one type veth peer name two", "link set one up", "link set two up"]
    lines += [f"neigh add 192.0.2.{n} lladdr 02:00:00:00:00:01 dev one nud permanent" for n in range(1, 255)]
    batch.write_text("\n".join(lines) + "\n")
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-netns", name, "-batch", batch], check=True)
        assert used("neigh", "ipv4") - before >= 254
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
