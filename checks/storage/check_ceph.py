# SPDX-License-Identifier: Apache-2.0
"""Is the Ceph cluster behind volumes and objects healthy, complete, and not filling up?

Ceph's own client asks: `ceph status` always, `ceph health detail` where there is something to tell, `ceph osd df` for the
modes osds and capacity, `ceph df` for `--pool`, `ceph versions` for `--one-version`: two calls while all is well, each 0.3 s
of CPU, for the client is a Python program. It can run on any host with `ceph`, a ceph.conf and a key, and once for a cluster;
of several clusters each is a service with its own `--conf` and `--keyring`. Where cephadm keeps all in containers: `apt-get
install ceph-common` there, and `ceph config generate-minimal-conf` writes the ceph.conf.
Serves Ceph 12 (Luminous) and later. Least rights, in all of them:
`ceph auth get-or-create client.nagios mon 'allow r' mgr 'allow r' -o /etc/ceph/ceph.client.nagios.keyring`
(mode 0640, group of the agent). Without `mgr 'allow r'` the OSDs can't be asked, which is UNKNOWN.

HEALTH_OK is not believed alone: it is said without any manager, OSD or pool, and of an OSD that died after it was taken out.
Every code is told, worst first. HEALTH_ERR, and codes that mean that I/O stands or data are damaged (PG_AVAILABILITY,
OSD_FULL, POOL_FULL, …), are CRITICAL at once. Other warnings count when the cluster has not been well for `--hold`, be it
that one code follows another, or that it was well in between for less than that; until then line 1 tells them beside an OK.
One OSD that is down is such a warning, however few there are; several at once, and more than 10 %, are CRITICAL. A mode asked
for alone tells the codes that belong to it. `--ignore CODE[=DATE]` takes one code out, and what that code alone tells;
`--maintenance DATE` expects noout and the like until then. What is muted in the cluster is shown, and for how long. Without
an active manager numbers of placement groups and space stand still: they are UNKNOWN then, and it is CRITICAL. `--expect
osd=N` (up), mon=N (in quorum), mgr=N, mds=N, rgw=N: fewer is CRITICAL. What was there and went missing is a warning for a
week (`--remember`).
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Grant, Metric, Preset, Threshold
from nephoscope.plugin.options import directory, duration
from nephoscope.probes import ceph

STATES = {"ok": OK, "degraded": WARNING, "failed": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add("--user", type=ceph.user, default="client.nagios", metavar="NAME", help="user of Ceph who asks")
    add(
        "--keyring",
        type=directory,
        default="",
        metavar="FILE",
        help="file with its key (default: /etc/ceph/ceph.NAME.keyring)",
    )
    add("--conf", type=directory, default="", metavar="FILE", help="configuration (default: /etc/ceph/ceph.conf)")
    add(
        "--expect", repeat=True, type=ceph.wanted, metavar="KIND=N", help="at least N of osd, mon, mgr, mds or rgw work"
    )
    add("--pool", repeat=True, metavar="NAME", help="a pool that must be there, with room")
    add(
        "--ignore", repeat=True, type=ceph.waiver, looks=False, metavar="CODE[=DATE]", help="a code that does not count"
    )
    add(
        "--maintenance",
        type=ceph.until,
        default=0.0,
        looks=False,
        metavar="DATE",
        help="until when flags like noout are meant, UTC",
    )
    add(
        "--hold",
        type=duration,
        default=600.0,
        looks=False,
        help="how long the cluster must not be well before warnings count",
    )
    add("--remember", type=duration, default=604800.0, looks=False, help="how long what went missing is missed")
    add("--one-version", flag=True, help="all daemons must run the same version")


def probe(options, run):
    client = ceph.Client(options.user, options.keyring, options.conf)
    words = {"pools": options.pool, "expect": options.expect, "remember": options.remember}
    words.update(ignore=options.ignore, maintenance=options.maintenance, hold=options.hold)
    return ceph.survey(run, client, options.mode, versions=options.one_version, **words)


def judge(cluster, options):
    yield from cluster.failures
    granted = (cluster.at, options.ignore, options.maintenance, options.hold)
    notes = [cluster.summary]
    for trouble in cluster.asked(options.mode):
        health, note = trouble.stands(*granted)
        note = f" ({note})" if note else ""
        notes += [f"{trouble.of} {trouble.text}{note}"] if note and health == "ok" else []
        yield Finding(STATES[health], trouble.of, f"{trouble.text}{note}{trouble.more}")
    yield from (Metric(item.name, item.value, item.of, item.least, item.most) for item in cluster.numbers)
    yield Finding(OK, "", ", ".join(notes))


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    needs=[Grant(f"a key of its own: `ceph auth get-or-create client.nagios {ceph.CAPS}`")],
    keep=lambda cluster: cluster.kept,
    modes={
        "health": "what does the cluster itself say",
        "osds": "is every OSD up and in",
        "capacity": "is there room, in all and on the fullest OSD",
        "pgs": "are the placement groups active and clean",
        "monitors": "are the monitors in quorum, and managers there",
    },
    presets={
        name: Preset(f"{whose}: pool {pool}", options={"pool": (pool,)})
        for name, whose, pool in (
            ("cinder", "volumes of Cinder", "volumes"),
            ("cinder_backup", "backups of Cinder", "backups"),
            ("glance", "images of Glance", "images"),
            ("nova", "disks of Nova's guests", "vms"),
            ("eucalyptus", "volumes and snapshots of Eucalyptus", "rbd"),
        )
    },
    thresholds=[
        Threshold("osd_up", mode="osds", help="OSDs that are up"),
        Threshold("osd_in", mode="osds", help="OSDs that hold data"),
        Threshold("osd_down", "%", mode="osds", main=True, help="OSDs that are down, as a share"),
        Threshold(
            "osds_down_together", "%", None, "10", mode="osds", help="the same, but 0 while only one OSD is down"
        ),
        Threshold("mons", mode="monitors", main=True, help="monitors in quorum"),
        Threshold(
            "muted",
            "s",
            "604800",
            mode="health",
            print="worst",
            help="how long ago a code was first seen muted without an end",
        ),
        Threshold("slow", mode="health", help="operations that are slow"),
        Threshold("pgs_bad", mode="pgs", main=True, help="placement groups that are not active and clean"),
        Threshold("degraded", "%", mode="pgs", help="copies of objects that are missing"),
        Threshold("misplaced", "%", mode="pgs", help="copies of objects that wait to be moved"),
        Threshold("used", "%", "75", "85", mode="capacity", main=True, help="space in use"),
        Threshold(
            "osd_used",
            "%",
            "75",
            "85",
            mode="capacity",
            print="top",
            help="use of the fullest OSD: one that is full stops all writes",
        ),
        Threshold("pool_used", "%", "75", "85", mode="capacity", print="each", help="use of a pool of --pool"),
        Threshold("read_rate", "B", mode="capacity", help="read by clients"),
        Threshold("write_rate", "B", mode="capacity", help="written by clients"),
        Threshold("recovery_rate", "B", mode="capacity", help="copied by the cluster itself"),
        Threshold(
            "full_in",
            "s",
            "604800:",
            "86400:",
            mode="capacity",
            late=True,
            help="time until it is full, as it grew in the last day",
        ),
    ],
    runbook="""
