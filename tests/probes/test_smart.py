# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import smart
from nephoscope.probes.conditions import Condition, Reading
from nephoscope.probes.smart import Disks

from tests.probes import disks_told, stand_ins
from tests.probes.disks_told import PCI, asked, ata, attribute, flash, late, sas, scsi, sleeping, stream, unopened

KNOWN = Disks(("sda",), {}, {})


def told(document):
    return smart.disk(smart.name(document), document)


def health(document):
    return [(condition.health, condition.text) for condition in told(document).conditions]


def test_a_good_sata_disk():
    found = told(ata())
    assert list(found.conditions) == [Condition("ok", "sda", "(HGST HUS726T4TALE6L4) is well")]
    assert list(found.readings) == [
        Reading("realloc", "sda", 0.0),
        Reading("reported", "sda", 0.0),
        Reading("pending", "sda", 0.0),
        Reading("uncorrected", "sda", 0.0),
        Reading("temp_celsius", "sda", 29),
    ]
    assert found.seen == {"smart WD-1": "sda"}
    assert found.counters == {("sectors_day", "WD-1"): 0.0, ("errors_day", "WD-1"): 0.0}


def test_a_good_sas_disk_behind_a_controller():
    found = told(sas())
    assert list(found.conditions) == [Condition("ok", "bus0/8", "(TOSHIBA AL15SEB24EQY) is well")]
    assert list(found.readings) == [Reading("realloc", "bus0/8", 0), Reading("temp_celsius", "bus0/8", 32)]


@pytest.mark.parametrize("version", [(7, 0), (7, 1), (7, 2), (7, 3), (7, 4)])
def test_a_good_nvme_disk(version):
    found = told(flash(version=version))
    assert list(found.conditions) == [Condition("ok", "nvme0", "(Micron_7300_MTFDHBE1T6TDG) is well")]
    assert list(found.readings) == [Reading("wear", "nvme0", 3), Reading("temp_celsius", "nvme0", 22)]
    assert found.counters == {("errors_day", "S4"): 0.0}


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (ata("/dev/sdab"), "sdab"),
        (flash("/dev/nvme10"), "nvme10"),
        (sas(kind="megaraid,12"), "bus0/12"),
        ({**sas(), "smartctl": {}, "device": "/dev/bus/1", "type": "sat+megaraid,3"}, "bus1/3"),
        (late("/dev/bus/0", "megaraid,8"), "bus0/8"),
        (late("/dev/sdc"), "sdc"),
        (unopened("/dev/sdd"), "sdd"),
        (sas("/dev/sda", "sssraid,0,1"), "sda/0,1"),
    ],
)
def test_names(document, name):
    assert smart.name(document) == name


# exit bits: 1 command line, 2 not opened, 4 a command failed, 8 failing, 16 at a limit, 32 was at a limit, 64 and 128 logs
@pytest.mark.parametrize("status", [0, 4, 64, 128, 64 + 128, 4 + 64])
def test_exit_bits_that_do_not_decide(status):
    assert [state for state, _ in health(ata(status=status))] == ["ok"]


@pytest.mark.parametrize("document", [ata(passed=False), ata(status=8), ata(passed=False, status=8)])
def test_a_disk_that_says_that_it_is_failing(document):
    assert health(document) == [("failed", "says that it is failing")]


def test_why_a_scsi_disk_says_so():
    state = {"passed": False, "scsi": {"asc": 93, "ascq": 16, "ie_string": "FAILURE PREDICTION THRESHOLD EXCEEDED"}}
    assert health(sas(smart_status=state)) == [
        ("failed", "says that it is failing: FAILURE PREDICTION THRESHOLD EXCEEDED")
    ]


@pytest.mark.parametrize(
    ("document", "kind", "error"),
    [
        (unopened(), UNREADABLE, "Smartctl open device: /dev/sdb failed: No such device"),
        (
            unopened(text="/dev/sdb: Unable to detect device type", status=1),
            UNREADABLE,
            "/dev/sdb: Unable to detect device type",
        ),
        # smartctl says so of every disk that does not answer the question: seen with 7.3 on what is no disk.
        (sleeping(word="SLEEP"), UNREADABLE, "it answers no command: it is dead, or in the deepest sleep (SLEEP)"),
        (sleeping(word="DREAM"), UNREADABLE, "it is in a mode that is not understood: DREAM"),
        (asked("/dev/sdb", status=2), UNREADABLE, "smartctl ended with 2"),
        (asked("/dev/sdb", status=3), UNREADABLE, "smartctl ended with 3"),
        (late(), UNREACHABLE, "no answer in time"),
        (
            late(why="an earlier smartctl (process 7) still hangs"),
            UNREACHABLE,
            "an earlier smartctl (process 7) still hangs",
        ),
        (late(why="not begun, the time was up"), LATE, "not begun, the time was up"),
        (late(why="smartctl said nothing"), UNREADABLE, "smartctl said nothing"),
        (asked("/dev/sdb", status=4), UNREADABLE, "no health is told: smartctl ended with 4"),
        ({**ata("/dev/sdb"), "smart_status": {}}, UNREADABLE, "no health is told: smartctl ended with 0"),
        ({**ata("/dev/sdb"), "smart_status": {"passed": None}}, UNREADABLE, "no health is told: smartctl ended with 0"),
        (
            {**asked("/dev/sdb"), "smart_support": {"available": False}},
            UNREADABLE,
            "no health is told: it has no SMART, or its controller does not pass it on",
        ),
        (
            {**asked("/dev/sdb"), "smart_support": {"available": True, "enabled": False}},
            UNREADABLE,
            "no health is told: SMART is switched off in it (smartctl -s on)",
        ),
    ],
)
def test_a_disk_that_tells_nothing(document, kind, error):
    with pytest.raises(Failed) as caught:
        told(document)
    assert caught.value == Failed(kind, "sdb", "run smartctl", error)


