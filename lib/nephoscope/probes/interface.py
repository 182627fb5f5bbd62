# SPDX-License-Identifier: Apache-2.0
"""Network interfaces as the kernel tells them: /sys/class/net and /proc/net/dev of this network namespace.

Sources: Documentation/ABI/testing/sysfs-class-net, sysfs-class-net-statistics; Documentation/networking/operstates.rst,
statistics.rst, bonding.rst; net/core/net-procfs.c (the drop column of /proc/net/dev holds missed packets too).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, LATE, UNREADABLE, Collecting, Failed, Run, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.samples import History

NET, DEV = "/sys/class/net", "/proc/net/dev"
SPAN = 300.0  # seconds over which rates are taken
FLAPS_SPAN = 3600.0  # seconds over which changes of the carrier are counted
REMEMBERED = 7 * 86400.0  # seconds for which a device that vanished is missed
IFF_UP = 1  # linux/if.h
UNKNOWN_SPEEDS = (0, 65535, 4294967295)  # and all below: what drivers say for "unknown" (SPEED_UNKNOWN, ethtool.h)
# Columns of /proc/net/dev after the name.
COLUMNS = {
    "rx_bytes": 0, "rx_packets": 1, "rx_errors": 2, "rx_drops": 3,
    "tx_bytes": 8, "tx_packets": 9, "tx_errors": 10, "tx_drops": 11,
}  # fmt: skip


class Interface(NamedTuple):
    """One interface.

    alias    the operator's name for it (ip link set dev X alias …), ""
    asked    it was named by --expect or --include; the others were chosen because they are real
    on       administratively up
    link     "up"; "no carrier"; where it has a carrier and is not up, the operstate of RFC 2863 (dormant, testing, …);
             "": not told
    speed    Mbit/s, None where the driver tells none
    duplex   full, half, unknown
    mtu      bytes
    values   what was measured, by name; what the kernel does not tell is missing:
             carrier_changes   in the last hour (counted since Linux 3.15)
             in, out           bytes since it was made
             in_rate, out_rate, errors_rate, drops_rate   per second over the last minutes: bytes, packets
             error_share       % of the packets
             no drops_rate of one that waits in a bond: what it drops is meant to be dropped
    """

    name: str
    alias: str = ""
    asked: bool = False
    on: bool = True
    link: str = "up"
    speed: int | None = None
    duplex: str = "unknown"
    mtu: int = 1500
    values: Mapping[str, float | Collecting | None] = {}

    def measured(self, mbit: float | None = None) -> dict[str, float | Collecting | None]:
        """Return the values with speed, mtu, and use: % of the speed, or of `mbit` where the driver tells none."""
        found = {**self.values, "mtu": self.mtu}
        if self.link == "up" and self.speed:
            found["speed"] = self.speed
        fastest = self.speed or mbit
        if self.link == "up" and fastest:
            received, sent = found["in_rate"], found["out_rate"]
            found["use"] = received
            if isinstance(received, float) and isinstance(sent, float):
                found["use"] = 100 * max(received, sent) * 8 / (fastest * 1e6)
        return found


class Wish(NamedTuple):
    """What an interface should be: its name or alias, Mbit/s at least, and MTU; None: whatever it is."""

    name: str
    speed: float | None = None
    mtu: int | None = None

    @classmethod
    def parse(cls, text: str) -> Wish:
        """Return the wish of NAME[=SPEED][/MTU]; speed in Mbit/s or as 10G, 2500M. Raises ValueError."""
        name, equals, rest = text.rpartition("=")
        front, slash, mtu = (rest if equals else text).partition("/")
        name, speed = (name, front) if equals else (front, "")
        number = speed[:-1] if speed[-1:] in ("G", "M") else speed
        plain = number.replace(".", "", 1)
        if not name or (speed and not (plain.isascii() and plain.isdigit())) or bool(slash) != mtu.isdigit():
            raise ValueError(f"'{text}' is not NAME[=SPEED][/MTU], like eth0, eth0=10G or storage=25G/9000")
        mega = float(number) * (1000 if speed.endswith("G") else 1) if speed else None
        return cls(name, mega, int(mtu) if slash else None)


class Survey(NamedTuple):
    """The interfaces looked at, how many others there are, and what the next run needs.

    gone  devices and bonds that an earlier run saw and that are no more -> seconds since they were seen
    """

    interfaces: tuple[Interface | Failed, ...]
    others: int = 0
    kept: Any = None
    gone: Mapping[str, float] = {}

    def keep(self) -> Any:
        """Return plain JSON for the next run."""
        return self.kept

    @property
    def ports(self) -> list[Interface]:
        """Those that could be read."""
        return [part for part in self.interfaces if isinstance(part, Interface)]

    @property
    def names(self) -> set[str]:
        """Names and aliases of what is there, readable or not."""
        there = {part.of for part in self.interfaces if isinstance(part, Failed)}
        return there | {name for port in self.ports for name in (port.name, port.alias) if name}

    def summary(self) -> str:
        """Return what was looked at, and what was not, as a clause; "" when what was asked for is off or missing."""
        up = [f"{port.name} {port.speed} Mbit/s" if port.speed else port.name for port in self.ports if port.on]
        off = [port.name for port in self.ports if not port.on and not port.asked]
        if not up and not off:
            return ""
        if not up:
            return f"none is switched on: {', '.join(off[:6])}"
        rest = f"{len(off)} switched off, {self.others} others" if off else f"{self.others} others"
        return f"{len(up)} looked at: {', '.join(up[:6])}{' …' if len(up) > 6 else ''}; not: {rest}"


def survey(run: Run, expected: Collection[str] = ()) -> Survey:
    """Look at the interfaces that are real, expected or included.

    Real: one with a device behind it (no virtual function of another), a bond, one that a default route goes out by.
    expected  names or aliases to look at in any case; one that is not there is simply not among the interfaces
    Raises Failed: absent when there is nothing to look at and nothing was expected, unreadable, late.
    """
    run.stage(f"read {NET} and {DEV}")
    names = [name for name in files.names(run, NET) if name != "bonding_masters"]
    counters = _counters(run)
    routed = _routed(run)
    chosen: list[tuple[str, str, bool]] = []
    for name in names:
        alias = _word(run, name, "ifalias")
        if name in expected or (alias and alias in expected):
            chosen.append((name, alias, True))
        elif (run.include or name in routed or _real(run, name)) and run.wants(name):
            chosen.append((name, alias, bool(run.include)))
    gone, members = _gone(run, names, [name for name, _, _ in chosen])
    if not (chosen or gone or expected or run.left_out):
        hint = "no device, bond or default route: name interfaces by --include or --expect"
        raise Failed(ABSENT, "", f"list {NET}", hint)
    present = {name: counters[name] for name, _, _ in chosen if name in counters}
    rates, flaps, kept = _histories(run, present, [name for name, _, _ in chosen])
    found: list[Interface | Failed] = []
    for name, alias, asked in chosen:
        if not run.left():
            found.append(Failed(LATE, "", f"read {NET}", f"no time for {len(chosen) - len(found)} interfaces"))
            break
        try:
            if name not in counters:
                raise Failed(UNREADABLE, name, f"read {DEV}", "it has no line there")
            found.append(_interface(run, name, alias, asked, counters[name], rates, flaps))
        except Failed as failed:
            found.append(failed)
    return Survey(tuple(found), len(names) - len(chosen), {**kept, "members": members}, gone)


def _gone(run: Run, names: Collection[str], chosen: Collection[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the devices of earlier runs that are no more -> seconds since they were seen; and those to keep -> when seen."""
    now = run.clock.time()
    before = run.before.get("members") if isinstance(run.before, dict) else None
    members = {name: now for name in chosen if _real(run, name)}  # what only a route named may come and go
    gone = {}
    for name, at in before.items() if isinstance(before, dict) else ():
        if name not in names and isinstance(at, (int, float)) and now - at <= REMEMBERED and run.wants(name):
            gone[name] = max(0.0, now - at)
            members[name] = at
    return gone, members


