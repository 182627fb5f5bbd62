# SPDX-License-Identifier: Apache-2.0
"""Targets, LUNs and sessions of tgtd, the SCSI target daemon in user space (Eucalyptus' storage controller, Cinder with LVM).

tgtadm(8) prints text only; the words are those of tgt 1.0.85 (usr/target.c, tgt_target_show_all), seen for real. The daemon has
one thread for its control socket: when that waits for a dead disk, tgtadm waits with it, so the time of an answer is a fact.
Without root's rights tgtadm says that there is no daemon: it is always run by sudo.
"""

from __future__ import annotations

import re
import time
from typing import NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, files
from nephoscope.probes import as_root

SHOW = ("/usr/sbin/tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show")
PORTALS = ("/usr/sbin/tgtadm", "--lld", "iscsi", "--mode", "portal", "--op", "show")
STATES = ("ready", "offline")
GONE = ("not connected", "can't connect", "onnection refused", "No such file", "onnection reset", "Broken pipe")
_SIZE = re.compile(r"(\d+) ([KMGT]?)B(?:,|$)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Lun(NamedTuple):
    """One logical unit.

    kind     "disk", "controller" (number 0, without a store), "cd/dvd", …
    size     bytes, as coarse as tgtadm prints it (1 MiB); None when it can't be read
    online   a LUN that is not answers no initiator
    backing  path of its store, "" for none
    """

    number: int
    kind: str
    size: int | None
    online: bool
    backing: str


class Session(NamedTuple):
    """One initiator that is logged in (an I_T nexus), with the addresses of its connections."""

    initiator: str
    addresses: tuple[str, ...]


class Target(NamedTuple):
    """One target: its number, its name (IQN), its state (a word of STATES: "ready" serves), what it exports and to whom."""

    number: int
    name: str
    state: str
    luns: tuple[Lun, ...] = ()
    sessions: tuple[Session, ...] = ()


class Targets(NamedTuple):
    """All targets, and the seconds that tgtd took to list them."""

    seconds: float
    targets: tuple[Target, ...]

    @property
    def disks(self) -> tuple[Lun, ...]:
        """Every logical unit that has a store."""
        return tuple(lun for target in self.targets for lun in target.luns if lun.backing)

    @property
    def troubles(self) -> tuple[tuple[str, str], ...]:
        """Name of a target -> what is wrong with it, for those that do not serve what they export."""
        found = []
        for target in self.targets:
            off = [str(lun.number) for lun in target.luns if not lun.online]
            if target.state != "ready":
                found.append((target.name, f"is {target.state}"))
            elif off:
                found.append((target.name, f"LUN {', '.join(off)} is offline"))
            elif all(lun.kind == "controller" for lun in target.luns):  # what tgt-admin leaves of one without its store
                found.append((target.name, "exports no unit"))
        return tuple(found)


def show(run: Run, seconds: float | None = None, of: str = "tgtd") -> Targets:
    """Ask tgtd for its targets.

    seconds  its share of the deadline; a tgtd that is silent for so long is unreachable
    Raises Failed: absent (tgtadm not installed), not-allowed (sudo), unreachable (no daemon, or a hung one), unreadable.
    """
    begun = time.monotonic()
    answer = as_root.ask(SHOW, run, of=of, seconds=seconds)
    took = time.monotonic() - begun
    if answer.status:
        said = answer.err.strip() or answer.out.strip() or f"tgtadm ended with {answer.status}"
        gone = any(word in said for word in GONE)
        raise Failed(UNREACHABLE if gone else UNREADABLE, of, "", f"not running: {said}" if gone else said)
    return Targets(took, parse(answer.out, of))


def portals(run: Run, seconds: float | None = None, of: str = "tgtd") -> tuple[str, ...]:
    """Return the addresses on which tgtd listens, as "0.0.0.0:3260,1".

    There may be none: when another server has the port, tgtd goes on without (1.0.85, seen), and every target reads "ready".
    Raises Failed as `show` does; late instead of unreachable: the daemon has answered before.
    """
    try:
        answer = as_root.ask(PORTALS, run, of=of, seconds=seconds)
    except Failed as failed:
        if failed.kind == UNREACHABLE:
            raise Failed(LATE, of, failed.tried, failed.error, failed.cure) from None
        raise
    lines = answer.out.splitlines()
    odd = next((line for line in lines if not line.startswith("Portal: ")), "")
    if answer.status or odd:
        said = answer.err.strip() or odd or f"tgtadm ended with {answer.status}"
        raise Failed(UNREADABLE, of, "tgtadm --mode portal --op show", f"not understood: {said[:60]!r}")
    return tuple(line[8:].strip() for line in lines)


def daemons(run: Run) -> list[list[int]]:
    """Return pid and start (clock ticks since boot) of each tgtd that runs: another one after a restart (proc(5), stat).

    Raises Failed: not-allowed where other users' processes are hidden; what hides /proc.
    """
    pids = [name for name in files.names(run, "/proc", of="tgtd") if name.isdigit()]
    if "1" not in pids:  # hidepid=2
        cure = "the group that /proc is mounted with (gid=)"
        raise Failed(NOT_ALLOWED, "tgtd", "look for tgtd", "other users' processes are hidden", cure)
    found = []
    for pid in pids:
        try:
            head, _, tail = files.text(run, f"/proc/{pid}/stat", limit=4096).rpartition(")")
        except Failed as failed:
            if failed.kind != ABSENT and "No such process" not in failed.error:
                raise
            continue  # it ended meanwhile
        fields = tail.split()
        if head.partition("(")[2] == "tgtd" and fields[0] != "Z":
            found.append([int(pid), int(fields[19])])
    return sorted(found)


def parse(text: str, of: str = "tgtd") -> tuple[Target, ...]:
    """Return the targets in tgtadm's words; no word is no target. Raises Failed unreadable for anything else."""
    found: list[Target] = []
    for block in re.split(r"(?m)^(?=Target )", text):
        if not block.strip():
            continue
        head = re.match(r"Target (\d+): (\S+)\n", block)
        state = re.search(r"(?m)^ {8}State: (.*)$", block)
        if head is None or state is None or state[1].strip() not in STATES:
            text = (state[0].strip() if head and state else block)[:60]
            raise Failed(UNREADABLE, of, "tgtadm --op show", f"not understood: {text!r}")
        luns = re.split(r"(?m)^ {8}(?=LUN: )", block.partition("LUN information:")[2])[1:]
        nexus = re.split(r"(?m)^ {8}(?=I_T nexus: )", block.partition("LUN information:")[0])[1:]
        sessions = tuple(_session(part) for part in nexus)
        found.append(Target(int(head[1]), head[2], state[1].strip(), tuple(_lun(part, of) for part in luns), sessions))
    return tuple(found)


def _lun(text: str, of: str) -> Lun:
    words = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    try:
        number, kind, online = int(words["LUN"]), words["Type"], {"Yes": True, "No": False}[words["Online"]]
    except (KeyError, ValueError):
        raise Failed(UNREADABLE, of, "tgtadm --op show", f"a LUN that is not understood: {text[:60]!r}") from None
    size = _SIZE.match(words.get("Size", ""))
    backing = words.get("Backing store path", words.get("Backing store", ""))
    store = "" if backing in ("None", "No backing store") else backing
    return Lun(number, kind, int(size[1]) * _UNITS[size[2]] if size else None, online, store)


def _session(text: str) -> Session:
    name = re.search(r"Initiator: (\S+)", text)
    return Session(name[1] if name else "", tuple(re.findall(r"IP Address: (\S+)", text)))
