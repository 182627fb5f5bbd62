# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, UNREADABLE, Clock, Failed
from nephoscope.checks.node.check_load import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.cpu import Cpu

from tests.probes.trees import GUEST, tree

SHARES = {"busy": 12.0, "user": 9.0, "system": 3.0, "iowait": 1.0, "steal": 0.0}
PRESSURE = {"cpu": 2.0, "io": 0.0, "memory": 0.0}
QUIET = Cpu((1.0, 2.0, 3.0), 4, SHARES, PRESSURE)
NO_PRESSURE = Failed(ABSENT, "pressure", "read /proc/pressure/cpu", "not kept by this kernel")
NO_STAT = Failed(UNREADABLE, "/proc/stat", "read /proc/stat", "not understood: ''")


def judged(seen, *argv):
    return list(judge(seen, CHECK.parse(*argv)))


def test_all_modes_of_a_quiet_machine():
    assert judged(QUIET) == [
        Metric("load1", 1.0),
        Metric("load5", 2.0),
        Metric("load15", 3.0),
        Metric("load5_per_core", 0.5, detail="busy 12 %, iowait 1 %, steal 0 %, io pressure 0 %, memory pressure 0 %"),
        Metric("pressure_cpu", 2.0),
        Metric("pressure_io", 0.0),
        Metric("pressure_memory", 0.0),
        Metric("busy", 12.0),
        Metric("user", 9.0),
        Metric("system", 3.0),
        Metric("iowait", 1.0),
        Metric("steal", 0.0),
    ]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("cpu", ["busy", "user", "system", "throttled"]),
        ("iowait", ["iowait"]),
        ("steal", ["steal"]),
    ],
)
def test_a_mode_takes_its_own_shares(mode, names):
    seen = Cpu(shares={**SHARES, "throttled": 5.0})
    assert [metric.name for metric in judged(seen, "--mode", mode)] == names


def test_pressure_that_the_kernel_does_not_keep_matters_only_where_it_was_asked_for():
    assert judged(Cpu(pressure=NO_PRESSURE)) == [Finding(OK, "pressure", "is not kept by this kernel")]
    assert judged(Cpu(pressure=NO_PRESSURE), "--mode", "pressure") == [NO_PRESSURE]


def test_pressure_that_could_not_be_read_matters_always():
    failed = Failed(UNREADABLE, "/proc/pressure/io", "read /proc/pressure/io", "not understood: ''")
    assert judged(Cpu(pressure=failed)) == [failed]


def test_without_processors_there_is_a_load_and_one_failure():
    seen = Cpu((1.0, 2.0, 3.0), NO_STAT, NO_STAT)
    assert judged(seen) == [Metric("load1", 1.0), Metric("load5", 2.0), Metric("load15", 3.0), NO_STAT]
    assert judged(seen._replace(shares=None))[-1] == NO_STAT


@pytest.mark.parametrize(
    ("seen", "state", "text"),
    [
        (QUIET, OK, "load5 per core 0.5"),
        (QUIET._replace(load=(9.0, 4.1, 1.0)), WARNING, "load5 per core 1.02 is above 1"),
        (QUIET._replace(load=(9.0, 8.4, 1.0)), CRITICAL, "load5 per core 2.1 is above 2"),
        (
            Cpu((9.0, 11.8, 1.0), 4, {**SHARES, "busy": 40.0, "iowait": 15.0}, {**PRESSURE, "io": 18.0}),
            CRITICAL,
            "load5 per core 2.95 is above 2 (busy 40 %, iowait 15 %, steal 0 %, io pressure 18 %, memory pressure 0 %)",
        ),
        (
            Cpu((9.0, 8.4, 1.0), 4, dict.fromkeys(SHARES, COLLECTING), PRESSURE),
            CRITICAL,
            "above 2 (io pressure 0 %, memory pressure 0 %)",
        ),
        (QUIET._replace(shares={**SHARES, "iowait": 21.0}), WARNING, "iowait 21 % is above 20 %"),
        (QUIET._replace(shares={**SHARES, "iowait": 41.0}), CRITICAL, "iowait 41 % is above 40 %"),
        (QUIET._replace(shares={**SHARES, "steal": 5.5}), WARNING, "steal 5.5 % is above 5 %"),
        (QUIET._replace(shares={**SHARES, "steal": 16.0}), CRITICAL, "steal 16 % is above 15 %"),
        (QUIET._replace(shares={**SHARES, "steal": None}), UNKNOWN, "steal was not measured"),
        (QUIET._replace(shares={**SHARES, "busy": 96.0}), WARNING, "busy 96 % is above 95 %"),
        (QUIET._replace(shares={**SHARES, "throttled": 26.0}), WARNING, "throttled 26 % is above 25 %"),
        (QUIET._replace(pressure={**PRESSURE, "cpu": 61.0}), WARNING, "pressure cpu 61 % is above 60 %"),
        (QUIET._replace(pressure={**PRESSURE, "cpu": 91.0}), CRITICAL, "pressure cpu 91 % is above 90 %"),
        (QUIET._replace(pressure={**PRESSURE, "io": 21.0}), WARNING, "pressure io 21 % is above 20 %"),
        (QUIET._replace(pressure={**PRESSURE, "io": 61.0}), CRITICAL, "pressure io 61 % is above 60 %"),
        (QUIET._replace(pressure={**PRESSURE, "memory": 6.0}), WARNING, "pressure memory 6 % is above 5 %"),
        (QUIET._replace(pressure={**PRESSURE, "memory": 21.0}), CRITICAL, "pressure memory 21 % is above 20 %"),
        (QUIET._replace(pressure=NO_PRESSURE), OK, "pressure is not kept by this kernel"),
        (QUIET._replace(load=Failed(UNREADABLE, "/proc/loadavg", "", "not understood")), UNKNOWN, "/proc/loadavg"),
        (QUIET._replace(shares=dict.fromkeys(SHARES, COLLECTING)), OK, "rates collecting"),
    ],
)
def test_the_limits(monkeypatch, tmp_path, seen, state, text):
    monkeypatch.setattr("nephoscope.probes.cpu.look", lambda run, **words: seen)
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state")])
    assert (outcome.state, text in outcome.reason) == (state, True), outcome.text


def test_two_runs_over_files(tmp_path):
    argv = ["--state-dir", str(tmp_path / "state"), "--mode", "iowait"]
    root = tree(tmp_path, {"/proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 100 0 100 800 0 0 0 0 0 0\n"})
    assert CHECK.run(argv, root=root).line == "LOAD OK - rates collecting"
    tree(tmp_path, {"/proc/stat": "cpu  110 0 110 820 60 0 0 0 0 0\ncpu0 110 0 110 820 60 0 0 0 0 0\n"})
    outcome = CHECK.run(argv, root=root, clock=Clock(shift=300))
    assert outcome.line == "LOAD CRITICAL - iowait 60 % is above 40 % | iowait=60%;20;40"


def test_a_bare_limit_is_that_of_the_mode(tmp_path):
    argv = ["--mode", "load", "-w", "0.01", "--state-dir", str(tmp_path)]
    assert CHECK.run(argv, root=GUEST).state == WARNING
    assert "a bare range could mean any of" in CHECK.run(["-w", "1"]).line


def test_nothing_there(tmp_path):
    outcome = CHECK.run(["--state-dir", str(tmp_path)], root="/nonexistent")
    assert (outcome.state, outcome.absent) == (UNKNOWN, False)
    assert "/proc/loadavg: No such file or directory" in outcome.reason
