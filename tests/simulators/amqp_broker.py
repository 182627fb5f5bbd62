# SPDX-License-Identifier: Apache-2.0
"""A broker that speaks AMQP 0-9-1 for one channel and one queue, and fails in the ways that a test names.

From the specification (amqp0-9-1.xml: class and method numbers, argument types) and RabbitMQ's extensions (confirm.select 85,
basic.ack and basic.nack from the server, connection.blocked 10.60); the texts of its refusals are those of RabbitMQ 3.10.8.
It shares nothing with a client; py-amqp is content with it.
"""

from __future__ import annotations

import contextlib
import struct
import time

START, START_OK, TUNE, TUNE_OK, OPEN, OPEN_OK = (10, 10), (10, 11), (10, 30), (10, 31), (10, 40), (10, 41)
CLOSE, CLOSE_OK, BLOCKED = (10, 50), (10, 51), (10, 60)
CHANNEL_OPEN, CHANNEL_OPEN_OK, CHANNEL_CLOSE, CHANNEL_CLOSE_OK = (20, 10), (20, 11), (20, 40), (20, 41)
DECLARE, DECLARE_OK, DELETE, DELETE_OK = (50, 10), (50, 11), (50, 40), (50, 41)
CONSUME, CONSUME_OK, CANCEL, PUBLISH, RETURN, DELIVER = (60, 20), (60, 21), (60, 30), (60, 40), (60, 50), (60, 60)
ACK, NACK, SELECT, SELECT_OK = (60, 80), (60, 120), (85, 10), (85, 11)
STEPS = {
    "log in": START_OK, "open": OPEN, "channel": CHANNEL_OPEN, "confirm": SELECT, "declare": DECLARE,
    "consume": CONSUME, "publish": PUBLISH, "delete": DELETE, "close": CLOSE,
}  # fmt: skip


def short(text):
    data = text.encode()
    return bytes([len(data)]) + data


def long(data):
    return struct.pack(">I", len(data)) + data


def table(values):
    out = b""
    for name, value in values.items():
        out += short(name)
        if isinstance(value, dict):
            out += b"F" + table(value)
        elif isinstance(value, bool):
            out += b"t" + bytes([value])
        else:
            out += b"S" + long(value.encode())
    return long(out)


CAPABILITIES = {"publisher_confirms": True, "connection.blocked": True, "authentication_failure_close": True}
PROPERTIES = {"product": "RabbitMQ", "version": "3.10.8", "capabilities": CAPABILITIES}


