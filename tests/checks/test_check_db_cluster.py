# SPDX-License-Identifier: Apache-2.0
"""The judge of check_db_cluster by equality, and its first lines over the wire of a simulated MariaDB."""

from __future__ import annotations

import re
import socket
import threading

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, Clock, Failed
from nephoscope.checks.database.check_db_cluster import CHECK, MODES, WORDS, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.galera import Node
from nephoscope.probes.pg_replication import Follower, Slot, Standby
from nephoscope.probes.pg_replication import Server as Postgres
from nephoscope.probes.replication import Channel, Cluster, Server

from tests.probes.wsrep import ALONE, CUT_OFF, REFUSAL, STATUS, VARIABLES

NODE = Node("n1", True, True, "Primary", True, True, 4, "Synced", 3, "u", "u", "7", recv_queue=0, send_queue=0, flow=COLLECTING,
            conflicts=COLLECTING)  # fmt: skip


def found(cluster, *argv):
    return list(judge(cluster, CHECK.parse(*argv)))


def test_each_word_of_the_probes_has_a_state():
    """What they say stands in their source, as the first of a pair."""
    import inspect

    from nephoscope.probes import galera, pg_replication, replication

    told = set()
    for module in (galera, pg_replication, replication):
        told |= set(re.findall(r'yield [^\n]*?"([a-z_]+)"', inspect.getsource(module)))
        told |= set(re.findall(r'(?:else|\(server\.of,) "([a-z_]+)"[,)]', inspect.getsource(module)))
        for table in ("STATES", "RECEIVER", "WAL"):
            told |= set(getattr(module, table, {}).values())
    measured = {threshold.name for threshold in CHECK.thresholds} | {"here", "backup"}
    assert {"cut_off", "wrong_role", "missing", "vanished", "lost", "catching_up"} <= told
    assert told - measured <= set(WORDS)


def test_galera():
    assert found(Cluster((Server("", "MariaDB 10.11.19", node=NODE, replicas=0),), size=3)) == [
        Finding(OK, "n1", "is Synced"),
        Metric("size", 3),
        Metric("recv_queue", 0),
        Metric("send_queue", 0),
        Metric("donor", 0.0, detail="backup, state transfer or FLUSH TABLES WITH READ LOCK"),
        Metric("joining", 0.0),
        Metric("flow_paused", COLLECTING),
        Metric("conflicts", COLLECTING),
        Metric("replicas", 0),
        Finding(OK, "", "Galera node n1 is Synced in a cluster of 3"),
    ]


def test_replica_standby_primary_and_slots():
    channel = Channel("c1", "192.0.2.1:3306", "Yes", "No", None, sql_error=1062)
    assert found(Cluster((Server("", channels=(channel,)),))) == [
        Finding(
            CRITICAL,
            "c1",
            "replication from 192.0.2.1:3306 is stopped: its SQL thread does not run (error 1062, duplicate key)",
        ),
        Finding(OK, "", "a replica of 192.0.2.1:3306"),
    ]
    standby = Postgres("7", True, Standby("streaming", "192.0.2.1:5432", 0.1, 30.0, paused=True, behind=9.0, age=4.0))
    assert found(Cluster((Server("", postgres=standby),))) == [
        Finding(WARNING, "", "replay is paused"),
        Metric("lag", 4.0, detail="replay is paused"),
        Metric("behind", 9.0),
        Metric("silent", 0.1, detail="an idle primary is asked for a sign after 30 s"),
        Finding(OK, "", "a standby of 192.0.2.1:5432"),
    ]
    follower = Follower("north", ("north",), "catchup", behind=9.0, seconds=1.0)
    primary = Postgres("7", False, None, (follower,), (Slot("one", "physical", False, 4.0, "lost"),), tuple(MODES))
    assert found(Cluster((Server("", postgres=primary),), expected=(("south", 1),))) == [
        Finding(WARNING, "north", "is catchup"),
        Finding(CRITICAL, "one", "slot is lost, what follows it must be made anew: its WAL is gone"),
        Finding(CRITICAL, "south", "has 0 streaming, 1 expected"),
        Metric("standbys", 0),
        Metric("behind", 9.0, "north"),
        Metric("lag", 1.0, "north"),
        Metric("retained", 4.0, "one", detail="nobody uses the slot"),
        Finding(OK, "", "a primary, 1 standby, 1 slot"),
    ]


