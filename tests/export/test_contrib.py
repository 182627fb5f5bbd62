# SPDX-License-Identifier: Apache-2.0
"""contrib/ and docs/checks/ are what the checks and the roles say today."""

from __future__ import annotations

from pathlib import Path

import pytest
from nephoscope import catalogue, export

ROOT = Path(__file__).parents[2]
BY_HAND = {"icinga": {"hosts-example.conf", "zones-example.conf"}}
PLACES = {name: "docs/checks" if name == "docs" else f"contrib/{name}" for name in export.FORMATS}


@pytest.mark.parametrize("name", list(export.FORMATS))
def test_what_is_committed_is_what_is_exported(name: str) -> None:
    rendered = export.FORMATS[name](catalogue.all_checks(), export.load(), export.PLUGIN_DIR)
    place = ROOT / PLACES[name]
    cure = "write it anew: NEPHOSCOPE=.venv/bin/nephoscope contrib/regenerate"
    there = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert there - BY_HAND.get(name, set()) == set(rendered), cure
    stale = [path for path, text in rendered.items() if (place / path).read_text(encoding="utf-8") != text]
    assert stale == [], cure


@pytest.mark.parametrize("name", list(export.FORMATS))
def test_exports_do_not_depend_on_the_day_or_the_order_of_a_set(name: str) -> None:
    checks, roles = catalogue.all_checks(), export.load()
    assert export.FORMATS[name](checks, roles, "/x") == export.FORMATS[name](list(checks), roles, "/x")


@pytest.mark.parametrize("name", ["icinga", "nrpe", "nagios", "director"])
def test_the_plugin_directory_is_the_one_path_in_every_file(name: str) -> None:
    here = export.FORMATS[name](catalogue.all_checks(), export.load(), "/usr/local/nephoscope")
    assert not any(export.PLUGIN_DIR in text for text in here.values())
    assert any("/usr/local/nephoscope/check_" in text for text in here.values())


def test_every_check_is_in_every_export_that_is_of_checks() -> None:
    for check in catalogue.all_checks():
        assert f'"nephoscope_{check.thing}"' in (ROOT / "contrib/icinga/commands.conf").read_text()
        assert f" nephoscope_{check.thing}\n" in (ROOT / "contrib/nagios/commands.cfg").read_text()
        assert check.question in (ROOT / f"docs/checks/{check.name}.md").read_text()
        assert f"[{check.name}]({check.name}.md)" in (ROOT / "docs/checks/index.md").read_text()


def test_no_name_of_other_people_is_taken() -> None:
    """A command of Icinga's library that is defined again stops the daemon; one of NRPE's is replaced in silence."""
    import re

    icinga = (ROOT / "contrib/icinga/commands.conf").read_text() + (ROOT / "contrib/icinga/services.conf").read_text()
    names = re.findall(r'^(?:object|apply|template) \w+ "([^"]+)"', icinga, re.MULTILINE)
    names += re.findall(r"\$(\w+)\$", icinga) + re.findall(r"^  +vars\.(\w+) =", icinga, re.MULTILINE)
    for folder in ("nrpe", "nagios"):
        for path in (ROOT / "contrib" / folder).glob("*.cfg"):
            names += re.findall(
                r"^command\[([^]]+)\]|command_name +(\S+)|hostgroup_name +(\S+)", path.read_text(), re.M
            )
    flat = {name for found in names for name in ([found] if isinstance(found, str) else found) if name}
    assert len(flat) > 20
    theirs = {"nrpe_command", "nrpe_timeout", "dummy_state", "dummy_text", "address"}
    assert {name for name in flat if not name.startswith("nephoscope_")} <= theirs
