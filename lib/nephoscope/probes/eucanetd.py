# SPDX-License-Identifier: Apache-2.0
"""What keeps the network of instances on one host of Eucalyptus: eucanetd, dhcpd, rules, the view that arrived, membership.

Sources: net/eucanetd.c, eucanetd_edge.c, ipt_handler.c, ips_handler.c, util/atomic_file.c, node/handlers_default.c and
cluster/handlers.c of 3.4 to 5.1; NetworkInfoBroadcaster.java (the view is sent every 30 s, changed or not; whoever has not
applied it within 120 s is reported by fault 1016); setup_membership.groovy.

Who keeps what: EDGE (3.4 and later), eucanetd on each node controller; VPCMIDO (4.2 and later), eucanetd on the cloud
controller, and MidoNet, not the kernel's rules; MANAGED and MANAGED-NOVLAN (up to 4.3), the cluster controller. The data plane
outlives eucanetd, so its death shows at the next change and not before. The view lies in global_network_info.xml as it arrived;
eucanetd copies it when its content changed, and when it has applied it writes the view's version to global_network_info.version
(4.2 and later). A change of the clusters' nodes is none of the version (NetworkInfoBroadcaster.java), and eucanetd skips such a
view: where the times tell of a change that is not applied, the versions decide. Only its owner may read the copy. Since 4.3
eucanetd holds UDP 127.0.0.1:63822 as long as it lives.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, files
from nephoscope.probes import as_root, euca_conf, listening, multicast, netfilter

NETWORKS = ("edge", "vpcmido", "managed", "managed-novlan")
LOCK = ("127.0.0.1", 63822)
GROUPS = ("239.193.7.3", "228.7.7.3")  # since 4.3, and before
TEMPORARY = "/tmp"  # noqa: S108 - where ipt_handler.c and its siblings put what the kernel refused
FAILED = re.compile(r"euca_[a-z_]+_failed")
JVM = {"clc", "ufs", "cloud", "walrus", "sc"}
CURE = "membership of group eucalyptus, which may look into the run directory"
# Built in chain, ours: what every version of EDGE has.
CHAINS = {
    "edge": (
        ("filter", "FORWARD", "EUCA_FILTER_FWD"),
        ("nat", "PREROUTING", "EUCA_NAT_PRE"),
        ("nat", "POSTROUTING", "EUCA_NAT_POST"),
        ("nat", "OUTPUT", "EUCA_NAT_OUT"),
    ),
    "managed": (("filter", "FORWARD", "EUCA_COUNTERS_IN"),),
}
OURS = ("EUCA_", "EU_", "sg-")
GRACE = 60.0  # seconds in which eucanetd applies a view, and restarts dhcpd after it wrote a new configuration
COPY = "eucanetd_global_network_info.xml"
HEAD = ("/usr/bin/head", "-c", "4096")
HEADS = tuple((*HEAD, f"/{folder}/eucalyptus/{COPY}") for folder in ("run", "var/lib"))
INTERFACES = "/sys/class/net"
GUEST = re.compile(r"vn_|vnet\d")  # an instance's end of its cable: node/handlers.c since 4.3, and libvirt's own name


class Sign(NamedTuple):
    """Something that was looked at: "ok", "degraded" or "failed", of what, and in words."""

    health: str
    of: str
    text: str


class Network(NamedTuple):
    """All that one host told.

    view_age    seconds since a view arrived; None: none is kept here, or it was not asked
    apply_wait  seconds since a changed view was seen that is not applied yet, 0 when all is; None: not told
    rules       rules in chains of Eucalyptus; None: not asked
    leases      addresses that dhcpd has to give; None: not asked
    """

    signs: tuple[Sign, ...] = ()
    failures: tuple[Failed, ...] = ()
    view_age: float | None = None
    apply_wait: float | None = None
    rules: int | None = None
    leases: int | None = None


class _Host:
    """What the parts need to know of this host, and where they put what they find."""

    def __init__(self, run: Run, network: str | None) -> None:
        self.run = run
        self.conf = euca_conf.read(run)
        self.roles = set(euca_conf.roles(run, self.conf))
        said = (network or self.conf.get("VNET_MODE", "")).lower()
        self.network = said
        self.signs: list[Sign] = []
        self.numbers: dict[str, Any] = {}
        edge, mido, managed = said == "edge", said == "vpcmido", said.startswith("managed")
        # On hosts where nobody sees whether there is a database, eucanetd counts when it is enabled.
        self.daemon = "eucanetd" in self.roles or (edge and "nc" in self.roles) or (mido and "clc" in self.roles)
        self.rules = "edge" if edge and "nc" in self.roles else "managed" if managed and "cc" in self.roles else ""
        self.view = self.daemon or (self.roles & {"nc", "cc"} and (edge or mido))
        self.jvm = bool(self.roles & JVM)

    def sign(self, health: str, of: str, text: str) -> None:
        self.signs.append(Sign(health, of, text))

    def path(self, name: str) -> str:
        return f"{euca_conf.directory(self.conf, 'run')}/{name}"

    def written(self, path: str) -> float | None:
        """Return the seconds since a file was written, None when it is not there. Raises Failed."""
        try:
            return max(0.0, self.run.clock.time() - os.stat(self.run.path(path)).st_mtime)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failed.of_os_error("view", f"look at {path}", error, CURE) from None


def look(run: Run, modes: Iterable[str], network: str | None) -> Network:
    """Look at what the modes ask for: daemon, dhcp, view, rules, leftovers, membership; only what this host's roles have.

    network  a word of NETWORKS, or None for VNET_MODE of eucalyptus.conf
    Raises Failed: as `euca_conf.read` does; unreadable for a network mode that nobody knows; absent where no part of the
    network is this host's.
    """
    host = _Host(run, network)
    if host.network and host.network not in NETWORKS:
        kind = ABSENT if host.network in ("system", "static", "none") else UNREADABLE
        text = "is not one that Eucalyptus keeps" if kind == ABSENT else "is not known"
        raise Failed(kind, "network", "read eucalyptus.conf", f"VNET_MODE {host.network.upper()} {text}")
    parts: Mapping[str, Callable[[_Host], None]] = {
        "daemon": _daemon,
        "dhcp": _dhcp,
        "view": _view,
        "rules": _rules,
        "leftovers": _leftovers,
        "membership": _membership,
    }
    failures = []
    for mode in modes:
        try:
            parts[mode](host)
        except Failed as failed:
            failures.append(failed)
    if not host.signs and not host.numbers and not failures:
        of = f"with {', '.join(sorted(host.roles)) or 'no component'}, network mode {host.network or 'not set'}"
        raise Failed(ABSENT, "", "", f"nothing of this is kept on this host {of}")
    return Network(tuple(host.signs), tuple(failures), **host.numbers)


def _daemon(host: _Host) -> None:
    if not host.daemon:
        return
    locked = LOCK in listening.udp(host.run)
    try:
        pid = euca_conf.pid(host.run, ("eucanetd", "eucalyptus-eucanetd"), host.conf)
        alive, number = pid.alive or _named(host.run, pid.pid), pid.pid
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
        alive, number = False, 0
    if alive:
        host.sign("ok", "eucanetd", f"runs{'' if locked else ', without its lock (before 4.3 there is none)'}")
    elif locked:
        text = f"runs, but not as its pid file says ({number or 'none'}): who holds UDP {LOCK[1]}?"
        host.sign("degraded", "eucanetd", text)
    else:
        host.sign("failed", "eucanetd", "does not run: what instances have now stays, and nothing new comes")


def _named(run: Run, pid: int) -> bool:
    """Return whether a process is eucanetd: up to 4.2 its pid file has another name than its program."""
    try:
        return files.text(run, f"/proc/{pid}/comm", limit=64).strip() == "eucanetd"
    except Failed:
        return False


def _dhcp(host: _Host) -> None:
    if not host.rules:
        return
    path = host.path("net/euca-dhcp.conf")
    try:
        text = files.text(host.run, path, of="dhcpd", limit=16 << 20)
    except Failed as failed:
        if failed.kind == ABSENT:
            host.sign("ok", "dhcpd", "has nothing to give yet")
            return
        raise Failed(
            failed.kind, "dhcpd", failed.tried, failed.error, CURE if failed.kind == NOT_ALLOWED else ""
        ) from None
    leases = len(re.findall(r"(?m)^\s*host node-", text))
    pid: euca_conf.Pid | None = None
    try:
        pid = euca_conf.pid(host.run, ("net/euca-dhcp",), host.conf)
    except Failed as failed:
        if failed.kind != ABSENT:
            raise
    runs = pid is not None and pid.alive
    if not runs and host.rules == "edge" and not any(map(GUEST.match, files.names(host.run, INTERFACES))):
        leases = 0  # eucanetd of 4.4 stops dhcpd with the last instance, and leaves the configuration as it was
    host.numbers["leases"] = leases
    if not leases:
        host.sign("ok", "dhcpd", "has nothing to give")  # eucanetd starts none then
        return
    if pid is None or not runs:
        host.sign("failed", "dhcpd", f"does not run: {leases} instances get no address when theirs runs out")
        return
    age, written = _age(host.run, pid.pid), host.written(path)
    if age is not None and written is not None and age > written + 5 and written > GRACE:
        text = f"was started before its configuration, {written / 60:.0f} min ago, was written: new instances get no address"
        host.sign("degraded", "dhcpd", text)
    else:
        host.sign("ok", "dhcpd", "runs")


def _age(run: Run, pid: int) -> float | None:
    """Return the seconds for which a process runs, None when that can't be learnt."""
    from nephoscope.probes import process

    try:
        uptime = float(files.text(run, "/proc/uptime").split()[0])
        return max(0.0, uptime - process.stat_of(files.data(run, f"/proc/{pid}/stat")).start / process.TICKS)
    except (Failed, ValueError, IndexError):
        return None


