# SPDX-License-Identifier: Apache-2.0
"""Does the whole hypervisor chain answer: message bus, KVM, libvirt, guests?

A cloud whose libvirt died silently starts no server, and its logs point at innocent ones; so each link is asked by itself,
and the first that fails is the one to mend. The bus must answer a greeting, libvirt must list its guests read-only, the CPU
must offer virtualisation and the kernel /dev/kvm. A guest paused on an I/O error has lost its storage and stands still until
somebody resumes it. Guests paused for a moment by a snapshot or a migration are counted apart. A hypervisor that goes without
KVM on purpose leaves the link out by `--mode`.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, Check, Finding, Metric, Threshold
from nephoscope.probes import dbus, libvirt

PASSING = ("migration", "save", "dump", "from-snapshot", "shutting-down", "snapshot", "starting", "postcopy")
OFF = "switched off in the firmware, or not passed on to this virtual machine"


def options(add):
    add("--uri", default="qemu:///system", help="libvirt's connection URI (default qemu:///system)")
    add("--bus", default=dbus.SYSTEM, metavar="SOCKET", help=f"the message bus (default {dbus.SYSTEM})")


def probe(options, run):
    return libvirt.chain(run, options.mode, options.uri, options.bus)


def judge(chain, options):
    yield from (link for link in chain if isinstance(link, Failed))
    if isinstance(chain.bus, float):
        yield Finding(OK, "bus", "answers")
    if isinstance(chain.kvm, libvirt.Kvm):
        yield _kvm(chain.kvm)
    if isinstance(chain.guests, libvirt.Guests):
        if "libvirt" in options.mode:
            yield Metric("answer", chain.guests.seconds)
        if "guests" in options.mode:
            yield from _guests(chain.guests.guests)


def _kvm(kvm):
    if not kvm.device and kvm.flag and not kvm.module.startswith("kvm_"):
        return Finding(CRITICAL, "kvm", f"no /dev/kvm: the CPU has {kvm.flag}, its module is not loaded")
    if kvm.flag == "":
        return Finding(CRITICAL, "kvm", f"the CPU shows neither vmx nor svm: {OFF}")
    if not kvm.device:
        return Finding(CRITICAL, "kvm", "no /dev/kvm")
    return Finding(OK, "kvm", "ready")


def _guests(guests):
    count = dict.fromkeys(("running", "paused", "io_error", "passing", "shutoff", "crashed"), 0)
    stuck = []
    for guest in guests:
        name = _kind(guest)
        if name is None:
            yield Finding(UNKNOWN, guest.name, f"is in a state that is not understood: {guest.state}")
            continue
        count[name] += 1
        if name == "io_error":
            stuck.append(guest.name)
        elif name in ("paused", "crashed"):
            yield Finding(OK, guest.name, f"{guest.state} ({guest.reason or 'no reason'})")
    if stuck:
        more = f" and {len(stuck) - 5} more" if len(stuck) > 5 else ""
        yield Finding(CRITICAL, "", f"paused on an I/O error: {', '.join(sorted(stuck)[:5])}{more}")
    for name, number in count.items():
        yield Metric(name, number)


def _kind(guest):
    """Return what a guest is counted as, None for a state that nobody knows."""
    if guest.state == "paused":
        if guest.reason in PASSING:
            return "passing"
        return {"io-error": "io_error", "crashed": "crashed"}.get(guest.reason, "paused")
    if guest.state == "shutoff":
        return "crashed" if guest.reason == "crashed" else "shutoff"
    return {"running": "running", "asleep": "paused", "shutting down": "passing", "crashed": "crashed"}.get(guest.state)


CHECK = Check(
    options,
    probe,
    judge,
    modes={
        "bus": "the message bus answers",
        "kvm": "CPU and kernel offer KVM",
        "libvirt": "libvirt answers in time",
        "guests": "guests by state",
    },
    thresholds=[
        Threshold("answer", "s", "2", "6", mode="libvirt", main=True, help="time to list all guests"),
        Threshold("running", mode="guests", help="guests that run"),
        Threshold("paused", "", "0", mode="guests", help="guests that were paused, or sleep"),
        Threshold("io_error", mode="guests", help="guests paused on an I/O error, each of which is CRITICAL"),
        Threshold("passing", mode="guests", help="guests that a migration, snapshot or shutdown holds for a moment"),
        Threshold("shutoff", mode="guests", help="guests that are defined and off"),
        Threshold("crashed", "", "0", mode="guests", help="guests that crashed"),
    ],
    runbook="""
See it by hand: `busctl list | head`, `virsh -r -c qemu:///system list --all`, `ls -l /dev/kvm`,
`grep -c -E 'vmx|svm' /proc/cpuinfo`.
Mend the lowest link first: bus (`systemctl status dbus`), KVM (`modprobe kvm_intel` or `kvm_amd`, the firmware's setting),
then libvirt (`systemctl status libvirtd virtqemud`, its journal). Restarting libvirt does not stop guests.
A guest paused on an I/O error: `virsh domblkerror GUEST` names the disk. Look at the storage (check_multipath,
check_iscsi_session, free space), and when it is back `virsh resume GUEST`.
Paused by somebody: `virsh domstate --reason GUEST`; ask before resuming.
Crashed: /var/log/libvirt/qemu/GUEST.log and the kernel's log (out of memory).
""",
)
main = CHECK.main
