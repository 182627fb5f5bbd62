# SPDX-License-Identifier: Apache-2.0
"""Sessions with what is no database, or a broken one: servers of our own over loopback, in bytes of the real protocols.

MySQL's packets are those of "Protocol::HandshakeV10" and "ERR_Packet" in the MySQL source documentation, PostgreSQL's those of
"Message Formats" in its manual. Logged in, the simulated MySQL 8 answers.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
import traceback
from types import SimpleNamespace

import pytest
from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.checks.database.check_db_connect import CHECK
from nephoscope.probes import sql
from nephoscope.probes.sql import Access

PASSWORD = "q8-geheim"
JUNK = b"\xff" * 64
SECONDS = 1.6  # of a run: 0.8 are left to the probe


@contextlib.contextmanager
def serving(behaviour):
    """Give the port of a server that does `behaviour(socket)` with each connection, in a thread of its own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(20)

        def each(sock):
            with sock, contextlib.suppress(OSError):
                behaviour(sock)

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=each, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def packet(number, payload):
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def greeting(version=b"8.0.45", capabilities=0x0008F7DF, plugin=b"mysql_native_password"):
    low, high = struct.pack("<H", capabilities & 0xFFFF), struct.pack("<H", capabilities >> 16)
    head = b"\x0a" + version + b"\0" + struct.pack("<I", 7) + b"12345678\0" + low + b"\x21\x02\x00" + high
    return packet(0, head + b"\x15" + b"\0" * 10 + b"123456789012\0" + plugin + b"\0")


def error(number, text, sequence=0, state=b"#08S01"):
    return packet(sequence, b"\xff" + struct.pack("<H", number) + state + text)


OK = packet(2, b"\0\0\0\x02\0\0\0")


def silent(sock):
    time.sleep(5)


def dripping(data):
    def drip(sock):
        for byte in data * 1000:
            sock.sendall(bytes([byte]))
            time.sleep(0.2)

    return drip


def says(*parts, wait=False):
    """Say each part, and after each (or first) read what the client says; then stay silent."""

    def behave(sock):
        if wait:
            sock.recv(4096)
        for part in parts:
            sock.sendall(part)
            sock.recv(65536)
        time.sleep(5)

    return behave


def cuts(*parts, wait=False):
    def behave(sock):
        if wait:
            sock.recv(4096)
        for part in parts:
            sock.sendall(part)
            sock.recv(65536)

    return behave


def tried(kind, port, seconds=SECONDS, **words):
    """Return the Failed of a log-in, having seen that it came within the deadline and without the password."""
    access = Access("here", kind, "nova", PASSWORD, "127.0.0.1", port, "", "nova")._replace(**words)
    began = time.monotonic()
    with pytest.raises(Failed) as raised:
        sql.connect(Run(seconds), access).close()
    assert time.monotonic() - began < max(seconds / 2, seconds - 1) + 0.5
    told = "".join(traceback.format_exception(Failed, raised.value, raised.value.__traceback__))
    assert PASSWORD not in told and PASSWORD not in repr(access) and PASSWORD not in str(access)
    failed = raised.value
    return Failed(failed.kind, failed.of, failed.tried, re.sub(r"\b0\.[789] s", "0.8 s", failed.error), failed.cure)


CUT = "the connection was cut before the answer was whole"


