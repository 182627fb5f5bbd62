# SPDX-License-Identifier: Apache-2.0
"""The tables of the kernel as recorded (see trees), and as they look when they are full, absent or hidden."""

from __future__ import annotations

import os
import shutil

import pytest
from nephoscope.base import ABSENT, COLLECTING, LATE, NOT_ALLOWED, UNREADABLE, Clock, Run, child
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
            Overflow("conntrack_full_rate", COLLECTING),
            Overflow("conntrack_insert_failed_rate", COLLECTING),
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


@pytest.mark.parametrize(
    ("drop", "early", "clash", "full"),
    [(120, 30, 0, 1.0), (120, 0, 120, 0.0), (150, 15, 120, 0.3), (0, 0, 120, 0.0)],
    ids=["full", "races", "both", "long chains"],
)
def test_drops_of_a_full_table_are_told_from_lost_races(tmp_path, drop, early, clash, full):
    """The numbers are hexadecimal and summed over processors; what is a drop and an insert_failed lost a race."""

    def table(*more):
        lines = [" ".join(f"{0x10 + number:08x}" for number in (0, *more))] * 2
        return {"/proc/net/stat/nf_conntrack": "\n".join(["entries insert_failed drop early_drop", *lines]) + "\n"}

    before = look(tmp_path, "conntrack", table(0, 0, 0)).keep()
    seen = look(tmp_path, "conntrack", table(clash, drop, early), before=before, clock=Clock(shift=300))
    assert [(one.name, round(one.rate, 3)) for one in seen.overflows] == [
        ("conntrack_full_rate", full), ("conntrack_insert_failed_rate", round(2 * clash / 300, 3)),
    ]  # fmt: skip


def test_connections_of_other_network_namespaces_are_not_counted_and_this_is_said(tmp_path):
    """A router of OpenStack's is a namespace in /run/netns (man ip-netns), with a table of its own."""
    words = "conntrack of this network namespace alone"
    assert words not in look(tmp_path, "conntrack").summary()
    (tmp_path / "root/run/netns").mkdir(parents=True)
    assert words not in look(tmp_path, "conntrack").summary()
    (tmp_path / "root/run/netns/qrouter-1").write_text("")
    assert words in look(tmp_path, "conntrack").summary()
    assert words not in look(tmp_path, "files").summary()


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


def test_nobody_is_seen_to_watch_where_not_all_is_seen(tmp_path):
    """0 of 128 would be a number that nobody counted."""
    (failed,) = limits(tmp_path, "inotify")  # the recorded tree has no process at all
    assert (failed.kind, failed.of) == (NOT_ALLOWED, "inotify")


def test_an_instance_counts_although_its_watches_are_closed_to_us(tmp_path):
    tree(tmp_path)
    watchers(tmp_path, 1, 1)
    shutil.rmtree(tmp_path / "root/proc/1/fdinfo")
    (tmp_path / "root/proc/1/fdinfo").symlink_to("loop")  # ELOOP: neither gone nor hidden
    (tmp_path / "root/proc/1/loop").symlink_to("loop")
    instances, watches, failed = limits(tmp_path, "inotify")
    assert (instances.used, watches.used) == (1, 0)
    assert (failed.kind, failed.of, failed.tried) == (UNREADABLE, "inotify", "read /proc/*/fdinfo")


def test_more_watches_than_fit_into_memory_are_counted(tmp_path):
    """Some 75 MiB, a line of which lies across each border of what is read at once."""
    tree(tmp_path)
    path = watchers(tmp_path, 1, 1) / "fdinfo/3"
    line = "inotify wd:1 ino:2 sdev:800001 mask:3 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:0200\n"
    path.write_text("pos:\t0\n" + line * 800_000)
    assert path.stat().st_size > 64 << 20
    assert limits(tmp_path, "inotify")[1].used == 800_000


@pytest.mark.parametrize(("link", "hidden"), [("pid:[4026531836]", False), ("pid:[4026532201]", True)])
def test_a_container_does_not_see_the_processes_of_its_host(tmp_path, link, hidden):
    tree(tmp_path)
    watchers(tmp_path, 1, 0)
    (tmp_path / "root/proc/self/ns").mkdir(parents=True)
    (tmp_path / "root/proc/self/ns/pid").symlink_to(link)
    found = limits(tmp_path, "inotify")
    if hidden:
        assert [(failed.kind, "PID namespace" in failed.cure) for failed in found] == [(NOT_ALLOWED, True)]
    else:
        assert found == (Limit("inotify_instances", 0, 128),)


