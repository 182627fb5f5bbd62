# SPDX-License-Identifier: Apache-2.0
"""Chef's client on this host, from the reports of its JsonFile handler.

Sources (Chef Infra Client 18, chef/chef on GitHub): lib/chef/handler/json_file.rb, lib/chef/handler/error_report.rb,
lib/chef/run_status.rb, lib/chef/run_lock.rb. What they say:
* Only a handler leaves a result: `report_handlers << Chef::Handler::JsonFile.new(path: "/var/chef/reports")` in client.rb, and
  the same for `exception_handlers`; without the second a run that fails leaves no report. The directory is made 0700.
* Failed runs also leave failed-run-data.json, of the same form, in the cache directory.
* The run's lock is flock(2) on a pid file that is never removed: a dead pid in it is the rule, not a fault.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, files
from nephoscope.probes import config_agent
from nephoscope.probes.config_agent import Found, LastRun, Lock

PROGRAMS = ("/usr/bin/chef-client", "/opt/chef/bin/chef-client", "/usr/local/bin/chef-client")
TRACES = ("/var/chef/reports",)
CURE = "a directory that group nagios may enter, given to JsonFile as path in client.rb, and --agent-dir chef=DIR"


def is_daemon(argv: Sequence[str]) -> bool:
    """Tell the client that goes on running; `chef-client worker` is a child that it forks for one run."""
    words = [word.rsplit("/", 1)[-1] for word in argv]
    return "chef-client" in words[:2] and any(
        re.fullmatch(r"-d|--daemonize|-i|--interval|--interval=.*|-i\d+", word) for word in argv
    )


def starts(words: Sequence[str]) -> bool:
    """Tell whether a command line runs Chef."""
    return bool({"chef-client", "chef-solo"}.intersection(words))


def look(run: Run, directory: str, results: Sequence[str]) -> Found:
    """Return what Chef's files tell.

    directory  where JsonFile writes, "" for /var/chef/reports
    results    a report that lies elsewhere
    """
    last: LastRun | Failed | None
    try:
        last = _last(run, directory or "/var/chef/reports", results)
    except Failed as failed:
        last = failed
    lock: Lock | Failed | None
    try:
        lock = _lock(run)
    except Failed as failed:
        lock = failed
    return Found(last, None, lock, _interval(run))


def report(document: Any, modified: float) -> LastRun:
    """Return a run from a report's content and its file's time of change. Raises Failed(UNREADABLE)."""
    if not isinstance(document, dict) or not isinstance(document.get("success"), bool):
        raise Failed(UNREADABLE, "chef", "read the run's report", "it does not say whether the run was a success")
    at = _time(document.get("end_time")) or modified
    updated = document.get("updated_resources")
    changed = len(updated) if isinstance(updated, list) else None
    elapsed = document.get("elapsed_time")
    seconds = float(elapsed) if isinstance(elapsed, (int, float)) else None
    if not document["success"]:
        reason = config_agent.first_line(str(document.get("exception") or "")) or "it ended with an exception"
        return LastRun(config_agent.utc(at), "aborted", None, changed, seconds=seconds, reason=reason)
    return LastRun(config_agent.utc(at), "changed" if changed else "ok", 0, changed, None, 0.0, seconds)


def _last(run: Run, directory: str, results: Sequence[str]) -> LastRun:
    candidates: list[tuple[float, str]] = []
    paths = list(results)
    try:
        # The names end in the local time of the run, and so the last in order is the newest.
        names = [
            name for name in files.names(run, directory, of="chef") if re.fullmatch(r"chef-run-report-\d+\.json", name)
        ]
        paths += [f"{directory}/{name}" for name in names[-2:]]
    except Failed as failed:
        if failed.kind == NOT_ALLOWED:
            raise Failed(NOT_ALLOWED, "chef", failed.tried, failed.error, CURE) from None
        if failed.kind != ABSENT:
            raise
    paths.append("/var/chef/cache/failed-run-data.json")
    for path in paths:
        try:
            changed = config_agent.modified(run, path, "chef")
        except Failed:
            if path in results:
                raise
            continue  # the cache is closed to us; the reports are what was configured
        if changed is not None:
            candidates.append((changed, path))
    if not candidates:
        raise Failed(
            UNREADABLE,
            "chef",
            f"look for chef-run-report-*.json in {directory}",
            "no run has left a report",
            "add Chef::Handler::JsonFile to report_handlers and exception_handlers in client.rb",
        )
    changed, path = max(candidates)
    return report(config_agent.document(run, path, "chef"), changed)


def _time(text: Any) -> float | None:
    """Return Ruby's Time#to_s ("2026-11-21 10:20:50 +0000", or "… UTC") as seconds since 1970."""
    from datetime import datetime

    if isinstance(text, str):
        for form in ("%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M:%S UTC"):
            try:
                made = datetime.strptime(text, form)
            except ValueError:
                continue
            from datetime import timezone

            return (made if made.tzinfo else made.replace(tzinfo=timezone.utc)).timestamp()
    return None


def _lock(run: Run) -> Lock | None:
    """Return the lock if a run holds it now: /proc/locks (proc(5)) names holder and inode."""
    path = "/var/chef/cache/chef-client-running.pid"
    changed = config_agent.modified(run, path, "chef")
    if changed is None:
        return None
    inode = os.stat(run.path(path)).st_ino
    for line in files.text(run, "/proc/locks", of="chef").splitlines():
        match = re.match(r"\d+: FLOCK\s+\S+\s+WRITE\s+(\d+)\s+\w+:\w+:(\d+)\s", line)
        if match and int(match[2]) == inode:
            return Lock(path, int(match[1]), True, config_agent.utc(changed))
    return None


def _interval(run: Run) -> float:
    """Return `interval` of client.rb in seconds; 1800, the default of a daemon (lib/chef/application/client.rb)."""
    try:
        text = files.text(run, "/etc/chef/client.rb")
    except Failed:
        return 1800.0
    match = re.search(r"^\s*interval\s+(\d+)", text, re.MULTILINE)
    return float(match[1]) if match and int(match[1]) else 1800.0
