# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import megaraid
from nephoscope.probes.conditions import HEALTH, Condition, Reading

from tests.probes import stand_ins
from tests.probes.disks_told import (
    NONE,
    controller,
    controllers,
    details,
    drive,
    kernel,
    properties,
    put,
    rebuild,
    storcli,
    virtual,
)


def told(row, drives=None, volumes=None, rebuilds=None):
    answers = [{} if answer is None else {0: answer} for answer in (drives, volumes, rebuilds)]
    return megaraid.tell({0: row}, *answers)


def of(name, found):
    return [(condition.health, condition.text) for condition in found.conditions if condition.of == name]


def test_a_good_one():
    found = told(controller(), details(0, 1), properties())
    assert list(found.conditions) == [
        Condition("ok", "c0", "is Optimal"),
        Condition("ok", "c0/v0", "RAID5 is Optl"),
        Condition("ok", "c0/e252/s0", "(ST2000NM0135) is Onln"),
        Condition("ok", "c0/e252/s1", "(ST2000NM0135) is Onln"),
        Condition("ok", "c0/cachevault", "(backs the write cache) is Optimal"),
    ]
    assert list(found.readings) == [Reading("media_errors", "c0/e252/s0", 0), Reading("media_errors", "c0/e252/s1", 0)]
    assert found.seen == {
        "raid c0": "c0", "raid c0/v0": "c0/v0", "raid Z0": "c0/e252/s0", "raid Z1": "c0/e252/s1",
        "raid c0/cachevault": "c0/cachevault",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("Optimal", "ok"), ("OK", "ok"), ("Needs Attention", "degraded"), ("NdAtn", "degraded"), ("Degraded", "degraded"),
        ("Failed", "failed"), ("Critical", "failed"), ("Fault", "failed"), ("Dreaming", "unknown"),
    ],
)  # fmt: skip
def test_each_state_of_a_controller(word, health):
    assert of("c0", told(controller(word))) == [(health, f"is {word}")]


@pytest.mark.parametrize(
    ("word", "health", "text"),
    [
        ("Optl", "ok", "RAID5 is Optl"),
        ("Cac", "ok", "RAID5 is Cac"),
        ("Rec", "rebuilding", "RAID5 is Rec"),
        ("Pdgd", "degraded", "RAID5 is Pdgd"),
        ("Dgrd", "exposed", "RAID5 is Dgrd, no other disk may fail"),
        ("dgrd", "exposed", "RAID5 is dgrd, no other disk may fail"),
        ("OfLn", "failed", "RAID5 is OfLn"),
        ("Msng", "failed", "RAID5 is Msng"),
        ("Dream", "unknown", "RAID5 is Dream"),
    ],
)
def test_each_state_of_a_virtual_drive(word, health, text):
    assert of("c0/v0", told(controller(volumes=[virtual(word)]))) == [(health, text)]


@pytest.mark.parametrize(
    ("word", "health"),
    [
        ("Onln", "ok"), ("JBOD", "ok"), ("UGood", "ok"), ("GHS", "spare"), ("DHS", "spare"), ("Rbld", "rebuilding"),
        ("Cpybck", "rebuilding"), ("CBShld", "degraded"), ("CFShld", "degraded"), ("HSPShld", "degraded"),
        ("UGShld", "degraded"), ("Sntze", "degraded"), ("UGUnsp", "degraded"), ("UBUnsp", "failed"), ("UBad", "failed"),
        ("Offln", "failed"), ("Failed", "failed"), ("Msng", "failed"), ("Dream", "unknown"),
    ],
)  # fmt: skip
def test_each_state_of_a_disk(word, health):
    assert of("c0/e252/s0", told(controller(drives=[drive(word)]))) == [(health, f"(ST2000NM0135) is {word}")]


@pytest.mark.parametrize(("word", "health"), [("RO", "degraded"), ("B", "degraded"), ("Dream", "unknown")])
def test_each_access_that_is_not_well(word, health):
    assert of("c0/v0", told(controller(volumes=[virtual(access=word)])))[1:] == [(health, f"has access {word}")]


