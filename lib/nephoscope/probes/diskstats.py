# SPDX-License-Identifier: Apache-2.0
"""How the kernel sees its disks answer: /proc/diskstats, and a file written and synced on request. No device is opened.

Sources: Documentation/admin-guide/iostats.rst (columns; discards since Linux 4.18, flushes since 5.5; times in ms,
32 bits wide), Documentation/ABI/stable/sysfs-block (queue/iostats), sysfs-block-dm (dm/name, dm/uuid), block/genhd.c,
Documentation/admin-guide/nvme-multipath.rst.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Collecting, Failed, Run, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.samples import History, Sample
    from nephoscope.probes.filesystem import Trial

STATS, BLOCK = "/proc/diskstats", "/sys/block"
SPAN = 60.0  # seconds of an interval, where runs are that close; else from run to run
LONGEST = 3600.0  # seconds between two runs that are still compared
APART, SAMPLES = 15.0, 9  # seconds between samples that are kept, and how many: two intervals
BUSY = 10.0  # % of an interval: a disk busy for longer is measured however few I/Os it does
# What is no disk, or one in memory. An optical drive is slow by nature.
LEFT_OUT = ("loop", "ram", "zram", "sr", "fd", "nbd", "mtdblock")
READS, READ_MS, WRITES, WRITE_MS, BUSY_MS, OTHERS = COUNTERS = ("r", "rt", "w", "wt", "t", "o")
IN_FLIGHT = "f"
IDLE = Collecting("too few I/Os to tell")
SLOW, HEADS = "await", "heads of NVMe paths"


class Device(NamedTuple):
    """One block device.

    name       the kernel's; of device-mapper the map's own, which stays over boots
    kernel     the kernel's name
    in_flight  I/Os that it was given and has not answered
    stuck      seconds for which I/Os have waited while none was answered; None: some were, or none waits
    values     by name; COLLECTING on a first run:
               await                    seconds for an I/O: the slower of reads and writes, and of the last two intervals the
                                        better, so that it tells of what lasts
               read_await, write_await  seconds for an I/O, last interval
               util                     % of the last interval with an I/O in flight
               ios_rate                 reads and writes a second
    """

    name: str
    kernel: str
    in_flight: int
    stuck: float | None
    values: Mapping[str, float | Collecting | None]


class Survey(NamedTuple):
    """The devices looked at, trial writes, what was expected and is not there, how many were left out, by why; for `keep`."""

    devices: tuple[Device | Failed, ...]
    trials: tuple[Trial | Failed, ...] = ()
    missing: tuple[str, ...] = ()
    others: Mapping[str, int] = {}
    kept: Any = None

    def keep(self) -> Any:
        """Return plain JSON for the next run."""
        return self.kept

    def summary(self) -> str:
        """Return what was looked at, and what was not, as a clause; "" when no device was."""
        names = [device.name for device in self.devices if isinstance(device, Device)]
        if not names:
            return ""
        rest = ", ".join(f"{count} {why}" for why, count in self.others.items())
        return f"{len(names)} looked at: {', '.join(names[:6])}{' …' if len(names) > 6 else ''}" + (
            f"; not: {rest}" if rest else ""
        )


def survey(run: Run, expected: Collection[str], least: float, paths: Sequence[str] = ()) -> Survey:
    """Look at the disks, and write and sync a file in each of `paths`.

    expected  names to look at in any case, partitions too; one that is not there is among the missing
    least     I/Os a second from which on an interval tells how long one takes
    Raises Failed: absent when there is nothing to look at, unreadable.
    """
    trials: tuple[Trial | Failed, ...] = ()
    paths = [path for path in paths if run.wants(path)]
    if paths:
        from nephoscope.probes import filesystem

        trials = tuple(filesystem.write_trials(paths, run))
    run.stage(f"read {STATS}")
    rows = _rows(run)
    names, others = _chosen(run, rows, expected)
    if not (names or paths or expected or run.left_out):
        raise Failed(ABSENT, "", f"read {STATS}", "no disk that was ever used: name one by --include or --expect")
    found = {}
    counted: dict[str, int] = {}
    # Before Linux 6.4 the head of an NVMe multipath device counts nothing; its paths (nvme0c1n1 of nvme0n1) do.
    heads = {
        kernel.partition("c")[0] + kernel[kernel.rindex("n") :]
        for kernel in rows
        if kernel[:4] == "nvme" and "c" in kernel
    }
    for name, kernel in names.items():
        if _word(run, kernel, "queue/iostats") != "0":
            counted[kernel] = 0
        elif kernel in heads:
            others[HEADS] = others.get(HEADS, 0) + 1
        else:
            cure = f"echo 1 > {BLOCK}/{kernel.replace('/', '!')}/queue/iostats"
            found[name] = Failed(UNREADABLE, name, f"read {STATS}", "the kernel does not count its I/Os", cure)
    history = _history(run, {kernel: rows[kernel] for kernel in counted})
    before = run.before if isinstance(run.before, dict) else {}
    waits = {kernel: at for kernel in counted for at in [_waits(history, kernel)] if at is not None}
    since = {
        kernel: _since(before.get("stuck"), kernel, run.clock.time() - seconds) for kernel, seconds in waits.items()
    }
    devices: list[Device | Failed] = list(found.values())
    for name, kernel in names.items():
        if kernel in counted:
            stuck = run.clock.time() - since[kernel] if kernel in since else None
            devices.append(Device(name, kernel, rows[kernel][IN_FLIGHT], stuck, _values(history, kernel, least)))
    there = {*names, *names.values(), *(name.replace("/", "!") for name in rows)}
    missing = tuple(name for name in expected if name not in there)
    kept = {"samples": history.keep(), "stuck": since}
    return Survey(tuple(devices), trials, missing, others, kept)


def _rows(run: Run) -> dict[str, dict[str, int]]:
    """Return the counters of each device by the kernel's name. Raises Failed unreadable."""
    rows = {}
    for line in files.text(run, STATS, limit=16 << 20).splitlines():
        words = line.split()
        if len(words) == 7:
            continue  # a partition, before Linux 2.6.25
        try:
            numbers = [int(word) for word in words[3:]]
            reads, _, _, read_ms, writes, _, _, write_ms, in_flight, busy_ms, _ = numbers[:11]
        except ValueError:
            raise Failed(UNREADABLE, "", f"read {STATS}", f"not understood: {line[:60]!r}") from None
        others = sum(numbers[11:12]) + sum(numbers[15:16])
        counters = zip((*COUNTERS, IN_FLIGHT), (reads, read_ms, writes, write_ms, busy_ms, others, in_flight))
        rows[words[2]] = dict(counters)
    if not rows:
        raise Failed(ABSENT, "", f"read {STATS}", "it lists no device at all")
    return rows


