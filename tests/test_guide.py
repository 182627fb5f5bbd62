# SPDX-License-Identifier: Apache-2.0
"""The check of docs/writing-a-check.md, written out as the guide says: its tests pass, and so does conformance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^`([\w/.]+)`:\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Python reads it at its start, in pytest and in its children: it then finds the guide's modules beside the real ones, as
# if they had been written into the tree.
SITE = """
import sys
from pathlib import Path
import nephoscope.checks.node, nephoscope.probes
HERE = Path(__file__).parent
nephoscope.checks.node.__path__.append(str(HERE / "checks" / "node"))
nephoscope.probes.__path__.append(str(HERE / "lib" / "nephoscope" / "probes"))
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guide")
    blocks = BLOCK.findall((ROOT / "docs" / "writing-a-check.md").read_text())
    for name, text in blocks:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    assert [name for name, _ in blocks] == [
        "lib/nephoscope/probes/coredump.py",
        "checks/node/check_core_dump.py",
        "tests/checks/test_core_dump.py",
    ]
    (folder / "sitecustomize.py").write_text(SITE)
    return folder


def suite(written: Path, *argv: str) -> str:
    """Run pytest over the written check; return what it printed, after it has passed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "CI"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *argv]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env={**env, "PYTHONPATH": str(written)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_the_tests_of_the_guide_pass(written: Path) -> None:
    out = suite(written, "--rootdir", str(written), str(written / "tests" / "checks" / "test_core_dump.py"))
    assert re.search(r"\b7 passed\b", out)


def test_the_check_of_the_guide_conforms(written: Path) -> None:
    out = suite(written, "tests/test_conformance.py", "-k", "core_dump")
    passed = re.search(r"\b(\d+) passed\b", out)
    assert passed and int(passed[1]) >= 5, out


def test_the_code_of_the_guide_is_clean(written: Path) -> None:
    ruff = Path(sys.executable).parent / "ruff"
    if not ruff.exists():
        return  # tests/test_lint.py says so
    for path in sorted(written.rglob("*.py")):
        if path.name == "sitecustomize.py":
            continue
        for argv in (["check"], ["format", "--check"]):
            run = subprocess.run(
                [ruff, *argv, "--no-cache", "--stdin-filename", ROOT / path.relative_to(written), "-"],
                cwd=ROOT,
                input=path.read_text(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert run.returncode == 0, run.stdout
