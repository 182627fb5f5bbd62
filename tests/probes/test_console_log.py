# SPDX-License-Identifier: Apache-2.0
"""Instance directories as Nova (<instances_path>/<uuid>) and the Eucalyptus NC (work/<account>/<instance>) make them."""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run, child
from nephoscope.probes import console_log

A, B = "7f3c1d2e-0000-4000-8000-00000000000a", "7f3c1d2e-0000-4000-8000-00000000000b"
DROPS = os.geteuid() == 0


def log(root, path, size):
    place = root / path.lstrip("/")
    place.mkdir(parents=True, exist_ok=True)
    with open(place / "console.log", "wb") as file:
        file.truncate(size)


def survey(root, *paths, before=None, shift=0.0):
    return console_log.survey(Run(8, before, root=str(root), clock=Clock(shift)), paths)


@pytest.fixture
def nova(tmp_path):
    log(tmp_path, f"{console_log.NOVA}/{A}", 1000)
    log(tmp_path, f"{console_log.NOVA}/{B}", 5_500_000_000)
    for name in ("_base", "locks", "lost+found", ".snapshot/hourly.0/" + A):
        (tmp_path / console_log.NOVA[1:] / name).mkdir(parents=True)
    log(tmp_path, f"{console_log.NOVA}/.snapshot/hourly.0/{A}", 99)
    return tmp_path


def test_nova(nova):
    (store,) = survey(nova).stores
    assert store == console_log.Store(
        console_log.NOVA,
        2,
        (console_log.Log(B, 5_500_000_000, COLLECTING), console_log.Log(A, 1000, COLLECTING)),
        None,
    )


def test_eucalyptus_and_an_instance_without_a_log(tmp_path):
    log(tmp_path, f"{console_log.EUCALYPTUS}/AIDAEXAMPLE/i-0a1b2c3d", 70)
    (tmp_path / console_log.EUCALYPTUS[1:] / "AIDAEXAMPLE/i-silent").mkdir()
    above = console_log.EUCALYPTUS[: -len("/work")]
    log(tmp_path, f"{above}/cache/i-is-an-image", 7)
    for path, asked in ((console_log.EUCALYPTUS, ()), (above, (above,))):
        (store,) = survey(tmp_path, *asked).stores
        assert (store.path, store.instances) == (path, 2)
        assert store.logs == (console_log.Log("i-0a1b2c3d", 70, COLLECTING),)


def test_both_and_neither(nova):
    log(nova, f"{console_log.EUCALYPTUS}/AIDAEXAMPLE/i-0a1b2c3d", 70)
    assert [store.path for store in survey(nova).stores] == [console_log.NOVA, console_log.EUCALYPTUS]
    with pytest.raises(Failed) as caught:
        survey(nova / "var")
    assert caught.value.kind == ABSENT


def test_a_path_asked_for_that_is_not_there(nova):
    first, second = survey(nova, console_log.NOVA, "/srv/instances").stores
    assert len(first.logs) == 2
    assert second == Failed(ABSENT, "/srv/instances", console_log.TRIED, "No such file or directory")


def test_growth_of_what_was_seen_before(nova):
    log(nova, f"{console_log.NOVA}/i-same", 9)
    first = survey(nova)
    log(nova, f"{console_log.NOVA}/{A}", 61_000)
    log(nova, f"{console_log.NOVA}/{B}", 10)  # cut
    log(nova, f"{console_log.NOVA}/i-new", 10)
    (store,) = survey(nova, before=first.keep(), shift=60).stores
    growth = {one.instance: one.growth for one in store.logs}
    assert growth == {A: pytest.approx(1000, rel=0.02), B: COLLECTING, "i-new": COLLECTING, "i-same": 0.0}


def test_a_forced_check_a_moment_later_keeps_the_older_sample(nova):
    first = survey(nova)
    log(nova, f"{console_log.NOVA}/{A}", 61_000)
    second = survey(nova, before=first.keep(), shift=5)
    assert {one.growth for one in second.stores[0].logs} == {COLLECTING}
    assert second.keep() == first.keep()
    (store,) = survey(nova, before=second.keep(), shift=60).stores
    assert store.logs[-1].growth == pytest.approx(1000, rel=0.02)


KEPT = console_log.NOVA


