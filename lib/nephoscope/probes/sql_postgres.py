# SPDX-License-Identifier: Apache-2.0
"""A session with PostgreSQL: psycopg2 in its asynchronous form, whose every wait is a select of ours within the run's deadline.

Time-outs and the read-only mode go with each statement, by SET LOCAL in the implicit transaction of one message: a SET that
outlives the statement would stay in a connection that a pooler (pgbouncer) hands on to the application. Sources: PostgreSQL 17
documentation, 53.2.2.1 "Multiple Statements in a Simple Query", 34.1 "Database Connection Control Functions", appendix A
"PostgreSQL Error Codes". Of a log-in that failed psycopg2 has no SQLSTATE, only libpq's text, so libpq is told to put it there
(PQsetErrorVerbosity): the server's words are compared where they are English, the code counts in every language (lc_messages).
"""

from __future__ import annotations

import os
import re
import select
import time
from typing import Any

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes.sql import AS_US, BYTES, LOG_IN, NO_TLS, ROWS, Access, Connection, looks, plain, said, shown

AUTHORITIES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
LOGIN = "the account's password, and a line for it in pg_hba.conf"
HBA = "a line for it in pg_hba.conf; or --tls, if its line is hostssl"
CONNECT = "GRANT CONNECT ON DATABASE … TO the account"

VERBOSE = 2  # PQERRORS_VERBOSE of libpq-fe.h: with the SQLSTATE before the words

# The second: set for the server, the database or the account, it makes an application's writes fail as a standby does.
HELLO = "SELECT 1 AS one, pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') AS fixed"

CERTIFICATES = "read the certificates"
AS_THEIRS = "an account with a password, or to run as the system's user of that account"

# What a failed log-in says -> (kind, cure, what was tried); the first that any line of it holds.
WORDS = (
    ("password authentication failed", NOT_ALLOWED, LOGIN, LOG_IN),
    ("no password supplied", NOT_ALLOWED, "a password for it: --extra-opts, NEPHOSCOPE_PASSWORD or ~/.pgpass", AS_US),
    ("Peer authentication failed", NOT_ALLOWED, AS_THEIRS, AS_US),
    ("Ident authentication failed", NOT_ALLOWED, AS_THEIRS, AS_US),
    ("GSSAPI authentication failed", NOT_ALLOWED, AS_THEIRS, AS_US),
    ("authentication failed", NOT_ALLOWED, LOGIN, LOG_IN),  # pgbouncer, too
    ("is not permitted to log in", NOT_ALLOWED, "ALTER ROLE … LOGIN", LOG_IN),
    ("too many clients already", UNREACHABLE, "", LOG_IN),
    ("remaining connection slots are reserved", UNREACHABLE, "", LOG_IN),
    ("too many connections for", UNREACHABLE, "", LOG_IN),
    ("no more connections allowed", UNREACHABLE, "", LOG_IN),  # pgbouncer
    ("the database system is", UNREACHABLE, "", LOG_IN),
    ("terminating connection", UNREACHABLE, "", LOG_IN),
    ("permission denied for database", NOT_ALLOWED, CONNECT, LOG_IN),
    ("is not currently accepting connections", UNREACHABLE, "", LOG_IN),
    ("no such user", NOT_ALLOWED, LOGIN, LOG_IN),  # pgbouncer
    ("no such database", ABSENT, "", LOG_IN),  # pgbouncer
    ("no pg_hba.conf entry", NOT_ALLOWED, HBA, LOG_IN),
    ("pg_hba.conf rejects", NOT_ALLOWED, HBA, LOG_IN),
    ("SSL required", NOT_ALLOWED, "--tls", LOG_IN),  # pgbouncer
    ("certificate verify failed", NOT_ALLOWED, "its authority as --ca-file", LOG_IN),
    ("does not match host name", NOT_ALLOWED, "the host by the name that its certificate has", LOG_IN),
    ("root certificate file", NOT_ALLOWED, "its authority as --ca-file", CERTIFICATES),
    ("could not read root certificate", NOT_ALLOWED, "its authority as --ca-file", CERTIFICATES),
    ("certificate file", NOT_ALLOWED, "", CERTIFICATES),
    ("private key file", NOT_ALLOWED, "", CERTIFICATES),
    ("does not support SSL", UNREADABLE, "", LOG_IN),
    ("Connection refused", UNREACHABLE, "", LOG_IN),
    ("No route to host", UNREACHABLE, "", LOG_IN),
    ("is unreachable", UNREACHABLE, "", LOG_IN),
    ("Connection timed out", UNREACHABLE, "", LOG_IN),
    ("No such file or directory", UNREACHABLE, "", LOG_IN),
    ("Permission denied", NOT_ALLOWED, "the right to write to that socket", "connect"),
    ("Connection reset by peer", UNREACHABLE, "", LOG_IN),
    ("server closed the connection unexpectedly", UNREACHABLE, "", LOG_IN),
    ("unexpected eof while reading", UNREACHABLE, "", LOG_IN),
)
# SQLSTATE of a log-in, or its class -> (kind, cure), for words that are not known. The first that any line of it holds.
CODES = (
    ("28P01", NOT_ALLOWED, LOGIN),
    ("3D000", ABSENT, ""),
    ("42501", NOT_ALLOWED, CONNECT),
    ("53", UNREACHABLE, ""),  # too many connections, out of memory, disk full
    ("57P", UNREACHABLE, ""),  # starting, shutting down, recovering
    ("55000", UNREACHABLE, ""),  # the database takes no connections
    ("28", NOT_ALLOWED, HBA),
)
# What libpq says of a server that is none.
FOREIGN = ("expected authentication request", "invalid response to SSL", "unsupported frontend protocol")
# SQLSTATE of a statement, or its class -> (kind, what is said; "" the server's own words)
STATES = {
    "28": (NOT_ALLOWED, ""),
    "42501": (NOT_ALLOWED, ""),
    "3D000": (ABSENT, ""),
    "42P01": (ABSENT, ""),
    "42703": (ABSENT, ""),
    "42883": (ABSENT, ""),
    "3F000": (ABSENT, ""),
    "53300": (UNREACHABLE, "too many connections"),
    "57P": (UNREACHABLE, ""),
    "08P01": (UNREADABLE, ""),  # what pgbouncer's own console says to a statement
    "08": (UNREACHABLE, ""),
    "57014": (LATE, "the statement took longer than the time that was left"),
    "55P03": (LATE, "a lock was not granted within a second"),
    "40P01": (LATE, "a deadlock"),
    "40001": (LATE, "the statement was cancelled in favour of the replication"),
}


