# SPDX-License-Identifier: Apache-2.0
"""Machines and their sources are in tests/probes/shared_trees.py."""

from __future__ import annotations

import errno
import os
import re
import time

import pytest
from nephoscope.base import UNREACHABLE, UNREADABLE, Clock, Failed
from nephoscope.checks.storage.check_shared_mount import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, WARNING, Finding, Metric
from nephoscope.probes import shared_mount
from nephoscope.probes.filesystem import Trial
from nephoscope.probes.shared_mount import Brick, Shared, Survey

from tests.probes.shared_trees import GLUSTER, NOVA, stats, tree

WELL = Shared("/x", "nfs4", "nas:/x", seconds=0.01, size=100, free=40, options=("rw", "hard"), values={"rtt": 0.001})
SAID = "is mounted from nas:/x (nfs4, writable)"
LOOKED = Finding(OK, "", "1 looked at: /x")
FAILED = Failed(UNREACHABLE, "/x", "stat, statvfs and list", "no answer in 5 s")


def judged(*found, argv=(), **words):
    return list(judge(Survey(found, **words), CHECK.parse(*argv)))


def test_well():
    assert judged(WELL) == [
        Finding(OK, "/x", SAID),
        Metric("probe", 0.01, "/x"),
        Metric("free", 40, "/x", 0, 100),
        Metric("rtt", 0.001, "/x"),
        LOOKED,
    ]


@pytest.mark.parametrize(
    ("mount", "argv", "expected"),
    [
        (WELL._replace(seconds=None, failed=FAILED), (), [FAILED]),
        (
            WELL._replace(seconds=None, failed=FAILED, silent=61.0),
            ("--source", "nas2:*"),
            [
                FAILED,
                Finding(CRITICAL, "/x", "is mounted from nas:/x, not from nas2:*"),
                Finding(CRITICAL, "/x", "its server has answered nothing for 61 s"),
            ],
        ),
    ],
)  # fmt: skip
def test_what_does_not_answer_has_no_time(mount, argv, expected):
    assert judged(mount, argv=argv) == [*expected, Metric("rtt", 0.001, "/x"), LOOKED]


@pytest.mark.parametrize(
    ("mount", "argv", "state", "text"),
    [
        (WELL._replace(listed="old:/x"), (), WARNING, "is mounted from nas:/x, /etc/fstab says old:/x"),
        (
            WELL._replace(access="read-only"),
            (),
            CRITICAL,
            "is read-only, and neither /etc/fstab nor --read-only says so",
        ),
        (WELL._replace(access="read-only"), ("--read-only", "/x"), OK, "is mounted from nas:/x (nfs4, read-only)"),
        (WELL, ("--option", "nosuid"), WARNING, "is mounted without nosuid"),
        (WELL, ("--without", "hard"), WARNING, "is mounted with hard"),
        (WELL._replace(bricks=(Brick("h:/b", "enough"),)), (), WARNING, "does not reach brick h:/b, a copy"),
        (
            WELL._replace(bricks=(Brick("h:/b", "too few"),)),
            (),
            CRITICAL,
            "does not reach brick h:/b, nor enough of its copies",
        ),
        (WELL._replace(bricks=(Brick("h:/b", "none"),)), (), CRITICAL, "does not reach brick h:/b, which has no copy"),
    ],
)
def test_conditions(mount, argv, state, text):
    assert judged(mount, argv=argv) == [Finding(state, "/x", text), *judged(WELL)[1:]]


def test_gluster():
    unseen = Failed(UNREADABLE, "/x", "read .meta/graphs/active", "it shows no brick")
    assert unseen in judged(WELL._replace(unseen=unseen))
    told = judged(WELL._replace(backlog=3))
    assert Metric("backlog", 3, "/x", detail="at least so many files wait to be healed") in told


def test_what_is_missing_or_not_read():
    failed = Failed(UNREADABLE, "/etc/fstab", "read /etc/fstab", "x")
    stats = Failed(UNREADABLE, "", "read /proc/self/mountstats", "x")
    assert judged(failed, missing={"/y": "there is no such directory"}, fstab=failed, stats=stats) == [
        failed, stats, Finding(CRITICAL, "/y", "is not mounted: there is no such directory"), failed,
    ]  # fmt: skip