@pytest.mark.parametrize("word", ["RW", "HD", "TRANS"])
def test_each_access_that_is_well(word):
    assert len(of("c0/v0", told(controller(volumes=[virtual(access=word)])))) == 1


@pytest.mark.parametrize(
    ("word", "health"),
    [*megaraid.BATTERY.items(), ("Dreaming", "unknown")],
)
@pytest.mark.parametrize(("listed", "name"), [("BBU_Info", "bbu"), ("Cachevault_Info", "cachevault")])
def test_each_state_of_a_battery(word, health, listed, name):
    assert (word == "Optimal") is (health == "ok")
    found = told(controller(**{"Cachevault_Info": [], listed: [{"Model": "X", "State": word}]}))
    assert of(f"c0/{name}", found) == [(health, f"(backs the write cache) is {word}")]


def test_a_rebuild():
    row = controller(volumes=[virtual("Dgrd")], drives=[drive(), drive("Rbld", 1)])
    found = told(row, details(0, 1), None, rebuild(24))
    assert of("c0/v0", found) == [("rebuilding", "RAID5 is Dgrd, a disk is being rebuilt")]
    assert of("c0/e252/s1", found) == [("rebuilding", "(ST2000NM0135) is Rbld")]
    assert [reading for reading in found.readings if reading.name == "rebuilding"] == [
        Reading("rebuilding", "c0/e252/s1", 24)
    ]


def test_a_rebuild_of_another_group():
    row = controller(volumes=[virtual("Dgrd"), virtual("Optl", 1, 1)], drives=[drive(), drive("Rbld", 1, 1)])
    assert of("c0/v0", told(row))[0][0] == "exposed"


def test_a_rebuild_does_not_hide_a_drive_that_is_offline():
    row = controller(volumes=[virtual("OfLn")], drives=[drive("Rbld")])
    assert of("c0/v0", told(row))[0][0] == "failed"


def test_a_cache_that_has_fallen_back():
    row = controller(volumes=[virtual(cache="RWTD")])
    assert of("c0/v0", told(row, None, properties()))[1:] == [
        ("degraded", "has fallen back to writing through its cache (RWTD)")
    ]
    assert of("c0/v0", told(row, None, properties("WriteThrough")))[1:] == []
    assert of("c0/v0", told(row))[1:] == []


def test_predicted_failures_and_media_errors():
    one = controller(volumes=[], drives=[drive()])
    text = ("degraded", "predicts its failure (S.M.A.R.T. alert)")
    assert text in of("c0/e252/s0", told(one, details(0, predicted=1)))
    assert text in of("c0/e252/s0", told(one, details(0, alert="Yes")))
    assert list(told(one, details(0, media=11)).readings) == [Reading("media_errors", "c0/e252/s0", 11)]


def test_counters_that_are_not_told_are_not_zero():
    one = controller(volumes=[], drives=[drive()])
    assert list(told(one, details(3)).readings) == [Reading("media_errors", "c0/e252/s0", None)]
    assert list(told(controller(volumes=[], drives=[drive("Failed")]), details(3)).readings) == []


def test_foreign_and_spun_down():
    found = told(
        controller(
            volumes=[], drives=[drive("UGood", group="F"), drive("GHS", 1, "-", "D"), drive("UGood", 2, "-", "D")]
        )
    )
    assert of("c0/e252/s0", found) == [("degraded", "(ST2000NM0135) is UGood, with a foreign configuration")]
    assert of("c0/e252/s1", found) == [("spare", "(ST2000NM0135) is GHS")]
    assert of("c0/e252/s2", found)[1:] == [("ok", "is spun down")]


