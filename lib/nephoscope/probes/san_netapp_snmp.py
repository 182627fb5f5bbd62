# SPDX-License-Identifier: Apache-2.0
"""NetApp by SNMP: 7-mode, and clustered ONTAP from before its REST.

OIDs and enumerations are NETAPP-MIB's (enterprise 789); the words of aggregates and volumes, which the MIB does not list, those
of Data ONTAP's manual pages na_aggr(1) and na_vol(1). No filer was at hand. Ask the cluster's management address, not a node's.
Account: `snmp community add ro WORD` (7-mode), `system snmp community add -type ro -community-name WORD` (clustered), or a user
of `security login create -application snmp -authentication-method usm`.

Requests: about 11 for health, 10 more for 500 disks, 80 more for 2,000 volumes; 2 for capacity, 170 more for 2,000 volumes; 2
for performance: 100 values in each, fewer where the agent's datagrams are small. SNMP tells no latency.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nephoscope.base import UNREADABLE, Collecting, Failed, Run, samples
from nephoscope.probes import snmp
from nephoscope.probes.san import Array, Part, Place, Room, Speed, health

ROOT = "1.3.6.1.4.1.789"
KIB = 1024.0
LAGS, LOST = 3600, 21600  # seconds behind its source: a replication lags (Harvest's rule), has failed in all but name
BY_SCALAR = {  # one value of the whole: a filer, or a cluster
    "status": f"{ROOT}.1.2.2.4.0",  # miscGlobalStatus
    "status message": f"{ROOT}.1.2.2.25.0",
    "room": f"{ROOT}.1.5.7.1.0",  # fsOverallStatus
    "room message": f"{ROOT}.1.5.7.2.0",
    "hot": f"{ROOT}.1.2.4.1.0",  # envOverTemperature
    "fans": f"{ROOT}.1.2.4.2.0",  # envFailedFanCount
    "fans message": f"{ROOT}.1.2.4.3.0",
    "supplies": f"{ROOT}.1.2.4.4.0",  # envFailedPowerSupplyCount
    "supplies message": f"{ROOT}.1.2.4.5.0",
    "battery": f"{ROOT}.1.2.5.1.0",  # nvramBatteryStatus
    "disks": f"{ROOT}.1.6.4.1.0",  # diskTotalCount
    "failed": f"{ROOT}.1.6.4.7.0",  # diskFailedCount
    "failed message": f"{ROOT}.1.6.4.10.0",
    "spares": f"{ROOT}.1.6.4.8.0",  # diskSpareCount
    "prefailed": f"{ROOT}.1.6.4.11.0",  # diskPrefailedCount
    "settings": f"{ROOT}.1.2.3.1.0",  # cfSettings
    "takeover": f"{ROOT}.1.2.3.2.0",  # cfState
    "cause": f"{ROOT}.1.2.3.3.0",  # cfCannotTakeoverCause
    "partner": f"{ROOT}.1.2.3.4.0",  # cfPartnerStatus
    "interconnect": f"{ROOT}.1.2.3.8.0",  # cfInterconnectStatus
    "shelves": f"{ROOT}.1.21.1.1.0",  # enclNumber
    "mirrors": f"{ROOT}.1.9.1.0",  # snapmirrorOn
    "support": f"{ROOT}.1.2.7.1.0",  # autosupportStatus
    "support message": f"{ROOT}.1.2.7.2.0",
}
LOAD = {  # operations and bytes since boot: in 64 bits, or in two halves
    **{
        name: f"{ROOT}.1.2.2.{at}.0"
        for name, at in zip(("nfs", "cifs", "http", "read", "written"), (27, 28, 29, 32, 33))
    },
    **{
        f"{name} high": f"{ROOT}.1.2.2.{at}.0"
        for name, at in zip(("nfs", "cifs", "http", "read", "written"), (5, 7, 9, 15, 17))
    },
    **{
        f"{name} low": f"{ROOT}.1.2.2.{at}.0"
        for name, at in zip(("nfs", "cifs", "http", "read", "written"), (6, 8, 10, 16, 18))
    },
}
HA = [f"{ROOT}.1.21.2.1.{column}" for column in (3, 4, 5, 6, 10)]
NODE = [f"{ROOT}.1.25.2.1.{column}" for column in (11, 17, 18, 19, 20, 21, 22)]
PORT = [f"{ROOT}.1.22.2.1.{column}" for column in (1, 2, 4, 14, 30)]
SHELF = [f"{ROOT}.1.21.1.2.1.{column}" for column in (2, 13, 15, 17, 18, 20, 21, 22, 23, 24)]
AGGREGATE = [f"{ROOT}.1.5.11.1.{column}" for column in (2, 5, 6)]
VOLUME = [f"{ROOT}.1.5.8.1.{column}" for column in (2, 5, 6, 14)]
RAID_DISK = [f"{ROOT}.1.6.2.1.{column}" for column in (2, 3)]
ROOM = [f"{ROOT}.1.5.4.1.{column}" for column in (2, 11, 12, 23, 29, 30, 34, 35)]
MIRROR = [f"{ROOT}.1.9.20.1.{column}" for column in (2, 3, 5, 6)]
RELATION = [f"{ROOT}.1.29.1.1.{column}" for column in (2, 3, 6, 7, 16, 17)]

GLOBAL = {1: "degraded", 2: "unknown", 3: "ok", 4: "degraded", 5: "failed", 6: "failed"}
GLOBAL_WORDS = {1: "other", 2: "unknown", 3: "ok", 4: "nonCritical", 5: "critical", 6: "nonRecoverable"}
FILL = {1: ("ok", "ok"), 2: ("degraded", "nearlyFull"), 3: ("failed", "full")}
HOT = {1: ("ok", "not too hot"), 2: ("failed", "too hot")}
BATTERY = {
    1: ("ok", "ok"),
    2: ("degraded", "partiallyDischarged"),
    3: ("failed", "fullyDischarged"),
    4: ("failed", "notPresent"),
    5: ("degraded", "nearEndOfLife"),
    6: ("failed", "atEndOfLife"),
    7: ("unknown", "unknown"),
    8: ("degraded", "overCharged"),
    9: ("ok", "fullyCharged"),
}
SETTINGS = {
    1: ("absent", "notConfigured"),
    2: ("ok", "enabled"),
    3: ("degraded", "disabled"),
    4: ("degraded", "takeoverByPartnerDisabled"),
    5: ("failed", "thisNodeDead"),
}
TAKEOVER = {
    1: ("failed", "dead"),
    2: ("ok", "canTakeover"),
    3: ("failed", "cannotTakeover"),
    4: ("degraded", "takeover"),
    5: ("degraded", "partialGiveback"),
}
CF_CAUSES = (
    "ok", "unknownReason", "disabledByOperator", "interconnectOffline", "disabledByPartner", "takeoverFailed",
    "mailboxDegraded", "partnerMailboxUninitialised", "mailboxVersionMismatch", "nvramSizeMismatch", "kernelVersionMismatch",
    "partnerBootingUp", "partnerPerformingRevert", "performingRevert", "partnerRequestedTakeover", "alreadyInTakenoverMode",
    "nvramLogUnsynchronized", "backupMailboxProblems",
)  # fmt: skip
HA_CAUSES = (
    *CF_CAUSES[:6], "mailboxIsInDegradedState", "partnermailboxIsInUninitialisedState", *CF_CAUSES[8:11],
    "partnerIsInBootingStage", "diskshelfIsTooHot", "partnerIsPerformingRevert", "nodeIsPerformingRevert",
    "sametimePartnerIsAlsoTryingToTakeUsOver", "alreadyInTakenoverMode", "nvramLogUnsynchronized",
    "stateofBackupMailboxIsDoubtful",
)  # fmt: skip
PARTNER = {1: ("degraded", "maybeDown"), 2: ("ok", "ok"), 3: ("failed", "dead")}
INTERCONNECT = {1: ("absent", "notPresent"), 2: ("failed", "down"), 3: ("degraded", "partialFailure"), 4: ("ok", "up")}
SUPPORT = {  # unknown: nothing was sent since it was started
    1: ("ok", "ok"),
    2: ("degraded", "smtpFailure"),
    3: ("degraded", "postFailure"),
    4: ("degraded", "smtpPostFailure"),
    5: ("ok", "unknown"),
}
NODE_HEALTH = {0: ("failed", "does not communicate with the cluster"), 1: ("ok", "in the cluster")}
LINK = {0: ("unknown", "undef"), 1: ("failed", "off"), 2: ("ok", "up"), 3: ("failed", "down")}
PORT_HEALTH = {-1: "unknown", 0: "ok", 1: "degraded"}
SHELF_CONTACT = {
    1: ("degraded", "initializing"),
    2: ("degraded", "transitioning"),
    3: ("ok", "active"),
    4: ("failed", "inactive"),
    5: ("degraded", "reconfiguring"),
    6: ("failed", "nonexistent"),
}
RAID = {
    1: ("ok", "active"),
    2: ("rebuilding", "reconstructionInProgress"),
    3: ("rebuilding", "parityReconstructionInProgress"),
    4: ("ok", "parityVerificationInProgress"),
    5: ("ok", "scrubbingInProgress"),
    6: ("failed", "failed"),
    9: ("degraded", "prefailed"),
    10: ("failed", "offline"),
}
MIRROR_STATE = {
    1: ("failed", "uninitialized"),
    2: ("ok", "snapmirrored"),
    3: ("failed", "brokenOff"),
    4: ("degraded", "quiesced"),
    5: ("ok", "source"),
    6: ("unknown", "unknown"),
}
RELATION_STATE = {0: ("failed", "uninitialized"), 1: ("ok", "snapmirrored"), 2: ("failed", "brokenOff")}
STATES = {  # of aggregates and volumes
    **dict.fromkeys(("online",), "ok"),
    **dict.fromkeys(
        ("creating", "initializing", "mounting", "quiesced", "quiescing", "relocating", "restricted"), "degraded"
    ),
    **dict.fromkeys(
        ("offline", "failed", "foreign", "partial", "unmounted", "unmounting", "destroying", "reverted"), "failed"
    ),
    **dict.fromkeys(("frozen", "iron restricted", "inconsistent"), "failed"),
}
STATUS = {  # several of them, with commas
    **dict.fromkeys(
        ("normal", "mirrored", "raid0", "raid4", "raid_dp", "raid_tec", "mixed_raid_type", "snapmirrored"), "ok"
    ),
    **dict.fromkeys(
        ("trad", "flex", "32-bit", "64-bit", "hybrid", "redirect", "active_redirect", "sis", "striped"), "ok"
    ),
    **dict.fromkeys(
        ("verifying", "scrubbing", "growing", "copying", "fast zeroed", "hybrid_enabled", "encrypted"), "ok"
    ),
    **dict.fromkeys(("reconstruct", "reconstructing", "resyncing", "resync", "initializing"), "rebuilding"),
    **dict.fromkeys(("degraded", "mirror degraded", "needs check", "ironing", "out-of-date", "unmirrored"), "degraded"),
    **dict.fromkeys(
        ("double degraded", "failed", "foreign", "invalid", "partial", "wafl inconsistent", "inconsistent"), "failed"
    ),
}

Row = Sequence[snmp.Value]


def greet(run: Run, place: Place) -> str:
    """Ask who is there, and return it."""
    with snmp.Session(run, place) as agent:
        return agent.product("NetApp", ROOT).description.partition(":")[0]


def look(run: Run, place: Place, modes: tuple[str, ...]) -> Array:
    """Ask a filer or a cluster for what the modes need. Raises Failed when it could not be asked at all."""
    lost: list[Failed] = []
    parts: list[Part] = []
    rooms: list[Room] = []
    speeds: list[Speed] = []
    spares, rates = None, None
    with snmp.Session(run, place) as agent:
        who = agent.product("NetApp", ROOT)
        if "health" in modes:
            whole = dict(zip(BY_SCALAR, agent.get(*BY_SCALAR.values()).values()))
            nodes = snmp.table(agent, lost, "controller", "nodeTable", NODE, empty=True)
            parts += _whole(whole)
            parts += _environment(agent, lost, whole, nodes)
            parts += _takeover(agent, lost, whole, nodes)
            parts += _disks(agent, lost, whole)
            parts += _ports(agent, lost, clustered=bool(nodes))
            parts += _shelves(agent, lost, whole)
            parts += _containers(agent, lost)
            parts += _mirrors(agent, lost, whole)
            spares = whole["spares"] if isinstance(whole["spares"], int) else None
        if "capacity" in modes:
            rooms += _rooms(agent, lost)
        if "performance" in modes:
            try:
                speeds, rates = _speeds(run, agent)
            except Failed as failed:
                lost.append(failed)
    return Array(who.description.partition(":")[0][:60], parts, rooms, speeds, spares, lost, rates)


def _named(index: snmp.Index) -> str:
    """Return the text that an index is: its octets, after their number where that is told."""
    octets = index[1:] if index and index[0] == len(index) - 1 else index
    return bytes(octet for octet in octets if octet < 256).decode("utf-8", "replace")


def _whole(whole: Mapping[str, snmp.Value]) -> Iterator[Part]:
    state = whole["status"]
    opinion = health(GLOBAL, state)
    word = GLOBAL_WORDS.get(state, f"state {state}") if isinstance(state, int) else "no state is told"
    said = snmp.text(whole["status message"])
    yield Part("system", "", opinion, word if opinion == "ok" or not said else f"{word}: {said}")
    opinion, word = snmp.said(FILL, whole["room"])
    said = snmp.text(whole["room message"])
    yield Part("system", "file systems", opinion, word if opinion == "ok" or not said else f"{word}: {said}")
    if whole["support"] is not None:
        opinion, word = snmp.said(SUPPORT, whole["support"])
        said = snmp.text(whole["support message"])
        yield Part("alert", "autosupport", opinion, word if opinion == "ok" or not said else f"{word}: {said}")


def _counted(kind: str, name: str, count: snmp.Value, message: snmp.Value) -> Part:
    """Return what stands for all fans or supplies of a node, of which only the number of bad ones is told."""
    if not isinstance(count, int) or count < 0:
        return Part(kind, name, "unknown", "it is not told how many failed")
    state = "ok" if not count else "degraded" if count == 1 else "failed"
    return Part(kind, name, state, f"{count} failed: {snmp.text(message)}".rstrip(": ") if count else "none failed")


def _environment(
    agent: snmp.Session, lost: list[Failed], whole: Mapping[str, snmp.Value], nodes: Mapping[snmp.Index, Row]
) -> Iterator[Part]:
    if any(whole[name] is not None for name in ("hot", "fans", "supplies", "battery")):
        yield Part("sensor", "temperature", *snmp.said(HOT, whole["hot"]))
        yield _counted("fan", "all", whole["fans"], whole["fans message"])
        yield _counted("power supply", "all", whole["supplies"], whole["supplies message"])
        yield Part("battery", "NVRAM", *snmp.said(BATTERY, whole["battery"]))
    elif not nodes:
        lost.append(Failed(UNREADABLE, "sensor", f"ask {agent.where} for its environment", "it tells nothing"))
    for index, row in nodes.items():
        name = _named(index)
        well, battery, hot, fans, fans_message, supplies, supplies_message = row
        yield Part("controller", name, *snmp.said(NODE_HEALTH, well))
        if well == 0:
            continue  # who is cut off tells nothing
        yield Part("battery", f"{name} NVRAM", *snmp.said(BATTERY, battery))
        yield Part("sensor", f"{name} temperature", *snmp.said(HOT, hot))
        yield _counted("fan", f"{name} all", fans, fans_message)
        yield _counted("power supply", f"{name} all", supplies, supplies_message)


def _pair(name: str, row: Row, causes: Sequence[str]) -> Iterator[Part]:
    """Yield whether a node could take over, and how it sees its partner."""
    settings, state, cause, partner, interconnect = row
    if settings == 1:  # no partner was ever meant
        yield Part("system", f"{name}takeover", *SETTINGS[1])
        return
    opinion, word = snmp.said(TAKEOVER, state)
    if settings is not None and settings != 2:
        other, said = snmp.said(SETTINGS, settings)
        opinion, word = snmp.worst(opinion, other), f"{word}, {said}"
    if opinion != "ok" and isinstance(cause, int) and cause != 1:
        word += f": {causes[cause - 1] if 1 <= cause <= len(causes) else f'cause {cause}'}"
    yield Part("system", f"{name}takeover", opinion, word)
    yield Part("system", f"{name}partner", *snmp.said(PARTNER, partner))
    if interconnect is not None:
        yield Part("port", f"{name}interconnect", *snmp.said(INTERCONNECT, interconnect))


def _takeover(
    agent: snmp.Session, lost: list[Failed], whole: Mapping[str, snmp.Value], nodes: Mapping[snmp.Index, Row]
) -> Iterator[Part]:
    known = len(lost)
    pairs = snmp.table(agent, lost, "system", "haTable", HA, empty=True)
    scalar = whole["takeover"] is not None or whole["settings"] is not None
    if len(nodes) != 1 and not (scalar or pairs or len(lost) > known):  # a single node may have nothing to say
        error, cure = "it tells nothing", "does the agent's view show it to this account?"
        lost.append(Failed(UNREADABLE, "takeover", f"ask {agent.where} for cfState and haTable", error, cure))
    if scalar:
        yield from _pair(
            "", [whole[name] for name in ("settings", "takeover", "cause", "partner", "interconnect")], CF_CAUSES
        )
    for index, row in pairs.items():
        yield from _pair(f"{_named(index)} ", row, HA_CAUSES)


def _disks(agent: snmp.Session, lost: list[Failed], whole: Mapping[str, snmp.Value]) -> Iterator[Part]:
    total, failed, prefailed = (whole[name] for name in ("disks", "failed", "prefailed"))
    if not (isinstance(total, int) and isinstance(failed, int)):
        lost.append(
            Failed(UNREADABLE, "disk", f"ask {agent.where} for diskTotalCount", "it is not told how many failed")
        )
    rows = snmp.table(agent, lost, "disk", "raidVTable", RAID_DISK, empty=True)
    shown = 0
    for index, (name, state) in rows.items():
        part = Part("disk", snmp.text(name) or ".".join(map(str, index)), *snmp.said(RAID, state))
        shown += part.health == "failed"
        yield part
    if not rows and isinstance(total, int) and isinstance(failed, int) and total > failed:
        yield Part("disk", "others", "ok", f"{total - failed} of {total} have not failed")
    # What is out of its RAID group is in no table: the filer tells the number, and their names in one text.
    if isinstance(failed, int):
        said = snmp.text(whole["failed message"])
        for number in range(1, min(failed - shown, 100) + 1):
            yield Part("disk", f"failed {number}", "failed", said or f"{failed} failed")
    if isinstance(prefailed, int) and prefailed and not rows:
        yield Part("disk", "prefailed", "degraded", f"{prefailed} are copied to a spare before they fail")


def _ports(agent: snmp.Session, lost: list[Failed], *, clustered: bool) -> Iterator[Part]:
    for index, row in snmp.table(agent, lost, "port", "netportTable", PORT, empty=not clustered).items():
        node, port, link, admin, condition = row
        name = f"{snmp.text(node)} {snmp.text(port)}".strip() or ".".join(map(str, index))
        if admin == 0:
            yield Part("port", name, "absent", "switched off by its administrator")
            continue
        opinion, word = snmp.said(LINK, link)
        if condition is not None and health(PORT_HEALTH, condition) != "ok":
            opinion = snmp.worst(opinion, health(PORT_HEALTH, condition))
            word += ", degraded" if condition == 1 else f", health {snmp.text(condition)}"
        if admin not in (None, 1):
            opinion, word = snmp.worst(opinion, "unknown"), f"{word}, upAdmin {snmp.text(admin)}"
        yield Part("port", name, opinion, word)


def _list(value: snmp.Value) -> list[str]:
    """Return what is in a list such as "1, 2": nothing for "" or "none", and any other word as it stands."""
    return [word for word in snmp.text(value).replace(",", " ").split() if word.lower() not in ("none", "n/a", "-")]


def _shelves(agent: snmp.Session, lost: list[Failed], whole: Mapping[str, snmp.Value]) -> Iterator[Part]:
    number = whole["shelves"]
    for index, row in snmp.table(agent, lost, "enclosure", "enclTable", SHELF, empty=number in (None, 0)).items():
        shelf = ".".join(map(str, index))
        contact, supplies, bad_supplies, fans, bad_fans, sensors, *troubles = row
        yield Part("enclosure", shelf, *snmp.said(SHELF_CONTACT, contact))
        for kind, there, bad in (("power supply", supplies, bad_supplies), ("fan", fans, bad_fans)):
            broken = _list(bad)
            if there is None or bad is None:
                yield Part(kind, f"shelf {shelf}", "unknown", "it is not told which failed")
                continue
            for number in dict.fromkeys([*_list(there), *broken]):
                word = "failed" if number in broken else "ok"
                yield Part(kind, f"shelf {shelf} {number}", word, word)
        if None in troubles:
            yield Part("sensor", f"shelf {shelf}", "unknown", "it is not told which are too hot or too cold")
        said = dict(zip(("too hot", "hot", "too cold", "cold"), map(_list, troubles)))
        for number in dict.fromkeys([*_list(sensors), *(number for numbers in said.values() for number in numbers)]):
            words = [word for word, numbers in said.items() if number in numbers]
            grave = any(word.startswith("too") for word in words)
            state = "failed" if grave else "degraded" if words else "ok"
            yield Part("sensor", f"shelf {shelf} {number}", state, words[0] if words else "normal")


def _container(kind: str, name: str, state: snmp.Value, status: snmp.Value) -> Part:
    """Return an aggregate or a volume: its state, and each word of its status."""
    words = [word.strip().lower() for word in snmp.text(status).split(",") if word.strip()]
    online = snmp.text(state).lower()
    opinion = snmp.worst(health(STATES, online), *(health(STATUS, word) for word in words))
    shown = [word for word in words if health(STATUS, word) != "ok"]
    if status is None:  # not the same as a status without a word
        opinion, shown = snmp.worst(opinion, "unknown"), ["no status is told"]
    return Part(kind, name, opinion, ", ".join([online or "no state is told", *shown]))


def _containers(agent: snmp.Session, lost: list[Failed]) -> Iterator[Part]:
    for index, (name, state, status) in snmp.table(agent, lost, "pool", "aggrTable", AGGREGATE).items():
        yield _container("pool", snmp.text(name) or ".".join(map(str, index)), state, status)
    for index, (name, state, status, server) in snmp.table(
        agent, lost, "volume", "volTable", VOLUME, empty=True
    ).items():
        owner = snmp.text(server)
        own = snmp.text(name) or ".".join(map(str, index))
        yield _container("volume", f"{owner}:{own}" if owner else own, state, status)


def _lag(state: str, word: str, lag: snmp.Value) -> tuple[str, str]:
    if state == "ok" and word != "source":
        if not isinstance(lag, int):
            return "unknown", f"{word}, its lag is not told"
        if lag > LAGS * 100:
            return "failed" if lag > LOST * 100 else "degraded", f"{word}, lags by {lag / 360000:.1f} h"
    return state, word


def _mirrors(agent: snmp.Session, lost: list[Failed], whole: Mapping[str, snmp.Value]) -> Iterator[Part]:
    if whole["mirrors"] not in (None, 1):  # 1: switched off
        for source, target, state, lag in snmp.table(
            agent, lost, "replication", "snapmirrorTable", MIRROR, empty=True
        ).values():
            yield Part(
                "replication",
                f"{snmp.text(source)} to {snmp.text(target)}",
                *_lag(*snmp.said(MIRROR_STATE, state), lag),
            )
    for row in snmp.table(agent, lost, "replication", "snapmirrorRelStatusTable", RELATION, empty=True).values():
        source, target, state, lag, healthy, reason = row
        opinion, word = _lag(*snmp.said(RELATION_STATE, state), lag)
        if healthy == 0:
            opinion, word = "failed", f"{word}, not healthy: {snmp.text(reason)}".rstrip(": ")
        elif healthy not in (None, 1):
            opinion, word = snmp.worst(opinion, "unknown"), f"{word}, healthy {snmp.text(healthy)}"
        yield Part("replication", f"{snmp.text(source)} to {snmp.text(target)}", opinion, word)


def _kib(value: snmp.Value) -> float | None:
    return value * KIB if isinstance(value, int) and value >= 0 else None


def _rooms(agent: snmp.Session, lost: list[Failed]) -> Iterator[Room]:
    rows = snmp.table(agent, lost, "pool", "dfTable", ROOM)
    # 1: traditionalVolume, which needs no aggregate. A virtual server's own address shows its volumes, and no aggregate.
    if rows and not any(row[3] in (1, 3, 4) for row in rows.values()):
        cure = "is this the cluster's management address?"
        lost.append(Failed(UNREADABLE, "pool", f"ask {agent.where} for dfTable", "no aggregate is told", cure))
    for index, row in rows.items():
        name, files, files_used, kind, size, used, server, online = row
        own = snmp.text(name) or ".".join(map(str, index))
        # Snapshots spill over their reserve into the volume, whose own row shows it. What is off-line has no true numbers.
        if own.rstrip("/").endswith(".snapshot") or online == 0 or size == 0:
            continue
        if kind in (3, 4):  # aggregate, stripedAggregate
            yield Room("pool", own, _kib(size), _kib(used))
            continue
        if own.startswith("/vol/"):
            own = own[5:].rstrip("/")
        if snmp.text(server):
            own = f"{snmp.text(server)}:{own}"
        yield Room("volume", own, _kib(size), _kib(used))
        if isinstance(files, int) and files > 0 and isinstance(files_used, int):
            yield Room("inodes", own, float(files), float(files_used))


def _speeds(run: Run, agent: snmp.Session) -> tuple[list[Speed], Any]:
    """Return the load of the whole since about five minutes ago, and what the next run needs for it."""
    values = dict(zip(LOAD, agent.get(*LOAD.values(), of="system").values()))
    counters: dict[str, float] = {}
    for name in ("nfs", "cifs", "http", "read", "written"):
        whole, high, low = values[name], values[f"{name} high"], values[f"{name} low"]
        if isinstance(whole, int):
            counters[name] = float(whole)
        elif isinstance(high, int) and isinstance(low, int):
            counters[name] = float((high % 2**32 << 32) + low % 2**32)
    before = run.before.get("rates") if isinstance(run.before, dict) else None
    history = samples.take(run, counters, before=before or [])

    def total(*names: str) -> float | Collecting | None:
        found = [history.rate(name) for name in names if name in counters]
        odd = [rate for rate in found if not isinstance(rate, float)]
        return odd[0] if odd else sum(rate for rate in found if isinstance(rate, float)) if found else None

    if not counters:
        raise Failed(UNREADABLE, "system", f"ask {agent.where} for misc64NfsOps", "it tells no counters of its load")
    return [Speed("", None, total("nfs", "cifs", "http"), total("read", "written"))], history.keep()
