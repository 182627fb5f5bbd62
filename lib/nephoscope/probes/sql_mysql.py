# SPDX-License-Identifier: Apache-2.0
"""A session with MySQL or MariaDB: PyMySQL on a socket of ours, whose every wait ends with the run's deadline.

PyMySQL's own time-outs are per read, so a server that drips would outlive them; and it would read any amount.
Sources: the MySQL client/server protocol (greeting: sequence number 0, protocol 10, or an error packet); server error numbers
of MySQL 8.0 and MariaDB 10.11 ("Server Error Message Reference", "MariaDB Error Codes").
"""

from __future__ import annotations

import io
import re
import select
import socket
import time
from typing import Any

from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.base.dial import context, dial, failure, patience, unix
from nephoscope.probes.sql import AS_US, BYTES, LOG_IN, NO_TLS, ROWS, Access, Connection, looks, plain, said, shown

MARK = "/* nephoscope */ "  # shows in the process list and in logs of slow statements

SSL_REQUEST = 36  # bytes of Protocol::SSLRequest with its header
# To what says nothing by itself: PostgreSQL's request for TLS, which it answers with one letter, and an empty line for HTTP.
ANYBODY = b"\0\0\0\x08\x04\xd2\x16\x2f\r\n\r\n"

# error number -> (kind, what is said; "" the server's own words, cure)
LOGIN = "the account's password, and an account for this host"
OPEN, DRIVER = "log in without TLS", "log in with PyMySQL"  # what is refused by us, or can't be done here
ERRORS = {
    1040: (UNREACHABLE, "too many connections", ""),
    1203: (UNREACHABLE, "too many connections of this account (max_user_connections)", ""),
    1226: (UNREACHABLE, "too many connections or questions of this account (a limit of its own)", ""),
    1129: (UNREACHABLE, "this host is blocked after many connection errors", ""),
    1047: (UNREACHABLE, "the node is not ready: cut off from its cluster, or joining it", ""),
    1053: (UNREACHABLE, "the server is shutting down", ""),
    1927: (UNREACHABLE, "the connection was killed", ""),
    1317: (LATE, "the statement was interrupted", ""),
    1969: (LATE, "the statement took longer than the time that was left", ""),
    3024: (LATE, "the statement took longer than the time that was left", ""),
    1205: (LATE, "a lock was not granted within a second", ""),
    1213: (LATE, "a deadlock", ""),
    1044: (NOT_ALLOWED, "", "GRANT on this database for the account"),
    1045: (NOT_ALLOWED, "", LOGIN),
    1130: (NOT_ALLOWED, "the server has no account for this host", "an account for this host"),
    1142: (NOT_ALLOWED, "", ""),
    1143: (NOT_ALLOWED, "", ""),
    1227: (NOT_ALLOWED, "", ""),
    1251: (NOT_ALLOWED, "", "an account with another way to authenticate"),
    1370: (NOT_ALLOWED, "", ""),
    1524: (NOT_ALLOWED, "", "an account whose way to authenticate the server has"),
    1698: (NOT_ALLOWED, "", "an account with a password, or the socket as the user of that name"),
    1820: (NOT_ALLOWED, "the account's password has expired", "a new password"),
    1862: (NOT_ALLOWED, "the account's password has expired", "a new password"),
    3118: (NOT_ALLOWED, "the account is locked", "ALTER USER … ACCOUNT UNLOCK"),
    3159: (NOT_ALLOWED, "the server demands TLS", "--tls"),
    3955: (NOT_ALLOWED, "", ""),
    4151: (NOT_ALLOWED, "the account is locked", "ALTER USER … ACCOUNT UNLOCK"),
    1049: (ABSENT, "", ""),
    1054: (ABSENT, "", ""),
    1109: (ABSENT, "", ""),
    1146: (ABSENT, "", ""),
}


