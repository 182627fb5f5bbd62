# SPDX-License-Identifier: Apache-2.0
"""Any array, or server with disks, that speaks Redfish: systems, chassis, managers, storage, and the pools of Swordfish.

Requests: the service root, log-in and log-out, and one per object; a service that expands (DSP0266, ExpandQuery with Levels and
ExpandAll) needs one per collection and one for all drives of a controller. Account: ReadOnly. The mode performance is not
told in a form that services share.

Sources: as probes/redfish.py; SNIA Swordfish 1.2, StoragePool 1.6 and Capacity 1.2 (Capacity.Data: AllocatedBytes,
ConsumedBytes and ProvisionedBytes).
"""

from __future__ import annotations

from collections.abc import Sequence

from nephoscope.base import Failed, Run
from nephoscope.probes import parts, redfish
from nephoscope.probes.san import Array, Part, Place, Room
from nephoscope.probes.san_rest import distinct

# What probes/redfish.py calls them -> the kinds of an array; all others are parts of the system.
KINDS = {
    "drive": "disk", "controller": "controller", "chassis": "enclosure",
    "power supply": "power supply", "fan": "fan", "temperature": "sensor", "voltage": "sensor", "power": "sensor",
    "volume": "volume", "pool": "pool",
}  # fmt: skip
# Those that a service must tell a health of, or else it is not known; readings have their limits, the others a roll-up above.
TELLING = ("system", "storage", "drive", "controller", "power supply", "fan", "volume", "pool")
SPARE = "state StandbySpare"

PLACES = (
    ("/Drives", "disk"),
    ("/Volumes", "volume"),
    ("/StoragePools", "pool"),
    ("/PowerSupplies", "power supply"),
    ("/Fans", "fan"),
    ("/Controllers", "controller"),
)


def greet(run: Run, place: Place) -> str:
    """Return the product. Raises Failed as `look`."""
    return redfish.greet(run, _bmc(place))


def look(run: Run, place: Place, modes: Sequence[str]) -> Array:
    """Ask the service for everything. Raises Failed as `redfish.parts`."""
    pools: list[redfish.Pool] = []
    product, found = redfish.array(run, _bmc(place), pools)
    told = distinct(_part(part) for part in found if isinstance(part, parts.Part))
    rooms = [Room("pool", pool.name, pool.size, pool.used, pool.provisioned) for pool in pools]
    lost = [_lost(each) for each in found if isinstance(each, Failed)]
    return Array(
        product,
        told if "health" in modes else (),
        rooms if "capacity" in modes else (),
        lost=lost,
    )


def _part(part: parts.Part) -> Part:
    """Return it in the words of an array; a part beyond its own limits, or that tells no health, is what it is called there."""
    kind = KINDS.get(part.kind, "system")
    first = "storage" if part.kind == "controller" else part.kind
    name = part.name[len(first) + 1 :] if part.name.startswith(f"{first} ") else part.name
    beyond, why = part.beyond()
    if beyond and part.health != "failed":
        return Part(kind, name, beyond, why)
    if kind == "disk" and part.health in ("ok", "") and part.text == SPARE:
        return Part(kind, name, "spare", part.text)
    limits = (part.low_critical, part.low_warning, part.high_warning, part.high_critical)
    judged = part.kind not in TELLING or (part.value is not None and any(limit is not None for limit in limits))
    silent = "ok" if judged else "unknown"
    return Part(kind, name, part.health or silent, part.text or part.health or "tells no health")


def _lost(failed: Failed) -> Failed:
    """Name what can't be seen by its kind; what leads to parts of several kinds is the system's."""
    kind = next((kind for word, kind in PLACES if word in failed.of), "system")
    return Failed(failed.kind, f"{kind} {failed.of.removeprefix('redfish ')}", failed.tried, failed.error, failed.cure)


def _bmc(place: Place) -> redfish.Bmc:
    return redfish.Bmc(
        place.base(80 if place.plain else 443), place.user, place.password, place.ca_file, place.fingerprint, place.insecure,
        place.cert, place.key,
    )  # fmt: skip
