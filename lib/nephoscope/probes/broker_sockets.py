# SPDX-License-Identifier: Apache-2.0
"""The connections that services of this host hold to their message brokers, from the kernel's socket tables.

Whose a socket is, /proc/PID/fd tells ("socket:[inode]"), to root and to the process's own user; anybody else is told by `ss`
through sudo. Tables: /proc/PID/net/tcp and tcp6, those of the process's network name space (Documentation/networking/
proc_net_tcp.rst of Linux); the files of two name spaces have two inode numbers (fs/proc/generic.c), which everybody may ask.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run, attempt, files
from nephoscope.probes import listening, process

PORTS = (5672, 5671)  # AMQP, and AMQP over TLS
SS = ("/usr/bin/ss", "-H", "-t", "-n", "-p", "-e", "-O")
MOST = 32 << 20  # bytes of one table: 200 000 sockets
FDS = 100_000  # descriptors of one process
PROBES = b"04"  # the timer of a window that is closed (proc_net_tcp.rst); before it are the unanswered retransmissions
STANDING = 30.0  # seconds for which a send queue must not have moved to count as stuck
ESTABLISHED, TRYING, LEFT = (
    "01",
    "02",
    "08",
)  # TCP_ESTABLISHED, TCP_SYN_SENT, TCP_CLOSE_WAIT of include/net/tcp_states.h

# Services that hold a connection as long as they run, because they consume: an API connects when it first has something to say.
# Sources: the services of each project's installation guide whose [DEFAULT] transport_url is not optional.
CONSUMERS = (
    *("nova-conductor", "nova-scheduler", "nova-compute", "neutron-server", "neutron-rpc-server"),
    *("neutron-openvswitch-agent", "neutron-linuxbridge-agent", "neutron-l3-agent", "neutron-dhcp-agent"),
    *("neutron-sriov-nic-agent", "neutron-macvtap-agent", "neutron-metering-agent", "nova-network"),
    *("neutron-metadata-agent", "cinder-scheduler", "cinder-volume", "cinder-backup", "heat-engine"),
    *("manila-scheduler", "manila-share", "octavia-worker", "designate-central", "designate-worker"),
    *("magnum-conductor", "ironic-conductor", "ceilometer-agent-notification"),
)


class Link(NamedTuple):
    """One TCP socket.

    inode, port, host, there  its own port; address and port of the other end
    state    the kernel's
    queue    bytes that the other end has not yet taken: on a busy connection there are always some
    waiting  whether the kernel sends them again, or asks the other end whether it has room
    """

    inode: int
    port: int
    host: str
    there: int
    state: str
    queue: int
    waiting: bool


class Service(NamedTuple):
    """What the processes of one service hold.

    need       connections that it must hold, at least
    pids       how many processes run; idle: those that do not, in words that follow others
    connected  connections established to the brokers
    trying     attempts without an answer; left: closed by the broker, and not yet by the service
    elsewhere  "host:port" of AMQP connections to others than these brokers
    stuck      connections whose send queue has not moved for half a minute; standing: seconds of the longest
    alone      seconds since it was first seen without a connection; 0 while it has one
    """

    name: str
    need: int
    pids: int
    connected: int = 0
    trying: int = 0
    left: int = 0
    elsewhere: tuple[str, ...] = ()
    stuck: int = 0
    standing: float = 0.0
    alone: float = 0.0
    idle: str = ""

    @property
    def instead(self) -> str:
        """What it has in the place of connections, in words that follow others; "" for nothing."""
        elsewhere = ", ".join(self.elsewhere[:3])
        kinds = (
            (self.trying, f"{self.trying} attempts without an answer"),
            (self.left, f"{self.left} that the broker has closed"),
            (self.elsewhere, f"connected to {elsewhere}"),
        )
        return "".join(f", {words}" for number, words in kinds if number)


class Host(NamedTuple):
    """All services looked at; of brokers and services that could not be, a Failed. `kept` is plain JSON for the next run."""

    services: tuple[Service | Failed, ...]
    brokers: str
    kept: dict[str, Any]


def broker(text: str) -> tuple[str, int]:
    """Return host and port (0: not said) from "HOST", "HOST:PORT" or "[IPV6]:PORT". Raises ValueError."""
    match = re.fullmatch(
        r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/@]+)|([0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*))(?::(\d+))?", text
    )
    if match is None or int(match[4] or 0) > 65535:
        raise ValueError(f"'{text}' is no broker: write HOST, HOST:PORT or [IPV6]:PORT")
    return match[1] or match[2] or match[3], int(match[4] or 0)


def look(
    run: Run,
    expect: Sequence[tuple[str, int]],
    named: Sequence[tuple[str, int]],
    service_files: Sequence[str],
    *,
    own: str,
) -> Host:
    """Return what is connected.

    expect         (service, connections at least); none: every service of CONSUMERS that runs
    named          brokers, as `broker` gives them; together with those of service_files; none: whoever is at PORTS
    own            this check's name, by which it knows its own processes
    Raises Failed: absent (nothing of the kind runs), unreachable (/proc hangs), unreadable.
    """
    failures: list[Failed] = []
    wanted = list(named)
    if service_files:
        from nephoscope.probes import transport_url

        for one in transport_url.brokers(run, service_files):
            failures += [one] if isinstance(one, Failed) else []
            wanted += [] if isinstance(one, Failed) else [(one.host, one.port)]
    wanted = list(dict.fromkeys(wanted))
    found = [attempt(_addresses, run, *one) for one in wanted]
    failures += [one for one in found if isinstance(one, Failed)]
    places = {place for one in found if not isinstance(one, Failed) for place in one}
    if failures and not places:
        return Host(tuple(failures), "", run.before if isinstance(run.before, dict) else {})
    table = process.scan(run, expect or [(name, 1) for name in CONSUMERS], ourselves=own)
    groups = [one for one in table.groups if expect or isinstance(one, Failed) or one.alive or one.stopped]
    if not groups:
        said = "no service of OpenStack that keeps a connection to a broker runs here"
        raise Failed(ABSENT, "", process.TRIED, said, "name what runs here by --expect")
    owners = _Owners(run, [one.pid for group in groups if isinstance(group, process.Group) for one in group.alive])
    before = run.before if isinstance(run.before, dict) else {}
    kept: dict[str, Any] = {"queues": {}, "alone": {}}
    services = [
        group if isinstance(group, Failed) else attempt(_service, group, owners, places, before, kept, run.clock.time())
        for group in groups
    ]
    said = ", ".join(host for host, _ in wanted[:4]) if wanted else "any broker"
    return Host((*failures, *services), said, kept)


def _addresses(run: Run, host: str, port: int) -> set[tuple[str, int]]:
    """Return (address, port) of a broker. Raises Failed unreachable when its name is not known."""
    from nephoscope.base.dial import failure, resolve

    run.stage(f"look up {host}")
    begun = run.clock.monotonic()
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in resolve(run, host, port or PORTS[0])}
    except (OSError, UnicodeError) as error:
        raise failure(host, "look up its address", error, run.clock.monotonic() - begun) from None
    # As the tables are read: an IPv4 address that IPv6 wraps is IPv4.
    addresses = {one[7:] if one.startswith("::ffff:") and "." in one else one for one in found}
    return {(address, one) for address in addresses for one in ((port,) if port else PORTS)}


def _service(
    group: process.Group,
    owners: _Owners,
    places: set[tuple[str, int]],
    before: Mapping[str, Any],
    kept: dict[str, Any],
    now: float,
) -> Service:
    links = [link for one in group.alive for link in owners.links(one.pid, group.name, places)]
    links = list(dict.fromkeys(links))  # a socket that two processes share is one
    ours = [link for link in links if ((link.host, link.there) in places if places else link.there in PORTS)]
    other = [link for link in links if link not in ours and link.state == ESTABLISHED]
    connected = [link for link in ours if link.state == ESTABLISHED]
    waits = [_standing(link, before, kept, now) for link in connected if link.queue and link.waiting]
    made = Service(group.name, group.need, len(group.alive), len(connected))
    alone = 0.0
    if not connected and group.alive and group.need:
        since = _number(before.get("alone"), group.name)
        kept["alone"][group.name] = since = now if since is None or since > now else since
        alone = now - since
    return made._replace(
        trying=sum(link.state == TRYING for link in ours),
        left=sum(link.state == LEFT for link in ours),
        elsewhere=tuple(sorted({f"{link.host}:{link.there}" for link in other})),
        stuck=sum(seconds >= STANDING for seconds in waits),
        standing=max(waits, default=0.0),
        alone=alone,
        idle=group.idle,
    )


def _standing(link: Link, before: Mapping[str, Any], kept: dict[str, Any], now: float) -> float:
    """Return for how many seconds a send queue was seen not to get shorter."""
    key = f"{link.inode}:{link.port}"
    known = before.get("queues")
    entry: Any = known.get(key) if isinstance(known, dict) else None
    since = now
    fit = isinstance(entry, list) and len(entry) == 2 and all(isinstance(value, (int, float)) for value in entry)
    if fit and link.queue >= entry[1] and entry[0] <= now:
        since = entry[0]
    kept["queues"][key] = [since, link.queue]
    return now - since


def _number(known: Any, name: str) -> float | None:
    value = known.get(name) if isinstance(known, dict) else None
    return float(value) if isinstance(value, (int, float)) else None


class _Owners:
    """Whose the sockets of these processes are, asked once for all."""

    def __init__(self, run: Run, pids: Sequence[int]) -> None:
        self.run = run
        self.inodes: dict[int, set[int] | None] = {pid: _inodes(run, pid) for pid in pids}
        self.spaces = {pid: _space(run, f"/proc/{pid}/net/tcp") for pid in pids}
        self.tables: dict[int, dict[int, Link]] = {}
        self.told: dict[int, set[int]] | Failed | None = None  # what `ss` says

    def links(self, pid: int, name: str, places: set[tuple[str, int]]) -> list[Link]:
        """Return a process's sockets to these places and to PORTS; none when it has ended. Raises Failed as `look` does."""
        space = self.spaces[pid]
        if space is None:
            return []  # it has ended
        if space not in self.tables:
            links = _table(self.run, pid)
            self.tables[space] = {x.inode: x for x in links if x.there in PORTS or (x.host, x.there) in places}
        table = self.tables[space]
        inodes = self.inodes[pid]
        if inodes is None:
            # Where there are none at all, no right is needed to know that this process has none.
            inodes = self._by_ss(pid, name, space, table) if table else set()
        return [table[inode] for inode in sorted(inodes) if inode in table]

    def _by_ss(self, pid: int, name: str, space: int, table: Mapping[int, Link]) -> set[int]:
        tried = "list its descriptors"
        if space != _space(self.run, "/proc/net/tcp"):
            error = "they are another user's, in a network of its own"
            raise Failed(NOT_ALLOWED, name, tried, error, f"root, or the user of {name}")
        if self.told is None:
            self.told = attempt(_ss, self.run)
        told = {} if isinstance(self.told, Failed) else self.told
        mine = told.get(pid, set())
        # What is nobody's may be its own: ss names what its user may see, which is not everything for each root.
        unclear = not told or told.get(0, set()).intersection(table)
        if unclear and not mine.intersection(table) and any(x.state == ESTABLISHED for x in table.values()):
            cure = f"root, the user of {name}, or a sudoers line for `{' '.join(SS)}` (nephoscope export sudoers)"
            raise Failed(NOT_ALLOWED, name, tried, "they are another user's", cure)
        return mine


