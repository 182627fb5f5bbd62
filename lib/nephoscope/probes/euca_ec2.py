# SPDX-License-Identifier: Apache-2.0
"""What a Eucalyptus cloud says of its tenants' instances, volumes, snapshots and images, and of its own workers.

Read as an administrator: the id `verbose` asks for the resources of all accounts. Eucalyptus does not refuse it to others.
It drops the word, and answers with the caller's own account (instances, volumes) or with an error (images). So `everywhere`
asks first who is seen; else a cloud that is not seen looks like one that is empty. A missing right is said by
UnauthorizedOperation since 4.0; before, it made an empty list (`listed`).

Sources: Eucalyptus 4.4.2, ComputeService.java, ComputeServiceValidator.java, ClusterEndpoint.java,
AutoScalingBackendService.java; states from VmInstance.VmState, blockstorage.State with Volume.mapState and
Snapshot.mapState, VmVolumeAttachment.AttachmentState, ImageMetadata.State; tags from MigrationTags.java. Versions 3.4, 4.1
and 5.1 have the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import euca_api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

VERBOSE = ["verbose"]
GIB = 1 << 30
PAGES = 40  # of one list: what is longer is no list of a cloud
INTERNAL = "euca-internal"  # in the name of each group of the cloud's own workers (imaging, load balancers)


class Attachment(NamedTuple):
    """Where a volume is attached.

    state  in the words of the cloud, "_" for blanks: attaching, attached, detaching, detached, attaching_failed, …
    at     when attaching began; of detaching there is no time
    """

    instance: str
    state: str
    at: datetime | None = None


class Volume(NamedTuple):
    """A volume. Its account is not told by the cloud. size in B, None when it is not known yet; zone: where it lies."""

    id: str
    state: str
    size: int | None = None
    created: datetime | None = None
    attachments: tuple[Attachment, ...] = ()
    zone: str = ""


class Instance(NamedTuple):
    """An instance.

    node      host of its node controller, "" when the cloud does not tell it
    launched  when it was first started: a stop and a start don't change it
    reason    as "EXPIRED: Instance expired after not being reported.", "NORMAL: "
    moving    words of a migration, "" when it stays where it is
    ebs       it has a root volume, and so can be stopped
    volumes   that are mapped into it
    """

    id: str
    account: str
    state: str
    node: str = ""
    launched: datetime | None = None
    reason: str = ""
    moving: str = ""
    ebs: bool = False
    volumes: tuple[str, ...] = ()


class Snapshot(NamedTuple):
    """A snapshot. progress as "40%"; size of its volume in B; volume: what it was made of."""

    id: str
    account: str
    state: str
    progress: str = ""
    started: datetime | None = None
    size: int | None = None
    volume: str = ""


class Image(NamedTuple):
    """An image (machine, kernel or ramdisk). snapshots: that its disks are made of.

    The dialect of 2014, in which the cloud is asked, tells no time of its creation.
    """

    id: str
    account: str
    state: str
    snapshots: tuple[str, ...] = ()


class Group(NamedTuple):
    """A group of the cloud's own workers.

    wanted   instances that there should be; serving  that are in service
    failure  what its last activity that is over failed of, "" when it did not
    """

    name: str
    wanted: int
    serving: int
    failure: str = ""


def everywhere(run: Run, there: euca_api.Access) -> Any:
    """Return a client of EC2 that sees the resources of all accounts, which is asked for first.

    Only who may do everything gets the rows of instance types with the zones (ClusterEndpoint); a role of the account
    eucalyptus gets none, nor does anybody while no zone is enabled. Then the availability of instance types tells, which is
    refused to other accounts since 4.2 (VmTypesManager) and was not before. Raises Failed, not-allowed when nothing shows it.
    """
    client = euca_api.client(run, there, "ec2")
    answer = euca_api.call(run, client, "describe_availability_zones", ZoneNames=VERBOSE)
    if any(zone.get("ZoneName", "").startswith("|-") for zone in answer.get("AvailabilityZones", ())):
        return client
    if not _tells_version(answer):
        error = "nothing shows that the resources of all accounts are visible"
        raise Failed(NOT_ALLOWED, "", "DescribeAvailabilityZones verbose", error)
    tried = "DescribeInstanceTypes"
    try:
        if euca_api.ask(run, there, "compute", tried, {"Availability": "true"}).findall("instanceTypeDetails/item"):
            return client
    except Failed as failed:
        if failed.kind != NOT_ALLOWED:
            raise
    raise Failed(NOT_ALLOWED, "", tried, f"only the resources of {_whose(run, there)} are visible")


def _whose(run: Run, there: euca_api.Access) -> str:
    """Return whose resources the caller sees, if that is told."""
    try:
        answer = euca_api.call(run, euca_api.client(run, there, "sts"), "get_caller_identity")
        return f"account {answer['Account']}"
    except (Failed, KeyError):
        return "the caller's own account"  # the name is a courtesy


def _tells_version(answer: Mapping[str, Any]) -> bool:
    """Return whether an answer is of 4.3 or later: older ones don't tell their version."""
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    return str(headers.get("server", "")).startswith("Eucalyptus/")