class PostgreSQL(Connection):
    """A session with PostgreSQL."""

    kind = flavour = "postgres"

    def __init__(self, run: Run, access: Access, driver: Any) -> None:
        self._run, self._access, self._driver = run, access, driver
        self.of = access.of

    def _ask(self, statement: str, parameters: Any) -> list[dict[str, Any]]:
        return self._rows(statement, parameters, shown(statement))

    def _rows(self, statement: str, parameters: Any, tried: str) -> list[dict[str, Any]]:
        self._run.stage(f"{tried} of {self.of}")
        left = self._run.left()
        if left <= 0:
            raise Failed(LATE, self.of, tried, "not begun: the time was up")
        limits = f"SET LOCAL statement_timeout={max(200, int(left * 1000) - 300)};SET LOCAL transaction_read_only=on;"
        if self._driver.server_version >= 90300:
            limits += "SET LOCAL lock_timeout=1000;"
        began = time.monotonic()
        try:
            cursor = self._driver.cursor()
            cursor.execute(f"{limits}/* nephoscope */ {statement}", parameters or None)
            _wait(self._run, self._driver, self._run.left(), capped=True)
            if cursor.rowcount > ROWS:
                raise Failed(UNREADABLE, self.of, tried, f"more than {ROWS} rows")
            if cursor.description is None:
                return []
            names = [column[0].lower() for column in cursor.description]
            return [dict(zip(names, map(plain, values))) for values in cursor.fetchall()]
        except TimeoutError:
            self._driver.close()
            text = f"no answer in {time.monotonic() - began:.1f} s"
            raise Failed(UNREACHABLE, self.of, tried, text) from None
        except OverflowError:
            self._driver.close()
            raise Failed(UNREADABLE, self.of, tried, f"more than {BYTES >> 20} MiB") from None
        except (Failed, ImportError):
            raise
        except Exception as error:
            raise _failed(error, self._access, tried) from None

    def _end(self) -> None:
        try:
            self._driver.close()
        except Exception:
            pass