def test_failures_are_handed_on():
    silent = Failed(UNREACHABLE, "db2.example:3306", "log in", "Connection refused")
    refused = Failed(NOT_ALLOWED, "db1.example:3306", "SHOW ALL SLAVES STATUS", "Access denied", "a grant")
    cluster = Cluster((Server("db1.example:3306", "MariaDB 10.11.19", failures=(refused,)), silent))
    assert found(cluster) == [silent, refused, Finding(OK, "", "db1.example:3306: MariaDB 10.11.19")]
    assert found(Cluster((silent,))) == [silent]


# ---- first lines ------------------------------------------------------------------------------------------------------------

TABLE = "select 1 from mysql.help_topic limit 1"
SLAVES = "show all slaves status"
REPLICA = {
    "Connection_name": "", "Master_Host": "192.0.2.1", "Master_Port": 3306, "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes",
    "Seconds_Behind_Master": 0, "Last_IO_Errno": 0, "Last_SQL_Errno": 0, "Last_SQL_Error": "", "SQL_Delay": 0,
}  # fmt: skip


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """Run the check against a simulated MariaDB; what is given differs from a node that is well."""
    pytest.importorskip("pymysql")
    from tests.simulators.mysql_server import Account, Error, MySQL, Rows

    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")
    accounts = {"nagios": Account("secret", "mysql_native_password")}
    denied = Error(1142, "42000", "SELECT command denied to user 'nagios'@'localhost' for table `mysql`.`help_topic`")
    with MySQL("5.5.5-10.11.19-MariaDB-0+deb12u1", accounts, plugin="mysql_native_password") as simulated:

        def run(*argv, status=(), variables=(), table=denied, slaves=(), shift=0):
            simulated.status = {**STATUS, "Uptime": str(7200 + shift), **dict(status)}
            simulated.variables = {
                **VARIABLES,
                "version": "10.11.19-MariaDB",
                "version_comment": "Debian 12",
                **dict(variables),
            }
            rows = [tuple({**REPLICA, **row}.values()) for row in slaves] if not isinstance(slaves, Error) else ()
            simulated.answers = {
                TABLE: table,
                SLAVES: slaves if isinstance(slaves, Error) else Rows(tuple(REPLICA), rows),
            }
            where = ["--type", "mysql", "-H", "127.0.0.1", "-p", str(simulated.port), "--user", "nagios"]
            outcome = CHECK.run([*where, "--state-dir", str(tmp_path / "state"), *argv], clock=Clock(shift=shift))
            assert simulated.unknown == []
            return outcome, re.sub(r"127\.0\.0\.1:\d+", "HOST", outcome.line.partition(" |")[0])

        run.error = Error
        yield run


def test_green(ask):
    outcome, line = ask()
    assert line == "DB_CLUSTER OK - Galera node n1 is Synced in a cluster of 3, rates collecting"
    assert outcome.perfdata == [
        *(
            "size=3",
            "recv_queue=0;100;1000",
            "send_queue=0;10;100",
            "donor=0s;1800",
            "joining=0s;;1800",
            "deps_distance=12.5",
        ),
        *("replicas=0", "repl_latency=0.002s"),
    ]
    outcome, line = ask(shift=100, status={"wsrep_flow_control_paused_ns": "8240134841", "wsrep_local_commits": "1100"})
    assert line == "DB_CLUSTER WARNING - flow paused 6 % is above 5 %"
    assert outcome.perfdata[-4:] == [
        "flow_paused=6%;5;10",
        "conflicts=0%;1;5",
        "gcache=2592000s;3600:",
        "repl_latency=0.002s",
    ]


def donor(seconds):
    return {"wsrep_local_state": "2", "wsrep_local_state_comment": "Donor/Desynced"}, seconds


