# SPDX-License-Identifier: Apache-2.0
"""A server that does to each client what a function says, on a free port of loopback or a Unix socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time


class Talker:
    """Listens until it is left; `behave(peer)` has the client's socket, which is closed when it returns.

    clients  how many came
    gone     set when a client has gone, or was sent away
    """

    def __init__(self, behave, *, path="", context=None):
        self.behave, self.context, self.path, self.clients = behave, context, path, 0
        self.gone = threading.Event()
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(path)
            self.socket.listen(8)
        else:
            self.socket = socket.create_server(("127.0.0.1", 0))
            self.port = self.socket.getsockname()[1]
            self.of = f"127.0.0.1:{self.port}"
            self.argv = ["-H", "127.0.0.1", "-p", str(self.port)]
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(10)
        if self.path:
            os.unlink(self.path)

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            self.clients += 1
            peer.settimeout(20)
            with contextlib.suppress(OSError):
                if self.context:
                    peer = self.context.wrap_socket(peer, server_side=True)
                self.behave(peer)
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
            self.gone.set()


def says(data):
    """Return a behaviour: hear something, say this, and wait until the client goes."""

    def behave(peer):
        peer.recv(65536)
        peer.sendall(data)
        while peer.recv(65536):
            pass

    return behave


def greets(data):
    """Return a behaviour: say this before anything was asked, and wait until the client goes."""

    def behave(peer):
        peer.sendall(data)
        while peer.recv(65536):
            pass

    return behave


def silent(peer):
    """Take whatever comes, and say nothing until the client goes."""
    while peer.recv(65536):
        pass


def cuts(data=b""):
    """Return a behaviour: hear something, say this, and close."""

    def behave(peer):
        peer.recv(65536)
        peer.sendall(data)

    return behave


def drips(data, seconds=0.1):
    """Return a behaviour: hear something, and say this a byte at a time, for ever."""

    def behave(peer):
        peer.recv(65536)
        at = 0
        while True:
            peer.sendall(data[at % len(data) :][:1])
            at += 1
            time.sleep(seconds)

    return behave
