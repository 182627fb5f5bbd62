# SPDX-License-Identifier: Apache-2.0
"""The tables of the kernel as recorded (see trees), and as they look when they are full, absent or hidden."""

from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, COLLECTING, LATE, NOT_ALLOWED, UNREADABLE, Clock, Run
from nephoscope.base.child import Answer
from nephoscope.probes import kernel
from nephoscope.probes.kernel import Kernel, Limit, Loops, Overflow

from tests.probes.trees import GUEST, text, tree

CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_"
CONTROL = "/sys/class/misc/loop-control"
NEIGH = "/proc/sys/net/{}/neigh/default/gc_thresh3"


def look(tmp_path, mode, files=None, **words):
    return kernel.look(Run(root=tree(tmp_path, files), **words), (mode,))


def limits(tmp_path, mode, files=None):
    return look(tmp_path, mode, files).limits


def test_the_recorded_guest():
    seen = kernel.look(Run(root=GUEST), ("files", "conntrack", "neigh", "pids", "ipc", "aio", "loop", "taint"))
    used, _, most = (int(word) for word in text("/proc/sys/fs/file-nr").split())
    tasks = int(text("/proc/loadavg").split()[3].partition("/")[2])
    assert seen == Kernel(
        (
            Limit("files", used, most),
            Limit("conntrack", 0, 262144),
            Limit("neigh", 2, 1024, "ipv4"),
            Limit("neigh", int(text("/proc/net/stat/ndisc_cache").splitlines()[1].split()[0], 16), 1024, "ipv6"),
            Limit("pids", tasks, 32768, "host"),
            Limit("ipc", 1, 32000, "semaphore-sets"),
            Limit("ipc", 1, 1024000000, "semaphores"),
            Limit("ipc", 0, 4096, "shm-segments"),
            Limit("ipc", 0, 18446744073692774399, "shm-pages"),
            Limit("ipc", 0, 32000, "message-queues"),
            Limit("aio", 0, 65536),
        ),
        (
            Overflow("conntrack_drop_rate", COLLECTING),
            Overflow("neigh_full_rate", COLLECTING, "ipv4"),
            Overflow("neigh_full_rate", COLLECTING, "ipv6"),
        ),
        Loops(0, 8, True),
        "",
        seen.kept,
    )


def test_handles_that_were_freed_are_not_in_use(tmp_path):
    assert limits(tmp_path, "files", {"/proc/sys/fs/file-nr": "900\t100\t1000\n"}) == (Limit("files", 800, 1000),)


@pytest.mark.parametrize("content", ["", "900\n", "a b c\n"])
def test_garbage_is_no_number(tmp_path, content):
    (failed,) = limits(tmp_path, "files", {"/proc/sys/fs/file-nr": content})
    assert (failed.kind, failed.of) == (UNREADABLE, "files")


def test_connections_that_are_not_tracked(tmp_path):
    (failed,) = limits(tmp_path, "conntrack", {f"{CONNTRACK}count": None, f"{CONNTRACK}max": None})
    assert (failed.kind, failed.of, failed.error) == (ABSENT, "conntrack", "connections are not tracked here")


def test_drops_are_summed_over_processors_in_hexadecimal(tmp_path):
    def table(drop, early):
        lines = [f"00000000 {drop:08x} {early:08x}"] * 2
        return {"/proc/net/stat/nf_conntrack": "\n".join(["entries drop early_drop", *lines]) + "\n"}

    before = look(tmp_path, "conntrack", table(0x10, 0)).keep()
    seen = look(tmp_path, "conntrack", table(0x10 + 120, 30), before=before, clock=Clock(shift=300))
    assert (seen.overflows[0].name, round(seen.overflows[0].rate, 2)) == ("conntrack_drop_rate", 1.0)


def test_a_kernel_without_the_table_of_drops_still_has_a_count(tmp_path):
    seen = look(tmp_path, "conntrack", {"/proc/net/stat/nf_conntrack": None})
    assert (seen.limits, seen.overflows) == ((Limit("conntrack", 0, 262144),), ())