class Broker:
    """A behaviour of a Talker.

    at, does     the step of STEPS at which it fails, and how: "hang", "cut", "drip", "heartbeats" (a flood of nothing else),
                 "garbage", "large" (a frame of 4 GiB), "open-ended" (a frame without its end), (code, text) (closes the
                 connection), (code, text, "channel") (closes the channel), or, of a publication: "blocked", "nack",
                 "cancel" (of the consumer), "return", "alter", "unconfirmed", "undelivered"
    users        name -> password
    heard        the steps that came
    queues       what is declared just now
    """

    def __init__(self, at="", does="", *, users=None, mechanisms="AMQPLAIN PLAIN", properties=PROPERTIES):
        self.at, self.does, self.users, self.mechanisms, self.properties = at, does, users, mechanisms, properties
        self.heard, self.queues, self.declared = [], set(), []

    def __call__(self, peer):
        with contextlib.suppress(EOFError, OSError):
            self.serve(peer)
        self.queues.clear()  # an exclusive queue goes with its connection

    def serve(self, peer):
        self.peer, self.stream = peer, peer.makefile("rb")
        if self.stream.read(8) != b"AMQP\x00\x00\x09\x01":
            peer.sendall(b"AMQP\x00\x00\x09\x01")
            return
        if self.at == "greet":
            self.fail(0)
        self.method(0, START, b"\x00\x09" + table(self.properties) + long(self.mechanisms.encode()) + long(b"en_US"))
        self.expect(START_OK)
        self.method(0, TUNE, struct.pack(">HIH", 2047, 131072, 60))
        self.expect(TUNE_OK)
        self.expect(OPEN)
        self.method(0, OPEN_OK, short(""))
        while True:
            self.one()

    def one(self):
        method, arguments = self.expect()
        if method == CHANNEL_OPEN:
            self.method(1, CHANNEL_OPEN_OK, long(b""))
        elif method == SELECT:
            self.method(1, SELECT_OK)
        elif method == DECLARE:
            self.queue = arguments[3 : 3 + arguments[2]].decode()
            self.queues.add(self.queue)
            self.declared.append((self.queue, arguments[3 + arguments[2]]))
            self.method(1, DECLARE_OK, short(self.queue) + bytes(8))
        elif method == CONSUME:
            self.method(1, CONSUME_OK, short("tag"))
        elif method == PUBLISH:
            self.published()
        elif method == DELETE:
            self.queues.discard(self.queue)
            self.method(1, DELETE_OK, bytes(4))
        elif method == CHANNEL_CLOSE:
            self.method(1, CHANNEL_CLOSE_OK)
        elif method == CLOSE:
            self.method(0, CLOSE_OK)
            raise EOFError

    def published(self):
        header, body = self.frame()[2], self.frame()[2]
        does = self.does if self.at == "publish" else ""
        if does == "return":
            self.method(1, RETURN, struct.pack(">H", 312) + short("NO_ROUTE") + short("") + short(self.queue))
            self.send(2, 1, header)
            self.send(3, 1, body)
            self.method(1, ACK, struct.pack(">QB", 1, 0))
            return
        if does == "cancel":
            self.method(1, CANCEL, short("tag") + b"\x01")
            return
        if does == "nack":
            self.method(1, NACK, struct.pack(">QB", 1, 0))
            return
        if does != "undelivered":
            self.method(1, DELIVER, short("tag") + struct.pack(">QB", 1, 0) + short("") + short(self.queue))
            self.send(2, 1, header)
            self.send(3, 1, body[::-1] if does == "alter" else body)
        if does != "unconfirmed":
            self.method(1, ACK, struct.pack(">QB", 1, 0))

    def expect(self, wanted=None):
        """Read the next method, and fail where it is to be failed at."""
        while True:
            kind, channel, data = self.frame()
            if kind != 1:
                continue
            method = struct.unpack(">HH", data[:4])
            if wanted and method != wanted:
                raise EOFError
            self.heard.append(next((step for step, one in STEPS.items() if one == method), method))
            if method == START_OK and self.users is not None:
                self.log_in(data[4:])
            if self.at and STEPS.get(self.at) == method:
                self.fail(channel)
                if isinstance(self.does, tuple):
                    continue  # the channel is closed, and that method with it
            return method, data[4:]

    def log_in(self, arguments):
        at = 4 + struct.unpack(">I", arguments[:4])[0]
        at += 1 + arguments[at]
        response = arguments[at + 4 : at + 4 + struct.unpack(">I", arguments[at : at + 4])[0]]
        if not any(name.encode() in response and word.encode() in response for name, word in self.users.items()):
            text = "ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the"
            self.close(0, 403, f"{text} broker logfile.")

    def fail(self, channel):
        if self.does == "hang":
            while self.peer.recv(65536):
                pass
        elif self.does == "drip":
            for byte in b"\x01\x00\x00\x00\x00\x10\x00" + bytes(10000):
                self.peer.sendall(bytes([byte]))
                time.sleep(0.1)
        elif self.does == "heartbeats":
            while True:
                self.peer.sendall(b"\x08\x00\x00\x00\x00\x00\x00\xce" * 1000)
        elif self.does == "garbage":
            self.send(1, channel, bytes(range(100, 200)))
        elif self.does == "large":
            self.peer.sendall(b"\x01\x00\x00\xff\xff\xff\xff")
        elif self.does == "open-ended":
            self.peer.sendall(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\x00")
        elif self.does == "blocked":
            self.frame()
            self.frame()
            self.method(0, BLOCKED, short("low on memory"))
            self.fail_silently()
        elif isinstance(self.does, tuple):
            self.close(channel if len(self.does) > 2 else 0, *self.does[:2])
        elif self.does == "cut":
            raise EOFError

    def fail_silently(self):
        while self.peer.recv(65536):
            pass

    def close(self, channel, code, text):
        words = struct.pack(">H", code) + short(text) + bytes(4)
        self.method(channel, CHANNEL_CLOSE if channel else CLOSE, words)
        if not channel:
            self.fail_silently()
            raise EOFError
        if self.at == "publish":
            self.frame()
            self.frame()

    def method(self, channel, method, arguments=b""):
        self.send(1, channel, struct.pack(">HH", *method) + arguments)

    def send(self, kind, channel, data):
        self.peer.sendall(struct.pack(">BHI", kind, channel, len(data)) + data + b"\xce")

    def frame(self):
        head = self.stream.read(7)
        if len(head) < 7:
            raise EOFError
        kind, channel, size = struct.unpack(">BHI", head)
        return kind, channel, self.stream.read(size + 1)[:-1]
