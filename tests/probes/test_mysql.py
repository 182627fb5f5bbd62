# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import mysql

from tests.probes.mysql_server import MARIADB_ALONE, NOW, Database, denied, grants, session, table, transaction

ALL = (
    *("login", "connections", "statements", "locks", "deadlocks", "transactions", "queries", "history", "innodb"),
    *("temporary", "files", "role", "uptime", "autoincrement", "binlog"),
)
ACCOUNT = "'nagios'@'192.0.2.%'"


class Still(Clock):
    """A clock that goes only when a test moves it: a loaded machine's second is no part of a rate."""

    def boottime(self):
        return 5000.0 + self.shift

    def time(self):
        return NOW + self.shift


def look(database, *modes, before=None, shift=0.0, given=True, schemas=(), **run):
    return mysql.look(
        Run(before=before, clock=Still(shift), **run), database, modes or ALL, given=given, schemas=schemas
    )


def numbers(server, of=""):
    return {one.name: one.value for one in server.measures if one.of == of}


def later(changes, *modes, database=None, seconds=60, first=None, **more):
    """Return the numbers of a second run, `seconds` after the first, when the counters have grown by `changes`."""
    database = first or Database(**more)
    before = look(database, *modes).kept
    database.now += seconds
    for name in ("Uptime", "Uptime_since_flush_status"):
        database.status[name] = str(int(database.status[name]) + seconds)
    for name, rise in changes.items():
        database.status[name] = str(int(database.status[name]) + rise)
    return look(database, *modes, before=before, shift=seconds)


def test_one_pass_over_everything():
    database = Database(TABLES=[table("nova.t", 4)[0]], COLUMNS=[table("nova.t", 4)[1]])
    server = look(database)
    assert server.failures == ()
    assert database.asked == [
        *("HERE", "SHOW GLOBAL STATUS", "SHOW GLOBAL VARIABLES", "TRANSACTIONS", "SESSIONS", "TABLES", "COLUMNS"),
        *("GRANTS", "SHOW BINARY LOGS"),
    ]
    found = numbers(server)
    rates = [name for name, value in found.items() if value is COLLECTING]
    assert {name: value for name, value in found.items() if name not in rates} == {
        "login": 0.004,
        "uptime": 86400.0,
        "connections": 30.0,
        "connections_peak": 60.0,
        "open_files": 1.0,
        "running": 1.0,
        "lock_waits": 0.0,
        "pending_io": 3.0,
        "history": 12.0,
        "longest": 0.0,
        "query": 0.0,
        "idle_transaction": 0.0,
        "idle_blocker": 0.0,
        "autoincrement": 0.0,
        "binlog": 3000.0,
    }
    assert sorted(rates) == [
        *("aborted_clients_rate", "aborted_connects_rate", "deadlocks_rate", "denied_rate", "full_join_rate", "hit"),
        *(
            "lock_wait_mean",
            "log_waits_rate",
            "refused_rate",
            "slow_rate",
            "table_cache_rate",
            "tmp_disk",
            "wait_free_rate",
        ),
    ]
    assert server.role == mysql.Role(True)
    assert (server.cut_off, server.kept_for_ever) == ("", False)
    assert server.summary == "MariaDB 10.11.19, 30 of 100 connections"


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("login", []),
        ("connections", []),
        ("statements", []),
        ("locks", []),
        ("deadlocks", []),
        ("history", []),
        ("innodb", []),
        ("temporary", []),
        ("files", []),
        ("role", []),
        ("uptime", []),
        ("transactions", ["TRANSACTIONS", "SESSIONS"]),
        ("queries", ["TRANSACTIONS", "SESSIONS"]),
        ("autoincrement", ["TABLES", "COLUMNS", "GRANTS"]),
        ("binlog", ["SHOW BINARY LOGS"]),
    ],
)
def test_a_mode_asks_no_more_than_it_needs(mode, asked):
    database = Database()
    assert look(database, mode).failures == ()
    assert database.asked == ["HERE", "SHOW GLOBAL STATUS", "SHOW GLOBAL VARIABLES", *asked]


# Rates


def test_rates_are_per_second_and_shares_of_what_happened_in_between():
    found = numbers(
        later(
            {
                "Connection_errors_max_connections": 60,
                "Slow_queries": 30,
                "Innodb_deadlocks": 6,
                "Aborted_clients": 12,
                "Innodb_row_lock_waits": 4,
                "Innodb_row_lock_time": 12000,
                "Select_full_join": 120,
                "Innodb_buffer_pool_read_requests": 2000,
                "Innodb_buffer_pool_reads": 100,
                "Created_tmp_tables": 10,
                "Created_tmp_disk_tables": 5,
                "Table_open_cache_overflows": 600,
                "Innodb_buffer_pool_wait_free": 60,
                "Innodb_log_waits": 120,
            }
        )
    )
    assert {name: round(found[name], 3) for name in found if name.endswith("_rate")} == {
        "refused_rate": 1.0,
        "slow_rate": 0.5,
        "deadlocks_rate": 0.1,
        "aborted_clients_rate": 0.2,
        "full_join_rate": 2.0,
        "table_cache_rate": 10.0,
        "wait_free_rate": 1.0,
        "log_waits_rate": 2.0,
        "denied_rate": 0.0,
        "aborted_connects_rate": 0.0,
    }
    assert (found["lock_wait_mean"], found["hit"], found["tmp_disk"]) == (3.0, 95.0, 50.0)


