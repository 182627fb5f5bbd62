# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import tempfile

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed
from nephoscope.checks.storage.check_multipath import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.multipath import Host, Map, Path

from tests.probes import stand_ins
from tests.probes.kernel_tree import refuse
from tests.probes.multipath_host import RELEASES, WWID, answer, daemon, four, host, made, of_release, path, sysfs

PATHS = tuple(Path(f"sd{'abcd'[at]}", adapter=f"a{at % 2}", target=f"t{at // 2}") for at in range(4))
MAP = Map("mpatha", "3600", PATHS, most=4, faults=0.0)
CURE = "a sudoers line for `/usr/sbin/multipathd show maps json` (nephoscope export sudoers)"


@pytest.fixture
def root():
    with tempfile.TemporaryDirectory(prefix="mp") as folder:
        yield folder


def judged(*maps, argv=(), unheard=None):
    return list(judge(Host(maps, unheard), CHECK.parse(*argv)))


def findings(*maps, **words):
    return [found for found in judged(*maps, **words) if isinstance(found, Finding) and found.of]


def with_path(at=2, **words):
    return MAP._replace(paths=(*PATHS[:at], PATHS[at]._replace(**words), *PATHS[at + 1 :]))


def test_a_good_one():
    assert judged(MAP) == [
        Finding(OK, "mpatha", "has 4 of 4 paths"),
        Metric("adapters", 2, "mpatha"),
        Metric("targets", 2, "mpatha"),
        Metric("paths", 4, "mpatha"),
        Metric("path_faults", 0.0, "mpatha"),
        Metric("suspended", 0.0, "mpatha"),
        Metric("maps", 1),
        Finding(OK, "", "1 maps, 4 paths usable"),
        Metric("paths_ok", 4),
        Metric("paths_failed", 0),
    ]


@pytest.mark.parametrize(
    ("found", "state", "text"),
    [
        (with_path(usable=False, said="faulty"), WARNING, "has 3 of 4 paths: sdc faulty"),
        (with_path(said="marginal"), WARNING, "has 4 of 4 paths: sdc marginal"),
        (MAP._replace(paths=PATHS[:2]), WARNING, "has 2 of 4 paths, 2 missing"),
        (with_path(usable=None, said="chk_st 'x' is not understood"), UNKNOWN, "sdc chk_st 'x' is not understood"),
        (MAP._replace(known=False), UNKNOWN, "is not known to multipathd"),
        (MAP._replace(paths=()), CRITICAL, "has no usable path; its I/O fails"),
        (
            MAP._replace(paths=(Path("sda", False, "faulty"),), waits=True),
            CRITICAL,
            "has no usable path: sda faulty; its I/O waits, and guests hang",
        ),
    ],
)
def test_each_trouble_of_a_map(found, state, text):
    assert findings(found) == [Finding(state, "mpatha", text)]


def test_bad_ones_beside_one_that_is_not_understood():
    found = with_path(usable=None, said="state 'x' is not understood")
    found = found._replace(paths=(PATHS[0]._replace(usable=False, said="faulty"), *found.paths[1:]))
    assert findings(found) == [
        Finding(UNKNOWN, "mpatha", "sdc state 'x' is not understood"),
        Finding(WARNING, "mpatha", "has bad paths: sda faulty"),
    ]
    names = [one.name for one in judged(found) if isinstance(one, Metric)]
    assert names == ["path_faults", "suspended", "maps"]


def test_what_is_expected():
    assert findings(MAP, argv=("--expect", "mpatha=4")) == [Finding(OK, "mpatha", "has 4 of 4 paths")]
    assert findings(MAP, argv=("--expect", "3600=8")) == [Finding(WARNING, "mpatha", "has 4 of 8 paths, 4 missing")]
    assert Finding(CRITICAL, "mpathb", "does not exist") in findings(MAP, argv=("--expect", "mpathb"))
    assert findings(argv=("--expect", "mpathb")) == [Finding(CRITICAL, "mpathb", "does not exist")]
    unread = Failed(UNREADABLE, "mpathb", "read", "not understood")
    assert judged(unread, argv=("--expect", "mpathb"))[:1] == [unread]
    assert findings(unread, argv=("--expect", "mpathb")) == []
    unnamed = Failed(UNREADABLE, "", "read", "not understood")
    assert judged(unnamed, argv=("--expect", "mpathb"))[1] == Finding(UNKNOWN, "mpathb", "was not found")
    assert "'many'" in CHECK.run(["--expect", "mpatha=many"]).line