def _chosen(run: Run, rows: Mapping[str, Any], expected: Collection[str]) -> tuple[dict[str, str], dict[str, int]]:
    """Return name -> the kernel's name of what is looked at; and how many of the others there are, by why."""
    whole = {name.replace("!", "/") for name in files.names(run, BLOCK)}
    called = {kernel: _called(run, kernel) for kernel in rows if kernel in whole}
    paths = set()
    for kernel in called:
        if kernel.startswith("dm-") and _word(run, kernel, "dm/uuid").startswith("mpath-"):
            try:
                paths.update(files.names(run, f"{BLOCK}/{kernel}/slaves"))
            except Failed:
                continue  # gone since
    names: dict[str, str] = {}
    others = {"never used": 0, "paths of multipath maps": 0, "loop, memory or removable": 0}
    for kernel, row in rows.items():
        name = called.get(kernel, kernel)
        if name in names:
            name = kernel  # a map that somebody called sda
        if name in expected or kernel in expected or kernel.replace("/", "!") in expected:
            names[name] = kernel
            continue
        if kernel not in whole:
            continue  # a partition: its disk tells
        why = ""
        if kernel.startswith(LEFT_OUT):
            why = "loop, memory or removable"
        elif kernel in paths:
            why = "paths of multipath maps"
        elif not any(row.values()):
            why = "never used"
        if why and not run.include:
            others[why] += 1
        elif run.wants(name):
            names[name] = kernel
    return names, {why: count for why, count in others.items() if count}


def _called(run: Run, kernel: str) -> str:
    return (_word(run, kernel, "dm/name") if kernel.startswith("dm-") else "") or kernel


def _word(run: Run, kernel: str, attribute: str) -> str:
    """Return an attribute of a device, "" where it has none (any more)."""
    try:
        return files.text(run, f"{BLOCK}/{kernel.replace('/', '!')}/{attribute}", limit=4096).strip()
    except Failed:
        return ""


