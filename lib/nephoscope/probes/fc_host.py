# SPDX-License-Identifier: Apache-2.0
"""Fibre Channel ports of this host and the targets that they see: /sys/class/fc_host and /sys/class/fc_remote_ports.

A driver may ask its adapter's firmware for state, speed and counters, and wait for it in the kernel; so each port is read in a
child that can be abandoned.

Sources: Linux, drivers/scsi/scsi_transport_fc.c (fc_port_state_names, fc_port_speed_names, fc_port_role_names; a counter that a
driver does not have is -1: include/scsi/scsi_transport_fc.h), Documentation/ABI/testing/sysfs-class-fc_host and
sysfs-class-fc_remote_ports.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Collecting, Failed, Run, attempt, child, files, samples
from nephoscope.probes import high_water, sysfs

HOSTS, REMOTE = "/sys/class/fc_host", "/sys/class/fc_remote_ports"
HEALTH = {
    "Online": "ok", "Marginal": "degraded", "Linkdown": "failed", "Offline": "failed", "Blocked": "failed",
    "Error": "failed", "Not Present": "failed", "Bypassed": "failed", "Diagnostics": "failed", "Loopback": "failed",
    "Deleted": "failed", "Unknown": "unknown",
}  # fmt: skip
COUNTERS = (
    "error_frames", "invalid_crc_count", "invalid_tx_word_count", "link_failure_count", "loss_of_signal_count",
    "loss_of_sync_count", "nos_count",
)  # fmt: skip
NOT_COUNTED = (0xFFFFFFFFFFFFFFFF, 0xFFFFFFFF)  # -1, of drivers that count in 64 or in 32 bits
SECONDS = 5.0  # that one port may take


class Port(NamedTuple):
    """One port of this host.

    name     its WWPN, which outlives reboots and other slots; the kernel's name where it tells none
    host     the kernel's name: host3
    state    the kernel's word for it
    health   ok, degraded, failed, unknown (a word that is not understood)
    speed    Gbit/s, None where it is not known
    usual    Gbit/s: the fastest that it has run at, or a port that supports the same speeds runs at now; None: not known
    targets  targets' ports that it sees Online
    most     the most of these that it saw at once, in this run or an earlier one that is not forgotten
    others   "0x50… Blocked" of the targets' ports that are not Online
    strange  of these, whose word is not understood
    errors   counter -> its rise in the last five minutes, which moved
    rate     errors per second, all counters together; None where nothing is counted
    """

    name: str
    host: str
    state: str = "Online"
    health: str = "ok"
    speed: float | None = None
    usual: float | None = None
    targets: int = 0
    most: int = 0
    others: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()
    errors: Mapping[str, float] = {}
    rate: float | Collecting | None = None


class Survey(NamedTuple):
    """The ports of a host, what the next run needs, and ports of earlier runs that are gone -> seconds since they were seen."""

    ports: tuple[Port | Failed, ...]
    gone: Mapping[str, float] = {}
    kept: Any = None

    @property
    def good(self) -> list[Port]:
        """Those that could be read."""
        return [port for port in self.ports if isinstance(port, Port)]

    @property
    def named(self) -> bool:
        """Whether each port's name could be read: else nobody knows which ones are not there."""
        return all(isinstance(port, Port) or port.of for port in self.ports)

    @property
    def names(self) -> set[str]:
        """Names by which a port may be expected, readable or not."""
        unread = {port.of for port in self.ports if isinstance(port, Failed)}
        return unread | {name for port in self.good for name in (port.name, port.host)}


def wwpn(text: str) -> str:
    """Return a WWPN as the kernel writes it, however switch or array do (10:00:00:90:FA:11:22:03); other names unchanged."""
    digits = text.lower().replace(":", "")
    digits = digits[2:] if digits.startswith("0x") else digits
    return f"0x{digits}" if len(digits) == 16 and set(digits) <= set("0123456789abcdef") else text


