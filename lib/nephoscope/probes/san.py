# SPDX-License-Identifier: Apache-2.0
"""What every storage array says in the same words: its parts, its room, its speed; and which module asks which family.

A family's module has `look(run, place, modes) -> Array`, which makes one session at most and no request per LUN, and
`greet(run, place) -> str`, which proves with as few requests as it can that an address lets us in. Vendor words become ours
there, by tables that name their source; a word that is in no table is "unknown".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Collecting, Failed, Run, attempt
from nephoscope.base.dial import host_port
from nephoscope.base.run import Share
from nephoscope.probes import growth, high_water

HEALTH = ("ok", "spare", "rebuilding", "degraded", "failed", "absent", "unknown")
"""ok; spare (a disk that waits to be used); rebuilding; degraded (a warning); failed; absent (an empty place, switched off on
purpose); unknown (a word that is in no table, or no word at all)."""

KINDS = (
    "system", "controller", "disk", "enclosure", "power supply", "fan", "battery", "sensor", "pool", "volume", "port",
    "replication", "alert",
)  # fmt: skip
WEEK = 604800.0  # seconds over which the growth of a pool is measured
LASTING = ("enclosure", "controller", "pool", "disk", "port", "power supply", "fan", "battery")
"""Kinds that nobody takes away without a word: one that vanishes from the answer is missed."""

PROFILES = {
    "netapp": "ONTAP 9.6 and later",
    "netapp-snmp": "older ones and 7-mode",
    "equallogic": "",
    "vnx": "and CLARiiON, by naviseccli",
    "unity": "",
    "3par": "and Primera, Alletra 9000",
    "pure": "FlashArray",
    "redfish": "any with Redfish storage",
    "generic-snmp": "any by a table of yours, --table",
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

# What a family does not tell of every product, or never; of all others silence about a mode is a missing right.
UNTOLD = {
    "netapp-snmp": ("performance",),
    "vnx": ("performance",),
    "3par": ("performance",),
    "redfish": ("capacity", "performance"),
    "generic-snmp": ("health", "capacity", "performance"),
}
DISKLESS = ("netapp-snmp", "3par", "generic-snmp")  # families that tell disks as a number, or not in every version

REDUNDANT = ("disk", "power supply", "fan", "battery")
PLURALS = {"power supply": "power supplies", "battery": "batteries", "replication": "replications"}
GREETING = 8.0  # seconds for an address to let us in
HELP = "one of " + ", ".join(f"{name} ({what})" if what else name for name, what in PROFILES.items())


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


USED = {"pool": "used", "volume": "volume_used", "snapshot reserve": "reserve_used", "inodes": "inodes_used"}
"""What a room's share is called, by its kind."""


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

    product  what it is, with the version of its software and its name, for the summary; best when it begins with what `greet`
             returns: this tells whether another address leads to the same array, without one more greeting
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
    addresses  of several management addresses each -> None where it let us in, else the Failed; when none did, the array has
               no product
    kept       plain JSON for the next run
    untold     modes of which this family's products do not all tell something, and this one did not
    """

    array: Array
    gone: Sequence[tuple[str, float]] = ()
    addresses: Mapping[str, Failed | None] = {}
    kept: Mapping[str, Any] = {}
    untold: Sequence[str] = ()

    def failed(self, kind: str = "") -> int:
        """How many parts have failed, of a kind or in all."""
        return sum(part.health == "failed" and kind in ("", part.kind) for part in self.array.parts)

    def there(self, kind: str) -> int:
        """How many parts of a kind are there, in whatever health."""
        return sum(part.kind == kind and part.health != "absent" for part in self.array.parts)

    def lost(self, kind: str) -> bool:
        """Whether parts of a kind could not all be asked for."""
        return _lost(self.array, kind)

    def covered(self, part: Part) -> bool:
        """Whether a part failed whose work others do: the only one of its kind, and for a disk no spare is known to lack."""
        if part.health != "failed" or part.kind not in REDUNDANT or self.failed(part.kind) > 1:
            return False
        return self.there(part.kind) > 1 and (part.kind != "disk" or self.array.spares != 0)

    @property
    def measures(self) -> Iterator[tuple[str, float | Collecting | None, str]]:
        """What was measured: name, value (None: it should have been), and of what. What is not told of all is left out."""
        for room in self.array.rooms:
            yield USED[room.kind], room.share, room.of
            yield from _told(room.of, thin=room.promised, full_in=room.full_in)
        for speed in self.array.speeds:
            yield from _told(speed.name, latency=speed.latency, iops=speed.iops, throughput=speed.throughput)
        yield "failed", self.failed(), ""
        yield from _told("", spares=self.array.spares)

    @property
    def summary(self) -> str:
        """What was looked at, in words."""
        parts = [_counted(self.there(kind), kind) for kind in KINDS[1:-1] if self.there(kind)]
        text = ": ".join(text for text in (self.array.product, ", ".join(parts)) if text)
        return text + (f"; {' and '.join(self.untold)} not told" if self.untold else "")


def _told(of: str, **values: float | Collecting | None) -> Iterator[tuple[str, float | Collecting | None, str]]:
    return ((name, value, of) for name, value in values.items() if value is not None)


def _lost(array: Array, kind: str) -> bool:
    return any(not failed.of or failed.of.startswith((kind, "system")) for failed in array.lost)


def ago(seconds: float) -> str:
    """Return a duration in words."""
    for unit, length in (("d", 86400.0), ("h", 3600.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} min"


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
    run: Run,
    profile: str,
    hosts: Sequence[str],
    where: Place,
    modes: Sequence[str],
    remember: float = 604800.0,
    asked: bool = False,
) -> Survey:
    """Ask the array at the first of its management addresses that lets us in; all others are asked only whether they would.

    hosts     each a name or an address, with a port where it is not that of `where`: HOST, HOST:PORT, [IPv6]:PORT
    modes     of "health", "capacity", "performance": what is not wanted is not asked
    remember  seconds for which a part that vanished is missed
    asked     the modes were asked for by name: one of which nothing is told is a fault then, of whatever family
    Raises Failed when the array has one address, and could not be asked there.
    """
    module = family(profile)
    before = run.before if isinstance(run.before, dict) else {}
    now = run.clock.time()
    array: Array | None = None
    first = where
    addresses: dict[str, Failed | None] = {}
    for number, host in enumerate(hosts):
        share = run.left() / (len(hosts) - number)
        name, port = host_port(host, 0)
        at = where._replace(host=name, port=port or where.port)
        try:
            if array is None:
                array, first = module.look(Share(run, share), at, tuple(modes)), at
            else:
                _same(module, Share(run, min(GREETING, share)), array, first, at)
            addresses[host] = None
        except Failed as failed:
            if len(hosts) == 1:
                raise
            addresses[host] = Failed(failed.kind, f"management {host}", failed.tried, failed.error, failed.cure)
    if array is None:
        return Survey(Array(""), (), addresses, before)
    if not (array.parts or array.rooms or array.speeds or array.lost):
        raise Failed(ABSENT, "", "", f"{array.product} told nothing of what was asked")
    kept: dict[str, Any] = {**before}
    if array.rates is not None:
        kept["rates"] = array.rates
    gone: list[tuple[str, float]] = []
    if "health" in modes:
        present = {part.of for part in array.parts if part.kind in LASTING and part.health != "absent"}
        seen = kept["seen"] = high_water.seen(before.get("seen"), present, now, remember)
        # What could not be asked is not missing: its Failed says so.
        missed = tuple(kind for kind in LASTING if not _lost(array, kind))
        gone = [(of, now - at) for of, at in sorted(seen.items()) if of not in present and of.startswith(missed)]
    if "capacity" in modes:
        array = array._replace(rooms=_growing(array.rooms, before.get("growth"), now, kept))
    array, untold = _silence(array, profile, modes, asked)
    return Survey(array, gone, addresses if len(hosts) > 1 else {}, kept, untold)


def _same(module: Any, run: Any, array: Array, first: Place, at: Place) -> None:
    """Log in at one more address. Raises Failed where that is refused, and where another array answers."""
    told = module.greet(run, at)
    if array.product.startswith(told):
        return
    usual = attempt(module.greet, run, first)  # the family words its greeting in another way than its product
    if told != usual:
        cure = "a service of its own for it"
        raise Failed(UNREADABLE, "", "", f"another array than that looked at answers: {told}", cure)


def _silence(array: Array, profile: str, modes: Sequence[str], asked: bool) -> tuple[Array, list[str]]:
    """Return the array, with what it should have told and did not among what is lost; and what it need not tell."""
    measured = [speed for speed in array.speeds if any(value is not None for value in speed[1:])]
    told = {"health": array.parts, "capacity": array.rooms, "performance": measured}
    silent = [mode for mode in modes if not told[mode]] if not array.lost else []
    untold = [mode for mode in silent if mode in UNTOLD.get(profile, ()) and not asked]
    missing = [mode for mode in silent if mode not in untold]
    if "health" in modes and profile not in DISKLESS and not _lost(array, "disk"):
        missing += ["disk"] * all(part.kind != "disk" or part.health == "absent" for part in array.parts)
    lost = [Failed(ABSENT, of, f"ask for {of}", "none is told: may this account see it?") for of in missing]
    return array._replace(lost=[*array.lost, *lost]), untold


def _growing(rooms: Sequence[Room], before: Any, now: float, kept: dict[str, Any]) -> list[Room]:
    """Return the rooms, with when each pool will be full; what is to be kept goes to kept["growth"]."""
    old = before if isinstance(before, dict) else {}
    # A pool that is not told this time keeps its past, as long as that counts.
    series = kept["growth"] = {name: past for name in old if (past := growth.kept(old[name], now, WEEK))}
    made = []
    for room in rooms:
        if room.kind == "pool" and room.size and room.used is not None:
            samples = series[room.name] = growth.added(old.get(room.name), now, room.used, WEEK)
            room = room._replace(full_in=growth.full_in(max(0.0, room.size - room.used), growth.slope(samples, WEEK)))
        made.append(room)
    return made
