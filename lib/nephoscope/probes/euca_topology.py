# SPDX-License-Identifier: Apache-2.0
"""What should exist in a Eucalyptus cloud, read from a topology file: its services by zone and host, its node controllers.

The file is TOML (tomllib, or tomli before Python 3.11). Everything in it must be understood: a key that is misspelt, or a
service that is named twice, would be a hole in what is expected that nobody sees. The table [demo] belongs to the simulator.
Component types: the classes that extend ComponentId in the trees of Eucalyptus 3.1 to 5.1, without the internal ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run, files

ZONED = ("cluster", "storage", "node", "vmwarebroker", "proxyclustercontroller", "proxy-cluster")
"""Types whose partition is an availability zone; that of all others is no zone and says nothing."""
TYPES = frozenset(
    (*ZONED, "arbitrator", "autoscaling", "autoscalingbackend", "bootstrap", "cassandra", "cloudformation", "cloudwatch",
     "cloudwatchbackend", "clusterservice", "component", "compute", "configuration", "db", "dns", "ec2reports", "euare",
     "eucalyptus", "gatherlog", "identity", "imaging", "imagingbackend", "jetty", "ldap", "loadbalancing",
     "loadbalancingbackend", "loadbalancingv2", "notifications", "objectstorage", "pollednotifications", "portal",
     "properties", "rds", "reporting", "route53", "simplequeue", "simpleworkflow", "tag", "tokens", "user-api", "walrus",
     "walrusbackend")
)  # fmt: skip
"""Every component type of 3.1 to 5.1, as it is spelt on the wire."""
OUTSIDE_JVM = ("node", "proxyclustercontroller", "proxy-cluster")
"""Types that are C code in httpd in every version; `cluster` is, too, before 5.0."""
READABLE = "the file to be readable by the user that runs the check"
SIZE = 4 << 20  # bytes of a file: 2,000 nodes take some 40 KiB


class Service(NamedTuple):
    """One service that should exist.

    name     "" when the file gives the type alone: then any service of the type on that host will do
    zone     "" for types that belong to no zone
    host     the host's name in the file
    address  the host's address
    standby  DISABLED is right for it
    """

    type: str
    name: str
    zone: str
    host: str
    address: str
    standby: bool = False


class Topology(NamedTuple):
    """What should exist.

    zones    zone -> the addresses of its node controllers, or only their number
    hosts    host name -> address, in the file's order
    version  as it stands in the file, "" when it does not
    """

    zones: Mapping[str, frozenset[str] | int] = {}
    hosts: Mapping[str, str] = {}
    services: tuple[Service, ...] = ()
    version: str = ""

    @property
    def java_cluster(self) -> bool:
        """Whether `cluster` runs in the JVM, which it does since 5.0; False when the file gives no version."""
        number = self.version.partition(".")[0]
        return number.isdigit() and int(number) >= 5

    @property
    def before_3_4(self) -> bool:
        """Whether the file says that nodes are no services yet, but only known to the Configuration service."""
        numbers = self.version.split(".")[:2]
        return len(numbers) == 2 and all(n.isdigit() for n in numbers) and tuple(map(int, numbers)) < (3, 4)


def read(run: Run, path: str | None) -> Topology | None:
    """Return what a file says should exist; None for no path.

    Raises Failed: not-allowed, or unreadable, for a file that is missing, too: a path that was given and leads nowhere must
    not become "nothing of the kind here".
    """
    if not path:
        return None
    try:
        content = files.text(run, path, of="topology", limit=SIZE)
    except Failed as failed:
        # What the check declares to need is a right in the cloud, and no cure for a file.
        kind, cure = (UNREADABLE, "") if failed.kind == ABSENT else (failed.kind, READABLE)
        raise Failed(kind, failed.of, failed.tried, failed.error, cure) from None
    try:
        return parse(content)
    except ValueError as error:
        raise Failed(UNREADABLE, "topology", f"read {path}", str(error)) from None


def parse(content: str) -> Topology:
    """Return what a file's content says. Raises ValueError, whose text names the place and the cure."""
    import importlib
    import sys

    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        table = toml.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not TOML: {error}") from None
    _keys("the file", table, ("version", "zones", "hosts", "demo"))
    version = table.get("version", "")
    if not isinstance(version, str):
        raise ValueError('version must be a string, like "4.4.2"')
    zones = dict(_zones(_table(table, "zones")))
    hosts, services = _hosts(_table(table, "hosts"), zones)
    if not services and not zones:
        raise ValueError("it names no service and no zone: nothing could be missed")
    return Topology(zones, hosts, services, version)


