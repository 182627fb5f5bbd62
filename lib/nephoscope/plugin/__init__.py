# SPDX-License-Identifier: Apache-2.0
"""The frame: how any check speaks Nagios. Knows no cloud, no database, no /proc."""

from nephoscope.plugin.check import Check
from nephoscope.plugin.model import (
    CRITICAL,
    OK,
    RANK,
    UNKNOWN,
    WARNING,
    WORDS,
    Finding,
    Grant,
    Group,
    Metric,
    Preset,
    Sudo,
    Threshold,
    worst,
)
from nephoscope.plugin.options import BadOption, count, directory, duration, expect, pattern, size

__all__ = [
    "CRITICAL",
    "OK",
    "RANK",
    "UNKNOWN",
    "WARNING",
    "WORDS",
    "BadOption",
    "Check",
    "Finding",
    "Grant",
    "Group",
    "Metric",
    "Preset",
    "Sudo",
    "Threshold",
    "count",
    "directory",
    "duration",
    "expect",
    "pattern",
    "size",
    "worst",
]
