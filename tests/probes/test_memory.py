# SPDX-License-Identifier: Apache-2.0
"""/proc/meminfo, /proc/vmstat, huge pages and the kernel's log as recorded (see trees), and as others have them."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run, child
from nephoscope.probes import memory
from nephoscope.probes.memory import Kills, Pool, Room, Swap

from tests.probes.trees import GUEST, text, tree

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
POOLS = "/sys/kernel/mm/hugepages"

# Lines of /dev/kmsg: the first two forms are those of Linux 6.18 and 3.10, as mm/oom_kill.c of these releases prints them.
KILLED = """\
3,812,9000000,-;Memory cgroup out of memory: Killed process 6310 (python3) total-vm:35040kB, anon-rss:19896kB, \
file-rss:5980kB, shmem-rss:0kB, UID:0 pgtables:100kB oom_score_adj:0
 SUBSYSTEM=memory
3,900,9900000,-;Out of memory: Kill process 77 (mysqld) score 900 or sacrifice child
3,901,9900001,-;Killed process 77 (mysqld) total-vm:35040kB, anon-rss:19896kB, file-rss:5980kB
6,902,9900002,-;oom_reaper: reaped process 77 (mysqld), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
"""


def part(tmp_path, name, files=None, before=None, shift=0.0):
    asked = {key: key == name for key in ("room", "swap", "kills", "pools")}
    run = Run(root=tree(tmp_path, files), before=before, clock=Clock(shift=shift))
    seen = memory.look(run, **asked)
    return getattr(seen, name), seen.keep()


def meminfo(**changes):
    lines = [line for line in text("/proc/meminfo").splitlines() if line.partition(":")[0] not in changes]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in changes.items() if value)]) + "\n"


def vmstat(**changes):
    lines = [line for line in text("/proc/vmstat").splitlines() if line.split()[0] not in changes]
    return "\n".join([*lines, *(f"{name} {value}" for name, value in changes.items() if value is not None)]) + "\n"


def test_the_recorded_guest():
    seen = memory.look(Run(root=GUEST))
    fields = dict(line.split(":") for line in text("/proc/meminfo").splitlines())
    assert seen.room == Room(
        int(fields["MemAvailable"].split()[0]) * KIB, int(fields["MemTotal"].split()[0]) * KIB, "host"
    )
    assert seen.swap == Swap(0, 0, COLLECTING, COLLECTING)
    assert seen.kills == Kills(0.0)
    assert (seen.pools.kind, seen.pools.of) == (ABSENT, "hugepages")


def test_pools_of_huge_pages_are_no_part_of_the_whole(tmp_path):
    files = {"/proc/meminfo": meminfo(MemTotal="1000 kB", MemAvailable="30 kB", Hugetlb="900 kB")}
    assert part(tmp_path, "room", files)[0] == Room(30 * KIB, 100 * KIB)
    old = {"/proc/meminfo": meminfo(MemTotal="10000 kB", MemAvailable="30 kB", Hugetlb=None, HugePages_Total="4")}
    assert part(tmp_path, "room", old)[0] == Room(30 * KIB, (10000 - 4 * 2048) * KIB)


def test_a_kernel_that_does_not_tell_what_is_available(tmp_path):
    failed = part(tmp_path, "room", {"/proc/meminfo": meminfo(MemAvailable=None)})[0]
    assert failed == Failed(UNREADABLE, "/proc/meminfo", "read /proc/meminfo", "it has no MemAvailable")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"memory.max": "1048576\n", "memory.current": "1000000\n", "memory.stat": "anon 5\ninactive_file 100000\n"},
         Room(148576, MIB, "container")),
        ({"memory/memory.limit_in_bytes": "1048576\n", "memory/memory.usage_in_bytes": "1000000\n",
          "memory/memory.stat": "inactive_file 7\ntotal_inactive_file 100000\n"}, Room(148576, MIB, "container")),
        ({"memory.max": "1048576\n", "memory.current": "1100000\n", "memory.stat": ""}, Room(0, MIB, "container")),
    ],
    ids=["cgroup2", "cgroup1", "over the limit"],
)  # fmt: skip
def test_a_container_has_what_is_left_below_its_limit(tmp_path, files, expected):
    assert part(tmp_path, "room", {f"/sys/fs/cgroup/{path}": value for path, value in files.items()})[0] == expected


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n", "garbage\n"])
def test_a_group_without_a_limit_is_the_host(tmp_path, limit):
    files = {"memory.max": limit, "memory.current": "5\n", "memory.stat": ""}
    room = part(tmp_path, "room", {f"/sys/fs/cgroup/{path}": value for path, value in files.items()})[0]
    assert room.whose == "host"


def test_swapping_is_a_rate(tmp_path):
    files = {
        "/proc/meminfo": meminfo(SwapTotal="4096 kB", SwapFree="1024 kB"),
        "/proc/vmstat": vmstat(pswpin=1000, pswpout=50),
    }
    seen, before = part(tmp_path, "swap", files)
    assert seen == Swap(3 * MIB, 4 * MIB, COLLECTING, COLLECTING)
    seen, _ = part(tmp_path, "swap", {"/proc/vmstat": vmstat(pswpin=61000, pswpout=80)}, before, 300)
    assert (round(seen.in_rate, 1), round(seen.out_rate, 1)) == (200.0, 0.1)


def test_a_vmstat_without_swap_counters_is_no_zero(tmp_path):
    failed = part(tmp_path, "swap", {"/proc/vmstat": vmstat(pswpin=None)})[0]
    assert (failed.kind, failed.error) == (UNREADABLE, "it has no pswpin")


def killed(tmp_path, number, log, shift=1800.0):
    before = part(tmp_path, "kills", {"/proc/vmstat": vmstat(oom_kill=3)})[1]
    return part(tmp_path, "kills", {"/proc/vmstat": vmstat(oom_kill=3 + number), "/dev/kmsg": log}, before, shift)[0]


def test_kills_are_named_by_the_log(tmp_path):
    assert killed(tmp_path, 2, KILLED) == Kills(2.0, ("python3", "mysqld"))


def test_kills_of_long_ago_are_not_named_again(tmp_path):
    assert killed(tmp_path, 1, KILLED) == Kills(1.0, ("mysqld",))


def test_a_log_that_was_overwritten_names_nobody(tmp_path):
    assert killed(tmp_path, 1, "6,1,1,-;hello\n") == Kills(1.0, ())


def test_no_kill_reads_no_log(tmp_path):
    assert killed(tmp_path, 0, None) == Kills(0.0)


def test_a_log_that_cannot_be_read_is_said_and_the_number_stands(tmp_path):
    seen = killed(tmp_path, 1, None)
    assert (seen.number, seen.victims.kind, seen.victims.of) == (1.0, ABSENT, "oom")


class Up(Clock):
    """The clocks of a machine that has been up for so long, and was never suspended."""

    def __init__(self, up):
        super().__init__()
        self.ahead = up - time.clock_gettime(time.CLOCK_BOOTTIME)
        self.behind = up - time.monotonic()

    def boottime(self):
        return super().boottime() + self.ahead

    def monotonic(self):
        return super().monotonic() + self.behind


HOUR = 3600.0
LOG = "6,0,1,-;Linux version\n" + KILLED  # whole; its kills happened 9 s after the boot


def first(tmp_path, up, log, total=3):
    files = {"/proc/vmstat": vmstat(oom_kill=total), **({} if log is None else {"/dev/kmsg": log})}
    return memory.look(Run(root=tree(tmp_path, files), clock=Up(up))).kills


def test_kills_before_the_first_run_are_told(tmp_path):
    """A look back of one hour: at the log, or at the kernel's own count where the hour begins before the boot."""
    assert first(tmp_path, HOUR / 2, LOG) == Kills(3.0, ("python3", "mysqld"))
    assert first(tmp_path, HOUR / 2, None, total=0) == Kills(0.0)
    assert first(tmp_path, HOUR + 8, LOG) == Kills(2.0, ("python3", "mysqld"))
    assert first(tmp_path, HOUR + 9.5, LOG) == Kills(1.0, ("mysqld",))
    assert first(tmp_path, HOUR + 15, LOG) == Kills(0.0)
    assert first(tmp_path, HOUR + 8, LOG, total=1).number == 1.0


