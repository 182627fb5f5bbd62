# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, UNREADABLE, Clock, Failed
from nephoscope.checks.node.check_interface import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.interface import Interface, Survey

from tests.probes.trees import GUEST, tree

RATES = {"in_rate": 1e6, "out_rate": 2e6, "errors_rate": 0.0, "drops_rate": 1.0, "error_share": 0.0}
VALUES = {"in": 5, "out": 6, "carrier_changes": 0.0, **RATES}
ETH0 = Interface("eth0", speed=1000, duplex="full", values=VALUES)
FAILED = Failed(UNREADABLE, "eth1", "read it", "not understood")


def judged(*ports, argv=(), others=0):
    return list(judge(Survey(ports, others), CHECK.parse(*argv)))


def rated(**values):
    return ETH0._replace(values={**VALUES, **values})


def test_all_modes_of_a_good_one():
    assert judged(ETH0, others=7) == [
        Metric("carrier_changes", 0.0, "eth0"),
        Metric("speed", 1000, "eth0"),
        Metric("mtu", 1500, "eth0"),
        Metric("in", 5, "eth0"),
        Metric("out", 6, "eth0"),
        Metric("error_share", 0.0, "eth0"),
        Metric("use", 1.6, "eth0"),
        Metric("errors_rate", 0.0, "eth0"),
        Metric("drops_rate", 1.0, "eth0"),
        Finding(OK, "", "1 looked at: eth0 1000 Mbit/s; not: 7 others"),
    ]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("carrier", ["carrier_changes"]),
        ("speed", ["speed"]),
        ("mtu", ["mtu"]),
        ("errors", ["error_share", "errors_rate"]),
        ("drops", ["drops_rate"]),
        ("use", ["in", "out", "use"]),
    ],
)
def test_each_mode_asks_its_own_question(mode, names):
    assert [found.name for found in judged(ETH0, argv=("--mode", mode)) if isinstance(found, Metric)] == names


def test_what_is_expected_and_not_there():
    assert judged(argv=("--expect", "eth7")) == [Finding(CRITICAL, "eth7", "does not exist")]
    assert Finding(CRITICAL, "eth7", "does not exist") in judged(ETH0, argv=("--expect", "eth7", "--expect", "eth0"))


def test_one_that_could_not_be_read_exists():
    assert judged(FAILED, argv=("--expect", "eth1")) == [FAILED]


def test_a_device_that_vanished_is_missed():
    survey = Survey((ETH0,), 0, None, {"eth1": 600.0})
    gone = Finding(WARNING, "eth1", "is gone, it was there 10 min ago")
    assert gone in list(judge(survey, CHECK.parse()))
    assert gone not in list(judge(survey, CHECK.parse("--mode", "use")))
    found = list(judge(survey, CHECK.parse("--expect", "eth1")))
    assert gone not in found and Finding(CRITICAL, "eth1", "does not exist") in found


def test_an_alias_is_a_name():
    port = ETH0._replace(alias="storage", asked=True)
    found = judged(port, argv=("--expect", "storage=10G/9000"))
    assert [finding for finding in found if isinstance(finding, Finding)][:-1] == [
        Finding(CRITICAL, "eth0", "runs at 1000 Mbit/s, expected 10000"),
        Finding(CRITICAL, "eth0", "has MTU 1500, expected 9000"),
    ]


def test_one_that_nobody_switched_on_matters_where_it_was_asked_for():
    off = ETH0._replace(on=False, link="")
    assert judged(off) == [Finding(UNKNOWN, "", "none is switched on: eth0")]
    assert (
        judged(off._replace(name="eth1"), ETH0)[-1].text
        == "1 looked at: eth0 1000 Mbit/s; not: 1 switched off, 0 others"
    )
    assert judged(off._replace(asked=True)) == [Finding(CRITICAL, "eth0", "is switched off")]


@pytest.mark.parametrize("mode", ["carrier", "speed", "use"])
def test_without_a_carrier_no_question_about_it_is_answered_well(mode):
    bad = [
        found for found in judged(ETH0._replace(link="no carrier"), argv=("--mode", mode)) if isinstance(found, Finding)
    ]
    assert bad[0] == Finding(CRITICAL, "eth0", "is not up: no carrier")


def test_a_missing_carrier_is_said_once():
    found = judged(ETH0._replace(link="no carrier", speed=None))
    assert [thing.text for thing in found if isinstance(thing, Finding)][:-1] == ["is not up: no carrier"]
    assert [thing.name for thing in found if isinstance(thing, Metric)] == [
        "carrier_changes", "mtu", "in", "out", "error_share", "errors_rate", "drops_rate",
    ]  # fmt: skip


