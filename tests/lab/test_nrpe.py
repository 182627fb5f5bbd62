# SPDX-License-Identifier: Apache-2.0
"""A real nrpe with TLS and Debian's own commands runs every command of our files, asked by the real check_nrpe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope import catalogue, export
from nephoscope.export import nrpe as generator
from nephoscope.export import words

from tests.lab.nrpe import DEBIAN, Nrpe, command_files, daemon, debian_commands
from tests.lab.support import need, private_folder

pytestmark = pytest.mark.lab

WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
CHECKS = {check.name: check for check in catalogue.all_checks()}
SERVICES = [service for _, service in export.load().all_services() if words.at_node(CHECKS[service.check], service)]


@pytest.fixture(scope="module")
def nrpe(installed_plugins: Path) -> Iterator[Nrpe]:
    need("nrpe", "check_nrpe", "check_load", str(DEBIAN))
    with private_folder() as folder:
        files = command_files(folder, installed_plugins)
        shown = "x" * (generator.LONGEST - len("command[long]=/usr/bin/printf %s "))
        files["long.cfg"] = f"command[long]=/usr/bin/printf %s {shown}\n"
        with daemon(folder, files) as running:
            yield running


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_command_of_the_node_files_runs(service: export.Service, nrpe: Nrpe) -> None:
    check = CHECKS[service.check]
    state, output = nrpe.ask(words.PREFIX + service.name, seconds=max(10, int(words.seconds(check, service)) + 2))
    assert re.match(rf"{check.title} {WORDS[state]} - \S", output), output
    assert "bug in" not in output
    assert output.endswith("\n")
    line, *below = output.splitlines()
    assert not any("|" in text for text in below)
    for item in line.partition(" | ")[2].split():
        assert re.fullmatch(r"[A-Za-z0-9_-]+=-?[0-9.]+[a-zA-Z%]*(;[^;]*){0,4}", item), item


def test_no_command_takes_arguments(nrpe: Nrpe) -> None:
    state, output = nrpe.ask("nephoscope_tmp_writable", "-a", "--path", "/nonexistent")
    assert state == 3
    assert "TMP_WRITABLE" not in output


def test_the_sites_own_commands_stay_what_they_were(nrpe: Nrpe) -> None:
    own = [re.match(r"command\[([^]]+)\]", line) for line in debian_commands()]
    assert "check_load" in [match[1] for match in own if match]
    _, output = nrpe.ask("check_load")
    assert "load average" in output  # monitoring-plugins' words, not ours


def test_without_tls_nothing_is_answered(nrpe: Nrpe) -> None:
    state, output = nrpe.ask("nephoscope_tmp_writable", "-n")
    assert state in (2, 3)
    assert "TMP_WRITABLE" not in output


def test_the_longest_line_that_we_write_is_read_whole(nrpe: Nrpe) -> None:
    state, output = nrpe.ask("long")
    assert state == 0
    assert set(output.strip()) == {"x"}
    assert len(output.strip()) == generator.LONGEST - len("command[long]=/usr/bin/printf %s ")
