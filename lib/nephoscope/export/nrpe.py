# SPDX-License-Identifier: Apache-2.0
"""NRPE: one command file for each role, without remote arguments, which Debian's daemon takes none of.

Source: nrpe 4.1 src/nrpe.c: lines are read into 2048 bytes, commands are run by a shell, `$ARGn$` is replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nephoscope.export import words
from nephoscope.export.roles import BadRoles

if TYPE_CHECKING:
    from nephoscope.export.roles import Roles
    from nephoscope.plugin import Check

LONGEST = 2000  # bytes of a line; nrpe's buffer is 2048


def render(checks: Sequence[Check], roles: Roles, plugin_dir: str) -> dict[str, str]:
    """Return nephoscope-<role>.cfg for every role that has services on the machine itself."""
    known = words.bound(checks, roles)
    files = {}
    for role in roles.roles:
        here = [service for service in role.services if words.at_node(known[service.check], service)]
        if not here:
            continue
        lines = [f"# {words.MARK.format('nrpe')}", f"# Role {role.name}: {role.about}"]
        for other in roles.implied(role.name)[:-1]:
            lines.append(f"# It has the commands of nephoscope-{other}.cfg besides.")
        for service in here:
            check = known[service.check]
            command = f"command[{words.PREFIX}{service.name}]={words.line(plugin_dir, check, service)}"
            if "$" in command:
                raise BadRoles(f"[{role.name}.services.{service.name}]: NRPE would replace the $ in {command}")
            if len(command.encode()) > LONGEST:
                raise BadRoles(f"[{role.name}.services.{service.name}]: too long for NRPE: {len(command)} bytes")
            wait = words.seconds(check, service)
            if wait > 8:
                lines.append(f"# takes up to {wait:g} s: check_nrpe -t {wait + 2:g}")
            lines.append(command)
        files[f"nephoscope-{role.name}.cfg"] = "\n".join(lines) + "\n"
    return files
