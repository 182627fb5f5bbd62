# SPDX-License-Identifier: Apache-2.0
"""Text and numbers as every reader of plugin output takes them alike."""

from __future__ import annotations

LABEL_MAX = 60  # bytes


def clean(text: str) -> str:
    """Return one line without control characters, escape sequences or `|`, whatever came from outside."""
    if text.isprintable() and "|" not in text and "  " not in text:
        return text.strip()
    import re

    # Bytes that were no UTF-8 show as \xff instead of raising when they are printed.
    text = text.encode("utf-8", "surrogateescape" if _escaped(text) else "replace").decode("utf-8", "backslashreplace")
    text = re.sub(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", " ", text)
    text = "".join(character if character.isprintable() and character != "|" else " " for character in text)
    return " ".join(text.split())


def _escaped(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" and not "\udc80" <= character <= "\udcff" for character in text)


def cut(text: str, size: int) -> str:
    """Return text of at most `size` bytes in UTF-8, ending in … when something is missing."""
    data = text.encode("utf-8", "replace")
    if len(data) <= size:
        return text
    return data[: size - 3].decode("utf-8", "ignore").rstrip() + "…"


def slug(name: str) -> str:
    """Return a name in [A-Za-z0-9_-]: paths read well (/var/lib is var_lib, / is root), what would clash gets a hash."""
    if name == "/":
        return "root"
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in "_-" else "_" for c in name)
    stripped = plain.strip("_")
    # A clean absolute path loses nothing; anything else that was changed could be two different things.
    faithful = plain == name == stripped or (
        name.startswith("/")
        and "_" not in name
        and "//" not in name
        and plain == name.replace("/", "_")
        and name[-1] != "/"
    )
    if faithful and 0 < len(stripped) <= LABEL_MAX and stripped != "root":  # which is /
        return stripped
    return shorten(stripped, name, LABEL_MAX)


def shorten(text: str, name: str, size: int) -> str:
    """Return at most `size` bytes that stand for `name` alone: head, tail and six hex digits of its hash."""
    import zlib

    mark = f"-{zlib.crc32(name.encode('utf-8', 'surrogatepass')) & 0xFFFFFF:06x}"
    room = size - len(mark)
    if len(text) > room:
        text = text[: room - room // 3 - 1] + "_" + text[-(room // 3) :]
    return (text or "x") + mark


def label(name: str, of: str) -> str:
    """Return the perfdata label of a value: `name` or `slug(of)_name`, at most 60 bytes."""
    if not of:
        return name
    whole = f"{slug(of)}_{name}"
    return whole if len(whole) <= LABEL_MAX else f"{shorten(slug(of), of, LABEL_MAX - len(name) - 1)}_{name}"


def number(value: float) -> str:
    """Return a number in fixed notation with at most six decimals and none that say nothing."""
    if isinstance(value, int):
        return str(int(value))  # a bool prints as 0 or 1
    if value.is_integer():
        return str(int(value))
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def human(value: float, unit: str, name: str = "") -> str:
    """Return a value as a person says it: 1.5 GiB, 2.1 h, 12 %, 3.2/s."""
    rate = "/s" if name.endswith("_rate") else ""
    size = abs(value)
    if unit == "B":
        prefixes = iter(("KiB", "MiB", "GiB", "TiB", "PiB"))
        prefix = "B"
        while size >= 1024 and prefix != "PiB":
            prefix = next(prefixes)
            size /= 1024
            value /= 1024
        return f"{_short(value)} {prefix}{rate}"
    if unit == "s":
        if 0 < size < 0.9995:
            return f"{_short(value * 1000)} ms"
        for length, word in ((86400, "d"), (3600, "h"), (60, "min")):
            if size >= 2 * length:
                return f"{_short(value / length)} {word}"
        return f"{_short(value)} s"
    if unit == "%":
        return f"{_short(value)} %{rate}"
    return f"{_short(value)}{rate}"


def _short(value: float) -> str:
    size = abs(value)
    if size >= 100 or float(value).is_integer():
        return f"{value:.0f}"
    text = f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.01 else f"{value:.4f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
