# SPDX-License-Identifier: Apache-2.0
"""The checks as other programs' files: pure functions from checks and roles to texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Callable

from nephoscope.export import director, docs, icinga, nagios, nrpe, sudoers
from nephoscope.export.roles import BadRoles, Role, Roles, Service, load

if TYPE_CHECKING:
    from nephoscope.plugin import Check

PLUGIN_DIR = "/opt/nephoscope/bin"

# format -> (checks, roles, plugin directory) -> {relative path: text}. Raises BadRoles.
FORMATS: Mapping[str, Callable[[Sequence[Check], Roles, str], dict[str, str]]] = {
    "icinga": icinga.render,
    "nrpe": nrpe.render,
    "nagios": nagios.render,
    "director": director.render,
    "sudoers": sudoers.render,
    "docs": docs.render,
}

__all__ = ["FORMATS", "PLUGIN_DIR", "BadRoles", "Role", "Roles", "Service", "load"]
