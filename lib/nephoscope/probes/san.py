# SPDX-License-Identifier: Apache-2.0
"""What every storage array says in the same words: its parts, its room, its speed; and which module asks which family.

A family's module has `look(run, place, modes) -> Array`, which makes one session at most and no request per LUN, and
`greet(run, place) -> str`, which proves with as few requests as it can that an address lets us in. Vendor words become ours
there, by tables that name their source; a word that is in no table is "unknown".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, Collecting, Failed, Run
from nephoscope.probes import growth, high_water

HEALTH = ("ok", "spare", "rebuilding", "degraded", "failed", "absent", "unknown")
"""ok; spare (a disk that waits to be used); rebuilding; degraded (a warning); failed; absent (an empty place, switched off on
purpose); unknown (a word that is in no table, or no word at all)."""

KINDS = (
    "system", "controller", "disk", "enclosure", "power supply", "fan", "battery", "sensor", "pool", "volume", "port",
    "replication", "alert",
)  # fmt: skip
WEEK = 604800.0  # seconds over which the growth of a pool is measured
LASTING = ("controller", "disk", "enclosure", "power supply", "fan", "battery", "pool", "port")
"""Kinds that nobody takes away without a word: one that vanishes from the answer is missed."""

PROFILES = {
    "netapp": "NetApp ONTAP 9.6 and later, by REST",
    "netapp-snmp": "NetApp 7-mode and older clustered ONTAP, by SNMP",
    "equallogic": "Dell EqualLogic, by SNMP to the group address",
    "vnx": "EMC VNX and CLARiiON, by naviseccli",
    "unity": "Dell EMC Unity, by REST",
    "3par": "HPE 3PAR, Primera and Alletra 9000, by WSAPI",
    "pure": "Pure FlashArray, by REST 2",
    "redfish": "any array or server with Redfish storage",
    "generic-snmp": "any array with SNMP, by a table of yours (--table)",
}
MODULES = {
    "netapp": "san_ontap",
    "netapp-snmp": "san_netapp_snmp",
    "equallogic": "san_equallogic",
    "vnx": "san_vnx",
    "unity": "san_unity",
    "3par": "san_3par",
    "pure": "san_pure",
    "redfish": "san_redfish",
    "generic-snmp": "san_table",
}


REDUNDANT = ("disk", "power supply", "fan", "battery")
PLURALS = {"power supply": "power supplies", "battery": "batteries", "replication": "replications"}
GREETING = 8.0  # seconds for an address to let us in
HELP = "; ".join(f"{name}: {what}" for name, what in PROFILES.items())


class Place(NamedTuple):
    """Where an array is asked, as whom, and how far to trust: the check's options, in one value.

    port, user and the secrets are None or "" where they were not given; `table` is the file of generic-snmp.
    """

    host: str
    port: int | None = None
    user: str = ""
    password: str = ""
    ca_file: str | None = None
    fingerprint: str | None = None
    insecure: bool = False
    cert: str | None = None
    key: str | None = None
    community: str = ""
    auth_protocol: str = "SHA"
    auth_password: str = ""
    priv_protocol: str = "AES"
    priv_password: str = ""
    context: str = ""
    table: str = ""
    plain: bool = False

    def base(self, port: int) -> str:
        """Return the https:// address (http:// with `plain`), on the family's own port unless one was given."""
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        return f"http{'' if self.plain else 's'}://{host}:{self.port or port}"

    @property
    def trust(self) -> dict[str, Any]:
        """The words of base.http.Session about certificates."""
        return {name: getattr(self, name) for name in ("ca_file", "fingerprint", "insecure", "cert", "key")}


class Part(NamedTuple):
    """Something that is well or not.

    kind    one of KINDS
    name    unique within its kind, as the array calls it
    health  one of HEALTH
    text    the array's own words for it, short
    """

    kind: str
    name: str
    health: str
    text: str = ""

    @property
    def of(self) -> str:
        """The name under which it is reported."""
        return f"{self.kind} {self.name}" if self.name else self.kind


