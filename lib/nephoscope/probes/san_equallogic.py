# SPDX-License-Identifier: Apache-2.0
"""Dell EqualLogic PS, asked by SNMP at the group's address: members, their parts, pools, volumes.

OIDs, enumerations and the names of conditions are those of Dell's EQLMEMBER-MIB, EQLDISK-MIB, EQLCONTROLLER-MIB,
EQLSTORAGEPOOL-MIB and EQLVOLUME-MIB (EqualLogic-Dynamic, firmware 10); what becomes of each is ours. No array was at hand.
Account: a read-only community or SNMPv3 user of the group (Group Configuration, SNMP); firmware before 8 has MD5, SHA and DES.

Requests: about 10 for health of a group, 20 more for 500 disks, 60 more for 2,000 volumes; 4 for capacity, 125 more for 2,000
volumes; 3 for performance: 100 values in each, fewer where the agent's datagrams are small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nephoscope.base import COLLECTING, UNREADABLE, Collecting, Failed, Run, samples
from nephoscope.probes import snmp
from nephoscope.probes.san import Array, Part, Place, Room, Speed, health

ROOT = "1.3.6.1.4.1.12740"
MIB = float(1 << 20)  # bytes in what the MIBs call an MB

MEMBER = (  # columns that all members have, one index for all of them: group and member
    f"{ROOT}.2.1.1.1.9",  # eqlMemberName
    f"{ROOT}.2.1.4.1.2",  # eqlMemberInfoStatus
    f"{ROOT}.2.1.5.1.1",  # eqlMemberHealthStatus
    f"{ROOT}.2.1.5.1.2",  # eqlMemberHealthWarningConditions
    f"{ROOT}.2.1.5.1.3",  # eqlMemberHealthCriticalConditions
    f"{ROOT}.2.1.13.1.1",  # eqlMemberRaidStatus
    f"{ROOT}.2.1.13.1.2",  # eqlMemberRaidPercentage
    f"{ROOT}.2.1.13.1.3",  # eqlMemberLostRaidBlocks
)
TEMPERATURES = [f"{ROOT}.2.1.6.1.{column}" for column in (2, 3, 4, 5, 6, 7, 8)]
FANS = [f"{ROOT}.2.1.7.1.{column}" for column in (2, 3, 4, 5, 6, 7, 8)]
SUPPLIES = [f"{ROOT}.2.1.8.1.{column}" for column in (2, 3, 4)]
DISKS = [f"{ROOT}.3.1.1.1.{column}" for column in (8, 9, 11, 17)]
CONTROLLERS = [f"{ROOT}.4.1.1.1.{column}" for column in (4, 5, 9, 32)]
POOL_NAME, POOL_STATS = f"{ROOT}.16.1.1.1.3", f"{ROOT}.16.1.2.1"
VOLUME, VOLUME_STATUS = f"{ROOT}.5.1.7.1.1", f"{ROOT}.5.1.7.7.1"
LOAD = [f"{ROOT}.2.1.12.1.{column}" for column in (2, 3, 6, 7, 8, 9)]

CONNECTIONS = 1024  # iSCSI connections to one pool: Dell's Configuration Guide, "Group limits" (PS6000 and later)
CROWDED = 0.8  # of them

STATUS = {
    1: ("ok", "on-line"),
    2: ("failed", "off-line"),
    3: ("degraded", "vacating-in-progress"),
    4: ("degraded", "vacated"),
}
HEALTH = {0: "unknown", 1: "ok", 2: "degraded", 3: "failed"}  # of members, sensors and fans
RAID = {
    1: ("ok", "ok"),
    2: ("degraded", "degraded"),
    3: ("ok", "verifying"),
    4: ("rebuilding", "reconstructing"),
    5: ("failed", "failed"),
    6: ("failed", "catastrophicLoss"),
    7: ("ok", "expanding"),
    8: ("ok", "mirroring"),
}
SUPPLY = {1: ("ok", "on-and-operating"), 2: ("failed", "no-ac-power"), 3: ("failed", "failed-or-no-data")}
SUPPLY_FAN = {0: "ok", 1: "ok", 2: "degraded"}  # not-applicable, fan-is-operational, fan-not-operational
DISK = {
    1: ("ok", "on-line"),
    2: ("spare", "spare"),
    3: ("failed", "failed"),
    4: ("failed", "off-line"),
    5: ("degraded", "alt-sig"),
    6: ("degraded", "too-small"),
    7: ("degraded", "history-of-failures"),
    8: ("degraded", "unsupported-version"),
    9: ("failed", "unhealthy"),
    10: ("degraded", "replacement"),
    11: ("ok", "encrypted"),
    12: ("degraded", "notApproved"),
    13: ("failed", "preempt-failed"),
}
SMART = {0: "ok", 1: "ok", 2: "degraded"}  # not-available (of a disk that is out), ok, tripped
ROLE = {1: ("ok", "primary"), 2: ("ok", "secondary")}
BATTERY = {
    1: ("ok", "ok"),
    2: ("failed", "failed"),
    3: ("ok", "good-battery-is-charging"),
    4: ("degraded", "low-voltage-status"),
    5: ("degraded", "low-voltage-is-charging"),
    6: ("failed", "missing-battery"),
}
NVRAM_BATTERY = {0: ("absent", "not-present"), 1: ("ok", "good"), 2: ("failed", "bad"), 3: ("unknown", "unknown")}
OPER = {
    1: ("ok", "available"),
    2: ("failed", "not-available"),
    3: ("failed", "not-available-due-to-snap-reserve-met"),
    4: ("failed", "not-available-due-to-members-offline"),
    5: ("failed", "not-available-due-to-lost-cached-blocks"),
    6: ("failed", "not-available-due-to-thin-max-growth-met"),
    7: ("failed", "not-available-due-to-nospace-for-auto-grow"),
    8: ("failed", "not-available-due-to-missing-pages"),
    9: ("failed", "not-available-due-to-syncrep"),
    10: ("degraded", "available-no-new-connections"),
    11: ("failed", "not-available-due-to-internal-error"),
}
ADMIN = {1: "online", 2: "offline", 3: "online-lost-cached-blocks", 4: "online-control", 5: "offline-control"}
OFFLINE = (2, 5)  # of ADMIN: its administrator wants it so
DELETE_OLDEST = 2  # eqliscsiVolumeSnapDeletionPolicy: its reserve is full most of the time, and that is well

WARNINGS = (
    "hwComponentFailedWarn", "powerSupplyRemoved", "controlModuleRemoved", "psfanOffline", "fanSpeed", "cacheSyncing",
    "raidSetFaulted", "highTemp", "raidSetLostblkEntry", "secondaryEjectSWOpen", "b2bFailure", "replicationNoProg",
    "raidSpareTooSmall", "lowTemp", "powerSupplyFailed", "timeOfDayClkBatteryLow", "incorrectPhysRamSize", "mixedMedia",
    "sumoChannelCardMissing", "sumoChannelCardFailed", "batteryLessthan72hours", "cpuFanNotSpinning", "raidMoreSparesExpected",
    "raidSpareWrongType", "raidSsdRaidsetHasHdd", "driveNotApproved", "noEthernetFlowControl", "fanRemovedCondition",
    "smartBatteryLowCharge", "nandHighBadBlockCount", "networkStorm", "batteryEndOfLifeWarning",
)  # fmt: skip
CRITICALS = (
    "raidSetDoubleFaulted", "bothFanTraysRemoved", "highAmbientTemp", "raidLostCache", "moreThanOneFanSpeedCondition",
    "fanTrayRemoved", "raidSetLostblkTableFull", "raidDeviceIncompatible", "raidOrphanCache", "raidMultipleRaidSets",
    "nVRAMBatteryFailed", "hwComponentFailedCrit", "incompatControlModule", "lowAmbientTemp", "opsPanelFailure",
    "emmLinkFailure", "highBatteryTemperature", "enclosureOpenPerm", "sumoChannelBothMissing", "sumoEIPFailureCOndition",
    "sumoChannelBothFailed", "staleMirrorDiskFailure", "c2fPowerModuleFailureCondition", "raidsedUnresolved",
    "colossusDeniedFullPower", "cemiUpdateInProgress", "colossusCannotStart", "multipleFansRemoved", "smartBatteryFailure",
    "critbit29", "nandFailure", "batteryEndOfLife",
)  # fmt: skip

Row = Sequence[snmp.Value]
Rows = Mapping[snmp.Index, Row]


def greet(run: Run, place: Place) -> str:
    """Ask who is there, and return it."""
    with snmp.Session(run, place) as agent:
        return f"EqualLogic: {agent.product('EqualLogic', ROOT).description}"


def look(run: Run, place: Place, modes: tuple[str, ...]) -> Array:
    """Ask a group for what the modes need. Raises Failed when it could not be asked at all."""
    lost: list[Failed] = []
    parts: list[Part] = []
    rooms: list[Room] = []
    speeds: list[Speed] = []
    spares: int | None = None
    rates: Any = None
    version = ""
    with snmp.Session(run, place) as agent:
        agent.product("EqualLogic", ROOT)
        members = agent.walk(*MEMBER, name="eqlMemberTable")
        if not members:
            cure = f"does the agent's view show {ROOT} to this account?"
            raise Failed(UNREADABLE, "", f"ask {agent.where} for eqlMemberTable", "the group has no member", cure)
        names = {index: snmp.text(row[0]) or f"member {index[-1]}" for index, row in members.items()}
        pools = _pools(agent, lost) if "health" in modes or "capacity" in modes else {}
        if "health" in modes:
            for index, row in members.items():
                parts += _member(names[index], row)
            found, spares, version = _hardware(agent, lost, names)
            parts += found
            for index, row in members.items():
                _hidden(agent, lost, names[index], row, found)
            for name, numbers in pools.values():
                parts += _pool(name, numbers)
            pooled = sum(numbers[3] for _, numbers in pools.values() if isinstance(numbers[3], int))
            if pooled > len(members):
                told = f"the pools have {pooled}, and {len(members)} {'is' if len(members) == 1 else 'are'} told"
                lost.append(Failed(UNREADABLE, "members", f"ask {agent.where} for eqlMemberTable", told))
        if "health" in modes or "capacity" in modes:
            volumes, reserves = _volumes(agent, lost, modes)
            parts += volumes
            rooms += reserves
        if "capacity" in modes:
            rooms[:0] = [_room(name, row) for name, row in pools.values()]
        if "performance" in modes:
            speeds, rates = _speeds(run, agent, lost, names)
            told_of = {speed.name for speed in speeds}
            for index, row in members.items():
                if names[index] not in told_of and row[1] != 2 and not any(failed.of == "system" for failed in lost):
                    asked = f"ask {agent.where} for eqlMemberConnTable"
                    lost.append(Failed(UNREADABLE, f"load of {names[index]}", asked, "none is told"))
    count = f"{len(members)} member{'s' * (len(members) != 1)}"
    return Array(
        f"EqualLogic group of {count}{version and f', firmware {version}'}", parts, rooms, speeds, spares, lost, rates
    )


def _conditions(value: snmp.Value, names: Sequence[str]) -> list[str]:
    return [names[bit] if bit < len(names) else f"condition {bit}" for bit in snmp.bits(value)]


def _member(name: str, row: Row) -> list[Part]:
    """Return what the group says of a member, and the member of itself and of its RAID set."""
    _, status, own, warnings, criticals, raid, percent, blocks = row
    state, word = snmp.said(STATUS, status)
    found = [Part("enclosure", name, state, word)]
    if state == "failed" and own is None:
        return found  # who is off-line tells nothing, and that is said
    grave, slight = _conditions(criticals, CRITICALS), _conditions(warnings, WARNINGS)
    opinion = snmp.worst(health(HEALTH, own), "failed" if grave else "degraded" if slight else "ok")
    text = ", ".join(grave + slight) or (
        "" if opinion == "ok" else snmp.said({2: ("", "warning"), 3: ("", "critical")}, own)[1]
    )
    found.append(Part("system", name, opinion, text))
    state, word = snmp.said(RAID, raid)
    if word in ("verifying", "reconstructing") and isinstance(percent, int):
        word = f"{word} {percent} %"
    if blocks == 1:
        state, word = snmp.worst(state, "degraded"), f"{word}, blocks are lost"
    elif blocks not in (None, 2):
        state, word = snmp.worst(state, "unknown"), f"{word}, lost blocks {snmp.text(blocks)}"
    found.append(Part("pool", f"{name} RAID", state, word))
    return found


def _limits(row: Row, unit: str) -> tuple[str, str]:
    """Return the health of a sensor by its state and by its own limits, and its value."""
    _, value, state, *limits = row
    opinion = health(HEALTH, state)
    if not isinstance(value, int):
        return snmp.worst(opinion, "unknown"), "no value is told"
    grave_high, high, grave_low, low = (limit if isinstance(limit, int) else None for limit in limits)
    if any((grave_high, high, grave_low, low)):  # four zeros are no limits
        if (grave_high and value >= grave_high) or (grave_low is not None and value <= grave_low):
            opinion = snmp.worst(opinion, "failed")
        elif (high and value >= high) or (low is not None and value <= low):
            opinion = snmp.worst(opinion, "degraded")
    word = {0: ", state unknown", 1: "", 2: ", warning", 3: ", critical"}.get(
        state if isinstance(state, int) else -1, ", ?"
    )
    return opinion, f"{value} {unit}{word}"


def _hardware(
    agent: snmp.Session, lost: list[Failed], names: Mapping[snmp.Index, str]
) -> tuple[list[Part], int | None, str]:
    """Return the parts of all members, the fewest spare disks that any has, and the firmware."""
    found: list[Part] = []

    def name(index: snmp.Index, what: str = "") -> str:
        return f"{names.get(index[:2], f'member {index[1] if len(index) > 1 else index}')} {what or index[-1]}"

    for index, row in snmp.table(agent, lost, "sensor", "eqlMemberHealthDetailsTemperatureTable", TEMPERATURES).items():
        found.append(Part("sensor", name(index, snmp.text(row[0])), *_limits(row, "°C")))
    for index, row in snmp.table(agent, lost, "fan", "eqlMemberHealthDetailsFanTable", FANS).items():
        found.append(Part("fan", name(index, snmp.text(row[0])), *_limits(row, "rpm")))
    for index, row in snmp.table(
        agent, lost, "power supply", "eqlMemberHealthDetailsPowerSupplyTable", SUPPLIES
    ).items():
        state, word = snmp.said(SUPPLY, row[1])
        fan = health(SUPPLY_FAN, row[2]) if state == "ok" and row[2] is not None else "ok"
        if fan != "ok":
            state, word = (
                snmp.worst(state, fan),
                f"{word}, its fan does not turn" if fan == "degraded" else f"{word}, fan state {snmp.text(row[2])}",
            )
        found.append(Part("power supply", name(index, snmp.text(row[0])), state, word))
    spares: dict[snmp.Index, int] = {}
    for index, row in snmp.table(agent, lost, "disk", "eqlDiskTable", DISKS).items():
        part = _disk(name(index, snmp.text(row[2])), row)
        found.append(part)
        spares[index[:2]] = spares.get(index[:2], 0) + (part.health == "spare")
    version = ""
    roles: dict[snmp.Index, list[snmp.Value]] = {}
    for index, row in snmp.table(agent, lost, "controller", "eqlControllerTable", CONTROLLERS).items():
        firmware, battery, role, nvram = row
        version = version or snmp.text(firmware)
        found.append(Part("controller", name(index), *snmp.said(ROLE, role)))
        roles.setdefault(index[:2], []).append(role)
        if battery is not None:
            found.append(Part("battery", name(index, f"{index[-1]} cache"), *snmp.said(BATTERY, battery)))
        if nvram is not None:
            found.append(Part("battery", name(index, f"{index[-1]} NVRAM"), *snmp.said(NVRAM_BATTERY, nvram)))
    for index, there in roles.items():
        for role, (_, word) in ROLE.items():
            if role not in there:
                text = f"no {word} controller is there"
                found.append(Part("controller", f"{names.get(index, index[-1])} {word}", "failed", text))
    return found, min(spares.values()) if spares else None, version


def _hidden(agent: snmp.Session, lost: list[Failed], name: str, row: Row, found: Sequence[Part]) -> None:
    """Note an on-line member that shows no disk or controller: others' rows make a table that is not empty."""
    for kind, table in (("disk", "eqlDiskTable"), ("controller", "eqlControllerTable")):
        told = any(part.kind == kind and part.name.startswith(f"{name} ") for part in found)
        if not told and row[1] != 2 and not any(failed.of == kind for failed in lost):
            lost.append(Failed(UNREADABLE, f"{kind} of {name}", f"ask {agent.where} for {table}", "none is told"))


