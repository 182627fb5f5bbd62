# SPDX-License-Identifier: Apache-2.0
"""A cloud controller of Eucalyptus: its Heartbeat from anywhere, and on its own host the JVM and the database port.

Sources: systemd/units/eucalyptus-cloud.service and tools/eucalyptus-cloud.in (the JVM lives in a process `eucalyptus-cloud`,
which writes a pid file up to 4.2 and none under systemd: so processes are looked at, not pid files);
com.eucalyptus.component.id.Database (port 8777).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nephoscope.base import ABSENT, Failed, Run, attempt
from nephoscope.probes import euca_daemon, heartbeat

DATABASE = 8777
JVM = "eucalyptus-cloud"

# Internal components that every cloud controller loads, whatever is registered: ComponentIds with @Partition(Eucalyptus.class),
# or isCloudLocal(), that are not registerable (Components.BOOTSTRAP_LOAD_LOCAL in 3.1 to 4.4), as far as the list of a living
# 4.1 cloud in adminapi's cloud_admin/services/README.md has them. A version that does not list one does not have it.
INTERNAL = (
    *("bootstrap", "db", "notifications", "pollednotifications"),
    *("autoscalingbackend", "cloudwatchbackend", "imagingbackend", "loadbalancingbackend"),
)
# Not ready for as long as nobody installed their worker image, on a cloud that is well (faults 1014 and 1015).
IMAGE = ("imagingbackend", "loadbalancingbackend")


class Concern(NamedTuple):
    """A component that matters on a cloud controller beside `eucalyptus` itself.

    name    as it was asked for, or as the Heartbeat has it
    state   what is known of it, as it follows "is"
    well    enabled on this host
    wanted  asked for by name
    """

    name: str
    state: str
    well: bool
    wanted: bool


def concerns(beat: heartbeat.Heartbeat, wanted: tuple[str, ...]) -> tuple[Concern, ...]:
    """Return what is wanted by name, what is registered on this host, and what every cloud controller of this version has."""
    found = []
    for name in dict.fromkeys(wanted):
        one = beat.find(name)
        found.append(Concern(name, one.state if one else "unknown to this version", bool(one and one.enabled), True))
    named = {name[: heartbeat.CUT] for name in wanted} | {"eucalyptus"}
    for one in beat.components:
        if (one.local or one.name in INTERNAL) and one.name not in named:
            hint = ": as long as its worker image is not installed, --exclude it" if one.name in IMAGE else ""
            found.append(Concern(one.name, one.state + (hint if not one.enabled else ""), one.enabled, False))
    return tuple(found)


class Clc(NamedTuple):
    """What is known of a cloud controller; None: not looked at, a Failed: could not be looked at.

    beat      what its JVM says of its components
    jvm       the processes of the JVM on this host
    database  whether something listens on the database's port of this host
    """

    beat: heartbeat.Heartbeat | Failed | None
    jvm: euca_daemon.Running | Failed | None
    database: bool | Failed | None


def look(run: Run, options: Any) -> Clc:
    """Look at what the modes ask for: "heartbeat" and "components", "process", "database"; the last two on this host only.

    Raises Failed, absent, when this host is to be looked at and has no Eucalyptus.
    """
    here, modes = heartbeat.here(options), options.mode
    if here:
        from nephoscope.probes import euca_conf

        conf = attempt(lambda: euca_conf.read(run))
        if isinstance(conf, Failed) and conf.kind == ABSENT:
            raise conf  # that there is one suffices: nothing of it is needed
    jvm = attempt(lambda: euca_daemon.processes(run, JVM)) if here and "process" in modes else None
    database = attempt(lambda: euca_daemon.listens(run, DATABASE)) if here and "database" in modes else None
    # Last, as it may use up all the time that is left.
    asked = "heartbeat" in modes or "components" in modes
    return Clc(attempt(lambda: heartbeat.ask(run, options)) if asked else None, jvm, database)
