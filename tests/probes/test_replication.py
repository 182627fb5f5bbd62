# SPDX-License-Identifier: Apache-2.0
"""Channels of MySQL and MariaDB, and what is made of several servers together."""

from __future__ import annotations

import functools
import threading
import time
from types import SimpleNamespace

import pytest
from nephoscope.base import ABSENT, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import replication
from nephoscope.probes.galera import Node
from nephoscope.probes.pg_replication import Follower, Slot, Standby
from nephoscope.probes.pg_replication import Server as Postgres
from nephoscope.probes.replication import Channel, Server, Value
from nephoscope.probes.sql import Access

# Columns and values that MariaDB 10.11.19 printed (SHOW ALL SLAVES STATUS), as far as they are read; names in lower case.
MARIADB = {
    "connection_name": "",
    "slave_sql_state": "Slave has read all relay log; waiting for more updates",
    "master_host": "192.0.2.1",
    "master_port": 3306,
    "slave_io_running": "Yes",
    "slave_sql_running": "Yes",
    "seconds_behind_master": 0,
    "last_io_errno": 0,
    "last_sql_errno": 0,
    "last_sql_error": "",
    "sql_delay": 0,
    "sql_remaining_delay": None,
}
# "SHOW REPLICA STATUS Statement" of MySQL 8.4's manual.
MYSQL = {
    "channel_name": "east",
    "source_host": "192.0.2.1",
    "source_port": 3306,
    "replica_io_running": "Yes",
    "replica_sql_running": "Yes",
    "seconds_behind_source": 0,
    "last_io_errno": 0,
    "last_sql_errno": 0,
    "sql_delay": 0,
}
FROM = "replication from 192.0.2.1:3306"


class Database:
    of = "db.example:3306"

    def __init__(self, flavour, version, *rows):
        self.flavour, self.version, self.answer, self.asked = flavour, version, rows, []

    def rows(self, statement):
        self.asked.append(statement)
        if isinstance(self.answer[0], Failed):
            raise self.answer[0]
        return list(self.answer)


@pytest.mark.parametrize(
    ("flavour", "version", "row", "statement"),
    [
        ("mariadb", (10, 2, 0), MARIADB, "SHOW ALL SLAVES STATUS"),
        ("mariadb", (11, 8, 0), MARIADB, "SHOW ALL SLAVES STATUS"),
        ("mysql", (5, 7, 44), {**MARIADB, "channel_name": ""}, "SHOW SLAVE STATUS"),
        ("mysql", (8, 0, 21), {**MARIADB, "channel_name": ""}, "SHOW SLAVE STATUS"),
        ("mysql", (8, 0, 22), {**MYSQL, "channel_name": ""}, "SHOW REPLICA STATUS"),
        ("mysql", (9, 1, 0), {**MYSQL, "channel_name": ""}, "SHOW REPLICA STATUS"),
    ],
)
def test_both_words_and_every_version(flavour, version, row, statement):
    database = Database(flavour, version, row)
    assert replication.channels(database) == (Channel("", "192.0.2.1:3306", "Yes", "Yes", 0.0),)
    assert database.asked == [statement]


def test_all_channels_but_those_of_group_replication():
    rows = [{**MYSQL, "channel_name": name} for name in ("east", "west", "group_replication_applier")]
    assert [each.name for each in replication.channels(Database("mysql", (8, 4, 3), *rows))] == ["east", "west"]


@pytest.mark.parametrize(
    ("flavour", "version", "cure"),
    [
        ("mariadb", (10, 11, 0), "GRANT SLAVE MONITOR ON *.* TO the account, or --mode galera"),
        (
            "mariadb",
            (10, 5, 8),
            "GRANT REPLICATION SLAVE ADMIN ON *.* TO the account (MariaDB 10.5.9 takes less), or --mode galera",
        ),
        ("mariadb", (10, 4, 0), "GRANT REPLICATION CLIENT ON *.* TO the account"),
        ("mysql", (8, 0, 40), "GRANT REPLICATION CLIENT ON *.* TO the account"),
    ],
)
def test_a_missing_right_is_told_with_its_grant(flavour, version, cure):
    refused = Failed(NOT_ALLOWED, "db.example:3306", "x", "Access denied")
    with pytest.raises(Failed) as caught:
        replication.channels(Database(flavour, version, refused))
    assert (caught.value.kind, caught.value.cure) == (NOT_ALLOWED, cure)


