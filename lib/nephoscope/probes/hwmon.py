# SPDX-License-Identifier: Apache-2.0
"""The kernel's own sensors, /sys/class/hwmon, without any library.

Source: Linux Documentation/hwmon/sysfs-interface.rst (6.1): file names, units (millidegree, millivolt, milliampere, microwatt,
RPM), the meaning of limits, alarms, faults and `enable`.
"""

from __future__ import annotations

import errno
import os
import re

from nephoscope.base import ABSENT, Failed, Run, files
from nephoscope.probes.parts import Part

CLASS = "/sys/class/hwmon"
# prefix of the file -> kind, unit, files' units per unit
KINDS = {
    "temp": ("temperature", "C", 1000.0),
    "fan": ("fan", "RPM", 1.0),
    "in": ("voltage", "V", 1000.0),
    "curr": ("current", "A", 1000.0),
    "power": ("power", "W", 1e6),
}
NOT_NOW = (errno.ENODATA, errno.EAGAIN, errno.ENXIO, errno.ENODEV, errno.ENOENT)  # unplugged, asleep, no value yet


def sensors(run: Run) -> list[Part]:
    """Return every sensor of every chip, with its reading and the limits that its driver gives.

    Raises Failed absent when the kernel has no hwmon chip at all.
    """
    run.stage(f"read {CLASS}")
    try:
        chips = files.names(run, CLASS, of="hwmon")
    except Failed as failed:
        if failed.kind == ABSENT:
            raise Failed(ABSENT, "hwmon", f"list {CLASS}", "the kernel offers no hardware monitoring chip") from None
        raise
    parts = [part for chip in chips for part in _chip(run, f"{CLASS}/{chip}")]
    if not parts:
        raise Failed(ABSENT, "hwmon", f"list {CLASS}", "no hardware monitoring chip has a sensor")
    return sorted(parts)


def _chip(run: Run, path: str) -> list[Part]:
    try:
        names = set(files.names(run, path))
        name = _label(run, f"{path}/name") or os.path.basename(path)
    except Failed as failed:
        if failed.kind == ABSENT:  # unplugged between listing and reading
            return []
        raise
    # hwmonN is numbered by the order of loading; the device behind it keeps its name over reboots.
    device = os.path.basename(os.path.realpath(run.path(f"{path}/device"))) if "device" in names else ""
    chip = device if device.startswith(name) else f"{name} {device}".strip()
    parts = []
    for entry in sorted(names):
        match = re.fullmatch(r"(temp|fan|in|curr|power)(\d+)_(input|average)", entry)
        if match and (match[3] == "input" or f"{match[1]}{match[2]}_input" not in names):
            part = _sensor(run, path, names, chip, match[1], match[1] + match[2], entry)
            if part:
                parts.append(part)
        elif re.fullmatch(r"intrusion\d+_alarm", entry) and _number(run, f"{path}/{entry}"):
            parts.append(Part("hwmon", f"{chip} {entry[:-6]}", "intrusion", "degraded", "the case was opened"))
    return parts


def _sensor(run: Run, path: str, names: set[str], chip: str, prefix: str, stem: str, entry: str) -> Part | None:
    kind, unit, scale = KINDS[prefix]

    def read(suffix: str) -> float | None:
        return _number(run, f"{path}/{stem}_{suffix}") if f"{stem}_{suffix}" in names else None

    if read("enable") == 0:
        return None
    label = _label(run, f"{path}/{stem}_label") if f"{stem}_label" in names else ""
    name = f"{chip} {label or stem}"
    limits = [read(suffix) for suffix in ("lcrit", "min", "max", "crit")]
    # A chip that nobody configured says 0, or an upper limit below the lower one: no limits, and its alarms mean nothing.
    # (jc42, the sensor of a memory module: all limits 0 °C and crit_alarm up; a fan header with nothing on it: min 0 RPM.)
    low = max((x for x in limits[:2] if x is not None), default=None)
    warm = kind == "temperature"  # a voltage may well be negative
    high = min((x for x in limits[2:] if x and (x > 0 or not warm)), default=None)
    bogus = limits[2] is not None and (high is None or (low is not None and high <= low))
    bogus = bogus or (not warm and any(x is not None for x in limits) and not any(limits))
    low_critical, low_warning, high_warning, high_critical = (
        None if bogus or limit is None or (limit == 0 and not warm) else limit / scale for limit in limits
    )
    if warm and high_warning is not None and high_warning <= 0:
        high_warning = None
    if high_critical is not None and high_critical <= 0:
        high_critical = None
    unset = {
        "crit_alarm": bogus or (limits[3] is not None and limits[3] <= 0),
        "max_alarm": bogus or (warm and limits[2] is not None and limits[2] <= 0),
        "alarm": bogus,
        "lcrit_alarm": bogus,
        "min_alarm": bogus,
    }
    health, text = "ok", ""
    for suffix in ("fault", "lcrit_alarm", "crit_alarm", "emergency_alarm"):
        if not unset.get(suffix) and read(suffix):
            health, text = ("degraded" if suffix == "fault" and kind != "fan" else "failed"), suffix.replace("_", " ")
    for suffix in ("alarm", "min_alarm", "max_alarm"):
        if health == "ok" and not unset[suffix] and read(suffix):
            health, text = "degraded", suffix.replace("_", " ")
    try:
        value: float | None = _read(run, f"{path}/{entry}") / scale
    except OSError as error:
        value = None
        if error.errno in NOT_NOW:
            health, text = "absent", error.strerror or ""
        else:
            health, text = "unknown", f"cannot be read: {error.strerror}"
    except ValueError:
        value, health, text = None, "unknown", "its reading is not a number"
    return Part("hwmon", name, kind, health, text, value, unit, low_critical, low_warning, high_warning, high_critical)


def _read(run: Run, path: str) -> float:
    """Return a number. Raises OSError with the driver's errno, and ValueError."""
    descriptor = os.open(run.path(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        return float(int(os.read(descriptor, 64)))
    finally:
        os.close(descriptor)


def _number(run: Run, path: str) -> float | None:
    """Return a limit or a flag, None where the driver gives none just now."""
    try:
        return _read(run, path)
    except (OSError, ValueError):
        return None


def _label(run: Run, path: str) -> str:
    try:
        return files.text(run, path, limit=4096).strip()
    except Failed:
        return ""
