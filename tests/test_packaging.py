# SPDX-License-Identifier: Apache-2.0
"""The wheel, installed as a user would: every script starts, a check checks, and the core needs two libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from nephoscope import __version__, catalogue

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.lab  # it asks the package index


def call(*argv: object, **words: object) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    return subprocess.run(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **{"env": clean, "timeout": 240, **words},
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of what git knows: a build beside the sources would leave its traces there."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("wheel")
    listed = call(
        "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT
    )
    for name in listed.stdout.split("\0"):
        if name.startswith(("lib/", "checks/")) or name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    built = call(sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", target, source)
    assert built.returncode == 0, built.stderr
    (path,) = target.glob("nephoscope-*.whl")
    return path


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("venv")
    assert call(sys.executable, "-m", "venv", home).returncode == 0
    installed = call(home / "bin" / "python", "-m", "pip", "install", "-qq", wheel)
    assert installed.returncode == 0, installed.stderr
    return home


def test_the_wheel_holds_all_modules_and_data_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {f"nephoscope/{path.relative_to(ROOT / 'lib' / 'nephoscope')}" for path in (ROOT / "lib").rglob("*.py")}
    wanted |= {f"nephoscope/checks/{path.relative_to(ROOT / 'checks')}" for path in (ROOT / "checks").rglob("*.py")}
    wanted |= {f"nephoscope/export/{path.name}" for path in (ROOT / "lib/nephoscope/export").glob("*.toml")}
    assert names == wanted


def test_the_core_needs_nagiosplugin_and_psutil_alone(venv: Path) -> None:
    listed = call(venv / "bin" / "python", "-m", "pip", "list", "--format", "json").stdout
    names = {package["name"].lower() for package in json.loads(listed)}
    assert names - {"pip", "setuptools", "wheel"} == {"nephoscope", "nagiosplugin", "psutil"}


def test_every_script_answers(venv: Path) -> None:
    for name in catalogue.names():
        run = call(venv / "bin" / name, "-V")
        assert (run.returncode, run.stdout, run.stderr) == (3, f"{name} {__version__} (nephoscope)\n", "")


def test_every_check_of_a_node_gives_one_valid_answer(venv: Path, tmp_path: Path) -> None:
    """States differ from machine to machine; the form does not."""
    for check in catalogue.all_checks():
        if "node" not in check.where:
            continue
        run = call(venv / "bin" / check.name, "--state-dir", tmp_path, cwd="/")
        word = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[run.returncode]
        assert run.stdout.startswith(f"{check.title} {word} - "), run.stdout
        assert "bug in" not in run.stdout
        assert run.stderr == ""


def test_the_command_checks_this_machine_without_rich(venv: Path, tmp_path: Path) -> None:
    run = call(venv / "bin" / "nephoscope", "run", "--format", "json", cwd=tmp_path)
    document = json.loads(run.stdout)
    assert run.returncode == document["state"]
    assert {check["name"] for check in document["checks"]} == {
        check.name for check in catalogue.all_checks() if "node" in check.where
    }
    plain = call(venv / "bin" / "nephoscope", "run", "tmp_writable", cwd=tmp_path)
    assert plain.stdout.splitlines()[-1].startswith("1 check in ")


def test_the_exports_come_from_the_installed_package(venv: Path, tmp_path: Path) -> None:
    for what in ("icinga", "nrpe", "nagios", "director", "sudoers", "docs"):
        run = call(venv / "bin" / "nephoscope", "export", what, "--output", tmp_path / what, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert any((tmp_path / what).rglob("*"))