def test_another_failure_is_handed_on():
    cut = Failed(UNREACHABLE, "db.example:3306", "x", "cut")
    with pytest.raises(Failed) as caught:
        replication.channels(Database("mysql", (8, 0, 40), cut))
    assert caught.value == cut


@pytest.mark.parametrize("name", ["slave_io_running", "slave_sql_running", "master_host", "seconds_behind_master"])
def test_a_column_that_is_missing_is_no_answer(name):
    row = {key: value for key, value in MARIADB.items() if key != name}
    with pytest.raises(Failed) as caught:
        replication.channel("db", row)
    assert (caught.value.kind, caught.value.error) == (UNREADABLE, f"the answer has no column {name}")


@pytest.mark.parametrize(
    ("changes", "standings", "values"),
    [
        ({}, [("serves", f"{FROM} runs")], [("lag", 0.0, "")]),
        ({"seconds_behind_master": 400}, [("serves", f"{FROM} runs")], [("lag", 400.0, "")]),
        (
            {"seconds_behind_master": 400, "sql_delay": 300},
            [("serves", f"{FROM} runs")],
            [("lag", 100.0, "beyond the wanted delay of 300 s")],
        ),
        (
            {"seconds_behind_master": 20, "sql_delay": 300},
            [("serves", f"{FROM} runs")],
            [("lag", 0.0, "beyond the wanted delay of 300 s")],
        ),
        ({"seconds_behind_master": None}, [("stopped", f"{FROM} does not know its lag (NULL)")], []),
        # It reports 0 while nothing arrives.
        (
            {"slave_io_running": "Connecting", "last_io_errno": 2003},
            [("reconnecting", f"{FROM} is not connected: its IO thread is Connecting (error 2003, can't connect)")],
            [],
        ),
        (
            {"slave_io_running": "Preparing"},
            [("reconnecting", f"{FROM} is not connected: its IO thread is Preparing")],
            [],
        ),
        (
            {"slave_io_running": "No", "last_io_errno": 1236},
            [
                (
                    "stopped",
                    f"{FROM} is stopped: its IO thread does not run (error 1236, the primary no longer has that log)",
                )
            ],
            [],
        ),
        (
            {"slave_sql_running": "No", "last_sql_errno": 4711, "last_sql_error": "Error 'x' on query 'secret'"},
            [("stopped", f"{FROM} is stopped: its SQL thread does not run (error 4711)")],
            [],
        ),
        (
            {"slave_io_running": "No", "slave_sql_running": "No", "seconds_behind_master": None},
            [
                ("stopped", f"{FROM} is stopped: its IO thread does not run"),
                ("stopped", f"{FROM} is stopped: its SQL thread does not run"),
            ],
            [],
        ),
        (
            {"slave_io_running": "Perhaps"},
            [("unknown", f"{FROM} has an IO thread in a state that is not understood: Perhaps")],
            [],
        ),
        (
            {"slave_sql_running": "Connecting"},
            [("unknown", f"{FROM} has an SQL thread in a state that is not understood: Connecting")],
            [],
        ),
        (
            {"slave_sql_running": None},
            [("unknown", f"{FROM} has an SQL thread in a state that is not understood: none")],
            [],
        ),
    ],
)
def test_each_way_to_stand(changes, standings, values):
    channel = replication.channel("db", {**MARIADB, **changes})
    assert list(channel.standings()) == standings
    assert list(channel.values()) == values


# ---- several servers --------------------------------------------------------------------------------------------------------

