# SPDX-License-Identifier: Apache-2.0
"""What this host exports by iSCSI, by tgtd or LIO: the targets, what stands behind each unit, restarts of tgtd.

A store is looked at in a child, one for each directory: a file on a dead server hangs. A path that leads nowhere is found
although tgtd holds the file open and goes on: it is gone at the next start. Sources: stat(2); Linux, Documentation/ABI,
stable/sysfs-block (size: 0 for a loop device without a file).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, Collecting, Failed, Run, attempt, child, files, samples
from nephoscope.probes import high_water, lio, tgt

SERVERS = ("tgt", "lio")
TRIED = "look at the backing store"
SECONDS = 5.0  # the longest that the stores of a directory may take


class Store(NamedTuple):
    """What stands behind a unit: path, "" for none, and what is wrong with it as a clause, "" for nothing.

    seen  False for a store that is no path (an image of Ceph or Gluster): it can't be looked at here
    """

    path: str
    said: str = ""
    seen: bool = True


class Survey(NamedTuple):
    """What the servers of this host export.

    servers   what each said, or the Failed in its place
    stores    target and number of a unit -> its Store, or a Failed of the target; controllers and drives without a medium
              have none
    most      the most targets that were seen at once, in this run or one that is not forgotten
    restarts  how often tgtd was seen to begin anew; a Failed when that can't be seen; None: it is not tgtd that serves
    kept      plain JSON for the next run
    left_out  names of the targets that a filter leaves out
    portals   the Failed in place of the addresses on which tgtd listens
    """

    servers: tuple[tgt.Targets | Failed, ...]
    stores: Mapping[tuple[str, int], Store | Failed] = {}
    most: int = 0
    restarts: int | Collecting | Failed | None = None
    kept: Any = None
    left_out: tuple[str, ...] = ()
    portals: Failed | None = None

    @property
    def good(self) -> list[tgt.Targets]:
        """Those that answered."""
        return [one for one in self.servers if isinstance(one, tgt.Targets)]

    @property
    def whole(self) -> bool:
        """Whether each server answered."""
        return len(self.good) == len(self.servers)

    @property
    def targets(self) -> list[tgt.Target]:
        """All targets."""
        return [target for server in self.good for target in server.targets]

    @property
    def serving(self) -> list[str]:
        """Names of the targets that serve all that they export."""
        bad = {name for server in self.good for name, _ in server.troubles}
        return [target.name for target in self.targets if target.name not in bad]

    @property
    def luns(self) -> int:
        """Units exported; number 0 of tgtd is a controller and no unit."""
        return sum(lun.kind != "controller" for target in self.targets for lun in target.luns)

    @property
    def initiators(self) -> int:
        """Hosts that are logged in to any target, each counted once."""
        return len({session.initiator for target in self.targets for session in target.sessions})


def survey(run: Run, servers: tuple[str, ...], remember: float, period: float) -> Survey:
    """Ask what serves here, and look behind every unit.

    servers   words of SERVERS; none: LIO when it has a target, and tgtd unless LIO serves and tgtd never did
    remember  seconds for which more targets than now are missed
    period    seconds for which a restart counts
    Raises Failed: what the only server says.
    """
    before = run.before if isinstance(run.before, dict) else {}
    names = servers or _servers(run, before, remember)
    kept = dict(before)
    answers: list[tgt.Targets | Failed] = []
    left_out: list[str] = []
    portals: Any = None
    for name in names:
        share = run.left() * 0.8  # the rest is for the stores
        answer = attempt(lio.show, run, share) if name == "lio" else attempt(tgt.show, run, share)
        if isinstance(answer, Failed) and len(names) == 1:
            raise answer
        if isinstance(answer, Failed):  # of no object: a filter for targets must not drop it
            answer = _whole(answer)
        else:
            if name == "lio" and answer.targets:
                kept["lio"] = run.clock.time()
            wanted = tuple(one for one in answer.targets if run.wants(one.name))
            left_out += (one.name for one in answer.targets if one not in wanted)
            answer = answer._replace(targets=wanted)
            if name == "tgt" and wanted:
                portals = attempt(tgt.portals, run, run.left() * 0.5)
                answer = answer if portals else answer._replace(targets=tuple(map(_unheard, wanted)))
        answers.append(answer)
    now = run.clock.time()
    silent = _whole(portals) if isinstance(portals, Failed) else None
    found = Survey(tuple(answers), left_out=tuple(left_out), portals=silent)
    if found.whole:
        kept["most"] = {"targets": high_water.mark(before.get("most"), "targets", len(found.targets), now, remember)}
    most = int(kept["most"]["targets"][0]) if found.whole else 0
    restarts: int | Collecting | Failed | None = None
    if "tgt" in names and isinstance(answers[names.index("tgt")], tgt.Targets):
        restarts = _restarts(run, before, kept, now, period)
    return found._replace(stores=_stores(run, found.targets), most=most, restarts=restarts, kept=kept)


def _unheard(target: tgt.Target) -> tgt.Target:
    """Return what a target is to initiators when its server listens nowhere, in LIO's word for it."""
    return target._replace(state="without a portal") if target.state == "ready" else target


