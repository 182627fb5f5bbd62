# SPDX-License-Identifier: Apache-2.0
"""The Redfish probe against tests/simulators/redfish.py."""

from __future__ import annotations

import time

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import redfish
from nephoscope.probes.parts import Part

from tests.simulators.redfish import CHASSIS, MANAGER, SYSTEM, V1, Bmc, modern


@pytest.fixture
def bmc():
    with Bmc() as simulated:
        yield simulated


def ask(bmc, *, seconds=8.0, user="nagios", password="secret"):
    return redfish.parts(Run(seconds), redfish.Bmc(f"http://127.0.0.1:{bmc.port}", user, password))


def by_name(found) -> dict[str, Part]:
    assert [thing for thing in found if isinstance(thing, Failed)] == []
    return {part.name: part for part in found}


def failures(found) -> list[tuple[str, str, str]]:
    return [(thing.kind, thing.of, thing.error) for thing in found if isinstance(thing, Failed)]


def test_a_healthy_server(bmc):
    parts = by_name(ask(bmc))
    assert {name: part.health for name, part in parts.items() if part.health != "ok"} == {
        "DIMM A2": "absent",
        "CPU2 Temp": "absent",
    }
    assert parts["Inlet Temp"][5:] == (23.0, "C", -7.0, 3.0, 43.0, 47.0)
    assert {part.quantity: part.value for part in parts.values() if part.quantity and part.kind != "temperature"} == {
        "fan_rpm": 5640.0, "fan_percent": 34.0, "media_life": 93.0, "power_watts": 344.0, "volts": 1.78,
    }  # fmt: skip
    assert {"system System", "system System power", "system System memory", "chassis Chassis", "manager Manager",
            "CPU 1", "drive Disk 1", "volume Virtual Disk 0", "storage RAID Controller PERC", "PS1", "PS2",
            "redundancy of power supplies PS Redundancy", "redundancy of fans Fan Redundancy"} <= set(parts)  # fmt: skip
    assert bmc.sessions == {}, "the session was given back"
    assert next(line for line in bmc.log if not line.startswith("GET")) == f"POST {V1}/SessionService/Sessions"
    assert bmc.log[-1].startswith("DELETE ")


def test_expansion_saves_requests(bmc):
    plain = by_name(ask(bmc))
    asked = len(bmc.log)
    bmc.tree[f"{V1}/"]["ProtocolFeaturesSupported"]["ExpandQuery"] = {"Levels": True, "MaxLevels": 2}
    assert by_name(ask(bmc)) == plain
    assert len(bmc.log) - asked < asked


def test_newer_firmware(bmc):
    modern(bmc.tree)
    parts = by_name(ask(bmc))
    assert parts["Fan 1"][3:7] == ("ok", "", 2200.0, "RPM")
    assert parts["Intake"][3:7] == ("", "", 24.5, "C")
    assert parts["PSU 1"].health == "ok"
    assert parts["redundancy of fans"].health == "ok"
    assert (parts["redundancy of power supplies"].health, parts["redundancy of power supplies"].text) == (
        "degraded",
        "1 of the 2 members that it needs",
    )


@pytest.mark.parametrize(
    ("status", "health", "text"),
    [
        ({"State": "Enabled", "Health": "Warning"}, "degraded", "health Warning"),
        ({"State": "Enabled", "Health": "Critical"}, "failed", "health Critical"),
        ({"State": "UnavailableOffline", "Health": "Critical"}, "failed", "health Critical, UnavailableOffline"),
        ({"State": "UnavailableOffline", "Health": "OK"}, "degraded", "state UnavailableOffline"),
        ({"State": "Enabled", "Health": None}, "", ""),
        ({"State": "Enabled"}, "", ""),
        ({"State": "StandbySpare", "Health": "OK"}, "ok", "state StandbySpare"),
        ({"State": "Absent", "Health": "Critical"}, "absent", "absent"),
        ({"State": "Enabled", "Health": "Fine"}, "unknown", "health Fine"),
        ({"State": "Enabled", "Health": 3}, "unknown", "health 3"),
        ({"State": "Sulking", "Health": "OK"}, "unknown", "state 'Sulking'"),
        ("OK", "", "tells no status"),
        (None, "", "tells no status"),
    ],
)
def test_the_words_of_a_status(bmc, status, health, text):
    bmc.tree[f"{CHASSIS}/Power"]["PowerSupplies"][1]["Status"] = status
    part = by_name(ask(bmc))["PS2"]
    assert (part.health, part.text) == (health, text)


