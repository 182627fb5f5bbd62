# SPDX-License-Identifier: Apache-2.0
"""check_db_cluster against a real Galera cluster, a real replica of MariaDB and a real standby of PostgreSQL, all in trouble."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from nephoscope.checks.database.check_db_cluster import CHECK
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING

from tests.lab import galera, mariadb, postgresql
from tests.lab.support import private_folder, wait_for

pytestmark = pytest.mark.lab

TABLE = "CREATE TABLE lab.t (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT)"


class Told(NamedTuple):
    """An outcome whose addresses are S1, S2, ...: state, the words of line 1, everything, perfdata."""

    state: int
    said: str
    text: str
    perfdata: list[str]


class Asked:
    """Servers and a folder for state; `run` asks the first, or the one of `at`, by TCP with a password."""

    def __init__(self, kind, servers, folder, user):
        self.kind, self.servers, self.folder, self.user = kind, servers, folder, user

    def run(self, *argv, at=0, user=None, fresh=True):
        """Run the check; `fresh`: without what earlier runs kept."""
        where = ["--type", self.kind, "-H", "127.0.0.1", "-p", str(self.servers[at].port), "--user", user or self.user]
        kept = Path(self.folder, "state", str(time.monotonic()) if fresh else "kept")
        kept.mkdir(parents=True, exist_ok=True)
        outcome = CHECK.run([*where, "--state-dir", str(kept), *argv])
        return Told(outcome.state, *map(self.masked, (outcome.reason, outcome.text)), outcome.perfdata)

    def all(self, *argv, **more):
        others = [word for server in self.servers[1:] for word in ("--node", f"127.0.0.1:{server.port}")]
        return self.run(*others, *argv, **more)

    def masked(self, text):
        """Put names in the place of addresses."""
        for number, server in enumerate(self.servers, 1):
            text = text.replace(f"127.0.0.1:{server.port}", f"S{number}")
        return text


@pytest.fixture(autouse=True)
def password(monkeypatch):
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "sesame")


# ---- Galera -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes():
    statements = ("CREATE DATABASE lab", TABLE, "CREATE USER bare@'%' IDENTIFIED BY 'sesame'")
    with private_folder() as folder, galera.cluster(folder, 3, *statements) as made:
        yield Asked("mysql", made, folder, "bare")


@contextlib.contextmanager
def setting(node, name, value, back):
    node.sql(f"SET GLOBAL {name}={value}")
    try:
        yield
    finally:
        node.sql(f"SET GLOBAL {name}={back}")


def test_galera_is_well_and_needs_no_grant(nodes):
    """The account has no grant whatever: status, variables and the answer of a table are everybody's."""
    outcome = nodes.run("--mode", "galera")
    assert (outcome.state, outcome.said) == (
        OK,
        "Galera node n1 is Synced in a cluster of 3, rates collecting",
    ), outcome.text
    assert [item.partition("=")[0] for item in outcome.perfdata] == [
        *("size", "recv_queue", "send_queue", "donor", "joining", "deps_distance", "repl_latency"),
    ]
    outcome = nodes.all("--mode", "galera", "--size", "3")
    assert outcome.state == OK, outcome.text
    assert outcome.said.startswith("S1: Galera node n1 is Synced in a cluster of 3; S2: Galera node n2 is Synced ")


def test_galera_without_a_mode_asks_for_replicas_and_names_the_grant(nodes):
    outcome = nodes.run()
    assert (outcome.state, outcome.said) == (
        UNKNOWN,
        "Access denied; you need (at least one of) the SUPER, SLAVE MONITOR privilege(s) for this operation (error 1227)"
        " (SHOW ALL SLAVES STATUS): needs GRANT SLAVE MONITOR ON *.* TO the account,"
        " or --mode galera",
    )


def test_what_hands_left_behind(nodes):
    """wsrep_ready stays ON with wsrep_reject_queries; the table of nobody gets error 1047 there."""
    first = nodes.servers[0]
    for value in ("ALL", "ALL_KILL"):
        with setting(first, "wsrep_reject_queries", value, "NONE"):
            assert first.wsrep("ready") == "ON"
            outcome = nodes.run("--mode", "galera")
            assert (outcome.state, outcome.said) == (
                WARNING,
                f"n1 refuses every query of a table: wsrep_reject_queries is {value}",
            )
    with setting(first, "wsrep_desync", "ON", "OFF"):
        outcome = nodes.run("--mode", "galera")
        assert (outcome.state, outcome.said) == (WARNING, "n1 was desynced by hand: wsrep_desync is ON")
    first.wait("local_state", "4")
    with setting(first, "wsrep_on", "OFF", "ON"):
        for argv in (["--mode", "galera"], ["--mode", "galera", "--mode", "primary"]):
            outcome = nodes.run(*argv)
            assert outcome.state == CRITICAL
            assert outcome.said.startswith("n1 does not replicate: wsrep_on is OFF, though a cluster is configured")


