# SPDX-License-Identifier: Apache-2.0
"""Is the object ring in step: replication, quarantine, unmounted disks, equal rings?

It asks the recon middleware of every storage server (account, container, object) of Swift over plain HTTP, which needs no
right but the way into the storage network. Which servers there are comes from the ring files in /etc/swift or `--rings DIR`
(every device's address, so that no node can be forgotten), or from `--host`: HOST (its three default ports), HOST:6200, or
KIND@HOST:PORT. Ring files of this host are compared with the nodes', too; with `--host` only where `--rings` is given. A server
that is silent is CRITICAL, one without recon in its pipeline UNKNOWN. `null` is never zero: a replicator that ended no pass,
an auditor or swift-recon-cron that never ran is UNKNOWN; leave out by `--mode` what you do not run. Ages are by each node's own
clock. Disks are those of the rings where these are known; that one is not mounted is seen whatever `mount_check` says. The
three servers of a host tell of the same disks, which count once. What is quarantined stays there until somebody looks, so its
rise within `--period` counts. Reconstruction and errors of drives are judged where recon tells of them: without erasure coding
or swift-drive-audit it never does. Without ring files a device whose directory is gone is not missed. --include names servers,
--exclude servers or, as "HOST DEVICE", disks. Not asked: sharding, expirer and relinker.

Served: Swift 2.30 as seen, others by their sources; ring files of version 1 and 2. Cost: one connection to each server, and 9
requests over it, 12 of an object server, fewer with `--mode`; 24 servers at a time, each with at most 4 s, and less where
there are many. 600 servers that answer at once took 1.5 s and 33 MB. With more nodes than answer in time, let each ask itself.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Threshold, directory, duration
from nephoscope.probes import swift_recon

WORDS = {"differs": CRITICAL, "lacks": CRITICAL, "dying": CRITICAL, "odd": WARNING, "unknown": UNKNOWN, "well": OK}


def options(add):
    add(
        "--host", repeat=True, type=swift_recon.host, metavar="[KIND@]HOST[:PORT]", help="a storage node, or one server"
    )
    add("--rings", type=directory, default="", metavar="DIR", help="ring files of this host (default: /etc/swift)")
    add("--period", type=duration, default=86400.0, looks=False, help="how long what is newly quarantined counts")


def probe(options, run):
    return swift_recon.survey(run, options.host, options.rings, options.mode, options.period)


def judge(survey, options):
    yield from survey.failures
    yield from (Finding(WORDS[word], of, text) for word, of, text in survey.troubles)
    yield from (Metric(name, value, of, detail=detail) for name, value, of, detail in survey.measures)
    if survey.answers:
        yield Finding(OK, "", survey.summary)


RUNBOOK = """
By hand, where ring files are: `swift-recon --all`, `swift-recon object -r -u -q --md5`; `curl http://NODE:6200/recon/unmounted`.
swift-recon leaves silent servers out of its averages: look at its first lines.
Silent: `systemctl status swift-object`, `ss -ltn`, the firewall of the storage network. No recon (HTTP 400, 404): `recon` must
stand before the server in [pipeline:main] of account-, container- and object-server.conf, with its [filter:recon].
Old replication: does the replicator run (`swift-init object-replicator status`)? A pass that takes hours, full disks, a node
that is down (copies fail towards it), rsync's max connections. Old audits, no count of updates: their daemon, or cron, died;
all of them must write into the recon_cache_path of the filter, and their user must be able to.
Unmounted: `dmesg -T`, `mount`; a dead disk: removal from the ring, rebalance, push. All disks of a host: fstab, or the devices
are plain directories (`mount_check = false`), which recon counts as unmounted. Skipped: `stat DEVICE` says why; "Input/output
error" is a file system that shut down: `swift-recon -u` does not show it.
Rings differ (this host's own counts as one): somebody is pushing them now, or a node missed it: copy them from where the
builder files are, never between nodes. `swift-ring-builder object.builder validate`. swift.conf differs: compare the hash
prefix and suffix at once; nodes that differ in them do not find each other's data. Then policies. Keep changes of rings away
until both agree.
Quarantined: DEVICE/quarantined/; the auditor's log names it ("quarantined", "ERROR Object"). Replication restores from other
copies; much at one disk: the disk is dying (check_disk_health). Remove it when the cause is found.
Pending updates: container servers are down, slow or full: `swift-recon container`, the object updaters' log.
Clock: check_clock on that node; all of them by the same: this host's own.
"""

CHECK = Check(
    *(options, probe, judge),
    where=("remote",),
    runbook=RUNBOOK,
    keep=lambda survey: survey.kept,
    modes={
        "rings": "ring files and swift.conf are equal everywhere",
        "replication": "every replicator ended a pass lately, and copies reach their nodes",
        "async": "updates of containers do not pile up",
        "disks": "every disk is mounted and has room",
        "quarantine": "nothing new is quarantined",
        "audit": "every auditor is at work",
        "clock": "the nodes' clocks agree with this host's",
    },
    thresholds=[
        Threshold(
            "repl_age",
            "s",
            "3600",
            "21600",
            mode="replication",
            main=True,
            print="top",
            help="since a replicator ended a pass",
        ),
        Threshold(
            "async",
            "",
            "1000",
            mode="async",
            main=True,
            print="worst",
            help="updates of containers that wait on a host",
        ),
        Threshold("unmounted", "", "0", "2", mode="disks", main=True, help="disks that are not mounted or not there"),
        Threshold("quarantined", mode="quarantine", help="objects, containers and accounts in quarantine"),
        Threshold("disk_max", "%", "80", "90", mode="disks", print="top", help="how full a disk is"),
        Threshold("disk_spread", "%", mode="disks", help="between the fullest disk and the emptiest"),
        Threshold("repl_failed", "%", "5", mode="replication", print="top", help="copies of a pass that failed"),
        Threshold(
            "audit_age",
            "s",
            "86400",
            "604800",
            mode="audit",
            main=True,
            print="top",
            help="since an auditor's last report began",
        ),
        Threshold("async_age", "s", "3600", mode="async", print="top", help="since the waiting updates were counted"),
        Threshold(
            "clock", "s", "5", "30", mode="clock", main=True, print="top", help="between a node's clock and this host's"
        ),
        Threshold(
            "reconstruct_age",
            "s",
            "3600",
            "21600",
            mode="replication",
            print="top",
            help="since a reconstructor ended a pass",
        ),
        Threshold("drive_errors", "", "0", mode="disks", print="top", help="errors that swift-drive-audit found"),
        Threshold("quarantined_new", "", "0", mode="quarantine", main=True, late=True, help="newly in quarantine"),
    ],
)
main = CHECK.main
