# SPDX-License-Identifier: Apache-2.0
"""check_service_unit inside a real systemd: Debian's own, booted in a container by systemd-nspawn, its /usr bound read-only.

No other machine is needed, and no systemd as process 1 of this one. The check enters by nsenter, with this project and this
Python bound read-only at their own places.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from nephoscope.checks.node.check_service_unit import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab.support import ROOT, Daemon, need, need_root, private_folder, wait_for

pytestmark = pytest.mark.lab

UNITS = {
    "lab.target": "[Unit]\nDescription=lab\nWants=dbus.service\nAllowIsolate=yes\n",
    "good.service": "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=lab.target\n",
    "bad.service": "[Service]\nExecStart=/bin/sh -c 'exit 7'\n[Install]\nWantedBy=lab.target\n",
    "flap.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=0.2\n"
    "[Install]\nWantedBy=lab.target\n",
    "once.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=lab.target\n",
    "unmet.service": "[Unit]\nConditionPathExists=/nowhere\n[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=lab.target\n",
    "elsewhere.service": "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=graphical.target\n",
    "ticked.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    "ticked.timer": "[Timer]\nOnActiveSec=1h\n[Install]\nWantedBy=lab.target\n",
    "late.service": "[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=lab.target\n",
}
ENABLED = {
    "lab.target": ("good", "bad", "flap", "once", "unmet", "ticked.timer"),
    "graphical.target": ("elsewhere",),
}
# Runs the check as its command does, with a clock of its own, and tells what came of it.
SCRIPT = """
import json, os, sys
from nephoscope.base import Clock
from nephoscope.checks.node.check_service_unit import CHECK
shift, user, *argv = sys.argv[1:]
if int(user):
    CHECK.run(["--state-dir", "/tmp/warm"])
    os.setgroups([]), os.setgid(int(user)), os.setuid(int(user))
outcome = CHECK.run(argv, clock=Clock(float(shift)))
print(json.dumps([outcome.state, outcome.text, outcome.document]))
"""


class Machine:
    """A booted container: process 1 of it, and how to run things in it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def inside(self, *argv: str | os.PathLike[str], check: bool = True) -> str:
        enter = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", *argv]
        answer = subprocess.run(enter, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, cwd="/")
        assert not check or answer.returncode == 0, f"{argv}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def systemctl(self, *words: str) -> str:
        return self.inside("systemctl", "--no-pager", *words)

    def ask(self, *argv: str, shift: float = 0, user: int = 0):
        """Return state, text and {object: (state, words)}, the worst of each object that is not OK."""
        state, text, document = json.loads(self.inside(sys.executable, "-c", SCRIPT, str(shift), str(user), *argv))
        found: dict[str, tuple[str, str]] = {}
        for item in document["items"]:
            if item["state"] != "OK":
                found.setdefault(item["of"], (item["state"], item["text"]))
        return state, text, found


