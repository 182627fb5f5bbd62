# SPDX-License-Identifier: Apache-2.0
"""What reading a log costs: instructions per byte of oslo log, and MB/s.

Instructions are those of a whole run of the installed `check_log` under `valgrind --tool=callgrind`, as the difference of
two logs of different size, so that start-up is not in them. The logs are made line by line from a counter: the same bytes on
every machine, whatever the day (the times in them are those of the run only in that they are young enough to be looked at).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LOGGERS = (
    "nova.compute.manager",
    "nova.virt.libvirt.driver",
    "oslo_messaging._drivers.impl_rabbit",
    "nova.scheduler.utils",
)
MESSAGES = (
    "[instance: 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d] VM Started (Lifecycle Event)",
    "Final resource view: name=compute-17 phys_ram=515632MB used_ram=262656MB phys_disk=3500GB used_disk=1800GB",
    "[instance: 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d] Took 12.41 seconds to spawn the instance on the hypervisor.",
    "Running periodic task ComputeManager._sync_power_states, run_periodic_tasks oslo_service/periodic_task.py:210",
)
DECOY = "went to ERROR state, says a message of level info"  # looked at properly, and not counted


def lines(size: int, *, level: str = "", at: float | None = None) -> Iterator[bytes]:
    """Yield lines of an oslo.log file until `size` bytes are reached: of 200, 2 errors, 4 warnings, 5 that only say ERROR.

    level  the level of every line, instead of that mixture
    """
    at = time.time() if at is None else at
    made = number = 0
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    while made < size:
        word = level or {7: "ERROR", 107: "ERROR"}.get(number % 200, "WARNING" if number % 50 == 13 else "INFO")
        message = DECOY if number % 40 == 21 else MESSAGES[number % 4]
        line = (
            f"{stamp}.{number % 1000:03d} {2000 + number % 7} {word} {LOGGERS[number % 4]} "
            f"[None req-{number:08x}-5b1c-4c5e-9f1e-0242ac120002 0f1e2d3c4b5a69788796a5b4c3d2e1f0 "
            f"00112233445566778899aabbccddeeff - - default default] {message}\n"
        ).encode()
        made += len(line)
        number += 1
        yield line


def write(path: Path, size: int, *, level: str = "") -> int:
    """Write such a log and return its size in bytes."""
    with path.open("wb") as file:
        file.writelines(lines(size, level=level))
    return path.stat().st_size


def instructions(program: str, log: Path, state: Path, *arguments: str) -> int:
    """Return the instructions of one first run over a log."""
    argv = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, program]
    argv += ["--file", str(log), "--state-dir", str(state), "-t", "600", "--period", "1d", *arguments]
    # LC_ALL and PYTHONHASHSEED hold what else would differ from run to run.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode not in (0, 1, 2) or found is None or not done.stdout.startswith("LOG "):
        raise SystemExit(f"{' '.join(argv)}: exit {done.returncode}: {done.stdout[:300]} {done.stderr[-300:]}")
    return int(found.group(1))


def per_byte(program: str, *arguments: str, level: str = "", small: int = 2 << 20, large: int = 10 << 20) -> float:
    """Return the instructions per byte of log."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        counts = []
        for name, size in (("small", small), ("large", large)):
            written = write(place / f"{name}.log", size, level=level)
            counts.append((written, instructions(program, place / f"{name}.log", place / f"state-{name}", *arguments)))
    (bytes_small, cost_small), (bytes_large, cost_large) = counts
    return (cost_large - cost_small) / (bytes_large - bytes_small)


def speed(program: str, size: int = 64 << 20) -> float:
    """Return MB/s (10^6 bytes) of a run over `size` bytes, start-up included: the median of five."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        written = write(place / "speed.log", size)
        times = []
        for turn in range(5):
            argv = [sys.executable, program, "--file", str(place / "speed.log"), "--period", "1d", "-t", "60"]
            begun = time.monotonic()
            subprocess.run([*argv, "--state-dir", str(place / f"state{turn}")], capture_output=True, check=False)
            times.append(time.monotonic() - begun)
    return written / sorted(times)[2] / 1e6


def rows(program: str) -> list[tuple[str, float]]:
    """Return what the table shows: (what, value)."""
    return [
        ("instructions per byte, default patterns", per_byte(program)),
        ("instructions per byte, every line an error", per_byte(program, level="ERROR")),
        ("instructions per byte, every line debug", per_byte(program, level="DEBUG")),
        ("instructions per byte, preset amqp's seven patterns", per_byte(program, "--preset", "amqp")),
        ("MB/s", speed(program)),
    ]


if __name__ == "__main__":
    for what, value in rows(sys.argv[1] if len(sys.argv) > 1 else str(Path(sys.executable).with_name("check_log"))):
        print(f"{value:8.1f}  {what}")