def test_a_reboot_is_a_first_run(tmp_path):
    before = part(tmp_path, "kills", {"/proc/vmstat": vmstat(oom_kill=3)})[1]
    files = {"/proc/vmstat": vmstat(oom_kill=2), "/proc/sys/kernel/random/boot_id": "99999999-0000\n", "/dev/kmsg": LOG}
    run = Run(root=tree(tmp_path, files), before=before, clock=Up(60))
    assert memory.look(run).kills == Kills(2.0, ("python3", "mysqld"))


def test_a_first_run_that_cannot_read_the_log_does_not_know(tmp_path):
    failed = first(tmp_path, 2 * HOUR, None)
    assert (failed.kind, failed.of) == (ABSENT, "oom")
    failed = first(tmp_path, HOUR - 60, None)  # the count is the kernel's own, and only the names are missing
    assert (failed.number, failed.victims.kind) == (3.0, ABSENT)


def test_a_log_that_begins_within_the_hour_proves_no_absence(tmp_path):
    late = "6,5000,9100000000,-;eth0: link up\n"  # 2 h 31 min 40 s after the boot
    failed = first(tmp_path, 9200, late)
    assert (failed.kind, "does not reach back an hour" in failed.error) == (UNREADABLE, True)
    assert first(tmp_path, 9100 + HOUR, late) == Kills(0.0)


