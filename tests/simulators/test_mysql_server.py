# SPDX-License-Identifier: Apache-2.0
"""The simulated MySQL, asked by PyMySQL: a simulator that no real client understands proves nothing."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import importlib.util

import pytest

pymysql = pytest.importorskip("pymysql")

from tests.probes.one_client import certificate  # noqa: E402
from tests.simulators.mysql_answers import READ_WAITS, RIGHTS, healthy, lock_wait, session, tables, trx  # noqa: E402
from tests.simulators.mysql_server import Account, Error, MySQL, normal, rsa_key  # noqa: E402


@contextlib.contextmanager
def connected(server, **words):
    given = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "monitor",
        "password": "secret",
        "read_timeout": 5,
        **words,
    }
    link = pymysql.connect(**given)
    try:
        yield link.cursor()
    finally:
        link.close()


@pytest.fixture
def old():
    """A server whose account PyMySQL can use without another package."""
    with healthy(plugin="mysql_native_password") as server:
        yield server


def asked(server, statement, **words):
    with connected(server, **words) as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def number(server, statement="SELECT 1", **words):
    with pytest.raises(pymysql.err.MySQLError) as raised:
        asked(server, statement, **words)
    return raised.value.args


def test_a_native_password(old):
    assert asked(old, "/* nephoscope */ SELECT 1") == ((1,),)
    assert old.attributes["_client_name"] == "pymysql"
    assert old.log[-1] == "/* nephoscope */ SELECT 1"
    denied = (1045, "Access denied for user 'monitor'@'localhost' (using password: YES)")
    assert number(old, password="wrong") == denied
    assert number(old, user="nobody") == (1045, denied[1].replace("monitor", "nobody"))
    assert number(old, password="")[1].endswith("(using password: NO)")


def test_the_full_path_over_tls_and_then_the_cache(tmp_path):
    cert, _ = certificate(tmp_path)
    with healthy(certificate=(cert, str(tmp_path / "key.pem"))) as server:
        for _ in range(2):
            assert asked(server, "SELECT 1", ssl_ca=cert, ssl_verify_cert=True) == ((1,),)
        assert server.ways == ["full over TLS", "fast"]
        assert number(server, password="wrong", ssl_ca=cert)[0] == 1045
        # The cache serves a connection without TLS too; a new account's first one goes by RSA, or not at all.
        assert asked(server, "SELECT 1", ssl_disabled=True) == ((1,),)
        assert (server.ways[-1], server.clear) == ("fast", [])


def test_a_server_that_demands_tls(tmp_path):
    cert, _ = certificate(tmp_path)
    with healthy(certificate=(cert, str(tmp_path / "key.pem")), secure_only=True) as server:
        assert number(server, ssl_disabled=True)[0] == 3159
        assert asked(server, "SELECT 1", ssl_ca=cert) == ((1,),)


def test_the_exchange_by_rsa():
    """PyMySQL needs `cryptography` for it; the lab has Debian's client do it."""
    with healthy() as server:
        if importlib.util.find_spec("cryptography"):
            assert asked(server, "SELECT 1") == ((1,),)
            assert server.ways == ["full by RSA"]
        else:
            with pytest.raises(RuntimeError, match="'cryptography' package is required"):
                asked(server, "SELECT 1")
        assert server.clear == []


def test_the_key_opens_what_it_sealed():
    key = rsa_key()
    assert key.open(key.seal(b"s3cret\0")) == b"s3cret\0"
    assert key.open(bytes(128)) == b""
    assert key.pem().startswith(b"-----BEGIN PUBLIC KEY-----\n")


def test_the_passwords_that_a_version_has():
    with healthy("8.4.3", plugin="mysql_native_password") as server:
        assert number(server) == (1524, "Plugin 'mysql_native_password' is not loaded")
    with healthy(plugin="mysql_clear_password") as server:
        assert asked(server, "SELECT 1") == ((1,),)
        assert server.clear == ["secret"]  # PyMySQL gives it, unencrypted, to any server that asks


def test_what_select_answers(old):
    old.now = datetime.datetime(2026, 11, 21, 12, 0, 0, tzinfo=datetime.timezone.utc)
    old.tables = tables([session(11, "nova"), session(12, "nova", "Query", 30)])
    old.tables["information_schema.innodb_trx"].rows.extend(
        [
            trx(11, "2026-11-21 11:59:00"),
            trx(12, "2026-11-21 11:59:30", trx_state="LOCK WAIT", trx_wait_started="2026-11-21 11:59:30"),
        ]
    )
    old.tables["performance_schema.data_lock_waits"].rows.append(lock_wait(12, 11))
    assert asked(old, "SELECT MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())), SUM(trx_state = 'LOCK WAIT') FROM information_schema.innodb_trx") == (
        (60, decimal.Decimal(1)),
    )  # fmt: skip
    blocked = """SELECT r.trx_mysql_thread_id, b.trx_mysql_thread_id, b.trx_started, p.COMMAND
        FROM performance_schema.data_lock_waits w
        JOIN information_schema.innodb_trx r ON r.trx_id = w.REQUESTING_ENGINE_TRANSACTION_ID
        JOIN information_schema.innodb_trx b ON b.trx_id = w.BLOCKING_ENGINE_TRANSACTION_ID
        JOIN information_schema.processlist p ON p.id = b.trx_mysql_thread_id"""
    assert asked(old, blocked) == ((12, 11, datetime.datetime(2026, 11, 21, 11, 59), "Sleep"),)
    assert asked(old, "SELECT @@max_connections, @@performance_schema, VERSION(), NULL") == ((151, 1, "8.0.40", None),)
    assert asked(old, "SHOW GLOBAL STATUS LIKE 'Threads\\_r%'") == (("Threads_running", "2"),)
    assert asked(old, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('port', 'read_only')") == (
        ("port", "3306"),
        ("read_only", "OFF"),
    )
    assert old.unknown == []