@pytest.mark.parametrize(
    "behaviour, kind, said",
    [
        (silent, UNREACHABLE, "no answer in 0.8 s"),
        (dripping(greeting()), UNREACHABLE, "no answer in 0.8 s"),
        (says(greeting()), UNREACHABLE, "no answer in 0.8 s"),
        (says(greeting(), OK), UNREACHABLE, "no answer in 0.8 s"),
        (cuts(), UNREACHABLE, CUT),
        (lambda sock: sock.sendall(greeting()[:20]), UNREACHABLE, CUT),
        (cuts(greeting()), UNREACHABLE, CUT),
        (cuts(greeting(), OK), UNREACHABLE, CUT),
        (says(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), UNREADABLE, "no MySQL server: it speaks SSH"),
        (says(b"HTTP/1.1 408 Request Timeout\r\n\r\n"), UNREADABLE, "no MySQL server: it speaks HTTP"),
        (says(b"220 mail.example ESMTP\r\n"), UNREADABLE, "no MySQL server: it speaks SMTP or FTP"),
        (says(b"\x05\0\0\0\x0b\x08\x05\x1a\0"), UNREADABLE,
         "no MySQL server: it begins with b'\\x05\\x00\\x00\\x00\\x0b\\x08\\x05\\x1a\\x00'"),
        (says(JUNK), UNREADABLE, f"no MySQL server: it begins with {JUNK[:16]!r}"),
        (says(packet(0, b"\x0a" + b"\xff" * 60)), UNREADABLE, "its answer is not MySQL's: UnicodeDecodeError"),
        (says(packet(0, b"\x0a")), UNREADABLE, "its answer is not MySQL's: error"),
        (says(greeting(version=b"Percona")), UNREADABLE, "its answer is not MySQL's: ValueError"),
        (says(greeting(), packet(9, b"\0")), UNREADABLE, "its answer is not MySQL's: InternalError"),
        (says(error(1040, b"Too many connections")), UNREACHABLE, "too many connections (error 1040)"),
        (says(error(1129, b"Host '10.0.0.1' is blocked", state=b"")), UNREACHABLE,
         "this host is blocked after many connection errors (error 1129)"),
        (says(error(1130, b"Host '10.0.0.1' is not allowed to connect to this MySQL server", state=b"")), NOT_ALLOWED,
         "the server has no account for this host (error 1130)"),
        (says(greeting(), error(1045, b"Access denied for user 'nova' (using password: YES)", 2)), NOT_ALLOWED,
         "log-in refused for user 'nova' (error 1045)"),
        (says(greeting(), error(3159, b"Connections using insecure transport are prohibited", 2)), NOT_ALLOWED,
         "the server demands TLS (error 3159)"),
        (says(greeting(), error(1049, b"Unknown database 'nova'", 2)), ABSENT, "Unknown database 'nova' (error 1049)"),
        (says(greeting(), error(9999, b"So: " + PASSWORD.encode(), 2)), UNREADABLE, "So: *** (error 9999)"),
        (says(greeting(), error(1053, b"Server shutdown in progress", 2)), UNREACHABLE,
         "the server is shutting down (error 1053)"),
        (says(greeting(), packet(2, b"\xfemysql_clear_password\0")), NOT_ALLOWED,
         "the server asks for the password itself, and the connection is not encrypted"),
        (says(greeting(), packet(2, b"\xfedialog\0\x04Password: ")), NOT_ALLOWED,
         "the server asks for the password itself, and the connection is not encrypted"),
        (says(greeting(), packet(2, b"\xfeclient_ed25519\0" + b"x" * 32)), NOT_ALLOWED,
         "the account's way to authenticate (ed25519) needs the Python module PyNaCl"),
        (says(greeting(), packet(2, b"\xfeauth_gssapi_client\0x")), NOT_ALLOWED,
         "the account's way to authenticate is not one that PyMySQL has"),
    ],
)  # fmt: skip
def test_what_is_no_mysql_or_a_sick_one(behaviour, kind, said):
    with serving(behaviour) as port:
        failed = tried("mysql", port)
    assert (failed.kind, failed.of, failed.error) == (kind, "here", said)


@pytest.mark.parametrize(
    "answer, looks",
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP"),
        (b"N", "PostgreSQL"),
        (b"\x15\x03\x03\0\x02\x02\x46", "TLS only"),
    ],
)
def test_what_waits_for_the_client_to_begin_is_asked_what_it_is(answer, looks):
    with serving(says(answer, wait=True)) as port:
        failed = tried("mysql", port, seconds=3.0)
    assert (failed.kind, failed.error) == (UNREADABLE, f"no MySQL server: it speaks {looks}")
    if looks == "HTTP":
        with serving(http_alone) as port:
            failed = tried("postgres", port, seconds=3.0)
        assert (failed.kind, failed.error) == (UNREADABLE, "no PostgreSQL server: it speaks HTTP")


def test_a_password_asked_for_in_the_clear_is_not_sent():
    heard = []

    def ask(sock):
        sock.sendall(greeting())
        heard.append(sock.recv(65536))
        sock.sendall(packet(2, b"\xfemysql_clear_password\0"))
        heard.append(sock.recv(65536))

    with serving(ask) as port:
        assert tried("mysql", port).cure == "--tls"
        end = time.monotonic() + 5
        while len(heard) < 2 and time.monotonic() < end:
            time.sleep(0.01)
    assert heard[1] == b"" and PASSWORD.encode() not in heard[0]


