# SPDX-License-Identifier: Apache-2.0
"""Which ports something listens on, from /proc/net: no right needed, and nothing is connected to.

Format: Documentation/networking/proc_net_tcp.rst of Linux. The sockets are those of the network name space that we stand in.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from nephoscope.base import ABSENT, UNREADABLE, Failed, Run, files

# Listening TCP sockets are printed before all others (tcp_seq_start in net/ipv4/tcp_ipv4.c): the beginning is enough, or a
# web server with a hundred thousand connections would cost a second.
TCP_MOST = 1 << 20
UDP_MOST = 8 << 20
LISTEN = b"0A"  # TCP_LISTEN of include/net/tcp_states.h
BOUND = b"07"  # TCP_CLOSE: a UDP socket that is bound and connected to nobody


def tcp(run: Run) -> frozenset[tuple[str, int]]:
    """Return (address, port) of every listening TCP socket; an IPv4 address that IPv6 wraps is shown as IPv4.

    Raises Failed: absent or not-allowed (no /proc/net/tcp), unreadable.
    """
    return _sockets(run, "tcp", LISTEN, TCP_MOST)


def udp(run: Run) -> frozenset[tuple[str, int]]:
    """Return (address, port) of every UDP socket that is bound and not connected. Raises Failed as `tcp` does."""
    return _sockets(run, "udp", BOUND, UDP_MOST)


def ports(sockets: Iterable[tuple[str, int]], *, loopback: bool = True) -> frozenset[int]:
    """Return the ports alone; with `loopback=False` only those that other hosts can reach."""
    return frozenset(
        port for address, port in sockets if loopback or not (address.startswith("127.") or address == "::1")
    )


def _sockets(run: Run, kind: str, state: bytes, most: int) -> frozenset[tuple[str, int]]:
    found = set()
    for name in (kind, f"{kind}6"):
        path = f"/proc/net/{name}"
        run.stage(f"read {path}")
        try:
            lines = _lines(run, path, most)
        except Failed as failed:
            if name != kind and failed.kind == ABSENT:
                continue  # IPv6 is switched off
            raise
        for line in lines:
            fields = line.split()
            try:
                if fields[3] == state:
                    address, _, port = fields[1].partition(b":")
                    found.add((address_of(address), int(port, 16)))
            except (IndexError, ValueError):
                raise Failed(UNREADABLE, path, f"read {path}", f"not understood: {line[:60]!r}") from None
    return frozenset(found)


def _lines(run: Run, path: str, most: int) -> list[bytes]:
    try:
        descriptor = os.open(run.path(path), os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = files.upto(descriptor, most)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Failed.of_os_error(path, f"read {path}", error) from None
    head, _, rest = content.partition(b"\n")
    if b"local_address" not in head:
        raise Failed(UNREADABLE, path, f"read {path}", f"its first line is not understood: {head[:60]!r}")
    lines = rest.split(b"\n")
    return lines[:-1]  # the last one is empty, or cut by the bound


def address_of(text: bytes) -> str:
    """Return an address that the kernel printed as 32-bit words in its own byte order. Raises ValueError."""
    if len(text) not in (8, 32):
        raise ValueError(text)
    raw = b"".join(int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(text), 8))
    if len(raw) == 16 and raw[:12] == b"\0" * 10 + b"\xff\xff":
        raw = raw[12:]
    if len(raw) == 4:
        return ".".join(map(str, raw))
    import socket

    return socket.inet_ntop(socket.AF_INET6, raw)
