# SPDX-License-Identifier: Apache-2.0
"""One bounded session with a MySQL, MariaDB or PostgreSQL server: where, as whom, and a few cheap statements.

Every wait, the resolver's and the TLS handshake's too, ends with the run's deadline; the session is read-only, marked as
"nephoscope", and has a statement time-out of the server's own below what is left. Where it goes and as whom is said by
options, a service's configuration (oslo_conf), option files of the clients (my_cnf), service files of libpq (pg_service) and
libpq's environment. No password gets into a name, an error or a repr.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run

ROWS, BYTES = 100_000, 64 << 20  # of one answer, at most
LOG_IN = "log in"  # what is tried, as every Failed of a server that did not take account, password or database says it
AS_US = "log in as the user who runs the check"  # likewise, where it counts who that is, or what that user has
NO_TLS = "the server does not offer TLS"
PORTS = {"mysql": 3306, "postgres": 5432}
SOCKETS = {
    "mysql": ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"),  # noqa: S108 - where it is
    "postgres": ("/run/postgresql", "/var/run/postgresql", "/tmp"),  # noqa: S108
}
BOTH = ("mysql", "postgres")
SIGNS = {
    "mysql": (
        *SOCKETS["mysql"],
        "/usr/sbin/mariadbd",
        "/usr/sbin/mysqld",
        "/usr/libexec/mariadbd",
        "/usr/libexec/mysqld",
    ),
    "postgres": ("/usr/lib/postgresql", "/var/lib/pgsql", "/usr/bin/postgres"),
}
"""Where a server's machine shows it, by kind; `nephoscope run` asks on no other."""


