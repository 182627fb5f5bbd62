# SPDX-License-Identifier: Apache-2.0
"""A real Galera cluster of MariaDB nodes on loopback, as user mysql, within some seconds.

`with cluster(folder) as nodes:`. All nodes begin with a copy of the first one's data, so that a joiner needs the last writes
only and no whole copy (IST, no rsync of 26 MB). The group notices a silent member after two seconds, not fifteen.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab.mariadb import MariaDB
from tests.lab.support import free_port, need, wait_for

PROVIDER = "/usr/lib/galera/libgalera_smm.so"
IMPATIENT = (
    "gcache.size=8M",
    "gcs.fc_limit=16",
    "evs.suspect_timeout=PT1S",
    "evs.inactive_timeout=PT2S",
    "evs.install_timeout=PT2S",
    "evs.keepalive_period=PT0.3S",
    "evs.inactive_check_period=PT0.2S",
    "evs.join_retrans_period=PT0.3S",
)
NEW = "--wsrep-new-cluster"


class Node(MariaDB):
    """One node; `wsrep` reads a status variable of it."""

    def __init__(self, folder: Path, name: str, group: int, peers: list[int], *options: str) -> None:
        """Prepare a node that listens on port `group` and finds the others on `peers`."""
        provider = [f"gmcast.listen_addr=tcp://127.0.0.1:{group}", f"ist.recv_addr=127.0.0.1:{free_port()}", *IMPATIENT]
        super().__init__(
            folder,
            "--innodb-fast-shutdown=1",
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--wsrep-on=ON",
            f"--wsrep-provider={PROVIDER}",
            "--wsrep-cluster-name=lab",
            f"--wsrep-cluster-address=gcomm://{','.join(f'127.0.0.1:{port}' for port in peers)}",
            f"--wsrep-node-name={name}",
            f"--wsrep-node-address=127.0.0.1:{group}",
            "--wsrep-sst-method=rsync",
            f"--wsrep-sst-receive-address=127.0.0.1:{free_port()}",
            f"--wsrep-provider-options={';'.join(provider)}",
            *options,
        )
        self.name, self.group = name, group

    def answers(self) -> bool:
        """Say whether it is in step with its cluster."""
        return super().answers() and self.wsrep("local_state_comment") == "Synced"

    def wsrep(self, name: str) -> str:
        """Return one of its wsrep_* status variables."""
        return self.status(f"wsrep_{name}")

    def bootstrap(self) -> None:
        """Start it as the first of a new cluster."""
        self.argv.append(NEW)
        try:
            self.__enter__()
        finally:
            self.argv.remove(NEW)

    def wait(self, name: str, value: str, seconds: float = 30) -> None:
        """Wait until a wsrep_* status variable has a value."""
        wait_for(lambda: self.wsrep(name) == value, seconds, f"{self.name}: wsrep_{name} = {value}")


CHAIN = "nephoscope-lab"


@contextlib.contextmanager
def partition(apart: Node, *others: Node) -> Iterator[None]:
    """Let every packet between a node and the others' group ports get lost, as a dead switch would, and bring the net back.

    By iptables in a chain of our own, by port alone: what the nodes listen on, and what `apart` has connected from; and no
    new connection to the others is made meanwhile. What a killed run left behind is removed first.
    """
    iptables, ss = need("iptables", "ss")

    def rule(*words: object, check: bool = True) -> None:
        subprocess.run([iptables, "-w", "5", *map(str, words)], check=check, capture_output=True, timeout=20)

    def heal() -> None:
        for words in (("-D", "INPUT", "-j", CHAIN), ("-F", CHAIN), ("-X", CHAIN)):
            rule(*words, check=False)

    rows = subprocess.run([ss, "-Htnp"], check=True, capture_output=True, text=True, timeout=20).stdout.splitlines()
    ends = [row.split()[3:5] for row in rows if f"pid={apart.pid}," in row]
    own = [here for here, there in ends if int(there.rpartition(":")[2]) in [other.group for other in others]]
    ports = [apart.group, *(int(end.rpartition(":")[2]) for end in own)]
    heal()
    try:
        rule("-N", CHAIN)
        for port in ports:
            for side in ("--sport", "--dport"):
                rule("-A", CHAIN, "-i", "lo", "-p", "tcp", side, port, "-j", "DROP")
        for other in others:
            rule("-A", CHAIN, "-i", "lo", "-p", "tcp", "--syn", "--dport", other.group, "-j", "DROP")
        rule("-I", "INPUT", "-j", CHAIN)
        yield
    finally:
        heal()


@contextlib.contextmanager
def cluster(folder: Path, count: int = 3, *statements: str) -> Iterator[list[Node]]:
    """Give a cluster of `count` nodes n1, n2, ..., all in step; `statements` are run before the others join.

    The data are made and the first node is started once alone, then all get a copy.
    """
    need(PROVIDER, "rsync")
    group = [free_port() for _ in range(count)]
    nodes = [Node(folder / f"n{n + 1}", f"n{n + 1}", port, group) for n, port in enumerate(group)]
    first, *others = nodes
    try:
        first.bootstrap()
        for statement in statements:
            first.sql(statement)
        first.stop(30)
        for node in others:
            subprocess.run(["cp", "-a", first.data, node.data], check=True, timeout=60)
        first.bootstrap()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.__enter__(), others))
        first.wait("cluster_size", str(count))
        yield nodes
    finally:
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                node.stop(0.5)