def test_without_multipathd_nothing_is_said_to_be_usable():
    unheard = Failed(NOT_ALLOWED, "", "", "path states not seen", "x")
    found = MAP._replace(known=False)
    assert judged(found, unheard=unheard) == [unheard, Metric("suspended", 0.0, "mpatha"), Metric("maps", 1)]
    gone = found._replace(paths=(Path("sda", False, "offline"), Path("sdb")))
    assert findings(gone, unheard=unheard) == [Finding(WARNING, "mpatha", "has bad paths: sda offline")]
    all_gone = found._replace(paths=(Path("sda", False, "offline"),))
    assert findings(all_gone, unheard=unheard) == [Finding(CRITICAL, "mpatha", "has no usable path: sda offline")]


def bound(folder, monkeypatch, **scripts):
    """Put scripts in the place of programs; the state is then that user's, too."""
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    if os.getuid() == 0:
        os.chown(folder / "state", 1000, 1000)
    stand_ins.put(folder / "bin", monkeypatch, **scripts)
    if os.getuid():
        monkeypatch.setattr(os, "geteuid", os.getuid)


def lines(folder, root, *argv, **words):
    return CHECK.run([*argv, "--state-dir", str(folder / "state")], root=root, **words)


def asked(folder, root, *maps, argv=(), told=None, clock=None, daemon_words=None, **words):
    sysfs(root, *maps, **words)
    with daemon(root, answer(*(maps if told is None else told)), **(daemon_words or {})):
        outcome = lines(folder, root, *argv, clock=clock)
    return outcome.line


BAD_PATHS = [*four()[:3], path("sdd", "0000:81:00.1", "0x2070000000000001", chk_st="faulty", dm_st="failed")]
ONE = [path("sda"), *(path(f"sd{x}", "0000:81:00.1", "0x2070000000000001", chk_st="faulty") for x in "bcd")]
FEW = "paths=4;;2: adapters=2;2: targets=2;2: suspended=0;30;90"
LINES = [
    (made(), {}, "OK - 1 maps, 4 paths usable, rates collecting | maps=1 paths_ok=4 paths_failed=0 paths=4;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"),
    (made(paths=BAD_PATHS), {}, "WARNING - mpatha has 3 of 4 paths: sdd faulty | maps=1 paths_ok=3 paths_failed=1 paths=3;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"),
    (made(paths=four(chk_st="ghost")), {}, "OK - 1 maps, 4 paths usable, rates collecting | maps=1 paths_ok=4 paths_failed=0 paths=4;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"),
    (made(paths=four(marginal_st="marginal")), {}, "WARNING - mpatha has 4 of 4 paths: sda marginal, sdb marginal, sdc marginal, sdd marginal | maps=1 paths_ok=4 paths_failed=0 paths=4;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"),
    (made(paths=four(chk_st="shaky"), queueing="on"), {}, "CRITICAL - mpatha has no usable path: sda shaky, sdb shaky, sdc shaky, sdd shaky; its I/O waits, and guests hang, mpatha paths 0 is below 2 | maps=1 paths_ok=0 paths_failed=4 paths=0;;2: suspended=0s;30;90"),
    (made(paths=ONE), {}, "CRITICAL - mpatha paths 1 is below 2, WARNING: mpatha has 1 of 4 paths: sdb faulty, sdc faulty, sdd faulty, mpatha adapters 1 is below 2, mpatha targets 1 is below 2 | maps=1 paths_ok=1 paths_failed=3 paths=1;;2: adapters=1;2: targets=1;2: suspended=0s;30;90"),
    (made(paths=[path("sda"), path("sdb", target="0x2070000000000001")]), {}, "WARNING - mpatha adapters 1 is below 2 | maps=1 paths_ok=2 paths_failed=0 paths=2;;2: adapters=1;2: targets=2;2: suspended=0s;30;90"),
    (made(paths=[path("sda"), path("sdb", "0000:81:00.1")]), {}, "WARNING - mpatha targets 1 is below 2 | maps=1 paths_ok=2 paths_failed=0 paths=2;;2: adapters=2;2: targets=1;2: suspended=0s;30;90"),
    (made(), {"states": {"sda": "transport-offline"}}, "WARNING - mpatha has 3 of 4 paths: sda transport-offline | maps=1 paths_ok=3 paths_failed=1 paths=3;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"),
    (made(paths=four(chk_st="undef")), {}, "UNKNOWN - mpatha sda chk_st 'undef', sdb chk_st 'undef', sdc chk_st 'undef', sdd chk_st 'undef' | maps=1 suspended=0s;30;90"),
    (made(paths=four(chk_st="resting")), {"argv": ("-w", "paths=4:")}, "UNKNOWN - the limit paths met nothing: no such value here, mpatha sda chk_st 'resting' is not understood, sdb chk_st 'resting' is not understood, sdc chk_st 'resting' is not understood, sdd chk_st 'resting' is not understood | maps=1 suspended=0s;30;90"),
    (made(), {"told": []}, "UNKNOWN - mpatha is not known to multipathd | maps=1 suspended=0s;30;90"),
    (made(), {"argv": ("--expect", "mpathz", "--expect", "mpatha=6")}, "CRITICAL - mpathz does not exist, WARNING: mpatha has 4 of 6 paths, 2 missing | maps=1 paths_ok=4 paths_failed=0 paths=4;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"),
    (made(), {"daemon_words": {"cut": 30}}, "CRITICAL - it was cut before the answer was whole (ask multipathd) | maps=1 suspended=0s;30;90"),
    (made(), {"argv": ("-t", "2", "--include", "mpath*"), "daemon_words": {"hang": True}}, "CRITICAL - no answer in time (ask multipathd) | maps=1 suspended=0s;30;90"),
    (made(), {"argv": ("--unreachable-state", "unknown"), "daemon_words": {"cut": 0}}, "UNKNOWN - it was cut before the answer was whole (ask multipathd) | maps=1 suspended=0s;30;90"),
    (made(), {"argv": ("--include", "other*")}, "UNKNOWN - nothing matched --include/--exclude, which left out 1 | maps=0"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "words", "line"), LINES)
