# SPDX-License-Identifier: Apache-2.0
"""This host's iSCSI sessions as an initiator: /sys/class/iscsi_session, /sys/class/iscsi_connection, and whether iscsid lives.

Sources: Linux, drivers/scsi/scsi_transport_iscsi.c (iscsi_session_state_names; connection_state_names, since 5.7; a session is
FREE before its first log-in, and again when recovery_tmo has passed without one: session_recovery_timedout),
include/scsi/scsi_transport_iscsi.h, drivers/scsi/scsi_sysfs.c (sdev_states: a disk may stay offline when its session is back);
open-iscsi, README (node.session.timeo.replacement_timeout is recovery_tmo), usr/iscsi_sysfs.c (a host's proc_name is its
driver). Eucalyptus' paths: tools/connect_iscsitarget_main.pl of 4.4, and its wiki's page on multipathing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, attempt, files, samples
from nephoscope.probes import high_water, sysfs

SESSIONS, CONNECTIONS, BLOCK = "/sys/class/iscsi_session", "/sys/class/iscsi_connection", "/sys/block"
HOSTS, SCSI_HOSTS = "/sys/class/iscsi_host", "/sys/class/scsi_host"
CONNECTION = {"up": "ok", "down": "recovering", "failed": "recovering", "bound": "recovering"}
DISK = {
    "running": "ok", "created": "recovering", "cancel": "recovering", "deleted": "recovering", "quiesce": "recovering",
    "blocked": "recovering", "created-blocked": "recovering", "offline": "failed", "transport-offline": "failed",
}  # fmt: skip
ALONE = "qla4xxx"  # the driver whose adapters log in by themselves, all others have iscsid do it
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
    netdev   the network device that it is bound to, "" for none
    disk     health of its disks while it is logged in: ok, recovering (blocked), failed (offline), unknown (a word)
    ill      which of them do not run, as a clause; "" for none
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
    netdev: str = ""
    disk: str = "ok"
    ill: str = ""


class Place(NamedTuple):
    """Where a session is expected: portal address:port; by which network device, "" for any.

    iface  Eucalyptus' word for that device, whose meaning on this host stands in eucalyptus.conf; "" for none
    """

    portal: str
    iface: str = ""
    netdev: str = ""

    @property
    def of(self) -> str:
        """Its name in messages."""
        return f"{self.portal} by {self.netdev or self.iface}" if self.iface else self.portal

    def serves(self, session: Session) -> bool:
        """Return whether a session goes this way."""
        return session.portal == self.portal and self.netdev in ("", session.netdev)


class Survey(NamedTuple):
    """The sessions of a host.

    most    target -> the most sessions that it had at once, in this run or an earlier one that is not forgotten
    daemon  whether iscsid runs; a Failed when that can't be seen; None: nobody needs it
    kept    plain JSON for the next run
    paths   the zone's paths, their interfaces as this host has them; a Failed for one that it has not
    """

    sessions: tuple[Session | Failed, ...]
    most: Mapping[str, int] = {}
    daemon: bool | Failed | None = None
    kept: Any = None
    paths: tuple[Place | Failed, ...] = ()

    @property
    def good(self) -> list[Session]:
        """Those that could be read."""
        return [session for session in self.sessions if isinstance(session, Session)]

    @property
    def counted(self) -> bool:
        """Whether each session could be read."""
        return len(self.good) == len(self.sessions)


def paths(text: str) -> tuple[Place, ...]:
    """Return the places of a zone's `ncpaths` or `scpaths`: addresses with commas between, each perhaps as IFACE:ADDRESS.

    Raises ValueError.
    """
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        named = re.fullmatch(r"([A-Za-z][\w-]*):(\[.*|[^:]*\.[^:]*(?::\d+)?)", part)
        found.append(Place(portal(named[2]), named[1]) if named else Place(portal(part)))
    if not found:
        raise ValueError(f"'{text}' is not [IFACE:]ADDRESS,… as `euctl ZONE.storage.ncpaths` shows it")
    return tuple(found)


def place(text: str) -> Place:
    """Return the place that ADDRESS, ADDRESS:PORT, or [ADDRESS]:PORT for IPv6 names. Raises ValueError."""
    return Place(portal(text))


def portal(text: str) -> str:
    """Return ADDRESS:PORT of ADDRESS, ADDRESS:PORT, or [ADDRESS]:PORT for IPv6. Raises ValueError."""
    from nephoscope.base.dial import host_port

    host, port = host_port(text, PORT)
    if not re.fullmatch(r"[\w.-]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*", host):
        raise ValueError(f"'{text}' is not ADDRESS[:PORT], like 192.0.2.10:3260")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def survey(
    run: Run, expected: Collection[str] = (), remember: float = 604800.0, paths: Collection[Place] = ()
) -> Survey:
    """Look at all sessions, and for iscsid if there are any.

    expected  what is looked for: without any, and without a session, there is nothing here
    remember  seconds for which a target's session that is gone is missed
    paths     of the zone: a host that has no session, for it has no volume, need not have these
    Raises Failed: absent when there is no session and none was expected; what hides the tree.
    """
    run.stage(f"read {SESSIONS}")
    names = sysfs.names(run, SESSIONS)
    connections, hosts = _connections(run), _hosts(run)
    raw = {
        name: attempt(_read, run, name, connections.get(name.replace("session", "", 1), ()), hosts.get(name, ""))
        for name in names
    }
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
    unread = bool(sessions)
    for name, one in good.items():
        seconds = now - bad[name] if name in bad else 0.0
        health, said = _health(one["state"], one["connections"], name in known, seconds, one["tmo"])
        idle_for = round(now - idle_since[name], 1) if name in idle_since else 0.0
        timeout = one["tmo"] if one["multipath"] else None
        place = (one["name"], one["target"], one["portal"], one["state"])
        # Where the session is down its disks are blocked, and that says no more.
        ill = _ill(one["disks"]) if health == "ok" else ("ok", "")
        disks = len(one["disks"])
        sessions.append(Session(*place, health, said, disks, idle_for, timeout, one["netdev"], *ill))
    counts: dict[str, int] = {}
    for one in good.values():
        counts[one["target"]] = counts.get(one["target"], 0) + 1
    old = before.get("most")
    marks = {target: high_water.mark(old, target, n, now, remember) for target, n in counts.items()}
    most = {target: int(mark[0]) for target, mark in marks.items()}
    # What can't be read now may be of a target that is remembered.
    marks = {**(old if unread and isinstance(old, dict) else {}), **marks}
    kept = {"bad": bad, "idle": idle_since, "known": sorted(raw), "most": marks}
    needed = any(isinstance(one, Failed) or one["driver"] != ALONE for one in raw.values())
    daemon = attempt(_daemon, run) if needed else None
    return Survey(tuple(sessions), most, daemon, kept, tuple(_resolved(run, paths)))


def _resolved(run: Run, paths: Collection[Place]) -> Iterator[Place | Failed]:
    """Yield the paths with the network devices that this host's eucalyptus.conf gives their interfaces."""
    if not any(path.iface for path in paths):
        yield from paths
        return
    from nephoscope.probes import euca_conf

    conf = attempt(euca_conf.read, run)
    if isinstance(conf, Failed):  # one that is not installed, too: then the interface is unknown
        yield Failed(UNREADABLE if conf.kind == ABSENT else conf.kind, "paths", conf.tried, conf.error, conf.cure)
        return
    pairs = (pair.split("=") for pair in conf.get("STORAGE_INTERFACES", "").split(","))
    devices = {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}
    for path in paths:
        if path.iface and not devices.get(path.iface):
            error = f"no device for {path.iface} in STORAGE_INTERFACES, and no volume can be attached"
            yield Failed(UNREADABLE, path.of, "read eucalyptus.conf", error)
        else:
            yield path._replace(netdev=devices.get(path.iface, ""))


