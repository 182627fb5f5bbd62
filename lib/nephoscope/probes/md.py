# SPDX-License-Identifier: Apache-2.0
"""Linux software RAID (md), as /sys/block/md*/md tells of it: no program is run and no device is opened.

Sources: Documentation/admin-guide/md.rst (words of array_state, sync_action and a member's state; mismatch_cnt; "none" and
"delayed" of sync_completed), drivers/md/md.c of Linux 6.1 ("broken" since 5.4; level and metadata_version of containers).
"""

from __future__ import annotations

import re

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run, files
from nephoscope.probes.conditions import Condition, Reading, Told

BLOCK = "/sys/block"
# Words and what they mean; a word that is not here is "unknown".
ARRAYS = {
    "inactive": "failed", "broken": "failed", "suspended": "degraded", "readonly": "degraded",
    "read-auto": "ok", "clean": "ok", "active": "ok", "write-pending": "ok", "active-idle": "ok",
}  # fmt: skip
ACTIONS = {
    "idle": "ok", "check": "ok", "repair": "ok", "resync": "rebuilding", "recover": "rebuilding",
    "reshape": "rebuilding", "frozen": "degraded",
}  # fmt: skip
MEMBERS = {
    "faulty": "degraded", "blocked": "degraded", "write_error": "degraded", "want_replacement": "degraded",
    "in_sync": "ok", "write_mostly": "ok", "writemostly": "ok", "replacement": "ok", "external_bbl": "ok",
    "failfast": "ok", "journal": "ok", "spare": "spare",
}  # fmt: skip
REDUNDANCY = {"raid4": 1, "raid5": 1, "raid6": 2, "raid10": 1}  # raid10: what may fail wherever it is
PARITY = ("raid4", "raid5", "raid6")
WITHOUT = ("raid0", "linear", "faulty", "multipath")  # levels that have neither redundancy nor its files


def arrays(run: Run) -> Told:
    """Return every array, its members, and how far a rebuild has come (%).

    Raises Failed: absent when there is no array, and as `files.names` does.
    """
    run.stage(f"read {BLOCK}/md*/md")
    conditions: list[Condition] = []
    readings: list[Reading] = []
    failures: list[Failed] = []
    seen: dict[str, str] = {}
    for name in files.names(run, BLOCK, of="md"):
        if not re.fullmatch(r"md(\d+|_.+)", name):  # md_NAME: where mdadm.conf has CREATE names=yes
            continue
        try:
            found = _array(run, name, f"{BLOCK}/{name}/md")
        except Failed as failed:
            if failed.kind == ABSENT and name not in files.names(run, BLOCK, of="md"):
                continue  # stopped while we looked
            # A file that each array has and that is not there is no array that is absent.
            failures.append(Failed(UNREADABLE, name, failed.tried, failed.error) if failed.kind == ABSENT else failed)
            continue
        conditions += found.conditions
        readings += found.readings
        seen.update(found.seen)
    number = len({condition.of for condition in conditions if "/" not in condition.of})
    if not number and not failures:
        raise Failed(ABSENT, "md", f"list {BLOCK}", "the kernel has no md array")
    return Told(conditions, readings, failures, seen, summary=f"{number} md arrays")


