# SPDX-License-Identifier: Apache-2.0
"""check_memcached: its judge by equality, and the check over servers that say what a memcached says, or something else.

The real one is in tests/lab/test_memcached.py.
"""

from __future__ import annotations

import re
import time

import pytest
from nephoscope.base import COLLECTING, UNREACHABLE, Clock, Failed
from nephoscope.base.samples import History, Sample
from nephoscope.checks.messaging.check_memcached import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.memcached import Cache, Trial

from tests.probes.memcached_words import Spoken
from tests.probes.talker import Talker, cuts, drips, greets, says, silent

SUMMARY = Finding(OK, "", "memcached 1.6.18 with 2000 items")
THEN = {"cmd_get": 1000.0, "get_hits": 900.0, "evictions": 0.0, "reclaimed": 0.0, "refused": 0.0}
NOW = {"cmd_get": 4000.0, "get_hits": 3600.0, "evictions": 1500.0, "reclaimed": 5.0, "refused": 60.0}


def history(now=NOW, then=THEN):
    return History(Sample("", 400.0, now), (Sample("", 100.0, then),) if then else ())


def cache(**given):
    return Cache(**{
        "version": "1.6.18", "seconds": 0.001, "held": 512, "most": 1024, "accepting": True, "items": 2000,
        "used": 16 << 20, "room": 64 << 20, "history": history(), **given,
    })  # fmt: skip


def found(facts, *argv):
    return list(judge(facts, CHECK.parse(*argv)))


def metrics(*, items=2000, refused=0.2, evictions=5.0, hit=90.0):
    return [
        SUMMARY._replace(text=f"memcached 1.6.18 with {items} items"),
        Metric("answer", 0.001),
        Metric("connections", 50.0),
        Metric("refused_rate", refused, detail="60 since its start"),
        Metric("memory", 25.0),
        Metric("items", items),
        Metric("gets", 4000),
        Metric("reclaimed", 5),
        Metric("hit", hit),
        Metric("evictions_rate", evictions),
    ]


def test_everything_is_measured():
    assert found(cache()) == metrics()


def test_a_first_run_is_collecting():
    assert found(cache(history=history(then=None))) == metrics(refused=COLLECTING, evictions=COLLECTING, hit=COLLECTING)


def test_too_few_gets_make_no_hit_ratio():
    few = history({**NOW, "cmd_get": 1150.0, "get_hits": 901.0})
    said = found(cache(history=few), "--mode", "cache")
    assert Finding(OK, "", "0.5 gets a second are too few to judge hits by") in said
    assert Metric("hit", COLLECTING) in said
    assert Metric("hit", pytest.approx(100 / 150)) in found(cache(history=few), "--mode", "cache", "--min-gets", "0")


def test_without_a_get_there_is_no_hit_ratio():
    none = history({**NOW, "cmd_get": 1000.0, "get_hits": 900.0})
    assert Metric("hit", COLLECTING) in found(cache(history=none), "--min-gets", "0")


def test_more_hits_than_gets_are_counters_that_were_reset():
    """`stats reset`, and both have passed what they were: no ratio of 160 percent."""
    reset = history({**NOW, "cmd_get": 3000.0, "get_hits": 2900.0}, {**THEN, "get_hits": 100.0, "cmd_get": 1250.0})
    assert Metric("hit", COLLECTING) in found(cache(history=reset))


def test_few_items_make_no_evictions():
    said = found(cache(items=999))
    assert Finding(OK, "", "999 items are too few to judge evictions by") in said
    assert Metric("evictions_rate", COLLECTING) in said
    assert Metric("evictions_rate", 5.0) in found(cache(items=999), "--min-items", "10")


def test_what_is_not_told_is_not_measured():
    bare = cache(items=None, used=None, room=None, most=None, history=history({}, {}))
    said = found(bare)
    assert said[0] == Finding(OK, "", "memcached 1.6.18")
    assert [metric.name for metric in said if isinstance(metric, Metric) and metric.value is None] == [
        *("connections", "refused_rate", "memory", "items", "gets", "reclaimed", "hit", "evictions_rate"),
    ]


