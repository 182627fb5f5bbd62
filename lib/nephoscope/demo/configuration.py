# SPDX-License-Identifier: Apache-2.0
"""/services/Configuration of 3.x to 4.1: what is registered, in the old words (DescribeClusters, DescribeNodes, ...).

Item {type, partition, name, hostName, fullName, state, detail}; which of them a version leaves out is UNCONFIRMED.
"""

from __future__ import annotations

from nephoscope.demo import empyrean, wire
from nephoscope.demo.model import Answer, Cloud, Request
from nephoscope.demo.wire import escape

PATHS = ("/services/Configuration", "/internal/Configuration")
VERSIONED = True
ACTIONS = {
    "DescribeClusters": ("cluster",),
    "DescribeStorageControllers": ("storage",),
    "DescribeWalruses": ("walrus", "walrusbackend"),
    "DescribeArbitrators": ("arbitrator",),
    "DescribeVMwareBrokers": ("vmwarebroker",),
    "DescribeNodes": ("node",),
    "DescribeComponents": ("eucalyptus", "cluster", "storage", "walrus", "walrusbackend", "arbitrator", "vmwarebroker"),
}


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer a signed request; from 4.2 on there is no such service any more."""
    if cloud.at_least(4, 2):
        return wire.not_found()
    user, action = request.user, request.action
    if action not in ACTIONS:
        return empyrean.unknown(action)
    if user is None or not user.of_system or not user.may(f"euconfig:{action}"):
        return wire.fault(403, "Forbidden")
    p, _, attribute = empyrean.envelope(cloud, "configuration")
    here = cloud.hosts[request.host]
    items = []
    for service in sorted(cloud.listed(), key=lambda each: (each.partition, each.host.address, each.name)):
        if service.kind in ACTIONS[action]:
            state, text = cloud.state(service, here)
            fields = [("type", service.kind), ("partition", service.partition), ("name", service.name),
                      ("hostName", service.host.address), ("fullName", cloud.full_name(service)), ("state", state),
                      ("detail", text)]  # fmt: skip
            items.append("".join(f"<{p}{name}>{escape(value)}</{p}{name}>" for name, value in fields))
    listed = "".join(f"<{p}item>{item}</{p}item>" for item in items)
    root = f"{p}{action}ResponseType"
    head = f"<{root} {attribute}>{empyrean.base(cloud, p, 'ConfigurationMessage')}"
    return wire.xml(f"{head}<{p}registered>{listed}</{p}registered></{root}>")