def _array(run: Run, name: str, home: str) -> Told:
    def text(file: str) -> str:
        return files.text(run, f"{home}/{file}", of=name, limit=4096).strip()

    def perhaps(file: str) -> str | None:
        try:
            return text(file)
        except Failed as failed:
            if failed.kind != ABSENT:
                raise
            return None

    state, level = text("array_state"), text("level")
    # A container is "external:imsm", an array within it "external:/md127/0", or "external:-md127/0" while it is read-only.
    container = re.match("external:[^/-]", perhaps("metadata_version") or "") and level in ("", "container")
    if state == "clear" or container:
        return Told()  # a node without an array; a container (IMSM, DDF), whose arrays stand for it
    members = [_member(run, name, home, entry) for entry in files.names(run, home, of=name) if entry.startswith("dev-")]
    # Members change their names at a boot, and `degraded` counts those that are gone; but for idle spares.
    idle = [
        member
        for member in members
        if member.health == "spare" and perhaps(f"dev-{member.of[len(name) + 1 :]}/slot") == "none"
    ]
    seen = {f"md {of}": of for of in (name, *(f"{name}/spare {number}" for number in range(1, len(idle) + 1)))}
    health = ARRAYS.get(state, "unknown")
    if health in ("failed", "unknown"):
        return Told([Condition(health, name, f"is {state}"), *members], seen=seen)
    disks = _number(name, "raid_disks", text("raid_disks"))
    said, readings = f"{level} of {disks} disks is {state}", []
    if level not in REDUNDANCY and level not in WITHOUT and level != "raid1":
        return Told([Condition("unknown", name, f"has a level that is not known: {level}"), *members], seen=seen)
    if level not in WITHOUT:
        missing = _number(name, "degraded", text("degraded"))
        action, done = text("sync_action"), perhaps("sync_completed") or "none"
        health, said, share = _redundant(level, disks, missing, action, done, health, said)
        if share is not None:
            readings.append(Reading("rebuilding", name, share))
    conditions = [Condition(health, name, said), *members]
    differ = perhaps("mismatch_cnt")
    if differ is not None and level not in WITHOUT:
        number = _number(name, "mismatch_cnt", differ)
        readings.append(Reading("mismatches", name, number))
        if number:
            # Mirrors of swap and of files that are written while they are copied differ by design.
            worse = "failed" if level in PARITY else "degraded"
            conditions.append(Condition(worse, name, f"has {number} sectors whose copies differ (mismatch_cnt)"))
    return Told(conditions, readings, seen=seen)


def _redundant(
    level: str, disks: int, missing: int, action: str, done: str, health: str, said: str
) -> tuple[str, str, float | None]:
    """Return health and clause of an array with redundancy, and how far its rebuild is, %."""
    left = REDUNDANCY.get(level, disks - 1) - missing
    if level == "raid10":  # it lives, or it would be broken: they are of different mirrors
        left = max(left, 0)
    doing = ACTIONS.get(action, "unknown")
    found = re.fullmatch(r"(\d+) / (\d+)", done)
    share = 100.0 * int(found[1]) / int(found[2]) if found and int(found[2]) and doing == "rebuilding" else None
    if missing:
        said = f"{level} lacks {missing} of {disks} disks"
        if doing != "rebuilding" and left <= 0:
            said += ", no other may fail" if left == 0 else ", more than it can bear"
    if doing == "unknown":
        return "unknown", f"{said}, and does what is not understood: {action}", None
    if action not in ("idle", "check", "repair"):
        how = f" ({share:.1f} % done)" if share is not None else " (waiting)" if done == "delayed" else ""
        said += f", {action}{how}"
    if missing and left < 0:
        return "failed", said, share
    if doing == "rebuilding":
        return doing, said, share
    if missing:
        return ("exposed" if left <= 0 else "degraded"), said, share
    return (doing if doing != "ok" else health), said, share


def _member(run: Run, array: str, home: str, entry: str) -> Condition:
    of = f"{array}/{entry[4:]}"
    state = files.text(run, f"{home}/{entry}/state", of=of, limit=4096).strip()
    words = [word for word in state.split(",") if word]
    found = [MEMBERS.get(word, "unknown") for word in words] or ["unknown"]
    health = next((worse for worse in ("degraded", "unknown", "spare") if worse in found), "ok")
    return Condition(health, of, f"is {', '.join(words) or 'in no state'}")


def _number(of: str, file: str, text: str) -> int:
    found = re.match(r"\d+", text)  # raid_disks reads "4 (3)" while it is reshaped
    if found is None:
        raise Failed(UNREADABLE, of, f"read {file}", f"not a number: {text[:40]!r}")
    return int(found[0])
