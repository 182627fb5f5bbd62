# SPDX-License-Identifier: Apache-2.0
"""Connections within the deadline and the words for what goes wrong: real sockets, real certificates, OpenSSL's own errors."""

from __future__ import annotations

import os
import pty
import socket
import ssl
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.base import dial as dial_

CERTIFICATE = "its authority as --ca-file"


def caught(ask, *words, **more):
    with pytest.raises(Failed) as caught:
        ask(*words, **more)
    return caught.value


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Certificates that sign themselves: of 127.0.0.1, of another name, of yesterday; their key, another key, one encrypted."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key")
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "other")
    openssl("ec", "-in", "key", "-aes128", "-passout", "pass:hunter22", "-out", "locked")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, days, more in (("good", "2", ["-extfile", "names"]), ("elsewhere", "2", []), ("old", "-1", [])):
        openssl("req", "-new", "-key", "key", "-subj", f"/CN={name}", "-out", "request")
        openssl("x509", "-req", "-in", "request", "-signkey", "key", "-days", days, *more, "-out", name)
    (folder / "junk").write_text("junk\n")
    return SimpleNamespace(**{path.name: str(path) for path in folder.iterdir()})


def shaken(server, client):
    """Let two contexts shake hands over a pair of sockets, and return the client's error or protocol."""
    ours, theirs = socket.socketpair()

    def serve():
        try:
            server.wrap_socket(theirs, server_side=True).close()
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname="127.0.0.1") as secure:
            return secure.version()
    except OSError as error:
        return dial_.failure("x", "speak TLS", error, 1.0)
    finally:
        thread.join(10)


def serving(certificate, key):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def test_what_is_verified(files):
    """Strictly unless told; a name that does not fit and a day that has passed are not cured by another authority."""
    good, elsewhere, old = (serving(path, files.key) for path in (files.good, files.elsewhere, files.old))
    trusting = dial_.context("x", files.good, None, None)
    assert shaken(good, trusting) == "TLSv1.3"
    assert shaken(good, dial_.context("x", None, None, None)) == Failed(
        NOT_ALLOWED, "x", "speak TLS", "certificate: self-signed certificate", CERTIFICATE
    )
    wrong = shaken(elsewhere, dial_.context("x", files.elsewhere, None, None))
    assert (wrong.kind, wrong.cure) == (NOT_ALLOWED, "the host by a name of its certificate")
    assert wrong.error == "certificate: IP address mismatch, certificate is not valid for '127.0.0.1'"
    assert shaken(elsewhere, dial_.context("x", files.elsewhere, None, None, named=False)) == "TLSv1.3"
    assert shaken(old, dial_.context("x", files.old, None, None, named=False)) == Failed(
        NOT_ALLOWED, "x", "speak TLS", "certificate: certificate has expired", "a new certificate there"
    )
    for ca_file in (None, files.good):
        assert shaken(old, dial_.context("x", ca_file, None, None, verify=False)) == "TLSv1.3"


def test_the_authority_s_cure_can_be_said_otherwise():
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 18, "self-signed certificate"
    assert dial_.failure("x", "t", error, 0.0, "a fingerprint").cure == "a fingerprint"


def test_a_client_s_certificate(files):
    asking = serving(files.good, files.key)
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_verify_locations(files.good)
    asking.maximum_version = ssl.TLSVersion.TLSv1_2  # it is told within the handshake
    without = shaken(asking, dial_.context("x", files.good, None, None))
    assert (without.kind, without.cure) == (NOT_ALLOWED, "a client certificate (--cert, --key)")
    assert shaken(asking, dial_.context("x", files.good, files.good, files.key)) == "TLSv1.2"


def test_files_that_can_not_be_used(files):
    def said(*words):
        return caught(dial_.context, "x", *words)

    unclear = "no certificate with its key in PEM, or the key wants a passphrase"
    assert said("/nowhere", None, None) == Failed(NOT_ALLOWED, "x", "read /nowhere", "No such file or directory")
    assert said(files.junk, None, None) == Failed(NOT_ALLOWED, "x", f"read {files.junk}", "NO_CERTIFICATE_OR_CRL_FOUND")
    assert said(None, files.good, files.other).error == "KEY_VALUES_MISMATCH"
    assert said(None, files.good, None) == Failed(NOT_ALLOWED, "x", f"read {files.good}", unclear)
    assert said(None, files.junk, files.key) == Failed(NOT_ALLOWED, "x", f"read {files.junk}, {files.key}", unclear)


