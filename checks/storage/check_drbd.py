# SPDX-License-Identifier: Apache-2.0
"""Is every DRBD resource connected and up to date on both sides, and primary on one side only?

DRBD 8.3 and 8.4 are read from /proc/drbd, without any right; DRBD 9 is asked by `drbdsetup status --json`, by sudo, once, and
only where the kernel has DRBD already: drbdsetup would load it. StandAlone (a split brain, or a connection that an operator
cut), a disk that is gone or failed, a copy that is inconsistent and not being synchronised, lost quorum, I/O held back and two
primaries are CRITICAL; a peer that is not connected, a synchronisation or verification, and a copy that lags are WARNING. A
word that is not known is UNKNOWN. Each side knows its own half of a broken connection: let the check run on both hosts.

`--expect NAME` says which resources must be up: by name, or by device as "drbd1". Up to 8.4 the names are those of udev's links
in /dev/drbd/by-res; where there are none, devices alone are known. `--role primary` belongs on the host that should have the
resources (Eucalyptus 3.x: the Walrus that is ENABLED), `--role secondary` on the other; `--role one` asks that some side is
primary, as a pair that may fail over has it. DRBD 9 that promotes by itself is primary only while the device is open.
What was up before and is not any more is a warning for a week (`--remember`).
Objects are RESOURCE, RESOURCE/VOLUME, RESOURCE/PEER and RESOURCE/PEER/VOLUME.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Sudo, Threshold, duration
from nephoscope.plugin.text import human
from nephoscope.probes import drbd

STATES = {"ok": OK, "degraded": WARNING, "failed": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add("--expect", repeat=True, metavar="NAME", help="a resource, or device as drbd1, that must be up")
    add("--role", choices=("primary", "secondary", "one"), help="what this host should be; one: some side is primary")
    add("--dual-primary", flag=True, help="two primaries are meant (a cluster file system, live migration)")
    add("--remember", type=duration, default=604800.0, looks=False, help="how long a resource that is gone is missed")


def probe(options, run):
    return drbd.survey(run, options.remember)


def judge(survey, options):
    yield from survey.failures
    for name in (name for name in options.expect if not survey.has(name)):
        yield Finding(CRITICAL if survey.named else UNKNOWN, name, survey.lack)
    for name in survey.gone.keys() - set(options.expect):
        yield Finding(WARNING, name, f"is no longer up, it was {human(survey.gone[name], 's')} ago")
    if not survey.resources and not options.expect:
        yield Failed(ABSENT, "", "", f"{survey.lack}: name by --expect what should be up")
    for resource in survey.resources:
        for health, of, text in resource.conditions():
            yield Finding(STATES[health], of, text)
        yield from _role(resource, options)
        for copy in resource.copies:
            if copy.counted:
                yield Metric("outofsync", copy.out_of_sync, copy.of)
            if copy.done is not None:
                yield Metric("resync", copy.done, copy.of, 0, 100)
    if survey.resources:
        yield Finding(OK, "", f"{len(survey.resources)} resources of DRBD {survey.version} are up")


def _role(resource, options):
    primaries = resource.primaries
    if len(primaries) > 1 and not options.dual_primary:
        yield Finding(CRITICAL, resource.name, f"has {len(primaries)} primaries: {', '.join(primaries)}")
    if options.role == "secondary" and "this host" in primaries:
        yield Finding(WARNING, resource.name, "is primary here, and should be secondary")
    elif options.role == "primary" and primaries and "this host" not in primaries:
        yield Finding(WARNING, resource.name, f"is primary on {primaries[0]}, and should be here")
    elif options.role in ("primary", "one") and not primaries:
        known = options.role == "primary" or resource.heard
        yield Finding(CRITICAL if known else UNKNOWN, resource.name, "has no primary that is known")


RUNBOOK = """
By hand: `cat /proc/drbd` (8.3, 8.4), `drbdadm status` (9), `drbdadm cstate all; drbdadm dstate all; drbdadm role all`,
`dmesg -T | grep -i drbd`. Look at both hosts before you do anything.
StandAlone: "Split-Brain detected" in the log of the kernel says that both sides have written. Decide whose data are lost; there
`drbdadm secondary RES; drbdadm connect --discard-my-data RES` (8.3: `drbdadm -- --discard-my-data connect RES`), on the
other `drbdadm connect RES`. Without that line somebody disconnected it: `drbdadm connect RES`.
Two primaries: stop the service on the side whose data are to go, at once; each write makes it worse.
Connecting, WFConnection: is the other host up, does its port answer (7788 and up, `drbdadm dump RES`), a firewall?
Diskless, Failed: the disk below gave an error: `dmesg`, check_disk_health, check_lvm; a volume group that was not
active at boot: `vgchange -ay`, `drbdadm attach RES`. Inconsistent without a synchronisation: `drbdadm connect RES`; do not
force it to primary. Outdated: it catches up when it connects. Out of sync though connected: a verification found blocks that
differ: `drbdadm disconnect RES; drbdadm connect RES` copies them. Lost quorum, I/O suspended: bring the peers back.
I/O made to fail: somebody ran `drbdadm secondary --force`; end what still has the device open. No longer up: `drbdadm up
RES`; taken down for good: run the check once with `--remember 0 --save` as the monitoring user.
Walrus (Eucalyptus 3.x): the ENABLED one must be primary; both secondary while it is ENABLED: check_euca_services, restart it.
"""

CHECK = Check(
    *(options, probe, judge),
    runbook=RUNBOOK,
    needs=[Sudo(*drbd.LINE)],
    keep=lambda survey: survey.kept,
    answers=("W21",),
    thresholds=[
        Threshold("outofsync", "B", "0", main=True, help="bytes known to differ from a peer's"),
        Threshold(
            "resync", "%", print="apart", late=True, help="how far a synchronisation or verification that runs has come"
        ),
    ],
)
main = CHECK.main