def test_disks_without_an_enclosure():
    row = {**drive(), "EID:Slt": " :3"}
    assert of("c0/s3", told(controller(drives=[row]))) == [("ok", "(ST2000NM0135) is Onln")]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"Virtual Drives": 2}, "2 virtual drives are counted, 1 are listed"),
        ({"PD LIST": []}, "2 physical drives are counted, 0 are listed"),
        ({"Status": {}}, "its JSON is not understood: KeyError('Controller Status')"),
        ({"PD LIST": [{}], "Physical Drives": 1}, "its JSON is not understood: KeyError('State')"),
    ],
)
def test_a_controller_that_is_not_understood_hides_no_other(change, error):
    found = megaraid.tell({0: {**controller(), **change}, 1: controller()})
    assert [(failed.kind, failed.of, failed.error) for failed in found.failures] == [(UNREADABLE, "c0", error)]
    assert of("c1", found) == [("ok", "is Optimal")]


def test_words_are_the_suites():
    tables = (megaraid.CONTROLLERS, megaraid.VIRTUAL, megaraid.PHYSICAL, megaraid.ACCESS, megaraid.BATTERY)
    assert {health for table in tables for health in table.values()} <= set(HEALTH)


def machine(folder, *drivers):
    for number, driver in enumerate(drivers):
        put(folder, f"/sys/class/scsi_host/host{number}/proc_name", driver)
    return Run(root=kernel(folder))


def test_asked_for_real(tmp_path, monkeypatch):
    row = controller(volumes=[virtual("Dgrd")], drives=[drive(), drive("Rbld", 1)])
    script = storcli(*(controllers(data) for data in (row, details(0, 1), properties(), rebuild())))
    stand_ins.put(tmp_path / "bin", monkeypatch, storcli64=script)
    found = megaraid.look(machine(tmp_path, "ahci", "megaraid_sas"))
    assert found == told(row, details(0, 1), properties(), rebuild())
    assert len(found.readings) == 3


def test_it_is_not_asked_for_what_is_not_there(tmp_path, monkeypatch):
    script = storcli(controllers(controller(volumes=[], drives=[])), "<html>", "<html>", "<html>")
    stand_ins.put(tmp_path / "bin", monkeypatch, perccli64=script)
    assert of("c0", megaraid.look(machine(tmp_path, "megaraid_sas"))) == [("ok", "is Optimal")]


@pytest.mark.parametrize(
    ("drivers", "scripts", "kind", "error"),
    [
        ((), {"other": ""}, ABSENT, "the kernel has no RAID controller"),
        (("ahci", "mpt3sas"), {"other": ""}, ABSENT, "the kernel has no RAID controller"),
        ((), {"storcli64": "echo '<html>'"}, ABSENT, "the kernel has no RAID controller"),  # nobody is asked
        (
            ("megaraid_sas",),
            {"storcli64": stand_ins.says(json.dumps(NONE))},
            UNREADABLE,
            "it knows no controller, and the kernel has one (megaraid_sas)",
        ),
        (("megaraid_sas",), {"storcli64": "echo '<html>'"}, UNREADABLE, "not its JSON: '<html>'"),
        (("megaraid_sas",), {"storcli64": "exit 3"}, UNREADABLE, "not its JSON: ''"),
        (("megaraid_sas",), {"storcli64": "", "sudo": stand_ins.REFUSES}, NOT_ALLOWED, "sudo: a password is required"),
    ],
)
def test_no_answer(tmp_path, monkeypatch, drivers, scripts, kind, error):
    stand_ins.put(tmp_path / "bin", monkeypatch, **scripts)
    with pytest.raises(Failed) as caught:
        megaraid.look(machine(tmp_path, *drivers))
    assert (caught.value.kind, caught.value.of, caught.value.error) == (kind, "raid", error)


@pytest.mark.parametrize("driver", [driver for driver in megaraid.smart.CONTROLLERS if driver != "megaraid_sas"])
def test_a_controller_that_no_tool_of_ours_can_ask_is_not_well(tmp_path, monkeypatch, driver):
    stand_ins.put(tmp_path / "bin", monkeypatch, other="")
    (failed,) = megaraid.look(machine(tmp_path, driver)).failures
    assert (failed.kind, failed.of) == (NOT_ALLOWED, driver)


