# SPDX-License-Identifier: Apache-2.0
"""The checks that there are: found by walking the package nephoscope.checks, never by a list."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from nephoscope.plugin import Check


def names() -> dict[str, str]:
    """Return check name -> module, sorted by name, without importing any check."""
    found = {}
    checks = import_module("nephoscope.checks")  # laid beside lib/: a plain import is nothing that mypy could follow
    for group in pkgutil.iter_modules(checks.__path__):
        package = import_module(f"nephoscope.checks.{group.name}")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.startswith("check_"):
                found[module.name] = f"{package.__name__}.{module.name}"
    return dict(sorted(found.items()))


def load(name: str) -> Check:
    """Return a check by its name. Raises KeyError when there is none."""
    check = import_module(names()[name]).CHECK
    assert isinstance(check, Check), name  # noqa: S101
    return check


def all_checks() -> list[Check]:
    """Return every check, sorted by name."""
    return [load(name) for name in names()]
