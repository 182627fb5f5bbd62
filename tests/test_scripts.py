# SPDX-License-Identifier: Apache-2.0
"""What ./run, ./test and their helpers promise: no daemon is started, what was there is put back, a skip is seen."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OWN_POLICY = "#!/bin/sh\nexit 0  # the owner's\n"


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A project of two labs whose apt-get writes down what it was asked, and what the policy said meanwhile."""
    (tmp_path / "tests/lab/packages").mkdir(parents=True)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "tests/lab/install", tmp_path / "tests/lab/install")
    (tmp_path / "tests/lab/packages/clock.apt").write_text("chrony   # a daemon\nfaketime\n")
    (tmp_path / "tests/lab/packages/web.apt").write_text("no-such-package\n")
    (tmp_path / "sbin").mkdir()
    program(
        tmp_path / "bin/apt-get",
        'echo "$@" >>"$LOG"; sh "$NEPHOSCOPE_POLICY"; echo "policy $?" >>"$LOG"; [ -z "${SLEEP:-}" ] || sleep "$SLEEP"\n'
        'case "$*" in *no-such*) exit 100 ;; esac\n',
    )
    return tmp_path


def environment(house: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{house}/bin:{os.environ['PATH']}",
        "NEPHOSCOPE_POLICY": f"{house}/sbin/policy-rc.d",
        "LOG": f"{house}/log",
        **more,
    }


def install(house: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [house / "tests/lab/install"], env=environment(house), capture_output=True, text=True, check=False
    )


def test_labs_are_installed_one_by_one_with_daemons_forbidden(house: Path) -> None:
    run = install(house)
    log = (house / "log").read_text()
    assert "install -y --no-install-recommends chrony faketime" in log
    assert "policy 0" not in log
    assert log.count("policy 101") == 3
    assert run.returncode == 0
    assert "not everything could be installed for: web" in run.stderr


@pytest.mark.parametrize("kind", ["file", "link", "nothing"])
def test_policy_is_put_back_as_it_was(house: Path, kind: str) -> None:
    policy = house / "sbin/policy-rc.d"
    if kind == "file":
        policy.write_text(OWN_POLICY)
        policy.chmod(0o750)
    elif kind == "link":
        policy.symlink_to("/nowhere")
    install(house)
    assert "policy 101" in (house / "log").read_text()
    assert [entry.name for entry in (house / "sbin").iterdir()] == (["policy-rc.d"] if kind != "nothing" else [])
    if kind == "file":
        assert policy.read_text() == OWN_POLICY
        assert stat.S_IMODE(policy.stat().st_mode) == 0o750
    elif kind == "link":
        assert os.readlink(policy) == "/nowhere"


def test_policy_is_put_back_after_a_signal_and_after_a_kill(house: Path) -> None:
    policy = house / "sbin/policy-rc.d"
    policy.write_text(OWN_POLICY)
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        (house / "log").unlink(missing_ok=True)
        run = subprocess.Popen([house / "tests/lab/install"], env=environment(house, SLEEP="0.3"))
        while not (house / "log").exists():
            time.sleep(0.01)
        run.send_signal(signal_number)
        assert run.wait(10) != 0
        if signal_number == signal.SIGTERM:
            assert policy.read_text() == OWN_POLICY
    time.sleep(0.4)  # apt-get of the killed run
    install(house)
    assert policy.read_text() == OWN_POLICY
    assert [entry.name for entry in (house / "sbin").iterdir()] == ["policy-rc.d"]


def test_without_a_usable_python_the_one_line_is_printed(tmp_path: Path) -> None:
    program(tmp_path / "id", "echo 1000\n")
    shell = shutil.which("sh") or "sh"
    script = f". {ROOT}/.ci/venv.sh; usable() {{ false; }}; python=$(find_python); echo never"
    run = subprocess.run([shell, "-eu", "-c", script], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert run.returncode == 3
    assert run.stdout == ""
    assert "sudo apt-get install -y --no-install-recommends python3 python3-venv" in run.stderr


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """A small suite under this project's conftest: one lab of two tests and a skip, one test that is no lab."""
    (tmp_path / "tests/lab").mkdir(parents=True)
    shutil.copy(ROOT / "tests/conftest.py", tmp_path / "tests/conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = lab: a lab\n")
    (tmp_path / "tests/test_plain.py").write_text("def test_plain(): pass\n")
    (tmp_path / "tests/lab/test_clock.py").write_text(
        "import os, pytest\npytestmark = pytest.mark.lab\n"
        "def test_one(): pass\ndef test_two(): pass\n"
        "@pytest.mark.skipif('SKIP' in os.environ, reason='no chrony')\ndef test_three(): pass\n"
    )
    return tmp_path


def suite(labs: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    plain = {
        name: value for name, value in os.environ.items() if name != "CI" and not name.startswith(("PYTEST", "COV"))
    }
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(
        command,
        cwd=labs,
        env={**plain, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_labs_are_counted_against_what_is_expected(labs: Path) -> None:
    assert suite(labs, "--write-expected").returncode == 0
    assert (labs / "tests/lab/EXPECTED").read_text().splitlines()[1:] == ["test_clock 3"]
    run = suite(labs, CI="true")
    assert run.returncode == 0, run.stdout
    assert "labs that ran, with the tests that passed: clock 3" in run.stdout
    (labs / "tests/lab/EXPECTED").write_text("test_clock 3\ntest_gone 4\n")
    run = suite(labs, CI="true")
    assert run.returncode == 1
    assert "test_gone: 0 passed, 4 expected" in run.stdout
    assert suite(labs).returncode == 0
    assert suite(labs, "-m", "not lab", CI="true").returncode == 0
    assert suite(labs, "tests/test_plain.py", CI="true").returncode == 0


def test_a_skip_is_a_failure_in_ci_alone(labs: Path) -> None:
    (labs / "tests/lab/EXPECTED").write_text("test_clock 2\n")
    run = suite(labs, CI="true", SKIP="1")
    assert run.returncode == 1
    assert "with CI=true a skip is a failure" in run.stdout
    assert "no chrony" in run.stdout
    assert suite(labs, SKIP="1").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has what root cannot try")
def test_what_root_cannot_try_is_no_failure(labs: Path) -> None:
    text = "import pytest\n@pytest.mark.skipif(True, reason={!r})\ndef test_plain(): pass\n"
    (labs / "tests/lab/EXPECTED").write_text("test_clock 3\n")
    (labs / "tests/test_plain.py").write_text(text.format("root may read everything"))
    assert suite(labs, CI="true").returncode == 0
    (labs / "tests/test_plain.py").write_text(text.format("no roots"))
    assert suite(labs, CI="true").returncode == 1


def test_a_module_that_skips_itself_is_a_failure_in_ci(labs: Path) -> None:
    (labs / "tests/lab/EXPECTED").write_text("test_clock 3\n")
    (labs / "tests/lab/test_web.py").write_text("import pytest\npytest.skip('no web', allow_module_level=True)\n")
    assert suite(labs, CI="true").returncode != 0
    assert suite(labs).returncode == 0
