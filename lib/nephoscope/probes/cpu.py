# SPDX-License-Identifier: Apache-2.0
"""What the processors do, and who waits for them: /proc/loadavg, /proc/stat, /proc/pressure, the quota of a container.

Every scheduler start pays for this module: no library, few files, one record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, UNREADABLE, Collecting, Failed, Run, attempt, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.samples import History

SPAN = 300.0  # seconds over which shares are taken
STAT = "/proc/stat"
# The fields of a cpu line, in USER_HZ (man proc_stat); user and nice hold guest and guest_nice already.
FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class Cpu(NamedTuple):
    """One look at the processors; a part that was not asked for is None, one that could not be read a Failed.

    load      averages of 1, 5 and 15 minutes
    cores     processors online, counted where the averages come from (inside lxcfs both are the container's; elsewhere
              both are the host's, whatever the quota of the container)
    shares    % of the time of all processors in the last SPAN seconds: busy, user, system, iowait, steal, and throttled,
              the % of scheduling periods in which a container used up its quota; None: the kernel does not count it
    pressure  % of the last minute in which some tasks (cpu) or all tasks (io, memory) were waiting
    kept      what the next run needs
    """

    load: tuple[float, ...] | Failed | None = None
    cores: int | Failed | None = None
    shares: Mapping[str, float | Collecting | None] | Failed | None = None
    pressure: Mapping[str, float] | Failed | None = None
    kept: Any = None

    @property
    def words(self) -> str:
        """What the load is made of, as far as it is known: shares of the processors' time, and who waits for what."""
        shares = self.shares if isinstance(self.shares, Mapping) else {}
        pressure = self.pressure if isinstance(self.pressure, Mapping) else {}
        values = [(name, shares.get(name)) for name in ("busy", "iowait", "steal")]
        values += [(f"{name} pressure", pressure.get(name)) for name in ("io", "memory")]
        return ", ".join(f"{name} {value:.0f} %" for name, value in values if isinstance(value, float))

    def keep(self) -> Any:
        """Return plain JSON for the next run."""
        return self.kept


def look(run: Run, *, load: bool = True, shares: bool = True, pressure: bool = True) -> Cpu:
    """Read what is asked for. Raises nothing: each part carries its own Failed."""
    run.stage("read /proc/loadavg, /proc/stat and /proc/pressure")
    stat: str | Failed = ""
    if load or shares:
        try:
            stat = files.text(run, STAT)
        except Failed as failed:
            stat = failed
    parts: dict[str, Any] = {}
    if load:
        parts["load"] = attempt(_load, run)
        parts["cores"] = stat if isinstance(stat, Failed) else attempt(_cores, stat)
    if shares and isinstance(stat, Failed):
        parts["shares"] = stat
    elif shares:
        history = attempt(_count, run, stat)
        parts["shares"] = history if isinstance(history, Failed) else attempt(_shares, history)
        parts["kept"] = run.before if isinstance(history, Failed) else history.keep()
    if pressure:
        parts["pressure"] = attempt(_pressure, run)
    return Cpu(**parts)


def _load(run: Run) -> tuple[float, ...]:
    content = files.text(run, "/proc/loadavg", limit=4096)
    try:
        one, five, fifteen = (float(word) for word in content.split()[:3])
    except ValueError:
        raise Failed(UNREADABLE, "/proc/loadavg", "read /proc/loadavg", f"not understood: {content[:40]!r}") from None
    return one, five, fifteen


def _cores(stat: str) -> int:
    count = 0
    for line in stat.split("\n"):
        if not line.startswith("cpu"):  # the cpu lines come first, and only processors that are online have one
            break
        count += line[3:4].isdigit()
    if not count:
        raise Failed(UNREADABLE, STAT, "count the processors", f"no cpu0 line: {stat[:40]!r}")
    return count


def _count(run: Run, stat: str) -> History:
    """Return the time counters of now with the earlier ones, and those of the quota where there is one."""
    from nephoscope.base import samples

    line = stat[: stat.find("\n")].split()
    try:
        numbers = [int(word) for word in line[1 : 1 + len(FIELDS)]]
    except ValueError:
        numbers = []
    if line[:1] != ["cpu"] or len(numbers) < 5:
        raise Failed(UNREADABLE, STAT, f"read {STAT}", f"not understood: {stat[:40]!r}")
    ticks = dict(zip(FIELDS, numbers))  # kernels before 2.6.11 have no steal
    counters: dict[str, float] = {
        "user": ticks["user"] + ticks["nice"],
        "system": ticks["system"] + ticks.get("irq", 0) + ticks.get("softirq", 0),
        "idle": ticks["idle"],
        "iowait": ticks["iowait"],
    }
    if "steal" in ticks:
        counters["steal"] = ticks["steal"]
    counters.update(_quota(run))
    return samples.take(run, counters, span=SPAN)


def _quota(run: Run) -> dict[str, float]:
    """Return how many scheduling periods a container's quota had, and in how many it ran out; {} without a quota.

    Source: Documentation/admin-guide/cgroup-v2.rst (cpu.max, cpu.stat), Documentation/scheduler/sched-bwc.rst (version 1).
    """
    for limit, stat in (
        ("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu.stat"),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.stat"),
    ):
        try:
            if files.text(run, limit, limit=4096).split()[0] in ("max", "-1"):
                return {}
            pairs = (line.split() for line in files.text(run, stat, limit=65536).splitlines())
            seen = {pair[0]: float(pair[1]) for pair in pairs if len(pair) == 2}
            return {"periods": seen["nr_periods"], "throttled": seen["nr_throttled"]}
        except (Failed, LookupError, ValueError):
            continue  # on a host its own control group has no limit file: nothing is missing
    return {}


def _shares(history: History) -> dict[str, float | Collecting | None]:
    """Return the shares since about SPAN seconds ago.

    iowait and idle may fall, in ordinary life and when a processor goes offline (man proc_stat): less than before counts as
    nothing, and does not make the other shares wrong. user and system never fall but by a reset.
    """
    from nephoscope.base.samples import LEAST

    now = history.now
    names = [name for name in ("user", "system", "idle", "iowait", "steal") if name in now.values]
    usable = [
        sample
        for sample in history.older
        if now.at - sample.at >= LEAST
        and all(sample.values.get(name, float("inf")) <= now.values[name] for name in ("user", "system"))
    ]
    shares: dict[str, float | Collecting | None] = dict.fromkeys(
        ("busy", "user", "system", "iowait", "steal"), COLLECTING
    )
    if "steal" not in now.values:
        shares["steal"] = None
    if usable:
        base = min(usable, key=lambda sample: abs(now.at - sample.at - SPAN))
        ticks = {name: max(0.0, now.values[name] - base.values.get(name, now.values[name])) for name in names}
        total = sum(ticks.values())
        if not total:  # gVisor and other sandboxes show a file of noughts
            raise Failed(UNREADABLE, STAT, f"read {STAT}", f"its counters stood still for {now.at - base.at:.0f} s")
        shares.update((name, 100 * ticks[name] / total) for name in names if name != "idle")
        shares["busy"] = 100 * (ticks["user"] + ticks["system"]) / total
    if "periods" in now.values:
        shares["throttled"] = history.share("throttled", "periods")
    return shares


def _pressure(run: Run) -> dict[str, float]:
    """Return pressure stall shares of the last minute (Documentation/accounting/psi.rst; Linux 4.20)."""
    # "full" of the processors means nothing system-wide: somebody always runs.
    return {name: _stalled(run, name, kind) for name, kind in (("cpu", "some"), ("io", "full"), ("memory", "full"))}


def _stalled(run: Run, name: str, kind: str) -> float:
    path = f"/proc/pressure/{name}"
    try:
        content = files.text(run, path, limit=4096)
    except Failed as failed:
        # A kernel booted with psi=0 has no such file, or (before 5.2) one that answers EOPNOTSUPP.
        if failed.kind == ABSENT or failed.error == "Operation not supported":
            raise Failed(ABSENT, "pressure", f"read {path}", "not kept by this kernel", "boot it with psi=1") from None
        raise
    for line in content.splitlines():
        words = line.split()
        if words and words[0] == kind:
            for word in words[1:]:
                key, _, value = word.partition("=")
                try:
                    if key == "avg60":
                        return float(value)
                except ValueError:
                    break
    raise Failed(UNREADABLE, path, f"read {path}", f"not understood: {content[:60]!r}")