def test_it_stopped_to_accept():
    full = Finding(CRITICAL, "", "it takes no connections: it has as many as it allows")
    assert full in found(cache(accepting=False))
    assert full not in found(cache(accepting=False), "--mode", "cache")


def test_the_round_trip():
    assert found(cache(trial=Trial(0.002)))[-1] == Metric("roundtrip", 0.002)
    lost = cache(trial=Trial(0.002, "get", "the key that was just set is gone"))
    assert found(lost)[-1] == Finding(
        CRITICAL, "", "it does not keep what it is given: get: the key that was just set is gone"
    )
    failed = Failed(UNREACHABLE, "x:1", "get of a key of ours", "no answer in 3.0 s")
    assert found(cache(trial=failed))[-1] == failed


@pytest.fixture
def check(tmp_path):
    """Run the check with a state of its own; `at` is when, in seconds."""

    def run(server, *argv, at=0):
        words = server.argv if isinstance(server, Talker) and not server.path else []
        return CHECK.run([*words, *argv, "--state-dir", str(tmp_path / "state")], clock=Clock(shift=at))

    return run


def test_green_and_its_perfdata(check):
    with Talker(Spoken()) as server:
        first = check(server)
        assert first.line.startswith("MEMCACHED OK - memcached 1.6.18 with 2000 items, rates collecting | ")
        server.behave.stats.update(cmd_get="40000", get_hits="38700", evictions="600")
        second = check(server, at=300)
        assert second.reason == "memcached 1.6.18 with 2000 items"
        assert [re.sub(r"^(answer|evictions_rate)=[0-9.]+", r"\1=0", item) for item in second.perfdata] == [
            "answer=0s;1;5",
            "connections=50%;80;90",
            "memory=25%",
            "items=2000",
            "gets=40000c",
            "reclaimed=40c",
            "refused_rate=0;0;1",
            "evictions_rate=0;10;100",
            "hit=99%;80:;50:",
        ]
        assert not server.behave.keys
        assert set(server.behave.heard) == {"stats", "stats settings", "version"}


@pytest.mark.parametrize(
    "changed, state, said",
    [
        ({"rejected_connections": "8"}, WARNING, "refused 0.0033/s is above 0/s (9 since its start)"),
        ({"listen_disabled_num": "400"}, CRITICAL, "refused 1.33/s is above 1/s (407 since its start)"),
        ({"evictions": "3900"}, WARNING, "evictions 12/s is above 10/s"),
        ({"evictions": "90300"}, CRITICAL, "evictions 300/s is above 100/s"),
        ({"cmd_get": "20000", "get_hits": "16000"}, WARNING, "hit 70 % is below 80 %"),
        ({"cmd_get": "20000", "get_hits": "13000"}, CRITICAL, "hit 40 % is below 50 %"),
        ({"curr_connections": "804"}, WARNING, "connections 80.5 % is above 80 %"),
        ({"curr_connections": "1000"}, CRITICAL, "connections 99.6 % is above 90 %"),
        ({"accepting_conns": "0"}, CRITICAL, "it takes no connections: it has as many as it allows"),
        # A restart, a reset of the counters: begun anew, no rate of thousands and none below zero.
        ({"pid": "4711", "rejected_connections": "900"}, OK, "memcached 1.6.18 with 2000 items, rates collecting"),
        ({"uptime": "5", "evictions": "90300"}, OK, "memcached 1.6.18 with 2000 items, rates collecting"),
        ({"evictions": "2", "cmd_get": "3"}, OK, "memcached 1.6.18 with 2000 items, rates collecting"),
        ({"get_hits": None}, UNKNOWN, "hit was not measured"),
        ({"curr_connections": None}, UNKNOWN, "connections was not measured"),
        ({"curr_items": "many"}, UNKNOWN, "items was not measured"),
    ],
)
def test_the_second_run(check, changed, state, said):
    with Talker(Spoken()) as server:
        assert check(server).state == OK
        server.behave = Spoken(**{"uptime": "900", "time": "1795284505", **changed})
        outcome = check(server, at=300)
    assert (outcome.state, outcome.reason) == (state, said)


