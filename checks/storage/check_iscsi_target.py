# SPDX-License-Identifier: Apache-2.0
"""Is the iSCSI target of this host answering, with every exported unit backed by something?

It asks tgtd by tgtadm (1.0.85; root by two lines of sudoers), and reads LIO's tree in configfs (Linux 3.15 and later, no
right). Without `--server` LIO is looked at when it has a target; tgtd always, but where LIO serves and no run has seen a
tgtd. A tgtd that hangs on a dead disk or is stopped answers nobody: initiators wait, and new attachments fail. The store of
every unit is looked at in a child that may hang; the monitoring user must be able to search its directory. Fewer targets than
an earlier run saw is a warning for `--remember` (an hour: clouds take targets away with their volumes; `0` for never).
`--expect IQN` or a glob, with `=N` for how many, names what must be served. Cost: two tgtadm, one child for each directory.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Sudo, Threshold, duration, expect
from nephoscope.probes import iscsi_target, tgt


def options(add):
    add(
        "--expect",
        repeat=True,
        type=expect,
        metavar="IQN|GLOB[=N]",
        help="a target that must be served, or how many (default 1)",
    )
    add("--server", repeat=True, choices=iscsi_target.SERVERS, help="what serves here (default: what is found)")
    add("--remember", type=duration, default=3600.0, looks=False, help="how long a target that is gone is missed")
    add("--period", type=duration, default=3600.0, looks=False, help="how long a restart of tgtd counts")


def probe(options, run):
    return iscsi_target.survey(run, tuple(dict.fromkeys(options.server)), options.remember, options.period)


def judge(survey, options):
    yield from (server for server in survey.servers if isinstance(server, Failed))
    if survey.portals:
        yield survey.portals
    for glob, count in options.expect:
        there, hidden = (sum(fnmatchcase(name, glob) for name in names) for names in (survey.serving, survey.left_out))
        text = f"has {there} of {count} targets that serve" + f", {hidden} left out by a filter" * bool(hidden)
        bad = CRITICAL if survey.whole and there + hidden < count else UNKNOWN
        # What is not met belongs to no object: a filter for targets would drop it.
        yield Finding(OK, glob, text) if there >= count else Finding(bad, "", f"{glob} {text}")
    for server in survey.good:
        yield from (Finding(CRITICAL, name, text) for name, text in server.troubles)
    yield from (Finding(OK, name, "serves") for name in survey.serving)
    for (name, number), store in survey.stores.items():
        if isinstance(store, Failed):
            yield store
        elif store.said:
            yield Finding(CRITICAL, name, f"LUN {number} {store.said}")
        else:
            yield Finding(OK, name, f"LUN {number} {'lies on' if store.seen else 'is not looked at:'} {store.path}")
    if survey.good:
        yield Metric("answer", max(server.seconds for server in survey.good))
    if survey.restarts is not None:
        yield survey.restarts if isinstance(survey.restarts, Failed) else Metric("restarts", survey.restarts)
    if survey.whole:
        if len(survey.targets) < survey.most:
            yield Finding(WARNING, "", f"{len(survey.targets)} targets, {survey.most} before")
        yield Finding(OK, "", f"{len(survey.serving)} targets serve {survey.luns} units")
        yield Metric("targets", len(survey.targets))
        yield Metric("luns", survey.luns)
        yield Metric("initiators", survey.initiators)


RUNBOOK = """
By hand: `tgtadm --lld iscsi --mode target --op show` (root), `targetcli ls` for LIO, `ss -ltn sport = :3260`.
No answer: `ps -o pid,stat,wchan:20,lstart -C tgtd`; T is stopped (`kill -CONT PID`), D waits for a disk: `dmesg -T | tail`;
check_lvm, check_multipath and check_io_latency say which. Not running: `systemctl status tgt` (tgtd on Red Hat),
`journalctl -u tgt`, `journalctl -k | grep -i oom`; a fresh tgtd knows only what targets.conf tells: Cinder and Eucalyptus must
export anew, so look at the log of the volume service before you detach anything. Store lost: `lvs -a`, `ls -l PATH`; an
inactive volume comes back with `lvchange -ay VG/LV`. A removed file is still open in tgtd: do not restart it, copy the file
from `/proc/PID/fd`. Exports no unit: tgt-admin found no store when it began; bring that back, `tgt-admin --update NAME`.
Without a portal: another server had port 3260 when tgtd began (`ss -ltnp sport = :3260`); end that, restart tgtd.
Offline: somebody set it so (`tgtadm --lld iscsi --mode target --op update --tid N --name state --value ready`; LIO:
`echo 1 > tpgt_1/enable`). Fewer targets: compare with the cloud's attached volumes. On purpose: it is told for --remember only.
"""

CHECK = Check(
    *(options, probe, judge),
    keep=lambda survey: survey.kept,
    needs=[Sudo(*tgt.SHOW), Sudo(*tgt.PORTALS)],
    runbook=RUNBOOK,
    thresholds=[
        Threshold("answer", "s", "2", "5", main=True, help="time that the slowest server takes to list its targets"),
        Threshold("targets", help="targets"),
        Threshold("luns", help="units that they export"),
        Threshold("initiators", help="hosts that are logged in"),
        Threshold("restarts", "", "0", late=True, help="restarts of tgtd that were seen within the period"),
    ],
)
main = CHECK.main
