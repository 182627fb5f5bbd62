# SPDX-License-Identifier: Apache-2.0
"""What the simulated arrays share: a threaded HTTP(S) server that counts, keeps sessions, and fails on demand.

`faults` maps a path (without its query) to what goes wrong there: an HTTP status, "hang", "drip", "half" (cut in the middle),
"html", "junk" (no JSON), "empty" (a JSON list where an object is due), "endless" (a next page that is this one), or a function
that changes the answer. Imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


class Array:
    """`with Array() as array:` serves on `array.port`.

    log       requests taken: "METHOD path?query"
    sessions  tokens that live
    faults    path -> what goes wrong there
    """

    def __init__(self, certificate: str = "") -> None:
        self.faults: dict[str, Any] = {}
        self.log: list[str] = []
        self.sessions: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self.end = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def asked(self) -> list[str]:
        """The paths that were asked, without their queries."""
        return [line.partition("?")[0] for line in self.log]

    def answer(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        """Return status, content (JSON; str: as it is) and headers. Each family has its own."""
        raise NotImplementedError

    def _handler(array) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, ssl.SSLError, socket.timeout):
                    super().handle()

            def send(self, status: int, data: bytes, headers: dict[str, str], kind: str = "application/json") -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if status != 204:
                    self.wfile.write(data)

            def serve(self) -> None:
                array.log.append(f"{self.command} {self.path}")
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length) if length else b""
                parts = urlsplit(self.path)
                fault = array.faults.get(parts.path)
                if isinstance(fault, int):
                    self.send(fault, b'{"error": {"message": "it failed", "code": "1"}}', {})
                elif fault == "hang":
                    array.end.wait(60)
                    self.close_connection = True
                elif fault == "html":
                    self.send(200, b"<html><title>Log in</title></html>", {}, "text/html")
                elif fault == "junk":
                    self.send(200, b"{'single': quotes}", {})
                elif fault == "empty":
                    self.send(200, b"[]", {})
                elif fault in ("half", "drip"):
                    self.send_response(200)
                    self.send_header("Content-Length", "4000")
                    self.end_headers()
                    self.wfile.write(b'{"records": [')
                    while fault == "drip" and not array.end.wait(0.1):
                        self.wfile.write(b" ")
                    self.close_connection = True
                else:
                    body = json.loads(raw) if raw else None
                    status, content, headers = array.answer(
                        self.command, parts.path, dict(parse_qsl(parts.query)), self.headers, body
                    )
                    if callable(fault):
                        content = fault(content)
                    data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                    self.send(status, b"" if content is None else data, headers)

            do_GET = do_POST = do_DELETE = serve

        return Handler
