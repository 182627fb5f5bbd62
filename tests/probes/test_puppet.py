# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import puppet
from nephoscope.probes.config_agent import Disabled, LastRun, Lock

# As Puppet 7.23 (Debian 12) wrote it after `puppet apply` with a file to make; the others are this with other numbers.
CHANGED = """---
version:
  config: 1795262029
  puppet: 7.23.0
application:
  run_mode: user
  initial_environment: production
  converged_environment: production
resources:
  changed: 1
  corrective_change: 0
  failed: 0
  failed_to_restart: 0
  out_of_sync: 1
  restarted: 0
  scheduled: 0
  skipped: 0
  total: 8
time:
  catalog_application: 0.006376595000006091
  config_retrieval: 0.057311994
  total: 0.006784765
  last_run: 1795262030
changes:
  total: 1
events:
  failure: 0
  success: 1
  total: 1
"""
UNCHANGED = (
    CHANGED.replace("changed: 1", "changed: 0").replace("out_of_sync: 1", "out_of_sync: 0").replace("l: 1\n", "l: 0\n")
)
FAILED = UNCHANGED.replace("  failed: 0", "  failed: 1").replace("failure: 0", "failure: 1")
# The same with --noop; a file that noop leaves alone beside one that is made.
NOOP = CHANGED.replace("changed: 1", "changed: 0").replace(
    "changes:\n  total: 1\nevents:\n  failure: 0\n  success: 1\n",
    "changes:\n  total: 0\nevents:\n  failure: 0\n  noop: 1\n  success: 0\n",
)
PARTLY = CHANGED.replace("out_of_sync: 1", "out_of_sync: 2").replace(
    "  success: 1\n  total: 1", "  noop: 1\n  success: 1\n  total: 2"
)
# Puppet 7.23, `puppet agent --onetime` when the server refused the connection: every count is there, and 0.
NO_CATALOGUE = UNCHANGED.replace("config: 1795262029", "config:").replace("total: 8", "total: 0")
# Puppet 3 to 5 in the same case: no counts at all.
OLD_FLAT = '---\nversion:\n  config: \n  puppet: "3.8.7"\ntime:\n  last_run: 0\n'
AT = datetime.fromtimestamp(1795262030, timezone.utc)

# The beginning and end of Puppet 7.23's last_run_report.yaml for a run from the cached catalogue, without a server.
REPORT = """--- !ruby/object:Puppet::Transaction::Report
host: lab
status: unchanged
logs:
- level: err
  message: Permission denied @ rb_sysopen - /proc/1/environ
  source: Facter
  tags:
  - err
- level: err
  message: |-
    Connection to https://127.0.0.1:9/puppet/v3 failed, trying next route: Request to https://127.0.0.1:9/puppet/v3 failed
    Wrapped exception:
    Failed to open TCP connection
  source: Puppet
  tags:
  - err
corrective_change: false
cached_catalog_status: on_failure
"""


@pytest.mark.parametrize(
    ("text", "run"),
    [
        (CHANGED, LastRun(AT, "changed", 0, 1, 1, 0.0, 0.006784765)),
        (UNCHANGED, LastRun(AT, "ok", 0, 0, 0, 0.0, 0.006784765)),
        (FAILED, LastRun(AT, "failed", 1, 0, 0, 12.5, 0.006784765)),
        (FAILED.replace("to_restart: 0", "to_restart: 1"), LastRun(AT, "failed", 2, 0, 0, 25.0, 0.006784765)),
        (NOOP, LastRun(AT, "ok", 0, 0, 1, 0.0, 0.006784765, "", "ran in noop: 1 resources are out of sync")),
        (
            PARTLY,
            LastRun(AT, "changed", 0, 1, 2, 0.0, 0.006784765, "", "did some of it in noop: 1 changes were left undone"),
        ),
        (NO_CATALOGUE, LastRun(AT, "aborted", seconds=0.006784765, reason="it got no catalogue")),
        (OLD_FLAT, LastRun(datetime.fromtimestamp(7, timezone.utc), "aborted", reason="it got no catalogue")),
    ],
)
def test_a_summary_says_what_the_run_came_to(text: str, run: LastRun) -> None:
    assert puppet.summary(text, 7.0) == run


@pytest.mark.parametrize(
    "text", ["", "\0\0\0", "<html>", "---\nresources:\n  total: 8\n", CHANGED.replace("total: 8", "total: x")]
)
def test_what_is_no_summary_is_not_understood(text: str) -> None:
    with pytest.raises(Failed) as caught:
        puppet.summary(text, 7.0)
    assert caught.value.kind == UNREADABLE


def test_two_levels_and_no_more_are_read_of_yaml() -> None:
    assert puppet.sections('a: !ruby/object:Evil {}\n  x: 1\n  y: "2"\nb:\n  - 1\n    z: 3\n') == {
        "a": {"x": "1", "y": "2"},
        "b": {},
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "var/cache/puppet/public").mkdir(parents=True)
    (tmp_path / "var/cache/puppet/state").mkdir()
    (tmp_path / "var/cache/puppet/public/last_run_summary.yaml").write_text(UNCHANGED)
    return tmp_path


