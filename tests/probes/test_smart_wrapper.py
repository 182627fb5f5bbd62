# SPDX-License-Identifier: Apache-2.0
"""contrib/sbin/nephoscope-smart with another smartctl, below another /sys; its own directory is another one, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from nephoscope.base import Run
from nephoscope.probes import smart

from tests.probes import disks_told
from tests.probes.disks_told import PCI, scsi

SCRIPT = Path(__file__).parents[2] / "contrib/sbin/nephoscope-smart"


class House:
    """The wrapper with its paths moved below a folder."""

    def __init__(self, folder):
        self.folder = folder
        text = SCRIPT.read_text()
        for old, new in (
            ("PATH=/usr/local/sbin:", f"PATH={folder}/bin:"),
            ("sys=/sys\n", f"sys={folder}/sys\n"),
            ("home=/run/nephoscope-smart\n", f"home={folder}/run\n"),
            ("seconds=10 ", "seconds=1 "),
        ):
            assert text.count(old) == 1
            text = text.replace(old, new)
        self.program = folder / "wrapper"
        self.program.write_text(text)
        (folder / "bin").mkdir()

    def smartctl(self, scan, rest='echo "{\\"smartctl\\":{\\"argv\\":[\\"$*\\"]}}"'):
        path = self.folder / "bin/smartctl"
        path.write_text(f"#!/bin/sh\nif [ \"$1\" = --scan ]; then cat <<'END'\n{scan}\nEND\nexit; fi\n{rest}\n")
        path.chmod(0o755)

    def run(self, *argv):
        done = subprocess.run(["sh", self.program, *argv], capture_output=True, text=True, timeout=30, check=False)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def left(self):
        return sorted(os.listdir(self.folder / "run"))


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


OPTIONS = "--json=c -i -H -A -l error -l selftest -n standby"
SCAN = """/dev/sda -d scsi # /dev/sda, SCSI device
/dev/nvme0 -d nvme # /dev/nvme0, NVMe device
/dev/bus/0 -d megaraid,8 # /dev/bus/0 [megaraid_disk_08], SCSI device"""


def test_each_disk_is_asked_as_it_should_be(house):
    house.smartctl(SCAN)
    status, found = house.run()
    assert status == 0
    assert [document["smartctl"]["argv"][0] for document in found[:-1]] == [
        f"{OPTIONS} /dev/sda", f"{OPTIONS} /dev/nvme0", f"{OPTIONS} -d megaraid,8 /dev/bus/0",
    ]  # fmt: skip
    assert found[-1] == {"nephoscope": "end"}
    assert house.left() == []


def test_it_leaves_out_what_the_probe_leaves_out(house):
    root = house.folder
    scsi(root, "sda")
    scsi(root, "sdb", "iscsi_tcp", "DELL", 1, "../devices/platform", "session1/target{0}:0:0/{0}:0:0:0")
    scsi(root, "sdc", "lpfc", "NETAPP", 2, PCI, "rport-2:0-1/target{0}:0:0/{0}:0:0:0")
    scsi(root, "sdd", "virtio_scsi", "ATA", 3, f"{PCI}/virtio3")
    for number, vendor in enumerate(smart.VIRTUAL, 4):
        scsi(root, f"sd{'abcdefghij'[number]}", "mptspi", vendor, number)
    usb = f"{PCI}/usb1/1-1/1-1:1.0"
    scsi(root, "sdx", "usb-storage", "AMI", 20, usb, removable=1)
    scsi(root, "sdy", "usb-storage", "WD", 21, usb)
    scsi(root, "sdz", "ahci", "ATA", 22, removable=1)  # a port for hot plug
    disks_told.nvme(root, "nvme0")
    for number, transport in enumerate(smart.FABRICS, 1):
        disks_told.nvme(root, f"nvme{number}", transport)
    names = sorted(name.partition("n1")[0] for name in os.listdir(root / "sys/block"))
    house.smartctl("\n".join(f"/dev/{name} -d scsi # x" for name in names))
    asked = [document["smartctl"]["argv"][0].rpartition("/")[2] for document in house.run()[1][:-1]]
    assert asked == sorted(smart.disks(Run(root=str(root))).asked) == ["nvme0", "sda", "sdy", "sdz"]


