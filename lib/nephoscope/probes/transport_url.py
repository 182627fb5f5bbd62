# SPDX-License-Identifier: Apache-2.0
"""Where a service of OpenStack has its message broker: `transport_url` of oslo.messaging.

Source: oslo.messaging, documentation of TransportURL: transport://user:pass@host:port[,userN:passN@hostN:portN]/virtual_host?query,
user and password percent-encoded, IPv6 in brackets; kombu's names for RabbitMQ are `rabbit` and `amqp`, `ssl=1` in the query.
"""

from __future__ import annotations

from typing import NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Failed
from nephoscope.base.run import Run
from nephoscope.probes import oslo_conf

KINDS = ("rabbit", "amqp", "amqps", "kombu", "kombu+amqp", "pyamqp")
PORT = 5672
TRIED = "read its transport_url"


class Transport(NamedTuple):
    """What a URL says: user and password of its first host, (host, port) of each, virtual host. Shows no password."""

    user: str
    password: str
    hosts: tuple[tuple[str, int], ...]
    vhost: str

    def __repr__(self) -> str:
        return f"Transport({self.user!r}, ***, {self.hosts!r}, {self.vhost!r})"


def parse(url: str, of: str) -> Transport:
    """Return what a URL says. Raises Failed of `of` without a word of the URL: absent (no RabbitMQ), unreadable (no URL)."""
    from urllib.parse import unquote

    scheme, separator, rest = url.strip().partition("://")
    if not separator:
        raise Failed(UNREADABLE, of, TRIED, "it is no URL like rabbit://user:password@host:5672/")
    if scheme.lower() not in KINDS:
        raise Failed(ABSENT, of, TRIED, f"{scheme[:20]} is not RabbitMQ")
    places, _, path = rest.partition("?")[0].partition("/")
    users: list[tuple[str, str]] = []
    hosts: list[tuple[str, int]] = []
    for place in places.split(","):
        login, _, address = place.rpartition("@")
        user, _, password = login.partition(":")
        host, _, port = address.rpartition(":") if "]" not in address or "]:" in address else (address, "", "")
        if not host:
            host, port = port, ""
        if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            # Not shown: it is a part of a password whose special characters were not encoded.
            cure = "percent-encode what is special in user and password: @ is %40, / is %2F, , is %2C"
            raise Failed(UNREADABLE, of, TRIED, "its port is no number", cure)
        users.append((unquote(user), unquote(password)))
        if host:
            hosts.append((host.strip("[]"), int(port or PORT)))
    if not hosts:
        raise Failed(UNREADABLE, of, TRIED, "it names no host")
    user, password = next((pair for pair in users if pair[0]), ("", ""))
    return Transport(user, password, tuple(hosts), unquote(path) or "/")


def read(run: Run, path: str) -> Transport:
    """Return where the service of this configuration file has its broker ([DEFAULT] transport_url).

    Raises Failed: as oslo_conf.read and `parse` do; absent when no line sets it.
    """
    try:
        url = oslo_conf.read(run, path).get("DEFAULT", "transport_url")
    except KeyError as error:
        refers = f"it refers to ${error.args[0]}, which these files do not set"
        raise Failed(UNREADABLE, path, TRIED, refers) from None
    if not url:
        raise Failed(ABSENT, path, TRIED, "no line of [DEFAULT] sets transport_url")
    return parse(url, path)
