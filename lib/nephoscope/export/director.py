# SPDX-License-Identifier: Apache-2.0
"""Icinga Director: a basket with the commands, their data fields and a service template each.

The Director of 1.11 and later knows objects again by their UUID, also when renamed; that of 1.10, which Debian 12 has,
ends with an error on a basket that holds UUIDs, and knows objects by their names. So there is a basket for either.

Source: icingaweb2-module-director, library/Director/DirectorObject/Automation (BasketSnapshot, BasketSnapshotFieldResolver);
baskets of Linuxfabrik/monitoring-plugins. Restored by `icingacli director basket restore < nephoscope.json`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nephoscope.export import icinga, words

if TYPE_CHECKING:
    from nephoscope.export.roles import Roles
    from nephoscope.plugin import Check
    from nephoscope.plugin.options import Option

# UUIDs come from names, so that an object restored twice is one object.
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://nephoscope.invalid/director")
_TYPES = "Icinga\\Module\\Director\\DataType\\DataType"


def render(checks: Sequence[Check], roles: Roles, plugin_dir: str) -> dict[str, str]:
    """Return nephoscope.json, and nephoscope-1.10.json without UUIDs."""
    words.bound(checks, roles)
    commands: dict[str, Any] = {}
    templates: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    for check in checks:
        name = words.command(check)
        numbers = []
        for option in _options(check):
            number = str(len(fields) + 1)
            fields[number] = _field(check, option)
            numbers.append(
                {"datafield_id": int(number), "is_required": "y" if option.required else "n", "var_filter": None}
            )
        commands[name] = _command(check, plugin_dir, numbers)
        templates[f"{name}-service"] = {
            "check_command": name,
            "check_interval": "60",
            "fields": [],
            "imports": [],
            "max_check_attempts": "3",
            "object_name": f"{name}-service",
            "object_type": "template",
            "retry_interval": "30",
            "use_agent": words.on_node(check),
            "uuid": _id("template", name),
            "vars": {},
        }
    basket = {"Command": commands, "Datafield": fields, "ServiceTemplate": templates}
    old = {
        kind: {name: {key: value for key, value in thing.items() if key != "uuid"} for name, thing in things.items()}
        for kind, things in basket.items()
    }
    return {"nephoscope.json": _text(basket), "nephoscope-1.10.json": _text(old)}


def _text(basket: dict[str, Any]) -> str:
    return json.dumps(basket, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _options(check: Check) -> list[Option]:
    """Return the options but for secrets: the Director knows no environment of a command, so they come by --extra-opts."""
    return [option for option in words.exported(check) if not option.secret]


def _id(kind: str, name: str) -> str:
    return str(uuid.uuid5(_SPACE, f"{kind}/{name}"))


def _command(check: Check, plugin_dir: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    arguments: dict[str, dict[str, Any]] = {}
    for option in _options(check):
        macro = f"${words.variable(check, option)}$"
        said: dict[str, Any] = {"description": words.describe(check, option)}
        if option.is_flag:
            said.update(set_if=macro, set_if_format="string")
        else:
            said["value"] = macro
        if option.required:
            said["required"] = True
        if option.repeat:
            said["repeat_key"] = True
        arguments[option.flag] = said
    made: dict[str, Any] = {
        "arguments": arguments,
        "command": f"{plugin_dir}/{check.name}",
        "fields": fields,
        "imports": [],
        "methods_execute": "PluginCheck",
        "object_name": words.command(check),
        "object_type": "object",
        "timeout": str(icinga.limit(check)),
        "uuid": _id("command", check.thing),
        "vars": {},
    }
    if words.from_afar(check):
        made["vars"] = {f"{words.command(check)}_hostname": "$address$"}
    return made


def _field(check: Check, option: Option) -> dict[str, Any]:
    kind = "Boolean" if option.is_flag else "Array" if option.repeat else "String"
    return {
        "caption": f"{check.thing}: {option.dest.replace('_', ' ')}",
        "category": None,
        "datatype": _TYPES + kind,
        "description": words.describe(check, option),
        "format": None,
        "settings": {},
        "uuid": _id("field", words.variable(check, option)),
        "varname": words.variable(check, option),
    }
