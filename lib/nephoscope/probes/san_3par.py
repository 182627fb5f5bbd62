# SPDX-License-Identifier: Apache-2.0
"""What an HPE 3PAR, Primera or Alletra 9000 says by its Web Services API of its health, its room and its speed.

Source: HP 3PAR Web Services API Developer's Guides 1.2 and 1.3.1 (states of volumes and CPGs), HPE's own python-3parclient 4.4
(session, paths, capacity, ports), Centreon's Primera plugin (nodes, disks, efficiency).

The WSAPI does not tell of power supplies, fans, batteries and cages, before 3PAR OS 3.3.1 not of disks and speed
either: the product says so in every summary. It may be stopped
while the array serves: `showwsapi`, `startwsapi` on the array. Least rights: `createuser -c PASSWORD nagios all browse`.

Requests: 3 for all modes (log-in, system, log-out), 5 more for health, 2 for capacity (CPGs are shared with health), 1 for
performance; lists are not paged. Without --port 8080 is tried (3PAR), then 443 (Primera, Alletra), where the first refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import san
from nephoscope.probes.guest import Guest
from nephoscope.probes.san import Array, Part, Place, Room, Speed
from nephoscope.probes.san_rest import Rest, dig, distinct, number, peak, refused, text, things, total, worse

PORTS = (8080, 443)
API = "/api/v1"
MIB = 1 << 20
RIGHT = "createuser -c PASSWORD nagios all browse"
STOPPED = "showwsapi on the array: its web service may be stopped while the array serves (--unreachable-state)"
SILENT = "power supplies, fans, batteries and cages"
STATE = {1: "ok", 2: "degraded", 3: "failed"}  # of CPGs and volumes
STATES = {1: "normal", 2: "degraded", 3: "failed", 99: "unknown"}
DISK = {1: "ok", 2: "degraded", 3: "degraded", 4: "failed"}
DISKS = {1: "normal", 2: "degraded", 3: "new", 4: "failed", 99: "unknown"}
LINKS = (
    "CONFIG_WAIT", "ALPA_WAIT", "LOGIN_WAIT", "READY", "LOSS_SYNC", "ERROR_STATE", "XXX", "NONPARTICIPATE", "COREDUMP",
    "OFFLINE", "FWDEAD", "IDLE_FOR_RESET", "DHCP_IN_PROGRESS", "PENDING_RESET", "NEW", "DISABLED", "DOWN", "FAILED",
    "PURGING",
)  # fmt: skip
LINK = {
    1: "degraded", 2: "degraded", 3: "degraded", 4: "ok", 5: "degraded", 6: "failed", 8: "degraded", 9: "failed",
    10: "failed", 11: "failed", 12: "failed", 13: "degraded", 14: "degraded", 15: "degraded", 16: "absent", 17: "failed",
    18: "failed", 19: "degraded",
}  # fmt: skip
FAILOVERS = (
    "NONE", "FAILOVER_PENDING", "FAILED_OVER", "ACTIVE", "ACTIVE_DOWN", "ACTIVE_FAILED", "FAILBACK_PENDING",
)  # fmt: skip
FAILOVER = {1: "ok", **dict.fromkeys(range(2, 8), "degraded")}
FREE = 3  # a port's type: nothing uses it
COPIES = ("new", "starting", "started", "restart", "stopped", "backup", "failsafe", "unknown", "logging")
COPY = {1: "degraded", 2: "degraded", 3: "ok", 4: "degraded", 5: "failed", 6: "degraded", 7: "failed", 9: "degraded"}
TIERS = ("FC", "NL", "SSD")


def greet(run: Run, place: Place) -> str:
    """Return the model, version and name of the array behind an address: three requests. Raises Failed."""

    def ask(rest: Rest, system: dict[str, Any]) -> str:
        return _product(system)

    return str(_visit(run, place, ask))


def look(run: Run, place: Place, modes: tuple[str, ...]) -> Array:
    """Ask the array. Raises Failed when it lets us not in, or is something else."""

    def ask(rest: Rest, system: dict[str, Any]) -> Array:
        parts: list[Part] = []
        rooms: list[Room] = []
        speeds: list[Speed] = []
        cpgs = _list(rest, "pool", "/cpgs") if "health" in modes or "capacity" in modes else []
        if "health" in modes:
            parts += _system(rest, system)
            parts += _disks(rest)
            parts += [_state("pool", f"CPG {text(row.get('name'))}", row) for row in cpgs]
            parts += [_state("volume", text(row.get("name")), row) for row in _list(rest, "volume", "/volumes")]
            parts += _ports(rest)
            parts += _copies(rest)
        if "capacity" in modes:
            rooms = [*_tiers(rest), *_limits(cpgs)]
        if "performance" in modes:
            speeds = [speed for speed in _speeds(rest) if speed != Speed(speed.name)]
        said = _product(system)
        if "health" in modes:
            diskless = not any(part.kind == "disk" for part in parts) and not any(
                lost.of in ("", "disk") for lost in rest.lost
            )
            said += f" ({'disks, ' if diskless else ''}{SILENT} are not in its WSAPI)"
        return Array(said, distinct(parts), rooms, speeds, None, rest.lost)

    found: Array = _visit(run, place, ask)
    return found


def _visit(run: Run, place: Place, ask: Callable[[Rest, dict[str, Any]], Any]) -> Any:
    """Log in on the port that answers, and return what `ask` gives."""
    if not (place.user and place.password):
        raise Failed(NOT_ALLOWED, "", "log in", "no --user and --password were given", RIGHT)
    ports = (place.port,) if place.port else PORTS
    for port in ports:
        with Guest(run, place._replace(port=port).base(PORTS[0]), **place.trust) as guest:
            rest = Rest(guest, RIGHT)
            try:
                system = _enter(rest, place)
            except Failed as failed:
                if "refused" in failed.error and failed.kind == UNREACHABLE and port != ports[-1]:
                    continue
                cure = STOPPED if failed.kind == UNREACHABLE else failed.cure
                raise Failed(failed.kind, failed.of, failed.tried, failed.error, cure) from None
            return ask(rest, system)
    raise AssertionError("the last port either answers or fails")


def _enter(rest: Rest, place: Place) -> dict[str, Any]:
    """Make a session, and return what the array says of itself."""
    import json

    def log_in() -> Callable[[], object]:
        content = {"user": place.user, "password": place.password}
        answer = rest.raw("POST", f"{API}/credentials", "", content)
        try:
            key = json.loads(answer.body).get("key")
        except (ValueError, AttributeError, RecursionError):
            key = None
        # The key goes into a path: what has other characters than those of a key is none.
        if answer.status in (200, 201) and isinstance(key, str) and key and key.isascii() and key.isprintable():
            rest.guest.headers["X-HP3PAR-WSAPI-SessionKey"] = key
            return lambda: rest.guest.request("DELETE", f"{API}/credentials/{quote(key, safe='')}")
        tried = f"POST {API}/credentials"
        if answer.status in (400, 401, 403):
            raise Failed(NOT_ALLOWED, "", "log in", f"refused: HTTP {answer.status}", RIGHT)
        if answer.status in (429, 503):
            raise Failed(
                UNREACHABLE, "", tried, f"the array is busy (HTTP {answer.status}): it may have no free session"
            )
        kind = UNREACHABLE if answer.status >= 500 else UNREADABLE
        raise Failed(kind, "", tried, f"HTTP {answer.status}, no key: this is not a WSAPI")

    rest.guest.enter(log_in)
    try:
        system = rest.thing(f"{API}/system")
    except Failed as failed:
        raise refused(failed, RIGHT) from None
    if not text(system.get("systemVersion")):
        raise Failed(UNREADABLE, "", f"GET {API}/system", "no systemVersion: this is not a WSAPI")
    return system


def _product(system: dict[str, Any]) -> str:
    return " ".join(text(system.get(field)) for field in ("model", "systemVersion", "name")).strip()


def _list(rest: Rest, kinds: Any, path: str, must: bool = False) -> list[dict[str, Any]]:
    """Return the members of a list; fewer than the answer's own `total` are a part of it."""
    whole: list[float] = []

    def following(answer: dict[str, Any]) -> str:
        whole.append(number(answer.get("total")) or 0.0)
        return ""

    found = rest.rows(kinds, f"{API}{path}", "members", following, must)
    if whole and len(found) < whole[0]:
        error = f"{len(found)} of {whole[0]:.0f} members were told"
        rest.lose(kinds, Failed(UNREADABLE, "", f"GET {API}{path}", error))
    return found