def test_an_old_kernel_does_not_count_full_neighbour_tables(tmp_path):
    files = {"/proc/net/stat/arp_cache": "entries  allocs\n000003ff  0\n000003ff  0\n", NEIGH.format("ipv6"): None}
    seen = look(tmp_path, "neigh", files)
    assert (seen.limits, seen.overflows) == ((Limit("neigh", 1023, 1024, "ipv4"),), ())


def test_a_network_namespace_does_not_show_the_limits_of_neighbours(tmp_path):
    (failed,) = limits(tmp_path, "neigh", {NEIGH.format("ipv4"): None, NEIGH.format("ipv6"): None})
    assert (failed.kind, failed.of) == (ABSENT, "neigh")


@pytest.mark.parametrize("content", ["", "allocs\n0\n", "entries\nxyz\n"])
def test_a_neighbour_table_that_is_not_understood(tmp_path, content):
    (failed,) = limits(tmp_path, "neigh", {"/proc/net/stat/arp_cache": content})
    assert failed.kind == UNREADABLE


@pytest.mark.parametrize("group", ["/sys/fs/cgroup/", "/sys/fs/cgroup/pids/"])
def test_process_numbers_of_a_container(tmp_path, group):
    files = {f"{group}pids.max": "100\n", f"{group}pids.current": "90\n", "/proc/sys/kernel/threads-max": "200\n"}
    host, container = limits(tmp_path, "pids", files)
    assert (host.most, container) == (200, Limit("pids", 90, 100, "container"))


def test_a_container_without_a_limit_is_the_host(tmp_path):
    files = {"/sys/fs/cgroup/pids.max": "max\n", "/sys/fs/cgroup/pids.current": "90\n"}
    assert [limit.of for limit in limits(tmp_path, "pids", files)] == ["host"]