@pytest.mark.parametrize(
    ("rises", "aborted", "denied"),
    [
        ((60, 60, 0), 0.0, 0.0),  # bare TCP connects: a balancer's probes
        ((60, 0, 60), 0.0, 1.0),  # wrong passwords
        ((120, 30, 30), 1.0, 0.5),
        ((60, 0, 120), 0.0, 2.0),  # refused statements are counted with refused log-ins
    ],
)
def test_aborted_connects_are_without_probes_and_refusals(rises, aborted, denied):
    names = ("Aborted_connects", "Aborted_connects_preauth", "Access_denied_errors")
    found = numbers(later(dict(zip(names, rises)), "login"))
    assert found["aborted_connects_rate"] == pytest.approx(aborted)
    assert found["denied_rate"] == pytest.approx(denied)


def test_few_page_requests_are_no_hit_ratio():
    found = numbers(later({"Innodb_buffer_pool_read_requests": 999, "Innodb_buffer_pool_reads": 999}, "innodb"))
    assert found["hit"] is mysql.FEW  # no rate that is yet to come: a quiet server would be "collecting" for ever


@pytest.mark.parametrize("shared", ["Uptime", "Uptime_since_flush_status"])
def test_a_restart_and_a_reset_begin_anew(shared):
    """Also when the counters have passed their old values by now: no rate that is too low is told."""
    database = Database()
    before = look(database).kept
    database.now += 600
    for name in ("Uptime", "Uptime_since_flush_status"):
        database.status[name] = str(86400 + 600)
    for name in ("Uptime_since_flush_status", shared):
        database.status[name] = "500"
    database.status["Slow_queries"] = "5000"
    found = numbers(look(database, before=before, shift=600))
    assert {value for name, value in found.items() if name.endswith("_rate") or name in ("hit", "tmp_disk")} == {
        COLLECTING
    }


def test_a_second_of_difference_is_the_same_start():
    database = Database()
    database.now += 1  # SHOW STATUS was asked a second after the time
    assert numbers(later({"Slow_queries": 60}, first=database))["slow_rate"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"hostname": "db2"}, "db2 3306 1"),
        ({"port": "3307"}, "db1 3307 1"),
        ({"server_id": "2"}, "db1 3306 2"),
        ({"server_uuid": "3e11fa47-71ca-11e1-9e33-c80aa9429562"}, "db1 3306 1 3e11fa47-71ca-11e1-9e33-c80aa9429562"),
        ({"server_uid": "PQdqQ/5PnCbXsA8gzMDov/UDm1g="}, "db1 3306 1 PQdqQ/5PnCbXsA8gzMDov/UDm1g="),
    ],
)
def test_another_server_behind_the_same_address_begins_anew(variables, name):
    """Even one that was started in the same second, as nodes of a cluster are: its counters are not the first one's."""
    first = Database()
    before = look(first).kept
    other = Database(
        variables=variables, status={"Slow_queries": "5000", "Uptime": "86460", "Uptime_since_flush_status": "86460"}
    )
    other.now += 60
    server = look(other, before=before, shift=60)
    assert {value for name, value in numbers(server).items() if name.endswith("_rate")} == {COLLECTING}
    assert ("server", f"is another than at the last run: {name}, and was db1 3306 1") in server.notes
    assert "server" not in dict(look(other, before=server.kept, shift=120).notes)


def test_a_balancer_that_leads_to_another_server_each_time_has_no_rates_and_that_is_said():
    """After three spans; of a mode that has no rates nothing is said."""
    servers, kept = [Database(), Database(variables={"hostname": "db2"})], None
    for n in range(20):
        found = look(servers[n % 2], "login", before=kept, shift=60 * n)
        kept = found.kept
    why = "no rates: another server answers at each run: ask each by an address of its own"
    assert [(one.kind, one.of, one.error) for one in found.failures] == [(UNREADABLE, "", why)]
    assert numbers(found)["denied_rate"] is None
    assert look(servers[0], "uptime", before=kept, shift=1200).failures == ()


def test_counters_that_are_reset_all_the_time_have_no_rates_and_that_is_said():
    database, kept = Database(), None
    for n in range(20):
        database.now += 60
        database.status["Uptime_since_flush_status"] = "5"
        found = look(database, "statements", before=kept, shift=60 * n)
        kept = found.kept
    assert [one.error for one in found.failures] == [
        "no rates: it is started, or its counters are reset, between any two runs"
    ]


