# SPDX-License-Identifier: Apache-2.0
"""Salt's minion on this host: the JSON that a run of salt-call printed, kept in a file by who starts it.

Source: salt-call 3008.3 by real runs, masterless. What was seen:
* It leaves no result by itself, only the time of its last run in highstate.cache.p of its cache directory.
* States that cannot be rendered come as a list of messages instead of a mapping of states; the exit status is 1.
* A run that `state.disable highstate` forbids comes as one flat mapping with `"result": "False"`, a string, and status 0.
* With test=True the result of a state that would change something is null.
The wrapper that keeps the result is in the documentation of check_config_agent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run, files
from nephoscope.probes import config_agent
from nephoscope.probes.config_agent import Disabled, Found, LastRun

PROGRAMS = ("/usr/bin/salt-minion", "/usr/bin/salt-call", "/opt/saltstack/salt/salt-minion", "/usr/local/bin/salt-call")
RESULTS = ("/var/log/salt/highstate.json",)
TRACES = RESULTS
CURE = "the wrapper of this check's documentation, which keeps what salt-call prints in /var/log/salt/highstate.json"
INTERVAL = 3600.0  # of the schedule in Salt's own documentation (Job management, "Scheduling jobs")


def is_daemon(argv: Sequence[str]) -> bool:
    """Tell the minion: it takes the master's orders and runs its own schedule."""
    return any(word.rsplit("/", 1)[-1] == "salt-minion" for word in argv[:2])


def starts(words: Sequence[str]) -> bool:
    """Tell whether a command line applies states."""
    return bool({"salt-call", "salt-call-kept"}.intersection(words)) and any(
        re.fullmatch(r"state\.(apply|highstate|sls)", word) for word in words
    )


def look(run: Run, directory: str, results: Sequence[str]) -> Found:
    """Return what Salt's files tell.

    directory  the minion's configuration directory, "" for /etc/salt
    results    where the wrapper keeps the JSON
    """
    last: LastRun | Disabled | Failed | None
    try:
        last = _last(run, results or RESULTS)
    except Failed as failed:
        last = failed
    disabled: Disabled | Failed | None
    try:
        disabled = _disabled(run, f"{directory or '/etc/salt'}/grains")
    except Failed as failed:
        disabled = failed
    if isinstance(last, Disabled):
        at = last.since
        if not isinstance(disabled, Disabled):
            disabled = last
        last = LastRun(at, "skipped")
    return Found(last, disabled, None, INTERVAL)


def result(document: Any, modified: float) -> LastRun | Disabled:
    """Return a run, or that runs are disabled, from what salt-call printed and its file's time of change.

    Raises Failed(UNREADABLE) when it is no result of a state run.
    """
    of, tried = "salt", "read the result of salt-call"
    at = config_agent.utc(modified)
    local = document.get("local") if isinstance(document, dict) else None
    if isinstance(local, list):
        return LastRun(
            at, "aborted", reason=config_agent.first_line(str(local[0])) if local else "no state was rendered"
        )
    if not isinstance(local, dict):
        raise Failed(UNREADABLE, of, tried, "it has no mapping under `local`")
    if "result" in local and not isinstance(local["result"], dict):
        if local.get("comment") == "Disabled":
            return Disabled(at, config_agent.first_line(str(local.get("name", ""))))
        return LastRun(at, "aborted", reason=config_agent.first_line(str(local.get("comment", ""))))
    states = list(local.values())
    if not all(isinstance(state, dict) and "result" in state for state in states):
        raise Failed(UNREADABLE, of, tried, "what is under `local` are not states")
    if not states:
        return LastRun(at, "empty", 0, 0, 0, seconds=0.0, reason="no state was looked at")
    if len(states) == 1 and "no_|-states_|-states_|-None" in local:
        return LastRun(at, "aborted", reason=config_agent.first_line(str(states[0].get("comment", ""))))
    bad = [state for state in states if state["result"] is False]
    waiting = [state for state in states if state["result"] is None]
    odd = [state for state in states if state["result"] not in (True, False, None)]
    if odd:
        raise Failed(UNREADABLE, of, tried, f"a state's result is {str(odd[0]['result'])[:40]!r}")
    changed = [state for state in states if state["result"] and state.get("changes")]
    milliseconds = [state["duration"] for state in states if isinstance(state.get("duration"), (int, float))]
    reason = ""
    if bad:
        reason = f"{bad[0].get('__id__', bad[0].get('name', '?'))}: {config_agent.first_line(str(bad[0].get('comment', '')))}"
    return LastRun(
        at,
        "failed" if bad else "changed" if changed else "ok",
        len(bad),
        len(changed),
        len(waiting) + len(bad) + len(changed),
        round(100 * len(bad) / len(states), 2),
        sum(milliseconds) / 1000,
        reason,
        "it was a test run (test=True) and would change something" if waiting else "",
    )


def _last(run: Run, paths: Sequence[str]) -> LastRun | Disabled:
    for path in paths:
        changed = config_agent.modified(run, path, "salt")
        if changed is not None:
            return result(config_agent.document(run, path, "salt"), changed)
    seen = ""
    try:
        cached = config_agent.modified(run, "/var/cache/salt/minion/highstate.cache.p", "salt")
        if cached is not None:
            seen = f"; its cache says that states were applied at {config_agent.utc(cached):%Y-%m-%d %H:%M} UTC"
    except Failed:
        pass
    raise Failed(UNREADABLE, "salt", f"look for {' or '.join(paths)}", f"no run has left a result{seen}", CURE)


def _disabled(run: Run, path: str) -> Disabled | None:
    """Return what `state.disable` has put into the grains file: a list below `state_runs_disabled:`."""
    changed = config_agent.modified(run, path, "salt")
    if changed is None:
        return None
    try:
        text = files.text(run, path, of="salt")
    except Failed as failed:
        if failed.kind == ABSENT:
            return None
        raise
    match = re.search(r"^state_runs_disabled:[ ]*\n((?:[ ]*- .*\n?)+)", text, re.MULTILINE)
    if not match:
        return None
    runs = ", ".join(line.strip()[2:] for line in match[1].splitlines())
    return Disabled(config_agent.utc(changed), f"state.disable {runs}")
