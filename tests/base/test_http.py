# SPDX-License-Identifier: Apache-2.0
"""The HTTP module against a server that misbehaves in every way that a sick one does."""

import hashlib
import socket
import ssl
import subprocess
import threading
import time

import pytest
from nephoscope.base import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.base import http as http_


class Server:
    """A socket that answers each connection by a function of the request's first line; counts both."""

    def __init__(self, answer, context=None):
        self.answer, self.context = answer, context
        self.connections = self.requests = 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            if self.context:
                peer = self.context.wrap_socket(peer, server_side=True)
            with peer, peer.makefile("rb") as file:
                while True:
                    line = file.readline().decode("latin-1")
                    if not line:
                        return
                    while file.readline() not in (b"\r\n", b""):
                        pass
                    self.requests += 1
                    if self.answer(peer, line) is False:
                        return
        except OSError:
            pass


@pytest.fixture
def server():
    made = []

    def start(answer, context=None):
        made.append(Server(answer, context))
        return made[-1]

    yield start
    for one in made:
        one.socket.close()


def plain(body, status="200 OK", extra=""):
    return lambda peer, line: peer.sendall(
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body
    )


def session(server, seconds=8, scheme="http", **words):
    return http_.Session(Run(seconds), f"{scheme}://127.0.0.1:{server.port}", **words)


def test_a_connection_serves_many_requests(server):
    served = server(plain(b'{"a": 1}'))
    with session(served) as client:
        assert client.get("/x").status == 200
        assert client.get("/y").body == b'{"a": 1}'
        assert client.json("/z") == {"a": 1}
    assert (served.connections, served.requests) == (1, 3)


def test_of_a_header_that_comes_twice_no_value_is_lost(server):
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; path=/\r\nset-cookie: b=2\r\nX: y\r\nContent-Length: 0\r\n\r\n"
    started = server(lambda peer, line: peer.sendall(answer))
    with http_.Session(Run(5), f"http://127.0.0.1:{started.port}") as session:
        headers = session.get("/").headers
    assert (headers["set-cookie"], headers["x"]) == ("a=1; path=/\nb=2", "y")


def test_a_kept_connection_that_the_server_closed_is_opened_anew(server):
    def once(peer, line):
        plain(b"ok")(peer, line)
        return False

    served = server(once)
    with session(served) as client:
        assert [client.get("/").body for _ in range(3)] == [b"ok"] * 3
    assert served.requests == 3


def test_what_changes_something_is_never_sent_twice(server):
    def once(peer, line):
        plain(b"ok")(peer, line)
        return False

    served = server(once)
    with session(served) as client:
        client.get("/")
        time.sleep(0.05)
        with pytest.raises(Failed):
            client.request("POST", "/", b"x")
    assert served.requests == 1


def drip(head):
    def answer(peer, line):
        peer.sendall(head)
        while True:
            peer.sendall(b"x")
            time.sleep(0.1)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda peer, line: time.sleep(30),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
        drip(b"HTTP/1.1 200"),
    ],
    ids=["silent", "drips the body", "drips a header", "drips the status"],
)
def test_a_slow_server_does_not_outlive_the_deadline(server, answer):
    begun = time.monotonic()
    with session(server(answer), 1.5) as client, pytest.raises(Failed, match="no answer in") as raised:
        client.get("/")
    assert time.monotonic() - begun < 1.5
    assert raised.value.kind == UNREACHABLE


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (lambda peer, line: False, UNREACHABLE, "cut before the answer was whole"),
        (
            lambda peer, line: peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf") or False,
            UNREACHABLE,
            "cut before",
        ),
        (lambda peer, line: peer.sendall(b"\x00\xffgarbage\r\n\r\n") or False, UNREADABLE, "no HTTP"),
        (lambda peer, line: peer.sendall(b"SSH-2.0-OpenSSH_9\r\n") or False, UNREADABLE, "no HTTP"),
    ],
)
def test_a_broken_answer_is_told_for_what_it_is(server, answer, kind, said):
    with session(server(answer)) as client, pytest.raises(Failed, match=said) as raised:
        client.get("/x?token=hunter22")
    assert raised.value.kind == kind
    assert "hunter22" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("401 Unauthorized", NOT_ALLOWED),
        ("403 Forbidden", NOT_ALLOWED),
        ("404 Not Found", UNREADABLE),
        ("500 Oops", UNREACHABLE),
        ("503 Busy", UNREACHABLE),
        ("302 Found", UNREADABLE),
    ],
)
def test_json_of_a_bad_status(server, status, kind):
    with session(server(plain(b"{}", status))) as client, pytest.raises(Failed, match=f"HTTP {status[:3]}") as raised:
        client.json("/")
    assert raised.value.kind == kind
    assert client.get("/").status == int(status[:3])


