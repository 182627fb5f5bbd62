# SPDX-License-Identifier: Apache-2.0
"""Plain HTTP on hot paths: http.client under one absolute deadline, with a size cap, strict TLS and no redirects.

requests costs thirteen bare interpreter starts; it serves where cookies and log-in flows are needed, not here.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urljoin, urlsplit

from nephoscope.base.dial import AUTHORITY, CUT, context, dial, failure, patience, resolve
from nephoscope.base.failed import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed
from nephoscope.base.run import Run

if TYPE_CHECKING:
    import ssl

__all__ = ["LIMIT", "Response", "Session", "base_of", "dial", "resolve", "trust"]

LIMIT = 64 << 20  # bytes of one answer
AUTHORITY_OR_PIN = f"{AUTHORITY}, or the certificate's --fingerprint"


class _Reader(io.RawIOBase):
    """Gives each single wait what is left of the deadline: a server that drips a byte a second must not outlive it."""

    def __init__(self, sock: Any, run: Run) -> None:
        super().__init__()
        self._sock, self._run = sock, run
        self._raw = sock.makefile("rb", buffering=0)  # holds the socket open when http.client lets go of it

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        patience(self._run, self._sock)
        return cast("int | None", self._raw.readinto(buffer))

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """What http.client's response wants of a socket: a file to read."""

    def __init__(self, sock: Any, run: Run) -> None:
        self._sock, self._run = sock, run

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._run), 65536)


def trust(options: Any) -> dict[str, Any]:
    """Return what the options about certificates say, as the words of Session."""
    return {name: getattr(options, name) for name in ("ca_file", "fingerprint", "insecure", "cert", "key")}


def base_of(options: Any, host: str, port: int) -> str:
    """Return "http://host:port", or https where --tls or an option about certificates was given; IPv6 in its brackets."""
    tls = options.tls or any(trust(options).values())
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http{'s' if tls else ''}://{name}:{port}"


class Response(NamedTuple):
    """An answer: status, headers by lower-case name (a repeated one: its values, a line each), the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def _together(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; of a repeated one (cookies) no value is lost, and none has a line end."""
    made: dict[str, str] = {}
    for name, value in headers:
        name = name.lower()
        made[name] = f"{made[name]}\n{value}" if name in made else value
    return made