def _view(host: _Host) -> None:
    if not host.view:
        return
    run, state = euca_conf.directory(host.conf, "run"), euca_conf.directory(host.conf, "state")
    names = {f"{run}/global_network_info.xml": run, f"{run}/cc_global_network_info.xml": run}
    names[f"{state}/global_network_info.xml"] = state  # in the order in which eucanetd looks for it
    ages = ((host.written(path), folder) for path, folder in names.items())
    age, folder = next((found for found in ages if found[0] is not None), (None, ""))
    if age is None:
        raise Failed(
            ABSENT, "view", f"look for {run}/global_network_info.xml", "no view of the network has arrived yet"
        )
    host.numbers["view_age"] = age
    if host.daemon:
        host.numbers["apply_wait"] = _waiting(host, f"{folder}/{COPY}", host.path("global_network_info.version"))


def _waiting(host: _Host, copy: str, version: str) -> float | None:
    """Return the seconds since a changed view was seen that is not applied yet, 0 when all is; None when nobody tells."""
    seen, applied = host.written(copy), host.written(version)
    if seen is None:
        return None
    if applied is None:  # since the host came up nothing was, or it is not told before 4.2
        return seen if LOCK in listening.udp(host.run) else None
    if applied <= seen + 1:
        return 0.0
    if seen > GRACE:
        answer = as_root.ask((*HEAD, host.run.path(copy)), host.run, of="view", seconds=host.run.left() / 2)
        found = re.search(r"<network-data\b[^>]*?\sversion=[\"']([^\"'>]+)", answer.out)
        if not found:
            raise Failed(UNREADABLE, "view", f"read {copy}", answer.err.strip()[:200] or f"{COPY} has no version")
        if found[1] == files.text(host.run, version, of="view", limit=4096).strip():
            return 0.0
    return seen