def _state(kind: str, name: str, row: dict[str, Any]) -> Part:
    state = row.get("state")
    return Part(kind, name, san.health(STATE, state), _word(STATES, state))


def _word(words: dict[int, str], value: Any) -> str:
    said = san.health(words, value)
    return said if said != "unknown" or value == 99 else f"state {text(value) or 'not told'}"


def _system(rest: Rest, system: dict[str, Any]) -> Iterator[Part]:
    """Yield the nodes of the cluster, and capacity that has failed."""
    nodes, online = system.get("clusterNodes"), system.get("onlineNodes")
    if isinstance(nodes, list) and isinstance(online, list) and nodes:
        for node in nodes:
            there = node in online
            yield Part(
                "controller", f"node {text(node)}", "ok" if there else "failed", "online" if there else "offline"
            )
    else:
        failed = Failed(UNREADABLE, "", f"GET {API}/system", "clusterNodes and onlineNodes are no lists of nodes")
        rest.lose("controller", failed)
    lost = number(system.get("failedCapacityMiB"))
    if lost is not None:
        yield Part("system", "failed capacity", "degraded" if lost else "ok", f"{lost:.0f} MiB")


def _disks(rest: Rest) -> Iterator[Part]:
    before = len(rest.lost)
    for row in _list(rest, "disk", "/disks", must=True):
        where = text(row.get("position"))
        name = f"{text(row.get('id'))} at {where}" if where else text(row.get("id"))
        yield Part("disk", name, san.health(DISK, row.get("state")), _word(DISKS, row.get("state")))
    _not_offered(rest, before)


