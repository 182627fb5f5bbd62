# SPDX-License-Identifier: Apache-2.0
"""The chain of a hypervisor, from the message bus over libvirt and KVM to the guests.

libvirt is asked by `virsh` in a child, not by its Python binding: a call of the binding into a hung daemon cannot be cut short.
Of its commands `domstats --raw` prints numbers for programs (man virsh, "domstats"); their meaning is that of
virDomainState and the reasons beside it in libvirt-domain.h (9.0).
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, attempt
from nephoscope.base.child import command
from nephoscope.probes import dbus

STATES = {
    0: "no state",
    1: "running",
    2: "running",  # "blocked": it waits for a resource (Xen)
    3: "paused",
    4: "shutting down",
    5: "shutoff",
    6: "crashed",
    7: "asleep",  # pmsuspended: the guest put itself to sleep
}
REASONS = {
    3: (
        "unknown", "user", "migration", "save", "dump", "io-error", "watchdog", "from-snapshot", "shutting-down",
        "snapshot", "crashed", "starting", "postcopy", "postcopy-failed", "api-error",
    ),
    5: ("unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from-snapshot", "daemon"),
}  # fmt: skip

CUT = ("client socket is closed", "End of file while reading", "Connection reset")  # the daemon died while it was asked


# Reasons for a pause that ends by itself, unless what caused it hangs. Not "from-snapshot": who was restored from a snapshot of
# a paused guest stays paused until somebody resumes it.
PASSING = ("migration", "save", "dump", "shutting-down", "snapshot", "starting", "postcopy")
KINDS = ("running", "paused", "io_error", "passing", "shutoff", "crashed")

OFF = "switched off in the firmware, or not passed on to this virtual machine"


class Guest(NamedTuple):
    """One domain.

    state   a word of STATES, or "unknown N" for a number that they do not have
    reason  a word of REASONS, "" where none is known
    """

    name: str
    state: str
    reason: str

    @property
    def kind(self) -> str | None:
        """What it is counted as, a word of KINDS, or None for a state that is not understood."""
        if self.state == "paused":
            if self.reason in PASSING:
                return "passing"
            return {"io-error": "io_error", "crashed": "crashed"}.get(self.reason, "paused")
        if self.state == "shutoff":
            return "crashed" if self.reason == "crashed" else "shutoff"
        return {"running": "running", "asleep": "paused", "shutting down": "passing", "crashed": "crashed"}.get(
            self.state
        )

    @property
    def said(self) -> str:
        """State and reason, as a person would say it."""
        return f"{self.state} ({self.reason})" if self.reason else self.state


class Guests(NamedTuple):
    """The domains that the filters leave in, running or not.

    seconds  that libvirt took to list all of them
    passing  name -> seconds for which a guest was seen to be passing without a break, 0.0 at first sight
    """

    seconds: float
    guests: tuple[Guest, ...]
    passing: dict[str, float] = {}  # noqa: RUF012 - never changed

    def of(self, kind: str | None) -> list[Guest]:
        """Return the guests of one kind, by name."""
        return sorted(guest for guest in self.guests if guest.kind == kind)


class Kvm(NamedTuple):
    """What the kernel offers.

    device  whether /dev/kvm is there
    flag    vmx (Intel) or svm (AMD), "" when an x86 CPU shows neither, None on other CPUs, which have no such flag
    module  kvm_intel, kvm_amd, kvm, or "" when none is loaded or built in
    """

    device: bool
    flag: str | None
    module: str

    @property
    def lacks(self) -> str:
        """What is missing for guests to run with KVM, in words; "" for nothing."""
        if not self.device and self.flag and not self.module.startswith("kvm_"):
            return f"no /dev/kvm: the CPU has {self.flag}, its module is not loaded"
        if self.flag == "":
            return f"the CPU shows neither vmx nor svm: {OFF}"
        return "" if self.device else "no /dev/kvm"


class Chain(NamedTuple):
    """The links of the chain, from the lowest; None: not asked, a Failed: could not be looked at.

    bus   seconds until the message bus answered
    kept  plain JSON from which the next run knows since when a guest is passing
    """

    bus: float | Failed | None = None
    kvm: Kvm | Failed | None = None
    guests: Guests | Failed | None = None
    kept: Any = None


def chain(run: Run, links: tuple[str, ...], uri: str, bus: str) -> Chain:
    """Look at the links asked for ("bus", "kvm", "libvirt", "guests"); one that fails does not hide the others.

    Raises Failed (absent) when libvirt was asked for and is not installed.
    """

    spare = min(2.0, run.left() / 4) if "bus" in links else 0.0  # the bus is asked after a hung libvirt as well
    asked = None
    if "libvirt" in links or "guests" in links:
        asked = attempt(guests, run, uri, max(0.1, run.left() - spare))
    if isinstance(asked, Failed) and asked.kind == ABSENT:
        raise asked  # no hypervisor: that it has no KVM either is no finding
    greeted = attempt(dbus.greet, run, bus) if "bus" in links else None
    offered = attempt(kvm, run) if "kvm" in links else None
    if not isinstance(asked, Guests):
        return Chain(greeted, offered, asked, run.before)  # a libvirt that was silent once makes no guest younger
    from nephoscope.base import samples

    now = run.clock.time()
    since = samples.since(run.before, (guest.name for guest in asked.of("passing")), now)
    passing = {name: now - first for name, first in since.items()}
    return Chain(greeted, offered, asked._replace(passing=passing), since)


def kvm(run: Run) -> Kvm:
    """Return what the kernel offers (man 5 proc, "cpuinfo"; Documentation/virt/kvm). Raises Failed."""
    run.stage("look for /dev/kvm, its module and the CPU's flag")
    try:
        # The first CPU stands for all, and its paragraph is short: with hundreds of CPUs the file is large and dear.
        with open(run.path("/proc/cpuinfo"), "rb") as file:
            head = file.read(16384).decode("utf-8", "replace")
    except OSError as error:
        raise Failed.of_os_error("kvm", "read /proc/cpuinfo", error) from None
    flag = None
    for line in head.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == "flags":
            words = value.split()
            flag = next((word for word in ("vmx", "svm") if word in words), "")
            break
    modules = [name for name in ("kvm_intel", "kvm_amd", "kvm") if os.path.isdir(run.path(f"/sys/module/{name}"))]
    return Kvm(os.path.exists(run.path("/dev/kvm")), flag, modules[0] if modules else "")


def guests(run: Run, uri: str, seconds: float | None = None) -> Guests:
    """Return the domains that the filters leave in, asked read-only. An access driver of libvirt may leave some out unsaid.

    seconds  its share of the deadline; libvirt that is silent for so long is unreachable
    Raises Failed: absent (no virsh, no driver for this URI), unreachable, not-allowed, unreadable.
    """
    import time

    began = time.monotonic()
    argv = ["virsh", "--quiet", "--readonly", "--connect", uri, "domstats", "--raw", "--state"]
    answer = command(argv, run, of="libvirt", seconds=seconds)
    took = time.monotonic() - began
    if answer.status:
        raise refused(uri, answer.err)
    return Guests(took, tuple(guest for guest in parse(answer.out) if run.wants(guest.name)))


def refused(uri: str, text: str) -> Failed:
    """Return what a failure of virsh means; the words are those of libvirt 9.0 under LC_ALL=C."""
    lines = [line.partition("error: ")[2] for line in text.splitlines() if line.startswith("error: ")]
    said = lines[-1].strip() if lines else text.strip()[:200] or "virsh failed without a word"
    cure = ""
    if "ermission denied" in said or "uthentication" in said or "ccess denied" in said or "polkit" in said:
        kind = NOT_ALLOWED
        cure = "the polkit action org.libvirt.unix.monitor, or auth_unix_ro and unix_sock_ro_perms of libvirtd.conf"
    elif "no connection driver available" in said:
        kind = ABSENT
    elif any(line.startswith("failed to connect") for line in lines) or any(word in said for word in CUT):
        kind = UNREACHABLE
    else:
        kind = UNREADABLE
    return Failed(kind, "libvirt", f"virsh --connect {uri} domstats", said, cure)


def parse(text: str) -> tuple[Guest, ...]:
    """Return the domains in what `virsh domstats --raw --state` prints. Raises Failed (unreadable)."""
    found: list[Guest] = []
    name, values = "", {}  # type: str, dict[str, int]

    def add() -> None:
        if name and "state.state" not in values:
            raise _unreadable(f"no state of domain {name}")
        if name:
            found.append(_guest(name, values["state.state"], values.get("state.reason")))

    for line in text.splitlines():
        if line.startswith("Domain: '") and line.endswith("'"):
            add()
            name, values = line[9:-1], {}
        elif line.startswith("  state.") and name:
            key, _, value = line.strip().partition("=")
            try:
                values[key] = int(value)
            except ValueError:
                raise _unreadable(line) from None
        elif line.strip():
            raise _unreadable(line)
    add()
    return tuple(found)


def _guest(name: str, number: int, reason: int | None) -> Guest:
    words = REASONS.get(number, ())
    word = ""
    if reason is not None and words:
        word = words[reason] if 0 <= reason < len(words) else f"unknown {reason}"
    return Guest(name, STATES.get(number, f"unknown {number}"), word)


def _unreadable(text: str) -> Failed:
    return Failed(UNREADABLE, "libvirt", "virsh domstats --raw --state", f"not understood: {text[:80]!r}")
