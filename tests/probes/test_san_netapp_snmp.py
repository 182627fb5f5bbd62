# SPDX-License-Identifier: Apache-2.0
"""A 7-mode filer and a cluster of two nodes, as NETAPP-MIB says they answer; each part goes bad once. The values are ours."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import san_netapp_snmp as netapp
from nephoscope.probes.san import HEALTH, Array, Part, Place, Room, Speed

from tests.simulators.snmp_agent import Agent, counter32, counter64, gauge, numbers, table, ticks

N = "1.3.6.1.4.1.789"
ALL = ("health", "capacity", "performance")


def rows(entry: str, columns: tuple[int, ...], **given: tuple[Any, ...]) -> dict[str, Any]:
    return table(f"{N}.{entry}", {index[1:].replace("_", "."): dict(zip(columns, row)) for index, row in given.items()})


def name(text: str) -> str:
    """Return a text as the IMPLIED index of a row."""
    return "_" + "_".join(str(octet) for octet in text.encode())


ENVIRONMENT = {"1.2.4.1.0": 1, "1.2.4.2.0": 0, "1.2.4.3.0": "", "1.2.4.4.0": 0, "1.2.4.5.0": "", "1.2.5.1.0": 1}
COMMON: dict[str, Any] = {
    **{
        f"{N}.{oid}": value
        for oid, value in {
            "1.2.2.4.0": 3, "1.2.2.25.0": "The system's global status is normal. ", "1.5.7.1.0": 1, "1.5.7.2.0": "",
            "1.6.4.1.0": 4, "1.6.4.7.0": 0, "1.6.4.10.0": "", "1.6.4.8.0": 2, "1.6.4.11.0": 0, "1.2.7.1.0": 1, "1.2.7.2.0": "",
        }.items()
    },
    **rows("1.5.11.1", (2, 5, 6), _1=("aggr0", "online", "normal, raid_dp")),
    **rows("1.5.8.1", (2, 5, 6), _1=("vol0", "online", "normal, raid_dp, flex")),
    **rows(
        "1.5.4.1", (2, 11, 12, 23, 29, 30),
        _1=("aggr0", 0, 0, 3, counter64(1000), counter64(850)),
        _2=("aggr0/.snapshot", 0, 0, 3, counter64(50), counter64(10)),
        _3=("/vol/vol0/", 500, 20, 2, counter64(600), counter64(300)),
        _4=("/vol/vol0/.snapshot", 0, 0, 2, counter64(30), counter64(60)),
    ),
    **rows("1.21.1.2.1", (2, 13, 15, 17, 18, 20, 21, 22, 23, 24), _1=(3, "1, 2", "", "1, 2", "", "1, 2, 3", "", "", "", "")),
}  # fmt: skip
FILER = {
    **COMMON,
    **{f"{N}.{oid}": value for oid, value in ENVIRONMENT.items()},
    **{f"{N}.1.2.3.{at}.0": value for at, value in ((1, 2), (2, 2), (3, 1), (4, 2), (8, 4))},
    f"{N}.1.9.1.0": 2,
    **rows("1.6.2.1", (2, 3), _1_1_1=("0a.16", 1), _1_1_2=("0a.17", 1)),
    **rows(
        "1.9.20.1",
        (2, 3, 5, 6),
        _1=("far:vol1", "near:vol1", 2, ticks(6000)),
        _2=("near:vol2", "far:vol2", 5, ticks(0)),
    ),
    **{f"{N}.1.2.2.{at}.0": counter64(1000 * at) for at in (27, 28, 29, 32, 33)},
}
CLUSTER = {
    **COMMON,
    **rows("1.25.2.1", (11, 17, 18, 19, 20, 21, 22), **{name(node): (1, 1, 1, 0, "", 0, "") for node in ("n1", "n2")}),
    **rows("1.21.2.1", (3, 4, 5, 6, 10), **{name(node): (2, 2, 1, 2, 4) for node in ("n1", "n2")}),
    **rows("1.22.2.1", (1, 2, 4, 14, 30), _1_1=("n1", "e0a", 2, 1, 0), _1_2=("n1", "e0b", 3, 0, 0)),
    **rows("1.29.1.1", (2, 3, 6, 7, 16, 17), _1=("svm1:a", "svm2:a", 1, ticks(6000), 1, "")),
    f"{N}.1.5.8.1.14.1": "svm1",
    f"{N}.1.5.4.1.34.3": "svm1",
    f"{N}.1.5.4.1.35.3": 1,
    **{f"{N}.1.2.2.{at}.0": counter32(at) for at in range(5, 11)},
}


def ask(values: Mapping[str, Any], *modes: str, run: Run | None = None, **faults: Any) -> Array:
    description = "NetApp Release 8.2.5P5 7-Mode: Fri Sep 22 00:35:16 PDT 2017"
    with Agent(values, product=f"{N}.2.1", description=description, **faults) as agent:
        return netapp.look(run or Run(30.0), Place("127.0.0.1", agent.port, community="public"), modes or ALL)


def bad(array: Array) -> list[Part]:
    return [part for part in array.parts if part.health not in ("ok", "spare", "absent")]


def changed(*changes: Any, of: Mapping[str, Any] = FILER) -> list[Part]:
    given = {f"{N}.{column}": value for column, value in zip(changes[::2], changes[1::2])}
    assert set(given) <= set(of)
    return bad(ask({**of, **given}, "health"))


def test_a_filer_that_is_well() -> None:
    array = ask(FILER)
    assert array.product == "NetApp Release 8.2.5P5 7-Mode"
    assert array.lost == []
    assert array.spares == 2
    assert [f"{part.of} {part.health}: {part.text}" for part in array.parts] == [
        "system ok: ok",
        "system file systems ok: ok",
        "alert autosupport ok: ok",
        "sensor temperature ok: not too hot",
        "fan all ok: none failed",
        "power supply all ok: none failed",
        "battery NVRAM ok: ok",
        "system takeover ok: canTakeover",
        "system partner ok: ok",
        "port interconnect ok: up",
        "disk 0a.16 ok: active",
        "disk 0a.17 ok: active",
        "enclosure 1 ok: active",
        "power supply shelf 1 1 ok: ok",
        "power supply shelf 1 2 ok: ok",
        "fan shelf 1 1 ok: ok",
        "fan shelf 1 2 ok: ok",
        "sensor shelf 1 1 ok: normal",
        "sensor shelf 1 2 ok: normal",
        "sensor shelf 1 3 ok: normal",
        "pool aggr0 ok: online",
        "volume vol0 ok: online",
        "replication far:vol1 to near:vol1 ok: snapmirrored",
        "replication near:vol2 to far:vol2 ok: source",
    ]
    assert array.rooms == [
        Room("pool", "aggr0", 1000 * 1024, 850 * 1024),
        Room("volume", "vol0", 600 * 1024, 300 * 1024),
        Room("inodes", "vol0", 500, 20),
    ]
    assert array.speeds == [Speed("", None, COLLECTING, COLLECTING)]


def test_a_cluster_that_is_well() -> None:
    array = ask(CLUSTER)
    assert (bad(array), array.lost) == ([], [])
    shown = [f"{part.of} {part.health}: {part.text}" for part in array.parts]
    assert [line for line in shown if "n1" in line] == [
        "controller n1 ok: in the cluster",
        "battery n1 NVRAM ok: ok",
        "sensor n1 temperature ok: not too hot",
        "fan n1 all ok: none failed",
        "power supply n1 all ok: none failed",
        "system n1 takeover ok: canTakeover",
        "system n1 partner ok: ok",
        "port n1 interconnect ok: up",
        "port n1 e0a ok: up",
        "port n1 e0b absent: switched off by its administrator",
    ]
    assert "disk others ok: 4 of 4 have not failed" in shown
    assert "volume svm1:vol0 ok: online" in shown
    assert [room.name for room in array.rooms] == ["aggr0", "svm1:vol0", "svm1:vol0"]
    assert array.rates[0][2] == {"nfs": 5 * 2**32 + 6, "cifs": 7 * 2**32 + 8, "http": 9 * 2**32 + 10}


WORDS = [
    (FILER, "1.5.7.1.0", "system file systems", netapp.FILL, {1: "ok", 2: "degraded", 3: "failed"}),
    (FILER, "1.2.4.1.0", "sensor temperature", netapp.HOT, {1: "ok", 2: "failed"}),
    (FILER, "1.2.5.1.0", "battery NVRAM", netapp.BATTERY,
     {1: "ok", 2: "degraded", 3: "failed", 4: "failed", 5: "degraded", 6: "failed", 7: "unknown", 8: "degraded", 9: "ok"}),
    (FILER, "1.2.3.2.0", "system takeover", netapp.TAKEOVER, {1: "failed", 2: "ok", 3: "failed", 4: "degraded", 5: "degraded"}),
    (FILER, "1.2.3.4.0", "system partner", netapp.PARTNER, {1: "degraded", 2: "ok", 3: "failed"}),
    (FILER, "1.2.3.8.0", "port interconnect", netapp.INTERCONNECT, {1: "absent", 2: "failed", 3: "degraded", 4: "ok"}),
    (FILER, "1.2.7.1.0", "alert autosupport", netapp.SUPPORT, {1: "ok", 2: "degraded", 3: "degraded", 4: "degraded", 5: "ok"}),
    (FILER, "1.6.2.1.3.1.1.1", "disk 0a.16", netapp.RAID,
     {1: "ok", 2: "rebuilding", 3: "rebuilding", 4: "ok", 5: "ok", 6: "failed", 9: "degraded", 10: "failed"}),
    (FILER, "1.21.1.2.1.2.1", "enclosure 1", netapp.SHELF_CONTACT,
     {1: "degraded", 2: "degraded", 3: "ok", 4: "failed", 5: "degraded", 6: "failed"}),
    (FILER, "1.9.20.1.5.1", "replication far:vol1 to near:vol1", netapp.MIRROR_STATE,
     {1: "failed", 2: "ok", 3: "failed", 4: "degraded", 5: "ok", 6: "unknown"}),
    (CLUSTER, "1.29.1.1.6.1", "replication svm1:a to svm2:a", netapp.RELATION_STATE, {0: "failed", 1: "ok", 2: "failed"}),
    (CLUSTER, "1.25.2.1.11.110.49", "controller n1", netapp.NODE_HEALTH, {0: "failed", 1: "ok"}),
    (CLUSTER, "1.21.2.1.4.110.49", "system n1 takeover", netapp.TAKEOVER,
     {1: "failed", 2: "ok", 3: "failed", 4: "degraded", 5: "degraded"}),
    (CLUSTER, "1.22.2.1.4.1.1", "port n1 e0a", netapp.LINK, {0: "unknown", 1: "failed", 2: "ok", 3: "failed"}),
]  # fmt: skip


@pytest.mark.parametrize(("values", "column", "of", "words", "healths"), WORDS, ids=[word[1] for word in WORDS])
def test_every_word_of_every_enumeration(
    values: Mapping[str, Any], column: str, of: str, words: Any, healths: Mapping[int, str]
) -> None:
    assert {value: said[0] for value, said in words.items()} == healths
    assert set(healths.values()) <= set(HEALTH)
    worst = next(value for value in healths if healths[value] in ("failed", "degraded"))
    part = next(part for part in ask({**values, f"{N}.{column}": worst}, "health").parts if part.of == of)
    assert part.health == healths[worst]
    assert part.text.startswith(words[worst][1])
    unknown = [part for part in changed(column, 77, of=values) if part.of == of]
    assert [part[2:] for part in unknown] == [("unknown", "state 77")]
    if column not in ("1.2.3.8.0", "1.2.7.1.0"):  # not every filer has those
        unknown = [part for part in changed(column, None, of=values) if part.of == of]
        assert [part.health for part in unknown] == ["unknown"]


def test_the_global_status_with_its_message() -> None:
    assert netapp.GLOBAL == {
        1: "degraded", 2: "unknown", 3: "ok", 4: "degraded", 5: "failed", 6: "failed",
    }  # fmt: skip
    said = "Disk 0a.23 is broken."
    assert changed("1.2.2.4.0", 6, "1.2.2.25.0", said) == [Part("system", "", "failed", f"nonRecoverable: {said}")]
    assert changed("1.2.2.4.0", 4, "1.2.2.25.0", "") == [Part("system", "", "degraded", "nonCritical")]
    assert changed("1.2.2.4.0", 9, "1.2.2.25.0", "") == [Part("system", "", "unknown", "state 9")]
    assert changed("1.2.2.4.0", None, "1.2.2.25.0", "") == [Part("system", "", "unknown", "no state is told")]
    assert changed("1.5.7.1.0", 3, "1.5.7.2.0", "/vol/vol0 is full") == [
        Part("system", "file systems", "failed", "full: /vol/vol0 is full")
    ]


def test_fans_and_supplies_are_counted() -> None:
    assert changed("1.2.4.2.0", 1, "1.2.4.3.0", "Fan 2 stopped") == [
        Part("fan", "all", "degraded", "1 failed: Fan 2 stopped")
    ]
    assert changed("1.2.4.2.0", 2) == [Part("fan", "all", "failed", "2 failed")]
    assert changed("1.2.4.4.0", 1) == [Part("power supply", "all", "degraded", "1 failed")]
    assert changed("1.2.4.4.0", None) == [Part("power supply", "all", "unknown", "it is not told how many failed")]
    assert changed("1.25.2.1.21.110.50", 2, of=CLUSTER) == [Part("power supply", "n2 all", "failed", "2 failed")]


def test_takeover_with_its_cause() -> None:
    assert changed("1.2.3.2.0", 3, "1.2.3.3.0", 4) == [
        Part("system", "takeover", "failed", "cannotTakeover: interconnectOffline")
    ]
    assert changed("1.2.3.1.0", 3) == [Part("system", "takeover", "degraded", "canTakeover, disabled")]
    assert changed("1.2.3.2.0", 3, "1.2.3.3.0", 99)[0].text == "cannotTakeover: cause 99"
    assert changed("1.21.2.1.4.110.50", 3, "1.21.2.1.5.110.50", 13, of=CLUSTER) == [
        Part("system", "n2 takeover", "failed", "cannotTakeover: diskshelfIsTooHot")
    ]
    assert [len(causes) for causes in (netapp.CF_CAUSES, netapp.HA_CAUSES)] == [18, 19]
    single = {**FILER, f"{N}.1.2.3.1.0": 1, f"{N}.1.2.3.2.0": 1, f"{N}.1.2.3.4.0": 3, f"{N}.1.2.3.8.0": 1}
    assert bad(ask(single, "health")) == []  # no partner was ever meant


def test_failed_disks_are_in_no_table() -> None:
    said = "Disk 0a.23 failed"
    assert changed("1.6.4.7.0", 1, "1.6.4.10.0", said) == [Part("disk", "failed 1", "failed", said)]
    assert changed("1.6.4.7.0", 2) == [Part("disk", f"failed {number}", "failed", "2 failed") for number in (1, 2)]
    assert changed("1.6.4.7.0", 1, "1.6.2.1.3.1.1.1", 6) == [Part("disk", "0a.16", "failed", "failed")]  # the same one
    assert changed("1.6.4.11.0", 1, of=CLUSTER) == [
        Part("disk", "prefailed", "degraded", "1 are copied to a spare before they fail")
    ]
    array = ask({**FILER, f"{N}.1.6.4.7.0": None, f"{N}.1.6.4.8.0": None}, "health")
    assert [(failed.kind, failed.of, failed.error) for failed in array.lost] == [
        (UNREADABLE, "disk", "it is not told how many failed")
    ]
    assert array.spares is None


@pytest.mark.parametrize(
    ("state", "status", "health", "text"),
    [
        ("online", "normal", "ok", "online"),
        ("online", "raid_dp, reconstruct", "rebuilding", "online, reconstruct"),
        ("online", "raid_dp, degraded, reconstruct", "degraded", "online, degraded, reconstruct"),
        ("online", "double degraded", "failed", "online, double degraded"),
        ("Online", "Mirror Degraded", "degraded", "online, mirror degraded"),
        ("offline", "", "failed", "offline"),
        ("restricted", "normal", "degraded", "restricted"),
        ("failed", "partial", "failed", "failed, partial"),
        ("beamed up", "normal", "unknown", "beamed up"),
        ("online", "bewitched", "unknown", "online, bewitched"),
        ("", "normal", "unknown", "no state is told"),
    ],
)
def test_aggregates_and_volumes(state: str, status: str, health: str, text: str) -> None:
    for entry, kind, of in (("1.5.11.1", "pool", "aggr0"), ("1.5.8.1", "volume", "vol0")):
        array = ask({**FILER, f"{N}.{entry}.5.1": state, f"{N}.{entry}.6.1": status}, "health")
        assert [part for part in array.parts if part.kind == kind] == [Part(kind, of, health, text)]


def test_every_word_of_containers_is_ours() -> None:
    assert set(netapp.STATES.values()) | set(netapp.STATUS.values()) <= set(HEALTH)


def test_shelves_by_their_lists_of_numbers() -> None:
    assert changed("1.21.1.2.1.15.1", "2") == [Part("power supply", "shelf 1 2", "failed", "failed")]
    assert changed("1.21.1.2.1.18.1", "1, 3") == [
        Part("fan", f"shelf 1 {number}", "failed", "failed") for number in (1, 3)
    ]
    for column, health, text in (
        (21, "failed", "too hot"),
        (22, "degraded", "hot"),
        (23, "failed", "too cold"),
        (24, "degraded", "cold"),
    ):
        assert changed(f"1.21.1.2.1.{column}.1", "3") == [Part("sensor", "shelf 1 3", health, text)]
    assert changed("1.21.1.2.1.15.1", "none") == []
    assert changed("1.21.1.2.1.15.1", "left") == [Part("power supply", "shelf 1 left", "failed", "failed")]


def test_a_column_that_is_hidden_is_no_list_without_faults() -> None:
    for column, kind in ((13, "power supply"), (15, "power supply"), (17, "fan"), (18, "fan")):
        assert changed(f"1.21.1.2.1.{column}.1", None) == [
            Part(kind, "shelf 1", "unknown", "it is not told which failed")
        ]
    for column in (21, 22, 23, 24):
        assert changed(f"1.21.1.2.1.{column}.1", None) == [
            Part("sensor", "shelf 1", "unknown", "it is not told which are too hot or too cold")
        ]
    for entry, kind, of in (("1.5.11.1", "pool", "aggr0"), ("1.5.8.1", "volume", "vol0")):
        assert changed(f"{entry}.6.1", None) == [Part(kind, of, "unknown", "online, no status is told")]


def test_takeover_that_is_hidden() -> None:
    for values in (without("1.2.3"), without("1.21.2", of=CLUSTER)):
        lost = ask(values, "health").lost
        assert [(failed.kind, failed.of, failed.error) for failed in lost] == [
            (UNREADABLE, "takeover", "it tells nothing")
        ]
    one = {oid: value for oid, value in without("1.21.2", of=CLUSTER).items() if not oid.endswith(".110.50")}
    assert ask(one, "health").lost == []  # a single node


def test_an_address_that_shows_no_aggregates() -> None:
    for hidden, kinds in (("1.5.4.1.23.1", ["pool"]), ("1.5.4.1.23.3", [])):
        values = {**CLUSTER, f"{N}.{hidden}": 2, f"{N}.1.5.4.1.23.2": 2}
        assert [failed.of for failed in ask(values, "capacity").lost] == kinds


def test_shelves_that_are_hidden() -> None:
    for number, kinds in ((2, ["enclosure"]), (0, []), (None, [])):
        lost = ask({**without("1.21"), f"{N}.1.21.1.1.0": number}, "health").lost
        assert [failed.of for failed in lost] == kinds


def test_ports_of_a_cluster() -> None:
    assert changed("1.22.2.1.30.1.1", 1, of=CLUSTER) == [Part("port", "n1 e0a", "degraded", "up, degraded")]
    assert changed("1.22.2.1.30.1.1", 7, of=CLUSTER) == [Part("port", "n1 e0a", "unknown", "up, health 7")]
    assert changed("1.22.2.1.14.1.2", 1, of=CLUSTER) == [Part("port", "n1 e0b", "failed", "down")]
    assert changed("1.22.2.1.14.1.1", 5, of=CLUSTER) == [Part("port", "n1 e0a", "unknown", "up, upAdmin 5")]


def test_mirrors_that_lag() -> None:
    assert changed("1.9.20.1.6.1", ticks(100 * 5400)) == [
        Part("replication", "far:vol1 to near:vol1", "degraded", "snapmirrored, lags by 1.5 h")
    ]
    assert changed("1.9.20.1.6.1", ticks(100 * 25200))[0][2:] == ("failed", "snapmirrored, lags by 7.0 h")
    assert changed("1.9.20.1.6.1", None)[0][2:] == ("unknown", "snapmirrored, its lag is not told")
    assert changed("1.29.1.1.16.1", 0, "1.29.1.1.17.1", "Transfer failed.", of=CLUSTER) == [
        Part("replication", "svm1:a to svm2:a", "failed", "snapmirrored, not healthy: Transfer failed.")
    ]
    assert changed("1.29.1.1.16.1", 5, of=CLUSTER)[0][2:] == ("unknown", "snapmirrored, healthy 5")
    off = ask({**FILER, f"{N}.1.9.1.0": 1}, "health")
    assert not any(part.kind == "replication" for part in off.parts)


def test_a_node_that_is_cut_off_tells_nothing() -> None:
    values = {**CLUSTER, f"{N}.1.25.2.1.11.110.50": 0}
    for column in (17, 18, 19, 20, 21, 22):
        del values[f"{N}.1.25.2.1.{column}.110.50"]
    assert bad(ask(values, "health")) == [Part("controller", "n2", "failed", "does not communicate with the cluster")]


def without(*below: str, of: Mapping[str, Any] = FILER) -> dict[str, Any]:
    return {oid: value for oid, value in of.items() if not any(f"{oid}.".startswith(f"{N}.{part}.") for part in below)}


def test_what_is_hidden_is_not_well() -> None:
    array = ask(without("1"))
    assert [part[2] for part in array.parts] == ["unknown", "unknown"]  # the whole, and its file systems
    assert [failed.of for failed in array.lost] == ["sensor", "takeover", "disk", "pool", "pool", "system"]
    assert (array.rooms, array.spares) == ([], None)
    assert "port" in [failed.of for failed in ask(without("1.22", of=CLUSTER), "health").lost]


def test_a_table_that_is_refused_leaves_the_rest() -> None:
    def refuse(wanted: Any) -> int:
        return 16 if any(oid[: len(numbers(f"{N}.1.5.11"))] == numbers(f"{N}.1.5.11") for oid in wanted) else 0

    array = ask(FILER, "health", error=refuse)
    assert [(failed.kind, failed.of) for failed in array.lost] == [(NOT_ALLOWED, "pool")]
    assert {"disk", "volume", "replication"} <= {part.kind for part in array.parts}


def test_room_of_what_is_off_line_is_no_room() -> None:
    values = {**CLUSTER, f"{N}.1.5.4.1.35.3": 0}
    assert [room.of for room in ask(values, "capacity").rooms] == ["pool aggr0"]
    assert ask({**FILER, f"{N}.1.5.4.1.30.1": None}, "capacity").rooms[0] == Room("pool", "aggr0", 1000 * 1024, None)


def test_load_between_two_runs() -> None:
    first = ask(FILER, "performance")
    later = {**FILER, f"{N}.1.2.2.27.0": counter64(27_000 + 3000), f"{N}.1.2.2.32.0": counter64(32_000 + 600_000)}
    (speed,) = ask(later, "performance", run=Run(30.0, {"rates": first.rates}, clock=Clock(shift=300))).speeds
    assert speed.latency is None
    assert speed.iops == pytest.approx(10.0, rel=0.02)
    assert speed.throughput == pytest.approx(2000.0, rel=0.02)
    reset = {**FILER, f"{N}.1.2.2.27.0": counter64(3)}
    (speed,) = ask(reset, "performance", run=Run(30.0, {"rates": first.rates}, clock=Clock(shift=300))).speeds
    assert speed.iops is COLLECTING


def test_another_product_and_a_word_of_greeting() -> None:
    with Agent(FILER, product="1.3.6.1.4.1.12740.17.1", description="EqualLogic") as agent:
        place = Place("127.0.0.1", agent.port, community="public")
        for asked in (lambda: netapp.look(Run(), place, ALL), lambda: netapp.greet(Run(), place)):
            with pytest.raises(Failed) as caught:
                asked()
            assert caught.value.error == "it answers as EqualLogic (sysObjectID 1.3.6.1.4.1.12740.17.1): no NetApp"
    with Agent(FILER, product=f"{N}.2.5", description="NetApp Release 9.5: today") as agent:
        assert netapp.greet(Run(), Place("127.0.0.1", agent.port, community="public")) == "NetApp Release 9.5"


def test_values_of_any_type_are_no_traceback() -> None:
    for values in (FILER, CLUSTER):
        for odd in (b"\xff\x00", "text", gauge(2**32 - 1), None):
            array = ask(dict.fromkeys(values, odd))
            assert not [part for part in array.parts if part.kind in ("disk", "pool", "volume") and part.health == "ok"]


def test_five_hundred_disks_and_two_thousand_volumes() -> None:
    values = dict(FILER)
    values.update(table(f"{N}.1.6.2.1", {f"1.1.{disk}": {2: f"0a.{disk}", 3: 1} for disk in range(1, 501)}))
    for volume in range(1, 2001):
        values.update(table(f"{N}.1.5.8.1", {str(volume): {2: f"v{volume}", 5: "online", 6: "normal", 14: "svm"}}))
        room = (f"/vol/v{volume}/", 500, 20, 2, counter64(600), counter64(300), "svm", 1)
        values.update(table(f"{N}.1.5.4.1", {str(volume + 10): dict(zip((2, 11, 12, 23, 29, 30, 34, 35), room))}))
    with Agent(values, product=f"{N}.2.1", size=9000) as agent:
        tracemalloc.start()
        try:
            array = netapp.look(Run(90.0), Place("127.0.0.1", agent.port, community="public"), ALL)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert sum(part.kind == "disk" for part in array.parts) == 500
        assert sum(part.kind == "volume" for part in array.parts) == 2000
        assert sum(room.kind == "volume" for room in array.rooms) == 2001
        assert agent.requests < 300
        assert peak < 30e6
