# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, COLLECTING, UNREACHABLE, UNREADABLE, Clock, Failed
from nephoscope.checks.node.check_filesystem import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.mounts import FileSystem, Survey

GIB = 2**30
DAY = 86400.0
YEAR = 365 * DAY
ROOT = FileSystem("/", "ext4", 100 * GIB, 60 * GIB, 40.0, 5.0, "writable", "writable", "/etc/fstab", YEAR)


def surveyed(*systems, missing=None, present=("/",), fstab=None, left_out=None):
    return Survey(systems, missing or {}, present, fstab, left_out or {}, {})


def judged(*argv, systems=(ROOT,), **words):
    return list(judge(surveyed(*systems, **words), CHECK.parse(*argv)))


def test_all_modes_of_a_good_one():
    assert judged() == [
        Metric("used", 40.0, "/", 0, 100),
        Metric("free", 60 * GIB, "/", 0, 100 * GIB),
        Metric("inodes", 5.0, "/", 0, 100),
        Metric("full_in", YEAR, "/"),
        Finding(OK, "/", "is writable (/etc/fstab)"),
        Finding(OK, "/", "is mounted, as /etc/fstab wants it"),
        Finding(OK, "", "1 looked at, fullest / 40 %, 1 listed in /etc/fstab, most inodes in use / 5 %, 1 writable"),
    ]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("space", ["used", "free"]),
        ("inode", ["inodes"]),
        ("forecast", ["full_in"]),
        ("readonly", []),
        ("mounted", []),
    ],
)
def test_each_mode_asks_its_own_question(mode, names):
    found = judged(
        "--mode", mode, missing={"/data": False}, systems=[ROOT._replace(access="stopped", wanted="", why="")]
    )
    assert [thing.name for thing in found if isinstance(thing, Metric)] == names
    bad = [thing.state for thing in found if isinstance(thing, Finding) and thing.state]
    assert bad == ([CRITICAL] if mode in ("readonly", "mounted") else [])


def test_what_was_left_out_is_said():
    found = judged("--mode", "space", left_out={"tmpfs": 3, "overlay": 2})
    assert found[-1] == Finding(OK, "", "1 looked at, fullest / 40 %; left out by type: 2 overlay, 3 tmpfs")


@pytest.mark.parametrize(
    ("mode", "summary"),
    [
        ("space", "1 looked at, fullest / 40 %"),
        ("forecast", "1 looked at, fullest / 40 %"),
        ("inode", "1 looked at, most inodes in use / 5 %"),
        ("readonly", "1 looked at, 1 writable"),
        ("mounted", "1 looked at, 1 listed in /etc/fstab"),
    ],
)
def test_the_summary_tells_of_the_mode_that_was_asked(mode, summary):
    assert judged("--mode", mode)[-1] == Finding(OK, "", summary)


BARE = ROOT._replace(used=None, inodes=None)


@pytest.mark.parametrize(
    ("mode", "systems", "text"),
    [
        ("mounted", [ROOT], "/etc/fstab lists nothing that should be mounted here"),
        ("mounted", [], "/etc/fstab lists nothing that should be mounted here"),
        ("inode", [BARE], "no file system here counts inodes"),
        ("space", [BARE], "no file system here has a size that could run out"),
        ("forecast", [BARE], "no file system here has a size that could run out"),
        ("inode", [], "no file system of these types is mounted"),
        ("readonly", [], "no file system of these types is mounted"),
    ],
)
def test_what_is_not_here_is_told_when_it_was_asked_for_by_name(monkeypatch, tmp_path, mode, systems, text):
    assert Failed(ABSENT, "", "", text) in judged("--mode", mode, systems=systems, present=())
    monkeypatch.setattr("nephoscope.probes.mounts.survey", lambda run, *words: surveyed(*systems, present=()))
    outcome = CHECK.run(["--mode", mode, "--state-dir", str(tmp_path / "state")])
    assert outcome.state == UNKNOWN
    assert text in outcome.line


def test_what_is_not_here_is_no_fault_while_nobody_asked_for_it():
    for systems in ([BARE], [BARE, ROOT]):
        assert not [thing for thing in judged(systems=systems, present=()) if isinstance(thing, Failed)]
    assert not [thing for thing in judged("--mode", "inode", systems=[BARE, ROOT]) if isinstance(thing, Failed)]


def test_what_failed_is_not_called_absent_as_well():
    failed = Failed(UNREACHABLE, "/", "ask the file system for its size", "no answer in 5 s")
    assert judged("--mode", "inode", systems=[failed]) == [failed]
    fstab = Failed(UNREADABLE, "/etc/fstab", "read /etc/fstab", "line 1 has fewer than three fields")
    assert [thing for thing in judged("--mode", "mounted", fstab=fstab, present=()) if isinstance(thing, Failed)] == [
        fstab
    ]


