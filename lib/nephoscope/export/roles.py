# SPDX-License-Identifier: Apache-2.0
"""Roles: which checks, with which options and how often, a machine or a cloud of a kind gets.

`roles.toml` beside this file is the suite's own; an operator's file has the same form:

    [ROLE]
    about = "what machines of this role do"
    includes = ["OTHER ROLE"]                # optional: what it gets besides
    without = ["SERVICE"]                    # optional: what of this it does not get

    [ROLE.services.NAME]                     # NAME is unique over all roles: a machine may have several
    check = "check_process"                  # default: check_NAME
    interval = "1m"                          # default 1m
    retry = "30s"                            # default: half the interval, at most 1m
    remote = true                            # asked of the host's address by the scheduler, though the check may run there
    options = { preset = ["nova"], exclude = ["/snap/*"], warning = "80" }   # long options without their dashes
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from nephoscope.plugin import duration

if TYPE_CHECKING:
    from nephoscope.plugin import Check

Value = Union[bool, str, "tuple[str, ...]"]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_SUBJECT = {"about", "includes", "services", "without"}
_SERVICE = {"check", "interval", "retry", "remote", "options"}


class BadRoles(ValueError):
    """A role file is wrong; the text names the file, the place in it and the cure."""


class Service(NamedTuple):
    """One check with its options, run every so often. `interval` and `retry` in seconds.

    remote  asked of the host's address, by a check that may also run on the machine itself
    """

    name: str
    check: str
    interval: int
    retry: int
    options: tuple[tuple[str, Value], ...]
    remote: bool = False

    def argv(self) -> list[str]:
        """Return the options as arguments of the check."""
        words: list[str] = []
        for name, value in self.options:
            flag = "--" + name.replace("_", "-")
            if value is True:
                words.append(flag)
            elif value is not False:
                for text in (value,) if isinstance(value, str) else value:
                    # A value that begins with a dash would be read as the next option.
                    words += [f"{flag}={text}"] if text.startswith("-") else [flag, text]
        return words


class Role(NamedTuple):
    """A kind of machine, or of cloud, and the services that are its own.

    includes  the roles that it has besides
    without   services of those that it does not get
    """

    name: str
    about: str
    includes: tuple[str, ...]
    services: tuple[Service, ...]
    without: tuple[str, ...] = ()


class Roles(NamedTuple):
    """All roles of one file, in its order."""

    roles: tuple[Role, ...]

    def names(self) -> list[str]:
        """Return the names of the roles."""
        return [role.name for role in self.roles]

    def role(self, name: str) -> Role:
        """Return the role of that name. Raises BadRoles naming those that there are."""
        for role in self.roles:
            if role.name == name:
                return role
        raise BadRoles(f"no role {name}: there are {', '.join(self.names())}")

    def implied(self, name: str) -> list[str]:
        """Return the role and all that it includes, directly or not, the included ones first."""
        found: list[str] = []
        for other in self.role(name).includes:
            found += [more for more in self.implied(other) if more not in found]
        return [*found, name]

    def implying(self, name: str) -> list[str]:
        """Return the roles that a machine may be given to get the services of `name`, itself first."""
        return [name, *(role.name for role in self.roles if role.name != name and name in self.implied(role.name))]

    def sparing(self, service: str) -> list[str]:
        """Return the roles that leave that service out."""
        return [role.name for role in self.roles if service in role.without]

    def services(self, *names: str) -> list[Service]:
        """Return the services that a machine with these roles gets, each once."""
        wanted = dict.fromkeys(role for name in names for role in self.implied(name))
        without = {service for role in wanted for service in self.role(role).without}
        return [service for role in wanted for service in self.role(role).services if service.name not in without]

    def all_services(self) -> Iterator[tuple[Role, Service]]:
        """Give every service with the role it belongs to."""
        for role in self.roles:
            for service in role.services:
                yield role, service

    def faults(self, checks: Iterable[Check]) -> list[str]:
        """Return what in these roles the checks would refuse: unknown checks, options, values."""
        by_name = {check.name: check for check in checks}
        found = []
        for role, service in self.all_services():
            where = f"[{role.name}.services.{service.name}]"
            check = by_name.get(service.check)
            if check is None:
                found.append(f"{where}: there is no {service.check}")
                continue
            options = {option.dest: option for option in check.options}
            if service.remote and not ("remote" in check.where and "hostname" in options):
                found.append(f"{where}: {service.check} can't be asked of another machine")
            for name, value in service.options:
                option = options.get(name.replace("-", "_"))
                if option is None:
                    found.append(f"{where}: {service.check} has no option --{name.replace('_', '-')}")
                elif option.secret:
                    found.append(f"{where}: {option.flag} is a secret: give it by --extra-opts or {option.environment}")
                elif isinstance(value, bool) is not option.is_flag:
                    found.append(f"{where}: {option.flag} takes {'true or false' if option.is_flag else 'a value'}")
                elif isinstance(value, tuple) and not option.repeat:
                    found.append(f"{where}: {option.flag} takes one value, not a list")
            if not found:
                found += _refused(where, check, service)
        return found


def _refused(where: str, check: Check, service: Service) -> list[str]:
    """Return what the check itself would say to these options; what is required may still come from elsewhere."""
    from nephoscope.plugin import BadOption, limits

    declared = [option for option in check.options if not option.secret]
    for option in declared:
        option.required = False
    try:
        limits.contexts(check.thresholds, check.presets, check._parse(service.argv(), declared))
    except BadOption as error:
        return [f"{where}: {error}"]
    return []


def load(path: str | None = None) -> Roles:
    """Return the suite's own roles, or those of the TOML file `path`. Raises BadRoles."""
    if path is None:
        import importlib.resources

        source = "roles.toml"
        raw = importlib.resources.files("nephoscope.export").joinpath(source).read_bytes()
    else:
        source = path
        try:
            with open(path, "rb") as file:
                raw = file.read(1 << 20)
        except OSError as error:
            raise BadRoles(f"{path}: {error.strerror}") from None
    return parse(raw, source)


