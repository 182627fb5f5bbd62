# SPDX-License-Identifier: Apache-2.0
"""Sizes of guests' console logs, as the hypervisor's host sees them in the instance directories."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREADABLE, Collecting, Failed, Run, child

# Nova: <instances_path>/<uuid>/console.log. Eucalyptus NC: <INSTANCE_PATH>/work/<account>/<instance>/console.log; either
# INSTANCE_PATH or its work/ may be given.
NOVA = "/var/lib/nova/instances"
EUCALYPTUS = "/var/lib/eucalyptus/instances/work"
NAME = "console.log"
# Not instances: image caches, locks, what a file system and a filer put beside them.
ASIDE = ("_", ".", "locks", "lost+found", "compute_nodes", "cache")
LIMIT = 20_000  # directories that are looked into
LEAST = 30.0  # seconds between two samples: a forced re-check a moment later must not make a rate of noise
TRIED = "look for console logs"


class Log(NamedTuple):
    """One console log: the instance (the name of its directory), bytes, and growth in bytes per second."""

    instance: str
    size: int
    growth: float | Collecting


class Store(NamedTuple):
    """One instance store.

    path       the directory
    instances  how many instance directories there are, with or without a log
    logs       largest first
    hidden     Failed when some of its directories may not be entered, else None
    odd        instance -> what its console.log is instead of a file in the store ("a pipe", "a link to /srv/x")
    """

    path: str
    instances: int
    logs: Sequence[Log]
    hidden: Failed | None
    odd: Mapping[str, str] = {}


class Survey(NamedTuple):
    """The stores in the order asked for (a Failed stands for one that could not be read), and what the next run wants."""

    stores: Sequence[Store | Failed]
    kept: Mapping[str, Any]

    def keep(self) -> Mapping[str, Any]:
        """Return sizes and their time, plain JSON."""
        return self.kept


def survey(run: Run, paths: Sequence[str] = (), *, seconds: float = 5.0) -> Survey:
    """Read the sizes of all console logs below `paths`, each in a child of its own: a store may lie on NFS.

    paths    instance stores; none: those of Nova and Eucalyptus, whichever are there
    seconds  the longest that one store may take
    Raises Failed absent when no path was given and neither store is there.
    """
    jobs = {path: (lambda path=path: _scan(run.path(path), path)) for path in paths or (NOVA, EUCALYPTUS)}
    answers = child.each(run, jobs, tried=TRIED, seconds=seconds)
    if not paths:
        there = {
            path: answer
            for path, answer in answers.items()
            if not (isinstance(answer, Failed) and answer.kind == ABSENT)
        }
        if not there:
            raise Failed(ABSENT, "", TRIED, f"neither {NOVA} nor {EUCALYPTUS} is here")
        answers = there
    before = run.before if isinstance(run.before, dict) else {}
    now = round(run.clock.time(), 1)
    stores: list[Store | Failed] = []
    kept: dict[str, Any] = {}
    for path, answer in answers.items():
        at, sizes = _before(before.get(path), now)
        if isinstance(answer, Failed):
            stores.append(answer)
            if sizes:
                kept[path] = [at, sizes]
            continue
        count, found, hidden, odd = answer
        logs = [Log(name, size, _growth(sizes.get(name), size, now - at)) for name, size in found.items()]
        logs.sort(key=lambda log: (-log.size, log.instance))
        failed = Failed(*hidden) if hidden else None
        stores.append(Store(path, count, tuple(logs), failed, odd))
        kept[path] = [at, sizes] if sizes and now - at < LEAST else [now, found]
    return Survey(tuple(stores), kept)


def _growth(earlier: float | None, size: int, seconds: float) -> float | Collecting:
    """Return bytes per second; COLLECTING for a log that is new, was cut or replaced, or was seen a moment ago."""
    if earlier is None or size < earlier or seconds < LEAST:
        return COLLECTING
    return (size - earlier) / seconds


def _before(kept: Any, now: float) -> tuple[float, dict[str, float]]:
    """Return when sizes were last kept, and the sizes; what is damaged or from the future counts as none."""
    try:
        at, sizes = kept
        if float(at) <= now:
            return float(at), {str(name): float(size) for name, size in sizes.items()}
    except (TypeError, ValueError, AttributeError):
        pass
    return now, {}


def _scan(place: str, path: str) -> list[object]:
    """Return the number of instances, instance -> bytes, the words of a Failed or None, and instance -> what its
    console.log is instead of a file; runs in a child.
    """
    found: dict[str, int] = {}
    odd: dict[str, str] = {}
    denied: list[str] = []
    looked = silent = 0
    layers = [(place, 0)]
    for directory, depth in layers:
        top = depth == 0
        try:
            with os.scandir(directory) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            if top:
                raise
            continue  # it went away meanwhile
        except PermissionError as error:
            if top:
                cure = f"the right to list it (group of {path}, or setfacl -m u:NAME:rx)"
                raise Failed(NOT_ALLOWED, path, TRIED, error.strerror or "", cure) from None
            denied.append(directory)
            continue
        for name in names:
            looked += 1
            if looked > LIMIT:
                raise Failed(UNREADABLE, path, TRIED, f"more than {LIMIT} directories")
            if name.startswith(ASIDE):
                continue
            try:
                size, kind = _look(f"{directory}/{name}/{NAME}", place)
                if kind:
                    odd[_shown(name)] = kind
                else:
                    found[_shown(name)] = size
            except FileNotFoundError:
                if _is_instance(name):
                    silent += 1
                elif depth < 2:
                    layers.append((f"{directory}/{name}", depth + 1))  # work/, an account
            except PermissionError:
                denied.append(f"{directory}/{name}")
    hidden = None
    if denied:
        text = f"{len(denied)} of its directories may not be entered, {_shown(denied[0].rpartition('/')[2])} for one"
        hidden = [
            NOT_ALLOWED,
            path,
            TRIED,
            text,
            "the right to enter them (their group, or a default ACL on the store)",
        ]
    return [len(found) + len(odd) + silent, found, hidden, odd]


def _look(path: str, store: str) -> tuple[int, str]:
    """Return the bytes of a log and "", or 0 and what it is instead of a file in the store.

    A link counts where it leads to within the store; what goes to /dev/null weighs nothing. Raises FileNotFoundError when
    there is nothing, PermissionError when it may not be seen.
    """
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        target = os.path.realpath(path)
        if target == os.devnull:
            return 0, ""
        if not target.startswith(os.path.realpath(store) + "/"):
            return 0, f"a link to {_shown(target)}"
        try:
            status = os.lstat(target)
        except (FileNotFoundError, NotADirectoryError):
            return 0, f"a link to {_shown(target)}, which is not there"
    if stat.S_ISREG(status.st_mode):
        return status.st_size, ""
    return 0, "a pipe" if stat.S_ISFIFO(status.st_mode) else "no file"


def _is_instance(name: str) -> bool:
    """Return whether a directory is named like a guest: a UUID (Nova), i-… (Eucalyptus), instance-… (early Nova)."""
    return name.startswith(("i-", "instance-")) or (len(name) == 36 and name.count("-") == 4)


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
