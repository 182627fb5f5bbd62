# SPDX-License-Identifier: Apache-2.0
"""Sessions with a real MariaDB and PostgreSQL: they stay within their time and memory, wait for no lock, and write nothing."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest
from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import sql

from tests.lab import mariadb, postgresql
from tests.lab.support import Daemon, free_port, listening, need, need_root, private_folder

pytestmark = pytest.mark.lab

need_root("servers under users of their own")
PASSWORD = "x7-geheim"
KINDS = ("mysql", "postgres")


@pytest.fixture(scope="module")
def servers():
    with (
        private_folder() as folder,
        mariadb.server(folder / "maria") as maria,
        postgresql.server(folder / "post") as post,
    ):
        for statement in (
            "CREATE DATABASE nova", "CREATE TABLE nova.t (a int)", "INSERT INTO nova.t VALUES (1)",
            f"CREATE USER plain IDENTIFIED BY '{PASSWORD}'", "GRANT ALL ON nova.* TO plain",
        ):  # fmt: skip
            maria.sql(statement)
        post.sql(f"CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}'")
        post.sql("CREATE DATABASE nova OWNER plain")
        post.sql("CREATE TABLE t (a int); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO plain", database="nova")
        yield {"mysql": maria, "postgres": post, "folder": folder}


def session(servers, kind, seconds=8.0, port=0):
    access = sql.Access("here", kind, "plain", PASSWORD, "127.0.0.1", port or servers[kind].port, "", "nova")
    return sql.connect(Run(seconds), access)


def failed(database, statement):
    with pytest.raises(Failed) as raised:
        database.rows(statement)
    assert raised.value.of == "here" and PASSWORD not in str(raised.value.args)
    return raised.value.kind, raised.value.error


@pytest.mark.parametrize("kind", KINDS)
def test_values(servers, kind):
    with session(servers, kind) as database:
        number = "1.5" if kind == "mysql" else "1.5::numeric"
        assert database.rows(
            f"SELECT 1 AS One, NULL AS nothing, {number} AS half, sum(a) AS Sum, 'é' AS text, 'a%b' AS p FROM t"
        ) == [{"one": 1, "nothing": None, "half": 1.5, "sum": 1, "text": "é", "p": "a%b"}]
        assert isinstance(database.row("SELECT sum(a) AS s FROM t")["s"], int)
        assert database.rows("SELECT a FROM t WHERE a = %s AND 'x' LIKE %s", (1, "%")) == [{"a": 1}]
        assert database.row("SELECT a FROM t WHERE a = 2") == {}
        assert database.value("SELECT a FROM t WHERE a = 2") is None
        assert database.value("SHOW max_connections" if kind == "postgres" else "SELECT @@max_connections") in (
            "30",
            151,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written(servers, kind):
    with session(servers, kind) as database:
        for statement in ("INSERT INTO t VALUES (2)", "CREATE TABLE u (a int)", "DELETE FROM t", "DROP TABLE t"):
            assert failed(database, statement)[0] == UNREADABLE
        assert database.value("SELECT count(*) FROM t") == 1


def test_errors_by_their_kinds(servers):
    with session(servers, "mysql") as database:
        assert failed(database, "SELECT * FROM gone") == (ABSENT, "Table 'nova.gone' doesn't exist (error 1146)")
        assert failed(database, "SELECT gone FROM t") == (ABSENT, "Unknown column 'gone' in 'SELECT' (error 1054)")
        denied = "SELECT command denied to user 'plain'@'127.0.0.1' for table `mysql`.`user` (error 1142)"
        assert failed(database, "SELECT * FROM mysql.user") == (NOT_ALLOWED, denied)
        assert failed(database, "SHOW ENGINE INNODB STATUS") == (
            NOT_ALLOWED,
            "Access denied; you need (at least one of) the PROCESS privilege(s) for this operation (error 1227)",
        )
        assert failed(database, "SELEC")[0] == UNREADABLE
        assert database.value("SELECT 1") == 1
    with session(servers, "postgres") as database:
        assert failed(database, "SELECT * FROM gone") == (ABSENT, 'relation "gone" does not exist (SQLSTATE 42P01)')
        assert failed(database, "SELECT gone FROM t") == (ABSENT, 'column "gone" does not exist (SQLSTATE 42703)')
        denied = "permission denied for table pg_authid (SQLSTATE 42501)"
        assert failed(database, "SELECT * FROM pg_authid") == (NOT_ALLOWED, denied)
        assert failed(database, "SELEC") == (UNREADABLE, 'syntax error at or near "SELEC" (SQLSTATE 42601)')
        assert database.value("SELECT 1") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_server_ends_a_statement_before_we_give_up(servers, kind):
    began = time.monotonic()
    with session(servers, kind, 3.0) as database:
        kind_, said = failed(database, "SELECT sleep(60)" if kind == "mysql" else "SELECT pg_sleep(60)")
        assert kind_ == LATE and said.startswith("the statement took longer than the time that was left (")
        assert database.value("SELECT 1") == 1
    assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_is_not_waited_for(servers, kind):
    server = servers[kind]
    with (
        contextlib.closing(server.connection(database="nova", autocommit=False)) as trouble,
        trouble.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLES t WRITE" if kind == "mysql" else "LOCK TABLE t")
        with session(servers, kind) as database:
            began = time.monotonic()
            kind_, said = failed(database, "SELECT * FROM t")
            assert kind_ == LATE and said.startswith("a lock was not granted within a second (")
            assert 0.9 < time.monotonic() - began < 1.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_that_is_killed(servers, kind):
    server = servers[kind]
    with session(servers, kind) as database:
        if kind == "mysql":
            number = database.value("SELECT CONNECTION_ID()")
            kill = f"KILL {number}"
        else:
            kill = f"SELECT pg_terminate_backend({database.value('SELECT pg_backend_pid()')})"
        timer = threading.Timer(0.3, lambda: server.sql(kill))
        timer.start()
        kind_, said = failed(database, "SELECT sleep(5)" if kind == "mysql" else "SELECT pg_sleep(5)")
        timer.join()
    assert kind_ == UNREACHABLE
    assert said in (
        "the connection was cut before the answer was whole", "the connection was killed (error 1927)",
        "terminating connection due to administrator command (SQLSTATE 57P01)",
    )  # fmt: skip


def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_is_too_large(servers, kind):
    """Half a gigabyte is asked for: what is kept of it is bounded while it comes, not looked at when it is here."""
    big = {
        "mysql": "SELECT REPEAT('x', 1000000) FROM seq_1_to_500",
        "postgres": "SELECT repeat('x', 1000000) FROM generate_series(1, 500)",
    }
    most, done = [memory()], threading.Event()

    def watch():
        while not done.wait(0.01):
            most.append(memory())

    thread = threading.Thread(target=watch)
    thread.start()
    with session(servers, kind) as database:
        answer = failed(database, big[kind])
    done.set()
    thread.join()
    assert answer == (UNREADABLE, "more than 64 MiB")
    assert max(most) - most[0] < 200 << 20
    many = {"mysql": "SELECT seq FROM seq_1_to_100001", "postgres": "SELECT generate_series(1, 100001)"}
    with session(servers, kind) as database:
        assert failed(database, many[kind]) == (UNREADABLE, "more than 100000 rows")


def test_it_can_be_told_from_others(servers):
    maria, post = servers["mysql"], servers["postgres"]
    with session(servers, "mysql") as database:
        asker = threading.Thread(target=lambda: database.rows("SELECT sleep(0.6)"))
        asker.start()
        time.sleep(0.3)
        assert "/* nephoscope */ SELECT sleep(0.6)" in [row["Info"] for row in maria.sql("SHOW FULL PROCESSLIST")]
        asker.join()
    with session(servers, "postgres") as database:
        (row,) = post.sql("SELECT application_name, state FROM pg_stat_activity WHERE usename = 'plain'")
        assert row == {"application_name": "nephoscope", "state": "idle"}
        assert database.value("SELECT 1") == 1


def test_a_transaction_is_not_left_open(servers):
    with session(servers, "mysql") as database:
        servers["mysql"].sql("SET GLOBAL autocommit = 0")
        try:
            with session(servers, "mysql") as other:
                other.rows("SELECT * FROM t")
                left = servers["mysql"].sql("SELECT count(*) AS n FROM information_schema.innodb_trx")
        finally:
            servers["mysql"].sql("SET GLOBAL autocommit = 1")
        assert left == [{"n": 0}]
        assert database.value("SELECT @@autocommit") == 1


@pytest.fixture(scope="module")
def pool(servers):
    """pgbouncer, one connection to the server, handed on after each transaction."""
    program = need("pgbouncer")[0]
    home = servers["folder"] / "pool"
    home.mkdir()
    port, post = free_port(), servers["postgres"]
    (home / "users").write_text(f'"plain" "{PASSWORD}"\n')
    (home / "pgbouncer.ini").write_text(f"""[databases]