def survey(run: Run, expected: Collection[str] = (), remember: float = 604800.0) -> Survey:
    """Look at all ports.

    expected  WWPNs or names that are looked for: without any, and without a port, there is nothing here
    remember  seconds for which a port, a target's port, or a higher speed is missed
    Raises Failed: absent when there is no port, none was expected and none is remembered; what hides the tree.
    """
    hosts = sysfs.names(run, HOSTS)
    # Whose it is can't be known without its name, so no filter may drop what fails here.
    told = {host: attempt(sysfs.word, run, f"{HOSTS}/{host}/port_name") for host in hosts}
    ports: list[Port | Failed] = [name for name in told.values() if isinstance(name, Failed)]
    names = {host: name or host for host, name in told.items() if not isinstance(name, Failed)}
    wanted = {names[host]: host for host in names if run.wants(names[host])}
    jobs = {name: (lambda host=host: _read(run, host)) for name, host in wanted.items()}
    read: dict[str, Any] = child.each(run, jobs, tried="read a Fibre Channel port", seconds=SECONDS)
    before = run.before if isinstance(run.before, dict) else {}
    now = run.clock.time()
    seen, gone = _members(run, before.get("seen"), names.values(), now, remember)
    gone = {} if ports else gone  # it may be the one whose name can't be read
    if not (told or expected or gone):
        raise Failed(ABSENT, "", f"list {HOSTS}", "the kernel has no Fibre Channel port")
    counts = {
        f"{name}/{key}": float(n) for name, one in read.items() if _got(one) for key, n in one["counters"].items()
    }
    history = samples.take(run, counts, before=before.get("errors", []))
    remote = _remote(run)
    # What can't be read now, or is gone for a while, may come back with less.
    speeds, targets = (_members_of(before.get(name), seen) for name in ("speeds", "targets"))
    fastest: dict[str, float] = {}
    for one in read.values():
        if _got(one) and one["speed"]:
            fastest[one["supported"]] = max(one["speed"], fastest.get(one["supported"], 0.0))
    for name, one in read.items():
        if isinstance(one, Failed):
            if one.kind != ABSENT:
                ports.append(Failed(one.kind, name, one.tried, one.error, one.cure))
            continue
        online, others, strange = remote.get(wanted[name].replace("host", "", 1), (0, (), ()))
        targets[name] = high_water.mark(before.get("targets"), name, online, now, remember)
        speeds[name] = high_water.mark(before.get("speeds"), name, one["speed"] or 0.0, now, remember)
        usual = max(speeds[name][0], fastest.get(one["supported"], 0.0) if one["supported"] else 0.0) or None
        rises = {key: history.rise(f"{name}/{key}") for key in one["counters"]}
        errors = {key: rise for key, rise in rises.items() if isinstance(rise, float) and rise > 0}
        ports.append(
            Port(
                *(name, wanted[name], one["state"], HEALTH.get(one["state"], "unknown"), one["speed"], usual),
                *(online, int(targets[name][0]), others, strange, errors, _rate(history, name, rises)),
            )
        )
    kept = {"seen": seen, "speeds": speeds, "targets": targets, "errors": history.keep()}
    return Survey(tuple(ports), gone, kept)


def _got(one: Any) -> bool:
    return not isinstance(one, Failed)


def _members(
    run: Run, before: Any, names: Collection[str], now: float, remember: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return when each port was last seen, for the next run; and those that are gone -> seconds since they were seen."""
    seen = dict.fromkeys(names, now)
    gone = {}
    for name, at in before.items() if isinstance(before, dict) else ():
        if name not in seen and isinstance(at, (int, float)) and 0 <= now - at <= remember:
            seen[name] = at
            if run.wants(name):
                gone[name] = now - at
    return seen, gone


def _members_of(before: Any, names: Collection[str]) -> dict[str, Any]:
    """Return what was kept by name, of these names."""
    return {name: before[name] for name in names if name in before} if isinstance(before, dict) else {}


def _rate(history: samples.History, name: str, rises: Collection[str]) -> float | Collecting | None:
    total: float | None = None
    for key in rises:
        rate = history.rate(f"{name}/{key}")
        if not isinstance(rate, float):
            return rate
        total = (total or 0.0) + rate
    return total


def _read(run: Run, host: str) -> dict[str, Any]:
    """Return what a port tells, as plain JSON; this may wait for its firmware. Raises Failed."""
    home = f"{HOSTS}/{host}"
    state = files.text(run, f"{home}/port_state", of=host, limit=4096).strip()
    counters = {}
    for name in COUNTERS:
        text = sysfs.word(run, f"{home}/statistics/{name}", host)
        if not text:
            continue  # not every driver has every one
        try:
            count = int(text, 0)
        except ValueError:
            raise Failed(UNREADABLE, host, f"read {name}", f"not a number: {text[:40]!r}") from None
        if count >= 0 and count not in NOT_COUNTED:
            counters[name] = count
    speed, supported = (sysfs.word(run, f"{home}/{name}", host) for name in ("speed", "supported_speeds"))
    return {"state": state, "speed": _gigabits(speed), "supported": supported, "counters": counters}


def _gigabits(text: str) -> float | None:
    """Return Gbit/s of "16 Gbit"; None for "Unknown", "Not Negotiated", and what is no speed."""
    number, _, unit = text.partition(" ")
    return float(number) if unit.startswith("Gbit") and number.isdigit() else None


def _remote(run: Run) -> dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]]:
    """Return of each host number how many targets' ports are Online, and the others: bad, and not understood."""
    found: dict[str, tuple[int, tuple[str, ...], tuple[str, ...]]] = {}
    for name in sysfs.names(run, REMOTE):  # rport-HOST:CHANNEL-NUMBER
        host = name.partition("-")[2].partition(":")[0]
        online, others, strange = found.get(host, (0, (), ()))
        try:
            if "Target" not in sysfs.word(run, f"{REMOTE}/{name}/roles"):
                continue  # a switch, another host, or one that has logged out for good
            wwpn = sysfs.word(run, f"{REMOTE}/{name}/port_name") or name
            state = files.text(run, f"{REMOTE}/{name}/port_state", limit=4096).strip()
        except Failed as failed:
            if failed.kind != ABSENT:  # or it went while it was read
                found[host] = (online, others, (*strange, f"{name}: {failed.error}"))
            continue
        said = f"{wwpn} {state or 'without a state'}"
        health = HEALTH.get(state, "unknown")
        if health in ("ok", "degraded"):
            online += 1
        if health == "unknown":
            strange += (said,)
        elif health != "ok":
            others += (said,)
        found[host] = (online, others, strange)
    return found
