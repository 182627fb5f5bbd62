# SPDX-License-Identifier: Apache-2.0
"""Reports made after chef/chef lib/chef/run_status.rb (to_h) and lib/chef/handler/json_file.rb: Chef itself is in no archive here."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import chef
from nephoscope.probes.config_agent import LastRun, Lock

AT = datetime(2026, 11, 21, 10, 20, 50, tzinfo=timezone.utc)
GOOD = {
    "node": {"name": "lab", "chef_environment": "_default"},
    "success": True,
    "start_time": "2026-11-21 12:20:40 +0200",
    "end_time": "2026-11-21 12:20:50 +0200",
    "elapsed_time": 10.25,
    "all_resources": [{"json_class": "Chef::Resource::File"}] * 2,
    "updated_resources": [
        {"json_class": "Chef::Resource::File", "instance_vars": {"name": "/etc/motd", "updated": True}}
    ],
    "exception": None,
    "backtrace": None,
    "run_id": "0c6ad1ba-7b36-4b4d-b1a2-5b0f9a1b3c4d",
}
BAD = {
    **GOOD,
    "success": False,
    "updated_resources": None,
    "exception": "Mixlib::ShellOut::ShellCommandFailed: execute[/bin/false] had an error\n---- Begin output ----",
}


@pytest.mark.parametrize(
    ("document", "run"),
    [
        (GOOD, LastRun(AT, "changed", 0, 1, None, 0.0, 10.25)),
        ({**GOOD, "updated_resources": []}, LastRun(AT, "ok", 0, 0, None, 0.0, 10.25)),
        (
            BAD,
            LastRun(
                AT,
                "aborted",
                seconds=10.25,
                reason="Mixlib::ShellOut::ShellCommandFailed: execute[/bin/false] had an error",
            ),
        ),
        ({**GOOD, "end_time": "2026-11-21 10:20:50 UTC"}, LastRun(AT, "changed", 0, 1, None, 0.0, 10.25)),
        ({"success": True, "end_time": ""}, LastRun(datetime.fromtimestamp(7, timezone.utc), "ok", 0, None, None, 0.0)),
    ],
)
def test_a_report_says_what_the_run_came_to(document: object, run: LastRun) -> None:
    assert chef.report(document, 7.0) == run


@pytest.mark.parametrize("document", [None, [], {}, {"success": "yes"}])
def test_what_is_no_report_is_not_understood(document: object) -> None:
    with pytest.raises(Failed) as caught:
        chef.report(document, 7.0)
    assert caught.value.kind == UNREADABLE


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "var/chef/reports").mkdir(parents=True)
    (tmp_path / "var/chef/cache").mkdir()
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/locks").write_text("")
    for stamp, document in (("20261120100000", BAD), ("20261121122050", GOOD)):
        (tmp_path / f"var/chef/reports/chef-run-report-{stamp}.json").write_text(json.dumps(document))
        os.utime(tmp_path / f"var/chef/reports/chef-run-report-{stamp}.json", (int(stamp[6:8]) * 1000,) * 2)
    return tmp_path


def look(tree: Path):
    return chef.look(Run(root=str(tree)), "", ())


def test_the_newest_report_counts_and_a_newer_failure_in_the_cache(tree: Path) -> None:
    assert look(tree).last == LastRun(AT, "changed", 0, 1, None, 0.0, 10.25)
    (tree / "var/chef/cache/failed-run-data.json").write_text(json.dumps(BAD))
    assert look(tree).last.status == "aborted"


def test_without_a_handler_there_is_no_result(tmp_path: Path) -> None:
    failed = look(tmp_path).last
    assert (failed.kind, failed.error) == (UNREADABLE, "no run has left a report")
    assert "exception_handlers" in failed.cure


def test_a_report_that_is_cut_off_is_not_understood(tree: Path) -> None:
    (tree / "var/chef/reports/chef-run-report-20261122000000.json").write_text('{"success": tr')
    assert look(tree).last.kind == UNREADABLE


def test_a_dead_pid_in_the_lock_is_the_rule_and_a_held_lock_is_a_run(tree: Path) -> None:
    path = tree / "var/chef/cache/chef-client-running.pid"
    path.write_text("812")
    os.utime(path, (AT.timestamp(), AT.timestamp()))
    assert look(tree).lock is None
    # A line of proc(5).
    (tree / "proc/locks").write_text(f"1: FLOCK  ADVISORY  WRITE 813 08:01:{path.stat().st_ino} 0 EOF\n")
    assert look(tree).lock == Lock("/var/chef/cache/chef-client-running.pid", 813, True, AT)


def test_the_interval_is_that_of_client_rb(tree: Path) -> None:
    assert look(tree).interval == 1800
    (tree / "etc/chef").mkdir(parents=True)
    (tree / "etc/chef/client.rb").write_text("chef_server_url 'https://x'\ninterval 900\n")
    assert look(tree).interval == 900


@pytest.mark.parametrize(
    ("argv", "daemon"),
    [
        (["/opt/chef/bin/ruby", "/usr/bin/chef-client", "-d", "-P", "/run/chef.pid"], True),
        (["/usr/bin/chef-client", "-i", "1800"], True),
        (["chef-client", "worker:", "ppid=1"], False),
        (["chef-client", "--once"], False),
    ],
)
def test_a_daemon_is_told_from_a_single_run(argv: list[str], daemon: bool) -> None:
    assert chef.is_daemon(argv) is daemon
