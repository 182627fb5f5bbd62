# SPDX-License-Identifier: Apache-2.0
"""Auto scaling at /services/AutoScaling: DescribeAutoScalingGroups and DescribeScalingActivities.

The workers of the imaging service and of the load balancers are groups of the system's accounts; a failed activity of
theirs is how one learns that no worker can be started. Users of the account `eucalyptus` see all accounts'
groups with the name `verbose` or a group's own name, and all activities with the activity id `verbose` or a group's ARN;
the activities of another account's group that is asked for by its name alone are not found (AutoScalingBackendService.java).
Who lacks the right is refused since 4.0 (AutoScalingService.dispatchAction), and gets an empty list before.

Sources: github eucalyptus/eucalyptus 4.4.2, autoscaling-binding.xml (namespace, elements); the group's name and the
cause "Not enough resources available: addresses; ..." from the documentation (ts_general/ts_img_worker).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nephoscope.demo.markup import date, document, iam_error, items, request_id
from nephoscope.demo.model import Answer, Cloud, Request
from nephoscope.demo.resources import Activity, ScalingGroup, account_of, identifier, things, visible

PATHS = ("/services/AutoScaling",)
SIGNED = "query"
NAMESPACE = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

Pairs = list[tuple[str, Any]]


class _Error(Exception):
    pass


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer one signed request."""
    action = _ACTIONS.get(request.action)
    if action is None:
        return iam_error(NAMESPACE, 400, "InvalidAction", f"The action {request.action} is not valid")
    metadata: Pairs = [("ResponseMetadata", [("RequestId", request_id())])]
    name = request.action
    if cloud.at_least(4) and not (request.user and request.user.may(f"autoscaling:{name}")):
        message = "You are not authorized to perform this operation."
        return iam_error(NAMESPACE, 403, "UnauthorizedOperation", message)
    try:
        result = action(cloud, request)
    except _Error as error:
        return iam_error(NAMESPACE, 400, "ValidationError", str(error))
    return document(f"{name}Response", [(f"{name}Result", result), *metadata], NAMESPACE)


def _groups(cloud: Cloud, request: Request, names: list[str]) -> list[ScalingGroup]:
    if request.user is None:
        return []
    wanted = [name for name in names if name and name != "verbose"]
    action = f"autoscaling:{request.action}"
    found = visible(cloud, request.user, things(cloud, ScalingGroup), action, "verbose" in names or bool(wanted))
    return [each for each in found if not wanted or each.name in wanted]


def _arn(cloud: Cloud, group: ScalingGroup) -> str:
    number = account_of(cloud, group.owner).number
    return f"arn:aws:autoscaling::{number}:autoScalingGroup:{identifier('g', group.name)}:autoScalingGroupName/{group.name}"


def _describe(cloud: Cloud, request: Request) -> Pairs:
    names = [value for key, value in request.params.items() if key.startswith("AutoScalingGroupNames.member.")]
    rows: list[Pairs] = []
    for each in _groups(cloud, request, names):
        row: Pairs = [("AutoScalingGroupName", each.name), ("AutoScalingGroupARN", _arn(cloud, each))]
        row += [("LaunchConfigurationName", each.launch), ("MinSize", 0), ("MaxSize", each.desired)]
        row += [("DesiredCapacity", each.desired), ("DefaultCooldown", 300)]
        row += [("AvailabilityZones", items(cloud.zones, "member")), ("LoadBalancerNames", "")]
        row += [("HealthCheckType", "EC2"), ("HealthCheckGracePeriod", 300)]
        row.append(("Instances", items((_member(cloud, each, number) for number in range(each.serving)), "member")))
        rows.append([*row, ("CreatedTime", date(cloud.shown(each.since)))])
    return [("AutoScalingGroups", items(rows, "member"))]


def _member(cloud: Cloud, group: ScalingGroup, number: int) -> Pairs:
    row: Pairs = [("InstanceId", identifier("i", group.name, number)), ("AvailabilityZone", cloud.zones[0])]
    row += [("LifecycleState", "InService"), ("HealthStatus", "Healthy")]
    return [*row, ("LaunchConfigurationName", group.launch)]


def _activity(cloud: Cloud, group: str, each: Activity) -> Pairs:
    start = date(cloud.shown(each.since))
    row: Pairs = [("ActivityId", each.name), ("AutoScalingGroupName", group)]
    row += [("Description", "Launching a new EC2 instance"), ("Cause", each.cause), ("StartTime", start)]
    if each.status in ("Successful", "Failed", "Cancelled"):
        row.append(("EndTime", start))
    row.append(("StatusCode", each.status))
    if each.status == "Failed":
        row.append(("StatusMessage", each.cause))
    return [*row, ("Progress", 100 if each.status in ("Successful", "Failed") else 50)]


def _activities(cloud: Cloud, request: Request) -> Pairs:
    wanted = request.params.get("AutoScalingGroupName", "")
    verbose = any(
        value == "verbose" for key, value in request.params.items() if key.startswith("ActivityIds.member.")
    ) or wanted.startswith("arn:")
    found = _groups(cloud, request, ["verbose"] if verbose else [])
    if wanted:
        found = [each for each in found if wanted in (each.name, _arn(cloud, each))]
        if not found:
            raise _Error(f"Auto scaling group not found: {wanted}")
    rows = [(each.since, _activity(cloud, group.name, each)) for group in found for each in group.activities]
    rows.sort(key=lambda row: -row[0])
    return [("Activities", items((row for _, row in rows), "member"))]


_ACTIONS: dict[str, Callable[[Cloud, Request], Pairs]] = {
    "DescribeAutoScalingGroups": _describe,
    "DescribeScalingActivities": _activities,
}
