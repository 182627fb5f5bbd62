# SPDX-License-Identifier: Apache-2.0
"""The listeners of a simulated cloud: real sockets, real bytes, one thread, and every way of failing.

8773  the JVM's web services, plain HTTP and TLS on the same port (the first byte decides, MSGS/ws/Handlers.java)
8774  the CC's httpd, at most 8 clients at a time
8775  the NC's httpd, ONE client at a time, which may keep its connection for 30 s (tools/httpd.conf: MaxClients 1)

A host listens on the ports of what is registered on it. Everything of one cloud runs in one asyncio loop; `Loop.close` ends
its thread and every socket.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from nephoscope.demo import wire
from nephoscope.demo.model import Answer, Cloud, Request

JVM, CC, NC = 8773, 8774, 8775
CLIENTS = {CC: 8, NC: 1}
KEEP_ALIVE = {JVM: 60.0, CC: 30.0, NC: 30.0}
LARGEST = 16 * 1024 * 1024
"""Bytes of a request's body that are read."""
REMEMBERED = 50_000
"""Requests that are remembered, the latest ones."""
HUGE = 512 * 1024 * 1024
"""Bytes that the failure "huge" sends to who goes on reading."""


class Seen(NamedTuple):
    """One request that was read."""

    host: str
    method: str
    path: str
    action: str


class _Bad(Exception):
    """What came in is no request."""


Dispatch = Callable[[Request, int], Answer]


