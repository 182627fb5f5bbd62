# SPDX-License-Identifier: Apache-2.0
"""What starts a program on this host: a daemon that runs, a systemd timer, or an entry of cron.

Sources: proc(5); sd_booted(3), systemd.timer(5), systemd.unit(5); crontab(5) and cron(8) of Debian's cron and of cronie.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, Failed, Run, files
from nephoscope.base.child import each

UNITS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",  # systemd-cron turns crontabs into timers here
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
CRON_DAEMONS = {"cron", "crond", "fcron", "bcron-sched", "dcron"}
_PERIODS = ("hourly", "daily", "weekly", "monthly")


class Process(NamedTuple):
    """A process of this host's own pid namespace: pid and argument list."""

    pid: int
    argv: tuple[str, ...]


class Schedule(NamedTuple):
    """What starts the program.

    found   what is at work, in words ("daemon, pid 812", "timer puppet-run.timer", "/etc/cron.d/ansible-pull")
    idle    what is there and does not work, with the reason ("puppet-run.timer is inactive")
    unseen  places that could not be looked at, and that may hold what was not found elsewhere
    """

    found: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    unseen: tuple[Failed, ...] = ()


class Scan:
    """The processes of this host, listed when they are first asked for, and once for all that ask in a run."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._found: list[Process] | Failed | None = None

    def processes(self) -> list[Process]:
        """Return the processes; look at `ours` for those of containers.

        The command line of a process that is stuck may block in the kernel (it takes the lock of its memory): a child reads.
        Raises Failed: not-allowed when /proc hides other users' processes (mount option hidepid), unreachable, late.
        """
        if self._found is None:
            tried = "list the processes"
            answer = each(self.run, {"/proc": lambda: processes(self.run)}, tried=tried)["/proc"]
            if not isinstance(answer, Failed):
                answer = [Process(pid, tuple(argv)) for pid, argv in answer]
            self._found = answer
        if isinstance(self._found, Failed):
            raise self._found
        return self._found


def processes(run: Run) -> list[Process]:
    """Return the processes of this host, those of its containers included. May block: runs in the child.

    Raises Failed(NOT_ALLOWED) when /proc hides other users' processes (mount option hidepid).
    """
    pids = [name for name in files.names(run, "/proc") if name.isdigit()]
    if "1" not in pids:
        raise Failed(
            NOT_ALLOWED,
            "/proc",
            "list the processes",
            "/proc hides the processes of other users (hidepid)",
            "membership of the group that the mount option gid= of /proc names",
        )
    found = []
    for pid in pids:
        try:
            line = files.text(run, f"/proc/{pid}/cmdline")
        except Failed:
            continue  # it ended while we looked
        if line:  # kernel threads have none
            # A program that has set its title leaves one string with spaces instead of an argument list.
            words = line.rstrip("\0").split("\0")
            argv = tuple(words if len(words) > 1 else words[0].split())
            if argv:
                found.append(Process(int(pid), argv))
    return found


def ours(run: Run, process: Process) -> bool:
    """Return whether a process belongs to this host itself, not to a container on it (NSpid of proc(5), Linux 4.1)."""
    try:
        status = files.text(run, f"/proc/{process.pid}/status")
    except Failed:
        return False
    match = re.search(r"^NSpid:\s+(.*)$", status, re.MULTILINE)
    return match is None or len(match[1].split()) == 1


def words(line: str) -> list[str]:
    """Return the words of a command line without their directories: `/usr/bin/puppet agent -t` gives puppet, agent, -t."""
    return [word.rsplit("/", 1)[-1] for word in re.split(r"[\s;&|()'\"`]+", line) if word]


def look(
    run: Run,
    is_daemon: Callable[[Sequence[str]], bool],
    starts: Callable[[Sequence[str]], bool],
    scan: Scan | None = None,
) -> Schedule:
    """Return what starts a program.

    is_daemon  tells from a process's argument list whether it is the program's daemon
    starts     tells from the words of a command line (see `words`) whether it starts the program
    scan       the processes, where several programs are looked for
    Places that may not be read are in `unseen`; nothing is raised.
    """
    found: list[str] = []
    idle: list[str] = []
    unseen: list[Failed] = []
    try:
        running = (scan or Scan(run)).processes()
    except Failed as failed:
        running = None
        unseen.append(failed)
    for process in running or ():
        if is_daemon(process.argv) and ours(run, process):
            found.append(f"daemon, pid {process.pid}")
    cron = running is None or any(process.argv[0].rsplit("/", 1)[-1] in CRON_DAEMONS for process in running)
    for place in _cron(run, starts, unseen, idle):
        if cron:
            found.append(place)
        else:
            idle.append(f"{place} names it, but no cron daemon runs")
    _timers(run, starts, found, idle, unseen)
    return Schedule(tuple(found), tuple(idle), tuple(unseen))


def _read(run: Run, path: str, unseen: list[Failed]) -> str:
    try:
        return files.text(run, path)
    except Failed as failed:
        if failed.kind != ABSENT:
            unseen.append(failed)
        return ""


def _list(run: Run, path: str, unseen: list[Failed]) -> list[str]:
    try:
        return files.names(run, path)
    except Failed as failed:
        if failed.kind != ABSENT:
            unseen.append(failed)
        return []


def _lines(text: str) -> Iterable[str]:
    """Yield the lines that are neither empty nor comments; continued ones joined (unit files and shell scripts)."""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line and line[0] not in "#;":
            yield line


def _cron(run: Run, starts: Callable[[Sequence[str]], bool], unseen: list[Failed], idle: list[str]) -> Iterable[str]:
    """Yield the cron files that start the program."""

    def named(path: str) -> bool:
        # An assignment (`PATH=/opt/puppetlabs/bin`) starts nothing.
        return any(starts(words(line)) for line in _lines(_read(run, path, unseen)) if not re.match(r"\w+\s*=", line))

    if named("/etc/crontab"):
        yield "/etc/crontab"
    # Debian's cron takes no name with a dot from /etc/cron.d (cron(8)), and run-parts none either; cronie does.
    try:
        files.text(run, "/etc/debian_version")
        good = re.compile(r"[A-Za-z0-9_-]+")
    except Failed:
        good = re.compile(r"[^.#~].*(?<!~)(?<!\.rpmsave)(?<!\.rpmnew)(?<!\.rpmorig)|[^.#~]")
    for directory in ("/etc/cron.d", *(f"/etc/cron.{period}" for period in _PERIODS)):
        for name in _list(run, directory, unseen):
            path = f"{directory}/{name}"
            if not named(path):
                continue
            if good.fullmatch(name):
                yield path
            else:
                idle.append(f"{path} names it, but cron passes over files of such a name")
    for directory in ("/var/spool/cron/crontabs", "/var/spool/cron"):
        for name in _list(run, directory, unseen):
            path = f"{directory}/{name}"
            if path != "/var/spool/cron/crontabs" and not name.startswith(("tmp.", "at")) and named(path):
                yield path


def _timers(
    run: Run,
    starts: Callable[[Sequence[str]], bool],
    found: list[str],
    idle: list[str],
    unseen: list[Failed],
) -> None:
    """Add the timers whose service starts the program."""
    import os

    if not os.path.isdir(run.path("/run/systemd/system")):  # sd_booted(3): no systemd here, no timer works
        return
    seen = set()
    for directory in UNITS:
        for name in _list(run, directory, unseen):
            if not name.endswith(".timer") or name in seen or "@." in name:
                continue
            seen.add(name)
            match = re.search(r"^\s*Unit\s*=\s*(\S+)", _read(run, f"{directory}/{name}", unseen), re.MULTILINE)
            service = match[1] if match else f"{name[:-6]}.service"
            if not any(starts(words(command)) for command in _commands(run, service, unseen)):
                continue
            try:
                state = _state(run, name)
            except Failed as failed:
                unseen.append(failed)
                continue
            if state == "active":
                found.append(f"timer {name}")
            else:
                idle.append(f"{name} is {state}")


def _commands(run: Run, service: str, unseen: list[Failed]) -> Iterable[str]:
    for directory in UNITS:
        text = _read(run, f"{directory}/{service}", unseen)
        if text:
            for line in _lines(text):
                key, equals, command = line.partition("=")
                if equals and key.strip().startswith("Exec"):
                    yield command
            return


def _state(run: Run, unit: str) -> str:
    """Return systemd's word for a unit: active, inactive, failed, … Raises Failed."""
    from nephoscope.base import child

    answer = child.command(["systemctl", "is-active", unit], run, of=unit)
    word = answer.out.strip()
    if not re.fullmatch(r"[a-z-]+", word):
        raise Failed("unreadable", unit, f"run systemctl is-active {unit}", answer.err.strip()[:200] or "no answer")
    return word
