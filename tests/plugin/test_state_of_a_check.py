# SPDX-License-Identifier: Apache-2.0
"""What a check keeps between runs, through the frame."""

import fcntl
import json
import os
from pathlib import Path

import pytest
from nephoscope.base import Clock, samples
from nephoscope.base.state import Store
from nephoscope.plugin import Finding, Metric

from tests.plugin.sample import make


def options(add):
    add("--path", default="/tmp", help="what to look at")
    add("--lines", type=int, default=5, looks=False, help="how much to show")


def counting(**words):
    """A check that counts its own runs."""
    return make(
        options=options,
        probe=lambda values, run: [Finding(0, "", f"run {(run.before or 0) + 1}"), Metric("used", 1)],
        keep=lambda facts: int(facts[0].text.split()[1]),
        **words,
    )


@pytest.fixture
def there(tmp_path):
    return ["--state-dir", str(tmp_path / "state")]


def test_what_is_kept_is_the_next_runs_before(there):
    assert [counting().run(there).reason for _ in range(3)] == ["run 1", "run 2", "run 3"]


def test_the_key_is_what_is_looked_at_and_nothing_else(there):
    run = counting().run
    run(there)
    same = [["-w", "50"], ["-v"], ["--format", "nagios"], ["--lines", "9"], ["-t", "5"], ["--explain"]]
    assert [run([*there, *argv]).reason for argv in same] == [f"run {number}" for number in range(2, 8)]
    other = [["--path", "/var"], ["--exclude", "x"], ["--exclude", "y"], ["--state-id", "b"]]
    assert [run([*there, *argv]).reason for argv in other] == ["run 1"] * 4


def test_files_are_closed_to_others(there):
    counting().run(there)
    assert os.stat(there[1]).st_mode & 0o777 == 0o700
    assert {entry.stat().st_mode & 0o777 for entry in os.scandir(there[1])} == {0o600}


def test_a_hand_run_reads_and_does_not_write(there):
    counting().run(there)
    outcome = counting().run(there, terminal=True)
    assert outcome.reason == "run 2"
    assert "note: run on a terminal" in outcome.text
    assert counting().run(there).reason == "run 2"
    assert counting().run([*there, "--save"], terminal=True).reason == "run 3"
    assert counting().run(there).reason == "run 4"


def acknowledging():
    def more(add):
        options(add)
        add("--ack", help="acknowledge", looks=False, saves=True)

    return make(
        options=more,
        probe=lambda values, run: [Finding(0, "", f"run {(run.before or 0) + 1}"), Metric("used", 1)],
        keep=lambda facts: int(facts[0].text.split()[1]),
    )


def test_an_option_that_saves_writes_by_hand_too(there):
    """--ack of a fault: what an operator says on a terminal is what the scheduler's next run must know."""
    run = acknowledging().run
    assert run(there).reason == "run 1"
    assert run([*there, "--ack", "1008"], terminal=True).reason == "run 2"
    assert run(there, terminal=True).reason == "run 3"
    assert run(there).reason == "run 3"


def test_an_option_that_saves_and_could_not_is_no_note(there, monkeypatch):
    """An operator who acknowledges a fault must not read OK and go home when it was not written down."""
    run = acknowledging().run
    run(there)
    short = [*there, "-t", "1.5"]
    with open(state_file(there)[:-5] + ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = "another run of this check holds the state: read, not written"
        outcome = run([*short, "--ack", "1008"])
        assert (outcome.state, outcome.reason) == (3, f"{held}; try again")
        outcome = run(short)
        assert (outcome.state, outcome.reason, f"note: {held}\n" in f"{outcome.text}\n") == (0, "run 2", True)
    monkeypatch.setattr(Store, "owned", lambda store: False)
    foreign = f"state in {there[1]} belongs to another user: read, not written"
    outcome = run([*there, "--ack", "1008"])
    assert (outcome.state, outcome.reason) == (3, f"{foreign}; run as its owner or give --state-dir")
    outcome = run(there)
    assert (outcome.state, outcome.reason, f"note: {foreign}\n" in f"{outcome.text}\n") == (0, "run 2", True)


def test_a_hand_run_makes_no_directory(there):
    assert counting().run(there, terminal=True).state == 0
    assert not os.path.exists(there[1])


def state_file(there):
    return next(entry.path for entry in os.scandir(there[1]) if entry.name.endswith(".json"))


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe garbage",
        b"[]",
        b'{"format": 1}',
        b"[" * 100_000,
        b'{"format":1,"key":["other",1],"data":{}}',
    ],
)
def test_a_damaged_or_foreign_file_is_said_and_begun_anew(there, damage):
    counting().run(there)
    with open(state_file(there), "wb") as file:
        file.write(damage)
    outcome = counting().run(there)
    assert (outcome.state, outcome.reason) == (0, "run 1")
    assert "beginning anew" in outcome.text
    assert counting().run(there).reason == "run 2"