def _ill(disks: Mapping[str, str]) -> tuple[str, str]:
    """Return the health of a session's disks, whose states are in the kernel's words, and what is wrong."""
    healths = {DISK.get(word, "unknown") for word in disks.values() if word}  # "": it tells none
    ill = [f"{disk} {word}" for disk, word in sorted(disks.items()) if word not in ("", "running")]
    more = f" and {len(ill) - 6} more" if len(ill) > 6 else ""
    worst = next((health for health in ("failed", "unknown", "recovering") if health in healths), "ok")
    return worst, f"has disks that do not run: {', '.join(ill[:6])}{more}" if ill else ""


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


def _read(run: Run, name: str, connections: Collection[str], host: str) -> dict[str, Any]:
    """Return what a session tells; `connections` and `host` are their names. Raises Failed."""
    home = f"{SESSIONS}/{name}"
    # Whose it is can't be known without these two, so no filter may drop what fails.
    target = files.text(run, f"{home}/targetname", of="", limit=4096).strip()
    state = files.text(run, f"{home}/state", of="", limit=4096).strip()
    tmo = sysfs.word(run, f"{home}/recovery_tmo")
    iface = sysfs.word(run, f"{home}/ifacename")
    netdev = sysfs.word(run, f"{HOSTS}/{host}/netdev") if host else ""
    # An adapter whose host tells no driver is known by its interface: qla4xxx.00:0e:1e:….
    driver = sysfs.word(run, f"{SCSI_HOSTS}/{host}/proc_name") if host else ""
    portals = [where for where in (_portal(run, f"{CONNECTIONS}/{each}") for each in connections) if where]
    words = [target, portals[0] if portals else name, *([iface] if iface not in ("", "default") else [])]
    disks = _disks(run, f"{home}/device")
    return {
        "name": " ".join(words),
        "target": target,
        "portal": portals[0] if portals else "",
        "netdev": netdev,
        "state": state,
        # "" before Linux 5.7, which tells none
        "connections": [word for each in connections if (word := sysfs.word(run, f"{CONNECTIONS}/{each}/state"))],
        "tmo": float(tmo) if tmo.isdigit() else None,  # "off": it waits for ever
        "disks": disks,
        "multipath": any(_under_multipath(run, disk) for disk in disks),
        "driver": driver or iface.partition(".")[0],
    }