def _rules(host: _Host) -> None:
    if not host.rules:
        return
    tables = netfilter.tables(host.run, host.run.left() / 2)
    host.numbers["rules"] = tables.count(*OURS)
    missing = [f"{ours} ({table})" for table, _, ours in CHAINS[host.rules] if not tables.has(table, ours)]
    if missing:
        host.sign("failed", "iptables", f"chains are missing: {', '.join(missing)}")
    for table, chain, ours in CHAINS[host.rules]:
        if tables.has(table, ours) and not tables.leads(table, chain, ours):
            host.sign("failed", "iptables", f"{chain} of table {table} does not lead to {ours}")
    groups = {chain for chain in tables.chains.get("filter", {}) if chain.startswith(("EU_", "sg-"))}
    if groups:  # each security group has a set of its members by the name of its chain
        alone = sorted(groups - set(netfilter.sets(host.run, host.run.left() / 2)))
        if alone:
            host.sign("failed", "ipset", f"{len(alone)} of {len(groups)} security groups have no set: {alone[0]}")


def _leftovers(host: _Host) -> None:
    if not host.daemon:
        return
    applied = host.written(host.path("global_network_info.version"))
    for name in files.names(host.run, TEMPORARY):
        if FAILED.fullmatch(name):
            age = host.written(f"{TEMPORARY}/{name}")
            if age is not None and (applied is None or age < applied):
                text = f"{age / 60:.0f} min old: rules that the kernel refused, and nothing was applied since"
                host.sign("degraded", f"{TEMPORARY}/{name}", text)
            elif age is not None:
                host.sign("ok", f"{TEMPORARY}/{name}", "is of a failure that was made good since")


def _membership(host: _Host) -> None:
    if not host.jvm:
        return
    words = host.conf.get("CLOUD_OPTS", "")
    if "--bootstrap-host" in words or "-Deuca.bootstrap.host" in words:
        host.sign("ok", "membership", "by TCP, without multicast")
        return
    given = re.search(r"(?:--mcast-addr|-Deuca\.mcast\.addr)[= ]\s*(\d+(?:\.\d+){3})", words)
    wanted = (given[1],) if given else GROUPS
    joined = multicast.joined(host.run)
    found = [group for group in wanted if group in joined]
    if found:
        host.sign("ok", "membership", f"joined {found[0]} on {', '.join(joined[found[0]])}")
    else:
        text = f"no interface has joined {' or '.join(wanted)}: this host is out of the cloud, or its JVM does not run"
        host.sign("failed", "membership", text)
