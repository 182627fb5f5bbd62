# SPDX-License-Identifier: Apache-2.0
"""A host's files below a root folder, as local probes read them: configuration, logs, pid files, sensors, faults, /proc.

`write(cloud, host, root)` may be called again and again: it appends to the logs what is new, rotates them when told, and
writes everything else anew, so that files are what the host would show now. A host that was stopped or fell silent has no
processes and no listening port any more; its pid files stay, as after a crash. One that only hangs has both.

Words for Demo.tell: those of TELL, below; `nephoscope demo tell` alone lists them with what they do.

Sources: tools/eucalyptus.conf, tools/httpd.conf, util/log.c, util/stats/*, node/handlers.c (nc-stats), systemd/units/*,
clc/modules/troubleshooting/.../stats/*, EucaLayout.java and FaultSubsystemManager.java of github eucalyptus/eucalyptus
4.4.2; the 3.x settings from its branch maint-3.4. UNCONFIRMED: names of a node's messages in its sensor, the content of
global_network_info.xml, the mode of nc-stats (here 0600: handlers.c sets it only on one of two ways), process numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nephoscope.demo import faults, resources
from nephoscope.demo.model import Cloud, Host
from nephoscope.demo.telling import amount, find_host

MB = 1 << 20
MOST_MB = 2048
"""So much of this disk may be taken to show a full one."""
STATS_TTL = 61
"""Seconds that a sensor's value is good: the interval of 60 and 1 (stats_sensors.groovy, initialize_stats_system in C)."""

C_LOGS = ("cc.log", "nc.log", "eucanetd.log", "cc-fault.log", "nc-fault.log")
"""Logs that util/log.c and util/fault.c write; the first old one is .0, that of log4j is .1."""
JVM_KINDS_ELSEWHERE = ("node", "cluster", "proxy-cluster")


class Process(NamedTuple):
    """A process: number, name as in /proc/PID/comm, command line, pid file (or nothing), and what it listens on."""

    number: int
    name: str
    argv: tuple[str, ...]
    pidfile: str = ""
    tcp: tuple[tuple[str, int], ...] = ()
    udp: tuple[tuple[str, int], ...] = ()
    parent: int = 1
    threads: int = 1


FIRST_OF_CLOUD = 1000
"""Processes with smaller numbers are the system's, and live when the cloud's are gone."""
ANY = "::"
"""How Java and httpd listen: a socket of IPv6 that takes IPv4 too."""


def write(cloud: Cloud, host: Host | str, root: str | os.PathLike[str]) -> None:
    """Write a host's files below `root`."""
    place = cloud.hosts[host] if isinstance(host, str) else host
    top = Path(root)
    with cloud.lock:
        _Writer(cloud, place, top).write()


def has_jvm(cloud: Cloud, host: Host) -> bool:
    """Say whether eucalyptus-cloud runs on this host when it is well."""
    return any(
        each.kind not in JVM_KINDS_ELSEWHERE or (each.kind == "cluster" and cloud.at_least(5))
        for each in cloud.on(host)
    )


def has_cc(cloud: Cloud, host: Host) -> bool:
    """Say whether the C cluster controller runs on this host when it is well."""
    kinds = {each.kind for each in cloud.on(host)}
    return "proxy-cluster" in kinds or ("cluster" in kinds and not cloud.at_least(5))


def has(cloud: Cloud, host: Host, *kinds: str) -> bool:
    """Say whether a service of one of these types is registered on this host."""
    return any(each.kind in kinds for each in cloud.on(host))


def is_up(host: Host) -> bool:
    """Say whether the host's processes live: a host that hangs answers nobody, but they do."""
    return host.down_since is None or host.failure == "hang"


def processes(cloud: Cloud, host: Host) -> list[Process]:
    """Return the processes that this host has now."""
    killed = host.store.get("killed", set())
    found = [each for each in _all_processes(cloud, host) if each.name not in killed]
    if not is_up(host):
        found = [each for each in found if each.number < FIRST_OF_CLOUD]
    if "java" in killed:
        found = [each for each in found if each.name not in ("eucalyptus-clou", "postgres")]
    return found