class Access(NamedTuple):
    """Where a database is and as whom it is asked; neither repr nor str shows the password.

    of        the object's name: "db.example:3306", "/run/mysqld/mysqld.sock", "nova [api_database]"
    kind      "mysql" (MariaDB too) or "postgres"
    host      name or address, "" with a socket
    socket    MySQL: the socket's file; PostgreSQL: its directory; "" over TCP
    tls       "" as it comes (MySQL: none; PostgreSQL: if the server has it), "disable", "require" (not verified), "verify-ca",
              "verify-full"
    passfile  PostgreSQL: libpq's password file, "" for its default
    also      names of further connections to the same server, as the same user, to the same database
    note      what else is to be said of it: that its line is the last of several
    service   True where a service's file says it all, and no option overrules it: what is refused is refused to the service
    """

    of: str
    kind: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: int = 0
    socket: str = ""
    database: str = ""
    tls: str = ""
    ca_file: str = ""
    cert: str = ""
    key: str = ""
    passfile: str = ""
    also: tuple[str, ...] = ()
    service: bool = False
    note: str = ""

    def __repr__(self) -> str:
        return f"Access({self.of!r}, {self.kind}, {self.user!r}, ***, {self.place!r}, {self.database!r})"

    @property
    def place(self) -> str:
        """Host and port, or the socket."""
        if self.socket:
            return f"{self.socket}/.s.PGSQL.{self.port}" if self.kind == "postgres" else self.socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Connection:
    """An open session; `with` closes it. Made by `connect` alone; the two drivers fill in `_ask` and `_end`.

    kind     "mysql" or "postgres"; flavour  "mariadb", "mysql" or "postgres"
    version  (10, 11, 19), (8, 0, 45), (15, 18); text  "MariaDB 10.11.19"
    of       the access's name; login  seconds until the log-in was through and `SELECT 1` answered
    tls      "" or the protocol, "TLSv1.3"; writable  False on a replica or a server set read-only, None when it does not say
    """

    kind = ""
    flavour = ""
    version: tuple[int, ...] = ()
    text = ""
    of = ""
    login = 0.0
    tls = ""
    writable: bool | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Return all rows of a statement, by lower-case column name; Decimals are int or float.

        parameters  for `%s` in the statement, which the driver quotes; without any, `%` is itself
        Raises Failed: not-allowed (a right is missing), absent (no such table or column), late (the statement or a lock took
        longer than allowed), unreachable (cut, silent, server going down), unreadable (more than ROWS rows or BYTES bytes).
        """
        return self._ask(statement, parameters)

    def row(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> dict[str, Any]:
        """Return the first row, {} without one. Raises Failed as `rows` does."""
        return next(iter(self.rows(statement, parameters)), {})

    def value(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> Any:
        """Return the first column of the first row, None without one. Raises Failed as `rows` does."""
        return next(iter(self.row(statement, parameters).values()), None)

    def close(self) -> None:
        """End the session; more than once does no harm."""
        self._end()

    def _ask(self, statement: str, parameters: Any) -> list[dict[str, Any]]:
        raise NotImplementedError

    def _end(self) -> None:
        raise NotImplementedError


def options(add: Any, kinds: Sequence[str] = BOTH) -> None:
    """Declare the options of a check that asks databases; `uses=("tls",)` brings -H, -p and those about TLS."""
    if len(kinds) > 1:
        add("--type", choices=tuple(kinds), help="what to ask (default: what has a local socket, without -H)")
    what = {"mysql": "file", "postgres": "directory"}
    add("--socket", metavar="PATH", help=f"the server's local socket: a {', '.join(what[kind] for kind in kinds)}")
    add("--user", help="account to log in as")
    add("--password", secret=True, help="its password")
    add("--database", help="database to log in to" + (" (default postgres)" if kinds == ("postgres",) else ""))
    add(
        "--from-service-file",
        repeat=True,
        metavar="FILE",
        help="take the connections that an OpenStack service uses from its configuration, like /etc/nova/nova.conf",
    )
    if "mysql" in kinds:
        add("--defaults-file", metavar="FILE", help="option file of MySQL's clients instead of the standard ones")
        add("--defaults-group", default="client", metavar="GROUP", help="its group beside [client] (default client)")
    if "postgres" in kinds:
        add("--service", metavar="NAME", help="connection of pg_service.conf")
        add("--passfile", metavar="FILE", help="password file of PostgreSQL instead of ~/.pgpass, mode 0600")


def accesses(options: Any, run: Run, kinds: Sequence[str] = BOTH, *, chosen: bool = False) -> list[Access | Failed]:
    """Return every connection that the options name: those of each service file, or the one that they lead to otherwise.

    Connections to the same server, database and account are one. What could not be read, or has no connection, or is of a kind
    not among `kinds`, is a Failed in its place. `chosen`: connections are the check's objects, those that --exclude leaves out
    are none. Raises Failed where all depends on one file.
    """
    _agree(options)
    if not options.from_service_file:
        return [_direct(options, run, _kind(options, run, kinds))]
    found = _of_services(options, run, kinds)
    return _merged([one for one in found if isinstance(one, Failed) or not chosen or run.wants(one.of)])


def access(options: Any, run: Run, kind: str = "") -> Access:
    """Return the one access that the options lead to; of a service file with several the one of [database].

    Raises Failed: when several are left, or none, or it can't be read.
    """
    kinds = (kind,) if kind else BOTH
    _agree(options)
    if not options.from_service_file:
        return _direct(options, run, _kind(options, run, kinds))
    found = _of_services(options, run, kinds)
    usable = [one for one in _merged(found) if isinstance(one, Access)]
    chosen = [one for one in usable if one.of.endswith(" [database]")] if len(usable) > 1 else usable
    if len(chosen) == 1:
        return chosen[0]
    if not usable:
        raise next(one for one in found if isinstance(one, Failed))
    several = f"several connections, and one is asked for: {', '.join(one.of for one in chosen or usable)}"
    raise Failed(UNREADABLE, "", "read --from-service-file", several)


def connect(run: Run, access: Access) -> Connection:
    """Return a session with a server, logged in, `SELECT 1` answered.

    Raises Failed: unreachable (refused, silent, cut, no connection left, starting up), not-allowed (log-in refused,
    certificate), absent (no such database), unreadable (no database server). ImportError names the driver's module.
    """
    from importlib import import_module

    driver = import_module(f"nephoscope.probes.sql_{access.kind}")
    try:
        made: Connection = driver.connect(run, access)
    except Failed as failed:
        if access.of == access.place or failed.tried not in (LOG_IN, "connect"):
            raise
        # "nova [database]" does not say where that is.
        tried = f"{failed.tried} to {access.place}"
        raise Failed(failed.kind, failed.of, tried, failed.error, failed.cure) from None
    return made


def prepare(access: Access) -> None:
    """Import the driver of this server: its import is no time of the server's. Raises ImportError."""
    __import__("pymysql.cursors" if access.kind == "mysql" else "psycopg2.extensions")