def test_html_is_not_json(server):
    with session(server(plain(b"<html>log in</html>"))) as client, pytest.raises(Failed, match="not JSON") as raised:
        client.json("/")
    assert raised.value.kind == UNREADABLE


def test_too_much_is_cut_off(server, monkeypatch):
    monkeypatch.setattr(http_, "LIMIT", 1 << 20)

    def flood(peer, line):
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(b"x" * 65536)

    with session(server(flood)) as client, pytest.raises(Failed, match="more than 1 MiB"):
        client.get("/")


@pytest.mark.parametrize(
    "base, of", [("http://[::1]:9", "[::1]:9"), ("http://127.0.0.1:9", "127.0.0.1:9"), ("http://[::1]", "::1")]
)
def test_an_address_is_told_from_its_port(base, of):
    assert http_.Session(Run(1), base).of == of


def test_refused_and_unknown_names_are_unreachable(server):
    served = server(plain(b""))
    served.socket.shutdown(socket.SHUT_RDWR)
    served.socket.close()
    for base in (f"http://127.0.0.1:{served.port}", "http://no-such-host.invalid"):
        with http_.Session(Run(), base) as client, pytest.raises(Failed) as raised:
            client.get("/")
        assert raised.value.kind == UNREACHABLE


def test_nothing_is_begun_without_time(server):
    served = server(plain(b""))
    with session(served, 0) as client, pytest.raises(Failed) as raised:
        client.get("/")
    assert (raised.value.kind, served.requests) == (LATE, 0)


def test_redirects_only_when_asked_and_never_to_another_host(server):
    def answer(peer, line):
        if " /a " in line:
            plain(b"", "302 Found", "Location: /b\r\n")(peer, line)
        elif " /away " in line:
            plain(b"", "302 Found", "Location: http://elsewhere.invalid/\r\n")(peer, line)
        else:
            plain(b"there")(peer, line)

    served = server(answer)
    assert session(served).get("/a").status == 302
    assert session(served, redirects=1).get("/a").body == b"there"
    with pytest.raises(Failed, match=r"another host, elsewhere\.invalid"):
        session(served, redirects=1).get("/away")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_tls_is_strict_unless_told(server, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    served = server(plain(b"ok"), context)
    with pytest.raises(Failed, match=r"certificate: self.signed") as raised:
        session(served, scheme="https").get("/")
    assert raised.value.kind == NOT_ALLOWED
    assert "--ca-file" in raised.value.cure
    pem = (certificate / "cert.pem").read_text()
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    for words in ({"ca_file": str(certificate / "cert.pem")}, {"insecure": True}, {"fingerprint": pin}):
        assert session(served, scheme="https", **words).get("/").body == b"ok"
    with pytest.raises(Failed, match="its fingerprint is") as raised:
        session(served, scheme="https", fingerprint="00" * 32).get("/")
    assert raised.value.kind == NOT_ALLOWED
    with pytest.raises(Failed, match="read /nonexistent") as raised:
        session(served, scheme="https", ca_file="/nonexistent").get("/")
    assert raised.value.kind == NOT_ALLOWED


def test_authorities_that_are_not_asked_are_not_read(monkeypatch):
    """Reading the system's costs six starts of the interpreter: of no use to who trusts one certificate, or any."""
    read = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self, purpose=None: read.append(purpose))
    for words in ({"insecure": True}, {"fingerprint": "00" * 32}, {}):
        with pytest.raises(Failed, match="refused"):
            http_.Session(Run(5), "https://127.0.0.1:1", **words).get("/")
    assert len(read) == 1


def test_tls_to_a_plain_server_is_not_understood(server):
    with pytest.raises(Failed) as raised:
        session(server(plain(b"ok")), 3, scheme="https").get("/")
    assert raised.value.kind in (UNREADABLE, UNREACHABLE)


def test_a_base_that_is_no_address():
    with pytest.raises(Failed, match="is no http:// or https://"):
        http_.Session(Run(), "ftp://x")


