# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import COLLECTING, Clock, child
from nephoscope.checks.node.check_service_unit import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.systemd import Boot, Host, Unit

from tests.probes import systemctl
from tests.probes.systemctl import FAILED, STOPPED

GOOD = Unit("a.service")
LEAD = Finding(OK, "", "1 required units looked at")
DOWN = GOOD._replace(active="inactive", sub="dead")


def judged(host, *argv):
    return list(judge(host, CHECK.parse(*argv)))


def required(unit):
    return judged(Host("running", required=[unit]), "--mode", "units", "--unit", "a")


def test_good():
    assert required(GOOD) == [LEAD]
    assert judged(Host("degraded"), "--mode", "failed") == [Metric("failed_units", 0)]


@pytest.mark.parametrize(
    ("unit", "state", "text"),
    [
        (DOWN, CRITICAL, "is inactive (dead)"),
        (
            GOOD._replace(active="failed", sub="failed", why="exit-code, status 1"),
            CRITICAL,
            "is failed (failed: exit-code, status 1)",
        ),
        (GOOD._replace(active="deactivating", sub="stop"), CRITICAL, "is deactivating (stop)"),
        (GOOD._replace(active="activating", sub="start"), WARNING, "is activating (start)"),
        (
            GOOD._replace(active="activating", sub="auto-restart", why="signal"),
            CRITICAL,
            "is activating (auto-restart: signal)",
        ),
        (GOOD._replace(active="maintenance", sub="x"), WARNING, "is maintenance (x)"),
        (GOOD._replace(active="pondering"), UNKNOWN, "is pondering (running)"),
        (DOWN._replace(load="masked"), CRITICAL, "is masked"),
        (DOWN._replace(load="not-found"), CRITICAL, "is not-found"),
        (DOWN._replace(load="masked", done=True), CRITICAL, "is masked"),
        (GOOD._replace(load="masked"), CRITICAL, "is active (running), masked"),
        (GOOD._replace(file="disabled"), WARNING, "is disabled: it will not start at the next boot"),
    ],
)
def test_a_required_unit_in_each_state(unit, state, text):
    assert required(unit) == [Finding(state, "a.service", text), LEAD]


@pytest.mark.parametrize(
    "unit",
    [
        DOWN._replace(waits_for=("a.timer",)),
        DOWN._replace(done=True),
        GOOD._replace(active="reloading", sub="reload"),
        GOOD._replace(file="disabled", wanted_by=("b.service",)),
        GOOD._replace(file="static"),
    ],
)
def test_a_required_unit_that_is_well(unit):
    assert required(unit) == [LEAD]


def test_failed_and_enabled_units_are_told_once():
    failed = GOOD._replace(name="b.service", active="failed", sub="failed", why="timeout")
    idle = DOWN._replace(name="c.service", wanted_by=("multi-user.target",))
    host = Host("degraded", failed=[failed], enabled=[idle])
    assert judged(host) == [
        Finding(WARNING, "b.service", "is failed (failed: timeout)"),
        Finding(WARNING, "c.service", "is enabled for multi-user.target and inactive"),
        Metric("failed_units", 1),
        Metric("idle_units", 1),
    ]
    assert judged(Host("running"), "--mode", "enabled") == [Metric("idle_units", 0)]
    both = judged(host._replace(required=[failed]))
    assert [thing.state for thing in both if isinstance(thing, Finding) and thing.of == "b.service"] == [CRITICAL]


def test_restarts():
    host = Host("running", restarted=[GOOD._replace(restarts=3), GOOD._replace(name="b.service", restarts=COLLECTING)])
    assert judged(host, "--mode", "restarts") == [
        Metric("restarts", 3, "a.service"),
        Metric("restarts", COLLECTING, "b.service"),
    ]


@pytest.mark.parametrize(
    ("boot", "text"),
    [
        (Boot(4000.0, False, "none"), ""),
        (Boot(100.0, False, "clean"), ""),
        (
            Boot(100.0, False, "none"),
            "this machine was booted anew, no shutdown is on record: crash, reset or power cut",
        ),
        (Boot(4000.0, True, "clean"), "this machine was booted anew after a shutdown"),
        (Boot(4000.0, True, ""), "this machine was booted anew"),
    ],
)
def test_boot(boot, text):
    found = [Finding(WARNING, "boot", text)] if text else []
    assert judged(Host(boot=boot), "--mode", "boot") == [Metric("uptime", boot.uptime), *found]


@pytest.mark.parametrize(
    ("state", "found"), [("starting", WARNING), ("stopping", WARNING), ("maintenance", CRITICAL), ("confused", UNKNOWN)]
)
def test_the_state_of_the_manager(state, found):
    assert judged(Host(state), "--mode", "failed")[0] == Finding(found, "systemd", f"is in state {state}")


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()

    def make(units, *argv, **words):
        path = units if isinstance(units, str) else systemctl.write(tmp_path / "bin", units)
        monkeypatch.setattr(child, "PATH", path)
        return CHECK.run(["--state-dir", str(tmp_path / "state"), *argv], **words)

    return make


def test_a_whole_run(run):
    outcome = run({"ssh.service": {}}, "--unit", "ssh", "-w", "uptime=")
    assert "1 required units looked at" in outcome.text
    outcome = run({"ssh.service": STOPPED, "bad.service": FAILED}, "--unit", "ssh")
    assert outcome.state == CRITICAL
    assert outcome.reason.startswith("ssh.service is inactive (dead), WARNING: bad.service is failed")
    assert "failed_units=1" in outcome.perfdata


def test_an_upgrade_that_restarts_a_daemon(run):
    argv = ["--mode", "restarts", "--unit", "tgt", "-w", "restarts=0"]
    assert run({"tgt.service": {}}, *argv).state == OK
    outcome = run({"tgt.service": {"InvocationID": "other"}}, *argv, clock=Clock(shift=600))
    assert (outcome.state, outcome.reason) == (WARNING, "tgt.service restarts 1 is above 0")


def test_a_systemd_that_counts_no_restarts_says_so(run):
    units = {"a.service": {"NRestarts": ""}, "b.service": {"NRestarts": ""}}
    outcome = run(units, "-w", "uptime=")
    assert outcome.state == OK
    assert "[OK] restarts are not counted by this systemd (235 and newer do)" in outcome.text
    outcome = run(units, "--mode", "restarts", "--mode", "failed")
    assert outcome.state == UNKNOWN
    assert "restarts: are not counted by this systemd" in outcome.line


def test_without_systemd_nothing_is_ok(run, tmp_path):
    message = "System has not been booted with systemd as init system (PID 1). Can't operate."
    outcome = run(systemctl.refuse(tmp_path / "bin", message))
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    assert message in outcome.line
    assert run(systemctl.refuse(tmp_path / "bin", message), "--mode", "boot", "-w", "uptime=1:").state == OK


def test_a_mode_that_needs_an_option(run):
    outcome = run({}, "--mode", "units")
    assert outcome.state == UNKNOWN
    assert "--mode units needs --unit" in outcome.line


def test_left_out_units_are_said(run):
    outcome = run({"bad.service": FAILED}, "--mode", "failed", "--exclude", "bad*")
    assert outcome.state == OK
    assert "left out by --include/--exclude: 1 (bad.service)" in outcome.text