def _interface(
    run: Run, name: str, alias: str, asked: bool, counters: Mapping[str, int], rates: History, flaps: History
) -> Interface:
    flags = _word(run, name, "flags", needed=True)
    try:
        on = bool(int(flags, 16) & IFF_UP)
        mtu = int(_word(run, name, "mtu", needed=True))
    except ValueError:
        raise Failed(UNREADABLE, name, f"read {NET}/{name}", f"flags or mtu not understood: {flags[:20]!r}") from None
    # speed, duplex and carrier answer EINVAL where they mean nothing: that is "not told".
    speed = _word(run, name, "speed")
    values = _rates(rates, name)
    if _word(run, name, "bonding_slave/state") == "backup":
        del values["drops_rate"]
    if f"{name}/changes" in flaps.now.values:
        values["carrier_changes"] = flaps.rise(f"{name}/changes")
    return Interface(
        name,
        alias,
        asked,
        on,
        _link(_word(run, name, "carrier"), _word(run, name, "operstate")),
        int(speed) if speed.isdigit() and int(speed) not in UNKNOWN_SPEEDS else None,
        _word(run, name, "duplex") or "unknown",
        mtu,
        {"in": counters["rx_bytes"], "out": counters["tx_bytes"], **values},
    )


def _link(carrier: str, state: str) -> str:
    if carrier == "0":
        return "no carrier"
    if carrier != "1":
        return ""
    return "up" if state in ("up", "unknown", "") else state  # unknown: a driver that does not say


