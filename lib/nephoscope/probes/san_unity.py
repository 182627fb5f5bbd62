# SPDX-License-Identifier: Apache-2.0
"""What a Dell EMC Unity says by REST of its health, its room and its speed.

Source: Unisphere Management REST API Programmer's Guide (log-in, log-out, compact collections), Dell's own Python library
storops 1.2.12 (types, fields, HealthEnum, SeverityEnum, recorded answers, the list of metrics with their units).

The log-in is HTTP Basic with X-EMC-REST-CLIENT, which gives a cookie and the EMC-CSRF-TOKEN that the log-out, a POST, needs.
Least rights: a local user with the role Operator (`uemcli /user/account create -name nagios -type local -role operator`).

Requests: 3 for all modes (log-in, name, log-out), 22 more for health, 2 for capacity, 4 for performance; pools and file
systems are shared; one more per further 2,000 objects. A type that the model does not have (HTTP 404) is named in the
product. Historical metrics are read, no real-time query is made: that would be an object on the array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import san
from nephoscope.probes.guest import Guest
from nephoscope.probes.san import Array, Part, Place, Room, Speed
from nephoscope.probes.san_rest import Rest, basic, dig, distinct, number, refused, text, things

PORT = 443
PAGE = 2000
LOGIN = "/api/types/loginSessionInfo/instances"
LOGOUT = "/api/types/loginSessionInfo/action/logout"
RIGHT = "a local user with the role Operator: uemcli /user/account create -name nagios -type local -role operator"
HEALTH = {5: "ok", 7: "ok", 10: "degraded", 15: "degraded", 20: "failed", 25: "failed", 30: "failed"}
HEALTHS = {
    0: "unknown", 5: "OK", 7: "OK, but", 10: "degraded", 15: "minor", 20: "major", 25: "critical", 30: "not recoverable",
}  # fmt: skip
EMPTY = "ALRT_DISK_SLOT_EMPTY"  # the health of an empty slot is OK
NEEDED = {"system": "system", "storageProcessor": "controller", "disk": "disk"}  # every Unity has these
HARDWARE = {  # type -> kind; they have needsReplacement
    "battery": "battery", "powerSupply": "power supply", "fan": "fan", "dpe": "enclosure", "dae": "enclosure",
    "lcc": "system", "ssc": "system", "ioModule": "system", "memoryModule": "system", "ssd": "system",
    "fcPort": "port", "ethernetPort": "port", "sasPort": "port",
}  # fmt: skip
LOGICAL = {
    "pool": "pool",
    "lun": "volume",
    "filesystem": "volume",
    "nasServer": "volume",
    "replicationSession": "replication",
}
PREFIX = {"lun": "LUN ", "filesystem": "file system ", "nasServer": "NAS server "}
SIZES = {"pool": ",sizeTotal,sizeUsed,sizeFree,sizeSubscribed", "filesystem": ",sizeTotal,sizeUsed"}
SEVERITY = {
    0: "failed", 1: "failed", 2: "failed", 3: "degraded", 4: "degraded", 5: "ok", 6: "ok", 7: "ok", 8: "ok",
}  # fmt: skip
INACTIVE = 2  # an alert's state, where the version has it
METRICS = ("totalCallsRate", "responseTime", "readBytesRate", "writeBytesRate")
STALE = 1200.0  # seconds; samples come each 300


def greet(run: Run, place: Place) -> str:
    """Return the model, version and name of the array behind an address: three requests. Raises Failed."""
    with Guest(run, place.base(PORT), **place.trust) as guest:
        return _enter(Rest(guest, RIGHT), place)


def look(run: Run, place: Place, modes: tuple[str, ...]) -> Array:
    """Ask the array. Raises Failed when it lets us not in, or is something else."""
    with Guest(run, place.base(PORT), **place.trust) as guest:
        rest = Rest(guest, RIGHT)
        product = _enter(rest, place)
        parts: list[Part] = []
        rooms: list[Room] = []
        missing: list[str] = []
        for name, kind in {**NEEDED, **LOGICAL, **HARDWARE}.items():
            sized = "capacity" in modes and name in SIZES
            if "health" not in modes and not sized:
                continue
            fields = "name,health" + (",needsReplacement" if name in HARDWARE or name == "disk" else "")
            before = len(rest.lost)
            # A loss of the kind system hides all that is missing; one of its modules does not.
            lost = "module" if kind == "system" and name != "system" else kind
            rows = _list(rest, lost, name, fields + (SIZES[name] if sized else ""), must=name in NEEDED)
            if len(rest.lost) > before and rest.lost[-1].error == "HTTP 404" and name not in NEEDED:
                rest.lost.pop()
                missing.append(name)
            if "health" in modes:
                parts += [_part(kind, PREFIX.get(name, ""), row) for row in rows]
            if sized:
                rooms += [_room(kind, PREFIX.get(name, ""), row) for row in rows]
        if "health" in modes:
            parts += _alerts(rest)
        speeds = list(_speeds(run, rest)) if "performance" in modes else []
        note = f" (it has no {', '.join(missing)})" if missing else ""
        return Array(product + note, distinct(parts), rooms, speeds, None, rest.lost)


def _enter(rest: Rest, place: Place) -> str:
    """Log in, and return what the array is."""
    headers = rest.guest.headers
    headers["X-EMC-REST-CLIENT"] = "true"
    credentials = basic(place)

    def log_in() -> Callable[[], object] | None:
        answer = rest.raw("GET", f"{LOGIN}?compact=true", headers={"Authorization": credentials})
        if answer.status in (401, 403):
            raise Failed(NOT_ALLOWED, "", "log in", f"refused: HTTP {answer.status}", RIGHT)
        if answer.status in (429, 503):
            raise Failed(UNREACHABLE, "", f"GET {LOGIN}", f"the array is busy (HTTP {answer.status})")
        lines = answer.headers.get("set-cookie", "").split("\n")
        cookies = [line.partition(";")[0].strip() for line in lines if "=" in line.partition(";")[0]]
        if answer.status != 200 or not cookies:
            kind = UNREACHABLE if answer.status >= 500 else UNREADABLE
            raise Failed(kind, "", f"GET {LOGIN}", f"HTTP {answer.status}, no session: this is not a Unity")
        # From here on by the cookie alone: with the password each request could make a session of its own.
        headers["Cookie"] = "; ".join(cookies)
        token = {"EMC-CSRF-TOKEN": answer.headers.get("emc-csrf-token", "").partition("\n")[0]}
        # localCleanupOnly: this session, not all of this user's.
        return lambda: rest.guest.request(
            "POST", LOGOUT, b'{"localCleanupOnly": true}', {**token, "Content-Type": "application/json"}
        )

    rest.guest.enter(log_in)
    try:
        rows = _contents(
            rest.thing("/api/types/basicSystemInfo/instances?compact=true&fields=name,model,softwareVersion")
        )
    except Failed as failed:
        raise refused(failed, RIGHT) from None
    if not rows or not text(rows[0].get("softwareVersion")):
        error = "no softwareVersion: this is not a Unity"
        raise Failed(UNREADABLE, "", "GET /api/types/basicSystemInfo/instances", error)
    return " ".join(text(rows[0].get(field)) for field in ("model", "softwareVersion", "name")).strip()


def _contents(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry["content"] for entry in things(answer, "entries") if isinstance(entry.get("content"), dict)]


def _list(rest: Rest, kind: str, name: str, fields: str, must: bool = False) -> list[dict[str, Any]]:
    """Return all objects of a type; an answer links to its next page as "&page=2"."""
    first = f"/api/types/{name}/instances?compact=true&fields={fields}&per_page={PAGE}"

    def following(answer: dict[str, Any]) -> str:
        for link in things(answer, "links"):
            if link.get("rel") == "next":
                page = text(link.get("href")).rpartition("page=")[2]
                return f"{first}&page={page}" if page.isascii() and page.isdigit() else f"{first}&page=?"
        return ""

    rows = rest.rows(kind, first, "entries", following, must)
    found = [row["content"] for row in rows if isinstance(row.get("content"), dict)]
    if len(found) < len(rows):
        error = f"{len(rows) - len(found)} entries have no content"
        rest.lose(kind, Failed(UNREADABLE, kind, f"GET /api/types/{name}/instances", error))
    return found


def _part(kind: str, prefix: str, row: dict[str, Any]) -> Part:
    value = dig(row, "health.value")
    health = san.health(HEALTH, value)
    ids, descriptions = dig(row, "health.descriptionIds"), dig(row, "health.descriptions")
    said = san.health(HEALTHS, value)
    if said == "unknown" and value != 0:
        said = f"health {text(value) or 'not told'}"
    if health != "ok" and isinstance(descriptions, list) and descriptions:
        said = f"{said}: {text(descriptions[0])}"
    if isinstance(ids, list) and EMPTY in ids:
        health, said = "absent", "empty slot"
    elif row.get("needsReplacement") is True and health == "ok":
        health, said = "degraded", "needs replacement"
    name = text(row.get("name"), row.get("id"))
    return Part(kind, f"{prefix}{name}", health, said)


def _room(kind: str, prefix: str, row: dict[str, Any]) -> Room:
    size, used, free, promised = (number(row.get(f"size{field}")) for field in ("Total", "Used", "Free", "Subscribed"))
    if used is None and size is not None and free is not None:
        used = max(0.0, size - free)
    return Room(kind, f"{prefix}{text(row.get('name'), row.get('id'))}", size, used, promised)


def _alerts(rest: Rest) -> Iterator[Part]:
    """Yield the alerts that nobody acknowledged and that are not over; versions without `state` tell of all."""
    before = len(rest.lost)
    fields = "message,severity,isAcknowledged,component"
    rows = _list(rest, "alert", "alert", f"{fields},state")
    if len(rest.lost) > before and rest.lost[-1].error in ("HTTP 400", "HTTP 404", "HTTP 422"):
        rest.lost.pop()
        rows = _list(rest, "alert", "alert", fields)
    for row in rows:
        if row.get("isAcknowledged") is not True and row.get("state") != INACTIVE:
            name = text(row.get("id"))
            severity = row.get("severity")
            yield Part("alert", name, san.health(SEVERITY, severity), text(row.get("message"), f"severity {severity}"))


def _speeds(run: Run, rest: Rest) -> Iterator[Speed]:
    """Yield the storage processors: rates of their LUNs together, and the response time of a request to any of them."""
    samples: dict[str, dict[str, dict[str, float]]] = {}
    for metric in METRICS:
        query = quote(f'path EQ "sp.*.storage.lun.*.{metric}" AND interval EQ 300')
        path = f"/api/types/metricValue/instances?compact=true&per_page=1&orderby=timestamp%20desc&filter={query}"
        try:  # no further page: the newest sample is enough
            samples[metric] = _sample(rest.thing(path, "performance"), run.now().isoformat())
        except Failed as failed:
            rest.lose("performance", failed)
            return
    if not samples["totalCallsRate"]:
        error = "no sample of the last 20 minutes: are metrics switched on?"
        rest.lose("performance", Failed(ABSENT, "", "GET /api/types/metricValue/instances", error))
        return
    for processor in sorted(samples["totalCallsRate"]):
        calls = samples["totalCallsRate"][processor]
        times, read, written = (samples[metric].get(processor) for metric in METRICS[1:])
        rate = sum(calls.values())
        latency = None
        if times:
            latency = sum(times.get(lun, 0.0) * count for lun, count in calls.items()) / rate / 1e6 if rate else 0.0
        bytes_ = None if read is None or written is None else 1024 * (sum(read.values()) + sum(written.values()))
        yield Speed(processor.upper().replace("SP", "SP "), latency, rate, bytes_)


def _sample(answer: dict[str, Any], now: str) -> dict[str, dict[str, float]]:
    """Return {processor: {LUN: value}} of a sample that is not too old; values come as numbers or as strings.

    now  the time, where the array does not tell its own
    """
    made: dict[str, dict[str, float]] = {}
    content = next(iter(_contents(answer)), {})
    values = content.get("values")
    at, updated = _seconds(content.get("timestamp")), _seconds(answer.get("updated") or now)
    if not isinstance(values, dict) or at is None or updated is None or updated - at > STALE:
        return made
    for processor, luns in values.items():
        for lun, value in luns.items() if isinstance(luns, dict) else ():
            try:
                told = number(float(value))
            except (TypeError, ValueError):
                told = None
            if told is not None:
                made.setdefault(str(processor), {})[str(lun)] = told
    return made


def _seconds(timestamp: Any) -> float | None:
    """Return "2022-01-12T09:25:00.000Z" as seconds since 1970, None for what is no time."""
    try:
        at = datetime.strptime(str(timestamp)[:19], "%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return None
    return at.replace(tzinfo=timezone.utc).timestamp()
