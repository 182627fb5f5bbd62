# SPDX-License-Identifier: Apache-2.0
"""One Eucalyptus host as a whole: which components live here, and whether processes, ports, logs and files are as they should.

It finds nothing out by itself but which component needs what; the looking is done by the probes of roles (euca_conf),
processes (process), ports (listening), logs (logfile) and faults (euca_faults). Sources: "Resources to monitor" of the 5.x
documentation, the firewall page for ports, systemd/units and start scripts for processes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, Failed, Run, files
from nephoscope.base.run import KEPT_BACK
from nephoscope.probes import euca_conf, euca_faults, listening, log_lines, logfile, process
from nephoscope.probes.log_format import CRITICAL, ERROR


class Need(NamedTuple):
    """What a component needs: processes (names of daemons.KNOWN), TCP and UDP ports, logs, and whether the setuid wrapper."""

    processes: tuple[str, ...]
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    logs: tuple[str, ...] = ()
    wrapper: bool = False


_JAVA = Need(("eucalyptus-cloud",), (8773,), (), ("cloud-output.log",))


def needs(role: str, conf: Mapping[str, str], native: bool = True) -> Need:
    """Return what a component needs. `native`: the cluster controller is that of C. Raises Failed for a port that is none."""
    if role == "clc":
        return _JAVA._replace(processes=("eucalyptus-cloud", "eucalyptus-postgres"), tcp=(8773, 8777))
    if role == "sc":
        return _JAVA._replace(wrapper=True)
    if role == "cc" and native:
        return Need(("eucalyptus-cc",), (euca_conf.port(conf, "CC_PORT", 8774),), (), ("cc.log",), True)
    if role == "nc":
        return Need(("eucalyptus-nc", "libvirt"), (euca_conf.port(conf, "NC_PORT", 8775),), (), ("nc.log",), True)
    if role == "eucanetd":
        return Need(("eucanetd",), (), (63822,), ("eucanetd.log",))
    if role == "console":
        return Need(("eucaconsole",), (8888,))
    return _JAVA


class Role(NamedTuple):
    """One component on this host. None: not asked, or not known, and then a Failed says why.

    runs, stopped    its processes that run, and those that do not
    listens, silent  its ports ("tcp 8773") that something listens on, and the others
    """

    name: str
    runs: tuple[str, ...] | None = None
    stopped: tuple[str, ...] = ()
    listens: tuple[str, ...] | None = None
    silent: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What was found, as it follows the component's name: what is missing, or else what is there."""
        missing = [f"no process {', '.join(self.stopped)}"] if self.stopped else []
        missing += [f"no listener on {', '.join(self.silent)}"] if self.silent else []
        parts = [f"runs {', '.join(self.runs)}"] if self.runs else []
        parts += [f"listens on {', '.join(self.listens)}"] if self.listens else []
        return f"has {' and '.join(missing)}" if missing else ", ".join(parts) or "was found"


class Sign(NamedTuple):
    """Something about a file that is not as it should: kind is "heap dump", "wrapper", "keys" or "tmp"."""

    kind: str
    of: str
    text: str


class Host(NamedTuple):
    """All that one run learnt.

    failures        what could not be looked at
    roles           the components
    errors, fatals  lines of these levels in all logs within the period; None: not asked, or no component has a log
    loud, loudest   how many are in which logs, of errors and of fatals
    unseen          (log, why not all of it was understood or read)
    faults          faults that were raised within the period; None: not asked
    signs           files that are not as they should
    """

    failures: tuple[Failed, ...] = ()
    roles: tuple[Role, ...] = ()
    errors: int | None = None
    fatals: int | None = None
    loud: str = ""
    loudest: str = ""
    unseen: tuple[tuple[str, str], ...] = ()
    faults: tuple[euca_faults.Fault, ...] | None = None
    signs: tuple[Sign, ...] = ()
    kept: Mapping[str, Any] = {}

    @property
    def stopped(self) -> int:
        """Processes that should run and do not."""
        return len({name for role in self.roles for name in role.stopped})

    @property
    def silent(self) -> int:
        """Ports on which nothing listens that should."""
        return len({port for role in self.roles for port in role.silent})

    @property
    def summary(self) -> str:
        """Which components live here."""
        number = f"{len(self.roles)} component{'s' * (len(self.roles) != 1)}"
        return f"{number}: {', '.join(role.name for role in self.roles)}"