def test_one_that_hangs_holds_up_no_other_and_is_not_asked_again_while_it_lives(house):
    hangs = (
        'case "$*" in *sdb) trap "" TERM; echo $$ >>' + f"{house.folder}/pids; exec sleep 60;; esac; echo '{{\"a\":1}}'"
    )
    house.smartctl("/dev/sda -d scsi # x\n/dev/sdb -d scsi # x\n/dev/sdc -d scsi # x", hangs)
    begun = time.monotonic()
    found = house.run()[1]
    assert time.monotonic() - begun < 5
    late = {"nephoscope": "no answer in time", "device": "/dev/sdb", "type": ""}
    assert found == [{"a": 1}, late, {"a": 1}, {"nephoscope": "end"}]
    assert house.left() == []  # it could be killed
    (pid,) = (house.folder / "pids").read_text().split()
    assert not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_one_that_could_not_be_killed(house):
    house.smartctl("/dev/sda -d scsi # x", "exec cat /dev/null")
    house.run()
    # What hangs in the kernel keeps its name: here a script does, which lies there under smartctl's.
    other = house.folder / "smartctl"
    other.write_text("#!/bin/sh\nread -r _\n")
    other.chmod(0o755)
    with subprocess.Popen([other], stdin=subprocess.PIPE) as process:
        (house.folder / "run/_dev_sda_.hung").write_text(f"{process.pid}\n")
        end = time.monotonic() + 5
        while Path(f"/proc/{process.pid}/comm").read_text() != "smartctl\n" and time.monotonic() < end:
            time.sleep(0.01)
        text = f"an earlier smartctl (process {process.pid}) still hangs"
        assert house.run()[1][0] == {"nephoscope": text, "device": "/dev/sda", "type": ""}
        assert house.left() == ["_dev_sda_.hung"]
        process.send_signal(signal.SIGKILL)
    assert house.run()[1][0] == {"nephoscope": "smartctl said nothing", "device": "/dev/sda", "type": ""}
    assert house.left() == []


def test_many_disks_that_hang(house):
    house.smartctl("\n".join(f"/dev/bus/0 -d megaraid,{number} # x" for number in range(40)), "exec sleep 60")
    begun = time.monotonic()
    found = house.run()[1]
    assert time.monotonic() - begun < 12
    said = [document["nephoscope"] for document in found]
    assert said == ["no answer in time"] * 16 + ["not begun, the time was up"] * 24 + ["end"]


def test_lines_of_many_rows_become_one(house):
    house.smartctl("/dev/sda -d scsi # x", "printf '{\\n\"a\":\\n1}\\n'")
    assert house.run()[1] == [{"a": 1}, {"nephoscope": "end"}]


def test_what_is_no_name_of_a_device_is_not_asked(house):
    house.smartctl('/dev/sd$(id) -d scsi # x\n/dev/sd"a -d scsi # x\n')
    assert house.run() == (0, [{"nephoscope": "end"}])


