# SPDX-License-Identifier: Apache-2.0
"""check_log against a real logrotate and a real writer that does not stop for it: every line counted, each once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from nephoscope.checks.node.check_log import CHECK

from tests.lab.support import Daemon, need

pytestmark = pytest.mark.lab

# Writes numbered lines of oslo.log, each with one write, until TERM; then its last number into a file of its own.
# "append" opens with O_APPEND and opens again on HUP, "watch" opens again when the name means another file (as Python's
# WatchedFileHandler, which oslo.log uses, does), "plain" goes on at its own offset for ever.
WRITER = r"""
import os, signal, sys, time
path, mode = sys.argv[1:3]
again, end = [], []
signal.signal(signal.SIGHUP, lambda *_: again.append(1))
signal.signal(signal.SIGTERM, lambda *_: end.append(1))
flags = os.O_WRONLY | os.O_CREAT | (0 if mode == "plain" else os.O_APPEND)
file = os.open(path, flags, 0o644)
open(path + "-pid", "w").write(str(os.getpid()))
number = 0
while not end:
    if mode == "watch":
        try:
            again = [1] if os.stat(path).st_ino != os.fstat(file).st_ino else []
        except FileNotFoundError:
            again = [1]
    if again:
        again = []
        signal.signal(signal.SIGHUP, lambda *_: again.append(1))
        os.close(file)
        file = os.open(path, flags, 0o644)
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    level = "ERROR" if number % 3 == 0 else "INFO"
    text = f"{stamp}.{int(now % 1 * 1000):03d} {os.getpid()} {level} nova.x [req-{number:08x}-0000-4000-8000-000000000000] "
    os.write(file, (text + f"n={number} says ERROR {'y' * (number % 90)}\n").encode())
    number += 1
    time.sleep(0.0005)
