# SPDX-License-Identifier: Apache-2.0
"""Which node controllers a Eucalyptus cloud has, by zone, in which state, and with how many instances.

Since 3.4 nodes are services: DescribeServices with ListAll and ByServiceType=node. Before, only the Configuration service
knows them: DescribeNodes, items {partition, name, hostName, state, detail} with rows of text between them whose hostName is
"detail". A node that its CC no longer reports is listed as NOTREADY for ten minutes, then not at all
(cluster/proxy/node/Nodes.java, REFRESH_TIMEOUT); so is every node of a zone whose CC is silent.
Instances: EC2's DescribeInstances as administrator, whose tag euca:node names the host (euca_ec2).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import euca_topology, high_water
from nephoscope.probes.euca_services import ENABLED, describe
from nephoscope.probes.euca_topology import Topology

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.probes.euca_api import Access

LIVE = ("pending", "running", "shutting-down", "stopping")  # states of an instance that takes room on its node


class Node(NamedTuple):
    """One node controller.

    name       as it is listed: its address, or its host's name
    state      the word as it came
    message    what its CC says of it, "" when nothing
    planned    False when the topology names the nodes of this zone, and not this one
    instances  on it; None when that was not asked
    """

    zone: str
    name: str
    state: str
    message: str = ""
    planned: bool = True
    instances: int | None = None

    @property
    def of(self) -> str:
        """The node as filters and findings name it."""
        return f"{self.zone}/{self.name}"


class Zone(NamedTuple):
    """The nodes of a zone.

    missing   names that the topology has and the list has not
    lacking   how many fewer are listed than the number that the topology gives
    vanished  name -> seconds since it was last listed
    """

    name: str
    nodes: tuple[Node, ...] = ()
    missing: tuple[str, ...] = ()
    lacking: int = 0
    vanished: Mapping[str, float] = {}

    @property
    def enabled(self) -> int:
        """How many serve."""
        return sum(node.state == ENABLED for node in self.nodes)

    @property
    def not_enabled(self) -> int:
        """How many do not, those that are not even listed included."""
        return len(self.nodes) - self.enabled + len(self.missing) + self.lacking + len(self.vanished)


class Nodes(NamedTuple):
    """What was seen.

    told       whether a topology says what should exist
    unplanned  zones of which it says nothing
    """

    zones: tuple[Zone, ...] = ()
    failures: tuple[Failed, ...] = ()
    told: bool = False
    kept: Any = None
    unplanned: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What was looked at, in one clause; and what this could not notice."""
        enabled, total = sum(zone.enabled for zone in self.zones), sum(len(zone.nodes) for zone in self.zones)
        text = f"{enabled} of {total} nodes enabled in {', '.join(zone.name for zone in self.zones)}"
        text += f"; the topology has no nodes for {', '.join(self.unplanned)}" if self.unplanned else ""
        return text if self.told else f"{text}; what never was there is not missed without --topology"


def look(run: Run, options: Any) -> Nodes:
    """Return the nodes by zone. One request; one or two more only when no node at all is listed; two more for instances.

    options  of the check: topology, instances, remember, and those of euca_api.access
    Raises Failed when the cloud does not answer, or when nothing shows that we may see nodes at all.
    """
    from nephoscope.probes import euca_api

    topology = euca_topology.read(run, options.topology)
    access = euca_api.access(options, run)
    zones, everyone = _listed(run, access, topology)
    listed = [node for node in everyone if run.wants(node.of)]
    failures: list[Failed] = []
    if options.instances:
        try:
            counts = instances(run, access)
            listed = [node._replace(instances=counts.get(node.name, 0)) for node in listed]
            failures += _elsewhere(counts, everyone)
        except Failed as failed:
            failures.append(failed)
    now = run.clock.time()
    last = high_water.seen(run.before, (node.of for node in listed), now, options.remember)
    gone = {of: now - at for of, at in last.items() if at < now and run.wants(of)}
    made = tuple(by_zone(listed, zones, topology or Topology(), gone, run))
    unplanned = tuple(zone.name for zone in made if topology and not topology.zones.get(zone.name))
    return Nodes(made, tuple(failures), topology is not None, last, unplanned)