class Session:
    """One connection to one server, kept alive between requests, closed by `close` or by leaving `with`.

    base         "http://host:port" or "https://…"
    of           the object's name in messages; the base unless said
    ca_file      PEM file of the authorities to trust instead of the system's
    fingerprint  SHA-256 digest of the certificate, in hex with or without colons: trusted instead of an authority
    insecure     do not verify at all
    cert, key    PEM files of a client certificate
    redirects    how many redirects to follow, on the same host only: 0, unless asked for
    limit        bytes of one answer, at most: 64 MiB unless said
    """

    def __init__(
        self,
        run: Run,
        base: str,
        *,
        of: str = "",
        ca_file: str | None = None,
        fingerprint: str | None = None,
        insecure: bool = False,
        cert: str | None = None,
        key: str | None = None,
        redirects: int = 0,
        limit: int | None = None,
    ) -> None:
        try:
            parts = urlsplit(base)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in ("http", "https"):
            # Without the address itself: it may hold a password.
            raise Failed(UNREADABLE, of, "", "the address is no http:// or https:// of a host and a port")
        name = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if port else host
        self.run, self.base, self.of, self.redirects = run, base, of or name, redirects
        self.limit = limit or LIMIT
        self._tls = parts.scheme == "https"
        self._host, self._port = host, port or (443 if self._tls else 80)
        self._pin = (fingerprint or "").replace(":", "").lower()
        self._verify = not (insecure or self._pin)
        self._files = (ca_file, cert, key)
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def to(
        cls, run: Run, options: Any, *, port: int, host: str = "127.0.0.1", of: str = "", limit: int | None = None
    ) -> Session:
        """Open to the target that the options of the group "http" name; host and port are what holds without -H and -p.

        TLS with --tls, or with any option about certificates; else plain HTTP: nothing is guessed.
        """
        base = base_of(options, options.hostname or host, options.port or port)
        return cls(run, base, of=of, limit=limit, **trust(options))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """GET a path. Raises Failed as `request` does."""
        return self.request("GET", path, headers=headers)

    def json(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """GET a path and return its JSON.

        Raises Failed: as `request` does; not-allowed for 401 and 403; unreachable for 5xx; unreadable for any other
        status but 200 and for what is no JSON.
        """
        response = self.get(path, {"Accept": "application/json", **(headers or {})})
        tried = f"GET {path.partition('?')[0]}"
        if response.status in (401, 403):
            raise Failed(NOT_ALLOWED, self.of, tried, f"HTTP {response.status}")
        if response.status >= 500:
            raise Failed(UNREACHABLE, self.of, tried, f"HTTP {response.status}")
        if response.status != 200:
            raise Failed(UNREADABLE, self.of, tried, f"HTTP {response.status}")
        try:
            return json.loads(response.body)
        except (ValueError, RecursionError):
            raise Failed(UNREADABLE, self.of, tried, f"not JSON: {response.body[:40]!r}") from None

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make one request and return the whole answer, whatever its status.

        Raises Failed: unreachable (refused, no name, cut, silent), not-allowed (the certificate does not verify),
        unreadable (no HTTP, larger than the limit), late (no time was left to begin).
        """
        tried = f"{method} {path.partition('?')[0]}"
        for _ in range(self.redirects + 1):
            response = self._one(method, path, body, headers or {})
            where = response.headers.get("location", "")
            if response.status not in (301, 302, 303, 307, 308) or not self.redirects or not where:
                return response
            try:
                target = urlsplit(urljoin(self.base, where))
                there = target.hostname
            except ValueError:
                there = None
            if there != self._host:
                raise Failed(UNREADABLE, self.of, tried, f"redirected to another host, {there}")
            path = target.path + (f"?{target.query}" if target.query else "")
        raise Failed(UNREADABLE, self.of, tried, f"more than {self.redirects} redirects")

    def _one(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Response:
        tried = f"{method} {path.partition('?')[0]}"
        self.run.stage(f"{tried} of {self.of}")
        if self.run.left() <= 0:
            raise Failed(LATE, self.of, tried, "not begun: the time was up")
        started = time.monotonic()
        fresh = self._connection is None
        try:
            if self._connection is None:
                self._connection = self._connect()
            self._patience()
            try:
                self._connection.request(method, path, body, {"Connection": "keep-alive", **headers})
                response = self._connection.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # A kept connection may have been closed by the server meanwhile; only what changes nothing is asked again.
                self.close()
                if fresh or method not in ("GET", "HEAD"):
                    raise
                self._connection = self._connect()
                self._patience()
                self._connection.request(method, path, body, dict(headers))
                response = self._connection.getresponse()
            data = self._read(response, tried)
        except (http.client.IncompleteRead, http.client.RemoteDisconnected):
            self.close()
            raise Failed(UNREACHABLE, self.of, tried, CUT) from None
        except OSError as error:  # that of a certificate is a ValueError, too
            self.close()
            raise failure(self.of, tried, error, time.monotonic() - started, AUTHORITY_OR_PIN) from None
        except (ValueError, UnicodeError):
            self.close()
            # Without the text itself: it may be a token that ends in a newline.
            text = "the path or a header has characters that HTTP does not allow"
            raise Failed(UNREADABLE, self.of, tried, text) from None
        except http.client.HTTPException as error:
            self.close()
            raise Failed(UNREADABLE, self.of, tried, f"no HTTP: {type(error).__name__}") from None
        except BaseException:  # a signal: the answer is still to come, and the log-out needs a connection without one
            self.close()
            raise
        if response.will_close:
            self.close()
        return Response(response.status, _together(response.getheaders()), data)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls:
            trusted = context(self.of, *self._files, verify=self._verify)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, context=trusted
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port)
        sock = dial(self.run, self._host, self._port)
        try:
            if self._tls:
                patience(self.run, sock)
                secure = trusted.wrap_socket(sock, server_hostname=self._host)
                sock = secure
                self._check_pin(secure)
        except BaseException:
            sock.close()
            raise
        connection.sock = sock
        wrap: Any = lambda peer, **words: http.client.HTTPResponse(cast("Any", _Socket(peer, self.run)), **words)  # noqa: E731
        connection.response_class = wrap
        return connection

    def _check_pin(self, secure: ssl.SSLSocket) -> None:
        if self._pin:
            import hashlib

            digest = hashlib.sha256(secure.getpeercert(True) or b"").hexdigest()
            if digest != self._pin:
                error = f"its fingerprint is {digest}, not the one given"
                raise Failed(NOT_ALLOWED, self.of, "verify the certificate", error)

    def _patience(self) -> None:
        """Give the socket what is left of the deadline, for its next single wait."""
        if self._connection is not None and isinstance(self._connection.sock, socket.socket):
            patience(self.run, self._connection.sock)

    def _read(self, response: http.client.HTTPResponse, tried: str) -> bytes:
        """Read the body, within its cap."""
        parts = []
        size = 0
        while True:
            part = response.read1(65536)
            if not part:
                break
            parts.append(part)
            size += len(part)
            if size > self.limit:
                self.close()
                raise Failed(UNREADABLE, self.of, tried, f"more than {self.limit >> 20} MiB")
        if response.length:  # read1 does not complain about a body that ends too early
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # it closes itself after read(), not after read1(), and would not let the next request through
        return b"".join(parts)
