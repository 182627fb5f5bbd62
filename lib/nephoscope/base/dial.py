# SPDX-License-Identifier: Apache-2.0
"""A TCP connection within the run's deadline, the resolver's silence included; apart from http.client, which costs a start."""

from __future__ import annotations

import _thread
import socket
from typing import Any

from nephoscope.base.run import Run


def dial(run: Run, host: str, port: int) -> socket.socket:
    """Return a TCP connection; every address of the host is tried, all together within the time that is left.

    Raises OSError: socket.gaierror for a name that is not known, TimeoutError for silence, of a resolver too.
    """
    addresses = resolve(run, host, port)
    last: OSError = TimeoutError("timed out")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        left = run.left()
        if left <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(left / (len(addresses) - number))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            sock.close()
            last = error
    raise last


def resolve(run: Run, host: str, port: int) -> list[Any]:
    """Return socket.getaddrinfo's answer, or raise TimeoutError: the resolver itself knows no deadline of ours."""
    answer: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.append(error)
        done.release()

    _thread.start_new_thread(ask, ())
    if not done.acquire(timeout=max(0.01, run.left())):
        raise TimeoutError("timed out")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return list(answer[0])