RUNS = Channel("", "192.0.2.1:3306", "Yes", "Yes", 2.0)


def options(*mode, **more):
    given = {"mode": mode or ("galera", "replica", "standby", "primary", "slots"), "mode_given": bool(mode)}
    return SimpleNamespace(**{**given, "expect": (), "size": None, "read_only": None, "remember": 86400.0, **more})


def whole(*servers, before=None, shift=0.0, **more):
    mode = more.pop("mode", ())
    asked = {server.of or "one": server for server in servers}
    return replication.whole(Run(clock=Clock(shift)), options(*mode, **more), asked, replication._before(before))


def bad(cluster):
    return [standing for standing in cluster.standings() if standing[1] != "serves"]


def test_a_replica():
    cluster = whole(Server("", "MariaDB 10.11.19", True, channels=(RUNS,), replicas=0))
    assert (cluster.failures, list(cluster.standings())) == ((), [])
    assert list(cluster.values()) == [Value("lag", 2.0, ""), Value("replicas", 0, "")]
    assert cluster.summary == "a replica of 192.0.2.1:3306"


def test_a_server_alone_is_absent():
    for server, text in (
        (Server("", "MariaDB 10.11.19", replicas=0), "MariaDB 10.11.19 replicates nothing, neither from nor to it"),
        (Server("", "MySQL 8.0.40"), "MySQL 8.0.40 is no replica, and does not tell whether others replicate from it"),
        (
            Server("", "MySQL 8.0.40", group=True),
            "MySQL 8.0.40 takes part in group replication, which is not looked at",
        ),
    ):
        assert whole(server).failures == (Failed(ABSENT, "", "", text),)
    assert whole(Server("", "PostgreSQL 15.18", postgres=Postgres("7"))).failures == (
        Failed(ABSENT, "", "", "PostgreSQL 15.18 replicates nothing, neither from nor to it"),
    )


def test_a_right_that_is_missing_is_no_absence():
    refused = Failed(NOT_ALLOWED, "", "SHOW ALL SLAVES STATUS", "Access denied", "a grant")
    for mode in ((), ("replica",)):
        cluster = whole(Server("", "MariaDB 10.11.19", failures=(refused,)), mode=mode)
        assert (cluster.failures, bad(cluster)) == ((refused,), [])


@pytest.mark.parametrize(
    ("mode", "server", "standing"),
    [
        ("galera", Server(""), ("", "off", "is no Galera node: wsrep is off")),
        ("replica", Server(""), ("", "stopped", "is no replica: it has no connection to a primary")),
        (
            "standby",
            Server("", postgres=Postgres("7")),
            ("", "wrong_role", "is a primary and no standby: it was promoted, or never followed"),
        ),
        (
            "primary",
            Server("", postgres=Postgres("7", True, Standby("streaming"))),
            ("", "wrong_role", "is a standby and no primary"),
        ),
    ],
)
def test_a_mode_by_name_is_what_it_should_be(mode, server, standing):
    assert standing in list(whole(server, mode=(mode,)).standings())


@pytest.mark.parametrize(
    ("mode", "server", "text"),
    [
        ("primary", Server("", replicas=0), "no replica is connected"),
        ("primary", Server(""), "it does not tell its replicas"),
        ("primary", Server("", postgres=Postgres("7")), "no standby is connected"),
        ("slots", Server("", postgres=Postgres("7")), "there is no replication slot"),
        ("slots", Server("", "MySQL 8.0.40"), "MySQL 8.0.40 has no mode slots"),
        ("standby", Server("", "MySQL 8.0.40"), "MySQL 8.0.40 has no mode standby"),
        ("galera", Server("", "PostgreSQL 15.18", postgres=Postgres("7")), "PostgreSQL 15.18 has no mode galera"),
        ("replica", Server("", "PostgreSQL 15.18", postgres=Postgres("7")), "PostgreSQL 15.18 has no mode replica"),
    ],
)
def test_what_a_mode_by_name_does_not_find(mode, server, text):
    assert whole(server, mode=(mode,)).failures == (Failed(ABSENT, "", "", text),)


