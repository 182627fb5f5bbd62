# SPDX-License-Identifier: Apache-2.0
"""A session with an SNMP agent, version 2c or 3: read only, several columns per request, within bounds of everything.

The messages are RFC 3416 (operations), 3417 (encoding), 3412 and 3414 (version 3 and its users), 3826 and 7860 (AES, SHA-2);
keys for AES-192 and AES-256 are made longer as draft-blumenthal-aes-usm-04 says (what net-snmp means by AES-256), or, as
AES-192-C and AES-256-C, as draft-reeder-snmpv3-usm-3desede-00 says (Cisco). Compared with net-snmp 5.9.3 in every protocol.
Digests are Python's; ciphers are those of the library cryptography, imported where a privacy password was given.

It does not use a library for SNMP: those that we know print text to be parsed again, or cost more than the check, or do not
verify an answer's digest, or end a walk without a word when the agent loops (CONTRIBUTING.md, "Libraries").

Values: int, float, bytes (OCTET STRING), Oid, Ticks (TimeTicks, hundredths of a second), Counter32, Counter64; an IpAddress is
its text; None for what the agent does not have (noSuchObject, noSuchInstance, NULL).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Union

from nephoscope.base import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run, dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.probes.san import Place

PORT = 161
PATIENCE = 5.0  # seconds for one question, its repetitions included
AGAIN = (1.0, 2.0)  # seconds after which a question is sent again: UDP loses datagrams
REQUESTS = 5000  # of one session
BYTES = 64 << 20  # received in one session
ROWS = 100_000  # of one table
VALUES = 100  # asked for in one request; an agent answers as many as fit into its datagram
PARTS = 128  # numbers of an OID (RFC 2578, 3.5)
WINDOW = 150  # seconds (RFC 3414, 2.2.3)
TEXT = 1000  # characters of a text: a DisplayString has 255 (RFC 2579)
GET, RESPONSE, BULK, REPORT = 0xA0, 0xA2, 0xA5, 0xA8
SYSTEM = ("1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0", "1.3.6.1.2.1.1.3.0")  # sysDescr, sysObjectID, sysUpTime (RFC 3418)

DIGESTS = {  # RFC 3414 and 7860: name of Python's hash, octets that are sent of it
    "MD5": ("md5", 12),
    "SHA": ("sha1", 12),
    "SHA224": ("sha224", 16),
    "SHA256": ("sha256", 24),
    "SHA384": ("sha384", 32),
    "SHA512": ("sha512", 48),
}
CIPHERS = {"DES": 16, "AES": 16, "AES192": 24, "AES256": 32, "AES192C": 24, "AES256C": 32}  # octets of key
REPORTS = {  # RFC 3414 5 (usmStats…), 3413 4 (snmpUnknownContexts): what is wrong, and what is needed
    "1.3.6.1.6.3.15.1.1.1": (
        "the agent does not let this user in at this security level",
        "a user of this security level",
    ),
    "1.3.6.1.6.3.15.1.1.2": ("not in its time window", "engine IDs that no two agents share"),
    "1.3.6.1.6.3.15.1.1.3": ("unknown user", "a user that it has (--user)"),
    "1.3.6.1.6.3.15.1.1.5": ("wrong digest", "the right authentication password, and its --auth-protocol"),
    "1.3.6.1.6.3.15.1.1.6": ("it could not decrypt", "the right privacy password, and its --priv-protocol"),
    "1.3.6.1.6.3.12.1.5": ("unknown context", "a --context that it has"),
}
UNKNOWN_ENGINE, NOT_IN_TIME = "1.3.6.1.6.3.15.1.1.4", "1.3.6.1.6.3.15.1.1.2"
TOO_BIG, NO_SUCH_NAME = 1, 2
GRAVITY = ("absent", "spare", "ok", "rebuilding", "degraded", "unknown", "failed")  # words of health
ERRORS = {5: "genErr", 6: "noAccess", 13: "resourceUnavailable", 16: "authorizationError"}  # RFC 3416, 3
REFUSED = (6, 16)


class Oid(str):
    """An OBJECT IDENTIFIER, as numbers with dots."""

    __slots__ = ()


class Ticks(int):
    """Hundredths of a second (TimeTicks)."""


class Counter32(int):
    """A counter that begins anew at 2**32: samples of it then fall, which base.samples takes for a reset, not for a rate."""


class Counter64(int):
    """A counter that begins anew at 2**64, which it does not live to see."""


Value = Union[int, float, bytes, str, None]
Index = tuple[int, ...]  # what follows a column's OID
_PLAIN: dict[int, Callable[[int], int]] = {0x41: Counter32, 0x42: int, 0x43: Ticks, 0x46: Counter64}


class Identity(NamedTuple):
    """What an agent says it is.

    description  sysDescr, one line
    product      sysObjectID: the vendor's number for it
    uptime       seconds that the agent has run; None: not told
    """

    description: str
    product: str
    uptime: float | None


def text(value: Value) -> str:
    """Return an OCTET STRING as text, one line, without what can't be shown, cut after 1,000 characters; "" for None."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = value[: 4 * TEXT].decode("utf-8", "replace")
    shown = " ".join("".join(sign if sign.isprintable() else " " for sign in str(value)).split())
    return shown if len(shown) <= TEXT else f"{shown[:TEXT]}…"