class Room(NamedTuple):
    """Space of a pool or volume, in bytes; None: not told.

    kind         "pool", "volume", "snapshot reserve" or "inodes" (then numbers of files)
    provisioned  what was promised to users of a pool, where that may be more than its size
    full_in      seconds until a pool is full if it goes on growing as over the last week; `look` fills it in
    """

    kind: str
    name: str
    size: float | None
    used: float | None
    provisioned: float | None = None
    full_in: float | Collecting | None = None

    @property
    def of(self) -> str:
        """The name under which it is reported."""
        return f"{'volume' if self.kind == 'inodes' else self.kind} {self.name}"

    @property
    def share(self) -> float | None:
        """How much is used, in %."""
        return 100.0 * self.used / self.size if self.size and self.used is not None else None

    @property
    def promised(self) -> float | None:
        """How many times its size was promised."""
        return self.provisioned / self.size if self.size and self.provisioned is not None else None


class Speed(NamedTuple):
    """How fast the array, or a controller or pool of it (never a single LUN), answers.

    name        "" for the whole array
    latency     seconds per request, the worse one of reads and writes where they are told apart
    iops        requests per second
    throughput  bytes per second
    """

    name: str
    latency: float | Collecting | None = None
    iops: float | Collecting | None = None
    throughput: float | Collecting | None = None


class Array(NamedTuple):
    """All that an array told.

    product  what it is, with the version of its software, for the summary
    parts    everything that has a health, "system" (the array's own opinion) first
    rooms    pools, and volumes whose fullness is a fault
    speeds   for the mode performance
    spares   how many spare disks are left; None: the family does not tell, or spares within the disks
    lost     what could not be looked at; `of` begins with its kind, as parts do: what is lost is not
             missing; one of the system hides everything
    rates    plain JSON that the family kept for its own rates: it finds it as run.before["rates"]
    """

    product: str
    parts: Sequence[Part] = ()
    rooms: Sequence[Room] = ()
    speeds: Sequence[Speed] = ()
    spares: int | None = None
    lost: Sequence[Failed] = ()
    rates: Any = None


class Survey(NamedTuple):
    """An array, and what was known of it before.

    gone       parts that an earlier run saw and that the answer has no more: (of, seconds since it was last seen)
    addresses  of several management addresses each -> None where it let us in, else the Failed
    kept       plain JSON for the next run
    """

    array: Array
    gone: Sequence[tuple[str, float]] = ()
    addresses: Mapping[str, Failed | None] = {}
    kept: Mapping[str, Any] = {}

    def failed(self, kind: str = "") -> int:
        """How many parts have failed, of a kind or in all."""
        return sum(part.health == "failed" and kind in ("", part.kind) for part in self.array.parts)

    def there(self, kind: str) -> int:
        """How many parts of a kind are there, in whatever health."""
        return sum(part.kind == kind and part.health != "absent" for part in self.array.parts)

    def lost(self, kind: str) -> bool:
        """Whether parts of a kind could not be asked for."""
        return any(failed.of.startswith(kind) for failed in self.array.lost)

    def covered(self, part: Part) -> bool:
        """Whether a part failed whose work others do: the only one of its kind, and for a disk no spare is known to lack."""
        if part.health != "failed" or part.kind not in REDUNDANT or self.failed(part.kind) > 1:
            return False
        return self.there(part.kind) > 1 and (part.kind != "disk" or self.array.spares != 0)

    @property
    def summary(self) -> str:
        """What was looked at, in words."""
        parts = [_counted(self.there(kind), kind) for kind in KINDS[1:-1] if self.there(kind)]
        return ": ".join(text for text in (self.array.product, ", ".join(parts)) if text)


def _counted(number: int, kind: str) -> str:
    return f"{number} {kind if number == 1 else PLURALS.get(kind, kind + 's')}"


