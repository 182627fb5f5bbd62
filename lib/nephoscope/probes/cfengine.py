# SPDX-License-Identifier: Apache-2.0
"""CFEngine's agent on this host, from promise_summary.log and what cf-execd keeps of its output.

Sources: CFEngine 3.21.0 (Debian 12) by real runs; the wording of Enterprise from its documentation. What was seen:
* cf-agent ends with 0 whatever happened: only the summary tells.
* The work directory's files are 0600 root: others need sudo.
* A policy with a syntax error makes cf-agent run its built-in failsafe policy, which leaves a summary of its own
  ("(not specified)", 19.23 % not repaired where no policy server answers).
* cf-execd keeps what a run printed in outputs/, `previous` being a link to the newest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import config_agent
from nephoscope.probes.config_agent import Found, LastRun

PROGRAMS = ("/var/cfengine/bin/cf-agent", "/usr/bin/cf-agent", "/usr/sbin/cf-agent", "/usr/local/sbin/cf-agent")
TRACES = ("/var/cfengine/promise_summary.log",)
CURE = "a sudoers line (nephoscope export sudoers)"
INTERVAL = 300.0  # cf-execd's default schedule: Min00, Min05, … (reference manual, body executor control)
UNNAMED = "(not specified)"
_LINE = re.compile(
    r"(\d+),(\d+): (?:Outcome of version (.*) \(\w+-\d+\): )?"
    r"(?:Promises observed to be kept ([\d.]+)%, Promises repaired ([\d.]+)%, Promises not repaired ([\d.]+)%"
    r"|Total promise compliance: ([\d.]+)% kept, ([\d.]+)% repaired, ([\d.]+)% not kept.*"
    r"|No checks were scheduled)\s*"
)


def is_daemon(argv: Sequence[str]) -> bool:
    """Tell cf-execd, which starts cf-agent."""
    return argv[0].rsplit("/", 1)[-1] == "cf-execd" and not {"--once", "-O"}.intersection(argv)


def starts(words: Sequence[str]) -> bool:
    """Tell whether a command line runs cf-agent, or cf-execd once."""
    return "cf-agent" in words or ("cf-execd" in words and bool({"--once", "-O"}.intersection(words)))


def look(run: Run, directory: str, results: Sequence[str]) -> Found:
    """Return what CFEngine's files tell.

    directory  its work directory, "" for the usual ones
    results    a promise_summary.log that lies elsewhere
    """
    workdirs = [directory] if directory else ["/var/cfengine", "/var/lib/cfengine3"]
    last: LastRun | Failed | None = None
    for path, workdir in [(path, "") for path in results] + [(f"{w}/promise_summary.log", w) for w in workdirs]:
        try:
            if not config_agent.exists(run, path, "cfengine"):
                continue
            last = outcome(config_agent.tail(run, path, "cfengine", CURE))
        except Failed as failed:
            last = failed
        if isinstance(last, LastRun) and workdir:
            last = _fallback(run, last, workdir)
        break
    return Found(last, interval=INTERVAL)


def outcome(text: str) -> LastRun:
    """Return the last run from the end of a promise_summary.log.

    A run of cf-execd is two: update.cf and promises.cf, each with its own line. The latter counts; a failed update is not
    hidden by it, for the last of each is looked at. Where updates alone are on record, the host's own policy has not run for
    as long at least: that is a run that did nothing, as old as the first of them.
    Raises Failed(UNREADABLE) when no line is a summary.
    """
    first = update = policy = None
    named = False
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if not match:
            continue
        if "update" in (match[3] or "").lower():
            first, update = first or match, match
        else:
            named = named or match[3] not in (None, UNNAMED)
            policy = match
    if policy is not None:
        last = _run(policy)
    elif first is not None:
        reason = "since then only policy updates are on record, and no run of promises.cf"
        last = LastRun(config_agent.utc(int(first[2])), "empty", reason=reason)
    else:
        raise Failed(UNREADABLE, "cfengine", "read promise_summary.log", "no line of it is a summary of a run")
    if policy is not None and named and policy[3] == UNNAMED:
        # Policies before it named their version, and the built-in failsafe policy has none; nor has what one tries by hand.
        if last.status == "failed":
            last = last._replace(
                status="aborted", reason="it ran a policy without a version: the built-in failsafe policy?"
            )
        else:
            last = last._replace(note="it ran a policy without a version: the built-in failsafe policy, or one by hand")
    elif update is not None:
        other = _run(update)
        if other.status == "failed" and (policy is None or int(update[1]) >= int(policy[1]) - 900):
            last = last._replace(note=f"its policy update failed: {other.reason}")
    return last


def _run(match: re.Match[str]) -> LastRun:
    at, seconds = config_agent.utc(int(match[2])), float(max(0, int(match[2]) - int(match[1])))
    shares = [float(group) for group in match.groups()[3:] if group is not None]
    if not shares:
        return LastRun(at, "empty", seconds=seconds, reason="no promise was looked at")
    _, repaired, missed = shares
    status = "failed" if missed else "changed" if repaired else "ok"
    reason = f"{missed:g} % of the promises were not repaired" if missed else ""
    return LastRun(at, status, changed=None, share=missed, seconds=seconds, reason=reason)


def _fallback(run: Run, last: LastRun, workdir: str) -> LastRun:
    """Add what cf-execd kept of the newest run's output: the built-in failsafe policy, or an error's words."""
    path = f"{workdir}/outputs/previous"
    try:
        changed = config_agent.modified(run, path, "cfengine")
        if changed is None or changed < last.at.timestamp() - 60:
            return last  # nothing was printed since: that is of an earlier run
        text = config_agent.tail(run, path, "cfengine")
    except Failed:
        return last  # closed to us; the summary stands as it is
    if "failsafe policy triggered" in text:
        if last.status == "failed":
            return last._replace(status="aborted", reason="it ran the built-in failsafe policy, not its own")
        return last._replace(note="it fell back to the built-in failsafe policy")
    match = re.search(r"^\s*error: (.*)", text, re.MULTILINE)
    if match and last.status == "failed":
        return last._replace(reason=f"{last.reason}: {match[1][:160]}")
    return last
