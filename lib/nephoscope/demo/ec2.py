# SPDX-License-Identifier: Apache-2.0
"""EC2 as Eucalyptus answers it at /services/compute (4.0+) and /services/Eucalyptus: the Describe calls, nothing that changes.

Sources: github eucalyptus/eucalyptus 4.4.2: ComputeService.java, ClusterEndpoint.java, AddressManager.java,
VmTypesManager.java (who sees what, and the word `verbose`), compute-common/src/main/resources/ec2-*.xml (elements and
their order), ComputeQueryBinding.java (a parameter that it does not know is refused), ComputeErrorHandler.java.

* `verbose` as an identifier shows all accounts to users of the account `eucalyptus`; to others it means nothing. Of
  snapshots and images those users see all without it; for images it adds the deregistered and hidden ones.
* Who lacks the right is refused since 4.0 (ComputeServiceValidator.java), and gets an empty list before.
* Who belongs to the account `eucalyptus` is an administrator since 4.0 (Context.isAdministrator), a role with few rights
  too; before, and for the rows of the verbose zones in every version, it must be one who may do all
  (hasAdministrativePrivileges in ClusterEndpoint.java; no user of that account has less, DatabaseUserProxy.isSystemAdmin).
* The availability of instance types is told to everybody before 4.2 (VmTypesManager.java).
* Nothing is ever cut into pages: MaxResults and NextToken are taken and ignored.
* `euca:node` tags belong to the account `eucalyptus`, which alone sees them.

UNCONFIRMED: verbose zones before 4.4 (here as in 4.4), the wording of a refused parameter, XML declaration, empty lists.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from nephoscope.demo import resources
from nephoscope.demo.markup import XML, date, document, element, items, request_id
from nephoscope.demo.model import Answer, Cloud, Request, Service
from nephoscope.demo.resources import Thing, things, visible

PATHS = ("/services/compute", "/services/Eucalyptus")
SIGNED = "query"
NEWEST = "2016-11-15"
"""The latest version that 4.4.2 has a binding for; 5.x has the same."""
OLDEST = "2006-06-26"

Pairs = list[tuple[str, Any]]
_T = TypeVar("_T", bound=Thing)


class _Error(Exception):
    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code, message, status)
        self.code, self.message, self.status = code, message, status


class Call:
    """One request with its parameters as lists, and filters."""

    def __init__(self, cloud: Cloud, request: Request) -> None:
        if request.user is None:  # the server lets no unsigned request through; this keeps that a promise
            raise _Error("AuthFailure", "Not authenticated", 403)
        self.cloud = cloud
        self.user = request.user
        self.params = request.params
        self.rules = resources.rules(cloud, self.user)

    def many(self, name: str) -> list[str]:
        """Return NAME.1, NAME.2, ... in their order."""
        found = []
        for key, value in self.params.items():
            head, _, number = key.rpartition(".")
            if head == name and number.isdigit():
                found.append((int(number), value))
        return [value for _, value in sorted(found)]

    def filters(self) -> dict[str, list[str]]:
        """Return filter name -> the values of which one must fit."""
        numbers = sorted({key.split(".")[1] for key in self.params if key.startswith("Filter.")})
        return {self.params.get(f"Filter.{n}.Name", ""): self.many(f"Filter.{n}.Value") for n in numbers}

    def fits(self, known: Mapping[str, object]) -> bool:
        """Say whether a thing with these filterable values passes every filter."""
        for name, patterns in self.filters().items():
            if not any(fnmatch.fnmatchcase(str(known[name]), pattern) for pattern in patterns):
                return False
        return True

    def seen(self, kind: type[_T], action: str, wanted: list[str], every: bool) -> list[_T]:
        """Return what the user may see of a kind, and of it the wanted identifiers (all, if none is named)."""
        found = list(visible(self.cloud, self.user, things(self.cloud, kind), f"ec2:{action}", every))
        return [each for each in found if not wanted or each.name in wanted]


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer one signed request."""
    version = request.params.get("Version", NEWEST)
    namespace = f"http://ec2.amazonaws.com/doc/{version if OLDEST <= version <= NEWEST else NEWEST}/"
    try:
        action = _ACTIONS.get(request.action)
        if action is None:
            raise _Error("UnauthorizedOperation", f"The simulator does not do {request.action or 'nothing'}", 403)
        _strict(request, action[1])
        call = Call(cloud, request)
        if cloud.at_least(4) and not call.user.may(f"ec2:{request.action}"):
            raise _Error("UnauthorizedOperation", "You are not authorized to perform this operation.", 403)
        for name in call.filters():
            if name not in _FILTERS.get(request.action, "").split():
                raise _Error("InvalidParameterValue", f"The filter '{name}' is invalid")
        name, content = action[0](call)
        return document(name, [("requestId", request_id()), *content], namespace)
    except _Error as error:
        fault = [("Errors", [("Error", [("Code", error.code), ("Message", error.message)])])]
        body = element("Response", [*fault, ("RequestID", request_id())], f'xmlns="{namespace}"')
        return Answer(error.status, XML, body.encode())


