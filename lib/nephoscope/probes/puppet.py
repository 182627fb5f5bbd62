# SPDX-License-Identifier: Apache-2.0
"""Puppet's agent on this host, from the files that it leaves.

Sources: Puppet 7.23 (Debian 12) by real runs, its lib/puppet/defaults.rb and lib/puppet/util/pidlock.rb; the summary without
`resources` of older ones from Puppet 3 to 5. What was seen:
* A catalogue that could not be had leaves a summary whose counts are all 0 (Puppet 7) or which has no counts (older).
* `puppet apply` of a manifest with a syntax error leaves the summary of the run before untouched: only its age tells.
* A run in noop (noop = true, --noop) changes nothing and counts no failure: resources out of sync and events.noop tell it.
* An agent that fell back to its cached catalogue leaves a summary that looks well; only the report says on_failure.
* Summary and report are 0640 of the user that ran the agent: root:root where nothing else is configured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, files
from nephoscope.probes import config_agent
from nephoscope.probes.config_agent import Disabled, Found, LastRun, Lock

PROGRAMS = ("/opt/puppetlabs/bin/puppet", "/usr/bin/puppet", "/usr/local/bin/puppet")
# Only what a run leaves: the packages' empty directories outlive the package.
TRACES = (
    "/opt/puppetlabs/puppet/public/last_run_summary.yaml",
    "/var/cache/puppet/public/last_run_summary.yaml",
    "/var/lib/puppet/state/last_run_summary.yaml",
)
CURE = (
    "a sudoers line (nephoscope export sudoers), or in puppet.conf"
    " `lastrunfile = $publicdir/last_run_summary.yaml { group = puppet, mode = 0640 }` and group puppet"
)
GROUP = "membership of group puppet (usermod -aG puppet nagios)"
_SCALE = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "y": 31536000}


def is_daemon(argv: Sequence[str]) -> bool:
    """Tell the agent that goes on running from one that was started for one run or for a question."""
    words = [word.rsplit("/", 1)[-1] for word in argv]
    for at, word in enumerate(words[:3]):
        if word == "puppet" and words[at + 1 : at + 2] in (["agent"], ["agent:"]):
            once = {"--onetime", "-o", "--test", "-t", "--disable", "--enable", "--fingerprint", "--configprint"}
            return not once.intersection(argv[at + 2 :])
    return False


def starts(words: Sequence[str]) -> bool:
    """Tell whether a command line runs Puppet."""
    return any(pair[0] == "puppet" and pair[1] in ("agent", "apply") for pair in zip(words, words[1:]))


def look(run: Run, directory: str, results: Sequence[str]) -> Found:
    """Return what Puppet's files tell.

    directory  its vardir (with state/ and public/ below), "" for the usual ones
    results    a summary file that lies elsewhere
    Raises Failed when the summary can be neither found nor excluded.
    """
    if directory:
        layouts = [(directory, "")]
    else:
        layouts = [
            ("/opt/puppetlabs/puppet/cache", "/etc/puppetlabs/puppet/puppet.conf"),
            ("/var/cache/puppet", "/etc/puppet/puppet.conf"),
            ("/var/lib/puppet", "/etc/puppet/puppet.conf"),
        ]
    newest: tuple[float, str, str, str] | None = None
    vardir, conf = layouts[-1]
    here = False
    for var, configuration in layouts:
        if not config_agent.exists(run, var, "puppet"):
            continue
        if not here:
            vardir, conf, here = var, configuration, True
        public = "/opt/puppetlabs/puppet/public" if var == "/opt/puppetlabs/puppet/cache" else f"{var}/public"
        for path in (f"{public}/last_run_summary.yaml", f"{var}/state/last_run_summary.yaml", *results):
            try:
                changed = config_agent.modified(run, path, "puppet")
            except Failed as failed:
                # Puppet before 7 had it in the closed state directory; with a newer one in public/ it does not matter.
                if path.startswith(f"{var}/state/"):
                    continue
                raise failed from None
            if changed is not None and (newest is None or changed > newest[0]):
                newest = changed, path, var, configuration
    last: LastRun | Failed | None = None
    if newest:
        at, path, vardir, conf = newest
        try:
            text = config_agent.tail(run, path, "puppet", CURE)
            last = _with_report(run, summary(text, at), at, f"{vardir}/state/last_run_report.yaml")
        except Failed as failed:
            last = failed
    disabled: Disabled | Failed | None
    lock: Lock | Failed | None
    try:
        disabled = _disabled(run, vardir)
        lock = _lock(run, f"{vardir}/state/agent_catalog_run.lock")
    except Failed as failed:
        # Nothing below the state directory may be seen: said once.
        disabled, lock = failed, None
        if last is None and failed.kind == NOT_ALLOWED:
            last, disabled = failed, None
    return Found(last, disabled, lock, _interval(run, conf))


def sections(text: str) -> dict[str, dict[str, str]]:
    """Return section -> key -> value of a summary: two levels of `key: value`, and nothing else of YAML."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(  )?\"?(\w+)\"?:\s*(.*?)\s*", line)
        if not match:
            continue
        if match[1]:
            section[match[2]] = match[3].strip("'\"")
        else:
            section = found.setdefault(match[2], {})
    return found


