# SPDX-License-Identifier: Apache-2.0
"""What a NetApp ONTAP cluster (9.6 and later) says by REST of its health, its room and its speed.

Source: ONTAP REST API reference 9.6 to 9.19 (the schemas of NetApp's own Python library netapp-ontap 9.19.1 and their "Valid
choices"); queries, private paths and severities as NetApp Harvest 2 asks them (conf/rest, plugins/health).

HTTP Basic, no session: nothing to log out of. Least rights: `security login create -user-or-group-name nagios -application http
-authentication-method password -role readonly`.

Requests: 1 for all modes, 14 more for health, 2 for capacity, 1 for performance, and one more per further 500 disks,
shelves, ports, relationships or volumes; aggregates and volumes are shared by the modes. Of LUNs those alone are asked for
that are not online. The private paths are those of `system health subsystem show` and `system health alert show`: where a
version does not have them, or the sensors (9.11), that is said in the product, where the role may not ask them it is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import san
from nephoscope.probes.guest import Guest
from nephoscope.probes.san import Array, Part, Place, Room, Speed
from nephoscope.probes.san_rest import Rest, basic, dig, distinct, number, peak, refused, text, things, worse

PORT = 443
PAGE = 500
SUBSYSTEMS = "/api/private/cli/system/health/subsystem"
ALERTS = "/api/private/support/alerts"
SENSORS = "/api/cluster/sensors"
YOUNG = {
    SUBSYSTEMS: "health subsystems",
    ALERTS: "health alerts",
    SENSORS: "sensors",
}  # not in all versions; SENSORS: 9.11
EMS = 3600.0  # seconds for which an event of the severities emergency and alert is told
RIGHT = (
    "security login create -user-or-group-name nagios -application http -authentication-method password -role readonly"
)
NODE = {  # cluster/nodes: state
    "up": "ok", "booting": "degraded", "taken_over": "degraded", "waiting_for_giveback": "degraded", "down": "failed",
    "degraded": "failed",
}  # fmt: skip
OVER = {"normal": "ok", "over": "failed"}  # controller.over_temperature
TAKEOVER = {  # ha.takeover.state: not_attempted is the good one, "takeover is possible"
    "not_attempted": "ok", "in_takeover": "degraded", "in_progress": "degraded", "not_possible": "failed",
    "failed": "failed",
}  # fmt: skip
GIVEBACK = {"nothing_to_giveback": "ok", "not_attempted": "ok", "in_progress": "degraded", "failed": "failed"}
BATTERY = {  # nvram.battery_state
    "battery_ok": "ok", "battery_fully_charged": "ok", "battery_partially_discharged": "degraded",
    "battery_near_end_of_life": "degraded", "battery_over_charged": "degraded", "battery_fully_discharged": "failed",
    "battery_not_present": "failed", "battery_at_end_of_life": "failed",
}  # fmt: skip
SENSOR = {  # cluster/sensors: threshold_state and discrete_state
    "normal": "ok", "warn_low": "degraded", "warn_high": "degraded", "crit_low": "failed", "crit_high": "failed",
    "bad": "failed", "failed": "failed", "fault": "failed", "init_failed": "degraded", "disabled": "absent",
    "ignored": "absent", "not_available": "absent", "not_present": "absent",
}  # fmt: skip
AGGREGATE = {
    "online": "ok", "onlining": "degraded", "offlining": "degraded", "relocating": "degraded", "restricted": "degraded",
    "unmounted": "failed", "inconsistent": "failed", "offline": "failed", "failed": "failed",
}  # fmt: skip
DISK = {
    "present": "ok", "partner": "ok", "zeroing": "ok", "maintenance": "ok", "spare": "spare", "copy": "rebuilding",
    "reconstructing": "rebuilding", "pending": "degraded", "unfail": "degraded", "removed": "degraded",
    "broken": "failed",
}  # fmt: skip
CONTAINER = {  # storage/disks: container_type
    "aggregate": "ok", "shared": "ok", "remote": "ok", "mediator": "ok", "maintenance": "ok", "spare": "spare",
    "unassigned": "degraded", "foreign": "degraded", "labelmaint": "degraded", "unsupported": "degraded",
    "broken": "failed",
}  # fmt: skip
SHELF = {"ok": "ok", "error": "failed"}  # and its bays, fans, frus, sensors; "unknown" is unknown
FRU = {**SHELF, "not_installed": "absent"}
VOLUME = {"online": "ok", "mixed": "degraded", "restricted": "degraded", "offline": "failed", "error": "failed"}
LUN = {"online": "ok", "nvfail": "failed", "space_error": "failed", "foreign_lun_error": "failed"}
LIF = {"up": "ok", "down": "failed"}
ETHERNET = {"up": "ok", "degraded": "degraded", "down": "failed"}
FIBRE = {  # link_not_connected: nothing was ever plugged in since the port started
    "online": "ok", "startup": "degraded", "link_not_connected": "degraded", "link_disconnected": "failed",
    "offlined_by_system": "failed", "node_offline": "failed", "offlined_by_user": "absent",
}  # fmt: skip
SUBSYSTEM = {  # private/cli/system/health/subsystem: health
    "ok": "ok", "ok-with-suppressed": "ok", "ok_with_suppressed": "ok", "initializing": "degraded",
    "degraded": "degraded", "unreachable": "failed",
}  # fmt: skip
ALERT = {  # private/support/alerts: perceived_severity; Harvest takes one without a severity for a warning
    "": "degraded", "unknown": "degraded", "other": "degraded", "information": "ok", "degraded": "degraded",
    "minor": "degraded", "major": "failed", "critical": "failed", "fatal": "failed",
}  # fmt: skip
EVENT = {"emergency": "failed", "alert": "degraded"}  # support/ems/events: message.severity


def greet(run: Run, place: Place) -> str:
    """Return the name and version of the cluster behind an address: one request. Raises Failed."""
    with Guest(run, place.base(PORT), **place.trust) as guest:
        return _product(_cluster(_enter(guest, place), "name,version"))


def look(run: Run, place: Place, modes: tuple[str, ...]) -> Array:
    """Ask the cluster. Raises Failed when the first request fails, or answers for something else than ONTAP."""
    with Guest(run, place.base(PORT), **place.trust) as guest:
        rest = _enter(guest, place)
        cluster = _cluster(rest, "name,version" + (",metric" if "performance" in modes else ""))
        note = ""
        parts: list[Part] = []
        rooms: list[Room] = []
        speeds: list[Speed] = []
        spares = None
        release = number(dig(cluster, "version.generation")), number(dig(cluster, "version.major"))
        measured = "performance" in modes and release not in ((9, 6), (9, 5))  # aggregates have a metric since 9.7
        aggregates = _list(
            rest, "pool", "/api/storage/aggregates",
            "name,state" + (",space" if "capacity" in modes else "") + (",metric" if measured else ""),
        )  # fmt: skip
        volumes = []
        if "health" in modes or "capacity" in modes:
            wanted = "name,svm.name,state,style" + (",space,autosize,files,aggregates" if "capacity" in modes else "")
            volumes = _list(rest, "volume", "/api/storage/volumes", wanted)
        if "health" in modes:
            parts += _subsystems(rest)
            parts += _nodes(rest)
            parts += _sensors(rest)
            disks, spares = _disks(rest)
            parts += disks
            parts += _shelves(rest)
            parts += [_part("pool", text(row.get("name")), AGGREGATE, row.get("state")) for row in aggregates]
            parts += [_part("volume", _volume_name(row), VOLUME, row.get("state")) for row in volumes]
            parts += _luns(rest)
            parts += _ports(rest)
            parts += _mirrors(rest)
            parts += _events(run, rest)
            note = _not_offered(rest)
        if "capacity" in modes:
            rooms = [
                *_pools(aggregates, volumes, any(failed.of == "volume" for failed in rest.lost)),
                *_volume_rooms(volumes),
            ]
        if "performance" in modes:
            named = [(text(row.get("name")), row) for row in aggregates]
            word = text(dig(cluster, "metric.status")) or "none at all"
            speeds = rest.measured(
                [_speed(name, row) for name, row in [("", cluster), *named]], f"the sample is {word}"
            )
        return Array(_product(cluster) + note, distinct(parts), rooms, speeds, spares, rest.lost)


def _enter(guest: Guest, place: Place) -> Rest:
    guest.headers["Authorization"] = basic(place)
    return Rest(guest, RIGHT)


def _cluster(rest: Rest, fields: str) -> dict[str, Any]:
    """GET /api/cluster, by which the log-in is proved. Raises Failed."""
    try:
        cluster = rest.thing(f"/api/cluster?fields={fields}")
    except Failed as failed:
        raise refused(failed, RIGHT) from None
    if not text(dig(cluster, "version.full")):
        raise Failed(UNREADABLE, "", "GET /api/cluster", "no version.full: this is not ONTAP")
    return cluster


def _product(cluster: dict[str, Any]) -> str:
    version = text(dig(cluster, "version.full")).partition(":")[0]  # "NetApp Release 9.14.1P2: Sun Jan ..."
    return f"{version.replace('NetApp Release', 'ONTAP')} {text(cluster.get('name'))}".strip()


def _list(rest: Rest, kinds: Any, path: str, fields: str, query: str = "", must: bool = False) -> list[dict[str, Any]]:
    """Return all records of a collection. `return_timeout` lets ONTAP send a shorter page in time instead of none."""
    query = f"{path}?fields={fields}{query}&max_records={PAGE}&return_timeout=15"
    return rest.rows(kinds, query, "records", lambda answer: dig(answer, "_links.next.href"), must)


def _part(kind: str, name: str, table: dict[str, str], word: Any, more: str = "") -> Part:
    said = "no state" if word is None else text(word) or "a state that is no word"
    return Part(kind, name, san.health(table, word), f"{said}, {more}" if more else said)


def _subsystems(rest: Rest) -> Iterator[Part]:
    """Yield the array's own opinion: its subsystems and alerts."""
    fields = "subsystem,health,outstanding_alert_count"
    for row in _list(rest, "system", SUBSYSTEMS, fields):
        alerts = number(row.get("outstanding_alert_count"))
        part = _part("system", text(row.get("subsystem")), SUBSYSTEM, row.get("health"))
        yield part._replace(text=f"{part.text}, {alerts:.0f} alerts") if alerts else part
    query = f"{ALERTS}?suppress=false&max_records=100"
    for row in rest.rows("alert", query, "records", lambda answer: dig(answer, "_links.next.href")):
        severity = row.get("perceived_severity") or ""
        name = " ".join(filter(None, (text(dig(row, "node.name")), text(row.get("name")), text(row.get("resource")))))
        said = text(dig(row, "cause.message"), row.get("probable_cause"), severity)
        yield Part("alert", name, san.health(ALERT, severity), said)


