# SPDX-License-Identifier: Apache-2.0
"""Lines of Eucalyptus: the C components, the JVM, its error log, and the blocks of the fault system.

C (cc.log, nc.log, eucanetd.log): `2013-06-11 08:52:10  INFO | message`, at DEBUG
`2013-06-11 08:52:10 DEBUG 000019327 doMigrateInstances       | message`. JVM (cloud-output.log): the same with the level
padded to five on the other side. cloud-error.log: `Sun Nov 18 22:11:13 2012 ERROR [Class:thread] …`. A fault:
`  ERR-1008 2013-06-11 08:52:10Z eucanetd is not running` (util/fault.c; local time in spite of the Z; Java writes no Z).
"""

from __future__ import annotations

import re

from nephoscope.probes import log_format

# Faults that mean "switched off" or "not set up", often on purpose: load balancer and imaging worker without an image,
# CloudWatch and reporting disabled (util/faults/en_US). They count as errors, all others as critical.
OFTEN_INTENDED = frozenset((b"1014", b"1015", b"1500", b"1501"))

_LEVEL = rb"(?P<level>EXTREME|TRACE|DEBUG|INFO|WARN|ERROR|FATAL)"


def form(name: str) -> log_format.Format:
    """Return one of the formats "eucalyptus" (C and JVM), "euca-error" and "euca-fault"."""
    marks = {
        b" ERROR ": log_format.ERROR,
        b" FATAL ": log_format.CRITICAL,
        b" WARN ": log_format.WARNING,
        b" DEBUG ": log_format.DEBUG,
        b" TRACE ": log_format.DEBUG,
        b" EXTREME ": log_format.DEBUG,
    }
    # The correlation id of 4.x: REQUEST-ID::GUID, of which the first half is the same on every host.
    request = re.compile(rb"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?=::)")
    if name == "euca-fault":
        header = rb"[ \0]*(?P<level>ERR)-(?P<id>\d{4}) (?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)Z? "
        return log_format.Format(name, re.compile(header), {b"ERR-": log_format.ERROR})
    if name == "euca-error":
        header = rb"\0*(?P<time>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]?\d \d\d:\d\d:\d\d \d{4}) +" + _LEVEL + rb" "
        return log_format.Format(name, re.compile(header), marks, request)
    header = rb"\0*(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) +" + _LEVEL + rb" [^|\n]*\|"
    return log_format.Format("eucalyptus", re.compile(header), marks, request)