def test_first_lines(tmp_path, root, found, words, line):
    assert asked(tmp_path, root, found, **words) == f"MULTIPATH {line}"


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_s_answer(tmp_path, root, release):
    bad = made(paths=[path("sda", chk_st="faulty", dm_st="failed"), *four("b")], name="array A, volume 1")
    assert asked(tmp_path, root, bad, told=[of_release(release, bad)]) == (
        "MULTIPATH WARNING - array A, volume 1 has 4 of 5 paths: sda faulty | maps=1 paths_ok=4 paths_failed=1"
        " paths=4;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"
    )


def test_garbage_is_not_understood(tmp_path, root):
    sysfs(root, made())
    with daemon(root, "<html>log in</html>"):
        line = lines(tmp_path, root).line
    said = "not its JSON: '<html>log in</html>' (ask multipathd)"
    assert line == f"MULTIPATH UNKNOWN - {said} | maps=1 suspended=0s;30;90"


def test_without_the_right_it_says_what_the_kernel_shows_and_never_ok(tmp_path, root, monkeypatch):
    bound(tmp_path, monkeypatch, sudo=stand_ins.REFUSES, multipathd="exit 9")
    unseen = f"path states not seen: needs {CURE}; its socket said No such file or directory"
    sysfs(root, made(), made("mpathb", 1))
    line = lines(tmp_path, root, "--include", "mpath*").line
    assert line == f"MULTIPATH UNKNOWN - {unseen} | maps=2 suspended=0s;30;90"
    sysfs(root, made(), states={"sda": "offline"})
    outcome = lines(tmp_path, root)
    assert outcome.line.startswith("MULTIPATH WARNING - mpatha has bad paths: sda offline")
    assert f"UNKNOWN: {unseen}" in outcome.text or unseen in outcome.text


def test_no_daemon(tmp_path, root, monkeypatch):
    sysfs(root, made())
    bound(tmp_path, monkeypatch, multipathd="echo 'ERROR: failed to connect to multipathd' >&2; exit 1")
    assert lines(tmp_path, root).line == (
        "MULTIPATH CRITICAL - ERROR: failed to connect to multipathd (/usr/sbin/multipathd show maps json)"
        " | maps=1 suspended=0s;30;90"
    )
    monkeypatch.setattr("nephoscope.base.child.PATH", str(tmp_path))
    line = lines(tmp_path, root).line
    assert (
        line
        == "MULTIPATH UNKNOWN - multipathd is not installed (run multipathd show maps json) | maps=1 suspended=0s;30;90"
    )


