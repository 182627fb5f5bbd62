# SPDX-License-Identifier: Apache-2.0
"""Any array with SNMP, by a small table of the operator's: which column has a state, and what its values mean.

The file is described in docs/san-table.md, which is read here by the tests. A value that the table does not map is "unknown"; a
table of the agent that is empty is lost, not well, unless its section says `optional = yes`.

Requests: one for what answers, one for all of a section's OIDs that end in .0, and one for each 100 values of its columns: 20
for 500 disks of four columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run, files
from nephoscope.probes import snmp
from nephoscope.probes.san import HEALTH, KINDS, Array, Part, Place, Room

ROOMS = ("pool", "volume")  # kinds that have a size
COLUMNS = ("name", "state", "text", "size", "used", "free", "provisioned")  # keys whose value is an OID
UNITS = {"B": 1, **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)},
         **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", 1)}}  # fmt: skip
SECTIONS, LIMIT = 100, 256 << 10  # of one file; its bytes


class Section(NamedTuple):
    """What is read of one kind of part.

    label     the word behind the kind, by which sections are told apart
    columns   key -> OID
    words     value in small letters -> health
    ranges    (from, to, health), for values that are numbers
    unit      bytes in one of `size`, `used`, `free` and `provisioned`
    optional  whether there may be none
    """

    kind: str
    label: str
    columns: Mapping[str, str]
    words: Mapping[str, str]
    ranges: Sequence[tuple[int, int, str]] = ()
    unit: int = 1
    optional: bool = False

    @property
    def title(self) -> str:
        """The section's line in the file."""
        return f"[{self.kind}{' ' * bool(self.label)}{self.label}]"

    def health(self, value: snmp.Value) -> str:
        """Return what a value of the column `state` means."""
        if value is None:
            return "unknown"
        word = snmp.text(value).lower()
        if word in self.words:
            return self.words[word]
        number = snmp.number(value)
        for first, last, health in self.ranges:
            if number is not None and first <= number <= last:
                return health
        return "unknown"


class Table(NamedTuple):
    """What a file says: the array's name, the sysObjectIDs that it is for (none: any), and its sections."""

    name: str
    products: Sequence[str]
    sections: Sequence[Section]


def greet(run: Run, place: Place) -> str:
    """Ask who is there, and return it."""
    table = read(run, place.table)
    with snmp.Session(run, place) as agent:
        return _who(agent, table)


def look(run: Run, place: Place, modes: tuple[str, ...]) -> Array:
    """Ask an array for what its table names. Raises Failed when it, or the table, could not be read at all."""
    table = read(run, place.table)
    lost: list[Failed] = []
    parts: list[Part] = []
    rooms: list[Room] = []
    with snmp.Session(run, place) as agent:
        product = _who(agent, table)
        for section in table.sections:
            wanted = [
                key
                for key in section.columns
                if key in ("name", "state", "text") or ("capacity" in modes and key in COLUMNS)
            ]
            states = "health" in modes and "state" in wanted
            if not (states or "size" in wanted):
                continue
            rows = _rows(agent, lost, section, wanted)
            told = {index: snmp.text(row.get("name")) for index, row in rows.items()}
            often = Counter(told.values())
            for index, row in rows.items():
                at = ".".join(map(str, index))
                shown = f"{told[index]} {at}" if told[index] and often[told[index]] > 1 else told[index] or at
                name = " ".join(word for word in (section.label, shown) if word)
                if states:
                    health = section.health(row["state"])
                    said = [snmp.text(row["state"]) if row["state"] is not None else "no state is told"]
                    said.append(snmp.text(row.get("text")))
                    shown = ", ".join(word for word in said if word)
                    parts.append(
                        Part(section.kind, name, health, f"state {shown}" if row["state"] is not None else shown)
                    )
                if "size" in wanted:
                    rooms.append(_room(section, name, row))
    known = [
        section for section in table.sections if "spare" in (*section.words.values(), *(r[2] for r in section.ranges))
    ]
    told_spares = any(section.kind == "disk" for section in known) and not any(failed.of == "disk" for failed in lost)
    spares = sum(part.kind == "disk" and part.health == "spare" for part in parts)
    return Array(product, parts, rooms, (), spares if told_spares and "health" in modes else None, lost)