def each(run: Run, questions: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return name -> answer, or the Failed in its place; a cloud that is silent is not asked on."""
    asked: dict[str, Any] = {}
    for name, question in questions.items():
        try:
            asked[name] = question()
        except Failed as failed:
            asked[name] = failed
            if failed.kind in (UNREACHABLE, LATE):
                break
    return asked


def listed(run: Run, client: Any, operation: str, member: str, **words: Any) -> Iterator[dict[str, Any]]:
    """Yield the members of a list, page by page where the cloud pages it.

    Raises Failed, not-allowed for an empty list of a cloud that may be older than 4.0, where a missing right gives the same:
    only since 4.3 an answer tells the version.
    """
    action = client.meta.method_to_api_mapping[operation]
    seen = False
    for _ in range(PAGES):
        answer = euca_api.call(run, client, operation, **words)
        for item in answer.get(member, ()):
            seen = True
            yield item
        token = answer.get("NextToken")
        if not token:
            if not seen and not _tells_version(answer):
                error = "the list is empty, which before version 4.0 is also the answer to who has no right"
                raise Failed(NOT_ALLOWED, "", action, error)
            return
        words["NextToken"] = token
    raise Failed(UNREADABLE, "", action, f"more than {PAGES} pages")


def instances(run: Run, client: Any) -> list[Instance]:
    """Return the instances of all accounts, those that ended within the last hour too. Raises Failed."""
    found = []
    for reservation in listed(run, client, "describe_instances", "Reservations", InstanceIds=VERBOSE):
        for item in reservation.get("Instances", ()):
            tags = {tag.get("Key"): tag.get("Value", "") for tag in item.get("Tags", ())}
            mapped = (part.get("Ebs", {}).get("VolumeId", "") for part in item.get("BlockDeviceMappings", ()))
            found.append(
                Instance(
                    item.get("InstanceId", ""),
                    reservation.get("OwnerId", ""),
                    item.get("State", {}).get("Name", ""),
                    tags.get("euca:node", ""),
                    item.get("LaunchTime"),
                    item.get("StateTransitionReason", ""),
                    _moving(tags),
                    item.get("RootDeviceType") == "ebs",
                    tuple(volume for volume in mapped if volume),
                )
            )
    return found


def _moving(tags: dict[str, str]) -> str:
    """Return the words of a migration (tags that stand while it lasts), or ""."""
    state, source, destination = (tags.get(f"euca:node:migration:{k}", "") for k in ("state", "source", "destination"))
    if not (state or source or destination) or state == "none":
        return ""
    where = "".join(f" {word} {host}" for word, host in (("from", source), ("to", destination)) if host)
    return f"migrating{where}" + (f" ({state})" if state else "")


def volumes(run: Run, client: Any) -> list[Volume]:
    """Return the volumes of all accounts, the cloud's own too. Raises Failed."""
    return [
        Volume(
            item.get("VolumeId", ""),
            item.get("State", ""),
            _bytes(item.get("Size")),
            item.get("CreateTime"),
            tuple(
                Attachment(part.get("InstanceId", ""), part.get("State", "").replace(" ", "_"), part.get("AttachTime"))
                for part in item.get("Attachments", ())
            ),
            item.get("AvailabilityZone", ""),
        )
        for item in listed(run, client, "describe_volumes", "Volumes", VolumeIds=VERBOSE)
    ]


def snapshots(run: Run, client: Any) -> list[Snapshot]:
    """Return the snapshots of all accounts. Since 4.1 `verbose` is not needed for it and ignored. Raises Failed."""
    return [
        Snapshot(
            item.get("SnapshotId", ""),
            item.get("OwnerId", ""),
            item.get("State", ""),
            item.get("Progress", ""),
            item.get("StartTime"),
            _bytes(item.get("VolumeSize")),
            item.get("VolumeId", ""),
        )
        for item in listed(run, client, "describe_snapshots", "Snapshots", SnapshotIds=VERBOSE)
    ]


def images(run: Run, client: Any) -> list[Image]:
    """Return the images of all accounts, in whatever state. Raises Failed."""
    found = []
    for item in listed(run, client, "describe_images", "Images", ImageIds=VERBOSE):
        disks = (part.get("Ebs", {}).get("SnapshotId", "") for part in item.get("BlockDeviceMappings", ()))
        name, account, state = (item.get(word, "") for word in ("ImageId", "OwnerId", "State"))
        found.append(Image(name, account, state, tuple(disk for disk in disks if disk)))
    return found


def workers(run: Run, autoscaling: Any) -> list[Group]:
    """Return the groups of the cloud's own workers. Two requests, whatever their number. Raises Failed.

    A group's activities come newest first. One that failed and was followed by a good one is history; one that goes on
    says nothing yet.
    """
    groups = [
        item
        for item in listed(
            run, autoscaling, "describe_auto_scaling_groups", "AutoScalingGroups", AutoScalingGroupNames=VERBOSE
        )
        if INTERNAL in item.get("AutoScalingGroupName", "")
    ]
    last: dict[str, dict[str, Any]] = {}
    if groups:
        activities = listed(run, autoscaling, "describe_scaling_activities", "Activities", ActivityIds=VERBOSE)
        ended = [item for item in activities if item.get("StatusCode") in ("Successful", "Failed", "Cancelled")]
        for item in sorted(ended, key=lambda item: str(item.get("StartTime", ""))):
            last[item.get("AutoScalingGroupName", "")] = item
    return [
        Group(
            group["AutoScalingGroupName"],
            group.get("DesiredCapacity", 0),
            sum(one.get("LifecycleState") == "InService" for one in group.get("Instances", ())),
            _failure(last.get(group["AutoScalingGroupName"], {})),
        )
        for group in groups
    ]


def _failure(activity: dict[str, Any]) -> str:
    """Return what an activity failed of, "" when it did not."""
    if activity.get("StatusCode") != "Failed":
        return ""
    return str(
        activity.get("StatusMessage") or activity.get("Cause") or activity.get("Description") or "it tells nothing"
    )


def nodes(run: Run, access: Any) -> dict[str, str]:
    """Return host, and name, of a node controller -> its state, for those that the cloud knows of. One request.

    A node that no cluster controller reports is forgotten after ten minutes. Raises Failed, not-allowed for an empty list:
    without nodes everything would seem to run nowhere.
    """
    from nephoscope.probes import euca_services

    found = {}
    for service in euca_services.describe(run, access, ByServiceType="node"):
        if service.type == "node":
            found[service.host] = found[service.name] = service.state
    if not found:
        error = "no node is listed, as to who has no right, and to everybody before 3.4"
        raise Failed(NOT_ALLOWED, "", "DescribeServices node", error)
    return found


def _bytes(gigabytes: Any) -> int | None:
    """Sizes are told in GiB, none for a volume whose size is not known yet."""
    return int(gigabytes) * GIB if gigabytes is not None else None