def number(value: Value) -> float | None:
    """Return a number, also one that an agent sends as text ("42"); None for anything else."""
    if isinstance(value, bytes) and len(value) < 40 and b"_" not in value:
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, float):
        return value if abs(value) < 1e100 else None  # neither nan nor inf
    return value if isinstance(value, int) else None


def bits(value: Value) -> list[int]:
    """Return the numbers of the bits that are set in a BITS value: 0 is the highest of the first octet (RFC 2578, 7.1.4)."""
    if not isinstance(value, bytes):
        return []
    return [8 * at + bit for at, octet in enumerate(value) for bit in range(8) if octet & 0x80 >> bit]


def encoded(oid: str) -> bytes:
    """Return the content of an OBJECT IDENTIFIER in BER. Raises ValueError for what is none."""
    parts = [int(part) for part in oid.strip(".").split(".")]
    if not 2 <= len(parts) <= PARTS or min(parts) < 0 or parts[0] > 2 or max(parts) >= 2**32:
        raise ValueError(f"no OID: {oid}")
    out = bytearray()
    for part in (parts[0] * 40 + parts[1], *parts[2:]):
        septets = [part & 0x7F]
        while part := part >> 7:
            septets.append(0x80 | part & 0x7F)
        out += bytes(reversed(septets))
    return bytes(out)


def _numbers(raw: bytes) -> tuple[int, ...]:
    """Return the sub-identifiers of encoded OID content. Raises ValueError for what RFC 2578, 3.5 does not allow."""
    if len(raw) > 5 * PARTS:
        raise ValueError("an OID that is too long")
    if raw.isascii():  # none above 127: the common case, and a quick one
        found = list(raw)
    else:
        found, part, begun = [], 0, False
        for octet in raw:
            if octet == 0x80 and not begun:  # a zero in front (X.690, 8.19.2): the same OID in other octets
                raise ValueError("an OID that is padded")
            part, begun = part << 7 | octet & 0x7F, octet >= 0x80
            if not begun:
                if part >= 2**32:
                    raise ValueError("an OID's number that is too large")
                found.append(part)
                part = 0
        if begun:
            raise ValueError("an OID is cut")
    if len(found) > PARTS:
        raise ValueError("an OID that is too long")
    return tuple(found)


