# SPDX-License-Identifier: Apache-2.0
"""The committed table of costs, measured again: nothing costs 2 % more, and nothing more than its limit."""

import os
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


def test_a_shown_line_of_one_word_costs_no_more_than_its_length():
    """What searches it for secrets took the cube of its length: a minute and a half for 4,000 bytes."""
    (valgrind,) = need("valgrind")
    script = "import sys; from nephoscope.probes.log_lines import masked; masked(sys.argv[1].encode())"
    argv = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", script]

    def cost(word):
        environment = {**os.environ, "PYTHONHASHSEED": "0", "LC_ALL": "C"}
        done = subprocess.run([*argv, word], capture_output=True, text=True, env=environment)
        return int(done.stderr.rpartition("Collected : ")[2].split()[0])

    nothing = cost("x")
    for piece in ("x", "token", "--a"):
        short, long = (cost((piece * 800)[:length]) - nothing for length in (400, 800))
        assert 0 < long < 3 * short, (piece, short, long)


def test_the_comparison_can_fail():
    assert benchmarks.over({"check_load": 5.0}, {"check_load": 5.0}) == []
    assert benchmarks.over({"check_load": 4.0}, {"check_load": 5.0}) == []
    assert len(benchmarks.over({"check_load": 5.11}, {"check_load": 5.0})) == 1
    assert len(benchmarks.over({"check_load": 5.9}, {"check_load": 5.9})) == 1
    assert len(benchmarks.over({"x --help": 5.9}, {"x --help": 5.9})) == 1
    assert len(benchmarks.over({"default patterns": 21}, {"default patterns": 21})) == 1
    assert len(benchmarks.over({"new": 1}, {"gone": 1})) == 2
    assert benchmarks.table("| run | bare starts | limit |\n| `check_load` | 4.88 | 5.8 |\n") == {"check_load": 4.88}
