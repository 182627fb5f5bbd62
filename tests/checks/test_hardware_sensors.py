# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, Clock, Failed
from nephoscope.base.samples import History, Sample
from nephoscope.checks.node.check_hardware_sensors import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.edac import Memory
from nephoscope.probes.hardware import Hardware, missing, recent
from nephoscope.probes.ipmi import Event
from nephoscope.probes.parts import Part

from tests.probes import hardware_trees as trees
from tests.simulators.redfish import CHASSIS, SYSTEM, Bmc

TEMP = Part("ipmi", "CPU Temp", "temperature", "ok", "", 45.0, "C", 3.0, 5.0, 85.0, 90.0)
SUMMARY = "looked at 1 parts"


def judged(*parts, argv=(), **facts):
    found = Hardware(parts=parts, summary=SUMMARY, alive=True)._replace(**facts)
    return list(judge(found, CHECK.parse(*argv)))


def test_good():
    assert judged(TEMP) == [Metric("temp_celsius", 45.0, "ipmi CPU Temp"), Finding(OK, "", SUMMARY)]


@pytest.mark.parametrize(
    ("part", "state", "text"),
    [
        (TEMP._replace(value=85.0), WARNING, "85 C has reached its own upper limit 85"),
        (TEMP._replace(value=90.5), CRITICAL, "90.5 C has reached its own upper limit 90"),
        (TEMP._replace(value=3.0), CRITICAL, "3 C has reached its own lower limit 3"),
        (Part("ipmi", "CPU Temp", "x", "degraded", "Predictive Failure"), WARNING, "Predictive Failure"),
        (
            Part("ipmi", "CPU Temp", "x", "failed", "Power Supply Failure detected"),
            CRITICAL,
            "Power Supply Failure detected",
        ),
        (Part("ipmi", "CPU Temp", "x", "unknown", "state 'Weird'"), UNKNOWN, "state 'Weird'"),
        (Part("ipmi", "CPU Temp", "x", "failed"), CRITICAL, "failed"),
    ],
)
def test_each_health(part, state, text):
    assert [thing for thing in judged(part) if isinstance(thing, Finding)] == [
        Finding(state, "ipmi CPU Temp", text),
        Finding(OK, "", SUMMARY),
    ]


@pytest.mark.parametrize("health", ["ok", "absent", ""])
def test_what_is_absent_or_without_opinion_is_no_finding(health):
    assert judged(Part("ipmi", "OEM", "oem", health)) == [Finding(OK, "", SUMMARY)]


def test_memory():
    history = History(Sample("b", 1000.0, {"mc0 A1": 30.0}), (Sample("b", 100.0, {"mc0 A1": 5.0}),), 86400.0)
    assert judged(memory=[Memory("mc0 A1", 30, 1)], corrected=history) == [
        Metric("ecc_ue", 1, "mc0 A1"),
        Metric("ecc_ce", 30, "mc0 A1"),
        Metric("ecc_ce_day", 25.0, "mc0 A1"),
        Finding(OK, "", SUMMARY),
    ]
    first = judged(memory=[Memory("mc0 A1", 30, 0)], corrected=history._replace(older=()))
    assert Metric("ecc_ce_day", COLLECTING, "mc0 A1") in first


def test_failures_and_signs_and_the_log_are_told():
    failed = Failed(UNREACHABLE, "ipmi bmc", "run x", "connection timeout")
    assert judged(failures=[failed], summary="") == [failed]
    sign = Part("ipmi", "log", "event", "failed", "PS1: Power Supply Failure detected (Nov-20-2026 10:11:12)")
    assert judged(signs=[sign], log_used=91.0) == [
        Finding(CRITICAL, "ipmi log", "PS1: Power Supply Failure detected (Nov-20-2026 10:11:12)"),
        Metric("log_used", 91.0),
        Finding(OK, "", SUMMARY),
    ]


def test_a_machine_without_any_reading_is_not_healthy():
    assert judged(Part("ipmi", "CPU", "t", "absent"), alive=False, summary="none") == [Finding(UNKNOWN, "", "none")]


def test_what_vanished_is_missed_until_it_is_forgotten():
    before = {"ipmi CPU Temp": 940.0, "ipmi FAN1": 400.0, "ipmi old": 0.0, "redfish PS1": 900.0, "hwmon x": "bad"}
    gone, kept = missing([TEMP], before, {"ipmi"}, 1000.0, 700.0)
    assert [(part.of, part.health, part.text) for part in gone] == [
        ("ipmi FAN1", "degraded", "is missing, it was there 10 min ago")
    ]
    assert kept == {"ipmi CPU Temp": 1000.0, "ipmi FAN1": 400.0, "redfish PS1": 900.0}, "a silent source misses nothing"
    assert missing([TEMP._replace(health="absent")], None, {"ipmi"}, 1.0, 1.0) == ([], {})