def test_a_speed_that_is_not_told_matters_only_where_it_was_asked_for():
    port = ETH0._replace(speed=None)
    assert not [found for found in judged(port) if isinstance(found, Failed)]
    for mode in ("speed", "use"):
        (failed,) = [found for found in judged(port, argv=("--mode", mode)) if isinstance(found, Failed)]
        assert (failed.kind, failed.of) == (ABSENT, "eth0")


def test_an_expected_speed_counts_where_none_is_told():
    assert Metric("use", 16.0, "eth0") in judged(ETH0._replace(speed=None), argv=("--expect", "eth0=100M"))


def test_what_was_not_measured_is_not_told():
    values = {name: value for name, value in VALUES.items() if name not in ("drops_rate", "carrier_changes")}
    port = ETH0._replace(values=values)
    assert judged(port, argv=("--mode", "drops", "--mode", "carrier"))[:-1] == []


@pytest.mark.parametrize(
    ("port", "argv", "state", "text"),
    [
        (ETH0, [], OK, "1 looked at: eth0 1000 Mbit/s"),
        (ETH0._replace(link="no carrier"), [], CRITICAL, "eth0 is not up: no carrier"),
        (ETH0._replace(link=""), [], UNKNOWN, "eth0 is not up: link not told"),
        (ETH0._replace(link="dormant"), [], CRITICAL, "eth0 is not up: dormant"),
        (rated(carrier_changes=2.0), [], OK, "eth0"),
        (rated(carrier_changes=3.0), [], WARNING, "eth0 carrier changes 3 is above 2"),
        (ETH0._replace(duplex="half"), [], WARNING, "eth0 runs at half duplex"),
        (ETH0, ["-c", "speed/eth*=10000:"], CRITICAL, "eth0 speed 1000 is below 10000"),
        (ETH0, ["--expect", "eth0=10G"], CRITICAL, "eth0 runs at 1000 Mbit/s, expected 10000"),
        (ETH0, ["--expect", "eth0=100M"], OK, "eth0"),
        (ETH0, ["--expect", "eth0/9000"], CRITICAL, "eth0 has MTU 1500, expected 9000"),
        (ETH0, ["--expect", "eth0/1500"], OK, "eth0"),
        (rated(errors_rate=0.2), [], WARNING, "eth0 errors 0.2/s is above 0.1/s"),
        (rated(errors_rate=11.0), [], CRITICAL, "eth0 errors 11/s is above 10/s"),
        (rated(error_share=0.01), [], WARNING, "eth0 error share 0.01 % is above"),
        (rated(drops_rate=51.0), [], WARNING, "eth0 drops 51/s is above 50/s"),
        (rated(in_rate=1.1e8), [], WARNING, "eth0 use 88 % is above 80 %"),
        (rated(**dict.fromkeys(RATES, COLLECTING)), [], OK, "eth0"),
        (FAILED, [], UNKNOWN, "eth1: not understood"),
    ],
)  # fmt: skip
def test_the_limits(monkeypatch, tmp_path, port, argv, state, text):
    monkeypatch.setattr("nephoscope.probes.interface.survey", lambda run, expected: Survey((port,)))
    outcome = CHECK.run([*argv, "--state-dir", str(tmp_path / "state")])
    assert (outcome.state, text in outcome.reason) == (state, True), outcome.text


def test_the_recorded_guest(tmp_path):
    outcome = CHECK.run(["--state-dir", str(tmp_path)], root=GUEST)
    assert (outcome.state, outcome.reason) == (OK, "1 looked at: eth0; not: 2 others, rates collecting")


def test_two_runs_over_files(tmp_path):
    argv = ["--mode", "carrier", "--state-dir", str(tmp_path / "state")]
    root = tree(tmp_path, {"/sys/class/net/eth0/carrier_changes": "2\n"})
    assert CHECK.run(argv, root=root).state == OK
    tree(tmp_path, {"/sys/class/net/eth0/carrier_changes": "12\n"})
    outcome = CHECK.run(argv, root=root, clock=Clock(shift=600))
    assert outcome.line == ("INTERFACE WARNING - eth0 carrier changes 10 is above 2 | eth0_carrier_changes=10;2")


def test_nothing_matches(tmp_path):
    outcome = CHECK.run(["--include", "wlan*", "--state-dir", str(tmp_path)], root=GUEST)
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)


def test_a_wish_that_is_none():
    assert "is not NAME[=SPEED][/MTU]" in CHECK.run(["--expect", "eth0=fast"]).line