def test_a_read_lock_fills_the_receive_queue_and_looks_like_a_donor(nodes):
    """Flow control stays at 0 meanwhile: a desynced node sends none."""
    first, second, _ = nodes.servers
    with contextlib.closing(second.connection()) as holder, holder.cursor() as cursor:
        cursor.execute("FLUSH TABLES WITH READ LOCK")
        with contextlib.closing(first.connection()) as writer, writer.cursor() as writes:
            for _ in range(60):
                writes.execute("INSERT INTO lab.t (v) VALUES ('x')")
        wait_for(lambda: int(second.wsrep("local_recv_queue")) > 50, 10, "a receive queue")
        outcome = nodes.run("--mode", "galera", "-c", "recv_queue=50", "-w", "donor=900", at=1)
        assert (outcome.state, re.sub(r"\d+", "N", outcome.said)) == (CRITICAL, "recv queue N is above N")
        assert "[OK] n2 is Donor/Desynced" in outcome.text
        cursor.execute("UNLOCK TABLES")
    second.wait("local_recv_queue", "0")


def test_flow_control_now_and_as_a_share_of_time(nodes, monkeypatch):
    """A table locked beside the cluster's back (wsrep_on=0) stops the applier, its queue fills, and all writes stand still."""
    monkeypatch.setattr("nephoscope.base.samples.LEAST", 0.5)  # seconds: the server's own clock can't be put forward
    first, second, _ = nodes.servers
    assert nodes.run("--mode", "galera", fresh=False).state == OK
    with contextlib.closing(second.connection()) as holder, holder.cursor() as cursor:
        cursor.execute("SET SESSION wsrep_on=0")
        cursor.execute("LOCK TABLES lab.t WRITE")
        writers = [first.connection() for _ in range(30)]
        try:
            for writer in writers:  # sent, and not waited for
                writer._execute_command(3, "INSERT INTO lab.t (v) VALUES ('x')")
            first.wait("flow_control_active", "true", 10)
            time.sleep(1.2)
            held, holds = nodes.run("--mode", "galera", fresh=False), nodes.run("--mode", "galera", at=1)
        finally:
            cursor.execute("UNLOCK TABLES")
            second.wait("flow_control_active", "false", 10)
            for writer in writers:
                writer.close()
    assert held.state == CRITICAL, held.text
    words = (
        r"flow paused [\d.]+ % is above 10 %, WARNING: n1 is held back by flow control just now, by another node's wish"
    )
    assert re.fullmatch(words, held.said), held.said
    assert holds.said == "n2 is held back by flow control just now, by its own wish"
    assert holds.state == WARNING


def test_a_frozen_majority(nodes):
    """SELECT 1 and SHOW answer all the while."""
    first, second, third = nodes.servers
    for node in (second, third):
        node.freeze()
    try:
        first.wait("cluster_status", "non-Primary")
        assert first.sql("SELECT 1 AS one") == [{"one": 1}]
        alone, together = nodes.run("--mode", "galera"), nodes.all("--mode", "galera", "-t", "3")
    finally:
        for node in (second, third):
            node.thaw()
    lost = "is cut off from its cluster: non-Primary, Initialized, and refuses every query of a table (error 1047)"
    assert (alone.state, alone.said) == (CRITICAL, f"n1 {lost}")
    assert not alone.perfdata
    assert together.state == CRITICAL
    assert re.search(r"S2: no answer in [12]\.\d s \(log in\)", together.said), together.said
    assert f"[CRITICAL] S1 {lost}" in together.text
    for node in nodes.servers:
        node.wait("local_state", "4")
        node.wait("cluster_size", "3")


def isolated(node, *_):
    """Galera's own switch takes it out of the network."""
    return setting(node, "wsrep_provider_options", "'gmcast.isolate=1'", "'gmcast.isolate=0'")


