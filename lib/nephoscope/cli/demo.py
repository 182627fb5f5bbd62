# SPDX-License-Identifier: Apache-2.0
"""`nephoscope demo`: a simulated cloud on loopback, and `nephoscope demo tell`, which breaks it while it runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nephoscope.cli.choosing import Refused
from nephoscope.demo import Demo, Unfit, sample
from nephoscope.plugin import OK

MARK = ".nephoscope-demo"
"""The file that says that a folder is ours, and may be emptied."""
LARGEST = 64 * 1024
SECONDS = 20
AGAIN = 30.0
"""Seconds after which the hosts' files are written again: what shows that a host lives must not grow old."""


def run(options: argparse.Namespace) -> int:
    """Do what the command line says. Raises Refused."""
    folder = Path(options.folder) if options.folder else default_folder()
    words: list[str] = options.words
    if words[:1] == ["tell"]:
        return tell(folder, words[1:])
    if words:
        raise Refused(f"demo {words[0]}: there is `demo` and `demo tell WORDS`")
    return serve(options, folder)


def default_folder() -> Path:
    """Return where a demo keeps its files if nobody says where."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "nephoscope-demo") if runtime else Path(f"/tmp/nephoscope-demo-{os.getuid()}")  # noqa: S108


# ---- the running one


def serve(options: argparse.Namespace, folder: Path) -> int:
    """Bring a cloud up, write what its clients need into the folder, and serve until a signal comes."""
    try:
        if options.topology:
            demo = Demo.of_file(options.topology)
        else:
            demo = Demo(sample(options.release, options.zones, options.nodes, options.split))
    except (Unfit, OSError) as error:
        raise Refused(str(error)) from error
    with _signals() as stopped:
        listener = claim(folder)
        try:
            try:
                demo.start()
            except OSError as error:
                raise Refused(f"the cloud cannot listen: {error}") from error
            write(demo, folder)
            sys.stdout.write(said(demo, folder))
            sys.stdout.flush()
            _attend(demo, folder, listener, stopped)
        finally:
            demo.close()
            listener.close()
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # its terminal may be gone
        sys.stdout.write("The cloud is down.\n")
        sys.stdout.flush()
    return OK


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Give what says whether a signal came that ends it: Control-C, SIGTERM, a terminal that went (but for nohup)."""
    came: list[int] = []
    ends = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in ends}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _attend(demo: Demo, folder: Path, listener: socket.socket, stopped: Callable[[], bool]) -> None:
    """Do what is told, and keep the hosts' files as fresh as living hosts would, until it ends."""
    due = time.monotonic() + AGAIN
    while not stopped():
        try:
            client, _ = listener.accept()
        except (TimeoutError, socket.timeout):
            pass
        else:
            with client:
                _hear(demo, folder, client)
        began = time.monotonic()
        if began >= due:
            with contextlib.suppress(OSError):  # a full disk; who tells something next is told of it
                write_hosts(demo, folder)
            now = time.monotonic()
            due = now + max(AGAIN, 10 * (now - began))  # hundreds of hosts must not keep a core busy