# ---- where and as whom ------------------------------------------------------------------------------------------------------


def _agree(options: Any) -> None:
    """Raise Failed for options of which one would be ignored: nobody would see that it is."""
    given = {**vars(options), "socket": _socket(options)}
    pairs = [("hostname", "socket")]
    pairs += [("from_service_file", name) for name in ("type", "defaults_file", "service", "passfile")]
    if given.get("type") == "mysql":
        pairs += [("type", "service"), ("type", "passfile")]
    elif given.get("type") == "postgres":
        pairs += [("type", "defaults_file")]
    pairs += [("defaults_file", "service"), ("defaults_file", "passfile")]
    for one, other in pairs:
        if given.get(one) and given.get(other):
            names = " and ".join("--" + name.replace("_", "-") for name in (one, other))
            raise Failed(UNREADABLE, "", "", f"{names} do not go together")


def _socket(options: Any) -> str:
    """Return the socket that was asked for. Whatever else says where outranks one that only a preset brought."""
    elsewhere = options.hostname or options.from_service_file or getattr(options, "service", None)
    return "" if elsewhere and "socket" in options.by_preset else options.socket or ""


def _kind(options: Any, run: Run, kinds: Sequence[str]) -> str:
    """Return the kind of server that the options lead to, or that has a local socket. Raises Failed when nothing says it."""
    if len(kinds) == 1:
        return kinds[0]
    if options.type:
        return str(options.type)
    if options.defaults_file or options.port == PORTS["mysql"]:
        return "mysql"
    if options.service or options.passfile or options.port == PORTS["postgres"]:
        return "postgres"
    socket = _socket(options)
    if socket:
        return "postgres" if os.path.isdir(socket) else "mysql"
    ask = "--from-service-file FILE; or --type mysql or postgres, and -H or --socket"
    nothing = f"nothing says what to ask: {ask}"
    if options.hostname or options.port:
        raise Failed(UNREADABLE, "", "", nothing)
    here = [kind for kind in kinds if _own_socket(kind, PORTS[kind], run)]
    if len(here) == 1:
        return here[0]
    if here:
        raise Failed(UNREADABLE, "", "", f"MySQL and PostgreSQL both have a socket here, and one is asked: {ask}")
    # Not the one that was here last: whether a server should be here, a check that is told nothing can't know.
    raise Failed(ABSENT, "", "", nothing)


class _Source(NamedTuple):
    """What one place says about a connection; "" or 0 where it says nothing."""

    user: str = ""
    password: str = ""
    host: str = ""
    port: int = 0
    socket: str = ""
    database: str = ""
    tls: str = ""
    ca_file: str = ""
    cert: str = ""
    key: str = ""


def _direct(options: Any, run: Run, kind: str) -> Access:
    """Return the access that options, client files and environment lead to."""
    sources = [_given(options), *(_mysql_files(options, run) if kind == "mysql" else _libpq(options, run))]
    made = _joined(kind, "", sources, run, local=not options.from_service_file)
    passfile = ""
    if kind == "postgres":
        from nephoscope.probes import pg_service

        passfile = pg_service.passfile(run, options.passfile or "")
    return made._replace(of=made.place, passfile=passfile)


