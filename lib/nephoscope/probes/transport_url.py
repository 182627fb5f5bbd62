# SPDX-License-Identifier: Apache-2.0
"""The brokers of an OpenStack service: the `transport_url` options of its configuration, as oslo.messaging reads them.

Sources: oslo.messaging, transport.TransportURL (driver://[user:pass@]host:port[,…]/virtual_host?query, every host with a
log-in of its own, what is special percent-encoded) and its rabbit driver: port 5672 unless said, virtual host "/" unless said,
TLS by `ssl` of [oslo_messaging_rabbit] or of the query (older names: rabbit_use_ssl, kombu_ssl_*), verified when there is an
authority to verify by, and then without the host's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run
from nephoscope.probes import oslo_conf
from nephoscope.probes.stream import Tls, name_of

SECTIONS = ("DEFAULT", "oslo_messaging_notifications", "oslo_messaging_rpc")
RABBIT = "oslo_messaging_rabbit"
PORT = 5672
TRIED = "read its transport_url"
ENCODE = "percent-encode what is special in user and password: @ is %40, : is %3A, / is %2F, # is %23, a comma is %2C"
# option -> how it is called, the newest name first
TLS_NAMES = {
    "ca_file": ("ssl_ca_file", "kombu_ssl_ca_certs"),
    "cert": ("ssl_cert_file", "kombu_ssl_certfile"),
    "key": ("ssl_key_file", "kombu_ssl_keyfile"),
}
TRUE = ("1", "true", "yes", "on")  # oslo.config's Boolean


class Broker(NamedTuple):
    """Where a broker is, and as whom to log in. Shows no password."""

    host: str
    port: int
    user: str = "guest"
    password: str = ""
    vhost: str = "/"
    tls: Tls | None = None
    source: str = ""  # file and section, where another has the same user there with another password or TLS

    def __repr__(self) -> str:
        return f"Broker({self.host!r}, {self.port}, {self.user!r}, ***, {self.vhost!r}, {self.tls!r})"

    @property
    def place(self) -> str:
        """Its address as a person writes it, with the virtual host unless that is "/"."""
        return name_of(self.host, self.port) + ("" if self.vhost == "/" else f"/{self.vhost.lstrip('/')}")

    @property
    def of(self) -> str:
        """Its name among those of several services: user, address and virtual host."""
        return f"{self.user}@{self.place}" + (f" of {self.source}" if self.source else "")


def brokers(run: Run, paths: Sequence[str]) -> list[Broker | Failed]:
    """Return every broker of these services' files, each once; a Failed in the place of what could not be read."""
    found: dict[Broker | str, Broker | Failed] = {}
    names: set[str] = set()
    for path in paths:
        try:
            conf = oslo_conf.read(run, path)
            values = {section: _value(conf, section, "transport_url", path) for section in SECTIONS}
            if not any(values.values()):
                raise Failed(ABSENT, path, f"read {path}", "no line of it sets `transport_url`")
            for section, url in values.items():
                for broker in parse(url, path, _tls_names(conf, path)) if url else ():
                    if broker not in found:
                        source = f"{path} [{section}]" if broker.of in names else ""
                        found[broker] = broker._replace(source=source)
                        names.add(broker.of)
        except Failed as failed:
            found[path] = failed
    return list(found.values())


def parse(url: str, of: str, tls: dict[str, str] | None = None) -> list[Broker]:
    """Return the brokers of a transport URL; `tls` are the options of TLS that its query may overrule.

    Raises Failed of `of`, whose text holds nothing of the URL but its driver: absent (not RabbitMQ), unreadable (no such URL).
    """
    wrong = Failed(UNREADABLE, of, TRIED, "it is no URL like rabbit://user:password@host:5672/virtual_host")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise wrong from None
    if not parts.scheme or not parts.netloc:
        raise wrong
    driver = parts.scheme.partition("+")[0]
    if driver not in ("rabbit", "kombu"):
        what = "AMQP 1.0" if driver == "amqp" else driver[:20]
        raise Failed(ABSENT, of, TRIED, f"its transport is {what}, not RabbitMQ")
    if "@" in parts.path + parts.query + parts.fragment:
        # What stands before it is a part of a password: it must not get into a message as a host.
        raise Failed(UNREADABLE, of, TRIED, "there is an @ behind its hosts", ENCODE)
    words = {**(tls or {}), **{name: values[-1] for name, values in parse_qs(parts.query).items()}}
    vhost = unquote(parts.path[1:]) or "/"
    hosts = [host for host in parts.netloc.split(",") if host]
    if not hosts:
        raise wrong
    if (
        len({"@" in host for host in hosts}) > 1
    ):  # or a comma stands in a password, and a part of it would pass for a host
        raise Failed(UNREADABLE, of, TRIED, "some of its hosts have a log-in and others have none", ENCODE)
    return [_broker(host, of, vhost, _tls(words)) for host in hosts]


def _broker(text: str, of: str, vhost: str, tls: Tls | None) -> Broker:
    login, _, place = text.rpartition("@")
    user, colon, password = login.partition(":")
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d*))?", place)
    if match is None or not 0 <= int(match[3] or 0) < 65536:
        # The port itself is not shown: of a password with an unescaped '/' it is a part.
        raise Failed(UNREADABLE, of, TRIED, "its host or port is none", ENCODE)
    # Without a log-in kombu takes guest, and its password with it.
    return Broker(
        match[1] or match[2],
        int(match[3] or 0) or PORT,
        unquote(user) or "guest",
        unquote(password) if colon else "" if user else "guest",
        vhost,
        tls,
    )


def _tls(words: dict[str, str]) -> Tls | None:
    if not any(words.get(name, "").lower() in TRUE for name in ("ssl", "rabbit_use_ssl")):
        return None
    chosen = {
        option: next((words[name] for name in names if words.get(name)), None) for option, names in TLS_NAMES.items()
    }
    return Tls(chosen["ca_file"], not chosen["ca_file"], chosen["cert"], chosen["key"], named=False)


def _tls_names(conf: oslo_conf.Conf, path: str) -> dict[str, str]:
    names = ("ssl", "rabbit_use_ssl", *(name for names in TLS_NAMES.values() for name in names))
    return {name: _value(conf, RABBIT, name, path) for name in names}


def _value(conf: oslo_conf.Conf, section: str, name: str, path: str) -> str:
    try:
        return conf.get(section, name).strip()
    except KeyError as error:
        text = f"it refers to ${error.args[0]}, which these files do not set"
        raise Failed(UNREADABLE, path, f"read {name} of [{section}]", text) from None
