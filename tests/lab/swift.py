# SPDX-License-Identifier: Apache-2.0
"""Real servers of Swift on loopback: hosts with account, container and object servers, small devices, rings, daemons run once.

A device is a directory; Swift takes it for mounted when it has an empty file `.ismount` (its own stub, utils.ismount_raw).
Two "hosts" are two loopback addresses, each with configuration, rings, devices and recon cache of its own.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.lab.support import Daemon, listening, wait_for

PROGRAMS = ("swift-account-server", "swift-container-server", "swift-object-server", "swift-recon")
KINDS = ("account", "container", "object")
POLICY = "[swift-hash]\nswift_hash_path_prefix = lab\nswift_hash_path_suffix = lab\n[storage-policy:0]\nname = zero\ndefault = yes\n"
# What `swift-ring-builder create, add, rebalance` do, in one process instead of many. A device of weight 0 takes nothing.
BUILD = """
import json, sys
from swift.common.ring import RingBuilder
for kind, devices in json.loads(sys.argv[1]).items():
    builder = RingBuilder(4, 1, 0)
    for host, port, device, weight in devices:
        builder.add_dev(dict(region=1, zone=1, ip=host, port=port, device=device, weight=weight, meta="",
                             replication_ip=host, replication_port=port))
    builder.rebalance(seed=1)
    builder.get_ring().save(f"{sys.argv[2]}/{kind}.ring.gz")
"""
SERVER = """
[DEFAULT]
bind_ip = {host}
bind_port = {port}
workers = 0
user = {user}
swift_dir = {home}/etc
devices = {home}/devices
mount_check = true
log_address = {home}/no-syslog
disable_fallocate = true
[pipeline:main]
pipeline = healthcheck {recon} {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
conn_timeout = 0.2
node_timeout = 1
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:recon]
use = egg:swift#recon
devices = {home}/devices
recon_cache_path = {home}/cache
recon_lock_path = {home}
"""
DAEMON = "[{kind}-{daemon}]\nrecon_cache_path = {home}/cache\nrsync_module = {{replication_ip}}::none\n"


class Place(NamedTuple):
    """One storage node: its address, its folder (etc, devices, cache), and the port of each kind of server."""

    host: str
    home: Path
    ports: Mapping[str, int]

    def configuration(self, kind: str) -> Path:
        """Return the file that a server and its daemons are started with."""
        return self.home / "etc" / f"{kind}-server.conf"

    def cache(self, kind: str) -> Path:
        """Return the file in which the daemons of a kind leave what recon tells."""
        return self.home / "cache" / f"{kind}.recon"

    def write(self, kind: str, *, recon: bool = True) -> None:
        """Write the configuration of a kind, with recon in its pipeline or without."""
        words = {"host": self.host, "port": self.ports[kind], "user": "root", "home": self.home, "kind": kind}
        text = SERVER.format(**words, recon="recon" if recon else "")
        for daemon in ("replicator", "updater", "auditor", "reaper"):
            text += DAEMON.format(**words, daemon=daemon)
        self.configuration(kind).write_text(text)

    def server(self, kind: str, *, private: bool = False) -> Daemon:
        """Return a server of this kind, to be entered.

        private  its /etc/swift/swift.conf, which recon digests wherever swift_dir is, is the one in its home
        """
        argv = [f"/usr/bin/swift-{kind}-server", str(self.configuration(kind)), "-v"]
        if private:  # in a name space of mounts of its own; the process stays the one that was started
            bind = 'mount --bind "$0" /etc/swift/swift.conf && exec "$@"'
            argv = ["unshare", "-m", "sh", "-c", bind, str(self.home / "etc/swift.conf"), *argv]
        log = self.home / f"{kind}.log"
        return Daemon(argv, ready=listening(self.ports[kind], self.host), log=log, cwd=self.home)

    def once(self, *daemons: str) -> None:
        """Run daemons, as "object-replicator", one pass each, side by side: that is what fills the recon cache."""
        running = []
        for daemon in daemons:
            line = [f"/usr/bin/swift-{daemon}", str(self.configuration(daemon.partition("-")[0])), "once", "-v"]
            with (self.home / "once.log").open("ab") as log:
                running.append(subprocess.Popen(line, stdout=log, stderr=log, cwd=self.home, start_new_session=True))
        for process in running:
            assert process.wait(60) == 0, (self.home / "once.log").read_text()[-3000:]

    def count_asyncs(self) -> None:
        """Count the pending updates, as Debian's /etc/cron.d/swift-object does every five minutes."""
        subprocess.run(["/usr/bin/swift-recon-cron", str(self.configuration("object"))], check=True, timeout=30)

    def mount(self, device: str, *, mounted: bool = True) -> None:
        """Make a device mounted, or unmounted, in the eyes of Swift."""
        path = self.home / "devices" / device
        path.mkdir(parents=True, exist_ok=True)
        if mounted:
            (path / ".ismount").touch()
        else:
            (path / ".ismount").unlink(missing_ok=True)

    def ask(self, kind: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:  # fmt: skip
        """Make one request of a server's own protocol, and return the body of its answer."""
        url = f"http://{self.host}:{self.ports[kind]}{path}"
        request = urllib.request.Request(url, data=body or None, method=method, headers=dict(headers or {}))
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())


def build(directory: Path, rings: Mapping[str, Sequence[tuple[str, int, str, float]]]) -> None:
    """Write ring files: name of the ring -> (address, port, device, weight) of each device."""
    argv = ["/usr/bin/python3", "-c", BUILD, json.dumps(rings), str(directory)]
    subprocess.run(argv, check=True, timeout=60, cwd=directory, capture_output=True)


def place(folder: Path, host: str, ports: Mapping[str, int], devices: Sequence[str] = ("d1", "d2", "d3")) -> Place:
    """Make a node's folder with configuration and mounted devices; rings are still to be put in its etc."""
    home = folder / host
    for part in ("etc", "devices", "cache"):
        (home / part).mkdir(parents=True)
    (home / "etc" / "swift.conf").write_text(POLICY)
    made = Place(host, home, dict(ports))
    for kind in made.ports:
        made.write(kind)
    for device in devices:
        made.mount(device)
    return made


@contextlib.contextmanager
def serving(*places: Place) -> Iterator[dict[tuple[str, str], Daemon]]:
    """Run all servers of these nodes; give (address, kind) -> the daemon."""
    daemons = {(where.host, kind): where.server(kind) for where in places for kind in where.ports}
    with contextlib.ExitStack() as stack:
        for daemon in daemons.values():
            stack.callback(daemon.stop)
            ready, daemon.ready = daemon.ready, None  # all begin at once: each spends a second on its imports
            daemon.__enter__()
            daemon.ready = ready
        for daemon in daemons.values():
            wait_for(daemon._up, daemon.seconds, daemon.argv[0])
        yield daemons