def _history(run: Run, rows: Mapping[str, Mapping[str, int]]) -> History:
    """Return the history of these counters, times made whole again after 2**32 ms, devices that were reset cut off."""
    from nephoscope.base import samples

    before = run.before.get("samples") if isinstance(run.before, dict) else []
    flat = {f"{kernel} {key}": float(value) for kernel, row in rows.items() for key, value in row.items()}
    history = samples.take(run, flat, span=2 * LONGEST, before=before or [])  # two intervals
    recent = next((sample.at for sample in history.older if history.now.at - sample.at <= LONGEST), None)
    older = [] if recent is None else [sample for sample in history.older if recent - sample.at <= LONGEST]
    for kernel in rows:
        # Not simply the last sample: the disk may have been away in it, and be another one now.
        seen = (sample.values for sample in reversed(older) if f"{kernel} {READS}" in sample.values)
        last: Mapping[str, float] = next(seen, {})
        for key in (READ_MS, WRITE_MS, BUSY_MS):
            name = f"{kernel} {key}"
            was = last.get(name, 0.0)
            if flat[name] < 1 << 31 <= was % (1 << 32) or was >= 1 << 32:
                flat[name] = was + (flat[name] - was) % (1 << 32)
        if any(flat[f"{kernel} {key}"] < last.get(f"{kernel} {key}", 0.0) for key in COUNTERS):
            older = [_without(sample, kernel) for sample in older]
    thin: list[Sample] = []
    for sample in older:  # looked at from the oldest on, so that quick re-checks never push out what can be compared
        if not thin or sample.at - thin[-1].at >= APART:
            thin.append(sample)
    return history._replace(now=history.now._replace(values=flat), older=tuple(thin[-SAMPLES:]), span=LONGEST)


def _without(sample: Sample, kernel: str) -> Sample:
    return sample._replace(values={name: v for name, v in sample.values.items() if name.partition(" ")[0] != kernel})


def _base(history: History, end: Sample, kernel: str) -> Sample | None:
    """Return the sample that begins the interval of a device that ends with `end`."""
    from nephoscope.base.samples import LEAST

    usable = [
        sample
        for sample in history.older
        if LEAST <= end.at - sample.at <= LONGEST and f"{kernel} {READS}" in sample.values
    ]
    return min(usable, key=lambda sample: abs(end.at - sample.at - SPAN), default=None)


def _rises(begin: Sample, end: Sample, kernel: str) -> dict[str, float]:
    return {key: end.values[f"{kernel} {key}"] - begin.values.get(f"{kernel} {key}", 0.0) for key in COUNTERS}


def _waits(history: History, kernel: str) -> float | None:
    """Return for how long a device has answered nothing while I/Os were waiting at both ends; None: it has answered, or idles.

    None of those that waited at the beginning was completed, so at least one has waited for all that time.
    """
    base = _base(history, history.now, kernel)
    if base is None or not history.now.values[f"{kernel} {IN_FLIGHT}"] or not base.values.get(f"{kernel} {IN_FLIGHT}"):
        return None
    rises = _rises(base, history.now, kernel)
    return None if rises[READS] or rises[WRITES] or rises[OTHERS] else history.now.at - base.at


def _since(before: Any, kernel: str, at: float) -> float:
    known = before.get(kernel) if isinstance(before, dict) else None
    return min(float(known), at) if isinstance(known, (int, float)) else at


def _values(history: History, kernel: str, least: float) -> dict[str, float | Collecting | None]:
    now = history.now
    middle = _base(history, now, kernel)
    if middle is None:
        nothing = history._replace(older=()).rate(f"{kernel} {READS}")  # COLLECTING; None when that lasts for too long
        return dict.fromkeys((SLOW, "read_await", "write_await", "util", "ios_rate"), nothing)
    seconds, rises = now.at - middle.at, _rises(middle, now, kernel)
    slow = _slower(rises, seconds, least)
    first = _base(history, middle, kernel)
    held: float | Collecting | None = Collecting() if first is None else IDLE
    if first is not None and slow is not None:
        earlier = _slower(_rises(first, middle, kernel), middle.at - first.at, least)
        held = IDLE if earlier is None else min(slow, earlier)
    each = _each(rises)
    return {
        SLOW: held,
        "read_await": IDLE if each[0] is None else each[0],
        "write_await": IDLE if each[1] is None else each[1],
        "util": min(100.0, rises[BUSY_MS] / seconds / 10),
        "ios_rate": (rises[READS] + rises[WRITES]) / seconds,
    }


def _each(rises: Mapping[str, float]) -> tuple[float | None, float | None]:
    """Return the seconds for a read and for a write, None where there was none."""
    pairs = ((rises[READ_MS], rises[READS]), (rises[WRITE_MS], rises[WRITES]))
    read, write = (ms / ios / 1000 if ios else None for ms, ios in pairs)
    return read, write


def _slower(rises: Mapping[str, float], seconds: float, least: float) -> float | None:
    """Return the seconds for an I/O of the slower kind; None where there were too few to tell and it was not busy."""
    busy = rises[BUSY_MS] / seconds / 10 >= BUSY
    enough = [
        each
        for each, ios in zip(_each(rises), (rises[READS], rises[WRITES]))
        if each is not None and (busy or ios / seconds >= least)
    ]
    return max(enough, default=None)