@pytest.mark.parametrize("take", [isolated, galera.partition])
def test_a_node_apart(nodes, take):
    """The two others go on; when it is back, so does it."""
    first, second, third = nodes.servers
    assert nodes.run("--mode", "galera", fresh=False).state in (OK, CRITICAL)  # the latter for what the test above made
    with take(third, first, second):
        third.wait("cluster_status", "non-Primary")
        first.wait("cluster_size", "2")
        remembered, expected = nodes.run("--mode", "galera", fresh=False), nodes.run("--mode", "galera", "--size", "3")
        small, together = nodes.run("--mode", "galera", "--size", "4"), nodes.all("--mode", "galera")
    assert "the cluster has 2 members, it had 3" in remembered.said
    assert (expected.state, expected.said) == (WARNING, "the cluster has 2 of 3 members")
    assert (small.state, small.said) == (CRITICAL, "the cluster has 2 of 4 members")
    assert (together.state, together.said) == (
        CRITICAL,
        "S3 is cut off from its cluster: non-Primary, Initialized, and refuses every query of a table (error 1047),"
        " WARNING: the cluster has 2 of 3 members",
    )
    for node in nodes.servers:
        node.wait("local_state", "4")
        node.wait("cluster_size", "3")


def test_a_node_that_comes_back_is_joining_and_no_second_cluster(nodes):
    """What it missed waits behind a locked table, and with it the view of the members: it still sees those of before."""
    first, _, third = nodes.servers
    isolate = "SET GLOBAL wsrep_provider_options='gmcast.isolate={}'"
    third.sql(isolate.format(1))
    try:
        third.wait("cluster_status", "non-Primary")
        first.wait("cluster_size", "2")
        first.sql("INSERT INTO lab.t (v) VALUES ('missed')")
        with contextlib.closing(third.connection()) as holder, holder.cursor() as cursor:
            cursor.execute("SET SESSION wsrep_on=0")
            cursor.execute("LOCK TABLES lab.t WRITE")
            third.sql(isolate.format(0))
            third.wait("local_state", "1")
            first.wait("cluster_size", "3")
            joining = nodes.all("--mode", "galera", "--size", "3")
    finally:
        third.sql(isolate.format(0))
    assert (joining.state, joining.said) == (WARNING, "S3 is Joining: receiving State Transfer: not yet in step")
    third.wait("local_state", "4")


def test_two_clusters_a_split_and_a_killed_node(nodes):
    """The last of Galera's tests: the halves do not find together again."""
    first, second, third = nodes.servers
    first.sql("SET GLOBAL wsrep_provider_options='gmcast.isolate=1'")
    first.wait("cluster_status", "non-Primary")
    first.sql("SET GLOBAL wsrep_provider_options='pc.bootstrap=1'")
    first.wait("cluster_status", "Primary")
    second.wait("cluster_size", "2")
    split = nodes.all("--mode", "galera")
    assert (split.state, split.said) == (
        CRITICAL,
        "the nodes that may write do not see the same members: S1 (of 1); S2, S3 (of 2),"
        " the cluster has 1 of 3 members",
    )
    third.freeze()
    try:
        frozen = nodes.all("--mode", "galera", "-t", "4")
    finally:
        third.thaw()
    assert frozen.state == CRITICAL
    assert frozen.said.startswith("the nodes that may write do not see the same members: S1 (of 1); S2 (of 2)"), frozen
    assert "[CRITICAL] S3: no answer in" in frozen.text
    assert nodes.run("--mode", "galera").said == (
        "the cluster has one member: nothing takes over (--size 1 when that is meant)"
    )
    assert nodes.run("--mode", "galera", "--size", "1").state == OK
    os.killpg(third.pid, signal.SIGKILL)
    third.process.wait()
    killed = nodes.run("--mode", "galera", at=2)
    assert killed.state == CRITICAL
    assert killed.said.startswith("S3: Connection refused (")
    (third.data / "gvwstate.dat").unlink(missing_ok=True)
    (third.data / "grastate.dat").write_text(
        "# GALERA saved state\nversion: 2.1\nuuid: 00000000-0000-0000-0000-000000000000\nseqno: -1\nsafe_to_bootstrap: 1\n"
    )
    third.argv = [word for word in third.argv if not word.startswith("--wsrep-cluster-address")]
    third.argv.append("--wsrep-cluster-address=gcomm://")
    third.__enter__()
    foreign = nodes.all("--mode", "galera")
    assert foreign.state == CRITICAL
    assert re.fullmatch(
        r"the nodes belong to 2 clusters: \w{8}: S1, S2; \w{8}: S3, the cluster has 1 of 3 members.*", foreign.said
    )


