# SPDX-License-Identifier: Apache-2.0
"""What the tenants of a simulated cloud own: accounts, instances, volumes, snapshots, images, addresses, buckets.

A new cloud is seeded healthy: per zone six instances on its first two nodes, five volumes, four snapshots, eight
addresses (three of them free), an image, two buckets, an account with quotas and one without. `tell("seed", "troubled")`
(or `seed = "troubled"` in the topology file's [demo]) makes of it the cloud that tests of bad news want: a volume
`creating` for two hours, one in `error`, a failed snapshot, a stuck instance, a failed scaling activity.
`bulk = {instances = 500, volumes = 300, snapshots = 100, addresses = 200}` in [demo] adds that many more.

Ages count in the cloud's own seconds (Cloud.elapsed), so that tell("clock", 3600) makes everything an hour older.

Words for Demo.tell: those of TELL, below; `nephoscope demo tell` alone lists them with what they do.

Sources: github eucalyptus/eucalyptus 4.4.2: VmTypes.java (instance types), VmInstance.java (states and codes),
AccountIdentifiers.java (system accounts); facts on quotas from the documentation of 4.x and 5.x. Identifiers are made up.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from nephoscope.demo.model import Cloud, Service, User
from nephoscope.demo.telling import amount, find_host, nearest

VM_STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
SYSTEM_PREFIX = "(eucalyptus)"
NOBODY = "nobody"
SYSTEM_ACCOUNTS: tuple[str, ...] = (
    "loadbalancing", "imaging", "blockstorage", "cloudformation", "aws-exec-read", "objectstorage", "database",
)  # fmt: skip
"""Accounts of the cloud itself, which have no quota and need none; written with SYSTEM_PREFIX before them."""
HOUR, DAY = 3600.0, 86400.0


class Type(NamedTuple):
    """An instance type: cores, MB of memory, GB of disk, network interfaces."""

    name: str
    cpu: int
    memory: int
    disk: int
    interfaces: int


TYPES = tuple(
    Type(*each)
    for each in (
        ("t1.micro", 1, 256, 5, 2),
        ("m1.small", 1, 256, 5, 2),
        ("m1.medium", 1, 512, 10, 2),
        ("c1.medium", 2, 512, 10, 2),
        ("m1.large", 2, 512, 10, 3),
        ("m1.xlarge", 2, 1024, 10, 4),
        ("m2.xlarge", 2, 2048, 10, 4),
        ("c1.xlarge", 2, 2048, 10, 4),
        ("m3.xlarge", 4, 2048, 15, 4),
        ("m2.2xlarge", 2, 4096, 30, 4),
        ("m3.2xlarge", 4, 4096, 30, 4),
        ("cc1.4xlarge", 8, 3072, 60, 4),
        ("m2.4xlarge", 8, 4096, 60, 8),
        ("hi1.4xlarge", 8, 6144, 120, 8),
        ("cc2.8xlarge", 16, 6144, 120, 8),
        ("cg1.4xlarge", 16, 12288, 200, 8),
        ("cr1.8xlarge", 16, 16384, 240, 8),
        ("hs1.8xlarge", 48, 119808, 24000, 8),
    )
)
"""VmTypes.PredefinedTypes of 4.4.2 (ROOTFS 10 GB); a site may change the numbers."""
KINDS = {each.name: each for each in TYPES}


class Thing:
    """What every resource has: an identifier, the account that owns it, and since when it has its state."""

    def __init__(self, name: str, owner: str, since: float, **more: Any) -> None:
        self.name = name
        self.owner = owner
        self.since = since
        """A moment of Cloud.elapsed()."""
        self.user = "admin"
        self.state = ""
        self.zone = ""
        self.tags: dict[str, str] = {}
        self.__dict__.update(more)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name} {self.state})"


class Instance(Thing):
    """A virtual machine."""

    kind = "m1.small"
    image = ""
    node = ""
    reason = ""
    private = "0.0.0.0"  # noqa: S104 - what an instance without an address shows
    public = "0.0.0.0"  # noqa: S104
    number = 0
    destination = ""
    impaired: float | None = None
    """Since when the status check fails (Cloud.elapsed()), or None."""


class Volume(Thing):
    """An EBS volume of `size` GB; `attached` is the instance, if any."""

    size = 1
    snapshot = ""
    attached = ""
    attachment = ""
    device = "/dev/vdb"


class Snapshot(Thing):
    """A snapshot of a volume of `size` GB."""

    size = 1
    volume = ""
    progress = "100%"


class Image(Thing):
    """A machine image."""

    title = ""
    public = True
    root = "instance-store"


class Address(Thing):
    """A public address; owner "nobody" for a free one."""

    instance = ""


class Bucket(Thing):
    """A bucket and its objects: key -> (content, content type, stored at Unix time)."""

    def __init__(self, name: str, owner: str, since: float, **more: Any) -> None:
        super().__init__(name, owner, since, **more)
        self.objects: dict[str, tuple[bytes, str, float]] = {}


class SecurityGroup(Thing):
    """A security group that lets ssh in."""

    title = "default"


class Activity(NamedTuple):
    """One activity of an auto scaling group."""

    name: str
    status: str
    since: float
    cause: str


class ScalingGroup(Thing):
    """An auto scaling group; the imaging and balancer workers have one each."""

    desired = 1
    serving = 0
    """How many instances are in service."""
    launch = ""

    def __init__(self, name: str, owner: str, since: float, **more: Any) -> None:
        super().__init__(name, owner, since, **more)
        self.activities: list[Activity] = []


class Member:
    """A user or group of an account with its policies (name -> document as a dictionary)."""

    def __init__(self, name: str, number: str, *members: str) -> None:
        self.name = name
        self.number = number
        self.policies: dict[str, dict[str, Any]] = {}
        self.members = list(members)


class Account:
    """An account: users, groups, and policies of the account itself (an extension of Eucalyptus)."""

    def __init__(self, name: str, number: str) -> None:
        self.name = name
        self.number = number
        self.policies: dict[str, dict[str, Any]] = {}
        self.users: dict[str, Member] = {}
        self.groups: dict[str, Member] = {}


_T = TypeVar("_T", bound=Thing)


def identifier(prefix: str, *seed: object) -> str:
    """Return an identifier as Eucalyptus has them (prefix and eight hex digits), the same for the same seed."""
    return f"{prefix}-{zlib.crc32(repr((prefix, *seed)).encode()):08x}"


def things(cloud: Cloud, kind: type[_T]) -> dict[str, _T]:
    """Return all resources of one class by identifier; the dictionary is the cloud's own."""
    found: dict[str, _T] = cloud.resources.setdefault(kind.__name__, {})
    return found


