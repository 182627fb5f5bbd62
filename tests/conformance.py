# SPDX-License-Identifier: Apache-2.0
"""The rules that every check keeps, one function each; tests/test_conformance.py holds every check in checks/ to all of them.

A rule takes the check and an empty folder, and asserts. Nothing here names a check: a new one is held to the rules without
anybody remembering.
"""

from __future__ import annotations

import ast
import ctypes
import inspect
import json
import os
import re
import time
from pathlib import Path

import pytest
from nephoscope.base import Clock, child
from nephoscope.plugin import Check, limits
from nephoscope.plugin.options import FORMATS

from tests.plugin.readers import check_output

UNITS = ("", "s", "B", "%", "c")
CODE_MAX = 60  # lines of a check; docstring, licence, blank lines and the tables of words are not counted
WORDS = ("RUNBOOK", "PRESETS", "MODES")  # what they are called when they stand apart


def argv(check: Check, folder: Path) -> list[str]:
    """Arguments with which a check can run at all: a value for each option that is required."""
    required = [option for option in check.options if option.required and not option.secret]
    given = [f"{option.flag}={(option.choices or 'x')[0]}" for option in required]
    return [*given, "--state-dir", str(folder / "state")]


def rule_it_presents_itself(check: Check, folder: Path) -> None:
    assert re.fullmatch(r"check_[a-z0-9_]+", check.name)
    assert check.question.endswith("?"), "the docstring's first line is the question"
    assert len(check.question) <= 160
    assert check.runbook, "a runbook says what to do at 3 a.m."
    assert set(check.where) <= {"node", "remote"}
    assert check.where
    assert all(text.strip() for text in (*check.modes.values(), *(preset.help for preset in check.presets.values())))
    assert all(need.cure() for need in check.needs)


def rule_its_options_are_told_and_its_own(check: Check, folder: Path) -> None:
    flags = [option.flag for option in check.options] + [option.short for option in check.options if option.short]
    assert len(set(flags)) == len(flags), "an option of the frame is not declared again"
    assert all(option.help.strip() for option in check.options)
    assert all(re.fullmatch(r"--[a-z][a-z0-9-]*", option.flag) for option in check.options)
    # What names a secret is one; a file that holds one is not.
    for option in check.options:
        if re.search(r"password|token|secret|community", option.flag) and not option.flag.endswith(("-file", "-cache")):
            assert option.secret, option.flag


def rule_its_limits_are_well_formed(check: Check, folder: Path) -> None:
    names = [threshold.name for threshold in check.thresholds]
    assert len(set(names)) == len(names)
    values = check.parse(*argv(check, folder))
    made = limits.contexts(check.thresholds, check.presets, values)
    assert set(made) == set(names)
    for threshold in check.thresholds:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", threshold.name)
        assert threshold.unit in UNITS
        assert threshold.print in ("each", "worst", "apart", "top")
        assert threshold.mode is None or threshold.mode in check.modes
        assert not (threshold.unit == "c" and (threshold.warning or threshold.critical)), "a raw counter has no limit"
    for preset in check.presets.values():
        assert set(preset.limits) <= set(names)
        assert set(preset.options) <= {option.dest for option in check.options}
    for mode in check.modes:
        assert sum(threshold.main for threshold in check.thresholds if threshold.mode in (None, mode)) <= 1


def rule_help_and_version_are_unknown_and_whole(check: Check, folder: Path) -> None:
    for flag in ("-h", "--help"):
        outcome = check.run([flag])
        assert outcome.state == 3
        for option in check.options:
            assert option.flag in outcome.text
        for threshold in check.thresholds:
            assert threshold.name in outcome.text
        assert check.question in outcome.text
    outcome = check.run(["-V"])
    assert (outcome.state, outcome.text) == (3, outcome.line)
    assert check.name in outcome.text