def _ss(run: Run) -> dict[int, set[int]]:
    """Return the inodes of each process's TCP sockets; those of process 0 are nobody's, for all that ss may see."""
    from nephoscope.probes.as_root import ask

    answer = ask(SS, run, of="ss")
    if answer.status:
        raise Failed(UNREADABLE, "ss", "run ss", (answer.err.splitlines() or ["no word why"])[-1][:80])
    found: dict[int, set[int]] = {}
    for line in answer.out.splitlines():
        inode = re.search(r" ino:(\d+)", line)
        if inode is None:
            raise Failed(UNREADABLE, "ss", "run ss", "it tells no inode")
        for pid in re.findall(r",pid=(\d+),", line) or ["0"]:
            found.setdefault(int(pid), set()).add(int(inode[1]))
    return found


def _inodes(run: Run, pid: int) -> set[int] | None:
    """Return the inodes of a process's sockets, empty when it has ended, None when they are not ours to see."""
    folder = run.path(f"/proc/{pid}/fd")
    found = set()
    try:
        for number, name in enumerate(os.listdir(folder)):
            if number >= FDS:
                break
            try:
                target = os.readlink(f"{folder}/{name}")
            except PermissionError:
                return None
            except OSError:
                continue  # closed meanwhile
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except PermissionError:
        return None
    except (OSError, ValueError):
        return set()
    return found