def prepare(root: Path) -> None:
    """Lay out the root directory of the container: /usr comes from this machine."""
    for name in ("etc/systemd/system", "usr", "proc", "sys", "dev", "run", "tmp", "var/log", "root"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group"):
        (root / "etc" / name).write_text(Path("/etc", name).read_text())
    (root / "etc/machine-id").write_text(
        f"{uuid.uuid4().hex}\n"
    )  # an empty one is a first boot, which enables everything
    (root / "etc/os-release").write_text("ID=lab\nNAME=lab\n")
    (root / "var/log/wtmp").write_bytes(b"")
    system = root / "etc/systemd/system"
    for name, text in UNITS.items():
        (system / name).write_text(text)
    for target, names in ENABLED.items():
        (system / f"{target}.wants").mkdir()
        for name in names:
            unit = name if "." in name else f"{name}.service"
            (system / f"{target}.wants" / unit).symlink_to(f"/etc/systemd/system/{unit}")
    (system / "shut.service").symlink_to("/dev/null")


def boot(root: Path, log: Path) -> Daemon:
    """Return the container, to be entered."""
    binds = {str(ROOT), sys.prefix, sys.base_prefix}
    binds = {path for path in binds if not path.startswith("/usr")}
    return Daemon(
        [need("systemd-nspawn")[0], "--quiet", "--register=no", "--keep-unit", "-D", root, "--bind-ro=/usr",
         *(f"--bind-ro={path}" for path in sorted(binds)), "--private-network", f"--machine=lab{os.getpid()}",
         "--console=pipe", "-b", "systemd.unit=lab.target"],
        log=log,
    )  # fmt: skip


def machine(container: Daemon) -> Machine:
    """Return the machine once it has settled."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    pid = wait_for(lambda: [int(pid) for pid in children.read_text().split()], what="the container's process 1")[0]
    made = Machine(pid)

    def settled() -> bool:
        state = made.inside("systemctl", "is-system-running", check=False).strip()
        return state in ("running", "degraded") and "active" in made.inside(
            "systemctl", "is-active", "good", check=False
        )

    # flap keeps a job in the queue from time to time: "starting" comes and goes.
    wait_for(settled, 20, "systemd in the container")
    return made


@pytest.fixture(scope="module")
def programs() -> None:
    need("systemd-nspawn", "nsenter", "systemctl", "dbus-daemon")
    need_root("systemd-nspawn makes namespaces")


@pytest.fixture(scope="module")
def host(programs: None) -> Iterator[Machine]:
    with private_folder() as folder:
        prepare(folder / "root")
        with boot(folder / "root", folder / "log") as container:
            made = machine(container)
            yield made
            made.inside("systemctl", "poweroff", check=False)
            wait_for(lambda: not container.alive(), 20, "the end of the container")


def test_required_units_in_every_state(host: Machine) -> None:
    names = ("good", "dbus.service", "ticked", "once", "bad", "flap", "late", "shut", "nosuch", "x*")
    state, text, found = host.ask("--mode", "units", *(word for name in names for word in ("--unit", name)))
    assert state == CRITICAL
    flapping = found.pop("flap.service")
    assert flapping[0] == "CRITICAL"
    assert "auto-restart" in flapping[1] or "is activating" in flapping[1], flapping
    assert found == {
        "bad.service": ("CRITICAL", "bad.service is failed (failed: exit-code, status 7)"),
        "late.service": ("CRITICAL", "late.service is inactive (dead)"),
        "shut.service": ("CRITICAL", "shut.service is masked"),
        "nosuch.service": ("CRITICAL", "nosuch.service is not-found"),
        "x*": ("CRITICAL", "x* is not-found: no unit matches"),
    }, text
    state, text, found = host.ask("--mode", "units", "--unit", "goo*", "--unit", "ticked")
    assert (state, found) == (OK, {}), text


def test_a_required_unit_that_would_not_come_back(host: Machine) -> None:
    host.systemctl("start", "late")
    _state, text, found = host.ask("--mode", "units", "--unit", "late")
    assert found == {"late.service": ("WARNING", "late.service is disabled: it will not start at the next boot")}, text
    host.systemctl("stop", "late")


def test_failed_units(host: Machine) -> None:
    _state, text, found = host.ask("--mode", "failed")
    assert found == {"bad.service": ("WARNING", "bad.service is failed (failed: exit-code, status 7)")}
    assert "failed_units=1" in text
    assert host.ask("--mode", "failed", "--exclude", "bad.service")[0] == OK
    host.systemctl("reset-failed", "bad")
    assert host.ask("--mode", "failed")[0] == OK
    host.inside("systemctl", "start", "bad")
    wait_for(lambda: host.inside("systemctl", "is-failed", "bad", check=False).strip() == "failed")
    assert host.ask("--mode", "failed")[0] == WARNING


def test_enabled_and_not_active(host: Machine) -> None:
    # A oneshot that ran, an unmet condition, a target that nobody wants, a waiting timer: none of them is a finding.
    state, text, found = host.ask("--mode", "enabled")
    assert (state, found) == (OK, {}), text
    assert "idle_units=0" in text
    host.systemctl("stop", "good", "ticked.timer")
    state, text, found = host.ask("--mode", "enabled")
    assert state == WARNING
    assert found == {
        "good.service": ("WARNING", "good.service is enabled for lab.target and inactive"),
        "ticked.timer": ("WARNING", "ticked.timer is enabled for lab.target and inactive"),
    }
    host.systemctl("start", "good", "ticked.timer")


def test_restarts_by_systemd_and_by_hand(host: Machine) -> None:
    argv = ("--mode", "restarts", "--unit", "good", "--unit", "flap", "--unit", "dbus", "--state-dir", "/var/restarts")
    state, text, found = host.ask(*argv)
    assert (state, text.count(".service restarts collecting")) == (OK, 3), text
    host.systemctl("restart", "good")
    before = int(host.systemctl("show", "--value", "--property=NRestarts", "flap"))
    wait_for(lambda: int(host.systemctl("show", "--value", "--property=NRestarts", "flap")) > before + 10)
    state, text, found = host.ask(*argv, "-w", "restarts=0", shift=60)
    assert found["good.service"] == ("WARNING", "good.service restarts 1 is above 0")
    assert found["flap.service"][0] == "CRITICAL", text
    assert "dbus.service" not in found
    state, text, found = host.ask(*argv, "-w", "restarts=0", shift=9000)
    assert "good.service" not in found, "an hour later it is forgotten"


def test_an_ordinary_user_is_told_the_same(host: Machine) -> None:
    as_root = host.ask("--mode", "failed", "--mode", "units", "--unit", "bad")
    as_nobody = host.ask(
        "--mode", "failed", "--mode", "units", "--unit", "bad", "--state-dir", "/tmp/nobody", user=65534
    )
    assert as_nobody == as_root
    assert as_nobody[0] == CRITICAL


def test_a_systemd_that_hangs(host: Machine) -> None:
    os.kill(host.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        state, text, _found = host.ask("--mode", "failed", "-t", "3")
        took = time.monotonic() - begun
    finally:
        os.kill(host.pid, signal.SIGCONT)
    assert state == CRITICAL
    assert "no answer in" in text
    assert took < 6, "the deadline and the start of Python"
    assert host.ask("--mode", "failed")[0] == WARNING


def test_a_reboot_with_and_without_a_shutdown(programs: None) -> None:
    argv = ("--mode", "boot", "--state-dir", "/var/boots", "-w", "uptime=")
    with private_folder() as folder:
        prepare(folder / "root")
        with boot(folder / "root", folder / "log") as container:
            first = machine(container)
            assert first.ask(*argv)[0] == OK
            assert first.ask(*argv)[0] == OK
            first.inside("systemctl", "poweroff", check=False)
            wait_for(lambda: not container.alive(), 20, "the end of the container")
        with boot(folder / "root", folder / "log") as container:
            second = machine(container)
            _state, text, found = second.ask(*argv)
            assert found == {"boot": ("WARNING", "boot this machine was booted anew after a shutdown")}, text
            # a power cut
            os.kill(second.pid, signal.SIGKILL)
            wait_for(lambda: not container.alive(), 20, "the end of the container")
        with boot(folder / "root", folder / "log") as container:
            third = machine(container)
            _state, text, found = third.ask(*argv)
            assert found["boot"][0] == "WARNING"
            assert "no shutdown is on record: crash, reset or power cut" in found["boot"][1]
            third.inside("systemctl", "poweroff", check=False)
            wait_for(lambda: not container.alive(), 20, "the end of the container")


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="root of a machine that systemd booted")
def test_this_machine_was_not_booted_with_systemd(programs: None, tmp_path: Path) -> None:
    outcome = CHECK.run(["--state-dir", str(tmp_path)])
    assert (outcome.state, outcome.absent) == (UNKNOWN, True)
    assert "System has not been booted with systemd as init system (PID 1). Can't operate." in outcome.line
    assert CHECK.run(["--state-dir", str(tmp_path), "--mode", "boot", "-w", "uptime="]).state == OK
