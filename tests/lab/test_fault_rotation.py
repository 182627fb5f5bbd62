# SPDX-License-Identifier: Apache-2.0
"""check_euca_faults against a real logrotate and a writer that does not stop for it: every fault found, each counted once."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nephoscope.checks.eucalyptus.check_euca_faults import CHECK

from tests.lab.support import Daemon, need
from tests.probes.fault_logs import STARS

pytestmark = pytest.mark.lab

# Writes faults of the C form, each with a location and a second of its own, until TERM; then how many. "never" keeps its file
# open as util/fault.c does, "pieces" too, but writes a block in pieces; "again" opens the file for each, as after a restart.
WRITER = r"""
import os, signal, sys, time
path, mode, stars = sys.argv[1:4]
end = []
signal.signal(signal.SIGTERM, lambda *_: end.append(1))
file = open(path, "a+b", buffering=0)
number = 0
while not end:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - 40000 + number))
    text = (
        f"{stars}\n  ERR-1008 {stamp}Z daemon {number} is not running\n\n   Condition: x\n       Cause: unknown\n"
        f"   Initiator: eucalyptus\n    Location: daemon {number} on localhost\n  Resolution: \n        1) Run it\n{stars}\n\n"
    ).encode()
    if mode == "again":
        file.close()
        file = open(path, "a+b", buffering=0)
    step = 60 if mode == "pieces" else len(text)
    for at in range(0, len(text), step):
        file.write(text[at : at + step])
    number += 1
    time.sleep(0.01)
open(path + "-count", "w").write(str(number))
"""

WAYS = {
    "rename": ("never", "create"),
    "rename-pieces": ("pieces", "create"),
    "rename-compress": ("again", "create\ncompress\ndelaycompress"),
    "dateext": ("again", "create\ndateext\ndateformat -%Y%m%d-%s"),
    "copytruncate": ("never", "copytruncate"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_fault_is_found_once(way: str, folder: Path) -> None:
    (logrotate,) = need("logrotate")
    mode, directives = WAYS[way]
    log = folder / "nc-fault.log"
    config = folder / "rotate.conf"
    config.write_text(f"{log} {{\nrotate 60\nmissingok\n{directives}\n}}\n")
    config.chmod(0o644)
    argv = ["--directory", str(folder), "--state-dir", str(folder / "state"), "-t", "60"]

    def check() -> int:
        outcome = CHECK.run(argv)
        assert "gap" not in outcome.text, outcome.text
        assert "of no fault block" not in outcome.text, outcome.text
        values = dict(item.partition("=")[::2] for item in outcome.perfdata)
        return int(values["faults"].partition(";")[0])

    ready = log.exists
    with Daemon(
        [sys.executable, "-c", WRITER, str(log), mode, STARS], ready=ready, log=folder / "writer.out"
    ) as writer:
        for _ in range(4):
            time.sleep(0.15)
            check()
            time.sleep(1.05 if "dateext" in way else 0.05)
            done = subprocess.run(
                [logrotate, "-f", "-s", str(folder / "status"), str(config)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        time.sleep(0.1)
        writer.stop()
    written = int(Path(f"{log}-count").read_text())
    left = set()
    for path in folder.glob("nc-fault.log*"):
        if not path.name.endswith(("-count", ".gz")):
            left |= set(re.findall(rb"Location: daemon (\d+) ", path.read_bytes()))
    found = check()
    assert check() == found
    assert found >= len(left)
    if way != "copytruncate":  # logrotate itself loses what comes between copy and truncation
        assert found == written
    assert 40 < found <= min(written, 500)
