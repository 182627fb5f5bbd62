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
        yield Finding(CRITICAL if chain.kvm.lacks else OK, "kvm", chain.kvm.lacks or "ready")
    if isinstance(chain.guests, libvirt.Guests):
        if "libvirt" in options.mode:
            yield Metric("answer", chain.guests.seconds)
        if "guests" in options.mode:
            yield from _guests(chain.guests)


def _guests(guests):
    for guest in guests.of(None):
        yield Finding(UNKNOWN, guest.name, f"is in a state that is not understood: {guest.state}")
    for guest in guests.of("paused") + guests.of("crashed"):
        yield Finding(OK, guest.name, f"{guest.state} ({guest.reason or 'no reason'})")
    stuck = guests.of("io_error")
    if stuck:
        more = f" and {len(stuck) - 5} more" if len(stuck) > 5 else ""
        yield Finding(CRITICAL, "", f"paused on an I/O error: {', '.join(guest.name for guest in stuck[:5])}{more}")
    yield from (Metric(kind, len(guests.of(kind))) for kind in libvirt.KINDS)


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