def test_no_map(tmp_path, root):
    sysfs(root)
    none = "the kernel has no multipath map (list /sys/block)"
    assert lines(tmp_path, root).line == f"MULTIPATH UNKNOWN - {none}"
    assert lines(tmp_path, root, "--absent-state", "ok").line == f"MULTIPATH OK - {none}"
    assert lines(tmp_path, root, "--expect", "mpatha").line == "MULTIPATH CRITICAL - mpatha does not exist | maps=0"


def test_a_path_that_vanishes_is_missed_and_then_forgotten(tmp_path, root):
    assert " OK - " in asked(tmp_path, root, made())
    with tempfile.TemporaryDirectory(prefix="mp") as later:
        fewer = made(paths=four()[:3])
        line = asked(tmp_path, later, fewer, clock=Clock(shift=60))
        assert line == (
            "MULTIPATH WARNING - mpatha has 3 of 4 paths, 1 missing | maps=1 paths_ok=3 paths_failed=0 paths=3;;2:"
            " adapters=2;2: targets=2;2: suspended=0s;30;90 path_faults=0;0"
        )
        assert " WARNING - mpatha has 3 of 4 paths, 1 missing | " in asked(
            tmp_path, later, fewer, clock=Clock(shift=6 * 86400)
        )
        assert " OK - 1 maps, 3 paths usable" in asked(tmp_path, later, fewer, clock=Clock(shift=8 * 86400))


def test_a_flapping_path_and_a_map_that_stays_suspended(tmp_path, root):
    assert " OK - " in asked(tmp_path, root, made(path_faults=5), suspended="1")
    line = asked(tmp_path, root, made(path_faults=8), clock=Clock(shift=60), suspended="1")
    assert line.startswith(
        "MULTIPATH WARNING - mpatha path faults 3 is above 0, mpatha suspended 60 s is above 30 s | "
    )
    assert line.endswith(" suspended=60s;30;90 path_faults=3;0")
    line = asked(tmp_path, root, made(path_faults=8), clock=Clock(shift=120), suspended="1")
    assert line.startswith("MULTIPATH CRITICAL - mpatha suspended 2 min is above 90 s")
    line = asked(tmp_path, root, made(path_faults=8), clock=Clock(shift=600))
    assert " OK - 1 maps, 4 paths usable | " in line


def test_what_may_not_be_read_is_dropped_by_no_filter(tmp_path, root, monkeypatch):
    refuse(monkeypatch, "dm-0/dm/uuid")
    assert asked(tmp_path, root, made(), made("mpathb", 1), argv=("--include", "mpathb")) == (
        "MULTIPATH UNKNOWN - Permission denied (read /sys/block/dm-0/dm/uuid): needs read access to /sys/block"
        " | paths=4;;2: adapters=2;2: targets=2;2: suspended=0s;30;90"
    )


def test_four_hundred_maps_and_one_bad_path(tmp_path, root):
    maps = host()
    maps[7]["path_groups"][0]["paths"][3]["chk_st"] = "i/o timeout"
    line = asked(tmp_path, root, *maps, argv=("-t", "60"))
    assert line == (
        "MULTIPATH WARNING - mpath7 has 7 of 8 paths: sd7x3 i/o timeout | maps=400 paths_ok=3199 paths_failed=1"
        " paths=7;;2: adapters=2;2: targets=4;2: suspended=0s;30;90"
    )
    kept = next(
        file for file in (tmp_path / "state").rglob("*") if file.is_file() and WWID.format(7) in file.read_text()
    )
    assert kept.stat().st_size < 200_000
    assert json.loads(kept.read_text())


def test_collecting_is_no_fault():
    assert judged(MAP._replace(faults=COLLECTING))[4] == Metric("path_faults", COLLECTING, "mpatha")


def test_silence_is_a_failure_of_the_whole():
    silent = Failed(UNREACHABLE, "", "ask multipathd", "no answer in time")
    assert judged(MAP._replace(known=False), unheard=silent)[0] == silent
