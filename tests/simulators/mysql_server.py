# SPDX-License-Identifier: Apache-2.0
"""A MySQL 8.0 or 8.4 that speaks the real wire format, and can fail: `python -m tests.simulators.mysql_server [VERSION]`.

The protocol is that of "Client/Server Protocol" in the MySQL Source Code Documentation: handshake version 10,
caching_sha2_password (from the cache; in full, over TLS or by RSA), mysql_native_password, and a server that asks for
mysql_clear_password; results as text. It imports nothing of Nephoscope.

What it answers stands in `mysql_answers.py`, or is handed in: `answers` has statements, as `normal` words them, and what comes.
SHOW STATUS, SHOW VARIABLES and any SELECT from the tables that it has are evaluated by SQLite: a misspelt column or table, and
a word that MySQL 8 reserves, is the error that MySQL gives. What is left is error 1064, and is kept in `unknown`.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import re
import secrets
import socket
import sqlite3
import ssl
import struct
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple

UTC = datetime.timezone.utc
CONNECT_WITH_DB, SSL, ATTRIBUTES, LENENC_AUTH, NO_EOF = 0x8, 0x800, 0x100000, 0x200000, 0x1000000
CAPABILITIES = 0x013AF75F  # what 8.0 offers, less compression, local files, session tracking and TLS
LETTERS = bytes(range(33, 126))


class Error(NamedTuple):
    """An ERR packet: number, SQLSTATE and text ("MySQL 8.0 Error Message Reference")."""

    number: int
    state: str
    text: str


class Rows(NamedTuple):
    """A result: the names of its columns, and rows of None, int, float, str, bytes."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]] = ()


class Table(NamedTuple):
    """A table: its columns, its rows, the right that reading it takes, and the error without."""

    columns: Sequence[str]
    rows: list[Sequence[Any]]
    right: str = ""
    refusal: Error | None = None


class Account(NamedTuple):
    """Who may log in: password, plugin, rights as GRANT words them, databases."""

    password: str
    plugin: str = "caching_sha2_password"
    rights: frozenset[str] = frozenset()
    databases: tuple[str, ...] = ()


# ---------------------------------------------------------------- passwords


def native(password: str, scramble: bytes) -> bytes:
    """ "Native Authentication": SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password)))."""
    if not password:
        return b""
    first = hashlib.sha1(password.encode()).digest()
    second = hashlib.sha1(scramble + hashlib.sha1(first).digest()).digest()
    return bytes(a ^ b for a, b in zip(first, second))


def sha2(password: str, scramble: bytes) -> bytes:
    """ "Caching_sha2_password information": SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble)."""
    if not password:
        return b""
    first = hashlib.sha256(password.encode()).digest()
    second = hashlib.sha256(hashlib.sha256(first).digest() + scramble).digest()
    return bytes(a ^ b for a, b in zip(first, second))


class Key(NamedTuple):
    """An RSA key of 1024 bits (a real server makes 2048 at its first start)."""

    n: int
    d: int

    def pem(self) -> bytes:
        """The public half as SubjectPublicKeyInfo (RFC 5280, RFC 3279)."""
        import base64

        def der(tag: int, content: bytes) -> bytes:
            size = len(content)
            length = bytes([size] if size < 128 else [0x81, size] if size < 256 else [0x82, size >> 8, size & 255])
            return bytes([tag]) + length + content

        def integer(value: int) -> bytes:
            return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

        key = der(0x30, integer(self.n) + integer(65537))
        algorithm = der(0x30, bytes.fromhex("06092a864886f70d0101010500"))
        text = base64.encodebytes(der(0x30, algorithm + der(3, b"\0" + key)))
        return b"-----BEGIN PUBLIC KEY-----\n" + text + b"-----END PUBLIC KEY-----\n"

    def seal(self, message: bytes) -> bytes:
        """Do RSAES-OAEP with SHA-1, as a client without a library for it."""
        size = (self.n.bit_length() + 7) // 8
        seed = secrets.token_bytes(20)
        data = hashlib.sha1().digest() + bytes(size - len(message) - 42) + b"\1" + message
        veiled = bytes(a ^ b for a, b in zip(data, mask(seed, len(data))))
        block = bytes(a ^ b for a, b in zip(seed, mask(veiled, 20))) + veiled
        return pow(int.from_bytes(block, "big"), 65537, self.n).to_bytes(size, "big")

    def open(self, sealed: bytes) -> bytes:
        """Undo RSAES-OAEP with SHA-1 (RFC 8017, 7.1.2); b"" when it is not for this key."""
        size = (self.n.bit_length() + 7) // 8
        block = pow(int.from_bytes(sealed, "big"), self.d, self.n).to_bytes(size, "big")
        seed = bytes(a ^ b for a, b in zip(block[1:21], mask(block[21:], 20)))
        data = bytes(a ^ b for a, b in zip(block[21:], mask(seed, size - 21)))
        return data[20:].lstrip(b"\0")[1:] if data.startswith(hashlib.sha1().digest()) else b""


