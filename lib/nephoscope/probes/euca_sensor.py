# SPDX-License-Identifier: Apache-2.0
"""One of Eucalyptus' own sensors ("stats", 4.1 to 5.x), as its components leave it on their host; all are off by default.

Sources, of 4.4.2: util/stats/* for the CC and the NC, clc/modules/troubleshooting (stats/sensors/*, emitters/
FileSystemEmitter.java) for the JVM; wiki page "Common Sensor Output". A sensor `euca.components.nc.state` is the file
euca/components/nc/state below run/eucalyptus/status: one JSON object with sensor, timestamp (seconds since 1970), ttl (seconds,
below 0: for ever) and values. It is written beside and renamed, every 60 s, with a ttl of 61, for group eucalyptus-status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Collecting, Failed, Run, files

MARGIN = 60.0  # seconds beyond its ttl for which a reading counts: the writer runs every 60 s, and may be late
SPAN = 300.0
GROUP = "eucalyptus-status"
OFF = 'switch it on by ENABLED_SENSORS="messages service_state" in eucalyptus.conf (CC, NC; no restart)'


class Sensor(NamedTuple):
    """One sensor's last words.

    age        seconds since its timestamp
    ttl        seconds for which they hold; below 0: for ever
    values     as they stand in the file
    timestamp  seconds since 1970
    stuck      a .new file beside it, older than two of its writings, keeps it from being written
    """

    name: str
    age: float
    ttl: float
    values: Mapping[str, Any]
    timestamp: float = 0.0
    stuck: bool = False

    @property
    def stale(self) -> float:
        """Its age in percent of its ttl; 0 for one that holds for ever."""
        return 100 * self.age / self.ttl if self.ttl > 0 else 0.0

    @property
    def void(self) -> bool:
        """Whether its values are no more to be believed."""
        return 0 <= self.ttl < self.age - MARGIN


def load(run: Run, path: str, name: str) -> Sensor:
    """Return what a sensor's file says, however old.

    Raises Failed: absent, not-allowed, unreadable (no JSON of that form, half written, another sensor's, from the future).
    """
    import json

    run.stage(f"read {path}")
    try:
        text = files.text(run, path, of=name)
    except Failed as failed:
        cure = f"membership of group {GROUP}" if failed.kind == NOT_ALLOWED else ""
        raise Failed(failed.kind, name, failed.tried, failed.error, cure) from None
    stamp = ttl = values = None
    try:
        data = json.loads(text)
        if isinstance(data, dict) and data.get("sensor") == name:
            stamp, ttl, values = number(data.get("timestamp")), number(data.get("ttl")), data.get("values")
        what = "is no sensor: timestamp, ttl, values and its name must be there"
    except (ValueError, RecursionError) as error:
        what = f"is no JSON: {str(error)[:60]}" if text.strip() else "is empty"
    if stamp is None or ttl is None or not isinstance(values, dict):
        raise Failed(UNREADABLE, name, f"read {path}", what)
    age = run.clock.time() - stamp
    if age < -MARGIN:
        raise Failed(UNREADABLE, name, f"read {path}", f"is {-age:.0f} s in the future: compare the clocks")
    return Sensor(name, max(0.0, age), ttl, values, stamp)


def number(value: Any) -> float | None:
    """Return a value as a number, None for what is none."""
    try:
        made = float(value)
    except (TypeError, ValueError):
        return None
    return made if abs(made) < 1e15 and not isinstance(value, bool) else None


def read(run: Run, conf: Mapping[str, str], name: str) -> Sensor:
    """Return a sensor's last words, if they hold: "euca.components.cc.state".

    Raises Failed as `load` does, absent with how to switch it on, and unreadable for what is void.
    """
    from nephoscope.probes import euca_conf

    path = f"{euca_conf.directory(conf, 'status')}/{name.replace('.', '/')}"
    try:
        sensor = load(run, path, name)
    except Failed as failed:
        cure = OFF if failed.kind == ABSENT else failed.cure
        raise Failed(failed.kind, name, failed.tried, failed.error, cure) from None
    if sensor.void:
        text = f"the last reading is {sensor.age / 60:.0f} min old: its writer does not run, or hangs"
        raise Failed(UNREADABLE, name, f"read {path}", text)
    return sensor


class State(NamedTuple):
    """What a C component says of itself (`euca.components.cc.state`, `….nc.state`).

    word   Component.State in upper case; "UNKNOWN" where it does not know
    check  "OK" or "FAILED", of its own self-test
    """

    word: str
    check: str


def state(run: Run, conf: Mapping[str, str], component: str) -> State:
    """Return the state of "cc" or "nc". Raises Failed as `read` does; unreadable when one of the two words is missing."""
    name = f"euca.components.{component}.state"
    values = read(run, conf, name).values
    # C writes its keys in lower case, Java with a capital letter.
    word, check = (values.get(key, values.get(key.title())) for key in ("state", "check"))
    if not isinstance(word, str) or not isinstance(check, str):
        raise Failed(UNREADABLE, name, "", f"no state and check in it: {', '.join(values)[:60]}")
    return State(word.upper(), check.upper())


class Messages(NamedTuple):
    """What became of the messages to a CC or NC.

    failed  % of them, of those since about five minutes
    detail  how many of which: "3 of 40 DescribeInstances"
    kept    plain JSON for the next run
    """

    failed: float | Collecting
    detail: str
    kept: Any


def messages(run: Run, sensor: Sensor, before: Any = None) -> Messages:
    """Return how many messages failed by a sensor `euca.components.{cc,nc}.msgs.stats`.

    before  what was kept last time; `run.before` unless said
    `failure_count` is of no use: update_message_stats reads `count` into it (4.1 to 4.4, and what became 5.0). What did not
    succeed failed. The numbers grow as long as the component runs: reset_message_stat leaves before it resets anything.
    Raises Failed, unreadable: no numbers, or none are counted.
    """
    from nephoscope.base import samples

    if sensor.values.get("enabled") is not True:
        raise Failed(UNREADABLE, sensor.name, "", "it counts no messages")
    counts = {"all": 0.0, "failed": 0.0}
    kinds = sorted(kind for kind, numbers in sensor.values.items() if isinstance(numbers, dict))
    for kind in kinds:
        count, well = (number(sensor.values[kind].get(key)) for key in ("count", "success_count"))
        if count is None or well is None:
            raise Failed(UNREADABLE, sensor.name, "", f"no numbers of message {kind[:40]}")
        counts[f"{kind} all"], counts[f"{kind} failed"] = count, max(0.0, count - well)
        counts["all"], counts["failed"] = counts["all"] + count, counts["failed"] + counts[f"{kind} failed"]
    # By the sensor's own clock: between two of its writings nothing has changed.
    history = samples.take(run, counts, span=SPAN, before=before, at=sensor.timestamp, boot="")
    share = history.share("failed", "all")
    bad = []
    for kind in kinds:
        failed, total = history.rise(f"{kind} failed"), history.rise(f"{kind} all")
        if isinstance(failed, float) and isinstance(total, float) and failed:
            bad.append(f"{failed:.0f} of {total:.0f} {kind}")
    if share is None:  # reset before each reading: then they are those of the last minute
        share = 100.0 * counts["failed"] / counts["all"] if counts["all"] else 0.0
    return Messages(share, ", ".join(bad), history.keep())