def test_one_that_left_galera_among_nodes_is_off():
    node = Node(name="n1", on=True, status="Primary", ready=True, connected=True, state=4, comment="Synced", size=3)
    cluster = whole(Server("a", node=node), Server("b"))
    assert ("b", "off", "is no Galera node: wsrep is off") in bad(cluster)
    assert ("", "fewer", "the cluster has 2 of 3 members") not in bad(cluster)


@pytest.mark.parametrize(
    ("wanted", "is_so", "said"),
    [
        ("on", True, []),
        ("off", False, []),
        ("on", False, [("", "wrong_role", "is writable and should be read-only")]),
        ("off", True, [("", "wrong_role", "is read-only and should be writable")]),
    ],
)
def test_who_takes_writes(wanted, is_so, said):
    assert bad(whole(Server("", read_only=is_so, channels=(RUNS,)), read_only=wanted)) == said


STREAM = Follower("north", ("north", "one", "192.0.2.7"), "streaming", behind=0.0)


@pytest.mark.parametrize(
    ("name", "least", "word"),
    [
        ("north", 1, "serves"),
        ("one", 1, "serves"),
        ("192.0.2.7", 1, "serves"),
        ("north", 2, "missing"),
        ("south", 1, "missing"),
    ],
)
def test_what_is_expected_by_any_of_its_names(name, least, word):
    cluster = whole(Server("", postgres=Postgres("7", standbys=(STREAM,))), expect=((name, least),))
    count = int(name != "south")
    assert (name, word, f"has {count} streaming, {least} expected") in list(cluster.standings())


def test_what_does_not_stream_is_not_counted():
    waits = STREAM._replace(state="catchup")
    stopped = RUNS._replace(name="c1", sql="No")
    for server in (Server("", postgres=Postgres("7", standbys=(waits,))), Server("", channels=(stopped,))):
        name = "north" if server.postgres else "c1"
        assert (name, "missing", "has 0 streaming, 1 expected") in list(whole(server, expect=((name, 1),)).standings())
    assert whole(Server("", channels=(RUNS,)), expect=(("192.0.2.1", 1),)).failures == ()


def test_an_expected_one_that_is_missing_is_no_server_alone():
    cluster = whole(Server("", "PostgreSQL 15.18", postgres=Postgres("7")), expect=(("north", 1),))
    assert (cluster.failures, bad(cluster)) == ((), [("north", "missing", "has 0 streaming, 1 expected")])


def test_what_was_there_lately_is_missed():
    first = whole(Server("", postgres=Postgres("7", standbys=(STREAM,), slots=(Slot("one", "physical", True, 0.0),))))
    gone = Server("", postgres=Postgres("7", slots=(Slot("one", "physical", False, 0.0),)))
    later = whole(gone, before=first.kept, shift=600)
    assert bad(later) == [("north", "vanished", "is gone, it was there 10 min ago")]
    assert bad(whole(gone, before=later.kept, shift=3 * 3600)) == [
        ("north", "vanished", "is gone, it was there 3 h ago")
    ]
    assert bad(whole(gone, before=later.kept, shift=86500)) == []
    assert bad(whole(gone, before=first.kept, shift=600, remember=300.0)) == []
    assert bad(whole(gone, before=first.kept, shift=600, expect=(("north", 0),))) == []  # that decides, then
    back = whole(Server("", postgres=Postgres("7", standbys=(STREAM,))), before=later.kept, shift=700)
    assert bad(back) == []


