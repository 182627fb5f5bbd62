# SPDX-License-Identifier: Apache-2.0
"""A client that knows nothing of the project: plain http.client, raw sockets, and SigV4 as AWS's documentation has it."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import http.client
import socket
import time
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from nephoscope.demo import Demo


class Got(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def message(self) -> str:
        """The text of an error document."""
        return self.text.partition("<Message>")[2].partition("</Message>")[0]


def fetch(
    demo: Demo, host: str, path: str, method: str = "GET", body: str = "", headers: Any = None, port: int = 8773
) -> Got:
    link = http.client.HTTPConnection(demo.address(host), port, timeout=10)
    try:
        link.request(method, path, body.encode() or None, headers or {})
        answer = link.getresponse()
        return Got(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    finally:
        link.close()


def raw(demo: Demo, host: str, data: bytes, port: int = 8773, seconds: float = 10) -> bytes:
    """Send bytes and return all that comes until the other side closes."""
    with socket.create_connection((demo.address(host), port), timeout=seconds) as link:
        link.sendall(data)
        parts = []
        while True:
            part = link.recv(65536)
            if not part:
                return b"".join(parts)
            parts.append(part)


def sign(demo: Demo, host: str, path: str, body: str, user: str, ahead: float = 0, secret: str = "") -> dict[str, str]:
    """The headers of a POST signed with version 4, by a clock that is `ahead`."""
    who = demo.user(user)
    moment = datetime.datetime.fromtimestamp(time.time() + ahead, datetime.timezone.utc)
    stamp, day = moment.strftime("%Y%m%dT%H%M%SZ"), moment.strftime("%Y%m%d")
    kind, place = "application/x-www-form-urlencoded", f"{demo.address(host)}:8773"
    lines = f"content-type:{kind}\nhost:{place}\nx-amz-date:{stamp}\n"
    names = "content-type;host;x-amz-date"
    digest = hashlib.sha256(body.encode()).hexdigest()
    canonical = f"POST\n{quote(path)}\n\n{lines}\n{names}\n{digest}"
    scope = f"{day}/demo/bootstrap/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret or who.secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    given = f"AWS4-HMAC-SHA256 Credential={who.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {"Content-Type": kind, "Host": place, "X-Amz-Date": stamp, "Authorization": given}


def ask(
    demo: Demo,
    action: str,
    service: str = "Empyrean",
    host: str = "clc",
    user: str = "admin",
    ahead: float = 0,
    version: str = "eucalyptus",
    **params: str,
) -> Got:
    """A signed request, as euca2ools 3 sends it."""
    path = f"/services/{service}"
    body = urlencode({"Action": action, **({"Version": version} if version else {}), **params})
    return fetch(demo, host, path, "POST", body, sign(demo, host, path, body, user, ahead))


def rows(got: Got, under: str = "serviceStatuses") -> list[dict[str, str]]:
    """The items of a list, each as leaf name -> text, whatever the namespace."""
    assert got.status == 200, got.text
    root = ElementTree.fromstring(got.text)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    found = root.find(under)
    assert found is not None, got.text
    return [{leaf.tag: leaf.text or "" for leaf in item.iter() if not len(leaf)} for item in found]


def states(demo: Demo, host: str = "clc", **params: str) -> dict[str, str]:
    """Service name -> state, of all that is listed."""
    return {row["name"]: row["localState"] for row in rows(ask(demo, "DescribeServices", host=host, **params))}