class _Wire:
    """What PyMySQL takes for its socket. `fault` is what went wrong on it, which PyMySQL words for people who debug it."""

    def __init__(self, sock: socket.socket, run: Run, access: Access, tried: str) -> None:
        self.sock, self.run, self.access, self.tried = sock, run, access, tried
        self.fault: Failed | None = None
        self.began = time.monotonic()
        self.size = 0
        self.ahead = b""
        self.wanted = access.tls not in ("", "disable")  # TLS, and it is not yet there

    def begin(self, tried: str) -> None:
        """Note what is asked from now on, for the texts and the cap."""
        self.tried, self.began, self.size = tried, time.monotonic(), 0

    def receive(self, limit: int) -> bytes:
        """Return what comes next, b"" at the end. Raises OSError, and notes why in `fault`."""
        if self.ahead:
            data, self.ahead = self.ahead[:limit], self.ahead[limit:]
            return data
        if self.size > BYTES:
            self.fail(UNREADABLE, f"more than {BYTES >> 20} MiB")
        try:
            self._patience()
            data = self.sock.recv(limit)
        except OSError as error:
            self._note(error)
            raise
        if not data:
            self.fault = self.fault or self._failed(UNREACHABLE, "the connection was cut before the answer was whole")
        self.size += len(data)
        return data

    def fail(self, kind: str, error: str) -> None:
        """Note what went wrong and raise OSError, which takes PyMySQL out of whatever it does."""
        self.fault = self._failed(kind, error)
        raise ConnectionAbortedError(error)

    def _failed(self, kind: str, error: str) -> Failed:
        return Failed(kind, self.access.of, self.tried, error)

    def _patience(self) -> None:
        patience(self.run, self.sock)

    def _note(self, error: OSError) -> None:
        self.fault = failure(self.access.of, self.tried, error, time.monotonic() - self.began)

    def greeting(self) -> None:
        """Look at how the server begins, before PyMySQL stumbles over it. Raises OSError, and notes why in `fault`."""
        spoken, data = self._speaks_first(), b""
        while len(data) < (5 if spoken else 1):
            part = self.receive(5 - len(data))
            if not part:
                raise ConnectionAbortedError
            data += part
        if not spoken and data[:1] in (b"S", b"N"):
            self.fail(UNREADABLE, "no MySQL server: it speaks PostgreSQL")
        if len(data) < 5 or data[3] != 0 or data[4] not in (10, 255) or int.from_bytes(data[:3], "little") > 4096:
            self.sock.setblocking(False)
            try:
                data += self.sock.recv(40)
            except OSError:
                pass
            self.fail(UNREADABLE, f"no MySQL server: {looks(data)}")
        self.ahead = data

    def _speaks_first(self) -> bool:
        """Wait for the server's first byte, as long as leaves time to ask what it is; ask that, and return False, without one.

        A frozen MySQL stays silent. One that is that slow has its handshake spoilt, as it would have by our going away.
        """
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        if poller.poll(self.run.left() * 800):
            return True
        self.sock.sendall(ANYBODY)
        return False

    # What PyMySQL calls.

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self), 65536)

    def sendall(self, data: bytes) -> None:
        # PyMySQL before 1.2 goes on without TLS where the server offers none. All but the request for it is too much.
        if self.wanted and len(data) != SSL_REQUEST:
            self.fail(UNREADABLE, NO_TLS)
        try:
            self._patience()
            self.sock.sendall(data)
        except OSError as error:
            self._note(error)
            raise

    def settimeout(self, _seconds: float | None) -> None:
        """The deadline is ours."""

    def close(self) -> None:
        self.sock.close()