def test_what_was_kept_may_be_nonsense():
    odd = {"began": ["db1 3306 1", None, "x"], "role": [1, "x"]}
    for before in ([], "x", {"samples": "x", "began": "x", "role": "x"}, {"began": [None, None, 7]}, odd, 7):
        assert numbers(look(Database(), before=before))["slow_rate"] is COLLECTING


# Running threads


def test_the_least_of_three_readings_when_the_first_is_not_small(monkeypatch):
    monkeypatch.setattr(mysql, "PAUSE", 0)
    readings = iter(["50", "33"])
    again = {
        "SHOW GLOBAL STATUS LIKE 'Threads_running'": lambda: [
            {"variable_name": "Threads_running", "value": next(readings)}
        ]
    }
    database = Database(status={"Threads_running": "90"}, **again)
    assert numbers(look(database, "statements"))["running"] == 33.0
    assert len(database.asked) == 5
    calm = Database(status={"Threads_running": "4"})
    assert numbers(look(calm, "statements"))["running"] == 4.0
    assert len(calm.asked) == 3


# Sessions


def sessions(*rows):
    return [session(99, "nagios", "Query", 0), *rows]


def held(server):
    return [tuple(one) for one in server.measures if one.of]


def test_transactions_are_told_by_who_holds_them():
    database = Database(
        TRANSACTIONS=[
            *(transaction(30, 71, 400), transaction(31, 72, 50), transaction(32, 73, 90), transaction(9, 99, 0)),
            transaction(33, 74, 1),
        ],
        SESSIONS=sessions(
            session(71, "nova", "Sleep", 390),
            session(72, "nova", "Query", 2),
            session(73, "root", "Query", 20, "localhost"),
            session(75, "glance", "Sleep", 5000),
        ),
    )
    assert held(look(database, "transactions", "queries")) == [
        ("idle_transaction", 390.0, "nova@10.0.0.5", "connection 71"),
        ("longest", 400.0, "nova@10.0.0.5", "connection 71, idle"),
        ("longest", 90.0, "root@localhost", "connection 73"),
        ("query", 2.0, "nova@10.0.0.5", "connection 72"),
        ("query", 20.0, "root@localhost", "connection 73"),
    ]


def test_an_idle_blocker_is_asked_for_only_while_somebody_waits():
    rows = [transaction(30, 71, 100), transaction(31, 72, 50, "LOCK WAIT"), transaction(33, 73, 40, "LOCK WAIT")]
    people = sessions(
        session(71, "nova", "Sleep", 90), session(72, "neutron", "Query", 50), session(73, "heat", "Query", 40)
    )
    # 72 waits for 71, 73 for both: only who sleeps is an idle blocker
    waits = [{"id": 30, "waiting": 2}, {"id": 31, "waiting": 1}]
    database = Database(TRANSACTIONS=rows, SESSIONS=people, INNODB_LOCK_WAITS=waits)
    found = look(database, "transactions")
    assert ("idle_blocker", 90.0, "nova@10.0.0.5", "connection 71, 2 wait for it") in held(found)
    assert len([one for one in held(found) if one[0] == "idle_blocker"]) == 1
    assert "INNODB_LOCK_WAITS" in database.asked


def test_a_prepared_transaction_has_no_session():
    database = Database(
        TRANSACTIONS=[transaction(32, 0, 4000), transaction(31, 72, 50, "LOCK WAIT")],
        SESSIONS=sessions(session(72, "nova", "Query", 50)),
        INNODB_LOCK_WAITS=[{"id": 32, "waiting": 1}],
    )
    assert held(look(database, "transactions")) == [
        ("idle_blocker", 4000.0, "prepared XA transaction", "1 wait for it"),
        ("idle_transaction", 4000.0, "prepared XA transaction", ""),
        ("longest", 50.0, "nova@10.0.0.5", "connection 72"),
        ("longest", 4000.0, "prepared XA transaction", "idle"),
    ]


def test_what_a_crash_left_is_rolled_back_and_nobody_prepared_it():
    """As MariaDB 10.11.19 tells it after SIGKILL: no session, and no idleness that anybody could end."""
    database = Database(TRANSACTIONS=[transaction(23, 0, 4000, "ROLLING BACK")])
    assert held(look(database, "transactions")) == [("longest", 4000.0, "rollback after a crash", "")]


@pytest.mark.parametrize(
    ("local", "utc", "age"),
    [(60, 60, 60.0), (3602, 2, 2.0), (60, -3540, 60.0), (-3598, -3598, 0.0), (60, None, 60.0)],
)
def test_an_age_is_right_when_summer_time_begins_and_ends(local, utc, age):
    """Seconds as MariaDB 10.11.19 computed them for Europe/Berlin in March and October."""
    database = Database(
        TRANSACTIONS=[{**transaction(30, 71, local), "utc": utc}], SESSIONS=sessions(session(71, "nova", "Query", 1))
    )
    assert held(look(database, "transactions")) == [("longest", age, "nova@10.0.0.5", "connection 71")]