@pytest.mark.parametrize("base", ["http://h:99999", "http://h:x", "http://[", "http://", "nonsense"])
def test_an_odd_address_is_told_without_its_password(base):
    with pytest.raises(Failed, match="is no http://") as raised:
        http_.Session(Run(), base.replace("//", "//user:hunter22@"))
    assert "hunter22" not in repr(raised.value)


def test_no_secret_of_an_address_a_query_or_a_header_is_told(server):
    served = server(plain(b"{}", "500 Oops"))
    with http_.Session(Run(), f"http://user:hunter22@127.0.0.1:{served.port}") as client:
        assert client.of == f"127.0.0.1:{served.port}"
        with pytest.raises(Failed) as raised:
            client.json("/a?apikey=hunter22")
        assert "hunter22" not in repr(raised.value)
        with pytest.raises(Failed, match="characters that HTTP does not allow") as raised:
            client.get("/", {"X-Auth-Token": "hunter22\n"})
        assert "hunter22" not in repr(raised.value)
        with pytest.raises(Failed, match="characters that HTTP does not allow"):
            client.get("/é")


def test_an_odd_location_matters_only_to_who_follows(server):
    assert session(server(plain(b"", "200 OK", "Location: http://[\r\n"))).get("/").status == 200
    assert session(server(plain(b"", "302 Found")), redirects=1).get("/").status == 302
    with pytest.raises(Failed, match="another host"):
        session(server(plain(b"", "302 Found", "Location: http://[\r\n")), redirects=1).get("/")


def test_a_silent_resolver_and_silent_addresses_share_one_deadline(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: time.sleep(30))
    begun = time.monotonic()
    with pytest.raises(Failed, match="no answer in") as raised:
        http_.Session(Run(1), "http://name.invalid").get("/")
    assert time.monotonic() - begun < 1
    assert raised.value.kind == UNREACHABLE
    # A listener whose queue is full drops what comes: real silence on loopback.
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    fillers = [socket.socket() for _ in range(3)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **more: [address] * 3)
    begun = time.monotonic()
    with pytest.raises(Failed) as raised:
        http_.Session(Run(2), "http://name.invalid").get("/")
    assert time.monotonic() - begun < 1.5
    assert raised.value.kind == UNREACHABLE
    for one in (*fillers, full):
        one.close()


def test_tls_that_is_cut_is_unreachable(server):
    with pytest.raises(Failed) as raised:
        session(server(lambda peer, line: False), 3, scheme="https").get("/")
    assert raised.value.kind in (UNREACHABLE, UNREADABLE)
    listener = socket.create_server(("127.0.0.1", 0))

    def cut():
        peer, _ = listener.accept()
        peer.recv(5)
        peer.close()

    threading.Thread(target=cut, daemon=True).start()
    with pytest.raises(Failed) as raised:
        http_.Session(Run(3), f"https://127.0.0.1:{listener.getsockname()[1]}").get("/")
    assert raised.value.kind == UNREACHABLE
    listener.close()


def test_the_target_of_the_options(server):
    """The group "http": plain HTTP unless TLS, or anything about certificates, was asked for."""
    from nephoscope.plugin import Check, Finding

    check = Check(
        lambda add: None, lambda options, run: None, lambda facts, options: [Finding(0, "", "")], uses=("http",)
    )

    def base(*argv, **words):
        return http_.Session.to(Run(3), check.parse(*argv), port=8773, **words).base

    assert base() == "http://127.0.0.1:8773"
    assert base(host="cc.example") == "http://cc.example:8773"
    assert base("-H", "clc.example", "-p", "443", host="cc.example") == "http://clc.example:443"
    assert base("-H", "::1", "--tls") == "https://[::1]:8773"
    for words in (["--insecure"], ["--ca-file", "x"], ["--fingerprint", "ab"], ["--cert", "x", "--key", "y"]):
        assert base("-H", "h.example", *words) == "https://h.example:8773"
    quiet = server(plain(b"ok"))
    assert http_.Session.to(Run(3), check.parse("-p", str(quiet.port)), port=1).get("/").body == b"ok"


def test_a_caller_may_want_less_than_the_cap(server):
    check_bytes = (1 << 20) + 1
    big = server(plain(b"x" * check_bytes))
    with (
        http_.Session(Run(3), f"http://127.0.0.1:{big.port}", limit=1 << 20) as client,
        pytest.raises(Failed, match="more than 1 MiB"),
    ):
        client.get("/")
    assert len(session(big).get("/").body) == check_bytes
