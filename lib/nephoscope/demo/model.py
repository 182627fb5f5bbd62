# SPDX-License-Identifier: Apache-2.0
"""The simulated cloud as plain objects: hosts, services, users, and what a request and its answer look like.

Nothing here opens a socket. A service module (empyrean, ec2, ...) has

    PATHS = ("/services/Empyrean",)    # exact, or the beginning of a longer path ("/services/objectstorage/b/k")
    def answer(cloud: Cloud, request: Request) -> Answer

and may have `VERSIONED = True` (404 without the parameter Version), `SIGNED = "query" | "s3"` (how its requests are signed;
"query" if it says nothing) and `refused(cloud, request, error: wire.Refused) -> Answer` (how it
words a refused signature; else the plain document).
A module with `TELL = {"volume": function(cloud, *words)}` adds words to `Demo.tell`, one with `seed(cloud)` fills a new
cloud. All of them run in one thread, the server's; `Demo.tell` runs its functions under `cloud.lock`.

Component types by version: the classes that extend ComponentId in the trees of 3.1, 3.4, 4.1, 4.4.2 and 5.1 of
github eucalyptus/eucalyptus and Corymbia/eucalyptus. Nothing was compared with a live cloud.
"""

from __future__ import annotations

import fnmatch
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

STATES = ("BROKEN", "PRIMORDIAL", "INITIALIZED", "LOADED", "STOPPED", "NOTREADY", "DISABLED", "ENABLED")
"""Component.State in its own order (MSGS/component/Component.java)."""
NODE_GONE_AFTER = 600.0
"""Seconds after which the CLC forgets a node that no CC reports (Nodes.java, REFRESH_TIMEOUT)."""
NODE_TEXTS = {
    "ENABLED": "the node is operating normally",
    "STOPPED": "the node is not accepting new instances",
    "NOTREADY": "the node is currently experiencing problems and needs attention",
}
"""What a CC says of a node (cluster/handlers-state.c)."""
NODE_SILENT = "the node is not responding to the cluster controller"

NODE_TYPES = ("node",)
ZONE_TYPES = ("cluster", "storage", "node", "vmwarebroker", "proxy-cluster")
"""Types whose partition is an availability zone."""
ALIASES = {"proxyclustercontroller": "proxy-cluster"}
"""The class is ProxyClusterController, its name on the wire of 5.1.0 is the one that its constructor gives."""
USER_SERVICES = {
    (3, 0): ("euare",),
    (3, 4): ("euare", "autoscaling", "cloudwatch", "loadbalancing", "imaging", "tokens"),
    (4, 0): ("compute", "euare", "tokens", "objectstorage", "autoscaling", "cloudwatch", "loadbalancing",
             "cloudformation", "simpleworkflow", "imaging"),
    (4, 4): ("compute", "euare", "tokens", "objectstorage", "autoscaling", "cloudwatch", "loadbalancing",
             "cloudformation", "simpleworkflow", "imaging", "simplequeue", "identity", "portal", "tag", "ec2reports"),
    (5, 0): ("compute", "euare", "tokens", "objectstorage", "autoscaling", "cloudwatch", "loadbalancing",
             "loadbalancingv2", "cloudformation", "simpleworkflow", "imaging", "simplequeue", "identity", "tag",
             "ec2reports", "rds", "route53"),
}  # fmt: skip
"""Members of `user-api` since 4.0; before that they live on the CLC. First version -> types."""
CLC_SERVICES = {
    (3, 0): ("configuration", "db", "dns", "jetty", "ldap", "notifications"),
    (4, 0): ("configuration", "db", "dns", "jetty", "ldap", "notifications", "pollednotifications",
             "autoscalingbackend", "cloudwatchbackend", "loadbalancingbackend", "imagingbackend"),
    (4, 2): ("configuration", "db", "ldap", "notifications", "pollednotifications", "autoscalingbackend",
             "cloudwatchbackend", "loadbalancingbackend", "imagingbackend"),
    (4, 4): ("configuration", "db", "ldap", "notifications", "pollednotifications", "autoscalingbackend",
             "cloudwatchbackend", "imagingbackend", "clusterservice"),
    (5, 0): ("db", "ldap", "pollednotifications", "autoscalingbackend", "cloudwatchbackend", "imagingbackend"),
}  # fmt: skip
"""Internal types that come with the CLC: @Partition(Eucalyptus.class), not registered by anybody. First version -> types."""
EVERYWHERE = {
    (3, 0): ("bootstrap", "component", "properties", "reporting"),
    (4, 4): ("bootstrap", "component", "properties"),
    (5, 0): ("bootstrap", "properties"),
}
"""Types that every JVM has: @Partition(Empyrean.class), "always local". First version -> types."""
NOT_READY_WITHOUT_IMAGE = ("loadbalancingbackend", "imagingbackend")
"""NOTREADY on a healthy cloud whose worker images nobody installed (faults 1014, 1015)."""
PATH_NAMES = {
    "bootstrap": "Empyrean", "compute": "compute", "objectstorage": "objectstorage", "user-api": "User-API",
    "walrusbackend": "WalrusBackend", "cloudwatch": "CloudWatch", "cloudwatchbackend": "CloudWatchBackend",
    "autoscaling": "AutoScaling", "autoscalingbackend": "AutoScalingBackend", "loadbalancing": "LoadBalancing",
    "loadbalancingbackend": "LoadBalancingBackend", "imagingbackend": "ImagingBackend", "simplequeue": "SimpleQueue",
    "cloudformation": "CloudFormation", "simpleworkflow": "SimpleWorkflow", "vmwarebroker": "VMwareBroker",
    "pollednotifications": "PolledNotifications", "loadbalancingv2": "LoadBalancingV2",
}  # fmt: skip
"""Service paths that are not just the type with a capital letter (below /services/)."""