@pytest.mark.parametrize(
    ("status", "variables", "state", "said"),
    [
        ({"wsrep_local_recv_queue": "101"}, {}, WARNING, "recv queue 101 is above 100"),
        ({"wsrep_local_recv_queue": "1001"}, {}, CRITICAL, "recv queue 1001 is above 1000"),
        ({"wsrep_local_send_queue": "11"}, {}, WARNING, "send queue 11 is above 10"),
        ({"wsrep_local_send_queue": "101"}, {}, CRITICAL, "send queue 101 is above 100"),
        ({"wsrep_local_recv_queue": "many"}, {}, UNKNOWN, "recv queue was not measured"),
        ({"wsrep_local_state": "7"}, {}, UNKNOWN, "n1 is in a state that is not understood: 7 Synced"),
        ({"wsrep_local_state": "3", "wsrep_local_state_comment": "Joined"}, {}, WARNING, "n1 is Joined: not yet in step"),
        ({"wsrep_ready": "OFF"}, {}, CRITICAL, "n1 is not ready: wsrep_ready OFF"),
        ({"wsrep_local_state_uuid": "c0ffee00"}, {}, CRITICAL,
         "n1 holds data of another history (c0ffee00) than its cluster's (b4ef351e)"),
        ({}, {"wsrep_reject_queries": "ALL"}, WARNING, "n1 refuses every query of a table: wsrep_reject_queries is ALL"),
        ({}, {"wsrep_desync": "ON"}, WARNING, "n1 was desynced by hand: wsrep_desync is ON"),
        ({}, {"wsrep_on": "OFF"}, CRITICAL, "n1 does not replicate: wsrep_on is OFF, though a cluster is configured"),
        ({}, ALONE, UNKNOWN, "MariaDB 10.11.19 replicates nothing, neither from nor to it"),
        ({"wsrep_cluster_size": "2"}, {}, WARNING,
         "the cluster has 2 members, an even number: halves that lose each other both stop (--size 2 when that is meant)"),
        ({"wsrep_cluster_size": "1"}, {}, WARNING,
         "the cluster has one member: nothing takes over (--size 1 when that is meant)"),
        ({"wsrep_evs_delayed": "9f1a:tcp://192.0.2.3:4567:12"}, {}, WARNING,
         "n1 sees members that answer late: 9f1a:tcp://192.0.2.3:4567:12"),
    ],
)  # fmt: skip
def test_each_way_of_a_node_to_be_ill(ask, status, variables, state, said):
    outcome, line = ask(status=status, variables=variables)
    word = ("OK", "WARNING", "CRITICAL", "UNKNOWN")[state]
    assert (outcome.state, line) == (state, f"DB_CLUSTER {word} - {said}".removesuffix(", rates collecting"))


def test_cut_off_and_ready_but_refusing(ask):
    refuses = ask.error(1047, "08S01", REFUSAL)
    _, line = ask(status=CUT_OFF, table=refuses)
    assert line == (
        "DB_CLUSTER CRITICAL - n1 is cut off from its cluster: non-Primary, Initialized,"
        " and refuses every query of a table (error 1047)"
    )
    _, line = ask(table=refuses)
    assert line.startswith("DB_CLUSTER CRITICAL - n1 says that it is ready, and a query of a table got: ")


def test_donor_and_joining_for_long(ask):
    for state, word, name, rank in (
        ("2", "Donor/Desynced", "donor", "WARNING"),
        ("3", "Joined", "joining", "CRITICAL"),
    ):
        told = {"wsrep_local_state": state, "wsrep_local_state_comment": word, "wsrep_gcomm_uuid": name}
        ask(status=told)
        _, line = ask(status=told, shift=2400)
        assert line.startswith(f"DB_CLUSTER {rank} - {name} 40 min is above 30 min")


def test_conflicts_and_a_small_cache(ask):
    ask()
    grown = {
        "wsrep_local_commits": "1192",
        "wsrep_local_cert_failures": "14",
        "wsrep_local_cached_downto": "89000",
        "wsrep_last_committed": "90000",
    }
    _, line = ask(status=grown, shift=100)
    assert line == "DB_CLUSTER WARNING - conflicts 4 % is above 1 %, gcache 1.27 s is below 60 min"


@pytest.mark.parametrize(
    ("row", "state", "said"),
    [
        ({}, OK, "a replica of 192.0.2.1:3306"),
        ({"Seconds_Behind_Master": 61}, WARNING, "lag 61 s is above 60 s"),
        ({"Seconds_Behind_Master": 301}, CRITICAL, "lag 5.02 min is above 5 min"),
        ({"Seconds_Behind_Master": None}, CRITICAL, "replication from 192.0.2.1:3306 does not know its lag (NULL)"),
        ({"Slave_IO_Running": "Connecting", "Last_IO_Errno": 2003}, CRITICAL,
         "replication from 192.0.2.1:3306 is not connected: its IO thread is Connecting (error 2003, can't connect)"),
        ({"Slave_SQL_Running": "No", "Last_SQL_Errno": 1062, "Last_SQL_Error": "on query: 'INSERT sesame'"}, CRITICAL,
         "replication from 192.0.2.1:3306 is stopped: its SQL thread does not run (error 1062, duplicate key)"),
        ({"Connection_name": "c1", "Slave_IO_Running": "No"}, CRITICAL,
         "c1 replication from 192.0.2.1:3306 is stopped: its IO thread does not run"),
    ],
)  # fmt: skip
def test_a_replica(ask, row, state, said):
    outcome, line = ask("-v", variables=ALONE, slaves=[row])
    assert (outcome.state, line.partition(" - ")[2]) == (state, said)
    assert "sesame" not in outcome.text


