# SPDX-License-Identifier: Apache-2.0
"""The topology file: which hosts, zones and services a simulated cloud has, read, written and made into a Cloud.

    version = "4.4.2"
    [zones.one]
    nodes = ["127.62.1.10", "127.62.1.11"]      # or a number: then nothing listens at their (made up) addresses
    [hosts.clc]
    address = "127.62.0.1"
    services = ["eucalyptus", "walrusbackend:walrus-1", "user-api:API_clc"]      # TYPE or TYPE:NAME
    [hosts.one-sc-b]
    address = "127.62.1.2"
    zone = "one"
    services = ["storage:one-sc-2"]
    standby = ["storage:one-sc-2"]              # comes up DISABLED
    [demo]                                      # for the simulator only
    worker_images = true                        # imagingbackend, loadbalancingbackend are ENABLED
    bulk = { nodes = 200 }                      # so many more nodes in each zone, at which nothing listens

Only addresses of 127.0.0.0/8 are taken: a simulator must not listen where others can reach it.
"""

from __future__ import annotations

import importlib
import ipaddress
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nephoscope.demo import model

HOME = "127.62.0.0"
"""The block of 32 x 256 addresses in which a sample is written; a Demo moves it to a free one."""
BLOCK = 32 * 256
LISTENING_NODES = 64
"""So many node controllers have a listener of their own, the first of each zone; the others are only listed."""
MOST_NODES = 4096
"""So many nodes can be had in a zone by their number, as so many addresses are kept for each."""
MOST = 100_000
"""So many things of a kind can be had by `bulk`."""
ZONE_NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
VERSIONS = ("3.4.3", "4.1.2", "4.4.2", "5.1.0")


class Unfit(ValueError):
    """The topology makes no cloud; the text says why."""


class PlanHost(NamedTuple):
    """A host of the file. `services` and `standby` are (type, name)."""

    address: str
    zone: str
    services: tuple[tuple[str, str], ...]
    standby: tuple[tuple[str, str], ...] = ()


class Plan(NamedTuple):
    """What a file says. `floating`: a sample, which may be moved to any free addresses."""

    version: str
    zones: Mapping[str, tuple[str, ...] | int]
    hosts: Mapping[str, PlanHost]
    demo: Mapping[str, Any]
    floating: bool = False