# ---- a replica of MariaDB ---------------------------------------------------------------------------------------------------

RIGHT = "CREATE USER monitor@'%' IDENTIFIED BY 'sesame'", "GRANT SLAVE MONITOR ON *.* TO monitor@'%'"


@pytest.fixture(scope="module")
def pair():
    """A primary and its replica, which follows it by a nameless connection."""
    binlog = ("--log-bin=log", "--binlog-format=ROW", "--log-basename=lab")
    with private_folder() as folder, mariadb.server(folder / "p", *binlog, "--server-id=1") as primary:
        for statement in ("CREATE DATABASE lab", TABLE, "CREATE USER bare@'%' IDENTIFIED BY 'sesame'", *RIGHT):
            primary.sql(statement)
        primary.sql("CREATE USER follows@'%' IDENTIFIED BY 'follow'")
        primary.sql("GRANT REPLICATION SLAVE ON *.* TO follows@'%'")
        primary.stop(30)
        primary.__enter__()
        options = (*binlog, "--server-id=2", "--slave-net-timeout=4", "--read-only=ON")
        with mariadb.server(folder / "r", *options) as replica:
            replica.sql("SET GLOBAL read_only=OFF")
            follow(replica, primary.port)
            wait_for(
                lambda: replica.sql("SELECT COUNT(*) AS n FROM mysql.user WHERE user='follows'")[0]["n"], 10, "data"
            )
            replica.sql("SET GLOBAL read_only=ON")
            yield Asked("mysql", [replica, primary], folder, "monitor")


def follow(replica, port, name="", *more):
    words = [f"MASTER_HOST='127.0.0.1', MASTER_PORT={port}, MASTER_USER='follows', MASTER_PASSWORD='follow'", *more]
    replica.sql(f"CHANGE MASTER '{name}' TO {', '.join(words)}, MASTER_CONNECT_RETRY=1")
    replica.sql(f"START SLAVE '{name}'")


def running(replica, name=""):
    rows = {row["Connection_name"]: row for row in replica.sql("SHOW ALL SLAVES STATUS")}
    return rows[name]["Slave_IO_Running"], rows[name]["Slave_SQL_Running"]


def both_run(replica):
    wait_for(lambda: running(replica) == ("Yes", "Yes"), 10, "a running replica")


def test_a_replica_that_follows(pair):
    both_run(pair.servers[0])
    outcome = pair.run()
    assert (outcome.state, outcome.said) == (OK, "a replica of S2"), outcome.text
    assert outcome.perfdata == ["lag=0s;60;300", "replicas=0"]
    assert pair.run("--mode", "replica", "--read-only", "on", "--expect", "127.0.0.1").state == OK
    outcome = pair.run("--read-only", "off", "--expect", "other")
    assert outcome.state == CRITICAL
    assert outcome.said == "is read-only and should be writable, other has 0 streaming, 1 expected"
    outcome = pair.run(at=1)
    assert (outcome.state, outcome.said) == (OK, "1 replica connected"), outcome.text
    assert pair.run("--mode", "primary", "-c", "replicas=2:", at=1).said == "replicas 1 is below 2"
    assert pair.all("--expect", "127.0.0.1").said == "S1: a replica of S2; S2: 1 replica connected"


def test_a_replica_that_leaves_and_commits_that_wait_for_it_no_more(pair):
    replica, primary = pair.servers
    both_run(replica)
    assert pair.run(at=1, fresh=False).said == "1 replica connected"
    primary.sql("SET GLOBAL rpl_semi_sync_master_enabled=ON, GLOBAL rpl_semi_sync_master_timeout=100")
    replica.sql("SET GLOBAL rpl_semi_sync_slave_enabled=ON")
    try:
        for statement in ("STOP SLAVE", "START SLAVE"):
            replica.sql(statement)
        wait_for(lambda: primary.status("Rpl_semi_sync_master_clients") == "1", 10, "a semi-synchronous replica")
        primary.sql("INSERT INTO lab.t (v) VALUES ('waited for')")
        assert pair.run(at=1, fresh=False).said == "1 replica connected"
        replica.sql("STOP SLAVE")
        primary.sql("INSERT INTO lab.t (v) VALUES ('not waited for')")
        wait_for(lambda: primary.status("Slaves_connected") == "0", 10, "the replica to leave")
        outcome = pair.run(at=1, fresh=False)
    finally:
        primary.sql("SET GLOBAL rpl_semi_sync_master_enabled=OFF")
        replica.sql("SET GLOBAL rpl_semi_sync_slave_enabled=OFF")
        replica.sql("START SLAVE")
    semi = "commits wait for no replica: semi-synchronous replication is enabled and off"
    assert (outcome.state, outcome.said) == (WARNING, f"has 0 replicas connected, it had 1, {semi}")
    both_run(replica)


