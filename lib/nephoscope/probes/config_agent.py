# SPDX-License-Identifier: Apache-2.0
"""Agents of configuration management on this host: what their last run came to, what holds them back, what starts them.

What all agents share stands here; each has a module of its own, named after it, for the files that it leaves.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

    from nephoscope.probes import scheduled

NAMES = ("puppet", "cfengine", "chef", "salt", "ansible-pull")
TAIL = 262144  # bytes read of a file's end; a fixed number, because sudoers lines name it
READ = ("/usr/bin/tail", "-c", str(TAIL))
# State files that their agents close to all but root. They may be read by READ and their path, exactly.
CLOSED = (
    "/var/cache/puppet/public/last_run_summary.yaml",
    "/var/cache/puppet/state/last_run_report.yaml",
    "/opt/puppetlabs/puppet/public/last_run_summary.yaml",
    "/opt/puppetlabs/puppet/cache/state/last_run_report.yaml",
    "/var/lib/cfengine3/promise_summary.log",
    "/var/cfengine/promise_summary.log",
)


class LastRun(NamedTuple):
    """What the last run came to.

    at           its end, UTC
    status       ok (nothing to do), changed, failed (some of it failed, the rest was done), aborted (it did not do its work:
                 no catalogue, an exception, a play that stopped), skipped (disabled), empty (it looked at nothing)
    failed       resources, states or tasks that failed; None: the agent does not count them
    changed      those that were changed; None likewise
    out_of_sync  those that were not as described when the run came by; None likewise
    share        % of what was looked at that failed; None likewise
    seconds      how long it took, or None
    reason       why it failed or was aborted, in the agent's words, or ""
    note         what is wrong although the run itself went well, or ""
    """

    at: datetime
    status: str
    failed: int | None = None
    changed: int | None = None
    out_of_sync: int | None = None
    share: float | None = None
    seconds: float | None = None
    reason: str = ""
    note: str = ""

    @property
    def words(self) -> str:
        """What the run came to, with its time and the reason, to be read after the agent's name."""
        said = {
            "ok": "changed nothing" if self.out_of_sync else "had nothing to do",
            "changed": "made changes",
            "failed": "had failures",
            "aborted": "did not do its work",
            "empty": "did nothing",
            "skipped": "was kept from its work",
        }[self.status]
        return f"{said} in the run of {self.at:%Y-%m-%d %H:%M} UTC" + (f": {self.reason}" if self.reason else "")


class Disabled(NamedTuple):
    """The agent is told not to run: since when (UTC), and why in the words of who did it, or ""."""

    since: datetime
    reason: str


class Lock(NamedTuple):
    """A run's lock: the pid in it, whether that process lives and is the agent, and since when (UTC)."""

    path: str
    pid: int
    alive: bool
    since: datetime

    @property
    def words(self) -> str:
        """What a lock that nobody holds is, to be read after the agent's name."""
        return f"has a stale lock {self.path}: process {self.pid} is no run of it any more"


class Agent(NamedTuple):
    """One agent.

    at            the time of the observation, UTC
    interval      seconds between runs, as its configuration or its documentation has it
    last          None: it has never run, or `failures` say why that could not be told
    disabled      None: it is not
    lock          None: no run is under way
    started       what starts it, in words: a daemon, a timer, a cron entry
    unstarted     why nothing starts it, in words; "" when something does, or when that could not be told
    failures      what could not be told
    changed_runs  successive runs seen that changed something, this one included
    counted       end of the newest run in that count, seconds since 1970; 0: none yet
    """

    name: str
    at: datetime
    interval: float
    last: LastRun | None = None
    disabled: Disabled | None = None
    lock: Lock | None = None
    started: tuple[str, ...] = ()
    unstarted: str = ""
    failures: tuple[Failed, ...] = ()
    changed_runs: int = 0
    counted: float = 0.0

    @property
    def words(self) -> str:
        """What the last run came to, and what starts the next."""
        if self.last is None:
            return f"{self.name} has never run"
        return f"{self.name} {self.last.words}" + (f" ({', '.join(self.started)})" if self.started else "")

    def since(self, at: datetime) -> float:
        """Return the seconds between a time and the observation, not negative."""
        return max(0.0, (self.at - at).total_seconds())


class Found(NamedTuple):
    """What an agent's own module tells: see Agent. A Failed where it could not be told."""

    last: LastRun | Failed | None
    disabled: Disabled | Failed | None = None
    lock: Lock | Failed | None = None
    interval: float = 1800.0


