# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import edac
from nephoscope.probes.edac import Memory

from tests.probes import hardware_trees as trees


def read(root):
    return edac.memory(Run(root=str(root)))


def test_every_module_by_its_label(tmp_path):
    trees.edac(tmp_path, {"mc0/dimm1/dimm_ce_count": 17, "mc0/ce_count": 17})
    assert read(tmp_path) == [
        Memory("mc0 CPU0_DIMM_A1", 0, 0),
        Memory("mc0 CPU0_DIMM_B1", 17, 0),
        Memory("mc1 CPU1_DIMM_A1", 0, 0),
        Memory("mc1 dimm1", 0, 0),
    ]


def test_errors_that_the_controller_could_not_place(tmp_path):
    trees.edac(tmp_path, {"mc1/ue_count": 2, "mc1/dimm0/dimm_ue_count": 1})
    assert read(tmp_path)[-1] == Memory("mc1 (no module named)", 0, 1)


def test_a_controller_without_modules(tmp_path):
    trees.write(tmp_path, "sys/devices/system/edac/mc/mc0/ce_count", 3)
    trees.write(tmp_path, "sys/devices/system/edac/mc/mc0/ue_count", 0)
    assert read(tmp_path) == [Memory("mc0 (no module named)", 3, 0)]


def test_no_driver_is_not_no_errors(tmp_path):
    for step in range(2):
        with pytest.raises(Failed) as caught:
            read(tmp_path)
        assert caught.value.kind == ABSENT, step
        (tmp_path / "sys/devices/system/edac/mc").mkdir(parents=True, exist_ok=True)


def test_a_counter_that_is_no_number(tmp_path):
    trees.edac(tmp_path, {"mc0/dimm0/dimm_ue_count": "?"})
    with pytest.raises(Failed) as caught:
        read(tmp_path)
    assert caught.value.kind == UNREADABLE
