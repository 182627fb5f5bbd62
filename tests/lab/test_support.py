# SPDX-License-Identifier: Apache-2.0
"""The labs' own tools: a lab that skips or leaks in silence would prove nothing."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.support import Daemon, free_port, lab_venv, listening, need, private_folder, users, wait_for

pytestmark = pytest.mark.lab


def test_a_program_that_is_there_is_found_also_outside_path() -> None:
    assert need("sh") == ["/bin/sh"] or need("sh") == ["/usr/bin/sh"]
    assert need("/bin/sh") == ["/bin/sh"]


def test_a_missing_program_skips_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-daemon"):
        need("sh", "no-such-daemon")
    with pytest.raises(pytest.skip.Exception, match=r"\.lab/no-such-lab"):
        lab_venv("no-such-lab")


def test_in_ci_a_missing_program_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-daemon"):
        need("no-such-daemon")


def test_the_folder_can_be_entered_by_others(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert folder.parent == Path("/tmp")


def test_a_daemon_and_its_children_are_gone_afterwards(folder: Path) -> None:
    port = free_port()
    note = folder / "child"
    server = f"/usr/bin/python3 -m http.server {port} --bind 127.0.0.1"
    with Daemon(
        ["/bin/sh", "-c", f"trap '' TERM; sleep 300 & echo $! >{note}; exec {server}"],
        ready=listening(port),
        log=folder / "log",
    ) as daemon:
        child = int(wait_for(note.read_text))
        assert daemon.alive()
        assert Path(f"/proc/{child}").exists()
        assert os.getpgid(child) == daemon.pid
        daemon.stop(seconds=1)  # it ignores TERM: the group gets KILL

    def gone() -> bool:
        try:
            return Path(f"/proc/{child}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True

    assert wait_for(gone)
    assert not daemon.alive()


def test_who_still_works_in_a_folder_is_ended_before_it_is_removed() -> None:
    with private_folder() as folder:
        # as a plugin that a scheduler left behind: it would make its folder anew
        subprocess.Popen(
            ["/bin/sh", "-c", f"trap 'exit 0' TERM; while :; do mkdir -p {folder}/state; sleep 0.05; done"],
            start_new_session=True,
        )
        wait_for((folder / "state").exists)
        assert users(folder)
    assert not users(folder)
    time.sleep(0.2)
    assert not folder.exists()


def test_a_daemon_that_ends_early_fails_with_its_log(folder: Path) -> None:
    with (
        pytest.raises(pytest.fail.Exception, match="cannot read its configuration"),
        Daemon(
            ["/bin/sh", "-c", "echo cannot read its configuration; exit 3"], ready=lambda: False, log=folder / "log"
        ),
    ):
        pass
