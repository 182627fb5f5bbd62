# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from nephoscope.base import NOT_ALLOWED, Clock, Failed
from nephoscope.checks.configmgmt.check_config_agent import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.config_agent import Agent, Disabled, LastRun, Lock, keep

from tests.probes.test_puppet import FAILED, NO_CATALOGUE, NOOP, UNCHANGED
from tests.probes.unprivileged import as_nobody

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)
RUN = LastRun(NOW - timedelta(minutes=15), "ok", 0, 0, 0, 0.0, 12.5)
AGENT = Agent("puppet", NOW, 1800.0, RUN, None, None, ("daemon, pid 812",))
DENIED = Failed(NOT_ALLOWED, "puppet", "read x", "Permission denied", "group puppet")


def judged(agent: object, *argv: str) -> list[object]:
    return list(judge([agent], CHECK.parse(*argv)))


def findings(agent: object, *argv: str) -> list[object]:
    """What was found, without measured values and the summary of an OK line."""
    items = judged(agent, *argv)
    return [i for i in items if not isinstance(i, Metric) and not (isinstance(i, Finding) and i.state == OK)]


def metrics(agent: object, *argv: str) -> dict[str, object]:
    return {item.name: item.value for item in judged(agent, *argv) if isinstance(item, Metric)}


def test_an_agent_that_is_well() -> None:
    assert judged(AGENT) == [
        Finding(OK, "", "puppet had nothing to do in the run of 2026-11-21 11:45 UTC (daemon, pid 812)"),
        Metric("age", 900.0, "puppet"),
        Metric("intervals", 0.5, "puppet"),
        Metric("failed", 0, "puppet"),
        Metric("failed_share", 0.0, "puppet"),
        Metric("changed", 0, "puppet"),
        Metric("out_of_sync", 0, "puppet"),
        Metric("changed_runs", 0, "puppet"),
        Metric("run", 12.5, "puppet"),
    ]


def test_what_an_agent_does_not_count_is_not_told_as_0() -> None:
    told = metrics(AGENT._replace(last=LastRun(RUN.at, "ok", share=0.0)))
    assert sorted(told) == ["age", "changed_runs", "failed_share", "intervals"]


IN = "in the run of 2026-11-21 11:45 UTC"


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, [Finding(CRITICAL, "puppet", "has never run")]),
        (
            RUN._replace(status="aborted", reason="it got no catalogue"),
            [Finding(CRITICAL, "puppet", f"did not do its work {IN}: it got no catalogue")],
        ),
        (RUN._replace(status="failed", reason="Exec[x]"), [Finding(WARNING, "puppet", f"had failures {IN}: Exec[x]")]),
        (RUN._replace(status="empty", reason="no state"), [Finding(WARNING, "puppet", f"did nothing {IN}: no state")]),
        (RUN._replace(note="cached catalogue"), [Finding(WARNING, "puppet", "last run: cached catalogue")]),
    ],
)
def test_the_last_run(last: LastRun | None, expected: list[object]) -> None:
    assert findings(AGENT._replace(last=last)) == expected


def test_what_could_not_be_told_is_neither_well_nor_never() -> None:
    assert judged(AGENT._replace(last=None, failures=(DENIED,))) == [DENIED]
    assert findings(AGENT._replace(failures=(DENIED,))) == [DENIED]


def test_a_disabled_agent_says_why_and_its_age_is_no_fault() -> None:
    disabled = AGENT._replace(disabled=Disabled(NOW - timedelta(hours=7), "change 4711"))
    assert findings(disabled) == [Finding(WARNING, "puppet", "disabled since 2026-11-21 05:00 UTC: change 4711")]
    assert metrics(disabled)["disabled"] == 25200.0
    assert "intervals" not in metrics(disabled)


def test_a_lock_is_a_run_under_way_or_stale() -> None:
    lock = Lock("/state/agent_catalog_run.lock", 813, True, NOW - timedelta(hours=2))
    assert metrics(AGENT._replace(lock=lock))["lock"] == 7200.0
    assert findings(AGENT._replace(lock=lock)) == []
    text = "has a stale lock /state/agent_catalog_run.lock: process 813 is no run of it any more"
    assert findings(AGENT._replace(lock=lock._replace(alive=False))) == [Finding(WARNING, "puppet", text)]


def test_what_nothing_starts() -> None:
    agent = AGENT._replace(started=(), unstarted="x.timer is inactive")
    assert findings(agent) == [Finding(CRITICAL, "puppet", "started by nothing: x.timer is inactive")]
    assert findings(AGENT._replace(started=())) == []


