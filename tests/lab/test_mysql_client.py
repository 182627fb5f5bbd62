# SPDX-License-Identifier: Apache-2.0
"""The simulated MySQL, asked by Debian's command-line client: what the fast tests believe, another implementation believes too."""

from __future__ import annotations

import subprocess

import pytest

from tests.lab.support import need
from tests.probes.one_client import certificate
from tests.simulators.mysql_answers import healthy

pytestmark = pytest.mark.lab


@pytest.fixture
def client(tmp_path):
    [program, _] = need("mariadb", "openssl")

    def run(server, *words, statement="SELECT VERSION(), NULL, @@port"):
        options = tmp_path / "my.cnf"  # no password in argv, in a test either
        options.write_text("[client]\npassword = secret\n")
        argv = [
            program,
            f"--defaults-file={options}",
            "-h127.0.0.1",
            f"-P{server.port}",
            "-umonitor",
            *(words or ["-N"]),
            "-e",
            statement,
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        return done.stdout or done.stderr

    return run


def test_rsa_and_then_the_cache(client):
    with healthy() as server:
        for _ in range(2):
            assert client(server, "-N", "--skip-ssl") == "8.0.40\tNULL\t3306\n"
        assert (server.ways, server.clear) == (["full by RSA", "fast"], [])
        assert server.attributes["program_name"] == "mysql"
        assert server.unknown == []


def test_over_tls(client, tmp_path):
    cert, _ = certificate(tmp_path)
    with healthy("8.4.3", certificate=(cert, str(tmp_path / "key.pem"))) as server:
        assert client(server, "-N", f"--ssl-ca={cert}", "--ssl-verify-server-cert") == "8.4.3\tNULL\t3306\n"
        assert server.ways == ["full over TLS"]


def test_the_old_password_and_what_it_lists(client):
    with healthy(plugin="mysql_native_password", channels=[{}]) as server:
        assert client(server, statement="SHOW GLOBAL STATUS LIKE 'Threads%'") == (
            "Threads_cached\t4\nThreads_connected\t20\nThreads_created\t44\nThreads_running\t2\n"
        )
        assert "Seconds_Behind_Source: 0\n" in client(server, "-E", statement="SHOW REPLICA STATUS")
        refused = client(server, statement="SELECT 1 FROM nova.nowhere")
        assert refused.endswith("ERROR 1146 (42S02) at line 1: Table 'nova.nowhere' doesn't exist\n")
    with healthy("8.4.3", plugin="mysql_native_password") as server:
        assert client(server) == "ERROR 1524 (HY000): Plugin 'mysql_native_password' is not loaded\n"