def _space(run: Run, path: str) -> int | None:
    """Return a number that is that of a network name space, None when the process has ended."""
    try:
        return os.stat(run.path(path)).st_ino
    except OSError:
        return None


def _table(run: Run, pid: int) -> Iterable[Link]:
    """Yield the TCP sockets of a process's name space that do not listen. Raises Failed."""
    for name in ("tcp", "tcp6"):
        path = f"/proc/{pid}/net/{name}"
        run.stage(f"read {path}")
        try:
            content = files.data(run, path, limit=MOST)
        except Failed as failed:
            if name != "tcp" and failed.kind == ABSENT:
                continue  # IPv6 is switched off
            if failed.error.startswith("larger"):
                raise Failed(UNREADABLE, path, failed.tried, "more sockets than are looked at") from None
            raise
        head, _, rest = content.partition(b"\n")
        if b"local_address" not in head:
            raise Failed(UNREADABLE, path, f"read {path}", f"its first line is not understood: {head[:60]!r}")
        for line in rest.splitlines():
            fields = line.split()
            try:
                state = fields[3].decode()
                if state == "0A":
                    continue
                there, _, port = fields[2].partition(b":")
                host = listening.address_of(there)
                queue = int(fields[4].partition(b":")[0], 16)
                own = int(fields[1].rpartition(b":")[2], 16)
                waiting = int(fields[6], 16) > 0 or fields[5].startswith(PROBES)
                yield Link(int(fields[9]), own, host, int(port, 16), state, queue, waiting)
            except (IndexError, ValueError):
                raise Failed(UNREADABLE, path, f"read {path}", f"not understood: {line[:60]!r}") from None
