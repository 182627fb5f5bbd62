# SPDX-License-Identifier: Apache-2.0
"""What a cloud can be told while it runs: states, hosts that fail, clocks. Words may be strings, as from a command line."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from nephoscope.demo.model import Cloud, Host

FAILURES = {
    "hang": "takes connections and never answers; the CLC sees NOTREADY",
    "error500": "answers every request with 500",
    "unavailable": "answers 503 without a body",
    "cut": "sends half of the body and closes",
    "truncated": "sends half of the body as if it were all of it",
    "garbage": "answers 200 with a body that means nothing",
    "noise": "answers bytes that are no HTTP",
    "empty": "answers 200 with an empty body",
    "html": "answers 200 with a web page, as a proxy does",
    "login": "redirects to a page for logging in",
    "drip": "sends one byte a second",
    "huge": "sends a body that does not end before 512 MiB",
    "bomb": "answers XML whose entities grow to gigabytes",
    "reset": "resets the connection when the request is read",
}
"""How a host can fail, whatever it is asked."""


def find_host(cloud: Cloud, name: str) -> Host:
    """Return a host by its name or address. Raises KeyError."""
    if name in cloud.hosts:
        return cloud.hosts[name]
    try:
        return cloud.at(name)
    except KeyError:
        raise KeyError(f"no host {name}{nearest(name, cloud.hosts)}") from None


def nearest(word: str, names: Iterable[str]) -> str:
    """Return a clause with the real name that is nearest, or nothing."""
    close = difflib.get_close_matches(word, list(names), 1, 0.5)
    return f": did you mean {close[0]}?" if close else ""


def amount(word: float | str, least: float = -1e9, most: float = 1e9) -> float:
    """Return a number within limits: a clock that is no number would break every answer. Raises ValueError."""
    try:
        found = float(word)
    except ValueError:
        found = math.nan
    if not least <= found <= most:
        raise ValueError(f"write a number from {least:.0f} to {most:.0f}, not {word}")
    return found


def fail(kind: str, cloud: Cloud, host: str) -> None:
    """Let a host fail in one of the ways of FAILURES, until heal."""
    place = find_host(cloud, host)
    place.failure = kind
    if kind == "hang":
        _down(cloud, place)


def stop(cloud: Cloud, host: str) -> None:
    """Nothing listens on HOST any more; the CLC sees NOTREADY, and forgets nodes nobody reports for ten minutes."""
    place = find_host(cloud, host)
    place.up = False
    _down(cloud, place)


def heal(cloud: Cloud, host: str) -> None:
    """End every failure of HOST: it listens and answers again, with nothing but its services' states as they were told."""
    place = find_host(cloud, host)
    place.up, place.failure, place.down_since = True, "", None
    place.view.clear()
    place.store.pop("axis2", None)
    place.store.pop("delay", None)


def delay(cloud: Cloud, host: str, seconds: float | str) -> None:
    """Every answer of HOST comes SECONDS later."""
    find_host(cloud, host).store["delay"] = amount(seconds, 0, 3600)


def faulty(cloud: Cloud, host: str) -> None:
    """The axis2 page of HOST lists the module under Faulty Services."""
    find_host(cloud, host).store["axis2"] = "faulty"


def undeployed(cloud: Cloud, host: str) -> None:
    """The axis2 page of HOST says that there are no services."""
    find_host(cloud, host).store["axis2"] = "undeployed"


def state(cloud: Cloud, service: str, state: str, *message: str) -> None:
    """Give SERVICE (a name, a node's host, TYPE@HOST) a state, any word, and the text of its event."""
    found = cloud.find(service)
    found.state = str(state)
    found.message = " ".join(message)


def view(cloud: Cloud, host: str, *states: Mapping[str, str] | str) -> None:
    """HOST sees SERVICE=STATE ..., whatever the others see (in Python: a mapping)."""
    place = find_host(cloud, host)
    for each in states:
        pairs = each.items() if isinstance(each, Mapping) else [_pair(each)]
        for name, word in pairs:
            place.view[cloud.find(name)] = word


def unregister(cloud: Cloud, service: str) -> None:
    """The CLC knows SERVICE no more."""
    cloud.services.remove(cloud.find(service))


def clock(cloud: Cloud, seconds: float | str) -> None:
    """SECONDS pass for whatever lasts; the clocks that are shown stay as they are."""
    cloud.passed = amount(cloud.passed + amount(seconds))


def skew(cloud: Cloud, seconds: float | str) -> None:
    """The servers' clock is SECONDS ahead (behind, when negative)."""
    cloud.skew = amount(seconds)


def _down(cloud: Cloud, host: Host) -> None:
    if host.down_since is None:
        host.down_since = cloud.elapsed()


def _pair(word: str) -> tuple[str, str]:
    name, sign, value = word.partition("=")
    if not sign:
        raise ValueError(f"write SERVICE=STATE, not {word}")
    return name, value


TELL: dict[str, Callable[..., None]] = {
    "state": state, "stop": stop, "start": heal, "heal": heal, "silent": stop, "delay": delay, "view": view, "faulty": faulty,
    "undeployed": undeployed, "unregister": unregister, "clock": clock, "skew": skew,
    **{kind: partial(fail, kind) for kind in FAILURES},
}  # fmt: skip


def words(modules: Iterable[ModuleType]) -> list[str]:
    """Return one line for each word that can be told: the word, what follows it, what it does."""
    lines = []
    for module in modules:
        for word, function in module.TELL.items():
            kind = getattr(function, "args", ("",))[0] if isinstance(function, partial) else ""
            about = FAILURES.get(kind) or (inspect.getdoc(function) or "").partition("\n")[0]
            lines.append(f"{usage(word, function):<36}  {about}".rstrip())
    return list(dict.fromkeys(lines))


def usage(word: str, function: Callable[..., Any]) -> str:
    """Return how to write a word: "delay HOST SECONDS"."""
    return " ".join([word, *_arguments(function)])


def fits(cloud: Cloud, function: Callable[..., Any], rest: Iterable[Any]) -> bool:
    """Say whether there are as many words behind the first one as it takes."""
    try:
        inspect.signature(function).bind(cloud, *rest)
    except TypeError:
        return False
    return True


def _arguments(function: Callable[..., Any]) -> Iterable[str]:
    for name, each in list(inspect.signature(function).parameters.items())[1:]:
        text = name.upper().replace("_", "-")
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            text += "..."
        yield text if each.default is each.empty and not text.endswith("...") else f"[{text}]"
