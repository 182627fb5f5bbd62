# SPDX-License-Identifier: Apache-2.0
"""An SNMP agent over UDP: version 2c whole (get, get-next, get-bulk), of version 3 the discovery, the reports
and, for one password, answers signed by SHA; fails on demand.

Written from RFC 3416 (operations), RFC 3417 section 8 (encoding), RFC 3412 and 3414 (version 3). net-snmp's snmpget,
snmpwalk and snmpbulkwalk 5.9.3 read it. Real agents are in tests/lab/test_snmp.py.
"""

from __future__ import annotations

import bisect
import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

SYSTEM = "1.3.6.1.2.1.1"
UNKNOWN_ENGINE, NOT_IN_TIME = "1.3.6.1.6.3.15.1.1.4", "1.3.6.1.6.3.15.1.1.2"


class Typed(tuple):
    """A value with a tag of its own: Typed((0x41, 7)) is a Counter32."""


def counter32(value: int) -> Typed:
    return Typed((0x41, value))


def gauge(value: int) -> Typed:
    return Typed((0x42, value))


def ticks(value: int) -> Typed:
    return Typed((0x43, value))


def counter64(value: int) -> Typed:
    return Typed((0x46, value))


def oid(value: str) -> Typed:
    return Typed((0x06, numbers(value)))


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.strip(".").split("."))


def tlv(tag: int, content: bytes) -> bytes:
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    if len(content) < 65536:
        return bytes([tag, 0x82, len(content) >> 8, len(content) & 255]) + content
    return bytes([tag, 0x83]) + len(content).to_bytes(3, "big") + content


def integer(value: int, tag: int = 2) -> bytes:
    length = 1
    while not -(1 << (8 * length - 1)) <= value < 1 << (8 * length - 1):
        length += 1
    return tlv(tag, value.to_bytes(length, "big", signed=True))


def name(parts: tuple[int, ...]) -> bytes:
    out = b""
    for part in (parts[0] * 40 + parts[1], *parts[2:]):
        piece = bytes([part % 128])
        while part >= 128:
            part //= 128
            piece = bytes([128 + part % 128]) + piece
        out += piece
    return tlv(6, out)


def value(of: Any) -> bytes:
    if isinstance(of, Typed):
        tag, inner = of
        if tag == 0x06:
            return name(inner)
        return tlv(tag, inner) if isinstance(inner, bytes) else integer(inner, tag)
    if of is None:
        return tlv(5, b"")
    return integer(of) if isinstance(of, int) else tlv(4, of if isinstance(of, bytes) else of.encode())


def take(data: bytes) -> tuple[int, bytes, bytes]:
    """Split the first element off: its tag, its content, and what follows."""
    tag, size, at = data[0], data[1], 2
    if size > 127:
        at += size - 128
        size = int.from_bytes(data[2:at], "big")
    return tag, data[at : at + size], data[at + size :]