def test_an_nvme_disk_without_its_log():
    document = flash("/dev/nvme0")
    del document["nvme_smart_health_information_log"]
    with pytest.raises(Failed, match="no health log is told"):
        told(document)


@pytest.mark.parametrize(
    "word", ["STANDBY", "STANDBY_Y", "STANDBY (OS)", "LOW POWER", "STANDBY BY TIMER", "STANDBY_Y BY COMMAND"]
)
def test_a_disk_that_sleeps_is_not_looked_at(word):
    found = told(sleeping(word=word))
    assert list(found.conditions) == [Condition("asleep", "sdb", f"sleeps ({word}) and is not woken: not looked at")]
    assert (found.readings, found.seen, found.counters) == ((), {}, {})


@pytest.mark.parametrize(
    ("bit", "state", "text"),
    [
        (0, "failed", "its spare blocks are below their limit"),
        (1, "degraded", "its temperature is beyond a limit"),
        (2, "failed", "its reliability is degraded by media or internal errors"),
        (3, "failed", "it has become read-only"),
        (4, "degraded", "the backup of its volatile memory has failed"),
        (5, "degraded", "its persistent memory has become read-only or unreliable"),
        (6, "unknown", "gives a warning that is not understood: 0x40"),
        (7, "unknown", "gives a warning that is not understood: 0x80"),
    ],
)
def test_each_bit_of_the_critical_warning(bit, state, text):
    assert health(flash(warning=1 << bit)) == [(state, text)]


def test_two_bits_at_once():
    assert [state for state, _ in health(flash(warning=0b110))] == ["degraded", "failed"]


@pytest.mark.parametrize(("spare", "bad"), [(11, False), (10, True), (3, True)])
def test_spare_blocks(spare, bad):
    text = f"has {spare} % of its spare blocks left, its limit is 10 %"
    assert (("failed", text) in health(flash(spare=spare))) is bad


def test_wear_that_is_not_told_is_not_zero():
    document = flash()
    del document["nvme_smart_health_information_log"]["percentage_used"]
    assert Reading("wear", "nvme0", None) in told(document).readings


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"when": "now", "value": 5, "worst": 5, "thresh": 10, "prefailure": True}, ("degraded", "X is at its limit (value 5, worst 5, limit 10)")),
        ({"when": "now", "value": 5, "worst": 5, "thresh": 10}, ("degraded", "X is at its limit (value 5, worst 5, limit 10)")),
        ({"when": "past", "worst": 5, "thresh": 10, "prefailure": True}, ("degraded", "X was at its limit (value 100, worst 5, limit 10)")),
        ({"when": "past", "worst": 5, "thresh": 10}, ("ok", "(HGST HUS726T4TALE6L4) is well")),
        ({"when": "soon"}, ("unknown", "X failed at a time that is not understood: soon")),
        ({}, ("ok", "(HGST HUS726T4TALE6L4) is well")),
    ],
)  # fmt: skip
def test_each_word_of_when_failed(row, found):
    assert health(ata(rows=[attribute(190, "X", **row)])) == [found]


@pytest.mark.parametrize(
    ("number", "name"), [(5, "realloc"), (187, "reported"), (197, "pending"), (198, "uncorrected")]
)
def test_each_counted_attribute(number, name):
    found = told(ata(rows=[attribute(number, "X", 7)]))
    assert Reading(name, "sda", 7.0) in found.readings
    assert found.counters[("sectors_day", "WD-1")] == 7.0
    assert found.counters[("errors_day", "WD-1")] == 0.0


def test_a_count_that_is_packed_with_others():
    found = told(ata(rows=[attribute(5, "X", 0x000300020005, text="5 (2 3)")]))
    assert Reading("realloc", "sda", 5.0) in found.readings
    assert smart.raw({"raw": {"value": 9, "string": "?"}}) == 9.0