def look(tree: Path):
    return puppet.look(Run(root=str(tree)), "", ())


def test_an_agent_that_is_well(tree: Path) -> None:
    found = look(tree)
    assert found.last == LastRun(AT, "ok", 0, 0, 0, 0.0, 0.006784765)
    assert (found.disabled, found.lock, found.interval) == (None, None, 1800.0)


def test_the_newest_of_two_summaries_counts(tree: Path) -> None:
    old = tree / "var/cache/puppet/state/last_run_summary.yaml"
    old.write_text(FAILED)  # Puppet 6 left it there, 7 writes elsewhere
    os.utime(old, (1, 1))
    assert look(tree).last.status == "ok"


def test_the_report_adds_reason_and_cached_catalogue(tree: Path) -> None:
    (tree / "var/cache/puppet/state/last_run_report.yaml").write_text(REPORT)
    assert look(tree).last.note == "it used the cached catalogue, because it got no new one"
    assert look(tree).last.reason == ""
    (tree / "var/cache/puppet/public/last_run_summary.yaml").write_text(NOOP)
    assert look(tree).last.note.startswith("ran in noop: 1 resources are out of sync; it used the cached catalogue")
    (tree / "var/cache/puppet/public/last_run_summary.yaml").write_text(NO_CATALOGUE)
    assert look(tree).last.reason == (
        "it got no catalogue: Request to https://127.0.0.1:9/puppet/v3 failed Wrapped exception: Failed to open TCP connection"
    )


def test_a_report_of_another_run_is_left_alone(tree: Path) -> None:
    report = tree / "var/cache/puppet/state/last_run_report.yaml"
    report.write_text(REPORT)
    os.utime(report, (1, 1))
    assert look(tree).last.note == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"disabled_message":"change 4711: kernel swap"}', "change 4711: kernel swap"),
        ('{"disabled_message":"say \\"why\\" | \\u00fc"}', 'say "why" | ü'),
        ("", ""),
    ],
)
def test_a_disabled_agent(tree: Path, text: str, reason: str) -> None:
    lock = tree / "var/cache/puppet/state/agent_disabled.lock"
    lock.write_text(text)
    os.utime(lock, (1795262030, 1795262030))
    assert look(tree).disabled == Disabled(AT, reason)


def test_a_lock_of_a_run_that_lives_of_one_that_does_not_and_of_another_program_with_its_pid(tree: Path) -> None:
    path = "/var/cache/puppet/state/agent_catalog_run.lock"
    lock = Path(str(tree) + path)
    lock.write_text("812")
    os.utime(lock, (1795262030, 1795262030))
    assert look(tree).lock == Lock(path, 812, False, AT)
    (tree / "proc/812").mkdir(parents=True)
    (tree / "proc/812/cmdline").write_text("/usr/bin/ruby\0/usr/bin/puppet\0agent\0")
    assert look(tree).lock == Lock(path, 812, True, AT)
    (tree / "proc/812/cmdline").write_text("sleep\0infinity\0")
    assert look(tree).lock == Lock(path, 812, False, AT)
    lock.write_text("garbage")
    assert look(tree).lock[1:3] == (0, False)
    lock.write_text("")  # made, and its pid not yet written
    assert look(tree).lock is None
    os.utime(lock, (1795262030, 1795262030))
    assert look(tree).lock == Lock(path, 0, False, AT)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("[main]\nruninterval = 1h\n", 3600),
        ("[main]\nruninterval=1h\n[agent]\n  runinterval = 900 # s\n", 900),
        ("[agent]\n#runinterval = 5\n", 1800),
        ("[agent]\nruninterval = soon\n", 1800),
    ],
)
def test_the_interval_is_that_of_puppet_conf(tree: Path, text: str, seconds: float) -> None:
    (tree / "etc/puppet").mkdir(parents=True)
    (tree / "etc/puppet/puppet.conf").write_text(text)
    assert look(tree).interval == seconds


@pytest.mark.parametrize(
    ("argv", "daemon"),
    [
        (["/usr/bin/ruby", "/usr/bin/puppet", "agent", "--no-daemonize"], True),
        (["puppet", "agent:", "applying", "configuration"], True),
        (["/opt/puppetlabs/puppet/bin/ruby", "/opt/puppetlabs/puppet/bin/puppet", "agent", "--test"], False),
        (["ruby", "/usr/bin/puppet", "agent", "--onetime", "--no-daemonize"], False),
        (["ruby", "/usr/bin/puppet", "apply", "site.pp"], False),
        (["vim", "/etc/puppet/puppet.conf"], False),
    ],
)
def test_a_daemon_is_told_from_a_single_run(argv: list[str], daemon: bool) -> None:
    assert puppet.is_daemon(argv) is daemon
