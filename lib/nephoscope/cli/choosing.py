# SPDX-License-Identifier: Apache-2.0
"""Which checks a run is to make: by names, by roles, by a file, or all that make sense on this machine."""

from __future__ import annotations

import argparse
import difflib
import os
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING

from nephoscope import catalogue
from nephoscope.cli.running import Job
from nephoscope.plugin import UNKNOWN, BadOption
from nephoscope.plugin.check import Outcome
from nephoscope.plugin.options import Show

if TYPE_CHECKING:
    from nephoscope.export.roles import Roles, Service
    from nephoscope.plugin import Check


class Refused(Exception):
    """What was asked for cannot be done; the text names the thing and, where there is one, the nearest real one."""


def nearest(word: str, names: Iterable[str]) -> str:
    """Return a clause that names the nearest of the real names, or all of them when they are few."""
    names = sorted(names)
    close = difflib.get_close_matches(word, names, 1, 0.5)
    if close:
        return f": did you mean {close[0]}?"
    return f": there are {', '.join(names)}" if names and len(names) <= 12 else ""


def full_name(name: str) -> str:
    """Return a check's name from itself or from its short form. Raises Refused."""
    names = catalogue.names()
    for candidate in (name, f"check_{name}"):
        if candidate in names:
            return candidate
    short = [known.removeprefix("check_") for known in names]
    close = difflib.get_close_matches(name.removeprefix("check_"), short, 1, 0.5)
    raise Refused(f"no check {name}" + (f": did you mean check_{close[0]}?" if close else ": see nephoscope list"))


def load(name: str) -> Check:
    """Return the check of this full name. Raises Refused when its file cannot be loaded."""
    try:
        return catalogue.load(name)
    except Exception as error:
        raise Refused(f"{name} cannot be loaded: {type(error).__name__}: {error}") from error


def roles(file: str | None) -> Roles:
    """Return the suite's roles, or those of a file. Raises Refused."""
    from nephoscope.export import roles as roles_

    try:
        return roles_.load(file)
    except roles_.BadRoles as error:
        raise Refused(str(error)) from None


def jobs(options: argparse.Namespace, terminal: bool) -> list[Job]:
    """Return what names, --role and --file ask for, in that order; without any of them, what makes sense here.

    terminal: a person looks on, so the schedulers' state is read and not written. Raises Refused.
    """
    chosen = [_named(words, terminal) for words in options.name]
    if options.file is not None or options.role:
        known = roles(options.file)
        source = options.file or "the roles"
        for role in options.role:
            if role not in known.names():
                raise Refused(f"no role {role} in {source}{nearest(role, known.names())}")
        for service in known.services(*(options.role or known.names())):
            if service.remote and options.file is None:
                continue  # the suite's own: asked of a host's address, which nobody gave; on the machine it runs as well
            try:
                name = full_name(service.check)
            except Refused as error:
                raise Refused(f"{source}: service {service.name}: {error}") from None
            chosen.append(_service(service, name, source, terminal))
    return chosen or list(_here(terminal))


def _named(words: str, terminal: bool) -> Job:
    try:
        name, *argv = shlex.split(words) or [""]
    except ValueError as error:
        raise Refused(f"{words}: {error}") from None
    name = full_name(name)
    return _job(name, argv, " ".join((name, *argv)), name, terminal)


def _here(terminal: bool) -> Iterable[Job]:
    """Give every check that runs on a node: as the role `node` runs it, else with its own defaults."""
    services: list[Service] = []
    lacking: Refused | None = None
    try:
        services = roles(None).services("node")
    except Refused as error:  # without a reader of TOML most checks can be asked all the same
        lacking = error
    for name in catalogue.names():
        try:
            check = load(name)
        except Refused as error:
            yield _refused(name, (), name, error)
            continue
        if "node" not in check.where:
            continue
        mine = [service for service in services if service.check == name]
        for service in mine:
            yield _service(service, name, "the roles", terminal)
        if check.signs and not any(map(os.path.exists, check.signs)):
            text = f"{check.title} UNKNOWN - nothing of it is on this machine"
            gone = Outcome(UNKNOWN, text, absent=True)
            yield Job(name, (), name, lambda gone=gone: gone)  # type: ignore[misc]
        elif not mine:
            try:
                yield _job(name, [], name, name, terminal)
            except Refused as error:
                yield _refused(name, (), name, lacking or error)


def _service(service: Service, name: str, source: str, terminal: bool) -> Job:
    label = name if name == f"check_{service.name}" else f"{service.name} ({name})"
    return _job(name, service.argv(), label, f"{source}: service {service.name}", terminal)


def _job(name: str, argv: list[str], label: str, where: str, terminal: bool) -> Job:
    """Return the job. Raises Refused where the check would refuse its options."""
    try:
        check = load(name)
    except Refused as error:
        return _refused(name, tuple(argv), label, error)
    seconds, state = check.deadline, None
    try:
        seconds, state = check.parse(*argv).timeout
    except BadOption as error:
        raise Refused(f"{where}: {error}") from None
    except Show:
        pass  # -h or -V: the check answers that itself
    late = UNKNOWN if state is None else state
    return Job(name, tuple(argv), label, lambda: check.run(argv, terminal=terminal), seconds, late)


def _refused(name: str, argv: tuple[str, ...], label: str, error: Refused) -> Job:
    """Return the job whose answer is that it cannot be done: the others are run all the same."""
    text = f"{name} UNKNOWN - {error}".replace(" | ", " ")
    return Job(name, argv, label, lambda: Outcome(UNKNOWN, text))