def _not_offered(rest: Rest) -> str:
    """Take back what is lost because this version does not have it, and return what to say of that."""
    without = {failed: YOUNG.get(failed.tried[4:], "") for failed in rest.lost if failed.error == "HTTP 404"}
    rest.lost[:] = [failed for failed in rest.lost if not without.get(failed)]
    names = list(dict.fromkeys(name for name in without.values() if name))
    return f" (without {' and '.join(names)}, which it does not offer)" if names else ""


def _nodes(rest: Rest) -> Iterator[Part]:
    kinds = ("controller", "battery", "sensor")
    for row in _list(rest, kinds, "/api/cluster/nodes", "*", must=True):
        name = text(row.get("name"))
        yield _part("controller", name, NODE, row.get("state"))
        for field, what in (("failed_fan", "fans"), ("failed_power_supply", "power supplies")):
            # No parts of the kinds fan and power supply: those are sensors of their own, and would be counted twice.
            count = number(dig(row, f"controller.{field}.count"))
            if count is not None:
                said = text(dig(row, f"controller.{field}.message.message")) if count else ""
                health = "ok" if not count else "degraded" if count == 1 else "failed"
                yield Part("system", f"{what} of {name}", health, f"{count:.0f} failed{said and ': ' + said}")
        heat = dig(row, "controller.over_temperature")
        if heat is not None:
            yield _part("sensor", f"temperature of node {name}", OVER, heat)
        battery = dig(row, "nvram.battery_state")
        if battery is not None:
            yield _part("battery", f"NVRAM of node {name}", BATTERY, battery)
        if dig(row, "ha.enabled") is False and dig(row, "ha.partners"):
            yield Part("system", f"failover of {name}", "degraded", "switched off")
        elif dig(row, "ha.enabled") is True:
            for step, table in (("takeover", TAKEOVER), ("giveback", GIVEBACK)):
                word = dig(row, f"ha.{step}.state")
                if word is not None:
                    said = text(dig(row, f"ha.{step}.failure.message"))
                    yield _part("system", f"{step} by {name}", table, word, said)


