# SPDX-License-Identifier: Apache-2.0
"""A round trip over AMQP 0-9-1: a queue of our own, one message published into it, confirmed, and got back.

The client is py-amqp, which kombu and so oslo.messaging use. Its time-outs are per read and its frames of any size, so the
bytes are carried by probes/stream.py. Sources: the AMQP 0-9-1 specification; RabbitMQ's extensions (confirm.select,
connection.blocked, authentication_failure_close); rabbit_reader.erl: a client is told that it is blocked, and is not read
from any more, once it has published; that it has gone, the broker learns by the heartbeats that it sends.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import stream, transport_url
from nephoscope.probes.stream import Stream
from nephoscope.probes.transport_url import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT, TLS_PORT = 5672, 5671
LIMIT = r"limit\b.*\(\d+\)"  # how RabbitMQ words each of its limits
FRAME = 1 << 20  # bytes of one frame; brokers send 128 KiB at most unless told otherwise
MOST = 1 << 20  # bytes of all: the longest answer, the greeting, has some 1,000
FAREWELL = 1.0  # seconds in which the broker may hear that we go
PREFIX = "nephoscope."
PERMISSIONS = r"'^nephoscope\.' '^amq\.default$' '^nephoscope\.'"
WANTED = b"\x01\x00\x00"  # a method frame of channel 0: connection.start


class Trip(NamedTuple):
    """What became of the message.

    of       the broker's name, "" for the only one
    broker   "RabbitMQ 3.10.8"
    tls      "TLSv1.3" or ""
    login    seconds until logged in
    seconds  from the publication until it was confirmed and back; None: it did not come
    fault    what was wrong with it, or ""
    """

    of: str
    broker: str
    tls: str
    login: float
    seconds: float | None
    fault: str = ""


def options(add: Any) -> None:
    """Declare as whom, and where, beside the group "tls"."""
    add("--user", metavar="NAME", help="who logs in (default guest, which a broker lets in from its own host only)")
    add("--password", secret=True, help="that user's password")
    add("--vhost", metavar="NAME", help="virtual host (default /)")
    add(
        "--from-service-file",
        repeat=True,
        metavar="FILE",
        help="take brokers and log-ins from the transport_url of an OpenStack service, like /etc/nova/nova.conf",
    )


def brokers(options: Any, run: Run) -> list[Broker | Failed]:
    """Return the brokers that the options name. Raises Failed unreadable for options that do not go together."""
    stream.agree(options, "from_service_file", "hostname", "port", "user", "vhost", *stream.TLS)
    if options.from_service_file:
        found = transport_url.brokers(run, options.from_service_file)
        return [one for one in found if isinstance(one, Failed) or run.wants(one.of)]
    tls = stream.tls_of(options)
    user = options.user or ("" if options.cert else "guest")
    password = options.password or ("guest" if user == "guest" else "")
    port = options.port or (TLS_PORT if tls else PORT)
    return [Broker(options.hostname or "127.0.0.1", port, user, password, options.vhost or "/", tls)]


def trips(options: Any, run: Run) -> list[Trip | Failed]:
    """Return what became of a message at each broker that the options name; of several side by side, each in a child."""
    asked = brokers(options, run)
    import amqp  # noqa: F401 - before the children are made, and where a missing module is told as such

    if len(asked) == 1 and isinstance(asked[0], Broker) and not options.from_service_file:
        return [trip(run, asked[0])]
    from nephoscope.base.child import each

    jobs = {one.of: _job(run, one) for one in asked if isinstance(one, Broker)}
    done = each(run, jobs, tried="round trip", seconds=max(0.1, run.left()))
    made = {of: one if isinstance(one, Failed) else Trip(*one) for of, one in done.items()}
    return [one if isinstance(one, Failed) else made[one.of] for one in asked]


def _job(run: Run, broker: Broker) -> Any:
    return lambda: list(trip(run, broker, broker.of))


def trip(run: Run, broker: Broker, of: str = "") -> Trip:
    """Return what became of a message. Leaves nothing behind: the queue is the connection's own, and goes with it.

    Raises Failed: unreachable (refused, silent, cut, blocked by an alarm, shutting down, too many connections), not-allowed
    (log-in, virtual host, a permission, a certificate), absent (no such virtual host), unreadable (no AMQP 0-9-1).
    """
    begun = time.monotonic()
    with stream.tcp(run, broker.host, broker.port, broker.tls, of=of or broker.place) as link:
        session = _Session(link, broker)
        try:
            link.ask("log in")
            session.connect()
            login = time.monotonic() - begun
            seconds, fault = session.round_trip()
            session.farewell()
            return Trip(of, session.product(), link.tls, login, seconds, fault)
        except Failed:
            raise
        except Exception as error:
            raise session.meaning(error) from None


class _Transport:
    """What py-amqp wants of a transport, over a Stream."""

    def __init__(self, link: Stream) -> None:
        self.link, self.buffer = link, bytearray()
        self.connected = False
        self.sock = link.sock

    def connect(self) -> None:
        self.link.send(b"AMQP\x00\x00\x09\x01")
        self.connected = True

    @contextmanager
    def having_timeout(self, _seconds: Any) -> Iterator[Any]:
        yield self.sock

    def read_frame(self) -> tuple[int, int, bytes]:
        head = self._read(7)
        size = int.from_bytes(head[3:], "big")
        if size > FRAME:
            raise Failed(UNREADABLE, self.link.of, self.link.tried, "its answer is no AMQP: a frame is too large")
        body = self._read(size + 1)
        if body[-1] != 0xCE:
            raise Failed(UNREADABLE, self.link.of, self.link.tried, "its answer is no AMQP: a frame has no end")
        return head[0], int.from_bytes(head[1:3], "big"), body[:-1]

    def _read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            first = not self.link.received
            data = self.link.receive()
            if not data:
                raise self.link.cut()
            self.buffer += data
            if first or self.link.received < 8:
                self._greeted(bytes(self.buffer))
            if self.link.received > MOST:
                raise Failed(UNREADABLE, self.link.of, self.link.tried, f"more than {MOST >> 20} MiB of an answer")
        found = bytes(self.buffer[:size])
        del self.buffer[:size]
        return found

    def _greeted(self, data: bytes) -> None:
        """Raise Failed when the first bytes are not those of AMQP 0-9-1."""
        if data[:3] == WANTED[: len(data)]:
            return
        if data[:4] == b"AMQP"[: len(data)]:
            if len(data) < 8:
                return
            speaks = {b"\x01\x00\x00": "1.0", b"\x01\x00\x0a": "0-10"}.get(data[5:8], "of another version")
            error, cure = f"it speaks AMQP {speaks}, not 0-9-1", ""
        else:
            who = stream.looks_like(data)
            error, cure = (f"this is {who}, no AMQP broker" if who else "its answer is no AMQP"), ""
            if who.endswith("wants TLS"):
                error, cure = "it wants TLS", "give --tls"
        raise Failed(UNREADABLE, self.link.of, self.link.tried, error, cure)

    def write(self, data: Any) -> None:
        self.link.send(data)

    def close(self) -> None:
        self.connected = False
        self.link.close()


def _connection(link: Stream, broker: Broker, blocked: Any) -> Any:
    """Return py-amqp's connection, not yet connected, that reads and writes through the stream."""
    import amqp
    from amqp import sasl, spec

    class Connection(amqp.Connection):  # type: ignore[misc,unused-ignore]
        def Transport(self, *_words: Any, **_more: Any) -> Any:  # noqa: N802 - the library's name
            return _Transport(link)

        def drain_events(self, timeout: float | None = None) -> None:
            if timeout != 0:  # a mere look at whether something came: it will be read in its turn
                super().drain_events()

        def _on_blocked(self, reason: str = "") -> None:
            blocked(str(reason))

    # The library drops the reason, a short string.
    told = spec.method(spec.Connection.Blocked, "s")
    Connection._METHODS = {**amqp.Connection._METHODS, spec.Connection.Blocked: told}
    log_in = (sasl.AMQPLAIN(broker.user, broker.password), sasl.PLAIN(broker.user, broker.password))
    return Connection(
        host=stream.name_of(broker.host, broker.port),
        authentication=log_in if broker.user else (sasl.EXTERNAL(),),
        virtual_host=broker.vhost,
        # We send none, and are silent for the whole run at most: a shorter one would have us cut off.
        heartbeat=int(link.run.left()) + 2,
        client_properties={"connection_name": "nephoscope", "product": "nephoscope", "product_version": ""},
    )


