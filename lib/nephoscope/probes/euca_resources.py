# SPDX-License-Identifier: Apache-2.0
"""What of a Eucalyptus cloud is on its way from one state to another, and for how long; what has failed.

The words are those of `euca_ec2`. Where the cloud tells when a passing state began, that is taken (creating, pending
snapshots, attaching); of deleting, detaching, stopping, a restart or a migration it tells no time, and these are as old as
we have seen them without a break. A volume that was only just asked for is `unavailable` (State.NIHIL).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, Failed, Run, samples
from nephoscope.probes import euca_api, euca_ec2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime

WELL, PASSING, FAILED, UNKNOWN, GHOST = "well", "passing", "failed", "unknown", "ghost"

# Word of the cloud -> what it means; None: there is no such word.
INSTANCE = {
    **dict.fromkeys(("running", "stopped", "terminated"), WELL),
    **dict.fromkeys(("pending", "shutting-down", "stopping"), PASSING),
}
VOLUME = {
    **dict.fromkeys(("available", "in-use", "deleted"), WELL),
    **dict.fromkeys(("creating", "unavailable", "deleting"), PASSING),
    **dict.fromkeys(("failed", "error"), FAILED),
}
ATTACHMENT = {
    **dict.fromkeys(("attached", "detached", ""), WELL),
    **dict.fromkeys(("attaching", "detaching"), PASSING),
    **dict.fromkeys(("attaching_failed", "detaching_failed"), FAILED),
}
SNAPSHOT = {"completed": WELL, "pending": PASSING, "failed": FAILED}
IMAGE = {
    **dict.fromkeys(("available", "deregistered", "hidden"), WELL),
    "pending": PASSING,
    **dict.fromkeys(("failed", "unavailable"), FAILED),
}
# Reasons for which the cloud itself ended an instance (VmInstance.Reason); it is shown for an hour.
ENDED = ("Instance expired after not being reported", "The instance failed to start on the NC")
SERVES = ("ENABLED", "STOPPED", "DISABLED")  # states of a node on which instances run on: STOPPED takes no new ones


class Thing(NamedTuple):
    """One thing that can be stuck.

    kind   "instances", "volumes", "snapshots", "images", "workers", "ghosts"
    state  in words: "creating", "detaching from i-0a1b2c3d"
    phase  WELL, PASSING, FAILED, UNKNOWN (a word that is not known) or GHOST
    began  when the state began, by the cloud; None: not told
    age    s for which it has lasted, as far as that is known; 0.0 at first sight, and for what is not passing
    """

    kind: str
    id: str
    state: str
    phase: str
    account: str = ""
    began: datetime | None = None
    age: float = 0.0

    @property
    def said(self) -> str:
        """Which it is, and what it does."""
        return f"{self.id} {self.state}"

    @property
    def told(self) -> str:
        """What it does, and whose it is where that is told."""
        return self.state + (f" (account {self.account})" if self.account else "")


class Found(NamedTuple):
    """All that was looked at.

    looked  kinds that were looked at, and how many of each there are; of "ghosts" how many instances could be one
    shared  volume -> the instances that it is in at once
    kept    plain JSON for the next run
    """

    things: tuple[Thing, ...]
    looked: Mapping[str, int]
    shared: Mapping[str, tuple[str, ...]] = {}
    failures: tuple[Failed, ...] = ()
    kept: Mapping[str, float] = {}

    @property
    def summary(self) -> str:
        """What was looked at: "12 instances, 1 volume"."""
        words = {"workers": "group{} of workers", "ghosts": "running instance{}"}
        told = ((number, words.get(kind, kind[:-1] + "{}")) for kind, number in self.looked.items())
        return ", ".join(f"{number} {word.format('s' * (number != 1))}" for number, word in told)


def look(run: Run, options: Any) -> Found:
    """Ask for the kinds of `options.mode`; one that fails does not hide the others, but a silent cloud is not asked on.

    At most eight requests, whatever the size of the cloud. Raises Failed: as `euca_api.access` and `euca_ec2.everywhere` do.
    """
    there = euca_api.access(options, run)
    client = euca_ec2.everywhere(run, there)
    kinds = options.mode
    questions: dict[str, Callable[[], Any]] = {
        "instances": lambda: euca_ec2.instances(run, client),
        "volumes": lambda: euca_ec2.volumes(run, client),
        "snapshots": lambda: euca_ec2.snapshots(run, client),
        "images": lambda: euca_ec2.images(run, client),
        "workers": lambda: euca_ec2.workers(run, euca_api.client(run, there, "autoscaling")),
        "nodes": lambda: euca_ec2.nodes(run, there),
    }
    wanted = {*kinds, *(("instances", "nodes") if "ghosts" in kinds else ())} - {"ghosts"}
    asked = euca_ec2.each(run, {name: questions[name] for name in questions if name in wanted})
    return found(asked, kinds, run, options.mode_given)


def found(asked: Mapping[str, Any], kinds: Iterable[str], run: Run, named: bool = False) -> Found:
    """Return what the answers mean; `asked` has a list, or a Failed, for each question that was asked.

    named  the operator named the kinds: workers that don't exist are absent then.
    """
    failures = [answer for answer in asked.values() if isinstance(answer, Failed)]
    good = {name: answer for name, answer in asked.items() if not isinstance(answer, Failed)}
    makers: dict[str, Callable[[Any], Iterator[Thing]]] = {
        "instances": of_instances,
        "volumes": of_volumes,
        "snapshots": of_snapshots,
        "images": of_images,
        "workers": of_workers,
    }
    things: list[Thing] = []
    looked: dict[str, int] = {}
    for kind, maker in makers.items():
        if kind in kinds and kind in good:
            mine = [thing for thing in maker(good[kind]) if run.wants(thing.id)]
            things += mine
            looked[kind] = len({thing.id for thing in mine})
    if named and "workers" in looked and not good["workers"]:
        del looked["workers"]
        failures.append(Failed(ABSENT, "", "DescribeAutoScalingGroups verbose", "the cloud has no workers of its own"))
    if "ghosts" in kinds and "instances" in good and "nodes" in good:
        running = [one for one in good["instances"] if one.state == "running" and run.wants(one.id)]
        things += of_ghosts(running, good["nodes"])
        looked["ghosts"] = len(running)
    now = run.now()
    first = samples.since(run.before, _remembered(run.before, things, looked), now.timestamp())
    aged = tuple(thing._replace(age=_age(thing, first, now)) if thing.phase == PASSING else thing for thing in things)
    shared = {volume: where for volume, where in _shared(good).items() if run.wants(volume)}
    return Found(aged, looked, shared, tuple(failures), first)


def _key(thing: Thing) -> str:
    return f"{thing.kind}/{thing.id}/{thing.state}"


def _remembered(before: Any, things: Iterable[Thing], looked: Mapping[str, int]) -> set[str]:
    """Return what is to be remembered: what passes now, and what could not be looked at now, which made nothing younger."""
    known = before if isinstance(before, dict) else {}
    kept = {key for key in known if key.partition("/")[0] not in looked}
    return kept | {_key(thing) for thing in things if thing.phase == PASSING}


def _age(thing: Thing, first: Mapping[str, float], now: datetime) -> float:
    seen = now.timestamp() - first[_key(thing)]
    told = (now - thing.began).total_seconds() if thing.began else 0.0
    return max(0.0, seen, told)


def of_instances(instances: Iterable[euca_ec2.Instance]) -> Iterator[Thing]:
    """Yield instances. The launch time of one with a root volume is that of its first start: of no use after a restart."""
    for one in instances:
        state, phase, began = one.state, INSTANCE.get(one.state, UNKNOWN), None
        if state == "pending" and not one.ebs:
            began = one.launched
        elif phase == WELL and any(reason in one.reason for reason in ENDED):
            state, phase = f"{state}: {one.reason}", FAILED
        elif state == "running" and one.moving:
            state, phase = one.moving, PASSING
        yield Thing("instances", one.id, state, phase, one.account, began)


def of_volumes(volumes: Iterable[euca_ec2.Volume]) -> Iterator[Thing]:
    """Yield volumes, and beside them their attachments that are not well."""
    for one in volumes:
        began = one.created if one.state in ("creating", "unavailable") else None
        yield Thing("volumes", one.id, one.state, VOLUME.get(one.state, UNKNOWN), "", began)
        for part in one.attachments:
            phase = ATTACHMENT.get(part.state, UNKNOWN)
            if phase != WELL:
                words = f"{part.state.replace('_', ' ')} {'from' if part.state.startswith('detach') else 'to'} {part.instance}"
                yield Thing("volumes", one.id, words, phase, "", part.at if part.state == "attaching" else None)


def of_snapshots(snapshots: Iterable[euca_ec2.Snapshot]) -> Iterator[Thing]:
    """Yield snapshots. The progress is not part of the state: one that creeps is as old as one that stands."""
    for one in snapshots:
        phase = SNAPSHOT.get(one.state, UNKNOWN)
        yield Thing("snapshots", one.id, one.state, phase, one.account, one.started if phase == PASSING else None)


def of_images(images: Iterable[euca_ec2.Image]) -> Iterator[Thing]:
    """Yield images. The cloud tells no time of theirs."""
    for one in images:
        phase = IMAGE.get(one.state, UNKNOWN)
        yield Thing("images", one.id, one.state, phase, one.account)


def of_workers(groups: Iterable[euca_ec2.Group]) -> Iterator[Thing]:
    """Yield the cloud's own workers: a group fails when its last activity did, and is stuck while it is short."""
    for one in groups:
        if one.failure:
            yield Thing("workers", one.name, f"last activity failed: {one.failure}", FAILED)
        elif one.serving < one.wanted:
            yield Thing("workers", one.name, "short of instances in service", PASSING)
        else:
            yield Thing("workers", one.name, f"{one.serving} in service", WELL)


def of_ghosts(running: Iterable[euca_ec2.Instance], nodes: Mapping[str, str]) -> Iterator[Thing]:
    """Yield what is called running on a node that does not serve, or that the cloud no longer knows.

    The cloud goes on to call it so for up to 180 days (since 4.1). One without a tag runs nobody knows where.
    """
    for one in running:
        state = nodes.get(one.node, "")
        if not one.node:
            yield Thing("ghosts", one.id, "runs on a node that is not told", GHOST, one.account)
        elif state not in SERVES:
            words = f"is called running on {one.node}, which is {state or 'not known to the cloud'}"
            yield Thing("ghosts", one.id, words, GHOST, one.account)


def _shared(good: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the volumes that are in several instances at once: two file systems on one disk destroy it."""
    where: dict[str, set[str]] = {}
    for volume in good.get("volumes", ()):
        for part in volume.attachments:
            if part.state != "detached":
                where.setdefault(volume.id, set()).add(part.instance)
    for instance in good.get("instances", ()):
        if instance.state != "terminated":
            for name in instance.volumes:
                where.setdefault(name, set()).add(instance.id)
    return {volume: tuple(sorted(inside)) for volume, inside in sorted(where.items()) if len(inside) > 1}
