# SPDX-License-Identifier: Apache-2.0
"""A cluster controller of Eucalyptus: the C one in an httpd on 8774, or that of 5.x, which lives in the JVM on 8773.

Sources: cluster/eucalyptus-cluster.in (httpd, its port CC_PORT), cluster/handlers.c of 4.4.2 (broadcast_network_info writes
cc_global_network_info.xml whenever the cloud controller has sent its view; NetworkInfoBroadcaster.java sends one every 30 s),
ClusterController and ProxyClusterController in 5.x.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREACHABLE, Failed, Run, attempt
from nephoscope.probes import axis2, euca_daemon, heartbeat

PORT = 8774
SERVICE = "EucalyptusCC"
# What the C one is called where `cluster` is the Java one: only a JVM of 5.x lists it. The second is its class's name.
NATIVE = ("proxy-cluster", "proxyclustercontroller")
NATIVE_ONLY = ("state", "messages", "view")  # modes
MESSAGES = "euca.components.cc.msgs.stats"
VIEW = "cc_global_network_info.xml"
GLOBAL = ("EDGE", "VPCMIDO")  # network modes in which the cloud controller's view is all that there is
KEPT = (4, 2)  # the version since which broadcast_network_info leaves the view in a file


class Cc(NamedTuple):
    """What is known of a cluster controller; None: not looked at, a Failed: could not be looked at.

    serving   the page of the C one, or the Heartbeat of the Java one
    daemon    its httpd, or the JVM, on this host
    state     what its sensor says (C only)
    messages  how many of them failed (C only)
    kept      plain JSON for the next run
    view_age  seconds since the view of the network was written
    never     there is none since the host started: `view_age` is the host's uptime
    """

    serving: axis2.Services | heartbeat.Heartbeat | Failed | None = None
    daemon: euca_daemon.Running | Failed | None = None
    state: Any = None
    messages: Any = None
    view_age: float | Failed | None = None
    never: bool = False
    kept: Any = None

    @property
    def service(self) -> tuple[str, str, str] | None:
        """Name of the service, what is wrong with it, and what to say when nothing is; None when it could not be asked."""
        from nephoscope.probes.euca_sensor import State

        if isinstance(self.serving, axis2.Services):
            well = "is serving" if isinstance(self.state, State) else "is serving; state not visible from here"
            return SERVICE, self.serving.lacks(SERVICE), well
        if isinstance(self.serving, heartbeat.Heartbeat):
            return "cluster", self.serving.lacks("cluster"), "is enabled"
        return None


def look(run: Run, options: Any) -> Cc:
    """Look at what the modes ask for: "service" from anywhere; "process", "state", "messages", "view" on this host only.

    Raises Failed when this host is to be looked at and has no Eucalyptus (absent). Where its eucalyptus.conf can't be read, it
    stands in the place of `daemon`, and only what can be asked from afar is.
    """
    from nephoscope.probes import euca_conf

    def when(mode: str, ask: Any) -> Any:
        return attempt(ask) if mode in options.mode else None

    conf = attempt(lambda: euca_conf.read(run)) if heartbeat.here(options) else None
    if isinstance(conf, Failed):
        if conf.kind == ABSENT:
            raise conf
        page = when("service", lambda: serving(run, options, None, not options.jvm))
        return Cc(serving=page, daemon=conf, kept=run.before)
    native = not options.jvm and (conf is None or euca_conf.native_cc(run, conf))
    found = Cc(kept=run.before)
    if conf is not None:
        daemon = "eucalyptus-cc" if native else "eucalyptus-cloud"
        found = found._replace(daemon=when("process", lambda: euca_daemon.processes(run, daemon)))
    lacking = [mode for mode in NATIVE_ONLY if mode in options.mode]
    if conf is not None and lacking and not native:
        text = "only the C one has it, and none is installed here"
        found = found._replace(state=Failed(ABSENT, ", ".join(lacking), "", text))
    elif conf is not None and native:
        from nephoscope.probes import euca_sensor

        found = found._replace(state=when("state", lambda: euca_sensor.state(run, conf, "cc")))
        found = view(run, conf, found) if "view" in options.mode else found
        told = when("messages", lambda: euca_sensor.messages(run, euca_sensor.read(run, conf, MESSAGES)))
        found = found._replace(messages=told, kept=getattr(told, "kept", run.before))
    # Last, as it may use up all the time that is left.
    return found._replace(serving=when("service", lambda: serving(run, options, conf, native)))


def serving(
    run: Run, options: Any, conf: Mapping[str, str] | None, native: bool
) -> axis2.Services | heartbeat.Heartbeat:
    """Ask the C one for its page; where nothing serves on its port, ask whether this is a 5.x. Raises Failed."""
    from nephoscope.probes import euca_conf

    if not native:
        return heartbeat.ask(run, options)
    try:
        return axis2.ask(run, options, euca_conf.port(conf or {}, "CC_PORT", PORT))
    except Failed as failed:
        if failed.kind != UNREACHABLE or options.port or conf is not None or run.left() <= 0:
            raise
        beat: heartbeat.Heartbeat | Failed = attempt(heartbeat.ask, run, options)
        if isinstance(beat, Failed):
            raise
        listed = [one for one in map(beat.find, NATIVE) if one]
        if not listed or any(one.local for one in listed):
            raise  # up to 4.4, or a C one registered here under 5.x: it is this port that should have answered
        return beat


def view(run: Run, conf: Mapping[str, str], found: Cc) -> Cc:
    """Return the facts with the age in seconds of the cloud's view of the network, as this one last passed it on.

    In the network modes that live by it, no view at all is as old as the host's uptime; in the others, and before 4.2, there
    need be none.
    """
    from nephoscope.probes import euca_conf

    path, mode = f"{euca_conf.directory(conf, 'run')}/{VIEW}", conf.get("VNET_MODE", "")
    run.stage(f"look at {path}")
    try:
        return found._replace(view_age=max(0.0, run.clock.time() - os.stat(run.path(path)).st_mtime))
    except FileNotFoundError:
        version = euca_conf.version(run, conf)
        if version and version < KEPT:
            text = f"none is kept before 4.2: this is {'.'.join(map(str, version))}"
        elif mode in GLOBAL:
            return found._replace(view_age=attempt(lambda: euca_daemon.uptime(run)), never=True)
        else:
            text = f"there is none (VNET_MODE {mode or 'is not set'})"
        return found._replace(view_age=Failed(ABSENT, "view", f"look at {path}", text))
    except OSError as error:
        return found._replace(view_age=Failed.of_os_error("view", f"look at {path}", error))
