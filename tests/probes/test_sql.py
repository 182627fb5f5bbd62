# SPDX-License-Identifier: Apache-2.0
"""Sessions with what is no database, or a broken one: servers of our own over loopback, in bytes of the real protocols.

MySQL's packets are those of "Protocol::HandshakeV10" and "ERR_Packet" in the MySQL source documentation, PostgreSQL's those of
"Message Formats" in its manual. Logged in, the simulated MySQL 8 answers.
"""

from __future__ import annotations

import contextlib
import os
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


def tried(kind, port, **words):
    """Return the Failed of a log-in, having seen that it came within the deadline and without the password."""
    access = Access("here", kind, "nova", PASSWORD, "127.0.0.1", port, "", "nova")._replace(**words)
    began = time.monotonic()
    with pytest.raises(Failed) as raised:
        sql.connect(Run(SECONDS), access).close()
    assert time.monotonic() - began < SECONDS / 2 + 0.5
    told = "".join(traceback.format_exception(Failed, raised.value, raised.value.__traceback__))
    assert PASSWORD not in told and PASSWORD not in repr(access) and PASSWORD not in str(access)
    return raised.value


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
        (says(greeting(), packet(2, b"\x42" * 30)), UNREADABLE,
            "its answer is not MySQL's: OperationalError"),
        (says(greeting(), packet(9, b"\0")), UNREADABLE, "its answer is not MySQL's: InternalError"),
        (says(error(1040, b"Too many connections")), UNREACHABLE, "too many connections (error 1040)"),
        (says(error(1129, b"Host '10.0.0.1' is blocked", state=b"")), UNREACHABLE,
         "this host is blocked after many connection errors (error 1129)"),
        (says(error(1130, b"Host '10.0.0.1' is not allowed to connect to this MySQL server", state=b"")), NOT_ALLOWED,
         "Host '10.0.0.1' is not allowed to connect to this MySQL server (error 1130)"),
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
        (says(greeting(), packet(2, b"\xfeauth_gssapi_client\0x")), NOT_ALLOWED,
         "the account's way to authenticate is not one that PyMySQL has"),
    ],
)  # fmt: skip
def test_what_is_no_mysql_or_a_sick_one(behaviour, kind, said):
    with serving(behaviour) as port:
        failed = tried("mysql", port)
    assert (failed.kind, failed.of, failed.error) == (kind, "here", said)


def test_a_password_asked_for_in_the_clear_is_not_sent():
    heard = []

    def ask(sock):
        sock.sendall(greeting())
        heard.append(sock.recv(65536))
        sock.sendall(packet(2, b"\xfemysql_clear_password\0"))
        heard.append(sock.recv(65536))

    with serving(ask) as port:
        assert tried("mysql", port).cure == "--tls"
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
        (postgres(fatal(f"Passwort {PASSWORD} passt nicht", "28P01"), end=cut), UNREADABLE,
         "not understood: Passwort *** passt nicht"),
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
    said = {"mysql": "the server does not offer TLS", "postgres": "server does not support SSL, but SSL was required"}
    assert (failed.kind, failed.error) == (UNREADABLE, said[kind])


@pytest.mark.parametrize("end, kind, said", [
    (silent, UNREACHABLE, "no answer in 0.8 s"),
    (cut, UNREACHABLE, "the connection was cut in the TLS handshake"),
    (says(JUNK), UNREADABLE, "TLS: WRONG_VERSION_NUMBER"),
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