def test_a_server_is_not_what_it_is_asked_as(pair):
    outcome = pair.run("--mode", "replica", at=1)
    assert (outcome.state, outcome.said) == (CRITICAL, "is no replica: it has no connection to a primary")
    outcome = pair.run("--mode", "galera")
    assert (outcome.state, outcome.said) == (CRITICAL, "is no Galera node: wsrep is off")
    outcome = pair.run("--mode", "primary")
    assert (outcome.state, outcome.said) == (UNKNOWN, "no replica is connected")
    outcome = pair.run("--mode", "standby")
    assert (outcome.state, re.sub(r"10[.][\d.]+", "10.N", outcome.said)) == (
        UNKNOWN,
        "MariaDB 10.N has no mode standby",
    )


def test_a_revoked_right_is_no_replica_that_is_well(pair):
    missing = (
        "Access denied; you need (at least one of) the SUPER, SLAVE MONITOR privilege(s) for this operation (error 1227)"
        " (SHOW ALL SLAVES STATUS): needs GRANT SLAVE MONITOR ON *.* TO the account, or --mode galera"
    )
    for argv in ([], ["--mode", "replica"]):
        outcome = pair.run(*argv, user="bare")
        assert (outcome.state, outcome.said) == (UNKNOWN, missing)
    pair.servers[0].sql("REVOKE SLAVE MONITOR ON *.* FROM monitor@'%'")
    try:
        outcome = pair.run("--mode", "replica")
        assert (outcome.state, outcome.said) == (UNKNOWN, missing)
    finally:
        pair.servers[0].sql(RIGHT[1])


def test_a_lock_on_the_replica_makes_it_lag(pair):
    """What it may not apply is 400 seconds old, by the primary's word."""
    replica, primary = pair.servers
    with contextlib.closing(replica.connection()) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLES lab.t READ")
        with contextlib.closing(primary.connection()) as writer, writer.cursor() as write:
            write.execute("SET timestamp=UNIX_TIMESTAMP()-400")
            write.execute("INSERT INTO lab.t (v) VALUES ('old')")
        wait_for(lambda: int(replica.sql("SHOW SLAVE STATUS")[0]["Seconds_Behind_Master"] or 0) > 300, 10, "a lag")
        late = pair.run()
        assert late.state == CRITICAL
        assert re.fullmatch(r"lag 6\.\d+ min is above 5 min", late.said), late.said
        cursor.execute("UNLOCK TABLES")
    wait_for(lambda: replica.sql("SHOW SLAVE STATUS")[0]["Seconds_Behind_Master"] == 0, 10, "the lag to end")


def test_stopped_by_hand_and_by_an_error(pair):
    replica, primary = pair.servers
    replica.sql("STOP SLAVE SQL_THREAD")
    outcome = pair.run()
    assert (outcome.state, outcome.said) == (CRITICAL, "replication from S2 is stopped: its SQL thread does not run")
    replica.sql("START SLAVE")
    both_run(replica)
    replica.sql("SET sql_log_bin=0, GLOBAL read_only=OFF")
    replica.sql("INSERT INTO lab.t VALUES (777, 'here')")
    primary.sql("INSERT INTO lab.t VALUES (777, 'a token that nobody should read')")
    wait_for(lambda: running(replica)[1] == "No", 10, "the error")
    outcome = pair.run("-vv")
    assert (outcome.state, outcome.said) == (
        CRITICAL,
        "replication from S2 is stopped: its SQL thread does not run (error 1062, duplicate key)",
    )
    assert "token" not in outcome.text
    replica.sql("DELETE FROM lab.t WHERE id=777")
    replica.sql("SET GLOBAL read_only=ON")
    replica.sql("START SLAVE")
    both_run(replica)