open(path + "-count", "w").write(str(number))
"""

WAYS = {
    "rename": ("append", "create\npostrotate\n kill -HUP $(cat {log}-pid)\nendscript"),
    "rename-compress": ("append", "create\ncompress\npostrotate\n kill -HUP $(cat {log}-pid)\nendscript"),
    "delaycompress": ("append", "create\ncompress\ndelaycompress\npostrotate\n kill -HUP $(cat {log}-pid)\nendscript"),
    "late-reopen": ("append", "create\ncompress\ndelaycompress"),
    "dateext": ("watch", "create\ncompress\ndelaycompress\ndateext\ndateformat -%Y%m%d-%s"),
    "dateext-xz": (
        "watch",
        "create\ndateext\ndateformat -%Y%m%d-%s\ncompress\ncompresscmd /usr/bin/xz\ncompressext .xz",
    ),
    "extension": ("watch", "create\ncompress\nextension .log"),
    "olddir": ("watch", "create\nolddir {folder}/old\ncompress"),
    "nocreate": ("watch", "nocreate"),
    "copytruncate": ("append", "copytruncate"),
    "copytruncate-compress": ("append", "copytruncate\ncompress"),
    "copytruncate-delaycompress": ("append", "copytruncate\ncompress\ndelaycompress"),
    "copytruncate-plain-writer": ("plain", "copytruncate"),
}


def errors_and_lines(paths: list[Path]) -> tuple[int, int]:
    """Count in all files what a person would count: complete lines by their numbers, each once."""
    numbers: list[int] = []
    for path in paths:
        data = path.read_bytes()
        unpack = {".gz": gzip.decompress, ".xz": lzma.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)
        numbers += [int(match) for match in re.findall(rb"n=(\d+) [^\n]*\n", unpack(data))]
    assert len(numbers) == len(set(numbers)), "the lab itself wrote or kept a line twice"
    return sum(number % 3 == 0 for number in numbers), len(numbers)


class Bench:
    """A log with its writer, its logrotate, and check_log over it."""

    def __init__(self, folder: Path, mode: str, directives: str) -> None:
        (self.logrotate,) = need("logrotate")
        self.folder, self.mode = folder, mode
        self.log = folder / "nova.log"
        (folder / "old").mkdir()
        config = f"{self.log} {{\nrotate 60\nmissingok\n{directives.format(log=self.log, folder=folder)}\n}}\n"
        (folder / "rotate.conf").write_text(config)
        (folder / "rotate.conf").chmod(0o644)
        self.argv = ["--file", str(self.log), "--archive-dir", str(folder / "old"), "--mode", "errors"]
        self.argv += ["--state-dir", str(folder / "state"), "-t", "60"]

    def rotate(self) -> None:
        done = subprocess.run(
            [self.logrotate, "-f", "-s", str(self.folder / "status"), str(self.folder / "rotate.conf")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def check(self) -> tuple[int, int]:
        """Run check_log once; return errors and lines as it counts them."""
        outcome = CHECK.run(self.argv)
        assert "gap" not in outcome.text, outcome.text
        assert "behind" not in outcome.text, outcome.text
        values = dict(item.partition("=")[::2] for item in outcome.perfdata)
        errors = next(value for name, value in values.items() if name.endswith("_errors"))
        lines = next(value for name, value in values.items() if name.endswith("_lines"))
        return int(errors.partition(";")[0]), int(lines.rstrip("c").partition(";")[0].rstrip("c"))

    def writer(self) -> Daemon:
        argv = [sys.executable, "-c", WRITER, str(self.log), self.mode]
        return Daemon(
            argv, ready=lambda: self.log.exists() and self.log.stat().st_size > 0, log=self.folder / "writer.out"
        )

    def truth(self) -> tuple[int, int]:
        files = [path for path in self.folder.rglob("nova*") if not path.name.endswith(("-pid", "-count"))]
        return errors_and_lines(files)

    @property
    def written(self) -> int:
        return int(Path(f"{self.log}-count").read_text())


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_and_nothing_counted_twice(way: str, folder: Path) -> None:
    bench = Bench(folder, *WAYS[way])
    with bench.writer() as writer:
        for turn in range(4):
            time.sleep(0.15)
            bench.check()
            if turn != 2:  # twice the log is rotated between two runs
                bench.check()
            bench.rotate()
            if "dateext" in way:
                time.sleep(1.05)  # the name has seconds
            if turn == 2 and way != "late-reopen":  # logrotate would remove the file that is still written to
                time.sleep(0.1)
                bench.rotate()
                time.sleep(1.05 if "dateext" in way else 0)
            time.sleep(0.05)
            if way == "late-reopen":
                bench.check()
                time.sleep(0.1)  # still written to the file's old name
                os.kill(writer.pid, signal.SIGHUP)
                time.sleep(0.05)
        writer.stop()
    truth = bench.truth()
    assert bench.check() == truth
    assert bench.check() == truth
    assert truth[1] > 500
    if "copytruncate" not in way:  # logrotate itself loses what comes between copy and truncation
        assert truth[1] == bench.written


@pytest.mark.parametrize("way", ["rename-compress", "delaycompress", "dateext", "nocreate", "extension"])
def test_runs_while_logrotate_works(way: str, folder: Path) -> None:
    """The check does not wait for logrotate either: files vanish, move and shrink under it."""
    bench = Bench(folder, *WAYS[way])
    turns: list[int] = []
    trouble: list[BaseException] = []
    end = threading.Event()

    def checks() -> None:
        try:
            while not end.is_set():
                outcome = CHECK.run(bench.argv)
                assert "gap" not in outcome.text, outcome.text
                turns.append(outcome.state)
        except BaseException as error:
            trouble.append(error)

    with bench.writer() as writer:
        thread = threading.Thread(target=checks)
        thread.start()
        for _ in range(6):
            time.sleep(1.05 if "dateext" in way else 0.2)
            bench.rotate()
        time.sleep(0.2)
        writer.stop()
        end.set()
        thread.join(60)
    assert trouble == []
    assert len(turns) > 10
    assert bench.check() == bench.truth()
    assert bench.truth()[1] == bench.written


def test_a_gibibyte_is_read_in_flat_memory(folder: Path) -> None:
    """Six lines, of which one is an error, over and over: the numbers are exact, the peak is that of a small log."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    piece = b"".join(
        f"{stamp}.{n:03d} 7 {'ERROR' if n == 3 else 'INFO'} nova.x [-] {'y' * (100 + n)} says ERROR\n".encode()
        for n in range(6)
    )
    piece *= (1 << 20) // len(piece)
    code = (
        "import resource, sys\nfrom nephoscope.checks.node.check_log import CHECK\no = CHECK.run(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\nprint(o.line)"
    )

    def peak(times: int) -> int:
        log = folder / f"big{times}.log"
        log.write_bytes(b"")
        argv = [
            "--file",
            str(log),
            "--state-dir",
            str(folder / "state"),
            "--mode",
            "errors",
            "-t",
            "300",
            "--max-read",
            "2GiB",
        ]
        CHECK.run(argv)
        with log.open("ab") as file:
            for _ in range(times):
                file.write(piece)
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
        size, line = done.stdout.splitlines()
        count = piece.count(b"\n") * times
        assert f"errors={count // 6};" in line and f"lines={count}c" in line, line
        log.unlink()
        return int(size)

    small, large = peak(2), peak(1024)
    assert large - small < 2048, "KiB"