def sample(version: str = "4.4.2", zones: int = 1, nodes: int = 2, split: bool = False) -> Plan:
    """Return a cloud of separated hosts: `clc`, and in each zone (`one`, `two`, ...) a `<zone>-cc` and `nodes` `<zone>-nc-<n>`.

    `clc` has the cloud controller, the user-facing services and Walrus, `<zone>-cc` the cluster and the storage controller.
    With `split`, they have hosts of their own: `ufs`, `walrus`, `<zone>-sc`. The number of nodes is per zone. At most 64
    nodes listen (the first ones of each zone), the others are only listed.
    """
    if not 1 <= zones <= len(ZONE_NAMES):
        raise Unfit(f"1 to {len(ZONE_NAMES)} zones, not {zones}")
    number = _number(version)
    old = number < (4, 0)
    walrus = ("walrus" if old else "walrusbackend", "walrus-1")
    home = int(ipaddress.IPv4Address(HOME))

    def address(zone: int, last: int) -> str:
        # A zone has an octet of its own; what does not fit goes on behind the tenth zone.
        offset = (
            zone * 256 + last if last < 250 else (12 + zone * 2 + (last - 250) // 250) * 256 + (last - 250) % 250 + 1
        )
        if offset >= BLOCK:
            raise Unfit("too many nodes for a sample: at most 700 in a zone")
        return str(ipaddress.IPv4Address(home + offset))

    front: list[tuple[str, str]] = []
    if not old:
        front.append(("user-api", "API_ufs" if split else "API_clc"))
        if number >= (4, 2):
            front.append(("dns", ""))
    hosts = {"clc": PlanHost(address(0, 1), "", (("eucalyptus", ""), *(() if split else (walrus, *front))))}
    if split:
        if front:
            hosts["ufs"] = PlanHost(address(0, 2), "", tuple(front))
        hosts["walrus"] = PlanHost(address(0, 3), "", (walrus,))
    lists: dict[str, tuple[str, ...] | int] = {}
    for index, zone in enumerate(ZONE_NAMES[:zones], 1):
        storage = ("storage", f"{zone}-sc-1")
        services = (("cluster", f"{zone}-cc-1"), *(() if split else (storage,)))
        hosts[f"{zone}-cc"] = PlanHost(address(index, 1), zone, services)
        if split:
            hosts[f"{zone}-sc"] = PlanHost(address(index, 2), zone, (storage,))
        lists[zone] = tuple(address(index, 10 + number) for number in range(nodes))
    return Plan(version, lists, hosts, {}, floating=True)


def moved(plan: Plan, start: str) -> Plan:
    """Return the plan of a sample with its block of addresses beginning at `start`."""
    step = int(ipaddress.IPv4Address(start)) - int(ipaddress.IPv4Address(HOME))

    def there(address: str) -> str:
        return str(ipaddress.IPv4Address(int(ipaddress.IPv4Address(address)) + step))

    zones = {
        zone: nodes if isinstance(nodes, int) else tuple(there(node) for node in nodes)
        for zone, nodes in plan.zones.items()
    }
    hosts = {name: host._replace(address=there(host.address)) for name, host in plan.hosts.items()}
    return plan._replace(zones=zones, hosts=hosts)


def read(path: str | Path) -> Plan:
    """Return what a topology file says. Raises Unfit, OSError."""
    toml = importlib.import_module(
        "tomllib" if sys.version_info >= (3, 11) else "tomli"
    )  # the extra `cli` brings tomli
    try:
        table = toml.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unfit(f"{path}: {error}") from error
    try:
        zones: dict[str, tuple[str, ...] | int] = {}
        for name, zone in dict(table.get("zones", {})).items():
            nodes = zone.get("nodes", ())
            zones[name] = nodes if isinstance(nodes, int) else tuple(str(node) for node in nodes)
        hosts = {}
        for name, host in dict(table.get("hosts", {})).items():
            services = tuple(_service(word) for word in host.get("services", ()))
            standby = tuple(_service(word) for word in host.get("standby", ()))
            hosts[name] = PlanHost(str(host["address"]), str(host.get("zone", "")), services, standby)
        plan = Plan(str(table.get("version", "4.4.2")), zones, hosts, dict(table.get("demo", {})))
        _check_names([*zones, *hosts])
        return plan
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise Unfit(f"{path}: {type(error).__name__} {error}") from error


def written(plan: Plan) -> str:
    """Return a plan in the form of the file."""
    lines = [f"version = {_toml(plan.version)}"]
    for zone, nodes in plan.zones.items():
        lines += ["", f"[zones.{_key(zone)}]", f"nodes = {_toml(nodes)}"]
    for name, host in plan.hosts.items():
        lines += ["", f"[hosts.{_key(name)}]", f"address = {_toml(host.address)}"]
        if host.zone:
            lines.append(f"zone = {_toml(host.zone)}")
        lines.append(f"services = {_toml([_word(service) for service in host.services])}")
        if host.standby:
            lines.append(f"standby = {_toml([_word(service) for service in host.standby])}")
    if plan.demo:
        lines += ["", "[demo]", *(f"{_key(key)} = {_toml(value)}" for key, value in plan.demo.items())]
    return "\n".join(lines) + "\n"


def build(plan: Plan) -> model.Cloud:
    """Make the cloud of a plan, everything in it in its normal state. Raises Unfit."""
    _number(plan.version)
    cloud = model.Cloud(plan.version)
    cloud.zones = list(plan.zones)
    cloud.extra = _extra(plan.demo)
    for user in model.users():
        cloud.users[user.access] = user
    seen: dict[str, str] = {}
    for name, place in plan.hosts.items():
        _check_address(name, place.address, seen)
        if place.zone and place.zone not in plan.zones:
            raise Unfit(f"host {name} is in zone {place.zone}, which is not in [zones]")
        cloud.add_host(name, place.address, place.zone)
    for name, place in plan.hosts.items():
        host = cloud.hosts[name]
        for kind, given in place.services:
            _register(cloud, host, kind, given, standby=(kind, given) in place.standby)
        if any(on_jvm(cloud, service.kind) for service in cloud.on(host)):
            for kind in cloud.everywhere():
                cloud.services.append(model.Service(kind, host.address, "bootstrap", host))
    _nodes(cloud, plan, seen)
    if not any(service.kind == "eucalyptus" for service in cloud.services):
        raise Unfit("no host has the service eucalyptus: a cloud needs its controller")
    names = [(service.kind, service.name) for service in cloud.services]
    double = next((pair for pair in names if names.count(pair) > 1), None) if len(names) < 500 else None
    if double:
        raise Unfit(f"two services {double[0]}:{double[1]}")
    return cloud


def _extra(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table [demo] with `bulk` in it. Raises Unfit."""
    bulk = table.get("bulk", {})
    if not isinstance(bulk, Mapping):
        raise Unfit(f"[demo] bulk is a table of numbers, not {bulk}")
    for kind, count in bulk.items():
        if kind not in ("nodes", "instances", "volumes", "snapshots", "addresses"):
            raise Unfit(f"[demo] bulk has no {kind}: nodes, instances, volumes, snapshots, addresses")
        if not isinstance(count, int) or not 0 <= count <= MOST:
            raise Unfit(f"[demo] bulk {kind}: a number up to {MOST}, not {count}")
    return {**table, "bulk": dict(bulk)}


def on_jvm(cloud: model.Cloud, kind: str) -> bool:
    """Say whether services of this type run in the JVM, which listens on 8773."""
    return kind not in ("node", "proxy-cluster") and (kind != "cluster" or cloud.at_least(5))


def _nodes(cloud: model.Cloud, plan: Plan, seen: dict[str, str]) -> None:
    more = cloud.extra["bulk"].get("nodes", 0)
    share = LISTENING_NODES // max(1, len(plan.zones))
    for index, (zone, nodes) in enumerate(plan.zones.items()):
        given: tuple[str, ...] = () if isinstance(nodes, int) else nodes
        counted = nodes if isinstance(nodes, int) else 0
        made = counted + more
        if counted < 0 or made > MOST_NODES:
            raise Unfit(f"zone {zone}: 0 to {MOST_NODES} nodes by their number, not {counted} and {more}")
        start = int(ipaddress.IPv4Address("127.255.0.0")) - (index + 1) * MOST_NODES
        given += tuple(str(ipaddress.IPv4Address(start + number)) for number in range(made))
        listening = len(given) - made
        for number, address in enumerate(given, 1):
            name = f"{zone}-nc-{number}"
            _check_address(name, address, seen)
            host = cloud.add_host(name, address, zone, bulk=number > min(listening, share))
            cloud.services.append(model.Service("node", address, zone, host))


def _register(cloud: model.Cloud, host: model.Host, kind: str, given: str, standby: bool) -> None:
    """Add a service, and what its registration brings with it (the members of user-api, the CLC's own services)."""
    kind = model.ALIASES.get(kind, kind)
    if kind not in cloud.kinds() or kind in ("node", *cloud.everywhere()):
        raise Unfit(f"host {host.name}: no service type {kind} in Eucalyptus {cloud.version}")
    state = "DISABLED" if standby else "ENABLED"
    if kind in model.ZONE_TYPES:
        if not host.zone:
            raise Unfit(f"host {host.name}: {kind} needs a zone")
        short = {"cluster": "cc", "storage": "sc"}.get(kind, kind)
        count = sum(service.kind == kind and service.partition == host.zone for service in cloud.services)
        name, partition = given or f"{host.zone}-{short}-{count + 1}", host.zone
    elif kind == "user-api":
        name = partition = given or f"API_{host.name}"
    elif kind in cloud.user_services() and cloud.at_least(4):
        # Registered alone: the partition is the type (WIKI:Scalable-Walrus-4.0 for objectstorage).
        name, partition = given or f"{kind}-{host.name}", kind
    elif kind == "dns" and cloud.at_least(4, 2):
        name, partition = given or host.address, kind
    elif kind in ("walrus", "walrusbackend"):
        name, partition = given or f"walrus-{host.name}", kind  # @Partition(WalrusBackend.class): its own parent
    else:
        name, partition = given or host.address, "eucalyptus"
    cloud.services.append(model.Service(kind, name, partition, host, state=state, standby=standby))
    members: tuple[str, ...] = ()
    if kind == "user-api":
        members = tuple(member for member in cloud.user_services())
    for member in members:
        cloud.services.append(model.Service(member, f"{name}.{member}", name, host, state=state, standby=standby))
    if kind == "eucalyptus":
        own = cloud.clc_services() if cloud.at_least(4) else (*cloud.clc_services(), *cloud.user_services())
        images = bool(cloud.extra.get("worker_images"))
        for each in own:
            ready = images or each not in model.NOT_READY_WITHOUT_IMAGE
            inner = state if ready else "NOTREADY"
            cloud.services.append(model.Service(each, host.address, "eucalyptus", host, state=inner, standby=standby))


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        # A host's files lie in a folder of its name.
        if not name or "/" in name or name.startswith(".") or not name.isprintable():
            raise ValueError(f"{name!r} is no name of a host or zone")


def _check_address(name: str, address: str, seen: dict[str, str]) -> None:
    try:
        loopback = ipaddress.IPv4Address(address).is_loopback
    except ValueError as error:
        raise Unfit(f"host {name}: {error}") from error
    if not loopback:
        raise Unfit(f"host {name}: {address} is not in 127.0.0.0/8, and the simulator listens nowhere else")
    if address in seen:
        raise Unfit(f"{seen[address]} and {name} have the same address {address}")
    seen[address] = name


def _number(version: str) -> tuple[int, ...]:
    try:
        number = tuple(int(part) for part in version.split("."))
    except ValueError:
        number = ()
    if len(number) < 2 or not (3, 1) <= number < (6,):
        raise Unfit(f"no Eucalyptus version {version}: 3.1 to 5.x, for example {', '.join(VERSIONS)}")
    return number


def _service(word: str) -> tuple[str, str]:
    kind, _, name = word.partition(":")
    return kind, name


def _word(service: tuple[str, str]) -> str:
    return ":".join(service) if service[1] else service[0]


def _key(name: str) -> str:
    # Bare only what is: a host's full name has dots, which would be tables.
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    # JSON's strings, numbers and truth values are TOML's.
    return json.dumps(value)
