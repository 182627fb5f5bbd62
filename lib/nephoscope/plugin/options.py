# SPDX-License-Identifier: Apache-2.0
"""Options: the ones that every check has, the ones that it adds, INI files, and refusals that name the cure."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nephoscope.plugin.model import Preset

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

STATE_WORDS = ("ok", "warning", "critical", "unknown")
FORMATS = ("nagios", "json", "openmetrics")
_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES.update({"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40})
_BYTES.update({"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40})


class BadOption(Exception):
    """An option, a limit or a configuration file is wrong; the text names it and the cure."""


class Show(Exception):
    """A page was asked for instead of a run: "help" or "version"."""


def duration(text: str) -> float:
    """Return seconds from "90", "5m", "2h", "7d", "1w". Raises ValueError."""
    return _scaled(text, _SECONDS, "a duration like 90, 5m, 2h or 7d")


def size(text: str) -> int:
    """Return bytes from "4096", "100MiB", "1G" (1024), "1GB" (1000). Raises ValueError."""
    return int(_scaled(text, _BYTES, "a size like 4096, 100MiB or 2GiB"))


def count(text: str) -> int:
    """Return a whole number, not negative. Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"'{text}' is not a whole number of 0 or more")
    return int(text)


def directory(text: str) -> str:
    """Return an absolute path, without a slash at its end. Raises ValueError: a scheduler's working directory is not ours."""
    if not text.startswith("/"):
        raise ValueError(f"'{text}' is not an absolute path")
    return text.rstrip("/") or "/"


def pattern(text: str) -> str:
    """Return a regular expression that compiles, as text. Raises ValueError."""
    import re

    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is no regular expression: {error}") from None
    return text


def port(text: str) -> int:
    """Return a TCP or UDP port. Raises ValueError."""
    number = count(text)
    if not 1 <= number <= 65535:
        raise ValueError(f"'{text}' is no port between 1 and 65535")
    return number


def expect(text: str) -> tuple[str, int]:
    """Return name and number from "NAME" or "NAME=N", what must exist, and how often. Raises ValueError."""
    name, equals, number = text.rpartition("=")
    if not equals:
        return text, 1
    if not name:
        raise ValueError(f"'{text}' names nothing: write NAME or NAME=N")
    return name, count(number)


def _scaled(text: str, units: Mapping[str, float], like: str) -> float:
    digits = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    unit = text.strip()[len(digits) :]
    digits = digits.strip()
    if unit not in units or not digits.replace(".", "", 1).isdigit() or not digits.isascii():
        raise ValueError(f"'{text}' is not {like}")
    return float(digits) * units[unit]


def seconds_state(text: str) -> tuple[float, int | None]:
    """Return seconds and state from SECONDS[:STATE]. Raises ValueError."""
    number, colon, word = text.partition(":")
    seconds = duration(number)
    if not 0.1 <= seconds <= 86400:
        raise ValueError(f"'{number}' is not a time between 0.1 and 86400 seconds")
    return seconds, state(word) if colon else None


def state(text: str) -> int:
    """Return a state from its word or its number. Raises ValueError."""
    word = text.lower()
    if word in STATE_WORDS:
        return STATE_WORDS.index(word)
    if word in ("0", "1", "2", "3"):
        return int(word)
    raise ValueError(f"'{text}' is no state: write {', '.join(STATE_WORDS)}")


def window(text: str) -> tuple[int, float]:
    """Return how many and in how many seconds from N/DURATION. Raises ValueError."""
    number, slash, length = text.partition("/")
    if not slash or not number.isdigit() or not 1 <= int(number) <= 1000:
        raise ValueError(f"'{text}' is no window: write N/DURATION, like 3/30m")
    return int(number), duration(length)