class Request(NamedTuple):
    """One request as it came: `host` is the name of the simulated host asked, header names are in lower case.

    `query` is the raw query string, `params` holds the decoded query and form together, `user` who signed (None: nobody).
    """

    host: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    params: Mapping[str, str]
    user: User | None

    @property
    def action(self) -> str:
        """The operation asked for, or nothing."""
        return self.params.get("Action") or self.params.get("Operation") or ""


class Answer(NamedTuple):
    """What goes back. Content-Length, Date and Server are the server's; `Connection: close` here closes."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class User(NamedTuple):
    """Who may sign. `allowed` are IAM actions with globs ("euserv:Describe*"); a system administrator may do all."""

    name: str
    account: str
    number: str
    access: str
    secret: str
    allowed: tuple[str, ...] = ()
    admin: bool = False
    token: str = ""

    def __repr__(self) -> str:
        return f"User({self.account}/{self.name})"

    @property
    def of_system(self) -> bool:
        """Is this a user of the account `eucalyptus`?"""
        return self.account == "eucalyptus"

    @property
    def arn(self) -> str:
        """The user's name as IAM has it."""
        return f"arn:aws:iam::{self.number}:user/{self.name}"

    def may(self, action: str) -> bool:
        """Say whether a policy allows this user `action` ("euserv:DescribeServices"); upper and lower case are the same."""
        return self.admin or any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in self.allowed)


class Host:
    """A machine. `bulk` ones exist in lists only: nothing listens at their address."""

    def __init__(self, name: str, address: str, zone: str = "", bulk: bool = False) -> None:
        self.name = name
        self.address = address
        self.zone = zone
        self.bulk = bulk
        self.up = True
        """Does it listen?"""
        self.down_since: float | None = None
        """When it stopped answering (Cloud.elapsed()), or None."""
        self.failure = ""
        """How it fails at present ("hang", "cut", ...), or nothing."""
        self.view: dict[Service, str] = {}
        """Service -> state, as this host alone sees it."""
        self.store: dict[str, Any] = {}
        """What other modules keep of this host (faults, sensors)."""

    def __repr__(self) -> str:
        return f"Host({self.name} {self.address})"


class Service:
    """A registered service, or a node, or an internal component."""

    def __init__(
        self, kind: str, name: str, partition: str, host: Host, *, state: str = "ENABLED", standby: bool = False
    ) -> None:
        self.kind = kind
        self.name = name
        self.partition = partition
        self.host = host
        self.state = state
        self.standby = standby
        self.message = ""
        self.event = secrets.token_hex(16)

    def __repr__(self) -> str:
        return f"Service({self.kind}:{self.name} {self.state})"