def test_kept_numbers_of_the_wrong_shape_do_not_break_a_rate(there):
    def probe(values, run):
        return [Metric("errors_rate", samples.take(run, {"n": 1}, before=[["x"], 5, None, ["b", "c", []]]).rate("n"))]

    assert make(probe=probe).run(there).state == 0


def test_a_state_that_can_not_be_written_is_unknown_with_the_cure(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    outcome = counting().run(["--state-dir", str(blocked / "state")])
    assert outcome.state == 3
    assert "no state directory" in outcome.reason
    assert "give --state-dir" in outcome.reason


def test_an_open_state_directory_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    outcome = counting().run(["--state-dir", str(tmp_path)])
    assert (outcome.state, "others can't write" in outcome.reason) == (3, True)


def test_a_check_that_keeps_nothing_needs_no_state(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert make(Metric("used", 1)).run(["--state-dir", str(blocked)]).state == 0


def test_a_trouble_worse_than_the_state_stays_on_top(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    check = make(Metric("used", 95), keep=lambda facts: 1)
    outcome = check.run(["--state-dir", str(blocked)])
    assert outcome.state == 2
    assert "UNKNOWN: " in outcome.reason


def test_two_runs_at_once_the_second_reads_and_says_so(there):
    inside = []

    def probe(values, run):
        if not inside:
            inside.append(1)
            inside.append(counting_inside.run([*there, "-t", "1"]))
        return [Finding(0, "", "outer")]

    counting_inside = make(options=options, probe=probe, keep=lambda facts: 1)
    outer = counting_inside.run(there)
    assert outer.state == 0
    assert "another run of this check holds the state" in inside[1].text
    assert json.loads(Path(state_file(there)).read_text())["data"] == {"kept": 1}


def test_state_is_put_in_place_only_when_the_answer_is_out(there):
    from nephoscope.plugin.check import Execution

    execution = Execution(counting(), there, "", Clock(), False)
    outcome = execution.outcome()
    assert not any(name.endswith(".json") for name in os.listdir(there[1]))
    outcome.finish()
    assert counting().run(there).reason == "run 2"


def test_a_bug_keeps_the_old_state_and_gives_the_lock_back(there):
    counting().run(there)

    def probe(values, run):
        raise ZeroDivisionError

    broken = make(options=options, probe=probe, keep=lambda facts: 99)
    assert broken.run(there).state == 3
    outcome = counting().run(there)
    assert (outcome.reason, "holds the state" in outcome.text) == ("run 2", False)


def test_a_failed_probe_keeps_what_was_kept(there):
    from nephoscope.base import UNREACHABLE, Failed

    counting().run(there)

    def probe(values, run):
        raise Failed(UNREACHABLE, "x", "ask", "refused")

    assert make(options=options, probe=probe, keep=lambda facts: 99).run(there).state == 2
    assert counting().run(there).reason == "run 2"


def test_window_softens_what_is_rare(there):
    argv = [*there, "--window", "3/10m"]
    bad, good, unknown = make(Metric("used", 95)), make(Metric("used", 5)), make(Metric("used", None))
    at = lambda check, minute: check.run(argv, clock=Clock(60 * minute))  # noqa: E731
    outcome = at(bad, 0)
    assert (outcome.state, outcome.reason) == (0, "[CRITICAL, 1 of 3 in 10 min] used 95 % is above 90 %")
    assert at(good, 1).reason == "used 5 %"
    assert at(bad, 2).state == 0
    assert at(unknown, 3).state == 3  # counts as neither
    assert at(bad, 4).state == 2
    assert at(bad, 11.5).state == 2  # the first has left the window: the runs of minutes 2, 4 and 11.5
    assert at(bad, 14.5).state == 0  # minutes 11.5 and 14.5 alone


def test_rates_need_two_runs_a_while_apart(there):
    counter = iter([100, 160, 220, 5, 65])

    def probe(values, run):
        return samples.take(run, {"errors": next(counter)})

    def keep(history):
        return history.keep()

    check = make(probe=lambda values, run: History(probe(values, run)), keep=lambda facts: keep(facts.history))
    at = lambda seconds: check.run(there, clock=Clock(seconds)).reason  # noqa: E731
    assert at(0) == "rates collecting"
    assert at(10) == "rates collecting"  # too close for a rate
    assert at(60).startswith("errors 2/s") or at(60).startswith("errors 2.")
    assert at(120) == "rates collecting"  # the counter fell: reset
    assert at(180).startswith("errors 1/s") or at(180).startswith("errors 1")


class History(list):
    """The facts of the check above: its one metric, and the history behind it."""

    def __init__(self, history):
        super().__init__([Metric("errors_rate", history.rate("errors"))])
        self.history = history


def test_window_does_not_make_partial_data_ok(there):
    from nephoscope.base import NOT_ALLOWED, Failed

    denied = Failed(NOT_ALLOWED, "b", "read b", "denied", "a right")
    outcome = make(Metric("used", 95, "a"), denied).run([*there, "--window", "3/10m"])
    assert outcome.state == 3
    assert outcome.reason.startswith("[CRITICAL, 1 of 3 in 10 min] a used 95 %")


def test_a_run_without_window_leaves_the_windows_history_alone(there):
    check = make(Metric("used", 95), keep=lambda facts: 1)
    windowed = lambda minute: check.run([*there, "--window", "3/1h"], clock=Clock(60 * minute)).state  # noqa: E731
    assert [windowed(0), windowed(1)] == [0, 0]
    assert check.run(there, clock=Clock(120)).state == 2
    assert windowed(3) == 2


@pytest.mark.parametrize("part", [{"hung": [1]}, {"hung": {"a": 1}}, {"runs": 5}, {"runs": [["a", 1]]}])
def test_a_damaged_part_of_the_frames_own_is_begun_anew(there, part):
    counting().run(there)
    path = Path(state_file(there))
    content = json.loads(path.read_text())
    content["data"].update(part)
    path.write_text(json.dumps(content))
    outcome = counting().run([*there, "--window", "2/5m"])
    assert (outcome.state, outcome.reason) == (0, "run 2")
    assert "was damaged: beginning anew" in outcome.text


def test_a_bug_with_kept_state_says_how_to_begin_anew(there):
    counting().run(there)

    def probe(values, run):
        return run.before["of another release"]

    outcome = make(options=options, probe=probe, keep=lambda facts: 1).run(there)
    assert "if an older release left its state: remove " in outcome.text


def test_children_that_hang_are_remembered_whatever_comes_after(there):
    """Nothing here hangs in the kernel: this very process stands for the one that can't be killed."""
    from nephoscope.base import child

    def probe(values, run):
        run.hung["/mnt"] = [os.getpid(), child.start_time(os.getpid()), 5]
        raise ZeroDivisionError

    def look(values, run):
        return [Finding(0, "", f"hung: {', '.join(run.hung)}")]

    for words in ({}, {"keep": lambda facts: 1}):
        assert make(options=options, probe=probe, **words).run(there, terminal=True).state == 3
        assert make(options=options, probe=look, **words).run(there).reason == "hung: /mnt"


def test_a_state_directory_with_an_odd_name_breaks_nothing():
    from tests.plugin.readers import check_output

    for odd in ("/proc/x|y", "/proc/\udcff"):
        outcome = counting().run(["--state-dir", odd])
        assert outcome.state == 3
        check_output(outcome.text)