OURS = "/proc/self/fd/9\n2\n/proc/self/fd/10\n3\n/proc/0/fd/1\n7\n"


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A sudo that runs its arguments, and a find, both of which say what they are told to: (find's) status, stdout, stderr."""
    tools = tmp_path / "tools"
    tools.mkdir()

    def tell(status=0, out="", err="", refusal=""):
        (tools / "out").write_text(out)
        (tools / "err").write_text(err)
        (tools / "no").write_text(refusal)
        programs = {
            "sudo": f'[ -s {tools}/no ] && {{ cat {tools}/no >&2; exit 1; }}; printf "%s\\n" "$@" > {tools}/asked; shift; exec "$@"',
            "find": f"cat {tools}/out; cat {tools}/err >&2; exit {status}",
        }
        for name, lines in programs.items():
            (tools / name).write_text(f"#!/bin/sh\n{lines}\n")
            (tools / name).chmod(0o755)
        return tools / "asked"

    monkeypatch.setattr(child, "PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(kernel, "SCAN", ("find", *kernel.SCAN[1:]))  # its name alone, to be found on that path
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return tell


def by_sudo(tmp_path, sudo=True):
    return kernel.look(Run(root=tree(tmp_path)), ("inotify",), sudo=sudo).limits


def test_sudo_is_asked_only_when_it_may(tmp_path, stand_in):
    asked = stand_in(
        1, OURS, "find: '/proc/77/fd/3': No such file or directory\nfind: '/proc/78/net': Invalid argument\n"
    )
    assert [one.kind for one in by_sudo(tmp_path, sudo=False)] == [NOT_ALLOWED]
    assert not asked.exists()
    watches = int(text("/proc/sys/fs/inotify/max_user_watches"))
    assert by_sudo(tmp_path) == (
        Limit("inotify_instances", 2, 128, f"uid{os.getuid()}"),
        Limit("inotify_watches", 5, watches, f"uid{os.getuid()}"),
    )
    assert asked.read_text().split()[:3] == ["-n", str(tmp_path / "tools/find"), "/proc"]


def test_what_is_hidden_even_from_root_is_said(tmp_path, stand_in):
    stand_in(1, OURS, "find: '/proc/1/fd/3': Permission denied\n")
    *counted, failed = by_sudo(tmp_path)
    assert (len(counted), failed.kind, "SYS_PTRACE" in failed.cure) == (2, NOT_ALLOWED, True)
    stand_in(1, OURS, "find: '/proc/1/map_files': Permission denied\n")
    assert len(by_sudo(tmp_path)) == 2


# As sudo 1.9.13 (Debian 12) says it, and the two kinds of refusal that begin with its name or do not.
REFUSALS = [
    "sudo: a password is required\n",
    "Sorry, user nagios is not allowed to execute '/usr/bin/find /proc' as root on node1.\n",
    "nagios is not in the sudoers file.\n",
]


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_sudo_that_refuses_is_no_empty_list(tmp_path, stand_in, refusal):
    stand_in(refusal=refusal)
    (failed,) = by_sudo(tmp_path)
    assert (failed.kind, failed.of) == (NOT_ALLOWED, "inotify")


@pytest.mark.parametrize(
    ("status", "err", "said"),
    [
        (2, "", "it ended with 2"),
        (127, "find: error while loading shared libraries\n", "shared libraries"),
        (1, "find: unknown predicate `-lname'\n", "unknown predicate"),
        (0, "/usr/bin/grep: ../fdinfo/./3: Input/output error\n", "Input/output error"),
    ],
)
def test_a_find_that_did_not_do_its_work_is_no_empty_list(tmp_path, stand_in, status, err, said):
    stand_in(status, OURS, err)
    (failed,) = by_sudo(tmp_path)
    assert (failed.kind, failed.of, said in failed.error) == (UNREADABLE, "inotify", True)


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
