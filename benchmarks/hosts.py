# SPDX-License-Identifier: Apache-2.0
"""A large host: a recorded tree of the kernel, and a multipathd that answers for it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.probes import multipath_host

MULTIPATH = "check_multipath, 400 maps and 3,200 paths"
# 11 was wished for, and can't be had: before anything is judged it is 10.6. The frame is 4.9, multipathd's 2.5 MB of JSON
# are 3.2 and its socket 0.6, 4,400 files of the kernel 1.9. The rest is to judge and word 2,400 values.
LIMITS: dict[str, float | None] = {MULTIPATH: None}

# What pip installs as bin/check_multipath, but for the root: only tests have another one, and no option sets it.
SCRIPT = """\
import sys
from nephoscope.plugin import door
from nephoscope.checks.storage.check_multipath import main
execution = door.Execution
door.Execution = lambda check, argv, root, *more: execution(check, argv, {root!r}, *more)
sys.exit(main())
"""


@contextlib.contextmanager
def running() -> Iterator[dict[str, list[str]]]:
    """Lay the tree and start the daemon; give name (as in LIMITS) -> command line."""
    with tempfile.TemporaryDirectory(prefix="mp") as root:  # short: a Unix socket's name has 108 bytes
        maps = multipath_host.host()
        multipath_host.sysfs(root, *maps)
        script = Path(root, "check_multipath")
        script.write_text(SCRIPT.format(root=root))
        with multipath_host.daemon(root, multipath_host.answer(*maps)):
            yield {MULTIPATH: [str(script), "-t", "100"]}  # valgrind is slow
