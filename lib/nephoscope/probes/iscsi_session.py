# SPDX-License-Identifier: Apache-2.0
"""This host's iSCSI sessions as an initiator: /sys/class/iscsi_session, /sys/class/iscsi_connection, and whether iscsid lives.

Sources: Linux, drivers/scsi/scsi_transport_iscsi.c (iscsi_session_state_names; connection_state_names, since 5.7; a session is
FREE before its first log-in, and again when recovery_tmo has passed without one: session_recovery_timedout),
include/scsi/scsi_transport_iscsi.h; open-iscsi, README (node.session.timeo.replacement_timeout is recovery_tmo).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, Failed, Run, attempt, files, samples
from nephoscope.probes import high_water

SESSIONS, CONNECTIONS, BLOCK = "/sys/class/iscsi_session", "/sys/class/iscsi_connection", "/sys/block"
CONNECTION = {"up": "ok", "down": "recovering", "failed": "recovering", "bound": "recovering"}
PORT = 3260  # RFC 7143
RECOVERY = 120.0  # seconds: what open-iscsi sets, for a session that tells none


class Session(NamedTuple):
    """One session.

    name     target, portal, and the interface where it is not the default one
    target   its iSCSI name
    portal   address:port that it was logged in to, "" where no connection tells it
    state    the kernel's word
    health   ok, recovering, failed (the kernel has given up, or should have), unknown (a word that is not understood)
    said     what is wrong, as a clause; "" for nothing
    disks    block devices that it has
    idle     seconds for which it has been seen logged in without any
    timeout  recovery_tmo of a session whose disk is under multipath: for so long I/O waits before another path is taken;
             None: it is not under multipath, or tells none
    """

    name: str
    target: str
    portal: str
    state: str = "LOGGED_IN"
    health: str = "ok"
    said: str = ""
    disks: int = 1
    idle: float = 0.0
    timeout: float | None = None


class Survey(NamedTuple):
    """The sessions of a host.

    most    target -> the most sessions that it had at once, in this run or an earlier one that is not forgotten
    daemon  whether iscsid runs; a Failed when that can't be seen; None: nobody needs it
    kept    plain JSON for the next run
    """

    sessions: tuple[Session | Failed, ...]
    most: Mapping[str, int] = {}
    daemon: bool | Failed | None = None
    kept: Any = None

    @property
    def good(self) -> list[Session]:
        """Those that could be read."""
        return [session for session in self.sessions if isinstance(session, Session)]

    @property
    def counted(self) -> bool:
        """Whether each session could be read."""
        return len(self.good) == len(self.sessions)


def portal(text: str) -> str:
    """Return ADDRESS:PORT of ADDRESS, ADDRESS:PORT, or [ADDRESS]:PORT for IPv6. Raises ValueError."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+)(?::(\d+))?", text)
    if match is None and re.fullmatch(r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*", text):
        match = re.fullmatch(r"(\[.*\])()", f"[{text}]")
    if match is None:
        raise ValueError(f"'{text}' is not ADDRESS[:PORT], like 192.0.2.10:3260")
    return f"{match[1]}:{match[2] or PORT}"


def survey(run: Run, expected: Collection[str] = (), remember: float = 604800.0) -> Survey:
    """Look at all sessions, and for iscsid if there are any.

    expected  what is looked for: without any, and without a session, there is nothing here
    remember  seconds for which a target's session that is gone is missed
    Raises Failed: absent when there is no session and none was expected; what hides the tree.
    """
    run.stage(f"read {SESSIONS}")
    try:
        names = files.names(run, SESSIONS, of="")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        names = []
    connections = _connections(run)
    raw = {name: attempt(_read, run, name, connections.get(name.replace("session", "", 1), ())) for name in names}
    raw = {name: one for name, one in raw.items() if not (isinstance(one, Failed) and one.kind == ABSENT)}
    if not raw and not expected:
        raise Failed(ABSENT, "", f"list {SESSIONS}", "there is no iSCSI session")
    raw = {name: one for name, one in raw.items() if isinstance(one, Failed) or run.wants(one["name"])}
    before = run.before if isinstance(run.before, dict) else {}
    now = run.clock.time()
    good = {name: one for name, one in raw.items() if not isinstance(one, Failed)}
    bad = samples.since(before.get("bad"), [name for name, one in good.items() if one["state"] != "LOGGED_IN"], now)
    idle = [name for name, one in good.items() if one["state"] == "LOGGED_IN" and not one["disks"]]
    idle_since = samples.since(before.get("idle"), idle, now)
    known: Any = before.get("known")
    known = known if isinstance(known, list) else []
    sessions: list[Session | Failed] = [one for one in raw.values() if isinstance(one, Failed)]
    for name, one in good.items():
        seconds = now - bad[name] if name in bad else 0.0
        health, said = _health(one["state"], one["connections"], name in known, seconds, one["tmo"])
        idle_for = round(now - idle_since[name], 1) if name in idle_since else 0.0
        timeout = one["tmo"] if one["multipath"] else None
        place = (one["name"], one["target"], one["portal"], one["state"])
        sessions.append(Session(*place, health, said, one["disks"], idle_for, timeout))
    counts: dict[str, int] = {}
    for one in good.values():
        counts[one["target"]] = counts.get(one["target"], 0) + 1
    marks = {target: high_water.mark(before.get("most"), target, n, now, remember) for target, n in counts.items()}
    most = {target: int(mark[0]) for target, mark in marks.items()}
    kept = {"bad": bad, "idle": idle_since, "known": sorted(good), "most": marks}
    software = any(isinstance(one, Failed) or one["software"] for one in raw.values())
    return Survey(tuple(sessions), most, attempt(_daemon, run) if software else None, kept)


def _health(
    state: str, connections: Collection[str], known: bool, seconds: float, timeout: float | None
) -> tuple[str, str]:
    """Return health and what is wrong.

    known    an earlier run has seen this session
    seconds  for which it has been seen in another state than LOGGED_IN
    """
    if state == "LOGGED_IN":
        for word in connections:
            if word not in CONNECTION:
                return "unknown", f"has a connection that is {word!r}, which is not understood"
        broken = [word for word in connections if CONNECTION[word] != "ok"]
        return ("recovering", f"has a connection that is {broken[0]}") if broken else ("ok", "")
    if state == "FAILED":
        late = seconds >= (RECOVERY if timeout is None else timeout)
        return ("failed" if late else "recovering"), f"is FAILED{f' for {seconds:.0f} s' if seconds >= 1 else ''}"
    if state == "FREE":
        return ("failed", "is FREE: its recovery was given up") if known else ("recovering", "is FREE: not logged in")
    return "unknown", f"is {state!r}, which is not understood"


def _read(run: Run, name: str, connections: Collection[tuple[str, str]]) -> dict[str, Any]:
    """Return what a session tells; `connections` are pairs of portal and state. Raises Failed."""
    home = f"{SESSIONS}/{name}"
    # Whose it is can't be known without these two, so no filter may drop what fails.
    target = files.text(run, f"{home}/targetname", of="", limit=4096).strip()
    state = files.text(run, f"{home}/state", of="", limit=4096).strip()
    tmo = _word(run, f"{home}/recovery_tmo")
    iface = _word(run, f"{home}/ifacename")
    portals = [where for where, _ in connections if where]
    words = [target, portals[0] if portals else name, *([iface] if iface not in ("", "default") else [])]
    disks = _disks(run, f"{home}/device")
    return {
        "name": " ".join(words),
        "target": target,
        "portal": portals[0] if portals else "",
        "state": state,
        "connections": [word for _, word in connections if word],
        "tmo": float(tmo) if tmo.isdigit() else None,  # "off": it waits for ever
        "disks": len(disks),
        "multipath": any(_under_multipath(run, disk) for disk in disks),
        # Adapters that log in by themselves have interfaces of their own names (qla4xxx, be2iscsi, bnx2i with a MAC).
        "software": iface in ("", "default") or iface.startswith(("tcp", "iser")),
    }


def _disks(run: Run, device: str) -> list[str]:
    """Return the block devices below a session: target3:0:0/3:0:0:1/block/sdb."""
    found = []
    for target in _names(run, device):
        if target.startswith("target"):
            for unit in _names(run, f"{device}/{target}"):
                if unit.count(":") == 3:
                    found += _names(run, f"{device}/{target}/{unit}/block")
    return found


def _under_multipath(run: Run, disk: str) -> bool:
    holders = _names(run, f"{BLOCK}/{disk}/holders")
    return any(_word(run, f"{BLOCK}/{holder}/dm/uuid").startswith("mpath-") for holder in holders)


def _connections(run: Run) -> dict[str, list[tuple[str, str]]]:
    """Return session number -> portal and state of each connection; state is "" before Linux 5.7, which tells none."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name in _names(run, CONNECTIONS):  # connectionSESSION:NUMBER
        home = f"{CONNECTIONS}/{name}"
        # What was asked for: a target may have sent the log-in on to another address.
        address, port = (_word(run, f"{home}/persistent_{part}") for part in ("address", "port"))
        where = f"{f'[{address}]' if ':' in address else address}:{port or PORT}" if address else ""
        session = name.replace("connection", "", 1).partition(":")[0]
        found.setdefault(session, []).append((where, _word(run, f"{home}/state")))
    return found


def _daemon(run: Run) -> bool:
    """Return whether a process called iscsid is there. Raises Failed not-allowed where processes are hidden."""
    pids = [name for name in files.names(run, "/proc", of="iscsid") if name.isdigit()]
    if "1" not in pids:  # hidepid=2 hides it from whoever is not in the group of the mount (proc(5))
        cure = "the group that /proc is mounted with (gid=)"
        raise Failed(NOT_ALLOWED, "iscsid", "look for iscsid", "other users' processes are hidden", cure)
    return any(_word(run, f"/proc/{pid}/comm") == "iscsid" for pid in pids)


def _names(run: Run, directory: str) -> list[str]:
    """Return the names in a directory; none where there is no such directory. Raises Failed."""
    try:
        return files.names(run, directory, of="")
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        return []


def _word(run: Run, path: str) -> str:
    """Return a word of the kernel, "" where it tells none."""
    try:
        return files.text(run, path, limit=4096).strip()
    except Failed:
        return ""