class Option:
    """One option, as the parser, the exports and the documentation need it."""

    __slots__ = (
        "choices",
        "common",
        "default",
        "dest",
        "flag",
        "help",
        "is_flag",
        "looks",
        "metavar",
        "repeat",
        "required",
        "saves",
        "secret",
        "short",
        "type",
    )

    def __init__(
        self,
        flag: str,
        *,
        default: Any = None,
        help: str,
        repeat: bool = False,
        flag_: bool = False,
        type: Callable[[str], Any] = str,
        choices: Sequence[str] | None = None,
        required: bool = False,
        metavar: str | None = None,
        looks: bool = True,
        secret: bool = False,
        saves: bool = False,
        short: str = "",
        common: bool = False,
    ) -> None:
        self.flag, self.short, self.default, self.help, self.repeat = flag, short, default, help, repeat
        self.dest = flag.lstrip("-").replace("-", "_")
        self.is_flag, self.type, self.choices, self.required = flag_, type, choices, required
        self.metavar = None if flag_ else metavar or ("|".join(choices) if choices else self.dest.upper())
        self.looks, self.secret, self.saves, self.common = looks, secret, saves, common
        if repeat and default is None:
            self.default = ()
        if flag_:
            self.default = False

    @property
    def environment(self) -> str:
        """The variable that a secret may come from."""
        return f"NEPHOSCOPE_{self.dest.upper()}"


SNMP_AUTH = ("MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512")  # RFC 3414, RFC 7860
SNMP_PRIV = ("DES", "AES", "AES-192", "AES-256", "AES-192-C", "AES-256-C")  # RFC 3414, RFC 3826; its longer keys


def collector(into: list[Option]) -> Callable[..., None]:
    """Return the `add` that a check's `options(add)` is given."""

    def add(name: str, *, flag: bool = False, **words: Any) -> None:
        into.append(Option(name, flag_=flag, **words))

    return add


def common(
    modes: Mapping[str, str], presets: Mapping[str, Preset], uses: Sequence[str], deadline: float
) -> list[Option]:
    """Return the options that the frame gives to a check."""
    made: list[Option] = []

    def add(flag: str, **words: Any) -> None:
        made.append(Option(flag, common=True, **{"looks": False, **words}))

    add("--help", short="-h", flag_=True, help="show this page")
    add("--version", short="-V", flag_=True, help="show the version")
    add("--verbose", short="-v", help="more detail; -vv what was asked; -vvv tracebacks", flag_=True)
    if {"target", "tls", "http", "https", "snmp"} & set(uses):
        add("--hostname", short="-H", metavar="HOST", help="the target's name or address", looks=True)
        add("--port", short="-p", type=port, help="the target's port", looks=True)
    if {"tls", "http"} & set(uses):
        add("--tls", flag_=True, help="speak TLS; so does every option about certificates")
    if {"tls", "http", "https"} & set(uses):
        add("--ca-file", metavar="FILE", help="certificates of the authorities to trust, PEM")
        add("--insecure", flag_=True, help="do not verify the certificate")
        if "tls" not in uses:  # the libraries that make these connections themselves know no such thing
            add("--fingerprint", metavar="SHA256", help="the certificate's SHA-256 digest, instead of an authority")
        add("--cert", metavar="FILE", help="client certificate, PEM")
        add("--key", metavar="FILE", help="key of the client certificate, PEM")
    if "snmp" in uses:
        add("--community", secret=True, help="SNMP v2c: the community")
        add(
            "--user",
            default="",
            help="the read-only account; by SNMP the user of v3, and without one v2c is spoken",
            looks=True,
        )
        add(
            "--auth-protocol", choices=SNMP_AUTH, default="SHA", metavar="NAME", help=f"SNMP v3: {', '.join(SNMP_AUTH)}"
        )
        add("--auth-password", secret=True, help="SNMP v3: the user's password; without one, noAuthNoPriv")
        add(
            "--priv-protocol", choices=SNMP_PRIV, default="AES", metavar="NAME", help=f"SNMP v3: {', '.join(SNMP_PRIV)}"
        )
        add("--priv-password", secret=True, help="SNMP v3: the key of the privacy; without one, authNoPriv")
        add("--context", default="", metavar="NAME", help="SNMP v3: the context", looks=True)
    if "cloud" in uses:
        add("--cloud", metavar="NAME", help="an entry of clouds.yaml, or a profile of ~/.euca or ~/.aws", looks=True)
        add("--credentials", metavar="FILE", help="a file of credentials instead of those, mode 0600")
    if modes:
        add("--mode", repeat=True, choices=tuple(modes), metavar="MODE", help="", looks=True)
    if presets:
        add("--preset", repeat=True, choices=tuple(presets), metavar="PRESET", help="", looks=True)
    add(
        "--warning", short="-w", repeat=True, metavar="RANGE", help="WARNING outside RANGE; NAME=RANGE; NAME/GLOB=RANGE"
    )
    add("--critical", short="-c", repeat=True, metavar="RANGE", help="CRITICAL outside RANGE, likewise")
    add("--include", repeat=True, metavar="GLOB", help="look only at objects that match", looks=True)
    add("--exclude", repeat=True, metavar="GLOB", help="leave out objects that match", looks=True)
    add(
        "--timeout",
        short="-t",
        type=seconds_state,
        metavar="SECONDS[:STATE]",
        default=(deadline, None),
        help=f"deadline of the run and its state (default {deadline:g}:unknown)",
    )
    add(
        "--unreachable-state",
        type=state,
        default=2,
        metavar="STATE",
        help="state when the target refuses or stays silent",
    )
    add("--absent-state", type=state, default=3, metavar="STATE", help="state when there is nothing of the kind here")
    add("--window", type=window, metavar="N/DURATION", help="not OK only when N runs in DURATION were not")
    add("--exit-ok", flag_=True, help="always exit 0 after a run")
    add("--format", choices=FORMATS, default="nagios", metavar="FORMAT", help="nagios, json or openmetrics")
    add("--explain", flag_=True, help="run, and say what was asked of whom and what to do next")
    add("--extra-opts", metavar="[SECTION][@FILE]", help="read options from an INI file")
    add("--state-dir", metavar="DIR", help="where state is kept between runs")
    add("--state-id", metavar="ID", help="keeps the states of several schedulers apart", looks=True)
    add("--save", flag_=True, help="keep state even when run on a terminal")
    return made


