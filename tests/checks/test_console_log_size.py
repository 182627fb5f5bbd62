# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, Clock, Failed
from nephoscope.checks.node.check_console_log_size import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.console_log import NOVA, TRIED, Log, Store, Survey

MIB = 2**20
A, B = "7f3c1d2e-0000-4000-8000-00000000000a", "7f3c1d2e-0000-4000-8000-00000000000b"


def judged(*stores):
    return list(judge(Survey(stores, {}), CHECK.parse()))


def test_good():
    assert judged(Store(NOVA, 2, (Log(A, 3 * MIB, 10.0), Log(B, MIB, COLLECTING)), None)) == [
        Metric("size", 3 * MIB, A),
        Metric("growth_rate", 10.0, A),
        Metric("size", MIB, B),
        Metric("growth_rate", COLLECTING, B),
        Metric("total", 4 * MIB),
        Metric("over", 0),
        Finding(OK, "", f"2 console logs, {A} has the largest with 3 MiB"),
    ]


def test_an_empty_host():
    assert judged(Store(NOVA, 0, (), None)) == [Finding(OK, NOVA, "holds no instances")]


def test_instances_without_any_log_are_not_good_news():
    error = "3 instances and no console.log (serial console on TCP, or another place)"
    assert judged(Store(NOVA, 3, (), None)) == [Failed(ABSENT, NOVA, TRIED, error)]


def test_a_log_that_is_no_file_is_told_and_not_taken_for_small():
    store = Store(NOVA, 2, (Log(A, MIB, 0.0),), None, {"i-1": "a pipe"})
    failed = Failed(ABSENT, "i-1", TRIED, "its console.log is a pipe: nobody knows its size")
    assert judged(store)[0] == failed
    assert judged(Store(NOVA, 1, (), None, {"i-1": "a pipe"})) == [failed]
    error = "2 instances and no console.log (serial console on TCP, or another place)"
    assert judged(Store(NOVA, 2, (), None, {"i-1": "a pipe"})) == [Failed(ABSENT, NOVA, TRIED, error), failed]


def test_total_and_over_count_all_stores():
    stores = [Store(path, 1, (Log(A, 51 * MIB, 0.0),), None) for path in (NOVA, "/srv")]
    found = list(judge(Survey(stores, {}), CHECK.parse()))
    assert Metric("total", 102 * MIB) in found
    assert Metric("over", 2) in found
    assert Metric("over", 0) in list(judge(Survey(stores, {}), CHECK.parse("--large", "51MiB")))


def test_what_may_not_be_seen_stands_beside_what_is():
    hidden = Failed(NOT_ALLOWED, NOVA, TRIED, "1 of its directories may not be entered, i-1 for one", "cure")
    assert judged(Store(NOVA, 1, (Log(A, MIB, 0.0),), hidden))[0] == hidden
    assert judged(Store(NOVA, 0, (), hidden)) == [hidden]


def test_a_hung_store():
    failed = Failed(UNREACHABLE, NOVA, TRIED, "no answer in 5 s")
    assert judged(failed) == [failed]


@pytest.fixture
def root(tmp_path):
    (tmp_path / NOVA[1:] / A).mkdir(parents=True)
    (tmp_path / NOVA[1:] / B).mkdir(parents=True)
    return tmp_path


def run(root, a, b, shift=0.0):
    for name, size in ((A, a), (B, b)):
        with open(root / NOVA[1:] / name / "console.log", "ab") as file:
            file.truncate(size)
    return CHECK.run(["--state-dir", str(root / "state")], root=str(root), clock=Clock(shift=shift))


@pytest.mark.parametrize(
    ("size", "state"),
    [(1, OK), (100 * MIB, OK), (100 * MIB + 1, WARNING), (1024 * MIB, WARNING), (1024 * MIB + 1, CRITICAL)],
)
def test_size(root, size, state):
    outcome = run(root, 0, size)
    assert outcome.state == state, outcome.text
    assert f"size={size}B;104857600;1073741824" in outcome.perfdata
    if state:
        assert outcome.reason.startswith(B)


@pytest.mark.parametrize(("minute", "state"), [(9, OK), (11, WARNING), (99, WARNING), (101, CRITICAL)])
def test_growth_names_the_guest_before_its_log_is_large(root, minute, state):
    assert "growth collecting" in run(root, 0, 0).text
    outcome = run(root, 0, minute * 6 * MIB // 60, shift=6)
    outcome = run(root, 0, minute * MIB, shift=60)
    assert outcome.state == state, outcome.text
    if state:
        assert f"{B} growth" in outcome.reason


def many(root, number, size):
    for at in range(number):
        place = root / NOVA[1:] / f"i-{at:08x}"
        place.mkdir()
        with open(place / "console.log", "wb") as file:
            file.truncate(size)
    return run(root, 0, 0)


@pytest.mark.parametrize(
    ("number", "size", "state", "bad"),
    [
        (20, 90 * MIB, WARNING, ("total 1.76 GiB", "over 20")),
        (11, 51 * MIB, WARNING, ("over 11",)),
        (10, 51 * MIB, OK, ()),
        (30, 40 * MIB, WARNING, ("total 1.17 GiB",)),
        (110, 99 * MIB, CRITICAL, ("total 10.6 GiB",)),
        (100, MIB, OK, ()),
    ],
)
def test_many_logs_of_which_none_is_large_by_itself(root, number, size, state, bad):
    outcome = many(root, number, size)
    assert outcome.state == state, outcome.text
    assert all(text in outcome.line for text in bad), outcome.line
    assert f"total={number * size}B;1073741824;10737418240" in outcome.perfdata


def test_a_link_out_of_the_store_is_never_ok(root):
    (root / NOVA[1:] / A / "console.log").symlink_to("/etc/passwd")
    (root / NOVA[1:] / B / "console.log").touch()
    outcome = CHECK.run(["--state-dir", str(root / "state")], root=str(root))
    assert outcome.state == UNKNOWN
    assert f"{A}: its console.log is a link to /etc/passwd" in outcome.line
    (root / NOVA[1:] / B / "console.log").unlink()
    outcome = CHECK.run(["--state-dir", str(root / "state")], root=str(root))
    assert outcome.state == UNKNOWN
    assert "holds no instances" not in outcome.text


def test_neither_cloud_is_here(tmp_path):
    outcome = CHECK.run(["--state-dir", str(tmp_path / "state")], root=str(tmp_path))
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
