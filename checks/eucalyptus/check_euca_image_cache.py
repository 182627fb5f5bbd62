# SPDX-License-Identifier: Apache-2.0
"""Will this node still find room to cache the next image and to start the next instance?

Serves the node controller of Eucalyptus 3.1 to 5.1, and the image proxy of a cluster controller up to 3.4. Sizes are held
against NC_CACHE_SIZE and NC_WORK_SIZE of eucalyptus.conf, or else against what the node controller chose itself (`.blobstore`).
It admits by nominal sizes, while the files are sparse, so both are told: `cache` and `work` are bytes on the disk, the shares
are of what is reserved. A full cache is no trouble: what no instance needs is thrown out for the next image, so its share is
of what instances hold. Whether the file system can keep what the limits promise is check_filesystem's question.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import OK, Check, Finding, Group, Metric, Sudo, Threshold
from nephoscope.probes import euca_cache


def options(add):
    pass


def probe(options, run):
    return euca_cache.look(run, options.mode, options.mode_given)


def judge(stores, options):
    for store in stores:
        if isinstance(store, Failed):
            yield store
            continue
        yield Metric(store.name, store.allocated, most=store.limit or None)
        if not store.limit:
            yield Finding(OK, store.name, f"is switched off by {store.said}")
        elif store.name == "cache":
            yield Metric("cache_held", store.share(store.held))
        else:
            yield Metric(f"{store.name}_used", store.share(store.reserved), detail=f"limit by {store.said}")


CHECK = Check(
    *(options, probe, judge),
    needs=[Group("eucalyptus"), Sudo(*euca_cache.FIND), Sudo(*euca_cache.GREP)],
    answers=("W29", "W44"),
    modes={
        "cache": "the node controller's image cache",
        "work": "the node controller's work space of instances",
        "proxy": "the cluster controller's image proxy, where it is switched on (up to 3.4)",
    },
    thresholds=[
        Threshold("cache", "B", mode="cache", help="bytes of the image cache on the disk"),
        Threshold("cache_held", "%", "85", "95", mode="cache", main=True, help="share that images in use hold"),
        Threshold("work", "B", mode="work", help="bytes of the work space on the disk"),
        Threshold("work_used", "%", "85", "95", mode="work", main=True, help="share that instances have reserved"),
        Threshold("proxy", "B", mode="proxy", help="bytes of the image proxy on the disk"),
        Threshold(
            "proxy_used", "%", "100", "120", mode="proxy", main=True, help="share of its size; it shrinks by itself"
        ),
    ],
    runbook="""
By hand: `euca-blobs list` (as root, if it is installed); `du -sh --apparent-size /var/lib/eucalyptus/instances/*`
beside `du -sh` of the same; `cat /var/lib/eucalyptus/instances/cache/.blobstore` (limit in blocks of 512 bytes); nc.log
says "disk space for instances" at its start.
Work space full: the node offers no more instances (disk in `euca-describe-nodes` is 0). Move instances away or end some, or
enlarge NC_WORK_SIZE if the disk has room, and restart the node controller: instances go on, and remains of instances that are
gone are removed at that start as well.
Cache held by instances: their images stay until they end. A cache that is too small makes each start download its image anew.
""",
)
main = CHECK.main
