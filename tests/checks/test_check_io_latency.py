# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed
from nephoscope.checks.storage.check_io_latency import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.diskstats import Device, Survey
from nephoscope.probes.filesystem import Trial

from tests.probes.disk_trees import line, tree

VALUES = {"await": 0.01, "read_await": 0.01, "write_await": 0.002, "util": 99.0, "ios_rate": 300.0}
SDA = Device("sda", "sda", 2, None, VALUES)
TRIAL = Trial("/srv", "", "", 0o755, 0.02, 50.0, 50.0, 0.005)


def judged(*devices, argv=(), **words):
    return list(judge(Survey(devices, **words), CHECK.parse(*argv)))


def test_good():
    assert judged(SDA, trials=(TRIAL,)) == [
        Metric("in_flight", 2, "sda"),
        *(Metric(name, value, "sda") for name, value in VALUES.items()),
        Metric("fsync", 0.005, "/srv"),
        Finding(OK, "", "1 looked at: sda"),
    ]


def test_a_map_says_which_it_is():
    found = judged(SDA._replace(name="mpatha", kernel="dm-3"))
    assert Metric("await", 0.01, "mpatha", detail="this is dm-3") in found


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (TRIAL._replace(step="sync", error="Input/output error", synced=None), [Finding(CRITICAL, "/srv", "sync failed: Input/output error")]),
        (
            TRIAL._replace(step="create", error="Permission denied", synced=None),
            [Failed(NOT_ALLOWED, "/srv", "create a file", "Permission denied", "the right to write there")],
        ),
        (
            TRIAL._replace(step="read back", error="other bytes than were written"),
            [Finding(CRITICAL, "/srv", "read back failed: other bytes than were written"), Metric("fsync", 0.005, "/srv")],
        ),
        (Failed(UNREACHABLE, "/srv", "x", "no answer"), [Failed(UNREACHABLE, "/srv", "x", "no answer")]),
    ],
)  # fmt: skip
def test_trials(trial, expected):
    assert judged(trials=(trial,)) == expected


def lasting(**values):
    return SDA._replace(values={**VALUES, **values})


@pytest.mark.parametrize(
    ("survey", "argv", "state", "reason"),
    [
        (Survey((SDA,)), [], OK, "1 looked at: sda"),
        (Survey((lasting(**{"await": 0.051}),)), [], WARNING, "sda await 51 ms is above 50 ms"),
        (Survey((lasting(**{"await": 0.21}),)), [], CRITICAL, "sda await 210 ms is above 200 ms"),
        (Survey((lasting(**{"await": 0.21}),)), ["-c", "1"], WARNING, "sda await 210 ms is above 50 ms"),
        (Survey((SDA,)), ["-w", "util=80"], WARNING, "sda util 99 % is above 80 %"),
        (Survey((SDA._replace(stuck=62.0),)), [], CRITICAL, "sda hangs: 2 I/Os wait, and none was answered for 62 s"),
        (Survey((SDA,), missing=("sdz",)), [], CRITICAL, "sdz is not there"),
        (Survey((SDA,), (TRIAL._replace(synced=0.2),)), [], WARNING, "/srv fsync 200 ms is above 100 ms"),
        (Survey((SDA,), (TRIAL._replace(synced=1.5),)), [], CRITICAL, "/srv fsync 1.5 s is above 1 s"),
        (Survey((lasting(**dict.fromkeys(VALUES, COLLECTING)),)), [], OK, "1 looked at: sda, rates collecting"),
        (Survey((lasting(**{"await": None}),)), [], UNKNOWN, "sda await was not measured"),
    ],
)  # fmt: skip
def test_the_limits(monkeypatch, tmp_path, survey, argv, state, reason):
    monkeypatch.setattr("nephoscope.probes.diskstats.survey", lambda *words: survey)
    outcome = CHECK.run([*argv, "--state-dir", str(tmp_path)])
    assert (outcome.state, outcome.reason) == (state, reason)


def open_to_all(folder):
    """Let nobody in, as whom a file is tried where the tests run as root: pytest closes its folders, and xdist adds one."""
    while re.match("test_|popen-|pytest-", folder.name):
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent


