# SPDX-License-Identifier: Apache-2.0
"""/proc/loadavg, /proc/stat and /proc/pressure as recorded (see trees), and as other kernels and containers have them."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import cpu

from tests.probes.trees import GUEST, text, tree

QUOTA = "/sys/fs/cgroup/cpu.max"
QUOTA_STAT = "/sys/fs/cgroup/cpu.stat"


def stat(user=1000, nice=0, system=500, idle=8000, iowait=100, irq=0, softirq=0, steal=0, cores=2):
    numbers = f"{user} {nice} {system} {idle} {iowait} {irq} {softirq} {steal} 0 0"
    return "".join([f"cpu  {numbers}\n", *(f"cpu{n} {numbers}\n" for n in range(cores)), "intr 5 0 5\nctxt 77\n"])


def second(tmp_path, later, first=None, seconds=300.0, files=None):
    """Shares of a second look, `seconds` after the first one."""
    before = cpu.look(Run(root=tree(tmp_path, {"/proc/stat": first or stat(), **(files or {})}))).keep()
    root = tree(tmp_path, {"/proc/stat": later} if isinstance(later, str) else later)
    return cpu.look(Run(before=before, root=root, clock=Clock(shift=seconds))).shares


def test_the_recorded_guest():
    seen = cpu.look(Run(root=GUEST))
    words = text("/proc/loadavg").split()
    assert seen.load == tuple(float(word) for word in words[:3])
    assert seen.cores == 2
    assert seen.shares == dict.fromkeys(("busy", "user", "system", "iowait", "steal"), COLLECTING)
    assert list(seen.pressure) == ["cpu", "io", "memory"]
    assert f"some avg10=0.72 avg60={seen.pressure['cpu']:.2f}" in text("/proc/pressure/cpu")


def test_only_what_is_asked_for_is_read():
    run = Run(root="/nonexistent")
    assert cpu.look(run, load=False, shares=False, pressure=False) == cpu.Cpu()


def test_shares_are_those_since_the_last_run(tmp_path):
    later = stat(user=1100, nice=20, system=530, irq=5, softirq=5, idle=8140, iowait=260, steal=40)
    assert second(tmp_path, later) == {"busy": 32.0, "user": 24.0, "system": 8.0, "iowait": 32.0, "steal": 8.0}


def test_a_falling_iowait_is_none_and_does_not_bend_the_others(tmp_path):
    later = stat(user=1100, idle=8300, iowait=90)
    assert second(tmp_path, later) == {"busy": 25.0, "user": 25.0, "system": 0.0, "iowait": 0.0, "steal": 0.0}


def test_a_processor_that_goes_offline_takes_idle_time_with_it(tmp_path):
    later = stat(user=1100, idle=4000, iowait=400, cores=1)
    assert second(tmp_path, later) == {"busy": 25.0, "user": 25.0, "system": 0.0, "iowait": 75.0, "steal": 0.0}


def test_counters_that_were_reset_collect_anew(tmp_path):
    assert second(tmp_path, stat(user=3, system=2, idle=50))["busy"] is COLLECTING


def test_another_boot_collects_anew(tmp_path):
    later = {"/proc/stat": stat(user=2000), "/proc/sys/kernel/random/boot_id": "99999999-0000\n"}
    assert second(tmp_path, later)["busy"] is COLLECTING


def test_a_look_a_moment_later_is_no_measurement(tmp_path):
    assert second(tmp_path, stat(user=1010), seconds=3)["busy"] is COLLECTING


def test_counters_that_stand_still_are_no_measurement(tmp_path):
    shares = second(tmp_path, stat())
    assert (shares.kind, shares.error) == (UNREADABLE, "its counters stood still for 300 s")


def test_a_kernel_without_steal_has_not_measured_it(tmp_path):
    def old(user):
        return f"cpu  {user} 0 500 8000 100 0 0\ncpu0 {user} 0 500 8000 100 0 0\n"

    assert second(tmp_path, old(1100), old(1000)) == {
        "busy": 100.0, "user": 100.0, "system": 0.0, "iowait": 0.0, "steal": None,
    }  # fmt: skip


@pytest.mark.parametrize("cores", [1, 128, 1024])
def test_processors_are_counted(tmp_path, cores):
    assert cpu.look(Run(root=tree(tmp_path, {"/proc/stat": stat(cores=cores)}))).cores == cores


@pytest.mark.parametrize(
    ("limit", "usage", "at"),
    [
        (QUOTA, QUOTA_STAT, "50000 100000\n"),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.stat", "50000\n"),
    ],
    ids=["cgroup2", "cgroup1"],
)
def test_a_quota_and_how_often_it_ran_out(tmp_path, limit, usage, at):
    files = {limit: at, usage: "nr_periods 1000\nnr_throttled 10\nthrottled_usec 5\n"}
    later = {"/proc/stat": stat(user=1100), usage: "nr_periods 2000\nnr_throttled 310\nthrottled_usec 9\n"}
    assert second(tmp_path, later, files=files)["throttled"] == 30.0


@pytest.mark.parametrize("limit", ["max 100000\n", "", "-1\n"])
def test_no_quota_is_no_throttling(tmp_path, limit):
    assert "throttled" not in cpu.look(Run(root=tree(tmp_path, {QUOTA: limit}))).shares


def test_each_part_fails_by_itself(tmp_path):
    root = tree(
        tmp_path, {"/proc/loadavg": "garbage\n", "/proc/stat": "cpu x y\n", "/proc/pressure/io": "some total=1\n"}
    )
    seen = cpu.look(Run(root=root))
    assert seen.load == Failed(UNREADABLE, "/proc/loadavg", "read /proc/loadavg", "not understood: 'garbage\\n'")
    assert seen.cores.kind == seen.shares.kind == seen.pressure.kind == UNREADABLE
    assert (seen.cores.of, seen.pressure.of) == ("/proc/stat", "/proc/pressure/io")


def test_what_was_kept_survives_a_run_that_could_not_read(tmp_path):
    before = cpu.look(Run(root=GUEST)).keep()
    broken = Run(before=before, root=tree(tmp_path, {"/proc/stat": ""}))
    assert cpu.look(broken).keep() == before


def test_a_kernel_without_pressure_information(tmp_path):
    pressure = cpu.look(Run(root=tree(tmp_path, {"/proc/pressure": None}))).pressure
    assert (pressure.kind, pressure.of, pressure.cure) == (ABSENT, "pressure", "boot it with psi=1")


@pytest.mark.parametrize(
    ("kind", "error", "told"),
    [(UNREADABLE, "Operation not supported", ABSENT), (NOT_ALLOWED, "Permission denied", NOT_ALLOWED)],
)
def test_pressure_that_is_switched_off_is_told_from_one_that_may_not_be_read(monkeypatch, kind, error, told):
    def refuse(run, path, **words):
        raise Failed(kind, path, f"read {path}", error)

    monkeypatch.setattr(cpu.files, "text", refuse)
    assert cpu.look(Run(), load=False, shares=False).pressure.kind == told


@pytest.mark.parametrize("before", [None, 7, [], [["a"]], [[1, 2, 3]], {"x": 1}])
def test_damaged_state_is_a_first_run(before):
    assert cpu.look(Run(before=before, root=GUEST)).shares["busy"] is COLLECTING
