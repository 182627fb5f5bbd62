# SPDX-License-Identifier: Apache-2.0
"""A node controller of Eucalyptus: its page from anywhere; on the node what it last told its cluster controller, and what it
stands on.

Source of nc-stats: doDescribeInstances in node/handlers.c of 3.1 to 4.4.2. It is written anew whenever the cluster controller
asks for the instances (every 6 s unless NC_POLLING_FREQUENCY says otherwise), so its time is that of the last poll. Where
nc-stats may not be read, its mtime still tells that. Network modes: VNET_MODE of eucalyptus.conf, in capitals; in EDGE the node
has an eucanetd of its own (monitoring_thread in node/handlers.c: without it the node reports itself disabled), which keeps a
dhcpd as long as instances run (do_edge_update_ips in net/eucanetd_edge.c). In all other modes the node has neither.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, attempt, files
from nephoscope.probes import axis2, euca_daemon, heartbeat

PORT = 8775
SERVICE = "EucalyptusNC"
STATS = ("/usr/bin/cat", "/var/run/eucalyptus/nc-stats")
CURE = f"a sudoers line for `{' '.join(STATS)}` (nephoscope export sudoers)"
MIB, GIB = 1 << 20, 1 << 30
AHEAD = 60.0  # seconds by which a time of the node's own clock may be ahead of it
AGAIN = 0.2  # seconds until a file that was just being written is read again
NETWORKS = ("SYSTEM", "STATIC", "MANAGED", "MANAGED-NOVLAN", "EDGE", "VPCMIDO")  # util/euca_network.h and its forebears
LIBVIRT = 5.0  # seconds: LIBVIRT_TIMEOUT of the node controller itself


class Room(NamedTuple):
    """What is free and what there is: cores, bytes of memory, bytes of disk."""

    free: int
    most: int


class Stats(NamedTuple):
    """What nc-stats says.

    at         when the cluster controller last asked, seconds since 1970
    room       "cores", "mem" and "disk"; a Failed where only its mtime could be had, as all below
    network    network mode, as the node controller has it, or ""
    running    how many instances run there, or None: neither those that are staged nor those that ended minutes ago
    """

    at: float
    room: Mapping[str, Room] | Failed
    network: str = ""
    running: int | None = None


class Nc(NamedTuple):
    """What is known of a node controller; None: not looked at, a Failed: could not be looked at.

    serving   its page
    poll_age  seconds since its cluster controller asked it
    never     it was not asked since the node started: `poll_age` is the node's uptime
    stats     what it told then
    state     what its sensor says
    libvirt   seconds until libvirt answered
    kvm       why there is no KVM, "" when there is
    daemons   its httpd, and in EDGE mode its eucanetd
    dhcp      in EDGE mode, as long as instances run
    network   the network mode, "" where it is not known
    """

    serving: axis2.Services | Failed | None = None
    poll_age: float | Failed | None = None
    never: bool = False
    stats: Stats | Failed | None = None
    state: Any = None
    libvirt: float | Failed | None = None
    kvm: str | Failed | None = None
    daemons: tuple[euca_daemon.Running | Failed, ...] = ()
    dhcp: euca_daemon.Running | Failed | None = None
    network: str | None = None

    @property
    def mode(self) -> str:
        """What to say of the network mode, in words that follow "network"."""
        no_such = "" if self.network in NETWORKS else ": there is no such mode"
        return f"mode is {self.network}{no_such}" if self.network else "mode is not known"

    @property
    def service(self) -> tuple[str, str] | None:
        """What is wrong with the service, and what to say when nothing is; None when it could not be asked."""
        if not isinstance(self.serving, axis2.Services):
            return None
        from nephoscope.probes.euca_sensor import State

        seen = isinstance(self.poll_age, float) or isinstance(self.state, State)
        return self.serving.lacks(SERVICE), "is serving" if seen else "is serving; state not visible from here"


def look(run: Run, options: Any) -> Nc:
    """Look at what the modes ask for: "service" from anywhere, all others on this host only.

    Raises Failed when this host is to be looked at and has no Eucalyptus (absent). Where its eucalyptus.conf can't be read, it
    stands among the `daemons`, and only what can be asked from afar is.
    """
    from nephoscope.probes import euca_conf

    def when(mode: str, ask: Callable[[], Any]) -> Any:
        return attempt(ask) if mode in options.mode else None

    conf = attempt(lambda: euca_conf.read(run)) if heartbeat.here(options) else None
    if isinstance(conf, Failed) and conf.kind == ABSENT:
        raise conf
    if conf is None or isinstance(conf, Failed):
        return Nc(when("service", lambda: axis2.ask(run, options, PORT)), daemons=(conf,) if conf else ())
    found = Nc()
    if {"poll", "room", "network"} & set(options.mode):
        found = found._replace(stats=attempt(lambda: stats(run, conf)))
    if "poll" in options.mode:
        found = polled(run, found)
    needs = ["eucalyptus-nc"] if "process" in options.mode else []
    if "network" in options.mode:
        found = found._replace(network=network(conf, found.stats))
    if found.network == "EDGE":
        needs.append("eucanetd")
        found = found._replace(dhcp=dhcp(run, found.stats))
    found = found._replace(daemons=euca_daemon.several(run, needs))
    if "state" in options.mode:
        from nephoscope.probes import euca_sensor

        found = found._replace(state=attempt(lambda: euca_sensor.state(run, conf, "nc")))
    if conf.get("HYPERVISOR", "kvm") == "kvm":
        found = found._replace(kvm=when("kvm", lambda: lacks_kvm(run)))
    # What may hang comes last; the page is the very last, as it may use up all the time that is left.
    return found._replace(
        libvirt=when("libvirt", lambda: answers(run, conf)),
        serving=when("service", lambda: axis2.ask(run, options, euca_conf.port(conf, "NC_PORT", PORT))),
    )


def stats(run: Run, conf: Mapping[str, str]) -> Stats:
    """Return what nc-stats says, read by sudo where it must be; without that right its mtime alone.

    Raises Failed: absent (nobody has asked since the node started), unreadable.
    """
    from nephoscope.probes import euca_conf

    path = f"{euca_conf.directory(conf, 'run')}/nc-stats"
    try:
        return parse(content(run, conf, path))
    except Failed as failed:
        if failed.kind == ABSENT:
            raise
        refused = failed
    if refused.kind == UNREADABLE:  # it is written in place: perhaps just now
        time.sleep(min(AGAIN, run.left()))
        return parse(content(run, conf, path))
    try:
        return Stats(os.stat(run.path(path)).st_mtime, refused)
    except OSError as error:
        raise Failed.of_os_error("nc-stats", f"look at {path}", error) from None


def content(run: Run, conf: Mapping[str, str], path: str) -> str:
    """Return nc-stats, read by sudo where it must be. Raises Failed."""
    from nephoscope.probes import as_root

    run.stage(f"read {path}")
    try:
        return files.text(run, path, of="nc-stats")
    except Failed as failed:
        if failed.kind != NOT_ALLOWED:
            raise
        if run.root or conf.get("EUCALYPTUS", "/") != "/":  # the sudoers line is for the usual place
            raise Failed(NOT_ALLOWED, "nc-stats", failed.tried, failed.error, CURE) from None
    answer = as_root.ask(STATS, run, of="nc-stats")
    if answer.status:
        raise Failed(NOT_ALLOWED, "nc-stats", f"read {path}", answer.err.strip()[:200] or "cat failed", CURE)
    return answer.out


def parse(text: str) -> Stats:
    """Return what stands in nc-stats. Raises Failed (unreadable), for a half-written file too: it is not renamed into place."""
    import re

    def value(name: str, form: str) -> re.Match[str]:
        match = re.search(rf"^{re.escape(name)}: *{form}$", text, re.MULTILINE)
        if match is None:
            raise Failed(UNREADABLE, "nc-stats", "read nc-stats", f"no line of {name}: {text[-40:]!r}")
        return match

    room = {}
    for key, name, unit in (("cores", "cores (max/avail/used)", 1), ("mem", "memory (max/avail/used) MB", MIB),
                            ("disk", "disk (max/avail/used) GB", GIB)):  # fmt: skip
        most, free, _ = (int(number) * unit for number in value(name, r"(-?\d+)/(-?\d+)/(-?\d+)").groups())
        room[key] = Room(free, most)
    at = float(value("timestamp", r"(\d+)")[1])
    running = re.findall(r"^id: .* state: Extant ", text, re.MULTILINE)
    return Stats(at, room, value("network", r"(\S+)")[1], len(running))


def polled(run: Run, found: Nc) -> Nc:
    """Return the facts with the age of the last poll. A node that was never asked is as old as its uptime."""
    if isinstance(found.stats, Stats):
        age = run.clock.time() - found.stats.at
        if age < -AHEAD:
            text = f"its time is {-age:.0f} s ahead of this node's clock"
            return found._replace(poll_age=Failed(UNREADABLE, "nc-stats", "read nc-stats", text))
        return found._replace(poll_age=max(0.0, age))
    if isinstance(found.stats, Failed) and found.stats.kind == ABSENT:
        return found._replace(poll_age=attempt(lambda: euca_daemon.uptime(run)), never=True)
    return found._replace(poll_age=found.stats)


def network(conf: Mapping[str, str], told: Stats | Failed | None) -> str:
    """Return the network mode, "" where neither eucalyptus.conf nor nc-stats tell it."""
    return conf.get("VNET_MODE") or (told.network if isinstance(told, Stats) else "")


def dhcp(run: Run, told: Stats | Failed | None) -> euca_daemon.Running | Failed | None:
    """Return whether eucanetd's own dhcpd runs (another one may, for another network); None where it need not.

    Where it is not known whether instances run, one that does not is not known to be missed: then why that is not known.
    """
    if isinstance(told, Stats) and told.running == 0:
        return None
    found = next(iter(euca_daemon.several(run, ["dhcpd"], r"/euca-dhcp\.conf( |$)")), None)
    why = told.room if isinstance(told, Stats) else told
    return why if isinstance(why, Failed) and isinstance(found, euca_daemon.Running) and not found.alive else found


def answers(run: Run, conf: Mapping[str, str]) -> float:
    """Return the seconds until libvirt had listed its guests. Raises Failed as `libvirt.guests` does."""
    from nephoscope.probes import libvirt

    uri = "xen:///" if conf.get("HYPERVISOR") == "xen" else "qemu:///system"
    return libvirt.guests(run, uri, min(LIBVIRT, max(0.1, 0.7 * run.left()))).seconds


def lacks_kvm(run: Run) -> str:
    """Return what KVM lacks on this node, "" for nothing. Raises Failed."""
    from nephoscope.probes import libvirt

    return libvirt.kvm(run).lacks