def _disk(name: str, row: Row) -> Part:
    status, errors, _, smart = row
    state, word = snmp.said(DISK, status)
    if state in ("ok", "spare") and smart is not None and health(SMART, smart) != "ok":
        state = health(SMART, smart)
        word += ", SMART tripped" if state == "degraded" else f", SMART state {snmp.text(smart)}"
    if state not in ("ok", "spare") and isinstance(errors, int) and errors:
        word += f", {errors} errors"
    return Part("disk", name, state, word)


def _pools(agent: snmp.Session, lost: list[Failed]) -> dict[snmp.Index, tuple[str, Row]]:
    """Return each pool's name and numbers: size, used, members online, members, subscribed, connections."""
    columns = [POOL_NAME, *(f"{POOL_STATS}.{column}" for column in (1, 2, 7, 8, 20, 24))]
    rows = snmp.table(agent, lost, "pool", "eqlStoragePoolTable", columns)
    return {index: (snmp.text(row[0]) or str(index[-1]), row[1:]) for index, row in rows.items()}


def _pool(name: str, row: Row) -> list[Part]:
    _, _, online, members, _, connections = row
    if not (isinstance(online, int) and isinstance(members, int)):
        found = [Part("pool", name, "unknown", "it is not told how many members are online")]
    else:
        state = "ok" if online >= members else "failed"
        found = [Part("pool", name, state, f"{online} of {members} members online")]
    if isinstance(connections, int):
        state = "degraded" if connections >= CROWDED * CONNECTIONS else "ok"
        found.append(Part("port", f"iSCSI of pool {name}", state, f"{connections} of {CONNECTIONS} connections"))
    return found


