# SPDX-License-Identifier: Apache-2.0
"""States, line 1 and perfdata, over what a judge yields."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nephoscope.base import ABSENT, COLLECTING, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Collecting, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Group, Metric, Sudo, Threshold, worst

from tests.plugin.readers import check_output
from tests.plugin.sample import make


def fail(kind, of="/x", **words):
    return Failed(kind, of, "look at it", "it went wrong", **words)


@pytest.mark.parametrize(
    ("kind", "argv", "state"),
    [
        (UNREACHABLE, [], CRITICAL),
        (UNREACHABLE, ["--unreachable-state", "unknown"], UNKNOWN),
        (UNREACHABLE, ["--unreachable-state", "WARNING"], WARNING),
        (NOT_ALLOWED, [], UNKNOWN),
        (NOT_ALLOWED, ["--unreachable-state", "ok", "--absent-state", "ok"], UNKNOWN),
        (UNREADABLE, [], UNKNOWN),
        (ABSENT, [], UNKNOWN),
        (ABSENT, ["--absent-state", "critical"], CRITICAL),
        (ABSENT, ["--absent-state", "ok"], OK),
        (LATE, [], UNKNOWN),
        (LATE, ["-t", "8:critical"], CRITICAL),
        (LATE, ["-t", "8:warning"], WARNING),
    ],
)
def test_each_kind_of_failure_has_its_state(kind, argv, state):
    for outcome in (
        make(fail(kind)).run(argv),
        make(probe=lambda options, run: (_ for _ in ()).throw(fail(kind))).run(argv),
    ):
        assert outcome.state == state
        assert outcome.reason == "/x: it went wrong (look at it)"


def test_critical_over_warning_over_unknown_over_ok():
    assert worst([]) == OK
    assert worst([OK, UNKNOWN]) == UNKNOWN
    assert worst([UNKNOWN, WARNING, OK]) == WARNING
    assert worst([UNKNOWN, WARNING, CRITICAL, OK]) == CRITICAL
    outcome = make(
        fail(UNREADABLE),
        Finding(WARNING, "/w", "is odd"),
        Finding(CRITICAL, "/c", "is broken"),
        Metric("used", 5, "/ok"),
    ).run()
    assert outcome.state == CRITICAL
    assert outcome.reason == "/c is broken, WARNING: /w is odd, UNKNOWN: /x: it went wrong (look at it)"
    assert outcome.text.splitlines()[1:] == [
        "[CRITICAL] /c is broken",
        "[WARNING] /w is odd",
        "[UNKNOWN] /x: it went wrong (look at it)",
        "[OK] /ok used 5 %",
    ]


def test_a_judge_that_yields_nothing_is_unknown():
    assert make().run().line == "SAMPLE UNKNOWN - nothing was looked at"
    assert make(Finding(OK, "", "all is well")).run().line == "SAMPLE OK - all is well"


def test_a_limit_is_worded_with_its_value():
    assert (
        make(Metric("used", 95, "/var")).run().line
        == "SAMPLE CRITICAL - /var used 95 % is above 90 % | var_used=95%;80;90"
    )
    assert (
        make(Metric("used", 85)).run(["-c", "used=~:99"]).line
        == "SAMPLE WARNING - used 85 % is above 80 % | used=85%;80;~:99"
    )
    assert make(Metric("used", 5)).run(["-w", "10:"]).reason == "used 5 % is below 10 %"
    assert make(Metric("used", 5)).run(["-w", "@4:6"]).reason == "used 5 % is within 4 to 6"
    assert make(Metric("errors_rate", 5.5)).run().reason == "errors 5.5/s is above 1/s"


def test_a_detail_is_said_where_the_value_is_bad_and_only_there():
    bad = make(Metric("used", 95, detail="logs 60 %,\nmail 30 %")).run()
    assert bad.line == "SAMPLE CRITICAL - used 95 % is above 90 % (logs 60 %, mail 30 %) | used=95%;80;90"
    assert make(Metric("used", 85, "/var", detail="logs")).run().reason == "/var used 85 % is above 80 % (logs)"
    assert make(Metric("used", 5, detail="logs")).run().reason == "used 5 %"


def test_not_measured_is_unknown_and_prints_no_number():
    for value in (None, float("nan"), float("inf")):
        outcome = make(Metric("used", value, "/a"), Metric("used", 1, "/b")).run()
        assert (outcome.state, outcome.reason, outcome.perfdata) == (3, "/a used was not measured", ["b_used=1%;80;90"])


def test_not_measured_is_excused_by_a_failure_of_the_same_object():
    outcome = make(Metric("used", None, "/x"), fail(UNREACHABLE)).run()
    assert outcome.state == CRITICAL
    assert [item["text"] for item in outcome.items] == ["/x: it went wrong (look at it)"]


def test_what_is_not_told_for_a_reason_is_not_collecting():
    """A server with nothing to do would be "collecting" for ever."""
    outcome = make(Metric("errors_rate", Collecting("is not told of so few"), "eth0"), Metric("used", 3)).run()
    assert outcome.line == "SAMPLE OK - used 3 %, eth0 errors is not told of so few | used=3%;80;90"


def test_a_collecting_rate_is_ok_and_said():
    outcome = make(Metric("errors_rate", COLLECTING, "eth0"), Metric("used", 3)).run()
    assert outcome.line == "SAMPLE OK - used 3 %, rates collecting | used=3%;80;90"


def test_a_missing_right_names_how_to_grant_it():
    needs = [Sudo("/usr/sbin/ipmi-sensors", "--quiet-cache"), Group("adm")]
    outcome = make(fail(NOT_ALLOWED, "bmc"), needs=needs).run()
    assert "needs a sudoers line for `/usr/sbin/ipmi-sensors --quiet-cache`" in outcome.reason
    assert "membership of group adm" in outcome.reason
    assert "needs role reader" in make(fail(NOT_ALLOWED, cure="role reader"), needs=needs).run().reason


def test_absent_when_nothing_of_the_kind_is_here():
    assert make(fail(ABSENT)).run().absent
    assert not make(fail(ABSENT), Metric("used", 1)).run().absent
    assert not make(fail(UNREACHABLE)).run().absent


def test_filters():
    found = [Metric("used", 95, "/a"), Metric("used", 5, "/b"), Finding(CRITICAL, "/a", "is broken")]
    outcome = make(*found).run(["--exclude", "/a"])
    assert (outcome.state, outcome.perfdata) == (OK, ["b_used=5%;80;90"])
    assert "note: left out by --include/--exclude: 1 (/a)" in outcome.text
    assert make(*found).run(["--include", "/a", "--exclude", "/b"]).state == CRITICAL
    outcome = make(*found).run(["--include", "/nosuch*"])
    assert (outcome.state, outcome.reason) == (UNKNOWN, "nothing matched --include/--exclude, which left out 2")
    assert make(*found).run(["--include", "/nosuch*", "--absent-state", "ok"]).state == OK
    whole = [*found, Finding(OK, "", "summary")]
    assert make(*whole).run(["--include", "/nosuch*"]).state == UNKNOWN
    assert make(*whole).run(["--exclude", "/*"]).state == UNKNOWN  # a summary is no look at anything
    assert make(*whole, Metric("size", 5)).run(["--exclude", "/*"]).state == OK  # the whole was measured
    assert make(Finding(OK, "", "3 things")).run(["--include", "nosuch"]).state == UNKNOWN
    assert (
        make(Failed(ABSENT, "", "run it", "not installed")).run(["--include", "x"]).reason == "not installed (run it)"
    )


def test_a_probe_that_asks_wants_is_heard():
    def probe(options, run):
        return [Metric("used", 5, path) for path in ("/a", "/b") if run.wants(path)]

    outcome = make(probe=probe).run(["--exclude", "/b"])
    assert "left out by --include/--exclude: 1 (/b)" in outcome.text


def test_a_limit_that_met_nothing_is_no_ok():
    found = [Metric("used", 5, "/var"), Metric("errors_rate", COLLECTING, "eth0")]
    for argv, said in (
        (["-c", "used//sv=1"], "used//sv"),
        (["-w", "size=5"], "size"),
        (["-w", "used/x*=5"], "used/x*"),
    ):
        outcome = make(*found).run(argv)
        assert (outcome.state, outcome.reason) == (UNKNOWN, f"the limit {said} met nothing: no such value here")
    for argv in (
        ["-w", "used//var=9"],
        ["-w", "used//v*=9"],
        ["-w", "used=9"],
        ["-w", "errors_rate=5"],
        ["-w", "size="],
    ):
        assert make(*found).run(argv).state == OK
    assert make(fail(UNREADABLE), *found).run(["-w", "size=5"]).reason == "/x: it went wrong (look at it)"


def test_perfdata_stands_fixed_first_then_objects_then_rates():
    found = [
        Metric("errors_rate", 0.5, "b"),
        Metric("used", 2, "b"),
        Metric("used", 1, "a"),
        Metric("errors_rate", 0.25),
        Metric("size", 4096, most=8192, least=0),
    ]
    assert make(*found).run().perfdata == ["size=4096B;;;0;8192", "a_used=1%;80;90", "b_used=2%;80;90", "errors_rate=0.25;1;10", "b_errors_rate=0.5;1;10"]  # fmt: skip


def test_worst_prints_one_number_and_names_every_bad_one():
    thresholds = [
        Threshold("lag", "s", "5", "50", print="worst"),
        Threshold("free", "B", "10:", print="worst"),
        Threshold("n", "", "5", print="worst"),
    ]
    found = [Metric("lag", 6, "q1"), Metric("lag", 60, "q2"), Metric("lag", 1, "q3"), Metric("free", 99, "q1"), Metric("free", 20, "q2"),
             Metric("n", 1, "q1"), Metric("n", 2, "q2")]  # fmt: skip
    outcome = make(*found, thresholds=thresholds).run()
    assert outcome.reason == "q2 lag 60 s is above 50 s, WARNING: q1 lag 6 s is above 5 s"
    assert outcome.perfdata == ["lag=60s;5;50", "free=20B;10:", "free_sum=119B", "n=2;5", "n_sum=3"]


def test_over_a_hundred_objects_become_their_worst_and_sum():
    found = [Metric("used", number % 70, f"/disk/{number}") for number in range(150)] + [Metric("size", 10, "/a")]
    outcome = make(*found).run()
    assert outcome.perfdata == ["used=69%;80;90", "a_size=10B"]
    assert "used: 150 objects are too many for perfdata" in outcome.text
    check_output(outcome.text)


def test_over_a_hundred_objects_that_do_not_add_up_are_left_out():
    thresholds = [Threshold("fits", "", "1:", print="apart"), Threshold("size", "B")]
    few = [Metric("fits", number, f"m{number}") for number in range(2)]
    assert make(*few, thresholds=thresholds).run().perfdata == ["m0_fits=0;1:", "m1_fits=1;1:"]
    many = [Metric("fits", number, f"m{number}") for number in range(150)] + [Metric("size", 10, "/a")]
    outcome = make(*many, thresholds=thresholds).run()
    assert (outcome.reason, outcome.perfdata) == ("m0 fits 0 is below 1", ["a_size=10B"])
    assert "fits: 150 objects are too many for perfdata, which has none of them" in outcome.text


def test_the_worst_of_what_does_not_add_up_has_no_sum():
    """The mean size of a queue's messages, or the hundred fullest of many queues: their sum would be nobody's."""
    found = [Metric("size", number, f"q{number}") for number in range(3)]
    outcome = make(*found, thresholds=[Threshold("size", "B", "1", print="top")]).run()
    assert (outcome.reason, outcome.perfdata) == ("q2 size 2 B is above 1 B", ["size=2B;1"])


def test_ten_thousand_bad_things_fit_and_are_counted():
    found = [
        Finding(CRITICAL, f"thing-{number:05}", "is broken in a way that takes some words") for number in range(10_000)
    ]
    outcome = make(*found).run()
    check_output(outcome.text)
    assert outcome.reason.endswith("and 9996 more")
    assert "… and 9960 more (-v shows them)" in outcome.text
    loud = make(*found).run(["-v"])
    check_output(loud.text)
    assert len(loud.text) > 50_000
    assert loud.text.splitlines()[-1].startswith("… and ")


@pytest.mark.parametrize(
    "name",
    [
        "a|b",
        "x=1",
        "it's",
        "::",
        "a\tb",
        "a\nb",
        "é",
        "\udcff",
        "n" * 300,
        " ",
        "'q'",
        "a;b",
        "$HOME",
        "`id`",
        "\x1b[1m",
    ],
)
def test_hostile_names_never_break_the_output(name):
    found = [
        Metric("used", 95, name),
        Finding(WARNING, name, f"text of {name}"),
        Failed(UNREADABLE, name, f"read {name}", f"bad {name}"),
    ]
    for argv in ([], ["--explain", "-vv"]):
        outcome = make(*found, runbook="see `a | b`").run(argv)
        check_output(outcome.text)
        assert outcome.state == CRITICAL
    json.loads(make(*found).run(["--format", "json"]).text)


names = st.text(st.characters(codec=None), max_size=80)
values = st.one_of(st.none(), st.integers(-(10**15), 10**15), st.floats(allow_nan=True, allow_infinity=True))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(
                Metric,
                st.sampled_from(["used", "size", "errors_rate"]),
                values,
                names,
                st.none(),
                st.none() | st.integers(0, 9),
            ),
            st.builds(Finding, st.integers(0, 3), names, names.filter(str.strip)),
            st.builds(
                Failed,
                st.sampled_from([UNREACHABLE, NOT_ALLOWED, UNREADABLE, ABSENT, LATE]),
                names,
                names,
                names.filter(str.strip),
            ),
        ),
        max_size=30,
    )
)
def test_whatever_a_judge_yields_the_output_obeys_the_rules(found):
    outcome = make(*found).run()
    if outcome.line.rstrip().endswith("-"):
        return
    check_output(outcome.text)
    word = outcome.line.split()[1]
    assert ["OK", "WARNING", "CRITICAL", "UNKNOWN"].index(word) == outcome.state
    document = json.loads(make(*found).run(["--format", "json"]).text)
    assert document["exit"] == outcome.state


def test_json_and_openmetrics():
    found = [Metric("used", 95, '/a "b"\\c'), Metric("size", 5)]
    document = json.loads(make(*found).run(["--format", "json"]).text)
    assert (document["state"], document["exit"], document["name"]) == ("CRITICAL", 2, "SAMPLE")
    assert document["metrics"][1]["of"] == '/a "b"\\c'
    assert document["metrics"][1]["critical"] == "90"
    text = make(*found).run(["--format", "openmetrics"]).text
    assert text.splitlines()[-1] == "# EOF"
    assert 'nephoscope_sample_used_percent{of="/a \\"b\\"\\\\c"} 95' in text
    assert 'nephoscope_check_state{check="sample"' in text
    bad = make(*found).run(["--format", "openmetrics", "--nosuch"])
    assert (bad.state, bad.text.splitlines()[-1]) == (3, "# EOF")
    assert json.loads(make(*found).run(["--nosuch", "--format=json"]).text)["exit"] == 3


def test_json_stays_within_its_bound():
    outcome = make(*[Finding(CRITICAL, f"thing-{n}", "x" * 100) for n in range(10_000)]).run(["--format", "json"])
    assert len(outcome.text) <= 60 * 1024
    assert json.loads(outcome.text)["cut"]["items"] > 9000


def test_exit_ok_says_what_it_was():
    outcome = make(Metric("used", 95)).run(["--exit-ok"])
    assert (outcome.state, outcome.reason) == (OK, "[CRITICAL] used 95 % is above 90 %")


def test_explain_adds_what_was_asked_and_what_to_do():
    def probe(options, run):
        run.stage("read /proc/sample")
        return [Metric("used", 5)]

    text = make(probe=probe, needs=[Group("adm")], runbook="first this\nthen that").run(["--explain"]).text
    for line in (
        "asked: read /proc/sample",
        "question: Is the sample as it should be?",
        "what to do: first this",
        "what to do: then that",
    ):
        assert line in text
    assert "membership of group adm" in text


def test_a_judge_that_breaks_its_contract_is_a_bug_not_an_ok():
    for wrong in ("text", Metric("nosuch", 1)):
        outcome = make(wrong).run()
        assert outcome.state == 3
        assert "bug in sample" in outcome.reason
        assert "Traceback" not in outcome.text
        assert "Traceback" in make(wrong).run(["-vvv"]).text
        check_output(make(wrong).run(["-vvv"]).text)


def test_two_objects_never_share_a_label():
    outcome = make(Metric("used", 1, "/"), Metric("used", 2, "/root")).run()
    assert outcome.perfdata[0] == "root-" + outcome.perfdata[0][5:] or outcome.perfdata[1] == "root_used=1%;80;90"
    assert len(outcome.perfdata) == 2
    thresholds = [Threshold("free", "%"), Threshold("inodes_free", "%")]
    outcome = make(Metric("free", 1, "x_inodes"), Metric("inodes_free", 2, "x"), thresholds=thresholds).run()
    assert len(outcome.perfdata) == 2
    check_output(outcome.text)


def test_the_choice_of_perfdata_does_not_flip_with_the_width_of_values():
    for number in (40, 60, 80, 99):
        few = [Metric("used", 1, f"object-{n:03}") for n in range(number)]
        wide = [Metric("used", 12345678.123456, f"object-{n:03}") for n in range(number)]
        labels = [[item.partition("=")[0] for item in make(*found).run().perfdata] for found in (few, wide)]
        assert labels[0] == labels[1]


def test_worst_prints_the_limit_of_its_object():
    thresholds = [Threshold("free", "%", "1:", print="worst")]
    outcome = make(Metric("free", 5, "a"), thresholds=thresholds).run(["-c", "free/a=10:"])
    assert (outcome.state, outcome.perfdata) == (CRITICAL, ["free=5%;1:;10:"])


def test_odd_numbers():
    from decimal import Decimal

    assert make(Metric("used", Decimal("5.5"))).run().perfdata == ["used=5.5%;80;90"]
    assert make(Metric("used", 10**400)).run().state == UNKNOWN
    assert make(Metric("size", 5, most=float("inf"))).run().perfdata == ["size=5B"]
    assert make(Metric("used", 3)).run(["-c", "@3:"]).reason == "used 3 % is within @3:"


def test_exit_ok_does_not_hide_a_wrong_option_or_a_bug():
    assert make(Metric("used", 1)).run(["--exit-ok", "-w", "junk"]).state == UNKNOWN
    assert make("no finding").run(["--exit-ok"]).state == UNKNOWN


def test_a_limit_of_an_object_that_failed_is_excused_and_others_are_not():
    found = [fail(ABSENT, "/x"), Metric("used", 5, "/y")]
    assert "met nothing" not in make(*found).run(["-c", "used//x=9"]).reason
    assert "met nothing" in make(*found).run(["-c", "used//z=9", "--absent-state", "ok"]).reason


def test_reasons_stay_within_their_bound_when_softened(tmp_path):
    found = [Finding(CRITICAL, f"thing{n}", "x" * 50) for n in range(20)]
    check_output(make(*found).run(["--exit-ok"]).text)
    check_output(make(*found).run(["--window", "3/10m", "--state-dir", str(tmp_path / "s")]).text)


def test_what_was_asked_is_cleaned_too():
    def probe(options, run):
        run.stage("read a|b=1\nc=2 \x1b[31m")
        return [Metric("used", 5)]

    check_output(make(probe=probe).run(["-vv"]).text)


def test_a_traceback_is_bounded_and_cleaned():
    def probe(options, run):
        raise ValueError("x|\x1b[31m" * 50_000)

    check_output(make(probe=probe).run(["-vvv"]).text)