def parse(raw: bytes, source: str) -> Roles:
    """Return the roles written in `raw`. Raises BadRoles."""
    toml = _toml()
    try:
        tables = toml.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, toml.TOMLDecodeError) as error:
        raise BadRoles(f"{source}: not TOML: {error}") from None
    roles = Roles(tuple(_role(source, name, table) for name, table in tables.items()))
    if not roles.roles:
        raise BadRoles(f"{source}: holds no role: begin with [node]")
    seen: dict[str, str] = {}
    for role, service in roles.all_services():
        if service.name in seen:
            raise BadRoles(
                f"{source}: service {service.name} stands in [{seen[service.name]}] and in [{role.name}]:"
                " a machine may have both roles, so give one of them another name and a `check`"
            )
        seen[service.name] = role.name
    for role in roles.roles:
        _walk(source, roles, role, ())
    return roles


def _toml() -> Any:
    from importlib import import_module

    for name in ("tomllib", "tomli"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise BadRoles("Python before 3.11 needs tomli to read roles: pip install 'nephoscope[cli]'")


def _walk(source: str, roles: Roles, role: Role, above: tuple[str, ...]) -> None:
    """Refuse what is included or left out and is not there, and roles that include themselves."""
    for name in role.includes:
        if name not in roles.names():
            raise BadRoles(f"{source}: [{role.name}] includes {name}, which is no role of this file")
        if name in (*above, role.name):
            raise BadRoles(f"{source}: [{name}] includes itself: {' -> '.join((*above, role.name, name))}")
        _walk(source, roles, roles.role(name), (*above, role.name))
    others = [service.name for name in roles.implied(role.name)[:-1] for service in roles.role(name).services]
    for service in role.without:
        if service not in others:
            raise BadRoles(f"{source}: [{role.name}] is without {service}, which none of its included roles has")


def _role(source: str, name: str, table: Any) -> Role:
    where = f"{source}: [{name}]"
    _named(where, name, "role")
    if not isinstance(table, dict):
        raise BadRoles(f"{source}: {name} stands outside any role: begin with [node]")
    _known(where, table, _SUBJECT)
    about, services = table.get("about", ""), table.get("services", {})
    if not isinstance(about, str) or not isinstance(services, dict):
        raise BadRoles(f"{where}: about is a text, services a table [{name}.services.NAME]")
    lists = []
    for key in ("includes", "without"):
        items = table.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise BadRoles(f"{where}: {key} is a list of names")
        lists.append(tuple(items))
    own = tuple(_service(source, name, key, value) for key, value in services.items())
    return Role(name, about, lists[0], own, lists[1])


def _service(source: str, role: str, name: str, table: Any) -> Service:
    where = f"{source}: [{role}.services.{name}]"
    _named(where, name, "service")
    if not isinstance(table, dict):
        raise BadRoles(f"{where}: is a table with {', '.join(sorted(_SERVICE))}")
    _known(where, table, _SERVICE)
    check = table.get("check", f"check_{name}")
    if not isinstance(check, str):
        raise BadRoles(f"{where}: check is the name of a check")
    interval = _seconds(where, table, "interval", 60)
    options = table.get("options", {})
    if not isinstance(options, dict):
        raise BadRoles(f'{where}: options is a table like {{ preset = ["nova"] }}')
    remote = table.get("remote", False)
    if not isinstance(remote, bool):
        raise BadRoles(f"{where}: remote is true or false")
    return Service(
        name,
        check,
        interval,
        _seconds(where, table, "retry", min(60, max(1, interval // 2))),
        tuple((key, _value(f"{where}: option {key}", value)) for key, value in options.items()),
        remote,
    )


def _seconds(where: str, table: Mapping[str, Any], key: str, default: int) -> int:
    value = table.get(key, default)
    try:
        seconds = int(duration(str(value)))
    except ValueError as error:
        raise BadRoles(f"{where}: {key}: {error}") from None
    if not 1 <= seconds <= 604800:
        raise BadRoles(f"{where}: {key} lies between 1 second and a week")
    return seconds


def _value(where: str, value: Any) -> Value:
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return tuple(_text(where, item) for item in value)
    return _text(where, value)


def _text(where: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadRoles(f"{where}: is a text, a number, true or a list of these")
    text = str(value)
    if not text or not text.isprintable():
        raise BadRoles(f"{where}: is empty or holds a control character")
    return text


def _named(where: str, name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadRoles(
            f"{where}: the name of a {what} is lower-case letters, digits and _, at most 48, as in nova_compute"
        )


def _known(where: str, table: Mapping[str, Any], keys: set[str]) -> None:
    for key in table:
        if key not in keys:
            raise BadRoles(f"{where}: does not know {key}: there are {', '.join(sorted(keys))}")
