# SPDX-License-Identifier: Apache-2.0
"""Questions that are asked of any cloud, whatever it speaks: room, quotas, addresses, what lies about unused.

A dialect is a module that answers the four questions in the records of this one: `euca_cloud` for Eucalyptus. A check asks here
and knows no dialect; what a dialect can't tell is None or an empty tuple there, never 0. All sizes are bytes, all times
seconds, all shares are left to whoever reads them.

Every question takes the check's options (`dialect`, and those of the groups "http" and "cloud") and the run. It raises Failed
when it could learn nothing; what it could not learn beside other things stands in `failures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import Failed, Run

DIALECTS = ("eucalyptus",)


class Size(NamedTuple):
    """How many instances of one size (instance type, flavour) fit into one zone.

    Numbers of several sizes don't add up: each is reckoned as if the others took nothing more.

    free   that still fit
    most   that fit when the zone is empty; None: the dialect can't tell
    cores  of one instance; ram and disk of one, in bytes
    """

    zone: str
    name: str
    free: int
    most: int | None
    cores: int
    ram: int
    disk: int

    @property
    def of(self) -> str:
        """Its name beside those of other zones."""
        return f"{self.zone}/{self.name}"


class Share(NamedTuple):
    """How much of something is taken.

    of      what it belongs to: a zone, a host, an aggregate
    what    what is counted: "m1.small" (in instances of that size), "vcpu", "ram", "disk"
    used    in units of `what`
    total   likewise
    """

    of: str
    what: str
    used: float
    total: float

    @property
    def percent(self) -> float | None:
        """The share that is used, %; None of a total of nothing."""
        return 100 * self.used / self.total if self.total > 0 else None


class Zone(NamedTuple):
    """An availability zone.

    state   "ok", "failed" (known to the cloud, and offers nothing), "absent" (no longer known to it), "unknown"
    said    what is so, in words
    cores   that it can still hand out, at least; None: not told
    """

    name: str
    state: str
    said: str
    cores: int | None = None


class Room(NamedTuple):
    """What still fits into a cloud.

    zones   every zone that the cloud names, was told to have, or had a while ago
    sizes   one for each size and zone
    shares  how much is taken
    source  what was asked, for the reader
    kept    plain JSON for the next run
    """

    zones: tuple[Zone, ...]
    sizes: tuple[Size, ...]
    shares: tuple[Share, ...] = ()
    source: str = ""
    failures: tuple[Failed, ...] = ()
    kept: Mapping[str, Any] = {}


class Quota(NamedTuple):
    """One limit of one tenant (account, project).

    tenant    its name
    member    the user whom alone it limits, "" when it limits the whole tenant
    resource  the suite's word: instances, cores, ram, disk, volumes, volume_size, snapshots, images, addresses, …
    limit     in base units
    used      in base units; None: the dialect can't tell
    floor     `used` is the least that it can be: the owner of some things is not told
    """

    tenant: str
    member: str
    resource: str
    limit: float
    used: float | None
    floor: bool = False

    @property
    def of(self) -> str:
        """Its name beside those of other tenants and members."""
        return "/".join(part for part in (self.tenant, self.member, self.resource) if part)

    @property
    def percent(self) -> float | None:
        """How much of it is used, %; a limit of 0 is full once something is there."""
        if self.used is None:
            return None
        if self.limit > 0:
            return 100 * self.used / self.limit
        return 100.0 if self.used > 0 else 0.0


class Void(NamedTuple):
    """A limit that limits nothing.

    of    where it stands
    text  what it is and why it has no effect
    """

    of: str
    text: str


class Quotas(NamedTuple):
    """The limits of all tenants against what they use.

    quotas     limits that hold
    voids      limits that have no effect
    unlimited  names of tenants without any limit on the whole of them; None while not every tenant was read
    tenants    how many there are that can be limited
    exempt     how many are never limited
    promised   for each resource whose total is told: the sum of the tenants' limits against what exists
    oldest     s since the limits were read of the tenant or member that waits longest; 0.0 when all were read now
    """

    quotas: tuple[Quota, ...]
    voids: tuple[Void, ...]
    unlimited: tuple[str, ...] | None
    tenants: int
    exempt: int = 0
    promised: tuple[Share, ...] = ()
    oldest: float = 0.0
    failures: tuple[Failed, ...] = ()
    kept: Mapping[str, Any] = {}

    @property
    def untold(self) -> tuple[str, ...]:
        """Resources that are limited somewhere and whose use is not told."""
        return tuple(sorted({quota.resource for quota in self.quotas if quota.used is None}))

    @property
    def partly(self) -> tuple[str, ...]:
        """Resources of which more may be used than is told."""
        return tuple(sorted({quota.resource for quota in self.quotas if quota.floor and quota.used is not None}))


class Pool(NamedTuple):
    """A pool of addresses, or of segmentation ids.

    used      that are given to somebody
    total     that there are
    idle      of the used ones: given to somebody and in use by nothing; None: not told
    strange   addresses in it that should not be there
    """

    name: str
    used: int
    total: int
    idle: int | None = None
    strange: tuple[str, ...] = ()


class Pools(NamedTuple):
    """All pools, and what could not be looked at."""

    pools: tuple[Pool, ...]
    failures: tuple[Failed, ...] = ()


class Unused(NamedTuple):
    """Something that is allocated and used by nobody.

    kind    "instance", "volume", "address", "snapshot", "image", "group", …
    name    its id
    owner   tenant that has it, "" when that is not told
    age     s since it is unused, as far as that is known, 0.0 at first sight; None only until the dialect has aged it
    cores   that come back when it is given up; ram and disk in bytes
    text    why it counts as unused
    """

    kind: str
    name: str
    owner: str
    age: float | None
    cores: int = 0
    ram: int = 0
    disk: int = 0
    text: str = ""


class Idle(NamedTuple):
    """What is used by nobody.

    things   whatever its age
    looked   for each kind how many are given to somebody: a kind that does not stand here was not looked at
    """

    things: tuple[Unused, ...]
    looked: Mapping[str, int]
    failures: tuple[Failed, ...] = ()
    kept: Mapping[str, Any] = {}


def span(text: str) -> tuple[Any, Any]:
    """Return first and last address (of ipaddress) from "192.0.2.0/24", "192.0.2.10-192.0.2.20" or one. Raises ValueError."""
    from ipaddress import ip_address, ip_network

    first, dash, last = text.partition("-")
    try:
        if not dash:
            network = ip_network(text.strip(), strict=False)
            return network[0], network[-1]
        ends = ip_address(first.strip()), ip_address(last.strip())
        if ends[0].version == ends[1].version and ends[0] <= ends[1]:  # type: ignore[operator]
            return ends
    except ValueError:
        pass
    raise ValueError(f"'{text}' is no range of addresses like 192.0.2.0/24 or 192.0.2.10-192.0.2.20")


def capacity(options: Any, run: Run) -> Room:
    """Ask how many instances of each size fit. `options.expect` are names of zones that must exist."""
    room: Room = _dialect(options).capacity(options, run)
    return room


def quotas(options: Any, run: Run) -> Quotas:
    """Ask for every tenant's limits and use. `options.calls` bounds the requests of a run that are made for single tenants."""
    found: Quotas = _dialect(options).quotas(options, run)
    return found


def addresses(options: Any, run: Run) -> Pools:
    """Ask how many addresses are left."""
    pools: Pools = _dialect(options).addresses(options, run)
    return pools


def unused(options: Any, run: Run) -> Idle:
    """Ask what is used by nobody."""
    idle: Idle = _dialect(options).unused(options, run)
    return idle


def _dialect(options: Any) -> Any:
    """Return the module that speaks `options.dialect`, loaded now: a client must not cost those who use another."""
    if options.dialect == "eucalyptus":
        from nephoscope.probes import euca_cloud

        return euca_cloud
    raise KeyError(options.dialect)
