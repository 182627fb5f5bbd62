# SPDX-License-Identifier: Apache-2.0
"""`nephoscope demo --show`, as ./run ends: the checks of all roles of a cloud that is well, and of the same in trouble."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from nephoscope import export

pytest.importorskip("botocore", reason="the extra aws is not installed")
NEPHOSCOPE = str(Path(sys.executable).with_name("nephoscope"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("show")
    argv = [NEPHOSCOPE, "demo", "--show", "--split"]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "TMPDIR": str(folder)}
    )


def states(table: str) -> dict[str, str]:
    return {found[2]: found[1] for found in re.finditer(r"^(\w+) {2,}(\w+(?: [\w-]+)?) {2,}\S", table, re.M)}


def test_a_cloud_that_is_well_and_the_same_in_trouble(shown: subprocess.CompletedProcess[str]) -> None:
    assert shown.returncode == 0, shown.stderr
    _, well, trouble = (
        shown.stdout.split("\n\n") if shown.stdout.startswith("\n\n") else ("", *shown.stdout.split("\n\n"))
    )
    before, after = states(well), states(trouble)
    assert set(before) == set(after)
    assert not {name for name, state in before.items() if state in ("CRITICAL", "UNKNOWN")}, well
    assert {name for name, state in after.items() if state == "CRITICAL"} == {
        "euca_services",
        "euca_nodes",
        "euca_events",
        "euca_sc one-sc",
        "euca_sensors one-sc",
        "euca_nc one-nc-2",
        "euca_resources",
        "euca_properties",
        "euca_faults clc",
    }, trouble
    assert not {name for name, state in after.items() if state == "UNKNOWN"}, trouble


def test_every_service_of_the_cloud_and_every_one_from_afar_is_shown(shown: subprocess.CompletedProcess[str]) -> None:
    names = {name.partition(" ")[0] for name in states(shown.stdout)}
    roles = export.load()
    cloud = {service.name for service in roles.role("eucalyptus_cloud").services}
    afar = {
        service.name for role, service in roles.all_services() if service.remote and role.name.startswith("eucalyptus")
    }
    assert cloud | afar <= names


def test_nothing_is_left(shown: subprocess.CompletedProcess[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    assert shown.returncode == 0
    assert shown.stderr == ""
    left = list(Path(tmp_path_factory.getbasetemp()).glob("show*/*"))
    assert left == []


def test_a_cloud_that_cannot_come_up_is_said() -> None:
    done = subprocess.run(
        [NEPHOSCOPE, "demo", "--show", "--zones", "11"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "1 to 10 zones, not 11" in done.stderr
    assert "the simulated cloud did not come up" in done.stderr