def test_events_count_for_one_period_from_when_they_were_first_seen():
    old = Event("1 PostInit PostInit", "PostInit PostInit", "failed", "PS1: Failure")
    dated = Event("2 Nov-20-2026 10:11:12", "Nov-20-2026 10:11:12", "failed", "PS1: Failure")
    noon = 1795176000.0  # 2026-11-20 12:00 UTC
    fresh, seen = recent([old, dated], None, noon, 7200.0)
    assert fresh == [dated], "an event without a date was there before the first run"
    new = Event("3 PostInit PostInit", "PostInit PostInit", "degraded", "FAN1")
    fresh, seen = recent([old, dated, new], seen, noon + 600, 7200.0)
    assert fresh == [dated, new]
    fresh, seen = recent([old, dated, new], seen, noon + 7300, 7200.0)
    assert fresh == [new]
    assert recent([], seen, noon + 7400, 7200.0) == ([], {}), "cleared by hand"
    assert recent([new._replace(text="another")], seen, noon + 7400, 7200.0)[0], "cleared, and used again"


def test_the_second_run_moves_no_value_to_another_place(tmp_path):
    root = trees.hwmon(tmp_path / "root")
    trees.edac(tmp_path / "root")
    first, second = (
        [
            item.partition("=")[0]
            for item in CHECK.run(["--state-dir", str(tmp_path / "s")], root=root, clock=clock).perfdata
        ]
        for clock in (Clock(), Clock(7200))
    )
    assert second == [*first, "ecc_ce_day", "ecc_ce_day_sum"]


def test_the_machine_of_the_trees(tmp_path):
    root = trees.hwmon(tmp_path / "root")
    trees.edac(tmp_path / "root")
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state")], root=root)
    assert outcome.state == OK
    assert outcome.reason.startswith("looked at 11 parts and 4 memory modules' counters; not here: ipmi")
    assert any(
        item.startswith("hwmon_coretemp_0_Package_id_0-") and item.endswith("_temp_celsius=46")
        for item in outcome.perfdata
    )
    assert any(item.startswith("ecc_ue=0;;0") for item in outcome.perfdata)


def test_a_hot_machine_and_limits_of_ones_own(tmp_path):
    root = trees.hwmon(tmp_path / "root", {"hwmon0/temp1_input": 97000})
    argv = ["--mode", "hwmon", "--state-dir", str(tmp_path / "state")]
    outcome = CHECK.run(argv, root=root)
    assert outcome.state == CRITICAL
    assert outcome.reason.startswith("hwmon coretemp.0 Package id 0 97 C has reached its own upper limit 96")
    assert CHECK.run([*argv, "--exclude", "*Package id 0"], root=root).state == OK
    trees.hwmon(tmp_path / "root", {"hwmon0/temp1_input": 60000})
    assert CHECK.run([*argv, "-w", "55"], root=root).state == WARNING
    assert CHECK.run([*argv, "-w", "temp_celsius/*Core*=55"], root=root).state == OK


def test_memory_errors_over_two_runs(tmp_path):
    root = trees.edac(tmp_path / "root")
    argv = ["--mode", "edac", "--state-dir", str(tmp_path / "state")]
    assert CHECK.run(argv, root=root).state == OK
    trees.edac(tmp_path / "root", {"mc0/dimm1/dimm_ce_count": 25, "mc0/ce_count": 25})
    outcome = CHECK.run(argv, root=root, clock=Clock(shift=600))
    assert outcome.state == WARNING
    assert "mc0 CPU0_DIMM_B1 ecc ce day 25 is above 24" in outcome.reason
    trees.edac(tmp_path / "root", {"mc1/dimm0/dimm_ue_count": 1, "mc1/ue_count": 1})
    outcome = CHECK.run(argv, root=root, clock=Clock(shift=700))
    assert outcome.state == CRITICAL
    assert outcome.reason.startswith("mc1 CPU1_DIMM_A1 ecc ue 1 is above 0")


def test_a_sensor_that_vanishes_between_two_runs(tmp_path):
    root = trees.hwmon(tmp_path / "root")
    argv = ["--mode", "hwmon", "--state-dir", str(tmp_path / "state")]
    assert CHECK.run(argv, root=root).state == OK
    (tmp_path / "root/sys/class/hwmon/hwmon3/fan2_input").unlink()
    for minutes in (10, 20):
        outcome = CHECK.run(argv, root=root, clock=Clock(shift=60 * minutes))
        assert outcome.state == WARNING
        assert f"hwmon nct6779 nct6775.656 fan2 is missing, it was there {minutes} min ago" in outcome.reason
    assert CHECK.run(argv, root=root, clock=Clock(shift=8 * 86400)).state == OK