_ALWAYS = (
    "Action", "Operation", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp",
    "Expires", "SecurityToken", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
    "X-Amz-Security-Token", "X-Amz-Signature", "X-Amz-SignedHeaders",
)  # fmt: skip


def _strict(request: Request, known: str) -> None:
    """Refuse parameters that the message class has no field for, as UnknownParameterStrategy.ERROR does."""
    words = known.split()
    strange = [
        key for key in request.params if key not in _ALWAYS and key.partition(".")[0] not in words and key not in words
    ]
    if strange:
        lines = "".join(f"{key} = {request.params[key]}\n" for key in strange)
        raise _Error("InvalidParameterValue", "Failed to bind the following fields:\n" + lines)


def _missing(code: str, what: str, wanted: Iterable[str], found: Iterable[Thing]) -> None:
    lost = sorted(set(wanted) - {each.name for each in found})
    if lost:
        is_one = len(lost) == 1
        names = f"'{lost[0]}' does" if is_one else f"'{', '.join(lost)}' do"
        raise _Error(code, f"The {what}{'' if is_one else 's'} {names} not exist")


def _identifiers(call: Call, parameter: str) -> tuple[bool, list[str]]:
    named = call.many(parameter)
    return "verbose" in named, [each for each in named if each != "verbose"]


# ---- zones and types


def _clusters(cloud: Cloud, zone: str) -> list[tuple[Service, str]]:
    return [(each, cloud.state(each)[0]) for each in cloud.of_kind("cluster", zone)]


def _zones(call: Call) -> tuple[str, Pairs]:
    cloud = call.cloud
    verbose, wanted = _identifiers(call, "ZoneName")
    rows: list[Pairs] = []
    unknown = [zone for zone in wanted if zone not in cloud.zones]
    if unknown:
        raise _Error("InvalidParameterValue", f"Invalid availability zone: [{unknown[0]}]")
    for zone in cloud.zones:
        known = _clusters(cloud, zone)
        enabled = [cluster for cluster, state in known if state == "ENABLED"]
        if (wanted and zone not in wanted) or not known:
            continue
        host = (enabled or [known[0][0]])[0]
        old = f"{host.host.address} {cloud.full_name(host)}"
        if verbose and call.user.admin:
            if enabled:
                rows.append(_row(zone, old))
                rows.append(_row("|- vm types", "free / max   cpu   ram  disk"))
                rows.extend(_capacity_rows(cloud, zone))
            continue
        state = "available" if enabled else "unavailable"
        if all(state == "STOPPED" for _, state in known):
            continue
        if call.fits({"zone-name": zone, "state": state}):
            rows.append(_row(zone, state if cloud.at_least(3, 4) else old))
    return "DescribeAvailabilityZonesResponse", [("availabilityZoneInfo", items(rows))]


def _row(name: str, state: str) -> Pairs:
    return [("zoneName", name), ("zoneState", state), ("regionName", ""), ("messageSet", "")]


def _capacity_rows(cloud: Cloud, zone: str) -> Iterable[Pairs]:
    for name, (free, most) in resources.capacity(cloud, zone).items():
        kind = resources.KINDS[name]
        yield _row(f"|- {name}", f"{free:04d} / {most:04d}  {kind.cpu:2d}   {kind.memory:4d}  {kind.disk:4d}")


