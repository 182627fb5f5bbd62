# SPDX-License-Identifier: Apache-2.0
"""A simulated Eucalyptus cloud in the real wire format, on loopback addresses, which imports nothing of ours.

    with Demo(sample(version="4.4.2", zones=2, nodes=3)) as demo:
        demo.address("one-cc")                              # "127.71.33.1"
        demo.credentials("euca.ini", user="monitor")
        demo.tell("state", "one-sc-1", "BROKEN", "SC blockstoragemanager not configured.")
        demo.tell("hang", "clc")
        demo.tell("heal", "clc")

Every fact is from the source and the documentation of Eucalyptus; nothing was compared with a live cloud, and what even those
do not say is marked UNCONFIRMED where it is made up.
"""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path
from types import TracebackType
from typing import Any

from nephoscope.demo import (
    autoscaling,
    axis2,
    cloudwatch,
    configuration,
    ec2,
    empyrean,
    euare,
    files,
    heartbeat,
    model,
    properties,
    resources,
    s3,
    signature,
    telling,
    tokens,
    topology,
    wire,
)
from nephoscope.demo.model import Answer, Cloud, Host, Request
from nephoscope.demo.server import CC, JVM, NC, Loop, Seen
from nephoscope.demo.topology import Plan, Unfit, sample

__all__ = ["Demo", "Unfit", "sample"]

SERVICES = {
    "empyrean": empyrean, "properties": properties, "configuration": configuration, "ec2": ec2, "euare": euare, "s3": s3,
    "cloudwatch": cloudwatch, "autoscaling": autoscaling, "tokens": tokens,
}  # fmt: skip
"""What answers on 8773, by PATHS and answer(): see model."""
KINDS = {
    "ec2": "compute", "s3": "objectstorage", "euare": "euare", "tokens": "tokens", "cloudwatch": "cloudwatch",
    "autoscaling": "autoscaling",
}  # fmt: skip
"""Module -> the component that must be ENABLED on the host that is asked; the internal services answer on every JVM."""
BEFORE_4 = {"compute": "eucalyptus", "objectstorage": "walrus"}
TELLERS = (telling, resources, files, properties)
"""Modules that know words; where two know the same one, the first is asked."""


