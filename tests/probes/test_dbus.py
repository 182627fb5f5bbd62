# SPDX-License-Identifier: Apache-2.0
"""The greeting of a message bus, against sockets that behave in every way; a real bus stands in tests/lab/test_libvirt.py."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading

import pytest
from nephoscope.base import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import dbus


@contextlib.contextmanager
def bus(answer):
    """Serve one caller: bytes are sent once a line has come, None is silence."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as server:
        path = f"{folder}/bus"
        server.bind(path)
        server.listen(1)
        heard = []

        def serve():
            link, _ = server.accept()
            with link:
                heard.append(link.recv(256))
                if answer is None:
                    link.recv(1)  # until the caller gives up
                else:
                    link.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path, heard
        thread.join(5)


@pytest.mark.parametrize("answer", [b"OK 1234deadbeef\r\n", b"REJECTED EXTERNAL\r\n"])
def test_alive(answer):
    with bus(answer) as (path, heard):
        assert 0 <= dbus.greet(Run(), path) < 2
    assert heard == [b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n"]


@pytest.mark.parametrize("answer, kind", [(b"", UNREACHABLE), (b"220 mail ESMTP\r\n", UNREADABLE), (None, UNREACHABLE)])
def test_not_alive(answer, kind):
    with bus(answer) as (path, _), pytest.raises(Failed) as caught:
        dbus.greet(Run(), path, seconds=0.2)
    assert (caught.value.kind, caught.value.of) == (kind, "bus")


def test_too_little_time_to_call_it_silent():
    with bus(b"OK 1234deadbeef\r\n") as (path, heard):
        with pytest.raises(Failed) as caught:
            dbus.greet(Run(0.1), path)  # half of it is kept for the answer
        assert (caught.value.kind, caught.value.of, heard) == (LATE, "bus", [])
        dbus.greet(Run(), path)


def test_no_socket_and_nobody_behind_it(tmp_path):
    with pytest.raises(Failed) as caught:
        dbus.greet(Run(), str(tmp_path / "none"))
    assert caught.value.kind == UNREACHABLE
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "dead"))
    with pytest.raises(Failed) as caught:
        dbus.greet(Run(), str(tmp_path / "dead"))
    assert (caught.value.kind, caught.value.error) == (UNREACHABLE, "Connection refused")


def test_a_full_queue(tmp_path):
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as server, contextlib.ExitStack() as stack:
        server.bind(path)
        server.listen(0)
        for _ in range(2):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(path)
        with pytest.raises(Failed) as caught:
            dbus.greet(Run(), path, seconds=0.2)
    assert caught.value.kind == UNREACHABLE


def test_not_allowed(tmp_path):
    path = str(tmp_path / "closed")
    root = os.geteuid() == 0  # it may connect to everything
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)
        os.chmod(path, 0)
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(Failed) as caught:
                dbus.greet(Run(), path)
        finally:
            if root:
                os.seteuid(0)
    assert caught.value.kind == NOT_ALLOWED
