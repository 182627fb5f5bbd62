# SPDX-License-Identifier: Apache-2.0
"""What a Eucalyptus cloud has given away and nobody uses, for `cloud.unused`.

A stopped instance, an unattached volume, an address without an instance: Eucalyptus tells no time at which they became so.
They are as old as we have seen them without a break, which is a lower bound. A snapshot has a time of its own; one that an
image is made of is in use. A stopped instance holds neither cores nor memory, and its disks are its volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nephoscope.base import Failed, Run, samples
from nephoscope.probes import euca_addresses, euca_api, euca_ec2
from nephoscope.probes.cloud import Idle, Unused

# Mode -> kind of thing, and what is asked to know about it.
KINDS = {
    "instances": ("instance", ("instances",)),
    "volumes": ("volume", ("volumes",)),
    "addresses": ("address", ("addresses",)),
    "snapshots": ("snapshot", ("snapshots", "images")),
}


def idle(options: Any, run: Run) -> Idle:
    """Return what is used by nobody, of the kinds in `options.mode`. At most six requests.

    One question that fails does not hide the others. Raises Failed: as `euca_api.access` and `euca_ec2.everywhere` do.
    """
    there = euca_api.access(options, run)
    client = euca_ec2.everywhere(run, there)
    questions: dict[str, Callable[[], Any]] = {
        "instances": lambda: euca_ec2.instances(run, client),
        "volumes": lambda: euca_ec2.volumes(run, client),
        "addresses": lambda: euca_addresses.addresses(run, there),
        "snapshots": lambda: euca_ec2.snapshots(run, client),
        "images": lambda: euca_ec2.images(run, client),
    }
    wanted = {need for mode in options.mode for need in KINDS[mode][1]}
    return found(euca_ec2.each(run, {name: questions[name] for name in questions if name in wanted}), run)


def found(asked: Mapping[str, Any], run: Run) -> Idle:
    """Return what the answers mean: a list, or a Failed, for each question that was asked."""
    failures = tuple(answer for answer in asked.values() if isinstance(answer, Failed))
    good = {name: answer for name, answer in asked.items() if not isinstance(answer, Failed)}
    needs = dict(KINDS.values())
    kinds = [kind for kind in needs if all(need in good for need in needs[kind])]
    things: list[Unused] = []
    for kind in kinds:
        things += [thing for thing in MAKERS[kind](good, run) if run.wants(thing.name)]
    now = run.now().timestamp()
    before = run.before if isinstance(run.before, dict) else {}
    unseen = {key for key in before if key.partition("/")[0] not in kinds}  # not asked this time: no younger for it
    first = samples.since(before, unseen | {f"{thing.kind}/{thing.name}" for thing in things if thing.age is None}, now)
    aged = tuple(
        thing._replace(age=now - first[f"{thing.kind}/{thing.name}"]) if thing.age is None else thing
        for thing in things
    )
    looked = {kind: sum(map(_given, good[needs[kind][0]])) for kind in kinds}
    return Idle(aged, looked, failures, first)


def _given(one: Any) -> bool:
    """Return whether somebody has it: not a free address, nor what was ended and is only shown for a while."""
    return bool(one.owner) if isinstance(one, euca_addresses.Address) else one.state not in ("terminated", "deleted")


def _instances(good: Mapping[str, Any], run: Run) -> list[Unused]:
    stopped = (one for one in good["instances"] if one.state == "stopped")
    return [Unused("instance", one.id, one.account, None, text="is stopped") for one in stopped]


def _volumes(good: Mapping[str, Any], run: Run) -> list[Unused]:
    free = (one for one in good["volumes"] if one.state == "available" and not one.attachments)
    return [Unused("volume", one.id, "", None, disk=one.size or 0, text="is attached to nothing") for one in free]


def _addresses(good: Mapping[str, Any], run: Run) -> list[Unused]:
    taken = (one for one in good["addresses"] if one.owner and not one.instance)
    return [Unused("address", one.ip, one.owner, None, text="belongs to no instance") for one in taken]


def _snapshots(good: Mapping[str, Any], run: Run) -> list[Unused]:
    used = {name for image in good["images"] for name in image.snapshots}
    return [
        Unused(
            "snapshot",
            one.id,
            one.account,
            max(0.0, (run.now() - one.started).total_seconds()) if one.started else None,
            disk=one.size or 0,
            text="is in no image",
        )
        for one in good["snapshots"]
        if one.state == "completed" and one.id not in used
    ]


MAKERS: dict[str, Callable[[Mapping[str, Any], Run], list[Unused]]] = {
    "instance": _instances,
    "volume": _volumes,
    "address": _addresses,
    "snapshot": _snapshots,
}