def connect(run: Run, access: Access) -> PostgreSQL:
    """Return a session. Raises Failed as sql.connect says."""
    import psycopg2

    tried = LOG_IN
    run.stage(f"log in to {access.of}")
    if "\0" in access.user + access.password + access.database + access.host + access.socket:
        raise Failed(UNREADABLE, access.of, tried, "a NUL in a name or password")
    began = time.monotonic()
    words = _words(access, psycopg2.__libpq_version__)
    targets = _targets(run, access)
    last: Failed | None = None
    for number, (host, port, address) in enumerate(targets):
        left = run.left() / (len(targets) - number)
        driver: Any = None
        if left <= 0:
            raise last or Failed(LATE, access.of, tried, "not begun: the time was up")
        try:
            driver = psycopg2.connect(async_=1, host=host, port=port, hostaddr=address, **words)
            _libpq(driver, "PQsetErrorVerbosity", VERBOSE)
            # What waits for another protocol's first line is silent too: some time is kept to ask it what it is.
            _wait(run, driver, 0.8 * left if address else left)
            session = PostgreSQL(run, access, driver)
            row = session._rows(HELLO, (), "SELECT 1")
            if not row or row[0].get("one") != 1:
                raise Failed(UNREADABLE, access.of, "SELECT 1", "its answer is not 1")
            session.writable = not row[0]["standby"] and row[0]["fixed"] != "on"
            session.login = time.monotonic() - began
            info = driver.info
            session.tls = (info.ssl_attribute("protocol") or "TLS") if info.ssl_in_use else ""
            version = driver.server_version
            parts = (version // 10000, version % 10000) if version >= 100000 else (
                version // 10000, version // 100 % 100, version % 100
            )  # fmt: skip
            session.version, session.text = parts, f"PostgreSQL {'.'.join(map(str, parts))}"
            return session
        except ImportError:
            raise
        except TimeoutError:
            driver.close()
            last = _stranger(access, run, address, port, 0.2 * left)
            if not re.search(": it (speaks|sends) ", last.error):
                last = Failed(UNREACHABLE, access.of, tried, f"no answer in {time.monotonic() - began:.1f} s")
        except Failed as failed:
            last = failed
        except UnicodeError:
            last = Failed(UNREADABLE, access.of, tried, "a name or password that is no text")
        except Exception as error:
            # A server's message before the log-in is in its own encoding, of which psycopg2 may make nothing.
            text = str(error)
            if not text and driver is not None:
                text = (_libpq(driver, "PQerrorMessage") or b"").decode("utf-8", "replace")
            last = _refused(text, access, run, address or "", port)
        except BaseException:
            if driver is not None:
                driver.close()
            raise
        if driver is not None:
            driver.close()
        # Another address can only help where this one was not reached.
        if last.kind != UNREACHABLE:
            break
    assert last is not None  # noqa: S101 - there is at least one target
    raise last


def _libpq(driver: Any, name: str, *number: int) -> Any:
    """Call a function of libpq that psycopg2 has no word for: the libpq that it is linked with, found through its own module.

    Returns a text as bytes; None where libpq is a part of that module.
    """
    import psycopg2

    try:
        import ctypes

        function = getattr(ctypes.PyDLL(psycopg2._psycopg.__file__), name)
        function.restype = ctypes.c_int if number else ctypes.c_char_p
        return function(ctypes.c_void_p(driver.pgconn_ptr), *number)
    except (ImportError, OSError, AttributeError):
        return None


def _words(access: Access, libpq: int) -> dict[str, Any]:
    words: dict[str, Any] = {
        "user": access.user,
        "dbname": access.database,
        "application_name": "nephoscope",
        "client_encoding": "UTF8",  # that of a database or an account may have no letters for all the names we ask for
        "sslmode": access.tls or "prefer",
    }
    if access.password:
        words["password"] = access.password
    if access.passfile:
        words["passfile"] = access.passfile
    if libpq >= 120000:
        words["gssencmode"] = "disable"  # it would look for a ticket, with waits of its own
    if access.tls in ("verify-ca", "verify-full"):
        words["sslrootcert"] = access.ca_file or next((path for path in AUTHORITIES if os.path.exists(path)), "")
    elif access.tls == "require":
        words["sslrootcert"] = "/nonexistent"  # with a root.crt of the user's, libpq would verify all the same
    if access.cert:
        words["sslcert"], words["sslkey"] = access.cert, access.key or access.cert
    return words


def _targets(run: Run, access: Access) -> list[tuple[str, int, str]]:
    """Return (host, port, address) of every address of every host: libpq would resolve them without a deadline."""
    if access.socket:
        return [(access.socket, access.port, "")]
    from nephoscope.base.dial import host_port, resolve

    found: list[tuple[str, int, str]] = []
    for part in access.host.split(","):
        host, port = host_port(part, access.port)
        try:
            found += [(host, port, answer[4][0]) for answer in resolve(run, host, port)]
        except TimeoutError:
            raise Failed(UNREACHABLE, access.of, "resolve its name", "no answer of the resolver") from None
        except OSError as error:
            failed = Failed.of_os_error(access.of, "connect", error)
        except UnicodeError:
            raise Failed(UNREADABLE, access.of, "connect", "that is no name of a host") from None
    if not found:
        raise failed
    return list(dict.fromkeys(found))