def accounts(cloud: Cloud) -> dict[str, Account]:
    """Return all accounts by name; the dictionary is the cloud's own."""
    found: dict[str, Account] = cloud.resources.setdefault("accounts", {})
    return found


def account_of(cloud: Cloud, word: str) -> Account:
    """Return an account by name or number. Raises KeyError."""
    for account in accounts(cloud).values():
        if word in (account.name, account.number):
            return account
    raise KeyError(f"no account {word} in this cloud")


def user_arn(cloud: Cloud, thing: Thing) -> str:
    """Return the owner of a resource as Eucalyptus prints it (UserFullName): `arn:aws:euare::NUMBER:user/NAME`."""
    return f"arn:aws:euare::{account_of(cloud, thing.owner).number}:user/{thing.user}"


def rules(cloud: Cloud, user: User) -> bool:
    """Say whether a user is an administrator of the whole cloud, to whom `verbose` means something.

    Context.isAdministrator of 4.0 and later holds for roles of the account `eucalyptus` too, whose policies then count;
    hasAdministrativePrivileges, which was asked before, for its users alone, who may do all.
    """
    return user.of_system if cloud.at_least(4) else user.admin


def visible(cloud: Cloud, user: User, found: Mapping[str, _T], action: str, every: bool) -> Iterator[_T]:
    """Yield what a user may see: all accounts' with `every` for administrators of the cloud, else their own account's.

    Without the right the list is empty and nothing says so (RestrictedTypes.filterPrivileged filters, it does not refuse).
    """
    if user.may(action):
        for thing in found.values():
            if (every and rules(cloud, user)) or thing.owner == user.account:
                yield thing