def mask(seed: bytes, size: int) -> bytes:
    """MGF1 with SHA-1 (RFC 8017, B.2.1)."""
    return b"".join(hashlib.sha1(seed + struct.pack(">I", n)).digest() for n in range(size // 20 + 1))[:size]


@functools.lru_cache(maxsize=1)
def rsa_key() -> Key:
    """Make a key, once: two primes that pass twenty rounds of Miller and Rabin."""

    def prime() -> int:
        while True:
            n = secrets.randbits(512) | (3 << 510) | 1
            if (n - 1) % 65537 and all(pow(n, 1, p) for p in (3, 5, 7, 11, 13, 17, 19, 23)) and is_prime(n):
                return n

    p, q = prime(), prime()
    return Key(p * q, pow(65537, -1, (p - 1) * (q - 1)))


def is_prime(n: int) -> bool:
    odd, twos = n - 1, 0
    while not odd % 2:
        odd, twos = odd // 2, twos + 1
    for _ in range(20):
        x = pow(secrets.randbelow(n - 3) + 2, odd, n)
        if x in (1, n - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


# ---------------------------------------------------------------- what is asked

# Reserved since 8.0 (or 8.4: the last four) and not in MariaDB: "Keywords and Reserved Words".
RESERVED = re.compile(
    r"(?<![.\w`@])(cume_dist|dense_rank|empty|first_value|grouping|groups|json_table|lag|last_value|lateral|lead|nth_value|ntile"
    r"|percent_rank|rank|row_number|system)\b(?!\s*\()|\bas\s+(cube|except|function|intersect|of|over|recursive|rows|window)\b"
    r"|\bas\s+(manual|parallel|qualify|tablesample)\b"
)
QUOTED = re.compile(r"('(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`)")


def normal(statement: str) -> str:
    """Return a statement without comments and needless space, in small letters outside of quotes."""
    text = re.sub(r"/\*(?!!).*?\*/|(?m:--[ \t].*$)|(?m:#.*$)", " ", statement, flags=re.DOTALL)
    parts = QUOTED.split(text)
    parts[::2] = [re.sub(r"\s+", " ", part).lower() for part in parts[::2]]
    return "".join(parts).strip().rstrip(";").strip()


def bare(statement: str) -> str:
    """Return a normalised statement with its quoted parts emptied."""
    return QUOTED.sub("''", statement)


def seconds(text: Any) -> float:
    return datetime.datetime.fromisoformat(str(text)).replace(tzinfo=UTC).timestamp()


class Engine:
    """Evaluates a SELECT over tables, as MySQL would, by SQLite."""

    def __init__(self, tables: Mapping[str, Table], variables: Mapping[str, str], now: datetime.datetime, user: str):
        self.db = sqlite3.connect(":memory:")
        self.variables = variables
        schemas = {name.partition(".")[0] for name in tables} - {"main"}
        for schema in schemas:
            self.db.execute(f"ATTACH ':memory:' AS {schema}")
        for name, table in tables.items():
            columns = ", ".join(f'"{column}" COLLATE NOCASE' for column in table.columns)
            self.db.execute(f"CREATE TABLE {name} ({columns})")
            marks = ", ".join("?" * len(table.columns))
            self.db.executemany(f"INSERT INTO {name} VALUES ({marks})", table.rows)
        stamp = now.strftime("%Y-%m-%d %H:%M:%S")

        def difference(unit: str, old: Any, new: Any) -> int | None:
            size = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}[unit.lower()]
            return None if old is None or new is None else int((seconds(new) - seconds(old)) / size)

        def when(*given: Any) -> int | None:
            return int(now.timestamp()) if not given else None if given[0] is None else int(seconds(given[0]))

        functions: dict[str, Callable[..., Any]] = {
            "timestampdiff": difference, "unix_timestamp": when, "now": lambda *_: stamp, "utc_timestamp": lambda *_: stamp,
            "current_timestamp": lambda *_: stamp, "sysdate": lambda *_: stamp, "version": lambda: variables["version"],
            "database": lambda: None, "connection_id": lambda: 8, "current_user": lambda: f"{user}@%", "user": lambda: f"{user}@localhost",
            "if": lambda test, yes, no: yes if test else no, "concat": lambda *parts: None if None in parts else "".join(map(str, parts)),
            "convert_tz": lambda at, old, new: at, "left_": lambda text, size: None if text is None else str(text)[:size],
            "regexp": lambda pattern, value: value is not None and bool(re.search(pattern, str(value), re.IGNORECASE)),
            "greatest": lambda *given: None if None in given else max(given), "least": lambda *given: None if None in given else min(given),
        }  # fmt: skip
        for name, function in functions.items():
            self.db.create_function(name, -1, function)

    def select(self, statement: str) -> Rows | Error:
        """Answer a normalised SELECT."""
        missing: list[str] = []

        def variable(found: re.Match[str]) -> str:
            name = found.group(1)
            if name not in self.variables:
                missing.append(name)
                return "NULL"
            value = self.variables[name]
            number = {"ON": "1", "OFF": "0"}.get(value, value)  # @@x of a switch is a number, SHOW VARIABLES a word
            return number if re.fullmatch(r"-?\d+(\.\d+)?", number) else "'" + value.replace("'", "''") + "'"

        parts = QUOTED.split(statement)
        for at in range(0, len(parts), 2):
            text = re.sub(r"@@(?:(?:global|session)\.)?(\w+)", variable, parts[at])
            text = re.sub(r"timestampdiff ?\( ?(\w+) ?,", r"timestampdiff('\1',", text)
            text = re.sub(r"\bcurrent_(user|timestamp)\b(?! ?\()", r"current_\1()", text)
            text = re.sub(r"\bleft ?\(", "left_(", text)
            parts[at] = re.sub(r"\bfrom dual\b", "", re.sub(r"\bdiv\b", "/", text))
        if missing:
            return Error(1193, "HY000", f"Unknown system variable '{missing[0]}'")
        try:
            cursor = self.db.execute("".join(parts))
            rows = cursor.fetchmany(1_000_000)
        except sqlite3.Error as error:
            return self.why(str(error))
        finally:
            self.db.close()
        return Rows(self.headings(statement, cursor), rows)

    @staticmethod
    def headings(statement: str, cursor: sqlite3.Cursor) -> list[str]:
        names = [column[0] for column in cursor.description]
        return [
            name if re.fullmatch(r"\w+", name) else name.replace("timestampdiff('second'", "timestampdiff(second")
            for name in names
        ]

    @staticmethod
    def why(text: str) -> Error:
        found = re.match(r"no such (table|column): (?:(\w+)\.)?(\S+)", text)
        if not found:
            return Error(1064, "42000", f"You have an error in your SQL syntax; check the manual ({text})")
        kind, schema, name = found.groups()
        if kind == "column":
            return Error(1054, "42S22", f"Unknown column '{schema + '.' if schema else ''}{name}' in 'field list'")
        if schema == "information_schema":
            return Error(1109, "42S02", f"Unknown table '{name.upper()}' in information_schema")
        return Error(1146, "42S02", f"Table '{schema or 'mysql'}.{name}' doesn't exist")


# ---------------------------------------------------------------- the wire


def lenenc(value: int) -> bytes:
    if value < 251:
        return bytes([value])
    return b"\xfc" + struct.pack("<H", value) if value < 65536 else b"\xfd" + struct.pack("<I", value)[:3]


def text(value: bytes) -> bytes:
    return lenenc(len(value)) + value


class Reader:
    """Takes a packet apart."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        self.at += size
        return part

    def word(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        end = len(self.data) if end < 0 else end
        part, self.at = self.data[self.at : end], end + 1
        return part

    def number(self) -> int:
        first = self.take(1)[0]
        size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
        return int.from_bytes(self.take(size), "little") if size else first

    def string(self) -> bytes:
        return self.take(self.number())

    def left(self) -> bool:
        return self.at < len(self.data)


class Gone(Exception):
    """The client left, or is to be left."""


class Session:
    """One client's connection."""

    def __init__(self, server: MySQL, link: socket.socket, secure: bool) -> None:
        self.server, self.link, self.secure = server, link, secure
        self.sequence, self.user, self.account = 0, "", Account("")
        self.capabilities = 0
        self.scramble = bytes(secrets.choice(LETTERS) for _ in range(20))

    def read(self) -> bytes:
        head = self.exactly(4)
        self.sequence = (head[3] + 1) & 255
        return self.exactly(int.from_bytes(head[:3], "little"))

    def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.link.recv(size - len(data))
            if not part:
                raise Gone
            data += part
        return data

    def frame(self, *packets: bytes) -> bytes:
        whole = b""
        for packet in packets:
            whole += struct.pack("<I", len(packet))[:3] + bytes([self.sequence]) + packet
            self.sequence = (self.sequence + 1) & 255
        return whole

    def send(self, *packets: bytes) -> None:
        self.link.sendall(self.frame(*packets))

    def drip(self, data: bytes) -> None:
        for at in range(len(data)):
            self.link.sendall(data[at : at + 1])
            if self.server.closing.wait(0.2):
                raise Gone

    def error(self, error: Error, plain: bool = False) -> None:
        """Send an ERR packet; `plain` before the handshake, where no SQLSTATE is sent as the client's protocol is not known."""
        state = b"" if plain else b"#" + error.state.encode()
        self.send(b"\xff" + struct.pack("<H", error.number) + state + error.text.encode())

    def ok(self) -> None:
        self.send(b"\0\0\0" + struct.pack("<HH", 2, 0))

    # -- the connection phase

    def greet(self) -> bytes:
        server = self.server
        offered = CAPABILITIES | (SSL if server.context else 0)
        return b"".join(
            (b"\x0a", server.version.encode(), b"\0", struct.pack("<I", 8), self.scramble[:8], b"\0", struct.pack("<H", offered & 0xFFFF), b"\xff",
             struct.pack("<HH", 2, offered >> 16), bytes([21]), bytes(10), self.scramble[8:], b"\0", server.plugin.encode(), b"\0")
        )  # fmt: skip

    def log_in(self) -> bool:
        self.send(self.greet())
        data = self.read()
        if len(data) == 32 and self.server.context and struct.unpack("<I", data[:4])[0] & SSL:
            self.link = self.server.context.wrap_socket(self.link, server_side=True)
            self.secure = True
            data = self.read()
        reader = Reader(data)
        self.capabilities = struct.unpack("<I", reader.take(4))[0]
        reader.take(28)
        self.user = reader.word().decode()
        given = reader.string() if self.capabilities & LENENC_AUTH else reader.take(reader.take(1)[0])
        database = reader.word().decode() if self.capabilities & CONNECT_WITH_DB else ""
        plugin = reader.word().decode()
        self.server.attributes = {}
        if self.capabilities & ATTRIBUTES and reader.left():
            inner = Reader(reader.string())
            while inner.left():
                name = inner.string().decode()
                self.server.attributes[name] = inner.string().decode()
        known = self.user in self.server.accounts
        # An unknown user is led through the same steps as a known one, so that nobody learns who exists.
        decoy = next(iter(self.server.accounts.values()))._replace(password=secrets.token_hex(8))
        self.account = self.server.accounts.get(self.user, decoy)
        if self.server.secure_only and not self.secure:
            self.error(
                Error(
                    3159,
                    "HY000",
                    "Connections using insecure transport are prohibited while --require_secure_transport=ON.",
                )
            )
            return False
        if self.account.plugin not in self.server.plugins:
            self.error(Error(1524, "HY000", f"Plugin '{self.account.plugin}' is not loaded"))
            return False
        if plugin != self.account.plugin:
            self.scramble = bytes(secrets.choice(LETTERS) for _ in range(20))
            self.send(b"\xfe" + self.account.plugin.encode() + b"\0" + self.scramble + b"\0")
            given = self.read()
        if not (self.prove(given) and known):
            using = "YES" if given.strip(b"\0") else "NO"
            self.error(
                Error(1045, "28000", f"Access denied for user '{self.user}'@'localhost' (using password: {using})")
            )
            return False
        if database and database not in ("information_schema", *self.account.databases):
            self.error(
                Error(1044, "42000", f"Access denied for user '{self.user}'@'%' to database '{database}'")
                if database in self.server.databases else Error(1049, "42000", f"Unknown database '{database}'")
            )  # fmt: skip
            return False
        self.ok()
        return True

    def prove(self, given: bytes) -> bool:
        password, server = self.account.password, self.server
        if self.account.plugin == "mysql_clear_password":
            server.clear.append(given.rstrip(b"\0").decode())
            return given == password.encode() + b"\0"
        if self.account.plugin == "mysql_native_password":
            return given == native(password, self.scramble)
        if not given.strip(b"\0"):
            return not password
        if self.user in server.cached and given == sha2(password, self.scramble):
            self.send(b"\x01\x03")
            server.ways.append("fast")
            return True
        self.send(b"\x01\x04")
        answer = self.read()
        if self.secure:
            server.ways.append("full over TLS")
        elif answer == b"\x02":
            self.send(b"\x01" + rsa_key().pem())
            sealed = rsa_key().open(self.read())
            answer = bytes(a ^ self.scramble[at % 20] for at, a in enumerate(sealed))
            server.ways.append("full by RSA")
        else:
            server.clear.append(answer.rstrip(b"\0").decode(errors="replace"))
            return False
        if answer != password.encode() + b"\0":
            return False
        server.cached.add(self.user)
        return True

    # -- the command phase

    def serve(self) -> None:
        while True:
            data = self.read()
            command, rest = data[0], data[1:]
            if command == 1:  # COM_QUIT
                self.server.left += 1
                return
            if command in (2, 14):  # COM_INIT_DB, COM_PING
                self.ok()
            elif command == 3:  # COM_QUERY
                self.answer(rest.decode())
            else:
                self.error(Error(1047, "08S01", "Unknown command"))

    def answer(self, statement: str) -> None:
        self.server.log.append(statement)
        found = self.server.answer(statement, self.user, self.account)
        if isinstance(found, Error):
            self.error(found)
        elif found is None:
            self.ok()
        elif isinstance(found, Rows):
            self.send(*self.result(found, statement))
        else:
            self.misbehave(found)

    def misbehave(self, how: str) -> None:
        sound = Rows(("a", "b"), [("1" * 40, "2" * 40)] * 20)
        if how == "hang":
            self.server.closing.wait(60)
        elif how == "drip":
            self.drip(self.frame(*self.result(sound, "")))
        elif how == "half":
            self.link.sendall(self.frame(*self.result(sound, ""))[:100])
        elif how == "garbage":
            self.link.sendall(bytes(range(255, 0, -1)) * 8)
        elif how == "flood":
            self.send(*self.result(sound, "")[:4])
            row = text(b"x" * 60000) * 2
            with contextlib.suppress(OSError):
                while not self.server.closing.is_set():
                    self.send(*[row] * 20)
        raise Gone

    def result(self, found: Rows, statement: str) -> list[bytes]:
        """Return the packets of a text result set."""
        new = bool(self.capabilities & NO_EOF)
        packets = [lenenc(len(found.columns))]
        summed = decimals(statement)
        for at, name in enumerate(found.columns):
            values = [row[at] for row in found.rows if row[at] is not None]
            kind, charset = 253, 255
            if values and all(isinstance(value, int) for value in values):
                kind, charset = (246 if at in summed else 8), 63
            elif values and all(isinstance(value, (int, float)) for value in values):
                kind, charset = (246 if at in summed else 5), 63
            elif values and all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", str(value)) for value in values):
                kind, charset = 12, 63
            packets.append(
                text(b"def")
                + text(b"") * 3
                + text(name.encode()) * 2
                + b"\x0c"
                + struct.pack("<HIBHBH", charset, 1024, kind, 0, 0, 0)
            )
        end = b"\xfe" + struct.pack("<HH", 0, 2)
        if not new:
            packets.append(end)
        for row in found.rows:
            packets.append(b"".join(b"\xfb" if value is None else text(written(value)) for value in row))
        packets.append(b"\xfe\0\0" + struct.pack("<HH", 2, 0) if new else end)
        return packets


def written(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def decimals(statement: str) -> set[int]:
    """Say which columns of a SELECT are of the type DECIMAL: SUM and AVG of integers, and quotients ("Aggregate Function Descriptions")."""
    found = re.match(r"select (.*?)(?: from |$)", bare(normal(statement)))
    items, depth = [""], 0
    for letter in found.group(1) if found else "":
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            items.append("")
        else:
            items[-1] += letter
    return {at for at, item in enumerate(items) if re.search(r"\b(sum|avg) ?\(|[^/]/[^/]", item)}


# ---------------------------------------------------------------- the server

Answer = Any  # Rows | Error | None (OK packet) | a fault: "hang", "drip", "half", "cut", "garbage", "flood" | () -> one of these


class MySQL:
    """The server, on a free port of 127.0.0.1 until the block is left.

    accounts   user -> Account
    tables     "schema.table" -> Table, status and variables: name -> value (see mysql_answers)
    answers    normalised statement -> what comes, before anything else is tried
    fault      for every client: "hang", "drip", "half", "cut", "garbage", "http", or an Error in place of the handshake
    certificate  (certificate, key) of a server that has TLS; secure_only: it demands it
    plugin     what the handshake names (default_authentication_plugin); plugins: those that are loaded
    path       a Unix socket to listen on beside the port
    now        the server's clock (None: the real one)
    log, unknown  statements taken; those nobody could answer
    ways, clear   how caching_sha2_password went; passwords that came unencrypted
    left, open    sessions ended by COM_QUIT; sessions that are open
    """

    def __init__(
        self, version: str = "8.0.40", accounts: Mapping[str, Account] | None = None, *, tables: Mapping[str, Table] | None = None,
        status: Mapping[str, str] | None = None, variables: Mapping[str, str] | None = None, answers: Mapping[str, Answer] | None = None,
        fault: Any = "", certificate: tuple[str, str] | None = None, secure_only: bool = False, plugin: str = "caching_sha2_password",
        path: str = "", databases: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.version, self.fault, self.secure_only, self.plugin = version, fault, secure_only, plugin
        self.accounts = dict(accounts or {"monitor": Account("secret")})
        self.tables, self.status, self.variables = dict(tables or {}), dict(status or {}), dict(variables or {})
        self.variables = {"version": version, "autocommit": "ON", **self.variables}
        self.answers, self.databases = dict(answers or {}), tuple(databases)
        # 8.4 starts without mysql_native_password, 9.0 has none ("What Is New in MySQL 8.4").
        old = () if version.startswith(("8.4", "9")) else ("mysql_native_password",)
        self.plugins: tuple[str, ...] = ("caching_sha2_password", "mysql_clear_password", *old)
        self.context: ssl.SSLContext | None = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        self.now: datetime.datetime | None = None
        self.log: list[str] = []
        self.unknown: list[str] = []
        self.ways: list[str] = []
        self.clear: list[str] = []
        self.attributes: dict[str, str] = {}
        self.cached: set[str] = set()
        self.left = self.open = 0
        self.closing = threading.Event()
        self.links: list[socket.socket] = []
        self.listeners = [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self.listeners[0].getsockname()[1]
        if path:
            self.listeners.append(socket.socket(socket.AF_UNIX))
            self.listeners[1].bind(path)
            self.listeners[1].listen()

    def __enter__(self) -> MySQL:
        for listener in self.listeners:
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        for link in (*self.listeners, *self.links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    def wait_until_left(self, seconds: float = 5) -> int:
        """Wait until no session is open, as a client goes on before its QUIT is read; return how many said it."""
        end = time.monotonic() + seconds
        while self.open and time.monotonic() < end:
            time.sleep(0.01)
        return self.left

    def accept(self, listener: socket.socket) -> None:
        while not self.closing.is_set():
            try:
                link, _ = listener.accept()
            except OSError:
                return
            self.links.append(link)
            if listener.family != socket.AF_UNIX:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.client, args=(link, listener.family == socket.AF_UNIX), daemon=True).start()

    def client(self, link: socket.socket, secure: bool) -> None:
        session = Session(self, link, secure)
        self.open += 1
        try:
            if self.fault:
                self.fail(session)
            elif session.log_in():
                session.serve()
        except (Gone, OSError, ValueError):
            pass
        finally:
            self.open -= 1
            with contextlib.suppress(OSError):
                session.link.close()

    def fail(self, session: Session) -> None:
        """Do what `fault` says in place of the handshake."""
        if isinstance(self.fault, Error):
            session.error(self.fault, plain=True)
        elif self.fault == "hang":
            self.closing.wait(60)
        elif self.fault == "drip":
            session.drip(session.frame(session.greet()))
        elif self.fault == "half":
            session.link.sendall(session.frame(session.greet())[:20])
        elif self.fault == "garbage":
            session.link.sendall(bytes(range(255, 0, -1)) * 8)
        elif self.fault == "http":
            session.link.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def clock(self) -> datetime.datetime:
        """The server's time."""
        return self.now or datetime.datetime.now(UTC)

    def answer(self, statement: str, user: str, account: Account) -> Answer:
        """Say what comes of a statement."""
        asked = normal(statement)
        if asked in self.answers:
            given = self.answers[asked]
            return given() if callable(given) else given
        shown = re.match(r"show (?:(?:global|session) )?(status|variables)\b ?(.*)$", asked)
        if shown:
            return self.show(*shown.groups())
        if asked.startswith("set "):
            return self.set(asked)
        if RESERVED.search(bare(asked)):
            self.unknown.append(asked)
            return Error(1064, "42000", "You have an error in your SQL syntax; a word is reserved")
        if asked.startswith(("select ", "with ")):
            return self.select(asked, user, account)
        self.unknown.append(asked)
        near = asked[:40]
        return Error(1064, "42000", f"You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version for the right syntax to use near '{near}' at line 1")  # fmt: skip

    def show(self, what: str, rest: str) -> Rows | Error:
        """SHOW STATUS and SHOW VARIABLES take no privilege; LIKE and WHERE as SELECT has them."""
        pairs = sorted((self.status if what == "status" else self.variables).items())
        table = {"main.shown": Table(("Variable_name", "Value"), list(pairs))}
        rest = f"where variable_name {rest} escape '\\'" if rest.startswith("like ") else rest
        return Engine(table, self.variables, self.clock(), "").select(f"select Variable_name, Value from shown {rest}")

    def set(self, asked: str) -> Error | None:
        """SET of what this version has not is error 1193 ("Server System Variables")."""
        if re.match(r"set (names|character set|(session )?transaction)\b", asked):
            return None
        for name in re.findall(r"(?:^set|,) ?(?:session |global |local |@@(?:session\.)?)?(\w+) ?:?=", bare(asked)):
            if name not in self.variables:
                return Error(1193, "HY000", f"Unknown system variable '{name}'")
        if " statement " in asked:
            return Error(1064, "42000", "You have an error in your SQL syntax near 'STATEMENT'")
        return None

    def select(self, asked: str, user: str, account: Account) -> Rows | Error:
        seen = dict(self.tables)
        for name, table in self.tables.items():
            schema, _, short = name.partition(".")
            if (
                table.right
                and table.right not in account.rights
                and re.search(rf"\b{schema}\.`?{short}\b", bare(asked))
            ):
                if table.refusal is None:  # rows of others are hidden
                    seen[name] = table._replace(rows=[row for row in table.rows if user in row])
                    continue
                words = table.refusal.text.replace("%u", user)
                return table.refusal._replace(text=words)
        found = Engine(seen, self.variables, self.clock(), user).select(asked)
        if isinstance(found, Error) and found.number == 1064:
            self.unknown.append(asked)
        return found


if __name__ == "__main__":
    from tests.simulators.mysql_answers import healthy

    with healthy(*sys.argv[1:2]) as server:
        print(f"127.0.0.1:{server.port}, user monitor, password secret", flush=True)
        time.sleep(1e6)