def test_a_type_that_nothing_has_is_told_beside_what_is_mounted():
    lack = Failed(ABSENT, "", "", "no file system of these types is mounted")
    assert lack in judged("--type", "xfs", systems=[])
    assert lack not in judged(systems=[])


def test_an_image_and_a_file_system_without_size_or_inodes_give_no_number():
    image = ROOT._replace(
        path="/snap", kind="squashfs", used=None, inodes=None, access="read-only", wanted="read-only", why="squashfs"
    )
    assert judged(systems=[image], present=()) == [
        Finding(OK, "/snap", "is read-only (squashfs)"),
        Finding(OK, "", "1 looked at, none listed in /etc/fstab, 0 writable"),
    ]


def test_a_hung_one_stands_beside_the_others():
    failed = Failed(UNREACHABLE, "/mnt/nfs", "ask the file system for its size", "no answer in 5 s")
    found = judged("--mode", "space", systems=[failed, ROOT])
    assert found[0] == failed
    assert found[-1] == Finding(OK, "", "1 looked at, fullest / 40 %")


def test_nothing_but_failures_is_no_summary():
    failed = Failed(UNREACHABLE, "/", "ask the file system for its size", "no answer in 5 s")
    assert judged(systems=[failed], present=()) == [failed]


@pytest.mark.parametrize(
    ("access", "wanted", "why", "expected"),
    [
        ("writable", "writable", "/etc/fstab", Finding(OK, "/", "is writable (/etc/fstab)")),
        ("writable", "", "", Finding(OK, "/", "is writable")),
        ("writable", "read-only", "/etc/fstab", Finding(OK, "/", "is writable (/etc/fstab)")),
        ("read-only", "read-only", "/etc/fstab", Finding(OK, "/", "is read-only (/etc/fstab)")),
        ("read-only here", "", "", Finding(OK, "/", "is read-only here")),
        (
            "read-only",
            "writable",
            "it was on an earlier run",
            Finding(CRITICAL, "/", "is read-only and should be writable (it was on an earlier run)"),
        ),
        ("read-only", "", "", Finding(WARNING, "/", "is read-only, and neither /etc/fstab nor --read-only says so")),
        (
            "read-only here",
            "writable",
            "/etc/fstab",
            Finding(WARNING, "/", "is read-only here, by a bind mount or the scheduler's sandbox (/etc/fstab)"),
        ),
        ("stopped", "", "", Finding(CRITICAL, "/", "was stopped by the kernel after an error and takes no writes")),
    ],
)
def test_read_only_by_surprise(access, wanted, why, expected):
    found = judged("--mode", "readonly", systems=[ROOT._replace(access=access, wanted=wanted, why=why)])
    assert found[:-1] == [expected]


def test_what_fstab_lists_and_is_not_mounted():
    found = judged("--mode", "mounted", missing={"/data": False, "/backup": True})
    assert found == [
        Finding(CRITICAL, "/data", "is listed in /etc/fstab and not mounted"),
        Finding(WARNING, "/backup", "is listed in /etc/fstab and not mounted"),
        Finding(OK, "/", "is mounted, as /etc/fstab wants it"),
        Finding(OK, "", "1 looked at, 3 listed in /etc/fstab"),
    ]


def test_an_fstab_that_could_not_be_read_matters_where_it_is_asked():
    failed = Failed(UNREADABLE, "/etc/fstab", "read /etc/fstab", "line 1 has fewer than three fields")
    assert judged("--mode", "space", fstab=failed)[0] != failed
    assert judged("--mode", "mounted", fstab=failed)[0] == failed
    assert judged("--mode", "readonly", fstab=failed)[0] == failed


@pytest.mark.parametrize(
    ("change", "argv", "state"),
    [
        ({}, [], OK),
        ({"used": 85.1}, [], WARNING),
        ({"used": 95.1}, [], CRITICAL),
        ({"inodes": 85.1}, [], WARNING),
        ({"inodes": 95.1}, [], CRITICAL),
        ({"full_in": 8 * DAY}, [], OK),
        ({"full_in": 6 * DAY}, [], WARNING),
        ({"full_in": DAY / 2}, [], CRITICAL),
        ({"full_in": COLLECTING}, [], OK),
        ({"used": 97.0, "free": 60 * GIB}, ["-w", "used//=98", "-c", "used//=99.5", "-c", f"free//={50 * GIB}:"], OK),
        (
            {"used": 97.0, "free": 40 * GIB},
            ["-w", "used//=98", "-c", "used//=99.5", "-c", f"free//={50 * GIB}:"],
            CRITICAL,
        ),
    ],
)
def test_the_limits(monkeypatch, tmp_path, change, argv, state):
    monkeypatch.setattr("nephoscope.probes.mounts.survey", lambda run, *words: surveyed(ROOT._replace(**change)))
    outcome = CHECK.run([*argv, "--state-dir", str(tmp_path / "state")])
    assert outcome.state == state, outcome.text