def _types(call: Call) -> tuple[str, Pairs]:
    cloud, wanted = call.cloud, call.many("InstanceType")
    asked = call.params.get("Availability", "").lower() == "true"
    if asked and cloud.at_least(4, 2) and not call.rules:
        raise _Error("AuthFailure", "Not permitted to access availability")
    found: dict[str, dict[str, tuple[int, int]]] = {}
    if asked:
        for zone in cloud.zones:
            if any(state == "ENABLED" for _, state in _clusters(cloud, zone)):
                found[zone] = resources.capacity(cloud, zone)
    rows: list[Pairs] = []
    for kind in resources.TYPES if call.user.may("ec2:DescribeInstanceTypes") else ():
        if wanted and kind.name not in wanted:
            continue
        row: Pairs = [("name", kind.name), ("cpu", kind.cpu), ("disk", kind.disk), ("memory", kind.memory)]
        row.append(("networkInterfaces", kind.interfaces))
        free = [
            [("name", kind.name), ("zoneName", zone), ("max", of[kind.name][1]), ("available", of[kind.name][0])]
            for zone, of in found.items()
        ]
        rows.append([*row, ("availability", items(free)), ("ephemeralDisk", "")])
    return "DescribeInstanceTypesResponseType", [("instanceTypeDetails", items(rows))]


def _regions(call: Call) -> tuple[str, Pairs]:
    return "DescribeRegionsResponse", [("regionInfo", "")]


# ---- instances


def _dns(ip: str, where: str) -> str:
    return f"euca-{ip.replace('.', '-')}.{where}.internal"


def _impaired(cloud: Cloud, instance: resources.Instance) -> float | None:
    """Return since when the status check of an instance fails: told, or its node is silent (4.1+). Cloud.elapsed()."""
    if instance.impaired is not None or instance.state != "running" or not cloud.at_least(4, 1):
        return instance.impaired
    for host in cloud.hosts.values():
        if host.address == instance.node:
            return host.down_since
    return None


def _tags(cloud: Cloud, call: Call, instance: resources.Instance) -> list[Pairs]:
    tags = dict(instance.tags) if call.user.account == instance.owner else {}
    if call.rules and instance.node:
        tags["euca:node"] = instance.node
        if instance.destination:
            tags["euca:node:migration:source"] = instance.node
            tags["euca:node:migration:destination"] = instance.destination
    return [[("key", key), ("value", value)] for key, value in tags.items()]


def _instance(call: Call, instance: resources.Instance) -> Pairs:
    cloud = call.cloud
    volumes = [v for v in things(cloud, resources.Volume).values() if v.attached == instance.name]
    mapped = [
        [("deviceName", each.device),
         ("ebs", [("volumeId", each.name), ("status", each.attachment),
                  ("attachTime", date(cloud.shown(each.since))), ("deleteOnTermination", False)])]
        for each in volumes
    ]  # fmt: skip
    none = "0.0.0.0"  # noqa: S104 - what an instance without an address shows
    gone = instance.private == none
    return [
        ("instanceId", instance.name),
        ("imageId", instance.image or "emi-00000000"),
        ("instanceState", [("code", resources.VM_STATES[instance.state]), ("name", instance.state)]),
        ("privateDnsName", none if gone else _dns(instance.private, "eucalyptus")),
        ("dnsName", none if gone else _dns(instance.public, "eucalyptus")),
        ("reason", instance.reason),
        ("keyName", "key"),
        ("amiLaunchIndex", instance.number),
        ("productCodes", ""),
        ("instanceType", instance.kind),
        ("launchTime", date(cloud.shown(instance.since))),
        ("placement", [("availabilityZone", instance.zone)]),
        ("monitoring", [("state", "disabled")]),
        ("privateIpAddress", instance.private),
        ("ipAddress", instance.public),
        ("groupSet", items([[("groupId", "sg-0a1b2c3d"), ("groupName", "default")]])),
        ("architecture", "x86_64"),
        ("rootDeviceType", "instance-store"),
        ("rootDeviceName", "/dev/sda1"),
        ("blockDeviceMapping", items(mapped)),
        ("virtualizationType", "hvm"),
        ("clientToken", ""),
        ("tagSet", items(_tags(cloud, call, instance))),
    ]


