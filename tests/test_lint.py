# SPDX-License-Identifier: Apache-2.0
"""The tools that read the source: ruff (rules and format), mypy (strict on lib/)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = [
    ["ruff", "check", "--output-format=concise", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
]


@pytest.mark.parametrize("tool", TOOLS, ids=[" ".join(tool[:2]) for tool in TOOLS])
def test_source_is_clean(tool: list[str]) -> None:
    program = Path(sys.executable).parent / tool[0]
    if not program.exists():
        pytest.skip(f"{tool[0]} is not installed here (extra: lint)")
    run = subprocess.run([program, *tool[1:]], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.returncode == 0, run.stdout