def test_a_rollup_tells_what_the_parts_do_not(bmc):
    bmc.tree[SYSTEM]["Status"]["HealthRollup"] = "Critical"
    assert by_name(ask(bmc))["system System"].health == "failed"


@pytest.mark.parametrize(
    ("word", "health"), [("On", "ok"), ("Off", "degraded"), ("Paused", "degraded"), ("Asleep", "unknown")]
)
def test_a_server_that_is_off_is_not_healthy(bmc, word, health):
    bmc.tree[SYSTEM]["PowerState"] = word
    assert by_name(ask(bmc))["system System power"][3:5] == (health, f"is {word}")


def test_a_predicted_failure(bmc):
    bmc.tree[f"{SYSTEM}/Storage/RAID/Drives/1"]["FailurePredicted"] = True
    assert by_name(ask(bmc))["drive Disk 1"][3:5] == ("degraded", "a failure is predicted")


def test_a_reading_that_is_null_is_not_zero(bmc):
    bmc.tree[f"{CHASSIS}/Thermal"]["Fans"][0]["Reading"] = None
    part = by_name(ask(bmc))["Fan 1"]
    assert (part.health, part.value, part.quantity) == ("absent", None, "")


def test_lost_redundancy(bmc):
    bmc.tree[f"{CHASSIS}/Power"]["Redundancy"][0]["RedundancySet"].pop()
    part = by_name(ask(bmc))["redundancy of power supplies PS Redundancy"]
    assert (part.health, part.text) == ("degraded", "1 of the 2 members that it needs")


def test_a_collection_without_an_end_is_cut_and_said(bmc, monkeypatch):
    monkeypatch.setattr(redfish, "MEMBERS", 3)
    bmc.tree[f"{SYSTEM}/Memory/again"] = {"Members": [], "Members@odata.nextLink": f"{SYSTEM}/Memory/again"}
    bmc.tree[f"{SYSTEM}/Memory"]["Members@odata.nextLink"] = f"{SYSTEM}/Memory/again"
    error = "more than 3 members or pages: the rest was not looked at"
    assert (UNREADABLE, f"redfish {SYSTEM}/Memory/again", error) in failures(ask(bmc))


def test_a_page_of_a_collection_leads_to_the_next(bmc):
    first = bmc.tree[f"{SYSTEM}/Memory"]
    bmc.tree[f"{SYSTEM}/Memory/more"] = {"Members": [first["Members"].pop()]}
    first["Members@odata.nextLink"] = f"{SYSTEM}/Memory/more"
    assert {"DIMM A1", "DIMM A2"} <= set(by_name(ask(bmc)))


