# SPDX-License-Identifier: Apache-2.0
"""The Heartbeat of a Eucalyptus JVM: which components run in it, without any credential.

Source: com.eucalyptus.ws.server.LegacyHBPipeline of Eucalyptus 3.1 to 5.1 (clc/modules/msgs, in 5.x clc/modules/core). The path
is matched by its end, so a query string gives 404. One line for each component that this JVM knows, in no order, made by
`"name=%-20.20s enabled=%-10.10s local=%-10.10s initialized=%-10.10s\\n"`: a name is cut at 20 characters, values are padded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import page

PATH = "/services/Heartbeat"
PORT = 8773
CUT = 20  # characters of a name that are told
_FIELDS = (("name=", CUT), (" enabled=", 10), (" local=", 10), (" initialized=", 10))
_FLAGS = {"true": True, "false": False}


class Component(NamedTuple):
    """What one JVM says of one component type.

    name         its type in lower case, at most 20 characters
    enabled      a service of this type is ENABLED on this host
    local        such a service is registered on this host, in whatever state; of all others the line says nothing
    initialized  its code is installed and usable here
    """

    name: str
    enabled: bool
    local: bool
    initialized: bool

    @property
    def state(self) -> str:
        """What is known of it, as it follows "is": a Heartbeat does not tell DISABLED from BROKEN."""
        return "enabled" if self.enabled else "not enabled" if self.local else "not registered on this host"


class Heartbeat(NamedTuple):
    """What one JVM answers.

    of          "host:port" that was asked
    seconds     until the whole answer was there
    components  all of them, by name
    """

    of: str
    seconds: float
    components: tuple[Component, ...]

    def find(self, name: str) -> Component | None:
        """Return the component of exactly this type, whose name may be longer than what is told; None when it is not listed."""
        told = name.lower()[:CUT]
        return next((component for component in self.components if component.name == told), None)

    def lacks(self, name: str) -> str:
        """Return why a component is not enabled on this host, in words that follow its name; "" when it is."""
        one = self.find(name)
        return "" if one and one.enabled else f"is {one.state if one else 'unknown to this version'}"

    @property
    def local(self) -> tuple[Component, ...]:
        """The components that are registered on this host: the only ones of which a Heartbeat knows the health."""
        return tuple(component for component in self.components if component.local)


def options(add: Callable[..., None]) -> None:
    """Declare `--local`, of which `here` and `unseen` ask."""
    add("--local", flag=True, help="look at this host too, beside the one that -H names; implied without -H")


def component(text: str) -> str:
    """Return a component type as a Heartbeat would tell it. Raises ValueError for "TYPE=N": it tells whether, not how many."""
    name, equals, _ = text.partition("=")
    if equals or not name.replace("-", "").isalnum():
        raise ValueError(f"'{text}' is no component type: a Heartbeat tells which run on a host, not how many")
    return name.lower()


def here(options: Any) -> bool:
    """Return whether this host is to be looked at as well: with --local, and wherever no -H names another."""
    return bool(options.local or not options.hostname)


def unseen(options: Any, local: tuple[str, ...]) -> str:
    """Return why the modes asked for by name can't be looked at from here, "" when they can.

    local  the modes that look at this host's processes, sockets and files
    """
    asked = [mode for mode in options.mode if mode in local] if options.mode_given else []
    if here(options) or not asked:
        return ""
    return (
        f"mode {', '.join(asked)} looks at the host that the check runs on, not at {options.hostname}:"
        " run it there, by NRPE or an agent, without -H or with --local"
    )


def ask(run: Run, options: Any, port: int = PORT) -> Heartbeat:
    """Ask the JVM that the options of the group "http" name.

    Raises Failed as `page.get` does, and unreadable for what is no Heartbeat.
    """
    answer = page.get(run, options, PATH, port)
    return Heartbeat(answer.of, answer.seconds, parse(answer.text, answer.of))


def parse(text: str, of: str = "") -> tuple[Component, ...]:
    """Return the components of an answer, by name. Raises Failed (unreadable) for any line that is not exactly one of them."""
    found: dict[str, Component] = {}
    *lines, rest = text.split("\n")
    for line in lines:
        component = _component(line)
        if component is None:
            raise _unreadable(of, f"not a line of a Heartbeat: {line[:60]!r}")
        if component.name in found:
            raise _unreadable(of, f"component {component.name} is listed twice")
        found[component.name] = component
    if rest:
        what = "it ends in the middle of a line" if rest.startswith("name=") else "not a line of a Heartbeat"
        raise _unreadable(of, f"{what}: {rest[:60]!r}")
    if not found:
        raise _unreadable(of, "an empty answer")
    return tuple(found[name] for name in sorted(found))


def _component(line: str) -> Component | None:
    """Return what a line says, or None when it does not have the fields, each in its columns."""
    values = []
    at = 0
    for word, width in _FIELDS:
        end = at + len(word) + width
        if line[at : at + len(word)] != word or len(line) < end:
            return None
        values.append(line[at + len(word) : end].rstrip(" "))
        at = end
    name, *flags = values
    if at != len(line) or not name or " " in name or not name.isprintable() or not set(flags) <= set(_FLAGS):
        return None
    return Component(name, *(_FLAGS[flag] for flag in flags))


def _unreadable(of: str, text: str) -> Failed:
    return Failed(UNREADABLE, of, f"GET {PATH}", text)