def _given(options: Any) -> _Source:
    """Return what the command line and --extra-opts say."""
    tls = ""
    if options.tls or options.ca_file or options.insecure or options.cert or options.key:
        tls = "require" if options.insecure else "verify-full"
    return _Source(
        user=options.user or "",
        password=options.password or "",
        host=(options.hostname or "").strip("[]"),
        port=options.port or 0,
        socket=_socket(options),
        database=options.database or "",
        tls=tls,
        ca_file=options.ca_file or "",
        cert=options.cert or "",
        key=options.key or "",
    )


def _joined(kind: str, of: str, sources: Sequence[_Source], run: Run, *, local: bool) -> Access:
    """Make one access of several sources, the first one first.

    Host and socket come from the first that has either; a password only from one that means the same account.
    """

    def first(name: str) -> Any:
        return next((value for value in (getattr(source, name) for source in sources) if value), None)

    where = next((source for source in sources if source.host or source.socket), _Source())
    user = first("user") or _own_name()
    password = next((one.password for one in sources if one.password and one.user in ("", user)), "")
    port = int(first("port") or PORTS[kind])
    host, socket = ("", where.socket) if where.socket and not where.host else (where.host, "")
    if not host and not socket and local:
        # PostgreSQL's socket has the port in its name; MySQL's clients with a port on their command line still mean TCP here.
        socket = "" if kind == "mysql" and sources[0].port else _own_socket(kind, port, run)
    # The three that belong to TLS come from one place: a client certificate of one server is no business of another's.
    secure = next((source for source in sources if source.tls), _Source())
    return Access(
        of,
        kind,
        user,
        password,
        host or ("" if socket else "127.0.0.1"),
        port,
        socket,
        first("database") or ("postgres" if kind == "postgres" else ""),
        secure.tls,
        secure.ca_file,
        secure.cert,
        secure.key,
    )


def _own_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _own_socket(kind: str, port: int, run: Run) -> str:
    """Return the local socket that exists, or ""."""
    for path in SOCKETS[kind]:
        if os.path.exists(run.path(f"{path}/.s.PGSQL.{port}" if kind == "postgres" else path)):
            return run.path(path)
    return ""


def _mysql_files(options: Any, run: Run) -> list[_Source]:
    from nephoscope.probes import my_cnf

    group = options.defaults_group
    file = options.defaults_file
    found = my_cnf.read(run, file, group) if file else my_cnf.defaults(run, group)
    port = found.get("port", "")
    if port and not port.isdigit():
        raise Failed(UNREADABLE, options.defaults_file or "my.cnf", "read its port", "it is no number")
    mode = found.get("ssl-mode", "").upper()
    tls = {
        "DISABLED": "disable",
        "REQUIRED": "require",
        "VERIFY_CA": "verify-ca",
        "VERIFY_IDENTITY": "verify-full",
    }.get(mode, "")
    if not mode and _on(found, "ssl-verify-server-cert"):
        tls = "verify-full"
    elif not mode and found.get("ssl-ca"):
        tls = "verify-ca"  # as MariaDB's client: a certificate of this authority, whatever host it names
    elif not mode and (_on(found, "ssl") or found.get("ssl-cert")):
        tls = "require"
    # To MySQL's clients "localhost" is the socket, unless TCP is asked for.
    host = found.get("host", "")
    by_socket = host in ("", "localhost") and found.get("protocol", "").lower() != "tcp"
    socket = found.get("socket", "") if by_socket else ""
    return [
        _Source(
            found.get("user", ""),
            found.get("password", ""),
            "" if by_socket else host,
            int(port or 0),
            socket,
            found.get("database", ""),
            tls,
            found.get("ssl-ca", ""),
            found.get("ssl-cert", ""),
            found.get("ssl-key", ""),
        )
    ]