def _sensors(rest: Rest) -> Iterator[Part]:
    for row in _list(rest, ("sensor", "fan"), SENSORS, "*"):
        words = [word for word in (row.get("threshold_state"), row.get("discrete_state")) if word is not None]
        health = worse(*(san.health(SENSOR, word) for word in words)) if words else "unknown"
        value = number(row.get("value"))
        said = " / ".join(dict.fromkeys(text(word) for word in words)) or "no state"
        if value is not None:
            said += f", {value:g} {text(row.get('value_units'))}".rstrip()
        kind = "fan" if row.get("type") == "fan" else "sensor"
        yield Part(kind, f"{text(dig(row, 'node.name'))} {text(row.get('name'))}".strip(), health, said)


def _disks(rest: Rest) -> tuple[list[Part], int | None]:
    """Return the disks, and how many whole ones are spare; None where disks are shared in slices, or are virtual."""
    parts = []
    spares = shared = 0
    before = len(rest.lost)
    for row in _list(rest, "disk", "/api/storage/disks", "*", must=True):
        state, container = row.get("state"), row.get("container_type")
        known = [san.health(table, word) for table, word in ((DISK, state), (CONTAINER, container)) if word is not None]
        health = worse(*known) if known else "unknown"
        said = " / ".join(dict.fromkeys(text(word) for word in (state, container) if word is not None)) or "no state"
        outage = text(dig(row, "outage.reason.message"))
        parts.append(Part("disk", text(row.get("name")), health, f"{said}, {outage}" if outage else said))
        spares += health == "spare"
        # Slices of partitioned disks may be spare where no disk is; a virtual machine's disks are another's business.
        shared += container in ("shared", "remote") or row.get("effective_type") in ("vmdisk", "lun")
    told = parts and not shared and len(rest.lost) == before
    return parts, spares if told else None


