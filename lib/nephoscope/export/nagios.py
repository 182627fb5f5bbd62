# SPDX-License-Identifier: Apache-2.0
"""Nagios: a command for each check and for each service by NRPE, and the services of each role.

Sources: Nagios Core 4.4 documentation, "Object Definitions" and "Macros"; base/xodtemplate.c for what `;` and `!` do.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nephoscope.export import words

if TYPE_CHECKING:
    from nephoscope.export.roles import Role, Roles, Service
    from nephoscope.plugin import Check

TEMPLATES = """\
define service {
    name                    nephoscope-service
    register                0
    use                     generic-service
    check_interval          1
    retry_interval          1
    max_check_attempts      3
}
"""


def render(checks: Sequence[Check], roles: Roles, plugin_dir: str) -> dict[str, str]:
    """Return commands.cfg, templates.cfg, hostgroups.cfg, and services-<role>.cfg for each role that has services."""
    known = words.bound(checks, roles)
    head = f"# {words.MARK.format('nagios')}\n\n"
    commands = [_command(check, plugin_dir) for check in checks]
    files = {"templates.cfg": head + TEMPLATES, "hostgroups.cfg": head + "\n".join(map(_hostgroup, roles.roles))}
    for role in roles.roles:
        if not role.services:
            continue
        for service in role.services:
            check = known[service.check]
            if words.at_node(check, service):
                commands.append(_remote(service, check))
            elif service.options or service.remote:
                line = escape(words.line(plugin_dir, check, service))
                if "hostname" in {option.dest for option in check.options} - {name for name, _ in service.options}:
                    line += " --hostname '$HOSTADDRESS$'"
                commands.append(_define(_name(service, check), line, check.question))
        body = [_service(roles, role, service, known[service.check]) for service in role.services]
        files[f"services-{role.name}.cfg"] = head + f"# Role {role.name}: {role.about}\n\n" + "\n".join(body)
    files["commands.cfg"] = head + "\n".join(commands)
    return files


def escape(line: str) -> str:
    r"""Return a command line as Nagios keeps it: `$$` is a dollar, and an unescaped `;` begins a comment."""
    return line.replace("$", "$$").replace(";", "\\;")


def _define(name: str, line: str, comment: str) -> str:
    return f"# {comment}\ndefine command {{\n    command_name    {name}\n    command_line    {line}\n}}\n"


def _command(check: Check, plugin_dir: str) -> str:
    """Return the command that runs the check on the Nagios machine: limits, then what it cannot do without.

    An argument that is left out arrives as '', which the checks take for not given; outside the single quotes a shell
    would act on it.
    """
    flags = ["--warning", "--critical"]
    for option in words.exported(check):
        if option.dest == "hostname" and words.from_afar(check):
            flags.insert(0, option.flag)
        elif option.required and not option.secret:
            flags.append(option.flag)
    given, number = [], 0
    for flag in flags:
        if flag == "--hostname":
            given.append(f"{flag} '$HOSTADDRESS$'")
        else:
            number += 1
            given.append(f"{flag} '$ARG{number}$'")
    line = escape(shlex.quote(f"{plugin_dir}/{check.name}"))
    return _define(words.command(check), f"{line} {' '.join(given)}", check.question)


def _remote(service: Service, check: Check) -> str:
    wait = max(10, math.ceil(words.seconds(check, service)) + 2)
    line = f"$USER1$/check_nrpe -H '$HOSTADDRESS$' -t {wait} -c {words.PREFIX}{service.name}"
    return _define(_name(service, check), line, check.question)


def _name(service: Service, check: Check) -> str:
    if words.at_node(check, service):
        return f"{words.PREFIX}nrpe_{service.name}"
    return words.command(check) if not (service.options or service.remote) else f"{words.PREFIX}run_{service.name}"


def _hostgroup(role: Role) -> str:
    return f"define hostgroup {{\n    hostgroup_name    {words.PREFIX}{role.name}\n    alias             {role.about}\n}}\n"


def _service(roles: Roles, role: Role, service: Service, check: Check) -> str:
    minutes = f"{max(1, round(service.interval / 60))}"
    groups = [words.PREFIX + name for name in roles.implying(role.name)]
    without = dict.fromkeys(name for other in roles.sparing(service.name) for name in roles.implying(other))
    groups += [f"!{words.PREFIX}{name}" for name in without]
    return f"""\
define service {{
    use                     nephoscope-service
    hostgroup_name          {",".join(groups)}
    service_description     {words.PREFIX}{service.name}
    check_command           {_name(service, check)}
    check_interval          {minutes}
    retry_interval          {max(1, round(service.retry / 60))}
}}
"""
