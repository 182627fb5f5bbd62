# SPDX-License-Identifier: Apache-2.0
"""What disks say of themselves (SMART, NVMe health), by smartctl 7.0 or later, which a wrapper of ours runs for all of them.

smartctl wants a device in each call, and a line for sudo is fixed: contrib/sbin/nephoscope-smart is that line. It asks every
disk by `smartctl --json=c -i -H -A -l error -l selftest -n standby`, side by side, and prints one document each.

Sources: smartctl(8) (exit bits, -n standby), ataprint.cpp, scsiprint.cpp, nvmeprint.cpp and os_linux.cpp of smartmontools (keys
of the JSON; what --scan finds), NVM Express 1.4, figure 194 (bits of the critical warning), Linux' sysfs.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, files
from nephoscope.probes import as_root
from nephoscope.probes.conditions import Condition, Reading, Told

LINE = ("/usr/local/sbin/nephoscope-smart",)
SECONDS = 13.0  # it ends by itself: 10 s for the list and all disks, then it tidies up
NOT_BEGUN, NOTHING = "not begun, the time was up", "smartctl said nothing"  # in the wrapper's words
INSTALL = "contrib/sbin/nephoscope-smart as /usr/local/sbin/nephoscope-smart (root, 0755), and smartmontools"
BLOCK, NVME = "/sys/block", "/sys/class/nvme"
# The wrapper leaves out the same: what lies behind a network or a hypervisor has no health of its own here.
ELSEWHERE = re.compile(r"/(session\d+|rport-[^/]*|virtio\d+)/")
VIRTUAL = ("QEMU", "VMware", "Msft", "LIO-ORG")
FABRICS = ("tcp", "rdma", "fc", "loop")
NO_DISKS = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|nbd|rbd|drbd|bcache|mtdblock)\d*")
MEGARAID = "megaraid_sas"  # smartctl finds the disks behind it by itself
CONTROLLERS = (MEGARAID, "mpi3mr", "aacraid", "hpsa", "smartpqi", "arcmsr", "3w-9xxx", "3w-sas", "3w-xxxx")
USB = re.compile(r"/usb\d+/")
GIVEN_UP = ("offline", "transport-offline", "dead")  # the kernel's words, of SCSI disks and NVMe controllers
COMMAND_LINE, NOT_OPENED, REFUSED, FAILING = 1, 2, 4, 8  # bits of smartctl's exit status
ASLEEP = re.compile(r"Device is in (.*) mode, exit\(")
# Attributes of ATA disks whose raw value counts; the names of the readings.
COUNTED = {5: "realloc", 187: "reported", 197: "pending", 198: "uncorrected"}
CRC = 199
WORN = re.compile(
    r"SSD_Life_Left.*|Wear_Leveling.*|Media_Wearout_Indicator|Percent_Lifetime_Remain.*|Remaining_Lifetime.*"
)
FAILED_WHEN = {"": "", "now": "is", "past": "was"}
# Bits of an NVMe disk's critical warning: health and clause.
WARNINGS = (
    ("failed", "its spare blocks are below their limit"),
    ("degraded", "its temperature is beyond a limit"),
    ("failed", "its reliability is degraded by media or internal errors"),
    ("failed", "it has become read-only"),
    ("degraded", "the backup of its volatile memory has failed"),
    ("degraded", "its persistent memory has become read-only or unreliable"),
)


class Disks(NamedTuple):
    """The kernel's disks by name.

    asked    those that must answer ("sda", "nvme0")
    raid     drives of a RAID controller -> its driver: smartctl gets to them only where they are passed through
    others   how many are not asked, by why
    dead     those of `asked` and `raid` that the kernel has given up -> its word for it
    """

    asked: tuple[str, ...]
    raid: Mapping[str, str]
    others: Mapping[str, int]
    dead: Mapping[str, str] = {}


def controllers(run: Run) -> dict[str, str]:
    """Return SCSI host ("host0") -> driver, of RAID controllers. Raises Failed as `files.names` does, but not absent."""
    found = {}
    try:
        hosts = files.names(run, "/sys/class/scsi_host")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        return {}
    for host in hosts:
        try:
            driver = files.text(run, f"/sys/class/scsi_host/{host}/proc_name", limit=4096).strip()
        except Failed as failed:
            if failed.kind != ABSENT:
                raise
            continue
        if driver in CONTROLLERS:
            found[host] = driver
    return found


def disks(run: Run) -> Disks:
    """Return what the kernel has, from sysfs; no device is opened. Raises Failed as `files.names` does."""
    drivers = controllers(run)
    asked, raid, dead = [], {}, {}
    others = {"virtual": 0, "on a network": 0, "removable": 0}
    for name in files.names(run, BLOCK, of="smart"):
        if NO_DISKS.fullmatch(name) or name.startswith(("nvme", "mmcblk")):
            continue
        if not re.fullmatch(r"sd[a-z]+", name):
            others["virtual"] += 1
            continue
        home = os.path.realpath(run.path(f"{BLOCK}/{name}"))
        where = ELSEWHERE.search(home)
        if where:
            others["virtual" if where[1].startswith("virtio") else "on a network"] += 1
        elif _word(run, f"{BLOCK}/{name}/device/vendor").startswith(VIRTUAL):
            others["virtual"] += 1
        elif USB.search(home) and _word(run, f"{BLOCK}/{name}/removable") == "1":
            others["removable"] += 1  # sticks, card readers, the virtual media of a BMC
        else:
            host = re.search(r"/(host\d+)/", home)
            if host and host[1] in drivers:
                raid[name] = drivers[host[1]]
            else:
                asked.append(name)
            dead[name] = _word(run, f"{BLOCK}/{name}/device/state")
    try:
        heads = files.names(run, NVME, of="smart")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        heads = []
    for name in heads:
        if _word(run, f"{NVME}/{name}/transport") in FABRICS:
            others["on a network"] += 1
        else:
            asked.append(name)
            dead[name] = _word(run, f"{NVME}/{name}/state")
    others = {why: number for why, number in others.items() if number}
    return Disks(tuple(asked), raid, others, {name: word for name, word in dead.items() if word in GIVEN_UP})


def _word(run: Run, path: str) -> str:
    try:
        return files.text(run, path, limit=4096).strip()
    except Failed:
        return ""


def look(run: Run) -> Told:
    """Ask all disks.

    Raises Failed: absent when there is none to ask; not-allowed when the wrapper or smartctl is not installed or sudo refuses;
    unreachable when it gave no answer, unreadable when that was not understood.
    """
    known = disks(run)
    if known.asked or known.raid or MEGARAID in controllers(run).values():
        try:
            documents, strange, known = _documents(run, known)
        except Failed as failed:
            if not known.dead:
                raise
            return Told(_given_up(known), failures=[failed])
        told = judge_all(documents, known)
        if told.conditions or told.failures or strange:
            return told._replace(failures=[*strange, *told.failures])
    rest = [f"{number} {why}" for why, number in known.others.items()]
    rest += [f"{len(known.raid)} of a RAID controller"] if known.raid else []
    text = f"there is no disk that could be asked{' (' + ', '.join(rest) + ')' if rest else ''}"
    raise Failed(ABSENT, "smart", "", text)


def _documents(run: Run, known: Disks) -> tuple[list[dict[str, Any]], list[Failed], Disks]:
    """Return what there is of documents, what was wrong with the others, and the disks of which there must be one."""
    tried = f"run {' '.join(LINE)}"
    names = ", ".join([*known.asked, *known.raid][:6])
    try:
        answer = as_root.ask(LINE, run, of="smart", seconds=SECONDS)
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        # A disk that nobody can ask is not absent.
        raise Failed(NOT_ALLOWED, "smart", "", f"{names} can't be asked: {failed.error}", INSTALL) from None
    found, strange = [], []
    for line in filter(str.strip, answer.out.splitlines()):
        try:
            document = json.loads(line, strict=False)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            found.append(document)
        else:  # a smartctl that died, or one before 7.0: those of the other disks are none the worse
            strange.append(Failed(UNREADABLE, "smart", tried, f"not its JSON: {line.strip()[:40]!r}"))
    if strange and not found:
        raise strange[0]
    if len(found) == 1 and "device" not in found[0] and "not installed" in str(found[0].get("nephoscope")):
        raise Failed(NOT_ALLOWED, "smart", "", f"{names} can't be asked: {found[0]['nephoscope']}", INSTALL)
    if not found or found[-1].get("nephoscope") != "end":
        said = (answer.err.splitlines() or [f"it ended with {answer.status}"])[-1]
        strange.append(Failed(UNREADABLE, "smart", tried, f"its answer is cut off: {said}"))
        if not found:
            raise strange[-1]
        return found, strange, known._replace(asked=())
    return found[:-1], strange, known


def judge_all(documents: Sequence[Mapping[str, Any]], known: Disks) -> Told:
    """Return what all documents tell; a disk of the kernel that none is about is a Failed."""
    conditions = _given_up(known)
    readings: list[Reading] = []
    failures: list[Failed] = []
    seen = {f"smart {of}": of for of in known.dead}
    counters: dict[tuple[str, str], float] = {}
    answered = set(known.dead)
    heard: set[str] = set()
    told = 0
    for document in documents:
        of = name(document)
        answered.add(of)
        try:
            found = disk(of, document)
        except Failed as failed:
            # A virtual drive has no SMART: its disks are told of by the mode raid.
            if of not in known.dead and (of not in known.raid or failed.kind != UNREADABLE):
                failures.append(failed)
            continue
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            failures.append(Failed(UNREADABLE, of, "run smartctl", f"its JSON is not understood: {error}"))
            continue
        told += bool(found.seen)
        heard.add(of)
        conditions += found.conditions
        readings += found.readings
        seen.update(found.seen)
        counters.update(found.counters)
    for of in known.asked:
        if of not in answered:
            failures.append(Failed(UNREADABLE, of, "run smartctl", "it tells nothing of this disk"))
    asleep = [condition.of for condition in conditions if condition.health == "asleep"]
    said = [f"SMART of {told} disks"] + ([f"{', '.join(asleep[:6])} asleep"] if asleep else [])
    said += [f"{number} {why} not asked" for why, number in known.others.items()]
    behind = any("/" in of for of in heard)  # the disks of a MegaRAID stand for its drives
    hidden = [of for of, driver in known.raid.items() if of not in heard and not (behind and driver == MEGARAID)]
    said += [f"none behind {', '.join(hidden[:6])} (RAID controller)"] if hidden else []
    return Told(conditions, readings, failures, seen, counters, ", ".join(said))


def _given_up(known: Disks) -> list[Condition]:
    return [Condition("failed", of, f"is {word}: the kernel has given it up") for of, word in known.dead.items()]


def name(document: Mapping[str, Any]) -> str:
    """Return how a disk is called: "sda", "nvme0"; "bus0/8" is the disk 8 behind the RAID controller of bus 0."""
    device, kind = document.get("device"), document.get("type") or ""
    argv = document.get("smartctl", {}).get("argv") or []
    if argv:  # also where it could not be opened; the type as it was asked for
        device = argv[-1]
        kind = argv[argv.index("-d") + 1] if "-d" in argv else ""
    path = str(device or "a disk without a name").rpartition("/")[2]
    number = re.search(r",([\d,]+)$", str(kind))
    return f"{'bus' if path.isdigit() else ''}{path}/{number[1]}" if number else path


def disk(of: str, document: Mapping[str, Any]) -> Told:
    """Return what a document of one disk tells. Raises Failed when the disk told nothing."""
    if "nephoscope" in document:
        said = str(document["nephoscope"])
        kinds = {NOT_BEGUN: LATE, NOTHING: UNREADABLE}
        raise Failed(kinds.get(said, UNREACHABLE), of, "run smartctl", said)
    ran = document["smartctl"]
    status = int(ran["exit_status"])
    messages = [str(message.get("string", "")) for message in ran.get("messages", ())]
    sleeps = next((found for found in map(ASLEEP.search, messages) if found), None)
    if sleeps and sleeps[1] == "SLEEP":
        # What smartctl says of every disk that refuses the question for its power mode: one that is dead does so, too.
        raise Failed(
            UNREADABLE, of, "run smartctl", "it answers no command: it is dead, or in the deepest sleep (SLEEP)"
        )
    if sleeps and not sleeps[1].startswith(("STANDBY", "LOW POWER")):
        raise Failed(UNREADABLE, of, "run smartctl", f"it is in a mode that is not understood: {sleeps[1]}")
    if sleeps:
        return Told([Condition("asleep", of, f"sleeps ({sleeps[1]}) and is not woken: not looked at")])
    why = next((text for text in messages if text), f"smartctl ended with {status}")
    if status & (COMMAND_LINE | NOT_OPENED):
        raise Failed(UNREADABLE, of, "run smartctl", why)
    passed = document.get("smart_status", {}).get("passed")
    if not isinstance(passed, bool):
        support = document.get("smart_support", {})
        if support.get("available") is False:
            why = "it has no SMART, or its controller does not pass it on"
        elif support.get("enabled") is False:
            why = "SMART is switched off in it (smartctl -s on)"
        raise Failed(UNREADABLE, of, "run smartctl", f"no health is told: {why}")
    key = str(document.get("serial_number") or document.get("wwn", {}).get("id") or of)
    health = document.get("nvme_smart_health_information_log")
    if document.get("device", {}).get("protocol") == "NVMe" or health is not None:
        if not isinstance(health, dict):
            raise Failed(UNREADABLE, of, "run smartctl", f"no health log is told: {why}")
        found = _nvme(of, key, health)
    else:
        found = (
            _scsi(of, key, document) if "scsi_version" in document or _scsi_like(document) else _ata(of, key, document)
        )
        if not passed or status & FAILING:
            said = document.get("smart_status", {}).get("scsi", {}).get("ie_string", "")
            found.conditions.insert(0, Condition("failed", of, f"says that it is failing{': ' if said else ''}{said}"))
    celsius = document.get("temperature", {}).get("current")
    if isinstance(celsius, (int, float)):
        found.readings.append(Reading("temp_celsius", of, celsius))
    model = document.get("model_name") or document.get("scsi_model_name") or "a disk"
    if not found.conditions:
        found.conditions.append(Condition("ok", of, f"({model}) is well"))
    counters = {(kind, key): float(value) for kind, value in found.rising.items()}
    return Told(found.conditions, found.readings, seen={f"smart {key}": of}, counters=counters)


class _Found(NamedTuple):
    conditions: list[Condition]
    readings: list[Reading]
    rising: dict[str, float]  # sectors, errors: what has grown by when it is compared


def _scsi_like(document: Mapping[str, Any]) -> bool:
    return bool(document.get("device", {}).get("protocol") == "SCSI")


def _nvme(of: str, key: str, health: Mapping[str, Any]) -> _Found:
    found = _Found([], [], {})
    warning = int(health["critical_warning"])
    found.conditions.extend(
        Condition(state, of, text) for bit, (state, text) in enumerate(WARNINGS) if warning >> bit & 1
    )
    if warning >> len(WARNINGS):
        found.conditions.append(Condition("unknown", of, f"gives a warning that is not understood: {warning:#x}"))
    spare, least = health.get("available_spare"), health.get("available_spare_threshold")
    if spare is not None and least is not None and spare <= least and not warning & 1:
        found.conditions.append(
            Condition("failed", of, f"has {spare} % of its spare blocks left, its limit is {least} %")
        )
    found.readings.append(Reading("wear", of, health.get("percentage_used")))
    if health.get("media_errors") is not None:
        found.rising["errors_day"] = health["media_errors"]
    return found


def _scsi(of: str, key: str, document: Mapping[str, Any]) -> _Found:
    found = _Found([], [], {})
    grown = document.get("scsi_grown_defect_list")
    if grown is not None:
        found.readings.append(Reading("realloc", of, grown))
        found.rising["sectors_day"] = grown
    log = document.get("scsi_error_counter_log")
    if log:
        found.rising["errors_day"] = sum(row.get("total_uncorrected_errors") or 0 for row in log.values())
    found.readings.extend(_wear(of, document, document.get("scsi_percentage_used_endurance_indicator")))
    return found


def _ata(of: str, key: str, document: Mapping[str, Any]) -> _Found:
    found = _Found([], [], {})
    errors, worn = 0.0, None
    for row in document.get("ata_smart_attributes", {}).get("table", ()):
        number, label = row["id"], row["name"]
        if number in COUNTED:
            value = raw(row)
            found.readings.append(Reading(COUNTED[number], of, value))
            found.rising["sectors_day"] = found.rising.get("sectors_day", 0.0) + value
        elif number == CRC:
            errors += raw(row)
        elif WORN.fullmatch(label):
            worn = max(worn or 0, 100 - row["value"])
        found.conditions.extend(_limit(of, row))
    logged = document.get("ata_smart_error_log", {})
    errors += (logged.get("extended") or logged.get("summary") or {}).get("count", 0)
    tests = document.get("ata_smart_self_test_log", {})
    test = tests.get("extended") or tests.get("standard") or {}
    errors += max(0, test.get("error_count_total", 0) - test.get("error_count_outdated", 0))
    attributes = document.get("ata_smart_attributes", {}).get("table")
    refused = int(document["smartctl"]["exit_status"]) & REFUSED
    if refused and not attributes:
        found.conditions.append(Condition("unknown", of, "did not tell its attributes"))
    # A log that is refused for once would be a count that falls, and rises when it is told again.
    if not refused or (attributes and logged and tests):
        found.rising["errors_day"] = errors
    found.readings.extend(_wear(of, document, worn))
    return found


def raw(row: Mapping[str, Any]) -> float:
    """Return an attribute's count: some hold more beside it in the same 48 bits, and the string begins with the count."""
    found = re.match(r"\d+", str(row["raw"].get("string", "")))
    return float(found[0]) if found else float(row["raw"]["value"])


def _limit(of: str, row: Mapping[str, Any]) -> Iterator[Condition]:
    when = row.get("when_failed", "")
    verb = FAILED_WHEN.get(when)
    numbers = f"value {row['value']}, worst {row.get('worst')}, limit {row.get('thresh')}"
    if verb is None:
        yield Condition("unknown", of, f"{row['name']} failed at a time that is not understood: {when}")
    elif verb == "is" or (verb == "was" and row.get("flags", {}).get("prefailure")):
        # A hot day long ago is remembered for ever as well, and means nothing: it is of old age's kind.
        yield Condition("degraded", of, f"{row['name']} {verb} at its limit ({numbers})")


def _wear(of: str, document: Mapping[str, Any], otherwise: float | None) -> Iterator[Reading]:
    used = document.get("endurance_used", {}).get("current_percent", otherwise)
    if used is not None:
        yield Reading("wear", of, used)