def test_the_interval_of_the_agent_or_the_one_given() -> None:
    assert metrics(AGENT._replace(interval=300.0))["intervals"] == 3.0
    assert metrics(AGENT, "--interval", "5m")["intervals"] == 3.0


def test_what_is_kept_for_the_next_run() -> None:
    assert keep([AGENT._replace(changed_runs=3, counted=7.5)]) == {"puppet": [7.5, 3]}


# Through the frame, in a tree of files.


class Host:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.at = 1795262030  # of the recorded summary
        for pid, argv in ((1, "/sbin/init\0"), (812, "/usr/bin/ruby\0/usr/bin/puppet\0agent\0--no-daemonize\0")):
            self.write(f"proc/{pid}/cmdline", argv)
            self.write(f"proc/{pid}/status", f"NSpid:\t{pid}\n")
        self.write("usr/bin/puppet", "")
        self.write("var/cache/puppet/state/state.yaml", "")

    def write(self, path: str, text: str) -> Path:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)
        return self.root / path

    def summary(self, text: str) -> None:
        self.write("var/cache/puppet/public/last_run_summary.yaml", text)

    def check(self, *argv: str, after: float = 600, terminal: bool = False):
        clock = _At(self.at + after)
        argv = ("--state-dir", str(self.root / "kept"), *argv)
        return CHECK.run(argv, root=str(self.root), clock=clock, terminal=terminal)


class _At(Clock):
    def __init__(self, now: float) -> None:
        super().__init__()
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_host_that_is_well(host: Host) -> None:
    host.summary(UNCHANGED)
    outcome = host.check()
    assert outcome.state == OK
    assert outcome.reason.startswith("puppet had nothing to do in the run of 2026-11-21 11:53 UTC (daemon, pid 812)")
    assert "puppet_age=600s" in outcome.perfdata
    assert "puppet_intervals=0.33;2;12" in outcome.perfdata


@pytest.mark.parametrize(
    ("text", "after", "state", "said"),
    [
        (UNCHANGED, 3601, OK, ""),
        (UNCHANGED, 3700, WARNING, "puppet intervals 2.06"),
        (UNCHANGED, 22000, CRITICAL, "puppet intervals 12.2"),
        (FAILED, 600, CRITICAL, "puppet failed share 12.5 %"),
        (NOOP, 600, WARNING, "puppet last run: ran in noop: 1 resources are out of sync"),
        (FAILED.replace("total: 8", "total: 80"), 600, WARNING, "puppet failed 1"),
        (NO_CATALOGUE, 600, CRITICAL, "it got no catalogue"),
        ("<html>", 600, UNKNOWN, "it has neither a time nor a version section"),
        ("", 600, UNKNOWN, "it has neither a time nor a version section"),
    ],
)
def test_each_cause_reaches_the_first_line(host: Host, text: str, after: float, state: int, said: str) -> None:
    host.summary(text)
    outcome = host.check(after=after)
    assert outcome.state == state, outcome.text
    assert said in outcome.reason


def test_five_successive_runs_with_changes_and_one_without(host: Host) -> None:
    for run in range(1, 7):
        changed = run < 6
        text = UNCHANGED.replace("l: 0\n", "l: 1\n", 1) if changed else UNCHANGED
        host.summary(text.replace("last_run: 1795262030", f"last_run: {host.at + run}"))
        for _ in range(2):  # the same run seen twice counts once
            outcome = host.check(after=run + 1)
        assert f"puppet_changed_runs={run if changed else 0};4" in outcome.perfdata
        assert outcome.state == (WARNING if run == 5 else OK), outcome.text


def test_a_corrupt_count_is_begun_anew(host: Host) -> None:
    host.summary(UNCHANGED.replace("l: 0\n", "l: 1\n", 1))
    host.check()
    for path in (host.root / "kept").glob("*.json"):
        path.write_text(path.read_text().replace("[1795262030.0,1]", '["x"]').replace("[1795262030.0, 1]", '["x"]'))
    assert "puppet_changed_runs=1;4" in host.check().perfdata


