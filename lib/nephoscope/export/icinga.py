# SPDX-License-Identifier: Apache-2.0
"""Icinga 2: CheckCommands, templates, and the services that a host gets by its roles.

Sources: Icinga 2's documentation, chapters 3 (apply rules, command arguments), 5 (Service Monitoring Plugin API) and
9 (CheckCommand); the icinga2 of Debian 12 for what an argument turns into.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nephoscope.export import words

if TYPE_CHECKING:
    from nephoscope.export.roles import Role, Roles, Service
    from nephoscope.plugin import Check

# Tried and shown by an apply rule; a host may overrule each (see hosts-example.conf).
TEMPLATES = """\
template Host "nephoscope-host" {
  // The agent that runs this host's checks: an Endpoint, by habit named as the host.
  vars.agent_endpoint = name
  // How the checks of the machine itself are run: "agent" (Icinga's, through command_endpoint) or "nrpe".
  vars.nephoscope_via = "agent"
}

template Service "nephoscope-service" {
  check_interval = 1m
  retry_interval = 30s
  max_check_attempts = 3
}
"""


def render(checks: Sequence[Check], roles: Roles, plugin_dir: str) -> dict[str, str]:
    """Return commands.conf, templates.conf and services.conf."""
    known = words.bound(checks, roles)
    head = f"/* {words.MARK.format('icinga')} */\n\n"
    commands = "\n".join(_command(check, plugin_dir) for check in checks)
    services = "\n".join(_service(role, service, known[service.check], roles) for role, service in roles.all_services())
    return {
        "commands.conf": head + commands,
        "templates.conf": head + TEMPLATES,
        "services.conf": head + _unknown_roles(roles) + "\n" + services,
    }


def text(value: str) -> str:
    """Return the value as a string of Icinga's language."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def literal(value: str) -> str:
    """Return a custom variable's text: a dollar sign there begins a macro, and two stand for one."""
    return text(value.replace("$", "$$"))


def limit(check: Check) -> int:
    """Return after how many seconds Icinga may end the check: well after the check has ended itself."""
    return max(60, math.ceil(check.deadline) + 10)


def _command(check: Check, plugin_dir: str) -> str:
    name = words.command(check)
    lines = [
        f"// {check.question}",
        f"object CheckCommand {text(name)} {{",
        f"  command = [ {text(f'{plugin_dir}/{check.name}')} ]",
    ]
    lines += [f"  timeout = {limit(check)}s", "", "  arguments = {"]
    secrets = []
    for option in words.exported(check):
        variable = words.variable(check, option)
        if option.secret:
            secrets.append(f"    {text(option.environment)} = {text(f'${variable}$')}")
            continue
        lines.append(f"    {text(option.flag)} = {{")
        lines.append(f"      {'set_if' if option.is_flag else 'value'} = {text(f'${variable}$')}")
        if option.required:
            lines.append("      required = true")
        if option.repeat:
            lines.append("      repeat_key = true")
        help = words.describe(check, option)
        if option.flag == "--timeout":
            help += f". Icinga ends the check after {limit(check)} s: for more, give the service a check_timeout too"
        lines += [f"      description = {text(help)}", "    }"]
    for level in (1, 2, 3):
        flag, macro = "-" + "v" * level, text(f"${name}_verbose$")
        lines += [f"    {text(flag)} = {{", f"      set_if = {{{{ macro({macro}) == {level} }}}}"]
        if level == 1:
            lines.append('      description = "more detail: 1, 2 or 3"')
        lines.append("    }")
    lines.append("  }")
    if secrets:
        lines += [
            "",
            "  // Secrets go by the environment: every user of a machine can read command lines.",
            "  env = {",
            *secrets,
            "  }",
        ]
    if words.from_afar(check):
        lines += ["", f'  vars.{name}_hostname = "$address$"']
    return "\n".join([*lines, "}", ""])


