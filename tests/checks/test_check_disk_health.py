# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shutil

import pytest
from nephoscope.base import COLLECTING, UNREACHABLE, Clock, Failed
from nephoscope.checks.storage.check_disk_health import CHECK, STATES, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import conditions, disk_health
from nephoscope.probes.conditions import Condition, Reading
from nephoscope.probes.disk_health import Survey

from tests.probes import disks_told, stand_ins
from tests.probes.disks_told import (
    NONE,
    ata,
    attribute,
    controller,
    controllers,
    details,
    drive,
    flash,
    kernel,
    late,
    md,
    nvme,
    properties,
    put,
    rebuild,
    sas,
    scsi,
    sleeping,
    storcli,
    stream,
    unopened,
    virtual,
)

DAY = 86400.0
MYSELF = os.geteuid()


def judged(*argv, **words):
    return list(judge(Survey(**words), CHECK.parse(*argv)))


def test_each_health_has_a_state():
    assert STATES == {
        "ok": OK, "spare": OK, "asleep": OK, "degraded": WARNING, "rebuilding": WARNING, "exposed": CRITICAL,
        "failed": CRITICAL, "unknown": UNKNOWN,
    }  # fmt: skip
    assert set(STATES) == set(conditions.HEALTH)


def test_the_judge():
    failed = Failed(UNREACHABLE, "sdb", "run smartctl", "no answer in time")
    one = Condition("failed", "sda", "is failing")
    assert judged(conditions=[one], readings=[Reading("wear", "sda", 3.0)], failed=1, summary="x", alive=True) == [
        Finding(CRITICAL, "sda", "is failing"),
        Metric("wear", 3.0, "sda"),
        Metric("failed", 1),
        Finding(OK, "", "looked at x"),
    ]
    assert judged(conditions=[one], failures=[failed])[0] == failed
    assert judged(summary="x") == [Finding(UNKNOWN, "", "looked at x")]
    assert judged(readings=[Reading("errors_day", "sda", COLLECTING)]) == [Metric("errors_day", COLLECTING, "sda")]