class Loop:
    """The thread, its loop and the listeners. `start`, `open`, `shut`, `cut` and `close` may be called from any thread."""

    def __init__(self, cloud: Cloud, dispatch: Dispatch) -> None:
        self.cloud = cloud
        self.dispatch = dispatch
        self.seen: deque[Seen] = deque(maxlen=REMEMBERED)
        self.accepted: dict[str, int] = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._main, name="nephoscope-demo", daemon=True)
        self.listeners: dict[str, list[socket.socket]] = {}
        self.clients: dict[str, set[asyncio.Task[None]]] = {}
        self.rooms: dict[tuple[str, int], asyncio.Semaphore] = {}
        self.certificate: Certificate | None = None
        self.closed = False

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def start(self) -> None:
        """Start the thread; nothing listens yet."""
        self.thread.start()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something in the loop and return what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def open(self, host: str, address: str, ports: tuple[int, ...]) -> None:
        """Let a host listen. Raises OSError when an address or port is taken."""
        if host in self.listeners:
            return
        sockets = []
        try:
            for port in ports:
                listener = socket.socket()
                sockets.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, port))
                listener.listen(128)
                listener.setblocking(False)
        except OSError:
            for listener in sockets:
                listener.close()
            raise
        self.listeners[host] = sockets

        async def watch() -> None:
            for port, listener in zip(ports, sockets):
                self.loop.add_reader(listener, self._accept, host, port, listener)

        self.do(watch())

    def shut(self, host: str) -> None:
        """Close a host's listeners and cut its connections: who connects now is refused."""
        sockets = self.listeners.pop(host, [])
        if not sockets:
            return

        async def unwatch() -> None:
            for listener in sockets:
                self.loop.remove_reader(listener)
                listener.close()
            await self._cut(host)

        self.do(unwatch())

    def cut(self, host: str) -> None:
        """Cut a host's connections; it goes on listening."""
        self.do(self._cut(host))

    async def _cut(self, host: str) -> None:
        tasks = {task for task in self.clients.get(host, ()) if task is not asyncio.current_task()}
        while tasks:
            # Again and again: before Python 3.12 wait_for() loses a cancellation that comes with what it waits for.
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.1)

    def close(self) -> None:
        """End everything: listeners, connections, thread."""
        if self.closed:
            return
        self.closed = True
        if self.thread.is_alive():
            for host in list(self.listeners):
                self.shut(host)

            async def rest() -> None:
                for host in list(self.clients):
                    await self._cut(host)

            self.do(rest())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(20)
        self.loop.close()

    # ---- one connection

    def _accept(self, host: str, port: int, listener: socket.socket) -> None:
        for _ in range(100):
            try:
                client, _address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    return
                continue
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted[host] = self.accepted.get(host, 0) + 1
            task = self.loop.create_task(self._serve(host, port, client))
            tasks = self.clients.setdefault(host, set())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            # A task that is cancelled before its first step runs no `finally`.
            task.add_done_callback(lambda _, client=client: client.close())  # type: ignore[misc]

    async def _serve(self, host: str, port: int, client: socket.socket) -> None:
        writer: asyncio.StreamWriter | None = None
        try:
            room = self._room(host, port)
            async with room or _Free():
                if self.cloud.hosts[host].failure == "hang":
                    await self._swallow(client)
                    return
                secure = port == JVM and await self._first(client) == b"\x16"
                reader = asyncio.StreamReader(limit=256 * 1024)
                protocol = asyncio.StreamReaderProtocol(reader)
                context = self._context() if secure else None
                transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, client, ssl=context)
                writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
                while await self._exchange(host, port, reader, writer):
                    pass
        except (OSError, ssl.SSLError, asyncio.TimeoutError, asyncio.IncompleteReadError, _Bad):
            pass
        except ValueError:
            pass  # lines, numbers and lengths that are none: it is hung up on
        finally:
            if writer is not None:
                await _end(writer)
            else:
                client.close()

    def _room(self, host: str, port: int) -> asyncio.Semaphore | None:
        if port not in CLIENTS:
            return None
        if (host, port) not in self.rooms:
            self.rooms[host, port] = asyncio.Semaphore(CLIENTS[port])
        return self.rooms[host, port]

    async def _readable(self, client: socket.socket) -> None:
        ready = asyncio.Event()
        self.loop.add_reader(client, ready.set)
        try:
            await ready.wait()
        finally:
            self.loop.remove_reader(client)

    async def _first(self, client: socket.socket) -> bytes:
        await asyncio.wait_for(self._readable(client), 300)
        return client.recv(1, socket.MSG_PEEK)

    async def _swallow(self, client: socket.socket) -> None:
        """Read and say nothing until the client goes (or the host heals, which cuts)."""
        while True:
            await self._readable(client)
            if not client.recv(65536):
                return

    def _context(self) -> ssl.SSLContext:
        return self.secure().context

    def secure(self) -> Certificate:
        """Return the certificate of this cloud, made when it is first asked for."""
        with self.cloud.lock:
            if self.certificate is None:
                self.certificate = Certificate(
                    [host.address for host in self.cloud.hosts.values() if not host.bulk][:100]
                )
            return self.certificate

    async def _exchange(self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Read one request and answer it; say whether the connection stays open."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), KEEP_ALIVE[port])
        except asyncio.LimitOverrunError as error:
            raise _Bad from error
        method, target, version, headers = _head(head)
        body = await asyncio.wait_for(_body(reader, writer, headers), 300)
        path, _, query = target.partition("?")
        params = dict(parse_qsl(query, keep_blank_values=True))
        if headers.get("content-type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded":
            params.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        request = Request(host, method, unquote(path) or "/", query, headers, body, params, None)
        request = request._replace(headers={**headers, ":target": target})
        self.seen.append(Seen(host, method, path[:200], request.action[:200]))
        failure = self.cloud.hosts[host].failure
        if failure == "hang":
            await reader.read(-1)
            return False
        if failure == "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            writer.transport.abort()
            return False
        delay = float(self.cloud.hosts[host].store.get("delay", 0))
        if delay:
            await asyncio.sleep(delay)
        try:
            with self.cloud.lock:
                answer = self.dispatch(request, port)
        except Exception as error:  # a bug of the simulator must be seen, not hang the client
            answer = wire.fault(500, f"simulator: {type(error).__name__}: {error}")
        persistent = _persistent(version, headers)
        if failure:
            await self._fail(failure, request, port, answer, writer)
            return False
        stay = persistent and answer.headers.get("Connection") != "close"
        writer.write(self.head(answer, port, stay=stay) + (b"" if method == "HEAD" else answer.body))
        await writer.drain()
        return stay

    def head(self, answer: Answer, port: int, *, stay: bool, length: int | None = None) -> bytes:
        """Return the status line and the headers of an answer, with the blank line."""
        lines = [f"HTTP/1.1 {wire.phrase(answer.status)}"]
        named = {name.lower() for name in answer.headers}
        if port == JVM:
            lines += [f"{name}: {value}" for name, value in answer.headers.items() if name != "Connection"]
            if "date" not in named and self.cloud.at_least(4):
                lines.append(f"Date: {wire.date(self.cloud.now())}")
            if self.cloud.at_least(4, 3) and "server" not in named:
                lines.append(f"Server: Eucalyptus/{self.cloud.version}")
        else:
            lines += [f"Date: {wire.date(self.cloud.now())}", "Server: Apache/2.4.6 (CentOS)"]
            lines += [f"{name}: {value}" for name, value in answer.headers.items() if name != "Connection"]
            if stay:
                lines += ["Keep-Alive: timeout=30, max=100", "Connection: Keep-Alive"]
        if "content-length" not in named and answer.status not in (204, 304, 405):
            lines.append(f"Content-Length: {len(answer.body) if length is None else length}")
        if not stay:
            lines.append("Connection: close")
        return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"

    async def _fail(
        self, failure: str, request: Request, port: int, answer: Answer, writer: asyncio.StreamWriter
    ) -> None:
        kind = answer.headers.get("Content-Type", "text/plain")
        body = answer.body
        if failure == "error500":
            answer = wire.fault(500, "An internal error has occurred")
        elif failure == "unavailable":
            answer = Answer(503, {"Connection": "close"}, b"")
        elif failure == "cut":
            head = self.head(answer, port, stay=False)
            writer.write(head + body[: len(body) // 2] if body else head[:8])
            return
        elif failure == "truncated":
            answer = answer._replace(body=body[: len(body) // 2])
        elif failure == "garbage":
            answer = Answer(200, {"Content-Type": kind}, bytes(range(256)) * 4)
        elif failure == "noise":
            writer.write(bytes(range(128, 256)) * 8)
            return
        elif failure == "empty":
            answer = Answer(200, {"Content-Type": kind}, b"")
        elif failure == "html":
            answer = Answer(200, {"Content-Type": "text/html"}, PAGE)
        elif failure == "login":
            answer = Answer(302, {"Location": "https://sso.example/login?next=/", "Content-Type": "text/html"}, b"")
        elif failure == "bomb":
            answer = Answer(200, {"Content-Type": wire.XML}, BOMB)
        elif failure == "drip":
            for byte in self.head(answer, port, stay=False) + body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1)
            return
        elif failure == "huge":
            await self._huge(answer, port, writer)
            return
        writer.write(self.head(answer, port, stay=False) + (b"" if request.method == "HEAD" else answer.body))
        await writer.drain()

    async def _huge(self, answer: Answer, port: int, writer: asyncio.StreamWriter) -> None:
        # The true beginning, and then blanks where XML takes them: only the size is wrong.
        begun, _, rest = answer.body.partition(b">")
        writer.write(self.head(answer, port, stay=False, length=HUGE) + begun + b">")
        block = b" " * 65536
        for _ in range(HUGE // len(block)):
            writer.write(block)
            await writer.drain()
        writer.write(rest)


async def _end(writer: asyncio.StreamWriter) -> None:
    """Close a connection. What was written gets out, but a client that does not read cannot hold the server for it."""
    try:
        if not writer.transport.is_closing():
            writer.close()
        closing = asyncio.ensure_future(writer.wait_closed())
        closing.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.wait({closing}, timeout=0.5)
        closing.cancel()
    finally:
        writer.transport.abort()


class _Free:
    """The room of a server that takes any number of clients."""

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        return None


class Certificate:
    """A self-signed certificate for the cloud's addresses, made by the openssl program; its files are gone again at once.

    `pem` is the certificate, `context` the server's side of TLS, which has the key.
    """

    def __init__(self, addresses: list[str]) -> None:
        names = ",".join(["DNS:localhost", *(f"IP:{address}" for address in addresses)])
        with tempfile.TemporaryDirectory(prefix="nephoscope-demo-") as folder:
            cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
            # A P-256 key takes milliseconds; a real cloud's is RSA, which no client of ours tells apart.
            subprocess.run(
                ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                 "30", "-subj", "/CN=nephoscope demo", "-addext", f"subjectAltName={names}", "-out", cert, "-keyout", key],
                check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60,
            )  # fmt: skip
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(cert, key)
            with open(cert, "rb") as stream:
                self.pem = stream.read()


PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body><h1>Squid 4.10</h1><p>The page that you asked for"
    b" is not here &amp; never was.</p></body></html>\n"
)
BOMB = (
    b'<?xml version="1.0"?>\n<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (letter, (b"&%c;" % (letter - 1)) * 10) for letter in range(ord("b"), ord("k")))
    + b"]>\n<DescribeServicesResponseType><serviceStatuses><item><localState>&j;</localState></item></serviceStatuses>"
    b"</DescribeServicesResponseType>"
)


def _persistent(version: str, headers: dict[str, str]) -> bool:
    # NioServerHandler.isPersistentConnection; httpd does the same.
    connection = headers.get("connection", "").lower()
    return connection != "close" if version == "HTTP/1.1" else connection == "keep-alive"


def _head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Bad(first)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            name = name.strip().lower()
            headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    return words[0], words[1], words[2], headers


async def _body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]) -> bytes:
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts: list[bytes] = []
        size = 0
        while True:
            length = int((await reader.readline()).partition(b";")[0].strip() or b"0", 16)
            size += length
            if size > LARGEST:
                raise _Bad("too large")
            if not length:
                while (await reader.readline()).strip():
                    pass
                return b"".join(parts)
            parts.append(await reader.readexactly(length))
            await reader.readline()
    try:
        length = int(headers.get("content-length") or 0)
    except ValueError as error:
        raise _Bad("Content-Length") from error
    if not 0 <= length <= LARGEST:
        raise _Bad("too large")
    return await reader.readexactly(length) if length else b""
