# SPDX-License-Identifier: Apache-2.0
"""What Eucalyptus' own sensors ("stats", 4.1 to 5.x) say on this host: files below /run/eucalyptus/status.

Sources, of 4.4.2, beside those of euca_sensor: stats_sensors.groovy and the wiki page "Configuring and Using Eucalyptus Stats".

What the source does and nobody would guess: `<pool>.UsedByes` holds the maximum; a pool without a maximum has a negative
PercentOfMaxUsed; a DeadlockedThreadCount of "" means none; the keys of CC and NC are `check` and `state`, those of the JVM
`Check` and `State`; a NAME.new that a crash left keeps the JVM from writing NAME ever again (Files.createFile).
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Collecting, Failed, Run, files, samples
from nephoscope.probes import euca_conf, euca_sensor
from nephoscope.probes.euca_sensor import MARGIN, SPAN, Sensor, number

MOST = 500  # sensor files on one host; a UFS with all services has some forty
DEEP = 8
REMEMBER = 604800.0  # seconds for which a sensor that vanished is missed
WORKERS = ("loadbalancingbackend", "imagingbackend")  # NOTREADY until their image is installed, often on purpose
STARTING = ("PRIMORDIAL", "INITIALIZED", "LOADED")
MODES = {
    "heap": "euca.jvm.memory.pools",
    "gc": "euca.jvm.memory.gc",
    "threads": "euca.jvm.threads.state",
    "dbpool": "euca.db.connection_pools",
    "messages": "euca.components.*.msgs.stats",
    "state": "euca.components.*.state",
}
OLD = ("old gen", "tenured gen")  # PS Old Gen, G1 Old Gen, CMS Old Gen, Tenured Gen
SWITCH = (
    "switch them on: property stats.enable_stats=true or CLOUD_OPTS=-Deuca.enable_stats=true (JVM), "
    'ENABLED_SENSORS="messages service_state" in eucalyptus.conf (CC, NC)'
)


class Value(NamedTuple):
    """A number that a fresh sensor tells; None where it should and does not.

    name    heap, perm (old and permanent generation, in percent of their maximum), heap_used (bytes), gc (share of time, in
            percent), threads, deadlocked, pool (connections of a database pool in use, in percent), msg_fail (messages of a CC
            or NC that failed, of those since about five minutes, in percent), msg_mean (seconds)
    of      the pool, the component, or component_message
    detail  which messages failed
    """

    name: str
    value: float | Collecting | None
    of: str = ""
    detail: str = ""


class Health(NamedTuple):
    """A word that a fresh sensor tells.

    kind  "ok", "standby" (DISABLED, and its check is well), "passing" (starting, or stopped on purpose), "worker" (a back-end
          whose image is not installed), "failed", "unknown"
    """

    mode: str
    of: str
    kind: str
    text: str


class Readings(NamedTuple):
    """All that one run learnt.

    sensors   every sensor that could be read, fresh or not
    failures  those that could not be read, or that an earlier run saw and that are gone
    values    numbers of the fresh ones
    words     words of the fresh ones
    missing   modes of which no sensor is here
    void      modes of which every sensor is too old to be believed
    """

    sensors: tuple[Sensor, ...] = ()
    failures: tuple[Failed, ...] = ()
    values: tuple[Value, ...] = ()
    words: tuple[Health, ...] = ()
    missing: tuple[str, ...] = ()
    void: tuple[str, ...] = ()
    kept: Mapping[str, Any] = {}

    @property
    def summary(self) -> str:
        """How many there are, in words."""
        void = sum(sensor.void for sensor in self.sensors)
        return f"{len(self.sensors)} sensor{'s' * (len(self.sensors) != 1)}" + (
            f", {void} of them too old to be believed" if void else ""
        )


def look(run: Run, folder: str = "") -> Readings:
    """Return what all sensors of this host say.

    folder  where they are, "" for status/ in the run directory of eucalyptus.conf
    Raises Failed: absent (no sensor is written, and how to switch them on), not-allowed, unreadable (too many files).
    """
    folder = folder or _folder(run)
    run.stage(f"look through {folder}")
    now = run.clock.time()
    before = run.before if isinstance(run.before, dict) else {}
    known = before["seen"] if isinstance(before.get("seen"), dict) else {}
    sensors: list[Sensor] = []
    failures: list[Failed] = []
    seen: dict[str, float] = {
        str(name): float(at) for name, at in known.items() if isinstance(at, (int, float)) and now - at <= REMEMBER
    }
    present = set()
    for path, newer in _walk(run, folder):
        name = path[len(folder) + 1 :].replace("/", ".")
        present.add(name)
        if not run.wants(name):
            continue
        try:
            sensors.append(_read(run, path, name, newer, now))
            seen[name] = now
        except Failed as failed:
            if failed.kind != ABSENT:  # renamed away while we looked: the next run sees it
                failures.append(failed)
    for name in sorted(set(seen) - present):
        if run.wants(name):
            failures.append(Failed(ABSENT, name, "", "is gone, an earlier run saw it: does its process run?"))
    if not present and not failures:
        raise Failed(ABSENT, "sensors", f"look through {folder}", "no sensor is written", SWITCH)
    fresh = {sensor.name: sensor for sensor in sensors if not sensor.void}
    old = [sensor.name for sensor in sensors if sensor.void]
    gc, kept = _collections(run, fresh.get("euca.jvm.memory.gc"), before.get("gc"))
    counted, told, silent = _messages(run, fresh, before.get("messages"))
    failures += silent
    values = [*_memory(fresh), *gc, *_threads(fresh), *counted]
    words = []
    for value, health in _pools(fresh):
        values.append(value)
        words.append(health)
    return Readings(
        tuple(sensors),
        tuple(failures),
        tuple(values),
        (*words, *_components(fresh)),
        tuple(mode for mode, glob in MODES.items() if not fnmatch.filter(present, glob)),
        tuple(mode for mode, glob in MODES.items() if fnmatch.filter(old, glob) and not fnmatch.filter(fresh, glob)),
        {"seen": seen, "gc": kept, "messages": told},
    )


def _folder(run: Run) -> str:
    try:
        return euca_conf.directory(euca_conf.read(run), "status")
    except Failed as failed:
        for path in ("/run/eucalyptus/status", "/var/run/eucalyptus/status"):
            if os.path.isdir(run.path(path)):
                return path
        raise failed from None


def _walk(run: Run, folder: str) -> Iterable[tuple[str, float | None]]:
    """Yield (path, when the .new beside it was written, if there is one) of every sensor file. Raises Failed."""
    todo, found = [(folder, 0)], 0
    while todo:
        place, depth = todo.pop()
        try:
            names = files.names(run, place, limit=MOST)
        except Failed as failed:
            if place == folder and failed.kind == ABSENT:
                return
            if failed.kind == ABSENT:
                continue
            raise
        for name in names:
            path = f"{place}/{name}"
            if os.path.isdir(run.path(path)):
                if depth < DEEP and not os.path.islink(run.path(path)):
                    todo.append((path, depth + 1))
            elif not name.endswith(".new"):
                found += 1
                if found > MOST:
                    raise Failed(UNREADABLE, "sensors", f"look through {folder}", f"more than {MOST} files")
                yield path, _written(run, f"{path}.new") if f"{name}.new" in names else None
            elif name[:-4] not in names:
                yield path[:-4], _written(run, path)  # never written but for its beginning


def _written(run: Run, path: str) -> float | None:
    try:
        return os.stat(run.path(path)).st_mtime
    except OSError:
        return None


def _read(run: Run, path: str, name: str, newer: float | None, now: float) -> Sensor:
    """Return one sensor. Raises Failed."""
    stuck = newer is not None and now - newer > 2 * MARGIN
    try:
        return euca_sensor.load(run, path, name)._replace(stuck=stuck)
    except Failed as failed:
        if not stuck:
            raise
        hint = f"{path}.new is a left-over of a crash that keeps it from being written: remove it"
        error = "was never written" if failed.kind == ABSENT else failed.error
        kind = UNREADABLE if failed.kind == ABSENT else failed.kind
        raise Failed(kind, name, failed.tried, f"{error}; {hint}", failed.cure) from None


def _memory(fresh: Mapping[str, Sensor]) -> Iterable[Value]:
    if "euca.jvm.memory.pools" in fresh:
        shares = {
            key.rpartition(".")[0].lower(): number(value)
            for key, value in fresh["euca.jvm.memory.pools"].values.items()
            if key.endswith(".PercentOfMaxUsed")
        }
        # Negative: the pool has no maximum.
        bounded = {name: share for name, share in shares.items() if share is not None and share >= 0}
        yield Value("heap", max((share for name, share in bounded.items() if name.endswith(OLD)), default=None))
        yield from (Value("perm", share) for name, share in sorted(bounded.items()) if name.endswith("perm gen"))
    if "euca.jvm.memory.general" in fresh:
        yield Value("heap_used", number(fresh["euca.jvm.memory.general"].values.get("HeapUsageBytes")))


def _threads(fresh: Mapping[str, Sensor]) -> Iterable[Value]:
    if "euca.jvm.threads.state" in fresh:
        values = fresh["euca.jvm.threads.state"].values
        deadlocked = values.get("DeadlockedThreadCount")
        yield Value("deadlocked", 0.0 if deadlocked == "" else number(deadlocked))
        yield Value("threads", number(values.get("ThreadCount")))


def _collections(run: Run, sensor: Sensor | None, before: Any) -> tuple[list[Value], Any]:
    """Return the share of time that all collectors took, in percent, and what to keep for the next time."""
    if sensor is None:
        return [], before
    spent = [number(value) for key, value in sensor.values.items() if key.endswith(".CollectionTimeMSec")]
    if not spent or None in spent:
        return [Value("gc", None)], before
    total = sum(value for value in spent if value is not None) / 1000
    # By the sensor's own clock: between two of its writings nothing has changed.
    history = samples.take(run, {"gc": total}, span=SPAN, before=before or [], at=sensor.timestamp, boot="")
    rate = history.rate("gc")
    return [Value("gc", 100 * rate if isinstance(rate, float) else rate)], history.keep()


def _pools(fresh: Mapping[str, Sensor]) -> Iterable[tuple[Value, Health]]:
    sensor = fresh.get("euca.db.connection_pools")
    values = sensor.values if sensor else {}
    aliases = [key.rpartition(".")[0] for key in sorted(values) if key.endswith(".MaxConnectionCount")]
    for alias in aliases or ([""] if sensor else ()):
        most, active = (number(values.get(f"{alias}.{end}ConnectionCount")) for end in ("Max", "Active"))
        check = str(values.get(f"{alias}.CapacityCheck", "missing"))
        kind = {"OK": "ok", "FAILED": "failed"}.get(check, "unknown")
        used = 100 * active / most if active is not None and most else None
        yield Value("pool", used, alias), Health("dbpool", alias, kind, f"its CapacityCheck is {check}")


def _messages(run: Run, fresh: Mapping[str, Sensor], before: Any) -> tuple[list[Value], dict[str, Any], list[Failed]]:
    """Return what is told of messages, what to keep for the next time, and the sensors that tell nothing."""
    values, failures = [], []
    kept = dict(before) if isinstance(before, dict) else {}
    for name, sensor in sorted(fresh.items()):
        if name.endswith(".msgs.stats"):
            component = name.split(".")[-3]
            try:
                told = euca_sensor.messages(run, sensor, kept.get(component) or [])
            except Failed as failed:
                failures.append(failed)
                continue
            kept[component] = told.kept
            values.append(Value("msg_fail", told.failed, component, told.detail))
            for kind, numbers in sorted(sensor.values.items()):
                if isinstance(numbers, dict):
                    # When none came the mean is what it began with.
                    mean = 0.0 if number(numbers.get("count")) == 0 else number(numbers.get("mean"))
                    values.append(Value("msg_mean", None if mean is None else mean / 1000, f"{component}_{kind}"))
    return values, kept, failures


def _components(fresh: Mapping[str, Sensor]) -> Iterable[Health]:
    for name, sensor in sorted(fresh.items()):
        if name.startswith("euca.components.") and name.endswith(".state"):
            words = {key.lower(): str(value) for key, value in sensor.values.items()}
            state, check, kind = words.get("state", ""), words.get("check", ""), name[16:-6]
            text = f"is {state or 'in no state that it tells'}, its check says {check or 'nothing'}"
            yield Health("state", kind, _kind(kind, state, check), text)


def _kind(component: str, state: str, check: str) -> str:
    if state == "NOTREADY" and component in WORKERS:
        return "worker"
    if check == "FAILED" or state in ("NOTREADY", "BROKEN") or state.startswith("n/a"):
        return "failed"
    if check != "OK":
        return "unknown"
    known = {"ENABLED": "ok", "DISABLED": "standby", **dict.fromkeys(("STOPPED", *STARTING), "passing")}
    return known.get(state, "unknown")
