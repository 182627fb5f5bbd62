# SPDX-License-Identifier: Apache-2.0
"""Measure, and write benchmarks/README.md anew; with --compare, say whether the committed table still holds.

.venv/bin/python -m benchmarks
.venv/bin/python -m benchmarks --compare
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nephoscope import catalogue
from nephoscope.demo import Demo, sample

from benchmarks import arrays, hosts, log, servers
from tests.lab.support import need, plugins_installed

PAGE = Path(__file__).with_name("README.md")
SLACK = 1.02
LIMITS: dict[str, float | None] = {"check_tmp_writable": 5.8, "check_load": 5.8, "check_io_latency": 5.8}
HELP_LIMIT = 5.8  # of any check
REMOTE = {
    "check_euca_clc": "clc",
    "check_euca_cc": "one-cc",
    "check_euca_nc": "one-nc-1",
}  # asked at which simulated host
LIMITS.update({f"{name} -H": 10.0 for name in REMOTE})
LIMITS.update(hosts.LIMITS)
LIMITS.update(servers.LIMITS)
LIMITS.update(arrays.LIMITS)
DEFAULT = "default patterns"
LOG_LIMIT = 20.0  # instructions per byte, default patterns
NOUNS = "import argparse, nagiosplugin"

HEAD = """\
# What a check costs

`python -m benchmarks` measures and writes this page; CI measures again and fails when anything costs 2 % more than the page
says, or more than its limit. The unit is the instructions that a whole run takes through its installed console script,
counted by `valgrind --tool=callgrind` with `PYTHONHASHSEED=0` and nothing stubbed, as a ratio to `python -c pass` in the same
environment. Children that a check forks are counted until the fork; what they do after it is about a hundredth of a start.
"""


def instructions(*argv: str) -> int:
    """Return the instructions of one process. Raises SystemExit when it did not run as a plugin does."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--child-silent-after-fork=yes", *argv]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if found is None or done.returncode not in (0, 1, 2, 3):
        raise SystemExit(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr[-400:]}")
    return int(found.group(1))


def environment() -> dict[str, str]:
    """Return an environment in which two runs take the same way."""
    kept = {name: os.environ[name] for name in ("PATH", "NEPHOSCOPE_PASSWORD") if name in os.environ}
    return {**kept, "HOME": tempfile.gettempdir(), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}


