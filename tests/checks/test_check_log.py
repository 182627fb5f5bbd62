# SPDX-License-Identifier: Apache-2.0
"""check_log: the judge by equality, and whole runs over files, through the frame."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, Clock, Failed
from nephoscope.checks.node.check_log import CHECK
from nephoscope.plugin import OK, UNKNOWN, WARNING, BadOption, Finding, Metric
from nephoscope.probes.logfile import Log, Logs, Unmatched

PLUGIN = [sys.executable, "-c", "from nephoscope.checks.node.check_log import main; main()"]
COUNTS = {"critical": 1, "error": 2, "warning": 3, "debug": 4}
LOG = Log("/x.log", COUNTS, 100, 5000, 12.0, 6000, 7.5, levelled=True, traced=True, since=300.0)


def judged(*logs: object, argv: tuple[str, ...] = (), requests: dict[str, list[str]] | None = None) -> list[object]:
    return list(CHECK._judge(Logs(tuple(logs), requests or {}), CHECK.parse("--file", "/x.log", *argv)))  # type: ignore[arg-type]


def test_all_modes() -> None:
    assert judged(LOG, requests={"req-1": ["/x.log", "/y.log"]}) == [
        Metric("lines", 100, of="/x.log"),
        Metric("bytes", 5000, of="/x.log"),
        Metric("errors", 3, of="/x.log"),
        Metric("warnings", 3, of="/x.log"),
        Metric("criticals", 1, of="/x.log"),
        Metric("debug", 4, of="/x.log"),
        Metric("age", 12.0, of="/x.log"),
        Metric("growth_rate", 7.5, of="/x.log"),
        Metric("size", 6000, of="/x.log"),
        Metric("requests", 1),
        Finding(OK, "request", "req-1 had errors in /x.log, /y.log"),
    ]


def test_each_mode_alone() -> None:
    counters = [Metric("lines", 100, of="/x.log"), Metric("bytes", 5000, of="/x.log")]
    assert judged(LOG, argv=("--mode", "debug")) == [*counters, Metric("debug", 4, of="/x.log")]
    assert judged(LOG, argv=("--mode", "fresh")) == [Metric("age", 12.0, of="/x.log")]
    collecting = LOG._replace(growth=COLLECTING)
    assert judged(collecting, argv=("--mode", "growth")) == [
        Metric("growth_rate", COLLECTING, of="/x.log"),
        Metric("size", 6000, of="/x.log"),
    ]
    assert judged(LOG, argv=("--mode", "correlate")) == [*counters, Metric("requests", 0)]


def test_what_was_not_seen_is_never_ok() -> None:
    argv = ("--mode", "errors")
    counts = judged(LOG, argv=argv)
    gap = Finding(UNKNOWN, "/x.log", "has a gap: gone")
    assert judged(LOG._replace(gap="gone"), argv=argv) == [gap, *counts]
    behind = Finding(WARNING, "/x.log", "is behind by 9 bytes: more was written than one run may read")
    assert judged(LOG._replace(behind=9), argv=argv) == [behind, *counts]
    missing = Failed(ABSENT, "/x.log", "", "is missing; what its rotated file held was read")
    assert judged(LOG._replace(missing=True), argv=argv) == [missing, *counts]
    unknown = Finding(UNKNOWN, "/x.log", "has no line with a level that is understood: give --pattern")
    assert judged(LOG._replace(levelled=False), argv=argv) == [unknown]
    assert judged(LOG._replace(levelled=False), argv=(*argv, "--pattern", "boom")) == counts
    assert judged(LOG._replace(levelled=None), argv=argv) == counts
    assert judged(LOG._replace(levelled=False), argv=(*argv, "--critical-pattern", "boom")) == counts
    assert judged(LOG._replace(levelled=False), argv=("--mode", "debug", "--pattern", "boom"))[0] == unknown
    exclude = "is not looked at for levels: --only-patterns and mode debug exclude each other"
    assert judged(LOG, argv=("--mode", "debug", "--only-patterns"))[0] == Finding(UNKNOWN, "/x.log", exclude)
    assert Metric("debug", 4, of="/x.log") not in judged(LOG, argv=("--only-patterns",))
    untraced = Finding(UNKNOWN, "/x.log", "has lines that carry no request id")
    assert untraced in judged(LOG._replace(traced=False), argv=("--mode", "correlate"))
    assert untraced not in judged(LOG._replace(traced=False))
    refused = Failed(NOT_ALLOWED, "/y.log", "read /y.log", "Permission denied")
    assert judged(refused, Unmatched("/z*"), argv=argv) == [refused, Finding(OK, "no file matches", "/z*")]


def test_the_kernel_may_be_silent_and_samples_are_shown() -> None:
    kernel = LOG._replace(path="kernel", notes=("first look",), samples=("boom",))
    assert judged(kernel, argv=("--mode", "fresh")) == [
        Finding(OK, "kernel", "first look"),
        Finding(OK, "kernel", "has: boom"),
    ]


def line(number: int, level: str = "INFO", text: str = "x") -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')}.{number:03d} 4711 {level} nova.x [-] {text}\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "nova.log"
    path.write_text(line(1))
    return path


class Runs:
    def __init__(self, log: Path, tmp_path: Path) -> None:
        self.argv = ["--file", str(log), "--state-dir", str(tmp_path / "state")]

    def __call__(self, *argv: str, shift: float = 0.0):
        return CHECK.run([*self.argv, *argv], clock=Clock(shift))


@pytest.fixture
def run(log: Path, tmp_path: Path) -> Runs:
    return Runs(log, tmp_path)


def test_green_warning_critical_and_green_again_after_one_period(log: Path, run: Runs) -> None:
    first = run("--mode", "errors")
    assert (first.state, "first look: the lines of the last 10 min" in first.text) == (0, True)
    with log.open("a") as file:
        file.write(line(2, "ERROR", "connect password=hunter2 failed"))
    second = run("--mode", "errors")
    assert second.state == 1
    assert "errors 1 is above 0" in second.line
    assert "connect password=*** failed" in second.text and "hunter2" not in second.text
    assert run("--mode", "errors", shift=599).state == 1  # every retry within the period sees it
    assert run("--mode", "errors", shift=602).state == 0
    with log.open("a") as file:
        file.writelines(line(number, "ERROR") for number in range(10))
    assert run("--mode", "errors", shift=603).state == 2
    with log.open("a") as file:
        file.write(line(3, "CRITICAL"))
    third = run("--mode", "errors", shift=2000)
    assert (third.state, "criticals 1 is above 0" in third.line) == (2, True)


def test_fresh_growth_and_debug_causes(log: Path, run: Runs) -> None:
    run()
    assert run("--mode", "fresh", shift=800).state == 0
    assert run("--mode", "fresh", shift=1000).state == 1
    assert run("--mode", "fresh", shift=4000).state == 2
    run("--mode", "growth")
    with log.open("a") as file:
        file.truncate(60 << 20)
    grown = run("--mode", "growth", shift=300)
    assert (grown.state, "growth" in grown.line) == (1, True)
    log.write_text(line(1, "DEBUG"))
    debug = run("--mode", "debug", "--state-id", "other")
    assert (debug.state, "debug 1 is above 0" in debug.line) == (1, True)


def test_absent_unreadable_and_nothing_named(tmp_path: Path, log: Path) -> None:
    state = ["--state-dir", str(tmp_path / "state")]
    gone = CHECK.run(["--file", "/nonexistent/x.log", *state])
    assert (gone.state, gone.absent, "/nonexistent/x.log" in gone.line) == (3, True, True)
    assert CHECK.run(["--file", "/nonexistent/x.log", "--absent-state", "critical", *state]).state == 2
    nothing = CHECK.run(state)
    assert (nothing.state, "nothing to look at: give --file" in nothing.line) == (3, True)
    garbage = tmp_path / "garbage.log"
    garbage.write_bytes(b"\n".join(os.urandom(50) for _ in range(100)) + b"\n")
    seen = CHECK.run(["--file", str(garbage), "--mode", "errors", *state])
    assert (seen.state, "no line with a level that is understood" in seen.line) == (3, True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_log_that_may_not_be_read_is_unknown_and_says_who_may(log: Path, run: Runs) -> None:
    log.chmod(0)
    seen = run()
    assert seen.state == 3
    assert "Permission denied" in seen.line and "setfacl" in seen.line


def test_strange_names_break_nothing(tmp_path: Path) -> None:
    for name in ("a|b.log", "a'b\"c.log", "new\nline.log", os.fsdecode(b"inv\xff.log")):
        path = tmp_path / name
        path.write_text(line(1, "ERROR"))
        seen = CHECK.run(["--file", str(path), "--mode", "errors", "--state-dir", str(tmp_path / "state")])
        assert seen.state == 1, seen.text
        assert seen.line.count("|") == 1


def test_presets_are_told_apart_by_what_they_ask(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "var/log/eucalyptus").mkdir(parents=True)
    (root / "var/log/nova").mkdir()
    nova = root / "var/log/nova/nova-compute.log"
    nova.write_text(
        line(1, "INFO", "Removing base or swap file: /b") + line(2, "ERROR", "AMQP server on c1:5672 is unreachable: x")
    )
    fault = "*" * 72 + "\n  ERR-1008 " + time.strftime("%Y-%m-%d %H:%M:%S") + "Z eucanetd is not running\n\n"
    (root / "var/log/eucalyptus/nc-fault.log").write_text(fault)
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    (root / "var/log/eucalyptus/nc.log").write_text(
        f"{now}  INFO | fine\n{now} ERROR | Service eucanetd not running.\n"
    )

    def asked(preset: str):
        return CHECK.run(["--preset", preset, "--state-dir", str(tmp_path / "state")], root=str(root))

    for preset in ("amqp", "nova-imagecache"):
        seen = asked(preset)
        assert (seen.state, "/var/log/nova/nova-compute.log errors 1 is above 0" in seen.line) == (1, True), seen.text
    assert asked("periodic").state == 0
    nc = asked("euca-nc")
    assert nc.state == 2
    assert "nc-fault.log criticals 1 is above 0" in nc.line and "nc.log errors 1 is above 0" in nc.text
    assert asked("cinder").absent
    assert asked("dnsmasq").absent
    clc = asked("euca-clc")
    assert "cloud-output.log" in clc.text and "No such file" in clc.text


@pytest.mark.parametrize(
    ("preset", "name", "text"),
    [  # cluster/handlers.c of 4.4.2; DRBDStorageManager of 3.x (the wiki's Walrus-Troubleshooting)
        ("euca-cc", "cc.log", "bad return from ncDescribeResource(10.111.1.15) (1)"),
        ("euca-cc", "cc.log", "error message from ncDescribeResource: connection refused"),
        ("euca-walrus", "cloud-output.log", "Peer is primary and I am supposed to be master! Unable to proceed!"),
    ],
)
def test_what_the_wiki_asks_to_look_for_is_found_at_any_level(
    tmp_path: Path, preset: str, name: str, text: str
) -> None:
    log = tmp_path / "root/var/log/eucalyptus" / name
    log.parent.mkdir(parents=True)
    argv = ["--preset", preset, "--mode", "errors", "--state-dir", str(tmp_path / "state")]
    log.write_text(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  INFO | all is well\n")
    assert CHECK.run(argv, root=str(tmp_path / "root")).state == 0
    with log.open("a") as file:
        file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  INFO | {text}\n")
    seen = CHECK.run(argv, root=str(tmp_path / "root"))
    assert (seen.state, "errors 1 is above 0" in seen.line) == (1, True), seen.text


def test_every_preset_is_accepted_and_its_patterns_are_safe() -> None:
    from nephoscope.probes.log_lines import regex

    for name, preset in CHECK.presets.items():
        options = CHECK.parse("--preset", name)
        assert options.file or options.kernel
        for pattern in (*preset.options.get("pattern", ()), *preset.options.get("critical_pattern", ())):
            assert regex(pattern) == pattern


@pytest.mark.parametrize(
    "argv",
    [
        ("--pattern", "(a+)+"),
        ("--pattern", "("),
        ("--line-format", "xml"),
        ("--period", "soon"),
        ("--max-read", "x"),
        ("--file", "nova.log"),
    ],
)
def test_bad_options(argv: tuple[str, ...]) -> None:
    with pytest.raises(BadOption):
        CHECK.parse("--file", "/x", *argv)


def test_two_runs_at_once_count_each_line_once(log: Path, run: Runs) -> None:
    run("--mode", "errors")
    with log.open("a") as file:
        file.writelines(line(number, "ERROR") for number in range(5000))
    argv = [*PLUGIN, *run.argv, "--mode", "errors"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in both:
        assert "errors 5000 is above 9" in process.communicate(timeout=60)[0]
    assert run("--mode", "errors").line.count("_lines=5001c") == 1


def test_state_survives_and_a_corrupt_one_is_said(log: Path, run: Runs, tmp_path: Path) -> None:
    run("--mode", "errors")
    (kept,) = (tmp_path / "state").glob("*.json")
    kept.write_text("{ nonsense")
    seen = run("--mode", "errors")
    assert seen.state == 0
    assert "first look" in seen.text


def test_memory_stays_flat(log: Path, run: Runs, tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom nephoscope.checks.node.check_log import CHECK\n"
        "o = CHECK.run(sys.argv[1:])\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, o.line, file=sys.stderr)"
    )
    peaks = []
    for number, size in enumerate((1, 48)):
        big = tmp_path / f"big{number}.log"
        piece = "".join(line(n % 1000, "ERROR" if n % 50 == 0 else "INFO", "y" * 100) for n in range(6000)).encode()
        with big.open("wb") as file:
            while file.tell() < size << 20:
                file.write(piece)
        argv = ["--file", str(big), "--state-dir", str(tmp_path / "s"), "-t", "60", "--mode", "errors"]
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        peak, told = done.stderr.split(" ", 1)
        assert f"bytes={big.stat().st_size}c" in told
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 4096  # KiB: some blocks and their pieces


def test_an_endless_regex_that_slipped_through_ends_with_the_deadline(log: Path, tmp_path: Path) -> None:
    # Quadratic and worse without a nested repetition: many in a row.
    log.write_text("a" * 8000 + "\n")
    begun = time.monotonic()
    argv = ["--file", str(log), "--pattern", "a*" * 12 + "b$", "--state-dir", str(tmp_path / "s"), "-t", "2"]
    done = subprocess.run([*PLUGIN, *argv], capture_output=True, text=True, check=False)
    assert time.monotonic() - begun < 2.5
    assert done.returncode == 3 and done.stdout.startswith("LOG UNKNOWN")