def _bytes(value: snmp.Value) -> float | None:
    return value * MIB if isinstance(value, int) and value >= 0 else None


def _room(name: str, row: Row) -> Room:
    return Room("pool", name, _bytes(row[0]), _bytes(row[1]), _bytes(row[4]))


def _volumes(agent: snmp.Session, lost: list[Failed], modes: tuple[str, ...]) -> tuple[list[Part], list[Room]]:
    """Return the volumes, and the snapshot reserves whose end would stop something."""
    columns = [f"{VOLUME}.4", f"{VOLUME}.9", f"{VOLUME_STATUS}.8"]
    if "capacity" in modes:
        columns += [f"{VOLUME}.12", f"{VOLUME_STATUS}.2", f"{VOLUME_STATUS}.3"]
    parts, rooms = [], []
    for index, row in snmp.table(agent, lost, "volume", "eqliscsiVolumeTable", columns, empty=True).items():
        name = snmp.text(row[0]) or ".".join(map(str, index))
        if "health" in modes:
            state, word = snmp.said(OPER, row[2])
            if isinstance(row[1], int) and row[1] in OFFLINE:
                state, word = "ok", f"{ADMIN[row[1]]}, as its administrator set it"
            elif not (isinstance(row[1], int) and row[1] in ADMIN):
                state, word = snmp.worst(state, "unknown"), f"{word}, {snmp.said({}, row[1])[1]} was set"
            elif row[1] == 3:  # online-lost-cached-blocks
                state, word = snmp.worst(state, "degraded"), f"{word}, {ADMIN[3]}"
            parts.append(Part("volume", name, state, word))
        if "capacity" in modes and row[3] != DELETE_OLDEST:
            size, left = _bytes(row[4]), _bytes(row[5])
            if size != 0:
                used = size - left if size is not None and left is not None else None
                rooms.append(Room("snapshot reserve", name, size, used))
    return parts, rooms