def _unknown_roles(roles: Roles) -> str:
    """Return a service that tells of a mistyped role, which would otherwise just give no services."""
    brought = "\n".join(
        f"  {text(name)} = [ {', '.join(text(other) for other in roles.implying(name))} ]" for name in roles.names()
    )
    return f"""\
// Each role, with those that bring it: itself, and the ones that include it.
globals.NephoscopeRoles = {{
{brought}
}}
// A site's own roles, which give none of these services: globals.NephoscopeSiteRoles = [ "…" ] in a file read before this.
if (!globals.contains("NephoscopeSiteRoles")) {{
  globals.NephoscopeSiteRoles = []
}}

// A transport that is mistyped must not fall back to another one in silence.
globals.nephoscope_via = function(host) {{
  var via = host.vars.nephoscope_via || "agent"
  if (via != "agent" && via != "nrpe") {{
    throw "host " + host.name + ": vars.nephoscope_via is agent or nrpe, not " + via
  }}
  return via
}}

globals.nephoscope_role = function(host, role) {{
  for (given in host.vars.cloud_roles || []) {{
    if (given in NephoscopeRoles[role]) {{
      return true
    }}
  }}
  return false
}}

globals.nephoscope_unknown_roles = function(given) {{
  var unknown = []
  for (role in given) {{
    if (!NephoscopeRoles.contains(role) && !(role in NephoscopeSiteRoles)) {{
      unknown.add(role)
    }}
  }}
  return unknown
}}

apply Service "nephoscope_roles" {{
  import "nephoscope-service"
  display_name = "roles"
  check_command = "dummy"
  vars.dummy_state = 3
  vars.dummy_text = "cloud_roles names what is no role: " + nephoscope_unknown_roles(host.vars.cloud_roles).join(", ")
  assign where host.vars.cloud_roles && nephoscope_unknown_roles(host.vars.cloud_roles).len() > 0
}}
"""


def _service(role: Role, service: Service, check: Check, roles: Roles) -> str:
    name, own = words.PREFIX + service.name, words.command(check)
    lines = [f"// {role.name}: {check.question}", f"apply Service {text(name)} {{", '  import "nephoscope-service"']
    lines += [f"  display_name = {text(service.name)}", f"  check_interval = {service.interval}s"]
    lines.append(f"  retry_interval = {service.retry}s")
    wait = math.ceil(words.seconds(check, service))
    if wait + 10 > limit(check):
        lines.append(f"  check_timeout = {wait + 10}s")
    agent = [f"check_command = {text(own)}"]
    for option, value in service.options:
        variable = f"vars.{own}_{option.replace('-', '_')}"
        if isinstance(value, bool):
            agent.append(f"{variable} = {'true' if value else 'false'}")
        elif isinstance(value, str):
            agent.append(f"{variable} = {literal(value)}")
        else:
            agent.append(f"{variable} = [ {', '.join(literal(item) for item in value)} ]")
    if service.remote:
        agent.append(f'vars.{own}_hostname = "$address$"')
    if words.at_node(check, service):
        # Outside zones.d Icinga takes no endpoint and runs the check itself. That is right for its own host only: for
        # another one the endpoint is set all the same, and Icinga refuses the configuration instead of measuring itself.
        agent.append("var agent = host.vars.agent_endpoint || host.name")
        agent.append("if (host.zone || agent != NodeName) {")
        agent += ["  command_endpoint = agent", "}"]
        lines += [
            '  if (nephoscope_via(host) == "nrpe") {',
            '    check_command = "nrpe"',
            f"    vars.nrpe_command = {text(name)}",
        ]
        # check_nrpe gives up after 10 seconds, and what the check had to say is then lost.
        lines.append(f"    vars.nrpe_timeout = {max(10, wait + 2)}")
        lines += ["  } else {", *(f"    {word}" for word in agent), "  }"]
    else:
        lines += [f"  {word}" for word in agent]
    own_vars = f"host.vars.nephoscope_options[{text(service.name)}]"
    lines += [f"  if (host.vars.nephoscope_options && {own_vars}) {{", f"    vars += {own_vars}", "  }"]
    lines.append(f"  assign where nephoscope_role(host, {text(role.name)})")
    lines += [f"  ignore where nephoscope_role(host, {text(other)})" for other in roles.sparing(service.name)]
    lines.append(f"  ignore where {text(service.name)} in host.vars.nephoscope_without")
    return "\n".join([*lines, "}", ""])