def summary(text: str, modified: float) -> LastRun:
    """Return a run from the text of its last_run_summary.yaml and that file's time of change (seconds since 1970).

    Raises Failed(UNREADABLE) when it is no summary.
    """
    found = sections(text)
    if "time" not in found and "version" not in found:
        raise Failed(UNREADABLE, "puppet", "read last_run_summary.yaml", "it has neither a time nor a version section")
    time = found.get("time", {})
    # 0 or absent after some runs that failed early (Puppet 3 to 5).
    at = config_agent.utc(_number(time, "last_run") or modified)
    seconds = _number(time, "total")
    resources = found.get("resources", {})
    total = _number(resources, "total")
    if "events" not in found or not total:
        return LastRun(at, "aborted", seconds=seconds, reason="it got no catalogue")
    failed = int((_number(resources, "failed") or 0) + (_number(resources, "failed_to_restart") or 0))
    # `changed` of resources misses what failed half-way; `changes` counts every property.
    changed = int(max(_number(resources, "changed") or 0, _number(found.get("changes", {}), "total") or 0))
    out_of_sync = int(_number(resources, "out_of_sync") or 0)
    noop = int(_number(found["events"], "noop") or 0)
    note = ""
    if noop and not changed and not failed:
        note = f"ran in noop: {out_of_sync} resources are out of sync"
    elif noop:
        note = f"did some of it in noop: {noop} changes were left undone"
    return LastRun(
        at,
        "failed" if failed else "changed" if changed else "ok",
        failed,
        changed,
        out_of_sync,
        round(100 * failed / max(total, failed), 2),
        seconds,
        note=note,
    )


def _number(section: dict[str, str], key: str) -> float | None:
    value = section.get(key, "")
    if not value:
        return None
    try:
        return float(value)
    except ValueError:
        raise Failed(UNREADABLE, "puppet", "read last_run_summary.yaml", f"{key} is {value[:40]!r}") from None


def _with_report(run: Run, last: LastRun, at: float, path: str) -> LastRun:
    """Add what only the report tells: the reason of a failure, and a run from the cached catalogue.

    The report is a richer file that is closed even more often; without it the summary stands as it is.
    """
    try:
        changed = config_agent.modified(run, path, "puppet")
        if changed is not None and abs(changed - at) > 300:
            return last  # that of another run
        text = config_agent.tail(run, path, "puppet")
    except Failed:
        return last
    if last.status in ("aborted", "failed"):
        said = _error(text)
        if said:
            last = last._replace(reason=f"{last.reason}: {said}" if last.reason else said)
    if re.search(r"^cached_catalog_status: ['\"]?on_failure", text, re.MULTILINE):
        note = "it used the cached catalogue, because it got no new one"
        last = last._replace(note=f"{last.note}; {note}" if last.note else note)
    return last


def _error(report: str) -> str:
    """Return the first error of a report's log, on one line; Facter's are noise (what it may not read is no fault)."""
    for entry in re.finditer(r"^- level: err\n  message: (.*\n(?:    .*\n|\n)*)  source: (.*)", report, re.MULTILINE):
        if entry[2] == "Facter":
            continue
        said = " ".join(entry[1].split())
        if said[:1] == "|":
            said = said.partition(" ")[2]
        elif said[:1] in ("'", '"') and said[-1:] == said[:1]:
            said = said[1:-1].replace("''", "'")
        return said.rpartition("trying next route: ")[2][:160]
    return ""


def _disabled(run: Run, vardir: str) -> Disabled | None:
    """Return the agent's lock of `puppet agent --disable`: JSON from Puppet 3 on, an empty puppetdlock before."""
    for name in ("agent_disabled.lock", "puppetdlock"):
        path = f"{vardir}/state/{name}"
        changed = _in_state(run, path)
        if changed is None:
            continue
        try:
            text = files.text(run, path, of="puppet")
        except Failed as failed:
            if failed.kind == ABSENT:
                return None  # enabled in this very moment
            text = ""
        if name == "puppetdlock" and text.strip():
            continue  # Puppet 2.6: the same file held the pid of a run
        match = re.search(r'"disabled_message"\s*:\s*("(?:[^"\\]|\\.)*")', text)
        reason = ""
        if match:
            import json

            try:
                reason = str(json.loads(match[1]))
            except ValueError:
                reason = match[1]
        return Disabled(config_agent.utc(changed), reason)
    return None


def _lock(run: Run, path: str) -> Lock | None:
    changed = _in_state(run, path)
    if changed is None:
        return None
    try:
        text = files.text(run, path, of="puppet").strip()
    except Failed as failed:
        if failed.kind == ABSENT:
            return None
        raise Failed(failed.kind, "puppet", failed.tried, failed.error, GROUP) from None
    if not text and run.clock.time() - changed < 60:
        return None  # made this moment, its pid not yet written
    pid = int(text) if text.isascii() and text.isdigit() else 0
    return Lock(path, pid, bool(pid) and config_agent.process_is(run, pid, "puppet"), config_agent.utc(changed))


def _in_state(run: Run, path: str) -> float | None:
    try:
        return config_agent.modified(run, path, "puppet")
    except Failed as failed:
        raise Failed(failed.kind, "puppet", failed.tried, failed.error, GROUP) from None


def _interval(run: Run, conf: str) -> float:
    """Return runinterval of puppet.conf in seconds (section agent before main), 1800 where it says nothing."""
    try:
        text = files.text(run, conf) if conf else ""
    except Failed:
        return 1800.0
    section = "main"
    found: dict[str, float] = {}
    for line in text.splitlines():
        header = re.match(r"\s*\[(\w+)\]", line)
        match = re.match(r"\s*runinterval\s*=\s*(\d+)\s*([smhdy]?)\s*(?:#.*)?$", line)
        if header:
            section = header[1]
        elif match:
            found[section] = float(match[1]) * _SCALE[match[2]]
    return found.get("agent", found.get("main", 1800.0)) or 1800.0