def test_a_second_connection_to_nowhere(pair):
    """By a name of its own, and wanted behind; the first one is well all the while."""
    replica, _ = pair.servers
    follow(replica, 1, "south")
    wait_for(lambda: replica.sql("SHOW SLAVE 'south' STATUS")[0]["Last_IO_Errno"], 10, "an error")
    try:
        outcome = pair.run("--expect", "south")
        said = "south replication from 127.0.0.1:1 is not connected: its IO thread is Connecting (error 2003, can't connect)"
        assert outcome.state == CRITICAL
        assert outcome.said == f"{said}, south has 0 streaming, 1 expected"
        outcome = pair.run("--exclude", "south")
        assert outcome.state == OK
    finally:
        replica.sql("STOP SLAVE 'south'")
        replica.sql("RESET SLAVE 'south' ALL")


def test_a_primary_that_froze_and_one_that_died(pair):
    """The last of these tests. Seconds_Behind_Master is 0 all the while."""
    replica, primary = pair.servers
    assert pair.run("--mode", "replica", fresh=False).state == OK
    primary.freeze()
    try:
        wait_for(lambda: running(replica)[0] == "Connecting", 15, "the IO thread to notice")
        outcome = pair.run("--mode", "replica")
        both = pair.all("-t", "3")
    finally:
        primary.thaw()
    assert outcome.state == CRITICAL
    assert re.match(r"replication from S2 is not connected: its IO thread is Connecting", outcome.said)
    assert "S1 replication from S2 is not connected" in both.said
    assert re.search(r"S2: no answer in [12]\.\d s", both.said), both.said
    os.killpg(primary.pid, signal.SIGKILL)
    primary.process.wait()
    wait_for(lambda: replica.sql("SHOW SLAVE STATUS")[0]["Last_IO_Errno"] == 2003, 15, "the IO thread to fail")
    outcome = pair.run("--mode", "replica", fresh=False)
    assert (outcome.state, outcome.said) == (
        CRITICAL,
        "replication from S2 is not connected: its IO thread is Connecting (error 2003, can't connect)",
    )


# ---- a standby of PostgreSQL ------------------------------------------------------------------------------------------------


IN_STEP = "SELECT 1 FROM pg_stat_replication WHERE replay_lsn=pg_current_wal_lsn()"


@pytest.fixture(scope="module")
def primary():
    small = ("max_slot_wal_keep_size=32MB", "min_wal_size=32MB", "max_wal_size=32MB", "wal_sender_timeout=10s")
    with private_folder() as folder, postgresql.server(folder / "p", *small) as server:
        server.sql("CREATE ROLE monitor LOGIN PASSWORD 'sesame' CONNECTION LIMIT 3")
        server.sql("GRANT pg_monitor TO monitor")
        server.sql("CREATE ROLE bare LOGIN PASSWORD 'sesame'")
        server.sql("CREATE TABLE t (v text)")
        yield Asked("postgres", [server], folder, "monitor")


@pytest.fixture(scope="module")
def standby(primary):
    """The same, with a standby that has a slot and a name."""
    server = primary.servers[0]
    with server.replica(primary.folder / "s", "one", "cluster_name=north") as other:
        wait_for(lambda: server.sql(IN_STEP), 10, "streaming")
        yield Asked("postgres", [server, other], primary.folder, "monitor")


def write(server, megabytes=3):
    server.sql(f"INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, {1000 * megabytes})")


def test_a_postgresql_alone(primary):
    for argv, state, said in (
        ([], UNKNOWN, "PostgreSQL 15.N replicates nothing, neither from nor to it"),
        (["--mode", "standby"], CRITICAL, "is a primary and no standby: it was promoted, or never followed"),
        (["--mode", "primary"], UNKNOWN, "no standby is connected"),
        (["--mode", "slots"], UNKNOWN, "there is no replication slot"),
        (["--mode", "galera"], UNKNOWN, "PostgreSQL 15.N has no mode galera"),
        (["--expect", "north"], CRITICAL, "north has 0 streaming, 1 expected"),
    ):
        outcome = primary.run(*argv)
        assert (outcome.state, re.sub(r"15\.\d+", "15.N", outcome.said)) == (state, said)


