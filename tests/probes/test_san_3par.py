# SPDX-License-Identifier: Apache-2.0
"""The 3PAR family against tests/simulators/wsapi.py: every part goes bad, every number has its health, sessions are returned."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import san_3par as family
from nephoscope.probes.san import Room, Speed

from tests.probes import arrays
from tests.probes.arrays import ALL, bad, failure, healths, lost, place
from tests.simulators.wsapi import API, Wsapi, members, port, tier, volume

MIB = 1 << 20
STATISTICS = "systemreporter/attime/cpgstatistics/hires"
LISTS = {
    "cpgs": "pool", "disks": "disk", "volumes": "volume", "ports": "port", "remotecopygroups": "replication",
    "capacity": "pool", STATISTICS: "performance",
}  # fmt: skip


@pytest.fixture
def array():
    with Wsapi() as simulated:
        yield simulated
        assert simulated.sessions == set(), "the session was given back"


def ask(array, modes=ALL, **words):
    return arrays.ask(family, array, modes, **words)


def test_a_healthy_array(array):
    found = ask(array)
    product = "HP_3PAR 8200 3.3.1.410 3par1 (power supplies, fans, batteries and cages are not in its WSAPI)"
    assert (found.product, bad(found), lost(found), found.spares) == (product, {}, [], None)
    assert healths(found) == {
        "controller node 0": ("ok", "online"), "controller node 1": ("ok", "online"), "system failed capacity": ("ok", "0 MiB"),
        "disk 0 at 0:0:0": ("ok", "normal"), "disk 1 at 0:1:0": ("ok", "normal"), "disk 2 at 0:2:0": ("ok", "normal"),
        "disk 3 at 0:3:0": ("ok", "normal"), "pool CPG FC_r6": ("ok", "normal"), "pool CPG NL_r6": ("ok", "normal"),
        "volume vv0": ("ok", "normal"), "volume vv1": ("ok", "normal"), "port 0:1:1": ("ok", "READY"),
        "port 0:2:1": ("ok", "READY"), "port 0:3:1": ("absent", "LOSS_SYNC, free"), "replication rcg to dr": ("ok", "started"),
    }  # fmt: skip
    assert found.rooms == [
        Room("pool", "NL", 1e6 * MIB, 7e5 * MIB, 1.5e6 * MIB),
        Room("pool", "SSD", 1e6 * MIB, 4e5 * MIB, 1.5e6 * MIB),
        Room("pool", "CPG FC_r6", 256000.0 * MIB, 136192.0 * MIB),
    ]
    assert found.speeds == [Speed("CPG FC_r6", 0.0045, 151.0, 1536000.0)]
    assert array.asked[:-1] == [
        f"POST {API}/credentials", *(f"GET {API}/{name}" for name in ("system", *LISTS)),
    ]  # fmt: skip
    assert array.asked[-1].startswith(f"DELETE {API}/credentials/0-")


@pytest.mark.parametrize(("mode", "requests"), [("health", 3 + 5), ("capacity", 3 + 2), ("performance", 3 + 1)])
def test_a_mode_asks_for_what_it_needs_alone(array, mode, requests):
    found = ask(array, (mode,))
    assert len(array.log) == requests
    assert [bool(found.parts), bool(found.rooms), bool(found.speeds)] == [mode == each for each in ALL]


def test_the_volumes_of_a_large_array(array):
    array.tree["volumes"] = members(*(volume(f"vv{index}") for index in range(2000)))
    array.tree["disks"] = members(*({"id": index, "position": "0:0:0", "state": 1} for index in range(500)))
    tracemalloc.start()
    found = ask(array, seconds=60.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(array.log), bad(found), len(found.parts)) == (10, {}, 2509)
    assert peak < 60 << 20  # the simulator's own answers are in it


@pytest.mark.parametrize(
    ("name", "of", "table", "numbers"),
    [
        ("cpgs", "pool CPG FC_r6", family.STATE, {1: "normal", 2: "degraded", 3: "failed", 99: "unknown"}),
        ("volumes", "volume vv0", family.STATE, {1: "normal", 2: "degraded", 3: "failed", 99: "unknown"}),
        ("disks", "disk 0 at 0:0:0", family.DISK, {1: "normal", 2: "degraded", 3: "new", 4: "failed", 99: "unknown"}),
    ],
)
def test_every_state_has_its_health(array, name, of, table, numbers):
    assert set(table) == set(numbers) - {99}
    for number, word in numbers.items():
        array.tree[name]["members"][0]["state"] = number
        assert healths(ask(array, ("health",)))[of] == (table.get(number, "unknown"), word)
    for odd, said in (
        (17, "state 17"),
        ("1", "state 1"),
        (None, "state not told"),
        ([], "state not told"),
        ({}, "state not told"),
    ):
        array.tree[name]["members"][0]["state"] = odd
        assert healths(ask(array, ("health",)))[of] == ("unknown", said)


LINKS = """CONFIG_WAIT degraded, ALPA_WAIT degraded, LOGIN_WAIT degraded, READY ok, LOSS_SYNC degraded, ERROR_STATE failed,
XXX unknown, NONPARTICIPATE degraded, COREDUMP failed, OFFLINE failed, FWDEAD failed, IDLE_FOR_RESET failed,
DHCP_IN_PROGRESS degraded, PENDING_RESET degraded, NEW degraded, DISABLED absent, DOWN failed, FAILED failed,
PURGING degraded"""


def test_every_state_of_a_link(array):
    for number, said in enumerate(LINKS.split(","), 1):
        word, health = said.split()
        array.tree["ports"] = members(port(1, linkState=number))
        assert healths(ask(array, ("health",)))["port 0:1:1"] == (health, word)
    for odd, said in (
        (0, "0"),
        (20, "20"),
        ("READY", "READY"),
        (None, "not told"),
        (True, "not told"),
        ([], "not told"),
    ):
        array.tree["ports"] = members(port(1, linkState=odd))
        health = healths(ask(array, ("health",)))["port 0:1:1"]
        assert health == (("degraded", "CONFIG_WAIT") if odd is True else ("unknown", f"linkState {said}"))


def test_a_port_that_failed_over(array):
    words = ["NONE", "FAILOVER_PENDING", "FAILED_OVER", "ACTIVE", "ACTIVE_DOWN", "ACTIVE_FAILED", "FAILBACK_PENDING"]
    for number, word in enumerate(words, 1):
        array.tree["ports"] = members(port(1, failoverState=number))
        assert bad(ask(array)) == ({} if number == 1 else {"port 0:1:1": ("degraded", f"READY, {word}")})
    array.tree["ports"] = members(
        port(1, failoverState=8), port(2, failoverState=None), port(3, linkState=10, failoverState=3)
    )
    assert bad(ask(array)) == {
        "port 0:1:1": ("unknown", "READY, failoverState 8"),
        "port 0:3:1": ("failed", "OFFLINE, FAILED_OVER"),
    }


def test_every_state_of_a_copy(array):
    words = "new:degraded starting:degraded started:ok restart:degraded stopped:failed backup:degraded failsafe:failed "
    words += "unknown:unknown logging:degraded"
    for number, said in enumerate(words.split(), 1):
        word, _, health = said.partition(":")
        array.tree["remotecopygroups"]["members"][0]["targets"][0]["state"] = number
        assert healths(ask(array, ("health",)))["replication rcg to dr"] == (health, word)
    array.tree["remotecopygroups"]["members"][0]["targets"][0]["state"] = 10
    assert bad(ask(array)) == {"replication rcg to dr": ("unknown", "state 10")}


def test_nodes_and_failed_capacity(array):
    array.tree["system"].update(onlineNodes=[0], failedCapacityMiB=1024)
    assert bad(ask(array)) == {
        "controller node 1": ("failed", "offline"),
        "system failed capacity": ("degraded", "1024 MiB"),
    }
    for odd in (None, [], 2, "0,1", {}):
        array.tree["system"]["clusterNodes"] = odd
        error = "clusterNodes and onlineNodes are no lists of nodes"
        assert lost(ask(array)) == [(UNREADABLE, "controller", error)]


def test_an_older_version_has_neither_disks_nor_statistics_and_says_so(array):
    del array.tree["disks"], array.tree[STATISTICS]
    found = ask(array)
    product = "HP_3PAR 8200 3.3.1.410 3par1 (disks, power supplies, fans, batteries and cages are not in its WSAPI)"
    assert (found.product, bad(found), lost(found), found.speeds) == (product, {}, [], [])
    array.faults[f"{API}/disks"] = 500
    assert "(power supplies" in ask(array).product


@pytest.mark.parametrize("name", ["disks", "ports"])
def test_an_empty_list_of_what_every_array_has_is_a_missing_right(array, name):
    array.tree[name] = members()
    assert lost(ask(array)) == [(NOT_ALLOWED, LISTS[name], "the list is empty, as without the right to see it")]


def test_fewer_members_than_it_has(array):
    array.tree["volumes"]["total"] = 2000
    found = ask(array)
    assert lost(found) == [(UNREADABLE, "volume", "2 of 2000 members were told")]
    assert "volume vv0" in healths(found)


@pytest.mark.parametrize(
    ("capacity", "rooms"),
    [
        ({"allCapacity": tier(100, 25)}, [Room("pool", "all", 100.0 * MIB, 75.0 * MIB, 150.0 * MIB)]),
        ({"SSDCapacity": {"totalMiB": 10}}, [Room("pool", "SSD", 10.0 * MIB, None)]),
        ({"SSDCapacity": {"totalMiB": 10, "freeMiB": 0}}, [Room("pool", "SSD", 10.0 * MIB, 10.0 * MIB)]),
        ({"SSDCapacity": {"totalMiB": "10"}}, [Room("pool", "all", None, None)]),
        ({}, [Room("pool", "all", None, None)]),
    ],
)
def test_room_that_is_not_told_is_not_zero(array, capacity, rooms):
    array.tree["cpgs"] = members()
    array.tree["capacity"] = capacity
    assert ask(array, ("capacity",)).rooms == rooms


def test_a_speed_that_is_not_told_is_not_zero(array):
    array.tree[STATISTICS] = members(
        {"name": "a", "IO": 7, "KBytes": None}, {"name": "b", "serviceTimeMS": {"read": 0}}
    )
    assert ask(array, ("performance",)).speeds == [Speed("CPG b", 0.0)]


@pytest.mark.parametrize(("fault", "kind", "error"), arrays.FAULTS)
@pytest.mark.parametrize("name", list(LISTS))
def test_a_list_that_fails_does_not_hide_the_rest(array, name, fault, kind, error):
    array.faults[f"{API}/{name}"] = fault
    found = ask(array)
    if fault == 404 and name in ("disks", STATISTICS):
        assert lost(found) == []
        return
    assert lost(found)[0] == (kind, LISTS[name], error)
    if fault == "half":  # nothing more is asked of an array that cuts us off
        assert {failed.error for failed in found.lost[1:]} <= {arrays.REST}
    else:
        assert (len(found.lost), bad(found)) == (1, {})
    if fault == 403:
        assert found.lost[0].cure == family.RIGHT


@pytest.mark.parametrize("name", [name for name in LISTS if name != "capacity"])
@pytest.mark.parametrize("odd", arrays.ODD, ids=str)
def test_any_json_is_no_traceback(array, name, odd):
    array.faults[f"{API}/{name}"] = lambda _: odd
    assert lost(ask(array))[0][:2] == (UNREADABLE, LISTS[name])
    array.faults[f"{API}/{name}"] = lambda _: members(dict.fromkeys(("name", "state", "id", "position", "portPos", "linkState", "failoverState", "type", "targets", "UsrUsage", "SDGrowth", "IO", "KBytes", "serviceTimeMS"), odd), {}, {"targets": [{"state": odd, "targetName": odd}]})  # fmt: skip
    assert lost(ask(array)) == []
    array.faults = {f"{API}/capacity": lambda _: {"SSDCapacity": odd, "allCapacity": odd}}
    assert ask(array, ("capacity",)).rooms[0] == Room("pool", "all", None, None)


@pytest.mark.parametrize("fault", [401, 500, 503, "html", "junk", "half"])
@pytest.mark.parametrize("path", [f"{API}/credentials", f"{API}/system"])
def test_an_array_that_does_not_let_us_in(array, path, fault):
    array.faults[path] = fault
    entry = "credentials" in path
    kind, error, cure = {
        401: (NOT_ALLOWED, "refused: HTTP 401", family.RIGHT),
        500: (UNREACHABLE, "HTTP 500" + (", no key: this is not a WSAPI" if entry else ""), family.STOPPED),
        503: (UNREACHABLE, "the array is busy (HTTP 503)" + (": it may have no free session" if entry else ""), family.STOPPED),
        "html": (UNREADABLE, "HTTP 200, no key: this is not a WSAPI" if entry else arrays.HTML, ""),
        "junk": (UNREADABLE, "HTTP 200, no key: this is not a WSAPI" if entry else "the answer is not JSON", ""),
        "half": (UNREACHABLE, arrays.CUT, family.STOPPED),
    }[fault]  # fmt: skip
    failed = failure(family, array)
    assert (failed.kind, failed.of, failed.error, failed.cure) == (kind, "", error, cure)


@pytest.mark.parametrize("answer", [{}, [], {"key": ""}, {"key": 7}, {"key": "a\nb"}, {"key": "ä"}, None])
def test_a_key_that_is_none(array, answer):
    array.faults[f"{API}/credentials"] = lambda _: answer
    assert failure(family, array).error == "HTTP 201, no key: this is not a WSAPI"
    array.sessions.clear()  # the simulator had made one


def test_logging_in(array):
    assert failure(family, array, password="wrong") == Failed(
        NOT_ALLOWED, "", "log in", "refused: HTTP 403", family.RIGHT
    )
    array.limit = 0
    assert failure(family, array).error == "the array is busy (HTTP 503): it may have no free session"
    array.log.clear()
    assert failure(family, array, user="").error == "no --user and --password were given"
    assert array.log == []


def test_another_product(array):
    array.tree["system"] = {"name": "other"}
    assert failure(family, array).error == "no systemVersion: this is not a WSAPI"


def test_a_session_that_expires_in_the_middle(array):
    def expire(page):
        array.sessions.clear()
        return page

    array.faults[f"{API}/disks"] = expire
    found = ask(array)
    assert set(lost(found)) == {
        (NOT_ALLOWED, of, "HTTP 403") for of in ("volume", "port", "replication", "pool", "performance")
    }


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_silent_array_is_given_up_in_time_and_the_session_given_back(array, fault):
    array.faults[f"{API}/volumes"] = fault
    begun = time.monotonic()
    found = ask(array, seconds=5.0)
    assert time.monotonic() - begun < 4.5
    assert (found.lost[0].kind, found.lost[0].of) == (UNREACHABLE, "volume")
    assert array.asked[-1].startswith("DELETE ")


@pytest.mark.parametrize("name", ["volumes", "system"])
def test_a_run_that_is_ended_gives_its_session_back(array, name):
    arrays.ended(family, array, f"{API}/{name}")


def test_the_port_of_a_primera_is_found(array, monkeypatch):
    monkeypatch.setattr(family, "PORTS", (1, array.port))
    assert family.greet(Run(8.0), place(array)._replace(port=None)) == "HP_3PAR 8200 3.3.1.410 3par1"
    monkeypatch.setattr(family, "PORTS", (array.port, 1))
    assert family.greet(Run(8.0), place(array)._replace(port=None)) == "HP_3PAR 8200 3.3.1.410 3par1"
    monkeypatch.setattr(family, "PORTS", (1, 1))
    with pytest.raises(Failed) as caught:
        family.greet(Run(8.0), place(array)._replace(port=None))
    assert (caught.value.kind, caught.value.error, caught.value.cure) == (
        UNREACHABLE,
        "Connection refused",
        family.STOPPED,
    )
    assert len(array.log) == 6


def test_secrets_are_in_no_failure(array):
    for path in [f"{API}/credentials", f"{API}/system", *(f"{API}/{name}" for name in LISTS)]:
        for fault in (401, 403, 500, "junk", "half"):
            array.faults = {path: fault}
            try:
                found = ask(array).lost
            except Failed as failed:
                found = [failed]
            assert "secret" not in repr(found)