def _whole(failed: Failed) -> Failed:
    return Failed(failed.kind, "", failed.tried, f"{failed.of}: {failed.error}", failed.cure)


def _servers(run: Run, before: Mapping[str, Any], remember: float) -> tuple[str, ...]:
    """Return what is to be asked: LIO where it has a target, or had one that is missed; else tgtd.

    Beside LIO tgtd is left out only where it neither runs nor did in an earlier run.
    """
    at = before.get("lio")
    missed = isinstance(at, (int, float)) and 0 <= run.clock.time() - at <= remember
    if not (missed or lio.there(run)):
        return ("tgt",)
    running = attempt(tgt.daemons, run) if child.find("tgtadm") else []
    return ("lio",) if running == [] and not before.get("daemons") else ("lio", "tgt")


def _restarts(
    run: Run, before: Mapping[str, Any], kept: dict[str, Any], now: float, period: float
) -> int | Collecting | Failed:
    """Return how often tgtd began anew in the period, and put what is known of it into `kept`. A reboot is no restart."""
    daemons = attempt(tgt.daemons, run)
    if isinstance(daemons, Failed):
        return _whole(daemons)
    if not daemons:
        said = "tgtd: it answers, but its process is not seen"
        return Failed(NOT_ALLOWED, "", "look for tgtd", said, "the host's /proc")
    boot = samples.boot_id(run)
    old, times = before.get("daemons"), before.get("restarts")
    times = [at for at in times if isinstance(at, (int, float)) and 0 <= now - at <= period] if times else []
    if old and before.get("boot") == boot and any(one not in daemons for one in old):
        times.append(now)
    kept.update(daemons=daemons, boot=boot, restarts=times[-100:])
    return len(times) if old else COLLECTING


def _stores(run: Run, targets: list[tgt.Target]) -> dict[tuple[str, int], Store | Failed]:
    """Return the store of each unit that should have one, in the order of the targets."""
    units = {
        (target.name, lun.number): lun.backing
        for target in targets
        for lun in target.luns
        if lun.backing or lun.kind == "disk"
    }
    places: dict[str, list[str]] = {}
    for path in units.values():
        if path.startswith("/"):
            places.setdefault(os.path.dirname(path), []).append(path)
    jobs = {place: _job(run, paths) for place, paths in places.items()}
    answers = child.each(run, jobs, tried=TRIED, seconds=SECONDS) if jobs else {}
    found: dict[tuple[str, int], Store | Failed] = {}
    for unit, path in units.items():
        if not path.startswith("/"):
            found[unit] = Store(path, "" if path else "has no backing store", not path)
            continue
        answer = answers[os.path.dirname(path)]
        fact = answer if isinstance(answer, Failed) else _store(run, path, answer[path])
        if isinstance(fact, Failed):
            fact = Failed(fact.kind, unit[0], fact.tried, f"LUN {unit[1]}, {path}: {fact.error}", fact.cure)
        found[unit] = fact
    return found


def _job(run: Run, paths: list[str]) -> Any:
    """Return a function that gives path -> [error number, kind of file, MAJOR:MINOR]."""

    def look() -> dict[str, Any]:
        found: dict[str, Any] = {}
        for path in paths:
            try:
                said = os.stat(run.path(path))
            except OSError as error:
                found[path] = [error.errno, 0, ""]
            else:
                device = f"{os.major(said.st_rdev)}:{os.minor(said.st_rdev)}"
                found[path] = [0, stat.S_IFMT(said.st_mode), device]
        return found

    return look


def _store(run: Run, path: str, answer: list[Any]) -> Store | Failed:
    number, kind, device = answer
    if number:
        failed = Failed.of_os_error("", TRIED, OSError(number, os.strerror(number)))
        if failed.kind == NOT_ALLOWED:
            cure = f"right to search {os.path.dirname(path)} (setfacl -m u:USER:x)"
            return Failed(NOT_ALLOWED, "", TRIED, failed.error, cure)
        return Store(path, f"has lost its backing store {path}: {os.strerror(number)}")
    if kind == stat.S_IFBLK:
        return _device(run, path, device)
    usual = kind in (stat.S_IFREG, stat.S_IFCHR)  # SCSI generic is a character device
    return Store(path, "" if usual else f"has a backing store that is neither file nor device: {path}")


def _device(run: Run, path: str, number: str) -> Store | Failed:
    """Return what is wrong with a block device that has a node, which may outlive the device."""
    size = attempt(files.number, run, f"/sys/dev/block/{number}/size")
    if isinstance(size, Failed):
        return Store(path, f"has lost its backing store {path}: no device {number}") if size.kind == ABSENT else size
    return Store(path, "" if size else f"has a backing store without a medium: {path}")
