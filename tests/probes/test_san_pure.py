# SPDX-License-Identifier: Apache-2.0
"""The Pure family against tests/simulators/pure.py: every part goes bad, every word has its health, sessions are returned."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import san_pure as family
from nephoscope.probes.san import Room, Speed

from tests.probes import arrays
from tests.probes.arrays import ALL, bad, failure, healths, lost, place
from tests.simulators.pure import API, TB, Pure

LISTS = {
    "controllers": ["controller"],
    "drives": ["disk"],
    "hardware": ["enclosure", "fan", "power supply", "sensor", "port"],
    "ports": ["port"],
    "array-connections": ["replication"],
    "pods": ["replication"],
    "alerts": ["alert"],
    "arrays/space": ["pool"],
    "arrays/performance": ["performance"],
}
TOKEN = {"password": "t0k-en", "user": ""}


@pytest.fixture
def array():
    with Pure() as simulated:
        yield simulated
        assert simulated.sessions == set(), "the session was given back"


def ask(array, modes=ALL, **words):
    return arrays.ask(family, array, modes, **{**TOKEN, **words})


def test_a_healthy_array(array):
    found = ask(array)
    assert (found.product, bad(found), lost(found), found.spares) == ("Purity//FA 6.4.10 pure1", {}, [], None)
    assert healths(found) == {
        "system data redundancy": ("ok", "100 %"),
        "controller CT0": ("ok", "ready, primary"), "controller CT1": ("ok", "ready, secondary"),
        "disk CH0.BAY0": ("ok", "healthy"), "disk CH0.BAY1": ("ok", "healthy"), "disk CH0.NVB0": ("ok", "healthy"),
        "disk CH0.BAY9": ("absent", "empty"),
        "enclosure CH0": ("ok", "ok"), "power supply CH0.PWR0": ("ok", "ok"), "power supply CH0.PWR1": ("ok", "ok"),
        "system hardware CT0": ("ok", "ok"), "system hardware CT1": ("ok", "ok"), "fan CT0.FAN0": ("ok", "ok"),
        "sensor CT0.TMP0": ("ok", "ok, 27 C"), "port CT0.ETH0": ("ok", "ok"), "port CT0.ETH9": ("absent", "unused"),
        "port CT0.FC0": ("ok", "ok"), "port CT0.SAS0": ("ok", "ok"), "system hardware CT0.DCA0": ("ok", "healthy"),
        "enclosure SH0": ("absent", "not_installed"), "replication to pure2": ("ok", "connected, async-replication"),
        "replication pod stretched on pure1": ("ok", "online"), "replication pod stretched on pure1, mediator": ("ok", "online"),
        "replication pod stretched on pure2": ("ok", "online"), "replication pod stretched on pure2, mediator": ("ok", "online"),
        "alert pure1": ("ok", "An upgrade is there (7)"),
    }  # fmt: skip
    assert found.rooms == [Room("pool", "pure1", 100.0 * TB, 40.0 * TB, 300.0 * TB / 5.1)]
    assert found.speeds == [Speed("", 0.00042, 8010.0, 150000000.0)]
    assert array.asked == [
        "GET /api/api_version", f"POST {API}/login", f"GET {API}/arrays", *(f"GET {API}/{name}" for name in LISTS),
        f"POST {API}/logout",
    ]  # fmt: skip


@pytest.mark.parametrize(("mode", "requests"), [("health", 4 + 7), ("capacity", 4 + 1), ("performance", 4 + 1)])
def test_a_mode_asks_for_what_it_needs_alone(array, mode, requests):
    found = ask(array, (mode,))
    assert len(array.log) == requests
    assert [bool(found.parts), bool(found.rooms), bool(found.speeds)] == [mode == each for each in ALL]


def test_a_large_array(array):
    array.tree["drives"] = [{"name": f"CH{index}.BAY0", "status": "healthy"} for index in range(500)]
    array.tree["hardware"] = [{"name": f"CH{index}.BAY0", "type": "drive_bay", "status": "ok"} for index in range(2500)]
    tracemalloc.start()
    found = ask(array)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(array.log), bad(found)) == (4 + 9 + 2, {})
    assert peak < 30 << 20


WORDS = [  # the "Valid values" of py-pure-client 1.96 and of older versions
    ("controllers", "status", "controller CT0", family.CONTROLLER, "ready updating not+ready"),
    ("controllers", "mode", "controller CT0", family.CONTROLLER_MODE, "primary secondary offline not+present"),
    ("drives", "status", "disk CH0.BAY0", family.DRIVE, "empty failed healthy identifying missing recovering unadmitted "
     "unhealthy unrecognized updating unused"),
    ("hardware", "status", "enclosure CH0", family.HARDWARE, "critical healthy identifying unhealthy unused ok not_installed "
     "degraded"),
    ("array-connections", "status", "replication to pure2", family.CONNECTION, "connected connecting partially_connected "
     "unbalanced inactive"),
    ("alerts", "severity", "alert pure1", family.ALERT, "info warning critical hidden"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "field", "of", "table", "choices"), WORDS)
def test_every_word_has_its_health(array, name, field, of, table, choices):
    words = [word.replace("+", " ") for word in choices.split()]
    assert set(table) == set(words)
    for word in [*words, "unknown", "sulking", 7, [], {}]:
        array.tree[name][0][field] = word
        known = isinstance(word, str) and word in table
        assert healths(ask(array, ("health",)))[of][0] == (table[word] if known else "unknown"), word


@pytest.mark.parametrize(
    ("field", "table", "choices"),
    [("status", family.POD, "online resyncing suspended offline"), ("mediator_status", family.MEDIATOR, "online flummoxed unreachable")],
)  # fmt: skip
def test_the_words_of_a_pod(array, field, table, choices):
    assert set(table) == set(choices.split())
    of = "replication pod stretched on pure2" + ("" if field == "status" else ", mediator")
    for word in [*table, "unknown", None, 3]:
        array.tree["pods"][1]["arrays"][1][field] = word
        assert bad(ask(array)).get(of, ("ok",))[0] == table.get(word, "unknown")


@pytest.mark.parametrize(
    ("kind", "of"),
    [
        ("chassis", "enclosure X"), ("ch", "enclosure X"), ("storage_shelf", "enclosure X"), ("sas_module", "system hardware X"),
        ("cooling", "fan X"), ("fan", "fan X"), ("power_supply", "power supply X"), ("pwr", "power supply X"),
        ("temp_sensor", "sensor X"), ("tmp", "sensor X"), ("eth_port", "port X"), ("fc_port", "port X"), ("ib_port", "port X"),
        ("sas_port", "port X"), ("controller", "system hardware X"), ("ct", "system hardware X"),
        ("drive_bay", "disk X"), ("nvram_bay", "disk X"), ("tomorrow", "system hardware X"), (None, "system hardware X"), ([], "system hardware X"),
    ],
)  # fmt: skip
def test_every_type_of_hardware_goes_bad(array, kind, of):
    array.tree["hardware"].append({"name": "X", "type": kind, "status": "critical", "details": "it broke"})
    assert bad(ask(array)) == {of: ("failed", "critical, it broke")}


def test_a_drive_that_failed_is_one_drive(array):
    array.tree["drives"][1].update(status="failed", details="Too many errors")
    array.tree["hardware"][2]["status"] = "critical"
    assert bad(ask(array)) == {"disk CH0.BAY1": ("failed", "failed, Too many errors")}


def test_the_bays_speak_where_the_drives_are_lost(array):
    array.tree["hardware"][2]["status"] = "critical"
    array.faults[f"{API}/drives"] = 500
    assert bad(ask(array)) == {"disk CH0.BAY1": ("failed", "critical")}


def test_what_else_goes_bad(array):
    array.tree["arrays"][0]["parity"] = 0.953
    array.tree["ports"][0]["failover"] = "CT1.FC0"
    array.tree["alerts"] = [
        {"name": "12", "state": "open", "severity": "warning", "code": 25, "component_name": "vol", "summary": "Space"},
        {"name": "13", "state": "closing", "severity": "critical", "component_name": "vol", "issue": "Worse"},
        {"name": "14", "state": "closed", "severity": "critical"},
    ]
    assert bad(ask(array)) == {
        "system data redundancy": ("rebuilding", "95 %"),
        "port CT0.FC0 target": ("degraded", "failed over to CT1.FC0"),
        "alert vol": ("degraded", "Space (25)"),
        "alert vol (2)": ("failed", "Worse"),
    }


def test_a_right_that_is_missing_is_not_silence(array):
    array.tree["arrays"][0]["parity"] = None
    array.tree["arrays/space"] = [
        {"name": "pure1", "capacity": None, "space": {"total_used": None, "total_physical": None}}
    ]
    found = ask(array)
    assert (lost(found), found.rooms, found.lost[0].cure) == (
        [
            (NOT_ALLOWED, "system", "parity is null, as without the right to see it"),
            (NOT_ALLOWED, "pool", "capacity is null, as without the right to see it"),
        ],
        [],
        family.RIGHT,
    )


@pytest.mark.parametrize("name", ["controllers", "drives", "hardware", "arrays/space", "arrays/performance"])
def test_an_empty_list_of_what_every_array_has_is_a_missing_right(array, name):
    array.tree[name] = []
    error = "the list is empty, as without the right to see it"
    assert lost(ask(array)) == [(NOT_ALLOWED, of, error) for of in LISTS[name]]


@pytest.mark.parametrize(
    ("space", "room"),
    [
        ({"total_physical": 5, "total_provisioned": None}, Room("pool", "pure1", 10.0, 5.0)),
        ({"total_physical": 5, "total_used": 6, "total_provisioned": 0}, Room("pool", "pure1", 10.0, 6.0, 0.0)),
        ({"total_used": 6, "total_provisioned": 40, "data_reduction": 4}, Room("pool", "pure1", 10.0, 6.0, 10.0)),
        ({"total_used": 6, "total_provisioned": 40, "data_reduction": 0.5}, Room("pool", "pure1", 10.0, 6.0, 40.0)),
        ({"total_physical": "5"}, Room("pool", "pure1", 10.0, None)),
        (None, Room("pool", "pure1", 10.0, None)),
    ],
)
def test_room(array, space, room):
    array.tree["arrays/space"] = [{"name": "pure1", "capacity": 10, "space": space}]
    assert ask(array, ("capacity",)).rooms == [room]


def test_a_speed_that_is_not_told_is_not_zero(array):
    array.tree["arrays/performance"] = [{"name": "pure1", "usec_per_read_op": None, "reads_per_sec": -1, "time": 1}]
    found = ask(array, ("performance",))
    assert (found.speeds, lost(found)) == ([], [(UNREADABLE, "performance", "the newest sample has no numbers")])
    array.tree["arrays/performance"][0]["reads_per_sec"] = 0
    assert ask(array, ("performance",)).speeds == [Speed("", None, 0.0, None)]


@pytest.mark.parametrize(("fault", "kind", "error"), arrays.FAULTS)
@pytest.mark.parametrize("name", list(LISTS))
def test_a_list_that_fails_does_not_hide_the_rest(array, name, fault, kind, error):
    array.faults[f"{API}/{name}"] = fault
    found = ask(array)
    first = LISTS[name]
    assert lost(found)[: len(first)] == [(kind, of, error) for of in first]
    if fault == "half":  # nothing more is asked of an array that cuts us off
        assert {failed.error for failed in found.lost[len(first) :]} <= {arrays.REST}
    else:
        assert (len(found.lost), bad(found)) == (len(first), {})


@pytest.mark.parametrize("name", list(LISTS))
@pytest.mark.parametrize("odd", arrays.ODD, ids=str)
def test_any_json_is_no_traceback(array, name, odd):
    array.faults[f"{API}/{name}"] = lambda _: odd
    kinds = {failed.kind for failed in ask(array).lost}
    assert kinds == {UNREADABLE}
    array.faults[f"{API}/{name}"] = lambda _: {"items": [dict.fromkeys(("name", "status", "mode", "type", "details", "temperature", "failover", "arrays", "severity", "state", "capacity", "space", "component_name", "summary", "code", "usec_per_read_op", "reads_per_sec"), odd), {}]}  # fmt: skip
    assert {failed.of for failed in ask(array).lost} <= {"pool", "performance"}


def test_pages(array):
    array.page = 1
    assert (bad(ask(array)), lost(ask(array))) == ({}, [])
    array.faults[f"{API}/drives"] = lambda page: {**page, "continuation_token": "at 0", "more_items_remaining": True}
    found = ask(array)
    assert lost(found) == [(UNREADABLE, "disk", "pages without an end: 2 were read")]
    assert "disk CH0.BAY0" in healths(found)


@pytest.mark.parametrize("fault", [401, 500, 503, "html", "junk", "half"])
@pytest.mark.parametrize("path", ["/api/api_version", f"{API}/login", f"{API}/arrays"])
def test_an_array_that_does_not_let_us_in(array, path, fault):
    array.faults[path] = fault
    kind, error = {
        401: (NOT_ALLOWED, "HTTP 401" if "version" in path else "refused: HTTP 401"),
        500: (UNREACHABLE, "HTTP 500" + (", no token" if "login" in path else "")),
        503: (UNREACHABLE, "the array is busy (HTTP 503)"),
        "html": (UNREADABLE, "HTTP 200, no token" if "login" in path else arrays.HTML),
        "junk": (UNREADABLE, "HTTP 200, no token" if "login" in path else "the answer is not JSON"),
        "half": (UNREACHABLE, arrays.CUT),
    }[fault]
    failed = failure(family, array, **TOKEN)
    assert (failed.kind, failed.of, failed.error) == (kind, "", error)


def test_logging_in(array):
    refused = Failed(NOT_ALLOWED, "", "log in", "refused: HTTP 401", family.RIGHT)
    assert failure(family, array, password="wrong") == refused
    array.limit = 0
    assert failure(family, array, **TOKEN).error == "the array is busy (HTTP 503)"
    array.log.clear()
    assert failure(family, array, password="").error == "no API token was given"
    assert array.log == []


@pytest.mark.parametrize("versions", [["1.0", "1.19"], [], None, "2.26", {"2.26": 1}, [2.26, None, []][1:]])
def test_another_product_or_an_old_one(array, versions):
    array.versions = versions
    failed = failure(family, array, **TOKEN)
    assert (failed.kind, failed.error) == (UNREADABLE, "no REST 2 is offered: another product, or Purity before 6.0")


def test_a_session_that_expires_in_the_middle(array):
    def expire(page):
        array.sessions.clear()
        return page

    array.faults[f"{API}/drives"] = expire
    found = ask(array)
    assert {failed[:2] for failed in lost(found)} == {
        (NOT_ALLOWED, of) for kinds in list(LISTS.values())[2:] for of in kinds
    }
    assert {failed.error for failed in found.lost} == {"HTTP 401"}


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_silent_array_is_given_up_in_time_and_the_session_given_back(array, fault):
    array.faults[f"{API}/hardware"] = fault
    begun = time.monotonic()
    found = ask(array, seconds=5.0)
    assert time.monotonic() - begun < 4.5
    assert (found.lost[0].kind, found.lost[0].of) == (UNREACHABLE, "enclosure")
    assert array.asked[-1] == f"POST {API}/logout"


@pytest.mark.parametrize("name", ["drives", "arrays"])
def test_a_run_that_is_ended_gives_its_session_back(array, name):
    arrays.ended(family, array, f"{API}/{name}", **TOKEN)


def test_greeting(array):
    assert family.greet(Run(8.0), place(array, **TOKEN)) == "Purity//FA 6.4.10 pure1"
    assert len(array.log) == 4


def test_secrets_are_in_no_failure(array):
    for path in ["/api/api_version", f"{API}/login", f"{API}/arrays", *(f"{API}/{name}" for name in LISTS)]:
        for fault in (401, 403, 500, "junk", "half"):
            array.faults = {path: fault}
            try:
                found = ask(array).lost
            except Failed as failed:
                found = [failed]
            assert "t0k-en" not in repr(found)