def parse(
    options: Sequence[Option], argv: Sequence[str], prog: str, presets: Mapping[str, Preset]
) -> argparse.Namespace:
    """Return the options' values, defaults and presets filled in. Raises BadOption and Show."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> Any:
            raise BadOption(message.replace("argument ", "option ", 1))

    secrets = {option.flag: option for option in options if option.secret}
    given, hidden = _extra_opts(_joined(list(argv), options), prog, secrets)
    if any(word in ("-h", "--help") for word in given):
        raise Show("help")  # whatever else is wrong
    parser = Parser(prog=prog, allow_abbrev=False, add_help=False)
    for option in options:
        if option.secret or option.flag == "--extra-opts":
            continue
        names = [option.short, option.flag] if option.short else [option.flag]
        if option.flag == "--verbose":
            parser.add_argument(*names, action="count", default=0)
        elif option.is_flag:
            parser.add_argument(*names, action="store_true", default=None)
        else:
            parser.add_argument(*names, action="append" if option.repeat else "store", metavar=option.metavar)
    values, rest = parser.parse_known_args(given)
    if rest:
        raise BadOption(_unknown(rest[0], options, secrets))
    if values.help or values.version:
        raise Show("help" if values.help else "version")
    for option in options:
        if option.flag == "--extra-opts":
            values.extra_opts = None
        elif option.secret:
            secret = hidden.get(option.flag) or os.environ.get(option.environment)
            setattr(values, option.dest, _convert(option, secret) if secret else None)
        elif not option.is_flag:
            raw = getattr(values, option.dest)
            if option.repeat:
                found: Any = tuple(_convert(option, text) for text in raw or () if text.strip()) or None
            else:
                found = _convert(option, raw) if raw is not None and raw.strip() else None
            setattr(values, option.dest, found)
    _fill(values, options, presets)
    return values


def _fill(values: argparse.Namespace, options: Sequence[Option], presets: Mapping[str, Preset]) -> None:
    """Give what was not given: from the presets asked for (`by_preset` names these options), else the default."""
    by_preset = values.by_preset = set()
    chosen = [presets[name] for name in getattr(values, "preset", None) or ()]
    for option in options:
        if option.flag == "--verbose" or getattr(values, option.dest) is not None:
            continue
        from_presets = [preset.options[option.dest] for preset in chosen if option.dest in preset.options]
        if from_presets:
            by_preset.add(option.dest)
        if from_presets and option.repeat:
            value = tuple(dict.fromkeys(item for items in from_presets for item in items))
        else:
            value = from_presets[-1] if from_presets else option.default
        setattr(values, option.dest, value)
        if option.required and value in (None, ()):
            source = f"an --extra-opts file or ${option.environment}" if option.secret else "the command line"
            raise BadOption(f"option {option.flag} is required: give it by {source}")


def _convert(option: Option, text: str) -> Any:
    if option.choices and text not in option.choices:
        raise BadOption(f"option {option.flag}: '{text}' is none of {', '.join(option.choices)}")
    try:
        return option.type(text)
    except (ValueError, OverflowError) as error:
        said = str(error)
        if option.secret:
            said = "its value is not of the right form"
        elif said.startswith(("invalid literal", "could not convert")):
            said = f"'{text}' is not a number"
        raise BadOption(f"option {option.flag}: {said}") from None


def _joined(argv: list[str], options: Sequence[Option]) -> list[str]:
    """Join a range that begins with a minus to its option: argparse would take `-5:5` for one."""
    out: list[str] = []
    words = iter(argv)
    for word in words:
        if word in ("-w", "-c", "--warning", "--critical"):
            value = next(words, None)
            if value is None:
                out.append(word)
            elif value[:1] == "-" and value[1:2] in tuple("0123456789.~:"):
                out.append(f"{word}={value}" if word.startswith("--") else word + value)
            else:
                out += [word, value]
        else:
            out.append(word)
    return out


def _unknown(word: str, options: Sequence[Option], secrets: Mapping[str, Option]) -> str:
    import difflib

    name = word.partition("=")[0]
    if name in secrets:
        return (
            f"option {name} is never taken from the command line, which every user of this host can read:"
            f" put it into an --extra-opts file or ${secrets[name].environment}"
        )
    if not name.startswith("-"):
        return f"'{word}' belongs to no option"
    near = difflib.get_close_matches(name, [option.flag for option in options], 1, 0.5)
    return f"no option {name}" + (f": did you mean {near[0]}?" if near else ": see --help")


def _extra_opts(argv: list[str], prog: str, secrets: Mapping[str, Option]) -> tuple[list[str], dict[str, str]]:
    """Replace --extra-opts by what its files say, before the rest, so that the command line wins.

    Source: --extra-opts of the monitoring plugins (lib/extra_opts.c, lib/parse_ini.c): search path, repeated sections.
    """
    rest: list[str] = []
    wanted: list[str] = []
    at = 0
    while at < len(argv):
        word = argv[at]
        at += 1
        if word == "--extra-opts":
            if at < len(argv) and not argv[at].startswith("-"):
                wanted.append(argv[at])
                at += 1
            else:
                wanted.append("")
        elif word.startswith("--extra-opts="):
            wanted.append(word.partition("=")[2])
        else:
            rest.append(word)
    if not wanted:
        return rest, {}
    from nephoscope.plugin import inifile

    before: list[str] = []
    hidden: dict[str, str] = {}
    for spec in wanted:
        for flag, value in inifile.read(spec, prog, frozenset(secrets)):
            if flag in secrets:
                hidden[flag] = value
            elif not value:
                before.append(flag)
            else:
                before.append(f"{flag}={value}" if flag.startswith("--") else flag + value)
    return before + rest, hidden