def _oid(raw: bytes) -> Oid:
    first, *rest = _numbers(raw)
    top = min(first // 40, 2)
    return Oid(".".join(map(str, (top, first - 40 * top, *rest))))


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _read(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return tag, begin and end of the content of what stands at an offset. Raises ValueError or IndexError."""
    tag, size = data[at], data[at + 1]
    at += 2
    if size >= 0x80:
        octets = size & 0x7F
        if not 0 < octets <= 4:
            raise ValueError("a length that is none")
        size = int.from_bytes(data[at : at + octets], "big")
        at += octets
    if at + size > end:
        raise ValueError("an answer that is cut")
    return tag, at, at + size


def _expect(data: bytes, at: int, end: int, wanted: int) -> tuple[int, int]:
    tag, begin, stop = _read(data, at, end)
    if tag != wanted:
        raise ValueError(f"tag {tag:#x} for {wanted:#x}")
    return begin, stop


def _int(data: bytes, at: int, end: int) -> tuple[int, int]:
    begin, stop = _expect(data, at, end, 0x02)
    return _whole(data[begin:stop], signed=True), stop


def _whole(raw: bytes, *, signed: bool) -> int:
    """Return an integer of at most 64 bits, and a zero before them: what is longer is none of SNMP's."""
    if not 0 < len(raw) <= 9 or (len(raw) == 9 and raw[0]):
        raise ValueError("a number that is none")
    return int.from_bytes(raw, "big", signed=signed)


def _value(tag: int, raw: bytes) -> Value:
    if tag == 0x02:
        return _whole(raw, signed=True)
    if tag == 0x04:
        return raw
    if tag in _PLAIN:
        return _PLAIN[tag](_whole(raw, signed=False))
    if tag == 0x06:
        return _oid(raw)
    if tag in (0x05, 0x80, 0x81, 0x82):
        return None
    if tag == 0x40 and len(raw) == 4:
        return ".".join(map(str, raw))
    if tag == 0x44 and raw[:3] == b"\x9f\x78\x04" and len(raw) == 7:  # net-snmp's float
        import struct

        return float(struct.unpack(">f", raw[3:])[0])
    if tag == 0x44:
        return raw
    raise ValueError(f"a value of type {tag:#x}")


class _Answer(NamedTuple):
    """A PDU: kind, request, error-status, error-index, and (OID content, tag, value) each."""

    kind: int
    request: int
    status: int
    at: int
    values: list[tuple[bytes, int, bytes]]


def _pdu(data: bytes, at: int, end: int) -> _Answer:
    kind, at, end = _read(data, at, end)
    request, at = _int(data, at, end)
    status, at = _int(data, at, end)
    index, at = _int(data, at, end)
    at, end = _expect(data, at, end, 0x30)
    values = []
    while at < end:
        # Nearly all are shorter than 128 octets: read in one go, which saves a third of what a large table costs.
        size, oid = data[at + 1], data[at + 3]
        after, stop = at + 4 + oid, at + 2 + size
        short = size < 0x80 and oid < size - 3 and stop <= end and data[at] == 0x30 and data[at + 2] == 0x06
        if short and after + 2 + data[after + 1] == stop:
            values.append((data[at + 4 : after], data[after], data[after + 2 : stop]))
            at = stop
            continue
        at, stop = _expect(data, at, end, 0x30)
        begin, after = _expect(data, at, stop, 0x06)
        tag, first, last = _read(data, after, stop)
        values.append((data[begin:after], tag, data[first:last]))
        at = stop
    return _Answer(kind, request, status, index, values)


def _octets(word: str) -> bytes:
    """Return what the command line or the environment held: it need not be UTF-8."""
    return word.encode("utf-8", "surrogateescape")


class _Stale(Exception):
    """An answer to another question than ours, or older than the agent's clock: it is passed over."""


class _Community:
    """Version 2c: who knows the community is let in, and who does not hears nothing."""

    name, first = "SNMPv2c", 1  # the answer with which it has let us in
    silence = ": the agent is silent, or does not take this community"
    cure = ""

    def __init__(self, community: str) -> None:
        self._community = _octets(community)

    def wrap(self, request: int, pdu: bytes) -> bytes:
        return _tlv(0x30, _integer(1) + _tlv(0x04, self._community) + pdu)

    def unwrap(self, data: bytes, asked: set[int]) -> _Answer:
        at, end = _expect(data, 0, len(data), 0x30)
        version, at = _int(data, at, end)
        if version != 1:
            raise ValueError(f"version {version}")
        _, at = _expect(data, at, end, 0x04)
        answer = _pdu(data, at, end)
        if answer.request not in asked:
            raise _Stale
        return answer


class _User:
    """Version 3 with the User-based Security Model (RFC 3414)."""

    name, first = "SNMPv3", 2

    def __init__(self, place: Place) -> None:
        self._user, self._context = _octets(place.user), _octets(place.context)
        self._auth, self._priv = _octets(place.auth_password), _octets(place.priv_password)
        self.engine, self.boots, self._time, self._at = b"", 0, 0, 0.0
        self._synchronous = False  # whether the agent's clock is known from a message that was signed
        auth, priv = (
            word.upper().replace("-", "").replace("_", "") for word in (place.auth_protocol, place.priv_protocol)
        )
        auth, priv = {"SHA1": "SHA"}.get(auth, auth), {"AES128": "AES"}.get(priv, priv)
        for option, word, known in (("--auth-protocol", auth, DIGESTS), ("--priv-protocol", priv, CIPHERS)):
            if word not in known:
                given = place.auth_protocol if known is DIGESTS else place.priv_protocol
                raise Failed(NOT_ALLOWED, "", "log in", f"{option} {given} is none of {', '.join(known)}")
        self._hash, self._digest = DIGESTS[auth] if self._auth else ("", 0)
        self._cipher = priv if self._priv else ""
        if self._priv and not self._auth:
            raise Failed(NOT_ALLOWED, "", "log in", "a privacy password needs an authentication password too")
        self._keys = (b"", b"")
        self._salt = int.from_bytes(os.urandom(8), "big")
        if self._cipher:
            self._load()

    @property
    def level(self) -> str:
        """The security level."""
        return "authPriv" if self._cipher else "authNoPriv" if self._digest else "noAuthNoPriv"

    @property
    def silence(self) -> str:
        """What silence may mean."""
        # net-snmp drops what it decrypts to nonsense, and what names a context that it does not have, without a report.
        said = [word for word in ("privacy password" * bool(self._cipher), "context" * bool(self._context)) if word]
        return f": the agent is silent, or does not take this {' or '.join(said)}" if self.engine and said else ""

    def _load(self) -> None:
        from importlib import import_module

        def old(module: str, name: str) -> Any:
            """What is older than AES-GCM has moved: since cryptography 43 (TripleDES) and 47 (CFB)."""
            for home in ("decrepit", "primitives"):
                try:
                    return getattr(import_module(f"cryptography.hazmat.{home}.ciphers.{module}"), name)
                except (ImportError, AttributeError):
                    continue
            raise ImportError(name)

        try:
            ciphers = import_module("cryptography.hazmat.primitives.ciphers")
            if self._cipher == "DES":
                triple, mode = old("algorithms", "TripleDES"), ciphers.modes.CBC
            else:
                triple, mode = None, old("modes", "CFB")
        except ImportError:
            cure = "the package nephoscope[snmp] (Debian: python3-cryptography)"
            raise Failed(NOT_ALLOWED, "", "encrypt", "the Python library cryptography is not installed", cure) from None

        def make(key: bytes, iv: bytes) -> Any:
            # Three times the same key makes DES of TripleDES.
            return ciphers.Cipher(triple(key * 3) if triple else ciphers.algorithms.AES(key), mode(iv))

        self._make = make

    def know(self, engine: bytes) -> None:
        """Make the keys for an engine (RFC 3414, 2.6 and A.2)."""
        self.engine = engine
        if self._digest:
            auth = self._localized(self._auth)
            self._keys = (auth, self._stretched(self._localized(self._priv)) if self._cipher else b"")

    def _localized(self, password: bytes) -> bytes:
        import hashlib

        made = hashlib.new(self._hash, (password * (1048576 // len(password) + 1))[:1048576]).digest()
        return hashlib.new(self._hash, made + self.engine + made).digest()

    def _stretched(self, key: bytes) -> bytes:
        import hashlib

        wanted = CIPHERS[self._cipher]
        while len(key) < wanted:
            if self._cipher.endswith("C"):
                last = hashlib.new(self._hash, b"").digest_size
                key += self._localized(key[-last:])
            else:
                key += hashlib.new(self._hash, key).digest()
        return key[:wanted]

    def _now(self) -> int:
        return self._time + int(time.monotonic() - self._at) if self._at else 0

    def _iv(self, boots: int, seconds: int, salt: bytes) -> bytes:
        if self._cipher == "DES":
            return bytes(a ^ b for a, b in zip(self._keys[1][8:16], salt))
        return boots.to_bytes(4, "big") + seconds.to_bytes(4, "big") + salt

    def wrap(self, request: int, pdu: bytes) -> bytes:
        """Return a message; without an engine it asks for it, and says nothing of the user."""
        known = bool(self.engine)
        boots, seconds, salt, digest = self.boots, self._now(), b"", self._digest if known else 0
        flags = 4 | (1 if digest else 0) | (2 if known and self._cipher else 0)  # 4: tell us by a report
        scoped = _tlv(0x30, _tlv(0x04, self.engine) + _tlv(0x04, self._context if known else b"") + pdu)
        if flags & 2:
            self._salt = (self._salt + 1) % 2**64
            salt = self._salt.to_bytes(8, "big")
            if self._cipher == "DES":
                salt = (boots % 2**32).to_bytes(4, "big") + salt[4:]
                scoped += bytes(-len(scoped) % 8)
            key = self._keys[1][:8] if self._cipher == "DES" else self._keys[1]
            made = self._make(key, self._iv(boots, seconds, salt)).encryptor()
            scoped = _tlv(0x04, made.update(scoped) + made.finalize())
        head = _integer(request) + _integer(65507) + _tlv(0x04, bytes((flags,))) + _integer(3)
        users = _tlv(0x04, self._user if known else b"") + _tlv(0x04, bytes(digest)) + _tlv(0x04, salt)
        usm = _tlv(0x30, _tlv(0x04, self.engine) + _integer(boots) + _integer(seconds) + users)
        message = _tlv(0x30, _integer(3) + _tlv(0x30, head) + _tlv(0x04, usm) + scoped)
        if digest:
            at = len(message) - len(scoped) - len(salt) - 2 - digest
            message = message[:at] + self._signed(message) + message[at + digest :]
        return message

    def _signed(self, message: bytes) -> bytes:
        import hmac

        return hmac.new(self._keys[0], message, self._hash).digest()[: self._digest]

    def unwrap(self, data: bytes, asked: set[int]) -> _Answer:
        """Return the PDU of a message that was signed and encrypted as ours was; a report may be neither.

        asked  numbers of the messages that it may answer: a report of an earlier one is no answer to this one
        """
        at, end = _expect(data, 0, len(data), 0x30)
        version, at = _int(data, at, end)
        if version != 3:
            raise ValueError(f"version {version}")
        head, at = _expect(data, at, end, 0x30)
        number_, head = _int(data, head, at)
        _, head = _int(data, head, at)
        first, head = _expect(data, head, at, 0x04)
        flags = data[first]
        model, _ = _int(data, head, at)
        if head != first + 1 or model != 3:
            raise ValueError("flags or a security model that are none")
        usm, rest = _expect(data, at, end, 0x04)
        usm, last = _expect(data, usm, rest, 0x30)
        first, usm = _expect(data, usm, last, 0x04)
        engine = data[first:usm]
        boots, usm = _int(data, usm, last)
        seconds, usm = _int(data, usm, last)
        if len(engine) > 32 or not (0 <= boots < 2**31 and 0 <= seconds < 2**31):  # RFC 3414, 2.4
            raise ValueError("an engine that is none")
        first, usm = _expect(data, usm, last, 0x04)
        user = data[first:usm]
        sign, usm = _expect(data, usm, last, 0x04)
        signed = data[sign:usm]
        first, usm = _expect(data, usm, last, 0x04)
        salt = data[first:usm]
        if number_ not in asked:
            raise _Stale
        genuine = False
        if self._digest and flags & 1 and engine == self.engine:
            import hmac

            blank = data[:sign] + bytes(len(signed)) + data[sign + len(signed) :]
            if not hmac.compare_digest(self._signed(blank), signed):
                raise Failed(UNREADABLE, "", "", "an answer whose digest is wrong: it is not from the agent")
            if self._synchronous and (boots, seconds) < (self.boots, self._now() - WINDOW):
                raise _Stale
            genuine = True
        if flags & 2:
            if not (genuine and self._cipher) or len(salt) != 8:
                raise ValueError("encrypted, and not to us")
            first, stop = _expect(data, rest, end, 0x04)
            key = self._keys[1][:8] if self._cipher == "DES" else self._keys[1]
            made = self._make(key, self._iv(boots, seconds, salt)).decryptor()
            data = made.update(data[first:stop]) + made.finalize()
            rest, end = 0, len(data)
        at, end = _expect(data, rest, end, 0x30)
        first, of = _expect(data, at, end, 0x04)
        second, at = _expect(data, of, end, 0x04)
        answer = _pdu(data, at, end)
        if answer.kind != REPORT:
            if user != self._user or engine != self.engine:
                raise _Stale
            if (self._digest and not genuine) or (self._cipher and not flags & 2):
                raise Failed(UNREADABLE, "", "", f"an answer below the security level {self.level}")
            if answer.request not in asked:
                raise _Stale
            if (data[first:of], data[second:at]) != (engine, self._context):
                raise Failed(UNREADABLE, "", "", "an answer out of another context than was asked")
        # What is not signed is good enough to ask with, until something signed tells better (RFC 3414, 2.3); never back.
        if not self._synchronous or (genuine and (boots, seconds) > (self.boots, self._time)):
            self.boots, self._time, self._at = boots, seconds, time.monotonic()
            self._synchronous = genuine
        if answer.kind == REPORT and not self.engine:
            self.know(engine)
        return answer


class Session:
    """A conversation with one agent: `with Session(run, place) as agent: agent.get(...)`. It begins with the first question.

    count   requests that were sent, repetitions and those of version 3's own included
    Raises Failed not-allowed when place has neither a user nor a community, or words that don't go together.
    """

    def __init__(self, run: Run, place: Place) -> None:
        self.run, self.count = run, 0
        self.host = place.host
        self.port = place.port or PORT
        host = f"[{place.host}]" if ":" in place.host else place.host
        self.where = f"{host}:{self.port}"
        if not place.user and not place.community:
            cure = "a community (SNMPv2c), or --user with auth-password and priv-password (SNMPv3), by --extra-opts"
            raise Failed(NOT_ALLOWED, "", "log in", "neither a community nor a user was given", cure)
        self._who: _User | _Community = _User(place) if place.user else _Community(place.community)
        self._tried = f"ask {self.where} by {self._who.name}"
        self._sock: socket.socket | None = None
        self._addresses: list[Any] = []
        self._request = int.from_bytes(os.urandom(4), "big") >> 2
        self._received = self._answers = 0
        self._repeat = VALUES
        self._dead: Failed | None = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        if self._sock:
            self._sock.close()
            self._sock = None

    # Questions

    def identity(self) -> Identity:
        """Return what the agent says it is (SNMPv2-MIB)."""
        description, product, uptime = self.get(*SYSTEM).values()
        seconds = uptime / 100 if isinstance(uptime, int) else None
        return Identity(text(description), str(product) if isinstance(product, Oid) else "", seconds)

    def product(self, name: str, *roots: str) -> Identity:
        """Return the identity of an agent whose sysObjectID is below one of `roots`; Failed unreadable for any other's."""
        who = self.identity()
        if not any(f"{who.product}.".startswith(f"{root.strip('.')}.") for root in roots):
            said = (
                f"it answers as {who.description[:60] or 'nobody'} (sysObjectID {who.product or 'not told'}): no {name}"
            )
            raise Failed(UNREADABLE, "", self._tried, said, "try another --profile, or the array's own address")
        return who

    def get(self, *oids: str, of: str = "") -> dict[str, Value]:
        """Return {oid: value} in the order asked, None for what the agent does not have. At most 60 at once."""
        names = [encoded(oid) for oid in oids]
        binds = b"".join(_tlv(0x30, _tlv(0x06, name) + b"\x05\x00") for name in names)
        answer = self._ask(lambda _: (GET, 0, 0, binds), of, "")
        if answer.status == TOO_BIG and len(oids) > 1:
            half = len(oids) // 2
            return {**self.get(*oids[:half], of=of), **self.get(*oids[half:], of=of)}
        if answer.status == NO_SUCH_NAME:
            raise self._failed(UNREADABLE, of, "", "noSuchName, a word of SNMPv1 alone")
        self._check(answer, of, "")
        found = {name: (tag, raw) for name, tag, raw in answer.values}
        if not set(found) <= set(names) or not found:
            raise self._failed(UNREADABLE, of, "", "it answers another question than was asked")
        with self._reading(of, ""):
            return {oid: _value(*found[name]) if name in found else None for oid, name in zip(oids, names)}

    def walk(self, *columns: str, of: str = "", name: str = "", rows: int = ROWS) -> dict[Index, tuple[Value, ...]]:
        """Return {index: (a value of each column, None where the row has none)} of a table, in the order of the indexes.

        A row that goes while it is walked has None from there on.
        of, name  what a Failed says: the kind that would be missing, and the table's name
        rows      at most; more: Failed unreadable
        Raises Failed unreadable for an agent that does not go forward.
        """
        roots = [encoded(column) for column in columns]
        last: list[bytes | None] = list(roots)
        seen: list[Index] = [()] * len(roots)
        table: dict[Index, list[Value]] = {}
        while True:
            todo = [at for at, oid in enumerate(last) if oid is not None]
            if not todo:
                break
            binds = b"".join(_tlv(0x30, _tlv(0x06, last[at] or b"") + b"\x05\x00") for at in todo)

            def build(attempt: int, binds: bytes = binds, width: int = len(todo)) -> tuple[int, int, int, bytes]:
                # Asked again for less: a large answer comes in fragments, which not every network lets through.
                return BULK, 0, max(1, self._repeat // width >> 2 * attempt), binds

            answer = self._ask(build, of, name)
            if answer.status == TOO_BIG and self._repeat > 1:
                self._repeat //= 4 if self._repeat > 4 else self._repeat
                continue
            self._check(answer, of, name)
            if not answer.values:
                raise self._failed(UNREADABLE, of, name, "an answer without values")
            with self._reading(of, name):
                for place, (oid, tag, raw) in enumerate(answer.values):
                    at = todo[place % len(todo)]
                    if last[at] is None:
                        continue
                    root = roots[at]
                    if tag == 0x82 or not oid.startswith(root):  # endOfMibView, or the next column
                        if tag != 0x82 and _numbers(oid) <= _numbers(last[at] or b""):
                            raise self._failed(UNREADABLE, of, name, self._loops(oid, last[at]))
                        last[at] = None
                        continue
                    index = _numbers(oid[len(root) :])
                    if index <= seen[at]:
                        raise self._failed(UNREADABLE, of, name, self._loops(oid, last[at]))
                    last[at], seen[at] = oid, index
                    row = table.get(index)
                    if row is None:
                        if len(table) >= rows:
                            raise self._failed(UNREADABLE, of, name, f"more than {rows} rows")
                        row = table[index] = [None] * len(roots)
                    row[at] = _value(tag, raw)
        return {index: tuple(table[index]) for index in sorted(table)}

    # The wire

    @staticmethod
    def _loops(oid: bytes, last: bytes | None) -> str:
        return f"the agent does not go forward: {_oid(oid)} after {_oid(last or b'')}"

    def _failed(self, kind: str, of: str, name: str, error: str, cure: str = "") -> Failed:
        return Failed(kind, of, f"{self._tried} for {name}" if name else self._tried, error, cure)

    def _reading(self, of: str, name: str) -> _Reading:
        return _Reading(self, of, name)

    def _check(self, answer: _Answer, of: str, name: str) -> None:
        if answer.status:
            kind = NOT_ALLOWED if answer.status in REFUSED else UNREADABLE
            cure = "a view of the agent that shows it to this user" if kind == NOT_ALLOWED else ""
            raise self._failed(kind, of, name, ERRORS.get(answer.status, f"error-status {answer.status}"), cure)

    def _ask(self, build: Callable[[int], tuple[int, int, int, bytes]], of: str, name: str) -> _Answer:
        """Return the response to a question; after silence nothing more is asked."""
        if self._dead:
            raise self._failed(self._dead.kind, of, name, self._dead.error, self._dead.cure)
        try:
            who = self._who
            if isinstance(who, _User) and not who.engine:
                self._exchange(lambda _: (GET, 0, 0, b""), of, name)
                if not who.engine:
                    raise self._failed(UNREADABLE, of, name, "the agent does not tell its engine ID")
            for again in (True, False):
                answer = self._exchange(build, of, name)
                if answer.kind == RESPONSE:
                    return answer
                with self._reading(of, name):
                    report = _oid(answer.values[0][0]).rpartition(".")[0] if answer.values else ""
                if not (again and report == NOT_IN_TIME):  # its clock has been noted, from a report that was signed
                    break
            if report in REPORTS:
                error, cure = REPORTS[report]
                raise self._failed(NOT_ALLOWED, of, name, error, cure)
            error = (
                "another engine ID than before" if report == UNKNOWN_ENGINE else f"report {report or 'without a word'}"
            )
            raise self._failed(UNREADABLE, of, name, error)
        except Failed as failed:
            if failed.kind in (UNREACHABLE, NOT_ALLOWED, LATE):
                self._dead = failed
            raise

    def _exchange(self, build: Callable[[int], tuple[int, int, int, bytes]], of: str, name: str) -> _Answer:
        if not self._sock:
            self._open(of, name)
        while True:
            begun = time.monotonic()
            share = min(PATIENCE, self.run.left())
            if share <= 0:
                raise self._failed(LATE, of, name, "not begun: the time was up")
            try:
                return self._once(build, begun, begun + share, of, name)
            except OSError as error:
                if not self._answers and self._addresses:
                    self._open(of, name)  # the name has another address
                    continue
                failed = dial.failure(of, self._tried, error, share)
                said = failed.error
                if isinstance(error, TimeoutError) or type(error).__name__ == "timeout":
                    said = f"no answer in {share:g} s" if share == PATIENCE else said
                    said += self._who.silence if self._answers < self._who.first else f", after {self._answers} answers"
                raise self._failed(failed.kind, of, name, said) from None

    def _open(self, of: str, name: str) -> None:
        if not self._sock:
            try:
                self._addresses = dial.resolve(self.run, self.host, self.port)
            except (OSError, UnicodeError) as error:
                raise dial.failure(of, self._tried, error, self.run.left()) from None
        while self._addresses:
            family, _, _, _, address = self._addresses.pop(0)
            if self._sock:
                self._sock.close()
            self._sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                self._sock.connect(address)
                return
            except OSError as error:
                if not self._addresses:
                    raise dial.failure(of, self._tried, error, 0.0) from None

    def _once(
        self, build: Callable[[int], tuple[int, int, int, bytes]], begun: float, end: float, of: str, name: str
    ) -> _Answer:
        """Send a question up to three times, and return what answers one of them."""
        asked: set[int] = set()
        assert self._sock  # noqa: S101 - for the type checker
        for attempt in range(len(AGAIN) + 1):
            until = min(end, time.monotonic() + AGAIN[attempt]) if attempt < len(AGAIN) else end
            if attempt and until <= time.monotonic():
                break
            if self.count >= REQUESTS:
                raise self._failed(UNREADABLE, of, name, f"more than {REQUESTS} requests")
            self._request = self._request % 0x3FFFFFFF + 1
            kind, first, second, binds = build(attempt)
            pdu = _tlv(kind, _integer(self._request) + _integer(first) + _integer(second) + _tlv(0x30, binds))
            self.count += 1
            asked.add(self._request)
            self._sock.send(self._who.wrap(self._request, pdu))
            while True:
                try:
                    dial.patience(self.run, self._sock, until)
                    data = self._sock.recv(65535)
                except OSError as error:
                    if isinstance(error, TimeoutError) or type(error).__name__ == "timeout":
                        break
                    raise
                self._received += len(data)
                if self._received > BYTES:
                    raise self._failed(UNREADABLE, of, name, f"more than {BYTES >> 20} MiB of answers")
                with self._reading(of, name):
                    try:
                        answer = self._who.unwrap(data, asked)
                    except _Stale:
                        continue
                    if answer.kind != RESPONSE and not (answer.kind == REPORT and isinstance(self._who, _User)):
                        raise ValueError(f"a message of type {answer.kind:#x}")
                self._answers += 1
                if attempt and kind == BULK:
                    self._repeat = max(4, self._repeat >> 2 * attempt)
                return answer
        raise TimeoutError("timed out")


class _Reading:
    """What does not parse becomes Failed unreadable; what a message itself refuses gets the question's words."""

    def __init__(self, session: Session, of: str, name: str) -> None:
        self._session, self._of, self._name = session, of, name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, (ValueError, IndexError)):
            said = "an answer that is no SNMP, or is cut"
            raise self._session._failed(UNREADABLE, self._of, self._name, said) from None
        if isinstance(error, Failed) and not error.tried:
            raise self._session._failed(error.kind, self._of, self._name, error.error, error.cure) from None


def table(
    agent: Session, lost: list[Failed], of: str, name: str, columns: Sequence[str], *, empty: bool = False
) -> Mapping[Index, tuple[Value, ...]]:
    """Return a table's rows; when it can't be walked, none, and why goes to `lost` as a thing of kind `of`.

    empty  whether it may be: else an empty table is lost too, for a view that hides it looks just so
    """
    try:
        rows = agent.walk(*columns, of=of, name=name)
    except Failed as failed:
        lost.append(failed)
        return {}
    if not (rows or empty):
        cure = "does the agent's view show it to this account?"
        lost.append(Failed(UNREADABLE, of, f"ask {agent.where} for {name}", "it is empty", cure))
    return rows


def under(root: str, columns: Iterable[Any]) -> list[str]:
    """Return the OIDs of columns below an entry."""
    return [f"{root}.{column}" for column in columns]


def said(table: Mapping[Any, tuple[str, str]], value: Value) -> tuple[str, str]:
    """Return health and word of a value that may be missing, or be none of the table."""
    if isinstance(value, int) and value in table:
        return table[value]
    return "unknown", "no state is told" if value is None else f"state {text(value)}"


def worst(*healths: str) -> str:
    """Return the gravest of some words of health."""
    return max(healths, key=GRAVITY.index)