def test_an_encrypted_key_is_not_asked_for_at_a_terminal(files):
    """OpenSSL would ask /dev/tty, and wait for ever."""
    pid, terminal = pty.fork()
    if not pid:  # pragma: no cover - the child
        try:
            dial_.context("x", None, files.good, files.locked)
        except Failed as failed:
            os.write(1, failed.error.encode())
        finally:
            os._exit(0)
    said = b""
    try:
        while part := os.read(terminal, 1000):
            said += part
            if b"phrase:" in said:
                os.write(terminal, b"\n\n\n")
    except OSError:  # the terminal ends with the child
        pass
    os.waitpid(pid, 0)
    os.close(terminal)
    assert said == b"no certificate with its key in PEM, or the key wants a passphrase"


@pytest.mark.parametrize(
    "error, kind, said",
    [
        (TimeoutError(), UNREACHABLE, "no answer in 2.5 s"),
        (socket.timeout("timed out"), UNREACHABLE, "no answer in 2.5 s"),
        (ssl.SSLError("The read operation timed out"), UNREACHABLE, "no answer in 2.5 s"),
        (ssl.SSLEOFError(), UNREACHABLE, "the connection was cut before the answer was whole"),
        (ssl.SSLZeroReturnError(), UNREACHABLE, "the connection was cut before the answer was whole"),
        (ssl.SSLError(), UNREADABLE, "TLS: not understood"),
        (ConnectionRefusedError(111, "Connection refused"), UNREACHABLE, "Connection refused"),
        (PermissionError(13, "Permission denied"), NOT_ALLOWED, "Permission denied"),
        (socket.gaierror(-2, "Name or service not known"), UNREACHABLE, "Name or service not known"),
        (UnicodeError("label empty or too long"), UNREADABLE, "that is no name of a host"),
    ],
)
def test_words(error, kind, said):
    assert dial_.failure("x", "t", error, 2.5) == Failed(kind, "x", "t", said)


def test_a_name_that_can_be_none():
    with pytest.raises(UnicodeError) as raised:
        dial_.dial(Run(3), "a..b.example", 1)
    assert dial_.failure("x", "connect", raised.value, 0.0).error == "that is no name of a host"


def test_a_unix_socket_whose_queue_is_full(tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        with dial_.unix(Run(3), path):
            with pytest.raises(BlockingIOError) as raised:
                dial_.unix(Run(1), path)
            said = dial_.failure(path, "connect", raised.value, 0.0)
    assert said == Failed(UNREACHABLE, path, "connect", "it accepts no connection: its queue is full")


def test_patience_is_what_is_left():
    with socket.socket() as sock:
        dial_.patience(Run(8), sock)
        assert 6.5 < sock.gettimeout() <= 7
        dial_.patience(Run(8), sock, until=time.monotonic() + 2)
        assert 1.5 < sock.gettimeout() <= 2
        for run, until in ((Run(0), float("inf")), (Run(8), 0.0)):
            with pytest.raises(TimeoutError):
                dial_.patience(run, sock, until)


@pytest.mark.parametrize(
    "check, argv",
    [
        ("memcached", ["-H", "127.0.0.1", "-p", "1"]),
        ("amqp_connections", ["--expect", "nobody-of-that-name", "--broker", "127.0.0.1:1"]),
    ],
)
def test_who_speaks_no_http_does_not_pay_for_it(check, argv):
    """http.client and ssl are 4.6 bare starts."""
    code = f"import sys; from nephoscope.checks.messaging.check_{check} import CHECK; print(CHECK.run({argv!r}).state)"
    code += "; print(sorted({'http.client', 'ssl', 'email'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n[]\n"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("db.example", "db.example", 7), ("db.example:33", "db.example", 33), ("192.0.2.8:33", "192.0.2.8", 33),
        ("2001:db8::8", "2001:db8::8", 7), ("::1", "::1", 7), ("[::1]", "::1", 7), ("[::1]:33", "::1", 33),
        ("", "", 7), (":33", ":33", 7), ("db:", "db:", 7), ("db:x", "db:x", 7), ("db:0", "db:0", 7),
        ("db:65536", "db:65536", 7), ("db:\u0663", "db:\u0663", 7), ("[::1]:x", "[::1]:x", 7), ("a:b:33", "a:b:33", 7),
    ],
)  # fmt: skip
def test_host_and_port(text, host, port):
    assert dial_.host_port(text, 7) == (host, port)