def _shelves(rest: Rest) -> Iterator[Part]:
    kinds = ("enclosure", "power supply", "fan")
    for shelf in _list(rest, kinds, "/api/storage/shelves", "*"):
        name = text(shelf.get("name"), shelf.get("serial_number"), shelf.get("uid"))
        yield _part("enclosure", name, SHELF, shelf.get("state"))
        for row in things(shelf, "bays"):
            if san.health(SHELF, row.get("state")) != "ok" and row.get("has_disk") is not False:
                yield _part("system", f"shelf {name} bay {text(row.get('id'))}", SHELF, row.get("state"))
        for row in things(shelf, "frus"):
            word = "not_installed" if row.get("installed") is False else row.get("state")
            what = f"{name} {text(row.get('type'))} {text(row.get('id'))}"
            supply = row.get("type") == "psu"
            yield _part("power supply" if supply else "system", what if supply else f"shelf {what}", FRU, word)
        for field, kind in (
            ("fans", "fan"), ("temperature_sensors", "sensor"), ("voltage_sensors", "sensor"),
            ("current_sensors", "sensor"),
        ):  # fmt: skip
            for row in things(shelf, field):
                word = "not_installed" if row.get("installed") is False else row.get("state")
                what = field.replace("_sensors", "").rstrip("s")
                yield _part(kind, f"{name} {what} {text(row.get('id'))}", FRU, word, text(row.get("location")))