def test_what_the_server_does_for_itself_is_no_query():
    database = Database(
        SESSIONS=sessions(
            session(5, "system user", "Query", 90000, ""),
            session(6, "event_scheduler", "Daemon", 90000, "localhost"),
            session(7, "repl", "Binlog Dump", 90000),
            session(8, "nova", "Sleep", 90000),
            session(9, None, "Connect", None, "10.0.0.5:1"),
        )
    )
    found = look(database, "queries")
    assert (held(found), numbers(found)["query"]) == ([], 0.0)


def test_who_is_left_out_by_a_filter_is_not_counted_and_said():
    database = Database(SESSIONS=sessions(session(71, "backup", "Query", 4000), session(72, "nova", "Query", 3)))
    run = Run(exclude=("backup@*",))
    found = mysql.look(run, database, ("queries",))
    assert held(found) == [("query", 3.0, "nova@10.0.0.5", "connection 72")]
    assert run.left_out == {"backup@10.0.0.5"}


def test_on_mysql_8_lock_waits_are_in_the_performance_schema():
    rows = [transaction("421", 71, 100), transaction("422", 72, 50, "LOCK WAIT")]
    people = sessions(session(71, "nova", "Sleep", 90), session(72, "nova", "Query", 50))
    waits = [{"id": 421, "waiting": 1}]
    eight = {
        "flavour": "mysql",
        "version": (8, 0, 45),
        "TRANSACTIONS": rows,
        "SESSIONS": people,
        "DATA_LOCK_WAITS": waits,
    }
    database = Database(variables={"performance_schema": "ON"}, **eight)
    assert ("idle_blocker", 90.0, "nova@10.0.0.5", "connection 71, 1 wait for it") in held(
        look(database, "transactions")
    )
    off = look(Database(**eight), "transactions")
    assert [(one.kind, one.of, one.error) for one in off.failures] == [
        (ABSENT, "idle_blocker", "transactions wait, and for whom is not told: performance_schema is off")
    ]
    assert "idle_blocker" not in numbers(off)
    refused = look(
        Database(variables={"performance_schema": "ON"}, **{**eight, "DATA_LOCK_WAITS": denied(1142)}), "transactions"
    )
    assert [(one.kind, one.of, one.cure) for one in refused.failures] == [
        (NOT_ALLOWED, "idle_blocker", f"GRANT SELECT ON performance_schema.data_lock_waits TO {ACCOUNT};")
    ]
    assert numbers(refused)["longest"] == 0.0
    five = Database("mysql", (5, 7, 44), TRANSACTIONS=rows, SESSIONS=people, INNODB_LOCK_WAITS=waits)
    assert look(five, "transactions").failures == ()


# Missing rights


def test_without_process_nothing_is_said_of_transactions_and_queries():
    """The list of processes is not refused: it is one row long, and would say that all is well."""
    database = Database(TRANSACTIONS=denied())
    for modes, of in (
        (("queries",), "queries"),
        (("transactions",), "transactions"),
        (ALL, "transactions and queries"),
    ):
        server = look(database, *modes)
        assert [tuple(one.args) for one in server.failures] == [
            (NOT_ALLOWED, of, "", "this account is not shown transactions", f"GRANT PROCESS ON *.* TO {ACCOUNT};")
        ]
        assert not {"longest", "query", "idle_transaction", "idle_blocker"} & set(numbers(server))
    assert "SESSIONS" not in database.asked
    assert numbers(server)["connections"] == 30.0


def test_all_that_is_missing_is_one_grant():
    refused = {"TRANSACTIONS": denied(), "SHOW BINARY LOGS": denied(), "GRANTS": grants("GRANT USAGE ON *.*")}
    server = look(Database(**refused))
    assert [tuple(one.args) for one in server.failures] == [
        (
            *(NOT_ALLOWED, "transactions and queries, autoincrement, binlog", ""),
            "this account is not shown transactions, every table, binary logs",
            f"GRANT PROCESS, REFERENCES, BINLOG MONITOR ON *.* TO {ACCOUNT};",
        )
    ]


@pytest.mark.parametrize(
    ("flavour", "version", "right"),
    [
        ("mariadb", (10, 3, 39), "REPLICATION CLIENT"),
        ("mariadb", (10, 5, 2), "BINLOG MONITOR"),
        ("mysql", (5, 7, 44), "REPLICATION CLIENT"),
        ("mysql", (8, 4, 3), "REPLICATION CLIENT"),
    ],
)
def test_the_right_to_see_binary_logs_has_two_names(flavour, version, right):
    server = look(Database(flavour, version, **{"SHOW BINARY LOGS": denied()}), "binlog")
    assert [one.cure for one in server.failures] == [f"GRANT {right} ON *.* TO {ACCOUNT};"]
    assert "binlog" not in numbers(server)