def _all_processes(cloud: Cloud, host: Host) -> Iterable[Process]:
    systemd = cloud.at_least(4, 3)
    init = "/usr/lib/systemd/systemd" if systemd else "/sbin/init"
    yield Process(1, "systemd" if systemd else "init", (init,), parent=0)
    yield Process(801, "sshd", ("/usr/sbin/sshd", "-D"), tcp=(("0.0.0.0", 22), (ANY, 22)))  # noqa: S104
    yield Process(640, "chronyd", ("/usr/sbin/chronyd",), udp=(("127.0.0.1", 323),))
    if has_jvm(cloud, host):
        options: tuple[str, ...] = ("-h", "/", "-u", "eucalyptus", "--pidfile=/var/run/eucalyptus/eucalyptus-cloud.pid")
        ports = [(ANY, 8773)]
        udp = [(ANY, 8773), (ANY, 7500)]
        if has(cloud, host, "dns") and not cloud.at_least(4, 2):
            ports.append((ANY, 53))
            udp.append((ANY, 53))
        if has(cloud, host, "user-api") and cloud.at_least(4, 2):
            ports.append((ANY, 53))
            udp.append((ANY, 53))
        if not systemd:
            yield Process(1201, "eucalyptus-clou", ("eucalyptus-cloud", *options))
        pidfile = "" if systemd else "eucalyptus-cloud.pid"
        program = ("/usr/sbin/eucalyptus-cloud", *options)
        parent = 1 if systemd else 1201
        yield Process(1203, "java", program, pidfile, tuple(ports), tuple(udp), parent, 180)
        if has(cloud, host, "eucalyptus"):
            data = ("/usr/bin/postgres", "-D", "/var/lib/eucalyptus/db/data", "-h0.0.0.0/0", "-p8777", "-i")
            yield Process(1310, "postgres", data, tcp=(("0.0.0.0", 8777),))  # noqa: S104
    if has(cloud, host, "storage"):
        yield Process(1801, "tgtd", ("/usr/sbin/tgtd", "-f"), tcp=(("0.0.0.0", 3260), (ANY, 3260)))  # noqa: S104
    if has_cc(cloud, host):
        name = "eucalyptus-cluster" if systemd else "eucalyptus-cc"
        conf = "/var/run/eucalyptus/httpd-cc.conf"
        yield Process(1401, "httpd", ("/usr/sbin/httpd", "-f", conf), f"{name}.pid", ((ANY, 8774),))
        yield Process(1402, "httpd", ("/usr/sbin/httpd", "-f", conf), parent=1401, threads=2)
    if has(cloud, host, "node"):
        name = "eucalyptus-node" if systemd else "eucalyptus-nc"
        conf = "/var/run/eucalyptus/httpd-nc.conf"
        yield Process(1501, "httpd", ("/usr/sbin/httpd", "-f", conf), f"{name}.pid", ((ANY, 8775),))
        yield Process(1502, "httpd", ("/usr/sbin/httpd", "-f", conf), parent=1501, threads=12)
        yield Process(1901, "libvirtd", ("/usr/sbin/libvirtd", "--listen"), tcp=(("0.0.0.0", 16514),))  # noqa: S104
        for number, each in enumerate(resources.on_node(cloud, host.address)):
            kind = resources.KINDS[each.kind]
            program = ("/usr/libexec/qemu-kvm", "-name", each.name, "-m", str(kind.memory), "-smp", str(kind.cpu))
            yield Process(3001 + number, "qemu-kvm", program, threads=kind.cpu + 2)
    if has_eucanetd(cloud, host):
        yield Process(1601, "eucanetd", ("/usr/sbin/eucanetd",), "eucanetd.pid", udp=(("127.0.0.1", 63822),))
        if has(cloud, host, "node") or not cloud.at_least(4):
            conf = "/var/run/eucalyptus/net/euca-dhcp.conf"
            program = ("/usr/sbin/dhcpd", "-cf", conf, "-pf", "/var/run/eucalyptus/net/euca-dhcp.pid", "br0")
            yield Process(1701, "dhcpd", program, "net/euca-dhcp.pid", udp=(("0.0.0.0", 67),))  # noqa: S104


def has_eucanetd(cloud: Cloud, host: Host) -> bool:
    """Say whether eucanetd belongs here: with EDGE (4.0 and later) on every node, before that on the CC."""
    return has(cloud, host, "node") if cloud.at_least(4) else has_cc(cloud, host)


