# SPDX-License-Identifier: Apache-2.0
"""Does every multipath device still have all the paths it was given, by more than one adapter and more than one port?

The kernel's tree (/sys/block/dm-*) tells which maps there are, by which devices, and the state of each device; multipathd is
asked `show maps json` for the states of the paths, which the kernel does not show: by its socket, which answers everybody,
else by sudo. Without either the check says what the kernel shows and is UNKNOWN. A path is usable when device-mapper holds it
active, multipathd's checker found it ready or ghost (the passive port of an array), and its device runs.

A map with fewer usable paths than an earlier run saw is a warning for a week (`--remember`), whatever became of the missing
ones. `--expect NAME[=N]` names a map, or its WWID, that must be there, with N usable paths. A host that may have no map at all
(a compute node without guests): `--absent-state ok`. A LUN that has one path by design: `-c paths/NAME=1:`; one adapter or
one port by design: `-w adapters=~: -w targets=~:`. Eucalyptus gives each volume a path for every address in its zone's
`ncpaths` (`scpaths` on a storage controller): of four, `-w paths=4:`. Adapters and ports are told by Fibre Channel and its
like; of iSCSI see check_iscsi_session. Serves multipath-tools 0.6.2 and later. Where systemd starts multipathd by its socket,
asking starts it; it is asked only where there are maps.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Sudo, Threshold, duration, expect
from nephoscope.probes import multipath


def options(add):
    add(
        "--expect",
        repeat=True,
        type=expect,
        metavar="NAME[=N]",
        help="a map (or WWID) that must be there, with N paths",
    )
    add("--remember", type=duration, default=604800.0, looks=False, help="how long a path that vanished is missed")


def probe(options, run):
    return multipath.survey(run, [name for name, _ in options.expect], options.remember)


def judge(host, options):
    yield from (found for found in (host.unheard, *host.maps) if isinstance(found, Failed))
    state, said = (CRITICAL, "does not exist") if host.named else (UNKNOWN, "was not found")
    yield from (Finding(state, name, said) for name, _ in options.expect if name not in host.names)
    for found in host.good:
        wanted = max((count for name, count in options.expect if name in (found.name, found.wwid)), default=0)
        yield from _map(found, host.unheard is None, max(found.most, wanted) - len(found.paths))
        yield Metric("suspended", found.suspended, found.name)
    if host.named:
        yield Metric("maps", len(host.maps))
    if host.counted:
        usable = sum(found.usable for found in host.good)
        yield Finding(OK, "", f"{len(host.maps)} maps, {usable} paths usable")
        yield Metric("paths_ok", usable)
        yield Metric("paths_failed", sum(len(found.bad) for found in host.good))


def _map(found, heard, missing):
    if found.doubts or (heard and not found.known):
        yield Finding(UNKNOWN, found.name, found.doubts or "is not known to multipathd")
    bad = f": {found.complaints}" if found.complaints else ""
    if len(found.bad) == len(found.paths):
        waits = ("; its I/O fails", "; its I/O waits, and guests hang")[found.waits] if found.known else ""
        yield Finding(CRITICAL, found.name, f"has no usable path{bad}{waits}")
    elif not found.counted and bad:
        yield Finding(WARNING, found.name, f"has bad paths{bad}")
    elif found.counted:
        lost = f", {missing} missing" if missing > 0 else ""
        words = f"has {found.usable} of {len(found.paths) + max(0, missing)} paths{bad}{lost}"
        yield Finding(WARNING if bad or lost else OK, found.name, words)
        yield from (Metric(name, n, found.name) for name in ("adapters", "targets") if (n := getattr(found, name)))
    if found.counted:
        yield Metric("paths", found.usable, found.name)
    if found.known:
        yield Metric("path_faults", found.faults, found.name)


RUNBOOK = """
By hand: `multipath -ll` (it may hang where a path is dead: `multipathd show topology` does not), `dmesg -T | grep -i -e sd
-e rport -e 'connection.*error'`, `multipathd show paths format '%d %t %T %o %N %R'`. One adapter's paths all gone: its cable,
optic, switch port (check_fc_hba, check_iscsi_session, check_interface). One port of the array gone from every host: the array's
controller (check_san_health). One LUN's paths alone: its mapping on the array. No path at all and I/O waits: do not reboot
before the fabric is mended, the guests go on by themselves; to give up on it, `multipathd disablequeueing map NAME` turns the
wait into errors. Paths that exist and stay failed: `multipathd reinstate path sdX`; missing ones: `iscsiadm -m session -R` or
`rescan-scsi-bus.sh`. Suspended: a reload that did not end, `dmsetup info NAME`, `dmsetup resume NAME` if no tool runs.
path_faults grow while all is well between: a flapping link, look at error counters of port and switch. A LUN
that was given fewer paths on purpose: run it once with `--remember 0 --save` as the monitoring user, or wait for --remember.
"""

CHECK = Check(
    *(options, probe, judge),
    needs=[Sudo(*multipath.LINE)],
    keep=lambda host: host.kept,
    runbook=RUNBOOK,
    thresholds=[
        Threshold("maps", help="multipath devices"),
        Threshold("paths_ok", help="usable paths of all maps"),
        Threshold("paths_failed", help="paths that can't be used, each of which is a WARNING"),
        Threshold("paths", "", None, "2:", main=True, print="top", help="usable paths of a map"),
        Threshold("adapters", "", "2:", print="top", help="the host's adapters that a map's usable paths go by"),
        Threshold("targets", "", "2:", print="top", help="the array's ports that a map's usable paths lead to"),
        Threshold("suspended", "s", "30", "90", print="top", help="how long a map has been seen suspended"),
        Threshold("path_faults", "", "0", print="top", late=True, help="failures of a map's paths in 5 min"),
    ],
)
main = CHECK.main