def look(run: Run, modes: Iterable[str], declared: Sequence[str] = (), period: float = 3600.0) -> Host:
    """Look at every component of this host.

    modes     of "processes", "ports", "logs", "faults", "files"
    declared  the components that must be here; those that are found, if there are none
    period    seconds for which lines of logs and faults count
    Raises Failed: absent when no component is here, and what reading the configuration raises.
    """
    modes = set(modes)
    try:
        conf: Mapping[str, str] = euca_conf.read(run)
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        conf = {"EUCALYPTUS": "/"}  # a console needs none
    found = declared or euca_conf.roles(run, conf)
    if not found:
        where = f"look for its programs and {euca_conf.directory(conf, 'state')}"
        raise Failed(ABSENT, "eucalyptus", where, "no component of Eucalyptus is installed here")
    wanted = {role: needs(role, conf, euca_conf.native_cc(run, conf)) for role in found if run.wants(role)}
    failures = []
    if "cloud" in found:
        cure = "the right to look into its db directory, or --role clc or --role ufs"
        failures.append(
            Failed(NOT_ALLOWED, "cloud", "", "is a CLC or user services alone: that is not to be seen", cure)
        )
    if not declared:
        failures += _closed(run, conf)
    before = run.before if isinstance(run.before, dict) else {}
    kept: dict[str, Any] = {name: before[name] for name in ("logs", "faults") if name in before}
    roles = {role: Role(role) for role in wanted}
    if "processes" in modes:
        failures += _processes(run, wanted, roles)
    if "ports" in modes:
        failures += _ports(run, wanted, roles)
    host = Host(roles=tuple(roles.values()), kept=kept)
    if "logs" in modes:
        host, more = _logs(run, wanted, conf, host, kept, period)
        failures += more
    if "faults" in modes:
        try:
            seen = euca_faults.look(part(run, kept.get("faults")), folder=euca_conf.directory(conf, "log"))
            kept["faults"] = seen.kept
            unseen = [(of, text) for kind, of, text in seen.words() if kind == "unseen"]
            failures += seen.failures
            faults = tuple(fault for fault in seen.faults if fault.new(period) and run.wants(fault.of))
            host = host._replace(faults=faults, unseen=(*host.unseen, *unseen))
        except Failed as failed:
            failures.append(failed)
    if "files" in modes:
        signs, more = _signs(run, wanted, conf)
        host, failures = host._replace(signs=tuple(signs)), failures + more
    return host._replace(failures=tuple(failures))


def _closed(run: Run, conf: Mapping[str, str]) -> list[Failed]:
    """Return why folders that tell of components can't be seen: a folder above them that is closed hides a component."""
    path = euca_conf.directory(conf, "bukkits")
    try:
        os.stat(run.path(path))
    except PermissionError as error:
        cure = "membership of group eucalyptus, which may look into it, or --role for each component"
        where = euca_conf.directory(conf, "state")
        return [Failed(NOT_ALLOWED, where, f"look for components in {where}", error.strerror or "", cure)]
    except OSError:
        pass
    return []


def part(run: Run, before: Any) -> Run:
    """Return a run for another probe: its own memory, no filters (ours are of other names), the same deadline and stages."""
    inner = Run(run.left() + KEPT_BACK, before, root=run.root, clock=run.clock, hung=run.hung)
    inner.stages = run.stages
    return inner


def _processes(run: Run, wanted: Mapping[str, Need], roles: dict[str, Role]) -> list[Failed]:
    names = dict.fromkeys(name for need in wanted.values() for name in need.processes)
    try:
        table = process.scan(part(run, None), [(name, 1) for name in names], ourselves="check_euca_host")
    except Failed as failed:
        return [failed]
    failures = [group for group in table.groups if isinstance(group, Failed)]
    groups = {group.name: group for group in table.groups if isinstance(group, process.Group)}
    for role, need in wanted.items():
        if all(name in groups for name in need.processes):
            roles[role] = roles[role]._replace(
                runs=tuple(name for name in need.processes if groups[name].alive),
                stopped=tuple(f"{name}{groups[name].idle}" for name in need.processes if not groups[name].alive),
            )
    return failures[:1]


def _ports(run: Run, wanted: Mapping[str, Need], roles: dict[str, Role]) -> list[Failed]:
    failures = []
    open_: dict[str, frozenset[int]] = {}
    for kind, ask in (("tcp", listening.tcp), ("udp", listening.udp)):
        try:
            open_[kind] = listening.ports(ask(run))
        except Failed as failed:
            failures.append(failed)
    for role, need in wanted.items():
        asked = [(kind, port) for kind, wants in (("tcp", need.tcp), ("udp", need.udp)) for port in wants]
        if all(kind in open_ for kind, _ in asked):
            roles[role] = roles[role]._replace(
                listens=tuple(f"{kind} {port}" for kind, port in asked if port in open_[kind]),
                silent=tuple(f"{kind} {port}" for kind, port in asked if port not in open_[kind]),
            )
    return failures


