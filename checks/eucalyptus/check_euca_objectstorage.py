# SPDX-License-Identifier: Apache-2.0
"""Are the object gateway and what stands behind it (Walrus, Riak CS, Ceph's RGW) up, and not short of room?

Serves Eucalyptus 3.1 to 5.1, and learns from the Heartbeat which components are registered on the host that it asks:
`objectstorage` (the gateway) and `walrusbackend` since 4.0, `walrus` before. Each must be enabled there. The gateway is also
asked for its buckets without a key, which it must refuse in S3's words. All this wants no credential. `--provider URL` repeats
the HEAD by which the gateway holds its provider for alive; with --cloud or --credentials the properties say whether one is set,
and where it is. Without -H, or with --local, the room of Walrus' bukkits is measured, and
the heap where the JVM's sensors are on.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, WARNING, BadOption, Check, Finding, Group, Metric, Threshold, count
from nephoscope.plugin.options import directory
from nephoscope.probes import euca_objects, euca_storage, heartbeat, mounts

STATES = {"ok": OK, "degraded": WARNING, "failed": CRITICAL}


def options(add):
    heartbeat.options(add)
    add(
        "--expect",
        repeat=True,
        choices=euca_objects.KINDS,
        help="component that must be registered and enabled on this host",
    )
    add("--standby", flag=True, looks=False, help="the passive half of a pair (3.x): enabled is WARNING")
    add("--provider", default="", type=euca_objects.address, metavar="URL", help="end-point of the gateway's provider")
    add("--provider-status", type=count, help="what it must answer to HEAD: 405 (S3, Riak CS), 200 (RGW); default both")
    add("--bukkits", default="", type=directory, metavar="DIR", help="Walrus' directory, where it is not the usual one")


def probe(options, run):
    if wrong := heartbeat.unseen(options, euca_objects.LOCAL):
        raise BadOption(wrong)
    return euca_objects.look(run, options, heartbeat.here(options))


def judge(objects, options):
    yield from (fact for fact in objects if isinstance(fact, Failed))
    if isinstance(objects.heart, heartbeat.Heartbeat) and "service" in options.mode:
        for kind in objects.kinds:
            word, text = euca_storage.standing(objects.heart, kind, options.standby)
            yield Finding(STATES[word], "" if word == "ok" else kind, text)
        yield Metric("time", objects.heart.seconds)
    if isinstance(objects.heart, heartbeat.Heartbeat) and not objects.kinds:
        yield Finding(CRITICAL, "object storage", "no component of it is registered on this host")
    if isinstance(objects.front, euca_objects.Front):
        gone = objects.front.elsewhere
        yield Finding(CRITICAL if gone else OK, "front", f"sends its clients to {gone}" if gone else "answers as S3")
        yield Metric("front_time", objects.front.seconds)
    if isinstance(objects.provider, euca_objects.Provider):
        yield Finding(CRITICAL if objects.trouble else OK, "provider", objects.trouble or objects.said)
    if isinstance(objects.room, mounts.Room):
        yield Metric("bukkits_used", objects.room.used)
    if isinstance(objects.heap, float):
        yield Metric("heap", objects.heap)


CHECK = Check(
    *(options, probe, judge),
    where=("node", "remote"),
    needs=[Group("eucalyptus-status")],
    uses=("http", "cloud"),
    answers=("W20", "W23"),
    modes={
        "service": "the Heartbeat on 8773 shows its components enabled",
        "front": "the gateway refuses who has no key, in S3's words",
        "provider": "one is set, and answers HEAD as the gateway wants it",
        "space": "room of Walrus' bukkits (this host)",
        "heap": "the JVM's heap, by its own sensors (this host)",
    },
    thresholds=[
        Threshold("time", "s", "2", mode="service", main=True, help="time until the Heartbeat was there"),
        Threshold("front_time", "s", "2", mode="front", main=True, help="time that the gateway takes to refuse"),
        Threshold("bukkits_used", "%", "80", "90", mode="space", main=True, help="file system of Walrus' bukkits"),
        Threshold("heap", "%", "80", "90", mode="heap", main=True, help="old generation of the heap"),
    ],
    runbook="""
By hand: `curl -s http://HOST:8773/services/Heartbeat | grep -E '^name=(objectstorage|walrus)'`; `curl -si
http://HOST:8773/services/objectstorage` gives 403 AccessDenied; `curl -sI PROVIDER-URL` the status that `euctl
objectstorage.s3provider.s3endpointheadresponse` names.
Not enabled: `euserv-describe-services --filter service-type=objectstorage -E` says why. BROKEN: `euctl
objectstorage.providerclient` is not set. DISABLED: a network or credentials problem towards the provider.
500 or 503 from the front: it is under pressure (uploads arrive faster than the provider takes them; heap: check_euca_sensors),
clients try again, and so does the scheduler. When it stays: the provider, the disk below bukkits, `objectstorage.queue_size`.
Bukkits full: find large buckets, old image bundles and snapshots; Walrus stops taking objects long before the cloud stops.
""",
)
main = CHECK.main