def test_primary_and_standby_are_well(standby):
    outcome = standby.run("--expect", "north", "--expect", "one", "--expect", "127.0.0.1")
    assert (outcome.state, outcome.said) == (OK, "a primary, 1 standby, 1 slot"), outcome.text
    assert [re.sub("=.*|-[0-9a-f]{6}", "", item) for item in outcome.perfdata] == [
        *("standbys", "north_behind", "north_lag", "one_retained"),
    ]
    outcome = standby.run(at=1)
    assert (outcome.state, outcome.said) == (OK, "a standby of S1"), outcome.text
    assert [item.partition("=")[0] for item in outcome.perfdata] == ["lag", "behind", "silent"]
    outcome = standby.all()
    assert (outcome.state, outcome.said) == (OK, "S1: a primary, 1 standby, 1 slot; S2: a standby of S1"), outcome.text
    outcome = standby.run("--mode", "primary", at=1)
    assert (outcome.state, outcome.said) == (CRITICAL, "is a standby and no primary")
    assert standby.run("--read-only", "on").said == "is writable and should be read-only"


def test_without_the_right_rows_are_empty_and_this_is_told(standby):
    for at, view in ((0, "pg_stat_replication"), (1, "pg_stat_wal_receiver")):
        outcome = standby.run(user="bare", at=at)
        assert (outcome.state, outcome.said) == (
            UNKNOWN,
            f"the account may not see other sessions (ask {view}): needs GRANT pg_monitor TO the account",
        )
    assert standby.run("--mode", "slots", user="bare").state == OK  # which everybody may see


def test_paused_and_lagging(standby):
    server, other = standby.servers
    write(server, 0)
    server.sql("INSERT INTO t VALUES ('a commit to replay')")
    wait_for(lambda: other.sql("SELECT pg_last_xact_replay_timestamp() AS at")[0]["at"], 10, "a commit replayed")
    other.sql("SELECT pg_wal_replay_pause()")
    try:
        write(server)
        wait_for(
            lambda: other.sql("SELECT pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn() AS n")[0]["n"] > 3e6,
            10,
            "WAL",
        )
        first = standby.run("-c", "behind=1048576", fresh=False)
        time.sleep(1.1)
        outcome = standby.run("-c", "lag=1", at=1)
        again = standby.run("-c", "lag=1", fresh=False)
    finally:
        other.sql("SELECT pg_wal_replay_resume()")
    assert first.state == CRITICAL
    assert re.fullmatch(r"north behind 3\.\d+ MiB is above 1 MiB", first.said), first.said
    assert outcome.state == CRITICAL
    assert re.fullmatch(r"lag \d+\.\d+ s is above 1 s \(replay is paused\), WARNING: replay is paused", outcome.said)
    assert re.fullmatch(r"north lag \d+\.\d+ s is above 1 s", again.said), again.said


def test_a_transaction_that_lasts_is_no_lag(standby):
    """All of it is replayed at once, though the last commit is older than the limit; nor is the primary silent by a bit."""
    server, _ = standby.servers
    server.sql("INSERT INTO t VALUES ('the last commit')")
    with contextlib.closing(server.connection(autocommit=False)) as link, link.cursor() as cursor:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            cursor.execute("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 100)")
            time.sleep(0.02)
            if time.monotonic() > end - 1:
                outcome = standby.run("--mode", "standby", "-w", "lag=1.5", "-w", "behind=104857600", at=1)
                assert outcome.state == OK, outcome.text
        link.rollback()


def test_a_backup_is_nobody_to_miss(standby):
    server, _ = standby.servers
    argv = [server.programs / "pg_basebackup", "-h", "127.0.0.1", "-p", str(server.port), "-U", "postgres", "-r", "1M"]
    backup = subprocess.Popen(
        [*argv, "-D", server.folder / "copy", "-X", "stream", "-c", "fast"], user=server.user, start_new_session=True
    )
    try:
        names = "SELECT 1 FROM pg_stat_replication WHERE application_name='pg_basebackup' AND state='streaming'"
        wait_for(lambda: server.sql(names), 10, "a backup")
        during = standby.run(fresh=False)
    finally:
        os.killpg(backup.pid, signal.SIGTERM)  # with the child that takes its WAL
        backup.wait(10)
    wait_for(lambda: len(server.sql("SELECT 1 FROM pg_stat_replication")) == 1, 20, "the end of the backup")
    after = standby.run(fresh=False)
    assert during.said == after.said == "a primary, 1 standby, 1 slot"


