# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os

import pytest
from nephoscope.base import ABSENT, Failed, Run
from nephoscope.probes import hwmon
from nephoscope.probes.parts import Part

from tests.probes import hardware_trees as trees


def read(root) -> dict[str, Part]:
    return {part.name: part for part in hwmon.sensors(Run(root=str(root)))}


def test_a_server(tmp_path):
    parts = read(trees.hwmon(tmp_path))
    assert parts["coretemp.0 Package id 0"] == Part(
        "hwmon", "coretemp.0 Package id 0", "temperature", "ok", "", 46.0, "C", None, None, 86.0, 96.0
    )
    assert parts["nvme0 Composite"][5:] == (33.85, "C", None, -273.15, 69.85, 84.85)
    assert parts["nct6779 nct6775.656 Front"][2:8] == ("fan", "ok", "", 5400.0, "RPM", None)
    assert parts["nct6779 nct6775.656 +3.3V"][5:] == (3.312, "V", None, 2.976, 3.632, None)
    assert parts["nct6779 nct6775.656 Slot"][2:7] == ("power", "ok", "", 11.5, "W")
    assert parts["nct6779 nct6775.656 curr1"][2:7] == ("current", "ok", "", 1.25, "A")
    assert len(parts) == 11
    assert not any("temp7" in name for name in parts), "switched off by its enable file"


def test_limits_that_nobody_set_are_none_and_so_is_their_alarm(tmp_path):
    part = read(trees.hwmon(tmp_path))["nct6779 nct6775.656 in0"]
    assert (part.health, part.low_warning, part.high_warning) == ("ok", None, None)


@pytest.mark.parametrize(
    ("files", "health"),
    [
        # jc42 as memory modules come: `sensors` prints ALARM (HIGH, CRIT) beside limits of 0 °C
        (
            {
                "temp1_input": 40000,
                "temp1_min": 0,
                "temp1_max": 0,
                "temp1_crit": 0,
                "temp1_crit_alarm": 1,
                "temp1_max_alarm": 1,
            },
            "ok",
        ),
        ({"temp1_input": 40000, "temp1_max": 0, "temp1_crit": 100000, "temp1_max_alarm": 1}, "ok"),
        ({"temp1_input": 40000, "temp1_max": 0, "temp1_crit": 100000, "temp1_crit_alarm": 1}, "failed"),
        ({"temp1_input": 40000, "temp1_max": 80000, "temp1_crit": 0, "temp1_crit_alarm": 1}, "ok"),
        ({"fan1_input": 0, "fan1_min": 0, "fan1_alarm": 1}, "ok"),  # a header with no fan on it
        ({"fan1_input": 0, "fan1_min": 300, "fan1_alarm": 1}, "degraded"),
        ({"fan1_input": 0, "fan1_alarm": 1}, "degraded"),
    ],
)
def test_an_alarm_about_a_limit_that_nobody_set_is_none(tmp_path, files, health):
    chip = tmp_path / "sys/class/hwmon/hwmon0"
    chip.mkdir(parents=True)
    for name, value in {"name": "jc42", **files}.items():
        (chip / name).write_text(f"{value}\n")
    (part,) = read(tmp_path).values()
    assert part.health == health
    assert health != "ok" or part.beyond() == ("", "")


@pytest.mark.parametrize(
    ("file", "value", "name", "health", "text"),
    [
        ("hwmon0/temp1_crit_alarm", 1, "coretemp.0 Package id 0", "failed", "crit alarm"),
        ("hwmon2/temp1_alarm", 1, "nvme0 Composite", "degraded", "alarm"),
        ("hwmon3/fan1_fault", 1, "nct6779 nct6775.656 Front", "failed", "fault"),
        ("hwmon3/temp1_fault", 1, "nct6779 nct6775.656 Inlet", "degraded", "fault"),
        ("hwmon3/fan2_alarm", 1, "nct6779 nct6775.656 fan2", "degraded", "alarm"),
        ("hwmon3/in1_min_alarm", 1, "nct6779 nct6775.656 +3.3V", "degraded", "min alarm"),
        ("hwmon3/intrusion0_alarm", 1, "nct6779 nct6775.656 intrusion0", "degraded", "the case was opened"),
        ("hwmon3/fan1_input", "none", "nct6779 nct6775.656 Front", "unknown", "its reading is not a number"),
    ],
)
def test_what_a_chip_complains_about(tmp_path, file, value, name, health, text):
    part = read(trees.hwmon(tmp_path, {file: value}))[name]
    assert (part.health, part.text) == (health, text)


def test_a_driver_that_gives_no_value_is_not_a_zero(tmp_path, monkeypatch):
    # drivetemp of a sleeping disk answers ENODATA, a broken bus EIO: an ordinary file cannot, so the read does.
    trees.hwmon(tmp_path)
    real = os.read
    for number, health in ((61, "absent"), (5, "unknown")):

        def fail(descriptor, size, number=number):
            if os.readlink(f"/proc/self/fd/{descriptor}").endswith("hwmon2/temp1_input"):
                raise OSError(number, os.strerror(number))
            return real(descriptor, size)

        monkeypatch.setattr(os, "read", fail)
        part = read(tmp_path)["nvme0 Composite"]
        assert (part.health, part.value) == (health, None)


def test_no_chip_is_absent(tmp_path):
    with pytest.raises(Failed) as caught:
        read(tmp_path)
    assert caught.value.kind == ABSENT
    (tmp_path / "sys/class/hwmon").mkdir(parents=True)
    with pytest.raises(Failed) as caught:
        read(tmp_path)
    assert (caught.value.kind, caught.value.of) == (ABSENT, "hwmon")


def test_beyond_its_own_limits():
    part = Part("hwmon", "x", "temperature", "ok", "", 40.0, "C", 0.0, 5.0, 80.0, 90.0)
    for value, health in (
        (40, ""),
        (79.9, ""),
        (80, "degraded"),
        (90, "failed"),
        (5, "degraded"),
        (0, "failed"),
        (5.1, ""),
    ):
        assert part._replace(value=float(value)).beyond()[0] == health
    assert part._replace(value=99.0, high_critical=-1.0).beyond() == ("", ""), "limits that contradict each other"
    assert part._replace(value=None).beyond() == ("", "")
