# SPDX-License-Identifier: Apache-2.0
"""check_memcached against real memcacheds: refused clients, evictions, misses, restarts, log-ins, TLS, a frozen one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from nephoscope.base import Clock
from nephoscope.checks.messaging.check_memcached import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab.support import Daemon, free_port, listening, need, need_root, wait_for
from tests.probes.unprivileged import as_nobody

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def programs():
    need("memcached", "openssl")
    need_root("memcached changes to user nobody")


class Memcached(Daemon):
    """A memcached of 16 MiB on a free port of loopback."""

    def __init__(self, *options, port=None, env=None, ready=None):
        self.port = port or free_port()
        self.of = f"127.0.0.1:{self.port}"
        # One thread, two connections kept back: what -c allows does not depend on the machine's processors.
        argv = ["/usr/bin/memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "16"]
        super().__init__([*argv, "-t", "1", *options], env=env, ready=ready or listening(self.port))

    def clients(self, number):
        """Connect so many, and say something, so that it has taken them."""
        made = [socket.create_connection(("127.0.0.1", self.port), 2) for _ in range(number)]
        for link in made:
            with contextlib.suppress(OSError):
                link.settimeout(2)
                link.sendall(b"version\r\n")
                link.recv(100)
        return made

    def tell(self, *lines):
        """Say these lines, and return what came back until the answer to a last `version`."""
        with socket.create_connection(("127.0.0.1", self.port), 2) as link:
            link.settimeout(10)
            link.sendall("".join(f"{line}\r\n" for line in (*lines, "version")).encode())
            heard = b""
            while b"VERSION " not in heard:
                part = link.recv(1 << 20)
                if not part:  # it has too many clients, and has not seen yet that some went
                    time.sleep(0.1)
                    return self.tell(*lines)
                heard += part
            return heard.decode()


@pytest.fixture(scope="module")
def server():
    with Memcached() as daemon:
        yield daemon


@pytest.fixture
def check(folder):
    def run(server, *argv, at=0):
        words = ["-H", "127.0.0.1", "-p", str(server.port)] if server else []
        return CHECK.run([*words, *argv, "--state-dir", str(folder / "state")], clock=Clock(shift=at))

    return run


def test_green(server, check):
    outcome = check(server)
    assert re.fullmatch(
        r"MEMCACHED OK - memcached 1\.6\.\d+ with \d+ items, rates collecting \| answer=[0-9.]+s;1;5"
        r" connections=[0-9.]+%;80;90 memory=[0-9.]+% items=\d+ gets=\d+c reclaimed=0c",
        outcome.line,
    ), outcome.line
    later = check(server, at=300)
    assert later.state == OK
    assert [item.partition("=")[0] for item in later.perfdata][-3:] == ["gets", "reclaimed", "refused_rate"]
    assert "0 items are too few to judge evictions by" in later.reason


def test_the_round_trip_leaves_nothing_behind(server, check):
    before = server.tell("stats")
    outcome = check(server, "--mode", "roundtrip")
    assert re.fullmatch(
        r"MEMCACHED OK - memcached 1\.6\.\d+ with \d+ items \| answer=[0-9.]+s;1;5 roundtrip=[0-9.]+s;0.5;2",
        outcome.line,
    ), outcome.line
    after = server.tell("stats")
    count = re.compile(r"STAT (curr_items|cmd_set|delete_hits) (\d+)")
    then, now = (dict(count.findall(text)) for text in (before, after))
    assert now["curr_items"] == then["curr_items"]
    assert (int(now["cmd_set"]) - int(then["cmd_set"]), int(now["delete_hits"]) - int(then["delete_hits"])) == (1, 1)


def test_a_plain_run_sets_nothing(server, check):
    check(server)
    before = re.search(r"STAT cmd_set (\d+)", server.tell("stats"))[1]
    check(server)
    assert re.search(r"STAT cmd_set (\d+)", server.tell("stats"))[1] == before


def test_clients_are_refused(check):
    """1.6 counts them in rejected_connections; listen_disabled_num, which others watch, stays at 0."""
    with Memcached("-c", "40") as server:
        assert check(server).state == OK
        held = server.clients(45)
        outcome = check(server, at=300)
        assert outcome.line == f"MEMCACHED CRITICAL - {server.of}: it refuses us: too many open connections (stats)"
        for link in held:
            link.close()
        wait_for(lambda: check(server, "--state-id", "other").state == OK, 5, "room for a client")
        # The check's own refusals are among them: at least one each.
        outcome = check(server, at=300)
        assert outcome.state == WARNING
        assert re.fullmatch(r"refused 0\.\d+/s is above 0/s \((\d+) since its start\)", outcome.reason), outcome.reason
        assert re.search(r"STAT listen_disabled_num (\d+)", server.tell("stats"))[1] == "0"
        assert check(server, "-c", "refused_rate=0", at=300).state == CRITICAL


def test_nearly_as_many_clients_as_it_allows(check):
    with Memcached("-c", "100") as server:
        held = server.clients(80)
        outcome = check(server)
        assert (outcome.state, outcome.reason) == (WARNING, "connections 86 % is above 80 %")
        held += server.clients(6)
        outcome = check(server)
        assert (outcome.state, outcome.reason) == (CRITICAL, "connections 92 % is above 90 %")
        assert check(server, "--mode", "cache").state == OK
        for link in held:
            link.close()


def test_a_full_server_that_lets_clients_wait(check):
    """no_maxconns_fast: it takes no more connections, and who comes hears nothing."""
    with Memcached("-c", "40", "-o", "no_maxconns_fast") as server:
        held = [socket.socket() for _ in range(45)]
        for link in held:
            link.setblocking(False)  # some will never be let in
            link.connect_ex(("127.0.0.1", server.port))
        time.sleep(0.2)
        outcome = check(server, "-t", "2")
        assert outcome.state == CRITICAL
        # It also takes its backlog away: then it is the connection that gets no answer.
        assert re.fullmatch(rf"{server.of}: no answer in 1\.0 s \((stats|connect)\)", outcome.reason), outcome.reason
        for link in held:
            link.close()
        wait_for(lambda: check(server, "-t", "2").state == OK, 5, "room for a client")
        assert re.search(r"STAT listen_disabled_num [1-9]", server.tell("stats"))


def sets(number, size, prefix="k"):
    return [f"set {prefix}{at} 0 0 {size} noreply\r\n{'x' * size}" for at in range(number)]


def test_evictions(check):
    with Memcached("-m", "2") as server:
        server.tell(*sets(20000, 100))
        assert check(server).state == OK
        server.tell(*sets(10000, 100, "l"))
        outcome = check(server, at=300)
        assert outcome.state == WARNING, outcome.text
        assert re.fullmatch(r"evictions \d\d(\.\d+)?/s is above 10/s", outcome.reason)
        assert check(server, "-c", "evictions_rate=20", at=300).state == CRITICAL


def test_evictions_of_a_few_large_items_are_not_judged(check):
    with Memcached("-m", "2") as server:
        server.tell(*sets(20, 200000))
        assert check(server, "-w", "evictions_rate=0").state == OK
        server.tell(*sets(20, 200000, "l"))
        outcome = check(server, "-w", "evictions_rate=0", at=300)
        assert outcome.state == OK
        assert re.search(r"\d+ items are too few to judge evictions by", outcome.reason)
        assert check(server, "-w", "evictions_rate=0", "--min-items", "1", at=300).state == WARNING


def test_misses(check):
    with Memcached() as server:
        server.tell("set a 0 0 1\r\nx")
        assert check(server).state == OK
        server.tell(*["get a"] * 3000, *["get b"] * 1000)
        outcome = check(server, at=300)
        assert (outcome.state, outcome.reason) == (WARNING, "hit 75 % is below 80 %")
        server.tell(*["get b"] * 6000)
        outcome = check(server, at=300)
        assert (outcome.state, outcome.reason) == (CRITICAL, "hit 30 % is below 50 %")
        # An hour of a few gets, all of them missed: too few to say anything.
        server.tell(*["get b"] * 100)
        quiet = check(server, at=900)
        assert quiet.state == OK
        assert re.search(r"0\.17 gets a second are too few to judge hits by", quiet.reason)


def test_a_restart_and_a_reset_between_two_runs(check):
    port = free_port()
    with Memcached("-c", "40", port=port) as server:
        for link in server.clients(45):
            link.close()
        server.tell(*["get b"] * 4000)
        wait_for(lambda: check(server).state == OK, 5, "room for a client")
    with Memcached("-c", "40", port=port) as server:
        server.tell(*["get b"] * 5000)  # more than before: only the process tells that it is another
        outcome = check(server, at=300)
        assert (outcome.state, outcome.reason.endswith("rates collecting")) == (OK, True), outcome.text
        assert [item for item in outcome.perfdata if "rate" in item or item.startswith("hit")] == []
        server.tell("stats reset")
        reset = check(server, at=600)
        assert (reset.state, reset.reason.endswith("rates collecting")) == (OK, True), reset.text


def test_a_full_one_that_may_not_evict(check):
    """-M: it refuses what it has no room for; its statistics are as well as ever."""
    with Memcached("-m", "2", "-M") as server:
        # Of the size that we set: there must be no room in its class.
        server.tell(*sets(30000, 32, "nephoscope:" + "0" * 20))
        assert check(server).state == OK
        outcome = check(server, "--mode", "roundtrip")
        assert (outcome.state, outcome.reason) == (
            CRITICAL,
            "it does not keep what it is given: set: it answers 'SERVER_ERROR out of memory storing object'",
        )


def test_frozen_ended_and_another_thing_at_its_port(check):
    with Memcached() as server:
        os.kill(server.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            outcome = check(server, "-t", "2")
            assert time.monotonic() - begun < 2.5
            assert outcome.line == f"MEMCACHED CRITICAL - {server.of}: no answer in 1.0 s (stats)"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert check(server).state == OK
    outcome = check(server)
    assert outcome.line == f"MEMCACHED CRITICAL - {server.of}: Connection refused (connect)"
    web = ["/usr/bin/python3", "-m", "http.server", "--bind", "127.0.0.1", str(server.port)]
    with Daemon(web, ready=listening(server.port)):
        outcome = check(server)
        assert (outcome.state, outcome.reason[: len(server.of)]) == (UNKNOWN, server.of)
        assert check(server, "--tls").line == f"MEMCACHED UNKNOWN - {server.of}: it does not speak TLS"


def test_the_binary_protocol_only(check):
    with Memcached("-B", "binary") as server:
        assert check(server).line == (
            f"MEMCACHED UNKNOWN - {server.of}: it speaks the binary protocol only (memcached -S or -B binary) (stats)"
        )


def test_a_sasl_log_in(folder, check):
    (folder / "memcached.conf").write_text("mech_list: plain\n")
    with Memcached("-S", env={**os.environ, "SASL_CONF_PATH": str(folder)}) as server:
        assert check(server).line == (
            f"MEMCACHED UNKNOWN - {server.of}: it speaks the binary protocol only (memcached -S or -B binary) (stats)"
        )


def test_a_log_in_by_text(folder, check, monkeypatch):
    users = folder / "users"
    users.write_text("monitor:hunter22\n")
    users.chmod(0o644)
    with Memcached("-Y", str(users)) as server:
        needs = "needs --user and --password of a line in its -Y file"
        assert check(server).line == f"MEMCACHED UNKNOWN - {server.of}: it wants a log-in (stats): {needs}"
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter22")
        assert check(server, "--user", "monitor").state == OK
        monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter23")
        assert check(server, "--user", "monitor").line == (
            f"MEMCACHED UNKNOWN - {server.of}: it answers 'CLIENT_ERROR authentication failure' (log in): {needs}"
        )


def test_the_password_is_not_left_in_a_server_that_wants_none(server, check, monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "hunter22")
    assert check(server, "--user", "monitor").state == OK
    assert "END\r\nVERSION" in server.tell("get nephoscope")


def test_tls(folder, check):
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=cache.example", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    key.chmod(0o644)
    options = ("-Z", "-o", f"ssl_chain_cert={cert},ssl_key={key}")
    with Memcached(*options) as server:
        assert check(server, "--ca-file", str(cert)).state == OK
        assert check(server, "--insecure").state == OK
        assert check(server, "--tls").line == (
            f"MEMCACHED UNKNOWN - {server.of}: certificate: self-signed certificate (speak TLS):"
            " needs its authority as --ca-file"
        )
        plain = check(server, "-t", "3")
        assert plain.state in (CRITICAL, UNKNOWN)


def test_a_unix_socket_and_who_may_not_use_it(folder, check):
    path = folder / "memcached.sock"
    folder.chmod(0o777)
    argv = ["/usr/bin/memcached", "-u", "nobody", "-s", str(path), "-a", "0700", "-m", "16", "-t", "1"]
    with Daemon(argv, ready=path.exists):
        assert check(None, "--socket", str(path)).state == OK
        os.chown(path, 0, 0)
        assert as_nobody(CHECK, ["--socket", str(path)]) == (
            UNKNOWN,
            f"MEMCACHED UNKNOWN - {path}: Permission denied (connect): needs the right to write to that socket",
        )
    gone = check(None, "--socket", str(path))
    assert gone.state == CRITICAL
    assert gone.reason in (f"{path}: No such file or directory (connect)", f"{path}: Connection refused (connect)")