def _speeds(
    run: Run, agent: snmp.Session, lost: list[Failed], names: Mapping[snmp.Index, str]
) -> tuple[list[Speed], Any]:
    """Return how fast each member answered since about five minutes ago, and what the next run needs for it."""
    counters: dict[str, float] = {}
    for index, row in snmp.table(agent, lost, "system", "eqlMemberConnTable", LOAD).items():
        if all(isinstance(value, int) for value in row):
            for what, value in zip(("read time", "write time", "reads", "writes", "sent", "received"), row):
                counters[f"{names.get(index, index[-1])} {what}"] = float(value)  # type: ignore[arg-type]
    before = run.before.get("rates") if isinstance(run.before, dict) else None
    history = samples.take(run, counters, before=before or [])
    found = []
    for name in names.values():
        if f"{name} reads" in counters:
            found.append(
                Speed(
                    name,
                    slower(
                        *(_latency(history, f"{name} {word} time", f"{name} {word}s") for word in ("read", "write"))
                    ),
                    added(history.rate(f"{name} reads"), history.rate(f"{name} writes")),
                    added(history.rate(f"{name} sent"), history.rate(f"{name} received")),
                )
            )
    return found, history.keep()


def _latency(history: samples.History, spent: str, number: str) -> float | Collecting | None:
    """Return seconds per request out of two counters, of milliseconds and of requests."""
    time, requests = history.rise(spent), history.rise(number)
    if isinstance(time, Collecting) or isinstance(requests, Collecting):
        return COLLECTING
    if time is None or requests is None:
        return None
    return time / requests / 1000 if requests > 0 else Collecting("no requests")


def slower(one: float | Collecting | None, other: float | Collecting | None) -> float | Collecting | None:
    """Return the worse of two latencies; where one had no requests, the other."""
    known = [value for value in (one, other) if isinstance(value, (int, float))]
    return max(known) if known else one if one is not None else other


def added(one: float | Collecting | None, other: float | Collecting | None) -> float | Collecting | None:
    """Return the sum of two rates, unless one is not there."""
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one + other
    return COLLECTING if isinstance(one, Collecting) or isinstance(other, Collecting) else None