TRIAL = Trial("/x/d", "", "", 0o755, 0.02, 50.0, 50.0, 0.01)


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (TRIAL, Metric("write", 0.02, "/x/d")),
        (TRIAL._replace(step="sync", error="Input/output error"), Finding(CRITICAL, "/x/d", "sync failed: Input/output error")),
        (TRIAL._replace(step="create", error="Read-only file system"), Finding(CRITICAL, "/x/d", "create failed: Read-only file system")),
        (TRIAL._replace(error="nothing was written: it lies on /"), Finding(CRITICAL, "/x/d", "nothing was written: it lies on /")),
        (
            TRIAL._replace(step="create", error="Permission denied"),
            Failed("not-allowed", "/x/d", "create a file", "Permission denied", "the right to write there"),
        ),
        (FAILED, FAILED),
    ],
)  # fmt: skip
def test_trials(trial, expected):
    assert judged(trials=(trial,)) == [expected]


# -- first lines ----------------------------------------------------------------------------------------------------------


def line(tmp_path, root, *argv, shift=0.0):
    outcome = CHECK.run([*argv, "--state-dir", str(tmp_path / "state")], root=root, clock=Clock(shift=shift))
    return re.sub(r"=[0-9.]+", "=N", re.sub(r"[0-9.]+(?= m?s\b)", "N", outcome.line))


def test_a_good_one_and_its_perfdata(tmp_path):
    root = tree(tmp_path / "root", NOVA)
    assert re.fullmatch(
        r"SHARED_MOUNT OK - 1 looked at: /srv/nova, rates collecting \| srv_nova_free=NB;;;0;\d+ srv_nova_probe=Ns;1;5",
        line(tmp_path, root),
    )
    tree(tmp_path / "root", NOVA, mountstats=stats(read="1398 1398 0 0 0 6 79586 79807"))
    assert re.fullmatch(
        r"SHARED_MOUNT OK - 1 looked at: /srv/nova \| srv_nova_free=NB;;;0;\d+ srv_nova_probe=Ns;1;5 srv_nova_exec=Ns "
        r"srv_nova_retrans=N% srv_nova_rtt=Ns srv_nova_timeouts_rate=N;0",
        line(tmp_path, root, shift=60),
    )


NOTHING = (
    "SHARED_MOUNT UNKNOWN - no shared file system is mounted, and /etc/fstab lists none: name by --path what should be"
)
LIES = "it lies on / (/dev/sda1, ext4)"


@pytest.mark.parametrize(
    ("lines", "argv", "expected"),
    [
        ((), (), f"{NOTHING} (read /proc/self/mountinfo)"),
        ((), ("--path", "/srv/nova"), "SHARED_MOUNT CRITICAL - /srv/nova is not mounted: there is no such directory"),
        ((), ("--path", "/srv"), f"SHARED_MOUNT CRITICAL - /srv is not mounted: {LIES}"),
        ((), ("--path", "/"), "SHARED_MOUNT CRITICAL - / is not mounted: what is mounted there is /dev/sda1, ext4"),
        ((), ("--preset", "nova_instances"), "SHARED_MOUNT CRITICAL - /var/lib/nova/instances is not mounted: there is no such directory"),
        (
            (NOVA,),
            ("--source", "other.example:*"),
            "SHARED_MOUNT CRITICAL - /srv/nova is mounted from nas.example:/nova, not from other.example:* | ",
        ),
        ((NOVA,), ("--without", "hard"), "SHARED_MOUNT WARNING - /srv/nova is mounted with hard | "),
        ((NOVA,), ("--option", "nosuid"), "SHARED_MOUNT WARNING - /srv/nova is mounted without nosuid | "),
        (
            (NOVA.replace("rw,", "ro,"),),
            (),
            "SHARED_MOUNT CRITICAL - /srv/nova is read-only, and neither /etc/fstab nor --read-only says so | ",
        ),
        ((NOVA,), ("-c", "probe=0",), "SHARED_MOUNT CRITICAL - /srv/nova probe N ms is above N s | "),
        ((GLUSTER,), (), "SHARED_MOUNT UNKNOWN - /srv/gv: No such file or directory (read .meta/graphs/active) | "),
        ((NOVA,), ("--exclude", "/srv/*"), "SHARED_MOUNT UNKNOWN - "),
        (
            (NOVA,),
            ("--write", "/srv"),
            "SHARED_MOUNT CRITICAL - /srv nothing was written: it lies on / (/dev/sda1, ext4), which is not one of the shared mounts looked at | ",
        ),
        (("garbage",), (), "SHARED_MOUNT UNKNOWN - a line is not understood: b'garbage' (read /proc/self/mountinfo)"),
        ((NOVA,), ("--path", "relative"), "SHARED_MOUNT UNKNOWN - "),
    ],
)  # fmt: skip
def test_first_lines(tmp_path, lines, argv, expected):
    root = tree(tmp_path / "root", *lines, make="garbage" not in lines)
    (tmp_path / "root/srv").mkdir(exist_ok=True)
    said = line(tmp_path, root, *argv)
    assert said.startswith(expected) and (expected[-2:] == "- " or said == expected or expected.endswith("| ")), said