def _on(found: Mapping[str, str], name: str) -> bool:
    return name in found and found[name].lower() not in ("0", "off", "false")


def _libpq(options: Any, run: Run) -> list[_Source]:
    from nephoscope.probes import pg_service

    found = []
    name = options.service or os.environ.get("PGSERVICE")
    if name:
        found.append(_of_libpq(pg_service.service(run, name), name))
    words = ("user", "password", "host", "port", "database", "sslmode", "sslrootcert", "sslcert", "sslkey")
    environment = {word: os.environ.get(f"PG{word.upper()}", "") for word in words}
    environment["dbname"] = environment.pop("database")
    return [*found, _of_libpq(environment, "the environment")]


def _of_libpq(words: Mapping[str, str], of: str) -> _Source:
    """Return what a connection says in libpq's own words."""
    port = words.get("port", "")
    if port and not port.isdigit():
        raise Failed(UNREADABLE, of, "read its port", "it is no number")
    host = words.get("host", "")
    mode = words.get("sslmode", "")
    tls = mode if mode in ("disable", "require", "verify-ca", "verify-full") else ""
    ca_file = words.get("sslrootcert", "")
    if tls == "require" and ca_file:
        tls = "verify-ca"  # as libpq has it
    socket = host if host.startswith(("/", "@")) else ""
    return _Source(
        words.get("user", ""),
        words.get("password", ""),
        "" if socket else host,
        int(port or 0),
        socket,
        words.get("dbname", ""),
        tls,
        ca_file,
        words.get("sslcert", ""),
        words.get("sslkey", ""),
    )


def _short(paths: Sequence[str]) -> dict[str, str]:
    """Return what each service file's objects are called: the file's name without .conf, the path where two have it."""
    stems = {path: os.path.basename(path.rstrip("/")).partition(".")[0] or path for path in paths}
    return {path: stem if list(stems.values()).count(stem) == 1 else path for path, stem in stems.items()}


def _of_services(options: Any, run: Run, kinds: Sequence[str]) -> list[Access | Failed]:
    from nephoscope.probes import oslo_conf

    paths = tuple(dict.fromkeys(options.from_service_file))
    if paths == oslo_conf.SERVICES:  # a preset's: nobody has all of them
        paths = oslo_conf.present(run, paths)
    short = _short(paths)
    return [one for path in paths for one in _of_service(options, run, path, short[path], kinds)]


def _of_service(options: Any, run: Run, path: str, name: str, kinds: Sequence[str]) -> list[Access | Failed]:
    from nephoscope.probes import dsn, oslo_conf

    try:
        connections = oslo_conf.connections(run, path, name)
    except Failed as failed:
        return [Failed(failed.kind, name, failed.tried, failed.error, failed.cure)]
    found: list[Access | Failed] = []
    for one in connections:
        if isinstance(one, Failed):
            found.append(one)
            continue
        of = oslo_conf.label(name, one.section, one.name)
        try:
            url = one.value + (("&" if "?" in one.value else "?") + one.parameters if one.parameters else "")
            said = dsn.parse(url, of)
            if said.kind not in kinds:
                raise Failed(
                    ABSENT, of, f"read {path}", f"it is a {said.kind} connection, and this check asks {kinds[0]}"
                )
            made = _of_dsn(options, run, said, of)
            note = f"the last of {one.lines} lines that set it" if one.lines > 1 else ""
            found.append(made._replace(service=not any(_for_services(options)), note=note))
        except Failed as failed:
            found.append(Failed(failed.kind, of, failed.tried, failed.error, failed.cure))
    return found


def _for_services(options: Any) -> _Source:
    """Return what the command line says beside a service's file: a password for no account named there is not the service's."""
    given = _given(options)
    return given if given.user else given._replace(password="")