def claim(folder: Path) -> socket.socket:
    """Take a folder for our own, empty and 0700, and listen in it. Raises Refused when it is not ours, or in use."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise Refused(f"{folder} is not a folder of this user")
        if any(folder.iterdir()):
            if not (folder / MARK).is_file():
                raise Refused(f"{folder} is not empty, and nothing of a demo: choose another --folder")
            if answers(folder):
                raise Refused(f"a demo runs already in {folder}: end it, or choose another --folder")
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
        folder.chmod(0o700)
        (folder / MARK).touch()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(folder / "socket"))
        os.chmod(folder / "socket", 0o600)
        listener.listen(8)
        listener.settimeout(0.2)
        return listener
    except OSError as error:
        raise Refused(f"{folder} cannot be used: {error}") from error


def write(demo: Demo, folder: Path) -> None:
    """Write topology, certificate, credentials, and the files of each host that is not just in lists."""
    demo.topology(folder / "topology.toml")
    demo.certificate(folder / "certificate.pem")
    for user in demo.cloud.users.values():
        if not user.token:
            demo.credentials(folder / f"{user.name}.ini", user=user.name)
    write_hosts(demo, folder)


def write_hosts(demo: Demo, folder: Path) -> None:
    """Write the files of each host (eucalyptus.conf, logs, sensors, faults) below hosts/<name>."""
    for host in demo.cloud.hosts.values():
        if not host.bulk:
            demo.write(host.name, folder / "hosts" / host.name)


def said(demo: Demo, folder: Path) -> str:
    """Return what is printed when the cloud is up."""
    cloud = demo.cloud
    hosts = [host for host in cloud.hosts.values() if not host.bulk]
    nodes = sum(service.kind == "node" for service in cloud.services)
    zones = f"{len(cloud.zones)} zone{'s' if len(cloud.zones) != 1 else ''}"
    lines = [f"A cloud of Eucalyptus {cloud.version} is up: {zones}, {nodes} nodes. Its files are in {folder}."]
    for host in hosts[:12]:
        ports = ", ".join(str(port) for port in demo.ports(host.name))
        kinds = sorted({service.kind for service in cloud.on(host) if service.kind in _SHOWN})
        lines.append(f"  {host.name:<12} {host.address:<16} {ports:<12} {', '.join(kinds)}")
    if len(hosts) > 12:
        lines.append(f"  and {len(hosts) - 12} more: topology.toml has them all")
    clc = next(
        (host.address for host in hosts if any(s.kind == "eucalyptus" for s in cloud.on(host))), hosts[0].address
    )
    storage = next((service.name for service in cloud.services if service.kind == "storage"), "SERVICE")
    cc = next((host.name for host in hosts if any(s.kind == "cluster" for s in cloud.on(host))), hosts[0].name)
    keys = f"--credentials {folder}/admin.ini"
    where = "" if folder == default_folder() else f" --folder {folder}"
    lines += [
        "Look at it:",
        f"  check_euca_clc -H {clc}",
        f"  check_euca_services -H {clc} {keys} --topology {folder}/topology.toml",
        f"  check_euca_nodes -H {clc} {keys} --topology {folder}/topology.toml",
        "Break it, and look again (`demo tell` alone lists the words):",
        f"  nephoscope demo{where} tell state {storage} BROKEN no backend is configured",
        f"  nephoscope demo{where} tell stop {cc}",
        f"  nephoscope demo{where} tell heal {cc}",
        "Control-C ends it.",
    ]
    return "\n".join(lines) + "\n"


_SHOWN = ("eucalyptus", "user-api", "walrus", "walrusbackend", "cluster", "storage", "node", "dns")


def _hear(demo: Demo, folder: Path, client: socket.socket) -> None:
    """Take one list of words, do it, and answer."""
    client.settimeout(5)
    answer: Mapping[str, Any]
    try:
        words = json.loads(_received(client))
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("not a list of words")
        if words:
            demo.tell(*words)
            write_hosts(demo, folder)
        answer = {"words": demo.words()} if not words else {"done": True}
    except Exception as error:  # whatever was told, the cloud stays up
        # str(KeyError) has quotes around its text.
        answer = {"error": str(error.args[0] if isinstance(error, KeyError) else error) or type(error).__name__}
    try:
        client.sendall(json.dumps(answer).encode())
    except OSError:
        pass  # who asked has gone


# ---- the one that tells


def tell(folder: Path, words: Sequence[str]) -> int:
    """Tell the demo that runs in the folder, or ask it for its words. Raises Refused with its own text."""
    try:
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(SECONDS)
            talk.connect(str(folder / "socket"))
            talk.sendall(json.dumps(list(words)).encode())
            talk.shutdown(socket.SHUT_WR)
            answer = json.loads(_received(talk))
    except (OSError, ValueError) as error:
        raise Refused(f"no demo answers in {folder} ({error}): start one with `nephoscope demo`") from error
    if "error" in answer:
        raise Refused(f"demo tell {' '.join(words)}: {answer['error']}")
    for line in answer.get("words", ()):
        sys.stdout.write(line + "\n")
    return OK


def _received(talk: socket.socket) -> bytes:
    """Return all that comes until the other side ends its part. Raises OSError."""
    data = b""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        part = talk.recv(65536)
        if not part:
            return data
        data += part
        if len(data) > LARGEST:
            raise OSError("more than 64 KiB")
    raise OSError("it does not end")


def answers(folder: Path) -> bool:
    """Say whether a demo runs in this folder."""
    with socket.socket(socket.AF_UNIX) as talk:
        talk.settimeout(2)
        try:
            talk.connect(str(folder / "socket"))
            talk.sendall(b"[]")
        except OSError:
            return False
        return True