def _logs(
    run: Run, wanted: Mapping[str, Need], conf: Mapping[str, str], host: Host, kept: dict[str, Any], period: float
) -> tuple[Host, list[Failed]]:
    folder = euca_conf.directory(conf, "log")
    paths = [f"{folder}/{name}" for name in dict.fromkeys(name for need in wanted.values() for name in need.logs)]
    if not paths:
        return host, []
    asked = logfile.Asked(log_lines.Wanted((CRITICAL, ERROR)), period, 64 << 20, growth=False)
    logs, kept["logs"], _ = logfile.look(
        part(run, None), [path for path in paths if run.wants(path)], asked, kept.get("logs")
    )
    read = [log for log in logs if isinstance(log, logfile.Log)]
    counts = {
        level: {log.path.rpartition("/")[2]: log.counts[level] for log in read if log.counts[level]}
        for level in (CRITICAL, ERROR)
    }
    fatal, either = counts[CRITICAL], dict(counts[ERROR])
    for name, count in fatal.items():
        either[name] = either.get(name, 0) + count
    unseen = [(log.path, f"has a gap: {log.gap}") for log in read if log.gap]
    unseen += [(log.path, f"is behind by {log.behind} bytes") for log in read if log.behind]
    unseen += [(log.path, "has no line whose level is understood") for log in read if log.levelled is False]
    unseen += [(log.path, "is missing; what its rotated file held was read") for log in read if log.missing]
    failures = [log for log in logs if isinstance(log, Failed)]
    if not read:
        return host, failures
    return (
        host._replace(
            errors=sum(either.values()),
            fatals=sum(fatal.values()),
            loud=_numbers(either),
            loudest=_numbers(fatal),
            unseen=tuple(unseen),
        ),
        failures,
    )


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} in {name}" for name, count in sorted(counts.items()))


def _signs(run: Run, wanted: Mapping[str, Need], conf: Mapping[str, str]) -> tuple[list[Sign], list[Failed]]:
    """Return what is wrong with files: heap dumps of the JVM, the setuid wrapper, the folder of keys, the temporary one."""
    signs: list[Sign] = []
    failures: list[Failed] = []
    log, keys = euca_conf.directory(conf, "log"), euca_conf.directory(conf, "keys")
    wrapper = euca_conf.directory(conf, "lib") + "/euca_rootwrap"
    if "cloud-output.log" in {name for need in wanted.values() for name in need.logs}:
        try:
            for name in files.names(run, log):
                if name.endswith(".hprof"):
                    when = _ago(run, f"{log}/{name}")
                    signs.append(
                        Sign("heap dump", f"{log}/{name}", f"is a heap dump: the JVM ran out of memory {when}")
                    )
        except Failed as failed:
            failures.append(failed)
    if any(need.wrapper for need in wanted.values()):
        mode = _mode(run, wrapper, failures)
        if mode is None or not stat.S_ISREG(mode) or not mode & 0o111:
            text = "is missing" if mode is None else "is not a program"
            signs += [] if any(failed.of == wrapper for failed in failures) else [Sign("wrapper", wrapper, text)]
    if set(wanted) - {"console", "eucanetd"}:
        mode = _mode(run, keys, failures)
        if mode is None and not any(failed.of == keys for failed in failures):
            signs.append(Sign("keys", keys, "is missing: no message of another component can be verified"))
        elif mode is not None:
            signs += _keys(run, keys, mode)
    mode = _mode(run, "/tmp", failures)  # noqa: S108
    if mode is None or stat.S_IMODE(mode) != 0o1777:
        text = "is missing" if mode is None else f"has mode {stat.S_IMODE(mode):o}, not 1777"
        signs.append(Sign("tmp", "/tmp", text))  # noqa: S108
    return signs, failures


def _keys(run: Run, folder: str, reach: int) -> Iterable[Sign]:
    """Yield private keys that others may read; where this user may not look, others may not either.

    reach  the folder's mode: whom it lets pass (0700 as it is installed)
    """
    passed = (0o070 if reach & 0o010 else 0) | (0o007 if reach & 0o001 else 0)
    try:
        names = files.names(run, folder)
    except Failed:
        return
    for name in names:
        if name.endswith(("-pk.pem", ".p12")) or name == "vtunpass":
            try:
                mode = stat.S_IMODE(os.stat(run.path(f"{folder}/{name}")).st_mode)
            except OSError:
                continue
            if mode & passed:
                yield Sign("keys", f"{folder}/{name}", f"has mode {mode:o}: others may read a private key")


def _mode(run: Run, path: str, failures: list[Failed]) -> int | None:
    """Return the mode of a file, None when it is not there or a Failed was added."""
    try:
        return os.stat(run.path(path)).st_mode
    except OSError as error:
        failed = Failed.of_os_error(path, f"look at {path}", error)
        failures += [] if failed.kind == ABSENT else [failed]
        return None


def _ago(run: Run, path: str) -> str:
    try:
        hours = max(0.0, run.clock.time() - os.stat(run.path(path)).st_mtime) / 3600
    except OSError:
        return "at some time"
    if hours < 1:
        return f"{60 * hours:.0f} min ago"
    return f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} d ago"