@pytest.mark.parametrize(
    ("fault", "kind", "error"),
    [
        (401, NOT_ALLOWED, "HTTP 401 though logged in: has the session ended?"),
        (403, NOT_ALLOWED, "HTTP 403"),
        (404, UNREADABLE, "HTTP 404"),
        (500, UNREACHABLE, "HTTP 500"),
        ("html", UNREADABLE, "not JSON: b'<html><title>Login</title></html>'"),
        ("half", UNREACHABLE, "the connection was cut before the answer was whole"),
    ],
)
def test_what_fails_in_one_place_does_not_hide_the_rest(bmc, fault, kind, error):
    bmc.faults[f"{SYSTEM}/Storage"] = fault
    found = ask(bmc)
    assert failures(found) == [(kind, f"redfish {SYSTEM}/Storage", error)]
    rest = {thing.name for thing in found if isinstance(thing, Part)}
    if fault == "half":  # nothing is asked after a cut; the memory came before
        assert "DIMM A1" in rest
    else:
        assert "PS1" in rest
    assert bmc.sessions == {}


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_silent_controller_is_given_up_in_time_and_the_session_given_back(bmc, fault):
    bmc.faults[f"{CHASSIS}/Thermal"] = fault
    begun = time.monotonic()
    found = ask(bmc, seconds=4.0)
    assert time.monotonic() - begun < 3.5
    (failed,) = failures(found)
    assert failed[:2] == (UNREACHABLE, f"redfish {CHASSIS}/Thermal")
    assert bmc.log[-1].startswith("DELETE ")
    assert bmc.sessions == {}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(401, NOT_ALLOWED), (500, UNREACHABLE), ("html", UNREADABLE), ("half", UNREACHABLE), (404, UNREADABLE)],
)
def test_a_root_that_fails_is_a_failure_of_all(bmc, fault, kind):
    bmc.faults[f"{V1}/"] = fault
    with pytest.raises(Failed) as caught:
        ask(bmc)
    assert (caught.value.kind, caught.value.of) == (kind, "redfish")


def test_another_service_is_not_redfish(bmc):
    del bmc.tree[f"{V1}/"]["RedfishVersion"]
    with pytest.raises(Failed) as caught:
        ask(bmc)
    assert caught.value.kind == UNREADABLE


def test_logging_in(bmc):
    with pytest.raises(Failed) as caught:
        ask(bmc, password="wrong")
    assert (caught.value.kind, caught.value.error) == (NOT_ALLOWED, "refused: HTTP 401")
    assert "ReadOnly" in caught.value.cure
    with pytest.raises(Failed) as caught:
        ask(bmc, user="")
    assert (caught.value.kind, caught.value.error) == (NOT_ALLOWED, "HTTP 401")
    bmc.faults[f"{V1}/SessionService/Sessions"] = 500
    with pytest.raises(Failed) as caught:
        ask(bmc)
    assert caught.value.kind == UNREACHABLE


def test_no_free_session(bmc):
    bmc.limit = 1
    bmc.sessions["/other"] = "token"
    with pytest.raises(Failed) as caught:
        ask(bmc)
    assert (caught.value.kind, caught.value.error) == (UNREACHABLE, "the BMC has no free session")


def test_without_sessions_by_basic(bmc):
    bmc.limit = 0
    assert "PS1" in by_name(ask(bmc))
    bmc.tree[f"{V1}/"].pop("SessionService")
    bmc.tree[f"{V1}/"].pop("Links")
    bmc.log.clear()
    assert "PS1" in by_name(ask(bmc))
    assert not any(line.startswith("POST") for line in bmc.log), "the password goes nowhere that is not offered"
    assert not any(line.startswith("DELETE") for line in bmc.log)


def test_missing_members(bmc):
    del bmc.tree[f"{V1}/Managers"]["Members"]
    bmc.tree[f"{SYSTEM}/Memory"]["Members"][0] = {}
    bmc.tree[f"{SYSTEM}/Storage/RAID"]["Drives"] = None
    bmc.tree[CHASSIS]["Power"] = {"@odata.id": "http://elsewhere.example/"}
    found = ask(bmc)
    assert [(kind, of) for kind, of, _ in failures(found)] == [
        (UNREADABLE, "redfish"),
        (UNREADABLE, "redfish"),
        (UNREADABLE, f"redfish {V1}/Managers"),
    ]


def test_nothing_offered(bmc):
    for name in ("Systems", "Chassis", "Managers"):
        del bmc.tree[f"{V1}/"][name]
    with pytest.raises(Failed) as caught:
        ask(bmc)
    assert caught.value.kind == ABSENT


def test_nobody_there(bmc):
    with pytest.raises(Failed) as caught:
        redfish.parts(Run(3.0), redfish.Bmc("http://127.0.0.1:9"))
    assert caught.value.kind == UNREACHABLE


def test_the_manager_is_looked_at(bmc):
    bmc.tree[MANAGER]["Status"]["Health"] = "Warning"
    assert by_name(ask(bmc))["manager Manager"].health == "degraded"