def test_without_smartctl(house, monkeypatch):
    house.program.write_text(house.program.read_text().replace(":/usr/sbin:/usr/bin:/sbin:/bin", ""))
    done = subprocess.run(["/bin/sh", house.program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (
        1,
        '{"nephoscope": "smartctl is not installed (package smartmontools)"}\n',
    )


def test_it_takes_no_argument(house):
    house.smartctl(SCAN)
    assert house.run("/dev/sda") == (2, [])


def test_it_can_be_installed_as_it_is():
    assert os.access(SCRIPT, os.X_OK)
    assert (f"/usr/local/sbin/{SCRIPT.name}",) == smart.LINE


def test_one_that_hangs_takes_one_place_of_sixteen(house):
    rest = "case \"$*\" in *,0' '*) exec sleep 60;; esac; echo '{\"a\":1}'"
    house.smartctl("\n".join(f"/dev/bus/0 -d megaraid,{number} # x" for number in range(200)), rest)
    house.program.write_text(house.program.read_text().replace("seconds=1 ", "seconds=5 "))
    found = house.run()[1]
    assert [document.get("nephoscope", document.get("a")) for document in found] == [
        "no answer in time",
        *[1] * 199,
        "end",
    ]


@pytest.mark.parametrize(
    "scan, said",
    [
        ("exec sleep 60", "smartctl --scan: no answer in time"),
        ("exit 3", "smartctl --scan ended with 3"),
    ],
)
def test_a_list_that_is_none(house, scan, said):
    """A RAID controller that is dead keeps it waiting: the other disks are told all the same."""
    scsi(house.folder, "sda")
    house.smartctl("", "exit 9")
    script = house.folder / "bin/smartctl"
    script.write_text(
        f"#!/bin/sh\n[ $1 != --scan ] || {{ echo $$ >{house.folder}/pid; {scan}; }}\necho '{{\"a\":1}}'\n"
    )
    found = house.run()[1]
    assert found == [{"nephoscope": said, "device": "smart", "type": ""}, {"a": 1}, {"nephoscope": "end"}]
    assert house.left() == []
    assert not os.path.exists(f"/proc/{(house.folder / 'pid').read_text().strip()}")


def test_a_list_that_could_not_be_ended(house):
    house.smartctl("/dev/sda -d scsi # x", "exec cat /dev/null")
    scsi(house.folder, "sda")
    house.run()
    other = house.folder / "smartctl"
    other.write_text("#!/bin/sh\nread -r _\n")
    other.chmod(0o755)
    with subprocess.Popen([other], stdin=subprocess.PIPE) as process:
        (house.folder / "run/scan.hung").write_text(f"{process.pid}\n")
        end = time.monotonic() + 5
        while Path(f"/proc/{process.pid}/comm").read_text() != "smartctl\n" and time.monotonic() < end:
            time.sleep(0.01)
        said = [document["nephoscope"] for document in house.run()[1]]
        process.send_signal(signal.SIGKILL)
    assert said == [f"an earlier smartctl --scan (process {process.pid}) still hangs", "smartctl said nothing", "end"]
    assert [document["nephoscope"] for document in house.run()[1]] == ["smartctl said nothing", "end"]
    assert house.left() == []


def test_disks_that_the_list_of_smartctl_leaves_out(house):
    """Its list stops at sdzz and nvme99 (7.3)."""
    scsi(house.folder, "sda")
    scsi(house.folder, "sdaaa", host=1)
    disks_told.nvme(house.folder, "nvme100")
    house.smartctl("/dev/sda -d scsi # x")
    asked = [document["smartctl"]["argv"][0] for document in house.run()[1][:-1]]
    assert asked == [f"{OPTIONS} /dev/{name}" for name in ("sda", "sdaaa", "nvme100")]


@pytest.mark.parametrize("way", ["closed", "ended"])
def test_who_asked_has_given_up(house, way):
    """What was begun is ended, and nothing is left behind."""
    house.smartctl("/dev/sda -d scsi # x", f"echo $$ >{house.folder}/pid; exec sleep 60")
    with subprocess.Popen(["sh", house.program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        end = time.monotonic() + 10
        while not (house.folder / "pid").exists() and time.monotonic() < end:
            time.sleep(0.01)
        if way == "closed":
            process.stdout.close()
        else:
            process.terminate()
    assert house.left() == []
    pid = (house.folder / "pid").read_text().strip()
    assert not os.path.exists(f"/proc/{pid}")


def test_what_one_that_was_killed_left_behind(house):
    old, young = house.folder / "run/run.old", house.folder / "run/run.young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (1, 1))
    house.smartctl("")
    house.run()
    assert house.left() == ["run.young"]
