# SPDX-License-Identifier: Apache-2.0
"""Options as users, schedulers and INI files give them."""

import os

import pytest
from nephoscope.plugin import Finding, Metric, Preset, Threshold, count, duration, expect, pattern, size
from nephoscope.plugin.options import seconds_state, state, window

from tests.plugin.sample import THRESHOLDS, make


def own(add):
    add("--path", repeat=True, default=("/tmp", "/var/tmp"), help="directory")
    add("--level", type=int, default=3, help="level")
    add("--deep", flag=True, help="look deeper")
    add("--password", secret=True, help="password of the account")


MODES = {"space": "is there space?", "speed": "is it fast?"}
MODAL = (
    Threshold("used", "%", "80", "90", mode="space", main=True),
    Threshold("wait", "s", "1", "5", mode="speed", main=True),
    Threshold("answer", "s", "2"),
)
PRESETS = {
    "tight": Preset("tight limits", limits={"used": ("50", "60")}, options={"path": ("/srv",), "level": 7}),
    "more": Preset("more paths", options={"path": ("/opt", "/srv")}),
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("2d", 172800), ("1w", 604800), (" 5 m ", 300)],
)
def test_duration(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "octets"), [("4096", 4096), ("100MiB", 104857600), ("1G", 1 << 30), ("1GB", 10**9), ("2kB", 2000)]
)
def test_size(text, octets):
    assert size(text) == octets


@pytest.mark.parametrize(("parse", "junk"), [(duration, "5x"), (duration, ""), (duration, "-5"), (duration, "m"), (size, "5Q"), (size, "1.2.3"),
                                             (count, "-1"), (count, "1.5"), (count, "٣"), (state, "bad"), (window, "3"), (window, "0/5m"),
                                             (window, "3/x"), (seconds_state, "0"), (seconds_state, "5:red"), (expect, "=3"), (expect, "a=b")])  # fmt: skip
def test_junk_is_refused(parse, junk):
    with pytest.raises(ValueError):
        parse(junk)


def test_words_of_the_frame():
    assert seconds_state("5:critical") == (5, 2)
    assert seconds_state("2m") == (120, None)
    assert window("3/30m") == (3, 1800)
    assert expect("nova-compute") == ("nova-compute", 1)
    assert expect("nova-compute=3") == ("nova-compute", 3)


def test_defaults_and_given_values():
    check = make(options=own)
    assert check.parse().path == ("/tmp", "/var/tmp")
    assert check.parse("--path", "/a", "--path", "/b").path == ("/a", "/b")
    assert check.parse("--level", "5", "--deep").level == 5
    assert check.parse("--deep").deep is True
    assert check.parse().deep is False
    assert check.parse("-vv").verbose == 2


def test_an_empty_argument_means_not_given():
    check = make(options=own)
    assert check.parse("--level", "", "--path", "", "-w", "", "-t", "") == check.parse()
    assert check.run(["-w", "", "-c", " "]).text == check.run([]).text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--levle", "3"], "no option --levle: did you mean --level?"),
        (["--critcal", "3"], "did you mean --critical?"),
        (["--lev", "3"], "no option --lev: did you mean --level?"),  # never a prefix
        (["stray"], "'stray' belongs to no option"),
        (["--level", "high"], "option --level: 'high' is not a number"),
        (["--level"], "option --level: expected one argument"),
        (["-t", "0"], "option --timeout: '0' is not a time between"),
        (["--format", "xml"], "option --format: 'xml' is none of nagios, json, openmetrics"),
        (["--unreachable-state", "red"], "'red' is no state: write ok, warning, critical, unknown"),
        (["--window", "3"], "write N/DURATION"),
        (["-w", "-10"], "did you mean '-10:'"),
        (["-w", "nosuch=5"], "no limit is named 'nosuch'"),
        (["-w", "user=5"], "did you mean used?"),
        (["-w", "80%"], "did you mean '80'?"),
        (["--password", "hunter22"], "never taken from the command line"),
        (["--password=hunter22"], "never taken from the command line"),
    ],
)
def test_a_wrong_option_is_unknown_and_names_the_cure(argv, said):
    outcome = make(options=own).run(argv)
    assert outcome.state == 3
    assert said in outcome.line
    assert outcome.line.startswith("SAMPLE UNKNOWN - ")
    assert "hunter22" not in outcome.text
    assert "Traceback" not in outcome.text


def test_a_limit_may_begin_with_a_minus():
    check = make(Metric("used", -7))
    assert check.run(["-w", "-5:5", "-c", "~:"]).state == 1
    assert check.run(["-w", "-10:5", "--critical", "-9:"]).state == 0
    assert check.run(["--critical", "-6:5"]).state == 2


