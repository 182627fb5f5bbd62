# SPDX-License-Identifier: Apache-2.0
"""ansible-pull on this host: its log (ANSIBLE_LOG_PATH), a stamp that a wrapper writes, or both.

Source: ansible-core 2.19 by real runs (log prefix also of 2.9 to 2.18). What was seen:
* It leaves nothing by itself. Its log has local times without a zone, and ends, when a play ran, in a PLAY RECAP.
* A repository that cannot be had leaves no recap, nor does a playbook that cannot be parsed: an ERROR is the last word.
* With --only-if-changed a run that had nothing to do ends in "Repository has not changed, quitting".
The wrapper that writes the stamp is in the documentation of check_config_agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import config_agent
from nephoscope.probes.config_agent import Found, LastRun, Lock

PROGRAMS = ("/usr/bin/ansible-pull", "/usr/local/bin/ansible-pull")
STAMP = "/var/log/ansible-pull.json"
LOG = "/var/log/ansible-pull.log"
RESULTS = (STAMP, LOG)
TRACES = RESULTS
CURE = "the wrapper of this check's documentation, which sets ANSIBLE_LOG_PATH and writes a stamp"
INTERVAL = 3600.0  # ours: ansible-pull has none of its own, cron or a timer decides
_PREFIX = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ p=(\d+) u=\S+ (?:n=\S+ )?([A-Z]+)?\s*\| ?(.*)")
_HOST = re.compile(r"(\S+)\s*: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")


class Logged(NamedTuple):
    """A run as the log has it: seconds since 1970, pid of ansible-pull, its recap's sums, its error."""

    start: float
    end: float
    pid: int
    hosts: int = 0
    ok: int = 0
    changed: int = 0
    unreachable: int = 0
    failed: int = 0
    unchanged: bool = False
    error: str = ""

    @property
    def over(self) -> bool:
        """Whether it has come to an end that it wrote down."""
        return bool(self.hosts or self.unchanged)


def is_daemon(argv: Sequence[str]) -> bool:
    """ansible-pull has none."""
    return False


def starts(words: Sequence[str]) -> bool:
    """Tell whether a command line runs ansible-pull."""
    return bool({"ansible-pull", "ansible-pull-kept"}.intersection(words))


def look(run: Run, directory: str, results: Sequence[str]) -> Found:
    """Return what the log and the stamp tell.

    directory  where ansible-pull.log and ansible-pull.json lie, "" for /var/log
    results    logs and stamps that lie elsewhere; a file that begins with { or is empty is a stamp
    """
    paths = results or ([f"{directory}/ansible-pull.json", f"{directory}/ansible-pull.log"] if directory else RESULTS)
    stamped: LastRun | None = None
    logged: list[Logged] = []
    try:
        for path in paths:
            for name in (path, f"{path}.1"):  # the log may just have been rotated
                changed = config_agent.modified(run, name, "ansible-pull")
                if changed is None:
                    continue
                text = config_agent.tail(run, name, "ansible-pull")
                if text[:1] == "{" or (not text and not path.endswith(".log")):
                    stamped = stamp(text, changed)
                    break
                logged = list(runs(text, changed))
                if logged:
                    break
    except Failed as failed:
        return Found(failed, interval=INTERVAL)
    lock = None
    if logged and not logged[-1].over and config_agent.process_is(run, logged[-1].pid, "ansible"):
        under_way = logged.pop()
        lock = Lock("its log", under_way.pid, True, config_agent.utc(under_way.start))
    last = _of_log(logged[-1]) if logged else None
    if stamped and (last is None or last.at.timestamp() <= stamped.at.timestamp() + 5):
        last = _both(stamped, last)
    if last is None and lock is None:
        return Found(Failed(UNREADABLE, "ansible-pull", f"look for {' or '.join(paths)}", "no run has left a result", CURE),
                     interval=INTERVAL)  # fmt: skip
    return Found(last, None, lock, INTERVAL)