class Demo:
    """A cloud that runs, in a thread of this process, from `with` to its end. `cloud` is its model."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan or sample()
        self.paths = {path: name for name, module in SERVICES.items() for path in module.PATHS}
        self.cloud: Cloud = topology.build(self.plan)
        self.loop: Loop | None = None

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> Demo:
        """Make the cloud of a topology file, at exactly its addresses. Raises Unfit, OSError."""
        return cls(topology.read(Path(path)))

    # ---- life

    def start(self) -> Demo:
        """Bring the cloud up: when this returns, every listener takes connections. Raises OSError when an address is taken."""
        for attempt in range(50):
            plan = topology.moved(self.plan, _block()) if self.plan.floating else self.plan
            self.cloud = topology.build(plan)
            properties.seed(self.cloud)
            resources.seed(self.cloud)
            self.loop = Loop(self.cloud, self._answer)
            self.loop.start()
            try:
                for host in self.cloud.hosts.values():
                    self._open(host)
            except OSError as error:
                self.loop.close()
                self.loop = None
                if error.errno != errno.EADDRINUSE or not self.plan.floating or attempt == 49:
                    raise
                continue
            self.plan = plan._replace(floating=False)
            break
        return self

    def close(self) -> None:
        """End it: no thread, socket or file is left."""
        if self.loop is not None:
            self.loop.close()
            self.loop = None

    def __enter__(self) -> Demo:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ports(self, host: str) -> tuple[int, ...]:
        """Return the ports on which a host listens when it is well."""
        kinds = {service.kind for service in self.cloud.on(self.cloud.hosts[host])}
        found = []
        if any(topology.on_jvm(self.cloud, kind) for kind in kinds):
            found.append(JVM)
        if "proxy-cluster" in kinds or ("cluster" in kinds and not self.cloud.at_least(5)):
            found.append(CC)
        if "node" in kinds:
            found.append(NC)
        return tuple(found)

    def _open(self, host: Host) -> None:
        if self.loop is not None and not host.bulk:
            ports = self.ports(host.name)
            if ports:
                self.loop.open(host.name, host.address, ports)

    # ---- what a client needs

    def address(self, host: str) -> str:
        """Return a host's address."""
        return self.cloud.hosts[host].address

    def url(self, host: str = "clc", tls: bool = False) -> str:
        """Return where a host's web services are, without a path."""
        return f"{'https' if tls else 'http'}://{self.address(host)}:{JVM}"

    def user(self, name: str) -> model.User:
        """Return a user: `admin` and `monitor` of account eucalyptus, `nobody` without rights, `owner` of account tenant."""
        return self.cloud.member(name)

    def credentials(self, path: str | os.PathLike[str], user: str = "admin", region: str = "demo") -> Path:
        """Write the euca2ools configuration (.ini, 0600) of a user and of this cloud, and return its path."""
        who = self.cloud.member(user)
        front = next((s.host for s in self.cloud.services if s.kind == "compute"), None)
        clc = next(s.host for s in self.cloud.services if s.kind == "eucalyptus")
        front = front or clc
        web, own = f"http://{front.address}:{JVM}/services", f"http://{clc.address}:{JVM}/services"
        store, ec2 = ("objectstorage", "compute") if self.cloud.at_least(4) else ("Walrus", "Eucalyptus")
        lines = [
            "[global]", f"default-region = {region}", "",
            f"[user {user}]", f"key-id = {who.access}", f"secret-key = {who.secret}", f"account-id = {who.number}", "",
            f"[region {region}]", f"user = {user}",
            f"autoscaling-url = {web}/AutoScaling/", f"bootstrap-url = {own}/Empyrean/",
            f"cloudformation-url = {web}/CloudFormation/", f"ec2-url = {web}/{ec2}/",
            f"elasticloadbalancing-url = {web}/LoadBalancing/", f"iam-url = {web}/Euare/",
            f"monitoring-url = {web}/CloudWatch/", f"properties-url = {own}/Properties/", f"s3-url = {web}/{store}/",
            f"sts-url = {web}/Tokens/",
        ]  # fmt: skip
        target = Path(path)
        target.touch(0o600)
        target.chmod(0o600)
        target.write_text("\n".join(lines) + "\n")
        return target

    def topology(self, path: str | os.PathLike[str]) -> Path:
        """Write this cloud's topology file and return its path."""
        target = Path(path)
        target.write_text(topology.written(self.plan), encoding="utf-8")
        return target

    def certificate(self, path: str | os.PathLike[str]) -> Path:
        """Write the (self-signed) certificate that 8773 shows, for --ca-file, and return its path."""
        target = Path(path)
        target.write_bytes(self._running().secure().pem)
        return target

    def write(self, host: str, root: str | os.PathLike[str]) -> None:
        """Write a host's files (configuration, logs, sensors, faults, pid files) below a root folder."""
        files.write(self.cloud, host, Path(root))

    @property
    def requests(self) -> list[Seen]:
        """Return the requests that were read so far: (host, method, path, action)."""
        return list(self._running().seen)

    def connections(self, host: str) -> int:
        """Return how many connections a host has taken."""
        return self._running().accepted.get(host, 0)

    def _running(self) -> Loop:
        if self.loop is None:
            raise RuntimeError("this cloud is not up: with Demo(...) as demo")
        return self.loop

    # ---- what it is told

    def tell(self, word: str, *rest: Any) -> None:
        """Change something while it runs: `words()` has them all. Raises ValueError or KeyError when that makes no sense.

        demo.tell("state", "one-sc-1", "BROKEN", "no backend")   demo.tell("view", "one-cc", {"one-sc-1": "NOTREADY"})
        demo.tell("stop", "one-cc")   demo.tell("hang", "clc")   demo.tell("heal", "clc")
        demo.tell("silent", "one-nc-1")   demo.tell("clock", 601)   demo.tell("skew", 31)
        demo.tell("property", "one.storage.maxtotalvolumesizeingb", "5")
        """
        known = {name: module.TELL[name] for module in reversed(TELLERS) for name in module.TELL}
        if word not in known:
            raise ValueError(f"no word {word}{telling.nearest(word, known)}")
        with self.cloud.lock:
            before = {host.name: host.failure for host in self.cloud.hosts.values()}
            if not telling.fits(self.cloud, known[word], rest):
                raise ValueError(f"write {telling.usage(word, known[word])}")
            try:
                known[word](self.cloud, *rest)
            finally:
                self.cloud.touch()
        if self.loop is None:
            return
        for host in self.cloud.hosts.values():
            if host.bulk:
                continue
            if not host.up:
                self.loop.shut(host.name)
            else:
                self._open(host)
                if host.failure != before.get(host.name, ""):
                    self.loop.cut(host.name)

    def words(self) -> list[str]:
        """Return one line for each word that can be told."""
        return telling.words(TELLERS)

    # ---- what it answers

    def _answer(self, request: Request, port: int) -> Answer:
        if port != JVM:
            return axis2.answer(self.cloud, request, port)
        if request.headers[":target"].endswith("/services/Heartbeat"):
            return heartbeat.answer(self.cloud, request)
        name = self._service(request.path)
        module: Any = SERVICES.get(name)
        if module is None or (getattr(module, "VERSIONED", False) and "Version" not in request.params):
            return wire.not_found()
        try:
            kind = getattr(module, "SIGNED", "query")
            request = request._replace(user=signature.verify(self.cloud, request, kind))
        except wire.Refused as error:
            words = getattr(module, "refused", None)
            refusal: Answer = words(self.cloud, request, error) if words else wire.fault(error.status, error.message)
            return refusal
        answer: Answer = self._elsewhere(KINDS.get(name, ""), request) or module.answer(self.cloud, request)
        return answer

    def _service(self, path: str) -> str:
        """Return the name of the module that serves a path, or nothing."""
        for start, name in self.paths.items():
            if path == start or path.startswith(start + "/"):
                return name
        return ""

    def _elsewhere(self, kind: str, request: Request) -> Answer | None:
        """Return 307 or 503 when the service is not ENABLED on the host that is asked (Handlers.sendRedirect)."""
        if not self.cloud.at_least(4):
            kind = BEFORE_4.get(kind, kind)
        if kind not in self.cloud.kinds():
            return None
        here = self.cloud.hosts[request.host]
        enabled = [service for service in self.cloud.of_kind(kind) if self.cloud.state(service)[0] == "ENABLED"]
        if any(service.host is here for service in enabled):
            return None
        if not enabled:
            return Answer(503, {"Connection": "close"}, b"")
        place = f"http://{enabled[0].host.address}:{JVM}{request.headers[':target']}"
        return Answer(307, {"Location": place, "Connection": "close"}, b"")


def _block() -> str:
    """Return the beginning of a block of addresses for a sample; 8 blocks of 32 x 256 lie in each second octet."""
    return f"127.{random.randrange(64, 240)}.{random.randrange(8) * 32}.0"