def test_limits_of_objects_the_last_that_matches_wins():
    found = [Metric("used", 85, "/var"), Metric("used", 85, "/srv/a"), Metric("used", 85, "/srv/b")]
    outcome = make(*found).run(["-w", "used/srv/*=70"])  # the glob has no leading slash: it matches nothing
    assert outcome.state == 1
    outcome = make(*found).run(["-w", "used//srv/*=90", "-w", "used//srv/b=50", "-w", "used=95"])
    assert [item["of"] for item in outcome.items if item["state"] == "WARNING"] == ["/srv/b"]
    assert outcome.perfdata == ["srv_a_used=85%;90;90", "srv_b_used=85%;50;90", "var_used=85%;95;90"]


def test_modes():
    check = make(Metric("used", 1), thresholds=MODAL, modes=MODES)
    assert check.parse().mode == ("space", "speed")
    assert check.parse().mode_given is False
    assert check.parse("--mode", "speed").mode == ("speed",)
    assert check.parse("--mode", "speed").mode_given is True
    assert "could mean any of used, wait" in check.run(["-w", "5"]).line
    assert check.run(["--mode", "space", "-w", "0:0"]).state == 1
    said = check.run(["--mode", "speed", "-w", "used=5"]).line
    assert "'used' is a limit of mode space, which was not asked for" in said
    assert "is none of space, speed" in check.run(["--mode", "spice"]).line


def test_a_metric_of_a_mode_that_was_not_asked_for_is_dropped():
    check = make(Metric("used", 95), Metric("wait", 0.5), Metric("answer", 0.1), thresholds=MODAL, modes=MODES)
    assert check.run().perfdata == ["used=95%;80;90", "wait=0.5s;1;5", "answer=0.1s;2"]
    assert check.run(["--mode", "speed"]).perfdata == ["wait=0.5s;1;5", "answer=0.1s;2"]
    only = make(Metric("used", 95), thresholds=MODAL, modes=MODES)
    assert only.run(["--mode", "speed"]).reason == "nothing was looked at"


def test_a_pattern_must_compile():
    assert pattern("a.*b") == "a.*b"
    with pytest.raises(ValueError, match="is no regular expression"):
        pattern("a(b")


def test_a_bare_limit_with_no_main_is_refused():
    check = make(Metric("size", 1), thresholds=[Threshold("size", "B"), Threshold("wait", "s")])
    assert "could mean nothing by itself: write -w NAME=RANGE (names: size, wait)" in check.run(["-w", "5"]).line


def test_presets_add_up_and_the_operator_outranks_them():
    check = make(Metric("used", 55), options=own, presets=PRESETS, thresholds=THRESHOLDS)
    assert check.parse("--preset", "tight").path == ("/srv",)
    assert check.parse("--preset", "tight", "--preset", "more").path == ("/srv", "/opt")
    assert check.parse("--preset", "tight").level == 7
    assert check.parse("--preset", "tight", "--level", "1").level == 1
    assert check.parse("--preset", "tight").by_preset == {"path", "level"}
    assert check.parse("--preset", "tight", "--level", "1").by_preset == {"path"}
    assert check.parse().by_preset == set()
    assert check.run([]).state == 0
    assert check.run(["--preset", "tight"]).state == 1
    assert check.run(["--preset", "tight", "-w", "70"]).state == 0


# --- --extra-opts (monitoring-plugins lib/tests/test_opts1.c, test_ini1.c: the same rules) ------------------------------


