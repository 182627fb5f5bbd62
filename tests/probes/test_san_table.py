# SPDX-License-Identifier: Apache-2.0
"""Tables of an operator's own: the one in the documentation, each mistake with its line, and an agent that answers to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import san_table
from nephoscope.probes.san import Array, Part, Place, Room

from tests.simulators.snmp_agent import Agent, counter64, table

A = "1.3.6.1.4.1.99"
S = "1.3.6.1.4.1.6574"
PAGE = Path(__file__).parents[2] / "docs" / "san-table.md"
ALL = ("health", "capacity", "performance")
DISKS = f"""
[array]
name = Acme
product = {A}
[disk]
name = {A}.1.1.2
state = {A}.1.1.3
ok = 1, Fine
spare = 2
degraded = 10-19
failed = 20-99, Broken
"""
VALUES = table(f"{A}.1.1", {f"1.{disk}": {2: f"d{disk}", 3: 1} for disk in (1, 2, 3)})


def ask(path: Path, content: str, values: Mapping[str, Any], *modes: str, **faults: Any) -> Array:
    (path / "array.ini").write_text(content)
    with Agent(values, **faults) as agent:
        place = Place("127.0.0.1", agent.port, community="public", table=str(path / "array.ini"))
        return san_table.look(Run(30.0), place, modes or ALL)


def states(array: Array) -> list[tuple[str, str]]:
    return [(part.of, part.health) for part in array.parts]


def test_the_table_of_the_documentation(tmp_path: Path) -> None:
    # The values are those of Synology's own MIBs.
    content = re.search(r"```ini\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert content
    values = {
        f"{S}.1.1.0": 1,
        f"{S}.1.3.0": 1,
        f"{S}.1.4.1.0": 1,
        f"{S}.1.4.2.0": 2,
        **table(f"{S}.2.1.1", {"0": {2: "Disk 1", 3: "WD40EFRX", 5: 1}, "1": {2: "Disk 2", 3: "WD40EFRX", 5: 5}}),
        **table(f"{S}.3.1.1", {"0": {2: "Volume 1", 3: 7, 4: counter64(400), 5: counter64(1000)}}),
    }
    array = ask(tmp_path, content[1], values)
    assert array.product == "Synology"
    assert array.lost == []
    assert array.parts == [
        Part("system", "", "ok", "state 1"),
        Part("power supply", "", "ok", "state 1"),
        Part("fan", "case", "ok", "state 1"),
        Part("fan", "CPU", "failed", "state 2"),
        Part("disk", "Disk 1", "ok", "state 1, WD40EFRX"),
        Part("disk", "Disk 2", "failed", "state 5, WD40EFRX"),
        Part("pool", "Volume 1", "rebuilding", "state 7"),
    ]
    assert array.rooms == [Room("pool", "Volume 1", 1000.0, 600.0)]
    assert array.spares is None


@pytest.mark.parametrize(
    ("value", "health", "text"),
    [
        (1, "ok", "state 1"),
        ("FINE", "ok", "state FINE"),
        (b"fine\x00", "ok", "state fine"),
        (2, "spare", "state 2"),
        (10, "degraded", "state 10"),
        (19, "degraded", "state 19"),
        ("20", "failed", "state 20"),
        ("broken", "failed", "state broken"),
        (3, "unknown", "state 3"),
        (100, "unknown", "state 100"),
        (-1, "unknown", "state -1"),
        ("strange", "unknown", "state strange"),
        (None, "unknown", "no state is told"),
    ],
)
def test_what_values_mean(tmp_path: Path, value: Any, health: str, text: str) -> None:
    array = ask(tmp_path, DISKS, {**VALUES, f"{A}.1.1.3.1.2": value})
    assert array.parts[1] == Part("disk", "d2", health, text)
    assert states(array)[::2] == [("disk d1", "ok"), ("disk d3", "ok")]
    assert array.spares == (1 if value == 2 else 0)


def test_without_names_the_index_is_the_name(tmp_path: Path) -> None:
    content = f"[disk left]\nstate = .{A}.1.1.3\nok = 1\n"
    assert states(ask(tmp_path, content, VALUES)) == [(f"disk left 1.{disk}", "ok") for disk in (1, 2, 3)]


def test_names_that_are_not_unique_have_their_index(tmp_path: Path) -> None:
    values = {**VALUES, f"{A}.1.1.2.1.3": "d1", f"{A}.1.1.3.1.3": 99}
    assert states(ask(tmp_path, DISKS, values)) == [("disk d1 1.1", "ok"), ("disk d2", "ok"), ("disk d1 1.3", "failed")]


def test_another_product_is_not_asked(tmp_path: Path) -> None:
    for product in ("1.3.6.1.4.1.98", "1.3.6.1.4.1.9"):
        with pytest.raises(Failed) as caught:
            ask(tmp_path, DISKS.replace(f"product = {A}", f"product = {product}"), VALUES)
        assert caught.value.error == "it answers as a simulated agent (sysObjectID 1.3.6.1.4.1.99): no Acme"
    assert ask(tmp_path, DISKS.replace(f"product = {A}", f"product = 1.3.6.1.4.1.98, .{A}"), VALUES).product == "Acme"
    assert ask(tmp_path, DISKS.replace("name = Acme\n", "", 1), VALUES).product == "a simulated agent"


def test_an_empty_table_is_no_table_without_faults(tmp_path: Path) -> None:
    array = ask(tmp_path, DISKS, {})
    assert [(failed.kind, failed.of, failed.error) for failed in array.lost] == [(UNREADABLE, "disk", "it is empty")]
    assert "for [disk]" in array.lost[0].tried
    assert array.spares is None
    assert ask(tmp_path, f"{DISKS}optional = yes\n", {}).lost == []
    # One value of the whole that is not there is an unknown state.
    content = f"[system]\nstate = {A}.7.0\nok = 1\n"
    assert ask(tmp_path, content, {}).parts == [Part("system", "", "unknown", "no state is told")]
    assert ask(tmp_path, f"{content}optional = yes\n", {}).parts == []


def test_what_is_refused_leaves_the_rest(tmp_path: Path) -> None:
    content = f"{DISKS}[system]\nstate = {A}.7.0\nok = 1\n"
    array = ask(tmp_path, content, {**VALUES, f"{A}.7.0": 1}, error=lambda wanted: 16 if wanted[0][-1] == 3 else 0)
    assert array.parts[-1] == Part("system", "", "ok", "state 1")
    array = ask(tmp_path, content, VALUES, error=lambda wanted: 16 if wanted[0][-2:] == (7, 0) else 0)
    assert [(failed.kind, failed.of) for failed in array.lost] == [(NOT_ALLOWED, "system")]
    assert len(array.parts) == 3


def test_room_in_every_unit(tmp_path: Path) -> None:
    for unit, factor in (("", 1), ("unit = B", 1), ("unit = KiB", 1024), ("unit = TB", 10**12), ("unit = 512", 512)):
        content = f"[pool]\nsize = {A}.1.1.4\nused = {A}.1.1.5\nprovisioned = {A}.1.1.6\n{unit}\n"
        values = table(f"{A}.1.1", {"1": {4: 100, 5: counter64(70), 6: "300"}, "2": {4: 100, 5: -1}})
        assert ask(tmp_path, content, values).rooms == [
            Room("pool", "1", 100 * factor, 70 * factor, 300 * factor),
            Room("pool", "2", 100 * factor, None, None),
        ]


def test_only_what_the_modes_need_is_asked(tmp_path: Path) -> None:
    content = f"{DISKS}[pool]\nsize = {A}.2.1.4\nfree = {A}.2.1.5\n"
    values = {**VALUES, **table(f"{A}.2.1", {"1": {4: 100, 5: 30}})}
    health, capacity = (ask(tmp_path, content, values, mode) for mode in ("health", "capacity"))
    assert (len(health.parts), health.rooms) == (3, [])
    assert (capacity.parts, capacity.rooms, capacity.spares) == ([], [Room("pool", "1", 100, 70)], None)
    nothing = ask(tmp_path, content, values, "performance")
    assert (nothing.parts, nothing.rooms) == ([], [])


STATE = f"state = {A}.1"
MISTAKES = [
    ("", "it has no section of a kind of part"),
    ("[array]\nname = x\n", "it has no section of a kind of part"),
    ("# x\nok = 1\n", "line 2: ok stands before the first section"),
    ("[disk\n", "line 1: [disk is no section"),
    ("[ ]\n", "line 1: [ ] is no section"),
    (f"[disk]\n{STATE}\nok = 1\n[disk]\n", "line 4: [disk] stands there twice"),
    (f"[disk]\n{STATE}\n{STATE}\n", "line 3, [disk]: state stands there twice"),
    ("[disk]\nstate\n", "line 2: 'state' is no KEY = VALUE"),
    ("[disk]\nok =\n", "line 2: 'ok =' is no KEY = VALUE"),
    ("[disc]\n", "line 1, [disc]: a section is array, or begins with one of system, controller, disk, enclosure, power supply, "
     "fan, battery, sensor, pool, volume, port, replication, alert"),
    ("[array]\ncolour = red\n", "line 2, [array]: colour is neither name nor product"),
    ("[array]\nproduct = Acme\n", "line 2, [array]: 'Acme' is no OID in numbers"),
    ("[disk]\nstate = diskStatus.1\n", "line 2, [disk]: 'diskStatus.1' is no OID in numbers"),
    ("[disk]\nstate = 1\n", "line 2, [disk]: '1' is no OID in numbers"),
    ("[disk]\ngood = 1\n", "line 2, [disk]: good is none of name, state, text, size, used, free, provisioned, ok, spare, "
     "rebuilding, degraded, failed, absent, unknown, unit, optional"),
    (f"\n[disk]\n{STATE}\n", "line 2, [disk]: it does not say which values of its state are ok"),
    ("[disk]\nok = 1\n", "line 1, [disk]: it has neither state nor size"),
    (f"[pool]\nsize = {A}.1\nused = {A}.2\nok = 1\n", "line 1, [pool]: it says what values mean, and has no state"),
    (f"[disk]\n{STATE}\nok = 1\nfailed = 2, 1\n", "line 4, [disk]: 1 means ok already"),
    (f"[disk]\n{STATE}\nok = 1-3\nfailed = 3-5\n", "line 4, [disk]: 3-5 is no range, or overlaps another"),
    (f"[disk]\n{STATE}\nok = 5\nfailed = 3-7\n", "line 4, [disk]: 5 means ok already"),
    (f"[disk]\n{STATE}\nok = 3-7\nfailed = 5\n", "line 4, [disk]: 5 means ok already"),
    (f"[pool]\nsize = {A}.1\nfree = {A}.2\nunit = {'9' * 400}\n", f"line 4, [pool]: unit {'9' * 20} is no number of bytes, and "
     "none of B, KiB, MiB, GiB, TiB, PiB, KB, MB, GB, TB, PB"),
    (f"[disk]\n{STATE}\nok = 3-1\n", "line 3, [disk]: 3-1 is no range, or overlaps another"),
    (f"[disk]\nsize = {A}.1\nused = {A}.2\n", "line 1, [disk]: only pool and volume have a size"),
    (f"[pool]\nsize = {A}.1\n", "line 1, [pool]: it has a size, and neither used nor free"),
    (f"[pool]\n{STATE}\nok = 1\nfree = {A}.2\n", "line 1, [pool]: it has no size"),
    (f"[pool]\nsize = {A}.1\nfree = {A}.2\nunit = MB/s\n", "line 4, [pool]: unit MB/s is no number of bytes, and none of B, KiB, "
     "MiB, GiB, TiB, PiB, KB, MB, GB, TB, PB"),
    (f"[disk]\n{STATE}\nok = 1\noptional = maybe\n", "line 4, [disk]: optional is yes or no"),
    (f"[disk]\n{STATE}.0\nname = {A}.2\nok = 1\n",
     "line 1, [disk]: either all of its OIDs end in .0 (one value of the whole), or none does (columns)"),
    ("".join(f"[disk {number}]\n" for number in range(101)), "line 101: more than 100 sections"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "error"), MISTAKES, ids=[error[:40] for _, error in MISTAKES])
def test_each_mistake_with_its_line(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "array.ini"
    path.write_text(content)
    with pytest.raises(Failed) as caught:
        san_table.greet(Run(), Place("192.0.2.1", community="public", table=str(path)))
    assert caught.value == Failed(UNREADABLE, "", f"read {path}", error, "see docs/san-table.md")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        san_table.look(Run(), Place("192.0.2.1", community="public"), ALL)
    assert (caught.value.kind, caught.value.error) == (UNREADABLE, "no --table was given")
    with pytest.raises(Failed) as caught:
        san_table.look(Run(), Place("192.0.2.1", community="public", table=str(tmp_path / "none.ini")), ALL)
    assert (caught.value.kind, caught.value.of, caught.value.error) == (UNREADABLE, "", "No such file or directory")


def test_a_word_of_greeting(tmp_path: Path) -> None:
    (tmp_path / "array.ini").write_text(DISKS)
    with Agent(VALUES) as agent:
        place = Place("127.0.0.1", agent.port, community="public", table=str(tmp_path / "array.ini"))
        assert san_table.greet(Run(), place) == "Acme"
        assert agent.requests == 1