@pytest.mark.parametrize("before", [5, {KEPT: 5}, {KEPT: [1, {"a": None}]}, {KEPT: [9e12, {A: 1}]}])
def test_damaged_state_begins_anew(nova, before):
    assert {one.growth for one in survey(nova, before=before).stores[0].logs} == {COLLECTING}


def test_a_link_that_leaves_the_store_and_a_pipe_are_instances_whose_log_nobody_knows(nova):
    store = nova / console_log.NOVA[1:]
    for name in ("link", "gone", "pipe", "directory"):
        (store / f"i-{name}").mkdir()
    os.symlink("/etc/passwd", store / "i-link/console.log")
    os.symlink(store / "nowhere", store / "i-gone/console.log")
    os.mkfifo(store / "i-pipe/console.log")
    (store / "i-directory/console.log").mkdir()
    (seen,) = survey(nova).stores
    assert [one.instance for one in seen.logs] == [B, A]
    assert seen.instances == 6
    assert seen.odd == {
        "i-link": "a link to /etc/passwd",
        "i-gone": f"a link to {store}/nowhere, which is not there",
        "i-pipe": "a pipe",
        "i-directory": "no file",
    }


def test_a_store_of_nothing_but_links_is_not_an_empty_one(tmp_path):
    (tmp_path / "srv/i-1").mkdir(parents=True)
    os.symlink("/etc/passwd", tmp_path / "srv/i-1/console.log")
    (seen,) = survey(tmp_path, "/srv").stores
    assert (seen.instances, seen.logs, seen.odd) == (1, (), {"i-1": "a link to /etc/passwd"})


def test_a_link_within_the_store_is_followed_and_what_is_thrown_away_weighs_nothing(nova):
    store = nova / console_log.NOVA[1:]
    for name in ("link", "null"):
        (store / f"i-{name}").mkdir()
    (store / "_logs").mkdir()
    (store / "_logs/1").write_bytes(b"x" * 12)
    os.symlink("../_logs/1", store / "i-link/console.log")
    os.symlink("/dev/null", store / "i-null/console.log")
    # The store may itself be reached by a link.
    os.symlink(store, nova / "instances")
    for asked in (console_log.NOVA, "/instances"):
        (seen,) = survey(nova, asked).stores
        assert {one.instance: one.size for one in seen.logs[2:]} == {"i-link": 12, "i-null": 0}
        assert seen.odd == {}


def test_too_many_directories_are_refused(nova, monkeypatch):
    monkeypatch.setattr(console_log, "LIMIT", 3)
    assert survey(nova).stores[0] == Failed(UNREADABLE, console_log.NOVA, console_log.TRIED, "more than 3 directories")


def as_somebody(action):
    """Run an action as nobody when this is root, who may read everything, in a child; return what it gives."""

    def job():
        if DROPS:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        return action()

    return child.each(Run(), {"x": job}, tried="x")["x"]


@pytest.fixture
def open_folder():
    path = tempfile.mkdtemp(dir="/tmp")
    os.chmod(path, 0o755)
    yield path
    os.system(f"chmod -R u+rwx {path}")
    shutil.rmtree(path)


def test_a_store_that_may_not_be_listed_is_not_an_empty_one(open_folder):
    os.mkdir(f"{open_folder}/store", 0o000)
    failed = as_somebody(lambda: console_log._scan(f"{open_folder}/store", "/store"))
    assert isinstance(failed, Failed) and failed.kind == NOT_ALLOWED
    assert "setfacl" in failed.cure


def test_an_instance_that_may_not_be_entered_is_not_a_small_one(open_folder):
    os.mkdir(f"{open_folder}/i-open", 0o755)
    with open(f"{open_folder}/i-open/console.log", "w") as file:
        file.write("x" * 7)
    os.mkdir(f"{open_folder}/i-shut", 0o000)
    count, found, hidden, odd = as_somebody(lambda: console_log._scan(open_folder, "/store"))
    assert (count, found, odd) == (1, {"i-open": 7}, {})
    assert hidden[:2] == [NOT_ALLOWED, "/store"]
    assert hidden[3] == "1 of its directories may not be entered, i-shut for one"


def test_a_name_that_is_no_utf8(tmp_path):
    place = os.fsencode(tmp_path) + b"/srv/i-\xff"
    os.makedirs(place)
    with open(place + b"/console.log", "wb") as file:
        file.write(b"x")
    assert survey(tmp_path, "/srv").stores[0].logs[0].instance == "i-\\xff"