class _Writer:
    def __init__(self, cloud: Cloud, host: Host, root: Path) -> None:
        self.cloud, self.host, self.root = cloud, host, root
        self.now = cloud.now()
        self.store = host.store

    def put(self, path: str, content: str | bytes = "", mode: int = 0o644) -> Path:
        """Write one file whole, as seen from outside at one moment."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(target.name + ".new")
        new.write_bytes(content.encode() if isinstance(content, str) else content)
        new.chmod(mode)
        new.replace(target)
        return target

    def folder(self, path: str, mode: int = 0o755) -> Path:
        target = self.root / path
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(mode)
        return target

    def remove(self, path: str) -> None:
        shutil.rmtree(self.root / path, ignore_errors=True)

    def write(self) -> None:
        for path in ("etc/eucalyptus/faults", "var/lib/eucalyptus", "var/log/eucalyptus", "run/eucalyptus/net"):
            self.folder(path)
        link = self.root / "var/run"
        if not os.path.lexists(link):
            link.symlink_to("../run")
        self.put("etc/eucalyptus/eucalyptus.conf", configuration(self.cloud, self.host))
        self.put("etc/eucalyptus/eucalyptus-version", f"{self.cloud.version}\n")
        self.packages()
        self.keys()
        self.proc()
        self.sensors()
        if has(self.cloud, self.host, "node"):
            self.node()
        self.network()
        self.state()
        self.logs()

    # ---- what the packages brought

    def packages(self) -> None:
        cloud, host = self.cloud, self.host
        systemd = cloud.at_least(4, 3)
        programs = ["usr/lib/eucalyptus/euca_rootwrap"]
        units = []
        if has_jvm(cloud, host):
            programs += ["usr/sbin/eucalyptus-cloud", "usr/sbin/euca-lictool"]
            units.append("eucalyptus-cloud")
        if has_cc(cloud, host):
            programs.append("usr/sbin/eucalyptus-cluster")
            units.append("eucalyptus-cluster" if systemd else "eucalyptus-cc")
            self.folder("var/lib/eucalyptus/CC")
        if has(cloud, host, "node"):
            programs += ["usr/sbin/eucalyptus-node", "usr/sbin/euca_test_nc"]
            units.append("eucalyptus-node" if systemd else "eucalyptus-nc")
        if has_eucanetd(cloud, host):
            programs.append("usr/sbin/eucanetd")
            units.append("eucanetd" if systemd else "eucalyptus-eucanetd")
        for program in programs:
            self.put(program, "", 0o755)
        for unit in units:
            if systemd:
                self.put(f"usr/lib/systemd/system/{unit}.service", f"[Unit]\nDescription={unit}\n")
                self.put(f"etc/systemd/system/multi-user.target.wants/{unit}.service", f"[Unit]\nDescription={unit}\n")
            else:
                self.put(f"etc/init.d/{unit}", "#!/bin/sh\n", 0o755)
                self.put(f"etc/rc3.d/S99{unit}", "#!/bin/sh\n", 0o755)

    def keys(self) -> None:
        names = {"cloud-cert.pem"} if has_jvm(self.cloud, self.host) else set()
        if has_cc(self.cloud, self.host):
            names |= {"cloud-cert.pem", "cluster-cert.pem", "node-cert.pem"}
        if has(self.cloud, self.host, "node"):
            names |= {"cluster-cert.pem", "node-cert.pem"}
        for name in sorted(names):
            self.put(f"var/lib/eucalyptus/keys/{name}", certificate(self.cloud, name, self.store.get("keys", "")))

    # ---- processes and ports

    def proc(self) -> None:
        """Write /proc as far as probes read it. Only numeric folders are taken away: the rest of a recorded tree stays."""
        living = {each.number: each for each in processes(self.cloud, self.host)}
        proc = self.folder("proc")
        for each in proc.iterdir():
            if each.name.isdigit() and int(each.name) not in living:
                shutil.rmtree(each)
        for process in living.values():
            self.process(process)
        tcp = [place for process in living.values() for place in process.tcp]
        udp = [place for process in living.values() for place in process.udp]
        for name, places, state in (("tcp", tcp, "0A"), ("udp", udp, "07")):
            self.put(f"proc/net/{name}", sockets([each for each in places if ":" not in each[0]], state))
            self.put(f"proc/net/{name}6", sockets([each for each in places if ":" in each[0]], state))
        booted = int(self.now) - 30 * 86400
        self.put("proc/uptime", f"{30 * 86400}.00 {60 * 86400}.00\n")
        self.put("proc/stat", f"cpu  1 0 1 1 0 0 0 0 0 0\nbtime {booted}\nprocesses 90000\n")
        modules = {"br_netfilter": 1, "iscsi_tcp": 1} if has(self.cloud, self.host, "node") else {}
        if modules:
            modules.update({"kvm_intel": 1, "kvm": 1, "loop": 1})
            self.folder("sys/module/kvm_intel")
            self.put("dev/kvm")
        lines = [f"{name} 16384 {used} - Live 0x0000000000000000\n" for name, used in modules.items()]
        self.put("proc/modules", "".join(lines))
        for process in _all_processes(self.cloud, self.host):
            if process.pidfile:
                self.put(f"run/eucalyptus/{process.pidfile}", f"{process.number}\n")

    def process(self, each: Process) -> None:
        at = f"proc/{each.number}"
        start = 29 * 86400 * 100
        zeros = " ".join("0" for _ in range(27))
        self.put(
            f"{at}/stat",
            f"{each.number} ({each.name}) S {each.parent} {each.number} {each.number} 0 -1 4202816 900 0 0 0 120 80 0 0 "
            f"20 0 {each.threads} 0 {start} 104857600 25600 18446744073709551615 1 1 {zeros}\n",
        )
        self.put(f"{at}/cmdline", "".join(f"{word}\0" for word in each.argv))
        self.put(f"{at}/comm", f"{each.name}\n")
        for number in range(3):
            descriptor = self.root / at / "fd" / str(number)
            descriptor.parent.mkdir(exist_ok=True)
            if not os.path.lexists(descriptor):
                descriptor.symlink_to("/dev/null")
        self.put(f"{at}/limits", "Limit                     Soft Limit           Hard Limit           Units     \n"
                 "Max open files            65535                65535                files     \n")  # fmt: skip
        kib = 4 * 25600
        self.put(
            f"{at}/status",
            f"Name:\t{each.name}\nState:\tS (sleeping)\nTgid:\t{each.number}\nPid:\t{each.number}\nPPid:\t{each.parent}\n"
            f"Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmRSS:\t{kib} kB\nThreads:\t{each.threads}\n",
        )

    # ---- sensors

    def sensors(self) -> None:
        word, age = self.store.get("sensors", ("fresh", 0.0))
        if word == "off" or not self.cloud.at_least(4, 1):
            self.remove("run/eucalyptus/status")
            return
        self.folder("run/eucalyptus/status")
        if not is_up(self.host):
            word, age = "stale", max(age, self.cloud.elapsed() - (self.host.down_since or 0.0))
        moment = int(self.now - age - 3)
        changed = self.store.get("values", {})
        for sensor in sensors(self.cloud, self.host):
            values = {**sensor.values, **changed.get(sensor.name, {})}
            content = {"sensor": sensor.name, "description": sensor.description, "timestamp": moment, "ttl": sensor.ttl,
                       "tags": list(sensor.tags), "values": values}  # fmt: skip
            text = json.dumps(content, indent=4 if sensor.ttl == STATS_TTL else None)
            if word == "half":
                text = text[: len(text) // 2]
            elif word == "garbage":
                text = "\x00\x01not JSON"
            target = self.put("run/eucalyptus/status/" + sensor.name.replace(".", "/"), text, 0o640)
            os.utime(target, (moment, moment))

    # ---- node, network, state

    def node(self) -> None:
        cloud, host = self.cloud, self.host
        for path in ("var/lib/eucalyptus/instances/cache", "var/lib/eucalyptus/instances/work"):
            self.folder(path)
        cache, work = self.store.get("cache", (1, 1))
        room(self.root / "var/lib/eucalyptus/instances/cache" / "emi-cached-0001" / "blocks", int(cache * MB))
        running = resources.on_node(cloud, host.address)
        user = "AIDAJDEMOUSER0000001"
        first = running[0].name if running else "leftover"
        for each in (self.root / "var/lib/eucalyptus/instances/work").glob("*/*"):
            if each.name not in [one.name for one in running] and each.name != first:
                shutil.rmtree(each)
        for instance in running:
            self.put(f"var/lib/eucalyptus/instances/work/{user}/{instance.name}/instance.xml", "<instance/>\n")
        room(self.root / "var/lib/eucalyptus/instances/work" / user / first / "disk", int(work * MB))
        moment = self.now - self.contact_age()
        self.put("run/eucalyptus/nc-stats", nc_stats(cloud, host, moment), 0o600)
        os.utime(self.root / "run/eucalyptus/nc-stats", (moment, moment))

    def contact_age(self) -> float:
        """Return seconds since the CC last asked this node; a node that fell silent was not asked since."""
        if self.host.down_since is not None:
            return self.cloud.elapsed() - self.host.down_since
        told: float = self.store.get("contact", self.cloud.elapsed() - 5)
        return self.cloud.elapsed() - told

    def network(self) -> None:
        names = []
        if has_eucanetd(self.cloud, self.host) and self.cloud.at_least(4):
            names += ["global_network_info.xml", "eucanetd_global_network_info.xml"]
        if has_cc(self.cloud, self.host) and self.cloud.at_least(4):
            names += ["global_network_info.xml"]
            # Before, broadcast_network_info of cluster/handlers.c passes it on and keeps nothing.
            names += ["cc_global_network_info.xml"] if self.cloud.at_least(4, 2) else []
        told = self.store.get("network", self.cloud.elapsed() - 30)
        moment = self.now - (self.cloud.elapsed() - told)
        for name in dict.fromkeys(names):
            target = self.put(f"run/eucalyptus/{name}", network_info(self.cloud))
            os.utime(target, (moment, moment))
        if names:
            target = self.put("var/lib/eucalyptus/global_network_info.xml", network_info(self.cloud))
            os.utime(target, (moment, moment))

    def state(self) -> None:
        cloud, host = self.cloud, self.host
        if has(cloud, host, "walrus", "walrusbackend"):
            for bucket in resources.things(cloud, resources.Bucket).values():
                self.folder(f"var/lib/eucalyptus/bukkits/{bucket.name}")
        if has(cloud, host, "storage"):
            zones = {each.partition for each in cloud.on(host) if each.kind == "storage"}
            self.remove("var/lib/eucalyptus/volumes")
            self.folder("var/lib/eucalyptus/volumes")
            for volume in resources.things(cloud, resources.Volume).values():
                if volume.zone in zones and volume.state in ("available", "in-use"):
                    path = self.put(f"var/lib/eucalyptus/volumes/{volume.name}")
                    os.truncate(path, volume.size << 30)  # sparse, as the overlay manager makes it
        if has(cloud, host, "eucalyptus"):
            data = "var/lib/eucalyptus/db/data"
            self.folder(data, 0o700)
            self.put(f"{data}/PG_VERSION", "9.2\n" if cloud.at_least(4, 1) else "9.1\n", 0o600)
            if any(each.name == "postgres" for each in processes(cloud, host)):
                self.put(f"{data}/postmaster.pid", f"1310\n/{data}\n{int(self.now) - 86400}\n8777\n", 0o600)

    # ---- logs

    def logs(self) -> None:
        entries = history(self.cloud, self.host)
        written: dict[str, int] = self.store.setdefault("written", {})
        place = str(self.root.resolve())
        log = self.root / "var/log/eucalyptus"
        for name in fault_logs(self.cloud, self.host):
            (log / name).touch()
        begun = written.get(place, 0)
        for name, text in entries[begun:]:
            target = log / name
            if text is None:
                _rotate(target)
                continue
            with target.open("a", encoding="utf-8") as stream:
                stream.write(text)
        written[place] = len(entries)
        for name in self.store.get("silenced", ()):
            self.put(f"etc/eucalyptus/faults/en_US/{name}.xml")
        if self.store.get("heapdump"):
            self.put("var/log/eucalyptus/java_pid1203.hprof", "JAVA PROFILE 1.0.2\0")


def fault_logs(cloud: Cloud, host: Host) -> list[str]:
    """Return the fault logs that are there from the start, empty: init_eucafaults opens them; for a JVM UNCONFIRMED."""
    found = ["cloud-fault.log"] if has_jvm(cloud, host) else []
    found += ["cc-fault.log"] if has_cc(cloud, host) else []
    return found + (["nc-fault.log"] if has(cloud, host, "node") else [])


def _rotate(path: Path) -> None:
    first = 0 if path.name in C_LOGS else 1
    for number in range(first + 9, first, -1):
        older = path.with_name(f"{path.name}.{number - 1}")
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))
    if path.exists():
        path.replace(path.with_name(f"{path.name}.{first}"))


def history(cloud: Cloud, host: Host) -> list[tuple[str, str | None]]:
    """Return all log entries of a host so far, (file, text or None for a rotation); the list is the host's own."""
    if "log" not in host.store:
        entries: list[tuple[str, str | None]] = []
        host.store["log"] = entries
        now = cloud.now()
        node = has(cloud, host, "node")
        if has_jvm(cloud, host):
            entries.append(("cloud-output.log", log_line(now - 600, "INFO", f"Starting Eucalyptus {cloud.version}")))
            for each in cloud.on(host):
                if each.kind not in JVM_KINDS_ELSEWHERE:
                    text = f"{cloud.full_name(each)} is now ENABLED"
                    entries.append(("cloud-output.log", log_line(now - 300, "INFO", text)))
        if has_cc(cloud, host):
            text = f"Eucalyptus Cluster Controller version {cloud.version} started"
            entries.append(("cc.log", log_line(now - 600, "INFO", text)))
        if node:
            text = f"Eucalyptus Node Controller version {cloud.version} started"
            entries.append(("nc.log", log_line(now - 600, "INFO", text)))
            size, used = resources.node_size(cloud), resources.used_on(cloud, host.address)
            free = [f"{most - held}/{most}" for most, held in zip(size, used)]
            text = (
                f"returning status=enabled cores={free[0]} mem={free[1]} disk={free[2]} "
                f"iqn=iqn.1994-05.com.redhat:{zlib.crc32(host.name.encode()):x}"
            )
            entries.append(("nc.log", log_line(now - 5, "DEBUG", text, "doDescribeResource")))
        if has_eucanetd(cloud, host):
            entries.append(("eucanetd.log", log_line(now - 600, "INFO", "eucanetd started")))
    found: list[tuple[str, str | None]] = host.store["log"]
    return found


