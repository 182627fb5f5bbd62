# SPDX-License-Identifier: Apache-2.0
"""A whole Ceph cluster in a private folder: a monitor, a manager and three OSDs in memory, cephx on, free ports, no systemd."""

from __future__ import annotations

import contextlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.lab.support import Daemon, free_port, need, wait_for

OSDS = 3
POOLS = 2  # ours, and device_health_metrics, which the manager makes at its leisure
CONF = """[global]
fsid = {fsid}
mon host = {mon}
public addr = 127.0.0.1
public network = 127.0.0.0/8
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = {lab}/$name.keyring
run dir = {lab}/run
admin socket = {lab}/run/$name.asok
log file = {lab}/log/$name.log
pid file = {lab}/run/$name.pid
crash dir = {lab}/crash
mon data = {lab}/mon
mgr data = {lab}/mgr
osd data = {lab}/osd.$id
mgr initial modules =
osd crush chooseleaf type = 0
osd pool default size = 3
osd pool default min size = 2
osd pool default pg autoscale mode = off
auth allow insecure global id reclaim = false
mon warn on pool no redundancy = false
mon data avail warn = 2
mon data avail crit = 1
osd objectstore = memstore
memstore device bytes = 134217728
{more}
"""
# What makes the cluster tell its troubles in seconds instead of minutes. A slow ping is one of 5 % of the grace, unless said: with
# so short a one a busy machine has them, and the warning stays for a quarter of an hour.
QUICK = """osd heartbeat interval = 1
osd heartbeat grace = 3
osd heartbeat min peers = 1
mon osd min down reporters = 1
mon osd adjust heartbeat grace = false
mon mgr beacon grace = 5
mon mgr mkfs grace = 1
mon tick interval = 1
paxos propose interval = 0.1
paxos min wait = 0.01
mgr tick period = 1
mgr stats period = 1
osd mon report interval = 1
mon mgr digest period = 1
osd op complaint time = 1
mon client hunt interval = 1
mon warn on slow ping time = 60000
mgr disabled modules = {left_out}
"""
MODULES = Path("/usr/share/ceph/mgr")
# A manager has these always; to load all others as well takes it seconds, and as much memory again.
ALWAYS = {
    *("balancer", "crash", "devicehealth", "orchestrator", "pg_autoscaler", "progress", "rbd_support", "status"),
    *("telemetry", "volumes"),
}  # fmt: skip


