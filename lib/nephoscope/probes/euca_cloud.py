# SPDX-License-Identifier: Apache-2.0
"""How Eucalyptus answers the questions of `cloud`. Each answer stands in a module of its own, loaded when it is asked for."""

from __future__ import annotations

from typing import Any

from nephoscope.base import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.probes import cloud


def capacity(options: Any, run: Run) -> cloud.Room:
    """See cloud.capacity; source and rights in euca_capacity."""
    from nephoscope.probes import euca_capacity

    return euca_capacity.room(options, run)


def quotas(options: Any, run: Run) -> cloud.Quotas:
    """See cloud.quotas; source and rights in euca_quota."""
    from nephoscope.probes import euca_quota

    return euca_quota.quotas(options, run)


def addresses(options: Any, run: Run) -> cloud.Pools:
    """See cloud.addresses; source and rights in euca_addresses."""
    from nephoscope.probes import euca_addresses

    return euca_addresses.pools(options, run)


def unused(options: Any, run: Run) -> cloud.Idle:
    """See cloud.unused; source and rights in euca_unused."""
    from nephoscope.probes import euca_unused

    return euca_unused.idle(options, run)