def message(kind, payload=b""):
    return kind + struct.pack(">I", len(payload) + 4) + payload


def fatal(text, code="28P01"):
    fields = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0"
    return message(b"E", fields.encode())


def postgres(*parts, end=silent):
    """Decline TLS, as a server without it does, then say the parts, each after the client's next message."""

    def behave(sock):
        if sock.recv(4096)[4:8] == struct.pack(">I", 80877103):
            sock.sendall(b"N")
            sock.recv(4096)
        for part in parts:
            sock.sendall(part)
            if part is not parts[-1]:
                sock.recv(4096)
        end(sock)

    return behave


def http_alone(sock):
    """Wait for an empty line, as a web server does, whatever comes before it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(100) or b"\r\n\r\n"
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def cut(sock):
    sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "behaviour, kind, said",
    [
        (silent, UNREACHABLE, "no answer in 0.8 s"),
        (postgres(), UNREACHABLE, "no answer in 0.8 s"),
        (postgres(end=dripping(b"R")), UNREACHABLE, "no answer in 0.8 s"),
        (postgres(message(b"R", b"\0\0\0\3")), UNREACHABLE, "no answer in 0.8 s"),
        (postgres(end=cut), UNREACHABLE, CUT),
        (cuts(b""), UNREACHABLE, CUT),
        (cuts(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), UNREADABLE, "no PostgreSQL server: it speaks SSH"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", wait=True), UNREADABLE, "no PostgreSQL server: it speaks HTTP"),
        (says(greeting()), UNREADABLE, "no PostgreSQL server: it speaks MySQL"),
        (says(JUNK), UNREADABLE, f"no PostgreSQL server: it begins with {JUNK[:16]!r}"),
        (postgres(fatal('password authentication failed for user "nova"'), end=cut), NOT_ALLOWED,
         'password authentication failed for user "nova"'),
        (postgres(fatal('role "nova" does not exist', "28000"), end=cut), NOT_ALLOWED, 'role "nova" does not exist'),
        (postgres(fatal('database "nova" does not exist', "3D000"), end=cut), ABSENT, 'database "nova" does not exist'),
        (postgres(fatal("sorry, too many clients already", "53300"), end=cut), UNREACHABLE,
         "sorry, too many clients already"),
        (postgres(fatal("the database system is starting up", "57P03"), end=cut), UNREACHABLE,
         "the database system is starting up"),
        (postgres(fatal("no more connections allowed (max_client_conn)", "08P01"), end=cut), UNREACHABLE,
         "no more connections allowed (max_client_conn)"),
        (postgres(fatal("SSL required", "08P01"), end=cut), NOT_ALLOWED, "SSL required"),
        (postgres(fatal(f"Passwort {PASSWORD} passt nicht", "99999"), end=cut), UNREADABLE,
         "not understood: Passwort *** passt nicht (SQLSTATE 99999)"),
        # In other languages, and encodings, the SQLSTATE tells.
        (postgres(fatal(f"Passwort {PASSWORD} passt nicht", "28P01"), end=cut), NOT_ALLOWED,
         "Passwort *** passt nicht (SQLSTATE 28P01)"),
        (postgres(message(b"E", b"SFATAL\0VFATAL\0C28P01\0MPasswort f\xfcr x\0\0"), end=cut), NOT_ALLOWED,
         "Passwort f\ufffdr x (SQLSTATE 28P01)"),
        (postgres(fatal("Datenbank »nova« existiert nicht", "3D000"), end=cut), ABSENT,
         "Datenbank »nova« existiert nicht (SQLSTATE 3D000)"),
        (postgres(fatal("tut mir leid, schon zu viele Verbindungen", "53300"), end=cut), UNREACHABLE,
         "tut mir leid, schon zu viele Verbindungen (SQLSTATE 53300)"),
        (postgres(fatal("das Datenbanksystem startet", "57P03"), end=cut), UNREACHABLE,
         "das Datenbanksystem startet (SQLSTATE 57P03)"),
        (postgres(fatal("keine Berechtigung für Datenbank »nova«", "42501"), end=cut), NOT_ALLOWED,
         "keine Berechtigung für Datenbank »nova« (SQLSTATE 42501)"),
        (postgres(fatal("kein pg_hba.conf-Eintrag für Host", "28000"), end=cut), NOT_ALLOWED,
         "kein pg_hba.conf-Eintrag für Host (SQLSTATE 28000)"),
    ],
)  # fmt: skip
def test_what_is_no_postgresql_or_a_sick_one(behaviour, kind, said):
    with serving(behaviour) as port:
        failed = tried("postgres", port)
    assert (failed.kind, failed.of, failed.error) == (kind, "here", said)


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_tls_with_a_server_that_has_none_or_breaks_off(kind):
    with serving(says(greeting()) if kind == "mysql" else postgres()) as port:
        failed = tried(kind, port, tls="require")
    assert (failed.kind, failed.error) == (UNREADABLE, "the server does not offer TLS")


@pytest.mark.parametrize("end, kind, said", [
    (silent, UNREACHABLE, "no answer in 0.8 s"),
    (cut, UNREACHABLE, CUT),
    (says(JUNK), UNREADABLE, "it does not speak TLS"),
])  # fmt: skip
def test_a_tls_handshake_that_goes_nowhere(end, kind, said):
    def begin(sock):
        sock.sendall(greeting(capabilities=0x0008FFDF))
        sock.recv(4096)
        end(sock)

    with serving(begin) as port:
        failed = tried("mysql", port, tls="require")
    assert failed.kind == kind and failed.error == said


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_nobody_there(kind, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        failed = tried(kind, closed.getsockname()[1])
    assert (failed.kind, failed.error) == (UNREACHABLE, "Connection refused")
    path = str(tmp_path / "s")
    failed = tried(kind, 5432, host="", socket=path)
    assert (failed.kind, failed.error) == (UNREACHABLE, "no socket there: the server does not run")
    failed = tried(kind, 5432, host="a..b")
    assert (failed.kind, failed.error) in [
        (UNREADABLE, "that is no name of a host or socket"), (UNREADABLE, "that is no name of a host")
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_a_password_that_is_no_text(kind):
    """As the environment may hold it: bytes of another encoding."""
    with serving(says(greeting(), error(1045, b"Access denied", 2))) as port:
        failed = tried(kind, port, password="q8-\udce9")
    assert failed.error in ("log-in refused for user 'nova' (error 1045)", "a name or password that is no text")


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_a_resolver_that_is_silent(kind, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(5))
    failed = tried(kind, 5432, host="db.example")
    assert failed.kind == UNREACHABLE
    assert failed.error in ("no answer in 0.8 s", "no answer of the resolver")


def test_the_next_host_is_asked_when_one_is_silent():
    """PostgreSQL's URLs may name several hosts; each has its share of the time."""
    with serving(silent) as first, serving(postgres(fatal("sorry, too many clients already"), end=cut)) as second:
        failed = tried("postgres", first, host=f"127.0.0.1:{first},127.0.0.1:{second}")
    assert (failed.kind, failed.error) == (UNREACHABLE, "sorry, too many clients already")


