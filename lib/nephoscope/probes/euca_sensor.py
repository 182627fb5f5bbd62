# SPDX-License-Identifier: Apache-2.0
"""One of Eucalyptus' own sensors, as its components leave it on their host: JSON in a file for each, off by default.

Sources: util/stats/{fs_emitter,service_sensor,message_sensor,message_stats}.c of 4.1 to 4.4 (CC, NC), the wiki page
Eucalyptus-Common-Sensor-Output. A sensor's dots are the folders of its file below run/eucalyptus/status; the file is written
beside and renamed, every 60 s, with a `ttl` of 61, in group eucalyptus-status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, files

MARGIN = 60  # seconds beyond its ttl for which a reading counts: the writer runs every 60 s, and may be late
GROUP = "eucalyptus-status"
OFF = 'switch it on by ENABLED_SENSORS="messages service_state" in eucalyptus.conf (CC, NC; no restart)'


class Sensor(NamedTuple):
    """A reading.

    age     seconds since it was taken
    ttl     seconds for which its writer says it holds
    values  as they stand in the file
    """

    age: float
    ttl: float
    values: Mapping[str, Any]


def read(run: Run, conf: Mapping[str, str], name: str) -> Sensor:
    """Return a sensor's last reading: "euca.components.cc.state".

    Raises Failed: absent (no such file: switched off, or nothing of the kind here), not-allowed, unreadable (no JSON of that
    form, half written, another sensor's, void since long, or from the future).
    """
    import json

    from nephoscope.probes import euca_conf

    path = f"{euca_conf.directory(conf, 'status')}/{name.replace('.', '/')}"
    run.stage(f"read {path}")
    try:
        text = files.text(run, path, of=name)
    except Failed as failed:
        cure = {ABSENT: OFF, NOT_ALLOWED: f"membership of group {GROUP}"}.get(failed.kind, "")
        raise Failed(failed.kind, name, failed.tried, failed.error, cure) from None
    try:
        found = json.loads(text)
        at, ttl, values = float(found["timestamp"]), float(found["ttl"]), found["values"]
        if found["sensor"] != name or not isinstance(values, dict):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Failed(UNREADABLE, name, f"read {path}", f"no reading of this sensor: {text[:40]!r}") from None
    age = run.clock.time() - at
    if age > ttl + MARGIN:
        text = f"the last reading is {age / 60:.0f} min old: its writer does not run, or hangs"
        raise Failed(UNREADABLE, name, f"read {path}", text)
    if age < -MARGIN:
        raise Failed(UNREADABLE, name, f"read {path}", f"the reading is {-age:.0f} s ahead of this host's clock")
    return Sensor(age, ttl, values)


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


def messages(run: Run, conf: Mapping[str, str], component: str) -> dict[str, float]:
    """Return how many messages "cc" or "nc" has served: "all", and those that "failed".

    `failure_count` is of no use: update_message_stats reads `count` into it (4.1 to 4.4). What did not succeed failed. The
    numbers grow as long as the component runs: reset_message_stat leaves before it resets anything.
    Raises Failed as `read` does.
    """
    name = f"euca.components.{component}.msgs.stats"
    total = failed = 0.0
    for message, numbers in read(run, conf, name).values.items():
        if not isinstance(numbers, dict):
            continue  # "enabled"
        try:
            count = float(numbers["count"])
            failed += max(0.0, count - float(numbers["success_count"]))
            total += count
        except (KeyError, TypeError, ValueError):
            raise Failed(UNREADABLE, name, "", f"no numbers of message {message[:40]}") from None
    return {"all": total, "failed": failed}