def _volume_name(row: dict[str, Any]) -> str:
    return ":".join(filter(None, (text(dig(row, "svm.name")), text(row.get("name")))))


def _luns(rest: Rest) -> Iterator[Part]:
    """Yield the LUNs that are not online. One that an administrator took offline matters where hosts are mapped to it."""
    for row in _list(rest, "volume", "/api/storage/luns", "name,svm.name,status", "&status.state=!online"):
        state, container = dig(row, "status.state"), text(dig(row, "status.container_state"))
        mapped = dig(row, "status.mapped")
        table = {**LUN, "offline": "ok" if mapped is False else "degraded"}
        more = ", ".join(filter(None, (container if container != "online" else "", "mapped" if mapped else "")))
        yield _part("volume", f"LUN {_volume_name(row)}", table, state, more)


def _ports(rest: Rest) -> Iterator[Part]:
    fields = "name,svm.name,enabled,state,location.is_home,location.node.name,location.port.name"
    for row in _list(rest, "port", "/api/network/ip/interfaces", fields):
        name = f"LIF {_volume_name(row)}"
        if row.get("enabled") is False:
            yield Part("port", name, "absent", "not enabled")
            continue
        part = _part("port", name, LIF, row.get("state"))
        if part.health == "ok" and dig(row, "location.is_home") is False:
            where = f"{text(dig(row, 'location.node.name'))}:{text(dig(row, 'location.port.name'))}"
            part = part._replace(health="degraded", text=f"up, not at home but on {where}")
        yield part
    ports = _list(
        rest, "port", "/api/network/ethernet/ports", "name,node.name,enabled,state,type,broadcast_domain,lag,vlan"
    )
    used = {_port_key(member) for row in ports for member in things(row, "lag.member_ports")}
    used |= {_port_key(dig(row, "vlan.base_port")) for row in ports}
    for row in ports:
        name = f"{text(dig(row, 'node.name'))}:{text(row.get('name'))}"
        part = _part("port", name, ETHERNET, row.get("state"))
        if row.get("enabled") is False:
            part = part._replace(health="absent", text="not enabled")
        elif part.health == "failed" and not row.get("broadcast_domain") and _port_key(row) not in used:
            part = part._replace(health="absent", text="down, in no broadcast domain, group or VLAN")
        yield part
    for row in _list(rest, "port", "/api/network/fc/ports", "name,node.name,enabled,state"):
        part = _part("port", f"{text(dig(row, 'node.name'))}:{text(row.get('name'))}", FIBRE, row.get("state"))
        yield part._replace(health="absent", text="not enabled") if row.get("enabled") is False else part


def _port_key(row: Any) -> tuple[str, str]:
    return text(dig(row, "node.name")), text(dig(row, "name"))


def _mirrors(rest: Rest) -> Iterator[Part]:
    """Yield the SnapMirror relationships that are not healthy, and those that lag by more than an hour."""
    fields = "source.path,destination.path,state,healthy,unhealthy_reason,lag_time"
    for row in _list(rest, "replication", "/api/snapmirror/relationships", fields):
        name = text(dig(row, "destination.path"), row.get("uuid"))
        lag = duration(row.get("lag_time"))
        healthy = row.get("healthy")
        said = text(row.get("state"))
        if healthy is False:
            reasons = (text(reason.get("message")) for reason in things(row, "unhealthy_reason"))
            yield Part("replication", name, "failed", text("; ".join(filter(None, reasons)), said))
        elif healthy is not True:
            yield Part("replication", name, "unknown", f"{said}, healthy is not told")
        elif lag is not None and lag > 3600:  # the rule of Harvest
            yield Part("replication", name, "degraded", f"{said}, lags by {lag / 3600:.1f} h")
        else:
            yield Part("replication", name, "ok", said)