def rule_a_wrong_word_is_unknown_and_named(check: Check, folder: Path) -> None:
    for words, said in (
        (["--critcal", "5"], "did you mean --critical?"),
        (["--nonsense-option"], "no option --nonsense-option"),
        (["stray"], "'stray' belongs to no option"),
        (["-t", "soon"], "'soon'"),
        (["--format", "xml"], "'xml'"),
        (["--window", "often"], "'often'"),
        (["--unreachable-state", "bad"], "'bad'"),
        (["-w", "nosuchlimit=1"], "'nosuchlimit'"),
    ):
        outcome = check.run([*argv(check, folder), *words])
        assert outcome.state == 3
        assert said in outcome.line
        check_output(outcome.text)
    for threshold in check.thresholds:
        mode = ["--mode", threshold.mode] if threshold.mode else []
        outcome = check.run([*argv(check, folder), *mode, "-w", f"{threshold.name}=20:10"])
        assert outcome.state == 3
        assert "did you mean '10:20'?" in outcome.line


def rule_a_missing_required_option_is_unknown_and_named(check: Check, folder: Path) -> None:
    for option in check.options:
        if option.required:
            rest = [word for word in argv(check, folder) if not word.startswith(option.flag)]
            outcome = check.run(rest)
            assert outcome.state == 3
            assert option.flag in outcome.line


def rule_an_empty_argument_is_not_given(check: Check, folder: Path) -> None:
    empty = [word for option in check.options if option.metavar and not option.secret for word in (option.flag, "")]
    empty = [word for at, word in enumerate(empty) if empty[at - (word == "")] != "--extra-opts"]
    required = argv(check, folder)
    assert check.parse(*empty, *required) == check.parse(*required)


def rule_it_obeys_the_plugin_language_on_this_machine(check: Check, folder: Path) -> None:
    for more in ([], ["-v"], ["--explain", "-vv"]):
        outcome = check.run([*argv(check, folder), *more])
        assert outcome.state in (0, 1, 2, 3)
        assert "bug in" not in outcome.reason, outcome.text
        check_output(outcome.text)
    assert set(outcome.text.splitlines()[1:]) & {f"question: {check.question}".replace("|", "¦")}


def rule_only_the_tail_of_perfdata_changes_between_runs(check: Check, folder: Path) -> None:
    """PNP knows values by their place: what a first run can't have yet (late=True, or a name in _rate) stands last."""
    first, second = (
        [item.partition("=")[0] for item in check.run(argv(check, folder), clock=Clock(shift)).perfdata]
        for shift in (0, 120)
    )
    assert second[: len(first)] == first
    late = {threshold.name for threshold in check.thresholds if threshold.late}
    assert all(label in late or label.endswith(tuple(f"_{name}" for name in late)) for label in second[len(first) :])


def rule_every_format_says_the_same(check: Check, folder: Path) -> None:
    for wanted in FORMATS:
        outcome = check.run([*argv(check, folder), "--format", wanted])
        assert outcome.state in (0, 1, 2, 3)
        assert outcome.text
        if wanted == "json":
            document = json.loads(outcome.text)
            assert document["exit"] == outcome.state
            assert document["name"] == check.title
        if wanted == "openmetrics":
            assert outcome.text.endswith("\n# EOF")
            for line in outcome.text.splitlines():
                assert line.startswith("#") or re.fullmatch(
                    r'[a-z_0-9]+\{(?:[a-z]+="(?:[^"\\]|\\.)*",?)+\} -?[0-9.]+', line
                ), line