class Machine:
    """A recorded kernel with the programs that are run on it."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.root, self.bin = kernel(folder / "root"), folder / "bin"
        self.scripts = {"other": ""}

    def says(self, *documents):
        self.scripts["nephoscope_smart"] = stand_ins.says(stream(*documents))
        return self

    def line(self, *argv, **words):
        return self.run(*argv, **words).line

    def run(self, *argv, shift=0.0, **scripts):
        shutil.rmtree(self.bin, ignore_errors=True)
        state = self.folder / f"state{len(scripts.get('sudo', ''))}"
        with self.monkeypatch.context() as patch:
            stand_ins.put(self.bin, patch, **{**self.scripts, **scripts})
            if "sudo" in scripts and MYSELF == 0:  # who is refused is another user than root, and so is the state's
                state.mkdir(mode=0o700, exist_ok=True)
                os.chown(state, 1000, -1)
            else:
                patch.setattr(os, "geteuid", lambda: MYSELF)
            return CHECK.run([*argv, "--state-dir", str(state)], root=self.root, clock=Clock(shift))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


HERE = "smart: there is no disk that could be asked; raid: the kernel has no RAID controller"


def test_nothing_at_all(machine):
    said = f"no source of disk health: md: the kernel has no md array; {HERE}"
    assert machine.line() == f"DISK_HEALTH UNKNOWN - {said}"
    assert machine.line("--absent-state", "ok") == f"DISK_HEALTH OK - {said}"


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("md", "md: the kernel has no md array (list /sys/block)"),
        ("smart", "smart: there is no disk that could be asked"),
        ("raid", "raid: the kernel has no RAID controller"),
    ],
)
def test_a_source_asked_for_by_name_that_is_not_here(machine, mode, said):
    assert machine.line("--mode", mode) == f"DISK_HEALTH UNKNOWN - {said}"


MD = [
    ({}, "OK - looked at 1 md arrays; not here: smart, raid | failed=0 mismatches=0"),
    (
        {"level": "raid5", "degraded": 1},
        "CRITICAL - md0 raid5 lacks 1 of 2 disks, no other may fail | failed=0 mismatches=0",
    ),
    ({"level": "raid6", "disks": 4, "degraded": 1}, "WARNING - md0 raid6 lacks 1 of 4 disks | failed=0 mismatches=0"),
    (
        {"degraded": 1, "sync_action": "recover", "sync_completed": "421 / 1000"},
        "WARNING - md0 raid1 lacks 1 of 2 disks, recover (42.1 % done) | failed=0 mismatches=0 md0_rebuilding=42.1%",
    ),
    ({"array_state": "inactive"}, "CRITICAL - md0 is inactive | failed=1"),
    ({"array_state": "dreaming"}, "UNKNOWN - md0 is dreaming | failed=0"),
    ({"members": {"sda1": "faulty"}}, "WARNING - md0/sda1 is faulty | failed=0 mismatches=0"),
    (
        {"level": "raid6", "disks": 4, "mismatch_cnt": 8},
        "CRITICAL - md0 has 8 sectors whose copies differ (mismatch_cnt) | failed=1 mismatches=8",
    ),
    ({"degraded": "many"}, "UNKNOWN - md0: not a number: 'many' (read degraded)"),
    ({"sync_action": None}, "UNKNOWN - md0: No such file or directory (read /sys/block/md0/md/sync_action)"),
]


@pytest.mark.parametrize(("words", "expected"), MD)
def test_first_lines_of_md(machine, words, expected):
    md(machine.root, **words)
    assert machine.line() == f"DISK_HEALTH {expected}"


SMART = "not here: md, raid"
COUNTS = "realloc={realloc};0;50 pending={pending};0;50 reported=0;0;50 uncorrected=0;0;50"
NUMBERS = f"{COUNTS.format(realloc=0, pending=0)} temp_celsius=29"


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([ata()], f"OK - looked at SMART of 1 disks; {SMART}, rates collecting | failed=0 {NUMBERS}"),
        ([ata(passed=False, status=8)], f"CRITICAL - sda says that it is failing | failed=1 {NUMBERS}"),
        ([ata(rows=[attribute(5, "X", 7)])], f"WARNING - sda realloc 7 is above 0 | failed=0 {NUMBERS.replace('=0', '=7', 1)}"),
        (
            [ata(rows=[attribute(197, "X", 51)])],
            f"CRITICAL - sda pending 51 is above 50 | failed=0 {NUMBERS.replace('pending=0', 'pending=51')}",
        ),
        (
            [ata(rows=[attribute(5, "Reallocated_Sector_Ct", 0, 5, 5, 10, "now", True)], status=16)],
            f"WARNING - sda Reallocated_Sector_Ct is at its limit (value 5, worst 5, limit 10) | failed=0 {NUMBERS}",
        ),
        # An old entry in a log, or a hot day years ago, alarms nobody.
        (
            [ata(status=64 + 128 + 32, rows=[attribute(190, "X", when="past", worst=3)], ata_smart_error_log={"summary": {"count": 4}})],
            f"OK - looked at SMART of 1 disks; {SMART}, rates collecting | failed=0 {NUMBERS}",
        ),
        ([sleeping("/dev/sda")], f"UNKNOWN - looked at SMART of 0 disks, sda asleep; {SMART} | failed=0"),
        ([sleeping("/dev/sda", "SLEEP")], "UNKNOWN - sda: it answers no command: it is dead, or in the deepest sleep (SLEEP) (run smartctl)"),
        ([sleeping("/dev/sda"), sas()], f"OK - looked at SMART of 1 disks, sda asleep; {SMART}, rates collecting | failed=0 realloc=0;0;50 temp_celsius=32"),
        ([late("/dev/sda"), sas()], "CRITICAL - sda: no answer in time (run smartctl) | realloc=0;0;50 temp_celsius=32"),
        ([unopened("/dev/sda"), sas(passed=False)], "CRITICAL - bus0/8 says that it is failing, UNKNOWN: sda: Smartctl open device: /dev/sda failed: No such device (run smartctl) | realloc=0;0;50 temp_celsius=32"),
        ([late("/dev/sda", why="not begun, the time was up")], "UNKNOWN - sda: not begun, the time was up (run smartctl)"),
        ([], "UNKNOWN - sda: it tells nothing of this disk (run smartctl)"),
        ([{"smartctl": []}], "UNKNOWN"),
    ],
)  # fmt: skip
def test_first_lines_of_smart(machine, documents, expected):
    scsi(machine.root, "sda")
    line = machine.says(*documents).line()
    assert line.startswith(f"DISK_HEALTH {expected}"), line
    assert line == f"DISK_HEALTH {expected}" or expected == "UNKNOWN"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (flash(), f"OK - looked at SMART of 1 disks; {SMART}, rates collecting | failed=0 wear=3%;80;95;0;100 temp_celsius=22"),
        (flash(used=80), f"OK - looked at SMART of 1 disks; {SMART}, rates collecting | failed=0 wear=80%;80;95;0;100 temp_celsius=22"),
        (flash(used=81), "WARNING - nvme0 wear 81 % is above 80 % | failed=0 wear=81%;80;95;0;100 temp_celsius=22"),
        (flash(used=120), "CRITICAL - nvme0 wear 120 % is above 95 % | failed=0 wear=120%;80;95;0;100 temp_celsius=22"),
        (flash(warning=2), "WARNING - nvme0 its temperature is beyond a limit | failed=0 wear=3%;80;95;0;100 temp_celsius=22"),
        (flash(warning=8), "CRITICAL - nvme0 it has become read-only | failed=1 wear=3%;80;95;0;100 temp_celsius=22"),
        (flash(warning=64), "UNKNOWN - nvme0 gives a warning that is not understood: 0x40 | failed=0 wear=3%;80;95;0;100 temp_celsius=22"),
        (flash(spare=5), "CRITICAL - nvme0 has 5 % of its spare blocks left, its limit is 10 % | failed=1 wear=3%;80;95;0;100 temp_celsius=22"),
        (flash(used=None), "UNKNOWN - nvme0 wear was not measured | failed=0 temp_celsius=22"),
    ],
)  # fmt: skip
def test_first_lines_of_nvme(machine, document, expected):
    nvme(machine.root)
    assert machine.says(document).line().replace(";0;100", "") == f"DISK_HEALTH {expected}".replace(";0;100", "")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("offline", "CRITICAL - sda is offline: the kernel has given it up | failed=1 "),
        ("transport-offline", "CRITICAL - sda is transport-offline: the kernel has given it up | failed=1 "),
        ("blocked", "UNKNOWN - sda: Smartctl open device: /dev/sda failed: No such device (run smartctl) | realloc"),
    ],
)
def test_a_disk_that_the_kernel_has_given_up(machine, word, expected):
    scsi(machine.root, "sda", state=word)
    line = machine.says(unopened("/dev/sda"), sas()).line()
    assert line.startswith(f"DISK_HEALTH {expected}"), line


def test_a_disk_that_the_kernel_gave_up_is_not_missed_as_well(machine):
    scsi(machine.root, "sda")
    nvme(machine.root)
    machine.says(ata(), flash()).line()
    put(machine.root, "/sys/block/sda/device/state", "offline")
    put(machine.root, "/sys/class/nvme/nvme0/state", "dead")
    both = "nvme0 is dead: the kernel has given it up, sda is offline: the kernel has given it up"
    line = machine.says(unopened("/dev/sda")).line(shift=60)
    assert line.startswith(f"DISK_HEALTH CRITICAL - {both} | failed=2"), line
    line = machine.line(shift=120, nephoscope_smart="", sudo=stand_ins.REFUSES)
    assert line.startswith(f"DISK_HEALTH CRITICAL - {both}, UNKNOWN: smart: sudo: a password is required"), line


def test_media_of_a_bmc_are_not_asked(machine):
    scsi(machine.root, "sda")
    scsi(machine.root, "sdb", "usb-storage", "AMI", 7, f"{disks_told.PCI}/usb1/1-1", removable=1)
    line = machine.says(ata()).line("--mode", "smart")
    assert line.startswith("DISK_HEALTH OK - looked at SMART of 1 disks, 1 removable not asked, rates collecting | "), (
        line
    )


def test_what_hides_behind_a_controller_is_said(machine):
    scsi(machine.root, "sda")
    scsi(machine.root, "sdb", "hpsa", "HP", 1)
    line = machine.says(ata(), unopened("/dev/sdb")).line("--mode", "smart")
    said = "looked at SMART of 1 disks, none behind sdb (RAID controller), rates collecting"
    assert line.startswith(f"DISK_HEALTH OK - {said} | "), line


def test_what_a_disk_refused_for_once(machine):
    scsi(machine.root, "sda")
    five = ata(ata_smart_error_log={"summary": {"count": 5}})
    machine.says(five).line()
    line = machine.says(ata(status=4, ata_smart_error_log={}, ata_smart_attributes={})).line(shift=3600)
    assert line.startswith("DISK_HEALTH UNKNOWN - sda did not tell its attributes | "), line
    assert machine.says(five).line(shift=7200).startswith("DISK_HEALTH OK - ")


def test_an_answer_that_is_cut_off_hides_no_disk_that_was_told(machine):
    scsi(machine.root, "sda")
    machine.says(ata(), sas()).line()
    cut = stream(sas(passed=False)).rpartition("\n")[0]
    line = machine.line(shift=60, nephoscope_smart=f"{stand_ins.says(cut)}\nexit 137")
    said = "bus0/8 says that it is failing, UNKNOWN: smart: its answer is cut off: it ended with 137"
    assert line.startswith(f"DISK_HEALTH CRITICAL - {said} (run /usr/local/sbin/nephoscope-smart)"), line
    assert "tells nothing" not in line
    assert "missing" not in line


def test_a_list_of_disks_that_is_none(machine):
    """What it would have named is not missed for that."""
    scsi(machine.root, "sda")
    machine.says(ata(), sas()).line()
    line = machine.says(late("smart", why="smartctl --scan: no answer in time"), ata()).line(shift=60)
    assert line.startswith("DISK_HEALTH CRITICAL - smart: smartctl --scan: no answer in time (run smartctl) | "), line
    assert "missing" not in line


MISSING = "contrib/sbin/nephoscope-smart as /usr/local/sbin/nephoscope-smart (root, 0755), and smartmontools"


def test_disks_that_nobody_can_ask_are_not_well(machine):
    scsi(machine.root, "sda")
    md(machine.root)
    assert machine.line() == (
        f"DISK_HEALTH UNKNOWN - smart: sda can't be asked: nephoscope-smart is not installed: needs {MISSING} | mismatches=0"
    )
    absent = 'echo \'{"nephoscope": "smartctl is not installed (package smartmontools)"}\'; exit 1'
    assert machine.line(nephoscope_smart=absent) == (
        f"DISK_HEALTH UNKNOWN - smart: sda can't be asked: smartctl is not installed (package smartmontools): needs {MISSING} "
        "| mismatches=0"
    )
    cure = "needs a sudoers line for `/usr/local/sbin/nephoscope-smart` (nephoscope export sudoers)"
    assert machine.line(nephoscope_smart="", sudo=stand_ins.REFUSES) == (
        f"DISK_HEALTH UNKNOWN - smart: sudo: a password is required: {cure} | mismatches=0"
    )
    assert machine.line(nephoscope_smart="echo '<html>'") == (
        "DISK_HEALTH UNKNOWN - smart: not its JSON: '<html>' (run /usr/local/sbin/nephoscope-smart) | mismatches=0"
    )
    hangs = machine.line("-t", "2", nephoscope_smart="exec sleep 30")
    assert hangs.startswith("DISK_HEALTH CRITICAL - smart: no answer in 1 s (run nephoscope-smart)"), hangs


def raid(*data, **more):
    usual = (controller(), details(0, 1), properties(), rebuild())
    answers = [controllers(row) for row in (*data, *usual[len(data) :])]
    return {"storcli64": storcli(*answers), **more}


RAID = "looked at 1 RAID controllers; not here: md, smart"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ([controller(), details(0, 1), properties()], f"OK - {RAID} | failed=0 media_errors=0;10 media_errors_sum=0"),
        ([controller(volumes=[virtual("Dgrd")]), details(0, 1)], "CRITICAL - c0/v0 RAID5 is Dgrd, no other disk may fail | failed=0 media_errors=0;10 media_errors_sum=0"),
        ([controller(volumes=[virtual("Pdgd", kind="RAID6")]), details(0, 1)], "WARNING - c0/v0 RAID6 is Pdgd | failed=0 media_errors=0;10 media_errors_sum=0"),
        ([controller(volumes=[virtual("OfLn")]), details(0, 1)], "CRITICAL - c0/v0 RAID5 is OfLn | failed=1 media_errors=0;10 media_errors_sum=0"),
        (
            [controller(volumes=[virtual("Dgrd")], drives=[drive(), drive("Rbld", 1)]), details(0, 1), properties(), rebuild(24)],
            "WARNING - c0/e252/s1 (ST2000NM0135) is Rbld, c0/v0 RAID5 is Dgrd, a disk is being rebuilt | failed=0 media_errors=0;10 media_errors_sum=0 c0_e252_s1-8f7f7a_rebuilding=24%",
        ),
        ([controller(drives=[drive(), drive("Failed", 1)]), details(0)], "CRITICAL - c0/e252/s1 (ST2000NM0135) is Failed | failed=1 media_errors=0;10"),
        ([controller(), details(0, 1, media=11)], "WARNING - c0/e252/s0 media errors 11 is above 10, c0/e252/s1 media errors 11 is above 10 | failed=0 media_errors=11;10 media_errors_sum=22"),
        ([controller(), details(0, 1, alert="Yes")], "WARNING - c0/e252/s0 predicts its failure (S.M.A.R.T. alert), c0/e252/s1 predicts its failure (S.M.A.R.T. alert) | failed=0 media_errors=0;10 media_errors_sum=0"),
        ([controller(Cachevault_Info=[{"State": "Failed"}]), details(0, 1)], "WARNING - c0/cachevault (backs the write cache) is Failed | failed=0 media_errors=0;10 media_errors_sum=0"),
        ([controller("Dreaming"), details(0, 1)], "UNKNOWN - c0 is Dreaming | failed=0 media_errors=0;10 media_errors_sum=0"),
        ([controller(), details(7)], "UNKNOWN - c0/e252/s0 media errors was not measured, c0/e252/s1 media errors was not measured | failed=0"),
        ([{"Status": {}}], "UNKNOWN - c0: its JSON is not understood: KeyError('Controller Status')"),
    ],
)  # fmt: skip
def test_first_lines_of_raid(machine, data, expected):
    put(machine.root, "/sys/class/scsi_host/host9/proc_name", "megaraid_sas")
    line = machine.says().line(**raid(*data))
    wanted, _, numbers = f"DISK_HEALTH {expected}".partition(" | ")
    got, _, have = line.partition(" | ")
    assert got == wanted
    assert have.split("_rebuilding")[0].split("-")[0] == numbers.split("_rebuilding")[0].split("-")[0]


def test_controllers_that_nobody_can_ask_are_not_well(machine):
    md(machine.root)
    put(machine.root, "/sys/class/scsi_host/host0/proc_name", "hpsa")
    line = machine.line()
    said = "hpsa: a RAID controller of this driver is here that no tool of ours can ask"
    cure = "needs its BMC asked instead (check_hardware_sensors), and the mode raid left out here"
    assert line == f"DISK_HEALTH UNKNOWN - {said}: {cure} | mismatches=0"
    assert machine.line("--mode", "md") == "DISK_HEALTH OK - looked at 1 md arrays | failed=0 mismatches=0"
    put(machine.root, "/sys/class/scsi_host/host0/proc_name", "megaraid_sas")
    said = "megaraid_sas: a RAID controller (megaraid_sas) is here, and neither storcli64 nor perccli64 is installed"
    assert said in machine.says().line()
    empty = {"storcli64": stand_ins.says(json.dumps(NONE))}
    said = "raid: it knows no controller, and the kernel has one (megaraid_sas)"
    assert said in machine.line(**empty)


def test_drives_of_a_controller_are_not_asked_for_smart_and_its_disks_are(machine):
    scsi(machine.root, "sda", "megaraid_sas", "AVAGO")
    line = machine.says(unopened("/dev/sda"), sas()).line("--mode", "smart")
    assert (
        line
        == "DISK_HEALTH OK - looked at SMART of 1 disks, rates collecting | failed=0 realloc=0;0;50 temp_celsius=32"
    )


def test_rising_counts(machine):
    scsi(machine.root, "sda")
    machine.says(ata(rows=[attribute(199, "X", 5)])).line()
    said = machine.says(ata(rows=[attribute(199, "X", 5)])).line(shift=3600)
    assert (
        said
        == f"DISK_HEALTH OK - looked at SMART of 1 disks; {SMART} | failed=0 {NUMBERS} errors_day=0;0 sectors_day=0;;0".replace(
            "errors_day=0;0 sectors_day=0;;0", "sectors_day=0;;0 errors_day=0;0"
        )
    )
    assert (
        machine.says(ata(rows=[attribute(199, "X", 8)]))
        .line(shift=7200)
        .startswith("DISK_HEALTH WARNING - sda errors day 3 is above 0 | ")
    )
    # The same for ever: a day later nobody is alarmed.
    assert machine.line(shift=7200 + DAY).startswith("DISK_HEALTH OK - ")
    more = ata(rows=[attribute(199, "X", 8), attribute(5, "X", 2)])
    line = machine.says(more).line(shift=2 * DAY)
    assert line.startswith(
        "DISK_HEALTH CRITICAL - sda sectors day 2 is above 0, WARNING: sda realloc 2 is above 0 | "
    ), line


def test_a_disk_that_slept_meanwhile_keeps_its_counts(machine):
    scsi(machine.root, "sda")
    md(machine.root)
    machine.says(ata()).line()
    assert (
        machine.says(sleeping("/dev/sda"))
        .line(shift=3600)
        .startswith("DISK_HEALTH OK - looked at 1 md arrays; SMART of 0 disks, sda asleep")
    )
    line = machine.says(ata(ata_smart_error_log={"summary": {"count": 2}})).line(shift=7200)
    assert line.startswith("DISK_HEALTH WARNING - sda errors day 2 is above 0 | "), line


def test_a_disk_that_sleeps_for_too_long(machine):
    scsi(machine.root, "sda")
    machine.says(sleeping("/dev/sda"), sas()).line()
    line = machine.line(shift=8 * DAY)
    said = "sda sleeps (STANDBY) and is not woken: not looked at for 8 days"
    assert line.startswith(f"DISK_HEALTH UNKNOWN - {said} | "), line


def test_a_disk_that_moved_is_the_same(machine):
    scsi(machine.root, "sda")
    machine.says(ata(ata_smart_error_log={"summary": {"count": 2}})).line()
    scsi(machine.root, "sdb", host=1)
    line = machine.says(ata(), ata("/dev/sdb", ata_smart_error_log={"summary": {"count": 2}}))
    moved = [ata("/dev/sda", "NEW"), ata("/dev/sdb", ata_smart_error_log={"summary": {"count": 2}})]
    line = machine.says(*moved).line(shift=3600)
    assert line.startswith("DISK_HEALTH OK - looked at SMART of 2 disks"), line


def test_what_vanished_is_missed(machine):
    md(machine.root)
    scsi(machine.root, "sda")
    nvme(machine.root)
    put(machine.root, "/sys/class/scsi_host/host9/proc_name", "megaraid_sas")
    machine.says(ata(), flash()).line(**raid(controller(), details(0, 1)))
    shutil.rmtree(machine.folder / "root/sys/class/nvme")
    line = machine.says(ata()).line(shift=600, **raid(controller(), details(0, 1)))
    assert line.startswith("DISK_HEALTH WARNING - nvme0 is missing, it was there 10 min ago | "), line
    less = raid(controller(drives=[drive()], Cachevault_Info=[]), details(0))
    shutil.rmtree(machine.folder / "root/sys/block/md0")
    text = machine.run("-v", shift=600, **less).text
    for name in ("c0/cachevault", "c0/e252/s1", "md0", "nvme0"):
        assert f"[WARNING] {name} is missing, it was there " in text, text
    assert machine.line(shift=9 * DAY, **less).startswith("DISK_HEALTH OK - ")


def test_all_that_there_was_has_vanished(machine):
    md(machine.root)
    for mode in ((), ("--mode", "md")):
        machine.line(*mode)
    shutil.rmtree(machine.folder / "root/sys/block/md0")
    for mode in ((), ("--mode", "md")):
        line = machine.line("--absent-state", "ok", *mode, shift=60)
        assert line.startswith("DISK_HEALTH WARNING - md0 is missing, it was there 1 min ago"), line


def test_what_is_expected(machine):
    md(machine.root)
    scsi(machine.root, "sda")
    scsi(machine.root, "sdb", host=1)
    machine.says(ata(), sleeping("/dev/sdb"))
    assert machine.line("--expect", "md*", "--expect", "sd*=2").startswith("DISK_HEALTH OK - looked at ")
    few = "md*: 1 of 2 are there, sd*: 2 of 3 are there"
    line = machine.line("--expect", "md*=2", "--expect", "sd*=3", "--exclude", "sd*")
    assert line.startswith(f"DISK_HEALTH CRITICAL - {few}"), line
    machine.says(ata(), late("/dev/sdb"))
    assert "sd*" not in machine.line("--expect", "sd*=2")
    line = machine.line("--expect", "nvme0", nephoscope_smart="exit 1")
    assert line.startswith("DISK_HEALTH UNKNOWN - ") and "nvme0 is not there" in line, line


def test_what_is_expected_of_a_machine_that_has_nothing(machine):
    for mode in ((), ("--mode", "md")):
        line = machine.line("--expect", "md0", "--absent-state", "ok", *mode)
        assert line.startswith("DISK_HEALTH CRITICAL - md0 is not there"), line
    assert machine.line("--expect", "md*=0").startswith("DISK_HEALTH UNKNOWN - no source of disk health")


def test_members_that_were_renamed_are_not_missed(machine):
    md(machine.root)
    machine.line()
    shutil.rmtree(machine.folder / "root/sys/block/md0")
    md(machine.root, members={"sdc1": "in_sync", "sdd1": "in_sync"})
    assert machine.line(shift=60).startswith("DISK_HEALTH OK - ")


def test_a_spare_that_is_gone(machine):
    md(machine.root, members={"sda1": "in_sync", "sdb1": "in_sync", "sdc1": "spare"})
    put(machine.root, "/sys/block/md0/md/dev-sdc1/slot", "none")
    machine.line()
    shutil.rmtree(machine.folder / "root/sys/block/md0/md/dev-sdc1")
    line = machine.line(shift=60)
    assert line.startswith("DISK_HEALTH WARNING - md0/spare 1 is missing, it was there 1 min ago | "), line


def test_drives_whose_serial_numbers_are_not_told_for_once_are_not_missed(machine):
    put(machine.root, "/sys/class/scsi_host/host9/proc_name", "megaraid_sas")
    machine.says().line(**raid(controller(), details(0, 1)))
    for shift, answers in (
        (60, {"storcli64": storcli(controllers(controller()), "<html>")}),
        (120, raid(controller(), details())),
    ):
        line = machine.run("-v", shift=shift, **answers).text
        assert "c0/e252/s0" in line
        assert "missing" not in line, line
    assert machine.line(shift=180, **raid(controller(), details(0, 1))).startswith("DISK_HEALTH OK - ")
    line = machine.line(shift=240, **raid(controller(drives=[drive()]), details(0)))
    assert line.startswith("DISK_HEALTH WARNING - c0/e252/s1 is missing, it was there 1 min ago | "), line


def test_another_disk_in_its_place(machine):
    scsi(machine.root, "sda")
    machine.says(ata()).line()
    line = machine.says(ata(serial="WD-2")).line(shift=60)
    said = "sda is missing, it was there 1 min ago (serial number WD-1; another disk has its place)"
    assert line.startswith(f"DISK_HEALTH WARNING - {said} | "), line
    assert machine.line("--remember", "0", shift=90).startswith("DISK_HEALTH OK - ")  # as the runbook has it
    assert machine.line(shift=120).startswith("DISK_HEALTH OK - ")


def test_what_could_not_be_asked_is_not_missed(machine):
    scsi(machine.root, "sda")
    machine.says(ata(), sas()).line()
    line = machine.says(late("/dev/sda")).line(shift=60)
    assert "bus0/8 is missing" in line
    assert "sda is missing" not in line
    line = machine.line(shift=120, nephoscope_smart="exit 1")
    assert "missing" not in line


@pytest.mark.parametrize(
    "kept", [{"members": [1]}, {"members": {"md x": 3, "md y": ["y"]}, "counters": {"a": 1}, "asleep": 5}, [1]]
)
def test_a_state_that_is_damaged(kept):
    before = kept.get("members") if isinstance(kept, dict) else kept
    assert disk_health.missing({}, set(), before, {"md"}, 1.0, 9.0) == ([], {})


def test_of_a_filter(machine):
    scsi(machine.root, "sda")
    machine.says(ata(), sas(passed=False))
    assert machine.line("--exclude", "bus0/8").startswith("DISK_HEALTH OK - ")
    assert machine.line("--include", "bus0/8").startswith("DISK_HEALTH CRITICAL - bus0/8 says that it is failing")


def test_many_disks_print_few_numbers(machine):
    scsi(machine.root, "sda")
    machine.says(*(sas(kind=f"megaraid,{number}", serial=f"Z{number}") for number in range(60)), ata())
    line = machine.line()
    numbers = NUMBERS.replace("=29", "=32").replace(" pending", " realloc_sum=0 pending")
    assert line.endswith(f"| failed=0 {numbers}"), line


def test_a_device_that_stays_silent_is_not_the_end(machine):
    """What smart can't tell does not hide what md and raid do."""
    scsi(machine.root, "sda")
    md(machine.root, degraded=1)
    put(machine.root, "/sys/class/scsi_host/host9/proc_name", "megaraid_sas")
    line = machine.line(**raid(controller(volumes=[virtual("Dgrd")]), details(0, 1)))
    assert line.startswith(
        "DISK_HEALTH CRITICAL - c0/v0 RAID5 is Dgrd, no other disk may fail, md0 raid1 lacks 1 of 2 disks"
    ), line


def test_what_it_needs():
    assert [" ".join(need.argv) for need in CHECK.needs][:2] == [
        "/usr/local/sbin/nephoscope-smart",
        "/opt/MegaRAID/storcli/storcli64 /call show all J nolog",
    ]
    assert disks_told.PCI
