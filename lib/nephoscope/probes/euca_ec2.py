# SPDX-License-Identifier: Apache-2.0
"""What a Eucalyptus cloud says of its tenants' instances, volumes, snapshots and images, and of its own workers.

Read as an administrator: the id `verbose` asks for the resources of all accounts. Eucalyptus does not refuse it to others.
It drops the word, and answers with the caller's own account (instances, volumes) or with an error (images). So `sight` is
asked first; without it a cloud that is not seen looks like one that is empty. A missing right is said by
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

VERBOSE = ["verbose"]
GIB = 1 << 30
PAGES = 40  # of one list: what is longer is no list of a cloud
INTERNAL = "euca-internal"  # in the name of each group of the cloud's own workers (imaging, load balancers)
RIGHT = "a user of account eucalyptus with the right ec2:Describe*"


class Attachment(NamedTuple):
    """Where a volume is attached.

    state  in the words of the cloud, "_" for blanks: attaching, attached, detaching, detached, attaching_failed, …
    at     when attaching began; of detaching there is no time
    """

    instance: str
    state: str
    at: datetime | None = None


class Volume(NamedTuple):
    """A volume. Its account is not told by the cloud. size in B, None when it is not known yet."""

    id: str
    state: str
    size: int | None = None
    created: datetime | None = None
    attachments: tuple[Attachment, ...] = ()


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
    """A snapshot. progress as "40%"; size of its volume in B."""

    id: str
    account: str
    state: str
    progress: str = ""
    started: datetime | None = None
    size: int | None = None


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


def sight(run: Run, client: Any, tokens: Callable[[], Any] | None = None) -> Failed | None:
    """Return None when the resources of all accounts can be seen, else a Failed (not-allowed) that says what can.

    Only who may see everything gets the rows of instance types with the zones (ClusterEndpoint). With no zone enabled
    nothing tells, and that is said too. tokens: makes a client of "sts", which names the account to whoever asks (4.3
    and later). Raises Failed.
    """
    zones = call(run, client, "describe_availability_zones", ZoneNames=VERBOSE).get("AvailabilityZones", [])
    if any(zone.get("ZoneName", "").startswith("|-") for zone in zones):
        return None
    if not zones:
        error = "no zone is enabled, so nothing tells whether the resources of all accounts are seen"
        return Failed(NOT_ALLOWED, "", "DescribeAvailabilityZones verbose", error, RIGHT)
    whose = "the caller's own account"
    if tokens is not None:
        try:
            whose = f"account {call(run, tokens(), 'get_caller_identity')['Account']}"
        except (Failed, KeyError):
            pass  # the name is a courtesy
    return Failed(
        NOT_ALLOWED, "", "DescribeAvailabilityZones verbose", f"only the resources of {whose} are visible", RIGHT
    )


def each(run: Run, questions: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return name -> answer, or the Failed in its place; a cloud that is silent is not asked on.

    The failures belong to no object: --include and --exclude choose among what tenants made, not among failures.
    """
    asked: dict[str, Any] = {}
    for name, question in questions.items():
        try:
            asked[name] = question()
        except Failed as failed:
            where = f"{failed.of}: " if failed.of else ""
            asked[name] = Failed(failed.kind, "", failed.tried, where + failed.error, failed.cure)
            if failed.kind in (UNREACHABLE, LATE):
                break
    return asked


def call(run: Run, client: Any, operation: str, **words: Any) -> dict[str, Any]:
    """Return the answer to one call of a client of `euca_api`. Raises Failed, unreadable for what botocore can't read."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    action = _action(operation)
    run.stage(f"ask for {action}")
    try:
        answer: dict[str, Any] = getattr(client, operation)(**words)
    except ResponseParserError as error:
        # Behind its first sentence the message carries the whole answer.
        text = str(error).partition(", invalid XML")[0].partition("\n")[0][:120]
        raise Failed(UNREADABLE, "", action, f"the answer is cut or no XML: {text}") from None
    except (BotoCoreError, ClientError, ValueError, TypeError, KeyError) as error:
        raise Failed(UNREADABLE, "", action, f"the answer is not understood: {error!s:.120}") from None
    if not answer.get("ResponseMetadata", {}).get("RequestId"):
        # A document of another kind has no member that we know: it would look like an empty list.
        raise Failed(UNREADABLE, "", action, f"the answer is no {action}Response")
    return answer


def listed(run: Run, client: Any, operation: str, member: str, **words: Any) -> Iterator[dict[str, Any]]:
    """Yield the members of a list, page by page where the cloud pages it.

    Raises Failed, not-allowed for an empty list of a cloud that may be older than 4.0, where a missing right gives the same:
    only since 4.3 an answer tells the version.
    """
    seen = False
    for _ in range(PAGES):
        answer = call(run, client, operation, **words)
        for item in answer.get(member, ()):
            seen = True
            yield item
        token = answer.get("NextToken")
        if not token:
            headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
            if not seen and not str(headers.get("server", "")).startswith("Eucalyptus/"):
                error = "the list is empty, which before version 4.0 is also the answer to who has no right"
                right = RIGHT.replace("ec2:", "autoscaling:") if "scaling" in operation else RIGHT
                raise Failed(
                    NOT_ALLOWED, "", _action(operation), error, f"{right}, or --mode without it where there is none"
                )
            return
        words["NextToken"] = token
    raise Failed(UNREADABLE, "", _action(operation), f"more than {PAGES} pages")


def _action(operation: str) -> str:
    """Return the name that the protocol has for an operation of botocore."""
    return "".join(word.capitalize() for word in operation.split("_"))


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
        right = "a user of account eucalyptus with the right euserv:Describe*, or --mode without ghosts before 3.4"
        raise Failed(NOT_ALLOWED, "", "DescribeServices node", "no node is listed, as to who has no right", right)
    return found


def _bytes(gigabytes: Any) -> int | None:
    """Sizes are told in GiB, none for a volume whose size is not known yet."""
    return int(gigabytes) * GIB if gigabytes is not None else None