class _Raw(io.RawIOBase):
    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._wire.receive(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Tls:
    """What PyMySQL takes for its SSLContext."""

    def __init__(self, access: Access, wire: _Wire, context: Any) -> None:
        self._access, self._wire, self._context = access, wire, context
        self.protocol = ""

    def wrap_socket(self, wire: _Wire, server_hostname: str | None = None) -> _Wire:
        try:
            patience(self._wire.run, wire.sock)
            name = self._access.host or None
            if self._context.check_hostname and not name:
                name = "localhost"  # over a socket there is no other name to compare
            wire.sock = self._context.wrap_socket(wire.sock, server_hostname=name)
        except OSError as error:
            wire._note(error)
            raise
        wire.wanted = False
        self.protocol = wire.sock.version() or ""  # type: ignore[attr-defined]
        return wire


def _context(access: Access) -> Any:
    """Return an SSLContext for what the access says. Raises Failed not-allowed for files that can't be used."""
    verify, named = access.tls in ("verify-ca", "verify-full"), access.tls == "verify-full"
    return context(access.of, access.ca_file, access.cert, access.key, verify=verify, named=named)


class MySQL(Connection):
    """A session with MySQL or MariaDB."""

    kind = "mysql"

    def __init__(self, run: Run, access: Access, driver: Any, wire: _Wire) -> None:
        self._run, self._access, self._driver, self._wire = run, access, driver, wire
        self._limit = 0.0  # the statement time-out that the server knows, seconds
        self.of = access.of

    def _ask(self, statement: str, parameters: Any) -> list[dict[str, Any]]:
        if self._limit and self._run.left() < 0.6 * self._limit:
            self._patience()
        return self._rows(statement, parameters)

    def _rows(self, statement: str, parameters: Any = (), tried: str = "") -> list[dict[str, Any]]:
        from pymysql.cursors import SSCursor

        tried = tried or shown(statement)
        self._run.stage(f"{tried} of {self.of}")
        self._wire.begin(tried)
        if self._run.left() <= 0:
            raise Failed(LATE, self.of, tried, "not begun: the time was up")
        try:
            cursor = SSCursor(self._driver)
            cursor.execute(MARK + statement, parameters or None)
            names = [column[0].lower() for column in cursor.description or ()]
            rows: list[dict[str, Any]] = []
            while names:
                values = cursor.fetchone()
                if values is None:
                    break
                if len(rows) >= ROWS:
                    self._wire.fault = Failed(UNREADABLE, self.of, tried, f"more than {ROWS} rows")
                    raise OverflowError
                rows.append(dict(zip(names, map(plain, values))))
            return rows
        except ImportError:
            raise
        except Exception as error:
            if self._driver._result is not None:
                # Nothing may read the rest of it: that could be gigabytes.
                self._driver._result.unbuffered_active = False
            raise _failed(error, self._wire, self._access, tried) from None

    def _end(self) -> None:
        result = getattr(self._driver, "_result", None)
        if result is not None:
            result.unbuffered_active = False
        try:
            if self._wire.fault or self._run.left() <= 0:
                self._driver._force_close()
            else:
                self._driver.close()
        except Exception:
            self._driver._force_close()
        self._wire.close()

    def _greet(self) -> None:
        """Ask who it is, and give the session its limits."""
        row = self._rows("SELECT 1, VERSION() AS version, @@version_comment AS comment", tried="SELECT 1")
        if not row or row[0].get("1") != 1:
            raise Failed(UNREADABLE, self.of, "SELECT 1", "its answer is not 1")
        said_, comment = str(row[0]["version"]), str(row[0]["comment"])
        numbers = re.search(r"(\d+)\.(\d+)\.(\d+)", said_.replace("5.5.5-", "", 1))
        if numbers is None:
            raise Failed(UNREADABLE, self.of, "SELECT 1", f"its version is {said_[:40]!r}")
        self.version = tuple(int(number) for number in numbers.groups())
        self.flavour = "mariadb" if "mariadb" in (said_ + comment).lower() else "mysql"
        self.text = f"{'MariaDB' if self.flavour == 'mariadb' else 'MySQL'} {numbers[0]}"
        self._galera = self.flavour == "mariadb" or "cluster" in comment.lower() or "wsrep" in comment.lower()

    def _patience(self) -> None:
        """Tell the server how long a statement may take, a little less than is left to us."""
        left = max(0.2, self._run.left() - 0.3)
        words = []
        if self.flavour == "mariadb" and self.version >= (10, 1):
            words = [f"max_statement_time={left:.1f}"]
        elif self.flavour == "mysql" and self.version >= (5, 7, 8):
            words = [f"max_execution_time={int(left * 1000)}"]
        if not self._limit:
            modern = self.flavour == "mysql" and self.version >= (5, 7, 20)
            words += ["autocommit=1", "lock_wait_timeout=1", f"{'transaction' if modern else 'tx'}_read_only=1"]
            if self._galera:
                words.append("wsrep_sync_wait=0")
        self._limit = left
        try:
            if words:
                self._rows(f"SET SESSION {', '.join(words)}", tried="set time-outs")
        except Failed as failed:
            if self._wire.fault or failed.kind == UNREACHABLE:
                raise
            for word in words:  # an old server, or a proxy, that knows some of them only
                try:
                    self._rows(f"SET SESSION {word}", tried="set time-outs")
                except Failed:
                    if self._wire.fault:
                        raise


def connect(run: Run, access: Access) -> MySQL:
    """Return a session. Raises Failed as sql.connect says."""
    from pymysql.connections import Connection as Driver

    trusted = _context(access) if access.tls not in ("", "disable") else None
    tried = LOG_IN
    run.stage(f"log in to {access.of}")
    if run.left() <= 0:
        raise Failed(LATE, access.of, tried, "not begun: the time was up")
    began = time.monotonic()
    wire = _Wire(_dial(run, access), run, access, tried)
    driver: Any = None
    try:
        guards = dict.fromkeys(("mysql_clear_password", "dialog", "mysql_old_password"), _Guard)
        driver = Driver(
            user=access.user,
            # MySQL's own clients send what the terminal gave them; PyMySQL would take it for Latin-1, and fail on the rest.
            password=access.password.encode("utf-8", "surrogateescape"),
            host=access.host or "localhost",
            port=access.port,
            database=access.database or None,
            charset="utf8mb4",
            autocommit=None,
            defer_connect=True,
            ssl_disabled=True,
            auth_plugin_map=guards,
            program_name="nephoscope",
        )
        tls = _Tls(access, wire, trusted)
        if trusted is not None:
            from pymysql.constants import CLIENT

            driver.ssl, driver.ctx = True, tls
            driver.client_flag |= CLIENT.SSL
        driver._secure = bool(access.socket)
        session = MySQL(run, access, driver, wire)
        wire.greeting()
        driver.connect(wire)
        session._greet()
        session.login, session.tls = time.monotonic() - began, tls.protocol
        session._patience()
        return session
    except BaseException as error:
        if driver is not None:
            driver._force_close()
        wire.close()
        if isinstance(error, (Failed, ImportError)) or not isinstance(error, Exception):
            raise
        raise _failed(error, wire, access, tried) from None


class _Guard:
    """Refuses to send a password that anybody could read on the way, which a server may ask for (PyMySQL would send it)."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def authenticate(self, packet: Any) -> Any:
        if not self._driver._secure:
            raise _Readable
        self._driver.write_packet(self._driver.password + b"\0")
        answer = self._driver._read_packet()
        answer.check_error()
        return answer


class _Readable(Exception):
    """The server asks for the password itself, and the line is open."""


def _dial(run: Run, access: Access) -> socket.socket:
    tried = "connect"
    began = time.monotonic()
    try:
        return unix(run, access.socket) if access.socket else dial(run, access.host, access.port)
    except (FileNotFoundError, NotADirectoryError):
        raise Failed(UNREACHABLE, access.of, tried, "no socket there: the server does not run") from None
    except OSError as error:
        raise failure(access.of, tried, error, time.monotonic() - began) from None
    except (UnicodeError, ValueError, OverflowError):
        raise Failed(UNREADABLE, access.of, tried, "that is no name of a host or socket") from None


def _failed(error: Exception, wire: _Wire, access: Access, tried: str) -> Failed:
    """Return the Failed of whatever PyMySQL raised."""
    if wire.fault is not None:
        return wire.fault
    if isinstance(error, Failed):
        return error
    of = access.of
    if isinstance(error, _Readable):
        text = "the server asks for the password itself, and the connection is not encrypted"
        return Failed(NOT_ALLOWED, of, OPEN, text, "--tls")
    number = error.args[0] if error.args else None
    if isinstance(number, int) and type(error).__module__.startswith("pymysql"):
        words = said(error.args[1] if len(error.args) > 1 else "", access)
        if number in ERRORS:
            kind, text, cure = ERRORS[number]
            if number == 1045:
                text = f"log-in refused for user {access.user!r}"
                if not access.tls and not access.socket:
                    cure += "; or --tls, if the account demands it"
            tried = AS_US if number == 1698 else tried
            return Failed(kind, of, tried, f"{text or words} (error {number})", cure)
        if number in (2006, 2013):
            return Failed(UNREACHABLE, of, tried, "the connection was cut before the answer was whole")
        if number == 2026:
            return Failed(UNREADABLE, of, tried, NO_TLS)
        if number == 2059:
            text = "the account's way to authenticate is not one that PyMySQL has"
            return Failed(NOT_ALLOWED, of, DRIVER, text, "an account with a password")
        return Failed(UNREADABLE, of, tried, f"{words} (error {number})" if words else f"error {number}")
    if isinstance(error, RuntimeError) and "cryptography" in str(error):
        text = "this way to authenticate needs TLS, or the Python module cryptography"
        return Failed(NOT_ALLOWED, of, OPEN, text, "--tls")
    if isinstance(error, RuntimeError) and "ed25519" in str(error):
        text = "the account's way to authenticate (ed25519) needs the Python module PyNaCl"
        return Failed(NOT_ALLOWED, of, DRIVER, text, "that module, or an account with another kind of password")
    return Failed(UNREADABLE, of, tried, f"its answer is not MySQL's: {type(error).__name__}")
