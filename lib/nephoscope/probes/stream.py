# SPDX-License-Identifier: Apache-2.0
"""A byte stream to a server, over TCP, TLS or a Unix socket, whose every wait is bounded by what is left of the run.

The time-outs of sockets and of most clients are per read: a server that drips a byte a second would outlive them.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.base.dial import CUT, context, dial, failure, patience
from nephoscope.base.dial import unix as dial_unix

# How those begin that answer where something else was expected.
KNOWN = (
    (b"HTTP/", "a web server"),
    (b"SSH-", "an SSH server"),
    (b"AMQP", "an AMQP broker"),
    (b"-ERR", "Redis"),
    (b"-NOAUTH", "Redis"),
    (b"-DENIED", "Redis"),
    (b"220 ", "a mail or FTP server"),
    (b"220-", "a mail or FTP server"),
    (b"* OK", "an IMAP server"),
    (b"+OK", "a POP server"),
    (b"\x15\x03", "a server that wants TLS"),
    (b"\x16\x03", "a server that wants TLS"),
    (b"STAT ", "memcached"),
    (b"ERROR\r\n", "memcached"),
)


TLS = ("tls", "ca_file", "insecure", "cert", "key")  # the options about it


class Tls(NamedTuple):
    """What to trust: files in PEM; with `insecure` nothing is verified, and with `named=False` not the host's name."""

    ca_file: str | None = None
    insecure: bool = False
    cert: str | None = None
    key: str | None = None
    named: bool = True

    def context(self, of: str) -> Any:
        """Return the ssl.SSLContext of it. Raises Failed not-allowed for a file that can't be used."""
        return context(of, self.ca_file, self.cert, self.key, verify=not self.insecure, named=self.named)


def tls_of(options: Any) -> Tls | None:
    """Return what the group of options "tls" says, or None: TLS is spoken with --tls and with any option about certificates."""
    tls = Tls(options.ca_file, options.insecure, options.cert, options.key)
    return tls if options.tls or any(tls[:4]) else None


def agree(options: Any, one: str, *others: str) -> None:
    """Raise Failed unreadable for an option beside which others would be ignored: nobody would see that they are."""
    given = vars(options)
    for other in others:
        if given[one] and given[other]:
            names = " and ".join("--" + name.replace("_", "-") for name in (one, other))
            raise Failed(UNREADABLE, "", "", f"{names} do not go together")


def name_of(host: str, port: int) -> str:
    """Return "host:port", an IPv6 address in its brackets."""
    return f"[{host.strip('[]')}]:{port}" if ":" in host else f"{host}:{port}"


class Stream:
    """A connection; `of` names the server in messages, `tls` is "TLSv1.3" or "".

    `send` and `receive` raise Failed: unreachable (silent, cut), not-allowed (a certificate), unreadable (no TLS).
    """

    def __init__(self, run: Run, sock: Any, of: str, tls: str = "") -> None:
        self.run, self.sock, self.of, self.tls = run, sock, of, tls
        self.tried = ""  # what is asked now, for messages
        self.begun = time.monotonic()
        self.received = 0
        self.until = float("inf")  # of time.monotonic(): an earlier end than the run's

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it; no farewell is waited for."""
        try:
            self.sock.close()
        except OSError:
            pass

    def ask(self, tried: str) -> None:
        """Say what is asked from here on."""
        self.tried, self.begun = tried, time.monotonic()
        self.run.stage(f"{tried} of {self.of}")

    def send(self, data: bytes | memoryview) -> None:
        """Send all of it."""
        view = memoryview(data)
        try:
            while view:
                patience(self.run, self.sock, self.until)
                view = view[self.sock.send(view) :]
        except OSError as error:
            raise self.failure(error) from None

    def receive(self, most: int = 65536) -> bytes:
        """Return what has come, at most so many bytes, waiting for the first; b"" when the server has closed."""
        try:
            patience(self.run, self.sock, self.until)
            data: bytes = self.sock.recv(most)
        except OSError as error:
            raise self.failure(error) from None
        self.received += len(data)
        return data

    def cut(self) -> Failed:
        """Return the Failed for a server that closed where an answer was due."""
        return Failed(UNREACHABLE, self.of, self.tried, CUT)

    def failure(self, error: OSError) -> Failed:
        """Return the Failed that stands for an error of the socket."""
        return failure(self.of, self.tried, error, time.monotonic() - self.begun)


def tcp(run: Run, host: str, port: int, tls: Tls | None = None, *, of: str = "") -> Stream:
    """Return a connection to a host. Raises Failed: unreachable, not-allowed (certificates), unreadable (no TLS there)."""
    of, host = of or name_of(host, port), host.strip("[]")
    tried, begun = "connect", time.monotonic()
    run.stage(f"connect to {of}")
    sock: Any = None
    try:
        trusted = tls.context(of) if tls else None
        sock = dial(run, host, port)
        if trusted is None:
            return Stream(run, sock, of)
        tried = "speak TLS"
        patience(run, sock)  # one for the whole handshake (CPython, Modules/_ssl.c)
        sock = trusted.wrap_socket(sock, server_hostname=host)
        return Stream(run, sock, of, str(sock.version() or ""))
    except (OSError, UnicodeError) as error:
        if sock is not None:
            sock.close()
        raise failure(of, tried, error, time.monotonic() - begun) from None
    except BaseException:
        if sock is not None:
            sock.close()
        raise


def unix(run: Run, path: str) -> Stream:
    """Return a connection to a Unix socket. Raises Failed: unreachable (nobody listens), absent, not-allowed."""
    run.stage(f"connect to {path}")
    begun = time.monotonic()
    try:
        return Stream(run, dial_unix(run, run.path(path)), path)
    except OSError as error:
        found = failure(path, "connect", error, time.monotonic() - begun)
        # A daemon that was ended takes its socket along: that is one that does not answer, not one that never was.
        kind = UNREACHABLE if found.kind == "absent" else found.kind
        cure = "the right to write to that socket" if kind == NOT_ALLOWED else ""
        raise Failed(kind, path, "connect", found.error, cure) from None


def looks_like(data: bytes) -> str:
    """Return who seems to have answered so, "" when that can't be told."""
    for begins, who in KNOWN:
        if data.startswith(begins):
            return who
    if len(data) > 5 and data[3:5] == b"\x00\x0a":  # packet 0, protocol 10: the greeting of MySQL and MariaDB
        return "MySQL or MariaDB"
    return ""