def test_a_second_standby_of_one_name_changes_its_name_and_is_not_missed():
    """Who follows without a name of its own is called walreceiver; of two each bears its address."""
    first, second = (
        STREAM._replace(name=f"walreceiver {of}", names=("walreceiver", of, f"walreceiver {of}"))
        for of in ("192.0.2.7", "192.0.2.8")
    )
    alone = whole(Server("", postgres=Postgres("7", standbys=(first._replace(name="walreceiver"),))))
    both = whole(Server("", postgres=Postgres("7", standbys=(first, second))), before=alone.kept, shift=60)
    assert bad(both) == []
    again = Server("", postgres=Postgres("7", standbys=(first._replace(name="walreceiver"),)))
    left = [("walreceiver 192.0.2.8", "vanished", "is gone, it was there 60 s ago")]
    assert bad(whole(again, before=both.kept, shift=120)) == left


def test_what_could_not_be_asked_is_not_missed():
    first = whole(Server("a", postgres=Postgres("7", standbys=(STREAM,))), Server("b", channels=(RUNS,)))
    silent = Failed(UNREACHABLE, "a", "log in", "no answer")
    run = Run(clock=Clock(60))
    asked = {"a": silent, "b": Server("b", channels=(RUNS,))}
    cluster = replication.whole(run, options(), asked, replication._before(first.kept))
    assert (cluster.failures, bad(cluster)) == ((silent,), [])
    assert cluster.kept["seen"].keys() == first.kept["seen"].keys()
    assert cluster.kept["servers"].keys() == {"a", "b"}


def node(size):
    return Node(name="n", on=True, status="Primary", ready=True, connected=True, state=4, comment="Synced", size=size)


def test_a_larger_cluster_is_remembered():
    kept = None
    for shift, size, said in (
        (0, 5, []),
        (60, 3, [("", "shrunk", "the cluster has 3 members, it had 5")]),
        (120, 3, [("", "shrunk", "the cluster has 3 members, it had 5")]),
        (86600, 3, []),
    ):
        cluster = whole(Server("", node=node(size)), before=kept, shift=shift)
        assert bad(cluster) == said
        kept = cluster.kept
    assert bad(whole(Server("", node=node(3)), before=kept, shift=60, size=3)) == []


def test_replicas_of_a_mariadb_are_missed_by_their_number():
    """Which they are it does not tell."""
    kept = None
    for shift, count, said in (
        (0, 2, []),
        (60, 1, [("", "shrunk", "has 1 replica connected, it had 2")]),
        (120, 0, [("", "shrunk", "has 0 replicas connected, it had 2")]),
        (180, 2, []),
        (86600, 0, []),
    ):
        cluster = whole(Server("", "MariaDB 10.11.19", replicas=count), before=kept, shift=shift)
        assert bad(cluster) == said
        assert bool(cluster.failures) == (shift > 86400)  # that it replicates nothing
        kept = cluster.kept
    none = whole(Server("", "MariaDB 10.11.19"), before=whole(Server("", replicas=2)).kept, shift=60)
    assert bad(none) == []  # not looked at


def test_commits_that_wait_for_no_replica():
    told = ("", "asynchronous", "commits wait for no replica: semi-synchronous replication is enabled and off")
    assert bad(whole(Server("", replicas=1, fell_back=True))) == [told]
    # A replica that would be the primary one day has it enabled, too.
    assert bad(whole(Server("", replicas=0, fell_back=True, channels=(RUNS,)))) == []
    assert bad(whole(Server("", replicas=1, fell_back=True, read_only=True))) == []


@pytest.mark.parametrize(
    "before",
    [
        None,
        [],
        {"seen": 3, "sizes": {"x": 1, "9": "x"}, "servers": None, "replicas": {"one": 3}},
        {"seen": {"a": "x"}, "replicas": {"one": {"x": "x"}}},
    ],
)
def test_what_was_kept_may_be_anything(before):
    assert bad(whole(Server("", node=node(3), replicas=0), before=before)) == []