# What other releases lack


def counted(deadlocks=6, history=200, **state):
    state = state or {"status": "enabled"}
    return [
        {"name": "lock_deadlocks", "count": deadlocks, **state},
        {"name": "trx_rseg_history_len", "count": history, **state},
    ]


def test_mysql_tells_deadlocks_and_history_elsewhere():
    database = Database("mysql", (8, 0, 45), lacks=MARIADB_ALONE, COUNTED=counted())
    first = look(database, "deadlocks", "history", "login")
    assert first.failures == ()
    assert numbers(first)["history"] == 200.0
    database.answers["COUNTED"] = counted(deadlocks=66)
    second = numbers(look(database, "deadlocks", "history", "login", before=first.kept, shift=60))
    assert second["deadlocks_rate"] == pytest.approx(1)
    assert "denied_rate" not in second
    assert ("login", "this server does not count refused log-ins apart from aborted connects") in first.notes
    assert "COUNTED" not in look_asked(Database("mysql", (8, 0, 45), lacks=MARIADB_ALONE), "login")


def look_asked(database, *modes):
    look(database, *modes)
    return database.asked


def test_the_column_of_the_state_has_two_names():
    for version, state in (((10, 3, 39), {"status": "enabled"}), ((10, 5, 1), {"enabled": 1})):
        server = look(Database("mariadb", version, lacks=MARIADB_ALONE, COUNTED=counted(**state)), "history")
        assert numbers(server)["history"] == 200.0


@pytest.mark.parametrize(
    ("answer", "kind", "error"),
    [
        (denied(), NOT_ALLOWED, "this account is not shown deadlocks and history"),
        (counted(status="disabled"), ABSENT, "lock_deadlocks is not counted: its state is 'disabled'"),
        (counted(enabled=0), ABSENT, "lock_deadlocks is not counted: its state is '0'"),
        (counted(what=0), ABSENT, "lock_deadlocks is not counted: its state is ''"),
        ([], UNREADABLE, "it has no lock_deadlocks"),
        (counted(deadlocks=None), UNREADABLE, "lock_deadlocks has no number"),
    ],
)
def test_deadlocks_that_are_not_told_are_not_zero(answer, kind, error):
    server = look(Database("mysql", (8, 0, 45), lacks=MARIADB_ALONE, COUNTED=answer), "deadlocks", "history")
    assert [(one.kind, one.error) for one in server.failures] == [(kind, error)]
    assert not {"deadlocks_rate", "history"} & set(numbers(server))


def test_without_counters_of_probes_the_aborted_are_all_told_so():
    server = later({"Aborted_connects": 120}, "login", flavour="mysql", version=(8, 0, 45), lacks=MARIADB_ALONE)
    (one,) = [one for one in server.measures if one.name == "aborted_connects_rate"]
    assert one.value == pytest.approx(2)
    assert one.detail == "TCP probes count here, which this server does not tell apart"


@pytest.mark.parametrize(("name", "lost"), [("Slow_queries", "slow_rate"), ("Innodb_row_lock_waits", "lock_wait_mean"), ("Open_files", "open_files"), ("Innodb_buffer_pool_reads", "hit"), ("Innodb_row_lock_current_waits", "lock_waits"), ("Created_tmp_tables", "tmp_disk")])  # fmt: skip
def test_a_number_that_every_server_has_is_missed(name, lost):
    assert numbers(look(Database(lacks=(name,))))[lost] is None
    assert numbers(look(Database(status={name: "much"})))[lost] is None


def test_a_number_that_not_every_server_has_is_not_missed():
    found = numbers(
        look(Database(lacks=("Table_open_cache_overflows", "Innodb_log_waits", "Innodb_buffer_pool_wait_free")))
    )
    assert not {"table_cache_rate", "log_waits_rate", "wait_free_rate"} & set(found)


@pytest.mark.parametrize("name", ["Uptime", "Threads_connected", "Threads_running", "max_connections"])
def test_what_is_no_mysql_is_not_understood(name):
    with pytest.raises(Failed) as raised:
        look(Database(lacks=(name,)), "uptime")
    assert (raised.value.kind, raised.value.error) == (UNREADABLE, f"it has no {name.lower()}: is this a MySQL server?")


def test_a_cut_connection_ends_it_and_a_late_statement_does_not():
    with pytest.raises(Failed) as raised:
        look(Database(TRANSACTIONS=Failed(UNREACHABLE, "db", "SELECT", "connection cut")))
    assert raised.value.kind == UNREACHABLE
    server = look(Database(TABLES=Failed(LATE, "db", "SELECT", "took longer than 5 s")))
    assert [(one.kind, one.of) for one in server.failures] == [(LATE, "autoincrement")]
    assert numbers(server)["binlog"] == 3000.0


# Columns that count