def test_nothing_installed_is_absent(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    outcome = CHECK.run(["--state-dir", str(tmp_path / "kept")], root=str(tmp_path))
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    assert "no agent of configuration management is installed" in outcome.reason
    assert CHECK.run(["--absent-state", "ok", "--state-dir", str(tmp_path / "kept")], root=str(tmp_path)).state == OK


def test_an_agent_that_is_named_and_not_installed(host: Host) -> None:
    host.summary(UNCHANGED)
    outcome = host.check("--agent", "puppet", "--agent", "chef")
    assert outcome.state == UNKNOWN
    assert "chef: chef is not installed" in outcome.reason


def test_all_that_are_installed_are_looked_at_and_excluded_ones_are_not(host: Host) -> None:
    host.summary(UNCHANGED)
    host.write("usr/bin/cf-agent", "")
    outcome = host.check()
    assert (outcome.state, "cfengine has never run" in outcome.reason) == (CRITICAL, True)
    assert host.check("--exclude", "cfengine").state == OK


def test_a_cfengine_that_only_updates_its_policy_gets_worse_and_not_well(host: Host) -> None:
    update = "{0},{0}: Outcome of version CFEngine update.cf 3.21.0 (agent-0): Promises observed to be kept 100.00%, Promises repaired 0.00%, Promises not repaired 0.00%\n"
    host.write("var/cfengine/promise_summary.log", update.format(host.at - 4000) + update.format(host.at + 500))
    outcome = host.check("--agent", "cfengine", "--elsewhere")
    assert outcome.state == CRITICAL
    assert "cfengine intervals 15.3 is above 12" in outcome.reason
    assert "no run of promises.cf" in outcome.reason


def test_a_wrapper_in_cron_is_found_by_its_name(host: Host) -> None:
    host.summary(UNCHANGED)
    (host.root / "proc/812/cmdline").write_text("/usr/sbin/cron\0-f\0")
    host.write("etc/cron.d/conf", "*/30 * * * * root /usr/local/sbin/run-config\n")
    assert host.check().state == CRITICAL
    outcome = host.check("--wrapper", "run-config")
    assert outcome.state == OK
    assert "(/etc/cron.d/conf)" in outcome.reason


def test_ansible_as_such_is_no_agent(tmp_path: Path) -> None:
    """The program comes with every Ansible: that alone does not make this host pull."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/ansible-pull").write_text("")
    (tmp_path / "proc/1").mkdir(parents=True)
    argv = ["--state-dir", str(tmp_path / "kept")]
    assert CHECK.run(argv, root=str(tmp_path)).absent
    (tmp_path / "etc/cron.d").mkdir(parents=True)
    (tmp_path / "etc/cron.d/conf").write_text("0 * * * * root ansible-pull -U https://git.example.org/conf\n")
    outcome = CHECK.run(argv, root=str(tmp_path))
    assert "ansible-pull: no run has left a result" in outcome.text
    assert "/etc/cron.d/conf names it, but no cron daemon runs" in outcome.reason


@pytest.mark.parametrize(
    ("path", "mode", "said"),
    [
        ("var/cache/puppet/public/last_run_summary.yaml", 0o640, "Permission denied"),
        ("var/cache/puppet/state", 0o750, "membership of group puppet"),
        ("var/cache/puppet/public", 0o750, "Permission denied"),
        ("var/cache/puppet", 0o750, "needs the group of that directory, or another place for it"),
    ],
)
def test_what_may_not_be_seen_is_neither_well_nor_absent(tmp_path: Path, path: str, mode: int, said: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        root = Path(folder)
        root.chmod(0o755)
        host = Host(root)
        host.summary(UNCHANGED)
        import os

        if os.geteuid() != 0:
            mode = 0
        (root / path).chmod(mode)
        try:
            state, line = as_nobody(CHECK, ["--elsewhere"], root=folder, clock=_At(host.at + 600))
        finally:
            (root / path).chmod(0o755)
    assert state == UNKNOWN, line
    assert said in line


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--agent", "pupet"], "'pupet' is none of puppet"),
        (["--agent-dir", "/var/lib"], "is not NAME=PATH"),
        (["--result", "salt=relative"], "is not NAME=PATH"),
        (["--interval", "soon"], "is not a duration"),
    ],
)
def test_bad_options_are_refused(argv: list[str], said: str) -> None:
    outcome = CHECK.run(argv)
    assert outcome.state == UNKNOWN
    assert said in outcome.line


def test_garbage_for_every_agent_is_unknown(host: Host) -> None:
    places = {"cfengine": "var/cfengine/promise_summary.log", "chef": "var/chef/reports/chef-run-report-1.json",
              "salt": "var/log/salt/highstate.json", "ansible-pull": "var/log/ansible-pull.json"}  # fmt: skip
    for name, path in places.items():
        host.write(path, "{\0\xff")
        outcome = host.check("--agent", name, "--elsewhere")
        assert outcome.state == UNKNOWN, outcome.text
        assert outcome.items[0]["text"].startswith(name)
