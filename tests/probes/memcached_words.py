# SPDX-License-Identifier: Apache-2.0
"""What a memcached 1.6.18 of Debian 12 said to `stats` and `stats settings` (abridged), and a server that says it."""

from __future__ import annotations

STATS = {
    "pid": "29697",
    "uptime": "600",
    "time": "1795284205",
    "version": "1.6.18",
    "max_connections": "1024",
    "curr_connections": "492",
    "total_connections": "20101",
    "rejected_connections": "7",
    "reserved_fds": "20",
    "cmd_get": "10000",
    "cmd_set": "800",
    "get_hits": "9000",
    "get_misses": "1000",
    "limit_maxbytes": "67108864",
    "accepting_conns": "1",
    "listen_disabled_num": "1",
    "bytes": "16777216",
    "curr_items": "2000",
    "evictions": "300",
    "reclaimed": "40",
}
SETTINGS = {"maxbytes": "67108864", "maxconns": "1024", "evictions": "on", "maxconns_fast": "yes"}


def lines(values):
    return "".join(f"STAT {name} {value}\r\n" for name, value in values.items()) + "END\r\n"


class Spoken:
    """A behaviour of a Talker: a memcached of these statistics; `keys` are what was set, `heard` what it was told.

    answers  command -> what is said instead
    """

    def __init__(self, settings=SETTINGS, answers=None, **changed):
        self.stats = {name: value for name, value in {**STATS, **changed}.items() if value is not None}
        self.settings, self.answers, self.keys, self.heard = settings, answers or {}, {}, []

    def __call__(self, peer):
        stream = peer.makefile("rb")
        for raw in stream:
            line = raw.decode().strip()
            self.heard.append(line)
            word, *rest = line.split(" ")
            if word == "set":
                value = stream.read(int(rest[3]) + 2)[:-2].decode()
            if word in self.answers:
                said = self.answers[word]
            elif line == "stats":
                said = lines(self.stats)
            elif line == "stats settings":
                said = lines(self.settings)
            elif word == "version":
                said = f"VERSION {self.stats['version']}\r\n"
            elif word == "set":
                self.keys[rest[0]] = value
                said = "STORED\r\n"
            elif word == "get":
                value = self.keys.get(rest[0])
                said = "END\r\n" if value is None else f"VALUE {rest[0]} 0 {len(value)}\r\n{value}\r\nEND\r\n"
            elif word == "delete":
                said = "DELETED\r\n" if self.keys.pop(rest[0], None) else "NOT_FOUND\r\n"
            else:
                said = "ERROR\r\n"
            peer.sendall(said.encode())