def _chosen(call: Call, action: str) -> list[resources.Instance]:
    verbose, wanted = _identifiers(call, "InstanceId")
    found = call.seen(resources.Instance, action, wanted, verbose or bool(wanted))
    _missing("InvalidInstanceID.NotFound", "instance ID", wanted, found)
    return [
        each
        for each in found
        if call.fits(
            {
                "instance-id": each.name,
                "instance-state-name": each.state,
                "instance-state-code": resources.VM_STATES[each.state],
                "availability-zone": each.zone,
                "instance-type": each.kind,
                "image-id": each.image,
                "owner-id": resources.account_of(call.cloud, each.owner).number,
                "tag:euca:node": each.node if call.rules else "",
            }
        )
    ]


def _instances(call: Call) -> tuple[str, Pairs]:
    rows: list[Pairs] = []
    for each in _chosen(call, "DescribeInstances"):
        row: Pairs = [("reservationId", resources.identifier("r", each.name))]
        row.append(("ownerId", resources.account_of(call.cloud, each.owner).number))
        row.append(("groupSet", items([[("groupId", "sg-0a1b2c3d"), ("groupName", "default")]])))
        rows.append([*row, ("instancesSet", items([_instance(call, each)]))])
    return "DescribeInstancesResponse", [("reservationSet", items(rows))]


def _status(call: Call) -> tuple[str, Pairs]:
    everyone = call.params.get("IncludeAllInstances", "").lower() == "true"
    rows: list[Pairs] = []
    for each in _chosen(call, "DescribeInstanceStatus"):
        if each.state != "running" and not everyone:
            continue
        since = _impaired(call.cloud, each)
        state = [("code", resources.VM_STATES[each.state]), ("name", each.state)]
        row: Pairs = [("instanceId", each.name), ("availabilityZone", each.zone), ("instanceState", state)]
        row.append(("systemStatus", _check(call.cloud, each, since)))
        rows.append([*row, ("instanceStatus", _check(call.cloud, each, None))])
    return "DescribeInstanceStatusResponse", [("instanceStatusSet", items(rows))]


def _check(cloud: Cloud, instance: resources.Instance, since: float | None) -> Pairs:
    if instance.state != "running":
        return [("status", "not-applicable")]
    detail: Pairs = [("name", "reachability"), ("status", "passed" if since is None else "failed")]
    if since is not None:
        detail.append(("impairedSince", date(cloud.shown(since))))
    return [("status", "ok" if since is None else "impaired"), ("details", items([detail]))]


# ---- storage, images, addresses, groups


def _volumes(call: Call) -> tuple[str, Pairs]:
    verbose, wanted = _identifiers(call, "VolumeId")
    found = call.seen(resources.Volume, "DescribeVolumes", wanted, verbose or bool(wanted))
    _missing("InvalidVolume.NotFound", "volume", wanted, found)
    rows: list[Pairs] = []
    for each in found:
        known = {"volume-id": each.name, "status": each.state, "availability-zone": each.zone, "size": each.size}
        known["attachment.instance-id"], known["attachment.status"] = each.attached, each.attachment
        if not call.fits(known):
            continue
        at = date(call.cloud.shown(each.since))
        attached: list[Pairs] = []
        if each.attached and each.state == "in-use":
            attached.append(
                [("volumeId", each.name), ("instanceId", each.attached), ("device", each.device),
                 ("status", each.attachment), ("attachTime", at)]
            )  # fmt: skip
        row: Pairs = [("volumeId", each.name), ("size", each.size), ("snapshotId", each.snapshot)]
        row += [("availabilityZone", each.zone), ("status", each.state), ("createTime", at)]
        row += [("attachmentSet", items(attached)), ("tagSet", ""), ("volumeType", "standard"), ("encrypted", False)]
        rows.append(row)
    return "DescribeVolumesResponse", [("volumeSet", items(rows))]