def test_two_primaries_of_one_origin():
    writers = [Server(of, postgres=Postgres("7")) for of in ("a", "b")]
    assert ("", "split", "2 primaries of one origin take writes, their data part: a, b") in bad(whole(*writers))
    other = [Server("a", postgres=Postgres("7")), Server("b", postgres=Postgres("8"))]
    assert "split" not in [word for _, word, _ in bad(whole(*other))]
    follows = [Server("a", postgres=Postgres("7")), Server("b", postgres=Postgres("7", True, Standby("streaming")))]
    assert "split" not in [word for _, word, _ in bad(whole(*follows))]


def test_objects_bear_the_name_of_their_server_when_there_are_several():
    servers = (
        Server("a", channels=(RUNS, RUNS._replace(name="c1", io="No"))),
        Server("b", postgres=Postgres("7", standbys=(STREAM,), looks=("primary",))),
    )
    cluster = whole(*servers)
    assert [of for of, _, _ in cluster.standings()] == ["a", "a c1", "b north"]
    assert [(value.name, value.of) for value in cluster.values()] == [
        ("lag", "a"),
        ("standbys", "b"),
        ("behind", "b north"),
        ("lag", "b north"),
    ]
    assert cluster.summary == "a: a replica of 192.0.2.1:3306, a replica of 192.0.2.1:3306; b: a primary, 1 standby"


@pytest.mark.parametrize(
    ("node", "host", "port", "of"),
    [
        ("db2.example", "db2.example", 3307, "db2.example:3307"),
        ("db2.example:3306", "db2.example", 3306, "db2.example:3306"),
        ("192.0.2.9:1", "192.0.2.9", 1, "192.0.2.9:1"),
        ("2001:db8::1", "2001:db8::1", 3307, "[2001:db8::1]:3307"),
        ("[2001:db8::1]:3306", "2001:db8::1", 3306, "[2001:db8::1]:3306"),
    ],
)
def test_other_servers(node, host, port, of):
    first = Access("db1.example:3307", "mysql", "nagios", "secret", "", 3307, "/run/mysqld/mysqld.sock")
    other = replication._at(first, node)
    assert (other.host, other.port, other.socket, other.of) == (host, port, "", of)
    assert (other.user, other.password) == ("nagios", "secret")


def test_a_frozen_server_does_not_cost_the_others_their_time():
    wait = threading.Event()
    run = Run(0.6)

    def refused():
        raise Failed(UNREACHABLE, "elsewhere", "log in", "Connection refused")

    began = time.monotonic()
    found = replication.side_by_side(run, {"a": lambda: wait.wait(5), "b": refused, "c": lambda: 3})
    assert time.monotonic() - began < 1.1
    wait.set()
    assert found == {
        "a": Failed(LATE, "a", "", "no answer before the time was up"),
        "b": Failed(UNREACHABLE, "b", "log in", "Connection refused"),
        "c": 3,
    }


def test_two_clusters_are_looked_at_twice():
    """A member that came between two answers is none; a split is one, though a third is silent for all the time there is."""
    views = {"a": [node(2), node(3), node(3)], "b": [node(3)] * 3}

    def see(of):
        return Server(of, node=views[of].pop(0)._replace(uuid="u"))

    found = replication.together(Run(2), {of: functools.partial(see, of) for of in views})
    assert ([found[of].node.size for of in "ab"], len(views["b"])) == ([3, 3], 1)

    wait = threading.Event()
    split = {of: Server(of, node=node(1)._replace(uuid="u", conf_id=of)) for of in "ab"}
    run = Run(0.5)

    def ask(of):
        if of == "c" and not wait.wait(run.left()):
            raise Failed(UNREACHABLE, "c", "log in", "no answer")
        if not run.left():
            raise Failed(LATE, of, "log in", "not begun: the time was up")
        return split[of]

    found = replication.together(run, {of: functools.partial(ask, of) for of in "abc"})
    assert found == {**split, "c": Failed(UNREACHABLE, "c", "log in", "no answer")}


def test_a_bug_in_one_is_told():
    def broken():
        raise KeyError("oops")

    with pytest.raises(KeyError):
        replication.side_by_side(Run(2), {"a": broken, "b": lambda: 1})