def seconds(*argv: str) -> float:
    """Return the median wall time of five runs."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(argv, capture_output=True, env=environment(), check=False)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def ratios(place: Path) -> dict[str, float]:
    """Return name -> cost, in starts of the bare interpreter."""
    python = str(place / "python")
    subprocess.run([python, "-c", NOUNS], check=True, capture_output=True)  # byte code is written once, not counted
    pass_ = instructions(python, "-c", "pass")
    found = {"argparse and nagiosplugin imported": instructions(python, "-c", NOUNS) / pass_}
    with commands(place) as each:
        for name, argv in each.items():
            begun = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=False)
            if begun.returncode == 3:  # what was refused costs little
                raise SystemExit(f"{name}: {begun.stdout}")
            found[name] = instructions(*argv) / pass_
    for name in catalogue.names():
        found[f"{name} --help"] = instructions(python, str(place / name), "--help") / pass_
    return found


@contextlib.contextmanager
def commands(place: Path) -> Iterator[dict[str, list[str]]]:
    """Give name -> command line of the runs that have a limit: on this machine, a simulated cloud, real servers."""
    with (
        tempfile.TemporaryDirectory() as state,
        Demo(sample()) as demo,
        servers.running() as asked,
        hosts.running() as on,
        arrays.running() as arrayed,
    ):
        asked.update({**on, **arrayed})
        for name in LIMITS:
            script = name.partition(" ")[0]
            if script in REMOTE:
                asked[name] = [script, "-H", demo.address(REMOTE[script])]
            words = asked.get(name, [script])
            asked[name] = [str(place / "python"), str(place / words[0]), *words[1:], "--state-dir", state]
        yield {name: asked[name] for name in LIMITS}


LARGE = (
    "A simulated cloud of 10 zones and 2,000 node controllers, judged in one run (not compared: seconds and memory):"
)


def large() -> list[str]:
    """Return the rows of what a large cloud costs: the whole run's median of five, and its peak of memory."""
    rows = ["| run | time | peak of memory |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder, Demo(sample(zones=10, nodes=200)) as demo:
        demo.credentials(f"{folder}/keys.ini")
        demo.topology(f"{folder}/topology.toml")
        more = [
            "-H",
            demo.address("clc"),
            "--credentials",
            f"{folder}/keys.ini",
            "--topology",
            f"{folder}/topology.toml",
        ]
        for words in (["check_euca_nodes"], ["check_euca_services"], ["check_euca_services", "--views", "all"]):
            script = str(Path(sys.executable).with_name(words[0]))
            argv = [sys.executable, script, *words[1:], *more, "--state-dir", f"{folder}/state"]
            wall = seconds(*argv)
            done = subprocess.run(["/usr/bin/time", "-f", "%M", *argv], capture_output=True, text=True, check=False)
            rows.append(f"| `{' '.join(words)}` | {wall:.2f} s | {int(done.stderr.split()[-1]) / 1024:.0f} MiB |")
    return rows


def page(
    found: Mapping[str, float],
    per_byte: Mapping[str, float],
    rate: float,
    times: Mapping[str, float],
    clouds: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> str:
    """Return the page."""
    rows = ["| run | bare starts | limit |", "|---|---|---|"]
    for name, ratio in found.items():
        limit = LIMITS.get(name) or (HELP_LIMIT if name.endswith("--help") else None)
        rows.append(f"| `{name}` | {ratio:.2f} | {limit or ''} |")
    reading = ["| check_log over oslo.log | instructions per byte | limit |", "|---|---|---|"]
    for name, cost in per_byte.items():
        reading.append(f"| {name} | {cost:.2f} | {LOG_LIMIT if name == DEFAULT else ''} |")
    load = os.getloadavg()[0]
    walls = [f"`{name}` {wall * 1000:.0f} ms" for name, wall in times.items()]
    reading_rate = f"check_log reads {rate:.0f} MB/s"
    closing = (
        f"Seconds, for the feeling only (median of five, load average {load:.1f}): {', '.join(walls)}; {reading_rate}."
    )
    version = ".".join(map(str, sys.version_info[:2]))
    about = f"Python {version}, nagiosplugin as installed from PyPI."
    return "\n".join(
        [HEAD, about, "", *rows, "", *reading, "", LARGE, "", *clouds, "", arrays.LARGE, "", *groups, "", closing, ""]
    )


def table(text: str) -> dict[str, float]:
    """Return what a page says: name -> number."""
    return {
        name.strip("` "): float(cost) for name, cost in re.findall(r"^\| (.+?) \| ([0-9.]+) \|", text, re.MULTILINE)
    }


def over(now: Mapping[str, float], before: Mapping[str, float]) -> list[str]:
    """Return what costs more than its limit or than the page says, one line each."""
    wrong = []
    for name, cost in now.items():
        limit = LIMITS.get(name) or (HELP_LIMIT if name.endswith("--help") else None)
        limit = LOG_LIMIT if name == DEFAULT else limit
        if limit is not None and cost > limit:
            wrong.append(f"{name}: {cost:.2f}, over its limit of {limit}")
        if name not in before:
            wrong.append(f"{name}: {cost:.2f}, and the page does not have it: python -m benchmarks")
        elif cost > before[name] * SLACK:
            wrong.append(f"{name}: {cost:.2f}, more than 2 % over the page's {before[name]:.2f}")
    wrong += [
        f"{name}: on the page, and no longer measured: python -m benchmarks" for name in before if name not in now
    ]
    return wrong


def main() -> int:
    """Measure; write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compare", action="store_true", help="leave the page alone; exit 1 when it no longer holds")
    options = parser.parse_args()
    need("valgrind")
    with plugins_installed("cli,mysql,postgres,amqp,snmp") as place:
        found = ratios(place)
        reader = str(place / "check_log")
        per_byte = {
            DEFAULT: log.per_byte(reader),
            "every line an error": log.per_byte(reader, level="ERROR", small=1 << 20, large=3 << 20),
        }
        if options.compare:
            wrong = over({**found, **per_byte}, table(PAGE.read_text()))
            print("\n".join(wrong) or "the table holds")
            return bool(wrong)
        times = {"python -c pass": seconds(str(place / "python"), "-c", "pass")}
        with commands(place) as each:
            times.update({name: seconds(*argv) for name, argv in each.items()})
        PAGE.write_text(page(found, per_byte, log.speed(reader), times, large(), arrays.large()))
    print(PAGE.read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