def log_line(moment: float, level: str, text: str, where: str = "") -> str:
    """Return a line as cc.log, nc.log, eucanetd.log and cloud-output.log have it (log.c, EucaLayout.java), in local time."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    inner = f" {19327:09d} {where or 'main':<24.24}" if level in ("DEBUG", "TRACE", "EXTREME") else ""
    return f"{stamp} {level:>5}{inner} | {text}\n"


def room(path: Path, size: int) -> None:
    """Make a file take `size` bytes of the disk, without writing them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        if size:
            os.posix_fallocate(stream.fileno(), 0, size)


def sockets(places: Iterable[tuple[str, int]], state: str) -> str:
    """Return /proc/net/tcp (or udp, or their IPv6 siblings) with sockets that listen at these (address, port)."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    lines = []
    for number, (address, port) in enumerate(places):
        parts = [] if ":" in address else address.split(".")
        here = "".join(f"{int(part):02X}" for part in reversed(parts)) or "0" * 32
        there = "0" * len(here) + ":0000"
        lines.append(
            f"{number:4d}: {here}:{port:04X} {there} {state} 00000000:00000000 00:00000000 00000000"
            f"     0        0 {20000 + number} 1 0000000000000000 100 0 0 10 0\n"
        )
    return head + "".join(lines)


# ---- contents


def configuration(cloud: Cloud, host: Host) -> str:
    """Return eucalyptus.conf for a host's role and version."""
    stats = cloud.at_least(4, 1) and host.store.get("sensors", ("fresh", 0))[0] != "off"
    options = "-Deuca.enable_stats=true" if stats else ""
    settings: dict[str, str | None] = {"EUCALYPTUS": "/", "EUCA_USER": "eucalyptus", "CLOUD_OPTS": options}
    settings.update({"LOGLEVEL": "INFO", "NC_PORT": "8775", "CC_PORT": "8774", "SCHEDPOLICY": "ROUNDROBIN"})
    if has(cloud, host, "node"):
        settings["LOGLEVEL"] = "DEBUG"
    nodes = [each.host.address for each in cloud.services if each.kind == "node" and each.host.zone == host.zone]
    settings["NODES"] = " ".join(nodes) if has_cc(cloud, host) else ""
    settings.update({"HYPERVISOR": "kvm", "USE_VIRTIO_ROOT": "1", "USE_VIRTIO_DISK": "1", "USE_VIRTIO_NET": "1"})
    settings["INSTANCE_PATH"] = "/var/lib/eucalyptus/instances"
    settings.update({"NC_WORK_SIZE": "50000", "NC_CACHE_SIZE": "50000"})
    if stats and (has_cc(cloud, host) or has(cloud, host, "node")):
        settings["ENABLED_SENSORS"] = "messages service_state"
    if cloud.at_least(4):
        settings["VNET_MODE"] = "EDGE"
    else:
        settings.update({"VNET_MODE": "MANAGED-NOVLAN", "VNET_SUBNET": "10.111.0.0", "VNET_NETMASK": "255.255.0.0"})
        settings.update({"VNET_DNS": "192.0.2.53", "VNET_ADDRSPERNET": "32", "DISABLE_DNS": "N"})
        settings["VNET_PUBLICIPS"] = "198.51.100.10-198.51.100.17"
        settings.update({"CREATE_NC_LOOP_DEVICES": "256", "CREATE_SC_LOOP_DEVICES": "256"})
    settings.update({"VNET_PUBINTERFACE": "eth0", "VNET_BRIDGE": "br0", "VNET_DHCPDAEMON": "/usr/sbin/dhcpd"})
    settings.update(host.store.get("conf", {}))
    lines = [f'{name}="{value}"\n' for name, value in settings.items() if value is not None]
    return f"# /etc/eucalyptus/eucalyptus.conf of {host.name}\n" + "".join(lines)


