# SPDX-License-Identifier: Apache-2.0
"""check_log over real journal files, written by systemd-journal-remote, and over the kernel's real ring buffer."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from nephoscope.base import Clock
from nephoscope.checks.node.check_log import CHECK
from nephoscope.probes import journal as journal_probe

from tests.lab.support import need, need_root

pytestmark = pytest.mark.lab

REMOTE = "/lib/systemd/systemd-journal-remote"


class Journal:
    """A journal file that grows: `write` adds entries, `check` runs check_log over it."""

    def __init__(self, folder: Path) -> None:
        need("journalctl", REMOTE)
        self.folder = folder
        self.directory = folder / "journal"
        self.directory.mkdir()
        self.number = 0

    def write(self, *entries: tuple[str, int, bytes], age: float = 5.0, file: str = "a") -> None:
        """Add (unit, priority, message) entries, each a microsecond younger than the one before."""
        text = b""
        for unit, priority, message in entries:
            self.number += 1
            at = int((time.time() - age) * 1e6) + self.number
            head = f"__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={self.number}\n_BOOT_ID={'ab' * 16}\nPRIORITY={priority}\n"
            head += "_TRANSPORT=kernel\n" if unit == "kernel" else f"_SYSTEMD_UNIT={unit}.service\n"
            # The journal export format's binary form: name, 64-bit little-endian length, data.
            binary = b"MESSAGE\n" + len(message).to_bytes(8, "little") + message
            body = binary if b"\n" in message else b"MESSAGE=" + message
            text += head.encode() + body + b"\n\n"
        source = self.folder / "in.export"
        source.write_bytes(text)
        done = subprocess.run(
            [REMOTE, "-o", str(self.directory / f"{file}.journal"), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def check(self, *argv: str, shift: float = 0.0):
        fixed = ["--journal-file", str(self.directory), "--state-dir", str(self.folder / "state"), "--mode", "errors"]
        return CHECK.run([*fixed, *argv], clock=Clock(shift))


def values(outcome) -> dict[str, int]:
    """Return perfdata by the last word of its label."""
    return {
        item.partition("=")[0].rpartition("_")[2]: int(item.partition("=")[2].partition(";")[0].rstrip("c"))
        for item in outcome.perfdata
    }


@pytest.fixture
def journal(folder: Path) -> Journal:
    return Journal(folder)


def test_new_entries_only_and_each_once(journal: Journal) -> None:
    journal.write(("nova", 3, b"old"), age=5000)
    journal.write(("nova", 6, b"fine"), ("nova", 3, b"boom 1"), ("cinder", 2, b"other unit"))
    first = journal.check("--journal", "nova")
    assert "first look: the entries of the last 10 min" in first.text
    assert (first.state, values(first)) == (1, {"errors": 1, "warnings": 0, "criticals": 0, "lines": 2, "bytes": 12})
    journal.write(("nova", 4, b"slow"), ("nova", 3, b"boom 2"), age=3)
    assert values(journal.check("--journal", "nova")) | {"bytes": 0} == {
        "errors": 2, "warnings": 1, "criticals": 0, "lines": 4, "bytes": 0,
    }  # fmt: skip
    assert values(journal.check("--journal", "nova"))["lines"] == 4
    assert journal.check("--journal", "nova", shift=700).state == 0
    everything = values(journal.check("--journal", "all"))
    assert (everything["errors"], everything["criticals"], everything["lines"]) == (3, 1, 5)


def test_the_age_is_that_of_the_last_entry_not_of_the_look(journal: Journal) -> None:
    def age() -> int:
        argv = ["--journal-file", str(journal.directory), "--state-dir", str(journal.folder / "state")]
        outcome = CHECK.run([*argv, "--journal", "nova", "--mode", "fresh"])
        (number,) = [item.partition("=")[2].partition("s")[0] for item in outcome.perfdata if "_age=" in item]
        return round(float(number) / 100)

    journal.write(("nova", 6, b"long ago"), age=7200)
    assert age() == 72
    assert age() == 72
    journal.write(("nova", 6, b"lately"), age=400)
    assert age() == 4


def test_more_than_one_run_may_hold_is_said_and_counted_once(journal: Journal, monkeypatch) -> None:
    journal.write(("nova", 3, b"first"))
    assert values(journal.check("--journal", "nova"))["errors"] == 1
    monkeypatch.setattr(journal_probe, "LIMIT", 6000)
    monkeypatch.setattr(journal_probe, "ENTRIES", 10)
    journal.write(*(("nova", 3, b"boom %d" % number) for number in range(30)), age=3)
    cut = journal.check("--journal", "nova")
    assert "more than 0 MiB since the last run: only 10 entries were looked at" in cut.line
    seen = values(cut)["errors"]
    assert 9 <= seen - 1 <= 10, "the entry of the last run is not counted again"
    for _ in range(4):
        last = journal.check("--journal", "nova")
    assert values(last)["errors"] == 31, "each of the others in one of the next runs"


def test_the_kernel_pack_on_a_journal(journal: Journal) -> None:
    journal.write(
        ("kernel", 3, b"INFO: task qemu:17 blocked for more than 120 seconds."),
        ("kernel", 6, b"usb 1-1: new device"),
        ("nova", 3, b"task x blocked for more than 120 seconds"),
    )
    seen = journal.check("--preset", "kernel")
    assert (seen.state, values(seen)["errors"], values(seen)["lines"]) == (1, 1, 2)
    assert "INFO: task qemu:17 blocked for more than 120 seconds." in seen.text
    journal.write(("kernel", 0, b"watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [qemu:17]"), age=4)
    assert journal.check("--preset", "kernel").state == 2


def test_oslo_in_the_journal_and_messages_that_are_no_text(journal: Journal) -> None:
    oslo = b"2026-11-21 10:00:00.001 7 %s nova.x [req-3f2e8f1c-1111-4222-8333-123456789abc] boom password=hunter2"
    journal.write(
        ("nova", 6, oslo % b"ERROR"),
        ("nova", 6, b"2026-11-21 10:00:00.001 7 ERROR nova.x Traceback (most recent call last):"),
        ("nova", 6, oslo % b"INFO" + b" ERROR"),
        ("nova", 3, b"binary \xff\x00\n garbage"),
    )
    seen = journal.check("--journal", "nova")
    assert values(seen)["errors"] == 2, seen.text
    assert "hunter2" not in seen.text and "password=***" in seen.text


def test_a_journal_vacuumed_past_the_cursor_is_a_gap(journal: Journal) -> None:
    journal.write(("nova", 6, b"one"), age=60)
    assert journal.check("--journal", "nova").state == 0
    (journal.directory / "a.journal").unlink()
    journal.write(("nova", 6, b"two"), age=4, file="b")
    seen = journal.check("--journal", "nova")
    assert (seen.state, "has a gap: the journal was vacuumed" in seen.line) == (3, True)
    assert values(seen)["lines"] == 2
    assert journal.check("--journal", "nova", shift=700).state == 0


def test_silence_is_told_from_absence(journal: Journal) -> None:
    empty = journal.check("--journal", "nova")
    assert empty.state == 3, empty.text
    journal.write(("nova", 6, b"long ago"), age=90000)
    assert journal.check("--journal", "nova").state == 0
    wrong = journal.check("--journal", "nvoa")
    assert (wrong.state, "no entry of nvoa was ever written" in wrong.line) == (3, True)
    journal.write(("nova", 3, b"boom"), age=3)
    assert values(journal.check("--journal", "nova"))["errors"] == 1


def as_nobody(argv: list[str]) -> tuple[int, str]:
    """Run the check in a child of this process that has become nobody; return state and text."""
    taking, giving = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            outcome = CHECK.run(argv)
            os.write(giving, f"{outcome.state} {outcome.text}".encode())
        finally:
            os._exit(0)
    os.close(giving)
    with os.fdopen(taking) as answer:
        state, _, text = answer.read().partition(" ")
    os.waitpid(child, 0)
    return int(state), text


def test_who_may_not_read_is_told_which_right_he_lacks(journal: Journal) -> None:
    need_root("becoming an account without rights")
    state = journal.folder / "nobody"
    state.mkdir()
    os.chown(state, 65534, 65534)
    fixed = ["--state-dir", str(state), "--mode", "errors"]
    journal.write(("nova", 3, b"boom"))
    (journal.directory / "a.journal").chmod(0o600)
    code, text = as_nobody(["--journal", "nova", "--journal-file", str(journal.directory), *fixed])
    assert (code, "group systemd-journal or adm (usermod -aG systemd-journal nagios)" in text) == (3, True), text
    log = journal.folder / "x.log"
    log.write_bytes(b"x\n")
    log.chmod(0o640)
    os.chown(log, 0, 4)
    code, text = as_nobody(["--file", str(log), *fixed])
    assert (code, "Permission denied" in text, "group adm (usermod -aG adm nagios)" in text) == (3, True, True), text
    closed = journal.folder / "closed"
    closed.mkdir(mode=0o750)
    os.chown(closed, 0, 4)
    (closed / "x.log").write_bytes(b"x\n")
    for path in (closed / "x.log", closed / "*.log"):
        code, text = as_nobody(["--file", str(path), *fixed])
        assert (code, "group adm" in text) == (3, True), text


def test_the_real_ring_buffer(folder: Path) -> None:
    need("/dev/kmsg")
    need_root("writing to /dev/kmsg")
    word = f"nephoscope-lab-{os.getpid()}"
    argv = ["--kernel", "--only-patterns", "--pattern", word, "--mode", "errors", "--state-dir", str(folder)]

    def say(text: str) -> None:
        with open("/dev/kmsg", "w") as ring:
            ring.write(f"<4>{text}\n")

    say(f"{word} before")
    first = CHECK.run(argv)
    assert (first.state, values(first)["errors"]) == (1, 1), first.text
    for _ in range(10):
        say(f"{word} again")
    second = CHECK.run(argv)
    assert (second.state, values(second)["errors"]) == (2, 11), second.text
    assert f"has: {word} again" in second.text
    assert values(CHECK.run(argv))["errors"] == 11
    assert values(CHECK.run(argv, clock=Clock(700)))["errors"] == 0