By hand: `ceph -s; ceph health detail; ceph osd df tree; ceph osd tree down; ceph pg dump_stuck`. No monitor answers: are most
of them running, do their clocks agree, can this host reach ports 3300 and 6789? MGR_DOWN: guests go on, and nothing that is
counted can be believed: `systemctl start ceph-mgr.target` on a manager's host (with cephadm `systemctl start
ceph-FSID.target`), before anything else.
PG_AVAILABILITY: guests hang. Start the OSDs that `ceph pg PGID query` says it waits for. OSD_DOWN: `systemctl status
ceph-osd@N` (ceph-FSID@osd.N) on its host (`ceph osd find N`), its log, the disk below (check_disk_health). Out: someone's
work (`ceph osd in N`), or it died more than 10 min ago. OSD_FULL: writes stand; `ceph osd set-full-ratio 0.97` gives an hour,
then delete or add OSDs; one OSD alone: `ceph osd reweight N 0.9`, balancer. POOL_FULL: its quota, `ceph osd pool get-quota
POOL`. PG_DAMAGED, scrub errors: `rados list-inconsistent-obj PGID`, then `ceph pg repair PGID`; look for the disk that lies.
OBJECT_UNFOUND: bring back the OSDs that were last down, never `mark_unfound_lost` before. SLOW_OPS: one OSD always named is a
bad disk; many, the network. noout that nobody needs any more: `ceph osd unset noout`. RECENT_CRASH: `ceph crash ls-new`,
`ceph crash archive-all`. Muted: `ceph health unmute CODE`. OSDs, monitors or pools fewer than before, on purpose: run it once
with `--remember 0 --save` as the monitoring user, else it is missed until --remember has passed.
""",
)
main = CHECK.main