def stamp(text: str, modified: float) -> LastRun:
    """Return a run from a stamp: empty (a success at the time of the file's change), or JSON.

    JSON: rc (exit status), and if wanted start and end (seconds since 1970), failures, changed.
    Raises Failed(UNREADABLE).
    """
    import json

    if not text.strip():
        return LastRun(config_agent.utc(modified), "ok")
    found: Any = None
    try:
        found = json.loads(text)
    except ValueError:
        pass
    if not isinstance(found, dict) or not isinstance(found.get("rc"), int):
        raise Failed(UNREADABLE, "ansible-pull", "read the stamp", "it is no JSON object with a number `rc`")
    numbers = {key: value for key, value in found.items() if isinstance(value, (int, float))}
    end = float(numbers.get("end", modified))
    seconds = max(0.0, end - numbers["start"]) if "start" in numbers else None
    changed = int(numbers["changed"]) if "changed" in numbers else None
    failures = int(numbers["failures"]) if "failures" in numbers else None
    rc = found["rc"]
    status = "aborted" if rc else "changed" if changed else "ok"
    return LastRun(
        config_agent.utc(end), status, failures, changed, seconds=seconds, reason=f"exit status {rc}" if rc else ""
    )


def runs(text: str, modified: float) -> Iterable[Logged]:
    """Yield the runs of a log, oldest first; `modified` is the file's time of change."""
    current: Logged | None = None
    for line in text.splitlines():
        match = _PREFIX.match(line)
        if not match:
            continue  # the further lines of a message
        at, level, message = _local(match[1]), match[3] or "", match[4].strip()
        if message.startswith("Starting Ansible Pull"):
            if current:
                yield current
            current = Logged(at, at, int(match[2]))
            continue
        if current is None:
            if not message.startswith("PLAY "):
                continue
            current = Logged(at, at, int(match[2]))  # the beginning is above what was read
        current = current._replace(end=at)
        host = _HOST.match(message)
        if host:
            ok, changed, unreachable, failed = (int(number) for number in host.groups()[1:])
            current = current._replace(
                hosts=current.hosts + 1,
                ok=current.ok + ok,
                changed=current.changed + changed,
                unreachable=current.unreachable + unreachable,
                failed=current.failed + failed,
            )
        elif message.startswith("Repository has not changed, quitting"):
            current = current._replace(unchanged=True)
        elif (
            level in ("ERROR", "CRITICAL")
            or message.startswith(("ERROR!", "fatal:", "[ERROR]"))
            or "FAILED! =>" in message
        ):
            said = message[9:] if message.startswith("[ERROR]: ") else message
            current = current._replace(error=current.error or said[:160])
    if current:
        # The log's times have no zone and the file's has: the newest run's end is the file's, if nothing else wrote into it.
        yield current._replace(end=modified if abs(modified - current.end) % 900 < 120 else current.end)


def _local(text: str) -> float:
    """Return a local time of this host as seconds since 1970."""
    import time

    try:
        return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S"))
    except (ValueError, OverflowError):
        return 0.0


def _of_log(logged: Logged) -> LastRun:
    at, seconds = config_agent.utc(logged.end), max(0.0, logged.end - logged.start)
    bad = logged.failed + logged.unreachable
    total = logged.ok + bad
    if bad:
        # A host that fails is out of the play: what stands below the failed task was not done.
        return LastRun(at, "aborted", bad, logged.changed, None, round(100 * bad / total, 2), seconds,
                       logged.error or "the play stopped at a failed task")  # fmt: skip
    if not logged.over:
        return LastRun(at, "aborted", seconds=seconds, reason=logged.error or "it ended without a PLAY RECAP")
    if logged.hosts and not total:
        return LastRun(at, "empty", 0, 0, seconds=seconds, reason="no task was run")
    return LastRun(at, "changed" if logged.changed else "ok", 0, logged.changed, None, 0.0, seconds)


def _both(stamped: LastRun, logged: LastRun | None) -> LastRun:
    """Return the stamp's run, with the log's counts and words when the log is of the same run."""
    if logged is None or stamped.at.timestamp() - logged.at.timestamp() > 30:
        return stamped
    if stamped.status == "aborted":
        return logged._replace(at=stamped.at, status="aborted", seconds=stamped.seconds or logged.seconds,
                               reason=logged.reason or stamped.reason)  # fmt: skip
    return logged._replace(at=stamped.at, seconds=stamped.seconds or logged.seconds)