def _who(agent: snmp.Session, table: Table) -> str:
    who = agent.product(table.name, *table.products) if table.products else agent.identity()
    return table.name or who.description[:60]


def _rows(
    agent: snmp.Session, lost: list[Failed], section: Section, wanted: Sequence[str]
) -> dict[snmp.Index, dict[str, snmp.Value]]:
    oids = {key: section.columns[key] for key in wanted}
    if not all(oid.endswith(".0") for oid in oids.values()):
        rows = snmp.table(agent, lost, section.kind, section.title, list(oids.values()), empty=section.optional)
        return {index: dict(zip(oids, row)) for index, row in rows.items()}
    try:
        row = dict(zip(oids, agent.get(*oids.values(), of=section.kind).values()))
    except Failed as failed:
        lost.append(failed)
        return {}
    if section.optional and all(value is None for value in row.values()):
        return {}
    return {(): row}


def _room(section: Section, name: str, row: Mapping[str, snmp.Value]) -> Room:
    found = {}
    for key in ("size", "used", "free", "provisioned"):
        number = snmp.number(row.get(key))
        found[key] = number * section.unit if number is not None and number >= 0 else None
    size, used, free = found["size"], found["used"], found["free"]
    if "used" not in section.columns and size is not None and free is not None:
        used = size - free
    return Room(section.kind, name, size, used, found["provisioned"])


# The file


def read(run: Run, path: str) -> Table:
    """Return what a file says. Raises Failed unreadable that names the line, and what is wrong with it."""
    if not path:
        raise Failed(
            UNREADABLE, "", "read the table", "no --table was given", "docs/san-table.md tells how to write one"
        )
    try:
        content = files.text(run, path, of="", limit=LIMIT)
    except Failed as failed:
        # What was named, and is not there, is not "nothing of the kind here".
        kind = UNREADABLE if failed.kind == ABSENT else failed.kind
        raise Failed(kind, "", failed.tried, failed.error, failed.cure) from None
    try:
        return parse(content)
    except ValueError as error:
        raise Failed(UNREADABLE, "", f"read {path}", str(error), "see docs/san-table.md") from None


def parse(content: str) -> Table:
    """Return what the lines of a file say. Raises ValueError, with the line."""
    blocks: list[tuple[int, str, dict[str, tuple[int, str]]]] = []
    for number, line in enumerate(content.splitlines(), 1):
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            if text[-1] != "]" or not text[1:-1].strip():
                raise ValueError(f"line {number}: {text[:40]} is no section")
            title = " ".join(text[1:-1].split())
            if any(title == other for _, other, _ in blocks):
                raise ValueError(f"line {number}: [{title}] stands there twice")
            if len(blocks) >= SECTIONS:
                raise ValueError(f"line {number}: more than {SECTIONS} sections")
            blocks.append((number, title, {}))
            continue
        key, sign, value = (part.strip() for part in text.partition("="))
        if not (sign and key and value):
            raise ValueError(f"line {number}: {text[:40]!r} is no KEY = VALUE")
        if not blocks:
            raise ValueError(f"line {number}: {key} stands before the first section")
        keys = blocks[-1][2]
        if key in keys:
            raise ValueError(f"line {number}, [{blocks[-1][1]}]: {key} stands there twice")
        keys[key] = (number, value)
    name = ""
    products: list[str] = []
    sections = []
    for number, title, keys in blocks:
        if title == "array":
            name, products = _array(keys)
        else:
            sections.append(_section(number, title, keys))
    if not sections:
        raise ValueError("it has no section of a kind of part")
    return Table(name, products, sections)