# ---- logged in ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def eight(request):
    """A simulated MySQL 8.0 and the access to it."""
    from tests.simulators.mysql_answers import healthy

    with healthy(plugin="mysql_native_password", **getattr(request, "param", {})) as server:
        yield server, Access("here", "mysql", "monitor", "secret", "127.0.0.1", server.port)


def test_a_session_with_mysql_8(eight):
    server, access = eight
    with sql.connect(Run(8.0), access) as database:
        assert (database.kind, database.flavour, database.version[:2], database.text[:9]) == (
            "mysql",
            "mysql",
            (8, 0),
            "MySQL 8.0",
        )
        assert database.value("SELECT 1") == 1
        assert database.row("SHOW GLOBAL STATUS LIKE 'nothing'") == {}
    assert server.wait_until_left() == 1
    assert server.unknown == []
    assert server.attributes["program_name"] == "nephoscope"
    first, hello, limits, *asked = server.log
    assert first == "SET NAMES utf8mb4" and hello.startswith("/* nephoscope */ SELECT 1, VERSION()")
    assert limits.startswith("/* nephoscope */ SET SESSION max_execution_time=6")
    assert limits.endswith(", autocommit=1, lock_wait_timeout=1, transaction_read_only=1")
    assert all(statement.startswith("/* nephoscope */ ") for statement in asked)