def _not_offered(rest: Rest, before: int) -> None:
    """Take back what is lost for HTTP 404: 3PAR OS before 3.3.1 does not have that path. `look` says so."""
    rest.lost[before:] = [failed for failed in rest.lost[before:] if failed.error != "HTTP 404"]


def _ports(rest: Rest) -> Iterator[Part]:
    for row in _list(rest, "port", "/ports", must=True):
        name = ":".join(text(dig(row, f"portPos.{field}")) for field in ("node", "slot", "cardPort"))
        link, failover = row.get("linkState"), row.get("failoverState")
        known = isinstance(link, int) and 1 <= link <= len(LINKS)
        word = LINKS[int(link or 0) - 1] if known else f"linkState {text(link) or 'not told'}"
        health = san.health(LINK, link)
        if row.get("type") == FREE and health != "ok":
            yield Part("port", name, "absent", f"{word}, free")
            continue
        if failover is not None and san.health(FAILOVER, failover) != "ok":
            known = isinstance(failover, int) and 1 <= failover <= len(FAILOVERS)
            word += f", {FAILOVERS[int(failover) - 1] if known else f'failoverState {text(failover)}'}"
            health = worse(health, san.health(FAILOVER, failover))
        yield Part("port", name, health, word)


def _copies(rest: Rest) -> Iterator[Part]:
    for row in _list(rest, "replication", "/remotecopygroups"):
        for target in things(row, "targets"):
            state = target.get("state")
            known = isinstance(state, int) and 1 <= state <= len(COPIES)
            name = f"{text(row.get('name'))} to {text(target.get('targetName'), target.get('name'))}"
            said = COPIES[int(state or 0) - 1] if known else f"state {text(state) or 'not told'}"
            yield Part("replication", name, san.health(COPY, state), said)


def _tiers(rest: Rest) -> Iterator[Room]:
    """Yield each kind of disks as a pool, raw; what is promised by the array's own ratio of over-provisioning."""
    try:
        capacity = rest.thing(f"{API}/capacity", "pool")
    except Failed as failed:
        rest.lose("pool", failed)
        return
    tiers = [tier for tier in TIERS if number(dig(capacity, f"{tier}Capacity.totalMiB"))] or ["all"]
    for tier in tiers:
        row = capacity.get(f"{tier}Capacity")
        size, free = number(dig(row, "totalMiB")), number(dig(row, "freeMiB"))
        ratio = number(dig(row, "allocated.volumes.capacityEfficiency.overProvisioning"))
        used = None if size is None or free is None else max(0.0, size - free) * MIB
        size = None if size is None else size * MIB
        yield Room("pool", tier, size, used, None if size is None or ratio is None else size * ratio)


def _limits(cpgs: list[dict[str, Any]]) -> Iterator[Room]:
    """Yield the CPGs that may not grow beyond a limit: what they took of it. The others are full when their disks are."""
    for row in cpgs:
        limit = number(dig(row, "SDGrowth.limitMiB"))
        if limit:
            taken = total(*(number(dig(row, f"{usage}.totalMiB")) for usage in ("UsrUsage", "SDUsage")))
            yield Room("pool", f"CPG {text(row.get('name'))}", limit * MIB, None if taken is None else taken * MIB)


def _speeds(rest: Rest) -> Iterator[Speed]:
    """Yield the CPGs of the newest sample of five minutes: service times in ms, KBytes and requests per second."""
    before = len(rest.lost)
    for row in _list(rest, "performance", "/systemreporter/attime/cpgstatistics/hires"):
        latency = peak(*(number(dig(row, f"serviceTimeMS.{way}")) for way in ("read", "write")))
        speed = number(dig(row, "KBytes.total"))
        yield Speed(
            f"CPG {text(row.get('name'))}", None if latency is None else latency / 1e3, number(dig(row, "IO.total")),
            None if speed is None else speed * 1024,
        )  # fmt: skip
    _not_offered(rest, before)
