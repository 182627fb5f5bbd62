# SPDX-License-Identifier: Apache-2.0
"""check_db_connect on a real MariaDB and PostgreSQL: every way in, every way of being refused, and no password anywhere."""

from __future__ import annotations

import contextlib
import http.server
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.lab import mariadb, postgresql
from tests.lab.support import missing, need, need_root, private_folder

pytestmark = pytest.mark.lab

need_root("servers under users of their own")
from nephoscope.base import Run  # noqa: E402
from nephoscope.checks.database.check_db_connect import CHECK  # noqa: E402
from nephoscope.probes import my_cnf  # noqa: E402

# What a URL, an INI file, a shell or SQL would trip over. Each has a part that is in nothing else.
ODD = "p@:/?#[]%&=+ '\"\\$é-geheim"
PLAIN = "x7-geheim"
SECRETS = (ODD, PLAIN, "geheim", "%40%3A%2F", "falsch-wort")
HBA = """local all postgres trust
local all peer_only peer
local all all scram-sha-256
hostssl all only_tls all scram-sha-256
host all only_tls all reject
host all all all scram-sha-256
"""


@pytest.fixture(scope="module")
def folder():
    with private_folder() as path:
        yield path


@pytest.fixture(scope="module")
def authority(folder):
    """A folder with two authorities, ca.pem and other.pem, and a certificate of the first for 127.0.0.1 and localhost."""
    openssl = need("openssl")[0]
    home = folder / "tls"
    home.mkdir(mode=0o755)
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    (home / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n")
    for line in (
        f"req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=lab-authority",
        f"req -x509 {key} -keyout other.key -out other.pem -subj /CN=another-authority",
        f"req {key} -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem",
    ):
        subprocess.run([openssl, *line.split()], cwd=home, check=True, capture_output=True)
    for name in ("mysql", "postgres"):
        copy = home / f"{name}.key"
        copy.write_bytes((home / "server.key").read_bytes())
        copy.chmod(0o600)
        postgresql._own(copy, name)
    return home


@pytest.fixture(scope="module")
def maria(folder, authority):
    tls = (f"--ssl-cert={authority}/server.pem", f"--ssl-key={authority}/mysql.key")
    with mariadb.server(folder / "maria", "--bind-address=*", "--max-connections=12", *tls) as server:
        for statement in (
            "CREATE DATABASE nova",
            "CREATE DATABASE nova_api",
            f"CREATE USER plain IDENTIFIED BY '{PLAIN}'",
            "CREATE USER odd IDENTIFIED BY " + server.connection().escape(ODD),
            f"CREATE USER only_tls IDENTIFIED BY '{PLAIN}' REQUIRE SSL",
            "CREATE USER socket_only IDENTIFIED VIA unix_socket",
            "INSTALL SONAME 'auth_ed25519'",
            f"CREATE USER signs IDENTIFIED VIA ed25519 USING PASSWORD('{PLAIN}')",
            f"CREATE USER one IDENTIFIED BY '{PLAIN}' WITH MAX_USER_CONNECTIONS 1",
            "GRANT SELECT ON nova.* TO plain",
            "GRANT SELECT ON nova_api.* TO plain, odd",
        ):
            server.sql(statement)
        yield server


@pytest.fixture(scope="module")
def post(folder, authority):
    tls = ("ssl=on", f"ssl_cert_file={authority}/server.pem", f"ssl_key_file={authority}/postgres.key")
    with postgresql.server(folder / "post", *tls, "max_connections=8", hba=HBA) as server:
        with server.connection() as link, link.cursor() as cursor:
            for name, password in (
                ("plain", PLAIN),
                ("odd", ODD),
                ("only_tls", PLAIN),
                ("one", PLAIN),
                ("peer_only", PLAIN),
            ):
                cursor.execute(f"CREATE ROLE {name} LOGIN PASSWORD %s", (password,))
            cursor.execute("ALTER ROLE one CONNECTION LIMIT 1")
        server.sql("CREATE DATABASE glance")
        yield server


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith(("PG", "MYSQL", "NEPHOSCOPE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def check(*argv, state=None, **words):
    """Run it with every word it has, see that no password is in what it says or keeps, and return its first line's shape."""
    outcome = CHECK.run(
        [*map(str, argv), "-vvv", "--explain", *(("--state-dir", str(state), "--save") if state else ())], **words
    )
    for secret in SECRETS:
        assert secret not in outcome.text
        for file in Path(state).rglob("*") if state else ():
            assert not file.is_file() or secret.encode() not in file.read_bytes()
    return shape(outcome.line.partition(" | ")[0])


def shape(line):
    line = re.sub(r"\b\d+(\.\d+)? ?(ms|µs|us|s)\b", "N s", line)
    return re.sub(r"(?<=:)\d{4,5}\b|(?<=PGSQL\.)\d+", "PORT", line)


def encoded(text):
    return "".join(f"%{byte:02X}" for byte in text.encode())


def conf(tmp_path, text, name="nova.conf"):
    path = tmp_path / name
    path.write_text(text)
    return path


def mysql(server, *more, host="127.0.0.1", user="plain"):
    return ("--type", "mysql", "-p", server.port, "--user", user, *(("-H", host) if host else ()), *more)


def postgres(server, *more, host="127.0.0.1", user="plain"):
    return ("--type", "postgres", "-p", server.port, "--user", user, *(("-H", host) if host else ()), *more)


@pytest.fixture
def password(environment):
    environment.setenv("NEPHOSCOPE_PASSWORD", PLAIN)


WORKS = "DB_CONNECT OK - 1 of 1 connections work"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@pytest.mark.parametrize("ask, name", [(mysql, "maria"), (postgres, "post")])
def test_over_every_address(request, password, tmp_path, ask, name, host):
    assert check(*ask(request.getfixturevalue(name), host=host), state=tmp_path) == WORKS


def test_through_sockets(maria, post, password, tmp_path):
    assert check(*mysql(maria, "--socket", maria.socket, host=None), state=tmp_path) == WORKS
    assert check(*postgres(post, "--socket", post.socket, host=None), state=tmp_path) == WORKS
    line = check(*mysql(maria, "--socket", "/run/nothing.sock", host=None))
    assert line == "DB_CONNECT CRITICAL - /run/nothing.sock: no socket there: the server does not run (connect)"
    line = check(*postgres(post, "--socket", "/run/nothing", host=None))
    assert line == "DB_CONNECT CRITICAL - /run/nothing/.s.PGSQL.PORT: no socket there: the server does not run (log in)"


def test_what_a_working_connection_says(maria, post, password):
    outcome = CHECK.run([*map(str, mysql(maria)), "-v"])
    assert "127.0.0.1:PORT MariaDB 10.11.19, plain@-, without TLS" in shape(outcome.text)
    assert " | unencrypted=1 127_0_0_1_" in outcome.line
    outcome = CHECK.run([*map(str, postgres(post, "--insecure")), "-v"])
    assert re.search(r"127.0.0.1:PORT PostgreSQL 15.\d+, plain@postgres, TLSv1.3", shape(outcome.text))
    assert " | unencrypted=0 127_0_0_1_" in outcome.line
    line = check(*mysql(maria, "-c", "unencrypted=0"))
    assert line.startswith("DB_CONNECT CRITICAL - unencrypted 1 ")


REFUSED = "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: {} (log in): needs {}"
MARIA_CURE = "the account's password, and an account for this host; or --tls, if the account demands it"
POST_CURE = "the account's password, and a line for it in pg_hba.conf"


@pytest.mark.parametrize(
    "user, word", [("plain", "falsch-wort"), ("odd", "falsch-wort"), ("odd", PLAIN), ("nobody", PLAIN)]
)
def test_a_password_that_is_not_the_accounts(maria, post, environment, tmp_path, user, word):
    environment.setenv("NEPHOSCOPE_PASSWORD", word)
    said = f"log-in refused for user '{user}' (error 1045)"
    assert check(*mysql(maria, user=user), state=tmp_path) == REFUSED.format(said, MARIA_CURE)
    said = f'password authentication failed for user "{user}"'
    assert check(*postgres(post, user=user), state=tmp_path) == REFUSED.format(said, POST_CURE)


def test_no_password_at_all(maria, post):
    assert check(*mysql(maria)) == REFUSED.format("log-in refused for user 'plain' (error 1045)", MARIA_CURE)
    cure = "a password for it: --extra-opts, NEPHOSCOPE_PASSWORD or ~/.pgpass"
    said = "no password for this account (log in as the user who runs the check)"
    assert check(*postgres(post)) == f"DB_CONNECT UNKNOWN - 127.0.0.1:PORT: {said}: needs {cure}"


def test_a_database_that_is_not_there(maria, post, password, environment):
    said = "Access denied for user 'plain'@'%' to database 'gone' (error 1044)"
    assert check(*mysql(maria, "--database", "gone")) == REFUSED.format(said, "GRANT on this database for the account")
    environment.delenv("NEPHOSCOPE_PASSWORD")
    line = check("--type", "mysql", "--user", "root", "--socket", maria.socket, "--database", "gone")
    assert line == f"DB_CONNECT UNKNOWN - {maria.socket}: Unknown database 'gone' (error 1049) (log in)"
    environment.setenv("NEPHOSCOPE_PASSWORD", PLAIN)
    line = check(*postgres(post, "--database", "gone"))
    assert line == 'DB_CONNECT UNKNOWN - 127.0.0.1:PORT: database "gone" does not exist (log in)'


def test_tls_demanded(maria, post, authority, password, tmp_path):
    assert check(*mysql(maria, user="only_tls")) == REFUSED.format(
        "log-in refused for user 'only_tls' (error 1045)", MARIA_CURE
    )
    assert check(*postgres(post, user="only_tls")) == WORKS  # libpq takes TLS where it is offered
    for ask, server in ((mysql, maria), (postgres, post)):
        assert check(*ask(server, "--insecure", user="only_tls")) == WORKS
        assert check(*ask(server, "--ca-file", authority / "ca.pem", user="only_tls")) == WORKS
        assert check(*ask(server, "--ca-file", authority / "ca.pem", user="only_tls", host="localhost")) == WORKS
    plain = ("--service", "plain")
    (tmp_path / ".pg_service.conf").write_text("[plain]\nsslmode=disable\n")
    said = 'pg_hba.conf rejects connection for host "127.0.0.1", user "only_tls", database "postgres", no encryption'
    cure = "a line for it in pg_hba.conf; or --tls, if its line is hostssl"
    assert check(*postgres(post, *plain, user="only_tls")) == REFUSED.format(said, cure)


def test_a_certificate_that_is_not_to_be_trusted(maria, post, authority, password):
    unknown = "certificate: unable to get local issuer certificate"
    for words in (("--tls",), ("--ca-file", authority / "other.pem")):
        assert check(*mysql(maria, *words)) == REFUSED.format(unknown, "its authority as --ca-file")
        assert check(*postgres(post, *words)) == REFUSED.format(
            "SSL error: certificate verify failed", "its authority as --ca-file"
        )
    good = ("--ca-file", authority / "ca.pem")
    assert check(*mysql(maria, *good, host="127.0.0.2")) == (
        "DB_CONNECT UNKNOWN - 127.0.0.2:PORT: certificate: IP address mismatch, certificate is not valid for '127.0.0.2' (log in):"
        " needs the host by a name of its certificate"
    )
    absent = ("--ca-file", "/nonexistent.pem")
    line = "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: No such file or directory (read /nonexistent.pem)"
    assert check(*mysql(maria, *absent)) == line
    said = 'root certificate file "/nonexistent.pem" does not exist'
    assert check(*postgres(post, *absent)) == (
        f"DB_CONNECT UNKNOWN - 127.0.0.1:PORT: {said} (read the certificates): needs its authority as --ca-file"
    )


def test_a_server_without_tls(folder, authority, password, tmp_path):
    with mariadb.server(folder / "bare") as server:
        server.sql(f"CREATE USER plain IDENTIFIED BY '{PLAIN}'")
        path = conf(
            tmp_path,
            f"[database]\nconnection = mysql://plain:{PLAIN}@127.0.0.1:{server.port}/?ssl_ca={authority}/ca.pem\n",
        )
        line = check("--from-service-file", path)
        assert (
            line
            == "DB_CONNECT CRITICAL - nova [database] the service can't log in to 127.0.0.1:PORT: the server does not offer TLS"
        )
        assert (
            check(*mysql(server, "--tls"))
            == "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: the server does not offer TLS (log in)"
        )
        assert check(*mysql(server)) == WORKS
        # As a node of a cluster it would be asked the same; here it is only set read-only.
        server.sql("SET GLOBAL read_only = 1")
        assert check(*mysql(server)) == WORKS
        assert check(*mysql(server, "--writable")) == "DB_CONNECT CRITICAL - 127.0.0.1:PORT the server is read-only"


def test_a_galera_node_without_its_quorum(folder, password):
    """A node whose cluster is gone answers `SELECT 1`; this check must not be content with that."""
    need("/usr/lib/galera/libgalera_smm.so")
    port = mariadb.free_port()
    cluster = ("--wsrep-on=ON", "--wsrep-provider=/usr/lib/galera/libgalera_smm.so", "--wsrep-cluster-address=gcomm://",
               "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", f"--wsrep-node-address=127.0.0.1:{port}",
               f"--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{port};gcache.size=8M;"
               "pc.announce_timeout=PT1S;pc.wait_prim_timeout=PT2S")  # fmt: skip
    not_ready = "127.0.0.1:PORT: the node is not ready: cut off from its cluster, or joining it (error 1047)"
    with mariadb.server(folder / "galera", *cluster) as server:
        server.sql(f"CREATE USER plain IDENTIFIED BY '{PLAIN}'")
        assert check(*mysql(server)) == WORKS
        server.sql("SET GLOBAL wsrep_reject_queries = ALL")
        assert check(*mysql(server)).startswith(f"DB_CONNECT CRITICAL - {not_ready}")
        server.sql("SET GLOBAL wsrep_reject_queries = NONE")
        server.sql("SET GLOBAL wsrep_cluster_address = 'gcomm://127.0.0.1:1'")
        assert server.connection().cursor().execute("SELECT 1") == 1
        assert check(*mysql(server)).startswith(f"DB_CONNECT CRITICAL - {not_ready}")


def test_a_port_where_another_thing_listens(maria, post, password):
    line = check("--type", "postgres", "-H", "127.0.0.1", "-p", maria.port, "--user", "plain")
    assert line == "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: no PostgreSQL server: it speaks MySQL (log in)"
    # PostgreSQL waits for the client to begin, and so does MySQL's client.
    line = check("--type", "mysql", "-H", "127.0.0.1", "-p", post.port, "--user", "plain", "-t", "2")
    assert line == "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: no MySQL server: it speaks PostgreSQL (log in)"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        for kind in ("mysql", "postgres"):
            line = check("--type", kind, "-H", "127.0.0.1", "-p", web.server_port, "--user", "plain", "-t", "2")
            said = {
                "mysql": "no MySQL server: it sends a web page",
                "postgres": "no PostgreSQL server: it speaks HTTP",
            }[kind]
            assert line == f"DB_CONNECT UNKNOWN - 127.0.0.1:PORT: {said} (log in)"
        web.shutdown()


def test_accounts_that_are_the_systems_users(maria, post, tmp_path):
    """Whether the service gets in by them, another user can't see."""
    path = conf(tmp_path, f"[database]\nconnection = mysql://socket_only@/nova?unix_socket={maria.socket}\n")
    who = "(log in as the user who runs the check): needs"
    assert check("--from-service-file", path) == (
        "DB_CONNECT UNKNOWN - nova [database]: Access denied for user 'socket_only'@'localhost' (error 1698)"
        f" {who} an account with a password, or the socket as the user of that name"
    )
    path = conf(
        tmp_path, f"[database]\nconnection = postgresql://peer_only@/glance?host={post.socket}&port={post.port}\n"
    )
    assert check("--from-service-file", path) == (
        'DB_CONNECT UNKNOWN - nova [database]: Peer authentication failed for user "peer_only"'
        f" {who} an account with a password, or to run as the system's user of that account"
    )


def test_a_way_to_authenticate_that_needs_a_module(maria, password):
    assert check(*mysql(maria, user="signs")) == (
        "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: the account's way to authenticate (ed25519) needs the Python module PyNaCl"
        " (log in with PyMySQL): needs that module, or an account with another kind of password"
    )


def test_a_server_that_speaks_german(folder, environment):
    """What a log-in is refused with is told by its SQLSTATE; glibc takes LANGUAGE before the server's lc_messages."""
    with postgresql.server(folder / "deutsch", "max_connections=5", hba=HBA) as server:
        server.sql(f"CREATE ROLE plain LOGIN PASSWORD '{PLAIN}'")
        server.sql("CREATE DATABASE shut")
        server.sql("REVOKE CONNECT ON DATABASE shut FROM public")
        server.daemon.env["LANGUAGE"] = "de"
        server.restart()
        environment.setenv("NEPHOSCOPE_PASSWORD", "falsch-wort")
        said = "Passwort-Authentifizierung für Benutzer »plain« fehlgeschlagen (SQLSTATE 28P01)"
        if "»" not in check(*postgres(server)):
            missing("the server has no words in German")
        assert check(*postgres(server)) == REFUSED.format(said, POST_CURE)
        line = check(*postgres(server, "--socket", server.socket, host=None, user="peer_only"))
        assert "fehlgeschlagen (SQLSTATE 28000) (log in as the user who runs the check): needs" in line
        environment.setenv("NEPHOSCOPE_PASSWORD", PLAIN)
        assert check(*postgres(server)) == WORKS
        line = check(*postgres(server, "--database", "gone"))
        assert line == "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: Datenbank »gone« existiert nicht (SQLSTATE 3D000) (log in)"
        said = "keine Berechtigung für Datenbank »shut« (SQLSTATE 42501)"
        assert check(*postgres(server, "--database", "shut")) == REFUSED.format(
            said, "GRANT CONNECT ON DATABASE … TO the account"
        )
        with _many(lambda: server.connection(), 5):
            line = check(*postgres(server))
            assert line.startswith("DB_CONNECT CRITICAL - 127.0.0.1:PORT: ") and "(SQLSTATE 53300)" in line


@pytest.mark.parametrize("ask, name", [(mysql, "maria"), (postgres, "post")])
def test_a_frozen_server(request, password, ask, name):
    server = request.getfixturevalue(name)
    server.freeze()
    try:
        began = time.monotonic()
        assert check(*ask(server, "-t", "3")) == "DB_CONNECT CRITICAL - 127.0.0.1:PORT: no answer in N s (log in)"
        assert time.monotonic() - began < 3.5
        line = check(*ask(server, "-t", "2", "--unreachable-state", "warning"))
        assert line == "DB_CONNECT WARNING - 127.0.0.1:PORT: no answer in N s (log in)"
    finally:
        server.thaw()
    assert check(*ask(server)) == WORKS


def test_a_frozen_server_does_not_hide_the_others(maria, post, tmp_path):
    path = conf(
        tmp_path,
        f"""
[database]
connection = mysql+pymysql://plain:{PLAIN}@127.0.0.1:{maria.port}/nova
[other]
connection = postgresql://plain:{PLAIN}@127.0.0.1:{post.port}/glance
""",
    )
    maria.freeze()
    try:
        outcome = CHECK.run(["--from-service-file", str(path), "-t", "3"])
    finally:
        maria.thaw()
    assert shape(outcome.line).startswith(
        "DB_CONNECT CRITICAL - nova [database]: no answer in N s (log in to 127.0.0.1:PORT)"
    )
    assert "nova__other-" in outcome.line


@pytest.mark.parametrize("ask, name", [(mysql, "maria"), (postgres, "post")])
def test_a_server_that_is_restarted(request, password, ask, name):
    server = request.getfixturevalue(name)
    assert check(*ask(server)) == WORKS
    server.stop()
    assert check(*ask(server)).startswith("DB_CONNECT CRITICAL - 127.0.0.1:PORT: Connection refused (")
    server.__enter__() if name == "maria" else server.start()
    assert check(*ask(server)) == WORKS


def test_too_many_connections(maria, post, password):
    with _many(lambda: maria.connection("plain", PLAIN), 13):
        line = check(*mysql(maria))
        assert line == "DB_CONNECT CRITICAL - 127.0.0.1:PORT: too many connections (error 1040) (log in)"
    with _many(lambda: maria.connection("one", PLAIN), 1):
        line = check(*mysql(maria, user="one"))
        said = "too many connections or questions of this account (a limit of its own) (error 1226)"
        assert line == f"DB_CONNECT CRITICAL - 127.0.0.1:PORT: {said} (log in)"
    with _many(lambda: post.connection("plain", PLAIN, host="127.0.0.1"), 8):
        line = check(*postgres(post))
        said = "remaining connection slots are reserved for non-replication superuser connections"
        assert line == f"DB_CONNECT CRITICAL - 127.0.0.1:PORT: {said} (log in)"
    with _many(lambda: post.connection(), 8):
        assert (
            check(*postgres(post)) == "DB_CONNECT CRITICAL - 127.0.0.1:PORT: sorry, too many clients already (log in)"
        )
    with _many(lambda: post.connection("one", PLAIN, host="127.0.0.1"), 1):
        said = 'too many connections for role "one"'
        assert check(*postgres(post, user="one")) == f"DB_CONNECT CRITICAL - 127.0.0.1:PORT: {said} (log in)"


@contextlib.contextmanager
def _many(connect, number):
    """Hold connections until no more are given, at most `number`."""
    held = []
    try:
        for _ in range(number):
            try:
                held.append(connect())
            except Exception:
                break
        yield held
    finally:
        for link in held:
            link.close()
        time.sleep(0.3)  # the servers notice that they went


# ---- the files of services ---------------------------------------------------------------------------------------------------


def test_the_connections_of_a_service(maria, post, tmp_path):
    path = conf(
        tmp_path,
        f"""
[DEFAULT]
db = 127.0.0.1:{maria.port}
[database]
# the first is what it was before
connection = mysql+pymysql://plain:falsch-wort@127.0.0.1:{maria.port}/nova
connection = mysql+pymysql://plain:{PLAIN}@$db/nova?charset=utf8
slave_connection = mysql://plain:{PLAIN}@[::1]:{maria.port}/nova
[api_database]
connection = mysql+pymysql://odd:{encoded(ODD)}@127.0.0.1:{maria.port}/nova_api
[placement_database]
connection = "mysql+pymysql://plain:{PLAIN}@/nova?unix_socket={maria.socket}"
[cell]
connection = postgresql+psycopg2://odd:{encoded(ODD)}@127.0.0.1:{post.port}/glance
""",
    )
    line = check("--from-service-file", path, state=tmp_path / "state")
    assert line == "DB_CONNECT OK - 5 of 5 connections work"
    outcome = CHECK.run(["--from-service-file", str(path), "-v"])
    for name in ("[database]", "[database] slave_connection", "[api_database]", "[placement_database]", "[cell]"):
        assert f"nova {name} MariaDB" in outcome.text or f"nova {name} PostgreSQL" in outcome.text


@pytest.mark.parametrize(
    "url, line",
    [
        ("mysql+pymysql://plain:falsch-wort@127.0.0.1:{m}/nova", "log-in refused for user 'plain' (error 1045)"),
        ("mysql+pymysql://nobody:falsch-wort@127.0.0.1:{m}/nova", "log-in refused for user 'nobody' (error 1045)"),
        ("mysql+pymysql://plain:" + PLAIN + "@127.0.0.1:{m}/gone",
         "Access denied for user 'plain'@'%' to database 'gone' (error 1044)"),
        ("postgresql://plain:falsch-wort@127.0.0.1:{p}/glance", 'password authentication failed for user "plain"'),
        ("postgresql://plain:" + PLAIN + "@127.0.0.1:{p}/gone", 'database "gone" does not exist'),
        ("mysql+pymysql://plain:" + PLAIN + "@127.0.0.1:{m}/nova?ssl_ca={tls}/other.pem",
         "certificate: unable to get local issuer certificate"),
    ],
)  # fmt: skip
def test_a_service_that_would_not_get_in(maria, post, authority, tmp_path, url, line):
    url = url.format(m=maria.port, p=post.port, tls=authority)
    path = conf(tmp_path, f"[database]\nconnection = {url}\n")
    assert check("--from-service-file", path, state=tmp_path / "state") == (
        f"DB_CONNECT CRITICAL - nova [database] the service can't log in to 127.0.0.1:PORT: {line}"
    )


def test_tls_as_the_service_asks_for_it(maria, post, authority, tmp_path):
    path = conf(
        tmp_path,
        f"""
[a]
connection = mysql+pymysql://only_tls:{PLAIN}@127.0.0.1:{maria.port}/?ssl_ca={authority}/ca.pem
[b]
connection = postgresql://only_tls:{PLAIN}@127.0.0.1:{post.port}/glance?sslmode=verify-full&sslrootcert={authority}/ca.pem
[c]
connection = postgresql://only_tls:{PLAIN}@127.0.0.1:{post.port}/glance?sslmode=require
""",
    )
    assert check("--from-service-file", path) == "DB_CONNECT OK - 3 of 3 connections work"
    outcome = CHECK.run(["--from-service-file", str(path)])
    assert " | unencrypted=0 " in outcome.line


def test_another_server_with_the_services_account(maria, tmp_path):
    path = conf(tmp_path, f"[database]\nconnection = mysql+pymysql://plain:{PLAIN}@db.example/nova\n")
    line = check("--from-service-file", path, "-H", "127.0.0.1", "-p", maria.port)
    assert line == WORKS


def test_option_files_of_the_clients(maria, post, tmp_path, environment):
    cnf = tmp_path / ".my.cnf"
    quoted = ODD.replace("\\", "\\\\").replace('"', '\\"')
    cnf.write_text(f'[client]\nuser = odd\npassword = "{quoted}"\nhost = 127.0.0.1\nport = {maria.port}\n')
    cnf.chmod(0o600)
    assert check("--type", "mysql") == WORKS
    assert check("--defaults-file", cnf) == WORKS
    assert _client(cnf) == "1"  # the real client reads it the same way
    passfile = tmp_path / ".pgpass"
    word = ODD.replace("\\", "\\\\").replace(":", "\\:")
    passfile.write_text(f"127.0.0.1:{post.port}:*:odd:{word}\n")
    passfile.chmod(0o600)
    assert check(*postgres(post, user="odd")) == WORKS
    service = tmp_path / ".pg_service.conf"
    service.write_text(f"# ours\n[lab]\nhost=127.0.0.1\nport={post.port}\nuser=odd\ndbname=glance\n")
    assert check("--service", "lab") == WORKS
    passfile.chmod(0o644)
    assert check("--service", "lab") == (
        "DB_CONNECT UNKNOWN - 127.0.0.1:PORT: no password for this account (log in as the user who runs the check):"
        f" needs {passfile}: libpq takes it only with mode 0600, not 0644"
    )
    line = check("--service", "lab", "--passfile", passfile)
    said = f"{passfile}: libpq takes it only with mode 0600, not 0644 (read {passfile}): needs chmod 600 "
    assert line.startswith(f"DB_CONNECT UNKNOWN - {said}")


# Every rule of the manual's "Using Option Files", and what it leaves open.
LINES = [
    "user=a", "user = a b ", "user = 'a b' ", 'user = "a#b" # c', "user = a#b", "user = a # b", "user='a'b'", "user = 'a\\'b'", 'user = "a\\"b"',
    'user = a\\"b', "user = a\\sb\\\\c\\xd\\t", "user = 'a", "user = a'#b'", "user = a'#b", "user = ", "user = ''", "user = \\\\", "user = é$&;",
    "USER=a", "user=a=b", "user = ;a", 'user = "a" b', "user = \\'a#b", "user = 'a\\\\' # b'",
]  # fmt: skip


def test_option_files_are_read_as_the_clients_read_them(tmp_path):
    """MariaDB's own my_print_defaults is asked about the same file."""
    program = need("my_print_defaults")[0]
    cnf = tmp_path / "my.cnf"
    for line in LINES:
        cnf.write_text(f"[client]\n{line}\n[other]\nuser = nobody\n")
        said = subprocess.run(
            [program, f"--defaults-file={cnf}", "client"], capture_output=True, text=True, check=True
        ).stdout
        name, _, value = said.removesuffix("\n").partition("=")
        assert my_cnf.read(Run(), str(cnf)) == {name.lstrip("-").lower(): value}, line


def _client(cnf):
    client = need("mariadb")[0]
    return subprocess.run(
        [client, f"--defaults-file={cnf}", "-BNe", "SELECT 1"], capture_output=True, text=True, check=True
    ).stdout.strip()


# ---- no password anywhere ----------------------------------------------------------------------------------------------------


def test_no_password_in_arguments_or_environment_while_it_runs(maria, tmp_path):
    """A real process, held up by a frozen server: what other users can read of it in /proc."""
    path = conf(tmp_path, f"[database]\nconnection = mysql+pymysql://plain:{PLAIN}@127.0.0.1:{maria.port}/nova\n")
    maria.freeze()
    try:
        code = "from nephoscope.checks.database.check_db_connect import main; main()"
        argv = [sys.executable, "-c", code, "--from-service-file", str(path), "-t", "3", "-vvv"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(1.0)
        for name in ("cmdline", "environ", "comm"):
            assert PLAIN.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        out = process.communicate(timeout=10)[0]
    finally:
        maria.thaw()
    assert (
        shape(out.splitlines()[0])
        == "DB_CONNECT CRITICAL - nova [database]: no answer in N s (log in to 127.0.0.1:PORT)"
    )
    assert process.returncode == 2 and PLAIN not in out


def test_it_shows_up_by_name_and_leaves_nothing_behind(maria, post, password):
    before = int(maria.status("Connections"))
    aborted = int(maria.status("Aborted_clients"))
    assert check(*mysql(maria)) == WORKS
    time.sleep(0.2)
    assert int(maria.status("Aborted_clients")) == aborted
    assert int(maria.status("Connections")) - before <= 4  # its own, and those that asked
    assert [row for row in maria.sql("SHOW PROCESSLIST") if row["User"] == "plain"] == []
    assert check(*postgres(post)) == WORKS
    assert post.sql("SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'plain'")[0]["n"] == 0
