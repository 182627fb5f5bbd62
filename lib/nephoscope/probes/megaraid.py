# SPDX-License-Identifier: Apache-2.0
"""RAID controllers of the MegaRAID and PERC families, asked by storcli or perccli in their JSON.

Sources: StorCLI reference manual; the legends that storcli 7.1211 to 7.2309 print below its tables (words of drives and virtual
drives); outputs in public reports. HPE's ssacli prints text only, Adaptec's arcconf has no JSON that is documented, storcli2
has another form: their controllers are named as not asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.base.child import find
from nephoscope.probes import as_root, smart
from nephoscope.probes.conditions import Condition, Reading, Told

TOOLS = ("/opt/MegaRAID/storcli/storcli64", "/opt/MegaRAID/perccli/perccli64")
INSTEAD = "its BMC asked instead (check_hardware_sensors), and the mode raid left out here"
# nolog: else they write storcli.log where they are run.
ALL, DRIVES, VOLUMES, REBUILDS = QUESTIONS = (
    ("/call", "show", "all", "J", "nolog"),
    ("/call/eall/sall", "show", "all", "J", "nolog"),
    ("/call/vall", "show", "all", "J", "nolog"),
    ("/call/eall/sall", "show", "rebuild", "J", "nolog"),
)
LINES = tuple((tool, *question) for tool in TOOLS for question in QUESTIONS)
# Words and what they mean; a word that is not here is "unknown".
CONTROLLERS = {
    "Optimal": "ok", "OK": "ok", "Needs Attention": "degraded", "NdAtn": "degraded", "Degraded": "degraded",
    "Failed": "failed", "Critical": "failed", "Fault": "failed",
}  # fmt: skip
VIRTUAL = {
    "Optl": "ok", "Cac": "ok", "Rec": "rebuilding", "Pdgd": "degraded", "Dgrd": "exposed", "dgrd": "exposed",
    "OfLn": "failed", "Msng": "failed",
}  # fmt: skip
PHYSICAL = {
    "Onln": "ok", "JBOD": "ok", "UGood": "ok", "GHS": "spare", "DHS": "spare", "Rbld": "rebuilding",
    "Cpybck": "rebuilding", "CBShld": "degraded", "CFShld": "degraded", "HSPShld": "degraded", "UGShld": "degraded",
    "Sntze": "degraded", "UGUnsp": "degraded", "UBUnsp": "failed", "UBad": "failed", "Offln": "failed",
    "Failed": "failed", "Msng": "failed",
}  # fmt: skip
# Of a controller's status, what should read 0 or No.
FINE = (None, 0, "0", "No", "NA", "N/A", "")
SIGNS = {
    "Memory Uncorrectable Errors": "has memory errors that could not be corrected",
    "Any Offline VD Cache Preserved": "keeps the cache of a virtual drive that is offline",
    "Controller has booted into safe mode": "has booted into its safe mode",
    "Controller shutdown required": "asks to be shut down",
}
ACCESS = {"RW": "ok", "HD": "ok", "TRANS": "ok", "RO": "degraded", "B": "degraded"}
BATTERY = {
    "Optimal": "ok", "Charging": "degraded", "Discharging": "degraded", "Learning": "degraded", "Learn": "degraded",
    "Degraded": "degraded", "Dgd": "degraded", "Degraded (need attention)": "degraded",
    "Degraded(Needs Attention)": "degraded", "Dgd (Needs Attention)": "degraded", "Needs Attention": "degraded",
    "Missing": "degraded", "Msng": "degraded", "Failed": "degraded", "Non Operational": "degraded",
}  # fmt: skip


def look(run: Run) -> Told:
    """Ask every controller that the tool knows.

    Raises Failed: absent when the machine has none, not-allowed when sudo refuses, unreadable. A controller that can't be
    asked, or lacks its tool, is among the failures.
    """
    here = smart.controllers(run)
    unable = [
        Failed(
            NOT_ALLOWED, driver, "", "a RAID controller of this driver is here that no tool of ours can ask", INSTEAD
        )
        for driver in sorted({driver for driver in here.values() if driver != smart.MEGARAID})
    ]
    if smart.MEGARAID not in here.values():
        if unable:
            return Told(failures=unable)
        raise Failed(ABSENT, "raid", "", "the kernel has no RAID controller")
    tool = next((line for line in TOOLS if find(line.rpartition("/")[2]) or find(line)), None)
    if tool is None:
        text = f"a RAID controller ({smart.MEGARAID}) is here, and neither storcli64 nor perccli64 is installed"
        unable.append(Failed(NOT_ALLOWED, smart.MEGARAID, "", text, "one of these tools, below /opt/MegaRAID"))
        return Told(failures=unable)
    rows, failures = _ask(run, tool, ALL)
    if not rows and not failures:
        text = f"it knows no controller, and the kernel has one ({smart.MEGARAID})"
        raise Failed(UNREADABLE, "raid", f"run {tool}", text)
    more = []
    for question, listed, state in ((DRIVES, "PD LIST", ""), (VOLUMES, "VD LIST", ""), (REBUILDS, "PD LIST", "Rbld")):
        having = [number for number, row in rows.items() if _has(row.get(listed), state)]
        found, refused = _more(run, tool, question, having)
        more.append(found)
        failures += refused
    told = tell(rows, *more)
    return told._replace(failures=[*unable, *failures, *told.failures])


def _has(listed: Any, state: str) -> bool:
    return any(not state or row.get("State") == state for row in listed or ())


def _more(run: Run, tool: str, question: Sequence[str], having: Sequence[int]) -> tuple[dict[int, Any], list[Failed]]:
    """Ask a question that goes further, if it is one for any of `having`; its failure does not hide what is known."""
    if not having:
        return {}, []
    try:
        found, failures = _ask(run, tool, question)
    except Failed as failed:
        return {}, [failed]
    failures = [failed for failed in failures if failed.of in [f"c{number}" for number in having]]
    silent = [number for number in having if number not in found and f"c{number}" not in [one.of for one in failures]]
    tried = f"run {tool} {' '.join(question)}"
    return found, [*failures, *(Failed(UNREADABLE, f"c{number}", tried, "no word of it") for number in silent)]


def _ask(run: Run, tool: str, question: Sequence[str]) -> tuple[dict[int, Any], list[Failed]]:
    """Return controller -> its data, and those that gave none; neither when the tool finds no controller."""
    tried = f"run {tool} {' '.join(question)}"
    answer = as_root.ask((tool, *question), run, of="raid")
    try:
        found, failures = {}, []
        for row in json.loads(answer.out)["Controllers"]:
            status = row["Command Status"]
            said = str(status.get("Description"))
            if "Controller" not in status and re.match("No Controller found", said, re.IGNORECASE):
                return {}, []
            if row.get("Response Data"):
                found[int(status["Controller"])] = row["Response Data"]
            else:
                of = f"c{status['Controller']}" if "Controller" in status else "raid"
                failures.append(Failed(UNREADABLE, of, tried, f"{status['Status']}: {said}"))
        return found, failures
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Failed(UNREADABLE, "raid", tried, f"not its JSON: {answer.out.strip()[:40]!r}") from None


def tell(
    rows: Mapping[int, Mapping[str, Any]],
    drives: Mapping[int, Any] = {},
    volumes: Mapping[int, Any] = {},
    rebuilds: Mapping[int, Any] = {},
) -> Told:
    """Return what the answers to the four questions tell, controller by controller.

    One that is not among the answers to `drives` was not asked: its disks' counts are not told.
    """
    conditions: list[Condition] = []
    readings: list[Reading] = []
    failures: list[Failed] = []
    seen: dict[str, str] = {}
    for number, row in rows.items():
        try:
            more = (drives.get(number), volumes.get(number) or {}, rebuilds.get(number) or ())
            found = _controller(f"c{number}", row, *more)
        except Failed as failed:
            failures.append(failed)
            continue
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            failures.append(Failed(UNREADABLE, f"c{number}", "", f"its JSON is not understood: {error!r}"))
            continue
        conditions += found.conditions
        readings += found.readings
        seen.update(found.seen)
    return Told(conditions, readings, failures, seen, summary=f"{len(rows)} RAID controllers")


def _controller(of: str, row: Mapping[str, Any], drives: Any, volumes: Any, rebuilds: Any) -> Told:
    state = str(row["Status"]["Controller Status"])
    conditions = [Condition(CONTROLLERS.get(state, "unknown"), of, f"is {state}")]
    conditions += [Condition("degraded", of, text) for key, text in SIGNS.items() if row["Status"].get(key) not in FINE]
    seen = {f"raid {of}": of}
    readings: list[Reading] = []
    for listed, counted in (("VD LIST", "Virtual Drives"), ("PD LIST", "Physical Drives")):
        if row.get(counted) is not None and int(row[counted]) != len(row.get(listed) or ()):
            text = f"{row[counted]} {counted.lower()} are counted, {len(row.get(listed) or ())} are listed"
            raise Failed(UNREADABLE, of, "", text)
    being = {drive.get("DG") for drive in row.get("PD LIST") or () if drive["State"] == "Rbld"}
    for drive in row.get("VD LIST") or ():
        group, _, number = str(drive["DG/VD"]).partition("/")
        conditions += _virtual(
            f"{of}/v{number}", drive, group in map(str, being), volumes.get(f"VD{number} Properties") or {}
        )
        seen[f"raid {of}/v{number}"] = f"{of}/v{number}"
    for drive in row.get("PD LIST") or ():
        enclosure, _, slot = str(drive["EID:Slt"]).partition(":")
        path = f"{of}/e{enclosure}/s{slot}" if enclosure.strip() else f"{of}/s{slot}"
        more = (drives or {}).get(f"Drive /{path} - Detailed Information") or {}
        found = _physical(path, drive, more.get(f"Drive /{path} State") or {}, drives is not None)
        conditions += found.conditions
        readings += found.readings
        serial = str((more.get(f"Drive /{path} Device attributes") or {}).get("SN", "")).strip()
        seen[f"raid {serial or path}"] = path
    for rebuild in rebuilds if isinstance(rebuilds, list) else ():
        if isinstance(rebuild.get("Progress%"), (int, float)) and "Drive-ID" in rebuild:
            readings.append(Reading("rebuilding", str(rebuild["Drive-ID"]).lstrip("/"), rebuild["Progress%"]))
    for listed, what in (("BBU_Info", "bbu"), ("Cachevault_Info", "cachevault")):
        for battery in row.get(listed) or ():
            state = str(battery["State"]).strip()
            text = f"(backs the write cache) is {state}"
            conditions.append(Condition(BATTERY.get(state, "unknown"), f"{of}/{what}", text))
            seen[f"raid {of}/{what}"] = f"{of}/{what}"
    return Told(conditions, readings, seen=seen)


def _virtual(of: str, drive: Mapping[str, Any], being: bool, more: Mapping[str, Any]) -> Iterator[Condition]:
    state, access, cache = str(drive["State"]), str(drive.get("Access", "RW")), str(drive.get("Cache", ""))
    health = VIRTUAL.get(state, "unknown")
    if health in ("exposed", "degraded") and being:
        yield Condition("rebuilding", of, f"{drive['TYPE']} is {state}, a disk is being rebuilt")
    else:
        none = ", no other disk may fail" if health == "exposed" else ""
        yield Condition(health, of, f"{drive['TYPE']} is {state}{none}")
    if ACCESS.get(access, "unknown") != "ok":
        yield Condition(ACCESS.get(access, "unknown"), of, f"has access {access}")
    if str(more.get("Write Cache(initial setting)", "")).startswith("WriteBack") and "WT" in cache:
        yield Condition("degraded", of, f"has fallen back to writing through its cache ({cache})")


def _physical(of: str, drive: Mapping[str, Any], counts: Mapping[str, Any], asked: bool) -> Told:
    state = str(drive["State"])
    foreign = ", with a foreign configuration" if drive.get("DG") == "F" else ""
    health = PHYSICAL.get(state, "unknown")
    if foreign and health == "ok":
        health = "degraded"
    conditions = [Condition(health, of, f"({str(drive.get('Model', '')).strip()}) is {state}{foreign}")]
    if drive.get("Sp") == "D" and health == "ok":
        conditions.append(Condition("ok", of, "is spun down"))
    if counts.get("Predictive Failure Count") or str(counts.get("S.M.A.R.T alert flagged by drive", "No")) != "No":
        conditions.append(Condition("degraded", of, "predicts its failure (S.M.A.R.T. alert)"))
    # A drive that is gone has no counters; of any other, one that is not told is not measured.
    errors = counts.get("Media Error Count")
    if not asked or (errors is None and health == "failed"):
        return Told(conditions)
    return Told(conditions, [Reading("media_errors", of, errors if isinstance(errors, (int, float)) else None)])