class _Session:
    """One connection, and what was learnt of it."""

    def __init__(self, link: Stream, broker: Broker) -> None:
        self.link, self.broker = link, broker
        self.blocked = ""
        self.connection = _connection(link, broker, self._block)
        self.queue = f"{PREFIX}{os.urandom(12).hex()}"
        self.channel: Any = None

    def _block(self, reason: str) -> None:
        self.blocked = reason[:80] or "it does not say which"

    def connect(self) -> None:
        """Log in."""
        self.connection.connect()

    def product(self) -> str:
        """Return name and version of the broker, as it says."""
        known = self.connection.server_properties
        return f"{known.get('product', 'a broker')} {known.get('version', '')}".strip()[:60]

    def round_trip(self) -> tuple[float | None, str]:
        """Return the seconds from the publication until the message was confirmed and back (None: never), and its fault."""
        from amqp import Message

        self.link.ask("open a channel")
        self.channel = channel = self.connection.channel()
        channel.confirm_select()
        self.link.ask("declare a queue")
        channel.queue_declare(self.queue, exclusive=True, auto_delete=True, durable=False)
        came: list[Any] = []
        told: list[str] = []
        self.link.ask("consume from it")
        channel.basic_consume(self.queue, no_ack=True, callback=came.append)
        channel.events["basic_ack"].add(lambda *_: told.append("ack"))
        channel.events["basic_nack"].add(lambda *_: told.append("nack"))
        channel.events["basic_return"].add(lambda error, *_: told.append(f"return {error.reply_text}"))
        body = os.urandom(32)
        self.link.ask("publish")
        begun = time.monotonic()
        channel.basic_publish(Message(body, delivery_mode=1), routing_key=self.queue, mandatory=True)
        while not self.blocked and not (came and told):
            self.connection.drain_events()
            if told and told[0] != "ack":
                break
        seconds = time.monotonic() - begun
        if self.blocked:  # nothing that we say is read any more, so there is no farewell
            error = f"it blocks publishers because of an alarm: {self.blocked}"
            raise Failed(UNREACHABLE, self.link.of, "publish", error)
        if told[0] != "ack":
            word = f"was returned: {told[0][7:60]}" if told[0] != "nack" else "was refused by the broker (nack)"
            return None, f"the message {word}"
        return seconds, "" if bytes(_bytes(came[0].body)) == body else "the message came back altered"

    def farewell(self) -> None:
        """Delete the queue and log out; that it could not be said is no news, as the queue goes with the connection."""
        try:
            self.link.ask("delete the queue")
            self.link.until = time.monotonic() + FAREWELL
            self.channel.queue_delete(self.queue)
            self.connection.close()
        except Exception:
            pass

    def meaning(self, error: Exception) -> Failed:
        """Return what an error of py-amqp says, without its text: that may hold anything."""
        # The library's own complaints have a code, too, but belong to no method of the broker's.
        code = 0 if getattr(error, "method_sig", None) is None else int(getattr(error, "reply_code", None) or 0)
        text = str(getattr(error, "reply_text", ""))
        of, tried, broker = self.link.of, self.link.tried, self.broker
        word = text.partition(" ")[0] if text.partition(" ")[0].replace("_", "").isupper() else type(error).__name__
        if code == 403 and tried == "log in":
            return Failed(NOT_ALLOWED, of, tried, "it refuses the log-in", f"the right password of user {broker.user}")
        if code == 403:
            cure = f"`rabbitmqctl set_permissions -p {broker.vhost} {broker.user} {PERMISSIONS}`"
            return Failed(NOT_ALLOWED, of, tried, "it refuses that (ACCESS_REFUSED)", cure)
        if code == 530 and "not found" in text:
            return Failed(ABSENT, of, tried, f"there is no virtual host {broker.vhost}")
        if code in (406, 530) and re.search(LIMIT, text):
            what = re.search(r"connection|channel|queue", text.partition(" - ")[2])
            whose = "its own, the user's or the virtual host's"
            return Failed(UNREACHABLE, of, tried, f"a limit of {what[0] if what else 'it'}s is reached: {whose}")
        if code in (530, 541) and " down" in text:
            return Failed(UNREACHABLE, of, tried, f"virtual host {broker.vhost} is down")
        if code == 530 and "refused" in text:
            cure = f"`rabbitmqctl set_permissions -p {broker.vhost} {broker.user} {PERMISSIONS}`"
            return Failed(NOT_ALLOWED, of, tried, f"it refuses virtual host {broker.vhost}", cure)
        if code == 320:
            why = ": it shuts down" if "shutdown" in text else ""
            return Failed(UNREACHABLE, of, tried, f"it closed the connection (CONNECTION_FORCED){why}")
        if word == "ConsumerCancelled":
            return Failed(UNREACHABLE, of, tried, "it took the queue away before the message was back")
        if code in (506, 541):
            return Failed(UNREACHABLE, of, tried, f"it can't ({code} {word})")
        if code:
            return Failed(UNREADABLE, of, tried, f"it answers {code} {word}")
        if "auth mechanism" in text or "auth mechanism" in str(error.args[:1]):
            return Failed(NOT_ALLOWED, of, tried, "it offers no way to log in that we know", "PLAIN or AMQPLAIN")
        return Failed(UNREADABLE, of, tried, f"its answer is no AMQP ({type(error).__name__})")


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)
