# SPDX-License-Identifier: Apache-2.0
"""The committed table of costs, measured again: nothing costs 2 % more, and nothing more than its limit."""

import subprocess
import sys

import pytest

from benchmarks import __main__ as benchmarks
from tests.lab.support import ROOT, need

pytestmark = pytest.mark.lab


def test_the_table_of_costs_still_holds():
    need("valgrind")
    done = subprocess.run([sys.executable, "-m", "benchmarks", "--compare"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "the table holds"), done.stdout + done.stderr


def test_the_comparison_can_fail():
    assert benchmarks.over({"check_load": 5.0}, {"check_load": 5.0}) == []
    assert benchmarks.over({"check_load": 4.0}, {"check_load": 5.0}) == []
    assert len(benchmarks.over({"check_load": 5.11}, {"check_load": 5.0})) == 1
    assert len(benchmarks.over({"check_load": 5.9}, {"check_load": 5.9})) == 1
    assert len(benchmarks.over({"x --help": 5.9}, {"x --help": 5.9})) == 1
    assert len(benchmarks.over({"default patterns": 21}, {"default patterns": 21})) == 1
    assert len(benchmarks.over({"new": 1}, {"gone": 1})) == 2
    assert benchmarks.table("| run | bare starts | limit |\n| `check_load` | 4.88 | 5.8 |\n") == {"check_load": 4.88}