def _events(run: Run, rest: Rest) -> Iterator[Part]:
    since = int(run.clock.time() - EMS)
    query = f"&message.severity={quote('emergency|alert', safe='')}&time={quote(f'>={since}', safe='')}"
    seen: dict[str, int] = {}
    for row in _list(rest, "alert", "/api/support/ems/events", "message.name,message.severity,node.name", query):
        severity, name = dig(row, "message.severity"), text(dig(row, "message.name"))
        of = f"event {text(dig(row, 'node.name'))} {name}".replace("  ", " ")
        seen[of] = seen.get(of, 0) + 1
        if seen[of] == 1:
            yield Part("alert", of, san.health(EVENT, severity), f"{text(severity)}, in the last hour")


def duration(value: Any) -> float | None:
    """Return the seconds of an ISO 8601 duration ("P3DT8H35M42S"), None for what is none."""
    import re

    made = re.fullmatch(
        r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?", str(value), re.ASCII
    )
    if not made or not any(made.groups()):
        return None
    return sum(float(count or 0) * unit for count, unit in zip(made.groups(), (604800, 86400, 3600, 60, 1)))


def _pools(aggregates: list[dict[str, Any]], volumes: list[dict[str, Any]], partial: bool) -> Iterator[Room]:
    """Yield the aggregates. What is promised is the sum of their volumes; not told where one spans several aggregates."""
    promised: dict[str, float | None] = {}
    for row in volumes:
        names = [text(thing.get("name")) for thing in things(row, "aggregates")]
        size = number(dig(row, "space.size"))
        for name in names:
            old = promised.get(name, 0.0)
            promised[name] = None if old is None or size is None or len(names) > 1 else old + size
    for row in aggregates:
        name = text(row.get("name"))
        size, used = (number(dig(row, f"space.block_storage.{field}")) for field in ("size", "used"))
        yield Room("pool", name, size, used, None if partial else promised.get(name))


def _volume_rooms(volumes: list[dict[str, Any]]) -> Iterator[Room]:
    """Yield the volumes that are online: their room without the snapshot reserve, their inodes.

    A volume that grows by itself is as large as it may become. Snapshots may take more than their reserve without harm: what
    they take is in the volume's `used`.
    """
    for row in volumes:
        if row.get("state") not in ("online", "mixed"):
            continue
        name = _volume_name(row)
        size, used = (number(dig(row, f"space.{field}")) for field in ("size", "used"))
        reserve = number(dig(row, "space.snapshot.reserve_size")) or 0.0
        if size is not None and dig(row, "autosize.mode") in ("grow", "grow_shrink"):
            size = peak(size, number(dig(row, "autosize.maximum")))
        yield Room("volume", name, size - reserve if size is not None and size > reserve else size, used)
        inodes, taken = (number(dig(row, f"files.{field}")) for field in ("maximum", "used"))
        if inodes and taken is not None:
            yield Room("inodes", name, inodes, taken)


def _speed(name: str, row: dict[str, Any]) -> Speed:
    """Return the mean of the last 15 seconds; ONTAP tells latencies in microseconds. A sample with errors is none."""
    metric = row.get("metric")
    if dig(metric, "status") not in ("ok", "backfilled_data"):
        return Speed(name)
    latency = peak(*(number(dig(metric, f"latency.{way}")) for way in ("read", "write")))
    return Speed(
        name, None if latency is None else latency / 1e6, number(dig(metric, "iops.total")),
        number(dig(metric, "throughput.total")),
    )  # fmt: skip