def _portal(run: Run, home: str) -> str:
    """Return the portal of a connection, "" where it tells none."""
    # What was asked for: a target may have sent the log-in on to another address. Not told of an adapter's own log-in; and the
    # other one not of a connection that is down (ENOTCONN).
    for kind in ("persistent_", ""):
        address, port = (attempt(sysfs.word, run, f"{home}/{kind}{part}") for part in ("address", "port"))
        if isinstance(address, Failed) and kind:
            raise address
        if isinstance(address, str) and address:
            return f"{f'[{address}]' if ':' in address else address}:{port if port and isinstance(port, str) else PORT}"
    return ""


def _disks(run: Run, device: str) -> dict[str, str]:
    """Return the block devices below a session, target3:0:0/3:0:0:1/block/sdb, and the state of each."""
    found = {}
    for target in sysfs.names(run, device):
        if target.startswith("target"):
            for unit in sysfs.names(run, f"{device}/{target}"):
                if unit.count(":") == 3:
                    for disk in sysfs.names(run, f"{device}/{target}/{unit}/block"):
                        found[disk] = sysfs.word(run, f"{device}/{target}/{unit}/state")
    return found


def _under_multipath(run: Run, disk: str) -> bool:
    holders = sysfs.names(run, f"{BLOCK}/{disk}/holders")
    return any(sysfs.word(run, f"{BLOCK}/{holder}/dm/uuid").startswith("mpath-") for holder in holders)


def _connections(run: Run) -> dict[str, list[str]]:
    """Return session number -> names of its connections: connectionSESSION:NUMBER."""
    found: dict[str, list[str]] = {}
    for name in sysfs.names(run, CONNECTIONS):
        found.setdefault(name.replace("connection", "", 1).partition(":")[0], []).append(name)
    return found


def _hosts(run: Run) -> dict[str, str]:
    """Return session -> the host that it belongs to."""
    hosts = sysfs.names(run, HOSTS)
    return {
        name: host
        for host in hosts
        for name in sysfs.names(run, f"{HOSTS}/{host}/device")
        if name.startswith("session")
    }


def _daemon(run: Run) -> bool:
    """Return whether a process called iscsid is there. Raises Failed not-allowed where processes are hidden."""
    pids = [name for name in files.names(run, "/proc", of="iscsid") if name.isdigit()]
    hidden = "1" not in pids  # hidepid=2 hides it from whoever is not in the group of the mount (proc(5))
    for pid in pids:
        try:
            if files.text(run, f"/proc/{pid}/comm", limit=4096).strip() == "iscsid":
                return True
        except Failed as failed:  # hidepid=1 hides what is in it; all other failures are processes that have ended
            hidden = hidden or failed.kind == NOT_ALLOWED
    if hidden:
        cure = "the group that /proc is mounted with (gid=)"
        raise Failed(NOT_ALLOWED, "iscsid", "look for iscsid", "other users' processes are hidden", cure)
    return False
