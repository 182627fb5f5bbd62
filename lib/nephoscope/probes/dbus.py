# SPDX-License-Identifier: Apache-2.0
"""Whether a message bus is alive: a daemon that accepts a connection may still be hung, so it must answer a line."""

from __future__ import annotations

import os

from nephoscope.base import LATE, UNREACHABLE, UNREADABLE, Failed, Run

SYSTEM = "/run/dbus/system_bus_socket"  # D-Bus Specification, "Well-known Message Bus Instances", as systemd places it
LEAST = 0.1  # seconds: in less, a healthy daemon on a busy host may be taken for a silent one


def greet(run: Run, path: str = SYSTEM, *, of: str = "bus", seconds: float = 2.0) -> float:
    """Begin the authentication of the D-Bus protocol and return the seconds until the daemon answered.

    Source: D-Bus Specification, "Authentication Protocol": a NUL byte, then `AUTH EXTERNAL <uid in hex>`; the answer is OK or
    REJECTED, and either comes from a daemon that is alive. Nothing more is asked.
    Raises Failed: unreachable (no socket, refused, silent), not-allowed, unreadable (something else answers), late (too little
    time is left to tell whether it is silent).
    """
    import socket
    import time

    tried = f"greet {path}"
    run.stage(tried)
    began = time.monotonic()
    share = min(seconds, run.left())
    if share < LEAST:
        raise Failed(LATE, of, tried, "not asked: the time was up")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(share)
            link.connect(run.path(path))
            link.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
            answer = link.recv(256)
    except BlockingIOError:  # connect of a local socket, man unix: the queue of those who wait is full
        raise Failed(UNREACHABLE, of, tried, "takes no more callers: its queue is full") from None
    except FileNotFoundError:
        # The host was said to have a bus: that its socket is gone means that it is down.
        raise Failed(UNREACHABLE, of, tried, "no such socket") from None
    except OSError as error:
        if isinstance(error, TimeoutError) or type(error).__name__ == "timeout":
            raise Failed(UNREACHABLE, of, tried, f"no answer in {share:.3g} s") from None
        raise Failed.of_os_error(of, tried, error) from None
    if not answer:
        raise Failed(UNREACHABLE, of, tried, "closed the connection")
    if not answer.startswith((b"OK", b"REJECTED")):
        raise Failed(UNREADABLE, of, tried, f"not a message bus: {answer[:40]!r}")
    return time.monotonic() - began