def place(text: str) -> tuple[str, str]:
    """Return agent and absolute path from NAME=PATH. Raises ValueError."""
    name, equals, path = text.partition("=")
    if not equals or name not in NAMES or not path.startswith("/"):
        raise ValueError(f"'{text}' is not NAME=PATH with NAME one of {', '.join(NAMES)} and an absolute path")
    return name, path


def look(
    run: Run,
    agents: Sequence[str] = (),
    directories: Sequence[tuple[str, str]] = (),
    results: Sequence[tuple[str, str]] = (),
    wrappers: Sequence[str] = (),
    schedules: bool = True,
) -> list[Agent]:
    """Return the agents of this host.

    agents       names; empty: all that are installed
    directories  (agent, directory) where its state lies, instead of the usual ones
    results      (agent, file) that a run leaves and where the operator has put it
    wrappers     names of programs that start an agent, looked for in timers and cron
    schedules    False: do not look for what starts it
    Raises Failed(ABSENT) when no agent is named and none is installed.
    """
    from nephoscope.probes import scheduled

    found = []
    scan = scheduled.Scan(run)
    for name in agents or NAMES:
        if not run.wants(name):
            continue
        run.stage(f"look for {name}")
        directory = "".join([path for of, path in directories if of == name][-1:])
        given = tuple(path for of, path in results if of == name)
        try:
            if directory or given or _installed(run, name, bool(agents), scan):
                found.append(_agent(run, name, directory, given, wrappers, scan if schedules else None))
            elif agents:
                raise Failed(ABSENT, name, f"look for {' or '.join(module(name).PROGRAMS)}", f"{name} is not installed")
        except Failed as failed:
            count, at = _changed_runs(run, name, None)
            found.append(Agent(name, run.now(), 0.0, failures=(_told(name, failed),), changed_runs=count, counted=at))
    if not found and not run.left_out:
        raise Failed(ABSENT, "", f"look for {', '.join(NAMES)}", "no agent of configuration management is installed")
    return found


def keep(agents: Sequence[Agent]) -> dict[str, Any]:
    """Return what tells runs apart next time: agent -> [end of the newest run, successive runs with changes]."""
    return {agent.name: [agent.counted, agent.changed_runs] for agent in agents}


def module(name: str) -> Any:
    """Return the module that knows an agent's files."""
    if name == "puppet":
        from nephoscope.probes import puppet as found
    elif name == "cfengine":
        from nephoscope.probes import cfengine as found  # type: ignore[no-redef]
    elif name == "chef":
        from nephoscope.probes import chef as found  # type: ignore[no-redef]
    elif name == "salt":
        from nephoscope.probes import salt as found  # type: ignore[no-redef]
    else:
        from nephoscope.probes import ansible_pull as found  # type: ignore[no-redef]
    return found


def _installed(run: Run, name: str, named: bool, scan: scheduled.Scan) -> bool:
    """Return whether an agent is here: its program, or what a run leaves. Raises Failed(NOT_ALLOWED) when that is hidden.

    ansible-pull comes with every Ansible: unless it is `named`, the program counts only where something starts it.
    """
    agent = module(name)
    if any(exists(run, path) for path in agent.TRACES):
        return True
    if not any(exists(run, path) for path in agent.PROGRAMS):
        return False
    if name != "ansible-pull" or named:
        return True
    from nephoscope.probes import scheduled

    schedule = scheduled.look(run, agent.is_daemon, agent.starts, scan)
    return bool(schedule.found or schedule.idle)


def _agent(
    run: Run,
    name: str,
    directory: str,
    results: Sequence[str],
    wrappers: Sequence[str],
    scan: scheduled.Scan | None,
) -> Agent:
    agent = module(name)
    told: Found = agent.look(run, directory, results)
    failures = [_told(name, part) for part in (told.last, told.disabled, told.lock) if isinstance(part, Failed)]
    last = told.last if isinstance(told.last, LastRun) else None
    disabled = told.disabled if isinstance(told.disabled, Disabled) else None
    lock = told.lock if isinstance(told.lock, Lock) else None
    now = run.now()
    if last and (last.at - now).total_seconds() > 300:
        failures.append(
            Failed(
                UNREADABLE, name, "tell its age", f"the last run ended at {last.at:%Y-%m-%d %H:%M} UTC, later than now"
            )
        )
    if told.last is None and lock and lock.alive:
        failures.append(Failed(UNREADABLE, name, "look at the last run", "its first run is under way"))
    started: tuple[str, ...] = ()
    unstarted = ""
    if scan:
        from nephoscope.probes import scheduled

        def starts(words: Sequence[str]) -> bool:
            return agent.starts(words) or any(word in wrappers for word in words)

        schedule = scheduled.look(run, agent.is_daemon, starts, scan)
        started = schedule.found
        if not started:
            failures += schedule.unseen
            if schedule.idle or not schedule.unseen:
                unstarted = "; ".join(schedule.idle) or "neither a daemon nor a timer nor a cron entry"
    count, at = _changed_runs(run, name, last)
    return Agent(name, now, told.interval, last, disabled, lock, started, unstarted, tuple(failures), count, at)