def test_what_is_mariadbs_alone(old):
    assert number(old, "SET SESSION max_statement_time=5") == (1193, "Unknown system variable 'max_statement_time'")
    assert number(old, "SELECT @@wsrep_on")[0] == 1193
    assert number(old, "SELECT * FROM information_schema.innodb_lock_waits") == (
        1109,
        "Unknown table 'INNODB_LOCK_WAITS' in information_schema",
    )
    assert number(old, "SELECT enabled FROM information_schema.innodb_metrics") == (
        1054,
        "Unknown column 'enabled' in 'field list'",
    )
    assert number(old, "SELECT 1 FROM nova.instances")[0] == 1146
    assert asked(old, "SET SESSION max_execution_time=1000, lock_wait_timeout=1") == ()
    assert old.unknown == []
    for statement in (
        "SELECT 1 AS lag",
        "SELECT rank FROM x",
        "SHOW ALL SLAVES STATUS",
        "SET STATEMENT max_statement_time=1 FOR SELECT 1",
    ):
        assert number(old, statement)[0] in (1064, 1193), statement
    assert old.unknown == ["select 1 as lag", "select rank from x", "show all slaves status"]


def test_replicas_old_and_new():
    behind = {"Seconds_Behind_Source": 40, "Channel_Name": "east"}
    with (
        healthy(channels=[behind], plugin="mysql_native_password") as server,
        connected(server, cursorclass=pymysql.cursors.DictCursor) as cursor,
    ):
        cursor.execute("SHOW REPLICA STATUS")
        row = cursor.fetchone()
        assert (row["Seconds_Behind_Source"], row["Replica_SQL_Running"], row["Source_Host"]) == (
            40,
            "Yes",
            "source.example",
        )
        cursor.execute("SHOW SLAVE STATUS")
        row = cursor.fetchone()
        assert (row["Seconds_Behind_Master"], row["Slave_SQL_Running"], row["Master_Host"]) == (
            40,
            "Yes",
            "source.example",
        )
    with healthy("8.4.3", channels=[behind]) as server:
        server.cached.add("monitor")
        assert number(server, "SHOW SLAVE STATUS")[0] == 1064
        assert len(asked(server, "SHOW REPLICA STATUS")) == 1


@pytest.mark.parametrize(
    ("right", "statement", "refusal"),
    [
        ("PROCESS", "SELECT * FROM information_schema.innodb_trx", (1227, "Access denied; you need (at least one of) the PROCESS privilege(s) for this operation")),
        ("REPLICATION CLIENT", "SHOW REPLICA STATUS", (1227, "Access denied; you need (at least one of) the SUPER, REPLICATION CLIENT privilege(s) for this operation")),
        (READ_WAITS, "SELECT * FROM performance_schema.data_lock_waits", (1142, "SELECT command denied to user 'monitor'@'localhost' for table 'data_lock_waits'")),
    ],
)  # fmt: skip
def test_without_a_right(right, statement, refusal):
    with healthy(rights=RIGHTS - {right}, plugin="mysql_native_password") as server:
        assert number(server, statement) == refusal
        assert len(asked(server, "SELECT * FROM information_schema.processlist")) == (1 if right == "PROCESS" else 2)


def test_databases(old):
    assert asked(old, "SELECT 1", database="nova") == ((1,),)
    assert number(old, database="keystone") == (1044, "Access denied for user 'monitor'@'%' to database 'keystone'")
    assert number(old, database="nowhere") == (1049, "Unknown database 'nowhere'")


def test_a_unix_socket_is_as_good_as_tls(tmp_path):
    path = str(tmp_path / "mysqld.sock")
    with healthy(path=path) as server:
        assert asked(server, "SELECT 1", unix_socket=path) == ((1,),)
        assert server.ways == ["full over TLS"]
        assert server.wait_until_left() == 1


@pytest.mark.parametrize("fault", ["half", "cut", "garbage", "http", "hang", "drip"])
def test_faults_of_the_handshake(fault):
    with MySQL(fault=fault) as server:
        with pytest.raises(pymysql.err.Error):
            pymysql.connect(host="127.0.0.1", port=server.port, user="monitor", password="secret", read_timeout=0.1)
        assert server.log == []


def test_an_error_before_the_handshake():
    with MySQL(fault=Error(1040, "08004", "Too many connections")) as server:
        assert number(server) == (1040, "Too many connections")


@pytest.mark.parametrize("fault", ["hang", "drip", "half", "cut", "garbage", "flood"])
def test_faults_of_a_statement(fault):
    account = Account("secret", "mysql_native_password")
    with (
        MySQL(accounts={"monitor": account}, answers={"select 2": fault}) as server,
        connected(server, read_timeout=1) as cursor,
    ):
        if fault == "flood":
            cursor = pymysql.cursors.SSCursor(cursor.connection)
            cursor.execute("SELECT 2")
            assert all(len(cursor.fetchone()[0]) == 60000 for _ in range(100))
            cursor._result.unbuffered_active = False  # else PyMySQL reads on to an end that never comes
            cursor._result = None
        else:
            cursor.connection._read_timeout = (
                0.1  # each read has its own: a drip of a byte in 0.2 s is caught, one in 0.05 s is not
            )
            with pytest.raises(pymysql.err.Error):
                cursor.execute("SELECT 2")


def test_normal_words():
    assert normal(" /* nephoscope */ SELECT  'A  b'\n FROM `T` -- why\n ;") == "select 'A  b' from `T`"
    assert normal("SELECT /*!40001 SQL_NO_CACHE */ 1") == "select /*!40001 sql_no_cache */ 1"