def _wait(run: Run, driver: Any, seconds: float, *, capped: bool = False) -> None:
    """Let libpq go on until what was asked for is done. Raises TimeoutError, OverflowError, and what psycopg2 raises."""
    from psycopg2.extensions import POLL_OK, POLL_READ

    end = time.monotonic() + min(seconds, run.left())
    before = _memory() if capped else 0
    while True:
        state = driver.poll()
        if state == POLL_OK:
            return
        # libpq keeps the whole answer in memory before it gives the first row.
        if capped and _memory() - before > BYTES:
            raise OverflowError
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        descriptor = driver.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN if state == POLL_READ else select.POLLOUT)
        poller.poll(left * 1000)


def _memory() -> int:
    """Return the bytes of memory that this process has."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * 4096


def _refused(error: str, access: Access, run: Run, address: str, port: int) -> Failed:
    """Return the Failed of a log-in that did not succeed, by libpq's and the server's words, or the SQLSTATE in them."""
    from nephoscope.probes import pg_service

    lines, codes = [], []
    for line in error.splitlines():
        coded = re.search(r":  ([0-9A-Z]{5}): (.*)", line)
        if coded or (line.strip() and not line.startswith("LOCATION:")):
            lines.append((coded[2] if coded else line.rpartition("FATAL:")[2].rpartition("failed: ")[2]).strip())
            codes.append(coded[1] if coded else "")
    if not lines or any(words in line for line in lines for words in FOREIGN):
        return _stranger(access, run, address, port)
    # In a fixed order, for with sslmode=prefer two attempts are told, and the first may be the one that counts.
    for words, kind, cure, tried in WORDS:
        for text in lines:
            if words in text:
                if words == "No such file or directory" and access.socket:
                    text = "no socket there: the server does not run"
                elif words == "server closed the connection unexpectedly":
                    text = "the connection was cut before the answer was whole"
                elif words == "does not support SSL":
                    text = NO_TLS
                elif words == "no password supplied":
                    text, passed = "no password for this account", pg_service.ignored()
                    cure = passed or cure
                return Failed(kind, access.of, tried, said(text, access), cure)
    for text in lines:
        if text.endswith("does not exist"):
            kind, cure = (NOT_ALLOWED, LOGIN) if "role " in text else (ABSENT, "")
            return Failed(kind, access.of, LOG_IN, said(text, access), cure)
    for begin, kind, cure in CODES:
        for code, text in zip(codes, lines):
            if code.startswith(begin):
                # Through a socket this may be "peer", which asks who we are.
                tried = AS_US if code == "28000" and access.socket else LOG_IN
                return Failed(kind, access.of, tried, f"{said(text, access)} (SQLSTATE {code})", cure)
    if any("SSL error" in line for line in lines):
        return _stranger(access, run, address, port)
    code = f" (SQLSTATE {codes[-1]})" if codes[-1] else ""
    return Failed(UNREADABLE, access.of, LOG_IN, f"not understood: {said(lines[-1], access)}{code}")


def _stranger(access: Access, run: Run, address: str, port: int, seconds: float = 1.0) -> Failed:
    seen = _sniff(run, address, port, seconds) if address else ""
    return Failed(UNREADABLE, access.of, LOG_IN, f"no PostgreSQL server{seen}")


def _sniff(run: Run, address: str, port: int, seconds: float) -> str:
    """Return what a server that is no PostgreSQL looks like, by its greeting or its answer to a line of HTTP."""
    from nephoscope.base.dial import dial

    try:
        with dial(run, address, port) as sock:
            sock.settimeout(max(0.05, min(seconds, run.left()) / 2))
            try:
                data = sock.recv(64)
            except OSError:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                data = sock.recv(64)
    except OSError:
        return ""
    if len(data) > 4 and data[3] == 0 and data[4] in (10, 255):
        return ": it speaks MySQL"
    return f": {looks(data)}" if data else ""


def _failed(error: Exception, access: Access, tried: str) -> Failed:
    """Return the Failed of a statement that did not succeed, by its SQLSTATE."""
    code = getattr(error, "pgcode", None) or ""
    diag = getattr(error, "diag", None)
    words = said(getattr(diag, "message_primary", None) or str(error).partition("\n")[0], access)
    for length in (5, 3, 2):
        if code[:length] in STATES:
            kind, text = STATES[code[:length]]
            return Failed(kind, access.of, tried, f"{text or words} (SQLSTATE {code})")
    if not code and type(error).__name__ in ("OperationalError", "InterfaceError", "DatabaseError"):
        return Failed(UNREACHABLE, access.of, tried, "the connection was cut before the answer was whole")
    return Failed(UNREADABLE, access.of, tried, f"{words} (SQLSTATE {code})" if code else f"not understood: {words}")