nova = host=127.0.0.1 port={post.port} dbname=nova user=plain password={PASSWORD}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home}/users
pool_mode = transaction
default_pool_size = 1
""")
    with Daemon([program, home / "pgbouncer.ini"], user="postgres", log=home / "log", ready=listening(port)):
        yield port


def test_a_pooler_is_not_poisoned(servers, pool):
    """What is set for our statements must not stay in the connection that the application gets next."""
    import psycopg2

    with session(servers, "postgres", port=pool) as database:
        assert database.value("SELECT a FROM t") == 1
        assert database.text.startswith("PostgreSQL 15.")
        assert failed(database, "INSERT INTO t VALUES (2)")[0] == UNREADABLE
        with contextlib.closing(
            psycopg2.connect(host="127.0.0.1", port=pool, user="plain", password=PASSWORD, dbname="nova")
        ) as service, service.cursor() as cursor:  # fmt: skip
            for name, value in (("statement_timeout", "0"), ("lock_timeout", "0"), ("transaction_read_only", "off")):
                cursor.execute(f"SHOW {name}")
                assert cursor.fetchone() == (value,), name
            cursor.execute("INSERT INTO t VALUES (3)")
            service.rollback()
        assert database.value("SELECT count(*) FROM t") == 1


def test_a_pooler_that_refuses(servers, pool):
    access = sql.Access("here", "postgres", "nobody", PASSWORD, "127.0.0.1", pool, "", "nova")
    with pytest.raises(Failed) as raised:
        sql.connect(Run(4.0), access)
    assert (raised.value.kind, raised.value.error) == (NOT_ALLOWED, "SASL authentication failed")
    with pytest.raises(Failed) as raised:
        sql.connect(Run(4.0), access._replace(user="plain", database="gone"))
    assert raised.value.kind == ABSENT
