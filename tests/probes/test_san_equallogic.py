# SPDX-License-Identifier: Apache-2.0
"""An EqualLogic group of two members, as Dell's MIBs say it answers; each part goes bad once.

OIDs and enumerations: EQLMEMBER-MIB, EQLDISK-MIB, EQLCONTROLLER-MIB, EQLSTORAGEPOOL-MIB, EQLVOLUME-MIB; the values are ours.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Collecting, Failed, Run
from nephoscope.checks.storage.check_san_health import CHECK
from nephoscope.probes import san_equallogic as eql
from nephoscope.probes.san import HEALTH, Array, Part, Place, Room, Speed

from tests.simulators.snmp_agent import Agent, counter32, counter64, gauge, numbers

E = "1.3.6.1.4.1.12740"
MIB = 1 << 20
ALL = ("health", "capacity", "performance")


def group(disks: int = 3, volumes: int = 2) -> dict[str, Any]:
    """Return the answers of a group in which all is well."""
    values: dict[str, Any] = {}
    for member, name in ((1, "m1"), (2, "m2")):
        at = f"1.{member}"
        values.update(
            {
                f"{E}.2.1.1.1.9.{at}": name,
                f"{E}.2.1.4.1.2.{at}": 1,
                f"{E}.2.1.5.1.1.{at}": 1,
                f"{E}.2.1.5.1.2.{at}": bytes(4),
                f"{E}.2.1.5.1.3.{at}": bytes(4),
                f"{E}.2.1.13.1.1.{at}": 1,
                f"{E}.2.1.13.1.2.{at}": 0,
                f"{E}.2.1.13.1.3.{at}": 2,
                f"{E}.2.1.8.1.2.{at}.1": "Power Cooling Module 0",
                f"{E}.2.1.8.1.3.{at}.1": 1,
                f"{E}.2.1.8.1.4.{at}.1": 1,
            }
        )
        for kind, what, value, limits in (
            (6, "Backplane Sensor 0", 27, (50, 45, 1, 5)),
            (7, "EMM Fan 0", 4500, (9000, 8000, 2000, 2500)),
        ):
            for column, given in zip(range(2, 9), (what, value, 1, *limits)):
                values[f"{E}.2.1.{kind}.1.{column}.{at}.1"] = given
        for disk in range(1, disks + 1):
            given = (2 if disk == disks else 1, counter32(0), disk - 1, 1)
            values.update({f"{E}.3.1.1.1.{c}.{at}.{disk}": v for c, v in zip((8, 9, 11, 17), given)})
        for controller in (1, 2):
            given = ("V10.0.3 (R471082)", 1, controller, 1)
            values.update({f"{E}.4.1.1.1.{c}.{at}.{controller}": v for c, v in zip((4, 5, 9, 32), given)})
        for column in (2, 3, 6, 7, 8, 9):
            values[f"{E}.2.1.12.1.{column}.{at}"] = counter64(1000 * column)
    values[f"{E}.16.1.1.1.3.1.1"] = "default"
    for column, value in ((1, 1000), (2, 400), (20, 2500)):
        values[f"{E}.16.1.2.1.{column}.1.1"] = counter64(value)
    values.update({f"{E}.16.1.2.1.7.1.1": 2, f"{E}.16.1.2.1.8.1.1": 2, f"{E}.16.1.2.1.24.1.1": 12})
    for volume in range(1, volumes + 1):
        at = f"7.{volume}"
        values.update(
            {f"{E}.5.1.7.1.1.4.{at}": f"vol{volume}", f"{E}.5.1.7.1.1.9.{at}": 1, f"{E}.5.1.7.1.1.12.{at}": 2}
        )
        values.update({f"{E}.5.1.7.7.1.8.{at}": 1, f"{E}.5.1.7.7.1.2.{at}": 100, f"{E}.5.1.7.7.1.3.{at}": 5})
    return values


GROUP = group()


def ask(values: Mapping[str, Any], *modes: str, run: Run | None = None, **faults: Any) -> Array:
    with Agent(values, product=f"{E}.17.1", description="EqualLogic Storage Array", **faults) as agent:
        return eql.look(run or Run(30.0), Place("127.0.0.1", agent.port, community="public"), modes or ALL)


def bad(array: Array) -> list[Part]:
    return [part for part in array.parts if part.health not in ("ok", "spare", "absent")]


def changed(column: str, value: Any) -> list[Part]:
    assert f"{E}.{column}" in GROUP
    return bad(ask({**GROUP, f"{E}.{column}": value}, "health"))


def test_a_group_that_is_well() -> None:
    array = ask(GROUP)
    assert array.product == "EqualLogic group of 2 members, firmware V10.0.3 (R471082)"
    assert bad(array) == []
    assert array.lost == []
    assert array.spares == 1
    assert [part for part in array.parts if part.name.startswith("m1") or part.kind in ("volume", "port") or part.name == "default"] == [
        Part("enclosure", "m1", "ok", "on-line"),
        Part("system", "m1", "ok", ""),
        Part("pool", "m1 RAID", "ok", "ok"),
        Part("sensor", "m1 Backplane Sensor 0", "ok", "27 °C"),
        Part("fan", "m1 EMM Fan 0", "ok", "4500 rpm"),
        Part("power supply", "m1 Power Cooling Module 0", "ok", "on-and-operating"),
        Part("disk", "m1 0", "ok", "on-line"),
        Part("disk", "m1 1", "ok", "on-line"),
        Part("disk", "m1 2", "spare", "spare"),
        Part("controller", "m1 1", "ok", "primary"),
        Part("battery", "m1 1 cache", "ok", "ok"),
        Part("battery", "m1 1 NVRAM", "ok", "good"),
        Part("controller", "m1 2", "ok", "secondary"),
        Part("battery", "m1 2 cache", "ok", "ok"),
        Part("battery", "m1 2 NVRAM", "ok", "good"),
        Part("pool", "default", "ok", "2 of 2 members online"),
        Part("port", "iSCSI of pool default", "ok", "12 of 1024 connections"),
        Part("volume", "vol1", "ok", "available"),
        Part("volume", "vol2", "ok", "available"),
    ]  # fmt: skip
    assert array.rooms == [Room("pool", "default", 1000 * MIB, 400 * MIB, 2500 * MIB)]
    assert array.speeds == [Speed(name, COLLECTING, COLLECTING, COLLECTING) for name in ("m1", "m2")]


WORDS = [
    ("2.1.4.1.2.1.1", "enclosure", "m1", eql.STATUS, {1: "ok", 2: "failed", 3: "degraded", 4: "degraded"}),
    ("2.1.13.1.1.1.1", "pool", "m1 RAID", eql.RAID,
     {1: "ok", 2: "degraded", 3: "ok", 4: "rebuilding", 5: "failed", 6: "failed", 7: "ok", 8: "ok"}),
    ("2.1.8.1.3.1.1.1", "power supply", "m1 Power Cooling Module 0", eql.SUPPLY, {1: "ok", 2: "failed", 3: "failed"}),
    ("3.1.1.1.8.1.1.1", "disk", "m1 0", eql.DISK,
     {1: "ok", 2: "spare", 3: "failed", 4: "failed", 5: "degraded", 6: "degraded", 7: "degraded", 8: "degraded", 9: "failed",
      10: "degraded", 11: "ok", 12: "degraded", 13: "failed"}),
    ("4.1.1.1.5.1.1.1", "battery", "m1 1 cache", eql.BATTERY,
     {1: "ok", 2: "failed", 3: "ok", 4: "degraded", 5: "degraded", 6: "failed"}),
    ("4.1.1.1.32.1.1.1", "battery", "m1 1 NVRAM", eql.NVRAM_BATTERY, {0: "absent", 1: "ok", 2: "failed", 3: "unknown"}),
    ("5.1.7.7.1.8.7.1", "volume", "vol1", eql.OPER,
     {1: "ok", **dict.fromkeys((2, 3, 4, 5, 6, 7, 8, 9, 11), "failed"), 10: "degraded"}),
]  # fmt: skip


@pytest.mark.parametrize(("column", "kind", "name", "table", "healths"), WORDS, ids=[word[0] for word in WORDS])
def test_every_word_of_every_enumeration(
    column: str, kind: str, name: str, table: Any, healths: Mapping[int, str]
) -> None:
    assert {value: said[0] for value, said in table.items()} == healths
    assert set(healths.values()) <= set(HEALTH)
    worst = max(healths, key=lambda value: healths[value] == "failed")
    part = next(part for part in ask({**GROUP, f"{E}.{column}": worst}, "health").parts if part[:2] == (kind, name))
    assert part.health == healths[worst]
    assert part.text.startswith(table[worst][1])
    unknown = next(part for part in changed(column, 77) if part[:2] == (kind, name))
    assert unknown == Part(kind, name, "unknown", "state 77")
    gone = {oid: value for oid, value in GROUP.items() if oid != f"{E}.{column}"}
    parts = [part for part in ask(gone, "health").parts if part[:2] == (kind, name)]
    # Older controllers have no such batteries; of all others a state that is not told is not known.
    assert parts == ([] if kind == "battery" else [Part(kind, name, "unknown", "no state is told")])


def test_the_members_own_opinion() -> None:
    assert changed("2.1.5.1.1.1.1", 0) == [Part("system", "m1", "unknown", "state 0")]
    assert changed("2.1.5.1.1.1.1", 2) == [Part("system", "m1", "degraded", "warning")]
    assert changed("2.1.5.1.1.1.1", 3) == [Part("system", "m1", "failed", "critical")]
    assert changed("2.1.5.1.1.1.1", 9) == [Part("system", "m1", "unknown", "state 9")]
    # Conditions count even where the opinion is "normal": bit 0 is the highest of the first octet.
    assert changed("2.1.5.1.2.1.1", b"\x40\x02\x00\x00") == [
        Part("system", "m1", "degraded", "powerSupplyRemoved, powerSupplyFailed")
    ]
    assert changed("2.1.5.1.3.1.1", b"\x80\x00\x00\x01") == [
        Part("system", "m1", "failed", "raidSetDoubleFaulted, batteryEndOfLife")
    ]
    assert changed("2.1.5.1.3.1.1", bytes(4) + b"\x80") == [Part("system", "m1", "failed", "condition 32")]


def test_every_condition_has_its_name() -> None:
    assert (len(eql.WARNINGS), len(eql.CRITICALS)) == (32, 32)
    assert [eql.WARNINGS[bit] for bit in (2, 14, 22, 31)] == [
        "controlModuleRemoved", "powerSupplyFailed", "raidMoreSparesExpected", "batteryEndOfLifeWarning",
    ]  # fmt: skip
    assert [eql.CRITICALS[bit] for bit in (0, 10, 22, 31)] == [
        "raidSetDoubleFaulted", "nVRAMBatteryFailed", "c2fPowerModuleFailureCondition", "batteryEndOfLife",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value", "health", "text"),
    [
        ("2.1.6.1.4.1.1.1", 2, "degraded", "27 °C, warning"),
        ("2.1.6.1.4.1.1.1", 3, "failed", "27 °C, critical"),
        ("2.1.6.1.4.1.1.1", 0, "unknown", "27 °C, state unknown"),
        ("2.1.6.1.4.1.1.1", 5, "unknown", "27 °C, ?"),
        ("2.1.6.1.3.1.1.1", 45, "degraded", "45 °C"),  # its own limits, though its state says normal
        ("2.1.6.1.3.1.1.1", 50, "failed", "50 °C"),
        ("2.1.6.1.3.1.1.1", 5, "degraded", "5 °C"),
        ("2.1.6.1.3.1.1.1", 0, "failed", "0 °C"),
        ("2.1.6.1.3.1.1.1", None, "unknown", "no value is told"),
        ("2.1.7.1.4.1.1.1", 3, "failed", "4500 rpm, critical"),
        ("2.1.7.1.3.1.1.1", 2400, "degraded", "2400 rpm"),
        ("2.1.7.1.3.1.1.1", 0, "failed", "0 rpm"),
        ("2.1.7.1.3.1.1.1", 9100, "failed", "9100 rpm"),
    ],
)
def test_sensors_by_state_and_by_their_own_limits(column: str, value: Any, health: str, text: str) -> None:
    assert [part[2:] for part in changed(column, value)] == [(health, text)]


def test_a_sensor_without_limits() -> None:
    values = {f"{E}.2.1.6.1.{column}.1.1.1": 0 for column in (5, 6, 7, 8)}
    assert bad(ask({**GROUP, **values}, "health")) == []


def test_the_rest_of_the_parts() -> None:
    assert changed("2.1.8.1.4.1.1.1", 2) == [
        Part("power supply", "m1 Power Cooling Module 0", "degraded", "on-and-operating, its fan does not turn")
    ]
    assert changed("2.1.8.1.4.1.1.1", 7)[0][2:] == ("unknown", "on-and-operating, fan state 7")
    assert changed("2.1.13.1.3.1.1", 1) == [Part("pool", "m1 RAID", "degraded", "ok, blocks are lost")]
    assert changed("3.1.1.1.17.1.1.2", 2) == [Part("disk", "m1 1", "degraded", "on-line, SMART tripped")]
    assert changed("3.1.1.1.17.1.1.2", 5) == [Part("disk", "m1 1", "unknown", "on-line, SMART state 5")]
    assert changed("16.1.2.1.7.1.1", 1) == [Part("pool", "default", "failed", "1 of 2 members online")]
    assert changed("16.1.2.1.7.1.1", None) == [
        Part("pool", "default", "unknown", "it is not told how many members are online")
    ]
    assert changed("16.1.2.1.24.1.1", 820) == [
        Part("port", "iSCSI of pool default", "degraded", "820 of 1024 connections")
    ]
    assert changed("4.1.1.1.9.1.1.2", 3) == [
        Part("controller", "m1 2", "unknown", "state 3"),
        Part("controller", "m1 secondary", "failed", "no secondary controller is there"),
    ]


def test_a_rebuild_with_its_progress_and_a_bad_disk_with_its_errors() -> None:
    values = {
        f"{E}.2.1.13.1.1.1.1": 4,
        f"{E}.2.1.13.1.2.1.1": 37,
        f"{E}.3.1.1.1.8.1.1.1": 7,
        f"{E}.3.1.1.1.9.1.1.1": counter32(12),
    }
    assert bad(ask({**GROUP, **values}, "health")) == [
        Part("pool", "m1 RAID", "rebuilding", "reconstructing 37 %"),
        Part("disk", "m1 0", "degraded", "history-of-failures, 12 errors"),
    ]


def test_a_volume_that_its_administrator_took_off_line() -> None:
    values = {f"{E}.5.1.7.1.1.9.7.1": 2, f"{E}.5.1.7.7.1.8.7.1": 2}
    parts = ask({**GROUP, **values}, "health").parts
    assert Part("volume", "vol1", "ok", "offline, as its administrator set it") in parts
    assert changed("5.1.7.1.1.9.7.1", 3) == [Part("volume", "vol1", "degraded", "available, online-lost-cached-blocks")]
    assert changed("5.1.7.1.1.9.7.1", 8) == [Part("volume", "vol1", "unknown", "available, state 8 was set")]


def without(*below: str) -> dict[str, Any]:
    return {
        oid: value for oid, value in GROUP.items() if not any(f"{oid}.".startswith(f"{E}.{part}.") for part in below)
    }


def of_member_2(oid: str) -> bool:
    parts = numbers(oid)[len(numbers(E)) :]
    columns = {2: 4, 3: 4, 4: 4}.get(parts[0])
    return columns is not None and parts[columns + 1 : columns + 3] == (1, 2)


def test_a_member_that_is_off_line_tells_nothing_of_itself() -> None:
    values = {oid: value for oid, value in GROUP.items() if not of_member_2(oid)}
    assert len(values) < len(GROUP)
    values.update({f"{E}.2.1.1.1.9.1.2": "m2", f"{E}.2.1.4.1.2.1.2": 2, f"{E}.16.1.2.1.7.1.1": 1})
    array = ask(values, "health")
    assert bad(array) == [
        Part("enclosure", "m2", "failed", "off-line"),
        Part("pool", "default", "failed", "1 of 2 members online"),
    ]
    assert array.spares == 1


def test_a_member_that_is_on_line_and_shows_no_disks() -> None:
    # The table is not empty: the other member's are there.
    for below, kind, table in (("3", "disk", "eqlDiskTable"), ("4", "controller", "eqlControllerTable")):
        values = {
            oid: value
            for oid, value in GROUP.items()
            if not (oid.startswith(f"{E}.{below}.1.1.1.") and of_member_2(oid))
        }
        lost = ask(values, "health").lost
        assert [(failed.kind, failed.of, failed.error) for failed in lost] == [
            (UNREADABLE, f"{kind} of m2", "none is told")
        ]
        assert lost[0].tried.endswith(f" for {table}")


def test_lost_blocks() -> None:
    assert changed("2.1.13.1.3.1.1", 1) == [Part("pool", "m1 RAID", "degraded", "ok, blocks are lost")]
    assert changed("2.1.13.1.3.1.1", 7) == [Part("pool", "m1 RAID", "unknown", "ok, lost blocks 7")]


def test_a_member_that_vanished_is_not_in_the_answer() -> None:
    array = ask({oid: value for oid, value in GROUP.items() if not of_member_2(oid)}, "health")
    assert array.product.startswith("EqualLogic group of 1 member,")
    assert {part.of for part in array.parts if part.kind == "enclosure"} == {"enclosure m1"}  # so that it is missed
    # Who never saw it has the word of the pools, which still count it.
    assert [(failed.kind, failed.of, failed.error) for failed in array.lost] == [
        (UNREADABLE, "members", "the pools have 2, and 1 is told")
    ]


def test_spares_of_the_member_that_has_fewest() -> None:
    assert ask({**GROUP, f"{E}.3.1.1.1.8.1.2.3": 1}, "health").spares == 0
    assert ask(without("3.1.1"), "health").spares is None


def test_a_table_that_is_hidden_is_no_table_without_faults() -> None:
    for below, kinds in (
        ("2.1.6", ["sensor"]), ("2.1.7", ["fan"]), ("2.1.8", ["power supply"]), ("3.1.1", ["disk"]), ("4.1.1", ["controller"]),
        ("16.1", ["pool"]), ("5.1.7", []),
    ):  # fmt: skip
        lost = ask(without(below), "health").lost
        assert [(failed.kind, failed.of, failed.error) for failed in lost] == [
            (UNREADABLE, kind, "it is empty") for kind in kinds
        ]
    with pytest.raises(Failed) as caught:
        ask(without("2"), "health")
    assert caught.value.error == "the group has no member"


def test_a_table_that_is_refused_leaves_the_rest() -> None:
    def refuse(wanted: Any) -> int:
        return 16 if any(oid[: len(numbers(f"{E}.3"))] == numbers(f"{E}.3") for oid in wanted) else 0

    array = ask(GROUP, "health", error=refuse)
    assert [(failed.kind, failed.of, failed.error) for failed in array.lost] == [
        (NOT_ALLOWED, "disk", "authorizationError")
    ]
    assert {"fan", "controller", "volume"} <= {part.kind for part in array.parts}
    assert array.spares is None


def test_an_agent_that_goes_silent_in_the_middle() -> None:
    array = ask(GROUP, "health", silent=4, run=Run(4.0))
    assert {failed.kind for failed in array.lost} == {UNREACHABLE}
    assert {failed.of for failed in array.lost} >= {"disk", "controller", "volume"}


def test_reserves_whose_end_stops_something() -> None:
    values = {f"{E}.5.1.7.1.1.12.7.1": 1, f"{E}.5.1.7.1.1.12.7.2": 3, f"{E}.5.1.7.7.1.2.7.2": 0}
    rooms = ask({**GROUP, **values}, "capacity").rooms
    assert rooms[1:] == [Room("snapshot reserve", "vol1", 100 * MIB, 95 * MIB)]  # vol2 has none
    values = {f"{E}.5.1.7.1.1.12.7.1": 1, f"{E}.5.1.7.7.1.3.7.1": None}
    assert ask({**GROUP, **values}, "capacity").rooms[1:] == [Room("snapshot reserve", "vol1", 100 * MIB, None)]


def test_capacity_asks_for_no_parts() -> None:
    array = ask(GROUP, "capacity")
    assert (array.parts, array.speeds, array.rates) == ([], [], None)
    assert ask({**GROUP, f"{E}.16.1.2.1.2.1.1": None}, "capacity").rooms == [
        Room("pool", "default", 1000 * MIB, None, 2500 * MIB)
    ]


def test_latency_and_load_of_each_member() -> None:
    first = ask(GROUP, "performance", run=Run(30.0, None))
    later = dict(GROUP)
    for column, more in ((2, 3000), (3, 100), (6, 100), (7, 200), (8, 30_000), (9, 60_000)):
        later[f"{E}.2.1.12.1.{column}.1.1"] = counter64(1000 * column + more)
    run = Run(30.0, {"rates": first.rates}, clock=Clock(shift=300))
    one, other = ask(later, "performance", run=run).speeds
    assert one.latency == pytest.approx(0.03)  # 3,000 ms for 100 reads; writes took 0.5 ms
    assert one.iops == pytest.approx(1.0, rel=0.02)
    assert one.throughput == pytest.approx(300.0, rel=0.02)
    assert isinstance(other.latency, Collecting)
    assert other.latency.why == "no requests"
    assert other.iops == 0.0
    # The array was restarted: its counters are smaller, and that is no rate.
    reset = {**GROUP, **{f"{E}.2.1.12.1.{column}.1.1": counter64(5) for column in (2, 3, 6, 7, 8, 9)}}
    again = ask(reset, "performance", run=Run(30.0, {"rates": first.rates}, clock=Clock(shift=300))).speeds[0]
    assert again == Speed("m1", COLLECTING, COLLECTING, COLLECTING)


def test_load_of_one_member_that_is_not_told() -> None:
    for values in (
        without("2.1.12.1.2.1.2"),
        {oid: value for oid, value in GROUP.items() if not oid.startswith(f"{E}.2.1.12.1.3.1.2")},
    ):
        array = ask(values, "performance")
        assert [speed.name for speed in array.speeds] == ["m1"]
        assert [(failed.of, failed.error) for failed in array.lost] == [("load of m2", "none is told")]
    off = {**without("2.1.12.1.2.1.2"), f"{E}.2.1.4.1.2.1.2": 2}
    assert ask(off, "performance").lost == []  # who is off-line tells nothing


def first_lines(folder: Path, *answers: Mapping[str, Any], texts: list[str] | None = None) -> list[str]:
    """Return the check's first line of each run against one group that answers so, without its numbers for graphs."""
    lines: list[str] = []
    texts = [] if texts is None else texts
    with Agent(answers[0], product=f"{E}.17.1") as agent:
        system = {key: value for key, value in agent.values.items() if key[:7] == (1, 3, 6, 1, 2, 1, 1)}
        argv = ["--profile", "equallogic", "-H", "127.0.0.1", "-p", str(agent.port), "--state-dir", str(folder)]
        for values in answers:
            agent.values = {**system, **{numbers(oid): value for oid, value in values.items()}}
            agent.keys = sorted(agent.values)
            outcome = CHECK.run([*argv, "--mode", "health", "-t", "8"])
            lines.append(outcome.line.partition(" | ")[0].replace(str(agent.port), "PORT"))
            texts.append(outcome.text)
    return lines