def _zones(table: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[str] | int]]:
    seen: dict[str, str] = {}
    for zone, content in table.items():
        where = f"zone '{zone}'"
        if not isinstance(content, dict):
            raise ValueError(f"{where} must be a table, [zones.{zone}]")
        _keys(where, content, ("nodes",))
        nodes = content.get("nodes", 0)
        if isinstance(nodes, int) and not isinstance(nodes, bool):
            if nodes < 0:
                raise ValueError(f"{where}: nodes is less than 0")
            yield zone, nodes
            continue
        for node in _strings(where, content, "nodes"):
            if node in seen:
                raise ValueError(f"node '{node}' stands in zone '{seen[node]}' and in zone '{zone}'")
            seen[node] = zone
        yield zone, frozenset(nodes)


def _hosts(table: Mapping[str, Any], zones: Mapping[str, Any]) -> tuple[dict[str, str], tuple[Service, ...]]:
    addresses: dict[str, str] = {}
    services: dict[tuple[str, str], Service] = {}
    for host, content in table.items():
        where = f"host '{host}'"
        if not isinstance(content, dict):
            raise ValueError(f"{where} must be a table, [hosts.{host}]")
        _keys(where, content, ("address", "zone", "services", "standby"))
        address, zone = content.get("address"), content.get("zone", "")
        if not isinstance(address, str) or not address.strip():
            raise ValueError(f"{where} has no address")
        if not re.fullmatch(r"[\w.:-]+", address):
            raise ValueError(f"{where}: '{address}' is no name or address of a host")
        if address in addresses.values():
            other = next(name for name, known in addresses.items() if known == address)
            raise ValueError(f"{where} has the same address as host '{other}', {address}")
        if not isinstance(zone, str) or (zone and zone not in zones):
            raise ValueError(f"{where} is in zone '{zone}', which is none of: {', '.join(zones) or 'none is defined'}")
        addresses[host] = address
        standby = _strings(where, content, "standby")
        named = _strings(where, content, "services")
        for word in standby:
            if word not in named:
                raise ValueError(f"{where}: standby '{word}' is none of its services")
        for word in named:
            service = _service(where, word, zone)._replace(host=host, address=address, standby=word in standby)
            key = (service.type, service.name or f"@{host}")
            if key in services:
                raise ValueError(f"{where}: service '{word}' is already on host '{services[key].host}'")
            services[key] = service
    return addresses, tuple(services.values())


def _service(where: str, word: str, zone: str) -> Service:
    kind, _, name = word.partition(":")
    if kind not in TYPES:
        import difflib

        near = difflib.get_close_matches(kind, sorted(TYPES), 1, 0.6)
        hint = f": did you mean {near[0]}?" if near else ""
        raise ValueError(f"{where}: '{kind}' is no component type of Eucalyptus{hint}")
    if kind == "node":
        raise ValueError(f"{where}: nodes stand in [zones.NAME] nodes, not among services")
    if kind in ZONED and not zone:
        raise ValueError(f"{where}: service '{word}' belongs to a zone: give the host one")
    return Service(kind, name, zone if kind in ZONED else "", "", "")


def _keys(where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{where} has '{key}', which is none of: {', '.join(known)}")


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    content = table.get(key, {})
    if not isinstance(content, dict):
        raise ValueError(f"'{key}' must be a table of tables, [{key}.NAME]")
    return content


def _strings(where: str, table: Mapping[str, Any], key: str) -> list[str]:
    """Return a list of strings, each once; [] when there is none."""
    content = table.get(key, [])
    if not isinstance(content, list) or not all(isinstance(word, str) and word.strip() for word in content):
        raise ValueError(f"{where}: {key} must be a list of strings")
    seen: set[str] = set()
    for word in content:
        if word in seen:
            raise ValueError(f"{where}: '{word}' stands twice in {key}")
        seen.add(word)
    return content
