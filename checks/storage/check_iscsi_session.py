# SPDX-License-Identifier: Apache-2.0
"""Are this host's iSCSI sessions logged in to every target and portal they should use?

It reads /sys/class/iscsi_session and iscsi_connection, without any right, and looks for iscsid, without which no software
session recovers. FAILED is a warning until the session's own recovery_tmo has passed, then critical; FREE is critical for a
session that was seen before. A target with fewer sessions than before is a warning for a week (`--remember`); one without any
is detached, as far as a host can know: `--expect TARGET[=N]` names a target (or a glob) that must have N sessions logged in,
`--portal ADDRESS[:PORT]` a portal that must have one. `--paths` are those of a Eucalyptus zone, as `euctl
ZONE.storage.ncpaths` shows them (on a storage controller `scpaths`; where that is not set, the array's `sanhost` if it is an
address): each must have a session while there is any, and by the network device that STORAGE_INTERFACES in eucalyptus.conf
gives its interface. They are given by hand, as a node has no credentials to ask the cloud; check_euca_properties tells when
they change there. A disk that stayed offline when its session came back is critical. A session without a disk for more than a
minute is left over (`stale_age`). Under multipath recovery_tmo is how long I/O waits before another path is taken
(`failover`). A host that may have no session: `--absent-state ok`. A session that was lost and came back between two runs is
not seen: the kernel counts no recoveries.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Threshold, duration, expect
from nephoscope.probes import iscsi_session

STATES = {"ok": OK, "recovering": WARNING, "failed": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add(
        "--expect",
        repeat=True,
        type=expect,
        metavar="TARGET[=N]",
        help="a target that must have N sessions (default 1)",
    )
    add("--portal", repeat=True, type=iscsi_session.place, metavar="ADDRESS[:PORT]", help="a portal that must be used")
    add(
        "--paths",
        default=(),
        type=iscsi_session.paths,
        metavar="[IFACE:]ADDRESS,…",
        help="paths of the zone (ncpaths, scpaths)",
    )
    add("--remember", type=duration, default=604800.0, looks=False, help="how long a session that is gone is missed")


def probe(options, run):
    return iscsi_session.survey(run, [*options.expect, *options.portal], options.remember, options.paths)


def judge(survey, options):
    yield from (session for session in survey.sessions if isinstance(session, Failed))
    used = [session for session in survey.good if session.health == "ok"]
    for glob, count in options.expect:
        there = sum(fnmatchcase(session.target, glob) for session in used)
        if there < count:
            yield Finding(CRITICAL if survey.counted else UNKNOWN, glob, f"has {there} of {count} sessions logged in")
    for place in (*options.portal, *survey.paths):
        if isinstance(place, Failed):
            yield place
        elif not any(place.serves(session) for session in used):
            yield Finding(CRITICAL if survey.counted else UNKNOWN, place.of, "has no session logged in")
    for target, most in sorted(survey.most.items()):
        there = sum(session.target == target for session in survey.good)
        if there < most and survey.counted:
            yield Finding(WARNING, target, f"has {there} sessions, {most} before")
    if isinstance(survey.daemon, Failed):
        yield survey.daemon
    elif survey.daemon is False:
        yield Finding(CRITICAL, "iscsid", "does not run: no session will recover")
    for session in survey.good:
        yield Finding(STATES[session.health], session.name, session.said or "is logged in")
        if session.ill:
            yield Finding(STATES[session.disk], session.name, session.ill)
        yield Metric("stale_age", session.idle, session.name)
        if session.timeout is not None:
            yield Metric("failover", session.timeout, session.name)
    if survey.counted:
        yield Finding(OK, "", f"{len(used)} sessions logged in")
        yield Metric("sessions", len(survey.sessions))
        yield Metric("failed", sum(session.health in ("recovering", "failed") for session in survey.good))
        yield Metric("stale", sum(session.state == "LOGGED_IN" and not session.disks for session in survey.good))


RUNBOOK = """
By hand: `iscsiadm -m session -P 3` (root), `grep . /sys/class/iscsi_session/*/{targetname,state,recovery_tmo}`, `journalctl
-u iscsid -n 50`, `dmesg -T | grep -i -e connection -e iscsi`. FAILED or FREE: does the portal answer (`nc -zv ADDRESS 3260`),
by the right interface (`ip route get ADDRESS`), with the full MTU (check_path_mtu)? Then the target: check_iscsi_target on
the storage controller, check_san_health for an array. Log in anew: `iscsiadm -m node -T TARGET -p PORTAL --login`; log-in
refused: CHAP, or the target's list of initiators. iscsid does not run: `systemctl start iscsid`, which touches no session
that works. Left over without a disk: is a guest or volume using it (`virsh domblklist`)? If not, `iscsiadm -m session -r N
-u`. A disk that stays offline while its session is logged in: look into dmesg what it did, then `echo running >
/sys/block/sdX/device/state`. recovery_tmo: node.session.timeo.replacement_timeout in iscsid.conf, or fast_io_fail_tmo in
multipath.conf, 5 to 15 s. Fewer sessions than before, on purpose: run it once with `--remember 0 --save` as the monitoring
user. What is left of each LUN: check_multipath.
"""

CHECK = Check(
    *(options, probe, judge),
    keep=lambda survey: survey.kept,
    runbook=RUNBOOK,
    thresholds=[
        Threshold("sessions", main=True, help="sessions, logged in or not"),
        Threshold("failed", help="sessions that recover, or were given up"),
        Threshold("stale", help="sessions logged in that have no disk"),
        Threshold("stale_age", "s", "60", print="top", help="how long a session was seen without a disk"),
        Threshold("failover", "s", "30", print="top", help="recovery_tmo of a session under multipath"),
    ],
)
main = CHECK.main
