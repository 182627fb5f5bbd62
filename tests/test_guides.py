# SPDX-License-Identifier: Apache-2.0
"""The guides: every command line in them is one that its check takes, and every check of their groups is in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from nephoscope import catalogue
from nephoscope.probes import san

DOCS = Path(__file__).parents[1] / "docs"
GUIDES = {"databases.md": ("database", "messaging"), "storage.md": ("storage",)}  # guide -> groups of checks
TEXTS = {name: (DOCS / name).read_text() for name in GUIDES}
GUIDE = TEXTS["databases.md"]
COMMANDS = [
    shlex.split(line)
    for text in TEXTS.values()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
    for line in block.splitlines()
    if line.startswith("check_")
]


def test_there_are_commands():
    assert len(COMMANDS) >= 20


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_guide_is_taken(words):
    assert catalogue.load(words[0]).parse(*words[1:])


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_has_every_check_of_its_groups(guide):
    folders = [DOCS.parent / "checks" / group for group in GUIDES[guide]]
    names = {path.stem for folder in folders for path in folder.glob("check_*.py")}
    assert {name for name in names if f"(checks/{name}.md)" not in TEXTS[guide]} == set()


def test_the_guide_of_storage_has_a_row_for_each_family_of_arrays():
    rows = re.findall(r"^\| `([^`]+)` \|", TEXTS["storage.md"], re.M)
    assert [name for name in rows if name in san.PROFILES] == list(san.PROFILES)


def test_the_accounts_of_the_guide_have_what_every_mode_needs():
    granted = " ".join(re.findall(r"^GRANT .*", GUIDE, re.M))
    for name in ("check_mysql", "check_postgres"):  # as on their pages, but for releases that write it otherwise
        page = (Path(__file__).parents[1] / "docs" / "checks" / f"{name}.md").read_text()
        for rights in re.findall(r"`GRANT (.*?) (?:ON \*\.\*|IN SCHEMA public) TO ", page):
            assert rights in granted or rights == "REPLICATION CLIENT"
    assert "GRANT pg_monitor TO nagios;" in granted


@pytest.mark.parametrize(
    ("name", "grant"),
    [
        ("check_mysql", "GRANT PROCESS ON *.* TO"),
        ("check_postgres", "GRANT pg_monitor TO nagios"),
        ("check_rabbitmq_queues", "rabbitmqctl set_permissions -p VHOST nagios"),
        ("check_amqp_roundtrip", "rabbitmqctl set_permissions -p nephoscope nephoscope"),
    ],
)
def test_a_run_with_explain_says_the_least_rights(name, grant, tmp_path):
    outcome = catalogue.load(name).run(["--explain", "-H", "127.0.0.1", "-p", "1", "--state-dir", str(tmp_path)])
    assert [line for line in outcome.text.splitlines() if line.startswith("about: ") and grant in line]
