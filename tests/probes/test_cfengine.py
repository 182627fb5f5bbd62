# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import cfengine
from nephoscope.probes.config_agent import LastRun

AT = datetime.fromtimestamp(1795262230, timezone.utc)


def line(kept: str, repaired: str, missed: str, version: str = "(not specified)", at: int = 1795262230) -> str:
    """A line as cf-agent 3.21.0 (Debian 12) writes it."""
    return (
        f"{at},{at}: Outcome of version {version} (agent-0): Promises observed to be kept {kept}%, "
        f"Promises repaired {repaired}%, Promises not repaired {missed}%\n"
    )


KEPT = line("100.00", "0.00", "0.00")
REPAIRED = line("0.00", "100.00", "0.00")
MISSED = line("97.44", "0.00", "2.56")
# The wording of Enterprise, from its documentation.
ENTERPRISE = (
    "1795262200,1795262230: Total promise compliance: 98% kept, 1% repaired, 1% not kept (out of 50 events). User …\n"
)
EMPTY = "1795262230,1795262230: Outcome of version lab (agent-0): No checks were scheduled\n"
FAILED = "2.56 % of the promises were not repaired"


@pytest.mark.parametrize(
    ("text", "run"),
    [
        (KEPT, LastRun(AT, "ok", share=0.0, seconds=0.0)),
        (REPAIRED, LastRun(AT, "changed", share=0.0, seconds=0.0)),
        (MISSED, LastRun(AT, "failed", share=2.56, seconds=0.0, reason=FAILED)),
        (MISSED + KEPT, LastRun(AT, "ok", share=0.0, seconds=0.0)),
        ("half a li\n" + KEPT + "179526", LastRun(AT, "ok", share=0.0, seconds=0.0)),
        (ENTERPRISE, LastRun(AT, "failed", share=1.0, seconds=30.0, reason="1 % of the promises were not repaired")),
        (EMPTY, LastRun(AT, "empty", seconds=0.0, reason="no promise was looked at")),
        (
            line("100.00", "0.00", "0.00", "x (agent-0): Promises observed to be kept 1.00%"),
            LastRun(AT, "ok", share=0.0, seconds=0.0),
        ),
    ],
)
def test_the_last_line_says_what_the_run_came_to(text: str, run: LastRun) -> None:
    assert cfengine.outcome(text) == run


def test_the_policy_counts_and_a_failed_update_is_not_hidden_by_it() -> None:
    update = line("50.00", "0.00", "50.00", "CFEngine update.cf 3.21.0")
    policy = line("100.00", "0.00", "0.00", "CFEngine Promises.cf 3.21.0")
    for text in (update + policy, policy + update):
        found = cfengine.outcome(text)
        assert (found.status, found.share) == ("ok", 0.0)
        assert found.note == "its policy update failed: 50 % of the promises were not repaired"
    old = line("50.00", "0.00", "50.00", "CFEngine update.cf 3.21.0", at=1795260000)
    assert cfengine.outcome(old + policy).note == ""


def test_updates_alone_are_no_run_of_the_policy() -> None:
    """The last run of promises.cf has scrolled out of what is read of the log: it is older than all that is on record."""
    first = line("100.00", "0.00", "0.00", "CFEngine update.cf 3.21.0", at=1795260000)
    reason = "since then only policy updates are on record, and no run of promises.cf"
    expected = LastRun(datetime.fromtimestamp(1795260000, timezone.utc), "empty", reason=reason)
    assert cfengine.outcome(first + line("100.00", "0.00", "0.00", "CFEngine update.cf 3.21.0")) == expected
    failed = line("50.00", "0.00", "50.00", "CFEngine update.cf 3.21.0")
    note = "its policy update failed: 50 % of the promises were not repaired"
    assert cfengine.outcome(first + failed) == expected._replace(note=note)
    assert cfengine.outcome(line("0.00", "0.00", "100.00", "x Promises.cf", at=1) + first).status == "failed"


def test_a_run_without_a_version_after_runs_with_one_is_the_failsafe_policy() -> None:
    policy = line("100.00", "0.00", "0.00", "CFEngine Promises.cf 3.21.0")
    failsafe = line("80.77", "0.00", "19.23")  # as cf-agent 3.21.0 left it after a syntax error in its policy
    assert cfengine.outcome(policy + failsafe).status == "aborted"
    assert "failsafe" in cfengine.outcome(policy + KEPT).note
    assert cfengine.outcome(KEPT + failsafe).status == "failed"
    assert cfengine.outcome(policy + failsafe + policy) == LastRun(AT, "ok", share=0.0, seconds=0.0)


@pytest.mark.parametrize("text", ["", "\0\x01", "1795262230,1795262230: something else\n"])
def test_what_is_no_summary_is_not_understood(text: str) -> None:
    with pytest.raises(Failed) as caught:
        cfengine.outcome(text)
    assert caught.value.kind == UNREADABLE


def test_what_cf_execd_kept_of_the_newest_run_is_read_and_that_of_an_older_one_not(tmp_path: Path) -> None:
    outputs = tmp_path / "var/lib/cfengine3/outputs"
    outputs.mkdir(parents=True)
    (tmp_path / "var/lib/cfengine3/promise_summary.log").write_text(MISSED)
    kept = outputs / "previous"
    kept.write_text("   error: Finished command related to promiser '/bin/false' -- an error occurred, returned 1\n")
    run = Run(root=str(tmp_path))
    found = cfengine.look(run, "", ())
    assert found.interval == 300
    assert (
        found.last.reason
        == f"{FAILED}: Finished command related to promiser '/bin/false' -- an error occurred, returned 1"
    )
    kept.write_text("R: Built-in failsafe policy triggered\n")
    assert cfengine.look(run, "", ()).last.status == "aborted"
    os.utime(kept, (1795260000, 1795260000))
    assert cfengine.look(run, "", ()).last.status == "failed"


def test_no_summary_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "var/lib/cfengine3").mkdir(parents=True)
    assert cfengine.look(Run(root=str(tmp_path)), "", ()).last is None


def test_only_cf_execd_is_a_daemon_and_once_is_none() -> None:
    assert cfengine.is_daemon(["/usr/bin/cf-execd", "--no-fork"])
    assert not cfengine.is_daemon(["cf-execd", "--once"])
    assert not cfengine.is_daemon(["/usr/bin/cf-serverd"])
    assert cfengine.starts(["root", "cf-execd", "-O"])
    assert not cfengine.starts(["cf-execd"])