def keys(*made, schemas=(), version=(10, 11, 19), flavour="mariadb", more=(), run=None, **answers):
    database = Database(
        flavour, version, TABLES=[one for one, _ in made] + list(more), COLUMNS=[two for _, two in made],
        **{"SET SESSION information_schema_stats_expiry = 0": [], **answers},
    )  # fmt: skip
    return database, mysql.look(run or Run(), database, ("autoincrement",), given=True, schemas=schemas)


@pytest.mark.parametrize(
    ("kind", "counter", "share"),
    [
        ("tinyint(3) unsigned", 256, 100.0),
        ("tinyint(4)", 127, 100 * 126 / 127),
        ("smallint(5) unsigned", 32769, 100 * 32768 / 65535),
        ("mediumint(9)", 1, 0.0),
        ("int(11)", 1932735284, 90.0),
        ("int", 2147483648, 100.0),
        ("int unsigned", 2147483648, 50.0),
        ("bigint(20) unsigned", 9223372036854775809, 50.0),
        ("bigint(20)", 0, 0.0),
        ("double", 4503599627370497, 50.0),
    ],
)
def test_the_end_of_a_type(kind, counter, share):
    _, server = keys(table("nova.t", counter, kind))
    assert numbers(server, "nova.t") == {"autoincrement": pytest.approx(share, abs=1e-6)}


def test_the_nearest_come_first_and_what_they_are_is_said():
    _, server = keys(table("nova.a", 3), table("nova.b", 201, "tinyint(3) unsigned"), table("heat.c", None))
    assert [(one.of, one.detail) for one in server.measures if one.of] == [
        ("nova.b", "tinyint(3) unsigned, the next is 201 of 255"),
        ("nova.a", "int(11), the next is 3 of 2147483647"),
    ]
    assert server.notes == (("autoincrement", "columns that count: 3, in heat, nova; of 1 no number is told"),)


def test_a_table_that_nobody_used_has_no_number_and_that_is_not_zero():
    _, server = keys(table("nova.a", None))
    assert numbers(server)["autoincrement"] is None


def test_a_type_that_is_not_known_is_not_understood():
    _, server = keys(table("nova.a", 3, "uuid"))
    assert [one.error for one in server.failures] == [
        "nova.a counts in a column of type 'uuid', which is not understood"
    ]


USAGE = "GRANT USAGE ON *.*"


@pytest.mark.parametrize(
    ("schemas", "lines", "hidden", "on"),
    [
        ((), [USAGE], "every table", "*.*"),
        ((), ["GRANT PROCESS, BINLOG MONITOR ON *.*"], "every table", "*.*"),
        ((), [USAGE, "GRANT REFERENCES ON `nova`.*"], "every table", "*.*"),  # and of another schema nothing would be known
        ((), [USAGE, "GRANT SHOW VIEW ON `nova`.*"], "every table", "*.*"),
        ((), ["GRANT REFERENCES ON *.*", "REVOKE REFERENCES ON `heat`.*"], "every table", "*.*"),
        (("nova",), [USAGE, "GRANT SELECT (deleted) ON `nova`.`t`", "GRANT SELECT ON `nova`.`t`"], "every table of nova", "`nova`.*"),
        (("nova",), [USAGE, "GRANT SHOW VIEW ON `nova`.*"], "every table of nova", "`nova`.*"),
        (("nova",), [USAGE, "GRANT SELECT ON `nova\\_api`.*"], "every table of nova", "`nova`.*"),
        (("nova",), ["GRANT REFERENCES ON *.*", "REVOKE REFERENCES ON `nova`.*"], "every table of nova", "`nova`.*"),
    ],
)  # fmt: skip
def test_tables_that_are_hidden_are_not_absent(schemas, lines, hidden, on):
    """What is shown says nothing of the rest: it is told, and beside it which right is missing for the whole."""
    _, server = keys(table("nova.t", 4), schemas=schemas, GRANTS=grants(*lines))
    refusal = (NOT_ALLOWED, f"this account is not shown {hidden}", f"GRANT REFERENCES ON {on} TO {ACCOUNT};")
    assert [(one.kind, one.error, one.cure) for one in server.failures] == [refusal]
    assert numbers(server, "nova.t") == {"autoincrement": pytest.approx(0, abs=1e-3)}
    _, server = keys(schemas=schemas, GRANTS=grants(*lines))
    assert [(one.kind, one.error, one.cure) for one in server.failures] == [refusal]
    assert "autoincrement" not in numbers(server)


