# SPDX-License-Identifier: Apache-2.0
"""check_disk_health with the real smartctl, by the real wrapper. No disk here has SMART: what is tried is how it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from nephoscope.base import Clock, Failed, child
from nephoscope.checks.storage.check_disk_health import CHECK
from nephoscope.plugin import UNKNOWN
from nephoscope.probes import smart
from nephoscope.probes.smart import Disks

from tests.lab.support import missing, need, need_root, private_folder, wait_for
from tests.probes.disks_told import kernel, sas, scsi

pytestmark = pytest.mark.lab
WRAPPER = Path(__file__).parents[2] / "contrib/sbin/nephoscope-smart"


def command(*argv):
    """Run a program of the lab to its end, and return what it says."""
    done = subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout.strip()


OPTIONS = ["--json=c", "-i", "-H", "-A", "-l", "error", "-l", "selftest", "-n", "standby"]


@pytest.fixture(autouse=True)
def programs():
    need("smartctl")
    need_root("a device can be opened by root alone")


def wrapper(folder, scan, rest='exec /usr/sbin/smartctl "$@"', *changes):
    """The wrapper as it is installed, but for its own directory, with a smartctl that lists other devices."""
    text = WRAPPER.read_text()
    moved = (
        ("home=/run/nephoscope-smart\n", f"home={folder}/run\n"),
        ("PATH=/usr/local/sbin:", f"PATH={folder}/front:"),
    )
    for old, new in (*moved, *changes):
        assert text.count(old) == 1
        text = text.replace(old, new)
    for name, program, script in (
        ("front", "smartctl", f"#!/bin/sh\nif [ \"$1\" = --scan ]; then cat <<'END'\n{scan}\nEND\nexit; fi\n{rest}\n"),
        ("bin", "nephoscope-smart", text),
    ):
        (folder / name).mkdir()
        (folder / name / program).write_text(script)
        (folder / name / program).chmod(0o755)
    return folder / "bin"


def device():
    """A block device of this machine that is no disk of SCSI."""
    return next(f"/dev/{name}" for name in sorted(os.listdir("/sys/block")) if os.path.exists(f"/dev/{name}"))


def test_the_wrapper_with_the_real_list():
    done = subprocess.run([WRAPPER], capture_output=True, text=True, timeout=30, check=True)
    documents = [json.loads(line) for line in done.stdout.splitlines()]
    assert documents[-1] == {"nephoscope": "end"}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("", 1, r"/dev/\w+: Unable to detect device type"),
        # A disk that answers nothing is "in SLEEP mode" to smartctl.
        ("sat", 2, r"it answers no command: it is dead, or in the deepest sleep \(SLEEP\)"),
        ("scsi", 2, "smartctl ended with 2"),
        ("nvme", 2, "Read NVMe Identify Controller failed: .*"),
        ("megaraid,8", 2, r"Smartctl open device: .* failed: can't get bus number"),
        ("dreaming", 1, "/dev/\\w+: Unknown device type 'dreaming'"),
    ],
)
def test_what_the_real_one_says_of_what_it_can_not_ask(kind, status, error):
    argv = ["smartctl", *OPTIONS, *(["-d", kind] if kind else []), device()]
    document = json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout)
    of = device().rpartition("/")[2] + ("/8" if "," in kind else "")
    assert smart.name(document) == of
    with pytest.raises(Failed) as caught:
        smart.disk(of, document)
    assert document["smartctl"]["exit_status"] == status
    assert re.fullmatch(error, caught.value.error), caught.value.error


def test_its_answers_are_lines(tmp_path, monkeypatch):
    """Two devices that exist and one that does not, side by side, by the real smartctl."""
    name = device().rpartition("/")[2]
    home = wrapper(tmp_path, f"{device()} -d scsi # x\n/dev/sdzz -d scsi # x\n/dev/bus/7 -d megaraid,8 # x")
    monkeypatch.setattr(child, "PATH", f"{home}:{child.PATH}")
    root = scsi(tmp_path / "root", "sdzz")
    line = CHECK.run(["--state-dir", str(tmp_path / "state")], root=root)
    assert line.state == UNKNOWN
    for of in (name, "sdzz", "bus7/8"):
        assert f"{of}: " in line.text, line.text
    assert "No such device" in line.text
    assert os.listdir(tmp_path / "run") == []


def test_on_this_machine(tmp_path):
    """It has disks that are asked, or it says that it has none: never OK without having looked."""
    known = smart.disks(smart.Run(root=""))
    outcome = CHECK.run(["--mode", "smart", "--state-dir", str(tmp_path)])
    if not known.asked and not known.raid:
        assert re.fullmatch(
            r"DISK_HEALTH UNKNOWN - smart: there is no disk that could be asked( \(\d+ virtual\))?", outcome.line
        )
    else:
        assert outcome.line.startswith("DISK_HEALTH ")
    assert isinstance(known, Disks)
    assert kernel(tmp_path)


def hanging():
    """Processes called smartctl that sleep in the kernel."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            _, name, rest = re.split(r" \(|\) ", Path(f"/proc/{pid}/stat").read_text(), maxsplit=2)
        except OSError:
            continue
        found += [pid] if name == "smartctl" and rest.startswith("D") else []
    return found