def test_an_old_server_that_tells_its_limit_among_its_settings(check):
    with Talker(Spoken(max_connections=None, reserved_fds=None, rejected_connections=None)) as server:
        assert "connections=48.046875%;80;90" in check(server).perfdata


def test_the_round_trip_only_when_it_is_asked_for(check):
    with Talker(Spoken()) as server:
        outcome = check(server, "--mode", "roundtrip")
        assert outcome.line.startswith("MEMCACHED OK - memcached 1.6.18 with 2000 items | answer=")
        words = [line.split(" ")[0] for line in server.behave.heard]
        assert words == ["stats", "stats", "version", "set", "get", "delete"]
        assert re.fullmatch(r"set nephoscope:[0-9a-f]{24} 0 60 32", server.behave.heard[3])
        assert server.behave.keys == {}


@pytest.mark.parametrize(
    "answers, said",
    [
        (
            {"set": "SERVER_ERROR out of memory storing object\r\n"},
            "it does not keep what it is given: set: it answers 'SERVER_ERROR out of memory storing object'",
        ),
        ({"get": "END\r\n"}, "it does not keep what it is given: get: the key that was just set is gone"),
        (
            {"get": "VALUE another 0 5\r\nvalue\r\nEND\r\n"},
            "it does not keep what it is given: get: it answers 'VALUE another 0 5'",
        ),
        ({"delete": "NOT_FOUND\r\n"}, "it does not keep what it is given: delete: the key that was just set is gone"),
    ],
)
def test_a_round_trip_that_fails(check, answers, said):
    with Talker(Spoken(answers=answers)) as server:
        outcome = check(server, "--mode", "roundtrip")
        assert (outcome.state, outcome.reason) == (CRITICAL, said)
        if "get" in answers and "VALUE" in answers["get"]:
            assert server.gone.wait(5)
            assert server.behave.keys == {}


@pytest.mark.parametrize(
    "behave, state, said",
    [
        (says(b"ERROR Too many open connections\r\n"), CRITICAL, "it refuses us: too many open connections (stats)"),
        (cuts(), CRITICAL, "the connection was cut before the answer was whole (stats)"),
        (cuts(b"STAT pid 1\r\nSTAT upt"), UNKNOWN, "it answers 'STAT upt' (stats)"),
        (cuts(b"STAT pid 1\r\n"), CRITICAL, "the connection was cut before the answer was whole (stats)"),
        (says(b"ERROR\r\n"), UNKNOWN, "it answers 'ERROR' (stats)"),
        (says(b"END\r\nEND\r\nVERSION 1\r\n"), UNKNOWN, "it counts nothing: its statistics are empty (stats)"),
        (says(b"STAT pid 1\r\nEND\r\nEND\r\nHELLO\r\n"), UNKNOWN, "it answers 'HELLO' (stats)"),
        (
            says(b"CLIENT_ERROR unauthenticated\r\n"),
            UNKNOWN,
            "it wants a log-in (stats): needs --user and --password of a line in its -Y file",
        ),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), UNKNOWN, "this is a web server, no memcached (stats)"),
        (greets(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n"), UNKNOWN, "this is an SSH server, no memcached (stats)"),
        (says(b"-ERR unknown command 'stats'\r\n"), UNKNOWN, "this is Redis, no memcached (stats)"),
        (says(bytes(range(256)) * 2000), UNKNOWN, None),
        (says(b"STAT a b\r\n" * 50000), UNKNOWN, "more than 256 KiB of an answer (stats)"),
        (says(b"STAT " + b"x" * 300000), UNKNOWN, "more than 256 KiB of an answer (stats)"),
    ],
)
def test_what_is_no_answer(check, behave, state, said):
    with Talker(behave) as server:
        outcome = check(server, "-t", "3")
        assert outcome.state == state, outcome.text
        if said is None:
            assert outcome.reason.startswith(f"{server.of}: it answers '")
        else:
            assert outcome.line == f"MEMCACHED {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[state]} - {server.of}: {said}"