def rule_where_nothing_is_to_be_seen_it_never_says_ok(
    check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty machine: no /proc, no /sys, no configuration, no program, no C library to make a system call by."""
    (folder / "root").mkdir()
    blind(folder, monkeypatch)
    outcome = check.run(argv(check, folder), root=str(folder / "root"))
    assert outcome.state != 0, outcome.text
    assert "bug in" not in outcome.reason, outcome.text
    check_output(outcome.text)


def rule_where_nothing_may_be_read_it_never_says_ok(
    check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that shows itself to nobody: every open and every listing below the root is refused."""
    root = folder / "root"
    for name in ("proc", "sys", "etc", "var/lib", "var/log", "run", "opt", "tmp"):
        (root / name).mkdir(parents=True)
    blind(folder, monkeypatch)
    for name in ("open", "scandir", "listdir", "stat", "lstat", "statvfs", "readlink", "access"):
        monkeypatch.setattr(os, name, refuse(getattr(os, name), str(root), name == "access"))
    outcome = check.run(argv(check, folder), root=str(root))
    monkeypatch.undo()
    assert outcome.state != 0, outcome.text
    assert "bug in" not in outcome.reason, outcome.text
    check_output(outcome.text)


def blind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what does not go through the root: programs and system calls."""

    def no_library(*_words, **_more):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(child, "PATH", str(folder / "nowhere"))
    monkeypatch.setattr(ctypes, "CDLL", no_library)


def refuse(real, root, answers_false):
    def refusing(path, *words, **more):
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(root):
            if answers_false:
                return False
            raise PermissionError(13, "Permission denied", path)
        return real(path, *words, **more)

    return refusing


def rule_what_it_reads_may_be_garbage(check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of the kernel and of agents is binary noise: never OK, never a bug."""
    root = folder / "root"
    for name in ("proc", "sys"):
        (root / name).mkdir(parents=True)
    noise = folder / "noise"
    noise.write_bytes(bytes(range(256)) * 8 + b"\n1 2 3\n")
    blind(folder, monkeypatch)
    real = os.open

    def noisy(path, *words, **more):
        if isinstance(path, str) and path.startswith(str(root)) and not os.path.isdir(path):
            path = str(noise)
        return real(path, *words, **more)

    monkeypatch.setattr(os, "open", noisy)
    outcome = check.run(argv(check, folder), root=str(root))
    monkeypatch.undo()
    assert outcome.state != 0, outcome.text
    assert "bug in" not in outcome.reason, outcome.text
    check_output(outcome.text)


def rule_it_ends_within_its_deadline(check: Check, folder: Path) -> None:
    begun = time.monotonic()
    outcome = check.run([*argv(check, folder), "-t", "1"])
    assert time.monotonic() - begun < 1.5
    check_output(outcome.text)


def rule_its_file_is_small_and_its_judge_pure(check: Check, folder: Path) -> None:
    path = Path(inspect.getsourcefile(check._judge) or "")
    tree = ast.parse(path.read_text())
    assert code_lines(tree, path.read_text()) <= CODE_MAX
    allowed = (
        "nephoscope",
        "__future__",
        "typing",
        "collections",
        "re",
        "math",
        "fnmatch",
        "datetime",
        "itertools",
        "functools",
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            modules = []
        for module in modules:
            assert module.partition(".")[0] in allowed, f"{module}: a check does no I/O of its own"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("open", "print", "input", "exec", "eval"), node.func.id
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("now", "utcnow", "today"), "a judge has no clock: the facts bear their time"


def code_lines(tree: ast.Module, source: str) -> int:
    """Count the lines of code: not blank, no comment, docstring or runbook, no table of modes, presets or paths; a limit or an option is one."""
    left_out: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None:
            left_out |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Threshold", "add"):
            left_out |= set(range(node.lineno + 1, (node.end_lineno or 0) + 1))  # a row, however the formatter folds it
        if isinstance(node, ast.keyword) and node.arg in ("runbook", "presets", "modes", "signs"):
            left_out |= set(range(node.value.lineno, (node.value.end_lineno or 0) + 1))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in WORDS:
            left_out |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    lines = source.splitlines()
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in left_out
        for number, line in enumerate(lines, 1)
    )


RULES = [value for name, value in sorted(globals().items()) if name.startswith("rule_")]
