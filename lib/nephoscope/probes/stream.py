# SPDX-License-Identifier: Apache-2.0
"""A byte stream to a server, over TCP, TLS or a Unix socket, whose every wait is bounded by what is left of the run.

The time-outs of sockets and of most clients are per read: a server that drips a byte a second would outlive them.
"""

from __future__ import annotations

import socket
import time
from typing import Any, NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run

LEAST = 0.01  # seconds: a time-out of 0 would mean "do not wait at all"

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


class Tls(NamedTuple):
    """What to trust: files in PEM; with `insecure` nothing is verified, and with `named=False` not the host's name."""

    ca_file: str | None = None
    insecure: bool = False
    cert: str | None = None
    key: str | None = None
    named: bool = True


def tls_of(options: Any) -> Tls | None:
    """Return what the group of options "tls" says, or None: TLS is spoken with --tls and with any option about certificates."""
    tls = Tls(options.ca_file, options.insecure, options.cert, options.key)
    return tls if options.tls or any(tls[:4]) else None


def name_of(host: str, port: int) -> str:
    """Return "host:port", an IPv6 address in its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
                self._patience()
                view = view[self.sock.send(view) :]
        except OSError as error:
            raise self.failure(error) from None

    def receive(self, most: int = 65536) -> bytes:
        """Return what has come, at most so many bytes, waiting for the first; b"" when the server has closed."""
        try:
            self._patience()
            data: bytes = self.sock.recv(most)
        except OSError as error:
            raise self.failure(error) from None
        self.received += len(data)
        return data

    def cut(self) -> Failed:
        """Return the Failed for a server that closed where an answer was due."""
        return Failed(UNREACHABLE, self.of, self.tried, "the connection was cut before the answer was whole")

    def failure(self, error: OSError) -> Failed:
        """Return the Failed that stands for an error of the socket."""
        return failure(self.of, self.tried, error, time.monotonic() - self.begun)

    def _patience(self) -> None:
        left = min(self.run.left(), self.until - time.monotonic())
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(max(LEAST, left))


def failure(of: str, tried: str, error: OSError, seconds: float) -> Failed:
    """Return the Failed for an error of a socket or of TLS; `seconds` is how long it was waited for."""
    if isinstance(error, TimeoutError) or type(error).__name__ == "timeout" or "timed out" in str(error):
        return Failed(UNREACHABLE, of, tried, f"no answer in {seconds:.1f} s")
    kind = type(error).__name__
    if kind.startswith("SSL"):  # by name: importing ssl would cost those who do without
        if kind == "SSLCertVerificationError":
            said = getattr(error, "verify_message", "") or "it does not verify"
            return Failed(NOT_ALLOWED, of, tried, f"certificate: {said}", "its authority as --ca-file")
        if kind in ("SSLEOFError", "SSLZeroReturnError"):
            return Failed(UNREACHABLE, of, tried, "the connection was cut before the answer was whole")
        reason = str(getattr(error, "reason", "") or "not understood")
        if reason == "WRONG_VERSION_NUMBER":
            return Failed(UNREADABLE, of, tried, "it does not speak TLS")
        if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
            return Failed(NOT_ALLOWED, of, tried, f"TLS: {reason}", "a client certificate (--cert, --key)")
        return Failed(UNREADABLE, of, tried, f"TLS: {reason}")
    return Failed.of_os_error(of, tried, error)


def tcp(run: Run, host: str, port: int, tls: Tls | None = None, *, of: str = "") -> Stream:
    """Return a connection to a host. Raises Failed: unreachable, not-allowed (certificates), unreadable (no TLS there)."""
    from nephoscope.base.http import dial

    of = of or name_of(host, port)
    tried, begun = "connect", time.monotonic()
    run.stage(f"connect to {of}")
    sock: Any = None
    try:
        context = _context(tls, of) if tls else None
        sock = dial(run, host, port)
        if context is None:
            return Stream(run, sock, of)
        tried = "speak TLS"
        sock.settimeout(max(LEAST, run.left()))  # one for the whole handshake (CPython, Modules/_ssl.c)
        sock = context.wrap_socket(sock, server_hostname=host)
        return Stream(run, sock, of, str(sock.version() or ""))
    except OSError as error:
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
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(LEAST, run.left()))
        sock.connect(run.path(path))
    except OSError as error:
        sock.close()
        found = failure(path, "connect", error, time.monotonic() - begun)
        # A daemon that was ended takes its socket along: that is one that does not answer, not one that never was.
        kind = UNREACHABLE if found.kind == "absent" else found.kind
        cure = "the right to write to that socket" if kind == NOT_ALLOWED else ""
        raise Failed(kind, path, "connect", found.error, cure) from None
    return Stream(run, sock, path)


def looks_like(data: bytes) -> str:
    """Return who seems to have answered so, "" when that can't be told."""
    for begins, who in KNOWN:
        if data.startswith(begins):
            return who
    if len(data) > 5 and data[3:5] == b"\x00\x0a":  # packet 0, protocol 10: the greeting of MySQL and MariaDB
        return "MySQL or MariaDB"
    return ""


def _context(tls: Tls, of: str) -> Any:
    import ssl

    try:
        verify = not tls.insecure
        context = ssl.create_default_context(cafile=tls.ca_file) if verify else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if not (verify and tls.named):
            context.check_hostname = False
        if not verify:
            context.verify_mode = ssl.CERT_NONE
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # SSLError is one
        named = ", ".join(name for name in (tls.ca_file, tls.cert, tls.key) if name)
        raise Failed(NOT_ALLOWED, of, f"read {named}", error.strerror or str(error)) from None
    return context
