# SPDX-License-Identifier: Apache-2.0
"""Recorded trees of a two-socket server for the hwmon and EDAC probes, written into a folder.

Names, units and files are those of Linux 6.1: Documentation/hwmon/sysfs-interface.rst with the drivers coretemp, nvme, drivetemp
and nct6775 (Documentation/hwmon/<driver>.rst), Documentation/ABI/testing/sysfs-devices-edac and Documentation/driver-api/edac.rst
(skx_edac). The values are hand-made: the kernel of the test machines offers neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CHIPS: dict[str, tuple[str, dict[str, object]]] = {
    # hwmonN -> device, files
    "hwmon0": (
        "platform/coretemp.0",
        {
            "name": "coretemp",
            "temp1_label": "Package id 0", "temp1_input": 46000, "temp1_max": 86000, "temp1_crit": 96000, "temp1_crit_alarm": 0,
            "temp2_label": "Core 0", "temp2_input": 44000, "temp2_max": 86000, "temp2_crit": 96000, "temp2_crit_alarm": 0,
        },
    ),
    "hwmon1": (
        "platform/coretemp.1",
        {
            "name": "coretemp",
            "temp1_label": "Package id 1", "temp1_input": 48000, "temp1_max": 86000, "temp1_crit": 96000, "temp1_crit_alarm": 0,
        },
    ),
    "hwmon2": (
        "pci0000:00/0000:5e:00.0/nvme/nvme0",
        {
            "name": "nvme",
            "temp1_label": "Composite", "temp1_input": 33850, "temp1_min": -273150, "temp1_max": 69850, "temp1_crit": 84850,
            "temp1_alarm": 0,
        },
    ),
    "hwmon3": (
        "platform/nct6775.656",
        {
            "name": "nct6779",
            "fan1_label": "Front", "fan1_input": 5400, "fan1_min": 600, "fan1_alarm": 0,
            "fan2_input": 5280, "fan2_min": 600, "fan2_alarm": 0,
            # nobody gave these two limits: 0 and 0, and the chip calls that an alarm
            "in0_input": 1016, "in0_min": 0, "in0_max": 0, "in0_alarm": 1,
            "in1_label": "+3.3V", "in1_input": 3312, "in1_min": 2976, "in1_max": 3632, "in1_alarm": 0,
            "temp1_label": "Inlet", "temp1_input": 24000, "temp1_max": 42000,
            "temp7_input": 0, "temp7_enable": 0,
            "power1_label": "Slot", "power1_average": 11500000,
            "curr1_input": 1250,
            "intrusion0_alarm": 0,
        },
    ),
}  # fmt: skip

MODULES = {"mc0": ("CPU0_DIMM_A1", "CPU0_DIMM_B1"), "mc1": ("CPU1_DIMM_A1", "")}


def write(root: Path, path: str, content: object) -> None:
    """Write one file of a tree."""
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{content}\n")


def hwmon(root: Path, changes: Mapping[str, object] | None = None) -> str:
    """Write the sensors of the server; `changes` are "hwmon0/temp1_input" -> content, None for no such file."""
    for chip, (device, values) in CHIPS.items():
        home = root / "sys/devices" / device
        home.mkdir(parents=True, exist_ok=True)
        for name, value in values.items():
            write(root, f"sys/class/hwmon/{chip}/{name}", value)
        link = root / "sys/class/hwmon" / chip / "device"
        if not link.is_symlink():
            link.symlink_to(home)
    for path, value in (changes or {}).items():
        if value is None:
            (root / "sys/class/hwmon" / path).unlink()
        else:
            write(root, f"sys/class/hwmon/{path}", value)
    return str(root)


def edac(root: Path, changes: Mapping[str, object] | None = None) -> str:
    """Write two memory controllers; `changes` are "mc0/dimm0/dimm_ce_count" -> content."""
    for controller, labels in MODULES.items():
        home = f"sys/devices/system/edac/mc/{controller}"
        for name, value in (
            ("mc_name", "Skylake Socket#0 IMC#0"), ("size_mb", 65536), ("seconds_since_reset", 864000),
            ("ce_count", 0), ("ue_count", 0), ("ce_noinfo_count", 0), ("ue_noinfo_count", 0),
            ("csrow0/ce_count", 0), ("csrow0/ue_count", 0),
        ):  # fmt: skip
            write(root, f"{home}/{name}", value)
        for number, label in enumerate(labels):
            for name, value in (
                ("dimm_label", label), ("dimm_location", f"channel {number} slot 0"), ("size", 32768),
                ("dimm_mem_type", "Registered-DDR4"), ("dimm_ce_count", 0), ("dimm_ue_count", 0),
            ):  # fmt: skip
                write(root, f"{home}/dimm{number}/{name}", value)
    for path, value in (changes or {}).items():
        write(root, f"sys/devices/system/edac/mc/{path}", value)
    return str(root)