def test_the_first_line_of_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_COMMUNITY", "public")
    disk, other = f"{E}.3.1.1.1.8.1.1.1", f"{E}.3.1.1.1.8.1.2.1"
    assert first_lines(
        tmp_path,
        GROUP,
        {**GROUP, disk: 3},
        {**GROUP, disk: 3, other: 13},
        {**GROUP, disk: 3, f"{E}.3.1.1.1.8.1.1.3": 1},
        {**GROUP, disk: 14},
        {**GROUP, f"{E}.2.1.5.1.3.1.2": b"\x80"},
        without("3.1.1"),
    ) == [
        "SAN_HEALTH OK - EqualLogic group of 2 members, firmware V10.0.3 (R471082): 4 controllers, 6 disks, 2 enclosures, "
        "2 power supplies, 2 fans, 8 batteries, 2 sensors, 3 pools, 2 volumes, 1 port",
        "SAN_HEALTH WARNING - disk m1 0 failed",
        "SAN_HEALTH CRITICAL - disk m1 0 failed, disk m2 0 preempt-failed",
        "SAN_HEALTH CRITICAL - disk m1 0 failed, WARNING: spares 0 is below 1",
        "SAN_HEALTH UNKNOWN - disk m1 0 state 14",
        "SAN_HEALTH CRITICAL - system m2 raidSetDoubleFaulted",
        "SAN_HEALTH UNKNOWN - disk: it is empty (ask 127.0.0.1:PORT for eqlDiskTable): does the agent's view show it to this "
        "account?",
    ]  # fmt: skip