def test_commits_that_wait_for_a_standby(standby):
    server, _ = standby.servers
    server.set("synchronous_standby_names=FIRST 2 (north, south)")
    try:
        outcome = standby.run("--mode", "primary")
    finally:
        server.set("synchronous_standby_names=")
    told = "every commit waits: 1 of 2 synchronous standbys; synchronous_standby_names is FIRST 2 (north, south)"
    assert (outcome.state, outcome.said) == (CRITICAL, told)


def test_a_primary_that_says_nothing(standby):
    """Its sender is frozen: the standby's receiver is "streaming" still, and nothing received is not replayed."""
    server = standby.servers[0]
    sender = server.sql("SELECT pid FROM pg_stat_replication")[0]["pid"]
    os.kill(sender, signal.SIGSTOP)
    try:
        write(server, 1)
        time.sleep(1.2)
        outcome = standby.run("-w", "silent=0.5", at=1)
    finally:
        os.kill(sender, signal.SIGCONT)
    assert outcome.state == WARNING
    assert re.fullmatch(r"silent \d\.\d+ s is above 500 ms \(an idle .*", outcome.said)


def test_the_primary_restarts_and_the_standby_stops(standby):
    server, other = standby.servers
    server.stop()
    wait_for(lambda: not other.sql("SELECT 1 FROM pg_stat_wal_receiver"), 10, "the receiver to end")
    outcome = standby.run(at=1)
    assert (outcome.state, outcome.said) == (CRITICAL, "is connected to no primary: no WAL receiver runs")
    assert standby.run().said.startswith("S1: Connection refused (")
    server.start()
    wait_for(lambda: server.sql(IN_STEP), 15, "streaming")
    assert standby.run(fresh=False).state == OK
    other.stop()
    remembered, expected = standby.run(fresh=False), standby.run("--expect", "north")
    assert remembered.state == WARNING
    assert re.fullmatch(r"north is gone, it was there \d+ s ago", remembered.said)
    assert (expected.state, expected.said) == (CRITICAL, "north has 0 streaming, 1 expected")


def test_an_abandoned_slot(standby):
    """The standby is down since the test above: its slot keeps WAL, is about to lose it, and loses it."""
    server, _ = standby.servers
    write(server, 12)
    kept = standby.run("--mode", "slots", "-w", "retained=10485760")
    assert kept.state == WARNING
    assert re.fullmatch(r"one retained \d+\.\d MiB is above 10 MiB \(nobody uses the slot\)", kept.said), kept.said
    states = []
    for _ in range(8):
        write(server, 12)
        server.sql("SELECT pg_switch_wal()")
        outcome = standby.run("--mode", "slots")
        states.append((outcome.state, re.sub(r"[\d.]+ .iB", "N", outcome.said)))
    assert (WARNING, "one slot is about to lose its WAL: wal_status unreserved") in states, states
    server.sql("CHECKPOINT")
    lost = standby.run("--mode", "slots")
    assert (lost.state, lost.said) == (CRITICAL, "one slot is lost, what follows it must be made anew: its WAL is gone")


def test_two_primaries_of_one_origin(standby):
    """The last of these tests."""
    other = standby.servers[1]
    other.start()
    other.sql("SELECT pg_promote()")
    promoted, both = standby.run("--mode", "standby", at=1), standby.all("--mode", "primary")
    assert (promoted.state, promoted.said) == (
        CRITICAL,
        "is a primary and no standby: it was promoted, or never followed",
    )
    assert both.state == CRITICAL
    assert both.said.startswith("2 primaries of one origin take writes, their data part: S1, S2")


def test_postgresql_18():
    """The views have other columns, what is told is the same; with the right and without."""
    with private_folder() as folder:
        programs = postgresql.programs_of_18(folder / "programs")
        with postgresql.server(folder / "p", bin=programs) as server:
            server.sql("CREATE ROLE monitor LOGIN PASSWORD 'sesame'; GRANT pg_monitor TO monitor")
            server.sql("CREATE ROLE bare LOGIN PASSWORD 'sesame'")
            with server.replica(folder / "s", "one", "cluster_name=north") as other:
                wait_for(lambda: server.sql(IN_STEP), 10, "streaming")
                both = Asked("postgres", [server, other], folder, "monitor")
                outcome = both.all("--expect", "north", "--expect", "one")
                assert (outcome.state, outcome.said) == (OK, "S1: a primary, 1 standby, 1 slot; S2: a standby of S1")
                for at in (0, 1):
                    assert "needs GRANT pg_monitor" in both.run(user="bare", at=at).said