@pytest.mark.parametrize(
    ("number", "state", "said"),
    [
        (errno.ESTALE, "CRITICAL", "/srv/nova: Stale file handle (statvfs, mounted from nas.example:/nova)"),
        (
            errno.ENOTCONN,
            "CRITICAL",
            "/srv/nova: Transport endpoint is not connected (statvfs, mounted from nas.example:/nova)",
        ),
        (errno.EIO, "CRITICAL", "/srv/nova: Input/output error (statvfs, mounted from nas.example:/nova)"),
        (
            errno.EACCES,
            "UNKNOWN",
            "/srv/nova: Permission denied (statvfs): needs search and read permission (r-x) for ",
        ),
    ],
)
def test_what_a_server_may_answer(tmp_path, monkeypatch, number, state, said):
    root = tree(tmp_path / "root", NOVA)
    real = os.statvfs

    def broken(path):
        if isinstance(path, bytes) and path.endswith(b"/srv/nova"):
            raise OSError(number, os.strerror(number))
        return real(path)

    monkeypatch.setattr(os, "statvfs", broken)
    assert line(tmp_path, root).startswith(f"SHARED_MOUNT {state} - {said}"), line(tmp_path, root)


def test_a_late_one_is_critical_in_time_and_the_others_are_told(tmp_path, monkeypatch):
    root = tree(
        tmp_path / "root",
        NOVA,
        NOVA.replace("194 21 0:42", "195 21 0:43").replace("/srv/nova", "/srv/other"),
        mountstats=stats() + stats("/srv/other"),
    )
    real = os.stat

    def slow(path, *words, **more):
        if path == os.fsencode(f"{root}/srv/nova"):
            time.sleep(60)
        return real(path, *words, **more)

    monkeypatch.setattr(os, "stat", slow)
    begun = time.monotonic()
    outcome = CHECK.run(["-t", "3", "--state-dir", str(tmp_path / "state")], root=root)
    assert time.monotonic() - begun < 3.5
    assert re.match(
        r"SHARED_MOUNT CRITICAL - /srv/nova: no answer in [12.9]+ s \(stat, statvfs and list\) \| srv_other_",
        outcome.line,
    ), outcome.line
    assert "[OK] /srv/other is mounted from nas.example:/nova (nfs4, writable)" in outcome.text


def test_a_file_is_written_where_asked_and_removed(tmp_path):
    root = tree(tmp_path / "root", NOVA)
    place = tmp_path / "root/srv/nova/probe"
    place.mkdir()
    for parent in (place, *list(place.parents)[:-2]):
        parent.chmod(0o777)  # the trial is made as nobody where the tests run as root
    outcome = CHECK.run(["--write", "/srv/nova/probe", "--state-dir", str(tmp_path / "state")], root=root)
    assert outcome.state == OK, outcome.text
    assert "[OK] /srv/nova/probe write " in outcome.text
    assert os.listdir(place) == []


def test_a_late_mount_is_not_written_to(tmp_path, monkeypatch):
    root = tree(tmp_path / "root", NOVA)
    monkeypatch.setattr(shared_mount, "_look", lambda *_: time.sleep(60))
    outcome = CHECK.run(["--write", "/srv/nova", "-t", "3", "--state-dir", str(tmp_path / "state")], root=root)
    assert outcome.state == CRITICAL
    assert "write" not in outcome.text
