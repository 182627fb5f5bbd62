# SPDX-License-Identifier: Apache-2.0
"""What systemd says of its units, and when this machine was booted.

Source: systemctl(1) and org.freedesktop.systemd1(5) of systemd 252 (properties of `systemctl show`, states of units and unit
files), systemd.service(5) for NRestarts (since 235: automatic restarts only, back to 0 by a start by hand) and InvocationID
(another one for every start).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, files, samples

PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "ExecMainStatus", "ExecMainCode", "NRestarts",
    "InvocationID", "TriggeredBy", "WantedBy", "RequiredBy", "Type", "ConditionResult", "ConditionTimestampMonotonic",
    "ExecMainStartTimestampMonotonic", "Following", "RefuseManualStart",
)  # fmt: skip
NO_RESTARTS = Failed(
    ABSENT,
    "restarts",
    "systemctl show",
    "are not counted by this systemd (235 and newer do)",
    "--mode without restarts",
)
AT_ONCE = 200  # units in one command line


class Unit(NamedTuple):
    """A unit.

    load          loaded, not-found, masked, bad-setting, error
    active        active, reloading, inactive, failed, activating, deactivating, maintenance
    sub           the type's own word: running, exited, dead, auto-restart, …
    file          enabled, disabled, static, masked, … ("" when there is no file)
    why           how it ended, in words ("exit-code, status 1"), "" when well
    waits_for     what would start it, and is active: a timer, a socket, a path
    wanted_by     active units that want or require it, so that it ought to be up
    done          it had its turn and needs not run: a oneshot that succeeded, or a condition that was not met
    restarts      starts after its first, over the `period` of the question: a number, COLLECTING, or None when not asked
    """

    name: str
    load: str = "loaded"
    active: str = "active"
    sub: str = "running"
    file: str = "enabled"
    why: str = ""
    waits_for: tuple[str, ...] = ()
    wanted_by: tuple[str, ...] = ()
    done: bool = False
    restarts: Any = None

    @property
    def rests(self) -> bool:
        """Whether it is down by design."""
        return self.active == "inactive" and not self.why and (self.done or bool(self.waits_for))

    @property
    def words(self) -> str:
        """Its state as a clause."""
        if self.load != "loaded" and self.active in ("inactive", "failed"):
            return f"is {self.load}" + (f": {self.why}" if self.why else "")
        words = f"is {self.active} ({self.sub}{f': {self.why}' if self.why else ''})"
        return words if self.load == "loaded" else f"{words}, {self.load}"


class Boot(NamedTuple):
    """When this machine came up: seconds ago, whether since the last run, and how the boot before ended.

    shutdown   "clean" (a shutdown is on record before this boot), "none" (none is: a crash, a reset), "" (not known)
    """

    uptime: float
    new: bool
    shutdown: str


class Host(NamedTuple):
    """Answers to the questions asked; an empty one for those that were not.

    state      the manager's: running, degraded, starting, stopping, maintenance, initializing
    required   units asked for by name or glob, globs that match nothing as units "not-found"
    failed     units that failed
    enabled    units that are enabled, wanted by what is active, and down without a reason (failed ones are in `failed`)
    restarted  services, with `restarts`
    boot       or None
    kept       plain JSON for the next run
    lacking    why there are no restarts, where this systemd does not tell them
    """

    state: str = ""
    required: Sequence[Unit] = ()
    failed: Sequence[Unit] = ()
    enabled: Sequence[Unit] = ()
    restarted: Sequence[Unit] = ()
    boot: Boot | None = None
    kept: Mapping[str, Any] = {}
    lacking: Failed | None = None


def look(run: Run, modes: Sequence[str], names: Sequence[str], period: float) -> Host:
    """Answer the modes "units" (those of `names`, globs allowed), "failed", "enabled", "restarts" (over `period` s) and "boot".

    Raises Failed: absent (systemd does not run here), unreachable (it does not answer), not-allowed, unreadable.
    """
    before = run.before if isinstance(run.before, dict) else {}
    kept = dict(before)
    host = Host()
    if "boot" in modes:
        boot_ = boot(run, before.get("boot"))
        kept["boot"] = samples.boot_id(run)
        host = host._replace(boot=boot_)
    if set(modes) == {"boot"}:
        return host._replace(kept=kept)
    manager = _show(run, [], ("SystemState", "Version"))
    state = manager[0].get("SystemState", "") if manager else ""
    if not state:
        raise Failed(UNREADABLE, "", "systemctl show", "it tells no SystemState")
    if state == "offline":
        raise Failed(ABSENT, "", "systemctl show", "systemd does not run here: offline")
    states = {entry["unit"]: entry["active"] for entry in _list(run)}
    host = host._replace(state=state)
    if "units" in modes and names:
        host = host._replace(required=_required(run, names, states))
    if "failed" in modes:
        failed = [name for name, active in states.items() if active == "failed" and run.wants(name)]
        host = host._replace(failed=units(run, failed, states))
    if "enabled" in modes:
        # Templates (name@.service) are no units; aliases stand as their own names.
        files_ = [
            name for name in _enabled(run) if "@." not in name and states.get(name) not in ("active", "reloading")
        ]
        wanted = units(run, [name for name in files_ if run.wants(name)], states)
        lacking = [unit for unit in wanted if unit.wanted_by and not unit.rests]
        host = host._replace(enabled=[unit for unit in lacking if unit.active in ("inactive", "deactivating")])
    if "restarts" in modes:
        services = [name for name in states if name.endswith(".service") and run.wants(name)]
        if names:
            services = [name for name in services if any(_matches(name, glob) for glob in names)]
        rows = _show(run, services, PROPERTIES) if services else []
        if rows and not any(row.get("NRestarts", "").isdigit() for row in rows):
            host = host._replace(lacking=NO_RESTARTS)
        totals = count_starts(rows, before.get("starts"), samples.boot_id(run) == before.get("starts_boot"))
        history = samples.take(
            run, {name: total[0] for name, total in totals.items()}, span=period, before=before.get("samples") or []
        )
        kept.update(starts=totals, starts_boot=samples.boot_id(run), samples=history.keep())
        found = [_unit(row, states) for row in rows if row.get("Id") in totals]
        host = host._replace(restarted=[unit._replace(restarts=history.rise(unit.name)) for unit in found])
    return host._replace(kept=kept)


def units(run: Run, names: Sequence[str], states: Mapping[str, str]) -> list[Unit]:
    """Return these units, in the order given. Raises Failed as `look` does."""
    return [_unit(row, states) for row in _show(run, names, PROPERTIES)] if names else []


def boot(run: Run, before: Any) -> Boot:
    """Return the boot of this machine; `before` is the kernel's boot id of the last run, or None.

    Raises Failed when /proc/uptime cannot be read.
    """
    content = files.text(run, "/proc/uptime")
    try:
        uptime = float(content.split()[0])
    except (ValueError, IndexError):
        raise Failed(UNREADABLE, "/proc/uptime", "read /proc/uptime", f"not understood: {content[:40]!r}") from None
    now = samples.boot_id(run)
    new = bool(now and isinstance(before, str) and before and before != now)
    return Boot(uptime, new, _shutdown(run))


def _shutdown(run: Run) -> str:
    """Say how the boot before this one ended, by the last records of /var/log/wtmp (utmp(5): 384 bytes each on Linux)."""
    import os
    import struct

    try:
        with open(run.path("/var/log/wtmp"), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - size % 384 - 384 * 4000))
            data = file.read(384 * 4000)
    except OSError:
        return ""
    boots = 0
    down = False
    for at in range(len(data) // 384 * 384 - 384, -1, -384):
        (kind,) = struct.unpack_from("=h", data, at)
        user = data[at + 44 : at + 76].rstrip(b"\0")
        if kind == 2:  # BOOT_TIME
            boots += 1
            if boots == 2:
                return "clean" if down else "none"
        elif kind == 1 and user == b"shutdown" and boots == 1:  # RUN_LVL
            down = True
    return "clean" if down else ""


def count_starts(rows: Iterable[Mapping[str, str]], before: Any, same_boot: bool) -> dict[str, list[Any]]:
    """Return, per service, how often it was started anew since it is watched: name -> [count, NRestarts, InvocationID].

    A start by hand puts NRestarts back to 0 and is seen by the new InvocationID: an upgrade that restarts a daemon counts too.
    """
    known = before if same_boot and isinstance(before, dict) else {}
    totals: dict[str, list[Any]] = {}
    for row in rows:
        name, text, start = row.get("Id", ""), row.get("NRestarts", ""), row.get("InvocationID", "")
        if not text.isdigit() or not (start or name in known):
            continue  # systemd older than 235; or never started
        automatic = int(text)
        try:
            total, last, invocation = known[name]
            total, last = int(total), int(last)
        except (KeyError, TypeError, ValueError):
            totals[name] = [0, automatic, start]
            continue
        if automatic > last:
            total += automatic - last
        elif start and invocation and start != invocation:
            total += 1 + automatic
        totals[name] = [total, automatic, start or invocation]
    return totals


def _required(run: Run, names: Sequence[str], states: Mapping[str, str]) -> list[Unit]:
    found: dict[str, Unit] = {}
    for name in names:
        if any(sign in name for sign in "*?["):
            matching = [unit for unit in states if _matches(unit, name)]
            if not matching:
                found[name] = Unit(name, "not-found", "inactive", "dead", "", "no unit matches")
        else:
            matching = [name if "." in name else f"{name}.service"]
        for unit, asked in zip(units(run, matching, states), matching):
            # An alias is told as it was asked for.
            found.setdefault(asked, unit._replace(name=asked))
    return list(found.values())


def _matches(unit: str, glob: str) -> bool:
    return fnmatchcase(unit, glob) or fnmatchcase(unit, f"{glob}.service")


def _unit(row: Mapping[str, str], states: Mapping[str, str]) -> Unit:
    def active(names: str) -> tuple[str, ...]:
        return tuple(
            name for name in row.get(names, "").split() if states.get(name) in ("active", "reloading", "activating")
        )

    result, status = row.get("Result", ""), row.get("ExecMainStatus", "0")
    why = "" if result in ("", "success") else result
    if why and status not in ("", "0"):
        why += f", {'signal' if row.get('ExecMainCode') in ('2', '3') else 'status'} {status}"
    unmet = row.get("ConditionResult") == "no" and row.get("ConditionTimestampMonotonic", "0") not in ("", "0")
    ran = row.get("Type") == "oneshot" and row.get("ExecMainStartTimestampMonotonic", "0") not in ("", "0")
    return Unit(
        row.get("Id", ""),
        row.get("LoadState", ""),
        row.get("ActiveState", ""),
        row.get("SubState", ""),
        row.get("UnitFileState", ""),
        why,
        active("TriggeredBy"),
        tuple(dict.fromkeys(active("WantedBy") + active("RequiredBy"))),
        not why and row.get("ActiveState") == "inactive" and (unmet or ran),
    )


def _show(run: Run, names: Sequence[str], properties: Sequence[str]) -> list[dict[str, str]]:
    """Return the properties of units, or of the manager itself when none is named."""
    rows: list[dict[str, str]] = []
    for at in range(0, max(1, len(names)), AT_ONCE):
        some = names[at : at + AT_ONCE]
        # --all: an empty property is told too, so that a missing one means an older systemd.
        answer = _systemctl(
            run, "show", "--all", f"--property={','.join(properties)}", *(["--", *some] if some else [])
        )
        row: dict[str, str] = {}
        for line in [*answer.split("\n"), ""]:
            name, equals, value = line.partition("=")
            if equals:
                row[name] = value
            elif row:
                rows.append(row)
                row = {}
    if names and len(rows) != len(names):
        raise Failed(UNREADABLE, "", "systemctl show", f"asked for {len(names)} units, told of {len(rows)}")
    return rows


def _list(run: Run) -> list[dict[str, str]]:
    """Return name and state of every unit in memory: as JSON (systemd 246 on), else in columns."""
    import json

    answer = _systemctl(run, "list-units", "--all", "--full", "--output=json", "--no-legend", "--plain")
    try:
        rows = (
            json.loads(answer) if answer.lstrip().startswith("[") else [_columns(line) for line in answer.splitlines()]
        )
        return [{"unit": str(row["unit"]), "active": str(row["active"])} for row in rows if row]
    except (ValueError, KeyError, TypeError):
        raise Failed(UNREADABLE, "", "systemctl list-units", f"not understood: {answer[:40]!r}") from None


def _columns(line: str) -> dict[str, str]:
    fields = line.split(None, 4)
    if not fields:
        return {}
    if len(fields) < 4:
        raise ValueError(line)
    return {"unit": fields[0], "active": fields[2]}


def _enabled(run: Run) -> list[str]:
    answer = _systemctl(run, "list-unit-files", "--state=enabled,enabled-runtime", "--full", "--no-legend", "--plain")
    return [line.split()[0] for line in answer.splitlines() if line.strip()]


def _systemctl(run: Run, *words: str) -> str:
    from nephoscope.base import child

    try:
        answer = child.command(["systemctl", "--no-pager", "--no-ask-password", *words], run, of="systemd")
    except Failed as failed:
        raise Failed(
            failed.kind, "" if failed.kind == ABSENT else "systemd", failed.tried, failed.error, failed.cure
        ) from None
    if answer.status == 0:
        return answer.out
    lines = [line.strip() for line in answer.err.splitlines() if line.strip()]
    text = lines[0] if lines else f"exit status {answer.status}"
    whole = answer.err.lower()
    tried = f"systemctl {words[0]}"
    if "not been booted with systemd" in whole or "host is down" in whole:
        raise Failed(ABSENT, "", tried, text)
    if any(word in whole for word in ("permission denied", "access denied", "not authorized")):
        raise Failed(NOT_ALLOWED, "systemd", tried, text, "the D-Bus policy that lets users read systemd's properties")
    if any(
        word in whole for word in ("connect", "timed out", "no route", "disconnected", "reset", "no reply", "noreply")
    ):
        raise Failed(UNREACHABLE, "systemd", tried, text)
    raise Failed(UNREADABLE, "systemd", tried, text)
