# SPDX-License-Identifier: Apache-2.0
"""The bounded stream, against servers that refuse, hang, drip, cut and speak something else."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from types import SimpleNamespace

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import stream
from nephoscope.probes.stream import Tls

from tests.probes.talker import Talker, cuts, drips, greets, says, silent


def caught(ask, *words, **more):
    with pytest.raises(Failed) as caught:
        ask(*words, **more)
    return caught.value


def options(**given):
    return SimpleNamespace(**{"tls": False, "ca_file": None, "insecure": False, "cert": None, "key": None, **given})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return SimpleNamespace(context=context, ca=str(cert))


def test_tls_is_spoken_with_any_option_about_it():
    assert stream.tls_of(options()) is None
    assert stream.tls_of(options(tls=True)) == Tls()
    assert stream.tls_of(options(ca_file="/x")) == Tls(ca_file="/x")
    assert stream.tls_of(options(insecure=True)) == Tls(insecure=True)


def test_names():
    assert (stream.name_of("a.example", 1), stream.name_of("::1", 2)) == ("a.example:1", "[::1]:2")


def test_an_ipv6_address_may_stand_in_its_brackets():
    assert stream.name_of("[::1]", 2) == "[::1]:2"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        with stream.tcp(Run(3), "[::1]", port) as link:
            assert link.of == f"[::1]:{port}"


def test_it_is_asked_and_answers():
    with Talker(says(b"well")) as server, stream.tcp(Run(3), "127.0.0.1", server.port) as link:
        link.ask("something")
        link.send(b"x")
        assert (link.receive(), link.received, link.tls, link.of) == (b"well", 4, "", server.of)


def test_over_a_unix_socket(tmp_path):
    path = str(tmp_path / "socket")
    with Talker(says(b"well"), path=path), stream.unix(Run(3), path) as link:
        link.send(b"x")
        assert link.receive() == b"well"


def test_over_tls(certificate):
    with Talker(says(b"well"), context=certificate.context) as server:
        for tls in (Tls(ca_file=certificate.ca), Tls(insecure=True)):
            with stream.tcp(Run(3), "127.0.0.1", server.port, tls) as link:
                link.send(b"x")
                assert (link.receive(), link.tls) == (b"well", "TLSv1.3")
        assert caught(stream.tcp, Run(3), "127.0.0.1", server.port, Tls()) == Failed(
            NOT_ALLOWED, server.of, "speak TLS", "certificate: self-signed certificate", "its authority as --ca-file"
        )


def test_no_such_file_of_certificates():
    assert caught(stream.tcp, Run(3), "127.0.0.1", 1, Tls(ca_file="/nowhere.pem")) == Failed(
        NOT_ALLOWED, "127.0.0.1:1", "read /nowhere.pem", "No such file or directory"
    )


def test_who_does_not_speak_tls():
    with Talker(says(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        assert caught(stream.tcp, Run(3), "127.0.0.1", server.port, Tls(insecure=True)) == Failed(
            UNREADABLE, server.of, "speak TLS", "it does not speak TLS"
        )


def test_nobody_listens(tmp_path):
    with Talker(silent) as server:
        pass
    assert caught(stream.tcp, Run(3), "127.0.0.1", server.port) == Failed(
        UNREACHABLE, server.of, "connect", "Connection refused"
    )
    path = str(tmp_path / "none")
    assert caught(stream.unix, Run(3), path) == Failed(UNREACHABLE, path, "connect", "No such file or directory")


@pytest.mark.parametrize("tls", [None, Tls(insecure=True)])
def test_a_silent_server_and_one_that_drips(certificate, tls):
    """TLS: the server is silent in the handshake, or drips something that is none."""
    for behave in (silent, drips(b"\x16\x03\x03\x40\x00")):
        with Talker(behave) as server:
            begun = time.monotonic()
            run = Run(1)

            def ask(run=run, port=server.port):
                with stream.tcp(run, "127.0.0.1", port, tls) as link:
                    link.send(b"x")
                    while True:
                        link.receive()

            found = caught(ask)
            assert time.monotonic() - begun < 1
            assert (found.kind, found.error) == (UNREACHABLE, "no answer in 0.5 s")


def test_a_server_that_takes_nothing():
    """Its window fills up: the write waits, and is bounded too."""

    def deaf(peer):
        time.sleep(1.2)

    with Talker(deaf) as server, stream.tcp(Run(1), "127.0.0.1", server.port) as link:
        begun = time.monotonic()
        found = caught(link.send, bytes(64 << 20))
        assert time.monotonic() - begun < 1
        assert found.error.startswith("no answer in 0.")


def test_a_server_that_cuts():
    with Talker(cuts()) as server, stream.tcp(Run(3), "127.0.0.1", server.port) as link:
        link.ask("something")
        link.send(b"x")
        assert link.receive() == b""
        assert link.cut() == Failed(
            UNREACHABLE, server.of, "something", "the connection was cut before the answer was whole"
        )


@pytest.mark.parametrize(
    "data, who",
    [
        (b"HTTP/1.1 400 Bad Request", "a web server"),
        (b"SSH-2.0-OpenSSH_9.2p1", "an SSH server"),
        (b"AMQP\x00\x00\x09\x01", "an AMQP broker"),
        (b"-ERR unknown command", "Redis"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "a server that wants TLS"),
        (b"Y\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB", "MySQL or MariaDB"),
        (b"well", ""),
        (b"", ""),
    ],
)
def test_who_answers(data, who):
    assert stream.looks_like(data) == who


def test_what_greets_is_heard():
    with Talker(greets(b"SSH-2.0-x\r\n")) as server, stream.tcp(Run(3), "127.0.0.1", server.port) as link:
        assert stream.looks_like(link.receive()) == "an SSH server"