def certificate(cloud: Cloud, name: str, variant: str = "") -> str:
    """Return what stands for a certificate: the same text on every host of a cloud, another one for another variant.

    It has the frame of a PEM file and no certificate in it: comparing it is all that it is for.
    """
    import base64
    import hashlib

    seed = hashlib.sha256(f"{cloud.booted} {name} {variant}".encode()).digest()
    inside = base64.encodebytes(seed * 6).decode()
    return f"-----BEGIN CERTIFICATE-----\n{inside}-----END CERTIFICATE-----\n"


def nc_stats(cloud: Cloud, host: Host, moment: float) -> str:
    """Return nc-stats as doDescribeInstances writes it."""
    size, used = resources.node_size(cloud), resources.used_on(cloud, host.address)
    cores, memory, disk = ((most, most - held, held) for most, held in zip(size, used))
    lines = [
        f"version: {cloud.version}",
        f"timestamp: {int(moment)}",
        f"node: {host.name}.example",
        "hypervisor: kvm",
        f"network: {'EDGE' if cloud.at_least(4) else 'MANAGED-NOVLAN'}",
        "memory (max/avail/used) MB: {}/{}/{}".format(*memory),
        "disk (max/avail/used) GB: {}/{}/{}".format(*disk),
        "cores (max/avail/used): {}/{}/{}".format(*cores),
    ]
    for each in resources.on_node(cloud, host.address):
        kind = resources.KINDS[each.kind]
        state = {"running": "Extant", "pending": "Pending"}.get(each.state, "Teardown")
        lines.append(
            f"id: {each.name} userId: AIDAJDEMOUSER0000001 state: {state} mem: {kind.memory} disk: {kind.disk} "
            f"cores: {kind.cpu} private: {each.private} public: {each.public}"
        )
    return "\n".join(lines) + "\n"