def parts(content: bytes) -> tuple[int, ...]:
    found, part = [], 0
    for octet in content:
        part = part * 128 + octet % 128
        if octet < 128:
            found.append(part)
            part = 0
    return (found[0] // 40, found[0] % 40, *found[1:])


class Agent:
    """`with Agent({"1.3.6.1.4.1.99.1.0": 7}) as agent: ... agent.port`. Values: int, text, bytes, None, or a Typed.

    requests   messages that came; asked: how many values were asked for or sent
    community  who says another one hears nothing
    size       octets of an answer, above which get-bulk is cut short
    silent     after how many messages it goes silent; dropped: how many of the first it loses
    answer     what is sent instead of any answer, as bytes
    spoil      makes an answer of an answer
    error      error-status of every answer, or a function of the OIDs asked for
    limit      values above which it says tooBig
    gone       OID -> number of the message from which on it is not there any more
    after      OID (as a tuple) -> the one that it says comes next: a loop
    report     the report with which version 3 is refused, after the discovery
    delay      seconds before each answer
    twice      whether each answer comes two times
    password   of version 3, by which answers are signed (SHA)
    engine     its engine ID; clock: its boots and time; told: what an unsigned report says of them (None: the truth)
    context    engine ID and name that its signed answers are out of
    flags      security level that its answers name
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        product: str = "1.3.6.1.4.1.99",
        description: str = "a simulated agent",
        family: int = socket.AF_INET,
        **faults: Any,
    ) -> None:
        system = {
            f"{SYSTEM}.1.0": description,
            f"{SYSTEM}.2.0": oid(product),
            f"{SYSTEM}.3.0": ticks(360000),
        }
        self.values = {numbers(text): of for text, of in {**system, **values}.items()}
        self.keys = sorted(self.values)
        self.community, self.size = "public", 1400
        self.silent: int | None = None
        self.dropped, self.delay, self.limit, self.twice = 0, 0.0, 0, False
        self.password, self.engine, self.flags = "", b"\x80\x00\x00\x63\x04lab", 1
        self.clock: tuple[int, int] = (3, 1000)
        self.told: tuple[int, int] | None = None
        self.context: tuple[bytes, bytes] | None = None
        self.answer, self.report = b"", ""
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        self.error: Any = 0
        self.gone: dict[str, int] = {}
        self.after: dict[tuple[int, ...], tuple[int, ...]] = {}
        for word, given in faults.items():
            assert hasattr(self, word), word
            setattr(self, word, given)
        self.requests = self.asked = 0
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.port = self.socket.getsockname()[1]
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self) -> Agent:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self.thread.join()
        self.socket.close()

    def serve(self) -> None:
        while not self.end.is_set():
            try:
                data, peer = self.socket.recvfrom(65535)
            except socket.timeout:
                continue
            self.requests += 1
            if self.requests <= self.dropped or (self.silent is not None and self.requests > self.silent):
                continue
            time.sleep(self.delay)
            answer = self.answer or self.reply(data)
            if answer:
                for _ in range(1 + self.twice):
                    self.socket.sendto(self.spoil(answer), peer)

    def reply(self, data: bytes) -> bytes:
        _, message, _ = take(data)
        _, version, rest = take(message)
        if version == b"\x03":
            return self.reply3(rest)
        _, community, rest = take(rest)
        if community.decode(errors="replace") != self.community:
            return b""
        kind, pdu, _ = take(rest)
        return tlv(0x30, integer(1) + tlv(4, community) + self.respond(kind, pdu))

    def reply3(self, rest: bytes) -> bytes:
        _, head, rest = take(rest)
        _, number, _ = take(head)
        _, usm, rest = take(rest)
        _, usm, _ = take(usm)
        _, engine, usm = take(usm)
        _, boots, usm = take(usm)
        _, _, usm = take(usm)
        _, user, _ = take(usm)
        if engine and self.password and not self.report:
            if int.from_bytes(boots, "big") != self.clock[0]:
                return self.signed(number, user, self.counter(NOT_IN_TIME))
            _, scoped, _ = take(rest)
            _, _, scoped = take(scoped)
            _, _, scoped = take(scoped)
            kind, pdu, _ = take(scoped)
            return self.signed(number, user, self.respond(kind, pdu))
        return self.message(
            number, 0, self.told or self.clock, b"", b"", self.counter(self.report if engine else UNKNOWN_ENGINE)
        )

    @staticmethod
    def counter(report: str) -> bytes:
        counter = tlv(0x30, tlv(0x30, (name(numbers(f"{report}.0")) if report else tlv(6, b"")) + integer(1, 0x41)))
        return tlv(0xA8, tlv(2, b"\0") + integer(0) + integer(0) + counter)

    def message(
        self, number: bytes, flags: int, clock: tuple[int, int], user: bytes, digest: bytes, pdu: bytes
    ) -> bytes:
        usm = tlv(4, self.engine) + integer(clock[0]) + integer(clock[1]) + tlv(4, user) + tlv(4, digest) + tlv(4, b"")
        engine, context = self.context if self.context and digest else (self.engine, b"")
        scoped = tlv(0x30, tlv(4, engine) + tlv(4, context) + pdu)
        head = tlv(0x30, tlv(2, number) + integer(65507) + tlv(4, bytes([flags])) + integer(3))
        return tlv(0x30, integer(3) + head + tlv(4, tlv(0x30, usm)) + scoped)

    def signed(self, number: bytes, user: bytes, pdu: bytes) -> bytes:
        """Return a message with its digest (RFC 3414, 6.3 and 7; keys as in its A.2.2)."""
        if not self.flags & 1:
            return self.message(number, self.flags, self.clock, user, b"", pdu)
        key = hashlib.sha1((self.password.encode() * 2**20)[: 2**20]).digest()
        key = hashlib.sha1(key + self.engine + key).digest()
        blank = self.message(number, self.flags, self.clock, user, bytes(12), pdu)
        digest = hmac.new(key, blank, "sha1").digest()[:12]
        return self.message(number, self.flags, self.clock, user, digest, pdu)

    def respond(self, kind: int, pdu: bytes) -> bytes:
        _, request, rest = take(pdu)
        _, _, rest = take(rest)
        _, second, rest = take(rest)
        _, rest, _ = take(rest)
        wanted = []
        while rest:
            _, bind, rest = take(rest)
            _, content, _ = take(bind)
            wanted.append(parts(content))
        error = self.error(wanted) if callable(self.error) else self.error
        found: list[tuple[tuple[int, ...], bytes]] = []
        if error:
            found = [(key, tlv(5, b"")) for key in wanted]
        elif kind == 0xA0:
            found = [(key, self.of(key)) for key in wanted]
        elif kind == 0xA1:
            found = [self.next(key) for key in wanted]
        elif kind == 0xA5:
            repeat, size = int.from_bytes(second, "big"), 60
            if self.limit and repeat * len(wanted) > self.limit:
                error, found, repeat = 1, [], 0
            for _ in range(repeat):
                row = [self.next(key) for key in wanted]
                for key, content in row:
                    size += len(content) + 4 * len(key)
                    if size > self.size:
                        break
                    found.append((key, content))
                wanted = [key for key, _ in row]
                if size > self.size or all(content == b"\x82\x00" for _, content in row):
                    break
        self.asked += len(found)
        binds = b"".join(tlv(0x30, name(key) + content) for key, content in found)
        return tlv(0xA2, tlv(2, request) + integer(error) + integer(1 if error else 0) + tlv(0x30, binds))

    def there(self, key: tuple[int, ...]) -> bool:
        since = self.gone.get(".".join(map(str, key)))
        return since is None or self.requests < since

    def of(self, key: tuple[int, ...]) -> bytes:
        return value(self.values[key]) if key in self.values and self.there(key) else b"\x80\x00"

    def next(self, key: tuple[int, ...]) -> tuple[tuple[int, ...], bytes]:
        if key in self.after:
            return self.after[key], value(self.values[self.after[key]])
        at = bisect.bisect_right(self.keys, key)
        while at < len(self.keys) and not self.there(self.keys[at]):
            at += 1
        return (key, b"\x82\x00") if at == len(self.keys) else (self.keys[at], value(self.values[self.keys[at]]))


def table(entry: str, rows: Mapping[str, Mapping[int, Any]]) -> dict[str, Any]:
    """Return the values of a table: {index: {column: value}}."""
    return {f"{entry}.{column}.{index}": of for index, row in rows.items() for column, of in row.items()}
