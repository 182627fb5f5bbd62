# SPDX-License-Identifier: Apache-2.0
"""The address of a database as services write it: a URL of SQLAlchemy, which oslo.db hands on.

Sources: SQLAlchemy 2.0 "Engine Configuration" (dialect+driver://user:password@host:port/database?query, special characters
of user and password percent-encoded, IPv6 in brackets), its pages on MySQL (unix_socket, ssl_ca, ssl_cert, ssl_key,
ssl_check_hostname, ssl_disabled, read_default_file, charset) and PostgreSQL (host, port, sslmode, sslrootcert … of libpq).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Failed

KINDS = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}
ENCODE = "percent-encode what is special in user and password: @ is %40, : is %3A, / is %2F, % is %25"

# As SQLAlchemy splits it (sqlalchemy.engine.url): a user without ':' and '/', a password without '@'.
_URL = re.compile(
    r"(?P<scheme>\w[\w+.-]*)://"
    r"(?:(?P<user>[^:/@]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<six>[^/?\]]+)\]|(?P<host>[^/:?]+))?"
    r"(?::(?P<port>[^/?]*))?"
    r"(?:/(?P<database>[^?]*))?"
    r"(?:\?(?P<query>.*))?",
    re.S,
)


class Dsn(NamedTuple):
    """What a URL says: kind "mysql" or "postgres"; "" or 0 where it says nothing. Shows no password."""

    kind: str
    user: str
    password: str
    host: str
    port: int
    database: str
    query: dict[str, str]

    def __repr__(self) -> str:
        return f"Dsn({self.kind}, {self.user!r}, ***, {self.host!r}, {self.port}, {self.database!r})"


def parse(url: str, of: str) -> Dsn:
    """Return what a URL says; of a query's repeated names the last.

    Raises Failed of `of`, whose text holds nothing of the URL but its dialect: absent (SQLite, a file without a server, and
    what is no SQL database of ours), unreadable (no URL).
    """
    from urllib.parse import parse_qsl, unquote

    tried = "read its connection URL"
    match = _URL.fullmatch(url)
    scheme = match["scheme"] if match else ""
    dialect = scheme.partition("+")[0]
    if dialect == "sqlite":
        raise Failed(ABSENT, of, tried, "it is SQLite, a file: there is no server to ask")
    if match is None or not scheme:
        raise Failed(UNREADABLE, of, tried, "it is no URL like mysql+pymysql://user:password@host/database")
    if dialect not in KINDS:
        raise Failed(ABSENT, of, tried, f"{dialect[:30]} is neither MySQL, MariaDB nor PostgreSQL")
    host = match["six"] or match["host"] or ""
    if "@" in host or "@" in (match["database"] or ""):
        # Whatever stands before the second @ is a part of the password: it must not get into a message as a host.
        raise Failed(UNREADABLE, of, tried, "there is an @ too many in it", ENCODE)
    port = match["port"]
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        # The port itself is not shown: of a password with an unescaped '/' it is a part.
        raise Failed(UNREADABLE, of, tried, "its port is no number", ENCODE)
    query = dict(parse_qsl(match["query"] or ""))
    password = unquote(match["password"] or "") or query.pop("password", "") or query.pop("passwd", "")
    return Dsn(
        KINDS[dialect],
        unquote(match["user"] or "") or query.get("user", ""),
        password,
        unquote(host) or query.get("host", ""),
        int(port or 0) or (int(query["port"]) if query.get("port", "").isdigit() else 0),
        unquote(match["database"] or "") or query.get("db", "") or query.get("dbname", ""),
        query,
    )