# ---- capacity


def nodes(cloud: Cloud, zone: str) -> list[Service]:
    """Return the node controllers of a zone that take instances at present."""
    return [each for each in cloud.of_kind("node", zone) if cloud.state(each)[0] == "ENABLED"]


def all_nodes(cloud: Cloud, zone: str) -> list[Service]:
    """Return the node controllers that are registered in a zone, whatever their state."""
    return [each for each in cloud.services if each.kind == "node" and each.partition == zone]


def node_size(cloud: Cloud) -> tuple[int, int, int]:
    """Return cores, MB of memory and GB of disk of each node controller."""
    cores, memory, disk = cloud.resources.get("node size") or cloud.extra.get("node_size") or (32, 65536, 500)
    return int(cores), int(memory), int(disk)


def used_on(cloud: Cloud, address: str) -> tuple[int, int, int]:
    """Return the cores, MB and GB that instances hold on a node (stopped ones hold nothing there)."""
    held = [KINDS[each.kind] for each in on_node(cloud, address)]
    return sum(each.cpu for each in held), sum(each.memory for each in held), sum(each.disk for each in held)


def on_node(cloud: Cloud, address: str) -> list[Instance]:
    """Return the instances that a node controller runs."""
    gone = ("stopped", "terminated")
    return [each for each in things(cloud, Instance).values() if each.node == address and each.state not in gone]