@pytest.fixture
def ini(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "plugins.ini"
        path.write_text(text)
        path.chmod(mode)
        return str(path)

    return write


def test_extra_opts_come_first_so_that_the_command_line_wins(ini):
    file = ini(
        "[sample]\nlevel = 8\npath=/a\npath = /b\ndeep =\nw = 70\n; a comment\n# another\n[other]\nlevel=1\n[ sample ]\npath=/c\n"
    )
    check = make(options=own)
    values = check.parse(f"--extra-opts=@{file}")
    assert (values.level, values.path, values.deep, values.warning) == (8, ("/a", "/b", "/c"), True, ("70",))
    assert check.parse(f"--extra-opts=@{file}", "--level", "2").level == 2
    assert check.parse("--level", "2", f"--extra-opts=@{file}").level == 2
    assert check.parse("--extra-opts", f"other@{file}").level == 1


def test_extra_opts_search_path(ini, monkeypatch, tmp_path):
    file = ini("[sample]\nlevel=8\n")
    monkeypatch.setenv("MP_CONFIG_FILE", file)
    assert make(options=own).parse("--extra-opts").level == 8
    monkeypatch.delenv("MP_CONFIG_FILE")
    monkeypatch.setenv("NAGIOS_CONFIG_PATH", f"/nonexistent:{tmp_path}")
    assert make(options=own).parse("--extra-opts", "--deep").level == 8


@pytest.mark.parametrize(
    ("text", "section", "said"),
    [
        ("[other]\nlevel=1\n", "", "has no section [sample]"),
        ("[sample]\nnonsense\n", "", "line 2: write name = value"),
        ("[sample\nlevel=1\n", "", "line 1: a section is written [name]"),
        ("[sample]\nlevle=1\n", "", "no option --levle"),
        ("[sample]\nextra-opts=x\n", "", "no option --extra-opts"),
    ],
)
def test_a_wrong_ini_file_is_unknown_and_named(ini, text, section, said):
    outcome = make(options=own).run([f"--extra-opts={section}@{ini(text)}"])
    assert outcome.state == 3
    assert said in outcome.line


def test_a_missing_ini_file_is_unknown():
    outcome = make(options=own).run(["--extra-opts=@/nonexistent/x.ini"])
    assert (outcome.state, "can't read /nonexistent/x.ini: No such file" in outcome.line) == (3, True)


def test_a_secret_comes_from_a_closed_file_or_the_environment(ini, monkeypatch):
    check = make(options=own)
    assert check.parse(f"--extra-opts=@{ini('[sample]' + chr(10) + 'password=hunter22')}").password == "hunter22"
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter33")
    assert check.parse().password == "hunter33"
    if os.geteuid() == 0:
        assert (
            check.parse(f"--extra-opts=@{ini('[sample]' + chr(10) + 'password=hunter22', 0o640)}").password
            == "hunter22"
        )


def test_a_secret_in_an_open_file_is_refused(ini):
    file = ini("[sample]\npassword=hunter22\n", 0o644)
    outcome = make(options=own).run([f"--extra-opts=@{file}"])
    assert outcome.state == 3
    assert f"has mode 0644: chmod 0600 {file}" in outcome.line
    assert "hunter22" not in outcome.text


def test_a_secret_never_reaches_the_output(monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter22")

    def probe(options, run):
        raise ValueError(f"server said: bad password {options.password}")

    for argv in (["-vvv"], ["--format", "json"], ["--format", "openmetrics"]):
        outcome = make(options=own, probe=probe).run(argv)
        assert outcome.state == 3
        assert "hunter22" not in outcome.text
        assert "bad password ***" in outcome.text


def test_a_secret_is_taken_out_before_it_is_disguised(monkeypatch):
    for secret in ('very  secret|"x', "hunter\\22", "'quoted'"):
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", secret)

        def probe(options, run):
            run.stage(f"log in with {options.password}")
            text = f"said {options.password} and {options.password!r}"
            return [Metric("used", 95, options.password, detail=text), Finding(1, "", text)]

        for argv in (["-vv"], ["--format", "json"], ["--format", "openmetrics"], ["--explain"]):
            outcome = make(options=own, probe=probe).run(argv)
            everything = outcome.text + repr(outcome.document)
            for part in ("very", "hunter", "quoted", "secret"):
                assert part not in everything


def test_a_required_option_that_repeats_is_required():
    def must(add):
        add("--must", repeat=True, required=True, help="must be given")

    assert "option --must is required" in make(Metric("used", 1), options=must).run().line
    assert make(Metric("used", 1), options=must).run(["--must", "x"]).state == 0


def test_help_within_a_bundle_and_after_anything_wrong():
    assert make().run(["-vh"]).text.startswith("Is the sample as it should be?")
    assert make().run(["--nonsense", "-h"]).text.startswith("Is the sample as it should be?")


def test_a_number_beyond_all_bounds_is_refused():
    def sized(add):
        add("--size", type=size, help="size")

    assert "option --size" in make(options=sized).run(["--size", "9" * 400]).line


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_is_one(port):
    assert make(uses=("target",)).run([f"--port={port}"]).state == 3
    assert make(uses=("target",)).parse("--port=443").port == 443


def test_an_ini_file_that_is_no_file_or_too_large_is_refused(tmp_path, ini):
    os.mkfifo(tmp_path / "fifo")
    assert "is not a regular file" in make().run([f"--extra-opts=@{tmp_path}/fifo"]).line
    assert "is larger than" in make().run([f"--extra-opts=@{ini('[sample]' + chr(10) + '#' * (1 << 20) + 'x')}"]).line


def test_the_last_format_counts_also_for_what_is_wrong():
    assert make().run(["--format", "nagios", "--format", "json", "--critcal", "5"]).text.startswith("{")
