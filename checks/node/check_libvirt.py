# SPDX-License-Identifier: Apache-2.0
"""Does the whole hypervisor chain answer: message bus, KVM, libvirt, guests?

A cloud whose libvirt died silently starts no server, and its logs point at innocent ones; so each link is asked by itself,
and the first that fails is the one to mend. The bus must answer a greeting, libvirt must list its guests read-only, the CPU
must offer virtualisation and the kernel /dev/kvm. A guest paused on an I/O error has lost its storage and stands still until
somebody resumes it. Guests that a snapshot, a migration or a shutdown holds for a moment are counted apart, and for how long
they were seen so has limits of its own: whoever moves guests for longer than a quarter of an hour raises `passing_age`. Counts
are of the guests that `--include` and `--exclude` leave in. A hypervisor that goes without KVM on purpose leaves the link out
by `--mode`.
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
    for guest in sorted(guests.guests):
        if guest.kind is None:
            yield Finding(UNKNOWN, guest.name, f"is in a state that is not understood: {guest.state}")
        elif guest.kind == "io_error":
            yield Finding(CRITICAL, guest.name, "is paused on an I/O error")
        else:
            yield Finding(OK, guest.name, guest.said)
    yield from (Metric(kind, len(guests.of(kind))) for kind in libvirt.KINDS)
    ages = guests.passing or {"": 0.0}  # while no guest is passing, the number stands in its place all the same
    yield from (Metric("passing_age", age, of=name) for name, age in sorted(ages.items()))


CHECK = Check(
    options,
    probe,
    judge,
    answers=("W39", "W43"),
    keep=lambda chain: chain.kept,
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
        Threshold("passing_age", "s", "900", "3600", mode="guests", print="worst", help="how long a guest is passing"),
    ],
    runbook="""
See it by hand: `busctl list | head`, `virsh -r -c qemu:///system list --all`, `ls -l /dev/kvm`,
`grep -c -E 'vmx|svm' /proc/cpuinfo`.
Mend the lowest link first: bus (`systemctl status dbus`), KVM (`modprobe kvm_intel` or `kvm_amd`, the firmware's setting),
then libvirt (`systemctl status libvirtd virtqemud`, its journal). Restarting libvirt does not stop guests.
A guest paused on an I/O error: `virsh domblkerror GUEST` names the disk. Look at the storage (check_multipath,
check_iscsi_session, free space), and when it is back `virsh resume GUEST`.
Paused by somebody, or restored from a snapshot: `virsh domstate --reason GUEST`; ask before resuming.
Passing for long: `virsh domjobinfo GUEST` tells whether a migration, save or dump moves at all, and `virsh domjobabort GUEST`
ends it. A guest that shuts down for ever ignores the request: `virsh console GUEST` shows why.
Crashed: /var/log/libvirt/qemu/GUEST.log and the kernel's log (out of memory).
""",
)
main = CHECK.main
