# SPDX-License-Identifier: Apache-2.0
"""With CI=true a skip is a failure, and each lab must have run as many tests as tests/lab/EXPECTED says.

One skip is none: a test that root cannot make (root may read and become everything) says "root ..." as its reason.

`./test --write-expected` (a whole run on a machine with every lab) writes that file anew.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

HEAD = "# Tests that pass in each lab; compared where CI=true. Written anew by ./test --write-expected\n"
EXPECTED = Path(__file__).parent / "lab" / "EXPECTED"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-expected", action="store_true", help="write tests/lab/EXPECTED from this run")


def pytest_configure(config: pytest.Config) -> None:
    # Tests leave nothing in the state that this user's own checks keep, and find nothing of it.
    folder = tempfile.mkdtemp(prefix="nephoscope-state-")
    os.environ["XDG_STATE_HOME"] = folder
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    config.pluginmanager.register(Labs(config), "nephoscope-labs")


def strict() -> bool:
    return os.environ.get("CI") == "true"


def read(path: Path = EXPECTED) -> Counter[str]:
    """Lines of `module count`; a missing file expects nothing, so that every lab is then one too many."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return Counter({name: int(count) for name, count in rows})


def compare(expected: Counter[str], passed: Counter[str]) -> list[str]:
    """One line for each lab whose number of passed tests is another than the expected one."""
    return [
        f"{name}: {passed[name]} passed, {expected[name]} expected"
        for name in sorted({*expected, *passed})
        if expected[name] != passed[name]
    ]


class Labs:
    """Counts the lab tests that passed, by module, and turns skips into failures where CI=true."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.modules: dict[str, str] = {}
        self.passed: Counter[str] = Counter()
        self.differences: list[str] = []

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if item.get_closest_marker("lab"):
                self.modules[item.nodeid] = item.path.stem

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed and report.nodeid in self.modules:
            self.passed[self.modules[report.nodeid]] += 1

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item):
        report = (yield).get_result()
        self.refuse_skip(report)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector):
        report = (yield).get_result()
        self.refuse_skip(report)

    def refuse_skip(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not strict() or not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not (os.geteuid() == 0 and reason.removeprefix("Skipped: ").startswith("root ")):
            report.outcome = "failed"
            report.longrepr = f"with CI=true a skip is a failure: {reason}"

    def whole(self) -> bool:
        """Is this a run of everything? Only then do the counts mean anything."""
        option = self.config.option
        chosen = (
            option.markexpr or option.keyword or option.deselect or getattr(option, "lf", False) or option.collectonly
        )
        return self.config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self.whole():
            return
        if self.config.option.write_expected:
            lines = [f"{name} {count}\n" for name, count in sorted(self.passed.items())]
            EXPECTED.write_text(HEAD + "".join(lines))
        elif strict():
            self.differences = compare(read(), self.passed)
            if self.differences and session.exitstatus == 0:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.passed:
            ran = ", ".join(f"{name.removeprefix('test_')} {count}" for name, count in sorted(self.passed.items()))
            terminalreporter.write_line(f"labs that ran, with the tests that passed: {ran}")
        if self.differences:
            terminalreporter.section("labs that did not run as tests/lab/EXPECTED says", red=True)
            for line in self.differences:
                terminalreporter.write_line(line)
