# SPDX-License-Identifier: Apache-2.0
"""What a management controller says by Redfish about power, temperature, fans, memory, processors and drives.

Source: DMTF DSP0266 1.15 (sessions, collections, $expand) and the schemas of DSP8010 2021.4: ServiceRoot 1.11,
ComputerSystem 1.16, Chassis 1.18, Thermal 1.7, Power 1.7, ThermalSubsystem 1.0, PowerSubsystem 1.1, Storage 1.11, Drive 1.14,
Memory 1.13, Manager 1.13, Resource 1.13 (Status, Health, State). Only GET, but for the log-in (POST) and log-out (DELETE).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes.parts import Part, distinct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.http import Session
    from nephoscope.probes.guest import Guest

ROOT = "/redfish/v1/"
MEMBERS = 512  # of one collection, at most, where each costs a request
EXPANDED = 8192  # where a page of them does
HEALTH = {"OK": "ok", "Warning": "degraded", "Critical": "failed"}
# Resource.State: what is there and serves, or rests on purpose; all others need a word.
SERVING = (
    "Enabled", "StandbyOffline", "StandbySpare", "InTest", "Starting", "Updating", "Quiesced", "Qualified", "Deferring",
    "Disabled",
)  # fmt: skip
POOR_STATES = ("UnavailableOffline", "Degraded", "NotQualified")
POWER = {"On": "ok", "PoweringOn": "ok", "Off": "degraded", "PoweringOff": "degraded", "Paused": "degraded"}


class Bmc(NamedTuple):
    """Where to ask, as whom (no user: without log-in), and how far to trust."""

    base: str
    user: str = ""
    password: str = ""
    ca_file: str | None = None
    fingerprint: str | None = None
    insecure: bool = False
    cert: str | None = None
    key: str | None = None


class Pool(NamedTuple):
    """A storage pool: name, bytes (None: not told) in all, in use, and promised to volumes. StoragePool 1.6, Capacity 1.2."""

    name: str
    size: float | None
    used: float | None
    provisioned: float | None


def parts(run: Run, bmc: Bmc) -> list[Part | Failed]:
    """Return every part of every system, chassis and manager; a Failed where something could not be read.

    Raises Failed when nothing could: unreachable, not-allowed (log-in refused, certificate), unreadable (not Redfish),
    absent (nothing is offered).
    """
    return array(run, bmc, pools=None)[1]


def array(run: Run, bmc: Bmc, pools: list[Pool] | None) -> tuple[str, list[Part | Failed]]:
    """Return the product and what `parts` returns; with a list of `pools` also a storage service's own parts, and its pools."""
    with _guest(run, bmc) as guest:
        reader, root = _enter(guest, bmc)
        reader.pools = pools
        found = list(_everything(reader, root))
    read = [thing for thing in found if isinstance(thing, Part)]
    lost = [thing for thing in found if isinstance(thing, Failed)]
    if not read:
        raise lost[0] if lost else Failed(ABSENT, "redfish", f"GET {ROOT}", "it offers no system, chassis or manager")
    return product(root), [*distinct(read), *dict.fromkeys(lost)]


def greet(run: Run, bmc: Bmc) -> str:
    """Log in and out, and return the product. Raises Failed as `parts`."""
    with _guest(run, bmc) as guest:
        return product(_enter(guest, bmc)[1])


def product(root: dict[str, Any]) -> str:
    """Return what a service root says of its vendor and product, or its version of Redfish. ServiceRoot 1.11."""
    told = " ".join(str(root[name]) for name in ("Vendor", "Product") if isinstance(root.get(name), str))
    return told or f"Redfish {root['RedfishVersion']}"


def _guest(run: Run, bmc: Bmc) -> Guest:
    from nephoscope.probes.guest import Guest

    return Guest(
        run, bmc.base, of="redfish", ca_file=bmc.ca_file, fingerprint=bmc.fingerprint, insecure=bmc.insecure,
        cert=bmc.cert, key=bmc.key,
    )  # fmt: skip


