# SPDX-License-Identifier: Apache-2.0
"""CloudWatch at /services/CloudWatch: ListMetrics, GetMetricStatistics, PutMetricData, DescribeAlarms (none are set).

Every running instance reports AWS/EC2 CPUUtilization once in five minutes, up to now; `tell("metric", ...)` and
PutMetricData add others. With the property cloudwatch.enable_cloudwatch_service false (4.4+; before that
cloudwatch.disable_cloudwatch_service true) what is stored can be asked for, and nothing new is stored (fault 1500).

Sources: github eucalyptus/eucalyptus 4.4.2, cloudwatch-binding.xml (namespace, elements), CloudWatchErrorHandler.java.
Only the query protocol is spoken; a client that sends JSON or CBOR gets the 404 of a request that nobody takes.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from typing import Any

from nephoscope.demo import resources, wire
from nephoscope.demo.markup import date, document, iam_error, items, request_id
from nephoscope.demo.model import Answer, Cloud, Request, User
from nephoscope.demo.resources import Instance, things, visible

PATHS = ("/services/CloudWatch",)
SIGNED = "query"
NAMESPACE = "http://monitoring.amazonaws.com/doc/2010-08-01/"
PERIOD = 300

Pairs = list[tuple[str, Any]]
Point = tuple[str, str, float, float]
"""Namespace, name, value, and when (Cloud.elapsed())."""


class _Error(Exception):
    pass


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer one signed request."""
    if not request.action:
        return wire.not_found()
    action = _ACTIONS.get(request.action)
    if action is None:
        return iam_error(NAMESPACE, 400, "InvalidAction", f"The action {request.action} is not valid")
    if request.user is None or not request.user.may(f"cloudwatch:{request.action}"):
        return iam_error(NAMESPACE, 403, "AccessDenied", "You are not authorized to perform this operation")
    try:
        result = action(cloud, request.user, request)
    except (_Error, ValueError) as error:
        return iam_error(NAMESPACE, 400, "InvalidParameterValue", str(error))
    name = request.action
    wrapped: Pairs = [] if result is None else [(f"{name}Result", result)]
    return document(f"{name}Response", [*wrapped, ("ResponseMetadata", [("RequestId", request_id())])], NAMESPACE)


def is_off(cloud: Cloud) -> bool:
    """Say whether an operator switched the service off."""
    on = cloud.properties.get("cloudwatch.enable_cloudwatch_service")
    off = cloud.properties.get("cloudwatch.disable_cloudwatch_service")
    return (on is not None and on.value == "false") or (off is not None and off.value == "true")


def _told(cloud: Cloud) -> list[Point]:
    found: list[Point] = cloud.resources.setdefault("datapoints", [])
    return found


def _running(cloud: Cloud, user: User) -> list[Instance]:
    if is_off(cloud):
        return []
    found = visible(cloud, user, things(cloud, Instance), "cloudwatch:ListMetrics", False)
    return [each for each in found if each.state == "running"]


def _metrics(cloud: Cloud, user: User, request: Request) -> Pairs:
    found: list[tuple[str, str, str]] = [("AWS/EC2", "CPUUtilization", each.name) for each in _running(cloud, user)]
    found += sorted({(space, name, "") for space, name, _, _ in _told(cloud)})
    rows: list[Pairs] = []
    for space, name, instance in found:
        if request.params.get("Namespace", space) != space or request.params.get("MetricName", name) != name:
            continue
        dimension = [[("Name", "InstanceId"), ("Value", instance)]] if instance else []
        rows.append([("MetricName", name), ("Namespace", space), ("Dimensions", items(dimension, "member"))])
    return [("Metrics", items(rows, "member"))]


def _unix(text: str) -> float:
    return float(calendar.timegm(time.strptime(text.partition(".")[0].rstrip("Z")[:19], "%Y-%m-%dT%H:%M:%S")))


def _statistics(cloud: Cloud, user: User, request: Request) -> Pairs:
    space, name = request.params.get("Namespace", ""), request.params.get("MetricName", "")
    start, end = _unix(request.params.get("StartTime", "")), _unix(request.params.get("EndTime", ""))
    period = int(request.params.get("Period", "60"))
    if period < 60 or period % 60:
        raise _Error("The parameter Period must be a multiple of 60")
    found = [(cloud.shown(at), value) for s, n, value, at in _told(cloud) if (s, n) == (space, name)]
    wanted = request.params.get("Dimensions.member.1.Value")
    if (space, name) == ("AWS/EC2", "CPUUtilization"):
        for each in _running(cloud, user):
            if wanted in (None, each.name):
                first = max(start, cloud.shown(each.since))
                moments = range(int(first // PERIOD + 1) * PERIOD, int(min(end, cloud.now())) + 1, PERIOD)
                found += [(float(moment), 12.5) for moment in moments]
    groups: dict[int, list[float]] = {}
    for moment, value in found:
        if start <= moment < end:
            groups.setdefault(int(moment // period) * period, []).append(value)
    rows: list[Pairs] = []
    for begin, values in sorted(groups.items()):
        row: Pairs = [("Timestamp", date(begin)), ("SampleCount", float(len(values))), ("Unit", "None")]
        row += [("Average", sum(values) / len(values)), ("Sum", sum(values))]
        rows.append([*row, ("Minimum", min(values)), ("Maximum", max(values))])
    return [("Label", name), ("Datapoints", items(rows, "member"))]


def _put(cloud: Cloud, user: User, request: Request) -> None:
    if is_off(cloud):
        raise _Error("Service has been disabled")
    space = request.params.get("Namespace", "")
    for number in range(1, 21):
        name = request.params.get(f"MetricData.member.{number}.MetricName")
        if name is None:
            return
        value = float(request.params.get(f"MetricData.member.{number}.Value", "0"))
        resources.tell_metric(cloud, space, name, value)


def _alarms(cloud: Cloud, user: User, request: Request) -> Pairs:
    return [("MetricAlarms", "")]


_ACTIONS: dict[str, Callable[[Cloud, User, Request], Pairs | None]] = {
    "ListMetrics": _metrics,
    "GetMetricStatistics": _statistics,
    "PutMetricData": _put,
    "DescribeAlarms": _alarms,
}