def network_info(cloud: Cloud) -> str:
    """Return a small global_network_info.xml with this cloud's instances (its real content is larger: UNCONFIRMED)."""
    running = [each for each in resources.things(cloud, resources.Instance).values() if each.state == "running"]
    inside = "".join(
        f'<instance name="{each.name}"><publicIp>{each.public}</publicIp><privateIp>{each.private}</privateIp></instance>'
        for each in running
    )
    version = f"{zlib.crc32(inside.encode()):08x}"
    return f'<network-data version="{version}"><instances>{inside}</instances></network-data>\n'


class Sensor(NamedTuple):
    """What one sensor file says."""

    name: str
    description: str
    ttl: int
    tags: tuple[str, ...]
    values: Mapping[str, Any]


def sensors(cloud: Cloud, host: Host) -> list[Sensor]:
    """Return the sensors that this host's components write (stats.enable_stats, ENABLED_SENSORS), all of them well."""
    found = []
    period = "polling_interval: 60 sec"
    if has_jvm(cloud, host):
        for each in cloud.on(host):
            if each.kind in JVM_KINDS_ELSEWHERE and not (each.kind == "cluster" and cloud.at_least(5)):
                continue
            state = each.state  # as the component itself sees it
            values: dict[str, Any] = {"Check": "OK" if state in ("ENABLED", "DISABLED") else "FAILED", "State": state}
            text = f"Component {each.kind} state and health checks"
            own = (cloud.full_name(each), period)
            found.append(Sensor(f"euca.components.{each.kind}.state", text, STATS_TTL, own, values))
        found += _jvm(period)
        if has(cloud, host, "eucalyptus"):
            pools = {"eucalyptus_shared": (1024, 25), "database_events": (8, 1)}
            values = {}
            for alias, (most, active) in pools.items():
                values[f"{alias}.MaxConnectionCount"] = most
                values[f"{alias}.ActiveConnectionCount"] = active
                values[f"{alias}.CapacityCheck"] = "OK"
            tags = ("connection_count", "db", period)
            text = "Db Connection Pool info for all pools in JVM"
            found.append(Sensor("euca.db.connection_pools", text, STATS_TTL, tags, values))
    for short, kind, names in (
        ("cc", "cluster", ("DescribeInstances", "DescribeResources", "ncDescribeInstances", "ncDescribeResource")),
        ("nc", "node", ("DescribeInstances", "DescribeResource", "DescribeSensors")),
    ):
        if (has_cc if short == "cc" else has)(cloud, host, *(() if short == "cc" else ("node",))):
            service = next((each for each in cloud.on(host) if each.kind in (kind, "proxy-cluster")), None)
            state = service.state if service else "ENABLED"
            if short == "nc":
                state = "ENABLED" if state == "ENABLED" else "DISABLED"
            values = {"state": state, "check": "OK" if state in ("ENABLED", "DISABLED") else "FAILED"}
            if short == "nc" and state != "ENABLED":
                values["check"] = "FAILED"
            text = "Service state as of sensor invocation"
            found.append(Sensor(f"euca.components.{short}.state", text, STATS_TTL, (period,), values))
            counts = {"count": 12, "success_count": 12, "failure_count": 0, "mean": 8.0, "min": 3, "max": 31}
            values = {"enabled": True, **{name: dict(counts) for name in names}}
            text = "Message handling statistics over last interval"
            found.append(Sensor(f"euca.components.{short}.msgs.stats", text, STATS_TTL, (period,), values))
    return found