@pytest.mark.parametrize(
    "fault, kind, said",
    [
        ("hang", UNREACHABLE, "no answer in"),
        ("drip", UNREACHABLE, "no answer in"),
        ("half", UNREACHABLE, CUT),
        ("cut", UNREACHABLE, CUT),
        ("garbage", UNREADABLE, "its answer is not MySQL's: InternalError"),
        ("flood", UNREADABLE, "more than 64 MiB"),
    ],
)
def test_an_answer_that_goes_wrong(eight, fault, kind, said):
    server, access = eight
    server.answers["select trouble"] = fault
    began = time.monotonic()
    with sql.connect(Run(4.0 if fault == "flood" else SECONDS), access) as database, pytest.raises(Failed) as raised:
        database.rows("SELECT trouble")
    assert (raised.value.kind, raised.value.of, raised.value.tried) == (kind, "here", "SELECT trouble")
    assert raised.value.error.startswith(said)
    assert time.monotonic() - began < 3.5


def test_more_rows_than_anybody_wants(eight, monkeypatch):
    from tests.simulators.mysql_server import Rows

    server, access = eight
    monkeypatch.setattr("nephoscope.probes.sql_mysql.ROWS", 1000)
    server.answers["select many"] = Rows(("a",), [(number,) for number in range(1001)])
    with sql.connect(Run(8.0), access) as database, pytest.raises(Failed) as raised:
        database.rows("SELECT many")
    assert raised.value == Failed(UNREADABLE, "here", "SELECT many", "more than 1000 rows")
    server.answers["select many"] = Rows(("a",), [(number,) for number in range(1000)])
    with sql.connect(Run(8.0), access) as database:
        assert len(database.rows("SELECT many")) == 1000


@pytest.mark.parametrize(
    "number, text, kind, said",
    [
        (1142, "SELECT command denied to user 'monitor'@'h' for table 't'", NOT_ALLOWED,
         "SELECT command denied to user 'monitor'@'h' for table 't' (error 1142)"),
        (1227, "Access denied; you need (at least one of) the PROCESS privilege(s) for this operation", NOT_ALLOWED,
         "Access denied; you need (at least one of) the PROCESS privilege(s) for this operation (error 1227)"),
        (1146, "Table 'nova.t' doesn't exist", ABSENT, "Table 'nova.t' doesn't exist (error 1146)"),
        (1054, "Unknown column 'x' in 'field list'", ABSENT, "Unknown column 'x' in 'field list' (error 1054)"),
        (3024, "Query execution was interrupted, maximum statement execution time exceeded", LATE,
         "the statement took longer than the time that was left (error 3024)"),
        (1969, "Query execution was interrupted (max_statement_time exceeded)", LATE,
         "the statement took longer than the time that was left (error 1969)"),
        (1205, "Lock wait timeout exceeded; try restarting transaction", LATE,
         "a lock was not granted within a second (error 1205)"),
        (1047, "WSREP has not yet prepared node for application use", UNREACHABLE,
         "the node is not ready: cut off from its cluster, or joining it (error 1047)"),
        (1064, "near 'secret'", UNREADABLE, "near '***' (error 1064)"),
    ],
)  # fmt: skip
def test_errors_of_a_statement(eight, number, text, kind, said):
    from tests.simulators.mysql_server import Error

    server, access = eight
    server.answers["select trouble"] = Error(number, "HY000", text)
    with sql.connect(Run(8.0), access) as database:
        with pytest.raises(Failed) as raised:
            database.rows("SELECT trouble")
        assert (raised.value.kind, raised.value.error) == (kind, said)
        assert database.value("SELECT 1") == 1  # the session goes on


def test_limits_that_an_old_server_or_a_proxy_does_not_know(eight):
    from tests.simulators.mysql_server import Error

    server, access = eight
    unknown = Error(1193, "HY000", "Unknown system variable")
    real = server.answer

    def answer(statement, user, account):
        return unknown if "transaction_read_only" in statement else real(statement, user, account)

    server.answer = answer
    with sql.connect(Run(8.0), access) as database:
        assert database.value("SELECT 1") == 1
    alone = [
        statement.partition("SESSION ")[2].partition("=")[0] for statement in server.log if " SET SESSION" in statement
    ][1:]
    assert alone == ["max_execution_time", "autocommit", "lock_wait_timeout", "transaction_read_only"]


