# SPDX-License-Identifier: Apache-2.0
"""The command as people and scripts use it, over a small house of checks made for the purpose."""

from __future__ import annotations

import argparse
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

# One check as short as can be: its name decides what it does.
CHECK = '''"""{question}"""
import os, time
from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Threshold, Metric
def options(add):
    add("--name", required={required}, help="what to look at")
def probe(options, run):
    {probe}
def judge(facts, options):
    yield facts
CHECK = Check(options, probe, judge, where={where}, signs={signs}, deadline={deadline}, runbook="look at it", thresholds=[])
main = CHECK.main
'''
GONE = 'raise Failed(ABSENT, "", "look for the thing", "not installed")'
HOUSE = {
    "green": {"probe": 'return Finding(OK, "", "all well")'},
    "amber": {"probe": 'return Finding(WARNING, "it", "getting on")'},
    "red": {"probe": 'return Finding(CRITICAL, "it", "is [bold]down[/bold]")'},
    "gone": {"probe": GONE},
    "asks": {"probe": 'return Finding(OK, "", "looked at " + options.name)', "required": True},
    "cloud": {"probe": 'return Finding(CRITICAL, "", "never run here")', "where": '("remote",)'},
    "server": {
        "probe": 'return Finding(CRITICAL, "", "refused")',
        "signs": '("/nonexistent/serverd", "/nonexistent/data")',
    },
    "local": {"probe": 'return Finding(CRITICAL, "", "refused")', "signs": '("/nonexistent/serverd", "/")'},
    "dies": {"probe": "os.abort()"},
    "hangs": {"probe": "options.name and os.mknod(options.name); time.sleep(60)", "deadline": 1.0},
}
STARTER = """
import sys
import nephoscope.checks
nephoscope.checks.__path__[:] = [sys.argv.pop(1)]
from nephoscope.cli import running, main
running.GRACE = 0.2
main()
"""
ROLES = """
[web]
about = "has a green thing"
[web.services.green]
[web.services.front]
check = "check_asks"
options = { name = "the door" }
[lost]
includes = ["web"]
[lost.services.gone]
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    return build(tmp_path, "green", "amber", "red", "gone", "asks", "cloud")


def build(tmp_path: Path, *names: str) -> Path:
    group = tmp_path / "checks" / "group"
    group.mkdir(parents=True)
    (group / "__init__.py").touch()
    for name in names:
        values = {
            "required": False,
            "signs": (),
            "where": '("node",)',
            "deadline": 8.0,
            "question": f"Is {name}?",
            **HOUSE[name],
        }
        (group / f"check_{name}.py").write_text(CHECK.format(**values))
    return tmp_path / "checks"


def nephoscope(house: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STARTER, house, *argv],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_list_says_every_check_its_place_and_its_question(house: Path) -> None:
    run = nephoscope(house, "list")
    assert run.returncode == 0
    assert run.stdout.splitlines() == [
        "check_amber  node    Is amber?",
        "check_asks   node    Is asks?",
        "check_cloud  remote  Is cloud?",
        "check_gone   node    Is gone?",
        "check_green  node    Is green?",
        "check_red    node    Is red?",
    ]


def test_explain_shows_the_page_and_does_not_run(house: Path) -> None:
    run = nephoscope(house, "explain", "red")
    assert run.returncode == 0
    assert run.stdout.startswith("Is red?\n")
    assert "look at it" in run.stdout
    assert "down" not in run.stdout


def test_run_shows_the_worst_first_and_ends_with_the_worst_state(house: Path) -> None:
    run = nephoscope(house, "run")
    assert run.returncode == 2
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    assert lines[:4] == [
        "CRITICAL  check_red    it is [bold]down[/bold]",
        "WARNING   check_amber  it getting on",
        "UNKNOWN   check_asks   check_asks: option --name is required: give it by the command line",
        "OK        check_green  all well",
    ]
    assert lines[4] == "not here: gone"
    assert re.fullmatch(r"4 checks in \d+\.\d s: 1 critical, 1 warning, 1 unknown, 1 ok", lines[5])
    assert len(lines) == 6


def test_a_server_that_this_machine_never_had_is_not_asked_on_loopback_unless_by_name(tmp_path: Path) -> None:
    """One whose program or data are here is: when it does not run, that is the news."""
    house = build(tmp_path, "green", "server", "local")
    lines = nephoscope(house, "run").stdout.splitlines()
    assert lines[:3] == ["CRITICAL  check_local  refused", "OK        check_green  all well", "not here: server"]
    assert nephoscope(house, "run", "server").stdout.splitlines()[0] == "CRITICAL  check_server  refused"


@pytest.mark.parametrize(
    ("names", "state"),
    [(["green"], 0), (["green", "amber"], 1), (["red", "gone"], 2), (["amber", "gone"], 1), (["green", "gone"], 3)],
)
def test_exit_code_is_the_worst_state(house: Path, names: list[str], state: int) -> None:
    assert nephoscope(house, "run", *names).returncode == state


def test_what_was_asked_for_and_is_not_here_counts(house: Path) -> None:
    run = nephoscope(house, "run", "green", "gone")
    assert "not here, though asked for: gone" in run.stdout
    assert run.returncode == 3


def test_exit_ok_is_for_the_show_and_not_for_a_wrong_question(house: Path) -> None:
    assert nephoscope(house, "run", "--exit-ok").returncode == 0
    assert nephoscope(house, "run", "--exit-ok", "rad").returncode == 3


def test_options_stand_beside_a_name_in_quotes(house: Path) -> None:
    run = nephoscope(house, "run", "asks --name 'the cellar'")
    assert "looked at the cellar" in run.stdout
    assert run.returncode == 0


def test_json_is_one_document(house: Path) -> None:
    run = nephoscope(house, "run", "--format", "json")
    document = json.loads(run.stdout)
    assert run.returncode == document["state"] == 2
    assert [(check["name"], check["word"], check["absent"]) for check in document["checks"]] == [
        ("check_red", "CRITICAL", False),
        ("check_amber", "WARNING", False),
        ("check_asks", "UNKNOWN", False),
        ("check_gone", "UNKNOWN", True),
        ("check_green", "OK", False),
    ]
    assert document["checks"][0]["items"] == [{"state": "CRITICAL", "of": "it", "text": "it is [bold]down[/bold]"}]


def test_a_role_file_is_run_by_its_roles(house: Path, tmp_path: Path) -> None:
    file = tmp_path / "roles.toml"
    file.write_text(ROLES)
    run = nephoscope(house, "run", "--file", str(file), "--role", "web")
    assert run.stdout.splitlines()[:2] == [
        "OK        check_green         all well",
        "OK        front (check_asks)  looked at the door",
    ]
    run = nephoscope(house, "run", "--file", str(file))
    assert "not here, though asked for: gone" in run.stdout
    assert run.returncode == 3


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["run", "gren"], "no check gren: did you mean check_green?"),
        (["run", "green --nam x"], "check_green: no option --nam: did you mean --name?"),
        (["run", "asks"], "check_asks: option --name is required"),
        (["run", "green --name 'x"], "No closing quotation"),
        (["run", "--role", "web", "--file", "/nowhere/roles.toml"], "/nowhere/roles.toml: No such file or directory"),
        (["run", "--role", "wob", "--file", "{file}"], "no role wob in {file}: did you mean web?"),
        (["run", "--file", "{broken}"], "{broken}: not TOML: "),
        (["run", "--file", "{unknown}"], "{unknown}: service gren: no check check_gren: did you mean check_green?"),
        (["run", "--file", "{wrong}"], "{wrong}: service green: no option --nme: did you mean --name?"),
        (["run", "--parallel", "0"], "option --parallel"),
        (["run", "--timeout", "-1"], "option --timeout"),
        (["run", "--tmeout", "1"], "unrecognized arguments: --tmeout"),
        (["explain", "rd"], "no check rd: did you mean check_red?"),
        (["exlain"], "no command exlain: did you mean explain?"),
        (["export", "incinga"], "no export incinga: did you mean icinga?"),
        ([], "the following arguments are required"),
    ],
)
def test_a_wrong_question_is_told_what_is_wrong(house: Path, tmp_path: Path, argv: list[str], text: str) -> None:
    files = {
        "file": ROLES,
        "broken": "[web\n",
        "unknown": "[web.services.gren]\n",
        "wrong": '[web.services.green]\noptions = { nme = "x" }\n',
    }
    paths = {name: str(tmp_path / f"{name}.toml") for name in files}
    for name, content in files.items():
        Path(paths[name]).write_text(content)
    run = nephoscope(house, *(word.format(**paths) for word in argv))
    assert run.returncode == 3
    assert run.stdout == ""
    assert run.stderr.startswith("nephoscope: ")
    assert text.format(**paths) in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_what_dies_hangs_or_cannot_be_loaded_takes_nothing_with_it(tmp_path: Path) -> None:
    house = build(tmp_path, "green", "dies", "hangs")
    (house / "group" / "check_broken.py").write_text("import no_such_module\n")
    run = nephoscope(house, "run")
    assert run.returncode == 3
    lines = run.stdout.splitlines()
    assert lines[0].startswith("UNKNOWN   check_broken  ")
    assert "check_broken cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'" in lines[0]
    assert "by signal SIGABRT" in lines[1]
    assert "no answer 0.2 s after its deadline of 1 s: ended" in lines[2]
    assert lines[3] == "OK        check_green   all well"


def test_what_must_be_told_what_to_look_at_says_so_unless_the_role_node_does(house: Path) -> None:
    run = nephoscope(house, "run")
    assert "UNKNOWN   check_asks   check_asks: option --name is required" in run.stdout


def test_without_tomli_a_python_before_3_11_says_how_to_get_it(house: Path, tmp_path: Path) -> None:
    (tmp_path / "roles.toml").write_text(ROLES)
    starter = "import sys; sys.modules['tomllib'] = sys.modules['tomli'] = None\n" + STARTER
    argv = [sys.executable, "-c", starter, house, "run"]
    run = subprocess.run([*argv, "--file", str(tmp_path / "roles.toml")], capture_output=True, text=True, check=False)
    assert run.returncode == 3
    assert "pip install 'nephoscope[cli]'" in run.stderr
    run = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "OK        check_green  all well" in run.stdout
    assert re.search("^UNKNOWN +check_asks +.*needs tomli", run.stdout, re.MULTILINE)


def test_an_interrupt_ends_it_with_what_is_known(tmp_path: Path) -> None:
    house = build(tmp_path, "green", "hangs")
    for number in (signal.SIGINT, signal.SIGTERM):
        flag = tmp_path / number.name
        names = ["green", f"hangs -t 50 --name {flag}"]
        argv = [sys.executable, "-c", STARTER, house, "run", "--exit-ok", "--parallel", "1", *names]
        run = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while not flag.exists():
            time.sleep(0.02)
        run.send_signal(number)
        out, err = run.communicate(timeout=10)
        assert err == ""
        assert f"interrupted by {number.name}: ended" in out
        assert re.search("^OK +check_green +all well$", out, re.MULTILINE)
        assert run.returncode == 3


def test_a_reader_that_has_seen_enough_is_no_error(house: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-c", STARTER, house, "list"]
    run = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert run.stderr == ""


def on_terminal(house: Path, *argv: str, rich: bool = True) -> tuple[int, str]:
    starter = STARTER if rich else "import sys; sys.modules['rich'] = None\n" + STARTER
    pid, terminal = pty.fork()
    if pid == 0:
        env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
        os.execve(sys.executable, [sys.executable, "-c", starter, str(house), *argv], env)
    output = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        output += part
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), output.decode()


def test_on_a_terminal_the_table_is_live_and_coloured(house: Path) -> None:
    pytest.importorskip("rich")
    status, output = on_terminal(house, "run")
    assert status == 2
    assert re.search(r"[|/\\-] \d/5 check_", output), "no progress was shown"
    final = output.rpartition("what it found")[2]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", final)
    assert plain.index("CRITICAL") < plain.index("WARNING") < plain.index("OK")
    assert "it is [bold]down[/bold]" in plain
    assert "\x1b[90mnot here: gone\x1b[0m" in final
    assert "41m CRITICAL" in final


def test_on_a_terminal_without_rich_it_is_plain(house: Path) -> None:
    status, output = on_terminal(house, "run", rich=False)
    assert status == 2
    assert re.search(r"\r\x1b\[K[|/\\-] \d/5 check_", output)
    assert "\r\x1b[KCRITICAL  check_red    it is [bold]down[/bold]\r\n" in output


def test_export_prints_or_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nephoscope import cli

    assert cli.command(["export", "nrpe", "--plugin-dir", "/opt/here"]) == 0
    printed = capsys.readouterr().out
    assert "command[nephoscope_" in printed
    assert "/opt/here/check_" in printed
    assert cli.command(["export", "nrpe", "--plugin-dir", "/opt/here", "--output", str(tmp_path / "a" / "b")]) == 0
    told = capsys.readouterr().out.splitlines()
    written = [path for path in (tmp_path / "a" / "b").rglob("*") if path.is_file()]
    assert sorted(told) == sorted(map(str, written))
    assert all(path.read_text() in printed for path in written)


def test_export_into_a_place_that_cannot_be_says_so(tmp_path: Path) -> None:
    from nephoscope import cli

    (tmp_path / "file").touch()
    with pytest.raises(cli.Refused, match=r"file/.* cannot be written: "):
        cli.command(["export", "nrpe", "--output", str(tmp_path / "file")])


def test_this_machine_is_asked_as_the_role_node_is_and_beyond_it() -> None:
    from nephoscope.cli.choosing import jobs

    made = {job.label: job.argv for job in jobs(argparse.Namespace(name=[], role=[], file=None), terminal=False)}
    assert made["kernel_log (check_log)"] == ("--preset", "kernel")
    assert made["check_libvirt"] == ()
    assert "check_log" not in made