def test_nothing_here_is_not_ok(tmp_path):
    outcome = CHECK.run(["--state-dir", str(tmp_path)], root=str(tmp_path / "empty"))
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    assert "no source of hardware health" in outcome.reason
    for mode in ("hwmon", "edac", "ipmi"):
        outcome = CHECK.run(["--mode", mode, "--state-dir", str(tmp_path)], root=str(tmp_path / "empty"))
        assert (outcome.state, outcome.absent) == (UNKNOWN, True), mode
    root = trees.hwmon(tmp_path / "root")
    asked = CHECK.run(["--mode", "hwmon", "--mode", "edac", "--state-dir", str(tmp_path)], root=root)
    assert asked.state == UNKNOWN, "EDAC was asked for by name"


def test_what_may_be_asked_from_where(tmp_path):
    for argv, text in (
        (["-H", "bmc"], "with -H, --mode must be ipmi or redfish"),
        (["-H", "bmc", "--mode", "hwmon"], "with -H, --mode must be ipmi or redfish"),
        (["--mode", "redfish"], "without -H, --mode must be hwmon or edac or ipmi"),
        (["-H", "bmc", "--mode", "ipmi", "--password", "x"], "never taken from the command line"),
    ):
        outcome = CHECK.run([*argv, "--state-dir", str(tmp_path)])
        assert outcome.state == UNKNOWN
        assert text in outcome.line


@pytest.fixture
def bmc(monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")
    with Bmc() as simulated:
        yield simulated


def test_redfish_from_afar(bmc, tmp_path):
    argv = [
        "-H",
        "127.0.0.1",
        "-p",
        str(bmc.port),
        "--plain",
        "--mode",
        "redfish",
        "--user",
        "nagios",
        "--state-dir",
        str(tmp_path),
    ]
    outcome = CHECK.run(argv)
    assert (outcome.state, outcome.reason) == (OK, "looked at 23 parts")
    assert any(item.startswith("redfish_Inlet_Temp") and item.endswith("_temp_celsius=23") for item in outcome.perfdata)
    assert "secret" not in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())

    supplies = bmc.tree[f"{CHASSIS}/Power"]["PowerSupplies"]
    supplies[1]["Status"] = {"State": "Enabled", "Health": "Critical"}
    outcome = CHECK.run(argv)
    assert (outcome.state, outcome.reason) == (CRITICAL, "redfish PS2 health Critical")

    supplies.pop()
    outcome = CHECK.run(argv)
    assert outcome.state == WARNING
    assert outcome.reason.startswith("redfish PS2 is missing")

    bmc.tree[f"{SYSTEM}/Storage/RAID/Drives/0"]["PredictedMediaLifeLeftPercent"] = 9
    assert CHECK.run(argv).state == CRITICAL
    assert CHECK.run([*argv, "--user", "nobody"]).state == UNKNOWN
    bmc.faults["/redfish/v1/"] = 503
    assert CHECK.run(argv).state == CRITICAL
    assert CHECK.run([*argv, "--unreachable-state", "warning"]).state == WARNING


def test_a_source_that_fails_does_not_hide_the_others(tmp_path, monkeypatch):
    root = trees.hwmon(tmp_path / "root", {"hwmon0/temp1_input": 97000})
    (tmp_path / "root/dev").mkdir()
    (tmp_path / "root/dev/ipmi0").write_text("")

    def refuse(*_):
        raise Failed(NOT_ALLOWED, "ipmi", "run ipmi-sensors", "sudo: a password is required", "its sudoers line")

    from nephoscope.probes import ipmi

    monkeypatch.setattr(ipmi, "sensors", refuse)
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state")], root=root)
    assert outcome.state == CRITICAL
    assert "ipmi: sudo: a password is required" in outcome.text
    trees.hwmon(tmp_path / "root")
    assert CHECK.run(["--state-dir", str(tmp_path / "state")], root=root).state == UNKNOWN


def test_a_sensor_that_hangs_is_given_up(tmp_path):
    import os
    import time

    root = trees.hwmon(tmp_path / "root")
    path = tmp_path / "root/sys/class/hwmon/hwmon2/temp1_input"
    path.unlink()
    os.mkfifo(path)  # opening it for reading waits for a writer, for ever
    begun = time.monotonic()
    outcome = CHECK.run(["--mode", "hwmon", "-t", "3", "--state-dir", str(tmp_path / "state")], root=root)
    assert outcome.state == CRITICAL
    assert "hwmon: no answer in" in outcome.reason
    assert time.monotonic() - begun < 3.5