def test_the_first_line_when_a_member_vanished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_COMMUNITY", "public")
    rest = {oid: value for oid, value in GROUP.items() if not of_member_2(oid)}
    texts: list[str] = []
    line = first_lines(tmp_path, GROUP, rest, texts=texts)[1]
    assert line.startswith("SAN_HEALTH WARNING - ")
    assert "enclosure m2 is gone from the answer, it was there 0 min ago" in texts[1]


def test_the_first_line_of_an_array_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHOSCOPE_COMMUNITY", "wrong")
    assert first_lines(tmp_path, GROUP) == [
        "SAN_HEALTH CRITICAL - no answer in 5 s: the agent is silent, or does not take this community "
        "(ask 127.0.0.1:PORT by SNMPv2c)"
    ]


def test_another_product_and_a_word_of_greeting() -> None:
    with Agent(GROUP, product="1.3.6.1.4.1.8072.3.2.10", description="Linux bastion") as agent:
        place = Place("127.0.0.1", agent.port, community="public")
        for asked in (lambda: eql.look(Run(), place, ALL), lambda: eql.greet(Run(), place)):
            with pytest.raises(Failed) as caught:
                asked()
            assert (
                caught.value.error == "it answers as Linux bastion (sysObjectID 1.3.6.1.4.1.8072.3.2.10): no EqualLogic"
            )
    with Agent(GROUP, product=f"{E}.17.1", description="EqualLogic Storage Array") as agent:
        assert (
            eql.greet(Run(), Place("127.0.0.1", agent.port, community="public"))
            == "EqualLogic: EqualLogic Storage Array"
        )
        assert agent.requests == 1


def test_values_of_any_type_are_no_traceback() -> None:
    for odd in (b"\xff\x00", "text", gauge(2**32 - 1), None):
        array = ask(dict.fromkeys(GROUP, odd))
        assert array.parts
        assert not [
            part for part in array.parts if part.kind in ("disk", "power supply", "volume") and part.health == "ok"
        ]


def test_five_hundred_disks_and_two_thousand_volumes() -> None:
    values = group(disks=250, volumes=2000)
    with Agent(values, product=f"{E}.17.1", size=9000) as agent:
        tracemalloc.start()
        try:
            array = eql.look(Run(60.0), Place("127.0.0.1", agent.port, community="public"), ALL)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert sum(part.kind == "disk" for part in array.parts) == 500
        assert sum(part.kind == "volume" for part in array.parts) == 2000
        assert agent.requests < 170
        assert peak < 20e6