def capacity(cloud: Cloud, zone: str) -> dict[str, tuple[int, int]]:
    """Return type -> (free, maximum) of a zone: what fits on each enabled node, added up; not additive across types."""
    size = node_size(cloud)
    counts = {each.name: [0, 0] for each in TYPES}
    used: dict[str, list[int]] = {}
    for each in things(cloud, Instance).values():
        if each.node and each.state not in ("stopped", "terminated"):
            kind = KINDS[each.kind]
            held = used.setdefault(each.node, [0, 0, 0])
            held[0] += kind.cpu
            held[1] += kind.memory
            held[2] += kind.disk
    for node in nodes(cloud, zone):
        left = [most - held for most, held in zip(size, used.get(node.host.address, (0, 0, 0)))]
        for kind in TYPES:
            need = (kind.cpu, kind.memory, kind.disk)
            counts[kind.name][0] += max(0, min(have // want for have, want in zip(left, need)))
            counts[kind.name][1] += min(have // want for have, want in zip(size, need))
    return {name: (free, most) for name, (free, most) in counts.items()}


# ---- seed


def seed(cloud: Cloud) -> None:
    """Fill a new cloud (once: a second call changes nothing)."""
    if "accounts" in cloud.resources:
        return
    _people(cloud)
    now = cloud.elapsed()
    image = things(cloud, Image)
    for title, root in (("precise-server", "instance-store"), ("imaging-worker", "ebs")):
        name = identifier("emi", title)
        image[name] = Image(name, "eucalyptus", now - 90 * DAY, title=title, root=root, state="available")
    for zone in cloud.zones:
        _fill_zone(cloud, zone, now)
    for number in range(8):
        ip = f"198.51.100.{number + 10}"
        things(cloud, Address)[ip] = Address(ip, NOBODY, now - 3 * DAY)
    running = [each for each in things(cloud, Instance).values() if each.state == "running"]
    for address, instance in zip(list(things(cloud, Address).values())[:4], running):
        _allocate(address, instance.owner, instance)
    spare = list(things(cloud, Address).values())[4]
    spare.owner = "tenant"
    for name, owner in (("backups", "tenant"), ("images", "eucalyptus")):
        bucket = things(cloud, Bucket)[name] = Bucket(name, owner, now - 60 * DAY)
        bucket.objects["manifest.xml"] = (b"<manifest/>", "application/xml", cloud.now() - 60 * DAY)
    for name, owner in (
        ("asg-euca-internal-imaging-worker-01", f"{SYSTEM_PREFIX}imaging"),
        ("asg-euca-internal-elb-362121614306-web", f"{SYSTEM_PREFIX}loadbalancing"),
    ):
        group = things(cloud, ScalingGroup)[name] = ScalingGroup(name, owner, now - 30 * DAY, launch=f"lc-{name[4:]}")
        group.serving = 1
        cause = "an instance was started in response to a difference between desired and actual capacity"
        group.activities.append(Activity(identifier("act", name), "Successful", now - 30 * DAY, cause))
    things(cloud, SecurityGroup)["sg-0a1b2c3d"] = SecurityGroup("sg-0a1b2c3d", "tenant", now - 90 * DAY)
    for kind, count in dict(cloud.extra.get("bulk") or {}).items():
        if kind in _BULK:
            bulk(cloud, kind, count)
    if cloud.extra.get("seed") == "troubled":
        troubled(cloud)


def _people(cloud: Cloud) -> None:
    known = accounts(cloud)
    for name, number in (("eucalyptus", "000000000001"), ("tenant", "362121614306"), ("research", "408396244283")):
        known[name] = Account(name, number)
        known[name].users["admin"] = Member("admin", identifier("AID", name, "admin"))
    if not any(user.name == "owner" for user in cloud.users.values()):
        rights = ("ec2:*", "s3:*", "iam:*", "cloudwatch:*", "autoscaling:*")
        access = "AKI" + secrets.token_hex(9).upper()[:17]
        owner = User("owner", "tenant", known["tenant"].number, access, secrets.token_urlsafe(30), rights)
        cloud.users[access] = owner
    for user in cloud.users.values():
        account = known.setdefault(user.account, Account(user.account, user.number))
        account.number = user.number
        member = account.users.setdefault(user.name, Member(user.name, identifier("AID", user.account, user.name)))
        if user.allowed:
            member.policies["monitoring"] = _statement("Allow", list(user.allowed))
    own = SYSTEM_ACCOUNTS if cloud.at_least(4, 2) else SYSTEM_ACCOUNTS[:2]
    for place, word in enumerate(own):
        system = known[SYSTEM_PREFIX + word] = Account(SYSTEM_PREFIX + word, f"{100000000010 + place}")
        system.users["admin"] = Member("admin", identifier("AID", word))
    for account in known.values():
        # The policies of an account are those of its user `admin` (Privileged.putAccountPolicy).
        if "admin" in account.users:
            account.users["admin"].policies = account.policies
    tenant = known["tenant"]
    tenant.users["alice"] = Member("alice", identifier("AID", "alice"))
    tenant.groups["developers"] = Member("developers", identifier("AGP", "developers"), "alice")
    for key, value in (
        ("ec2:quota-vminstancenumber", "16"),
        ("ec2:quota-volumenumber", "20"),
        ("ec2:quota-volumetotalsize", "200"),
        ("ec2:quota-snapshotnumber", "20"),
        ("ec2:quota-addressnumber", "10"),
        ("s3:quota-bucketnumber", "10"),
        ("iam:quota-usernumber", "20"),
    ):
        quota(cloud, "tenant", key, value)


def _fill_zone(cloud: Cloud, zone: str, now: float) -> None:
    homes = [each.host.address for each in all_nodes(cloud, zone)][:2] or [""]
    image = identifier("emi", "precise-server")
    octet = cloud.zones.index(zone) + 1
    names = []
    for number in range(6):
        name = identifier("i", zone, number)
        names.append(name)
        things(cloud, Instance)[name] = Instance(
            name,
            ("tenant", "tenant", "research")[number % 3],
            now - (number + 1) * DAY,
            state="running" if number < 5 else "stopped",
            zone=zone,
            kind=("m1.small", "m1.medium", "c1.medium")[number % 3],
            image=image,
            node=homes[number % len(homes)] if number < 5 else "",
            private=f"10.111.{octet}.{number + 20}" if number < 5 else "0.0.0.0",  # noqa: S104
            number=number,
        )
    first = cloud.zones[0] == zone
    for number in range(3 if first else 2):
        name = identifier("vol", zone, number)
        volume = Volume(name, "tenant", now - (number + 1) * DAY, state="available", zone=zone, size=10 * (number + 1))
        if number < 2:
            _attach(volume, names[number], "attached")
        things(cloud, Volume)[name] = volume
    for number in range(2):
        name = identifier("snap", zone, number)
        parent = identifier("vol", zone, number)
        things(cloud, Snapshot)[name] = Snapshot(
            name,
            "tenant",
            now - (number + 1) * DAY,
            state="completed",
            volume=parent,
            size=10 * (number + 1),
            zone=zone,
        )


def troubled(cloud: Cloud) -> None:
    """Bring in the troubles that a monitoring must find."""
    volumes = list(things(cloud, Volume).values())
    tell_volume(cloud, identifier("vol", "stuck"), "creating", 2 * HOUR)
    tell_volume(cloud, volumes[-1].name, "error", 3 * HOUR)
    tell_snapshot(cloud, next(reversed(things(cloud, Snapshot))), "failed", DAY)
    tell_instance(cloud, identifier("i", "stuck"), "pending", HOUR)
    cause = "Not enough resources available: addresses; please try again later"
    tell_scaling(cloud, "asg-euca-internal-imaging-worker-01", "Failed", 600, cause)


_BULK: dict[str, type[Thing]] = {"instances": Instance, "volumes": Volume, "snapshots": Snapshot, "addresses": Address}


def bulk(cloud: Cloud, kind: str, count: int) -> None:
    """Add COUNT healthy instances, volumes, snapshots or addresses, spread over zones and nodes."""
    if kind not in _BULK:
        raise KeyError(f"no kind {kind}: {', '.join(_BULK)}")
    now = cloud.elapsed()
    homes = [(each.partition, each.host.address) for each in cloud.services if each.kind == "node"] or [("", "")]
    image = identifier("emi", "precise-server")
    for number in range(int(amount(count, 0, 100_000))):
        zone, home = homes[number % len(homes)]
        age = now - DAY - number
        if kind == "instances":
            name = f"i-{0xB0000000 + number:08x}"
            private = f"10.112.{number // 250 % 250}.{number % 250 + 2}"
            things(cloud, Instance)[name] = Instance(
                name, "tenant", age, state="running", zone=zone, node=home, image=image, private=private
            )
        elif kind == "volumes":
            name = f"vol-{0xB0000000 + number:08x}"
            things(cloud, Volume)[name] = Volume(name, "tenant", age, state="available", zone=zone)
        elif kind == "snapshots":
            name = f"snap-{0xB0000000 + number:08x}"
            parent = f"vol-{0xB0000000 + number:08x}"
            things(cloud, Snapshot)[name] = Snapshot(name, "tenant", age, state="completed", zone=zone, volume=parent)
        else:
            name = f"198.18.{number // 250 % 250}.{number % 250 + 1}"
            things(cloud, Address)[name] = Address(name, NOBODY, age)
    cloud.touch()


# ---- told at run time


def _statement(effect: str, actions: Any, **more: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, "Action": actions, "Resource": "*", **more}]}


def _moment(cloud: Cloud, age: float) -> float:
    return cloud.elapsed() - amount(age or 0)


def _one(cloud: Cloud, kind: type[_T], name: str) -> _T:
    known = things(cloud, kind)
    if name not in known:
        raise KeyError(f"no {kind.__name__.lower()} {name}{nearest(name, known)}")
    return known[name]


def _zone(cloud: Cloud) -> str:
    return cloud.zones[0] if cloud.zones else "one"


def _attach(volume: Volume, instance: str, word: str) -> None:
    volume.attached, volume.attachment, volume.state = instance, word, "in-use"


def _allocate(address: Address, owner: str, instance: Instance | None) -> None:
    address.owner = owner
    address.instance = instance.name if instance else ""
    if instance:
        instance.public = address.name


def tell_volume(cloud: Cloud, name: str, state: str, age: float = 0, attachment: str = "") -> None:
    """Make a volume be in STATE since AGE seconds; a new one is the tenant's, in the first zone.

    STATE gone removes it, in-use attaches it; ATTACHMENT: attaching, attached, detaching.
    """
    known = things(cloud, Volume)
    if state == "gone":
        del known[_one(cloud, Volume, name).name]
        return
    volume = known.setdefault(name, Volume(name, "tenant", 0, zone=_zone(cloud)))
    volume.state, volume.since = state, _moment(cloud, age)
    if attachment or state == "in-use":
        running = (each.name for each in things(cloud, Instance).values() if each.state == "running")
        _attach(volume, volume.attached or next(running, "i-00000000"), attachment or "attached")
        volume.state = state
    else:
        volume.attached = volume.attachment = ""


def tell_instance(cloud: Cloud, name: str, state: str, age: float = 0, reason: str = "") -> None:
    """As volume; STATE unreachable: running, and its status check fails since AGE."""
    known = things(cloud, Instance)
    if state == "gone":
        del known[_one(cloud, Instance, name).name]
        return
    if state not in (*VM_STATES, "unreachable"):
        raise KeyError(f"no instance state {state}; there are {', '.join(VM_STATES)}, unreachable and gone")
    if name not in known:
        zone = _zone(cloud)
        known[name] = Instance(name, "tenant", 0, zone=zone, image=identifier("emi", "precise-server"))
    instance = known[name]
    instance.impaired = _moment(cloud, age) if state == "unreachable" else None
    if state == "unreachable":
        instance.state = "running"
        return
    instance.state, instance.since, instance.reason = state, _moment(cloud, age), reason
    homes = nodes(cloud, instance.zone)
    if state in ("stopped", "terminated"):
        instance.node = ""
    elif not instance.node and homes:
        instance.node = homes[0].host.address


def tell_node_of(cloud: Cloud, name: str, address: str) -> None:
    """Let an instance run on another node (a host's name, or any address)."""
    _one(cloud, Instance, name).node = _place(cloud, address)


def _place(cloud: Cloud, word: str) -> str:
    return find_host(cloud, word).address if word and not word[0].isdigit() else word


def tell_migration(cloud: Cloud, name: str, destination: str = "") -> None:
    """Move an instance to another node (a host's name, or any address), without ever arriving; without one it stays."""
    _one(cloud, Instance, name).destination = _place(cloud, destination)


def tell_snapshot(cloud: Cloud, name: str, state: str, age: float = 0, progress: str = "") -> None:
    """As volume; begun AGE seconds ago."""
    known = things(cloud, Snapshot)
    if state == "gone":
        del known[_one(cloud, Snapshot, name).name]
        return
    parent = next(iter(things(cloud, Volume)), "vol-00000000")
    snapshot = known.setdefault(name, Snapshot(name, "tenant", 0, zone=_zone(cloud), volume=parent))
    snapshot.state, snapshot.since = state, _moment(cloud, age)
    snapshot.progress = progress or ("100%" if state == "completed" else "0%")


def tell_address(cloud: Cloud, ip: str, owner: str, instance: str = "") -> None:
    """Give an address to an account (and to one of its instances); OWNER nobody frees it."""
    if owner != NOBODY:
        owner = account_of(cloud, owner).name
    address = things(cloud, Address).setdefault(ip, Address(ip, NOBODY, cloud.elapsed()))
    _allocate(address, owner, _one(cloud, Instance, instance) if instance else None)


def tell_image(cloud: Cloud, name: str, state: str, age: float = 0) -> None:
    """As volume."""
    known = things(cloud, Image)
    if state == "gone":
        del known[_one(cloud, Image, name).name]
        return
    image = known.setdefault(name, Image(name, "tenant", 0, title=name, public=False))
    image.state, image.since = state, _moment(cloud, age)


def tell_scaling(cloud: Cloud, group: str, status: str, age: float = 0, cause: str = "") -> None:
    """Add an activity to an auto scaling group: Failed, Successful, Cancelled, InProgress; AGE seconds ago."""
    known = things(cloud, ScalingGroup)
    found = known.setdefault(group, ScalingGroup(group, "tenant", cloud.elapsed(), launch="lc"))
    name = identifier("act", group, len(found.activities))
    found.activities.append(Activity(name, status, _moment(cloud, age), cause))
    found.activities.sort(key=lambda each: -each.since)


def tell_serving(cloud: Cloud, group: str, count: int) -> None:
    """Let COUNT instances of an auto scaling group be in service."""
    _one(cloud, ScalingGroup, group).serving = int(amount(count, 0, 1000))


def quota(cloud: Cloud, account: str, key: str, value: str, of: str = "") -> None:
    """Attach a Limit statement to an account, to "user/NAME" or to "group/NAME" (where it has no effect); "" removes it."""
    place: Account | Member = account_of(cloud, account)
    if of:
        kind, _, name = of.partition("/")
        if kind not in ("user", "group") or not name:
            raise ValueError(f"write user/NAME or group/NAME, not {of}")
        members = place.users if kind == "user" else place.groups  # type: ignore[union-attr]
        place = members.setdefault(name, Member(name, identifier("AID", account, name)))
    name = "limit-" + key.partition(":quota-")[2]
    if value == "":
        place.policies.pop(name, None)
        return
    condition = {"NumericLessThanEquals": {key: str(value)}}
    place.policies[name] = _statement("Limit", ACTIONS.get(key.partition("-")[2], "ec2:*"), Condition=condition)


ACTIONS = {
    "vminstancenumber": "ec2:RunInstances",
    "vminstanceactivenumber": "ec2:RunInstances",
    "cputotalsize": "ec2:RunInstances",
    "memorytotalsize": "ec2:RunInstances",
    "disktotalsize": "ec2:RunInstances",
    "volumenumber": "ec2:CreateVolume",
    "volumetotalsize": "ec2:CreateVolume",
    "snapshotnumber": "ec2:CreateSnapshot",
    "addressnumber": "ec2:AllocateAddress",
    "imagenumber": "ec2:RegisterImage",
    "securitygroupnumber": "ec2:CreateSecurityGroup",
    "bucketnumber": "s3:CreateBucket",
    "buckettotalsize": "s3:PutObject",
    "bucketobjectnumber": "s3:PutObject",
    "bucketsize": "s3:PutObject",
    "usernumber": "iam:CreateUser",
    "groupnumber": "iam:CreateGroup",
}
"""Quota key (behind "quota-") -> the action that its Limit statement names."""


def tell_capacity(cloud: Cloud, cores: int, memory: int, disk: int) -> None:
    """Make every node controller that big (cores, MB, GB)."""
    cloud.resources["node size"] = tuple(int(amount(each, 0)) for each in (cores, memory, disk))


def tell_metric(cloud: Cloud, namespace: str, name: str, value: float, age: float = 0) -> None:
    """Put a datapoint AGE seconds in the past."""
    points: list[tuple[str, str, float, float]] = cloud.resources.setdefault("datapoints", [])
    points.append((namespace, name, amount(value), _moment(cloud, age)))


def tell_seed(cloud: Cloud, word: str) -> None:
    """WORD troubled: a stuck volume and instance, one volume in error, a failed snapshot, a failed scaling activity."""
    if word != "troubled":
        raise KeyError(f"no seed {word}; there is troubled")
    troubled(cloud)


TELL: dict[str, Callable[..., None]] = {
    "volume": tell_volume,
    "instance": tell_instance,
    "node-of": tell_node_of,
    "migration": tell_migration,
    "snapshot": tell_snapshot,
    "address": tell_address,
    "image": tell_image,
    "scaling": tell_scaling,
    "serving": tell_serving,
    "quota": quota,
    "capacity": tell_capacity,
    "metric": tell_metric,
    "bulk": bulk,
    "seed": tell_seed,
}