@pytest.mark.parametrize(
    ("schemas", "lines"),
    [
        ((), ["GRANT ALL PRIVILEGES ON *.*"]),
        ((), ["GRANT SELECT, PROCESS ON *.*", "REVOKE SELECT ON `mysql`.*"]),
        ((), [USAGE, "GRANT `monitoring`", "GRANT PROCESS, REFERENCES ON *.*"]),  # of a role
        (("nova",), [USAGE, "GRANT REFERENCES ON `nova`.*"]),
        (("nova",), [USAGE, 'GRANT UPDATE ON "nova".*']),  # sql_mode ANSI_QUOTES
        (("nova",), [USAGE, "GRANT ALL PRIVILEGES ON `n_v%`.*"]),
        (("nova",), ["GRANT REFERENCES ON *.*", "REVOKE REFERENCES ON `heat`.*"]),
    ],
)
def test_rights_that_show_every_table(schemas, lines):
    _, server = keys(table("nova.t", 4), schemas=schemas, GRANTS=grants(*lines))
    assert (server.failures, numbers(server)["autoincrement"]) == ((), 0.0)


def test_a_server_without_tables_is_well_for_who_would_see_them():
    _database, server = keys()
    assert (server.failures, numbers(server)["autoincrement"]) == ((), 0.0)
    assert server.notes == (("autoincrement", "columns that count: 0, in no schema"),)
    _, server = keys(schemas=("heat",))
    assert [(one.kind, one.error, one.cure) for one in server.failures] == [
        (ABSENT, "there is no table in a schema heat", "")
    ]
    assert "autoincrement" not in numbers(server)


def test_a_table_that_cannot_be_opened_is_not_skipped():
    """As MariaDB 10.11.19 tells one whose index is damaged, and one that an ALTER TABLE holds."""
    shut = [
        {**table("nova.b", None)[0], "engine": None, "said": "Incorrect file format 'b'"},
        {**table("nova.c", None)[0], "engine": None, "said": "Lock wait timeout exceeded; try restarting transaction"},
    ]
    _, server = keys(table("nova.t", 4), more=shut)
    assert [tuple(one.args) for one in server.failures] == [
        (UNREADABLE, "autoincrement", "", "can't open nova.b: Incorrect file format 'b', and 1 more", "")
    ]
    assert numbers(server)["autoincrement"] == 0.0
    _, server = keys(more=shut[1:])
    assert "autoincrement" not in numbers(server)
    _, server = keys(table("nova.t", 4), more=shut, run=Run(exclude=("nova.[bc]",)))
    assert server.failures == ()


def test_mysql_8_is_asked_for_numbers_of_now_and_to_write_nothing_down():
    database, _server = keys(table("nova.t", 3), flavour="mysql", version=(8, 4, 3))
    assert database.asked[3:] == ["SET SESSION information_schema_stats_expiry = 0", "TABLES", "COLUMNS", "GRANTS"]
    database, _ = keys(table("nova.t", 3), flavour="mysql", version=(5, 7, 44))
    assert database.asked[3:] == ["TABLES", "COLUMNS", "GRANTS"]


def test_only_the_schemas_that_are_named_and_only_so_many():
    made = [table(f"nova.t{n}", n) for n in range(150)] + [table("heat.x", 2000000000)]
    _, server = keys(*made, schemas=("nova",))
    of = [one.of for one in server.measures if one.of]
    assert (len(of), of[0]) == (mysql.LARGEST, "nova.t149")
    _, server = keys(*made, run=Run(include=("nova.t7",)))
    assert [one.of for one in server.measures if one.of] == ["nova.t7"]


# Binary logs, role, cluster


@pytest.mark.parametrize(
    ("variables", "lacks", "for_ever"),
    [
        ({}, (), False),
        ({"expire_logs_days": "0.000000", "binlog_expire_logs_seconds": "0"}, (), True),
        ({"expire_logs_days": "0"}, ("binlog_expire_logs_seconds",), True),  # MariaDB 10.3, MySQL 5.7
        ({"expire_logs_days": "7"}, ("binlog_expire_logs_seconds",), False),
        ({"binlog_expire_logs_seconds": "2592000"}, ("expire_logs_days",), False),  # MySQL 8.4
        ({"binlog_expire_logs_auto_purge": "OFF"}, (), True),  # MySQL 8.0.29
        (
            {"expire_logs_days": "0", "binlog_expire_logs_seconds": "0", "max_binlog_total_size": "1073741824"},
            (),
            False,
        ),
    ],
)
def test_binary_logs_that_nothing_removes(variables, lacks, for_ever):
    server = look(Database(variables=variables, lacks=lacks), "binlog")
    assert server.kept_for_ever is for_ever
    assert [tuple(one) for one in server.measures if one.name == "binlog"] == [("binlog", 3000.0, "", "2 files")]


def test_no_binary_log_is_absent_where_it_is_asked_for():
    off = {"log_bin": "OFF"}
    assert [(one.kind, one.of, one.error) for one in look(Database(variables=off), "binlog").failures] == [
        (ABSENT, "binlog", "the binary log is off")
    ]
    server = look(Database(variables=off), "binlog", given=False)
    assert (server.failures, server.notes) == ((), (("binlog", "the binary log is off"),))
    assert [one.error for one in look(Database(**{"SHOW BINARY LOGS": []}), "binlog").failures] == [
        "it lists no file with a size"
    ]