@pytest.mark.parametrize(
    "document",
    [
        ata(rows=[attribute(199, "UDMA_CRC_Error_Count", 3)]),
        ata(ata_smart_error_log={"summary": {"count": 3}}),
        ata(ata_smart_error_log={"extended": {"count": 3}, "summary": {"count": 1}}),
        ata(ata_smart_self_test_log={"standard": {"count": 9, "error_count_total": 4, "error_count_outdated": 1}}),
        flash(media=3),
        {**sas(serial="WD-1"), "scsi_error_counter_log": {"read": {"total_uncorrected_errors": 1}, "write": {"total_uncorrected_errors": 2}}},
    ],
)  # fmt: skip
def test_each_count_of_errors(document):
    document["serial_number"] = "S"
    assert told(document).counters[("errors_day", "S")] == 3.0


@pytest.mark.parametrize(
    "document",
    [
        ata(rows=[attribute(177, "Wear_Leveling_Count", value=60)]),
        ata(rows=[attribute(233, "Media_Wearout_Indicator", value=60)]),
        ata(rows=[attribute(231, "SSD_Life_Left", value=60)]),
        ata(rows=[attribute(202, "Percent_Lifetime_Remain", value=60)]),
        ata(rows=[attribute(177, "Wear_Leveling_Count", value=99)], endurance_used={"current_percent": 40}),
        sas(scsi_percentage_used_endurance_indicator=40),
        flash(used=40),
    ],
)
def test_wear(document):
    assert [reading.value for reading in told(document).readings if reading.name == "wear"] == [40]


def test_defects_of_a_scsi_disk():
    found = told(sas(grown=4))
    assert Reading("realloc", "bus0/8", 4) in found.readings
    assert found.counters[("sectors_day", "Z1")] == 4.0


def test_a_disk_without_a_serial_number_goes_by_another_name():
    document = ata()
    del document["serial_number"]
    assert told(document).seen == {"smart sda": "sda"}
    assert told({**document, "wwn": {"id": 7}}).seen == {"smart 7": "sda"}


def test_the_whole():
    known = Disks(("sda", "sdb", "sdc", "sdd"), {"sde": "megaraid_sas"}, {"on a network": 4})
    found = smart.judge_all([ata(), sleeping("/dev/sdb"), late("/dev/sdc"), unopened("/dev/sde"), sas()], known)
    assert [condition.of for condition in found.conditions] == ["sda", "sdb", "bus0/8"]
    assert [(failed.kind, failed.of) for failed in found.failures] == [(UNREACHABLE, "sdc"), (UNREADABLE, "sdd")]
    assert found.failures[1].error == "it tells nothing of this disk"
    assert found.summary == "SMART of 2 disks, sdb asleep, 4 on a network not asked"


@pytest.mark.parametrize(
    "words", [{"ata_smart_attributes": 7}, {"smart_status": []}, {"ata_smart_attributes": {"table": [{}]}}]
)
def test_what_is_not_understood_hides_no_other(words):
    found = smart.judge_all([{**ata(), **words}, flash()], KNOWN)
    (failed,) = found.failures
    assert (failed.kind, failed.of) == (UNREADABLE, "sda")
    assert [condition.of for condition in found.conditions] == ["nvme0"]


def test_which_disks_are_asked(tmp_path):
    scsi(tmp_path, "sda")
    scsi(tmp_path, "sdb", "iscsi_tcp", "LIO-ORG", 1, "../devices/platform", "session1/target{0}:0:0/{0}:0:0:0")
    scsi(tmp_path, "sdc", "lpfc", "NETAPP", 2, PCI, "rport-2:0-1/target{0}:0:0/{0}:0:0:0")
    scsi(tmp_path, "sdd", "virtio_scsi", "QEMU", 3, f"{PCI}/virtio3")
    scsi(tmp_path, "sde", "mptspi", "VMware", 4)
    scsi(tmp_path, "sdf", "megaraid_sas", "AVAGO", 5)
    scsi(tmp_path, "sdg", "mpt3sas", "SEAGATE", 6)
    disks_told.nvme(tmp_path)
    disks_told.nvme(tmp_path, "nvme1", "tcp")
    for name in ("loop0", "dm-0", "md0", "zram0", "sr0", "vda", "xvda", "nbd1", "mmcblk0"):
        (tmp_path / "sys/block" / name).mkdir()
    known = smart.disks(Run(root=str(tmp_path)))
    assert known == Disks(("sda", "sdg", "nvme0"), {"sdf": "megaraid_sas"}, {"virtual": 4, "on a network": 3})


def look(root):
    return smart.look(Run(root=str(root)))


