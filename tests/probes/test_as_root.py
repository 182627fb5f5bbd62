# SPDX-License-Identifier: Apache-2.0
"""Where the program of a declared line is looked for."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, Failed, Run
from nephoscope.probes import as_root

from tests.probes import stand_ins


def test_what_is_off_the_path_is_run_by_its_own(tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch)
    tool = tmp_path / "tool64"
    tool.write_text("#!/bin/sh\necho $1\n")
    tool.chmod(0o755)
    monkeypatch.setattr(stand_ins.child, "PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert as_root.ask((str(tool), "show"), Run(), of="x").out == "show\n"


def test_what_lies_in_the_usual_places_is_found_by_its_name_alone(tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch)
    with pytest.raises(Failed) as caught:
        as_root.ask(("/usr/bin/env", "true"), Run(), of="x")
    assert (caught.value.kind, caught.value.error) == (ABSENT, "env is not installed")
