# SPDX-License-Identifier: Apache-2.0
"""Lines of oslo.log, as every OpenStack service writes them.

The defaults of oslo.log (oslo_log/_options.py): logging_context_format_string is
`%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s [%(global_request_id)s %(request_id)s %(user_identity)s]
%(instance)s%(message)s`, logging_default_format_string the same with `[-]`, and each line of a traceback begins with
logging_exception_prefix, `%(asctime)s.%(msecs)03d %(process)d ERROR %(name)s %(instance)s`, whatever the level of its
record is.
"""

from __future__ import annotations

import re

from nephoscope.probes import log_format


def form(name: str = "oslo") -> log_format.Format:
    """Return the format "oslo", or "oslo-syslog" with syslog's header before it; `context` is None in a traceback."""
    header = (
        (log_format.PREFIX if name == "oslo-syslog" else rb"\0*")
        + rb"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[.,]\d{3} \d+ (?P<level>[A-Z]+) \S+ ?"
        rb"(?P<context>\[(?!instance: ))?"
    )
    marks = {
        b" ERROR ": log_format.ERROR,
        b" CRITICAL ": log_format.CRITICAL,
        b" WARNING ": log_format.WARNING,
        b" DEBUG ": log_format.DEBUG,
    }
    # The first id is the one that goes along from service to service (global_request_id), where there is one.
    return log_format.Format(name, re.compile(header), marks, re.compile(rb"req-[0-9a-f]{8}-[0-9a-f-]{27}"))
