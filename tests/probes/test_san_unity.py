# SPDX-License-Identifier: Apache-2.0
"""The Unity family against tests/simulators/unity.py: every part goes bad, every number has its health, sessions are returned."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import san_unity as family
from nephoscope.probes.san import Room, Speed

from tests.probes import arrays
from tests.probes.arrays import ALL, bad, failure, healths, lost, place
from tests.simulators.unity import TB, TYPES, Unity, sample, thing

LOGIN = f"{TYPES}/loginSessionInfo/instances"
LOGOUT = f"POST {TYPES}/loginSessionInfo/action/logout"
INFO = f"{TYPES}/basicSystemInfo/instances"
KINDS = {**family.NEEDED, **family.LOGICAL, **family.HARDWARE}
MODULES = ("lcc", "ssc", "ioModule", "memoryModule", "ssd")
LISTS = {**KINDS, **dict.fromkeys(MODULES, "module"), "alert": "alert", "metricValue": "performance"}
OF = {  # the first object of each type
    "system": "system FNM0001", "storageProcessor": "controller SP A", "disk": "disk DPE Disk 0", "pool": "pool perfpool",
    "lun": "volume LUN lun1", "filesystem": "volume file system fs1", "nasServer": "volume NAS server nas1",
    "replicationSession": "replication rep1", "battery": "battery SP A Battery 0",
    "powerSupply": "power supply DPE Power Supply A0", "fan": "fan DPE Cooling Module A0", "dpe": "enclosure DPE",
    "dae": "enclosure DAE 0 1", "lcc": "system DAE 0 1 Link Control Card A", "ssc": "system DAE 0 1 SSC",
    "ioModule": "system SP A I/O Module 0", "memoryModule": "system SP A Memory Module 0",
    "ssd": "system SP A SSD 0", "fcPort": "port SP A FC Port 4", "ethernetPort": "port SP A Ethernet Port 2",
    "sasPort": "port SP A SAS Port 0",
}  # fmt: skip


def path_of(name: str) -> str:
    return f"{TYPES}/{name}/instances"


@pytest.fixture
def array():
    with Unity() as simulated:
        yield simulated
        assert simulated.sessions == set(), "the session was given back"


def ask(array, modes=ALL, **words):
    return arrays.ask(family, array, modes, **words)


def test_a_healthy_array(array):
    found = ask(array)
    assert (found.product, bad(found), lost(found), found.spares) == ("Unity 500 5.2.0 FNM0001", {}, [], None)
    assert set(OF.values()) <= set(healths(found))
    assert len(found.parts) == 30
    assert healths(found)["disk DPE Disk 9"] == ("absent", "empty slot")
    assert healths(found)["system FNM0001"] == ("ok", "OK")
    assert found.rooms == [
        Room("pool", "perfpool", 10.0 * TB, 4.0 * TB, 25.0 * TB),
        Room("volume", "file system fs1", 1.0 * TB, 0.5 * TB),
    ]
    assert found.speeds == [Speed("SP A", 0.0015, 400.0, 1536000.0), Speed("SP B", 0.0, 0.0, 0.0)]
    assert array.asked[:2] == [f"GET {LOGIN}", f"GET {INFO}"]
    assert array.asked[2:-1] == [*(f"GET {path_of(name)}" for name in LISTS), *[f"GET {path_of('metricValue')}"] * 3]
    assert array.asked[-1] == LOGOUT


@pytest.mark.parametrize(("mode", "requests"), [("health", 3 + 22), ("capacity", 3 + 2), ("performance", 3 + 4)])
def test_a_mode_asks_for_what_it_needs_alone(array, mode, requests):
    found = ask(array, (mode,))
    assert len(array.log) == requests
    assert [bool(found.parts), bool(found.rooms), bool(found.speeds)] == [mode == each for each in ALL]


def test_a_large_array(array):
    array.tree["lun"] = [thing(f"lun{index}") for index in range(2001)]
    array.tree["disk"] = [thing(f"disk{index}") for index in range(500)]
    values = {f"sv_{index}": "0.25" for index in range(2001)}
    array.tree["metricValue"] = [sample(metric, values, values) for metric in family.METRICS]
    tracemalloc.start()
    found = ask(array, seconds=60.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(array.log), bad(found), found.speeds[0].iops) == (3 + 22 + 4 + 1, {}, 500.25)
    assert peak < 60 << 20  # the simulator's own answers are in it


@pytest.mark.parametrize("name", list(OF))
def test_every_type_goes_bad(array, name):
    array.tree[name][0]["health"] = {"value": 20, "descriptionIds": ["X"], "descriptions": ["It broke."]}
    assert bad(ask(array)) == {OF[name]: ("failed", "major: It broke.")}


def test_every_health(array):
    # HealthEnum of storops 1.2.12
    words = {0: "unknown unknown", 5: "ok OK", 7: "ok OK, but", 10: "degraded degraded", 15: "degraded minor",
             20: "failed major", 25: "failed critical", 30: "failed not recoverable"}  # fmt: skip
    assert set(words) == set(family.HEALTHS)
    for value, said in words.items():
        health, _, word = said.partition(" ")
        array.tree["fan"][0]["health"] = {"value": value}
        assert healths(ask(array, ("health",)))[OF["fan"]] == (health, word)
    for odd in (3, "5", None, [], {}, True, 5.5):
        array.tree["fan"][0]["health"] = {"value": odd}
        assert healths(ask(array, ("health",)))[OF["fan"]][0] == "unknown"
    for odd in ({}, None, 5, "ok"):
        array.tree["fan"][0]["health"] = odd
        assert healths(ask(array, ("health",)))[OF["fan"]] == ("unknown", "health not told")


def test_what_needs_replacement(array):
    array.tree["battery"][1]["needsReplacement"] = True
    assert bad(ask(array)) == {"battery SP B Battery 0": ("degraded", "needs replacement")}


@pytest.mark.parametrize("stateless", [False, True])
def test_every_severity_of_an_alert(array, stateless):
    array.stateless = stateless
    words = ["failed", "failed", "failed", "degraded", "degraded", "ok", "ok", "ok", "ok", "unknown"]
    array.tree["alert"] = [
        {"id": f"a{severity}", "severity": severity, "message": f"m{severity}", "isAcknowledged": False}
        for severity in range(10)
    ] + [{"id": "seen", "severity": 0, "isAcknowledged": True}]
    if not stateless:
        array.tree["alert"].append({"id": "over", "severity": 0, "isAcknowledged": False, "state": 2})
    found = ask(array, ("health",))
    told = {of: said for of, said in healths(found).items() if of.startswith("alert")}
    assert told == {f"alert a{number}": (word, f"m{number}") for number, word in enumerate(words)}
    assert lost(found) == []


def test_a_virtual_appliance_says_what_it_does_not_have(array):
    for name in ("battery", "fan", "powerSupply"):
        del array.tree[name]
    found = ask(array)
    assert (found.product, lost(found), bad(found)) == (
        "Unity 500 5.2.0 FNM0001 (it has no battery, powerSupply, fan)",
        [],
        {},
    )
    for name in family.NEEDED:
        array.tree.pop(name)
    assert lost(ask(array)) == [(UNREADABLE, kind, "HTTP 404") for kind in family.NEEDED.values()]


@pytest.mark.parametrize("name", list(family.NEEDED))
def test_an_empty_list_of_what_every_array_has_is_a_missing_right(array, name):
    array.tree[name] = []
    assert lost(ask(array)) == [(NOT_ALLOWED, LISTS[name], "the list is empty, as without the right to see it")]


@pytest.mark.parametrize(
    ("sizes", "room"),
    [
        ({"sizeTotal": 10, "sizeFree": 4}, Room("pool", "p", 10.0, 6.0)),
        ({"sizeTotal": 10, "sizeUsed": 0, "sizeFree": 4}, Room("pool", "p", 10.0, 0.0)),
        ({"sizeTotal": None, "sizeUsed": "4", "sizeSubscribed": -1}, Room("pool", "p", None, None)),
    ],
)
def test_room_that_is_not_told_is_not_zero(array, sizes, room):
    array.tree["pool"] = [thing("p", **sizes)]
    assert ask(array, ("capacity",)).rooms[0] == room


def test_metrics_that_are_old_or_none(array):
    absent = (ABSENT, "performance", "no sample of the last 20 minutes: are metrics switched on?")
    for calls in (
        sample("totalCallsRate", {"sv_1": 1}, {}, "2024-02-01T09:30:00.000Z"),
        sample("totalCallsRate", {"sv_1": 1}, {}, "no"),
    ):
        array.tree["metricValue"][0] = calls
        found = ask(array, ("performance",))
        assert (found.speeds, lost(found)) == ([], [absent])
    array.tree["metricValue"] = [sample("totalCallsRate", {"sv_1": 1, "sv_2": "NaN", "sv_3": None}, 7)]
    assert ask(array, ("performance",)).speeds == [Speed("SP A", None, 1.0, None)]
    array.tree["metricValue"] = []
    assert lost(ask(array, ("performance",))) == [absent]


@pytest.mark.parametrize(("fault", "kind", "error"), arrays.FAULTS)
@pytest.mark.parametrize("name", list(LISTS))
def test_a_list_that_fails_does_not_hide_the_rest(array, name, fault, kind, error):
    array.faults[path_of(name)] = fault
    found = ask(array)
    if fault == 404 and name in {**family.LOGICAL, **family.HARDWARE}:
        assert (found.product, lost(found)) == (f"Unity 500 5.2.0 FNM0001 (it has no {name})", [])
        return
    assert lost(found)[0] == (kind, LISTS[name], error)
    if fault == "half":  # nothing more is asked of an array that cuts us off
        assert {failed.error for failed in found.lost[1:]} <= {arrays.REST}
    else:
        assert (len(found.lost), bad(found)) == (1, {})
    if fault == 403:
        assert found.lost[0].cure == family.RIGHT


@pytest.mark.parametrize("name", [*LISTS])
@pytest.mark.parametrize("odd", arrays.ODD, ids=str)
def test_any_json_is_no_traceback(array, name, odd):
    array.faults[path_of(name)] = lambda _: odd
    assert lost(ask(array))[0][1] == LISTS[name]
    array.faults[path_of(name)] = lambda _: {"updated": odd, "links": odd, "entries": [{"content": dict.fromkeys(("name", "id", "health", "needsReplacement", "sizeTotal", "sizeUsed", "severity", "message", "values", "timestamp"), odd)}, {"content": {"health": {"value": odd, "descriptions": odd, "descriptionIds": odd}, "values": {"spa": odd}}}]}  # fmt: skip
    assert lost(ask(array)) == ([] if name != "metricValue" else [(ABSENT, "performance", ask(array).lost[0].error)])


def test_pages(array):
    array.page = 1
    assert (bad(ask(array)), lost(ask(array))) == ({}, [])
    for href in ("&page=1", "&page=https://192.0.2.9", "odd", None, []):
        array.faults[path_of("lun")] = lambda page, href=href: {**page, "links": [{"rel": "next", "href": href}]}
        found = ask(array)
        assert lost(found) == [(UNREADABLE, "volume", "pages without an end: 2 were read")]
        assert "volume LUN lun1" in healths(found)
    assert all(line.partition(" ")[2].startswith("/api/types/") for line in array.log)


@pytest.mark.parametrize("fault", [401, 404, 500, 503, "html", "junk", "half"])
@pytest.mark.parametrize("path", [LOGIN, INFO])
def test_an_array_that_does_not_let_us_in(array, path, fault):
    array.faults[path] = fault
    entry = path == LOGIN
    none = "no session: this is not a Unity"
    kind, error = {
        401: (NOT_ALLOWED, "refused: HTTP 401"),
        404: (UNREADABLE, f"HTTP 404, {none}" if entry else "HTTP 404"),
        500: (UNREACHABLE, f"HTTP 500, {none}" if entry else "HTTP 500"),
        503: (UNREACHABLE, "the array is busy (HTTP 503)"),
        "html": (UNREADABLE, f"HTTP 200, {none}" if entry else arrays.HTML),
        "junk": (UNREADABLE, f"HTTP 200, {none}" if entry else "the answer is not JSON"),
        "half": (UNREACHABLE, arrays.CUT),
    }[fault]
    failed = failure(family, array)
    assert (failed.kind, failed.of, failed.error) == (kind, "", error)


def test_logging_in(array):
    refused = Failed(NOT_ALLOWED, "", "log in", "refused: HTTP 401", family.RIGHT)
    assert failure(family, array, password="wrong") == refused
    assert len(array.log) == 1
    assert failure(family, array, user="").error == "no --user and --password were given"
    assert len(array.log) == 1


def test_one_session_and_no_other_one_is_ended(array):
    array.sessions.add("of somebody else")
    ask(array)
    assert array.sessions == {"of somebody else"}
    assert len(array.tokens) == 1
    array.sessions.clear()


def test_another_product(array):
    array.tree["basicSystemInfo"] = [{"name": "other"}]
    assert failure(family, array).error == "no softwareVersion: this is not a Unity"


def test_a_session_that_expires_in_the_middle(array):
    def expire(page):
        array.sessions.clear()
        return page

    array.faults[path_of("sasPort")] = expire
    found = ask(array)
    assert lost(found) == [(NOT_ALLOWED, "alert", "HTTP 401"), (NOT_ALLOWED, "performance", "HTTP 401")]


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_silent_array_is_given_up_in_time_and_the_session_given_back(array, fault):
    array.faults[path_of("fan")] = fault
    begun = time.monotonic()
    found = ask(array, seconds=5.0)
    assert time.monotonic() - begun < 4.5
    assert (found.lost[0].kind, found.lost[0].of) == (UNREACHABLE, "fan")
    assert array.asked[-1] == LOGOUT


@pytest.mark.parametrize("path", [path_of("fan"), INFO])
def test_a_run_that_is_ended_gives_its_session_back(array, path):
    arrays.ended(family, array, path)


def test_greeting(array):
    assert family.greet(Run(8.0), place(array)) == "Unity 500 5.2.0 FNM0001"
    assert len(array.log) == 3


def test_secrets_are_in_no_failure(array):
    for path in [LOGIN, INFO, *(path_of(name) for name in ("disk", "pool", "alert", "metricValue"))]:
        for fault in (401, 403, 500, "junk", "half"):
            array.faults = {path: fault}
            try:
                found = ask(array).lost
            except Failed as failed:
                found = [failed]
            assert "secret" not in repr(found)
            assert "bmFnaW9zOnNlY3JldA" not in repr(found)