def test_semaphores_and_shared_memory(tmp_path):
    # As Linux 6.18 prints them; PostgreSQL makes sets of 17.
    files = {
        "/proc/sysvipc/sem": "       key      semid perms      nsems   uid\n" + "         0          1   600         17     0\n" * 3,
        "/proc/sysvipc/shm": "       key      shmid perms                  size  cpid\n         0          1   600                  4097     1\n",
        "/proc/sysvipc/msg": "       key      msqid perms      cbytes       qnum\n",
        "/proc/sys/kernel/sem": "250\t100\t32\t4\n",
    }  # fmt: skip
    page = os.sysconf("SC_PAGESIZE")
    found = limits(tmp_path, "ipc", files)
    assert found[:3] == (
        Limit("ipc", 3, 4, "semaphore-sets"),
        Limit("ipc", 51, 100, "semaphores"),
        Limit("ipc", 1, 4096, "shm-segments"),
    )
    assert found[3].used == -(-4097 // page)


def test_a_kernel_without_system_v_objects(tmp_path):
    (failed,) = limits(tmp_path, "ipc", {"/proc/sysvipc": None})
    assert (failed.kind, failed.of) == (ABSENT, "ipc")


def watchers(tmp_path, pid, descriptors, watches=2):
    """Lay a process with inotify descriptors into the tree."""
    home = tmp_path / "root/proc" / str(pid)
    (home / "fd").mkdir(parents=True)
    (home / "fdinfo").mkdir()
    (home / "fd/0").symlink_to("/dev/null")
    for number in range(3, 3 + descriptors):
        (home / "fd" / str(number)).symlink_to("anon_inode:inotify")
        lines = ["pos:\t0", "flags:\t02004000", *["inotify wd:1 ino:2 sdev:800001 mask:3"] * watches]
        (home / "fdinfo" / str(number)).write_text("\n".join(lines) + "\n")
    return home


def test_inotify_is_counted_by_user(tmp_path):
    tree(tmp_path)
    watchers(tmp_path, 1, 0)
    watchers(tmp_path, 40, 2)
    watchers(tmp_path, 41, 1, watches=5)
    assert limits(tmp_path, "inotify") == (
        Limit("inotify_instances", 3, 128, f"uid{os.getuid()}"),
        Limit("inotify_watches", 9, int(text("/proc/sys/fs/inotify/max_user_watches")), f"uid{os.getuid()}"),
    )


def test_nobody_watches(tmp_path):
    tree(tmp_path)
    watchers(tmp_path, 1, 0)
    assert limits(tmp_path, "inotify") == (Limit("inotify_instances", 0, 128),)


def test_processes_that_are_not_even_listed_are_missed(tmp_path):
    tree(tmp_path)
    watchers(tmp_path, 40, 1)
    *counted, failed = limits(tmp_path, "inotify")
    assert len(counted) == 2
    assert (failed.kind, failed.of) == (NOT_ALLOWED, "inotify")


def test_a_process_that_may_not_be_looked_into(tmp_path, monkeypatch):
    tree(tmp_path)
    watchers(tmp_path, 1, 1)
    link = os.readlink

    def refuse(path, **words):
        if path.endswith("/fd/3"):
            raise PermissionError(13, "Permission denied", path)
        return link(path, **words)

    monkeypatch.setattr(os, "readlink", refuse)
    assert limits(tmp_path, "inotify")[-1].kind == NOT_ALLOWED


def test_no_time_for_all_descriptors(tmp_path):
    tree(tmp_path)
    watchers(tmp_path, 1, 1)
    (failed,) = look(tmp_path, "inotify", seconds=0.0).limits
    assert failed.kind == LATE


def test_sudo_is_asked_only_when_it_may_and_must(tmp_path, monkeypatch):
    asked = []

    def command(argv, run, **words):
        asked.append((argv, words["sudo"]))
        return Answer(1, "/proc/self/fd/9\n/proc/self/fd/10\n/proc/0/fd/1\n", "")

    monkeypatch.setattr("nephoscope.base.child.command", command)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    root = tree(tmp_path, {"/proc/40/fd": None})
    first = kernel.look(Run(root=root), ("inotify",)).limits
    assert (asked, first[-1].kind) == ([], NOT_ALLOWED)
    found = kernel.look(Run(root=root), ("inotify",), sudo=True).limits
    assert asked == [(kernel.SCAN, True)]
    assert found == (Limit("inotify_instances", 2, 128, f"uid{os.getuid()}"),)


def test_loop_devices_in_use(tmp_path):
    files = {f"/sys/block/loop{number}/loop/backing_file": "/x\n" for number in range(3)}
    assert look(tmp_path, "loop", {**files, "/sys/block/loopy/size": "1\n", CONTROL: None}).loops == Loops(3, 8, False)


def test_loop_devices_that_are_made_when_asked_for(tmp_path):
    none = {"/sys/block": None, "/sys/block/sda/size": "1\n"}
    assert look(tmp_path, "loop", none).loops == Loops(0, 0, True)
    assert look(tmp_path, "loop", {CONTROL: None, "/dev/loop-control": ""}).loops == Loops(0, 0, True)


def test_no_loop_devices(tmp_path):
    failed = look(tmp_path, "loop", {"/sys/block": None, "/sys/block/sda/size": "1\n", CONTROL: None}).loops
    assert (failed.kind, failed.of) == (ABSENT, "loop")


@pytest.mark.parametrize(
    ("bits", "letters"),
    [(0, ""), (1, "P"), (1 << 4, "M"), (1 << 7 | 1 << 12, "DO"), (1 << 14, "L"), (1 << 30, "?")],
)
def test_taints(tmp_path, bits, letters):
    assert look(tmp_path, "taint", {"/proc/sys/kernel/tainted": f"{bits}\n"}).taint == letters


def test_each_mode_fails_by_itself():
    modes = (*kernel.READERS, "loop", "taint")
    seen = kernel.look(Run(root="/nonexistent"), modes)
    failed = [*seen.limits, seen.loops, seen.taint]
    assert [(part.kind, part.of) for part in failed] == [(ABSENT, mode) for mode in modes]


def test_what_was_not_asked_for_is_not_read():
    assert kernel.look(Run(root="/nonexistent"), ()) == Kernel()