def _snapshots(call: Call) -> tuple[str, Pairs]:
    _, wanted = _identifiers(call, "SnapshotId")
    found = call.seen(resources.Snapshot, "DescribeSnapshots", wanted, True)
    _missing("InvalidSnapshot.NotFound", "snapshot", wanted, found)
    owners = _owners(call)
    rows: list[Pairs] = []
    for each in found:
        owner = resources.account_of(call.cloud, each.owner).number
        known = {"snapshot-id": each.name, "status": each.state, "volume-id": each.volume, "owner-id": owner}
        if (owners and owner not in owners) or not call.fits({**known, "volume-size": each.size}):
            continue
        row: Pairs = [("snapshotId", each.name), ("volumeId", each.volume), ("status", each.state)]
        row += [("startTime", date(call.cloud.shown(each.since))), ("progress", each.progress), ("ownerId", owner)]
        rows.append([*row, ("volumeSize", each.size), ("description", ""), ("encrypted", False), ("tagSet", "")])
    return "DescribeSnapshotsResponse", [("snapshotSet", items(rows))]


def _owners(call: Call) -> list[str]:
    return [call.user.number if each == "self" else each for each in call.many("Owner")]


_HIDDEN = ("deregistered", "deregistered_cleanup", "hidden", "unavailable")


def _images(call: Call) -> tuple[str, Pairs]:
    verbose, wanted = _identifiers(call, "ImageId")
    all_states = verbose and call.rules
    owners = _owners(call)
    right = call.user.may("ec2:DescribeImages")
    rows: list[Pairs] = []
    seen = []
    for each in things(call.cloud, resources.Image).values():
        owner = resources.account_of(call.cloud, each.owner).number
        mine = call.rules or each.public or each.owner == call.user.account
        if not right or not mine or (wanted and each.name not in wanted) or (owners and owner not in owners):
            continue
        if each.state in _HIDDEN and not all_states:
            continue
        seen.append(each)
        if not call.fits({"image-id": each.name, "state": each.state, "owner-id": owner, "name": each.title}):
            continue
        row: Pairs = [("imageId", each.name), ("imageLocation", f"images/{each.title}.img.manifest.xml")]
        row += [("imageState", each.state), ("imageOwnerId", owner), ("isPublic", each.public), ("productCodes", "")]
        row += [("architecture", "x86_64"), ("imageType", "machine"), ("name", each.title), ("description", "")]
        row += [("rootDeviceType", each.root), ("rootDeviceName", "/dev/sda1"), ("blockDeviceMapping", "")]
        row += [("virtualizationType", "hvm"), ("tagSet", ""), ("creationDate", date(call.cloud.shown(each.since)))]
        rows.append(row)
    _missing("InvalidAMIID.NotFound", "image", wanted, seen)
    return "DescribeImagesResponse", [("imagesSet", items(rows))]


def _addresses(call: Call) -> tuple[str, Pairs]:
    cloud = call.cloud
    verbose, wanted = _identifiers(call, "PublicIp")
    every = verbose and call.rules
    if verbose and not every:
        wanted = ["verbose"]  # no address: AddressManager.describe takes the word away for administrators alone
    rows: list[Pairs] = []
    free: list[Pairs] = []
    for each in things(cloud, resources.Address).values():
        if not call.user.may("ec2:DescribeAddresses") or (wanted and each.name not in wanted):
            continue
        row: Pairs = [("publicIp", each.name), ("domain", "standard")]
        if each.owner == resources.NOBODY:
            if every and call.fits({"public-ip": each.name, "instance-id": "", "domain": "standard"}):
                free.append([*row, ("instanceId", resources.NOBODY)])
        elif every or each.owner == call.user.account:
            # Address.getAdminDescription of 3.4.2, 4.1.0 and 4.4.2: who has it, or that it is there to be used.
            word = each.instance or ("" if cloud.at_least(4, 2) else "available")
            shown = f"{word} ({resources.user_arn(cloud, each)})" if every else each.instance
            if call.fits({"public-ip": each.name, "instance-id": each.instance, "domain": "standard"}):
                rows.append([*row, ("instanceId", shown)])
    return "DescribeAddressesResponse", [("addressesSet", items(rows + free))]


