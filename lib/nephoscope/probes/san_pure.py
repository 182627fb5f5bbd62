# SPDX-License-Identifier: Apache-2.0
"""What a Pure FlashArray (Purity 6.0 and later) says by REST 2 of its health, its room and its speed.

Source: the OpenAPI descriptions 2.0 to 2.58 in Pure's own client py-pure-client 1.96 (fields, units, "Valid values"), and its
log-in: POST /api/2.x/login with the header api-token gives x-auth-token, POST /api/2.x/logout returns it.

The password is the API token of a user with the role readonly: `pureadmin create --role readonly nagios`, then
`pureadmin create --api-token nagios`. No user name is needed.

Requests: 4 for all modes (versions, log-in, array, log-out), 7 more for health, 1 for capacity, 1 for performance, and one
more per further 1,000 entries. Volumes are not asked for: they are thin, and full only when the array is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import san
from nephoscope.probes.guest import Guest
from nephoscope.probes.san import Array, Part, Place, Room, Speed
from nephoscope.probes.san_rest import Rest, dig, distinct, number, peak, refused, text, things, total, worse

PORT = 443
PAGE = 1000
RIGHT = "pureadmin create --role readonly nagios; pureadmin create --api-token nagios: its token is the password"
HARDWARE = {  # hardware: status; ok and not_installed are the words of older versions
    "ok": "ok", "healthy": "ok", "identifying": "ok", "unused": "absent", "not_installed": "absent",
    "degraded": "degraded", "unhealthy": "failed", "critical": "failed",
}  # fmt: skip
KIND = {  # hardware: type, in the words of FlashArray and in the short ones; any other is told as the system's
    "chassis": "enclosure", "ch": "enclosure", "storage_shelf": "enclosure", "sh": "enclosure", "cooling": "fan",
    "fan": "fan", "power_supply": "power supply", "pwr": "power supply", "temp_sensor": "sensor", "tmp": "sensor",
    "eth_port": "port", "eth": "port", "fc_port": "port", "fc": "port", "ib_port": "port", "ib": "port",
    "sas_port": "port", "sas": "port", "controller": "controller", "ct": "controller", "drive_bay": "disk", "bay": "disk",
    "nvram_bay": "disk", "nvb": "disk",
}  # fmt: skip
DRIVE = {
    "healthy": "ok", "unused": "ok", "identifying": "ok", "empty": "absent", "recovering": "rebuilding",
    "unadmitted": "degraded", "unrecognized": "degraded", "updating": "degraded", "failed": "failed",
    "missing": "failed", "unhealthy": "failed",
}  # fmt: skip
CONTROLLER = {"ready": "ok", "updating": "degraded", "not ready": "failed"}
CONTROLLER_MODE = {"primary": "ok", "secondary": "ok", "offline": "failed", "not present": "failed"}
ALERT = {"info": "ok", "hidden": "ok", "warning": "degraded", "critical": "failed"}
CONNECTION = {
    "connected": "ok", "connecting": "degraded", "partially_connected": "degraded", "unbalanced": "degraded",
    "inactive": "degraded",
}  # fmt: skip
POD = {"online": "ok", "resyncing": "rebuilding", "suspended": "degraded", "offline": "failed"}
MEDIATOR = {"online": "ok", "flummoxed": "degraded", "unreachable": "degraded"}


def greet(run: Run, place: Place) -> str:
    """Return the name and version of the array behind an address: four requests. Raises Failed."""
    with Guest(run, place.base(PORT), **place.trust) as guest:
        _, array = _enter(Rest(guest, RIGHT), place)
        return _product(array)


def look(run: Run, place: Place, modes: tuple[str, ...]) -> Array:
    """Ask the array. Raises Failed when it lets us not in, or is something else."""
    with Guest(run, place.base(PORT), **place.trust) as guest:
        rest = Rest(guest, RIGHT)
        api, array = _enter(rest, place)
        parts: list[Part] = []
        rooms: list[Room] = []
        speeds: list[Speed] = []
        if "health" in modes:
            parts += _redundancy(rest, array)
            parts += _controllers(rest, api)
            drives = list(_drives(rest, api))
            parts += drives
            parts += _hardware(rest, api, {drive.name for drive in drives})
            parts += _ports(rest, api)
            parts += _connections(rest, api)
            parts += _pods(rest, api)
            parts += _alerts(rest, api)
        if "capacity" in modes:
            rooms += _rooms(rest, api)
        if "performance" in modes:
            speeds = rest.measured(_speeds(rest, api), "the newest sample has no numbers")
        return Array(_product(array), distinct(parts), rooms, speeds, None, rest.lost)


def _enter(rest: Rest, place: Place) -> tuple[str, dict[str, Any]]:
    """Log in; return the root of the newest REST 2 and what the array says of itself. Raises Failed."""
    if not place.password:
        raise Failed(NOT_ALLOWED, "", "log in", "no API token was given", f"--password by --extra-opts: {RIGHT}")
    versions = rest.thing("/api/api_version").get("version")
    found = (
        [re.fullmatch(r"2\.(\d{1,4})", str(each), re.ASCII) for each in versions] if isinstance(versions, list) else []
    )
    minors = [int(match.group(1)) for match in found if match]
    if not minors:
        error = "no REST 2 is offered: another product, or Purity before 6.0"
        raise Failed(UNREADABLE, "", "GET /api/api_version", error)
    api = f"/api/2.{max(minors)}"
    headers = rest.guest.headers

    def log_in() -> Callable[[], object]:
        answer = rest.raw("POST", f"{api}/login", headers={"api-token": place.password})
        token = answer.headers.get("x-auth-token", "")
        if answer.status == 200 and token:
            headers["x-auth-token"] = token
            return lambda: rest.guest.request("POST", f"{api}/logout")
        tried = f"POST {api}/login"
        if answer.status in (400, 401, 403):
            raise Failed(NOT_ALLOWED, "", "log in", f"refused: HTTP {answer.status}", RIGHT)
        if answer.status in (429, 503):
            raise Failed(UNREACHABLE, "", tried, f"the array is busy (HTTP {answer.status})")
        kind = UNREACHABLE if answer.status >= 500 else UNREADABLE
        raise Failed(kind, "", tried, f"HTTP {answer.status}{'' if token else ', no token'}")

    rest.guest.enter(log_in)
    try:
        rows = things(rest.thing(f"{api}/arrays"), "items")
    except Failed as failed:
        raise refused(failed, RIGHT) from None
    if not rows:
        raise Failed(UNREADABLE, "", f"GET {api}/arrays", "it does not tell which array it is")
    return api, rows[0]


def _product(array: dict[str, Any]) -> str:
    return " ".join(
        filter(None, (text(array.get("os")) or "Purity", text(array.get("version")), text(array.get("name"))))
    )


def _list(rest: Rest, kinds: Any, path: str, query: str = "", must: bool = False) -> list[dict[str, Any]]:
    """Return all items; a page that is not the last one says how the next one is asked for."""
    first = f"{path}?limit={PAGE}{query}"

    def following(answer: dict[str, Any]) -> str:
        token = answer.get("continuation_token")
        more = answer.get("more_items_remaining") is not False
        return f"{first}&continuation_token={quote(str(token), safe='')}" if token and more else ""

    return rest.rows(kinds, first, "items", following, must)


def _part(kind: str, name: str, table: dict[str, str], word: Any, more: Any = None) -> Part:
    said = "no status" if word is None else text(word) or "a status that is no word"
    return Part(kind, name, san.health(table, word), ", ".join(filter(None, (said, text(more)))))


def _redundancy(rest: Rest, array: dict[str, Any]) -> Iterator[Part]:
    """Yield the array's own measure of its data's redundancy, below 1 while it rebuilds; null without the right."""
    parity = number(array.get("parity"))
    if parity is not None:
        yield Part("system", "data redundancy", "ok" if parity >= 1 else "rebuilding", f"{100 * parity:.0f} %")
    elif "parity" in array:
        error = "parity is null, as without the right to see it"
        rest.lose("system", Failed(NOT_ALLOWED, "system", "GET arrays", error, RIGHT))


def _controllers(rest: Rest, api: str) -> Iterator[Part]:
    for row in _list(rest, "controller", f"{api}/controllers", must=True):
        status, mode = row.get("status"), row.get("mode")
        part = _part("controller", text(row.get("name")), CONTROLLER, status, mode)
        # A shelf's controller may have no mode; an array's is one of two.
        known = [part.health] if mode is None else [part.health, san.health(CONTROLLER_MODE, mode)]
        yield part._replace(health=worse(*known))


def _drives(rest: Rest, api: str) -> Iterator[Part]:
    for row in _list(rest, "disk", f"{api}/drives", must=True):
        yield _part("disk", text(row.get("name")), DRIVE, row.get("status"), row.get("details"))


def _hardware(rest: Rest, api: str, drives: set[str]) -> Iterator[Part]:
    """Yield the hardware; the bay of a drive is told with the drive."""
    kinds = ("enclosure", "fan", "power supply", "sensor", "port")
    for row in _list(rest, kinds, f"{api}/hardware", must=True):
        kind, name = san.health(KIND, row.get("type")), text(row.get("name"))
        kind = "system" if kind in ("unknown", "controller") else kind  # the controllers have a list of their own
        if kind == "disk" and name in drives:
            continue
        details = text(row.get("details"))
        heat = row.get("temperature")
        if not details and kind == "sensor" and number(heat) is not None:
            details = f"{heat} C"
        yield _part(kind, f"hardware {name}" if kind == "system" else name, HARDWARE, row.get("status"), details)


def _ports(rest: Rest, api: str) -> Iterator[Part]:
    for row in _list(rest, "port", f"{api}/ports"):
        if text(row.get("failover")):
            yield Part("port", f"{text(row.get('name'))} target", "degraded", f"failed over to {text(row['failover'])}")


def _connections(rest: Rest, api: str) -> Iterator[Part]:
    for row in _list(rest, "replication", f"{api}/array-connections"):
        name = text(row.get("name"), dig(row, "remote.name"))
        yield _part("replication", f"to {name}", CONNECTION, row.get("status"), row.get("type"))


def _pods(rest: Rest, api: str) -> Iterator[Part]:
    """Yield the arrays of each stretched pod, and their mediator; a pod on one array needs neither."""
    for pod in _list(rest, "replication", f"{api}/pods"):
        members = things(pod, "arrays")
        for row in members if len(members) > 1 else []:
            name = f"pod {text(pod.get('name'))} on {text(row.get('name'), dig(row, 'member.name'))}"
            yield _part("replication", name, POD, row.get("status"))
            yield _part("replication", f"{name}, mediator", MEDIATOR, row.get("mediator_status"))


def _alerts(rest: Rest, api: str) -> Iterator[Part]:
    for row in _list(rest, "alert", f"{api}/alerts", "&filter=" + quote("state!='closed'")):
        if row.get("state") == "closed":
            continue
        name = text(row.get("component_name"), row.get("name"))
        said = text(row.get("summary"), row.get("issue"), row.get("severity"))
        code = text(row.get("code"))
        yield Part("alert", name, san.health(ALERT, row.get("severity")), f"{said} ({code})" if code else said)


def _rooms(rest: Rest, api: str) -> Iterator[Room]:
    """Yield the array as its one pool. total_physical became total_used in 2.26, and is null in some versions since.

    What was promised is told as what it takes at the array's present data reduction: it always reduces, five to one is usual.
    """
    for row in _list(rest, "pool", f"{api}/arrays/space", must=True):
        size = number(row.get("capacity"))
        used = peak(*(number(dig(row, f"space.{field}")) for field in ("total_used", "total_physical")))
        if size is None and used is None:
            error = "capacity is null, as without the right to see it"
            rest.lose("pool", Failed(NOT_ALLOWED, "pool", "GET arrays/space", error, RIGHT))
            continue
        promised, reduction = number(dig(row, "space.total_provisioned")), number(dig(row, "space.data_reduction"))
        if promised is not None and reduction is not None and reduction > 1:
            promised /= reduction
        yield Room("pool", text(row.get("name")), size, used, promised)


def _speeds(rest: Rest, api: str) -> Iterator[Speed]:
    """Yield the array's newest sample; latencies in microseconds."""
    for row in _list(rest, "performance", f"{api}/arrays/performance", must=True):
        latency = peak(*(number(row.get(f"usec_per_{way}_op")) for way in ("read", "write", "mirrored_write")))
        yield Speed(
            "", None if latency is None else latency / 1e6,
            total(*(number(row.get(f"{way}_per_sec")) for way in ("reads", "writes", "others"))),
            total(*(number(row.get(f"{way}_bytes_per_sec")) for way in ("read", "write"))),
        )  # fmt: skip