def _oid(where: str, value: str) -> str:
    try:
        snmp.encoded(value)
    except ValueError:
        raise ValueError(f"{where}: {value[:40]!r} is no OID in numbers") from None
    return value.strip(".")


def _array(keys: Mapping[str, tuple[int, str]]) -> tuple[str, list[str]]:
    name = ""
    products: list[str] = []
    for key, (number, value) in keys.items():
        where = f"line {number}, [array]"
        if key == "name":
            name = value
        elif key == "product":
            products = [_oid(where, word.strip()) for word in value.split(",")]
        else:
            raise ValueError(f"{where}: {key} is neither name nor product")
    return name, products


def _section(number: int, title: str, keys: Mapping[str, tuple[int, str]]) -> Section:
    where = f"line {number}, [{title}]"
    kind = next((kind for kind in KINDS if f"{title} ".startswith(f"{kind} ")), "")
    if not kind:
        raise ValueError(f"{where}: a section is array, or begins with one of {', '.join(KINDS)}")
    columns: dict[str, str] = {}
    words: dict[str, str] = {}
    ranges: list[tuple[int, int, str]] = []
    unit, optional = 1, False
    for key, (line, value) in keys.items():
        at = f"line {line}, [{title}]"
        if key in COLUMNS:
            columns[key] = _oid(at, value)
        elif key in HEALTH:
            for word in filter(None, (word.strip().lower() for word in value.split(","))):
                _map(at, key, word, words, ranges)
        elif key == "unit":
            if value not in UNITS and not (value.isdecimal() and len(value) < 19 and int(value)):
                raise ValueError(f"{at}: unit {value[:20]} is no number of bytes, and none of {', '.join(UNITS)}")
            unit = UNITS.get(value) or int(value)
        elif key == "optional":
            if value not in ("yes", "no"):
                raise ValueError(f"{at}: optional is yes or no")
            optional = value == "yes"
        else:
            raise ValueError(f"{at}: {key} is none of {', '.join((*COLUMNS, *HEALTH, 'unit', 'optional'))}")
    if "state" not in columns and "size" not in columns:
        raise ValueError(f"{where}: it has neither state nor size")
    if "state" in columns and not (words or ranges):
        raise ValueError(f"{where}: it does not say which values of its state are ok")
    if "state" not in columns and (words or ranges):
        raise ValueError(f"{where}: it says what values mean, and has no state")
    if "size" in columns and kind not in ROOMS:
        raise ValueError(f"{where}: only {' and '.join(ROOMS)} have a size")
    if "size" in columns and not {"used", "free"} & set(columns):
        raise ValueError(f"{where}: it has a size, and neither used nor free")
    if "size" not in columns and {"used", "free", "provisioned"} & set(columns):
        raise ValueError(f"{where}: it has no size")
    if len({oid.endswith(".0") for oid in columns.values()}) > 1:
        raise ValueError(f"{where}: either all of its OIDs end in .0 (one value of the whole), or none does (columns)")
    return Section(kind, title[len(kind) :].strip(), columns, words, ranges, unit, optional)


def _map(at: str, health: str, word: str, words: dict[str, str], ranges: list[tuple[int, int, str]]) -> None:
    """Note what a value means; "3-7" means each number from 3 to 7."""
    first, sign, last = word.partition("-")
    if sign and first.isdecimal() and last.isdecimal():
        low, high = int(first), int(last)
        if low > high or any(low <= end and begin <= high for begin, end, _ in ranges):
            raise ValueError(f"{at}: {word} is no range, or overlaps another")
        for known in words:
            if known.isdecimal() and low <= int(known) <= high:
                raise ValueError(f"{at}: {known} means {words[known]} already")
        ranges.append((low, high, health))
        return
    for low, high, other in ranges:
        if word.isdecimal() and low <= int(word) <= high:
            raise ValueError(f"{at}: {word} means {other} already")
    if word in words:
        raise ValueError(f"{at}: {word} means {words[word]} already")
    words[word] = health
