# SPDX-License-Identifier: Apache-2.0
"""`nephoscope demo --show`: a simulated cloud is asked by the checks of its roles, broken on purpose, and asked again."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nephoscope.cli import demo, table
from nephoscope.cli.choosing import Refused, load, roles
from nephoscope.cli.running import Job, Runner
from nephoscope.export.roles import Service
from nephoscope.plugin import OK

# What runs on a host of the topology file -> the role whose checks it gets.
ROLES = {
    "eucalyptus": "eucalyptus_clc",
    "user-api": "eucalyptus_ufs",
    "walrusbackend": "eucalyptus_walrus",
    "storage": "eucalyptus_sc",
    "cluster": "eucalyptus_cc",
}
# Checks that look at a machine and have enough in the files that the simulator writes for it.
LOCAL = ("check_euca_faults", "check_euca_sensors")
WAIT = 20.0  # seconds for the cloud to come up
BREAK = (
    ("state", "one-sc-1", "BROKEN", "SC blockstoragemanager not configured. Found empty or unset manager(unset)."),
    ("silent", "one-nc-2"),
    ("fault", "clc", "1016"),
    ("volume", "vol-0badcafe", "creating", "7200"),
    ("property", "bootstrap.webservices.clock_skew_sec", "3600"),
)
# What an operator recorded when the cloud was new, as euctl prints it.
BASELINE = "bootstrap.webservices.clock_skew_sec = 20\none.storage.blockstoragemanager = overlay\n"
WELL = "A simulated Eucalyptus cloud on loopback. Its worker images are not installed yet; all else is well:"
BROKEN = (
    "The same cloud after trouble: the storage controller lost its back end and a volume hangs, one node fell silent,"
    " the network's changes are no longer applied, and somebody allowed clocks to be an hour apart:"
)


def show(options: argparse.Namespace) -> int:
    """Show it on stdout. Raises Refused when the cloud does not come up."""
    with tempfile.TemporaryDirectory(prefix="nephoscope-demo-") as home:
        folder, state = Path(home, "cloud"), Path(home, "state")
        pid = _cloud(options, folder)
        try:
            for text, words in ((WELL, ()), (BROKEN, BREAK)):
                for word in words:
                    demo.tell(folder, word)
                sys.stdout.write(f"\n{text}\n")
                sys.stdout.flush()
                _ask(list(_jobs(folder, state)))
        finally:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
    return OK


def _cloud(options: argparse.Namespace, folder: Path) -> int:
    """Fork the process that serves the cloud, silently, and return its number when it answers.

    A process of its own: the runner forks a child for each check, which one with threads had better not.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            status = demo.serve(options, folder)
        except BaseException as error:
            os.write(2, f"nephoscope: {error}\n".encode())
        finally:
            os._exit(status)
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if demo.answers(folder):
            demo.tell(folder, ("clock", "0"))  # changes nothing, and is answered when all its files are written
            return pid
        if os.waitpid(pid, os.WNOHANG)[0]:
            raise Refused("the simulated cloud did not come up")
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise Refused(f"the simulated cloud did not come up in {WAIT:g} s")


def _jobs(folder: Path, state: Path) -> Iterator[Job]:
    """Give the checks of the whole cloud, those that ask each host from afar, and those that read a host's files."""
    from nephoscope.demo import topology

    plan, known = topology.read(folder / "topology.toml"), roles(None)
    clc = next(host.address for host in plan.hosts.values() if "eucalyptus" in dict(host.services))
    (folder / "baseline").write_text(BASELINE)
    more = {"--topology": str(folder / "topology.toml"), "--baseline": str(folder / "baseline")}
    for service in known.role("eucalyptus_cloud").services:
        # Limits stand in the policies of all accounts, which an administrator alone may read.
        user = "admin" if service.check == "check_quota" else "monitor"
        keys = ["--credentials", str(folder / f"{user}.ini")]
        flags = {option.flag for option in load(service.check).options}
        expected = [word for flag, value in more.items() if flag in flags for word in (flag, value)]
        yield _job(service, ["-H", clc, *keys, *expected], service.name, state)
    found = [
        (name, host.address, [ROLES[kind] for kind, _ in host.services if kind in ROLES])
        for name, host in plan.hosts.items()
    ]
    for zone, nodes in plan.zones.items():
        found += [
            (f"{zone}-nc-{n}", node, ["eucalyptus_nc"])
            for n, node in enumerate(nodes if isinstance(nodes, tuple) else (), 1)
        ]
    for name, address, mine in found:
        for role in mine:
            for service in known.role(role).services:
                if service.remote:
                    yield _job(service, ["-H", address], f"{service.name} {name}", state)
        root = str(folder / "hosts" / name)
        for service in known.role("eucalyptus").services:
            if service.check in LOCAL and os.path.isdir(root):
                yield _job(service, [], f"{service.name} {name}", state / name, root)


def _job(service: Service, more: Sequence[str], label: str, state: Path, root: str = "") -> Job:
    check = load(service.check)
    argv = [*service.argv(), *more, "--state-dir", str(state)]
    look = lambda: check.run(argv, root=root)  # noqa: E731
    return Job(check.name, tuple(argv), label, look, check.deadline)


def _ask(jobs: list[Job]) -> None:
    runner = Runner(jobs)
    words: dict[str, Any] = {"claimed": True, "verbose": 0}
    if not sys.stdout.isatty():
        runner.run()
        sys.stdout.write(table.plain(runner.results, time.monotonic() - runner.began, stopped=runner.stopped, **words))
        return
    with table.Live(runner, **words) as screen:
        runner.run(screen.tell)
    screen.show(time.monotonic() - runner.began)