def health(table: Mapping[Any, str], word: Any) -> str:
    """Return the health that a family's table gives a vendor's word: "unknown" for one that it does not have."""
    try:
        return table.get(word, "unknown")
    except TypeError:  # a list or an object where a word was expected
        return "unknown"


def family(profile: str) -> Any:
    """Return the module that asks the arrays of a profile: only that one is imported."""
    from importlib import import_module

    return import_module(f"nephoscope.probes.{MODULES[profile]}")


def place(options: Any) -> Place:
    """Return the place that a check's options name; its host comes later."""
    words = {name: getattr(options, name) for name in Place._fields if hasattr(options, name)}
    return Place(**{"host": "", **{name: value for name, value in words.items() if value is not None}})


def survey(
    run: Run, profile: str, hosts: Sequence[str], where: Place, modes: Sequence[str], remember: float = 604800.0
) -> Survey:
    """Ask the array at the first of its management addresses that lets us in; all others are asked only whether they would.

    modes     of "health", "capacity", "performance": what is not wanted is not asked
    remember  seconds for which a part that vanished is missed
    Raises Failed when the array could not be asked at any address.
    """
    module = family(profile)
    before = run.before if isinstance(run.before, dict) else {}
    now = run.clock.time()
    array: Array | None = None
    addresses: dict[str, Failed | None] = {}
    for number, host in enumerate(hosts):
        share = run.left() / (len(hosts) - number)
        at = where._replace(host=host)
        addresses[host] = None
        try:
            if array is None:
                array = module.look(_Share(run, share), at, tuple(modes))
            else:
                module.greet(_Share(run, min(GREETING, share)), at)
        except Failed as failed:
            if len(hosts) == 1:
                raise
            addresses[host] = Failed(failed.kind, f"management {host}", failed.tried, failed.error, failed.cure)
    if array is None:
        raise next(failed for failed in addresses.values() if failed)
    if not (array.parts or array.rooms or array.speeds or array.lost):
        raise Failed(ABSENT, "", "", f"{array.product} told nothing of what was asked")
    kept: dict[str, Any] = {**before}
    if array.rates is not None:
        kept["rates"] = array.rates
    gone: list[tuple[str, float]] = []
    if "health" in modes:
        present = {part.of for part in array.parts if part.kind in LASTING and part.health != "absent"}
        seen = kept["seen"] = high_water.seen(before.get("seen"), present, now, remember)
        # What could not be asked is not missing: its Failed says so. One of the system may hide parts of any kind.
        lost = tuple("" if failed.of.startswith("system") else failed.of for failed in array.lost)
        gone = [(of, now - at) for of, at in sorted(seen.items()) if of not in present and not of.startswith(lost)]
    if "capacity" in modes:
        array = array._replace(rooms=_growing(array.rooms, before.get("growth"), now, kept))
    return Survey(array, gone, addresses if len(hosts) > 1 else {}, kept)


class _Share:
    """The run with less time: an address that is silent must leave some for the next."""

    def __init__(self, run: Run, seconds: float) -> None:
        self._run, self._end = run, time.monotonic() + seconds

    def left(self) -> float:
        return min(self._run.left(), max(0.0, self._end - time.monotonic()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


def _growing(rooms: Sequence[Room], before: Any, now: float, kept: dict[str, Any]) -> list[Room]:
    """Return the rooms, with when each pool will be full; what is to be kept goes to kept["growth"]."""
    series = kept["growth"] = {}
    old = before if isinstance(before, dict) else {}
    made = []
    for room in rooms:
        if room.kind == "pool" and room.size and room.used is not None:
            samples = series[room.name] = growth.added(old.get(room.name), now, room.used, WEEK)
            room = room._replace(full_in=growth.full_in(max(0.0, room.size - room.used), growth.slope(samples, WEEK)))
        made.append(room)
    return made