class Ceph:
    """The running cluster. `tell` is its administrator's command; `conf` and `keyring(name)` are for a check."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.conf = folder, folder / "ceph.conf"
        self.daemons: dict[str, Daemon] = {}
        self.fsid = str(uuid.uuid4())
        self.port = free_port()
        self.mon = f"v2:127.0.0.1:{self.port}"
        for name in ("run", "log", "crash", "mon", "mgr", *(f"osd.{n}" for n in range(OSDS))):
            (folder / name).mkdir()
        self.write(self.conf, f"[{self.mon}/0]")

    def write(self, path: Path, mon: str) -> Path:
        """Write a configuration with the monitor at another address, and return its path."""
        others = sorted(entry.name for entry in MODULES.iterdir() if entry.is_dir() and entry.name not in ALWAYS)
        path.write_text(
            CONF.format(fsid=self.fsid, mon=mon, lab=self.folder, more=QUICK.format(left_out=",".join(others)))
        )
        return path

    def keyring(self, name: str) -> Path:
        """Return the path of a user's key."""
        return self.folder / f"{name}.keyring"

    def run(self, *argv: str, stdin: str = "") -> str:
        """Run one of Ceph's programs with this cluster's configuration, and return what it prints."""
        env = {"PATH": "/usr/bin:/bin", "CEPH_CONF": str(self.conf), "LC_ALL": "C", "HOME": str(self.folder)}
        done = subprocess.run(argv, env=env, cwd=self.folder, input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def tell(self, *words: str, stdin: str = "") -> str:
        """Run the administrator's `ceph`."""
        return self.run("ceph", "--connect-timeout", "20", *words, stdin=stdin)

    def pid(self, name: str) -> int:
        """Return the process of a daemon."""
        return self.daemons[name].pid

    def asked(self, *words: str) -> Any:
        """Return the JSON that the administrator's `ceph` prints."""
        return json.loads(self.tell(*words, "--format", "json"))

    def user(self, name: str, *caps: str) -> Path:
        """Make a user with these capabilities, and return the path of its key."""
        path = self.keyring(name)
        path.write_text(self.tell("auth", "get-or-create", name, *caps))
        return path

    def start(self, name: str) -> None:
        """Start a daemon that has been made: mon.a, mgr.x, osd.0 …"""
        kind, _, number = name.partition(".")
        daemon = Daemon(
            [f"ceph-{kind}", "-f", "-i", number, "-c", self.conf], log=self.folder / f"log/{name}.out", cwd=self.folder
        )
        self.daemons[name] = daemon.__enter__()

    def stop(self, name: str) -> None:
        """Kill a daemon without a word to the others, as a power cut does."""
        daemon = self.daemons.pop(name)
        assert daemon.process is not None
        daemon.process.kill()
        daemon.stop()

    def begin_monitor(self) -> None:
        """Make the monitor and run it, alone."""
        at, admin, mon = self.folder, self.keyring("client.admin"), self.folder / "mon.keyring"
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self.run("ceph-authtool", "--create-keyring", str(mon), "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.run("ceph-authtool", "--create-keyring", str(admin), "--gen-key", "-n", "client.admin", *everything)
        self.run("ceph-authtool", str(mon), "--import-keyring", str(admin))
        self.run("monmaptool", "--create", "--fsid", self.fsid, "--addv", "a", f"[{self.mon}]", str(at / "monmap"))
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(at / "monmap"), "--keyring", str(mon))
        self.start("mon.a")

    def begin(self) -> None:
        """Make the rest; the cluster is up, with one pool, when this returns."""
        self.user("mgr.x", "mon", "allow profile mgr", "osd", "allow *")
        self.start("mgr.x")
        for number in range(OSDS):
            name, identity = f"osd.{number}", str(uuid.uuid4())
            key = self.run("ceph-authtool", "--gen-print-key").strip()
            self.tell("osd", "new", identity, str(number), "-i", "-", stdin=json.dumps({"cephx_secret": key}))
            ring = str(self.keyring(name))
            self.run("ceph-authtool", "--create-keyring", ring, "--name", name, "--add-key", key)
            self.run("ceph-osd", "-i", str(number), "--mkfs", "--osd-uuid", identity)
            self.start(name)
        self.tell("osd", "pool", "create", "vms", "8", "8")
        self.tell("osd", "pool", "application", "enable", "vms", "rbd")
        self.wait_until_well()

    def wait_until_well(self, seconds: float = 40) -> None:
        """Wait until the manager tells that all is well; HEALTH_OK alone is said before anything runs."""

        said: Any = None

        def well() -> bool:
            nonlocal said
            said = self.asked("status")
            if not said["mgrmap"]["available"]:  # HEALTH_OK is said while a manager is about to begin
                return False
            states = {row["state_name"] for row in said["pgmap"]["pgs_by_state"]}
            up = said["osdmap"]["num_up_osds"] == said["osdmap"]["num_in_osds"] == OSDS
            whole = said["pgmap"]["num_pools"] == POOLS and states == {"active+clean"}
            return said["health"]["status"] == "HEALTH_OK" and up and whole

        try:
            wait_for(well, seconds, "the cluster")
        except AssertionError as error:
            told = {name: said[name] for name in ("health", "mgrmap", "osdmap", "pgmap")} if said else None
            raise AssertionError(f"{error}: {told}") from None

    def end(self) -> None:
        """End all daemons, OSDs first."""
        for name in sorted(self.daemons, reverse=True):
            self.daemons[name].process.kill()  # type: ignore[union-attr]
        for name in sorted(self.daemons, reverse=True):
            self.daemons[name].stop()


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Ceph]:
    """Give a cluster of which nothing runs yet, in a private folder, and end what was begun of it."""
    need("ceph", "rados", "ceph-mon", "ceph-mgr", "ceph-osd", "ceph-authtool", "monmaptool")
    ceph = Ceph(folder)
    try:
        yield ceph
    finally:
        ceph.end()