def _jvm(period: str) -> list[Sensor]:
    pools: dict[str, Any] = {}
    for pool, used, most in (
        ("Code Cache", 64 * MB, 240 * MB),
        ("Metaspace", 160 * MB, -1),  # without a limit: the share is negative, as Java computes it
        ("PS Eden Space", 300 * MB, 600 * MB),
        ("PS Survivor Space", 10 * MB, 40 * MB),
        ("PS Old Gen", 500 * MB, 1400 * MB),
    ):
        pools[f"{pool}.UsedByes"] = most
        pools[f"{pool}.InitBytes"] = 0
        pools[f"{pool}.CommittedBytes"] = used + 20 * MB
        pools[f"{pool}.MaxBytes"] = most
        pools[f"{pool}.PercentOfMaxUsed"] = used / most * 100.0
        pools[f"{pool}.PeakUsedBytes"] = used + 10 * MB
        pools[f"{pool}.PeakCommittedBytes"] = used + 20 * MB
        pools[f"{pool}.PeakMaxBytes"] = most
        pools[f"{pool}.PercentOfPeakUsed"] = used / (used + 10 * MB) * 100.0
    general = {"HeapUsageBytes": 810 * MB, "NonHeapUsageBytes": 224 * MB}
    gc = {f"{name}.{key}": value for name, *values in (("PS MarkSweep", 6, 4100), ("PS Scavenge", 900, 31000))
          for key, value in zip(("CollectionCount", "CollectionTimeMSec"), values)}  # fmt: skip
    # With no deadlock findDeadlockedThreads gives null, and the count is the empty text.
    threads = {"DeadlockedThreadCount": "", "DeadlockedThreads": "", "MonitorDeadlockedThreadCount": "",
               "ThreadCount": 180, "TotalStartedThreadCount": 5200, "PeakThreadCount": 240,
               "DaemonThreadCount": 120}  # fmt: skip
    contexts = {"ChannelContexts": 3, "MessageContexts": 3}
    memory = ("jvm", "memory", period)
    return [
        Sensor("euca.jvm.memory.general", "JVM Memory usage for heap/non-heap in use", STATS_TTL, memory, general),
        Sensor("euca.jvm.memory.pools", "JVM Memory usage for all pools in use", STATS_TTL, memory, pools),
        Sensor("euca.jvm.memory.gc", "JVM GC stats for all GCs in use", STATS_TTL, memory, gc),
        Sensor("euca.jvm.threads.state", "JVM Memory usage for all pools in use", STATS_TTL, memory, threads),
        Sensor("euca.components.message_contexts", "Message contexts", STATS_TTL, (period,), contexts),
    ]


# ---- told at run time


def _fault_log(cloud: Cloud, host: Host, number: str, component: str) -> tuple[str, bool]:
    """Return the file and whether it is written by C code. Up to 4.1 some Java components had files of their own."""
    node, cc, jvm = has(cloud, host, "node"), has_cc(cloud, host), has_jvm(cloud, host)
    if not component:
        in_c = number in faults.OF_NODES and (node or cc)
        component = ("nc" if node else "cc") if in_c or not jvm else "cloud"
    if component in ("cc", "nc"):
        return f"{component}-fault.log", True
    if component in ("cloud", "sc", "services", "walrus", "walrusbackend"):
        return f"{component if not cloud.at_least(4, 2) else 'cloud'}-fault.log", False
    raise KeyError(f"no component {component}: cc, nc, cloud, sc, services, walrus, walrusbackend")


def _log(cloud: Cloud, host: Host, name: str, text: str | None) -> None:
    if "/" in name or name.startswith(".") or not name.isprintable() or not 0 < len(name) <= 60:
        raise ValueError(f"write the name of a log, not {name}")
    history(cloud, host).append((name, text))


def tell_fault(cloud: Cloud, host: str, number: str | int, *more: Mapping[str, str] | str | float) -> None:
    """Log fault NUMBER; MORE: VARIABLE=VALUE (daemon=eucanetd), a component (cc nc cloud sc walrus), its age in seconds."""
    place = find_host(cloud, host)
    if str(number) not in faults.TEXTS:
        raise KeyError(f"no fault {number}: {', '.join(faults.TEXTS)}")
    variables: dict[str, str] = {}
    component, age = "", 0.0
    for word in more:
        if isinstance(word, Mapping):
            variables.update(word)
        elif "=" in str(word):
            name, _, variables[name] = str(word).partition("=")
        elif str(word)[:1].isdigit():
            age = amount(word)
        else:
            component = str(word)
    name, in_c = _fault_log(cloud, place, str(number), component)
    # The real C code logs the same fault (id and variables) once in its life; here it is logged when told.
    _log(cloud, place, name, faults.block(str(number), cloud.now() - age, variables, in_c))