def test_both_kinds_of_controllers(tmp_path, monkeypatch):
    stand_ins.put(tmp_path / "bin", monkeypatch, other="")
    failures = megaraid.look(machine(tmp_path, "hpsa", "megaraid_sas")).failures
    assert [failed.of for failed in failures] == ["hpsa", "megaraid_sas"]
    assert (
        failures[1].error
        == "a RAID controller (megaraid_sas) is here, and neither storcli64 nor perccli64 is installed"
    )


def test_nothing_is_written_where_it_is_run():
    assert all(line[-1] == "nolog" for line in megaraid.LINES)


def test_a_tool_that_is_not_on_the_path(tmp_path, monkeypatch):
    row = controller(volumes=[], drives=[])
    stand_ins.put(tmp_path / "opt", monkeypatch, perccli64=storcli(controllers(row)))
    stand_ins.put(tmp_path / "bin", monkeypatch, other="")
    monkeypatch.setattr(megaraid, "TOOLS", (str(tmp_path / "other/storcli64"), str(tmp_path / "opt/perccli64")))
    assert megaraid.look(machine(tmp_path, "megaraid_sas")) == told(row)


@pytest.mark.parametrize(("key", "text"), megaraid.SIGNS.items())
def test_each_sign_of_a_controller(key, text):
    state = {"Controller Status": "Optimal", **dict.fromkeys(megaraid.SIGNS, "No"), "Memory Uncorrectable Errors": 0}
    assert of("c0", told(controller(Status=state))) == [("ok", "is Optimal")]
    assert of("c0", told(controller(Status={**state, key: 3})))[1:] == [("degraded", text)]


def test_one_controller_that_gives_no_answer_hides_no_other(tmp_path, monkeypatch):
    everything = controllers({}, controller())
    everything["Controllers"][0]["Command Status"].update(Status="Failure", Description="Controller is in reset")
    drives = controllers({}, details(0, 1, number=1))
    stand_ins.put(tmp_path / "bin", monkeypatch, storcli64=storcli(everything, drives, controllers({}, properties())))
    found = megaraid.look(machine(tmp_path, "megaraid_sas"))
    assert [(failed.of, failed.error) for failed in found.failures] == [("c0", "Failure: Controller is in reset")]
    assert [reading.value for reading in found.readings] == [0, 0]


def test_a_further_question_without_an_answer_hides_nothing(tmp_path, monkeypatch):
    script = storcli(controllers(controller()), "<html>", controllers({}))
    stand_ins.put(tmp_path / "bin", monkeypatch, storcli64=script)
    found = megaraid.look(machine(tmp_path, "megaraid_sas"))
    assert [(failed.of, failed.error) for failed in found.failures] == [
        ("raid", "not its JSON: '<html>'"),
        ("c0", "Success: None"),
    ]
    assert of("c0/v0", found) == [("ok", "RAID5 is Optl")]
    assert list(found.readings) == []
    script = storcli(controllers(controller()), {"Controllers": []}, controllers(properties()))
    stand_ins.put(tmp_path / "bin", monkeypatch, storcli64=script)
    (failed,) = megaraid.look(machine(tmp_path, "megaraid_sas")).failures
    assert (failed.of, failed.error) == ("c0", "no word of it")


@pytest.mark.parametrize(
    "rebuilds", [{"Progress%": 3}, [{"Progress%": 3}], [{"Drive-ID": "/c0/e252/s0", "Progress%": "-"}]]
)
def test_a_progress_that_is_not_told(rebuilds):
    assert list(told(controller(), None, None, rebuilds).readings) == []


def test_a_controller_that_refuses(tmp_path, monkeypatch):
    answer = controllers({}, status="Failure", said="Un-supported command")
    stand_ins.put(tmp_path / "bin", monkeypatch, storcli64=stand_ins.says(json.dumps(answer)))
    (failed,) = megaraid.look(machine(tmp_path, "megaraid_sas")).failures
    assert (failed.kind, failed.of, failed.error) == (UNREADABLE, "c0", "Failure: Un-supported command")