def as_nobody(question):
    """What a function tells when a user without rights calls it, in a child where the tests run as root."""
    reader, writer = os.pipe()
    child_pid = os.fork()
    if child_pid == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
        try:
            answer = question()
        except Failed as failed:
            answer = failed.args
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        told = answers.read()
    os.waitpid(child_pid, 0)
    return json.loads(told)


# As journalctl 252 (Debian 12) prints a kernel's record with --output=short-unix.
JOURNAL = """\
1795262000.100000 node1 kernel: Linux version 6.1.0
{:.6f} node1 kernel: Memory cgroup out of memory: Killed process 6310 (python3) total-vm:35040kB, anon-rss:19896kB
{:.6f} node1 kernel: Out of memory: Killed process 77 (mysqld) total-vm:35040kB, anon-rss:19896kB, file-rss:5980kB
"""


def test_a_log_that_may_not_be_read_asks_the_journal_and_believes_no_empty_one(monkeypatch):
    """A kmsg that is closed to us, and a journalctl that prints what we say."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        tools = Path(folder)
        tools.chmod(0o755)
        (tools / "kmsg").write_text(KILLED)
        (tools / "kmsg").chmod(0)
        program = tools / "journalctl"
        program.write_text(f'#!/bin/sh\ncase "$*" in *--dmesg*--output=short-unix*) cat {tools}/journal;; esac\n')
        program.chmod(0o755)
        monkeypatch.setattr(memory, "KMSG", str(tools / "kmsg"))
        monkeypatch.setattr(child, "PATH", f"{tools}:/usr/bin:/bin")
        now = time.time()
        (tools / "journal").write_text(JOURNAL.format(now - 5000, now - 60))
        assert as_nobody(lambda: memory._victims(Run(), 2)) == ["python3", "mysqld"]
        assert as_nobody(lambda: memory._recent(memory._records(Run()))) == ["mysqld"]
        (tools / "journal").write_text("")
        kind, of, _, _, cure = as_nobody(lambda: memory._victims(Run(), 2))
        assert (kind, of, "systemd-journal" in cure) == (NOT_ALLOWED, "oom", True)
        program.unlink()
        assert as_nobody(lambda: memory._victims(Run(), 2))[0] == NOT_ALLOWED


def test_a_kernel_that_does_not_count_kills(tmp_path):
    failed = part(tmp_path, "kills", {"/proc/vmstat": vmstat(oom_kill=None)})[0]
    assert (failed.kind, failed.of) == (ABSENT, "oom")
    failed = part(tmp_path, "kills", {"/proc/vmstat": "rubbish\n"})[0]
    assert failed.kind == UNREADABLE


def test_pools_by_size_and_by_node(tmp_path):
    node = "/sys/devices/system/node/node{}/hugepages/hugepages-1048576kB/{}_hugepages"
    files = {
        f"{POOLS}/hugepages-1048576kB/nr_hugepages": "8\n",
        f"{POOLS}/hugepages-1048576kB/free_hugepages": "5\n",
        f"{POOLS}/hugepages-1048576kB/resv_hugepages": "2\n",
        node.format(0, "nr"): "4\n",
        node.format(0, "free"): "0\n",
        node.format(1, "nr"): "4\n",
        node.format(1, "free"): "5\n",
        "/sys/devices/system/node/has_cpu": "0-1\n",
    }
    assert part(tmp_path, "pools", files)[0] == (Pool("1GiB", 8, 3), Pool("node0-1GiB", 4, 0), Pool("node1-1GiB", 4, 5))


@pytest.mark.parametrize(
    ("directory", "name"),
    [("hugepages-64kB", "64KiB"), ("hugepages-2048kB", "2MiB"), ("hugepages-16777216kB", "16GiB")],
)
def test_sizes(directory, name):
    assert memory._size(directory) == name


def test_a_kernel_without_huge_pages(tmp_path):
    failed = part(tmp_path, "pools", {POOLS: None})[0]
    assert (failed.kind, failed.error) == (ABSENT, "this kernel has no huge pages")


@pytest.mark.parametrize("before", [7, [], "x", {"swap": 7, "oom": [["a"]]}, {"swap": None}])
def test_damaged_state_is_a_first_run(before):
    seen = memory.look(Run(root=GUEST, before=before))
    assert (seen.swap.in_rate, seen.kills.number) == (COLLECTING, 0.0)


def test_nothing_there():
    seen = memory.look(Run(root="/nonexistent"))
    assert [part.kind for part in seen[:4]] == [ABSENT] * 4