class Cloud:
    """A whole cloud. Everything that can be told changes this; everything that answers reads it."""

    def __init__(self, version: str = "4.4.2") -> None:
        self.version = version
        self.number = tuple(int(part) for part in version.split(".")[:3])
        self.zones: list[str] = []
        self.hosts: dict[str, Host] = {}
        self.services: list[Service] = []
        self.users: dict[str, User] = {}
        """Access key -> user. Temporary keys are added here too."""
        self.properties: dict[str, Property] = {}
        self.resources: dict[str, Any] = {}
        """Volumes, instances, images, ...: filled and read by the modules of those services."""
        self.extra: dict[str, Any] = {}
        """The table [demo] of the topology file."""
        self.lock = threading.RLock()
        self.generation = 0
        self.skew = 0.0
        self.passed = 0.0
        self.booted = time.time()

    # ---- time

    def now(self) -> float:
        """Return the servers' clock, Unix time: shown in headers and documents, used for signatures. `skew` shifts it."""
        return time.time() + self.skew

    def elapsed(self) -> float:
        """Return seconds that count how long something lasts; `Demo.tell("clock", 601)` lets them pass without waiting."""
        return time.monotonic() + self.passed

    def shown(self, moment: float) -> float:
        """Return what the clock showed at `moment` (of elapsed()): a thing's creation time, older after tell("clock", ...)."""
        return self.now() - (self.elapsed() - moment)

    # ---- what there is

    def at_least(self, *version: int) -> bool:
        """Say whether this cloud is of that version or later: at_least(4, 4)."""
        return self.number >= version

    def touch(self) -> None:
        """Something changed: answers kept ready are stale."""
        self.generation += 1

    def add_host(self, name: str, address: str, zone: str = "", bulk: bool = False) -> Host:
        """Add a host and return it."""
        host = self.hosts[name] = Host(name, address, zone, bulk)
        if zone and zone not in self.zones:
            self.zones.append(zone)
        return host

    def at(self, address: str) -> Host:
        """Return the host with this address. Raises KeyError."""
        for host in self.hosts.values():
            if host.address == address:
                return host
        raise KeyError(f"no host at {address}")

    def find(self, name: str) -> Service:
        """Return a service by its name, by TYPE@HOST ("eucalyptus@clc"), or a node by its host's name. Raises KeyError."""
        kind, sign, place = name.partition("@")
        for service in self.services:
            if (sign and service.kind == kind and service.host.name == place) or (not sign and service.name == name):
                return service
        for service in self.services:
            if service.kind in NODE_TYPES and service.host.name == name:
                return service
        raise KeyError(f"no service {name} in this cloud")

    def of_kind(self, kind: str, zone: str = "") -> list[Service]:
        """Return the listed services of a type (of a zone, if given)."""
        return [each for each in self.listed() if each.kind == kind and (not zone or each.partition == zone)]

    def on(self, host: Host) -> list[Service]:
        """Return the services that are registered on this host."""
        return [service for service in self.services if service.host is host]

    def is_enabled(self, kind: str, zone: str = "") -> bool:
        """Say whether some service of this type (in this zone) is ENABLED, as the CLC sees it."""
        return any(self.state(service)[0] == "ENABLED" for service in self.of_kind(kind, zone))

    def member(self, name: str, account: str = "eucalyptus") -> User:
        """Return a user by name. Raises KeyError."""
        for user in self.users.values():
            if user.name == name and user.account == account:
                return user
        for user in self.users.values():
            if user.name == name:
                return user
        raise KeyError(f"no user {name} in this cloud")

    # ---- states

    def state(self, service: Service, asked: Host | None = None) -> tuple[str, str]:
        """Return the state of a service and the text of its event, as the host that is asked (else the CLC) sees them."""
        if asked is not None and service in asked.view:
            return asked.view[service], service.message
        if service.host.down_since is not None:
            if service.kind in NODE_TYPES:
                return "NOTREADY", NODE_SILENT
            return "NOTREADY", f"Failed to connect to {self.uri(service)}"
        text = service.message
        if not text and service.kind in NODE_TYPES:
            text = NODE_TEXTS.get(service.state, "")
        return service.state, text

    def vanished(self) -> frozenset[str]:
        """Return the names of the nodes that no CC has reported for ten minutes, so that the CLC forgot them."""
        late = self.elapsed() - NODE_GONE_AFTER
        gone = {h.name for h in self.hosts.values() if h.down_since is not None and h.down_since <= late}
        if not gone:
            return frozenset()
        dark = set()
        for zone in self.zones:
            reporters = [s for s in self.services if s.kind == "cluster" and s.partition == zone]
            if reporters and all(service.host.name in gone for service in reporters):
                dark.add(zone)
        return frozenset(
            s.name for s in self.services if s.kind in NODE_TYPES and (s.host.name in gone or s.partition in dark)
        )

    def listed(self) -> list[Service]:
        """Return the services that the CLC knows at present."""
        gone = self.vanished()
        if not gone:
            return self.services
        return [service for service in self.services if service.kind not in NODE_TYPES or service.name not in gone]

    def uri(self, service: Service) -> str:
        """Return where a service is reached, as DescribeServices tells it."""
        kind, address = service.kind, service.host.address
        if kind == "proxy-cluster" or (kind == "cluster" and not self.at_least(5)):
            return f"http://{address}:8774/axis2/services/EucalyptusCC"
        if kind == "node":
            return f"http://{address}:8775/axis2/services/EucalyptusNC"
        return f"http://{address}:8773/services/{PATH_NAMES.get(kind, kind[:1].upper() + kind[1:])}"

    def full_name(self, service: Service) -> str:
        """Return the ARN of a service (MSGS/component/ComponentFullName.java)."""
        kind, name = service.kind, service.name
        if kind in ("eucalyptus", "bootstrap"):
            return f"arn:euca:{kind}:::{name}/"
        parent = "eucalyptus" if kind in ("cluster", "storage", "vmwarebroker", "proxy-cluster") else "bootstrap"
        partition = "" if service.partition == parent else service.partition
        return f"arn:euca:{parent}:{partition}:{kind}:{name}/"

    # ---- what kinds there are

    def user_services(self) -> tuple[str, ...]:
        """Return the user-facing types of this version."""
        return self._of_version(USER_SERVICES)

    def clc_services(self) -> tuple[str, ...]:
        """Return the internal types that come with a CLC of this version."""
        return self._of_version(CLC_SERVICES)

    def everywhere(self) -> tuple[str, ...]:
        """Return the types that every JVM of this version has."""
        return self._of_version(EVERYWHERE)

    def kinds(self) -> tuple[str, ...]:
        """Return every component type that a JVM of this version knows, which is what its Heartbeat lists."""
        more: tuple[str, ...] = ("eucalyptus", "cluster", "node", "storage")
        more += ("walrusbackend", "user-api") if self.at_least(4) else ("walrus",)
        if not self.at_least(4, 2):
            more += ("arbitrator", "gatherlog", "vmwarebroker")
        if self.at_least(4, 2):
            more += ("dns",)
        if self.at_least(4, 4):
            more += ("clustercontroller",)
        if self.at_least(5):
            more += ("proxy-cluster",)
        return tuple(dict.fromkeys((*more, *self.everywhere(), *self.user_services(), *self.clc_services())))

    def _of_version(self, table: Mapping[tuple[int, int], tuple[str, ...]]) -> tuple[str, ...]:
        return table[max(first for first in table if self.number >= first)]


class Property(NamedTuple):
    """A cloud property. `hidden` ones are shown as ********."""

    name: str
    value: str
    default: str
    description: str = ""
    read_only: bool = False
    hidden: bool = False


def users() -> Iterable[User]:
    """Make the users of a sample cloud, each with fresh keys; their account numbers are those of the documentation.

    `monitor` has what a session of a role of the account `eucalyptus` has: a user of that account may do all, whatever
    its policies (PolicyEngineImpl of 3.1 to 5.1).
    """
    least = ("euserv:Describe*", "euprop:DescribeProperties", "ec2:Describe*", "autoscaling:Describe*")
    yield _user("admin", "eucalyptus", "000000000001", admin=True)
    yield _user("monitor", "eucalyptus", "000000000001", allowed=least)
    yield _user("nobody", "tenant", "362121614306")
    yield _user("owner", "tenant", "362121614306", allowed=("*",))


def _user(name: str, account: str, number: str, *, allowed: tuple[str, ...] = (), admin: bool = False) -> User:
    key = "AKI" + secrets.token_hex(9).upper()[:17]
    return User(name, account, number, key, secrets.token_urlsafe(30), allowed, admin)
