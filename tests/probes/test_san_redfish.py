# SPDX-License-Identifier: Apache-2.0
"""Against tests/simulators/redfish.py, whose docstring names the documents of its answers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.checks.storage.check_san_health import CHECK
from nephoscope.probes import san_redfish
from nephoscope.probes.san import Part, Place, Room

from tests.simulators import redfish
from tests.simulators.redfish import CHASSIS, V1

ARRAY = f"{V1}/Storage/Array"


@pytest.fixture
def array():
    with redfish.Bmc() as bmc:
        redfish.pools(bmc.tree)
        yield bmc


def place(bmc, **words):
    return Place("127.0.0.1", bmc.port, **{"user": "nagios", "password": "secret", "plain": True, **words})


def look(bmc, modes=("health", "capacity"), **words):
    return san_redfish.look(Run(20.0), place(bmc, **words), modes)


def bad(bmc):
    return [part for part in look(bmc).parts if part.health not in ("ok", "absent")]


def test_good(array):
    found = look(array)
    assert found.product == "Example Array 9000"
    assert found.lost == []
    for part in (
        Part("system", "Array", "ok", "ok"),
        Part("controller", "Array SP A", "ok", "ok"),
        Part("disk", "Bay 0", "ok", "ok"),
        Part("pool", "fast", "ok", "ok"),
        Part("volume", "lun1", "ok", "ok"),
        Part("power supply", "PS1", "ok", "ok"),
        Part("fan", "Fan 1", "ok", "ok"),
        Part("sensor", "Inlet Temp", "ok", "ok"),
        Part("enclosure", "Chassis", "ok", "ok"),
        Part("system", "System", "ok", "ok"),
    ):
        assert part in found.parts
    assert found.rooms == [Room("pool", "fast", 1000.0, 850.0, 2500.0)]
    assert found.spares is None
    assert array.sessions == {}


def test_the_same_part_has_one_name_in_each_kind(array):
    array.tree[ARRAY]["Name"] = array.tree[f"{V1}/Systems/1"]["Name"]  # both are of the kind system
    names = [part.of for part in look(array).parts]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("path", "of"),
    [
        (f"{V1}/Systems/1", "system System"),
        (ARRAY, "system Array"),
        (f"{ARRAY}/Controllers/B", "controller Array SP B"),
        (f"{ARRAY}/Drives/1", "disk Bay 1"),
        (f"{ARRAY}/StoragePools/1", "pool fast"),
        (f"{ARRAY}/Volumes/1", "volume lun1"),
        (CHASSIS, "enclosure Chassis"),
        (f"{V1}/Managers/1", "system Manager"),
    ],
)
@pytest.mark.parametrize(
    ("status", "health", "text"),
    [
        ({"State": "Enabled", "Health": "Critical"}, "failed", "health Critical"),
        ({"State": "Enabled", "Health": "Warning"}, "degraded", "health Warning"),
        ({"State": "UnavailableOffline"}, "degraded", "state UnavailableOffline"),
        ({"State": "Enabled", "Health": "Splendid"}, "unknown", "health Splendid"),
        ({"State": "Frobbing", "Health": "OK"}, "unknown", "state 'Frobbing'"),
    ],
)
def test_every_kind_goes_bad(array, path, of, status, health, text):
    array.tree[path]["Status"] = status
    kind = next(kind for kind in sorted(set(san_redfish.KINDS.values()) | {"system"}, key=len) if of.startswith(kind))
    assert bad(array) == [Part(kind, of[len(kind) + 1 :], health, text)]


TELLING = (
    f"{V1}/Systems/1", ARRAY, f"{ARRAY}/Controllers/B", f"{ARRAY}/Drives/1", f"{ARRAY}/StoragePools/1", f"{ARRAY}/Volumes/1",
)  # fmt: skip


@pytest.mark.parametrize("path", TELLING)
@pytest.mark.parametrize("status", [{"State": "Enabled"}, {"State": "Enabled", "Health": None}, {}])
def test_what_tells_no_health_is_not_well(array, path, status):
    array.tree[path]["Status"] = status
    if path == ARRAY and not status:
        return  # a storage service has parts, and need have no health of its own
    found = bad(array)
    assert [(part.health, part.text) for part in found] == [("unknown", "tells no health")]


def test_supplies_and_fans_that_tell_no_health(array):
    power, thermal = array.tree[f"{CHASSIS}/Power"], array.tree[f"{CHASSIS}/Thermal"]
    del power["PowerSupplies"][1]["Status"], thermal["Fans"][1]["Status"]
    del thermal["Fans"][0]["Status"], thermal["Temperatures"][0]["Status"]  # these have readings, and limits of them
    assert bad(array) == [
        Part("fan", "Fan 2", "unknown", "tells no status"),
        Part("power supply", "PS2", "unknown", "tells no status"),
    ]


def test_a_spare(array):
    array.tree[f"{ARRAY}/Drives/1"]["Status"] = {"State": "StandbySpare", "Health": "OK"}
    assert bad(array) == [Part("disk", "Bay 1", "spare", "state StandbySpare")]


def test_members_that_are_counted_and_not_told(array):
    array.tree[f"{ARRAY}/Volumes"]["Members@odata.count"] = 3
    lost = look(array).lost
    assert [(failed.of, failed.error) for failed in lost] == [
        (f"volume {ARRAY}/Volumes", "it tells 1 of its 3 members")
    ]


def test_two_thousand_volumes(array):
    paths = [f"{ARRAY}/Volumes/{number}" for number in range(2000)]
    array.tree[f"{ARRAY}/Volumes"] = redfish.collection("Volume", paths)
    array.tree.update({path: redfish.resource("Volume", "v1_6_2", path[-5:]) for path in paths})
    array.page = 100
    found = look(array)
    assert found.lost == []
    assert sum(part.kind == "volume" for part in found.parts) == 2001  # and that of the server's own controller
    assert len(array.log) < 60


def test_supplies_fans_and_sensors_go_bad(array):
    power, thermal = array.tree[f"{CHASSIS}/Power"], array.tree[f"{CHASSIS}/Thermal"]
    power["PowerSupplies"][1]["Status"] = {"State": "Enabled", "Health": "Critical"}
    thermal["Fans"][0]["Reading"] = 100
    thermal["Temperatures"][0]["ReadingCelsius"] = 44
    assert bad(array) == [
        Part("sensor", "Inlet Temp", "degraded", "44 C has reached its own upper limit 43"),
        Part("fan", "Fan 1", "failed", "100 RPM has reached its own lower limit 600"),
        Part("power supply", "PS2", "failed", "health Critical"),
    ]


def test_a_failure_is_predicted(array):
    array.tree[f"{ARRAY}/Drives/0"]["FailurePredicted"] = True
    assert Part("disk", "Bay 0", "degraded", "a failure is predicted") in bad(array)


@pytest.mark.parametrize(
    ("path", "of"),
    [
        (f"{ARRAY}/StoragePools", f"pool {ARRAY}/StoragePools"),
        (f"{ARRAY}/Volumes", f"volume {ARRAY}/Volumes"),
        (f"{V1}/Chassis", f"system {V1}/Chassis"),
    ],
)
def test_what_can_not_be_read_is_lost_by_its_kind(array, path, of):
    array.faults[path] = 403
    found = look(array)
    assert [(failed.kind, failed.of) for failed in found.lost] == [(NOT_ALLOWED, of)]
    assert found.parts


def test_a_session_that_is_ended_from_outside(array, tmp_path, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")

    class Ending(dict):
        """The resources; whoever asks for the chassis ends all sessions."""

        def __contains__(self, path):
            if path == f"{V1}/Chassis":
                array.sessions.clear()
            return super().__contains__(path)

    array.tree = Ending(array.tree)
    argv = ("--profile", "redfish", "-H", "127.0.0.1", "-p", str(array.port), "--plain", "--user", "nagios")
    outcome = CHECK.run((*argv, "--mode", "health", "--state-dir", str(tmp_path)))
    assert outcome.reason == (
        "system /redfish/v1/Chassis/1/Power: HTTP 401 though logged in: has the session ended? (GET /redfish/v1/Chassis/1/Power)"
        " … and 2 more"
    )


def test_five_hundred_disks_in_one_request(array):
    redfish.pools(array.tree, disks=500)
    found = look(array)
    assert sum(part.of.startswith("disk Bay") for part in found.parts) == 500
    assert len(array.log) < 40
    redfish.pools(array.tree, disks=30)
    array.tree[f"{V1}/"]["ProtocolFeaturesSupported"] = {}
    array.log.clear()
    assert sum(part.of.startswith("disk Bay") for part in look(array).parts) == 30
    assert len(array.log) > 60  # one each: it can't be asked otherwise


@pytest.mark.parametrize(
    ("prepare", "words", "kind", "error"),
    [
        ({}, {"password": "wrong"}, NOT_ALLOWED, "refused: HTTP 401"),
        ({f"{V1}/": "html"}, {}, UNREADABLE, "not JSON: b'<html><title>Login</title></html>'"),
        ({f"{V1}/": "half"}, {}, UNREACHABLE, "the connection was cut before the answer was whole"),
        ({f"{V1}/": 503}, {}, UNREACHABLE, "HTTP 503"),
        ({f"{V1}/SessionService/Sessions": 429}, {}, UNREADABLE, "HTTP 429, no token"),
    ],
)
def test_it_can_not_be_asked(array, prepare, words, kind, error):
    array.faults.update(prepare)
    with pytest.raises(Failed) as caught:
        look(array, **words)
    assert (caught.value.kind, caught.value.error) == (kind, error)


def test_no_session_is_free(array):
    array.sessions.update({f"/{number}": "x" for number in range(4)})
    with pytest.raises(Failed) as caught:
        look(array)
    assert (caught.value.kind, caught.value.error) == (UNREACHABLE, "the BMC has no free session")


def test_a_greeting(array):
    assert san_redfish.greet(Run(20.0), place(array)) == "Example Array 9000"
    assert array.log == [f"GET {V1}/", f"POST {V1}/SessionService/Sessions", array.log[2]]
    assert array.sessions == {}


@contextlib.contextmanager
def process(array, folder, *argv):
    """Run the check for real, as a scheduler does."""
    code = "from nephoscope.checks.storage.check_san_health import main; main()"
    words = ("--profile", "redfish", "-H", "127.0.0.1", "-p", str(array.port), "--plain", "--user", "nagios")
    started = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--state-dir", str(folder), *argv],
        env={**os.environ, "NEPHOSCOPE_PASSWORD": "secret"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def until(array, text):
    end = time.monotonic() + 30
    while not any(text in line for line in array.log):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("fault", "how", "seen", "stage"),
    [
        (f"{V1}/Chassis", "hang", "GET /redfish/v1/Chassis", "GET /redfish/v1/Chassis of redfish"),
        (f"{V1}/Chassis", "drip", "GET /redfish/v1/Chassis", "GET /redfish/v1/Chassis of redfish"),
        (f"{V1}/SessionService/Sessions", "slow", "POST ", "POST /redfish/v1/SessionService/Sessions of redfish"),
        ("DELETE", "slow", "DELETE ", "log out of redfish"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_session_back(array, tmp_path, fault, how, seen, stage, number):
    array.faults[fault] = how
    with process(array, tmp_path) as started:
        until(array, seen)
        time.sleep(0.2)
        started.send_signal(number)
        started.send_signal(number)  # one more changes nothing
        out, _ = started.communicate(timeout=10)
    assert out == f"SAN_HEALTH UNKNOWN - ended by {number.name} while it was to {stage}\n"
    assert started.returncode == 3
    assert array.sessions == {}
    assert sum(line.startswith("POST") for line in array.log) == 1


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_the_deadline_gives_the_session_back(array, tmp_path, how):
    array.faults[f"{V1}/Chassis"] = how
    with process(array, tmp_path, "-t", "5", "--mode", "health") as started:
        out, _ = started.communicate(timeout=10)
    # What was learnt is told, and what was not.
    error = "no answer in [0-9.]+ s"
    assert re.match(rf"SAN_HEALTH CRITICAL - system /redfish/v1/Chassis: {error} \(GET ", out), out
    assert started.returncode == 2
    assert array.sessions == {}


@pytest.mark.parametrize(("how", "said"), [("hang", "no answer in 1.5 s"), (503, "HTTP 503")])
def test_a_log_out_that_fails_is_said_and_holds_nothing_up(array, tmp_path, how, said):
    array.faults["DELETE"] = how
    with process(array, tmp_path, "--explain") as started:
        out, _ = started.communicate(timeout=10)
    assert out.startswith("SAN_HEALTH WARNING - pool fast ")
    assert f"asked: log out of redfish: {said}\n" in out
    (token,) = array.sessions.values()
    assert token not in out
    assert "secret" not in out


def test_first_lines(array, tmp_path, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")
    argv = ("--profile", "redfish", "-H", "127.0.0.1", "-p", str(array.port), "--plain", "--user", "nagios")
    array.tree[f"{ARRAY}/Drives/1"]["Status"] = {"State": "Enabled", "Health": "Critical"}
    array.tree[f"{ARRAY}/StoragePools/1"]["Capacity"]["Data"]["ConsumedBytes"] = 950
    line = CHECK.run((*argv, "--state-dir", str(tmp_path))).line
    told = "pool fast used 95 % is above 90 %, WARNING: disk Bay 1 health Critical, pool fast thin 2.5 is above 2 | "
    assert line.startswith(f"SAN_HEALTH CRITICAL - {told}")
