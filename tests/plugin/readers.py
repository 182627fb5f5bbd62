# SPDX-License-Identifier: Apache-2.0
"""How the consumers read plugin output: our own renderings of their rules, the yardstick for what we print.

Icinga 2  lib/icinga/pluginutility.cpp (ParseCheckOutput, SplitPerfdata), lib/base/perfdatavalue.cpp (Parse), release 2.16
Nagios 4  base/checks.c (parse_check_output)
PNP       scripts/process_perfdata.pl.in (_parse), release 0.6
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Item(NamedTuple):
    label: str
    value: float
    unit: str
    warning: float | None
    critical: float | None
    least: float | None
    most: float | None


class Invalid(ValueError):
    pass


# --- Icinga 2 ---------------------------------------------------------------------------------------------------------

_EXACT = {"": ("", 1), "%": ("%", 1), "c": ("c", 1), "C": ("C", 1), "b": ("b", 1), "B": ("B", 1)}
for _power, _prefix in enumerate("kmgtpezy", 1):
    for _case in (_prefix, _prefix.upper()):
        for _base in "bB":
            _EXACT[_case + _base] = (_base, 1000**_power)
            for _i in "iI":
                _EXACT[_case + _i + _base] = (_base, 1024**_power)
for _unit in "aovw":
    for _letter in (_unit, _unit.upper()):
        _EXACT[_letter] = (_unit.upper(), 1)
        for _small, _factor in (("n", 1e-9), ("u", 1e-6), ("m", 1e-3)):
            _EXACT[_small + _letter] = (_unit.upper(), _factor)
            if _small != "m":
                _EXACT[_small.upper() + _letter] = (_unit.upper(), _factor)
        for _power, _prefix in enumerate("kmgtpezy", 1):
            _EXACT[_prefix.upper() + _letter] = (_unit.upper(), 1000**_power)
            if _prefix != "m":
                _EXACT[_prefix + _letter] = (_unit.upper(), 1000**_power)
for _first, _word in (("a", "As"), ("w", "Wh")):
    for _second, _factor in (
        ("s", 1 if _first == "a" else 1 / 3600),
        ("m", 60 if _first == "a" else 1 / 60),
        ("h", 3600 if _first == "a" else 1),
    ):
        for _power, _prefix in ((0, ""), (1, "k"), (2, "M"), (3, "G")):
            for _a in (_first, _first.upper()):
                for _b in (_second, _second.upper()):
                    _EXACT[_prefix + _a + _b] = (_word, _factor * 1000**_power)
_FOLDED = {
    "ns": ("s", 1e-9), "us": ("s", 1e-6), "ms": ("s", 1e-3), "s": ("s", 1), "m": ("s", 60), "h": ("s", 3600),
    "d": ("s", 86400), "ng": ("g", 1e-9), "ug": ("g", 1e-6), "mg": ("g", 1e-3), "g": ("g", 1), "kg": ("g", 1e3),
    "t": ("g", 1e6), "ml": ("l", 1e-3), "l": ("l", 1), "hl": ("l", 100), "packets": ("packets", 1), "lm": ("lm", 1),
    "dbm": ("dBm", 1), "f": ("F", 1), "k": ("K", 1),
}  # fmt: skip


def icinga_split(perfdata: str) -> list[str]:
    items = []
    prefix = ""
    at = 0
    while True:
        equals = perfdata.find("=", at)
        if equals < 0:
            return items
        label = perfdata[at:equals].lstrip()
        if len(label) > 2 and label[0] == label[-1] == "'":
            label = label[1:-1]
        end = perfdata.find(" ", equals)
        end = len(perfdata) if end < 0 else end
        value = perfdata[equals + 1 : end]
        if "::" not in label and prefix:
            label = f"{prefix}::{label}"
        elif "::" in label:
            prefix = label.rpartition("::")[0]
        items.append(f"'{label}'={value}" if " " in label else f"{label}={value}")
        at = end + 1


def icinga_item(text: str) -> Item:
    label, equals, rest = text.rpartition("=")
    if not equals or "," in rest:
        raise Invalid(text)
    if len(label) > 2 and label[0] == label[-1] == "'":
        label = label[1:-1]
    fields = rest.split(";")
    last = max((at for at, character in enumerate(fields[0]) if character.isdigit() or character == "."), default=-1)
    number, unit = fields[0][: last + 1], fields[0][last + 1 :]
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", number):
        raise Invalid(text)
    value = float(number)
    base, factor = _EXACT.get(unit) or _FOLDED.get(unit.lower()) or ("", 1)

    def bound(at: int) -> float | None:
        field = fields[at] if at < len(fields) else ""
        if not field or field.strip("+-0123456789.eE"):
            return None
        try:
            return float(field) * factor
        except ValueError:
            raise Invalid(text) from None

    return Item(label, value * factor, base, bound(1), bound(2), bound(3), bound(4))


def icinga_format(item: Item) -> str:
    def number(value: float | None) -> str:
        if value is None:
            return ""
        return str(int(value)) if float(value).is_integer() else f"{value:.6f}"

    unit = "" if item.unit == "packets" else item.unit
    fields = [f"{item.label}={number(item.value)}{unit}", *map(number, item[3:])]
    while fields[-1] == "":
        fields.pop()
    return ";".join(fields)


def icinga_output(output: str) -> tuple[str, str]:
    """Text and perfdata, as Icinga 2 stores them."""
    text, perfdata = [], []
    for line in re.split(r"[\r\n]", output.strip()):
        bar = line.find("|")
        if bar >= 0 and "=" in line[bar:]:
            text.append(line[:bar])
            perfdata.append(line[bar + 1 :].strip())
        else:
            text.append(line)
    return "\n".join(text), " ".join(perfdata)


# --- Nagios -----------------------------------------------------------------------------------------------------------


def nagios_output(output: str) -> tuple[str, str, str]:
    """Short text, long text and perfdata, as Nagios Core stores them."""
    first, newline, rest = output.partition("\n")
    short, _, perf = first.partition("|")
    perfdata = [perf.strip()] if perf.strip() else []
    long = []
    in_perfdata = False
    for line in rest.split("\n") if newline else []:
        if in_perfdata:
            perfdata.append(line.strip("\r\n"))
        elif "|" in line:
            before, _, after = line.partition("|")
            long.append(before)
            perfdata.append(after)
            in_perfdata = True
        else:
            long.append(line)
    return short.strip().replace(";", ":"), "\n".join(long), " ".join(perfdata).strip()


# --- PNP --------------------------------------------------------------------------------------------------------------

_PNP = re.compile(
    r"\s*(?P<label>[^=]+)=(?P<value>[\d.\-]+)(?P<unit>[\w/%]*);?(?P<warn>[\d.\-:~@]+)?;?(?P<crit>[\d.\-:~@]+)?"
    r";?(?P<least>[\d.\-]+)?;?(?P<most>[\d.\-]+)?;?"
)


class PnpItem(NamedTuple):
    label: str
    value: str
    unit: str
    warning: str
    critical: str
    least: str
    most: str


def pnp(perfdata: str) -> list[PnpItem]:
    items = []
    at = 0
    while at < len(perfdata.rstrip()):
        match = _PNP.match(perfdata, at)
        if not match:
            raise Invalid(perfdata)
        items.append(PnpItem(*(group or "" for group in match.groups())))
        at = match.end()
    return items


# --- the strictest common form ----------------------------------------------------------------------------------------

_NUMBER = r"-?\d+(?:\.\d{1,6})?"
_RANGE = rf"@?(?:{_NUMBER}|{_NUMBER}:|(?:{_NUMBER}|~)?:{_NUMBER}|~:)"
STRICT = re.compile(
    rf"(?P<label>[A-Za-z0-9_-]{{1,60}})=(?P<value>{_NUMBER})(?P<unit>[sB%c]?)(?:;(?P<warn>{_RANGE})?)?(?:;(?P<crit>{_RANGE})?)?"
    rf"(?:;(?P<least>{_NUMBER})?)?(?:;(?P<most>{_NUMBER})?)?"
)


def check_perfdata(perfdata: str) -> None:
    """Raise AssertionError unless every consumer reads every item alike."""
    words = perfdata.split(" ") if perfdata else []
    assert icinga_split(perfdata) == words
    read = pnp(perfdata) if perfdata else []
    assert len(read) == len(words)
    assert len({word.partition("=")[0] for word in words}) == len(words), "labels must be unique"
    for word, by_pnp in zip(words, read):
        match = STRICT.fullmatch(word)
        assert match, word
        by_icinga = icinga_item(word)
        assert by_icinga.label == by_pnp.label == match["label"]
        assert by_icinga.value == float(by_pnp.value) == float(match["value"])
        assert by_icinga.unit == by_pnp.unit == match["unit"]
        for ours, icingas, pnps in (
            (match["warn"], by_icinga.warning, by_pnp.warning),
            (match["crit"], by_icinga.critical, by_pnp.critical),
            (match["least"], by_icinga.least, by_pnp.least),
            (match["most"], by_icinga.most, by_pnp.most),
        ):
            assert (ours or "") == pnps
            if ours and re.fullmatch(_NUMBER, ours):
                assert icingas == float(ours)
            else:
                assert icingas is None


def check_output(output: str) -> None:
    """Raise AssertionError unless the whole output obeys the plugin rules."""
    first = output.split("\n")[0]
    assert re.match(r"[A-Z0-9_]+ (OK|WARNING|CRITICAL|UNKNOWN) - .", first), first
    assert output.count("|") == first.count("|") <= 1
    assert output == output.strip()
    assert "\n\n" not in output
    assert all(character.isprintable() for character in output.replace("\n", "")), repr(output)
    assert len(output.encode()) <= 60 * 1024
    assert len(first.encode()) <= 4096
    text, _, perfdata = first.partition(" | ")
    assert len(text.partition(" - ")[2].encode()) <= 240
    check_perfdata(perfdata)
    assert icinga_output(output)[1] == perfdata
    assert nagios_output(output)[2] == perfdata
