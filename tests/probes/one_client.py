# SPDX-License-Identifier: Apache-2.0
"""A server that serves one client at a time, and notes how each behaved: the httpd of a node controller (MaxClients 1).

It speaks plain HTTP and, once a certificate is given, TLS on the same port: the first byte tells, as in Eucalyptus' own
com.eucalyptus.ws.Handlers. A failure is a word: "hang", "drip", "half", "cut", "garbage", "flood", or an HTTP status.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time


class OneClient:
    """Listens on a free port of 127.0.0.1 until `close`.

    body      what a GET of `path` gets
    kept      seconds for which it waits for another request of a client that did not say `Connection: close`
    requests  the requests seen, whole, as text
    lasted    seconds from accepting a client to the moment it was gone
    """

    def __init__(self, path, body, fails=None, context=None, kept=30.0):
        self.path, self.body, self.fails, self.context, self.kept = path, body, fails, context, kept
        self.requests, self.lasted, self.tls = [], [], []
        self.closing = threading.Event()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.argv = ["-H", "127.0.0.1", "-p", str(self.port)]
        self.of = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def close(self):
        self.closing.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            begun = time.monotonic()
            with contextlib.suppress(OSError), peer:
                self.one(peer)
            self.lasted.append(time.monotonic() - begun)

    def one(self, peer):
        peer.settimeout(self.kept)
        secure = peer.recv(1, socket.MSG_PEEK) == b"\x16"  # a TLS record of a handshake
        self.tls.append(secure)
        if secure and self.context:
            peer = self.context.wrap_socket(peer, server_side=True)
        while True:
            request = self.read(peer)
            if not request:
                return
            self.requests.append(request)
            if not self.answer(peer, request) or "connection: close" in request.lower():
                return

    def read(self, peer):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            part = peer.recv(65536)
            if not part:
                return ""
            data += part
        return data.decode("latin-1")

    def answer(self, peer, request):
        """Answer one request; False when the connection is of no use any more."""
        target = request.split(" ")[1]
        status = 200 if target == self.path else 404
        status = self.fails if isinstance(self.fails, int) else status
        body = self.body.encode() if status == 200 else b""
        head = f"HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
        head += "Location: https://login.example/in?token=secret\r\n" if status == 307 else ""
        head += f"Connection: {'close' if 'connection: close' in request.lower() else 'keep-alive'}\r\n\r\n"
        whole = head.encode() + body
        if self.fails == "hang":
            self.closing.wait(30)
        elif self.fails == "drip":
            for at in range(len(whole)):
                peer.sendall(whole[at : at + 1])
                if self.closing.wait(0.2):
                    return False
        elif self.fails == "half":
            peer.sendall(whole[: len(head) + len(body) // 2])
            return False
        elif self.fails == "cut":
            return False
        elif self.fails == "garbage":
            peer.sendall(bytes(range(256)) * 8)
            return False
        elif self.fails == "flood":
            peer.sendall(b"HTTP/1.1 200 X\r\n\r\n" + b"x" * (3 << 20))
            return False
        else:
            peer.sendall(whole)
            return True
        return False


def certificate(folder):
    """Make a certificate for 127.0.0.1; return its file and the server's context, or skip without openssl."""
    import shutil
    import subprocess

    import pytest

    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context