def _told(name: str, failed: Failed) -> Failed:
    """Return a failure as the agent's own, and with a cure where a right is missing."""
    cure = failed.cure
    if failed.kind == NOT_ALLOWED and not cure:
        cure = f"the group of that directory, or another place for it (--result {name}=FILE, --agent-dir {name}=DIR)"
    return Failed(failed.kind, name, failed.tried, failed.error, cure)


def _changed_runs(run: Run, name: str, last: LastRun | None) -> tuple[int, float]:
    """Return how many successive runs changed something, and the newest's end; a run that is seen again counts once."""
    before = run.before.get(name) if isinstance(run.before, dict) else None
    try:
        at, count = float(before[0]), int(before[1])  # type: ignore[index]
    except (TypeError, ValueError, IndexError, KeyError):
        at, count = 0.0, 0
    if last is None or abs(last.at.timestamp() - at) < 1:
        return count, at
    return (count + 1 if last.status == "changed" or last.changed else 0), last.at.timestamp()


# What the agents' modules share.


def utc(seconds: float) -> datetime:
    """Return seconds since 1970 as an aware time."""
    from datetime import datetime, timezone

    return datetime.fromtimestamp(seconds, timezone.utc)


def exists(run: Run, path: str, of: str = "") -> bool:
    """Return whether a path is there. Raises Failed(NOT_ALLOWED) when a directory above it may not be entered."""
    return modified(run, path, of) is not None


def modified(run: Run, path: str, of: str = "") -> float | None:
    """Return a path's time of change (seconds since 1970), None when it is not there. Raises Failed otherwise."""
    try:
        return os.stat(run.path(path)).st_mtime
    except OSError as error:
        failed = Failed.of_os_error(of or path, f"look at {path}", error)
        if failed.kind == ABSENT:
            return None
        raise failed from None


def tail(run: Run, path: str, of: str, cure: str = "") -> str:
    """Return the last 256 KiB of a file as text; the files of CLOSED through sudo where need be.

    Raises Failed: absent, not-allowed with `cure`, unreachable.
    """
    try:
        descriptor = os.open(run.path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.lseek(descriptor, max(0, os.fstat(descriptor).st_size - TAIL), os.SEEK_SET)
            return files.upto(descriptor, TAIL).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
    except OSError as error:
        failed = Failed.of_os_error(of, f"read {path}", error, cure)
    if failed.kind != NOT_ALLOWED or path not in CLOSED or run.root:
        raise failed
    from nephoscope.base import child

    try:
        answer = child.command([*READ, path], run, of=of, sudo=True)
    except Failed as refused:
        raise (failed if refused.kind == NOT_ALLOWED else refused) from None
    if answer.status:
        kind = ABSENT if "No such file" in answer.err else UNREADABLE
        raise Failed(kind, of, f"read {path}", answer.err.strip()[:200] or f"tail ended with {answer.status}")
    return answer.out


def document(run: Run, path: str, of: str, limit: int = 32 << 20) -> Any:
    """Return a JSON file's content. Raises Failed: absent, not-allowed, unreadable."""
    import json

    from nephoscope.base import files

    text = files.text(run, path, of=of, limit=limit)
    try:
        return json.loads(text)
    except ValueError as error:
        raise Failed(UNREADABLE, of, f"read {path}", f"no JSON: {error}") from None


def process_is(run: Run, pid: int, word: str) -> bool:
    """Return whether a process lives and its command line names `word` (a pid may have gone to another program).

    Raises Failed(UNREACHABLE): the kernel does not answer for it; it is stuck, and not gone.
    """
    from nephoscope.base import child, files

    of = f"process {pid}"
    answer = child.each(
        run, {of: lambda: word in files.text(run, f"/proc/{pid}/cmdline")}, tried="read its command line"
    )[of]
    if isinstance(answer, Failed) and answer.kind in (UNREACHABLE, LATE):
        raise answer
    return answer is True


def first_line(text: str, limit: int = 160) -> str:
    """Return the first line of an agent's message that says something, cut."""
    for line in text.splitlines():
        if line.strip():
            return line.strip()[:limit]
    return ""
