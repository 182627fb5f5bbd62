# SPDX-License-Identifier: Apache-2.0
import json

from hypothesis import given
from hypothesis import strategies as st
from nephoscope.base import COLLECTING, Clock, Run, samples
from nephoscope.base.samples import RING, History, Sample, since, take


def history(*points, span=300, boot="b"):
    made = [Sample(boot, at, {"n": value}) for at, value in points]
    return History(made[-1], tuple(made[:-1]), span)


def test_the_first_run_collects():
    assert history((100, 5)).rate("n") is COLLECTING
    assert history((100, 5)).rise("n") is COLLECTING
    assert history((100, 5)).seconds == 0


def test_a_rate_is_taken_over_about_one_span():
    assert history((0, 0), (300, 600), (600, 600)).rate("n") == 0
    assert history((0, 0), (300, 600), (600, 900)).rate("n") == 1
    assert history((0, 0), (300, 600), (600, 900)).rise("n") == 300
    assert history((0, 0), (40, 80)).rate("n") == 2


def test_a_recheck_a_moment_later_uses_the_older_sample():
    assert history((0, 0), (300, 300), (303, 400)).rate("n") == 400 / 303
    assert history((300, 300), (303, 400)).rate("n") is COLLECTING


def test_a_counter_that_fell_was_reset():
    assert history((0, 1000), (300, 5), (600, 305)).rate("n") == 1
    assert history((0, 1000), (300, 5)).rate("n") is COLLECTING


def test_an_unknown_counter_is_collecting():
    assert history((0, 1), (300, 2)).rate("other") is COLLECTING
    mixed = History(Sample("b", 300, {"new": 5}), (Sample("b", 0, {"n": 1}),))
    assert mixed.rate("new") is COLLECTING


def run(before, shift, boot="boot-one"):
    import nephoscope.base.samples as module

    made = Run(before=before, clock=Clock(shift))
    original = module.boot_id
    module.boot_id = lambda _run: boot
    try:
        return take(made, {"n": shift * 2})
    finally:
        module.boot_id = original


def test_what_is_kept_makes_the_next_history():
    kept = None
    for minute in range(8):
        made = run(kept, minute * 60)
        kept = json.loads(json.dumps(made.keep()))
    assert abs(made.rate("n") - 2) < 0.01
    assert 299 < made.seconds < 361  # one span, and not the whole past


def test_a_reboot_drops_the_past():
    kept = run(None, 0).keep()
    assert run(kept, 60, boot="boot-two").rate("n") is COLLECTING


def test_a_kept_sample_from_the_future_is_none():
    kept = run(None, 600).keep()
    assert run(kept, 0).older == ()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_damage_is_no_sample(before):
    assert run(before, 0).rate("n") is COLLECTING


def test_the_ring_is_bounded_and_spans_the_span():
    kept = None
    for second in range(0, 3600, 5):
        made = run(kept, second)
        kept = made.keep()
        assert len(kept) <= RING
    assert made.seconds >= 250
    assert abs(made.rate("n") - 2) < 0.01


def test_since_remembers_while_it_lasts():
    first = since(None, ["a", "b"], 100)
    assert first == {"a": 100, "b": 100}
    second = since(first, ["b", "c"], 160)
    assert second == {"b": 100, "c": 160}
    assert since({"b": "x", "c": 1e12}, ["b", "c"], 200) == {"b": 200, "c": 200}


def test_boot_id_is_read_and_may_be_missing(tmp_path):
    assert samples.boot_id(Run(root=str(tmp_path))) == ""
    assert len(samples.boot_id(Run())) == 8


def test_a_share_is_of_what_rose():
    def made(*points):
        samples_ = [Sample("b", at, {"bad": bad, "all": all_}) for at, bad, all_ in points]
        return History(samples_[-1], tuple(samples_[:-1]))

    assert made((0, 0, 0), (300, 5, 50)).share("bad", "all") == 10
    assert made((0, 5, 50), (300, 5, 50)).share("bad", "all") == 0
    assert made((300, 5, 50)).share("bad", "all") is COLLECTING


def test_the_targets_own_clock_and_its_restart():
    first = take(Run(), {"n": 100}, at=1000.0, boot="start-1")
    second = take(Run(before=first.keep()), {"n": 700}, at=1300.0, boot="start-1")
    assert second.rate("n") == 2
    third = take(Run(before=second.keep()), {"n": 900}, at=60.0, boot="start-2")
    assert third.rate("n") is COLLECTING


def test_a_share_is_taken_from_one_moment():
    points = [(0, 0, 0), (200, 5000, 2000), (300, 1, 2010)]  # `bad` was reset after the second
    made = [Sample("b", at, {"bad": bad, "all": all_}) for at, bad, all_ in points]
    assert History(made[-1], tuple(made[:-1])).share("bad", "all") is COLLECTING
    made.append(Sample("b", 400, {"bad": 2, "all": 2020}))
    assert History(made[-1], tuple(made[:-1])).share("bad", "all") == 10


def test_a_counter_that_is_always_reset_is_not_measured_at_last():
    kept = None
    seen = []
    for minute in range(0, 30, 2):
        made = take(Run(before=kept, clock=Clock(minute * 60)), {"n": 1000 - minute, "m": minute})
        seen.append(made.rate("n"))
        kept = json.loads(json.dumps(made.keep()))
    assert seen[0] is seen[5] is COLLECTING
    assert seen[-1] is None
    assert isinstance(made.rate("m"), float)
    after = take(Run(before=kept, clock=Clock(1800)), {"n": 2000, "m": 40})
    assert isinstance(after.rate("n"), float)
    assert after.keep()[-1] != {"waiting": {}}