def by_zone(
    listed: Iterable[Node], zones: Iterable[str], topology: Topology, gone: Mapping[str, float], run: Run
) -> Iterator[Zone]:
    """Yield each zone that is listed, planned or remembered, by name.

    zones  names of zones that are known to exist, with nodes or without
    gone   Node.of -> seconds since it was last listed; of no account where the topology names the nodes of that zone
    """
    nodes: dict[str, list[Node]] = {zone: [] for zone in (*zones, *topology.zones)}
    for node in listed:
        nodes.setdefault(node.zone, []).append(node)
    vanished: dict[str, dict[str, float]] = {}
    for of, seconds in gone.items():
        zone, _, name = of.partition("/")
        if not isinstance(topology.zones.get(zone), frozenset):
            vanished.setdefault(zone, {})[name] = seconds
            nodes.setdefault(zone, [])
    for zone, members in sorted(nodes.items()):
        plan = topology.zones.get(zone)
        missing: tuple[str, ...] = ()
        lacking = 0
        if isinstance(plan, frozenset):
            members = [node._replace(planned=node.name in plan) for node in members]
            there = {node.name for node in members}
            missing = tuple(name for name in sorted(plan - there) if run.wants(f"{zone}/{name}"))
        elif plan is not None and not run.left_out:  # a number says nothing about a part of them
            lacking = max(0, plan - len(members) - len(vanished.get(zone, ())))
        if not (members or missing or lacking or zone in vanished) and any(
            of.startswith(f"{zone}/") for of in run.left_out
        ):
            continue  # of a zone that a filter leaves out whole there is nothing to say
        ordered = tuple(sorted(members, key=lambda node: node.name))
        yield Zone(zone, ordered, missing, lacking, vanished.get(zone, {}))


def instances(run: Run, access: Access) -> dict[str, int]:
    """Return host name or address of a node -> how many instances of all accounts are on it. Two requests, or three.

    Raises Failed; not-allowed where not all accounts are seen: fewer instances would be counted than there are.
    """
    from nephoscope.probes import euca_ec2

    client = euca_ec2.everywhere(run, access)
    found: dict[str, int] = {}
    for instance in euca_ec2.instances(run, client):
        if instance.node and instance.state in LIVE:
            found[instance.node] = found.get(instance.node, 0) + 1
    return found


def _elsewhere(counts: Mapping[str, int], listed: Iterable[Node]) -> Iterator[Failed]:
    """Yield a Failed when instances are on hosts that are not listed: they are in no node's count."""
    known = {node.name for node in listed}
    lost = sorted(host for host in counts if host not in known)
    if lost:
        names = ", ".join(lost[:3]) + (f" and {len(lost) - 3} more" if len(lost) > 3 else "")
        total = sum(counts[host] for host in lost)
        error = f"{total} instance{'s are' if total > 1 else ' is'} on hosts that are not listed as nodes: {names}"
        yield Failed(UNREADABLE, "", "DescribeInstances", error)


def _listed(run: Run, access: Access, topology: Topology | None) -> tuple[tuple[str, ...], list[Node]]:
    """Return the names of zones known besides, and all nodes.

    An empty list is what a missing right gives, too: then the clusters are asked for, which the same right shows.
    """
    if topology and topology.before_3_4:
        return (), configured(run, access)
    services = describe(run, access, ListAll="true", ShowEvents="true", ByServiceType="node")
    nodes = [Node(each.zone, each.name, each.state, each.message) for each in services if each.type == "node"]
    if nodes:
        return (), nodes
    try:
        nodes = configured(run, access)
    except Failed as failed:
        run.stage(f"the Configuration service does not tell nodes either: {failed.error}")
    if nodes:
        return (), nodes
    clusters = describe(run, access, ListAll="true", ByServiceType="cluster")
    if not clusters:
        error = "no node and no cluster is shown, as to a user outside account eucalyptus"
        raise Failed(NOT_ALLOWED, "", "DescribeServices", error)
    return tuple(sorted({service.zone for service in clusters})), []


def configured(run: Run, access: Access) -> list[Node]:
    """Return the nodes that the Configuration service of 3.x knows. Raises Failed."""
    from nephoscope.probes import euca_api

    root = euca_api.ask(run, access, "configuration", "DescribeNodes")
    found = []
    for item in root.iterfind("registered/item"):
        zone, name, host, state, detail = (
            (item.findtext(field) or "").strip() for field in ("partition", "name", "hostName", "state", "detail")
        )
        if host == "detail":
            continue
        if not (name or host):
            raise Failed(UNREADABLE, "", "DescribeNodes", "an entry of the list has no name")
        found.append(Node(zone, host or name, state, detail))
    return found
