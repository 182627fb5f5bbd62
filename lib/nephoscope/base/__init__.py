# SPDX-License-Identifier: Apache-2.0
"""What probes and frame both need and neither owns. Imports nothing of ours, and little of Python's."""

from nephoscope.base.failed import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, attempt
from nephoscope.base.run import COLLECTING, Clock, Collecting, Run

__all__ = [
    "ABSENT",
    "COLLECTING",
    "LATE",
    "NOT_ALLOWED",
    "UNREACHABLE",
    "UNREADABLE",
    "Clock",
    "Collecting",
    "Failed",
    "Run",
    "attempt",
]