def _groups(call: Call) -> tuple[str, Pairs]:
    verbose, wanted = _identifiers(call, "GroupName")
    verbose = verbose or "verbose" in call.many("GroupId")
    ssh: Pairs = [("ipProtocol", "tcp"), ("fromPort", 22), ("toPort", 22), ("groups", "")]
    ssh.append(("ipRanges", items([[("cidrIp", "0.0.0.0/0")]])))
    rows: list[Pairs] = []
    for each in call.seen(resources.SecurityGroup, "DescribeSecurityGroups", [], verbose):
        if wanted and each.title not in wanted:
            continue
        row: Pairs = [("ownerId", resources.account_of(call.cloud, each.owner).number), ("groupId", each.name)]
        row += [("groupName", each.title), ("groupDescription", "default group"), ("ipPermissions", items([ssh]))]
        rows.append([*row, ("ipPermissionsEgress", ""), ("tagSet", "")])
    return "DescribeSecurityGroupsResponse", [("securityGroupInfo", items(rows))]


def _all_tags(call: Call) -> tuple[str, Pairs]:
    rows: list[Pairs] = []
    every = call.rules
    for each in visible(call.cloud, call.user, things(call.cloud, resources.Instance), "ec2:DescribeTags", every):
        for tag in _tags(call.cloud, call, each):
            row: Pairs = [("resourceId", each.name), ("resourceType", "instance"), *tag]
            known = {"resource-id": each.name, "resource-type": "instance", "key": tag[0][1], "value": tag[1][1]}
            if call.fits(known):
                rows.append(row)
    return "DescribeTagsResponse", [("tagSet", items(rows))]


def _keys(call: Call) -> tuple[str, Pairs]:
    pair = [("keyName", "key"), ("keyFingerprint", "90:88:29:ea:b0:7c:11:bd:0a:2d:21:fc:1d:5c:51:4f:6d:ec:5b:11")]
    found = items([pair]) if call.user.may("ec2:DescribeKeyPairs") else ""
    return "DescribeKeyPairsResponse", [("keySet", found)]


_ACTIONS: dict[str, tuple[Callable[[Call], tuple[str, Pairs]], str]] = {
    "DescribeAvailabilityZones": (_zones, "ZoneName Filter"),
    "DescribeInstanceTypes": (_types, "InstanceType Availability Verbose"),
    "DescribeRegions": (_regions, "RegionName Filter"),
    "DescribeInstances": (_instances, "InstanceId Filter MaxResults NextToken"),
    "DescribeInstanceStatus": (_status, "InstanceId Filter MaxResults NextToken IncludeAllInstances"),
    "DescribeVolumes": (_volumes, "VolumeId Filter MaxResults NextToken"),
    "DescribeSnapshots": (_snapshots, "SnapshotId Owner RestorableBy Filter MaxResults NextToken"),
    "DescribeImages": (_images, "ExecutableBy ImageId Owner Filter"),
    "DescribeAddresses": (_addresses, "PublicIp AllocationId Filter"),
    "DescribeSecurityGroups": (_groups, "GroupName GroupId Filter"),
    "DescribeTags": (_all_tags, "Filter MaxResults NextToken"),
    "DescribeKeyPairs": (_keys, "KeyName Filter"),
}
"""Action -> what does it, and the parameters that its message class has fields for."""
_OF_INSTANCES = "instance-id instance-state-name instance-state-code availability-zone instance-type image-id owner-id"
_INSTANCE_FILTERS = f"{_OF_INSTANCES} tag:euca:node"
_FILTERS = {
    "DescribeAvailabilityZones": "zone-name state",
    "DescribeInstances": _INSTANCE_FILTERS,
    "DescribeInstanceStatus": _INSTANCE_FILTERS,
    "DescribeVolumes": "volume-id status availability-zone size attachment.instance-id attachment.status",
    "DescribeSnapshots": "snapshot-id status volume-id owner-id volume-size",
    "DescribeImages": "image-id state owner-id name",
    "DescribeAddresses": "public-ip instance-id domain",
    "DescribeTags": "resource-id resource-type key value",
}
"""Action -> the filters that are done here; the real ones know many more."""