def test_a_virtual_machine_has_nothing_to_ask(tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch, nephoscope_smart="exit 7")
    (tmp_path / "sys/block/vda").mkdir(parents=True)
    with pytest.raises(Failed) as caught:
        look(tmp_path)
    assert caught.value == Failed(ABSENT, "smart", "", "there is no disk that could be asked (1 virtual)")


@pytest.mark.parametrize(
    ("scripts", "kind", "error"),
    [
        ({"other": ""}, NOT_ALLOWED, "sda can't be asked: nephoscope-smart is not installed"),
        (
            {
                "nephoscope_smart": 'echo \'{"nephoscope": "smartctl is not installed (package smartmontools)"}\'; exit 1'
            },
            NOT_ALLOWED,
            "sda can't be asked: smartctl is not installed (package smartmontools)",
        ),
        ({"nephoscope_smart": "", "sudo": stand_ins.REFUSES}, NOT_ALLOWED, "sudo: a password is required"),
        ({"nephoscope_smart": "echo '<html>'"}, UNREADABLE, "not its JSON: '<html>'"),
        ({"nephoscope_smart": "echo '[1]'"}, UNREADABLE, "not its JSON: '[1]'"),
        ({"nephoscope_smart": "echo '[' | sed 's/./[[[[[[[[/'; exit 1"}, UNREADABLE, "not its JSON: '[[[[[[[['"),
        ({"nephoscope_smart": "exit 3"}, UNREADABLE, "its answer is cut off: it ended with 3"),
        ({"nephoscope_smart": "echo oops >&2"}, UNREADABLE, "its answer is cut off: oops"),
    ],
)
def test_no_answer(tmp_path, monkeypatch, scripts, kind, error):
    scsi(tmp_path, "sda")
    stand_ins.put(tmp_path / "bin", monkeypatch, **scripts)
    with pytest.raises(Failed) as caught:
        look(tmp_path)
    assert (caught.value.kind, caught.value.of, caught.value.error) == (kind, "smart", error)
    assert caught.value.kind != NOT_ALLOWED or "nephoscope-smart" in caught.value.cure


def test_all_is_well(tmp_path, monkeypatch):
    scsi(tmp_path, "sda")
    stand_ins.put(tmp_path / "bin", monkeypatch, nephoscope_smart=stand_ins.says(stream(ata())))
    assert look(tmp_path).summary == "SMART of 1 disks"


def test_disks_behind_a_controller_without_a_drive(tmp_path, monkeypatch):
    """All disks are spares, or not configured: the kernel has no drive of it, smartctl has its disks."""
    disks_told.kernel(tmp_path)
    disks_told.put(tmp_path, "/sys/class/scsi_host/host0/proc_name", "megaraid_sas")
    stand_ins.put(tmp_path / "bin", monkeypatch, nephoscope_smart=stand_ins.says(stream(sas())))
    assert look(tmp_path).seen == {"smart Z1": "bus0/8"}


def test_what_a_controller_passes_through_and_what_not(tmp_path, monkeypatch):
    for number, letter in enumerate("abc"):
        scsi(tmp_path, f"sd{letter}", "smartpqi", "ATA", number)
    documents = (ata(), unopened("/dev/sdb"), late("/dev/sdc"))
    stand_ins.put(tmp_path / "bin", monkeypatch, nephoscope_smart=stand_ins.says(stream(*documents)))
    found = look(tmp_path)
    assert found.seen == {"smart WD-1": "sda"}
    assert [failed.of for failed in found.failures] == ["sdc"]
    stand_ins.put(tmp_path / "bin", monkeypatch, nephoscope_smart=stand_ins.says(stream(unopened("/dev/sda"))))
    with pytest.raises(Failed) as caught:
        look(tmp_path)
    assert caught.value == Failed(ABSENT, "smart", "", "there is no disk that could be asked (3 of a RAID controller)")


def test_the_worse_of_two_that_tell_of_wear():
    rows = [attribute(177, "Wear_Leveling_Count", value=60), attribute(233, "Media_Wearout_Indicator", value=90)]
    assert Reading("wear", "sda", 40) in told(ata(rows=rows)).readings


def test_garbage_of_one_hides_no_other(tmp_path, monkeypatch):
    scsi(tmp_path, "sda")
    scsi(tmp_path, "sdb", host=1)
    script = f"echo 'smartctl 6.6 UNRECOGNIZED OPTION: json'; {stand_ins.says(stream(ata()))}"
    stand_ins.put(tmp_path / "bin", monkeypatch, nephoscope_smart=script)
    found = look(tmp_path)
    assert [condition.of for condition in found.conditions] == ["sda"]
    assert [(failed.of, failed.error) for failed in found.failures] == [
        ("smart", "not its JSON: 'smartctl 6.6 UNRECOGNIZED OPTION: json'"),
        ("sdb", "it tells nothing of this disk"),
    ]