def _of_dsn(options: Any, run: Run, said: Any, of: str) -> Access:
    """Return the access of a service's URL, below what the command line says."""
    query: dict[str, str] = said.query
    given = _for_services(options)
    if said.kind == "postgres":
        words = {
            **query,
            "user": said.user,
            "password": said.password,
            "host": said.host,
            "dbname": said.database or said.user,
        }
        source = _of_libpq({**words, "port": str(said.port or "")}, of)
        made = _joined("postgres", of, [given, source], run, local=False)
        # The password file of our own user is none of the service's.
        return made if given.user else made._replace(passfile=query.get("passfile", "/nonexistent"))
    tls = ""
    off = ("false", "0", "no", "off", "none")
    if query.get("ssl_disabled", "").lower() in ("true", "1", "yes"):
        tls = "disable"
    elif query.get("ssl_verify_identity", "").lower() in ("true", "1", "yes"):
        tls = "verify-full"
    elif query.get("ssl_ca") or query.get("ssl_capath"):
        # As PyMySQL has it: an authority means that it is verified, and the name with it.
        tls = "verify-ca" if query.get("ssl_check_hostname", "").lower() in off else "verify-full"
    elif any(
        name.startswith("ssl") and value.lower() not in (*off, "disabled", "preferred") for name, value in query.items()
    ):
        tls = "require"
    source = _Source(
        said.user,
        said.password,
        "" if query.get("unix_socket") else said.host,
        said.port,
        query.get("unix_socket", ""),
        said.database,
        tls,
        query.get("ssl_ca", ""),
        query.get("ssl_cert", ""),
        query.get("ssl_key", ""),
    )
    sources = [given, source]
    if query.get("read_default_file"):
        from nephoscope.probes import my_cnf

        found = my_cnf.read(run, query["read_default_file"], query.get("read_default_group", "client"))
        port = found.get("port", "")
        sources.append(
            _Source(
                found.get("user", ""),
                found.get("password", ""),
                found.get("host", ""),
                int(port) if port.isdigit() else 0,
                found.get("socket", ""),
                found.get("database", ""),
            )
        )
    return _joined("mysql", of, sources, run, local=False)


def _merged(found: Sequence[Access | Failed]) -> list[Access | Failed]:
    """Make one of connections that differ in nothing but their name."""
    made: dict[Any, Access | Failed] = {}
    for one in found:
        key = one if isinstance(one, Failed) else one._replace(of="", also=(), note="")
        before = made.get(key)
        if isinstance(before, Access) and before.of != one.of:
            made[key] = before._replace(also=(*before.also, one.of))
        else:
            made.setdefault(key, one)
    return list(made.values())


# ---- what both drivers share ------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """Return a value as judges and JSON take it: a Decimal as int or float, bytes as text."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    if type(value).__name__ == "Decimal":
        try:
            return int(value) if value == value.to_integral_value() else float(value)
        except (ArithmeticError, ValueError):
            return float(value)
    return value


def said(text: object, access: Access) -> str:
    """Return what a server or a driver said, on one line, without the password, at most 160 characters."""
    line = " ".join(str(text).split())
    if access.password and access.password in line:
        # A short password is a part of many words, whose gaps would give it away.
        line = line.replace(access.password, "***") if len(access.password) > 3 else "(it names the password)"
    return line[:160]


def looks(data: bytes) -> str:
    """Return what the first bytes of something that is no database look like."""
    for start, name in (
        (b"SSH-", "SSH"),
        (b"HTTP/", "HTTP"),
        (b"<", "a web page"),
        (b"220", "SMTP or FTP"),
        (b"AMQP", "AMQP"),
    ):
        if data.startswith(start):
            return f"it speaks {name}" if start != b"<" else "it sends a web page"
    if data[:2] in (b"\x15\x03", b"\x16\x03"):
        return "it speaks TLS only"
    return f"it begins with {data[:16]!r}"


def shown(statement: str) -> str:
    """Return the beginning of a statement of ours, for messages."""
    line = " ".join(statement.split())
    return line if len(line) <= 60 else line[:59] + "…"
