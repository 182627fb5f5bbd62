# SPDX-License-Identifier: Apache-2.0
"""Following log files: offsets, rotation in every way, budgets, strange bytes; each byte once."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import shutil
import time
from pathlib import Path

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run, child
from nephoscope.probes import log_rotation, logfile
from nephoscope.probes.log_lines import Wanted
from nephoscope.probes.logfile import Asked, Log


class Watch:
    """Runs over one log, the state going through JSON from run to run as the frame does it."""

    def __init__(self, path: Path | str, asked: Asked | None = None) -> None:
        self.path, self.asked = str(path), asked or Asked(Wanted(form="oslo", requests=True))
        self.state: object = None
        self.shift = 0.0

    def all(self) -> list[object]:
        run = Run(60, clock=Clock(self.shift))
        logs, state, _ = logfile.look(run, [self.path], self.asked, self.state)
        self.state = json.loads(json.dumps(state))
        return logs

    def __call__(self) -> Log:
        (log,) = self.all()
        assert isinstance(log, Log), log
        return log


def line(number: int, level: str = "ERROR") -> bytes:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"{stamp}.{number % 1000:03d} 4711 {level} nova.x [req-{number:08x}-1111-4222-8333-123456789abc] n{number}\n".encode()


def lines(first: int, last: int, level: str = "ERROR") -> bytes:
    return b"".join(line(number, level) for number in range(first, last))


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "nova.log"
    path.write_bytes(lines(0, 10))
    return path


def test_only_what_is_new_is_read_and_counts_stay_for_a_period(log: Path) -> None:
    watch = Watch(log)
    first = watch()
    assert (first.counts["error"], first.lines, first.since) == (10, 10, None)
    assert first.notes == ("first look: the lines of the last 10 min",)
    assert first.bytes == log.stat().st_size
    append(log, lines(10, 13))
    second = watch()
    assert (second.counts["error"], second.lines, second.bytes) == (13, 13, log.stat().st_size)
    assert second.notes == ()
    watch.shift = 601
    assert (watch().counts["error"], watch().lines) == (0, 13)


def test_the_first_run_judges_the_last_period_only(tmp_path: Path) -> None:
    log = tmp_path / "nova.log"
    now = time.time()
    with log.open("wb") as file:
        for number in range(20000):
            at = now - 20000 + number
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
            file.write(f"{stamp}.000 1 ERROR nova.x [-] {'y' * 60} {number}\n".encode())
    counted = Watch(log)().counts["error"]
    meanwhile = int(time.time() - now)  # what left the period while the log was written
    assert 599 - meanwhile <= counted <= 602


def test_the_first_run_of_a_log_that_has_been_quiet_counts_nothing(tmp_path: Path) -> None:
    log = tmp_path / "nova.log"
    log.write_bytes(b"2020-01-01 10:00:00.000 1 ERROR nova.x [-] old\n" * 20000)
    watch = Watch(log)
    assert watch().counts["error"] == 0
    append(log, line(1))
    assert watch().counts["error"] == 1


def test_the_first_run_reads_64_mib_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "FIRST", 1 << 20)
    log = tmp_path / "nova.log"
    log.write_bytes(lines(0, 20000))
    seen = Watch(log)()
    assert seen.notes == ("first look: only the last 1 MiB",)
    assert (1 << 20) - 200 < seen.bytes <= 1 << 20
    assert seen.lines == seen.counts["error"] == seen.bytes // len(line(0)) or seen.lines == seen.counts["error"]


def test_a_first_run_over_lines_without_time(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"ERROR nothing\nelse\n")
    seen = Watch(log, Asked(Wanted()))()
    assert seen.notes == ("first look: the whole file, its lines carry no time",)
    assert (seen.lines, seen.levelled) == (2, False)


def rename(log: Path) -> None:
    log.rename(f"{log}.1")


def rename_dated(log: Path) -> None:
    log.rename(f"{log}-20261121")


def rename_extension(log: Path) -> None:
    log.rename(log.with_name("nova.1.log"))


def rename_gzip(log: Path) -> None:
    Path(f"{log}.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()


def rename_xz(log: Path) -> None:
    Path(f"{log}.1.xz").write_bytes(lzma.compress(log.read_bytes()))
    log.unlink()


def rename_bzip2(log: Path) -> None:
    Path(f"{log}-20261121.bz2").write_bytes(bz2.compress(log.read_bytes()))
    log.unlink()


def copy_truncate(log: Path) -> None:
    shutil.copyfile(log, f"{log}.1")
    os.truncate(log, 0)


def copy_truncate_gzip(log: Path) -> None:
    Path(f"{log}.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    os.truncate(log, 0)


WAYS = [rename, rename_dated, rename_extension, rename_gzip, rename_xz, rename_bzip2, copy_truncate, copy_truncate_gzip]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", [0, 1, 500])
def test_rotation_loses_nothing_and_counts_nothing_twice(log: Path, way, after: int) -> None:
    watch = Watch(log)
    assert watch().lines == 10
    append(log, lines(10, 15))
    way(log)
    append(log, lines(15, 15 + after))
    log.touch()
    seen = watch()
    assert (seen.lines, seen.counts["error"], seen.gap) == (15 + after, 15 + after, "")
    assert watch().lines == 15 + after
    append(log, lines(600, 607))
    assert (watch().lines, watch().gap) == (22 + after, "")


@pytest.mark.parametrize("way", [rename, copy_truncate])
def test_several_rotations_between_two_runs(log: Path, way) -> None:
    watch = Watch(log)
    watch()
    total = 10
    for turn in range(5):
        append(log, lines(total, total + 7))
        total += 7
        for number in range(turn, 0, -1):
            if number == 1:  # delaycompress
                Path(f"{log}.2.gz").write_bytes(gzip.compress(Path(f"{log}.1").read_bytes()))
                Path(f"{log}.1").unlink()
            else:
                Path(f"{log}.{number}.gz").rename(f"{log}.{number + 1}.gz")
        way(log)
    append(log, lines(total, total + 3))
    seen = watch()
    assert (seen.lines, seen.gap) == (total + 3, "")


def test_what_logrotate_found_in_its_place_and_put_aside_is_read(log: Path) -> None:
    watch = Watch(log)
    watch()
    rename(log)
    stray = Path(f"{log}-2026112112.backup")
    stray.write_bytes(lines(10, 13))
    log.write_bytes(lines(13, 15))
    assert (watch().lines, watch().gap) == (15, "")
    Path(f"{log}.1").rename(f"{log}.2")
    rename(log)
    log.write_bytes(lines(15, 16))
    assert (watch().lines, watch().lines) == (16, 16)
    log.rename(f"{log}-2026112113.backup")
    log.write_bytes(lines(16, 17))
    assert (watch().lines, watch().gap) == (17, "")


def test_a_writer_that_has_not_reopened_yet_is_followed(log: Path) -> None:
    watch = Watch(log)
    watch()
    with log.open("ab") as old:
        log.rename(f"{log}.1")
        log.write_bytes(lines(10, 12))
        assert watch().lines == 12
        old.write(lines(12, 20))
        old.flush()
        append(log, lines(20, 21))
        assert watch().lines == 21
        old.write(b"half")
        old.flush()
        assert watch().lines == 21
        old.write(b" a line\n")
        old.flush()
        assert watch().lines == 22
    Path(f"{log}.1").rename(f"{log}.2")
    log.rename(f"{log}.1")
    log.write_bytes(lines(30, 31))
    assert (watch().lines, watch().gap) == (23, "")


def test_a_last_line_without_its_end_is_counted_once_when_its_file_is_done(log: Path) -> None:
    watch = Watch(log)
    watch()
    append(log, line(10)[:-1])
    assert watch().lines == 10
    rename_gzip(log)
    log.touch()
    assert (watch().lines, watch().lines) == (11, 11)


def test_a_partial_last_line_waits_for_its_end(log: Path) -> None:
    watch = Watch(log)
    watch()
    whole = line(10)
    for cut in (1, 20, 30, len(whole) - 1):
        append(log, whole[:cut])
        assert watch().lines == 10
        os.truncate(log, log.stat().st_size - cut)
    append(log, whole)
    assert watch().counts["error"] == 11


def test_a_file_cut_and_grown_beyond_the_offset_is_noticed(log: Path) -> None:
    watch = Watch(log)
    watch()
    shutil.copyfile(log, f"{log}.1")
    log.write_bytes(lines(100, 150))
    assert (watch().lines, watch().gap) == (60, "")


def test_an_inode_used_again_is_another_file(log: Path) -> None:
    watch = Watch(log)
    watch()
    # The same inode with other content, longer than before, and the old content under another one: what a freed inode
    # that is given to the new log looks like.
    shutil.copyfile(log, f"{log}.1")
    append(Path(f"{log}.1"), lines(10, 14))
    inode = log.stat().st_ino
    log.write_bytes(lines(200, 230))
    assert log.stat().st_ino == inode
    assert (watch().lines, watch().gap) == (44, "")


def test_an_archive_under_the_current_inode_is_not_read_twice(log: Path) -> None:
    watch = Watch(log)
    watch()
    rename(log)
    log.write_bytes(lines(10, 15))
    os.link(log, f"{log}.0")
    assert (watch().lines, watch().lines) == (15, 15)


def test_lines_cut_off_by_copytruncate_after_they_were_read_are_no_gap(tmp_path: Path) -> None:
    log = tmp_path / "nova.log"
    log.write_bytes(lines(0, 20))
    watch = Watch(log)
    watch()
    shutil.copyfile(log, f"{log}.1")
    append(log, lines(20, 25))  # between logrotate's copy and its truncation
    assert watch().lines == 25
    os.truncate(log, 0)
    append(log, lines(25, 27))
    assert (watch().lines, watch().gap) == (27, "")


def test_a_gap_is_said_for_one_period(log: Path) -> None:
    watch = Watch(log)
    watch()
    log.unlink()
    log.write_bytes(lines(50, 53))
    seen = watch()
    assert seen.gap == "the file that was read last time is gone, or its archive can't be read"
    assert seen.lines == 13
    watch.shift = 300
    assert watch().gap == "within the period a file was gone before it had been read"
    watch.shift = 601
    assert watch().gap == ""


def test_a_damaged_or_unknown_archive_is_a_gap(log: Path) -> None:
    watch = Watch(log)
    watch()
    append(log, lines(10, 12))
    rename_gzip(log)
    Path(f"{log}.1.gz").write_bytes(Path(f"{log}.1.gz").read_bytes()[:40])
    log.write_bytes(lines(20, 21))
    assert watch().gap != ""


def test_archives_elsewhere_are_found_when_told(log: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    watch = Watch(log, Asked(Wanted(), archives=(str(old),)))
    watch()
    append(log, lines(10, 12))
    log.rename(old / "nova.log.1")
    log.write_bytes(lines(12, 13))
    assert (watch().lines, watch().gap) == (13, "")


def test_a_missing_log_whose_archive_is_there_says_so(log: Path) -> None:
    watch = Watch(log)
    watch()
    append(log, lines(10, 12))
    rename(log)
    seen = watch()
    assert (seen.lines, seen.missing) == (12, True)
    log.write_bytes(lines(12, 14))
    seen = watch()
    assert (seen.lines, seen.missing, seen.gap) == (14, False, "")


def test_a_log_that_vanishes_is_absent_and_its_state_survives(log: Path) -> None:
    watch = Watch(log)
    watch()
    content = log.read_bytes()
    log.rename(log.with_name("elsewhere"))
    (failed,) = watch.all()
    assert isinstance(failed, Failed) and failed.kind == ABSENT
    log.with_name("elsewhere").rename(log)
    assert log.read_bytes() == content
    assert watch().lines == 10


def test_similar_names_are_no_archives(log: Path) -> None:
    for name in ("nova-api.log", "nova.log.bak", "nova.log.conf", "nova-api.log.1", "nova.logfile.1", "nova.log~"):
        log.with_name(name).write_bytes(b"x\n")
    names = (
        "nova.log.1",
        "nova.log.2.gz",
        "nova.log-20261120.xz",
        "nova.1.log",
        "nova-20261119.log.gz",
        "nova.log.old",
    )
    for name in names[:2]:
        log.with_name(name).write_bytes(b"x\n")
    assert log_rotation.archives(str(log), ()) == [
        str(log.with_name("nova.log.2.gz")),
        str(log.with_name("nova.log.1")),
    ]
    log.with_name("nova.log.10").write_bytes(b"x\n")
    assert [Path(name).name for name in log_rotation.archives(str(log), ())] == [
        "nova.log.10",
        "nova.log.2.gz",
        "nova.log.1",
    ]


def test_while_it_is_compressed_the_plain_file_counts(log: Path) -> None:
    watch = Watch(log)
    watch()
    append(log, lines(10, 12))
    rename(log)
    Path(f"{log}.1.gz").write_bytes(gzip.compress(Path(f"{log}.1").read_bytes())[:30])
    log.write_bytes(b"")
    assert (watch().lines, watch().gap) == (12, "")


def test_binary_garbage_and_invalid_utf_8(log: Path) -> None:
    watch = Watch(log)
    watch()
    append(
        log, os.urandom(100_000).replace(b"\n", b"x") + b"\n" + lines(10, 11) + b"\xff\xfe\x00 ERROR \n" + lines(11, 12)
    )
    seen = watch()
    assert (seen.lines, seen.counts["error"]) == (14, 12)


def test_lines_of_10_mb_are_counted_once_each(log: Path) -> None:
    watch = Watch(log)
    watch()
    huge = line(10)[:-1] + b" ERROR x" * 1_300_000
    append(log, huge[:6_000_000])
    watch()
    append(log, huge[6_000_000:])
    watch()
    append(log, b" and its end\n" + lines(11, 13))
    seen = watch()
    assert (seen.lines, seen.counts["error"]) == (13, 13)
    assert seen.bytes == log.stat().st_size


def test_a_hole_left_by_a_writer_without_append(log: Path) -> None:
    watch = Watch(log)
    with log.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        watch()
        shutil.copyfile(log, f"{log}.1")
        os.truncate(log, 0)
        file.write(lines(10, 14))
        file.flush()
        seen = watch()
        assert (seen.lines, seen.counts["error"], seen.gap) == (14, 14, "")


def test_the_allowance_is_kept_and_the_rest_is_said(log: Path) -> None:
    watch = Watch(log, Asked(Wanted(), most=1 << 20))
    watch()
    append(log, lines(0, 30000))
    size = log.stat().st_size
    seen = watch()
    assert 0 < seen.behind < size and seen.bytes + seen.behind + len(line(0)) >= size
    turns = 0
    while watch().behind:
        turns += 1
        assert turns < 10
    assert (watch().lines, watch().bytes) == (30010, size)


def test_the_allowance_ends_within_rotated_files(log: Path) -> None:
    watch = Watch(log, Asked(Wanted(), most=300_000))
    watch()
    append(log, lines(10, 5000))
    rename(log)
    append(log, lines(5000, 9000))
    Path(f"{log}.1").rename(f"{log}.2")
    rename(log)
    append(log, lines(9000, 9100))
    turns = 0
    while watch().behind:
        turns += 1
        assert turns < 20
    assert turns >= 2
    assert (watch().lines, watch().gap) == (9100, "")


def test_one_line_longer_than_the_allowance_does_not_stop_it(log: Path) -> None:
    watch = Watch(log, Asked(Wanted(), most=300_000))
    watch()
    append(log, b"x" * 900_000)
    for _ in range(5):
        watch()
    append(log, b"\n" + lines(10, 12))
    for _ in range(5):
        seen = watch()
    assert (seen.lines, seen.counts["error"], seen.behind) == (13, 12, 0)


def test_the_deadline_stops_reading_and_what_is_left_is_said(log: Path) -> None:
    watch = Watch(log)
    watch()
    append(log, lines(10, 10000))
    run = Run(0.0)
    (seen,), watch.state, _ = logfile.look(run, [str(log)], watch.asked, watch.state)
    assert seen.behind > 0
    assert watch().lines == 10000


def test_a_read_is_never_larger_than_a_block(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: asked_for.append(size) or pread(fd, size, at))
    append(log, lines(10, 20000))
    Watch(log)()
    assert max(asked_for) <= log_rotation.BLOCK


def test_state_that_is_damaged_is_a_new_beginning(log: Path) -> None:
    watch = Watch(log)
    for damage in (
        3,
        "x",
        {"marks": 3},
        {"marks": [[1, 2]]},
        {"marks": [["a"] * 7]},
        {"marks": [[1, 2, -3, 0, 0, [0, ""], [0, ""]]]},
    ):
        watch.state = {str(log): damage}
        assert watch().counts["error"] == 10


def test_globs_find_logs_leave_out_archives_and_tell_what_vanished(tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "a.log.1", "b.log-20261121", "c.log.1.gz", ".hidden.log"):
        (tmp_path / name).write_bytes(lines(0, 1))
    run = Run(60)
    assert logfile.expand(run, f"{tmp_path}/*") == [f"{tmp_path}/a.log", f"{tmp_path}/b.log"]
    assert logfile.expand(run, f"{tmp_path}/*.log") == [f"{tmp_path}/a.log", f"{tmp_path}/b.log"]
    assert logfile.expand(run, f"{tmp_path.parent}/{tmp_path.name[:-1]}[0-9]/[a].log") == [f"{tmp_path}/a.log"]
    watch = Watch(f"{tmp_path}/*.log")
    assert len(watch.all()) == 2
    (tmp_path / "a.log").unlink()
    (tmp_path / "a.log.1").unlink()
    gone = [entry for entry in watch.all() if isinstance(entry, Failed)]
    assert [(entry.kind, entry.of) for entry in gone] == [(ABSENT, f"{tmp_path}/a.log")]
    watch.shift = 700
    assert len(watch.all()) == 1


def test_a_glob_that_matches_nothing(tmp_path: Path) -> None:
    (failed,) = Watch(f"{tmp_path}/*.log").all()
    assert isinstance(failed, Failed) and failed.kind == ABSENT
    (tmp_path / "a.log").write_bytes(b"")
    logs, _, _ = logfile.look(Run(60), [f"{tmp_path}/*.log", f"{tmp_path}/*.txt"], Asked(Wanted()), None)
    assert [type(entry).__name__ for entry in logs] == ["Unmatched", "Log"]


def test_many_patterns_that_match_nothing_are_one_finding_in_plain_words(tmp_path: Path) -> None:
    patterns = [f"{tmp_path}/syslo[g]", f"{tmp_path}/nova/*.log", f"{tmp_path}/message[s]"]
    ((failed,), _, _) = logfile.look(Run(60), patterns, Asked(Wanted()), None)
    assert (failed.kind, failed.of) == (ABSENT, "")
    assert failed.error == (
        f"none of 3 log patterns matches a file: {tmp_path}/syslog, {tmp_path}/nova/*.log, {tmp_path}/messages"
    )
    (tmp_path / "syslog").touch()
    logs, _, _ = logfile.look(Run(60), patterns, Asked(Wanted()), None)
    assert logs[0] == logfile.Unmatched(f"{tmp_path}/nova/*.log, {tmp_path}/messages")


def test_access_logs_of_a_web_server_are_named_only_by_a_pattern_that_says_so(tmp_path: Path) -> None:
    for name in ("keystone.log", "keystone-apache-public-access.log", "httpd_access_log"):
        (tmp_path / name).touch()
    assert logfile.expand(Run(60), f"{tmp_path}/*") == [f"{tmp_path}/keystone.log"]
    assert logfile.expand(Run(60), f"{tmp_path}/*access.log") == [f"{tmp_path}/keystone-apache-public-access.log"]
    with pytest.raises(Failed, match="only access logs"):
        logfile.expand(Run(60), f"{tmp_path}/httpd*")


def test_what_vanished_between_two_runs_that_are_far_apart_is_told_once(tmp_path: Path) -> None:
    for name in ("a.log", "b.log"):
        (tmp_path / name).write_bytes(lines(0, 1))
    watch = Watch(f"{tmp_path}/*.log")
    assert len(watch.all()) == 2
    (tmp_path / "a.log").unlink()
    watch.shift = 1800
    gone = [entry for entry in watch.all() if isinstance(entry, Failed)]
    assert [(entry.kind, entry.of) for entry in gone] == [(ABSENT, f"{tmp_path}/a.log")]
    watch.shift = 3600
    assert len(watch.all()) == 1


def test_where_a_file_server_hangs_the_others_are_read_and_no_place_is_lost(tmp_path: Path) -> None:
    for name in ("dead", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.log").write_bytes(lines(0, 2))
    (tmp_path / "proc/self").mkdir(parents=True)
    table = "1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /dead rw - nfs4 nas:/logs rw\n"
    (tmp_path / "proc/self/mountinfo").write_text(table)
    patterns = ["/dead/*.log", "/good/x.log"]
    logs, state, _ = logfile.look(Run(60, root=str(tmp_path)), patterns, Asked(Wanted()), None)
    assert [log.counts["error"] for log in logs] == [2, 2]
    append(tmp_path / "dead/x.log", lines(2, 5))
    # A child that was left behind: any process that lives.
    left = {"/dead/*.log": [os.getpid(), child.start_time(os.getpid()), time.time() - 1800]}
    run = Run(60, root=str(tmp_path), hung=left)
    logs, state, _ = logfile.look(run, patterns, Asked(Wanted()), state)
    assert isinstance(logs[0], Failed) and (logs[0].kind, logs[0].of) == (UNREACHABLE, "/dead/*.log")
    assert "hung for 30 min" in logs[0].error
    assert [log.path for log in logs[1:]] == ["/good/x.log"]
    logs, _, _ = logfile.look(Run(60, root=str(tmp_path)), patterns, Asked(Wanted()), state)
    assert [(log.lines, log.notes) for log in logs] == [(5, ()), (2, ())], "read on, not looked at for the first time"


def test_a_log_that_changes_to_a_format_that_is_not_understood_does_not_stay_well(log: Path) -> None:
    watch = Watch(log, Asked(Wanted()))
    assert watch().levelled is True
    for hour in range(1, 24):
        watch.shift = hour * 3600
        append(log, b'{"level": "ERROR", "message": "boom"}\n' * 100)
        assert watch().levelled is True
    watch.shift = 26 * 3600
    append(log, b'{"level": "ERROR", "message": "boom"}\n')
    assert watch().levelled is False
    append(log, lines(0, 1))
    assert watch().levelled is True


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        (failed,) = Watch(path).all()
        assert isinstance(failed, Failed) and failed.kind == UNREADABLE, path


def test_a_missing_right_names_the_group_that_has_it(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"")
    log.chmod(0o640)
    try:
        os.chown(log, -1, 4)  # adm
        group = "group adm (usermod -aG adm nagios)"
    except PermissionError:
        group = "membership of group"
    failed = logfile.refused(str(log), PermissionError(13, "Permission denied"))
    assert failed.kind == NOT_ALLOWED
    assert group in failed.cure and f"setfacl -m u:nagios:r {log}" in failed.cure
    log.chmod(0o600)
    failed = logfile.refused(str(log), PermissionError(13, "Permission denied"))
    assert "group" not in failed.cure and "setfacl" in failed.cure


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_that_may_not_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o000)
    (failed,) = Watch(f"{tmp_path}/d/*.log").all()
    assert isinstance(failed, Failed) and failed.kind == NOT_ALLOWED


def test_age_is_that_of_the_content_not_of_a_file_rotation_has_just_made(log: Path) -> None:
    old = time.time() - 5000
    os.utime(log, (old, old))
    watch = Watch(log)
    assert 4999 < watch().age < 5010  # type: ignore[operator]
    rename(log)
    log.write_bytes(b"")
    assert watch().age > 4999  # type: ignore[operator]
    assert watch().age > 4999  # type: ignore[operator]
    append(log, line(1))
    assert watch().age < 100  # type: ignore[operator]
    fresh = log.with_name("new.log")
    fresh.write_bytes(b"")
    assert Watch(fresh)().age < 100  # type: ignore[operator]


def test_growth_counts_through_rotation_even_when_nothing_is_read(log: Path) -> None:
    watch = Watch(log, Asked(None))
    watch()
    append(log, b"x" * 3000 + b"\n")
    rename(log)
    log.write_bytes(b"y" * 2999)
    watch.shift = 100
    assert watch().growth == pytest.approx(60, rel=0.02)


def test_samples_are_quoted_again_without_being_kept(log: Path) -> None:
    watch = Watch(log)
    append(log, b"2026-11-21 10:00:00.001 1 ERROR nova.y [-] login password=hunter2 refused\n")
    first = watch()
    assert len(first.samples) == 2 and first.samples[1].endswith("login password=*** refused")
    assert "nova.y" not in json.dumps(watch.state) and "hunter2" not in json.dumps(watch.state)
    watch.shift = 300
    assert watch().samples == first.samples
    rename(log)
    log.write_bytes(b"")
    assert watch().samples == first.samples
    watch.shift = 700
    assert watch().samples == ()


def test_a_first_run_soon_after_a_rotation_looks_at_both_files(tmp_path: Path) -> None:
    log = tmp_path / "nova.log"
    old = b"2020-01-01 10:00:00.000 1 ERROR nova.x [-] old\n" * 9000
    (tmp_path / "nova.log.1").write_bytes(old + lines(0, 4))
    log.write_bytes(lines(4, 7))
    watch = Watch(log)
    assert watch().counts["error"] == 7
    append(tmp_path / "nova.log.1", lines(10, 12))  # its writer has not reopened yet
    append(log, lines(12, 13))
    assert watch().counts["error"] == 10
    assert watch().lines == 10


def test_a_first_run_says_what_it_left_out(log: Path) -> None:
    rename_gzip(log)
    log.write_bytes(lines(10, 12))
    assert "first look: nova.log.1.gz is compressed and was not looked at" in Watch(log)().notes


def test_a_file_servers_clock_may_be_a_little_ahead(log: Path) -> None:
    ahead = time.time() + 30
    os.utime(log, (ahead, ahead))
    assert Watch(log)().age == 0
    ahead = time.time() + 5000
    os.utime(log, (ahead, ahead))
    assert Watch(log)().age < -4000  # type: ignore[operator]