@pytest.mark.parametrize(
    ("variables", "role"),
    [
        ({}, mysql.Role(True)),
        ({"read_only": "ON"}, mysql.Role(False, "read_only")),
        ({"read_only": "1", "super_read_only": "ON"}, mysql.Role(False, "read_only, super_read_only")),
        ({"read_only": "NO_LOCK_NO_ADMIN"}, mysql.Role(False, "read_only")),
        ({"innodb_read_only": "ON"}, mysql.Role(False, "innodb_read_only")),
    ],
)
def test_what_forbids_writing(variables, role):
    assert look(Database(variables=variables), "role").role == role


def test_a_word_that_is_not_understood_is_no_role():
    for variables, lacks, error in (
        ({"read_only": "MAYBE"}, (), "read_only is 'MAYBE', which is not understood"),
        ({}, ("read_only",), "it has no read_only"),
    ):
        server = look(Database(variables=variables, lacks=lacks), "role")
        assert ([one.error for one in server.failures], server.role) == ([error], None)


def test_a_role_that_changed_is_known_from_the_run_before():
    first = look(Database(), "role")
    flipped = look(Database(variables={"read_only": "ON"}), "role", before=first.kept, shift=60)
    assert flipped.role == mysql.Role(False, "read_only", 0.0)
    after = look(Database(variables={"read_only": "ON"}), "role", before=flipped.kept, shift=660)
    assert after.role.changed == 600.0
    back = look(Database(), "role", before=after.kept, shift=700)
    assert back.role == mysql.Role(True, "", 0.0)


def server(**facts):
    return mysql.Server("MariaDB 10.11.19", [mysql.Measure("connections", 30.0, "", "30 of 100")], **facts)


@pytest.mark.parametrize(
    ("role", "expected", "standing"),
    [
        (mysql.Role(True), "", ("role", "role", "takes writes")),
        (mysql.Role(True), "primary", ("role", "role", "takes writes")),
        (mysql.Role(True), "replica", ("role_wrong", "role", "takes writes, and should be a replica")),
        (mysql.Role(False, "read_only"), "primary", ("role_wrong", "role", "is read-only (read_only), and should be a primary")),
        (mysql.Role(False, "read_only"), "replica", ("role", "role", "is read-only (read_only)")),
        (mysql.Role(False, "read_only", 600), "", ("role_changed", "role", "is read-only (read_only), and took writes until 10 min ago")),
        (mysql.Role(True, "", 0), "", ("role_changed", "role", "takes writes, and was read-only until 0 min ago")),
        (mysql.Role(True, "", 3600), "", ("role", "role", "takes writes")),
        (mysql.Role(True, "", 600), "primary", ("role", "role", "takes writes")),
    ],
)  # fmt: skip
def test_how_a_role_stands(role, expected, standing):
    assert next(server(role=role).standings(expected, 3600.0)) == standing


def test_the_other_standings():
    found = server(cut_off="wsrep_ready is OFF", kept_for_ever=True, notes=(("binlog", "x"),))
    assert list(found.standings("", 3600.0)) == [
        ("cut_off", "server", "serves nobody: wsrep_ready is OFF"),
        ("kept_for_ever", "binlog", "nothing removes binary logs: they are kept for ever"),
        ("note", "", "MariaDB 10.11.19, 30 of 100 connections"),
        ("note", "binlog", "x"),
    ]


WELL = {"wsrep_cluster_status": "Primary", "wsrep_ready": "ON"}


@pytest.mark.parametrize(
    ("status", "variables", "said"),
    [
        (WELL, {"wsrep_on": "ON", "wsrep_reject_queries": "NONE"}, ""),
        (WELL, {"wsrep_on": "ON"}, ""),
        ({}, {"wsrep_on": "OFF"}, ""),
        ({"wsrep_cluster_status": "non-Primary", "wsrep_ready": "OFF"}, {"wsrep_on": "ON"}, "wsrep_cluster_status is non-Primary, wsrep_ready is OFF"),
        ({**WELL, "wsrep_ready": "OFF"}, {"wsrep_on": "ON"}, "wsrep_ready is OFF"),
        (WELL, {"wsrep_on": "ON", "wsrep_reject_queries": "ALL"}, "wsrep_reject_queries is ALL"),
        ({}, {"wsrep_on": "ON"}, "wsrep_cluster_status is not told, wsrep_ready is not told"),
        ({}, {"offline_mode": "OFF"}, ""),
        ({}, {"offline_mode": "ON"}, "offline_mode is ON"),  # MySQL: only administrators get in
    ],
)  # fmt: skip
def test_a_node_that_is_cut_off_is_not_well(status, variables, said):
    assert look(Database(status=status, variables=variables), "uptime").cut_off == said


def test_times_are_the_servers():
    database = Database()
    assert look(database).kept["began"] == ["db1 3306 1", NOW - 86400, NOW - 86400]