def first_line(tmp_path, *argv, shift=0.0):
    root = str(tmp_path)
    return CHECK.run([*argv, "--state-dir", str(tmp_path / "state")], root=root, clock=Clock(shift=shift)).line


def test_a_disk_that_hangs_from_run_to_run(tmp_path):
    tree(tmp_path, line("sda", 100, 10, in_flight=2))
    assert first_line(tmp_path).startswith("IO_LATENCY OK - 1 looked at: sda, rates collecting | sda_in_flight=2")
    assert first_line(tmp_path, shift=60).startswith(
        "IO_LATENCY CRITICAL - sda hangs: 2 I/Os wait, and none was answered for 60 s | sda_in_flight=2"
    )


def test_a_disk_that_is_slow_for_three_runs(tmp_path):
    lines = []
    for at in range(3):
        tree(tmp_path, line("sda", 6000 * at, 600000 * at, busy_ms=60000 * at, in_flight=1))
        lines.append(first_line(tmp_path, shift=60 * at).partition(" |")[0])
    assert lines[1:] == [
        "IO_LATENCY OK - 1 looked at: sda, rates collecting",
        "IO_LATENCY WARNING - sda await 100 ms is above 50 ms",
    ]


@pytest.mark.parametrize(
    ("lines", "argv", "expected"),
    [
        ([], [], "IO_LATENCY UNKNOWN - it lists no device at all (read /proc/diskstats)"),
        (["<html>"], [], "IO_LATENCY UNKNOWN - not understood: '<html>' (read /proc/diskstats)"),
        (
            [line("sda", 5)],
            ["--include", "sdb"],
            "IO_LATENCY UNKNOWN - nothing matched --include/--exclude, which left out 1",
        ),
        ([line("sda", 5)], ["--expect", "sdb"], "IO_LATENCY CRITICAL - sdb is not there | sda_in_flight=0"),
    ],
)
def test_bad_input(tmp_path, lines, argv, expected):
    (tmp_path / "sys/block").mkdir(parents=True)
    if lines == ["<html>"]:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/diskstats").write_text("<html>\n")
    else:
        tree(tmp_path, *lines)
    assert first_line(tmp_path, *argv) == expected


def test_a_disk_that_is_not_counted(tmp_path):
    tree(tmp_path, line("sda", 5), files={"sda/queue/iostats": "0\n"})
    assert first_line(tmp_path) == (
        "IO_LATENCY UNKNOWN - sda: the kernel does not count its I/Os (read /proc/diskstats): "
        "echo 1 > /sys/block/sda/queue/iostats"
    )


def test_a_real_file_is_written_and_nothing_left(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    open_to_all(tmp_path)
    place.chmod(0o777)
    tree(tmp_path, line("sda", 5))
    said = first_line(tmp_path, "--path", "/place", "-w", "fsync=60", "-c", "fsync=60")
    assert re.fullmatch(
        r"IO_LATENCY OK - 1 looked at: sda, rates collecting \| place_fsync=[0-9.]+s;60;60 sda_in_flight=0", said
    )
    assert list(place.iterdir()) == []


def test_a_directory_that_a_filter_leaves_out_is_not_tried_and_this_is_said(tmp_path):
    tree(tmp_path, line("sda", 5))
    outcome = CHECK.run(
        ["--path", "/nowhere", "--include", "sd*", "--state-dir", str(tmp_path / "state")], root=str(tmp_path)
    )
    assert (outcome.state, "left out" in outcome.text, "/nowhere" in outcome.text) == (OK, True, True), outcome.text


def test_how_many_are_enough_does_not_begin_a_new_history(tmp_path):
    tree(tmp_path, line("sda", 5))
    first_line(tmp_path)
    tree(tmp_path, line("sda", 65, 600))
    assert "sda_read_await=0.01s" in first_line(tmp_path, "--least", "0", shift=60)


def test_a_directory_that_is_not_there(tmp_path):
    tree(tmp_path, line("sda", 5))
    open_to_all(tmp_path)
    assert first_line(tmp_path, "--path", "/nowhere").startswith(
        "IO_LATENCY CRITICAL - /nowhere create failed: No such file or directory"
    )


def test_what_could_not_be_read_is_yielded():
    failed = Failed(UNREADABLE, "sda", "read it", "x")
    assert judged(failed) == [failed]