# -- through the frame, with a recorded mount table ------------------------------------------------------------------------

TABLE = b"""27 1 254:0 / / rw - ext4 /dev/vda rw
43 27 7:0 / /srv/a|b\\012\xff rw - ext4 /dev/loop0 rw
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_bytes(TABLE)
    (tmp_path / "srv").mkdir()
    os.mkdir(os.fsencode(tmp_path) + b"/srv/a|b\n\xff")
    return str(tmp_path)


def run(root, *argv, shift=0.0):
    argv = [
        "--state-dir",
        f"{root}/state",
        "-w",
        "used=100",
        "-c",
        "used=100",
        "-w",
        "inodes=100",
        "-c",
        "inodes=100",
        *argv,
    ]
    return CHECK.run(argv, root=root, clock=Clock(shift=shift))


def test_odd_names_keep_the_output_whole(root):
    outcome = run(root, "-w", "full_in=0:", "-c", "full_in=0:")
    assert outcome.state == OK, outcome.text
    assert outcome.line.count("|") == 1
    outcome.text.encode()


def test_the_state_carries_the_forecast_over(root):
    for hours in range(14):
        argv = ["--state-dir", f"{root}/state", "--mode", "forecast"]
        outcome = CHECK.run(argv, root=root, clock=Clock(shift=3600.0 * hours))
    assert [item for item in outcome.perfdata if item.startswith("root_full_in=")], outcome.text
    assert "collecting" not in outcome.text


def test_a_file_system_that_lost_its_mount_point(root):
    os.rmdir(os.fsencode(root) + b"/srv/a|b\n\xff")
    outcome = run(root)
    assert outcome.state == CRITICAL
    assert "no such directory, though it is mounted" in outcome.line


def test_a_preset_whose_directory_is_not_here(root):
    outcome = run(root, "--preset", "nova_compute")
    assert outcome.state == UNKNOWN
    assert "/var/lib/nova/instances: No such file or directory" in outcome.line


def test_swifts_disks_are_looked_at_below_their_directory(root):
    with open(f"{root}/proc/self/mountinfo", "ab") as file:
        file.write(b"50 27 8:16 / /srv/node/sdb1 rw,noatime - xfs /dev/sdb1 rw\n")
    os.makedirs(f"{root}/srv/node/sdb1")
    os.mkdir(f"{root}/etc")
    with open(f"{root}/etc/fstab", "w") as file:
        file.write(
            "LABEL=d1 /srv/node/sdb1 xfs noatime 0 0\nLABEL=d2 /srv/node/sdc1 xfs noatime 0 0\n/dev/x /opt xfs rw\n"
        )
    outcome = run(root, "--preset", "swift", "-w", "full_in=0:", "-c", "full_in=0:")
    assert outcome.state == CRITICAL
    assert "/srv/node/sdc1 is listed in /etc/fstab and not mounted" in outcome.line
    assert "/srv/node/sdb1 used" in outcome.text
    assert "/opt" not in outcome.text


@pytest.mark.parametrize("service", ["nova", "cinder"])
def test_volumes_on_nfs_are_looked_at_where_the_service_mounts_them(root, service):
    place = f"/var/lib/{service}/mnt/0a1b2c"
    with open(f"{root}/proc/self/mountinfo", "a") as file:
        file.write(f"50 27 0:50 / {place} rw - nfs4 10.0.0.9:/volumes rw,vers=4.2\n")
    for path in (place, f"/var/log/{service}", "/var/lib/nova/instances"):
        os.makedirs(root + path)
    preset = {"nova": "nova_compute", "cinder": "cinder"}[service]
    outcome = run(root, "--preset", preset)
    assert outcome.state == OK, outcome.text
    assert f"{place} used" in outcome.text


def test_garbage_in_the_table(root):
    with open(f"{root}/proc/self/mountinfo", "w") as file:
        file.write("<html>\n")
    outcome = run(root)
    assert outcome.state == UNKNOWN
    assert "a line is not understood" in outcome.line


def test_nothing_of_the_types_asked_for(root):
    assert run(root, "--mode", "space", "--type", "xfs").state == UNKNOWN