def _rates(history: History, name: str) -> dict[str, float | Collecting | None]:
    def rate(*counters: str) -> float | Collecting | None:
        total = 0.0
        for counter in counters:
            value = history.rate(f"{name}/{counter}")
            if not isinstance(value, float):
                return value
            total += value
        return total

    errors, packets = rate("rx_errors", "tx_errors"), rate("rx_packets", "tx_packets")
    share: float | Collecting | None = errors
    if isinstance(errors, float) and isinstance(packets, float):
        share = 100 * errors / (errors + packets) if errors else 0.0
    return {
        "in_rate": rate("rx_bytes"),
        "out_rate": rate("tx_bytes"),
        "errors_rate": errors,
        "drops_rate": rate("rx_drops", "tx_drops"),
        "error_share": share,
    }


def _histories(
    run: Run, counters: Mapping[str, Mapping[str, int]], names: Collection[str]
) -> tuple[History, History, Any]:
    from nephoscope.base import samples

    before = run.before if isinstance(run.before, dict) else {}
    flat = {f"{name}/{key}": float(value) for name, values in counters.items() for key, value in values.items()}
    rates = samples.take(run, flat, span=SPAN, before=before.get("rates", []))
    changes = {}
    for name in names:
        count = _word(run, name, "carrier_changes")
        if count.isdigit():
            changes[f"{name}/changes"] = float(count)
    flaps = samples.take(run, changes, span=FLAPS_SPAN, before=before.get("flaps", []))
    return rates, flaps, {"rates": rates.keep(), "flaps": flaps.keep()}


def _counters(run: Run) -> dict[str, dict[str, int]]:
    """Return the counters of /proc/net/dev by interface."""
    content = files.text(run, DEV, limit=16 << 20)
    found = {}
    for line in content.splitlines()[2:]:
        name, _, rest = line.partition(":")
        try:
            numbers = [int(word) for word in rest.split()]
            found[name.strip()] = {key: numbers[at] for key, at in COLUMNS.items()}
        except (LookupError, ValueError):
            raise Failed(UNREADABLE, DEV, f"read {DEV}", f"not understood: {line[:60]!r}") from None
    return found


def _real(run: Run, name: str) -> bool:
    """Return whether there is a device behind it that is no virtual function, or whether it is a bond."""
    import os

    home = run.path(f"{NET}/{name}")
    return (os.path.exists(f"{home}/device") and not os.path.exists(f"{home}/device/physfn")) or os.path.isdir(
        f"{home}/bonding"
    )


def _routed(run: Run) -> set[str]:
    """Return the interfaces that a default route goes out by: in a container the only sign of a real one."""
    found = set()
    for path, name, target in (
        ("/proc/net/route", 0, {1: "00000000", 7: "00000000"}),
        ("/proc/net/ipv6_route", 9, {0: "0" * 32, 1: "00"}),
    ):
        try:
            lines = files.text(run, path, limit=16 << 20).splitlines()
        except Failed:
            continue  # no such protocol here
        for words in map(str.split, lines):
            if len(words) > max(name, *target) and all(words[at] == word for at, word in target.items()):
                found.add(words[name])
    return found - {"lo"}  # by lo goes what is "unreachable"


def _word(run: Run, name: str, attribute: str, needed: bool = False) -> str:
    """Return an attribute of an interface, "" where it tells none."""
    try:
        return files.text(run, f"{NET}/{name}/{attribute}", of=name, limit=4096).strip()
    except Failed:
        if needed:
            raise
        return ""
