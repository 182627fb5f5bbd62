# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, UNREADABLE, Clock, Failed
from nephoscope.checks.node.check_interface import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.interface import Interface, Survey

from tests.probes.trees import GUEST, tree

RATES = {"rx": 1e6, "tx": 2e6, "errors": 0.0, "drops": 1.0, "error_share": 0.0}
ETH0 = Interface("eth0", speed=1000, duplex="full", changes=0.0, rx=5, tx=6, rates=RATES)
FAILED = Failed(UNREADABLE, "eth1", "read it", "not understood")


def judged(*ports, argv=(), others=0):
    return list(judge(Survey(ports, others), CHECK.parse(*argv)))


def rated(**rates):
    return ETH0._replace(rates={**RATES, **rates})


def test_all_modes_of_a_good_one():
    assert judged(ETH0, others=7) == [
        Metric("carrier_changes", 0.0, "eth0"),
        Metric("speed", 1000, "eth0"),
        Metric("mtu", 1500, "eth0"),
        Metric("errors_rate", 0.0, "eth0"),
        Metric("error_share", 0.0, "eth0"),
        Metric("drops_rate", 1.0, "eth0"),
        Metric("in", 5, "eth0"),
        Metric("out", 6, "eth0"),
        Metric("use", 1.6, "eth0"),
        Finding(OK, "", "1 looked at: eth0 1000 Mbit/s; not: 7 others"),
    ]


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("carrier", ["carrier_changes"]),
        ("speed", ["speed"]),
        ("mtu", ["mtu"]),
        ("errors", ["errors_rate", "error_share"]),
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


def test_an_alias_is_a_name():
    port = ETH0._replace(alias="storage", asked=True)
    found = judged(port, argv=("--expect", "storage=10G/9000"))
    assert [finding for finding in found if isinstance(finding, Finding)][:-1] == [
        Finding(CRITICAL, "eth0", "runs at 1000 Mbit/s, expected 10000"),
        Finding(CRITICAL, "eth0", "has MTU 1500, expected 9000"),
    ]


def test_one_that_nobody_switched_on_matters_where_it_was_asked_for():
    off = ETH0._replace(on=False, carrier=None)
    assert judged(off) == [Finding(UNKNOWN, "", "none is switched on: eth0")]
    assert (
        judged(off._replace(name="eth1"), ETH0)[-1].text
        == "1 looked at: eth0 1000 Mbit/s; not: 1 switched off, 0 others"
    )
    assert judged(off._replace(asked=True)) == [Finding(CRITICAL, "eth0", "is switched off")]


@pytest.mark.parametrize("mode", ["carrier", "speed", "use"])
def test_without_a_carrier_no_question_about_it_is_answered_well(mode):
    bad = [found for found in judged(ETH0._replace(carrier=False), argv=("--mode", mode)) if isinstance(found, Finding)]
    assert bad[0] == Finding(CRITICAL, "eth0", "has no carrier")


def test_a_missing_carrier_is_said_once():
    found = judged(ETH0._replace(carrier=False, speed=None))
    assert [thing.text for thing in found if isinstance(thing, Finding)][:-1] == ["has no carrier"]
    assert [thing.name for thing in found if isinstance(thing, Metric)] == [
        "carrier_changes", "mtu", "errors_rate", "error_share", "drops_rate",
    ]  # fmt: skip


def test_a_speed_that_is_not_told_matters_only_where_it_was_asked_for():
    port = ETH0._replace(speed=None)
    assert not [found for found in judged(port) if isinstance(found, Failed)]
    for mode in ("speed", "use"):
        (failed,) = [found for found in judged(port, argv=("--mode", mode)) if isinstance(found, Failed)]
        assert (failed.kind, failed.of) == (ABSENT, "eth0")


def test_an_expected_speed_counts_where_none_is_told():
    assert Metric("use", 16.0, "eth0") in judged(ETH0._replace(speed=None), argv=("--expect", "eth0=100M"))


def test_what_a_standby_drops_is_meant_to_be_dropped():
    assert judged(ETH0._replace(standby=True), argv=("--mode", "drops"))[:-1] == []


def test_use_is_that_of_the_fuller_direction():
    assert Metric("use", 80.0, "eth0") in judged(rated(rx=1e8, tx=0.0))
    assert Metric("use", COLLECTING, "eth0") in judged(rated(rx=COLLECTING))


@pytest.mark.parametrize(
    ("port", "argv", "state", "text"),
    [
        (ETH0, [], OK, "1 looked at: eth0 1000 Mbit/s"),
        (ETH0._replace(carrier=False), [], CRITICAL, "eth0 has no carrier"),
        (ETH0._replace(carrier=None), [], UNKNOWN, "eth0 does not tell whether it has a carrier"),
        (ETH0._replace(state="dormant"), [], CRITICAL, "eth0 has a carrier and is dormant"),
        (ETH0._replace(state="unknown"), [], OK, "eth0"),
        (ETH0._replace(changes=2.0), [], OK, "eth0"),
        (ETH0._replace(changes=3.0), [], WARNING, "eth0 carrier changes 3 is above 2"),
        (ETH0._replace(changes=None), [], OK, "eth0"),
        (ETH0._replace(duplex="half"), [], WARNING, "eth0 runs at half duplex"),
        (ETH0, ["-c", "speed/eth*=10000:"], CRITICAL, "eth0 speed 1000 is below 10000"),
        (ETH0, ["--expect", "eth0=10G"], CRITICAL, "eth0 runs at 1000 Mbit/s, expected 10000"),
        (ETH0, ["--expect", "eth0=100M"], OK, "eth0"),
        (ETH0, ["--expect", "eth0/9000"], CRITICAL, "eth0 has MTU 1500, expected 9000"),
        (ETH0, ["--expect", "eth0/1500"], OK, "eth0"),
        (rated(errors=0.2), [], WARNING, "eth0 errors 0.2/s is above 0.1/s"),
        (rated(errors=11.0), [], CRITICAL, "eth0 errors 11/s is above 10/s"),
        (rated(error_share=0.01), [], WARNING, "eth0 error share 0.01 % is above"),
        (rated(drops=51.0), [], WARNING, "eth0 drops 51/s is above 50/s"),
        (rated(rx=1.1e8), [], WARNING, "eth0 use 88 % is above 80 %"),
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
    assert (outcome.state, outcome.reason) == (OK, "1 looked at: eth0; not: 2 others")


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