@pytest.mark.parametrize(
    ("read_only", "said"),
    [("ON", "OK"), ("NO_LOCK_NO_ADMIN", "OK"), ("OFF", "CRITICAL - is writable and should be read-only")],
)
def test_read_only_has_more_than_one_word(ask, read_only, said):
    """ "read_only" of MariaDB 12's documentation."""
    _, line = ask("--read-only", "on", variables={**ALONE, "read_only": read_only}, slaves=[{}])
    assert line.startswith(f"DB_CLUSTER {said}")


def test_semi_synchronous_replication_that_fell_back(ask):
    for who in ("master", "source"):
        enabled = {**ALONE, f"rpl_semi_sync_{who}_enabled": "ON"}
        for word, said in (
            ("ON", "OK - 1 replica connected"),
            ("OFF", "WARNING - commits wait for no replica: semi-synchronous replication is enabled and off"),
        ):
            _, line = ask(variables=enabled, status={"Slaves_connected": "1", f"Rpl_semi_sync_{who}_status": word})
            assert line == f"DB_CLUSTER {said}"


def test_a_right_that_is_missing_hides_no_replica(ask):
    refused = ask.error(
        1227,
        "42000",
        "Access denied; you need (at least one of) the SUPER, SLAVE MONITOR privilege(s) for this operation",
    )
    said = (
        "DB_CLUSTER UNKNOWN - Access denied; you need (at least one of) the SUPER, SLAVE MONITOR privilege(s) for this operation"
        " (error 1227) (SHOW ALL SLAVES STATUS): needs GRANT SLAVE MONITOR ON *.* TO the account,"
        " or --mode galera"
    )
    for variables in (ALONE, {}):
        assert ask(variables=variables, slaves=refused)[1] == said
    assert ask("--mode", "galera", slaves=refused)[0].state == OK


def test_options_that_are_wrong(tmp_path):
    for argv, said in (
        ([], "--type mysql or postgres"),
        (["--type", "mysql", "--mode", "galera", "-w", "retained=5"], "retained"),
        (["--type", "mysql", "--size", "three"], "'three' is not a whole number"),
        (["--type", "mysql", "--expect", "=3"], "names nothing"),
        (["--type", "mysql", "--read-only", "perhaps"], "'perhaps'"),
    ):
        outcome = CHECK.run([*argv, "--state-dir", str(tmp_path)])
        assert (outcome.state, said in outcome.line) == (UNKNOWN, True), outcome.line


@pytest.fixture
def stranger():
    """Something that is no database: sends `data` to whoever comes, "" stays silent."""
    servers = []

    def listen(data):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        links = []

        def serve():
            while True:
                try:
                    link, _ = server.accept()
                except OSError:
                    return
                links.append(link)
                link.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        return server.getsockname()[1]

    yield listen
    for server in servers:
        server.close()


@pytest.mark.parametrize("kind", ["mysql", "postgres"])
def test_refused_silent_and_no_database(kind, stranger, tmp_path):
    pytest.importorskip({"mysql": "pymysql", "postgres": "psycopg2"}[kind])
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    for port, state, said in (
        (closed, CRITICAL, "HOST: Connection refused"),
        (stranger(b""), CRITICAL, "HOST: no answer in"),
        (stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n"), UNKNOWN, "HOST: no "),
    ):
        argv = [
            "--type",
            kind,
            "-H",
            "127.0.0.1",
            "-p",
            str(port),
            "--user",
            "nagios",
            "-t",
            "2",
            "--state-dir",
            str(tmp_path),
        ]
        outcome = CHECK.run(argv)
        assert (outcome.state, outcome.reason.replace(f"127.0.0.1:{port}", "HOST").startswith(said)) == (state, True), (
            outcome.line
        )
    several = [word for port in (closed, stranger(b"")) for word in ("--node", f"127.0.0.1:{port}")]
    outcome = CHECK.run(["--type", kind, *several, "--user", "nagios", "-t", "2", "--state-dir", str(tmp_path)])
    assert outcome.state == CRITICAL
    assert {item["state"] for item in outcome.items} == {"CRITICAL"}
    assert len(outcome.items) == 2