def test_a_disk_that_hangs_in_the_kernel(monkeypatch):
    """A smartctl that no signal ends: the disks beside it are told, and ten runs leave one process, which the eleventh forgets."""
    need("losetup", "mkfs.ext4", "mount", "umount", "fsfreeze")
    with private_folder() as folder, contextlib.ExitStack() as stack:
        image, mount = folder / "image", folder / "mnt"
        image.write_bytes(bytes(16 << 20))
        mount.mkdir()
        try:
            loop = command("losetup", "-f", "--show", image)
        except subprocess.CalledProcessError as error:
            missing(f"this kernel gives no loop device: {error.stderr}")
        stack.callback(command, "losetup", "-d", loop)
        command("mkfs.ext4", "-q", loop)
        command("mount", loop, mount)
        stack.callback(command, "umount", mount)
        (folder / "well").write_text(json.dumps(sas()))
        hangs = f'case "$*" in */dev/sda) echo x >{mount}/x ;; *) cat {folder}/well ;; esac'
        scan = "/dev/sda -d scsi # x\n/dev/bus/0 -d megaraid,8 # x"
        home = wrapper(folder, scan, hangs, ("seconds=10 ", "seconds=1 "))
        monkeypatch.setattr(child, "PATH", f"{home}:{child.PATH}")
        root = scsi(folder / "root", "sda")
        lines = []
        command("fsfreeze", "--freeze", mount)
        try:
            for number in range(10):
                clock = Clock(60.0 * number)
                lines.append(CHECK.run(["--state-dir", str(folder / "state")], root=root, clock=clock).line)
            left = hanging()
        finally:
            command("fsfreeze", "--unfreeze", mount)
        wait_for(lambda: not hanging(), what="the end of what hung")
        assert len(left) == 1
        numbers = r"realloc=0;0;50 temp_celsius=32( sectors_day=0;;0 errors_day=0;0)?"
        assert re.fullmatch(
            rf"DISK_HEALTH CRITICAL - sda: no answer in time \(run smartctl\) \| {numbers}", lines[0]
        ), lines[0]
        again = rf"sda: an earlier smartctl \(process {left[0]}\) still hangs \(run smartctl\)"
        assert all(re.fullmatch(rf"DISK_HEALTH CRITICAL - {again} \| {numbers}", line) for line in lines[1:]), lines
        last = CHECK.run(["--state-dir", str(folder / "state")], root=root, clock=Clock(900.0)).line
        assert last.startswith("DISK_HEALTH UNKNOWN - sda: smartctl said nothing (run smartctl) | "), last
        assert os.listdir(folder / "run") == []