@pytest.mark.parametrize("behave", [silent, drips(b"STAT a 1\r\n")])
def test_a_server_that_hangs_or_drips(check, behave):
    with Talker(behave) as server:
        begun = time.monotonic()
        outcome = check(server, "-t", "2")
        assert time.monotonic() - begun < 2.5
    assert outcome.line == f"MEMCACHED CRITICAL - {server.of}: no answer in 1.0 s (stats)"


def test_what_is_no_name(check):
    assert check(None, "-H", "a..b.example").line == (
        "MEMCACHED UNKNOWN - a..b.example:11211: that is no name of a host (connect)"
    )


def test_nobody_listens(check):
    with Talker(silent) as server:
        pass
    assert check(server).line == f"MEMCACHED CRITICAL - {server.of}: Connection refused (connect)"
    assert check(server, "--unreachable-state", "warning").state == WARNING


def test_the_binary_protocol_only(check):
    """-B binary and -S (1.6.18): text is cut off as soon as it is as long as a header, the operation `version` is answered."""

    def binary(peer):
        data = peer.recv(65536)
        if data[:2] == b"\x80\x0b":
            peer.sendall(b"\x81\x0b" + bytes(6) + b"\0\0\0\x06" + bytes(12) + b"1.6.18")

    with Talker(binary) as server:
        assert check(server).line == (
            f"MEMCACHED UNKNOWN - {server.of}: it speaks the binary protocol only (memcached -S or -B binary) (stats)"
        )


def test_a_unix_socket(check, tmp_path):
    path = str(tmp_path / "s")
    with Talker(Spoken(), path=path) as server:
        assert check(server, "--socket", path).state == OK
        for words in (["--hostname", "h.example"], ["--port", "1"], ["--tls"], ["--ca-file", "/ca.pem"]):
            said = f"--socket and {words[0]} do not go together"
            assert check(server, "--socket", path, *words).line == f"MEMCACHED UNKNOWN - {said}"
    assert check(server, "--socket", path).line == f"MEMCACHED CRITICAL - {path}: No such file or directory (connect)"


def test_a_password_is_told_only_to_who_asks_for_one(check, monkeypatch):
    """doc/protocol.txt, "Authentication": a set of any key. Elsewhere it would store the password for everybody to read."""
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter22")
    with Talker(Spoken()) as server:
        assert check(server, "--user", "monitor").state == OK
        assert "set" not in {line.split(" ")[0] for line in server.behave.heard}
    told = []

    def asks(peer):
        stream = peer.makefile("rb")
        first = stream.readline()
        if not first.startswith(b"set "):
            peer.sendall(b"CLIENT_ERROR unauthenticated\r\n" * 3)
            return
        told.append(stream.readline())
        if told[-1] != b"monitor hunter22\r\n":
            peer.sendall(b"CLIENT_ERROR authentication failure\r\n")
            return
        peer.sendall(b"STORED\r\n")
        Spoken()(peer)

    with Talker(asks) as server:
        assert check(server, "--user", "monitor").state == OK
        refused = check(server, "--user", "other")
        assert refused.line == (
            f"MEMCACHED UNKNOWN - {server.of}: it answers 'CLIENT_ERROR authentication failure' (log in):"
            " needs --user and --password of a line in its -Y file"
        )
        assert "hunter22" not in refused.text
    assert told == [b"monitor hunter22\r\n", b"other hunter22\r\n"]


def test_a_limit_of_a_mode_that_is_not_asked_for(check):
    with Talker(Spoken()) as server:
        outcome = check(server, "--mode", "clients", "-w", "hit=90:")
        assert outcome.state == UNKNOWN
        assert "hit" in outcome.reason
        assert server.clients == 0