def test_without_a_way_to_keep_the_password_secret(monkeypatch):
    """MySQL 8's own way to log in wants TLS, or the cryptography module, which may not be there."""
    from pymysql import _auth

    from tests.simulators.mysql_answers import healthy

    monkeypatch.setattr(_auth, "_have_cryptography", False)
    with healthy() as server:
        access = Access("here", "mysql", "monitor", "secret", "127.0.0.1", server.port)
        with pytest.raises(Failed) as raised:
            sql.connect(Run(8.0), access)
    said = "this way to authenticate needs TLS, or the Python module cryptography"
    assert raised.value == Failed(NOT_ALLOWED, "here", "log in without TLS", said, "--tls")


# ---- where and as whom -------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No variable of libpq's, a home without files, a root without sockets."""
    for name in [name for name in os.environ if name.startswith(("PG", "NEPHOSCOPE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/op")
    monkeypatch.setattr(sql, "_own_name", lambda: "op")
    return SimpleNamespace(run=Run(root=str(tmp_path)), root=tmp_path, setenv=monkeypatch.setenv)


def led(bare, *argv):
    return sql.access(CHECK.parse(*argv), bare.run)


def write(bare, path, text, mode=0o600):
    file = bare.root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return path


def test_defaults(bare):
    assert led(bare, "--type", "mysql") == Access("127.0.0.1:3306", "mysql", "op", host="127.0.0.1", port=3306)
    found = led(bare, "--type", "postgres")
    assert found == Access("127.0.0.1:5432", "postgres", "op", host="127.0.0.1", port=5432, database="postgres")
    write(bare, "/run/mysqld/mysqld.sock", "")
    write(bare, "/run/postgresql/.s.PGSQL.5432", "")
    assert led(bare, "--type", "mysql").socket == f"{bare.root}/run/mysqld/mysqld.sock"
    assert led(bare, "--type", "postgres").socket == f"{bare.root}/run/postgresql"
    assert led(bare, "--type", "mysql", "-p", "3307").host == "127.0.0.1"
    # PostgreSQL's socket has the port in its name.
    assert led(bare, "--type", "postgres", "-p", "8777").host == "127.0.0.1"
    write(bare, "/run/postgresql/.s.PGSQL.8777", "")
    assert led(bare, "--type", "postgres", "-p", "8777").place == f"{bare.root}/run/postgresql/.s.PGSQL.8777"


@pytest.mark.parametrize(
    "argv, kind",
    [
        (("-p", "3306"), "mysql"), (("-p", "5432"), "postgres"), (("--socket", "/x.sock"), "mysql"), (("--socket", "/tmp"), "postgres"),
    ],
)  # fmt: skip
def test_what_it_leads_to(bare, argv, kind):
    assert led(bare, *argv).kind == kind


def test_nothing_leads_anywhere(bare):
    ask = "--from-service-file FILE; or --type mysql or postgres, and -H or --socket"
    assert CHECK.run(["-H", "db"], root=str(bare.root)).line == f"DB_CONNECT UNKNOWN - nothing says what to ask: {ask}"
    assert CHECK.run([], root=str(bare.root)).line == f"DB_CONNECT UNKNOWN - nothing says what to ask: {ask}"
    assert CHECK.run(["--absent-state", "critical"], root=str(bare.root)).state == 2


@pytest.mark.parametrize(
    "path, kind", [("/run/mysqld/mysqld.sock", "mysql"), ("/run/postgresql/.s.PGSQL.5432", "postgres")]
)
def test_the_socket_that_is_here_says_what_is_asked(bare, path, kind):
    write(bare, path, "")
    assert (led(bare).kind, bool(led(bare).socket)) == (kind, True)
    with pytest.raises(Failed):
        led(bare, "-H", "db")  # it says nothing of another host
    for other in ("/run/mysqld/mysqld.sock", "/run/postgresql/.s.PGSQL.5432"):
        write(bare, other, "")
    line = CHECK.run([], root=str(bare.root)).line
    assert line.startswith(
        "DB_CONNECT UNKNOWN - MySQL and PostgreSQL both have a socket here, and one is asked: --from-"
    )


def test_the_operator_outranks_a_socket_of_a_preset(bare):
    from nephoscope.checks.database.check_postgres import CHECK as POSTGRES

    def asked(*argv):
        return sql.access(POSTGRES.parse("--preset", "eucalyptus", *argv), bare.run, "postgres")

    assert asked().place == "/var/lib/eucalyptus/db/data/.s.PGSQL.8777"
    assert asked("-H", "clc").place == "clc:8777"
    assert asked("--socket", "/s").place == "/s/.s.PGSQL.8777"
    write(bare, "/home/op/.pg_service.conf", "[clc]\nhost=db\n")
    assert asked("--service", "clc").place == "db:8777"
    write(bare, "/x.conf", "[database]\nconnection = postgresql://u:p@db2/d\n")
    assert asked("--from-service-file", "/x.conf").host == "db2"
    with pytest.raises(Failed):
        asked("-H", "clc", "--socket", "/s")


def test_an_address_of_ipv6_in_brackets(bare):
    assert led(bare, "--type", "mysql", "-H", "[::1]").place == "[::1]:3306"


def test_the_command_line_outranks_the_files(bare):
    write(bare, "/home/op/.my.cnf", "[client]\nuser=nagios\npassword=x\nhost=db\nport=3307\nssl-ca=/ca\ndatabase=d\n")
    assert led(bare, "--type", "mysql") == Access(
        "db:3307", "mysql", "nagios", "x", "db", 3307, "", "d", "verify-ca", "/ca"
    )
    other = led(bare, "--type", "mysql", "-H", "db2", "--user", "root", "--insecure", "--database", "e")
    # The password is that of another account: it is not tried with this one.
    assert other == Access("db2:3307", "mysql", "root", "", "db2", 3307, "", "e", "require")
    bare.setenv("NEPHOSCOPE_PASSWORD", "y")
    assert led(bare, "--type", "mysql", "--user", "root").password == "y"


@pytest.mark.parametrize(
    "lines, where",
    [
        ("host=localhost\nsocket=/s", ("", "/s")), ("host=localhost\nsocket=/s\nprotocol=tcp", ("localhost", "")), ("socket=/s", ("", "/s")),
        ("host=db\nsocket=/s", ("db", "")), ("host=localhost", ("127.0.0.1", "")),
    ],
)  # fmt: skip
def test_localhost_of_an_option_file_is_the_socket(bare, lines, where):
    path = write(bare, "/my.cnf", f"[client]\n{lines}\n")
    found = led(bare, "--defaults-file", path)
    assert (found.host, found.socket) == where


@pytest.mark.parametrize(
    "lines, tls",
    [
        ("ssl-mode=DISABLED", "disable"), ("ssl-mode=VERIFY_IDENTITY", "verify-full"), ("ssl-mode=PREFERRED", ""), ("ssl", "require"),
        ("ssl=0", ""), ("ssl-ca=/x", "verify-ca"), ("ssl-ca=/x\nssl-verify-server-cert", "verify-full"), ("ssl-cert=/x", "require"),
    ],
)  # fmt: skip
def test_tls_of_an_option_file(bare, lines, tls):
    assert led(bare, "--defaults-file", write(bare, "/my.cnf", f"[client]\n{lines}\n")).tls == tls


def test_a_service_of_postgresql_and_the_environment(bare):
    write(bare, "/home/op/.pg_service.conf", "[lab]\nhost=db\nport=5433\nuser=u\nsslmode=require\nsslrootcert=/ca\n")
    bare.setenv("PGUSER", "other")
    bare.setenv("PGPASSWORD", "theirs")
    bare.setenv("PGDATABASE", "d")
    found = led(bare, "--service", "lab")
    assert found == Access("db:5433", "postgres", "u", "", "db", 5433, "", "d", "verify-ca", "/ca")
    found = led(bare, "--type", "postgres", "--socket", "/run/pg")
    assert found == Access("/run/pg/.s.PGSQL.5432", "postgres", "other", "theirs", "", 5432, "/run/pg", "d")
    bare.setenv("PGHOST", "/run/other")
    assert led(bare, "--type", "postgres").socket == "/run/other"


NOVA = """[database]
connection = mysql+pymysql://nova:x@db/nova
[api_database]
connection = mysql+pymysql://nova:x@db/nova_api
[placement_database]
connection = mysql+pymysql://nova:x@db/nova
"""


def test_the_connections_of_service_files(bare):
    write(bare, "/etc/nova/nova.conf", NOVA)
    write(
        bare,
        "/etc/glance/glance-api.conf",
        "[database]\nconnection = sqlite:///x\n[a]\nconnection = postgresql://g:y@[::1]:5433/g\n",
    )
    argv = ("--from-service-file", "/etc/nova/nova.conf", "--from-service-file", "/etc/glance/glance-api.conf")
    argv += ("--from-service-file", "/gone.conf")
    nova = Access("nova [database]", "mysql", "nova", "x", "db", 3306, "", "nova", service=True)
    assert sql.accesses(CHECK.parse(*argv), bare.run) == [
        nova._replace(also=("nova [placement_database]",)),
        nova._replace(of="nova [api_database]", database="nova_api"),
        Failed(
            ABSENT,
            "glance-api [database]",
            "read its connection URL",
            "it is SQLite, a file: there is no server to ask",
        ),
        Access("glance-api [a]", "postgres", "g", "y", "::1", 5433, "", "g", passfile="/nonexistent", service=True),
        Failed(ABSENT, "gone", "read /gone.conf", "No such file or directory"),
    ]
    assert led(bare, *argv[:2]) == nova._replace(also=("nova [placement_database]",))
    # An option overrules the file, for all of them, and then it is no longer the service that is refused.
    found = sql.accesses(CHECK.parse(*argv[:2], "-H", "node2"), bare.run)
    assert [(one.host, one.service) for one in found] == [("node2", False)] * 2
    # A password that lies in the environment for other checks is not tried with the service's account.
    bare.setenv("NEPHOSCOPE_PASSWORD", "other")
    assert led(bare, *argv[:2]) == nova._replace(also=("nova [placement_database]",))
    (one, _) = sql.accesses(CHECK.parse(*argv[:2], "--user", "monitor"), bare.run)
    assert (one.user, one.password, one.service) == ("monitor", "other", False)


def test_two_files_of_one_name_are_called_by_their_paths(bare):
    for name in ("/a/nova.conf", "/b/nova.conf"):
        write(bare, name, "[database]\nconnection = mysql://u:p@h/" + name[1])
    found = sql.accesses(
        CHECK.parse("--from-service-file", "/a/nova.conf", "--from-service-file", "/b/nova.conf"), bare.run
    )
    assert [one.of for one in found] == ["/a/nova.conf [database]", "/b/nova.conf [database]"]


def test_several_where_one_is_asked_for(bare):
    write(bare, "/x.conf", "[a]\nconnection = mysql://u:p@h/a\n[b]\nconnection = mysql://u:p@h/b\n")
    with pytest.raises(Failed) as raised:
        led(bare, "--from-service-file", "/x.conf")
    said = "several connections, and one is asked for: x [a], x [b]"
    assert raised.value == Failed(UNREADABLE, "", "read --from-service-file", said)
    write(bare, "/y.conf", "[database]\nconnection = sqlite://\n")
    with pytest.raises(Failed) as raised:
        led(bare, "--from-service-file", "/y.conf")
    assert raised.value.kind == ABSENT


@pytest.mark.parametrize(
    "query, tls, ca_file",
    [
        ("", "", ""), ("ssl_ca=/ca", "verify-full", "/ca"), ("ssl_ca=/ca&ssl_check_hostname=false", "verify-ca", "/ca"),
        ("ssl_cert=/c&ssl_key=/k", "require", ""), ("ssl_disabled=true", "disable", ""), ("ssl=true", "require", ""), ("ssl=false", "", ""),
        ("ssl_mode=REQUIRED", "require", ""), ("ssl_mode=DISABLED", "", ""), ("ssl_verify_identity=true", "verify-full", ""),
    ],
)  # fmt: skip
def test_tls_of_a_url(bare, query, tls, ca_file):
    write(bare, "/x.conf", f"[database]\nconnection = mysql://u:p@h/a?{query}\n")
    found = led(bare, "--from-service-file", "/x.conf")
    assert (found.tls, found.ca_file) == (tls, ca_file)


def test_what_stands_beside_the_url(bare):
    write(bare, "/opt.cnf", "[nova]\npassword = fromfile\nuser = u\n")
    write(bare, "/x.conf", "[database]\nconnection = mysql://h/a?charset=utf8\n"
          "connection_parameters = read_default_file=/opt.cnf&read_default_group=nova\n")  # fmt: skip
    found = led(bare, "--from-service-file", "/x.conf")
    assert (found.user, found.password, found.database) == ("u", "fromfile", "a")


def test_a_name_shows_where_it_is():
    assert Access("x", "mysql", host="::1", port=3306).place == "[::1]:3306"
    assert Access("x", "postgres", port=5432, socket="/run/pg").place == "/run/pg/.s.PGSQL.5432"
    assert sql.said("a  b\nc", Access("x", "mysql")) == "a b c"
    assert sql.said("xyz", Access("x", "mysql", password="y")) == "(it names the password)"