def tell_silence(cloud: Cloud, host: str, number: str | int) -> None:
    """Leave an empty template of fault NUMBER in etc/eucalyptus/faults, which switches it off."""
    if str(number) not in faults.TEXTS:
        raise KeyError(f"no fault {number}: {', '.join(faults.TEXTS)}")
    find_host(cloud, host).store.setdefault("silenced", []).append(str(number))


def tell_log(cloud: Cloud, host: str, name: str, level: str, text: str, age: float = 0) -> None:
    """Log a line in nc.log, cc.log, eucanetd.log, cloud-output.log, ...; quote TEXT."""
    _log(cloud, find_host(cloud, host), name, log_line(cloud.now() - amount(age), level, text))


def tell_rotate(cloud: Cloud, host: str, name: str) -> None:
    """Rotate a log: those of C code to NAME.0, those of Java to NAME.1."""
    _log(cloud, find_host(cloud, host), name, None)


def tell_sensors(cloud: Cloud, host: str, word: str, age: float | None = None) -> None:
    """WORD fresh; stale (written AGE seconds ago, 600 if not said); half (half written); garbage; off."""
    words = ("fresh", "stale", "half", "garbage", "off")
    if word not in words:
        raise KeyError(f"no word {word}: {', '.join(words)}")
    find_host(cloud, host).store["sensors"] = (word, amount(age if age is not None else 600 if word == "stale" else 0))


def tell_sensor(cloud: Cloud, host: str, sensor: str, key: str, value: Any) -> None:
    """Set one value of one sensor: euca.jvm.memory.pools "PS Old Gen.PercentOfMaxUsed" 97.0; a number is one."""
    place = find_host(cloud, host)
    known = [each.name for each in sensors(cloud, place)]
    if sensor not in known:
        raise KeyError(f"no sensor {sensor} on {place.name}: {', '.join(known)}")
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = amount(value)
    place.store.setdefault("values", {}).setdefault(sensor, {})[key] = value


def tell_kill(cloud: Cloud, host: str, program: str) -> None:
    """End a program: eucanetd, dhcpd, httpd, java, postgres, tgtd, libvirtd, qemu-kvm; its pid file stays."""
    place = find_host(cloud, host)
    known = dict.fromkeys(each.name for each in _all_processes(cloud, place) if each.number > 1)
    if program not in known:
        raise KeyError(f"no {program} on {place.name}: {', '.join(known)}")
    place.store.setdefault("killed", set()).add(program)


def tell_revive(cloud: Cloud, host: str, program: str) -> None:
    """Start it again."""
    find_host(cloud, host).store.setdefault("killed", set()).discard(program)


def tell_contact(cloud: Cloud, host: str, age: float) -> None:
    """The CC asked this node AGE seconds ago (nc-stats)."""
    find_host(cloud, host).store["contact"] = cloud.elapsed() - amount(age)


def tell_network(cloud: Cloud, host: str, age: float) -> None:
    """The last network state (global_network_info.xml) came AGE seconds ago."""
    find_host(cloud, host).store["network"] = cloud.elapsed() - amount(age)


def tell_cache(cloud: Cloud, host: str, cache_mb: float, work_mb: float = 1, limit_mb: float | None = None) -> None:
    """Fill a node's image cache and work folder with so many MB (of this disk); LIMIT: NC_CACHE_SIZE and NC_WORK_SIZE."""
    store = find_host(cloud, host).store
    store["cache"] = (amount(cache_mb, 0, MOST_MB), amount(work_mb, 0, MOST_MB))
    if limit_mb is not None:
        limit = f"{amount(limit_mb):.0f}"
        store.setdefault("conf", {}).update({"NC_CACHE_SIZE": limit, "NC_WORK_SIZE": limit})


def tell_conf(cloud: Cloud, host: str, name: str, value: str | None = None) -> None:
    """Set a line of eucalyptus.conf; without a value it is taken out."""
    find_host(cloud, host).store.setdefault("conf", {})[name] = value


def tell_keys(cloud: Cloud, host: str, word: str) -> None:
    """WORD differ: this host's copies of the certificates are others; same: they are the cloud's."""
    if word not in ("differ", "same"):
        raise KeyError(f"no word {word}: differ, same")
    find_host(cloud, host).store["keys"] = word if word == "differ" else ""


def tell_heapdump(cloud: Cloud, host: str) -> None:
    """Leave a *.hprof in the log folder, as a JVM without memory does."""
    find_host(cloud, host).store["heapdump"] = True


TELL: dict[str, Callable[..., None]] = {
    "fault": tell_fault, "silence": tell_silence, "sensors": tell_sensors, "sensor": tell_sensor, "log": tell_log,
    "rotate": tell_rotate, "kill": tell_kill, "revive": tell_revive, "contact": tell_contact, "network-age": tell_network,
    "cache": tell_cache, "conf": tell_conf, "keys": tell_keys, "heapdump": tell_heapdump,
}  # fmt: skip
