# SPDX-License-Identifier: Apache-2.0
"""Is the node controller serving, polled by its cluster, and is its hypervisor answering?

Serves Eucalyptus 3.1 to 5.x, whose node controllers are all the same httpd on 8775. It serves one client at a time: the check
asks once, says that it will not stay, and is gone; do not run it more often than once a minute. From afar it sees that the
module is loaded, and says that the state is not visible. On the node (without `-H`, or with `--local`) nc-stats tells when the
cluster controller last asked, and what was free then; libvirt, KVM, and in EDGE mode eucanetd and its dhcpd, are looked at as
well. Where nc-stats may not be read its age is told all the same. What is free has no default limit: a full node is no fault.
"""

from __future__ import annotations

from nephoscope.base import ABSENT, Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, BadOption, Check, Finding, Group, Metric, Sudo, Threshold
from nephoscope.probes import euca_daemon, euca_nc, euca_sensor, heartbeat

LOCAL = ("process", "poll", "room", "state", "libvirt", "kvm", "network")


def options(add):
    heartbeat.options(add)


def probe(options, run):
    if wrong := heartbeat.unseen(options, LOCAL):
        raise BadOption(wrong)
    return euca_nc.look(run, options)


def judge(found, options):
    yield from _failures(found, options)
    if found.service:
        lacks, well = found.service
        yield Finding(CRITICAL if lacks else OK, euca_nc.SERVICE, lacks or well)
        yield from () if lacks else (Finding(OK, "", f"{euca_nc.SERVICE} {well}"),)
        yield Metric("time", found.serving.seconds)
    for one in (*found.daemons, found.dhcp):
        if isinstance(one, euca_daemon.Running):
            yield Finding(OK if one.alive else CRITICAL, one.name, one.words)
    if found.network is not None:
        yield Finding(OK if found.network in euca_nc.NETWORKS else UNKNOWN, "network", found.mode)
    if isinstance(found.poll_age, float):
        yield Metric("poll_age", found.poll_age, detail="no poll since the node started" if found.never else "")
    if isinstance(found.stats, euca_nc.Stats) and not isinstance(found.stats.room, Failed):
        for name, room in found.stats.room.items() if "room" in options.mode else ():
            yield Metric(f"{name}_free", room.free, most=room.most)
    if isinstance(found.state, euca_sensor.State):
        state = {"ENABLED": OK, "DISABLED": CRITICAL}.get(found.state.word, UNKNOWN)
        yield Finding(state, "state", f"is {found.state.word}{': it offers no room' if state == CRITICAL else ''}")
    if isinstance(found.libvirt, float):
        yield Metric("libvirt_time", found.libvirt)
    if isinstance(found.kvm, str):
        yield Finding(CRITICAL if found.kvm else OK, "kvm", found.kvm or "ready")


def _failures(found, options):
    room = found.stats.room if isinstance(found.stats, euca_nc.Stats) and "room" in options.mode else None
    for part in dict.fromkeys(part for part in (*found, *found.daemons, room) if isinstance(part, Failed)):
        if part is found.stats and part.kind == ABSENT and found.never and "room" not in options.mode:
            continue  # told as the age of the last poll
        off = part.kind == ABSENT and part.of.startswith("euca.") and not options.mode_given
        yield Finding(OK, part.of, f"is not there: {part.cure or part.error}") if off else part


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("http",),
    needs=[Sudo(*euca_nc.STATS), Group(euca_sensor.GROUP)],
    answers=("W12", "W39", "W43", "W45", "W46", "W48"),
    modes={
        "service": "it is deployed and answers in time",
        "process": "its httpd runs (on the node)",
        "poll": "age of its cluster controller's last request (on the node)",
        "room": "free cores, memory and disk (on the node)",
        "state": "the state that its sensor tells (on the node)",
        "libvirt": "libvirt answers (on the node)",
        "kvm": "CPU and kernel offer KVM (on the node)",
        "network": "eucanetd and dhcpd, in EDGE mode (on the node)",
    },
    thresholds=[
        # Its one worker is in libvirt when it is slow: LIBVIRT_TIMEOUT is 5 s.
        Threshold("time", "s", "5", mode="service", main=True, help="time until the whole page was there"),
        Threshold("poll_age", "s", "600", "1200", mode="poll", help="time since its cluster controller last asked"),
        Threshold("cores_free", mode="room", help="cores that are free for instances"),
        Threshold("mem_free", "B", mode="room", help="memory that is free for instances"),
        Threshold("disk_free", "B", mode="room", help="disk that is free for instances"),
        Threshold("libvirt_time", "s", "2", "5", mode="libvirt", help="time in which libvirt lists its guests"),
    ],
    runbook="""
By hand: `curl -s -H 'Connection: close' http://NC:8775/axis2/services`; on it `sudo cat /run/eucalyptus/nc-stats`,
`systemctl status eucalyptus-node eucanetd libvirtd`, `virsh -r list`, the end of nc.log, axis2c.log and httpd-node_error_log.
Silent: another client holds its one worker (`ss -tn sport = :8775`), or it waits for libvirt. Refused: httpd is down.
Not polled: is the cluster controller up (check_euca_cc), does it know this node (NODES in its eucalyptus.conf), are the clocks
within 20 s and the keys the same (axis2c.log: `[rampart][eucalyptus-verify]`)? Instances go on meanwhile.
eucanetd does not run: in EDGE mode the node offers no room until it does, though its own state stays ENABLED. dhcpd: eucanetd
starts it; its log says why it could not. Network mode: VNET_MODE in eucalyptus.conf. DISABLED: somebody switched the node off
(`euserv-modify-service`, up to 4.2 `euca-modify-service`), and it stays off when it is restarted.
libvirt or KVM: check_libvirt names the link that is broken; restarting libvirt stops no guest.
""",
)
main = CHECK.main
