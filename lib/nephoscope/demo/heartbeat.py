# SPDX-License-Identifier: Apache-2.0
"""GET .../services/Heartbeat: what a JVM has, without credentials (MSGS/ws/server/LegacyHBPipeline.java, 3.1 to 5.x)."""

from __future__ import annotations

import zlib

from nephoscope.demo.model import Answer, Cloud, Request


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer a request; anything but GET is 405 without a body. The server closes in both cases."""
    if request.method != "GET":
        return Answer(405, {"Connection": "close"}, b"")
    body = text(cloud, request.host).encode()
    return Answer(200, {"Content-Type": "text/plain; charset=UTF-8", "Connection": "close"}, body)


def text(cloud: Cloud, host: str) -> str:
    """Return one line of 84 characters for each component type that this version knows, in no useful order."""
    here: dict[str, bool] = {}
    for service in cloud.on(cloud.hosts[host]):
        state = cloud.hosts[host].view.get(service, service.state)
        here[service.kind] = here.get(service.kind, False) or state == "ENABLED"
    lines = []
    for kind in sorted(cloud.kinds(), key=lambda name: zlib.crc32(name.encode())):
        local = kind in here
        # isAvailableLocally(): the code is installed. Walrus has a package of its own.
        installed = local or kind not in ("walrus", "walrusbackend")
        words = (kind, _java(here.get(kind, False)), _java(local), _java(installed))
        lines.append("name=%-20.20s enabled=%-10.10s local=%-10.10s initialized=%-10.10s\n" % words)  # noqa: UP031 - Java's format
    return "".join(lines)


def _java(value: bool) -> str:
    return "true" if value else "false"