def _enter(guest: Guest, bmc: Bmc) -> tuple[_Reader, dict[str, Any]]:
    """Read the service root and log in."""
    reader = _Reader(guest.http)
    root = reader.get(ROOT)
    if not isinstance(root.get("RedfishVersion"), str):
        raise Failed(UNREADABLE, "redfish", f"GET {ROOT}", "no RedfishVersion: this is not a Redfish service")
    expand = _dict(_dict(root.get("ProtocolFeaturesSupported")).get("ExpandQuery"))
    reader.expand = bool(expand.get("Levels")) and expand.get("MaxLevels") != 0
    reader.links = reader.expand and bool(expand.get("ExpandAll"))
    if bmc.user:
        guest.enter(lambda: reader.log_in(root, bmc))
    return reader, root


class _Reader:
    """GETs of JSON objects with the token; after one silence it asks no more."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.headers: dict[str, str] = {"OData-Version": "4.0", "Accept": "application/json"}
        self.expand = False
        self.dead: Failed | None = None
        self.links = False
        self.pools: list[Pool] | None = None

    def get(self, path: str) -> dict[str, Any]:
        """Return the object at a path. Raises Failed."""
        if self.dead:
            raise self.dead
        if not path.startswith("/") or any(sign <= " " for sign in path):
            raise Failed(UNREADABLE, "redfish", f"GET {path!r}", "the link is not a path")
        try:
            content = self.session.json(path, self.headers)
        except Failed as failed:
            path = path.partition("?")[0]
            of = "redfish" if path == ROOT else f"redfish {path}"
            cure, error = failed.cure, failed.error
            if error == "HTTP 401" and "X-Auth-Token" in self.headers:
                error = "HTTP 401 though logged in: has the session ended?"
            elif failed.kind == NOT_ALLOWED and not cure:
                cure = "a user with the role ReadOnly on the BMC (--user, and its password by --extra-opts)"
            failed = Failed(failed.kind, of, f"GET {path}", error, cure)
            if "HTTP " not in failed.error and failed.kind in (UNREACHABLE, LATE):
                self.dead = failed
            raise failed from None
        if not isinstance(content, dict):
            raise Failed(UNREADABLE, f"redfish {path}", f"GET {path}", "not a JSON object")
        return content

    def log_in(self, root: dict[str, Any], bmc: Bmc) -> Callable[[], object] | None:
        """Make a session, or fall back to HTTP Basic where there is no session service; return what gives it back, or None."""
        import base64
        import json

        pair = base64.b64encode(f"{bmc.user}:{bmc.password}".encode()).decode()
        path = _link(_dict(root.get("Links")).get("Sessions"))
        if not path and not root.get("SessionService"):
            self.headers["Authorization"] = f"Basic {pair}"
            return None
        path = path or f"{ROOT}SessionService/Sessions"
        body = json.dumps({"UserName": bmc.user, "Password": bmc.password}).encode()
        headers = {**self.headers, "Content-Type": "application/json"}
        try:
            answer = self.session.request("POST", path, body, headers)
        except Failed as failed:
            raise Failed(failed.kind, "redfish", f"log in at {path}", failed.error, failed.cure) from None
        token = answer.headers.get("x-auth-token", "")
        if answer.status in (200, 201) and token:
            self.headers["X-Auth-Token"] = token
            from urllib.parse import urlsplit

            place = urlsplit(answer.headers.get("location", "")).path
            if not place:
                try:
                    place = _link(json.loads(answer.body))
                except ValueError:
                    place = ""
            return (lambda: self.session.request("DELETE", place, headers=self.headers)) if place else None
        tried = f"log in at {path} as {bmc.user}"
        if answer.status in (404, 405, 501):
            self.headers["Authorization"] = f"Basic {pair}"
            return None
        if b"SessionLimitExceeded" in answer.body:
            raise Failed(UNREACHABLE, "redfish", tried, "the BMC has no free session")
        if answer.status in (400, 401, 403):
            cure = "the right password, and the role ReadOnly for this user on the BMC"
            raise Failed(NOT_ALLOWED, "redfish", tried, f"refused: HTTP {answer.status}", cure)
        kind = UNREACHABLE if answer.status >= 500 else UNREADABLE
        raise Failed(kind, "redfish", tried, f"HTTP {answer.status}{'' if token else ', no token'}")

    def members(self, link: Any, found: list[Part | Failed]) -> Iterator[dict[str, Any]]:
        """Yield the members of a collection, all pages; what can't be read goes to `found`."""
        path = first = _link(link)
        seen = pages = 0
        most = EXPANDED if self.expand else MEMBERS
        count: Any = None
        while path:
            pages += 1
            if seen >= most or pages > MEMBERS:
                error = f"more than {most if seen >= most else MEMBERS} members or pages: the rest was not looked at"
                found.append(Failed(UNREADABLE, f"redfish {path}", f"GET {path}", error))
                return
            try:
                page = self.get(f"{path}?$expand=.($levels=1)" if self.expand and "?" not in path else path)
            except Failed as failed:
                found.append(failed)
                return
            entries = page.get("Members")
            if not isinstance(entries, list):
                found.append(Failed(UNREADABLE, f"redfish {path}", f"GET {path}", "a collection without Members"))
                return
            for entry in entries:
                seen += 1
                yield from self.one(entry, found)
            count = page.get("Members@odata.count", count)
            path = str(page.get("Members@odata.nextLink") or "")
        if isinstance(count, int) and seen < count:  # what an account may not see is left out, but counted
            error = f"it tells {seen} of its {count} members"
            found.append(Failed(UNREADABLE, f"redfish {first}", f"GET {first}", error))

    def expanded(self, thing: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Return the members of an array of links: as objects, by one request for all, where the service expands links."""
        entries, path = _list(thing.get(name)), _link(thing)
        if self.links and path and len(entries) > 1 and all(len(entry) == 1 for entry in entries):
            try:
                return _list(self.get(f"{path}?$expand=*($levels=1)").get(name)) or entries
            except Failed:
                pass  # each is asked for by itself, and tells why not
        return entries

    def one(self, entry: Any, found: list[Part | Failed]) -> Iterator[dict[str, Any]]:
        """Yield the object that an entry is (expanded) or links to."""
        if isinstance(entry, dict) and len([key for key in entry if not key.startswith("@")]) > 0:
            yield entry
            return
        path = _link(entry)
        if not path:
            found.append(Failed(UNREADABLE, "redfish", "follow a link", f"no @odata.id in {str(entry)[:60]}"))
            return
        try:
            yield self.get(path)
        except Failed as failed:
            found.append(failed)


def _everything(reader: _Reader, root: dict[str, Any]) -> list[Part | Failed]:
    found: list[Part | Failed] = []
    for system in reader.members(root.get("Systems"), found):
        name = _name(system)
        found.append(_part(system, f"system {name}", "system", rollup=True))
        power = system.get("PowerState")
        if power is not None:
            found.append(Part("redfish", f"system {name} power", "system", POWER.get(power, "unknown"), f"is {power}"))
        for summary in ("MemorySummary", "ProcessorSummary"):
            if isinstance(system.get(summary), dict) and _dict(system[summary]).get("Status"):
                found.append(
                    _part(_dict(system[summary]), f"system {name} {summary[:-7].lower()}", "summary", rollup=True)
                )
        for collection in ("Memory", "Processors"):
            kind = "memory" if collection == "Memory" else "processor"
            for member in reader.members(system.get(collection), found):
                found.append(_part(member, _name(member), kind))
        for storage in reader.members(system.get("Storage"), found):
            _storage(reader, storage, found)
    if (
        reader.pools is not None
    ):  # an array's storage service stands beside its systems (Swordfish 1.2), or is one of theirs
        told = {part.name for part in found if isinstance(part, Part) and part.kind == "storage"}
        for storage in reader.members(root.get("Storage"), found):
            if f"storage {_name(storage)}" not in told:
                _storage(reader, storage, found)
    for chassis in reader.members(root.get("Chassis"), found):
        found.append(_part(chassis, f"chassis {_name(chassis)}", "chassis", rollup=True))
        _thermal(reader, chassis, found)
        _power(reader, chassis, found)
    for manager in reader.members(root.get("Managers"), found):
        found.append(_part(manager, f"manager {_name(manager)}", "manager"))
    return found


def _storage(reader: _Reader, storage: dict[str, Any], found: list[Part | Failed]) -> None:
    name = _name(storage)
    if storage.get("Status"):
        found.append(_part(storage, f"storage {name}", "storage", rollup=True))
    for controller in _list(storage.get("StorageControllers")):
        found.append(_part(controller, f"storage {name} {_name(controller)}", "controller"))
    for controller in reader.members(storage.get("Controllers"), found):
        found.append(_part(controller, f"storage {name} {_name(controller)}", "controller"))
    for entry in reader.expanded(storage, "Drives"):
        for drive in reader.one(entry, found):
            part = _part(drive, f"drive {_name(drive)}", "drive")
            if drive.get("FailurePredicted") is True and part.health in ("ok", ""):
                part = part._replace(health="degraded", text="a failure is predicted")
            left = _number(drive.get("PredictedMediaLifeLeftPercent"))
            found.append(part._replace(value=left, unit="life%" if left is not None else ""))
    for volume in reader.members(storage.get("Volumes"), found):
        found.append(_part(volume, f"volume {_name(volume)}", "volume"))
    for pool in reader.members(storage.get("StoragePools"), found) if reader.pools is not None else ():
        found.append(_part(pool, f"pool {_name(pool)}", "pool", rollup=True))
        capacity = _dict(pool.get("Capacity"))
        data = _dict(capacity.get("Data"))
        size, used = _number(data.get("AllocatedBytes")), _number(data.get("ConsumedBytes"))
        reader.pools.append(Pool(_name(pool), size, used, _number(data.get("ProvisionedBytes"))))  # type: ignore[union-attr]


def _thermal(reader: _Reader, chassis: dict[str, Any], found: list[Part | Failed]) -> None:
    if chassis.get("Thermal"):
        for thermal in reader.one(chassis["Thermal"], found):
            for sensor in _list(thermal.get("Temperatures")):
                found.append(_reading(sensor, "temperature", "ReadingCelsius", "C"))
            for fan in _list(thermal.get("Fans")):
                unit = {"RPM": "RPM", "Percent": "%"}.get(str(fan.get("ReadingUnits")), "")
                found.append(_reading(fan, "fan", "Reading", unit))
            for group in _list(thermal.get("Redundancy")):
                found.append(_redundancy(group, "fans"))
    elif chassis.get("ThermalSubsystem"):
        for thermal in reader.one(chassis["ThermalSubsystem"], found):
            for fan in reader.members(thermal.get("Fans"), found):
                speed = _dict(fan.get("SpeedPercent"))
                rpm = _number(speed.get("SpeedRPM"))
                value, unit = (rpm, "RPM") if rpm is not None else (_number(speed.get("Reading")), "%")
                found.append(
                    _part(fan, _name(fan), "fan")._replace(value=value, unit=unit if value is not None else "")
                )
            for group in _list(thermal.get("FanRedundancy")):
                found.append(_redundancy(group, "fans"))
            for metrics in reader.one(thermal["ThermalMetrics"], found) if thermal.get("ThermalMetrics") else ():
                for sensor in _list(metrics.get("TemperatureReadingsCelsius")):
                    value = _number(sensor.get("Reading"))
                    name = str(sensor.get("DeviceName") or sensor.get("PhysicalContext") or "temperature")
                    health = "" if value is not None else "absent"
                    found.append(
                        Part("redfish", name, "temperature", health, "", value, "C" if value is not None else "")
                    )


def _power(reader: _Reader, chassis: dict[str, Any], found: list[Part | Failed]) -> None:
    if chassis.get("Power"):
        for power in reader.one(chassis["Power"], found):
            for supply in _list(power.get("PowerSupplies")):
                part = _part(supply, _name(supply), "power supply")
                watts = _number(supply.get("PowerOutputWatts"))
                if watts is None:
                    watts = _number(supply.get("LastPowerOutputWatts"))
                found.append(part._replace(value=watts, unit="W" if watts is not None else ""))
            for control in _list(power.get("PowerControl")):
                watts = _number(control.get("PowerConsumedWatts"))
                if watts is not None:
                    part = _part(control, _name(control), "power")
                    found.append(part._replace(value=watts, unit="W"))
            for sensor in _list(power.get("Voltages")):
                found.append(_reading(sensor, "voltage", "ReadingVolts", "V"))
            for group in _list(power.get("Redundancy")):
                found.append(_redundancy(group, "power supplies"))
    elif chassis.get("PowerSubsystem"):
        for power in reader.one(chassis["PowerSubsystem"], found):
            for supply in reader.members(power.get("PowerSupplies"), found):
                found.append(_part(supply, _name(supply), "power supply"))
            for group in _list(power.get("PowerSupplyRedundancy")):
                found.append(_redundancy(group, "power supplies"))


def _part(thing: dict[str, Any], name: str, kind: str, *, rollup: bool = False) -> Part:
    """Return a part from its Status; with `rollup` the health of what is below it counts too."""
    status = thing.get("Status")
    if not isinstance(status, dict):
        return Part("redfish", name, kind, "", "tells no status")
    state = status.get("State")
    words = [status.get("Health")]
    if rollup:  # sushy-tools writes HealthRollUp, the schema HealthRollup
        words += [status.get("HealthRollup"), status.get("HealthRollUp")]
    if state == "Absent":
        return Part("redfish", name, kind, "absent", "absent")
    healths = [
        HEALTH.get(word, "unknown") if isinstance(word, str) else "unknown" for word in words if word is not None
    ]
    for health in ("failed", "degraded", "unknown"):
        if health in healths:
            word = next(word for word in words if word is not None and HEALTH.get(str(word), "unknown") == health)
            text = f"health {word}" + (f", {state}" if state not in (None, "Enabled") else "")
            return Part("redfish", name, kind, health, text)
    if state in POOR_STATES:
        return Part("redfish", name, kind, "degraded", f"state {state}")
    if state is not None and state not in SERVING:
        return Part("redfish", name, kind, "unknown", f"state '{state}'")
    return Part("redfish", name, kind, "ok" if healths else "", "" if state in (None, "Enabled") else f"state {state}")


def _reading(sensor: dict[str, Any], kind: str, field: str, unit: str) -> Part:
    value = _number(sensor.get(field))
    part = _part(sensor, _name(sensor), kind)
    if value is None and part.health in ("ok", ""):
        part = part._replace(health="absent", text="gives no reading")
    names = (
        "LowerThresholdCritical",
        "LowerThresholdNonCritical",
        "UpperThresholdNonCritical",
        "UpperThresholdCritical",
    )
    lc, ln, un, uc = (_number(sensor.get(name)) for name in names)
    unit = unit if value is not None else ""
    return part._replace(value=value, unit=unit, low_critical=lc, low_warning=ln, high_warning=un, high_critical=uc)


def _redundancy(group: dict[str, Any], what: str) -> Part:
    """Return a group of parts that stand in for each other: one that is not whole is degraded at least."""
    part = _part(
        group, f"redundancy of {what} {group.get('Name') or group.get('GroupName') or ''}".strip(), "redundancy"
    )
    members = group.get("RedundancySet", group.get("RedundancyGroup"))
    needed = group.get("MinNumNeeded", group.get("MinNeededInGroup"))
    if part.health in ("ok", "") and isinstance(members, list) and isinstance(needed, int) and len(members) < needed:
        part = part._replace(health="degraded", text=f"{len(members)} of the {needed} members that it needs")
    return part


def _name(thing: dict[str, Any]) -> str:
    return str(thing.get("Name") or thing.get("Id") or thing.get("MemberId") or "(no name)")


def _link(thing: Any) -> str:
    link = thing.get("@odata.id") if isinstance(thing, dict) else None
    return link if isinstance(link, str) else ""


def _dict(thing: Any) -> dict[str, Any]:
    return thing if isinstance(thing, dict) else {}


def _list(thing: Any) -> list[dict[str, Any]]:
    return [entry for entry in thing if isinstance(entry, dict)] if isinstance(thing, list) else []


def _number(thing: Any) -> float | None:
    return float(thing) if isinstance(thing, (int, float)) and not isinstance(thing, bool) else None
