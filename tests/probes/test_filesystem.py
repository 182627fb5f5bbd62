# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import pwd
import tempfile
import time

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, Failed, Run
from nephoscope.probes import filesystem


def me():
    """The account that may write where these tests write: as root the default would be nobody."""
    return "root" if os.geteuid() == 0 else ""


def trial(path, **words):
    (answer,) = filesystem.write_trials([str(path)], Run(), **{"user": me(), **words})
    return answer


def test_a_good_directory(tmp_path):
    answer = trial(tmp_path)
    assert (answer.path, answer.step, answer.error) == (str(tmp_path), "", "")
    assert answer.mode == tmp_path.stat().st_mode & 0o7777
    assert 0 < answer.seconds < 5
    assert 0 < answer.free <= 100
    room = os.statvfs(tmp_path)
    if room.f_files:
        assert answer.inodes_free == pytest.approx(100 * room.f_favail / room.f_files, abs=1)
    assert os.listdir(tmp_path) == []


def test_several_directories_keep_their_order_and_their_own_answers(tmp_path):
    gone, good = str(tmp_path / "gone"), str(tmp_path)
    first, second = filesystem.write_trials([gone, good], Run(), user=me())
    assert (first.path, first.step, first.error, first.mode) == (gone, "create", "No such file or directory", 0)
    assert (first.free, first.inodes_free) == (None, None)
    assert (second.path, second.step) == (good, "")


def test_a_file_in_the_place_of_the_directory(tmp_path):
    place = tmp_path / "file"
    place.write_text("x")
    answer = trial(place)
    assert (answer.step, answer.error) == ("create", "Not a directory")


def test_a_directory_that_the_account_may_not_write_to(tmp_path):
    place = tmp_path / "closed"
    place.mkdir(mode=0o500)
    # As root the trial is made by nobody, who can't even enter: that is the finding.
    (answer,) = filesystem.write_trials([str(place)], Run())
    assert (answer.step, answer.error) == ("create", "Permission denied")


def test_a_path_that_is_no_utf8_and_has_a_pipe_a_quote_and_a_newline(tmp_path):
    place = os.fsencode(tmp_path) + b"/a|'\"\n\xff"
    os.mkdir(place)
    answer = trial(os.fsdecode(place))
    assert (answer.path, answer.step) == (os.fsdecode(place), "")


def test_bytes_that_come_back_changed_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: b"\0" * 4096)
    answers = filesystem._trial(str(tmp_path), str(tmp_path), me())
    assert answers[:2] == ["read back", "other bytes than were written"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("name", "step"), [("write", "write"), ("fsync", "sync"), ("unlink", "remove")])
def test_each_step_is_named_when_it_fails(tmp_path, monkeypatch, name, step):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, fail)
    answers = filesystem._trial(str(tmp_path), str(tmp_path), me())
    assert answers[:2] == [step, "No space left on device"]


def test_what_trials_that_were_given_up_left_behind_is_removed_by_the_next_one(tmp_path, monkeypatch):
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: time.sleep(30)
    )  # a disk that is slow, and lets itself be killed
    for _ in range(3):
        assert isinstance(trial(tmp_path, seconds=0.2), Failed)
    assert len(os.listdir(tmp_path)) == 3
    for name in os.listdir(tmp_path):
        os.utime(tmp_path / name, (time.time() - 61,) * 2)
    trial(tmp_path, seconds=0.2)
    assert len(os.listdir(tmp_path)) == 1, "each trial removes the remains first, whatever comes of it"
    monkeypatch.setattr(os, "fsync", real)
    assert trial(tmp_path).error == ""
    assert len(os.listdir(tmp_path)) == 1, "a file this young may belong to a trial that is under way"


def test_only_our_own_old_remains_are_removed(tmp_path):
    old = (time.time() - 3600,) * 2
    (tmp_path / ".nephoscope-young").touch()
    (tmp_path / ".nephoscope-directory").mkdir()
    (tmp_path / ".nephoscope-large").write_bytes(b"x" * 4097)
    (tmp_path / "another").touch()
    os.symlink("another", tmp_path / ".nephoscope-link")
    os.mkfifo(tmp_path / ".nephoscope-pipe")
    kept = sorted(os.listdir(tmp_path))
    (tmp_path / ".nephoscope-old").write_bytes(b"x" * 4096)
    for name in os.listdir(tmp_path):
        if name != ".nephoscope-young":
            os.utime(tmp_path / name, old, follow_symlinks=False)
    assert trial(tmp_path).error == ""
    assert sorted(os.listdir(tmp_path)) == kept


def test_one_trial_removes_a_bounded_number_of_remains(tmp_path):
    for number in range(130):
        (tmp_path / f".nephoscope-{number}").touch()
        os.utime(tmp_path / f".nephoscope-{number}", (0, 0))
    trial(tmp_path)
    assert len(os.listdir(tmp_path)) == 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make another account's file")
def test_another_accounts_remains_are_its_own(tmp_path):
    place = tmp_path / ".nephoscope-theirs"
    place.touch()
    os.utime(place, (0, 0))
    os.chown(place, 65534, 65534)
    trial(tmp_path)
    assert place.exists()


def test_a_directory_that_may_be_written_and_not_listed_is_tried_all_the_same(tmp_path):
    place = tmp_path / "drop"
    place.mkdir(mode=0o300)
    assert trial(place).error == ""


def test_an_unknown_account(tmp_path):
    failed = trial(tmp_path, user="no-such-account")
    assert isinstance(failed, Failed) and failed.kind == ABSENT
    assert failed.args[1:4] == (str(tmp_path), "become no-such-account", "no such account")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")
def test_another_account_without_the_right(tmp_path):
    failed = trial(tmp_path, user="root")
    assert isinstance(failed, Failed) and failed.kind == NOT_ALLOWED
    assert "sudo -n -u root" in failed.cure


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another account")
def test_root_tries_as_nobody_and_as_the_account_asked_for():
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o755)
        (answer,) = filesystem.write_trials([place], Run())
        assert (answer.step, answer.error) == ("create", "Permission denied")
        daemon = pwd.getpwnam("daemon")
        os.chown(place, daemon.pw_uid, daemon.pw_gid)
        (answer,) = filesystem.write_trials([place], Run(), user="daemon")
        assert (answer.step, answer.error) == ("", "")
        assert os.geteuid() == 0
